/* Uses a cache on a machine without a compiler. bundle.sh exports and imports the bundle between the phases.
 * usage: bundle CACHE fill|serve|own, each in new processes */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <stdlib.h>

static dijitso_params *frozen(const char *directory)
{
    /* From here on no compiler is found. */
    CHECK(setenv("PATH", "/nonexistent", 1) == 0);
    return params_with(directory, "cache.frozen", "true", NULL);
}

/* Checks that every rank gets the library and no rank generates. */
static void try_served(const char *name, int value, const dijitso_params *params, unsigned origins)
{
    struct integer integer = {value, 0, NULL, NULL};
    struct outcome outcome = jit_integer(name, params, &integer, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, value + INCLUDED_VALUE, origins);
    CHECK(ranks_sum(integer.calls) == 0);
}

/* Checks that all ranks get the same error: what is missing, why, and what was missing before. */
static void try_missing(const char *name, const char *before, const dijitso_params *params)
{
    struct integer integer = {0, 0, NULL, NULL};
    struct outcome outcome = jit_integer(name, params, &integer, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    if (CHECK(outcome.error != NULL)) {
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "is frozen");
        CHECK_CONTAINS(dijitso_error_message(outcome.error), name);
        if (before != NULL)
            CHECK_CONTAINS(dijitso_error_message(outcome.error), before);
        CHECK(dijitso_error_rank(outcome.error) == 0);
    }
    CHECK(ranks_sum(integer.calls) == 0);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_CACHE, outcome.error);
}

/* Asks for an entry that was built with other parameters. */
static void try_other_parameters(const char *directory)
{
    dijitso_params *const params = frozen(directory);
    struct integer integer = {1, 0, NULL, NULL};
    struct outcome outcome;
    CHECK(dijitso_params_set(params, "build.libs", "m", NULL) == DIJITSO_OK);
    outcome = jit_integer("one", params, &integer, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    if (CHECK(outcome.error != NULL))
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "library m was added");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_CACHE, outcome.error);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    const char *directory;
    dijitso_params *params;
    ranks_start(&argc, &argv);
    directory = argv[1];
    check_case("%s", argv[2]);
    if (strcmp(argv[2], "fill") == 0) {
        static const char *const names[2] = {"one", "two"};
        params = params_with(directory, NULL);
        for (int at = 0; at < 2; ++at) {
            struct integer integer = {at + 1, 0, NULL, NULL};
            struct outcome outcome = jit_integer(names[at], params, &integer, MPI_COMM_WORLD);
            CHECK_OUTCOME(outcome, at + 1 + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK));
        }
    } else if (strcmp(argv[2], "serve") == 0) {
        params = frozen(directory);
        try_served("one", 1, params, ORIGIN(DISK));
        try_served("two", 2, params, ORIGIN(DISK));
        try_missing("three", NULL, params);
        try_missing("four", "three", params);
        try_other_parameters(directory);
    } else {
        /* A directory for each rank; only that of rank 0 has the bundle. */
        params = frozen(path_of("%s/%d", directory, ranks_rank()));
        try_served("two", 2, params, ORIGIN(DISK) | ORIGIN(RECEIVED));
        try_missing("three", NULL, params);
    }
    dijitso_params_free(params);
    return ranks_finish();
}
