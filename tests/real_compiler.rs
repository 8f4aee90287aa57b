//! Tests that need a real compiler, linker and dynamic loader.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/absent.rs"]
mod absent;

use std::path::Path;

use absent::has_program;
use dijitso::build::toolchain::{self, native};
use dijitso::error::Kind;
use dijitso::jit::CommState;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Origin, Request, Session, Source};
use dijitso::parallel::Communicator;
use dijitso::parallel::threads::run;
use dijitso::params::Params;
use dijitso::process::SystemRunner;
use dijitso::process::exec_context::ExecContext;

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
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
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

/// The dynamic loader knows loaded libraries by name: a dependency of the same name in another cache is
/// another one.
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

/// The constructor of a static object throws: the exception reached Rust through the dynamic loader and ended
/// the host.
#[test]
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn an_initialiser_that_throws_is_the_same_error_on_all_ranks_and_the_host_goes_on() {
    let thrower = "#include <stdexcept>\nstruct A { A() { throw std::runtime_error(\"no mesh\"); } };\nstatic A a;\n\
                   extern \"C\" int answer() { return 0; }\n";
    let healthy = "extern \"C\" int answer() { return 42; }\n";
    for buildon in ["node", "root", "process"] {
        let dir = tempfile::tempdir().unwrap();
        let results = run(3, |comm| {
            let cache = dir.path().join(format!("cache{}", comm.rank() % 2));
            let params = params(&cache, &[("parallel.buildon", buildon)]).resolve().unwrap();
            let (session, state) = (Session::default(), CommState::default());
            let ask = |name: &str, code: &str| {
                let generate = |_: GenerateRequest<'_>, source: &mut Source| {
                    source.code = Some(code.as_bytes().to_vec());
                    Ok(())
                };
                let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
                session.jit_on(comm, &state, Ok(Request { name, params: &params }), &mut callbacks)
            };
            let error = ask("thrower", thrower).unwrap_err();
            (error, call(&ask("healthy", healthy).unwrap(), "answer"))
        });
        for (error, value) in &results {
            assert_eq!((error.kind(), error, *value), (Kind::Load, &results[0].0, 42), "{buildon}");
            assert!(error.message().contains("threw std::runtime_error: no mesh"), "{error}");
        }
    }
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
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(code.clone().into_bytes());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let request = Request { name: "many", params: &params };
    let error = Session::default().jit(Ok(request), &mut callbacks).unwrap_err();
    assert!(error.message().contains("(build.memory_limit is 200.0 MiB)"), "{error}\n{}", error.log());
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
    for part in ["# retried:   -O1 was added", "signal 9", "-O3 -O1 -MD"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

/// The compilers that are installed.
fn compilers() -> Vec<&'static str> {
    ["g++", "clang++"].into_iter().filter(|compiler| has_program(compiler)).collect()
}

/// With -ffinite-math-only, as the original has it, std::isnan is false for NaN.
#[test]
fn nan_is_nan_with_the_default_flags() {
    let dir = tempfile::tempdir().unwrap();
    let code = "#include <cmath>\n#include <limits>\ndouble volatile a_nan = std::numeric_limits<double>::quiet_NaN();\n\
                extern \"C\" int is_nan() { double x = a_nan; return std::isnan(x) + 2 * (x != x); }\n";
    for compiler in compilers() {
        let mut params = params(dir.path(), &[("build.cxx", compiler)]);
        let release = Params::new().unwrap().get("build.cxxflags_opt").unwrap();
        params.set("build.cxxflags_opt", &release).unwrap();
        let library = jit(&Session::default(), "is_nan", &params, code, None);
        assert_eq!(call(&library, "is_nan"), 3, "{compiler} {release}");
        // That of the original is still to be had.
        params.set("build.cxxflags_append", "-ffinite-math-only").unwrap();
        let library = jit(&Session::default(), "is_nan", &params, code, None);
        assert_eq!(call(&library, "is_nan"), 0, "{compiler}");
    }
}

