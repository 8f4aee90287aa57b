//! Any bytes as a file of the cache's library directory.
#![no_main]

use dijitso::cache::record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = record::open(data, "s") {
        assert_eq!(record.signature, "s");
    }
});
