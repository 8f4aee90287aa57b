//! Caches of what the ranks of a communicator have found out together.

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::parallel::all_same;
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
