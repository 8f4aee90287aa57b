#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#if DIJITSO_HAVE_MPI
static int world_started = 0;
#endif

void die(const char *what, dijitso_error *error)
{
    fprintf(stderr, "bench: %s%s%s\n", what, error ? ": " : "", error ? dijitso_error_message(error) : "");
#if DIJITSO_HAVE_MPI
    if (world_started)
        MPI_Abort(MPI_COMM_WORLD, 1);
#endif
    exit(1);
}

struct bench bench_start(int *argc, char **argv)
{
    struct bench bench = {DIJITSO_COMM_NULL, 0, 1};
    if (*argc > 1 && strcmp(argv[1], "--comm") == 0) {
        memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof *argv);
        --*argc;
#if DIJITSO_HAVE_MPI
        MPI_Init(NULL, NULL);
        world_started = 1;
        bench.comm = MPI_COMM_WORLD;
        MPI_Comm_rank(bench.comm, &bench.rank);
        MPI_Comm_size(bench.comm, &bench.size);
#else
        die("--comm needs a program that was compiled with MPI", NULL);
#endif
    }
    return bench;
}

void bench_end(void)
{
    fflush(stdout);
#if DIJITSO_HAVE_MPI
    if (world_started)
        MPI_Finalize();
#endif
}

/* --- clocks and ranks -------------------------------------------------------------------------------------------- */

static double clock_seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

double now(void) { return clock_seconds(CLOCK_MONOTONIC); }
double thread_cpu_seconds(void) { return clock_seconds(CLOCK_THREAD_CPUTIME_ID); }

double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

#if DIJITSO_HAVE_MPI
static double reduced(const struct bench *bench, double value, MPI_Op operation)
{
    if (world_started)
        MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, operation, bench->comm);
    return value;
}
double max_of(const struct bench *bench, double value) { return reduced(bench, value, MPI_MAX); }
double sum_of(const struct bench *bench, double value) { return reduced(bench, value, MPI_SUM); }
#else
double max_of(const struct bench *bench, double value) { return (void)bench, value; }
double sum_of(const struct bench *bench, double value) { return (void)bench, value; }
#endif

void values_of(const struct bench *bench, double value, double *values)
{
    values[0] = value;
#if DIJITSO_HAVE_MPI
    if (world_started)
        MPI_Gather(&value, 1, MPI_DOUBLE, values, 1, MPI_DOUBLE, 0, bench->comm);
#else
    (void)bench;
#endif
}

double common_start(const struct bench *bench)
{
    /* Long enough for 64 ranks on two cores to leave the reduction. */
    double start = now() + (bench->size > 1 ? 0.2 + 0.03 * bench->size : 0.0);
    struct timespec time;
    start = max_of(bench, start);
    time.tv_sec = (time_t)start;
    time.tv_nsec = (long)((start - (double)time.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    return bench->size > 1 ? start : now();
}

/* --- files --------------------------------------------------------------------------------------------------------- */

void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        die("no memory", NULL);
    return memory;
}

char *text(const char *format, ...)
{
    char *made = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&made, format, arguments) < 0)
        die("no memory", NULL);
    va_end(arguments);
    return made;
}

char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    char *bytes;
    if (file == NULL)
        return NULL;
    if (fstat(fileno(file), &status) != 0)
        die(path, NULL);
    bytes = allocate((size_t)status.st_size + 1);
    if (fread(bytes, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        die(path, NULL);
    fclose(file);
    if (size != NULL)
        *size = (size_t)status.st_size;
    return bytes;
}

static void write_file(const char *path, const char *contents)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(contents, file) < 0 || fclose(file) != 0)
        die(path, NULL);
}

/* --- parameters and modules ---------------------------------------------------------------------------------------- */

static void set_lines(dijitso_params *params, char *lines)
{
    char *rest = NULL, *line;
    dijitso_error *error = NULL;
    if (lines == NULL)
        return;
    for (line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (equals == NULL)
            die(line, NULL);
        *equals = '\0';
        if (dijitso_params_set(params, line, equals + 1, &error))
            die(line, error);
    }
}

dijitso_params *params_of(const char *sources, const char *kind, const char *cache)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    const char *further = getenv("BENCH_SET");
    if (dijitso_params_new(&params, &error)
        || (cache != NULL && dijitso_params_set(params, "cache.cache_dir", cache, &error)))
        die("parameters", error);
    if (sources != NULL)
        set_lines(params, read_file(text("%s/%s.params", sources, kind), NULL));
    if (further != NULL)
        set_lines(params, text("%s", further));
    return params;
}

