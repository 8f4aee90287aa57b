//! Paths that lead to no plain file, streams without end, and exports that are ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::absent::skip;

use super::{Home, LIMIT, code, ended, text};

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn is_bundle(data: &[u8]) -> bool {
    data.starts_with(b"dijitso-bundle.json\0") && data.ends_with(&[0; 1024])
}

/// A device like /dev/null that is this test's own; `None` if this user cannot make one.
fn device(home: &Home, minor: &str) -> Option<PathBuf> {
    let path = home.at(&format!("device-{minor}"));
    let made = Command::new("mknod").arg(&path).args(["c", "1", minor]).output().unwrap().status.success();
    (made && File::options().write(true).open(&path).is_ok()).then_some(path)
}

#[test]
fn export_writes_into_what_is_no_plain_file_and_replaces_none() {
    let home = Home::with(&["a"], "log");
    if let Some(null) = device(&home, "3") {
        let output = home.run(&["export", "--all", "-o", null.to_str().unwrap()]);
        assert_eq!(code(&output), (Some(0), ""));
        assert!(fs::symlink_metadata(&null).unwrap().file_type().is_char_device());
    }
    // Programs that read a FIFO get the bundle, the other end being opened first or last.
    let pipe = home.at("pipe");
    fifo(&pipe);
    let writer = home.command(&["export", "--all", "-o", "pipe"]).spawn().unwrap();
    let mut data = Vec::new();
    File::open(&pipe).unwrap().read_to_end(&mut data).unwrap();
    assert_eq!(code(&ended(writer)), (Some(0), ""));
    assert!(is_bundle(&data) && fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    // A link is followed to the file, whose mode stays.
    fs::create_dir(home.at("there")).unwrap();
    let target = home.at("there/bundle");
    fs::write(&target, "old").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("there/bundle", home.at("link")).unwrap();
    assert_eq!(code(&home.run(&["export", "--all", "-o", "link"])), (Some(0), ""));
    assert!(fs::symlink_metadata(home.at("link")).unwrap().is_symlink());
    assert!(is_bundle(&fs::read(&target).unwrap()));
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(home.at("there")).unwrap().count(), 1);
    // What cannot be written into stays, with a sentence.
    let _listener = UnixListener::bind(home.at("socket")).unwrap();
    symlink("nothing", home.at("dangling")).unwrap();
    for (name, reason) in [("socket", "a socket"), ("there", "a directory"), ("dangling", "is not there")] {
        let before = fs::symlink_metadata(home.at(name)).unwrap();
        let output = home.run(&["export", "--all", "-o", name]);
        assert_eq!(output.status.code(), Some(3), "{name}");
        assert!(text(&output.stderr).contains(reason), "{name}: {}", text(&output.stderr));
        let after = fs::symlink_metadata(home.at(name)).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "{name}");
    }
}

#[test]
fn dev_stdout_is_the_standard_output() {
    let home = Home::with(&["a"], "log");
    // What /dev/stdout is, and only this test's own: root could replace the other.
    symlink("/proc/self/fd/1", home.at("stdout")).unwrap();
    let output = home.run(&["export", "--all", "-o", "stdout"]);
    assert!(output.status.success() && is_bundle(&output.stdout), "{:?}", code(&output));
    // Also of a file, to which others have written before.
    let path = home.at("out");
    fs::write(&path, "before\n").unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    let inode = file.metadata().unwrap().ino();
    let child = home.command(&["export", "--all", "-o", "stdout"]).stdout(file).spawn().unwrap();
    assert_eq!(code(&ended(child)), (Some(0), ""));
    let data = fs::read(&path).unwrap();
    assert!(data.starts_with(b"before\n") && is_bundle(&data[7..]));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(fs::symlink_metadata(home.at("stdout")).unwrap().is_symlink());
}

#[test]
fn completions_manual_pages_and_checkouts_replace_no_other_kind() {
    let home = Home::with(&["a"], "log");
    fs::create_dir_all(home.at("man")).unwrap();
    fs::write(home.at("mine"), "mine").unwrap();
    symlink(home.at("mine"), home.at("man/dijitso.1")).unwrap();
    let _listener = UnixListener::bind(home.at("socket")).unwrap();
    assert_eq!(home.run(&["completions", "bash", "-o", "socket"]).status.code(), Some(3));
    assert!(fs::symlink_metadata(home.at("socket")).unwrap().file_type().is_socket());
    assert_eq!(code(&home.run(&["man", "man"])), (Some(0), ""));
    assert!(fs::symlink_metadata(home.at("man/dijitso.1")).unwrap().is_symlink());
    assert!(fs::read_to_string(home.at("mine")).unwrap().contains(".TH dijitso"));
    assert_eq!(code(&home.run(&["checkout", "a"])), (Some(0), ""));
    let log = home.at("jitcheckout-a/a.txt");
    fs::remove_file(&log).unwrap();
    let _other = UnixListener::bind(&log).unwrap();
    assert_eq!(home.run(&["checkout", "a", "--force"]).status.code(), Some(3));
    assert!(fs::symlink_metadata(&log).unwrap().file_type().is_socket());
}

