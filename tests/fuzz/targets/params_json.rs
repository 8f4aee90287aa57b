//! JSON for `dijitso_params_merge_json`.
#![no_main]

use dijitso_fuzz::{check_params, params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut params = params();
    let before = params.to_json();
    match params.merge_json(text) {
        Ok(()) => check_params(&params),
        Err(error) => {
            assert!(!error.message().is_empty());
            assert_eq!(params.to_json(), before, "an error changes nothing");
        }
    }
});
