! Solves -div(kappa grad u) = f on the unit square, where u = sin(pi*x)*sin(pi*y), with kernels made at run time.
! usage: poisson [KAPPA [CACHE_DIRECTORY]]
program poisson
  use, intrinsic :: iso_fortran_env, only: error_unit
  use mpi_f08
  use dijitso_mpi_f08
  use expression, only: to_fortran
  use kernel, only: load, tabulate_procedure
  use solver, only: solve
  implicit none
  procedure(tabulate_procedure), pointer :: tabulate
  type(dijitso_error) :: error
  character(:), allocatable :: kappa, code, message
  real(c_double) :: errors(2), order
  integer :: rank, size, origin, iterations, counts(0:3), n, i

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call MPI_Comm_size(MPI_COMM_WORLD, size)
  kappa = argument(1, '1 + x')
  code = to_fortran(kappa, message)
  ! All ranks have the same arguments, so they all stop here.
  if (len(message) > 0) call fail('the coefficient "'//kappa//'": '//message)

  call load(code, argument(2, ''), MPI_COMM_WORLD, tabulate, origin, error)
  if (error%status /= DIJITSO_OK) call fail(error%message)
  counts = 0
  counts(origin) = 1
  call MPI_Allreduce(MPI_IN_PLACE, counts, 4, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD)

  if (rank == 0) print '(a, i0, 3a)', 'Finite differences on ', size, ' ranks, kappa = ', kappa, &
    new_line('a')//'       n  iterations    L2 error'
  do i = 1, 2
    n = 16*i
    call solve(tabulate, n, MPI_COMM_WORLD, errors(i), iterations)
    if (rank == 0) print '(i8, i12, es12.4)', n, iterations, errors(i)
  end do
  order = log(errors(1)/errors(2))/log(2d0)
  if (rank == 0) then
    print '(a, f4.2)', 'observed order: ', order
    print '(4(a, i0))', 'kernels: ', counts(DIJITSO_ORIGIN_BUILT), ' built, ', counts(DIJITSO_ORIGIN_DISK), &
      ' found on disk, ', counts(DIJITSO_ORIGIN_RECEIVED), ' received'
  end if
  if (abs(order - 2) > 0.1) call fail('the order should be 2')
  call MPI_Finalize()
contains
  function argument(number, default) result(text)
    integer, intent(in) :: number
    character(*), intent(in) :: default
    character(:), allocatable :: text
    character(4096) :: value
    call get_command_argument(number, value)
    text = default
    if (len_trim(value) > 0) text = trim(value)
  end function

  subroutine fail(why)
    character(*), intent(in) :: why
    if (rank == 0) write (error_unit, '(2a)') 'poisson: ', why
    call MPI_Finalize()
    stop 1
  end subroutine
end program poisson
