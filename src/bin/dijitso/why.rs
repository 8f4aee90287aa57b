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

use super::Status;
use super::completer;
use super::context::CommandContext;
use super::parameters::Parameters;

/// Options of `dijitso why`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// With a name: explain whether a request for it would be a hit with the current parameters, and if not,
    /// why. With a signature, its beginning, or a pattern such as "poisson_*": describe each entry: its
    /// sources, its state, its dependants
    #[arg(value_name = "NAME|ENTRY", required = true, add = completer::entries())]
    entries: Vec<String>,

    #[command(flatten)]
    parameters: Parameters,
}

/// The meaning of a word on the command line.
enum Question {
    /// Explain a request for this name.
    Name,
    /// Describe these entries.
    Entries(Vec<String>),
}

/// Returns the meaning of a word. A word is a name if an entry has that name, or if it stands for no entry.
fn question(word: &str, catalog: &Catalog) -> Result<Question> {
    if name_of(word) != word {
        return Ok(Question::Entries(vec![word.to_owned()]));
    }
    let is_name = catalog.all().any(|entry| entry.name() == word);
    let begins = || catalog.all().any(|entry| entry.signature.starts_with(word));
    if is_name || (!is_glob(word) && !begins()) {
        return Ok(Question::Name);
    }
    let entries = catalog.matching(word)?;
    Ok(Question::Entries(entries.into_iter().map(|entry| entry.signature.clone()).collect()))
}

impl Arguments {
    /// Explains names and describes entries.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let mut params = context.params()?;
        self.parameters.apply(&mut params)?;
        let resolved = params.resolve()?;
        let cache = Cache::new(&resolved.cache.cache_dir, &resolved.cache);
        let catalog = cache.catalog()?;
        let mut answers = Vec::new();
        for word in &self.entries {
            match question(word, &catalog)? {
                Question::Name => {
                    let request = Request { name: word, params: &resolved };
                    let explanation = Session::read_only().explain(request)?;
                    answers.push((explanation.text(), explanation.to_json()));
                }
                Question::Entries(signatures) => {
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
        Ok(Status::Done)
    }
}
