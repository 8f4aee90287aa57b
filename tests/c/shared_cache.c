/* One of many independent processes that share a cache; tests/faults/shared_cache.sh starts them.
 *
 * usage: shared_cache WORK names COUNT FIRST   asks for COUNT names, beginning with number FIRST
 *        shared_cache WORK broken              asks for a library whose source is wrong, and prints the error
 *        shared_cache WORK fixed               asks for the same library with a correct source
 * All processes wait until the lock of WORK/gate is free, so that they begin together. WORK/cc is the compiler. */
#define _DEFAULT_SOURCE
#include "fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct module {
    int value;
    int broken;
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    const struct module *const module = user_data;
    char code[256];
    (void)name, (void)json;
    snprintf(code, sizeof code, "#include \"%s.h\"\nint value(void) { return %s + (%d); }\n", signature,
             module->broken ? "undeclared_45" : "HUNDRED", module->value);
    return dijitso_source_set_header(source, "#define HUNDRED 100\n", 20) != DIJITSO_OK
        || dijitso_source_set_code(source, code, strlen(code)) != DIJITSO_OK;
}

static struct outcome ask(const dijitso_params *params, const char *name, struct module *module)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = module;
    callbacks.generate = generate;
    return jit(name, params, &callbacks, DIJITSO_COMM_NULL);
}

static void names(const dijitso_params *params, int count, int first)
{
    for (int i = 0; i < count; ++i) {
        const int number = (first + i) % count;
        struct module module = {number, 0};
        check_case("name %d", number);
        CHECK_OUTCOME(ask(params, path_of("library_%d", number), &module), 100 + number, ANY_ORIGIN);
    }
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".", *const what = argc > 2 ? argv[2] : "";
    dijitso_params *const params =
        params_with(path_of("%s/root/cache", work), "build.language", "c", "build.cc", path_of("%s/cc", work),
                    "build.cflags_opt", "-O0", NULL);
    struct module module = {7, strcmp(what, "broken") == 0};
    const int gate = open(path_of("%s/gate", work), O_RDONLY);
    if (gate >= 0) {
        CHECK(flock(gate, LOCK_SH) == 0);
        close(gate);
    }
    if (strcmp(what, "names") == 0 && argc > 4) {
        names(params, atoi(argv[3]), atoi(argv[4]));
    } else if (module.broken) {
        struct outcome outcome = ask(params, "fixable", &module);
        if (CHECK(outcome.status == DIJITSO_ERROR_COMPILE)) {
            CHECK_CONTAINS(dijitso_error_log(outcome.error), "undeclared_45");
            printf("%s\n%s\n%s\n", dijitso_error_message(outcome.error), dijitso_error_log(outcome.error),
                   dijitso_error_path(outcome.error));
        }
        outcome_free(&outcome);
    } else {
        CHECK_OUTCOME(ask(params, "fixable", &module), 107, ANY_ORIGIN);
    }
    dijitso_params_free(params);
    return check_result();
}
