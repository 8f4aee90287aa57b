/* Hits are written to the statistics at the end of a program, once, even if the program has forked.
 *
 * usage: exit_counts WORK build|hits|killed|count */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIBRARIES = 3 };

static void ask(const dijitso_params *params, unsigned origin)
{
    for (int i = 0; i < LIBRARIES; ++i) {
        struct integer integer = {.value = i};
        CHECK_OUTCOME(jit_integer(path_of("counted_%d", i), params, &integer, DIJITSO_COMM_NULL),
                      INCLUDED_VALUE + i, origin);
    }
}

static void wait_for(pid_t child)
{
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A child inherits the unwritten counts of its parent, and must write its own hits only. */
static void hits(const dijitso_params *params)
{
    ask(params, ORIGIN(DISK));
    fflush(NULL);
    ask(params, ORIGIN(MEMORY));
    const pid_t idle = fork();
    if (idle == 0)
        exit(0);
    wait_for(idle);
    const pid_t caller = fork();
    if (caller == 0) {
        struct integer integer = {.value = LIBRARIES};
        CHECK_OUTCOME(jit_integer("counted_by_child", params, &integer, DIJITSO_COMM_NULL),
                      INCLUDED_VALUE + LIBRARIES, ORIGIN(DISK));
        exit(check_result());
    }
    wait_for(caller);
}

/* A killed process loses its own counts only. */
static void killed(const dijitso_params *params)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        ask(params, ORIGIN(DISK));
        raise(SIGKILL);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static int32_t copy_stats(void *user_data, const dijitso_stats *stats)
{
    *(dijitso_stats *)user_data = *stats;
    return 0;
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".", *const phase = argc > 2 ? argv[2] : "build";
    dijitso_params *const params = params_with(path_of("%s/cache", work), NULL);
    if (strcmp(phase, "build") == 0) {
        struct integer integer = {.value = LIBRARIES};
        ask(params, ORIGIN(BUILT));
        CHECK_OUTCOME(jit_integer("counted_by_child", params, &integer, DIJITSO_COMM_NULL),
                      INCLUDED_VALUE + LIBRARIES, ORIGIN(BUILT));
        for (int i = 0; i < 2; ++i)
            ask(params, ORIGIN(MEMORY)); /* no call follows that would write these counts */
    } else if (strcmp(phase, "hits") == 0) {
        hits(params);
    } else if (strcmp(phase, "killed") == 0) {
        killed(params);
    } else {
        dijitso_stats stats;
        memset(&stats, 0, sizeof stats);
        CHECK_CALL(dijitso_cache_stats(params, copy_stats, &stats, &error), DIJITSO_OK);
        CHECK(stats.builds == LIBRARIES + 1);
        CHECK(stats.disk_hits == LIBRARIES + 1);
        CHECK(stats.memory_hits == 3 * LIBRARIES); /* two rounds of the builder, one of the parent */
        ask(params, ORIGIN(DISK));
        CHECK_CALL(dijitso_cache_stats(params, copy_stats, &stats, &error), DIJITSO_OK);
        CHECK(stats.disk_hits == 2 * LIBRARIES + 1); /* includes the counts that this process has not written yet */
    }
    dijitso_params_free(params);
    return check_result();
}
