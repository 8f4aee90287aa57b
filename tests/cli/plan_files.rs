//! Plans of what a cache holds, and of what a program uses.

use std::path::Path;

use dijitso::plan::file::read_plan;

use super::{Home, OTHER, POISSON, ended, text};

fn labels(path: &Path) -> Vec<String> {
    read_plan(path).unwrap().nodes.into_iter().map(|node| node.label).collect()
}

#[test]
fn a_plan_of_the_cache_has_the_entries_that_were_named() {
    let home = Home::filled();
    let said = home.shows(&["plan", "from-cache", "-o", "all.toml"]);
    assert_eq!(said, "4 modules written to all.toml\n");
    assert_eq!(labels(&home.at("all.toml")), ["mass", OTHER, POISSON, "stiffness"]);
    let shown = home.shows(&["plan", "from-cache", "poisson"]);
    std::fs::write(home.at("some.toml"), shown).unwrap();
    assert_eq!(labels(&home.at("some.toml")), [OTHER, POISSON]);
    let json = home.json(&["plan", "from-cache", "--json", "-n", "-o", "none.toml", "st*"]);
    assert_eq!((&json["modules"][0], &json["dry_run"]), (&"stiffness".into(), &true.into()));
    assert!(!home.at("none.toml").exists());
    let (code, said) = home.fails(&["plan", "from-cache", "poison"]);
    assert!(code == 3 && said.contains("did you mean"), "{said}");
    home.shows(&["plan", "from-cache", "--embed", "-o", "all.toml", "mass"]);
    assert!(std::fs::read_to_string(home.at("all.toml")).unwrap().contains("namespace dolfin {"));
}

#[test]
fn a_recorded_command_gets_the_file_and_keeps_its_exit_code() {
    let home = Home::empty();
    let script = "printf '%s %s' \"$DIJITSO_RECORD\" \"$1\"; exit 7";
    let command = ["plan", "record", "-o", "my plan.toml", "--", "sh", "-c", script, "sh", "-n"];
    let output = ended(home.command(&command).spawn().unwrap());
    let file = home.dir.path().canonicalize().unwrap().join("my plan.toml");
    assert_eq!(text(&output.stdout), format!("{} -n", file.display()));
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(7), ""));
    let shown = home.shows(&["-n", "plan", "record", "-o", "p.toml", "mpiexec", "-n", "4", "./a b"]);
    assert!(
        shown.starts_with("DIJITSO_RECORD=/") && shown.ends_with("/p.toml mpiexec -n 4 './a b'\n"),
        "{shown}"
    );
    assert_eq!(home.fails(&["plan", "record", "-o", "p.toml", "--", "./no-such-program"]).0, 2);
    assert_eq!(home.fails(&["plan", "record", "-o", "p.toml"]).0, 2);
}

/// In the cache, headers have the names of signatures.
#[test]
fn sources_include_headers_by_the_names_of_their_files() {
    const PLAN: &str = r#"
        [[module]]
        source = "src/base.cpp"
        header = "include/base.h"

        [[task]]
        label = "generate"
        command = ["sh", "-c", "sed s/base/user/ base.h > user.h && cp user.txt user.cpp"]
        inputs = ["user.txt"]
        outputs = ["user.cpp", "user.h"]
        needs = ["header"]

        [[task]]
        label = "header"
        command = "cp include/base.h base.h"
        inputs = ["include/base.h"]
        outputs = ["base.h"]

        [[module]]
        source = "generate:user.cpp"
        header = "generate:user.h"
        needs = ["base"]
        "#;
    let home = Home::empty();
    for (file, contents) in [
        ("plan.toml", PLAN),
        ("include/base.h", "#define base 1\n"),
        ("src/base.cpp", "#include \"base.h\"\nextern \"C\" int first() { return base; }\n"),
        (
            "user.txt",
            "#include \"user.h\"\n#include \"include/base.h\"\nint second() { return user + base; }\n",
        ),
    ] {
        std::fs::create_dir_all(home.at(file).parent().unwrap()).unwrap();
        std::fs::write(home.at(file), contents).unwrap();
    }
    let mut command = home.command(&["make", "plan.toml"]);
    let output = ended(command.env("PATH", std::env::var_os("PATH").unwrap()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn all_mistakes_of_a_plan_are_named() {
    let home = Home::empty();
    std::fs::write(home.at("bad.toml"), "[[module]]\nsource = 'x.cpp'\nneed = 'y'\n").unwrap();
    for command in [&["make", "bad.toml"][..], &["plan", "ls", "bad.toml"]] {
        let (_, said) = home.fails(command);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("dijitso: bad.toml:2: there is no file x.cpp in "), "{said}");
        assert_eq!(lines[1], "dijitso: bad.toml:3: [[module]] has no key \"need\"; did you mean \"needs\"?");
        assert_eq!(lines.len(), 2);
    }
}
