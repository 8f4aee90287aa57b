//! Calls within `generate`: local to the builder, and what they ask for travels with the parent.

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

/// A `generate` under way on this thread.
struct Frame {
    /// Tells it apart from all others of this process; never 0.
    number: u64,
    /// What is generated.
    name: String,
    signature: String,
    /// How many builds have been started in it and not been finished.
    pending: usize,
    /// When the ranks that wait for it stop waiting.
    deadline: Option<Instant>,
    /// The cache directory of the parameters, and where the parent really puts its files.
    declared: PathBuf,
    effective: Layout,
    /// What the parent was signed with.
    toolchain: Option<ParentToolchain>,
    /// Signatures that nested calls were answered with.
    asked: Vec<String>,
    /// The error of the last nested call that failed.
    failed: Option<Error>,
    /// Whether a nested call has found an entry that was out of date, and builds it again.
    rebuilt: bool,
}

/// What a compiler is, and for which command and flags it was found out.
#[derive(Clone, Debug)]
pub(super) struct ParentToolchain {
    compiler: Vec<String>,
    /// The flags that concern the machine, if one of them stands for that which builds.
    flags: Option<Vec<String>>,
    toolchain: Toolchain,
}

impl ParentToolchain {
    pub(super) fn new(params: &BuildParams, toolchain: Toolchain) -> Self {
        Self { compiler: params.compiler.clone(), flags: native::flags(params), toolchain }
    }
}

thread_local! {
    /// Without a destructor, so that calls from static destructors still find it. It is empty between calls.
    static FRAMES: RefCell<ManuallyDrop<Vec<Frame>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// So many `generate` callbacks may be under way within each other: each takes its part of the stack.
pub(super) const DEEPEST: usize = 64;

/// What nested calls did during a `generate`.
pub(super) struct Nested {
    pub(super) asked: Vec<String>,
    pub(super) failed: Option<Error>,
    pub(super) rebuilt: bool,
    /// How many builds it has started and not finished.
    pub(super) pending: usize,
}

/// The number of the innermost `generate` on this thread; 0 outside of any.
pub(super) fn current() -> u64 {
    FRAMES.with_borrow(|frames| frames.last().map_or(0, |frame| frame.number))
}

/// When the ranks that wait for the innermost `generate` on this thread stop waiting; `None` is never.
pub(super) fn deadline() -> Option<Instant> {
    FRAMES.with_borrow(|frames| frames.last().and_then(|frame| frame.deadline))
}

/// Notes that a build has been started in the `generate` of this number, or that one is finished or given up.
pub(super) fn count_pending(number: u64, change: isize) {
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.iter_mut().find(|frame| frame.number == number) {
            frame.pending = frame.pending.saturating_add_signed(change);
        }
    });
}

/// Whether this thread is within a `generate` callback.
#[must_use]
pub fn is_nested() -> bool {
    FRAMES.with_borrow(|frames| !frames.is_empty())
}

/// Refuses to generate what is just being generated on this thread, which would have no end, and what would be too
/// deep within other callbacks. The same name is fine if its signature is another one.
pub(super) fn check_chain(name: &str, signature: &str, layout: &Layout) -> Result<(), Error> {
    FRAMES.with_borrow(|frames| {
        let same = |frame: &Frame| frame.signature == signature && frame.effective.same_places(layout);
        let reason = if frames.iter().any(same) {
            format!("{name} cannot be generated, because it is asked for within its own generate callback")
        } else if frames.len() >= DEEPEST {
            format!(
                "{name} cannot be generated: {DEEPEST} generate callbacks are under way within each other"
            )
        } else {
            return Ok(());
        };
        let names = frames.iter().map(|frame| frame.name.as_str()).chain([name]);
        Err(Error::new(Kind::Generate, format!("{reason}: {}", chain(&names.collect::<Vec<_>>()))))
    })
}

/// Names with arrows between them. The middle of a long chain is left out.
fn chain(names: &[&str]) -> String {
    const ENDS: usize = 5;
    if names.len() <= 2 * ENDS {
        return names.join(" -> ");
    }
    let (first, last) = (&names[..ENDS], &names[names.len() - ENDS..]);
    format!("{} -> ... -> {}", first.join(" -> "), last.join(" -> "))
}

/// Runs `generate` such that calls within know whose they are.
pub(super) fn within<T>(
    (name, signature): (&str, &str),
    declared: &Path,
    effective: &Layout,
    toolchain: Option<ParentToolchain>,
    deadline: Option<Instant>,
    generate: impl FnOnce() -> T,
) -> (T, Nested) {
    /// Takes the frame away even when `generate` panics.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            FRAMES.with_borrow_mut(|frames| {
                frames.pop();
                if frames.is_empty() {
                    // Nothing frees it when the thread ends.
                    drop(std::mem::take(&mut **frames));
                }
            });
        }
    }
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    FRAMES.with_borrow_mut(|frames| {
        frames.push(Frame {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
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
    let guard = Guard;
    let result = generate();
    let nested = FRAMES.with_borrow_mut(|frames| {
        let frame = frames.last_mut().expect("pushed above, popped by the guard below");
        let (asked, failed) = (std::mem::take(&mut frame.asked), frame.failed.take());
        Nested { asked, failed, rebuilt: frame.rebuilt, pending: frame.pending }
    });
    drop(guard);
    (result, nested)
}

/// Notes that an entry was out of date and is built again, if a `generate` has asked for it.
pub(super) fn note_rebuilt() {
    FRAMES.with_borrow_mut(|frames| {
        if let Some(frame) = frames.last_mut() {
            frame.rebuilt = true;
        }
    });
}

/// The directory that a nested call uses instead of `declared`: that of its parent.
pub(super) fn effective_dir(declared: &Path) -> PathBuf {
    FRAMES.with_borrow(|frames| {
        let parent = frames.iter().rev().find(|frame| frame.declared == declared);
        parent.map_or_else(|| declared.to_owned(), |frame| frame.effective.root().to_owned())
    })
}

/// What the compiler of a nested call is, if a parent has the same: both sign with the same answer, wherever the
/// compiler was asked. And whether that holds for the flags of the nested call, too.
pub(super) fn toolchain_of_parent(params: &BuildParams) -> Option<(Toolchain, bool)> {
    FRAMES.with_borrow(|frames| {
        let same = |frame: &Frame| frame.toolchain.clone().filter(|known| known.compiler == params.compiler);
        let known = frames.iter().rev().find_map(same)?;
        Some((known.toolchain, known.flags == native::flags(params)))
    })
}

/// Notes what a nested call was answered with. What lies in another cache, or is named otherwise, cannot travel with
/// the parent.
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
