//! A compiler and a loader that are told what to do.

use super::*;

/// A compiler that copies, counts, and fails when told to.
pub(super) struct FakeCompiler {
    pub(super) fault: Fault,
    pub(super) builds: AtomicUsize,
    pub(super) probes: AtomicUsize,
}

impl Runner for FakeCompiler {
    fn run(&self, command: &Command) -> io::Result<Outcome> {
        let done = |exit, output: &[u8]| Ok(Outcome { exit, output: output.to_vec() });
        let Some(at) = command.argv.iter().position(|word| word == "-o") else {
            self.probes.fetch_add(1, Ordering::SeqCst);
            return done(Exit::Code(0), b"fake version 1\nTarget: test\n");
        };
        self.builds.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::CompilerMissing => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            Fault::CompileError => return done(Exit::Code(1), b"x.cpp:1: error: 100 % \xff wrong\n"),
            Fault::CompilerKilled => return done(Exit::Signal(9), b""),
            _ => {}
        }
        let source = command.argv.iter().find(|word| word.ends_with(".cpp")).unwrap();
        pass_off(command, source, at)?;
        done(Exit::Code(0), b"")
    }
}

/// Writes a library that has the text of the source in it.
pub(super) fn pass_off(command: &Command, source: &str, at: usize) -> io::Result<()> {
    let text = fs::read(command.cwd.join(source))?;
    fs::write(command.cwd.join(&command.argv[at + 1]), sample(&text))
}

/// A loader that looks whether the file is there.
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
