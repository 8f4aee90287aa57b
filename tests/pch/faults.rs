//! Programs and compilers that end while a header is precompiled, and full disks: the remains are not used,
//! and the next program starts again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::absent::skip;
use crate::bench::{Bench, COMMON, call, source};
use crate::child;

const PART: &str = "DIJITSO_TEST_PCH_PART";

/// Returns the command of a child process that runs `part` on a bench. `wrapper` is a command that starts its
/// last arguments.
fn program(wrapper: &[&str], part: &str, at: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(|word| (*word).into()).chain([own.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(child::arguments("faults::child_process"));
    command.env(PART, part).current_dir(at).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
#[ignore = "the child process of other tests"]
fn child_process() {
    let part = std::env::var(PART).expect("another test starts this one");
    let bench = Bench::there(&std::env::current_dir().unwrap(), "always");
    match part.as_str() {
        "build" => assert_eq!(call(&bench.jit("first"), "first"), 1),
        "full" => on_a_full_disk(&bench),
        "environment" => in_two_environments(bench),
        _ => panic!("no such part: {part}"),
    }
}

// --- programs that are killed ------------------------------------------------------------------------------

/// A compiler that stops in the middle of precompiling, with half a file written, while the file `hold`
/// exists.
fn stopping() -> Bench {
    let bench = Bench::new("/usr/bin/g++", "always");
    let at = bench.at.display();
    let stop = format!(
        "case \"$*\" in *preamble.h.gch*)\n  if [ -e {at}/hold ]; then\n    head -c 5000 /bin/sh > \
         preamble.h.gch\n    \
         echo $$ > {at}/started.new\n    mv {at}/started.new {at}/started\n    \
         while [ -e {at}/hold ]; do sleep 0.02; done\n  fi;;\nesac\n"
    );
    bench.write_compiler(&stop, "/usr/bin/g++");
    fs::write(bench.at.join("hold"), "").unwrap();
    bench
}

impl Bench {
    /// Waits for the compiler to stop, and returns its process group.
    fn stopped(&self) -> Pid {
        self.wait_until("the compiler was not started", |bench| bench.at.join("started").exists());
        let id = fs::read_to_string(self.at.join("started")).unwrap();
        Pid::from_raw(id.trim().parse().unwrap()).unwrap()
    }

    fn go_on(&self) {
        fs::remove_file(self.at.join("hold")).unwrap();
    }

    /// Returns the names of all files of precompiled headers, without those of the folders.
    fn files(&self) -> Vec<String> {
        let list = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let store = list(&self.at.join("cache/pch"));
        let mut files: Vec<String> = store
            .iter()
            .flat_map(|path| if path.is_dir() { list(path) } else { vec![path.clone()] })
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        files
    }
}

/// The files of one precompiled header.
const WHOLE: [&str; 7] = [".began", ".lock", "plan", "preamble.d", "preamble.h", "preamble.h.gch", "record"];

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn what_a_compiler_makes_after_its_program_was_killed_is_taken_up() {
    let bench = stopping();
    let child = program(&[], "build", &bench.at).spawn().unwrap();
    bench.stopped();
    kill(child);
    assert_eq!((bench.calls(), bench.made().len()), ([0, 0, 1], 0));
    std::thread::scope(|scope| {
        // It waits for the compiler, which holds the lock.
        let second = scope.spawn(|| assert_eq!(call(&bench.jit("second"), "second"), 1));
        bench.go_on();
        second.join().unwrap();
    });
    assert_eq!((bench.calls(), bench.files()), ([1, 0, 1], WHOLE.map(str::to_owned).to_vec()));
}

#[test]
fn what_was_left_when_program_and_compiler_were_killed_is_made_anew() {
    let bench = stopping();
    let child = program(&[], "build", &bench.at).spawn().unwrap();
    let compiler = bench.stopped();
    kill(child);
    kill_process_group(compiler, Signal::KILL).unwrap();
    assert!(bench.files().contains(&"preamble.h.gch".to_owned()), "half of it: {:?}", bench.files());
    bench.go_on();
    assert_eq!(call(&bench.jit("second"), "second"), 1);
    assert_eq!((bench.calls(), bench.files()), ([1, 0, 2], WHOLE.map(str::to_owned).to_vec()));
}

#[test]
fn without_its_compiler_a_program_compiles_plainly_and_tries_again_later() {
    let bench = stopping();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| assert_eq!(call(&bench.jit("first"), "first"), 1));
        kill_process_group(bench.stopped(), Signal::KILL).unwrap();
        first.join().unwrap();
    });
    assert_eq!((bench.calls(), bench.made().len()), ([0, 1, 1], 0));
    bench.go_on();
    // Not at once: it may be killed each time, because memory is short.
    assert_eq!(call(&bench.jit("second"), "second"), 1);
    assert_eq!(bench.calls(), [0, 2, 1]);
    bench.let_hours_pass();
    assert_eq!(call(&bench.jit("third"), "third"), 1);
    assert_eq!((bench.calls(), bench.files()), ([1, 2, 2], WHOLE.map(str::to_owned).to_vec()));
}

