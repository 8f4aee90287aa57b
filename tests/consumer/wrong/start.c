/* Compiled and linked with another MPI than main.c. */
#include <mpi.h>
#include <stddef.h>

int call_with(void *word);

int main(int argc, char **argv)
{
    int status;
    MPI_Init(&argc, &argv);
    status = call_with((void *)(size_t)MPI_COMM_WORLD);
    MPI_Finalize();
    return status;
}
