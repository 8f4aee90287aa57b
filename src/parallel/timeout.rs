//! Late ranks: their hosts and processes, the step in which the others wait, and the texts of errors and
//! warnings.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::error::{Error, Kind};

/// Bytes of one entry of a [`RankTable`].
pub const ENTRY_SIZE: usize = 64;

/// The most late ranks that a text names one by one.
const NAMED: usize = 4;

/// Host and process of each rank, known to all ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankTable {
    size: usize,
    /// [`ENTRY_SIZE`] bytes of each rank, or empty if they are not known.
    entries: Vec<u8>,
}

impl RankTable {
    /// Makes the entry of a process: its id (a `u32`) and the name of its host, truncated or padded with
    /// zeros.
    #[must_use]
    pub fn entry(process: u32, host: &str) -> [u8; ENTRY_SIZE] {
        let mut entry = [0; ENTRY_SIZE];
        entry[..4].copy_from_slice(&process.to_le_bytes());
        let host = truncate(host, ENTRY_SIZE - 4).as_bytes();
        entry[4..4 + host.len()].copy_from_slice(host);
        entry
    }

    /// Makes a table of `size` ranks whose hosts and processes are not known.
    #[must_use]
    pub fn unknown(size: usize) -> Self {
        Self { size, entries: Vec::new() }
    }

    /// Makes a table of these entries, in rank order.
    #[must_use]
    pub fn new(entries: Vec<u8>) -> Self {
        Self { size: entries.len() / ENTRY_SIZE, entries }
    }

    /// Tells if hosts and processes are known, as they are after the handshake.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Returns the number of ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns process and host of a rank.
    fn get(&self, rank: usize) -> Option<(u32, String)> {
        let entry = self.entries.get(rank * ENTRY_SIZE..(rank + 1) * ENTRY_SIZE)?;
        let (process, host) = entry.split_at(4);
        let end = host.iter().position(|byte| *byte == 0).unwrap_or(host.len());
        let process = u32::from_le_bytes(process.try_into().ok()?);
        Some((process, String::from_utf8_lossy(&host[..end]).into_owned()))
    }

    fn describe(&self, rank: usize) -> String {
        match self.get(rank) {
            Some((process, host)) => format!("rank {rank} on {host} (process {process})"),
            None => format!("rank {rank}"),
        }
    }
}

/// The collective in which a rank waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number of the collective on this communicator.
    pub number: u64,
    /// The name of the call, empty if it is not known.
    pub call: String,
    /// The step of the call.
    pub step: String,
    /// The ranks that compile in this step, as far as this rank knows.
    pub builders: Vec<usize>,
    /// The time waited so far.
    pub waited: Duration,
}

impl Waiting {
    fn describe(&self) -> String {
        let Self { call, step, .. } = self;
        if call.is_empty() { format!("step \"{step}\"") } else { format!("step \"{step}\" of \"{call}\"") }
    }
}

/// Makes the error of ranks that stop waiting. Without late ranks, it says that MPI does not complete the
/// collective.
#[must_use]
pub fn timeout_error(rank_table: &RankTable, late: &[usize], waiting: &Waiting) -> Error {
    let size = rank_table.size();
    let (what, seconds) = (waiting.describe(), waiting.waited.as_secs_f64());
    let after = "every further call on this communicator fails at once";
    let Some(first) = late.first() else {
        let text = format!(
            "all {size} ranks take part in {what}, but MPI has not completed it for {seconds:.1} s (see \
             parallel.timeout): the network or MPI may be in trouble; {after}"
        );
        return Error::new(Kind::Timeout, text);
    };
    let subject = match rank_table.get(*first) {
        Some((process, _)) => format!("process {process} is late"),
        None => "it is late".to_owned(),
    };
    let others = others(rank_table, &late[1..]);
    let text = format!(
        "{subject}{others}: ranks in {what} have waited {seconds:.1} s and stop waiting (see \
         parallel.timeout). Check \
         if it is stopped, dead or only slow; {after}"
    );
    let host = rank_table.get(*first).map_or_else(|| "an unknown host".to_owned(), |(_, host)| host);
    Error::new(Kind::Timeout, text).on_rank(*first, size, &host)
}

