//! Parses a selection; the module above has the grammar.

#![forbid(unsafe_code)]

use std::fmt;
use std::iter::Peekable;

use dijitso::error::Result;

use super::mistake::{misspelt_key, mistake};
use super::pattern::LabelPattern;
use super::tokens::{PlacedToken, PlainWord, SelectionToken, tokens};
use super::words::{KEYS, SelectionWord};

/// The number of parentheses that may be open at once. Each takes a part of the stack.
const MAX_DEPTH: usize = 64;

/// A word, resolved as far as that goes without a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SelectionItem {
    /// A word of the language; true if `is:` stood before it.
    Word(SelectionWord, bool),
    /// Nodes that callbacks of this many nodes, one within the other, have added; true if `is:` stood before.
    Level(usize, bool),
    /// Nodes with a longest chain of this many nodes, themselves included; true if `is:` stood before.
    Layer(usize, bool),
    /// A label or a part of a signature, not in quotes.
    Text(String),
    /// Labels.
    Label(LabelPattern),
    /// Names.
    Name(LabelPattern),
    /// Labels of the nodes that have added others.
    Generator(LabelPattern),
    /// The host that has made it.
    Host(LabelPattern),
    /// The rank that has made it.
    Rank(usize),
}

impl fmt::Display for SelectionItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word, _) => f.write_str(word.name()),
            Self::Level(level, _) => write!(f, "level{level}"),
            Self::Layer(layer, _) => write!(f, "layer{layer}"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Label(pattern) => write!(f, "label:\"{pattern}\""),
            Self::Name(pattern) => write!(f, "name:\"{pattern}\""),
            Self::Generator(pattern) => write!(f, "gen:\"{pattern}\""),
            Self::Host(pattern) => write!(f, "host:\"{pattern}\""),
            Self::Rank(rank) => write!(f, "rank:{rank}"),
        }
    }
}

/// A parsed selection. Its depth is limited by that of the parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SelectionTree {
    /// A word and its column.
    Item(SelectionItem, usize),
    /// The nodes of any of these.
    Union(Vec<SelectionTree>),
    /// All nodes but those.
    Not(Box<SelectionTree>),
    /// The nodes of the first that are in none of the others.
    Except(Vec<SelectionTree>),
    /// The nodes that are in all of these.
    In(Vec<SelectionTree>),
}

impl fmt::Display for SelectionTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = |name: &str, parts: &[Self]| {
            write!(f, "({name}")?;
            parts.iter().try_for_each(|part| write!(f, " {part}"))?;
            f.write_str(")")
        };
        match self {
            Self::Item(item, _) => write!(f, "{item}"),
            Self::Union(parts) => list("union", parts),
            Self::Not(part) => list("not", std::slice::from_ref(part)),
            Self::Except(parts) => list("except", parts),
            Self::In(parts) => list("in", parts),
        }
    }
}

/// The operators in the order in which they split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    Except,
    Not,
}

impl Operator {
    /// Returns the operator that a token is.
    fn of(token: &SelectionToken) -> Option<Self> {
        let SelectionToken::Word(word) = token else { return None };
        match word.bare()? {
            "in" | "and" | "intersect" => Some(Self::In),
            "except" | "but" => Some(Self::Except),
            "not" => Some(Self::Not),
            _ => None,
        }
    }
}

/// Parses a selection.
///
/// # Errors
/// `Kind::InvalidArgument` with the column.
pub(super) fn parse(text: &str) -> Result<SelectionTree> {
    let end = text.chars().count() + 1;
    let mut parser = SelectionParser { rest: tokens(text)?.into_iter().peekable(), end, depth: 0 };
    let tree = parser.selection()?;
    match parser.rest.next() {
        Some(placed) => Err(mistake(placed.column, "\")\" has no \"(\" before it")),
        None => Ok(tree),
    }
}

struct SelectionParser<I: Iterator<Item = PlacedToken>> {
    rest: Peekable<I>,
    /// The column behind the last character.
    end: usize,
    depth: usize,
}

impl<I: Iterator<Item = PlacedToken>> SelectionParser<I> {
    /// Takes the next token if it is this operator.
    fn take(&mut self, operator: Operator) -> bool {
        self.rest.next_if(|placed| Operator::of(&placed.token) == Some(operator)).is_some()
    }

    fn selection(&mut self) -> Result<SelectionTree> {
        let mut parts = vec![self.difference()?];
        while self.take(Operator::In) {
            parts.push(self.difference()?);
        }
        Ok(one_or(parts, SelectionTree::In))
    }

