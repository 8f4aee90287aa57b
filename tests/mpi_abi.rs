//! The constants and layouts in `src/parallel/mpi/abi.rs` are those of the `mpi.h` of MPICC. Run for each MPI that is
//! installed: `MPICC=mpicc.mpich cargo test --features mpi-headers --test mpi_abi`.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::mem::{offset_of, size_of};

use dijitso::parallel::mpi::abi::{Constants, MPICH, STANDARD, STATUS_SIZE, open_mpi};

/// Returns a handle as a word. One of 4 bytes is the lower half.
fn word<T: Copy>(handle: T) -> usize {
    let mut word = 0_usize;
    assert!(size_of::<T>() <= size_of::<usize>());
    // SAFETY: no more bytes than the word has.
    unsafe { (&raw mut word).cast::<T>().write_unaligned(handle) };
    word
}

/// Returns what the `mpi.h` says.
fn of_header() -> Constants {
    // SAFETY: constants of the MPI library, set when the program was loaded.
    unsafe {
        Constants {
            handle_size: size_of::<mpi_sys::MPI_Comm>(),
            comm_null: word(mpi_sys::RSMPI_COMM_NULL),
            comm_world: word(mpi_sys::RSMPI_COMM_WORLD),
            comm_self: word(mpi_sys::RSMPI_COMM_SELF),
            uint8: word(mpi_sys::RSMPI_UINT8_T),
            request_null: word(mpi_sys::RSMPI_REQUEST_NULL),
            errors_return: word(mpi_sys::RSMPI_ERRORS_RETURN),
            status_ignore: word(mpi_sys::RSMPI_STATUS_IGNORE),
            any_source: mpi_sys::RSMPI_ANY_SOURCE,
            undefined: mpi_sys::RSMPI_UNDEFINED,
            status_size: size_of::<mpi_sys::MPI_Status>(),
            source_offset: offset_of!(mpi_sys::MPI_Status, MPI_SOURCE),
        }
    }
}

#[test]
fn the_table_of_this_family_is_what_the_header_says() {
    let header = of_header();
    let address = |name: &str| {
        let name = std::ffi::CString::new(name).unwrap();
        // SAFETY: a name that ends with a zero.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
        (address != 0).then_some(address)
    };
    let table = match open_mpi(address) {
        Ok(table) => table,
        Err(_) if header.handle_size == 4 => MPICH,
        Err(_) => STANDARD,
    };
    assert_eq!(table, header);
    assert!(header.status_size <= STATUS_SIZE);
}

#[test]
fn texts_have_room() {
    assert!(mpi_sys::MPI_MAX_ERROR_STRING as usize <= 4096);
    assert!(mpi_sys::MPI_MAX_LIBRARY_VERSION_STRING as usize <= 16 << 10);
}
