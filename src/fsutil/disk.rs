//! What the file system of a directory is like.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

/// The word in a path that a dynamic loader would replace by something else, if there is one.
#[must_use]
pub fn word_of_loader(path: &Path) -> Option<&'static str> {
    const WORDS: [&str; 6] = ["$ORIGIN", "${ORIGIN}", "$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}"];
    let bytes = path.as_os_str().as_encoded_bytes();
    // Hardly any path has one.
    if !bytes.contains(&b'$') {
        return None;
    }
    WORDS.into_iter().find(|word| bytes.windows(word.len()).any(|part| part == word.as_bytes()))
}

/// Whether a directory is on a disk of this host, as far as the file system is known.
#[must_use]
pub fn is_local(dir: &Path) -> bool {
    // ext2 to 4, XFS, Btrfs, tmpfs, overlay, ZFS, F2FS.
    const LOCAL: [u64; 7] =
        [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010];
    // The type of the number differs between processors; the number has 32 bits.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    rustix::fs::statfs(dir).is_ok_and(|facts| LOCAL.contains(&(facts.f_type as u64 & 0xFFFF_FFFF)))
}

/// How many bytes can still be written in a directory that is kept in memory; `None` of any other.
#[must_use]
pub fn room_in_memory(dir: &Path) -> Option<u64> {
    const TMPFS: u64 = 0x0102_1994;
    // The types of the numbers differ between processors.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    rustix::fs::statfs(dir)
        .ok()
        .filter(|facts| facts.f_type as u64 & 0xFFFF_FFFF == TMPFS)
        .map(|facts| (facts.f_bavail as u64).saturating_mul(facts.f_bsize as u64))
}

/// How many bytes this user can still write in a directory.
///
/// # Errors
/// Those of the file system.
pub fn room(dir: &Path) -> io::Result<u64> {
    let facts = rustix::fs::statvfs(dir)?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}
