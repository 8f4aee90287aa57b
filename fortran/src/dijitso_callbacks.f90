! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Callbacks: plain procedures of Fortran, called through functions that C can call.

module dijitso_callbacks
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  use dijitso_types
  implicit none
  private
  public :: dijitso_generate, dijitso_poll, dijitso_send, dijitso_receive, dijitso_wait, prepare, joined

  ! The answer of a generate callback, valid until it returns.
  type, public :: dijitso_source
    private
    type(c_ptr) :: handle = c_null_ptr
    type(c_ptr) :: signature_text = c_null_ptr
    type(c_ptr) :: generator_text = c_null_ptr
    logical :: is_refused = .false.
    ! The source code so far: the first `length` characters. C gets it when the callback returns.
    character(:), allocatable :: code
    integer :: length = 0
  contains
    generic :: set_code => set_code_text, set_code_lines
    procedure :: add_line
    generic :: set_header => set_header_text, set_header_lines
    generic :: add_dependency => add_signature, add_library
    procedure :: set_error
    procedure :: signature => source_signature
    procedure :: generator => source_generator
    procedure :: address => source_address
    procedure, private :: set_code_text, set_code_lines, set_header_text, set_header_lines
    procedure, private :: add_signature, add_library
  end type dijitso_source

  ! What a receive callback fills, valid until it returns.
  type, public :: dijitso_blob
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: resize => blob_resize
  end type dijitso_blob

  abstract interface
    ! Generates the source of a library. Called on builders only, and only on a miss. The context is that of the
    ! call. Any stat but 0 is a failure; set_error gives its reason.
    subroutine dijitso_generate(source, name, context, stat)
      import :: dijitso_source
      class(dijitso_source), intent(inout) :: source
      character(*), intent(in) :: name
      class(*), intent(inout), optional :: context
      integer, intent(out) :: stat
    end subroutine

    ! Cancels the call on all ranks by setting cancel. Called at least every 50 ms while the call builds or waits.
    subroutine dijitso_poll(cancel, context)
      logical, intent(inout) :: cancel
      class(*), intent(inout), optional :: context
    end subroutine

    ! Sends bytes from the builder to the receivers, in the place of the library's own transport.
    subroutine dijitso_send(bytes, context, stat)
      import :: c_int8_t
      integer(c_int8_t), intent(in) :: bytes(:)
      class(*), intent(inout), optional :: context
      integer, intent(out) :: stat
    end subroutine

    ! Receives the bytes that the builder sends.
    subroutine dijitso_receive(blob, context, stat)
      import :: dijitso_blob
      class(dijitso_blob), intent(inout) :: blob
      class(*), intent(inout), optional :: context
      integer, intent(out) :: stat
    end subroutine

    ! Returns when all ranks have called it.
    subroutine dijitso_wait(context, stat)
      class(*), intent(inout), optional :: context
      integer, intent(out) :: stat
    end subroutine
  end interface

  ! What the callbacks of a call find at their user_data.
  type, public :: call_frame
    procedure(dijitso_generate), pointer, nopass :: generate => null()
    procedure(dijitso_poll), pointer, nopass :: poll => null()
    procedure(dijitso_send), pointer, nopass :: send => null()
    procedure(dijitso_receive), pointer, nopass :: receive => null()
    procedure(dijitso_wait), pointer, nopass :: wait => null()
    class(*), pointer :: context => null()
  end type call_frame
