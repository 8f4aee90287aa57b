/* Communicators belong to the host: parts of the world, one rank alone, short-lived ones; dijitso leaves no trace on
 * them. */
#include "ranks.h"

static const char *work;

static dijitso_params *shared_params(void)
{
    return params_with(path_of("%s/shared", work), NULL);
}

/* Even and odd ranks want different libraries at the same time, each in its own communicator. */
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

/* MPI_COMM_SELF on one rank must not want the others, who go on to a barrier. */
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

/* Defect C21 of the original: communicators were never freed. Each is given back; mixed.c has more of them than an MPI
 * has room for. */
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

static void count_error(MPI_Comm *comm, int *code, ...)
{
    (void)comm, (void)code;
    ++check_state.failures;
}

/* The host's error handler is the same object before and after, and nothing of ours calls it. */
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

/* A message of the host that is on its way on the same communicator stays the host's. */
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
    short_lived(100); /* mixed.c goes through more than an MPI has room for */
    return ranks_finish();
}
