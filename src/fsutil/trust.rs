//! Who else can have written a file, or can put another in its place.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why what is behind these facts may have been put there by somebody else; `None` when only this user, or root, can
/// have.
#[must_use]
pub fn distrust(facts: &fs::Metadata) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    distrust_of(facts.uid(), facts.mode(), own)
}

fn distrust_of(owner: u32, mode: u32, own: u32) -> Option<String> {
    if owner != own && owner != 0 {
        return Some(format!("it belongs to user {owner}, and this is user {own}"));
    }
    let mode = mode & 0o7777;
    (mode & 0o022 != 0).then(|| format!("others can write it (mode {mode:04o}; chmod go-w)"))
}

/// How firmly a directory stands where its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not there.
    Missing,
    /// Only this user and root can put another in its place.
    Firm,
    /// It is this user's, but others can rename a directory above it: between a look at a file in it and its use,
    /// another may have taken its place.
    Loose(String),
    /// It, or a link on the way to it, is somebody else's.
    Refused(String),
}

/// Looks at a directory, at the links on the way to it and at the directories above it.
///
/// # Errors
/// Those of the file system, other than that it is not there.
pub fn standing(dir: &Path) -> io::Result<Standing> {
    let own = rustix::process::geteuid().as_raw();
    for part in dir.ancestors() {
        let Ok(facts) = fs::symlink_metadata(part) else { continue };
        if facts.is_symlink() && facts.uid() != own && facts.uid() != 0 {
            let text = format!("{} is a symbolic link of user {}", part.display(), facts.uid());
            return Ok(Standing::Refused(text));
        }
    }
    let real = match dir.canonicalize().and_then(|real| Ok((fs::metadata(&real)?, real))) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Missing),
        Err(error) => return Err(error),
    };
    let (facts, real) = real;
    if !facts.is_dir() {
        return Ok(Standing::Refused("it is not a directory".to_owned()));
    }
    if let Some(reason) = distrust(&facts) {
        return Ok(Standing::Refused(reason));
    }
    for above in real.ancestors().skip(1) {
        let facts = fs::metadata(above)?;
        if let Some(standing) = below(above, facts.uid(), facts.mode(), own) {
            return Ok(standing);
        }
    }
    Ok(Standing::Firm)
}

/// What it means to lie below a directory of this owner and mode; `None` when it means nothing.
fn below(dir: &Path, owner: u32, mode: u32, own: u32) -> Option<Standing> {
    // In a directory with the sticky bit, nobody but its owner can rename what is not theirs.
    let sticky = mode & 0o1000 != 0;
    let path = dir.display();
    if mode & 0o002 != 0 && !sticky {
        let text =
            format!("anybody can replace what is in {path} (mode {:04o}; chmod o-w or +t)", mode & 0o7777);
        return Some(Standing::Refused(text));
    }
    if owner != own && owner != 0 {
        return Some(Standing::Loose(format!("{path} belongs to user {owner}")));
    }
    (mode & 0o020 != 0 && !sticky)
        .then(|| Standing::Loose(format!("the group can replace what is in {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_others_own_or_can_write_is_not_trusted() {
        assert_eq!(distrust_of(5, 0o700, 5), None);
        assert_eq!(distrust_of(0, 0o755, 5), None);
        for (owner, mode) in [(6, 0o700), (5, 0o720), (5, 0o702), (0, 0o777)] {
            assert!(distrust_of(owner, mode, 5).is_some(), "{owner} {mode:o}");
        }
    }

    #[test]
    fn directories_above_count_by_who_can_rename_in_them() {
        let at = Path::new("/x");
        let is = |owner, mode| match below(at, owner, mode, 5) {
            None => "firm",
            Some(Standing::Loose(_)) => "loose",
            Some(_) => "refused",
        };
        assert_eq!(is(0, 0o755), "firm");
        assert_eq!(is(5, 0o755), "firm");
        assert_eq!(is(0, 0o1777), "firm");
        assert_eq!(is(6, 0o755), "loose");
        assert_eq!(is(0, 0o775), "loose");
        assert_eq!(is(0, 0o777), "refused");
    }

    #[test]
    fn a_directory_of_ours_is_followed_through_links_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        assert_eq!(standing(&real).unwrap(), Standing::Missing);
        fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        symlink(&real, &link).unwrap();
        assert_eq!(standing(&link).unwrap(), Standing::Firm);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(standing(&link).unwrap(), Standing::Refused(_)));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(standing(&real).unwrap(), Standing::Refused(_)));
        // Only root can give a link away.
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
            assert!(matches!(standing(&link).unwrap(), Standing::Refused(_)));
            std::os::unix::fs::lchown(&real, Some(12345), None).unwrap();
            assert!(matches!(standing(&real).unwrap(), Standing::Refused(_)));
        }
    }
}
