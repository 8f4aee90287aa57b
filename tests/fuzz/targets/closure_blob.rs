//! The blob that a receiver gets from the host's transport. The digest refuses nearly every input.
#![no_main]

use dijitso::cache::closure::Closure;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(closure @ Closure::Entries(_)) = Closure::decode(data) {
        assert_eq!(closure.encode().expect("memory"), data, "there is one blob for a closure");
    }
});
