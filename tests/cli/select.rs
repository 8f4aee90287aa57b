//! The words that choose entries.

use super::{Home, code, text};

#[test]
fn every_subcommand_takes_the_same_selectors() {
    const FIRST: &str = "form_00000000000000000000000000000001";
    const SECOND: &str = "form_00000000000000000000000000000002";
    let home = Home::with(&[FIRST, SECOND, "mass"], "log");
    let commands: &[&[&str]] = &[
        &["show"],
        &["grep"],
        &["grepfunction"],
        &["checkout", "-n"],
        &["check"],
        &["clean", "-n"],
        &["export", "-n", "-o", "x", "--json"],
    ];
    for command in commands {
        let run = |words: &[&str]| home.run(&[command, words].concat());
        for (words, expected) in [
            (vec!["form"], [true, true, false]),
            (vec!["f*1"], [true, false, false]),
            (vec!["*m*"], [true, true, true]),
            (vec!["form_0000000000000000000000000000000[2-3]"], [false, true, false]),
            (vec![SECOND], [false, true, false]),
            (vec!["ma", FIRST], [true, false, true]),
        ] {
            let output = run(&words);
            assert_eq!(code(&output), (Some(0), ""), "{command:?} {words:?}");
            let shown = text(&output.stdout);
            if command[0] == "check" {
                let number = expected.iter().filter(|wanted| **wanted).count();
                assert!(shown.contains(&format!(": {number} entr")), "{shown}");
                continue;
            }
            let found = [FIRST, SECOND, "mass"].map(|signature| {
                shown.contains(signature) || signature == "mass" && shown.contains("libdijitso-mass")
            });
            assert_eq!(found, expected, "{command:?} {words:?}: {shown}");
        }
        for (word, reason) in
            [("form_", "\"form_*\" stands for all"), ("x*", "did you mean"), ("", "nothing")]
        {
            let output = run(&[word]);
            assert_eq!(output.status.code(), Some(3), "{command:?} {word:?}");
            assert!(text(&output.stderr).contains(reason), "{command:?}: {}", text(&output.stderr));
        }
        assert_eq!(run(&["[x"]).status.code(), Some(2), "{command:?}");
    }
    // A name is a question about a request; what stands for entries is one about these.
    assert!(
        text(&home.run(&["why", "form"]).stdout).contains("no hit")
            || home.run(&["why", "form"]).status.success()
    );
    let accounts = home.run(&["why", "form_*", "--json"]).stdout;
    let accounts: serde_json::Value = serde_json::from_slice(&accounts).unwrap();
    assert_eq!(accounts.as_array().unwrap().len(), 2);
    assert!(text(&home.run(&["why", "form_*1"]).stdout).contains(FIRST));
}

#[test]
fn an_empty_cache_dir_is_a_mistake() {
    let home = Home::with(&[], "");
    for arguments in [["-r", "", "show"], ["show", "--cache-dir", ""]] {
        let output = home.run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("--cache-dir is empty"), "{}", text(&output.stderr));
    }
}
