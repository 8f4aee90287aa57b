//! `dijitso plan check PLAN`.
//!
//! | name | severity | meaning |
//! |---|---|---|
//! | `plan` | broken | the plan file has a mistake, or names a file that is not there |
//! | `cycle` | broken | nodes need each other in a circle |
//! | `entry-missing` | broken | the source of a library was in the cache, and is not any more |
//! | `result-missing` | stale | the journal says that a node was made, and the cache has nothing of it |
//! | `journal-node` | leftover | the journal has a node that the plan does not have |
//! | `journal-line` | leftover | lines of the journal are torn, or of another version |
//!
//! Findings about results and libraries are those of `dijitso check`.

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::integrity::{CheckReport, RepairMode, Severity};
use dijitso::error::{Kind, Result};
use dijitso::jit::Session;
use dijitso::plan::Plan;
use dijitso::plan::definition::{PlanDefinition, SourceDefinition, WorkDefinition};
use dijitso::plan::journal::{JournalLine, NodeEnd, read_history, read_lines, unreadable_lines};
use dijitso::plan::view::{PlanView, State};

use super::super::Status;
use super::super::context::CommandContext;
use super::super::output::{Out, STRONG, count, size};

/// The end of the help.
const HELP: &str = "\
The exit code is 1 if something is broken. Nothing is changed: what is damaged in the cache is made again by the next
make, and \"dijitso check --repair\" quarantines it.";

/// Options of `dijitso plan check`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    plan: PathBuf,
}

/// A finding about a plan.
struct PlanFinding {
    what: &'static str,
    severity: Severity,
    /// The labels of the nodes that it is about.
    labels: Vec<String>,
    signature: String,
    path: PathBuf,
    text: String,
    advice: &'static str,
}

/// Everything that was found.
#[derive(Default)]
struct PlanCheck {
    name: String,
    cache_dir: Option<PathBuf>,
    nodes: usize,
    /// The report on results and libraries, without its findings.
    checked: CheckReport,
    findings: Vec<PlanFinding>,
}

