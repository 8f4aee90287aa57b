//! The files that a build has read: headers, from the compiler's dependency file, and the requested
//! libraries.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::fsutil::{self, FileStamp};
use crate::inputs::Input;
use crate::params::resolved::BuildParams;
use crate::process::environment;
use crate::sync::lock;

/// Options of dependency files. If the caller uses one, we add none.
const DEPFILE_OPTIONS: [&str; 10] = ["-M", "-MM", "-MD", "-MMD", "-MF", "-MT", "-MQ", "-MP", "-MG", "-MJ"];
/// Those to which a value may be joined.
const JOINABLE: [&str; 4] = ["-MF", "-MT", "-MQ", "-MJ"];

/// Compilers that do not know our options.
static REFUSED: Mutex<BTreeSet<Vec<String>>> = Mutex::new(BTreeSet::new());

/// Returns the options that make a compiler write the names of the headers it reads to `file`; empty if the
/// caller uses such options or the compiler does not know them.
pub(super) fn options(params: &BuildParams, file: &str) -> Vec<String> {
    let is_depfile_option = |word: &String| {
        let word = word.as_str();
        // For PGI, -Mvect is an option of another kind.
        DEPFILE_OPTIONS.contains(&word) || JOINABLE.iter().any(|option| word.starts_with(option))
    };
    if params.flags.iter().chain(&params.compiler).any(is_depfile_option)
        || lock(&REFUSED).contains(&params.compiler)
    {
        return Vec::new();
    }
    // Not -MMD, which leaves out system directories: ufc.h may be installed there.
    let options = params.language.depfile_options.iter().copied();
    options.chain((!params.language.depfile_options.is_empty()).then_some(file)).map(str::to_owned).collect()
}

/// Returns true if the output of a compiler says that it does not know the options of dependency files.
pub(super) fn options_unknown(params: &BuildParams, output: &str) -> bool {
    const WORDS: [&str; 9] = [
        "unrecognized",
        "unrecognised",
        "not recognized",
        "unknown",
        "invalid",
        "illegal",
        "unsupported",
        "not supported",
        "unexpected",
    ];
    output.lines().any(|line| {
        let ours = params.language.depfile_options.iter().any(|option| line.contains(option));
        let line = line.to_ascii_lowercase();
        ours && WORDS.iter().any(|word| line.contains(word))
    })
}

/// Stops passing our options to this compiler, in this process.
pub(super) fn disable_for(compiler: &[String]) {
    if lock(&REFUSED).insert(compiler.to_vec()) {
        let compiler = crate::process::join(compiler);
        log::warn!("{compiler} does not know -MD -MF: changes of headers are not noticed");
    }
}

/// Returns the absolute paths in a dependency file. Relative ones are in the folder in which the compiler
/// ran.
pub(super) fn all_headers(dependencies: &str) -> Vec<PathBuf> {
    let paths = words(dependencies).into_iter().map(PathBuf::from);
    let mut all: Vec<PathBuf> = paths.filter(|path| path.is_absolute()).collect();
    all.sort();
    all.dedup();
    all
}

/// Removes headers below `excluded`, and those of the compiler.
pub(super) fn retain_tracked(headers: &mut Vec<PathBuf>, excluded: &Path) {
    headers.retain(|path| !path.starts_with(excluded) && !is_of_compiler(path));
}

/// Returns true if a header is in a directory that compilers search by default.
pub(super) fn is_of_system(path: &Path) -> bool {
    is_of_compiler(path) || ["/usr/include", "/usr/local/include"].iter().any(|dir| path.starts_with(dir))
}

