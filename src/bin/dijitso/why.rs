//! `dijitso why NAME|SIGNATURE`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::Value as Json;

use dijitso::cache::Cache;
use dijitso::cache::catalog::Catalog;
use dijitso::cache::explain;
use dijitso::cache::select::is_glob;
use dijitso::error::Result;
use dijitso::jit::{Request, Session};
use dijitso::signature::name_of;

use super::Outcome;
use super::context::Context;
use super::parameters::Parameters;

/// Options of `dijitso why`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A name: would a request for it be a hit with the parameters in force, and if not, why not?
    /// A signature, its beginning, or a pattern as "poisson_*": what was each entry built from, is it whole, what
    /// needs it?
    #[arg(value_name = "NAME|ENTRY", required = true)]
    entries: Vec<String>,

    #[command(flatten)]
    parameters: Parameters,
}

/// What a word asks about.
enum About {
    /// A request for this name.
    Name,
    /// These entries.
    Entries(Vec<String>),
}

/// A word that is the name of an entry, or stands for none, is a name.
fn about(word: &str, catalog: &Catalog) -> Result<About> {
    if name_of(word) != word {
        return Ok(About::Entries(vec![word.to_owned()]));
    }
    let is_name = catalog.all().any(|entry| entry.name() == word);
    let begins = || catalog.all().any(|entry| entry.signature.starts_with(word));
    if is_name || (!is_glob(word) && !begins()) {
        return Ok(About::Name);
    }
    let entries = catalog.matching(word)?;
    Ok(About::Entries(entries.into_iter().map(|entry| entry.signature.clone()).collect()))
}

impl Arguments {
    /// Explains a name or gives the account of a signature.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        let mut params = context.params()?;
        self.parameters.apply(&mut params)?;
        let resolved = params.resolve()?;
        let cache = Cache::new(&resolved.cache.cache_dir, &resolved.cache);
        let catalog = cache.catalog()?;
        let mut answers = Vec::new();
        for word in &self.entries {
            match about(word, &catalog)? {
                About::Name => {
                    let request = Request { name: word, params: &resolved };
                    let explanation = Session::read_only().explain(request)?;
                    answers.push((explanation.text(), explanation.to_json()));
                }
                About::Entries(signatures) => {
                    for signature in signatures {
                        let account = explain::entry_report(&cache, &signature)?;
                        answers.push((account.text(), account.to_json()));
                    }
                }
            }
        }
        let (texts, mut documents): (Vec<String>, Vec<Json>) = answers.into_iter().unzip();
        if !context.out.json {
            context.out.line(texts.join("\n\n"));
        } else if documents.len() == 1 {
            context.out.document(&documents.remove(0));
        } else {
            context.out.document(&Json::Array(documents));
        }
        Ok(Outcome::Done)
    }
}
