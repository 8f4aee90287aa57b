//! `dijitso why NAME|SIGNATURE`.

#![forbid(unsafe_code)]

use clap::Args;

use crate::cache::Cache;
use crate::cache::explain;
use crate::error::Result;
use crate::jit::{Request, Session};
use crate::signature::name_of;

use super::Outcome;
use super::context::Context;
use super::parameters::Parameters;

/// Options of `dijitso why`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A name: would a request for it be a hit with the parameters in force, and if not, why not?
    /// A signature: what was that entry built from, is it whole, what needs it?
    #[arg(value_name = "NAME|SIGNATURE")]
    what: String,

    #[command(flatten)]
    parameters: Parameters,
}

impl Arguments {
    /// Explains a name or gives the account of a signature.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        let mut params = context.params()?;
        self.parameters.apply(&mut params)?;
        let resolved = params.resolve()?;
        let cache = Cache::new(&resolved.cache.cache_dir, &resolved.cache);
        let (text, json) = if name_of(&self.what) == self.what {
            let request = Request { name: &self.what, params: &resolved };
            let explanation = Session::of_onlooker().explain(request)?;
            (explanation.text(), explanation.to_json())
        } else {
            let account = explain::account(&cache, &self.what)?;
            (account.text(), account.to_json())
        };
        if context.out.json {
            context.out.document(&json);
        } else {
            context.out.line(text);
        }
        Ok(Outcome::Done)
    }
}
