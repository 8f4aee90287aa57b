//! `dijitso grep`.

#![forbid(unsafe_code)]

use clap::Args;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::json;

use dijitso::cache::Cache;
use dijitso::cache::catalog::{Catalog, Listed};
use dijitso::cache::layout::Category;
use dijitso::elf;
use dijitso::error::{Error, Kind, Result};

use super::context::Context;
use super::output::{MATCH, NUMBER, Out, PATH, count};
use super::select::{Categories, Entries};
use super::{Outcome, usage};

/// Options of `dijitso grep`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to search: inc,src,lib,log or all. Of libraries, what they need is searched
    #[arg(long, value_name = "LIST", default_value = "inc,src")]
    categories: Categories,

    /// What to look for in each line; without it, every line is shown
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pattern: String,

    /// The pattern is a regular expression; without this it is taken as it is
    #[arg(long)]
    regexmode: bool,

    /// Show the numbers of the lines, the first being 1
    #[arg(long)]
    linenumbers: bool,

    /// Show only how many lines of each file match
    #[arg(long)]
    countonly: bool,

    /// Show only the names of files with a match
    #[arg(long)]
    filesonly: bool,

    #[command(flatten)]
    entries: Entries,
}

/// A line with a match: its number, and itself without the end of line.
type Hit<'a> = (usize, &'a [u8]);

impl Arguments {
    /// Writes the lines that match.
    pub(super) fn run(&self, context: &mut Context) -> Result<Outcome> {
        let cache = context.cache()?;
        let catalog = cache.catalog()?;
        let pattern = self.compiled()?;
        let out = &mut context.out;
        let (mut found, mut documents, mut unread) = (0, Vec::new(), Vec::new());
        for (signature, file) in files(&catalog, &self.entries, &self.categories.0)? {
            let text = match text_of(&cache, file) {
                Ok(text) => text,
                Err(error) => {
                    unread.push(error);
                    continue;
                }
            };
            let hits = self.hits(&text, &pattern);
            if hits.is_empty() {
                continue;
            }
            found += 1;
            if out.json {
                let line = |(number, line): &Hit<'_>| json!({ "line": number, "text": String::from_utf8_lossy(line) });
                let lines = if self.countonly || self.filesonly {
                    None
                } else {
                    Some(hits.iter().map(line).collect::<Vec<_>>())
                };
                documents.push(json!({
                    "path": file.path,
                    "signature": signature,
                    "category": file.category.name(),
                    "count": hits.len(),
                    "matches": lines,
                }));
            } else {
                self.show(file, &hits, &pattern, found == 1, out);
            }
            if out.is_closed() {
                break;
            }
        }
        if out.json {
            out.document(&json!({ "files": documents }));
        }
        not_searched(unread, context)?;
        Ok(if found > 0 { Outcome::Done } else { Outcome::NothingFound })
    }

    /// The pattern for one line. Literal unless told otherwise: `a.b` is not `aXb`.
    fn compiled(&self) -> Result<Regex> {
        let text = if self.regexmode { self.pattern.clone() } else { regex::escape(&self.pattern) };
        RegexBuilder::new(&text)
            .build()
            .map_err(|error| usage(format!("the pattern is not a regular expression: {error}")))
    }

    fn hits<'a>(&self, text: &'a [u8], pattern: &Regex) -> Vec<Hit<'a>> {
        // Most files have no match, and what is literal cannot go over the end of a line unseen.
        if !self.regexmode && !pattern.is_match(text) {
            return Vec::new();
        }
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let lines = lines.map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line)
        });
        lines
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| pattern.is_match(line))
            .collect()
    }

    fn show(&self, file: &Listed, hits: &[Hit<'_>], pattern: &Regex, first: bool, out: &mut Out) {
        let path = out.paint(PATH, file.path.display());
        if self.filesonly {
            return out.line(path);
        }
        if self.countonly {
            return out.line(format_args!("{path}: {}", hits.len()));
        }
        if !first {
            out.line("");
        }
        out.line(format_args!("File '{path}' matches:"));
        for (number, line) in hits {
            if self.linenumbers {
                out.text(format_args!("{}:", out.paint(NUMBER, format_args!("{number:>5}"))));
            }
            out.bytes(b"\t");
            highlight(line, pattern, out);
            out.bytes(b"\n");
        }
    }
}

/// Writes the line with what matches in colour, if there are colours.
fn highlight(line: &[u8], pattern: &Regex, out: &mut Out) {
    let mut done = 0;
    for part in pattern.find_iter(line).filter(|part| !part.is_empty()) {
        // Bytes that are no text are shown as they are.
        let Ok(matched) = std::str::from_utf8(part.as_bytes()) else { continue };
        out.bytes(&line[done..part.start()]);
        out.text(out.paint(MATCH, matched));
        done = part.end();
    }
    out.bytes(&line[done..]);
}

/// Names the files that could not be searched; the others were.
pub(super) fn not_searched(unread: Vec<Error>, context: &mut Context) -> Result<()> {
    let number = unread.len();
    let mut unread = unread.into_iter();
    let Some(first) = unread.next() else { return Ok(()) };
    unread.take(9).for_each(|error| context.note(&error));
    let text = format!("{} not searched: {first}", count(number, "file was", "files were"));
    Err(Error::new(Kind::Cache, text))
}

/// The files of these categories and signatures, in the order of categories and paths.
pub(super) fn files<'a>(
    catalog: &'a Catalog,
    entries: &Entries,
    categories: &[Category],
) -> Result<Vec<(&'a str, &'a Listed)>> {
    let entries = entries.of(catalog)?;
    let of = |category: Category| {
        let mut files: Vec<(&str, &Listed)> = entries
            .iter()
            .flat_map(|entry| {
                entry.of(&[category]).map(|file| (entry.signature.as_str(), file)).collect::<Vec<_>>()
            })
            .collect();
        files.sort_by(|a, b| a.1.path.cmp(&b.1.path));
        files
    };
    Ok(categories.iter().flat_map(|category| of(*category)).collect())
}

/// What there is to search in a file. Of a library: what it needs, as `name => path`.
fn text_of(cache: &Cache, file: &Listed) -> Result<Vec<u8>> {
    if file.category != Category::Lib {
        // Whoever cleans the cache meanwhile may have removed it.
        return Ok(cache.read_listed(file)?.unwrap_or_default());
    }
    let facts = match elf::read(&file.path) {
        Ok(facts) => facts,
        Err(error) => {
            log::warn!("{error}");
            return Ok(Vec::new());
        }
    };
    let line = |needed: &elf::Needed| match &needed.path {
        Some(path) => format!("{} => {}\n", needed.name, path.display()),
        None => format!("{} => not found\n", needed.name),
    };
    Ok(facts.needed.iter().map(line).collect::<String>().into_bytes())
}
