/* Starts a program whose libraries are all in the cache, and measures each kind of call beside the least that it needs.
 *
 * usage: warm_start fill CACHE COPIES ROUNDS SETS           builds the libraries, and copies them for dlopen
 *        warm_start --comm jit CACHE COPIES ROUNDS SETS     the calls below, on a communicator
 *        warm_start --comm dlopen CACHE COPIES ROUNDS SETS  only `first`, by MPI_Comm_dup and dlopen
 * prints: JSON, seconds of the slowest rank:
 *   first   the first call on a communicator
 *   hit     a later call, for each round; each round has several
 *   alone   the same call without a communicator, in all processes at the same time
 *   reduce  an MPI_Allreduce of 128 bytes
 *   many    dijitso_jit_many for 30 libraries, for each set
 *   open    dlopen of 30 equal files */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HITS = 10, MANY = 30, REDUCED = 16, MAX_SAMPLES = 64, MAX_LIBRARIES = 1 + MAX_SAMPLES * (2 * HITS + MANY) };

struct work {
    struct bench bench;
    const dijitso_params *params;
    const char *copies;
    char *names[MAX_LIBRARIES];
    int count, next; /* the next library that this process has not loaded */
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    char *code = text("double %s(double x) { return 3.0 * x + 1.0; }\n", name);
    const int32_t status = dijitso_source_set_code(source, code, strlen(code));
    (void)user_data, (void)signature, (void)generator_json;
    free(code);
    return status;
}

static char *copy_of(const struct work *work, int at) { return text("%s/copy-%04d.so", work->copies, at); }

static void fill(struct work *work)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library **libraries = allocate((size_t)work->count * sizeof *libraries);
    dijitso_error *error = NULL;
    callbacks.generate = generate;
    if (dijitso_jit_many((size_t)work->count, (const char *const *)work->names, work->params, &callbacks, DIJITSO_COMM_NULL,
                         libraries, &error))
        die("fill", error);
    for (int i = 0; i < work->count; ++i) {
        size_t size = 0;
        char *path = copy_of(work, i), *bytes = read_file(dijitso_library_path(libraries[i]), &size);
        FILE *file = fopen(path, "wb");
        if (bytes == NULL || file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
            die(path, NULL);
        free(bytes);
        free(path);
        dijitso_library_free(libraries[i]);
    }
}

/* --- what is measured: `count` calls, beginning with library `from` -------------------------------------------------- */

static void check_hit(dijitso_library *library)
{
    if (dijitso_library_origin(library) == DIJITSO_ORIGIN_BUILT || dijitso_library_origin(library) == DIJITSO_ORIGIN_MEMORY)
        die("this was not a hit on disk", NULL);
    dijitso_library_free(library);
}

static void by_jit(const struct work *work, MPI_Comm comm, int from, int count)
{
    for (int i = from; i < from + count; ++i) {
        dijitso_library *library = NULL;
        dijitso_error *error = NULL;
        if (dijitso_jit(work->names[i], work->params, NULL, comm, &library, &error))
            die(work->names[i], error);
        check_hit(library);
    }
}

static void on_communicator(const struct work *work, int from, int count) { by_jit(work, work->bench.comm, from, count); }
static void alone(const struct work *work, int from, int count) { by_jit(work, DIJITSO_COMM_NULL, from, count); }

static void by_jit_many(const struct work *work, int from, int count)
{
    dijitso_library *libraries[MANY] = {NULL};
    dijitso_error *error = NULL;
    if (dijitso_jit_many((size_t)count, (const char *const *)work->names + from, work->params, NULL, work->bench.comm, libraries,
                         &error))
        die("jit_many", error);
    for (int i = 0; i < count; ++i)
        check_hit(libraries[i]);
}

static void by_dlopen(const struct work *work, int from, int count)
{
    for (int i = from; i < from + count; ++i) {
        char *path = copy_of(work, i);
        if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL)
            die(dlerror(), NULL);
        free(path);
    }
}

