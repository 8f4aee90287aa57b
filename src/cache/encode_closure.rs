//! From the files of a closure to the blob that travels: one buffer, into which the files are read where they belong.
//!
//! Libraries may be large, and who sends one must not hold it twice. So the ends of the libraries are read first, which
//! say what else is needed; the sizes of the files tell how much room to ask for. What is checked is what lies in the
//! buffer then.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::codec::Writer;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

use super::record::{self, EntryRecord};
use super::{Cache, altered_header, closure, file_digest, missing, unread};

/// What is needed, before what needs it, and how much room all of it takes.
#[derive(Default)]
struct Plan {
    order: Vec<String>,
    payload: usize,
}

impl Cache {
    /// An entry with everything that has to travel with it, as the blob of a [`closure::Closure`].
    ///
    /// # Errors
    /// [`Kind::Cache`] when a file of it is missing, cannot be read or is damaged, or when there is not enough memory.
    pub fn pack(&self, signature: &str) -> Result<Vec<u8>> {
        // The kind of the payload, and the number of entries.
        let mut plan = Plan { order: Vec::new(), payload: 4 + 8 };
        self.plan(signature, &mut plan, &mut HashSet::new())?;
        let mut blob = closure::begin(plan.payload)?;
        blob.u32(0);
        blob.u64(plan.order.len() as u64);
        let planned: HashSet<&str> = plan.order.iter().map(String::as_str).collect();
        for signature in &plan.order {
            let record = self.pack_entry(signature, &mut blob)?;
            // Somebody may have replaced the library since its end was read.
            if !record.needs().all(|needed| planned.contains(needed)) {
                let path = self.layout.lib(signature);
                let text = format!("{} was replaced while it was read; run again", path.display());
                return Err(Error::new(Kind::Cache, text));
            }
        }
        Ok(closure::end(blob.finish()))
    }

    fn plan(&self, signature: &str, plan: &mut Plan, seen: &mut HashSet<String>) -> Result<()> {
        if !seen.insert(signature.to_owned()) {
            return Ok(());
        }
        let path = self.layout.lib(signature);
        let file = fsutil::open_trusted(&path).map_err(|why| unread(&path, why))?;
        let file = file.ok_or_else(|| missing(&path))?;
        let cannot = |error| Error::io("cannot read", &path, &error);
        let record = record::read_record_tail(&file).map_err(cannot)?.ok_or_else(|| missing(&path))?;
        let library = file.metadata().map_err(cannot)?.len();
        drop(file);
        for needed in record.needs() {
            self.plan(needed, plan, seen)?;
        }
        // More is asked for where a file is longer in the end.
        let size = |path: &Path| fs::symlink_metadata(path).map_or(0, |facts| facts.len());
        let source = self.sources(signature).into_iter().map(|(path, _)| size(&path)).find(|size| *size > 0);
        let header = record.header.map_or(0, |header| header.size);
        let files = [library, header, source.unwrap_or(0), size(&self.layout.log(signature))];
        let fields = 2 * 8 + 3 * (4 + 8) + signature.len();
        let files = files.into_iter().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        plan.payload = files.fold(plan.payload.saturating_add(fields), usize::saturating_add);
        plan.order.push(signature.to_owned());
        Ok(())
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
        // Sources and logs are for people: an entry is whole without them.
        besides(blob, &self.sources(signature));
        besides(blob, &[(self.layout.log(signature), false)]);
        Ok(record)
    }

    /// Where a source may lie, and whether it is compressed there.
    fn sources(&self, signature: &str) -> [(PathBuf, bool); 2] {
        [true, false].map(|packed| (self.layout.src(signature, packed), packed))
    }
}

/// The first of these files that can be read, or that there is none.
fn besides(blob: &mut Writer, places: &[(PathBuf, bool)]) {
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
    let there = fsutil::read_trusted_onto(path, all).map_err(|why| unread(path, why))?;
    if there { Ok(()) } else { Err(missing(path)) }
}
