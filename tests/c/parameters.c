/* Sources of a parameter's value, refused values, and the parameters of the generator. */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <stdlib.h>
#include <unistd.h>

static dijitso_params *new_params(void)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    CHECK_STATUS(dijitso_params_new(&params, &error), DIJITSO_OK, error);
    return params;
}

static void refuse_key(const char *key, const char *value, const char *named)
{
    dijitso_params *const params = new_params();
    dijitso_error *error = NULL;
    CHECK(dijitso_params_set(params, key, value, &error) == DIJITSO_ERROR_PARAMS);
    CHECK_CONTAINS(dijitso_error_message(error), named);
    dijitso_error_free(error);
    dijitso_params_free(params);
}

static void refuse_json(const char *json, const char *named)
{
    dijitso_params *const params = new_params();
    dijitso_error *error = NULL;
    CHECK(dijitso_params_merge_json(params, json, &error) == DIJITSO_ERROR_PARAMS);
    CHECK_CONTAINS(dijitso_error_message(error), named);
    dijitso_error_free(error);
    dijitso_params_free(params);
}

static void refused(void)
{
    check_case("refused");
    refuse_key("build.cxflags", "-O1", "build.cxxflags");
    refuse_key("cache.cachedir", "x", "cache.cache_dir");
    refuse_key("paralel.buildon", "node", "\"parallel\"");
    refuse_key("parallel.buildon", "nodes", "node");
    refuse_key("build.debug", "perhaps", "build.debug");
    refuse_key("build.timeout", "soon", "build.timeout");
    refuse_key("build.cxxflags", "-DX='unfinished", "build.cxxflags");
    refuse_json("{\"build\": {\"cxflags\": \"-O1\"}}", "build.cxxflags");
    refuse_json("{\"build\": ", "JSON");
    refuse_json("[1, 2]", "JSON");
}

static void write_config(const char *directory, const char *text, int mode)
{
    make_directory(directory);
    write_text(path_of("%s/.dijitso.conf", directory), text, mode);
}

/* defaults < config file < environment < caller; dijitso_params_origin tells which. */
static void precedence(const char *work)
{
    const char *const directory = path_of("%s/precedence", work);
    dijitso_params *params;
    check_case("precedence");
    write_config(directory,
                 "[build]\ncxxflags = -O1 -g -DFROM_FILE\ncxx = from-file-c++\ndebug = yes\n"
                 "[cache]\ncache_dir = /from/file\n", 0644);
    setenv("DIJITSO_CONF", directory, 1);
    setenv("CXX", "from-environment-c++", 1);
    setenv("DIJITSO_CACHE_DIR", "/from/environment", 1);

    params = new_params();
    CHECK_CONTAINS(dijitso_params_get(params, "build.cxxflags"), "-DFROM_FILE");
    CHECK_CONTAINS(dijitso_params_origin(params, "build.cxxflags"), ".dijitso.conf");
    CHECK_CONTAINS(dijitso_params_get(params, "build.cxx"), "from-environment-c++");
    CHECK_CONTAINS(dijitso_params_origin(params, "build.cxx"), "CXX");
    CHECK_CONTAINS(dijitso_params_get(params, "cache.cache_dir"), "/from/environment");
    CHECK_CONTAINS(dijitso_params_origin(params, "cache.cache_dir"), "DIJITSO_CACHE_DIR");
    CHECK_CONTAINS(dijitso_params_origin(params, "build.cflags"), "default");
    CHECK(dijitso_params_set(params, "cache.cache_dir", "/from/caller", NULL) == DIJITSO_OK);
    CHECK_CONTAINS(dijitso_params_get(params, "cache.cache_dir"), "/from/caller");
    CHECK_CONTAINS(dijitso_params_origin(params, "cache.cache_dir"), "caller");
    CHECK_CONTAINS(dijitso_params_to_json(params), "/from/caller");
    dijitso_params_free(params);
    unsetenv("CXX");
    unsetenv("DIJITSO_CACHE_DIR");
}

