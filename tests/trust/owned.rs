//! The command and the library neither delete nor overwrite files of others.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use dijitso::jit::Session;
use dijitso::params::Params;

use super::absent::skip;
use super::{Bench, call, child, mkdir, one};

/// Any user but root.
const STRANGER: u32 = 12345;

const MARK: &str = "CACHEDIR.TAG";

fn dijitso(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dijitso"))
        .arg("--cache-dir")
        .arg(cache)
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("HOME", "/home/nobody")
        .env("TMPDIR", cache.parent().unwrap())
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The commands that remove, move or write something in a cache.
const CHANGES: [&[&str]; 5] = [
    &["check", "--repair"],
    &["clean", "-y"],
    &["stats", "--reset"],
    &["gc", "--max-size", "0"],
    &["gc", "--max-age", "1"],
];

/// Paths, kinds and contents of all that is in a directory.
fn content(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let facts = path.symlink_metadata().unwrap();
        if facts.is_dir() {
            all.extend(content(&path));
        }
        let data = if facts.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.push((path, facts.mode(), data));
    }
    all.sort();
    all
}

fn age(path: &Path) {
    let old = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
}

/// Fills a directory with old files of a user that have the names of cache files.
fn precious(dir: &Path) {
    mkdir(dir, 0o755);
    for name in ["form", "form.h", "form.cpp", "form.txt", "libdijitso-form.so", "x~1.jsonl", "x~1"] {
        fs::write(dir.join(name), "precious").unwrap();
        age(&dir.join(name));
    }
    let token = dir.join("0123456789abcdef0123456789abcdef.0");
    fs::write(&token, "precious").unwrap();
    age(&token);
}

/// Another user's cache, in which folders are links to what root owns; root looks after it.
#[test]
fn a_cache_of_another_user_is_refused_by_every_command_that_changes_one() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can make a cache of another user");
        return;
    }
    let bench = Bench::new(0o755);
    let (cache, other) = (bench.at.join("theirs"), bench.at.join("precious"));
    precious(&other);
    for folder in ["comm", "lease", "src", "log", "include", "lib", "stats", "quarantine", "failed", "atime"]
    {
        let _ = fs::remove_dir_all(&cache);
        mkdir(&cache, 0o755);
        fs::write(
            cache.join(MARK),
            "Signature: 8a477f597d28d172789f06886806bc55\n# dijitso cache, format 1\n",
        )
        .unwrap();
        if folder != "lib" {
            mkdir(&cache.join("lib"), 0o755);
        }
        symlink(&other, cache.join(folder)).unwrap();
        chown(&cache, Some(STRANGER), None).unwrap();
        let before = (content(&cache), content(&other));
        for change in CHANGES {
            let output = dijitso(&cache, change);
            let said = words(&output);
            assert!(
                !output.status.success() && said.contains("belongs to user 12345"),
                "{folder} {change:?}: {said}"
            );
            assert_eq!((content(&cache), content(&other)), before, "{folder} {change:?}");
        }
        // What is advised must not be what is refused.
        let said = words(&dijitso(&cache, &["check"]));
        assert!(!said.contains("--repair"), "{said}");
    }
}

/// The same links in a cache of our own: made by us, or while others could write it.
#[test]
fn links_in_a_cache_are_not_followed_by_what_changes_it() {
    let bench = Bench::new(0o755);
    let other = bench.at.join("precious");
    precious(&other);
    let before = content(&other);
    for folder in [
        "comm",
        "lease",
        "src",
        "log",
        "include",
        "stats",
        "quarantine",
        "failed",
        "atime",
        "toolchain",
        "lib",
    ] {
        let _ = fs::remove_dir_all(bench.cache());
        bench.jit(&Session::default(), "other", &one()).unwrap();
        let _ = fs::remove_dir_all(bench.cache().join(folder));
        symlink(&other, bench.cache().join(folder)).unwrap();
        for change in CHANGES {
            dijitso(&bench.cache(), change);
            assert_eq!(content(&other), before, "{folder} {change:?}");
        }
        let _ = bench.jit(&Session::default(), "form", &one());
        assert_eq!(content(&other), before, "{folder}: a build");
    }
}

