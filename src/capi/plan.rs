//! Build plans: their nodes and edges.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::cache::results::TaskResult;
use crate::error::{Error, Kind, Result};
use crate::jit::callbacks::GenerateRequest;
use crate::owner::Creator;
use crate::params::Params;
use crate::params::resolved::Resolved;
use crate::plan::definition::PlanDefinition;
use crate::plan::node::{ModuleSource, ModuleWork, TaskAction, TaskWork, Work};
use crate::plan::{Edge, NodeId, Plan};
use crate::sync::lock;

use super::boundary;
use super::callbacks::{call_generate, dijitso_generate_fn};
use super::convert::{
    bytes, handle_output, invalid, optional_text, output, reference, structure, text, texts,
};
use super::error::dijitso_error;
use super::params::{dijitso_params, resolved, settings};
use super::plan_task::{dijitso_task_fn, task_callback};
use super::status::dijitso_status;

/// A node of a plan: a number, from 0, that stays the same as long as the plan.
pub type dijitso_node = i64;

/// No node.
pub const DIJITSO_NODE_NONE: i64 = -1;

/// The result of the needed node is used: a library is linked, files are read.
pub const DIJITSO_EDGE_USE: i32 = 1;
/// The node is only made later.
pub const DIJITSO_EDGE_AFTER: i32 = 2;

/// The callback may run on any thread, and beside other callbacks.
pub const DIJITSO_NODE_ANY_THREAD: u64 = 1;

/// A build plan: modules and tasks, and what they need. Owned by the caller, freed by dijitso_plan_free().
/// Any thread may use it.
pub struct dijitso_plan {
    pub(super) plan: Plan,
    /// The process that has made it: the locks of a forked child may never be opened.
    creator: Creator,
    /// True during a make.
    pub(super) is_making: AtomicBool,
    /// The parameters of the plan, and those of the modules that have their own, as they were given.
    pub(super) settings: Params,
    pub(super) node_settings: Mutex<HashMap<NodeId, Params>>,
    /// The file that the plan was loaded from.
    pub(super) definition: Option<PlanDefinition>,
    pub(super) lent: Mutex<LentTexts>,
}

/// The objects that the host has borrowed from a plan.
#[derive(Default)]
pub(super) struct LentTexts {
    pub(super) labels: HashMap<NodeId, CString>,
    pub(super) signatures: HashMap<NodeId, CString>,
    /// Signatures that have changed during a make.
    pub(super) old: Vec<CString>,
    pub(super) results: HashMap<NodeId, Arc<TaskResult>>,
}

impl dijitso_plan {
    /// Makes the handle of a plan.
    pub(super) fn handle(plan: Plan, settings: Params, definition: Option<PlanDefinition>) -> *mut Self {
        let made = Self {
            plan,
            creator: Creator::current(),
            is_making: AtomicBool::new(false),
            settings,
            node_settings: Mutex::default(),
            definition,
            lent: Mutex::default(),
        };
        Arc::into_raw(Arc::new(made)).cast_mut()
    }

    /// Refuses a forked child, in which a lock may be closed for ever.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.creator.is_current() {
            return Ok(());
        }
        let text = format!(
            "the plan {} belongs to process {}, of which this is a forked child: make a new one here",
            self.plan.name(),
            self.creator
        );
        Err(Error::new(Kind::State, text))
    }

    /// Drops what the host has borrowed until the next make.
    pub(super) fn take_back_lent(&self) {
        let lent = &mut *lock(&self.lent);
        let labels = std::mem::take(&mut lent.labels);
        *lent = LentTexts { labels, ..LentTexts::default() };
    }

    /// Refuses to change the plan while it is made, except in a callback of a node.
    fn check_open(&self) -> Result<()> {
        if self.is_making.load(Ordering::SeqCst) && self.plan.current().is_none() {
            let text = format!(
                "the plan {} is being made: until that ends, only callbacks of its nodes may add to it",
                self.plan.name()
            );
            return Err(Error::new(Kind::State, text));
        }
        Ok(())
    }
}

