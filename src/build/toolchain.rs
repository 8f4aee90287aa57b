//! What a compiler is: found out by asking it once, recognised afterwards by its files.

#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::params::resolved::BuildParams;
use crate::process::{Command, Exit, Runner, find_program};
use crate::signature::Toolchain;
use crate::wire::{Writer, digest, hex};

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
#[must_use]
pub fn inspect(params: &BuildParams) -> Compiler {
    let path = std::env::var_os("PATH");
    let mut command = Writer::new(b"compiler command");
    let mut files = Writer::new(b"compiler files");
    let mut there = true;
    for (at, word) in params.compiler.iter().enumerate() {
        command.bytes(word.as_bytes());
        files.bytes(word.as_bytes());
        let program =
            if word.starts_with('-') { None } else { find_program(word, path.as_deref(), Path::new("/")) };
        match program.as_deref().map(|program| (program.canonicalize(), program.metadata())) {
            Some((Ok(real), Ok(facts))) => {
                files.bytes(real.as_os_str().as_encoded_bytes());
                files.u64(facts.size());
                files.u64(facts.mtime().cast_unsigned());
                files.u64(facts.mtime_nsec().cast_unsigned());
            }
            _ => there &= at > 0,
        }
    }
    let key = |writer: Writer| hex(&digest(&writer.finish())[..16]);
    Compiler { command_key: key(command), file_key: there.then(|| key(files)) }
}

/// Asks the compiler. [`Toolchain::unknown`] when it does not answer: the build will say why.
#[must_use]
pub fn probe(params: &BuildParams, runner: &dyn Runner) -> Toolchain {
    let ask = |argument: &str| {
        let mut argv = params.compiler.clone();
        argv.push(argument.to_owned());
        let cwd = std::env::temp_dir();
        let command = Command { argv, cwd, timeout: Some(LIMIT), capture: params.capture };
        let outcome = runner.run(&command).ok()?;
        let answered = matches!(outcome.exit, Exit::Code(0) | Exit::Unknown);
        answered.then(|| String::from_utf8_lossy(&outcome.output).into_owned())
    };
    // The GNU and LLVM compilers answer both questions at once; others at least tell their version.
    ask("-v")
        .and_then(|answer| parse(&answer))
        .or_else(|| ask("--version").and_then(|answer| parse(&answer)))
        .unwrap_or_else(Toolchain::unknown)
}

fn parse(answer: &str) -> Option<Toolchain> {
    let lines = || answer.lines().map(str::trim);
    let target = lines().find_map(|line| line.strip_prefix("Target:")).map(str::trim);
    let says_version = |line: &&str| line.contains("version ") && !line.starts_with("Configured");
    let identity = lines().find(says_version).or_else(|| lines().find(|line| !line.is_empty()))?;
    Some(Toolchain {
        identity: identity.to_owned(),
        target: target.unwrap_or(std::env::consts::ARCH).to_owned(),
    })
}

/// A record for the cache.
#[must_use]
pub fn encode(params: &BuildParams, toolchain: &Toolchain) -> Vec<u8> {
    let saved =
        Saved { format: FORMAT.to_owned(), command: params.compiler.clone(), toolchain: toolchain.clone() };
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

    #[test]
    fn answers_of_compilers() {
        let gcc = "Using built-in specs.\nCOLLECT_GCC=g++\nTarget: x86_64-linux-gnu\n\
                   Configured with: ../src/configure --with-pkgversion='version 1'\n\
                   gcc version 12.2.0 (Debian 12.2.0-14+deb12u1) \n";
        let expected = Toolchain {
            identity: "gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)".into(),
            target: "x86_64-linux-gnu".into(),
        };
        assert_eq!(parse(gcc), Some(expected));
        let clang = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\nThread model: posix\n";
        assert_eq!(parse(clang).unwrap().target, "x86_64-pc-linux-gnu");
        assert_eq!(parse("\nsome compiler 3\n").unwrap().identity, "some compiler 3");
        assert_eq!(parse(""), None);
    }

    #[test]
    fn records_are_read_back_and_damage_is_not() {
        let toolchain = Toolchain { identity: "x".into(), target: "y".into() };
        let saved =
            Saved { format: FORMAT.into(), command: vec!["c++".into()], toolchain: toolchain.clone() };
        let data = serde_json::to_vec(&saved).unwrap();
        assert_eq!(decode(&data), Some(toolchain));
        assert_eq!(decode(&data[1..]), None);
    }
}
