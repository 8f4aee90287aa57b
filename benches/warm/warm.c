/* Calls dijitso_jit on all ranks, once for each module.
 *
 * usage: warm DIRECTORY MODULES ORIGIN [KEY=VALUE...]
 * ORIGIN is the expected origin on each rank: 1 for the disk, -1 for any. The others are parameters. */
#include <dijitso.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    char code[200];
    (void)user_data, (void)signature, (void)generator_json;
    snprintf(code, sizeof code, "extern \"C\" double %s(double x) { return 3.0 * x + 1.0; }\n", name);
    return dijitso_source_set_code(source, code, strlen(code));
}

static void check(int32_t status, dijitso_error *error)
{
    if (status != 0) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
}

int main(int argc, char **argv)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    MPI_Init(&argc, &argv);
    if (argc < 4)
        MPI_Abort(MPI_COMM_WORLD, 2);
    const int modules = atoi(argv[2]), origin = atoi(argv[3]);
    callbacks.generate = generate;
    check(dijitso_params_new(&params, &error), error);
    check(dijitso_params_set(params, "cache.cache_dir", argv[1], &error), error);
    for (int at = 4; at < argc; ++at) {
        char *value = strchr(argv[at], '=');
        if (value == NULL)
            MPI_Abort(MPI_COMM_WORLD, 2);
        *value = '\0';
        check(dijitso_params_set(params, argv[at], value + 1, &error), error);
    }
    for (int module = 0; module < modules; ++module) {
        char name[20];
        dijitso_library *library = NULL;
        snprintf(name, sizeof name, "module%d", module);
        check(dijitso_jit(name, params, &callbacks, MPI_COMM_WORLD, &library, &error), error);
        if (origin >= 0 && (int)dijitso_library_origin(library) != origin) {
            fprintf(stderr, "another origin than expected: %d\n", (int)dijitso_library_origin(library));
            MPI_Abort(MPI_COMM_WORLD, 3);
        }
        dijitso_library_free(library);
    }
    dijitso_params_free(params);
    MPI_Finalize();
    return 0;
}
