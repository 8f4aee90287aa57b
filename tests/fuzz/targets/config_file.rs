//! The text of a `.dijitso.conf`.
#![no_main]

use dijitso_fuzz::{check_params, is_unchanged, params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut params = params();
    match params.apply_config("/etc/dijitso/.dijitso.conf".as_ref(), text) {
        Ok(()) => check_params(&params),
        Err(error) => {
            assert!(!error.message().is_empty());
            assert!(is_unchanged(&params), "an error changes nothing");
        }
    }
});
