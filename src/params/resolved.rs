//! Parameters as plain structs with their digests, made after each change and shared between calls.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Digest32, Writer, quick_digest};
use crate::language::Language;
use crate::process::Capture;
use crate::process::affinity::Cores;

use super::compared::LazyCompared;
use super::schema::KEYS;

/// Storage of sources after a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStorage {
    /// Keep as it is.
    Keep,
    /// Keep as a gzip file.
    Compress,
    /// Remove.
    Delete,
}

/// Directory for libraries that the ranks of a host share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StageDir {
    /// None: each rank reads the cache.
    Nowhere,
    /// A local directory that is found, if the cache is not on a disk of the host.
    Automatic,
    /// This directory.
    At(PathBuf),
}

/// Ranks that build on a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuildOn {
    /// One rank for each physical cache directory.
    Node,
    /// Rank 0, which sends the library to the other directories.
    Root,
    /// Every rank, in a directory of its own.
    Process,
}

/// Section `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheParams {
    /// Cache directory, absolute.
    pub cache_dir: PathBuf,
    /// Directory of the user or environment that holds the default cache directory, and is never created;
    /// `None` if the cache directory was set.
    pub home: Option<PathBuf>,
    /// Directory of headers, below the cache directory.
    pub inc_dir: String,
    /// Directory of sources, below the cache directory.
    pub src_dir: String,
    /// Directory of libraries, below the cache directory.
    pub lib_dir: String,
    /// Directory of logs, below the cache directory.
    pub log_dir: String,
    /// Directory of files by which hosts find each other, below the cache directory.
    pub comm_dir: String,
    /// Directory of failure folders.
    pub fail_dir_root: PathBuf,
    /// Directory in which builds are staged.
    pub temp_dir_root: PathBuf,
    /// Directory for libraries that the ranks of a host share.
    pub node_stage_dir: StageDir,
    /// Let rank 0 alone read libraries, and send them; `None` if the file system decides.
    pub distribute: Option<bool>,
    /// Bytes of the libraries that are sent at the first call on a communicator; 0 for none.
    pub prefetch_max_size: u64,
    /// True if the directory for staging was named.
    pub temp_dir_named: bool,
    /// Keep logs.
    pub enable_build_log: bool,
    /// Storage of sources.
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
    /// Load libraries, rather than only build them.
    pub load: bool,
    /// Use the name alone as the signature.
    pub signature_is_name: bool,
    /// Check headers and libraries that a build has read.
    pub check_inputs: bool,
    /// Call `generate` on a hit, too.
    pub check_source: CheckSource,
    /// Time for which a compiler's refusal of a source is remembered.
    pub failure_ttl: Duration,
    /// Never build.
    pub frozen: bool,
    /// Size limit of the cache, in bytes.
    pub max_size: Option<u64>,
    /// Age limit of entries since their last use.
    pub max_age: Option<Duration>,
    /// Count hits, builds and failures.
    pub stats: bool,
    /// Size limit of all precompiled headers, in bytes.
    pub pch_max_size: u64,
    /// True if that limit was set.
    pub pch_max_size_named: bool,
}

impl CacheParams {
    /// Returns true if the files that a build reads besides its source are recorded and checked.
    #[must_use]
    pub fn tracks_inputs(&self) -> bool {
        self.check_inputs && !self.signature_is_name
    }
}

/// Action on a hit whose source differs from that of `generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckSource {
    /// None: `generate` is not called.
    Never,
    /// Log a warning.
    Warn,
    /// Build again.
    Rebuild,
}

/// When to precompile the headers that sources begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precompile {
    /// In the background.
    Auto,
    /// Never.
    Never,
    /// Before the first build.
    Always,
}

