//! Precompiled headers with real compilers: the same code, sooner.
//!
//! Child processes run the ignored test of `faults`.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/absent.rs"]
mod absent;
mod bench;
#[path = "../common/child.rs"]
mod child;
mod faults;
mod gain;
mod named;
mod real;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Request, Session, Source};

use absent::has_program;
use bench::{Bench, COMMON, call, source};

/// Code and recorded inputs are the same as without.
#[test]
fn the_code_and_what_is_recorded_are_the_same_with_and_without() {
    for compiler in ["/usr/bin/g++", "/usr/bin/clang++"] {
        if !has_program(compiler) {
            continue;
        }
        let mut with = Bench::new(compiler, "always");
        let a = with.jit("same");
        assert_eq!(with.calls(), [1, 0, 1], "{compiler}");
        let (code, inputs) = (Bench::disassembly(a.path()), with.inputs(&a));
        with.without();
        let b = with.jit("same");
        assert_eq!(with.calls(), [1, 1, 1], "{compiler}");
        assert_eq!((call(&a, "same"), call(&b, "same")), (1, 1));
        assert!(code == Bench::disassembly(b.path()), "{compiler}: other code");
        assert_eq!(inputs, with.inputs(&b), "{compiler}");
        assert!(inputs.contains(&PathBuf::from("headers/common.h")));
    }
}

#[test]
fn c_has_preambles_too() {
    let code = "#include <stdio.h>\n#include <common.h>\nint f_c(void) { return VALUE + EXTRA; }\n";
    let mut bench = Bench::new("/usr/bin/gcc", "always");
    let header = "#ifndef C\n#define C\n#define VALUE 3\n#include <math.h>\nstatic inline int g(void) { \
                  return 1; }\n\
                  #define EXTRA g()\n#endif\n";
    fs::write(bench.at.join("headers/common.h"), header).unwrap();
    let compiler = bench.at.join("g++").display().to_string();
    for (key, value) in [("build.language", "c"), ("build.cc", &compiler), ("build.cflags_opt", "-O1")] {
        bench.params.set(key, value).unwrap();
    }
    let library = bench.jit_with("c", code, None).unwrap();
    assert_eq!((call(&library, "c"), bench.calls()), (4, [1, 0, 1]));
    bench.without();
    let plain = bench.jit_with("c", code, None).unwrap();
    assert_eq!((call(&plain, "c"), bench.calls()), (4, [1, 1, 1]));
    assert!(Bench::disassembly(library.path()) == Bench::disassembly(plain.path()));
    assert_eq!(bench.inputs(&library), bench.inputs(&plain));
}

#[test]
fn the_first_build_waits_for_nothing_and_the_next_ones_gain() {
    let bench = Bench::new("/usr/bin/g++", "auto");
    assert_eq!(call(&bench.jit("first"), "first"), 1);
    assert_eq!(&bench.calls()[..2], [0, 1]);
    bench.wait_until("none was made", |bench| bench.made().len() == 1);
    assert_eq!(call(&bench.jit("second"), "second"), 1);
    assert_eq!(bench.calls(), [1, 1, 1]);
    let never = Bench::new("/usr/bin/g++", "never");
    never.jit("first");
    never.jit("second");
    assert_eq!((never.calls(), never.made().len()), ([0, 2, 0], 0));
}

#[test]
fn sources_that_include_only_their_own_header_share_its_preamble() {
    let bench = Bench::new("/usr/bin/g++", "always");
    for name in ["one", "two"] {
        let signature_header = format!("#ifndef H_{name}\n#define H_{name}\n{}\n#endif\n", source(name));
        let params = bench.params.resolve().unwrap();
        let generate = |asked: GenerateRequest<'_>, source: &mut Source| {
            source.header = Some(signature_header.as_bytes().to_vec());
            source.code = Some(format!("// {name}\n#include \"{}.h\"\n", asked.signature).into_bytes());
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        let library = Session::default().jit(Ok(Request { name, params: &params }), &mut callbacks).unwrap();
        assert_eq!(call(&library, name), 1);
    }
    assert_eq!(bench.calls(), [2, 0, 1]);
}

