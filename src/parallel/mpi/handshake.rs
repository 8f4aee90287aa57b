//! The handshake of the first call on a communicator: hosts and processes of all ranks, and the memory that
//! the ranks of a host share.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::Result;
use crate::owner;
use crate::parallel::Communicator;
use crate::parallel::node::hosts::RankHosts;
use crate::parallel::node::memory_file::{HANDLE_SIZE, MemoryFile};
use crate::parallel::node::shared::SharedMemory;
use crate::parallel::timeout::{self, RankTable};

use super::MpiComm;
use super::wait::Node;

/// With the value "off", this rank and the others of its host do not share memory.
const NODE_MEMORY: &str = "DIJITSO_NODE_MEMORY";

/// Ranks of one machine with different values of this variable count as ranks of different hosts.
const HOST_ID: &str = "DIJITSO_HOST_ID";

/// Bytes of a rank's entry: machine (`u64`), handle of its memory, host and process.
const ENTRY_SIZE: usize = 8 + HANDLE_SIZE + timeout::ENTRY_SIZE;

/// Returns the number of this machine. All its containers have the same one: their inodes are comparable.
pub(super) fn machine() -> u64 {
    let mut id = owner::boot_id().to_vec();
    if let Some(host) = std::env::var_os(HOST_ID) {
        id.push(0);
        id.extend_from_slice(host.as_encoded_bytes());
    }
    let digest = crate::codec::digest(&id);
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// The entries of all ranks.
struct RankEntries(Vec<u8>);

impl RankEntries {
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.0.chunks_exact(ENTRY_SIZE)
    }

    fn machines(&self) -> Vec<u64> {
        let number = |row: &[u8]| u64::from_le_bytes(row[..8].try_into().expect("eight bytes"));
        self.rows().map(number).collect()
    }

    fn handle(&self, rank: usize) -> [u8; HANDLE_SIZE] {
        let row = &self.0[rank * ENTRY_SIZE..];
        row[8..8 + HANDLE_SIZE].try_into().expect("the bytes of a handle")
    }

    fn rank_table(&self) -> RankTable {
        RankTable::new(self.rows().flat_map(|row| &row[8 + HANDLE_SIZE..]).copied().collect())
    }
}

impl MpiComm {
    /// Exchanges hosts and processes of all ranks, and maps the memory of this host. Collective: two gathers, or
    /// one if there are no ranks that could share memory.
    pub(super) fn handshake(&self, call: &str, timeout: Option<Duration>) -> Result<()> {
        self.begin(call, timeout);
        self.enter("handshake");
        let is_off = std::env::var_os(NODE_MEMORY).is_some_and(|value| value == "off");
        let file = if self.size > 1 && !is_off { MemoryFile::new().ok() } else { None };
        let handle = file.as_ref().and_then(|file| file.handle().ok()).unwrap_or_default();
        let process = RankTable::entry(std::process::id(), &self.host);
        let mine = [&self.machine.to_le_bytes()[..], &handle, &process].concat();
        let entries = RankEntries(self.all_gather(&mine)?);
        let machines = entries.machines();
        let mut ranks: HashMap<u64, Vec<usize>> = HashMap::new();
        for (rank, machine) in machines.iter().enumerate() {
            ranks.entry(*machine).or_default().push(rank);
        }
        // Without a handle of the lowest rank the ranks of a machine share nothing.
        let may_share = |ranks: &[usize]| ranks.len() > 1 && entries.handle(ranks[0]) != [0; HANDLE_SIZE];
        let mut shares = vec![false; self.size];
        let mut memory = None;
        if ranks.values().any(|ranks| may_share(ranks)) {
            let ranks = &ranks[&self.machine];
            if may_share(ranks) {
                let index = ranks.binary_search(&self.rank).unwrap_or_default();
                memory =
                    file.as_ref().and_then(|file| map(file, entries.handle(ranks[0]), ranks.len(), index));
            }
            // The file stays open until all ranks have opened it.
            let mapped = self.all_gather(&[u8::from(memory.is_some())])?;
            shares = mapped.into_iter().map(|mapped| mapped != 0).collect();
        }
        let hosts = RankHosts::new(self.rank, &machines, &shares);
        let memory = memory.filter(|_| hosts.members().len() > 1);
        self.state.set_ranks(entries.rank_table(), Node { hosts, memory });
        Ok(())
    }
}

/// Maps the memory of a host whose lowest rank has sent `handle`; `None` if that fails.
fn map(own: &MemoryFile, handle: [u8; HANDLE_SIZE], ranks: usize, index: usize) -> Option<SharedMemory> {
    if index == 0 {
        return SharedMemory::map(own, ranks, index).ok();
    }
    SharedMemory::map(&own.open(handle).ok()?, ranks, index).ok()
}
