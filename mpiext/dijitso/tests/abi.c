/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Compiled, never run: mpiext_dijitso_lib.h declares the functions as the header of libdijitso does.
 */

#include <dijitso.h>

#include "mpiext_dijitso_lib.h"

_Static_assert(sizeof(ompi_dijitso_callbacks_t) == sizeof(dijitso_callbacks), "dijitso_callbacks");
_Static_assert(offsetof(ompi_dijitso_callbacks_t, generate) == offsetof(dijitso_callbacks, generate), "generate");
_Static_assert(offsetof(ompi_dijitso_callbacks_t, poll) == offsetof(dijitso_callbacks, poll), "poll");

void check_abi(ompi_dijitso_lib_t *lib, dijitso_callbacks *callbacks);

void check_abi(ompi_dijitso_lib_t *lib, dijitso_callbacks *callbacks)
{
    ompi_dijitso_generate_fn *generate = callbacks->generate;
    /* The callbacks are compared above. */
    dijitso_status (*jit_comm)(const char *, const dijitso_params *, const dijitso_callbacks *, const void *, size_t,
                               dijitso_library **, dijitso_error **) = dijitso_jit_comm;
    (void) generate;
    (void) jit_comm;
    lib->error_status = dijitso_error_status;
    lib->error_message = dijitso_error_message;
    lib->error_free = dijitso_error_free;
    lib->params_new = dijitso_params_new;
    lib->params_set = dijitso_params_set;
    lib->params_free = dijitso_params_free;
    lib->source_set_code = dijitso_source_set_code;
    lib->source_set_error = dijitso_source_set_error;
    lib->library_symbol = dijitso_library_symbol;
    lib->library_free = dijitso_library_free;
    lib->jit_source_comm = dijitso_jit_source_comm;
    lib->progress = dijitso_progress;
}
