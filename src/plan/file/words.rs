//! Words in braces that stand for other text, as in `{stem}.c`.
//!
//! ```text
//! text    := ( "{" word "}" | "{{" word "}}" | any character )*
//! word    := ( letter | "_" ) ( letter | digit | "_" | "." | "-" )*     letters and digits of ASCII
//! ```
//! `{word}` stands for the text of the word, and `{{word}}` for `{word}`. All other braces stand for
//! themselves, so that JSON and scripts can be arguments.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::problems::did_you_mean;

/// Words and the text that each stands for. Without any word, all braces stand for themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(BTreeMap<String, String>);

impl Words {
    /// Adds a word. Returns false if it is there already.
    pub(super) fn insert(&mut self, word: &str, text: String) -> bool {
        self.0.insert(word.to_owned(), text).is_none()
    }

    /// Replaces all words in a text. The error is a message.
    pub(super) fn replace(&self, text: &str) -> Result<String, String> {
        self.replace_by(text, Cow::Borrowed)
    }

    /// Replaces all words in a pattern, by text that the pattern matches literally.
    pub(super) fn replace_in_pattern(&self, text: &str) -> Result<String, String> {
        self.replace_by(text, |text| Cow::Owned(glob::Pattern::escape(text)))
    }

    /// Replaces all words in the strings of a value.
    pub(super) fn replace_in_json(&self, json: &Json) -> Result<Json, String> {
        Ok(match json {
            Json::String(text) => Json::from(self.replace(text)?),
            Json::Array(items) => {
                Json::Array(items.iter().map(|item| self.replace_in_json(item)).collect::<Result<_, _>>()?)
            }
            Json::Object(members) => {
                let member = |(key, item): (&String, _)| {
                    Ok::<_, String>((self.replace(key)?, self.replace_in_json(item)?))
                };
                Json::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    fn replace_by<'w>(
        &'w self,
        text: &str,
        shown: impl Fn(&'w str) -> Cow<'w, str>,
    ) -> Result<String, String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{').filter(|_| !self.0.is_empty()) {
            result.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((word, behind)) = enclosed(rest, "{{", "}}") {
                result.push_str(&format!("{{{word}}}"));
                rest = behind;
            } else if let Some((word, behind)) = enclosed(rest, "{", "}") {
                result.push_str(&shown(self.0.get(word).ok_or_else(|| self.unknown(word))?));
                rest = behind;
            } else {
                result.push('{');
                rest = &rest[1..];
            }
        }
        result.push_str(rest);
        Ok(result)
    }

    fn unknown(&self, word: &str) -> String {
        let words = self.0.keys().map(String::as_str);
        let hint = did_you_mean(word, words);
        format!("nothing is called {{{word}}} here{hint}; write {{{{{word}}}}} for the text itself")
    }
}

/// Splits off a word between these braces.
fn enclosed<'t>(text: &'t str, open: &str, close: &str) -> Option<(&'t str, &'t str)> {
    let rest = text.strip_prefix(open)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let end = rest.find(|c| !is_part(c))?;
    let (word, behind) = rest.split_at(end);
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    Some((word, behind.strip_prefix(close)?)).filter(|_| is_word)
}

/// Returns text that [`Words::replace`] makes `text` of, if there are words.
pub(super) fn escape_words(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((word, behind)) = enclosed(rest, "{", "}") {
            result.push_str(&format!("{{{{{word}}}}}"));
            rest = behind;
        } else {
            result.push('{');
            rest = &rest[1..];
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> Words {
        let mut words = Words::default();
        assert!(words.insert("stem", "a[1]".to_owned()) && words.insert("degree", "2".to_owned()));
        assert!(!words.insert("stem", "a[1]".to_owned()));
        words
    }

    #[test]
    fn words_are_replaced_and_other_braces_stay() {
        let words = words();
        let replaced = [
            ("{stem}.c", "a[1].c"),
            ("-d{degree}{degree}", "-d22"),
            ("{{stem}} {{{stem}}}", "{stem} {{stem}}"),
            (r#"{"degree": {"a": 1}}"#, r#"{"degree": {"a": 1}}"#),
            ("awk '{print $1}' { } {} {1} {a b}", "awk '{print $1}' { } {} {1} {a b}"),
            ("{", "{"),
            ("größe {stem", "größe {stem"),
        ];
        for (text, expected) in replaced {
            assert_eq!(words.replace(text).unwrap(), expected);
        }
        assert_eq!(words.replace_in_pattern("{stem}*").unwrap(), "a[[]1[]]*");
        let unknown = words.replace("{setm}.c").unwrap_err();
        let expected =
            r#"nothing is called {setm} here; did you mean "stem"?; write {{setm}} for the text itself"#;
        assert_eq!(unknown, expected);
        assert_eq!(Words::default().replace("{setm} {{x}}").unwrap(), "{setm} {{x}}");
    }

    proptest! {
        #[test]
        fn escaped_text_comes_back(text in "([{}a-c.]|stem|ä){0,24}") {
            prop_assert_eq!(words().replace(&escape_words(&text)).unwrap(), text);
        }
    }
}
