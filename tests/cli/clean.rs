//! `dijitso clean`.

use std::fs;

use dijitso::cache::layout::Category;
use serde_json::Value as Json;

use super::{Home, OTHER, POISSON, lines, text, with_all_kinds};

/// Defect C5 of the original: `-n` and `-v` took the next word, so that `-n clean` was an error and `-n
/// False` dry.
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

/// Defects C6 and W1 of the original: `-r OTHER clean` wiped the default cache, without a question.
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
