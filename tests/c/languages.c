/* Communicators by address and as integers of Fortran; communicators of other MPIs are refused by a message. */
#include "ranks.h"

#include <string.h>

/* The standard ABI has no functions of Fortran in C. */
#if DIJITSO_MPI_FAMILY == DIJITSO_MPI_STANDARD_ABI
#define TO_INTEGER(comm) ((int32_t)MPI_Comm_toint(comm))
#define TO_COMM(integer) MPI_Comm_fromint(integer)
#else
#define TO_INTEGER(comm) ((int32_t)MPI_Comm_c2f(comm))
#define TO_COMM(integer) MPI_Comm_f2c((MPI_Fint)(integer))
#endif

static const char *const code = "extern \"C\" int five() { return 5; }\n";

static void check_five(dijitso_status status, dijitso_library *library, dijitso_error *error)
{
    dijitso_fn five = NULL;
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK(dijitso_library_symbol(library, "five", &five, NULL) == DIJITSO_OK);
    CHECK(five && ((int (*)(void))five)() == 5);
    dijitso_library_free(library);
}

/* All ranks get the same error. */
static void check_same_error(dijitso_status status, dijitso_library *library, dijitso_error *error, dijitso_status expected)
{
    CHECK(library == NULL);
    ranks_check_same_text(MPI_COMM_WORLD, dijitso_error_message(error));
    CHECK_STATUS(status, expected, error);
}

