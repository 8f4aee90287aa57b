//! Reads stored sources, if they are the ones that were compiled.

#![forbid(unsafe_code)]

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::codec::hex;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

use super::layout::Category;
use super::record::EntryRecord;
use super::{Cache, unread};

/// Checks that a stored source is the one that was compiled. A record without its digest accepts any that is
/// not too long.
///
/// # Errors
/// The reason why it is another one.
pub fn check_source(record: &EntryRecord, data: &[u8], packed: bool) -> std::result::Result<(), String> {
    let mut hasher = Sha256::new();
    if packed {
        let unpacked = fsutil::gunzip_parts(data, fsutil::LONGEST_TEXT, |part| {
            hasher.update(part);
            Ok(())
        });
        unpacked.map_err(|error| format!("it cannot be unpacked: {error}"))?;
    } else {
        if data.len() as u64 > fsutil::LONGEST_TEXT {
            return Err(fsutil::too_long(data.len() as u64, fsutil::LONGEST_TEXT).to_string());
        }
        hasher.update(data);
    }
    let recorded = &record.source_sha256;
    if recorded.is_empty() || hex(&hasher.finalize()) == *recorded {
        return Ok(());
    }
    Err("it is not the source that this library was built from".to_owned())
}

/// Reads a text of the cache and uncompresses it.
///
/// # Errors
/// [`Kind::Cache`] if it cannot be read or unpacked, or is longer than [`fsutil::LONGEST_TEXT`].
pub(super) fn read_text(path: &Path) -> Result<Option<Vec<u8>>> {
    let data = fsutil::read_trusted_up_to(path, fsutil::LONGEST_TEXT).map_err(|error| unread(path, error))?;
    match data {
        Some(data) if is_packed(path) => fsutil::gunzip(&data, fsutil::LONGEST_TEXT)
            .map(Some)
            .map_err(|error| damaged(path, &format!("it cannot be unpacked: {error}"))),
        other => Ok(other),
    }
}

/// Returns true if the name of a file says that it is compressed.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Cache, format!("{} is damaged: {reason}", path.display()))
}

impl Cache {
    /// Reads a file of an entry, uncompressed; a source only if it is the one that was compiled. `None` if
    /// there is no such file.
    ///
    /// # Errors
    /// [`Kind::Cache`] if it cannot be read, is too long, or is another source.
    pub(super) fn read_checked(
        &self,
        category: Category,
        signature: &str,
        path: &Path,
    ) -> Result<Option<Vec<u8>>> {
        if category == Category::Lib {
            return super::read(path);
        }
        let text = read_text(path)?;
        if let (Category::Src, Some(text)) = (category, &text)
            && let Some(record) = self.record(signature)?
        {
            check_source(&record, text, false).map_err(|reason| damaged(path, &reason))?;
        }
        Ok(text)
    }
}
