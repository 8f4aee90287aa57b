//! Text in HTML and SVG pages, and pages from templates.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;

use dijitso::escape;

/// Escapes a text for content and attributes of HTML and XML. It becomes one line, and control characters and
/// directions become visible.
pub(super) fn markup(text: &str) -> Cow<'_, str> {
    // XML has no way to write the last two.
    let is_special = |c| matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{fffe}' | '\u{ffff}');
    let line = escape::paragraph(text);
    if !line.contains(is_special) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match c {
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if is_special(c) => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Makes JSON safe within a `script` element, as which it stays the same document.
pub(super) fn script_json(json: &str) -> String {
    escape::json(json).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Replaces each `{{name}}` of a template by its value. What looks so in a value stays as it is.
///
/// # Panics
/// If the template has a name that has no value: a bug.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page =
        String::with_capacity(template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a name in a template ends");
        let value = values.iter().find(|(key, _)| *key == name);
        let (_, value) = value.expect("a name in a template has a value");
        page.push_str(before);
        page.push_str(value);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// Formats a time for people: "0.042 s", "7.25 s", "94 s", "3:07 min", "2:05:09 h".
pub(super) fn seconds(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 0.9995 => format!("{s:.3} s"),
        s if s < 99.5 => format!("{s:.1} s"),
        _ if whole < 120 => format!("{whole} s"),
        _ if whole < 3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_has_no_special_characters_left() {
        assert_eq!(markup("größer_λ"), "größer_λ");
        assert_eq!(
            markup("a<b> & \"c\" 'd'\n\u{202e}\u{ffff}"),
            "a&#60;b&#62; &#38; &#34;c&#34; &#39;d&#39; \\u{202e}\u{fffd}"
                .replace(" \\u{202e}", "\\u{202e}")
                .replace("&#39;\\", "&#39; \\")
        );
    }

    #[test]
    fn json_in_a_script_element_cannot_end_it() {
        let value = serde_json::json!({ "</script><!--": "a & b \u{2028}" });
        let safe = script_json(&value.to_string());
        assert!(!safe.contains(['<', '>', '&', '\u{2028}']), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn values_are_not_read_as_templates() {
        assert_eq!(fill("{{a}}-{{b}}.", &[("a", "{{b}}"), ("b", "}}")]), "{{b}}-}}.");
    }

    #[test]
    fn times_are_readable() {
        let times = [0.0, 0.0421, 0.99999, 7.25, 99.4, 99.6, 119.7, 187.0, 7509.4];
        let texts =
            ["0.000 s", "0.042 s", "1.0 s", "7.2 s", "99.4 s", "100 s", "2:00 min", "3:07 min", "2:05:09 h"];
        assert_eq!(times.map(seconds), texts.map(str::to_owned));
    }
}
