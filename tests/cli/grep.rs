//! `dijitso grep` and `dijitso grepfunction`.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dijitso::cache::catalog::Existing;
use dijitso::cache::layout::Category;
use dijitso::fsutil;

use super::{Home, OTHER, POISSON, SOURCE, code, lines, text};
use crate::entries;
use crate::entries::Contents;
use crate::sample::sample;

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

#[test]
fn files_that_others_can_have_written_are_refused() {
    let home = Home::filled();
    let header = home.cache().layout().inc("mass");
    fs::set_permissions(&header, fs::Permissions::from_mode(0o666)).unwrap();
    let output = home.run(&["grep", "--pattern", "create"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("mass.h is refused"), "{}", text(&output.stderr));
    let copied = home.cache().extract("mass", &[Category::Inc], Path::new("/nonexistent"), Existing::Keep);
    assert!(copied.is_err());
}

#[test]
fn a_source_that_is_not_the_recorded_one_is_reported_as_damaged() {
    let home = Home::with(&["a", "b"], "log");
    let cache = home.cache();
    // As a build would record it.
    let contents = |source: &[u8]| Contents {
        image: sample(b""),
        header: b"h".to_vec(),
        source: source.to_vec(),
        log: Vec::new(),
    };
    let files = entries::recorded("c", contents(b"int c();\n"));
    cache.publish(&files).unwrap();
    assert_eq!(code(&home.run(&["grep", "--pattern", "int"])), (Some(0), ""));
    let path = cache.layout().src("c", false);
    fs::write(&path, "int another();\n").unwrap();
    for command in [&["grep", "--pattern", "int"][..], &["grepfunction"], &["checkout", "c"]] {
        let output = home.run(command);
        assert_eq!(output.status.code(), Some(3), "{command:?}");
        let complaint = text(&output.stderr);
        assert!(complaint.contains("c.cpp is damaged: it is not the source"), "{complaint}");
    }
    assert!(text(&home.run(&["grep", "--pattern", "int"]).stdout).contains("int a()"), "the others");
    assert!(!home.at("jitcheckout-c").exists());
    // Too long, whatever is recorded: in the file, or when it is unpacked.
    File::options().write(true).open(&path).unwrap().set_len(fsutil::LONGEST_TEXT + 1).unwrap();
    let output = home.run(&["grep", "c"]);
    assert!(output.status.code() == Some(3) && text(&output.stderr).contains("are allowed"));
}
