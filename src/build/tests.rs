//! Builds with a script as the compiler, and failures that can be reproduced elsewhere.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::elf::sample::sample;
use crate::params::Params;
use crate::process::Command;
use crate::process::SystemRunner;
use crate::process::exec_context::ExecContext;

struct Bench {
    dir: tempfile::TempDir,
    params: BuildParams,
    minds_inputs: bool,
}

impl Bench {
    /// Returns a bench whose compiler is a shell script with this body.
    fn new(script: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let compiler = dir.path().join("my compiler");
        fs::write(&compiler, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::write(dir.path().join("my compiler.elf"), sample(b"")).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700)).unwrap();
        let mut params = Params::for_test_in(dir.path(), settings);
        params.set("build.cxx", &shell_words::join([compiler.display().to_string()])).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let params = params.resolve().unwrap();
        Self { minds_inputs: params.cache.tracks_inputs(), params: params.build, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn build(&self) -> Result<Built, Error> {
        self.build_by(&SystemRunner).map_err(Error::from)
    }

    /// Fails to build, and returns true if the same build would fail again.
    fn is_deterministic(&self) -> bool {
        self.build_by(&SystemRunner).unwrap_err().deterministic
    }

    /// Returns the number of calls of `echo >> "$0.runs"` in the script.
    fn runs(&self) -> usize {
        fs::read_to_string(self.path("my compiler.runs")).unwrap_or_default().lines().count()
    }

    fn build_by(&self, runner: &dyn Runner) -> Result<Built, Failed> {
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
            repro_files: vec![include.join("dep.h"), lib.join("libdep.so"), lib.join("none.h")],
            source_dir: &self.path("cache/src"),
            cache_dirs: (&include, &lib),
            copies: None,
            temp_roots: &[self.path("tmp")],
            failure_dir: &self.path("fail/jitfailure-sig"),
            tracks_inputs: self.minds_inputs,
            memory_roots: &[],
            pch_store: None,
            context: &ExecContext::default(),
        };
        build(&job, runner)
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

const WRITE: &str = "for last; do :; done; cat \"$0.elf\" sig.cpp sig.h > \"$last\"; echo 'a warning'";

/// Defect C12 of the original: the temporary directory of every build stayed.
#[test]
fn c12_no_temporary_directory_survives_a_build() {
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let bench = Bench::new(WRITE, &[("build.system_call_method", method)]);
        let built = bench.build().unwrap();
        assert_eq!(
            (built.image.as_slice(), built.output.as_str()),
            (sample(b"sourceheader").as_slice(), "a warning\n")
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

/// Defect C2 of the original: the reason why a rename had failed was lost.
#[test]
fn c2_a_failure_folder_that_cannot_be_put_in_its_place_says_why() {
    let bench = Bench::new("echo 'x: error: y'; exit 1", &[]);
    fs::create_dir(bench.path("fail")).unwrap();
    fs::write(bench.path("fail/jitfailure-sig"), "a file").unwrap();
    let error = bench.build().unwrap_err();
    for part in ["x: error: y", bench.path("fail/jitfailure-sig").to_str().unwrap(), "is a link or a file"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!(fs::read_dir(bench.path("fail")).unwrap().count(), 1, "what was staged is gone");
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

/// A compiler exited with 0 and left another file: it was published, and the host died of a signal at every
/// run.
#[test]
fn what_is_no_whole_library_is_no_success() {
    for (script, text) in [
        ("head -c 100 \"$0.elf\" > \"$last\"", "cut short"),
        ("head -c -1 \"$0.elf\" > \"$last\"", "cut short"),
        (": > \"$last\"", "it is empty"),
        ("cat sig.cpp > \"$last\"", "not an ELF file"),
        ("head -c 4096 /proc/self/exe > \"$last\"", "cut short"),
    ] {
        let bench = Bench::new(&format!("for last; do :; done; {script}"), &[]);
        let failed = bench.build_by(&SystemRunner).unwrap_err();
        assert!(!failed.deterministic, "another run may do better");
        let error = Error::from(failed);
        assert_eq!(error.kind(), Kind::Compile, "{script}: {error}");
        for part in ["wrote no shared library into libsig.so", text, "recompile.sh"] {
            assert!(error.message().contains(part), "{script}: {part}: {error}");
        }
        assert!(PathBuf::from(error.path()).join("recompile.sh").is_file(), "{script}");
    }
}

/// In a host that ignores SIGCHLD the exit status is unknown, so only a complete library counts.
#[test]
fn without_a_status_only_a_whole_library_counts() {
    struct NoStatus;
    impl Runner for NoStatus {
        fn run(&self, command: &Command) -> io::Result<Outcome> {
            let outcome = SystemRunner.run(command)?;
            Ok(Outcome { exit: Exit::Unknown, ..outcome })
        }
    }
    let build_with = |script: &str| {
        let bench = Bench::new(script, &[]);
        bench.build_by(&NoStatus).map_err(Error::from)
    };
    let half = "for last; do :; done; head -c 100 /proc/self/exe > \"$last\"";
    let error = build_with(half).unwrap_err();
    assert!(error.message().contains("SIGCHLD"), "{error}");
    let whole = "for last; do :; done; cp \"$(ls /lib/*/libm.so.6 /lib*/libm.so.6 2>/dev/null | head -n \
                 1)\" \"$last\"";
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

/// A compiler that dies while it optimises is run again, and the result says so.
#[test]
fn a_compiler_that_is_killed_at_o3_works_at_o1() {
    let script = format!("echo \"$*\" >> \"$0.runs\"; case \"$*\" in *-O1*) {WRITE};; *) kill -9 $$;; esac");
    let bench = Bench::new(&script, &[]);
    let built = bench.build().unwrap();
    assert_eq!(bench.runs(), 2);
    let at = |flag: &str| built.argv.iter().position(|word| word == flag).unwrap();
    assert!(at("-O3") < at("-O1") && at("-O1") < at("-I."), "{:?}", built.argv);
    assert!(built.retried.unwrap().contains("-O1"));
    let lines: Vec<&str> = built.output.lines().collect();
    assert!(lines[0].contains("-O1") && lines[0].contains("signal 9"), "{lines:?}");
    assert_eq!(lines[1], "a warning");
    assert_eq!(bench.leftovers(), 0);
    let bench = Bench::new(&script, &[("build.retry", "false")]);
    bench.build().unwrap_err();
    assert_eq!(bench.runs(), 1);
}

#[test]
fn a_compiler_that_always_dies_is_tried_twice_and_the_second_failure_is_told() {
    let always = "echo >> \"$0.runs\"; echo half > libsig.so; kill -11 $$";
    let bench = Bench::new(always, &[]);
    let failed = bench.build_by(&SystemRunner).unwrap_err();
    assert_eq!((bench.runs(), failed.deterministic), (2, false));
    let error = Error::from(failed);
    for part in ["was killed by signal 11 (-O1 was added because the first run", "recompile.sh"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert!(error.log().contains("first run"), "{}", error.log());
    let script = fs::read_to_string(PathBuf::from(error.path()).join("recompile.sh")).unwrap();
    assert!(script.contains("-O1"), "{script}");
    // Without optimisation there is nothing to lower.
    let bench = Bench::new(always, &[("build.debug", "true")]);
    bench.build().unwrap_err();
    assert_eq!(bench.runs(), 1);
    // A file of the first run is not taken for that of the second.
    let bench = Bench::new("case \"$*\" in *-O1*) exit 0;; esac; echo half > libsig.so; kill -11 $$", &[]);
    let error = bench.build().unwrap_err();
    assert!(error.message().contains("wrote no library"), "{error}");
}

#[test]
fn a_driver_that_reports_a_crash_is_a_crash_and_an_error_or_a_time_limit_is_not() {
    let runs = |script: &str, settings: &[(&str, &str)]| {
        let bench = Bench::new(&format!("echo >> \"$0.runs\"; {script}"), settings);
        bench.build().unwrap_err();
        bench.runs()
    };
    assert_eq!(runs("echo 'x.cpp:1: internal compiler error: Segmentation fault'; exit 1", &[]), 2);
    assert_eq!(runs("echo 'c++: fatal error: Killed signal terminated program cc1plus'; exit 1", &[]), 2);
    assert_eq!(runs("exit 137", &[]), 2);
    assert_eq!(runs("echo 'x.cpp:1:1: error: no'; exit 1", &[]), 1);
    assert_eq!(runs("exit 3", &[]), 1);
    assert_eq!(runs("exit 0", &[]), 1);
    assert_eq!(runs("sleep 60", &[("build.timeout", "0.2")]), 1);
}

#[test]
fn only_a_verdict_on_the_source_is_deterministic() {
    let deterministic = |script: &str| Bench::new(script, &[]).is_deterministic();
    assert!(deterministic("echo 'x.cpp:1:1: error: no'; exit 1"));
    for script in [
        "exit 1",
        "exit 0",
        "kill -9 $$",
        "echo 'x.cpp:1:1: error: no'; exit 0",
        "echo 'x.s: fatal error: No space left on device'; exit 1",
        "echo 'x.cpp:1: internal compiler error: Segmentation fault'; exit 1",
        // The second run might have been unlucky too.
        "case \"$*\" in *-O1*) echo 'x: error: y'; exit 1;; esac; kill -9 $$",
    ] {
        assert!(!deterministic(script), "{script}");
    }
    let mut bench = Bench::new("", &[]);
    bench.params.compiler = vec!["/nonexistent/c++".to_owned()];
    assert!(!bench.is_deterministic());
    let bench = Bench::new("echo 'x: error: y'; sleep 60", &[("build.timeout", "0.2")]);
    assert!(!bench.is_deterministic());
}

/// `dd` takes a buffer of 400 MB, in a child of the compiler and of its wrapper. A limit is set on a running
/// process, so the script waits for its own.
#[test]
fn a_memory_limit_is_one_for_every_process_and_is_named() {
    let hungry = |limit: u64| {
        format!(
            "n=0; until grep -q 'address space *{limit} ' /proc/$$/limits; do n=$((n + 1)); \
             [ $n -lt 3000 ] || exit 9; sleep 0.01; done; \
             sh -c 'dd if=/dev/zero of=/dev/null bs=400M count=1; exit $?' || exit 1"
        )
    };
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let method = ("build.system_call_method", method);
        let bench = Bench::new(&hungry(200 << 20), &[("build.memory_limit", "200M"), method]);
        let error = bench.build().unwrap_err();
        assert!(error.message().contains("(build.memory_limit is 200.0 MiB)"), "{error}");
        let bench =
            Bench::new(&format!("{}; {WRITE}", hungry(2 << 30)), &[("build.memory_limit", "2G"), method]);
        bench.build().unwrap();
    }
}

/// The temporary files of a killed compiler are removed with the build.
#[test]
fn temporary_files_of_a_killed_compiler_are_removed() {
    let script = "echo > \"$TMPDIR/ccXXXX.s\"; echo \"$TMPDIR\" > \"$0.runs\"; sleep 60";
    let bench = Bench::new(script, &[("build.timeout", "0.5")]);
    bench.build().unwrap_err();
    let place = fs::read_to_string(bench.path("my compiler.runs")).unwrap();
    assert!(Path::new(place.trim()).starts_with(bench.path("tmp")), "{place}");
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn a_library_that_cannot_be_read_is_told_with_the_reason() {
    let error = Bench::new("mkdir libsig.so", &[]).build().unwrap_err();
    assert_eq!(error.kind(), Kind::Cache);
    for part in ["libsig.so", "cannot be read", "directory"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

/// The header may have been another one when it was refused.
#[test]
fn a_refusal_during_which_a_header_has_changed_is_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let header = dir.path().join("wrong.h").display().to_string();
    fs::write(&header, "old").unwrap();
    let refusal = format!("echo '{header}:1:1: error: no'; exit 1");
    assert!(Bench::new(&format!("sleep 0.05; {refusal}"), &[]).is_deterministic());
    assert!(!Bench::new(&format!("sleep 0.05; echo new > {header}; {refusal}"), &[]).is_deterministic());
}

#[test]
fn a_file_that_was_not_found_is_no_verdict() {
    for text in [
        "x.cpp:1:10: fatal error: gen.h: No such file or directory",
        "x.cpp:1:10: fatal error: 'gen.h' file not found",
        "/usr/bin/ld: cannot find -lmodel",
        "ld.lld: error: unable to find library -lmodel",
    ] {
        let bench = Bench::new(&format!("echo \"{text}\"; exit 1"), &[]);
        assert!(!bench.is_deterministic(), "{text}");
    }
}

#[test]
fn headers_are_noted_down_where_they_matter_and_the_compiler_can() {
    let script = format!("echo \"$*\" >> \"$0.runs\"; {WRITE}");
    let runs = |bench: &Bench| {
        bench.build().unwrap();
        fs::read_to_string(bench.path("my compiler.runs")).unwrap()
    };
    let asked = runs(&Bench::new(&script, &[]));
    assert!(asked.contains("-MD -MF sig.d") && asked.lines().count() == 1, "{asked}");
    for setting in [("cache.check_inputs", "false"), ("cache.signature", "name")] {
        assert!(!runs(&Bench::new(&script, &[setting])).contains("-MD"), "{setting:?}");
    }
    let refuses = format!(
        "echo \"$*\" >> \"$0.runs\"; case \"$*\" in *-MD*) echo 'error: unknown option -MD'; exit 1;; esac; \
         {WRITE}"
    );
    let bench = Bench::new(&refuses, &[]);
    assert_eq!(runs(&bench).lines().count(), 2, "once more without it");
    assert_eq!(runs(&bench).lines().count(), 3, "and never with it again");
}

#[test]
fn an_output_that_never_ends_is_no_library() {
    for script in ["mkfifo \"$last\"", "ln -s /dev/zero \"$last\"", "truncate -s 5G \"$last\""] {
        let bench = Bench::new(&format!("for last; do :; done; {script}"), &[]);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(bench.build().unwrap_err().message().to_owned()));
        let message = receiver.recv_timeout(Duration::from_secs(60)).expect("it ends");
        assert!(message.contains("plain file") || message.contains("allowed"), "{script}: {message}");
    }
}

#[test]
fn a_list_of_headers_that_never_ends_is_not_read() {
    let script = "notes=; for last; do [ \"$notes\" = next ] && notes=$last; [ \"$last\" = -MF ] && \
                  notes=next; done; \
                  [ -n \"$notes\" ] && { mkfifo \"$notes\" || ln -s /dev/zero \"$notes\"; }; \
                  cat \"$0.elf\" sig.cpp > \"$last\"";
    let bench = Bench::new(script, &[]);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(bench.build().unwrap().image));
    let image = receiver.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert_eq!(image, sample(b"source"));
}
