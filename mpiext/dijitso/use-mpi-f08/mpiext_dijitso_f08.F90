! SPDX-License-Identifier: MIT OR Apache-2.0
!
! The bindings for "use mpi_f08". They call the back ends of mpif-h, with the integer in each handle.

! Not installed. Its integers are of the default kind, as those of MPI are.
module ompi_dijitso_back_ends
implicit none

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

interface
  subroutine ompi_dijitso_available_f(available, ierror) &
      bind(C, name="OMPI_Dijitso_available_f")
    implicit none
    integer, intent(out) :: available
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_available_f
  subroutine ompi_dijitso_jit_f(name, name_len, code, code_len, info, comm, library, ierror) &
      bind(C, name="OMPI_Dijitso_jit_f")
    use, intrinsic :: iso_c_binding, only: c_char, c_intptr_t
    implicit none
    character(kind=c_char), dimension(*), intent(in) :: name
    integer, intent(in) :: name_len
    character(kind=c_char), dimension(*), intent(in) :: code
    integer, intent(in) :: code_len
    integer, intent(in) :: info
    integer, intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_jit_f
  subroutine ompi_dijitso_jit_generate_f(name, name_len, generate, extra_state, info, comm, &
      library, ierror) &
      bind(C, name="OMPI_Dijitso_jit_generate_f")
    use, intrinsic :: iso_c_binding, only: c_char, c_intptr_t, c_funptr
    implicit none
    character(kind=c_char), dimension(*), intent(in) :: name
    integer, intent(in) :: name_len
    type(c_funptr), value :: generate
    integer(c_intptr_t), intent(inout) :: extra_state
    integer, intent(in) :: info
    integer, intent(in) :: comm
    integer(c_intptr_t), intent(out) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_jit_generate_f
  subroutine ompi_dijitso_source_code_f(source, code, code_len, ierror) &
      bind(C, name="OMPI_Dijitso_source_code_f")
    use, intrinsic :: iso_c_binding, only: c_char, c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(kind=c_char), dimension(*), intent(in) :: code
    integer, intent(in) :: code_len
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_source_code_f
  subroutine ompi_dijitso_source_error_f(source, message, message_len, ierror) &
      bind(C, name="OMPI_Dijitso_source_error_f")
    use, intrinsic :: iso_c_binding, only: c_char, c_intptr_t
    implicit none
    integer(c_intptr_t), intent(in) :: source
    character(kind=c_char), dimension(*), intent(in) :: message
    integer, intent(in) :: message_len
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_source_error_f
  subroutine ompi_dijitso_symbol_f(library, symbol, symbol_len, function, ierror) &
      bind(C, name="OMPI_Dijitso_symbol_f")
    use, intrinsic :: iso_c_binding, only: c_char, c_intptr_t, c_funptr
    implicit none
    integer(c_intptr_t), intent(in) :: library
    character(kind=c_char), dimension(*), intent(in) :: symbol
    integer, intent(in) :: symbol_len
    type(c_funptr), intent(out) :: function
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_symbol_f
  subroutine ompi_dijitso_free_f(library, ierror) &
      bind(C, name="OMPI_Dijitso_free_f")
    use, intrinsic :: iso_c_binding, only: c_intptr_t
    implicit none
    integer(c_intptr_t), intent(inout) :: library
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_free_f
  subroutine ompi_dijitso_progress_f(comm, done, total, ierror) &
      bind(C, name="OMPI_Dijitso_progress_f")
    implicit none
    integer, intent(in) :: comm
    integer, intent(out) :: done
    integer, intent(out) :: total
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_progress_f
  subroutine ompi_dijitso_error_string_f(string, string_len, resultlen, ierror) &
      bind(C, name="OMPI_Dijitso_error_string_f")
    use, intrinsic :: iso_c_binding, only: c_char
    implicit none
    character(kind=c_char), dimension(*), intent(out) :: string
    integer, intent(in) :: string_len
    integer, intent(out) :: resultlen
    integer, intent(out) :: ierror
  end subroutine ompi_dijitso_error_string_f
