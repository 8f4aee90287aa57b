//! The compiler's command line. Runs nothing and touches no file.

#![forbid(unsafe_code)]

use crate::params::resolved::BuildParams;

/// Directories of headers and libraries of other signatures, as the compiler is told.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Headers.
    pub include: String,
    /// Libraries.
    pub library: String,
}

/// Returns the command that builds `library` from `source`, to be run in the folder of both.
///
/// Order: compiler, flags, `extra` flags, include directories (the folder itself first, the cache last),
/// source, library directories, rpaths (`$ORIGIN` last, so that libraries of a cache find each other after it
/// was moved), dependencies, further libraries, output.
#[must_use]
pub fn argv(
    params: &BuildParams,
    further: &[String],
    source: &str,
    library: &str,
    dependencies: &[String],
    dirs: &Dirs,
) -> Vec<String> {
    let (language, to_linker) = (params.language, params.language.linker_prefix);
    let mut argv = params.compiler.clone();
    argv.extend(params.flags.iter().chain(further).cloned());
    argv.push("-I.".to_owned());
    argv.extend(unique(&params.include_dirs, &dirs.include).map(|dir| format!("-I{dir}")));
    argv.push(source.to_owned());
    argv.extend(unique(&params.lib_dirs, &dirs.library).map(|dir| format!("-L{dir}")));
    argv.extend(unique(&params.rpath_dirs, "$ORIGIN").map(|dir| format!("{to_linker}-rpath,{dir}")));
    // By file name, because the user may change prefix and postfix.
    argv.extend(dependencies.iter().map(|file| format!("-l:{file}")));
    argv.extend(params.libs.iter().map(|lib| format!("-l{lib}")));
    let further = language.libs.iter().filter(|lib| !params.libs.iter().any(|other| other == *lib));
    argv.extend(further.map(|lib| format!("-l{lib}")));
    // With the path in the name, the dynamic loader takes a dependency from the directory of the library that
    // needs it, even if one of the same name was loaded from another cache.
    argv.push(format!("{to_linker}-soname,$ORIGIN/{library}"));
    argv.push("-o".to_owned());
    argv.push(library.to_owned());
    argv
}

/// Returns the directories in order, each once, and then `last`.
fn unique<'a>(dirs: &'a [String], last: &'a str) -> impl Iterator<Item = &'a str> {
    let all: Vec<&str> = dirs.iter().map(String::as_str).chain([last]).collect();
    let first = |at: &usize| !all[..*at].contains(&all[*at]);
    let chosen: Vec<&str> = (0..all.len()).filter(first).map(|at| all[at]).collect();
    chosen.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    fn command(settings: &[(&str, &str)]) -> Vec<String> {
        let dirs = Dirs { include: "/cache dir/include".into(), library: "/cache dir/lib".into() };
        let dependencies = ["libdijitso-d.so".to_owned()];
        argv(
            &Params::for_test(settings).resolve().unwrap().build,
            &["-MMD".to_owned()],
            "s.cpp",
            "libdijitso-s.so",
            &dependencies,
            &dirs,
        )
    }

    #[test]
    fn the_documented_order() {
        let settings = [
            ("build.cxx", "ccache g++"),
            ("build.cxxflags", "-shared -fPIC"),
            ("build.cxxflags_opt", "-O1"),
            ("build.include_dirs", "/i /j /i"),
            ("build.lib_dirs", "/l"),
            ("build.rpath_dirs", "/r"),
            ("build.libs", "x y"),
        ];
        let expected = "ccache g++ -shared -fPIC -O1 -MMD -I. -I/i -I/j '-I/cache dir/include' s.cpp -L/l \
                        '-L/cache dir/lib' -Wl,-rpath,/r '-Wl,-rpath,$ORIGIN' -l:libdijitso-d.so -lx -ly \
                        '-Wl,-soname,$ORIGIN/libdijitso-s.so' -o libdijitso-s.so";
        assert_eq!(command(&settings), shell_words::split(expected).unwrap());
    }

    #[test]
    fn c_is_linked_to_the_mathematics_library_once() {
        let count = |libs: &str| {
            let words = command(&[("build.language", "c"), ("build.libs", libs)]);
            words.iter().filter(|word| *word == "-lm").count()
        };
        assert_eq!((count(""), count("m"), count("blas")), (1, 1, 1));
        assert!(!command(&[]).contains(&"-lm".to_owned()));
    }

    #[test]
    fn debug_flags_instead_of_release_flags() {
        assert!(command(&[("build.debug", "true")]).contains(&"-O0".to_owned()));
        assert!(!command(&[("build.debug", "true")]).contains(&"-O3".to_owned()));
    }
}
