//! Calls within `generate`: they are local to the builder, and their libraries travel with the parent.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::build::toolchain::native;
use crate::cache::layout::Layout;
use crate::error::{Error, Kind};
use crate::params::resolved::BuildParams;
use crate::signature::Toolchain;

/// A `generate` that is running on this thread.
struct Frame {
    /// Unique in the process; never 0.
    number: u64,
    /// The name and signature of the library that is generated.
    name: String,
    signature: String,
    /// The number of builds that were started in it and not finished.
    pending: usize,
    /// When the ranks that wait for it stop waiting.
    deadline: Option<Instant>,
    /// The cache directory of the parameters.
    declared: PathBuf,
    /// The directory that the parent uses.
    effective: Layout,
    /// The toolchain of the parent's signature.
    toolchain: Option<ParentToolchain>,
    /// Signatures that nested calls were answered with.
    asked: Vec<String>,
    /// The error of the last nested call that failed.
    failed: Option<Error>,
    /// True if a nested call has retired an entry that was out of date.
    rebuilt: bool,
}

/// A toolchain, with the command and flags of the compiler that was asked.
#[derive(Clone, Debug)]
pub(super) struct ParentToolchain {
    compiler: Vec<String>,
    /// The flags that concern the processor, if one of them is native.
    flags: Option<Vec<String>>,
    toolchain: Toolchain,
}

impl ParentToolchain {
    pub(super) fn new(params: &BuildParams, toolchain: Toolchain) -> Self {
        Self { compiler: params.compiler.clone(), flags: native::flags(params), toolchain }
    }
}

thread_local! {
    /// Without a destructor, so that calls from static destructors can use it. It is empty between calls.
    static FRAMES: RefCell<ManuallyDrop<Vec<Frame>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// The most `generate` callbacks that may run within each other: each takes its part of the stack.
pub(super) const MAX_DEPTH: usize = 64;

/// The nested calls of a `generate`.
pub(super) struct Nested {
    /// Signatures that they were answered with.
    pub(super) asked: Vec<String>,
    /// The error of the last one that failed.
    pub(super) failed: Option<Error>,
    /// True if one has retired an entry that was out of date.
    pub(super) rebuilt: bool,
    /// The number of builds that were started and not finished.
    pub(super) pending: usize,
}

/// Returns the number of the innermost `generate` on this thread; 0 outside of any.
pub(super) fn current() -> u64 {
    FRAMES.with_borrow(|frames| frames.last().map_or(0, |frame| frame.number))
}

/// Returns when the ranks that wait for the innermost `generate` on this thread stop waiting; `None` is
/// never.
pub(super) fn deadline() -> Option<Instant> {
    FRAMES.with_borrow(|frames| frames.last().and_then(|frame| frame.deadline))
}

/// Counts a build that is started (1) in the `generate` of this number, or finished or cancelled (-1).
pub(super) fn count_pending(number: u64, change: isize) {
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.iter_mut().find(|frame| frame.number == number) {
            frame.pending = frame.pending.saturating_add_signed(change);
        }
    });
}

/// Returns whether this thread is within a `generate` callback.
#[must_use]
pub fn is_nested() -> bool {
    FRAMES.with_borrow(|frames| !frames.is_empty())
}

/// Refuses to generate what this thread is generating already, which would not end, and more than
/// [`MAX_DEPTH`] callbacks within each other. The same name with another signature is allowed.
///
/// # Errors
/// [`Kind::Generate`]
pub(super) fn check_chain(name: &str, signature: &str, layout: &Layout) -> Result<(), Error> {
    FRAMES.with_borrow(|frames| {
        let same = |frame: &Frame| frame.signature == signature && frame.effective.same_places(layout);
        let reason = if frames.iter().any(same) {
            format!("{name} cannot be generated, because it is asked for within its own generate callback")
        } else if frames.len() >= MAX_DEPTH {
            format!("{name} cannot be generated: {MAX_DEPTH} generate callbacks run within each other")
        } else {
            return Ok(());
        };
        let names = frames.iter().map(|frame| frame.name.as_str()).chain([name]);
        Err(Error::new(Kind::Generate, format!("{reason}: {}", chain(&names.collect::<Vec<_>>()))))
    })
}

