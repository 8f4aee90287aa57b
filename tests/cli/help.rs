//! Help, completions and manual pages.

use std::fs;

use super::Home;

#[test]
fn completions_and_manual_pages_know_all_subcommands() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.shows(&["completions", shell]);
        // What follows the name is asked for when it is typed: see the module `terminal`.
        assert!(script.contains("dijitso") && script.contains("_DIJITSO_COMPLETE"), "{shell}: {script}");
    }
    home.shows(&["man", "pages"]);
    let pages = home.dir.path().join("pages");
    for page in
        ["dijitso.1", "dijitso-show.1", "dijitso-grepfunction.1", "dijitso-clean.1", "dijitso-plan-ls.1"]
    {
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
