//! Which files a build has read: headers, by the compiler's own account, and the libraries that were asked for.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::inputs::Input;
use crate::params::resolved::BuildParams;

/// The option that makes a compiler write what it includes to `file`; nothing where the caller uses such options.
pub(super) fn options(params: &BuildParams, file: &str) -> Vec<String> {
    if params.flags.iter().chain(&params.compiler).any(|flag| flag.starts_with("-M")) {
        return Vec::new();
    }
    ["-MMD", "-MF", file].map(str::to_owned).to_vec()
}

/// The headers that a file in the syntax of make names, but for those below `not`, and for relative paths: these are
/// of the folder in which the compiler ran.
pub(super) fn headers(dependencies: &str, not: &Path) -> Vec<PathBuf> {
    let words = words(dependencies);
    let paths = words.iter().map(PathBuf::from).filter(|path| path.is_absolute() && !path.starts_with(not));
    let mut all: Vec<PathBuf> = paths.collect();
    all.sort();
    all.dedup();
    all
}

/// What stands behind the first colon. Blanks in names are escaped by a backslash, `$` is doubled.
fn words(text: &str) -> Vec<String> {
    let Some((_, text)) = text.split_once(':') else { return Vec::new() };
    let mut words = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(' ' | '#' | '\\')) | ('$', Some('$')) => {
                words.last_mut().expect("never empty").extend(chars.next());
            }
            ('\\', Some('\n' | '\r')) => {}
            // A further rule, of those that -MP writes: it has no dependencies.
            (':', Some('\n' | '\r') | None) => {}
            (c, _) if c.is_whitespace() => words.push(String::new()),
            (c, _) => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The files of the libraries that were asked for, as far as they can be found where linkers look.
pub(super) fn libraries(params: &BuildParams) -> Vec<PathBuf> {
    let after = |option: &'static str| {
        let mut before = "";
        let mut found = Vec::new();
        for flag in &params.flags {
            if before == option {
                found.push(flag.as_str());
            } else if let Some(joined) = flag.strip_prefix(option).filter(|rest| !rest.is_empty()) {
                found.push(joined);
            }
            before = flag;
        }
        found
    };
    let arch = std::env::consts::ARCH;
    let system = [
        format!("/usr/lib/{arch}-linux-gnu"),
        "/usr/local/lib".into(),
        "/usr/lib64".into(),
        "/usr/lib".into(),
    ];
    let environment = std::env::var_os("LIBRARY_PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = after("-L")
        .into_iter()
        .chain(params.lib_dirs.iter().map(String::as_str))
        .map(PathBuf::from)
        .chain(std::env::split_paths(&environment))
        .chain(system.map(PathBuf::from))
        .collect();
    let find = |name: &str| {
        let candidates = match name.strip_prefix(':') {
            Some(file) => vec![file.to_owned()],
            None => vec![format!("lib{name}.so"), format!("lib{name}.a")],
        };
        dirs.iter()
            .flat_map(|dir| candidates.iter().map(move |file| dir.join(file)))
            .find(|path| path.is_file())
    };
    let named = params.libs.iter().map(String::as_str).chain(after("-l")).filter_map(find);
    let files = params.flags.iter().map(PathBuf::from).filter(|path| {
        let kind = path.extension().and_then(std::ffi::OsStr::to_str);
        path.is_absolute() && matches!(kind, Some("so" | "a" | "o")) && path.is_file()
    });
    named.chain(files).collect()
}

/// The files that a compiler has named in its messages: `/path/file.h:12: ...`.
pub(super) fn named(output: &str) -> Vec<PathBuf> {
    const MOST: usize = 100;
    let mut all = Vec::new();
    for word in output.split(|c: char| c.is_whitespace() || c == ',') {
        let Some((path, _)) = word.split_once(':') else { continue };
        let path = PathBuf::from(path);
        if path.is_absolute() && !all.contains(&path) && path.is_file() && all.len() < MOST {
            all.push(path);
        }
    }
    all
}

/// The files as they are now; what has gone meanwhile is left out.
pub(super) fn record(paths: impl IntoIterator<Item = PathBuf>) -> Vec<Input> {
    paths.into_iter().filter_map(|path| Input::of(&path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read_from_the_syntax_of_make() {
        let text = "lib.so: s.cpp ./s.h /cache/include/e.h \\\n /usr/my\\ dir/ufc.h /a/$$b.h /x\\#y.h \\\r\n /z.h\n\n/z.h:\n";
        let found = headers(text, Path::new("/cache"));
        let expected = ["/a/$b.h", "/usr/my dir/ufc.h", "/x#y.h", "/z.h"].map(PathBuf::from);
        assert_eq!(found, expected);
        assert!(headers("", Path::new("/")).is_empty());
    }

    #[test]
    fn files_in_messages_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let header = dir.path().join("wrong.h");
        std::fs::write(&header, "").unwrap();
        let at = header.display();
        let output = format!(
            "In file included from x.cpp:1:\n{at}:3:4: error: no\n{at}:5: note: {at}\n/gone.h:1: error\n"
        );
        assert_eq!(named(&output), [header]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = headers(&text, Path::new("/"));
            let _ = named(&text);
        }
    }
}
