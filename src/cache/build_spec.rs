//! The build parameters of an entry: parts of its signature, stored one by one so that two builds can be
//! compared.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::params::resolved::BuildParams;

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
