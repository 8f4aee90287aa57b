//! The functions that take a communicator, for languages that cannot name the type `MPI_Comm`: with a
//! communicator at an address, and as an integer of Fortran. One rule makes both from the function of C;
//! `tests/header.rs` applies the same rule to its declaration.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::parallel::mpi::fortran_of_word;

use super::boundary;
use super::callbacks::dijitso_callbacks;
use super::comm::MPI_Comm;
use super::error::dijitso_error;
use super::jit::dijitso_jit;
use super::jit_many::dijitso_jit_many;
use super::library::dijitso_library;
use super::mpi::{
    dijitso_mpi_bcast_uuid, dijitso_mpi_create_comms_and_role, dijitso_mpi_create_comms_and_role_node,
    dijitso_mpi_create_comms_and_role_process, dijitso_mpi_create_comms_and_role_root,
    dijitso_mpi_create_node_comm, dijitso_mpi_create_node_roots_comm, dijitso_mpi_create_subcomm,
    dijitso_mpi_discover_path_access_ranks, dijitso_mpi_gather_global_partitions, dijitso_mpi_receive_binary,
    dijitso_mpi_send_binary,
};
use super::params::dijitso_params;
use super::pending::{dijitso_jit_start, dijitso_pending};
use super::plan::dijitso_plan;
use super::plan_make::{dijitso_make_options, dijitso_plan_make};
use super::source::dijitso_blob;
use super::status::dijitso_status;
use super::text::{dijitso_jit_source, dijitso_jit_text, dijitso_text};

/// An output for an integer of Fortran, and the communicator that the function of C writes.
struct FortranOutput {
    place: *mut i32,
    word: usize,
}

impl FortranOutput {
    fn new(place: *mut i32) -> Self {
        Self { place, word: 0 }
    }

    /// Returns where the communicator is to be written; NULL if the host has passed NULL.
    fn place(&mut self) -> *mut MPI_Comm {
        if self.place.is_null() { ptr::null_mut() } else { (&raw mut self.word).cast() }
    }

    /// # Safety
    /// The host's pointer is NULL or may be written.
    unsafe fn write(&self) {
        if !self.place.is_null() {
            // SAFETY: promised by the caller.
            unsafe { self.place.write(fortran_of_word(self.word)) };
        }
    }
}

/// Exports both forms of each function. Its arguments in order are: some; the communicators; some; the
/// outputs for communicators; some.
macro_rules! for_languages {
    ($($function:ident => $by_address:ident, $by_integer:ident (
        $($before:ident: $Before:ty),*; $($comm:ident),+; $($between:ident: $Between:ty),*;
        $($output:ident),*; $($after:ident: $After:ty),*
    );)+) => {$(
        #[doc = concat!("Does [`", stringify!($function), "`] with communicators at addresses.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $by_address(
            $($before: $Before,)* $($comm: *const c_void,)+ comm_size: usize, $($between: $Between,)*
            $($output: *mut c_void,)* $($after: $After),*
        ) -> dijitso_status {
            // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
            unsafe {
                boundary::forward(|| {
                    $(let $comm = MPI_Comm::at($comm, comm_size);)+
                    $function($($before,)* $($comm,)+ $($between,)* $($output.cast(),)* $($after),*)
                })
            }
        }

        #[doc = concat!("Does [`", stringify!($function), "`] with communicators of Fortran.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $by_integer(
            $($before: $Before,)* $($comm: i32,)+ $($between: $Between,)*
            $($output: *mut i32,)* $($after: $After),*
        ) -> dijitso_status {
            // SAFETY: the caller keeps what the header says of each pointer; NULL is checked before use.
            unsafe {
                boundary::forward(|| {
                    $(let $comm = MPI_Comm::of_fortran($comm);)+
                    $(let mut $output = FortranOutput::new($output);)*
                    let status = $function(
                        $($before,)* $($comm,)+ $($between,)* $($output.place(),)* $($after),*
                    );
                    $($output.write();)*
                    status
                })
            }
        }
    )+};
}