/// Makes the warning of ranks that have waited for long.
#[must_use]
pub fn slow_warning(rank_table: &RankTable, late: &[usize], waiting: &Waiting) -> String {
    let (what, seconds) = (waiting.describe(), waiting.waited.as_secs_f64());
    let size = rank_table.size();
    let (building, missing): (Vec<usize>, Vec<usize>) =
        late.iter().partition(|rank| waiting.builders.contains(rank));
    let clause = |late: &[usize], does: &str| {
        let (first, rest) = late.split_first()?;
        Some(format!("{} {does}{}", rank_table.describe(*first), others(rank_table, rest)))
    };
    let compiling = clause(&building, &format!("is compiling \"{}\"", waiting.call));
    let missing = clause(&missing, "has not arrived").map(|text| format!("of {size}, {text}"));
    match compiling.into_iter().chain(missing).collect::<Vec<_>>().join("; ") {
        late if late.is_empty() => format!("all {size} ranks have waited {seconds:.0} s in {what}"),
        late => format!("ranks have waited {seconds:.0} s in {what}: {late}"),
    }
}

/// Makes the error of a first call, before the handshake: no rank knows which others are present.
#[must_use]
pub fn first_call_timeout(size: usize, call: &str, timeout: Duration) -> Error {
    let seconds = timeout.as_secs_f64();
    let text = format!(
        "not all {size} ranks have made the first call on this communicator (\"{call}\") within \
         {seconds:.1} s (see \
         parallel.timeout); late ranks cannot be named before that. Every further call on this communicator \
         fails at \
         once"
    );
    Error::new(Kind::Timeout, text)
}

/// Returns the beginning of a text: at most `length` bytes, cut between characters.
pub(super) fn truncate(text: &str, length: usize) -> &str {
    let mut end = text.len().min(length);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn others(rank_table: &RankTable, late: &[usize]) -> String {
    if late.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = late.iter().take(NAMED - 1).map(|rank| rank_table.describe(*rank)).collect();
    if late.len() > names.len() {
        names.push(format!("{} more", late.len() - names.len()));
    }
    format!(", and so are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank_table(size: u32) -> RankTable {
        RankTable::new(
            (0..size).flat_map(|rank| RankTable::entry(1000 + rank, &format!("node{}", rank / 2))).collect(),
        )
    }

    fn building() -> Waiting {
        Waiting {
            number: 7,
            call: "poisson".into(),
            step: "building".into(),
            builders: vec![0],
            waited: Duration::from_millis(2040),
        }
    }

    #[test]
    fn the_error_names_rank_host_process_step_and_time() {
        let error = timeout_error(&rank_table(4), &[2], &building());
        assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 2));
        for part in ["rank 2 of 4 on node1", "process 1002 ", "\"building\"", "\"poisson\"", "2.0 s"] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn of_many_late_ranks_four_are_named() {
        let late: Vec<usize> = (1..40).collect();
        let text = timeout_error(&rank_table(40), &late, &building());
        for part in ["rank 1 of 40 on node0: process 1001 ", "rank 4 on node2 (process 1004), 35 more:"] {
            assert!(text.message().contains(part), "{part}: {text}");
        }
        let warning = slow_warning(&rank_table(40), &[3, 5], &building());
        assert!(
            warning.contains("rank 3 on node1 (process 1003) has not arrived, and so are rank 5"),
            "{warning}"
        );
    }

    #[test]
    fn the_warning_tells_compiling_ranks_from_missing_ones() {
        let text = slow_warning(&rank_table(4), &[0], &building());
        let expected = "ranks have waited 2 s in step \"building\" of \"poisson\": rank 0 on node0 (process \
             1000) is \
                     compiling \"poisson\"";
        assert_eq!(text, expected);
        let text = slow_warning(&rank_table(4), &[0, 3], &building());
        let end = "; of 4, rank 3 on node1 (process 1003) has not arrived";
        assert_eq!(text, format!("{expected}{end}"));
        let both = Waiting { builders: vec![0, 2], ..building() };
        let text = slow_warning(&rank_table(4), &[0, 2], &both);
        assert_eq!(text, format!("{expected}, and so are rank 2 on node1 (process 1002)"));
    }

    #[test]
    fn errors_without_hosts_or_late_ranks_are_sentences() {
        let error = timeout_error(&RankTable::unknown(3), &[1, 2], &building());
        assert!(
            error.message().starts_with("rank 1 of 3 on an unknown host: it is late, and so are rank 2:")
        );
        assert!(
            timeout_error(&rank_table(3), &[], &building()).message().starts_with("all 3 ranks take part")
        );
        assert!(slow_warning(&rank_table(3), &[], &building()).contains("all 3 ranks"));
        assert!(first_call_timeout(3, "x", Duration::from_secs(2)).message().contains("2.0 s"));
    }

    #[test]
    fn a_long_host_name_is_truncated_between_characters() {
        let rank_table = RankTable::new(RankTable::entry(1, &"é".repeat(50)).to_vec());
        assert_eq!(rank_table.get(0), Some((1, "é".repeat(30))));
        assert_eq!(rank_table.get(1), None);
    }
}
