//! The task whose callback runs: what it gets, and what it gives.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::path::{Component, Path};
use std::ptr;
use std::sync::Arc;

use crate::cache::results::{ResultFile, TaskResult};
use crate::error::{Error, Kind, Result};
use crate::plan::NodeId;
use crate::plan::make;
use crate::plan::node::{NodeCall, RunTask};

use super::boundary;
use super::convert::{
    c_string, copied, flag, invalid, optional_text, output, reference, reference_mut, text,
};
use super::error::dijitso_error;
use super::plan::{DIJITSO_NODE_NONE, HostData, dijitso_node, dijitso_plan, node_handle, node_of};
use super::status::dijitso_status;

/// The task whose callback runs: borrowed until the callback returns, and used on its thread only.
pub struct dijitso_task {
    plan: *mut dijitso_plan,
    /// The call of the node, which lives until the callback returns.
    call: *const NodeCall<'static>,
    node: NodeId,
    signature: CString,
    params: CString,
    needs: Vec<NodeId>,
    results: HashMap<NodeId, TaskResult>,
    files: Vec<ResultFile>,
    error: Option<String>,
}

/// Makes the result of a task: bytes by dijitso_task_set_result(), files by dijitso_task_add_file(), or both.
///
/// It runs on the thread of dijitso_plan_make(), one at a time, unless the node has DIJITSO_NODE_ANY_THREAD.
/// Calls of dijitso_jit() within it are local to this rank, whatever communicator they are given.
///
/// It may add nodes to the plan and ask for them by dijitso_task_need(): if it then returns 0, what it has
/// set is dropped, its thread is free, and it is called again when they are done.
///
/// @param user_data  The user_data of the task.
/// @param task       What it needs, and the place for its result.
/// @return 0, or any other value for failure; give the reason by dijitso_task_set_error().
pub type dijitso_task_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, task: *mut dijitso_task) -> i32>;

type RunHostFn = unsafe extern "C" fn(*mut c_void, *mut dijitso_task) -> i32;

/// The place for an error of functions that have none: their status says what went wrong.
const NO_ERROR: *mut *mut dijitso_error = ptr::null_mut();

/// Wraps the callback of a task. `plan` is the address of the handle of its plan.
pub(super) fn task_callback(run: RunHostFn, data: HostData, plan: HostData) -> Arc<RunTask> {
    Arc::new(move |call: &NodeCall<'_>| {
        let mut task = dijitso_task {
            plan: plan.get().cast(),
            call: ptr::from_ref(call).cast(),
            node: call.node,
            signature: c_string(call.signature),
            params: c_string(call.params),
            needs: call.plan.needs(call.node),
            results: HashMap::new(),
            files: Vec::new(),
            error: None,
        };
        // SAFETY: the host's function, called as its type says; the task lives until it returns.
        let code = unsafe { run(data.get(), &raw mut task) };
        let failed = |text: String| Err(Error::new(Kind::Generate, text));
        if code != 0 {
            let reason = task.error.map_or(String::new(), |reason| format!(": {reason}"));
            return failed(format!("the callback of the task returned {code}{reason}"));
        }
        if task.files.is_empty() && !call.waits() {
            let text = "the callback of the task returned 0 and set no result (dijitso_task_set_result)";
            return failed(text.to_owned());
        }
        Ok(task.files)
    })
}

impl dijitso_task {
    /// Sets a file of the result; a second one of this name replaces the first.
    fn set_file(&mut self, file: ResultFile) {
        self.files.retain(|other| other.name != file.name);
        self.files.push(file);
    }

    /// Returns the need of this number.
    fn need(&self, index: usize) -> dijitso_node {
        self.needs.get(index).map_or(DIJITSO_NODE_NONE, |node| node_handle(*node))
    }

    /// Returns the result of a need, which is read once.
    fn result(&mut self, node: NodeId) -> Result<&TaskResult> {
        if !self.results.contains_key(&node) {
            // SAFETY: the call lives until the callback returns, and the task is used within it only.
            let call = unsafe { &*self.call };
            self.results.insert(node, make::need_result(call, node)?);
        }
        self.results.get(&node).ok_or_else(|| Error::new(Kind::Internal, "a result is lost"))
    }
}

/// Finds a file of a result: that of a name; or for NULL the bytes of a callback, or else the only file.
pub(super) fn file_of<'a>(result: &'a TaskResult, name: Option<&str>) -> Result<&'a ResultFile> {
    let only = || if let [only] = result.files.as_slice() { Some(only) } else { None };
    let found = match name {
        Some(name) => result.file(name),
        None => result.file("").or_else(only),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = result.files.iter().map(|file| format!("\"{}\"", file.name)).collect();
        let asked = name.map_or("bytes".to_owned(), |name| format!("file \"{name}\""));
        let signature = &result.record.signature;
        invalid(format!("the result {signature} has no {asked}; its files are {}", names.join(", ")))
    })
}

/// Returns the plan of a task.
///
/// @param task  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the callback returns.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_plan(task: *const dijitso_task) -> *mut dijitso_plan {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, ptr::null_mut(), |task| task.plan) }
}

