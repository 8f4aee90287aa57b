//! The languages of generated source, a row each. A language is added by adding a row.
//!
//! Parameter keys, names of sources, signatures and command lines come from this table.

#![forbid(unsafe_code)]

/// A language, and how its compilers are told what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// Value of `build.language`; part of signatures.
    pub name: &'static str,
    /// Name in texts for people.
    pub title: &'static str,
    /// Its parameters.
    pub keys: Keys,
    /// Environment variable that names the compiler.
    pub compiler_variable: &'static str,
    /// Default compiler.
    pub compiler: &'static str,
    /// Default flags of every build.
    pub flags: &'static str,
    /// Default flags of a debug build.
    pub debug_flags: &'static str,
    /// Default flags of a release build.
    pub release_flags: &'static str,
    /// Suffixes by which compilers know the language. The first is that of generated sources.
    pub suffixes: &'static [&'static str],
    /// Name of the language after `-x`.
    pub dialect: &'static str,
    /// Flags without which the output is no shared library: each as its accepted spellings, of which the
    /// first is added if none of them is among the flags.
    pub shared_flags: &'static [&'static [&'static str]],
    /// Spellings of the flag that decides whether libraries share static variables of inline functions; the
    /// first is added for GCC if none of them is among the flags. Empty if GCC has no such flag for this
    /// language.
    pub own_statics: &'static [&'static str],
    /// Begins a word that the driver hands to the linker.
    pub linker_prefix: &'static str,
    /// Libraries that generated code needs and that the driver does not link by itself.
    pub libs: &'static [&'static str],
    /// Names of drivers that take `-fuse-ld=`.
    pub drivers: &'static [&'static str],
    /// Options before the name of the file into which the compiler writes the names of the headers that it
    /// has read.
    pub depfile_options: &'static [&'static str],
    /// End of the names of files by which compilers describe the modules of a source; empty if the language has
    /// none.
    pub module_suffix: &'static str,
    /// True if compilers can precompile the headers that a source begins with.
    pub has_pch: bool,
}

/// Parameter keys of a language.
#[derive(Debug, PartialEq, Eq)]
pub struct Keys {
    /// The compiler and its arguments.
    pub compiler: &'static str,
    /// Flags of every build.
    pub flags: &'static str,
    /// Further flags of a debug build.
    pub debug_flags: &'static str,
    /// Further flags of a release build.
    pub release_flags: &'static str,
    /// Flags after all others.
    pub last_flags: &'static str,
}

macro_rules! keys {
    ($compiler:literal, $flags:literal) => {
        Keys {
            compiler: concat!("build.", $compiler),
            flags: concat!("build.", $flags),
            debug_flags: concat!("build.", $flags, "_debug"),
            release_flags: concat!("build.", $flags, "_opt"),
            last_flags: concat!("build.", $flags, "_append"),
        }
    };
}

/// Without -ffinite-math-only, by which std::isnan would be false for NaN.
const GNU_RELEASE: &str = "-O3 -fno-math-errno -fno-trapping-math";

/// All languages; the first is the default.
pub const LANGUAGES: &[Language] = &[
    Language {
        name: "cxx",
        title: "C++",
        keys: keys!("cxx", "cxxflags"),
        compiler_variable: "CXX",
        compiler: "c++",
        flags: "-Wall -shared -fPIC -std=c++11",
        debug_flags: "-g -O0",
        release_flags: GNU_RELEASE,
        suffixes: &[".cpp", ".cc", ".cxx", ".C"],
        dialect: "c++",
        shared_flags: &[&["-fPIC", "-fpic"], &["-shared"]],
        own_statics: &["-fno-gnu-unique", "-fgnu-unique"],
        linker_prefix: "-Wl,",
        libs: &[],
        drivers: &["c++", "g++", "clang++", "mpicxx", "mpic++"],
        depfile_options: &["-MD", "-MF"],
        module_suffix: "",
        has_pch: true,
    },
    Language {
        name: "c",
        title: "C",
        keys: keys!("cc", "cflags"),
        compiler_variable: "CC",
        compiler: "cc",
        flags: "-Wall -shared -fPIC -std=c17",
        debug_flags: "-g -O0",
        release_flags: GNU_RELEASE,
        suffixes: &[".c"],
        dialect: "c",
        shared_flags: &[&["-fPIC", "-fpic"], &["-shared"]],
        own_statics: &[],
        linker_prefix: "-Wl,",
        libs: &["m"],
        drivers: &["cc", "gcc", "clang", "mpicc"],
        depfile_options: &["-MD", "-MF"],
        module_suffix: "",
        has_pch: true,
    },
    Language {
        name: "fortran",
        title: "Fortran",
        keys: keys!("fc", "fcflags"),
        compiler_variable: "FC",
        compiler: "gfortran",
        flags: "-Wall -shared -fPIC -std=f2018",
        debug_flags: "-g -O0",
        // Fortran's functions do not set errno, and flang knows no option about traps.
        release_flags: "-O3",
        // Free form, preprocessed: gfortran writes dependency files for preprocessed sources only.
        suffixes: &[".F90", ".F95", ".F03", ".F08"],
        dialect: "f95-cpp-input",
        shared_flags: &[&["-fPIC", "-fpic"], &["-shared"]],
        own_statics: &[],
        linker_prefix: "-Wl,",
        libs: &[],
        drivers: &["gfortran", "flang", "mpifort", "mpif90"],
        depfile_options: &["-MD", "-MF"],
        module_suffix: ".mod",
        has_pch: false,
    },
];

/// The names of all languages, as `build.language` takes them.
pub const NAMES: [&str; LANGUAGES.len()] = {
    let mut names = [""; LANGUAGES.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = LANGUAGES[at].name;
        at += 1;
    }
    names
};

impl Language {
    /// Returns the language of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        LANGUAGES.iter().find(|language| language.name == name)
    }

    /// Returns the end of the names of generated sources.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        self.suffixes[0]
    }
}

/// Returns the ends of names of generated sources, of all languages.
#[must_use]
pub fn suffixes() -> Vec<&'static str> {
    LANGUAGES.iter().map(Language::suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_differ_in_names_keys_and_suffixes() {
        let distinct = |of: fn(&Language) -> &'static str| {
            let all: HashSet<_> = LANGUAGES.iter().map(of).collect();
            all.len() == LANGUAGES.len() && !all.contains("")
        };
        assert!(distinct(|language| language.name) && distinct(|language| language.compiler_variable));
        assert!(distinct(|language| language.keys.compiler) && distinct(|language| language.keys.flags));
        assert!(distinct(|language| language.suffix()));
    }
}
