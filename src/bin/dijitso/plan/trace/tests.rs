//! The structure of a trace: what Perfetto and Chrome expect of each kind of event.

use std::collections::HashSet;

use super::*;
use crate::plan::check_golden;
use dijitso::plan::sample::{made, node, plan};

fn trace(view: &PlanView) -> (String, Json) {
    let mut bytes = Vec::new();
    write_trace(view, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    (text, json)
}

#[test]
fn a_trace_is_as_before() {
    let (text, _) = trace(&made(2));
    let version = format!("\"version\":\"{}\"", dijitso::VERSION);
    check_golden("small.trace.json", &text.replace(&version, "\"version\":\"VERSION\""));
}

#[test]
fn a_plan_that_never_ran_has_an_empty_trace() {
    for view in [plan(Vec::new()), plan(vec![node("a", 1.0, &[])])] {
        assert_eq!(trace(&view).1["traceEvents"], json!([]));
    }
}

#[test]
fn events_have_what_viewers_expect() {
    let view = made(64);
    let (_, json) = trace(&view);
    let events = json["traceEvents"].as_array().unwrap();
    let number =
        |event: &Json, field: &str| event[field].as_u64().unwrap_or_else(|| panic!("{field} of {event}"));
    let mut threads = HashSet::new();
    let mut named = HashSet::new();
    let mut spans = Vec::new();
    for event in events {
        let thread = (number(event, "pid"), event["tid"].as_u64());
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(event["args"].is_object());
                let is_name = event["name"].as_str().unwrap().ends_with("_name");
                named.extend(is_name.then_some(thread));
            }
            "X" => {
                assert!(event["name"].is_string() && event["cat"].is_string());
                threads.insert(thread);
                let begin = number(event, "ts");
                spans.push((thread, begin, begin + number(event, "dur"), event["cat"] == "phase"));
            }
            "s" | "f" => {
                assert!(event["id"].is_u64() && number(event, "ts") > 0 || event["id"] == 0);
                assert_eq!(event["bp"] == "e", event["ph"] == "f");
            }
            other => panic!("an event of kind {other}"),
        }
    }
    assert_eq!(threads.len(), 8);
    for (process, thread) in threads {
        assert!(named.contains(&(process, thread)) && named.contains(&(process, None)));
    }
    let nodes: Vec<_> = spans.iter().filter(|span| !span.3).collect();
    assert_eq!(nodes.len(), view.nodes.len() - 1);
    for phase in spans.iter().filter(|span| span.3) {
        let around = nodes.iter().filter(|node| node.0 == phase.0 && node.1 <= phase.1 && phase.2 <= node.2);
        assert!(around.count() >= 1, "{phase:?} is in no node");
    }
    for (index, a) in nodes.iter().enumerate() {
        let overlaps = |b: &&&_| {
            let b: &(_, u64, u64, bool) = b;
            a.0 == b.0 && a.1 + 1 < b.2 && b.1 + 1 < a.2
        };
        assert!(!nodes[..index].iter().any(|b| overlaps(&b)), "{a:?} overlaps another");
    }
    let flows = events.iter().filter(|event| event["ph"] == "s").count();
    let critical = critical_path(&view, &last_work(&view)).nodes.len();
    assert_eq!(flows, critical - 1);
}

#[test]
fn labels_survive() {
    let mut view = made(2);
    view.nodes[0].label = "<a> \"b\" \u{202e}\n größer".to_owned();
    let (text, json) = trace(&view);
    assert!(!text.contains('\u{202e}'));
    let events = json["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["name"] == view.nodes[0].label.as_str()));
}
