//! Locks that a panic does not poison.
//!
//! Under the locks of this crate a value is never left half changed. So a panic of the thread that holds one
//! does not matter to the others.

#![forbid(unsafe_code)]

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, TryLockError};

/// Locks a mutex.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    recover(mutex.lock())
}

/// Locks a mutex if no thread holds it. The holder may be a thread of the process that this one was forked
/// from, which never lets it go here, or one that was stopped at the end of the process.
pub fn try_lock<T: ?Sized>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Takes what a lock or a condition variable returned, poisoned or not.
pub fn recover<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}
