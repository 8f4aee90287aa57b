//! Point-to-point messages of the failure detector, beside the collectives.
//!
//! Sends are synchronous: a complete one has been received. So a rank knows if all its messages have left the
//! network. A communicator must not be freed before that, because MPI gives its number to the next one.

use std::ffi::c_int;

use crate::error::Result;

use super::abi::{Handle, STATUS_SIZE};
use super::find::mpi;
use super::request::{check, is_complete, null_request};

/// The tag of all messages. Nothing else is sent point to point on our duplicates.
const TAG: c_int = 1;

/// A message with the rank that sent it.
pub(super) type Envelope = (usize, Vec<u8>);

/// The messages in transit from and to this rank.
#[derive(Default)]
pub(super) struct Mailbox {
    sends: Vec<(Handle, Vec<u8>)>,
    receives: Vec<(Handle, Envelope)>,
}

// SAFETY: requests are integers or pointers that only MPI dereferences; see `MpiComm`.
unsafe impl Send for Mailbox {}

impl Mailbox {
    /// Returns the messages that have arrived. Costs one `MPI_Iprobe` if there is none.
    ///
    /// # Errors
    /// `Kind::Mpi`.
    pub(super) fn fetch(&mut self, comm: Handle) -> Result<Vec<Envelope>> {
        while let Some(receive) = probe(comm)? {
            self.receives.push(receive);
        }
        let complete = self.receives.extract_if(.., |(request, _)| is_over(request));
        let arrived = complete.map(|(_, envelope)| envelope).collect();
        self.sends.retain_mut(|(request, _)| !is_over(request));
        Ok(arrived)
    }

    /// Sends a message. If that fails it is lost: its receiver is late or dead, which other ranks find out as
    /// well.
    pub(super) fn send(&mut self, comm: Handle, to: usize, message: Vec<u8>) {
        let (Ok(to), Ok(length)) = (c_int::try_from(to), c_int::try_from(message.len())) else { return };
        let mut request = null_request();
        let start = message.as_ptr().cast();
        // SAFETY: the message stays in place until the request is complete, or is leaked when the mailbox is
        // dropped.
        let code =
            unsafe { mpi().functions.issend(start, length, mpi().uint8(), to, TAG, comm, &raw mut request) };
        if code == 0 {
            self.sends.push((request, message));
        }
    }

    /// Tells if no message is in transit.
    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.receives.is_empty()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // MPI may still read and write these buffers.
        std::mem::forget((std::mem::take(&mut self.sends), std::mem::take(&mut self.receives)));
    }
}

/// Room for the status of any MPI, which has pointers in it.
#[repr(align(8))]
struct MpiStatus([u8; STATUS_SIZE]);

impl MpiStatus {
    /// Returns the rank that has sent the message.
    fn source(&self, offset: usize) -> c_int {
        c_int::from_ne_bytes(self.0[offset..offset + 4].try_into().expect("four bytes"))
    }
}

/// Begins to receive a message, if there is one.
fn probe(comm: Handle) -> Result<Option<(Handle, Envelope)>> {
    let (functions, constants) = (&mpi().functions, &mpi().constants);
    let mut status = MpiStatus([0; STATUS_SIZE]);
    let (mut found, mut length): (c_int, c_int) = (0, 0);
    // SAFETY: our own communicator, pointers to locals.
    let code = unsafe {
        functions.iprobe(constants.any_source, TAG, comm, &raw mut found, (&raw mut status).cast())
    };
    check(code, "MPI_Iprobe")?;
    if found == 0 {
        return Ok(None);
    }
    // SAFETY: the status is that of a message.
    let code = unsafe { functions.get_count((&raw const status).cast(), mpi().uint8(), &raw mut length) };
    check(code, "MPI_Get_count")?;
    let mut message = vec![0_u8; usize::try_from(length).unwrap_or_default()];
    let mut request = null_request();
    let (start, from) = (message.as_mut_ptr().cast(), status.source(constants.source_offset));
    // SAFETY: as long as the message that was found; the buffer stays in place until the request is complete.
    let code = unsafe { functions.irecv(start, length, mpi().uint8(), from, TAG, comm, &raw mut request) };
    if let Err(error) = check(code, "MPI_Irecv") {
        std::mem::forget(message);
        return Err(error);
    }
    Ok(Some((request, (usize::try_from(from).unwrap_or_default(), message))))
}

/// Tells if a request is complete or has failed.
fn is_over(request: &mut Handle) -> bool {
    is_complete(request, "MPI_Test").unwrap_or(true)
}
