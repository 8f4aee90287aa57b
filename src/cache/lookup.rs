//! The lookup of an entry: its library, everything that it is linked to, and the files that the builds have
//! read.

#![forbid(unsafe_code)]

use std::fs;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::fsutil::{self, FileStamp, PathTrust};
use crate::inputs::{self, Input, InputState, InputsState};
use crate::sync::try_lock;

use super::load_order::{self, OwnDigest};
use super::record::{self, EntryRecord, FileDigest, Invalid};
use super::run_pack::RunPack;
use super::verified::{self, Known};
use super::walk::{DependencyWalk, Stopped};
use super::{Cache, VerifiedLib, file_digest, read, unread};

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

/// Receives the signature, the file and its stamp before it was read, of each library.
pub type Keep<'a> = &'a mut dyn FnMut(&str, Vec<u8>, FileStamp);

/// The places that a lookup reads libraries from besides their files, and their receiver.
#[derive(Default)]
struct LibrarySource<'a> {
    pack: Option<&'a RunPack>,
    keep: Option<Keep<'a>>,
}

/// Memory that libraries are read into, one after the other: fresh memory takes a page fault for each page.
struct ReadBuffer(Vec<u8>);

/// The largest buffer that is kept.
const MOST_KEPT: usize = 1 << 20;

static READ_BUFFER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl ReadBuffer {
    fn take() -> Self {
        Self(try_lock(&READ_BUFFER).map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default())
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if self.0.capacity() <= MOST_KEPT
            && let Some(mut kept) = try_lock(&READ_BUFFER)
        {
            self.0.clear();
            *kept = std::mem::take(&mut self.0);
        }
    }
}

impl Cache {
    /// Looks up an entry and everything that it is linked to.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if a file is there and cannot be read, or another user could have put it
    /// there.
    pub fn lookup(&self, signature: &str, verify: Verify) -> Result<Lookup> {
        self.lookup_in(self.check_trust()?, signature, verify)
    }

    /// Does the same as [`Cache::lookup`]. `lib_dir` is the result of [`Cache::check_trust`], which a batch of
    /// lookups needs once.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn lookup_in(&self, lib_dir: PathTrust, signature: &str, verify: Verify) -> Result<Lookup> {
        self.look_up(lib_dir, signature, verify, LibrarySource::default())
    }

    /// Does the same as [`Cache::lookup_in`], and gives `keep` the files of the libraries, which are read again
    /// even if this process has verified them before.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub fn lookup_keeping(
        &self,
        lib_dir: PathTrust,
        signature: &str,
        verify: Verify,
        keep: Keep<'_>,
    ) -> Result<Lookup> {
        self.look_up(lib_dir, signature, verify, LibrarySource { pack: None, keep: Some(keep) })
    }

    /// Does the same for loading, and takes from a pack what it has.
    ///
    /// # Errors
    /// As [`Cache::lookup`].
    pub(super) fn lookup_packed(
        &self,
        lib_dir: PathTrust,
        signature: &str,
        pack: Option<&RunPack>,
        keep: Keep<'_>,
    ) -> Result<Lookup> {
        self.look_up(lib_dir, signature, Verify::ForLoad, LibrarySource { pack, keep: Some(keep) })
    }

    fn look_up(
        &self,
        lib_dir: PathTrust,
        signature: &str,
        verify: Verify,
        mut source: LibrarySource<'_>,
    ) -> Result<Lookup> {
        let verify = |signature: &str| self.verify(signature, verify, &mut source);
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
        source: &mut LibrarySource<'_>,
    ) -> std::result::Result<(OwnDigest, Vec<String>), NoHit> {
        let packed = self.packed_library(signature, source);
        let has_header = packed.is_some() && source.pack.is_some_and(RunPack::is_fresh);
        let Known { digest, record } =
            packed.map_or_else(|| self.verified_library(signature, verify, source), Ok)?;
        if !has_header && !self.header_matches(signature, record.header.as_ref(), verify)? {
            return Err(Invalid::Header.into());
        }
        if self.layout.params().tracks_inputs()
            && let Some(change) = stale_input(signature, record.inputs.state())
        {
            return Err(Invalid::Input(change).into());
        }
        let mut needs = record.dependencies.clone();
        // An entry that was only built besides has to be there to travel, not to load.
        if verify == Verify::ForLink {
            needs.extend(record.nested.iter().cloned());
        }
        let (dependencies, build_ms) = (record.dependencies.clone(), record.build_ms());
        Ok((OwnDigest { digest, dependencies, build_ms }, needs))
    }

    /// Returns a library of the pack, if its file is the one that was packed.
    fn packed_library(&self, signature: &str, source: &mut LibrarySource<'_>) -> Option<Known> {
        let (file, stamp) = source.pack?.library(self, signature)?;
        let record = Arc::new(record::open_to_load(file, signature).ok()?);
        if let Some(keep) = &mut source.keep {
            keep(signature, file.to_vec(), stamp);
        }
        Some(Known { digest: record::digest_of(file), record })
    }

    /// Returns a library whose bytes have been verified: before, if its file is the same as then, or now.
    fn verified_library(
        &self,
        signature: &str,
        verify: Verify,
        source: &mut LibrarySource<'_>,
    ) -> std::result::Result<Known, NoHit> {
        let path = self.layout.lib(signature);
        let keep = &mut source.keep;
        if keep.is_none()
            && let Some(known) = verified::recall(&path).filter(|known| known.record.is_of(signature))
        {
            return Ok(known);
        }
        let mut file = if keep.is_some() { ReadBuffer(Vec::new()) } else { ReadBuffer::take() };
        let state = fsutil::read_trusted_onto(&path, &mut file.0).map_err(|error| unread(&path, error))?;
        let state = state.ok_or(NoHit::Miss)?;
        let record = match verify {
            Verify::ForLoad => record::open_to_load(&file.0, signature)?,
            Verify::ForLink => {
                // The entry is to be sent on, so all of its record is read.
                record::open(&file.0, signature)?;
                record::open_to_load(&file.0, signature)?
            }
        };
        let known = Known { digest: record::digest_of(&file.0), record: Arc::new(record) };
        verified::remember(&path, state, &known);
        if let Some(keep) = keep {
            keep(signature, std::mem::take(&mut file.0), state.stamp);
        }
        Ok(known)
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
    pub(super) fn stale_input(&self, signature: &str, inputs: &[Input]) -> Option<String> {
        if !self.layout.params().tracks_inputs() {
            return None;
        }
        stale_input(signature, inputs::state(inputs))
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

/// Returns the change of an input.
///
/// A file that is gone does not count: a cache that was filled where the headers are installed has to serve
/// where they are not. The loader reports a linked library that is gone.
fn stale_input(signature: &str, state: InputsState) -> Option<String> {
    match state {
        InputsState::Same => None,
        InputsState::Gone { first, count } => {
            log::info!("{signature} is used, although {count} of its inputs are gone: {first}");
            None
        }
        InputsState::Changed(change) => Some(change),
    }
}
