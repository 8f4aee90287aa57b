//! The nodes of a plan: what each of them does, and what has become of it. Callbacks of nodes get the plan, and
//! the plan has the nodes, so this is a part of the module above.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cache::results::ResultFile;
use crate::error::{Error, Result};
use crate::jit::Source;
use crate::jit::callbacks::Code;
use crate::params::resolved::Resolved;
use crate::sync::lock;

use super::Plan;
use crate::plan::definition::SourceDefinition;
use crate::plan::execution::Execution;
use crate::plan::view::{ResultOrigin, State};

/// A node of a plan: its place in the order of adding, from 0.
pub type NodeId = usize;

/// Generates the source of a library, as the generate callback of a call does.
pub type GenerateNode = dyn Fn(&NodeCall<'_>, &mut Source) -> std::result::Result<(), Code> + Send + Sync;

/// Makes the files of a task.
pub type RunTask = dyn Fn(&NodeCall<'_>) -> Result<Vec<ResultFile>> + Send + Sync;

/// The node whose callback is running, and its means to add needs.
pub struct NodeCall<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The node.
    pub node: NodeId,
    /// The signature of its result.
    pub signature: &'a str,
    /// Section `generator` of its parameters as JSON; the parameters of a task.
    pub params: &'a str,
    pub(in crate::plan) added: Mutex<Vec<NodeId>>,
}

impl NodeCall<'_> {
    /// Adds a need of the node. If it is not done when the callback returns, the node waits for it: the
    /// callback of a task is then called again, and the source of a library is kept.
    pub fn need(&self, needed: NodeId) {
        lock(&self.added).push(needed);
    }

    /// Returns true if the node has needs that are not done, and waits for them when its callback returns.
    #[must_use]
    pub fn waits(&self) -> bool {
        let is_open = |needed: &NodeId| self.plan.state(*needed).is_some_and(|state| state != State::Done);
        lock(&self.added).iter().any(is_open) || self.plan.waits(self.node)
    }
}

/// A node as it was added.
pub struct NodeSpec {
    /// The label, unique in the plan.
    pub label: String,
    /// Its work.
    pub work: Work,
    /// True if its callback may run on any thread, and several at once; false if only on the thread that makes
    /// the plan.
    pub any_thread: bool,
    /// The node whose callback has added it.
    pub definer: Option<NodeId>,
}

impl NodeSpec {
    /// Returns true if its callback belongs to the thread that makes the plan.
    #[must_use]
    pub fn is_of_host(&self) -> bool {
        self.work.has_callback() && !self.any_thread
    }
}

/// The work of a node.
pub enum Work {
    /// Builds a library.
    Module(ModuleWork),
    /// Makes files.
    Task(TaskWork),
    /// Nothing this rank can do: another rank has added the node.
    Remote(RemoteWork),
}

/// A library to build.
pub struct ModuleWork {
    /// The name of the library.
    pub name: String,
    /// Its parameters.
    pub params: Arc<Resolved>,
    /// Its source.
    pub source: ModuleSource,
}

/// The source of a library.
pub enum ModuleSource {
    /// A callback, called on a miss. The key is name and parameters.
    Generate(Arc<GenerateNode>),
    /// Its text, which is part of the key.
    Text {
        /// The code.
        code: Arc<[u8]>,
        /// The header.
        header: Option<Arc<[u8]>>,
    },
    /// Read when the node is made.
    Defined {
        /// The directory that relative paths begin at.
        base: PathBuf,
        /// The place of the code.
        code: SourceDefinition,
        /// The place of the header.
        header: Option<SourceDefinition>,
        /// True if the text is part of the key.
        keyed_by_text: bool,
    },
}

/// Files to make.
pub struct TaskWork {
    /// The word by which `f()` selects it. It begins the signature.
    pub name: String,
    /// Parameters that are part of the signature, as JSON.
    pub params: String,
    /// Files that it reads: the name that it knows them by, and the path.
    pub inputs: Vec<(String, PathBuf)>,
    /// Makes the files.
    pub action: TaskAction,
}

/// The means by which a task makes its files.
pub enum TaskAction {
    /// A callback.
    Callback(Arc<RunTask>),
    /// A command.
    Command(CommandSpec),
}

/// A command that makes files in a folder of its own.
#[derive(Clone, Debug)]
pub struct CommandSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment variables beside those that it inherits.
    pub env: Vec<(String, String)>,
    /// The files that it writes, relative to its folder.
    pub outputs: Vec<String>,
    /// The directory into which they are copied as well.
    pub copy_to: Option<PathBuf>,
    /// After this long its process group is killed.
    pub timeout: Option<Duration>,
}

/// A node that the callback of another rank has added.
pub struct RemoteWork {
    /// True if it is a task.
    pub is_task: bool,
    /// The name of the library or task.
    pub name: String,
}

impl Work {
    /// Returns the name by which people select the node.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Module(module) => &module.name,
            Self::Task(task) => &task.name,
            Self::Remote(remote) => &remote.name,
        }
    }

    /// Returns true if it makes files, false if a library.
    #[must_use]
    pub fn is_task(&self) -> bool {
        match self {
            Self::Module(_) => false,
            Self::Task(_) => true,
            Self::Remote(remote) => remote.is_task,
        }
    }

    /// Returns true if it calls a function of the host.
    #[must_use]
    pub fn has_callback(&self) -> bool {
        match self {
            Self::Module(module) => matches!(module.source, ModuleSource::Generate(_)),
            Self::Task(task) => matches!(task.action, TaskAction::Callback(_)),
            Self::Remote(_) => false,
        }
    }
}

/// The state of a node, and the facts that go with it.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its state.
    pub state: State,
    /// True if it was done once, and something that it depends on has changed since.
    pub stale: bool,
    /// True if it is to do and its last execution was interrupted.
    pub interrupted: bool,
    /// The way in which it got its result in the last make.
    pub origin: Option<ResultOrigin>,
    /// Its signature, if that is known.
    pub signature: Option<String>,
    /// The digest of its result: of the files of a task; empty for a library.
    pub digest: String,
    /// The size of its result in bytes.
    pub size: Option<u64>,
    /// The error, if it is failed; the reason, if it is blocked.
    pub error: Option<Error>,
    /// The failed node that blocks it.
    pub blocked_by: Option<NodeId>,
    /// Its last execution in this process.
    pub last: Option<Execution>,
}

impl Default for NodeStatus {
    fn default() -> Self {
        Self {
            state: State::Todo,
            stale: false,
            interrupted: false,
            origin: None,
            signature: None,
            digest: String::new(),
            size: None,
            error: None,
            blocked_by: None,
            last: None,
        }
    }
}
