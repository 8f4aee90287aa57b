/* Communicators of the host: subsets of the world, one rank alone, short-lived ones. dijitso leaves no trace on them. */
#include "ranks.h"

static const char *work;

static dijitso_params *shared_params(void)
{
    return params_with(path_of("%s/shared", work), NULL);
}

/* Even and odd ranks ask for different libraries at the same time, on a communicator each. */
static void parts(void)
{
    const int odd = ranks_rank() % 2;
    dijitso_params *const params = shared_params();
    struct integer integer = {80 + odd, 0, NULL, NULL};
    MPI_Comm part;
    struct outcome outcome;
    check_case("even and odd ranks");
    MPI_Comm_split(MPI_COMM_WORLD, odd, -ranks_rank(), &part);
    outcome = jit_integer(odd ? "odd" : "even", params, &integer, part);
    ranks_check_same_outcome(part, &outcome);
    CHECK_OUTCOME(outcome, 80 + odd + INCLUDED_VALUE, ANY_ORIGIN);
    CHECK_OUTCOME(jit_integer(odd ? "odd" : "even", params, &integer, part), 80 + odd + INCLUDED_VALUE,
                  ORIGIN(MEMORY));
    MPI_Comm_free(&part);
    CHECK(part == MPI_COMM_NULL);
    dijitso_params_free(params);
}

/* A call on MPI_COMM_SELF must not wait for the other ranks, which go on to a barrier. */
static void one_alone(void)
{
    dijitso_params *const params = shared_params();
    struct integer integer = {90, 0, NULL, NULL};
    check_case("one rank alone");
    if (ranks_rank() == ranks_size() - 1)
        CHECK_OUTCOME(jit_integer("alone", params, &integer, MPI_COMM_SELF), 132, ORIGIN(BUILT));
    ranks_barrier();
    dijitso_params_free(params);
}

/* Defect C21 of the original: it never freed communicators. mixed.c uses more of them than an MPI can have at once. */
static void short_lived(int cycles)
{
    dijitso_params *const params = shared_params();
    struct integer integer = {91, 0, NULL, NULL};
    check_case("short-lived communicators");
    for (int cycle = 0; cycle < cycles && check_state.failures == 0; ++cycle) {
        MPI_Comm comm;
        MPI_Comm_dup(MPI_COMM_WORLD, &comm);
        CHECK_OUTCOME(jit_integer("short_lived", params, &integer, comm), 133, ANY_ORIGIN);
        MPI_Comm_free(&comm);
    }
    CHECK(ranks_sum(integer.calls) == 1);
    dijitso_params_free(params);
}

/* MPI reuses the handle of a freed communicator, possibly for other ranks or another order. No cached state of the first
 * communicator may be used for the second. */
