//! Ranks of MPI: the only file that names `mpi_sys`.
//!
//! The library talks on a duplicate of the host's communicator, made at its first use there, kept as an attribute of
//! it and freed with it. Every wait is a non-blocking collective that is tested with growing pauses, so that a rank
//! that waits for a compiler leaves its core to the compiler.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use mpi_sys::{
    MPI_Comm, MPI_Comm_create_keyval, MPI_Comm_free, MPI_Comm_get_attr, MPI_Comm_idup, MPI_Comm_rank,
    MPI_Comm_set_attr, MPI_Comm_set_errhandler, MPI_Comm_size, MPI_Comm_test_inter, MPI_Error_string,
    MPI_Finalized, MPI_Iallgather, MPI_Iallreduce, MPI_Ibcast, MPI_Initialized, MPI_Request, MPI_Test,
    RSMPI_COMM_NULL, RSMPI_COMM_SELF, RSMPI_ERRORS_RETURN, RSMPI_INT64_T, RSMPI_MIN, RSMPI_REQUEST_NULL,
    RSMPI_STATUS_IGNORE, RSMPI_UINT8_T,
};

use crate::error::{Error, Kind, Result};

use super::Communicator;

/// The communicator type of the C interface.
pub type RawComm = MPI_Comm;

/// Bytes of a broadcast that travel with its length.
const FIRST: usize = 1024;

/// Bytes of one further message: MPI counts are `int`.
const CHUNK: usize = 256 << 20;

/// Our duplicate of a host's communicator, and what is kept with it.
pub struct MpiComm {
    /// `None` once it has been freed.
    comm: Mutex<Option<MPI_Comm>>,
    rank: usize,
    size: usize,
    host: String,
    machine: u64,
    extra: Box<dyn Any + Send + Sync>,
}

// SAFETY: a communicator handle is an integer or a pointer that only MPI looks into; MPI functions may be called with
// it from any thread at the thread level that the host has asked MPI for, as the documentation of the interface says.
unsafe impl Send for MpiComm {}
// SAFETY: as above.
unsafe impl Sync for MpiComm {}

impl MpiComm {
    /// What was made for this communicator by the caller of [`attached`].
    #[must_use]
    pub fn extra(&self) -> &(dyn Any + Send + Sync) {
        self.extra.as_ref()
    }

    fn comm(&self) -> Result<MPI_Comm> {
        let comm = *self.comm.lock().unwrap_or_else(PoisonError::into_inner);
        comm.ok_or_else(|| Error::new(Kind::State, "the communicator has been freed"))
    }

    fn free(&self) {
        let comm = self.comm.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut comm) = comm {
            // SAFETY: it is our own duplicate, taken out above so that it is freed once, and MPI is not finalised:
            // this runs in delete callbacks only.
            unsafe { MPI_Comm_free(&raw mut comm) };
        }
    }
}

/// Whether this handle is the null communicator.
#[must_use]
pub fn is_null(comm: RawComm) -> bool {
    // SAFETY: a constant of the MPI library, set when the program was loaded.
    comm == unsafe { RSMPI_COMM_NULL }
}

/// Our side of a host's communicator, made with `extra` at the first use. Then, and only then, collective.
///
/// # Errors
/// [`Kind::State`] when MPI is not initialised or already finalised, [`Kind::InvalidArgument`] for an
/// inter-communicator, [`Kind::Mpi`].
pub fn attached(comm: RawComm, extra: impl FnOnce() -> Box<dyn Any + Send + Sync>) -> Result<Arc<MpiComm>> {
    check_state()?;
    let keyval = keyval()?;
    let mut value: *mut c_void = std::ptr::null_mut();
    let mut found: c_int = 0;
    // SAFETY: the keyval is ours; MPI writes a pointer through the third argument, declared as a plain void pointer.
    let code = unsafe { MPI_Comm_get_attr(comm, keyval, (&raw mut value).cast(), &raw mut found) };
    check(code, "MPI_Comm_get_attr")?;
    if found != 0 {
        let attached = value.cast_const().cast::<MpiComm>();
        // SAFETY: the attribute holds a pointer from Arc::into_raw, and one count, until the communicator is freed,
        // which the host does not do during a call on it.
        return Ok(unsafe {
            Arc::increment_strong_count(attached);
            Arc::from_raw(attached)
        });
    }
    let ours = Arc::new(duplicate(comm, extra())?);
    live().push(Arc::downgrade(&ours));
    let value = Arc::into_raw(Arc::clone(&ours)).cast_mut().cast();
    // SAFETY: the count that into_raw left belongs to the attribute; its delete callback takes it back.
    let code = unsafe { MPI_Comm_set_attr(comm, keyval, value) };
    check(code, "MPI_Comm_set_attr")?;
    Ok(ours)
}

