//! Headers and libraries that a build has read and that change afterwards, with a real compiler and loader.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

use dijitso::error::Result;
use dijitso::inputs;
use dijitso::jit::CommState;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Origin, Request, Session, Source};
use dijitso::parallel::threads::ThreadComm;
use dijitso::params::Params;

struct Bench {
    dir: tempfile::TempDir,
    session: Session,
    params: Params,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cache", "include", "lib"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut params = Params::new().unwrap();
        for (key, value) in [
            ("cache.cache_dir", at("cache").as_str()),
            ("build.cxxflags_opt", "-O0"),
            ("build.include_dirs", &at("include")),
            ("build.lib_dirs", &at("lib")),
            ("build.rpath_dirs", &at("lib")),
        ] {
            params.set(key, value).unwrap();
        }
        for (key, value) in settings {
            params.set(key, value).unwrap();
        }
        Self { dir, session: Session::default(), params }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn jit(&self, name: &str, code: &str, dependency: Option<&str>) -> Library {
        self.try_jit(name, code, dependency).unwrap()
    }

    /// Calls on a new communicator, some time after the last call, so that no remembered answer is used and
    /// every file is inspected.
    fn try_jit(&self, name: &str, code: &str, dependency: Option<&str>) -> Result<Library> {
        inputs::invalidate();
        let params = self.params.resolve().unwrap();
        let generate = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(code.as_bytes().to_vec());
            source.dependencies.extend(dependency.map(str::to_owned));
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        let request = Ok(Request { name, params: &params });
        self.session.jit_on(&ThreadComm::single(), &CommState::default(), request, &mut callbacks)
    }

    /// The next program.
    fn again(self) -> Self {
        Self { session: Session::default(), ..self }
    }

    /// Compiles by a script that is given the command line as `"$@"`, and that is counted.
    fn compile_by(&mut self, script: &str) {
        let script =
            format!("case \"$*\" in *-shared*) echo >> {};; esac; {script}", self.path("runs").display());
        self.params.set("build.cxx", &shell_words::join(["sh", "-c", &script, "compiler"])).unwrap();
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    fn header(&self, text: &str) {
        fs::write(self.path("include/constants.h"), text).unwrap();
    }
}

fn call(library: &Library) -> i32 {
    let address = library.symbol("value").unwrap();
    // SAFETY: all functions of these tests are `int value()`.
    let function = unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> i32>(address) };
    function()
}

const CODE: &str = "#include <constants.h>\nextern \"C\" int value() { return VALUE; }\n";

fn touch(path: &Path) {
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3);
    fs::File::options().append(true).open(path).unwrap().set_modified(later).unwrap();
}

/// Defect W2 of the original, continued: not only flags, also what a build reads belongs to it.
#[test]
fn a_changed_header_is_a_miss_and_a_touched_one_a_hit() {
    let bench = Bench::new(&[]);
    let header = bench.path("include/constants.h");
    fs::write(&header, "#define VALUE 1\n").unwrap();
    let first = bench.jit("form", CODE, None);
    assert_eq!((call(&first), first.origin()), (1, Origin::Built));
    touch(&header);
    let touched = bench.jit("form", CODE, None);
    assert_eq!((call(&touched), touched.origin()), (1, Origin::Memory));
    fs::write(&header, "#define VALUE 2\n").unwrap();
    let second = bench.jit("form", CODE, None);
    assert_eq!(
        (call(&second), second.origin()),
        (2, Origin::Built),
        "the loader knows the old one by this path"
    );
    assert_eq!(first.path(), second.path());
    assert_eq!(call(&first), 1, "what a host holds stays what it is");
    let again = bench.jit("form", CODE, None);
    assert_eq!((call(&again), again.origin()), (2, Origin::Memory));
    let fresh = Session::default();
    assert!(
        fs::read_dir(bench.path("cache/quarantine")).unwrap().count() > 0,
        "the old one is kept for whoever asks"
    );
    drop(fresh);
}

