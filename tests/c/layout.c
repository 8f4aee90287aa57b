/* An entry has the documented files, for C++ and C, and no others. No temporary directory survives a build, even a
 * failed one. */
#define _XOPEN_SOURCE 700
#include "fixture.h"

#include <glob.h>
#include <stdlib.h>

static const char *work;

static int count_files(const char *pattern)
{
    glob_t found = {0};
    int count = 0;
    if (glob(pattern, GLOB_PERIOD, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; ++i) {
            const char *const last = strrchr(found.gl_pathv[i], '/') + 1;
            count += strcmp(last, ".") != 0 && strcmp(last, "..") != 0;
        }
    globfree(&found);
    return count;
}

static int32_t generate_c(void *user_data, const char *name, const char *signature, const char *generator_json,
                          dijitso_source *source)
{
    static const char code[] = "#include <math.h>\nint value(void) { return (int)sqrt(49.0); }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

static void cxx_entry(const char *storage, const char *expected_source)
{
    const char *const cache = path_of("%s/cxx-%s", work, storage);
    dijitso_params *const params = params_with(cache, "cache.src_storage", storage, NULL);
    struct integer integer = {1, 0, NULL, NULL};
    struct outcome outcome;
    check_case("C++, sources: %s", storage);
    outcome = jit_integer("entry", params, &integer, DIJITSO_COMM_NULL);
    CHECK(exists(path_of("%s/lib/libdijitso-%s.so", cache, outcome.signature)));
    CHECK(exists(path_of("%s/include/%s.h", cache, outcome.signature)));
    CHECK(exists(path_of("%s/log/%s.txt", cache, outcome.signature)));
    CHECK(count_files(path_of("%s/src/*", cache)) == (expected_source != NULL));
    if (expected_source != NULL)
        CHECK(exists(path_of("%s/src/%s%s", cache, outcome.signature, expected_source)));
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ORIGIN(BUILT));
    dijitso_params_free(params);
}

static void c_entry(void)
{
    const char *const cache = path_of("%s/c", work);
    dijitso_params *const params = params_with(cache, "build.language", "c", NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    check_case("C");
    callbacks.generate = generate_c;
    outcome = jit("entry", params, &callbacks, DIJITSO_COMM_NULL);
    CHECK(exists(path_of("%s/lib/libdijitso-%s.so", cache, outcome.signature)));
    CHECK(exists(path_of("%s/src/%s.c.gz", cache, outcome.signature)));
    CHECK_OUTCOME(outcome, 7, ORIGIN(BUILT));
    dijitso_params_free(params);
}

static void failed_build(void)
{
    const char *const cache = path_of("%s/failed", work);
    const char *const failures = path_of("%s/failures", work);
    dijitso_params *const params = params_with(cache, "cache.fail_dir_root", failures, NULL);
    struct integer integer = {1, 0, "#error on purpose\n", NULL};
    struct outcome outcome;
    check_case("a failed build");
    outcome = jit_integer("entry", params, &integer, DIJITSO_COMM_NULL);
    if (outcome.error != NULL) {
        size_t files = 0, scripts = 0;
        const char *file;
        CHECK_CONTAINS(dijitso_error_path(outcome.error), failures);
        while ((file = dijitso_error_file(outcome.error, files)) != NULL) {
            CHECK(exists(file) && strstr(file, dijitso_error_path(outcome.error)) == file);
            scripts += strstr(file, "/recompile.sh") != NULL;
            files++;
        }
        CHECK(files >= 4 && scripts == 1);
        CHECK(dijitso_error_file(outcome.error, files + 1) == NULL);
    }
    CHECK(count_files(path_of("%s/*", failures)) == 1);
    CHECK(count_files(path_of("%s/lib/*.so", cache)) == 0);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    const char *temporary;
    CHECK(argc > 1);
    work = argv[1];
    temporary = path_of("%s/temporary", work);
    make_directory(temporary);
    setenv("TMPDIR", temporary, 1);
    cxx_entry("compress", ".cpp.gz");
    cxx_entry("keep", ".cpp");
    cxx_entry("delete", NULL);
    c_entry();
    failed_build();
    check_case("temporary files");
    CHECK(count_files(path_of("%s/*", temporary)) == 0);
    return check_result();
}
