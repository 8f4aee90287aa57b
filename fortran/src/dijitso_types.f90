! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Libraries and parameters are values: a variable may be copied, also within structures of the program, and needs no
! end. There are no finalisers, because gfortran 12 finalises a hidden copy of its own when a structure with such
! components is assigned, so that counted owners come out wrong. Nothing piles up either: the code of a library stays
! loaded until the program ends, calls that are answered from memory give the same handle, and equal parameters
! share one object of C.

module dijitso_types
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  implicit none
  private

  ! A loaded library.
  type, public :: dijitso_library
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: is_loaded => library_is_loaded
    procedure :: symbol => library_symbol
    procedure :: object => library_object
    procedure :: signature => library_signature
    procedure :: path => library_path
    procedure :: origin => library_origin
    procedure :: address => library_address
    procedure :: take => library_take
  end type dijitso_library

  ! A set of parameters: at first the defaults, the config file and the environment.
  type, public :: dijitso_params
    private
    type(c_ptr) :: handle = c_null_ptr
    ! What has been set, in its order: for each call its key (empty for JSON), NUL, value, NUL.
    character(:), allocatable :: settings
  contains
    generic :: set => set_text, set_integer, set_long, set_logical, set_real
    procedure :: merge_json => params_merge_json
    procedure :: get => params_get
    procedure :: origin => params_origin
    procedure :: to_json => params_to_json
    procedure :: address => params_address
    procedure, private :: set_text, set_integer, set_long, set_logical, set_real
  end type dijitso_params

  ! The parameters of this process: each set of settings once, never changed and never freed.
  type :: known_params
    character(:), allocatable :: settings
    type(c_ptr) :: handle = c_null_ptr
    type(known_params), pointer :: next => null()
  end type known_params
  type(known_params), pointer, save :: all_known => null()
