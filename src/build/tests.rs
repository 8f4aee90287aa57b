//! Builds with a compiler that is a script of ours, and failures that can be carried away.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::params::{Params, Surroundings};
use crate::process::Spawn;

struct Bench {
    dir: tempfile::TempDir,
    params: BuildParams,
}

impl Bench {
    /// A bench whose compiler is a shell script with this body.
    fn new(script: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let compiler = dir.path().join("my compiler");
        fs::write(&compiler, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700)).unwrap();
        let around = Surroundings {
            variables: [("HOME", "/h".to_owned())].into(),
            cwd: dir.path().to_owned(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let mut params = Params::in_surroundings(&around).unwrap();
        params.set("build.cxx", &shell_words::join([compiler.display().to_string()])).unwrap();
        for (key, value) in settings {
            params.set(key, value).unwrap();
        }
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { params: params.resolve().unwrap().build, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn build(&self) -> Result<Built> {
        self.build_by(&Spawn)
    }

    fn build_by(&self, runner: &dyn Runner) -> Result<Built> {
        let (include, lib) = (self.path("cache/include"), self.path("cache/lib"));
        fs::create_dir_all(&include).unwrap();
        fs::create_dir_all(&lib).unwrap();
        fs::write(include.join("dep.h"), "// dep").unwrap();
        fs::write(lib.join("libdep.so"), "dep").unwrap();
        let job = Job {
            params: &self.params,
            signature: "sig",
            source: ("sig.cpp", b"source"),
            header: Some(("sig.h", b"header")),
            library: "libsig.so",
            dependencies: &["libdep.so".to_owned()],
            belongings: vec![include.join("dep.h"), lib.join("libdep.so"), lib.join("none.h")],
            cache_dirs: (&include, &lib),
            temp_root: &self.path("tmp"),
            failure_dir: &self.path("fail/jitfailure-sig"),
        };
        build(&job, runner)
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

const WRITE: &str = "for last; do :; done; cat sig.cpp sig.h > \"$last\"; echo 'a warning'";

/// Defect C12 of the original: the temporary directory of every build stayed.
#[test]
fn c12_no_temporary_directory_survives_a_build() {
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let bench = Bench::new(WRITE, &[("build.system_call_method", method)]);
        let built = bench.build().unwrap();
        assert_eq!(
            (built.image.as_slice(), built.output.as_str()),
            (b"sourceheader".as_slice(), "a warning\n")
        );
        assert_eq!(bench.leftovers(), 0);
        assert!(!bench.path("fail").exists());
    }
    let bench = Bench::new("exit 1", &[]);
    bench.build().unwrap_err();
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn a_failure_says_what_the_compiler_said_first_and_can_be_reproduced_elsewhere() {
    let script =
        "cat \"$PWD/include/dep.h\" 2>/dev/null; echo 'sig.cpp:1:1: error: 100 % \\377 wrong' >&2; exit 4";
    let bench = Bench::new(script, &[]);
    let error = bench.build().unwrap_err();
    assert_eq!(error.kind(), Kind::Compile);
    for part in ["cannot build sig", "exit code 4", "error: 100 %", "recompile.sh"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    let folder = PathBuf::from(error.path());
    let elsewhere = bench.path("else where");
    fs::rename(&folder, &elsewhere).unwrap();
    fs::remove_dir_all(bench.path("cache")).unwrap();
    let again = std::process::Command::new(elsewhere.join("recompile.sh")).output().unwrap();
    assert_eq!(again.status.code(), Some(4));
    assert_eq!(again.stdout, b"// dep", "the header of the dependency is there");
    assert!(String::from_utf8_lossy(&fs::read(elsewhere.join("error.log")).unwrap()).contains("100 %"));
    for name in ["sig.cpp", "sig.h", "README", "include/dep.h", "lib/libdep.so"] {
        assert!(elsewhere.join(name).is_file(), "{name}");
    }
    // A second failure takes the place of the first.
    bench.build().unwrap_err();
    bench.build().unwrap_err();
    assert_eq!(fs::read_dir(bench.path("fail")).unwrap().count(), 1);
}

#[test]
fn a_missing_compiler_is_an_error_with_advice() {
    let mut bench = Bench::new("", &[]);
    bench.params.compiler = vec!["/nonexistent/c++".to_owned()];
    let error = bench.build().unwrap_err();
    assert_eq!(error.kind(), Kind::Compile);
    assert!(error.message().contains("/nonexistent/c++") && error.message().contains("CXX"), "{error}");
    assert!(PathBuf::from(error.path()).join("recompile.sh").is_file());
}

#[test]
fn no_library_no_success() {
    let error = Bench::new("exit 0", &[]).build().unwrap_err();
    assert!(error.message().contains("wrote no library"), "{error}");
    let error = Bench::new("kill -9 $$", &[]).build().unwrap_err();
    assert!(error.message().contains("signal 9"), "{error}");
    let error = Bench::new("sleep 60", &[("build.timeout", "0.1")]).build().unwrap_err();
    assert!(error.message().contains("time limit"), "{error}");
}

/// A host that ignores SIGCHLD: nobody says how the compiler ended, so the library has to speak for itself.
#[test]
fn without_a_status_only_a_whole_library_counts() {
    struct NoStatus;
    impl Runner for NoStatus {
        fn run(&self, command: &Command) -> io::Result<Outcome> {
            let outcome = Spawn.run(command)?;
            Ok(Outcome { exit: Exit::Unknown, ..outcome })
        }
    }
    let build_with = |script: &str| {
        let bench = Bench::new(script, &[]);
        bench.build_by(&NoStatus)
    };
    let half = "for last; do :; done; head -c 100 /proc/self/exe > \"$last\"";
    let error = build_with(half).unwrap_err();
    assert!(error.message().contains("SIGCHLD"), "{error}");
    let whole = "for last; do :; done; cp \"$(ls /lib/*/libm.so.6 /lib*/libm.so.6 2>/dev/null | head -n 1)\" \"$last\"";
    assert!(!build_with(whole).unwrap().image.is_empty());
}

#[test]
fn places_that_cannot_be_written_lose_no_diagnosis() {
    let bench = Bench::new("echo 'x: error: y'; exit 1", &[]);
    fs::write(bench.path("fail"), "a file").unwrap();
    let error = bench.build().unwrap_err();
    assert!(error.message().contains("x: error: y"), "{error}");
    assert_eq!(error.path(), "");
    let bench = Bench::new(WRITE, &[]);
    fs::remove_dir(bench.path("tmp")).unwrap();
    assert_eq!(bench.build().unwrap_err().kind(), Kind::Cache);
}
