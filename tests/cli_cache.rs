//! The subcommands of `dijitso` on caches with something in them.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use dijitso::cache::catalog::Existing;
use dijitso::cache::layout::Category;
use dijitso::cache::record::{EntryRecord, FileDigest, append_record};
use dijitso::cache::{Cache, EntryFiles, file_digest};
use dijitso::inputs::Input;
use dijitso::owner::ProcessId;
use dijitso::params::{Environment, Params};
use dijitso::signature::Toolchain;
use serde_json::Value as Json;

const POISSON: &str = "poisson_9871e9593e2afab75ec87be9a7d21385";
const OTHER: &str = "poisson_7dd8a143998f0c7705ac73a5a9eab3c1";

const SOURCE: &str = r#"#include "mass.h"
// a.b {
namespace dolfin {
  class Mass {
    double evaluate(double x) const
    {
      const char *text = "} a.b"; if (x > 0) { return x; } else {
        return axb; }
    }
  };
}
extern "C" int create_mass() { return 1; }
"#;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A cache with four entries, built one hour after another.
    fn filled() -> Self {
        let home = Self::empty();
        let cache = home.cache();
        for (at, signature) in [POISSON, OTHER, "mass", "stiffness"].into_iter().enumerate() {
            cache.publish(&entry(signature, at, 0)).unwrap();
            let file = fs::File::options().append(true).open(cache.layout().lib(signature)).unwrap();
            file.set_modified(
                std::time::SystemTime::now() - std::time::Duration::from_secs(3600 * (9 - at as u64)),
            )
            .unwrap();
        }
        cache.store_source("mass", SOURCE.as_bytes()).unwrap();
        home
    }

    fn cache(&self) -> Cache {
        let around = Environment {
            variables: [("HOME", self.dir.path().display().to_string())].into(),
            cwd: self.dir.path().to_owned(),
            uid: 0,
            system_dir: "/nonexistent".into(),
        };
        let params = Params::in_environment(&around).unwrap().resolve().unwrap();
        Cache::new(&params.cache.cache_dir, &params.cache)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dijitso"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a run that succeeds and has nothing else to say.
    fn shows(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        text(&output.stdout).to_owned()
    }

    /// Exit code and complaint of a run that fails.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        (output.status.code().unwrap(), text(&output.stderr).to_owned())
    }

    fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.shows(arguments)).unwrap()
    }

    /// A run on a terminal, with what is typed there; what it shows, and whether it succeeds.
    fn on_terminal(&self, arguments: &str, typed: &str, variables: &[(&str, &str)]) -> (String, bool) {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_dijitso"));
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(self.dir.path())
            .env_remove("NO_COLOR")
            .env("HOME", self.dir.path())
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (text(&output.stdout).to_owned(), output.status.success())
    }

    fn files(&self) -> usize {
        self.cache().catalog().unwrap().all().map(|entry| entry.files.len()).sum()
    }
}

fn record(signature: &str, at: usize, inputs: usize) -> EntryRecord {
    let input = |at: usize| Input {
        path: format!("/usr/include/some/where/header_{at}.h"),
        size: 1000,
        mtime: 1,
        ctime: None,
        inode: None,
        identity: format!("sha256 {:064x}", at),
    };
    EntryRecord {
        signature: signature.to_owned(),
        name: signature.to_owned(),
        header: None,
        source_sha256: String::new(),
        text: None,
        dependencies: Vec::new(),
        nested: Vec::new(),
        recipe: None,
        inputs: (0..inputs).map(input).collect(),
        toolchain: Toolchain {
            identity: "gcc version 12.2.0 (Debian 12.2.0-14)".to_owned(),
            target: "x86_64-linux-gnu".to_owned(),
            isa: String::new(),
        },
        command: vec!["c++".to_owned(), "-O2".to_owned()],
        generator: "{}".to_owned(),
        built_at: 1_700_000_000,
        seconds: [0.5, 4.25, 1.0, 2.0][at % 4],
        host: "host".to_owned(),
        dijitso: dijitso::VERSION.to_owned(),
    }
}

