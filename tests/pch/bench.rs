//! Helpers for tests of precompiled headers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dijitso::cache::record;
use dijitso::error::Result;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Callbacks, Library, Request, Session, Source};
use dijitso::load::{Loader, System};
use dijitso::params::Params;
use dijitso::process::detached::RunDetached;
use dijitso::process::exec_context::ExecContext;
use dijitso::process::slots::{Slot, SlotRequest};
use dijitso::process::{Command, Outcome, Runner, SystemRunner};

/// A directory with a cache, a directory of headers, and a compiler that records its calls.
pub(crate) struct Bench {
    _dir: Option<tempfile::TempDir>,
    pub(crate) at: PathBuf,
    pub(crate) params: Params,
    /// True if the host pretends to have a free core.
    pub(crate) free_core: bool,
}

/// Runs commands as a host does, and pretends that a core is free, or not.
struct Host {
    free_core: bool,
}

impl Runner for Host {
    fn run(&self, command: &Command) -> std::io::Result<Outcome> {
        SystemRunner.run(command)
    }

    fn slot(&self, wanted: &SlotRequest<'_>, context: &ExecContext) -> Option<Slot> {
        SystemRunner.slot(wanted, context)
    }

    fn has_free_core(&self) -> bool {
        self.free_core
    }

    fn detached(&self) -> Option<RunDetached> {
        SystemRunner.detached()
    }
}

pub(crate) const COMMON: &str = "#pragma once\n#include <algorithm>\n#include <vector>\n\
                      struct Common { virtual ~Common() {} virtual int value() const { return VALUE; } };\n";

impl Bench {
    pub(crate) fn new(compiler: &str, precompile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(at.join("headers")).unwrap();
        let mut bench = Self::there(&at, precompile);
        bench._dir = Some(dir);
        bench.write_common(1);
        bench.write_compiler("", compiler);
        bench
    }

    /// Opens a bench that another program has made.
    pub(crate) fn there(at: &Path, precompile: &str) -> Self {
        let params = Params::new().unwrap();
        let mut bench = Self { _dir: None, at: at.to_owned(), params, free_core: false };
        let path = |name: &str| at.join(name).display().to_string();
        for (key, value) in [
            ("cache.cache_dir", path("cache").as_str()),
            ("build.cxx", &path("g++")),
            ("build.cxxflags_opt", "-O1"),
            ("build.include_dirs", &path("headers")),
            ("build.precompile", precompile),
            ("build.slots_dir", ""),
        ] {
            bench.params.set(key, value).unwrap();
        }
        bench
    }

    /// Writes the compiler, with commands that it runs first.
    pub(crate) fn write_compiler(&self, before: &str, compiler: &str) {
        let calls = self.at.join("calls");
        let text = format!("#!/bin/sh\necho \"$@\" >> {}\n{before}exec {compiler} \"$@\"\n", calls.display());
        fs::write(self.at.join("g++"), text).unwrap();
        fs::set_permissions(self.at.join("g++"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    /// Switches to another cache, without precompiled headers.
    pub(crate) fn without(&mut self) {
        let cache = self.at.join("other").display().to_string();
        self.params.set("cache.cache_dir", &cache).unwrap();
        self.params.set("build.precompile", "never").unwrap();
    }

    pub(crate) fn write_common(&self, value: i32) {
        // File times have a resolution, and the value may be the same.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(self.at.join("headers/common.h"), COMMON.replace("VALUE", &value.to_string())).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }

    pub(crate) fn jit_with(&self, name: &str, code: &str, header: Option<&str>) -> Result<Library> {
        let params = self.params.resolve().unwrap();
        let generate = |_: GenerateRequest<'_>, source: &mut Source| {
            source.code = Some(code.as_bytes().to_vec());
            source.header = header.map(|text| text.as_bytes().to_vec());
            Ok(())
        };
        let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
        self.session().jit(Ok(Request { name, params: &params }), &mut callbacks)
    }

    pub(crate) fn session(&self) -> Session {
        self.session_with(Arc::new(System))
    }

    pub(crate) fn session_with(&self, loader: Arc<dyn Loader>) -> Session {
        Session::new(Arc::new(Host { free_core: self.free_core }), loader)
    }

    pub(crate) fn jit(&self, name: &str) -> Library {
        self.jit_with(name, &source(name), None).unwrap()
    }

    /// Returns the numbers of compiler calls that built with a precompiled header, built without, and made
    /// one.
    pub(crate) fn calls(&self) -> [usize; 3] {
        let text = fs::read_to_string(self.at.join("calls")).unwrap_or_default();
        let count = |which: &dyn Fn(&str) -> bool| text.lines().filter(|line| which(line)).count();
        let builds = |line: &str| line.contains("-soname");
        [
            count(&|line| builds(line) && line.contains("preamble.h")),
            count(&|line| builds(line) && !line.contains("preamble.h")),
            count(&|line| line.contains("preamble.h.gch")),
        ]
    }

    /// Returns the folders of complete precompiled headers.
    pub(crate) fn made(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.at.join("cache/pch")).into_iter().flatten().flatten();
        all.map(|entry| entry.path())
            .filter(|path| path.join("preamble.h.gch").is_file() && path.join("record").is_file())
            .collect()
    }

    /// Makes the records of precompiled headers some hours older.
    pub(crate) fn let_hours_pass(&self) {
        let all = fs::read_dir(self.at.join("cache/pch")).into_iter().flatten().flatten();
        for record in all.filter_map(|entry| fs::File::open(entry.path().join("record")).ok()) {
            record.set_modified(std::time::SystemTime::now() - Duration::from_secs(4 * 3600)).unwrap();
        }
    }

    /// Returns the headers recorded for a library, relative to the bench.
    pub(crate) fn inputs(&self, library: &Library) -> Vec<PathBuf> {
        let record =
            record::read_record_tail(&fs::File::open(library.path()).unwrap()).unwrap().record().unwrap();
        let relative = |path: PathBuf| path.strip_prefix(&self.at).map(Path::to_owned).unwrap_or(path);
        record.inputs.iter().map(|input| relative(PathBuf::from(&input.path))).collect()
    }

    pub(crate) fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.wait_for(Duration::from_secs(120), what, done);
    }

    pub(crate) fn wait_for(&self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < limit, "{what}: {:?}", self.calls());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn disassembly(library: &Path) -> String {
        let output = std::process::Command::new("objdump").arg("-d").arg(library).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // The first lines name the file.
        text.split_once("Disassembly").map(|(_, rest)| rest.to_owned()).unwrap()
    }
}

pub(crate) fn source(name: &str) -> String {
    format!(
        "// {name}\n#if defined _WIN32\n#define EXPORT 1\n#else\n#define EXPORT \
         __attribute__ ((visibility (\"default\")))\n#endif\n#include <common.h>\n#include <cstdlib>\n\
         struct Own : Common {{ int value() const override {{ std::vector<int> v{{3, 1, 2}}; \
         std::sort(v.begin(), v.end()); return v[0] * Common::value(); }} }};\n\
         extern \"C\" EXPORT int f_{name}() {{ Common* c = new Own; int v = c->value(); \
         delete c; return v; }}\n"
    )
}

pub(crate) fn call(library: &Library, name: &str) -> i32 {
    let address = library.symbol(&format!("f_{name}")).unwrap();
    // SAFETY: all functions of these tests are `int f()`.
    let function = unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> i32>(address) };
    function()
}
