//! Selections: expressions that choose nodes of a plan.
//!
//! ```text
//! selection  = difference { ("in" | "and" | "intersect") difference } ;
//! difference = negation { ("except" | "but") negation } ;
//! negation   = { "not" } union ;
//! union      = part { part } ;
//! part       = "(" selection ")" | NAME "()" | WORD ;
//! ```
//!
//! So `a b in c except d` is `(a b) in (c except d)`, and `a except b except c` is what is left of `a` without
//! both. A WORD ends at a blank or a parenthesis; `*` in it stands for any text. Within `"..."` and `'...'` all
//! characters stand for themselves. Outside of quotes, WORD is a word of the language ([`words`]), or else a
//! label, or else the beginning of a signature.

#![forbid(unsafe_code)]

mod evaluate;
mod levels;
mod mistake;
mod node_set;
mod parser;
mod pattern;
mod signatures;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

use dijitso::error::Result;
use dijitso::plan::view::PlanView;

use evaluate::PlanIndex;
use parser::SelectionTree;

pub(crate) use mistake::nearest;
pub(crate) use words::{OPERATORS, help, names};

/// Selects nodes by the words of a command line, in the order of the plan. The words are put together with
/// blanks between them; one that is a label as it stands needs no quotes of its own. `last` are the labels that
/// the word `last` stands for; `None` for all.
///
/// # Errors
/// `Kind::InvalidArgument` if the selection is wrong, or names something that the plan does not have.
pub(crate) fn select(words: &[String], view: &PlanView, last: Option<&[String]>) -> Result<Vec<usize>> {
    let index = PlanIndex::new(view, last);
    let words: Vec<String> = words
        .iter()
        .map(|word| {
            let is_label = needs_quotes(word) && index.node(word).is_some();
            if is_label { quoted(word) } else { word.clone() }
        })
        .collect();
    Ok(index.select(&parse(&words.join(" "))?)?.nodes())
}

fn parse(text: &str) -> Result<SelectionTree> {
    parser::parse(text)
}

/// Tells if a label or a name has characters that mean something else outside of quotes.
pub(crate) fn needs_quotes(label: &str) -> bool {
    label.is_empty() || label.contains(|c: char| c.is_whitespace() || "\"'()*".contains(c))
}

/// Puts a label in quotes.
fn quoted(label: &str) -> String {
    if label.is_empty() {
        return "\"\"".to_owned();
    }
    // A quote of one kind stands in quotes of the other, and parts in different quotes are one word.
    label
        .split_inclusive('"')
        .map(|part| match part.strip_suffix('"') {
            Some(before) => format!("\"{before}\"'\"'"),
            None => format!("\"{part}\""),
        })
        .collect()
}

/// Returns the word of a command line that selects a node, if a shell leaves it as it is.
pub(crate) fn word(label: &str) -> String {
    if needs_quotes(label) { label.to_owned() } else { written(label) }
}

/// Returns the text of a selection that selects a node: its label, in quotes or behind `label:` if need be.
pub(crate) fn written(label: &str) -> String {
    if needs_quotes(label) {
        return quoted(label);
    }
    let is_plain = matches!(parse(label), Ok(SelectionTree::Item(parser::SelectionItem::Text(text), _)) if text == label);
    if is_plain { label.to_owned() } else { format!("label:{label}") }
}
