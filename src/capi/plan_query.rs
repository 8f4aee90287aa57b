//! Queries about what a plan has made: states, results, libraries and errors of its nodes.

use std::collections::hash_map::Entry;
use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::jit::Session;
use crate::plan::NodeId;
use crate::plan::make;
use crate::plan::view::{ResultOrigin, State};
use crate::sync::lock;

use super::boundary;
use super::convert::{c_string, handle_output, optional_text, output, text};
use super::error::dijitso_error;
use super::library::dijitso_library;
use super::plan::{DIJITSO_NODE_NONE, dijitso_node, dijitso_plan, node_handle, node_of, plan_of};
use super::plan_task::file_of;
use super::status::dijitso_status;
use super::visit::Visitor;

/// Not made yet.
pub const DIJITSO_NODE_TODO: i32 = 0;
/// Running in this process.
pub const DIJITSO_NODE_RUNNING: i32 = 1;
/// Its result is in the cache.
pub const DIJITSO_NODE_DONE: i32 = 2;
/// It has failed in the last make.
pub const DIJITSO_NODE_FAILED: i32 = 3;
/// Something that it needs has failed.
pub const DIJITSO_NODE_BLOCKED: i32 = 4;

/// The node is a library.
pub const DIJITSO_NODE_MODULE: i32 = 0;
/// The node is a task.
pub const DIJITSO_NODE_TASK: i32 = 1;

/// The facts of a node, as the last make has left them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_node_info {
    /// sizeof(dijitso_node_info) in the library
    pub struct_size: usize,
    /// The node.
    pub node: dijitso_node,
    /// DIJITSO_NODE_MODULE or DIJITSO_NODE_TASK.
    pub kind: i32,
    /// One of the values from DIJITSO_NODE_TODO to DIJITSO_NODE_BLOCKED.
    pub state: i32,
    /// The label. *Borrowed* for the callback, like all texts and lists.
    pub label: *const c_char,
    /// The name.
    pub name: *const c_char,
    /// The signature; "" if it is not known.
    pub signature: *const c_char,
    /// The message of its error; "" if it is neither failed nor blocked.
    pub message: *const c_char,
    /// The status of its error.
    pub status: i32,
    /// 1 if the last make has built it, 0 if it was in the cache or is not done.
    pub built: i32,
    /// The failed node that blocks it.
    pub blocked_by: dijitso_node,
    /// The node whose callback has added it.
    pub added_by: dijitso_node,
    /// The nodes whose results it uses.
    pub needs: *const dijitso_node,
    /// Number of needs.
    pub need_count: usize,
    /// The nodes that are only made before it.
    pub after: *const dijitso_node,
    /// Number of after.
    pub after_count: usize,
    /// Bytes of its result, if it is done.
    pub size: u64,
    /// Seconds that its last execution in this make took; 0 if there was none.
    pub seconds: f64,
    /// The rank of that execution; -1 if there was none.
    pub rank: i32,
    /// 1 if its callback may run on any thread.
    pub any_thread: i32,
}

/// Visits nodes; see VISITORS in the manual.
pub type dijitso_node_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, info: *const dijitso_node_info) -> i32>;

fn state_code(state: State) -> i32 {
    match state {
        State::Todo => DIJITSO_NODE_TODO,
        State::Running => DIJITSO_NODE_RUNNING,
        State::Done => DIJITSO_NODE_DONE,
        State::Failed => DIJITSO_NODE_FAILED,
        State::Blocked => DIJITSO_NODE_BLOCKED,
    }
}

/// Reads a node of a plan, in a function without an error.
fn known(plan: &dijitso_plan, node: dijitso_node) -> Option<NodeId> {
    plan.check_process().ok()?;
    usize::try_from(node).ok().filter(|node| *node < plan.plan.len())
}

fn lend_label(plan: &dijitso_plan, node: dijitso_node) -> Option<*const c_char> {
    let id = known(plan, node)?;
    let spec = plan.plan.spec(id)?;
    let lent = &mut *lock(&plan.lent);
    Some(lent.labels.entry(id).or_insert_with(|| c_string(&spec.label)).as_ptr())
}