fn entry(signature: &str, at: usize, inputs: usize) -> EntryFiles {
    let header = format!("int create_{signature}();\n");
    let known: FileDigest = file_digest(header.as_bytes());
    let record = EntryRecord { header: Some(known), ..record(signature, at, inputs) };
    EntryFiles {
        signature: signature.to_owned(),
        library: append_record(vec![7; 1000 * (at % 4 + 1)], &record).unwrap(),
        header: Some(header.into_bytes()),
        source: Some((format!("int create_{signature}() {{ return 0; }}\n").into_bytes(), false)),
        log: Some(b"c++ -O2\n".to_vec()),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn show_has_a_summary_and_a_table_with_the_latest_first() {
    let home = Home::filled();
    let shown = home.shows(&["show"]);
    let lines = lines(&shown);
    assert!(lines[0].ends_with("/.cache/dijitso: 4 entries"), "{shown}");
    let words = |at: usize| lines[at].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(2)[..2], ["inc", "4"]);
    // The mark of the cache is of no category.
    assert_eq!((words(6)[..2].to_vec(), words(7)[..2].to_vec()), (vec!["other", "1"], vec!["total", "17"]));
    assert_eq!(words(9), ["NAME", "SIGNATURE", "SIZE", "AGE", "COMPILER", "SECONDS"]);
    let first = "stiffness stiffness 4.4 KiB 6 h gcc 12.2.0 2.00";
    assert_eq!(words(10).join(" "), first, "{shown}");
    assert_eq!(words(13)[..2], ["poisson", POISSON]);
    assert_eq!(lines.len(), 14);
}

#[test]
fn show_sorts_selects_and_lists() {
    let home = Home::filled();
    let names = |arguments: &[&str]| -> Vec<String> {
        let shown = home.shows(&[&["show", "--no-summary"], arguments].concat());
        shown.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--sort", "name"]), ["mass", OTHER, POISSON, "stiffness"]);
    assert_eq!(names(&["--sort", "size"]), ["stiffness", "mass", OTHER, POISSON]);
    assert_eq!(names(&["--sort", "seconds"]), [OTHER, "stiffness", "mass", POISSON]);
    assert_eq!(names(&["--reverse"]), [POISSON, OTHER, "mass", "stiffness"]);
    assert_eq!(lines(&home.shows(&["show", "--signatures"])), ["mass", OTHER, POISSON, "stiffness"]);
    let files = home.shows(&["show", "--files", "--categories", "src,lib"]);
    let files = lines(&files);
    assert_eq!(files.len(), 8);
    assert!(
        files[0].ends_with("src/mass.cpp.gz") && files[4].ends_with("lib/libdijitso-mass.so"),
        "{files:?}"
    );
    assert!(files.iter().all(|file| Path::new(file).is_file()));
    let shown = home.shows(&["show", "--categories", "log"]);
    assert!(shown.contains("log") && !shown.contains("inc"), "{shown}");
}

#[test]
fn show_leaves_out_a_name_that_says_no_more_and_tells_of_leftovers() {
    let home = Home::empty();
    let cache = home.cache();
    cache.publish(&entry("mass", 0, 0)).unwrap();
    cache.store_log("left", b"log").unwrap();
    fs::create_dir(cache.layout().root().join("process-3")).unwrap();
    fs::copy(cache.layout().lib("mass"), cache.layout().lib("foreign")).unwrap();
    let shown = home.shows(&["show"]);
    assert!(!shown.contains("NAME"), "{shown}");
    assert!(shown.contains("1 signature has files but no library, as left"), "{shown}");
    assert!(shown.contains("process-3 show"), "{shown}");
    let foreign = shown.lines().find(|line| line.starts_with("foreign")).unwrap();
    assert!(foreign.ends_with('-'), "no record of its own: {foreign}");
}

#[test]
fn every_subcommand_speaks_json() {
    let home = Home::filled();
    let shown = home.json(&["show", "--json"]);
    assert_eq!(shown["entries"].as_array().unwrap().len(), 4);
    assert_eq!(shown["entries"][0]["signature"], "stiffness");
    assert_eq!(shown["entries"][0]["compiler"], "gcc version 12.2.0 (Debian 12.2.0-14)");
    assert_eq!(shown["categories"]["inc"]["files"], 4);
    assert_eq!(shown["total"]["files"], 17);
    assert_eq!(home.json(&["--json", "version"])["version"], dijitso::VERSION);
    let config = home.json(&["--json", "config"]);
    assert_eq!(config["build.cxxflags"]["value"][0], "-Wall");
    assert_eq!(config["build.cxxflags"]["origin"], "default");
    assert_eq!(home.json(&["config", "--key", "parallel.buildon", "--json"])["value"], "node");
    let grep = home.json(&["grep", "--pattern", "a.b", "--json"]);
    assert_eq!(grep["files"][0]["matches"][0]["line"], 2);
    assert_eq!(grep["files"][0]["count"], 2);
    let functions = home.json(&["grepfunction", "--name", "evaluate", "--json"]);
    assert_eq!(functions["functions"][0]["name"], "dolfin::Mass::evaluate");
    assert_eq!(functions["functions"][0]["line"], 5);
    let checkout = home.json(&["checkout", "--signature", "mass", "--json"]);
    assert_eq!(checkout["checkouts"][0]["dir"], "jitcheckout-mass");
    let clean = home.json(&["clean", "--json", "-n"]);
    assert_eq!(clean["removed"].as_array().unwrap().len(), 16);
    assert_eq!(home.json(&["clean", "--json", "--yes"])["dry_run"], false);
    assert_eq!(home.files(), 0);
}

/// Defect C5 of the original: `-n` and `-v` took the next word, so that `-n clean` was an error and `-n False` dry.
#[test]
fn c5_flags_are_flags_before_and_after_the_subcommand() {
    let home = Home::filled();
    for arguments in
        [&["-n", "clean"][..], &["clean", "-n"], &["-nvv", "clean"], &["clean", "--dry-run", "--yes"]]
    {
        let shown = home.shows(arguments);
        assert_eq!(shown.matches("would remove /").count(), 16, "{shown}");
        assert!(lines(&shown).last().unwrap().contains("16 files"), "{shown}");
        assert_eq!(home.files(), 16);
    }
    assert_eq!(home.fails(&["-n", "False", "clean"]).0, 2);
}

/// Defects C6 and W1 of the original: `-r OTHER clean` wiped the default cache, and nobody was asked.
#[test]
fn c6_w1_clean_asks_and_touches_the_cache_that_was_named() {
    let (home, other) = (Home::filled(), Home::filled());
    let (code, complaint) = home.fails(&["clean"]);
    assert_eq!((code, complaint.contains("--yes")), (2, true), "{complaint}");
    assert_eq!(home.files(), 16);
    let named = other.cache().layout().root().to_str().unwrap().to_owned();
    let shown = home.shows(&["-r", &named, "clean", "--yes"]);
    assert!(shown.starts_with("16 files (") && shown.trim_end().ends_with(&named), "{shown}");
    assert_eq!((home.files(), other.files()), (16, 0));
    assert_eq!(home.shows(&["clean", "-y", "-r", &named]), format!("0 files (0 B) removed from {named}\n"));
    let (code, complaint) = home.fails(&["-r", "/nonexistent/cache", "clean", "--yes"]);
    assert_eq!((code, complaint.contains("/nonexistent/cache")), (3, true), "{complaint}");
    assert_eq!(home.files(), 16);
}

#[test]
fn clean_takes_an_answer_on_a_terminal() {
    let home = Home::filled();
    for refusal in ["n\n", "\n", "nonsense\n"] {
        let (shown, _) = home.on_terminal("clean", refusal, &[]);
        assert!(shown.contains("Remove 16 files") && shown.contains("[y/N]"), "{shown}");
        assert_eq!(home.files(), 16);
    }
    let (shown, success) = home.on_terminal("clean", "yes\n", &[]);
    assert!(success && shown.contains("16 files ("), "{shown}");
    assert_eq!(home.files(), 0);
}

#[test]
fn clean_removes_categories_signatures_and_nothing_that_is_not_ours() {
    let home = Home::filled();
    let lib = home.cache().layout().dir(Category::Lib);
    fs::write(lib.join("libdijitso-mass.so.old"), "x").unwrap();
    home.shows(&["clean", "--categories", "log,src", "--yes"]);
    assert_eq!(home.files(), 8);
    let shown = home.shows(&["clean", "--signature", "stiff", "--signature", "mass", "-v", "-y"]);
    assert_eq!(lines(&shown).len(), 5, "{shown}");
    assert_eq!(lines(&home.shows(&["show", "--signatures"])), [OTHER, POISSON]);
    home.shows(&["clean", "--yes"]);
    assert!(lib.join("libdijitso-mass.so.old").exists());
    // What ranks have for themselves is left, and that is said.
    fs::create_dir(home.cache().layout().root().join("process-0")).unwrap();
    let output = home.run(&["clean", "--yes"]);
    assert!(text(&output.stderr).contains("process-0 clean"), "{}", text(&output.stderr));
}

/// Defect C10 of the original: without --regexmode a pattern was a regular expression all the same.
#[test]
fn c10_patterns_are_literal_unless_regexmode_is_on() {
    let home = Home::filled();
    let shown = home.shows(&["grep", "--pattern", "a.b", "--linenumbers"]);
    let path = home.cache().layout().src("mass", true);
    let expected = format!(
        "File '{}' matches:\n    2:\t// a.b {{\n    7:\t      const char *text = \"}} a.b\"; if (x > 0) {{ return x; }} else {{\n",
        path.display()
    );
    assert_eq!(shown, expected);
    let shown = home.shows(&["grep", "--pattern", "a.b", "--countonly", "--regexmode"]);
    assert_eq!(shown, format!("{}: 3\n", path.display()));
    let shown = home.shows(&["grep", "--pattern", r"^\s+return \w+;", "--regexmode"]);
    assert_eq!(lines(&shown)[1..], ["\t        return axb; }"]);
    assert_eq!(home.fails(&["grep", "--pattern", "(", "--regexmode"]).0, 2);
    assert!(home.shows(&["grep", "--pattern", "(x > 0)"]).contains("if (x > 0)"));
    assert_eq!(home.fails(&["grep", "--pattern", "(x < 0)"]), (1, String::new()));
    // A pattern may look like an option.
    assert_eq!(home.fails(&["grep", "--pattern", "--json"]), (1, String::new()));
}

#[test]
fn grep_searches_the_categories_and_signatures_it_is_told() {
    let home = Home::filled();
    let files = |arguments: &[&str]| {
        home.shows(&[&["grep", "--filesonly", "--pattern", "create"], arguments].concat())
    };
    assert_eq!(lines(&files(&[])).len(), 8);
    assert_eq!(lines(&files(&["--categories", "inc"])).len(), 4);
    assert_eq!(lines(&files(&["--signature", "mass"])).len(), 2);
    assert_eq!(lines(&files(&["--signature", "mass", "--signature", "stiff"])).len(), 4);
    let counts = home.shows(&["grep", "--countonly", "--signature", "mass"]);
    assert!(counts.contains("mass.h: 1\n") && counts.contains("mass.cpp.gz: 12\n"), "{counts}");
    assert_eq!(home.fails(&["grep", "--pattern", "create", "--categories", "log"]), (1, String::new()));
    assert_eq!(lines(&files(&["--signature", "poisson"])).len(), 4);
    let (code, complaint) = home.fails(&["grep", "--signature", "poisson_"]);
    assert!(code == 3 && complaint.contains(OTHER) && complaint.contains(POISSON), "{complaint}");
    let (code, complaint) = home.fails(&["grep", "--signature", "mas5"]);
    assert!(code == 3 && complaint.contains("did you mean mass?"), "{complaint}");
    let (code, complaint) = home.fails(&["grep", "--categories", "inc,sources"]);
    assert!(code == 2 && complaint.contains("did you mean \"src\"?"), "{complaint}");
}

#[test]
fn grep_in_libraries_searches_what_they_need() {
    let home = Home::filled();
    fs::copy("/proc/self/exe", home.cache().layout().lib("real")).unwrap();
    let shown = home.shows(&["grep", "--categories", "lib", "--pattern", "libc.so", "--signature", "real"]);
    assert!(shown.contains("\tlibc.so.6 => /"), "{shown}");
}

/// Defect C9 of the original: bodies were cut, joined to one line, and numbered from 0.
#[test]
fn c9_functions_come_out_as_they_are_in_the_source() {
    let home = Home::filled();
    let path = home.cache().layout().src("mass", true);
    let shown = home.shows(&["grepfunction", "--name", "evaluate"]);
    let body: Vec<&str> = SOURCE.lines().skip(4).take(5).collect();
    assert_eq!(shown, format!("{}:5\n{}\n", path.display(), body.join("\n")));
    let shown = home.shows(&["grepfunction", "--name", "Mass::evaluate", "--no-body"]);
    assert_eq!(
        shown,
        format!("File '{}' matches:\n    5: double evaluate(double x) const\n", path.display())
    );
    let shown = home.shows(&["grepfunction", "--signature", "mass", "--no-body"]);
    assert_eq!(lines(&shown)[2], "   12: extern \"C\" int create_mass()");
    let shown =
        home.shows(&["grepfunction", "--name", "create_mass", "--categories", "inc,src,lib", "--no-body"]);
    assert!(shown.contains("    1: int create_mass();"), "{shown}");
    // A regular expression is no name.
    assert_eq!(home.fails(&["grepfunction", "--name", "eval.*"]).0, 1);
    let (code, complaint) = home.fails(&["grepfunction", "--name", "evalute"]);
    assert!(code == 1 && complaint.contains("dolfin::Mass::evaluate"), "{complaint}");
}

/// Defect C7 of the original: without a signature a traceback, with an unknown one an empty directory and success.
#[test]
fn c7_checkout_copies_or_says_why_not() {
    let home = Home::filled();
    let here = home.dir.path();
    assert_eq!(home.fails(&["checkout"]).0, 2);
    let (code, complaint) = home.fails(&["checkout", "--signature", "unknown"]);
    assert!(code == 3 && complaint.contains("did you mean"), "{complaint}");
    let shown = home.shows(&["checkout", "--signature", "mass", "-n"]);
    assert!(shown.contains("would"), "{shown}");
    assert_eq!(fs::read_dir(here).unwrap().count(), 1, "nothing but the cache");
    let shown = home.shows(&["checkout", "--signature", "mass", "--signature", "poisson_98"]);
    let out = here.join("jitcheckout-mass");
    assert!(
        shown.starts_with("jitcheckout-mass\n    mass.h\n    mass.cpp\n    libdijitso-mass.so\n"),
        "{shown}"
    );
    assert_eq!(fs::read_to_string(out.join("mass.cpp")).unwrap(), SOURCE);
    assert_eq!(fs::read_dir(here.join(format!("jitcheckout-{POISSON}"))).unwrap().count(), 4);
    fs::write(out.join("mass.cpp"), "mine").unwrap();
    let (code, complaint) = home.fails(&["checkout", "--signature", "stiffness", "--signature", "mass"]);
    assert!(code == 3 && complaint.contains("--force"), "{complaint}");
    assert!(!here.join("jitcheckout-stiffness").exists(), "all or nothing");
    assert_eq!(fs::read_to_string(out.join("mass.cpp")).unwrap(), "mine");
    home.shows(&["checkout", "--signature", "mass", "--force", "--categories", "src"]);
    assert_eq!(fs::read_to_string(out.join("mass.cpp")).unwrap(), SOURCE);
    home.shows(&["clean", "--categories", "log", "--yes"]);
    let (code, complaint) = home.fails(&["checkout", "--signature", "stiffness", "--categories", "log"]);
    assert!(code == 3 && complaint.contains("has no files of these categories: log"), "{complaint}");
}

#[test]
fn a_reader_that_goes_away_has_seen_enough() {
    let home = Home::filled();
    let cache = home.cache();
    cache.store_header("long", "create line\n".repeat(100_000).as_bytes()).unwrap();
    for arguments in [&["grep", "--pattern", "line"][..], &["--json", "grep", "--pattern", "line"]] {
        let mut child =
            home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
    // A disk that is full is something else.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = home.command(&["show"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cannot write the output"), "{}", text(&output.stderr));
}

#[test]
fn colours_are_on_terminals_only_and_as_told() {
    const ESCAPE: &str = "\u{1b}[";
    let home = Home::filled();
    assert!(!home.shows(&["show"]).contains(ESCAPE));
    assert!(home.shows(&["show", "--color", "always"]).contains(ESCAPE));
    assert!(
        home.shows(&["--color=always", "grep", "--pattern", "a.b"])
            .contains("\u{1b}[1m\u{1b}[31ma.b\u{1b}[0m")
    );
    assert!(!home.shows(&["show", "--color", "always", "--json"]).contains(ESCAPE));
    assert!(home.on_terminal("show", "", &[]).0.contains(ESCAPE));
    assert!(!home.on_terminal("show", "", &[("NO_COLOR", "1")]).0.contains(ESCAPE));
    assert!(!home.on_terminal("show --color never", "", &[]).0.contains(ESCAPE));
    assert!(!home.on_terminal("--color never help show", "", &[]).0.contains(ESCAPE));
}

#[test]
fn completions_and_manual_pages_know_all_subcommands() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.shows(&["completions", shell]);
        for word in ["grepfunction", "regexmode", "cache-dir"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    home.shows(&["man", "pages"]);
    let pages = home.dir.path().join("pages");
    for page in ["dijitso.1", "dijitso-show.1", "dijitso-grepfunction.1", "dijitso-clean.1"] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    assert!(fs::read_to_string(pages.join("dijitso.1")).unwrap().contains("Exit codes"));
}

#[test]
fn exit_codes_are_in_the_help() {
    let home = Home::empty();
    let help = home.shows(&["--help"]);
    for code in ["0  done", "1  grep", "2  the command line", "3  an error"] {
        assert!(help.contains(code), "{help}");
    }
    // A cache that is not there yet is empty; one that was named is a mistake.
    assert!(home.shows(&["show"]).contains("0 entries"));
    assert_eq!(home.fails(&["show", "-r", "nowhere"]).0, 3);
    assert_eq!(home.fails(&["grep"]), (1, String::new()));
}

#[test]
fn files_that_others_can_have_written_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::filled();
    let header = home.cache().layout().inc("mass");
    fs::set_permissions(&header, fs::Permissions::from_mode(0o666)).unwrap();
    let output = home.run(&["grep", "--pattern", "create"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("mass.h is refused"), "{}", text(&output.stderr));
    let copied = home.cache().extract("mass", &[Category::Inc], Path::new("/nonexistent"), Existing::Keep);
    assert!(copied.is_err());
}

/// Entries as a large project has them, written without waiting for the disk.
fn many(home: &Home, number: usize) -> Vec<PathBuf> {
    let cache = home.cache();
    cache.ensure_dirs().unwrap();
    let layout = cache.layout();
    let mut written = Vec::new();
    for at in 0..number {
        let signature = format!("form{}_{at:032x}", at % 100);
        let files = entry(&signature, at, 20);
        let source = format!("// {signature}\n{}", SOURCE.repeat(5));
        fs::write(layout.lib(&signature), &files.library).unwrap();
        fs::write(layout.inc(&signature), files.header.unwrap()).unwrap();
        fs::write(layout.log(&signature), files.log.unwrap()).unwrap();
        fs::write(layout.src(&signature, true), dijitso::fsutil::gzip(source.as_bytes())).unwrap();
        written.push(layout.lib(&signature));
    }
    written
}

#[test]
fn ten_thousand_entries_are_shown_and_searched() {
    use std::os::unix::fs::PermissionsExt;
    const NUMBER: usize = 10_000;
    // In memory where there is such a place: it is not the disk that is looked at here.
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |facts| facts.f_bavail * facts.f_frsize);
    let home =
        if room > 1 << 30 { Home { dir: tempfile::tempdir_in(memory).unwrap() } } else { Home::empty() };
    let libraries = many(&home, NUMBER);
    assert_eq!(fs::metadata(&libraries[0]).unwrap().permissions().mode() & 0o022, 0, "umask 022 or stricter");
    let timed = |arguments: &[&str]| {
        let begin = Instant::now();
        let shown = home.shows(arguments);
        let took = begin.elapsed().as_secs_f64();
        let _ = writeln!(std::io::stderr(), "{NUMBER} entries: {took:.2} s  dijitso {}", arguments.join(" "));
        shown
    };
    let shown = timed(&["show"]);
    assert_eq!(shown.matches("gcc 12.2.0").count(), NUMBER);
    assert!(shown.contains("10000 entries"));
    assert_eq!(lines(&timed(&["show", "--signatures"])).len(), NUMBER);
    assert_eq!(lines(&timed(&["show", "--files"])).len(), 4 * NUMBER);
    let json: Json = serde_json::from_str(&timed(&["show", "--json"])).unwrap();
    assert_eq!(json["entries"].as_array().unwrap().len(), NUMBER);
    let literal = timed(&["grep", "--pattern", "a.b", "--countonly"]);
    assert_eq!((lines(&literal).len(), lines(&literal)[0].ends_with(": 10")), (NUMBER, true));
    timed(&["grep", "--pattern", "return [a-z]+;", "--regexmode", "--filesonly"]);
    let functions = timed(&["grepfunction", "--name", "evaluate", "--no-body"]);
    assert_eq!(functions.matches("double evaluate").count(), 5 * NUMBER);
    let removed = timed(&["clean", "--yes"]);
    assert!(removed.starts_with("40000 files"), "{removed}");
    assert_eq!(home.files(), 0);
}

/// A cache with something of each kind, and something that is not from here.
fn with_all_kinds() -> Home {
    let home = Home::filled();
    let cache = home.cache();
    let root = cache.layout().root().to_owned();
    let write = |name: &str, size: usize| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; size]).unwrap();
    };
    let pch = "pch/0123456789abcdef0123456789abcdef";
    for (name, size) in [("preamble.h", 100), ("preamble.h.gch", 300_000), ("record", 5000)] {
        write(&format!("{pch}/{name}"), size);
    }
    write("pch/.lock", 0);
    write("jitfailure-mass/recompile.sh", 9000);
    write("jitfailure-mass/include/mass.h", 10);
    write("quarantine/libdijitso-mass.so", 20_000);
    let me = ProcessId::current();
    let dead = ProcessId { start: me.start + 1, ..me };
    write(&format!("tmp/dijitso-{}-x/mass.cpp", dead.tag()), 7000);
    write("lease/mass", 10);
    write("toolchain/0123", 500);
    write("failed/gone_0123", 500);
    write("atime/mass", 0);
    write("stats/host~boot.jsonl", 100);
    write("gc/host~boot", 0);
    write("process-0/lib/libdijitso-mass.so", 40_000);
    write("notes of somebody.txt", 12_000);
    fs::hard_link(root.join("quarantine/libdijitso-mass.so"), root.join("quarantine/libdijitso-other.so"))
        .unwrap();
    home
}