for_languages! {
    dijitso_jit => dijitso_jit_comm, dijitso_jit_fint (
        name: *const c_char, params: *const dijitso_params, callbacks: *const dijitso_callbacks; comm;
        library_out: *mut *mut dijitso_library; ; error_out: *mut *mut dijitso_error
    );
    dijitso_jit_many => dijitso_jit_many_comm, dijitso_jit_many_fint (
        count: usize, names: *const *const c_char, params: *const dijitso_params,
        callbacks: *const dijitso_callbacks; comm;
        libraries_out: *mut *mut dijitso_library; ; error_out: *mut *mut dijitso_error
    );
    dijitso_jit_source => dijitso_jit_source_comm, dijitso_jit_source_fint (
        name: *const c_char, params: *const dijitso_params, code: *const c_char, code_length: usize,
        header: *const c_char, header_length: usize; comm;
        library_out: *mut *mut dijitso_library; ; error_out: *mut *mut dijitso_error
    );
    dijitso_jit_text => dijitso_jit_text_comm, dijitso_jit_text_fint (
        name: *const c_char, params: *const dijitso_params, text: *const dijitso_text; comm;
        library_out: *mut *mut dijitso_library; ; error_out: *mut *mut dijitso_error
    );
    dijitso_jit_start => dijitso_jit_start_comm, dijitso_jit_start_fint (
        name: *const c_char, params: *const dijitso_params, callbacks: *const dijitso_callbacks; comm;
        pending_out: *mut *mut dijitso_pending; ; error_out: *mut *mut dijitso_error
    );
    dijitso_plan_make => dijitso_plan_make_comm, dijitso_plan_make_fint (
        plan: *mut dijitso_plan, options: *const dijitso_make_options; comm; ; ;
        error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_discover_path_access_ranks =>
    dijitso_mpi_discover_path_access_ranks_comm, dijitso_mpi_discover_path_access_ranks_fint (
        ; comm; path: *const c_char, ranks_out: *mut i32, capacity: i32, count_out: *mut i32; ;
        error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_node_comm => dijitso_mpi_create_node_comm_comm, dijitso_mpi_create_node_comm_fint (
        ; comm; path: *const c_char; node_comm_out;
        node_root_out: *mut i32, error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_node_roots_comm =>
    dijitso_mpi_create_node_roots_comm_comm, dijitso_mpi_create_node_roots_comm_fint (
        ; comm; node_root: i32; comm_out; error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_subcomm => dijitso_mpi_create_subcomm_comm, dijitso_mpi_create_subcomm_fint (
        ; comm; ranks: *const i32, count: i32; comm_out; error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_comms_and_role =>
    dijitso_mpi_create_comms_and_role_comm, dijitso_mpi_create_comms_and_role_fint (
        ; comm; path: *const c_char, buildon: *const c_char; copy_comm_out, wait_comm_out;
        role_out: *mut i32, error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_comms_and_role_node =>
    dijitso_mpi_create_comms_and_role_node_comm, dijitso_mpi_create_comms_and_role_node_fint (
        ; comm, node_comm; node_root: i32; copy_comm_out, wait_comm_out;
        role_out: *mut i32, error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_comms_and_role_root =>
    dijitso_mpi_create_comms_and_role_root_comm, dijitso_mpi_create_comms_and_role_root_fint (
        ; comm, node_comm; node_root: i32; copy_comm_out, wait_comm_out;
        role_out: *mut i32, error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_create_comms_and_role_process =>
    dijitso_mpi_create_comms_and_role_process_comm, dijitso_mpi_create_comms_and_role_process_fint (
        ; comm, node_comm; node_root: i32; copy_comm_out, wait_comm_out;
        role_out: *mut i32, error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_send_binary => dijitso_mpi_send_binary_comm, dijitso_mpi_send_binary_fint (
        ; comm; data: *const u8, size: usize; ; error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_receive_binary => dijitso_mpi_receive_binary_comm, dijitso_mpi_receive_binary_fint (
        ; comm; blob: *mut dijitso_blob; ; error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_bcast_uuid => dijitso_mpi_bcast_uuid_comm, dijitso_mpi_bcast_uuid_fint (
        ; comm; uuid_out: *mut u64; ; error_out: *mut *mut dijitso_error
    );
    dijitso_mpi_gather_global_partitions =>
    dijitso_mpi_gather_global_partitions_comm, dijitso_mpi_gather_global_partitions_fint (
        ; comm; partition: u64, partitions_out: *mut u64, capacity: i32, count_out: *mut i32; ;
        error_out: *mut *mut dijitso_error
    );
}
