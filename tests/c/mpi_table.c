/* A program hands over its MPI as a table, as one whose MPI is linked statically does. */
#define DIJITSO_MPI_TABLE
#include "ranks.h"

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".";
    struct integer integer = {4, 0, NULL, NULL};
    dijitso_mpi_table table = DIJITSO_MPI_TABLE_INIT;
    dijitso_params *params;
    ranks_start(&argc, &argv);
    params = params_with(path_of("%s/cache", work), NULL);
    CHECK_OUTCOME(jit_integer("table", params, &integer, MPI_COMM_WORLD), 46, ANY_ORIGIN);
    CHECK(dijitso_mpi_family() == DIJITSO_MPI_OTHER && dijitso_mpi_comm_size() == sizeof(MPI_Comm));
    check_case("too late");
    CHECK(dijitso_mpi_use(&table, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    check_case("no such size");
    table.handle_size = 3;
    CHECK(dijitso_mpi_use(&table, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_params_free(params);
    return ranks_finish();
}
