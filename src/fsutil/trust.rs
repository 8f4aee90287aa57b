//! Who else can have written a file, or can put another in its place.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use crate::fsutil::FileId;

/// Why what is behind these facts may have been put there by somebody else; `None` when only this user, or root, can
/// have.
#[must_use]
pub fn untrusted_reason(facts: &fs::Metadata) -> Option<String> {
    Credentials::here().untrusted_reason(facts.uid(), facts.mode())
}

/// Whom this process runs as, and how it sees others.
#[derive(Clone, Copy, Debug)]
struct Credentials {
    own: u32,
    /// By which user the owners show whom this user namespace does not know; `None` where it knows all, as outside of
    /// namespaces. On the host such an owner may be root, and may be anybody.
    overflow_uid: Option<u32>,
    /// Whether the namespace does not even know this user: then others' files look like its own.
    unmapped: bool,
}

/// Directories that belong to root on every host.
const OF_ROOT: [&str; 13] = [
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

/// First user here, first user outside, how many: all of them, as outside of namespaces.
const EVERYBODY: (u64, u64, u64) = (0, 0, u32::MAX as u64);

/// The lines of `/proc/self/uid_map`.
fn ranges(map: &str) -> Vec<(u64, u64, u64)> {
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        Some((number(words.next())?, number(words.next())?, number(words.next())?))
    };
    map.lines().filter_map(range).collect()
}

/// The text of a small file of the system, which has no size to ask for.
fn read(path: &str) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut part).ok()? {
            0 => return String::from_utf8(text).ok(),
            length => text.extend_from_slice(&part[..length]),
        }
    }
}

impl Credentials {
    fn here() -> Self {
        // The namespace of a process is that of its start, but for programs that change it before their first thread.
        static SPACE: OnceLock<(Option<String>, String)> = OnceLock::new();
        let (map, stranger) = SPACE.get_or_init(|| {
            let map = read("/proc/self/uid_map");
            // Where there are no strangers, their number does not matter.
            let all = map.as_deref().is_none_or(|map| ranges(map).contains(&EVERYBODY));
            let stranger = (!all).then(|| read("/proc/sys/kernel/overflowuid")).flatten();
            (map, stranger.unwrap_or_default())
        });
        Self::of(rustix::process::geteuid().as_raw(), map.as_deref(), stranger)
    }

    /// From the texts of `/proc/self/uid_map` (lines of: first user here, first user outside, how many) and of
    /// `/proc/sys/kernel/overflowuid`.
    fn of(own: u32, map: Option<&str>, stranger: &str) -> Self {
        let ranges = ranges(map.unwrap_or_default());
        // Without the file there are no namespaces; in a new one it is empty.
        let all = map.is_none() || ranges.contains(&EVERYBODY);
        let known = ranges.iter().any(|(first, _, count)| {
            u64::from(own).checked_sub(*first).is_some_and(|offset| offset < *count)
        });
        let overflow_uid = (!all).then(|| stranger.trim().parse().unwrap_or(65534));
        Self { own, overflow_uid, unmapped: !all && !known }
    }

    fn untrusted_reason(self, owner: u32, mode: u32) -> Option<String> {
        if self.unmapped {
            let text = "whose it is cannot be told in a user namespace that does not know this user \
                        (/proc/self/uid_map): map it (unshare --map-current-user)";
            return Some(text.to_owned());
        }
        if owner != self.own && owner != 0 {
            return Some(format!("it belongs to {}, and this is user {}", self.name(owner), self.own));
        }
        let mode = mode & 0o7777;
        (mode & 0o022 != 0).then(|| format!("others can write it (mode {mode:04o}; chmod go-w)"))
    }

    /// A user in words.
    fn name(self, user: u32) -> String {
        if self.overflow_uid == Some(user) {
            return format!(
                "user {user} (in this user namespace: anybody whom /proc/self/uid_map does not name, root of the host \
                 among them)"
            );
        }
        format!("user {user}")
    }

    /// Whether a directory is this user's or root's.
    fn trusts(self, dir: &Path, owner: u32) -> bool {
        // Of a stranger only what has to be root's: another directory may be that of any other user.
        let roots =
            || self.overflow_uid == Some(owner) && OF_ROOT.iter().any(|known| dir == Path::new(known));
        !self.unmapped && (owner == self.own || owner == 0 || roots())
    }

    /// Whether a link in a directory of these facts is this user's or root's.
    fn trusts_link(self, dir: &Path, holder: (u32, u32), owner: u32) -> bool {
        if owner == self.own || owner == 0 {
            return !self.unmapped;
        }
        // Nobody but the owner of such a directory can have made it, and links are never changed.
        let (of_dir, mode) = holder;
        self.overflow_uid == Some(owner) && mode & 0o022 == 0 && self.trusts(dir, of_dir)
    }

