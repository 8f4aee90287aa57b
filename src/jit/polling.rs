//! The interrupt of the call that this thread makes. A call within `generate` also has that of the call which
//! generates.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use crate::error::Result;
use crate::parallel::Communicator;
use crate::process::exec_context::ExecContext;
use crate::process::interrupt::Interrupt;

thread_local! {
    /// Without a destructor, so that calls from static destructors can use it. It is empty between calls.
    static CURRENT: RefCell<ManuallyDrop<Option<Interrupt>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// A call in progress on this thread, until this is dropped.
pub(super) struct PolledCall<'a> {
    before: Option<Option<Interrupt>>,
    comm: Option<&'a dyn Communicator>,
}

/// Begins a call that `own` cancels, if it is given.
pub(super) fn enter(own: Option<&Interrupt>) -> PolledCall<'static> {
    let before = own.map(|own| {
        let new = own.clone().within(current());
        CURRENT.with_borrow_mut(|current| current.replace(new))
    });
    PolledCall { before, comm: None }
}

/// Begins a call on all ranks of `comm`, any of which may cancel it.
pub(super) fn enter_on<'a>(comm: &'a dyn Communicator, own: Option<&Interrupt>) -> PolledCall<'a> {
    let both = comm.begin_polling(own);
    let mut call: PolledCall<'a> = enter(both.as_ref());
    call.comm = Some(comm);
    call
}

impl Drop for PolledCall<'_> {
    fn drop(&mut self) {
        if let Some(comm) = self.comm {
            comm.end_polling();
        }
        if let Some(before) = self.before.take() {
            // What is replaced is dropped here: nothing drops it when the thread ends.
            drop(CURRENT.with_borrow_mut(|current| std::mem::replace(&mut **current, before)));
        }
    }
}

/// Returns the interrupt of the call in progress on this thread.
pub(super) fn current() -> Option<Interrupt> {
    CURRENT.with_borrow(|current| (**current).clone())
}

/// Returns the context of a command that the call in progress waits for.
pub(super) fn context() -> ExecContext {
    ExecContext::default().interrupted_by(current())
}

/// Returns true if the call in progress on this thread was cancelled. Does not ask the host.
pub(super) fn is_cancelled() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(Interrupt::is_cancelled))
}

/// Checks that the call in progress is not cancelled.
///
/// # Errors
/// `Kind::Cancelled`
pub(super) fn check() -> Result<()> {
    current().map_or(Ok(()), |interrupt| interrupt.check())
}
