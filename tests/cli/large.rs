//! A cache with ten thousand entries.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value as Json;

use super::{Home, SOURCE, entry, lines};

/// Entries as a large project has them, written without waiting for the disk.
fn many(home: &Home, number: usize) -> Vec<PathBuf> {
    let cache = home.cache();
    cache.ensure_dirs().unwrap();
    let layout = cache.layout();
    let mut written = Vec::new();
    for at in 0..number {
        let signature = format!("form{}_{at:032x}", at % 100);
        let files = entry(&signature, at, 20);
        let source = format!("// {signature}\n{}", SOURCE.repeat(5));
        fs::write(layout.lib(&signature), &files.library).unwrap();
        fs::write(layout.inc(&signature), files.header.unwrap()).unwrap();
        fs::write(layout.log(&signature), files.log.unwrap()).unwrap();
        fs::write(layout.src(&signature, true), dijitso::fsutil::gzip(source.as_bytes())).unwrap();
        written.push(layout.lib(&signature));
    }
    written
}

#[test]
fn ten_thousand_entries_are_shown_and_searched() {
    const NUMBER: usize = 10_000;
    // In memory where there is such a place: it is not the disk that is looked at here.
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |facts| facts.f_bavail * facts.f_frsize);
    let home =
        if room > 1 << 30 { Home { dir: tempfile::tempdir_in(memory).unwrap() } } else { Home::empty() };
    let libraries = many(&home, NUMBER);
    assert_eq!(fs::metadata(&libraries[0]).unwrap().permissions().mode() & 0o022, 0, "umask 022 or stricter");
    let timed = |arguments: &[&str]| {
        let begin = Instant::now();
        let shown = home.shows(arguments);
        let took = begin.elapsed().as_secs_f64();
        let _ = writeln!(std::io::stderr(), "{NUMBER} entries: {took:.2} s  dijitso {}", arguments.join(" "));
        shown
    };
    let shown = timed(&["show"]);
    assert_eq!(shown.matches("gcc 12.2.0").count(), NUMBER);
    assert!(shown.contains("10000 entries"));
    assert_eq!(lines(&timed(&["show", "--signatures"])).len(), NUMBER);
    assert_eq!(lines(&timed(&["show", "--files"])).len(), 4 * NUMBER);
    let json: Json = serde_json::from_str(&timed(&["show", "--json"])).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), NUMBER);
    let literal = timed(&["grep", "--pattern", "a.b", "--countonly"]);
    assert_eq!((lines(&literal).len(), lines(&literal)[0].ends_with(": 10")), (NUMBER, true));
    timed(&["grep", "--pattern", "return [a-z]+;", "--regexmode", "--filesonly"]);
    let functions = timed(&["grepfunction", "--name", "evaluate", "--no-body"]);
    assert_eq!(functions.matches("double evaluate").count(), 5 * NUMBER);
    let removed = timed(&["clean", "--yes"]);
    assert!(removed.starts_with("40000 files"), "{removed}");
    assert_eq!(home.files(), 0);
}
