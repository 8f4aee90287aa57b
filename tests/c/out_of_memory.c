/* If memory for data whose size comes from outside is short, the call fails with a status, and the next healthy call
 * works. Small allocations always succeed here: if one fails, a Rust program ends. */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"
#include "short_malloc.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MIB = 1 << 20;
static const char *work;
/* A text as long as the longest that is passed, and a NUL. */
enum { LONG_TEXT = 96 << 20 };
static char *long_text;

/* Controls the callbacks. */
static struct {
    size_t code, header;    /* lengths of the texts that generate hands over; 0: a short code, no header */
    size_t requested;       /* size that receive requests; 0: that of the blob */
    size_t limit;           /* limit from the end of receive on; 0: unchanged */
    const char *extra;      /* appended to the code */
    const char *nested;     /* name of a dependency that generate builds first */
    dijitso_status nested_status, set_status;
    uint8_t *blob;
    size_t size;
    int sends;
} host;

static dijitso_params *params_in(const char *directory)
{
    return params_with(path_of("%s/%s", work, directory), "cache.src_storage", "delete", NULL);
}

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "extern \"C\" int value() { return 77; }\n";
    (void)name, (void)signature, (void)generator_json;
    host.set_status = DIJITSO_OK;
    if (host.nested != NULL) {
        dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
        dijitso_library *library = NULL;
        dijitso_error *error = NULL;
        host.nested_status = dijitso_jit(host.nested, user_data, &callbacks, DIJITSO_COMM_NULL, &library, &error);
        dijitso_error_free(error);
        if (library != NULL)
            host.set_status = dijitso_source_add_dependency(source, dijitso_library_signature(library));
        dijitso_library_free(library);
        if (host.nested_status != DIJITSO_OK)
            return 8;
    }
    if (host.header > 0)
        host.set_status = dijitso_source_set_header(source, long_text, host.header);
    if (host.set_status == DIJITSO_OK && host.code > 0)
        host.set_status = dijitso_source_set_code(source, long_text, host.code);
    if (host.set_status == DIJITSO_OK && host.code == 0) {
        const char *const text = path_of("%s%s", code, host.extra != NULL ? host.extra : "");
        host.set_status = dijitso_source_set_code(source, text, strlen(text));
    }
    return host.set_status;
}

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    (void)user_data;
    ++host.sends;
    free(host.blob);
    host.blob = malloc(size > 0 ? size : 1);
    host.size = size;
    if (host.blob == NULL)
        return 5;
    memcpy(host.blob, data, size);
    return 0;
}

static int32_t receive(void *user_data, dijitso_blob *blob)
{
    const size_t size = host.requested > 0 ? host.requested : host.size;
    uint8_t *const data = dijitso_blob_resize(blob, size);
    (void)user_data;
    if (data == NULL)
        return 6;
    memcpy(data, host.blob, host.size < size ? host.size : size);
    if (host.limit > 0)
        short_malloc_limit(host.limit);
    return 0;
}

/* Calls dijitso_jit while blocks of more than `limit` bytes are refused. */
static struct outcome call(const char *name, const char *directory, int receives, int sends, size_t limit)
{
    dijitso_params *const params = params_in(directory);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    callbacks.user_data = params;
    callbacks.generate = receives ? NULL : generate;
    callbacks.receive = receives ? receive : NULL;
    callbacks.send = sends ? send : NULL;
    host.sends = 0;
    short_malloc_limit(limit);
    outcome = jit(name, params, &callbacks, DIJITSO_COMM_NULL);
    short_malloc_limit((size_t)-1);
    dijitso_params_free(params);
    return outcome;
}

static void healthy(void)
{
    static int number;
    memset(&host, 0, sizeof host);
    CHECK_OUTCOME(call(path_of("healthy_%d", ++number), "healthy", 0, 0, 64 * MIB), 77, ORIGIN(BUILT));
}

static void check_fails(struct outcome outcome, dijitso_status status, const char *part)
{
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), part);
    CHECK_STATUS(outcome.status, status, outcome.error);
    free(host.blob);
    healthy();
}

