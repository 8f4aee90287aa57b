/* The least that shows header, library and loader to be of one installation: one object made, read and freed. */
#include <dijitso.h>
#include <stdio.h>

int main(void)
{
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    if (dijitso_params_new(&params, &error) != DIJITSO_OK) {
        fprintf(stderr, "%s\n", dijitso_error_message(error));
        dijitso_error_free(error);
        return 1;
    }
    printf("dijitso %s, MPI: %s, buildon: %s\n", dijitso_version(), DIJITSO_HAVE_MPI ? "yes" : "no",
           dijitso_params_get(params, "parallel.buildon"));
    dijitso_params_free(params);
    return 0;
}