/// Section `build`, with the flags of the language and mode in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildParams {
    /// Language of the source.
    pub language: &'static Language,
    /// Compiler with its arguments.
    pub compiler: Vec<String>,
    /// Flags of the language and the mode, macros, and appended flags, with those that make a shared library.
    pub flags: Vec<String>,
    /// Directories for headers, absolute.
    pub include_dirs: Vec<String>,
    /// Directories for libraries, absolute.
    pub lib_dirs: Vec<String>,
    /// Directories for libraries at load time, absolute unless they begin with `$`.
    pub rpath_dirs: Vec<String>,
    /// Libraries to link.
    pub libs: Vec<String>,
    /// Use debug flags, rather than release flags.
    pub debug: bool,
    /// Time limit of one compiler run.
    pub timeout: Option<Duration>,
    /// Method to capture the compiler's output.
    pub capture: Capture,
    /// Limit of the address space of each process of a compiler, in bytes.
    pub memory_limit: Option<u64>,
    /// Cores for compilers.
    pub cores: Cores,
    /// Limit of compilers at once on this host; `None` for one for each of their cores.
    pub max_compilers: Option<usize>,
    /// Directory in which they are counted; `None` if they are not.
    pub slots_dir: Option<PathBuf>,
    /// Run a compiler that was killed or crashed again, with less optimisation.
    pub retry: bool,
    /// Longest wait for another program that builds the same library.
    pub lease_timeout: Duration,
    /// Name of the kind of processor; empty if none was given.
    pub cpu: String,
    /// When to precompile headers.
    pub precompile: Precompile,
    /// Names of the headers to precompile; empty for all.
    pub pch_headers: Vec<String>,
    /// Linker: `auto` for the fastest, empty for that of the compiler, else its name.
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
    /// `parallel.timeout`; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Section `generator` as compact JSON with sorted keys.
    pub generator: String,
    /// Digest of the text that the call gives in place of a callback.
    pub text: Option<Digest32>,
    /// Parameters that must be equal on all ranks, for messages.
    pub compared: Arc<LazyCompared>,
    /// Digest of the parameters that must be equal on all ranks.
    pub shared_digest: Digest32,
    /// Digest of that and the cache directory: calls with an equal one can be given the same library.
    pub request_digest: Digest32,
}

/// Returns the default of `parallel.timeout`, for a call whose parameters cannot be read.
#[must_use]
pub fn default_timeout() -> Option<Duration> {
    let key = KEYS.iter().find(|key| key.name == "parallel.timeout")?;
    let seconds = key.default.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}

impl Resolved {
    /// Returns the parameters of a call that gives a text of this digest.
    #[must_use]
    pub fn with_text(&self, text: Digest32) -> Self {
        let mut memory = Writer::new(b"dijitso call with a text");
        memory.bytes(&self.request_digest);
        memory.bytes(&text);
        Self { text: Some(text), request_digest: quick_digest(&memory.finish()), ..self.clone() }
    }

    /// Returns the parameters of a call that builds and does not load; in the directory `root`, if it is
    /// given.
    #[must_use]
    pub fn for_building(&self, root: Option<&Path>) -> Self {
        let mut memory = Writer::new(b"dijitso call without loading");
        memory.bytes(&self.request_digest);
        memory.bytes(root.unwrap_or(Path::new("")).as_os_str().as_encoded_bytes());
        let cache_dir = root.unwrap_or(&self.cache.cache_dir).to_owned();
        let cache = Arc::new(CacheParams { load: false, cache_dir, ..(*self.cache).clone() });
        Self { cache, request_digest: quick_digest(&memory.finish()), ..self.clone() }
    }
}

/// Returns the name of a header in the words after an include directive.
#[must_use]
pub fn header_name(words: &str) -> &str {
    words.trim().trim_matches(|c| matches!(c, '<' | '>' | '"'))
}

impl BuildParams {
    /// Returns true if the flags ask for debug information: the last of `-g`, `-g2`, `-ggdb3`, `-gdwarf-5`
    /// and the like counts, and `-g0` is none.
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        let level = |flag: &&String| {
            let rest =
                flag.strip_prefix("-g").map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()));
            matches!(rest, Some("" | "gdb" | "lldb" | "dwarf" | "dwarf-" | "line-tables-only" | "mlt"))
        };
        self.flags.iter().rev().find(level).is_some_and(|flag| !flag.ends_with('0'))
    }

    /// Writes all values that change what is built, tagged and with lengths, for signatures and digests.
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(b"language");
        writer.bytes(self.language.name.as_bytes());
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