#[test]
fn a_header_that_has_changed_is_read_anew() {
    let bench = Bench::new("/usr/bin/g++", "always");
    assert_eq!(call(&bench.jit("before"), "before"), 1);
    bench.write_common(2);
    assert_eq!(call(&bench.jit("after"), "after"), 2);
    assert_eq!(bench.calls(), [1, 1, 1]);
}

/// A header of the same name in a directory that is searched earlier, by two options.
#[test]
fn a_header_that_would_be_found_earlier_is_read() {
    for option in ["-I", "--include-directory="] {
        let mut bench = Bench::new("/usr/bin/g++", "always");
        let first = bench.at.join("first");
        fs::create_dir(&first).unwrap();
        bench.params.set("build.cxxflags_opt", &format!("-O1 {option}{}", first.display())).unwrap();
        assert_eq!(call(&bench.jit("before"), "before"), 1);
        std::thread::sleep(Duration::from_millis(20));
        fs::write(first.join("common.h"), COMMON.replace("VALUE", "3")).unwrap();
        assert_eq!(call(&bench.jit("after"), "after"), 3);
        assert_eq!(bench.calls(), [1, 1, 1], "{option}");
    }
}

#[test]
fn a_header_of_the_cache_that_others_ask_for_is_read() {
    let bench = Bench::new("/usr/bin/g++", "always");
    let text =
        "#pragma once\n#if __has_include(\"other.h\")\n#define GIVEN 3\n#else\n#define GIVEN 1\n#endif\n";
    fs::write(bench.at.join("headers/common.h"), format!("{text}{}", COMMON.replace("VALUE", "GIVEN")))
        .unwrap();
    assert_eq!(call(&bench.jit("before"), "before"), 1);
    let other = "extern \"C\" int f_other() { return 2; }\n";
    let mut bench = bench;
    bench.params.set("cache.signature", "name").unwrap();
    assert_eq!(call(&bench.jit_with("other", other, Some("// other\n")).unwrap(), "other"), 2);
    assert!(bench.at.join("cache/include/other.h").is_file());
    assert_eq!(call(&bench.jit("after"), "after"), 3);
    assert_eq!(bench.calls(), [1, 2, 1]);
}

#[test]
fn a_cache_behind_a_symbolic_link_has_preambles_too() {
    let mut bench = Bench::new("/usr/bin/g++", "always");
    fs::create_dir(bench.at.join("cache")).unwrap();
    std::os::unix::fs::symlink("cache", bench.at.join("link")).unwrap();
    bench.params.set("cache.cache_dir", bench.at.join("link").to_str().unwrap()).unwrap();
    for name in ["one", "two"] {
        assert_eq!(call(&bench.jit(name), name), 1);
    }
    assert_eq!((bench.calls(), bench.made().len()), ([2, 0, 1], 1));
}

#[test]
fn damaged_and_foreign_preambles_are_not_used() {
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    let folder = bench.made().remove(0);
    let file = folder.join("preamble.h.gch");
    let whole = fs::read(&file).unwrap();
    let chmod = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mut uses = 1;
    let mut used = |name: &str| {
        assert_eq!(call(&bench.jit(name), name), 1);
        let before = std::mem::replace(&mut uses, bench.calls()[0]);
        uses > before
    };
    assert!(used("whole"));
    let record = fs::read(folder.join("record")).unwrap();
    for (at, open) in [&folder, &bench.at.join("cache/pch")].into_iter().enumerate() {
        let mode = fs::metadata(open).unwrap().permissions().mode();
        chmod(open, 0o777);
        assert!(!used(&format!("open{at}")), "{}", open.display());
        chmod(open, mode);
    }
    assert!(used("again"));
    chmod(&file, 0o666);
    assert!(!used("writable"));
    chmod(&file, 0o600);
    // The times of the file have changed.
    assert!(!used("touched"));
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(!used("half"));
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(!used("link"));
    fs::write(folder.join("record"), &record[..record.len() / 2]).unwrap();
    // Without its record it is built again.
    assert!(used("forgotten"));
    assert_eq!(bench.calls()[2], 2);
}

