//! Bundles, `dijitso why` and `dijitso doctor` with a real compiler: from a cache on one machine to the
//! library on another without a compiler.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use dijitso::error::Kind;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Request, Session, Source};
use dijitso::params::Params;

fn params(cache: &Path, compiler: &Path, settings: &[(&str, &str)]) -> Params {
    let mut params = Params::new().unwrap();
    params.set("cache.cache_dir", cache.to_str().unwrap()).unwrap();
    params.set("build.cxx", compiler.to_str().unwrap()).unwrap();
    params.set("build.cxxflags_opt", "-O0").unwrap();
    for (key, value) in settings {
        params.set(key, value).unwrap();
    }
    params
}

/// A parent that calls a dependency, which gives 7.
fn build(params: &Params) -> Library {
    let (session, resolved) = (Session::default(), params.resolve().unwrap());
    let element = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(b"extern \"C\" int element() { return 7; }\n".to_vec());
        Ok(())
    };
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        let mut callbacks = Callbacks { generate: Some(Box::new(element)), ..Callbacks::default() };
        let request = Request { name: "element", params: &resolved };
        let library = session.jit(Ok(request), &mut callbacks).map_err(|_| 1)?;
        source.dependencies.push(library.signature().to_owned());
        source.code =
            Some(b"extern \"C\" int element(); extern \"C\" int form() { return element(); }\n".to_vec());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    session.jit(Ok(Request { name: "form", params: &resolved }), &mut callbacks).unwrap()
}

fn value(library: &Library) -> i32 {
    let address = library.symbol("form").unwrap();
    // SAFETY: the function is `int form()`.
    let function = unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> i32>(address) };
    function()
}

fn dijitso(home: &Path, cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dijitso"))
        .arg("--cache-dir")
        .arg(cache)
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_bundle_serves_where_there_is_no_compiler() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let compiler = at("c++");
    symlink("/usr/bin/c++", &compiler).unwrap();
    let library = build(&params(&at("old"), &compiler, &[]));
    assert_eq!(value(&library), 7);
    let signature = library.signature();
    let bundle = at("bundle.tar");
    let bundle = bundle.to_str().unwrap();
    let text = said(&dijitso(dir.path(), &at("old"), &["export", "form", "-o", bundle]));
    assert!(text.starts_with("2 entries, "), "{text}");

    std::fs::remove_file(&compiler).unwrap();
    let text = said(&dijitso(dir.path(), &at("new"), &["import", bundle]));
    assert!(text.contains(&format!("{signature}: new\n2 new in ")), "{text}");

    let frozen = params(&at("new"), &compiler, &[("cache.frozen", "true")]);
    let resolved = frozen.resolve().unwrap();
    let session = Session::default();
    let request = Request { name: "form", params: &resolved };
    let library = session.jit(Ok(request), &mut Callbacks::default()).unwrap();
    assert_eq!((value(&library), library.signature()), (7, signature));
    assert!(library.path().starts_with(at("new")));

    // Of other parameters it says what the difference is.
    let other = params(&at("new"), &compiler, &[("cache.frozen", "true"), ("build.debug", "true")]);
    let resolved = other.resolve().unwrap();
    let request = Request { name: "form", params: &resolved };
    let error = session.jit(Ok(request), &mut Callbacks::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Cache);
    assert!(error.message().contains("build.debug: false -> true"), "{error}");
}

