/* Counts the links of the compiler by a wrapper script. usage: compile_counts WORK cold|warm */
#include "ranks.h"

static void count(const char *work, const char *phase, const char *strategy, int directories, int expected)
{
    const int cold = strcmp(phase, "cold") == 0;
    const char *const root = path_of("%s/%s-%d", work, strategy, directories);
    const char *const compiler = path_of("%s/counting-c++", root);
    const char *const cache = path_of("%s/cache-%d", root, ranks_rank() % directories);
    struct integer integer = {7, 0, NULL, NULL};
    struct outcome outcome;
    dijitso_params *params;
    int before;
    check_case("%s, %d directories, %s", strategy, directories, phase);

    if (cold && ranks_rank() == 0) {
        make_directory(root);
        counting_compiler(root);
    }
    ranks_barrier();
    before = compiles(root);
    ranks_barrier();
    params = params_with(cache, "build.cxx", compiler, "parallel.buildon", strategy, NULL);
    outcome = jit_integer(path_of("counted_%s_%d", strategy, directories), params, &integer, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 7 + INCLUDED_VALUE,
                  cold ? ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED) : ORIGIN(DISK));
    ranks_barrier();
    if (ranks_rank() == 0) {
        char detail[64];
        const int linked = compiles(root) - before;
        snprintf(detail, sizeof detail, "%d instead of %d", linked, expected);
        check_that(linked == expected, "number of compilations", detail, __FILE__, __LINE__);
    }
    CHECK(ranks_sum(integer.calls) == expected);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    int warm;
    ranks_start(&argc, &argv);
    warm = argc > 2 && strcmp(argv[2], "warm") == 0;
    count(argv[1], argv[2], "node", 1, warm ? 0 : 1);
    count(argv[1], argv[2], "root", 1, warm ? 0 : 1);
    count(argv[1], argv[2], "process", 1, warm ? 0 : ranks_size());
    count(argv[1], argv[2], "node", 2, warm ? 0 : 2);
    count(argv[1], argv[2], "root", 2, warm ? 0 : 1);
    return ranks_finish();
}
