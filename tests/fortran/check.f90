! What the test programs share: a check that names its line, and kernels.
module check
  use, intrinsic :: iso_fortran_env, only: error_unit
  use, intrinsic :: iso_c_binding
  implicit none
  integer, save :: checks = 0
  character(*), parameter :: square_code = 'extern "C" double square(double x) { return x * x; }'

  abstract interface
    function real_function(x) bind(c)
      import :: c_double
      real(c_double), value :: x
      real(c_double) :: real_function
    end function
  end interface
contains
  ! Stops the program unless this holds.
  subroutine expect(holds, what)
    logical, intent(in) :: holds
    character(*), intent(in) :: what
    checks = checks + 1
    if (holds) return
    write (error_unit, '(2a)') 'this does not hold: ', what
    error stop 1
  end subroutine

  subroutine expect_text(text, wanted)
    character(*), intent(in) :: text, wanted
    checks = checks + 1
    if (index(text, wanted) > 0) return
    write (error_unit, '(4a)') 'there is no "', wanted, '" in: ', text
    error stop 1
  end subroutine

  function evaluate(address, x) result(y)
    type(c_funptr), intent(in) :: address
    real(c_double), intent(in) :: x
    real(c_double) :: y
    procedure(real_function), pointer :: f
    call c_f_procpointer(address, f)
    y = f(x)
  end function

  subroutine finish()
    print '(i0,a)', checks, ' checks'
  end subroutine
end module check
