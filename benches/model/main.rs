//! Computes the cost of a call with many ranks: messages, depth, bytes, accesses to the shared directory.
//!
//! Runs the real code on thread ranks, with a fake compiler and a fake loader, and counts the collectives of
//! a call. The ranks of a host meet in shared memory; the messages are those between the hosts. The bytes of each
//! collective are linear in the numbers of ranks and hosts: three runs give the coefficients,
//! and a fourth run of another shape checks them. The costs of a collective are those of the
//! algorithms of `src/parallel/mpi/between.rs`: dissemination, binomial trees, Bruck's all-gather.
//!
//! usage: model call RANKS HOSTS DIRECTORY WAY NAMES     a run (benches/model/run counts its system calls)
//!        model report ACCESSES SVG                      the table, from the lines of that file; and the curve
//!
//! WAY says who reads the cache: `plain`, `staged`, `rank0`, `sent` (see `Way`). NAMES is the number of libraries,
//! which the run asks for one after the other. The variable `MODEL_LIBRARY` has the path of the library that the
//! fake compiler gives.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a program of a benchmark"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use dijitso::error::{Error, Result};
use dijitso::jit::CommState;
use dijitso::jit::callbacks::GenerateRequest;
use dijitso::jit::{Batch, Callbacks, Session, Source};
use dijitso::load::{Image, Loader};
use dijitso::parallel::Communicator;
use dijitso::parallel::threads::run_on_hosts;
use dijitso::params::{Environment, Params};
use dijitso::process::{Command, Exit, Outcome, Runner};

const PER_HOST: usize = 64;
const SIZES: [usize; 8] = [1, 16, 64, 256, 1024, 4096, 16_384, 100_000];

/// The kind of a collective.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Min,
    Broadcast,
    Gather,
    /// Within the groups of ranks of a host.
    Groups,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Min => "reduction",
            Self::Broadcast => "broadcast",
            Self::Gather => "gathering",
            Self::Groups => "broadcast within hosts",
        }
    }
}

/// A collective, with the bytes that rank 0 contributes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Collective {
    kind: Kind,
    bytes: usize,
}

type Log = Arc<Mutex<Vec<Collective>>>;

/// A communicator that logs its collectives.
struct Counting<C> {
    inner: C,
    log: Log,
}

impl<C> Counting<C> {
    fn record(&self, kind: Kind, bytes: usize) {
        self.log.lock().unwrap().push(Collective { kind, bytes });
    }
}

impl<C: Deref<Target = T>, T: Communicator + ?Sized + 'static> Communicator for Counting<C> {
    fn rank(&self) -> usize {
        self.inner.rank()
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    fn host(&self) -> &str {
        self.inner.host()
    }
    fn machine(&self) -> u64 {
        self.inner.machine()
    }
    fn min(&self, values: &mut [u64]) -> Result<()> {
        self.record(Kind::Min, 8 * values.len());
        self.inner.min(values)
    }
    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        self.inner.broadcast(root, data)?;
        self.record(Kind::Broadcast, data.len());
        Ok(())
    }
    fn broadcast_in_groups(&self, leaders: &[usize], data: &mut Vec<u8>) -> Result<()> {
        self.inner.broadcast_in_groups(leaders, data)?;
        self.record(Kind::Groups, data.len());
        Ok(())
    }
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        self.record(Kind::Gather, mine.len());
        self.inner.all_gather(mine)
    }
    fn begin(&self, call: &str, timeout: Option<Duration>) {
        self.inner.begin(call, timeout);
    }
    fn enter(&self, step: &str) {
        self.inner.enter(step);
    }
    fn check_alive(&self) -> Result<()> {
        self.inner.check_alive()
    }
    fn locate(&self, error: Error) -> Error {
        self.inner.locate(error)
    }
}

/// The variable with the path of the library that the fake compiler gives.
const LIBRARY: &str = "MODEL_LIBRARY";

/// A fake compiler that copies a library.
struct Copier;

impl Runner for Copier {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |output: &[u8]| Ok(Outcome { exit: Exit::Code(0), output: output.to_vec() });
        let Some(at) = command.argv.iter().position(|word| word == "-o") else {
            return done(b"compiler 1\nTarget: model\n");
        };
        fs::copy(std::env::var_os(LIBRARY).unwrap(), command.cwd.join(&command.argv[at + 1]))?;
        done(b"")
    }
}

