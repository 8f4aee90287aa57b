//! Parameters on the command line, for the subcommands that imitate a call.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::error::Result;
use dijitso::params::Params;

use super::usage;

/// `--param KEY=VALUE`.
#[derive(Debug, Args)]
pub(super) struct Parameters {
    /// A parameter of the call, such as "build.cxxflags_opt=-O2" or "generator.degree=2"; may be repeated.
    #[arg(long = "param", short = 'p', value_name = "KEY=VALUE")]
    params: Vec<String>,
}

impl Parameters {
    /// Sets the parameters.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` without `=`; `Kind::Params` if a key or value is wrong.
    pub(super) fn apply(&self, params: &mut Params) -> Result<()> {
        for setting in &self.params {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                usage(format!("--param {setting}: write KEY=VALUE, for example build.cxxflags_opt=-O2"))
            })?;
            params.set(key, value)?;
        }
        Ok(())
    }
}
