//! Caches of what the ranks of a communicator have found out together.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::parallel::{Communicator, agree, all_same};
use crate::sync::lock;

/// Values that the ranks of a communicator have found out together, by key.
///
/// An insertion is part of a collective, so it has the same epoch on all ranks. The ranks mean the same value
/// if and only if the epochs of their keys are the same; keys and values (paths, say) may differ between
/// ranks.
pub(super) struct EpochCache<K, V> {
    entries: Mutex<HashMap<K, (u64, V)>>,
    next_epoch: AtomicU64,
}

impl<K, V> Default for EpochCache<K, V> {
    fn default() -> Self {
        Self { entries: Mutex::default(), next_epoch: AtomicU64::new(0) }
    }
}

impl<K: Eq + Hash, V: Clone> EpochCache<K, V> {
    /// Returns votes; their minimum over the ranks tells [`EpochCache::agreed`] whether all have the same
    /// epoch.
    pub(super) fn votes<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> [u64; 2]
    where
        K: Borrow<Q>,
    {
        let epoch = lock(&self.entries).get(key).map_or(u64::MAX, |(epoch, _)| *epoch);
        [epoch, !epoch]
    }

    /// Returns the value that this rank has, whatever the other ranks have.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        lock(&self.entries).get(key).map(|(_, value)| value.clone())
    }

    /// Returns the value if, by the reduced `votes`, all ranks mean the same one.
    pub(super) fn agreed<Q: Eq + Hash + ?Sized>(&self, key: &Q, votes: &[u64; 2]) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if all_same(votes) { self.get(key) } else { None }
    }

    /// Stores what the ranks have just found out together. All of them call this.
    pub(super) fn insert(&self, key: K, value: V) {
        let epoch = self.next_epoch.fetch_add(1, Ordering::Relaxed);
        lock(&self.entries).insert(key, (epoch, value));
    }
}

/// A communicator that other threads may use.
pub(super) type SharedComm = Arc<dyn Communicator + Send + Sync>;

/// Communicators of some of the ranks, by the division of the ranks. They last as long as the communicator
/// that they were split from, so each division is split once.
#[derive(Default)]
pub(super) struct SubComms(Mutex<HashMap<Vec<usize>, SharedComm>>);

impl SubComms {
    /// Returns the communicator of the ranks with the color of this one. `colors` is the same on all ranks.
    /// Collective.
    pub(super) fn split(&self, comm: &dyn Communicator, colors: &[usize], step: &str) -> Result<SharedComm> {
        let known = lock(&self.0).get(colors).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let split = comm.split(colors[comm.rank()]);
        let split = agree(comm, step, || split)?;
        lock(&self.0).insert(colors.to_vec(), Arc::clone(&split));
        Ok(split)
    }
}
