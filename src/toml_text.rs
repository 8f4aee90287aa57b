//! Writes TOML: the text of plan files. Values are given as JSON.

#![forbid(unsafe_code)]

use serde_json::Value as Json;
use toml_writer::{ToTomlKey, ToTomlValue, TomlStringBuilder};

/// Returns a value as TOML in one piece; `None` if TOML has no such value: null, or an integer that 64 bits
/// with a sign do not hold.
#[must_use]
pub fn value(json: &Json) -> Option<String> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => flag.to_toml_value(),
        Json::String(text) => string(text),
        Json::Number(number) => match (number.as_i64(), number.is_f64()) {
            (Some(integer), _) => integer.to_toml_value(),
            (None, true) => number.as_f64()?.to_toml_value(),
            (None, false) => return None,
        },
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(value).collect::<Option<_>>()?;
            format!("[{}]", items.join(", "))
        }
        Json::Object(members) if members.is_empty() => "{}".to_owned(),
        Json::Object(members) => {
            let member = |(name, json): (&String, &Json)| Some(format!("{} = {}", key(name), value(json)?));
            let members: Vec<String> = members.iter().map(member).collect::<Option<_>>()?;
            format!("{{ {} }}", members.join(", "))
        }
    })
}

/// Returns a string as TOML: one of several lines with quotes that let it stand as it is.
#[must_use]
pub fn string(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    // A carriage return in a string of several lines could be taken for the end of a line.
    let plain = if text.contains('\r') { builder.as_basic() } else { builder.as_default() };
    plain.to_toml_value()
}

/// Returns a key as TOML, in quotes if it needs them.
#[must_use]
pub fn key(name: &str) -> String {
    name.to_toml_key()
}

/// Returns a list of strings as TOML. A long one takes a line for each.
#[must_use]
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    const WIDE: usize = 90;
    let items: Vec<String> = items.iter().map(|item| string(item.as_ref())).collect();
    let width: usize = items.iter().map(|item| item.len() + 2).sum();
    if width <= WIDE {
        return format!("[{}]", items.join(", "));
    }
    let lines: String = items.iter().map(|item| format!("    {item},\n")).collect();
    format!("[\n{lines}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use toml::de::{DeTable, DeValue};

    fn back(text: &str) -> String {
        let file = format!("x = {text}\n");
        let table = DeTable::parse(&file).unwrap_or_else(|error| panic!("{text}: {error}")).into_inner();
        let Some((_, found)) = table.into_iter().next() else { panic!("{text}") };
        match found.into_inner() {
            DeValue::String(text) => text.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        let json = serde_json::json!({"a": [1, 2.5, true, "x"], "b c": {}, "d": {"e": "\"q\""}});
        let text = r#"{ a = [1, 2.5, true, "x"], "b c" = {}, d = { e = '"q"' } }"#;
        assert_eq!(value(&json).unwrap(), text);
        assert_eq!(string("int f();\nint g();\n"), "\"\"\"\nint f();\nint g();\n\"\"\"");
        assert_eq!(value(&serde_json::json!([null])), None);
        assert_eq!(value(&serde_json::json!(u64::MAX)), None);
        assert_eq!(list(&["a", "b"]), r#"["a", "b"]"#);
        assert_eq!(list(&["a"; 40]).lines().count(), 42);
    }

    proptest! {
        #[test]
        fn any_string_reads_back(text in "(\\PC|[\"'\\\\\n\r\t\u{0}\u{7f}\u{85}\u{feff}]){0,12}") {
            prop_assert_eq!(back(&string(&text)), text);
        }

        #[test]
        fn any_key_reads_back(name in "(\\PC|[\"'.\\\\\n\r\t\u{0}]){0,8}") {
            let file = format!("{} = 1\n", key(&name));
            let table = DeTable::parse(&file).unwrap().into_inner();
            let names: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
            prop_assert_eq!(names, [name.as_str()]);
        }
    }
}
