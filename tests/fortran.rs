//! `fortran/src/dijitso_c.f90` and `fortran/include/dijitsof.h` say in Fortran what `include/dijitso.h` says in C.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

const COLUMNS: usize = 120;
/// Fixed form ignores what follows.
const FIXED_COLUMNS: usize = 72;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the code of the header: without comments and directives, one declaration a line.
fn declarations(header: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    // A directive goes on after a backslash.
    let mut is_directive = false;
    let mut words: Vec<&str> = Vec::new();
    for line in code.lines() {
        is_directive = is_directive || line.starts_with('#');
        words.extend(line.split_whitespace().filter(|_| !is_directive));
        is_directive = is_directive && line.ends_with('\\');
    }
    let mut declarations = vec![String::new()];
    let mut depth = 0;
    for part in words.join(" ").split_inclusive([';', '{', '}']) {
        declarations.last_mut().unwrap().push_str(part);
        depth += part.matches('{').count();
        depth -= part.matches('}').count().min(depth);
        let declaration = declarations.last_mut().unwrap();
        if declaration.contains("extern ") {
            // It opens no structure.
            declaration.clear();
            depth = 0;
        }
        let is_function = part.ends_with('}') && !declaration.trim_start().starts_with("typedef");
        if depth == 0 && (part.ends_with(';') || is_function) {
            declarations.push(String::new());
        }
    }
    declarations.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Returns the constants of the header that are numbers.
fn constants(header: &str) -> Vec<(&str, i64)> {
    let lines = header.lines().filter_map(|line| line.strip_prefix("#define "));
    let words = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.parse().ok()?))
    });
    let ours = |name: &str| name.starts_with("DIJITSO_") && !name.starts_with("DIJITSO_HAVE");
    words.filter(|(name, _)| ours(name)).collect()
}

/// A parameter, field or result: its type in C, and its name.
fn typed(text: &str) -> (String, String) {
    let text = text.trim();
    let begin = text.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    (text[..begin].trim().replace(" *", "*"), text[begin..].to_owned())
}

/// Returns the Fortran type of a plain C value.
fn value_type(c: &str) -> &'static str {
    match c.trim_start_matches("const ") {
        "int32_t" | "dijitso_status" => "integer(c_int32_t)",
        "uint64_t" | "int64_t" | "dijitso_node" => "integer(c_int64_t)",
        "size_t" => "integer(c_size_t)",
        "double" => "real(c_double)",
        "dijitso_fn" => "type(c_funptr)",
        name if name.ends_with("_fn") => "type(c_funptr)",
        pointer if pointer.ends_with('*') => "type(c_ptr)",
        other => panic!("the C type {other} has no row in this table"),
    }
}

/// Returns the declaration of a dummy argument.
fn dummy(c: &str, name: &str) -> String {
    let many = match name {
        "libraries_out" | "ranks_out" | "partitions_out" => ", dimension(*), intent(inout)",
        _ => ", intent(out)",
    };
    match c {
        "const char*" => format!("character(kind=c_char), dimension(*), intent(in), optional :: {name}"),
        "const char*const*" => format!("type(c_ptr), dimension(*), intent(in) :: {name}"),
        "const int32_t*" => format!("integer(c_int32_t), dimension(*), intent(in) :: {name}"),
        _ if name.ends_with("_out") => {
            let kind = value_type(c.strip_suffix('*').unwrap());
            // A pointer to a plain number may be NULL.
            let optional = if kind.starts_with("integer") { ", optional" } else { "" };
            format!("{kind}{many}{optional} :: {name}")
        }
        _ => format!("{}, value :: {name}", value_type(c)),
    }
}

/// Breaks a line of Fortran after commas.
fn put(text: &mut String, indent: usize, line: &str) {
    let mut rest = format!("{:indent$}{line}", "");
    while rest.len() > COLUMNS {
        let comma = rest[..COLUMNS - 2].rfind(", ").unwrap();
        writeln!(text, "{} &", &rest[..=comma]).unwrap();
        rest = format!("{:width$}{}", "", &rest[comma + 2..], width = indent + 4);
    }
    writeln!(text, "{rest}").unwrap();
}

/// Returns the interface of a function. `None` if it takes communicators of C, or for another language:
/// `NAME_fint` is the one for Fortran.
fn interface(prototype: &str) -> Option<String> {
    let (head, arguments) = prototype.strip_suffix(");")?.split_once('(')?;
    if prototype.starts_with("typedef") || arguments.contains("MPI_Comm") {
        return None;
    }
    let (result, name) = typed(head);
    let arguments: Vec<(String, String)> =
        arguments.split(',').filter(|text| *text != "void").map(typed).collect();
    if arguments.iter().any(|(_, name)| name == "comm_size") {
        return None;
    }
    let names: Vec<&str> = arguments.iter().map(|(_, name)| name.as_str()).collect();
    let names = names.join(", ");
    let mut text = String::new();
    let kind = if result == "void" { "subroutine" } else { "function" };
    put(&mut text, 4, &format!("{kind} c_{name}({names}) &"));
    let end = if result == "void" { "" } else { " result(answer)" };
    put(&mut text, 8, &format!("bind(c, name=\"{name}\"){end}"));
    put(&mut text, 6, "import");
    for (c, name) in &arguments {
        put(&mut text, 6, &dummy(c, name));
    }
    if kind == "function" {
        put(&mut text, 6, &format!("{} :: answer", value_type(&result)));
    }
    put(&mut text, 4, &format!("end {kind} c_{name}"));
    Some(text)
}

