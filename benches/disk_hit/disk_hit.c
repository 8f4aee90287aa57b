/* Asks for two libraries that are in the cache, or opens equal files by the loader alone.
 *
 * usage: disk_hit [--comm] jit CACHE NAME NAME      the first call in this process, and a second one for another library
 *        disk_hit [--comm] dlopen UNUSED PATH PATH  the same two with dlopen
 *        disk_hit [--comm] fill CACHE NAME NAME     builds both, prints their paths
 * prints: JSON, seconds of the slowest rank. For strace, access() of two missing names marks the begin and the end of
 * each call. */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

struct work {
    const char *mode;
    const dijitso_params *params;
    MPI_Comm comm;
};

/* callgrind counts within these two functions. */
__attribute__((noinline)) void measured_jit(const struct work *work, const char *name, dijitso_library **library)
{
    dijitso_error *error = NULL;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.generate = generate;
    if (dijitso_jit(name, work->params, &callbacks, work->comm, library, &error))
        die("jit", error);
}

__attribute__((noinline)) void measured_dlopen(const char *path)
{
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL)
        die(dlerror(), NULL);
}

static double measure(const struct bench *bench, const struct work *work, const char *name)
{
    dijitso_library *library = NULL;
    const double start = common_start(bench);
    double end;
    const int by_jit = strcmp(work->mode, "dlopen") != 0;
    access("/bench-begin", F_OK);
    const double begin = bench->size > 1 ? start : now();
    if (by_jit)
        measured_jit(work, name, &library);
    else
        measured_dlopen(name);
    end = now();
    access("/bench-end", F_OK);
    if (by_jit) {
        if (strcmp(work->mode, "jit") == 0 && dijitso_library_origin(library) == DIJITSO_ORIGIN_BUILT)
            die("this was not a hit", NULL);
        if (strcmp(work->mode, "fill") == 0)
            puts(dijitso_library_path(library));
        dijitso_library_free(library);
    }
    return max_of(bench, end - begin);
}

int main(int argc, char **argv)
{
    const struct bench bench = bench_start(&argc, argv);
    dijitso_error *error = NULL;
    if (argc != 5)
        die("usage: disk_hit [--comm] jit|dlopen|fill CACHE NAME NAME", NULL);
    const int by_jit = strcmp(argv[1], "dlopen") != 0;
    const double before = now();
    dijitso_params *params = by_jit ? params_of(NULL, NULL, argv[2]) : NULL;
    if (by_jit && dijitso_params_set(params, "build.language", "c", &error))
        die("parameters", error);
    const double parameters = now() - before;
    const struct work work = {argv[1], params, bench.comm};
    const double first = measure(&bench, &work, argv[3]), second = measure(&bench, &work, argv[4]);
    if (bench.rank == 0 && strcmp(argv[1], "fill") != 0)
        printf("{\"parameters\": %.9f, \"first\": %.9f, \"second\": %.9f}\n", parameters, first, second);
    dijitso_params_free(params);
    bench_end();
    return 0;
}
