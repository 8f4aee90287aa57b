//! The answer of a compiler, or of any program of that name, to a question for its version.
#![no_main]

use std::sync::LazyLock;

use dijitso::build::toolchain;
use dijitso::params::resolved::BuildParams;
use dijitso::process::exec_context::ExecContext;
use dijitso::process::{Command, Exit, Outcome, Runner};
use dijitso_fuzz::params;
use libfuzzer_sys::fuzz_target;

struct FakeCompiler<'a>(&'a [u8]);

impl Runner for FakeCompiler<'_> {
    fn run(&self, _command: &Command) -> std::io::Result<Outcome> {
        Ok(Outcome { exit: Exit::Code(0), output: self.0.to_vec() })
    }
}

fuzz_target!(|data: &[u8]| {
    static BUILD: LazyLock<BuildParams> =
        LazyLock::new(|| params().resolve().expect("the defaults are good").build);
    let build = &*BUILD;
    let found = toolchain::probe(build, &FakeCompiler(data), &ExecContext::default());
    assert!(!found.identity.is_empty());
    assert_eq!(toolchain::decode(&toolchain::encode(&build.compiler, &found)), Some(found));
});
