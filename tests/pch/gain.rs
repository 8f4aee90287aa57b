//! The first builds that use a precompiled header, in each mode, by the calls of the compiler.

use std::fs;
use std::time::Duration;

use crate::bench::{Bench, call};

impl Bench {
    /// Returns the compiler calls that build or precompile, in order.
    fn order(&self) -> Vec<&'static str> {
        let text = fs::read_to_string(self.at.join("calls")).unwrap_or_default();
        let kind = |line: &str| {
            let kinds = [("-soname", "build"), ("preamble.h.gch", "precompile"), ("twice.h", "read")];
            kinds.into_iter().find(|(word, _)| line.contains(word)).map(|(_, kind)| kind)
        };
        text.lines().filter_map(kind).collect()
    }

    /// A compiler that waits before precompiling while a file exists, and before each plain build for some
    /// seconds.
    fn slow(&self, seconds: u32) {
        let at = self.at.display();
        let text = format!(
            "case \"$*\" in *preamble.h.gch*) while [ -e {at}/hold ]; do sleep 0.02; done;; *preamble.h*) ;; \
             *-soname*) sleep {seconds};; esac\n"
        );
        fs::write(self.at.join("hold"), "").unwrap();
        self.write_compiler(&text, "/usr/bin/g++");
    }
}

/// Tracking of inputs does not change the use of precompiled headers.
#[test]
fn builds_gain_whatever_their_signature_is_made_of() {
    for (key, value) in
        [("cache.signature", "hash"), ("cache.signature", "name"), ("cache.check_inputs", "false")]
    {
        let mut bench = Bench::new("/usr/bin/g++", "auto");
        bench.params.set(key, value).unwrap();
        assert_eq!(call(&bench.jit("first"), "first"), 1);
        bench.wait_until(&format!("{key} = {value}: none was made"), |bench| bench.made().len() == 1);
        assert_eq!(call(&bench.jit("second"), "second"), 1);
        assert_eq!(bench.calls(), [1, 1, 1], "{key} = {value}");
        // The recorded command is that of the mode.
        let log = bench.at.join("cache/log").read_dir().unwrap().next().unwrap().unwrap().path();
        let noted = fs::read_to_string(log).unwrap().contains(" -MD ");
        assert_eq!(noted, value == "hash", "{key} = {value}");
    }
}

#[test]
fn it_is_begun_while_the_first_build_compiles_if_a_core_is_free() {
    let mut bench = Bench::new("/usr/bin/g++", "auto");
    bench.free_core = true;
    // Ends when the headers are being precompiled, or after a minute.
    let calls = bench.at.join("calls");
    let wait = format!(
        "case \"$*\" in *-soname*) i=0; while [ $i -lt 600 ] && ! grep -q preamble.h.gch {}; do sleep 0.1; \
         i=$((i + 1)); done;; esac\n",
        calls.display()
    );
    bench.write_compiler(&wait, "/usr/bin/g++");
    assert_eq!(call(&bench.jit("first"), "first"), 1);
    assert_eq!(bench.calls(), [0, 1, 1]);
    bench.wait_until("none was made", |bench| bench.made().len() == 1);
    assert_eq!(call(&bench.jit("second"), "second"), 1);
    assert_eq!(bench.calls(), [1, 1, 1]);

    let bench = Bench::new("/usr/bin/g++", "auto");
    assert_eq!(call(&bench.jit("first"), "first"), 1);
    bench.wait_until("none was made", |bench| bench.made().len() == 1);
    assert_eq!(bench.order(), ["build", "read", "precompile"], "no core was free");
}

#[test]
fn no_more_compilers_run_than_there_are_places() {
    let mut bench = Bench::new("/usr/bin/g++", "auto");
    bench.free_core = true;
    bench.params.set("build.slots_dir", bench.at.join("slots").to_str().unwrap()).unwrap();
    bench.params.set("build.max_compilers", "1").unwrap();
    let at = bench.at.display();
    let alone = format!(
        "case \"$*\" in *-soname*|*preamble.h*|*twice.h*) mkdir {at}/busy || echo \"$@\" >> {at}/overlap; \
         /usr/bin/g++ \"$@\"; r=$?; rmdir {at}/busy; exit $r;; esac\n"
    );
    bench.write_compiler(&alone, "/usr/bin/g++");
    for name in ["a", "b", "c", "d"] {
        assert_eq!(call(&bench.jit(name), name), 1);
    }
    bench.wait_until("none was made", |bench| bench.made().len() == 1);
    assert_eq!(call(&bench.jit("e"), "e"), 1);
    assert!(!bench.at.join("overlap").exists());
    assert!(bench.calls()[0] >= 1 && bench.calls()[2] == 1, "{:?}", bench.calls());
}

#[test]
fn after_two_builds_without_it_the_third_waits_for_what_is_under_way() {
    let bench = Bench::new("/usr/bin/g++", "auto");
    bench.slow(8);
    for name in ["one", "two"] {
        assert_eq!(call(&bench.jit(name), name), 1);
    }
    assert_eq!(&bench.calls()[..2], [0, 2]);
    std::thread::scope(|scope| {
        let third = scope.spawn(|| assert_eq!(call(&bench.jit("three"), "three"), 1));
        std::thread::sleep(Duration::from_millis(300));
        fs::remove_file(bench.at.join("hold")).unwrap();
        third.join().unwrap();
    });
    assert_eq!(bench.calls(), [1, 2, 1]);
}

#[test]
fn no_build_waits_longer_than_twice_what_those_before_it_took() {
    let bench = Bench::new("/usr/bin/g++", "auto");
    bench.slow(0);
    for name in ["one", "two", "three"] {
        assert_eq!(call(&bench.jit(name), name), 1);
    }
    assert_eq!(&bench.calls()[..2], [0, 3]);
    fs::remove_file(bench.at.join("hold")).unwrap();
    bench.wait_until("none was made", |bench| bench.made().len() == 1);
}

/// The headers are read once, and the result is remembered.
#[test]
fn few_headers_are_precompiled_only_if_the_host_says_so() {
    let mut bench = Bench::new("/usr/bin/g++", "auto");
    let code = |name: &str| format!("#include <stddef.h>\nextern \"C\" int f_{name}() {{ return 1; }}\n");
    let jit = |bench: &Bench, name: &str| bench.jit_with(name, &code(name), None).unwrap();
    let is_known = |bench: &Bench| {
        let mut folders = fs::read_dir(bench.at.join("cache/pch")).into_iter().flatten().flatten();
        folders.any(|folder| folder.path().join("record").is_file())
    };
    jit(&bench, "first");
    bench.wait_until("nothing was written down", is_known);
    jit(&bench, "second");
    assert_eq!((bench.order(), bench.made().len()), (vec!["build", "read", "build"], 0));
    bench.params.set("build.precompile", "always").unwrap();
    jit(&bench, "third");
    assert_eq!((bench.calls(), bench.made().len()), ([1, 2, 1], 1));
}
