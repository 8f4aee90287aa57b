//! Compares two builds component by component. Pure.

#![forbid(unsafe_code)]

use serde_json::Value as Json;

use crate::cache::build_spec::BuildSpec;
use crate::cache::record::EntryRecord;
use crate::signature::Toolchain;

use super::difference::{Component, Difference};

/// The inputs of a build that are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedBuild {
    /// True if the signature is the name alone.
    pub by_name: bool,
    /// The build parameters.
    pub build_spec: BuildSpec,
    /// The compiler.
    pub toolchain: Toolchain,
    /// The generator parameters, as JSON text.
    pub generator: String,
    /// The digest of the text in the signature, if the call gives one.
    pub text: Option<String>,
}

impl ComparedBuild {
    /// Takes the inputs of an entry.
    #[must_use]
    pub fn of(record: &EntryRecord) -> Self {
        Self {
            by_name: record.signature == record.name,
            text: record.text.clone(),
            build_spec: record.build_spec.clone(),
            toolchain: record.toolchain.clone(),
            generator: record.generator.clone(),
        }
    }
}

/// Returns the differences of `after` from `before`.
#[must_use]
pub fn differences(before: &ComparedBuild, after: &ComparedBuild) -> Vec<Difference> {
    let mut found = Vec::new();
    // The signature of a text always has a hash.
    let of_texts = before.text.is_some() || after.text.is_some();
    if before.by_name != after.by_name && !of_texts {
        let mode = |by_name: bool| if by_name { "name" } else { "hash" };
        found.push(Difference::changed(
            Component::SignatureMode,
            "",
            mode(before.by_name),
            mode(after.by_name),
        ));
    }
    build_specs(&before.build_spec, &after.build_spec, &mut found);
    // An entry that is found by its name may have been made without asking the compiler.
    if !(before.by_name || after.by_name) {
        toolchains(&before.toolchain, &after.toolchain, &mut found);
    }
    generators(&before.generator, &after.generator, &mut found);
    texts(before.text.as_deref(), after.text.as_deref(), &mut found);
    found
}

fn build_specs(before: &BuildSpec, after: &BuildSpec, found: &mut Vec<Difference>) {
    let mut value = |component, before: &str, after: &str| {
        if before != after {
            found.push(Difference::changed(component, "", before, after));
        }
    };
    value(Component::Language, &before.language, &after.language);
    value(Component::Debug, flag(before.debug), flag(after.debug));
    let join = |words: &[String]| words.join(" ");
    value(Component::CompilerCommand, &join(&before.compiler), &join(&after.compiler));
    lists(Component::Flag, &options(&before.flags), &options(&after.flags), found);
    lists(Component::IncludeDir, &before.include_dirs, &after.include_dirs, found);
    lists(Component::LibDir, &before.lib_dirs, &after.lib_dirs, found);
    lists(Component::RpathDir, &before.rpath_dirs, &after.rpath_dirs, found);
    lists(Component::Lib, &before.libs, &after.libs, found);
}

fn flag(set: bool) -> &'static str {
    if set { "true" } else { "false" }
}

/// Joins flags and their arguments: `-isystem /x` is one.
fn options(words: &[String]) -> Vec<String> {
    const WITH_ARGUMENT: [&str; 19] = [
        "-I",
        "-L",
        "-D",
        "-U",
        "-isystem",
        "-iquote",
        "-idirafter",
        "-include",
        "-imacros",
        "-include-pch",
        "-target",
        "-arch",
        "-tp",
        "-x",
        "-mllvm",
        "-Xclang",
        "-Xlinker",
        "-Xpreprocessor",
        "-Xassembler",
    ];
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for word in words {
        match all.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(word);
                open = false;
            }
            None => {
                all.push(word.clone());
                open = WITH_ARGUMENT.contains(&word.as_str());
            }
        }
    }
    all
}

fn lists(component: Component, before: &[String], after: &[String], found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let count = found.len();
    let missing = |from: &[String], of: &[String]| {
        let mut rest = of.to_vec();
        let mut left = Vec::new();
        for word in from {
            match rest.iter().position(|other| other == word) {
                Some(at) => drop(rest.swap_remove(at)),
                None => left.push(word.clone()),
            }
        }
        left
    };
    found.extend(missing(before, after).iter().map(|word| Difference::word(component, word, false)));
    found.extend(missing(after, before).iter().map(|word| Difference::word(component, word, true)));
    if found.len() == count {
        let (before, after) = (before.join(" "), after.join(" "));
        let text = format!("the same {}s in another order: {before} -> {after}", plural(component));
        found.push(Difference::new(component, "", Some(&before), Some(&after), text));
    }
}

