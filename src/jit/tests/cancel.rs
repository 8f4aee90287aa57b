//! Calls that the host cancels by its poll callback.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::*;
use crate::cache::lease::{self, Acquire};
use crate::jit::callbacks::interrupt_of;
use crate::params::resolved::Resolved;
use crate::process::interrupt::Interrupt;

/// The time in which a cancelled call has returned, also on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// A compiler that ends when it is cancelled, unless `works`.
pub(super) struct EndlessCompiler {
    pub(super) works: AtomicBool,
    runs: AtomicUsize,
    ended: AtomicUsize,
}

impl EndlessCompiler {
    pub(super) fn new() -> Arc<Self> {
        let works = AtomicBool::new(false);
        Arc::new(Self { works, runs: AtomicUsize::new(0), ended: AtomicUsize::new(0) })
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl Runner for EndlessCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let begin = Instant::now();
        if self.works.load(Ordering::SeqCst) {
            if !command.argv.iter().any(|word| word == "-o") {
                return Ok(Outcome {
                    exit: Exit::Code(0),
                    output: b"fake version 1\nTarget: test\n".to_vec(),
                });
            }
            fake_library(command)?;
            return Ok(Outcome { exit: Exit::Code(0), output: Vec::new() });
        }
        while !command.context.is_cancelled() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the compiler is not ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome { exit: Exit::Signal(9), output: Vec::new() })
    }
}

/// Returns an interrupt that cancels after this many questions.
pub(super) fn after(questions: usize) -> Interrupt {
    let asked = AtomicUsize::new(0);
    interrupt_of(move || i32::from(asked.fetch_add(1, Ordering::SeqCst) >= questions))
}

/// A session with an endless compiler, and parameters.
struct Host {
    root: tempfile::TempDir,
    session: Session,
    compiler: Arc<EndlessCompiler>,
    params: Resolved,
}

impl Host {
    fn new(settings: &[(&str, &str)]) -> Self {
        let root = scratch();
        let mut params = test_params(
            root.path(),
            &[("cache.cache_dir", "cache"), ("cache.signature", "name"), ("build.cxx", "/nonexistent/fake")],
        );
        settings.iter().for_each(|(key, value)| params.set(key, value).unwrap());
        let compiler = EndlessCompiler::new();
        let session = Session::new(compiler.clone(), Arc::new(FakeLoader { fails: false }));
        let params = params.resolve().unwrap();
        Self { root, session, compiler, params }
    }

    fn request(&self) -> Result<Request<'_>> {
        Ok(Request { name: "form", params: &self.params })
    }

    fn jit(&self, poll: Option<Interrupt>) -> Result<Library> {
        self.session.jit(self.request(), &mut Callbacks { poll, ..generates(b"code") })
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    /// Returns the files in a folder of the cache.
    fn files(&self, folder: &str) -> usize {
        fs::read_dir(self.cache().join(folder)).map_or(0, |files| files.count())
    }

    /// Checks that nothing is left of a cancelled call, and that the next one builds.
    fn check_clean(&self) {
        assert_eq!(["lib", "src", "include", "log", "lease", "failed"].map(|name| self.files(name)), [0; 6]);
        let entries = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().file_name());
        let failures = entries.filter(|name| name.to_string_lossy().starts_with("jitfailure"));
        assert_eq!(failures.count(), 0);
        assert_eq!(Cache::new(&self.cache(), &self.params.cache).stats().total().failures, 0);
        self.compiler.works.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        assert_eq!(self.jit(None).unwrap().origin(), Origin::Built);
        assert!(begin.elapsed() < SOON);
    }
}

fn check_cancelled<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert!(error.message().ends_with("the call was cancelled by its poll callback"), "{error}");
}

#[test]
fn a_compiler_is_ended_and_nothing_is_left() {
    let host = Host::new(&[]);
    let begin = Instant::now();
    check_cancelled(host.jit(Some(after(3))));
    assert!(begin.elapsed() < SOON);
    assert_eq!(host.compiler.runs(), 1, "no second run after one that was cancelled");
    host.check_clean();
}

#[test]
fn a_poll_that_does_not_cancel_changes_nothing() {
    let host = Host::new(&[]);
    host.compiler.works.store(true, Ordering::SeqCst);
    assert_eq!(host.jit(Some(interrupt_of(|| 0))).unwrap().origin(), Origin::Built);
    let unasked = interrupt_of(|| panic!("a memory hit does not wait"));
    assert_eq!(host.jit(Some(unasked)).unwrap().origin(), Origin::Memory);
}

