//! Conversion of parameters to plain structs.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use crate::codec::{Digest32, Writer, quick_digest};
use crate::error::{Error, Kind, Result};
use crate::language::Language;
use crate::process::affinity::Cores;
use crate::process::{Capture, environment};
use crate::sync::lock;

use super::compared::{Compared, LazyCompared};
use super::resolved::{
    BuildOn, BuildParams, CacheParams, CheckSource, Precompile, Resolved, SourceStorage, StageDir,
    header_name,
};
use super::schema::{KEYS, Key, Scope};
use super::value::Value;
use super::{Params, ValueOrigin};

/// Options before the name of a file. Files that do not exist here may be found in the include directories.
const FILE_OPTIONS: [&str; 3] = ["-include", "-imacros", "-include-pch"];

/// The number of results that are remembered: programs have parameters for each kind of module.
const MOST_RESOLVED: usize = 8;

/// Parameters and what they were resolved to.
struct LastResolved {
    params: Params,
    /// The variable TMPDIR.
    temp_dir: Option<OsString>,
    resolved: Arc<Resolved>,
}

impl Params {
    /// Returns these parameters as plain structs.
    ///
    /// # Errors
    /// [`Kind::Params`] if no cache directory or compiler is known.
    pub fn resolve(&self) -> Result<Resolved> {
        let language =
            Language::named(self.text("build.language")).expect("the schema allows these names alone");
        let generator = self.generator.0.to_string();
        let build = self.resolve_build(language)?;
        let mut cache = self.resolve_cache(language)?;
        // Debuggers read no gzip files. Where the value came from does not count: parameters that are written as JSON and
        // read again are the same.
        if build.has_debug_info() && cache.src_storage == SourceStorage::Compress {
            cache.src_storage = SourceStorage::Keep;
        }
        let shared_digest = self.shared_digest(&build, &generator);
        // No other value that may differ between ranks: a memory hit on some ranks and none on others would
        // hang.
        let mut memory = Writer::new(&shared_digest);
        memory.bytes(cache.cache_dir.as_os_str().as_encoded_bytes());
        Ok(Resolved {
            buildon: match self.text("parallel.buildon") {
                "root" => BuildOn::Root,
                "process" => BuildOn::Process,
                _ => BuildOn::Node,
            },
            timeout: self.limit("parallel.timeout"),
            text: None,
            compared: Arc::new(self.compared_when_needed()),
            shared_digest,
            request_digest: quick_digest(&memory.finish()),
            cache: Arc::new(cache),
            generator,
            build,
        })
    }

    /// Does the same. Returns an earlier result if the parameters are the same.
    ///
    /// # Errors
    /// As [`Params::resolve`].
    pub fn resolve_shared(&self) -> Result<Arc<Resolved>> {
        static LAST: Mutex<Vec<LastResolved>> = Mutex::new(Vec::new());
        let temp_dir = environment::variable("TMPDIR");
        let is_known = |last: &&LastResolved| last.temp_dir == temp_dir && last.params.is_same(self);
        if let Some(last) = lock(&LAST).iter().rev().find(is_known) {
            return Ok(Arc::clone(&last.resolved));
        }
        let resolved = Arc::new(self.resolve()?);
        // What files there are may change.
        if !resolved.build.flags.iter().any(|flag| FILE_OPTIONS.contains(&flag.as_str())) {
            let mut last = lock(&LAST);
            if last.len() == MOST_RESOLVED {
                last.remove(0);
            }
            let (params, resolved) = (self.clone(), Arc::clone(&resolved));
            last.push(LastResolved { params, temp_dir, resolved });
        }
        Ok(resolved)
    }

    fn compared_when_needed(&self) -> LazyCompared {
        let params = self.clone();
        LazyLock::new(Box::new(move || params.compared().unwrap_or_default()))
    }

