//! Checks in a process of its own that the dynamic loader can load a library.
//!
//! The program of that process is the loader itself: with `LD_TRACE_LOADED_OBJECTS` and `LD_BIND_NOW` it maps
//! a library and its dependencies, resolves all symbols, prints which are missing, and ends. It runs no
//! initialisers. A file that kills it kills nothing else. Symbols that this process provides are not missing:
//! a host, such as an interpreter, has symbols and libraries that its extensions use without naming them.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::elf;
use crate::process::exec_context::ExecContext;
use crate::process::{Capture, Command, Exit, Runner, SystemRunner};

/// The libraries and symbols that a process has loaded.
pub(super) trait Process {
    /// Returns true if a library of this name is loaded.
    fn has(&self, library: &str) -> bool;

    /// Returns true if the program, its global libraries or one of `libraries` has this symbol.
    fn provides(&self, symbol: &str, libraries: &[&str]) -> bool;
}

/// The time limit. Resolving takes milliseconds, or longer on a slow disk.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks that the loader can resolve all symbols and libraries that a library needs. Succeeds if the loader
/// cannot be run, or fails for a reason that does not lie in the file.
///
/// # Errors
/// The message of the loader.
pub(super) fn check(path: &Path, process: &dyn Process) -> Result<(), String> {
    let Some(loader) = loader() else { return Ok(()) };
    let words = ["env", "LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=yes", "LD_BIND_NOW=yes"];
    let program = [&*loader, path].map(|path| path.display().to_string());
    let command = Command {
        argv: words.into_iter().map(str::to_owned).chain(program).collect(),
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        timeout: Some(LIMIT),
        capture: Capture::Pipe,
        memory: None,
        context: ExecContext::default(),
    };
    match SystemRunner.run(&command) {
        Ok(outcome) => judge(path, outcome.exit, &String::from_utf8_lossy(&outcome.output), process),
        Err(error) => {
            log::info!("{} is not resolved: cannot run {}: {error}", path.display(), loader.display());
            Ok(())
        }
    }
}

/// Returns the dynamic loader of this program, if it understands the variables.
fn loader() -> Option<PathBuf> {
    let loader = elf::interpreter(Path::new("/proc/self/exe"))?;
    // The loader of musl does not: it would run the library.
    let name = loader.file_name()?.to_str()?;
    let known = name.starts_with("ld-linux") || name.starts_with("ld64") || name.starts_with("ld.so");
    known.then_some(loader)
}

/// Signals that kill the loader if a file is not what its headers say: ILL, ABRT, BUS, FPE, SEGV.
const BY_FILE: [i32; 5] = [4, 6, 7, 8, 11];

/// Messages about the process or the disk, and not about the file.
const NOT_BY_FILE: [&str; 7] = [
    "Cannot allocate memory",
    "cannot allocate memory",
    "Operation not permitted",
    "Permission denied",
    "Too many open files",
    "Input/output error",
    "Stale file handle",
];

