/* Communicators in mixed use: some ranks alone while others are together, two threads, thousands of cycles, every kind
 * of error handler. What communicators.c, nested.c and mpi_state.c try is not repeated here. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <pthread.h>

static const char *work;

static dijitso_params *params_in(const char *directory)
{
    return params_with(path_of("%s/%s", work, directory), NULL);
}

/* Even ranks are alone, each in MPI_COMM_SELF, all with the same name in one directory, a different number of times on
 * each; odd ranks are together, in a communicator of their own, and are not waited for. */
static void some_alone(void)
{
    const int odd = ranks_rank() % 2;
    dijitso_params *const params = params_in("alone");
    struct integer integer = {50 + odd, 0, NULL, NULL};
    MPI_Comm part;
    check_case("some ranks alone");
    MPI_Comm_split(MPI_COMM_WORLD, odd, 0, &part);
    if (odd) {
        CHECK_OUTCOME(jit_integer("together", params, &integer, part), 51 + INCLUDED_VALUE, ANY_ORIGIN);
    } else {
        for (int i = 0; i <= ranks_rank(); ++i) {
            CHECK_OUTCOME(jit_integer("alone", params, &integer, MPI_COMM_SELF), 50 + INCLUDED_VALUE, ANY_ORIGIN);
            CHECK_OUTCOME(jit_integer(path_of("alone_%d_%d", ranks_rank(), i), params, &integer, MPI_COMM_SELF),
                          50 + INCLUDED_VALUE, ORIGIN(BUILT));
        }
    }
    MPI_Comm_free(&part);
    check_case("all together again");
    integer.value = 52;
    CHECK_OUTCOME(jit_integer("all", params, &integer, MPI_COMM_WORLD), 52 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

/* --- two threads ---------------------------------------------------------------------------------------------------- */

enum { NAMES = 6 };

struct talk {
    MPI_Comm comm;
    dijitso_params *params;
    int number;
    int wrong; /* calls that gave no library or a wrong one */
    const char *names[NAMES];
};

/* The fixture's helpers keep lists for one thread only, so that this one uses the C interface as it is. */
static int32_t generate_number(void *user_data, const char *name, const char *signature, const char *json,
                               dijitso_source *source)
{
    const struct talk *const talk = user_data;
    char code[128];
    (void)name, (void)signature, (void)json;
    snprintf(code, sizeof code, "extern \"C\" int value() { return %d; }\n", 600 + talk->number);
    return dijitso_source_set_code(source, code, strlen(code));
}

static void *talk(void *argument)
{
    struct talk *const talk = argument;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = talk;
    callbacks.generate = generate_number;
    for (int i = 0; i < 3 * NAMES; ++i) {
        dijitso_library *library = NULL;
        dijitso_error *error = NULL;
        dijitso_fn value = NULL;
        const dijitso_status status =
            dijitso_jit(talk->names[i % NAMES], talk->params, &callbacks, talk->comm, &library, &error);
        if (status != DIJITSO_OK) {
            fprintf(stderr, "thread %d: %s\n", talk->number, dijitso_error_message(error));
            ++talk->wrong;
        } else if (dijitso_library_symbol(library, "value", &value, NULL) != DIJITSO_OK
                   || ((int (*)(void))value)() != 600 + talk->number) {
            ++talk->wrong;
        }
        dijitso_error_free(error);
        dijitso_library_free(library);
    }
    return NULL;
}

static void two_threads(int provided)
{
    struct talk talks[2];
    pthread_t threads[2];
    check_case("two communicators in two threads");
    if (provided != MPI_THREAD_MULTIPLE) {
        printf("two threads: not tried, this MPI provides thread level %d\n", provided);
        return;
    }
    for (int i = 0; i < 2; ++i) {
        talks[i].number = i;
        talks[i].wrong = 0;
        talks[i].params = params_in("threads");
        for (int j = 0; j < NAMES; ++j)
            talks[i].names[j] = path_of("thread_%d_%d", i, j);
        MPI_Comm_dup(MPI_COMM_WORLD, &talks[i].comm);
    }
    for (int i = 0; i < 2; ++i)
        CHECK(pthread_create(&threads[i], NULL, talk, &talks[i]) == 0);
    for (int i = 0; i < 2; ++i) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(talks[i].wrong == 0);
        MPI_Comm_free(&talks[i].comm);
        dijitso_params_free(talks[i].params);
    }
}

/* --- error handlers ------------------------------------------------------------------------------------------------- */

static void failures_on(MPI_Comm comm, const char *handler)
{
    dijitso_params *const params = params_in("handlers");
    struct integer healthy = {70, 0, NULL, NULL}, broken = {71, 0, "#error on purpose\n", NULL},
                   refusing = {72, 0, NULL, "not today"};
    const int last = ranks_rank() == ranks_size() - 1;
    struct outcome outcome;

    check_case("%s: wrong source", handler);
    outcome = jit_integer(path_of("%s_broken", handler), params, &broken, comm);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    check_case("%s: generate refuses", handler);
    outcome = jit_integer(path_of("%s_refusing", handler), params, &refusing, comm);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_GENERATE, outcome.error);
    check_case("%s: names differ", handler);
    outcome = jit_integer(last ? "mine" : "yours", params, &healthy, comm);
    if (ranks_size() > 1)
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_RANKS_DISAGREE, outcome.error);
    else
        CHECK_OUTCOME(outcome, 70 + INCLUDED_VALUE, ANY_ORIGIN);
    check_case("%s: a bad name", handler);
    outcome = jit_integer("../bad", params, &healthy, comm);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_INVALID_ARGUMENT, outcome.error);
    check_case("%s: healthy", handler);
    CHECK_OUTCOME(jit_integer(path_of("%s_healthy", handler), params, &healthy, comm), 70 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

/* With errors fatal, a mistake of ours would end the program; with errors returned, it would be seen by nobody. In both
 * cases the communicator keeps its handler, and so does the world, on which handlers of failed calls fall back. */
static void error_handlers(void)
{
    static const char *const names[] = {"fatal", "return"};
    const MPI_Errhandler handlers[] = {MPI_ERRORS_ARE_FATAL, MPI_ERRORS_RETURN};
    for (int i = 0; i < 2; ++i) {
        MPI_Errhandler found, world;
        MPI_Comm comm;
        MPI_Comm_dup(MPI_COMM_WORLD, &comm);
        MPI_Comm_set_errhandler(comm, handlers[i]);
        failures_on(comm, names[i]);
        MPI_Comm_get_errhandler(comm, &found);
        MPI_Comm_get_errhandler(MPI_COMM_WORLD, &world);
        check_case("%s: the handler stays", names[i]);
        CHECK(found == handlers[i]);
        CHECK(world == MPI_ERRORS_ARE_FATAL);
        MPI_Errhandler_free(&found);
        MPI_Errhandler_free(&world);
        MPI_Comm_free(&comm);
    }
}

/* The library's mark on a communicator is not inherited by its duplicates, nor lost with them. */
static void duplicates(void)
{
    dijitso_params *const params = params_in("duplicates");
    struct integer integer = {75, 0, NULL, NULL};
    MPI_Comm first, second;
    check_case("duplicates");
    MPI_Comm_dup(MPI_COMM_WORLD, &first);
    CHECK_OUTCOME(jit_integer("duplicates", params, &integer, first), 75 + INCLUDED_VALUE, ANY_ORIGIN);
    MPI_Comm_dup(first, &second);
    CHECK_OUTCOME(jit_integer("duplicates", params, &integer, second), 75 + INCLUDED_VALUE, ANY_ORIGIN);
    MPI_Comm_free(&second);
    CHECK_OUTCOME(jit_integer("duplicates", params, &integer, first), 75 + INCLUDED_VALUE, ORIGIN(MEMORY));
    MPI_Comm_free(&first);
    dijitso_params_free(params);
}

/* Ranks of two groups that talk across have no order in which they could agree. */
static void between_groups(void)
{
    const int odd = ranks_rank() % 2;
    dijitso_params *const params = params_in("between");
    struct integer integer = {76, 0, NULL, NULL};
    struct outcome outcome;
    MPI_Comm part, between;
    if (ranks_size() < 2)
        return;
    check_case("an inter-communicator");
    MPI_Comm_split(MPI_COMM_WORLD, odd, 0, &part);
    MPI_Intercomm_create(part, 0, MPI_COMM_WORLD, 1 - odd, 0, &between);
    outcome = jit_integer("between", params, &integer, between);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_INVALID_ARGUMENT, outcome.error);
    CHECK(integer.calls == 0);
    MPI_Comm_free(&between);
    MPI_Comm_free(&part);
    dijitso_params_free(params);
}

