//! Bundles that can be read only once, as from a pipe.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use crate::error::Result;
use crate::params::resolved::CacheParams;

use super::read::{check_manifest, read_manifest, refused};
use super::{DIGESTS, FILE_MODE, MANIFEST, tar};

/// The beginning of a bundle, and the length of the rest.
pub struct Stream {
    begin: Vec<u8>,
    rest: u64,
}

impl Stream {
    /// Reads the manifest.
    ///
    /// # Errors
    /// [`crate::error::Kind::Cache`] if it is not the manifest of a bundle.
    pub fn begin(from: &mut dyn Read, like: &CacheParams) -> Result<Self> {
        let mut from = from;
        let (manifest, text) = read_manifest(&mut from).map_err(refused)?;
        check_manifest(&manifest, like).map_err(refused)?;
        let mut begin = tar::front(MANIFEST, text.len() as u64, FILE_MODE);
        begin.extend(&text);
        begin.extend(tar::padding(text.len() as u64));
        // No overflow: sizes are limited, and so is their number.
        let length = |path: &str, size: u64| {
            (tar::front(path, size, FILE_MODE).len() + tar::padding(size).len()) as u64 + size
        };
        let members = manifest.members(like);
        let members: u64 = members.iter().map(|member| length(&member.path, member.file.size)).sum();
        let digests = manifest.digests(&text, like).len() as u64;
        Ok(Self { begin, rest: members + length(DIGESTS, digests) + tar::END.len() as u64 })
    }

    /// The size of the bundle in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.begin.len() as u64 + self.rest
    }

    /// Copies the bundle, and at most one byte after it.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn copy(&self, from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.begin)?;
        io::copy(&mut from.take(self.rest + 1), to).map(drop)
    }
}
