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

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *work;

/* Returns a compiler that is endless as long as WORK/endless exists. It has a child process, and writes its own number to
 * WORK/pid. */
static const char *endless_compiler(void)
{
    const char *const path = path_of("%s/endless-c++", work);
    write_text(path,
               path_of("#!/bin/sh\ncase \" $* \" in *\" -o \"*) ;; *) exec c++ \"$@\" ;; esac\n"
                       "[ -e '%s/endless' ] || exec c++ \"$@\"\n"
                       "sleep 1000 &\necho $$ > '%s/pid.new'\nmv '%s/pid.new' '%s/pid'\nwait\n",
                       work, work, work, work),
               0755);
    return path;
}

static const char *pid_file(void)
{
    return path_of("%s/pid", work);
}

/* Returns whether a process runs. One that has ended and is waited for by no parent does not. */
static int runs(int pid)
{
    char line[256] = "", state = 'X';
    FILE *const file = fopen(path_of("/proc/%d/stat", pid), "r");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof line, file) != NULL && strrchr(line, ')') != NULL)
        state = strrchr(line, ')')[2];
    fclose(file);
    return state != 'Z' && state != 'X';
}

static int compiler_runs(void)
{
    int pid = 0;
    FILE *const file = fopen(pid_file(), "r");
    if (file == NULL)
        return 0;
    CHECK(fscanf(file, "%d", &pid) == 1);
    fclose(file);
    return runs(pid);
}

/* The user_data of all callbacks. */
struct host {
    struct integer integer;
    int polls;
    int after;           /* poll cancels after so many calls and once the compiler runs; -1 for never */
    int needs_compiler;
    double cancelled;    /* when it did; 0 if not */
    pid_t thread;
    int within;          /* generate runs */
    dijitso_params *nested; /* if not NULL, generate makes a call with these */
    dijitso_status nested_status;
};

static int32_t cancel(void *user_data)
{
    struct host *const host = user_data;
    CHECK(getpid() == host->thread);
    CHECK(host->cancelled == 0);
    ++host->polls;
    if (host->after < 0 || host->polls <= host->after || (host->needs_compiler && !exists(pid_file())))
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
    CHECK(!compiler_runs());
    for (size_t at = 0; at < sizeof folders / sizeof folders[0]; ++at)
        CHECK(system(path_of("test -z \"$(ls -A '%s/%s/%s' 2>&- | grep -v '^\\.')\"", work, cache, folders[at])) == 0);
    CHECK(system(path_of("test -z \"$(find '%s' -name 'jitfailure*' -o -name 'dijitso-*' -prune)\"", work)) == 0);
    unlink(pid_file());
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

static void compiler_is_ended(void)
{
    dijitso_params *const params = params_of("compiler");
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 1, 0, 0, 0, NULL, 0};
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
    struct host host = {{1, 0, NULL, NULL}, 0, 40, 1, 0, 0, 0, NULL, 0};
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
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 0, 0, 0, 0, NULL, 0};
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
    struct host host = {{1, 0, NULL, NULL}, 0, 0, 1, 0, 0, 0, params, DIJITSO_OK};
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
    struct host host = {{1, 0, NULL, NULL}, 0, 3, 1, 0, 0, 0, NULL, 0};
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
        struct host host = {{1, 0, NULL, NULL}, 0, 3, 1, 0, 0, 0, NULL, 0};
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
        while (!compiler_runs())
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        host.needs_compiler = 0;
        check_cancelled(jit(names[at], params, &callbacks, DIJITSO_COMM_NULL), host.cancelled, "");
        CHECK(host.polls == 4 && compiler_runs());
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        while (compiler_runs())
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        make_endless(0);
        host.cancelled = 0;
        host.after = -1;
        CHECK_OUTCOME(jit(names[at], params, &callbacks, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ORIGIN(BUILT));
        unlink(pid_file());
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

#endif
