//! C and C++ as a sequence of tokens, as far as it takes to know which braces are braces.

#![forbid(unsafe_code)]

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word,
    /// A string or character literal, a number.
    Literal,
    /// One character of anything else; `::` and `->` are one token.
    Mark(u8),
    /// A whole preprocessor line, with the lines that continue it.
    Directive,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

/// Reads tokens; blanks and comments are passed over. Never fails: what is not closed ends with its line or the text.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether nothing but blanks and comments stands before on this line.
    fresh: bool,
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit()
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, fresh: true }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn sees(&self, what: &[u8]) -> bool {
        self.text[self.at..].starts_with(what)
    }

    /// The length of a backslash and the end of line after it, which together are nothing.
    fn splice(&self) -> Option<usize> {
        [&b"\\\n"[..], b"\\\r\n"].into_iter().find(|splice| self.sees(splice)).map(<[u8]>::len)
    }

    fn pass_blanks(&mut self) {
        while let Some(byte) = self.peek(0) {
            if byte == b'\n' {
                self.fresh = true;
                self.at += 1;
            } else if byte.is_ascii_whitespace() || byte == 0x0b {
                self.at += 1;
            } else if let Some(length) = self.splice() {
                self.at += length;
            } else if self.sees(b"//") {
                self.pass_line(false);
            } else if self.sees(b"/*") {
                self.pass_comment();
            } else {
                break;
            }
        }
    }

    fn pass_comment(&mut self) {
        self.at += 2;
        while self.at < self.text.len() && !self.sees(b"*/") {
            self.at += 1;
        }
        self.at = (self.at + 2).min(self.text.len());
    }

    /// To the end of the line, which stays; comments that begin in it may go on in the next.
    fn pass_line(&mut self, with_comments: bool) {
        while let Some(byte) = self.peek(0) {
            if let Some(length) = self.splice() {
                self.at += length;
            } else if byte == b'\n' {
                break;
            } else if with_comments && self.sees(b"//") {
                return self.pass_line(false);
            } else if with_comments && self.sees(b"/*") {
                self.pass_comment();
            } else if with_comments && (byte == b'"' || byte == b'\'') {
                self.pass_quoted(byte);
            } else {
                self.at += 1;
            }
        }
    }

    /// Past a literal in quotes, which ends with its line if it is not closed.
    fn pass_quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            if byte == b'\n' {
                return;
            }
            if let Some(length) = self.splice() {
                self.at += length;
                continue;
            }
            self.at += 1;
            if byte == quote {
                return;
            }
            if byte == b'\\' && self.peek(0).is_some_and(|next| next != b'\n') {
                self.at += 1;
            }
        }
    }

    /// Past `"delimiter( ... )delimiter"`; false when there is no such beginning.
    fn pass_raw(&mut self) -> bool {
        const LONGEST: usize = 16;
        let rest = &self.text[self.at + 1..];
        let Some(length) = rest.iter().take(LONGEST + 1).position(|byte| *byte == b'(') else { return false };
        let delimiter = &rest[..length];
        if delimiter.iter().any(|byte| byte.is_ascii_whitespace() || b"\\)\"".contains(byte)) {
            return false;
        }
        let end: Vec<u8> = [b")", delimiter, b"\""].concat();
        let from = self.at + 1 + length + 1;
        let found = self.text[from..].windows(end.len()).position(|window| window == end);
        self.at = found.map_or(self.text.len(), |found| from + found + end.len());
        true
    }

    /// Past a number: `1'000.5e+3f`, where the quote begins no literal.
    fn pass_number(&mut self) {
        while let Some(byte) = self.peek(0) {
            let exponent = b"eEpP".contains(&byte) && self.peek(1).is_some_and(|sign| b"+-".contains(&sign));
            let separator = byte == b'\'' && self.peek(1).is_some_and(continues_word);
            if exponent || separator {
                self.at += 2;
            } else if continues_word(byte) || byte == b'.' {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    fn pass_word(&mut self) -> Kind {
        let from = self.at;
        while self.peek(0).is_some_and(continues_word) {
            self.at += 1;
        }
        let word = &self.text[from..self.at];
        match self.peek(0) {
            Some(b'"') if [&b"R"[..], b"LR", b"uR", b"UR", b"u8R"].contains(&word) && self.pass_raw() => {}
            Some(quote @ (b'"' | b'\'')) if [&b"L"[..], b"u", b"U", b"u8"].contains(&word) => {
                self.pass_quoted(quote);
            }
            _ => return Kind::Word,
        }
        Kind::Literal
    }

    /// Past lines that are not compiled, to the directive that ends them.
    pub(super) fn pass_dead_lines(&mut self) {
        let mut depth = 0_usize;
        loop {
            self.at += self.text[self.at..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(self.text.len() - self.at, |end| end + 1);
            if self.at >= self.text.len() {
                return;
            }
            let line = self.text[self.at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
            let Some(directive) = line.trim_ascii_start().strip_prefix(b"#") else { continue };
            let directive = directive.trim_ascii_start();
            if directive.starts_with(b"if") {
                depth += 1;
            } else if directive.starts_with(b"endif") || (depth == 0 && directive.starts_with(b"el")) {
                if depth == 0 {
                    self.fresh = true;
                    return;
                }
                depth -= 1;
            }
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.pass_blanks();
        let from = self.at;
        let byte = self.peek(0)?;
        let first = std::mem::replace(&mut self.fresh, false);
        let kind = if byte == b'#' && first {
            self.pass_line(true);
            Kind::Directive
        } else if begins_word(byte) {
            self.pass_word()
        } else if byte.is_ascii_digit()
            || (byte == b'.' && self.peek(1).is_some_and(|next| next.is_ascii_digit()))
        {
            self.pass_number();
            Kind::Literal
        } else if byte == b'"' || byte == b'\'' {
            self.pass_quoted(byte);
            Kind::Literal
        } else {
            self.at += if self.sees(b"::") || self.sees(b"->") { 2 } else { 1 };
            Kind::Mark(byte)
        };
        Some(Token { kind, range: from..self.at })
    }
}
