//! The lookup of an entry: its library, everything that it is linked to, and the files that the builds have
//! read.

#![forbid(unsafe_code)]

use std::fs;
use std::ops::Deref;

use crate::error::{Error, Result};
use crate::fsutil::PathTrust;
use crate::inputs::{Input, InputState};

use super::load_order::{self, OwnDigest};
use super::record::{self, EntryRecord, FileDigest, Invalid, LoadRecord};
use super::walk::{DependencyWalk, Stopped};
use super::{Cache, VerifiedLib, file_digest, read};

/// The depth of verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// For loading: digests of the libraries, sizes of the headers.
    ForLoad,
    /// For linking to the entry or sending it on: also digests of the headers, and entries that it needs
    /// besides.
    ForLink,
}

/// An entry that was looked up, as its verified libraries: dependencies first, the entry itself last.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedEntry {
    /// The libraries.
    pub libs: Vec<VerifiedLib>,
    /// Trust in the directory of libraries, checked before they were opened; `None` if it is not known here.
    /// See [`Cache::lib_dir_trust`].
    pub lib_dir: Option<PathTrust>,
}

impl Deref for VerifiedEntry {
    type Target = [VerifiedLib];

    fn deref(&self) -> &Self::Target {
        &self.libs
    }
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// It can be used.
    Hit(VerifiedEntry),
    /// There is no such library.
    Miss,
    /// There is one that is not used.
    Damaged(Invalid),
}

/// Why an entry is no hit.
enum NoHit {
    Miss,
    Invalid(Invalid),
    Failed(Error),
}

impl From<Error> for NoHit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Invalid> for NoHit {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl Cache {
    /// Looks up an entry and everything that it is linked to.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if a file is there and cannot be read, or another user could have put it
    /// there.
    pub fn lookup(&self, signature: &str, verify: Verify) -> Result<Lookup> {
        self.lookup_keeping(self.check_trust()?, signature, verify, &mut |_, _| {})
    }

    /// Does the same as [`Cache::lookup`], and gives `keep` the files of the libraries that it has read.
    /// `lib_dir` is the result of [`Cache::check_trust`], which a batch of lookups needs once.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn lookup_keeping(
        &self,
        lib_dir: PathTrust,
        signature: &str,
        verify: Verify,
        keep: &mut dyn FnMut(&str, Vec<u8>),
    ) -> Result<Lookup> {
        let verify = |signature: &str| self.verify(signature, verify, keep);
        let found = DependencyWalk::default().visit(signature, verify);
        match found {
            Ok(libraries) => Ok(Lookup::Hit(VerifiedEntry {
                libs: load_order::verified(libraries),
                lib_dir: Some(lib_dir),
            })),
            Err(Stopped { error: NoHit::Failed(error), .. }) => Err(error),
            Err(Stopped { path, .. }) if path.len() > 1 => Ok(Lookup::Damaged(Invalid::Dependency)),
            Err(Stopped { error: NoHit::Invalid(invalid), .. }) => Ok(Lookup::Damaged(invalid)),
            Err(Stopped { error: NoHit::Miss, .. }) => Ok(Lookup::Miss),
        }
    }

    /// Verifies one entry. Gives the signatures that it needs.
    fn verify(
        &self,
        signature: &str,
        verify: Verify,
        keep: &mut dyn FnMut(&str, Vec<u8>),
    ) -> std::result::Result<(OwnDigest, Vec<String>), NoHit> {
        let file = read(&self.layout.lib(signature))?.ok_or(NoHit::Miss)?;
        let record = match verify {
            Verify::ForLoad => record::open_to_load(&file, signature)?,
            Verify::ForLink => LoadRecord::from(record::open(&file, signature)?),
        };
        let digest = record::digest_of(&file);
        keep(signature, file);
        if !self.header_matches(signature, record.header.as_ref(), verify)? {
            return Err(Invalid::Header.into());
        }
        if let Some(change) = self.stale_input(signature, &record.inputs) {
            return Err(Invalid::Input(change).into());
        }
        let build_ms = record.build_ms();
        let LoadRecord { dependencies, nested, .. } = record;
        let mut needs = dependencies.clone();
        // An entry that was only built besides has to be there to travel, not to load.
        if verify == Verify::ForLink {
            needs.extend(nested);
        }
        Ok((OwnDigest { digest, dependencies, build_ms }, needs))
    }

    pub(super) fn header_matches(
        &self,
        signature: &str,
        expected: Option<&FileDigest>,
        verify: Verify,
    ) -> Result<bool> {
        let Some(expected) = expected else { return Ok(true) };
        let path = self.layout.inc(signature);
        if verify == Verify::ForLoad {
            return Ok(fs::metadata(&path).is_ok_and(|facts| facts.len() == expected.size));
        }
        Ok(read(&path)?.is_some_and(|header| file_digest(&header) == *expected))
    }

    /// Says which of the files that the build has read has changed, if `cache.check_inputs` asks for it.
    ///
    /// A file that is gone does not count: a cache that was filled where the headers are installed has to
    /// serve where they are not. The loader reports a linked library that is gone.
    pub(super) fn stale_input(&self, signature: &str, inputs: &[Input]) -> Option<String> {
        if !self.layout.params().tracks_inputs() {
            return None;
        }
        let mut gone = Vec::new();
        for input in inputs {
            match input.state() {
                InputState::Same => {}
                InputState::Gone(reason) => gone.push(reason),
                InputState::Changed(change) => return Some(change),
            }
        }
        if let Some(first) = gone.first() {
            let number = gone.len();
            log::info!("{signature} is used, although {number} of its inputs are gone: {first}");
        }
        None
    }

    /// The files that the build has read and that have changed, with the change in words, if
    /// `cache.check_inputs` asks for it.
    pub(super) fn changed_inputs<'a>(
        &self,
        record: &'a EntryRecord,
    ) -> impl Iterator<Item = (&'a Input, String)> {
        let tracked = self.layout.params().tracks_inputs();
        let change = |input: &'a Input| match input.state() {
            InputState::Changed(change) => Some((input, change)),
            InputState::Same | InputState::Gone(_) => None,
        };
        record.inputs.iter().filter(move |_| tracked).filter_map(change)
    }
}
