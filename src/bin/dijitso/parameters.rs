//! Parameters on the command line, for the commands that stand for a call.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::error::Result;
use dijitso::params::Params;

use super::usage;

/// `--param KEY=VALUE`.
#[derive(Debug, Args)]
pub(super) struct Parameters {
    /// A parameter of the call, as "build.cxxflags_opt=-O2" or "generator.degree=2"; may be given several times.
    #[arg(long = "param", short = 'p', value_name = "KEY=VALUE")]
    params: Vec<String>,
}

impl Parameters {
    /// Sets them.
    pub(super) fn apply(&self, params: &mut Params) -> Result<()> {
        for setting in &self.params {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                usage(format!("--param {setting}: write KEY=VALUE, as build.cxxflags_opt=-O2"))
            })?;
            params.set(key, value)?;
        }
        Ok(())
    }
}