    /// What it means to lie in a directory of this owner and mode; `None` when it means nothing.
    fn below(self, dir: &Path, owner: u32, mode: u32) -> Option<PathTrust> {
        // In a directory with the sticky bit, nobody but its owner can rename what is not theirs.
        let sticky = mode & 0o1000 != 0;
        let path = dir.display();
        if mode & 0o002 != 0 && !sticky {
            let text = format!(
                "anybody can replace what is in {path} (mode {:04o}; chmod o-w or +t)",
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

/// How firmly a directory stands where its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTrust {
    /// It is not there.
    Missing,
    /// Only this user and root can put another in its place. The path is that without links.
    Trusted(PathBuf),
    /// It is this user's, but others can rename a directory or a link on the way to it: between a look at a file in
    /// it and its use, another may have taken its place.
    Renamable(String),
    /// It, or a link on the way to it, is somebody else's; or anybody can put another in its place.
    Untrusted(String),
}

/// Looks at a directory, at every link on the way to it and at every directory that holds one of these.
///
/// # Errors
/// Those of the file system, other than that it is not there.
pub fn path_trust(dir: &Path) -> io::Result<PathTrust> {
    TrustWalk::default().path_trust(dir).map(|(standing, _)| standing)
}

/// One look at several directories: what is on the way to all of them is looked at once.
#[derive(Debug, Default)]
pub struct TrustWalk {
    seen: HashMap<PathBuf, fs::Metadata>,
}

impl TrustWalk {
    /// As [`standing`], with the identity of a directory that is there.
    ///
    /// # Errors
    /// As [`standing`].
    pub fn path_trust(&mut self, dir: &Path) -> io::Result<(PathTrust, FileId)> {
        let who = Credentials::here();
        Ok(match walk(dir, who, self)? {
            Walked::There { facts, .. } if !facts.is_dir() => {
                (PathTrust::Untrusted("it is not a directory".to_owned()), FileId::default())
            }
            Walked::There { real, facts, loose } => {
                let standing = match who.untrusted_reason(facts.uid(), facts.mode()) {
                    Some(reason) => PathTrust::Untrusted(reason),
                    None => loose.map_or(PathTrust::Trusted(real), PathTrust::Renamable),
                };
                (standing, FileId::new(&facts))
            }
            Walked::Ended(standing) => (standing, FileId::default()),
        })
    }

    /// What stands at a path, links not followed.
    fn at(&mut self, path: &Path) -> io::Result<fs::Metadata> {
        if let Some(facts) = self.seen.get(path) {
            return Ok(facts.clone());
        }
        let facts = fs::symlink_metadata(path)?;
        self.seen.insert(path.to_owned(), facts.clone());
        Ok(facts)
    }
}

/// How firmly a directory of this user's would stand that is made in `dir`, which may be root's and open to all if it
/// has the sticky bit.
///
/// # Errors
/// Those of the file system, other than that it is not there.
pub fn staging_trust(dir: &Path) -> io::Result<PathTrust> {
    let who = Credentials::here();
    Ok(match walk(dir, who, &mut TrustWalk::default())? {
        Walked::There { real, facts, loose } => match who.below(&real, facts.uid(), facts.mode()) {
            Some(PathTrust::Renamable(reason)) => PathTrust::Renamable(loose.unwrap_or(reason)),
            Some(standing) => standing,
            None => loose.map_or(PathTrust::Trusted(real), PathTrust::Renamable),
        },
        Walked::Ended(standing) => standing,
    })
}

/// The end of a path.
enum Walked {
    There {
        /// The path without links.
        real: PathBuf,
        facts: fs::Metadata,
        /// Why somebody else can lead the path elsewhere.
        loose: Option<String>,
    },
    /// Missing or refused.
    Ended(PathTrust),
}

/// Follows a path name by name, as the system does, and looks at each directory before the next name is looked up in
/// it.
fn walk(path: &Path, who: Credentials, look: &mut TrustWalk) -> io::Result<Walked> {
    /// As many as Linux follows.
    const MOST_LINKS: usize = 40;
    let names = |path: &Path| -> VecDeque<OsString> {
        let names = path.components().filter_map(|part| match part {
            Component::ParentDir | Component::Normal(_) => Some(part.as_os_str().to_owned()),
            _ => None,
        });
        names.collect()
    };
    let root = |look: &mut TrustWalk| Ok::<_, io::Error>((PathBuf::from("/"), look.at(Path::new("/"))?));
    let mut names_left = names(&std::path::absolute(path)?);
    let (mut real, mut facts) = root(look)?;
    let mut loose = None;
    let mut links = 0;
    while let Some(name) = names_left.pop_front() {
        if !facts.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        if name == ".." {
            // It was looked at on the way down.
            real.pop();
            facts = look.at(&real)?;
            continue;
        }
        match who.below(&real, facts.uid(), facts.mode()) {
            Some(PathTrust::Renamable(reason)) => drop(loose.get_or_insert(reason)),
            Some(standing) => return Ok(Walked::Ended(standing)),
            None => {}
        }
        let entry = real.join(&name);
        let found = match look.at(&entry) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Walked::Ended(PathTrust::Missing));
            }
            Err(error) => return Err(error),
        };
        if !found.is_symlink() {
            (real, facts) = (entry, found);
            continue;
        }
        if !who.trusts_link(&real, (facts.uid(), facts.mode()), found.uid()) {
            let text = format!("{} is a symbolic link of {}", entry.display(), who.name(found.uid()));
            return Ok(Walked::Ended(PathTrust::Untrusted(text)));
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = fs::read_link(&entry)?;
        if target.is_absolute() {
            (real, facts) = root(look)?;
        }
        let mut first = names(&target);
        first.append(&mut names_left);
        names_left = first;
    }
    Ok(Walked::There { real, facts, loose })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    const FIVE: Credentials = Credentials { own: 5, overflow_uid: None, unmapped: false };

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory of this user's without links on the way to it.
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
        assert_eq!(FIVE.untrusted_reason(5, 0o700), None);
        assert_eq!(FIVE.untrusted_reason(0, 0o755), None);
        for (owner, mode) in [(6, 0o700), (5, 0o720), (5, 0o702), (0, 0o777)] {
            assert!(FIVE.untrusted_reason(owner, mode).is_some(), "{owner} {mode:o}");
        }
    }

