/* Ranks that share a directory on a network disk that gives stale answers, simulated by the shim of nfs.sh.
 * usage: nfs_ranks WORK cold|warm, each in new processes */
#include "ranks.h"

static void try_strategy(const char *work, const char *strategy, int cold)
{
    dijitso_params *const params =
        params_with(path_of("%s/root/cache/%s", work, strategy), "parallel.buildon", strategy, NULL);
    struct integer integer = {21, 0, NULL, NULL};
    struct outcome outcome;
    check_case("%s, %s", strategy, cold ? "cold" : "warm");
    for (int i = 0; i < 2; ++i) {
        outcome = jit_integer(path_of("network_%d", i), params, &integer, MPI_COMM_WORLD);
        CHECK(outcome.seconds < 40.0);
        ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
        CHECK_OUTCOME(outcome, 21 + INCLUDED_VALUE, ANY_ORIGIN);
    }
    if (!cold)
        CHECK(ranks_sum(integer.calls) == 0);
    check_case("%s, wrong source", strategy);
    integer.extra_code = "#error on purpose\n";
    outcome = jit_integer("network_broken", params, &integer, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    for (int strategy = 0; strategy < 3; ++strategy)
        try_strategy(argv[1], strategies[strategy], strcmp(argv[2], "cold") == 0);
    return ranks_finish();
}
