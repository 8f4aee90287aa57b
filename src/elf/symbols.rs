//! Explains why a library may lack a symbol, by the similar symbols that it has.

#![forbid(unsafe_code)]

use std::path::Path;

use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{Endianness, Object, ObjectSymbol};

/// The least similarity (0 to 1) of a suggested name.
const MIN_SIMILARITY: f64 = 0.8;
/// The most names in a message.
const MAX_NAMES: usize = 3;
/// Symbols that linkers put into each library.
const LINKER_SYMBOLS: [&str; 6] = ["_init", "_fini", "_edata", "_end", "__bss_start", "_DYNAMIC"];

/// Explains why a library may lack a symbol, as the end of a message: the function may have a C++ name, may
/// not be exported, or may be misspelt. Empty if the file cannot be read.
#[must_use]
pub fn explain_missing(library: &Path, wanted: &str) -> String {
    let explanation = std::fs::read(library).ok().and_then(|data| explain(&data, wanted));
    explanation.map_or_else(String::new, |text| format!("; {text}"))
}

fn explain(data: &[u8], wanted: &str) -> Option<String> {
    let file = ElfFile::<FileHeader64<Endianness>>::parse(data).ok()?;
    let names = |local: bool| {
        let symbols: Box<dyn Iterator<Item = _>> =
            if local { Box::new(file.symbols()) } else { Box::new(file.dynamic_symbols()) };
        let named = symbols.filter(|symbol| symbol.is_definition()).filter_map(|symbol| symbol.name().ok());
        let mut names: Vec<&str> =
            named.filter(|name| !name.is_empty() && !LINKER_SYMBOLS.contains(name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let exported = names(false);
    if let Some(mangled) = exported.iter().find(|name| is_mangled(name, wanted)) {
        return Some(format!(
            "it has a C++ function of that name, as {mangled}: declare it extern \"C\" in the source"
        ));
    }
    // Local symbols too; a stripped library has none.
    if let Some(found) = names(true).iter().find(|name| **name == wanted || is_mangled(name, wanted)) {
        return Some(format!(
            "it has {found}, which is not exported: declare it neither static nor hidden, and extern \"C\" \
             if it is C++"
        ));
    }
    let mut near: Vec<(f64, &str)> = exported
        .iter()
        .map(|name| (strsim::jaro_winkler(identifier(name).unwrap_or(name), wanted), *name))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let quoted = |names: &[(f64, &str)]| {
        let quoted: Vec<String> =
            names.iter().take(MAX_NAMES).map(|(_, name)| format!("\"{name}\"")).collect();
        quoted.join(" or ")
    };
    let similar = near.iter().take_while(|(similarity, _)| *similarity >= MIN_SIMILARITY).count();
    Some(match near.len() {
        0 => "it exports no symbol at all: its functions are static or hidden, or the source has none"
            .to_owned(),
        _ if similar > 0 => format!("did you mean {}?", quoted(&near[..similar])),
        1..=MAX_NAMES => format!("it has {}", quoted(&near)),
        count => format!("it has {count} others, the nearest of which are {}", quoted(&near)),
    })
}

/// Tells if a symbol is the C++ name of the function `name` in any namespace or class: `_Z6squared`,
/// `_ZN4poly6squareEd`.
fn is_mangled(symbol: &str, name: &str) -> bool {
    let part = format!("{}{name}", name.len());
    let Some(rest) = symbol.strip_prefix("_Z") else { return false };
    match rest.strip_prefix('N') {
        Some(nested) => nested.split_once(&part).is_some_and(|(_, after)| after.starts_with(['E', 'I'])),
        None => rest.strip_prefix('L').unwrap_or(rest).starts_with(&part),
    }
}

/// Returns the name of a C++ function that is in no namespace.
fn identifier(symbol: &str) -> Option<&str> {
    let rest = symbol.strip_prefix("_Z")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let (length, text) = rest.split_at(digits);
    text.get(..length.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(code: &str, wanted: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (source, library) = (dir.path().join("a.cpp"), dir.path().join("a.so"));
        std::fs::write(&source, code).unwrap();
        let mut command = std::process::Command::new("c++");
        command.args(["-shared", "-fPIC", "-O0", "-o"]).arg(&library).arg(source);
        assert!(command.status().unwrap().success());
        explain_missing(&library, wanted)
    }

    #[test]
    fn a_missing_symbol_is_explained() {
        let plain = "extern \"C\" double square(double x) { return x * x; }\n";
        let cases = [
            (plain, "sqaure", "; did you mean \"square\"?"),
            (plain, "zzz", "; it has \"square\""),
            ("double square(double x) { return x * x; }\n", "square", "extern \"C\""),
            ("double square(double x) { return x * x; }\n", "square", "_Z6squared"),
            ("double square(double x) { return x * x; }\n", "squar", "did you mean \"_Z6squared\"?"),
            ("namespace poly { double square(double x) { return x * x; } }\n", "square", "_ZN4poly6squareEd"),
            (
                "template <class T> T square(T x) { return x * x; }\ntemplate double square(double);\n",
                "square",
                "_Z6square",
            ),
            (
                "static double square(double x) { return x * x; } double f = square(2);\n",
                "square",
                "not exported",
            ),
            (
                "extern \"C\" __attribute__((visibility(\"hidden\"))) double square(double x) { return x * \
                 x; }\n",
                "square",
                "not exported",
            ),
            ("extern \"C\" int a, b, c, d; int a, b, c, d;\n", "square", "it has 4 others"),
            ("\n", "square", "exports no symbol"),
        ];
        for (code, wanted, says) in cases {
            let text = explanation(code, wanted);
            assert!(text.contains(says), "{code}: {text}");
        }
        // square2 is not a C++ name of square.
        assert!(!explanation("double square2(double x) { return x; }\n", "square").contains("extern"));
        assert_eq!(explain_missing(Path::new("/nonexistent"), "square"), "");
    }

    #[test]
    fn c_plus_plus_names_are_recognised() {
        assert!(is_mangled("_Z6squared", "square") && is_mangled("_ZN4poly6squareEd", "square"));
        assert!(!is_mangled("_Z7square2d", "square") && !is_mangled("square", "square"));
        assert_eq!(identifier("_Z6squared"), Some("square"));
        for odd in ["_Z", "_Z99a", "_Z999999999999999999999a", "a", "_ZN4poly6squareEd"] {
            assert_eq!(identifier(odd), None);
        }
    }
}
