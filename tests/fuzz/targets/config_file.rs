//! The text of a `.dijitso.conf`.
#![no_main]

use dijitso_fuzz::{check_params, params};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut params = params();
    let before = params.to_json();
    match params.apply_config("/etc/dijitso/.dijitso.conf".as_ref(), text) {
        Ok(()) => check_params(&params),
        Err(error) => {
            assert!(!error.message().is_empty());
            assert_eq!(params.to_json(), before, "an error changes nothing");
        }
    }
});
