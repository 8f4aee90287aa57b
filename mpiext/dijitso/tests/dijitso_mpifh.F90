! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Tests the bindings for mpif.h. usage: dijitso_mpifh cold|warm|missing

module dijitso_mpifh_callbacks
  use, intrinsic :: iso_c_binding, only: c_intptr_t
  implicit none
  include 'mpif.h'
  integer :: generate_calls = 0
contains

  subroutine generate(source, name, name_len, extra_state, ierror)
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: name
    integer, intent(in) :: name_len
    integer(c_intptr_t), intent(inout) :: extra_state
    integer, intent(out) :: ierror
    character(len=*), parameter :: code = 'extern "C" double cube(double x) { return x * x * x; }'
    integer :: done, total, progress_ierror

    generate_calls = generate_calls + 1
    ! Local within the callback: this build is under way.
    call OMPI_Dijitso_progress(MPI_COMM_WORLD, done, total, progress_ierror)
    if (progress_ierror /= MPI_SUCCESS .or. total - done /= 1 .or. name /= 'cube' .or. name_len /= 4 &
        .or. extra_state /= 42) then
      ierror = 1
      return
    end if
    extra_state = 43
    call OMPI_Dijitso_source_code(source, code, len(code), ierror)
  end subroutine generate

  subroutine generate_fails(source, name, name_len, extra_state, ierror)
    integer(c_intptr_t), intent(in) :: source
    character(len=*), intent(in) :: name
    integer, intent(in) :: name_len
    integer(c_intptr_t), intent(inout) :: extra_state
    integer, intent(out) :: ierror
    character(len=200) :: reason

    ! With blanks at the end.
    reason = 'the form ' // name(1:name_len) // ' has no measure'
    call OMPI_Dijitso_source_error(source, reason, len(reason), ierror)
    ierror = 3 + int(extra_state)
  end subroutine generate_fails

end module dijitso_mpifh_callbacks

program dijitso_mpifh
  use, intrinsic :: iso_c_binding, only: c_intptr_t, c_double, c_funptr, c_null_funptr, c_f_procpointer
  use :: dijitso_mpifh_callbacks, only: generate, generate_fails, generate_calls
  implicit none
  include 'mpif.h'
  include 'mpif-ext.h'
  abstract interface
    function real_function(x) bind(C)
      import :: c_double
      real(c_double), value :: x
      real(c_double) :: real_function
    end function real_function
  end interface

  ! Blanks at the end are no part of a name.
  character(len=20), parameter :: name = 'square'
  character(len=*), parameter :: code = 'extern "C" double square(double x) { return x * x; }'
  character(len=20) :: mode
  integer(c_intptr_t) :: library, extra_state
  integer :: ierror, rank, ranks, done, total, cold, calls
  logical :: available

  call get_command_argument(1, mode)
  cold = merge(1, 0, mode == 'cold')
  call MPI_Init(ierror)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierror)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierror)
  if (OMPI_HAVE_MPI_EXT_DIJITSO /= 1) call fail('this Open MPI does not have the extension')

  call OMPI_Dijitso_available(available, ierror)
  call check(ierror == MPI_SUCCESS, 'available returns MPI_SUCCESS')
  if (mode == 'missing') then
    call test_missing()
  else
    call check(available, 'libdijitso is available')
    call test()
  end if

  call MPI_Barrier(MPI_COMM_WORLD, ierror)
  if (rank == 0) print '(3a,i0,a)', 'dijitso_mpifh ', trim(mode), ' on ', ranks, ': passed'
  call MPI_Finalize(ierror)

