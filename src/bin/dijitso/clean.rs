//! `dijitso clean`.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use dijitso::cache::catalog::Listed;
use dijitso::cache::disk_usage::Sums;
use dijitso::error::{Error, Kind, Result};

use super::context::CommandContext;
use super::output::{self, ProgressBar, count, size};
use super::select::{Entries, Kinds};
use super::{Status, completer, usage};

/// Options of `dijitso clean`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Kinds of files to remove: inc,src,lib,log,results,pch,failures,quarantine,staging,leases,notes or all
    #[arg(long, value_name = "LIST", default_value = "all", add = completer::categories())]
    categories: Kinds,

    #[command(flatten)]
    entries: Entries,

    /// Remove without asking
    #[arg(short = 'y', long)]
    yes: bool,
}

impl Arguments {
    /// Removes files of the cache, after a question.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.cache()?;
        // Reports a cache that may not be changed before it asks or lists.
        let tree = cache.open()?;
        let catalog = cache.catalog()?;
        let root = cache.layout().root().display().to_string();
        let entries = self.entries.of(&catalog)?;
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|entry| entry.of(&self.categories.0.categories).next().is_some())
            .collect();
        let files: Vec<&Listed> =
            entries.iter().flat_map(|entry| entry.of(&self.categories.0.categories)).collect();
        let mut others: Vec<(PathBuf, Sums)> = Vec::new();
        if let Some(tree) = tree.as_ref().filter(|_| self.entries.are_all()) {
            let kinds = self.categories.0.auxiliary.iter();
            others.extend(kinds.flat_map(|kind| cache.auxiliary(tree, *kind)));
        }
        let bytes = files.iter().map(|file| file.size).chain(others.iter().map(|(_, sums)| sums.bytes)).sum();
        let number = files.len() + others.iter().map(|(_, sums)| sums.files).sum::<usize>();
        let what = format!("{} ({})", count(number, "file", "files"), size(bytes));
        let dry_run = context.options.dry_run;

        let nothing = files.is_empty() && others.is_empty();
        if !(dry_run || self.yes || nothing) {
            context.out.flush();
            match output::ask(&format!("Remove {what} from {root}?")) {
                Some(true) => {}
                Some(false) => {
                    context.note(&"nothing was removed");
                    return Ok(Status::Done);
                }
                None => {
                    let text = format!(
                        "clean would remove {what} from {root}, and there is no terminal to ask on: use \
                         --yes, or -n to see what it would remove"
                    );
                    return Err(usage(text));
                }
            }
        }

        let mut failures = Vec::new();
        if dry_run && !context.out.json {
            let paths = files.iter().map(|file| &file.path).chain(others.iter().map(|(path, _)| path));
            paths.for_each(|path| context.out.line(format_args!("would remove {}", path.display())));
        }
        let mut removed = Vec::new();
        if dry_run {
            removed.extend(files.iter().map(|file| file.path.clone()));
            removed.extend(others.iter().map(|(path, _)| path.clone()));
        } else {
            let mut progress = ProgressBar::new("removing", entries.len());
            for entry in &entries {
                progress.step();
                match cache.remove(&entry.signature, &self.categories.0.categories) {
                    Ok(paths) => removed.extend(paths),
                    Err(error) => failures.push(error),
                }
            }
            for (tree, (path, _)) in
                tree.iter().flat_map(|tree| others.iter().map(move |other| (tree, other)))
            {
                match cache.remove_auxiliary(tree, path) {
                    Ok(true) => removed.push(path.clone()),
                    Ok(false) => {}
                    Err(error) => failures.push(error),
                }
            }
        }
        let gone: HashSet<&PathBuf> = removed.iter().collect();
        let mut sums = Sums::default();
        for file in files.iter().filter(|file| gone.contains(&file.path)) {
            sums.add(Sums { files: 1, bytes: file.size, allocated: file.allocated });
        }
        others.iter().filter(|(path, _)| gone.contains(path)).for_each(|(_, of)| sums.add(*of));
        if context.out.json {
            context.out.document(&json!({
                "cache_dir": root,
                "dry_run": dry_run,
                "removed": removed,
                "bytes": sums.bytes,
                "allocated": sums.allocated,
                "failures": failures.iter().map(Error::message).collect::<Vec<_>>(),
            }));
        } else {
            if context.options.verbose > 0 && !dry_run {
                removed.iter().for_each(|path| context.out.line(format_args!("removed {}", path.display())));
            }
            let verb = if dry_run { "would be removed" } else { "removed" };
            let what = count(sums.files, "file", "files");
            context.out.line(format_args!("{what} ({}) {verb} from {root}", size(sums.bytes)));
        }
        let ranks = cache.of_processes();
        if let (Some(first), true) = (ranks.first(), self.entries.are_all()) {
            let what = count(ranks.len(), "cache of a single rank is", "caches of single ranks are");
            context.note(&format!("{what} left: dijitso --cache-dir {} clean", first.display()));
        }
        match failures.as_slice() {
            [] => Ok(Status::Done),
            [first, rest @ ..] => {
                rest.iter().take(9).for_each(|error| context.note(error));
                let text =
                    format!("{} not removed: {first}", count(failures.len(), "file was", "files were"));
                Err(Error::new(Kind::Cache, text))
            }
        }
    }
}
