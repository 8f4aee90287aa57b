/* Builds the modules that a first solve of DOLFIN's Poisson needs, with an empty cache: with dijitso one after the other
 * or at the same time, or by the bare compiler.
 *
 * usage: modules [--comm] CACHE SOURCES WORK sequence|pending|bare PROCESSES MODULE...
 * Each module must come after those it depends on. PROCESSES is the number of bare compilers at once.
 * prints: JSON, seconds of the slowest rank */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct work {
    const struct bench *bench;
    const struct module *modules[MAX_MODULES];
    dijitso_params *params[MAX_MODULES];
    size_t count;
};

static dijitso_callbacks callbacks_of(const struct module *module)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = (void *)module;
    callbacks.generate = generate_module;
    return callbacks;
}

static double in_sequence(const struct work *work)
{
    const double start = common_start(work->bench);
    for (size_t i = 0; i < work->count; ++i) {
        const dijitso_callbacks callbacks = callbacks_of(work->modules[i]);
        dijitso_library *library = NULL;
        dijitso_error *error = NULL;
        if (dijitso_jit(work->modules[i]->name, work->params[i], &callbacks, work->bench->comm, &library, &error))
            die(work->modules[i]->name, error);
        dijitso_library_free(library);
    }
    return max_of(work->bench, now() - start);
}

struct builds {
    dijitso_pending *pending[MAX_MODULES];
    int started[MAX_MODULES], finished[MAX_MODULES];
};

static void finish(const struct work *work, struct builds *builds, size_t i)
{
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    if (builds->finished[i])
        return;
    if (dijitso_jit_finish(builds->pending[i], &library, &error))
        die(work->modules[i]->name, error);
    dijitso_library_free(library);
    builds->finished[i] = 1;
}

static void start_one(const struct work *work, struct builds *builds, size_t i)
{
    const dijitso_callbacks callbacks = callbacks_of(work->modules[i]);
    dijitso_error *error = NULL;
    if (dijitso_jit_start(work->modules[i]->name, work->params[i], &callbacks, work->bench->comm,
                          &builds->pending[i], &error))
        die(work->modules[i]->name, error);
    builds->started[i] = 1;
}

static size_t index_of(const struct work *work, const char *name)
{
    for (size_t i = 0; i < work->count; ++i)
        if (strcmp(work->modules[i]->name, name) == 0)
            return i;
    die(name, NULL);
    return 0;
}

/* Starts the modules without dependencies; then, in the order of the list, finishes the dependencies of each other module
 * and starts it. */
static double at_the_same_time(const struct work *work)
{
    struct builds builds;
    const double start = common_start(work->bench);
    memset(&builds, 0, sizeof builds);
    for (size_t i = 0; i < work->count; ++i)
        if (work->modules[i]->dependency_count == 0)
            start_one(work, &builds, i);
    for (size_t i = 0; i < work->count; ++i) {
        if (builds.started[i])
            continue;
        for (size_t d = 0; d < work->modules[i]->dependency_count; ++d)
            finish(work, &builds, index_of(work, work->modules[i]->dependencies[d]));
        start_one(work, &builds, i);
    }
    for (size_t i = 0; i < work->count; ++i)
        finish(work, &builds, i);
    return max_of(work->bench, now() - start);
}

/* Runs the bare compiler on all modules, with dependencies from the cache that an earlier run has filled. For one process
 * only. */
static double by_compiler(const struct work *work, char **argv)
{
    const int processes = atoi(argv[5]);
    struct bare bares[MAX_MODULES];
    int running = 0;
    for (size_t i = 0; i < work->count; ++i) {
        char *directory = text("%s/bare-%s", argv[3], work->modules[i]->name);
        mkdir(directory, 0700);
        bares[i] = bare_prepare(work->modules[i], argv[2], argv[1], directory);
    }
    const double start = now();
    for (size_t i = 0; i < work->count; ++i) {
        if (running == processes) {
            wait_for(-1);
            --running;
        }
        spawn(bares[i].words, bares[i].directory);
        ++running;
    }
    for (; running > 0; --running)
        wait_for(-1);
    return now() - start;
}

int main(int argc, char **argv)
{
    const struct bench bench = bench_start(&argc, argv);
    struct module modules[MAX_MODULES];
    struct work work = {&bench, {NULL}, {NULL}, 0};
    double seconds;
    if (argc < 7)
        die("usage: modules [--comm] CACHE SOURCES WORK sequence|pending|bare PROCESSES MODULE...", NULL);
    const size_t count = read_modules(argv[2], modules);
    for (int i = 6; i < argc; ++i) {
        work.modules[work.count] = find_module(modules, count, argv[i]);
        work.params[work.count] = params_of(argv[2], work.modules[work.count]->kind, argv[1]);
        if (bench.rank == 0 && strcmp(argv[4], "bare") != 0) {
            dijitso_error *error = NULL;
            if (dijitso_cache_remove(work.params[work.count], signature_of(work.params[work.count], argv[i]),
                                     DIJITSO_CATEGORY_ALL, NULL, NULL, &error))
                die("remove", error);
        }
        ++work.count;
    }
    if (strcmp(argv[4], "sequence") == 0)
        seconds = in_sequence(&work);
    else if (strcmp(argv[4], "bare") == 0)
        seconds = by_compiler(&work, argv);
    else
        seconds = at_the_same_time(&work);
    if (bench.rank == 0)
        printf("%.6f\n", seconds);
    bench_end();
    return 0;
}
