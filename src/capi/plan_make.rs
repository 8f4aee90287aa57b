//! Making a plan: `dijitso_plan_make`.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Kind, Result};
use crate::jit::{Batch, Session, is_nested, title_and_timeout};
use crate::plan::make::{
    MakeEvent, MakeEventKind, MakeObserver, MakeOptions, MakeProgress, MakeReport, make, make_on, refuse_on,
};
use crate::plan::view::ResultOrigin;
use crate::plan::{Plan, StopRequest, is_in_callback};
use crate::process::jobserver::Jobserver;

use super::at_exit;
use super::boundary;
use super::callbacks::{dijitso_poll_fn, poll_interrupt};
use super::comm::{self, MPI_Comm};
use super::convert::{c_string, invalid, slice, structure};
use super::error::dijitso_error;
use super::plan::{DIJITSO_NODE_NONE, dijitso_node, dijitso_plan, node_handle, node_of, plan_of};
use super::status::{DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_OK, dijitso_status};

/// Start nothing new after the first failure. Otherwise all is made that does not need a failed node.
pub const DIJITSO_MAKE_FAIL_FAST: u64 = 1;
/// Make tasks again whose results are in the cache.
pub const DIJITSO_MAKE_FORCE: u64 = 2;
/// Build libraries and do not load them: for programs that prepare the run of another one.
pub const DIJITSO_MAKE_NO_LOAD: u64 = 4;

/// Nothing new is started; what runs is finished.
pub const DIJITSO_CANCEL_FINISH: i32 = 1;
/// Compilers and commands are ended as well.
pub const DIJITSO_CANCEL_KILL: i32 = 2;

/// A snapshot, a few times a second, and one at the end.
pub const DIJITSO_EVENT_PROGRESS: i32 = 0;
/// A node begins.
pub const DIJITSO_EVENT_STARTED: i32 = 1;
/// A callback has added a node.
pub const DIJITSO_EVENT_ADDED: i32 = 2;
/// A node waits for nodes that its callback has added.
pub const DIJITSO_EVENT_PARKED: i32 = 3;
/// A node has failed for a passing reason, and runs again later.
pub const DIJITSO_EVENT_RETRIED: i32 = 4;
/// A node is done.
pub const DIJITSO_EVENT_DONE: i32 = 5;
/// A node has failed.
pub const DIJITSO_EVENT_FAILED: i32 = 6;
/// Something that a node needs has failed.
pub const DIJITSO_EVENT_BLOCKED: i32 = 7;

/// Something that has happened in a make. Fields that do not belong to its kind are 0, "" or
/// DIJITSO_NODE_NONE.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_event {
    /// sizeof(dijitso_event) in the library
    pub struct_size: usize,
    /// One of the DIJITSO_EVENT_ values.
    pub kind: i32,
    /// FAILED, RETRIED: the status of the error.
    pub status: i32,
    /// The node; DIJITSO_NODE_NONE for PROGRESS.
    pub node: dijitso_node,
    /// BLOCKED: the failed node.
    pub cause: dijitso_node,
    /// The label of the node. *Borrowed* for the callback.
    pub label: *const c_char,
    /// FAILED, RETRIED: the message of the error. PROGRESS: why nodes that are ready do not run, or "".
    pub message: *const c_char,
    /// DONE, FAILED: seconds that the node took.
    pub seconds: f64,
    /// PROGRESS: seconds that are expected to be left; negative if nothing is known.
    pub seconds_left: f64,
    /// DONE: 1 if the result was built in this make, 0 if it was in the cache.
    pub built: u64,
    /// PROGRESS: the number of nodes that are done.
    pub done: u64,
    /// PROGRESS: the number of failed nodes.
    pub failed: u64,
    /// PROGRESS: the number of blocked nodes.
    pub blocked: u64,
    /// PROGRESS: the number of nodes that run in this process.
    pub running: u64,
    /// PROGRESS: the number of all nodes of the make.
    pub total: u64,
}

/// Gets what happens in a make, in order, on the thread of dijitso_plan_make(). It may call
/// dijitso_plan_cancel() and the functions that ask a plan; it must not make calls with a communicator.
///
/// @param user_data  The user_data of the options.
/// @param event      *Borrowed* for the callback.
pub type dijitso_event_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const dijitso_event)>;

