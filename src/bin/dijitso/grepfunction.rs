//! `dijitso grepfunction`.

#![forbid(unsafe_code)]

use clap::Args;
use serde_json::json;

use dijitso::cache::catalog::Listed;
use dijitso::cache::layout::Category;
use dijitso::cpp_functions::{Function, functions};
use dijitso::error::Result;

use super::Status;
use super::context::CommandContext;
use super::grep::{files, not_searched};
use super::output::{NUMBER, Out, PATH};
use super::select::{Categories, Entries};

/// Options of `dijitso grepfunction`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to search: inc,src,log or all
    #[arg(long, value_name = "LIST", default_value = "src")]
    categories: Categories,

    /// The name of the function, with or without its classes: evaluate, Poisson::evaluate; default: all
    /// functions
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,

    #[command(flatten)]
    entries: Entries,

    /// Leave out the bodies
    #[arg(long)]
    no_body: bool,
}

impl Arguments {
    /// Writes the functions of that name as the source has them.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        let catalog = cache.catalog()?;
        let out = &mut context.out;
        let (mut found, mut documents, mut unread) = (0, Vec::new(), Vec::new());
        let mut nearest = NearestFunction::new(&self.name);
        // Libraries have no text.
        let categories: Vec<Category> =
            self.categories.0.iter().copied().filter(|category| *category != Category::Lib).collect();
        for (signature, file) in files(&catalog, &self.entries, &categories)? {
            let text = match cache.read_listed(file) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(error) => {
                    unread.push(error);
                    continue;
                }
            };
            if !self.may_have(&text) && found > 0 {
                continue;
            }
            let mut any = false;
            for function in functions(&text) {
                if !self.name.is_empty() && !function.is_called(&self.name) {
                    nearest.see(&function.name);
                    continue;
                }
                if out.json {
                    documents.push(self.json(signature, file, &text, &function));
                } else {
                    self.show(file, &text, &function, (found == 0, !any), out);
                }
                found += 1;
                any = true;
            }
            if out.is_closed() {
                break;
            }
        }
        if out.json {
            out.document(&json!({ "functions": documents }));
        }
        not_searched(unread, context)?;
        if found > 0 {
            return Ok(Status::Done);
        }
        if let Some(name) = nearest.name {
            context.note(&format!("no function is called {:?}; did you mean {name}?", self.name));
        }
        Ok(Status::NothingFound)
    }

    /// Returns whether a text can contain the function: the last part of its name occurs in it.
    fn may_have(&self, text: &[u8]) -> bool {
        let last = self.name.rsplit("::").next().unwrap_or_default().as_bytes();
        last.is_empty() || text.windows(last.len()).any(|window| window == last)
    }

    fn shown<'a>(&self, text: &'a [u8], function: &Function) -> &'a [u8] {
        let range = if self.no_body { &function.head } else { &function.range };
        &text[range.clone()]
    }

    fn show(
        &self,
        file: &Listed,
        text: &[u8],
        function: &Function,
        (first, new): (bool, bool),
        out: &mut Out,
    ) {
        let path = out.paint(PATH, file.path.display());
        let shown = self.shown(text, function);
        if self.no_body {
            if new {
                if !first {
                    out.line("");
                }
                out.line(format_args!("File '{path}' matches:"));
            }
            let number = out.paint(NUMBER, format_args!("{:>5}", function.line));
            // Joins a declaration of several lines.
            let words: Vec<_> = shown
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            out.text(format_args!("{number}: "));
            out.bytes(&words.join(&b' '));
            return out.bytes(b"\n");
        }
        if !first {
            out.line("");
        }
        out.line(format_args!("{path}:{}", out.paint(NUMBER, function.line)));
        out.bytes(shown);
        out.bytes(b"\n");
    }

    fn json(&self, signature: &str, file: &Listed, text: &[u8], function: &Function) -> serde_json::Value {
        json!({
            "path": file.path,
            "signature": signature,
            "category": file.category.name(),
            "name": function.name,
            "line": function.line,
            "end_line": function.end_line,
            "defined": function.is_defined,
            "text": String::from_utf8_lossy(self.shown(text, function)),
        })
    }
}

/// The function whose name is most similar to the wanted one.
struct NearestFunction<'a> {
    wanted: &'a str,
    likeness: f64,
    name: Option<String>,
}

impl<'a> NearestFunction<'a> {
    fn new(wanted: &'a str) -> Self {
        // Comparing takes time for each pair of characters, so that long names are cut.
        let end = wanted.char_indices().nth(200).map_or(wanted.len(), |(at, _)| at);
        Self { wanted: &wanted[..end], likeness: 0.6, name: None }
    }

    fn see(&mut self, name: &str) {
        let last = name.rsplit("::").next().unwrap_or(name);
        let likeness = strsim::jaro_winkler(last, self.wanted).max(strsim::jaro_winkler(name, self.wanted));
        if likeness > self.likeness {
            self.likeness = likeness;
            self.name = Some(name.to_owned());
        }
    }
}
