/* Loads all modules of a finite element program in one call, and solves -u'' + c u = f on (0, 1) with them.
 * usage: many [BAD]     BAD: a module whose generator fails, to see what the others do */
#include <dijitso.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if DIJITSO_HAVE_MPI
#include <mpi.h>
#endif

/* The element kernels of the program: linear elements of length h, with the middle at x. Matrices are symmetric. */
static const struct module {
    const char *name;
    const char *code;
} modules[] = {
    {"stiffness_p1", "void kernel(double h, double x, double *out)\n"
                     "{ (void)x; out[0] = 1 / h; out[1] = -1 / h; out[2] = 1 / h; }\n"},
    {"mass_p1", "void kernel(double h, double x, double *out)\n"
                "{ (void)x; out[0] = h / 3; out[1] = h / 6; out[2] = h / 3; }\n"},
    {"load_p1", "#include <math.h>\n"
                "void kernel(double h, double x, double *out)\n"
                "{ const double pi = 3.141592653589793; out[0] = out[1] = (pi * pi + 1) * sin(pi * x) * h / 2; }\n"},
    {"error_l2", "#include <math.h>\n"
                 "void kernel(double h, double x, double *out)\n"
                 "{ const double error = out[0] - sin(3.141592653589793 * x); out[0] = h * error * error; }\n"},
};

enum { MODULES = sizeof modules / sizeof modules[0] };
enum { STIFFNESS, MASS, LOAD, ERROR };

typedef void (*kernel_fn)(double h, double x, double *out);

/* Hands over the code of the module that is asked for. Called for those alone that are not in the cache. */
static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    const char *const bad = user_data;
    (void)signature, (void)generator_json;
    if (bad != NULL && strcmp(name, bad) == 0) {
        dijitso_source_set_error(source, "this module is to fail");
        return 1;
    }
    for (int i = 0; i < MODULES; ++i)
        if (strcmp(name, modules[i].name) == 0)
            return dijitso_source_set_code(source, modules[i].code, strlen(modules[i].code));
    dijitso_source_set_error(source, "no such module");
    return 1;
}

static int report(dijitso_error *error)
{
    fprintf(stderr, "%s\n", dijitso_error_message(error));
    dijitso_error_free(error);
    return 1;
}

/* Assembles on n elements, solves by the Thomas algorithm, and returns the L2 error in the middles of the elements. */
static double solve(const kernel_fn kernels[MODULES], int n)
{
    const double h = 1.0 / n;
    double *const diagonal = calloc((size_t)n + 1, sizeof *diagonal);
    double *const upper = calloc((size_t)n + 1, sizeof *upper);
    double *const u = calloc((size_t)n + 1, sizeof *u);
    double sum = 0;
    for (int e = 0; e < n; ++e) {
        double stiffness[3], mass[3], load[2];
        kernels[STIFFNESS](h, (e + 0.5) * h, stiffness);
        kernels[MASS](h, (e + 0.5) * h, mass);
        kernels[LOAD](h, (e + 0.5) * h, load);
        diagonal[e] += stiffness[0] + mass[0];
        diagonal[e + 1] += stiffness[2] + mass[2];
        upper[e] = stiffness[1] + mass[1];
        u[e] += load[0];
        u[e + 1] += load[1];
    }
    /* u(0) = u(1) = 0 */
    u[0] = u[n] = 0;
    for (int i = 2; i < n; ++i) {
        const double factor = upper[i - 1] / diagonal[i - 1];
        diagonal[i] -= factor * upper[i - 1];
        u[i] -= factor * u[i - 1];
    }
    for (int i = n - 1; i > 0; --i)
        u[i] = (u[i] - upper[i] * u[i + 1]) / diagonal[i];
    for (int e = 0; e < n; ++e) {
        double middle = (u[e] + u[e + 1]) / 2;
        kernels[ERROR](h, (e + 0.5) * h, &middle);
        sum += middle;
    }
    free(diagonal);
    free(upper);
    free(u);
    return sqrt(sum);
}

static int run(MPI_Comm comm, int rank, const char *bad)
{
    const char *names[MODULES];
    dijitso_library *libraries[MODULES];
    kernel_fn kernels[MODULES];
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    int built = 0, had = 0, failures = 0;
    for (int i = 0; i < MODULES; ++i)
        names[i] = modules[i].name;
    callbacks.generate = generate;
    /* generate only reads it. */
    callbacks.user_data = (void *)bad;

    if (dijitso_params_new(&params, &error) != DIJITSO_OK
        || dijitso_params_set(params, "build.language", "c", &error) != DIJITSO_OK)
        return report(error);
    /* Every rank calls it with the same names, gets the same libraries, and on failure the same error. */
    if (dijitso_jit_many(MODULES, names, params, &callbacks, comm, libraries, &error) != DIJITSO_OK)
        failures += rank == 0 ? report(error) : (dijitso_error_free(error), 1);
    for (int i = 0; i < MODULES; ++i) {
        dijitso_fn kernel = NULL;
        if (libraries[i] == NULL)
            continue;
        ++had;
        built += dijitso_library_origin(libraries[i]) == DIJITSO_ORIGIN_BUILT;
        if (dijitso_library_symbol(libraries[i], "kernel", &kernel, &error) != DIJITSO_OK)
            failures += report(error);
        kernels[i] = (kernel_fn)kernel;
        dijitso_library_free(libraries[i]);
    }
    dijitso_params_free(params);
    printf("rank %d: %d of %d modules, %d of them built here\n", rank, had, MODULES, built);
    if (failures == 0) {
        const double coarse = solve(kernels, 32), fine = solve(kernels, 64);
        const double order = log2(coarse / fine);
        if (rank == 0)
            printf("L2 error %.3e on 32 elements, %.3e on 64: order %.2f\n", coarse, fine, order);
        failures += order < 1.9 || order > 2.1;
    }
    return failures;
}

int main(int argc, char **argv)
{
    const char *const bad = argc > 1 ? argv[1] : NULL;
    int result;
#if DIJITSO_HAVE_MPI
    int rank = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    result = run(MPI_COMM_WORLD, rank, bad);
    MPI_Finalize();
#else
    result = run(DIJITSO_COMM_NULL, 0, bad);
#endif
    return result == 0 ? 0 : 1;
}