/// Options of dijitso_plan_make(). Initialise them by DIJITSO_MAKE_OPTIONS_INIT; a zero field is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dijitso_make_options {
    /// sizeof(dijitso_make_options)
    pub struct_size: usize,
    /// The nodes to make, with all that they need; NULL: all nodes. *Borrowed* for the call.
    pub targets: *const dijitso_node,
    /// Number of targets.
    pub target_count: usize,
    /// The most nodes that run at once in this process; 0: one for each core of the job on this host.
    pub jobs: usize,
    /// Further attempts for a node that fails for a passing reason: killed by a signal, out of time, memory
    /// or disk.
    pub retries: usize,
    /// Sum of DIJITSO_MAKE_ values.
    pub flags: u64,
    /// Passed to poll and event.
    pub user_data: *mut c_void,
    /// Cancels the make, as DIJITSO_CANCEL_KILL does. Need not be set on all ranks.
    pub poll: dijitso_poll_fn,
    /// Gets what happens. Need not be set on all ranks.
    pub event: dijitso_event_fn,
}

const NO_OPTIONS: dijitso_make_options = dijitso_make_options {
    struct_size: size_of::<dijitso_make_options>(),
    targets: ptr::null(),
    target_count: 0,
    jobs: 0,
    retries: 0,
    flags: 0,
    user_data: ptr::null_mut(),
    poll: None,
    event: None,
};

const NO_EVENT: dijitso_event = dijitso_event {
    struct_size: size_of::<dijitso_event>(),
    kind: DIJITSO_EVENT_PROGRESS,
    status: DIJITSO_OK,
    node: DIJITSO_NODE_NONE,
    cause: DIJITSO_NODE_NONE,
    label: c"".as_ptr(),
    message: c"".as_ptr(),
    seconds: 0.0,
    seconds_left: 0.0,
    built: 0,
    done: 0,
    failed: 0,
    blocked: 0,
    running: 0,
    total: 0,
};

/// Makes the nodes of a plan, and loads its libraries.
///
/// Each node is made as soon as what it needs is done, the longest chains first. What is in the cache is not
/// made again. Callbacks run on the calling thread, except those with DIJITSO_NODE_ANY_THREAD; compilers run
/// meanwhile. A node that fails blocks those that need it, and nothing else.
///
/// With a communicator the ranks share the work, as cache directories and parallel.buildon allow: a callback
/// runs on a rank that has nothing else to do, and every rank has the results in its cache directory. At the
/// end all ranks have the same states and the same messages.
///
/// A make may be repeated, also by another program and after a kill: what is done is found in the cache.
///
/// @param plan       *Borrowed* for the call. On a communicator: the same nodes in the same order on every
///                   rank.
/// @param options    *Borrowed* for the call; NULL for the defaults. Targets have to be the same on every
///                   rank.
/// @param comm       An intra-communicator, or DIJITSO_COMM_NULL.
/// @param error_out  Receives an error, *owned* by the caller; may be NULL. Its message names the nodes that
///                   have failed (eight at most) and their errors; dijitso_plan_error() gives that of each
///                   node.
/// @return DIJITSO_OK if all nodes are done, else the status of the first that failed, by label.
///         DIJITSO_ERROR_CANCELLED if the make was stopped; nodes that are not made are DIJITSO_NODE_TODO.
///         DIJITSO_ERROR_INVALID_ARGUMENT for a cycle, with its labels. DIJITSO_ERROR_STATE within a
///         callback, at once and on this rank alone, and if another thread makes the plan.
///         DIJITSO_ERROR_RANKS_DISAGREE.
/// @collective over comm  @threads any, for one communicator one at a time  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_make(
    plan: *mut dijitso_plan,
    options: *const dijitso_make_options,
    comm: MPI_Comm,
    error_out: *mut *mut dijitso_error,
) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::status(error_out, "dijitso_plan_make", || {
            let _guard = ThreadMakes::enter()?;
            // Compilers must not outlive the program that started them.
            at_exit::register();
            // Arguments that are bad on this rank alone must not keep it away from the others.
            let report = run(begin(plan, options), comm)?;
            report.error.map_or(Ok(()), Err)
        })
    }
}

