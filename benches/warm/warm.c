/* Calls dijitso_jit once on all ranks.
 *
 * usage: warm DIRECTORY STAGE_DIR ORIGIN     (ORIGIN: the expected origin on each rank: 1 for the disk, -1 for any) */
#include <dijitso.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char code[] = "extern \"C\" double evaluate(double x) { return 3.0 * x + 1.0; }\n";

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

int main(int argc, char **argv)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    int origin;
    MPI_Init(&argc, &argv);
    if (argc != 4)
        MPI_Abort(MPI_COMM_WORLD, 2);
    origin = atoi(argv[3]);
    callbacks.generate = generate;
    if (dijitso_params_new(&params, &error) || dijitso_params_set(params, "cache.cache_dir", argv[1], &error)
        || dijitso_params_set(params, "cache.node_stage_dir", argv[2], &error)
        || dijitso_jit("bench", params, &callbacks, MPI_COMM_WORLD, &library, &error)) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (origin >= 0 && (int)dijitso_library_origin(library) != origin) {
        fprintf(stderr, "another origin than expected: %d\n", (int)dijitso_library_origin(library));
        MPI_Abort(MPI_COMM_WORLD, 3);
    }
    dijitso_library_free(library);
    dijitso_params_free(params);
    MPI_Finalize();
    return 0;
}
