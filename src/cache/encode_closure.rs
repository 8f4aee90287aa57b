//! Encodes the transitive dependency closure of an entry into one buffer, into which its files are read
//! directly.
//!
//! Libraries may be large, and a sender must not hold one twice. So the records at the ends of the libraries
//! are read first: they name the other entries, and the sizes of the files give the size of the buffer. The
//! bytes in the buffer are what is verified.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::codec::Writer;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

use super::record::{self, EntryRecord};
use super::walk::DependencyWalk;
use super::{Cache, altered_header, closure, file_digest, missing, unread};

impl Cache {
    /// Reads an entry with everything that has to travel with it, as the blob of a [`closure::Closure`].
    ///
    /// # Errors
    /// [`Kind::Cache`] if a file of it is missing, cannot be read or is invalid, or there is not enough
    /// memory.
    pub fn pack(&self, signature: &str) -> Result<Vec<u8>> {
        let entries = DependencyWalk::default().visit(signature, |signature| self.encoded_size(signature));
        let entries = entries.map_err(|stopped| stopped.error)?;
        // The kind of the payload, and the number of entries.
        let payload = entries.iter().map(|(_, size)| *size).fold(4 + 8, usize::saturating_add);
        let mut blob = closure::begin(payload)?;
        blob.u32(0);
        blob.u64(entries.len() as u64);
        let expected: HashSet<&str> = entries.iter().map(|(signature, _)| signature.as_str()).collect();
        for (signature, _) in &entries {
            let record = self.pack_entry(signature, &mut blob)?;
            // Another program may have replaced the library since its end was read.
            if !record.needs().all(|needed| expected.contains(needed)) {
                let path = self.layout.lib(signature);
                let text = format!("{} was replaced while it was read; run again", path.display());
                return Err(Error::new(Kind::Cache, text));
            }
        }
        Ok(closure::end(blob.finish()))
    }

    /// Computes the bytes of an entry in a blob, by the sizes of its files; gives the signatures that it
    /// needs as well.
    fn encoded_size(&self, signature: &str) -> Result<(usize, Vec<String>)> {
        let path = self.layout.lib(signature);
        let file = fsutil::open_trusted(&path).map_err(|error| unread(&path, error))?;
        let file = file.ok_or_else(|| missing(&path))?;
        let cannot = |error| Error::io("cannot read", &path, &error);
        let record = record::read_record_tail(&file).map_err(cannot)?.record();
        let record = record.ok_or_else(|| missing(&path))?;
        let library = file.metadata().map_err(cannot)?.len();
        // The buffer grows if a file is longer in the end.
        let size = |path: &Path| fs::symlink_metadata(path).map_or(0, |facts| facts.len());
        let source = self.sources(signature).into_iter().map(|(path, _)| size(&path)).find(|size| *size > 0);
        let header = record.header.as_ref().map_or(0, |header| header.size);
        let files = [library, header, source.unwrap_or(0), size(&self.layout.log(signature))];
        let fields = 2 * 8 + 3 * (4 + 8) + signature.len();
        let files = files.into_iter().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        Ok((files.fold(fields, usize::saturating_add), record.needs().map(str::to_owned).collect()))
    }

    fn pack_entry(&self, signature: &str, blob: &mut Writer) -> Result<EntryRecord> {
        blob.bytes(signature.as_bytes());
        let path = self.layout.lib(signature);
        let library = blob.written().len() + 8;
        blob.bytes_by(|all| read_onto(&path, all))?;
        let record = record::open(&blob.written()[library..], signature).map_err(|_| missing(&path))?;
        match &record.header {
            Some(expected) => {
                let path = self.layout.inc(signature);
                blob.u32(1);
                let header = blob.written().len() + 8;
                blob.bytes_by(|all| read_onto(&path, all))?;
                if file_digest(&blob.written()[header..]) != *expected {
                    return Err(altered_header(&path));
                }
            }
            None => blob.u32(0),
        }
        // Sources and logs are for people: an entry is valid without them.
        optional_file(blob, &self.sources(signature));
        optional_file(blob, &[(self.layout.log(signature), false)]);
        Ok(record)
    }

    /// The paths of a source, and whether it is compressed there.
    fn sources(&self, signature: &str) -> [(PathBuf, bool); 2] {
        [true, false].map(|packed| (self.layout.src(signature, packed), packed))
    }
}

/// Appends the first of these files that can be read, else the mark of an absent file.
fn optional_file(blob: &mut Writer, places: &[(PathBuf, bool)]) {
    let before = blob.written().len();
    for (path, packed) in places {
        blob.u32(1 + u32::from(*packed));
        if blob.bytes_by(|all| read_onto(path, all)).is_ok() {
            return;
        }
        blob.truncate(before);
    }
    blob.u32(0);
}

fn read_onto(path: &Path, all: &mut Vec<u8>) -> Result<()> {
    let found = fsutil::read_trusted_onto(path, all).map_err(|error| unread(path, error))?;
    found.map(drop).ok_or_else(|| missing(path))
}