/// Asks the make in progress to stop, or the next one if none is in progress. All ranks stop.
///
/// Nodes that are not done are to be made: DIJITSO_NODE_TODO. The next make goes on with them. Only stores a
/// number, so a signal handler may call it.
///
/// @param plan  *Borrowed* for the call.
/// @param how   DIJITSO_CANCEL_FINISH or DIJITSO_CANCEL_KILL. A callback is not interrupted.
/// @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
/// @local  @threads any, and signal handlers  @since 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dijitso_plan_cancel(plan: *mut dijitso_plan, how: i32) -> dijitso_status {
    // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
    unsafe {
        boundary::get(plan.cast_const(), DIJITSO_ERROR_INVALID_ARGUMENT, |plan| {
            let request = match how {
                DIJITSO_CANCEL_FINISH => StopRequest::Finish,
                DIJITSO_CANCEL_KILL => StopRequest::Kill,
                _ => return DIJITSO_ERROR_INVALID_ARGUMENT,
            };
            plan.plan.stop(request);
            DIJITSO_OK
        })
    }
}

thread_local! {
    /// True while this thread makes a plan.
    static MAKES: Cell<bool> = const { Cell::new(false) };
}

/// This thread makes a plan until this is dropped.
struct ThreadMakes;

impl ThreadMakes {
    /// Refuses a make within a callback, of a node or of another make: the other ranks are in none.
    fn enter() -> Result<Self> {
        if is_nested() || is_in_callback() || MAKES.replace(true) {
            let text = "a plan cannot be made within a callback: add nodes to the plan that is being made";
            return Err(Error::new(Kind::State, text));
        }
        Ok(Self)
    }
}

impl Drop for ThreadMakes {
    fn drop(&mut self) {
        MAKES.set(false);
    }
}

/// A make whose arguments are good. It owns the plan until it ends, so that a callback may free it.
struct BegunMake {
    plan: Arc<dijitso_plan>,
    options: MakeOptions,
    host: dijitso_make_options,
}

impl Drop for BegunMake {
    fn drop(&mut self) {
        self.plan.is_making.store(false, Ordering::SeqCst);
    }
}

/// Checks the arguments of a make, and marks the plan as being made.
///
/// # Safety
/// The arguments are those of `dijitso_plan_make`.
unsafe fn begin(plan: *mut dijitso_plan, options: *const dijitso_make_options) -> Result<BegunMake> {
    // SAFETY: promised by the caller.
    let (shared, host, targets) = unsafe {
        plan_of(plan)?;
        let host = match options.is_null() {
            true => NO_OPTIONS,
            false => structure(options, NO_OPTIONS, "make_options")?,
        };
        let targets = slice(host.targets, host.target_count, "targets")?;
        Arc::increment_strong_count(plan.cast_const());
        (Arc::from_raw(plan.cast_const()), host, targets)
    };
    let known = DIJITSO_MAKE_FAIL_FAST | DIJITSO_MAKE_FORCE | DIJITSO_MAKE_NO_LOAD;
    if host.flags & !known != 0 {
        return Err(invalid(format!("flags is {}; it must be a sum of DIJITSO_MAKE_ values", host.flags)));
    }
    let options = MakeOptions {
        targets: targets.iter().map(|node| node_of(*node, "a target")).collect::<Result<_>>()?,
        jobs: host.jobs,
        fail_fast: host.flags & DIJITSO_MAKE_FAIL_FAST != 0,
        retries: u32::try_from(host.retries).unwrap_or(u32::MAX),
        force: host.flags & DIJITSO_MAKE_FORCE != 0,
        load: host.flags & DIJITSO_MAKE_NO_LOAD == 0,
        interrupt: poll_interrupt(host.poll, host.user_data),
        // Numbers of descriptors may mean something else to a host.
        jobserver: Jobserver::of_environment(true).ok().flatten(),
    };
    if shared.is_making.swap(true, Ordering::SeqCst) {
        let text = format!("the plan {} is being made by another thread", shared.plan.name());
        return Err(Error::new(Kind::State, text));
    }
    let begun = BegunMake { plan: shared, options, host };
    begun.plan.take_back_lent();
    Ok(begun)
}

