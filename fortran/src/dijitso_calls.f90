! SPDX-License-Identifier: MIT OR Apache-2.0
!
! The calls. A communicator is an integer, as in mpif.h and module mpi; without one, MPI is not touched. No argument
! is checked before C has it: with a communicator C makes one error of it, the same on all ranks.

module dijitso_calls
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  use dijitso_types
  use dijitso_callbacks
  implicit none
  private
  public :: dijitso_jit, dijitso_jit_many, dijitso_jit_source, dijitso_jit_start, dijitso_jit_finish

  ! A call that has been started: finish it, or give it up by free. Copies stand for the same call.
  type, public :: dijitso_pending
    private
    type(started_call), pointer :: call => null()
  contains
    procedure :: is_started => pending_is_started
    procedure :: free => pending_free
  end type dijitso_pending

  ! What the copies share. It stays, without address and frame, when the call is over.
  type :: started_call
    type(c_ptr) :: address = c_null_ptr
    type(call_frame), pointer :: frame => null()
  end type started_call

  interface dijitso_jit
    procedure jit
  end interface
  interface dijitso_jit_many
    procedure jit_many
  end interface
  interface dijitso_jit_source
    procedure jit_source, jit_source_lines
  end interface
  interface dijitso_jit_start
    procedure jit_start
  end interface
  interface dijitso_jit_finish
    procedure jit_finish
  end interface

  ! Stands for texts without characters, which have no address.
  character(1), target, save :: nothing = ' '
