//! Every parameter: its key, type, default, environment variable, what it is for, and whom it concerns.

#![forbid(unsafe_code)]

use super::value::Type;

/// Whom a parameter concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It changes what is built, so it is part of the signature (and equal on all ranks).
    Signature,
    /// It changes how ranks work together, so it must be equal on all ranks.
    Shared,
    /// It may differ from rank to rank: places, storage.
    Local,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// The default, as text.
    pub default: &'static str,
    /// The environment variable that overrides the default and the config file.
    pub environment: Option<&'static str>,
    /// Whom it concerns.
    pub scope: Scope,
    /// What it is for, in one sentence.
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    kind: Type,
    default: &'static str,
    environment: Option<&'static str>,
    scope: Scope,
    help: &'static str,
) -> Key {
    Key { name, kind, default, environment, scope, help }
}

use Scope::{Local, Shared, Signature};
use Type::{Bytes, Choice, Count, Defines, Dir, Dirs, FilePart, Flag, List, Seconds, SubDir};

/// Without -ffinite-math-only, by which std::isnan would be false for NaN.
const RELEASE: &str = "-O3 -fno-math-errno -fno-trapping-math";

/// All parameters but `generator`, which is any JSON, in the order in which they are shown.
#[rustfmt::skip] // one line a parameter
pub const KEYS: &[Key] = &[
    key("cache.cache_dir", Dir, "", Some("DIJITSO_CACHE_DIR"), Local, "the cache directory; by default .cache/dijitso below the active virtual or conda environment or the home directory"),
    key("cache.inc_dir", SubDir, "include", None, Shared, "below the cache directory: headers"),
    key("cache.src_dir", SubDir, "src", None, Shared, "below the cache directory: sources"),
    key("cache.lib_dir", SubDir, "lib", None, Shared, "below the cache directory: libraries"),
    key("cache.log_dir", SubDir, "log", None, Shared, "below the cache directory: build logs"),
    key("cache.comm_dir", SubDir, "comm", None, Shared, "below the cache directory: short-lived files by which hosts find out that they share it"),
    key("cache.fail_dir_root", Dir, "", None, Local, "where jitfailure-SIGNATURE folders are made; empty: in the cache directory"),
    key("cache.temp_dir_root", Dir, "", None, Local, "where builds are staged; empty: TMPDIR, else in memory (/dev/shm or XDG_RUNTIME_DIR) where there is room, else /tmp"),
    key("cache.node_stage_dir", Dir, "auto", None, Local, "where one rank of each host puts libraries for the others to load, so that they need not read the cache; auto: in /dev/shm, XDG_RUNTIME_DIR, cache.temp_dir_root or /tmp, if the cache is not on a disk of this host; empty: nowhere. Rank 0 decides whether"),
    key("cache.enable_build_log", Flag, "true", None, Local, "keep a log with the command of each build"),
    key("cache.src_storage", Choice(&["compress", "keep", "delete"]), "compress", None, Local, "what becomes of the source after a build"),
    key("cache.inc_postfix", FilePart, ".h", None, Shared, "end of a header's name"),
    key("cache.src_postfix", FilePart, "", None, Shared, "end of a source's name; empty: .cpp, or .c for C"),
    key("cache.log_postfix", FilePart, ".txt", None, Shared, "end of a log's name"),
    key("cache.lib_postfix", FilePart, ".so", None, Shared, "end of a library's name"),
    key("cache.lib_prefix", FilePart, "lib", None, Shared, "first part of a library's name"),
    key("cache.lib_basename", FilePart, "dijitso-", None, Shared, "second part of a library's name, before the signature"),
    key("cache.lib_loader", Choice(&["ctypes", "import"]), "ctypes", None, Shared, "ctypes: load the library; import: only build it and give its path"),
    key("cache.signature", Choice(&["hash", "name"]), "hash", None, Shared, "hash: name and a hash of all that the build depends on; name: the name alone, the caller answers for it"),
    key("cache.check_inputs", Flag, "true", None, Shared, "a header or library that a build has read and that has changed since makes the entry a miss; one that is gone does not. Headers of the compiler and the C library do not count"),
    key("cache.check_source", Choice(&["never", "warn", "rebuild"]), "never", Some("DIJITSO_CHECK_SOURCE"), Shared, "for work on a generator: on a hit on disk ask generate all the same (on a communicator rank 0), and compare code, header and dependencies with what the entry was built from; warn: say what has changed; rebuild: build it again, unless the cache is frozen. What memory answers has been checked before"),
    key("cache.failure_ttl", Seconds, "10", None, Local, "how long a compiler's refusal of a source is remembered, so that others are told the same without another try; not if a file was not found; 0: not at all"),
    key("cache.frozen", Flag, "false", None, Shared, "never build: what is not in the cache is an error (DIJITSO_ERROR_CACHE) that says what is missing and why, and what else was missing before"),
    key("cache.max_size", Bytes, "0", None, Local, "size that the cache is kept below, the least recently used entries going first; 0: no limit"),
    key("cache.max_age", Seconds, "0", None, Local, "entries that have not been used for so long are removed; 0: never"),
    key("cache.stats", Flag, "true", None, Local, "count hits, builds and failures in the cache, in a file for each host"),
    key("cache.pch_max_size", Bytes, "1G", None, Local, "size that precompiled headers of this host are kept below together, the least recently used going first; 256M, unless it is set, where they lie in the directory for temporary files because the cache is on a network disk; 0: there are none"),
    key("build.language", Choice(&["cxx", "c"]), "cxx", None, Signature, "language of the generated source"),
    key("build.cxx", List, "c++", Some("CXX"), Signature, "C++ compiler, with arguments if any: \"ccache g++\""),
    key("build.cxxflags", List, "-Wall -shared -fPIC -std=c++11", None, Signature, "flags of every C++ build, in the place of the default ones; -shared and -fPIC are added if they are not among all flags, and -fno-gnu-unique for GCC. Relative directories after -I, -L, -isystem, -iquote and -idirafter, and files after -include, are those of the caller"),
    key("build.cxxflags_debug", List, "-g -O0", None, Signature, "further flags with build.debug"),
    key("build.cxxflags_opt", List, RELEASE, None, Signature, "further flags without build.debug"),
    key("build.cxxflags_append", List, "", None, Signature, "flags after all others of a C++ build: to add one to the default flags"),
    key("build.cc", List, "cc", Some("CC"), Signature, "C compiler, with arguments if any"),
    key("build.cflags", List, "-Wall -shared -fPIC -std=c17", None, Signature, "flags of every C build, in the place of the default ones; -shared and -fPIC are added if they are not among all flags"),
    key("build.cflags_debug", List, "-g -O0", None, Signature, "further flags with build.debug"),
    key("build.cflags_opt", List, RELEASE, None, Signature, "further flags without build.debug"),
    key("build.cflags_append", List, "", None, Signature, "flags after all others of a C build: to add one to the default flags"),
    key("build.defines", Defines, "", None, Signature, "macros, each as NAME or NAME=VALUE, that are defined in C++ and C builds"),
    key("build.include_dirs", Dirs, "", None, Signature, "directories searched for headers"),
    key("build.lib_dirs", Dirs, "", None, Signature, "directories searched for libraries when linking"),
    key("build.rpath_dirs", Dirs, "", None, Signature, "directories searched for libraries when loading"),
    key("build.libs", List, "", None, Signature, "libraries to link, as after -l"),
    key("build.debug", Flag, "false", None, Signature, "debug flags instead of release flags"),
    key("build.timeout", Seconds, "3600", None, Local, "time limit of one compiler run; 0: none"),
    key("build.system_call_method", Choice(&["SUBPROCESS", "OS_SYSTEM"]), "SUBPROCESS", Some("DIJITSO_SYSTEM_CALL_METHOD"), Local, "how a compiler's output is captured: SUBPROCESS, by a pipe; OS_SYSTEM, by a temporary file"),
    key("build.memory_limit", Bytes, "0", None, Local, "address space that each process of a compiler may take; 0: no limit"),
    key("build.max_compilers", Count, "0", None, Local, "compilers at once on this host, counted over all programs of this user; 0: one for each core that they run on (build.cores)"),
    key("build.cores", Choice(&["auto", "all", "inherited"]), "auto", None, Local, "cores that compilers run on; all: those of the job on this host (its cpuset), whatever core this rank is bound to; inherited: those of the calling thread; auto: all where a launcher of MPI programs, which binds ranks, has started this process, else inherited"),
    key("build.slots_dir", Dir, "", None, Local, "where programs of this user count their compilers, each host for itself; by default .cache/dijitso-slots below the home directory; empty: they are not counted"),
    key("build.retry", Flag, "true", None, Local, "once more with less optimisation where the compiler itself was killed or crashed"),
    key("build.lease_timeout", Seconds, "1800", None, Local, "how long to wait for another program that builds the same library; 0: not at all"),
    key("build.cpu", FilePart, "", Some("DIJITSO_CPU"), Local, "name of this machine's kind of processor, for flags such as -march=native; empty: found out"),
    key("build.precompile", Choice(&["auto", "never", "always"]), "auto", None, Local, "compile the headers that sources begin with once for all sources; auto: beside the program, while the first build compiles if a core is free, else after it; two builds go without, and the next waits for what is under way; always: before the first build"),
    key("build.pch_headers", List, "", None, Local, "headers, as after #include: what is precompiled of the lines that a source begins with ends with the last of these, and other headers of named directories (build.include_dirs, -I, -isystem, -iquote) or with absolute paths before it are looked through, being the source's own; empty: it ends with the last header of all. The code is the same"),
    key("build.linker", FilePart, "auto", None, Local, "linker, as after -fuse-ld=; auto: mold where it is there and the flags allow; empty: that of the compiler. One that fails is not used"),
    key("parallel.buildon", Choice(&["node", "root", "process"]), "node", None, Shared, "who builds: one rank per physical cache directory, the root alone, every rank"),
    key("parallel.timeout", Seconds, "14400", None, Local, "how long a rank waits for the others in one step before it gives up and names those that are late; 0: for ever"),
];

/// The sections, `generator` included.
pub const SECTIONS: [&str; 4] = ["cache", "build", "parallel", "generator"];

/// The index in [`KEYS`] of a key.
#[must_use]
pub fn find(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

/// Characters of an unknown name that count in a comparison.
pub(super) const LONGEST_COMPARED: usize = 64;

/// The valid key that looks most like `name`, for error messages.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    let names = KEYS.iter().map(|key| key.name).chain(["generator"]);
    // A name without its section ("cxxflags") is near to the key that ends so.
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // The comparison takes time and memory for each pair of characters, and no key is longer than this.
    let whole = super::beginning(name).to_ascii_lowercase();
    let likeness = |key: &str| {
        strsim::normalized_damerau_levenshtein(key, &whole)
            .max(strsim::normalized_damerau_levenshtein(&last(key), &last(&whole)))
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
        for key in KEYS {
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
