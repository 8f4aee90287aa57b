/* If the library cannot write, it raises no signal in the host. It changes no signal disposition or mask of the host, and
 * no compiler survives a killed host. Built twice: for one process, and (WITH_RANKS) for the ranks of a job.
 *
 * usage: signals WORK build|limit|hits|reader|slow|fast */
#define _POSIX_C_SOURCE 200809L
#ifdef WITH_RANKS
#include "ranks.h"
#else
#include "fixture.h"
#endif

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef WITH_RANKS
#define COMM MPI_COMM_WORLD
#else
#define COMM DIJITSO_COMM_NULL
#endif

enum { SIZE = 4096 };

static const char *work;
static int rank = 0;

/* Writes a compiler on rank 0, for all ranks. */
static const char *compiler(const char *name, const char *text)
{
    const char *const path = path_of("%s/%s", work, name);
    if (rank == 0)
        write_text(path, text, 0755);
#ifdef WITH_RANKS
    ranks_barrier();
#endif
    return path;
}

/* Returns a compiler without a limit on the size of files; only the host has one. */
static const char *unlimited_compiler(void)
{
    return compiler("unlimited-c++", "#!/bin/sh\nulimit -S -f unlimited\nexec c++ \"$@\"\n");
}

/* Returns a slow compiler with a child process. The numbers of both are file names in WORK/pids. */
static const char *slow_compiler(void)
{
    return compiler("slow-c++",
                    path_of("#!/bin/sh\ncase \" $* \" in *\" -o \"*) ;; *) exec c++ \"$@\" ;; esac\n"
                            "sleep 1000 &\nmkdir -p '%s/pids'\n: > '%s/pids/'$!\n: > '%s/pids/'$$\nwait\n",
                            work, work, work));
}

static dijitso_params *params_of(const char *compiler)
{
    return params_with(path_of("%s/cache-%d", work, rank), "parallel.buildon", "process", "build.slots_dir", "",
                       "build.cxx", compiler, "cache.temp_dir_root", work, "cache.signature", "name", NULL);
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = size;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* Checks that SIGPIPE and SIGXFSZ are neither ignored nor handled, blocked or pending. */
static void check_untouched(void)
{
    static const int raised[2] = {SIGPIPE, SIGXFSZ};
    sigset_t blocked, pending;
    CHECK(sigprocmask(SIG_SETMASK, NULL, &blocked) == 0 && sigpending(&pending) == 0);
    for (int at = 0; at < 2; ++at) {
        struct sigaction action;
        CHECK(sigaction(raised[at], NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHECK(!sigismember(&blocked, raised[at]) && !sigismember(&pending, raised[at]));
    }
}

/* If a library cannot be published, all ranks get an error that says what to do. */
static void limit(void)
{
    dijitso_params *const params = params_of(unlimited_compiler());
    struct integer integer = {2, 0, NULL, NULL};
    const rlim_t sizes[2] = {SIZE, 0};
    for (int at = 0; at < 2; ++at) {
        check_case("files of %d bytes", (int)sizes[at]);
        limit_files(sizes[at]);
        struct outcome outcome = jit_integer("limited", params, &integer, COMM);
        limit_files(RLIM_INFINITY);
        CHECK(outcome.status == DIJITSO_ERROR_CACHE);
        if (CHECK(outcome.error != NULL))
            CHECK_CONTAINS(dijitso_error_message(outcome.error), "ulimit -f");
#ifdef WITH_RANKS
        ranks_check_same_outcome(COMM, &outcome);
#endif
        outcome_free(&outcome);
        check_untouched();
    }
    check_case("without a limit again");
    CHECK_OUTCOME(jit_integer("limited", params, &integer, COMM), 2 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

/* A hit works although the statistics cannot be written. */
static void hits(void)
{
    dijitso_params *const params = params_of("c++");
    struct integer integer = {1, 0, NULL, NULL};
    limit_files(0);
    for (int round = 0; round < 3; ++round)
        CHECK_OUTCOME(jit_integer("known", params, &integer, COMM), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    CHECK(integer.calls == 0);
    check_untouched();
    dijitso_params_free(params);
}

/* The log goes to a pipe whose reading end is closed. */
static void reader(void)
{
    int ends[2];
    const int own = dup(STDERR_FILENO);
    dijitso_params *const params = params_of("c++");
    struct integer good = {3, 0, NULL, NULL}, bad = {3, 0, "int broken = nonsense_of_ours;\n", NULL};
    CHECK(own != -1 && pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) != -1);
    close(ends[0]);
    close(ends[1]);
    CHECK_CALL(dijitso_log_set_level(DIJITSO_LOG_DEBUG, &error), DIJITSO_OK);
    struct outcome first = jit_integer("good", params, &good, COMM);
    struct outcome second = jit_integer("bad", params, &bad, COMM);
    CHECK_CALL(dijitso_log_set_level(DIJITSO_LOG_WARNING, &error), DIJITSO_OK);
    CHECK(dup2(own, STDERR_FILENO) != -1);
    close(own);
    CHECK_OUTCOME(first, 3 + INCLUDED_VALUE, ANY_ORIGIN);
    CHECK(second.status == DIJITSO_ERROR_COMPILE);
    outcome_free(&second);
    check_untouched();
    dijitso_params_free(params);
}

static void build(const char *name, const char *compiler)
{
    dijitso_params *const params = params_of(compiler);
    struct integer integer = {1, 0, NULL, NULL};
    CHECK_OUTCOME(jit_integer(name, params, &integer, COMM), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
#ifdef WITH_RANKS
    ranks_start(&argc, &argv);
    rank = ranks_rank();
#endif
    if (argc != 3) {
        fprintf(stderr, "usage: %s WORK build|limit|hits|reader|slow|fast\n", argv[0]);
        return 2;
    }
    work = argv[1];
    /* MPIs and shells may ignore some of them; UCX, below MPICH, waits for a debugger on SIGHUP. */
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (strcmp(argv[2], "build") == 0)
        build("known", "c++");
    else if (strcmp(argv[2], "limit") == 0)
        limit();
    else if (strcmp(argv[2], "hits") == 0)
        hits();
    else if (strcmp(argv[2], "reader") == 0)
        reader();
    else
        build("killed", strcmp(argv[2], "slow") == 0 ? slow_compiler() : "c++");
#ifdef WITH_RANKS
    return ranks_finish();
#else
    return check_result();
#endif
}
