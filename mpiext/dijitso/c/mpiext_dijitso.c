/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C bindings. They use the public interface of MPI only, so the same file serves every version of Open MPI, and
 * the standalone library.
 */

#include <mpi.h>

#include "mpiext_dijitso_c.h"
#include "mpiext_dijitso_lib.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGE 4096
#define MAX_REASON 1280

/* The message of the last call of this thread that failed. */
static __thread char last_message[MAX_MESSAGE];

/* Generate callbacks that this thread is in. Calls within them are local: other ranks do not make them. */
static __thread int nesting;

/* What the ranks of a communicator have agreed on at their first call; an attribute of the communicator. */
typedef struct {
    int level; /* the lowest of all ranks */
    char reason[MAX_REASON];
} agreement_t;

static int keyval = MPI_KEYVAL_INVALID;
static pthread_mutex_t keyval_mutex = PTHREAD_MUTEX_INITIALIZER;

static int fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_message, sizeof(last_message), format, arguments);
    va_end(arguments);
    return code;
}

/* Turns the result of a function of the library into a code, and frees the error. */
static int result(const ompi_dijitso_lib_t *lib, int32_t status, dijitso_error *error)
{
    if (0 == status) {
        return MPI_SUCCESS;
    }
    fail(status, "%s", NULL == error ? "libdijitso failed, without memory for a message" : lib->error_message(error));
    lib->error_free(error);
    return OMPI_DIJITSO_ERR_BASE + (int) status;
}

static int unavailable(const char *reason)
{
    return fail(OMPI_DIJITSO_ERR_UNAVAILABLE, "%s", reason);
}

/* --- do all ranks have the library? ------------------------------------------------------------------------------- */

static int mpi_is_active(void)
{
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized && !finalized;
}

static int delete_agreement(MPI_Comm comm, int key, void *value, void *extra_state)
{
    (void) comm;
    (void) key;
    (void) extra_state;
    free(value);
    return MPI_SUCCESS;
}

/* Describes what this process lacks. */
static void describe(const ompi_dijitso_lib_t *lib, char *text, size_t size)
{
    char host[MPI_MAX_PROCESSOR_NAME] = "";
    int length, rank = 0;
    MPI_Get_processor_name(host, &length);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    snprintf(text, size, "libdijitso is %s on rank %d of MPI_COMM_WORLD (%s): %s. Set DIJITSO_LIB to its path.",
             OMPI_DIJITSO_LEVEL_NONE == lib->level ? "not available" : "too old", rank, host, lib->reason);
}

/*
 * Returns MPI_SUCCESS if all ranks have the needed level, otherwise OMPI_DIJITSO_ERR_UNAVAILABLE with the message of
 * the first that has not. Collective at the first call on a communicator, local afterwards. Without it, ranks that
 * have the library would wait in a call that the others cannot make.
 */
static int agree(MPI_Comm comm, const ompi_dijitso_lib_t *lib, int needed)
{
    struct {
        int level;
        int rank;
    } mine, lowest;
    agreement_t *agreement = NULL;
    char reason[MAX_REASON] = "";
    int is_inter = 0, found = 0, code;

    if (MPI_COMM_NULL != comm && 0 == nesting && mpi_is_active()) {
        MPI_Comm_test_inter(comm, &is_inter);
    }
    /* The library refuses an inter-communicator on every rank. */
    if (MPI_COMM_NULL == comm || nesting > 0 || !mpi_is_active() || is_inter) {
        return lib->level < needed ? unavailable(lib->reason) : MPI_SUCCESS;
    }

    pthread_mutex_lock(&keyval_mutex);
    code = MPI_KEYVAL_INVALID != keyval
               ? MPI_SUCCESS
               : MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, delete_agreement, &keyval, NULL);
    pthread_mutex_unlock(&keyval_mutex);
    if (MPI_SUCCESS == code) {
        MPI_Comm_get_attr(comm, keyval, &agreement, &found);
    }
    if (found) {
        return agreement->level < needed ? unavailable(agreement->reason) : MPI_SUCCESS;
    }

    /* A rank without memory takes part. */
    agreement = MPI_SUCCESS == code ? calloc(1, sizeof(*agreement)) : NULL;
    mine.level = NULL == agreement ? OMPI_DIJITSO_LEVEL_NONE : lib->level;
    MPI_Comm_rank(comm, &mine.rank);
    code = MPI_Allreduce(&mine, &lowest, 1, MPI_2INT, MPI_MINLOC, comm);
    if (MPI_SUCCESS != code) {
        free(agreement);
        return fail(OMPI_DIJITSO_ERR_MPI, "MPI_Allreduce failed with code %d", code);
    }
    if (lowest.level < OMPI_DIJITSO_LEVEL_PROGRESS) {
        if (NULL == agreement) {
            snprintf(reason, sizeof(reason), "rank %d has no memory for the agreement of the ranks", mine.rank);
        } else {
            describe(lib, reason, sizeof(reason));
        }
        MPI_Bcast(reason, (int) sizeof(reason), MPI_CHAR, lowest.rank, comm);
    }
    if (NULL != agreement) {
        agreement->level = lowest.level;
        memcpy(agreement->reason, reason, sizeof(reason));
        MPI_Comm_set_attr(comm, keyval, agreement);
    }
    return lowest.level < needed ? unavailable(reason) : MPI_SUCCESS;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