/// Static variables of inline functions were unique in the process: the second module got the table of the
/// first one.
#[test]
fn a_module_computes_with_its_own_table() {
    for compiler in compilers() {
        for signature in ["hash", "name"] {
            let dir = tempfile::tempdir().unwrap();
            let params = params(dir.path(), &[("build.cxx", compiler), ("cache.signature", signature)]);
            for value in [1, 2] {
                let code = format!(
                    "template <int> struct T {{ static int table() {{ static int t[] = {{{value}, 7}}; return t[0]; }} }};\n\
                     inline int *table() {{ static int t[] = {{{value}, 7}}; return t; }}\n\
                     extern \"C\" int first() {{ return table()[0] * 10 + T<3>::table(); }}\n"
                );
                let library = jit(&Session::default(), &format!("tables_{value}"), &params, &code, None);
                assert_eq!(call(&library, "first"), 11 * value, "{compiler} {signature}");
            }
        }
    }
}

/// The default flags are replaced by those that are given; without these two there would be no library.
#[test]
fn flags_without_shared_and_pic_give_a_library() {
    let dir = tempfile::tempdir().unwrap();
    let code = "int value = 6; extern \"C\" int six() { return value; }\n";
    let cxx = jit(&Session::default(), "six", &params(dir.path(), &[("build.cxxflags", "-O1")]), code, None);
    assert_eq!(call(&cxx, "six"), 6);
    let settings = [("build.language", "c"), ("build.cflags", ""), ("build.cflags_opt", "")];
    let code = "int value = ANSWER; int six(void) { return value; }\n";
    let params = params(dir.path(), &[&settings[..], &[("build.defines", "ANSWER=6")]].concat());
    assert_eq!(call(&jit(&Session::default(), "six", &params, code, None), "six"), 6);
}

/// A compiler that runs the real one, after it has answered what native flags stand for: `answer`, or what
/// the real one answers. It counts these questions.
fn asked_compiler(dir: &Path, answer: Option<&str>) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("asked-c++");
    let answer = answer.map(|answer| format!("echo ' /lib/cc1plus -E {answer}'; exit 0")).unwrap_or_default();
    let script = format!(
        "#!/bin/sh\nfor word; do\n  if [ \"$word\" = '-###' ]; then\n    echo asked >> '{}/asked'\n    {answer}\n  \
         fi\ndone\nexec c++ \"$@\"\n",
        dir.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

fn questions(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join("asked")).unwrap_or_default().lines().count()
}

/// Field lesson: with `-march=native` as it stands in the key, a cache that two kinds of processors share
/// serves illegal instructions.
#[test]
fn native_flags_are_keyed_by_what_the_compiler_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let code = "extern \"C\" int answer() { return 42; }\n";
    // Each call is one of a program of its own.
    let signature = |flags: &str, cpu: &str| {
        let compiler = dir.path().join("asked-c++").display().to_string();
        let settings = [("build.cxx", compiler.as_str()), ("build.cxxflags", flags), ("build.cpu", cpu)];
        let library = jit(&Session::default(), "native", &params(dir.path(), &settings), code, None);
        assert_eq!(call(&library, "answer"), 42);
        library.signature().to_owned()
    };
    let (native, plain) = ("-shared -fPIC -march=native", "-shared -fPIC");

    asked_compiler(dir.path(), None);
    let here = signature(native, "");
    assert_eq!(
        (signature(native, ""), questions(dir.path())),
        (here.clone(), 1),
        "asked once for each cache"
    );
    // Names are taken at their word.
    let (alpha, beta) = (signature(native, "alpha"), signature(native, "beta"));
    assert!(here != alpha && alpha != beta && here != beta);
    assert_eq!((signature(native, "beta"), questions(dir.path())), (beta, 3));
    assert_eq!(signature(plain, "alpha"), signature(plain, "beta"));
    assert_eq!(questions(dir.path()), 3, "without such flags there is nothing to ask");

    // On another machine the same compiler would answer something else.
    let before = std::fs::metadata(dir.path().join("asked-c++")).unwrap().modified().unwrap();
    let mut signatures = vec![here];
    for (round, answer) in ["-march=one -mavx", "-march=one -mno-avx"].into_iter().enumerate() {
        asked_compiler(dir.path(), Some(answer));
        let written = std::fs::File::options().write(true).open(dir.path().join("asked-c++")).unwrap();
        written.set_modified(before + std::time::Duration::from_secs(10 + round as u64)).unwrap();
        drop(written);
        // Another program has not seen the one before.
        toolchain::invalidate();
        signatures.push(signature(native, ""));
    }
    signatures.sort();
    signatures.dedup();
    assert_eq!(signatures.len(), 3);
}

