! -*- fortran -*-
! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Included by the module mpi_f08_ext. Texts bring their lengths with them; ierror is optional.
! integer(c_intptr_t) is integer(kind=MPI_ADDRESS_KIND).

abstract interface
  subroutine OMPI_Dijitso_generate_function(source, name, name_len, extra_state, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: name
    integer, intent(in) :: name_len
    integer(c_intptr_t), intent(inout) :: extra_state
    integer, intent(out) :: ierror
  end subroutine OMPI_Dijitso_generate_function
end interface

interface OMPI_Dijitso_available
  subroutine OMPI_Dijitso_available_f08(available, ierror)
    implicit none
    logical, intent(out) :: available
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_available_f08
end interface OMPI_Dijitso_available

interface OMPI_Dijitso_jit
  subroutine OMPI_Dijitso_jit_f08(name, code, info, comm, library, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    use :: mpi_f08_types, only: MPI_Comm, MPI_Info
    implicit none
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: code
    type(MPI_Info), intent(in) :: info
    type(MPI_Comm), intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_jit_f08
end interface OMPI_Dijitso_jit

interface OMPI_Dijitso_jit_generate
  subroutine OMPI_Dijitso_jit_generate_f08(name, generate, extra_state, info, comm, library, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    use :: mpi_f08_types, only: MPI_Comm, MPI_Info
    import :: OMPI_Dijitso_generate_function
    implicit none
    character(len=*), intent(in) :: name
    procedure(OMPI_Dijitso_generate_function) :: generate
    integer(c_intptr_t), intent(inout) :: extra_state
    type(MPI_Info), intent(in) :: info
    type(MPI_Comm), intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_jit_generate_f08
end interface OMPI_Dijitso_jit_generate

interface OMPI_Dijitso_source_code
  subroutine OMPI_Dijitso_source_code_f08(source, code, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: code
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_source_code_f08
end interface OMPI_Dijitso_source_code

interface OMPI_Dijitso_source_error
  subroutine OMPI_Dijitso_source_error_f08(source, message, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: message
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_source_error_f08
end interface OMPI_Dijitso_source_error

interface OMPI_Dijitso_symbol
  subroutine OMPI_Dijitso_symbol_f08(library, symbol, function, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t, c_funptr
    implicit none
    integer(c_intptr_t), intent(in) :: library
    character(len=*), intent(in) :: symbol
    type(c_funptr), intent(out) :: function
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_symbol_f08
end interface OMPI_Dijitso_symbol

interface OMPI_Dijitso_free
  subroutine OMPI_Dijitso_free_f08(library, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(inout) :: library
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_free_f08
end interface OMPI_Dijitso_free

interface OMPI_Dijitso_progress
  subroutine OMPI_Dijitso_progress_f08(comm, done, total, ierror)
    use :: mpi_f08_types, only: MPI_Comm
    implicit none
    type(MPI_Comm), intent(in) :: comm
    integer, intent(out) :: done
    integer, intent(out) :: total
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_progress_f08
end interface OMPI_Dijitso_progress

interface OMPI_Dijitso_error_string
  subroutine OMPI_Dijitso_error_string_f08(string, resultlen, ierror)
    implicit none
    character(len=*), intent(out) :: string
    integer, intent(out) :: resultlen
    integer, optional, intent(out) :: ierror
  end subroutine OMPI_Dijitso_error_string_f08
end interface OMPI_Dijitso_error_string
