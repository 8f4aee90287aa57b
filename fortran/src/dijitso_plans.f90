! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Build plans: modules and tasks, made in parallel. A node is an integer.

module dijitso_plans
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  use dijitso_types
  use dijitso_callbacks
  implicit none
  private
  public :: dijitso_run_task, dijitso_plan_make

  ! The task whose callback runs: what it needs, and the place for its result. Valid until the callback returns.
  type, public :: dijitso_task
    private
    type(c_ptr) :: handle = c_null_ptr
    logical :: is_refused = .false.
  contains
    procedure :: node => task_node
    procedure :: signature => task_signature
    procedure :: params => task_params
    procedure :: need_count => task_need_count
    procedure :: need_node => task_need_node
    procedure :: need_result => task_need_result
    procedure :: need => task_need
    procedure :: set_result => task_set_result
    procedure :: add_file => task_add_file
    procedure :: set_error => task_set_error
    procedure :: address => task_address
  end type dijitso_task

  ! A plan. Copies stand for the same plan; one of them is freed when the plan is not needed any more.
  type, public :: dijitso_plan
    private
    type(plan_state), pointer :: state_of => null()
  contains
    procedure :: new => plan_new
    procedure :: load => plan_load
    procedure :: save => plan_save
    procedure :: add_module => plan_add_module
    procedure :: add_source => plan_add_source
    procedure :: add_task => plan_add_task
    procedure :: need => plan_need
    procedure :: make => plan_make
    procedure :: cancel => plan_cancel
    procedure :: state => plan_state_of_node
    procedure :: label => plan_label
    procedure :: signature => plan_signature
    procedure :: find => plan_find
    procedure :: current => plan_current
    procedure :: result => plan_result
    procedure :: library => plan_library
    procedure :: check => plan_check
    procedure :: is_open => plan_is_open
    procedure :: free => plan_free
    procedure :: address => plan_address
  end type dijitso_plan

  abstract interface
    ! Makes the result of a task: sets bytes, or adds files. The context is that of the task. Any stat but 0 is a
    ! failure; set_error gives its reason.
    subroutine dijitso_run_task(task, context, stat)
      import :: dijitso_task
      class(dijitso_task), intent(inout) :: task
      class(*), intent(inout), optional :: context
      integer, intent(out) :: stat
    end subroutine
  end interface

  interface dijitso_plan_make
    procedure make
  end interface

  ! What the callback of a task finds at its user_data.
  type :: task_frame
    procedure(dijitso_run_task), pointer, nopass :: run => null()
    class(*), pointer :: context => null()
  end type task_frame

  ! What the callbacks of the nodes find, as long as the plan.
  type :: node_frame
    type(call_frame), pointer :: module => null()
    type(task_frame), pointer :: task => null()
    type(node_frame), pointer :: next => null()
  end type node_frame

  ! What the copies share. It stays, without address, when the plan is freed.
  type :: plan_state
    type(c_ptr) :: address = c_null_ptr
    type(node_frame), pointer :: frames => null()
  end type plan_state

  ! Stands for texts without characters, which have no address.
  character(1), target, save :: nothing = ' '