/* What a call builds from: a text, or a callback. */
typedef struct {
    const char *code;
    size_t code_length;
    OMPI_Dijitso_generate_function *generate;
    void *extra_state;
} input_t;

static int32_t call_generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                             dijitso_source *source)
{
    const input_t *input = user_data;
    int failed;
    (void) signature;
    (void) generator_json;
    ++nesting;
    failed = input->generate((OMPI_Dijitso_source) source, name, input->extra_state);
    --nesting;
    return (int32_t) failed;
}

/* Sets one parameter from an info object. */
static int32_t set_parameter(const ompi_dijitso_lib_t *lib, dijitso_params *params, MPI_Info info, int index,
                             dijitso_error **error)
{
    char key[MPI_MAX_INFO_KEY + 1];
    char value[MPI_MAX_INFO_VAL + 1];
    int found = 0;
    MPI_Info_get_nthkey(info, index, key);
    MPI_Info_get(info, key, MPI_MAX_INFO_VAL, value, &found);
    return found ? lib->params_set(params, key, value, error) : 0;
}

/* Makes parameters of an info object. NULL without one. */
static int32_t make_params(const ompi_dijitso_lib_t *lib, MPI_Info info, dijitso_params **params,
                           dijitso_error **error)
{
    int32_t status;
    int i, count = 0;
    *params = NULL;
    if (MPI_INFO_NULL == info) {
        return 0;
    }
    status = lib->params_new(params, error);
    if (0 == status) {
        MPI_Info_get_nkeys(info, &count);
    }
    for (i = 0; 0 == status && i < count; ++i) {
        status = set_parameter(lib, *params, info, i, error);
    }
    return status;
}

static int jit(const char *name, const input_t *input, MPI_Info info, MPI_Comm comm, OMPI_Dijitso_library *library)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    ompi_dijitso_callbacks_t callbacks = {sizeof(callbacks), NULL, NULL, NULL, NULL, NULL, NULL};
    dijitso_library **library_out = (dijitso_library **) library;
    /* NULL stands for no communicator: then libdijitso does not look for MPI. */
    const MPI_Comm *address = MPI_COMM_NULL == comm ? NULL : &comm;
    dijitso_params *params = NULL;
    dijitso_error *error = NULL;
    char refused[MAX_MESSAGE];
    int32_t status;
    int code;

    if (NULL != library) {
        *library = OMPI_DIJITSO_LIBRARY_NULL;
    }
    code = agree(comm, lib, OMPI_DIJITSO_LEVEL_JIT);
    if (MPI_SUCCESS != code) {
        return code;
    }
    /* What is wrong on this rank alone must not keep it away from the others: it makes the call with a name that the
       library refuses on all ranks. The name is the reason, so all of them get to read it. */
    if (0 != make_params(lib, info, &params, &error)) {
        snprintf(refused, sizeof(refused), "(info: %s)", NULL == error ? "no memory" : lib->error_message(error));
        lib->error_free(error);
        error = NULL;
        name = refused;
    }
    if (NULL != input->generate) {
        callbacks.user_data = (void *) input;
        callbacks.generate = call_generate;
        status = lib->jit_comm(name, params, &callbacks, address, sizeof(comm), library_out, &error);
    } else {
        status = lib->jit_source_comm(name, params, input->code, input->code_length, NULL, 0, address, sizeof(comm),
                                      library_out, &error);
    }
    lib->params_free(params);
    return result(lib, status, error);
}

int OMPI_Dijitso_available(int *available)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    if (OMPI_DIJITSO_LEVEL_NONE == lib->level) {
        unavailable(lib->reason);
    }
    if (NULL != available) {
        *available = OMPI_DIJITSO_LEVEL_NONE != lib->level;
    }
    return MPI_SUCCESS;
}

