/* Compiled with the mpi.h of one MPI. The communicator comes from the other one, as a word. */
#include <dijitso.h>
#include <stdio.h>
#include <string.h>

int call_with(void *word)
{
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    const char *code = "extern \"C\" int one() { return 1; }\n";
    const dijitso_status status =
        dijitso_jit_source("one", NULL, code, strlen(code), NULL, 0, (MPI_Comm)(size_t)word, &library, &error);
    fprintf(stderr, "%s\n", dijitso_error_message(error));
    dijitso_error_free(error);
    dijitso_library_free(library);
    return status;
}
