//! `dijitso check`, `dijitso gc` and `dijitso stats`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use dijitso::cache::stats::{Counts, Event};
use dijitso::cache::{Cache, EntryFiles};
use dijitso::params::Params;
use serde_json::Value as Json;

use crate::entries::{self, Contents};
use crate::sample::sample;

use super::Home;

struct Bench {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Bench {
    /// A needs b, and c is alone.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let mut params = Params::new().unwrap();
        params.set("cache.cache_dir", root.to_str().unwrap()).unwrap();
        let params = params.resolve().unwrap().cache;
        let cache = Cache::new(&params.cache_dir, &params);
        for (name, needs) in [("b", &[][..]), ("a", &["b"]), ("c", &[])] {
            cache.publish(&entry(name, needs)).unwrap();
        }
        Self { dir, cache }
    }

    /// Exit code, output, errors.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_dijitso"))
            .args(["--cache-dir", self.cache.layout().root().to_str().unwrap()])
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("HOME", "/home/nobody")
            // Other programs stage their builds in /tmp, and may have died there.
            .env("TMPDIR", self.dir.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> (i32, Json) {
        let (code, out, _) = self.run(&[arguments, &["--json"]].concat());
        (code, serde_json::from_str(&out).unwrap())
    }

    fn lib(&self, signature: &str) -> PathBuf {
        self.cache.layout().lib(signature)
    }

    fn unused_for(&self, signature: &str, hours: u64) {
        let time = SystemTime::now() - Duration::from_secs(3600 * hours);
        fs::File::options().append(true).open(self.lib(signature)).unwrap().set_modified(time).unwrap();
    }
}

fn entry(signature: &str, needs: &[&str]) -> EntryFiles {
    let [header, source, log] = ["header", "source", "log"].map(|text| text.as_bytes().to_vec());
    let image = sample(b"");
    entries::entry(signature, needs, Contents { image, header, source, log })
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Defect W15 of the original: the check looked at libraries in the current directory, and found all sound.
#[test]
fn w15_check_finds_what_is_broken_and_says_so_by_its_exit_code() {
    let bench = Bench::new();
    let (code, out, errors) = bench.run(&["check"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(out.contains("3 entries checked") && out.contains("0 broken"), "{out}");
    damage(&bench.lib("b"));
    let (code, out, _) = bench.run(&["check"]);
    assert_eq!(code, 1);
    for text in ["library-altered", "dependency-broken", "libdijitso-b.so", "--repair", "2 broken"] {
        assert!(out.contains(text), "{text}:\n{out}");
    }
    assert_eq!(bench.run(&["check", "c"]).0, 0);
    assert_eq!(bench.run(&["check", "a"]).0, 1);
    let (code, _, errors) = bench.run(&["check", "no-such-entry"]);
    assert!(code == 3 && errors.contains("no-such-entry"), "{code} {errors}");
}

#[test]
fn repair_says_first_and_then_does() {
    let bench = Bench::new();
    damage(&bench.lib("b"));
    let (code, json) = bench.json(&["check", "--repair", "-n"]);
    assert_eq!((code, &json["findings"][0]["repaired"]), (1, &Json::from("would")), "{json:#}");
    assert!(bench.lib("b").exists() && !bench.cache.layout().quarantine().exists());
    let (code, json) = bench.json(&["check", "--repair"]);
    assert_eq!(code, 0, "{json:#}");
    assert_eq!(json["sound"], true);
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.len() == 2 && findings.iter().all(|finding| finding["repaired"] == "done"), "{json:#}");
    assert!(bench.cache.layout().quarantine().join("libdijitso-b.so").exists());
    let (code, json) = bench.json(&["check"]);
    assert_eq!((code, &json["entries"], &json["findings"]), (0, &Json::from(1), &Json::from([0; 0])));
}

#[test]
fn check_finds_what_is_refused() {
    let bench = Bench::new();
    fs::set_permissions(bench.lib("c"), fs::Permissions::from_mode(0o722)).unwrap();
    let (code, json) = bench.json(&["check"]);
    assert_eq!((code, &json["findings"][0]["what"]), (1, &Json::from("refused")));
    assert_eq!(json["findings"][0]["severity"], "broken");
}

#[test]
fn gc_removes_what_is_least_used_and_wants_a_limit() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["gc"]).0, 2, "without a limit");
    assert_eq!(bench.run(&["gc", "--max-age", "soon"]).0, 2);
    for (signature, hours) in [("a", 24 * 3), ("b", 24 * 9), ("c", 24 * 9)] {
        bench.unused_for(signature, hours);
    }
    let (code, out, _) = bench.run(&["gc", "--max-age", "5d", "-n"]);
    assert!(code == 0 && out.contains("would remove") && out.contains("libdijitso-c.so"), "{out}");
    assert!(bench.lib("c").exists());
    let (code, json) = bench.json(&["gc", "--max-age", "5d"]);
    assert_eq!((code, &json["kept"]), (0, &Json::from(2)), "a is young and needs b: {json:#}");
    assert_eq!(json["removed"][0]["signature"], "c");
    assert!(!bench.lib("c").exists() && bench.lib("b").exists());
    let (code, out, _) = bench.run(&["gc", "--max-size", "0"]);
    assert!(code == 0 && out.contains("removed 2 entries"), "{out}");
    assert_eq!(bench.json(&["check"]).1["entries"], 0);
    assert_eq!(bench.json(&["check"]).1["findings"], Json::from([0; 0]), "nothing is left of them");
}

