//! Probes of a directory for caches or temporary files.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    CWD, FlockOperation, RenameFlags, StatVfsMountFlags, flock, renameat_with, statfs, statvfs,
};
use rustix::io::Errno;

use dijitso::fsutil::{self, PathTrust};
use dijitso::human::{count, size};
use dijitso::params::resolved::Resolved;

use super::{CACHE, HOME, Probe, Setting, TEMP, existing};

/// Returns the probes of one directory. `name` is its purpose.
pub(super) fn probes(name: &str, path: &Path, params: &Resolved) -> (Vec<Probe>, Vec<Setting>) {
    let dir = existing(path);
    let (mut probes, mut settings) = (Vec::new(), Vec::new());
    let kind = kind_of(dir);
    probes.push(disk(name, path, dir, &kind));
    if name == HOME {
        return (probes, settings);
    }
    if name == CACHE {
        probes.push(owner(path, dir));
    }
    if name == TEMP && is_network(&kind) {
        let reason = format!("builds are staged on {kind}, and a local disk is faster");
        settings.push(Setting::new("cache.temp_dir_root", "/tmp", reason));
    }
    probes.push(noexec(name, dir));
    probes.push(room(name, dir));
    let folder = match fsutil::private_dir(dir) {
        Ok(folder) => folder,
        Err(error) => {
            let key = if name == CACHE {
                "cache.cache_dir or DIJITSO_CACHE_DIR"
            } else {
                "cache.temp_dir_root or TMPDIR"
            };
            let finding = format!("cannot write in {}: {error}", dir.display());
            let read_only = name == CACHE && params.cache.frozen;
            probes.push(if read_only {
                Probe::ok(format!("{name}: writing"), format!("{finding}; it is frozen"))
            } else {
                Probe::bad(format!("{name}: writing"), finding, format!("set {key} to a writable directory"))
            });
            return (probes, settings);
        }
    };
    let checks: &[DiskCheck] = if name == CACHE {
        &[("clock", clock), ("locks", locks), ("publishing", publishing)]
    } else {
        &[("clock", clock)]
    };
    for (what, check) in checks {
        let name = format!("{name}: {what}");
        probes.push(match check(folder.path()) {
            Ok(Ok(finding)) => Probe::ok(name, finding),
            Ok(Err((finding, advice))) => Probe::warn(name, finding, advice),
            Err(error) => Probe::bad(name, format!("{}: {error}", dir.display()), "check the disk"),
        });
    }
    (probes, settings)
}

/// The finding; a finding with advice; or the error of the disk.
type CheckResult = io::Result<Result<String, (String, String)>>;

/// A check that works in a folder of its own, and its name.
type DiskCheck = (&'static str, fn(&Path) -> CheckResult);

/// Returns the name of the file system.
pub(super) fn kind_of(dir: &Path) -> String {
    let magic = statfs(dir).map(|facts| facts.f_type.cast_unsigned() & 0xffff_ffff);
    let known = magic.ok().and_then(name_of);
    match known {
        // The list of mounts may name the file system behind FUSE, or an unknown one.
        Some("fuse") | None => {
            mounted(dir).or(known.map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned())
        }
        Some(known) => known.to_owned(),
    }
}

fn name_of(magic: u64) -> Option<&'static str> {
    const NAMES: [(u64, &str); 24] = [
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x2fc1_2fc1, "zfs"),
        (0xf2f5_2010, "f2fs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x794c_7630, "overlay"),
        (0x7371_7368, "squashfs"),
        (0x6969, "nfs"),
        (0x0bd0_0bd0, "lustre"),
        (0x4750_4653, "gpfs"),
        (0x1983_0326, "beegfs"),
        (0x00c3_6400, "ceph"),
        (0x2003_0528, "pvfs2"),
        (0xaad7_aaea, "panfs"),
        (0x0116_1970, "gfs2"),
        (0x7461_636f, "ocfs2"),
        (0x5346_414f, "afs"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x0102_1997, "9p"),
        (0x4d44, "vfat"),
        (0x6573_5546, "fuse"),
    ];
    NAMES.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// Returns whether other hosts may share a directory on this file system.
pub(super) fn is_network(kind: &str) -> bool {
    const NAMES: [&str; 14] = [
        "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "pvfs2", "panfs", "gfs2", "ocfs2", "afs", "cifs",
        "smb2", "9p",
    ];
    NAMES.contains(&kind)
        || ["sshfs", "gluster", "ceph", "beegfs", "s3"].iter().any(|part| kind.contains(part))
}

fn mounted(dir: &Path) -> Option<String> {
    let device = fs::metadata(dir).ok()?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    of_mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?, &device)
}

