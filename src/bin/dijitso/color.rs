//! The option `--color`.

#![forbid(unsafe_code)]

use clap::ValueEnum;

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// Reads `--color` before the command line is parsed: help and errors have colours too.
pub(super) fn choose() {
    let words: Vec<_> = std::env::args_os().collect();
    let joined = words.iter().filter_map(|word| word.to_str()?.strip_prefix("--color="));
    let separate = words.windows(2).filter(|pair| pair[0] == "--color").filter_map(|pair| pair[1].to_str());
    match joined.chain(separate).last() {
        Some("always") => anstream::ColorChoice::Always,
        Some("never") => anstream::ColorChoice::Never,
        _ => return,
    }
    .write_global();
}
