! The part to read: two libraries in Fortran, made from the expression of the coefficient.
module kernel
  use dijitso_mpi_f08
  use mpi_f08, only: MPI_Comm
  implicit none
  private
  public :: load

  abstract interface
    ! Gives the coefficient between neighbouring points of rows first to last, and the source term there.
    subroutine tabulate_procedure(n, first, last, kx, ky, f) bind(c)
      import :: c_int, c_double
      integer(c_int), value :: n, first, last
      real(c_double), intent(out) :: kx(n, first:last), ky(n - 1, first:last + 1), f(n - 1, first:last)
    end subroutine
  end interface
  public :: tabulate_procedure

  type :: problem
    character(:), allocatable :: kappa
    type(dijitso_params) :: params
  end type problem
contains
  ! Gives the kernel of a coefficient on all ranks of comm, and how this rank got it.
  subroutine load(kappa, cache, comm, tabulate, origin, error)
    character(*), intent(in) :: kappa, cache
    type(MPI_Comm), intent(in) :: comm
    procedure(tabulate_procedure), pointer, intent(out) :: tabulate
    integer, intent(out) :: origin
    type(dijitso_error), intent(out) :: error
    type(problem) :: mine
    type(dijitso_library) :: library
    nullify (tabulate)
    origin = -1
    mine%kappa = kappa
    call mine%params%set('build.language', 'fortran')
    ! The text is part of the signature: another coefficient is another library.
    call mine%params%set('generator.kappa', '"'//kappa//'"')
    if (len(cache) > 0) call mine%params%set('cache.cache_dir', cache)
    call dijitso_jit(library, 'poisson', generate, comm, mine%params, mine, error=error)
    if (error%status /= DIJITSO_OK) return
    origin = library%origin()
    call c_f_procpointer(library%symbol('tabulate'), tabulate)
  end subroutine

  ! Called on one rank, if the library is not there yet. The kernel uses a module of another library, which is built
  ! first; the calls within generate are local to this rank, and both libraries go to the others.
  recursive subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    type(dijitso_library) :: coefficient
    type(dijitso_error) :: error
    stat = 1
    select type (context)
    type is (problem)
      if (name == 'coefficient') then
        call write_coefficient(source, context%kappa)
        stat = 0
        return
      end if
      call dijitso_jit(coefficient, 'coefficient', generate, params=context%params, context=context, error=error)
      if (error%status /= DIJITSO_OK) then
        call source%set_error(error%message)
        return
      end if
      call source%add_dependency(coefficient)
      call source%set_code(kernel_code())
      stat = 0
    end select
  end subroutine

  ! The coefficient takes complex numbers: the imaginary part of kappa(x + ih, y)/h is its derivative.
  subroutine write_coefficient(source, kappa)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: kappa
    call source%add_line('module coefficient')
    call source%add_line('  use, intrinsic :: iso_c_binding, only: dp => c_double')
    call source%add_line('  implicit none')
    call source%add_line('  real(dp), parameter :: pi = acos(-1._dp)')
    call source%add_line('contains')
    call source%add_line('  elemental function kappa(x, y)')
    call source%add_line('    complex(dp), intent(in) :: x, y')
    call source%add_line('    complex(dp) :: kappa')
    call source%add_line('    kappa = cmplx(0, 0, dp)*x*y &')
    call source%add_line('      + ('//kappa//')')
    call source%add_line('  end function')
    call source%add_line('end module')
  end subroutine

  function kernel_code() result(lines)
    character(80), allocatable :: lines(:)
    lines = [character(80) :: &
      'subroutine tabulate(n, first, last, kx, ky, f) bind(c)', &
      '  use, intrinsic :: iso_c_binding, only: c_int', &
      '  use coefficient', &
      '  implicit none', &
      '  integer(c_int), value :: n, first, last', &
      '  real(dp), intent(out) :: kx(n, first:last), ky(n - 1, first:last + 1)', &
      '  real(dp), intent(out) :: f(n - 1, first:last)', &
      '  real(dp), parameter :: tiny = 1e-30_dp', &
      '  real(dp) :: h, x, y, k, kdx, kdy', &
      '  integer :: i, j', &
      '  h = 1._dp/n', &
      '  do j = first, last', &
      '    kx(:, j) = [(real(kappa(point((i - 0.5_dp)*h), point(j*h))), i=1, n)]', &
      '  end do', &
      '  do j = first, last + 1', &
      '    ky(:, j) = [(real(kappa(point(i*h), point((j - 0.5_dp)*h))), i=1, n - 1)]', &
      '  end do', &
      '  do j = first, last', &
      '    do i = 1, n - 1', &
      '      x = i*h', &
      '      y = j*h', &
      '      k = real(kappa(point(x), point(y)))', &
      '      kdx = aimag(kappa(cmplx(x, tiny, dp), point(y)))/tiny', &
      '      kdy = aimag(kappa(point(x), cmplx(y, tiny, dp)))/tiny', &
      '      f(i, j) = 2*pi**2*k*sin(pi*x)*sin(pi*y) &', &
      '        - pi*(kdx*cos(pi*x)*sin(pi*y) + kdy*sin(pi*x)*cos(pi*y))', &
      '    end do', &
      '  end do', &
      'contains', &
      '  elemental complex(dp) function point(x)', &
      '    real(dp), intent(in) :: x', &
      '    point = cmplx(x, 0, dp)', &
      '  end function', &
      'end subroutine']
  end function
end module kernel
