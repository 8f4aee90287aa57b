//! `dijitso console PLAN`: the commands on a plan without the plan, one line after the other.

#![forbid(unsafe_code)]

mod completion;
mod history;
mod lines;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::builder::styling::Styles;
use clap::{Args, Parser};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use dijitso::error::{self, Error, Kind, Result};
use dijitso::escape;
use dijitso::plan::view::{PlanView, State};

use super::context::{CommandContext, GlobalOptions};
use super::output::{STRONG, count, shortened};
use super::plan::{load_view, selection};
use super::{Arguments as CommandLine, Status, definition, exit_code};

use completion::{CompletedCommand, ConsoleHelper};

/// The names of the commands of the console itself.
const OWN: [&str; 3] = ["help", "exit", "quit"];

/// The commands on plans that are subcommands of `dijitso` and not of `dijitso plan`.
const OUTSIDE: [&str; 1] = ["make"];

/// The columns that the name of the plan takes in the prompt.
const PROMPT: usize = 24;

/// Options of `dijitso console`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,

    /// Run these commands instead of reading lines, for example "make; ls failed"
    #[arg(short = 'c', long, value_name = "COMMANDS")]
    command: Option<String>,
}

impl Arguments {
    /// Runs commands until the lines end. On a terminal, errors are of no consequence; elsewhere the exit code
    /// is that of the first command that has failed.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let view = load_view(&self.plan, &context.params()?)?;
        let mut console = Console::new(&self.plan, &context.options);
        if let Some(commands) = &self.command {
            console.run_line(commands, context);
        } else if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            interact(&mut console, &view, context)?;
            return Ok(Status::Done);
        } else {
            for line in std::io::stdin().lock().lines() {
                let line =
                    line.map_err(|cause| Error::file("cannot read", Path::new("standard input"), &cause))?;
                if !console.run_line(&line, context) {
                    break;
                }
            }
        }
        Ok(if console.first_failure == 0 { Status::Done } else { Status::Ended(console.first_failure) })
    }
}

/// A console: the plan, and the commands that it knows.
struct Console {
    plan: PathBuf,
    /// The options of `dijitso console` itself, which hold for all commands.
    options: GlobalOptions,
    commands: Vec<ConsoleCommand>,
    /// The exit code of the first command that has failed; 0 if none has.
    first_failure: u8,
}

/// A command of the console.
struct ConsoleCommand {
    /// Its definition, without the plan.
    definition: clap::Command,
    /// True if it is a subcommand of `dijitso plan`.
    is_of_plan: bool,
}

impl ConsoleCommand {
    fn has_name(&self, name: &str) -> bool {
        self.definition.get_name() == name || self.definition.get_all_aliases().any(|alias| alias == name)
    }

    fn completed(&self) -> CompletedCommand {
        let arguments = || self.definition.get_arguments();
        let mut options: Vec<String> = arguments()
            .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
            .chain(["--json".to_owned()])
            .collect();
        options.sort_unstable();
        CompletedCommand {
            name: self.definition.get_name().to_owned(),
            options,
            takes_nodes: arguments().any(|argument| argument.get_id() == "selection"),
        }
    }
}

/// Returns the commands whose first argument is the plan.
fn commands() -> Vec<ConsoleCommand> {
    let takes_plan =
        |command: &&clap::Command| command.get_positionals().any(|first| first.get_id() == "plan");
    let without_plan = |command: &clap::Command, is_of_plan| {
        let name = command.get_name().to_owned();
        let mut definition = command.clone();
        // A changed argument goes behind the others, unless each has a place.
        let positionals = command.get_positionals().map(|argument| argument.get_id().to_string());
        for (at, id) in positionals.enumerate().collect::<Vec<_>>() {
            definition = definition.mut_arg(id, |argument| argument.index(at + 1));
        }
        definition = definition.mut_arg("plan", |plan| plan.hide(true));
        ConsoleCommand { definition: definition.bin_name(name), is_of_plan }
    };
    let all = definition();
    let outside = all.get_subcommands().filter(|command| OUTSIDE.contains(&command.get_name()));
    let mut commands: Vec<ConsoleCommand> =
        outside.filter(takes_plan).map(|command| without_plan(command, false)).collect();
    let of_plan = all.find_subcommand("plan").into_iter().flat_map(clap::Command::get_subcommands);
    commands.extend(of_plan.filter(takes_plan).map(|command| without_plan(command, true)));
    commands
}

impl Console {
    fn new(plan: &Path, options: &GlobalOptions) -> Self {
        // A path that begins with a hyphen would be an option.
        let is_option = plan.as_os_str().as_encoded_bytes().starts_with(b"-");
        let plan = if is_option { Path::new(".").join(plan) } else { plan.to_owned() };
        Self { plan, options: options.clone(), commands: commands(), first_failure: 0 }
    }

    /// Runs the commands of a line. Returns false if the console ends.
    fn run_line(&mut self, line: &str, context: &mut CommandContext) -> bool {
        let commands = match lines::split(line) {
            Ok(commands) => commands,
            Err(error) => {
                self.complain(&error, context);
                return true;
            }
        };
        for words in commands {
            match words[0].as_str() {
                "exit" | "quit" => return false,
                "help" => self.help(words.get(1).map(String::as_str), context),
                _ => self.run_command(&words, context),
            }
            context.out.flush();
            if context.out.is_closed() {
                return false;
            }
        }
        true
    }

    fn complain(&mut self, error: &Error, context: &mut CommandContext) {
        context.note(error);
        self.failed(exit_code(&Err(error.clone())));
    }

