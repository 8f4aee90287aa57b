//! The choice of the linker.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Mutex;

use crate::language::LANGUAGES;
use crate::params::resolved::BuildParams;
use crate::process::find_program;
use crate::sync::lock;

/// Linkers for `build.linker=auto`. Not lld, which is slower than the system's linker for small libraries.
const FASTEST: [&str; 1] = ["mold"];

/// A compiler, and a linker that failed with it.
type Pair = (Vec<String>, String);

static REFUSED: Mutex<BTreeSet<Pair>> = Mutex::new(BTreeSet::new());

/// Returns the requested linker, or the fastest; `None` for that of the compiler.
pub(super) fn choose(params: &BuildParams) -> Option<String> {
    let path = std::env::var_os("PATH");
    choose_in(params, path.as_deref())
}

fn choose_in(params: &BuildParams, path: Option<&OsStr>) -> Option<String> {
    let wanted = match params.linker.as_str() {
        "" => return None,
        "auto" if !is_known(params) => return None,
        "auto" => FASTEST.to_vec(),
        name => vec![name],
    };
    if !params.flags.iter().chain(&params.compiler).all(|word| leaves_choice(word)) {
        return None;
    }
    let is_there = |name: &&str| find_program(&format!("ld.{name}"), path, Path::new("/")).is_some();
    let is_refused = |name: &str| lock(&REFUSED).contains(&(params.compiler.clone(), name.to_owned()));
    wanted.into_iter().find(|name| is_there(name) && !is_refused(name)).map(str::to_owned)
}

/// Returns the compiler options that select a linker.
pub(super) fn options(linker: &str) -> Vec<String> {
    let mut options = vec![format!("-fuse-ld={linker}")];
    if linker == "mold" {
        // Without this, a child of mold outlives the compiler. In a container whose first process does not
        // reap orphans it would remain as a zombie.
        options.push("-Wl,--no-fork".to_owned());
    }
    options
}

/// Stops the use of a linker with this compiler, in this process.
pub(super) fn disable_for(params: &BuildParams, linker: &str) {
    if lock(&REFUSED).insert((params.compiler.clone(), linker.to_owned())) {
        let compiler = crate::process::join(&params.compiler);
        log::info!("{compiler} fails with {linker}, and not without: {linker} is not used again");
    }
}

/// Returns true if the output of a compiler blames the linker and not the source.
pub(super) fn is_at_fault(output: &str, linker: &str) -> bool {
    let words = ["fuse-ld", "collect2", "linker", "ld returned", "undefined reference", "undefined symbol"];
    words.iter().any(|word| output.contains(word)) || output.contains(&format!("{linker}:"))
}

/// Returns true if the name of the compiler is that of a driver that knows the option.
fn is_known(params: &BuildParams) -> bool {
    params.compiler.iter().filter(|word| !word.starts_with('-')).any(|word| {
        let name = Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or_default();
        // g++-12, x86_64-linux-gnu-g++, clang-14
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
        let mut drivers = LANGUAGES.iter().flat_map(|language| language.drivers);
        drivers.any(|known| name == *known || name.ends_with(&format!("-{known}")))
    })
}

/// Returns true if a word of the command is understood by all linkers.
fn leaves_choice(word: &str) -> bool {
    const ALL_KNOW: [&str; 7] = [
        "--as-needed",
        "--no-as-needed",
        "--no-undefined",
        "--enable-new-dtags",
        "-Bsymbolic",
        "-Bsymbolic-functions",
        "--gc-sections",
    ];
    const OWN: [&str; 8] = ["-fuse-ld", "-flto", "-Xlinker", "-B", "-T", "--ld-path", "-fno-lto", "-static"];
    if let Some(words) = word.strip_prefix("-Wl,") {
        let mut words = words.split(',');
        while let Some(word) = words.next() {
            let fine = match word {
                // The next word is a directory, or is understood by all.
                "-rpath" | "-z" | "--hash-style" => words.next().is_some(),
                _ => {
                    ALL_KNOW.contains(&word)
                        || word.starts_with("-rpath=")
                        || word.starts_with("-O")
                        || word.starts_with("--hash-style=")
                }
            };
            if !fine {
                return false;
            }
        }
        return true;
    }
    !OWN.iter().any(|option| word.starts_with(option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn params(settings: &[(&str, &str)]) -> BuildParams {
        Params::for_test(settings).resolve().unwrap().build
    }

    #[test]
    fn the_fastest_linker_that_is_there_is_taken_unless_the_flags_say_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = Some(dir.path().as_os_str());
        assert_eq!(choose_in(&params(&[]), path), None, "there is none");
        for name in ["ld.lld", "ld.mold"] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        let of = |settings: &[(&str, &str)]| choose_in(&params(settings), path).unwrap_or_default();
        for compiler in ["g++", "/usr/bin/x86_64-linux-gnu-g++-12", "ccache clang++-14", "mpicxx"] {
            assert_eq!(of(&[("build.cxx", compiler)]), "mold", "{compiler}");
        }
        for compiler in ["icpc", "nvc++", "sh -c x"] {
            assert_eq!(of(&[("build.cxx", compiler)]), "", "{compiler}");
        }
        for flags in ["-Wl,-rpath,/x -Wl,--as-needed", "-Wl,-O1,-z,relro -O3"] {
            assert_eq!(of(&[("build.cxxflags", flags)]), "mold", "{flags}");
        }
        for flags in ["-fuse-ld=gold", "-Wl,-T,x", "-Wl,--version-script=x", "-flto", "-Xlinker x", "-B/x"] {
            assert_eq!(of(&[("build.cxxflags", flags)]), "", "{flags}");
        }
        assert_eq!(of(&[("build.linker", "")]), "");
        assert_eq!(of(&[("build.linker", "lld"), ("build.cxx", "icpx")]), "lld");
        assert_eq!(of(&[("build.linker", "none")]), "");
        let refusing = params(&[("build.cxx", "refusing-g++")]);
        disable_for(&refusing, "mold");
        assert_eq!(choose_in(&refusing, path), None);
        assert_eq!(of(&[]), "mold", "another compiler");
    }
}