/// Makes a project that a user mistakes for a cache.
fn project(dir: &Path) {
    mkdir(dir, 0o755);
    let files = [
        "src/form.cpp",
        "include/form.h",
        "log/form.txt",
        "lib/libdijitso-form.so",
        "comm/0123456789abcdef0123456789abcdef.0",
        "comm/notes",
        "failed/form",
        "failed/results.csv",
        "quarantine/form.h",
        "atime/form",
        "stats/host~1.jsonl",
        "pch/0123456789abcdef0123456789abcdef",
        "README",
    ];
    for name in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), "mine").unwrap();
        age(&dir.join(name));
    }
}

#[test]
fn a_project_is_no_cache_and_stays_as_it_is() {
    let mut bench = Bench::new(0o755);
    let dir = bench.at.join("work");
    project(&dir);
    let before = content(&dir);
    for change in CHANGES {
        let output = dijitso(&dir, change);
        let said = words(&output);
        assert!(!output.status.success() && said.contains("is not a cache of dijitso"), "{change:?}: {said}");
        assert_eq!(content(&dir), before, "{change:?}");
    }
    bench.params.set("cache.cache_dir", dir.to_str().unwrap()).unwrap();
    let error = bench.jit(&Session::default(), "fresh", &one()).unwrap_err();
    for part in ["is not a cache of dijitso", dir.to_str().unwrap(), "DIJITSO_CACHE_DIR"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(content(&dir), before, "a build");
}

/// Every command can change a cache that builds have made. It has the mark that backup programs know.
#[test]
fn a_cache_is_marked_before_anything_is_put_into_it() {
    let bench = Bench::new(0o755);
    bench.jit(&Session::default(), "form", &one()).unwrap();
    let mark = fs::read_to_string(bench.cache().join(MARK)).unwrap();
    assert!(mark.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"), "{mark}");
    for change in CHANGES {
        let output = dijitso(&bench.cache(), change);
        assert!(output.status.success(), "{change:?}: {}", words(&output));
    }
    assert!(bench.cache().join(MARK).exists());
    // Without it what is there is loaded, and nothing is changed.
    bench.jit(&Session::default(), "form", &one()).unwrap();
    fs::remove_file(bench.cache().join(MARK)).unwrap();
    let before = content(&bench.cache());
    bench.jit(&Session::default(), "form", &one()).unwrap();
    assert!(!dijitso(&bench.cache(), &["clean", "-y"]).status.success());
    assert_eq!(content(&bench.cache()), before);
}

/// Nothing is written to a directory of another user, or to one that others can write: not even the
/// toolchain.
#[test]
fn a_directory_that_is_refused_gets_nothing_written() {
    let mut bench = Bench::new(0o755);
    bench.params.set("cache.signature", "hash").unwrap();
    let (cache, other) = (bench.cache(), bench.at.join("other"));
    mkdir(&other, 0o755);
    let refused = |what: &str| {
        let before = (content(&cache), content(&other));
        let error = bench.jit(&Session::default(), "form", &one()).unwrap_err();
        assert!(error.message().contains("refused"), "{what}: {error}");
        assert_eq!((content(&cache), content(&other)), before, "{what}");
    };
    mkdir(&cache, 0o777);
    refused("anybody can write it");
    for folder in ["toolchain", "lease", "comm", "stats"] {
        symlink(&other, cache.join(folder)).unwrap();
    }
    refused("links in it");
    if chown(&cache, Some(STRANGER), None).is_ok() {
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
        refused("another user's");
    }
}

/// A directory where a log or a source belongs, and whatever is in it.
#[test]
fn a_directory_in_the_place_of_a_log_or_source_stops_no_build() {
    let bench = Bench::new(0o755);
    bench.jit(&Session::default(), "other", &one()).unwrap();
    for name in ["log/form.txt", "src/form.cpp.gz"] {
        fs::create_dir(bench.cache().join(name)).unwrap();
        fs::write(bench.cache().join(name).join("mine"), "").unwrap();
    }
    bench.jit(&Session::default(), "form", &one()).unwrap();
    bench.jit(&Session::default(), "form", &one()).unwrap();
    dijitso(&bench.cache(), &["clean", "-y"]);
    for name in ["log/form.txt", "src/form.cpp.gz"] {
        assert!(bench.cache().join(name).join("mine").exists());
    }
}

/// Makes a cache, as another user and with a umask.
#[test]
#[ignore = "the child process of other tests"]
fn child_process() {
    let cache = std::env::var_os("DIJITSO_TEST_OWNED_CACHE").expect("another test starts this one");
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
    let mut params = Params::new().unwrap();
    params.set("cache.cache_dir", cache.to_str().unwrap()).unwrap();
    let params = params.resolve().unwrap().cache;
    let cache = dijitso::cache::Cache::new(&params.cache_dir, &params);
    cache.ensure_dirs().unwrap();
    cache.write_toolchain("key", b"{}").unwrap();
}

/// Modes are those of the book whatever the umask: a cache that its own user cannot enter is of no use.
#[test]
fn a_umask_that_takes_all_rights_away_leaves_a_cache_that_can_be_used() {
    let bench = Bench::new(0o755);
    let (home, cache) = (bench.at.join("home"), bench.at.join("home/caches/own"));
    mkdir(&home, 0o700);
    // Root is not hindered by modes.
    let root = rustix::process::geteuid().is_root();
    let mut own = std::env::current_exe().unwrap();
    if root {
        fs::set_permissions(&bench.at, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&home, Some(STRANGER), Some(STRANGER)).unwrap();
        let copy = bench.at.join("program");
        fs::copy(own, &copy).unwrap();
        own = copy;
    }
    let mut program = Command::new(own);
    program.args(child::arguments("owned::child_process")).current_dir("/");
    program.env("DIJITSO_TEST_OWNED_CACHE", &cache).env("HOME", &home);
    if root {
        program.uid(STRANGER).gid(STRANGER);
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let mode = |name: &str| fs::metadata(cache.join(name)).unwrap().mode() & 0o777;
    assert_eq!(fs::metadata(cache.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    for (name, expected) in
        [("", 0o700), ("lib", 0o700), ("include", 0o700), (MARK, 0o600), ("toolchain/key", 0o600)]
    {
        assert_eq!(mode(name), expected, "{name}");
    }
}

/// The reason is that of the file system.
#[test]
fn gc_in_a_cache_that_cannot_be_written_says_why() {
    let bench = Bench::new(0o755);
    bench.jit(&Session::default(), "form", &one()).unwrap();
    // A file where leases belong stops even root, as a disk that is read-only would.
    let _ = fs::remove_dir_all(bench.cache().join("lease"));
    fs::write(bench.cache().join("lease"), "").unwrap();
    let said = words(&dijitso(&bench.cache(), &["gc", "--max-size", "0"]));
    assert!(said.contains("cannot make room") && said.contains("is a link or a file"), "{said}");
}

/// The dynamic loader replaces such words in a path by something else.
#[test]
fn a_cache_with_a_word_of_the_loader_in_its_path_is_used() {
    for name in ["$ORIGIN", "a${LIB}b", "x$PLATFORM"] {
        let mut bench = Bench::new(0o755);
        let cache = bench.at.join(name).join("cache");
        bench.params.set("cache.cache_dir", cache.to_str().unwrap()).unwrap();
        for _ in 0..2 {
            let library = bench.jit(&Session::default(), "form", &one()).unwrap();
            assert_eq!(call(&library), 1, "{name}");
            assert_eq!(library.path(), cache.join("lib/libdijitso-form.so"));
        }
        // Where nothing else is at hand, the error says so.
        bench.params.set("cache.temp_dir_root", bench.at.join(name).to_str().unwrap()).unwrap();
        let error = bench.jit(&Session::default(), "form", &one()).unwrap_err();
        assert!(error.message().contains("the dynamic loader would replace"), "{error}");
    }
}
