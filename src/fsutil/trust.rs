//! Finds out if other users can have written a file, or can replace it.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use foldhash::fast::FixedState;

use crate::fsutil::FileState;

/// Returns why another user may have written the file with this metadata; `None` if only this user and root
/// can have.
#[must_use]
pub fn untrusted_reason(metadata: &fs::Metadata) -> Option<String> {
    untrusted_owner(metadata.uid(), metadata.mode())
}

/// Does the same for the state of a file.
#[must_use]
pub fn untrusted_state(state: &FileState) -> Option<String> {
    untrusted_owner(state.owner, state.mode)
}

fn untrusted_owner(owner: u32, mode: u32) -> Option<String> {
    Credentials::current().untrusted_reason(owner, mode)
}

/// The user of this process, and how the user namespace shows other users.
///
/// A namespace that does not map a user shows one and the same number in its place, the overflow user. So the
/// map itself, whose file is slow to open, is read only if that number turns up.
#[derive(Clone, Copy, Debug)]
struct Credentials {
    own: u32,
    namespace: &'static Namespace,
}

/// The user namespace of this process, which keeps it, except programs that change it before they start a
/// thread.
#[derive(Debug)]
struct Namespace {
    /// The number of the overflow user.
    overflow: u32,
    map: OnceLock<UidMap>,
}

/// The parsed `/proc/self/uid_map`, whose lines are: first user here, first user outside, count.
#[derive(Debug)]
struct UidMap {
    ranges: Vec<(u64, u64, u64)>,
    /// True if all users are mapped, as outside of namespaces.
    all: bool,
}

/// Directories that belong to root on every host.
const ROOT_DIRS: [&str; 13] = [
    "/",
    "/dev",
    "/dev/shm",
    "/home",
    "/opt",
    "/run",
    "/run/user",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
    "/var/tmp",
];

/// The map of all users to themselves, as outside of namespaces: first user here, first user outside, count.
const IDENTITY_MAP: (u64, u64, u64) = (0, 0, u32::MAX as u64);

/// Parses the lines of `/proc/self/uid_map`.
fn ranges(map: &str) -> Vec<(u64, u64, u64)> {
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        Some((number(words.next())?, number(words.next())?, number(words.next())?))
    };
    map.lines().filter_map(range).collect()
}

/// Reads a small file below `/proc`, whose size is not known before. `most` is more than it has, if one call is
/// enough.
fn read(path: &str, most: usize) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut part).ok()? {
            0 => break,
            length => text.extend_from_slice(&part[..length]),
        }
        if text.len() < most {
            break;
        }
    }
    String::from_utf8(text).ok()
}

impl UidMap {
    /// Parses the map. A system without the file has no namespaces. In a new namespace it is empty.
    fn parse(text: Option<&str>) -> Self {
        let ranges = ranges(text.unwrap_or_default());
        let all = text.is_none() || ranges.contains(&IDENTITY_MAP);
        Self { ranges, all }
    }

    fn maps(&self, user: u32) -> bool {
        let holds = |(first, _, count): &(u64, u64, u64)| {
            u64::from(user).checked_sub(*first).is_some_and(|offset| offset < *count)
        };
        self.all || self.ranges.iter().any(holds)
    }
}

impl Namespace {
    /// The overflow user of a system that does not say.
    const OVERFLOW: u32 = 65534;

    fn current() -> &'static Self {
        static CURRENT: OnceLock<Namespace> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let overflow = read("/proc/sys/kernel/overflowuid", 64).and_then(|text| text.trim().parse().ok());
            Self { overflow: overflow.unwrap_or(Self::OVERFLOW), map: OnceLock::new() }
        })
    }

    fn map(&self) -> &UidMap {
        self.map.get_or_init(|| UidMap::parse(read("/proc/self/uid_map", 0).as_deref()))
    }
}

impl Credentials {
    fn current() -> Self {
        Self { own: rustix::process::geteuid().as_raw(), namespace: Namespace::current() }
    }

    /// Returns true if this number stands for users that the namespace does not map. On the host such an owner
    /// may be root or any other user.
    fn is_overflow(self, user: u32) -> bool {
        user == self.namespace.overflow && !self.namespace.map().all
    }

    /// Returns true if the namespace does not map this user either. Files of others then look like its own.
    fn is_unmapped(self) -> bool {
        self.own == self.namespace.overflow && !self.namespace.map().maps(self.own)
    }

