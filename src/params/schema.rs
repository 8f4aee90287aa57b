//! The table of parameters: keys, types, defaults, environment variables, scopes and meanings.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

use crate::language::{self, Keys, LANGUAGES, Language};

use super::value::Type;

/// Ranks on which a parameter must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All ranks: it changes what is built and is part of the signature.
    Signature,
    /// All ranks: it changes how they work together.
    Shared,
    /// None: it names places and limits of this rank.
    Local,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Type,
    /// Default value, as text.
    pub default: &'static str,
    /// Environment variable that overrides the default and the config file.
    pub environment: Option<&'static str>,
    /// Ranks on which it must be equal.
    pub scope: Scope,
    /// Language to whose builds alone it applies.
    pub language: Option<&'static Language>,
    /// Meaning, for the documentation.
    pub help: &'static str,
}

const fn key(scope: Scope, name: &'static str, kind: Type, default: &'static str) -> Key {
    Key { name, kind, default, environment: None, scope, language: None, help: "" }
}

const fn local(name: &'static str, kind: Type, default: &'static str) -> Key {
    key(Scope::Local, name, kind, default)
}

const fn shared(name: &'static str, kind: Type, default: &'static str) -> Key {
    key(Scope::Shared, name, kind, default)
}

const fn signed(name: &'static str, kind: Type, default: &'static str) -> Key {
    key(Scope::Signature, name, kind, default)
}

