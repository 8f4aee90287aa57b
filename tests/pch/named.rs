//! `build.pch_headers`: named headers are precompiled, and the code is the same.

use std::fs;

use dijitso::jit::Library;

use crate::absent::has_program;
use crate::bench::{Bench, call};

const COMPILERS: [&str; 2] = ["/usr/bin/g++", "/usr/bin/clang++"];

/// Returns a bench with a named common header, and a factor that a macro may change.
fn named(compiler: &str) -> Bench {
    let mut bench = Bench::new(compiler, "always");
    bench.write(
        "shared.h",
        "#ifndef SHARED_H\n#define SHARED_H\n#include <algorithm>\n#include <vector>\n#ifndef FACTOR\n\
         #define FACTOR 1\n#endif\nstruct Shared {\nvirtual ~Shared() {}\n\
         virtual int value() const { return FACTOR; }\n};\n#endif\n",
    );
    bench.params.set("build.pch_headers", "shared.h").unwrap();
    bench
}

/// Returns the text of a header that a host writes for one source, after some first lines.
fn own(name: &str, begin: &str) -> String {
    format!(
        "// {name}\n#ifndef OWN_{name}_H\n#define OWN_{name}_H\n{begin}#include <cstdlib>\n\
         struct {name} : Shared {{ int value() const override {{ std::vector<int> v{{3, 1, 2}}; \
         std::sort(v.begin(), v.end()); return v[0] * Shared::value(); }} }};\n#endif\n"
    )
}

fn code(name: &str, begin: &str) -> String {
    format!(
        "{begin}#include \"own_{name}.h\"\n\
         extern \"C\" int f_{name}() {{ Shared* s = new {name}; int v = s->value(); delete s; return v; }}\n"
    )
}

