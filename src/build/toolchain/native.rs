//! Flags that depend on the machine on which the compiler runs, and their meaning there.
//!
//! `-march=native` gives other code on each machine. A dry run (`-###`), in which GNU and LLVM drivers print
//! the commands that they would run, shows its meaning:
//!
//! ```text
//! gcc:    .../cc1plus -E -quiet ... "-march=znver3" -mavx ... --param "l1-cache-size=32" "-mtune=znver3"
//! clang:  ".../clang" "-cc1" ... "-target-cpu" "znver3" "-target-feature" "+avx" ... "-tune-cpu" "znver3"
//! ```
//! Words on processors and their features are kept. Sizes of caches are not: they may differ between
//! processors that run the same code equally well. If a compiler does not answer so, the kind of processor
//! described by the system is used.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use crate::params::resolved::BuildParams;
use crate::process::exec_context::ExecContext;
use crate::process::{Exit, Runner};

use super::{cpu, question};

/// Returns the flags that decide which machine is built for, if one of them, or the compiler's own arguments,
/// depends on this machine; else `None`.
#[must_use]
pub fn flags(params: &BuildParams) -> Option<Vec<String>> {
    flags_of(&params.compiler, &params.flags)
}

/// Does the same for a compiler and its flags.
#[must_use]
pub fn flags_of(compiler: &[String], flags: &[String]) -> Option<Vec<String>> {
    names_machine(compiler.iter().chain(flags)).then(|| machine_flags(flags))
}

/// Returns true if a command line builds for the machine that it runs on.
#[must_use]
pub fn names_this_machine(words: &[String]) -> bool {
    names_machine(words.iter())
}

fn names_machine<'a>(words: impl Iterator<Item = &'a String> + Clone) -> bool {
    let by_flag = words.clone().zip(words.clone().skip(1).map(Some).chain([None]));
    by_flag.into_iter().any(|(word, next)| {
        let next = next.map_or("", String::as_str);
        is_native(word) || (word == "-tp" && matches!(next, "host" | "native"))
    }) || builds_for_this_machine_by_default(words)
}

/// Returns true for `-march=native` and the like of other compilers, also if passed to the linker
/// (`-Wl,-plugin-opt=mcpu=native`).
fn is_native(word: &str) -> bool {
    const ENDS: [&str; 5] = ["arch=native", "cpu=native", "tune=native", "tp=native", "tp=host"];
    const WORDS: [&str; 4] = ["-xhost", "-fast", "-qarch=auto", "-qtune=auto"];
    let ends_with = |end: &&str| {
        let at = word.len().checked_sub(end.len());
        at.and_then(|at| word.get(at..)).is_some_and(|rest| rest.eq_ignore_ascii_case(end))
    };
    let option = word.starts_with('-') && !word.starts_with("-D");
    option && (ENDS.iter().any(ends_with) || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Returns true for NVIDIA's compilers without an option for another machine.
fn builds_for_this_machine_by_default<'a>(words: impl Iterator<Item = &'a String> + Clone) -> bool {
    const NAMES: [&str; 4] = ["nvc", "nvc++", "pgcc", "pgc++"];
    let name = |word: &String| word.rsplit('/').next().is_some_and(|name| NAMES.contains(&name));
    words.clone().any(name) && !words.clone().any(|word| word.starts_with("-tp"))
}

/// Returns true if the dry run of a GNU or LLVM driver shows the meaning of all native words.
fn shows_meaning(words: &[String]) -> bool {
    const KNOWN: [&str; 3] = ["-march=native", "-mcpu=native", "-mtune=native"];
    words.iter().filter(|word| is_native(word)).all(|word| KNOWN.contains(&word.as_str()))
        && words.iter().any(|word| KNOWN.contains(&word.as_str()))
}

/// Returns the flags about machines: `-m...`, `--target=...` and others.
fn machine_flags(flags: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = flags.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-target" | "-tp" => {
                kept.push(word.clone());
                kept.extend(words.next().cloned());
            }
            // Options of the code generator, most of which are not about machines.
            "-mllvm" => drop(words.next()),
            _ if is_native(word)
                || ["-m", "--target=", "-tp"].iter().any(|begin| word.starts_with(begin)) =>
            {
                kept.push(word.clone());
            }
            _ => {}
        }
    }
    kept
}

