//! Parameters as plain structs, made once per change and shared from then on, with their digests.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Digest32, Writer, digest};
use crate::error::{Error, Kind, Result};
use crate::process::affinity::Cores;
use crate::process::{Capture, environment};

use super::compared::Compared;
use super::schema::{KEYS, Scope};
use super::value::Value;
use super::{Origin, Params};

/// What becomes of the source after a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStorage {
    /// Kept as it is.
    Keep,
    /// Kept as a gzip file.
    Compress,
    /// Not kept.
    Delete,
}

/// Where libraries are put for the ranks of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageDir {
    /// Nowhere: each rank reads the cache.
    Nowhere,
    /// In a local place that is found, if the cache is not on a disk of the host.
    Automatic,
    /// In this directory.
    At(PathBuf),
}

/// The language of generated source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C++.
    Cxx,
    /// C.
    C,
}

/// Who builds on a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildOn {
    /// One rank per physical cache directory.
    Node,
    /// Rank 0 alone, which sends the library to the other directories.
    Root,
    /// Every rank, each in a directory of its own.
    Process,
}

/// Section `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheParams {
    /// The cache directory, absolute.
    pub cache_dir: PathBuf,
    /// The directory of a user or of an environment below which that is by default, and which is not made.
    pub home: Option<PathBuf>,
    /// Headers, below the cache directory.
    pub inc_dir: String,
    /// Sources, below the cache directory.
    pub src_dir: String,
    /// Libraries, below the cache directory.
    pub lib_dir: String,
    /// Logs, below the cache directory.
    pub log_dir: String,
    /// Files by which hosts find each other, below the cache directory.
    pub comm_dir: String,
    /// Where failure folders are made.
    pub fail_dir_root: PathBuf,
    /// Where builds are staged.
    pub temp_dir_root: PathBuf,
    /// Where libraries are put for the ranks of a host.
    pub node_stage_dir: StageDir,
    /// Whether somebody has said so.
    pub temp_dir_named: bool,
    /// Whether logs are kept.
    pub enable_build_log: bool,
    /// What becomes of sources.
    pub src_storage: SourceStorage,
    /// End of a header's name.
    pub inc_postfix: String,
    /// End of a source's name.
    pub src_postfix: String,
    /// End of a log's name.
    pub log_postfix: String,
    /// End of a library's name.
    pub lib_postfix: String,
    /// First part of a library's name.
    pub lib_prefix: String,
    /// Second part of a library's name.
    pub lib_basename: String,
    /// Whether the library is loaded, or only built.
    pub load: bool,
    /// Whether the signature is the name alone.
    pub signature_is_name: bool,
    /// Whether headers and libraries that a build has read are looked at again.
    pub check_inputs: bool,
    /// Whether `generate` is asked on a hit, too.
    pub check_source: CheckSource,
    /// How long a compiler's refusal of a source is remembered.
    pub failure_ttl: Duration,
    /// Whether nothing is ever built.
    pub frozen: bool,
    /// Bytes that the cache is kept below.
    pub max_size: Option<u64>,
    /// How long an entry may go unused.
    pub max_age: Option<Duration>,
    /// Whether hits, builds and failures are counted.
    pub stats: bool,
    /// Bytes that precompiled headers may take together.
    pub pch_max_size: u64,
    /// Whether that was set by somebody.
    pub pch_max_size_named: bool,
}

impl CacheParams {
    /// Whether it matters what a build has read besides its source.
    #[must_use]
    pub fn tracks_inputs(&self) -> bool {
        self.check_inputs && !self.signature_is_name
    }
}

/// What is done on a hit whose source `generate` would make otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckSource {
    /// Nothing: it is not asked.
    Never,
    /// It is said.
    Warn,
    /// It is built again.
    Rebuild,
}

/// Whether the headers that sources begin with are compiled beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precompile {
    /// Beside the program, after a build that would have gained by it.
    Auto,
    /// Never.
    Never,
    /// Before the first build.
    Always,
}