/// Returns true if a header belongs to the compiler, which the signature identifies, or to the C library:
/// there are hundreds, and models are not written in them.
///
/// - `include/c++/N`, `lib*/gcc*/../N/include*`, `lib*/clang/N/include`, N being a version;
/// - in `usr/include` and its directories for one machine (`x86_64-linux-gnu`): the directories `bits`, `sys`,
///   `asm`, `asm-generic`, `linux`, `gnu`, and headers of ISO C and POSIX by their names.
pub(super) fn is_of_compiler(path: &Path) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            // Clang writes /usr/bin/../lib/gcc/x86_64-linux-gnu/12/../../../../include/c++/12/vector.
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            _ => {}
        }
    }
    let is_version = |part: &str| part == "v1" || part.starts_with(|c: char| c.is_ascii_digit());
    let versioned = |at: usize| parts.get(at).is_some_and(|part| is_version(part));
    let includes = |at: usize| parts.get(at).is_some_and(|part| part.starts_with("include"));
    for (at, pair) in parts.windows(2).enumerate() {
        let in_lib = pair[0].starts_with("lib");
        match pair[1] {
            "c++" if versioned(at + 2) => return true,
            // lib/gcc/x86_64-linux-gnu/12/include, and include-fixed
            "gcc" if in_lib && versioned(at + 3) && includes(at + 4) => return true,
            "clang" if in_lib && versioned(at + 2) && includes(at + 3) => return true,
            _ => {}
        }
    }
    let Some(at) = parts.windows(2).position(|pair| pair == ["usr", "include"]) else { return false };
    let rest = match &parts[at + 2..] {
        [machine, rest @ ..] if machine.contains("-linux-") => rest,
        rest => rest,
    };
    match rest {
        [name] => C_HEADERS.contains(name),
        [dir, ..] => ["bits", "sys", "asm", "asm-generic", "linux", "gnu"].contains(dir),
        [] => false,
    }
}

/// Headers of ISO C and POSIX, and those that they include in glibc and musl.
#[rustfmt::skip] // a list of words
const C_HEADERS: [&str; 72] = [
    "aio.h", "alloca.h", "alltypes.h", "assert.h", "byteswap.h", "complex.h", "cpio.h", "ctype.h",
    "dirent.h", "dlfcn.h", "elf.h", "endian.h", "errno.h", "execinfo.h", "fcntl.h", "features-time64.h",
    "features.h", "fenv.h", "float.h", "fmtmsg.h", "fnmatch.h", "ftw.h", "getopt.h", "glob.h", "grp.h",
    "iconv.h", "inttypes.h", "iso646.h", "langinfo.h", "libgen.h", "libintl.h", "limits.h", "link.h",
    "locale.h", "malloc.h", "math.h", "memory.h", "monetary.h", "mqueue.h", "netdb.h", "nl_types.h",
    "poll.h", "pthread.h", "pwd.h", "regex.h", "sched.h", "search.h", "semaphore.h", "setjmp.h",
    "signal.h", "spawn.h", "stdc-predef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h",
    "syslog.h", "tar.h", "tgmath.h", "threads.h", "time.h", "uchar.h", "ucontext.h", "ulimit.h",
    "unistd.h", "utime.h", "utmpx.h", "values.h", "wchar.h", "wctype.h", "xlocale.h",
];

/// Returns the words after the first colon. Blanks in names are escaped by a backslash, `$` is doubled.
fn words(text: &str) -> Vec<String> {
    let Some((_, text)) = text.split_once(':') else { return Vec::new() };
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(' ' | '#' | '\\')) | ('$', Some('$')) => {
                words.last_mut().expect("never empty").extend(chars.next());
            }
            ('\\', Some('\n' | '\r')) => {}
            // The colon of a further rule without dependencies, which -MP writes.
            (':', Some('\n' | '\r') | None) => {}
            (c, _) if c.is_whitespace() => words.push(String::new()),
            (c, _) => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the files of the requested libraries that are in the directories where linkers search.
pub(super) fn libraries(params: &BuildParams) -> Vec<PathBuf> {
    let after = |option: &'static str| {
        let mut before = "";
        let mut found = Vec::new();
        for flag in &params.flags {
            if before == option {
                found.push(flag.as_str());
            } else if let Some(joined) = flag.strip_prefix(option).filter(|rest| !rest.is_empty()) {
                found.push(joined);
            }
            before = flag;
        }
        found
    };
    let arch = std::env::consts::ARCH;
    let system = [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/local/lib".into(),
        "/usr/lib64".into(),
        "/usr/lib".into(),
    ];
    let environment = environment::variable("LIBRARY_PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = after("-L")
        .into_iter()
        .chain(params.lib_dirs.iter().map(String::as_str))
        .map(PathBuf::from)
        .chain(std::env::split_paths(&environment))
        .chain(system.map(PathBuf::from))
        .collect();
    let find = |name: &str| {
        let candidates = match name.strip_prefix(':') {
            Some(file) => vec![file.to_owned()],
            None => vec![format!("lib{name}.so"), format!("lib{name}.a")],
        };
        dirs.iter()
            .flat_map(|dir| candidates.iter().map(move |file| dir.join(file)))
            .find(|path| path.is_file())
    };
    let named = params.libs.iter().map(String::as_str).chain(after("-l")).filter_map(find);
    let files = params.flags.iter().map(PathBuf::from).filter(|path| {
        let kind = path.extension().and_then(std::ffi::OsStr::to_str);
        path.is_absolute() && matches!(kind, Some("so" | "a" | "o")) && path.is_file()
    });
    named.chain(files).collect()
}