contains

  subroutine fail(what)
    character(len=*), intent(in) :: what
    character(len=1000) :: message
    integer :: length
    call OMPI_Dijitso_error_string(message, len(message), length, ierror)
    print '(a,i0,4a)', 'dijitso_mpifh: rank ', rank, ': not so: ', what, '; the last message is: ', trim(message)
    call MPI_Abort(MPI_COMM_WORLD, 1, ierror)
  end subroutine fail

  subroutine check(condition, what)
    logical, intent(in) :: condition
    character(len=*), intent(in) :: what
    if (.not. condition) call fail(what)
  end subroutine check

  ! Checks that all ranks have the code and the same message, which has a text in it.
  subroutine check_same_error(expected, text)
    integer, intent(in) :: expected
    character(len=*), intent(in) :: text
    character(len=4096) :: mine, first
    integer :: length, string_ierror
    call check(ierror == expected, 'the code is as expected for ' // text)
    call OMPI_Dijitso_error_string(mine, len(mine), length, string_ierror)
    call check(string_ierror == MPI_SUCCESS, 'there is a message')
    call check(length == len_trim(mine) .and. index(mine, text) > 0, 'the message has ' // text)
    first = mine
    call MPI_Bcast(first, len(first), MPI_CHARACTER, 0, MPI_COMM_WORLD, string_ierror)
    call check(first == mine, 'all ranks have the same message')
  end subroutine check_same_error

  function value_of(symbol, x) result(y)
    character(len=*), intent(in) :: symbol
    real(c_double), intent(in) :: x
    real(c_double) :: y
    procedure(real_function), pointer :: function_pointer
    type(c_funptr) :: address
    address = c_null_funptr
    call OMPI_Dijitso_symbol(library, symbol, len(symbol), address, ierror)
    call check(ierror == MPI_SUCCESS, 'the library has ' // symbol)
    call c_f_procpointer(address, function_pointer)
    y = function_pointer(x)
  end function value_of

  subroutine test_missing()
    integer :: i
    do i = 1, 2
      library = 1
      call OMPI_Dijitso_jit(name, len(name), code, len(code), MPI_INFO_NULL, MPI_COMM_WORLD, library, ierror)
      call check_same_error(OMPI_DIJITSO_ERR_UNAVAILABLE, '/nonexistent/libdijitso.so')
      call check(library == 0, 'there is no library')
    end do
    call OMPI_Dijitso_progress(MPI_COMM_WORLD, done, total, ierror)
    call check_same_error(OMPI_DIJITSO_ERR_UNAVAILABLE, '/nonexistent/libdijitso.so')
    call OMPI_Dijitso_available(available, ierror)
    calls = merge(1, 0, available)
    call MPI_Allreduce(MPI_IN_PLACE, calls, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    call check(calls < ranks, 'a rank lacks the library')
  end subroutine test_missing

  subroutine test()
    call OMPI_Dijitso_progress(MPI_COMM_WORLD, done, total, ierror)
    call check(ierror == MPI_SUCCESS .and. done == 0 .and. total == 0, 'nothing has been built')

    ! A text: built by one rank, loaded by all.
    call OMPI_Dijitso_jit(name, len(name), code, len(code), MPI_INFO_NULL, MPI_COMM_WORLD, library, ierror)
    call check(ierror == MPI_SUCCESS .and. library /= 0, 'there is a library')
    call check(abs(value_of('square', 3.0_c_double) - 9.0_c_double) < 1.0e-9_c_double, 'square(3) is 9')
    call OMPI_Dijitso_progress(MPI_COMM_WORLD, done, total, ierror)
    call check(ierror == MPI_SUCCESS .and. done == cold .and. total == cold, 'one rank has built it')
    call OMPI_Dijitso_free(library, ierror)
    call check(ierror == MPI_SUCCESS .and. library == 0, 'the library is freed')

    ! A callback, which one rank calls.
    extra_state = 42
    call OMPI_Dijitso_jit_generate('cube', 4, generate, extra_state, MPI_INFO_NULL, MPI_COMM_WORLD, library, ierror)
    call check(ierror == MPI_SUCCESS, 'there is another library')
    call check(abs(value_of('cube', 3.0_c_double) - 27.0_c_double) < 1.0e-9_c_double, 'cube(3) is 27')
    call check(extra_state == 42 + generate_calls, 'the callback may change its state')
    calls = generate_calls
    call MPI_Allreduce(MPI_IN_PLACE, calls, 1, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, ierror)
    call check(calls == cold, 'one rank generates')
    call OMPI_Dijitso_progress(MPI_COMM_WORLD, done, total, ierror)
    call check(done == 2 * cold .and. total == 2 * cold, 'two libraries have been built')
    call OMPI_Dijitso_free(library, ierror)

    ! Failures are the same on all ranks.
    extra_state = 0
    call OMPI_Dijitso_jit_generate('fails', 5, generate_fails, extra_state, MPI_INFO_NULL, MPI_COMM_WORLD, library, &
        ierror)
    call check_same_error(OMPI_DIJITSO_ERR_GENERATE, 'the form fails has no measure')
    call check(library == 0, 'a failure gives no library')
    call OMPI_Dijitso_jit('broken', 6, 'this is no C++', 14, MPI_INFO_NULL, MPI_COMM_WORLD, library, ierror)
    call check_same_error(OMPI_DIJITSO_ERR_COMPILE, 'error')
    call OMPI_Dijitso_jit('empty', 5, '', 0, MPI_INFO_NULL, MPI_COMM_WORLD, library, ierror)
    call check(ierror == MPI_SUCCESS, 'a text may be empty')
    call OMPI_Dijitso_free(library, ierror)
  end subroutine test

end program dijitso_mpifh
