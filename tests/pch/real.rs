//! Sources of FFC, FFCx and DOLFIN give the same code with precompiled headers.
//!
//! Skips, with a message, what is not installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Request, Source};
use dijitso::load::{Image, Loader};
use object::{Object, ObjectSection};

use crate::absent::{has_program, skip};
use crate::bench::Bench;

/// A source with its header, and the names of the modules that it depends on.
#[derive(Clone, Debug, Default)]
struct Module {
    name: String,
    code: String,
    header: Option<String>,
    dependencies: Vec<String>,
}

/// Modules of one kind.
#[derive(Debug, Default)]
struct Part {
    settings: Vec<(&'static str, String)>,
    modules: Vec<Module>,
}

/// Runs the FFC and FFCx of this system.
fn generated(dir: &Path) -> BTreeMap<String, Part> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pch/real_sources.py");
    // Where Debian's packages are, whatever other interpreter comes first.
    let python = if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    match Command::new(python).arg(script).arg(dir).output() {
        Err(error) => skip(&format!("ffc and ffcx: {python}: {error}")),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
    for line in fs::read_to_string(dir.join("modules")).unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ["ffc" | "ffcx", include, name, extension, dependencies @ ..] = words.as_slice() else {
            skip(line.trim_start_matches("left-out "));
            continue;
        };
        let part = parts.entry(words[0].to_owned()).or_default();
        part.settings = vec![("build.include_dirs", (*include).to_owned())];
        if *extension == ".c" {
            part.settings.push(("build.language", "c".to_owned()));
        }
        part.modules.push(Module {
            name: (*name).to_owned(),
            code: fs::read_to_string(dir.join(format!("{name}{extension}"))).unwrap(),
            // FFCx's sources do not include theirs.
            header: fs::read_to_string(dir.join(format!("{name}.h"))).ok(),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
    parts
}

/// Returns sources as DOLFIN writes them, if its headers are installed.
fn dolfin() -> Option<Part> {
    let output = Command::new("pkg-config").args(["--cflags", "dolfin"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        skip("dolfin: pkg-config does not know it");
        return None;
    };
    let flags = shell_words::split(&String::from_utf8(output.stdout).unwrap()).unwrap();
    // Debian's file defines the version twice, once without its quotes.
    let flags = flags.into_iter().filter(|flag| !flag.starts_with("-DDOLFIN_VERSION=2"));
    let (include, flags): (Vec<String>, Vec<String>) = flags.partition(|flag| flag.starts_with("-I"));
    let flags = ["-Wall", "-shared", "-fPIC", "-std=c++14"].map(str::to_owned).into_iter().chain(flags);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/sources");
    let module = |template: &str, name: &str, value: &str| {
        let code = fs::read_to_string(sources.join(template)).unwrap();
        let code = code.replace("@NAME@", name).replace("@VALUE@", value);
        Module { name: name.to_owned(), code, ..Module::default() }
    };
    Some(Part {
        settings: vec![
            ("build.include_dirs", shell_words::join(include.iter().map(|flag| &flag[2..]))),
            ("build.cxxflags", shell_words::join(flags)),
        ],
        modules: vec![
            module("expression.cpp.in", "dolfin_expression_f", "amplitude*weight*exp(-x[0] / width)"),
            module("expression.cpp.in", "dolfin_expression_g", "weight*sin(5*x[0])"),
        ],
    })
}

/// Returns the libraries of DOLFIN, which a host has loaded and this program has not.
struct Admits;

impl Loader for Admits {
    fn load(&self, path: &Path) -> dijitso::error::Result<Arc<dyn Image>> {
        panic!("{} is loaded", path.display())
    }
}

/// Builds a module without loading it: DOLFIN's libraries would be loaded too.
fn build(bench: &Bench, module: &Module) -> PathBuf {
    let params = bench.params.resolve().unwrap();
    let generate = |_: GenerateRequest<'_>, source: &mut Source| {
        source.code = Some(module.code.as_bytes().to_vec());
        source.header = module.header.as_ref().map(|text| text.as_bytes().to_vec());
        source.dependencies.extend(module.dependencies.iter().cloned());
        Ok(())
    };
    let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
    let request = Request { name: &module.name, params: &params };
    let library = bench.session_with(Arc::new(Admits)).jit(Ok(request), &mut callbacks);
    library.unwrap_or_else(|error| panic!("{}: {error}\n{}", module.name, error.log())).path().to_owned()
}

/// Returns the disassembly and the data of a library.
fn contents(library: &Path) -> (String, Vec<(String, Vec<u8>)>) {
    let image = fs::read(library).unwrap();
    let file = object::File::parse(image.as_slice()).unwrap();
    let sections = file.sections().filter_map(|section| {
        let name = section.name().ok()?.to_owned();
        let data = section.data().ok()?.to_vec();
        [".text", ".rodata", ".data", ".data.rel.ro", ".init_array"]
            .contains(&name.as_str())
            .then_some((name, data))
    });
    (Bench::disassembly(library), sections.collect())
}

/// Asks the compiler for the headers that it reads.
fn assert_is_used(bench: &Bench, compiler: &str) {
    let calls = fs::read_to_string(bench.at.join("calls")).unwrap();
    let line = calls.lines().rfind(|line| line.contains("-soname") && line.contains("preamble.h")).unwrap();
    let before: Vec<&str> =
        line.split(' ').take_while(|word| !["-MD", "-Winvalid-pch"].contains(word)).collect();
    let header = line.split(' ').find(|word| word.ends_with("/preamble.h")).unwrap();
    let language = if line.contains(".cpp ") { "c++" } else { "c" };
    let include: Vec<&str> = line.split(' ').filter(|word| word.starts_with("-I")).collect();
    fs::write(bench.at.join("empty"), "").unwrap();
    let output = Command::new(compiler)
        .args(before.iter().filter(|word| **word != "-shared"))
        .args(include)
        .args(["-H", "-c", "-o", "empty.o", "-include", header, "-x", language, "empty"])
        .current_dir(&bench.at)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    // GCC marks it in the list; Clang does not list it, and does not read the headers it was made from.
    let read = said.lines().filter(|line| line.starts_with('.')).count();
    let marked = said.lines().any(|line| line.starts_with("! ") && line.ends_with("preamble.h.gch"));
    assert!(read == 0 && (marked || compiler.contains("clang")), "{compiler}: {line}\n{said}");
}

#[test]
fn sources_of_ffc_ffcx_and_dolfin_give_the_same_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = generated(dir.path());
    parts.extend(dolfin().map(|part| ("dolfin".to_owned(), part)));
    for (cxx, cc) in [("g++", "gcc"), ("clang++", "clang")] {
        for (name, part) in &parts {
            let is_c = part.settings.iter().any(|(key, _)| *key == "build.language");
            let compiler = if is_c { cc } else { cxx };
            if has_program(compiler) {
                same_code(name, part, compiler);
            }
        }
    }
}

/// The headers of DOLFIN's expressions, with DOLFIN's flags and with others.
#[test]
fn expressions_of_dolfin_gain_after_the_first_build() {
    let Some(part) = dolfin() else { return };
    for signature in ["name", "hash"] {
        let mut bench = Bench::new("/usr/bin/g++", "auto");
        let own =
            [("cache.signature", signature), ("cache.lib_loader", "import"), ("build.cxxflags_opt", "-O1")];
        let theirs = part.settings.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in own.into_iter().chain(theirs) {
            bench.params.set(key, value).unwrap();
        }
        build(&bench, &part.modules[0]);
        // Seven seconds of a processor, and 150 MB, with a low priority.
        bench.wait_for(Duration::from_secs(600), "none was made", |bench| bench.made().len() == 1);
        build(&bench, &part.modules[1]);
        assert_eq!(bench.calls(), [1, 1, 1], "{signature}");
    }
}

fn same_code(name: &str, part: &Part, compiler: &str) {
    let mut bench = Bench::new(compiler, "always");
    let script = bench.params.resolve().unwrap().build.compiler[0].clone();
    // The names of FFC's modules are in their text.
    for (key, value) in [
        ("cache.signature", "name"),
        ("cache.lib_loader", "import"),
        ("build.cc", &script),
        ("build.cxxflags_opt", "-O1"),
        ("build.cflags_opt", "-O1"),
    ] {
        bench.params.set(key, value).unwrap();
    }
    for (key, value) in &part.settings {
        bench.params.set(key, value).unwrap();
    }
    let with: Vec<PathBuf> = part.modules.iter().map(|module| build(&bench, module)).collect();
    let count = part.modules.len();
    let [used, plain, made] = bench.calls();
    assert!(
        (used, plain) == (count, 0) && (1..=count).contains(&made),
        "{name}, {compiler}: {:?}",
        bench.calls()
    );
    assert_is_used(&bench, compiler);
    bench.without();
    for (module, with) in part.modules.iter().zip(&with) {
        let (code, data) = contents(with);
        let (plain_code, plain_data) = contents(&build(&bench, module));
        assert!(code == plain_code, "{}, {compiler}: other code", module.name);
        assert!(data == plain_data && !data.is_empty(), "{}, {compiler}: other data", module.name);
    }
    assert_eq!(bench.calls(), [count, count, made], "{name}, {compiler}");
}
