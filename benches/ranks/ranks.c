/* Measures waiting: one rank compiles, the others wait, through dijitso and in MPI_Barrier.
 *
 * usage: ranks COMPILER DIRECTORY [without-barrier]
 * prints: wall time and the waiters' CPU time for dijitso, the same two for MPI_Barrier, the bare compiler's time, and how
 * often the waiters of dijitso fell asleep */
#define _XOPEN_SOURCE 700
#include <dijitso.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char code[] = "extern \"C\" double evaluate(double x) { return 3.0 * x + 1.0; }\n";

struct job {
    const char *compiler, *directory;
    int rank;
};

struct cost {
    double wall;    /* seconds from the common start to the end of the last rank */
    double waiters; /* CPU seconds of all ranks but the first, without children */
    double sleeps;  /* voluntary context switches of all ranks but the first */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double sleeps(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_nvcsw;
}

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

static void by_dijitso(const struct job *job)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    callbacks.generate = generate;
    if (dijitso_params_new(&params, &error) || dijitso_params_set(params, "cache.cache_dir", job->directory, &error)
        || dijitso_params_set(params, "build.cxx", job->compiler, &error)
        || dijitso_jit("bench", params, &callbacks, MPI_COMM_WORLD, &library, &error)) {
        fprintf(stderr, "rank %d: %s\n", job->rank, dijitso_error_message(error));
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    dijitso_library_free(library);
    dijitso_params_free(params);
}

static void compile(const struct job *job)
{
    char command[8192];
    snprintf(command, sizeof command, "'%s' -shared -fPIC -O3 -x c++ '%s/bare.cpp' -o '%s/bare.so'", job->compiler,
             job->directory, job->directory);
    if (system(command) != 0)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

static void write_source(const struct job *job)
{
    char path[4096];
    FILE *source;
    snprintf(path, sizeof path, "%s/bare.cpp", job->directory);
    source = fopen(path, "w");
    if (source == NULL || fputs(code, source) < 0 || fclose(source) != 0)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

static void by_barrier(const struct job *job)
{
    if (job->rank == 0)
        compile(job);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Sleeps until a common point in time. If there are more ranks than cores, a barrier would release them one after the
 * other. All ranks are on one machine, so they share its monotonic clock. */
static double common_start(void)
{
    /* Three seconds are long enough for 64 ranks on two cores to leave the reduction. */
    double start = now() + 3.0;
    struct timespec time;
    MPI_Allreduce(MPI_IN_PLACE, &start, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    time.tv_sec = (time_t)start;
    time.tv_nsec = (long)((start - (double)time.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    return start;
}

static struct cost measure(void (*wait)(const struct job *), const struct job *job)
{
    struct cost cost;
    const double start = common_start(), cpu = cpu_seconds(), before = sleeps();
    wait(job);
    cost.waiters = job->rank == 0 ? 0.0 : cpu_seconds() - cpu;
    cost.sleeps = job->rank == 0 ? 0.0 : sleeps() - before;
    cost.wall = now() - start;
    MPI_Allreduce(MPI_IN_PLACE, &cost.wall, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &cost.waiters, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &cost.sleeps, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return cost;
}

/* Runs the compiler on rank 0 while the other ranks sleep. */
static double bare(const struct job *job)
{
    double seconds = common_start();
    if (job->rank == 0) {
        compile(job);
        seconds = now() - seconds;
    } else {
        const struct timespec pause = {3, 0};
        nanosleep(&pause, NULL);
    }
    return seconds;
}

int main(int argc, char **argv)
{
    struct job job;
    struct cost dijitso, barrier = {0.0, 0.0, 0.0};
    double alone;
    MPI_Init(&argc, &argv);
    if (argc != 3 && argc != 4)
        MPI_Abort(MPI_COMM_WORLD, 2);
    job.compiler = argv[1];
    job.directory = argv[2];
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    if (job.rank == 0)
        write_source(&job);
    alone = bare(&job);
    dijitso = measure(by_dijitso, &job);
    if (argc == 3)
        barrier = measure(by_barrier, &job);
    if (job.rank == 0)
        printf("%.3f %.4f %.3f %.4f %.3f %.0f\n", dijitso.wall, dijitso.waiters, barrier.wall, barrier.waiters, alone,
               dijitso.sleeps);
    MPI_Finalize();
    return 0;
}
