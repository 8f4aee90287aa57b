//! The journal of a plan: what its makes have built, where and in what time, and what has failed. It is for
//! people and for the next schedule; results are in the cache, and nothing is lost with a journal.
//!
//! ```text
//! plan/<key>.jsonl := line*                       appended in one write, several at a time if nodes are quick
//! line             := "\n" JSON "\n"              see JournalLine
//! ```
//! A line that is torn or of another version is skipped. Hits are not written. A file that has become long is
//! replaced by the last line of each node. A make that is killed loses the lines of nodes that took less than 10 ms, of
//! its last 50 ms.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, Durability, Tree};

use crate::sync::lock;

use super::execution::Execution;

/// The length at which a journal is shortened, in bytes.
const MAX_LENGTH: u64 = 16 << 20;

const MODE: u32 = 0o644;

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum JournalLine {
    /// A make begins.
    Begin(MakeBegin),
    /// A node was built, or has failed.
    Node(Box<NodeEnd>),
    /// A make has ended.
    End(MakeEnd),
}

/// The begin of a make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MakeBegin {
    /// The identifier of the make.
    pub run: String,
    /// Seconds since 1970.
    pub at: f64,
    /// The host of rank 0.
    pub host: String,
    /// The process of rank 0.
    pub pid: u32,
    /// The number of ranks.
    pub ranks: usize,
    /// The number of nodes that run at once on each rank.
    pub jobs: usize,
    /// The number of nodes to be made.
    pub nodes: usize,
}

/// The end of an execution of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// The identifier of the make.
    pub run: String,
    /// The label.
    pub label: String,
    /// The name of the library or task.
    pub name: String,
    /// The signature, if it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The execution.
    pub execution: Execution,
    /// The error, if it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// The end of a make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MakeEnd {
    /// The identifier of the make.
    pub run: String,
    /// Seconds since 1970.
    pub at: f64,
    /// The numbers of nodes in each state.
    pub done: usize,
    /// See `done`.
    pub failed: usize,
    /// See `done`.
    pub blocked: usize,
    /// See `done`.
    pub todo: usize,
}

/// The facts that a journal has of earlier makes.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last execution of each label.
    pub nodes: HashMap<String, NodeEnd>,
    /// The begin of the last make.
    pub last_begin: Option<MakeBegin>,
    /// The end of the last make that has ended.
    pub last_end: Option<MakeEnd>,
    /// Sum and number of the seconds of work of nodes with one name.
    by_name: HashMap<String, (f64, u32)>,
    /// The most memory of nodes with one name, in bytes.
    memory: HashMap<String, u64>,
}

impl History {
    fn add(&mut self, line: JournalLine) {
        match line {
            JournalLine::Begin(begin) => self.last_begin = Some(begin),
            JournalLine::End(end) => self.last_end = Some(end),
            JournalLine::Node(node) => {
                if node.error.is_none() {
                    let (sum, count) = self.by_name.entry(node.name.clone()).or_default();
                    *sum += node.execution.work();
                    *count += 1;
                }
                let memory = self.memory.entry(node.name.clone()).or_default();
                *memory = (*memory).max(node.execution.memory);
                self.nodes.insert(node.label.clone(), *node);
            }
        }
    }

    /// Returns the seconds that a node is expected to take: as the last time, as nodes of its name, or
    /// `default`.
    #[must_use]
    pub fn seconds(&self, label: &str, name: &str, default: f64) -> f64 {
        let same = self.nodes.get(label).filter(|node| node.error.is_none() && node.name == name);
        let alike = || self.by_name.get(name).map(|(sum, count)| sum / f64::from(*count));
        same.map(|node| node.execution.work()).or_else(alike).unwrap_or(default)
    }

    /// Returns the bytes that a node is expected to use; 0 if unknown.
    #[must_use]
    pub fn memory(&self, label: &str, name: &str) -> u64 {
        let same = self.nodes.get(label).map(|node| node.execution.memory).filter(|memory| *memory > 0);
        same.or_else(|| self.memory.get(name).copied()).unwrap_or_default()
    }
}

