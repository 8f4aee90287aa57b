//! A file of the cache's toolchain directory.
#![no_main]

use dijitso::build::toolchain;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(found) = toolchain::decode(data) else { return };
    assert_eq!(toolchain::decode(&toolchain::encode(&["c++".to_owned()], &found)), Some(found));
});
