//! Keys and values for `dijitso_params_set`: one setting a line, key and value separated by `=`.
#![no_main]

use dijitso_fuzz::{check_params, is_unchanged, params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut params = params();
    let mut changed = false;
    for line in text.split('\n').take(8) {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match params.set(key, value) {
            Ok(()) => {
                assert!(params.get(key).is_some(), "what can be set can be shown");
                changed = true;
            }
            Err(error) => {
                assert!(!error.message().is_empty());
                assert!(changed || is_unchanged(&params), "an error changes nothing");
                // Stop here: the comparison of an unknown key with all known ones is slow.
                break;
            }
        }
    }
    if changed {
        check_params(&params);
    }
});