contains
  ! --- libraries ------------------------------------------------------------------------------------------------

  ! Returns true if a call has given this library.
  function library_is_loaded(this) result(answer)
    class(dijitso_library), intent(in) :: this
    logical :: answer
    answer = c_associated(this%handle)
  end function

  ! Returns the address of a function, for c_f_procpointer. It stays valid until the program ends.
  function library_symbol(this, name, stat, errmsg, error) result(address)
    class(dijitso_library), intent(in) :: this
    character(*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_funptr) :: address
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    status = c_dijitso_library_symbol(this%handle, c_string(name), address, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end function

  ! Returns the address of a variable of the library, for c_f_pointer.
  function library_object(this, name, stat, errmsg, error) result(address)
    class(dijitso_library), intent(in) :: this
    character(*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: address
    address = transfer(this%symbol(name, error=what), address)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end function

  ! Returns the signature, by which other libraries depend on this one; "" if there is no library.
  function library_signature(this) result(text)
    class(dijitso_library), intent(in) :: this
    character(:), allocatable :: text
    text = text_of(c_dijitso_library_signature(this%handle))
  end function

  ! Returns the path of the library in this rank's cache directory; "" if there is no library.
  function library_path(this) result(text)
    class(dijitso_library), intent(in) :: this
    character(:), allocatable :: text
    text = text_of(c_dijitso_library_path(this%handle))
  end function

  ! Returns how the call got the library: one of the DIJITSO_ORIGIN_ values, -1 if there is no library.
  function library_origin(this) result(origin)
    class(dijitso_library), intent(in) :: this
    integer :: origin
    origin = c_dijitso_library_origin(this%handle)
  end function

  ! Returns the dijitso_library of C; null if there is none.
  function library_address(this) result(address)
    class(dijitso_library), intent(in) :: this
    type(c_ptr) :: address
    address = this%handle
  end function

  ! Becomes the library that C has given.
  subroutine library_take(this, address)
    class(dijitso_library), intent(inout) :: this
    type(c_ptr), intent(in) :: address
    this%handle = address
  end subroutine

  ! --- parameters -----------------------------------------------------------------------------------------------

  ! Sets one parameter, such as "build.cxxflags". If it fails, nothing is changed.
  subroutine set_text(this, key, value, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: key, value
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    call add_setting(this, c_string(key)//c_string(value), status, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  subroutine set_long(this, key, value, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: key
    integer(c_int64_t), intent(in) :: value
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    character(24) :: text
    write (text, '(i0)') value
    call this%set(key, text, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  subroutine set_integer(this, key, value, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: key
    integer, intent(in) :: value
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call this%set(key, int(value, c_int64_t), error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  subroutine set_logical(this, key, value, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: key
    logical, intent(in) :: value
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call this%set(key, trim(merge('true ', 'false', value)), error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  subroutine set_real(this, key, value, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: key
    real(c_double), intent(in) :: value
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    character(32) :: text
    write (text, '(es25.17e3)') value
    call this%set(key, trim(adjustl(text)), error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Sets many parameters: {"section": {"name": value, ...}, ...}. If it fails, nothing is changed.
  subroutine params_merge_json(this, json, stat, errmsg, error)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: json
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    call add_setting(this, c_null_char//c_string(json), status, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Returns the value of a parameter as text; "" and not found if there is no such key.
  function params_get(this, key, found) result(value)
    class(dijitso_params), intent(in) :: this
    character(*), intent(in) :: key
    logical, intent(out), optional :: found
    character(:), allocatable :: value
    type(c_ptr) :: text
    text = c_dijitso_params_get(readable(this), c_string(key))
    if (present(found)) found = c_associated(text)
    value = text_of(text)
  end function

  ! Returns where a value comes from: "default", "config file PATH", "environment variable NAME" or "caller".
  function params_origin(this, key) result(origin)
    class(dijitso_params), intent(in) :: this
    character(*), intent(in) :: key
    character(:), allocatable :: origin
    origin = text_of(c_dijitso_params_origin(readable(this), c_string(key)))
  end function

  ! Returns all parameters as JSON.
  function params_to_json(this) result(json)
    class(dijitso_params), intent(in) :: this
    character(:), allocatable :: json
    json = text_of(c_dijitso_params_to_json(readable(this)))
  end function

  ! Returns the dijitso_params of C; null, which C takes for the defaults, if nothing has been set.
  function params_address(this) result(address)
    class(dijitso_params), intent(in) :: this
    type(c_ptr) :: address
    address = this%handle
  end function

  ! Returns parameters of C to read from. An unusable config file stops the program.
  function readable(this) result(handle)
    class(dijitso_params), intent(in) :: this
    type(c_ptr) :: handle, failure
    type(dijitso_error) :: what
    integer(c_int32_t) :: status
    handle = this%handle
    if (c_associated(handle)) return
    call find('', handle, status, failure)
    call report(status, failure, what)
  end function

  ! Adds a setting. If it fails, nothing is changed.
  subroutine add_setting(this, setting, status, failure)
    class(dijitso_params), intent(inout) :: this
    character(*), intent(in) :: setting
    integer(c_int32_t), intent(out) :: status
    type(c_ptr), intent(out) :: failure
    character(:), allocatable :: settings
    type(c_ptr) :: handle
    if (allocated(this%settings)) then
      settings = this%settings//setting
    else
      settings = setting
    end if
    call find(settings, handle, status, failure)
    if (status /= DIJITSO_OK) return
    this%handle = handle
    call move_alloc(settings, this%settings)
  end subroutine

  ! Gives the object of C for some settings. It is made if no variable has had the same. The sentinels are for
  ! programs that are compiled with OpenMP.
  subroutine find(settings, handle, status, failure)
    character(*), intent(in) :: settings
    type(c_ptr), intent(out) :: handle, failure
    integer(c_int32_t), intent(out) :: status
    type(known_params), pointer :: known
    status = DIJITSO_OK
    failure = c_null_ptr
    handle = c_null_ptr
    !$omp critical (dijitso_known_params)
    known => all_known
    do while (associated(known))
      if (len(known%settings) == len(settings)) then
        if (known%settings == settings) exit
      end if
      known => known%next
    end do
    if (.not. associated(known)) then
      call make(settings, handle, status, failure)
      if (status == DIJITSO_OK) then
        allocate (known)
        known%settings = settings
        known%handle = handle
        known%next => all_known
        all_known => known
      end if
    else
      handle = known%handle
    end if
    !$omp end critical (dijitso_known_params)
  end subroutine

  ! Makes an object of C and repeats the settings on it.
  subroutine make(settings, handle, status, failure)
    character(*), intent(in) :: settings
    type(c_ptr), intent(out) :: handle, failure
    integer(c_int32_t), intent(out) :: status
    integer :: at, key_end, value_end
    status = c_dijitso_params_new(handle, failure)
    at = 1
    do while (status == DIJITSO_OK .and. at <= len(settings))
      key_end = at + index(settings(at:), c_null_char) - 1
      value_end = key_end + index(settings(key_end + 1:), c_null_char)
      if (key_end == at) then
        status = c_dijitso_params_merge_json(handle, settings(key_end + 1:value_end), failure)
      else
        status = c_dijitso_params_set(handle, settings(at:key_end), settings(key_end + 1:value_end), failure)
      end if
      at = value_end + 1
    end do
    if (status == DIJITSO_OK) return
    call c_dijitso_params_free(handle)
    handle = c_null_ptr
  end subroutine
end module dijitso_types
