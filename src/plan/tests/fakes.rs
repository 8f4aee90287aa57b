//! Fake compilers, and plans of nodes that note their runs.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::cache::results::ResultFile;
use crate::elf::sample::sample;
use crate::error::{Error, Kind, Result};
use crate::jit::Session;
use crate::load::{Image, Loader};
use crate::params::{Environment, Params};
use crate::plan::make::{MakeEvent, MakeObserver, MakeOptions, MakeProgress, MakeReport, make};
use crate::plan::node::{ModuleSource, ModuleWork, NodeCall, TaskAction, TaskWork, Work};
use crate::plan::{Edge, NodeId, Plan};
use crate::process::{Command, Exit, Outcome, Runner};
use crate::sync::lock;

/// A compiler that copies its source, refuses sources that say so, and counts.
#[derive(Default)]
pub(super) struct CountingCompiler {
    pub(super) builds: AtomicUsize,
    /// Runs that are killed before one succeeds.
    pub(super) kills: AtomicUsize,
}

impl Runner for CountingCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |exit, output: &[u8]| Ok(Outcome { exit, output: output.to_vec() });
        let Some(at) = command.argv.iter().position(|word| word == "-o") else {
            return done(Exit::Code(0), b"fake version 1\nTarget: test\n");
        };
        let source = command.argv.iter().find(|word| word.ends_with(".cpp")).unwrap();
        let text = std::fs::read(command.cwd.join(source))?;
        self.builds.fetch_add(1, Ordering::SeqCst);
        let take_one = |left: usize| left.checked_sub(1);
        if self.kills.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
            return done(Exit::Signal(9), b"");
        }
        if text.starts_with(b"refused") {
            return done(Exit::Code(1), b"x.cpp:1: error: refused\n");
        }
        std::fs::write(command.cwd.join(&command.argv[at + 1]), sample(&text))?;
        done(Exit::Code(0), b"")
    }
}

pub(super) struct AnyLoader;

struct AnyImage;

impl Image for AnyImage {
    fn symbol(&self, _name: &str) -> Option<*const std::ffi::c_void> {
        None
    }
}

impl Loader for AnyLoader {
    fn load(&self, _path: &Path) -> Result<Arc<dyn Image>> {
        Ok(Arc::new(AnyImage))
    }
}

/// Parameters that do not depend on the environment, with the cache below `root`.
pub(super) fn raw_params(root: &Path, settings: &[(&str, &str)]) -> Params {
    let environment = Environment {
        variables: [("HOME", "/nonexistent".to_owned())].into(),
        cwd: root.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        system_dir: "/nonexistent".into(),
    };
    let mut params = Params::in_environment(&environment).unwrap();
    let always =
        [("cache.cache_dir", "cache"), ("build.cxx", "/nonexistent/fake"), ("cache.failure_ttl", "0")];
    always.iter().chain(settings).for_each(|(key, value)| params.set(key, value).unwrap());
    params
}

/// A plan whose nodes note that they have run.
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) session: Session,
    pub(super) compiler: Arc<CountingCompiler>,
    pub(super) runs: Arc<Mutex<Vec<String>>>,
    pub(super) options: MakeOptions,
}

impl Bench {
    pub(super) fn new(root: &Path) -> Self {
        Self::with(root, &[])
    }

    pub(super) fn with(root: &Path, settings: &[(&str, &str)]) -> Self {
        let compiler = Arc::new(CountingCompiler::default());
        Self {
            plan: Plan::new("test", Arc::new(raw_params(root, settings).resolve().unwrap())).unwrap(),
            session: Session::new(Arc::clone(&compiler) as Arc<dyn Runner>, Arc::new(AnyLoader)),
            compiler,
            runs: Arc::default(),
            options: MakeOptions { jobs: 2, ..MakeOptions::default() },
        }
    }

    /// Adds a task that needs others and returns its label, or fails if its label begins with "bad".
    pub(super) fn task(&self, label: &str, needs: &[NodeId]) -> NodeId {
        let (runs, own) = (Arc::clone(&self.runs), label.to_owned());
        self.task_by(label, needs, move |_| {
            lock(&runs).push(own.clone());
            if own.starts_with("bad") {
                return Err(Error::new(Kind::Generate, format!("{own} is bad")));
            }
            Ok(bytes(&own))
        })
    }

    pub(super) fn task_by(
        &self,
        label: &str,
        needs: &[NodeId],
        run: impl Fn(&NodeCall<'_>) -> Result<Vec<ResultFile>> + Send + Sync + 'static,
    ) -> NodeId {
        let work = Work::Task(task_work(label, run));
        let id = self.plan.add(label, work, true).unwrap();
        needs.iter().for_each(|needed| self.plan.need(id, *needed, Edge::Use).unwrap());
        id
    }

    /// Adds a library whose callback gives this code.
    pub(super) fn module(&self, label: &str, code: &'static str, needs: &[NodeId]) -> NodeId {
        let runs = Arc::clone(&self.runs);
        let own = label.to_owned();
        let generate = move |_: &NodeCall<'_>, source: &mut crate::jit::Source| {
            lock(&runs).push(own.clone());
            source.code = Some(code.into());
            Ok(())
        };
        let params = Arc::clone(self.plan.params());
        let work =
            ModuleWork { name: label.to_owned(), params, source: ModuleSource::Generate(Arc::new(generate)) };
        let id = self.plan.add(label, Work::Module(work), false).unwrap();
        needs.iter().for_each(|needed| self.plan.need(id, *needed, Edge::Use).unwrap());
        id
    }

    pub(super) fn make(&self) -> MakeReport {
        self.make_watched(&mut crate::plan::make::Unobserved)
    }

    pub(super) fn make_watched(&self, observer: &mut dyn MakeObserver) -> MakeReport {
        make(&self.plan, &self.session, &self.options, observer).unwrap()
    }

    /// Returns the labels of the nodes that have run since the last call, sorted.
    pub(super) fn runs(&self) -> Vec<String> {
        let mut runs = std::mem::take(&mut *lock(&self.runs));
        runs.sort();
        runs
    }
}

pub(super) fn task_work(
    name: &str,
    run: impl Fn(&NodeCall<'_>) -> Result<Vec<ResultFile>> + Send + Sync + 'static,
) -> TaskWork {
    let action = TaskAction::Callback(Arc::new(run));
    TaskWork { name: name.to_owned(), params: "{}".to_owned(), inputs: Vec::new(), action }
}

/// The result of a task that returns bytes.
pub(super) fn bytes(text: &str) -> Vec<ResultFile> {
    vec![ResultFile { name: String::new(), executable: false, contents: text.into() }]
}

/// An observer that keeps the events as text.
#[derive(Default)]
pub(super) struct Events(pub(super) Vec<String>);

impl MakeObserver for Events {
    fn event(&mut self, event: &MakeEvent) {
        let text = format!("{} {:?}", event.node, event.kind);
        self.0.push(text.split(['(', ' ']).take(2).collect::<Vec<_>>().join(" "));
    }

    fn progress(&mut self, _: &MakeProgress) {}
}