contains
  ! --- plans ----------------------------------------------------------------------------------------------------

  ! Makes an empty plan. The parameters are those of modules without their own, and choose the cache.
  subroutine plan_new(this, name, params, stat, errmsg, error)
    class(dijitso_plan), intent(inout) :: this
    character(*), intent(in) :: name
    type(dijitso_params), intent(in), optional :: params
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    allocate (this%state_of)
    status = c_dijitso_plan_new(c_string(name), params_or_null(params), this%state_of%address, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Makes the plan that a plan file describes.
  subroutine plan_load(this, path, params, stat, errmsg, error)
    class(dijitso_plan), intent(inout) :: this
    character(*), intent(in) :: path
    type(dijitso_params), intent(in), optional :: params
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    allocate (this%state_of)
    status = c_dijitso_plan_load(c_string(path), params_or_null(params), this%state_of%address, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Writes a plan without callbacks as a plan file.
  subroutine plan_save(this, path, stat, errmsg, error)
    class(dijitso_plan), intent(in) :: this
    character(*), intent(in) :: path
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    status = c_dijitso_plan_save(this%address(), c_string(path), failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Adds a library that generate generates on a miss. The context has to be a target and, like generate, to live until
  ! the plan is freed. Without a label the node has one that is made from the name.
  subroutine plan_add_module(this, node, name, generate, label, params, context, needs, after, stat, errmsg, error)
    class(dijitso_plan), intent(inout) :: this
    integer, intent(out) :: node
    character(*), intent(in) :: name
    procedure(dijitso_generate) :: generate
    character(*), intent(in), optional :: label
    type(dijitso_params), intent(in), optional :: params
    class(*), intent(inout), optional, target :: context
    integer, intent(in), optional :: needs(:), after(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_dijitso_callbacks) :: callbacks
    type(c_dijitso_plan_module), target :: given
    character(kind=c_char, len=:), allocatable, target :: name_text, label_text
    type(call_frame), pointer :: frame
    allocate (frame)
    call prepare(frame, callbacks, generate, context)
    given%user_data = callbacks%user_data
    given%generate = callbacks%generate
    name_text = c_string(name)
    label_text = c_string(text_or_empty(label))
    call add_library(this, node, given, name_text, label_text, params, needs, after, what)
    if (node >= 0) then
      call keep(this, module=frame)
    else
      deallocate (frame)
    end if
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Adds the library of a source text, which is part of its key.
  subroutine plan_add_source(this, node, name, code, header, label, params, needs, after, stat, errmsg, error)
    class(dijitso_plan), intent(inout) :: this
    integer, intent(out) :: node
    character(*), intent(in) :: name
    character(*), intent(in), target :: code
    character(*), intent(in), optional, target :: header
    character(*), intent(in), optional :: label
    type(dijitso_params), intent(in), optional :: params
    integer, intent(in), optional :: needs(:), after(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_dijitso_plan_module), target :: given
    character(kind=c_char, len=:), allocatable, target :: name_text, label_text
    given%code = start_of(code)
    given%code_length = len(code, c_size_t)
    if (present(header)) then
      given%header = start_of(header)
      given%header_length = len(header, c_size_t)
    end if
    name_text = c_string(name)
    label_text = c_string(text_or_empty(label))
    call add_library(this, node, given, name_text, label_text, params, needs, after, what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Adds a task. The key of its result is its name, params_json, the contents of inputs, and what it needs.
  subroutine plan_add_task(this, node, name, run, label, params_json, inputs, context, needs, after, stat, errmsg, &
      error)
    class(dijitso_plan), intent(inout) :: this
    integer, intent(out) :: node
    character(*), intent(in) :: name
    procedure(dijitso_run_task) :: run
    character(*), intent(in), optional :: label, params_json
    character(*), intent(in), optional :: inputs(:)
    class(*), intent(inout), optional, target :: context
    integer, intent(in), optional :: needs(:), after(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_dijitso_plan_task), target :: given
    character(kind=c_char, len=:), allocatable, target :: name_text, label_text, json_text, paths
    type(c_ptr), allocatable, target :: starts(:)
    type(task_frame), pointer :: frame
    type(c_ptr) :: failure
    integer(c_int64_t) :: added
    integer(c_int32_t) :: status
    integer :: i, begin
    allocate (frame)
    frame%run => run
    if (present(context)) frame%context => context
    name_text = c_string(name)
    label_text = c_string(text_or_empty(label))
    json_text = c_string(text_or_empty(params_json))
    given%struct_size = c_sizeof(given)
    given%name = c_loc(name_text)
    given%label = c_loc(label_text)
    if (present(params_json)) given%params_json = c_loc(json_text)
    given%user_data = c_loc(frame)
    given%run = c_funloc(run_task)
    if (present(inputs)) then
      allocate (starts(size(inputs)))
      paths = ''
      do i = 1, size(inputs)
        paths = paths//c_string(inputs(i))
      end do
      begin = 1
      do i = 1, size(inputs)
        starts(i) = c_loc(paths(begin:begin))
        begin = begin + index(paths(begin:), c_null_char)
      end do
      if (size(inputs) > 0) given%inputs = c_loc(starts)
      given%input_count = size(inputs, kind=c_size_t)
    end if
    status = c_dijitso_plan_add_task(this%address(), c_loc(given), added, failure)
    node = int(added)
    call take(status, failure, what)
    if (what%status == DIJITSO_OK) then
      call keep(this, task=frame)
      call connect(this, node, needs, after, what)
    else
      deallocate (frame)
    end if
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Adds an edge: needed is made before node. Its result is used, unless edge is DIJITSO_EDGE_AFTER.
  subroutine plan_need(this, node, needed, edge, stat, errmsg, error)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node, needed
    integer, intent(in), optional :: edge
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status, kind
    kind = DIJITSO_EDGE_USE
    if (present(edge)) kind = int(edge, c_int32_t)
    status = c_dijitso_plan_need(this%address(), int(node, c_int64_t), int(needed, c_int64_t), kind, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Makes the nodes of the plan, with an integer communicator; dijitso_plan_make also takes one of mpi_f08.
  recursive subroutine plan_make(this, comm, targets, jobs, retries, fail_fast, force, load, poll, context, stat, &
      errmsg, error)
    class(dijitso_plan), intent(inout) :: this
    integer, intent(in), optional :: comm
    integer, intent(in), optional :: targets(:), jobs, retries
    logical, intent(in), optional :: fail_fast, force, load
    procedure(dijitso_poll), optional :: poll
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(call_frame), target :: frame
    type(c_dijitso_callbacks) :: callbacks
    type(c_dijitso_make_options), target :: options
    integer(c_int64_t), allocatable, target :: nodes(:)
    type(c_ptr) :: failure
    integer(c_int32_t) :: status, known
    call prepare(frame, callbacks, context=context, poll=poll)
    options%struct_size = c_sizeof(options)
    options%user_data = callbacks%user_data
    options%poll = callbacks%poll
    if (present(targets)) then
      nodes = int(targets, c_int64_t)
      if (size(nodes) > 0) options%targets = c_loc(nodes)
      options%target_count = size(nodes, kind=c_size_t)
    end if
    if (present(jobs)) options%jobs = int(jobs, c_size_t)
    if (present(retries)) options%retries = int(retries, c_size_t)
    if (is_set(fail_fast)) options%flags = options%flags + DIJITSO_MAKE_FAIL_FAST
    if (is_set(force)) options%flags = options%flags + DIJITSO_MAKE_FORCE
    if (present(load)) then
      if (.not. load) options%flags = options%flags + DIJITSO_MAKE_NO_LOAD
    end if
    known = c_dijitso_fint_null()
    if (present(comm)) known = comm
    status = c_dijitso_plan_make_fint(this%address(), c_loc(options), known, failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Makes the nodes of a plan. Without stat and error, an error stops the program. Collective over comm.
  recursive subroutine make(plan, comm, targets, jobs, retries, fail_fast, force, load, poll, context, stat, errmsg, &
      error)
    type(dijitso_plan), intent(inout) :: plan
    integer, intent(in), optional :: comm
    integer, intent(in), optional :: targets(:), jobs, retries
    logical, intent(in), optional :: fail_fast, force, load
    procedure(dijitso_poll), optional :: poll
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call plan%make(comm, targets, jobs, retries, fail_fast, force, load, poll, context, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Asks the make in progress, or the next one, to stop: what runs is finished, or ended if kill is true.
  subroutine plan_cancel(this, kill)
    class(dijitso_plan), intent(in) :: this
    logical, intent(in), optional :: kill
    integer(c_int32_t) :: ignored, how
    how = DIJITSO_CANCEL_FINISH
    if (is_set(kill)) how = DIJITSO_CANCEL_KILL
    ignored = c_dijitso_plan_cancel(this%address(), how)
  end subroutine

  ! Returns the state of a node: DIJITSO_NODE_TODO, _RUNNING, _DONE, _FAILED or _BLOCKED; -1 if there is none.
  function plan_state_of_node(this, node) result(state)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    integer :: state
    state = c_dijitso_plan_state(this%address(), int(node, c_int64_t))
  end function

  ! Returns the label of a node; "" if there is none.
  function plan_label(this, node) result(text)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    character(:), allocatable :: text
    text = text_of(c_dijitso_plan_label(this%address(), int(node, c_int64_t)))
  end function

  ! Returns the signature of a node; "" if it is not known.
  function plan_signature(this, node) result(text)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    character(:), allocatable :: text
    text = text_of(c_dijitso_plan_signature(this%address(), int(node, c_int64_t)))
  end function

  ! Returns the node of a label; DIJITSO_NODE_NONE if there is none.
  function plan_find(this, label) result(node)
    class(dijitso_plan), intent(in) :: this
    character(*), intent(in) :: label
    integer :: node
    node = int(c_dijitso_plan_find(this%address(), c_string(label)))
  end function

  ! Returns the node whose callback runs; DIJITSO_NODE_NONE if there is none.
  function plan_current(this) result(node)
    class(dijitso_plan), intent(in) :: this
    integer :: node
    node = int(c_dijitso_plan_current(this%address()))
  end function

  ! Returns what a task has made: its bytes, or a file.
  function plan_result(this, node, file, stat, errmsg, error) result(text)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    character(*), intent(in), optional :: file
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    character(:), allocatable :: text
    type(dijitso_error) :: what
    type(c_ptr) :: data, failure
    integer(c_size_t) :: size
    integer(c_int32_t) :: status
    if (present(file)) then
      status = c_dijitso_plan_result(this%address(), int(node, c_int64_t), c_string(file), data, size, failure)
    else
      status = c_dijitso_plan_result(this%address(), int(node, c_int64_t), data_out=data, size_out=size, &
        error_out=failure)
    end if
    text = text_of(data, size)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end function

  ! Gives the library of a module that is done.
  subroutine plan_library(this, node, library, stat, errmsg, error)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    type(dijitso_library), intent(inout) :: library
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: address, failure
    integer(c_int32_t) :: status
    status = c_dijitso_plan_library(this%address(), int(node, c_int64_t), address, failure)
    call library%take(address)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Gives the error of a node that is failed or blocked.
  subroutine plan_check(this, node, stat, errmsg, error)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    status = c_dijitso_plan_error(this%address(), int(node, c_int64_t), failure)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Returns true from new or load to free.
  function plan_is_open(this) result(answer)
    class(dijitso_plan), intent(in) :: this
    logical :: answer
    answer = c_associated(this%address())
  end function

  ! Returns the dijitso_plan of C; null if there is none.
  function plan_address(this) result(address)
    class(dijitso_plan), intent(in) :: this
    type(c_ptr) :: address
    address = c_null_ptr
    if (associated(this%state_of)) address = this%state_of%address
  end function

  ! Frees a plan, for all copies, and not in a callback of it. What it has made stays in the cache.
  subroutine plan_free(this)
    class(dijitso_plan), intent(inout) :: this
    type(node_frame), pointer :: first
    if (this%is_open()) then
      call c_dijitso_plan_free(this%state_of%address)
      this%state_of%address = c_null_ptr
      do while (associated(this%state_of%frames))
        first => this%state_of%frames
        this%state_of%frames => first%next
        if (associated(first%module)) deallocate (first%module)
        if (associated(first%task)) deallocate (first%task)
        deallocate (first)
      end do
    end if
    nullify (this%state_of)
  end subroutine

  ! --- tasks ----------------------------------------------------------------------------------------------------

  recursive function run_task(user_data, task) bind(c, name="") result(failed)
    type(c_ptr), value :: user_data, task
    integer(c_int32_t) :: failed
    type(task_frame), pointer :: frame
    type(dijitso_task) :: answer
    integer :: stat
    call c_f_pointer(user_data, frame)
    answer%handle = task
    stat = 0
    if (associated(frame%context)) then
      call frame%run(answer, frame%context, stat)
    else
      call frame%run(answer, stat=stat)
    end if
    failed = int(stat, c_int32_t)
    if (answer%is_refused .and. failed == 0) failed = DIJITSO_ERROR_INVALID_ARGUMENT
  end function

  ! Returns the node of the task.
  function task_node(this) result(node)
    class(dijitso_task), intent(in) :: this
    integer :: node
    node = int(c_dijitso_task_node(this%handle))
  end function

  ! Returns the signature under which the result is kept.
  function task_signature(this) result(text)
    class(dijitso_task), intent(in) :: this
    character(:), allocatable :: text
    text = text_of(c_dijitso_task_signature(this%handle))
  end function

  ! Returns the parameters, as JSON.
  function task_params(this) result(json)
    class(dijitso_task), intent(in) :: this
    character(:), allocatable :: json
    json = text_of(c_dijitso_task_params(this%handle))
  end function

  ! Returns the number of nodes whose results the task uses.
  function task_need_count(this) result(count)
    class(dijitso_task), intent(in) :: this
    integer :: count
    count = int(c_dijitso_task_need_count(this%handle))
  end function

  ! Returns a node whose result the task uses, from 1.
  function task_need_node(this, number) result(node)
    class(dijitso_task), intent(in) :: this
    integer, intent(in) :: number
    integer :: node
    node = int(c_dijitso_task_need_node(this%handle, int(number - 1, c_size_t)))
  end function

  ! Returns what another task has made, from 1: its bytes, or a file. If there is none, the callback fails.
  function task_need_result(this, number, file) result(text)
    class(dijitso_task), intent(inout) :: this
    integer, intent(in) :: number
    character(*), intent(in), optional :: file
    character(:), allocatable :: text
    type(dijitso_error) :: what
    type(c_ptr) :: data, failure
    integer(c_size_t) :: size
    integer(c_int32_t) :: status
    if (present(file)) then
      status = c_dijitso_task_need_result(this%handle, int(number - 1, c_size_t), c_string(file), data, size, failure)
    else
      status = c_dijitso_task_need_result(this%handle, int(number - 1, c_size_t), data_out=data, size_out=size, &
        error_out=failure)
    end if
    text = text_of(data, size)
    call take(status, failure, what)
    call note(this, what%message, status)
  end function

  ! Adds a need, mostly of a node that the callback has added. If that is not done when the callback returns, the
  ! callback is called again when it is.
  subroutine task_need(this, needed)
    class(dijitso_task), intent(inout) :: this
    integer, intent(in) :: needed
    type(dijitso_error) :: what
    type(c_ptr) :: failure
    integer(c_int32_t) :: status
    status = c_dijitso_task_need(this%handle, int(needed, c_int64_t), failure)
    call take(status, failure, what)
    call note(this, what%message, status)
  end subroutine

  ! Sets the bytes that the task makes.
  subroutine task_set_result(this, text)
    class(dijitso_task), intent(inout) :: this
    character(*), intent(in), target :: text
    call note(this, 'the result of the task was refused: memory is short', &
      c_dijitso_task_set_result(this%handle, start_of(text), len(text, c_size_t)))
  end subroutine

  ! Adds a file to what the task makes. Its name is a relative path.
  subroutine task_add_file(this, name, text, executable)
    class(dijitso_task), intent(inout) :: this
    character(*), intent(in) :: name
    character(*), intent(in), target :: text
    logical, intent(in), optional :: executable
    call note(this, 'the file '//name//' of the task was refused: it is no relative path, or memory is short', &
      c_dijitso_task_add_file(this%handle, c_string(name), start_of(text), len(text, c_size_t), &
      merge(1_c_int32_t, 0_c_int32_t, is_set(executable))))
  end subroutine

  ! Says why the callback will return another stat than 0.
  subroutine task_set_error(this, message)
    class(dijitso_task), intent(inout) :: this
    character(*), intent(in) :: message
    integer(c_int32_t) :: ignored
    ignored = c_dijitso_task_set_error(this%handle, c_string(message))
  end subroutine

  ! Returns the dijitso_task of C.
  function task_address(this) result(address)
    class(dijitso_task), intent(in) :: this
    type(c_ptr) :: address
    address = this%handle
  end function

  ! Remembers that C has refused a call, which then fails the callback: a stop here would end one rank alone.
  subroutine note(this, reason, status)
    class(dijitso_task), intent(inout) :: this
    character(*), intent(in) :: reason
    integer(c_int32_t), intent(in) :: status
    if (status == DIJITSO_OK .or. this%is_refused) return
    this%is_refused = .true.
    call this%set_error(reason)
  end subroutine

  ! --- arguments ------------------------------------------------------------------------------------------------

  ! Adds a library whose source is given.
  subroutine add_library(this, node, given, name, label, params, needs, after, what)
    class(dijitso_plan), intent(inout) :: this
    integer, intent(out) :: node
    type(c_dijitso_plan_module), intent(inout), target :: given
    character(len=*, kind=c_char), intent(in), target :: name, label
    type(dijitso_params), intent(in), optional :: params
    integer, intent(in), optional :: needs(:), after(:)
    type(dijitso_error), intent(out) :: what
    type(c_ptr) :: failure
    integer(c_int64_t) :: added
    integer(c_int32_t) :: status
    given%struct_size = c_sizeof(given)
    given%name = c_loc(name)
    given%label = c_loc(label)
    given%params = params_or_null(params)
    status = c_dijitso_plan_add_module(this%address(), c_loc(given), added, failure)
    node = int(added)
    call take(status, failure, what)
    if (what%status == DIJITSO_OK) call connect(this, node, needs, after, what)
  end subroutine

  ! Adds the edges of a node.
  subroutine connect(this, node, needs, after, what)
    class(dijitso_plan), intent(in) :: this
    integer, intent(in) :: node
    integer, intent(in), optional :: needs(:), after(:)
    type(dijitso_error), intent(inout) :: what
    integer :: i
    if (present(needs)) then
      do i = 1, size(needs)
        if (what%status == DIJITSO_OK) call this%need(node, needs(i), error=what)
      end do
    end if
    if (present(after)) then
      do i = 1, size(after)
        if (what%status == DIJITSO_OK) call this%need(node, after(i), int(DIJITSO_EDGE_AFTER), error=what)
      end do
    end if
  end subroutine

  ! Keeps what callbacks find as long as the plan.
  subroutine keep(this, module, task)
    class(dijitso_plan), intent(inout) :: this
    type(call_frame), pointer, intent(in), optional :: module
    type(task_frame), pointer, intent(in), optional :: task
    type(node_frame), pointer :: first
    allocate (first)
    if (present(module)) first%module => module
    if (present(task)) first%task => task
    first%next => this%state_of%frames
    this%state_of%frames => first
  end subroutine

  ! Takes an error of C as a value.
  subroutine take(status, failure, what)
    integer(c_int32_t), intent(in) :: status
    type(c_ptr), intent(in) :: failure
    type(dijitso_error), intent(out) :: what
    integer :: ignored
    call report(status, failure, what, ignored)
  end subroutine

  function start_of(text) result(address)
    character(*), intent(in), target :: text
    type(c_ptr) :: address
    address = c_loc(nothing)
    if (len(text) > 0) address = c_loc(text)
  end function

  function params_or_null(params) result(address)
    type(dijitso_params), intent(in), optional :: params
    type(c_ptr) :: address
    address = c_null_ptr
    if (present(params)) address = params%address()
  end function

  function text_or_empty(text) result(known)
    character(*), intent(in), optional :: text
    character(:), allocatable :: known
    known = ''
    if (present(text)) known = text
  end function

  function is_set(flag) result(answer)
    logical, intent(in), optional :: flag
    logical :: answer
    answer = .false.
    if (present(flag)) answer = flag
  end function
end module dijitso_plans
