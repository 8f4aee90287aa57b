//! `dijitso completions SHELL`.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use clap_complete::env::Shells;

use dijitso::error::{Error, Kind, Result};
use dijitso::fsutil::OutputFile;

use super::context::CommandContext;
use super::{Status, completer};

const MODE: u32 = 0o644;

/// The end of the script for zsh. If zsh loads the file `_dijitso` at the first Tab, it runs as the function of that
/// name, and has to complete already.
const AUTOLOADED: &str = "[[ ${funcstack[1]} == _dijitso ]] && _clap_dynamic_completer_dijitso \"$@\"\nreturn 0 2>/dev/null || true\n";

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    Power,
    Zsh,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Elvish => "elvish",
            Self::Fish => "fish",
            Self::Power => "powershell",
            Self::Zsh => "zsh",
        }
    }
}

/// Options of `dijitso completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,

    /// Write the script to this file
    #[arg(short = 'o', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
}

impl Arguments {
    /// Writes the script. It asks the command that is first on PATH.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        const COMMAND: &str = "dijitso";
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(self.shell.name()).ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("there are no completions for {}", self.shell.name()))
        })?;
        let written = shell.write_registration(completer::VARIABLE, COMMAND, COMMAND, COMMAND, &mut script);
        written.map_err(|error| Error::new(Kind::Internal, format!("cannot make the script: {error}")))?;
        if self.shell == Shell::Zsh {
            script.extend_from_slice(AUTOLOADED.as_bytes());
        }
        match &self.output {
            None => context.out.bytes(&script),
            Some(path) if context.options.dry_run => {
                context.out.line(format_args!("would write {}", path.display()));
            }
            Some(path) => {
                let written = OutputFile::create(path, MODE)
                    .and_then(|mut file| file.write_all(&script).and_then(|()| file.finish()));
                written.map_err(|error| Error::file("cannot write", path, &error))?;
            }
        }
        Ok(Status::Done)
    }
}
