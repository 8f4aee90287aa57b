//! Less optimisation for a compiler that was killed or crashed. Pure.

#![forbid(unsafe_code)]

use crate::params::resolved::BuildParams;

/// Returns the flag for less optimisation than these parameters have; `None` if they have none.
///
/// The compiler's own arguments come before the flags, and the last word counts. `-Os` and `-Oz` are `-O2`
/// without what enlarges code; `-Og` is `-O1` without what confuses a debugger.
pub(super) fn lower(params: &BuildParams) -> Option<&'static str> {
    let words = params.compiler.iter().chain(&params.flags);
    match words.filter_map(|word| level(word)).next_back().unwrap_or(0) {
        0 => None,
        1 => Some("-O0"),
        _ => Some("-O1"),
    }
}

/// Returns the level of optimisation that a word sets; `None` if it sets none.
fn level(word: &str) -> Option<u32> {
    match word.strip_prefix("-O")? {
        "" | "g" => Some(1),
        "s" | "z" => Some(2),
        "fast" => Some(3),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn the_last_level_counts_and_is_lowered_once() {
        let lowered = |cxx: &str, flags: &str| {
            let params = Params::for_test(&[("build.cxx", cxx), ("build.cxxflags_opt", flags)]);
            lower(&params.resolve().unwrap().build)
        };
        assert_eq!(lowered("g++", "-O3 -fno-math-errno"), Some("-O1"));
        for flags in ["-O2", "-Ofast", "-Os", "-Oz", "-O0 -O3", "-O10"] {
            assert_eq!(lowered("g++", flags), Some("-O1"), "{flags}");
        }
        for flags in ["-O1", "-O", "-Og", "-O3 -O1"] {
            assert_eq!(lowered("g++", flags), Some("-O0"), "{flags}");
        }
        for flags in ["", "-O0", "-O3 -O0", "-g -Wl,-O1 -ObjC"] {
            assert_eq!(lowered("g++", flags), None, "{flags}");
        }
        assert_eq!(lowered("g++ -O2", ""), Some("-O1"));
        assert_eq!(lowered("g++ -O2", "-O0"), None);
    }
}