#[test]
fn a_library_that_depends_on_one_with_a_changed_header_is_built_again_too() {
    let bench = Bench::new(&[("cache.signature", "hash")]);
    let header = bench.path("include/constants.h");
    fs::write(&header, "#define VALUE 1\n").unwrap();
    let element = "#include <constants.h>\nextern \"C\" int element() { return VALUE; }\n";
    let form = "extern \"C\" int element(); extern \"C\" int value() { return element(); }\n";
    let build = || {
        let dependency = bench.jit("element", element, None);
        bench.jit("form", form, Some(dependency.signature()))
    };
    assert_eq!(call(&build()), 1);
    fs::write(&header, "#define VALUE 2\n").unwrap();
    assert_eq!(call(&build()), 2);
}

#[test]
fn a_header_does_not_matter_where_that_is_wanted() {
    for setting in [("cache.check_inputs", "false"), ("cache.signature", "name")] {
        let bench = Bench::new(&[setting]);
        let header = bench.path("include/constants.h");
        fs::write(&header, "#define VALUE 1\n").unwrap();
        assert_eq!(call(&bench.jit("form", CODE, None)), 1);
        fs::write(&header, "#define VALUE 2\n").unwrap();
        let again = bench.jit("form", CODE, None);
        assert_eq!((call(&again), again.origin()), (1, Origin::Memory), "{setting:?}");
    }
}

/// Field lesson: the key has to know which library was linked.
#[test]
fn a_linked_library_that_was_built_again_is_a_miss() {
    let bench = Bench::new(&[("build.libs", "model")]);
    let library = bench.path("lib/libmodel.so");
    let make = |value: i32| {
        let source = bench.path("model.c");
        fs::write(&source, format!("int model(void) {{ return {value}; }}\n")).unwrap();
        // A new file, as installing does: what is loaded keeps the old one.
        let _ = fs::remove_file(&library);
        let arguments = ["-shared", "-fPIC", "-Wl,--build-id", "-o"];
        let made = Command::new("cc").args(arguments).arg(&library).arg(&source).status().unwrap();
        assert!(made.success());
    };
    make(1);
    let code = "extern \"C\" int model(); extern \"C\" int value() { return model(); }\n";
    assert_eq!(bench.jit("form", code, None).origin(), Origin::Built);
    touch(&library);
    assert_eq!(bench.jit("form", code, None).origin(), Origin::Memory);
    make(2);
    assert_eq!(bench.jit("form", code, None).origin(), Origin::Built);
}

/// A user who can rename a directory above the cache could exchange the library after it was checked.
#[test]
fn below_a_directory_of_a_group_libraries_are_loaded_from_private_copies() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new(&[]);
    fs::write(bench.path("include/constants.h"), "#define VALUE 7\n").unwrap();
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let library = bench.jit("form", CODE, None);
    assert_eq!(call(&library), 7);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains(library.path().to_str().unwrap()), "it is not mapped from there");
    // Another cache, because the way to this one is known by now.
    let bench = Bench::new(&[]);
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let params = bench.params.resolve().unwrap();
    let request = Ok(Request { name: "other", params: &params });
    let refused = bench
        .session
        .jit_on(&ThreadComm::single(), &CommState::default(), request, &mut Callbacks::default())
        .unwrap_err();
    assert!(refused.message().contains("any user can replace"), "{refused}");
}

/// The compiler read the old header; the new one is there afterwards.
#[test]
fn a_header_that_is_saved_while_it_is_compiled_is_compiled_again() {
    let mut bench = Bench::new(&[]);
    bench.header("#define VALUE 1\n");
    let header = bench.path("include/constants.h");
    let save = format!("case \"$*\" in *-shared*) echo '#define VALUE 2' > {};; esac", header.display());
    bench.compile_by(&format!("c++ \"$@\" || exit 1; {save}"));
    let first = bench.jit("form", CODE, None);
    assert_eq!((call(&first), first.origin(), bench.runs()), (2, Origin::Built, 2));
    let bench = bench.again();
    let second = bench.jit("form", CODE, None);
    assert_eq!((call(&second), bench.runs()), (2, 2), "it is found by the next program");
}

