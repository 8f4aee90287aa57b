/* The program of 01_serial on all ranks of MPI_COMM_WORLD: one rank compiles, every rank gets the function. */
#include <dijitso.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

/* Gives each rank a cache directory of its own, as on compute nodes with local disks. */
static int set_own_directory(dijitso_params *params, int rank, dijitso_error **error)
{
    char directory[4096];
    const char *const shared = dijitso_params_get(params, "cache.cache_dir");
    const int length = snprintf(directory, sizeof directory, "%s/node-%d", shared, rank);
    if (length < 0 || (size_t)length >= sizeof directory)
        return 1;
    return dijitso_params_set(params, "cache.cache_dir", directory, error);
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

static void print_error(int rank, const dijitso_error *error)
{
    fprintf(stderr, "rank %d: %s\n", rank, error != NULL ? dijitso_error_message(error) : "the path is too long");
}

static int run(MPI_Comm comm, const char *buildon, int own_directories)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn evaluate = NULL;
    int rank, ok;

    MPI_Comm_rank(comm, &rank);
    callbacks.generate = generate;
    ok = dijitso_params_new(&params, &error) == DIJITSO_OK
         && dijitso_params_set(params, "build.language", "c", &error) == DIJITSO_OK
         && dijitso_params_set(params, "parallel.buildon", buildon, &error) == DIJITSO_OK
         && (!own_directories || set_own_directory(params, rank, &error) == DIJITSO_OK);

    if (!ok)
        print_error(rank, error);
    /* Parameters are local to a rank, and the next call is collective: enter it on every rank or on none. */
    MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, comm);

    if (ok) {
        /* From here on every rank gets the same status and the same message. */
        ok = dijitso_jit("affine", params, &callbacks, comm, &library, &error) == DIJITSO_OK
             && dijitso_library_symbol(library, "evaluate", &evaluate, &error) == DIJITSO_OK;
        if (ok)
            report(comm, ((double (*)(double))evaluate)(2.0), dijitso_library_origin(library));
        else if (rank == 0)
            print_error(rank, error);
    }
    dijitso_error_free(error);
    dijitso_library_free(library);
    dijitso_params_free(params);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    const char *const buildon = argc > 1 ? argv[1] : "node";
    const int own_directories = argc > 2 && strcmp(argv[2], "own") == 0;
    const int result = run(MPI_COMM_WORLD, buildon, own_directories);
    MPI_Finalize();
    return result;
}
