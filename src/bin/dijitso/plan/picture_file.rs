//! The option `--output` of the pictures of a plan.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use dijitso::error::{Error, Result};
use dijitso::fsutil::{OutputFile, is_stdout};

use super::super::context::CommandContext;
use super::super::output::size;

/// The option `--output`.
#[derive(Debug, Args)]
pub(super) struct PictureFile {
    /// The file to write; by default, and if it is "-", the standard output
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
}

impl PictureFile {
    /// Returns the extension of the file, in small letters.
    pub(super) fn extension(&self) -> Option<String> {
        Some(self.output.as_ref()?.extension()?.to_string_lossy().to_lowercase())
    }

    /// Returns true if the picture goes to a file.
    pub(super) fn is_file(&self) -> bool {
        self.path().is_some()
    }

    fn path(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-") && !is_stdout(path))
    }

    /// Writes a picture, and a summary unless the picture goes to the standard output.
    ///
    /// # Errors
    /// `Kind::Cache` if the file cannot be written.
    pub(super) fn write(&self, picture: &str, nodes: usize, context: &mut CommandContext) -> Result<()> {
        let dry_run = context.options.dry_run;
        let Some(path) = self.path() else {
            if !dry_run {
                context.out.text(picture);
            }
            return Ok(());
        };
        if !dry_run {
            let failed = |error| Error::file("cannot write", path, &error);
            let mut file = OutputFile::create(path, 0o666).map_err(failed)?;
            if let Some(leftover) = file.leftover() {
                super::super::interrupt::remove_when_ended(leftover);
            }
            file.write_all(picture.as_bytes()).and_then(|()| file.finish()).map_err(failed)?;
        }
        if context.out.json {
            let json = json!({ "path": path, "nodes": nodes, "bytes": picture.len(), "dry_run": dry_run });
            context.out.document(&json);
            return Ok(());
        }
        let would = if dry_run { "would be " } else { "" };
        let nodes = super::super::output::count(nodes, "node", "nodes");
        context.out.line(format_args!(
            "{nodes}, {}, {would}written to {}",
            size(picture.len() as u64),
            path.display()
        ));
        Ok(())
    }
}
