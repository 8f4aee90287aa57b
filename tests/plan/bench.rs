//! A directory with a plan, its cache, and a file to which every command of the plan appends its name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// No run of a command takes so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(100);

/// The head of plans: as many commands at once as `-j` says, on any machine.
pub(crate) const HEAD: &str = "[params]\nbuild.max_compilers = 64\n";

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

/// The end of a run.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Returns a task in a plan file. Its command notes `label`, runs `script`, and writes `label` into its output.
pub(crate) fn task(label: &str, needs: &[&str], script: &str) -> String {
    format!(
        "[[task]]\nlabel = \"{label}\"\nneeds = {needs:?}\noutputs = [\"{label}.out\"]\n\
         command = [\"sh\", \"-c\", '''echo \"{label}\" >> \"$NOTES\"; {script}\necho \"{label}\" > \"{label}.out\"''']\n"
    )
}

impl Bench {
    /// Makes a directory with this plan.
    pub(crate) fn new(plan: &str) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        fs::DirBuilder::new().mode(0o700).create(bench.at("tmp")).unwrap();
        bench.write_plan(plan);
        bench
    }

    pub(crate) fn write_plan(&self, plan: &str) {
        let head = if plan.contains("[params]") { "" } else { HEAD };
        fs::write(self.at("plan.toml"), format!("{head}{plan}")).unwrap();
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Gives a command the environment of this directory.
    pub(crate) fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = std::env::var_os("PATH").unwrap();
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.at("tmp"))
            .env("NOTES", self.at("notes"))
            .env("DIJITSO_CACHE_DIR", self.at("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Signals are sent to it and what it starts, and to nothing else.
            .process_group(0)
    }

    pub(crate) fn dijitso(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dijitso"));
        self.prepare(command.args(arguments));
        command
    }

    /// Starts `dijitso make plan.toml`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.dijitso(&[&["make", "plan.toml"], arguments].concat()).spawn().unwrap()
    }

    /// Runs `dijitso make plan.toml`.
    pub(crate) fn make(&self, arguments: &[&str]) -> Run {
        ended(self.start(arguments))
    }

    /// Makes the plan, which has to succeed. Returns what was started meanwhile, sorted.
    pub(crate) fn makes(&self, arguments: &[&str]) -> Vec<String> {
        let before = self.notes().len();
        let run = self.make(arguments);
        assert_eq!(run.code, Some(0), "{}", run.err);
        let mut started = self.notes().split_off(before);
        started.sort();
        started
    }

    /// Returns what commands have noted.
    pub(crate) fn notes(&self) -> Vec<String> {
        fs::read_to_string(self.at("notes")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Returns how often each command has noted its name.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.notes().into_iter().for_each(|note| *counts.entry(note).or_default() += 1);
        counts
    }

    /// Waits until something has been noted so often.
    pub(crate) fn await_notes(&self, count: usize) {
        wait_until(&format!("{count} notes"), || self.notes().len() >= count);
    }

    /// Waits until so many commands have begun, and are tied to their make: a command that has just been started would
    /// outlive a make that is killed in the same moment.
    pub(crate) fn await_running(&self, count: usize) {
        self.await_notes(count);
        std::thread::sleep(Duration::from_millis(300));
    }

    /// Returns the number of results and libraries in the cache.
    pub(crate) fn published(&self) -> usize {
        self.files("result", "").len() + self.files("lib", ".so").len()
    }

    /// Returns the files of a folder of the cache that end like this, without those that are being written.
    pub(crate) fn files(&self, folder: &str, end: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("cache").join(folder)).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_whole = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(end) && !name.starts_with('.')
        };
        paths.filter(is_whole).collect()
    }

    /// Returns the states of the nodes by their labels.
    pub(crate) fn states(&self) -> BTreeMap<String, String> {
        let run = ended(self.dijitso(&["plan", "ls", "plan.toml", "--json"]).spawn().unwrap());
        let json: serde_json::Value =
            serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
        let text = |node: &serde_json::Value, key: &str| node[key].as_str().unwrap().to_owned();
        json.as_array().unwrap().iter().map(|node| (text(node, "label"), text(node, "state"))).collect()
    }

    /// Returns the processes that have the environment of this directory, without those that have ended.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = format!("NOTES={}", self.at("notes").display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until no process of this directory is left.
    pub(crate) fn await_quiet(&self) {
        let begin = Instant::now();
        while let Some(pid) = self.processes().first() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            assert!(begin.elapsed() < LIMIT, "process {stat} ({line}) goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks that nothing is being built.
    pub(crate) fn assert_no_leases(&self) {
        assert_eq!(self.files("lease", ""), Vec::<PathBuf>::new());
    }
}

impl Drop for Bench {
    /// Leaves no process behind, also after a failure.
    fn drop(&mut self) {
        for pid in self.processes() {
            signal(pid, Signal::KILL);
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    let _ = kill_process(pid, signal);
}

/// Waits for a program, and not for ever: its group is killed after [`LIMIT`].
pub(crate) fn ended(child: Child) -> Run {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    let (sender, over) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let is_late = over.recv_timeout(LIMIT).is_err();
        if is_late {
            let _ = kill_process_group(group, Signal::KILL);
        }
        is_late
    });
    let output: Output = child.wait_with_output().unwrap();
    let _ = sender.send(());
    let is_late = guard.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let run = Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!is_late, "it did not end: {} {}", run.out, run.err);
    assert_ne!(output.status.signal(), Some(11), "{}", run.err);
    run
}

/// Sends a signal again and again until a program ends: signals that come together are one.
pub(crate) fn ended_by(mut child: Child, number: Signal) -> Run {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() && begin.elapsed() < LIMIT {
        signal(child.id(), number);
        std::thread::sleep(Duration::from_millis(200));
    }
    ended(child)
}

/// Waits until something holds, and not for ever.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns true if the long forms of tests are asked for: by `tests/run --full`.
pub(crate) fn is_full() -> bool {
    std::env::var_os("DIJITSO_TEST_PART").is_some_and(|part| part == "1")
}

/// Returns true if a text has all of these in it.
pub(crate) fn has_all(text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| text.contains(part))
}

/// Returns the lines of a file of JSON lines.
pub(crate) fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
