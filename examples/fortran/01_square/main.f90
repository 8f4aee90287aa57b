program square
  use dijitso
  implicit none
  abstract interface
    function real_function(x) bind(c)
      import :: c_double
      real(c_double), value :: x
      real(c_double) :: real_function
    end function
  end interface
  type(dijitso_library) :: library
  procedure(real_function), pointer :: f

  call dijitso_jit_source(library, 'square', 'extern "C" double square(double x) { return x * x; }')
  call c_f_procpointer(library%symbol('square'), f)
  print '(a, f0.1)', 'square(3) = ', f(3d0)
end program square