/// Reads a plan that must not be NULL.
///
/// # Safety
/// `plan` is NULL or valid for `'a`.
pub(super) unsafe fn plan_of<'a>(plan: *const dijitso_plan) -> Result<&'a dijitso_plan> {
    // SAFETY: promised by the caller.
    let plan = unsafe { reference(plan, "plan") }?;
    plan.check_process()?;
    Ok(plan)
}

/// Returns the number of a node. The plan checks that it is there.
pub(super) fn node_of(node: dijitso_node, what: &str) -> Result<NodeId> {
    usize::try_from(node).map_err(|_| invalid(format!("{what} is {node}, which is no node")))
}

/// Returns the node of a number.
pub(super) fn node_handle(node: NodeId) -> dijitso_node {
    i64::try_from(node).unwrap_or(DIJITSO_NODE_NONE)
}

/// A library of a plan. Initialise it by DIJITSO_PLAN_MODULE_INIT and set name and either generate or code.
/// All is *copied*, apart from what user_data points to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_plan_module {
    /// sizeof(dijitso_plan_module)
    pub struct_size: usize,
    /// A name for people, unique in the plan; NULL: made from name.
    pub label: *const c_char,
    /// The name of the library.
    pub name: *const c_char,
    /// The parameters; NULL: those of the plan.
    pub params: *const dijitso_params,
    /// Passed to generate.
    pub user_data: *mut c_void,
    /// Generates the source on a miss. The key is name and parameters.
    pub generate: dijitso_generate_fn,
    /// The source itself, any bytes; part of the key, as with dijitso_jit_source(). NULL if there is
    /// generate.
    pub code: *const c_char,
    /// Bytes of code.
    pub code_length: usize,
    /// With code: a header that code and dependants may include as "SIGNATURE.h"; NULL for none.
    pub header: *const c_char,
    /// Bytes of header.
    pub header_length: usize,
    /// 0 or DIJITSO_NODE_ANY_THREAD.
    pub flags: u64,
}

/// A task of a plan: a callback that makes bytes or files, which are kept in the cache. Initialise it by
/// DIJITSO_PLAN_TASK_INIT and set name and run. All is *copied*, apart from what user_data points to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_plan_task {
    /// sizeof(dijitso_plan_task)
    pub struct_size: usize,
    /// A name for people, unique in the plan; NULL: made from name.
    pub label: *const c_char,
    /// The kind of work, such as "tabulate". Part of the key: another name when run gives another result.
    pub name: *const c_char,
    /// Parameters as JSON, part of the key as they are written; NULL for {}.
    pub params_json: *const c_char,
    /// Passed to run.
    pub user_data: *mut c_void,
    /// Makes the result. Called if there is none for the key: name, params_json, the contents of inputs, and
    /// the results of the nodes that it needs.
    pub run: dijitso_task_fn,
    /// Paths of files that run reads; NULL for none.
    pub inputs: *const *const c_char,
    /// Number of inputs.
    pub input_count: usize,
    /// 0 or DIJITSO_NODE_ANY_THREAD.
    pub flags: u64,
}

const NO_MODULE: dijitso_plan_module = dijitso_plan_module {
    struct_size: size_of::<dijitso_plan_module>(),
    label: ptr::null(),
    name: ptr::null(),
    params: ptr::null(),
    user_data: ptr::null_mut(),
    generate: None,
    code: ptr::null(),
    code_length: 0,
    header: ptr::null(),
    header_length: 0,
    flags: 0,
};

const NO_TASK: dijitso_plan_task = dijitso_plan_task {
    struct_size: size_of::<dijitso_plan_task>(),
    label: ptr::null(),
    name: ptr::null(),
    params_json: ptr::null(),
    user_data: ptr::null_mut(),
    run: None,
    inputs: ptr::null(),
    input_count: 0,
    flags: 0,
};

/// A pointer of the host that callbacks get.
#[derive(Clone, Copy)]
pub(super) struct HostData(*mut c_void);

// SAFETY: the library only passes it on; a node that may run on any thread says that the host expects that.
unsafe impl Send for HostData {}
// SAFETY: as above.
unsafe impl Sync for HostData {}

impl HostData {
    pub(super) fn get(self) -> *mut c_void {
        self.0
    }
}

