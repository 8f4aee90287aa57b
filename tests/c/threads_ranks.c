/* Two threads on every rank, each on its own duplicate of MPI_COMM_WORLD. Skipped if MPI does not provide
 * MPI_THREAD_MULTIPLE. usage: threads_ranks WORK */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 2, ROUNDS = 4, HITS = 50 };

struct thread {
    pthread_t id;
    int number;
    MPI_Comm comm;
    const char *directory;
};

/* Checks that all ranks of a communicator have the same status. Collective over comm. */
static void check_same_status(MPI_Comm comm, dijitso_status status)
{
    int least = status, most = status;
    MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_INT, MPI_MIN, comm);
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT, MPI_MAX, comm);
    CHECK(least == most);
}

static void ask(const struct thread *self, const char *name, int value, const dijitso_params *params)
{
    struct integer integer = {value, 0, NULL, NULL};
    struct outcome outcome = jit_integer(name, params, &integer, self->comm);
    check_same_status(self->comm, outcome.status);
    CHECK_OUTCOME(outcome, value + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED) | ORIGIN(MEMORY));
    for (int hit = 0; hit < HITS; ++hit)
        CHECK_OUTCOME(jit_integer(name, params, &integer, self->comm), value + INCLUDED_VALUE, ORIGIN(MEMORY));
}

static void *run(void *argument)
{
    const struct thread *const self = argument;
    for (int round = 0; round < ROUNDS; ++round) {
        struct integer refusing = {0, 0, NULL, "not today"};
        dijitso_params *const params =
            params_with(self->directory, "parallel.buildon", strategies[(round + self->number) % 3], NULL);
        struct outcome outcome;
        char name[64];
        /* A name of both threads, a name of this thread, and a name that fails. */
        snprintf(name, sizeof name, "both_%d", round);
        ask(self, name, 100 + round, params);
        snprintf(name, sizeof name, "own_%d_%d", self->number, round);
        ask(self, name, 200 + 10 * self->number + round, params);
        snprintf(name, sizeof name, "refused_%d_%d", self->number, round);
        outcome = jit_integer(name, params, &refusing, self->comm);
        check_same_status(self->comm, outcome.status);
        CHECK(outcome.status == DIJITSO_ERROR_GENERATE);
        if (outcome.error != NULL)
            CHECK_CONTAINS(dijitso_error_message(outcome.error), "not today");
        outcome_free(&outcome);
        dijitso_params_free(params);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct thread threads[THREADS];
    int provided = MPI_THREAD_SINGLE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_state.rank);
    if (provided < MPI_THREAD_MULTIPLE) {
        printf("skipped: this MPI gives thread level %d and not MPI_THREAD_MULTIPLE\n", provided);
        return ranks_finish();
    }
    for (int i = 0; i < THREADS; ++i) {
        threads[i].number = i;
        /* The first half of the ranks shares one directory; the others have their own. */
        threads[i].directory = ranks_rank() < (ranks_size() + 1) / 2 ? path_of("%s/shared", argv[1])
                                                                     : path_of("%s/own-%d", argv[1], ranks_rank());
        MPI_Comm_dup(MPI_COMM_WORLD, &threads[i].comm);
    }
    for (int i = 0; i < THREADS; ++i)
        if (!CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0))
            MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < THREADS; ++i)
        CHECK(pthread_join(threads[i].id, NULL) == 0);
    for (int i = 0; i < THREADS; ++i)
        MPI_Comm_free(&threads[i].comm);
    return ranks_finish();
}