/// Makes a plan. An error of the arguments is told to the other ranks.
fn run(begun: Result<BegunMake>, comm: MPI_Comm) -> Result<MakeReport> {
    let session = Session::of_process();
    if comm.is_null() {
        let begun = begun?;
        let mut observer = HostObserver::new(&begun);
        let report = make(&begun.plan.plan, session, &begun.options, &mut observer)?;
        observer.end(&report);
        return Ok(report);
    }
    let names = [begun.as_ref().map_or("", |begun| begun.plan.plan.name())];
    let batch = match &begun {
        Ok(begun) => Ok(Batch { names: &names, params: begun.plan.plan.params() }),
        Err(error) => Err(error.clone()),
    };
    let (title, timeout) = title_and_timeout(&batch);
    let poll = begun.as_ref().ok().and_then(|begun| begun.options.interrupt.as_ref());
    let comm = comm::attached(comm, &title, timeout, poll)?;
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => return Err(refuse_on(comm.as_ref(), error)),
    };
    let mut observer = HostObserver::new(&begun);
    let (plan, state) = (&begun.plan.plan, comm::state(&comm)?);
    let report = make_on(plan, session, comm.as_ref(), state, &begun.options, &mut observer)?;
    observer.end(&report);
    Ok(report)
}

/// Passes what happens to the event callback of the host.
struct HostObserver<'a> {
    plan: &'a Plan,
    event: dijitso_event_fn,
    user_data: *mut c_void,
}

impl<'a> HostObserver<'a> {
    fn new(begun: &'a BegunMake) -> Self {
        Self { plan: &begun.plan.plan, event: begun.host.event, user_data: begun.host.user_data }
    }

    fn show(&self, event: &dijitso_event) {
        if let Some(function) = self.event {
            // SAFETY: the host's function, called as its type says, with an event that lives until it
            // returns.
            unsafe { function(self.user_data, event) };
        }
    }

    /// Shows the last snapshot of a make.
    fn end(&self, report: &MakeReport) {
        let total = report.done + report.failed.len() + report.blocked + report.todo;
        self.show(&dijitso_event {
            done: report.done as u64,
            failed: report.failed.len() as u64,
            blocked: report.blocked as u64,
            total: total as u64,
            ..NO_EVENT
        });
    }
}

impl MakeObserver for HostObserver<'_> {
    fn event(&mut self, event: &MakeEvent) {
        if self.event.is_none() {
            return;
        }
        let spec = self.plan.spec(event.node);
        let label = c_string(spec.as_ref().map_or("", |spec| &spec.label));
        let text;
        let mut shown = dijitso_event { node: node_handle(event.node), label: label.as_ptr(), ..NO_EVENT };
        let mut error = None;
        match &event.kind {
            MakeEventKind::Started => shown.kind = DIJITSO_EVENT_STARTED,
            MakeEventKind::Added => shown.kind = DIJITSO_EVENT_ADDED,
            MakeEventKind::Parked => shown.kind = DIJITSO_EVENT_PARKED,
            MakeEventKind::Retried(reason) => {
                (shown.kind, error) = (DIJITSO_EVENT_RETRIED, Some(reason));
            }
            MakeEventKind::Done(origin, seconds) => {
                (shown.kind, shown.seconds) = (DIJITSO_EVENT_DONE, *seconds);
                shown.built = u64::from(*origin == ResultOrigin::Built);
            }
            MakeEventKind::Failed(reason, seconds) => {
                (shown.kind, shown.seconds, error) = (DIJITSO_EVENT_FAILED, *seconds, Some(reason));
            }
            MakeEventKind::Blocked(cause) => {
                (shown.kind, shown.cause) = (DIJITSO_EVENT_BLOCKED, node_handle(*cause));
            }
        }
        if let Some(error) = error {
            text = c_string(error.message());
            (shown.status, shown.message) = (error.kind().code(), text.as_ptr());
        }
        self.show(&shown);
    }

    fn progress(&mut self, progress: &MakeProgress) {
        let waiting = c_string(&progress.waiting.map_or(String::new(), |reason| reason.describe()));
        self.show(&dijitso_event {
            message: waiting.as_ptr(),
            seconds_left: progress.seconds_left.unwrap_or(-1.0),
            done: progress.done as u64,
            failed: progress.failed as u64,
            blocked: progress.blocked as u64,
            running: progress.running.len() as u64,
            total: progress.total as u64,
            ..NO_EVENT
        });
    }
}
