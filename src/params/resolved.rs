//! Parameters as plain structs, made once per change and shared from then on, with their digests.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Digest32, Writer, digest};
use crate::language::Language;
use crate::process::Capture;
use crate::process::affinity::Cores;

use super::compared::Compared;
use super::schema::KEYS;

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
    pub language: &'static Language,
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

/// The name of a header in the words after an include directive.
#[must_use]
pub fn header_name(words: &str) -> &str {
    words.trim().trim_matches(|c| matches!(c, '<' | '>' | '"'))
}

impl BuildParams {
    /// Everything that changes what is built, tagged and with lengths, for signatures and digests.
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
