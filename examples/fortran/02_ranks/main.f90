! A function in Fortran on all ranks of a communicator: one rank generates and compiles it, every rank gets it.
module generator
  use dijitso
  implicit none

  abstract interface
    function real_function(x) bind(c)
      import :: c_double
      real(c_double), value :: x
      real(c_double) :: real_function
    end function
  end interface

  ! What generate needs to know.
  type :: polynomial
    integer :: degree = 0
  end type polynomial
contains
  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    character(12) :: degree
    stat = 1
    select type (context)
    type is (polynomial)
      if (context%degree < 0) then
        call source%set_error('a polynomial has no negative degree')
        return
      end if
      write (degree, '(i0)') context%degree
    class default
      return
    end select
    call source%add_line('pure function '//name//'(x) bind(c)')
    call source%add_line('  use, intrinsic :: iso_c_binding, only: c_double')
    call source%add_line('  implicit none')
    call source%add_line('  real(c_double), value :: x')
    call source%add_line('  real(c_double) :: '//name)
    call source%add_line('  '//name//' = x**'//degree)
    call source%add_line('end function')
    stat = 0
  end subroutine
end module generator

program ranks
  use mpi_f08
  use dijitso_mpi_f08
  use generator
  implicit none
  character(*), parameter :: origins(0:3) = [character(18) :: 'taken from memory', 'found on disk', 'built here', &
    'received']
  type(dijitso_params) :: params
  type(dijitso_library) :: library
  type(polynomial) :: cube
  procedure(real_function), pointer :: evaluate
  character(:), allocatable :: message
  character(80) :: line
  integer :: rank, size, source, status

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, size)

  cube%degree = 3
  call params%set('build.language', 'fortran')
  call params%set('generator.degree', cube%degree)
  call dijitso_jit(library, 'power', generate, MPI_COMM_WORLD, params, cube, status, message)
  if (status /= DIJITSO_OK) then
    ! All ranks are here, with the same message.
    if (rank == 0) print '(2a)', 'error: ', message
    call MPI_Finalize()
    stop 1
  end if
  call c_f_procpointer(library%symbol('power'), evaluate)

  write (line, '(a,i0,a,i0,a,f0.1,2a)') 'rank ', rank, ' of ', size, ': power(2) = ', evaluate(2d0), ', ', &
    trim(origins(library%origin()))
  do source = 0, size - 1
    if (source > 0 .and. rank == source) call MPI_Send(line, len(line), MPI_CHARACTER, 0, 0, MPI_COMM_WORLD)
    if (source > 0 .and. rank == 0) &
      call MPI_Recv(line, len(line), MPI_CHARACTER, source, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE)
    if (rank == 0) print '(a)', trim(line)
  end do
  call MPI_Finalize()
end program ranks