fn judge(path: &Path, exit: Exit, output: &str, process: &dyn Process) -> Result<(), String> {
    if let Exit::Signal(signal) = exit
        && BY_FILE.contains(&signal)
    {
        return Err(format!("signal {signal} kills the dynamic loader when it reads the file"));
    }
    let lines = || output.lines().map(str::trim);
    let fatal = lines().find_map(|line| line.split_once("error while loading shared libraries: "));
    if let Some((_, reason)) = fatal {
        let reason = reason.trim();
        return if NOT_BY_FILE.iter().any(|words| reason.contains(words)) {
            Ok(())
        } else {
            Err(reason.into())
        };
    }
    let mut missing: Vec<String> = Vec::new();
    let mut held = Vec::new();
    for line in lines() {
        if let Some((library, _)) = line.split_once(" => not found") {
            if process.has(library) {
                held.push(library);
            } else {
                missing.push(format!("{library}: cannot open shared object file: No such file or directory"));
            }
        } else if let Some((file, _)) = line.split_once(": version `")
            && line.contains("' not found (required by ")
        {
            // If the process has loaded another file of that name, the message is about the wrong one.
            let name = file.rsplit('/').next().unwrap_or(file);
            if !process.has(name) || is_mapped(Path::new(file)) {
                missing.push(line.to_owned());
            }
        }
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    for line in lines() {
        // undefined symbol: name[, version NAME]\t(file)
        let Some((_, rest)) = line.split_once("undefined symbol: ") else { continue };
        let symbol = rest.split([',', '\t', ' ']).next().unwrap_or_default();
        // A library of the system may get a symbol in another way, and was not built here.
        let ours = rest.rsplit_once('(').is_some_and(|(_, file)| Path::new(file).starts_with(folder));
        if ours && !process.provides(symbol, &held) {
            missing.push(format!("undefined symbol: {symbol}"));
        }
    }
    missing.dedup();
    let Some(first) = missing.first() else { return Ok(()) };
    let others = missing.iter().skip(1).filter(|other| *other != first).count();
    Err(if others > 0 { format!("{first} (and {others} more)") } else { first.clone() })
}

/// Returns true if this process has mapped this file.
fn is_mapped(file: &Path) -> bool {
    let Ok(file) = file.canonicalize() else { return false };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().any(|line| line.ends_with(&*file.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample::sample;

    /// A process with one library and one symbol in it.
    struct Host;

    impl Process for Host {
        fn has(&self, library: &str) -> bool {
            library == "libhost.so"
        }

        fn provides(&self, symbol: &str, libraries: &[&str]) -> bool {
            symbol == "Py_None" || (symbol == "host" && libraries.contains(&"libhost.so"))
        }
    }

    fn verdict(output: &str) -> Result<(), String> {
        judge(Path::new("/c/lib/a.so"), Exit::Code(0), output, &Host)
    }

    #[test]
    fn messages_of_loaders_are_understood() {
        let refused = [
            ("\tstatically linked\nundefined symbol: other\t(/c/lib/a.so)\n", "undefined symbol: other"),
            ("undefined symbol: f, version V2\t(/c/lib/a.so)\n", "undefined symbol: f"),
            ("undefined symbol: f\t(/c/lib/a.so)\nundefined symbol: g\t(/c/lib/a.so)\n", "(and 1 more)"),
            ("\tlibd.so => not found\n", "libd.so: cannot open"),
            ("undefined symbol: host\t(/c/lib/a.so)\n", "undefined symbol: host"),
            ("/l/libv.so: version `V1' not found (required by /c/lib/a.so)\n", "version `V1' not found"),
            (
                "/c/lib/a.so: error while loading shared libraries: /c/lib/a.so: invalid ELF header\n",
                "invalid",
            ),
        ];
        for (output, text) in refused {
            let reason = verdict(output).unwrap_err();
            assert!(reason.contains(text), "{output}: {reason}");
        }
        for output in [
            "\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n",
            "undefined symbol: Py_None\t(/c/lib/a.so)\n",
            "\tlibhost.so => not found\nundefined symbol: host\t(/c/lib/a.so)\n",
            "/l/libhost.so: version `V1' not found (required by /c/lib/a.so)\n",
            "undefined symbol: f\t(/usr/lib/plugin.so)\n",
            "a: error while loading shared libraries: a: failed to map segment: Operation not permitted\n",
        ] {
            assert_eq!(verdict(output), Ok(()), "{output}");
        }
        assert!(judge(Path::new("/a"), Exit::Signal(7), "", &Host).is_err());
        for exit in [Exit::Signal(9), Exit::TimedOut, Exit::Unknown] {
            assert_eq!(judge(Path::new("/a"), exit, "", &Host), Ok(()));
        }
    }

    #[test]
    fn the_loader_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sample.so");
        std::fs::write(&path, sample(b"")).unwrap();
        assert_eq!(check(&path, &Host), Ok(()));
        std::fs::write(&path, &sample(b"")[..100]).unwrap();
        assert!(check(&path, &Host).is_err());
        assert!(check(&dir.path().join("none.so"), &Host).is_err());
    }
}
