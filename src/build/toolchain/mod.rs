//! What a compiler is: found out by asking it once, recognised afterwards by its files.

#![forbid(unsafe_code)]

pub mod cpu;
pub mod native;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec::{Writer, digest, hex};
use crate::inputs::MEMO_TTL;
use crate::params::resolved::BuildParams;
use crate::process::exec_context::ExecContext;
use crate::process::{Command, Exit, Runner, environment, find_program};
use crate::signature::Toolchain;
use crate::sync::try_lock;

/// A compiler that says nothing for this long has nothing to say.
const LIMIT: Duration = Duration::from_secs(60);

/// A compiler as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Name of the record of this command, whatever it is today.
    pub command_key: String,
    /// Name of the record of exactly these files; `None` when the program is not there.
    pub file_key: Option<String>,
}

/// A record of the cache: JSON with these fields, in `toolchain/<key>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    format: String,
    command: Vec<String>,
    toolchain: Toolchain,
}

const FORMAT: &str = "dijitso toolchain 1";

/// Looks at the files of a compiler command: program, and what wrappers such as ccache are to run. Runs nothing.
///
/// What has been seen within [`FRESH`] in this process is not looked at again.
#[must_use]
pub fn inspect(params: &BuildParams) -> Compiler {
    inspect_at(&params.compiler, std::env::var_os("PATH"), Instant::now())
}

/// What was seen of a compiler a moment ago.
struct Seen {
    at: Instant,
    command: Vec<String>,
    path: Option<OsString>,
    compiler: Compiler,
}

/// The compilers that were looked at last, the latest one last; and how often they have been forgotten.
struct Memo {
    forgotten: u64,
    seen: Vec<Seen>,
}

static MEMO: Mutex<Memo> = Mutex::new(Memo { forgotten: 0, seen: Vec::new() });

/// A program uses one compiler, or one for each language.
const MOST_SEEN: usize = 8;

/// From now on every compiler is looked at again: somebody is about to build by it.
pub fn invalidate() {
    // It is held for no longer than it takes to copy a few texts, but for ever in a child that was forked meanwhile.
    for _ in 0..1000 {
        if let Some(mut memo) = try_lock(&MEMO) {
            memo.forgotten += 1;
            memo.seen.clear();
            return;
        }
        std::thread::yield_now();
    }
}

fn inspect_at(command: &[String], path: Option<OsString>, now: Instant) -> Compiler {
    let known = |seen: &&Seen| {
        seen.command == command && seen.path == path && now.saturating_duration_since(seen.at) < MEMO_TTL
    };
    let (before, known) = match try_lock(&MEMO) {
        Some(memo) => (memo.forgotten, memo.seen.iter().find(known).map(|seen| seen.compiler.clone())),
        None => return look(command, path.as_deref()),
    };
    if let Some(compiler) = known {
        return compiler;
    }
    // Not under the lock: a network disk may take its time.
    let compiler = look(command, path.as_deref());
    if compiler.file_key.is_none() {
        // It may be installed in this moment.
        return compiler;
    }
    if let Some(mut memo) = try_lock(&MEMO)
        && memo.forgotten == before
    {
        memo.seen.retain(|seen| seen.command != command || seen.path != path);
        if memo.seen.len() == MOST_SEEN {
            memo.seen.remove(0);
        }
        memo.seen.push(Seen { at: now, command: command.to_vec(), path, compiler: compiler.clone() });
    }
    compiler
}

fn look(command: &[String], path: Option<&OsStr>) -> Compiler {
    let mut files = Writer::new(b"compiler files");
    let mut there = true;
    for (at, word) in command.iter().enumerate() {
        files.bytes(word.as_bytes());
        let programs = if word.starts_with('-') { Vec::new() } else { programs(word, path) };
        there &= at > 0 || !programs.is_empty();
        for (real, facts) in programs {
            files.bytes(real.as_os_str().as_encoded_bytes());
            files.u64(facts.size());
            files.u64(facts.mtime().cast_unsigned());
            files.u64(facts.mtime_nsec().cast_unsigned());
        }
    }
    Compiler { file_key: there.then(|| key(files)), ..Compiler::absent(command) }
}

fn key(writer: Writer) -> String {
    hex(&digest(&writer.finish())[..16])
}

impl Compiler {
    /// A command without its files: what is known of it where it is not there.
    #[must_use]
    pub fn absent(command: &[String]) -> Self {
        let mut writer = Writer::new(b"compiler command");
        command.iter().for_each(|word| writer.bytes(word.as_bytes()));
        Self { command_key: key(writer), file_key: None }
    }

    /// The names of the records of what this compiler makes of these flags on this kind of processor.
    #[must_use]
    pub fn on_machine(&self, flags: &[String], cpu: &str) -> Self {
        let key = |key: &String| {
            let mut writer = Writer::new(b"compiler on a machine");
            writer.bytes(key.as_bytes());
            writer.bytes(cpu.as_bytes());
            flags.iter().for_each(|flag| writer.bytes(flag.as_bytes()));
            hex(&digest(&writer.finish())[..16])
        };
        Self { command_key: key(&self.command_key), file_key: self.file_key.as_ref().map(key) }
    }
}