contains
  ! Fills the frame of a call and the callbacks of C that find it. The frame has to stay where it is until the
  ! call is over.
  subroutine prepare(frame, callbacks, generate, context, poll, send, receive, wait)
    type(call_frame), intent(inout), target :: frame
    type(c_dijitso_callbacks), intent(out) :: callbacks
    procedure(dijitso_generate), optional :: generate
    class(*), intent(inout), optional, target :: context
    procedure(dijitso_poll), optional :: poll
    procedure(dijitso_send), optional :: send
    procedure(dijitso_receive), optional :: receive
    procedure(dijitso_wait), optional :: wait
    callbacks%struct_size = c_sizeof(callbacks)
    callbacks%user_data = c_loc(frame)
    if (present(context)) frame%context => context
    if (present(generate)) then
      frame%generate => generate
      callbacks%generate = c_funloc(run_generate)
    end if
    if (present(poll)) then
      frame%poll => poll
      callbacks%poll = c_funloc(run_poll)
    end if
    if (present(send)) then
      frame%send => send
      callbacks%send = c_funloc(run_send)
    end if
    if (present(receive)) then
      frame%receive => receive
      callbacks%receive = c_funloc(run_receive)
    end if
    if (present(wait)) then
      frame%wait => wait
      callbacks%wait = c_funloc(run_wait)
    end if
  end subroutine

  recursive function run_generate(user_data, name, signature, generator_json, source) &
      bind(c, name="") result(failed)
    type(c_ptr), value :: user_data, name, signature, generator_json, source
    integer(c_int32_t) :: failed
    type(call_frame), pointer :: frame
    type(dijitso_source) :: answer
    integer :: stat
    call c_f_pointer(user_data, frame)
    answer%handle = source
    answer%signature_text = signature
    answer%generator_text = generator_json
    stat = 0
    if (associated(frame%context)) then
      call frame%generate(answer, text_of(name), frame%context, stat)
    else
      call frame%generate(answer, text_of(name), stat=stat)
    end if
    failed = int(stat, c_int32_t)
    if (allocated(answer%code)) call note(answer, 'set_code', &
      c_dijitso_source_set_code(source, answer%code, int(answer%length, c_size_t)))
    if (answer%is_refused .and. failed == 0) failed = DIJITSO_ERROR_INVALID_ARGUMENT
  end function

  recursive function run_poll(user_data) bind(c, name="") result(cancelled)
    type(c_ptr), value :: user_data
    integer(c_int32_t) :: cancelled
    type(call_frame), pointer :: frame
    logical :: cancel
    call c_f_pointer(user_data, frame)
    cancel = .false.
    if (associated(frame%context)) then
      call frame%poll(cancel, frame%context)
    else
      call frame%poll(cancel)
    end if
    cancelled = merge(1_c_int32_t, 0_c_int32_t, cancel)
  end function

  recursive function run_send(user_data, data, size) bind(c, name="") result(failed)
    type(c_ptr), value :: user_data, data
    integer(c_size_t), value :: size
    integer(c_int32_t) :: failed
    type(call_frame), pointer :: frame
    integer(c_int8_t), pointer :: bytes(:)
    integer :: stat
    call c_f_pointer(user_data, frame)
    call c_f_pointer(data, bytes, [size])
    stat = 0
    if (associated(frame%context)) then
      call frame%send(bytes, frame%context, stat)
    else
      call frame%send(bytes, stat=stat)
    end if
    failed = int(stat, c_int32_t)
  end function

  recursive function run_receive(user_data, blob) bind(c, name="") result(failed)
    type(c_ptr), value :: user_data, blob
    integer(c_int32_t) :: failed
    type(call_frame), pointer :: frame
    type(dijitso_blob) :: answer
    integer :: stat
    call c_f_pointer(user_data, frame)
    answer%handle = blob
    stat = 0
    if (associated(frame%context)) then
      call frame%receive(answer, frame%context, stat)
    else
      call frame%receive(answer, stat=stat)
    end if
    failed = int(stat, c_int32_t)
  end function

  recursive function run_wait(user_data) bind(c, name="") result(failed)
    type(c_ptr), value :: user_data
    integer(c_int32_t) :: failed
    type(call_frame), pointer :: frame
    integer :: stat
    call c_f_pointer(user_data, frame)
    stat = 0
    if (associated(frame%context)) then
      call frame%wait(frame%context, stat)
    else
      call frame%wait(stat=stat)
    end if
    failed = int(stat, c_int32_t)
  end function

  ! Gives a blob its size, and its bytes to fill. Without enough memory they are not associated.
  subroutine blob_resize(this, size, bytes)
    class(dijitso_blob), intent(inout) :: this
    integer(c_size_t), intent(in) :: size
    integer(c_int8_t), pointer, intent(out) :: bytes(:)
    type(c_ptr) :: address
    nullify (bytes)
    address = c_dijitso_blob_resize(this%handle, size)
    if (c_associated(address)) call c_f_pointer(address, bytes, [size])
  end subroutine

  ! --- the answer -----------------------------------------------------------------------------------------------

  ! Sets the source code, in the language of build.language: C++ if nothing else is set. It is taken as it is.
  subroutine set_code_text(this, text)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: text
    this%code = text
    this%length = len(text)
  end subroutine

  ! Sets the source code as lines, without their trailing blanks.
  subroutine set_code_lines(this, lines)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: lines(:)
    call this%set_code(joined(lines))
  end subroutine

  ! Adds a line to the source code, without its trailing blanks.
  subroutine add_line(this, line)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: line
    character(:), allocatable :: longer
    integer :: behind
    behind = this%length + len_trim(line) + 1
    if (.not. allocated(this%code)) allocate (character(max(behind, 4096)) :: this%code)
    if (behind > len(this%code)) then
      allocate (character(2*behind) :: longer)
      longer(:this%length) = this%code(:this%length)
      call move_alloc(longer, this%code)
    end if
    this%code(this%length + 1:behind) = trim(line)//new_line('a')
    this%length = behind
  end subroutine

  ! Sets a header, which this source and sources of dependants may include as "SIGNATURE.h".
  subroutine set_header_text(this, text)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: text
    call note(this, 'set_header', c_dijitso_source_set_header(this%handle, text, int(len(text), c_size_t)))
  end subroutine

  subroutine set_header_lines(this, lines)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: lines(:)
    call this%set_header(joined(lines))
  end subroutine

  ! Adds a library of the same cache to link to.
  subroutine add_signature(this, signature)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: signature
    call note(this, 'add_dependency', c_dijitso_source_add_dependency(this%handle, c_string(signature)))
  end subroutine

  subroutine add_library(this, library)
    class(dijitso_source), intent(inout) :: this
    type(dijitso_library), intent(in) :: library
    call this%add_dependency(library%signature())
  end subroutine

  ! Says why the callback will return another stat than 0. The text becomes part of the error on all ranks.
  subroutine set_error(this, message)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: message
    call note(this, 'set_error', c_dijitso_source_set_error(this%handle, c_string(message)))
  end subroutine

  ! Returns the signature, after which the files of the library are named.
  function source_signature(this) result(text)
    class(dijitso_source), intent(in) :: this
    character(:), allocatable :: text
    text = text_of(this%signature_text)
  end function

  ! Returns section "generator" of the parameters, as JSON.
  function source_generator(this) result(json)
    class(dijitso_source), intent(in) :: this
    character(:), allocatable :: json
    json = text_of(this%generator_text)
  end function

  ! Returns the dijitso_source of C.
  function source_address(this) result(address)
    class(dijitso_source), intent(in) :: this
    type(c_ptr) :: address
    address = this%handle
  end function

  ! Remembers that C has refused a call, which then fails the callback: a stop here would end one rank alone.
  subroutine note(this, what, status)
    class(dijitso_source), intent(inout) :: this
    character(*), intent(in) :: what
    integer(c_int32_t), intent(in) :: status
    integer(c_int32_t) :: ignored
    if (status == DIJITSO_OK .or. this%is_refused) return
    this%is_refused = .true.
    ignored = c_dijitso_source_set_error(this%handle, c_string(what//' of the source was refused: its &
      &argument is not valid, or memory is short'))
  end subroutine

  function joined(lines) result(text)
    character(*), intent(in) :: lines(:)
    character(:), allocatable :: text
    integer :: i, at, length
    allocate (character(sum(len_trim(lines)) + size(lines)) :: text)
    at = 0
    do i = 1, size(lines)
      length = len_trim(lines(i))
      text(at + 1:at + length + 1) = lines(i)(:length)//new_line('a')
      at = at + length + 1
    end do
  end function
end module dijitso_callbacks