end interface

end module ompi_dijitso_back_ends

subroutine OMPI_Dijitso_available_f08(available, ierror)
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_available_f
  implicit none
  logical, intent(out) :: available
  integer, optional, intent(out) :: ierror
  integer :: c_ierror
  integer :: flag

  call ompi_dijitso_available_f(flag, c_ierror)
  available = flag /= 0
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_available_f08

subroutine OMPI_Dijitso_jit_f08(name, code, info, comm, library, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  use :: mpi_f08_types, only: MPI_Comm, MPI_Info
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_jit_f
  implicit none
  character(len=*), intent(in) :: name
  character(len=*), intent(in) :: code
  type(MPI_Info), intent(in) :: info
  type(MPI_Comm), intent(in) :: comm
  integer(c_intptr_t), intent(out) :: library
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_jit_f(name, len(name), code, len(code), info%MPI_VAL, comm%MPI_VAL, library, &
      c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_jit_f08

subroutine OMPI_Dijitso_jit_generate_f08(name, generate, extra_state, info, comm, library, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t, c_funloc
  use :: mpi_f08_types, only: MPI_Comm, MPI_Info
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_jit_generate_f, OMPI_Dijitso_generate_function
  implicit none
  character(len=*), intent(in) :: name
  procedure(OMPI_Dijitso_generate_function) :: generate
  integer(c_intptr_t), intent(inout) :: extra_state
  type(MPI_Info), intent(in) :: info
  type(MPI_Comm), intent(in) :: comm
  integer(c_intptr_t), intent(out) :: library
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_jit_generate_f(name, len(name), c_funloc(generate), extra_state, info%MPI_VAL, &
      comm%MPI_VAL, library, c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_jit_generate_f08

subroutine OMPI_Dijitso_source_code_f08(source, code, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_source_code_f
  implicit none
  integer(c_intptr_t), intent(in) :: source
  character(len=*), intent(in) :: code
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_source_code_f(source, code, len(code), c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_source_code_f08

subroutine OMPI_Dijitso_source_error_f08(source, message, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_source_error_f
  implicit none
  integer(c_intptr_t), intent(in) :: source
  character(len=*), intent(in) :: message
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_source_error_f(source, message, len(message), c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_source_error_f08

subroutine OMPI_Dijitso_symbol_f08(library, symbol, function, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t, c_funptr
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_symbol_f
  implicit none
  integer(c_intptr_t), intent(in) :: library
  character(len=*), intent(in) :: symbol
  type(c_funptr), intent(out) :: function
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_symbol_f(library, symbol, len(symbol), function, c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_symbol_f08

subroutine OMPI_Dijitso_free_f08(library, ierror)
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_free_f
  implicit none
  integer(c_intptr_t), intent(inout) :: library
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_free_f(library, c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_free_f08

subroutine OMPI_Dijitso_progress_f08(comm, done, total, ierror)
  use :: mpi_f08_types, only: MPI_Comm
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_progress_f
  implicit none
  type(MPI_Comm), intent(in) :: comm
  integer, intent(out) :: done
  integer, intent(out) :: total
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_progress_f(comm%MPI_VAL, done, total, c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_progress_f08

subroutine OMPI_Dijitso_error_string_f08(string, resultlen, ierror)
  use :: ompi_dijitso_back_ends, only: ompi_dijitso_error_string_f
  implicit none
  character(len=*), intent(out) :: string
  integer, intent(out) :: resultlen
  integer, optional, intent(out) :: ierror
  integer :: c_ierror

  call ompi_dijitso_error_string_f(string, len(string), resultlen, c_ierror)
  if (present(ierror)) ierror = c_ierror
end subroutine OMPI_Dijitso_error_string_f08
