//! Properties of the file system of a directory, and of its path.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
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

/// Tells if a directory seems to be on a disk of this host, by the mount that its path is below. Does not
/// touch the directory, and knows no symbolic links: a guess. False for file systems that are not in the
/// list.
#[must_use]
pub fn seems_local(dir: &Path) -> bool {
    std::fs::read("/proc/self/mountinfo").is_ok_and(|mounts| is_below_local(&mounts, dir))
}

fn is_below_local(mounts: &[u8], dir: &Path) -> bool {
    const LOCAL: [&[u8]; 9] =
        [b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"tmpfs", b"overlay", b"zfs", b"f2fs"];
    // Number, parent, device, root, mount point, options, "-", type. Later mounts hide earlier ones.
    let mount = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let point = Path::new(OsStr::from_bytes(words.nth(4)?)).to_owned();
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        dir.starts_with(&point).then(|| (point.components().count(), LOCAL.contains(&kind)))
    };
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(mount);
    mounts.max_by_key(|(depth, _)| *depth).is_some_and(|(_, local)| local)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_found() {
        const MOUNTS: &str = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
            30 22 0:50 / /home rw - nfs4 server:/home rw\n\
            31 30 0:51 / /home/me/fast rw,noatime master:1 shared:2 - xfs /dev/sdb rw\n\
            32 22 0:52 / /scratch rw - ext4 /dev/sdc rw\n\
            33 22 0:53 / /scratch rw - lustre mds:/scratch rw\n";
        let is_local = |dir: &str| is_below_local(MOUNTS.as_bytes(), Path::new(dir));
        for (dir, expected) in [
            ("/", true),
            ("/tmp/cache", true),
            ("/home", false),
            ("/homes", true),
            ("/home/me/cache", false),
            ("/home/me/fast/cache", true),
            ("/scratch/me", false),
        ] {
            assert_eq!(is_local(dir), expected, "{dir}");
        }
        assert!(!is_below_local(b"", Path::new("/")));
        assert!(!is_below_local(b"1 2 3\n - \n", Path::new("/")));
    }

    #[test]
    fn the_guess_is_right_for_memory() {
        let shm = Path::new("/dev/shm");
        assert_eq!(seems_local(shm), is_local(shm));
    }
}
