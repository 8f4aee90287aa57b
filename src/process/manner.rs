//! In which manner a thread runs its commands: on which cores, and whether it has been told to stop.
//!
//! It belongs to the thread and not to the command, so that everything that a build runs on its way, whatever that is,
//! is run alike.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cores::Cores;

/// The manner of a thread.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// The cores for its commands.
    pub cores: Cores,
    /// Set by another thread when nobody wants the result any more: what runs is ended, and nothing is begun.
    pub given_up: Option<Arc<AtomicBool>>,
}

thread_local! {
    /// Without a destructor, so that calls from static destructors still find it. Between calls it holds nothing.
    static MANNER: RefCell<ManuallyDrop<Manner>> =
        const { RefCell::new(ManuallyDrop::new(Manner { cores: Cores::Auto, given_up: None })) };
}

/// Runs `action`, and what it runs, in this manner.
pub fn within<T>(manner: Manner, action: impl FnOnce() -> T) -> T {
    /// Puts back the former manner even when `action` panics.
    struct Guard(ManuallyDrop<Manner>);
    impl Drop for Guard {
        fn drop(&mut self) {
            MANNER.with_borrow_mut(|manner| std::mem::swap(&mut **manner, &mut self.0));
        }
    }
    let _guard = Guard(MANNER.replace(ManuallyDrop::new(manner)));
    action()
}

/// Whether what this thread does has been given up.
#[must_use]
pub fn given_up() -> bool {
    MANNER.with_borrow(|manner| manner.given_up.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// The cores for the commands of this thread.
pub(super) fn cores() -> Cores {
    MANNER.with_borrow(|manner| manner.cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manner_lasts_as_long_as_the_action_and_for_its_thread_alone() {
        let flag = Arc::new(AtomicBool::new(true));
        let manner = Manner { cores: Cores::All, given_up: Some(flag) };
        within(manner, || {
            assert!(given_up() && cores() == Cores::All);
            within(Manner::default(), || assert!(!given_up()));
            assert!(given_up());
            let elsewhere = std::thread::spawn(given_up).join();
            assert!(!elsewhere.unwrap());
        });
        assert!(!given_up() && cores() == Cores::Auto);
    }
}
