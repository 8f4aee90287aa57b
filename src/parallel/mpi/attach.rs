//! Duplicates of host communicators: made at the first call, kept in an attribute, freed with the
//! communicator.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::owner::Creator;
use crate::parallel::Communicator;
use crate::parallel::cancellation::{grace, unanswered};
use crate::parallel::comm_status::warn_after;
use crate::parallel::timeout::first_call_timeout;
use crate::process::interrupt::Interrupt;
use crate::sync::lock;

use super::abi::{DeleteAttribute, Handle};
use super::find::{check_running, mpi};
use super::request::{are_complete, check, start};
use super::wait::{LONGEST, wait};
use super::{MpiComm, RawComm};

/// Returns the library's duplicate of a communicator. The first call on a communicator makes it, with
/// `extra`, and is collective: this rank waits `timeout` at most, and errors name the call `call`.
///
/// # Errors
/// [`Kind::State`] if MPI is not initialised or already finalised, [`Kind::InvalidArgument`] for an
/// inter-communicator, [`Kind::Timeout`], [`Kind::Mpi`].
pub fn attached(
    comm: RawComm,
    call: &str,
    timeout: Option<Duration>,
    poll: Option<&Interrupt>,
    extra: impl FnOnce() -> Box<dyn Any + Send + Sync>,
) -> Result<Arc<MpiComm>> {
    let (mpi, comm) = comm.handle()?;
    check_running(mpi)?;
    check_process()?;
    let keyval = keyval()?;
    let free_epoch = FREE_EPOCH.load(Ordering::Acquire);
    let mut value: *mut c_void = std::ptr::null_mut();
    let mut found: c_int = 0;
    // SAFETY: the keyval is ours; MPI writes a pointer through the third argument, declared as a plain void
    // pointer.
    let code = unsafe { mpi.functions.comm_get_attr(comm, keyval, (&raw mut value).cast(), &raw mut found) };
    check(code, "MPI_Comm_get_attr")?;
    if found != 0 {
        let attached = value.cast_const().cast::<MpiComm>();
        remember(CachedLookup { comm, free_epoch, attached });
        // SAFETY: the attribute holds a pointer from Arc::into_raw, and one count, until the communicator is
        // freed, which the host program does not do during a call on it.
        return Ok(unsafe {
            Arc::increment_strong_count(attached);
            Arc::from_raw(attached)
        });
    }
    let ours = Arc::new(duplicate(comm, call, timeout, poll, extra())?);
    live().push(Arc::downgrade(&ours));
    let value = Arc::into_raw(Arc::clone(&ours)).cast_mut().cast();
    // SAFETY: the count left by into_raw belongs to the attribute; its delete callback takes it back.
    let code = unsafe { mpi.functions.comm_set_attr(comm, keyval, value) };
    check(code, "MPI_Comm_set_attr")?;
    // A broken duplicate is attached as well, so that later calls fail at once.
    ours.state.status.first_failure()?;
    ours.begin_polling(poll);
    let met = ours.handshake(call, timeout);
    ours.end_polling();
    met?;
    Ok(ours)
}

/// Counts the duplicates that were freed, and the end of MPI.
static FREE_EPOCH: AtomicU64 = AtomicU64::new(0);

/// The duplicate attached to a communicator. Valid until [`FREE_EPOCH`] changes.
#[derive(Clone, Copy)]
struct CachedLookup {
    comm: Handle,
    free_epoch: u64,
    attached: *const MpiComm,
}

/// Enough for the communicators that a program uses in turn.
const CACHE_SLOTS: usize = 4;