/// Ends exports by signals at various times; whether a hidden file was there meanwhile. None must be left.
fn end_exports(home: &Home, signals: &[&str], begin: &dyn Fn() -> Child) -> bool {
    let mut seen = false;
    for round in 0..12_u64 {
        let mut child = begin();
        let started = Instant::now();
        let wait = Duration::from_millis(30 * (round / 3 + 1));
        while started.elapsed() < wait {
            seen |= home.names().iter().any(|name| name.starts_with('.'));
            std::thread::sleep(Duration::from_millis(2));
        }
        let signal = signals[usize::try_from(round).unwrap() % signals.len()];
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).output();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < LIMIT, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let names = home.names();
        assert!(names.is_empty() || names == ["bundle"], "{signal}: {names:?}");
        let _ = fs::remove_file(home.at("bundle"));
    }
    seen
}

#[test]
fn an_export_that_is_ended_leaves_nothing() {
    let home = Home::with(&["a", "b"], &"log ".repeat(1 << 21));
    let export = || home.command(&["export", "--all", "-o", "bundle"]).spawn().unwrap();
    let seen = end_exports(&home, &["-INT", "-TERM", "-HUP", "-KILL"], &export);
    assert!(!seen, "the file has no name until it is finished");
    // If the file system has no unnamed files, or they cannot be given a name, as here without /proc.
    let without = format!("mount -t tmpfs none /proc && exec {} \"$@\"", env!("CARGO_BIN_EXE_dijitso"));
    let command = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &without, "sh"]).args(arguments).current_dir(home.dir.path());
        command.env("HOME", home.dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    if !command(&["version"]).is_ok_and(|mut child| child.wait().unwrap().success()) {
        skip("this user may not mount a file system");
        return;
    }
    let export = || command(&["export", "--all", "-o", "bundle"]).unwrap();
    assert!(end_exports(&home, &["-INT", "-TERM", "-HUP"], &export), "a hidden file was seen");
}

#[test]
fn import_of_what_never_ends_is_refused_at_its_beginning() {
    let home = Home::with(&[], "");
    let endless = || File::open("/dev/zero").unwrap();
    let child = home.command(&["import", "-"]).stdin(endless()).spawn().unwrap();
    let output = ended(child);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("not a bundle"), "{}", text(&output.stderr));
    let output = home.run(&["import", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("not a bundle"), "{}", text(&output.stderr));
    // A FIFO to which no program writes.
    fifo(&home.at("pipe"));
    let output = home.run(&["import", "pipe"]);
    assert!(output.status.code() == Some(3) && text(&output.stderr).contains("no program writes"));
    assert_eq!(home.run(&["import", "."]).status.code(), Some(3));
}

#[test]
fn a_stream_is_copied_to_the_end_that_its_manifest_gives() {
    let home = Home::with(&["a"], "log");
    let bundle = home.run(&["export", "--all", "-o", "-"]).stdout;
    let import = |data: &[u8], endless: bool| {
        let other = home.at("other");
        let mut command = home.command(&["--cache-dir", other.to_str().unwrap(), "import", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut to = child.stdin.take().unwrap();
        let data = data.to_vec();
        let feed = std::thread::spawn(move || {
            let mut written = to.write_all(&data);
            while endless && written.is_ok() {
                written = to.write_all(&[0; 1 << 16]);
            }
        });
        let output = ended(child);
        feed.join().unwrap();
        (output.status.code(), text(&output.stderr).to_owned())
    };
    let (code, complaint) = import(&bundle, true);
    assert!(code == Some(3) && complaint.contains("behind its end"), "{complaint}");
    // A manifest that says more than there is room for.
    let huge = text(&bundle[512..bundle.len() - 1024][..bundle[512..].iter().position(|b| *b == 0).unwrap()])
        .replacen("\"size\": ", "\"size\": 4000000000000", 1);
    let mut false_bundle = bundle[..512].to_vec();
    false_bundle.extend(huge.as_bytes());
    let (code, complaint) = import(&false_bundle, true);
    assert!(code == Some(3) && complaint.contains("refused"), "{complaint}");
    let (code, complaint) = import(&bundle, false);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
}
