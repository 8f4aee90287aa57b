! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Questions to a cache, and the version.

module dijitso_tools
  use, intrinsic :: iso_c_binding
  use dijitso_c
  use dijitso_errors
  use dijitso_types
  implicit none
  private

  public :: dijitso_version, dijitso_signature, dijitso_explain, dijitso_library_open, dijitso_cache_stats

  ! Statistics of a cache for the programs on one host.
  type, public :: dijitso_stats
    character(:), allocatable :: host              ! The name of the host.
    integer(c_int64_t) :: memory_hits = 0          ! Calls that were answered from memory.
    integer(c_int64_t) :: disk_hits = 0            ! Calls that found the library in the cache.
    integer(c_int64_t) :: builds = 0               ! Calls that built the library.
    integer(c_int64_t) :: failures = 0             ! Calls whose build failed.
    integer(c_int64_t) :: received = 0             ! Libraries received from another rank.
    integer(c_int64_t) :: waited = 0               ! Calls that waited for another program to build.
    real(c_double) :: compile_seconds = 0          ! Seconds of compiling.
    real(c_double) :: saved_seconds = 0            ! Seconds of compiling that hits have saved.
  end type dijitso_stats

  type :: stats_list
    type(dijitso_stats), allocatable :: hosts(:)
  end type stats_list
contains
  ! Returns the version of the library, such as "0.1.0".
  function dijitso_version() result(version)
    character(:), allocatable :: version
    version = text_of(c_dijitso_version())
  end function

  ! Gives the signature that dijitso_jit uses for a name and parameters on this machine.
  subroutine dijitso_signature(signature, name, params, stat, errmsg, error)
    character(:), allocatable, intent(inout) :: signature
    character(*), intent(in) :: name
    type(dijitso_params), intent(in), optional :: params
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: set, blob, failure
    integer(c_int32_t) :: status
    set = c_null_ptr
    if (present(params)) set = params%address()
    status = c_dijitso_blob_new(blob, failure)
    if (status == DIJITSO_OK) status = c_dijitso_signature(set, c_string(name), blob, failure)
    call take_blob(blob, signature)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Explains why a name is a hit or a miss, or what a signature was built from. Nothing is built.
  subroutine dijitso_explain(text, name, params, json, stat, errmsg, error)
    character(:), allocatable, intent(inout) :: text
    character(*), intent(in) :: name
    type(dijitso_params), intent(in), optional :: params
    logical, intent(in), optional :: json
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: set, blob, failure
    integer(c_int32_t) :: status, as_json
    set = c_null_ptr
    if (present(params)) set = params%address()
    as_json = 0
    if (present(json)) as_json = merge(1, 0, json)
    status = c_dijitso_blob_new(blob, failure)
    if (status == DIJITSO_OK) status = c_dijitso_explain(set, c_string(name), as_json, blob, failure)
    call take_blob(blob, text)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Loads a library of the cache by its signature, with all that it needs. Nothing is built.
  subroutine dijitso_library_open(library, signature, params, stat, errmsg, error)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: signature
    type(dijitso_params), intent(in), optional :: params
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(c_ptr) :: set, address, failure
    integer(c_int32_t) :: status
    set = c_null_ptr
    if (present(params)) set = params%address()
    status = c_dijitso_library_open(set, c_string(signature), address, failure)
    call library%take(address)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  ! Gives the statistics of a cache: hits, builds and failures, counted for each host.
  subroutine dijitso_cache_stats(stats, params, stat, errmsg, error)
    type(dijitso_stats), allocatable, intent(out) :: stats(:)
    type(dijitso_params), intent(in), optional :: params
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    type(stats_list), target :: list
    type(c_ptr) :: set, failure
    integer(c_int32_t) :: status
    set = c_null_ptr
    if (present(params)) set = params%address()
    allocate (list%hosts(0))
    status = c_dijitso_cache_stats(set, c_funloc(take_stats), c_loc(list), failure)
    call move_alloc(list%hosts, stats)
    call report(status, failure, what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  function take_stats(user_data, stats) bind(c, name="") result(stop_visit)
    type(c_ptr), value :: user_data, stats
    integer(c_int32_t) :: stop_visit
    type(stats_list), pointer :: list
    type(c_dijitso_stats), pointer :: from
    type(dijitso_stats), allocatable :: longer(:)
    integer :: count
    call c_f_pointer(user_data, list)
    call c_f_pointer(stats, from)
    count = size(list%hosts)
    allocate (longer(count + 1))
    longer(:count) = list%hosts
    associate (host => longer(count + 1))
      host%host = text_of(from%host)
      host%memory_hits = from%memory_hits
      host%disk_hits = from%disk_hits
      host%builds = from%builds
      host%failures = from%failures
      host%received = from%received
      host%waited = from%waited
      host%compile_seconds = from%compile_seconds
      host%saved_seconds = from%saved_seconds
    end associate
    call move_alloc(longer, list%hosts)
    stop_visit = 0
  end function

  ! Copies the text of a blob and frees the blob.
  subroutine take_blob(blob, text)
    type(c_ptr), intent(in) :: blob
    character(:), allocatable, intent(inout) :: text
    text = text_of(c_dijitso_blob_data(blob), c_dijitso_blob_size(blob))
    call c_dijitso_blob_free(blob)
  end subroutine
end module dijitso_tools