#[test]
fn why_answers_for_requests_and_for_entries() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let compiler = Path::new("/usr/bin/c++");
    let signature = build(&params(&cache, compiler, &[])).signature().to_owned();
    let base = ["-p", "build.cxx=/usr/bin/c++", "-p", "build.cxxflags_opt=-O0"];
    let why = |more: &[&str]| {
        let arguments = [&["why"], &base[..], more].concat();
        said(&dijitso(dir.path(), &cache, &arguments))
    };
    assert_eq!(why(&["form"]), format!("{signature} is a hit: it is in {}, and valid.\n", cache.display()));
    let text = why(&["form", "--param", "generator.degree=2", "-p", "build.libs=m"]);
    assert!(
        text.contains(&format!("The nearest of 1 entry of this name is {signature}, built on ")),
        "{text}"
    );
    assert!(
        text.ends_with("in:\n  library m was added\n  generator parameter degree was added: 2\n"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&why(&["form", "-p", "build.libs=m", "--json"])).unwrap();
    assert_eq!(json["nearest"]["differences"][0]["component"], "lib");
    let text = why(&[&signature]);
    assert!(text.contains("  name       form\n") && text.contains("(linked; valid)"), "{text}");
    let element = text.split("needs      ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(why(&[element]).contains(&format!("  needed by  {signature}\n")));
    let nothing = dijitso(dir.path(), &cache, &["why", "a/b"]);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

/// Keeps what the library says, of all tests of this file.
struct Kept(std::sync::Mutex<Vec<String>>);

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

#[test]
fn a_build_is_logged_with_the_reason() {
    static KEPT: Kept = Kept(std::sync::Mutex::new(Vec::new()));
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let dir = tempfile::tempdir().unwrap();
    let compiler = Path::new("/usr/bin/c++");
    let first = build(&params(dir.path(), compiler, &[]));
    let second = build(&params(dir.path(), compiler, &[("build.libs", "m")]));
    let expected = format!(
        "building {0}: {0} is not in the cache; from the nearest entry, {1}, it differs in: library m was added",
        second.signature(),
        first.signature()
    );
    let kept = KEPT.0.lock().unwrap();
    assert_eq!(kept.iter().filter(|line| **line == expected).count(), 1, "{kept:?}");
}

#[test]
fn a_failed_build_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let params = params(&cache, Path::new("/usr/bin/c++"), &[("cache.signature", "name")]);
    let resolved = params.resolve().unwrap();
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(b"int f() { return undeclared; }\n".to_vec());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let request = Request { name: "wrong", params: &resolved };
    Session::default().jit(Ok(request), &mut callbacks).unwrap_err();
    let text = said(&dijitso(dir.path(), &cache, &["why", "wrong", "-p", "cache.signature=name"]));
    assert!(text.contains("error: 'undeclared' was not declared") || text.contains("undeclared"), "{text}");
    let script = text.trim_end().rsplit(' ').next().unwrap();
    assert!(script.ends_with("jitfailure-wrong/recompile.sh") && Path::new(script).is_file(), "{text}");
}

#[test]
fn bundles_go_through_pipes_and_what_is_refused_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    build(&params(&cache, Path::new("/usr/bin/c++"), &[]));
    let exported = dijitso(dir.path(), &cache, &["export", "--all", "-o", "-"]);
    assert!(exported.status.success());
    let import = |bytes: &[u8], to: &str| {
        use std::io::Write;
        let mut child = Command::new(env!("CARGO_BIN_EXE_dijitso"))
            .args(["-r", dir.path().join(to).to_str().unwrap(), "import", "-", "--json"])
            .env("HOME", dir.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&said(&import(&exported.stdout, "piped"))).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), 2);
    assert_eq!(json["entries"][1]["outcome"], "new");
    let cut = import(&exported.stdout[..exported.stdout.len() / 2], "cut");
    assert_eq!(cut.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("the bundle is refused: "), "{cut:?}");
    assert!(!dir.path().join("cut").exists());
    let unknown = dijitso(dir.path(), &cache, &["export", "nothing", "-o", "x"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(!dir.path().join("x").exists());
    assert_eq!(dijitso(dir.path(), &cache, &["export", "-o", "x"]).status.code(), Some(2));
}

#[test]
fn the_doctor_examines_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let compiler = ["-p", "build.cxx=/usr/bin/c++"];
    let text = said(&dijitso(dir.path(), &cache, &[&["doctor"], &compiler[..]].concat()));
    assert!(text.contains("ok    building ") && text.contains("cache: publishing"), "{text}");
    assert!(!cache.exists());
    let output = dijitso(dir.path(), &cache, &["doctor", "-p", "build.cxx=/nonexistent/c++", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["probes"][0]["verdict"], "bad");
    assert_eq!(json["settings"][0]["key"], "cache.frozen");
}