/// The answers of the installed compilers are understood, so that the description of the processor by the
/// system is not needed.
#[test]
fn the_compilers_of_this_machine_say_what_native_stands_for() {
    for (compiler, sign) in [("g++", "-march="), ("clang++", "-target-cpu ")] {
        if !has_program(compiler) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let settings =
            [("build.cxx", compiler), ("build.cxxflags", "-shared -fPIC -march=native -mtune=native")];
        let resolved = params(dir.path(), &settings).resolve().unwrap();
        let flags = native::flags(&resolved.build).unwrap();
        assert_eq!(flags, ["-march=native", "-mtune=native"]);
        let isa = native::resolve(&resolved.build, &flags, &SystemRunner, &ExecContext::default());
        assert!(
            isa.contains(sign) && !isa.contains("native") && !isa.contains("cache-size"),
            "{compiler}: {isa}"
        );
    }
}

/// The path of a compiler that runs `script` for its output, "$out", and is `c++` when it is asked something.
fn wrapper(dir: &Path, name: &str, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    let find = "out=; for word; do [ \"$last\" = -o ] && out=$word; last=$word; done";
    std::fs::write(&path, format!("#!/bin/sh\n{find}\n[ -n \"$out\" ] || exec c++ \"$@\"\n{script}\n"))
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Such a file was sealed, and every program that used it died of SIGSEGV or SIGBUS.
#[test]
fn a_compiler_that_ends_well_with_a_wrong_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let source = "c++ -x c++ sum.cpp";
    let wrong = [
        ("cut-3000", "c++ \"$@\" && truncate -s -3000 \"$out\"".to_owned(), "cut short"),
        ("cut-4096", "c++ \"$@\" && truncate -s 4096 \"$out\"".to_owned(), "cut short"),
        ("object", format!("{source} -c -fPIC -o \"$out\""), "object file"),
        ("preprocessed", format!("{source} -E -o \"$out\""), "not an ELF file"),
        ("text", "echo done > \"$out\"".to_owned(), "not an ELF file"),
        ("program", "echo 'int main() {}' | c++ -no-pie -x c++ - -o \"$out\"".to_owned(), "a program"),
    ];
    let code = "#include <vector>\nextern \"C\" int sum() { return std::vector<int>(5, 2).size(); }\n";
    let attempt = |compiler: &str| {
        let settings = [("build.cxx", compiler), ("cache.signature", "name")];
        let params = params(&cache, &settings).resolve().unwrap();
        let generate = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(code.as_bytes().to_vec());
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        Session::default().jit(Ok(Request { name: "sum", params: &params }), &mut callbacks)
    };
    for (name, script, text) in wrong {
        let error = attempt(&wrapper(dir.path(), name, &script)).unwrap_err();
        assert_eq!(error.kind(), Kind::Compile, "{name}: {error}");
        assert!(error.message().contains(text), "{name}: {error}");
        assert!(!cache.join("lib/libdijitso-sum.so").exists(), "{name}");
    }
    assert_eq!(call(&attempt("c++").unwrap(), "sum"), 5);
}

fn try_jit(session: &Session, name: &str, params: &Params, code: &str) -> dijitso::error::Result<Library> {
    let params = params.resolve().unwrap();
    let mut callbacks = Callbacks { generate: Some(Box::new(writes(code))), ..Callbacks::default() };
    session.jit(Ok(Request { name, params: &params }), &mut callbacks)
}

