//! Golden tests of the language, and tests of any text.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use dijitso::error::Kind;
use dijitso::plan::view::PlanView;

use super::super::sample;
use super::*;

/// Selections, with what each is parsed to and what it selects of the sample.
const GOLDEN: &str = "src/bin/dijitso/plan/selection/golden.txt";

fn selected(text: &str, view: &PlanView, last: Option<&[String]>) -> Result<Vec<String>> {
    let nodes = select(&[text.to_owned()], view, last)?;
    Ok(nodes.into_iter().map(|at| written(&view.nodes[at].label)).collect())
}

/// Returns what the golden file says of a selection.
fn described(text: &str, view: &PlanView) -> String {
    let last = ["poisson", "is not there any more"].map(str::to_owned);
    let tree = match parse(text) {
        Ok(tree) => tree,
        Err(error) => return format!("{text}\n  ! {error}\n"),
    };
    let labels = match selected(text, view, Some(&last)) {
        Ok(labels) if labels.is_empty() => ": nothing".to_owned(),
        Ok(labels) => format!(": {}", labels.join(" ")),
        Err(error) => format!("! {error}"),
    };
    format!("{text}\n  = {tree}\n  {labels}\n")
}

/// To renew the file: `DIJITSO_RENEW_SELECTIONS=1 cargo test --bin dijitso selections`
#[test]
fn selections_are_as_in_the_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let golden = std::fs::read_to_string(&path).unwrap();
    let view = sample::view();
    let mut made = String::new();
    for line in golden.lines() {
        match line {
            line if line.starts_with("  ") => {}
            line if line.starts_with('#') || line.is_empty() => writeln!(made, "{line}").unwrap(),
            text => made.push_str(&described(text, &view)),
        }
    }
    if std::env::var_os("DIJITSO_RENEW_SELECTIONS").is_some() {
        std::fs::write(&path, made).unwrap();
    } else {
        let differs = made.lines().zip(golden.lines()).find(|(made, golden)| made != golden);
        assert!(made == golden, "made, golden: {differs:?}");
    }
}

#[test]
fn every_word_is_in_the_golden_file_and_in_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let golden = std::fs::read_to_string(path).unwrap();
    let help = help();
    let keys = words::KEYS.map(|key| format!("{key}:"));
    let words = names().chain(OPERATORS).map(str::to_owned).chain(keys);
    for word in words.chain(["level1", "layer1", "()"].map(str::to_owned)) {
        assert!(golden.lines().any(|line| !line.starts_with(' ') && line.contains(&word)), "{word}");
        assert!(help.contains(&word), "{word}");
    }
    assert_eq!(help.lines().find(|line| line.chars().count() > 80), None);
}

#[test]
fn words_of_a_command_line_need_no_quotes_if_they_are_labels() {
    let view = sample::view();
    let select = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        select(&words, &view, None).unwrap()
    };
    assert_eq!(select(&["form code"]), [2]);
    assert_eq!(select(&["all", "except", "not", "form code", "a*(\"b\")"]), [2, 11]);
    assert_eq!(select(&["failed in all"]), [3]);
    assert_eq!(select(&["label:top"]), [10]);
    assert_eq!(select(&["last"]), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_label_is_written_so_that_it_selects_its_node() {
    let mut view = sample::view();
    let hostile = [
        "", " ", "'", "\"", "'\"'", "a b", "not", "in", "rank:1", "host:", "is:all", "label:x", "level2",
        "layer02", "all", "ALL", "*", "()", "f()", "a(", "\u{2028}", "ä ö", "deadbeef", "a:b",
    ];
    for (node, label) in view.nodes.iter_mut().zip(hostile.into_iter().cycle()) {
        label.clone_into(&mut node.label);
    }
    for labels in hostile.chunks(view.nodes.len()) {
        for (at, label) in labels.iter().enumerate() {
            view.nodes[at].label = (*label).to_owned();
        }
        for (at, label) in labels.iter().enumerate() {
            for text in [written(label), word(label)] {
                assert_eq!(
                    select(std::slice::from_ref(&text), &view, None),
                    Ok(vec![at]),
                    "{label:?}: {text}"
                );
            }
        }
    }
}

/// Time is not measured. Work for each pair of nodes would take minutes here, and the stack would overflow.
#[test]
fn large_plans_and_selections_are_no_trouble() {
    let view = sample::chain(10_000);
    let every_label: Vec<String> = view.nodes.iter().map(|node| node.label.clone()).collect();
    let count = |words: &[String]| select(words, &view, None).map(|nodes| nodes.len());
    assert_eq!(count(&every_label), Ok(10_000));
    for (text, expected) in [
        ("ready", 1),
        ("todo", 5000),
        ("*-1*", 1111),
        ("name_3()", 1429),
        ("top bottom", 2),
        ("layer5000", 1),
        ("all except (layer1 layer2)", 9998),
    ] {
        assert_eq!(count(&[text.to_owned()]), Ok(expected), "{text}");
    }
    for operator in ["not ", "all in ", "all except ", "("] {
        let text = format!("{}all", operator.repeat(20_000));
        let _ = check(&text);
    }
    let error = count(&["nod-17".to_owned()]).unwrap_err();
    assert!(error.message().contains("did you mean \"node-17\""), "{error}");
    let mut grown = sample::chain(10_000);
    (1..grown.nodes.len()).for_each(|at| grown.nodes[at].definer = Some(at - 1));
    assert_eq!(select(&["level9999".to_owned()], &grown, None), Ok(vec![9999]));
    assert_eq!(select(&["gen:node-0".to_owned()], &grown, None).unwrap().len(), 9999);
}

proptest! {
    #[test]
    fn any_text_is_a_selection_or_a_mistake(text in any::<String>()) {
        let _ = check(&text);
    }

    #[test]
    fn any_words_are_a_selection_or_a_mistake(
        words in prop::collection::vec(prop::sample::select(&[
            "all", "failed", "not", "except", "but", "in", "and", "(", ")", "()", "f()", "*", "mesh", "\"form code\"",
            "'", "\"", "ä", "rank:1", "host:n*", "gen:forms", "is:top", "label:", ":", "level", "layer2", "", "top",
        ][..]), 0..12),
        glue in prop::sample::select(&["", " "][..]),
    ) {
        let _ = check(&words.join(glue));
    }
}

/// Selects, and checks that a mistake has a column within the text.
fn check(text: &str) -> Option<Vec<usize>> {
    let view = sample::view();
    match select(&[text.to_owned()], &view, None) {
        Ok(nodes) => Some(nodes),
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidArgument);
            let column = error.message().strip_prefix("column ").and_then(|rest| rest.split(' ').next());
            let column: usize = column.unwrap().parse().unwrap();
            assert!((1..=text.chars().count() + 1).contains(&column), "{text:?}: {error}");
            None
        }
    }
}
