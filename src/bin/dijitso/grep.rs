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

use super::context::CommandContext;
use super::output::{MATCH, NUMBER, Out, PATH, count};
use super::select::{Categories, Entries};
use super::{Status, usage};

/// Options of `dijitso grep`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to search: inc,src,lib,log or all. Of a library, the list of libraries that it needs is
    /// searched
    #[arg(long, value_name = "LIST", default_value = "inc,src")]
    categories: Categories,

    /// The text to find in each line; default: every line
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pattern: String,

    /// Treat the pattern as a regular expression; default: as plain text
    #[arg(long)]
    regexmode: bool,

    /// Show the numbers of the lines, from 1
    #[arg(long)]
    linenumbers: bool,

    /// Show only the number of matching lines of each file
    #[arg(long)]
    countonly: bool,

    /// Show only the names of files with a match
    #[arg(long)]
    filesonly: bool,

    #[command(flatten)]
    entries: Entries,
}

/// A matching line: its number, and its text without the end of line.
type Hit<'a> = (usize, &'a [u8]);

impl Arguments {
    /// Writes the matching lines.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
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
                let line = |(number, line): &Hit<'_>| {
                    let text = String::from_utf8_lossy(line);
                    json!({ "line": number, "text": text })
                };
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
        Ok(if found > 0 { Status::Done } else { Status::NothingFound })
    }

    /// Compiles the pattern for one line. Without `--regexmode`, `a.b` does not match `aXb`.
    fn compiled(&self) -> Result<Regex> {
        let text = if self.regexmode { self.pattern.clone() } else { regex::escape(&self.pattern) };
        RegexBuilder::new(&text)
            .build()
            .map_err(|error| usage(format!("the pattern is not a regular expression: {error}")))
    }

    fn hits<'a>(&self, text: &'a [u8], pattern: &Regex) -> Vec<Hit<'a>> {
        // Most files have no match. A literal pattern that matches no part of the file matches no line.
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

/// Writes a line, with the matches in colour if the output has colours.
fn highlight(line: &[u8], pattern: &Regex, out: &mut Out) {
    let mut done = 0;
    for part in pattern.find_iter(line).filter(|part| !part.is_empty()) {
        // Bytes that are not UTF-8 get no colour.
        let Ok(matched) = std::str::from_utf8(part.as_bytes()) else { continue };
        out.bytes(&line[done..part.start()]);
        out.text(out.paint(MATCH, matched));
        done = part.end();
    }
    out.bytes(&line[done..]);
}

/// Reports the files that could not be searched.
///
/// # Errors
/// `Kind::Cache` if there is such a file.
pub(super) fn not_searched(unread: Vec<Error>, context: &mut CommandContext) -> Result<()> {
    let number = unread.len();
    let mut unread = unread.into_iter();
    let Some(first) = unread.next() else { return Ok(()) };
    unread.take(9).for_each(|error| context.note(&error));
    let text = format!("{} not searched: {first}", count(number, "file was", "files were"));
    Err(Error::new(Kind::Cache, text))
}

/// Returns the files of these entries and categories, sorted by category and path.
///
/// # Errors
/// Those of [`Entries::of`].
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

/// Returns the text to search in a file. For a library: the libraries that it needs, as `name => path`.
fn text_of(cache: &Cache, file: &Listed) -> Result<Vec<u8>> {
    if file.category != Category::Lib {
        // Another program may have removed the file meanwhile.
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