/// Makes an empty plan.
///
/// @param name            Names the journal of the plan in the cache; as for dijitso_jit(). *Copied*.
/// @param params_or_null  Parameters of all modules without their own. They also choose the cache, where
///                        results and journal are, and how ranks share the work. *Copied*; NULL for the
///                        defaults.
/// @param plan_out        Receives the plan, *owned* by the caller, freed by dijitso_plan_free().
/// @param error_out       Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_new(
    name: *const c_char,
    params_or_null: *const dijitso_params,
    plan_out: *mut *mut dijitso_plan,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_new", || {
            let plan_out = handle_output(plan_out, "plan_out")?;
            let plan = Plan::new(text(name, "name")?, resolved(params_or_null)?)?;
            *plan_out = dijitso_plan::handle(plan, settings(params_or_null)?, None);
            Ok(())
        })
    }
}

/// Frees a plan. What it has made stays in the cache, and libraries stay loaded.
///
/// A plan that is being made may be freed, also by a callback of its nodes: the make goes on, and the plan
/// goes when it ends. What user_data points to is used until then. In a forked child nothing is freed.
///
/// @param plan  *Owned* by the caller until now; NULL is fine.
/// @local  @threads any, once  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_free(plan: *mut dijitso_plan) {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::value((), || {
            if plan_of(plan).is_ok() {
                drop(Arc::from_raw(plan.cast_const()));
            }
        });
    }
}

/// Adds a library to a plan.
///
/// It is made as dijitso_jit() makes it; libraries that it needs by DIJITSO_EDGE_USE are linked to it. Two
/// nodes with the same signature are built once.
///
/// generate may add nodes and need them: dijitso_plan_need() for dijitso_plan_current(). The source is then
/// kept until they are done, and generate is not called again. Nodes that a callback adds are part of the
/// plan until the next make, which calls it again if it has to; those of a callback that fails are taken
/// back.
///
/// @param plan       *Borrowed* for the call.
/// @param module     *Borrowed* for the call.
/// @param node_out   Receives the node, DIJITSO_NODE_NONE on an error; may be NULL.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a label that is taken; DIJITSO_ERROR_PARAMS;
///         or DIJITSO_ERROR_STATE during a make, except within a callback of a node.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_add_module(
    plan: *mut dijitso_plan,
    module: *const dijitso_plan_module,
    node_out: *mut dijitso_node,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_add_module", || {
            let node_out = optional_node(node_out);
            let plan = plan_of(plan)?;
            plan.check_open()?;
            let module = structure(reference(module, "module")?, NO_MODULE, "plan_module")?;
            let label = optional_text(module.label, "label")?.unwrap_or_default();
            let any_thread = any_thread(module.flags)?;
            let name = text(module.name, "name")?.to_owned();
            let params: Arc<Resolved> = match module.params.is_null() {
                true => Arc::clone(plan.plan.params()),
                false => resolved(module.params)?,
            };
            let own = if module.params.is_null() { None } else { Some(settings(module.params)?) };
            let source = module_source(&module)?;
            let node = plan.plan.add(label, Work::Module(ModuleWork { name, params, source }), any_thread)?;
            own.and_then(|own| lock(&plan.node_settings).insert(node, own));
            node_out.into_iter().for_each(|out| *out = node_handle(node));
            Ok(())
        })
    }
}

/// Adds a task to a plan.
///
/// @param plan       *Borrowed* for the call.
/// @param task       *Borrowed* for the call.
/// @param node_out   Receives the node, DIJITSO_NODE_NONE on an error; may be NULL.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_plan_add_module().
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_add_task(
    plan: *mut dijitso_plan,
    task: *const dijitso_plan_task,
    node_out: *mut dijitso_node,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_add_task", || {
            let node_out = optional_node(node_out);
            let address = HostData(plan.cast());
            let plan = plan_of(plan)?;
            plan.check_open()?;
            let task = structure(reference(task, "task")?, NO_TASK, "plan_task")?;
            let label = optional_text(task.label, "label")?.unwrap_or_default();
            let any_thread = any_thread(task.flags)?;
            let name = text(task.name, "name")?.to_owned();
            if name.is_empty() {
                return Err(invalid("the name of a task is empty"));
            }
            let params = optional_text(task.params_json, "params_json")?.unwrap_or("{}").to_owned();
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&params) {
                return Err(invalid(format!("params_json of the task {name} is no JSON: {error}")));
            }
            let paths = texts(task.inputs, task.input_count, "inputs")?;
            let inputs = paths.into_iter().map(|path| Ok((path.to_owned(), absolute(path)?)));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let run = task.run.ok_or_else(|| invalid(format!("run of the task {name} is NULL")))?;
            let action = TaskAction::Callback(task_callback(run, HostData(task.user_data), address));
            let work = Work::Task(TaskWork { name, params, inputs, action });
            let node = plan.plan.add(label, work, any_thread)?;
            node_out.into_iter().for_each(|out| *out = node_handle(node));
            Ok(())
        })
    }
}

