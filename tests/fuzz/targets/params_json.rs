//! JSON for `dijitso_params_merge_json`.
#![no_main]

use dijitso_fuzz::{check_params, is_unchanged, params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut params = params();
    match params.merge_json(text) {
        Ok(()) => check_params(&params),
        Err(error) => {
            assert!(!error.message().is_empty());
            assert!(is_unchanged(&params), "an error changes nothing");
        }
    }
});
