/* Eight threads without a communicator: the same and different names, shared and own parameters, failures, and handles
 * that one thread makes and another frees. usage: threads WORK small|large */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 8, NAMES = 3 };

static const char *work;
static int rounds, builds;
static dijitso_params *shared;
static pthread_barrier_t barrier;

/* The blob of the builder, for the receivers in all threads. */
static uint8_t *blob;
static size_t blob_size;

/* Handles that the next thread takes over and frees. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dijitso_library *passed_library;
static dijitso_error *passed_error;

struct thread {
    pthread_t id;
    int number;
};

static dijitso_params *params_of(const char *directory)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", work, directory);
    return params_with(path, NULL);
}

static void pass_on(dijitso_library *library, dijitso_error *error)
{
    dijitso_library *other_library;
    dijitso_error *other_error;
    pthread_mutex_lock(&lock);
    other_library = passed_library;
    other_error = passed_error;
    passed_library = library;
    passed_error = error;
    pthread_mutex_unlock(&lock);
    if (other_library != NULL)
        CHECK(strlen(dijitso_library_signature(other_library)) > 0 && exists(dijitso_library_path(other_library)));
    if (other_error != NULL)
        CHECK(dijitso_error_status(other_error) == DIJITSO_ERROR_SYMBOL && strlen(dijitso_error_message(other_error)) > 0);
    dijitso_library_free(other_library);
    dijitso_error_free(other_error);
}

/* Uses a loaded library: calls a function, asks for a missing symbol, and passes the handles on. */
static void use_library(int round)
{
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn function = NULL;
    dijitso_status status;
    char name[64];
    snprintf(name, sizeof name, "ready_%d", round % NAMES);
    status = dijitso_jit(name, shared, NULL, DIJITSO_COMM_NULL, &library, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    if (library == NULL)
        return;
    CHECK(dijitso_library_origin(library) == DIJITSO_ORIGIN_MEMORY);
    CHECK(dijitso_library_symbol(library, "value", &function, NULL) == DIJITSO_OK);
    CHECK(function != NULL && ((int (*)(void))function)() == round % NAMES + INCLUDED_VALUE);
    CHECK(dijitso_library_symbol(library, "no_such_symbol", &function, &error) == DIJITSO_ERROR_SYMBOL);
    CHECK(function == NULL && error != NULL);
    pass_on(library, error);
}

/* Changes parameters of this thread, and reads the shared ones. */
static void use_params(int number, int round)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    dijitso_library *library = NULL;
    dijitso_status status;
    char value[64];
    snprintf(value, sizeof value, "{\"a\":%d,\"b\":[%d]}", number, round);
    status = dijitso_params_new(&params, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    status = dijitso_params_set(params, "generator", value, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    status = dijitso_params_merge_json(params, "{\"build\": {\"debug\": true}}", &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK(strcmp(dijitso_params_get(params, "generator"), value) == 0);
    CHECK(strcmp(dijitso_params_get(params, "build.debug"), "true") == 0);
    status = dijitso_params_merge_json(params, dijitso_params_to_json(shared), &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK(strcmp(dijitso_params_get(params, "build.debug"), dijitso_params_get(shared, "build.debug")) == 0);
    CHECK(strcmp(dijitso_params_origin(shared, "build.debug"), "default") == 0);
    status = dijitso_params_set(params, "build.debu", "x", &error);
    CHECK_STATUS(status, DIJITSO_ERROR_PARAMS, error);
    status = dijitso_jit("../evil", params, NULL, DIJITSO_COMM_NULL, &library, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    dijitso_params_free(params);
}

static int32_t receive(void *user_data, dijitso_blob *received)
{
    uint8_t *const data = dijitso_blob_resize(received, blob_size);
    (void)user_data;
    if (data == NULL)
        return 1;
    memcpy(data, blob, blob_size);
    return 0;
}

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    (void)user_data;
    blob = malloc(size);
    blob_size = size;
    if (blob == NULL)
        return 1;
    memcpy(blob, data, size);
    return 0;
}

/* Asks within generate for a library that all threads ask for at the same time. */
static int32_t generate_nested(void *integer, const char *name, const char *signature, const char *generator_json,
                               dijitso_source *source)
{
    struct integer inner = {500, 0, NULL, NULL};
    char part[64];
    snprintf(part, sizeof part, "%.50s_part", name);
    CHECK_OUTCOME(jit_integer(part, shared, &inner, DIJITSO_COMM_NULL), 542, ANY_ORIGIN);
    return integer_generate(integer, name, signature, generator_json, source);
}

/* All threads at once: build a library, fail to build one, receive one. */
static void build_at_once(int number, int build)
{
    static const char broken_code[] = "int broken() { return undeclared_45; }\n";
    struct integer integer = {build, 0, NULL, NULL}, broken = {0, 0, broken_code, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    dijitso_params *params;
    char name[64];

    callbacks.user_data = &integer;
    callbacks.generate = generate_nested;
    snprintf(name, sizeof name, "built_%d", build);
    pthread_barrier_wait(&barrier);
    outcome = jit(name, shared, &callbacks, DIJITSO_COMM_NULL);
    CHECK_OUTCOME(outcome, build + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(MEMORY));
    CHECK_OUTCOME(jit_integer(name, shared, &integer, DIJITSO_COMM_NULL), build + INCLUDED_VALUE, ORIGIN(MEMORY));

    snprintf(name, sizeof name, "broken_%d", build);
    pthread_barrier_wait(&barrier);
    outcome = jit_integer(name, shared, &broken, DIJITSO_COMM_NULL);
    CHECK(outcome.status == DIJITSO_ERROR_COMPILE);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "undeclared_45");
    outcome_free(&outcome);

    /* Pairs of threads receive into the same directory. */
    snprintf(name, sizeof name, "receiver-%d-%d", build, number / 2);
    params = params_of(name);
    callbacks.generate = NULL;
    callbacks.receive = receive;
    pthread_barrier_wait(&barrier);
    CHECK_OUTCOME(jit("sent", params, &callbacks, DIJITSO_COMM_NULL), 300 + INCLUDED_VALUE,
                  ORIGIN(RECEIVED) | ORIGIN(DISK) | ORIGIN(MEMORY));
    dijitso_params_free(params);
}

static void *run(void *argument)
{
    const struct thread *const self = argument;
    for (int build = 0; build < builds; ++build)
        build_at_once(self->number, build);
    for (int round = 0; round < rounds; ++round) {
        use_library(round + self->number);
        if (round % 16 == 0)
            use_params(self->number, round);
    }
    return NULL;
}

static void prepare(void)
{
    struct integer integer = {0, 0, NULL, NULL};
    dijitso_params *const builder = params_of("builder");
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    for (int i = 0; i < NAMES; ++i) {
        char name[64];
        snprintf(name, sizeof name, "ready_%d", i);
        integer.value = i;
        CHECK_OUTCOME(jit_integer(name, shared, &integer, DIJITSO_COMM_NULL), i + INCLUDED_VALUE, ORIGIN(BUILT));
    }
    integer.value = 300;
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    callbacks.send = send;
    CHECK_OUTCOME(jit("sent", builder, &callbacks, DIJITSO_COMM_NULL), 300 + INCLUDED_VALUE, ORIGIN(BUILT));
    dijitso_params_free(builder);
}

int main(int argc, char **argv)
{
    struct thread threads[THREADS];
    const int large = argc > 2 && strcmp(argv[2], "large") == 0;
    CHECK(argc > 1);
    work = path_of("%s/%s", argv[1], large ? "large" : "small");
    rounds = large ? 10000 : 40;
    builds = large ? 4 : 1;
    shared = params_of("shared");
    prepare();
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; ++i) {
        threads[i].number = i;
        if (!CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0))
            abort();
    }
    for (int i = 0; i < THREADS; ++i)
        CHECK(pthread_join(threads[i].id, NULL) == 0);
    pthread_barrier_destroy(&barrier);
    pass_on(NULL, NULL);
    dijitso_params_free(shared);
    free(blob);
    return check_result();
}
