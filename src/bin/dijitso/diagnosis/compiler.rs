//! Probes of the compiler: does it run, and does it make libraries that can be loaded?

#![forbid(unsafe_code)]

use std::time::Duration;

use dijitso::build::toolchain::{self, native};
use dijitso::build::{Job, build};
use dijitso::fsutil;
use dijitso::human::count;
use dijitso::load::{Loader, System};
use dijitso::params::resolved::{BuildParams, Resolved};
use dijitso::process::exec_context::ExecContext;
use dijitso::process::{SystemRunner, join};

use super::{Probe, Setting};

/// Limits one run of the compiler.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn probes(params: &Resolved) -> (Vec<Probe>, Vec<Setting>) {
    let command = join(&params.build.compiler);
    if toolchain::inspect(&params.build).file_key.is_none() {
        return (vec![missing(&command, params.cache.frozen)], frozen(params));
    }
    let limited = BuildParams {
        timeout: Some(params.build.timeout.map_or(LIMIT, |timeout| timeout.min(LIMIT))),
        slots_dir: None,
        ..params.build.clone()
    };
    let found = toolchain::probe(&limited, &SystemRunner, &ExecContext::default());
    let mut probes = vec![if found.is_unknown() {
        let advice =
            "signatures cannot tell its versions apart; choose another by CXX, CC, build.cxx or build.cc";
        Probe::warn("compiler", format!("{command} does not report its version"), advice)
    } else {
        Probe::ok("compiler", format!("{} for {}", found.identity, found.target))
    }];
    probes.push(building(&limited, params));
    if let Some(flags) = native::flags(&limited) {
        let isa = native::resolve(&limited, &flags, &SystemRunner, &ExecContext::default());
        let finding = format!("native flags stand for: {}", shortened(&isa));
        probes.push(if isa.starts_with("cpu ") {
            let advice =
                "processors are told apart by the description of the system; build.cpu gives them names";
            Probe::warn("native flags", format!("{command} does not report their meaning"), advice)
        } else {
            Probe::ok("native flags", finding)
        });
    }
    (probes, Vec::new())
}

/// Shortens the flags to the words that name the processor, and the number of the others.
fn shortened(isa: &str) -> String {
    const NAMES: [&str; 3] = ["-march=", "-mcpu=", "-mtune="];
    let words: Vec<&str> = isa.split_whitespace().collect();
    let after = |option: &str| {
        words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied()
    };
    let mut named: Vec<&str> =
        words.iter().copied().filter(|word| NAMES.iter().any(|name| word.starts_with(name))).collect();
    named.extend(["-target-cpu", "-tune-cpu"].into_iter().filter_map(after));
    match words.len() - named.len() {
        0 => named.join(" "),
        more => format!("{} and {}", named.join(" "), count(more, "more word", "more words")),
    }
}

fn missing(command: &str, frozen: bool) -> Probe {
    let finding = format!("{command} is not installed");
    if frozen {
        return Probe::ok("compiler", format!("{finding}, and the cache is frozen"));
    }
    let advice = "install one, choose another by CXX, CC, build.cxx or build.cc, or bring a bundle from a \
                  machine that has one (dijitso export, dijitso import)";
    Probe::bad("compiler", finding, advice)
}

fn frozen(params: &Resolved) -> Vec<Setting> {
    if params.cache.frozen {
        return Vec::new();
    }
    let reason = "there is no compiler, and the error of a frozen cache explains each miss";
    vec![Setting::new("cache.frozen", "true", reason)]
}

/// Builds a library with the current flags, and loads it.
fn building(limited: &BuildParams, params: &Resolved) -> Probe {
    const NAME: &str = "building";
    let root = &params.cache.temp_dir_root;
    let folder = match fsutil::staging_dir(std::slice::from_ref(root)) {
        Ok(folder) => folder,
        Err(error) => {
            let finding = format!("cannot write in {}: {error}", root.display());
            return Probe::bad(NAME, finding, "set cache.temp_dir_root or TMPDIR to a writable directory");
        }
    };
    let dir = folder.path();
    let source = format!("probe{}", params.cache.src_postfix);
    // Valid in C and in C++.
    let code = b"#ifdef __cplusplus\nextern \"C\"\n#endif\nint dijitso_probe(void) { return 42; }\n";
    let library = "libdijitso-probe.so";
    let job = Job {
        params: limited,
        signature: "a probe",
        source: (&source, code),
        header: None,
        library,
        dependencies: &[],
        repro_files: Vec::new(),
        source_dir: &dir.join("src"),
        cache_dirs: (&dir.join("include"), &dir.join("lib")),
        temp_roots: &[dir.to_owned()],
        copies: None,
        tracks_inputs: false,
        memory_roots: &[],
        pch_store: None,
        failure_dir: &dir.join("failure"),
        context: &ExecContext::default(),
    };
    let built = match build(&job, &SystemRunner) {
        Ok(built) => built,
        Err(failed) => {
            let message = failed.error.message();
            // The folder that the message names is gone.
            let what = message.split_once("; to reproduce it").map_or(message, |(what, _)| what);
            let advice = format!("check the flags: dijitso config ({})", join(&limited.flags));
            return Probe::bad(NAME, what, advice);
        }
    };
    let path = dir.join(library);
    let loaded = std::fs::write(&path, &built.image)
        .map_err(|error| error.to_string())
        .and_then(|()| System.load(&path).map_err(|error| error.message().to_owned()));
    match loaded {
        Ok(image) if image.symbol("dijitso_probe").is_some() => {
            Probe::ok(NAME, format!("a library was built in {:.2} s, and loaded", built.seconds))
        }
        Ok(_) => Probe::bad(
            NAME,
            "the library that was built has no symbols",
            "are -shared and -fPIC among the flags?",
        ),
        Err(reason) => {
            let advice =
                "are -shared and -fPIC among the flags? Is the disk mounted noexec (cache.temp_dir_root)?";
            Probe::bad(NAME, format!("the library that was built cannot be loaded: {reason}"), advice)
        }
    }
}
