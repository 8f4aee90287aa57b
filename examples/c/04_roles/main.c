/* The callback pattern of the Python module: dijitso_mpi_create_comms_and_role() gives each rank its role (builder,
 * receiver or waiter) and the communicators. Each rank passes the callbacks of its role, and no communicator. */
#include <dijitso.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

struct host {
    MPI_Comm copy_comm, wait_comm;
    int32_t role;
    int transferred; /* set when dijitso has called send or receive */
    int waited;      /* set when dijitso has called wait */
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    struct host *const host = user_data;
    host->transferred = 1;
    return dijitso_mpi_send_binary(host->copy_comm, data, size, NULL);
}

static int32_t receive(void *user_data, dijitso_blob *blob)
{
    struct host *const host = user_data;
    host->transferred = 1;
    return dijitso_mpi_receive_binary(host->copy_comm, blob, NULL);
}

static int32_t wait(void *user_data)
{
    struct host *const host = user_data;
    host->waited = 1;
    return MPI_Barrier(host->wait_comm) != MPI_SUCCESS;
}

/* Returns 1 on a miss: without callbacks a miss is an error. */
static int misses(const char *name, const dijitso_params *params)
{
    dijitso_library *library = NULL;
    const int missed = dijitso_jit(name, params, NULL, DIJITSO_COMM_NULL, &library, NULL) != DIJITSO_OK;
    dijitso_library_free(library);
    return missed;
}

/* Does the part of a rank that has the library: dijitso has not called its callbacks, but the other ranks wait for it.
 * A builder sends the binary from its cache; a receiver drops what it gets. */
static void complete_transfer(const char *name, const dijitso_params *params, struct host *host)
{
    dijitso_blob *blob = NULL, *signature = NULL;
    if (host->copy_comm != MPI_COMM_NULL && !host->transferred && dijitso_blob_new(&blob, NULL) == DIJITSO_OK
        && dijitso_blob_new(&signature, NULL) == DIJITSO_OK) {
        if (host->role == DIJITSO_ROLE_BUILDER) {
            /* If this fails, the blob stays empty, and receivers refuse an empty blob. */
            dijitso_signature(params, name, signature, NULL);
            dijitso_cache_read_binary(params, (const char *)dijitso_blob_data(signature), blob, NULL);
            send(host, dijitso_blob_data(blob), dijitso_blob_size(blob));
        } else {
            receive(host, blob);
        }
    }
    if (host->wait_comm != MPI_COMM_NULL && !host->waited)
        wait(host);
    dijitso_blob_free(signature);
    dijitso_blob_free(blob);
}

/* Collective over comm, the communicator that the roles were made from. */
static dijitso_status jit(MPI_Comm comm, const char *name, const dijitso_params *params, struct host *host,
                          dijitso_library **library, dijitso_error **error)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_status status;
    int missed = misses(name, params);

    /* Only a rank itself knows whether it misses. If any rank does, all must take part in the transfer. */
    MPI_Allreduce(MPI_IN_PLACE, &missed, 1, MPI_INT, MPI_MAX, comm);
    if (!missed)
        return dijitso_jit(name, params, NULL, DIJITSO_COMM_NULL, library, error);

    host->transferred = host->waited = 0;
    callbacks.user_data = host;
    if (host->role == DIJITSO_ROLE_BUILDER)
        callbacks.generate = generate;
    if (host->role == DIJITSO_ROLE_BUILDER && host->copy_comm != MPI_COMM_NULL)
        callbacks.send = send;
    if (host->role == DIJITSO_ROLE_RECEIVER)
        callbacks.receive = receive;
    if (host->wait_comm != MPI_COMM_NULL)
        callbacks.wait = wait;
    status = dijitso_jit(name, params, &callbacks, DIJITSO_COMM_NULL, library, error);
    complete_transfer(name, params, host);
    return status;
}

/* Prints the role, the value and the origin of every rank, in the order of the ranks. Collective over comm. */
static void report(MPI_Comm comm, int32_t role, double value, int origin)
{
    static const char *const roles[] = {"builder", "receiver", "waiter"};
    static const char *const origins[] = {"taken from memory", "found on disk", "built here", "received"};
    struct { double value; int role, origin; } mine = {value, role, origin};
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    for (int source = 0; source < size; ++source) {
        if (source > 0 && rank == source)
            MPI_Send(&mine, (int)sizeof mine, MPI_BYTE, 0, 0, comm);
        if (source > 0 && rank == 0)
            MPI_Recv(&mine, (int)sizeof mine, MPI_BYTE, source, 0, comm, MPI_STATUS_IGNORE);
        if (rank == 0)
            printf("rank %d of %d, %s: evaluate(2) = %g, %s\n", source, size, roles[mine.role], mine.value,
                   origins[mine.origin]);
    }
}

static dijitso_status make_params(int rank, int own, dijitso_params **params, dijitso_error **error)
{
    char directory[4096];
    dijitso_status status = dijitso_params_new(params, error);
    if (status == DIJITSO_OK)
        status = dijitso_params_set(*params, "build.language", "c", error);
    if (status == DIJITSO_OK && own) {
        snprintf(directory, sizeof directory, "%s/rank-%d", dijitso_params_get(*params, "cache.cache_dir"), rank);
        status = dijitso_params_set(*params, "cache.cache_dir", directory, error);
    }
    return status;
}

static int run(MPI_Comm comm, const char *buildon, int own)
{
    struct host host = {MPI_COMM_NULL, MPI_COMM_NULL, -1, 0, 0};
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn evaluate = NULL;
    int rank, ok;

    MPI_Comm_rank(comm, &rank);
    ok = make_params(rank, own, &params, &error) == DIJITSO_OK;
    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm);

    /* Fails on every rank or on none. One call serves all libraries. */
    ok = ok && dijitso_mpi_create_comms_and_role(comm, dijitso_params_get(params, "cache.cache_dir"), buildon,
                                                 &host.copy_comm, &host.wait_comm, &host.role, &error) == DIJITSO_OK;
    if (ok)
        ok = jit(comm, "affine", params, &host, &library, &error) == DIJITSO_OK
             && dijitso_library_symbol(library, "evaluate", &evaluate, &error) == DIJITSO_OK;
    if (error != NULL)
        fprintf(stderr, "rank %d: %s\n", rank, dijitso_error_message(error));

    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm);
    if (ok) {
        const double value = ((double (*)(double))evaluate)(2.0);
        report(comm, host.role, value, dijitso_library_origin(library));
        ok = value == 7.0;
    }
    if (host.copy_comm != MPI_COMM_NULL)
        MPI_Comm_free(&host.copy_comm);
    if (host.wait_comm != MPI_COMM_NULL)
        MPI_Comm_free(&host.wait_comm);
    dijitso_error_free(error);
    dijitso_library_free(library);
    dijitso_params_free(params);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    const char *const buildon = argc > 1 ? argv[1] : "node";
    const int own = argc > 2 && strcmp(argv[2], "own") == 0;
    const int result = run(MPI_COMM_WORLD, buildon, own);
    MPI_Finalize();
    return result;
}
