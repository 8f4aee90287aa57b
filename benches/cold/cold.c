/* Builds modules that are not in the cache, with dijitso and with the bare compiler and the same flags, in turns.
 *
 * usage: cold [--comm] CACHE SOURCES WORK both|jit|command MODULE...
 * Removes the entries of these modules from the cache first; other files, such as precompiled headers, stay.
 * `command` only prints the directory and the words of the bare compiler's command, one a line.
 * prints: JSON, for each module the seconds of both (of the slowest rank), and the CPU seconds of the waiting ranks and
 * of the compilers. */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct cost {
    double jit, bare, waiters;
    double jit_cpu, bare_cpu; /* CPU seconds of rank 0's children: the compiler */
};

static double children_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double by_dijitso(const struct bench *bench, const struct module *module, const dijitso_params *params,
                         double *waiters)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    double start, cpu, seconds;
    callbacks.user_data = (void *)module;
    callbacks.generate = generate_module;
    start = common_start(bench);
    cpu = cpu_seconds();
    if (dijitso_jit(module->name, params, &callbacks, bench->comm, &library, &error))
        die(module->name, error);
    seconds = now() - start;
    *waiters = sum_of(bench, bench->rank == 0 ? 0.0 : cpu_seconds() - cpu);
    if (bench->rank == 0 && dijitso_library_origin(library) != DIJITSO_ORIGIN_BUILT)
        die("this was not a cold build", NULL);
    dijitso_library_free(library);
    return max_of(bench, seconds);
}

/* Runs the compiler on rank 0. The other ranks sleep 1.5 times as long as the build by dijitso took. */
static double by_compiler(const struct bench *bench, const struct bare *bare, double expected)
{
    const double start = common_start(bench);
    double seconds = 0.0;
    if (bench->rank == 0) {
        wait_for(spawn(bare->words, bare->directory));
        seconds = now() - start;
    } else {
        usleep((useconds_t)(1.5e6 * expected) + 100000u);
    }
    return max_of(bench, seconds);
}

static struct bare prepare(const struct module *module, char **argv)
{
    char *directory = text("%s/bare-%s", argv[3], module->name);
    mkdir(directory, 0700);
    return bare_prepare(module, argv[2], argv[1], directory);
}

static void print_command(const struct bare *bare)
{
    puts(bare->directory);
    for (char *const *word = bare->words; *word != NULL; ++word)
        puts(*word);
}

static struct cost measure(const struct bench *bench, const struct module *module, char **argv)
{
    dijitso_params *params = params_of(argv[2], module->kind, argv[1]);
    struct bare bare = {NULL, {NULL}};
    struct cost cost = {0.0, 0.0, 0.0, 0.0, 0.0};
    double cpu;
    dijitso_error *error = NULL;
    if (bench->rank == 0) {
        char *signature = signature_of(params, module->name);
        bare = prepare(module, argv);
        if (dijitso_cache_remove(params, signature, DIJITSO_CATEGORY_ALL, NULL, NULL, &error))
            die("remove", error);
    }
    cpu = children_seconds();
    cost.jit = by_dijitso(bench, module, params, &cost.waiters);
    cost.jit_cpu = children_seconds() - cpu;
    cpu = children_seconds();
    if (strcmp(argv[4], "both") == 0)
        cost.bare = by_compiler(bench, &bare, cost.jit);
    cost.bare_cpu = children_seconds() - cpu;
    dijitso_params_free(params);
    return cost;
}

int main(int argc, char **argv)
{
    const struct bench bench = bench_start(&argc, argv);
    struct module modules[MAX_MODULES];
    if (argc < 6)
        die("usage: cold [--comm] CACHE SOURCES WORK both|jit|command MODULE...", NULL);
    const size_t count = read_modules(argv[2], modules);
    const int commands = strcmp(argv[4], "command") == 0;
    for (int i = 5; i < argc; ++i) {
        const struct module *module = find_module(modules, count, argv[i]);
        if (commands) {
            const struct bare bare = prepare(module, argv);
            print_command(&bare);
            continue;
        }
        const struct cost cost = measure(&bench, module, argv);
        if (bench.rank == 0)
            printf("%s\"%s\": {\"jit\": %.6f, \"bare\": %.6f, \"waiters\": %.6f, \"jit_cpu\": %.6f, \"bare_cpu\": %.6f}%s",
                   i == 5 ? "{" : " ", module->name, cost.jit, cost.bare, cost.waiters, cost.jit_cpu, cost.bare_cpu,
                   i + 1 == argc ? "}\n" : ",");
    }
    bench_end();
    return 0;
}
