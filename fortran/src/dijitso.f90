! SPDX-License-Identifier: MIT OR Apache-2.0
!
! dijitso for Fortran: just-in-time building of shared libraries, on one process or on all ranks of a
! communicator.
!
!   use dijitso
!   type(dijitso_library) :: library
!   call dijitso_jit_source(library, 'square', 'extern "C" double square(double x) { return x * x; }', &
!     comm=MPI_COMM_WORLD)
!   call c_f_procpointer(library%symbol('square'), square)
!
! Communicators are integers here; module dijitso_mpi_f08 adds those of mpi_f08. Names, keys and other short texts
! are taken without trailing blanks, sources as they are. What each call does is written in dijitso.h.

module dijitso
  ! What programs need in order to use a library.
  use, intrinsic :: iso_c_binding, only: c_ptr, c_funptr, c_null_ptr, c_null_funptr, c_associated, c_loc, &
    c_f_pointer, c_f_procpointer, c_char, c_int, c_int8_t, c_int32_t, c_int64_t, c_size_t, c_float, c_double
  use dijitso_constants
  use dijitso_errors, only: dijitso_error
  use dijitso_types, only: dijitso_library, dijitso_params
  use dijitso_callbacks, only: dijitso_source, dijitso_blob, dijitso_generate, dijitso_poll, dijitso_send, &
    dijitso_receive, dijitso_wait
  use dijitso_calls, only: dijitso_pending, dijitso_jit, dijitso_jit_many, dijitso_jit_source, &
    dijitso_jit_start, dijitso_jit_finish
  use dijitso_plans, only: dijitso_plan, dijitso_task, dijitso_run_task, dijitso_plan_make
  use dijitso_tools, only: dijitso_version, dijitso_signature, dijitso_explain, dijitso_library_open, &
    dijitso_stats, dijitso_cache_stats
  implicit none
  public
end module dijitso
