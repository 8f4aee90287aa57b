//! Precedence, origins, and the defects of the original's parameters.

use std::path::Path;

use super::*;

fn environment(variables: &[(&'static str, &str)]) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        cwd: PathBuf::from("/where/i/am"),
        uid: rustix::process::geteuid().as_raw(),
        system_dir: PathBuf::from("/nonexistent"),
    }
}

fn with_config(text: &str, variables: &[(&'static str, &str)]) -> Params {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".dijitso.conf"), text).unwrap();
    Params::in_environment(&Environment { cwd: dir.path().to_owned(), ..environment(variables) }).unwrap()
}

#[test]
fn defaults_are_the_documented_ones() {
    let params = Params::in_environment(&environment(&[("HOME", "/home/me")])).unwrap();
    let expected = [
        ("cache.cache_dir", "/home/me/.cache/dijitso"),
        ("cache.inc_dir", "include"),
        ("cache.src_dir", "src"),
        ("cache.lib_dir", "lib"),
        ("cache.log_dir", "log"),
        ("cache.comm_dir", "comm"),
        ("cache.src_storage", "compress"),
        ("cache.enable_build_log", "true"),
        ("cache.lib_prefix", "lib"),
        ("cache.lib_basename", "dijitso-"),
        ("cache.lib_postfix", ".so"),
        ("cache.lib_loader", "ctypes"),
        ("build.cxx", "c++"),
        ("build.cxxflags", "-Wall -shared -fPIC -std=c++11"),
        ("build.cxxflags_debug", "-g -O0"),
        ("build.cxxflags_opt", "-O3 -fno-math-errno -fno-trapping-math"),
        ("build.debug", "false"),
        ("parallel.buildon", "node"),
        ("generator", "{}"),
    ];
    for (key, value) in expected {
        assert_eq!(params.get(key).as_deref(), Some(value), "{key}");
        assert_eq!(params.origin(key), Some(&ValueOrigin::Default), "{key}");
    }
    assert_eq!(params.get("build.nothing"), None);
    let resolved = params.resolve().unwrap();
    assert_eq!(resolved.cache.src_postfix, ".cpp");
    assert_eq!(resolved.cache.fail_dir_root, Path::new("/home/me/.cache/dijitso"));
}

#[test]
fn caller_over_environment_over_config_over_default() {
    let config = "[build]\ncxx = from-config\ncc = from-config -m32\ndebug = yes\n";
    let mut params = with_config(config, &[("CXX", "ccache g++"), ("HOME", "/h")]);
    assert_eq!(params.get("build.debug").as_deref(), Some("true"));
    assert!(matches!(params.origin("build.debug"), Some(ValueOrigin::Config(_))));
    assert_eq!(params.resolve().unwrap().build.compiler, ["ccache", "g++"]);
    assert_eq!(params.origin("build.cxx"), Some(&ValueOrigin::Environment("CXX")));
    params.set("build.cxx", "'/opt/my compiler/cc' -m64").unwrap();
    assert_eq!(params.resolve().unwrap().build.compiler, ["/opt/my compiler/cc", "-m64"]);
    assert_eq!(params.origin("build.cxx"), Some(&ValueOrigin::Caller));
    params.set("build.language", "c").unwrap();
    let resolved = params.resolve().unwrap();
    assert_eq!(resolved.build.compiler, ["from-config", "-m32"]);
    assert_eq!(resolved.cache.src_postfix, ".c");
}

/// Defect W1 of the original: the cache directory of the caller and of the config file was always discarded.
#[test]
fn w1_the_cache_directory_of_the_caller_counts() {
    let variables = [("DIJITSO_CACHE_DIR", "/from/env"), ("HOME", "/h")];
    let mut params = with_config("[cache]\ncache_dir = /from/config\n", &variables[1..]);
    assert_eq!(params.get("cache.cache_dir").as_deref(), Some("/from/config"));
    params = with_config("[cache]\ncache_dir = /from/config\n", &variables);
    assert_eq!(params.get("cache.cache_dir").as_deref(), Some("/from/env"));
    params.merge_json(r#"{"cache": {"cache_dir": "mine"}}"#).unwrap();
    assert!(params.resolve().unwrap().cache.cache_dir.ends_with("mine"));
    assert!(params.resolve().unwrap().cache.cache_dir.is_absolute());
}

#[test]
fn environments_of_python_are_the_base_of_the_cache() {
    let cache_dir = |variables: &[(&'static str, &str)]| {
        Params::in_environment(&environment(variables)).unwrap().get("cache.cache_dir").unwrap()
    };
    assert_eq!(cache_dir(&[("HOME", "/h"), ("CONDA_PREFIX", "/c")]), "/c/.cache/dijitso");
    assert_eq!(cache_dir(&[("VIRTUAL_ENV", "/v"), ("CONDA_PREFIX", "/c")]), "/v/.cache/dijitso");
    let homeless = Params::in_environment(&environment(&[])).unwrap();
    assert_eq!(homeless.resolve().unwrap_err().kind(), Kind::Params);
}

#[test]
fn errors_name_the_key_and_change_nothing() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    let before = params.to_json();
    for (key, value, expected) in [
        ("build.cxxflag", "-O2", "build.cxxflags"),
        ("builds.cxxflags", "-O2", "section \"builds\""),
        ("build.debug", "perhaps", "true or false"),
        ("build.timeout", "-1", "zero or more"),
        ("parallel.buildon", "moon", "node, root, process"),
        ("build.cxxflags", "'open", "not closed"),
        ("generator", "{", "generator"),
        ("cache.lib_dir", "../lib", "below the cache directory"),
        ("", "", "did you mean"),
    ] {
        let error = params.set(key, value).unwrap_err();
        assert_eq!(error.kind(), Kind::Params);
        assert!(error.message().contains(expected), "{key}: {error}");
    }
    for json in [
        r#"{"build": {"debug": true, "libs": ["m", 3]}}"#,
        r#"{"build": 3}"#,
        r#"{"bild": {}}"#,
        r#"{"build": {"debug": [1]}}"#,
        "[]",
        "{",
    ] {
        assert_eq!(params.merge_json(json).unwrap_err().kind(), Kind::Params, "{json}");
    }
    assert_eq!(params.to_json(), before);
}

/// Defect C22 of the original: generator parameters were merged by replacing whole branches.
#[test]
fn c22_generator_parameters_are_merged_in_depth() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    params.set("generator", r#"{"z": 1, "a": {"b": 1, "c": [1, 2]}}"#).unwrap();
    params.merge_json(r#"{"generator": {"a": {"b": 2}}}"#).unwrap();
    params.set("generator.degree", "3").unwrap();
    params.set("generator.family", "P 1").unwrap();
    let expected = r#"{"a":{"b":2,"c":[1,2]},"degree":3,"family":"P 1","z":1}"#;
    assert_eq!(params.get("generator").as_deref(), Some(expected));
    assert_eq!(params.get("generator.degree").as_deref(), Some("3"));
    params.set("generator", "[1]").unwrap();
    assert!(params.set("generator.degree", "3").is_err());
}

#[test]
fn json_of_all_parameters_gives_them_back() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    params.set("build.cxxflags", "-O1 '-DNAME=\"a b\"'").unwrap();
    params.set("build.timeout", "1.5").unwrap();
    params.set("build.debug", "yes").unwrap();
    let json = params.to_json();
    let mut again = Params::in_environment(&environment(&[("HOME", "/other")])).unwrap();
    again.merge_json(&json.to_string()).unwrap();
    assert_eq!(again.to_json(), json);
    let (again, params) = (again.resolve().unwrap(), params.resolve().unwrap());
    assert_eq!(again.request_digest, params.request_digest);
    assert_eq!(again.cache.src_storage, params.cache.src_storage);
}

#[test]
fn digests_tell_what_ranks_must_share() {
    let base = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    let changed = |key: &str, value: &str| {
        let mut params = base.clone();
        params.set(key, value).unwrap();
        let (old, new) = (base.resolve().unwrap(), params.resolve().unwrap());
        (old.request_digest != new.request_digest, old.shared_digest != new.shared_digest)
    };
    assert_eq!(changed("cache.cache_dir", "/x"), (true, false));
    assert_eq!(changed("cache.src_storage", "keep"), (false, false));
    assert_eq!(changed("build.timeout", "9"), (false, false));
    assert_eq!(changed("parallel.buildon", "root"), (true, true));
    assert_eq!(changed("build.cxxflags", "-O1"), (true, true));
    assert_eq!(changed("generator", "[1]"), (true, true));
    assert_eq!(changed("build.cflags", "-O1"), (false, false));
}

/// The compiler runs elsewhere, so directories that the caller wrote are made absolute first.
/// A library that is loaded is known by its path: one directory must not have two.
#[test]
fn a_cache_directory_has_one_path_however_it_is_written() {
    let of = |dir: &str| {
        let mut params = Params::in_environment(&environment(&[])).unwrap();
        params.set("cache.cache_dir", dir).unwrap();
        let resolved = params.resolve().unwrap();
        (resolved.cache.cache_dir.clone().into_os_string(), resolved.request_digest)
    };
    for same in ["./c/d", "c//d", "c/./d/", "/where/i/am/c/d"] {
        assert_eq!(of(same), of("c/d"), "{same}");
    }
    assert_ne!(of("c/../d"), of("d"), "c may be a link");
}

#[test]
fn relative_directories_are_the_callers() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    params.set("build.cxxflags", "-Iinc -I /abs -isystem sys -L lib -O2").unwrap();
    params.set("build.cxxflags_opt", "").unwrap();
    params.set("build.include_dirs", ". ~/inc").unwrap();
    params.set("build.rpath_dirs", "$ORIGIN/../x").unwrap();
    params.set("build.cxx", "./tools/cxx").unwrap();
    let build = params.resolve().unwrap().build;
    let flags =
        ["-I/where/i/am/inc", "-I", "/abs", "-isystem", "/where/i/am/sys", "-L", "/where/i/am/lib", "-O2"];
    assert_eq!(build.flags, [&["-shared", "-fPIC"], &flags[..]].concat());
    assert_eq!(build.include_dirs, ["/where/i/am/.", "/h/inc"]);
    assert_eq!(build.rpath_dirs, ["$ORIGIN/../x"]);
    assert_eq!(build.compiler, ["/where/i/am/./tools/cxx"]);
}

/// One macro meant repeating all flags.
#[test]
fn macros_and_flags_are_added_to_the_default_ones() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    params.set("build.defines", "NDEBUG 'TEXT=\"a b\"'").unwrap();
    params.set("build.cxxflags_append", "-O1 -Iinc").unwrap();
    params.set("build.cflags_append", "-std=c99").unwrap();
    let flags = |params: &Params| shell_words::join(params.resolve().unwrap().build.flags);
    assert_eq!(
        flags(&params),
        "-Wall -shared -fPIC '-std=c++11' -O3 -fno-math-errno -fno-trapping-math -DNDEBUG '-DTEXT=\"a b\"' \
         -O1 -I/where/i/am/inc"
    );
    params.set("build.language", "c").unwrap();
    params.merge_json(r#"{"build": {"defines": ["ANSWER=40 + 2"], "debug": true}}"#).unwrap();
    assert_eq!(flags(&params), "-Wall -shared -fPIC '-std=c17' -g -O0 '-DANSWER=40 + 2' '-std=c99'");
    assert_eq!(params.origin("build.defines"), Some(&ValueOrigin::Caller));
    for wrong in ["-DNDEBUG", "=1", "'' X", "2X"] {
        let error = params.set("build.defines", wrong).unwrap_err();
        assert!(error.message().contains("without -D"), "{error}");
    }
    assert!(params.merge_json(r#"{"build": {"defines": ["-DX"]}}"#).is_err());
}

/// "undefined reference to main" was all that a user was told of a flag left out.
#[test]
fn a_library_is_shared_and_can_be_loaded_anywhere_whatever_the_flags() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h"), ("CXX", "c++")])).unwrap();
    let mut flags = |key: &str, value: &str| {
        params.set("build.cxxflags_opt", "").unwrap();
        params.set(key, value).unwrap();
        params.resolve().unwrap().build.flags.join(" ")
    };
    assert_eq!(flags("build.cxxflags", "-O1"), "-shared -fPIC -O1");
    assert_eq!(flags("build.cxxflags", "-fPIC -O1"), "-shared -fPIC -O1");
    assert_eq!(flags("build.cxxflags", "-O1 -shared -fpic"), "-O1 -shared -fpic");
    assert_eq!(flags("build.cxxflags_append", "-fPIC"), "-O1 -shared -fpic -fPIC");
}

#[test]
fn counts_and_bytes() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    for (text, bytes) in [("0", None), ("500m", Some(500 << 20)), ("4G", Some(4 << 30)), ("17", Some(17))] {
        params.set("build.memory_limit", text).unwrap();
        assert_eq!(params.resolve().unwrap().build.memory_limit, bytes, "{text}");
    }
    for wrong in ["", "G", "-1", "1.5G", "4GB", "99999999999G", "å"] {
        assert!(params.set("build.memory_limit", wrong).is_err(), "{wrong}");
    }
    params.merge_json(r#"{"build": {"max_compilers": 3}}"#).unwrap();
    assert_eq!(params.resolve().unwrap().build.max_compilers, Some(3));
    assert_eq!(params.get("build.max_compilers").as_deref(), Some("3"));
}

/// Found by fuzzing: comparing a long unknown name with the known ones took seconds and hundreds of
/// megabytes.
#[test]
fn a_file_passed_as_a_name_is_refused_in_a_few_words() {
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    let long = "\u{e4}.".repeat(1 << 20);
    for name in [long.clone(), format!("build.{long}")] {
        let error = params.set(&name, "x").unwrap_err();
        assert_eq!(error.kind(), Kind::Params);
        assert!(error.message().len() < 400, "{} bytes", error.message().len());
    }
}

/// Found by a property test: numbers changed in their last digit each time that they were read and written,
/// and with them the signature.
#[test]
fn numbers_of_the_generator_stay_what_they_are() {
    let text = r#"{"a":[242531.78783656567,0.1,1e-300,5e-324]}"#;
    let mut params = Params::in_environment(&environment(&[("HOME", "/h")])).unwrap();
    params.set("generator", text).unwrap();
    assert_eq!(params.get("generator").as_deref(), Some(text));
    let shown = params.to_json().to_string();
    params.merge_json(&shown).unwrap();
    assert_eq!(params.get("generator").as_deref(), Some(text));
}