/// A fake loader that reads the file.
struct Opener;

struct Opened;

impl Image for Opened {
    fn symbol(&self, _name: &str) -> Option<*const std::ffi::c_void> {
        None
    }
}

impl Loader for Opener {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        fs::read(path).map_err(|error| Error::io("cannot load", path, &error))?;
        Ok(Arc::new(Opened))
    }
}

/// The ranks that read the cache on a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Every rank.
    Plain,
    /// One rank of each host, for its host.
    Staged,
    /// Rank 0, for all hosts.
    Rank0,
    /// Rank 0, which sends what the last run has used at the first call.
    Sent,
}

impl Way {
    const ALL: [Self; 4] = [Self::Plain, Self::Staged, Self::Rank0, Self::Sent];

    /// Returns its word on the command line.
    fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Staged => "staged",
            Self::Rank0 => "rank0",
            Self::Sent => "sent",
        }
    }

    /// Returns the parameters `cache.node_stage_dir`, `cache.distribute` and `cache.prefetch_max_size`.
    fn settings(self) -> [(&'static str, &'static str); 3] {
        let [stage, distribute, prefetch] = match self {
            Self::Plain => ["", "off", "0"],
            Self::Staged => ["/dev/shm", "off", "0"],
            Self::Rank0 => ["/dev/shm", "on", "0"],
            Self::Sent => ["/dev/shm", "on", "256M"],
        };
        [
            ("cache.node_stage_dir", stage),
            ("cache.distribute", distribute),
            ("cache.prefetch_max_size", prefetch),
        ]
    }
}

/// Makes a run with a call for each of these lists of names, and returns the collectives of each call on rank 0.
fn calls(ranks: usize, hosts: usize, dir: &str, way: Way, calls: &[&[&str]]) -> Vec<Vec<Collective>> {
    let of_rank: Vec<String> = (0..ranks).map(|rank| format!("host{}", rank * hosts / ranks)).collect();
    let of_rank: Vec<&str> = of_rank.iter().map(String::as_str).collect();
    let environment = Environment {
        variables: [("HOME", "/nonexistent".to_owned())].into(),
        cwd: "/".into(),
        uid: rustix::process::geteuid().as_raw(),
        system_dir: "/nonexistent".into(),
    };
    let mut params = Params::in_environment(&environment).unwrap();
    for (key, value) in [("cache.cache_dir", dir), ("build.slots_dir", "")].into_iter().chain(way.settings())
    {
        params.set(key, value).unwrap();
    }
    let params = params.resolve().unwrap();
    let mut all = run_on_hosts(&of_rank, |comm| {
        let (session, agreed) = (Session::new(Arc::new(Copier), Arc::new(Opener)), CommState::default());
        let log = Log::default();
        let comm = Counting { inner: comm, log: Arc::clone(&log) };
        let call = |names: &&[&str]| {
            let generate = |_: GenerateRequest<'_>, source: &mut Source| {
                source.code = Some(b"code".to_vec());
                Ok(())
            };
            let mut callbacks = Callbacks { generate: Some(Box::new(generate)), ..Callbacks::default() };
            let batch = Batch { names, params: &params };
            let found = session.jit_many_on(&comm, &agreed, Ok(batch), &mut callbacks).unwrap();
            found.into_iter().for_each(|library| drop(library.unwrap()));
            std::mem::take(&mut *log.lock().unwrap())
        };
        let counted = calls.iter().map(call).collect::<Vec<_>>();
        session.end_runs();
        counted
    });
    all.swap_remove(0)
}

/// A linear function of ranks and hosts: constant and two coefficients.
#[derive(Clone, Copy, Debug)]
struct Term([f64; 3]);

impl Term {
    /// Returns the function through three points (ranks, hosts, value).
    fn through(points: [(usize, usize, f64); 3]) -> Self {
        let row = |(ranks, hosts, _): (usize, usize, f64)| [1.0, ranks as f64, hosts as f64];
        let rows = points.map(row);
        let values = points.map(|point| point.2);
        let whole = determinant(rows);
        let part = |column: usize| {
            let mut other = rows;
            other.iter_mut().zip(values).for_each(|(row, value)| row[column] = value);
            determinant(other) / whole
        };
        Self([part(0), part(1), part(2)])
    }

