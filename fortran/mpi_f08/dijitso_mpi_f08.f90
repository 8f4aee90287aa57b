! SPDX-License-Identifier: MIT OR Apache-2.0
!
! Module dijitso, and its calls with communicators of mpi_f08.

module dijitso_mpi_f08
  use mpi_f08, only: MPI_Comm
  use dijitso
  use dijitso_errors, only: settle
  implicit none
  private :: MPI_Comm, settle, jit, jit_many, jit_source, jit_source_lines, jit_start, plan_make

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
  interface dijitso_plan_make
    procedure plan_make
  end interface
contains
  recursive subroutine jit(library, name, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    procedure(dijitso_generate), optional :: generate
    type(MPI_Comm), intent(in) :: comm
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
    call dijitso_jit(library, name, generate, comm%MPI_VAL, params, context, error=what, poll=poll, &
      send=send, receive=receive, wait=wait)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  recursive subroutine jit_many(libraries, names, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_library), allocatable, intent(inout) :: libraries(:)
    character(*), intent(in) :: names(:)
    procedure(dijitso_generate), optional :: generate
    type(MPI_Comm), intent(in) :: comm
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
    call dijitso_jit_many(libraries, names, generate, comm%MPI_VAL, params, context, error=what, poll=poll, &
      send=send, receive=receive, wait=wait)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  recursive subroutine jit_source(library, name, code, comm, params, header, dependencies, stat, errmsg, error)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    character(*), intent(in) :: code
    type(MPI_Comm), intent(in) :: comm
    type(dijitso_params), intent(in), optional :: params
    character(*), intent(in), optional :: header
    type(dijitso_library), intent(in), optional :: dependencies(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call dijitso_jit_source(library, name, code, comm%MPI_VAL, params, header, dependencies, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  recursive subroutine jit_source_lines(library, name, code, comm, params, header, dependencies, stat, errmsg, &
      error)
    type(dijitso_library), intent(inout) :: library
    character(*), intent(in) :: name
    character(*), intent(in) :: code(:)
    type(MPI_Comm), intent(in) :: comm
    type(dijitso_params), intent(in), optional :: params
    character(*), intent(in), optional :: header
    type(dijitso_library), intent(in), optional :: dependencies(:)
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call dijitso_jit_source(library, name, code, comm%MPI_VAL, params, header, dependencies, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  recursive subroutine jit_start(pending, name, generate, comm, params, context, stat, errmsg, error, poll, &
      send, receive, wait)
    type(dijitso_pending), intent(inout) :: pending
    character(*), intent(in) :: name
    procedure(dijitso_generate), optional :: generate
    type(MPI_Comm), intent(in) :: comm
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
    call dijitso_jit_start(pending, name, generate, comm%MPI_VAL, params, context, error=what, poll=poll, &
      send=send, receive=receive, wait=wait)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine

  recursive subroutine plan_make(plan, comm, targets, jobs, retries, fail_fast, force, load, poll, context, stat, &
      errmsg, error)
    type(dijitso_plan), intent(inout) :: plan
    type(MPI_Comm), intent(in) :: comm
    integer, intent(in), optional :: targets(:), jobs, retries
    logical, intent(in), optional :: fail_fast, force, load
    procedure(dijitso_poll), optional :: poll
    class(*), intent(inout), optional, target :: context
    integer, intent(out), optional :: stat
    character(:), allocatable, intent(inout), optional :: errmsg
    type(dijitso_error), intent(out), optional :: error
    type(dijitso_error) :: what
    call plan%make(comm%MPI_VAL, targets, jobs, retries, fail_fast, force, load, poll, context, error=what)
    call settle(what, stat, error)
    if (present(errmsg)) errmsg = what%message
  end subroutine
end module dijitso_mpi_f08
