//! What a receiver is handed by the host's transport. The digest keeps nearly everything out.
#![no_main]

use dijitso::cache::closure::Closure;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(closure @ Closure::Entries(_)) = Closure::decode(data) {
        assert_eq!(closure.encode().expect("memory"), data, "there is one blob for a closure");
    }
});
