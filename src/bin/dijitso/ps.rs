//! `dijitso ps`.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use dijitso::cache::Cache;
use dijitso::cache::in_progress::WorkInProgress;
use dijitso::error::Result;
use dijitso::owner::Liveness;
use dijitso::signature::name_of;

use super::Status;
use super::context::CommandContext;
use super::gc::seconds;
use super::output::{Align, Out, Table, age, count, shortened};
use super::select::Entries;

/// The time between two looks of --watch.
const INTERVAL: &str = "1s";

/// Options of `dijitso ps`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show it again and again, each second or in this interval, until Ctrl-C
    #[arg(short = 'w', long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
          default_missing_value = INTERVAL, value_parser = seconds)]
    watch: Option<Duration>,

    #[command(flatten)]
    entries: Entries,
}

impl Arguments {
    /// Writes what is being built now.
    pub(super) fn run(&self, context: &mut CommandContext) -> Result<Status> {
        let cache = context.new_cache()?;
        let mut users = UserNames::default();
        let mut above = 0;
        loop {
            let (work, left): (Vec<_>, Vec<_>) = cache
                .work_in_progress()?
                .into_iter()
                .filter(|work| self.is_chosen(work))
                .partition(|work| !work.is_over);
            let out = &mut context.out;
            let rewrites = self.watch.is_some() && out.columns().is_some() && !out.json;
            if rewrites && above > 0 {
                // What cannot be written is found out below.
                let _ = out.raw(format!("\x1b[{above}A\r\x1b[J").as_bytes());
            }
            if out.json {
                out.document(&document(&cache, &work, &mut users));
            } else {
                above = write(&cache, &work, left.len(), &mut users, out);
            }
            out.flush();
            let Some(interval) = self.watch.filter(|_| !out.is_closed()) else { return Ok(Status::Done) };
            std::thread::sleep(interval.max(Duration::from_millis(100)));
            if !rewrites && !out.json {
                out.line("");
            }
        }
    }

    /// Returns whether the words choose this work. What is being built need not be in the cache yet.
    fn is_chosen(&self, work: &WorkInProgress) -> bool {
        let words = self.entries.words();
        let is_named =
            |signature: &String| words.iter().any(|word| dijitso::cache::select::names(word, signature));
        words.is_empty() || work.signature.as_ref().is_some_and(is_named)
    }
}

/// Names of users by their numbers.
#[derive(Default)]
struct UserNames(HashMap<u32, Option<String>>);

impl UserNames {
    /// Returns the name: of the list of users of this host, else as the owner has written it, else the number.
    fn of(&mut self, work: &WorkInProgress) -> String {
        let uid = work.uid;
        let known = self.0.entry(uid).or_insert_with(|| {
            let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
            })
        });
        known.clone().unwrap_or_else(|| match work.about.user.as_str() {
            "" => uid.to_string(),
            user => user.to_owned(),
        })
    }
}

fn what(work: &WorkInProgress) -> String {
    work.signature
        .as_ref()
        .map_or_else(|| "(making room)".to_owned(), |signature| name_of(signature).to_owned())
}

fn since(work: &WorkInProgress) -> String {
    work.age.map_or_else(|| "-".to_owned(), age)
}

/// Says what is known of a process that does not simply run.
fn state_word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "running",
        Liveness::Stopped => "stopped",
        Liveness::Dead => "dead",
        Liveness::Unknown => "elsewhere",
    }
}

/// Writes a table. Returns the number of lines.
fn write(cache: &Cache, work: &[WorkInProgress], left: usize, users: &mut UserNames, out: &mut Out) -> usize {
    let root = cache.layout().root().display().to_string();
    let width = out.columns().unwrap_or(usize::MAX);
    let mut lines = 1;
    let builds = work.iter().filter(|work| work.signature.is_some()).count();
    let builders = count(builds, "build", "builds");
    let text = if work.is_empty() {
        format!("{root}: nothing is being built")
    } else {
        format!("{root}: {builders}")
    };
    out.line(shortened(&text, width, true));
    if !work.is_empty() {
        let columns = [
            ("NAME", Align::Left),
            ("SINCE", Align::Right),
            ("USER", Align::Left),
            ("PID", Align::Right),
            ("RANK", Align::Right),
            ("HOST", Align::Left),
            ("STATE", Align::Left),
            ("PROGRAM", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for work in work {
            let rank =
                work.about.rank.map_or_else(|| "-".to_owned(), |(rank, size)| format!("{rank}/{size}"));
            let program = if work.about.program.is_empty() { "-" } else { &work.about.program };
            table.row(vec![
                what(work),
                since(work),
                users.of(work),
                work.pid.to_string(),
                rank,
                work.host.clone(),
                state_word(work.liveness).to_owned(),
                program.to_owned(),
            ]);
        }
        table.fit(width, &[(7, 8), (0, 12), (5, 6), (0, 4), (2, 4)]);
        table.write(out);
        lines += 1 + work.len();
    }
    if left > 0 {
        let leases = count(left, "lease was", "leases were");
        let text = format!("{leases} left by programs that have ended; the next build takes them over");
        out.line(shortened(&text, width, false));
        lines += 1;
    }
    lines
}

fn document(cache: &Cache, work: &[WorkInProgress], users: &mut UserNames) -> Json {
    let builds: Vec<Json> = work
        .iter()
        .map(|work| {
            json!({
                "kind": if work.signature.is_some() { "build" } else { "eviction" },
                "name": work.signature.as_deref().map(name_of),
                "signature": work.signature,
                "cache_dir": work.cache_dir,
                "user": users.of(work),
                "uid": work.uid,
                "pid": work.pid,
                "program": Some(&work.about.program).filter(|program| !program.is_empty()),
                "rank": work.about.rank.map(|(rank, _)| rank),
                "ranks": work.about.rank.map(|(_, ranks)| ranks),
                "host": work.host,
                "state": state_word(work.liveness),
                "seconds": work.age.map(|age| age.as_secs()),
            })
        })
        .collect();
    json!({ "cache_dir": cache.layout().root(), "builds": builds })
}
