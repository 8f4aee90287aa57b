//! The home directory of a test, with a cache in it, and the command that runs there.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dijitso::cache::build_spec::BuildSpec;
use dijitso::cache::record::{EntryRecord, FileDigest, append_record};
use dijitso::cache::{Cache, EntryFiles, file_digest};
use dijitso::inputs::Input;
use dijitso::owner::ProcessId;
use dijitso::params::{Environment, Params};
use dijitso::signature::Toolchain;
use serde_json::Value as Json;

use crate::entries::{self, Contents};
use crate::sample::sample;

/// No step of these tests takes so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const POISSON: &str = "poisson_9871e9593e2afab75ec87be9a7d21385";
pub(crate) const OTHER: &str = "poisson_7dd8a143998f0c7705ac73a5a9eab3c1";

pub(crate) const SOURCE: &str = r#"#include "mass.h"
// a.b {
namespace dolfin {
  class Mass {
    double evaluate(double x) const
    {
      const char *text = "} a.b"; if (x > 0) { return x; } else {
        return axb; }
    }
  };
}
extern "C" int create_mass() { return 1; }
"#;

pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A cache with four entries, built one hour after another.
    pub(crate) fn filled() -> Self {
        let home = Self::empty();
        let cache = home.cache();
        for (at, signature) in [POISSON, OTHER, "mass", "stiffness"].into_iter().enumerate() {
            cache.publish(&entry(signature, at, 0)).unwrap();
            let file = fs::File::options().append(true).open(cache.layout().lib(signature)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600 * (9 - at as u64)))
                .unwrap();
        }
        cache.store_source("mass", SOURCE.as_bytes()).unwrap();
        home
    }

    /// A cache with the entries of these signatures, whose logs are this.
    pub(crate) fn with(signatures: &[&str], log: &str) -> Self {
        let home = Self::empty();
        for signature in signatures {
            let image = sample(b"");
            let source = format!("int {signature}() {{ return 0; }}\n").into_bytes();
            let contents = Contents { image, header: b"h".to_vec(), source, log: log.as_bytes().to_vec() };
            home.cache().publish(&entries::entry(signature, &[], contents)).unwrap();
        }
        home
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn cache(&self) -> Cache {
        let environment = Environment {
            variables: [("HOME", self.dir.path().display().to_string())].into(),
            cwd: self.dir.path().to_owned(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let params = Params::in_environment(&environment).unwrap().resolve().unwrap();
        Cache::new(&params.cache.cache_dir, &params.cache)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dijitso"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        ended(self.command(arguments).spawn().unwrap())
    }

    /// Standard output of a run that succeeds and has nothing else to say.
    pub(crate) fn shows(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        text(&output.stdout).to_owned()
    }

    /// Exit code and complaint of a run that fails.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        (output.status.code().unwrap(), text(&output.stderr).to_owned())
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.shows(arguments)).unwrap()
    }

    /// Runs the command on a terminal where `typed` is typed. Returns what it shows, and whether it succeeds.
    pub(crate) fn on_terminal(
        &self,
        arguments: &str,
        typed: &str,
        variables: &[(&str, &str)],
    ) -> (String, bool) {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_dijitso"));
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(self.dir.path())
            .env_remove("NO_COLOR")
            .env("HOME", self.dir.path())
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = ended(child);
        (text(&output.stdout).to_owned(), output.status.success())
    }

    pub(crate) fn files(&self) -> usize {
        self.cache().catalog().unwrap().all().map(|entry| entry.files.len()).sum()
    }

    /// The names of all that is in the directory, but for the cache.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|file| file.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != ".cache");
        names.sort();
        names
    }
}

/// Waits for a program, and not for ever.
pub(crate) fn ended(mut child: Child) -> Output {
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

fn record(signature: &str, at: usize, inputs: usize) -> EntryRecord {
    let input = |at: usize| Input {
        path: format!("/usr/include/some/where/header_{at}.h"),
        size: 1000,
        mtime: 1,
        ctime: None,
        inode: None,
        identity: format!("sha256 {:064x}", at),
    };
    EntryRecord {
        signature: signature.to_owned(),
        name: signature.to_owned(),
        header: None,
        source_sha256: String::new(),
        text: None,
        dependencies: Vec::new(),
        nested: Vec::new(),
        build_spec: BuildSpec::default(),
        inputs: (0..inputs).map(input).collect(),
        toolchain: Toolchain {
            identity: "gcc version 12.2.0 (Debian 12.2.0-14)".to_owned(),
            target: "x86_64-linux-gnu".to_owned(),
            isa: String::new(),
        },
        command: vec!["c++".to_owned(), "-O2".to_owned()],
        generator: "{}".to_owned(),
        built_at: 1_700_000_000,
        seconds: [0.5, 4.25, 1.0, 2.0][at % 4],
        host: "host".to_owned(),
        dijitso: dijitso::VERSION.to_owned(),
    }
}

pub(crate) fn entry(signature: &str, at: usize, inputs: usize) -> EntryFiles {
    let header = format!("int create_{signature}();\n");
    let known: FileDigest = file_digest(header.as_bytes());
    let record = EntryRecord { header: Some(known), ..record(signature, at, inputs) };
    EntryFiles {
        signature: signature.to_owned(),
        library: append_record(vec![7; 1000 * (at % 4 + 1)], &record).unwrap(),
        header: Some(header.into_bytes()),
        source: Some((format!("int create_{signature}() {{ return 0; }}\n").into_bytes(), false)),
        log: Some(b"c++ -O2\n".to_vec()),
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

pub(crate) fn code(output: &Output) -> (Option<i32>, &str) {
    (output.status.code(), text(&output.stderr))
}

/// A cache with something of each kind, and something that is not from here.
pub(crate) fn with_all_kinds() -> Home {
    let home = Home::filled();
    let cache = home.cache();
    let root = cache.layout().root().to_owned();
    let write = |name: &str, size: usize| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; size]).unwrap();
    };
    let pch = "pch/0123456789abcdef0123456789abcdef";
    for (name, size) in [("preamble.h", 100), ("preamble.h.gch", 300_000), ("record", 5000)] {
        write(&format!("{pch}/{name}"), size);
    }
    write("pch/.lock", 0);
    write("jitfailure-mass/recompile.sh", 9000);
    write("jitfailure-mass/include/mass.h", 10);
    write("quarantine/libdijitso-mass.so", 20_000);
    let me = ProcessId::current();
    let dead = ProcessId { start: me.start + 1, ..me };
    write(&format!("tmp/dijitso-{}-x/mass.cpp", dead.tag()), 7000);
    write("lease/mass", 10);
    write("toolchain/0123", 500);
    write("failed/gone_0123", 500);
    write("atime/mass", 0);
    write("stats/host~boot.jsonl", 100);
    write("gc/host~boot", 0);
    write("process-0/lib/libdijitso-mass.so", 40_000);
    write("notes of somebody.txt", 12_000);
    fs::hard_link(root.join("quarantine/libdijitso-mass.so"), root.join("quarantine/libdijitso-other.so"))
        .unwrap();
    home
}
