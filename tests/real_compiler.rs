//! What only a real compiler, linker and dynamic loader can show.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;

use dijitso::jit::callbacks::Asked;
use dijitso::jit::{Callbacks, Library, Request, Session, Source};
use dijitso::params::Params;

fn params(cache: &Path, settings: &[(&str, &str)]) -> Params {
    let mut params = Params::new().unwrap();
    params.set("cache.cache_dir", cache.to_str().unwrap()).unwrap();
    params.set("build.cxxflags_opt", "-O0").unwrap();
    for (key, value) in settings {
        params.set(key, value).unwrap();
    }
    params
}

fn jit(session: &Session, name: &str, params: &Params, code: &str, dependency: Option<&str>) -> Library {
    let params = params.resolve().unwrap();
    let generate = |_: Asked<'_>, source: &mut Source| {
        source.code = Some(code.as_bytes().to_vec());
        source.dependencies.extend(dependency.map(str::to_owned));
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    session.jit(Ok(Request { name, params: &params }), &mut callbacks).unwrap()
}

fn call(library: &Library, symbol: &str) -> i32 {
    let address = library.symbol(symbol).unwrap();
    // SAFETY: all functions of these tests are `int f()`.
    let function = unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> i32>(address) };
    function()
}

/// Parent and dependency in a cache, where the dependency gives `value`.
fn pair(session: &Session, cache: &Path, value: i32) -> Library {
    let params = params(cache, &[("cache.signature", "name")]);
    let code = format!("extern \"C\" int dependency() {{ return {value}; }}\n");
    jit(session, "dependency", &params, &code, None);
    let code = "extern \"C\" int dependency(); extern \"C\" int parent() { return dependency(); }\n";
    jit(session, "parent", &params, code, Some("dependency"))
}

/// The dynamic loader knows loaded libraries by name: a dependency of the same name in another cache is another one.
#[test]
fn a_library_is_linked_to_the_dependency_of_its_own_cache() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let session = Session::default();
    assert_eq!(call(&pair(&session, a.path(), 1), "parent"), 1);
    assert_eq!(call(&pair(&session, b.path(), 2), "parent"), 2);
}

/// Defect W11 of the original: the builder's directory was baked into the library.
#[test]
fn w11_a_cache_directory_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    pair(&Session::default(), &old, 3);
    std::fs::rename(&old, &new).unwrap();
    let params = params(&new, &[("cache.signature", "name")]).resolve().unwrap();
    let request = Request { name: "parent", params: &params };
    let library = Session::default().jit(Ok(request), &mut Callbacks::default()).unwrap();
    assert_eq!(call(&library, "parent"), 3);
}

/// Defect C14 of the original: the command in the log was not the one that was run, and could not be run.
#[test]
fn c14_the_log_builds_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("a cache");
    let settings = [("build.cxxflags", "-shared -fPIC '-DTEXT=\"two words\"'")];
    let code = "extern \"C\" int size() { return sizeof TEXT; }\n";
    let library = jit(&Session::default(), "size", &params(&cache, &settings), code, None);
    assert_eq!(call(&library, "size"), 10);
    let log = cache.join("log").join(format!("{}.txt", library.signature()));
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let run = std::process::Command::new("sh").arg(&log).current_dir(&elsewhere).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let again = std::fs::read(elsewhere.join(library.path().file_name().unwrap())).unwrap();
    let sealed = std::fs::read(library.path()).unwrap();
    assert!(sealed.starts_with(&again), "the same command gives the same library");
}

#[test]
fn c_sources_are_compiled_as_c_and_may_use_mathematics() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("build.language", "c")];
    let code = "#include <math.h>\nint volatile one = 1;\nint zero(void) { int class = (int)sin(one - 1.0); return class; }\n";
    let library = jit(&Session::default(), "zero", &params(dir.path(), &settings), code, None);
    assert_eq!(call(&library, "zero"), 0);
    assert!(dir.path().join("src").join(format!("{}.c.gz", library.signature())).is_file());
}

/// Some million numbers, of which a compiler makes a tree of some hundred megabytes.
#[test]
fn a_memory_limit_stops_a_compiler_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut code = String::from("#define A0 1,1,1,1,1,1,1,1,1,1,\n");
    for level in 1..7 {
        let below = level - 1;
        code.push_str(&format!("#define A{level} {}\n", format!("A{below} ").repeat(10)));
    }
    code.push_str("double many[] = { A6 };\n");
    let params = params(dir.path(), &[("build.memory_limit", "200M")]).resolve().unwrap();
    let generate = |_: Asked<'_>, source: &mut Source| {
        source.code = Some(code.clone().into_bytes());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let request = Request { name: "many", params: &params };
    let error = Session::default().jit(Ok(request), &mut callbacks).unwrap_err();
    assert!(error.message().contains("(build.memory_limit is 200M)"), "{error}\n{}", error.log());
}

#[test]
fn a_library_of_the_second_try_works_and_its_log_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$*\" in *-O1*) exec c++ \"$@\";; *) kill -9 $$;; esac";
    let compiler = shell_words::join(["sh", "-c", script, "compiler"]);
    let settings = [("build.cxx", compiler.as_str()), ("build.cxxflags_opt", "-O3")];
    let code = "extern \"C\" int seven() { return 7; }\n";
    let library = jit(&Session::default(), "seven", &params(dir.path(), &settings), code, None);
    assert_eq!(call(&library, "seven"), 7);
    let log = dir.path().join("log").join(format!("{}.txt", library.signature()));
    let log = std::fs::read_to_string(log).unwrap();
    for part in ["# retried:   -O1 was added", "signal 9", "-O3 -O1 -I."] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
