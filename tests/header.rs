//! `include/dijitso.h` is `include/dijitso.h.in` with what cbindgen makes of `src/capi`; every exported
//! function goes through the boundary and stands in one tier.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use dijitso::parallel::mpi::abi::FUNCTION_NAMES;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// The longest line of the header, so that it fits beside a diff.
const HEADER_COLUMNS: usize = 118;
const PROTOTYPE_COLUMNS: usize = 110;
const SOURCE_COLUMNS: usize = 110;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the files of src/capi that a line of the template asks for: `@status error@`.
fn placeholder(line: &str) -> Option<Vec<&str>> {
    Some(line.strip_prefix('@')?.strip_suffix('@')?.split(' ').collect())
}

/// Returns the declarations of files of src/capi.
fn section(files: &[&str]) -> String {
    let config = cbindgen::Config::from_file(root().join("include/cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in files {
        builder = builder.with_src(root().join("src/capi").join(file).with_extension("rs"));
    }
    let mut text = Vec::new();
    builder.generate().expect("cbindgen reads src/capi").write(&mut text);
    tidy(&String::from_utf8(text).unwrap())
}

/// Uses the names of typedefs, shortens comments of one line, and wraps long prototypes.
fn tidy(text: &str) -> String {
    let mut tidy: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "/**" {
            let comment = lines.next().unwrap_or_default();
            if lines.next_if(|next| next.trim() == "*/").is_none() {
                tidy.extend([line.to_owned(), comment.to_owned()]);
                continue;
            }
            let text = comment.trim_start().trim_start_matches("* ");
            let code = lines.peek().copied().unwrap_or_default();
            if let [.., before, blank] = &tidy[..]
                && blank.is_empty()
                && family(before).is_some_and(|kind| family(code) == Some(kind))
            {
                tidy.pop();
            }
            let behind = format!("{code:<40} /**< {text} */");
            if behind.len() <= HEADER_COLUMNS && !code.starts_with("typedef") {
                tidy.push(behind);
                lines.next();
            } else {
                tidy.push(line.replace("/**", &format!("/** {text} */")));
            }
            continue;
        }
        let line = match line.strip_prefix("typedef struct ") {
            Some(_) => line.to_owned(),
            None => line.replace("struct dijitso_", "dijitso_"),
        };
        wrap(&line, &mut tidy);
    }
    tidy.join("\n").trim_matches('\n').to_owned()
}

/// Returns the kind of a constant, such as "ERROR". Constants of one kind stand together.
fn family(line: &str) -> Option<&str> {
    line.strip_prefix("#define DIJITSO_")?.split(['_', ' ']).next()
}

/// Breaks a prototype after commas.
fn wrap(line: &str, lines: &mut Vec<String>) {
    let mut rest = line.to_owned();
    while rest.len() > PROTOTYPE_COLUMNS && !rest.trim_start().starts_with(['*', '/', '#']) {
        let Some(comma) = rest[..PROTOTYPE_COLUMNS].rfind(", ") else { break };
        let indent = line.rfind('(').map_or(0, |open| open + 1);
        lines.push(rest[..=comma].to_owned());
        rest = format!("{:indent$}{}", "", &rest[comma + 2..]);
    }
    lines.push(rest);
}

