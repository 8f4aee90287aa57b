//! Results of tasks in `dijitso show`, `stats`, `check`, `gc` and `clean`.

use std::fs;
use std::time::{Duration, SystemTime};

use dijitso::cache::results::{ResultFile, ResultStore, TaskResult};
use serde_json::Value as Json;

use super::Home;

/// A home whose cache has two results, the first of which was last used long ago, and a journal.
fn with_results() -> Home {
    let home = Home::filled();
    let cache = home.cache();
    let store = ResultStore::open_or_make(&cache).unwrap();
    for (signature, name) in [("gmsh_1", "gmsh"), ("ffc_1", "ffc")] {
        let contents = name.repeat(1000).into_bytes();
        let file = ResultFile { name: "out".to_owned(), executable: false, contents };
        store.publish(TaskResult::new(signature, name, vec![file])).unwrap();
    }
    let old = SystemTime::now() - Duration::from_secs(3600 * 24 * 30);
    fs::File::open(cache.layout().result("gmsh_1")).unwrap().set_modified(old).unwrap();
    let journal = cache.layout().plan_journal("plan");
    fs::create_dir_all(journal.parent().unwrap()).unwrap();
    fs::write(journal, "{}\n".repeat(2000)).unwrap();
    home
}

#[test]
fn results_are_listed_and_counted() {
    let home = with_results();
    let json = home.json(&["show", "--json"]);
    let names: Vec<&Json> = json["results"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["ffc", "gmsh"], "the latest use first");
    assert_eq!(json["categories"]["results"]["files"], 2);
    let shown = home.shows(&["show"]);
    assert!(shown.contains("TASK") && shown.contains("gmsh_1") && shown.contains("30 d"), "{shown}");
    assert!(!home.shows(&["show", "mass"]).contains("gmsh"));
    assert!(!home.shows(&["show", "--categories", "src"]).contains("gmsh"));
    assert!(home.shows(&["stats"]).contains("results"));
}

#[test]
fn gc_evicts_results_by_their_last_use() {
    let home = with_results();
    let shown = home.shows(&["gc", "--max-age", "10d", "-v"]);
    assert!(shown.contains("removed 0 entries and 1 result;") && shown.contains("result/gmsh_1"), "{shown}");
    assert_eq!(home.cache().result_signatures(), ["ffc_1"]);
    let json = home.json(&["gc", "--max-size", "0", "--min-idle", "0", "--json"]);
    let kinds: Vec<&Json> = json["removed"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert!(kinds.contains(&&Json::from("result")) && kinds.contains(&&Json::from("other")), "{json:#}");
    assert!(home.cache().result_signatures().is_empty());
}

#[test]
fn check_and_clean_know_results_and_journals() {
    let home = with_results();
    let cache = home.cache();
    let check = |arguments: &[&str]| home.run(&[&["check"], arguments].concat());
    let shown = super::text(&check(&[]).stdout).to_owned();
    assert!(shown.contains("and 2 results checked"), "{shown}");
    fs::write(cache.layout().result("ffc_1"), "dijitso result 1\n").unwrap();
    let shown = check(&[]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(super::text(&shown.stdout).contains("result-altered"));
    assert_eq!(check(&["--repair"]).status.code(), Some(0));
    assert!(cache.layout().quarantined_result("ffc_1").exists());
    assert_eq!(check(&[]).status.code(), Some(0));
    let files = home.files();
    home.shows(&["clean", "--categories", "results", "--yes"]);
    assert!(cache.result_signatures().is_empty() && home.files() == files);
    assert!(cache.layout().plan_journal("plan").exists(), "journals are notes");
    home.shows(&["clean", "--yes"]);
    assert!(
        !cache.layout().plan_journal("plan").exists() && !cache.layout().quarantined_result("ffc_1").exists()
    );
}
