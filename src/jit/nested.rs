//! Calls within `generate`: local to the builder, and what they ask for travels with the parent.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A `generate` under way on this thread.
struct Frame {
    /// The cache directory of the parameters, and the one that the parent really uses.
    dirs: (PathBuf, PathBuf),
    /// Signatures that nested calls were answered with.
    asked: Vec<String>,
    /// The error of the last nested call that failed.
    failed: Option<Error>,
}

thread_local! {
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// What nested calls did during a `generate`.
pub(super) struct Nested {
    pub(super) asked: Vec<String>,
    pub(super) failed: Option<Error>,
}

/// Whether this thread is within a `generate` callback.
#[must_use]
pub fn is_nested() -> bool {
    FRAMES.with_borrow(|frames| !frames.is_empty())
}

/// Runs `generate` such that calls within know whose they are.
pub(super) fn within<T>(declared: &Path, effective: &Path, generate: impl FnOnce() -> T) -> (T, Nested) {
    /// Takes the frame away even when `generate` panics.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            FRAMES.with_borrow_mut(|frames| drop(frames.pop()));
        }
    }
    FRAMES.with_borrow_mut(|frames| {
        frames.push(Frame {
            dirs: (declared.to_owned(), effective.to_owned()),
            asked: Vec::new(),
            failed: None,
        });
    });
    let guard = Guard;
    let result = generate();
    let nested = FRAMES.with_borrow_mut(|frames| {
        let frame = frames.last_mut().expect("pushed above, popped by the guard below");
        Nested { asked: std::mem::take(&mut frame.asked), failed: frame.failed.take() }
    });
    drop(guard);
    (result, nested)
}

/// The directory that a nested call uses instead of `declared`: that of its parent.
pub(super) fn effective_dir(declared: &Path) -> PathBuf {
    FRAMES.with_borrow(|frames| {
        let parent = frames.iter().rev().find(|frame| frame.dirs.0 == declared);
        parent.map_or_else(|| declared.to_owned(), |frame| frame.dirs.1.clone())
    })
}

/// Notes what a nested call was answered with. What lies in another cache cannot travel with the parent.
pub(super) fn note(root: &Path, result: Result<&str, &Error>) {
    FRAMES.with_borrow_mut(|frames| {
        let Some(frame) = frames.last_mut() else { return };
        match result {
            Ok(signature) if frame.dirs.1 == root => frame.asked.push(signature.to_owned()),
            Ok(_) => {}
            Err(error) => frame.failed = Some(error.clone()),
        }
    });
}
