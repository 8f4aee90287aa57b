/* Rank 0 enters a call with an unfinished send of 64 MiB. Rank 1 receives it first, which blocks until rank 0 lets MPI
 * proceed, and then enters the call. The limit grows with the time of the same message if rank 0 waits for it in MPI: on
 * a machine that is busy with other things both take longer. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <stdlib.h>
#include <time.h>

enum { LENGTH = 64 << 20 };

/* Sends the message while rank 0 waits for it in MPI. Returns the time on rank 1. */
static double send_and_wait(char *data)
{
    double begin;
    ranks_barrier();
    begin = MPI_Wtime();
    if (ranks_rank() == 0)
        MPI_Send(data, LENGTH, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
    else if (ranks_rank() == 1)
        MPI_Recv(data, LENGTH, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return MPI_Wtime() - begin;
}

static void send_and_call(const char *name, dijitso_params *params, double delay)
{
    struct integer integer = {7, 0, NULL, NULL};
    char *const data = malloc(LENGTH);
    MPI_Request request = MPI_REQUEST_NULL;
    double begin, in_mpi;
    check_case("rank 1 receives after %.1f s", delay);
    if (!CHECK(data != NULL))
        return;
    memset(data, ranks_rank() == 0 ? 5 : 0, LENGTH);
    in_mpi = send_and_wait(data);
    memset(data, ranks_rank() == 0 ? 5 : 0, LENGTH);
    ranks_barrier();
    begin = MPI_Wtime();
    if (ranks_rank() == 0) {
        MPI_Isend(data, LENGTH, MPI_CHAR, 1, 0, MPI_COMM_WORLD, &request);
    } else if (ranks_rank() == 1) {
        const struct timespec time = {(time_t)delay, (long)((delay - (double)(time_t)delay) * 1e9)};
        nanosleep(&time, NULL);
        MPI_Recv(data, LENGTH, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(MPI_Wtime() - begin < delay + 3.0 + 4 * in_mpi);
        CHECK(data[0] == 5 && data[LENGTH - 1] == 5);
    }
    CHECK_OUTCOME(jit_integer(name, params, &integer, MPI_COMM_WORLD), 7 + INCLUDED_VALUE, ANY_ORIGIN);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    free(data);
}

int main(int argc, char **argv)
{
    dijitso_params *params;
    ranks_start(&argc, &argv);
    params = params_with(path_of("%s/cache", argv[1]), NULL);
    send_and_call("first", params, 0.5);
    send_and_call("second", params, 0.0);
    send_and_call("third", params, 2.0);
    dijitso_params_free(params);
    return ranks_finish();
}
