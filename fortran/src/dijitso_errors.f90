! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Errors, and texts on their way between Fortran and C.

! Refuses compilers whose default integers are not those of MPI and of this library.
module dijitso_kinds
  use, intrinsic :: iso_c_binding, only: c_int32_t
  implicit none
  private
  public :: check_default_integers

  interface dijitso_needs_4_byte_integers_so_remove_fdefault_integer_8
    procedure accept
  end interface
contains
  pure subroutine accept(number)
    integer(c_int32_t), intent(in) :: number
    if (number < 0) return
  end subroutine

  pure subroutine check_default_integers()
    call dijitso_needs_4_byte_integers_so_remove_fdefault_integer_8(bit_size(0))
  end subroutine
end module dijitso_kinds

module dijitso_errors
  use, intrinsic :: iso_c_binding
  use dijitso_kinds, only: check_default_integers
  use dijitso_c
  implicit none
  private
  public :: c_string, text_of, report, settle

  ! Why a call failed.
  type, public :: dijitso_error
    integer :: status = DIJITSO_OK             ! One of the DIJITSO_ERROR_ values.
    integer :: rank = -1                       ! The rank on which it happened, -1 if it concerns no single rank.
    character(:), allocatable :: message       ! What failed, where, and what to do next.
    character(:), allocatable :: log           ! The whole output of the compiler.
    character(:), allocatable :: path          ! The folder that reproduces the failure.
  end type dijitso_error

  interface
    pure function strlen(text) bind(c, name="strlen")
      import
      type(c_ptr), value :: text
      integer(c_size_t) :: strlen
    end function
  end interface
contains
  ! Returns a text for C: without trailing blanks, and ended by a NUL. A NUL within the text would cut it there,
  ! so it becomes another control character, which no name, key or path has: C then refuses the text.
  pure function c_string(text) result(c)
    character(*), intent(in) :: text
    character(len_trim(text) + 1, c_char) :: c
    integer :: i
    do i = 1, len(c) - 1
      c(i:i) = merge(achar(26), text(i:i), text(i:i) == c_null_char)
    end do
    c(len(c):) = c_null_char
  end function

  ! Copies a text of C, which ends at its NUL or has this length. Null gives "".
  function text_of(address, length) result(text)
    type(c_ptr), intent(in) :: address
    integer(c_size_t), intent(in), optional :: length
    character(:), allocatable :: text
    character(kind=c_char), pointer :: bytes(:)
    integer(c_size_t) :: size, i
    size = 0
    if (present(length)) then
      size = length
    else if (c_associated(address)) then
      size = strlen(address)
    end if
    allocate (character(size) :: text)
    if (size == 0) return
    call c_f_pointer(address, bytes, [size])
    do i = 1, size
      text(i:i) = bytes(i)
    end do
  end function

  ! Hands a result to the caller and frees the error of C. The caller sets errmsg to the message itself: gfortran 12
  ! loses the length of an optional errmsg that is passed on.
  subroutine report(status, failure, what, stat, error)
    integer(c_int32_t), intent(in) :: status
    type(c_ptr), intent(in) :: failure
    type(dijitso_error), intent(out) :: what
    integer, intent(out), optional :: stat
    type(dijitso_error), intent(out), optional :: error
    what%status = status
    what%message = text_of(c_dijitso_error_message(failure))
    what%log = text_of(c_dijitso_error_log(failure))
    what%path = text_of(c_dijitso_error_path(failure))
    what%rank = c_dijitso_error_rank(failure)
    call c_dijitso_error_free(failure)
    call settle(what, stat, error)
  end subroutine

  ! Hands a result to the caller. Without stat and error, an error stops the program, as in an allocate statement.
  subroutine settle(what, stat, error)
    type(dijitso_error), intent(in) :: what
    integer, intent(out), optional :: stat
    type(dijitso_error), intent(out), optional :: error
    if (present(stat)) stat = what%status
    if (present(error)) then
      error = what
    else if (what%status /= DIJITSO_OK .and. .not. present(stat)) then
      error stop 'dijitso: '//what%message
    end if
  end subroutine
end module dijitso_errors