/// MPI has to be between its initialisation and its end; asking is allowed at any time.
fn check_state() -> Result<()> {
    let (mut initialised, mut finalised): (c_int, c_int) = (0, 0);
    // SAFETY: both may be called at any time, with a pointer to an int.
    unsafe {
        MPI_Initialized(&raw mut initialised);
        MPI_Finalized(&raw mut finalised);
    }
    if initialised == 0 {
        let text = "MPI is not initialised: call MPI_Init first, or pass the null communicator";
        return Err(Error::new(Kind::State, text));
    }
    if finalised != 0 {
        return Err(Error::new(Kind::State, "MPI is already finalised: pass the null communicator"));
    }
    Ok(())
}

fn duplicate(comm: RawComm, extra: Box<dyn Any + Send + Sync>) -> Result<MpiComm> {
    let mut inter: c_int = 0;
    // SAFETY: a valid communicator of an initialised MPI, and pointers to locals that outlive the calls.
    check(unsafe { MPI_Comm_test_inter(comm, &raw mut inter) }, "MPI_Comm_test_inter")?;
    if inter != 0 {
        let text = "an inter-communicator has two groups of ranks; merge it first (MPI_Intercomm_merge)";
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    // SAFETY: constants of the MPI library.
    let (mut ours, mut request) = unsafe { (RSMPI_COMM_NULL, RSMPI_REQUEST_NULL) };
    // SAFETY: `ours` and `request` stay in place until the request is complete, which `wait` sees to.
    check(unsafe { MPI_Comm_idup(comm, &raw mut ours, &raw mut request) }, "MPI_Comm_idup")?;
    wait(&mut request, "MPI_Comm_idup")?;
    let (mut rank, mut size): (c_int, c_int) = (0, 1);
    // SAFETY: our own communicator: its errors come back to us, the host's handler stays as it is.
    unsafe {
        MPI_Comm_set_errhandler(ours, RSMPI_ERRORS_RETURN);
        MPI_Comm_rank(ours, &raw mut rank);
        MPI_Comm_size(ours, &raw mut size);
    }
    Ok(MpiComm {
        comm: Mutex::new(Some(ours)),
        rank: usize::try_from(rank).unwrap_or_default(),
        size: usize::try_from(size).unwrap_or(1),
        host: crate::host_name(),
        machine: machine(),
        extra,
    })
}

/// The boot identifier is one and the same for all containers of a machine, whose inodes are comparable.
fn machine() -> u64 {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id");
    let identity = boot.unwrap_or_else(|_| crate::host_name().into_bytes());
    let digest = crate::wire::digest(&identity);
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// Tests a request with growing pauses until it is complete.
fn wait(request: &mut MPI_Request, what: &str) -> Result<()> {
    // A few tests at once, since most collectives are short; then naps that cost a waiter nothing.
    const YIELDS: u32 = 20;
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(2);
    let mut nap = SHORTEST;
    for round in 0_u32.. {
        let mut done: c_int = 0;
        // SAFETY: the request was started by us; no status is asked for.
        let code = unsafe { MPI_Test(request, &raw mut done, RSMPI_STATUS_IGNORE) };
        check(code, what)?;
        if done != 0 {
            break;
        }
        if round < YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(nap);
            nap = (nap * 3 / 2).min(LONGEST);
        }
    }
    Ok(())
}

fn check(code: c_int, what: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0_u8; 4096];
    let mut length: c_int = 0;
    // SAFETY: the buffer is longer than MPI_MAX_ERROR_STRING of any MPI.
    unsafe { MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
    let length = usize::try_from(length).unwrap_or_default().min(text.len());
    let reason = String::from_utf8_lossy(&text[..length]).into_owned();
    Err(Error::new(Kind::Mpi, format!("{what} failed: {reason}")))
}

fn count(length: usize) -> Result<c_int> {
    c_int::try_from(length)
        .map_err(|_| Error::new(Kind::Mpi, format!("a message of {length} bytes is too long for MPI")))
}

impl MpiComm {
    fn broadcast_chunk(&self, root: usize, data: &mut [u8]) -> Result<()> {
        // SAFETY: a constant of the MPI library.
        let mut request = unsafe { RSMPI_REQUEST_NULL };
        let (length, root) = (count(data.len())?, count(root)?);
        // SAFETY: the buffer is borrowed until the request is complete.
        let code = unsafe {
            let data = data.as_mut_ptr().cast();
            MPI_Ibcast(data, length, RSMPI_UINT8_T, root, self.comm()?, &raw mut request)
        };
        check(code, "MPI_Ibcast")?;
        wait(&mut request, "MPI_Ibcast")
    }
}

impl Communicator for MpiComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn machine(&self) -> u64 {
        self.machine
    }

    fn min(&self, values: &mut [u64]) -> Result<()> {
        // Signed numbers in the same order: MPICH 4.0 takes the minimum of MPI_UINT64_T as if it were signed.
        const TOP: u64 = 1 << 63;
        let mine: Vec<u64> = values.iter().map(|value| value ^ TOP).collect();
        // SAFETY: a constant of the MPI library.
        let mut request = unsafe { RSMPI_REQUEST_NULL };
        // SAFETY: both buffers have that many elements and live until the request is complete.
        let code = unsafe {
            MPI_Iallreduce(
                mine.as_ptr().cast(),
                values.as_mut_ptr().cast(),
                count(mine.len())?,
                RSMPI_INT64_T,
                RSMPI_MIN,
                self.comm()?,
                &raw mut request,
            )
        };
        check(code, "MPI_Iallreduce")?;
        wait(&mut request, "MPI_Iallreduce")?;
        values.iter_mut().for_each(|value| *value ^= TOP);
        Ok(())
    }

    fn broadcast(&self, root: usize, data: &mut Vec<u8>) -> Result<()> {
        // The length and the beginning go first, in one message of a size that everybody knows.
        let mut first = [0_u8; FIRST];
        let head = FIRST - 8;
        if self.rank == root {
            first[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
            let some = data.len().min(head);
            first[8..8 + some].copy_from_slice(&data[..some]);
        }
        self.broadcast_chunk(root, &mut first)?;
        let length = u64::from_le_bytes(first[..8].try_into().expect("eight bytes"));
        let some = usize::try_from(length).map_or(head, |length| length.min(head));
        let mut room = true;
        if self.rank != root {
            data.clear();
            room = usize::try_from(length).is_ok_and(|length| data.try_reserve_exact(length).is_ok());
        }
        if length > head as u64 {
            // A rank without memory cannot take part, and the others must not begin without it.
            let mut lacking = [if room { u64::MAX } else { self.rank as u64 }];
            self.min(&mut lacking)?;
            if lacking != [u64::MAX] {
                let text = format!("rank {} has no memory for {length} bytes that it is sent", lacking[0]);
                return Err(Error::new(Kind::Mpi, text));
            }
        }
        if self.rank != root {
            data.extend_from_slice(&first[8..8 + some]);
            data.resize(usize::try_from(length).unwrap_or_default(), 0);
        }
        let rest = data.len().min(head);
        data[rest..].chunks_mut(CHUNK).try_for_each(|chunk| self.broadcast_chunk(root, chunk))
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<u8>> {
        let mut all = vec![0_u8; mine.len() * self.size];
        // SAFETY: a constant of the MPI library.
        let mut request = unsafe { RSMPI_REQUEST_NULL };
        // SAFETY: the receive buffer has room for as many bytes from each rank; both live until completion.
        let code = unsafe {
            MPI_Iallgather(
                mine.as_ptr().cast(),
                count(mine.len())?,
                RSMPI_UINT8_T,
                all.as_mut_ptr().cast(),
                count(mine.len())?,
                RSMPI_UINT8_T,
                self.comm()?,
                &raw mut request,
            )
        };
        check(code, "MPI_Iallgather")?;
        wait(&mut request, "MPI_Iallgather")?;
        Ok(all)
    }
}

/// All duplicates that may have to be freed at the end, in the order in which they were made.
fn live() -> std::sync::MutexGuard<'static, Vec<Weak<MpiComm>>> {
    static LIVE: Mutex<Vec<Weak<MpiComm>>> = Mutex::new(Vec::new());
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    // Communicators that came and went must not add up.
    if live.len() == live.capacity() {
        live.retain(|comm| comm.strong_count() > 0);
    }
    live
}

/// The key of our attribute, made once per process.
///
/// With it goes an attribute of `MPI_COMM_SELF`, which `MPI_Finalize` deletes first, while MPI still works: that is
/// when duplicates of communicators that the host never freed (`MPI_COMM_WORLD`) are freed.
fn keyval() -> Result<c_int> {
    static KEYVAL: OnceLock<Result<c_int>> = OnceLock::new();
    let create = |delete| {
        let mut keyval: c_int = 0;
        // SAFETY: the callbacks have the types that MPI asks for and live as long as the program.
        let code = unsafe {
            MPI_Comm_create_keyval(Some(do_not_copy), Some(delete), &raw mut keyval, std::ptr::null_mut())
        };
        check(code, "MPI_Comm_create_keyval").map(|()| keyval)
    };
    KEYVAL
        .get_or_init(|| {
            let at_end = create(free_all)?;
            // SAFETY: an attribute without a value, on a communicator that always exists.
            let code = unsafe { MPI_Comm_set_attr(RSMPI_COMM_SELF, at_end, std::ptr::null_mut()) };
            check(code, "MPI_Comm_set_attr")?;
            create(free_one)
        })
        .clone()
}

/// A duplicate that the host makes of its communicator starts without our attribute.
unsafe extern "C" fn do_not_copy(
    _comm: MPI_Comm,
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
    _comm: MPI_Comm,
    _keyval: c_int,
    value: *mut c_void,
    _extra: *mut c_void,
) -> c_int {
    // SAFETY: the value is the pointer that `attached` made; its count is taken back here, once.
    let ours = unsafe { Arc::from_raw(value.cast_const().cast::<MpiComm>()) };
    ours.free();
    0
}

unsafe extern "C" fn free_all(
    _comm: MPI_Comm,
    _keyval: c_int,
    _value: *mut c_void,
    _extra: *mut c_void,
) -> c_int {
    let all = std::mem::take(&mut *live());
    all.iter().filter_map(Weak::upgrade).for_each(|ours| ours.free());
    0
}