static void texts(void)
{
    dijitso_params *const params = params_in("texts");
    dijitso_error *error = NULL;
    dijitso_status status;
    check_case("texts of 96 MiB");
    short_malloc_limit(64 * MIB);
    status = dijitso_params_set(params, "build.cxxflags", long_text, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    status = dijitso_params_set(params, long_text, "x", &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    status = dijitso_params_merge_json(params, long_text, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    CHECK(dijitso_params_get(params, long_text) == NULL);
    short_malloc_limit((size_t)-1);
    dijitso_params_free(params);
    check_fails(call(long_text, "texts", 0, 0, 64 * MIB), DIJITSO_ERROR_INVALID_ARGUMENT, "are allowed");
}

static void sources(void)
{
    check_case("a source of 96 MiB");
    host.code = LONG_TEXT;
    check_fails(call("code", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
    check_case("a header of 96 MiB");
    host.header = LONG_TEXT;
    check_fails(call("header", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
    check_case("a length of SIZE_MAX");
    host.code = (size_t)-1;
    check_fails(call("length", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
}

/* The header alone fits into memory, but library and header together, which are to be sent, do not. */
static void sending(void)
{
    check_case("a blob of 40 MiB to be sent");
    host.header = 40 * MIB;
    check_fails(call("sent", "sending", 0, 1, 40 * MIB), DIJITSO_ERROR_CACHE, "not enough memory");
    check_case("and the receiver gets the error");
    host.header = 40 * MIB;
    CHECK(call("failed_send", "sending", 0, 1, 40 * MIB).status == DIJITSO_ERROR_CACHE && host.sends == 1);
    check_fails(call("failed_send", "receiver", 1, 0, 40 * MIB), DIJITSO_ERROR_CACHE, "not enough memory");
}

static void receiving(void)
{
    check_case("a blob that is too large");
    host.requested = 96 * MIB;
    check_fails(call("requested", "receiving", 1, 0, 64 * MIB), DIJITSO_ERROR_CALLBACK, "returned 6");
    host.requested = (size_t)-1;
    check_fails(call("requested", "receiving", 1, 0, 64 * MIB), DIJITSO_ERROR_CALLBACK, "returned 6");

    check_case("memory for one copy of a blob: it is published from the receive buffer");
    host.header = 40 * MIB;
    CHECK_OUTCOME(call("twice", "twice", 0, 1, (size_t)-1), 77, ORIGIN(BUILT));
    host.limit = 30 * MIB;
    CHECK_OUTCOME(call("twice", "receiving", 1, 0, 64 * MIB), 77, ORIGIN(RECEIVED));
    free(host.blob);
    healthy();
}

/* Large files that other programs may have put into the cache. */
static void files(void)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    dijitso_status status;

    check_case("a dependency whose header does not fit into memory");
    host.header = 40 * MIB;
    CHECK_OUTCOME(call("dependency", "files", 0, 0, (size_t)-1), 77, ORIGIN(BUILT));
    host.header = 0;
    host.nested = "dependency";
    check_fails(call("dependant", "files", 0, 0, 30 * MIB), DIJITSO_ERROR_GENERATE, "memory");

    check_case("a library in the cache that does not fit into memory");
    host.nested = NULL;
    host.extra = "__attribute__((used)) static const char big[40 << 20] = {1};\n";
    CHECK_OUTCOME(call("library", "files", 0, 0, (size_t)-1), 77, ORIGIN(BUILT));
    CHECK_OUTCOME(call("library", "files", 0, 0, (size_t)-1), 77, ORIGIN(MEMORY));
    CHECK(rename(path_of("%s/files", work), path_of("%s/moved", work)) == 0);
    check_fails(call("library", "moved", 0, 0, 30 * MIB), DIJITSO_ERROR_CACHE, "memory");
    CHECK_OUTCOME(call("library", "moved", 0, 0, (size_t)-1), 77, ORIGIN(DISK));

    check_case("a config file without end");
    write_text(path_of("%s/endless.conf", work), "[build]\n", 0600);
    CHECK(truncate(path_of("%s/endless.conf", work), (off_t)1 << 40) == 0);
    setenv("DIJITSO_CONF", path_of("%s/endless.conf", work), 1);
    short_malloc_limit(64 * MIB);
    status = dijitso_params_new(&params, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_PARAMS, error);
    CHECK(params == NULL);
    short_malloc_limit((size_t)-1);
    unsetenv("DIJITSO_CONF");
    healthy();
}

static void compiling(void)
{
    check_case("memory for one copy of a library: its record is appended in place");
    host.extra = "__attribute__((used)) static const char big[40 << 20] = {1};\n";
    CHECK_OUTCOME(call("sealed", "compiling", 0, 0, 48 * MIB), 77, ORIGIN(BUILT));
    check_case("a library that the compiler made too large");
    host.extra = "__attribute__((used)) static const char big[80 << 20] = {1};\n";
    {
        struct outcome outcome = call("too_large", "compiling", 0, 0, 64 * MIB);
        CHECK(outcome.status == DIJITSO_ERROR_COMPILE || outcome.status == DIJITSO_ERROR_CACHE);
        outcome_free(&outcome);
    }
    healthy();
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    work = argv[1];
    long_text = malloc((size_t)LONG_TEXT + 1);
    if (long_text == NULL)
        abort();
    memset(long_text, '/', LONG_TEXT);
    long_text[LONG_TEXT] = '\0';
    healthy();
    texts();
    sources();
    sending();
    receiving();
    files();
    compiling();
    /* The allocator has refused blocks, so the limits were reached. */
    CHECK(short_malloc_refusals() > 7);
    free(long_text);
    return check_result();
}