size_t read_modules(const char *sources, struct module *modules)
{
    char *lines = read_file(text("%s/modules", sources), NULL), *rest = NULL, *line;
    size_t count = 0;
    if (lines == NULL)
        die("no file `modules`", NULL);
    for (line = strtok_r(lines, "\n", &rest); line != NULL && count < MAX_MODULES; line = strtok_r(NULL, "\n", &rest)) {
        struct module *module = &modules[count++];
        char *words = NULL, *word;
        memset(module, 0, sizeof *module);
        module->name = strtok_r(line, " ", &words);
        module->kind = strtok_r(NULL, " ", &words);
        module->extension = strtok_r(NULL, " ", &words);
        while (module->dependency_count < MAX_DEPENDENCIES && (word = strtok_r(NULL, " ", &words)) != NULL)
            module->dependencies[module->dependency_count++] = word;
        module->code = read_file(text("%s/%s%s", sources, module->name, module->extension), NULL);
        module->header = read_file(text("%s/%s.h", sources, module->name), NULL);
        if (module->code == NULL)
            die(module->name, NULL);
    }
    return count;
}

const struct module *find_module(const struct module *modules, size_t count, const char *name)
{
    for (size_t i = 0; i < count; ++i)
        if (strcmp(modules[i].name, name) == 0)
            return &modules[i];
    die(name, NULL);
    return NULL;
}

int32_t generate_module(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    const struct module *module = user_data;
    (void)name, (void)signature, (void)generator_json;
    if (module->header != NULL && dijitso_source_set_header(source, module->header, strlen(module->header)))
        return 1;
    for (size_t i = 0; i < module->dependency_count; ++i)
        if (dijitso_source_add_dependency(source, module->dependencies[i]))
            return 1;
    return dijitso_source_set_code(source, module->code, strlen(module->code));
}

char *signature_of(const dijitso_params *params, const char *name)
{
    dijitso_blob *blob = NULL;
    dijitso_error *error = NULL;
    char *signature;
    if (dijitso_blob_new(&blob, &error) || dijitso_signature(params, name, blob, &error))
        die("signature", error);
    signature = allocate(dijitso_blob_size(blob) + 1);
    memcpy(signature, dijitso_blob_data(blob), dijitso_blob_size(blob));
    dijitso_blob_free(blob);
    return signature;
}

/* --- the bare compiler --------------------------------------------------------------------------------------------- */

struct words {
    char **words;
    size_t count;
};

/* Leaves out the options that dijitso adds by itself. */
static int32_t take_word(void *user_data, const char *word)
{
    struct words *into = user_data;
    if (strncmp(word, "-fuse-ld=", 9) == 0 || strcmp(word, "-pipe") == 0)
        return 0;
    if (into->count + 1 >= MAX_WORDS)
        die("too many words", NULL);
    into->words[into->count++] = text("%s", word);
    return 0;
}

struct bare bare_prepare(const struct module *module, const char *sources, const char *cache, const char *directory)
{
    struct bare bare = {text("%s", directory), {NULL}};
    struct words words = {bare.words, 0};
    dijitso_params *params = params_of(sources, module->kind, cache);
    dijitso_error *error = NULL;
    char *signature;
    if (dijitso_params_set(params, "build.precompile", "never", &error))
        die("parameters", error);
    signature = signature_of(params, module->name);
    if (dijitso_build_command(params, signature, (const char *const *)module->dependencies,
                              module->dependency_count, take_word, &words, &error))
        die("build command", error);
    write_file(text("%s/%s%s", directory, signature, module->extension), module->code);
    if (module->header != NULL)
        write_file(text("%s/%s.h", directory, signature), module->header);
    dijitso_params_free(params);
    return bare;
}

pid_t spawn(char *const *words, const char *directory)
{
    posix_spawn_file_actions_t actions;
    pid_t process;
    if (posix_spawn_file_actions_init(&actions) != 0
        || (directory != NULL && posix_spawn_file_actions_addchdir_np(&actions, directory) != 0)
        || posix_spawnp(&process, words[0], &actions, NULL, words, environ) != 0)
        die(words[0], NULL);
    posix_spawn_file_actions_destroy(&actions);
    return process;
}

void wait_for(pid_t process)
{
    int status = 0;
    if (waitpid(process, &status, 0) <= 0 || status != 0)
        die("a child failed", NULL);
}