fn lend_signature(plan: &dijitso_plan, node: dijitso_node) -> Option<*const c_char> {
    let id = known(plan, node)?;
    let now = c_string(&plan.plan.status(id)?.signature?);
    let lent = &mut *lock(&plan.lent);
    let text = match lent.signatures.entry(id) {
        Entry::Occupied(mut slot) => {
            if *slot.get() != now {
                // The host may still read the former one.
                lent.old.push(slot.insert(now));
            }
            slot.into_mut()
        }
        Entry::Vacant(slot) => slot.insert(now),
    };
    Some(text.as_ptr())
}

/// Returns the state of a node, one of the values from DIJITSO_NODE_TODO to DIJITSO_NODE_BLOCKED.
///
/// @param plan  *Borrowed* for the call; NULL gives -1.
/// @param node  Any number.
/// @return -1 if there is no such node, and in a forked child.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_state(plan: *const dijitso_plan, node: dijitso_node) -> i32 {
    let state = |plan: &dijitso_plan| plan.plan.state(known(plan, node)?).map(state_code);
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(plan, -1, |plan| state(plan).unwrap_or(-1)) }
}

/// Returns the label of a node.
///
/// @param plan  *Borrowed* for the call; NULL gives NULL.
/// @param node  Any number.
/// @return *Borrowed* until the plan is freed; NULL if there is no such node.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_label(plan: *const dijitso_plan, node: dijitso_node) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(plan, ptr::null(), |plan| lend_label(plan, node).unwrap_or(ptr::null())) }
}

/// Returns the signature of a node: the key of its result in the cache. It is known when what the node needs
/// is done.
///
/// @param plan  *Borrowed* for the call; NULL gives NULL.
/// @param node  Any number.
/// @return *Borrowed* until the next make of the plan begins or it is freed; NULL if it is not known.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_signature(
    plan: *const dijitso_plan,
    node: dijitso_node,
) -> *const c_char {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe { boundary::get(plan, ptr::null(), |plan| lend_signature(plan, node).unwrap_or(ptr::null())) }
}

/// Returns the node of a label.
///
/// @param plan   *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
/// @param label  *Copied*; NULL gives DIJITSO_NODE_NONE.
/// @return DIJITSO_NODE_NONE if there is none.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_find(plan: *const dijitso_plan, label: *const c_char) -> dijitso_node {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::get(plan, DIJITSO_NODE_NONE, |plan| {
            let find = || Some(plan.plan.find(text(label, "label").ok()?)).flatten();
            plan.check_process().ok().and_then(|()| find()).map_or(DIJITSO_NODE_NONE, node_handle)
        })
    }
}

/// Returns the node whose callback runs on this thread.
///
/// @param plan  *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
/// @return DIJITSO_NODE_NONE if it is none of this plan.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_current(plan: *const dijitso_plan) -> dijitso_node {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::get(plan, DIJITSO_NODE_NONE, |plan| {
            plan.plan.current().map_or(DIJITSO_NODE_NONE, node_handle)
        })
    }
}

/// Returns the result of a task that is done, from the cache directory of this rank.
///
/// @param plan          *Borrowed* for the call.
/// @param node          The task.
/// @param file_or_null  A file of dijitso_task_add_file(), or an output of a command; NULL: the bytes of
///                      dijitso_task_set_result(), or else the only file. *Copied*.
/// @param data_out      Receives the bytes, *borrowed* until the next make of the plan begins or it is freed.
///                      Not NULL if there are none.
/// @param size_out      Receives their number.
/// @param error_out     Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK; the status of the node's own error if it is failed or blocked; DIJITSO_ERROR_STATE if
///         it is not done; DIJITSO_ERROR_INVALID_ARGUMENT, also for a module or a file that is not there; or
///         DIJITSO_ERROR_CACHE.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_result(
    plan: *const dijitso_plan,
    node: dijitso_node,
    file_or_null: *const c_char,
    data_out: *mut *const u8,
    size_out: *mut usize,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_result", || {
            let data_out = output(data_out, ptr::null(), "data_out");
            let size_out = output(size_out, 0, "size_out")?;
            let data_out = data_out?;
            let (plan, id) = (plan_of(plan)?, node_of(node, "node")?);
            let file = optional_text(file_or_null, "file_or_null")?;
            let had = lock(&plan.lent).results.get(&id).cloned();
            let result = match had {
                Some(result) => result,
                None => {
                    let read = Arc::new(make::result(&plan.plan, id)?);
                    // What another thread has read meanwhile may be lent already.
                    Arc::clone(lock(&plan.lent).results.entry(id).or_insert(read))
                }
            };
            let file = file_of(&result, file)?;
            (*data_out, *size_out) = (file.contents.as_ptr(), file.contents.len());
            Ok(())
        })
    }
}