/// Joins names with arrows. Leaves out the middle of a long chain.
fn chain(names: &[&str]) -> String {
    const ENDS: usize = 5;
    if names.len() <= 2 * ENDS {
        return names.join(" -> ");
    }
    let (first, last) = (&names[..ENDS], &names[names.len() - ENDS..]);
    format!("{} -> ... -> {}", first.join(" -> "), last.join(" -> "))
}

/// Runs `generate`. Calls within it find their parent.
pub(super) fn within<T>(
    (name, signature): (&str, &str),
    declared: &Path,
    effective: &Layout,
    toolchain: Option<ParentToolchain>,
    deadline: Option<Instant>,
    generate: impl FnOnce() -> T,
) -> (T, Nested) {
    /// Removes the frame, also if `generate` panics.
    struct FrameGuard;
    impl Drop for FrameGuard {
        fn drop(&mut self) {
            FRAMES.with_borrow_mut(|frames| {
                frames.pop();
                if frames.is_empty() {
                    // Without a destructor, nothing else frees it when the thread ends.
                    drop(std::mem::take(&mut **frames));
                }
            });
        }
    }
    static NEXT: AtomicU64 = AtomicU64::new(1);
    FRAMES.with_borrow_mut(|frames| {
        frames.push(Frame {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            signature: signature.to_owned(),
            pending: 0,
            deadline,
            declared: declared.to_owned(),
            effective: effective.clone(),
            toolchain,
            asked: Vec::new(),
            failed: None,
            rebuilt: false,
        });
    });
    let guard = FrameGuard;
    let result = generate();
    let nested = FRAMES.with_borrow_mut(|frames| {
        let frame = frames.last_mut().expect("pushed above, popped by the guard below");
        let (asked, failed) = (std::mem::take(&mut frame.asked), frame.failed.take());
        Nested { asked, failed, rebuilt: frame.rebuilt, pending: frame.pending }
    });
    drop(guard);
    (result, nested)
}

/// Notes that a nested call has retired an entry that was out of date.
pub(super) fn note_rebuilt() {
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.last_mut() {
            frame.rebuilt = true;
        }
    });
}

/// Returns the directory that a nested call uses instead of `declared`: that of its parent.
pub(super) fn effective_dir(declared: &Path) -> PathBuf {
    FRAMES.with_borrow(|frames| {
        let parent = frames.iter().rev().find(|frame| frame.declared == declared);
        parent.map_or_else(|| declared.to_owned(), |frame| frame.effective.root().to_owned())
    })
}

/// Returns the toolchain of a parent with the same compiler, so that both signatures have the same answer, on
/// whatever host the compiler was asked; and whether the flags that concern the processor are the same, too.
pub(super) fn toolchain_of_parent(params: &BuildParams) -> Option<(Toolchain, bool)> {
    FRAMES.with_borrow(|frames| {
        let same = |frame: &Frame| frame.toolchain.clone().filter(|known| known.compiler == params.compiler);
        let known = frames.iter().rev().find_map(same)?;
        Some((known.toolchain, known.flags == native::flags(params)))
    })
}

/// Notes the result of a nested call. A library in another cache, or with another file name, cannot travel
/// with the parent.
pub(super) fn note(layout: &Layout, result: Result<&str, &Error>) {
    FRAMES.with_borrow_mut(|frames| {
        let Some(frame) = frames.last_mut() else { return };
        match result {
            Ok(signature) if frame.effective.same_places(layout) => frame.asked.push(signature.to_owned()),
            Ok(_) => {}
            Err(error) => frame.failed = Some(error.clone()),
        }
    });
}
