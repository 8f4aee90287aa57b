! Calls on all ranks of a communicator, in the family of bindings that FAMILY names: failing ranks first.
program ranks
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
#else
  use mpi_f08
  use dijitso_mpi_f08
  use check
  implicit none
#endif
#if FAMILY == 3
  type(MPI_Comm) :: world, part
#else
  integer :: world, part
#endif

  type :: counter
    integer :: rank = -1
    integer :: failing = -1
    integer :: calls = 0
  end type counter

  type(counter), target :: count
  integer :: ierr, size, status
  character(:), allocatable :: message
  character(1024) :: work

  call get_command_argument(1, work)
  call MPI_Init(ierr)
  world = MPI_COMM_WORLD
  call MPI_Comm_rank(world, count%rank, ierr)
  call MPI_Comm_size(world, size, ierr)

  call generate_fails_on_the_last_rank()
  call generate_fails_on_the_builder()
  call compiler_refuses()
  call one_rank_builds()
  call many_with_one_failure()
  call started_and_finished()
  call text_and_part_of_the_ranks()
  call transport_of_the_program()
  if (count%rank == 0) call finish()
  call MPI_Finalize(ierr)
contains
  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    stat = 0
    select type (context)
    type is (counter)
      context%calls = context%calls + 1
      if (context%rank == context%failing .or. name == 'bad') then
        call source%set_error('no form for '//name//', says é')
        stat = 7
        return
      end if
    class default
      error stop 'the context is another one'
    end select
    if (name == 'refused') then
      call source%set_code('this is not C++')
    else
      call source%set_code('extern "C" double '//name//'(double x) { return x * x; }')
    end if
  end subroutine

  integer function total(number)
    integer, intent(in) :: number
    call MPI_Allreduce(number, total, 1, MPI_INTEGER, MPI_SUM, world, ierr)
  end function

  ! Every rank has the status and the text of rank 0.
  subroutine expect_the_same(status, text)
    integer, intent(in) :: status
    character(*), intent(in) :: text
    integer, dimension(4096) :: own, first
    integer :: i
    own = 0
    own(:len(text) + 1) = [status, (ichar(text(i:i)), i=1, len(text))]
    first = own
    call MPI_Bcast(first, 4096, MPI_INTEGER, 0, world, ierr)
    call expect(own(1) == first(1), 'the status is that of rank 0')
    call expect(all(own == first), 'the message is that of rank 0')
  end subroutine

  function params_for(cache) result(text)
    character(*), intent(in) :: cache
    character(:), allocatable :: text
    text = trim(work)//'/'//cache
  end function

  subroutine generate_fails_on_the_last_rank()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    type(dijitso_error) :: error
    character(8) :: number
    write (number, '(i0)') count%rank
    call params%set('cache.cache_dir', params_for('process '//trim(number)))
    call params%set('parallel.buildon', 'process')
    count%failing = size - 1
    call dijitso_jit(library, 'square', generate, world, params, count, status, message, error)
    call expect(status == DIJITSO_ERROR_GENERATE, 'generate has failed')
    call expect_text(message, 'no form for square, says é')
    call expect_the_same(status, message)
    call expect(error%status == status .and. error%message == message, 'the error is that of stat and errmsg')
    call expect(error%rank == size - 1, 'the error names the rank')
    call expect(.not. library%is_loaded(), 'there is no library')
    count%failing = -1
    call dijitso_jit(library, 'square', generate, world, params, count, status, message)
    call expect(status == DIJITSO_OK, 'the next call is made as if nothing had happened: '//message)
    call expect(evaluate(library%symbol('square'), 3d0) == 9, '3 squared is 9')
  end subroutine

  subroutine generate_fails_on_the_builder()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    call params%set('cache.cache_dir', params_for('shared'))
    call dijitso_jit(library, 'bad', generate, world, params, count, status, message)
    call expect(status == DIJITSO_ERROR_GENERATE, 'generate has failed')
    call expect_text(message, 'no form for bad, says é')
    call expect_the_same(status, message)
    ! A name that is none, on one rank only.
    call dijitso_jit(library, merge('../evil', 'square ', count%rank == size - 1), generate, world, params, count, &
      status, message)
    call expect(status /= DIJITSO_OK, 'a bad name on one rank fails on all')
    call expect_the_same(status, message)
  end subroutine

  subroutine compiler_refuses()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    type(dijitso_error) :: error
    call params%set('cache.cache_dir', params_for('shared'))
    call dijitso_jit(library, 'refused', generate, world, params, count, error=error)
    call expect(error%status == DIJITSO_ERROR_COMPILE, 'the compiler has failed')
    call expect(len(error%log) > 0 .and. len(error%path) > 0, 'there are a log and a folder')
    call expect_the_same(error%status, error%message)
  end subroutine

  subroutine one_rank_builds()
    type(dijitso_params) :: params
    type(dijitso_library) :: library, again
    call params%set('cache.cache_dir', params_for('shared'))
    count%calls = 0
    call dijitso_jit(library, 'once', generate, world, params, count)
    call expect(total(count%calls) == 1, 'one rank has generated')
    call expect(evaluate(library%symbol('once'), 4d0) == 16, '4 squared is 16')
    call dijitso_jit(again, 'once', generate, world, params, count)
    call expect(again%origin() == DIJITSO_ORIGIN_MEMORY, 'the second call is answered from memory')
    call expect(total(count%calls) == 1, 'nobody has generated again')
  end subroutine

  subroutine many_with_one_failure()
    type(dijitso_params) :: params
    type(dijitso_library), allocatable :: libraries(:)
    call params%set('cache.cache_dir', params_for('shared'))
    call dijitso_jit_many(libraries, [character(8) :: 'first', 'bad', 'second'], generate, world, params, count, &
      status, message)
    call expect(status == DIJITSO_ERROR_GENERATE, 'one has failed')
    call expect_the_same(status, message)
    call expect(all([libraries(1)%is_loaded(), .not. libraries(2)%is_loaded(), libraries(3)%is_loaded()]), &
      'the others are there')
    call expect(evaluate(libraries(3)%symbol('second'), 5d0) == 25, '5 squared is 25')
    call dijitso_jit_many(libraries, [character(8) :: 'first', 'second'], generate, world, params, count)
    call expect(libraries(2)%origin() == DIJITSO_ORIGIN_MEMORY, 'the second time they are in memory')
  end subroutine

  subroutine started_and_finished()
    type(dijitso_params) :: params
    type(dijitso_pending) :: mass, stiffness
    type(dijitso_library) :: library
    call params%set('cache.cache_dir', params_for('shared'))
    count%calls = 0
    call dijitso_jit_start(mass, 'mass', generate, world, params, count)
    call dijitso_jit_start(stiffness, 'stiffness', generate, world, params, count)
    call expect(mass%is_started() .and. stiffness%is_started(), 'both are started')
    call dijitso_jit_finish(stiffness, library)
    call expect(evaluate(library%symbol('stiffness'), 2d0) == 4, '2 squared is 4')
    call dijitso_jit_finish(mass, library)
    call expect(evaluate(library%symbol('mass'), 2d0) == 4, '2 squared is 4')
    call expect(.not. mass%is_started() .and. total(count%calls) == 2, 'each was generated once')
    call dijitso_jit_start(mass, 'bad', generate, world, params, count)
    call dijitso_jit_finish(mass, library, status, message)
    call expect(status == DIJITSO_ERROR_GENERATE .and. .not. library%is_loaded(), 'generate has failed')
    call expect_the_same(status, message)
  end subroutine

  subroutine text_and_part_of_the_ranks()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    call params%set('cache.cache_dir', params_for('shared'))
    call dijitso_jit_source(library, 'text', square_code, world, params)
    call expect(evaluate(library%symbol('square'), 6d0) == 36, '6 squared is 36')
    call dijitso_jit_source(library, 'lines', [character(80) :: '#include "lines.h"', square_code], world, params, &
      stat=status, errmsg=message)
    call expect(status == DIJITSO_ERROR_COMPILE, 'there is no such header')
    call expect_the_same(status, message)
    call MPI_Comm_split(world, mod(count%rank, 2), count%rank, part, ierr)
    call dijitso_jit_source(library, merge('even', 'odd ', mod(count%rank, 2) == 0), square_code, part, params)
    call expect(evaluate(library%symbol('square'), 7d0) == 49, '7 squared is 49')
    call MPI_Comm_free(part, ierr)
  end subroutine

  ! Rank 0 builds, the others receive by callbacks of the program into directories of their own.
  subroutine transport_of_the_program()
    type(dijitso_params) :: params
    type(dijitso_library) :: library
    character(8) :: number
    write (number, '(i0)') count%rank
    call params%set('cache.cache_dir', params_for('own '//trim(number)))
    call params%set('parallel.buildon', 'root')
    count%calls = 0
    call dijitso_jit(library, 'sent', generate, world, params, count, send=send, receive=receive, wait=wait)
    call expect(evaluate(library%symbol('sent'), 8d0) == 64, '8 squared is 64')
    ! One rank has generated; if there are several, each of them has sent or received once, and waited.
    call expect(total(count%calls) == merge(1 + 1000*size, 1, size > 1) + 100000*size, 'the callbacks were called')
  end subroutine

  subroutine send(bytes, context, stat)
    integer(c_int8_t), intent(in) :: bytes(:)
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    integer, allocatable :: words(:)
    integer :: length(1)
    allocate (words, source=int(bytes))
    length = ubound(words)
    call MPI_Bcast(length, 1, MPI_INTEGER, 0, world, ierr)
    call MPI_Bcast(words, length(1), MPI_INTEGER, 0, world, ierr)
    call add(context, 1000)
    stat = 0
  end subroutine

  subroutine receive(blob, context, stat)
    class(dijitso_blob), intent(inout) :: blob
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    integer(c_int8_t), pointer :: bytes(:)
    integer, allocatable :: words(:)
    integer :: length(1)
    call MPI_Bcast(length, 1, MPI_INTEGER, 0, world, ierr)
    allocate (words(length(1)))
    call MPI_Bcast(words, length(1), MPI_INTEGER, 0, world, ierr)
    call blob%resize(int(length(1), c_size_t), bytes)
    bytes = int(words, c_int8_t)
    call add(context, 1000)
    stat = 0
  end subroutine

  subroutine wait(context, stat)
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    call MPI_Barrier(world, ierr)
    call add(context, 100000)
    stat = 0
  end subroutine

  subroutine add(context, number)
    class(*), intent(inout), optional :: context
    integer, intent(in) :: number
    if (.not. present(context)) return
    select type (context)
    type is (counter)
      context%calls = context%calls + number
    end select
  end subroutine
end program ranks
