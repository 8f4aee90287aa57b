//! Settings that a file other than the config file has, such as a plan file: checked before they are used.

#![forbid(unsafe_code)]

use std::path::Path;

use serde_json::Value as Json;

use crate::error::Result;
use crate::process::join;

use super::resolve::{absolute, absolute_flags};
use super::schema::{self, KEYS};
use super::value::{Type, Value};
use super::{invalid, unknown};

/// Returns a setting as text for [`Params::set`](super::Params::set). Relative directories in it begin at
/// `dir`. Not for section `generator`, which takes anything.
///
/// # Errors
/// [`Kind::Params`](crate::error::Kind::Params) for an unknown key (with the nearest valid one) or a wrong
/// type.
pub fn setting(name: &str, json: &Json, dir: &Path) -> Result<String> {
    let key = &KEYS[schema::find(name).ok_or_else(|| unknown(name))?];
    // The home directory is that of the user who uses the setting.
    let value = key.kind.parse_json(json, Some("~")).map_err(|why| invalid(name, &why))?;
    let text = json.as_str().map_or_else(|| value.to_text(), str::to_owned);
    let from_dir = |path: &str| if path.starts_with('~') { path.to_owned() } else { absolute(dir, path) };
    let is_compiler = key.language.is_some_and(|language| language.keys.compiler == name);
    let changed = match (&value, key.kind) {
        // A word such as "auto" is no directory.
        (Value::Text(path), Type::Dir) if !path.is_empty() && path != key.default => {
            return Ok(from_dir(path));
        }
        (Value::List(words), Type::Dirs) => words.iter().map(|path| from_dir(path)).collect(),
        (Value::List(words), _) if is_compiler => {
            let mut words = words.clone();
            words
                .iter_mut()
                .take(1)
                .filter(|path| path.contains('/'))
                .for_each(|path| *path = from_dir(path));
            words
        }
        (Value::List(words), _) if key.language.is_some() => absolute_flags(dir, words.clone()),
        _ => return Ok(text),
    };
    // What has not changed stays as it was written.
    Ok(if value == Value::List(changed.clone()) { text } else { join(&changed) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use serde_json::json;

    fn of(name: &str, json: &Json) -> String {
        setting(name, json, Path::new("/plan")).unwrap_or_else(|error| error.message().to_owned())
    }

    #[test]
    fn settings_are_checked_and_relative_directories_begin_at_the_file() {
        let cases = [
            ("build.cxxflags", json!("-O3  -g"), "-O3  -g"),
            ("build.cxxflags", json!(["-O3", "-DX=a b"]), "-O3 '-DX=a b'"),
            (
                "build.cxxflags",
                json!("-Iinclude -isystem x -I/abs"),
                "-I/plan/include -isystem /plan/x -I/abs",
            ),
            ("build.include_dirs", json!(["a b", "~/x", "/abs"]), "'/plan/a b' '~/x' /abs"),
            ("build.rpath_dirs", json!("$ORIGIN lib"), "'$ORIGIN' /plan/lib"),
            ("build.cxx", json!("./cxx -m64"), "/plan/./cxx -m64"),
            ("build.cxx", json!("ccache g++"), "ccache g++"),
            ("cache.cache_dir", json!("cache"), "/plan/cache"),
            ("cache.cache_dir", json!("~/cache"), "~/cache"),
            ("cache.node_stage_dir", json!("auto"), "auto"),
            ("build.debug", json!(true), "true"),
            ("build.timeout", json!(1.5), "1.5"),
            ("build.max_compilers", json!(3), "3"),
            ("build.debug", json!("maybe"), "parameter build.debug: expected true or false, found \"maybe\""),
            ("build.debug", json!([1]), "parameter build.debug: expected true or false, found \"[1]\""),
            (
                "build.cxflags",
                json!(""),
                "there is no parameter \"build.cxflags\"; did you mean \"build.cxxflags\"?",
            ),
        ];
        for (name, json, expected) in cases {
            assert_eq!(of(name, &json), expected, "{name} {json}");
        }
        let mut params = Params::for_test(&[]);
        params.set("build.include_dirs", &of("build.include_dirs", &json!(["a b", "~/x"]))).unwrap();
        assert_eq!(params.get("build.include_dirs").unwrap(), "'/plan/a b' /h/x");
    }
}
