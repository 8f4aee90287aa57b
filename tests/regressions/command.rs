//! The compiler's command: its words, its directory, its input.

use std::io::{Read, Write};

use dijitso::build::command::{Dirs, argv};
use dijitso::cache::Cache;
use dijitso::cache::layout::Category;
use dijitso::params::Environment;

use super::*;

/// Defect C15 of the original: one way of calling the compiler gave an unquoted line to a shell, the other
/// took any name for the method, and neither cared for the working directory.
#[test]
fn c15_the_words_of_a_command_reach_the_compiler_as_they_are() {
    let flag = "-DTEXT=\"a  b $(touch evil) `touch evil` ; touch evil # $HOME * ' \\\\\"";
    let expected = "a  b $(touch evil) `touch evil` ; touch evil # $HOME * ' \\";
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("a cache; $(touch evil) 'b'");
        let flags = shell_words::join(["-shared", "-fPIC", flag]);
        let settings = [
            ("cache.cache_dir", cache.to_str().unwrap()),
            ("build.system_call_method", method),
            ("build.cxxflags", &flags),
        ];
        let code = "#include <string.h>\n\
                    extern \"C\" int length() { return sizeof TEXT - 1; }\n\
                    extern \"C\" int at(int i) { return TEXT[i]; }\n";
        let library = jit(&Session::default(), "words", &params(&settings), code).unwrap();
        assert_eq!(call(library.symbol("length").unwrap()), i32::try_from(expected.len()).unwrap());
        // SAFETY: this one is `int at(int)`.
        let at = unsafe {
            std::mem::transmute::<*const c_void, extern "C" fn(i32) -> i32>(library.symbol("at").unwrap())
        };
        let text: Vec<u8> = (0..expected.len()).map(|place| at(place as i32) as u8).collect();
        assert_eq!(String::from_utf8_lossy(&text), expected);
        assert_eq!(entries(dir.path()), 1, "nothing but the cache was made");
    }
    assert!(!Path::new("evil").exists());
}

/// Defect C15, continued: any value but one was taken for "SUBPROCESS", and only when the module was
/// imported.
#[test]
fn c15_an_unknown_call_method_is_an_error_whenever_it_is_set() {
    let mut set = Params::new().unwrap();
    for wrong in ["", "POPEN", "SUBPROCESS OS_SYSTEM", "sub"] {
        let error = set.set("build.system_call_method", wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::Params, "{error}");
        assert!(error.message().contains("SUBPROCESS, OS_SYSTEM"), "{error}");
    }
    let with = |method: &str| {
        let variables = [("HOME", "/h".to_owned()), ("DIJITSO_SYSTEM_CALL_METHOD", method.to_owned())];
        let environment = Environment {
            variables: variables.into(),
            cwd: "/".into(),
            uid: rustix::process::geteuid().as_raw(),
            system_dir: "/nonexistent".into(),
        };
        Params::in_environment(&environment)
    };
    assert_eq!(with("OS_SYSTEM").unwrap().get("build.system_call_method").unwrap(), "OS_SYSTEM");
    assert!(with("POPEN").unwrap_err().message().contains("DIJITSO_SYSTEM_CALL_METHOD"));
}

/// Defect C15, continued: the compiler read what the host should have read.
#[test]
fn c15_the_compiler_has_its_own_directory_and_not_the_hosts_input() {
    let (_dir, here) = places();
    let mut child = start("stdin", &here, Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"input of the host").unwrap();
    succeeded(&child.wait_with_output().unwrap());
    assert_eq!(entries(&here), 0);
}

pub(crate) fn stdin() {
    let home = std::env::var("HOME").unwrap();
    for method in ["SUBPROCESS", "OS_SYSTEM"] {
        let seen = format!("{home}/{method}");
        let says = format!("{{ pwd; cat; }} > '{seen}'; {}", writes_library());
        let settings = [
            ("cache.signature", "name"),
            ("cache.lib_loader", "import"),
            ("build.system_call_method", method),
            ("build.cxx", &script(&says)),
        ];
        jit(&Session::default(), method, &params(&settings), HEALTHY).unwrap();
        let seen = fs::read_to_string(seen).unwrap();
        assert_eq!(seen.lines().count(), 1, "a directory, and no input: {seen}");
        let staging = Path::new(seen.trim());
        assert_ne!(staging, std::env::current_dir().unwrap());
        assert!(!staging.exists(), "{seen} is gone with the build");
    }
    let mut rest = String::new();
    std::io::stdin().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "input of the host");
}

/// Defect C16 of the original: directories were created where a command line was made.
#[test]
fn c16_making_a_command_line_touches_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let settings = [
        ("cache.cache_dir", at("cache")),
        ("cache.fail_dir_root", at("failures")),
        ("cache.temp_dir_root", at("temporary")),
        ("build.include_dirs", at("include")),
        ("build.lib_dirs", at("lib")),
        ("build.rpath_dirs", at("rpath")),
        ("build.slots_dir", at("slots")),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let params = params(&settings).resolve().unwrap();
    let cache = Cache::new(&params.cache.cache_dir, &params.cache);
    let shown = |category| cache.layout().dir(category).display().to_string();
    let dirs = Dirs { include: shown(Category::Inc), library: shown(Category::Lib) };
    let library = cache.layout().lib_basename("form");
    let words = argv(&params.build, &[], &cache.layout().src_basename("form"), &library, &[], &dirs);
    assert!(words.contains(&format!("-L{}", at("cache/lib"))), "{words:?}");
    assert_eq!(entries(dir.path()), 0);
}