#[test]
fn a_question_to_the_compiler_is_ended_and_its_answer_not_kept() {
    let host = Host::new(&[("cache.signature", "hash"), ("build.cxx", "/bin/true")]);
    check_cancelled(host.jit(Some(after(3))));
    assert_eq!(host.compiler.runs(), 1);
    assert_eq!(host.files("toolchain"), 0);
    host.compiler.works.store(true, Ordering::SeqCst);
    let built = host.jit(None).unwrap();
    assert_eq!(built.origin(), Origin::Built);
    let again = Session::new(host.compiler.clone(), Arc::new(FakeLoader { fails: false }));
    let found = again.jit(host.request(), &mut Callbacks::default()).unwrap();
    assert_eq!(found.signature(), built.signature(), "the compiler was asked again");
}

#[test]
fn a_wait_for_another_program_ends() {
    let host = Host::new(&[]);
    let cache = Cache::with_shared_params(&host.cache(), &host.params.cache);
    let (tree, path) = (Arc::new(cache.open_or_make().unwrap()), cache.layout().lease("form"));
    std::thread::scope(|scope| {
        let (taken, wait) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let own = &path;
        scope.spawn(move || {
            let lease = lease::take(&tree, own, SOON, || false);
            assert!(matches!(lease, Acquire::Acquired(_)));
            taken.send(()).unwrap();
            let _ = released.recv();
        });
        wait.recv().unwrap();
        check_cancelled(host.jit(Some(after(3))));
        assert_eq!(host.compiler.runs(), 0);
        assert!(path.exists(), "the lease of the other one stays");
        drop(release);
    });
    host.check_clean();
}

/// The source is not asked for if the call is cancelled before.
#[test]
fn nothing_is_generated_after_the_answer_to_cancel() {
    let host = Host::new(&[]);
    let mut callbacks = generator(|_, _| panic!("generate is called"));
    callbacks.poll = Some(after(0));
    check_cancelled(host.session.jit(host.request(), &mut callbacks));
    host.check_clean();
}

#[test]
fn a_call_within_generate_is_cancelled_by_either_poll() {
    for own in [true, false] {
        let host = Host::new(&[]);
        let nested = |asked: GenerateRequest<'_>, source: &mut Source| {
            assert_eq!(asked.name, "form");
            let request = Ok(Request { name: "element", params: &host.params });
            let poll = own.then(|| after(3));
            let error = host.session.jit(request, &mut Callbacks { poll, ..generates(b"b") }).unwrap_err();
            assert_eq!(error.kind(), Kind::Cancelled);
            source.error = Some("no element".to_owned());
            Err(1)
        };
        let mut callbacks = generator(nested);
        callbacks.poll = (!own).then(|| after(3));
        let error = host.session.jit(host.request(), &mut callbacks).unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        assert!(error.message().contains("cancelled by its poll callback"), "{error}");
        drop(callbacks);
        host.check_clean();
    }
}

#[test]
fn a_started_build_is_cancelled_at_its_finish() {
    let host = Host::new(&[]);
    let pending = host.session.start(host.request(), &mut generates(b"code")).unwrap();
    let mut callbacks = Callbacks { poll: Some(after(2)), ..generates(b"code") };
    check_cancelled(host.session.finish(pending, &mut callbacks));
    assert_eq!(host.compiler.ended.load(Ordering::SeqCst), 1, "the compiler has ended before the return");
    host.check_clean();
}

#[test]
fn a_build_that_another_call_has_started_too_goes_on_for_it() {
    let host = Host::new(&[]);
    let start = || host.session.start(host.request(), &mut generates(b"code")).unwrap();
    let (first, second) = (start(), start());
    check_cancelled(
        host.session.finish(first, &mut Callbacks { poll: Some(after(2)), ..generates(b"code") }),
    );
    assert_eq!(host.compiler.ended.load(Ordering::SeqCst), 0);
    check_cancelled(
        host.session.finish(second, &mut Callbacks { poll: Some(after(2)), ..generates(b"code") }),
    );
    assert_eq!((host.compiler.ended.load(Ordering::SeqCst), host.compiler.runs()), (1, 1));
    host.check_clean();
}

/// Receivers of a transport of the host's own get the error.
#[test]
fn receivers_learn_that_the_builder_was_cancelled() {
    let host = Host::new(&[]);
    let mut sent = Vec::new();
    let mut callbacks = Callbacks { poll: Some(after(2)), ..generates(b"code") };
    callbacks.send = Some(Box::new(|closure: &[u8]| {
        sent = closure.to_vec();
        Ok(())
    }));
    check_cancelled(host.session.jit(host.request(), &mut callbacks));
    drop(callbacks);
    let mut receiver =
        Callbacks { receive: Some(Box::new(move || Ok(sent.clone()))), ..Callbacks::default() };
    check_cancelled(host.session.jit(host.request(), &mut receiver));
}
