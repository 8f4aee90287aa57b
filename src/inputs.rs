//! Inputs of a build besides its source: headers and libraries. Finds out whether they have changed since.
//!
//! Many entries have the same inputs, and a program loads many entries. So the process remembers the stamp of
//! a file for [`MEMO_TTL`], and the identity of its contents for as long as the stamp stays the same.

#![forbid(unsafe_code)]

mod dirs;
pub mod set;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use object::{Object, ReadCache};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::hex;
use crate::fsutil::{self, FileStamp, LONGEST_LIBRARY};
use crate::sync::lock;

use dirs::OpenDirs;
pub use set::InputSet;

/// The time for which the stamp of a file is not read again in this process.
pub const MEMO_TTL: Duration = Duration::from_secs(1);

/// The identity of a file that does not exist or cannot be read.
const ABSENT: &str = "absent";

/// A file that a build read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Its absolute path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Time of its last change, in nanoseconds since 1970.
    pub mtime: i64,
    /// The same by the clock of the file system, which no program can set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctime: Option<i64>,
    /// Its inode: another file under the same name has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// The identity of its contents: `build-id HEX` if it is a library that has one, else `sha256 HEX`;
    /// `absent` if it cannot be read.
    pub identity: String,
}

/// The state of a file, compared with a record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputState {
    /// The same contents: it was at most touched or copied.
    Same,
    /// It cannot be read, for this reason.
    Gone(String),
    /// Other contents, described in words.
    Changed(String),
}

/// The state of the inputs of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputsState {
    /// All have the same contents.
    Same,
    /// Some cannot be read, and the others have the same contents.
    Gone {
        /// The reason why the first cannot be read.
        first: String,
        /// Their number.
        count: usize,
    },
    /// One has other contents, described in words.
    Changed(String),
}

/// Returns the state of files, and the time at which the first of their stamps was read.
fn state_of(inputs: &[Input], now: Instant) -> (Instant, InputsState) {
    let mut dirs = OpenDirs::of(inputs.iter().map(|input| &*input.path));
    let (mut gone, mut oldest) = (Vec::new(), now);
    for input in inputs {
        let (at, stamp) = stamp_by(&input.path, now, MEMO_TTL, || dirs.stamp(&input.path));
        oldest = oldest.min(at);
        match input.compare(stamp) {
            InputState::Same => {}
            InputState::Gone(reason) => gone.push(reason),
            InputState::Changed(change) => return (oldest, InputsState::Changed(change)),
        }
    }
    let count = gone.len();
    let first = gone.into_iter().next();
    (oldest, first.map_or(InputsState::Same, |first| InputsState::Gone { first, count }))
}

/// Returns the state of files, as this process saw them at most [`MEMO_TTL`] ago.
#[must_use]
pub fn state(inputs: &[Input]) -> InputsState {
    state_of(inputs, Instant::now()).1
}

impl Input {
    /// Records a file as it is now.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn of(path: &Path) -> io::Result<Self> {
        Self::now(path).map_err(io::Error::other)
    }

    /// Records a file as it is now. A file that cannot be read counts as unchanged until it can.
    #[must_use]
    pub fn seen(path: &Path) -> Self {
        Self::now(path).unwrap_or_else(|_| Self {
            path: path.display().to_string(),
            size: 0,
            mtime: 0,
            ctime: None,
            inode: None,
            identity: ABSENT.to_owned(),
        })
    }

    fn now(path: &Path) -> Result<Self, String> {
        let path = path.display().to_string();
        let stamp = stamp(&path, Instant::now(), Duration::ZERO)?;
        let identity = contents(&path, stamp)?;
        Ok(Self {
            path,
            size: stamp.size,
            mtime: stamp.mtime,
            ctime: Some(stamp.ctime),
            inode: Some(stamp.inode),
            identity,
        })
    }

    /// Returns the state of the file, as this process saw it at most [`MEMO_TTL`] ago.
    #[must_use]
    pub fn state(&self) -> InputState {
        self.state_at(Instant::now(), MEMO_TTL)
    }

    /// Describes how the file differs now from the record; `None` if it does not. A file that could not be
    /// read and still cannot does not differ.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        match self.state_at(Instant::now(), Duration::ZERO) {
            InputState::Same => None,
            InputState::Gone(_) if self.identity == ABSENT => None,
            InputState::Gone(reason) | InputState::Changed(reason) => Some(reason),
        }
    }

    fn state_at(&self, now: Instant, max_age: Duration) -> InputState {
        self.compare(stamp(&self.path, now, max_age))
    }

    /// Compares the record with the stamp of the file.
    fn compare(&self, stamp: Result<FileStamp, String>) -> InputState {
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(reason) => return InputState::Gone(reason),
        };
        if self.identity == ABSENT {
            return InputState::Changed(format!("{} could not be read, and now it can", self.path));
        }
        if self.has_stamp(stamp) {
            return InputState::Same;
        }
        match contents(&self.path, stamp) {
            Ok(now) if now == self.identity => InputState::Same,
            Ok(now) => InputState::Changed(format!(
                "{} has changed ({} is now {})",
                self.path,
                brief(&self.identity),
                brief(&now)
            )),
            Err(reason) => InputState::Gone(reason),
        }
    }

    /// Returns true if the stamp is that of the record. Size and modification time alone are not enough:
    /// installers and archives set the times of files.
    fn has_stamp(&self, stamp: FileStamp) -> bool {
        (self.size, self.mtime) == (stamp.size, stamp.mtime)
            && self.ctime.is_none_or(|ctime| ctime == stamp.ctime)
            && self.inode.is_none_or(|inode| inode == stamp.inode)
    }
}