/* MPI has room for some thousand communicators (MPICH for 2048), and each cycle takes two: that this ends is the proof
 * that none is kept. */
static void cycles(int count)
{
    dijitso_params *const params = params_in("cycles");
    struct integer integer = {77, 0, NULL, NULL};
    const double start = now();
    check_case("cycles");
    for (int cycle = 0; cycle < count && check_state.failures == 0; ++cycle) {
        MPI_Comm comm;
        MPI_Comm_dup(MPI_COMM_WORLD, &comm);
        CHECK_OUTCOME(jit_integer("cycles", params, &integer, comm), 77 + INCLUDED_VALUE, ANY_ORIGIN);
        CHECK_OUTCOME(jit_integer("cycles", params, &integer, comm), 77 + INCLUDED_VALUE, ORIGIN(MEMORY));
        MPI_Comm_free(&comm);
    }
    CHECK(ranks_sum(integer.calls) == 1);
    if (ranks_rank() == 0)
        printf("%d communicators duplicated, used and freed in %.1f s\n", count, now() - start);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    static struct integer kept = {78, 0, NULL, NULL};
    dijitso_params *params;
    MPI_Comm left;
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_state.rank);
    work = argv[1];
    some_alone();
    two_threads(provided);
    error_handlers();
    duplicates();
    between_groups();
    cycles(ranks_size() <= 2 ? 10000 : 200);
    /* A communicator that the host forgets to free is no trouble for MPI_Finalize. */
    check_case("forgotten");
    params = params_in("forgotten");
    MPI_Comm_dup(MPI_COMM_WORLD, &left);
    CHECK_OUTCOME(jit_integer("forgotten", params, &kept, left), 78 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
    return ranks_finish();
}
