//! The identity of a compiler: asked once, then recognised by its files.

#![forbid(unsafe_code)]

pub mod cpu;
pub mod native;

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec::{Writer, digest, hex};
use crate::inputs::MEMO_TTL;
use crate::params::resolved::BuildParams;
use crate::process::exec_context::ExecContext;
use crate::process::{Command, Exit, Runner, directories, environment, find_program_in};
use crate::signature::Toolchain;
use crate::sync::try_lock;

/// Time limit of one question to a compiler.
const LIMIT: Duration = Duration::from_secs(60);

/// Names of the records of a compiler in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerKeys {
    /// Record of this command, whatever its files are.
    pub command_key: String,
    /// Record of exactly these files; `None` if the program is missing.
    pub file_key: Option<String>,
}

/// A record of the cache: JSON with these fields, in `toolchain/<key>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ToolchainRecord {
    format: String,
    command: Vec<String>,
    toolchain: Toolchain,
}

const FORMAT: &str = "dijitso toolchain 1";

/// Inspects the files of a compiler command: the program, and those that wrappers such as ccache run. Runs
/// nothing.
///
/// Returns the result of an earlier call in this process if it is younger than [`MEMO_TTL`].
#[must_use]
pub fn inspect(params: &BuildParams) -> CompilerKeys {
    inspect_at(&params.compiler, std::env::var_os("PATH"), Instant::now())
}

/// A remembered result.
struct MemoEntry {
    at: Instant,
    command: Vec<String>,
    path: Option<OsString>,
    compiler: CompilerKeys,
}

/// Compilers that were inspected last, the latest one last, and the number of calls to [`invalidate`].
struct Memo {
    forgotten: u64,
    entries: Vec<MemoEntry>,
}

static MEMO: Mutex<Memo> = Mutex::new(Memo { forgotten: 0, entries: Vec::new() });

/// Enough for a program, which uses a compiler for each language.
const MAX_REMEMBERED: usize = 8;

/// Forgets all remembered results. Called before a build.
pub fn invalidate() {
    // The lock is held for microseconds, but for ever in a child that was forked meanwhile.
    for _ in 0..1000 {
        if let Some(mut memo) = try_lock(&MEMO) {
            memo.forgotten += 1;
            memo.entries.clear();
            return;
        }
        std::thread::yield_now();
    }
}

fn inspect_at(command: &[String], path: Option<OsString>, now: Instant) -> CompilerKeys {
    let known = |entry: &&MemoEntry| {
        entry.command == command && entry.path == path && now.saturating_duration_since(entry.at) < MEMO_TTL
    };
    let (before, known) = match try_lock(&MEMO) {
        Some(memo) => (memo.forgotten, memo.entries.iter().find(known).map(|entry| entry.compiler.clone())),
        None => return inspect_files(command, path.as_deref()),
    };
    if let Some(compiler) = known {
        return compiler;
    }
    // Without the lock: a network disk may be slow.
    let compiler = inspect_files(command, path.as_deref());
    if compiler.file_key.is_none() {
        // Not remembered: it may be installed at any moment.
        return compiler;
    }
    if let Some(mut memo) = try_lock(&MEMO)
        && memo.forgotten == before
    {
        memo.entries.retain(|entry| entry.command != command || entry.path != path);
        if memo.entries.len() == MAX_REMEMBERED {
            memo.entries.remove(0);
        }
        memo.entries.push(MemoEntry { at: now, command: command.to_vec(), path, compiler: compiler.clone() });
    }
    compiler
}

fn inspect_files(command: &[String], path: Option<&OsStr>) -> CompilerKeys {
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
    CompilerKeys { file_key: there.then(|| key(files)), ..CompilerKeys::absent(command) }
}

fn key(writer: Writer) -> String {
    hex(&digest(&writer.finish())[..16])
}

impl CompilerKeys {
    /// Returns the keys of a command without its files, which may be missing.
    #[must_use]
    pub fn absent(command: &[String]) -> Self {
        let mut writer = Writer::new(b"compiler command");
        command.iter().for_each(|word| writer.bytes(word.as_bytes()));
        Self { command_key: key(writer), file_key: None }
    }

    /// Returns the keys of the records of these flags on this kind of processor.
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

/// Programs that take the names of compilers, and run the next program of that name on `PATH`.
const MASQUERADERS: [&str; 4] = ["ccache", "distcc", "icecc", "sccache"];

/// Returns the file that a word names, and if that is a masquerader, the compiler that it will run.
fn programs(word: &str, path: Option<&OsStr>) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut rest = path.map(directories).unwrap_or_default();
    loop {
        let Some((program, facts)) = find_program_in(word, &rest, Path::new("/")) else { return found };
        let Some(target) = target(&program) else { return found };
        let name = target.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let masks = MASQUERADERS.contains(&name) && program.file_name() != target.file_name();
        found.push((target, facts));
        if !masks || word.contains('/') {
            return found;
        }
        let used = rest.iter().position(|dir| Some(dir.as_path()) == program.parent());
        rest.drain(..=used.unwrap_or(rest.len().saturating_sub(1)));
    }
}

