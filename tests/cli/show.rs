//! `dijitso show`, and the sizes that `show` and `stats` give.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use super::{Home, OTHER, POISSON, entry, lines, text, with_all_kinds};

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
    let first = "stiffness stiffness 4.6 KiB 6 h gcc 12.2.0 2.00";
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