    fn untrusted_reason(self, owner: u32, mode: u32) -> Option<String> {
        if self.is_unmapped() {
            let text = "its owner is unknown in a user namespace that does not map this user \
                 (/proc/self/uid_map): map it \
                        (unshare --map-current-user)";
            return Some(text.to_owned());
        }
        if owner != self.own && owner != 0 {
            return Some(format!("it belongs to {}, and this is user {}", self.name(owner), self.own));
        }
        let mode = mode & 0o7777;
        (mode & 0o022 != 0).then(|| format!("others can write it (mode {mode:04o}; chmod go-w)"))
    }

    /// Describes a user.
    fn name(self, user: u32) -> String {
        if self.is_overflow(user) {
            return format!(
                "user {user} (in this user namespace: any user whom /proc/self/uid_map does not name, also \
                 root of the \
                 host)"
            );
        }
        format!("user {user}")
    }

    /// Tells if a directory belongs to this user or root.
    fn trusts(self, dir: &Path, owner: u32) -> bool {
        // An unmapped owner is trusted only for directories that always belong to root: others may be of any
        // user.
        let roots = || self.is_overflow(owner) && ROOT_DIRS.iter().any(|root| dir == Path::new(root));
        !self.is_unmapped() && (owner == self.own || owner == 0 || roots())
    }

    /// Tells if a link belongs to this user or root. `holder` is owner and mode of the directory that it is
    /// in.
    fn trusts_link(self, dir: &Path, holder: (u32, u32), owner: u32) -> bool {
        if owner == self.own || owner == 0 {
            return !self.is_unmapped();
        }
        // Only the owner of such a directory can have made it, and links are never changed.
        let (of_dir, mode) = holder;
        self.is_overflow(owner) && mode & 0o022 == 0 && self.trusts(dir, of_dir)
    }

    /// Returns how far a directory of this owner and mode lowers the trust in what is in it; `None`: not at
    /// all.
    fn below(self, dir: &Path, owner: u32, mode: u32) -> Option<PathTrust> {
        // In a directory with the sticky bit, users can rename only what is theirs.
        let sticky = mode & 0o1000 != 0;
        let path = dir.display();
        if mode & 0o002 != 0 && !sticky {
            let text = format!(
                "any user can replace what is in {path} (mode {:04o}; chmod o-w or +t)",
                mode & 0o7777
            );
            return Some(PathTrust::Untrusted(text));
        }
        if !self.trusts(dir, owner) {
            return Some(PathTrust::Renamable(format!("{path} belongs to {}", self.name(owner))));
        }
        (mode & 0o020 != 0 && !sticky).then(|| {
            let text = format!("the group can replace what is in {path} (mode {:04o})", mode & 0o7777);
            PathTrust::Renamable(text)
        })
    }
}

/// Tells if others can make the path of a directory lead elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTrust {
    /// The directory does not exist.
    Missing,
    /// Only this user and root can rename the path, given here without links.
    Trusted(PathBuf),
    /// The directory belongs to this user, but others can rename a directory or a link on the way to it.
    /// Between the check of a file in it and its use, another file may take its place.
    Renamable(String),
    /// The directory, or a link on the way to it, belongs to another user; or any user can replace it.
    Untrusted(String),
}

/// Checks a directory, every link on the way to it and every directory that holds one of these.
///
/// # Errors
/// Any I/O error, except that the directory does not exist.
pub fn path_trust(dir: &Path) -> io::Result<PathTrust> {
    TrustWalk::default().path_trust(dir).map(|(trust, _)| trust)
}

/// Checks several directories, and reads what their paths share once.
#[derive(Debug, Default)]
pub struct TrustWalk {
    /// By the bytes of their paths, which have no links: components take ten times as long to hash.
    metadata: HashMap<OsString, fs::Metadata, FixedState>,
}

impl TrustWalk {
    /// Checks a directory, as [`path_trust`] does. Returns its state too, if it exists.
    ///
    /// # Errors
    /// As [`path_trust`].
    pub fn path_trust(&mut self, dir: &Path) -> io::Result<(PathTrust, FileState)> {
        let who = Credentials::current();
        Ok(match walk(dir, who, self)? {
            Walked::There { metadata, .. } if !metadata.is_dir() => {
                (PathTrust::Untrusted("it is not a directory".to_owned()), FileState::default())
            }
            Walked::There { real, metadata, renamable } => {
                let trust = match who.untrusted_reason(metadata.uid(), metadata.mode()) {
                    Some(reason) => PathTrust::Untrusted(reason),
                    None => renamable.map_or(PathTrust::Trusted(real), PathTrust::Renamable),
                };
                (trust, FileState::new(&metadata))
            }
            Walked::Ended(trust) => (trust, FileState::default()),
        })
    }