/// Programs that stand in for compilers under the compilers' names, and run the next one of the name on `PATH`.
const MASQUERADERS: [&str; 4] = ["ccache", "distcc", "icecc", "sccache"];

/// The file that a word names, and behind a masquerader the compiler that it will run.
fn programs(word: &str, path: Option<&OsStr>) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut rest: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    loop {
        let joined = std::env::join_paths(&rest).unwrap_or_default();
        let Some(program) = find_program(word, Some(&joined), Path::new("/")) else { return found };
        let Ok((real, facts)) = real(&program) else { return found };
        let name = real.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let masks = MASQUERADERS.contains(&name) && program.file_name() != real.file_name();
        found.push((real, facts));
        if !masks || word.contains('/') {
            return found;
        }
        let used = rest.iter().position(|dir| Some(dir.as_path()) == program.parent());
        rest.drain(..=used.unwrap_or(rest.len().saturating_sub(1)));
    }
}

/// A file without links on the way to it, and what it is like. Asks for the name of the open file, which takes a third
/// of the system calls of following each link; where the system has no such name, that is done.
fn real(program: &Path) -> io::Result<(PathBuf, Metadata)> {
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(program)?;
    let facts = file.metadata()?;
    let named = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    let real = named.filter(|name| name.is_absolute() && facts.nlink() > 0);
    Ok((real.map_or_else(|| program.canonicalize(), Ok)?, facts))
}

/// How long a compiler may take to answer a question.
fn limit(params: &BuildParams) -> Duration {
    params.timeout.map_or(LIMIT, |timeout| timeout.min(LIMIT))
}

/// Asks the compiler. [`Toolchain::unknown`] when it does not answer: the build will say why.
#[must_use]
pub fn probe(params: &BuildParams, runner: &dyn Runner) -> Toolchain {
    // The GNU and LLVM compilers answer both questions at once; others at least tell their version.
    for argument in ["-v", "--version"] {
        let mut argv = params.compiler.clone();
        argv.push(argument.to_owned());
        let command = Command {
            argv,
            cwd: environment::temp_dir(),
            timeout: Some(limit(params)),
            capture: params.capture,
            memory: None,
            context: ExecContext::default(),
        };
        let Ok(outcome) = runner.run(&command) else { break };
        match outcome.exit {
            Exit::Code(0) | Exit::Unknown => {
                if let Some(toolchain) = parse(&String::from_utf8_lossy(&outcome.output)) {
                    return toolchain;
                }
            }
            // A compiler that hangs once hangs twice, and the ranks are waiting.
            Exit::TimedOut => break,
            Exit::Code(_) | Exit::Signal(_) => {}
        }
    }
    Toolchain::unknown()
}

fn parse(answer: &str) -> Option<Toolchain> {
    let lines = || answer.lines().map(str::trim);
    let target = lines().find_map(|line| line.strip_prefix("Target:")).map(str::trim);
    let says_version = |line: &&str| line.contains("version ") && !line.starts_with("Configured");
    let identity = lines().find(says_version).or_else(|| lines().find(|line| !line.is_empty()))?;
    Some(Toolchain {
        identity: identity.to_owned(),
        target: target.unwrap_or(std::env::consts::ARCH).to_owned(),
        isa: String::new(),
    })
}

/// The flag by which each library has static variables of inline functions and templates of its own, if this compiler
/// needs one.
///
/// GCC marks them as unique in the process (`STB_GNU_UNIQUE`): a second library would compute with the table of the
/// first one that has a function of the same name, however it is loaded. Other compilers do not, and clang does not
/// know the flag. Flags that say otherwise are those of the user.
#[must_use]
pub fn own_statics(params: &BuildParams, toolchain: &Toolchain) -> Option<&'static str> {
    let is_gcc = toolchain.identity.starts_with("gcc version ");
    let spellings = params.language.own_statics;
    let is_given = params.flags.iter().any(|flag| spellings.contains(&flag.as_str()));
    spellings.first().copied().filter(|_| is_gcc && !is_given)
}

/// A record for the cache.
#[must_use]
pub fn encode(command: &[String], toolchain: &Toolchain) -> Vec<u8> {
    let saved = Saved { format: FORMAT.to_owned(), command: command.to_vec(), toolchain: toolchain.clone() };
    serde_json::to_vec(&saved).expect("a record consists of strings")
}