/// Returns the meaning of the native words of these parameters on this machine. `flags` are those of
/// [`flags`].
///
/// A name in `build.cpu` is part of it: kinds with different names share no libraries.
#[must_use]
pub fn resolve(params: &BuildParams, flags: &[String], runner: &dyn Runner, context: &ExecContext) -> String {
    let expanded = ask(params, flags, runner, context);
    match (params.cpu.is_empty(), expanded) {
        (true, Some(expanded)) => expanded,
        (false, Some(expanded)) => format!("{} {expanded}", unresolved(params)),
        (_, None) => unresolved(params),
    }
}

/// Returns the kind of processor, in place of an answer of the compiler.
#[must_use]
pub fn unresolved(params: &BuildParams) -> String {
    format!("cpu {}", cpu::key(params))
}

fn ask(params: &BuildParams, flags: &[String], runner: &dyn Runner, context: &ExecContext) -> Option<String> {
    let mut argv = params.compiler.clone();
    argv.extend_from_slice(flags);
    if !shows_meaning(&argv) {
        return None;
    }
    // A compiler that does not know -### preprocesses the empty file to its output, and writes nothing to
    // disk.
    argv.extend(["-###", "-E", "-x", params.language.dialect, "/dev/null"].map(str::to_owned));
    let outcome = runner.run(&question(params, argv, context)).ok()?;
    match outcome.exit {
        Exit::Code(0) | Exit::Unknown => expansion(&String::from_utf8_lossy(&outcome.output)),
        Exit::Code(_) | Exit::Signal(_) | Exit::TimedOut => None,
    }
}

