/* Builds two libraries under every strategy, with one directory for all ranks and with one for each rank. The second
 * call for a library is a memory hit. */
#include "ranks.h"

static void try_integer(int value, const char *strategy, enum layout layout, const char *directory)
{
    const char *const name = path_of("integer_%s_%s_%d", strategy, layouts[layout], value);
    dijitso_params *const params = params_with(directory, "parallel.buildon", strategy, NULL);
    struct integer integer = {value, 0, NULL, NULL};
    struct outcome outcome;
    int built, calls, expected;
    check_case("%s", name);

    outcome = jit_integer(name, params, &integer, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    ranks_check_same_text(MPI_COMM_WORLD, outcome.signature);
    built = ranks_sum(outcome.origin == DIJITSO_ORIGIN_BUILT);
    calls = ranks_sum(integer.calls);
    CHECK_OUTCOME(outcome, value + INCLUDED_VALUE, ORIGIN(DISK) | ORIGIN(BUILT) | ORIGIN(RECEIVED));

    /* Only builders generate: the root, or one rank for each directory ("process" gives every rank its own). */
    expected = strcmp(strategy, "root") == 0 || (layout == LAYOUT_SHARED && strcmp(strategy, "node") == 0)
                   ? 1 : ranks_size();
    CHECK(built == expected);
    CHECK(calls == expected);

    outcome = jit_integer(name, params, &integer, MPI_COMM_WORLD);
    CHECK(ranks_sum(integer.calls) == calls);
    CHECK_OUTCOME(outcome, value + INCLUDED_VALUE, ORIGIN(MEMORY));
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    for (int strategy = 0; strategy < 3; ++strategy)
        for (int layout = 0; layout < LAYOUTS; ++layout) {
            const char *const directory = layout_directory(argv[1], strategies[strategy], (enum layout)layout);
            try_integer(234, strategies[strategy], (enum layout)layout, directory);
            try_integer(567, strategies[strategy], (enum layout)layout, directory);
        }
    return ranks_finish();
}