/// Returns the files named in messages of a compiler (`/path/file.h:12: ...`), also missing ones.
pub(super) fn files_in_messages(output: &str) -> Vec<PathBuf> {
    const MOST: usize = 100;
    let mut all = Vec::new();
    for word in output.split(|c: char| c.is_whitespace() || c == ',') {
        let Some((path, _)) = word.split_once(':') else { continue };
        let path = PathBuf::from(path);
        if path.is_absolute() && !all.contains(&path) && !path.is_dir() && all.len() < MOST {
            all.push(path);
        }
    }
    all
}

/// Start of a run, in nanoseconds since 1970, by the clocks that file times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunStart {
    device: u64,
    on_device: i64,
    local: i64,
}

impl RunStart {
    /// Returns the time now. Writes a file in `dir`, whose file system may have its own clock.
    pub(super) fn now(dir: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let local = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let path = dir.join(".began");
        let facts = fsutil::write(&path, "began").and_then(|()| fs::metadata(&path)).ok();
        let on_device = facts.as_ref().map_or(local, |facts| FileStamp::new(facts).ctime);
        Self { device: facts.map_or(0, |facts| facts.dev()), on_device, local }
    }

    /// Returns true if a file may have changed since, or, if it does not exist, may have been removed since.
    ///
    /// Compares the time of the last status change, which no program can set: a header from an archive may
    /// have a modification time in the future. Equal times count as no change, because a compiler reads
    /// nothing within one tick of the clock. If the clock of a file server is behind ours, a change within
    /// that difference after the start is missed; if it is ahead, the compiler may run once more than needed.
    pub(super) fn precedes_change_of(self, path: &Path) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let facts = fs::metadata(path).or_else(|_| fs::metadata(path.parent().unwrap_or(path)));
        facts.is_ok_and(|facts| {
            let mut changed = FileStamp::new(&facts).ctime;
            if changed % SECOND == 0 {
                // A file system with times in seconds.
                changed = changed.saturating_add(SECOND - 1);
            }
            changed > if facts.dev() == self.device { self.on_device } else { self.local }
        })
    }
}

/// The files that a run has read.
#[derive(Clone, Debug, Default)]
pub(super) struct RunInputs {
    /// The files in their present state.
    pub(super) inputs: Vec<Input>,
    /// First file that may have changed during the run.
    pub(super) racy_input: Option<String>,
}

