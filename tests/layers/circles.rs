//! No files of one folder import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{is_test, sources};

/// The path of a module in the crate: `["jit", "pending"]`. The root is empty.
type Module = Vec<String>;

/// Names that a module exports again with `pub use`, and the paths they stand for.
type Exports = BTreeMap<Module, BTreeMap<String, String>>;

fn module_of(path: &Path) -> Module {
    let mut names: Module =
        path.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    names
}

/// Splits `a::{b, c::{d, e as f}}` into `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let mut depth = 0;
    let body = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let parts = body.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let whole = |part: String| match part.as_str() {
        "self" => prefix.trim().trim_end_matches("::").to_owned(),
        _ => format!("{}{part}", prefix.trim()),
    };
    parts.filter(|part| !part.trim().is_empty()).flat_map(expand).map(whole).collect()
}

/// The paths that `use` statements import, and whether each is exported again.
fn imports(code: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for statement in code.split(';') {
        let lines: Vec<&str> = statement.lines().map(str::trim_start).collect();
        let begin =
            |line: &&str| line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
        let Some(at) = lines.iter().rposition(begin) else { continue };
        let text = lines[at..].join(" ");
        let (visibility, tree) = text.split_once("use ").unwrap_or_default();
        found.extend(expand(tree).into_iter().map(|path| (path, !visibility.is_empty())));
    }
    found
}

/// The paths in code that begin with `crate`, `super` or `self`.
fn mentions(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let is_inside = code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            let end = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':';
            let path = code[at..].split(end).next().unwrap_or_default();
            found.extend((!is_inside).then(|| path.trim_end_matches(':').to_owned()));
        }
    }
    found
}

/// Finds the file that a path in `module` leads to. `None` if it leads out of the crate.
fn resolve(path: &str, module: &Module, exports: &Exports, depth: u32) -> Option<Module> {
    let mut names = path.split("::").peekable();
    let mut at = match *names.peek()? {
        "crate" => Module::new(),
        "self" | "super" => module.clone(),
        name => {
            let child = [module.as_slice(), &[name.to_owned()]].concat();
            return exports.contains_key(&child).then_some(child);
        }
    };
    while let Some(name) = names.next_if(|name| ["crate", "self", "super"].contains(name)) {
        if name == "super" {
            at.pop();
        }
    }
    while let Some(name) = names.next() {
        let child = [at.as_slice(), &[name.to_owned()]].concat();
        if exports.contains_key(&child) {
            at = child;
        } else if let Some(target) = exports[&at].get(name).filter(|_| depth < 4) {
            let rest: String = names.map(|name| format!("::{name}")).collect();
            return resolve(&format!("{target}{rest}"), &at, exports, depth + 1).or(Some(at));
        } else {
            break;
        }
    }
    Some(at)
}

/// The imports between siblings: files or folders that lie in one folder.
fn edges() -> BTreeMap<Module, BTreeSet<Module>> {
    let codes: BTreeMap<Module, String> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !path.starts_with("bin"))
        .map(|(path, code)| (module_of(&path), code))
        .collect();
    let exports: Exports = codes
        .iter()
        .map(|(module, code)| {
            let exported = imports(code).into_iter().filter(|(_, exported)| *exported);
            let named = exported.filter_map(|(path, _)| Some((path.rsplit("::").next()?.to_owned(), path)));
            (module.clone(), named.collect())
        })
        .collect();
    let mut edges: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, code) in &codes {
        let imported = imports(code).into_iter().map(|(path, _)| path);
        for path in imported.chain(mentions(code)) {
            let Some(target) = resolve(&path, module, &exports, 0) else { continue };
            let common = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if common < module.len() && common < target.len() {
                edges.entry(module[..=common].to_vec()).or_default().insert(target[..=common].to_vec());
            }
        }
    }
    edges
}

/// The modules that a module imports, also through others.
fn reached(from: &Module, edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(module) = open.pop() {
        for next in edges.get(&module).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

#[test]
fn files_of_one_folder_import_each_other_in_no_circle() {
    let edges = edges();
    assert!(edges.len() > 100, "imports are not found any more");
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        edges.keys().map(|module| (module, reached(module, &edges))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reached {
        let back = |other: &&Module| reached.get(*other).is_some_and(|reached| reached.contains(*module));
        let circle: BTreeSet<String> = others.iter().filter(back).map(|module| module.join("::")).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    assert!(circles.is_empty(), "these files import each other in a circle: {circles:#?}");
}
