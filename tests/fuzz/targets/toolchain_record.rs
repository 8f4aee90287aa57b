//! A file of the cache's toolchain directory.
#![no_main]

use dijitso::build::toolchain;
use dijitso_fuzz::params;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(found) = toolchain::decode(data) else { return };
    let build = params().resolve().expect("the defaults are good").build;
    assert_eq!(toolchain::decode(&toolchain::encode(&build, &found)), Some(found));
});
