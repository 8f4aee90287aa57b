//! Fake compilers and loaders.

use super::*;

/// A compiler that copies the source, counts, and has a fault.
pub(super) struct FakeCompiler {
    pub(super) fault: Fault,
    pub(super) builds: AtomicUsize,
    pub(super) probes: AtomicUsize,
}

impl FakeCompiler {
    pub(super) fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault, builds: AtomicUsize::new(0), probes: AtomicUsize::new(0) })
    }
}

impl Runner for FakeCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |exit, output: &[u8]| Ok(Outcome { exit, output: output.to_vec() });
        if !command.argv.iter().any(|word| word == "-o") {
            self.probes.fetch_add(1, Ordering::SeqCst);
            return done(Exit::Code(0), b"fake version 1\nTarget: test\n");
        }
        self.builds.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::CompilerMissing => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            Fault::CompileError => return done(Exit::Code(1), b"x.cpp:1: error: 100 % \xff wrong\n"),
            Fault::CompilerKilled => return done(Exit::Signal(9), b""),
            _ => {}
        }
        fake_library(command)?;
        done(Exit::Code(0), b"")
    }
}

/// Returns the text of the source that a command compiles.
pub(super) fn source_of(command: &Command) -> io::Result<Vec<u8>> {
    let source = command.argv.iter().find(|word| word.ends_with(".cpp")).unwrap();
    fs::read(command.cwd.join(source))
}

/// Writes the output of a command: a library that contains the text of the source.
pub(super) fn fake_library(command: &Command) -> io::Result<()> {
    let at = command.argv.iter().position(|word| word == "-o").unwrap();
    fs::write(command.cwd.join(&command.argv[at + 1]), sample(&source_of(command)?))
}

/// A loader that checks that the file is there.
pub(super) struct FakeLoader {
    pub(super) fails: bool,
}

pub(super) struct FakeImage;

impl Image for FakeImage {
    fn symbol(&self, _name: &str) -> Option<*const std::ffi::c_void> {
        None
    }
}

impl Loader for FakeLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        if self.fails || !path.is_file() {
            return Err(Error::new(Kind::Load, format!("cannot load {}", path.display())));
        }
        Ok(Arc::new(FakeImage))
    }
}

/// A loader that evicts a file from the cache before some of its loads.
pub(super) struct EvictingLoader {
    /// The file to remove; `None` for the one that is to be loaded.
    victim: Option<PathBuf>,
    evictions_left: AtomicUsize,
}

impl EvictingLoader {
    pub(super) fn new(victim: Option<PathBuf>, evictions: usize) -> Arc<Self> {
        Arc::new(Self { victim, evictions_left: AtomicUsize::new(evictions) })
    }
}

impl Loader for EvictingLoader {
    fn load(&self, path: &Path) -> Result<Arc<dyn Image>> {
        let take_one = |left: usize| left.checked_sub(1);
        if self.evictions_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
            fs::remove_file(self.victim.as_deref().unwrap_or(path)).unwrap();
        }
        FakeLoader { fails: false }.load(path)
    }
}
