/* Asks again and again for a loaded library, and compares that with lookups in a hash map.
 *
 * usage: memory_hit [--comm] CACHE CALLS CHUNKS THREADS
 * prints: JSON, for each chunk the nanoseconds of a call: wall time (of the slowest rank or of all threads) and CPU time
 * of the calling thread (median rank), which is the cost of a call if there are more ranks than cores. */
#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, ENTRIES = 100, MAX_THREADS = 64, MAX_RANKS = 1024 };

static const char name[] = "bench_memory_hit";
static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";

struct work {
    const dijitso_params *params;
    MPI_Comm comm;
    size_t calls;
};

/* --- the floor: a hash map with strings as keys ----------------------------------------------------------------------- */

static struct entry {
    const char *key;
    const void *value;
    struct entry *next;
} entries[ENTRIES], *buckets[BUCKETS];

static unsigned hash(const char *key)
{
    unsigned value = 2166136261u;
    for (; *key != '\0'; ++key)
        value = (value ^ (unsigned char)*key) * 16777619u;
    return value % BUCKETS;
}

static const void *map_get(const char *key)
{
    for (const struct entry *entry = buckets[hash(key)]; entry != NULL; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry->value;
    return NULL;
}

static void map_fill(void)
{
    for (size_t i = 0; i < ENTRIES; ++i) {
        struct entry **bucket;
        entries[i].key = i == ENTRIES / 2 ? name : text("bench_module_%zu", i);
        entries[i].value = &entries[i];
        bucket = &buckets[hash(entries[i].key)];
        entries[i].next = *bucket;
        *bucket = &entries[i];
    }
}

/* --- the measured calls; callgrind counts within these two functions -------------------------------------------------- */

__attribute__((noinline)) void measured_jit(const struct work *work)
{
    for (size_t i = 0; i < work->calls; ++i) {
        dijitso_library *library = NULL;
        if (dijitso_jit(name, work->params, NULL, work->comm, &library, NULL))
            die("jit", NULL);
        dijitso_library_free(library);
    }
}

__attribute__((noinline)) void measured_map(const struct work *work)
{
    for (size_t i = 0; i < work->calls; ++i) {
        const char *volatile key = name;
        if (map_get(key) == NULL)
            die("map", NULL);
    }
}

struct thread {
    void (*measured)(const struct work *);
    const struct work *work;
    pthread_barrier_t *barrier;
    double begin, end;
};

static void *in_thread(void *user_data)
{
    struct thread *thread = user_data;
    pthread_barrier_wait(thread->barrier);
    thread->begin = now();
    thread->measured(thread->work);
    thread->end = now();
    return NULL;
}

/* Returns the nanoseconds from the first thread's begin to the last thread's end, divided by the calls of one thread. */
static double threads_take(void (*measured)(const struct work *), const struct work *work, int count)
{
    pthread_t handles[MAX_THREADS];
    struct thread threads[MAX_THREADS];
    pthread_barrier_t barrier;
    double begin, end;
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; ++i) {
        threads[i] = (struct thread){measured, work, &barrier, 0.0, 0.0};
        if (pthread_create(&handles[i], NULL, in_thread, &threads[i]) != 0)
            die("thread", NULL);
    }
    for (int i = 0; i < count; ++i)
        pthread_join(handles[i], NULL);
    begin = threads[0].begin;
    end = threads[0].end;
    for (int i = 1; i < count; ++i) {
        begin = threads[i].begin < begin ? threads[i].begin : begin;
        end = threads[i].end > end ? threads[i].end : end;
    }
    pthread_barrier_destroy(&barrier);
    return 1e9 * (end - begin) / (double)work->calls;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure(const struct bench *bench, void (*measured)(const struct work *), const struct work *work, int threads,
                    double *wall, double *cpu)
{
    double values[MAX_RANKS];
    const double start = common_start(bench), cpu_before = thread_cpu_seconds();
    if (threads > 1) {
        *wall = threads_take(measured, work, threads);
        *cpu = 0.0;
        return;
    }
    measured(work);
    *cpu = 1e9 * (thread_cpu_seconds() - cpu_before) / (double)work->calls;
    *wall = max_of(bench, 1e9 * (now() - start) / (double)work->calls);
    values_of(bench, *cpu, values);
    qsort(values, (size_t)bench->size, sizeof *values, compare);
    *cpu = values[bench->size / 2];
}

static int32_t generate(void *user_data, const char *name_of_call, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name_of_call, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

static void print(const char *label, const double *values, int count, const char *end)
{
    printf("\"%s\": [", label);
    for (int i = 0; i < count; ++i)
        printf("%s%.3f", i == 0 ? "" : ", ", values[i]);
    printf("]%s", end);
}

int main(int argc, char **argv)
{
    const struct bench bench = bench_start(&argc, argv);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_params *params;
    struct work work;
    double *jit_wall, *jit_cpu, *map_wall, *map_cpu;
    if (argc != 5)
        die("usage: memory_hit [--comm] CACHE CALLS CHUNKS THREADS", NULL);
    const int chunks = atoi(argv[3]), threads = atoi(argv[4]);
    if (chunks < 1 || threads < 1 || threads > MAX_THREADS || bench.size > MAX_RANKS)
        die("numbers", NULL);

    map_fill();
    params = params_of(NULL, NULL, argv[1]);
    callbacks.generate = generate;
    if (dijitso_params_set(params, "build.language", "c", &error)
        || dijitso_jit(name, params, &callbacks, bench.comm, &library, &error))
        die("jit", error);
    dijitso_library_free(library);

    work = (struct work){params, bench.comm, (size_t)atol(argv[2])};
    jit_wall = allocate((size_t)chunks * sizeof(double));
    jit_cpu = allocate((size_t)chunks * sizeof(double));
    map_wall = allocate((size_t)chunks * sizeof(double));
    map_cpu = allocate((size_t)chunks * sizeof(double));
    for (int i = 0; i < chunks; ++i) {
        measure(&bench, measured_jit, &work, threads, &jit_wall[i], &jit_cpu[i]);
        measure(&bench, measured_map, &work, threads, &map_wall[i], &map_cpu[i]);
    }
    if (bench.rank == 0) {
        printf("{");
        print("jit_wall", jit_wall, chunks, ", ");
        print("jit_cpu", jit_cpu, chunks, ", ");
        print("map_wall", map_wall, chunks, ", ");
        print("map_cpu", map_cpu, chunks, "}\n");
    }
    dijitso_params_free(params);
    bench_end();
    return 0;
}