/// Returns the words on processors and features in a driver's dry run, sorted; `None` if it names no
/// processor.
fn expansion(answer: &str) -> Option<String> {
    const CLANG: [&str; 3] = ["-target-cpu", "-tune-cpu", "-target-feature"];
    const GNU: [&str; 3] = ["-march=", "-mcpu=", "-mtune="];
    let mut found = BTreeSet::new();
    let mut named = false;
    for line in answer.lines() {
        let Ok(words) = shell_words::split(line) else { continue };
        let program = words.first().and_then(|word| Path::new(word).file_name()).and_then(OsStr::to_str);
        if words.get(1).is_some_and(|word| word == "-cc1") {
            for pair in words.windows(2).filter(|pair| CLANG.contains(&pair[0].as_str())) {
                named |= pair[0] == CLANG[0];
                found.insert(pair.join(" "));
            }
        } else if program.is_some_and(|program| program.starts_with("cc1")) {
            let about_machine = words.into_iter().filter(|word| word.starts_with("-m"));
            for word in about_machine {
                named |= GNU.iter().any(|option| word.starts_with(option));
                found.insert(word);
            }
        }
    }
    // A driver that passes the word on has not shown its meaning.
    let is_resolved = |word: &String| !word.ends_with("=native") && !word.ends_with(" native");
    (named && found.iter().all(is_resolved)).then(|| found.into_iter().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn which_flags_name_this_machine() {
        for native in [
            "g++ -O3 -march=native",
            "g++ -mtune=native",
            "clang -mcpu=native",
            "icpx -xHost",
            "icpx -xhost",
            "nvc++ -tp=host",
            "nvc++ -tp host",
            "nvc++ -tp=native",
            "mpicxx -tp native",
            "/opt/nvidia/bin/nvc++ -O3",
            "icc -fast",
            "xlc -qarch=auto",
            "clang -flto -Wl,-plugin-opt=mcpu=native",
        ] {
            assert!(names_this_machine(&words(native)), "{native}");
        }
        for plain in [
            "",
            "g++ -O3 -march=x86-64-v3 -mtune=generic",
            "g++ -Ofast -DTARGET_CPU=native -I/opt/native",
            "g++ -DKIND native",
            "nvc++ -tp=zen3",
            "icpx -xCORE-AVX512",
            "g++ -x host",
        ] {
            assert!(!names_this_machine(&words(plain)), "{plain}");
        }
    }

    #[test]
    fn the_flags_of_a_question_are_those_about_machines() {
        let flags = words(
            "-O3 -march=native -I/m -mno-avx512f -mllvm -inline-threshold=2 --target=x86_64-linux-gnu \
             -target t -fPIC",
        );
        let expected = words("-march=native -mno-avx512f --target=x86_64-linux-gnu -target t");
        assert_eq!(machine_flags(&flags), expected);
        assert!(shows_meaning(&words("g++ -march=native -m64")));
        assert!(!shows_meaning(&words("icpx -xHost")));
        assert!(!shows_meaning(&words("nvc++")));
        assert!(!shows_meaning(&words("clang -march=native -Wl,-plugin-opt=mcpu=native")));
    }

    const GCC: &str = "Using built-in specs.\nCOLLECT_GCC=g++\nTarget: x86_64-linux-gnu\n\
        COLLECT_GCC_OPTIONS='-march=native' '-E' '-shared-libgcc'\n \
        /usr/lib/gcc/x86_64-linux-gnu/12/cc1plus -E -quiet -imultiarch x86_64-linux-gnu -D_GNU_SOURCE \
        /dev/null \
        \"-march=znver3\" -mmmx -mavx2 -mno-fma4 --param \"l1-cache-size=32\" --param \"l2-cache-size=1024\" \
        \"-mtune=znver3\" -fasynchronous-unwind-tables -dumpbase null\n\
        COMPILER_PATH=/usr/lib/gcc/x86_64-linux-gnu/12/\n\
        COLLECT_GCC_OPTIONS='-march=native' '-E' '-shared-libgcc'\n";

    const CLANG: &str = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n (in-process)\n \
        \"/usr/lib/llvm-14/bin/clang\" \"-cc1\" \"-triple\" \"x86_64-pc-linux-gnu\" \"-E\" \
        \"-main-file-name\" \"null\" \
        \"-mrelocation-model\" \"pic\" \"-target-cpu\" \"znver3\" \"-target-feature\" \"-avx512pf\" \
        \"-target-feature\" \"+cx16\" \"-tune-cpu\" \"znver3\" \"-o\" \"-\" \"-x\" \"c++\" \"/dev/null\"\n";

    #[test]
    fn the_answer_of_gcc() {
        let expected = "-march=znver3 -mavx2 -mmmx -mno-fma4 -mtune=znver3";
        assert_eq!(expansion(GCC).as_deref(), Some(expected));
        let cache = GCC.replace("l1-cache-size=32", "l1-cache-size=48");
        assert_eq!(expansion(&cache), expansion(GCC));
        assert_ne!(expansion(&GCC.replace("-mavx2", "-mno-avx2")), expansion(GCC));
    }

    #[test]
    fn the_answer_of_clang() {
        let expected = "-target-cpu znver3 -target-feature +cx16 -target-feature -avx512pf -tune-cpu znver3";
        assert_eq!(expansion(CLANG).as_deref(), Some(expected));
        assert_ne!(expansion(&CLANG.replace("+cx16", "-cx16")), expansion(CLANG));
    }

    #[test]
    fn what_does_not_name_a_processor_is_no_answer() {
        for answer in [
            "",
            "nvc++-Fatal-Unknown switch: -###\n",
            "# 1 \"/dev/null\"\n",
            "COLLECT_GCC_OPTIONS='-march=native'\n /usr/lib/cc1 -E -quiet /dev/null -mabi=lp64\n",
            " /usr/lib/cc1 -E -quiet /dev/null -march=native -mtune=x\n",
            " \"clang\" \"-cc1\" \"-target-cpu\" \"native\"\n",
            " \"clang\" \"-cc1\" \"-tune-cpu\" \"x\"\n",
            " 'unbalanced \"-cc1\" \"-target-cpu\" \"x\n",
        ] {
            assert_eq!(expansion(answer), None, "{answer}");
        }
    }
}