/// Returns the lines of a journal that can be read, in order.
#[must_use]
pub fn read_lines(path: &Path) -> Vec<JournalLine> {
    let data = fsutil::read_trusted(path).ok().flatten().unwrap_or_default();
    let lines = data.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Returns the number of lines of a journal that cannot be read.
#[must_use]
pub fn unreadable_lines(path: &Path) -> usize {
    let data = fsutil::read_trusted(path).ok().flatten().unwrap_or_default();
    let is_bad = |line: &&[u8]| !line.is_empty() && serde_json::from_slice::<JournalLine>(line).is_err();
    data.split(|byte| *byte == b'\n').filter(is_bad).count()
}

/// Drops the lines on nodes of these labels from a journal, and lines that cannot be read. Returns the number of
/// the former. Lines that a make writes meanwhile may be lost.
///
/// # Errors
/// [`Kind::Cache`] if the cache or the journal cannot be written.
pub fn forget_nodes(cache: &Cache, key: &str, labels: &HashSet<&str>) -> Result<usize> {
    let path = cache.layout().plan_journal(key);
    let lines = read_lines(&path);
    let is_kept = |line: &&JournalLine| !matches!(line, JournalLine::Node(node) if labels.contains(node.label.as_str()));
    let kept: Vec<&JournalLine> = lines.iter().filter(is_kept).collect();
    let Some(tree) = cache.open()?.filter(|_| kept.len() < lines.len()) else { return Ok(0) };
    let text: Vec<u8> = kept.iter().flat_map(|line| encode(line)).collect();
    let written = tree.replace_atomic(&path, &text, MODE, Durability::Volatile);
    written.map_err(|error| Error::io("cannot write", &path, &error))?;
    Ok(lines.len() - kept.len())
}

/// Reads the journal of a plan. A journal that cannot be read is empty.
#[must_use]
pub fn read_history(cache: &Cache, key: &str) -> History {
    let mut history = History::default();
    read_lines(&cache.layout().plan_journal(key)).into_iter().for_each(|line| history.add(line));
    history
}

/// A journal that a make writes.
pub(super) struct JournalWriter {
    tree: Tree,
    path: PathBuf,
    waiting: Mutex<WaitingLines>,
}

/// Lines of quick nodes, which are written together.
#[derive(Default)]
struct WaitingLines {
    text: Vec<u8>,
    since: Option<Instant>,
}

/// The longest time that a line of a quick node waits.
const MAX_DELAY: Duration = Duration::from_millis(50);

/// Nodes that take less than this are quick, in seconds.
const QUICK: f64 = 0.01;

impl JournalWriter {
    /// Opens the journal of a plan. Shortens it if it is long.
    ///
    /// # Errors
    /// [`Kind::Cache`] if the cache is frozen or cannot be written.
    pub(super) fn open(cache: &Cache, key: &str) -> Result<Self> {
        if cache.layout().params().frozen {
            return Err(Error::new(Kind::Cache, "nothing is written into a frozen cache"));
        }
        let (tree, path) = (cache.open_or_make()?, cache.layout().plan_journal(key));
        if path.metadata().is_ok_and(|facts| facts.len() > MAX_LENGTH) {
            let mut last: HashMap<String, JournalLine> = HashMap::new();
            for line in read_lines(&path) {
                if let JournalLine::Node(node) = &line {
                    last.insert(node.label.clone(), line);
                }
            }
            let text: Vec<u8> = last.values().flat_map(encode).collect();
            if let Err(error) = tree.replace_atomic(&path, &text, MODE, Durability::Volatile) {
                log::info!("{} is not shortened: {error}", path.display());
            }
        }
        Ok(Self { tree, path, waiting: Mutex::default() })
    }

    /// Appends a line; that of a quick node within [`MAX_DELAY`], if more follow. A line that cannot be written is
    /// lost, and the make goes on.
    pub(super) fn write(&self, line: &JournalLine) {
        let is_quick = |node: &NodeEnd| node.error.is_none() && node.execution.seconds() < QUICK;
        let may_wait = matches!(line, JournalLine::Node(node) if is_quick(node));
        let mut waiting = lock(&self.waiting);
        // After a line that was torn, this one stands for itself.
        waiting.text.push(b'\n');
        waiting.text.extend(encode(line));
        let since = *waiting.since.get_or_insert_with(Instant::now);
        if !may_wait || since.elapsed() >= MAX_DELAY {
            self.flush(&mut waiting);
        }
    }

    fn flush(&self, waiting: &mut WaitingLines) {
        let WaitingLines { text, since: Some(_) } = std::mem::take(waiting) else { return };
        if let Err(error) = self.tree.append(&self.path, &text, MODE) {
            log::info!("{} is not written: {error}", self.path.display());
        }
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut *lock(&self.waiting));
        self.flush(&mut waiting);
    }
}

fn encode(line: &JournalLine) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("a line consists of strings and numbers");
    text.push(b'\n');
    text
}

/// Returns the seconds since 1970.
#[must_use]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::cache;
    use crate::plan::execution::Phase;

    fn node(label: &str, seconds: f64, error: Option<Error>) -> JournalLine {
        let phases = vec![(Phase::WaitForSlot, 9.0), (Phase::Compile, seconds)];
        let (host, begin) = ("n1".to_owned(), 1.0);
        let execution = Execution { host, pid: 1, rank: 0, slot: 0, begin, phases, memory: 5 << 20 };
        let (run, name) = ("r".to_owned(), "form".to_owned());
        JournalLine::Node(Box::new(NodeEnd {
            run,
            label: label.to_owned(),
            name,
            signature: None,
            execution,
            error,
        }))
    }

    #[test]
    fn a_journal_survives_a_torn_line_and_tells_what_nodes_take() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let journal = JournalWriter::open(&cache, "p").unwrap();
        journal.write(&node("a", 1.0, None));
        journal.write(&node("b", 3.0, None));
        journal.write(&node("c", 7.0, Some(Error::new(Kind::Compile, "no"))));
        let path = cache.layout().plan_journal("p");
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"event\":\"node\",\"run");
        fsutil::write(&path, &text).unwrap();
        let history = read_history(&cache, "p");
        assert_eq!(history.nodes.len(), 3);
        assert_eq!(history.seconds("a", "form", 0.0), 1.0);
        assert_eq!(history.seconds("new", "form", 0.0), 2.0);
        assert_eq!(history.seconds("c", "form", 0.0), 2.0, "a failure tells nothing");
        assert_eq!(history.seconds("x", "other", 0.5), 0.5);
        assert_eq!(history.memory("new", "form"), 5 << 20);
        assert!(history.nodes["c"].error.is_some());
        assert_eq!((unreadable_lines(&path), read_lines(&path).len()), (1, 3));
        assert_eq!(forget_nodes(&cache, "p", &HashSet::from(["none"])).unwrap(), 0);
        assert_eq!(forget_nodes(&cache, "p", &HashSet::from(["a", "c"])).unwrap(), 2);
        assert_eq!((unreadable_lines(&path), read_history(&cache, "p").nodes.len()), (0, 1));
        assert_eq!(forget_nodes(&cache, "other", &HashSet::from(["a"])).unwrap(), 0);
    }
}