impl Arguments {
    /// Checks the plan.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let mut check = PlanCheck::default();
        self.check(&mut check, context)?;
        check.findings.sort_by_key(|finding| finding.severity);
        if context.out.json {
            context.out.document(&check.to_json());
        } else {
            check.write(&mut context.out);
        }
        Ok(if check.is_sound() { Status::Done } else { Status::Broken })
    }

    fn check(&self, check: &mut PlanCheck, context: &CommandContext) -> Result<()> {
        // A file that cannot be read is an error, one with a mistake in it a finding.
        std::fs::File::open(&self.plan)
            .map_err(|error| dijitso::error::Error::file("cannot read", &self.plan, &error))?;
        check.name = self.plan.display().to_string();
        let mistake = |text: &str, what: &'static str| PlanFinding {
            what,
            severity: Severity::Broken,
            labels: Vec::new(),
            signature: String::new(),
            path: self.plan.clone(),
            text: text.to_owned(),
            advice: "correct the plan file",
        };
        let definition = match dijitso::plan::file::read_plan(&self.plan) {
            Ok(definition) => definition,
            Err(error) if error.kind() == Kind::Params => {
                check.findings.push(mistake(error.message(), "plan"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        check.name.clone_from(&definition.name);
        check.nodes = definition.nodes.len();
        let plan = match Plan::of_definition(&definition, &context.params()?, &[], Some(&self.plan)) {
            Ok(plan) => plan,
            Err(error) => {
                check.findings.push(mistake(error.message(), "plan"));
                return Ok(());
            }
        };
        let cache = plan.cache();
        check.cache_dir = Some(cache.layout().root().to_owned());
        check.findings.extend(missing_entries(&definition, &cache));
        match plan.refresh(Session::of_process()) {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::InvalidArgument => {
                check.findings.push(mistake(error.message(), "cycle"));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let view = plan.view();
        check.findings.extend(journal_findings(&view, &cache, plan.key()));
        check_cache(&view, &cache, plan.key(), check)
    }
}

/// Finds libraries whose source was in the cache, and is not any more. Files that are missing are mistakes of the
/// plan file.
fn missing_entries(definition: &PlanDefinition, cache: &Cache) -> Vec<PlanFinding> {
    let mut findings = Vec::new();
    for node in &definition.nodes {
        let WorkDefinition::Module(module) = &node.work else { continue };
        for (source, is_header) in
            [Some((&module.source, false)), module.header.as_ref().map(|header| (header, true))]
                .into_iter()
                .flatten()
        {
            let SourceDefinition::Entry(signature) = source else { continue };
            let read = if is_header { cache.read_header(signature) } else { cache.read_source(signature) };
            if read.is_ok_and(|text| text.is_some()) {
                continue;
            }
            findings.push(PlanFinding {
                what: "entry-missing",
                severity: Severity::Broken,
                labels: vec![node.label.clone()],
                signature: signature.clone(),
                path: cache.layout().root().to_owned(),
                text: format!("it is made from the entry {signature}, which is not there"),
                advice: "record the plan again, or use the cache that it was recorded with",
            });
        }
    }
    findings
}

/// Compares the journal with the plan and the cache.
fn journal_findings(view: &PlanView, cache: &Cache, key: &str) -> Vec<PlanFinding> {
    let path = cache.layout().plan_journal(key);
    let of = |what, severity, labels, signature: &str, text: String, advice| PlanFinding {
        what,
        severity,
        labels,
        signature: signature.to_owned(),
        path: path.clone(),
        text,
        advice,
    };
    let mut findings = Vec::new();
    let mut last: HashMap<String, NodeEnd> = HashMap::new();
    for line in read_lines(&path) {
        if let JournalLine::Node(node) = line {
            last.insert(node.label.clone(), *node);
        }
    }
    for node in view.nodes.iter().filter(|node| node.state != State::Done) {
        let made =
            last.get(&node.label).filter(|made| made.error.is_none() && made.signature == node.signature);
        if let Some(signature) = made.and_then(|made| made.signature.as_deref()) {
            let text = format!("{} was made, and its result is not in the cache", node.label);
            let advice = "nothing: the next make makes it again";
            let labels = vec![node.label.clone()];
            findings.push(of("result-missing", Severity::Stale, labels, signature, text, advice));
        }
    }
    let known: HashSet<&str> = view.nodes.iter().map(|node| node.label.as_str()).collect();
    let unknown: BTreeSet<&String> = last.keys().filter(|label| !known.contains(label.as_str())).collect();
    for label in unknown {
        let text = format!("the plan has no node {label} any more");
        let advice = "nothing: it takes no part in a make";
        findings.push(of("journal-node", Severity::Leftover, vec![label.clone()], "", text, advice));
    }
    let torn = unreadable_lines(&path);
    if torn > 0 {
        let text = format!("{} cannot be read", count(torn, "line", "lines"));
        let advice = "nothing: the times of some executions are lost";
        findings.push(of("journal-line", Severity::Leftover, Vec::new(), "", text, advice));
    }
    findings
}

/// Checks the results and libraries of the nodes: those of now, and those that the last make has made.
fn check_cache(view: &PlanView, cache: &Cache, key: &str, check: &mut PlanCheck) -> Result<()> {
    let history = read_history(cache, key);
    let mut labels: HashMap<&str, Vec<String>> = HashMap::new();
    for node in &view.nodes {
        let before = history.nodes.get(&node.label).and_then(|node| node.signature.as_deref());
        let now = node.signature.as_deref();
        for signature in now.into_iter().chain(before.filter(|before| Some(*before) != now)) {
            labels.entry(signature).or_default().push(node.label.clone());
        }
    }
    let mut present: HashSet<String> = cache.result_signatures().into_iter().collect();
    present.extend(cache.entries()?.into_iter().map(|entry| entry.signature));
    let mut signatures: Vec<String> = labels
        .keys()
        .filter(|signature| present.contains(**signature))
        .map(|name| (*name).to_owned())
        .collect();
    signatures.sort_unstable();
    // No signatures would be all of the cache.
    if signatures.is_empty() {
        return Ok(());
    }
    let mut report = cache.check(&signatures, RepairMode::Off, &|_, _| {})?;
    for finding in std::mem::take(&mut report.findings) {
        check.findings.push(PlanFinding {
            what: finding.what.name(),
            severity: finding.what.severity(),
            labels: labels.get(finding.signature.as_str()).cloned().unwrap_or_default(),
            advice: if finding.repairable && finding.advice().contains("--repair") {
                "the next make makes it again; dijitso check --repair quarantines it"
            } else {
                finding.advice()
            },
            signature: finding.signature,
            path: finding.path,
            text: finding.text,
        });
    }
    check.checked = report;
    Ok(())
}

impl PlanCheck {
    fn of(&self, severity: Severity) -> impl Iterator<Item = &PlanFinding> {
        self.findings.iter().filter(move |finding| finding.severity == severity)
    }

    /// Returns true if nothing is broken.
    fn is_sound(&self) -> bool {
        self.of(Severity::Broken).next().is_none()
    }

    fn write(&self, out: &mut Out) {
        for severity in [Severity::Broken, Severity::Stale, Severity::Leftover] {
            let number = self.of(severity).count();
            if number > 0 {
                out.line(out.paint(STRONG, format_args!("{} ({number})", severity.name())));
            }
            for finding in self.of(severity) {
                let nodes = match finding.labels.as_slice() {
                    [] => String::new(),
                    labels => format!(" ({})", labels.join(", ")),
                };
                let (what, path) = (finding.what, finding.path.display().to_string());
                // A mistake in a file comes with file and line.
                let place = if finding.text.starts_with(&path) { String::new() } else { format!("{path}: ") };
                out.line(format_args!("  {what}{nodes}: {place}{}", finding.text));
                out.line(format_args!("    {}", finding.advice));
            }
        }
        out.line(format_args!(
            "{}: {}, {} and {} checked ({} read): {} broken, {} stale, {} left over",
            self.name,
            count(self.nodes, "node", "nodes"),
            count(self.checked.entries, "entry", "entries"),
            count(self.checked.results, "result", "results"),
            size(self.checked.bytes),
            self.of(Severity::Broken).count(),
            self.of(Severity::Stale).count(),
            self.of(Severity::Leftover).count(),
        ));
    }

    fn to_json(&self) -> Json {
        let finding = |finding: &PlanFinding| {
            json!({
                "what": finding.what,
                "severity": finding.severity.name(),
                "nodes": finding.labels,
                "signature": Some(&finding.signature).filter(|signature| !signature.is_empty()),
                "path": finding.path,
                "text": finding.text,
                "advice": finding.advice,
            })
        };
        json!({
            "plan": self.name,
            "cache_dir": self.cache_dir,
            "nodes": self.nodes,
            "entries": self.checked.entries,
            "results": self.checked.results,
            "bytes_read": self.checked.bytes,
            "sound": self.is_sound(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}
