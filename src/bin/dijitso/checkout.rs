//! `dijitso checkout`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use dijitso::cache::catalog::{Entry, Existing};
use dijitso::error::{Error, Kind, Result};

use super::context::CommandContext;
use super::output::{PATH, STRONG};
use super::select::{Categories, Entries};
use super::{Status, usage};

/// Options of `dijitso checkout`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to copy: inc,src,lib,log or all
    #[arg(long, value_name = "LIST", default_value = "all")]
    categories: Categories,

    #[command(flatten)]
    entries: Entries,

    /// Overwrite files of an earlier checkout
    #[arg(short = 'f', long)]
    force: bool,
}

impl Arguments {
    /// Copies the files of each entry to `jitcheckout-SIGNATURE` in the working directory.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        let catalog = cache.catalog()?;
        if self.entries.are_all() {
            return Err(usage(
                "name the entries, for example: dijitso checkout poisson; \"*\" stands for all",
            ));
        }
        let entries = self.entries.of(&catalog)?;
        let empty = entries.iter().find(|entry| entry.of(&self.categories.0).next().is_none());
        if let Some(entry) = empty {
            let names: Vec<&str> = self.categories.0.iter().map(|category| category.name()).collect();
            let text = format!("{} has no files of these categories: {}", entry.signature, names.join(", "));
            return Err(Error::new(Kind::Cache, text));
        }
        let taken = entries.iter().map(|entry| place(entry)).find(|dir| dir.symlink_metadata().is_ok());
        if let (Some(dir), false) = (taken, self.force) {
            let text = format!("{} exists; --force overwrites the files in it", dir.display());
            return Err(Error::new(Kind::Cache, text));
        }
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        let mut done = Vec::new();
        for entry in entries {
            let dir = place(entry);
            let paths = if context.options.dry_run {
                entry.of(&self.categories.0).map(|file| file.path.clone()).collect()
            } else {
                cache.extract(&entry.signature, &self.categories.0, &dir, existing)?
            };
            if context.out.json {
                done.push(json!({ "signature": entry.signature, "dir": dir, "files": paths }));
                continue;
            }
            let out = &mut context.out;
            let would = if context.options.dry_run { ", which would get copies of" } else { "" };
            out.line(out.paint(STRONG, format_args!("{}{would}", dir.display())));
            for path in &paths {
                let name = if context.options.dry_run { path.as_path() } else { file_name(path) };
                out.line(format_args!("    {}", out.paint(PATH, name.display())));
            }
        }
        if context.out.json {
            context.out.document(&json!({ "dry_run": context.options.dry_run, "checkouts": done }));
        }
        Ok(Status::Done)
    }
}

fn place(entry: &Entry) -> PathBuf {
    PathBuf::from(format!("jitcheckout-{}", entry.signature))
}

fn file_name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}
