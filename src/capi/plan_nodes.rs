//! The nodes of build plans: `dijitso_plan_add_module`, `dijitso_plan_add_task`.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr;
use std::sync::Arc;

use crate::error::Result;
use crate::jit::callbacks::GenerateRequest;
use crate::params::resolved::Resolved;
use crate::plan::node::{ModuleSource, ModuleWork, TaskAction, TaskWork, Work};
use crate::sync::lock;

use super::boundary;
use super::callbacks::{call_generate, dijitso_generate_fn};
use super::convert::{bytes, invalid, optional_text, output, reference, structure, text, texts};
use super::error::dijitso_error;
use super::params::{dijitso_params, resolved, settings};
use super::plan::{
    DIJITSO_NODE_ANY_THREAD, DIJITSO_NODE_NONE, HostData, dijitso_node, dijitso_plan, node_handle, plan_of,
};
use super::plan_task::{dijitso_task_fn, task_callback};
use super::status::dijitso_status;

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