    #[test]
    fn directories_above_count_by_who_can_rename_in_them() {
        let at = Path::new("/x");
        let is = |owner, mode| match FIVE.below(at, owner, mode) {
            None => "firm",
            Some(PathTrust::Renamable(_)) => "loose",
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

    /// Both the link and the directory are ours, but anybody can put another link in the place of ours.
    #[test]
    fn a_link_in_an_open_directory_makes_the_way_unsafe() {
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

    /// Temporary directories as sites make them: of the user's own in one of root's with the sticky bit.
    #[test]
    fn what_is_made_in_a_directory_stands_as_firmly_as_others_let_it() {
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

    /// Where root of the host shows as the same user as all strangers, only directories that have to be root's are
    /// taken for root's.
    #[test]
    fn strangers_of_a_user_namespace_are_root_where_nobody_else_can_be() {
        assert_eq!(
            Credentials::of(5, Some("         0          0 4294967295\n"), "65534\n").overflow_uid,
            None
        );
        assert_eq!(Credentials::of(5, None, "").overflow_uid, None);
        let who = Credentials::of(5, Some("         5          5          1\n"), "65534\n");
        assert_eq!((who.overflow_uid, who.unmapped), (Some(65534), false));
        let is_firm = |dir: &str, mode| who.below(Path::new(dir), 65534, mode).is_none();
        assert!(is_firm("/", 0o755) && is_firm("/home", 0o755) && is_firm("/tmp", 0o1777));
        assert!(!is_firm("/home", 0o777) && !is_firm("/home", 0o775) && !is_firm("/home/alice", 0o755));
        let loose = who.below(Path::new("/home/alice"), 65534, 0o755);
        assert!(
            matches!(&loose, Some(PathTrust::Renamable(why)) if why.contains("user namespace")),
            "{loose:?}"
        );
        assert!(FIVE.below(Path::new("/home"), 65534, 0o755).is_some(), "nobody is a user like any other");
        // A link in a directory in which only root can make one.
        let link = |dir: &str, mode| who.trusts_link(Path::new(dir), (65534, mode), 65534);
        assert!(link("/", 0o755) && !link("/tmp", 0o1777) && !link("/home/alice", 0o755));
        assert!(who.untrusted_reason(65534, 0o755).unwrap().contains("user namespace"));
        // `unshare --user`: this user shows as the same user as everybody else.
        assert!(
            !Credentials::of(65534, Some("0 0 4294967295"), "65534").unmapped,
            "nobody outside of namespaces"
        );
        for map in ["", "7 1000 1"] {
            let nameless = Credentials::of(65534, Some(map), "65534");
            assert!(nameless.untrusted_reason(65534, 0o700).unwrap().contains("does not know"));
            assert!(nameless.below(Path::new("/home"), 65534, 0o755).is_some());
        }
        assert!(!Credentials::of(65534, Some("0 100000 65536"), "65534").unmapped);
    }
}
