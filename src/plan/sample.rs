//! Plans as tests need them: nodes with a label and a length, and a plan as a solver has it, made by 8
//! workers.

#![forbid(unsafe_code)]

use crate::error::{Error, Kind};

use super::analysis::{estimates, list_schedule};
use super::execution::{Execution, Phase};
use super::view::{NodeKind, NodeView, PlanView, ResultOrigin, State};

/// When the sample plan was made, in seconds since 1970.
pub const BEGIN: f64 = 1_790_000_000.0;

/// Returns a node that never ran: a module if there is no dot in its label, otherwise a task that makes this
/// file.
#[must_use]
pub fn node(label: &str, estimate: f64, needs: &[usize]) -> NodeView {
    let kind = if label.contains('.') { NodeKind::Task } else { NodeKind::Module };
    NodeView {
        label: label.to_owned(),
        kind,
        name: label.split(['.', '-', '[']).next().unwrap_or_default().to_owned(),
        signature: None,
        state: State::Todo,
        stale: false,
        interrupted: false,
        origin: None,
        needs: needs.to_vec(),
        order_only: Vec::new(),
        definer: None,
        error: None,
        blocked_by: None,
        last: None,
        estimate,
        size: None,
    }
}

/// Returns a plan of these nodes.
#[must_use]
pub fn plan(nodes: Vec<NodeView>) -> PlanView {
    PlanView { name: "sample".to_owned(), nodes }
}

/// Numbers that look random, the same in each run.
struct SampleNumbers(u64);

impl SampleNumbers {
    /// Returns the next number, from 0 to 1.
    fn next(&mut self) -> f64 {
        // Knuth's generator; its high bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_precision_loss, reason = "32 bits are exact")]
        let number = (self.0 >> 32) as f64;
        number / f64::from(u32::MAX)
    }
}

/// Returns a plan that 4 hosts with 2 slots each have made: tables, form compilers that need them, this many
/// modules, and solvers that need 16 modules each. One module has failed and blocks its solver.
#[must_use]
pub fn made(modules: usize) -> PlanView {
    let mut random = SampleNumbers(1);
    let mut nodes = vec![
        node("quadrature.bin", 1.4, &[]),
        node("elements <P1 & \"P2\">.json", 2.2, &[0]),
        node("mesh.h5", 4.0, &[]),
    ];
    let forms: Vec<usize> = (0..modules.div_ceil(8)).map(|form| form + nodes.len()).collect();
    for form in 0..forms.len() {
        nodes.push(node(&format!("ffc-{form}.h"), 0.3 + 0.6 * random.next(), &[1]));
    }
    let first = nodes.len();
    for module in 0..modules {
        let equation = ["poisson", "stokes", "elasticity", "größer_λ"][module % 4];
        let seconds = 1.0 + 3.0 * random.next().powi(2) + if module == 37 { 5.0 } else { 0.0 };
        nodes.push(node(&format!("{equation}-{module:03}"), seconds, &[forms[module / 8]]));
    }
    for (solver, modules) in (first..first + modules).collect::<Vec<_>>().chunks(16).enumerate() {
        let mut node = node(&format!("solver-{solver}"), 2.0 + random.next(), modules);
        node.order_only = vec![2];
        nodes.push(node);
    }
    let mut view = PlanView { name: "cavity.toml".to_owned(), nodes };
    make(&mut view, first + modules / 3, &mut random);
    view
}

/// Makes a plan on 8 workers. The node `failing` fails.
fn make(view: &mut PlanView, failing: usize, random: &mut SampleNumbers) {
    let lengths = estimates(view);
    let schedule = list_schedule(view, &lengths, 8);
    let blocked: Vec<usize> = view.dependants().get(failing).cloned().unwrap_or_default();
    for (index, node) in view.nodes.iter_mut().enumerate() {
        node.estimate = lengths[index] * (0.85 + 0.3 * random.next());
        if blocked.contains(&index) {
            (node.state, node.blocked_by) = (State::Blocked, Some(failing));
            continue;
        }
        node.signature = Some(format!("{}_{:040x}", node.name, index * 7919));
        let worker = schedule.workers[index];
        let (seconds, publish) = (lengths[index] * 0.97, 0.02 + 0.03 * random.next());
        let mut phases = vec![(Phase::LookUp, 0.01)];
        if node.kind == NodeKind::Task {
            phases.push((Phase::Run, seconds - publish));
        } else {
            let generate = 0.1 + 0.1 * random.next();
            phases.push((Phase::Generate, generate));
            if index % 13 == 5 {
                phases.push((Phase::WaitForSlot, 0.2));
            }
            let waits = if index % 13 == 5 { 0.2 } else { 0.0 };
            phases.push((Phase::Compile, seconds - generate - publish - waits));
        }
        (node.state, node.origin) = (State::Done, Some(ResultOrigin::Built));
        node.size = Some(20_000 + 37 * index as u64);
        if index == failing {
            let message = "cannot compile: error: ‘x’ was not declared; if (a < b && c > 1)";
            (node.state, node.origin, node.size) = (State::Failed, None, None);
            node.error = Some(Error::new(Kind::Compile, message));
        } else {
            phases.push((Phase::Publish, publish));
        }
        node.last = Some(Execution {
            host: format!("node{:02}", worker / 2 + 1),
            pid: 4000 + u32::try_from(worker).unwrap_or_default(),
            rank: worker / 2,
            slot: worker % 2,
            begin: BEGIN + schedule.begins[index],
            phases,
            memory: 180_000_000 + 1_000_000 * index as u64,
        });
    }
}