#[test]
fn another_compiler_under_the_same_name_has_its_own() {
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    let script = bench.at.join("g++");
    let text = fs::read_to_string(&script).unwrap();
    fs::write(&script, format!("{text}# changed\n")).unwrap();
    bench.jit("second");
    assert_eq!((bench.calls(), bench.made().len()), ([2, 0, 2], 2));
}

#[test]
fn a_wrong_source_is_told_as_by_the_plain_command() {
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    let wrong = source("wrong").replace("return v[0]", "return w[0]");
    let error = bench.jit_with("wrong", &wrong, None).unwrap_err();
    let mut bench = bench;
    bench.without();
    let expected = bench.jit_with("wrong", &wrong, None).unwrap_err();
    assert_eq!(error.log(), expected.log());
    assert!(!error.log().contains("pch"));
    let folder = PathBuf::from(error.path());
    assert!(!fs::read_to_string(folder.join("recompile.sh")).unwrap().contains("pch"));
    // The precompiled header was not the reason.
    for (key, value) in
        [("build.precompile", "always"), ("cache.cache_dir", bench.at.join("cache").to_str().unwrap())]
    {
        bench.params.set(key, value).unwrap();
    }
    bench.jit("third");
    assert_eq!(bench.calls(), [3, 2, 1]);
}

#[test]
fn what_a_compiler_does_not_take_is_used_once() {
    // An error in the text, and one that may be transient.
    for (said, pause) in [("x.h:1: error: no", 24 * 3600), ("no", 60)] {
        let bench = Bench::new("/usr/bin/g++", "always");
        let refusing = format!(
            "case \"$*\" in *-soname*) for word; do case $word in */preamble.h) echo {said} >&2; exit 1;; \
             esac; done;; \
             esac\n"
        );
        bench.write_compiler(&refusing, "/usr/bin/g++");
        for name in ["first", "second"] {
            assert_eq!(call(&bench.jit(name), name), 1);
        }
        assert_eq!((bench.calls(), bench.made().len()), ([1, 2, 1], 0), "{said}");
        let store = fs::read_dir(bench.at.join("cache/pch")).unwrap();
        let mut records =
            store.filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("record")).ok());
        assert!(records.next().unwrap().contains(&format!("\"pause\":{pause},")), "{said}");
    }
}

#[test]
fn headers_that_mean_something_else_the_second_time_have_none() {
    let bench = Bench::new("/usr/bin/g++", "always");
    for (name, text) in [
        ("words", "extern int counted;\n"),
        ("macros", "#ifdef TWO\n#undef TWO\n#else\n#define TWO\n#endif\n"),
        ("times", "#pragma once\nconst char* const when = __TIME__;\n"),
    ] {
        fs::write(bench.at.join(format!("headers/{name}.h")), text).unwrap();
        let code = format!("#include <{name}.h>\n{}", source(name));
        assert_eq!(call(&bench.jit_with(name, &code, None).unwrap(), name), 1);
    }
    assert_eq!((bench.calls(), bench.made().len()), ([0, 3, 0], 0));
}

#[test]
fn the_least_recently_used_goes_when_the_limit_is_reached() {
    let mut bench = Bench::new("/usr/bin/g++", "always");
    bench.params.set("cache.pch_max_size", "1K").unwrap();
    bench.jit("large");
    assert_eq!((bench.calls(), bench.made().len()), ([0, 1, 1], 0));
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    let size = fs::metadata(bench.made()[0].join("preamble.h.gch")).unwrap().len();
    let mut bench = bench;
    bench.params.set("cache.pch_max_size", &(size * 3 / 2).to_string()).unwrap();
    let first = bench.made().remove(0);
    let code = format!("#include <list>\n{}", source("second"));
    bench.jit_with("second", &code, None).unwrap();
    assert_eq!(bench.made().len(), 1);
    assert_ne!(bench.made()[0], first);
}

