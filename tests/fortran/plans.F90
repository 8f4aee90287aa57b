! Build plans: tasks, generated modules and texts, a node that fails, nodes that a callback adds; alone and on ranks.
#if FAMILY == 0
#define COMM_ARGUMENT
#else
#define COMM_ARGUMENT comm=MPI_COMM_WORLD,
#endif
program plans
#if FAMILY == 1
  use dijitso
  use check
  implicit none
  include 'mpif.h'
#elif FAMILY == 2
  use mpi
  use dijitso
  use check
  implicit none
#elif FAMILY == 3
  use mpi_f08
  use dijitso_mpi_f08
  use check
  implicit none
#else
  use dijitso
  use check
  implicit none
#endif
  type :: tally
    integer :: calls = 0
    logical :: fails = .false.
  end type tally

  type(dijitso_plan) :: plan, copy
  type(dijitso_params) :: params
  type(dijitso_library) :: library
  type(dijitso_error) :: error
  type(tally), target :: of_mesh, of_bad, of_form
  integer :: mesh, table, bad, blocked, form, source, parts, status
  character(:), allocatable :: message
  character(1024) :: work
#if FAMILY > 0
  call MPI_Init(status)
#endif
  call get_command_argument(1, work)
  call params%set('cache.cache_dir', trim(work)//'/cache')
  call plan%new('fortran', params)
  call plan%add_task(mesh, 'mesh', run, context=of_mesh)
  call plan%add_task(table, 'table', run, label='a table', params_json='{"degree": 2}', needs=[mesh])
  of_bad%fails = .true.
  call plan%add_task(bad, 'bad', run, context=of_bad, needs=[mesh])
  call plan%add_task(blocked, 'blocked', run, after=[bad])
  call plan%add_module(form, 'square', generate, context=of_form, after=[table])
  call plan%add_source(source, 'four', 'extern "C" double square(double x); extern "C" double fourth(double x) '// &
    '{ return square(square(x)); }', needs=[form])
  call plan%add_task(parts, 'parts', run)
  copy = plan

  ! One fails, one is blocked, the others are done: the same error on all ranks.
  call dijitso_plan_make(plan, COMM_ARGUMENT stat=status, errmsg=message)
  call expect(status == DIJITSO_ERROR_GENERATE, 'a callback has failed: '//message)
  call expect_text(message, '1 of 9 nodes failed and 1 are blocked: "bad": ')
  call expect_text(message, 'returned 5: not today')
  call expect(copy%state(mesh) == DIJITSO_NODE_DONE .and. copy%state(bad) == DIJITSO_NODE_FAILED, 'states')
  call expect(plan%state(blocked) == DIJITSO_NODE_BLOCKED .and. plan%state(99) == -1, 'states')
  call plan%check(blocked, error=error)
  call expect_text(error%message, '"bad", which it needs, has failed')
  call expect(plan%result(table) == 'mesh and {"degree": 2}', plan%result(table))
  call expect(plan%result(mesh, 'points/x') == '0 1', 'a file')
  message = plan%result(bad, stat=status)
  call expect(status == DIJITSO_ERROR_GENERATE .and. message == '', 'no result')
  call expect(plan%result(parts) == 'left right', plan%result(parts))
  call expect(plan%find('a table') == table .and. plan%find('x') == DIJITSO_NODE_NONE, 'labels')
  call expect(plan%label(form) == 'square' .and. len(plan%signature(form)) > 30, 'signatures')
  call plan%library(source, library)
  call expect(abs(evaluate(library%symbol('fourth'), 2.0_c_double) - 16) < 1e-12_c_double, 'the fourth power')

  of_bad%fails = .false.
  of_mesh%calls = 0
  of_form%calls = 0
  call dijitso_plan_make(plan, COMM_ARGUMENT targets=[blocked, form], jobs=1, retries=1, fail_fast=.true.)
  call expect(plan%state(blocked) == DIJITSO_NODE_DONE, 'the rest is made')
  call expect(of_mesh%calls == 0 .and. of_form%calls == 0, 'what is in the cache is not made again')
  call plan%cancel()
  call dijitso_plan_make(plan, COMM_ARGUMENT force=.true., stat=status)
  call expect(status == DIJITSO_ERROR_CANCELLED, 'the make is cancelled')
  call plan%save(trim(work)//'/plan.toml', stat=status, errmsg=message)
  call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, 'callbacks are not written')
  call plan%need(mesh, mesh, error=error)
  call expect_text(error%message, 'needs itself')
  call plan%free()
  call expect(.not. copy%is_open() .and. .not. plan%is_open(), 'a plan is freed for all copies')
  call plan%make(stat=status, errmsg=message)
  call expect(status == DIJITSO_ERROR_INVALID_ARGUMENT, message)
#if FAMILY > 0
  call MPI_Finalize(status)
#endif
  call finish()
contains
  recursive subroutine run(task, context, stat)
    class(dijitso_task), intent(inout) :: task
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    character(:), allocatable :: label
    integer :: left, right
    stat = 0
    if (present(context)) then
      select type (context)
      type is (tally)
        context%calls = context%calls + 1
        if (context%fails) then
          call task%set_error('not today')
          stat = 5
          return
        end if
      end select
    end if
    label = plan%label(task%node())
    if (label == 'parts' .and. task%need_count() == 0) then
      call plan%add_task(left, 'left', run, label='left')
      call plan%add_task(right, 'right', run, label='right')
      call task%need(left)
      call task%need(right)
    else if (label == 'parts') then
      call task%set_result(task%need_result(1)//' '//task%need_result(2))
    else if (label == 'a table') then
      call task%set_result(task%need_result(1)//' and '//task%params())
    else
      call task%set_result(label)
      call task%add_file('points/x', '0 1')
    end if
  end subroutine

  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    select type (context)
    type is (tally)
      context%calls = context%calls + 1
    end select
    call source%set_code('extern "C" double '//name//'(double x) { return x * x; }')
    stat = 0
  end subroutine
end program plans
