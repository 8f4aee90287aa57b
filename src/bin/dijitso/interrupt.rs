//! Signals that end the command leave no hidden file.

#![forbid(unsafe_code)]

use std::path::Path;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Makes a signal that ends this process remove this file first.
///
/// A signal that was ignored when the process began, for example by `nohup`, stays ignored.
pub(super) fn remove_when_ended(path: &Path) {
    let Ok(mut signals) = Signals::new(unignored(&[SIGINT, SIGTERM, SIGHUP])) else { return };
    let path = path.to_owned();
    let wait = move || {
        for signal in signals.forever() {
            let _ = std::fs::remove_file(&path);
            let _ = emulate_default_handler(signal);
        }
    };
    let _ = std::thread::Builder::new().name("dijitso-signals".to_owned()).spawn(wait);
}

/// Returns those of the signals that this process does not ignore.
pub(super) fn unignored(signals: &[i32]) -> Vec<i32> {
    let ignored = ignored();
    signals.iter().copied().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect()
}

/// Returns the signals that this process ignores, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default()
}