    fn resolve_cache(&self, language: &'static Language) -> Result<CacheParams> {
        let text = |name: &str| self.text(name).to_owned();
        let cache_dir = self.text("cache.cache_dir");
        if cache_dir.is_empty() {
            let message = "no cache directory: HOME is not set; set DIJITSO_CACHE_DIR or cache.cache_dir";
            return Err(Error::new(Kind::Params, message));
        }
        // Loaded libraries are known by their paths, so `.` and doubled slashes are removed.
        let cache_dir: PathBuf = self.cwd.join(cache_dir).components().collect();
        let or = |name: &str, default: &Path| match self.text(name) {
            "" => default.to_owned(),
            dir => self.cwd.join(dir),
        };
        let src_postfix = match self.text("cache.src_postfix") {
            "" => language.suffix().to_owned(),
            postfix => postfix.to_owned(),
        };
        Ok(CacheParams {
            fail_dir_root: or("cache.fail_dir_root", &cache_dir),
            temp_dir_named: !self.text("cache.temp_dir_root").is_empty()
                || environment::variable("TMPDIR").is_some(),
            temp_dir_root: or("cache.temp_dir_root", &environment::temp_dir()),
            node_stage_dir: match self.text("cache.node_stage_dir") {
                "" => StageDir::Nowhere,
                "auto" => StageDir::Automatic,
                dir => StageDir::At(self.cwd.join(dir)),
            },
            distribute: match self.text("cache.distribute") {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            },
            prefetch_max_size: self.count("cache.prefetch_max_size"),
            // The default cache directory is .cache/dijitso below it.
            home: cache_dir
                .ancestors()
                .nth(2)
                .filter(|_| self.origin("cache.cache_dir") == Some(&ValueOrigin::Default))
                .map(Path::to_owned),
            cache_dir,
            inc_dir: text("cache.inc_dir"),
            src_dir: text("cache.src_dir"),
            lib_dir: text("cache.lib_dir"),
            log_dir: text("cache.log_dir"),
            comm_dir: text("cache.comm_dir"),
            enable_build_log: self.flag("cache.enable_build_log"),
            src_storage: match self.text("cache.src_storage") {
                "keep" => SourceStorage::Keep,
                "delete" => SourceStorage::Delete,
                _ => SourceStorage::Compress,
            },
            inc_postfix: text("cache.inc_postfix"),
            src_postfix,
            log_postfix: text("cache.log_postfix"),
            lib_postfix: text("cache.lib_postfix"),
            lib_prefix: text("cache.lib_prefix"),
            lib_basename: text("cache.lib_basename"),
            load: self.text("cache.lib_loader") != "import",
            signature_is_name: self.text("cache.signature") == "name",
            check_inputs: self.flag("cache.check_inputs"),
            check_source: match self.text("cache.check_source") {
                "warn" => CheckSource::Warn,
                "rebuild" => CheckSource::Rebuild,
                _ => CheckSource::Never,
            },
            failure_ttl: self.limit("cache.failure_ttl").unwrap_or_default(),
            frozen: self.flag("cache.frozen"),
            max_size: Some(self.count("cache.max_size")).filter(|bytes| *bytes > 0),
            max_age: self.limit("cache.max_age"),
            stats: self.flag("cache.stats"),
            pch_max_size: self.count("cache.pch_max_size"),
            pch_max_size_named: self.origin("cache.pch_max_size") != Some(&ValueOrigin::Default),
        })
    }

    fn resolve_build(&self, language: &'static Language) -> Result<BuildParams> {
        let keys = &language.keys;
        let debug = self.flag("build.debug");
        let mut command = self.list(keys.compiler).to_vec();
        let Some(program) = command.first_mut().filter(|program| !program.is_empty()) else {
            return Err(Error::new(Kind::Params, format!("parameter {} names no compiler", keys.compiler)));
        };
        // The compiler runs in a staging directory, but a relative path is relative to the caller's.
        if program.contains('/') {
            *program = self.absolute(program);
        }
        let mut flags = self.list(keys.flags).to_vec();
        flags.extend_from_slice(self.list(if debug { keys.debug_flags } else { keys.release_flags }));
        flags.extend(self.list("build.defines").iter().map(|define| format!("-D{define}")));
        flags.extend_from_slice(self.list(keys.last_flags));
        // Flags of the caller are about the code, which always becomes a shared library.
        for spellings in language.shared_flags {
            if !flags.iter().any(|flag| spellings.contains(&flag.as_str())) {
                flags.insert(0, spellings[0].to_owned());
            }
        }
        let dirs = |name: &str| self.list(name).iter().map(|dir| self.absolute(dir)).collect::<Vec<_>>();
        Ok(BuildParams {
            language,
            compiler: command,
            flags: self.absolute_flags(flags),
            include_dirs: dirs("build.include_dirs"),
            lib_dirs: dirs("build.lib_dirs"),
            rpath_dirs: dirs("build.rpath_dirs"),
            libs: self.list("build.libs").to_vec(),
            debug,
            timeout: self.limit("build.timeout"),
            memory_limit: Some(self.count("build.memory_limit")).filter(|bytes| *bytes > 0),
            max_compilers: usize::try_from(self.count("build.max_compilers")).ok().filter(|count| *count > 0),
            cores: match self.text("build.cores") {
                "all" => Cores::All,
                "inherited" => Cores::Inherited,
                _ => Cores::Auto,
            },
            slots_dir: match self.text("build.slots_dir") {
                "" => None,
                dir => Some(self.cwd.join(dir)),
            },
            retry: self.flag("build.retry"),
            lease_timeout: self.limit("build.lease_timeout").unwrap_or_default(),
            cpu: self.text("build.cpu").to_owned(),
            precompile: match self.text("build.precompile") {
                "never" => Precompile::Never,
                "always" => Precompile::Always,
                _ => Precompile::Auto,
            },
            pch_headers: self
                .list("build.pch_headers")
                .iter()
                .map(|name| header_name(name).to_owned())
                .collect(),
            linker: self.text("build.linker").to_owned(),
            capture: match self.text("build.system_call_method") {
                "OS_SYSTEM" => Capture::File,
                _ => Capture::Pipe,
            },
        })
    }

