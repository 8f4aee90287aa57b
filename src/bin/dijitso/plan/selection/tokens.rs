//! Splits a selection into words and parentheses.

#![forbid(unsafe_code)]

use dijitso::error::Result;

use super::mistake::mistake;
use super::pattern::LabelPattern;

/// A word of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainWord {
    /// Its text, with `*` outside of quotes as the wildcard.
    pub(super) pattern: LabelPattern,
    /// True if a part of it stood in quotes.
    pub(super) quoted: bool,
    /// The place of its first colon in bytes, if no quote and no `*` stood before.
    colon: Option<usize>,
}

impl PlainWord {
    /// Returns the text, if the word has neither quotes nor wildcards.
    pub(super) fn bare(&self) -> Option<&str> {
        self.pattern.exact().filter(|_| !self.quoted)
    }

    /// Splits `key:value` at its colon.
    pub(super) fn key_and_value(&self) -> Option<(&str, LabelPattern)> {
        let (key, value) = self.pattern.split_first_piece(self.colon?)?;
        Some((key, value))
    }
}

/// A part of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SelectionToken {
    /// `(`
    Open,
    /// `)`
    Close,
    /// A word.
    Word(PlainWord),
    /// A word with `()` behind it.
    Call(PlainWord),
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlacedToken {
    /// The token.
    pub(super) token: SelectionToken,
    /// The column of its first character, from 1.
    pub(super) column: usize,
}

/// A word that is being read.
struct UnfinishedWord {
    column: usize,
    pieces: Vec<String>,
    quoted: bool,
    colon: Option<usize>,
}

impl UnfinishedWord {
    fn new(column: usize) -> Self {
        Self { column, pieces: vec![String::new()], quoted: false, colon: None }
    }

    fn push(&mut self, c: char) {
        let is_first = self.pieces.len() == 1 && !self.quoted;
        let last = self.pieces.last_mut().expect("a word has a piece");
        if c == ':' && is_first && self.colon.is_none() {
            self.colon = Some(last.len());
        }
        last.push(c);
    }

    fn finish(self) -> PlainWord {
        PlainWord { pattern: LabelPattern::new(self.pieces), quoted: self.quoted, colon: self.colon }
    }
}

/// Returns the tokens of a selection.
///
/// # Errors
/// `Kind::InvalidArgument` for a quote without its end, and for a parenthesis right behind a word.
pub(super) fn tokens(text: &str) -> Result<Vec<PlacedToken>> {
    let mut tokens = Vec::new();
    let mut open: Option<UnfinishedWord> = None;
    let mut rest = text.chars().zip(1..).peekable();
    while let Some((c, column)) = rest.next() {
        let single = match c {
            '(' => Some(SelectionToken::Open),
            ')' => Some(SelectionToken::Close),
            _ => None,
        };
        if single.is_some() || c.is_whitespace() {
            if let Some(word) = open.take() {
                let (column, word) = (word.column, word.finish());
                if c == '(' {
                    rest.next_if(|(c, _)| *c == ')').ok_or_else(|| {
                        mistake(
                            column,
                            "a name is written as \"NAME()\", and \"(\" begins with a blank before it",
                        )
                    })?;
                    tokens.push(PlacedToken { token: SelectionToken::Call(word), column });
                    continue;
                }
                tokens.push(PlacedToken { token: SelectionToken::Word(word), column });
            }
            tokens.extend(single.map(|token| PlacedToken { token, column }));
            continue;
        }
        let word = open.get_or_insert_with(|| UnfinishedWord::new(column));
        match c {
            '*' => word.pieces.push(String::new()),
            '"' | '\'' => {
                word.quoted = true;
                loop {
                    match rest.next() {
                        Some((end, _)) if end == c => break,
                        Some((inner, _)) => word.push(inner),
                        None => return Err(mistake(column, &format!("the quote {c} is not closed"))),
                    }
                }
            }
            c => word.push(c),
        }
    }
    tokens.extend(
        open.map(|word| PlacedToken { column: word.column, token: SelectionToken::Word(word.finish()) }),
    );
    Ok(tokens)
}
