//! Signals that end a make in order: the first lets what runs finish, the second ends it.

#![forbid(unsafe_code)]

use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use dijitso::plan::{Plan, StopRequest};

use crate::interrupt::unignored;
use crate::output;

/// Asks the plan to stop at signals. With `speaks`, says so.
pub(super) fn listen(plan: &Arc<Plan>, speaks: bool) {
    let plan = Arc::clone(plan);
    let Ok(mut signals) = Signals::new(unignored(&[SIGINT, SIGTERM, SIGHUP])) else { return };
    let wait = move || {
        for (count, _) in signals.forever().enumerate() {
            let (request, text) = if count == 0 {
                (StopRequest::Finish, "stopping: what runs is finished; once more to end it now")
            } else {
                (StopRequest::Kill, "ending what runs")
            };
            plan.stop(request);
            if speaks && count < 2 {
                output::note(&text);
            }
        }
    };
    let _ = std::thread::Builder::new().name("dijitso-signals".to_owned()).spawn(wait);
}