/// The plural of the noun without its `s`.
fn plural(component: Component) -> &'static str {
    match component {
        Component::IncludeDir => "include directorie",
        Component::LibDir => "library directorie",
        Component::RpathDir => "rpath directorie",
        Component::Lib => "librarie",
        other => other.noun(),
    }
}

fn toolchains(before: &Toolchain, after: &Toolchain, found: &mut Vec<Difference>) {
    if before.identity != after.identity {
        let mut difference = Difference::changed(Component::Compiler, "", &before.identity, &after.identity);
        if after.is_unknown() {
            difference.text = format!("compiler: {} -> none that answers", before.identity);
        }
        found.push(difference);
    }
    if before.target != after.target {
        found.push(Difference::changed(Component::Target, "", &before.target, &after.target));
    }
    if before.isa != after.isa {
        found.push(isa(&before.isa, &after.isa));
    }
}

/// Describes the processor features that differ, out of dozens.
fn isa(before: &str, after: &str) -> Difference {
    let words = |text: &str| options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let mut parts = Vec::new();
    lists(Component::Isa, &words(before), &words(after), &mut parts);
    let part = |difference: &Difference| match (&difference.before, &difference.after) {
        (Some(word), None) => format!("no {word}"),
        (None, Some(word)) => word.clone(),
        _ => "another order".to_owned(),
    };
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = parts.iter().take(SHOWN).map(part).collect();
    if parts.len() > SHOWN {
        shown.push(format!("{} more", parts.len() - SHOWN));
    }
    let text =
        format!("native flags such as -march=native stand for another processor here: {}", shown.join(", "));
    Difference::new(Component::Isa, "", Some(before), Some(after), text)
}

fn texts(before: Option<&str>, after: Option<&str>, found: &mut Vec<Difference>) {
    let text = match (before, after) {
        _ if before == after => return,
        (Some(_), Some(_)) => "the text (code, header or dependencies) is another one",
        (None, Some(_)) => "the text is given by the call and was made by generate",
        (Some(_), None) | (None, None) => "the text is made by generate and was given by the call",
    };
    found.push(Difference::new(Component::Text, "", before, after, text.to_owned()));
}

/// Compares generator parameters key by key, in nested objects too.
fn generators(before: &str, after: &str, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let read = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_else(|_| Json::from(text));
    values("", Some(&read(before)), Some(&read(after)), found);
}

fn values(key: &str, before: Option<&Json>, after: Option<&Json>, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    if let (Some(Json::Object(old)), Some(Json::Object(new))) = (before, after) {
        let inner = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        for (name, value) in old {
            values(&inner(name), Some(value), new.get(name), found);
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            values(&inner(name), None, Some(value), found);
        }
        return;
    }
    let noun = if key.is_empty() { "parameters".to_owned() } else { format!("parameter {key}") };
    let text = |value: &Json| brief(&value.to_string());
    let words = match (before, after) {
        (Some(before), Some(after)) => format!("generator {noun}: {} -> {}", text(before), text(after)),
        (None, Some(after)) => format!("generator {noun} was added: {}", text(after)),
        (Some(before), None) => format!("generator {noun} was removed: {}", text(before)),
        (None, None) => return,
    };
    let owned = |value: Option<&Json>| value.map(Json::to_string);
    let (before, after) = (owned(before), owned(after));
    found.push(Difference::new(Component::Generator, key, before.as_deref(), after.as_deref(), words));
}