thread_local! {
    static CACHED: [Cell<Option<CachedLookup>>; CACHE_SLOTS] = const { [const { Cell::new(None) }; CACHE_SLOTS] };
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

fn remember(lookup: CachedLookup) {
    CACHED.with(|slots| {
        let same = |slot: &&Cell<Option<CachedLookup>>| slot.get().is_some_and(|it| it.comm == lookup.comm);
        let next = || &slots[NEXT.replace(NEXT.get().wrapping_add(1)) % CACHE_SLOTS];
        slots.iter().find(same).unwrap_or_else(next).set(Some(lookup));
    });
}

/// Passes the duplicate of a communicator to `take`, if this thread has looked it up since a communicator was
/// freed last. Does not call MPI, which may lock.
pub fn lookup_cached<T>(comm: RawComm, take: impl FnOnce(&MpiComm) -> T) -> Option<T> {
    let (_, comm) = comm.handle().ok()?;
    // The host program orders its own calls: a communicator that it has freed before this call has changed
    // the epoch.
    let free_epoch = FREE_EPOCH.load(Ordering::Acquire);
    let valid = |lookup: &CachedLookup| lookup.comm == comm && lookup.free_epoch == free_epoch;
    let lookup = CACHED.with(|slots| slots.iter().find_map(|slot| slot.get().filter(valid)))?;
    // SAFETY: no delete callback has begun since the lookup, so the attribute of that communicator still has
    // its count; and the host program does not free the communicator during a call on it.
    Some(take(unsafe { &*lookup.attached }))
}

/// Checks that this process is not a forked child: messages that it sent would arrive in place of its
/// parent's.
pub(super) fn check_process() -> Result<()> {
    static OWNER: OnceLock<Creator> = OnceLock::new();
    // Not noticed if the first use of MPI through this library is in a child.
    let owner = OWNER.get_or_init(Creator::current);
    if owner.is_current() {
        return Ok(());
    }
    let text = format!(
        "communicators belong to process {owner}, of which this is a forked child: make this call there, or \
         pass the null \
         communicator"
    );
    Err(Error::new(Kind::State, text))
}

/// Makes our duplicate of a communicator. It is broken if not all ranks arrived or MPI failed.
fn duplicate(
    comm: Handle,
    call: &str,
    timeout: Option<Duration>,
    poll: Option<&Interrupt>,
    extra: Box<dyn Any + Send + Sync>,
) -> Result<MpiComm> {
    let functions = &mpi().functions;
    let (mut inter, mut rank, mut size): (c_int, c_int, c_int) = (0, 0, 1);
    // SAFETY: a valid communicator of an initialised MPI, and pointers to locals that outlive the calls.
    unsafe {
        check(functions.comm_test_inter(comm, &raw mut inter), "MPI_Comm_test_inter")?;
        check(functions.comm_rank(comm, &raw mut rank), "MPI_Comm_rank")?;
        check(functions.comm_size(comm, &raw mut size), "MPI_Comm_size")?;
    }
    if inter != 0 {
        let text = "an inter-communicator has two groups of ranks; merge it first (MPI_Intercomm_merge)";
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    let rank = usize::try_from(rank).unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(1);
    let ours = MpiComm::new(rank, size, extra);
    match idup(comm, &ours, call, timeout, poll) {
        Ok(duplicate) => *ours.handle() = Some(duplicate),
        Err(error) => drop(ours.state.status.fail(error)),
    }
    Ok(ours)
}

fn idup(
    comm: Handle,
    attached: &MpiComm,
    call: &str,
    timeout: Option<Duration>,
    poll: Option<&Interrupt>,
) -> Result<Handle> {
    let (rank, size) = (attached.rank, attached.size);
    let mut requests = Vec::new();
    let mut ours = Box::new(Handle(mpi().constants.comm_null));
    let since = Instant::now();
    let mut warned = false;
    let mut cancelled: Option<Instant> = None;
    // SAFETY: `ours` stays in place until the request is complete, or for ever.
    let started = start(&mut requests, "MPI_Comm_idup", |request| unsafe {
        mpi().functions.comm_idup(comm, &raw mut *ours, request)
    });
    let waited = started.and_then(|()| {
        let is_complete = || are_complete(&mut requests, "MPI_Comm_idup");
        wait(None, is_complete, || {
            let waited = since.elapsed();
            // Before the handshake the lowest waiting rank is not known; it is mostly one of the first two.
            if !warned && waited >= warn_after(timeout) && rank < 2 {
                warned = true;
                let seconds = waited.as_secs();
                let _voice = crate::logging::speak(true);
                log::warn!(
                    "waited {seconds} s for all {size} ranks in the first call on a communicator (\"{call}\")"
                );
            }
            if let Some(reason) = poll.and_then(Interrupt::reason) {
                let grace = grace(0, 0);
                if cancelled.get_or_insert_with(Instant::now).elapsed() >= grace {
                    return Err(unanswered(attached.locate(reason.clone()), grace));
                }
            }
            match timeout {
                Some(timeout) if waited >= timeout => Err(first_call_timeout(size, call, timeout)),
                _ => Ok(LONGEST),
            }
        })
    });
    if let Err(error) = waited {
        // MPI may still write into it.
        std::mem::forget(ours);
        return Err(error);
    }
    // SAFETY: our own communicator: its errors are returned to us. The handler of the host's communicator
    // does not change.
    unsafe { mpi().functions.comm_set_errhandler(*ours, Handle(mpi().constants.errors_return)) };
    Ok(*ours)
}

/// Returns the duplicates that may have to be freed at the end of MPI, in the order in which they were made.
fn live() -> std::sync::MutexGuard<'static, Vec<Weak<MpiComm>>> {
    static LIVE: Mutex<Vec<Weak<MpiComm>>> = Mutex::new(Vec::new());
    let mut live = lock(&LIVE);
    // Entries of freed communicators must not accumulate.
    if live.len() == live.capacity() {
        live.retain(|comm| comm.strong_count() > 0);
    }
    live
}

/// Returns the key of our attribute, made once for each process.
///
/// An attribute of `MPI_COMM_SELF` is made with it. `MPI_Finalize` deletes that first, while MPI still works:
/// then the duplicates of communicators that the host program never frees (`MPI_COMM_WORLD`) are freed.
fn keyval() -> Result<c_int> {
    static KEYVAL: OnceLock<Result<c_int>> = OnceLock::new();
    let (functions, constants) = (&mpi().functions, &mpi().constants);
    let create = |delete: DeleteAttribute| {
        let mut keyval: c_int = 0;
        // SAFETY: the callbacks have the types that MPI requires and live as long as the program.
        let code = unsafe {
            functions.comm_create_keyval(do_not_copy, delete, &raw mut keyval, std::ptr::null_mut())
        };
        check(code, "MPI_Comm_create_keyval").map(|()| keyval)
    };
    KEYVAL
        .get_or_init(|| {
            let at_end = create(free_all)?;
            // SAFETY: an attribute without a value, on a communicator that always exists.
            let code =
                unsafe { functions.comm_set_attr(Handle(constants.comm_self), at_end, std::ptr::null_mut()) };
            check(code, "MPI_Comm_set_attr")?;
            create(free_one)
        })
        .clone()
}

/// Keeps our attribute from being copied when the host program duplicates its communicator.
unsafe extern "C" fn do_not_copy(
    _comm: Handle,
    _keyval: c_int,
    _extra: *mut c_void,
    _value: *mut c_void,
    _copy: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    // SAFETY: MPI passes a pointer to an int.
    unsafe { *flag = 0 };
    0
}

unsafe extern "C" fn free_one(
    _comm: Handle,
    _keyval: c_int,
    value: *mut c_void,
    _extra: *mut c_void,
) -> c_int {
    FREE_EPOCH.fetch_add(1, Ordering::AcqRel);
    // SAFETY: the value is the pointer that `attached` made; its count is taken back here, once.
    let ours = unsafe { Arc::from_raw(value.cast_const().cast::<MpiComm>()) };
    ours.free();
    0
}

unsafe extern "C" fn free_all(
    _comm: Handle,
    _keyval: c_int,
    _value: *mut c_void,
    _extra: *mut c_void,
) -> c_int {
    FREE_EPOCH.fetch_add(1, Ordering::AcqRel);
    let all = std::mem::take(&mut *live());
    all.iter().filter_map(Weak::upgrade).for_each(|ours| ours.free());
    0
}
