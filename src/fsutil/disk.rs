//! Properties of the file system of a directory, and of its path.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

/// Returns the first token in a path that the dynamic loader would substitute, such as `$ORIGIN`.
#[must_use]
pub fn loader_token(path: &Path) -> Option<&'static str> {
    const TOKENS: [&str; 6] = ["$ORIGIN", "${ORIGIN}", "$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}"];
    let bytes = path.as_os_str().as_encoded_bytes();
    // Few paths have one.
    if !bytes.contains(&b'$') {
        return None;
    }
    TOKENS.into_iter().find(|token| bytes.windows(token.len()).any(|part| part == token.as_bytes()))
}

/// Tells if a directory is on a disk of this host. False for file systems that are not in the list.
#[must_use]
pub fn is_local(dir: &Path) -> bool {
    // ext2 to 4, XFS, Btrfs, tmpfs, overlay, ZFS, F2FS.
    const LOCAL: [u64; 7] =
        [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010];
    // The number has 32 bits; its type differs between processors.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    rustix::fs::statfs(dir).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u64 & 0xFFFF_FFFF)))
}

/// Returns the free bytes of a directory in memory (tmpfs); `None` for other file systems.
#[must_use]
pub fn free_bytes_in_memory(dir: &Path) -> Option<u64> {
    const TMPFS: u64 = 0x0102_1994;
    // The types of the numbers differ between processors.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "as above")]
    rustix::fs::statfs(dir)
        .ok()
        .filter(|stat| stat.f_type as u64 & 0xFFFF_FFFF == TMPFS)
        .map(|stat| (stat.f_bavail as u64).saturating_mul(stat.f_bsize as u64))
}

/// Returns the bytes that this user can still write to the file system of a directory.
///
/// # Errors
/// Any I/O error.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
