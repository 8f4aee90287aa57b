/* dijitso_jit_many: modules that fail, in one call with others that do not; all found again; ranks that ask for other
 * names. usage: many WORK bad|warm|disagree, each in new processes. */
#include "ranks.h"

enum { MODULES = 6 };

/* The user_data of generate. */
struct host {
    int bad;   /* the module whose source does not compile, -1 for none */
    int calls; /* of generate on this rank */
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    struct host *const host = user_data;
    const int number = name[strlen(name) - 1] - '0';
    char code[200];
    (void)signature, (void)generator_json;
    ++host->calls;
    snprintf(code, sizeof code, "extern \"C\" int value() { return %d%s; }\n", number,
             number == host->bad ? " + there_is_no_such_name" : "");
    return dijitso_source_set_code(source, code, strlen(code));
}

/* Makes one call for modules 0 to count - 1 of a strategy and layout. */
static dijitso_status jit_many(const char *root, const char *strategy, enum layout layout, MPI_Comm comm, int count,
                               struct host *host, dijitso_library **libraries, dijitso_error **failure)
{
    const char *const directory = layout_directory(root, strategy, layout);
    dijitso_params *const params = params_with(directory, "parallel.buildon", strategy, NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    const char *names[MODULES];
    dijitso_status status;
    callbacks.generate = generate;
    callbacks.user_data = host;
    for (int i = 0; i < count; ++i)
        names[i] = path_of("%s_%s_%d", strategy, layouts[layout], i);
    status = dijitso_jit_many((size_t)count, names, params, &callbacks, comm, libraries, failure);
    dijitso_params_free(params);
    return status;
}

/* Checks the libraries that a call has given, and frees them. All but `bad` are there. */
static void check_libraries(dijitso_library **libraries, int bad, unsigned origins)
{
    for (int i = 0; i < MODULES; ++i) {
        dijitso_fn value = NULL;
        if (i == bad) {
            CHECK(libraries[i] == NULL);
            continue;
        }
        CHECK(libraries[i] != NULL);
        if (libraries[i] == NULL)
            continue;
        CHECK_CALL(dijitso_library_symbol(libraries[i], "value", &value, &error), DIJITSO_OK);
        CHECK(value != NULL && ((int (*)(void))value)() == i);
        CHECK((origins >> dijitso_library_origin(libraries[i]) & 1u) == 1);
        dijitso_library_free(libraries[i]);
    }
}

static void try_many(const char *root, const char *strategy, enum layout layout, MPI_Comm comm, int warm)
{
    const int bad = 2;
    dijitso_library *libraries[MODULES];
    dijitso_error *failure = NULL;
    struct host host = {warm ? -1 : bad, 0};
    check_case("%s, %s, %s", warm ? "warm" : "bad", strategy, layouts[layout]);
    if (!warm) {
        CHECK(jit_many(root, strategy, layout, comm, MODULES, &host, libraries, &failure) == DIJITSO_ERROR_COMPILE);
        ranks_check_same_text(comm, dijitso_error_message(failure));
        CHECK(strstr(dijitso_error_message(failure), "1 of 6 libraries failed: ") != NULL);
        CHECK(strstr(dijitso_error_message(failure), path_of("%s_%s_%d: ", strategy, layouts[layout], bad)) != NULL);
        CHECK(strstr(dijitso_error_log(failure), "there_is_no_such_name") != NULL);
        dijitso_error_free(failure);
        check_libraries(libraries, bad, ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED));
        /* The communicator is as good as before, and the next call builds the one that is missing. */
        host = (struct host){-1, 0};
        CHECK(jit_many(root, strategy, layout, comm, MODULES, &host, libraries, &failure) == DIJITSO_OK);
        check_libraries(libraries, -1, ANY_ORIGIN);
        CHECK(ranks_sum(host.calls) >= 1);
    } else {
        CHECK(jit_many(root, strategy, layout, comm, MODULES, &host, libraries, &failure) == DIJITSO_OK);
        check_libraries(libraries, -1, ORIGIN(DISK));
        CHECK(jit_many(root, strategy, layout, comm, MODULES, &host, libraries, &failure) == DIJITSO_OK);
        check_libraries(libraries, -1, ORIGIN(MEMORY));
        CHECK(host.calls == 0);
    }
}

/* A rank that asks for fewer names, and one with a bad argument: the same error on all, and nothing hangs. */
static void try_disagree(const char *root, MPI_Comm comm)
{
    const int last = ranks_rank() == ranks_size() - 1;
    dijitso_library *libraries[MODULES];
    dijitso_error *failure = NULL;
    struct host host = {-1, 0};
    check_case("other names");
    if (ranks_size() > 1) {
        CHECK(jit_many(root, "node", LAYOUT_SHARED, comm, last ? MODULES - 1 : MODULES, &host, libraries, &failure)
              == DIJITSO_ERROR_RANKS_DISAGREE);
        ranks_check_same_text(comm, dijitso_error_message(failure));
        dijitso_error_free(failure);
    }
    check_case("no room for the libraries");
    CHECK(jit_many(root, "node", LAYOUT_SHARED, comm, MODULES, &host, last ? NULL : libraries, &failure)
          == DIJITSO_ERROR_INVALID_ARGUMENT);
    ranks_check_same_text(comm, dijitso_error_message(failure));
    dijitso_error_free(failure);
    check_case("no names");
    CHECK(dijitso_jit_many(0, NULL, NULL, NULL, comm, NULL, NULL) == DIJITSO_OK);
    CHECK(dijitso_jit_many(1, NULL, NULL, NULL, comm, libraries, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(host.calls == 0);
}

int main(int argc, char **argv)
{
    const char *root, *phase;
    ranks_start(&argc, &argv);
    root = path_of("%s/caches", argv[1]);
    phase = argv[2];
    make_directory(root);
    if (strcmp(phase, "disagree") == 0)
        try_disagree(root, MPI_COMM_WORLD);
    else
        for (int strategy = 0; strategy < 3; ++strategy)
            for (int layout = 0; layout < LAYOUTS; ++layout)
                try_many(root, strategies[strategy], (enum layout)layout, MPI_COMM_WORLD, strcmp(phase, "warm") == 0);
    return ranks_finish();
}
