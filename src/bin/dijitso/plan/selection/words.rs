//! The words of the selection language.

#![forbid(unsafe_code)]

/// A word that selects nodes by state, or by the place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SelectionWord {
    All,
    Done,
    Failed,
    Blocked,
    Todo,
    Ready,
    Running,
    Stale,
    Interrupted,
    UpToDate,
    Hit,
    Built,
    Top,
    Bottom,
    Root,
    Generated,
    Dynamic,
    Last,
    Modules,
    Tasks,
}

/// The words with the nodes that they select. Of several names for one thing, the first is the usual one.
const WORDS: &[(&str, SelectionWord, &str)] = &[
    ("all", SelectionWord::All, "every node"),
    ("done", SelectionWord::Done, "its result is there"),
    ("failed", SelectionWord::Failed, "its last execution has failed"),
    ("blocked", SelectionWord::Blocked, "something that it needs has failed"),
    ("todo", SelectionWord::Todo, "not done yet, ready or not"),
    ("not_started", SelectionWord::Todo, "the same as todo"),
    ("ready", SelectionWord::Ready, "todo, and everything that it needs is done"),
    ("running", SelectionWord::Running, "being made"),
    ("interrupted", SelectionWord::Interrupted, "todo, and ended by a signal or a second Ctrl-C"),
    ("stale", SelectionWord::Stale, "done once; something that it depends on has changed since"),
    ("uptodate", SelectionWord::UpToDate, "done and not stale"),
    ("hit", SelectionWord::Hit, "the last make found its result in the cache"),
    ("built", SelectionWord::Built, "the last make has built it"),
    ("miss", SelectionWord::Built, "the same as built"),
    ("top", SelectionWord::Top, "no other node needs it"),
    ("bottom", SelectionWord::Bottom, "it needs no other node"),
    ("root", SelectionWord::Root, "the plan itself has added it"),
    ("generated", SelectionWord::Generated, "a callback of another node has added it"),
    ("dynamic", SelectionWord::Dynamic, "its callback has added others"),
    ("last", SelectionWord::Last, "the nodes of the last command of the console"),
    ("modules", SelectionWord::Modules, "libraries"),
    ("tasks", SelectionWord::Tasks, "commands and callbacks that make files or bytes"),
];

/// Words with a number behind them, and words with a value behind a colon.
const FAMILIES: &[(&str, &str)] = &[
    ("NAME()", "the name of the library, or of the program of a task"),
    ("level1 ...", "added by a callback of the level before; level0 is root"),
    ("layer1 ...", "it needs only nodes of the layers before; layer1 is bottom"),
    ("rank:N", "rank N has made it"),
    ("host:NAME", "this host has made it"),
    ("gen:LABEL", "added by the callback of this node, or of one that it added"),
    ("name:NAME", "the same as NAME()"),
    ("label:LABEL", "the node of this label, also if a word is called so"),
    ("is:WORD", "the word, also if a node is called so"),
];

/// The operators of the language.
pub(crate) const OPERATORS: [&str; 6] = ["not", "except", "but", "in", "and", "intersect"];

/// The keys that stand before a colon.
pub(super) const KEYS: [&str; 6] = ["rank", "host", "gen", "name", "label", "is"];

impl SelectionWord {
    /// Returns the word of a name.
    pub(super) fn of(name: &str) -> Option<Self> {
        WORDS.iter().find(|(known, ..)| *known == name).map(|(_, word, _)| *word)
    }

    /// Returns its usual name.
    pub(super) fn name(self) -> &'static str {
        WORDS.iter().find(|(_, word, _)| *word == self).map_or("all", |(name, ..)| name)
    }
}

/// Returns the names of all words.
pub(crate) fn names<'a>() -> impl Iterator<Item = &'a str> {
    WORDS.iter().map(|(name, ..)| -> &'a str { name })
}

/// Describes the language, in lines of at most 80 columns.
pub(crate) fn help() -> String {
    let mut text = "\
Selections:
  A B            A or B: a label, the beginning of a signature, or a word below
  A* \"a label\"   * stands for any text; in quotes, all characters are themselves
  not A          all others
  A except B     A without B (or: A but B)
  A in B         those of A that are also in B (or: A and B, A intersect B)
  (A)            parentheses; else \"in\" splits first, then \"except\", then \"not\"
"
    .to_owned();
    let words = WORDS.iter().map(|(name, _, help)| (*name, *help));
    for (name, help) in words.chain(FAMILIES.iter().copied()) {
        text.push_str(&format!("  {name:<14} {help}\n"));
    }
    text.truncate(text.trim_end().len());
    text
}
