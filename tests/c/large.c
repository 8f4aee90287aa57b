/* Defect W9 of the original: MPI's counts limited sizes. Sends a library that takes several messages; then again while
 * the last rank has no memory for it. `held` measures how much of a library ranks hold in memory.
 * usage: large WORK run|held, the latter for more than two ranks */
#include "ranks.h"
#include "short_malloc.h"

enum { HELD = 64 };

/* Returns the peak resident size of this process in MiB. */
static int peak_resident(void)
{
    FILE *const file = fopen("/proc/self/status", "r");
    char line[256];
    int kilobytes = -1;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %d", &kilobytes) == 1)
            break;
    if (file != NULL)
        fclose(file);
    CHECK(kilobytes > 0);
    return kilobytes / 1024;
}

#define CODE(mib) \
    "__attribute__((used)) static const unsigned char big[" mib " << 20] = {1};\n" \
    "extern \"C\" int value() { return big[0] + big[(" mib " << 20) - 1] + 41; }\n"

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    const char *const code = user_data;
    (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

/* Only the root has the library in its cache directory. */
static void no_memory(const char *work, const dijitso_callbacks *callbacks)
{
    const char *const own = path_of("%s/moved-%d", work, ranks_rank());
    dijitso_params *const params = params_with(own, "parallel.buildon", "root", NULL);
    struct outcome outcome;
    check_case("the last rank has no memory");
    if (ranks_rank() == 0)
        CHECK(rename(path_of("%s/own-0", work), own) == 0);
    if (ranks_rank() == ranks_size() - 1)
        short_malloc_limit(64 << 20);
    outcome = jit("large", params, callbacks, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK(outcome.status == DIJITSO_ERROR_MPI);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "not enough memory");
    outcome_free(&outcome);
    check_case("it has memory again");
    short_malloc_limit((size_t)-1);
    outcome = jit("large", params, callbacks, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 42, ranks_rank() == 0 ? ORIGIN(DISK) : ORIGIN(RECEIVED));
    dijitso_params_free(params);
}

/* Two directories: rank 0 builds, rank 1 receives, the others find the library. No rank ever holds it twice: it is read
 * once to be checked and sealed, once to be sent, and once to be loaded. */
static void held_once(const char *work, const dijitso_callbacks *callbacks)
{
    dijitso_params *const params =
        params_with(path_of("%s/pair-%d", work, ranks_rank() % 2), "parallel.buildon", "root", NULL);
    const int before = peak_resident();
    unsigned origin = ORIGIN(DISK);
    int held;
    check_case("a library is held once");
    if (ranks_rank() < 2)
        origin = ranks_rank() == 0 ? ORIGIN(BUILT) : ORIGIN(RECEIVED);
    CHECK_OUTCOME(jit("large", params, callbacks, MPI_COMM_WORLD), 42, origin);
    held = peak_resident() - before;
    printf("rank %d held at most %d MiB for a library of %d MiB\n", ranks_rank(), held, (int)HELD);
    /* Less than the size of the library would mean that the measurement is wrong. */
    CHECK(held >= HELD && held < HELD * 3 / 2);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params;
    struct outcome outcome;
    ranks_start(&argc, &argv);
    callbacks.generate = generate;
    if (strcmp(argv[2], "held") == 0) {
        callbacks.user_data = (void *)CODE("64");
        held_once(argv[1], &callbacks);
        return ranks_finish();
    }
    callbacks.user_data = (void *)CODE("300");
    params = params_with(path_of("%s/own-%d", argv[1], ranks_rank()), "parallel.buildon", "root", NULL);
    outcome = jit("large", params, &callbacks, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 42, ranks_rank() == 0 ? ORIGIN(BUILT) : ORIGIN(RECEIVED));
    dijitso_params_free(params);
    no_memory(argv[1], &callbacks);
    return ranks_finish();
}
