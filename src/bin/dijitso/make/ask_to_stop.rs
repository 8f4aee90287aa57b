//! Signals that end a make in order: the first lets what runs finish, the second ends it.

#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use dijitso::plan::{Plan, StopRequest};

use crate::interrupt::unignored;

/// A plan that is made, and what signals have asked of it.
struct Made {
    plan: Arc<Plan>,
    asked: StopRequest,
}

static MADE: Mutex<Option<Made>> = Mutex::new(None);

fn made() -> MutexGuard<'static, Option<Made>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signals ask a plan to stop until this is dropped. Then they end the process again: the console goes on after a
/// make.
pub(super) struct StopSignals;

impl StopSignals {
    /// Returns what signals have asked for.
    pub(super) fn asked(&self) -> StopRequest {
        made().as_ref().map_or(StopRequest::Go, |made| made.asked)
    }

    /// Lets signals end nothing any more, because this process is about to end.
    pub(super) fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for StopSignals {
    fn drop(&mut self) {
        *made() = None;
    }
}

/// Asks the plan to stop at signals.
pub(super) fn listen(plan: &Arc<Plan>) -> StopSignals {
    static ONCE: Once = Once::new();
    *made() = Some(Made { plan: Arc::clone(plan), asked: StopRequest::Go });
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new(unignored(&[SIGINT, SIGTERM, SIGHUP])) else { return };
        let wait = move || signals.forever().for_each(take);
        let _ = std::thread::Builder::new().name("dijitso-signals".to_owned()).spawn(wait);
    });
    StopSignals
}

fn take(signal: i32) {
    if let Some(made) = &mut *made() {
        made.asked = match made.asked {
            StopRequest::Go => StopRequest::Finish,
            StopRequest::Finish | StopRequest::Kill => StopRequest::Kill,
        };
        made.plan.stop(made.asked);
        return;
    }
    let _ = emulate_default_handler(signal);
}
