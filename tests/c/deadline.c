/* parallel.timeout: if a rank is stopped or does not call, the others fail with an error that names it. When that rank
 * comes at last, it fails too. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *work;

static void sleep_seconds(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0)
        continue;
}

static dijitso_params *params_with_timeout(const char *timeout)
{
    return params_with(path_of("%s/shared", work), "parallel.timeout", timeout, NULL);
}

/* Process number and host of a rank, as error messages name them. */
struct process {
    int pid;
    char host[256];
};

static struct process process_of(int rank)
{
    struct process process;
    memset(&process, 0, sizeof process);
    process.pid = (int)getpid();
    gethostname(process.host, sizeof process.host - 1);
    MPI_Bcast(&process, sizeof process, MPI_BYTE, rank, MPI_COMM_WORLD);
    return process;
}

static void check_names(const struct outcome *outcome, int rank, const struct process *process, const char *step,
                        const char *name)
{
    CHECK(outcome->status == DIJITSO_ERROR_TIMEOUT);
    if (CHECK(outcome->error != NULL)) {
        const char *const message = dijitso_error_message(outcome->error);
        CHECK(dijitso_error_rank(outcome->error) == rank);
        CHECK_CONTAINS(message, path_of("rank %d of %d on %s: process %d is late: ", rank, ranks_size(),
                                        process->host, process->pid));
        CHECK_CONTAINS(message, path_of("step \"%s\" of \"%s\"", step, name));
    }
}

/* Checks that every further call fails at once, also for a library in memory. */
static void check_broken(const dijitso_params *params, MPI_Comm comm)
{
    static const char *const names[2] = {"known", "unknown"};
    struct integer integer = {1, 0, NULL, NULL};
    for (int at = 0; at < 2; ++at) {
        struct outcome again = jit_integer(names[at], params, &integer, comm);
        CHECK(again.seconds < 0.5);
        if (again.error != NULL)
            CHECK_CONTAINS(dijitso_error_message(again.error), "failed before");
        CHECK_STATUS(again.status, DIJITSO_ERROR_TIMEOUT, again.error);
    }
    CHECK(integer.calls == 0);
}

/* Returns a communicator of all ranks but one, which gets MPI_COMM_NULL. */
static MPI_Comm all_but(int rank)
{
    MPI_Comm others;
    MPI_Comm_split(MPI_COMM_WORLD, ranks_rank() == rank ? MPI_UNDEFINED : 0, 0, &others);
    return others;
}

static int32_t stop_and_generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                                 dijitso_source *source)
{
    /* A child resumes this process after the others have timed out. */
    const pid_t child = fork();
    if (child == 0) {
        sleep_seconds(7.0);
        kill(getppid(), SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    return integer_generate(user_data, name, signature, generator_json, source);
}

static void stopped(void)
{
    dijitso_params *const params = params_with_timeout("2"), *const patient = params_with_timeout("60");
    const struct process process = process_of(0);
    struct integer integer = {10, 0, NULL, NULL}, other = {11, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    MPI_Comm comm, others = all_but(0);
    struct outcome outcome;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    check_case("a healthy call");
    CHECK_OUTCOME(jit_integer("known", patient, &integer, comm), 10 + INCLUDED_VALUE, ANY_ORIGIN);

    check_case("the builder stops");
    callbacks.user_data = &integer;
    callbacks.generate = stop_and_generate;
    outcome = jit("stopped", params, &callbacks, comm);
    check_names(&outcome, 0, &process, "building", "stopped");
    if (ranks_rank() != 0) {
        CHECK(outcome.seconds < 6.0);
        ranks_check_same_outcome(others, &outcome);
        check_broken(params, comm);
        CHECK_OUTCOME(jit_integer("others", patient, &other, others), 11 + INCLUDED_VALUE, ANY_ORIGIN);
        MPI_Comm_free(&others);
    }

    check_case("the builder goes on");
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    check_broken(params, comm);
    outcome_free(&outcome);
    MPI_Comm_free(&comm);
    CHECK(comm == MPI_COMM_NULL);

    check_case("another communicator");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    integer.value = 12;
    CHECK_OUTCOME(jit_integer("afterwards", patient, &integer, comm), 12 + INCLUDED_VALUE, ANY_ORIGIN);
    MPI_Comm_free(&comm);
    dijitso_params_free(params);
    dijitso_params_free(patient);
}

static void absent(void)
{
    dijitso_params *const params = params_with_timeout("1"), *const patient = params_with_timeout("60");
    const int last = ranks_size() - 1;
    const struct process process = process_of(last);
    struct integer integer = {10, 0, NULL, NULL};
    struct outcome outcome;
    check_case("a healthy call");
    CHECK_OUTCOME(jit_integer("known", patient, &integer, MPI_COMM_WORLD), 10 + INCLUDED_VALUE, ANY_ORIGIN);
    check_case("the last rank does not call");
    if (ranks_rank() == last)
        sleep_seconds(4.0);
    outcome = jit_integer("absent", params, &integer, MPI_COMM_WORLD);
    CHECK(outcome.seconds < 3.0);
    check_names(&outcome, last, &process, "checking the call", "absent");
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    check_broken(params, MPI_COMM_WORLD);
    outcome_free(&outcome);
    dijitso_params_free(params);
    dijitso_params_free(patient);
}

/* In the first call no rank can tell which rank is late. All get the same error, the late rank too. */
static void first_without(int late)
{
    dijitso_params *const params = params_with_timeout("1");
    struct integer integer = {30, 0, NULL, NULL};
    MPI_Comm comm, others = all_but(late);
    struct outcome outcome;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    check_case("rank %d does not come to the first call", late);
    if (ranks_rank() == late)
        sleep_seconds(4.0);
    outcome = jit_integer("first", params, &integer, comm);
    CHECK(outcome.status == DIJITSO_ERROR_TIMEOUT && outcome.seconds < 3.5);
    if (ranks_rank() != late) {
        ranks_check_same_outcome(others, &outcome);
        MPI_Comm_free(&others);
    }
    CHECK_CONTAINS(dijitso_error_message(outcome.error), "first call on this communicator (\"first\")");
    check_broken(params, comm);
    /* Open MPI 4.1 crashes in a reduction while a duplicate of another communicator is pending. */
    ranks_barrier();
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    outcome_free(&outcome);
    MPI_Comm_free(&comm);
    dijitso_params_free(params);
}

static void first(void)
{
    first_without(ranks_size() - 1);
}

static void root(void)
{
    first_without(0);
}

static int32_t sleep_and_generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                                  dijitso_source *source)
{
    sleep_seconds(2.5);
    return integer_generate(user_data, name, signature, generator_json, source);
}

static void slow(void)
{
    dijitso_params *const params = params_with_timeout("30");
    struct integer integer = {40, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = &integer;
    callbacks.generate = sleep_and_generate;
    check_case("a slow builder");
    CHECK_OUTCOME(jit("slow", params, &callbacks, MPI_COMM_WORLD), 40 + INCLUDED_VALUE, ANY_ORIGIN);
    CHECK(ranks_sum(integer.calls) == 1);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } phases[] = {{"stopped", stopped}, {"absent", absent}, {"first", first}, {"root", root}, {"slow", slow}};
    int known = 0;
    ranks_start(&argc, &argv);
    work = argv[1];
    for (size_t at = 0; at < sizeof phases / sizeof *phases; ++at) {
        if (strcmp(argv[2], phases[at].name) == 0) {
            phases[at].run();
            known = 1;
        }
    }
    CHECK(known);
    return ranks_finish();
}
