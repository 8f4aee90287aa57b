! The program of the documented interface, word by word.
#if FAMILY == 0
#define COMM_ARGUMENT
#else
#define COMM_ARGUMENT comm=MPI_COMM_WORLD,
#endif
program contract
#if FAMILY == 1
  use dijitso
  implicit none
  include 'mpif.h'
#elif FAMILY == 2
  use mpi
  use dijitso
  implicit none
#elif FAMILY == 3
  use mpi_f08
  use dijitso_mpi_f08
  implicit none
#else
  use dijitso
  implicit none
#endif
  type(dijitso_library) :: library
  type(c_funptr) :: address
  integer :: status
  character(:), allocatable :: message
#if FAMILY > 0
  call MPI_Init(status)
#endif
  call dijitso_jit(library, "square", generate, COMM_ARGUMENT stat=status, errmsg=message)
  address = library%symbol("square")
  if (status /= 0 .or. len(message) /= 0 .or. .not. c_associated(address)) error stop 1
#if FAMILY > 0
  call MPI_Finalize(status)
#endif
contains
  subroutine generate(source, name, context, stat)
    class(dijitso_source), intent(inout) :: source
    character(*), intent(in) :: name
    class(*), intent(inout), optional :: context
    integer, intent(out) :: stat
    call source%set_code('extern "C" double square(double x) { return x * x; }')
    stat = 0
  end subroutine
end program contract
