/* The poll callback cancels a call while it compiles or waits, and nothing is left of it. Built twice: for one process,
 * and (WITH_RANKS) for the ranks of a job.
 *
 * usage: cancel WORK run */
#define _POSIX_C_SOURCE 200809L
#ifdef WITH_RANKS
#include "ranks.h"
#else
#include "fixture.h"
#endif

#include <dirent.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *work;

/* Writes a compiler that is endless as long as WORK/endless exists. It has a child process. Its own number is the name of a
 * file in WORK/pids. */
static const char *endless_compiler(void)
{
    const char *const path = path_of("%s/endless-c++", work);
    make_directory(path_of("%s/pids", work));
    write_text(path,
               path_of("#!/bin/sh\ncase \" $* \" in *\" -o \"*) ;; *) exec c++ \"$@\" ;; esac\n"
                       "[ -e '%s/endless' ] || exec c++ \"$@\"\nsleep 1000 &\n: > '%s/pids/'$$\nwait\n",
                       work, work),
               0755);
    return path;
}

/* Returns whether a process runs. One that has ended and is not waited for does not. */
static int runs(const char *pid)
{
    char line[256] = "", state = 'X';
    FILE *const file = fopen(path_of("/proc/%s/stat", pid), "r");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof line, file) != NULL && strrchr(line, ')') != NULL)
        state = strrchr(line, ')')[2];
    fclose(file);
    return state != 'Z' && state != 'X';
}

/* Returns the number of endless compilers that run. */
static int compilers(void)
{
    const struct dirent *entry;
    int count = 0;
    DIR *const folder = opendir(path_of("%s/pids", work));
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.' && runs(entry->d_name);
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* The user_data of all callbacks. */
struct host {
    struct integer integer;
    int polls;
    int after;           /* poll cancels after so many calls; -1 for never */
    int compilers;       /* and once so many compilers run */
    double cancelled;    /* when it did; 0 if not */
    pid_t thread;
    dijitso_params *nested; /* if not NULL, generate makes a call with these */
    dijitso_status nested_status;
};

static int32_t cancel(void *user_data)
{
    struct host *const host = user_data;
    CHECK(getpid() == host->thread);
    CHECK(host->cancelled == 0);
    ++host->polls;
    if (host->after < 0 || host->polls <= host->after || compilers() < host->compilers)
        return 0;
    host->cancelled = now();
    return 9;
}

static int32_t generate(void *user_data, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    struct host *const host = user_data;
    if (host->nested != NULL && strcmp(name, "inner") != 0) {
        dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
        struct outcome outcome;
        callbacks.user_data = host;
        callbacks.generate = generate;
        outcome = jit("inner", host->nested, &callbacks, DIJITSO_COMM_NULL);
        host->nested_status = outcome.status;
        outcome_free(&outcome);
        if (outcome.status != DIJITSO_OK)
            return 3;
    }
    return integer_generate(&host->integer, name, signature, json, source);
}

static dijitso_callbacks callbacks_of(struct host *host)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    host->thread = getpid();
    callbacks.user_data = host;
    callbacks.generate = generate;
    callbacks.poll = cancel;
    return callbacks;
}

static dijitso_params *params_of(const char *cache)
{
    return params_with(path_of("%s/%s", work, cache), "build.cxx", endless_compiler(), "cache.temp_dir_root", work,
                       "cache.signature", "name", NULL);
}

/* Checks the outcome of a cancelled call. Frees it. */
static void check_cancelled(struct outcome outcome, double cancelled, const char *who)
{
    CHECK(outcome.status == DIJITSO_ERROR_CANCELLED);
    if (CHECK(outcome.error != NULL)) {
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "the call was cancelled by its poll callback");
        CHECK_CONTAINS(dijitso_error_message(outcome.error), who);
        CHECK(strcmp(dijitso_error_path(outcome.error), "") == 0);
    }
    if (cancelled != 0)
        CHECK(now() - cancelled < 1.0);
    outcome_free(&outcome);
}

/* Checks that no compiler runs and no file of a build is left in a cache. */
static void check_clean(const char *cache)
{
    static const char *const folders[] = {"lib", "src", "include", "log", "lease", "failed"};
    CHECK(compilers() == 0);
    for (size_t at = 0; at < sizeof folders / sizeof folders[0]; ++at)
        CHECK(system(path_of("test -z \"$(ls -A '%s/%s/%s' 2>&- | grep -v '^\\.')\"", work, cache, folders[at])) == 0);
    CHECK(system(path_of("test -z \"$(find '%s' -name 'jitfailure*' -o -name 'dijitso-*' -prune)\"", work)) == 0);
}

static void make_endless(int endless)
{
    const char *const path = path_of("%s/endless", work);
    if (endless)
        write_text(path, "", 0644);
    else
        unlink(path);
}