    /// Makes relative directories in flags absolute: `-Iinclude`, `-isystem include`.
    pub(super) fn absolute_flags(&self, flags: Vec<String>) -> Vec<String> {
        absolute_flags(&self.cwd, flags)
    }

    fn absolute(&self, path: &str) -> String {
        absolute(&self.cwd, path)
    }

    /// Returns the values that must be equal on all ranks and are in use, with absolute paths.
    fn compared(&self) -> Result<Compared> {
        let language =
            Language::named(self.text("build.language")).expect("the schema allows these names alone");
        let build = &self.resolve_build(language)?;
        let keys = &build.language.keys;
        let other_mode = if build.debug { keys.release_flags } else { keys.debug_flags };
        let in_use = |key: &&(&Key, &Value)| {
            key.0.scope != Scope::Local
                && key.0.language.is_none_or(|language| language == build.language)
                && key.0.name != other_mode
        };
        let words = |(key, value): (&Key, &Value)| match (key.name, value) {
            (name, _) if name == keys.compiler => build.compiler.clone(),
            ("build.include_dirs", _) => build.include_dirs.clone(),
            ("build.lib_dirs", _) => build.lib_dirs.clone(),
            ("build.rpath_dirs", _) => build.rpath_dirs.clone(),
            (_, Value::List(words)) if key.language.is_some() => self.absolute_flags(words.clone()),
            (_, Value::List(words)) => words.clone(),
            (_, value) => vec![value.to_text()],
        };
        let pairs = KEYS.iter().zip(self.values.iter().map(|setting| &setting.0));
        let values = pairs.filter(|pair| in_use(&pair)).map(|pair| (pair.0.name.to_owned(), words(pair)));
        let generator = ("generator".to_owned(), vec![self.generator.0.to_string()]);
        Ok(Compared(values.chain([generator]).collect()))
    }

    /// Returns the digest of the values that ranks share, without those that are not in use (the C flags of a
    /// C++ build).
    fn shared_digest(&self, build: &BuildParams, generator: &str) -> Digest32 {
        let mut writer = Writer::new(b"dijitso parameters 1");
        for (key, setting) in KEYS.iter().zip(&*self.values) {
            if key.scope == Scope::Shared {
                writer.bytes(key.name.as_bytes());
                writer.bytes(setting.0.to_text().as_bytes());
            }
        }
        build.write(&mut writer);
        writer.bytes(generator.as_bytes());
        quick_digest(&writer.finish())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(text) => text,
            _ => unreachable!("{name} is text in the schema"),
        }
    }

    fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::List(words) => words,
            _ => unreachable!("{name} is a list in the schema"),
        }
    }

    /// Returns a number of seconds; `None` for zero, and for one that is too large for a clock.
    fn limit(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Value::Number(seconds) if *seconds > 0.0 => Duration::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }

    fn count(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Count(count) => *count,
            _ => unreachable!("{name} is a count in the schema"),
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Flag(true))
    }
}

/// Makes relative directories in flags absolute; they begin at `cwd`.
pub(super) fn absolute_flags(cwd: &Path, mut flags: Vec<String>) -> Vec<String> {
    const JOINED: [&str; 2] = ["-I", "-L"];
    const DIRECTORY: [&str; 5] = ["-I", "-L", "-isystem", "-iquote", "-idirafter"];
    for at in 0..flags.len() {
        let before = if at > 0 { flags[at - 1].as_str() } else { "" };
        if DIRECTORY.contains(&before) || (FILE_OPTIONS.contains(&before) && cwd.join(&flags[at]).exists()) {
            flags[at] = absolute(cwd, &flags[at]);
        } else if let Some(option) = JOINED.iter().find(|option| flags[at].starts_with(**option)) {
            let dir = flags[at][option.len()..].to_owned();
            if !dir.is_empty() {
                flags[at] = format!("{option}{}", absolute(cwd, &dir));
            }
        }
    }
    flags
}

/// Makes a path absolute, unless it begins with `$` (`$ORIGIN`) or `=` (a sysroot).
pub(super) fn absolute(cwd: &Path, path: &str) -> String {
    if path.starts_with(['$', '=']) { path.to_owned() } else { cwd.join(path).display().to_string() }
}