/// Shortens a long value.
fn brief(text: &str) -> String {
    const LIMIT: usize = 120;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn build() -> ComparedBuild {
        ComparedBuild {
            text: None,
            by_name: false,
            build_spec: BuildSpec {
                language: "cxx".into(),
                compiler: words("c++"),
                flags: words("-shared -fPIC -O2 -isystem /usr/x"),
                include_dirs: words("/i /j"),
                lib_dirs: words("/l"),
                rpath_dirs: Vec::new(),
                libs: words("m"),
                debug: false,
                cpu: String::new(),
            },
            toolchain: Toolchain {
                identity: "gcc version 12.2.0 (Debian 12.2.0-14)".into(),
                target: "x86_64-linux-gnu".into(),
                isa: String::new(),
            },
            generator: r#"{"degree":1,"quadrature":{"rule":"auto","points":[1,2]}}"#.into(),
        }
    }

    /// Returns the differences after this change.
    fn changes(change: impl FnOnce(&mut ComparedBuild, &mut BuildSpec)) -> Vec<String> {
        let mut after = build();
        let mut spec = after.build_spec.clone();
        change(&mut after, &mut spec);
        after.build_spec = spec;
        differences(&build(), &after).into_iter().map(|difference| difference.text).collect()
    }

    #[test]
    fn equal_builds_do_not_differ() {
        assert_eq!(changes(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn flags_are_added_and_removed() {
        assert_eq!(changes(|_, spec| spec.flags.push("-g".into())), ["flag -g was added"]);
        assert_eq!(
            changes(|_, spec| spec.flags = words("-shared -fPIC -O3 -isystem /usr/y")),
            [
                "flag -O2 was removed",
                "flag -isystem /usr/x was removed",
                "flag -O3 was added",
                "flag -isystem /usr/y was added"
            ]
        );
        assert_eq!(
            changes(|_, spec| spec.flags = words("-fPIC -shared -O2 -isystem /usr/x")),
            ["the same flags in another order: -shared -fPIC -O2 -isystem /usr/x -> \
                 -fPIC -shared -O2 -isystem /usr/x"]
        );
        assert_eq!(changes(|_, spec| spec.flags.push("-O2".into())), ["flag -O2 was added"]);
    }

    #[test]
    fn the_compiler_and_its_target() {
        assert_eq!(
            changes(|build, _| build.toolchain.identity = "gcc version 12.3.0 (Debian 12.3.0-1)".into()),
            ["compiler: gcc version 12.2.0 (Debian 12.2.0-14) -> gcc version 12.3.0 (Debian 12.3.0-1)"]
        );
        assert_eq!(
            changes(|build, _| build.toolchain = Toolchain::unknown())[0],
            "compiler: gcc version 12.2.0 (Debian 12.2.0-14) -> none that answers"
        );
        assert_eq!(
            changes(|build, _| build.toolchain.target = "aarch64-linux-gnu".into()),
            ["target: x86_64-linux-gnu -> aarch64-linux-gnu"]
        );
        assert_eq!(
            changes(|_, spec| spec.compiler = words("ccache g++")),
            ["compiler command: c++ -> ccache g++"]
        );
    }

    #[test]
    fn what_native_flags_stand_for() {
        let mut before = build();
        before.toolchain.isa = "-march=znver3 -mavx2 -mno-avx512f".into();
        let mut after = build();
        after.toolchain.isa = "-march=znver4 -mavx2 -mavx512f".into();
        let changes = differences(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].text,
            "native flags such as -march=native stand for another processor here: \
             no -march=znver3, no -mno-avx512f, -march=znver4, -mavx512f"
        );
    }

    #[test]
    fn language_and_debug() {
        assert_eq!(changes(|_, spec| spec.language = "c".into()), ["language: cxx -> c"]);
        assert_eq!(changes(|_, spec| spec.debug = true), ["build.debug: false -> true"]);
    }

    #[test]
    fn directories_and_libraries() {
        assert_eq!(
            changes(|_, spec| spec.include_dirs = words("/j /k")),
            ["include directory /i was removed", "include directory /k was added"]
        );
        assert_eq!(
            changes(|_, spec| spec.include_dirs = words("/j /i")),
            ["the same include directories in another order: /i /j -> /j /i"]
        );
        assert_eq!(changes(|_, spec| spec.lib_dirs.clear()), ["library directory /l was removed"]);
        assert_eq!(changes(|_, spec| spec.rpath_dirs.push("/r".into())), ["rpath directory /r was added"]);
        assert_eq!(changes(|_, spec| spec.libs = words("m blas")), ["library blas was added"]);
    }

    #[test]
    fn generator_parameters_key_by_key() {
        assert_eq!(
            changes(|build, _| {
                build.generator = r#"{"degree":2,"new":null,"quadrature":{"points":[1,2]}}"#.into();
            }),
            [
                "generator parameter degree: 1 -> 2",
                "generator parameter quadrature.rule was removed: \"auto\"",
                "generator parameter new was added: null"
            ]
        );
        let whole = changes(|build, _| build.generator = "[1]".into());
        assert_eq!(
            whole,
            [r#"generator parameters: {"degree":1,"quadrature":{"points":[1,2],"rule":"auto"}} -> [1]"#]
        );
        let long = changes(|build, _| {
            build.generator = build.generator.replace("\"auto\"", &format!("\"{}\"", "x".repeat(500)));
        });
        assert!(long[0].len() < 300 && long[0].ends_with("..."), "{long:?}");
    }

    #[test]
    fn the_mode_of_signatures() {
        assert_eq!(changes(|build, _| build.by_name = true), ["cache.signature: hash -> name"]);
    }

    #[test]
    fn a_difference_is_structured_too() {
        let mut after = build();
        after.generator = after.generator.replace('1', "3");
        let json = serde_json::to_value(differences(&build(), &after)).unwrap();
        assert_eq!(
            json[0],
            serde_json::json!({
                "component": "generator", "what": "degree", "before": "1", "after": "3",
                "text": "generator parameter degree: 1 -> 3"
            })
        );
    }
}
