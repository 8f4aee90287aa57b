/* One of many processes that never heard of each other and share a cache; tests/faults/strangers.sh starts them.
 *
 * usage: strangers WORK names COUNT FIRST   asks for COUNT names, beginning with number FIRST
 *        strangers WORK broken              asks for a library whose source is wrong, and prints what it is told
 *        strangers WORK mended              asks for the same with a source that is right
 * All wait until nobody holds the lock of WORK/gate, so that they begin together. WORK/cc is the compiler. */
#define _DEFAULT_SOURCE
#include "fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct wanted {
    int value;
    int broken;
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    const struct wanted *const wanted = user_data;
    char code[256];
    (void)name, (void)json;
    snprintf(code, sizeof code, "#include \"%s.h\"\nint value(void) { return %s + (%d); }\n", signature,
             wanted->broken ? "undeclared_45" : "HUNDRED", wanted->value);
    return dijitso_source_set_header(source, "#define HUNDRED 100\n", 20) != DIJITSO_OK
        || dijitso_source_set_code(source, code, strlen(code)) != DIJITSO_OK;
}

static struct outcome ask(const dijitso_params *params, const char *name, struct wanted *wanted)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = wanted;
    callbacks.generate = generate;
    return jit(name, params, &callbacks, DIJITSO_COMM_NULL);
}

static void names(const dijitso_params *params, int count, int first)
{
    for (int i = 0; i < count; ++i) {
        const int number = (first + i) % count;
        struct wanted wanted = {number, 0};
        check_case("name %d", number);
        CHECK_OUTCOME(ask(params, path_of("stranger_%d", number), &wanted), 100 + number, ANY_ORIGIN);
    }
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".", *const what = argc > 2 ? argv[2] : "";
    dijitso_params *const params =
        params_with(path_of("%s/root/cache", work), "build.language", "c", "build.cc", path_of("%s/cc", work),
                    "build.cflags_opt", "-O0", NULL);
    struct wanted wanted = {7, strcmp(what, "broken") == 0};
    const int gate = open(path_of("%s/gate", work), O_RDONLY);
    if (gate >= 0) {
        CHECK(flock(gate, LOCK_SH) == 0);
        close(gate);
    }
    if (strcmp(what, "names") == 0 && argc > 4) {
        names(params, atoi(argv[3]), atoi(argv[4]));
    } else if (wanted.broken) {
        struct outcome outcome = ask(params, "fixable", &wanted);
        if (CHECK(outcome.status == DIJITSO_ERROR_COMPILE)) {
            CHECK_CONTAINS(dijitso_error_log(outcome.error), "undeclared_45");
            printf("%s\n%s\n%s\n", dijitso_error_message(outcome.error), dijitso_error_log(outcome.error),
                   dijitso_error_path(outcome.error));
        }
        outcome_free(&outcome);
    } else {
        CHECK_OUTCOME(ask(params, "fixable", &wanted), 107, ANY_ORIGIN);
    }
    dijitso_params_free(params);
    return check_result();
}
