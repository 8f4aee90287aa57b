//! The news that ranks exchange about a make when they meet.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::parallel::{Communicator, agree_min};
use crate::plan::StopRequest;
use crate::plan::execution::Execution;

/// Something that has happened on a rank since the last meeting. Nodes are named by their labels, because the
/// callbacks of different ranks add different nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct NewsItem {
    pub(super) label: String,
    pub(super) what: News,
}

/// An event in the making of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum News {
    /// A callback has added it.
    Added { is_task: bool, name: String },
    /// The rank may begin it before the next meeting.
    Reserved,
    /// It has begun.
    Started,
    /// It is done.
    Done { signature: String, digest: String, size: u64, built: bool, execution: Option<Execution> },
    /// It has failed.
    Failed { error: Error, execution: Option<Execution> },
    /// The failed node of this label, which its callback has added, blocks it.
    Blocked { cause: String, error: Error },
    /// It was interrupted, and is still to be made.
    Interrupted { execution: Execution },
    /// The callback that had added it has failed.
    TakenBack,
}

/// The knowledge that all ranks share after a meeting.
#[derive(Debug)]
pub(super) struct Meeting {
    /// The news of each rank.
    pub(super) news: Vec<Vec<NewsItem>>,
    /// The strongest request to stop of any rank.
    pub(super) stop: StopRequest,
    /// True if a rank runs a node.
    pub(super) is_running: bool,
}

/// Tells the other ranks what has happened. Collective.
///
/// # Errors
/// Those of the communicator.
pub(super) fn meet(
    comm: &dyn Communicator,
    news: &[NewsItem],
    stop: StopRequest,
    is_running: bool,
) -> Result<Meeting> {
    const STEP: &str = "sharing out a plan";
    let encoded = if news.is_empty() { Ok(Vec::new()) } else { serde_json::to_vec(news) };
    let failed = encoded.as_ref().err().map(|error| Error::new(Kind::Internal, error.to_string()));
    let mine = encoded.unwrap_or_default();
    // Minima of complements are maxima.
    let mut votes = [!(mine.len() as u64), !(stop as u64), u64::from(!is_running)];
    agree_min(comm, STEP, &mut votes, |_| failed.map_or(Ok(()), Err))?;
    let longest = usize::try_from(!votes[0]).unwrap_or_default();
    let stop = match !votes[1] {
        0 => StopRequest::Go,
        1 => StopRequest::Finish,
        _ => StopRequest::Kill,
    };
    let mut all = vec![Vec::new(); comm.size()];
    if longest > 0 {
        let mut padded = vec![0; longest + 8];
        padded[..8].copy_from_slice(&(mine.len() as u64).to_le_bytes());
        padded[8..8 + mine.len()].copy_from_slice(&mine);
        let rows = comm.all_gather(&padded)?;
        for (news, row) in all.iter_mut().zip(rows.chunks_exact(longest + 8)) {
            let bytes = crate::codec::Reader::new(row).bytes().unwrap_or_default();
            if !bytes.is_empty() {
                *news = serde_json::from_slice(bytes)
                    .map_err(|error| Error::new(Kind::Internal, format!("the news of a rank: {error}")))?;
            }
        }
    }
    Ok(Meeting { news: all, stop, is_running: votes[2] == 0 })
}