const AUXILIARY: [&str; 6] = ["pch", "failures", "quarantine", "staging", "leases", "notes"];

fn du(home: &Home) -> u64 {
    let root = home.cache().layout().root().to_owned();
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(root).output().unwrap();
    text(&output.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

/// Once `du` showed 150 MB of which these saw 1 MB.
#[test]
fn e19_the_rows_of_show_and_stats_add_up_to_what_du_tells() {
    let home = with_all_kinds();
    let number = |json: &Json| json["allocated"].as_u64().unwrap();
    for (command, total) in [("show", "/total"), ("stats", "/categories/total")] {
        let json = home.json(&[command, "--json"]);
        let rows = json["categories"].as_object().unwrap();
        for name in AUXILIARY.into_iter().chain(["inc", "src", "lib", "log", "ranks", "other"]) {
            assert!(rows[name]["allocated"].is_u64(), "{command}: {name}: {rows:?}");
        }
        for name in ["pch", "failures", "quarantine", "staging", "leases", "notes", "lib", "ranks", "other"] {
            assert!(number(&rows[name]) > 0, "{command}: {name}: {rows:?}");
        }
        let sum: u64 = rows.iter().filter(|(name, _)| *name != "total").map(|(_, row)| number(row)).sum();
        assert_eq!(sum, du(&home), "{command}: {rows:?}");
        assert_eq!(json.pointer(total).map(number), Some(sum), "{command}");
        let shown = home.shows(&[command]);
        for name in AUXILIARY.into_iter().chain(["ranks", "other", "total"]) {
            assert!(lines(&shown).iter().any(|line| line.starts_with(name)), "{command}: {name}: {shown}");
        }
    }
    let pch = home.json(&["show", "--json", "--categories", "pch"]);
    assert_eq!(pch["categories"].as_object().unwrap().len(), 1);
    assert_eq!((pch["total"]["files"].as_u64(), pch["total"]["bytes"].as_u64()), (Some(4), Some(305_100)));
    let empty = Home::empty();
    assert_eq!(number(&empty.json(&["stats", "--json"])["categories"]["total"]), 0);
}

#[test]
fn e19_clean_takes_all_that_is_ours() {
    let home = with_all_kinds();
    let root = home.cache().layout().root().to_owned();
    let row = |name: &str| home.json(&["show", "--json"])["categories"][name]["files"].as_u64().unwrap();
    // What it says of the caches of single ranks is said elsewhere.
    let clean = |categories: &str| {
        assert!(home.run(&["clean", "--yes", "--categories", categories]).status.success(), "{categories}");
    };
    clean("pch,failures");
    assert_eq!((home.files(), row("failures"), row("quarantine")), (16, 0, 1), "two names of one file");
    assert_eq!(row("pch"), 1, "the file that is locked while one is made");
    clean("inc,src,lib,log");
    assert_eq!((home.files(), row("quarantine"), row("staging")), (0, 1, 1));
    let json = |arguments: &[&str]| -> Json { serde_json::from_slice(&home.run(arguments).stdout).unwrap() };
    let planned = json(&["clean", "-n", "--json"]);
    let done = json(&["clean", "--yes", "--json"]);
    assert_eq!((&done["removed"], &done["bytes"]), (&planned["removed"], &planned["bytes"]));
    for name in ["failures", "quarantine", "staging", "leases", "notes"] {
        assert_eq!(row(name), 0, "{name}");
    }
    assert!(root.join("notes of somebody.txt").is_file() && root.join("process-0/lib").is_dir());
    let (code, complaint) = home.fails(&["clean", "--categories", "phc"]);
    assert!(code == 2 && complaint.contains("did you mean \"pch\"?"), "{complaint}");
}
