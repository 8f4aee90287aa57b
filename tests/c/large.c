/* Defect W9 of the original: sizes were limited by MPI's counts. A library that takes more than one message to send,
 * because one message has at most 256 MiB. usage: large WORK */
#include "ranks.h"

static const char code[] =
    "__attribute__((used)) static const unsigned char big[300 << 20] = {1};\n"
    "extern \"C\" int value() { return big[0] + big[(300 << 20) - 1] + 41; }\n";

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, strlen(code));
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
    return ranks_finish();
}
