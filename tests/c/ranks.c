#include "ranks.h"

#include <stdlib.h>

const char *const strategies[3] = {"node", "root", "process"};
const char *const layouts[LAYOUTS] = {"shared", "own"};

void ranks_start(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &check_state.rank);
}

int ranks_rank(void)
{
    return check_state.rank;
}

int ranks_size(void)
{
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

int ranks_finish(void)
{
    check_state.failures = ranks_sum(check_state.failures);
    MPI_Finalize();
    return check_result();
}

void ranks_barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

int ranks_sum(int value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return value;
}

void ranks_check_same_text(MPI_Comm comm, const char *text)
{
    unsigned long length = strlen(text) + 1;
    char *root_text;
    int rank;
    MPI_Comm_rank(comm, &rank);
    MPI_Bcast(&length, 1, MPI_UNSIGNED_LONG, 0, comm);
    root_text = calloc(length, 1);
    if (rank == 0)
        memcpy(root_text, text, length);
    MPI_Bcast(root_text, (int)length, MPI_CHAR, 0, comm);
    check_that(strcmp(root_text, text) == 0, "rank 0 has the same text", text, __FILE__, __LINE__);
    free(root_text);
}

dijitso_status ranks_check_same_outcome(MPI_Comm comm, const struct outcome *outcome)
{
    int root_status = outcome->status;
    const char *const message = outcome->error != NULL ? dijitso_error_message(outcome->error) : "";
    MPI_Bcast(&root_status, 1, MPI_INT, 0, comm);
    CHECK(root_status == outcome->status);
    ranks_check_same_text(comm, message);
    return outcome->status;
}

const char *layout_directory(const char *root, const char *strategy, enum layout layout)
{
    const char *const shared = path_of("%s/%s-%s", root, strategy, layouts[layout]);
    const char *own;
    make_directory(shared);
    if (layout == LAYOUT_SHARED)
        return shared;
    own = path_of("%s/%d", shared, ranks_rank());
    make_directory(own);
    return own;
}