#ifndef WITH_RANKS

static void wait_for_compilers(int count)
{
    while (compilers() != count)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static void compiler_is_ended(void)
{
    dijitso_params *const params = params_of("compiler");
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 1, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    check_case("the compiler is ended");
    make_endless(1);
    check_cancelled(jit("form", params, &callbacks, DIJITSO_COMM_NULL), host.cancelled, "");
    CHECK(host.polls > 0 && host.cancelled != 0);
    check_clean("compiler");

    check_case("the next call builds");
    make_endless(0);
    host.after = -1;
    host.cancelled = 0;
    CHECK_OUTCOME(jit("form", params, &callbacks, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ORIGIN(BUILT));
    host.polls = 0;
    CHECK_OUTCOME(jit("form", params, &callbacks, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ORIGIN(MEMORY));
    CHECK(host.polls == 0);
    dijitso_params_free(params);
}

/* Cancels after two seconds of compiling: about 20 ms lie between two calls of poll, and 50 at most. */
static void poll_is_called_often(void)
{
    dijitso_params *const params = params_of("often");
    struct host host = {{1, 0, NULL, NULL}, 0, 40, 1, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    struct outcome outcome;
    check_case("poll is called every 50 ms");
    make_endless(1);
    outcome = jit("form", params, &callbacks, DIJITSO_COMM_NULL);
    CHECK(outcome.seconds < 41 * 0.05 + 1.0);
    check_cancelled(outcome, host.cancelled, "");
    check_clean("often");
    dijitso_params_free(params);
}

/* A program that was compiled against the shorter structure. */
static void shorter_structure(void)
{
    dijitso_params *const params = params_of("shorter");
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 0, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    check_case("a structure without poll");
    make_endless(0);
    callbacks.struct_size = offsetof(dijitso_callbacks, poll);
    CHECK_OUTCOME(jit("form", params, &callbacks, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ORIGIN(BUILT));
    CHECK(host.polls == 0);
    dijitso_params_free(params);
}

static void call_within_generate(void)
{
    dijitso_params *const params = params_of("nested");
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 1, 0, 0, params, DIJITSO_OK};
    dijitso_callbacks callbacks = callbacks_of(&host);
    check_case("a call within generate");
    make_endless(1);
    check_cancelled(jit("outer", params, &callbacks, DIJITSO_COMM_NULL), host.cancelled, "");
    CHECK(host.nested_status == DIJITSO_ERROR_CANCELLED);
    check_clean("nested");
    dijitso_params_free(params);
}

static void finish_is_cancelled(void)
{
    dijitso_params *const params = params_of("pending");
    struct host host = {{1, 0, NULL, NULL}, 0, 3, 1, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    dijitso_pending *pending = NULL;
    dijitso_library *library = NULL;
    struct outcome outcome = {0, -1, -1, 0.0, NULL, ""};
    check_case("the finish of a call");
    make_endless(1);
    CHECK_CALL(dijitso_jit_start("form", params, &callbacks, DIJITSO_COMM_NULL, &pending, &error), DIJITSO_OK);
    outcome.status = dijitso_jit_finish(pending, &library, &outcome.error);
    CHECK(library == NULL);
    check_cancelled(outcome, host.cancelled, "");
    check_clean("pending");
    dijitso_params_free(params);
}

/* Another program builds the same, or has the only slot for compilers. */
static void waits_end(void)
{
    const char *const names[] = {"form", "other"};
    for (int at = 0; at < 2; ++at) {
        struct host host = {{1, 0, NULL, NULL}, 0, 3, 1, 0, 0, NULL, 0};
        dijitso_callbacks callbacks = callbacks_of(&host);
        dijitso_params *const params =
            params_with(path_of("%s/waits%d", work, at), "build.cxx", endless_compiler(), "cache.temp_dir_root", work,
                        "cache.signature", "name", "build.max_compilers", "1", "build.slots_dir",
                        path_of("%s/slots", work), NULL);
        pid_t child;
        check_case("a wait for the %s of another program", at == 0 ? "lease" : "slot");
        make_endless(1);
        child = fork();
        if (child == 0) {
            struct integer integer = {1, 0, NULL, NULL};
            jit_integer("form", params, &integer, DIJITSO_COMM_NULL);
            _exit(0);
        }
        wait_for_compilers(1);
        host.compilers = 0;
        check_cancelled(jit(names[at], params, &callbacks, DIJITSO_COMM_NULL), host.cancelled, "");
        CHECK(host.polls == 4 && compilers() == 1);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        wait_for_compilers(0);
        make_endless(0);
        host.cancelled = 0;
        host.after = -1;
        CHECK_OUTCOME(jit(names[at], params, &callbacks, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ORIGIN(BUILT));
        dijitso_params_free(params);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    work = argv[1];
    compiler_is_ended();
    poll_is_called_often();
    shorter_structure();
    call_within_generate();
    finish_is_cancelled();
    waits_end();
    return check_result();
}

#else

/* The rank `by` cancels a call that the first rank of each directory builds; other ranks wait, and have a poll callback that
 * does not cancel if `all_poll`. All have the same error within a second, and the next call succeeds. */
static void one_rank_cancels(int by, int all_poll, enum layout layout)
{
    const int rank = ranks_rank(), size = ranks_size(), builders = layout == LAYOUT_SHARED ? 1 : size;
    const char *const name = path_of("form_%d_%d_%d", by, all_poll, (int)layout);
    const char *const cache = path_of("%s-%d/%d", name, (int)layout, layout == LAYOUT_SHARED ? 0 : rank);
    struct host host = {{rank, 0, NULL, NULL}, 0, rank == by ? 0 : -1, builders, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    dijitso_params *params;
    struct outcome outcome;
    double cancelled, end;
    check_case("rank %d cancels, %s poll, %s", by, all_poll ? "all" : "not all", layouts[layout]);
    if (rank == 0)
        params = params_of(cache);
    make_directory(path_of("%s/%s-%d", work, name, (int)layout));
    ranks_barrier();
    if (rank != 0)
        params = params_with(path_of("%s/%s", work, cache), "build.cxx", path_of("%s/endless-c++", work),
                             "cache.temp_dir_root", work, "cache.signature", "name", NULL);
    CHECK_CALL(dijitso_params_set(params, "build.max_compilers", "8", &error), DIJITSO_OK);
    if (rank != by && !all_poll)
        callbacks.poll = NULL;
    if (rank == 0)
        make_endless(1);
    ranks_barrier();
    outcome = jit(name, params, &callbacks, MPI_COMM_WORLD);
    end = now();
    cancelled = host.cancelled;
    MPI_Bcast(&cancelled, 1, MPI_DOUBLE, by, MPI_COMM_WORLD);
    CHECK(cancelled != 0 && end - cancelled < 1.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    check_cancelled(outcome, 0, path_of("rank %d of %d on ", by, size));
    ranks_barrier();
    check_clean(cache);
    ranks_barrier();

    if (rank == 0)
        make_endless(0);
    ranks_barrier();
    host.after = -1;
    host.cancelled = 0;
    host.integer.value = 5;
    outcome = jit(name, params, &callbacks, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 5 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

/* All ranks cancel, as after Ctrl-C in a terminal. */
static void all_cancel(void)
{
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 1, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    dijitso_params *params;
    struct outcome outcome;
    check_case("all ranks cancel");
    params = params_with(path_of("%s/all", work), "build.cxx", path_of("%s/endless-c++", work), "cache.temp_dir_root", work,
                         "cache.signature", "name", NULL);
    if (ranks_rank() == 0)
        make_endless(1);
    ranks_barrier();
    outcome = jit("all", params, &callbacks, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    check_cancelled(outcome, host.cancelled, "rank ");
    ranks_barrier();
    check_clean("all");
    ranks_barrier();
    dijitso_params_free(params);
}

/* The last rank does not come: the others give up after a second, and the communicator is broken. */
static void one_is_absent(int known)
{
    const int rank = ranks_rank(), last = ranks_size() - 1;
    struct host host = {{1, 0, NULL, NULL}, 0, 3, 0, 0, 0, NULL, 0};
    dijitso_callbacks callbacks = callbacks_of(&host);
    dijitso_params *const params = params_with(path_of("%s/absent%d", work, known), "cache.signature", "name", NULL);
    struct outcome outcome;
    MPI_Comm comm;
    check_case("the last rank is absent from %s call", known ? "a" : "the first");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    if (known) {
        struct integer integer = {1, 0, NULL, NULL};
        CHECK_OUTCOME(jit_integer("known", params, &integer, comm), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    }
    if (rank != last) {
        outcome = jit("absent", params, &callbacks, comm);
        CHECK(outcome.seconds < 4.0);
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_CANCELLED, outcome.error);
    }
    ranks_barrier();
    host.after = -1;
    outcome = jit("later", params, &callbacks, comm);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_CANCELLED, outcome.error);
    ranks_barrier();
    MPI_Comm_free(&comm);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    CHECK(argc > 1);
    work = argv[1];
    for (int by = 0; by < ranks_size(); ++by)
        for (int all_poll = 0; all_poll < 2; ++all_poll)
            for (int layout = 0; layout < LAYOUTS; ++layout)
                one_rank_cancels(by, all_poll, (enum layout)layout);
    all_cancel();
    one_is_absent(1);
    return ranks_finish();
}

#endif
