/* Starts nine independent modules, which are built at the same time, and then finishes them.
 * usage: start_finish [one]     one: builds one module after the other, for comparison */
#include <dijitso.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#if DIJITSO_HAVE_MPI
#include <mpi.h>
#endif

enum { MODULES = 9 };

/* Hands over C++ code that takes a compiler long. The last character of the name tells the modules apart. */
static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    char code[2048];
    (void)user_data, (void)signature, (void)generator_json;
    snprintf(code, sizeof code,
             "#include <map>\n#include <sstream>\n#include <string>\n"
             "extern \"C\" int words(const char *text)\n{\n"
             "  std::istringstream all(text);\n  std::map<std::string, int> seen;\n"
             "  for (std::string word; all >> word;)\n"
             "    if (word.back() == '%s')\n      ++seen[word];\n"
             "  return static_cast<int>(seen.size());\n}\n",
             name + strlen("words_"));
    return dijitso_source_set_code(source, code, strlen(code));
}

static double now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int report(dijitso_error *error)
{
    fprintf(stderr, "%s\n", dijitso_error_message(error));
    dijitso_error_free(error);
    return 1;
}

static int run(MPI_Comm comm, int rank, int one_by_one)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_pending *pending[MODULES] = {NULL};
    dijitso_error *error = NULL;
    const double begin = now();
    int built = 0, failures = 0;
    callbacks.generate = generate;

    for (int i = 0; i < MODULES; ++i) {
        char name[32];
        dijitso_library *library = NULL;
        snprintf(name, sizeof name, "words_%d", i);
        if (one_by_one) {
            if (dijitso_jit(name, NULL, &callbacks, comm, &library, &error) != DIJITSO_OK)
                return report(error);
            built += dijitso_library_origin(library) == DIJITSO_ORIGIN_BUILT;
            dijitso_library_free(library);
        } else if (dijitso_jit_start(name, NULL, &callbacks, comm, &pending[i], &error) != DIJITSO_OK) {
            /* Every rank gets this error, so every rank cancels the same builds. */
            for (int j = 0; j < i; ++j)
                dijitso_pending_free(pending[j]);
            return report(error);
        }
    }
    /* Finish every module, also if another one has failed. A failure is the same error on every rank. */
    for (int i = 0; i < MODULES && !one_by_one; ++i) {
        dijitso_library *library = NULL;
        dijitso_fn words = NULL;
        if (dijitso_jit_finish(pending[i], &library, &error) != DIJITSO_OK
            || dijitso_library_symbol(library, "words", &words, &error) != DIJITSO_OK)
            failures += report(error);
        else
            failures += ((int (*)(const char *))words)("a0 b1 c2 d3 e4 f5 g6 h7 i8") != 1;
        built += dijitso_library_origin(library) == DIJITSO_ORIGIN_BUILT;
        dijitso_library_free(library);
    }
    printf("rank %d: %d modules in %.2f s, %d of them built here\n", rank, MODULES - failures, now() - begin, built);
    return failures;
}

int main(int argc, char **argv)
{
    const int one_by_one = argc > 1 && strcmp(argv[1], "one") == 0;
    int result;
#if DIJITSO_HAVE_MPI
    int rank = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    result = run(MPI_COMM_WORLD, rank, one_by_one);
    MPI_Finalize();
#else
    result = run(DIJITSO_COMM_NULL, 0, one_by_one);
#endif
    return result == 0 ? 0 : 1;
}
