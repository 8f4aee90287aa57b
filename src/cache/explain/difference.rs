//! A difference between two builds, as values and in words.

#![forbid(unsafe_code)]

use serde::Serialize;

/// All that a signature depends on, or that makes an entry of that signature useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// `cache.signature`.
    SignatureMode,
    /// `build.language`.
    Language,
    /// `build.debug`.
    Debug,
    /// The command that calls the compiler.
    CompilerCommand,
    /// What the compiler says of itself.
    Compiler,
    /// The machine that is built for.
    Target,
    /// What flags such as `-march=native` stand for.
    Isa,
    /// A flag of the compiler.
    Flag,
    /// A directory for headers.
    IncludeDir,
    /// A directory for libraries.
    LibDir,
    /// A directory for libraries at load time.
    RpathDir,
    /// A library to link.
    Lib,
    /// A generator parameter.
    Generator,
    /// The text that a call gives.
    Text,
    /// A header that the build has read.
    Header,
    /// A library that the build was linked to.
    Library,
    /// Another entry that this one needs.
    Dependency,
    /// The bytes of the entry itself.
    Entry,
    /// Nothing that was recorded.
    Unknown,
}

impl Component {
    /// What it is called in a sentence.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::SignatureMode => "cache.signature",
            Self::Language => "language",
            Self::Debug => "build.debug",
            Self::CompilerCommand => "compiler command",
            Self::Compiler => "compiler",
            Self::Target => "target",
            Self::Isa => "native flags",
            Self::Flag => "flag",
            Self::IncludeDir => "include directory",
            Self::LibDir => "library directory",
            Self::RpathDir => "rpath directory",
            Self::Lib => "library",
            Self::Generator => "generator parameter",
            Self::Text => "text",
            Self::Header => "header",
            Self::Library => "linked library",
            Self::Dependency => "dependency",
            Self::Entry => "entry",
            Self::Unknown => "signature",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In which component.
    pub component: Component,
    /// Which one, where there are several: the key of a generator parameter, the path of a header.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// What it was; `None` where it is new.
    pub before: Option<String>,
    /// What it is now; `None` where it is gone.
    pub after: Option<String>,
    /// The same in words.
    pub text: String,
}

impl Difference {
    /// A value that was another one before.
    pub(super) fn changed(component: Component, what: &str, before: &str, after: &str) -> Self {
        let noun = component.noun();
        let blank = if what.is_empty() { "" } else { " " };
        let text = format!("{noun}{blank}{what}: {} -> {}", shown(before), shown(after));
        Self::new(component, what, Some(before), Some(after), text)
    }

    /// A word that is new, or is gone.
    pub(super) fn word(component: Component, word: &str, added: bool) -> Self {
        let text = format!("{} {word} was {}", component.noun(), if added { "added" } else { "removed" });
        let (before, after) = if added { (None, Some(word)) } else { (Some(word), None) };
        Self::new(component, "", before, after, text)
    }

    pub(super) fn new(
        component: Component,
        what: &str,
        before: Option<&str>,
        after: Option<&str>,
        text: String,
    ) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self { component, what: what.to_owned(), before: owned(before), after: owned(after), text }
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}