/// Returns the node of a task.
///
/// @param task  *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_node(task: *const dijitso_task) -> dijitso_node {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, DIJITSO_NODE_NONE, |task| node_handle(task.node)) }
}

/// Returns the signature under which the result is kept.
///
/// @param task  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the callback returns.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_signature(task: *const dijitso_task) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, ptr::null(), |task| task.signature.as_ptr()) }
}

/// Returns the params_json of a task.
///
/// @param task  *Borrowed* for the call; NULL gives NULL.
/// @return *Borrowed* until the callback returns.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_params(task: *const dijitso_task) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, ptr::null(), |task| task.params.as_ptr()) }
}

/// Returns the number of nodes whose results a task uses. All of them are done.
///
/// @param task  *Borrowed* for the call; NULL gives 0.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_need_count(task: *const dijitso_task) -> usize {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, 0, |task| task.needs.len()) }
}

/// Returns a node whose result a task uses.
///
/// @param task   *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
/// @param index  From 0, in the order in which the edges were added.
/// @return DIJITSO_NODE_NONE if there are not so many.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_need_node(task: *const dijitso_task, index: usize) -> dijitso_node {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(task, DIJITSO_NODE_NONE, |task| task.need(index)) }
}

/// Returns the result of a task that this task needs. dijitso_plan_library() gives that of a module.
///
/// @param task          *Borrowed* for the call.
/// @param index         As for dijitso_task_need_node().
/// @param file_or_null  A file of dijitso_task_add_file(); NULL: the bytes of dijitso_task_set_result(), or
///                      else the only file. *Copied*.
/// @param data_out      Receives the bytes, *borrowed* until the callback returns. Not NULL if there are
///                      none.
/// @param size_out      Receives their number.
/// @param error_out     Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a module or a file that is not there; or
///         DIJITSO_ERROR_CACHE.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_need_result(
    task: *mut dijitso_task,
    index: usize,
    file_or_null: *const c_char,
    data_out: *mut *const u8,
    size_out: *mut usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_task_need_result", || {
            let data_out = output(data_out, ptr::null(), "data_out");
            let size_out = output(size_out, 0, "size_out")?;
            let data_out = data_out?;
            let task = reference_mut(task, "task")?;
            let file = optional_text(file_or_null, "file_or_null")?;
            let count = task.needs.len();
            let none = || invalid(format!("index is {index}; the task uses the results of {count} nodes"));
            let node = *task.needs.get(index).ok_or_else(none)?;
            let file = file_of(task.result(node)?, file)?;
            (*data_out, *size_out) = (file.contents.as_ptr(), file.contents.len());
            Ok(())
        })
    }
}

/// Adds a need while the callback runs, mostly of a node that it has added. If that is not done when the
/// callback returns 0, the callback is called again when it is.
///
/// @param task       *Borrowed* for the call.
/// @param needed     The node that is needed, of the same plan.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_need(
    task: *mut dijitso_task,
    needed: dijitso_node,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_task_need", || {
            let task = reference(task.cast_const(), "task")?;
            let (call, needed) = (&*task.call, node_of(needed, "needed")?);
            if needed == task.node || needed >= call.plan.len() {
                let text = format!("needed is {needed}, which is no other node of the plan");
                return Err(invalid(text));
            }
            call.need(needed);
            Ok(())
        })
    }
}

/// Sets the bytes that a task makes; a second call replaces them.
///
/// @param task  *Borrowed* for the call.
/// @param data  *Copied*. May be NULL if size is 0.
/// @param size  Bytes.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_set_result(
    task: *mut dijitso_task,
    data: *const u8,
    size: usize,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_task_set_result", || {
            let task = reference_mut(task, "task")?;
            let contents = copied(data.cast(), size, "data")?;
            task.set_file(ResultFile { name: String::new(), executable: false, contents });
            Ok(())
        })
    }
}

/// Adds a file to what a task makes; a second one of the same name replaces it.
///
/// @param task        *Borrowed* for the call.
/// @param name        A relative path, without "." and "..". *Copied*.
/// @param data        *Copied*. May be NULL if size is 0.
/// @param size        Bytes.
/// @param executable  1 if the file may be run, else 0.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_add_file(
    task: *mut dijitso_task,
    name: *const c_char,
    data: *const u8,
    size: usize,
    executable: i32,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_task_add_file", || {
            let task = reference_mut(task, "task")?;
            let (name, executable) = (text(name, "name")?.to_owned(), flag(executable, "executable")?);
            let mut parts = Path::new(&name).components();
            if name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
                return Err(invalid(format!("the file \"{name}\" is not a relative path")));
            }
            let contents = copied(data.cast(), size, "data")?;
            task.set_file(ResultFile { name, executable, contents });
            Ok(())
        })
    }
}

/// Says why the callback will return non-zero. The text becomes part of the error of the node.
///
/// @param task     *Borrowed* for the call.
/// @param message  *Copied*.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads that of the callback  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_task_set_error(
    task: *mut dijitso_task,
    message: *const c_char,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(NO_ERROR, "dijitso_task_set_error", || {
            reference_mut(task, "task")?.error = Some(text(message, "message")?.to_owned());
            Ok(())
        })
    }
}
