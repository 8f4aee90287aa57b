/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The bindings for mpif.h and "use mpi", and the back ends of those for "use mpi_f08": OMPI_Dijitso_x_f, each also
 * under the four names that Fortran compilers make of ompi_dijitso_x.
 *
 * Texts come with their length as an argument. Compilers disagree about the type of the hidden length, which comes
 * last and is not read.
 */

#include <mpi.h>

#include "mpiext_dijitso_c.h"

#include <stdlib.h>
#include <string.h>

#define BINDING(back_end, lower, UPPER, parameters, arguments)                                           \
    OMPI_DECLSPEC void back_end parameters;                                                              \
    OMPI_DECLSPEC void lower parameters;                                                                 \
    OMPI_DECLSPEC void lower##_ parameters;                                                              \
    OMPI_DECLSPEC void lower##__ parameters;                                                             \
    OMPI_DECLSPEC void UPPER parameters;                                                                 \
    void lower parameters { back_end arguments; }                                                        \
    void lower##_ parameters { back_end arguments; }                                                     \
    void lower##__ parameters { back_end arguments; }                                                    \
    void UPPER parameters { back_end arguments; }                                                        \
    void back_end parameters

/* The generate callback of a Fortran program. The last argument is the hidden length of name. */
typedef void generate_f(MPI_Aint *source, const char *name, MPI_Fint *name_len, MPI_Aint *extra_state,
                        MPI_Fint *ierror, size_t hidden_length);

typedef struct {
    generate_f *generate;
    MPI_Aint *extra_state;
} fortran_generate_t;

static int call_generate(OMPI_Dijitso_source source, const char *name, void *extra_state)
{
    const fortran_generate_t *fortran = extra_state;
    MPI_Aint handle = (MPI_Aint) source;
    MPI_Fint length = (MPI_Fint) strlen(name);
    MPI_Fint ierror = 0;
    fortran->generate(&handle, name, &length, fortran->extra_state, &ierror, (size_t) length);
    return (int) ierror;
}

/* Copies a Fortran text without the blanks at its end. NULL without memory, which every function refuses. */
static char *trimmed(const char *text, MPI_Fint length)
{
    char *copy;
    while (length > 0 && ' ' == text[length - 1]) {
        --length;
    }
    if (length < 0) {
        length = 0;
    }
    copy = malloc((size_t) length + 1);
    if (NULL != copy) {
        memcpy(copy, text, (size_t) length);
        copy[length] = '\0';
    }
    return copy;
}

static size_t bytes(MPI_Fint length)
{
    return length > 0 ? (size_t) length : 0;
}

BINDING(OMPI_Dijitso_available_f, ompi_dijitso_available, OMPI_DIJITSO_AVAILABLE,
        (MPI_Fint *available, MPI_Fint *ierror), (available, ierror))
{
    int flag;
    *ierror = (MPI_Fint) OMPI_Dijitso_available(&flag);
    /* 1 is true for every Fortran compiler that Open MPI knows, and 0 is false. */
    *available = (MPI_Fint) flag;
}

BINDING(OMPI_Dijitso_jit_f, ompi_dijitso_jit, OMPI_DIJITSO_JIT,
        (const char *name, MPI_Fint *name_len, const char *code, MPI_Fint *code_len, MPI_Fint *info, MPI_Fint *comm,
         MPI_Aint *library, MPI_Fint *ierror),
        (name, name_len, code, code_len, info, comm, library, ierror))
{
    OMPI_Dijitso_library handle;
    char *c_name = trimmed(name, *name_len);
    *ierror = (MPI_Fint) OMPI_Dijitso_jit(c_name, code, bytes(*code_len), MPI_Info_f2c(*info), MPI_Comm_f2c(*comm),
                                          &handle);
    *library = (MPI_Aint) handle;
    free(c_name);
}