/// Forgets all stamps. A callback of the host may have written files that a build is about to read.
pub fn invalidate() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    lock(&KNOWN).values_mut().for_each(|seen| seen.at = None);
}

/// Shortens an identity for messages.
fn brief(identity: &str) -> &str {
    let end = identity.char_indices().nth(20).map_or(identity.len(), |(at, _)| at);
    &identity[..end]
}

/// A file that the process remembers.
struct KnownFile {
    /// Time at which its stamp was read; `None` to read it again.
    at: Option<Instant>,
    /// Its stamp, or the reason why it has none.
    stamp: Result<FileStamp, String>,
    /// The identity of its contents. It is dropped with the next reading of the stamp if it is not settled:
    /// the file may have been written again within one tick of the file system's clock.
    contents: Option<(String, Settled)>,
}

/// True if a file was old enough when it was read that its stamp identifies its contents.
type Settled = bool;

static KNOWN: LazyLock<Mutex<HashMap<String, KnownFile, FixedState>>> = LazyLock::new(Mutex::default);

/// The number of calls to [`invalidate`].
static GENERATION: AtomicU64 = AtomicU64::new(0);

fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Returns the stamp of a file, read again if it is `max_age` old, or the reason why it has none.
fn stamp(path: &str, now: Instant, max_age: Duration) -> Result<FileStamp, String> {
    stamp_by(path, now, max_age, || FileStamp::of(Path::new(path))).1
}

/// Does the same with a function that reads stamps. Returns the time at which it was read, too.
fn stamp_by(
    path: &str,
    now: Instant,
    max_age: Duration,
    read: impl FnOnce() -> io::Result<FileStamp>,
) -> (Instant, Result<FileStamp, String>) {
    if let Some(seen) = lock(&KNOWN).get(path)
        && let Some(at) = seen.at.filter(|at| now.saturating_duration_since(*at) < max_age)
    {
        return (at, seen.stamp.clone());
    }
    // Not under the lock: a network disk may be slow.
    let stamp = read().map_err(|error| describe(path, &error));
    let mut known = lock(&KNOWN);
    if let Some(seen) = known.get_mut(path) {
        let keeps = seen.stamp == stamp && seen.contents.as_ref().is_some_and(|(_, settled)| *settled);
        let contents = seen.contents.take().filter(|_| keeps);
        *seen = KnownFile { at: Some(now), stamp: stamp.clone(), contents };
    } else {
        let seen = KnownFile { at: Some(now), stamp: stamp.clone(), contents: None };
        known.insert(path.to_owned(), seen);
    }
    (now, stamp)
}

/// Returns the identity of the contents of a file with this stamp. Reads the file at most once.
fn contents(path: &str, stamp: FileStamp) -> Result<String, String> {
    if let Some(seen) = lock(&KNOWN).get(path).filter(|seen| seen.stamp.as_ref() == Ok(&stamp))
        && let Some((identity, _)) = &seen.contents
    {
        return Ok(identity.clone());
    }
    let settled = stamp.is_settled();
    let identity = identity(Path::new(path)).map_err(|error| describe(path, &error))?;
    if let Some(seen) = lock(&KNOWN).get_mut(path).filter(|seen| seen.stamp.as_ref() == Ok(&stamp)) {
        seen.contents = Some((identity.clone(), settled));
    }
    Ok(identity)
}

