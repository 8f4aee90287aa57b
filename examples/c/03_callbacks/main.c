/* The program moves the library itself. dijitso gets no communicator, so it calls no MPI. The program finds out which
 * ranks miss, chooses their roles, and passes the callbacks: send for the builder, receive for receivers, wait for
 * waiters. A program that does not communicate by MPI replaces transport.c. */
#include "transport.h"

#include <stdio.h>
#include <string.h>

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

/* Returns the library, or NULL on a miss: without callbacks a miss is an error. */
static dijitso_library *look_up(const dijitso_params *params)
{
    dijitso_library *library = NULL;
    dijitso_jit("affine", params, NULL, DIJITSO_COMM_NULL, &library, NULL);
    return library;
}

/* Builds on the first rank of `missing`, and brings the library to the others. Collective over `missing`, the ranks
 * that miss. */
static dijitso_status exchange(const dijitso_params *params, MPI_Comm missing, int shared, dijitso_library **library,
                               dijitso_error **error)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct transport transport = {missing, 0};
    dijitso_status status;
    int rank;

    MPI_Comm_rank(missing, &rank);
    callbacks.user_data = &transport;
    if (rank == 0)
        callbacks.generate = generate;
    if (shared)
        callbacks.wait = transport_wait;
    else if (rank == 0)
        callbacks.send = transport_send;
    else
        callbacks.receive = transport_receive;
    status = dijitso_jit("affine", params, &callbacks, DIJITSO_COMM_NULL, library, error);

    /* A late waiter hits, and dijitso does not call its `wait`. The others are in the barrier, so enter it now. */
    if (shared && !transport.called)
        transport_wait(&transport);
    return status;
}

/* Prints the value and the origin of every rank, in the order of the ranks. Collective over comm. */
static void report(MPI_Comm comm, double value, int origin)
{
    static const char *const origins[] = {"taken from memory", "found on disk", "built here", "received"};
    struct { double value; int origin; } mine = {value, origin};
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    for (int source = 0; source < size; ++source) {
        if (source > 0 && rank == source)
            MPI_Send(&mine, (int)sizeof mine, MPI_BYTE, 0, 0, comm);
        if (source > 0 && rank == 0)
            MPI_Recv(&mine, (int)sizeof mine, MPI_BYTE, source, 0, comm, MPI_STATUS_IGNORE);
        if (rank == 0)
            printf("rank %d of %d: evaluate(2) = %g, %s\n", source, size, mine.value, origins[mine.origin]);
    }
}

static dijitso_status make_params(int rank, int shared, dijitso_params **params, dijitso_error **error)
{
    char directory[4096];
    dijitso_status status = dijitso_params_new(params, error);
    if (status == DIJITSO_OK)
        status = dijitso_params_set(*params, "build.language", "c", error);
    if (status == DIJITSO_OK && !shared) {
        const char *const parent = dijitso_params_get(*params, "cache.cache_dir");
        snprintf(directory, sizeof directory, "%s/rank-%d", parent, rank);
        status = dijitso_params_set(*params, "cache.cache_dir", directory, error);
    }
    return status;
}

static int run(MPI_Comm comm, int shared)
{
    MPI_Comm missing = MPI_COMM_NULL;
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn evaluate = NULL;
    int rank, ok;

    MPI_Comm_rank(comm, &rank);
    ok = make_params(rank, shared, &params, &error) == DIJITSO_OK;
    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm);

    if (ok) {
        library = look_up(params);
        MPI_Comm_split(comm, library == NULL ? 0 : MPI_UNDEFINED, rank, &missing);
        if (missing != MPI_COMM_NULL) {
            exchange(params, missing, shared, &library, &error);
            MPI_Comm_free(&missing);
        }
        ok = library != NULL && dijitso_library_symbol(library, "evaluate", &evaluate, &error) == DIJITSO_OK;
    }
    if (error != NULL)
        fprintf(stderr, "rank %d: %s\n", rank, dijitso_error_message(error));

    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm);
    if (ok) {
        const double value = ((double (*)(double))evaluate)(2.0);
        report(comm, value, dijitso_library_origin(library));
        ok = value == 7.0;
    }
    dijitso_error_free(error);
    dijitso_library_free(library);
    dijitso_params_free(params);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    const int shared = argc > 1 && strcmp(argv[1], "shared") == 0;
    const int result = run(MPI_COMM_WORLD, shared);
    MPI_Finalize();
    return result;
}