impl Key {
    const fn env(self, variable: &'static str) -> Self {
        Self { environment: Some(variable), ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

use Type::{Bytes, Choice, Count, Defines, Dir, Dirs, FilePart, Flag, List, Seconds, SubDir};

const CACHE: &[Key] = &[
    local("cache.cache_dir", Dir, "").env("DIJITSO_CACHE_DIR").help(
        "cache directory; default: .cache/dijitso in the active virtual or conda environment, else in the \
         home directory",
    ),
    shared("cache.inc_dir", SubDir, "include").help("directory of headers in the cache directory"),
    shared("cache.src_dir", SubDir, "src").help("directory of sources in the cache directory"),
    shared("cache.lib_dir", SubDir, "lib").help("directory of libraries in the cache directory"),
    shared("cache.log_dir", SubDir, "log").help("directory of build logs in the cache directory"),
    shared("cache.comm_dir", SubDir, "comm").help(
        "directory in the cache directory for short-lived files by which hosts find out that they share it",
    ),
    local("cache.fail_dir_root", Dir, "")
        .help("directory for folders jitfailure-SIGNATURE; empty: the cache directory"),
    local("cache.temp_dir_root", Dir, "").help(
        "directory for builds in progress; empty: TMPDIR, else memory with enough room (/dev/shm or \
         XDG_RUNTIME_DIR), else /tmp",
    ),
    local("cache.node_stage_dir", Dir, "auto").help(
        "directory in which one rank of each host puts libraries for the others, which then load them \
         without reading the cache; auto: in /dev/shm, XDG_RUNTIME_DIR, cache.temp_dir_root or /tmp, if the \
         cache is not on a disk of this host; empty: none. Rank 0 decides if libraries are put there",
    ),
    local("cache.distribute", Choice(&["auto", "on", "off"]), "auto").help(
        "on a communicator, let rank 0 alone read the cache and send libraries to one rank of each host, \
         which puts them where cache.node_stage_dir says; auto: if the cache is not on a disk of this host; \
         off: one rank of each host reads the cache. Rank 0 decides",
    ),
    local("cache.prefetch_max_size", Bytes, "256M").help(
        "if rank 0 alone reads the cache (cache.distribute), the size of the libraries that are sent to all \
         hosts at the first call on a communicator, because the program has used them last time; 0: none. \
         Rank 0 decides",
    ),
    local("cache.enable_build_log", Flag, "true").help("keep a log of each build, with its command"),
    local("cache.src_storage", Choice(&["compress", "keep", "delete"]), "compress").help(
        "compress, keep or delete the source after a build; with debug information it is not compressed",
    ),
    shared("cache.inc_postfix", FilePart, ".h").help("end of the names of headers"),
    shared("cache.src_postfix", FilePart, "")
        .help("end of the names of sources; empty: that of the language (.cpp, .c)"),
    shared("cache.log_postfix", FilePart, ".txt").help("end of the names of logs"),
    shared("cache.lib_postfix", FilePart, ".so").help("end of the names of libraries"),
    shared("cache.lib_prefix", FilePart, "lib").help("first part of the names of libraries"),
    shared("cache.lib_basename", FilePart, "dijitso-")
        .help("second part of the names of libraries, before the signature"),
    shared("cache.lib_loader", Choice(&["ctypes", "import"]), "ctypes")
        .help("ctypes: load the library; import: only build it and return its path"),
    shared("cache.signature", Choice(&["hash", "name"]), "hash").help(
        "hash: the name and a hash of all that the build depends on; name: the name alone, for which the \
         caller answers",
    ),
    shared("cache.check_inputs", Flag, "true").help(
        "build again if a header or library that the build has read has changed; not if it is gone, and not \
         for headers of the compiler and the C library",
    ),
    shared("cache.check_source", Choice(&["never", "warn", "rebuild"]), "never")
        .env("DIJITSO_CHECK_SOURCE")
        .help(
            "for work on a generator: call generate on a hit on disk too (on a communicator on rank 0) and \
             compare code, header and dependencies with those of the entry; warn: log what has changed; \
             rebuild: build it again, unless the cache is frozen. A hit in memory has been checked before",
        ),
    local("cache.failure_ttl", Seconds, "10").help(
        "how long to remember that a compiler has refused a source, so that others get the error without \
         another run; not if a file was not found; 0: not at all",
    ),
    shared("cache.frozen", Flag, "false").help(
        "never build: a miss is an error (DIJITSO_ERROR_CACHE) that says what is missing and why, and what \
         was missing before",
    ),
    local("cache.max_size", Bytes, "0")
        .help("size limit of the cache; the least recently used entries are removed first; 0: none"),
    local("cache.max_age", Seconds, "0").help("age limit of entries, since their last use; 0: none"),
    local("cache.stats", Flag, "true")
        .help("count hits, builds and failures in the cache, in a file for each host"),
    local("cache.pch_max_size", Bytes, "1G").help(
        "size limit of all precompiled headers of this host; the least recently used are removed first; 0: \
         make none. If it is not set, and the cache is on a network disk, so that they are in the directory \
         for temporary files: 256M",
    ),
];

const LANGUAGE: Key = signed("build.language", Choice(&language::NAMES), language::NAMES[0])
    .help("language of generated source");

/// Returns the parameters of a language.
fn of_language(language: &'static Language) -> [Key; 5] {
    let Keys { compiler, flags, debug_flags, release_flags, last_flags } = language.keys;
    let title = language.title;
    let added = language.shared_flags.iter().map(|spellings| spellings[0]).collect::<Vec<_>>().join(" and ");
    let for_gcc = language.own_statics.first().map(|flag| format!(", and {flag} for GCC"));
    // The texts live as long as the program, once each.
    let compiler_help = format!("{title} compiler with its arguments, as in \"ccache g++\"").leak();
    let flags_help = format!(
        "flags of every {title} build, instead of the default ones; {added} are added if they are missing{}. \
         Relative directories after -I, -L, -isystem, -iquote and -idirafter, and files after -include, \
         begin at the working directory of the caller",
        for_gcc.unwrap_or_default()
    )
    .leak();
    let last_help =
        format!("flags after all others of a {title} build, to add one to the default flags").leak();
    [
        signed(compiler, List, language.compiler).env(language.compiler_variable).help(compiler_help),
        signed(flags, List, language.flags).help(flags_help),
        signed(debug_flags, List, language.debug_flags).help("further flags with build.debug"),
        signed(release_flags, List, language.release_flags).help("further flags without build.debug"),
        signed(last_flags, List, "").help(last_help),
    ]
    .map(|key| Key { language: Some(language), ..key })
}

const BUILD: &[Key] = &[
    signed("build.defines", Defines, "").help("macros of every build, each as NAME or NAME=VALUE"),
    signed("build.include_dirs", Dirs, "").help("directories searched for headers"),
    signed("build.lib_dirs", Dirs, "").help("directories searched for libraries when linking"),
    signed("build.rpath_dirs", Dirs, "").help("directories searched for libraries when loading"),
    signed("build.libs", List, "").help("libraries to link, as after -l"),
    signed("build.debug", Flag, "false")
        .env("DIJITSO_DEBUG")
        .help("use debug flags instead of release flags"),
    local("build.timeout", Seconds, "3600").help("time limit of one compiler run; 0: none"),
    local("build.system_call_method", Choice(&["SUBPROCESS", "OS_SYSTEM"]), "SUBPROCESS")
        .env("DIJITSO_SYSTEM_CALL_METHOD")
        .help("how to capture a compiler's output; SUBPROCESS: by a pipe; OS_SYSTEM: by a temporary file"),
    local("build.memory_limit", Bytes, "0")
        .help("limit of the address space of each process of a compiler; 0: none"),
    local("build.max_compilers", Count, "0").help(
        "limit of compilers at once on this host, over all programs of this user; 0: one for each core that \
         they may use (build.cores)",
    ),
    local("build.cores", Choice(&["auto", "all", "inherited"]), "auto").help(
        "cores for compilers; all: those of the job on this host (its cpuset), whatever core this rank is \
         bound to; inherited: those of the calling thread; auto: all if an MPI launcher, which binds ranks, \
         has started this process, else inherited",
    ),
    local("build.slots_dir", Dir, "").help(
        "directory in which programs of this user count their compilers, for each host; default: \
         .cache/dijitso-slots in the home directory; empty: they are not counted",
    ),
    local("build.retry", Flag, "true")
        .help("run a compiler that was killed or crashed once more, with less optimisation"),
    local("build.lease_timeout", Seconds, "1800")
        .help("how long to wait for another program that builds the same library; 0: not at all"),
    local("build.cpu", FilePart, "").env("DIJITSO_CPU").help(
        "name of this machine's kind of processor, for flags such as -march=native; empty: from the system",
    ),
    local("build.precompile", Choice(&["auto", "never", "always"]), "auto").help(
        "precompile the headers that sources begin with, once for all sources; auto: in the background, \
         during the first build if a core is free, else after it; two builds go without, and the next one \
         waits if it is under way; always: before the first build",
    ),
    local("build.pch_headers", List, "").help(
        "headers, as after #include; precompiled is what a source begins with, up to the last of these. \
         Other headers before it are taken for the source's own and looked through, if they have absolute \
         paths or are in named directories (build.include_dirs, -I, -isystem, -iquote). Empty: up to the \
         last header of all. The code is the same",
    ),
    local("build.linker", FilePart, "auto").help(
        "linker, as after -fuse-ld=; auto: mold if it is installed and the flags allow it; empty: that of \
         the compiler. A linker that fails is not used again",
    ),
];

const PARALLEL: &[Key] = &[
    shared("parallel.buildon", Choice(&["node", "root", "process"]), "node")
        .help("who builds; node: a rank for each physical cache directory; root: rank 0; process: all"),
    local("parallel.timeout", Seconds, "14400").help(
        "how long a rank waits for others in one step before it fails and names the late ones; 0: for ever",
    ),
];

/// All parameters but `generator`, which is any JSON, in the order in which they are shown.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let languages: Vec<Key> = LANGUAGES.iter().flat_map(of_language).collect();
    [CACHE, &[LANGUAGE], &languages, BUILD, PARALLEL].concat()
});

/// All sections, with `generator`.
pub const SECTIONS: [&str; 4] = ["cache", "build", "parallel", "generator"];

/// Returns the index of a key in [`KEYS`].
#[must_use]
pub fn find(name: &str) -> Option<usize> {
    static PLACES: LazyLock<HashMap<&str, usize, FixedState>> =
        LazyLock::new(|| KEYS.iter().enumerate().map(|(at, key)| (key.name, at)).collect());
    PLACES.get(name).copied()
}

/// Characters of an unknown name that are compared.
pub(super) const LONGEST_COMPARED: usize = 64;

/// Returns the valid key that looks most like `name`, for error messages.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    let names = KEYS.iter().map(|key| key.name).chain(["generator"]);
    // A name without its section ("cxxflags") is near to the key that ends so.
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // The comparison takes time and memory for each pair of characters.
    let lowercase = super::shortened(name).to_ascii_lowercase();
    let likeness = |key: &str| {
        strsim::normalized_damerau_levenshtein(key, &lowercase)
            .max(strsim::normalized_damerau_levenshtein(&last(key), &last(&lowercase)))
    };
    names
        .map(|key| (likeness(key), key))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
        .unwrap_or("generator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_has_its_type_and_every_key_its_section() {
        for key in KEYS.iter() {
            assert!(key.kind.parse(key.default, Some("/h")).is_ok(), "{}", key.name);
            let section = key.name.split('.').next().unwrap();
            assert!(SECTIONS.contains(&section), "{}", key.name);
            assert_eq!(find(key.name).map(|at| KEYS[at].name), Some(key.name));
            assert!(key.name.len() <= LONGEST_COMPARED, "{}", key.name);
        }
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        assert_eq!(nearest("build.cxflags"), "build.cxxflags");
        assert_eq!(nearest("cxxflags"), "build.cxxflags");
        assert_eq!(nearest("parallel.build_on"), "parallel.buildon");
        assert_eq!(nearest("Cache.CacheDir"), "cache.cache_dir");
    }
}