/// Section `build`, with the flags of the language and mode in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildParams {
    /// The language of the source.
    pub language: Language,
    /// The compiler and its own arguments.
    pub compiler: Vec<String>,
    /// Flags of the language, those of the mode, macros, and what is appended; with -shared and -fPIC among them.
    pub flags: Vec<String>,
    /// Directories for headers, absolute.
    pub include_dirs: Vec<String>,
    /// Directories for libraries, absolute.
    pub lib_dirs: Vec<String>,
    /// Directories for libraries at load time, absolute unless they begin with `$`.
    pub rpath_dirs: Vec<String>,
    /// Libraries to link.
    pub libs: Vec<String>,
    /// Debug flags rather than release flags.
    pub debug: bool,
    /// Time limit of one compiler run.
    pub timeout: Option<Duration>,
    /// How the compiler's output is captured.
    pub capture: Capture,
    /// Bytes of address space for each process of a compiler.
    pub memory_limit: Option<u64>,
    /// The cores that compilers run on.
    pub cores: Cores,
    /// Compilers at once on this host; `None` for one for each of the cores that they run on.
    pub max_compilers: Option<usize>,
    /// Where they are counted; `None` where they are not.
    pub slots_dir: Option<PathBuf>,
    /// Whether a compiler that was killed or crashed is tried again with less optimisation.
    pub retry: bool,
    /// How long to wait for another program that builds the same.
    pub lease_timeout: Duration,
    /// The kind of processor, if it was named.
    pub cpu: String,
    /// Whether the headers that sources begin with are compiled beforehand.
    pub precompile: Precompile,
    /// The headers that these are, by their names; none for all.
    pub preamble: Vec<String>,
    /// The linker: `auto` for the fastest, empty for that of the compiler, else its name.
    pub linker: String,
}

/// All parameters of a call, ready for use.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Section `cache`.
    pub cache: Arc<CacheParams>,
    /// Section `build`.
    pub build: BuildParams,
    /// `parallel.buildon`.
    pub buildon: BuildOn,
    /// `parallel.timeout`; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Section `generator` as compact JSON with sorted keys.
    pub generator: String,
    /// Digest of the text that the call has given, where it has not given a callback that makes one.
    pub text: Option<Digest32>,
    /// The parameters that must be equal on all ranks, to say which of them differs.
    pub compared: Arc<Compared>,
    /// Digest of the parameters that must be equal on all ranks.
    pub shared_digest: Digest32,
    /// That, and the cache directory: calls with an equal one can be given the same library.
    pub request_digest: Digest32,
}

/// The default of `parallel.timeout`, for a call whose parameters could not be read.
#[must_use]
pub fn default_timeout() -> Option<Duration> {
    let key = KEYS.iter().find(|key| key.name == "parallel.timeout")?;
    let seconds = key.default.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}

impl Resolved {
    /// The same for a call that gives a text of this digest: it is another call with another text.
    #[must_use]
    pub fn with_text(&self, text: Digest32) -> Self {
        let mut memory = Writer::new(b"dijitso call with a text");
        memory.bytes(&self.request_digest);
        memory.bytes(&text);
        Self { text: Some(text), request_digest: digest(&memory.finish()), ..self.clone() }
    }
}

