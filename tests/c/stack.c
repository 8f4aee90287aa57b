/* Measures the stack that the library needs: each kind of call runs on a new thread whose stack has the size that the
 * header promises to be enough. The stack is painted first, so that its used part can be measured.
 *
 * usage: stack WORK build|hit, each in a new process */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include "fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

/* As in the header, part "Threads and MPI", for an optimised library. */
enum { STACK = 64 << 10, CALL = 40 << 10, PAINT = 0xa5 };

static const char *work;

static dijitso_params *params(void)
{
    return params_with(path_of("%s/cache", work), NULL);
}

static void *cold(void *unused)
{
    dijitso_params *const given = params();
    struct integer integer = {.value = 1};
    CHECK_OUTCOME(jit_integer("cold", given, &integer, DIJITSO_COMM_NULL), INCLUDED_VALUE + 1, ORIGIN(BUILT));
    dijitso_params_free(given);
    return unused;
}

/* The phase `build` has built it. */
static void *hit(void *unused)
{
    dijitso_params *const given = params();
    struct integer integer = {.value = 2};
    CHECK_OUTCOME(jit_integer("hit", given, &integer, DIJITSO_COMM_NULL), INCLUDED_VALUE + 2, ORIGIN(DISK));
    dijitso_params_free(given);
    return unused;
}

static void *defaults(void *unused)
{
    struct integer integer = {.value = 3};
    CHECK_OUTCOME(jit_integer("hit", NULL, &integer, DIJITSO_COMM_NULL), INCLUDED_VALUE + 3, ORIGIN(BUILT));
    return unused;
}

static void *failing(void *unused)
{
    dijitso_params *const given = params();
    struct integer integer = {.value = 1, .extra_code = "this is no C++\n"};
    struct outcome outcome = jit_integer("failing", given, &integer, DIJITSO_COMM_NULL);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    dijitso_params_free(given);
    return unused;
}

#if defined(__x86_64__) && defined(__GLIBC__)
/* An exception of a static constructor is an error of the call; other threads can still load libraries. */
static void *throwing(void *unused)
{
    dijitso_params *const given = params();
    struct integer integer = {.value = 1, .extra_code = "struct A { A() { throw 7; } };\nstatic A a;\n"};
    struct outcome outcome = jit_integer("throwing", given, &integer, DIJITSO_COMM_NULL);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "threw int");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_LOAD, outcome.error);
    dijitso_params_free(given);
    return unused;
}
#endif

static int32_t generate_form(void *given, const char *name, const char *signature, const char *json,
                             dijitso_source *source)
{
    static const char code[] = "int element_value(); extern \"C\" int value() { return element_value(); }\n";
    struct integer integer = {.value = 4, .extra_code = "int element_value() { return 4; }\n"};
    struct outcome element = jit_integer("element", given, &integer, DIJITSO_COMM_NULL);
    int32_t status = element.status;
    (void)name, (void)signature, (void)json;
    if (status == DIJITSO_OK)
        status = dijitso_source_add_dependency(source, element.signature);
    outcome_free(&element);
    return status != DIJITSO_OK ? status : dijitso_source_set_code(source, code, sizeof code - 1);
}

static void *nested(void *unused)
{
    dijitso_params *const given = params();
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = given;
    callbacks.generate = generate_form;
    CHECK_OUTCOME(jit("form", given, &callbacks, DIJITSO_COMM_NULL), 4, ORIGIN(BUILT));
    dijitso_params_free(given);
    return unused;
}

static void *start_and_finish(void *unused)
{
    dijitso_params *const given = params();
    struct integer integer = {.value = 5};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_pending *pending = NULL;
    dijitso_library *library = NULL;
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    CHECK_CALL(dijitso_jit_start("parts", given, &callbacks, DIJITSO_COMM_NULL, &pending, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_jit_finish(pending, &library, &error), DIJITSO_OK);
    dijitso_library_free(library);
    dijitso_params_free(given);
    return unused;
}

static void *bundles(void *unused)
{
    dijitso_params *const given = params(), *const other = params_with(path_of("%s/other", work), NULL);
    const char *const bundle = path_of("%s/bundle.tar", work);
    CHECK_CALL(dijitso_bundle_export(given, NULL, 0, bundle, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_bundle_import(other, bundle, 0, NULL, NULL, &error), DIJITSO_OK);
    dijitso_params_free(given);
    dijitso_params_free(other);
    return unused;
}

static void *missing_symbol(void *unused)
{
    dijitso_params *const given = params();
    dijitso_library *library = NULL;
    dijitso_fn function = NULL;
    struct integer integer = {.value = 2};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    CHECK_CALL(dijitso_jit("hit", given, &callbacks, DIJITSO_COMM_NULL, &library, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_library_symbol(library, "values", &function, &error), DIJITSO_ERROR_SYMBOL);
    dijitso_library_free(library);
    dijitso_params_free(given);
    return unused;
}

static void try_with_stack(const char *name, void *(*call)(void *))
{
    unsigned char *const stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t free_bytes = 0;
    check_case("%s", name);
    memset(stack, PAINT, STACK);
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, call, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    while (free_bytes < STACK && stack[free_bytes] == PAINT)
        ++free_bytes;
    printf("%s: %zu bytes of stack\n", name, (size_t)STACK - free_bytes);
    fflush(stdout);
    /* Includes the functions of this program and the thread_local variables. */
    CHECK(STACK - free_bytes < CALL);
    munmap(stack, STACK);
}

int main(int argc, char **argv)
{
    work = argc > 1 ? argv[1] : ".";
    if (argc > 2 && strcmp(argv[2], "hit") == 0) {
        try_with_stack("hit", hit);
        return check_result();
    }
    /* For the call with the default parameters. */
    setenv("DIJITSO_CACHE_DIR", path_of("%s/defaults", work), 1);
    try_with_stack("cold", cold);
    try_with_stack("missing symbol", missing_symbol);
    try_with_stack("defaults", defaults);
    try_with_stack("failing", failing);
#if defined(__x86_64__) && defined(__GLIBC__)
    try_with_stack("throwing", throwing);
#endif
    try_with_stack("nested", nested);
    try_with_stack("start and finish", start_and_finish);
    try_with_stack("export and import", bundles);
    return check_result();
}