/// Follows the links that a program's name leads to, as /usr/bin/cc, /etc/alternatives/cc, /usr/bin/gcc-12.
/// Links on the way to its directory are not resolved: size and time tell the file from others.
fn target(program: &Path) -> Option<PathBuf> {
    /// The limit of Linux.
    const MAX_LINKS: usize = 40;
    let mut path = program.to_owned();
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&path) {
            Ok(link) => {
                path.pop();
                path.push(link);
            }
            // No link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Some(path),
            Err(_) => return None,
        }
    }
    None
}

/// Makes the command of one question to a compiler.
fn question(params: &BuildParams, argv: Vec<String>, context: &ExecContext) -> Command {
    Command {
        argv,
        env: Vec::new(),
        cwd: environment::temp_dir(),
        timeout: Some(params.timeout.map_or(LIMIT, |timeout| timeout.min(LIMIT))),
        capture: params.capture,
        memory: None,
        context: context.clone(),
    }
}

/// Asks the compiler for its version and target. Returns [`Toolchain::unknown`] if it does not answer: the
/// build will report why.
#[must_use]
pub fn probe(params: &BuildParams, runner: &dyn Runner, context: &ExecContext) -> Toolchain {
    // GNU and LLVM compilers answer `-v` with both; others at least print their version.
    for argument in ["-v", "--version"] {
        let mut argv = params.compiler.clone();
        argv.push(argument.to_owned());
        let Ok(outcome) = runner.run(&question(params, argv, context)) else { break };
        match outcome.exit {
            Exit::Code(0) | Exit::Unknown => {
                if let Some(toolchain) = parse(&String::from_utf8_lossy(&outcome.output)) {
                    return toolchain;
                }
            }
            // A compiler that hangs will hang again, and the ranks are waiting.
            Exit::TimedOut => break,
            _ if context.is_cancelled() => break,
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

/// Returns the flag that gives each library static variables of its own, if this compiler needs one.
///
/// GCC marks static variables of inline functions and templates as unique in the process (`STB_GNU_UNIQUE`):
/// a second library would use the variables of the first that has a function of the same name, however it is
/// loaded. Other compilers do not, and clang does not know the flag. A flag of the user takes precedence.
#[must_use]
pub fn own_statics(params: &BuildParams, toolchain: &Toolchain) -> Option<&'static str> {
    let is_gcc = toolchain.identity.starts_with("gcc version ");
    let spellings = params.language.own_statics;
    let is_given = params.flags.iter().any(|flag| spellings.contains(&flag.as_str()));
    spellings.first().copied().filter(|_| is_gcc && !is_given)
}

/// Returns the contents of a record for the cache.
#[must_use]
pub fn encode(command: &[String], toolchain: &Toolchain) -> Vec<u8> {
    let record = ToolchainRecord {
        format: FORMAT.to_owned(),
        command: command.to_vec(),
        toolchain: toolchain.clone(),
    };
    serde_json::to_vec(&record).expect("a record consists of strings")
}

/// Reads a record; `None` if it is damaged or of another format.
#[must_use]
pub fn decode(data: &[u8]) -> Option<Toolchain> {
    serde_json::from_slice::<ToolchainRecord>(data)
        .ok()
        .filter(|record| record.format == FORMAT)
        .map(|record| record.toolchain)
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

    /// A question has no more time than a build.
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
        assert_eq!(
            probe(&params.resolve().unwrap().build, &hangs, &ExecContext::default()),
            Toolchain::unknown()
        );
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
                Some(Toolchain { identity, .. }) => {
                    prop_assert!(!identity.trim().is_empty() && !identity.contains('\n'));
                }
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
        let record = ToolchainRecord {
            format: FORMAT.into(),
            command: vec!["c++".into()],
            toolchain: toolchain.clone(),
        };
        let data = serde_json::to_vec(&record).unwrap();
        assert_eq!(decode(&data), Some(toolchain));
        assert_eq!(decode(&data[1..]), None);
        // Records without native flags have no `isa`.
        let old = concat!(
            r#"{"format":"dijitso toolchain 1","command":["c++"],"#,
            r#""toolchain":{"identity":"x","target":"y"}}"#
        );
        let plain = decode(old.as_bytes()).unwrap();
        assert_eq!(plain.isa, "");
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"identity":"x","target":"y"}"#);
    }

    #[test]
    fn each_kind_of_processor_and_each_set_of_flags_has_a_record_of_its_own() {
        let compiler = CompilerKeys { command_key: "c".into(), file_key: Some("f".into()) };
        let flags = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let of = |text: &str, cpu: &str| compiler.on_machine(&flags(text), cpu);
        let base = of("-march=native -mavx", "a");
        assert_eq!(base, of("-march=native -mavx", "a"));
        for other in [of("-march=native", "a"), of("-march=native -mavx", "b"), compiler.clone()] {
            assert_ne!(other.command_key, base.command_key);
            assert_ne!(other.file_key, base.file_key);
        }
        let absent = CompilerKeys { file_key: None, ..compiler.clone() };
        assert_eq!(absent.on_machine(&flags("-march=native"), "a").file_key, None);
    }
}
