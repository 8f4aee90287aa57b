/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A host for debuggers and profilers: calls generated code as often as its argument says. "crash" crashes in it; "leave" writes
 * behind the end of an array in it. */
#include <dijitso.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const header = "inline double squared(double x)\n"
                                  "{\n"
                                  "  double result = x * x;\n"
                                  "  return result;\n"
                                  "}\n";

static const char *const code = "\n"
                                "extern \"C\" double norm2(const double *x, int n)\n"
                                "{\n"
                                "  double sum = 0;\n"
                                "  for (int i = 0; i < n; ++i)\n"
                                "    sum += squared(x[i]);\n"
                                "  return sum;\n"
                                "}\n";

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    char text[1000];
    (void)user_data, (void)name, (void)generator_json;
    const int length = snprintf(text, sizeof text, "#include \"%s.h\"\n%s", signature, code);
    return dijitso_source_set_header(source, header, strlen(header))
        || dijitso_source_set_code(source, text, (size_t)length);
}

typedef double norm2_fn(const double *, int);

int main(int argc, char **argv)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    dijitso_fn function = NULL;
    callbacks.generate = generate;
    if (dijitso_jit("norm2", NULL, &callbacks, DIJITSO_COMM_NULL, &library, &error)
        || dijitso_library_symbol(library, "norm2", &function, &error)) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        return 1;
    }
    norm2_fn *const norm2 = (norm2_fn *)function;
    const char *const argument = argc > 1 ? argv[1] : "1";
    double *const x = malloc(2 * sizeof *x);
    x[0] = 3, x[1] = 4;
    double sum = 0;
    if (strcmp(argument, "crash") == 0)
        sum = norm2(NULL, 2);
    else if (strcmp(argument, "leave") == 0)
        sum = norm2(x, 3);
    else
        for (long count = atol(argument); count > 0; --count)
            sum += norm2(x, 2);
    printf("%g %s\n", sum, dijitso_library_path(library));
    free(x);
    dijitso_library_free(library);
    return 0;
}