#[test]
fn a_header_that_never_stays_the_same_is_an_error_that_names_it() {
    let mut bench = Bench::new(&[]);
    bench.header("#define VALUE 1\n");
    let header = bench.path("include/constants.h");
    bench.compile_by(&format!("c++ \"$@\" || exit 1; echo >> {}", header.display()));
    let error = bench.try_jit("form", CODE, None).unwrap_err();
    for part in ["constants.h changed during", "3 runs", "find what writes to it"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    bench.compile_by("exec c++ \"$@\"");
    assert_eq!(call(&bench.jit("form", CODE, None)), 1, "nothing is left of it");
}

#[test]
fn a_corrected_header_ends_the_memory_of_a_failure() {
    let mut bench = Bench::new(&[]);
    bench.compile_by("exec c++ \"$@\"");
    bench.header("#define OTHER 1\n");
    let first = bench.try_jit("form", CODE, None).unwrap_err();
    let second = bench.try_jit("form", CODE, None).unwrap_err();
    assert_eq!((first.message(), first.log()), (second.message(), second.log()));
    assert_eq!(bench.runs(), 1, "the second is remembered");
    bench.header("#define OTHER 1\n#define VALUE 5\n");
    assert_eq!(call(&bench.jit("form", CODE, None)), 5);
}

#[test]
fn a_file_that_appears_ends_the_memory_of_a_failure() {
    for by_path in [true, false] {
        let bench = Bench::new(&[]);
        let sub = bench.path("include/sub");
        fs::create_dir(&sub).unwrap();
        let name = if by_path { format!("\"{}/gen.h\"", sub.display()) } else { "<sub/gen.h>".to_owned() };
        let code = format!("#include {name}\nextern \"C\" int value() {{ return VALUE; }}\n");
        bench.try_jit("form", &code, None).unwrap_err();
        fs::write(sub.join("gen.h"), "#define VALUE 5\n").unwrap();
        assert_eq!(call(&bench.jit("form", &code, None)), 5, "{name}");
    }
}

/// CMake passes the directories of imported targets like this.
#[test]
fn a_header_in_a_system_directory_counts() {
    let mut bench = Bench::new(&[("build.include_dirs", "")]);
    let flags = format!("-shared -fPIC -isystem {}", bench.path("include").display());
    bench.params.set("build.cxxflags", &flags).unwrap();
    bench.header("#define VALUE 1\n");
    assert_eq!(call(&bench.jit("form", CODE, None)), 1);
    bench.header("#define VALUE 22\n");
    assert_eq!(call(&bench.jit("form", CODE, None)), 22);
}

/// A cache that was filled where the headers are installed, in an image without them.
#[test]
fn a_warm_cache_serves_where_the_headers_are_not_installed() {
    let mut bench = Bench::new(&[]);
    bench.compile_by("exec c++ \"$@\"");
    bench.header("#define VALUE 1\n");
    assert_eq!(call(&bench.jit("form", CODE, None)), 1);
    fs::remove_file(bench.path("include/constants.h")).unwrap();
    let bench = bench.again();
    let library = bench.jit("form", CODE, None);
    assert_eq!((call(&library), library.origin(), bench.runs()), (1, Origin::Disk, 1));
    bench.header("#define VALUE 2\n");
    assert_eq!(call(&bench.jit("form", CODE, None)), 2, "another one is a change");
}

/// Two hosts with different versions of a header share a cache: each gets its own, at the price of building
/// it.
#[test]
fn hosts_with_different_headers_never_get_the_library_of_the_other() {
    let bench = Bench::new(&[]);
    for round in 0..4 {
        let value = 1 + round % 2;
        bench.header(&format!("#define VALUE {value}\n"));
        assert_eq!(call(&bench.jit("form", CODE, None)), value);
    }
}

#[test]
fn a_compiler_that_cannot_note_headers_builds_all_the_same() {
    const OLD: &str =
        "case \"$*\" in *-MD*) echo 'error: unknown option -MD' >&2; exit 1;; esac; exec c++ \"$@\"";
    let code = "extern \"C\" int value() { return 1; }\n";
    for (settings, runs) in [
        (&[("cache.signature", "name"), ("cache.check_inputs", "false")][..], 1),
        (&[("cache.check_inputs", "false")], 1),
        (&[], 2),
    ] {
        let mut bench = Bench::new(settings);
        bench.compile_by(OLD);
        assert_eq!(call(&bench.jit("form", code, None)), 1);
        assert_eq!(bench.runs(), runs, "{settings:?}");
    }
}