fn writes(code: &str) -> impl FnMut(GenerateRequest<'_>, &mut Source) -> Result<(), i32> + '_ {
    |_, source| {
        source.code = Some(code.as_bytes().to_vec());
        Ok(())
    }
}

const LACKING: &str = "extern \"C\" int other(); extern \"C\" int sum() { return other(); }\n";
const CORRECT: &str = "extern \"C\" int other() { return 7; } extern \"C\" int sum() { return other(); }\n";

/// It was published and served for ever, and the corrected source was never built.
#[test]
fn an_undefined_symbol_is_an_error_and_the_corrected_source_is_built() {
    for (loader, ahead) in [("ctypes", false), ("ctypes", true), ("import", false)] {
        let dir = tempfile::tempdir().unwrap();
        let settings = [("cache.signature", "name"), ("cache.lib_loader", loader)];
        let params = params(dir.path(), &settings);
        let session = Session::default();
        let attempt = |code: &str| {
            if !ahead {
                return try_jit(&session, "sum", &params, code);
            }
            let params = params.resolve().unwrap();
            let request = Request { name: "sum", params: &params };
            let mut callbacks = Callbacks { generate: Some(Box::new(writes(code))), ..Callbacks::default() };
            let pending = session.start(Ok(request), &mut callbacks)?;
            session.finish(pending, &mut callbacks)
        };
        for _ in 0..2 {
            let error = attempt(LACKING).unwrap_err();
            assert_eq!(error.kind(), Kind::Load, "{loader} {ahead}: {error}");
            for part in ["undefined symbol: other", "libdijitso-sum.so", "not published"] {
                assert!(error.message().contains(part), "{loader} {ahead}: {part}: {error}");
            }
            assert!(Path::new(error.path()).join("recompile.sh").is_file(), "{error}");
            assert_eq!(std::fs::read_dir(dir.path().join("lib")).unwrap().count(), 0, "{loader} {ahead}");
        }
        let library = attempt(CORRECT).unwrap();
        if loader != "import" {
            assert_eq!(call(&library, "sum"), 7);
        }
        assert!(library.path().is_file());
    }
}

/// The loader keeps the file of a partly loaded library, so the next attempt loads another file.
#[test]
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn after_an_initialiser_that_throws_the_corrected_source_is_built_in_the_same_process() {
    let dir = tempfile::tempdir().unwrap();
    let params = params(dir.path(), &[("cache.signature", "name")]);
    let session = Session::default();
    let throws = format!("struct T {{ T() {{ throw 1; }} }}; static T thrown;\n{CORRECT}");
    for _ in 0..2 {
        let error = try_jit(&session, "sum", &params, &throws).unwrap_err();
        assert_eq!(error.kind(), Kind::Load, "{error}");
        assert!(error.message().contains("threw") && error.message().contains("not published"), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("lib")).unwrap().count(), 0);
    assert_eq!(call(&try_jit(&session, "sum", &params, CORRECT).unwrap(), "sum"), 7);
}

/// Python's extension modules do not name what the interpreter provides.
#[test]
fn what_the_host_provides_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let params = params(&cache, &[("cache.signature", "name"), ("cache.lib_loader", "import")]);
    let code = "extern \"C\" int provided_by_host(); extern \"C\" int sum() { return provided_by_host(); }\n";
    let error = try_jit(&Session::default(), "sum", &params, code).unwrap_err();
    assert!(error.message().contains("undefined symbol: provided_by_host"), "{error}");
    let (source, provider) = (dir.path().join("provider.cpp"), dir.path().join("provider.so"));
    std::fs::write(&source, "extern \"C\" int provided_by_host() { return 1; }\n").unwrap();
    let compiler = std::process::Command::new("c++")
        .args(["-shared", "-fPIC", "-o"])
        .args([&provider, &source])
        .status()
        .unwrap();
    assert!(compiler.success());
    // SAFETY: a library of ours without initialisers.
    let provider = unsafe {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        Library::open(Some(&provider), RTLD_NOW | RTLD_GLOBAL).unwrap()
    };
    try_jit(&Session::default(), "sum", &params, code).unwrap();
    drop(provider);
}