#[test]
fn several_at_once_make_one() {
    let bench = Bench::new("/usr/bin/g++", "always");
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let bench = &bench;
            scope.spawn(move || assert_eq!(call(&bench.jit(name), name), 1));
        }
    });
    assert_eq!(bench.calls(), [3, 0, 1]);
}

/// The compiler may have ended after its program, or with it.
#[test]
fn what_an_ended_program_has_begun_is_taken_up_or_made_anew() {
    let bench = Bench::new("/usr/bin/g++", "always");
    bench.jit("first");
    let folder = bench.made().remove(0);
    fs::remove_file(folder.join("record")).unwrap();
    bench.jit("second");
    assert_eq!(bench.calls(), [2, 0, 1], "it was finished");
    for part in ["preamble.d", "preamble.h.gch"] {
        fs::remove_file(folder.join("record")).unwrap();
        fs::remove_file(folder.join(part)).unwrap();
        bench.jit(&format!("without_{}", part.len()));
    }
    assert_eq!(bench.calls(), [4, 0, 3]);
}

#[test]
fn what_an_ended_program_has_left_is_not_taken_up_when_another_header_would_be_found() {
    let mut bench = Bench::new("/usr/bin/g++", "always");
    fs::create_dir(bench.at.join("first")).unwrap();
    let dirs = [bench.at.join("first"), bench.at.join("headers")].map(|dir| dir.display().to_string());
    bench.params.set("build.include_dirs", &dirs.join(" ")).unwrap();
    assert_eq!(call(&bench.jit("before"), "before"), 1);
    fs::remove_file(bench.made().remove(0).join("record")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(bench.at.join("first/common.h"), COMMON.replace("VALUE", "3")).unwrap();
    assert_eq!(call(&bench.jit("after"), "after"), 3);
    assert_eq!(bench.calls(), [2, 0, 2]);
}

/// Packing, visibility and target processor do not survive the end of a precompiled header.
#[test]
fn a_header_that_leaves_something_set_for_what_follows_has_none() {
    for compiler in ["/usr/bin/g++", "/usr/bin/clang++"] {
        if !has_program(compiler) {
            continue;
        }
        let bench = Bench::new(compiler, "always");
        let code = |name: &str| {
            format!(
                "#include <common.h>\nstruct S {{ char c; double d; }};\nextern \"C\" int f_{name}() {{ \
                 return sizeof(S); }}\n"
            )
        };
        let text = format!("{}#pragma pack(push, 1)\n#pragma pack(pop)\n", COMMON.replace("VALUE", "1"));
        fs::write(bench.at.join("headers/common.h"), &text).unwrap();
        assert_eq!(call(&bench.jit_with("back", &code("back"), None).unwrap(), "back"), 16);
        assert_eq!(bench.calls(), [1, 0, 1], "{compiler}");
        std::thread::sleep(Duration::from_millis(20));
        fs::write(bench.at.join("headers/common.h"), text.replace("#pragma pack(pop)\n", "")).unwrap();
        bench.let_hours_pass();
        assert_eq!(call(&bench.jit_with("left", &code("left"), None).unwrap(), "left"), 9);
        assert_eq!(bench.calls(), [1, 1, 1], "{compiler}");
    }
}

/// A driver that has libraries among its flags would link.
#[test]
fn a_driver_that_would_link_precompiles() {
    for compiler in ["/usr/bin/g++", "/usr/bin/clang++", "/usr/bin/mpicxx.openmpi", "/usr/bin/mpicxx.mpich"] {
        if !has_program(compiler) {
            continue;
        }
        let mut bench = Bench::new(compiler, "always");
        bench.params.set("build.cxxflags_opt", "-O1 -lm").unwrap();
        for name in ["one", "two"] {
            assert_eq!(call(&bench.jit(name), name), 1);
        }
        assert_eq!(bench.calls(), [2, 0, 1], "{compiler}");
    }
}
