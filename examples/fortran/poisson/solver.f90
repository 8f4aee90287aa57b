! Finite differences with five points on the unit square, distributed by rows, and conjugate gradients.
module solver
  use, intrinsic :: iso_c_binding, only: c_double
  use mpi_f08
  use kernel, only: tabulate_procedure
  implicit none
  private
  public :: solve

  type :: grid
    integer :: n = 0, first = 0, last = 0, below = MPI_PROC_NULL, above = MPI_PROC_NULL
    type(MPI_Comm) :: comm
    real(c_double), allocatable :: kx(:, :), ky(:, :)
  end type grid
contains
  ! Solves with n intervals in each direction. Gives the L2 error and the number of iterations.
  subroutine solve(tabulate, n, comm, error, iterations)
    procedure(tabulate_procedure), pointer, intent(in) :: tabulate
    integer, intent(in) :: n
    type(MPI_Comm), intent(in) :: comm
    real(c_double), intent(out) :: error
    integer, intent(out) :: iterations
    real(c_double), parameter :: pi = acos(-1d0)
    type(grid) :: g
    real(c_double), allocatable, dimension(:, :) :: u, p, r, q, f
    real(c_double) :: rr, rr_before, rr_first, alpha
    integer :: rank, size, i, j

    call MPI_Comm_rank(comm, rank)
    call MPI_Comm_size(comm, size)
    g%n = n
    g%comm = comm
    g%first = 1 + rank*(n - 1)/size
    g%last = (rank + 1)*(n - 1)/size
    if (rank > 0) g%below = rank - 1
    if (rank < size - 1) g%above = rank + 1
    allocate (g%kx(n, g%first:g%last), g%ky(n - 1, g%first:g%last + 1), f(n - 1, g%first:g%last))
    call tabulate(n, g%first, g%last, g%kx, g%ky, f)

    ! Rows and columns outside are the boundary, which is zero, or belong to neighbours.
    allocate (u(0:n, g%first - 1:g%last + 1), source=0d0)
    allocate (p, q, source=u)
    allocate (r, source=f)
    p(1:n - 1, g%first:g%last) = r
    rr = product_of(r, r, comm)
    rr_first = rr
    iterations = 0
    do while (rr > 1d-20*rr_first .and. iterations < 10*n)
      call apply(g, p, q)
      associate (inner_p => p(1:n - 1, g%first:g%last), inner_q => q(1:n - 1, g%first:g%last))
        alpha = rr/product_of(inner_p, inner_q, comm)
        u(1:n - 1, g%first:g%last) = u(1:n - 1, g%first:g%last) + alpha*inner_p
        r = r - alpha*inner_q
        rr_before = rr
        rr = product_of(r, r, comm)
        inner_p = r + (rr/rr_before)*inner_p
      end associate
      iterations = iterations + 1
    end do

    do j = g%first, g%last
      do i = 1, n - 1
        r(i, j) = u(i, j) - sin(pi*i/n)*sin(pi*j/n)
      end do
    end do
    error = sqrt(product_of(r, r, comm))/n
  end subroutine

  ! q = A p
  subroutine apply(g, p, q)
    type(grid), intent(in) :: g
    real(c_double), intent(inout) :: p(0:, g%first - 1:)
    real(c_double), intent(inout) :: q(0:, g%first - 1:)
    integer :: i, j, n
    n = g%n
    call MPI_Sendrecv(p(:, g%last), n + 1, MPI_DOUBLE_PRECISION, g%above, 0, &
      p(:, g%first - 1), n + 1, MPI_DOUBLE_PRECISION, g%below, 0, g%comm, MPI_STATUS_IGNORE)
    call MPI_Sendrecv(p(:, g%first), n + 1, MPI_DOUBLE_PRECISION, g%below, 1, &
      p(:, g%last + 1), n + 1, MPI_DOUBLE_PRECISION, g%above, 1, g%comm, MPI_STATUS_IGNORE)
    do j = g%first, g%last
      do i = 1, n - 1
        q(i, j) = n**2*(g%kx(i, j)*(p(i, j) - p(i - 1, j)) + g%kx(i + 1, j)*(p(i, j) - p(i + 1, j)) &
          + g%ky(i, j)*(p(i, j) - p(i, j - 1)) + g%ky(i, j + 1)*(p(i, j) - p(i, j + 1)))
      end do
    end do
  end subroutine

  function product_of(a, b, comm) result(total)
    real(c_double), intent(in) :: a(:, :), b(:, :)
    type(MPI_Comm), intent(in) :: comm
    real(c_double) :: total
    call MPI_Allreduce(sum(a*b), total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, comm)
  end function
end module solver