/// Returns the derived type of a structure with fields.
fn structure(declaration: &str) -> Option<String> {
    let (name, fields) = declaration.strip_prefix("typedef struct ")?.split_once(" {")?;
    let (fields, _) = fields.split_once('}')?;
    let mut text = String::new();
    put(&mut text, 2, &format!("type, bind(c), public :: c_{name}"));
    for field in fields.split(';').map(str::trim).filter(|field| !field.is_empty()) {
        let (field, count) = field.split_once('[').unwrap_or((field, ""));
        let (c, field) = typed(field);
        let value = value_type(&c);
        let dimension = count.strip_suffix(']').map_or(String::new(), |count| format!("({count})"));
        let initial = match value {
            "type(c_ptr)" => " = c_null_ptr",
            "type(c_funptr)" => " = c_null_funptr",
            _ => " = 0",
        };
        put(&mut text, 4, &format!("{value} :: {field}{dimension}{initial}"));
    }
    put(&mut text, 2, &format!("end type c_{name}"));
    Some(text)
}

fn module(header: &str) -> String {
    let all = declarations(header);
    let mut text = String::from(
        "! SPDX-License-Identifier: MIT OR Apache-2.0\n\
         !\n\
         ! The C interface of dijitso in Fortran: c_NAME binds the function NAME of dijitso.h. Module dijitso\n\
         ! is built on it. This file is generated from include/dijitso.h. Do not edit it.\n\
         \n\
         module dijitso_constants\n  \
         use, intrinsic :: iso_c_binding, only: c_int32_t\n  \
         implicit none\n  \
         private :: c_int32_t\n\n",
    );
    for (name, value) in constants(header) {
        writeln!(text, "  integer(c_int32_t), parameter, public :: {name} = {value}").unwrap();
    }
    text.push_str(
        "end module dijitso_constants\n\n\
         module dijitso_c\n  \
         use, intrinsic :: iso_c_binding\n  \
         use dijitso_constants\n  \
         implicit none\n  \
         public\n",
    );
    for declaration in all.iter().filter_map(|text| structure(text)) {
        write!(text, "\n{declaration}").unwrap();
    }
    text.push_str("\n  interface\n");
    let interfaces: Vec<String> = all.iter().filter_map(|text| interface(text)).collect();
    text.push_str(&interfaces.join("\n"));
    text.push_str("  end interface\nend module dijitso_c\n");
    text
}

/// Returns the include file: constants, and the names of `fortran/src/dijitso_f77.f90`.
fn include_file(header: &str, procedures: &str) -> String {
    let mut text = String::from(
        "! SPDX-License-Identifier: MIT OR Apache-2.0\n\
         !\n\
         ! dijitso for programs without modules. Valid in fixed and in free\n\
         ! form. The procedures are described in dijitso_f77.f90.\n\
         ! This file is generated from include/dijitso.h. Do not edit it.\n\
         !\n\
         ! dijitso needs default integers of 4 bytes: the next line is an\n\
         ! error if a program is compiled with -fdefault-integer-8 or -i8.\n      \
         integer dijitso_needs_integer4\n      \
         parameter (dijitso_needs_integer4=1/merge(1,0,bit_size(0).eq.32))\n",
    );
    for (name, value) in constants(header) {
        writeln!(text, "      integer {name}\n      parameter ({name}={value})").unwrap();
    }
    for line in procedures.lines() {
        let name = line.trim_start_matches("recursive ").strip_prefix("subroutine dijitsof_");
        if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
            writeln!(text, "      external dijitsof_{name}").unwrap();
        }
    }
    text
}

/// Compares a committed file with what it has to be, or renews it.
fn check(path: &str, made: &str) {
    let file = root().join(path);
    if std::env::var_os("DIJITSO_RENEW_FORTRAN").is_some() {
        fs::write(&file, made).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == made,
        "{path} is not what include/dijitso.h says; renew it by\n    \
         DIJITSO_RENEW_FORTRAN=1 cargo test --test fortran\n"
    );
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_interfaces_are_those_of_the_header() {
    let header = read("include/dijitso.h");
    let made = module(&header);
    for name in read("tests/exports.txt").lines() {
        let is_bound = |name: &str| made.contains(&format!("\"{name}\""));
        let is_for_others = name.ends_with("_comm");
        assert!(is_bound(name) || is_bound(&format!("{name}_fint")) || is_for_others, "{name}");
    }
    check("fortran/src/dijitso_c.f90", &made);
}

#[test]
fn the_include_file_has_the_constants_of_the_header() {
    let made = include_file(&read("include/dijitso.h"), &read("fortran/src/dijitso_f77.f90"));
    assert!(made.lines().all(|line| line.len() <= FIXED_COLUMNS), "{made}");
    check("fortran/include/dijitsof.h", &made);
}

#[test]
fn lines_of_fortran_are_short() {
    for folder in ["fortran/src", "fortran/mpi_f08"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let long = text.lines().find(|line| line.chars().count() > COLUMNS);
            assert_eq!(long, None, "{}", path.display());
        }
    }
}