static void bad_file(const char *work, const char *name, const char *text, const char *named)
{
    const char *const directory = path_of("%s/%s", work, name);
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    check_case("config file: %s", name);
    write_config(directory, text, 0644);
    setenv("DIJITSO_CONF", directory, 1);
    CHECK(dijitso_params_new(&params, &error) == DIJITSO_ERROR_PARAMS);
    CHECK(params == NULL);
    CHECK_CONTAINS(dijitso_error_message(error), ".dijitso.conf");
    CHECK_CONTAINS(dijitso_error_message(error), named);
    dijitso_error_free(error);
    unsetenv("DIJITSO_CONF");
}

/* A file in the current directory that others can write must not choose the compiler. */
static void writable_by_others(const char *work)
{
    char here[PATH_SIZE];
    const char *const directory = path_of("%s/writable", work);
    dijitso_params *params = NULL;
    check_case("a config file that others can write");
    unsetenv("DIJITSO_CONF");
    write_config(directory, "[build]\ncxx = planted-c++\n", 0666);
    CHECK(getcwd(here, sizeof here) != NULL && chdir(directory) == 0);
    if (dijitso_params_new(&params, NULL) == DIJITSO_OK)
        CHECK(strstr(dijitso_params_get(params, "build.cxx"), "planted") == NULL);
    dijitso_params_free(params);
    CHECK(chdir(here) == 0);
}

static int32_t keep_generator(void *user_data, const char *name, const char *signature, const char *generator_json,
                              dijitso_source *source)
{
    static const char code[] = "extern \"C\" int value() { return 6; }\n";
    (void)name, (void)signature;
    snprintf(user_data, PATH_SIZE, "%s", generator_json);
    return dijitso_source_set_code(source, code, strlen(code));
}

/* The section `generator` takes any JSON, is passed to the callback, and is part of the signature. */
static void generator(const char *work)
{
    static char seen[PATH_SIZE];
    const char *const cache = path_of("%s/generator", work);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome first, second, third;
    dijitso_params *const params = params_with(cache, NULL);
    check_case("generator parameters");
    callbacks.user_data = seen;
    callbacks.generate = keep_generator;
    CHECK(dijitso_params_merge_json(params, "{\"generator\": {\"degree\": 2, \"nested\": [1, {\"a\": null}]}}", NULL)
          == DIJITSO_OK);
    first = jit("generator", params, &callbacks, DIJITSO_COMM_NULL);
    CHECK_CONTAINS(seen, "\"degree\"");
    CHECK_CONTAINS(seen, "\"nested\"");
    CHECK(strncmp(first.signature, "generator_", strlen("generator_")) == 0);
    CHECK(strlen(first.signature) == strlen("generator_") + 32);

    CHECK(dijitso_params_merge_json(params, "{\"generator\": {\"degree\": 3}}", NULL) == DIJITSO_OK);
    second = jit("generator", params, &callbacks, DIJITSO_COMM_NULL);
    CHECK(strcmp(first.signature, second.signature) != 0);

    CHECK(dijitso_params_set(params, "cache.signature", "name", NULL) == DIJITSO_OK);
    third = jit("generator", params, &callbacks, DIJITSO_COMM_NULL);
    CHECK(strcmp(third.signature, "generator") == 0);
    CHECK_OUTCOME(first, 6, ORIGIN(BUILT));
    CHECK_OUTCOME(second, 6, ORIGIN(BUILT));
    CHECK_OUTCOME(third, 6, ORIGIN(BUILT));
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    refused();
    precedence(argv[1]);
    bad_file(argv[1], "unknown-key", "[build]\ncxflags = -O1\n", "build.cxxflags");
    bad_file(argv[1], "wrong-type", "[build]\ndebug = perhaps\n", "build.debug");
    writable_by_others(argv[1]);
    generator(argv[1]);
    return check_result();
}
