//! The command `dijitso`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dijitso::cli::main()
}
