/* A small serial program for tests that kill it or make its file operations fail.
 *
 * usage: victim WORK SCENARIO NAME [good]
 *   nested   builds a library with a header, and within its generate another one that it is linked to
 *   plain    builds a library with a header
 *   broken   asks for a library whose source is wrong, and expects the error
 *   send     builds a library; its `send` writes WORK/blob
 *   receive  receives that library from WORK/blob
 * With "good", the library "good" must also be found on disk, without a compiler.
 * WORK/cc is the compiler, WORK/root/cache the cache, WORK/root/tmp the folder of temporary files.
 * Exit status: 0 for the right result, 2 for a returned error (printed), 1 for anything else. */
#include "fixture.h"

#include <stdlib.h>

enum { ADDED = 5 };

struct request {
    const dijitso_params *params;
    const char *scenario, *blob;
    int calls;
};

static int set(dijitso_source *source, const char *signature, const char *code)
{
    const char *const header = "#ifndef ADDED\n#define ADDED 5\n#endif\n";
    char text[2048];
    snprintf(text, sizeof text, "#include \"%s.h\"\n%s", signature, code);
    return dijitso_source_set_header(source, header, strlen(header)) != DIJITSO_OK
        || dijitso_source_set_code(source, text, strlen(text)) != DIJITSO_OK;
}

static int32_t generate_inner(void *user_data, const char *name, const char *signature, const char *json,
                              dijitso_source *source)
{
    (void)user_data, (void)name, (void)json;
    return set(source, signature, "int inner_value(void) { return 100 + ADDED; }\nint value(void) { return -1; }\n");
}

static int32_t generate(void *user_data, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    struct request *const request = user_data;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *inner = NULL;
    dijitso_error *error = NULL;
    int32_t status;
    (void)json;
    ++request->calls;
    if (strcmp(request->scenario, "broken") == 0)
        return set(source, signature, "int value(void) { return undeclared_44; }\n");
    if (strcmp(request->scenario, "nested") != 0)
        return set(source, signature, "int value(void) { return 1000 + ADDED; }\n");
    callbacks.generate = generate_inner;
    if (dijitso_jit(path_of("%s_inner", name), request->params, &callbacks, DIJITSO_COMM_NULL, &inner, &error)
        != DIJITSO_OK) {
        dijitso_source_set_error(source, dijitso_error_message(error));
        dijitso_error_free(error);
        return 1;
    }
    status = dijitso_source_add_dependency(source, dijitso_library_signature(inner)) != DIJITSO_OK
        || set(source, signature, path_of("#include \"%s.h\"\nint inner_value(void);\n"
                                          "int value(void) { return 1000 + inner_value(); }\n",
                                          dijitso_library_signature(inner)));
    dijitso_library_free(inner);
    return status;
}

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    const struct request *const request = user_data;
    FILE *const file = fopen(request->blob, "wb");
    const int written = file != NULL && fwrite(data, 1, size, file) == size;
    return (file != NULL && fclose(file) == 0 && written) ? 0 : 1;
}

static int32_t receive(void *user_data, dijitso_blob *blob)
{
    const struct request *const request = user_data;
    FILE *const file = fopen(request->blob, "rb");
    uint8_t *data;
    long size;
    int complete;
    if (file == NULL)
        return 1;
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    data = dijitso_blob_resize(blob, (size_t)size);
    complete = data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size;
    fclose(file);
    return complete ? 0 : 1;
}

/* Returns 0, 1 or 2, as the program's exit status. */
static int call(struct request *request, const char *name, int expected, unsigned origins)
{
    const int receives = strcmp(request->scenario, "receive") == 0, broken = strcmp(request->scenario, "broken") == 0;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    callbacks.user_data = request;
    callbacks.generate = receives ? NULL : generate;
    callbacks.receive = receives ? receive : NULL;
    callbacks.send = strcmp(request->scenario, "send") == 0 ? send : NULL;
    outcome = jit(name, request->params, &callbacks, DIJITSO_COMM_NULL);
    if (broken && outcome.status == DIJITSO_ERROR_COMPILE
        && strstr(dijitso_error_message(outcome.error), "undeclared_44") != NULL
        && strstr(dijitso_error_log(outcome.error), "undeclared_44") != NULL) {
        outcome_free(&outcome);
        return 0;
    }
    if (outcome.status != DIJITSO_OK) {
        printf("%s: status %d: %s\n", name, (int)outcome.status, dijitso_error_message(outcome.error));
        CHECK(outcome.status != DIJITSO_ERROR_INTERNAL);
        outcome_free(&outcome);
        return 2;
    }
    CHECK(!broken);
    CHECK_OUTCOME(outcome, expected, origins);
    return 0;
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".", *const scenario = argc > 2 ? argv[2] : "plain";
    const char *const name = argc > 3 ? argv[3] : "victim";
    dijitso_params *const params =
        params_with(path_of("%s/root/cache", work), "cache.temp_dir_root", path_of("%s/root/tmp", work),
                    "build.language", "c", "build.cc", path_of("%s/cc", work), "build.cflags_opt", "-O0", NULL);
    struct request request = {params, scenario, path_of("%s/blob", work), 0};
    const int expected = strcmp(scenario, "nested") == 0 ? 1000 + 100 + ADDED : 1000 + ADDED;
    int result = call(&request, name, expected, ANY_ORIGIN);
    if (result == 0 && argc > 4) {
        struct request good = {params, "plain", NULL, 0};
        check_case("the entry of the earlier build");
        result = call(&good, "good", 1000 + ADDED, ORIGIN(DISK) | ORIGIN(MEMORY));
        CHECK(good.calls == 0);
    }
    dijitso_params_free(params);
    return check_result() != 0 ? 1 : result;
}
