//! The executions of a plan in Chrome's trace event format, for <https://ui.perfetto.dev> and
//! `chrome://tracing`: a process for each rank, a thread for each slot, an event for each node and nested in
//! it one for each phase, and arrows along the critical path.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use dijitso::escape;
use dijitso::plan::analysis::{critical_path, last_work};
use dijitso::plan::execution::Execution;
use dijitso::plan::view::{NodeKind, NodeView, PlanView};

/// A rank of a host.
type TraceProcess<'a> = (&'a str, usize);

/// Writes the last execution of each node, an event a line.
///
/// Times are microseconds after the begin of the first execution, which `otherData.begin` has in seconds
/// since 1970.
///
/// # Errors
/// The errors of the writer.
pub(crate) fn write_trace(view: &PlanView, out: &mut dyn Write) -> io::Result<()> {
    let executions = || view.nodes.iter().filter_map(|node| node.last.as_ref());
    let begin = executions().map(|execution| execution.begin).fold(f64::INFINITY, f64::min);
    let begin = if begin.is_finite() { begin } else { 0.0 };
    let processes: BTreeSet<TraceProcess> = executions().map(process).collect();
    let processes: BTreeMap<TraceProcess, usize> =
        processes.into_iter().enumerate().map(|(index, process)| (process, index + 1)).collect();
    let mut events = TraceEvents { out, is_first: true };
    events.out.write_all(b"{\"displayTimeUnit\":\"ms\",\n\"otherData\":")?;
    write_json(events.out, &json!({ "plan": view.name, "begin": begin, "version": dijitso::VERSION }))?;
    events.out.write_all(b",\n\"traceEvents\":[")?;
    write_names(&processes, executions(), &mut events)?;
    let critical = critical_path(view, &last_work(view)).nodes;
    for (index, node) in view.nodes.iter().enumerate() {
        let Some(execution) = &node.last else { continue };
        let place = json!({ "pid": processes[&process(execution)], "tid": execution.slot + 1 });
        let start = microseconds(execution.begin - begin);
        let arguments = arguments(node, execution, critical.contains(&index));
        let kind = if node.kind == NodeKind::Task { "task" } else { "module" };
        let end = microseconds(execution.end() - begin);
        events.span(&place, &node.label, kind, (start, end), Json::Object(arguments))?;
        let mut after = execution.begin - begin;
        for (phase, seconds) in &execution.phases {
            let from = microseconds(after).min(end);
            after += seconds;
            let span = (from, microseconds(after).clamp(from, end));
            events.span(&place, phase.word(), "phase", span, Json::Null)?;
        }
    }
    write_arrows(view, &critical, begin, &processes, &mut events)?;
    out.write_all(b"\n]}\n")
}

fn process(execution: &Execution) -> TraceProcess<'_> {
    (&execution.host, execution.rank)
}

/// Returns whole microseconds: with those, what is nested stays nested.
fn microseconds(seconds: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; 0 for a negative one"
    )]
    let microseconds = (seconds * 1e6).round() as u64;
    microseconds
}

fn write_json(out: &mut dyn Write, json: &Json) -> io::Result<()> {
    out.write_all(escape::json(&json.to_string()).as_bytes())
}

/// The events of a trace, written one by one.
struct TraceEvents<'a> {
    out: &'a mut dyn Write,
    is_first: bool,
}

impl TraceEvents<'_> {
    /// Writes an event on a thread (`place`).
    fn event(&mut self, place: &Json, fields: &Json) -> io::Result<()> {
        self.out.write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        let objects = [fields, place].into_iter().filter_map(Json::as_object);
        let fields: Map<String, Json> =
            objects.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        write_json(self.out, &Json::Object(fields))
    }

    /// Writes an event that has a begin and an end.
    fn span(
        &mut self,
        place: &Json,
        name: &str,
        category: &str,
        span: (u64, u64),
        args: Json,
    ) -> io::Result<()> {
        let mut fields =
            json!({ "ph": "X", "name": name, "cat": category, "ts": span.0, "dur": span.1 - span.0 });
        if !args.is_null() {
            fields["args"] = args;
        }
        self.event(place, &fields)
    }
}

/// Writes names of processes and threads, and an order of them.
fn write_names<'a>(
    processes: &BTreeMap<TraceProcess, usize>,
    executions: impl Iterator<Item = &'a Execution>,
    events: &mut TraceEvents,
) -> io::Result<()> {
    let named = |what: &str, args: Json| json!({ "ph": "M", "name": what, "args": args });
    for ((host, rank), pid) in processes {
        let place = json!({ "pid": pid });
        events.event(&place, &named("process_name", json!({ "name": format!("{host}, rank {rank}") })))?;
        events.event(&place, &named("process_sort_index", json!({ "sort_index": pid })))?;
    }
    let threads: BTreeSet<(usize, usize)> =
        executions.map(|execution| (processes[&process(execution)], execution.slot)).collect();
    for (pid, slot) in threads {
        let place = json!({ "pid": pid, "tid": slot + 1 });
        events.event(&place, &named("thread_name", json!({ "name": format!("slot {slot}") })))?;
        events.event(&place, &named("thread_sort_index", json!({ "sort_index": slot })))?;
    }
    Ok(())
}

/// Returns the details of a node, which a click on its event shows.
fn arguments(node: &NodeView, execution: &Execution, is_critical: bool) -> Map<String, Json> {
    let mut arguments = Map::new();
    let mut add = |key: &str, value: Json| arguments.insert(key.to_owned(), value);
    add("name", node.name.as_str().into());
    add("state", node.state.word().into());
    add("on critical path", is_critical.into());
    add("process id", execution.pid.into());
    if let Some(signature) = &node.signature {
        add("signature", signature.as_str().into());
    }
    if execution.memory > 0 {
        add("memory in bytes", execution.memory.into());
    }
    if let Some(size) = node.size {
        add("result in bytes", size.into());
    }
    if let Some(error) = &node.error {
        add("error", error.message().into());
    }
    arguments
}

/// Writes an arrow from the end of each node of the critical path to the begin of the next.
fn write_arrows(
    view: &PlanView,
    critical: &[usize],
    begin: f64,
    processes: &BTreeMap<TraceProcess, usize>,
    events: &mut TraceEvents,
) -> io::Result<()> {
    let executed: Vec<&Execution> =
        critical.iter().filter_map(|node| view.nodes[*node].last.as_ref()).collect();
    for (id, pair) in executed.windows(2).enumerate() {
        // An arrow belongs to the event that is on the thread at its time: it must not be at the very end.
        let from = microseconds(pair[0].end() - begin).saturating_sub(1);
        let steps = [("s", pair[0], from), ("f", pair[1], microseconds(pair[1].begin - begin))];
        for (step, execution, time) in steps {
            let place = json!({ "pid": processes[&process(execution)], "tid": execution.slot + 1 });
            let mut fields =
                json!({ "ph": step, "name": "critical path", "cat": "critical", "id": id, "ts": time });
            if step == "f" {
                fields["bp"] = "e".into();
            }
            events.event(&place, &fields)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
