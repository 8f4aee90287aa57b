/* Defect W9 of the original: sizes were limited by MPI's counts. A library that takes more than one message to send,
 * because one message has at most 256 MiB; then the same where the last rank has no memory for it. usage: large WORK */
#include "ranks.h"
#include "short_malloc.h"

static const char code[] =
    "__attribute__((used)) static const unsigned char big[300 << 20] = {1};\n"
    "extern \"C\" int value() { return big[0] + big[(300 << 20) - 1] + 41; }\n";

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
}

/* The root has the library on its disk, the others in no directory that they look into. */
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
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "no memory");
    outcome_free(&outcome);
    check_case("it has memory again");
    short_malloc_limit((size_t)-1);
    outcome = jit("large", params, callbacks, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 42, ranks_rank() == 0 ? ORIGIN(DISK) : ORIGIN(RECEIVED));
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params;
    struct outcome outcome;
    ranks_start(&argc, &argv);
    params = params_with(path_of("%s/own-%d", argv[1], ranks_rank()), "parallel.buildon", "root", NULL);
    callbacks.generate = generate;
    outcome = jit("large", params, &callbacks, MPI_COMM_WORLD);
    CHECK_OUTCOME(outcome, 42, ranks_rank() == 0 ? ORIGIN(BUILT) : ORIGIN(RECEIVED));
    dijitso_params_free(params);
    no_memory(argv[1], &callbacks);
    return ranks_finish();
}