#[test]
fn stats_add_up_over_hosts_and_are_forgotten_on_request() {
    let bench = Bench::new();
    let (code, out, _) = bench.run(&["stats"]);
    assert!(code == 0 && out.contains("nothing has been counted"), "{out}");
    bench.cache.count(Event::Build, "a", 2000, 0);
    bench.cache.count(Event::Hit, "a", 2000, 5);
    let other = r#"{"v":1,"t":1000,"e":"hit","s":"a","ms":500}"#;
    fs::write(bench.cache.layout().stats_file("other~0"), format!("{other}\n{{\"v\":1,\"t\":\n")).unwrap();
    fs::set_permissions(bench.cache.layout().stats_file("other~0"), fs::Permissions::from_mode(0o600))
        .unwrap();
    let (_, json) = bench.json(&["stats"]);
    let total = &json["total"];
    for (key, expected) in [("hits", 2), ("memory_hits", 5), ("misses", 1), ("builds", 1), ("failures", 0)] {
        assert_eq!(total[key], expected, "{key}: {json:#}");
    }
    assert_eq!((&total["compiling_seconds"], &total["saved_seconds"]), (&Json::from(2.0), &Json::from(2.5)));
    assert_eq!(
        (&json["hosts"]["other"]["hits"], &json["unreadable_lines"]),
        (&Json::from(1), &Json::from(1))
    );
    assert_eq!((&json["since"], &json["categories"]["lib"]["files"]), (&Json::from(1000), &Json::from(3)));
    let (_, out, _) = bench.run(&["stats"]);
    assert!(out.contains("other") && out.contains("SAVED") && out.contains("2.5 s"), "{out}");
    assert_eq!(bench.run(&["stats", "--reset", "-n"]).0, 0);
    assert_eq!(bench.cache.stats().total().builds, 1);
    assert_eq!(bench.run(&["stats", "--reset"]).0, 0);
    assert_eq!(bench.cache.stats().total(), Counts::default());
}

#[test]
fn gc_can_be_told_to_remove_what_has_just_come() {
    let home = Home::with(&["a", "b"], "log");
    let output = home.run(&["gc", "--max-size", "0"]);
    assert!(super::text(&output.stdout).contains("--min-idle"), "{}", super::text(&output.stdout));
    assert_eq!(home.cache().entries().unwrap().len(), 2);
    let output = home.run(&["gc", "--max-size", "0", "--min-idle", "0"]);
    assert_eq!(super::code(&output), (Some(0), ""));
    assert_eq!(home.cache().entries().unwrap().len(), 0);
}
