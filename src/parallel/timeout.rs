//! Ranks that do not come: who they are, what the others wait in, and the words for it.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::error::{Error, Kind};

/// Bytes of one rank in a roster.
pub const ENTRY_SIZE: usize = 64;

/// How many late ranks a text names one by one.
const NAMED: usize = 4;

/// Host and process of every rank, so that every rank can name every other without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankTable {
    size: usize,
    /// `ROW` bytes of each rank, or nothing where they are not known.
    rows: Vec<u8>,
}

impl RankTable {
    /// The row of this process: its number (a `u32`) and its host's name, cut where it is too long, zeros behind it.
    #[must_use]
    pub fn entry(process: u32, host: &str) -> [u8; ENTRY_SIZE] {
        let mut row = [0; ENTRY_SIZE];
        row[..4].copy_from_slice(&process.to_le_bytes());
        let host = cut(host, ENTRY_SIZE - 4).as_bytes();
        row[4..4 + host.len()].copy_from_slice(host);
        row
    }

    /// The roster of a group of which only the size is known.
    #[must_use]
    pub fn unknown(size: usize) -> Self {
        Self { size, rows: Vec::new() }
    }

    /// The roster of these rows, in rank order.
    #[must_use]
    pub fn new(rows: Vec<u8>) -> Self {
        Self { size: rows.len() / ENTRY_SIZE, rows }
    }

