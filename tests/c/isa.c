/* Simulates two instruction sets: with -march=native, odd ranks have another one, as their compiler tells. Each rank gets
 * the library of its own instruction set, however the ranks share directories. One rank of each asks the compiler. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <stdlib.h>

enum { CYCLES = 20 };

static int kind(void)
{
    return 1 + ranks_rank() % 2;
}

/* Generates value(), which returns the instruction set it was compiled for. `refused` does not compile. */
static int32_t generate(void *refused, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    char code[256];
    (void)name, (void)signature, (void)generator_json;
    snprintf(code, sizeof code,
             "#if KIND == %d\n#error this_kind_cannot\n#endif\nextern \"C\" int value() { return KIND; }\n",
             *(const int *)refused);
    return dijitso_source_set_code(source, code, strlen(code));
}

/* Writes a compiler whose -march=native depends on DIJITSO_CPU. It logs questions and links. */
static void write_compiler(const char *directory)
{
    char text[2 * PATH_SIZE];
    const char *const real = getenv("CXX");
    const char *const path = path_of("%s/native-c++", directory);
    snprintf(text, sizeof text,
             "#!/bin/sh\n"
             "for argument; do\n"
             "  case $argument in\n"
             "  '-###') echo asked >> '%s/questions'; echo \" /lib/cc1plus -E -march=$DIJITSO_CPU\"; exit 0 ;;\n"
             "  -o) echo linked >> '%s/compiles' ;;\n"
             "  esac\n"
             "done\n"
             "exec %s \"-DKIND=${DIJITSO_CPU#kind-}\" \"$@\"\n",
             directory, directory, real != NULL ? real : "c++");
    write_text(path, text, 0755);
}

static int lines(const char *path)
{
    FILE *const file = fopen(path, "r");
    int count = 0, character;
    if (file == NULL)
        return 0;
    while ((character = fgetc(file)) != EOF)
        count += character == '\n';
    fclose(file);
    return count;
}

static struct outcome call(const char *name, const char *root, const char *strategy, enum layout layout, int refused,
                           MPI_Comm comm)
{
    dijitso_params *const params =
        params_with(layout_directory(root, strategy, layout), "parallel.buildon", strategy, "build.cxx",
                    path_of("%s/native-c++", root), "build.cxxflags", "-shared -fPIC -march=native", NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    callbacks.user_data = &refused;
    callbacks.generate = generate;
    outcome = jit(name, params, &callbacks, comm);
    dijitso_params_free(params);
    return outcome;
}

static void try_native(const char *root, const char *strategy, enum layout layout, int cold, int first)
{
    const int each = strcmp(strategy, "process") == 0 || (layout == LAYOUT_OWN && strcmp(strategy, "node") == 0);
    const int needed = each ? ranks_size() : 2;
    const char *const counted = path_of("%s/compiles", root), *const asked = path_of("%s/questions", root);
    int compiled = lines(counted), questions = lines(asked);
    struct outcome outcome;
    char signature[sizeof outcome.signature];
    check_case("%s-%s", strategy, layouts[layout]);
    ranks_barrier();
    outcome = call("kinds", root, strategy, layout, 0, MPI_COMM_WORLD);
    ranks_barrier();
    CHECK(lines(counted) - compiled == (cold ? needed : 0));
    /* The compiler is asked once for each communicator and compiler. */
    CHECK(lines(asked) - questions == (cold && first ? 2 : 0));
    ranks_barrier();
    memcpy(signature, outcome.signature, sizeof signature);
    CHECK_OUTCOME(outcome, kind(), cold ? ANY_ORIGIN : ORIGIN(DISK));
    MPI_Bcast(signature, sizeof signature, MPI_CHAR, 0, MPI_COMM_WORLD);
    CHECK((strcmp(signature, outcome.signature) == 0) == (kind() == 1));
}

/* If the code does not compile for one instruction set, all ranks get the error. */
static void one_isa_fails(const char *root, const char *strategy, enum layout layout)
{
    struct outcome outcome;
    check_case("%s-%s, one instruction set fails", strategy, layouts[layout]);
    outcome = call("broken", root, strategy, layout, 2, MPI_COMM_WORLD);
    CHECK(ranks_check_same_outcome(MPI_COMM_WORLD, &outcome) == DIJITSO_ERROR_COMPILE);
    CHECK(dijitso_error_rank(outcome.error) == 1);
    CHECK_CONTAINS(dijitso_error_message(outcome.error), "this_kind_cannot");
    outcome_free(&outcome);
    outcome = call("broken", root, strategy, layout, 0, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, kind(), ANY_ORIGIN);
}

/* The communicators of the groups are freed with the host's communicator, those of MPI_COMM_WORLD at MPI_Finalize. */
static void communicators_are_freed(const char *root)
{
    int cycle;
    check_case("communicators");
    for (cycle = 0; cycle < CYCLES; ++cycle) {
        MPI_Comm comm;
        struct outcome outcome;
        MPI_Comm_dup(MPI_COMM_WORLD, &comm);
        outcome = call("kinds", root, "node", LAYOUT_SHARED, 0, comm);
        CHECK_OUTCOME(outcome, kind(), ORIGIN(MEMORY));
        MPI_Comm_free(&comm);
    }
}

int main(int argc, char **argv)
{
    const char *const root = argv[1];
    const int cold = strcmp(argv[2], "cold") == 0;
    size_t strategy;
    int layout;
    ranks_start(&argc, &argv);
    /* All ranks run on one machine, so name the instruction sets. */
    setenv("DIJITSO_CPU", path_of("kind-%d", kind()), 1);
    /* Later phases use the same file: a compiler that is written anew would be asked again. */
    if (cold && ranks_rank() == 0)
        write_compiler(root);
    ranks_barrier();
    for (strategy = 0; strategy < 3; ++strategy) {
        for (layout = 0; layout < LAYOUTS; ++layout) {
            try_native(root, strategies[strategy], (enum layout)layout, cold, strategy == 0 && layout == 0);
            if (cold)
                one_isa_fails(root, strategies[strategy], (enum layout)layout);
        }
    }
    communicators_are_freed(root);
    return ranks_finish();
}