static int32_t fail_on_rank_0(void *user_data, const char *name, const char *signature, const char *generator,
                              dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator;
    if (ranks_rank() == 0) {
        return dijitso_source_set_error(source, "the generator of rank 0 fails"), 1;
    }
    return dijitso_source_set_code(source, code, strlen(code)) != DIJITSO_OK;
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".";
    MPI_Comm comm = MPI_COMM_WORLD, null = MPI_COMM_NULL, pair[2];
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_params *params;
    dijitso_status status;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    int32_t integer, made = 0, made_too = 0, root = -1, role = -1;
    const int32_t ranks[1] = {0};
    MPI_Comm node = MPI_COMM_NULL, node_too;
    /* Open MPI ends a program that converts integers before MPI_Init. */
    CHECK(dijitso_jit_fint("early", NULL, NULL, 0, &library, NULL) == DIJITSO_ERROR_STATE);
    ranks_start(&argc, &argv);
    integer = TO_INTEGER(comm);
    params = params_with(path_of("%s/cache", work), NULL);
    callbacks.generate = fail_on_rank_0;

    check_case("a generator fails");
    status = dijitso_jit_comm("bad", params, &callbacks, &comm, sizeof comm, &library, &error);
    check_same_error(status, library, error, DIJITSO_ERROR_GENERATE);
    status = dijitso_jit_fint("bad", params, &callbacks, integer, &library, &error);
    check_same_error(status, library, error, DIJITSO_ERROR_GENERATE);

    check_case("by address");
    status = dijitso_jit_source_comm("address", params, code, strlen(code), NULL, 0, &comm, sizeof comm, &library, &error);
    check_five(status, library, error);
    CHECK(dijitso_mpi_comm_size() == sizeof comm);
    CHECK(dijitso_mpi_family() == DIJITSO_MPI_FAMILY);

    check_case("by integer");
    status = dijitso_jit_source_fint("integer", params, code, strlen(code), NULL, 0, integer, &library, &error);
    check_five(status, library, error);

    check_case("null");
    status = dijitso_jit_source_comm("null", params, code, strlen(code), NULL, 0, NULL, 0, &library, &error);
    check_five(status, library, error);
    status = dijitso_jit_source_comm("null", params, code, strlen(code), NULL, 0, &null, sizeof null, &library, &error);
    check_five(status, library, error);
    status = dijitso_jit_source_fint("null", params, code, strlen(code), NULL, 0, dijitso_fint_null(), &library, &error);
    check_five(status, library, error);
    status = dijitso_jit_source_fint("null", params, code, strlen(code), NULL, 0, TO_INTEGER(null), &library,
                                     &error);
    check_five(status, library, error);

    check_case("the wrong size");
    status = dijitso_jit_comm("wrong", params, &callbacks, &comm, sizeof comm == 4 ? 8 : 4, &library, &error);
    CHECK(strstr(dijitso_error_message(error), "comm_size") != NULL);
    check_same_error(status, library, error, DIJITSO_ERROR_MPI);
    status = dijitso_jit_comm("wrong", params, &callbacks, &comm, 3, &library, &error);
    check_same_error(status, library, error, DIJITSO_ERROR_MPI);
    status = dijitso_jit_comm("wrong", params, &callbacks, &comm, 0, &library, &error);
    check_same_error(status, library, error, DIJITSO_ERROR_MPI);

    check_case("a communicator of another MPI");
    memset(pair, 0, sizeof pair);
    memcpy(pair, sizeof comm == 4 ? "\1\1\0\0" : "\0\0\0\104\0\0\0\0", sizeof comm);
    status = dijitso_jit_comm("wrong", params, &callbacks, pair, sizeof comm, &library, &error);
    CHECK(strstr(dijitso_error_message(error), "is no communicator of the MPI of this process") != NULL);
    check_same_error(status, library, error, DIJITSO_ERROR_MPI);

    check_case("outputs");
    status = dijitso_mpi_create_node_comm_comm(&comm, sizeof comm, work, pair, &root, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK(root == 0 && pair[0] != MPI_COMM_NULL);
    CHECK(MPI_Comm_free(pair) == MPI_SUCCESS);
    status = dijitso_mpi_create_node_comm_fint(integer, work, &made, &root, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    pair[0] = TO_COMM(made);
    CHECK(pair[0] != MPI_COMM_NULL && MPI_Comm_free(pair) == MPI_SUCCESS);
    status = dijitso_mpi_create_node_roots_comm_fint(integer, 0, &made, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    pair[0] = TO_COMM(made);
    CHECK((pair[0] == MPI_COMM_NULL) == (ranks_rank() != 0));
    if (pair[0] != MPI_COMM_NULL)
        MPI_Comm_free(pair);

    check_case("inputs between");
    status = dijitso_mpi_create_node_comm(comm, work, &node, &root, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    status = dijitso_mpi_create_node_roots_comm_comm(&comm, sizeof comm, root, pair, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK((pair[0] == MPI_COMM_NULL) == (ranks_rank() != 0));
    if (pair[0] != MPI_COMM_NULL)
        MPI_Comm_free(pair);
    status = dijitso_mpi_create_subcomm_comm(&comm, sizeof comm, ranks, 1, pair, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK((pair[0] == MPI_COMM_NULL) == (ranks_rank() != 0));
    if (pair[0] != MPI_COMM_NULL)
        MPI_Comm_free(pair);
    status = dijitso_mpi_create_comms_and_role_node_comm(&comm, &node, sizeof comm, root, pair, pair + 1, &role, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    CHECK(role == (ranks_rank() == 0 ? DIJITSO_ROLE_BUILDER : DIJITSO_ROLE_WAITER) && pair[1] != MPI_COMM_NULL);
    MPI_Comm_free(pair + 1);
    status = dijitso_mpi_create_comms_and_role_root_fint(integer, TO_INTEGER(node), root, &made, &made_too,
                                                         &role, &error);
    CHECK_STATUS(status, DIJITSO_OK, error);
    node_too = TO_COMM(made_too);
    CHECK(node_too != MPI_COMM_NULL && MPI_Comm_free(&node_too) == MPI_SUCCESS);
    node_too = TO_COMM(made);
    if (node_too != MPI_COMM_NULL)
        MPI_Comm_free(&node_too);
    MPI_Comm_free(&node);
    dijitso_params_free(params);
    return ranks_finish();
}
