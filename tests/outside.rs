//! What a person or a stranger puts in the way of the command: paths that lead to no plain file, streams without end,
//! control characters, an output that cannot be written.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/entries.rs"]
mod entries;
#[path = "../src/elf/sample.rs"]
mod sample;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dijitso::cache::Cache;
use dijitso::fsutil;
use dijitso::params::{Environment, Params};
use entries::{Contents, entry};
use sample::sample;

/// No step of these tests takes so long.
const LIMIT: Duration = Duration::from_secs(60);

struct Home(tempfile::TempDir);

impl Home {
    /// A cache with the entries of these signatures, whose logs are this.
    fn with(signatures: &[&str], log: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for signature in signatures {
            let image = sample(b"");
            let source = format!("int {signature}() {{ return 0; }}\n").into_bytes();
            let contents = Contents { image, header: b"h".to_vec(), source, log: log.as_bytes().to_vec() };
            home.cache().publish(&entry(signature, &[], contents)).unwrap();
        }
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cache(&self) -> Cache {
        let around = Environment {
            variables: [("HOME", self.0.path().display().to_string())].into(),
            cwd: self.0.path().to_owned(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let params = Params::in_environment(&around).unwrap().resolve().unwrap();
        Cache::new(&params.cache.cache_dir, &params.cache)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dijitso"));
        command.args(arguments).current_dir(self.0.path()).env_clear().env("HOME", self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        ended(self.command(arguments).spawn().unwrap())
    }

    /// Runs it on a terminal; what it shows.
    fn on_terminal(&self, arguments: &str) -> String {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_dijitso"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(self.0.path()).env_remove("NO_COLOR");
        command.env("HOME", self.0.path()).env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped());
        String::from_utf8(ended(command.spawn().unwrap()).stdout).unwrap()
    }

    /// The names of all that is in the directory, but for the cache.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap().map(|file| file.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != ".cache");
        names.sort();
        names
    }
}

/// Waits for a program, and not for ever.
fn ended(mut child: Child) -> Output {
    let id = child.id();
    let (sender, over) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if over.recv_timeout(LIMIT).is_err() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let _ = sender.send(());
    guard.join().unwrap();
    assert_ne!(output.status.signal(), Some(9), "it did not end: {output:?}");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn code(output: &Output) -> (Option<i32>, &str) {
    (output.status.code(), text(&output.stderr))
}

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
        command.args(["-m", "sh", "-c", &without, "sh"]).args(arguments).current_dir(home.0.path());
        command.env("HOME", home.0.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let works = command(&["version"]).is_ok_and(|mut child| child.wait().unwrap().success());
    if works {
        let export = || command(&["export", "--all", "-o", "bundle"]).unwrap();
        assert!(end_exports(&home, &["-INT", "-TERM", "-HUP"], &export), "a hidden file was seen");
    }
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
            let mut told = to.write_all(&data);
            while endless && told.is_ok() {
                told = to.write_all(&[0; 1 << 16]);
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

#[test]
fn control_characters_of_entries_do_not_reach_a_terminal() {
    let hostile = "\u{1b}]0;owned\u{7}a\rb\u{9b}2Jc\u{202e}d";
    let home = Home::with(&["a"], hostile);
    let shown = home.on_terminal("grep --categories log --pattern b");
    assert!(shown.contains("\\x1b]0;owned\\x07a\\r") && shown.contains("\\x9b2Jc\\u{202e}d"), "{shown:?}");
    assert!(!shown.contains("\u{1b}]") && !shown.contains(['\u{7}', '\u{9b}', '\u{202e}']), "{shown:?}");
    // What is matched has a colour all the same.
    assert!(shown.contains("\u{1b}[31mb"), "{shown:?}");
    let json = home.on_terminal("grep --categories log --json");
    assert!(!json.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{json:?}");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["files"][0]["matches"][0]["text"], hostile);
    // Files get what is there.
    assert!(text(&home.run(&["grep", "--categories", "log"]).stdout).contains(hostile));
}

#[test]
fn messages_are_escaped_wherever_they_go() {
    let home = Home::with(&[], "");
    let output = home.run(&["import", "no\u{1b}[2J\rsuch\nfile"]);
    let complaint = text(&output.stderr);
    assert!(complaint.contains("no\\x1b[2J\\rsuch file") && complaint.lines().count() == 1, "{complaint:?}");
}

#[test]
fn a_source_that_is_not_the_recorded_one_is_reported_as_damaged() {
    let home = Home::with(&["a", "b"], "log");
    let cache = home.cache();
    // As a build would record it.
    let contents = |source: &[u8]| Contents {
        image: sample(b""),
        header: b"h".to_vec(),
        source: source.to_vec(),
        log: Vec::new(),
    };
    let files = entries::recorded("c", contents(b"int c();\n"));
    cache.publish(&files).unwrap();
    assert_eq!(code(&home.run(&["grep", "--pattern", "int"])), (Some(0), ""));
    let path = cache.layout().src("c", false);
    fs::write(&path, "int another();\n").unwrap();
    for command in [&["grep", "--pattern", "int"][..], &["grepfunction"], &["checkout", "c"]] {
        let output = home.run(command);
        assert_eq!(output.status.code(), Some(3), "{command:?}");
        let complaint = text(&output.stderr);
        assert!(complaint.contains("c.cpp is damaged: it is not the source"), "{complaint}");
    }
    assert!(text(&home.run(&["grep", "--pattern", "int"]).stdout).contains("int a()"), "the others");
    assert!(!home.at("jitcheckout-c").exists());
    // Too long, whatever is recorded: in the file, or when it is unpacked.
    File::options().write(true).open(&path).unwrap().set_len(fsutil::LONGEST_TEXT + 1).unwrap();
    let output = home.run(&["grep", "c"]);
    assert!(output.status.code() == Some(3) && text(&output.stderr).contains("are allowed"));
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let home = Home::with(&["a"], "log");
    let all: &[&[&str]] = &[
        &["help"],
        &["--help"],
        &["--version"],
        &["help", "show"],
        &["show", "--help"],
        &["version"],
        &["show"],
        &["show", "--json"],
        &["config"],
        &["grep"],
        &["grepfunction"],
        &["why", "a"],
        &["check"],
        &["stats"],
        &["gc", "--max-size", "1G"],
        &["clean", "-n"],
        &["checkout", "a", "-n"],
        &["completions", "bash"],
        &["export", "--all", "-o", "-"],
    ];
    for arguments in all {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = ended(home.command(arguments).stdout(full).spawn().unwrap());
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains("No space left on device"), "{arguments:?}: {output:?}");
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let output = ended(home.command(arguments).stdout(write).spawn().unwrap());
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.signal(), None, "{arguments:?}");
    }
}

#[test]
fn every_subcommand_takes_the_same_selectors() {
    const FIRST: &str = "form_00000000000000000000000000000001";
    const SECOND: &str = "form_00000000000000000000000000000002";
    let home = Home::with(&[FIRST, SECOND, "mass"], "log");
    let commands: &[&[&str]] = &[
        &["show"],
        &["grep"],
        &["grepfunction"],
        &["checkout", "-n"],
        &["check"],
        &["clean", "-n"],
        &["export", "-n", "-o", "x", "--json"],
    ];
    for command in commands {
        let run = |words: &[&str]| home.run(&[command, words].concat());
        for (words, expected) in [
            (vec!["form"], [true, true, false]),
            (vec!["f*1"], [true, false, false]),
            (vec!["*m*"], [true, true, true]),
            (vec!["form_0000000000000000000000000000000[2-3]"], [false, true, false]),
            (vec![SECOND], [false, true, false]),
            (vec!["ma", FIRST], [true, false, true]),
        ] {
            let output = run(&words);
            assert_eq!(code(&output), (Some(0), ""), "{command:?} {words:?}");
            let shown = text(&output.stdout);
            if command[0] == "check" {
                let number = expected.iter().filter(|wanted| **wanted).count();
                assert!(shown.contains(&format!(": {number} entr")), "{shown}");
                continue;
            }
            let found = [FIRST, SECOND, "mass"].map(|signature| {
                shown.contains(signature) || signature == "mass" && shown.contains("libdijitso-mass")
            });
            assert_eq!(found, expected, "{command:?} {words:?}: {shown}");
        }
        for (word, reason) in
            [("form_", "\"form_*\" stands for all"), ("x*", "did you mean"), ("", "nothing")]
        {
            let output = run(&[word]);
            assert_eq!(output.status.code(), Some(3), "{command:?} {word:?}");
            assert!(text(&output.stderr).contains(reason), "{command:?}: {}", text(&output.stderr));
        }
        assert_eq!(run(&["[x"]).status.code(), Some(2), "{command:?}");
    }
    // A name is a question about a request; what stands for entries is one about these.
    assert!(
        text(&home.run(&["why", "form"]).stdout).contains("no hit")
            || home.run(&["why", "form"]).status.success()
    );
    let accounts = home.run(&["why", "form_*", "--json"]).stdout;
    let accounts: serde_json::Value = serde_json::from_slice(&accounts).unwrap();
    assert_eq!(accounts.as_array().unwrap().len(), 2);
    assert!(text(&home.run(&["why", "form_*1"]).stdout).contains(FIRST));
}

#[test]
fn gc_can_be_told_to_remove_what_has_just_come() {
    let home = Home::with(&["a", "b"], "log");
    let output = home.run(&["gc", "--max-size", "0"]);
    assert!(text(&output.stdout).contains("--min-idle"), "{}", text(&output.stdout));
    assert_eq!(home.cache().entries().unwrap().len(), 2);
    let output = home.run(&["gc", "--max-size", "0", "--min-idle", "0"]);
    assert_eq!(code(&output), (Some(0), ""));
    assert_eq!(home.cache().entries().unwrap().len(), 0);
}

#[test]
fn an_empty_cache_dir_is_a_mistake() {
    let home = Home::with(&[], "");
    for arguments in [["-r", "", "show"], ["show", "--cache-dir", ""]] {
        let output = home.run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("--cache-dir is empty"), "{}", text(&output.stderr));
    }
}
