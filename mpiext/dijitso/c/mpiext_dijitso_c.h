/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The Open MPI extension "dijitso": distributed just-in-time building of shared libraries.
 *
 * mpi-ext.h includes this file, inside extern "C" and after mpi.h. It includes no header of libdijitso.
 *
 * A program hands over a source text, or a name and a callback that generates the text. It gets back a loaded shared
 * library on every rank of a communicator: from memory, from the disk cache, or compiled by one rank. libdijitso does
 * the work. It is looked for at the first call: in the file that the environment variable DIJITSO_LIB names, else in
 * the directory that Open MPI was configured with (--with-dijitso), else where the loader looks. A program without such
 * a call loads nothing.
 *
 * Every function returns MPI_SUCCESS or one of the codes below, and calls no error handler. After a collective call
 * that fails, code and message are the same on all ranks; OMPI_Dijitso_error_string() gives the message.
 */

#ifndef MPIEXT_DIJITSO_C_H
#define MPIEXT_DIJITSO_C_H

#include <stddef.h>

/* Codes: this base, and the status of the library. They equal no error class or code of MPI. */
#define OMPI_DIJITSO_ERR_BASE 20000
/* An argument that is NULL, a bad name, a bad parameter in info. */
#define OMPI_DIJITSO_ERR_INVALID_ARGUMENT 20001
/* The library cannot do this. */
#define OMPI_DIJITSO_ERR_UNSUPPORTED 20002
/* MPI is not initialised, or finalised already. */
#define OMPI_DIJITSO_ERR_STATE 20003
/* The config file of the library is unusable. */
#define OMPI_DIJITSO_ERR_PARAMS 20004
/* A file of the cache cannot be read, written or trusted. */
#define OMPI_DIJITSO_ERR_CACHE 20010
/* The generate callback failed or set no code. */
#define OMPI_DIJITSO_ERR_GENERATE 20020
/* A callback of the transport failed. */
#define OMPI_DIJITSO_ERR_CALLBACK 20021
/* The compiler failed or is missing. */
#define OMPI_DIJITSO_ERR_COMPILE 20030
/* The loader refuses the library that was built. */
#define OMPI_DIJITSO_ERR_LOAD 20040
/* The library that was built has no such symbol. */
#define OMPI_DIJITSO_ERR_SYMBOL 20041
/* Ranks passed different arguments. */
#define OMPI_DIJITSO_ERR_RANKS_DISAGREE 20050
/* A function of MPI failed. */
#define OMPI_DIJITSO_ERR_MPI 20051
/* Ranks waited longer than the parameter parallel.timeout. */
#define OMPI_DIJITSO_ERR_TIMEOUT 20052
/* A rank cancelled the call. */
#define OMPI_DIJITSO_ERR_CANCELLED 20053
/* A bug in libdijitso. */
#define OMPI_DIJITSO_ERR_INTERNAL 20090
/* libdijitso is missing on a rank, or too old. */
#define OMPI_DIJITSO_ERR_UNAVAILABLE 20099

/* A loaded library. The caller owns it and frees it by OMPI_Dijitso_free(). */
typedef struct ompi_dijitso_library_t *OMPI_Dijitso_library;
#define OMPI_DIJITSO_LIBRARY_NULL ((OMPI_Dijitso_library) 0)

/* The answer of a generate callback, which fills it. Valid until the callback returns. */
typedef struct ompi_dijitso_source_t *OMPI_Dijitso_source;

/* The address of a function or object in a library. Cast it to its own type before use. */
typedef void (*OMPI_Dijitso_function)(void);

/*
 * Generates source code: calls OMPI_Dijitso_source_code() and returns 0; or calls OMPI_Dijitso_source_error() and
 * returns another value. Called on the rank that builds, on a miss only, on the thread of the call.
 *
 * It may call OMPI_Dijitso_jit() and OMPI_Dijitso_jit_generate(): such calls are local to this rank, whatever
 * communicator they are given. It must make no collective call of its own.
 */
typedef int (OMPI_Dijitso_generate_function)(OMPI_Dijitso_source source, const char *name, void *extra_state);

/*
 * Finds libdijitso, and says if this process can use it. Local. Always succeeds; if available is 0, the message of
 * OMPI_Dijitso_error_string() says why.
 */
OMPI_DECLSPEC int OMPI_Dijitso_available(int *available);

/*
 * Returns the library of a source text, on every rank of comm.
 *
 * Another text is another library. All ranks pass the same name, text and info.
 *
 *   name         used in file names and messages: 1 to 200 bytes of A-Z a-z 0-9 _ . + -, not beginning with . or -
 *   code         C++, or what the parameter build.language says; needs no NUL at the end
 *   code_length  bytes of code
 *   info         parameters of the library, such as "build.cxxflags"; MPI_INFO_NULL for the defaults
 *   comm         an intra-communicator; MPI_COMM_NULL for this process alone, also without MPI_Init
 *   library      receives the library; OMPI_DIJITSO_LIBRARY_NULL on an error
 *
 * Collective over comm. A library that these ranks have had before is returned without communication.
 */
OMPI_DECLSPEC int OMPI_Dijitso_jit(const char *name, const char *code, size_t code_length, MPI_Info info,
                                   MPI_Comm comm, OMPI_Dijitso_library *library);

/*
 * Returns the library of a name, on every rank of comm. On a miss one rank calls generate.
 *
 * The name, with the parameters, stands for the text: if the cache has the name, generate is not called. All ranks
 * pass the same name and info, and a callback that generates the same.
 *
 *   extra_state  passed to generate
 *
 * The other arguments are those of OMPI_Dijitso_jit(). Collective over comm.
 */
OMPI_DECLSPEC int OMPI_Dijitso_jit_generate(const char *name, OMPI_Dijitso_generate_function *generate,
                                            void *extra_state, MPI_Info info, MPI_Comm comm,
                                            OMPI_Dijitso_library *library);

/* Sets the source code, which is copied. Called within a generate callback. */
OMPI_DECLSPEC int OMPI_Dijitso_source_code(OMPI_Dijitso_source source, const char *code, size_t code_length);

/* Says why the callback will fail. The text becomes part of the message on all ranks. */
OMPI_DECLSPEC int OMPI_Dijitso_source_error(OMPI_Dijitso_source source, const char *message, size_t message_length);

/* Finds a function or an object of a library by its C name. Local. */
OMPI_DECLSPEC int OMPI_Dijitso_symbol(OMPI_Dijitso_library library, const char *symbol,
                                      OMPI_Dijitso_function *function);

/* Frees a library and sets it to OMPI_DIJITSO_LIBRARY_NULL, which is fine to free. Its code stays loaded. Local. */
OMPI_DECLSPEC int OMPI_Dijitso_free(OMPI_Dijitso_library *library);

/*
 * Counts builds of the ranks of comm since they started: total have begun, done of them have ended, with or without
 * success. total - done are under way. A library that was found in memory or on disk is no build.
 *
 * Collective over comm. Local with MPI_COMM_NULL, and within a generate callback: the numbers are those of this
 * process then, and any thread may ask for them at any time, such as a thread that reports while another one builds.
 */
OMPI_DECLSPEC int OMPI_Dijitso_progress(MPI_Comm comm, int *done, int *total);

/*
 * Gives the message of the last call of this thread that failed: what failed, where, and what to do next.
 *
 *   string     receives the message and a NUL, cut to fit
 *   size       bytes of string
 *   resultlen  receives the bytes of the whole message, without the NUL
 */
OMPI_DECLSPEC int OMPI_Dijitso_error_string(char *string, int size, int *resultlen);

#endif /* MPIEXT_DIJITSO_C_H */
