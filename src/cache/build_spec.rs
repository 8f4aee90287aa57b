//! The build parameters of an entry: parts of its signature, stored one by one so that two builds can be
//! compared.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::language::{Language, NAMES};
use crate::params::resolved::BuildParams;
use crate::process::join;

/// The build parameters that the signature of an entry depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// `cxx` or `c`.
    pub language: String,
    /// The compiler and its own arguments.
    pub compiler: Vec<String>,
    /// Flags of the language and the mode.
    pub flags: Vec<String>,
    /// Directories for headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_dirs: Vec<String>,
    /// Directories for libraries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lib_dirs: Vec<String>,
    /// Directories for libraries at load time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rpath_dirs: Vec<String>,
    /// Libraries to link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libs: Vec<String>,
    /// Debug flags rather than release flags.
    #[serde(default)]
    pub debug: bool,
    /// The kind of processor that flags such as `-march=native` stood for; empty if there was no such flag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
}

impl BuildSpec {
    /// Returns the parameters that are not the defaults, as text for
    /// [`Params::set`](crate::params::Params::set): they resolve to this again. Flags that begin with the
    /// default ones become additional ones.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        let Some(language) = Language::named(&self.language) else { return settings };
        let keys = &language.keys;
        let mut set = |key: &str, words: &[String]| settings.insert(key.to_owned(), join(words));
        if self.language != NAMES[0] {
            set("build.language", std::slice::from_ref(&self.language));
        }
        if self.debug {
            set("build.debug", &["true".to_owned()]);
        }
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        if self.compiler != words(language.compiler) {
            set(keys.compiler, &self.compiler);
        }
        let (of_mode, mode_key) = if self.debug {
            (language.debug_flags, keys.debug_flags)
        } else {
            (language.release_flags, keys.release_flags)
        };
        let default = [words(language.flags), words(of_mode)].concat();
        match self.flags.strip_prefix(&default[..]) {
            Some([]) => {}
            Some(more) => drop(set(keys.last_flags, more)),
            None => {
                set(keys.flags, &self.flags);
                set(mode_key, &[]);
            }
        }
        let lists = [
            ("build.include_dirs", &self.include_dirs),
            ("build.lib_dirs", &self.lib_dirs),
            ("build.rpath_dirs", &self.rpath_dirs),
            ("build.libs", &self.libs),
        ];
        for (key, words) in lists.into_iter().filter(|(_, words)| !words.is_empty()) {
            set(key, words);
        }
        settings
    }

    /// Takes the build parameters that matter; `cpu` is the kind of processor, if flags stand for it.
    #[must_use]
    pub fn new(params: &BuildParams, cpu: &str) -> Self {
        Self {
            language: params.language.name.to_owned(),
            compiler: params.compiler.clone(),
            flags: params.flags.clone(),
            include_dirs: params.include_dirs.clone(),
            lib_dirs: params.lib_dirs.clone(),
            rpath_dirs: params.rpath_dirs.clone(),
            libs: params.libs.clone(),
            debug: params.debug,
            cpu: cpu.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Writer;
    use crate::params::Params;
    use proptest::prelude::*;

    fn build(settings: &[(&str, &str)]) -> BuildParams {
        Params::for_test(settings).resolve().unwrap().build
    }

    fn key(params: &BuildParams) -> Vec<u8> {
        let mut writer = Writer::default();
        params.write(&mut writer);
        writer.finish()
    }

    #[test]
    fn settings_name_what_is_not_the_default() {
        let of = |settings: &[(&str, &str)]| -> Vec<(String, String)> {
            BuildSpec::new(&build(settings), "").settings().into_iter().collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[("build.defines", "B A=1")]), pairs(&[("build.cxxflags_append", "-DB -DA=1")]));
        let other = [("build.language", "c"), ("build.cflags", "-O1"), ("build.libs", "m")];
        let flags = format!("-shared -fPIC -O1 {}", crate::language::LANGUAGES[1].release_flags);
        let expected = [
            ("build.cflags", flags.as_str()),
            ("build.cflags_opt", ""),
            ("build.language", "c"),
            ("build.libs", "m"),
        ];
        assert_eq!(of(&other), pairs(&expected));
    }

    proptest! {
        #[test]
        fn settings_build_the_same(
            language in proptest::sample::select(NAMES.to_vec()),
            debug in any::<bool>(),
            texts in prop::collection::vec(
                "(-O[123] |-fPIC |-DX='a b' |-I/x |g\\+\\+ |/a/b |\\$ORIGIN |m ){0,3}", 9,
            ),
            set in prop::collection::vec(any::<bool>(), 9),
        ) {
            let keys = &Language::named(language).unwrap().keys;
            let names = [
                keys.flags, keys.debug_flags, keys.release_flags, keys.last_flags, keys.compiler,
                "build.include_dirs", "build.lib_dirs", "build.rpath_dirs", "build.libs",
            ];
            let debug = if debug { "true" } else { "false" };
            let mut settings = vec![("build.language", language), ("build.debug", debug)];
            let chosen = names.into_iter().zip(&texts).zip(set).filter(|(_, set)| *set);
            settings.extend(chosen.map(|((name, text), _)| (name, text.as_str())));
            settings.retain(|(name, text)| *name != keys.compiler || !text.is_empty());
            let params = build(&settings);
            let again = BuildSpec::new(&params, "").settings();
            let again: Vec<(&str, &str)> =
                again.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            prop_assert_eq!(key(&build(&again)), key(&params), "{:?}", again);
            // So do the settings that differ from the defaults.
            let changed = Params::for_test(&settings).resolve().unwrap().compared.changed_settings();
            let changed: Vec<(&str, &str)> =
                changed.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            prop_assert_eq!(key(&build(&changed)), key(&params), "{:?}", changed);
        }
    }
}
