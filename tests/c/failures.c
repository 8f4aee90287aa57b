/* A failure on a builder gives every rank the same status and message within seconds, under every strategy. The next
 * call on the same communicator works. */
#include "ranks.h"

#include <stdlib.h>

enum { NO_FOLDER, WITH_FOLDER };

static const struct failure {
    const char *kind;
    dijitso_status status;
    const char *extra_code, *fail_with; /* as in struct integer */
    const char *key, *value;            /* a parameter, or NULL */
    const char *message;                /* part of the error message */
    int folder;                         /* whether the error has a folder that reproduces it */
} failures[] = {
    {"compile", DIJITSO_ERROR_COMPILE, "int broken() { return undeclared_42; }\n", NULL, NULL, NULL, "undeclared_42",
     WITH_FOLDER},
    {"missing", DIJITSO_ERROR_COMPILE, NULL, NULL, "build.cxx", "no-such-compiler-42", "no-such-compiler-42",
     NO_FOLDER},
    {"timeout", DIJITSO_ERROR_COMPILE, NULL, NULL, "build.timeout", "1", "1 s", NO_FOLDER},
    {"generate", DIJITSO_ERROR_GENERATE, NULL, "no element of degree -1", NULL, NULL, "no element of degree -1",
     NO_FOLDER},
    {"load", DIJITSO_ERROR_LOAD, "int missing_42(); int broken() { return missing_42(); }\n", NULL, NULL, NULL,
     "missing_42", NO_FOLDER},
    {"cut", DIJITSO_ERROR_COMPILE, NULL, NULL, NULL, NULL, "cut short", NO_FOLDER},
};

/* Checks that the script fails like the build, also in a copy of the folder and from another directory. */
static void reproduce(const char *work, const char *folder, const char *message)
{
    char command[4 * PATH_SIZE];
    const char *const copy = path_of("%s/copied-failure", work);
    const char *const output = path_of("%s/copied-failure.log", work);
    CHECK_CONTAINS(folder, "jitfailure-");
    if (!CHECK(exists(path_of("%s/recompile.sh", folder))))
        return;
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s' && cd / && sh '%s/recompile.sh' > '%s' 2>&1",
             copy, folder, copy, copy, output);
    CHECK(system(command) != 0);
    snprintf(command, sizeof command, "grep -q '%s' '%s'", message, output);
    CHECK(system(command) == 0);
}

static void check_error(const char *work, const struct failure *failure, const struct outcome *outcome)
{
    const dijitso_error *const error = outcome->error;
    CHECK(outcome->status == failure->status);
    CHECK(outcome->seconds < 20.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, outcome);
    if (!CHECK(error != NULL))
        return;
    CHECK(dijitso_error_status(error) == failure->status);
    CHECK_CONTAINS(dijitso_error_message(error), failure->message);
    CHECK(dijitso_error_rank(error) >= 0 && dijitso_error_rank(error) < ranks_size());
    ranks_check_same_text(MPI_COMM_WORLD, path_of("%d", (int)dijitso_error_rank(error)));
    ranks_check_same_text(MPI_COMM_WORLD, dijitso_error_log(error));
    ranks_check_same_text(MPI_COMM_WORLD, dijitso_error_path(error));
    if (strcmp(failure->kind, "compile") == 0)
        CHECK_CONTAINS(dijitso_error_log(error), failure->message);
    if (failure->folder == WITH_FOLDER && ranks_rank() == 0)
        reproduce(work, dijitso_error_path(error), failure->message);
}

static void fail_then_recover(const char *work, const struct failure *failure, const char *strategy,
                              enum layout layout)
{
    const char *const directory = layout_directory(work, strategy, layout);
    const char *const name = path_of("%s_%s_%s", failure->kind, strategy, layouts[layout]);
    struct integer broken = {1, 0, failure->extra_code, failure->fail_with}, healthy = {2, 0, NULL, NULL};
    dijitso_params *params = params_with(directory, "parallel.buildon", strategy, failure->key, failure->value, NULL);
    struct outcome outcome;
    check_case("%s", name);
    if (strcmp(failure->kind, "timeout") == 0)
        CHECK(dijitso_params_set(params, "build.cxx", path_of("%s/slow-c++", work), NULL) == DIJITSO_OK);
    /* The signature is the name, so that the call with a working compiler asks for the same entry. */
    if (strcmp(failure->kind, "cut") == 0) {
        CHECK(dijitso_params_set(params, "build.cxx", path_of("%s/cutting-c++", work), NULL) == DIJITSO_OK);
        CHECK(dijitso_params_set(params, "cache.signature", "name", NULL) == DIJITSO_OK);
    }

    outcome = jit_integer(name, params, &broken, MPI_COMM_WORLD);
    check_error(work, failure, &outcome);
    outcome_free(&outcome);
    dijitso_params_free(params);
    ranks_barrier();

    params = params_with(directory, "parallel.buildon", strategy, NULL);
    if (strcmp(failure->kind, "cut") == 0)
        CHECK(dijitso_params_set(params, "cache.signature", "name", NULL) == DIJITSO_OK);
    /* The same name with a correct source: the failure has left nothing in the way. */
    CHECK_OUTCOME(jit_integer(name, params, &healthy, MPI_COMM_WORLD), 2 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    const size_t count = sizeof failures / sizeof failures[0];
    ranks_start(&argc, &argv);
    if (ranks_rank() == 0) {
        write_text(path_of("%s/slow-c++", argv[1]),
                   "#!/bin/sh\nfor argument; do [ \"$argument\" = -o ] && sleep 60; done\nexec c++ \"$@\"\n", 0755);
        write_text(path_of("%s/cutting-c++", argv[1]),
                   "#!/bin/sh\nfor argument; do\n"
                   "  [ \"$last\" = -o ] && output=$argument\n  last=$argument\ndone\n"
                   "c++ \"$@\" || exit 1\n"
                   "[ -z \"$output\" ] || truncate -s -3000 \"$output\"\n",
                   0755);
    }
    ranks_barrier();
    for (size_t failure = 0; failure < count; ++failure)
        for (int strategy = 0; strategy < 3; ++strategy)
            for (int layout = 0; layout < LAYOUTS; ++layout)
                fail_then_recover(argv[1], &failures[failure], strategies[strategy], (enum layout)layout);
    return ranks_finish();
}