    fn difference(&mut self) -> Result<SelectionTree> {
        let mut parts = vec![self.negation()?];
        while self.take(Operator::Except) {
            parts.push(self.negation()?);
        }
        Ok(one_or(parts, SelectionTree::Except))
    }

    fn negation(&mut self) -> Result<SelectionTree> {
        let mut negated = false;
        while self.take(Operator::Not) {
            negated = !negated;
        }
        let union = self.union()?;
        Ok(if negated { SelectionTree::Not(Box::new(union)) } else { union })
    }

    fn union(&mut self) -> Result<SelectionTree> {
        let mut parts = Vec::new();
        while let Some(placed) = self
            .rest
            .next_if(|placed| placed.token != SelectionToken::Close && Operator::of(&placed.token).is_none())
        {
            parts.push(self.part(placed)?);
        }
        if parts.is_empty() {
            return Err(self.missing());
        }
        if let Some(not) =
            self.rest.peek().filter(|placed| Operator::of(&placed.token) == Some(Operator::Not))
        {
            let text = "\"not\" stands at the beginning; to leave nodes out of others write \"A except B\"";
            return Err(mistake(not.column, text));
        }
        Ok(one_or(parts, SelectionTree::Union))
    }

    /// Returns the error of an operator without a selection, or of a selection without a word.
    fn missing(&mut self) -> dijitso::error::Error {
        match self.rest.peek() {
            Some(PlacedToken { token: SelectionToken::Word(word), column }) => {
                mistake(*column, &format!("there is no selection before \"{}\"", word.pattern))
            }
            Some(PlacedToken { column, .. }) => mistake(*column, "there is no selection before \")\""),
            None if self.end == 1 => mistake(1, "the selection is empty"),
            None => mistake(self.end, "the selection ends too early"),
        }
    }

    fn part(&mut self, placed: PlacedToken) -> Result<SelectionTree> {
        let PlacedToken { token, column } = placed;
        match token {
            SelectionToken::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(mistake(column, &format!("more than {MAX_DEPTH} parentheses are open")));
                }
                let tree = self.selection()?;
                self.depth -= 1;
                self.rest
                    .next_if(|placed| placed.token == SelectionToken::Close)
                    .ok_or_else(|| mistake(column, "\"(\" is not closed"))?;
                Ok(tree)
            }
            SelectionToken::Call(word) => Ok(SelectionTree::Item(SelectionItem::Name(word.pattern), column)),
            SelectionToken::Word(word) => Ok(SelectionTree::Item(item(word, column)?, column)),
            SelectionToken::Close => Err(mistake(column, "\")\" has no \"(\" before it")),
        }
    }
}

/// Returns the only part, or the parts put together.
fn one_or(
    mut parts: Vec<SelectionTree>,
    of: impl FnOnce(Vec<SelectionTree>) -> SelectionTree,
) -> SelectionTree {
    if parts.len() == 1 { parts.remove(0) } else { of(parts) }
}

/// Returns the number behind a word such as `level2`.
fn numbered(text: &str, word: &str) -> Option<usize> {
    let digits = text.strip_prefix(word)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Returns the item that a word of the language is; `is` tells if `is:` stood before it.
fn language_word(text: &str, is: bool) -> Option<SelectionItem> {
    let word = SelectionWord::of(text).map(|word| SelectionItem::Word(word, is));
    let level = || numbered(text, "level").map(|level| SelectionItem::Level(level, is));
    let layer = || numbered(text, "layer").map(|layer| SelectionItem::Layer(layer, is));
    word.or_else(level).or_else(layer)
}

fn item(word: PlainWord, column: usize) -> Result<SelectionItem> {
    if let Some((key, value)) = word.key_and_value() {
        match (key, value.exact()) {
            ("label", _) => return Ok(SelectionItem::Label(value)),
            ("name", _) => return Ok(SelectionItem::Name(value)),
            ("gen", _) => return Ok(SelectionItem::Generator(value)),
            ("host", _) => return Ok(SelectionItem::Host(value)),
            ("rank", number) => {
                let number = number.and_then(|number| number.parse().ok());
                let text = || mistake(column, &format!("\"{}\": the rank is a number", word.pattern));
                return number.map(SelectionItem::Rank).ok_or_else(text);
            }
            ("is", text) => {
                let known = text.and_then(|text| language_word(text, true));
                return known.ok_or_else(|| misspelt_key(column, &value.to_string()));
            }
            _ => debug_assert!(!KEYS.contains(&key), "{key} is not handled"),
        }
    }
    if let Some(text) = word.bare() {
        let text = text.to_owned();
        return Ok(language_word(&text, false).unwrap_or(SelectionItem::Text(text)));
    }
    Ok(SelectionItem::Label(word.pattern))
}
