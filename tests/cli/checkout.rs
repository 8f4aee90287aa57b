//! `dijitso checkout`.

use std::fs;

use super::{Home, POISSON, SOURCE};

/// Defect C7 of the original: without a signature a traceback, with an unknown one an empty directory and
/// success.
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
