//! Checks what nodes of a plan file say of each other: labels are unique, needs exist and lead in no circle,
//! and files do not get into each other's way.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::plan::definition::{NodeDefinition, SourceDefinition, WorkDefinition};

use super::draft::Draft;
use super::globs::{below, file_name};
use super::problems::{FileProblems, did_you_mean};

/// Returns the nodes of a plan, if they fit together; otherwise adds problems.
pub(super) fn connect(mut drafts: Vec<Draft>, problems: &mut FileProblems<'_>) -> Vec<NodeDefinition> {
    remove_duplicates(&mut drafts, problems);
    let places: HashMap<&str, usize> =
        drafts.iter().enumerate().map(|(at, draft)| (draft.node.label.as_str(), at)).collect();
    let needed = |draft: &Draft, problems: &mut FileProblems<'_>| -> Vec<usize> {
        let labels = draft.node.needs.iter().zip(&draft.needs_lines);
        let labels = labels.chain(draft.node.after.iter().zip(&draft.after_lines));
        let mut found = Vec::new();
        for (label, line) in labels {
            match places.get(label.as_str()) {
                Some(at) => found.push(*at),
                None if problems.is_full() => problems.add(*line, ""),
                None => {
                    let hint = did_you_mean(label, places.keys().copied());
                    let text = format!("\"{}\" needs \"{label}\", which is no node{hint}", draft.node.label);
                    problems.add(*line, text);
                }
            }
        }
        found
    };
    let edges: Vec<Vec<usize>> = drafts.iter().map(|draft| needed(draft, problems)).collect();
    if let Some(circle) = find_circle(&edges) {
        let labels: Vec<&str> = circle.iter().map(|at| drafts[*at].node.label.as_str()).collect();
        let line = drafts[circle[0]].node.line;
        problems.add(line, format!("these nodes need each other: {}", chain(&labels)));
    }
    check_files(&drafts, &places, problems);
    drafts.into_iter().map(|draft| draft.node).collect()
}

/// Removes modules that build an entry for the second time: several programs may have recorded them.
fn remove_duplicates(drafts: &mut Vec<Draft>, problems: &mut FileProblems<'_>) {
    let mut first: HashMap<String, (usize, Option<String>)> = HashMap::new();
    drafts.retain(|draft| {
        let NodeDefinition { label, line, work, .. } = &draft.node;
        let entry = match work {
            WorkDefinition::Module(module) => match &module.source {
                SourceDefinition::Entry(signature) => Some(signature.clone()),
                _ => None,
            },
            WorkDefinition::Task(_) => None,
        };
        let Some((before, other)) = first.get(label) else {
            first.insert(label.clone(), (*line, entry));
            return true;
        };
        if entry.is_some() && entry == *other {
            return false;
        }
        let problem = if before == line {
            format!("several of these nodes get the label \"{label}\": put {{stem}} or {{path}} into it")
        } else {
            format!("the label \"{label}\" is that of the node of line {before}, too")
        };
        problems.add(*line, problem);
        false
    });
}

/// Finds nodes each of which needs the next, the first and the last being the same.
fn find_circle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Finished,
    }
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        // The nodes of the path, each with the number of its edges that have been followed.
        let mut path = if marks[start] == Mark::New { vec![(start, 0)] } else { continue };
        marks[start] = Mark::OnPath;
        while let Some((node, followed)) = path.last_mut() {
            let Some(next) = edges[*node].get(*followed).copied() else {
                marks[*node] = Mark::Finished;
                path.pop();
                continue;
            };
            *followed += 1;
            match marks[next] {
                Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, 0));
                }
                Mark::OnPath => {
                    let circle = path.iter().map(|(node, _)| *node).skip_while(|node| *node != next);
                    return Some(circle.chain([next]).collect());
                }
                Mark::Finished => {}
            }
        }
    }
    None
}

/// Joins labels with arrows. Leaves out the middle of a long chain.
fn chain(labels: &[&str]) -> String {
    const ENDS: usize = 5;
    if labels.len() <= 2 * ENDS {
        return labels.join(" -> ");
    }
    let (first, last) = (&labels[..ENDS], &labels[labels.len() - ENDS..]);
    format!("{} -> ... -> {}", first.join(" -> "), last.join(" -> "))
}

/// Checks that in the folder of a task no file takes the place of another, nor in a directory of copies.
fn check_files(drafts: &[Draft], places: &HashMap<&str, usize>, problems: &mut FileProblems<'_>) {
    let mut copies: HashMap<PathBuf, &str> = HashMap::new();
    for draft in drafts {
        let NodeDefinition { label, line, needs, work, .. } = &draft.node;
        let WorkDefinition::Task(task) = work else { continue };
        for output in task.copy_to.iter().flat_map(|dir| task.outputs.iter().map(|output| dir.join(output))) {
            if let Some(other) = copies.get(&output) {
                let path = output.display();
                problems.add(*line, format!("\"{label}\" and \"{other}\" are both copied to {path}"));
            } else {
                copies.insert(output, label);
            }
        }
        // The inputs, then the outputs of each task that it needs, then its own.
        let mut seen = HashSet::new();
        if let Some(twice) = task.inputs.iter().find(|path| !seen.insert(name_in_folder(path))) {
            let name = name_in_folder(twice);
            problems.add(*line, format!("in the folder of \"{label}\", two inputs have the name {name}"));
        }
        let needed = needs.iter().filter_map(|label| drafts.get(*places.get(label.as_str())?));
        let needed = needed.filter_map(|draft| match &draft.node.work {
            WorkDefinition::Task(task) => Some((draft.node.label.as_str(), &task.outputs)),
            WorkDefinition::Module(_) => None,
        });
        for (owner, outputs) in needed.chain([(label.as_str(), &task.outputs)]) {
            if let Some(twice) = outputs.iter().find(|output| !seen.insert((*output).clone())) {
                let text = format!(
                    "in the folder of \"{label}\", the file {twice} of \"{owner}\" takes the place of another"
                );
                problems.add(*line, text);
            }
        }
    }
}

/// Returns the name by which a command finds an input: its path, or the last part of one that leads out of the
/// directory of the plan.
fn name_in_folder(path: &Path) -> String {
    let path = path.to_string_lossy();
    below(&path).unwrap_or_else(|| file_name(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_long_ones_are_shortened() {
        assert_eq!(find_circle(&[vec![1], vec![2], vec![]]), None);
        assert_eq!(find_circle(&[vec![1, 2], vec![2], vec![]]), None, "two ways are no circle");
        assert_eq!(find_circle(&[vec![0]]), Some(vec![0, 0]));
        assert_eq!(find_circle(&[vec![1], vec![2], vec![3], vec![1]]), Some(vec![1, 2, 3, 1]));
        // As long as a plan may be: there is no recursion.
        let size = 100_000;
        let mut edges: Vec<Vec<usize>> = (0..size).map(|node| vec![(node + 1) % size]).collect();
        assert_eq!(find_circle(&edges).unwrap().len(), size + 1);
        edges[size - 1].clear();
        assert_eq!(find_circle(&edges), None);
        let labels: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(chain(&labels), "0 -> 1 -> 2 -> 3 -> 4 -> ... -> 15 -> 16 -> 17 -> 18 -> 19");
    }
}
