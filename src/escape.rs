//! Escapes untrusted text before it is shown: compiler output, fields of records, paths.
//!
//! A terminal obeys control characters: they move the cursor, set the title, or type input. Some characters
//! of Unicode reverse the direction of a line, so that it reads as another text. Both become escapes (`\x1b`,
//! `\u{202e}`). Escaping a second time changes nothing.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;

/// Tells if a character is a C0 or C1 control, a direction, or a line or paragraph separator.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push(escaped: &mut String, c: char) {
    let _ = match c {
        '\r' => escaped.write_str("\\r"),
        c if u32::from(c) < 0x100 => write!(escaped, "\\x{:02x}", u32::from(c)),
        c => write!(escaped, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// Escapes a text of several lines. Newlines and tabs stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    let keeps = |c| c == '\n' || c == '\t';
    if !text.contains(|c| is_unsafe(c) && !keeps(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            c if keeps(c) => escaped.push(c),
            // The line ending of another system.
            '\r' if rest.peek() == Some(&'\n') => {}
            c if is_unsafe(c) => push(&mut escaped, c),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Escapes a text and makes it one paragraph: line breaks with the blanks around them become one blank.
#[must_use]
pub fn paragraph(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let joined: Vec<&str> = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = joined.join(" ");
    Cow::Owned(lines(&joined).into_owned())
}

/// Escapes bytes as [`lines`] does; bytes that are not UTF-8 are escaped too.
#[must_use]
pub fn bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return match lines(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
    }
    let mut escaped = String::new();
    for part in bytes.utf8_chunks() {
        escaped.push_str(&lines(part.valid()));
        for byte in part.invalid() {
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    Cow::Owned(escaped.into_bytes())
}

/// Escapes a JSON text: unsafe characters become escapes of JSON. The value of the document does not change.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let needs_escape = |c: char| c >= '\u{7f}' && is_unsafe(c);
    if !text.contains(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if needs_escape(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOSTILE: &str = "\u{1b}]0;title\u{7}a\rb\u{8}\u{7f}\u{9b}31m\u{202e}c\u{2028}\tend\n";

    #[test]
    fn control_characters_are_escaped() {
        let shown = "\\x1b]0;title\\x07a\\rb\\x08\\x7f\\x9b31m\\u{202e}c\\u{2028}\tend\n";
        assert_eq!(lines(HOSTILE), shown);
        assert_eq!(bytes(HOSTILE.as_bytes()), shown.as_bytes());
        assert_eq!(bytes(b"\x9bA\xff\n"), b"\\x9bA\\xff\n".as_slice());
        assert_eq!(lines("one\r\ntwo\n"), "one\ntwo\n".to_owned().as_str());
        assert!(matches!(lines("größer\tals\n"), Cow::Borrowed(_)));
        assert_eq!(paragraph("regex:\n    a(\n    ^\n"), "regex: a( ^");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "a\u{9b}": HOSTILE });
        let text = value.to_string();
        let escaped = json(&text);
        assert!(!escaped.contains(is_unsafe), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left_and_escaping_again_changes_nothing(text in any::<String>()) {
            let once = lines(&text).into_owned();
            prop_assert!(!once.contains(|c| is_unsafe(c) && c != '\n' && c != '\t'));
            prop_assert_eq!(lines(&once).into_owned(), once);
            let once = paragraph(&text).into_owned();
            prop_assert!(!once.contains(|c| is_unsafe(c) && c != '\t'));
            prop_assert_eq!(paragraph(&once).into_owned(), once);
        }
    }
}