fn generate() -> String {
    let mut header = String::new();
    for line in read("include/dijitso.h.in").lines() {
        let text = match placeholder(line).as_deref() {
            None => line.to_owned(),
            Some(["languages"]) => "@languages@".to_owned(),
            Some(["table_functions"]) => table_functions(),
            Some(files) => section(files),
        };
        writeln!(header, "{text}").unwrap();
    }
    let languages = languages(&header);
    header.replace("@languages@", &languages).replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// Returns the functions of MPI in the order of a table, as a macro of several lines.
fn table_functions() -> String {
    let functions: Vec<String> = FUNCTION_NAMES.iter().map(|name| format!("(dijitso_fn){name}")).collect();
    let lines: Vec<String> = functions.chunks(3).map(|three| format!("    {}", three.join(", "))).collect();
    lines.join(", \\\n")
}

/// The functions of src/capi/languages.rs: the function of C, and its two forms.
fn functions_for_languages() -> Vec<[String; 3]> {
    let source = read("src/capi/languages.rs");
    let (_, list) = source.split_once("\nfor_languages! {\n").expect("the list of functions");
    let words: Vec<&str> = list.split_whitespace().collect();
    let arrows = words.iter().enumerate().filter(|(_, word)| **word == "=>");
    arrows.map(|(at, _)| [at - 1, at + 1, at + 2].map(|at| words[at].trim_matches(',').to_owned())).collect()
}

/// Declares the forms of the functions for languages, by the rule that the header states.
fn languages(header: &str) -> String {
    let one_line = header.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut lines = Vec::new();
    for [function, by_address, by_integer] in functions_for_languages() {
        let begin = one_line.find(&format!("dijitso_status {function}(")).expect("a declaration");
        let (_, rest) = one_line[begin..].split_once('(').unwrap();
        let arguments: Vec<&str> = rest.split(')').next().unwrap().split(", ").collect();
        let goes_in = |argument: &&str| argument.starts_with("MPI_Comm ") && !argument.contains('*');
        let last = arguments.iter().rposition(goes_in).expect("a communicator");
        let (mut address, mut integer) = (Vec::new(), Vec::new());
        for (at, argument) in arguments.iter().enumerate() {
            let is_output = argument.starts_with("MPI_Comm *");
            let name = argument.trim_start_matches("MPI_Comm ").trim_start_matches('*');
            match argument.strip_prefix("MPI_Comm ") {
                None => [&mut address, &mut integer]
                    .into_iter()
                    .for_each(|list| list.push((*argument).to_owned())),
                Some(_) if is_output => {
                    address.push(format!("void *{name}"));
                    integer.push(format!("int32_t *{name}"));
                }
                Some(_) => {
                    address.push(format!("const void *{name}"));
                    integer.push(format!("int32_t {name}"));
                }
            }
            if at == last {
                address.push("size_t comm_size".to_owned());
            }
        }
        let forms = [(by_address, address, "by address"), (by_integer, integer, "by integer")];
        for (name, list, form) in forms {
            lines.push(format!("/** Does what {function}() does, with communicators {form}. */"));
            wrap(&format!("dijitso_status {name}({});", list.join(", ")), &mut lines);
        }
    }
    lines.join("\n")
}

/// Returns the names of the exported functions of a file.
fn exported(source: &str) -> Vec<&str> {
    let functions = source.split("#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn ").skip(1);
    functions.map(|function| function.split('(').next().unwrap()).collect()
}

/// Counts the declarations of a function. Comments only mention it.
fn declarations(header: &str, name: &str) -> usize {
    let call = format!("{name}(");
    let is_code = |line: &str| !line.trim_start().starts_with(['*', '/', '#']);
    header
        .lines()
        .filter(|line| is_code(line))
        .flat_map(|line| line.split([' ', '*']))
        .filter(|word| word.starts_with(&call))
        .count()
}

#[test]
fn the_committed_header_is_up_to_date() {
    let path = root().join("include/dijitso.h");
    let made = generate();
    if std::env::var_os("DIJITSO_RENEW_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "include/dijitso.h is not what src/capi says; renew it by\n    DIJITSO_RENEW_HEADER=1 cargo test --test header\n"
    );
}

/// A panic must not reach C: the body of an exported function is one call of a function of `boundary`.
#[test]
fn every_exported_function_goes_through_the_boundary() {
    for path in common::rust_files(&root().join("src")) {
        // Functions of a macro, of one form.
        if path.ends_with("capi/languages.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let functions = text.matches("no_mangle").count() + text.matches("export_name").count();
        assert_eq!(exported(&text).len(), functions, "{}: functions are exported in one way", path.display());
        for function in text.split("#[unsafe(no_mangle)]\n").skip(1) {
            let (_, body) = function.split_once(" {\n").unwrap();
            let (body, _) = body.split_once("\n}\n").unwrap();
            assert_eq!(body.matches("boundary::").count(), 1, "{}: {function}", path.display());
            let before = body.split("boundary::").next().unwrap();
            let is_plain = |line: &str| {
                let line = line.trim();
                line.is_empty() || line.starts_with("//") || line.starts_with("let ") || line == "unsafe {"
            };
            assert!(before.lines().all(is_plain), "{}: {before}", path.display());
        }
    }
}

/// The ABI in one sorted list, so that a reviewer sees a change of it.
#[test]
fn the_exported_names_are_these() {
    let sources: Vec<String> = common::rust_files(&root().join("src/capi"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let languages = functions_for_languages();
    let mut names: Vec<&str> = sources.iter().flat_map(|source| exported(source)).collect();
    names.extend(languages.iter().flat_map(|[_, by_address, by_integer]| [&**by_address, by_integer]));
    names.sort_unstable();
    let expected = read("tests/exports.txt");
    assert_eq!(names.join("\n") + "\n", expected, "tests/exports.txt is the list of exported functions");
}

/// Each function stands in one tier: core, tools, languages or host roles. The core is what `dijitso_jit` needs,
/// and stays small. Each function with a communicator has both forms for languages.
#[test]
fn every_function_stands_in_one_tier() {
    let header = generate();
    let tiers: Vec<&str> = header.split("\n/* =====").skip(1).collect();
    let [core, tools, languages, roles] = tiers[..] else { panic!("the header has {} tiers", tiers.len()) };
    let forms = functions_for_languages();
    let mut count = 0;
    for name in read("tests/exports.txt").lines() {
        let found = [core, tools, languages, roles].map(|tier| declarations(tier, name));
        assert_eq!(found.iter().sum::<usize>(), 1, "{name} is declared {found:?} times in the tiers");
        let is_form =
            forms.iter().any(|[_, by_address, by_integer]| name == by_address || name == by_integer);
        assert_eq!(found[2] == 1, is_form, "{name}: forms for languages have a tier");
        if found[3] == 1 {
            assert!(name.starts_with("dijitso_mpi_"), "{name}: host roles are dijitso_mpi_*");
        }
        count += found[0];
    }
    assert!((25..30).contains(&count), "the core has {count} functions");
    let text = read("include/dijitso.h");
    let one_line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let takes_comm = |line: &&str| line.split(");").next().is_some_and(|line| line.contains("MPI_Comm comm"));
    let with_comm = one_line.split("dijitso_status dijitso_").skip(1).filter(takes_comm).count();
    assert_eq!(forms.len(), with_comm, "each function with a communicator has its forms for languages");
}

#[test]
fn lines_of_the_header_and_of_src_capi_are_short() {
    let long = |text: &str, columns: usize| -> Vec<String> {
        text.lines().filter(|line| line.chars().count() > columns).map(str::to_owned).collect()
    };
    let none: [String; 0] = [];
    assert_eq!(long(&read("include/dijitso.h"), HEADER_COLUMNS), none);
    assert_eq!(long(&read("include/dijitso.hpp"), HEADER_COLUMNS), none);
    for path in common::rust_files(&root().join("src/capi")) {
        assert_eq!(long(&fs::read_to_string(&path).unwrap(), SOURCE_COLUMNS), none, "{}", path.display());
    }
}

/// Without the check C++14 gives 1,317 lines of errors.
#[test]
fn the_wrapper_in_an_older_language_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("old.cpp");
    fs::write(&program, "#include <dijitso.hpp>\n").unwrap();
    let compile = |compiler: &str, standard: &str| {
        let mut command = std::process::Command::new(compiler);
        command.arg(standard).arg("-I").arg(root().join("include")).arg("-fsyntax-only").arg(&program);
        command.output()
    };
    for compiler in ["g++", "clang++"] {
        for standard in ["-std=c++98", "-std=c++14"] {
            let Ok(output) = compile(compiler, standard) else { continue };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && said.contains("needs C++17"),
                "{compiler} {standard}: {said}"
            );
            assert_eq!(said.matches("error:").count(), 1, "{compiler} {standard}: {said}");
        }
    }
}
