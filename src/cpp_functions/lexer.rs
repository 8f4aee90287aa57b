//! Tokens of C and C++, as far as needed to match braces.

#![forbid(unsafe_code)]

use std::ops::Range;

/// TokenKind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Word,
    /// A string or character literal, a number.
    Literal,
    /// One character of anything else; `::` and `->` are one token.
    Mark(u8),
    /// A whole preprocessor line, with the lines that continue it.
    Directive,
}

/// A token and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) range: Range<usize>,
}

/// Reads tokens, without blanks and comments. Never fails: an open literal ends with its line, all else with
/// the text.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// True if only blanks and comments came before on this line.
    at_line_start: bool,
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit()
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, at_line_start: true }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn sees(&self, what: &[u8]) -> bool {
        self.text[self.at..].starts_with(what)
    }

    /// Returns the length of a backslash and the end of line after it, which join two lines.
    fn splice(&self) -> Option<usize> {
        [&b"\\\n"[..], b"\\\r\n"].into_iter().find(|splice| self.sees(splice)).map(<[u8]>::len)
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek(0) {
            if byte == b'\n' {
                self.at_line_start = true;
                self.at += 1;
            } else if byte.is_ascii_whitespace() || byte == 0x0b {
                self.at += 1;
            } else if let Some(length) = self.splice() {
                self.at += length;
            } else if self.sees(b"//") {
                self.skip_line(false);
            } else if self.sees(b"/*") {
                self.skip_comment();
            } else {
                break;
            }
        }
    }

    fn skip_comment(&mut self) {
        self.at += 2;
        while self.at < self.text.len() && !self.sees(b"*/") {
            self.at += 1;
        }
        self.at = (self.at + 2).min(self.text.len());
    }

    /// Moves to the end of the line; a comment that begins in it may go on in the next.
    fn skip_line(&mut self, with_comments: bool) {
        while let Some(byte) = self.peek(0) {
            if let Some(length) = self.splice() {
                self.at += length;
            } else if byte == b'\n' {
                break;
            } else if with_comments && self.sees(b"//") {
                return self.skip_line(false);
            } else if with_comments && self.sees(b"/*") {
                self.skip_comment();
            } else if with_comments && (byte == b'"' || byte == b'\'') {
                self.skip_quoted(byte);
            } else {
                self.at += 1;
            }
        }
    }

    /// Moves past a literal in quotes, which ends with its line if it is not closed.
    fn skip_quoted(&mut self, quote: u8) {
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

    /// Moves past `"delimiter( ... )delimiter"`; returns false if it does not begin so.
    fn skip_raw(&mut self) -> bool {
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

    /// Moves past a number: `1'000.5e+3f`, where the quote begins no literal.
    fn skip_number(&mut self) {
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

    fn skip_word(&mut self) -> TokenKind {
        let from = self.at;
        while self.peek(0).is_some_and(continues_word) {
            self.at += 1;
        }
        let word = &self.text[from..self.at];
        match self.peek(0) {
            Some(b'"') if [&b"R"[..], b"LR", b"uR", b"UR", b"u8R"].contains(&word) && self.skip_raw() => {}
            Some(quote @ (b'"' | b'\'')) if [&b"L"[..], b"u", b"U", b"u8"].contains(&word) => {
                self.skip_quoted(quote);
            }
            _ => return TokenKind::Word,
        }
        TokenKind::Literal
    }

    /// Moves past lines that are not compiled, to the directive that ends them.
    pub(super) fn skip_dead_lines(&mut self) {
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
                    self.at_line_start = true;
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
        self.skip_blanks();
        let from = self.at;
        let byte = self.peek(0)?;
        let first = std::mem::replace(&mut self.at_line_start, false);
        let kind = if byte == b'#' && first {
            self.skip_line(true);
            TokenKind::Directive
        } else if begins_word(byte) {
            self.skip_word()
        } else if byte.is_ascii_digit()
            || (byte == b'.' && self.peek(1).is_some_and(|next| next.is_ascii_digit()))
        {
            self.skip_number();
            TokenKind::Literal
        } else if byte == b'"' || byte == b'\'' {
            self.skip_quoted(byte);
            TokenKind::Literal
        } else {
            self.at += if self.sees(b"::") || self.sees(b"->") { 2 } else { 1 };
            TokenKind::Mark(byte)
        };
        Some(Token { kind, range: from..self.at })
    }
}