/// Returns the library of a module that is done.
///
/// After a make it is loaded already; with DIJITSO_MAKE_NO_LOAD it is loaded now.
///
/// @param plan         *Borrowed* for the call.
/// @param node         The module.
/// @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
/// @param error_out    Receives an error, *owned* by the caller; may be NULL.
/// @return As dijitso_plan_result(), or DIJITSO_ERROR_LOAD.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_library(
    plan: *const dijitso_plan,
    node: dijitso_node,
    library_out: *mut *mut dijitso_library,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_library", || {
            let library_out = handle_output(library_out, "library_out")?;
            let (plan, id) = (plan_of(plan)?, node_of(node, "node")?);
            let library = make::library(&plan.plan, Session::of_process(), id)?;
            *library_out = dijitso_library::handle(library);
            Ok(())
        })
    }
}

/// Returns the error of a node that has failed, or the reason why it is blocked.
///
/// @param plan       *Borrowed* for the call.
/// @param node       The node.
/// @param error_out  Receives the error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
/// @return DIJITSO_OK if the node has no error, else its status; DIJITSO_ERROR_INVALID_ARGUMENT if there is
///         no such node.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_error(
    plan: *const dijitso_plan,
    node: dijitso_node,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_error", || {
            let (plan, id) = (plan_of(plan)?, node_of(node, "node")?);
            let none = || {
                let text = format!("node {id} is not in the plan {}", plan.plan.name());
                Error::new(Kind::InvalidArgument, text)
            };
            plan.plan.status(id).ok_or_else(none)?.error.map_or(Ok(()), Err)
        })
    }
}

/// Visits the nodes of a plan in the order in which they were added, with their facts.
///
/// @param plan       *Borrowed* for the call.
/// @param visitor    Called for each node.
/// @param user_data  Passed to it.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads any  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_visit(
    plan: *const dijitso_plan,
    visitor: dijitso_node_fn,
    user_data: *mut c_void,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_visit", || {
            let plan = plan_of(plan)?;
            let visitor = Visitor::new(visitor, user_data)?;
            let is_there = |node: &NodeId| !plan.plan.is_taken_back(*node);
            let _ = (0..plan.plan.len()).filter(is_there).all(|node| visit(plan, &visitor, node));
            Ok(())
        })
    }
}

/// Shows a node. Returns true if the visit goes on.
fn visit(plan: &dijitso_plan, visitor: &Visitor<dijitso_node_info>, node: NodeId) -> bool {
    let (Some(spec), Some(status)) = (plan.plan.spec(node), plan.plan.status(node)) else { return true };
    let handles = |nodes: Vec<NodeId>| nodes.into_iter().map(node_handle).collect::<Vec<_>>();
    let (needs, after) = (handles(plan.plan.needs(node)), handles(plan.plan.after(node)));
    let message = status.error.as_ref().map_or("", Error::message);
    let texts = [&spec.label, spec.work.name(), status.signature.as_deref().unwrap_or_default(), message];
    let texts = texts.map(c_string);
    let [label, name, signature, message] = texts.each_ref().map(|text: &CString| text.as_ptr());
    let built = status.state == State::Done && status.origin == Some(ResultOrigin::Built);
    let optional = |node: Option<NodeId>| node.map_or(DIJITSO_NODE_NONE, node_handle);
    let rank = |rank: usize| i32::try_from(rank).unwrap_or(i32::MAX);
    visitor.visit(&dijitso_node_info {
        struct_size: size_of::<dijitso_node_info>(),
        node: node_handle(node),
        kind: if spec.work.is_task() { DIJITSO_NODE_TASK } else { DIJITSO_NODE_MODULE },
        state: state_code(status.state),
        label,
        name,
        signature,
        message,
        status: status.error.as_ref().map_or(0, |error| error.kind().code()),
        built: i32::from(built),
        blocked_by: optional(status.blocked_by),
        added_by: optional(spec.definer),
        needs: needs.as_ptr(),
        need_count: needs.len(),
        after: after.as_ptr(),
        after_count: after.len(),
        size: status.size.unwrap_or_default(),
        seconds: status.last.as_ref().map_or(0.0, crate::plan::execution::Execution::seconds),
        rank: status.last.as_ref().map_or(-1, |last| rank(last.rank)),
        any_thread: i32::from(spec.any_thread),
    })
}