/// Records the files after a run that began at `since`. A file that is as it was in `before` has not changed,
/// whatever was done to it.
pub(super) fn record(
    paths: impl IntoIterator<Item = PathBuf>,
    since: RunStart,
    before: &[Input],
) -> RunInputs {
    let mut read = RunInputs::default();
    let mut all: HashSet<PathBuf> = HashSet::new();
    for path in paths {
        if !all.insert(path.clone()) {
            continue;
        }
        let input = Input::seen(&path);
        let same = || before.iter().any(|old| old.path == input.path && old.identity == input.identity);
        // Checked after it was read, so that no change in between is missed.
        if read.racy_input.is_none() && since.precedes_change_of(&path) && !same() {
            read.racy_input = Some(input.path.clone());
        }
        read.inputs.push(input);
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read_from_the_syntax_of_make() {
        let text = "lib.so: s.cpp ./s.h /cache/include/e.h \\\n /usr/my\\ dir/ufc.h /a/$$b.h /x\\#y.h \
                    \\\r\n /z.h\n\n/z.h:\n";
        let headers = |text: &str| {
            let mut all = all_headers(text);
            retain_tracked(&mut all, Path::new("/cache"));
            all
        };
        let found = headers(text);
        let expected = ["/a/$b.h", "/usr/my dir/ufc.h", "/x#y.h", "/z.h"].map(PathBuf::from);
        assert_eq!(found, expected);
        assert!(headers("").is_empty());
    }

    #[test]
    fn headers_of_the_compiler_and_the_c_library_are_left_out_and_no_others() {
        for path in [
            "/usr/include/c++/12/vector",
            "/usr/bin/../lib/gcc/x86_64-linux-gnu/12/../../../../include/c++/12/bits/move.h",
            "/usr/include/x86_64-linux-gnu/c++/12/bits/c++config.h",
            "/usr/lib/gcc/x86_64-linux-gnu/12/include/stddef.h",
            "/usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h",
            "/usr/lib/llvm-14/include/c++/v1/vector",
            "/opt/conda/lib/gcc/x86_64-conda-linux-gnu/12.3.0/include/c++/cmath",
            "/opt/conda/x86_64-conda-linux-gnu/sysroot/usr/include/stdio.h",
            "/usr/include/stdio.h",
            "/usr/include/x86_64-linux-gnu/bits/types.h",
            "/usr/include/x86_64-linux-gnu/sys/cdefs.h",
            "/usr/include/linux/errno.h",
        ] {
            assert!(is_of_compiler(Path::new(path)), "{path}");
        }
        for path in [
            "/usr/include/ufc.h",
            "/usr/local/include/ufc.h",
            "/usr/include/dolfin/mesh/Mesh.h",
            "/usr/include/eigen3/Eigen/Dense",
            "/usr/include/x86_64-linux-gnu/mpi/mpi.h",
            "/usr/lib/x86_64-linux-gnu/openmpi/include/mpi.h",
            "/home/me/include/math.h",
            "/home/me/include/c++/model.h",
            "/home/me/bits/model.h",
            "/home/me/lib/gcc/model.h",
            "/usr/include",
        ] {
            assert!(!is_of_compiler(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn only_options_of_dependency_files_are_the_callers_own() {
        let with = |flags: &str| {
            let params = Params::for_test(&[("build.cxxflags_opt", flags)]);
            options(&params.resolve().unwrap().build, "x.d")
        };
        for flags in ["", "-Mvect -Mprof", "-MMMD"] {
            assert_eq!(with(flags), ["-MD", "-MF", "x.d"], "{flags}");
        }
        for flags in ["-M", "-MMD", "-MD", "-MFmine.d", "-MF mine.d", "-MTx", "-MP"] {
            assert!(with(flags).is_empty(), "{flags}");
        }
    }

    #[test]
    fn compilers_that_do_not_know_the_options_are_understood() {
        let params = Params::for_test(&[]).resolve().unwrap().build;
        for line in [
            "error: unknown option -MD",
            "c++: error: unrecognized command-line option '-MF'",
            "cc: Illegal option -MD",
            "nvcc fatal   : Unknown option '-MD'",
        ] {
            assert!(options_unknown(&params, &format!("note\n{line}\n")), "{line}");
        }
        assert!(!options_unknown(&params, "x.cpp:1: error: unknown type name\ncommand: c++ -MD -MF x.d"));
    }

    #[test]
    fn what_was_written_since_a_run_began_is_unsettled_unless_it_is_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ufc.h");
        fs::write(&path, "one").unwrap();
        let future = SystemTime::now() + std::time::Duration::from_secs(10_000);
        fs::File::options().append(true).open(&path).unwrap().set_modified(future).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let read = |since, before: &[Input]| record([path.clone()], since, before).racy_input;
        let since = RunStart::now(dir.path());
        assert_eq!(read(since, &[]), None, "a time in the future is no change");
        let before = record([path.clone()], since, &[]).inputs;
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::write(&path, "one").unwrap();
        assert_eq!(read(since, &before), None, "written again as it was");
        fs::write(&path, "two").unwrap();
        assert_eq!(read(since, &before), Some(path.display().to_string()));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(since, &before), Some(path.display().to_string()));
        let elsewhere = record([PathBuf::from("/nonexistent/include/x.h")], since, &[]);
        assert_eq!(
            (elsewhere.inputs.len(), elsewhere.racy_input),
            (1, None),
            "as a compiler in a container names it"
        );
    }

    #[test]
    fn files_in_messages_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let header = dir.path().join("wrong.h");
        fs::write(&header, "").unwrap();
        let at = header.display();
        let output = format!(
            "In file included from x.cpp:1:\n{at}:3:4: error: no\n{at}:5: note: {at}\n/gone.h:1: error\n"
        );
        assert_eq!(files_in_messages(&output), [header, PathBuf::from("/gone.h")]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = all_headers(&text);
            let _ = files_in_messages(&text);
        }
    }
}