/// Reads a record; `None` when it is damaged or of another format.
#[must_use]
pub fn decode(data: &[u8]) -> Option<Toolchain> {
    serde_json::from_slice::<Saved>(data)
        .ok()
        .filter(|saved| saved.format == FORMAT)
        .map(|saved| saved.toolchain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_of_compilers() {
        let gcc = "Using built-in specs.\nCOLLECT_GCC=g++\nTarget: x86_64-linux-gnu\n\
                   Configured with: ../src/configure --with-pkgversion='version 1'\n\
                   gcc version 12.2.0 (Debian 12.2.0-14+deb12u1) \n";
        let expected = Toolchain {
            identity: "gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)".into(),
            target: "x86_64-linux-gnu".into(),
            isa: String::new(),
        };
        assert_eq!(parse(gcc), Some(expected));
        let clang = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\nThread model: posix\n";
        assert_eq!(parse(clang).unwrap().target, "x86_64-pc-linux-gnu");
        assert_eq!(parse("\nsome compiler 3\n").unwrap().identity, "some compiler 3");
        assert_eq!(parse(""), None);
    }

    /// The time limit of a build is that of the question too, and a compiler that hangs is asked once.
    #[test]
    fn a_compiler_that_hangs_is_asked_once_and_not_for_long() {
        struct Hangs(Mutex<Vec<Option<Duration>>>);
        impl Runner for Hangs {
            fn run(&self, command: &Command) -> io::Result<crate::process::Outcome> {
                self.0.lock().unwrap().push(command.timeout);
                Ok(crate::process::Outcome { exit: Exit::TimedOut, output: Vec::new() })
            }
        }
        let params = crate::params::Params::for_test(&[("build.timeout", "1")]);
        let hangs = Hangs(Mutex::default());
        assert_eq!(probe(&params.resolve().unwrap().build, &hangs), Toolchain::unknown());
        assert_eq!(*hangs.0.lock().unwrap(), [Some(Duration::from_secs(1))]);
    }

    #[test]
    fn a_compiler_is_looked_at_once_a_second_in_a_process() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("cc-that-is-replaced");
        let command = [program.display().to_string()];
        let look = |at| inspect_at(&command, None, at).file_key;
        let now = Instant::now();
        assert_eq!(look(now), None);
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let first = look(now);
        assert!(first.is_some(), "what is not there is looked for again");
        std::fs::write(&program, "another one").unwrap();
        assert_eq!(look(now), first);
        let second = look(now + MEMO_TTL);
        assert_ne!(second, first);
        std::fs::write(&program, "yet another one").unwrap();
        invalidate();
        assert_ne!(look(now + MEMO_TTL), second);
        let path = Some(OsString::from("/elsewhere"));
        assert_eq!(inspect_at(&["cc-that-is-replaced".to_owned()], path, now).file_key, None);
    }

    #[test]
    fn behind_a_masquerader_the_compiler_counts() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["mask", "bin", "real"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for program in ["bin/ccache", "real/c++"] {
            std::fs::write(at(program), "").unwrap();
            std::fs::set_permissions(at(program), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        symlink(at("bin/ccache"), at("mask/c++")).unwrap();
        let path = std::env::join_paths([at("mask"), at("bin"), at("real")]).unwrap();
        let names = |word: &str| -> Vec<PathBuf> {
            programs(word, Some(&path)).into_iter().map(|(real, _)| real).collect()
        };
        assert_eq!(names("c++"), [at("bin/ccache"), at("real/c++")].map(|path| path.canonicalize().unwrap()));
        assert_eq!(names("ccache").len(), 1);
        assert!(names("nothing").is_empty());
    }

    proptest! {
        #[test]
        fn any_answer_is_a_compiler_or_none(answer in "(Target:|version |Configured|\n|\r|.){0,30}") {
            match parse(&answer) {
                Some(found) => prop_assert!(!found.identity.trim().is_empty() && !found.identity.contains('\n')),
                None => prop_assert!(answer.trim().is_empty(), "{:?}", answer),
            }
        }

        #[test]
        fn any_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }

    #[test]
    fn records_are_read_back_and_damage_is_not() {
        let toolchain = Toolchain { identity: "x".into(), target: "y".into(), isa: "-mavx".into() };
        let saved =
            Saved { format: FORMAT.into(), command: vec!["c++".into()], toolchain: toolchain.clone() };
        let data = serde_json::to_vec(&saved).unwrap();
        assert_eq!(decode(&data), Some(toolchain));
        assert_eq!(decode(&data[1..]), None);
        // Records without native flags are those of old.
        let old = br#"{"format":"dijitso toolchain 1","command":["c++"],"toolchain":{"identity":"x","target":"y"}}"#;
        let plain = decode(old).unwrap();
        assert_eq!(plain.isa, "");
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"identity":"x","target":"y"}"#);
    }

    #[test]
    fn each_kind_of_processor_and_each_set_of_flags_has_a_record_of_its_own() {
        let compiler = Compiler { command_key: "c".into(), file_key: Some("f".into()) };
        let flags = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let of = |text: &str, cpu: &str| compiler.on_machine(&flags(text), cpu);
        let base = of("-march=native -mavx", "a");
        assert_eq!(base, of("-march=native -mavx", "a"));
        for other in [of("-march=native", "a"), of("-march=native -mavx", "b"), compiler.clone()] {
            assert_ne!(other.command_key, base.command_key);
            assert_ne!(other.file_key, base.file_key);
        }
        let absent = Compiler { file_key: None, ..compiler.clone() };
        assert_eq!(absent.on_machine(&flags("-march=native"), "a").file_key, None);
    }
}
