//! Parameters on the command line, for the subcommands that imitate a call.

#![forbid(unsafe_code)]

use clap::Args;

use dijitso::error::Result;
use dijitso::params::Params;

use super::{completer, usage};

/// `--param KEY=VALUE`.
#[derive(Debug, Args)]
pub(super) struct Parameters {
    /// A parameter of the call, such as "build.cxxflags_opt=-O2" or "generator.degree=2"; may be repeated.
    #[arg(long = "param", short = 'p', value_name = "KEY=VALUE", add = completer::settings())]
    params: Vec<String>,
}

impl Parameters {
    /// Returns keys and values.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` without `=`.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>> {
        let pair = |setting: &String| {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                usage(format!("--param {setting}: write KEY=VALUE, for example build.cxxflags_opt=-O2"))
            })?;
            Ok((key.to_owned(), value.to_owned()))
        };
        self.params.iter().map(pair).collect()
    }

    /// Sets the parameters.
    ///
    /// # Errors
    /// `Kind::InvalidArgument` without `=`; `Kind::Params` if a key or value is wrong.
    pub(super) fn apply(&self, params: &mut Params) -> Result<()> {
        for (key, value) in self.pairs()? {
            params.set(&key, &value)?;
        }
        Ok(())
    }
}