/// Finds the type of the mount of a device: the field behind the dash.
fn of_mounts(mounts: &str, device: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        (front.split_whitespace().nth(2)? == device)
            .then(|| back.split_whitespace().next().map(str::to_owned))?
    })
}

fn disk(name: &str, path: &Path, dir: &Path, kind: &str) -> Probe {
    let absent = if dir == path { "" } else { " (does not exist yet)" };
    let finding = format!("{}{absent} is on {kind}", path.display());
    let title = format!("{name}: disk");
    if name != CACHE {
        return Probe::ok(title, finding);
    }
    match kind {
        "tmpfs" | "ramfs" => {
            let advice = "it is lost when the host restarts, and uses memory; cache.cache_dir chooses \
                             another directory";
            Probe::warn(title, finding, advice)
        }
        "overlay" => {
            let advice =
                "it is lost with the container; mount a directory of the host and set cache.cache_dir to it";
            Probe::warn(title, finding, advice)
        }
        kind if is_network(kind) => Probe::ok(
            title,
            format!("{finding}, which other hosts may share: the first call finds out which ranks share it"),
        ),
        _ => Probe::ok(title, finding),
    }
}

fn owner(path: &Path, dir: &Path) -> Probe {
    let name = format!("{CACHE}: owner");
    match fsutil::path_trust(path) {
        Ok(PathTrust::Trusted(_)) => {
            Probe::ok(name, format!("no other user can put libraries into {}", path.display()))
        }
        Ok(PathTrust::Missing) => Probe::ok(name, format!("it will be created below {}", dir.display())),
        Ok(PathTrust::Renamable(reason)) => {
            let advice = "libraries are copied before they are loaded, which takes time; use a directory \
                             of your own";
            Probe::warn(name, reason, advice)
        }
        Ok(PathTrust::Untrusted(reason)) => Probe::bad(
            name,
            reason,
            "other users could run code as you: use chmod go-w, or another cache.cache_dir",
        ),
        Err(error) => Probe::bad(name, error.to_string(), "check the path"),
    }
}

fn noexec(name: &str, dir: &Path) -> Probe {
    let title = format!("{name}: loading");
    let key = if name == CACHE { "cache.cache_dir" } else { "cache.temp_dir_root" };
    let advice = format!("mount it without noexec, or set {key} to another directory");
    match statvfs(dir) {
        Ok(facts) if facts.f_flag.contains(StatVfsMountFlags::NOEXEC) => {
            let finding = format!("{} is mounted noexec: no library can be loaded from it", dir.display());
            if name == CACHE {
                Probe::bad(title, finding, advice)
            } else {
                Probe::warn(title, finding, advice)
            }
        }
        Ok(_) => Probe::ok(title, "libraries can be loaded from it"),
        Err(error) => Probe::warn(title, format!("{}: {error}", dir.display()), advice),
    }
}

fn room(name: &str, dir: &Path) -> Probe {
    const LITTLE: u64 = 256 << 20;
    const FEW: u64 = 1000;
    let title = format!("{name}: room");
    let Ok(facts) = statvfs(dir) else {
        return Probe::warn(title, "the disk does not report its free space", "check it with df");
    };
    let bytes = facts.f_bavail.saturating_mul(facts.f_frsize);
    // File systems that allocate inodes on demand report none.
    let counted = facts.f_files > 0;
    let files = usize::try_from(facts.f_favail).unwrap_or(usize::MAX);
    let inodes = if counted { format!(" and {}", count(files, "file", "files")) } else { String::new() };
    let finding = format!("{}{inodes} are free", size(bytes));
    if bytes < LITTLE || (counted && facts.f_favail < FEW) {
        let advice = "free space with dijitso gc, or set cache.max_size and cache.max_age";
        return Probe::warn(title, finding, advice);
    }
    Probe::ok(title, finding)
}

