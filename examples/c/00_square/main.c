#include <dijitso.h>
#include <stdio.h>
#include <string.h>

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    const char *code = "extern \"C\" double square(double x) { return x * x; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

int main(void)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library;
    dijitso_error *error;
    dijitso_fn square;
    callbacks.generate = generate;
    if (dijitso_jit("square", NULL, &callbacks, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK
        || dijitso_library_symbol(library, "square", &square, &error) != DIJITSO_OK) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        return 1;
    }
    printf("%g\n", ((double (*)(double))square)(3.0));
    return 0;
}