BINDING(OMPI_Dijitso_jit_generate_f, ompi_dijitso_jit_generate, OMPI_DIJITSO_JIT_GENERATE,
        (const char *name, MPI_Fint *name_len, generate_f *generate, MPI_Aint *extra_state, MPI_Fint *info,
         MPI_Fint *comm, MPI_Aint *library, MPI_Fint *ierror),
        (name, name_len, generate, extra_state, info, comm, library, ierror))
{
    OMPI_Dijitso_library handle;
    char *c_name = trimmed(name, *name_len);
    fortran_generate_t fortran;
    fortran.generate = generate;
    fortran.extra_state = extra_state;
    *ierror = (MPI_Fint) OMPI_Dijitso_jit_generate(c_name, call_generate, &fortran, MPI_Info_f2c(*info),
                                                   MPI_Comm_f2c(*comm), &handle);
    *library = (MPI_Aint) handle;
    free(c_name);
}

BINDING(OMPI_Dijitso_source_code_f, ompi_dijitso_source_code, OMPI_DIJITSO_SOURCE_CODE,
        (MPI_Aint *source, const char *code, MPI_Fint *code_len, MPI_Fint *ierror), (source, code, code_len, ierror))
{
    *ierror = (MPI_Fint) OMPI_Dijitso_source_code((OMPI_Dijitso_source) *source, code, bytes(*code_len));
}

BINDING(OMPI_Dijitso_source_error_f, ompi_dijitso_source_error, OMPI_DIJITSO_SOURCE_ERROR,
        (MPI_Aint *source, const char *message, MPI_Fint *message_len, MPI_Fint *ierror),
        (source, message, message_len, ierror))
{
    char *text = trimmed(message, *message_len);
    const size_t length = NULL == text ? 0 : strlen(text);
    *ierror = (MPI_Fint) OMPI_Dijitso_source_error((OMPI_Dijitso_source) *source, text, length);
    free(text);
}

BINDING(OMPI_Dijitso_symbol_f, ompi_dijitso_symbol, OMPI_DIJITSO_SYMBOL,
        (MPI_Aint *library, const char *symbol, MPI_Fint *symbol_len, OMPI_Dijitso_function *function,
         MPI_Fint *ierror),
        (library, symbol, symbol_len, function, ierror))
{
    char *c_symbol = trimmed(symbol, *symbol_len);
    *ierror = (MPI_Fint) OMPI_Dijitso_symbol((OMPI_Dijitso_library) *library, c_symbol, function);
    free(c_symbol);
}

BINDING(OMPI_Dijitso_free_f, ompi_dijitso_free, OMPI_DIJITSO_FREE, (MPI_Aint *library, MPI_Fint *ierror),
        (library, ierror))
{
    OMPI_Dijitso_library handle = (OMPI_Dijitso_library) *library;
    *ierror = (MPI_Fint) OMPI_Dijitso_free(&handle);
    *library = (MPI_Aint) handle;
}

BINDING(OMPI_Dijitso_progress_f, ompi_dijitso_progress, OMPI_DIJITSO_PROGRESS,
        (MPI_Fint *comm, MPI_Fint *done, MPI_Fint *total, MPI_Fint *ierror), (comm, done, total, ierror))
{
    int c_done, c_total;
    *ierror = (MPI_Fint) OMPI_Dijitso_progress(MPI_Comm_f2c(*comm), &c_done, &c_total);
    *done = (MPI_Fint) c_done;
    *total = (MPI_Fint) c_total;
}

BINDING(OMPI_Dijitso_error_string_f, ompi_dijitso_error_string, OMPI_DIJITSO_ERROR_STRING,
        (char *string, MPI_Fint *string_len, MPI_Fint *resultlen, MPI_Fint *ierror),
        (string, string_len, resultlen, ierror))
{
    size_t size = bytes(*string_len), length;
    char *text = malloc(size + 1);
    int c_length = 0;
    if (NULL == text) {
        *ierror = OMPI_DIJITSO_ERR_INVALID_ARGUMENT;
        *resultlen = 0;
        return;
    }
    *ierror = (MPI_Fint) OMPI_Dijitso_error_string(text, (int) size + 1, &c_length);
    length = strlen(text);
    memcpy(string, text, length);
    memset(string + length, ' ', size - length);
    *resultlen = (MPI_Fint) c_length;
    free(text);
}