fn describe(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{path} is gone"),
        _ => format!("{path} cannot be read: {error}"),
    }
}

fn identity(path: &Path) -> io::Result<String> {
    let (mut file, facts) = fsutil::open_plain(path)?;
    if facts.len() > LONGEST_LIBRARY {
        return Err(fsutil::too_long(facts.len(), LONGEST_LIBRARY));
    }
    let mut magic = [0; 4];
    if file.read(&mut magic)? == 4 && magic == *b"\x7fELF" {
        let cached = ReadCache::new(&file);
        let parsed = object::File::parse(&cached).ok();
        if let Some(id) = parsed.as_ref().and_then(|elf| elf.build_id().ok().flatten()) {
            return Ok(format!("build-id {}", hex(id)));
        }
    }
    let (mut file, _) = fsutil::open_plain(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("sha256 {}", hex(&hasher.finalize()))),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::SystemTime;

    fn set_time(path: &Path, time: SystemTime) {
        fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn touching_is_no_change_and_writing_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ufc.h");
        fs::write(&path, "one").unwrap();
        let input = Input::of(&path).unwrap();
        assert_eq!(input.change(), None);
        set_time(&path, SystemTime::now() + Duration::from_secs(5));
        assert_eq!(input.change(), None);
        fs::write(&path, "two").unwrap();
        assert!(input.change().unwrap().contains("ufc.h has changed"));
        fs::remove_file(&path).unwrap();
        assert!(input.change().unwrap().contains("is gone"));
    }

    #[test]
    fn a_file_that_could_not_be_read_is_the_same_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later.h");
        let input = Input::seen(&path);
        assert_eq!(input.change(), None);
        assert!(matches!(input.state(), InputState::Gone(_)));
        fs::write(&path, "").unwrap();
        assert!(input.change().unwrap().contains("now it can"));
    }

    #[test]
    fn the_stamp_of_a_file_is_read_once_a_second_in_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared.h");
        fs::write(&path, "one").unwrap();
        let input = Input::of(&path).unwrap();
        let now = Instant::now();
        fs::write(&path, "two").unwrap();
        assert_eq!(input.state_at(now, MEMO_TTL), InputState::Same, "its stamp is not read again");
        assert!(matches!(input.state_at(now + MEMO_TTL, MEMO_TTL), InputState::Changed(_)));
        let input = Input::of(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(input.state(), InputState::Same);
        invalidate();
        assert_eq!(input.state(), InputState::Gone(format!("{} is gone", path.display())));
    }

    /// Installers and archives set the times of files.
    #[test]
    fn a_file_of_the_same_size_and_time_in_its_place_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.h"), dir.path().join("b.h"));
        let old = SystemTime::now() - Duration::from_secs(1000);
        for (path, text) in [(&path, "one"), (&other, "two")] {
            fs::write(path, text).unwrap();
            set_time(path, old);
        }
        let input = Input::of(&path).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(input.change().is_some());
        fs::write(&other, "one").unwrap();
        set_time(&other, old);
        fs::rename(&other, &path).unwrap();
        assert_eq!(input.change(), None, "another file with the same in it");
    }

    #[test]
    fn records_without_ctime_and_inode_are_read_and_compared_by_the_other_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ufc.h");
        fs::write(&path, "one").unwrap();
        let now = Input::of(&path).unwrap();
        let text = format!(
            r#"{{"path":"{}","size":{},"mtime":{},"identity":"sha256 0"}}"#,
            now.path, now.size, now.mtime
        );
        let old: Input = serde_json::from_str(&text).unwrap();
        assert_eq!(old.change(), None);
        assert_eq!(serde_json::to_string(&old).unwrap(), text);
    }

    /// A file that is written again within one tick of the clock is read again.
    #[test]
    fn a_file_that_was_just_written_is_not_known_by_its_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ufc.h");
        for round in 0..50 {
            fs::write(&path, format!("{:03}", round % 7)).unwrap();
            let input = Input::of(&path).unwrap();
            let expected = format!("sha256 {}", hex(&Sha256::digest(format!("{:03}", round % 7))));
            assert_eq!(input.identity, expected);
        }
    }

    #[test]
    fn a_program_is_identified_by_its_build_id_if_it_has_one() {
        let own = Input::of(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.identity.starts_with("build-id ") || own.identity.starts_with("sha256 "), "{own:?}");
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("odd");
        fs::write(&odd, b"\x7fELF and no more").unwrap();
        assert!(Input::of(&odd).unwrap().identity.starts_with("sha256 "));
    }
}
