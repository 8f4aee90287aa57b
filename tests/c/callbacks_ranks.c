/* The host chooses the roles and moves the blob with its own MPI calls. Then callbacks with a communicator: each
 * replaces one step of the library's transport. */
#include "ranks.h"

struct host {
    struct integer integer; /* first: it is the user_data of integer_generate */
    int sends, receives, waits;
};

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    struct host *const host = user_data;
    uint64_t length = size;
    ++host->sends;
    MPI_Bcast(&length, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    MPI_Bcast((uint8_t *)data, (int)size, MPI_BYTE, 0, MPI_COMM_WORLD);
    return 0;
}

static int32_t receive(void *user_data, dijitso_blob *blob)
{
    struct host *const host = user_data;
    uint64_t length = 0;
    uint8_t *data;
    ++host->receives;
    MPI_Bcast(&length, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    data = dijitso_blob_resize(blob, (size_t)length);
    if (data == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Bcast(data, (int)length, MPI_BYTE, 0, MPI_COMM_WORLD);
    return 0;
}

static int32_t wait(void *user_data)
{
    struct host *const host = user_data;
    ++host->waits;
    ranks_barrier();
    return 0;
}

static dijitso_callbacks callbacks_of(struct host *host)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = host;
    if (ranks_rank() == 0)
        callbacks.generate = integer_generate;
    return callbacks;
}

/* Rank 0 builds and sends; the others receive. Each rank has its own directory. */
static struct outcome send_and_receive(const char *work, const char *name, struct host *host)
{
    dijitso_params *const params = params_with(path_of("%s/own-%d", work, ranks_rank()), NULL);
    dijitso_callbacks callbacks = callbacks_of(host);
    struct outcome outcome;
    if (ranks_rank() == 0)
        callbacks.send = send;
    else
        callbacks.receive = receive;
    outcome = jit(name, params, &callbacks, MPI_COMM_NULL);
    dijitso_params_free(params);
    return outcome;
}

/* Rank 0 builds in the shared directory, the others wait. */
static struct outcome build_and_wait(const char *work, const char *name, struct host *host)
{
    dijitso_params *const params = params_with(path_of("%s/shared", work), NULL);
    dijitso_callbacks callbacks = callbacks_of(host);
    struct outcome outcome;
    callbacks.wait = wait;
    outcome = jit(name, params, &callbacks, MPI_COMM_NULL);
    /* A late waiter hits without a call of `wait`, but the others are in the barrier. */
    if (host->waits == 0)
        wait(host);
    CHECK(host->waits == 1);
    dijitso_params_free(params);
    return outcome;
}

static void host_transport(const char *work)
{
    static const char failing[] = "int broken() { return undeclared_44; }\n";
    const unsigned root_built = ORIGIN(BUILT);
    const int root = ranks_rank() == 0;
    struct host host;
    struct outcome outcome;

    check_case("sent by the host");
    host = (struct host){{70, 0, NULL, NULL}, 0, 0, 0};
    outcome = send_and_receive(work, "sent", &host);
    CHECK_OUTCOME(outcome, 112, root ? root_built : ORIGIN(RECEIVED));
    CHECK(host.sends == root && host.receives == !root);

    check_case("the builder fails, the host sends the failure");
    host = (struct host){{70, 0, failing, NULL}, 0, 0, 0};
    outcome = send_and_receive(work, "broken", &host);
    CHECK(outcome.status == DIJITSO_ERROR_COMPILE);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "undeclared_44");
    CHECK(host.sends == root && host.receives == !root);
    outcome_free(&outcome);

    check_case("waited for by the host");
    host = (struct host){{71, 0, NULL, NULL}, 0, 0, 0};
    outcome = build_and_wait(work, "waited", &host);
    CHECK_OUTCOME(outcome, 113, root ? root_built : ORIGIN(DISK));

    check_case("the builder fails, the host waits");
    host = (struct host){{71, 0, failing, NULL}, 0, 0, 0};
    outcome = build_and_wait(work, "waited_broken", &host);
    CHECK(outcome.status != DIJITSO_OK);
    CHECK(!root || outcome.status == DIJITSO_ERROR_COMPILE);
    outcome_free(&outcome);
}

/* With a communicator every rank passes the same callbacks. If there is more than one directory, rank 0 sends and every
 * other rank receives, so a collective transport works however the ranks share directories. */
static void with_communicator(const char *work, int directories)
{
    dijitso_params *const params = params_with(path_of("%s/callbacks-%d-%d", work, directories, ranks_rank() % directories),
                                               "parallel.buildon", "root", NULL);
    const int root = ranks_rank() == 0, transported = directories > 1 && ranks_size() > 1;
    const int first_in_directory = ranks_rank() < directories;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct host host = {{72, 0, NULL, NULL}, 0, 0, 0};
    struct outcome outcome;
    callbacks.user_data = &host;
    callbacks.generate = integer_generate;
    callbacks.send = send;
    callbacks.receive = receive;
    callbacks.wait = wait;
    check_case("send and receive with a communicator, %d directories", directories);
    outcome = jit(path_of("callbacks_%d", directories), params, &callbacks, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 114, root ? ORIGIN(BUILT) : transported && first_in_directory ? ORIGIN(RECEIVED) : ORIGIN(DISK));
    CHECK(host.sends == (transported && root) && host.receives == (transported && !root));
    CHECK(host.waits == 1);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    host_transport(argv[1]);
    with_communicator(argv[1], 1);
    with_communicator(argv[1], 2);
    if (ranks_size() > 2)
        with_communicator(argv[1], ranks_size());
    return ranks_finish();
}
