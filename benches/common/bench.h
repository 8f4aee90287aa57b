/* Functions of the programs of benches/: clocks, ranks, a common start, modules and parameters from files, and the bare
 * compiler with the flags that dijitso gives it. A failure ends the program with a message. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dijitso.h>
#include <stddef.h>
#include <sys/types.h>

enum { MAX_DEPENDENCIES = 8, MAX_MODULES = 32, MAX_WORDS = 128 };

struct bench {
    MPI_Comm comm; /* DIJITSO_COMM_NULL without --comm */
    int rank, size;
};

/* One line of the file `modules` in a directory of sources: NAME KIND EXTENSION DEPENDENCIES... */
struct module {
    char *name, *kind, *code, *header, *extension;
    size_t dependency_count;
    char *dependencies[MAX_DEPENDENCIES];
};

/* Starts MPI if the first argument is --comm, and removes that. */
struct bench bench_start(int *argc, char **argv);
void bench_end(void);
void die(const char *what, dijitso_error *error);

double now(void);
double cpu_seconds(void); /* of this process without its children */
double thread_cpu_seconds(void);

/* Sleeps on all ranks until the same point in time, and returns it. If there are more ranks than cores, a barrier would
 * release them one after the other. All ranks are on one machine, so they share its monotonic clock. */
double common_start(const struct bench *bench);
double max_of(const struct bench *bench, double value);
double sum_of(const struct bench *bench, double value);
void values_of(const struct bench *bench, double value, double *values); /* on rank 0 */

char *read_file(const char *path, size_t *size); /* NULL if it does not exist */
void *allocate(size_t size);
char *text(const char *format, ...);

/* Reads KIND.params of a directory of sources: lines KEY=VALUE; then further lines from the variable BENCH_SET. */
dijitso_params *params_of(const char *sources, const char *kind, const char *cache);
size_t read_modules(const char *sources, struct module *modules); /* returns their number */
const struct module *find_module(const struct module *modules, size_t count, const char *name);
int32_t generate_module(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source); /* user_data: the module */
char *signature_of(const dijitso_params *params, const char *name);

/* Prepares the command of the bare compiler, with the same flags, in an existing `directory`. It can be run any number of
 * times. The dependencies are those of the cache. */
struct bare {
    char *directory;
    char *words[MAX_WORDS];
};
struct bare bare_prepare(const struct module *module, const char *sources, const char *cache, const char *directory);
pid_t spawn(char *const *words, const char *directory);
void wait_for(pid_t process);

#endif