    /// Returns the metadata of a path, links not followed.
    fn at(&mut self, path: &Path) -> io::Result<fs::Metadata> {
        if let Some(metadata) = self.metadata.get(path.as_os_str()) {
            return Ok(metadata.clone());
        }
        let metadata = fs::symlink_metadata(path)?;
        self.metadata.insert(path.as_os_str().to_owned(), metadata.clone());
        Ok(metadata)
    }
}

/// Returns the trust in a directory that this user makes in `dir`, which may belong to root and be open to
/// all if it has the sticky bit.
///
/// # Errors
/// Any I/O error, except that the directory does not exist.
pub fn staging_trust(dir: &Path) -> io::Result<PathTrust> {
    let who = Credentials::current();
    Ok(match walk(dir, who, &mut TrustWalk::default())? {
        Walked::There { real, metadata, renamable } => {
            match who.below(&real, metadata.uid(), metadata.mode()) {
                Some(PathTrust::Renamable(reason)) => PathTrust::Renamable(renamable.unwrap_or(reason)),
                Some(trust) => trust,
                None => renamable.map_or(PathTrust::Trusted(real), PathTrust::Renamable),
            }
        }
        Walked::Ended(trust) => trust,
    })
}

/// The result of following a path.
enum Walked {
    There {
        /// The path without links.
        real: PathBuf,
        metadata: fs::Metadata,
        /// Why other users can lead the path elsewhere.
        renamable: Option<String>,
    },
    /// Missing or untrusted.
    Ended(PathTrust),
}

