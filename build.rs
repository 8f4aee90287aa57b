//! Gives the shared library its SONAME and checks nothing else: cargo does the rest.

use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.toml");
    // The same line is read by CMakeLists.txt, so that the links beside the library carry the same number.
    let manifest = fs::read_to_string("Cargo.toml").expect("Cargo.toml lies beside build.rs");
    let abi: u32 = manifest
        .lines()
        .find_map(|line| line.strip_prefix("abi = "))
        .and_then(|number| number.trim().parse().ok())
        .expect("Cargo.toml has a line `abi = NUMBER` under [package.metadata.dijitso]");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdijitso.so.{abi}");
    }
}