impl Bench {
    fn write(&self, name: &str, text: &str) {
        let path = self.at.join("headers").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn build(&self, name: &str, begin_of_source: &str, begin_of_header: &str) -> Library {
        self.write(&format!("own_{name}.h"), &own(name, begin_of_header));
        self.jit_with(name, &code(name, begin_of_source), None).unwrap()
    }
}

const INCLUDE: &str = "#include <shared.h>\n";

#[test]
fn sources_that_begin_with_a_header_of_their_own_share_what_is_named() {
    for compiler in COMPILERS {
        if !has_program(compiler) {
            continue;
        }
        let mut bench = named(compiler);
        let built: Vec<Library> =
            ["one", "two"].map(|name| bench.build(name, "// c\n#include <vector>\n", INCLUDE)).into();
        assert_eq!(bench.calls(), [2, 0, 1], "{compiler}");
        let text = fs::read_to_string(bench.made()[0].join("preamble.h")).unwrap();
        assert_eq!(text, "#include <vector>\n#include <shared.h>\n");
        let of = |bench: &Bench, library: &Library| {
            (Bench::disassembly(library.path()), bench.inputs(library), library.signature().to_owned())
        };
        let with: Vec<_> = built.iter().map(|library| of(&bench, library)).collect();
        bench.without();
        bench.params.set("build.pch_headers", "").unwrap();
        for (name, with) in ["one", "two"].into_iter().zip(with) {
            let plain = bench.build(name, "// c\n#include <vector>\n", INCLUDE);
            assert_eq!(call(&plain, name), 1);
            assert!(of(&bench, &plain) == with, "{compiler}: not the same with and without");
        }
        assert_eq!(bench.calls(), [2, 2, 1], "{compiler}");
    }
}

/// Without the parameter, each of these sources has a preamble of its own, which no other shares.
#[test]
fn unless_they_are_named_a_hosts_headers_are_common_to_all() {
    let mut bench = named("/usr/bin/g++");
    bench.params.set("build.pch_headers", "").unwrap();
    for name in ["one", "two"] {
        assert_eq!(call(&bench.build(name, "", INCLUDE), name), 1);
    }
    assert_eq!(bench.calls(), [2, 0, 2]);
}

#[test]
fn a_macro_that_is_defined_before_is_respected() {
    for compiler in COMPILERS {
        if !has_program(compiler) {
            continue;
        }
        let mut bench = named(compiler);
        // The place of the macro: none, the source, its header, a header that both include, the command line.
        bench.write("config.h", "#ifndef CONFIG_H\n#define CONFIG_H\n#define FACTOR 7\n#endif\n");
        let cases = [
            ("none", "", INCLUDE.to_owned(), 1),
            ("source", "#define FACTOR 5\n", INCLUDE.to_owned(), 5),
            ("header", "", format!("#define FACTOR 6\n{INCLUDE}"), 6),
            ("both", "#include \"config.h\"\n", format!("#include <config.h>\n{INCLUDE}"), 7),
            // A second inclusion would undefine what the named header defines: there is nothing to share.
            ("taken", "#define FACTOR 8\n", format!("#undef FACTOR\n{INCLUDE}"), 1),
        ];
        let build = |bench: &Bench| -> Vec<String> {
            let built = cases.iter().map(|(name, source, header, value)| {
                let library = bench.build(name, source, header);
                assert_eq!(call(&library, name), *value, "{compiler}: {name}");
                Bench::disassembly(library.path())
            });
            built.collect()
        };
        let with = build(&bench);
        assert_eq!(bench.calls(), [4, 1, 4], "{compiler}");
        bench.without();
        assert!(build(&bench) == with, "{compiler}: other code");
        bench.params.set("build.cxxflags_opt", "-O1 -DFACTOR=9").unwrap();
        let options = [("build.precompile", "always"), ("build.pch_headers", "shared.h")];
        for (key, value) in options {
            bench.params.set(key, value).unwrap();
        }
        assert_eq!(call(&bench.build("option", "", INCLUDE), "option"), 9);
        assert_eq!(bench.calls(), [5, 6, 5], "{compiler}");
    }
}

/// The guard of the source's own header is not defined in the precompiled header.
#[test]
fn a_named_header_that_asks_for_the_guard_of_another_is_read_with_it() {
    let bench = named("/usr/bin/g++");
    let text = fs::read_to_string(bench.at.join("headers/shared.h")).unwrap();
    bench.write("shared.h", &text.replace("#ifndef FACTOR", "#ifdef OWN_asked_H\n#define FACTOR 4\n#else"));
    assert_eq!(call(&bench.build("other", "", INCLUDE), "other"), 1);
    assert_eq!(call(&bench.build("asked", "", INCLUDE), "asked"), 4);
    assert_eq!(bench.calls(), [1, 1, 1]);
    // A guard that an option defines: the header is empty.
    let mut bench = named("/usr/bin/g++");
    bench.params.set("build.cxxflags_opt", "-O1 -D OWN_empty_H").unwrap();
    bench.write("own_empty.h", &own("empty", INCLUDE));
    let code = "#include \"own_empty.h\"\n#ifdef SHARED_H\n#error not empty\n#endif\n\
                extern \"C\" int f_empty() { return 3; }\n";
    assert_eq!(call(&bench.jit_with("empty", code, None).unwrap(), "empty"), 3);
    assert_eq!(bench.calls(), [0, 1, 0]);
}

#[test]
fn code_before_a_named_header_comes_before_it() {
    let bench = named("/usr/bin/g++");
    bench.write("early.h", "enum { EARLY = 2 };\n#define FACTOR EARLY\n");
    assert_eq!(call(&bench.build("early", "#include <early.h>\n", INCLUDE), "early"), 2);
    let begin = format!("{INCLUDE}#include <early.h>\n");
    assert_eq!(call(&bench.build("late", "#define FACTOR 3\n", &begin), "late"), 3);
    // A source without any of them has no preamble.
    bench
        .jit_with(
            "none",
            "#include <vector>\n#include <map>\nextern \"C\" int f_none() { return 0; }\n",
            None,
        )
        .unwrap();
    assert_eq!(bench.calls(), [1, 2, 1]);
}

/// The target of an include directive depends on its file.
#[test]
fn headers_of_one_name_in_several_places_are_those_that_a_compiler_finds() {
    let mut bench = named("/usr/bin/g++");
    // Beside the including header, and in a search directory.
    bench.write("sub/shared.h", "#define FACTOR 2\n#include \"../shared.h\"\n");
    bench.write("sub/begin.h", "#pragma once\n#include \"shared.h\"\n");
    assert_eq!(call(&bench.build("beside", "", "#include \"sub/begin.h\"\n"), "beside"), 2);
    assert_eq!(bench.calls(), [0, 1, 0]);
    // In two directories that are searched.
    bench.write("first/begin.h", "#define FACTOR 3\n");
    bench.write("second/begin.h", "#define FACTOR 4\n");
    let headers = bench.at.join("headers");
    let dirs = ["first", "second", ""].map(|dir| headers.join(dir).display().to_string());
    bench.params.set("build.include_dirs", &dirs.join(" ")).unwrap();
    let begin = format!("#include <begin.h>\n{INCLUDE}");
    assert_eq!(call(&bench.build("twice", "", &begin), "twice"), 3);
    // By a path with a dot.
    bench.write("../above.h", "#define FACTOR 5\n");
    let begin = format!("#include \"../above.h\"\n{INCLUDE}");
    assert_eq!(call(&bench.build("above", "", &begin), "above"), 5);
    // By an absolute path.
    let begin = format!("#include \"{}\"\n{INCLUDE}", bench.at.join("above.h").display());
    assert_eq!(call(&bench.build("absolute", "", &begin), "absolute"), 5);
    assert_eq!(bench.calls(), [2, 2, 2]);
}

/// A header whose contents were copied may change like any other.
#[test]
fn a_header_that_was_looked_through_is_read_anew() {
    let bench = named("/usr/bin/g++");
    let begin = format!("#include <settings.h>\n{INCLUDE}");
    for (name, factor) in [("before", 2), ("after", 3), ("again", 2)] {
        std::thread::sleep(std::time::Duration::from_millis(20));
        bench.write("settings.h", &format!("#define FACTOR {factor}\n"));
        let library = bench.build(name, "", &begin);
        assert_eq!(call(&library, name), factor);
        assert!(bench.inputs(&library).contains(&"headers/settings.h".into()));
    }
    assert_eq!(bench.calls(), [3, 0, 2]);
}

#[test]
fn what_is_named_keeps_to_the_limits_and_to_the_switch() {
    let mut bench = named("/usr/bin/g++");
    bench.params.set("build.precompile", "never").unwrap();
    assert_eq!(call(&bench.build("never", "", INCLUDE), "never"), 1);
    assert_eq!(bench.calls(), [0, 1, 0]);
    bench.params.set("build.precompile", "always").unwrap();
    bench.params.set("cache.pch_max_size", "0").unwrap();
    assert_eq!(call(&bench.build("zero", "", INCLUDE), "zero"), 1);
    assert_eq!(bench.calls(), [0, 2, 0]);
    bench.params.set("cache.pch_max_size", "1K").unwrap();
    assert_eq!(call(&bench.build("large", "", INCLUDE), "large"), 1);
    assert_eq!((bench.calls(), bench.made().len()), ([0, 3, 1], 0));
}

/// A named header is precompiled even if it includes few others.
#[test]
fn what_is_named_is_made_beside_the_program() {
    let mut bench = named("/usr/bin/g++");
    bench.params.set("build.precompile", "auto").unwrap();
    bench.write("shared.h", "#ifndef SHARED_H\n#define SHARED_H\nstruct Few {};\n#endif\n");
    for (at, name) in ["one", "two"].into_iter().enumerate() {
        let code = format!("#include <shared.h>\nFew few;\nextern \"C\" int f_{name}() {{ return {at}; }}\n");
        assert_eq!(call(&bench.jit_with(name, &code, None).unwrap(), name), i32::try_from(at).unwrap());
        bench.wait_until("none was made", |bench| bench.made().len() == 1);
    }
    assert_eq!(bench.calls(), [1, 1, 1]);
}