/// Compares the clock of the disk with that of this host: the ages of files depend on both.
fn clock(dir: &Path) -> CheckResult {
    const MUCH: Duration = Duration::from_secs(2);
    let before = SystemTime::now();
    let path = dir.join("clock");
    fs::write(&path, "x")?;
    let written = fs::metadata(&path)?.modified()?;
    let after = SystemTime::now();
    let early = before.duration_since(written).unwrap_or_default();
    let late = written.duration_since(after).unwrap_or_default();
    Ok(if early > MUCH || late > MUCH {
        let way = if early > late { "behind" } else { "ahead" };
        let seconds = early.max(late).as_secs_f64();
        Err((
            format!("its clock is {seconds:.1} s {way} of this host's"),
            "leases and ages of entries depend on these clocks: synchronise them (NTP)".to_owned(),
        ))
    } else {
        Ok("its clock agrees with this host".to_owned())
    })
}

fn locks(dir: &Path) -> CheckResult {
    let path = dir.join("lock");
    fs::write(&path, "")?;
    let (one, other) = (File::open(&path)?, File::open(&path)?);
    let advice =
        "only the count of running compilers depends on locks; set build.slots_dir to another directory";
    if let Err(error) = flock(&one, FlockOperation::NonBlockingLockExclusive) {
        return Ok(Err((format!("locks do not work: {error}"), advice.to_owned())));
    }
    match flock(&other, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(Ok("locks work".to_owned())),
        _ => Ok(Err(("locks have no effect".to_owned(), advice.to_owned()))),
    }
}

/// Checks the operations by which the first publisher wins: a rename that does not overwrite, or a hard link.
fn publishing(dir: &Path) -> CheckResult {
    let (from, to) = (dir.join("from"), dir.join("to"));
    let write = || File::create(&from).and_then(|mut file| file.write_all(b"x"));
    write()?;
    let renamed = renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).is_ok();
    write()?;
    let refused =
        !renamed || renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) == Err(Errno::EXIST);
    let linked = fs::hard_link(&from, dir.join("link")).is_ok();
    let keeps = !linked || fs::hard_link(&from, dir.join("link")).is_err();
    if !refused || !keeps {
        let advice =
            "two programs could publish the same library at once: use another cache.cache_dir".to_owned();
        return Ok(Err(("a file replaced another although it must not".to_owned(), advice)));
    }
    match (renamed, linked) {
        (true, true) => Ok(Ok("by rename without replacing, and by hard link".to_owned())),
        (true, false) => Ok(Ok("by rename without replacing; there are no hard links".to_owned())),
        (false, true) => Ok(Ok("by hard link; there is no rename without replacing".to_owned())),
        (false, false) => Err(io::Error::other("neither hard links nor renames without replacing work")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_have_names() {
        assert_eq!(name_of(0x6969), Some("nfs"));
        assert_eq!(name_of(0x0bd0_0bd0), Some("lustre"));
        assert_eq!(name_of(1), None);
        assert!(is_network("fuse.sshfs") && is_network("gpfs") && !is_network("ext4"));
        let mounts = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                      37 35 0:42 / /home rw shared:3 master:1 - fuse.sshfs a:/b rw\n";
        assert_eq!(of_mounts(mounts, "0:42").as_deref(), Some("fuse.sshfs"));
        assert_eq!(of_mounts(mounts, "1:1"), None);
        assert_ne!(kind_of(Path::new("/proc/self")), "");
    }

    #[test]
    fn an_ordinary_directory_passes() {
        let dir = tempfile::tempdir().unwrap();
        for check in [clock, locks, publishing] {
            assert!(matches!(check(dir.path()), Ok(Ok(_))), "{:?}", check(dir.path()));
            fs::read_dir(dir.path())
                .unwrap()
                .flatten()
                .for_each(|file| fs::remove_file(file.path()).unwrap());
        }
    }
}
