//! Letters between ranks, beside the collectives.
//!
//! They are synchronous sends: one that is not complete has not been received. So a rank knows whether all of its
//! letters are out of the network, before which a communicator must not be freed, since MPI gives its number to the
//! next one.

use std::ffi::c_int;

use mpi_sys::{
    MPI_Comm, MPI_Get_count, MPI_Iprobe, MPI_Irecv, MPI_Issend, MPI_Request, MPI_Status, MPI_Test,
    RSMPI_ANY_SOURCE, RSMPI_REQUEST_NULL, RSMPI_STATUS_IGNORE, RSMPI_UINT8_T,
};

use crate::error::Result;

use super::wait::check;

/// The tag of all letters: nothing else is sent point to point on our duplicates.
const TAG: c_int = 1;

/// A letter with the rank that it comes from.
pub(super) type Envelope = (usize, Vec<u8>);

/// What is on its way to and from this rank.
#[derive(Default)]
pub(super) struct Mailbox {
    sends: Vec<(MPI_Request, Vec<u8>)>,
    receives: Vec<(MPI_Request, Envelope)>,
}

impl Mailbox {
    /// The letters that have come. With none under way this costs one `MPI_Iprobe`.
    pub(super) fn fetch(&mut self, comm: MPI_Comm) -> Result<Vec<Envelope>> {
        while let Some(coming) = probe(comm)? {
            self.receives.push(coming);
        }
        let mut come = Vec::new();
        for (mut request, letter) in std::mem::take(&mut self.receives) {
            if is_done(&mut request) {
                come.push(letter);
            } else {
                self.receives.push((request, letter));
            }
        }
        self.sends.retain_mut(|(request, _)| !is_done(request));
        Ok(come)
    }

    /// Sends a letter. One that cannot be sent is lost: its reader is late or dead, which others find out as well.
    pub(super) fn send(&mut self, comm: MPI_Comm, to: usize, letter: Vec<u8>) {
        let (Ok(to), Ok(length)) = (c_int::try_from(to), c_int::try_from(letter.len())) else { return };
        // SAFETY: a constant of the MPI library.
        let mut request = unsafe { RSMPI_REQUEST_NULL };
        let start = letter.as_ptr().cast();
        // SAFETY: the letter stays where it is until the request is complete, or for ever: see the end of `Post`.
        let code = unsafe { MPI_Issend(start, length, RSMPI_UINT8_T, to, TAG, comm, &raw mut request) };
        if code == 0 {
            self.sends.push((request, letter));
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.receives.is_empty()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // MPI may still read and write these.
        std::mem::forget((std::mem::take(&mut self.sends), std::mem::take(&mut self.receives)));
    }
}

/// Begins to receive a letter, if there is one.
fn probe(comm: MPI_Comm) -> Result<Option<(MPI_Request, Envelope)>> {
    // SAFETY: a status is a few integers, which MPI fills in.
    let mut status: MPI_Status = unsafe { std::mem::zeroed() };
    let (mut there, mut length): (c_int, c_int) = (0, 0);
    // SAFETY: our own communicator, pointers to locals.
    let code = unsafe { MPI_Iprobe(RSMPI_ANY_SOURCE, TAG, comm, &raw mut there, &raw mut status) };
    check(code, "MPI_Iprobe")?;
    if there == 0 {
        return Ok(None);
    }
    // SAFETY: the status is that of a message.
    check(unsafe { MPI_Get_count(&raw const status, RSMPI_UINT8_T, &raw mut length) }, "MPI_Get_count")?;
    let mut letter = vec![0_u8; usize::try_from(length).unwrap_or_default()];
    // SAFETY: a constant of the MPI library.
    let mut request = unsafe { RSMPI_REQUEST_NULL };
    let (start, from) = (letter.as_mut_ptr().cast(), status.MPI_SOURCE);
    // SAFETY: as long as the message that was found; the letter stays where it is until the request is complete.
    let code = unsafe { MPI_Irecv(start, length, RSMPI_UINT8_T, from, TAG, comm, &raw mut request) };
    if let Err(error) = check(code, "MPI_Irecv") {
        std::mem::forget(letter);
        return Err(error);
    }
    Ok(Some((request, (usize::try_from(from).unwrap_or_default(), letter))))
}

/// A request that failed is over as well.
fn is_done(request: &mut MPI_Request) -> bool {
    let mut done: c_int = 0;
    // SAFETY: the request was started by us; no status is asked for.
    let code = unsafe { MPI_Test(request, &raw mut done, RSMPI_STATUS_IGNORE) };
    code != 0 || done != 0
}