int OMPI_Dijitso_jit(const char *name, const char *code, size_t code_length, MPI_Info info, MPI_Comm comm,
                     OMPI_Dijitso_library *library)
{
    const input_t input = {code, code_length, NULL, NULL};
    return jit(name, &input, info, comm, library);
}

int OMPI_Dijitso_jit_generate(const char *name, OMPI_Dijitso_generate_function *generate, void *extra_state,
                              MPI_Info info, MPI_Comm comm, OMPI_Dijitso_library *library)
{
    const input_t input = {NULL, 0, generate, extra_state};
    /* As in jit(): the library refuses this name on all ranks. */
    return jit(NULL == generate ? "(generate is NULL)" : name, &input, info, comm, library);
}

int OMPI_Dijitso_source_code(OMPI_Dijitso_source source, const char *code, size_t code_length)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    if (OMPI_DIJITSO_LEVEL_NONE == lib->level) {
        return unavailable(lib->reason);
    }
    if (0 != lib->source_set_code((dijitso_source *) source, code, code_length)) {
        return fail(OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "source or code is NULL, or there is no memory for the code");
    }
    return MPI_SUCCESS;
}

int OMPI_Dijitso_source_error(OMPI_Dijitso_source source, const char *message, size_t message_length)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    char text[MAX_MESSAGE];
    if (OMPI_DIJITSO_LEVEL_NONE == lib->level) {
        return unavailable(lib->reason);
    }
    if (NULL == message) {
        return fail(OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "message is NULL");
    }
    if (message_length >= sizeof(text)) {
        message_length = sizeof(text) - 1;
    }
    memcpy(text, message, message_length);
    text[message_length] = '\0';
    if (0 != lib->source_set_error((dijitso_source *) source, text)) {
        return fail(OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "source is NULL, or the message is not UTF-8");
    }
    return MPI_SUCCESS;
}

int OMPI_Dijitso_symbol(OMPI_Dijitso_library library, const char *symbol, OMPI_Dijitso_function *function)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    dijitso_error *error = NULL;
    if (OMPI_DIJITSO_LEVEL_NONE == lib->level) {
        if (NULL != function) {
            *function = NULL;
        }
        return unavailable(lib->reason);
    }
    return result(lib, lib->library_symbol((dijitso_library *) library, symbol, function, &error), error);
}

int OMPI_Dijitso_free(OMPI_Dijitso_library *library)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    if (NULL != library && OMPI_DIJITSO_LIBRARY_NULL != *library && OMPI_DIJITSO_LEVEL_NONE != lib->level) {
        lib->library_free((dijitso_library *) *library);
        *library = OMPI_DIJITSO_LIBRARY_NULL;
    }
    return MPI_SUCCESS;
}

int OMPI_Dijitso_progress(MPI_Comm comm, int *done, int *total)
{
    const ompi_dijitso_lib_t *lib = ompi_dijitso_lib();
    uint64_t ended = 0, begun = 0;
    long long counts[2];
    int code;

    if (NULL != done) {
        *done = 0;
    }
    if (NULL != total) {
        *total = 0;
    }
    code = agree(comm, lib, OMPI_DIJITSO_LEVEL_PROGRESS);
    if (MPI_SUCCESS != code) {
        return code;
    }
    lib->progress(&ended, &begun);
    counts[0] = (long long) ended;
    counts[1] = (long long) begun;
    if (MPI_COMM_NULL != comm && 0 == nesting) {
        if (!mpi_is_active()) {
            return fail(OMPI_DIJITSO_ERR_STATE, "MPI is not initialised, or finalised already");
        }
        code = MPI_Allreduce(MPI_IN_PLACE, counts, 2, MPI_LONG_LONG, MPI_SUM, comm);
        if (MPI_SUCCESS != code) {
            return fail(OMPI_DIJITSO_ERR_MPI, "MPI_Allreduce failed with code %d", code);
        }
    }
    if (NULL == done || NULL == total) {
        return fail(OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "done or total is NULL");
    }
    *done = counts[0] < INT_MAX ? (int) counts[0] : INT_MAX;
    *total = counts[1] < INT_MAX ? (int) counts[1] : INT_MAX;
    return MPI_SUCCESS;
}

int OMPI_Dijitso_error_string(char *string, int size, int *resultlen)
{
    if (NULL != resultlen) {
        *resultlen = (int) strlen(last_message);
    }
    if (NULL == string || size <= 0) {
        return OMPI_DIJITSO_ERR_INVALID_ARGUMENT;
    }
    snprintf(string, (size_t) size, "%s", last_message);
    return MPI_SUCCESS;
}