/// A library of the system that has been uninstalled.
#[test]
fn an_entry_whose_needed_library_is_gone_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (source, needed) = (dir.path().join("needed.cpp"), dir.path().join("libneeded_by_sum.so"));
    std::fs::write(&source, "extern \"C\" int other() { return 1; }\n").unwrap();
    let compiler = std::process::Command::new("c++")
        .args(["-shared", "-fPIC", "-o"])
        .args([&needed, &source])
        .status()
        .unwrap();
    assert!(compiler.success());
    let place = dir.path().to_str().unwrap();
    let cache = dir.path().join("cache");
    let with_it = [
        ("cache.signature", "name"),
        ("cache.lib_loader", "import"),
        ("build.libs", "needed_by_sum"),
        ("build.lib_dirs", place),
        ("build.rpath_dirs", place),
    ];
    try_jit(&Session::default(), "sum", &params(&cache, &with_it), LACKING).unwrap();
    std::fs::remove_file(&needed).unwrap();
    // Without a way to build it, it is an error, and stays.
    let plain = params(&cache, &[("cache.signature", "name")]);
    let resolved = plain.resolve().unwrap();
    let request = Request { name: "sum", params: &resolved };
    let error = Session::default().jit(Ok(request), &mut Callbacks::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Load, "{error}");
    assert!(error.message().contains("libneeded_by_sum.so"), "{error}");
    assert!(cache.join("lib/libdijitso-sum.so").exists());
    let library = try_jit(&Session::default(), "sum", &plain, CORRECT).unwrap();
    assert_eq!((call(&library, "sum"), library.origin()), (7, Origin::Built));
    assert!(cache.join("quarantine/libdijitso-sum.so").is_file());
}

/// A library that is loaded before it is published is the published file: its dependants find it loaded.
#[test]
fn a_library_is_loaded_once_though_it_is_loaded_before_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let session = Session::default();
    let params = params(dir.path(), &[("cache.signature", "name")]);
    let code = "static int calls; extern \"C\" int dependency() { return ++calls; }\n";
    let dependency = jit(&session, "dependency", &params, code, None);
    let code = "extern \"C\" int dependency(); extern \"C\" int parent() { return dependency(); }\n";
    let parent = jit(&session, "parent", &params, code, Some("dependency"));
    assert_eq!((call(&dependency, "dependency"), call(&parent, "parent")), (1, 2), "one static variable");
}

/// A module of one library is used by another, by the name of the module; the failure of a third is reported.
#[test]
fn fortran_libraries_offer_their_modules() {
    if !has_program("gfortran") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = [("build.language", "fortran"), ("build.fcflags_opt", "-O0")];
    let params = params(dir.path(), &settings);
    let session = Session::default();
    let code = "module numbers\n  implicit none\n  integer, parameter :: seven = 7\ncontains\n  \
                integer function next(n)\n    integer, intent(in) :: n\n    next = n + 1\n  \
                end function\nend module\n";
    let numbers = jit(&session, "numbers", &params, code, None);
    let code = "function eight() bind(c)\n  use numbers\n  use iso_c_binding\n  integer(c_int) :: eight\n  \
                eight = next(seven)\nend function\n";
    let eight = jit(&session, "eight", &params, code, Some(numbers.signature()));
    assert_eq!(call(&eight, "eight"), 8);

    // The modules have come from the cache: another process finds both without a compiler.
    let session = Session::default();
    assert_eq!(call(&jit(&session, "eight", &params, "no Fortran", None), "eight"), 8);

    let resolved = params.resolve().unwrap();
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(b"function wrong()\n  use no_such_module\nend function\n".to_vec());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let error = session.jit(Ok(Request { name: "wrong", params: &resolved }), &mut callbacks).unwrap_err();
    assert_eq!(error.kind(), Kind::Compile);
    assert!(error.message().contains("no_such_module"), "{}", error.message());
}