contains
  function start_of(text) result(address)
    character(*), intent(in), target :: text
    type(c_ptr) :: address
    address = c_loc(nothing)
    if (len(text) > 0) address = c_loc(text)
  end function

  function comm_or_null(comm) result(known)
    integer, intent(in), optional :: comm
    integer(c_int32_t) :: known
    if (present(comm)) then
      known = comm
    else
      known = c_dijitso_fint_null()
    end if
  end function

  function params_or_null(params) result(address)
    type(dijitso_params), intent(in), optional :: params
    type(c_ptr) :: address
    address = c_null_ptr
    if (present(params)) address = params%address()
  end function

  ! Gives the library of a name and parameters: from memory, from the disk cache, or built now. On a miss it calls
  ! generate with the context. Collective over comm. Without stat and error, an error stops the program.
  recursive subroutine jit(library, name, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    procedure(dijitso_generate), optional :: generate
    integer, intent(in), optional :: comm
    type(dijitso_params), intent(in), optional :: params
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    procedure(dijitso_poll), optional :: poll
    procedure(dijitso_send), optional :: send
    procedure(dijitso_receive), optional :: receive
    procedure(dijitso_wait), optional :: wait
    type(call_frame), target :: frame
    type(c_dijitso_callbacks), target :: callbacks
    type(c_ptr) :: address, failure
    integer(c_int32_t) :: status
    call prepare(frame, callbacks, generate, context, poll, send, receive, wait)
    status = c_dijitso_jit_fint(c_string(name), params_or_null(params), c_loc(callbacks), comm_or_null(comm), &
      address, failure)
    call library%take(address)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Gives the libraries of several names at once; libraries that are missing are compiled at the same time. After
  ! an error, the libraries that could be had are loaded, on all ranks the same ones.
  recursive subroutine jit_many(libraries, names, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_library), allocatable, intent(inout) :: libraries(:)
    character(*), intent(in) :: names(:)
    procedure(dijitso_generate), optional :: generate
    integer, intent(in), optional :: comm
    type(dijitso_params), intent(in), optional :: params
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    procedure(dijitso_poll), optional :: poll
    procedure(dijitso_send), optional :: send
    procedure(dijitso_receive), optional :: receive
    procedure(dijitso_wait), optional :: wait
    type(call_frame), target :: frame
    type(c_dijitso_callbacks), target :: callbacks
    character(len(names) + 1, c_char), allocatable, target :: texts(:)
    type(c_ptr), allocatable :: starts(:), addresses(:)
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    integer :: i
    allocate (texts(size(names)), starts(size(names)), addresses(size(names)))
    do i = 1, size(names)
      texts(i) = c_string(names(i))
      starts(i) = c_loc(texts(i))
    end do
    call prepare(frame, callbacks, generate, context, poll, send, receive, wait)
    status = c_dijitso_jit_many_fint(size(names, kind=c_size_t), starts, params_or_null(params), &
      c_loc(callbacks), comm_or_null(comm), addresses, failure)
    if (allocated(libraries)) deallocate (libraries)
    allocate (libraries(size(names)))
    do i = 1, size(names)
      call libraries(i)%take(addresses(i))
    end do
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Gives the library of a source text. The text is part of the signature: another text is another library.
  recursive subroutine jit_source(library, name, code, comm, params, header, dependencies, stat, errmsg, error)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    character(*), intent(in), target :: code
    integer, intent(in), optional :: comm
    type(dijitso_params), intent(in), optional :: params
    character(*), intent(in), optional, target :: header
    type(dijitso_library), intent(in), optional :: dependencies(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_dijitso_text), target :: text
    type(c_ptr), allocatable, target :: signatures(:)
    type(c_ptr) :: address, failure
    integer(c_int32_t) :: status
    integer :: i
    text%struct_size = c_sizeof(text)
    text%code = start_of(code)
    text%code_length = len(code, c_size_t)
    if (present(header)) then
      text%header = start_of(header)
      text%header_length = len(header, c_size_t)
    end if
    if (present(dependencies)) then
      allocate (signatures(size(dependencies)))
      do i = 1, size(dependencies)
        signatures(i) = c_dijitso_library_signature(dependencies(i)%address())
      end do
      if (size(signatures) > 0) text%dependencies = c_loc(signatures)
      text%dependency_count = size(signatures, kind=c_size_t)
    end if
    status = c_dijitso_jit_text_fint(c_string(name), params_or_null(params), c_loc(text), comm_or_null(comm), &
      address, failure)
    call library%take(address)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Does the same for a text that is given as lines; their trailing blanks are dropped.
  recursive subroutine jit_source_lines(library, name, code, comm, params, header, dependencies, stat, errmsg, &
      error)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    character(*), intent(in) :: code(:)
    integer, intent(in), optional :: comm
    type(dijitso_params), intent(in), optional :: params
    character(*), intent(in), optional :: header
    type(dijitso_library), intent(in), optional :: dependencies(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call jit_source(library, name, joined(code), comm, params, header, dependencies, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Starts a call of dijitso_jit, which dijitso_jit_finish completes. The context has to be a target and, like
  ! generate, to live until then. Libraries that do not need each other are built at the same time.
  recursive subroutine jit_start(pending, name, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_pending), intent(inout) :: pending
    character(*), intent(in) :: name
    procedure(dijitso_generate), optional :: generate
    integer, intent(in), optional :: comm
    type(dijitso_params), intent(in), optional :: params
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    procedure(dijitso_poll), optional :: poll
    procedure(dijitso_send), optional :: send
    procedure(dijitso_receive), optional :: receive
    procedure(dijitso_wait), optional :: wait
    type(started_call), pointer :: begun
    type(c_dijitso_callbacks), target :: callbacks
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    nullify (pending%call)
    allocate (begun)
    allocate (begun%frame)
    call prepare(begun%frame, callbacks, generate, context, poll, send, receive, wait)
    status = c_dijitso_jit_start_fint(c_string(name), params_or_null(params), c_loc(callbacks), &
      comm_or_null(comm), begun%address, failure)
    if (status == DIJITSO_OK) then
      pending%call => begun
    else
      deallocate (begun%frame)
      deallocate (begun)
    end if
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Completes a call: waits until the library is built, and loads it. Collective over the communicator of the start.
  recursive subroutine jit_finish(pending, library, stat, errmsg, error)
    type(dijitso_pending), intent(inout) :: pending
    type(dijitso_library), intent(inout) :: library
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: begun, address, failure
    integer(c_int32_t) :: status
    begun = c_null_ptr
    if (associated(pending%call)) begun = pending%call%address
    status = c_dijitso_jit_finish(begun, address, failure)
    call forget(pending)
    call library%take(address)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Returns true from the start of a call to its end.
  function pending_is_started(this) result(answer)
    class(dijitso_pending), intent(in) :: this
    logical :: answer
    answer = .false.
    if (associated(this%call)) answer = c_associated(this%call%address)
  end function

  ! Gives up a call. All ranks have to give it up.
  subroutine pending_free(this)
    class(dijitso_pending), intent(inout) :: this
    if (this%is_started()) call c_dijitso_pending_free(this%call%address)
    call forget(this)
  end subroutine

  ! Ends what C has consumed, for all copies.
  subroutine forget(pending)
    class(dijitso_pending), intent(inout) :: pending
    if (pending%is_started()) then
      pending%call%address = c_null_ptr
      deallocate (pending%call%frame)
    end if
    nullify (pending%call)
  end subroutine
end module dijitso_calls
