/* Mixed use of communicators: some ranks alone while others call together, two threads, thousands of communicators, every
 * error handler. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <pthread.h>

static const char *work;

static dijitso_params *params_in(const char *directory)
{
    return params_with(path_of("%s/%s", work, directory), NULL);
}

/* Even ranks call on MPI_COMM_SELF, with the same name and directory, but each a different number of times. Meanwhile the
 * odd ranks call together on a communicator of their own. */
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

struct job {
    MPI_Comm comm;
    dijitso_params *params;
    int number;
    int wrong; /* calls without a library, or with a wrong one */
    const char *names[NAMES];
};

/* The helpers of the fixture are for one thread only, so the threads use the C interface directly. */
static int32_t generate_number(void *user_data, const char *name, const char *signature, const char *json,
                               dijitso_source *source)
{
    const struct job *const job = user_data;
    char code[128];
    (void)name, (void)signature, (void)json;
    snprintf(code, sizeof code, "extern \"C\" int value() { return %d; }\n", 600 + job->number);
    return dijitso_source_set_code(source, code, strlen(code));
}

static void *run(void *argument)
{
    struct job *const job = argument;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = job;
    callbacks.generate = generate_number;
    for (int i = 0; i < 3 * NAMES; ++i) {
        dijitso_library *library = NULL;
        dijitso_error *error = NULL;
        dijitso_fn value = NULL;
        const dijitso_status status =
            dijitso_jit(job->names[i % NAMES], job->params, &callbacks, job->comm, &library, &error);
        if (status != DIJITSO_OK) {
            fprintf(stderr, "thread %d: %s\n", job->number, dijitso_error_message(error));
            ++job->wrong;
        } else if (dijitso_library_symbol(library, "value", &value, NULL) != DIJITSO_OK
                   || ((int (*)(void))value)() != 600 + job->number) {
            ++job->wrong;
        }
        dijitso_error_free(error);
        dijitso_library_free(library);
    }
    return NULL;
}

static void two_threads(int provided)
{
    struct job jobs[2];
    pthread_t threads[2];
    check_case("two communicators in two threads");
    if (provided != MPI_THREAD_MULTIPLE) {
        printf("two threads: not tried, this MPI provides thread level %d\n", provided);
        return;
    }
    for (int i = 0; i < 2; ++i) {
        jobs[i].number = i;
        jobs[i].wrong = 0;
        jobs[i].params = params_in("threads");
        for (int j = 0; j < NAMES; ++j)
            jobs[i].names[j] = path_of("thread_%d_%d", i, j);
        MPI_Comm_dup(MPI_COMM_WORLD, &jobs[i].comm);
    }
    for (int i = 0; i < 2; ++i)
        CHECK(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
    for (int i = 0; i < 2; ++i) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(jobs[i].wrong == 0);
        MPI_Comm_free(&jobs[i].comm);
        dijitso_params_free(jobs[i].params);
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

/* With MPI_ERRORS_ARE_FATAL an MPI error of the library would end the program; with MPI_ERRORS_RETURN it would go
 * unnoticed. In both cases the communicator and MPI_COMM_WORLD, whose handler MPI may use instead, keep their handlers. */
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

/* The library's attribute on a communicator is neither copied to a duplicate nor lost with it. */
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

/* Inter-communicators are refused: their two groups have no common order of ranks. */
static void inter_communicator(void)
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

/* Each cycle takes two communicators, and MPI can have a few thousand (MPICH 2048): the test can only end if the library
 * frees its own. */
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
    static struct integer unfreed_integer = {78, 0, NULL, NULL};
    dijitso_params *params;
    MPI_Comm unfreed;
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_state.rank);
    work = argv[1];
    some_alone();
    two_threads(provided);
    error_handlers();
    duplicates();
    inter_communicator();
    cycles(ranks_size() <= 2 ? 10000 : 200);
    /* MPI_Finalize works although the host has not freed a communicator. */
    check_case("a communicator that is not freed");
    params = params_in("unfreed");
    MPI_Comm_dup(MPI_COMM_WORLD, &unfreed);
    CHECK_OUTCOME(jit_integer("unfreed", params, &unfreed_integer, unfreed), 78 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
    return ranks_finish();
}
