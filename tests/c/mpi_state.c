/* Before MPI_Init and after MPI_Finalize, a communicator is refused and MPI_COMM_NULL works. */
#include "ranks.h"

static void outside(const char *work, const char *when)
{
    dijitso_params *const params = params_with(path_of("%s/%s", work, when), NULL);
    struct integer integer = {95, 0, NULL, NULL};
    struct outcome outcome;
    check_case("%s", when);
    outcome = jit_integer(when, params, &integer, MPI_COMM_WORLD);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_STATE, outcome.error);
    CHECK(integer.calls == 0);
    CHECK_OUTCOME(jit_integer(when, params, &integer, MPI_COMM_NULL), 137, ANY_ORIGIN);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".";
    dijitso_params *params;
    struct integer integer = {96, 0, NULL, NULL};
    outside(work, "before");
    MPI_Init(&argc, &argv);
    params = params_with(path_of("%s/between", work), NULL);
    check_case("between");
    CHECK_OUTCOME(jit_integer("between", params, &integer, MPI_COMM_WORLD), 138, ANY_ORIGIN);
    CHECK_OUTCOME(jit_integer("between_self", params, &integer, MPI_COMM_SELF), 138, ANY_ORIGIN);
    dijitso_params_free(params);
    MPI_Finalize();
    outside(work, "after");
    return check_result();
}
