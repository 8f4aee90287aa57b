/* Memory that is short: everything whose size comes from outside fails with a status when there is no room for it, and
 * the next healthy call works. (A small allocation that fails ends a program in Rust, so that none is tried here.) */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"
#include "short_malloc.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MIB = 1 << 20;
static const char *work;
/* Letters, as many as anything here is long, and a NUL. */
enum { LETTERS = 96 << 20 };
static char *letters;

/* What the callbacks do. */
static struct {
    size_t code, header;    /* lengths of what generate hands over; 0 for a header: none */
    size_t announced;       /* bytes that receive asks room for; 0: those of the blob */
    size_t limit;           /* from the end of receive on; 0: as before */
    const char *extra;      /* what generate adds to the code */
    const char *nested;     /* a library that generate asks for, to link to it */
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
        host.set_status = dijitso_source_set_header(source, letters, host.header);
    if (host.set_status == DIJITSO_OK && host.code > 0)
        host.set_status = dijitso_source_set_code(source, letters, host.code);
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
    const size_t size = host.announced > 0 ? host.announced : host.size;
    uint8_t *const room = dijitso_blob_resize(blob, size);
    (void)user_data;
    if (room == NULL)
        return 6;
    memcpy(room, host.blob, host.size < size ? host.size : size);
    if (host.limit > 0)
        short_malloc_limit(host.limit);
    return 0;
}

/* One call with a limit; afterwards memory is not short any more. */
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
    status = dijitso_params_set(params, "build.cxxflags", letters, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    status = dijitso_params_set(params, letters, "x", &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    status = dijitso_params_merge_json(params, letters, &error);
    CHECK_STATUS(status, DIJITSO_ERROR_INVALID_ARGUMENT, error);
    CHECK(dijitso_params_get(params, letters) == NULL);
    short_malloc_limit((size_t)-1);
    dijitso_params_free(params);
    check_fails(call(letters, "texts", 0, 0, 64 * MIB), DIJITSO_ERROR_INVALID_ARGUMENT, "are allowed");
}

static void sources(void)
{
    check_case("a source of 96 MiB");
    host.code = LETTERS;
    check_fails(call("code", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
    check_case("a header of 96 MiB");
    host.header = LETTERS;
    check_fails(call("header", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
    check_case("a length that is none");
    host.code = (size_t)-1;
    check_fails(call("length", "sources", 0, 0, 64 * MIB), DIJITSO_ERROR_GENERATE, "returned 1");
}

/* A header of 40 MiB is built, but not sent: library and header together have no room. */
static void sending(void)
{
    check_case("a blob of 40 MiB to be sent");
    host.header = 40 * MIB;
    check_fails(call("sent", "sending", 0, 1, 40 * MIB), DIJITSO_ERROR_CACHE, "not enough memory");
    check_case("and the receiver is told");
    host.header = 40 * MIB;
    CHECK(call("told", "sending", 0, 1, 40 * MIB).status == DIJITSO_ERROR_CACHE && host.sends == 1);
    check_fails(call("told", "told", 1, 0, 40 * MIB), DIJITSO_ERROR_CACHE, "not enough memory");
}

static void receiving(void)
{
    check_case("a blob that is announced too large");
    host.announced = 96 * MIB;
    check_fails(call("announced", "receiving", 1, 0, 64 * MIB), DIJITSO_ERROR_CALLBACK, "returned 6");
    host.announced = (size_t)-1;
    check_fails(call("announced", "receiving", 1, 0, 64 * MIB), DIJITSO_ERROR_CALLBACK, "returned 6");

    check_case("a blob that has room once and not twice: it is published from where it was received");
    host.header = 40 * MIB;
    CHECK_OUTCOME(call("twice", "twice", 0, 1, (size_t)-1), 77, ORIGIN(BUILT));
    host.limit = 30 * MIB;
    CHECK_OUTCOME(call("twice", "receiving", 1, 0, 64 * MIB), 77, ORIGIN(RECEIVED));
    free(host.blob);
    healthy();
}

/* What others may have put into the cache. */
static void files(void)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    dijitso_status status;

    check_case("a dependency whose header has no room");
    host.header = 40 * MIB;
    CHECK_OUTCOME(call("dependency", "files", 0, 0, (size_t)-1), 77, ORIGIN(BUILT));
    host.header = 0;
    host.nested = "dependency";
    check_fails(call("dependant", "files", 0, 0, 30 * MIB), DIJITSO_ERROR_GENERATE, "memory");

    check_case("a library in the cache that has no room");
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
    check_case("a library that is sealed in the memory that it has");
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
    letters = malloc((size_t)LETTERS + 1);
    if (letters == NULL)
        abort();
    memset(letters, '/', LETTERS);
    letters[LETTERS] = '\0';
    healthy();
    texts();
    sources();
    sending();
    receiving();
    files();
    compiling();
    /* The limits were met, and not by chance somewhere else. */
    CHECK(short_malloc_refusals() > 7);
    free(letters);
    return check_result();
}
