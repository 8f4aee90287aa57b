//! A type name stands for one thing in the crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::{is_test, sources};

/// Names that stand for one thing in several files: the arguments of each subcommand.
const SHARED: &[&str] = &["Arguments"];

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (keyword, rest) = line.split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&keyword);
    rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().filter(|_| is_type)
}

/// The types of the facade have the names of what they wrap.
#[test]
fn a_type_name_stands_for_one_thing() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in
        sources().into_iter().filter(|(path, _)| !is_test(path) && !path.starts_with("facade"))
    {
        for name in code.lines().filter_map(defined) {
            places.entry(name.to_owned()).or_default().insert(path.display().to_string());
        }
    }
    assert!(places.len() > 300, "types are not found any more");
    places.retain(|name, places| places.len() > 1 && !SHARED.contains(&name.as_str()));
    assert!(places.is_empty(), "these names stand for several types: {places:#?}");
}
