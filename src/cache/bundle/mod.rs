//! Bundles: entries with all that they need in one file, for machines without a compiler.
//!
//! ```text
//! bundle    := a tar file with these members in this order, see the module `tar`
//!                dijitso-bundle.json       the manifest, see Manifest
//!                for each entry            dependencies first
//!                  lib/libdijitso-<signature>.so
//!                  include/<signature>.h   src/<signature>.cpp.gz   log/<signature>.txt      if they exist
//!                toolchain/<key>           what compilers have said of themselves: signatures depend on it
//!                dijitso-bundle.sha256     digests of all of these, as sha256sum writes them
//! ```
//! Equal entries make equal bundles. Unpacked by tar, a bundle is a cache. `import` checks everything before
//! it publishes anything, and the manifest names no paths. Libraries are not signed: import only bundles from
//! a source that you trust.

#![forbid(unsafe_code)]

mod read;
mod stream;
mod tar;
mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{digest, hex};
use crate::error::{Error, Kind};
use crate::language::{self, Language};
use crate::params::resolved::CacheParams;

use super::layout::Layout;
use super::record::{EntryRecord, FileDigest};

pub use read::{ImportOptions, ImportOutcome, ImportProgress, ImportReport, Imported, import};
pub use stream::Stream;
pub use write::{ExportProgress, Exported, Skipped, export, select};

const FORMAT: &str = "dijitso bundle 2";
const MANIFEST: &str = "dijitso-bundle.json";
const DIGESTS: &str = "dijitso-bundle.sha256";

/// The longest manifest: 64 MiB.
const LONGEST_MANIFEST: u64 = 64 << 20;

/// The largest number of entries.
const MOST_ENTRIES: usize = 65_536;

const LIB_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The table of contents of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: String,
    /// The version of dijitso that made it.
    dijitso: String,
    naming: Naming,
    entries: Vec<BundleEntry>,
    toolchains: Vec<ToolchainFile>,
}

/// The names of files. Libraries name each other, so import cannot change them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Naming {
    lib_prefix: String,
    lib_basename: String,
    lib_postfix: String,
    inc_postfix: String,
    log_postfix: String,
}

impl Naming {
    fn of(params: &CacheParams) -> Self {
        Self {
            lib_prefix: params.lib_prefix.clone(),
            lib_basename: params.lib_basename.clone(),
            lib_postfix: params.lib_postfix.clone(),
            inc_postfix: params.inc_postfix.clone(),
            log_postfix: params.log_postfix.clone(),
        }
    }

    /// The parameters of a cache with these names and the directories of a bundle.
    fn params(&self, like: &CacheParams, src_postfix: &str) -> CacheParams {
        CacheParams {
            inc_dir: "include".to_owned(),
            src_dir: "src".to_owned(),
            lib_dir: "lib".to_owned(),
            log_dir: "log".to_owned(),
            inc_postfix: self.inc_postfix.clone(),
            src_postfix: src_postfix.to_owned(),
            log_postfix: self.log_postfix.clone(),
            lib_postfix: self.lib_postfix.clone(),
            lib_prefix: self.lib_prefix.clone(),
            lib_basename: self.lib_basename.clone(),
            ..like.clone()
        }
    }
}

/// An entry in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BundleEntry {
    signature: String,
    name: String,
    needs: Vec<String>,
    target: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    isa: String,
    library: FileDigest,
    header: Option<FileDigest>,
    source: Option<BundleSource>,
    log: Option<FileDigest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BundleSource {
    /// The end of its name, without `.gz`.
    postfix: String,
    packed: bool,
    file: FileDigest,
}

/// The file `toolchain/<key>` with what a compiler has said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ToolchainFile {
    key: String,
    file: FileDigest,
}

/// A member of a bundle.
struct Member<'a> {
    path: String,
    mode: u32,
    file: &'a FileDigest,
    part: MemberKind,
}

/// The kind of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberKind {
    Library,
    Header,
    Source,
    Log,
    Toolchain,
}

impl BundleEntry {
    /// Returns the members in order. The postfix of the source must have been checked.
    fn members(&self, naming: &Naming, like: &CacheParams) -> Vec<Member<'_>> {
        let postfix = self.source.as_ref().map_or(".cpp", |source| source.postfix.as_str());
        let layout = Layout::new(std::path::Path::new(""), Arc::new(naming.params(like, postfix)));
        let member = |path: std::path::PathBuf, mode, file, part| Member {
            path: path.display().to_string(),
            mode,
            file,
            part,
        };
        let signature = &self.signature;
        let mut members = vec![member(layout.lib(signature), LIB_MODE, &self.library, MemberKind::Library)];
        if let Some(header) = &self.header {
            members.push(member(layout.inc(signature), FILE_MODE, header, MemberKind::Header));
        }
        if let Some(source) = &self.source {
            let path = layout.src(signature, source.packed);
            members.push(member(path, FILE_MODE, &source.file, MemberKind::Source));
        }
        if let Some(log) = &self.log {
            members.push(member(layout.log(signature), FILE_MODE, log, MemberKind::Log));
        }
        members
    }
}

impl ToolchainFile {
    fn member(&self, like: &CacheParams) -> Member<'_> {
        let layout = Layout::new(std::path::Path::new(""), Arc::new(like.clone()));
        let path = layout.toolchain(&self.key).display().to_string();
        Member { path, mode: FILE_MODE, file: &self.file, part: MemberKind::Toolchain }
    }
}

impl Manifest {
    /// Returns all members but the manifest and the digests.
    fn members<'a>(&'a self, like: &CacheParams) -> Vec<Member<'a>> {
        let entries = self.entries.iter().flat_map(|item| item.members(&self.naming, like));
        entries.chain(self.toolchains.iter().map(|toolchain| toolchain.member(like))).collect()
    }

    /// Makes the last member: lines of `sha256sum`.
    fn digests(&self, manifest: &[u8], like: &CacheParams) -> String {
        let own = format!("{}  {MANIFEST}\n", hex(&digest(manifest)));
        let line = |member: Member<'_>| format!("{}  {}\n", member.file.sha256, member.path);
        std::iter::once(own).chain(self.members(like).into_iter().map(line)).collect()
    }
}

/// Returns the end of the name of an entry's source: that of its language, unless the parameters name
/// another.
fn src_postfix(record: &EntryRecord, params: &CacheParams) -> String {
    let postfix = params.src_postfix.as_str();
    let language = Language::named(&record.build_spec.language);
    let language = language.filter(|_| language::suffixes().contains(&postfix));
    language.map_or(postfix, |language| language.suffix()).to_owned()
}

/// Makes an error about a bundle.
fn failed(text: impl Into<String>) -> Error {
    Error::new(Kind::Cache, text)
}

#[cfg(test)]
mod tests;
