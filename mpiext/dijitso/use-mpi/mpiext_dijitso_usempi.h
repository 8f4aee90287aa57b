! -*- fortran -*-
! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Included by the module mpi_ext. The subroutines are those of mpif-h; these interfaces check the arguments.
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
  subroutine ompi_dijitso_available(available, ierror)
    implicit none
    logical, intent(out) :: available
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_available
end interface OMPI_Dijitso_available

interface OMPI_Dijitso_jit
  subroutine ompi_dijitso_jit(name, name_len, code, code_len, info, comm, library, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    character(len=*), intent(in) :: name
    integer, intent(in) :: name_len
    character(len=*), intent(in) :: code
    integer, intent(in) :: code_len
    integer, intent(in) :: info
    integer, intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_jit
end interface OMPI_Dijitso_jit

interface OMPI_Dijitso_jit_generate
  subroutine ompi_dijitso_jit_generate(name, name_len, generate, extra_state, info, comm, library, &
      ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    import :: OMPI_Dijitso_generate_function
    implicit none
    character(len=*), intent(in) :: name
    integer, intent(in) :: name_len
    procedure(OMPI_Dijitso_generate_function) :: generate
    integer(c_intptr_t), intent(inout) :: extra_state
    integer, intent(in) :: info
    integer, intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_jit_generate
end interface OMPI_Dijitso_jit_generate

interface OMPI_Dijitso_source_code
  subroutine ompi_dijitso_source_code(source, code, code_len, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: code
    integer, intent(in) :: code_len
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_source_code
end interface OMPI_Dijitso_source_code

interface OMPI_Dijitso_source_error
  subroutine ompi_dijitso_source_error(source, message, message_len, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: message
    integer, intent(in) :: message_len
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_source_error
end interface OMPI_Dijitso_source_error

interface OMPI_Dijitso_symbol
  subroutine ompi_dijitso_symbol(library, symbol, symbol_len, function, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t, c_funptr
    implicit none
    integer(c_intptr_t), intent(in) :: library
    character(len=*), intent(in) :: symbol
    integer, intent(in) :: symbol_len
    type(c_funptr), intent(out) :: function
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_symbol
end interface OMPI_Dijitso_symbol

interface OMPI_Dijitso_free
  subroutine ompi_dijitso_free(library, ierror)
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(inout) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_free
end interface OMPI_Dijitso_free

interface OMPI_Dijitso_progress
  subroutine ompi_dijitso_progress(comm, done, total, ierror)
    implicit none
    integer, intent(in) :: comm
    integer, intent(out) :: done
    integer, intent(out) :: total
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_progress
end interface OMPI_Dijitso_progress

interface OMPI_Dijitso_error_string
  subroutine ompi_dijitso_error_string(string, string_len, resultlen, ierror)
    implicit none
    character(len=*), intent(out) :: string
    integer, intent(in) :: string_len
    integer, intent(out) :: resultlen
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_error_string
end interface OMPI_Dijitso_error_string
