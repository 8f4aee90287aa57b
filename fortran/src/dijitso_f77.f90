! SPDX-License-Identifier: MIT OR Apache-2.0
!
! dijitso for programs without modules: external procedures, whose names dijitsof.h declares.
!
! Libraries, addresses and sources are INTEGER*8. Communicators are those of mpif.h. IERR receives one of the
! DIJITSO_ values; dijitsof_error gives the message of the last call that failed in this process. All calls use one
! set of parameters, which dijitsof_set changes. Texts are taken without trailing blanks. One thread at a time.

! The state of these procedures, and their callback.
module dijitso_f77_state
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  use dijitso_types
  use dijitso_callbacks
  implicit none
  public

  abstract interface
    ! The generate procedure of such a program calls dijitsof_code with the source, and sets IERR to 0.
    subroutine f77_generate(source, name, ierr)
      import :: c_int64_t
      integer(c_int64_t) :: source
      character(*) :: name
      integer :: ierr
    end subroutine
  end interface

  type :: f77_context
    procedure(f77_generate), pointer, nopass :: generate => null()
  end type f77_context

  type(dijitso_params), save :: params
  character(:), allocatable, save :: last_message
contains
  recursive subroutine run_f77(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    character(len(name)) :: copy
    copy = name
    stat = 0
    select type (context)
    type is (f77_context)
      call context%generate(transfer(source%address(), 0_c_int64_t), copy, stat)
    end select
  end subroutine

  ! Keeps the message of a call that has failed, and gives its status.
  subroutine conclude(status, failure, ierr)
    integer(c_int32_t), intent(in) :: status
    type(c_ptr), intent(in) :: failure
    integer, intent(out) :: ierr
    type(dijitso_error) :: what
    call report(status, failure, what, ierr)
    if (ierr /= DIJITSO_OK) last_message = what%message
  end subroutine
end module dijitso_f77_state

! Sets one parameter of all calls, such as 'build.cxxflags'.
subroutine dijitsof_set(key, value, ierr)
  use dijitso_f77_state
  implicit none
  character(*), intent(in) :: key, value
  integer, intent(out) :: ierr
  character(:), allocatable :: message
  call params%set(key, value, ierr, message)
  if (ierr /= DIJITSO_OK) call move_alloc(message, last_message)
end subroutine

! Gives the communicator that stands for none: MPI is then not touched.
subroutine dijitsof_null_comm(comm)
  use dijitso_c
  implicit none
  integer, intent(out) :: comm
  comm = c_dijitso_fint_null()
end subroutine

! Gives the library of a name. GENERATE is an external procedure (SOURCE, NAME, IERR), called on a miss. Collective.
recursive subroutine dijitsof_jit(library, name, generate, comm, ierr)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(out) :: library
  character(*), intent(in) :: name
  procedure(f77_generate) :: generate
  integer, intent(in) :: comm
  integer, intent(out) :: ierr
  type(f77_context), target :: context
  type(call_frame), target :: frame
  type(c_dijitso_callbacks), target :: callbacks
  type(c_ptr) :: address, failure
  integer(c_int32_t) :: status
  context%generate => generate
  call prepare(frame, callbacks, run_f77, context=context)
  status = c_dijitso_jit_fint(c_string(name), params%address(), c_loc(callbacks), comm, address, failure)
  library = transfer(address, library)
  call conclude(status, failure, ierr)
end subroutine

! Gives the library of a source text. Another text is another library. Collective.
recursive subroutine dijitsof_source(library, name, code, comm, ierr)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(out) :: library
  character(*), intent(in) :: name, code
  integer, intent(in) :: comm
  integer, intent(out) :: ierr
  type(c_dijitso_text), target :: text
  character(:, c_char), allocatable, target :: copy
  type(c_ptr) :: address, failure
  integer(c_int32_t) :: status
  allocate (copy, source=trim(code)//c_null_char)
  text%struct_size = c_sizeof(text)
  text%code = c_loc(copy)
  text%code_length = len_trim(code, c_size_t)
  status = c_dijitso_jit_text_fint(c_string(name), params%address(), c_loc(text), comm, address, failure)
  library = transfer(address, library)
  call conclude(status, failure, ierr)
end subroutine

! Gives the address of a function of a library, for dijitsof_call or, in compilers with %VAL, as an argument.
subroutine dijitsof_symbol(library, symbol, address, ierr)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(in) :: library
  character(*), intent(in) :: symbol
  integer(c_int64_t), intent(out) :: address
  integer, intent(out) :: ierr
  type(c_funptr) :: found
  type(c_ptr) :: failure
  integer(c_int32_t) :: status
  status = c_dijitso_library_symbol(transfer(library, c_null_ptr), c_string(symbol), found, failure)
  address = transfer(found, address)
  call conclude(status, failure, ierr)
end subroutine

! Calls a function that takes two arrays: extern "C" void f(const double *in, double *out).
subroutine dijitsof_call(address, in, out)
  use, intrinsic :: iso_c_binding
  implicit none
  integer(c_int64_t), intent(in) :: address
  real(c_double), intent(in) :: in(*)
  real(c_double), intent(inout) :: out(*)
  abstract interface
    subroutine kernel(in, out) bind(c)
      import :: c_double
      real(c_double), intent(in) :: in(*)
      real(c_double), intent(inout) :: out(*)
    end subroutine
  end interface
  procedure(kernel), pointer :: call_it
  call c_f_procpointer(transfer(address, c_null_funptr), call_it)
  call call_it(in, out)
end subroutine

! Drops a library and sets it to 0. Its code stays loaded.
subroutine dijitsof_free(library)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(inout) :: library
  call c_dijitso_library_free(transfer(library, c_null_ptr))
  library = 0
end subroutine

! Gives the message of the last call that has failed in this process, cut to the length of the variable.
subroutine dijitsof_error(message)
  use dijitso_f77_state
  implicit none
  character(*), intent(out) :: message
  message = ' '
  if (allocated(last_message)) message = last_message
end subroutine

! Sets the source code. Called within a generate procedure, like the next three.
subroutine dijitsof_code(source, text, ierr)
  use dijitso_c
  implicit none
  integer(c_int64_t), intent(in) :: source
  character(*), intent(in) :: text
  integer, intent(out) :: ierr
  ierr = c_dijitso_source_set_code(transfer(source, c_null_ptr), text, len_trim(text, c_size_t))
end subroutine

! Sets a header, which sources of dependants may include as "SIGNATURE.h".
subroutine dijitsof_header(source, text, ierr)
  use dijitso_c
  implicit none
  integer(c_int64_t), intent(in) :: source
  character(*), intent(in) :: text
  integer, intent(out) :: ierr
  ierr = c_dijitso_source_set_header(transfer(source, c_null_ptr), text, len_trim(text, c_size_t))
end subroutine

! Adds a library to link to.
subroutine dijitsof_depend(source, library, ierr)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(in) :: source, library
  integer, intent(out) :: ierr
  character(:), allocatable :: signature
  signature = text_of(c_dijitso_library_signature(transfer(library, c_null_ptr)))
  ierr = c_dijitso_source_add_dependency(transfer(source, c_null_ptr), c_string(signature))
end subroutine

! Says why the generate procedure will set another IERR than 0. The text becomes part of the error on all ranks.
subroutine dijitsof_reason(source, message, ierr)
  use dijitso_f77_state
  implicit none
  integer(c_int64_t), intent(in) :: source
  character(*), intent(in) :: message
  integer, intent(out) :: ierr
  ierr = c_dijitso_source_set_error(transfer(source, c_null_ptr), c_string(message))
end subroutine
