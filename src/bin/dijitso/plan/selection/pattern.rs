//! Patterns of labels, names and hosts, with `*` for any text.

#![forbid(unsafe_code)]

/// A text with wildcards. It is shown with `*` for a wildcard and `\*` for a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LabelPattern {
    /// The texts between the wildcards; at least one.
    pieces: Vec<String>,
}

impl LabelPattern {
    /// Makes a pattern of the texts between its wildcards.
    pub(super) fn new(pieces: Vec<String>) -> Self {
        let pieces = if pieces.is_empty() { vec![String::new()] } else { pieces };
        Self { pieces }
    }

    /// Returns the text, if it has no wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [text] => Some(text),
            _ => None,
        }
    }

    /// Splits the first text at a character of one byte, which is dropped.
    pub(super) fn split_first_piece(&self, at: usize) -> Option<(&str, Self)> {
        let (first, others) = self.pieces.split_first()?;
        let (key, value) = (first.get(..at)?, first.get(at + 1..)?);
        let pieces = std::iter::once(value.to_owned()).chain(others.iter().cloned()).collect();
        Some((key, Self { pieces }))
    }

    /// Tells if it stands for a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (Some(first), Some(last)) = (self.pieces.first(), self.pieces.last()) else { return false };
        if self.pieces.len() == 1 {
            return first == text;
        }
        let inner = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let Some(mut rest) = inner else { return false };
        // If a text between two wildcards is found at all, its first place leaves most room for the next.
        self.pieces[1..self.pieces.len() - 1].iter().all(|piece| match rest.find(piece.as_str()) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }
}

impl std::fmt::Display for LabelPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pieces: Vec<String> = self.pieces.iter().map(|piece| piece.replace('*', "\\*")).collect();
        f.write_str(&pieces.join("*"))
    }
}