    /// Whether hosts and processes are known: the ranks have met.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The number of ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Process and host of a rank.
    fn get(&self, rank: usize) -> Option<(u32, String)> {
        let row = self.rows.get(rank * ENTRY_SIZE..(rank + 1) * ENTRY_SIZE)?;
        let (process, host) = row.split_at(4);
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

/// What a rank waits in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number of the collective on this communicator.
    pub number: u64,
    /// The name of the call, empty where that is not known.
    pub call: String,
    /// The step of the call.
    pub step: String,
    /// The ranks that compile in this step, as far as this rank knows.
    pub builders: Vec<usize>,
    /// For how long.
    pub waited: Duration,
}

impl Waiting {
    fn describe(&self) -> String {
        let Self { call, step, .. } = self;
        if call.is_empty() { format!("step \"{step}\"") } else { format!("step \"{step}\" of \"{call}\"") }
    }
}

/// The error of ranks that wait no longer. Without late ranks it is the communication that does not come to its end.
#[must_use]
pub fn timeout_error(roster: &RankTable, late: &[usize], waiting: &Waiting) -> Error {
    let size = roster.size();
    let (what, seconds) = (waiting.describe(), waiting.waited.as_secs_f64());
    let after = "every further call on this communicator fails at once";
    let Some(first) = late.first() else {
        let text = format!(
            "all {size} ranks take part in {what}, but their communication has not come to its end for {seconds:.1} s \
             (see parallel.timeout): the network or MPI may be in trouble; {after}"
        );
        return Error::new(Kind::Timeout, text);
    };
    let whose = match roster.get(*first) {
        Some((process, _)) => format!("process {process} is late"),
        None => "it is late".to_owned(),
    };
    let others = others(roster, &late[1..]);
    let text = format!(
        "{whose}{others}: ranks in {what} have waited {seconds:.1} s and wait no longer (see parallel.timeout). Look \
         whether it is stopped, dead or just slow; {after}"
    );
    let host = roster.get(*first).map_or_else(|| "an unknown host".to_owned(), |(_, host)| host);
    Error::new(Kind::Timeout, text).on_rank(*first, size, &host)
}

/// The warning of ranks that have waited for long.
#[must_use]
pub fn slow_warning(roster: &RankTable, late: &[usize], waiting: &Waiting) -> String {
    let (what, seconds) = (waiting.describe(), waiting.waited.as_secs_f64());
    let size = roster.size();
    let (building, away): (Vec<usize>, Vec<usize>) =
        late.iter().partition(|rank| waiting.builders.contains(rank));
    let whom = |late: &[usize], does: &str| {
        let (first, rest) = late.split_first()?;
        Some(format!("{} {does}{}", roster.describe(*first), others(roster, rest)))
    };
    let compiling = whom(&building, &format!("is compiling \"{}\"", waiting.call));
    let missing = whom(&away, "has not come yet").map(|text| format!("of {size}, {text}"));
    match compiling.into_iter().chain(missing).collect::<Vec<_>>().join("; ") {
        late if late.is_empty() => format!("all {size} ranks have waited {seconds:.0} s in {what}"),
        late => format!("ranks have waited {seconds:.0} s in {what}: {late}"),
    }
}

/// The error of a first call, before the ranks have met: nobody knows who is there.
#[must_use]
pub fn first_call_timeout(size: usize, call: &str, timeout: Duration) -> Error {
    let seconds = timeout.as_secs_f64();
    let text = format!(
        "not all {size} ranks have come to the first call on this communicator (\"{call}\") within {seconds:.1} s (see \
         parallel.timeout); who is late cannot be told of ranks that have not met yet. Every further call on this \
         communicator fails at once"
    );
    Error::new(Kind::Timeout, text)
}

/// The beginning of a text, of so many bytes or a few less.
pub(super) fn cut(text: &str, length: usize) -> &str {
    let mut end = text.len().min(length);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn others(roster: &RankTable, late: &[usize]) -> String {
    if late.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = late.iter().take(NAMED - 1).map(|rank| roster.describe(*rank)).collect();
    if late.len() > names.len() {
        names.push(format!("{} more", late.len() - names.len()));
    }
    format!(", and so are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(size: u32) -> RankTable {
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
    fn the_error_says_who_where_in_what_and_for_how_long() {
        let error = timeout_error(&roster(4), &[2], &building());
        assert_eq!((error.kind(), error.rank()), (Kind::Timeout, 2));
        for part in ["rank 2 of 4 on node1", "process 1002 ", "\"building\"", "\"poisson\"", "2.0 s"] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn of_many_late_ranks_some_are_named() {
        let late: Vec<usize> = (1..40).collect();
        let text = timeout_error(&roster(40), &late, &building());
        for part in ["rank 1 of 40 on node0: process 1001 ", "rank 4 on node2 (process 1004), 35 more:"] {
            assert!(text.message().contains(part), "{part}: {text}");
        }
        let warning = slow_warning(&roster(40), &[3, 5], &building());
        assert!(
            warning.contains("rank 3 on node1 (process 1003) has not come yet, and so are rank 5"),
            "{warning}"
        );
    }

    #[test]
    fn a_rank_that_compiles_is_not_one_that_has_not_come() {
        let text = slow_warning(&roster(4), &[0], &building());
        let whole = "ranks have waited 2 s in step \"building\" of \"poisson\": rank 0 on node0 (process 1000) is \
                     compiling \"poisson\"";
        assert_eq!(text, whole);
        let text = slow_warning(&roster(4), &[0, 3], &building());
        let end = "; of 4, rank 3 on node1 (process 1003) has not come yet";
        assert_eq!(text, format!("{whole}{end}"));
        let both = Waiting { builders: vec![0, 2], ..building() };
        let text = slow_warning(&roster(4), &[0, 2], &both);
        assert_eq!(text, format!("{whole}, and so are rank 2 on node1 (process 1002)"));
    }

    #[test]
    fn without_a_roster_or_late_ranks_there_is_still_a_sentence() {
        let error = timeout_error(&RankTable::unknown(3), &[1, 2], &building());
        assert!(
            error.message().starts_with("rank 1 of 3 on an unknown host: it is late, and so are rank 2:")
        );
        assert!(timeout_error(&roster(3), &[], &building()).message().starts_with("all 3 ranks take part"));
        assert!(slow_warning(&roster(3), &[], &building()).contains("all 3 ranks"));
        assert!(first_call_timeout(3, "x", Duration::from_secs(2)).message().contains("2.0 s"));
    }

    #[test]
    fn a_host_name_that_is_too_long_is_cut_between_characters() {
        let roster = RankTable::new(RankTable::entry(1, &"é".repeat(50)).to_vec());
        assert_eq!(roster.get(0), Some((1, "é".repeat(30))));
        assert_eq!(roster.get(1), None);
    }
}
