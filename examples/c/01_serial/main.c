/* Generates a C function, has it compiled once, and calls it. The program starts no MPI. */
#include <dijitso.h>
#include <stdio.h>
#include <string.h>

/* Hands over the code; dijitso copies it. Called on a miss only. */
static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "double evaluate(double x) { return 3.0 * x + 1.0; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

static int fail(dijitso_error *error)
{
    fprintf(stderr, "%s\n", dijitso_error_message(error));
    dijitso_error_free(error);
    return 1;
}

int main(void)
{
    static const char *const origins[] = {"taken from memory", "found on disk", "built", "received"};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn evaluate = NULL;

    callbacks.generate = generate;
    if (dijitso_params_new(&params, &error) || dijitso_params_set(params, "build.language", "c", &error)
        || dijitso_jit("affine", params, &callbacks, DIJITSO_COMM_NULL, &library, &error)
        || dijitso_library_symbol(library, "evaluate", &evaluate, &error)) {
        dijitso_params_free(params);
        dijitso_library_free(library);
        return fail(error);
    }

    const double value = ((double (*)(double))evaluate)(2.0);
    printf("evaluate(2) = %g, %s\n", value, origins[dijitso_library_origin(library)]);

    dijitso_library_free(library);
    dijitso_params_free(params);
    return value == 7.0 ? 0 : 1;
}
