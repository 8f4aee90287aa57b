//! The command at a terminal: columns, what is being built now, progress, completion.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::Arc;

use dijitso::cache::lease::{self, Acquire, Lease};
use dijitso::cache::stats::Event;

use super::absent::{has_program, skip};
use super::{Home, OTHER, POISSON, lines, text};

/// Runs the command on a terminal with these columns. Returns the lines that it shows.
fn on_columns(home: &Home, columns: usize, arguments: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_dijitso");
    let (shown, succeeds) = home.on_terminal(
        &format!("--version >/dev/null; stty cols {columns}; {program} {arguments}"),
        "",
        &[("NO_COLOR", "1")],
    );
    assert!(succeeds, "{shown}");
    shown.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

fn hold(home: &Home, signature: &str) -> Lease {
    let cache = home.cache();
    let tree = Arc::new(cache.open_or_make().unwrap());
    match lease::try_take(&tree, &cache.layout().lease(signature)) {
        Some(Acquire::Acquired(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn show_and_stats_fit_the_terminal_and_use_its_width() {
    if !has_program("script") {
        return skip("script is not installed");
    }
    let long = format!("hyperelasticity_with_a_very_long_name_{}", "0123456789abcdef".repeat(2));
    let home = Home::with(&[POISSON, OTHER, "mass", &long], "log");
    home.cache().count(Event::Build, POISSON, 2000, 0);
    for columns in [80, 100] {
        for command in ["show", "stats", "ps"] {
            let shown = on_columns(&home, columns, command);
            let widest = shown.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns, "{command} on {columns}: {shown:#?}");
        }
    }
    let narrow = on_columns(&home, 80, "show poisson").join("\n");
    assert!(narrow.contains("poisson_9871e9593e2a"), "{narrow}");
    let long_name = on_columns(&home, 80, "show hyper*").join("\n");
    assert!(long_name.contains("hyperelasticity_with_a_very_long_name_01234"), "{long_name}");
    let wide = on_columns(&home, 200, "show").join("\n");
    assert!(wide.contains(&long) && wide.contains(POISSON) && !wide.contains("..."), "{wide}");
    // What is shown of a signature selects it.
    assert!(home.shows(&["show", "hyperelasticity_with_a_very_long_name_01"]).contains(&long));
    assert!(home.shows(&["show"]).contains(&long), "programs read whole signatures");
}

#[test]
fn ps_tells_what_is_built_now_and_by_whom() {
    let home = Home::empty();
    assert!(home.shows(&["ps"]).ends_with(": nothing is being built\n"));
    assert_eq!(home.json(&["ps", "--json"])["builds"], serde_json::json!([]));
    let held = [hold(&home, POISSON), hold(&home, "mass")];
    std::fs::write(home.cache().layout().lease("left"), "{}").unwrap();
    let pid = std::process::id().to_string();
    let shown = home.shows(&["ps"]);
    let all = lines(&shown);
    assert!(all[0].ends_with(": 2 builds"), "{shown}");
    for word in ["NAME", "SINCE", "USER", "PID", "RANK", "HOST", "STATE", "PROGRAM"] {
        assert!(all[1].contains(word), "{shown}");
    }
    for name in ["poisson", "mass"] {
        let row = all.iter().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert!(words.contains(&pid.as_str()) && words.contains(&"running"), "{shown}");
        assert!(words.contains(&dijitso::host_name().as_str()), "{shown}");
    }
    assert!(all.last().unwrap().starts_with("1 lease was left by programs that have ended"), "{shown}");
    let json = home.json(&["ps", "--json", "pois*"]);
    let builds = json["builds"].as_array().unwrap();
    assert_eq!(builds.len(), 1);
    assert_eq!((&builds[0]["signature"], &builds[0]["state"]), (&POISSON.into(), &"running".into()));
    assert_eq!(builds[0]["pid"].to_string(), pid);
    assert!(builds[0]["program"].as_str().unwrap().starts_with("cli") && builds[0]["seconds"].is_u64());
    drop(held);
    assert!(home.shows(&["ps"]).contains("nothing is being built"));
}

#[test]
fn ps_watches_until_it_is_ended() {
    let home = Home::empty();
    let held = hold(&home, "mass");
    let mut child = Command::new("timeout")
        .args(["30", env!("CARGO_BIN_EXE_dijitso"), "ps", "--watch=0.1"])
        .current_dir(home.dir.path())
        .env("HOME", home.dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(output.any(|line| line.starts_with("mass")));
    assert!(output.any(|line| line.starts_with("mass")), "again");
    drop(held);
    assert!(output.any(|line| line.ends_with("nothing is being built")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn stats_have_the_hit_rate_and_the_limits() {
    let home = Home::with(&["a", "b"], "log");
    let cache = home.cache();
    cache.count(Event::Build, "a", 2000, 0);
    cache.count(Event::Hit, "a", 2000, 6);
    let shown = home.run(&["stats"]);
    let shown = text(&shown.stdout);
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
        line.trim_start()[name.len()..].split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!((row("calls"), row("hits")), ("8 100.0 %".to_owned(), "7 87.5 %".to_owned()), "{shown}");
    assert_eq!((row("in memory"), row("misses")), ("6 75.0 %".to_owned(), "1 12.5 %".to_owned()), "{shown}");
    assert!(row("size").ends_with("no limit") && row("unused for") == "no limit", "{shown}");
    let total = &home.json(&["stats", "--json"])["total"];
    assert_eq!((&total["calls"], &total["hit_rate"]), (&8.into(), &0.875.into()));
    std::fs::write(home.at(".dijitso.conf"), "[cache]\nmax_size = 1G\nmax_age = 7776000\n").unwrap();
    let limited = home.shows(&["stats"]);
    assert!(limited.contains(" of 1.0 GiB (0.0 %)") && limited.contains("90 d"), "{limited}");
    let limits = home.json(&["stats", "--json"]);
    assert_eq!(limits["limits"]["max_size"], 1 << 30);
}

#[test]
fn gc_takes_the_same_selectors() {
    let home = Home::with(&[POISSON, OTHER, "mass"], "log");
    let removed = |arguments: &[&str]| {
        let all = [&["gc", "-n", "--max-size", "0", "--min-idle", "0", "--json"], arguments].concat();
        let json = home.json(&all);
        let mut found: Vec<String> = json["removed"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|removed| Some(removed["signature"].as_str()?.to_owned()))
            .collect();
        found.sort();
        found
    };
    assert_eq!(removed(&[]), ["mass", OTHER, POISSON]);
    assert_eq!(removed(&["poisson"]), [OTHER, POISSON]);
    assert_eq!(removed(&["poisson_98", "m*"]), ["mass", POISSON]);
    let (code, complaint) = home.fails(&["gc", "--max-size", "0", "poisson_"]);
    assert!(code == 3 && complaint.contains("is the beginning of 2 signatures"), "{complaint}");
    let (code, complaint) = home.fails(&["gc", "--max-size", "0", "nothing"]);
    assert!(code == 3 && complaint.contains("did you mean"), "{complaint}");
    home.run(&["gc", "--max-size", "0", "--min-idle", "0", "mass"]);
    assert_eq!(lines(&home.shows(&["show", "--signatures"])), [OTHER, POISSON]);
}

/// Asks as the scripts of shells do, and returns the words.
fn completed(home: &Home, words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let mut command = home.command(&[&["--"], words].concat());
    command.env("_DIJITSO_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn shells_complete_entries_and_keys() {
    let home = Home::with(&[POISSON, OTHER, "mass"], "log");
    for command in ["show", "clean", "checkout", "grep", "grepfunction", "check", "export", "gc", "why", "ps"]
    {
        assert_eq!(completed(&home, &["dijitso", command, "poisson_9"]), [POISSON], "{command}");
        assert_eq!(completed(&home, &["dijitso", command, "po"]), ["poisson", OTHER, POISSON], "{command}");
    }
    let names = completed(&home, &["dijitso", "show", ""]);
    assert!(names.contains(&"mass".to_owned()) && !names.contains(&POISSON.to_owned()), "{names:?}");
    assert_eq!(completed(&home, &["dijitso", "grepf"]), ["grepfunction"]);
    assert_eq!(completed(&home, &["dijitso", "config", "--key", "cache.max_s"]), ["cache.max_size"]);
    assert_eq!(
        completed(&home, &["dijitso", "why", "x", "--param", "build.cxxflags_o"]),
        ["build.cxxflags_opt="]
    );
    assert_eq!(completed(&home, &["dijitso", "show", "--categories", "src,li"]), ["src,lib"]);
    let other = Home::with(&["stiffness"], "log");
    let root = other.cache().layout().root().display().to_string();
    assert_eq!(completed(&home, &["dijitso", "-r", &root, "show", "sti"]), ["stiffness"]);
    assert_eq!(completed(&home, &["dijitso", "-r", "/nonexistent", "show", "sti"]), [] as [&str; 0]);
}

/// The scripts, in the shells that are here.
#[test]
fn scripts_of_shells_complete_signatures() {
    let home = Home::with(&[POISSON, "mass"], "log");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_dijitso")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let bash = "source <(dijitso completions bash); COMP_WORDS=(dijitso show poisson_); COMP_CWORD=2; \
                COMP_TYPE=9; _clap_complete_dijitso dijitso poisson_ show; printf '%s\\n' \"${COMPREPLY[@]}\"";
    // zsh completes on a terminal only: its script is read, not run.
    let shells = [
        ("bash", bash, Some(POISSON)),
        ("fish", "dijitso completions fish | source; complete -C 'dijitso show poisson_'", Some(POISSON)),
        ("zsh", "dijitso completions zsh >script && zsh -n script", None),
    ];
    for (shell, script, expected) in shells {
        if !has_program(shell) {
            skip(&format!("{shell} is not installed"));
            continue;
        }
        let output = Command::new("timeout")
            .args(["30", shell, "-c", script])
            .current_dir(home.dir.path())
            .env("HOME", home.dir.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
        let shown = text(&output.stdout);
        assert!(expected.is_none_or(|expected| shown.contains(expected)), "{shell}: {output:?}");
    }
}

#[test]
fn exports_and_imports_show_a_bar_on_terminals_only() {
    if !has_program("script") {
        return skip("script is not installed");
    }
    let signatures: Vec<String> = (0..600).map(|number| format!("form_{number}")).collect();
    let home = Home::with(&signatures.iter().map(String::as_str).collect::<Vec<_>>(), "log");
    let (shown, succeeds) = home.on_terminal("export --all -o bundle", "", &[]);
    assert!(succeeds && shown.contains("600 entries"), "{shown}");
    let (imported, succeeds) = home.on_terminal("-r new import bundle", "", &[]);
    assert!(succeeds && imported.contains("600 new"), "{imported}");
    // Quick machines need less than the bar waits for; what it shows is right in any case.
    for (shown, words) in [(&shown, ["checking", "writing"]), (&imported, ["checking", "importing"])] {
        if shown.contains("/600") {
            assert!(words.iter().any(|word| shown.contains(word)), "{shown}");
        }
    }
    let quiet = home.run(&["export", "--all", "-o", "again"]);
    assert_eq!(text(&quiet.stderr), "");
}
