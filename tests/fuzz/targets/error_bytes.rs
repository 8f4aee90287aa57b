//! An encoded error of another rank.
#![no_main]

use dijitso::error::Error;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let error = Error::from_bytes(data);
    assert!(error.kind().code() > 0);
    assert_eq!(Error::from_bytes(&error.to_bytes()), error);
});