    fn at(self, ranks: usize, hosts: usize) -> f64 {
        self.0[0] + self.0[1] * ranks as f64 + self.0[2] * hosts as f64
    }
}

fn determinant([a, b, c]: [[f64; 3]; 3]) -> f64 {
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
}

/// Numbers of ranks and hosts: three to fit, one to check.
const SHAPES: [(usize, usize); 4] = [(32, 2), (64, 2), (64, 4), (200, 10)];

/// The cost of the collectives of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    messages: f64,
    /// The longest chain of messages that wait for one another.
    depth: f64,
    /// The bytes that a host receives.
    received: f64,
    /// The bytes that the host of rank 0 sends: no other sends more.
    sent: f64,
}

impl Cost {
    /// Adds a collective of `size` hosts, in which a host has `ranks` ranks.
    fn add(&mut self, kind: Kind, bytes: f64, size: usize, ranks: f64) {
        const FIRST: f64 = 1024.0;
        if size < 2 {
            return;
        }
        let (hosts, digits) = (size as f64, f64::from(usize::BITS - (size - 1).leading_zeros()));
        match kind {
            Kind::Min => {
                self.messages += hosts * digits;
                self.depth += digits;
                self.received += digits * bytes;
                self.sent += digits * bytes;
            }
            Kind::Broadcast => {
                self.messages += hosts - 1.0;
                self.depth += digits;
                self.received += FIRST;
                self.sent += digits * FIRST;
                let rest = bytes - (FIRST - 8.0);
                if rest > 0.0 {
                    self.add(Kind::Min, 8.0, size, ranks);
                    self.messages += hosts - 1.0;
                    self.depth += digits;
                    self.received += rest;
                    self.sent += digits * rest;
                }
            }
            Kind::Gather => {
                self.messages += hosts * digits;
                self.depth += digits;
                self.received += (hosts - 1.0) * ranks * bytes;
                self.sent += (hosts - 1.0) * ranks * bytes;
            }
            // The data stay on the host. All ranks agree that they have room for them.
            Kind::Groups => self.add(Kind::Min, 8.0, size, ranks),
        }
    }
}

/// Returns whether two numbers of bytes differ only by the digits of times and names in them.
fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 8.0 + 0.01 * other
}

/// The collectives of a call, each with its bytes as a function of ranks and hosts.
struct Model(Vec<(Collective, Term)>);

impl Model {
    /// Fits the model to the first three shapes, and checks it on the fourth.
    fn fit(counted: &[Vec<Collective>]) -> Self {
        let of = |at: usize| {
            let point = |shape: usize| {
                let (ranks, hosts) = SHAPES[shape];
                (ranks, hosts, counted[shape][at].bytes as f64)
            };
            let points = [point(0), point(1), point(2)];
            let greatest = points.iter().map(|point| point.2).fold(0.0, f64::max);
            if points.iter().all(|point| is_near(point.2, greatest)) {
                return Term([greatest, 0.0, 0.0]);
            }
            Term::through(points)
        };
        let model = Self(counted[0].iter().enumerate().map(|(at, what)| (*what, of(at))).collect());
        let (ranks, hosts) = SHAPES[3];
        assert_eq!(counted[3].len(), model.0.len(), "the number of collectives depends on the ranks");
        for ((what, term), found) in model.0.iter().zip(&counted[3]) {
            assert_eq!(what.kind, found.kind);
            let predicted = term.at(ranks, hosts);
            assert!(is_near(found.bytes as f64, predicted), "{what:?} {term:?} {found:?}");
        }
        model
    }

    fn cost(&self, ranks: usize, hosts: usize) -> Cost {
        let mut cost = Cost::default();
        for (what, term) in &self.0 {
            cost.add(what.kind, term.at(ranks, hosts), hosts, ranks as f64 / hosts as f64);
        }
        cost
    }
}

