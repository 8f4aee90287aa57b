//! Pragmas with an effect beyond the end of a header. Pure.
//!
//! Compilers lose most of these effects at the end of a precompiled header: packing of structures, target
//! processor, visibility, warnings. A header with a lasting effect is therefore not precompiled; one that
//! restores the earlier state is.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// Effect of a pragma on the code after it.
enum Effect<'a> {
    /// None, or only on the next statement or a named function.
    None,
    Push(&'a str),
    Pop(&'a str),
    /// Lasts until the next pop.
    Set(&'a str),
    /// Unknown, and taken for lasting.
    Unknown,
}

/// Returns the first pragma whose effect lasts beyond the end of a text that a compiler has written with
/// `-E`.
pub(super) fn lasting_pragma(preprocessed: &str) -> Option<&str> {
    let mut open: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in preprocessed.lines() {
        let directive = line.trim_start().strip_prefix('#').map(str::trim_start);
        let Some(rest) = directive.and_then(|rest| rest.strip_prefix("pragma")) else { continue };
        match effect(&words(rest)) {
            Effect::None => {}
            Effect::Push(what) => open.entry(what).or_default().push(line),
            // A pop without a push has no effect.
            Effect::Pop(what) => drop(open.get_mut(what).and_then(Vec::pop)),
            Effect::Set(what) if open.get(what).is_some_and(|open| !open.is_empty()) => {}
            Effect::Set(_) | Effect::Unknown => return Some(line.trim()),
        }
    }
    open.into_values().find_map(|open| open.first().copied()).map(str::trim)
}

fn effect<'a>(words: &[&'a str]) -> Effect<'a> {
    match words {
        ["once" | "message" | "region" | "endregion" | "mark" | "weak" | "warning", ..]
        | ["ivdep" | "unroll" | "nounroll", ..]
        | ["GCC" | "clang", "system_header" | "warning" | "error" | "dependency" | "loop", ..]
        | ["GCC", "ivdep" | "unroll" | "nounroll", ..] => Effect::None,
        ["omp", "declare", "target", ..] | ["omp", "begin" | "end" | "requires" | "assumes", ..] => {
            Effect::Unknown
        }
        ["omp", ..] => Effect::None,
        ["GCC" | "clang", "diagnostic", "push"] => Effect::Push("diagnostic"),
        ["GCC" | "clang", "diagnostic", "pop"] => Effect::Pop("diagnostic"),
        ["GCC" | "clang", "diagnostic", ..] => Effect::Set("diagnostic"),
        ["GCC", "visibility", "push", ..] => Effect::Push("visibility"),
        ["GCC", "visibility", "pop"] => Effect::Pop("visibility"),
        ["GCC", "push_options"] => Effect::Push("options"),
        ["GCC", "pop_options"] => Effect::Pop("options"),
        ["GCC", "target" | "optimize" | "reset_options", ..] => Effect::Set("options"),
        ["clang", "attribute", "push", ..] => Effect::Push("attribute"),
        ["clang", "attribute", "pop"] => Effect::Pop("attribute"),
        ["pack", "push", ..] => Effect::Push("pack"),
        ["pack", "pop"] => Effect::Pop("pack"),
        ["pack", ..] => Effect::Set("pack"),
        ["push_macro", name] => Effect::Push(name),
        ["pop_macro", name] => Effect::Pop(name),
        _ => Effect::Unknown,
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || "(),".contains(c)).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_leaves_set_is_seen() {
        for pragma in [
            "#pragma pack(push,1)",
            "#pragma pack(1)",
            " #  pragma pack ( push , x , 1 )",
            "#pragma GCC target(\"avx2,fma\")",
            "#pragma GCC optimize(\"O0\")",
            "#pragma GCC push_options",
            "#pragma GCC visibility push(hidden)",
            "#pragma GCC diagnostic ignored \"-Wunused\"",
            "#pragma clang diagnostic push",
            "#pragma clang attribute push(__attribute__((noinline)), apply_to = function)",
            "#pragma redefine_extname a b",
            "#pragma STDC FP_CONTRACT OFF",
            "#pragma omp declare target",
            "#pragma push_macro(\"A\")",
            "#pragma nobody knows",
        ] {
            let text = format!("# 1 \"a.h\"\n#pragma pack(push)\n#pragma pack(pop)\n{pragma}\nint x;\n");
            assert_eq!(lasting_pragma(&text), Some(pragma.trim()));
        }
        for open in [
            "#pragma pack(push,1)\n#pragma GCC diagnostic push\n#pragma GCC diagnostic pop\n",
            "#pragma pack(push,1)\n#pragma pack(push,2)\n#pragma pack(pop)\n",
            "#pragma pack(push,1)\n#pragma pack(push,a,2)\n#pragma pack(pop,a)\n",
        ] {
            assert_eq!(lasting_pragma(open), Some("#pragma pack(push,1)"), "{open}");
        }
        assert!(lasting_pragma("#pragma pack(push)\n#pragma pack(pop)\n#pragma pack(4)\n").is_some());
    }

    #[test]
    fn what_a_header_sets_back_is_fine() {
        for fine in [
            "int pragma;\n#define P #pragma pack(1)\n",
            "#pragma once\n#pragma GCC system_header\n#pragma GCC ivdep\n#pragma omp parallel for\n#pragma \
             weak f\n",
            "#pragma GCC push_options\n#pragma GCC target(\"avx\")\n#pragma GCC pop_options\n",
            "#pragma GCC visibility push(default)\nint x;\n#pragma GCC visibility pop\n",
            "#pragma GCC diagnostic push\n #pragma GCC diagnostic ignored \"-Wx\"\n#pragma GCC diagnostic \
             pop\n",
            "#pragma pack(push)\n#pragma pack(1)\n#pragma pack(pop)\n",
            "#pragma GCC diagnostic pop\n",
        ] {
            assert_eq!(lasting_pragma(fine), None);
        }
    }
}
