/* Roles, communicators and transport for hosts with their own callbacks. A wrong argument on one rank gives the same
 * error on all. */
#include "ranks.h"

#include <stdlib.h>

static const char *work;

static void check_same(dijitso_status status, dijitso_status expected, dijitso_error *error)
{
    struct outcome outcome = {0, -1, -1, 0.0, NULL, ""};
    outcome.status = status;
    outcome.error = error;
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_STATUS(status, expected, error);
}

/* Makes a call with `&error` as its last argument, and checks that all ranks get the expected status. */
#define CHECK_SAME(call, expected) \
    do { \
        dijitso_error *error = NULL; \
        const dijitso_status status_ = (call); \
        check_same(status_, (expected), error); \
    } while (0)

static int comm_size(MPI_Comm comm)
{
    int size = 0;
    if (comm != MPI_COMM_NULL)
        MPI_Comm_size(comm, &size);
    return size;
}

static int comm_rank(MPI_Comm comm)
{
    int rank = -1;
    if (comm != MPI_COMM_NULL)
        MPI_Comm_rank(comm, &rank);
    return rank;
}

static void free_comm(MPI_Comm *comm)
{
    if (*comm != MPI_COMM_NULL)
        MPI_Comm_free(comm);
}

/* Returns the directory of this rank: even ranks share one, odd ranks the other. */
static const char *half(void)
{
    return path_of("%s/half [%d*]", work, ranks_rank() % 2);
}

static int in_half(void)
{
    return (ranks_size() + 1 - ranks_rank() % 2) / 2;
}

