/* A C++ module that returns an integer, with parameters and compilers to build it. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "check.h"

enum { PATH_SIZE = 4096, INCLUDED_VALUE = 42 };

/* The user_data of integer_generate, which generates a function value(). It returns the integer plus the 42 that the
 * module's header defines. */
struct integer {
    int value;
    int calls;              /* number of calls of generate */
    const char *extra_code; /* appended to the source if not NULL */
    const char *fail_with;  /* if not NULL, generate sets this reason and returns 7 */
};
int32_t integer_generate(void *integer, const char *name, const char *signature, const char *generator_json,
                         dijitso_source *source);

/* The result of one call of dijitso_jit. */
struct outcome {
    dijitso_status status;
    int origin;            /* -1 if the call failed */
    int value;             /* of the library's function value(), -1 if there is none */
    double seconds;
    dijitso_error *error;  /* NULL on success; freed by outcome_free */
    char signature[512];   /* "" if the call failed */
};
struct outcome jit(const char *name, const dijitso_params *params, const dijitso_callbacks *callbacks,
                   MPI_Comm comm);
struct outcome jit_integer(const char *name, const dijitso_params *params, struct integer *integer,
                           MPI_Comm comm);
void outcome_free(struct outcome *outcome);
/* Checks for success, the value, and an origin in the mask (1 << DIJITSO_ORIGIN_...). Frees the outcome. */
void check_outcome(struct outcome outcome, int value, unsigned origins, const char *file, int line);
#define CHECK_OUTCOME(outcome, value, origins) check_outcome((outcome), (value), (origins), __FILE__, __LINE__)
#define ORIGIN(name) (1u << DIJITSO_ORIGIN_##name)
#define ANY_ORIGIN (ORIGIN(MEMORY) | ORIGIN(DISK) | ORIGIN(BUILT) | ORIGIN(RECEIVED))

/* Makes parameters with this cache directory and -O0, then any number of key, value pairs up to a NULL. */
dijitso_params *params_with(const char *cache_dir, ...);

/* Formats a path or a name as printf does. It is valid until the program ends. */
const char *path_of(const char *format, ...);
void make_directory(const char *path);
int exists(const char *path);
void write_text(const char *path, const char *text, int mode);
/* Writes a compiler that runs the real one and adds a line to directory/compiles for every library that it links. */
const char *counting_compiler(const char *directory);
/* Returns the number of those lines. */
int compiles(const char *directory);

double now(void);

#endif