/// A call of the first table.
struct Case {
    name: &'static str,
    way: Way,
    /// The state of the cache: what earlier runs have built.
    is_warm: bool,
    /// The calls of the run. The last one is counted.
    calls: &'static [&'static [&'static str]],
}

/// The libraries of `dijitso_jit_many`.
const THIRTY: &[&str] = &[
    "m00", "m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "m13", "m14",
    "m15", "m16", "m17", "m18", "m19", "m20", "m21", "m22", "m23", "m24", "m25", "m26", "m27", "m28", "m29",
];

const CASES: [Case; 13] = [
    Case { name: "first build", way: Way::Staged, is_warm: false, calls: &[&["a"]] },
    Case { name: "later build", way: Way::Staged, is_warm: false, calls: &[&["a"], &["b"]] },
    Case { name: "first hit, every rank reads", way: Way::Plain, is_warm: true, calls: &[&["a"]] },
    Case { name: "later hit, every rank reads", way: Way::Plain, is_warm: true, calls: &[&["a"], &["b"]] },
    Case {
        name: "30 hits at once, every rank reads",
        way: Way::Plain,
        is_warm: true,
        calls: &[&["a"], THIRTY],
    },
    Case { name: "first hit, one rank of a host reads", way: Way::Staged, is_warm: true, calls: &[&["a"]] },
    Case {
        name: "later hit, one rank of a host reads",
        way: Way::Staged,
        is_warm: true,
        calls: &[&["a"], &["b"]],
    },
    Case { name: "first hit, rank 0 reads", way: Way::Rank0, is_warm: true, calls: &[&["a"]] },
    Case { name: "later hit, rank 0 reads", way: Way::Rank0, is_warm: true, calls: &[&["a"], &["b"]] },
    Case { name: "30 hits at once, rank 0 reads", way: Way::Rank0, is_warm: true, calls: &[&["a"], THIRTY] },
    Case { name: "first hit, rank 0 sends the last run", way: Way::Sent, is_warm: true, calls: &[&["a"]] },
    Case { name: "later hit, sent at the first", way: Way::Sent, is_warm: true, calls: &[&["a"], &["b"]] },
    Case { name: "memory", way: Way::Plain, is_warm: true, calls: &[&["a"], &["a"]] },
];

/// Returns the model of a case.
fn model_of(case: &Case) -> Model {
    let count = |(ranks, hosts)| {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        if case.is_warm {
            // This is also the last run.
            drop(calls(4, 2, dir, Way::Sent, &[&["a"], &["b"], THIRTY]));
        }
        calls(ranks, hosts, dir, case.way, case.calls).pop().unwrap()
    };
    Model::fit(&SHAPES.map(count))
}

/// Fits the accesses to the shared directory, from lines of case, "staged" or "plain", ranks, hosts, count.
fn accesses(file: &str) -> BTreeMap<(String, String), Term> {
    let mut points: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        let key = (words[0].to_owned(), words[1].to_owned());
        points.entry(key).or_default().push((number(2), number(3), number(4) as f64));
    }
    let fit = |(key, points): (_, Vec<(usize, usize, f64)>)| {
        let counts = points.iter().map(|point| point.2);
        let (fewest, most) = (counts.clone().fold(f64::MAX, f64::min), counts.fold(0.0, f64::max));
        if most - fewest <= 4.0 + 0.1 * fewest {
            // They differ only by facts that were looked up again.
            return (key, Term([fewest, 0.0, 0.0]));
        }
        let term = Term::through([points[0], points[1], points[2]]);
        let (ranks, hosts, found) = points[3];
        let predicted = term.at(ranks, hosts);
        assert!(
            (predicted - found).abs() <= 4.0 + 0.1 * found,
            "{key:?}: {predicted} predicted and {found} found: {points:?}"
        );
        (key, term)
    };
    points.into_iter().map(fit).collect()
}

