//! Completes commands, options, labels and words of selections.

#![forbid(unsafe_code)]

use std::cell::RefCell;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use dijitso::escape;
use dijitso::plan::view::PlanView;

use super::super::plan::selection;
use super::lines::{OpenWord, open_word};

/// A command of the console, as far as it is completed.
pub(super) struct CompletedCommand {
    /// Its name.
    pub(super) name: String,
    /// Its long options.
    pub(super) options: Vec<String>,
    /// True if it takes nodes.
    pub(super) takes_nodes: bool,
}

/// Completes the lines of a console.
pub(super) struct ConsoleHelper {
    commands: Vec<CompletedCommand>,
    /// Loads the plan. `None` if that fails.
    load: Box<dyn Fn() -> Option<PlanView>>,
    /// Labels and names as they are written on a line; `None` if the plan may have changed.
    nodes: RefCell<Option<Vec<String>>>,
}

impl ConsoleHelper {
    /// Completes these commands on the plan that `load` loads.
    pub(super) fn new(commands: Vec<CompletedCommand>, load: Box<dyn Fn() -> Option<PlanView>>) -> Self {
        Self { commands, load, nodes: RefCell::new(None) }
    }

    /// Loads the plan again at the next completion.
    pub(super) fn forget(&self) {
        *self.nodes.borrow_mut() = None;
    }

    /// Returns the texts that can stand in place of a word.
    fn candidates(&self, word: &OpenWord) -> Vec<String> {
        let command = match word.before.first() {
            None => return self.names(&word.text),
            Some(first) if first == "help" => return self.names(&word.text),
            Some(first) => self.commands.iter().find(|command| command.name == *first),
        };
        let Some(command) = command else { return Vec::new() };
        if word.text.starts_with('-') {
            let options = command.options.iter().filter(|option| option.starts_with(&word.text));
            return options.cloned().collect();
        }
        if !command.takes_nodes {
            return Vec::new();
        }
        let words = selection::OPERATORS.into_iter().chain(selection::names());
        let words = words.filter(|known| known.starts_with(&word.text)).map(str::to_owned);
        let mut nodes = self.nodes.borrow_mut();
        let nodes = nodes.get_or_insert_with(|| (self.load)().map(|view| texts(&view)).unwrap_or_default());
        let begins = |node: &&String| {
            let text = node.strip_prefix('\'').unwrap_or(node);
            node.starts_with(&word.text) || text.starts_with(&word.text)
        };
        words.chain(nodes.iter().filter(begins).cloned()).collect()
    }

    fn names(&self, begin: &str) -> Vec<String> {
        let names = self.commands.iter().map(|command| &command.name);
        names.filter(|name| name.starts_with(begin)).cloned().collect()
    }
}

/// Returns labels and names of a plan as they are written on a line of the console. Those that a terminal
/// cannot show as they are, are left out.
fn texts(view: &PlanView) -> Vec<String> {
    let is_shown = |text: &&str| escape::paragraph(text) == *text;
    let labels = view.nodes.iter().map(|node| node.label.as_str()).filter(is_shown);
    let mut names: Vec<&str> = view.nodes.iter().map(|node| node.name.as_str()).filter(is_shown).collect();
    names.sort_unstable();
    names.dedup();
    let names = names.into_iter().filter(|name| !selection::needs_quotes(name));
    let mut texts: Vec<String> =
        labels.map(|label| shell_words::quote(&selection::word(label)).into_owned()).collect();
    texts.extend(names.map(|name| format!("{name}()")));
    texts.sort_unstable();
    texts
}

impl Completer for ConsoleHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Some(word) = line.get(..at).and_then(open_word) else { return Ok((at, Vec::new())) };
        let candidates = self.candidates(&word);
        // The only one is a whole word, and the next word can follow.
        let end = if candidates.len() == 1 { " " } else { "" };
        let pair = |text: String| Pair { replacement: format!("{text}{end}"), display: text };
        Ok((word.begin, candidates.into_iter().map(pair).collect()))
    }
}

impl Helper for ConsoleHelper {}
impl Highlighter for ConsoleHelper {}
impl Validator for ConsoleHelper {}

impl Hinter for ConsoleHelper {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::super::super::plan::sample_view;
    use super::*;

    fn completed(line: &str) -> Vec<String> {
        let command = |name: &str, takes_nodes| CompletedCommand {
            name: name.to_owned(),
            options: vec!["--all".to_owned(), "--json".to_owned()],
            takes_nodes,
        };
        let commands = vec![command("ls", true), command("stats", true), command("help", false)];
        let helper = ConsoleHelper::new(commands, Box::new(|| Some(sample_view())));
        let history = rustyline::history::DefaultHistory::new();
        let (begin, pairs) = helper.complete(line, line.len(), &Context::new(&history)).unwrap();
        assert!(pairs.len() != 1 || pairs[0].replacement.ends_with(' '), "{line}");
        pairs.into_iter().map(|pair| format!("{}{}", &line[..begin], pair.display)).collect()
    }

    #[test]
    fn commands_options_and_nodes_are_completed() {
        assert_eq!(completed("l"), ["ls"]);
        assert_eq!(completed("ls; s"), ["ls; stats"]);
        assert_eq!(completed("help st"), ["help stats"]);
        assert_eq!(completed("ls --j"), ["ls --json"]);
        assert_eq!(completed("ls fai"), ["ls failed"]);
        assert_eq!(
            completed("ls not form"),
            [
                "ls not 'form code'",
                "ls not form_1()",
                "ls not form_1_1()",
                "ls not forms",
                "ls not forms-1",
                "ls not forms-1-1",
            ]
        );
        assert_eq!(completed("ls 'form c"), ["ls 'form code'"]);
        assert_eq!(completed("ls label"), ["ls label:top"]);
        assert_eq!(completed("ls Wä"), ["ls Wärme"]);
        assert_eq!(completed("ls a*"), ["ls 'a*(\"b\")'"]);
        assert!(completed("nothing a").is_empty() && completed("ls # a").is_empty());
    }
}