static void by_dup_and_dlopen(const struct work *work, int from, int count)
{
#if DIJITSO_HAVE_MPI
    MPI_Comm copy;
    MPI_Comm_dup(work->bench.comm, &copy);
#endif
    by_dlopen(work, from, count);
}

static void reduce(const struct work *work, int from, int count)
{
#if DIJITSO_HAVE_MPI
    double values[REDUCED] = {0.0};
    for (int i = 0; i < count; ++i)
        MPI_Allreduce(MPI_IN_PLACE, values, REDUCED, MPI_DOUBLE, MPI_SUM, work->bench.comm);
#endif
    (void)work, (void)from, (void)count;
}

/* --- measuring ---------------------------------------------------------------------------------------------------------- */

static double measure(const struct work *work, void (*calls)(const struct work *, int, int), int from, int count)
{
    const double start = common_start(&work->bench);
    calls(work, from, count);
    return max_of(&work->bench, now() - start);
}

static int take(struct work *work, int count)
{
    const int from = work->next;
    work->next += count;
    if (work->next > work->count)
        die("too few libraries", NULL);
    return from;
}

static void print(const struct work *work, const char *label, const double *values, int count)
{
    if (work->bench.rank == 0) {
        printf(", \"%s\": [", label);
        for (int i = 0; i < count; ++i)
            printf("%s%.9f", i == 0 ? "" : ", ", values[i]);
        printf("]");
    }
}

static void later_calls(struct work *work, int rounds, int sets)
{
    double hit[MAX_SAMPLES], without[MAX_SAMPLES], reduced[MAX_SAMPLES], many[MAX_SAMPLES], opened[MAX_SAMPLES];
    /* If more ranks than cores poll, a reduction takes up to a second. */
    const int reductions = work->bench.size <= 4 ? 20 : work->bench.size <= 16 ? 5 : 2;
    alone(work, take(work, 1), 1); /* the first call without a communicator has costs of its own */
    for (int i = 0; i < rounds; ++i) {
        hit[i] = measure(work, on_communicator, take(work, HITS), HITS) / HITS;
        without[i] = measure(work, alone, take(work, HITS), HITS) / HITS;
        reduced[i] = measure(work, reduce, 0, reductions) / reductions;
    }
    for (int i = 0; i < sets; ++i) {
        const int from = take(work, MANY);
        many[i] = measure(work, by_jit_many, from, MANY);
        opened[i] = measure(work, by_dlopen, from, MANY);
    }
    print(work, "hit", hit, rounds);
    print(work, "alone", without, rounds);
    print(work, "reduce", reduced, rounds);
    print(work, "many", many, sets);
    print(work, "open", opened, sets);
}

int main(int argc, char **argv)
{
    static struct work work;
    dijitso_params *params;
    dijitso_error *error = NULL;
    work.bench = bench_start(&argc, argv);
    if (argc != 6)
        die("usage: warm_start [--comm] fill|jit|dlopen CACHE COPIES ROUNDS SETS", NULL);
    const int rounds = atoi(argv[4]), sets = atoi(argv[5]), by_loader = strcmp(argv[1], "dlopen") == 0;
    if (rounds < 1 || rounds > MAX_SAMPLES || sets < 1 || sets > MAX_SAMPLES)
        die("numbers", NULL);
    work.count = 2 + rounds * 2 * HITS + sets * MANY;
    for (int i = 0; i < work.count; ++i)
        work.names[i] = text("bench_warm_%04d", i);
    work.copies = argv[3];
    work.params = params = params_of(NULL, NULL, argv[2]);
    if (dijitso_params_set(params, "build.language", "c", &error))
        die("parameters", error);
    if (strcmp(argv[1], "fill") == 0) {
        fill(&work);
    } else {
        const double first = measure(&work, by_loader ? by_dup_and_dlopen : on_communicator, take(&work, 1), 1);
        if (work.bench.rank == 0)
            printf("{\"first\": %.9f", first);
        if (!by_loader)
            later_calls(&work, rounds, sets);
        if (work.bench.rank == 0)
            puts("}");
    }
    dijitso_params_free(params);
    bench_end();
    return 0;
}