/// Adds an edge: a node needs another one, which is made before it.
///
/// A second edge between the two adds nothing; if one of them is a use, both are.
///
/// @param plan       *Borrowed* for the call.
/// @param node       The node that needs.
/// @param needed     The node that is needed.
/// @param edge       DIJITSO_EDGE_USE or DIJITSO_EDGE_AFTER.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also if a node needs itself (longer cycles are found
///         by dijitso_plan_make()); or DIJITSO_ERROR_STATE during a make, except within a callback of a node.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_need(
    plan: *mut dijitso_plan,
    node: dijitso_node,
    needed: dijitso_node,
    edge: i32,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_need", || {
            let plan = plan_of(plan)?;
            plan.check_open()?;
            let edge = match edge {
                DIJITSO_EDGE_USE => Edge::Use,
                DIJITSO_EDGE_AFTER => Edge::After,
                other => {
                    let text = "it must be DIJITSO_EDGE_USE (1) or DIJITSO_EDGE_AFTER (2)";
                    return Err(invalid(format!("edge is {other}; {text}")));
                }
            };
            plan.plan.need(node_of(node, "node")?, node_of(needed, "needed")?, edge)
        })
    }
}

/// Sets an output for a node, if there is one.
///
/// # Safety
/// `out` is NULL or may be written.
unsafe fn optional_node<'a>(out: *mut dijitso_node) -> Option<&'a mut dijitso_node> {
    // SAFETY: promised by the caller.
    unsafe { output(out, DIJITSO_NODE_NONE, "node_out") }.ok()
}

/// Reads the flags of a node.
fn any_thread(flags: u64) -> Result<bool> {
    match flags {
        0 => Ok(false),
        DIJITSO_NODE_ANY_THREAD => Ok(true),
        other => Err(invalid(format!("flags is {other}; it must be 0 or DIJITSO_NODE_ANY_THREAD (1)"))),
    }
}

/// Returns the path of an input, which stays the same if the program changes its directory.
fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| invalid(format!("the input \"{path}\": {error}")))
}

/// Reads the source of a module: a callback or a text.
///
/// # Safety
/// The fields are as the header says.
unsafe fn module_source(module: &dijitso_plan_module) -> Result<ModuleSource> {
    match (module.generate, module.code.is_null()) {
        (Some(_), false) => return Err(invalid("generate and code are both set: set one of them")),
        (None, true) => return Err(invalid("generate and code are both NULL: set one of them")),
        _ => {}
    }
    if module.header.is_null() && module.header_length > 0 {
        return Err(invalid(format!("header is NULL and has {} bytes", module.header_length)));
    }
    if let Some(generate) = module.generate {
        if !module.header.is_null() {
            return Err(invalid("header is set without code: generate sets its header itself"));
        }
        let data = HostData(module.user_data);
        return Ok(ModuleSource::Generate(Arc::new(move |call, source| {
            let spec = call.plan.spec(call.node);
            let name = spec.as_ref().map_or("", |spec| spec.work.name());
            let request = GenerateRequest { name, signature: call.signature, generator: call.params };
            // SAFETY: the host's function, with the user_data that it has given for it.
            unsafe { call_generate(generate, data.get(), request, source) }
        })));
    }
    // SAFETY: promised by the caller.
    let (code, header) = unsafe {
        (
            bytes(module.code, module.code_length, "code")?,
            bytes(module.header, module.header_length, "header")?,
        )
    };
    let header = (!module.header.is_null()).then(|| header.into());
    Ok(ModuleSource::Text { code: code.into(), header })
}