static void discover(void)
{
    int32_t *const ranks = malloc(sizeof(int32_t) * (size_t)ranks_size());
    int32_t count = -1;
    check_case("ranks that share a directory");
    CHECK_SAME(dijitso_mpi_discover_path_access_ranks(MPI_COMM_WORLD, half(), ranks, ranks_size(), &count, &error),
               DIJITSO_OK);
    CHECK(count == in_half());
    for (int32_t at = 0; at < count; ++at)
        CHECK(ranks[at] == ranks_rank() % 2 + 2 * at);

    check_case("no room on the last rank");
    CHECK_SAME(dijitso_mpi_discover_path_access_ranks(MPI_COMM_WORLD, half(), ranks,
                                                      ranks_rank() == ranks_size() - 1 ? 0 : ranks_size(), &count,
                                                      &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    check_case("a file in place of the last rank's directory");
    if (ranks_rank() == ranks_size() - 1)
        write_text(path_of("%s/file", work), "", 0600);
    CHECK_SAME(dijitso_mpi_discover_path_access_ranks(MPI_COMM_WORLD,
                                                      ranks_rank() == ranks_size() - 1 ? path_of("%s/file", work)
                                                                                       : half(),
                                                      ranks, ranks_size(), &count, &error),
               DIJITSO_ERROR_CACHE);
    check_case("no path on rank 0");
    CHECK_SAME(dijitso_mpi_discover_path_access_ranks(MPI_COMM_WORLD, ranks_rank() == 0 ? NULL : half(), ranks,
                                                      ranks_size(), &count, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    free(ranks);
}

static void node_communicators(void)
{
    MPI_Comm node = MPI_COMM_WORLD, roots = MPI_COMM_WORLD, some = MPI_COMM_WORLD;
    int32_t node_root = -1, backwards[2];
    check_case("nodes");
    CHECK_SAME(dijitso_mpi_create_node_comm(MPI_COMM_WORLD, half(), &node, &node_root, &error), DIJITSO_OK);
    CHECK(comm_size(node) == in_half() && comm_rank(node) == ranks_rank() / 2 && node_root == ranks_rank() % 2);

    check_case("roots of nodes");
    CHECK_SAME(dijitso_mpi_create_node_roots_comm(MPI_COMM_WORLD, node_root, &roots, &error), DIJITSO_OK);
    CHECK((roots != MPI_COMM_NULL) == (ranks_rank() < 2));
    CHECK(comm_rank(roots) == (ranks_rank() < 2 ? ranks_rank() : -1));

    check_case("some ranks, in another order");
    backwards[0] = ranks_size() - 1;
    backwards[1] = 0;
    CHECK_SAME(dijitso_mpi_create_subcomm(MPI_COMM_WORLD, backwards, ranks_size() > 1 ? 2 : 1, &some, &error),
               DIJITSO_OK);
    CHECK(comm_rank(some) == (ranks_rank() == ranks_size() - 1 ? 0 : ranks_rank() == 0 ? 1 : -1));
    free_comm(&some);

    check_case("another rank on rank 0");
    backwards[0] = ranks_rank() == 0 ? 1 : 0;
    CHECK_SAME(dijitso_mpi_create_subcomm(MPI_COMM_WORLD, backwards, 1, &some, &error),
               ranks_size() > 1 ? DIJITSO_ERROR_RANKS_DISAGREE : DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(some == MPI_COMM_NULL);

    check_case("an invalid node root");
    CHECK_SAME(dijitso_mpi_create_node_roots_comm(MPI_COMM_WORLD, ranks_rank() == 0 ? -5 : node_root, &some, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    free_comm(&roots);
    free_comm(&node);
}

static void check_roles(const char *buildon, MPI_Comm copy, MPI_Comm wait, int32_t role)
{
    const int first = ranks_rank() < 2, rank = ranks_rank();
    if (strcmp(buildon, "process") == 0) {
        CHECK(role == DIJITSO_ROLE_BUILDER && copy == MPI_COMM_NULL && wait == MPI_COMM_NULL);
        return;
    }
    CHECK(comm_size(wait) == in_half() && comm_rank(wait) == rank / 2);
    if (strcmp(buildon, "node") == 0) {
        CHECK(copy == MPI_COMM_NULL);
        CHECK(role == (first ? DIJITSO_ROLE_BUILDER : DIJITSO_ROLE_WAITER));
    } else {
        CHECK(comm_rank(copy) == (first ? rank : -1));
        CHECK(role == (rank == 0 ? DIJITSO_ROLE_BUILDER : first ? DIJITSO_ROLE_RECEIVER : DIJITSO_ROLE_WAITER));
    }
}

typedef dijitso_status (*variant)(MPI_Comm comm, MPI_Comm node_comm, int32_t node_root, MPI_Comm *copy_comm_out,
                                  MPI_Comm *wait_comm_out, int32_t *role_out, dijitso_error **error_out);

static void roles(void)
{
    static const variant variants[3] = {dijitso_mpi_create_comms_and_role_node, dijitso_mpi_create_comms_and_role_root,
                                        dijitso_mpi_create_comms_and_role_process};
    MPI_Comm copy, wait, node;
    int32_t role, node_root;
    CHECK_SAME(dijitso_mpi_create_node_comm(MPI_COMM_WORLD, half(), &node, &node_root, &error), DIJITSO_OK);
    for (int at = 0; at < 3; ++at) {
        check_case("%s", strategies[at]);
        CHECK_SAME(dijitso_mpi_create_comms_and_role(MPI_COMM_WORLD, half(), strategies[at], &copy, &wait, &role, &error),
                   DIJITSO_OK);
        check_roles(strategies[at], copy, wait, role);
        free_comm(&copy);
        free_comm(&wait);

        check_case("%s with known nodes", strategies[at]);
        CHECK_SAME(variants[at](MPI_COMM_WORLD, node, node_root, &copy, &wait, &role, &error), DIJITSO_OK);
        check_roles(strategies[at], copy, wait, role);
        free_comm(&copy);
        free_comm(&wait);

        check_case("%s with a wrong node on rank 0", strategies[at]);
        CHECK_SAME(variants[at](MPI_COMM_WORLD, ranks_rank() == 0 ? MPI_COMM_NULL : node, node_root, &copy, &wait, &role,
                                &error),
                   DIJITSO_ERROR_INVALID_ARGUMENT);
        CHECK(copy == MPI_COMM_NULL && wait == MPI_COMM_NULL);
    }
    free_comm(&node);

    check_case("an unknown strategy");
    CHECK_SAME(dijitso_mpi_create_comms_and_role(MPI_COMM_WORLD, half(), ranks_rank() == 0 ? "some" : "node", &copy, &wait,
                                                 &role, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(copy == MPI_COMM_NULL && wait == MPI_COMM_NULL);
    check_case("two strategies");
    CHECK_SAME(dijitso_mpi_create_comms_and_role(MPI_COMM_WORLD, half(), ranks_rank() == 0 ? "root" : "node", &copy, &wait,
                                                 &role, &error),
               ranks_size() > 1 ? DIJITSO_ERROR_RANKS_DISAGREE : DIJITSO_OK);
    if (ranks_size() == 1) {
        free_comm(&copy);
        free_comm(&wait);
    }
    check_case("no communicator");
    CHECK_CALL(dijitso_mpi_create_comms_and_role(DIJITSO_COMM_NULL, half(), "root", &copy, &wait, &role, &error),
                 DIJITSO_OK);
    CHECK(copy == MPI_COMM_NULL && wait == MPI_COMM_NULL && role == DIJITSO_ROLE_BUILDER);
}

static void transport(void)
{
    static const size_t sizes[] = {0, 1, 8, 100000, 40000000};
    dijitso_blob *blob;
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; ++at) {
        uint8_t *const data = malloc(sizes[at] + 1);
        check_case("%lu bytes", (unsigned long)sizes[at]);
        for (size_t byte = 0; byte < sizes[at]; ++byte)
            data[byte] = (uint8_t)(byte % 251);
        if (ranks_rank() == 0) {
            CHECK_SAME(dijitso_mpi_send_binary(MPI_COMM_WORLD, data, sizes[at], &error), DIJITSO_OK);
        } else {
            CHECK_SAME(dijitso_mpi_receive_binary(MPI_COMM_WORLD, blob, &error), DIJITSO_OK);
            CHECK(dijitso_blob_size(blob) == sizes[at]);
            CHECK(memcmp(dijitso_blob_data(blob), data, sizes[at]) == 0);
        }
        free(data);
    }
    if (ranks_size() > 1) {
        check_case("every rank sends");
        CHECK_SAME(dijitso_mpi_send_binary(MPI_COMM_WORLD, (const uint8_t *)"x", 1, &error),
                   DIJITSO_ERROR_INVALID_ARGUMENT);
        check_case("no blob on the last rank");
        if (ranks_rank() == 0)
            CHECK_SAME(dijitso_mpi_send_binary(MPI_COMM_WORLD, (const uint8_t *)"x", 1, &error),
                       DIJITSO_ERROR_INVALID_ARGUMENT);
        else
            CHECK_SAME(dijitso_mpi_receive_binary(MPI_COMM_WORLD, ranks_rank() == ranks_size() - 1 ? NULL : blob, &error),
                       DIJITSO_ERROR_INVALID_ARGUMENT);
    }
    check_case("no rank sends");
    CHECK_SAME(dijitso_mpi_receive_binary(MPI_COMM_WORLD, blob, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_blob_free(blob);
}

static void numbers(void)
{
    uint64_t *const partitions = malloc(sizeof(uint64_t) * (size_t)ranks_size());
    uint64_t first = 0, second = 0;
    int32_t count = -1;
    check_case("shared numbers");
    CHECK_SAME(dijitso_mpi_bcast_uuid(MPI_COMM_WORLD, &first, &error), DIJITSO_OK);
    CHECK_SAME(dijitso_mpi_bcast_uuid(MPI_COMM_WORLD, &second, &error), DIJITSO_OK);
    ranks_check_same_text(MPI_COMM_WORLD, path_of("%llx", (unsigned long long)first));
    CHECK(first != second);
    CHECK_SAME(dijitso_mpi_bcast_uuid(MPI_COMM_WORLD, ranks_rank() == 0 ? NULL : &second, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    check_case("partitions");
    CHECK_SAME(dijitso_mpi_gather_global_partitions(MPI_COMM_WORLD, 1 - (uint64_t)(ranks_rank() % 2), partitions,
                                                    ranks_size(), &count, &error),
               DIJITSO_OK);
    CHECK(count == (ranks_size() > 1 ? 2 : 1) && partitions[count - 1] == 1);
    CHECK_SAME(dijitso_mpi_gather_global_partitions(MPI_COMM_WORLD, 0, partitions, ranks_rank() == 0 ? 0 : ranks_size(),
                                                    &count, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    free(partitions);
}

/* dijitso_jit works on the new communicators, which have the error handler of the host's communicator. */
static void host_communicators(void)
{
    struct integer integer = {7, 0, NULL, NULL};
    dijitso_params *const params = params_with(path_of("%s/cache", work), NULL);
    MPI_Errhandler handler;
    MPI_Comm node, copy;
    int32_t node_root;
    check_case("the host's communicators");
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
    MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
    CHECK_SAME(dijitso_mpi_create_node_comm(copy, work, &node, &node_root, &error), DIJITSO_OK);
    MPI_Comm_get_errhandler(node, &handler);
    CHECK(handler == MPI_ERRORS_RETURN);
    MPI_Errhandler_free(&handler);
    CHECK_OUTCOME(jit_integer("on_node", params, &integer, node), 7 + INCLUDED_VALUE, ANY_ORIGIN);
    MPI_Comm_free(&node);
    MPI_Comm_free(&copy);
    CHECK_SAME(dijitso_mpi_create_node_comm(MPI_COMM_WORLD, work, &node, NULL, &error), DIJITSO_OK);
    MPI_Comm_get_errhandler(node, &handler);
    CHECK(handler == MPI_ERRORS_ARE_FATAL);
    MPI_Errhandler_free(&handler);
    MPI_Comm_free(&node);
    dijitso_params_free(params);
}

struct seen {
    int failures, wrong_ranks;
};

static void handle_record(void *user_data, const dijitso_log_record *record)
{
    struct seen *const seen = user_data;
    if (strstr(record->message, "\"broken\" failed") == NULL)
        return;
    ++seen->failures;
    seen->wrong_ranks += record->rank != ranks_rank() || record->ranks != ranks_size();
}

/* One rank logs a failed build, and the record has its number. */
static void records_have_ranks(void)
{
    struct integer integer = {7, 0, "int broken = nonsense_of_ours;\n", NULL};
    dijitso_params *const params = params_with(path_of("%s/cache", work), NULL);
    struct seen seen = {0, 0};
    struct outcome outcome;
    check_case("records");
    CHECK_CALL(dijitso_log_set_handler(handle_record, &seen, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_log_set_level(DIJITSO_LOG_INFO, &error), DIJITSO_OK);
    outcome = jit_integer("broken", params, &integer, MPI_COMM_WORLD);
    CHECK(ranks_check_same_outcome(MPI_COMM_WORLD, &outcome) == DIJITSO_ERROR_COMPILE);
    outcome_free(&outcome);
    CHECK(ranks_sum(seen.failures) == 1 && seen.wrong_ranks == 0);
    CHECK_CALL(dijitso_log_set_handler(NULL, NULL, &error), DIJITSO_OK);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    work = argc > 1 ? argv[1] : ".";
    discover();
    node_communicators();
    roles();
    transport();
    numbers();
    host_communicators();
    records_have_ranks();
    return ranks_finish();
}
