#include <dijitso.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const char *code = "extern \"C\" double square(double x) { return x * x; }\n";
    dijitso_library *library;
    dijitso_error *error;
    dijitso_fn square;
    if (dijitso_jit_source("square", NULL, code, strlen(code), NULL, 0, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK
        || dijitso_library_symbol(library, "square", &square, &error) != DIJITSO_OK) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        return 1;
    }
    printf("%g\n", ((double (*)(double))square)(3.0));
    return 0;
}
