/* Builds in a cache and a staging directory of which one cannot be used, and checks status and texts of the error.
 * usage: disks CACHE STAGING STATUS TEXT... (see disks.sh) */
#include "fixture.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    dijitso_params *params;
    struct integer integer = {1, 0, NULL, NULL};
    struct outcome outcome;
    if (argc < 5)
        return 2;
    params = params_with(argv[1], "cache.temp_dir_root", argv[2], "build.precompile", "never", NULL);
    outcome = jit_integer("disks", params, &integer, DIJITSO_COMM_NULL);
    check_case("%s", argv[1]);
    printf("%s\n", dijitso_error_message(outcome.error));
    CHECK(outcome.status == atoi(argv[3]));
    for (int at = 4; at < argc; ++at)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), argv[at]);
    outcome_free(&outcome);
    dijitso_params_free(params);
    return check_result();
}
