//! Errors of selections, with the column and the nearest word.

#![forbid(unsafe_code)]

use dijitso::error::{Error, Kind};
use dijitso::plan::view::PlanView;

use super::words::{KEYS, OPERATORS, names};

/// The least likeness of a word that is suggested.
const LIKENESS: f64 = 0.5;

/// The comparison takes time and memory for each pair of characters.
const COMPARED: usize = 60;

/// The part of a word that an error repeats.
const SHOWN: usize = 100;

/// Returns the error of a mistake in a selection.
pub(super) fn mistake(column: usize, text: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("column {column} of the selection: {text}"))
}

/// Returns a text that is short enough for a message.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn compared(text: &str) -> String {
    text.chars().take(COMPARED).flat_map(char::to_lowercase).collect()
}

/// Returns the candidate that is most like a word, if one is like it.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = compared(word);
    let likeness = |candidate| strsim::normalized_damerau_levenshtein(&compared(candidate), &word);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = likeness(candidate);
        // Of two that are as like, the first: words come before labels.
        if likeness >= LIKENESS && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default()
}

/// Returns the error of `is:` before something that is no word.
pub(super) fn misspelt_key(column: usize, text: &str) -> Error {
    let hint = hint(nearest(text, names()));
    mistake(column, &format!("\"{}\" is no word of selections{hint}", shown(text)))
}

/// Returns the error of a word that is no label and no word of the language.
pub(super) fn unknown_word(column: usize, text: &str, view: &PlanView) -> Error {
    if ["or", "union", "|", "||", "+", "&", "&&", ","].contains(&text) {
        let advice = "write \"A B\" for the nodes of both, and \"A in B\" for those that are in both";
        return mistake(column, &format!("\"{text}\" is no operator; {advice}"));
    }
    let misspelt_key = text.split_once(':').and_then(|(key, value)| {
        let key = nearest(key, KEYS.into_iter())?;
        Some(format!("{key}:{}", shown(value)))
    });
    let name = view.nodes.iter().find(|node| node.name == text).map(|node| format!("{}()", node.name));
    let known = || {
        let mut known: Vec<&str> = OPERATORS.to_vec();
        known.extend(names());
        known.extend(view.nodes.iter().map(|node| node.label.as_str()));
        nearest(text, known.into_iter()).map(str::to_owned)
    };
    let hint = hint(misspelt_key.or(name).or_else(known).as_deref());
    mistake(column, &format!("there is no node and no word \"{}\"{hint}", shown(text)))
}

/// Returns the error of a label in quotes that no node has.
pub(super) fn unknown_label(column: usize, label: &str, view: &PlanView) -> Error {
    let hint = hint(nearest(label, view.nodes.iter().map(|node| node.label.as_str())));
    mistake(column, &format!("no node has the label \"{}\"{hint}", shown(label)))
}

/// Returns the error of a name that no node has.
pub(super) fn unknown_name(column: usize, name: &str, view: &PlanView) -> Error {
    let nearest = nearest(name, view.nodes.iter().map(|node| node.name.as_str()));
    let nearest = nearest.map(|name| format!("{name}()"));
    mistake(column, &format!("no node has the name \"{}\"{}", shown(name), hint(nearest.as_deref())))
}
