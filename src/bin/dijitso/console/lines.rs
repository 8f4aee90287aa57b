//! Splits a line of the console into commands and words, as a shell does.

#![forbid(unsafe_code)]

use std::ops::Range;

use dijitso::error::Result;

use super::super::usage;

/// The place of the last word of a line that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenWord {
    /// The words before it in its command, as far as they can be read.
    pub(super) before: Vec<String>,
    /// The byte at which it begins.
    pub(super) begin: usize,
    /// Its text without quotes.
    pub(super) text: String,
}

/// Returns the places of the commands of a line: `;` and line breaks stand between them, and `#` begins a
/// comment.
fn commands(line: &str) -> Vec<Range<usize>> {
    let mut commands = Vec::new();
    let mut begin = 0;
    let mut quote = None;
    let mut is_between_words = true;
    let mut is_comment = false;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        let ends = if is_comment { c == '\n' } else { quote.is_none() && (c == ';' || c == '\n') };
        if ends {
            if !is_comment {
                commands.push(begin..at);
            }
            (begin, is_comment, is_between_words) = (at + 1, false, true);
            continue;
        }
        if is_comment {
            continue;
        }
        match (quote, c) {
            (None, '#') if is_between_words => {
                commands.push(begin..at);
                is_comment = true;
            }
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        is_between_words = quote.is_none() && c.is_whitespace();
    }
    if !is_comment {
        commands.push(begin..line.len());
    }
    commands
}

/// Returns the words of each command of a line. Empty commands are left out.
///
/// # Errors
/// `Kind::InvalidArgument` for a quote that is not closed.
pub(super) fn split(line: &str) -> Result<Vec<Vec<String>>> {
    let words = |command: Range<usize>| {
        let command = line[command].trim();
        shell_words::split(command).map_err(|_| usage(format!("a quote is not closed: {command}")))
    };
    let commands: Result<Vec<Vec<String>>> = commands(line).into_iter().map(words).collect();
    Ok(commands?.into_iter().filter(|words| !words.is_empty()).collect())
}

/// Returns the word that a line ends with. `None` if the line ends with a comment.
pub(super) fn open_word(line: &str) -> Option<OpenWord> {
    let command = commands(line).pop().filter(|command| command.end == line.len())?;
    let text = &line[command.clone()];
    let begin = word_begins(text).last().copied().filter(|_| !ends_between_words(text)).unwrap_or(text.len());
    let word = &text[begin..];
    // A quote that is open is closed, so that the word can be read.
    let closings = ["", "\"", "'"];
    let read = closings.iter().find_map(|closing| shell_words::split(&format!("{word}{closing}")).ok());
    Some(OpenWord {
        before: shell_words::split(&text[..begin]).unwrap_or_default(),
        begin: command.start + begin,
        text: read.and_then(|words| words.into_iter().next()).unwrap_or_default(),
    })
}

/// Reads a command and returns where its words begin, and if it ends between two words.
fn scan(text: &str) -> (Vec<usize>, bool) {
    let (mut begins, mut quote, mut is_between) = (Vec::new(), None, true);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            is_between = true;
            continue;
        }
        if is_between {
            begins.push(at);
            is_between = false;
        }
        match (quote, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    (begins, is_between)
}

fn word_begins(text: &str) -> Vec<usize> {
    scan(text).0
}

fn ends_between_words(text: &str) -> bool {
    scan(text).1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_and_words_are_split_as_in_a_shell() {
        let words = |line: &str| split(line).unwrap();
        assert_eq!(words("make -j2; ls failed"), [vec!["make", "-j2"], vec!["ls", "failed"]]);
        assert_eq!(words(" ; ls 'a;b' \"c d\";;"), [["ls", "a;b", "c d"]]);
        assert_eq!(words("ls a#b # all; exit\nstats"), [vec!["ls", "a#b"], vec!["stats"]]);
        assert_eq!(words("ls a\\;b '\\'"), [["ls", "a;b", "\\"]]);
        assert!(words("  # nothing").is_empty() && words("").is_empty());
        let error = split("ls 'a; b").unwrap_err();
        assert_eq!(error.message(), "a quote is not closed: ls 'a; b");
    }

    #[test]
    fn the_open_word_is_found() {
        let word = |line: &str| {
            let word = open_word(line).unwrap();
            (word.before.join(" "), word.begin, word.text)
        };
        let expected = |before: &str, begin, text: &str| (before.to_owned(), begin, text.to_owned());
        assert_eq!(word(""), expected("", 0, ""));
        assert_eq!(word("ma"), expected("", 0, "ma"));
        assert_eq!(word("ls "), expected("ls", 3, ""));
        assert_eq!(word("make; ls -r fa"), expected("ls -r", 12, "fa"));
        assert_eq!(word("ls 'form c"), expected("ls", 3, "form c"));
        assert_eq!(word("ls \"form c"), expected("ls", 3, "form c"));
        assert_eq!(open_word("ls # fa"), None);
    }

    proptest! {
        #[test]
        fn any_line_can_be_split(line in "[a-b;# \n\"'\\\\ä]{0,12}") {
            let _ = split(&line);
            if let Some(word) = open_word(&line) {
                prop_assert!(line.is_char_boundary(word.begin));
            }
        }
    }
}
