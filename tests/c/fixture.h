/* What the tests build: a C++ module that returns an integer, with parameters and compilers to build it with. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "check.h"

enum { PATH_SIZE = 4096, INCLUDED_VALUE = 42 };

/* Generates a function value() that returns the integer plus the 42 that the module's own header defines. */
struct integer {
    int value;
    int calls;              /* how often generate was called */
    const char *extra_code; /* appended to the source where not NULL */
    const char *fail_with;  /* where not NULL, generate returns 7 and gives this reason */
};
int32_t integer_generate(void *integer, const char *name, const char *signature, const char *generator_json,
                         dijitso_source *source);

/* What one call of dijitso_jit gave. */
struct outcome {
    dijitso_status status;
    int origin;            /* -1 where the call failed */
    int value;             /* of the library's function value(), -1 where there is none */
    double seconds;
    dijitso_error *error;  /* NULL on success; freed by outcome_free */
    char signature[512];   /* "" where the call failed */
};
struct outcome jit(const char *name, const dijitso_params *params, const dijitso_callbacks *callbacks,
                   MPI_Comm comm);
struct outcome jit_integer(const char *name, const dijitso_params *params, struct integer *integer,
                           MPI_Comm comm);
void outcome_free(struct outcome *outcome);
/* Success with the right value, and an origin among those of the mask (1 << DIJITSO_ORIGIN_...); frees the outcome. */
void check_outcome(struct outcome outcome, int value, unsigned origins, const char *file, int line);
#define CHECK_OUTCOME(outcome, value, origins) check_outcome((outcome), (value), (origins), __FILE__, __LINE__)
#define ORIGIN(name) (1u << DIJITSO_ORIGIN_##name)
#define ANY_ORIGIN (ORIGIN(MEMORY) | ORIGIN(DISK) | ORIGIN(BUILT) | ORIGIN(RECEIVED))

/* Parameters with this cache directory and a quick build, then any number of key, value pairs up to a NULL. */
dijitso_params *params_with(const char *cache_dir, ...);

/* A path or a name, written as printf does; it lives as long as the program. */
const char *path_of(const char *format, ...);
void make_directory(const char *path);
int exists(const char *path);
void write_text(const char *path, const char *text, int mode);
/* A compiler that runs the real one, and adds a line to directory/compiles for every library that it links. */
const char *counting_compiler(const char *directory);
int compiles(const char *directory);

double now(void);

#endif
