! SPDX-License-Identifier: MIT OR Apache-2.0
!
! The C interface of dijitso in Fortran: c_NAME binds the function NAME of dijitso.h. Module dijitso
! is built on it. This file is generated from include/dijitso.h. Do not edit it.

module dijitso_constants
  use, intrinsic :: iso_c_binding, only: c_int32_t
  implicit none
  private :: c_int32_t

  integer(c_int32_t), parameter, public :: DIJITSO_OK = 0
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_INVALID_ARGUMENT = 1
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_UNSUPPORTED = 2
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_STATE = 3
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_PARAMS = 4
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_CACHE = 10
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_GENERATE = 20
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_CALLBACK = 21
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_COMPILE = 30
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_LOAD = 40
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_SYMBOL = 41
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_RANKS_DISAGREE = 50
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_MPI = 51
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_TIMEOUT = 52
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_CANCELLED = 53
  integer(c_int32_t), parameter, public :: DIJITSO_ERROR_INTERNAL = 90
  integer(c_int32_t), parameter, public :: DIJITSO_ORIGIN_MEMORY = 0
  integer(c_int32_t), parameter, public :: DIJITSO_ORIGIN_DISK = 1
  integer(c_int32_t), parameter, public :: DIJITSO_ORIGIN_BUILT = 2
  integer(c_int32_t), parameter, public :: DIJITSO_ORIGIN_RECEIVED = 3
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_NONE = -1
  integer(c_int32_t), parameter, public :: DIJITSO_EDGE_USE = 1
  integer(c_int32_t), parameter, public :: DIJITSO_EDGE_AFTER = 2
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_ANY_THREAD = 1
  integer(c_int32_t), parameter, public :: DIJITSO_MAKE_FAIL_FAST = 1
  integer(c_int32_t), parameter, public :: DIJITSO_MAKE_FORCE = 2
  integer(c_int32_t), parameter, public :: DIJITSO_MAKE_NO_LOAD = 4
  integer(c_int32_t), parameter, public :: DIJITSO_CANCEL_FINISH = 1
  integer(c_int32_t), parameter, public :: DIJITSO_CANCEL_KILL = 2
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_PROGRESS = 0
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_STARTED = 1
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_ADDED = 2
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_PARKED = 3
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_RETRIED = 4
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_DONE = 5
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_FAILED = 6
  integer(c_int32_t), parameter, public :: DIJITSO_EVENT_BLOCKED = 7
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_TODO = 0
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_RUNNING = 1
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_DONE = 2
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_FAILED = 3
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_BLOCKED = 4
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_MODULE = 0
  integer(c_int32_t), parameter, public :: DIJITSO_NODE_TASK = 1
  integer(c_int32_t), parameter, public :: DIJITSO_LOG_DEBUG = 10
  integer(c_int32_t), parameter, public :: DIJITSO_LOG_INFO = 20
  integer(c_int32_t), parameter, public :: DIJITSO_LOG_WARNING = 30
  integer(c_int32_t), parameter, public :: DIJITSO_LOG_ERROR = 40
  integer(c_int32_t), parameter, public :: DIJITSO_LOG_OFF = 50
  integer(c_int32_t), parameter, public :: DIJITSO_ELF_SONAME = 0
  integer(c_int32_t), parameter, public :: DIJITSO_ELF_NEEDED = 1
  integer(c_int32_t), parameter, public :: DIJITSO_ELF_RUNPATH = 2
  integer(c_int32_t), parameter, public :: DIJITSO_ELF_BUILD_ID = 3
  integer(c_int32_t), parameter, public :: DIJITSO_CATEGORY_INC = 1
  integer(c_int32_t), parameter, public :: DIJITSO_CATEGORY_SRC = 2
  integer(c_int32_t), parameter, public :: DIJITSO_CATEGORY_LIB = 4
  integer(c_int32_t), parameter, public :: DIJITSO_CATEGORY_LOG = 8
  integer(c_int32_t), parameter, public :: DIJITSO_CATEGORY_ALL = 15
  integer(c_int32_t), parameter, public :: DIJITSO_SEVERITY_BROKEN = 0
  integer(c_int32_t), parameter, public :: DIJITSO_SEVERITY_STALE = 1
  integer(c_int32_t), parameter, public :: DIJITSO_SEVERITY_LEFTOVER = 2
  integer(c_int32_t), parameter, public :: DIJITSO_REPAIR_NO = 0
  integer(c_int32_t), parameter, public :: DIJITSO_REPAIR_DONE = 1
  integer(c_int32_t), parameter, public :: DIJITSO_REPAIR_BUSY = 2
  integer(c_int32_t), parameter, public :: DIJITSO_REPAIR_FAILED = 3
  integer(c_int32_t), parameter, public :: DIJITSO_IMPORT_NEW = 0
  integer(c_int32_t), parameter, public :: DIJITSO_IMPORT_EXISTS = 1
  integer(c_int32_t), parameter, public :: DIJITSO_IMPORT_CONFLICT = 2
  integer(c_int32_t), parameter, public :: DIJITSO_IMPORT_REFUSED = 3
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_NONE = 0
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_MPICH = 1
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_OPEN_MPI = 2
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_STANDARD_ABI = 3
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_OTHER = 4
  integer(c_int32_t), parameter, public :: DIJITSO_MPI_FUNCTIONS = 25
  integer(c_int32_t), parameter, public :: DIJITSO_ROLE_BUILDER = 0
  integer(c_int32_t), parameter, public :: DIJITSO_ROLE_RECEIVER = 1
  integer(c_int32_t), parameter, public :: DIJITSO_ROLE_WAITER = 2
