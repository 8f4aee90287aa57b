//! Build plans: their nodes and edges.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::cache::results::TaskResult;
use crate::error::{Error, Kind, Result};
use crate::owner::Creator;
use crate::params::Params;
use crate::plan::definition::PlanDefinition;
use crate::plan::{Edge, NodeId, Plan};
use crate::sync::lock;

use super::boundary;
use super::convert::{handle_output, invalid, reference, text};
use super::error::dijitso_error;
use super::params::{dijitso_params, resolved, settings};
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
    pub(super) fn check_open(&self) -> Result<()> {
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

/// A pointer of the host that callbacks get.
#[derive(Clone, Copy)]
pub(super) struct HostData(pub(super) *mut c_void);

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