// --- an environment that changes ---------------------------------------------------------------------------

/// Another thread of the host changes the search path of compilers while a precompiled header waits to be
/// built.
fn in_two_environments(mut bench: Bench) {
    bench.params.set("build.precompile", "auto").unwrap();
    bench.params.set("build.include_dirs", "").unwrap();
    let set = |dir: &str| {
        // SAFETY: this program runs one test, and its other threads read variables only through this library.
        unsafe { std::env::set_var("CPATH", bench.at.join(dir)) };
    };
    for dir in ["a", "b"] {
        fs::create_dir(bench.at.join(dir)).unwrap();
        let value = if dir == "a" { "1" } else { "2" };
        fs::write(bench.at.join(dir).join("common.h"), COMMON.replace("VALUE", value)).unwrap();
    }
    let code = |name: &str| format!("#include <list>\n{}", source(name));
    set("a");
    assert_eq!(call(&bench.jit("first"), "first"), 1);
    bench.stopped();
    assert_eq!(call(&bench.jit_with("second", &code("second"), None).unwrap(), "second"), 1);
    set("b");
    bench.go_on();
    bench.wait_until("two were not made", |bench| bench.made().len() == 2);
    set("a");
    assert_eq!(call(&bench.jit_with("third", &code("third"), None).unwrap(), "third"), 1);
    assert_eq!(bench.calls(), [1, 2, 2]);
    set("b");
    assert_eq!(call(&bench.jit_with("fourth", &code("fourth"), None).unwrap(), "fourth"), 2);
}

#[test]
fn what_is_made_later_is_made_in_the_environment_of_the_build() {
    let bench = stopping();
    let output = program(&[], "environment", &bench.at).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// --- full disks --------------------------------------------------------------------------------------------

/// Returns the size of a precompiled header, in bytes.
fn size_of_one() -> u64 {
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    fs::metadata(bench.made()[0].join("preamble.h.gch")).unwrap().len()
}

/// Runs in a file system of its own, which ends with the process.
fn on_a_full_disk(bench: &Bench) {
    let store = bench.at.join("cache/pch");
    let filler = store.join("filler");
    if fs::exists("fill").unwrap() {
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
    for name in ["first", "second"] {
        assert_eq!(call(&bench.jit(name), name), 1);
    }
    assert_eq!((&bench.calls()[..2], bench.made().len()), (&[0, 2][..], 0), "{:?}", bench.files());
    let _ = fs::remove_file(&filler);
    let room = Command::new("mount").args(["-o", "remount,size=1g"]).arg(&store).status().unwrap();
    assert!(room.success());
    bench.let_hours_pass();
    assert_eq!(call(&bench.jit("third"), "third"), 1);
    assert_eq!((bench.calls()[0], bench.made().len()), (1, 1), "{:?}", bench.files());
}

#[test]
fn on_a_full_disk_a_program_compiles_plainly() {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        skip("this user may not mount a file system");
        return;
    }
    let whole = size_of_one() >> 10;
    // Room for nothing; for the text; for a part of the result; for nearly all of it.
    for (size, fill) in [(64, true), (64, false), (whole / 2, false), (whole - 40, false)] {
        let bench = Bench::new("/usr/bin/g++", "always");
        let store = bench.at.join("cache/pch");
        fs::create_dir_all(&store).unwrap();
        // Marks the directory as a cache.
        let mark = "Signature: 8a477f597d28d172789f06886806bc55\n# dijitso cache, format 1\n";
        fs::write(bench.at.join("cache/CACHEDIR.TAG"), mark).unwrap();
        if fill {
            fs::write(bench.at.join("fill"), "").unwrap();
        }
        let mount =
            format!("mount -t tmpfs -o size={size}k,mode=700 none {} && exec \"$0\" \"$@\"", store.display());
        let wrapper = ["unshare", "--mount", "sh", "-c", &mount];
        let output = program(&wrapper, "full", &bench.at).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{size}k: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Limits the size of a file, with the signal and without: below that of the preprocessed text, and below
/// that of the precompiled header.
#[test]
fn what_is_larger_than_a_file_may_be_is_not_made() {
    for (blocks, trap, tries) in [(400, "", 0), (8000, "", 1), (8000, "trap '' XFSZ; ", 1)] {
        let bench = Bench::new("/usr/bin/g++", "always");
        // In blocks of 512 or 1024 bytes.
        let limit = format!("{trap}ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let mut child = program(&["sh", "-c", &limit], "build", &bench.at);
        let output = child.stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((bench.calls(), bench.made().len()), ([0, 1, tries], 0), "{:?}", bench.files());
        bench.let_hours_pass();
        assert_eq!(call(&bench.jit("second"), "second"), 1);
        assert_eq!((bench.calls(), bench.files()), ([1, 1, tries + 1], WHOLE.map(str::to_owned).to_vec()));
    }
}
