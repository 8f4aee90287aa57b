#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int32_t integer_generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                         dijitso_source *source)
{
    struct integer *const integer = user_data;
    char code[4096], header[256];
    int status;
    ++integer->calls;
    CHECK(name != NULL && signature != NULL && generator_json != NULL && source != NULL);
    if (integer->fail_with != NULL) {
        CHECK(dijitso_source_set_error(source, integer->fail_with) == DIJITSO_OK);
        return 7;
    }
    snprintf(header, sizeof header, "#pragma once\nenum { included_value = %d };\n", INCLUDED_VALUE);
    snprintf(code, sizeof code, "#include \"%s.h\"\nextern \"C\" int value() { return %d + included_value; }\n%s",
             signature, integer->value, integer->extra_code ? integer->extra_code : "");
    status = dijitso_source_set_header(source, header, strlen(header));
    return status != DIJITSO_OK ? status : dijitso_source_set_code(source, code, strlen(code));
}

static int call_value(const dijitso_library *library)
{
    dijitso_fn function = NULL;
    if (dijitso_library_symbol(library, "value", &function, NULL) != DIJITSO_OK)
        return -1;
    /* The handle of the loader gives the same address. */
    CHECK(dlsym(dijitso_library_handle(library), "value") == *(void **)&function);
    return ((int (*)(void))function)();
}

struct outcome jit(const char *name, const dijitso_params *params, const dijitso_callbacks *callbacks,
                   MPI_Comm comm)
{
    struct outcome outcome = {0, -1, -1, 0.0, NULL, ""};
    /* The call must overwrite both pointers. */
    dijitso_library *library = (dijitso_library *)&outcome;
    dijitso_error *error = (dijitso_error *)&outcome;
    const double start = now();
    outcome.status = dijitso_jit(name, params, callbacks, comm, &library, &error);
    outcome.seconds = now() - start;
    outcome.error = error;
    CHECK((outcome.status == DIJITSO_OK) == (error == NULL));
    CHECK((outcome.status == DIJITSO_OK) == (library != NULL));
    if (library != NULL) {
        outcome.origin = dijitso_library_origin(library);
        outcome.value = call_value(library);
        snprintf(outcome.signature, sizeof outcome.signature, "%s", dijitso_library_signature(library));
        CHECK(exists(dijitso_library_path(library)));
    }
    dijitso_library_free(library);
    return outcome;
}

struct outcome jit_integer(const char *name, const dijitso_params *params, struct integer *integer, MPI_Comm comm)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = integer;
    callbacks.generate = integer_generate;
    return jit(name, params, &callbacks, comm);
}

void outcome_free(struct outcome *outcome)
{
    dijitso_error_free(outcome->error);
    outcome->error = NULL;
}

void check_outcome(struct outcome outcome, int value, unsigned origins, const char *file, int line)
{
    char detail[64];
    if (check_status(outcome.status, DIJITSO_OK, outcome.error, "dijitso_jit", file, line)) {
        snprintf(detail, sizeof detail, "%d instead of %d", outcome.value, value);
        check_that(outcome.value == value, "the library's value", detail, file, line);
        snprintf(detail, sizeof detail, "origin %d, allowed mask %u", outcome.origin, origins);
        check_that(outcome.origin >= 0 && ((1u << outcome.origin) & origins) != 0, "the origin", detail, file, line);
    }
}

dijitso_params *params_with(const char *cache_dir, ...)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    const char *key = "cache.cache_dir", *value = cache_dir;
    va_list arguments;
    CHECK_STATUS(dijitso_params_new(&params, &error), DIJITSO_OK, error);
    va_start(arguments, cache_dir);
    while (key != NULL) {
        CHECK_STATUS(dijitso_params_set(params, key, value, &error), DIJITSO_OK, error);
        key = va_arg(arguments, const char *);
        value = key != NULL ? va_arg(arguments, const char *) : NULL;
    }
    va_end(arguments);
    CHECK_STATUS(dijitso_params_set(params, "build.cxxflags_opt", "-O0", &error), DIJITSO_OK, error);
    return params;
}

/* All paths, freed at exit so that a leak checker reports other leaks only. */
static struct path {
    struct path *previous;
    char text[];
} *last_path;

static void free_paths(void)
{
    while (last_path != NULL) {
        struct path *const path = last_path;
        last_path = path->previous;
        free(path);
    }
}

const char *path_of(const char *format, ...)
{
    struct path *path;
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (last_path == NULL)
        atexit(free_paths);
    path = malloc(sizeof *path + (size_t)length + 1);
    if (path == NULL)
        abort();
    va_start(arguments, format);
    vsnprintf(path->text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    path->previous = last_path;
    last_path = path;
    return path->text;
}

void make_directory(const char *path)
{
    mkdir(path, 0755);
    CHECK(exists(path));
}

int exists(const char *path)
{
    return path != NULL && access(path, F_OK) == 0;
}

void write_text(const char *path, const char *text, int mode)
{
    FILE *const file = fopen(path, "w");
    if (CHECK(file != NULL)) {
        CHECK(fputs(text, file) >= 0);
        CHECK(fclose(file) == 0);
        CHECK(chmod(path, (mode_t)mode) == 0);
    }
}

const char *counting_compiler(const char *directory)
{
    char text[2 * PATH_SIZE];
    const char *const real = getenv("CXX");
    const char *const path = path_of("%s/counting-c++", directory);
    /* Only calls with -o link; questions about the version are not counted. */
    snprintf(text, sizeof text,
             "#!/bin/sh\n"
             "for argument; do\n"
             "  if [ \"$argument\" = -o ]; then echo linked >> '%s/compiles'; fi\n"
             "done\n"
             "exec %s \"$@\"\n",
             directory, real != NULL ? real : "c++");
    write_text(path, text, 0755);
    return path;
}

int compiles(const char *directory)
{
    FILE *const file = fopen(path_of("%s/compiles", directory), "r");
    int lines = 0, character;
    if (file == NULL)
        return 0;
    while ((character = fgetc(file)) != EOF)
        lines += character == '\n';
    fclose(file);
    return lines;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