    fn failed(&mut self, code: u8) {
        if self.first_failure == 0 {
            self.first_failure = code;
        }
    }

    /// Finds a command.
    fn command(&self, name: &str) -> Result<&ConsoleCommand> {
        self.commands.iter().find(|command| command.has_name(name)).ok_or_else(|| {
            let known = self.commands.iter().map(|command| command.definition.get_name()).chain(OWN);
            let nearest = selection::nearest(name, known);
            let hint = nearest.map_or_else(
                || "\"help\" lists the commands".to_owned(),
                |nearest| format!("did you mean \"{nearest}\"?"),
            );
            Error::new(Kind::InvalidArgument, format!("there is no command \"{name}\"; {hint}"))
        })
    }

    /// Runs a command as `dijitso plan COMMAND PLAN ...` would. Its error does not end the console.
    fn run_command(&mut self, words: &[String], context: &mut CommandContext) {
        let command = match self.command(&words[0]) {
            Ok(command) => command,
            Err(error) => return self.complain(&error, context),
        };
        let mut line: Vec<OsString> = vec!["dijitso".into()];
        line.extend(command.is_of_plan.then(|| "plan".into()));
        line.extend([command.definition.get_name().into(), self.plan.clone().into()]);
        line.extend(words[1..].iter().map(OsString::from));
        let parsed = match CommandLine::try_parse_from(line) {
            Ok(parsed) => parsed,
            Err(answer) if answer.use_stderr() => {
                context.note(&without_usage(&answer));
                return self.failed(2);
            }
            // "ls --help"
            Err(_) => return self.help(Some(&words[0]), context),
        };
        context.options = parsed.options.within(&self.options);
        context.out.json = context.options.json;
        let result = error::catch(&words[0], || parsed.command.run(context));
        context.options = self.options.clone();
        context.out.json = context.options.json;
        match result {
            Err(error) => self.complain(&error, context),
            result => self.failed(exit_code(&result)),
        }
    }

    /// Describes the commands, or one of them.
    fn help(&mut self, name: Option<&str>, context: &mut CommandContext) {
        let Some(name) = name.filter(|name| !OWN.contains(name)) else {
            let about = self.commands.iter().map(|command| {
                let about = command.definition.get_about().map(ToString::to_string).unwrap_or_default();
                (command.definition.get_name().to_owned(), about)
            });
            let own = [
                ("help", "Describe the commands, or one of them"),
                ("exit", "End the console; so does the end of the input"),
            ];
            let own = own.map(|(name, about)| (name.to_owned(), about.to_owned()));
            let out = &mut context.out;
            out.line(out.paint(STRONG, "Commands, with \";\" between them:"));
            for (name, about) in about.chain(own) {
                out.line(format_args!("  {name:<14} {about}"));
            }
            out.line("");
            out.line(selection::help());
            return;
        };
        match self.command(name) {
            Ok(command) => {
                let help = command.definition.clone().styles(Styles::plain()).render_long_help();
                context.out.line(help.to_string().replace(" <PLAN>", "").trim_end());
            }
            Err(error) => self.complain(&error, context),
        }
    }
}

/// Returns the message of a mistake on a line without the usage, which names the plan and `dijitso plan`.
fn without_usage(answer: &clap::Error) -> String {
    let text = answer.render().to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    text.strip_prefix("error: ").unwrap_or(text).trim().to_owned()
}

/// Reads lines from a terminal.
fn interact(console: &mut Console, view: &PlanView, context: &mut CommandContext) -> Result<()> {
    let cannot =
        |cause: ReadlineError| Error::new(Kind::Unsupported, format!("the terminal cannot be used: {cause}"));
    let config = Config::builder().auto_add_history(true).history_ignore_space(true);
    let config = config.max_history_size(history::LINES).map_err(cannot)?.build();
    let mut editor = Editor::<ConsoleHelper, FileHistory>::with_config(config).map_err(cannot)?;
    let (path, params) = (console.plan.clone(), context.params()?);
    let load = Box::new(move || load_view(&path, &params).ok());
    let own = ["exit", "help"].map(|name| CompletedCommand {
        name: name.to_owned(),
        options: Vec::new(),
        takes_nodes: false,
    });
    let commands = console.commands.iter().map(ConsoleCommand::completed).chain(own).collect();
    editor.set_helper(Some(ConsoleHelper::new(commands, load)));
    let history = history::path();
    if let Some(history) = &history {
        let _ = editor.load_history(history);
    }
    greet(view, context);
    let prompt = format!("{}> ", shortened(&escape::paragraph(&view.name), PROMPT, true));
    loop {
        context.out.flush();
        if context.out.is_closed() {
            break;
        }
        match editor.readline(&prompt) {
            Ok(line) => {
                let goes_on = console.run_line(&line, context);
                if let Some(history) = &history {
                    history::append(&mut editor, history);
                }
                if !goes_on {
                    break;
                }
                if let Some(helper) = editor.helper() {
                    helper.forget();
                }
            }
            // Ctrl-C leaves the line.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(cause) => return Err(cannot(cause)),
        }
    }
    Ok(())
}

/// Writes the name of the plan and how far it is.
fn greet(view: &PlanView, context: &mut CommandContext) {
    let states = [State::Done, State::Failed, State::Blocked].map(|state| {
        let number = view.nodes.iter().filter(|node| node.state == state).count();
        format!("{number} {}", state.word())
    });
    let nodes = count(view.nodes.len(), "node", "nodes");
    let out = &mut context.out;
    out.line(format_args!("{}: {nodes}, {}", out.paint(STRONG, &view.name), states.join(", ")));
    out.line("\"help\" lists the commands; Ctrl-D ends the console");
}