/// Follows a path name by name, as the system does, and checks each directory before it looks up the next
/// name in it.
fn walk(path: &Path, who: Credentials, walk: &mut TrustWalk) -> io::Result<Walked> {
    /// The limit of Linux.
    const MAX_LINKS: usize = 40;
    let names = |path: &Path| -> VecDeque<OsString> {
        let names = path.components().filter_map(|part| match part {
            Component::ParentDir | Component::Normal(_) => Some(part.as_os_str().to_owned()),
            _ => None,
        });
        names.collect()
    };
    let root = |walk: &mut TrustWalk| Ok::<_, io::Error>((PathBuf::from("/"), walk.at(Path::new("/"))?));
    let mut names_left = names(&std::path::absolute(path)?);
    let (mut real, mut metadata) = root(walk)?;
    let mut renamable = None;
    let mut links = 0;
    while let Some(name) = names_left.pop_front() {
        if !metadata.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        if name == ".." {
            // It was checked on the way down.
            real.pop();
            metadata = walk.at(&real)?;
            continue;
        }
        match who.below(&real, metadata.uid(), metadata.mode()) {
            Some(PathTrust::Renamable(reason)) => drop(renamable.get_or_insert(reason)),
            Some(trust) => return Ok(Walked::Ended(trust)),
            None => {}
        }
        let entry = real.join(&name);
        let found = match walk.at(&entry) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Walked::Ended(PathTrust::Missing));
            }
            Err(error) => return Err(error),
        };
        if !found.is_symlink() {
            (real, metadata) = (entry, found);
            continue;
        }
        if !who.trusts_link(&real, (metadata.uid(), metadata.mode()), found.uid()) {
            let text = format!("{} is a symbolic link of {}", entry.display(), who.name(found.uid()));
            return Ok(Walked::Ended(PathTrust::Untrusted(text)));
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = fs::read_link(&entry)?;
        if target.is_absolute() {
            (real, metadata) = root(walk)?;
        }
        let mut first = names(&target);
        first.append(&mut names_left);
        names_left = first;
    }
    Ok(Walked::There { real, metadata, renamable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    /// The credentials of user 5 outside of namespaces.
    fn five() -> Credentials {
        of(5, None, Namespace::OVERFLOW)
    }

    /// The credentials of a user in a namespace with this map.
    fn of(own: u32, map: Option<&str>, overflow: u32) -> Credentials {
        let map = OnceLock::from(UidMap::parse(map));
        Credentials { own, namespace: Box::leak(Box::new(Namespace { overflow, map })) }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes a directory of this user without links on the way to it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        chmod(&real, 0o700);
        (dir, real)
    }

    fn mkdir(path: PathBuf, mode: u32) -> PathBuf {
        fs::create_dir(&path).unwrap();
        chmod(&path, mode);
        path
    }

    #[test]
    fn what_others_own_or_can_write_is_not_trusted() {
        assert_eq!(five().untrusted_reason(5, 0o700), None);
        assert_eq!(five().untrusted_reason(0, 0o755), None);
        for (owner, mode) in [(6, 0o700), (5, 0o720), (5, 0o702), (0, 0o777)] {
            assert!(five().untrusted_reason(owner, mode).is_some(), "{owner} {mode:o}");
        }
    }

    #[test]
    fn directories_above_lower_the_trust_if_others_can_rename_in_them() {
        let at = Path::new("/x");
        let is = |owner, mode| match five().below(at, owner, mode) {
            None => "trusted",
            Some(PathTrust::Renamable(_)) => "renamable",
            Some(_) => "untrusted",
        };
        assert_eq!(is(0, 0o755), "trusted");
        assert_eq!(is(5, 0o755), "trusted");
        assert_eq!(is(0, 0o1777), "trusted");
        assert_eq!(is(6, 0o755), "renamable");
        assert_eq!(is(0, 0o775), "renamable");
        assert_eq!(is(0, 0o777), "untrusted");
    }

    #[test]
    fn path_trust_follows_links_of_this_user() {
        let (_dir, at) = place();
        let real = at.join("real");
        assert_eq!(path_trust(&real).unwrap(), PathTrust::Missing);
        mkdir(real.clone(), 0o700);
        let (link, again) = (at.join("link"), at.join("again"));
        symlink("./real", &link).unwrap();
        symlink(at.join("real/../link"), &again).unwrap();
        for path in [&real, &link, &again] {
            assert_eq!(path_trust(path).unwrap(), PathTrust::Trusted(real.clone()), "{}", path.display());
        }
        chmod(&real, 0o770);
        assert!(matches!(path_trust(&link).unwrap(), PathTrust::Untrusted(_)));
        chmod(&real, 0o700);
        chmod(&at, 0o777);
        assert!(matches!(path_trust(&real).unwrap(), PathTrust::Untrusted(_)));
        // Only root can give a link away.
        if rustix::process::geteuid().is_root() {
            chmod(&at, 0o700);
            lchown(&link, Some(12345), None).unwrap();
            for path in [&link, &again] {
                assert!(matches!(path_trust(path).unwrap(), PathTrust::Untrusted(_)), "{}", path.display());
            }
            lchown(&real, Some(12345), None).unwrap();
            assert!(matches!(path_trust(&real).unwrap(), PathTrust::Untrusted(_)));
        }
    }

    /// Link and directory belong to this user, but any user can replace the link.
    #[test]
    fn a_link_in_an_open_directory_is_not_trusted() {
        let (_dir, at) = place();
        let real = mkdir(at.join("real"), 0o700);
        let open = mkdir(at.join("open"), 0o777);
        symlink(&real, open.join("cache")).unwrap();
        symlink(open.join("cache"), at.join("two")).unwrap();
        mkdir(real.join("lib"), 0o700);
        for way in ["open/cache", "two", "two/lib", "open/cache/../real"] {
            let PathTrust::Untrusted(reason) = path_trust(&at.join(way)).unwrap() else { panic!("{way}") };
            assert!(reason.contains("open (mode 0777"), "{way}: {reason}");
        }
        chmod(&open, 0o770);
        for way in ["open/cache", "two", "two/lib", "open/cache/../real"] {
            assert!(matches!(path_trust(&at.join(way)).unwrap(), PathTrust::Renamable(_)), "{way}");
        }
        for mode in [0o1777, 0o755] {
            chmod(&open, mode);
            assert_eq!(path_trust(&at.join("two")).unwrap(), PathTrust::Trusted(real.clone()));
        }
        assert_eq!(path_trust(&real).unwrap(), PathTrust::Trusted(real));
    }

    #[test]
    fn links_that_lead_nowhere_end() {
        let (_dir, at) = place();
        symlink("b", at.join("a")).unwrap();
        symlink("a", at.join("b")).unwrap();
        assert_eq!(path_trust(&at.join("a")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        symlink("gone", at.join("dangling")).unwrap();
        assert_eq!(path_trust(&at.join("dangling/x")).unwrap(), PathTrust::Missing);
        fs::write(at.join("file"), "").unwrap();
        for way in ["file/x", "file/.."] {
            assert_eq!(path_trust(&at.join(way)).unwrap_err().raw_os_error(), Some(libc::ENOTDIR), "{way}");
        }
        assert!(matches!(path_trust(&at.join("file")).unwrap(), PathTrust::Untrusted(_)));
    }

    /// Temporary directories as sites make them: one of the user in one of root with the sticky bit.
    #[test]
    fn staging_trust_is_that_of_a_directory_of_the_user() {
        let (_dir, at) = place();
        let all = mkdir(at.join("scratch"), 0o1777);
        let job = mkdir(all.join("job.1234"), 0o700);
        assert_eq!(staging_trust(&all).unwrap(), PathTrust::Trusted(all.clone()));
        for mode in [0o700, 0o755, 0o1777] {
            chmod(&job, mode);
            assert_eq!(staging_trust(&job).unwrap(), PathTrust::Trusted(job.clone()), "{mode:o}");
        }
        for mode in [0o770, 0o2775] {
            chmod(&job, mode);
            assert!(matches!(staging_trust(&job).unwrap(), PathTrust::Renamable(_)), "{mode:o}");
        }
        chmod(&job, 0o777);
        assert!(matches!(staging_trust(&job).unwrap(), PathTrust::Untrusted(_)));
        chmod(&job, 0o700);
        chmod(&all, 0o777);
        assert!(matches!(staging_trust(&job).unwrap(), PathTrust::Untrusted(_)));
        chmod(&all, 0o755);
        if rustix::process::geteuid().is_root() {
            lchown(&job, Some(12345), None).unwrap();
            assert!(matches!(staging_trust(&job).unwrap(), PathTrust::Renamable(_)));
        }
    }

    /// If root of the host shows as the overflow user, only directories that always belong to root are taken
    /// for root's.
    #[test]
    fn the_overflow_user_is_root_in_directories_that_belong_to_root() {
        assert!(!of(5, Some("         0          0 4294967295\n"), 65534).is_overflow(65534));
        assert!(!five().is_overflow(65534));
        let who = of(5, Some("         5          5          1\n"), 65534);
        assert!(who.is_overflow(65534) && !who.is_overflow(5) && !who.is_unmapped());
        assert!(of(5, Some("5 5 1"), 99).is_overflow(99), "the system may have another number");
        let is_trusted = |dir: &str, mode| who.below(Path::new(dir), 65534, mode).is_none();
        assert!(is_trusted("/", 0o755) && is_trusted("/home", 0o755) && is_trusted("/tmp", 0o1777));
        assert!(
            !is_trusted("/home", 0o777) && !is_trusted("/home", 0o775) && !is_trusted("/home/alice", 0o755)
        );
        let alice = who.below(Path::new("/home/alice"), 65534, 0o755);
        assert!(
            matches!(&alice, Some(PathTrust::Renamable(why)) if why.contains("user namespace")),
            "{alice:?}"
        );
        assert!(
            five().below(Path::new("/home"), 65534, 0o755).is_some(),
            "user 65534 is a user like any other"
        );
        // A link in a directory in which only root can make links.
        let link = |dir: &str, mode| who.trusts_link(Path::new(dir), (65534, mode), 65534);
        assert!(link("/", 0o755) && !link("/tmp", 0o1777) && !link("/home/alice", 0o755));
        assert!(who.untrusted_reason(65534, 0o755).unwrap().contains("user namespace"));
        // `unshare --user`: this user shows as the same user as all others.
        assert!(!of(65534, Some("0 0 4294967295"), 65534).is_unmapped(), "user 65534 outside of namespaces");
        for map in ["", "7 1000 1"] {
            let unmapped = of(65534, Some(map), 65534);
            assert!(unmapped.untrusted_reason(65534, 0o700).unwrap().contains("does not map"));
            assert!(unmapped.below(Path::new("/home"), 65534, 0o755).is_some());
        }
        assert!(!of(65534, Some("0 100000 65536"), 65534).is_unmapped());
    }
}
