//! The definition of a plan, as a plan file says it: text alone, no callbacks.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The definition of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanDefinition {
    /// Its name, which its journal has, too.
    pub name: String,
    /// The directory that relative paths begin at; absolute.
    pub base: PathBuf,
    /// Parameters of all modules by their keys, such as `build.cxxflags`, as text for
    /// [`Params::set`](crate::params::Params::set). Relative directories are absolute already. Key
    /// `generator` has JSON.
    pub params: BTreeMap<String, String>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<NodeDefinition>,
}

/// The definition of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeDefinition {
    /// The label, unique in the plan.
    pub label: String,
    /// The line of the file at which it begins, from 1; 0 if it comes from no file.
    pub line: usize,
    /// Labels of the nodes whose results it uses.
    pub needs: Vec<String>,
    /// Labels of the nodes that are made before it, and whose results it does not use.
    pub after: Vec<String>,
    /// The work that it does.
    pub work: WorkDefinition,
}

/// The work of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkDefinition {
    /// Builds a library.
    Module(ModuleDefinition),
    /// Runs a command.
    Task(TaskDefinition),
}

/// The definition of a library.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleDefinition {
    /// The name of the library.
    pub name: String,
    /// Parameters besides those of the plan, by their keys. Section `generator` is not among them.
    pub params: BTreeMap<String, String>,
    /// Section `generator` of the parameters, as JSON; empty if there is none. Members of an object are added
    /// to those of the plan, as by [`Params::merge_json`](crate::params::Params::merge_json).
    pub generator: String,
    /// The place of its source.
    pub source: SourceDefinition,
    /// The place of its header.
    pub header: Option<SourceDefinition>,
    /// True if the source is part of the key, as with `dijitso_jit_source`; false if name and parameters are
    /// the key, as with `dijitso_jit`.
    pub keyed_by_text: bool,
}

/// The place of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceDefinition {
    /// A file; relative to the directory of the plan.
    File(PathBuf),
    /// The text itself.
    Text(String),
    /// A file that a task writes. The task is one of the needs.
    Output {
        /// The label of the task.
        task: String,
        /// The file, as the outputs of the task have it.
        file: String,
    },
    /// The source (or header) of this signature in the cache.
    Entry(String),
}

/// The definition of a command that makes files.
///
/// The command runs in a folder of its own. It finds there the inputs by the paths that the plan gives them,
/// and the outputs of the tasks that it needs by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDefinition {
    /// The word by which `f()` selects the task: by default the name of its program.
    pub name: String,
    /// Program and arguments; words in braces are replaced already.
    pub command: Vec<String>,
    /// Parameters that are part of its signature. In a plan file `{key}` stands for them in command, inputs
    /// and outputs.
    pub params: BTreeMap<String, String>,
    /// Environment variables beside those that it inherits. These alone are part of its signature.
    pub env: BTreeMap<String, String>,
    /// Files that it reads, relative to the directory of the plan. Globs are expanded already. The command finds a
    /// file that is not below that directory by its last name.
    pub inputs: Vec<PathBuf>,
    /// Files that it writes, relative to its folder.
    pub outputs: Vec<String>,
    /// The directory into which its outputs are copied as well, relative to the directory of the plan.
    pub copy_to: Option<PathBuf>,
    /// After this long its process group is killed; `None` waits for ever.
    pub timeout: Option<Duration>,
}