end module dijitso_constants

module dijitso_c
  use, intrinsic :: iso_c_binding
  use dijitso_constants
  implicit none
  public

  type, bind(c), public :: c_dijitso_callbacks
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: user_data = c_null_ptr
    type(c_funptr) :: generate = c_null_funptr
    type(c_funptr) :: send = c_null_funptr
    type(c_funptr) :: receive = c_null_funptr
    type(c_funptr) :: wait = c_null_funptr
    type(c_funptr) :: poll = c_null_funptr
  end type c_dijitso_callbacks

  type, bind(c), public :: c_dijitso_text
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: code = c_null_ptr
    integer(c_size_t) :: code_length = 0
    type(c_ptr) :: header = c_null_ptr
    integer(c_size_t) :: header_length = 0
    type(c_ptr) :: dependencies = c_null_ptr
    integer(c_size_t) :: dependency_count = 0
  end type c_dijitso_text

  type, bind(c), public :: c_dijitso_plan_module
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: label = c_null_ptr
    type(c_ptr) :: name = c_null_ptr
    type(c_ptr) :: params = c_null_ptr
    type(c_ptr) :: user_data = c_null_ptr
    type(c_funptr) :: generate = c_null_funptr
    type(c_ptr) :: code = c_null_ptr
    integer(c_size_t) :: code_length = 0
    type(c_ptr) :: header = c_null_ptr
    integer(c_size_t) :: header_length = 0
    integer(c_int64_t) :: flags = 0
  end type c_dijitso_plan_module

  type, bind(c), public :: c_dijitso_plan_task
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: label = c_null_ptr
    type(c_ptr) :: name = c_null_ptr
    type(c_ptr) :: params_json = c_null_ptr
    type(c_ptr) :: user_data = c_null_ptr
    type(c_funptr) :: run = c_null_funptr
    type(c_ptr) :: inputs = c_null_ptr
    integer(c_size_t) :: input_count = 0
    integer(c_int64_t) :: flags = 0
  end type c_dijitso_plan_task

  type, bind(c), public :: c_dijitso_event
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: kind = 0
    integer(c_int32_t) :: status = 0
    integer(c_int64_t) :: node = 0
    integer(c_int64_t) :: cause = 0
    type(c_ptr) :: label = c_null_ptr
    type(c_ptr) :: message = c_null_ptr
    real(c_double) :: seconds = 0
    real(c_double) :: seconds_left = 0
    integer(c_int64_t) :: built = 0
    integer(c_int64_t) :: done = 0
    integer(c_int64_t) :: failed = 0
    integer(c_int64_t) :: blocked = 0
    integer(c_int64_t) :: running = 0
    integer(c_int64_t) :: total = 0
  end type c_dijitso_event

  type, bind(c), public :: c_dijitso_make_options
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: targets = c_null_ptr
    integer(c_size_t) :: target_count = 0
    integer(c_size_t) :: jobs = 0
    integer(c_size_t) :: retries = 0
    integer(c_int64_t) :: flags = 0
    type(c_ptr) :: user_data = c_null_ptr
    type(c_funptr) :: poll = c_null_funptr
    type(c_funptr) :: event = c_null_funptr
  end type c_dijitso_make_options

  type, bind(c), public :: c_dijitso_node_info
    integer(c_size_t) :: struct_size = 0
    integer(c_int64_t) :: node = 0
    integer(c_int32_t) :: kind = 0
    integer(c_int32_t) :: state = 0
    type(c_ptr) :: label = c_null_ptr
    type(c_ptr) :: name = c_null_ptr
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: message = c_null_ptr
    integer(c_int32_t) :: status = 0
    integer(c_int32_t) :: built = 0
    integer(c_int64_t) :: blocked_by = 0
    integer(c_int64_t) :: added_by = 0
    type(c_ptr) :: needs = c_null_ptr
    integer(c_size_t) :: need_count = 0
    type(c_ptr) :: after = c_null_ptr
    integer(c_size_t) :: after_count = 0
    integer(c_int64_t) :: size = 0
    real(c_double) :: seconds = 0
    integer(c_int32_t) :: rank = 0
    integer(c_int32_t) :: any_thread = 0
  end type c_dijitso_node_info

  type, bind(c), public :: c_dijitso_log_record
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: level = 0
    integer(c_int32_t) :: rank = 0
    integer(c_int32_t) :: ranks = 0
    type(c_ptr) :: message = c_null_ptr
    type(c_ptr) :: host = c_null_ptr
    type(c_ptr) :: target = c_null_ptr
  end type c_dijitso_log_record

  type, bind(c), public :: c_dijitso_elf_item
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: kind = 0
    type(c_ptr) :: text = c_null_ptr
    type(c_ptr) :: path = c_null_ptr
  end type c_dijitso_elf_item

  type, bind(c), public :: c_dijitso_file_names
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: lib_name = c_null_ptr
    type(c_ptr) :: lib_basename = c_null_ptr
    type(c_ptr) :: lib_path = c_null_ptr
    type(c_ptr) :: inc_basename = c_null_ptr
    type(c_ptr) :: inc_path = c_null_ptr
    type(c_ptr) :: src_basename = c_null_ptr
    type(c_ptr) :: src_path = c_null_ptr
    type(c_ptr) :: log_path = c_null_ptr
    type(c_ptr) :: fail_dir = c_null_ptr
  end type c_dijitso_file_names

  type, bind(c), public :: c_dijitso_entry
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: name = c_null_ptr
    integer(c_int32_t) :: categories = 0
    integer(c_int64_t) :: size = 0
    integer(c_int64_t) :: allocated = 0
    integer(c_int64_t) :: modified = 0
  end type c_dijitso_entry

  type, bind(c), public :: c_dijitso_file
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: category = 0
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: path = c_null_ptr
    integer(c_int64_t) :: size = 0
    integer(c_int64_t) :: modified = 0
  end type c_dijitso_file

  type, bind(c), public :: c_dijitso_line
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: category = 0
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: path = c_null_ptr
    integer(c_int64_t) :: number = 0
    type(c_ptr) :: text = c_null_ptr
  end type c_dijitso_line

  type, bind(c), public :: c_dijitso_finding
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: severity = 0
    integer(c_int32_t) :: repair = 0
    type(c_ptr) :: kind = c_null_ptr
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: path = c_null_ptr
    type(c_ptr) :: text = c_null_ptr
    type(c_ptr) :: advice = c_null_ptr
    type(c_ptr) :: reason = c_null_ptr
  end type c_dijitso_finding

  type, bind(c), public :: c_dijitso_removed
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: path = c_null_ptr
    integer(c_int64_t) :: bytes = 0
    real(c_double) :: idle = 0
  end type c_dijitso_removed

  type, bind(c), public :: c_dijitso_stats
    integer(c_size_t) :: struct_size = 0
    type(c_ptr) :: host = c_null_ptr
    integer(c_int64_t) :: memory_hits = 0
    integer(c_int64_t) :: disk_hits = 0
    integer(c_int64_t) :: builds = 0
    integer(c_int64_t) :: failures = 0
    integer(c_int64_t) :: received = 0
    integer(c_int64_t) :: waited = 0
    real(c_double) :: compile_seconds = 0
    real(c_double) :: saved_seconds = 0
  end type c_dijitso_stats

  type, bind(c), public :: c_dijitso_imported
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: outcome = 0
    type(c_ptr) :: signature = c_null_ptr
    type(c_ptr) :: reason = c_null_ptr
  end type c_dijitso_imported

  type, bind(c), public :: c_dijitso_mpi_table
    integer(c_size_t) :: struct_size = 0
    integer(c_int32_t) :: family = 0
    integer(c_int32_t) :: handle_size = 0
    integer(c_int32_t) :: is_complete = 0
    integer(c_int32_t) :: any_source = 0
    integer(c_int32_t) :: undefined = 0
    integer(c_int32_t) :: status_size = 0
    integer(c_int32_t) :: source_offset = 0
    integer(c_int32_t) :: reserved = 0
    integer(c_size_t) :: comm_null = 0
    integer(c_size_t) :: comm_world = 0
    integer(c_size_t) :: comm_self = 0
    integer(c_size_t) :: uint8 = 0
    integer(c_size_t) :: request_null = 0
    integer(c_size_t) :: errors_return = 0
    integer(c_size_t) :: status_ignore = 0
    type(c_funptr) :: functions(25) = c_null_funptr
  end type c_dijitso_mpi_table

  interface
    function c_dijitso_version() &
        bind(c, name="dijitso_version") result(answer)
      import
      type(c_ptr) :: answer
    end function c_dijitso_version

    function c_dijitso_error_status(error) &
        bind(c, name="dijitso_error_status") result(answer)
      import
      type(c_ptr), value :: error
      integer(c_int32_t) :: answer
    end function c_dijitso_error_status

    function c_dijitso_error_message(error) &
        bind(c, name="dijitso_error_message") result(answer)
      import
      type(c_ptr), value :: error
      type(c_ptr) :: answer
    end function c_dijitso_error_message

    function c_dijitso_error_log(error) &
        bind(c, name="dijitso_error_log") result(answer)
      import
      type(c_ptr), value :: error
      type(c_ptr) :: answer
    end function c_dijitso_error_log

    function c_dijitso_error_path(error) &
        bind(c, name="dijitso_error_path") result(answer)
      import
      type(c_ptr), value :: error
      type(c_ptr) :: answer
    end function c_dijitso_error_path

    function c_dijitso_error_rank(error) &
        bind(c, name="dijitso_error_rank") result(answer)
      import
      type(c_ptr), value :: error
      integer(c_int32_t) :: answer
    end function c_dijitso_error_rank

    subroutine c_dijitso_error_free(error) &
        bind(c, name="dijitso_error_free")
      import
      type(c_ptr), value :: error
    end subroutine c_dijitso_error_free

    function c_dijitso_params_new(params_out, error_out) &
        bind(c, name="dijitso_params_new") result(answer)
      import
      type(c_ptr), intent(out) :: params_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_params_new

    function c_dijitso_params_set(params, key, value, error_out) &
        bind(c, name="dijitso_params_set") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: key
      character(kind=c_char), dimension(*), intent(in), optional :: value
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_params_set

    function c_dijitso_params_merge_json(params, json, error_out) &
        bind(c, name="dijitso_params_merge_json") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: json
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_params_merge_json

    function c_dijitso_params_get(params, key) &
        bind(c, name="dijitso_params_get") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: key
      type(c_ptr) :: answer
    end function c_dijitso_params_get

    function c_dijitso_params_origin(params, key) &
        bind(c, name="dijitso_params_origin") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: key
      type(c_ptr) :: answer
    end function c_dijitso_params_origin

    function c_dijitso_params_to_json(params) &
        bind(c, name="dijitso_params_to_json") result(answer)
      import
      type(c_ptr), value :: params
      type(c_ptr) :: answer
    end function c_dijitso_params_to_json

    subroutine c_dijitso_params_free(params) &
        bind(c, name="dijitso_params_free")
      import
      type(c_ptr), value :: params
    end subroutine c_dijitso_params_free

    function c_dijitso_source_set_code(source, text, length) &
        bind(c, name="dijitso_source_set_code") result(answer)
      import
      type(c_ptr), value :: source
      character(kind=c_char), dimension(*), intent(in), optional :: text
      integer(c_size_t), value :: length
      integer(c_int32_t) :: answer
    end function c_dijitso_source_set_code

    function c_dijitso_source_set_header(source, text, length) &
        bind(c, name="dijitso_source_set_header") result(answer)
      import
      type(c_ptr), value :: source
      character(kind=c_char), dimension(*), intent(in), optional :: text
      integer(c_size_t), value :: length
      integer(c_int32_t) :: answer
    end function c_dijitso_source_set_header

    function c_dijitso_source_add_dependency(source, signature) &
        bind(c, name="dijitso_source_add_dependency") result(answer)
      import
      type(c_ptr), value :: source
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t) :: answer
    end function c_dijitso_source_add_dependency

    function c_dijitso_source_set_error(source, message) &
        bind(c, name="dijitso_source_set_error") result(answer)
      import
      type(c_ptr), value :: source
      character(kind=c_char), dimension(*), intent(in), optional :: message
      integer(c_int32_t) :: answer
    end function c_dijitso_source_set_error

    function c_dijitso_blob_resize(blob, size) &
        bind(c, name="dijitso_blob_resize") result(answer)
      import
      type(c_ptr), value :: blob
      integer(c_size_t), value :: size
      type(c_ptr) :: answer
    end function c_dijitso_blob_resize

    function c_dijitso_library_symbol(library, symbol, fn_out, error_out) &
        bind(c, name="dijitso_library_symbol") result(answer)
      import
      type(c_ptr), value :: library
      character(kind=c_char), dimension(*), intent(in), optional :: symbol
      type(c_funptr), intent(out) :: fn_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_library_symbol

    function c_dijitso_library_signature(library) &
        bind(c, name="dijitso_library_signature") result(answer)
      import
      type(c_ptr), value :: library
      type(c_ptr) :: answer
    end function c_dijitso_library_signature

    function c_dijitso_library_path(library) &
        bind(c, name="dijitso_library_path") result(answer)
      import
      type(c_ptr), value :: library
      type(c_ptr) :: answer
    end function c_dijitso_library_path

    function c_dijitso_library_origin(library) &
        bind(c, name="dijitso_library_origin") result(answer)
      import
      type(c_ptr), value :: library
      integer(c_int32_t) :: answer
    end function c_dijitso_library_origin

    subroutine c_dijitso_library_free(library) &
        bind(c, name="dijitso_library_free")
      import
      type(c_ptr), value :: library
    end subroutine c_dijitso_library_free

    function c_dijitso_jit_finish(pending, library_out, error_out) &
        bind(c, name="dijitso_jit_finish") result(answer)
      import
      type(c_ptr), value :: pending
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_finish

    subroutine c_dijitso_pending_free(pending) &
        bind(c, name="dijitso_pending_free")
      import
      type(c_ptr), value :: pending
    end subroutine c_dijitso_pending_free

    subroutine c_dijitso_progress(done_out, total_out) &
        bind(c, name="dijitso_progress")
      import
      integer(c_int64_t), intent(out), optional :: done_out
      integer(c_int64_t), intent(out), optional :: total_out
    end subroutine c_dijitso_progress

    function c_dijitso_plan_new(name, params_or_null, plan_out, error_out) &
        bind(c, name="dijitso_plan_new") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: params_or_null
      type(c_ptr), intent(out) :: plan_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_new

    subroutine c_dijitso_plan_free(plan) &
        bind(c, name="dijitso_plan_free")
      import
      type(c_ptr), value :: plan
    end subroutine c_dijitso_plan_free

    function c_dijitso_plan_need(plan, node, needed, edge, error_out) &
        bind(c, name="dijitso_plan_need") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      integer(c_int64_t), value :: needed
      integer(c_int32_t), value :: edge
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_need

    function c_dijitso_plan_add_module(plan, module, node_out, error_out) &
        bind(c, name="dijitso_plan_add_module") result(answer)
      import
      type(c_ptr), value :: plan
      type(c_ptr), value :: module
      integer(c_int64_t), intent(out), optional :: node_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_add_module

    function c_dijitso_plan_add_task(plan, task, node_out, error_out) &
        bind(c, name="dijitso_plan_add_task") result(answer)
      import
      type(c_ptr), value :: plan
      type(c_ptr), value :: task
      integer(c_int64_t), intent(out), optional :: node_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_add_task

    function c_dijitso_task_plan(task) &
        bind(c, name="dijitso_task_plan") result(answer)
      import
      type(c_ptr), value :: task
      type(c_ptr) :: answer
    end function c_dijitso_task_plan

    function c_dijitso_task_node(task) &
        bind(c, name="dijitso_task_node") result(answer)
      import
      type(c_ptr), value :: task
      integer(c_int64_t) :: answer
    end function c_dijitso_task_node

    function c_dijitso_task_signature(task) &
        bind(c, name="dijitso_task_signature") result(answer)
      import
      type(c_ptr), value :: task
      type(c_ptr) :: answer
    end function c_dijitso_task_signature

    function c_dijitso_task_params(task) &
        bind(c, name="dijitso_task_params") result(answer)
      import
      type(c_ptr), value :: task
      type(c_ptr) :: answer
    end function c_dijitso_task_params

    function c_dijitso_task_need_count(task) &
        bind(c, name="dijitso_task_need_count") result(answer)
      import
      type(c_ptr), value :: task
      integer(c_size_t) :: answer
    end function c_dijitso_task_need_count

    function c_dijitso_task_need_node(task, index) &
        bind(c, name="dijitso_task_need_node") result(answer)
      import
      type(c_ptr), value :: task
      integer(c_size_t), value :: index
      integer(c_int64_t) :: answer
    end function c_dijitso_task_need_node

    function c_dijitso_task_need_result(task, index, file_or_null, data_out, size_out, error_out) &
        bind(c, name="dijitso_task_need_result") result(answer)
      import
      type(c_ptr), value :: task
      integer(c_size_t), value :: index
      character(kind=c_char), dimension(*), intent(in), optional :: file_or_null
      type(c_ptr), intent(out) :: data_out
      integer(c_size_t), intent(out), optional :: size_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_task_need_result

    function c_dijitso_task_need(task, needed, error_out) &
        bind(c, name="dijitso_task_need") result(answer)
      import
      type(c_ptr), value :: task
      integer(c_int64_t), value :: needed
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_task_need

    function c_dijitso_task_set_result(task, data, size) &
        bind(c, name="dijitso_task_set_result") result(answer)
      import
      type(c_ptr), value :: task
      type(c_ptr), value :: data
      integer(c_size_t), value :: size
      integer(c_int32_t) :: answer
    end function c_dijitso_task_set_result

    function c_dijitso_task_add_file(task, name, data, size, executable) &
        bind(c, name="dijitso_task_add_file") result(answer)
      import
      type(c_ptr), value :: task
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: data
      integer(c_size_t), value :: size
      integer(c_int32_t), value :: executable
      integer(c_int32_t) :: answer
    end function c_dijitso_task_add_file

    function c_dijitso_task_set_error(task, message) &
        bind(c, name="dijitso_task_set_error") result(answer)
      import
      type(c_ptr), value :: task
      character(kind=c_char), dimension(*), intent(in), optional :: message
      integer(c_int32_t) :: answer
    end function c_dijitso_task_set_error

    function c_dijitso_plan_cancel(plan, how) &
        bind(c, name="dijitso_plan_cancel") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int32_t), value :: how
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_cancel

    function c_dijitso_plan_state(plan, node) &
        bind(c, name="dijitso_plan_state") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_state

    function c_dijitso_plan_label(plan, node) &
        bind(c, name="dijitso_plan_label") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      type(c_ptr) :: answer
    end function c_dijitso_plan_label

    function c_dijitso_plan_signature(plan, node) &
        bind(c, name="dijitso_plan_signature") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      type(c_ptr) :: answer
    end function c_dijitso_plan_signature

    function c_dijitso_plan_find(plan, label) &
        bind(c, name="dijitso_plan_find") result(answer)
      import
      type(c_ptr), value :: plan
      character(kind=c_char), dimension(*), intent(in), optional :: label
      integer(c_int64_t) :: answer
    end function c_dijitso_plan_find

    function c_dijitso_plan_current(plan) &
        bind(c, name="dijitso_plan_current") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t) :: answer
    end function c_dijitso_plan_current

    function c_dijitso_plan_result(plan, node, file_or_null, data_out, size_out, error_out) &
        bind(c, name="dijitso_plan_result") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      character(kind=c_char), dimension(*), intent(in), optional :: file_or_null
      type(c_ptr), intent(out) :: data_out
      integer(c_size_t), intent(out), optional :: size_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_result

    function c_dijitso_plan_library(plan, node, library_out, error_out) &
        bind(c, name="dijitso_plan_library") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_library

    function c_dijitso_plan_error(plan, node, error_out) &
        bind(c, name="dijitso_plan_error") result(answer)
      import
      type(c_ptr), value :: plan
      integer(c_int64_t), value :: node
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_error

    function c_dijitso_plan_visit(plan, visitor, user_data, error_out) &
        bind(c, name="dijitso_plan_visit") result(answer)
      import
      type(c_ptr), value :: plan
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_visit

    function c_dijitso_plan_load(path, params_or_null, plan_out, error_out) &
        bind(c, name="dijitso_plan_load") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: path
      type(c_ptr), value :: params_or_null
      type(c_ptr), intent(out) :: plan_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_load

    function c_dijitso_plan_save(plan, path, error_out) &
        bind(c, name="dijitso_plan_save") result(answer)
      import
      type(c_ptr), value :: plan
      character(kind=c_char), dimension(*), intent(in), optional :: path
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_save

    function c_dijitso_log_set_level(level, error_out) &
        bind(c, name="dijitso_log_set_level") result(answer)
      import
      integer(c_int32_t), value :: level
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_log_set_level

    function c_dijitso_log_level() &
        bind(c, name="dijitso_log_level") result(answer)
      import
      integer(c_int32_t) :: answer
    end function c_dijitso_log_level

    function c_dijitso_log_set_handler(handler, user_data, error_out) &
        bind(c, name="dijitso_log_set_handler") result(answer)
      import
      type(c_funptr), value :: handler
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_log_set_handler

    function c_dijitso_log_get_handler(handler_out, user_data_out, error_out) &
        bind(c, name="dijitso_log_get_handler") result(answer)
      import
      type(c_funptr), intent(out) :: handler_out
      type(c_ptr), intent(out) :: user_data_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_log_get_handler

    function c_dijitso_blob_new(blob_out, error_out) &
        bind(c, name="dijitso_blob_new") result(answer)
      import
      type(c_ptr), intent(out) :: blob_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_blob_new

    function c_dijitso_blob_data(blob) &
        bind(c, name="dijitso_blob_data") result(answer)
      import
      type(c_ptr), value :: blob
      type(c_ptr) :: answer
    end function c_dijitso_blob_data

    function c_dijitso_blob_size(blob) &
        bind(c, name="dijitso_blob_size") result(answer)
      import
      type(c_ptr), value :: blob
      integer(c_size_t) :: answer
    end function c_dijitso_blob_size

    subroutine c_dijitso_blob_free(blob) &
        bind(c, name="dijitso_blob_free")
      import
      type(c_ptr), value :: blob
    end subroutine c_dijitso_blob_free

    function c_dijitso_library_handle(library) &
        bind(c, name="dijitso_library_handle") result(answer)
      import
      type(c_ptr), value :: library
      type(c_ptr) :: answer
    end function c_dijitso_library_handle

    function c_dijitso_error_file(error, index) &
        bind(c, name="dijitso_error_file") result(answer)
      import
      type(c_ptr), value :: error
      integer(c_size_t), value :: index
      type(c_ptr) :: answer
    end function c_dijitso_error_file

    function c_dijitso_signature(params, name, blob, error_out) &
        bind(c, name="dijitso_signature") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: blob
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_signature

    function c_dijitso_explain(params, name_or_signature, json, blob, error_out) &
        bind(c, name="dijitso_explain") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: name_or_signature
      integer(c_int32_t), value :: json
      type(c_ptr), value :: blob
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_explain

    function c_dijitso_build_command(params, signature, dependencies, count, visitor, user_data, error_out) &
        bind(c, name="dijitso_build_command") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_ptr), dimension(*), intent(in) :: dependencies
      integer(c_size_t), value :: count
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_build_command

    function c_dijitso_library_open(params, signature, library_out, error_out) &
        bind(c, name="dijitso_library_open") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_library_open

    function c_dijitso_elf_read(path, visitor, user_data, error_out) &
        bind(c, name="dijitso_elf_read") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: path
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_elf_read

    function c_dijitso_cache_file_names(params, signature, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_file_names") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_file_names

    function c_dijitso_cache_make_dirs(params, error_out) &
        bind(c, name="dijitso_cache_make_dirs") result(answer)
      import
      type(c_ptr), value :: params
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_make_dirs

    function c_dijitso_cache_dependencies(params, signature, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_dependencies") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_dependencies

    function c_dijitso_cache_list(params, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_list") result(answer)
      import
      type(c_ptr), value :: params
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_list

    function c_dijitso_cache_files(params, signature, categories, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_files") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: categories
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_files

    function c_dijitso_cache_grep(params, pattern, signature, categories, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_grep") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: pattern
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: categories
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_grep

    function c_dijitso_cache_read(params, signature, category, blob, error_out) &
        bind(c, name="dijitso_cache_read") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: category
      type(c_ptr), value :: blob
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_read

    function c_dijitso_cache_store(params, signature, category, data, size, error_out) &
        bind(c, name="dijitso_cache_store") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: category
      type(c_ptr), value :: data
      integer(c_size_t), value :: size
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_store

    function c_dijitso_cache_extract(params, signature, categories, directory, replace, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_extract") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: categories
      character(kind=c_char), dimension(*), intent(in), optional :: directory
      integer(c_int32_t), value :: replace
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_extract

    function c_dijitso_cache_remove(params, signature, categories, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_remove") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: categories
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_remove

    function c_dijitso_cache_clean(params, categories, dry_run, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_clean") result(answer)
      import
      type(c_ptr), value :: params
      integer(c_int32_t), value :: categories
      integer(c_int32_t), value :: dry_run
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_clean

    function c_dijitso_cache_check(params, signature, repair, visitor, user_data, sound_out, error_out) &
        bind(c, name="dijitso_cache_check") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      integer(c_int32_t), value :: repair
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      integer(c_int32_t), intent(out), optional :: sound_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_check

    function c_dijitso_cache_gc(params, min_idle, dry_run, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_gc") result(answer)
      import
      type(c_ptr), value :: params
      real(c_double), value :: min_idle
      integer(c_int32_t), value :: dry_run
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_gc

    function c_dijitso_cache_stats(params, visitor, user_data, error_out) &
        bind(c, name="dijitso_cache_stats") result(answer)
      import
      type(c_ptr), value :: params
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_stats

    function c_dijitso_cache_reset_stats(params, error_out) &
        bind(c, name="dijitso_cache_reset_stats") result(answer)
      import
      type(c_ptr), value :: params
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_reset_stats

    function c_dijitso_cache_read_binary(params, signature, blob, error_out) &
        bind(c, name="dijitso_cache_read_binary") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_ptr), value :: blob
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_read_binary

    function c_dijitso_cache_write_binary(params, signature, data, size, error_out) &
        bind(c, name="dijitso_cache_write_binary") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: signature
      type(c_ptr), value :: data
      integer(c_size_t), value :: size
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_cache_write_binary

    function c_dijitso_bundle_export(params, words, count, path, error_out) &
        bind(c, name="dijitso_bundle_export") result(answer)
      import
      type(c_ptr), value :: params
      type(c_ptr), dimension(*), intent(in) :: words
      integer(c_size_t), value :: count
      character(kind=c_char), dimension(*), intent(in), optional :: path
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_bundle_export

    function c_dijitso_bundle_import(params, path, force, visitor, user_data, error_out) &
        bind(c, name="dijitso_bundle_import") result(answer)
      import
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: path
      integer(c_int32_t), value :: force
      type(c_funptr), value :: visitor
      type(c_ptr), value :: user_data
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_bundle_import

    function c_dijitso_mpi_use(table, error_out) &
        bind(c, name="dijitso_mpi_use") result(answer)
      import
      type(c_ptr), value :: table
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_use

    function c_dijitso_mpi_family() &
        bind(c, name="dijitso_mpi_family") result(answer)
      import
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_family

    function c_dijitso_mpi_comm_size() &
        bind(c, name="dijitso_mpi_comm_size") result(answer)
      import
      integer(c_size_t) :: answer
    end function c_dijitso_mpi_comm_size

    function c_dijitso_fint_null() &
        bind(c, name="dijitso_fint_null") result(answer)
      import
      integer(c_int32_t) :: answer
    end function c_dijitso_fint_null

    function c_dijitso_jit_fint(name, params, callbacks, comm, library_out, error_out) &
        bind(c, name="dijitso_jit_fint") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: params
      type(c_ptr), value :: callbacks
      integer(c_int32_t), value :: comm
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_fint

    function c_dijitso_jit_many_fint(count, names, params, callbacks, comm, libraries_out, error_out) &
        bind(c, name="dijitso_jit_many_fint") result(answer)
      import
      integer(c_size_t), value :: count
      type(c_ptr), dimension(*), intent(in) :: names
      type(c_ptr), value :: params
      type(c_ptr), value :: callbacks
      integer(c_int32_t), value :: comm
      type(c_ptr), dimension(*), intent(inout) :: libraries_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_many_fint

    function c_dijitso_jit_source_fint(name, params, code, code_length, header_or_null, header_length, comm, &
        library_out, error_out) &
        bind(c, name="dijitso_jit_source_fint") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: params
      character(kind=c_char), dimension(*), intent(in), optional :: code
      integer(c_size_t), value :: code_length
      character(kind=c_char), dimension(*), intent(in), optional :: header_or_null
      integer(c_size_t), value :: header_length
      integer(c_int32_t), value :: comm
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_source_fint

    function c_dijitso_jit_text_fint(name, params, text, comm, library_out, error_out) &
        bind(c, name="dijitso_jit_text_fint") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: params
      type(c_ptr), value :: text
      integer(c_int32_t), value :: comm
      type(c_ptr), intent(out) :: library_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_text_fint

    function c_dijitso_jit_start_fint(name, params, callbacks, comm, pending_out, error_out) &
        bind(c, name="dijitso_jit_start_fint") result(answer)
      import
      character(kind=c_char), dimension(*), intent(in), optional :: name
      type(c_ptr), value :: params
      type(c_ptr), value :: callbacks
      integer(c_int32_t), value :: comm
      type(c_ptr), intent(out) :: pending_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_jit_start_fint

    function c_dijitso_plan_make_fint(plan, options, comm, error_out) &
        bind(c, name="dijitso_plan_make_fint") result(answer)
      import
      type(c_ptr), value :: plan
      type(c_ptr), value :: options
      integer(c_int32_t), value :: comm
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_plan_make_fint

    function c_dijitso_mpi_discover_path_access_ranks_fint(comm, path, ranks_out, capacity, count_out, error_out) &
        bind(c, name="dijitso_mpi_discover_path_access_ranks_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      character(kind=c_char), dimension(*), intent(in), optional :: path
      integer(c_int32_t), dimension(*), intent(inout), optional :: ranks_out
      integer(c_int32_t), value :: capacity
      integer(c_int32_t), intent(out), optional :: count_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_discover_path_access_ranks_fint

    function c_dijitso_mpi_create_node_comm_fint(comm, path, node_comm_out, node_root_out, error_out) &
        bind(c, name="dijitso_mpi_create_node_comm_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      character(kind=c_char), dimension(*), intent(in), optional :: path
      integer(c_int32_t), intent(out), optional :: node_comm_out
      integer(c_int32_t), intent(out), optional :: node_root_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_node_comm_fint

    function c_dijitso_mpi_create_node_roots_comm_fint(comm, node_root, comm_out, error_out) &
        bind(c, name="dijitso_mpi_create_node_roots_comm_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int32_t), value :: node_root
      integer(c_int32_t), intent(out), optional :: comm_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_node_roots_comm_fint

    function c_dijitso_mpi_create_subcomm_fint(comm, ranks, count, comm_out, error_out) &
        bind(c, name="dijitso_mpi_create_subcomm_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int32_t), dimension(*), intent(in) :: ranks
      integer(c_int32_t), value :: count
      integer(c_int32_t), intent(out), optional :: comm_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_subcomm_fint

    function c_dijitso_mpi_create_comms_and_role_fint(comm, path, buildon, copy_comm_out, wait_comm_out, role_out, &
        error_out) &
        bind(c, name="dijitso_mpi_create_comms_and_role_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      character(kind=c_char), dimension(*), intent(in), optional :: path
      character(kind=c_char), dimension(*), intent(in), optional :: buildon
      integer(c_int32_t), intent(out), optional :: copy_comm_out
      integer(c_int32_t), intent(out), optional :: wait_comm_out
      integer(c_int32_t), intent(out), optional :: role_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_comms_and_role_fint

    function c_dijitso_mpi_create_comms_and_role_node_fint(comm, node_comm, node_root, copy_comm_out, wait_comm_out, &
        role_out, error_out) &
        bind(c, name="dijitso_mpi_create_comms_and_role_node_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int32_t), value :: node_comm
      integer(c_int32_t), value :: node_root
      integer(c_int32_t), intent(out), optional :: copy_comm_out
      integer(c_int32_t), intent(out), optional :: wait_comm_out
      integer(c_int32_t), intent(out), optional :: role_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_comms_and_role_node_fint

    function c_dijitso_mpi_create_comms_and_role_root_fint(comm, node_comm, node_root, copy_comm_out, wait_comm_out, &
        role_out, error_out) &
        bind(c, name="dijitso_mpi_create_comms_and_role_root_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int32_t), value :: node_comm
      integer(c_int32_t), value :: node_root
      integer(c_int32_t), intent(out), optional :: copy_comm_out
      integer(c_int32_t), intent(out), optional :: wait_comm_out
      integer(c_int32_t), intent(out), optional :: role_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_comms_and_role_root_fint

    function c_dijitso_mpi_create_comms_and_role_process_fint(comm, node_comm, node_root, copy_comm_out, &
        wait_comm_out, role_out, error_out) &
        bind(c, name="dijitso_mpi_create_comms_and_role_process_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int32_t), value :: node_comm
      integer(c_int32_t), value :: node_root
      integer(c_int32_t), intent(out), optional :: copy_comm_out
      integer(c_int32_t), intent(out), optional :: wait_comm_out
      integer(c_int32_t), intent(out), optional :: role_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_create_comms_and_role_process_fint

    function c_dijitso_mpi_send_binary_fint(comm, data, size, error_out) &
        bind(c, name="dijitso_mpi_send_binary_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      type(c_ptr), value :: data
      integer(c_size_t), value :: size
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_send_binary_fint

    function c_dijitso_mpi_receive_binary_fint(comm, blob, error_out) &
        bind(c, name="dijitso_mpi_receive_binary_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      type(c_ptr), value :: blob
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_receive_binary_fint

    function c_dijitso_mpi_bcast_uuid_fint(comm, uuid_out, error_out) &
        bind(c, name="dijitso_mpi_bcast_uuid_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int64_t), intent(out), optional :: uuid_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_bcast_uuid_fint

    function c_dijitso_mpi_gather_global_partitions_fint(comm, partition, partitions_out, capacity, count_out, &
        error_out) &
        bind(c, name="dijitso_mpi_gather_global_partitions_fint") result(answer)
      import
      integer(c_int32_t), value :: comm
      integer(c_int64_t), value :: partition
      integer(c_int64_t), dimension(*), intent(inout), optional :: partitions_out
      integer(c_int32_t), value :: capacity
      integer(c_int32_t), intent(out), optional :: count_out
      type(c_ptr), intent(out) :: error_out
      integer(c_int32_t) :: answer
    end function c_dijitso_mpi_gather_global_partitions_fint
  end interface
end module dijitso_c
