//! Differences between two builds, as values and in words.

#![forbid(unsafe_code)]

use serde::Serialize;

/// A component of a signature, or a file that makes an entry of that signature invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// `cache.signature`.
    SignatureMode,
    /// `build.language`.
    Language,
    /// `build.debug`.
    Debug,
    /// The compiler command.
    CompilerCommand,
    /// The identity of the compiler.
    Compiler,
    /// The target machine.
    Target,
    /// The instruction sets that flags such as `-march=native` stand for.
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
    /// The noun for it.
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
    /// The component.
    pub component: Component,
    /// The key of a generator parameter or the path of a header, for example.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// The value before; `None` if it is new.
    pub before: Option<String>,
    /// The value now; `None` if it is gone.
    pub after: Option<String>,
    /// The difference in words.
    pub text: String,
}

impl Difference {
    /// Makes the difference of a value.
    pub(super) fn changed(component: Component, what: &str, before: &str, after: &str) -> Self {
        let noun = component.noun();
        let blank = if what.is_empty() { "" } else { " " };
        let text = format!("{noun}{blank}{what}: {} -> {}", shown(before), shown(after));
        Self::new(component, what, Some(before), Some(after), text)
    }

    /// Makes the difference of a word that is new or gone.
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