fn report(file: &str, svg: &str) {
    let models = CASES.map(|case| (case.name, model_of(&case)));
    let accesses = accesses(file);
    let hosts = |ranks: usize| ranks.div_ceil(PER_HOST);
    println!("| call | collectives |\n|---|---|");
    for (name, model) in &models {
        let kinds: Vec<&str> = model.0.iter().map(|(what, _)| what.kind.name()).collect();
        println!("| {name} | {} |", if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") });
    }
    println!();
    println!(
        "| call | ranks | hosts | collectives | messages | depth | received by a host | sent by the first host |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, model) in &models {
        for ranks in SIZES.into_iter().filter(|ranks| *ranks >= PER_HOST) {
            let (cost, count) = (model.cost(ranks, hosts(ranks)), model.0.len());
            println!(
                "| {name} | {ranks} | {} | {count} | {:.0} | {:.0} | {} | {} |",
                hosts(ranks),
                cost.messages,
                cost.depth,
                human(cost.received),
                human(cost.sent),
            );
        }
    }
    let term = |case: &str, way: Way| accesses[&(case.to_owned(), way.word().to_owned())];
    let head = "every rank reads | one rank of a host | rank 0 | rank 0 sends the last run";
    println!("\n| ranks | hosts | a build: {head} | 30 hits: {head} |");
    println!("|---|---|{}", "---|".repeat(8));
    for ranks in SIZES {
        let counts = ["cold", "warm"].map(|case| {
            Way::ALL.map(|way| format!("{:.0}", term(case, way).at(ranks, hosts(ranks)).max(0.0))).join(" | ")
        });
        println!("| {ranks} | {} | {} |", hosts(ranks), counts.join(" | "));
    }
    let curve = |way| move |ranks: usize| term("warm", way).at(ranks, hosts(ranks)).max(1.0);
    let depth = |name: &str| {
        let (_, model) = models.iter().find(|(other, _)| *other == name).unwrap();
        move |ranks: usize| model.cost(ranks, hosts(ranks)).depth.max(1.0)
    };
    fs::write(
        svg,
        draw(&[
            ("every rank reads", "#a33", Box::new(curve(Way::Plain))),
            ("one rank of a host", "#3f7a3f", Box::new(curve(Way::Staged))),
            ("rank 0 sends the last run", "#b8860b", Box::new(curve(Way::Sent))),
            ("depth of a later hit", "#44617b", Box::new(depth("later hit, every rank reads"))),
        ]),
    )
    .unwrap();
}

fn human(bytes: f64) -> String {
    if bytes < 10_000.0 {
        format!("{bytes:.0} B")
    } else if bytes < 1e7 {
        format!("{:.0} kB", bytes / 1e3)
    } else {
        format!("{:.0} MB", bytes / 1e6)
    }
}

type Curve<'a> = (&'a str, &'a str, Box<dyn Fn(usize) -> f64 + 'a>);

/// Draws curves with logarithmic axes: ranks from 1 to 100,000, values from 1 to 10 million.
fn draw(curves: &[Curve<'_>]) -> String {
    let x = |ranks: f64| 70.0 + 128.0 * ranks.log10();
    let y = |value: f64| 380.0 - 50.0 * value.log10();
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 470\" width=\"760\" height=\"470\" role=\"img\" \
         aria-labelledby=\"title\" font-family=\"sans-serif\" font-size=\"14\">\n<title id=\"title\">Accesses to the \
         shared directory for 30 hits, and depth of a hit, over the number of ranks, 64 on each host</title>\n<rect \
         width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    for decade in 0..=7 {
        let (value, at) = (10_f64.powi(decade), y(10_f64.powi(decade)));
        let _ = writeln!(
            svg,
            "<path d=\"M70 {at:.1}H710\" stroke=\"#ddd\"/><text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            at + 5.0
        );
    }
    for decade in 0..=5 {
        let (ranks, at) = (10_f64.powi(decade), x(10_f64.powi(decade)));
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} 30V380\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"400\" text-anchor=\"middle\">{ranks}</text>"
        );
    }
    let _ = writeln!(svg, "<text x=\"390\" y=\"422\" text-anchor=\"middle\">ranks, 64 on each host</text>");
    for (at, (name, color, curve)) in curves.iter().enumerate() {
        let points = (0..=200).map(|step| 10_f64.powf(f64::from(step) / 40.0));
        let line: Vec<String> =
            points.map(|ranks| format!("{:.1} {:.1}", x(ranks), y(curve(to_ranks(ranks))))).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        let across = 40 + 178 * at;
        let _ = writeln!(
            svg,
            "<rect x=\"{across}\" y=\"440\" width=\"14\" height=\"14\" fill=\"{color}\"/><text x=\"{}\" y=\"452\">{name}</text>",
            across + 20
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of ranks, from its logarithm"
)]
fn to_ranks(ranks: f64) -> usize {
    ranks.round() as usize
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["call", ranks, hosts, dir, way, names] => {
            let way = Way::ALL.into_iter().find(|known| known.word() == way).unwrap();
            let each: Vec<&[&str]> = THIRTY.chunks(1).take(names.parse().unwrap()).collect();
            drop(calls(ranks.parse().unwrap(), hosts.parse().unwrap(), dir, way, &each));
        }
        ["report", accesses, svg] => report(accesses, svg),
        _ => std::process::exit(2),
    }
}