static void reused_handles(void)
{
    enum { ROUNDS = 24, GROUPS = 3 };
    const int rank = ranks_rank(), size = ranks_size();
    dijitso_params *const params = shared_params();
    MPI_Comm before[ROUNDS];
    int made = 0, reused = 0;
    check_case("reused handles");
    for (int round = 0; round < ROUNDS; ++round) {
        /* All ranks, all ranks in reverse order, all ranks but the last. */
        const int group = round % GROUPS;
        const int first = group == 1 ? size - 1 : 0;
        const int belongs = group != 2 || rank < size - 1;
        struct integer integer = {200 + round, 0, NULL, NULL}, last = {200 + round - 1, 0, NULL, NULL};
        MPI_Comm comm;
        struct outcome outcome;
        MPI_Comm_split(MPI_COMM_WORLD, belongs ? 0 : MPI_UNDEFINED, group == 1 ? -rank : rank, &comm);
        if (belongs) {
            int is_reused = 0;
            for (int i = 0; i < made; ++i)
                is_reused = is_reused || comm == before[i];
            reused += is_reused;
            before[made++] = comm;
            outcome = jit_integer(path_of("reused_%d", round), params, &integer, comm);
            ranks_check_same_outcome(comm, &outcome);
            CHECK_OUTCOME(outcome, 200 + round + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK));
            /* The ranks had agreed on it on the previous communicator, so they must agree again. */
            if (round > 0) {
                outcome = jit_integer(path_of("reused_%d", round - 1), params, &last, comm);
                ranks_check_same_outcome(comm, &outcome);
                CHECK_OUTCOME(outcome, 200 + round - 1 + INCLUDED_VALUE, ANY_ORIGIN);
            }
            outcome = jit_integer(path_of("reused_%d", round), params, &integer, comm);
            CHECK_OUTCOME(outcome, 200 + round + INCLUDED_VALUE, ORIGIN(MEMORY));
            /* Rank 0 of this communicator builds, and errors name ranks by its numbers. */
            integer.fail_with = "on purpose";
            outcome = jit_integer(path_of("reused_%d_fails", round), params, &integer, comm);
            CHECK(integer.calls == (rank == first ? 2 : 0));
            CHECK(outcome.error != NULL && dijitso_error_rank(outcome.error) == 0);
            ranks_check_same_outcome(comm, &outcome);
            CHECK_STATUS(outcome.status, DIJITSO_ERROR_GENERATE, outcome.error);
            /* End with a hit, which the thread caches with the handle. */
            CHECK_OUTCOME(jit_integer(path_of("reused_%d", round), params, &last, comm),
                          200 + round + INCLUDED_VALUE, ORIGIN(MEMORY));
            CHECK(last.calls == 0);
            MPI_Comm_free(&comm);
        }
    }
    printf("%d of %d handles were used again on rank %d\n", reused, ROUNDS, rank);
    CHECK(reused > 0);
    dijitso_params_free(params);
}

static void count_error(MPI_Comm *comm, int *code, ...)
{
    (void)comm, (void)code;
    ++check_state.failures;
}

/* dijitso neither replaces nor calls the host's error handler. */
static void error_handler(void)
{
    dijitso_params *const params = shared_params();
    struct integer integer = {92, 0, NULL, NULL}, broken = {93, 0, "#error on purpose\n", NULL};
    MPI_Errhandler mine, found;
    MPI_Comm comm;
    struct outcome outcome;
    check_case("error handler");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_create_errhandler(count_error, &mine);
    MPI_Comm_set_errhandler(comm, mine);
    CHECK_OUTCOME(jit_integer("handler", params, &integer, comm), 134, ANY_ORIGIN);
    outcome = jit_integer("handler_broken", params, &broken, comm);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    MPI_Comm_get_errhandler(comm, &found);
    CHECK(found == mine);
    MPI_Errhandler_free(&found);
    MPI_Errhandler_free(&mine);
    MPI_Comm_free(&comm);
    dijitso_params_free(params);
}

/* dijitso does not receive a pending message of the host on the same communicator. */
static void pending_message(void)
{
    const int next = (ranks_rank() + 1) % ranks_size(), previous = (ranks_rank() + ranks_size() - 1) % ranks_size();
    dijitso_params *const params = shared_params();
    struct integer integer = {94, 0, NULL, NULL};
    int sent = 1000 + ranks_rank(), received = 0;
    MPI_Request requests[2];
    MPI_Status statuses[2];
    check_case("a pending message");
    MPI_Isend(&sent, 1, MPI_INT, next, 0, MPI_COMM_WORLD, &requests[0]);
    CHECK_OUTCOME(jit_integer("pending", params, &integer, MPI_COMM_WORLD), 136, ANY_ORIGIN);
    MPI_Irecv(&received, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &requests[1]);
    MPI_Waitall(2, requests, statuses);
    CHECK(received == 1000 + previous);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    work = argv[1];
    parts();
    one_alone();
    error_handler();
    pending_message();
    reused_handles();
    short_lived(100);
    return ranks_finish();
}