impl Params {
    /// These parameters as plain structs.
    ///
    /// # Errors
    /// [`Kind::Params`] when no cache directory or compiler is known, or a choice contradicts another.
    pub fn resolve(&self) -> Result<Resolved> {
        let language = if self.text("build.language") == "c" { Language::C } else { Language::Cxx };
        let generator = self.generator.0.to_string();
        let build = self.resolve_build(language)?;
        let cache = self.resolve_cache(language)?;
        let shared_digest = self.shared_digest(&build, &generator);
        // Nothing else that may differ between ranks: a memory hit on some ranks and none on others is a hang.
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
            compared: Arc::new(Compared::new(self, &build, &generator)),
            shared_digest,
            request_digest: digest(&memory.finish()),
            cache: Arc::new(cache),
            generator,
            build,
        })
    }

    fn resolve_cache(&self, language: Language) -> Result<CacheParams> {
        let text = |name: &str| self.text(name).to_owned();
        let cache_dir = self.text("cache.cache_dir");
        if cache_dir.is_empty() {
            let message = "no cache directory: HOME is not set; set DIJITSO_CACHE_DIR or cache.cache_dir";
            return Err(Error::new(Kind::Params, message));
        }
        // Loaded libraries are known by their paths: without `.` and doubled slashes.
        let cache_dir: PathBuf = self.cwd.join(cache_dir).components().collect();
        let or = |name: &str, default: &Path| match self.text(name) {
            "" => default.to_owned(),
            dir => self.cwd.join(dir),
        };
        let src_postfix = match (self.text("cache.src_postfix"), language) {
            ("", Language::Cxx) => ".cpp".to_owned(),
            ("", Language::C) => ".c".to_owned(),
            (postfix, _) => postfix.to_owned(),
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
            // The default is .cache/dijitso below it.
            home: cache_dir
                .ancestors()
                .nth(2)
                .filter(|_| self.origin("cache.cache_dir") == Some(&Origin::Default))
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
            pch_max_size_named: self.origin("cache.pch_max_size") != Some(&Origin::Default),
        })
    }

    fn resolve_build(&self, language: Language) -> Result<BuildParams> {
        let (compiler, flags) = match language {
            Language::Cxx => ("build.cxx", "build.cxxflags"),
            Language::C => ("build.cc", "build.cflags"),
        };
        let debug = self.flag("build.debug");
        let mode = if debug { "debug" } else { "opt" };
        let mut command = self.list(compiler).to_vec();
        let Some(program) = command.first_mut().filter(|program| !program.is_empty()) else {
            return Err(Error::new(Kind::Params, format!("parameter {compiler} names no compiler")));
        };
        // The compiler runs in a staging directory: a relative path is the caller's, not relative to that.
        if program.contains('/') {
            *program = self.absolute(program);
        }
        let mut all_flags = self.list(flags).to_vec();
        all_flags.extend_from_slice(self.list(&format!("{flags}_{mode}")));
        all_flags.extend(self.list("build.defines").iter().map(|define| format!("-D{define}")));
        all_flags.extend_from_slice(self.list(&format!("{flags}_append")));
        // Whoever gives flags of their own means those of the code: it always becomes a shared library.
        for needed in [["-fPIC", "-fpic"], ["-shared", "-shared"]] {
            if !all_flags.iter().any(|flag| needed.contains(&flag.as_str())) {
                all_flags.insert(0, needed[0].to_owned());
            }
        }
        let dirs = |name: &str| self.list(name).iter().map(|dir| self.absolute(dir)).collect::<Vec<_>>();
        Ok(BuildParams {
            language,
            compiler: command,
            flags: self.absolute_flags(all_flags),
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
            preamble: self
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

    /// Relative directories within flags are the caller's too: `-Iinclude`, `-isystem include`.
    pub(super) fn absolute_flags(&self, mut flags: Vec<String>) -> Vec<String> {
        const JOINED: [&str; 2] = ["-I", "-L"];
        const DIRECTORY: [&str; 5] = ["-I", "-L", "-isystem", "-iquote", "-idirafter"];
        // These fall back to the include directories, where a name that is no file here may be found.
        const FILE: [&str; 3] = ["-include", "-imacros", "-include-pch"];
        for at in 0..flags.len() {
            let before = if at > 0 { flags[at - 1].as_str() } else { "" };
            if DIRECTORY.contains(&before) || (FILE.contains(&before) && self.cwd.join(&flags[at]).exists()) {
                flags[at] = self.absolute(&flags[at]);
            } else if let Some(option) = JOINED.iter().find(|option| flags[at].starts_with(**option)) {
                let dir = flags[at][option.len()..].to_owned();
                if !dir.is_empty() {
                    flags[at] = format!("{option}{}", self.absolute(&dir));
                }
            }
        }
        flags
    }

    /// The same path from anywhere; what begins with `$` (`$ORIGIN`) or `=` (a sysroot) is not a path yet.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with(['$', '=']) { path.to_owned() } else { self.cwd.join(path).display().to_string() }
    }

    /// Digest of what ranks share. What is not in use (the C flags of a C++ build) is left out.
    fn shared_digest(&self, build: &BuildParams, generator: &str) -> Digest32 {
        let mut writer = Writer::new(b"dijitso parameters 1");
        for (key, (value, _)) in KEYS.iter().zip(&self.values) {
            if key.scope == Scope::Shared {
                writer.bytes(key.name.as_bytes());
                writer.bytes(value.to_text().as_bytes());
            }
        }
        build.write(&mut writer);
        writer.bytes(generator.as_bytes());
        digest(&writer.finish())
    }

    fn text(&self, name: &str) -> &str {
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

    /// A number of seconds; `None` for zero, and for what no clock will see.
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

/// The name of a header in the words after an include directive.
#[must_use]
pub fn header_name(words: &str) -> &str {
    words.trim().trim_matches(|c| matches!(c, '<' | '>' | '"'))
}

impl BuildParams {
    /// Everything that changes what is built, tagged and with lengths, for signatures and digests.
    pub fn write(&self, writer: &mut Writer) {
        let language: &[u8] = match self.language {
            Language::Cxx => b"cxx",
            Language::C => b"c",
        };
        writer.bytes(b"language");
        writer.bytes(language);
        let lists: [(&str, &[String]); 6] = [
            ("compiler", &self.compiler),
            ("flags", &self.flags),
            ("include_dirs", &self.include_dirs),
            ("lib_dirs", &self.lib_dirs),
            ("rpath_dirs", &self.rpath_dirs),
            ("libs", &self.libs),
        ];
        for (tag, words) in lists {
            writer.bytes(tag.as_bytes());
            writer.u64(words.len() as u64);
            words.iter().for_each(|word| writer.bytes(word.as_bytes()));
        }
        writer.bytes(b"debug");
        writer.u32(u32::from(self.debug));
    }
}
