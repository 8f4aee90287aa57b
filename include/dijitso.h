/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * dijitso: distributed just-in-time building of shared libraries.
 *
 * This file is generated from the Rust sources (src/capi). Do not edit it.
 *
 * WHAT IT DOES
 *
 *   A simulation code that generates code while it runs hands over a name and a callback that generates C or C++.
 *   dijitso_jit() gives back a loaded shared library: from memory, from the disk cache, or by generating, compiling,
 *   distributing and loading it - on every rank of a communicator, without a race, a hang or a broken file.
 *
 * THE SHORTEST COMPLETE PROGRAM
 *
 *   #include <dijitso.h>
 *   #include <stdio.h>
 *   #include <string.h>
 *
 *   static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
 *                           dijitso_source *source)
 *   {
 *       const char *code = "extern \"C\" double square(double x) { return x * x; }\n";
 *       (void)user_data, (void)name, (void)signature, (void)generator_json;
 *       return dijitso_source_set_code(source, code, strlen(code));
 *   }
 *
 *   int main(void)
 *   {
 *       dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
 *       dijitso_library *library;
 *       dijitso_error *error;
 *       dijitso_fn square;
 *       callbacks.generate = generate;
 *       if (dijitso_jit("square", NULL, &callbacks, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK
 *           || dijitso_library_symbol(library, "square", &square, &error) != DIJITSO_OK) {
 *           fprintf(stderr, "%s\n", dijitso_error_message(error));
 *           return 1;
 *       }
 *       printf("%g\n", ((double (*)(double))square)(3.0));
 *       return 0;
 *   }
 *
 *   Under mpiexec, pass MPI_COMM_WORLD (or any intra-communicator) instead of DIJITSO_COMM_NULL: one rank compiles,
 *   all ranks get the library, and if anything fails anywhere all ranks get the same error.
 *
 * OWNERSHIP, in three words
 *
 *   borrowed  it stays the property of the other side, and is valid as long as the comment says
 *   copied    it is read during the call and may be changed or freed afterwards
 *   owned     it is yours; free it with the function that is named
 *
 *   Strings that go in are NUL-terminated UTF-8 of at most 16 MiB and copied. Strings that come out are borrowed from
 *   their object. Every _free function accepts NULL.
 *
 * ERRORS
 *
 *   Functions that can fail return a dijitso_status, 0 on success, and put an error object into *error_out (NULL on
 *   success); error_out may be NULL if the status is enough. Outputs are set to NULL first and written on success
 *   only. No exception, panic or signal of this library crosses the border, and it writes nothing to your terminal,
 *   but for the report of a bug in it. Sources, headers, libraries and blobs that find no memory are an error like
 *   any other; a program that has no memory even for a few bytes is ended.
 *
 * PARAMETERS
 *
 *   defaults < config file (.dijitso.conf) < environment (DIJITSO_CACHE_DIR, CXX, CC, ...) < dijitso_params_set().
 *   The command `dijitso config` shows every key with its value, meaning and origin.
 *
 * THREADS AND MPI
 *
 *   Handles may be used from any thread. Calls on one communicator are made one at a time, in the same order on all
 *   of its ranks, as for any collective. Calls on several communicators in several threads need MPI_THREAD_MULTIPLE.
 *   The library links the MPI that it was built with; a program has to use the same.
 */


#ifndef DIJITSO_H
#define DIJITSO_H

#include <stddef.h>
#include <stdint.h>

/* 1: communicators are those of MPI. 0: built without MPI, only the null communicator is accepted. */
#define DIJITSO_HAVE_MPI 1

/* The version of this header; dijitso_version() gives that of the library. */
#define DIJITSO_VERSION "0.1.0"

#if DIJITSO_HAVE_MPI
#if defined(__cplusplus) && !defined(OMPI_SKIP_MPICXX)
#define OMPI_SKIP_MPICXX 1 /* the C++ bindings that MPI has given up: nothing here needs them */
#endif
#if defined(__cplusplus) && !defined(MPICH_SKIP_MPICXX)
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>
/* The null communicator: no MPI is touched. */
#define DIJITSO_COMM_NULL MPI_COMM_NULL
#else
#ifdef MPI_VERSION
#error "This dijitso was built without MPI; a program that includes mpi.h needs one built with it (DIJITSO_WITH_MPI=ON)."
#endif
/* A program without MPI has the type and its one value from here. */
typedef void *MPI_Comm;
#define MPI_COMM_NULL ((MPI_Comm)0)
#define DIJITSO_COMM_NULL ((MPI_Comm)0)
#endif

/* Initialises a dijitso_callbacks: dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT; */
#define DIJITSO_CALLBACKS_INIT { sizeof(dijitso_callbacks), NULL, NULL, NULL, NULL, NULL }


/**
 * Success.
 */
#define DIJITSO_OK 0

/**
 * NULL where that is not allowed, a bad name, a bad value.
 */
#define DIJITSO_ERROR_INVALID_ARGUMENT 1

/**
 * Built without MPI; a structure with fields that this version does not know.
 */
#define DIJITSO_ERROR_UNSUPPORTED 2

/**
 * MPI is not initialised or already finalised; the library was built and not loaded.
 */
#define DIJITSO_ERROR_STATE 3

/**
 * An unknown key, a wrong type, a config file that cannot be used.
 */
#define DIJITSO_ERROR_PARAMS 4

/**
 * A file of the cache cannot be read or written, or is refused.
 */
#define DIJITSO_ERROR_CACHE 10

/**
 * The generate callback returned non-zero, or handed over nothing.
 */
#define DIJITSO_ERROR_GENERATE 20

/**
 * A send, receive or wait callback returned non-zero.
 */
#define DIJITSO_ERROR_CALLBACK 21

/**
 * The compiler or linker failed, is missing, or ran out of time.
 */
#define DIJITSO_ERROR_COMPILE 30

/**
 * The dynamic loader refuses the library.
 */
#define DIJITSO_ERROR_LOAD 40

/**
 * The library has no such symbol.
 */
#define DIJITSO_ERROR_SYMBOL 41

/**
 * Ranks called with different names, parameters or callbacks.
 */
#define DIJITSO_ERROR_RANKS_DISAGREE 50

/**
 * An MPI function failed.
 */
#define DIJITSO_ERROR_MPI 51

/**
 * A deadline passed.
 */
#define DIJITSO_ERROR_TIMEOUT 52

/**
 * A bug in this library; please report it.
 */
#define DIJITSO_ERROR_INTERNAL 90

/**
 * This call found the library loaded already.
 */
#define DIJITSO_ORIGIN_MEMORY 0

/**
 * This call found it in the cache directory, or another rank put it there meanwhile.
 */
#define DIJITSO_ORIGIN_DISK 1

/**
 * This call generated and compiled it.
 */
#define DIJITSO_ORIGIN_BUILT 2

/**
 * This call received it from another rank.
 */
#define DIJITSO_ORIGIN_RECEIVED 3

/**
 * What a receive callback fills. Borrowed by the callback until it returns; belongs to its thread.
 */
typedef struct dijitso_blob dijitso_blob;

/**
 * Why a call failed. Owned by the caller, freed by dijitso_error_free(). Never changes, so any thread may read it.
 */
typedef struct dijitso_error dijitso_error;

/**
 * A loaded library. Owned by the caller, freed by dijitso_library_free(). Never changes, so any thread may use it.
 */
typedef struct dijitso_library dijitso_library;

/**
 * A set of parameters. Owned by the caller, freed by dijitso_params_free(). Any thread may read it; while one
 * changes it, no other may use it.
 */
typedef struct dijitso_params dijitso_params;

/**
 * What a generate callback hands over. Borrowed by the callback until it returns; belongs to its thread.
 */
typedef struct dijitso_source dijitso_source;

/**
 * What a call has come to: DIJITSO_OK (0), or one of the codes below. Codes are never renumbered; new ones may come.
 */
typedef int32_t dijitso_status;

/**
 * The address of a function or object in a library; cast it to its own type before using it.
 */
typedef void (*dijitso_fn)(void);

/**
 * Makes source code; called on builders only and only on a miss.
 *
 * It calls dijitso_source_set_code(), and as needed dijitso_source_set_header() and dijitso_source_add_dependency().
 * Within it, further dijitso_jit() calls are allowed, on the thread on which it was called; they are local to the
 * builder, whatever communicator they are given, and what they build travels with this library to every receiver. It
 * must not wait for another process that asks for the same library: that one waits for this to be built.
 *
 * @param user_data       That of the callbacks.
 * @param name            That of the call. *Borrowed* for the callback, like the following.
 * @param signature       The files of the library are named after it.
 * @param generator_json  Section "generator" of the parameters, as JSON.
 * @param source          To be filled.
 * @return 0, or any other value for failure; say why by dijitso_source_set_error().
 */
typedef int32_t (*dijitso_generate_fn)(void *user_data,
                                       const char *name,
                                       const char *signature,
                                       const char *generator_json,
                                       struct dijitso_source *source);

/**
 * Sends a blob from the builder to the receivers.
 *
 * On a communicator it is called on rank 0, with parallel.buildon "root", when the ranks use more than one cache
 * directory and some rank has missed; receive is called on every other rank, whether that needs the blob or not.
 * Neither is called where ranks need different libraries: different kinds of processors, with flags such as
 * -march=native.
 *
 * @param user_data  That of the callbacks.
 * @param data       *Borrowed* for the callback.
 * @param size       Bytes; may exceed 2 GiB.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_send_fn)(void *user_data, const uint8_t *data, size_t size);

/**
 * Receives the blob that the builder sends.
 *
 * @param user_data  That of the callbacks.
 * @param blob       To be given its size by dijitso_blob_resize(), and filled.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_receive_fn)(void *user_data, struct dijitso_blob *blob);

/**
 * Returns when all ranks have called it, as a barrier does.
 *
 * @param user_data  That of the callbacks.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_wait_fn)(void *user_data);

/**
 * What a host does for dijitso_jit(). Initialise it by DIJITSO_CALLBACKS_INIT and set what you need; NULL is the
 * default of each. *Borrowed* by dijitso_jit() for the call.
 *
 * A callback must not throw, unwind or longjmp out. C++ callers use dijitso.hpp, which sees to that.
 */
typedef struct dijitso_callbacks {
    /**
     * sizeof(dijitso_callbacks), by which an older or newer library knows which fields are there.
     */
    size_t struct_size;
    /**
     * Passed to each callback.
     */
    void *user_data;
    /**
     * Makes source code on a miss.
     */
    dijitso_generate_fn generate;
    /**
     * Replaces the library's own way from builder to receivers, together with receive: rank 0 sends, all others
     * receive.
     */
    dijitso_send_fn send;
    /**
     * See send.
     */
    dijitso_receive_fn receive;
    /**
     * Is called by every rank after building and transport, before loading.
     */
    dijitso_wait_fn wait;
} dijitso_callbacks;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, as "0.1.0".
 *
 * @return A string that is valid for ever. Compare it with DIJITSO_VERSION, the version of this header.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_version(void);

/**
 * The status that the failed call returned.
 *
 * @param error  *Borrowed* for the call; NULL gives DIJITSO_OK.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_error_status(const struct dijitso_error *error);

/**
 * What failed, where, on which rank, what the compiler said first, and what to do next: one paragraph.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. The same on every rank after a collective call.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_message(const struct dijitso_error *error);

/**
 * The whole output of the compiler, "" if there is none.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. At most 8 MiB; bytes that are not UTF-8 are replaced.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_log(const struct dijitso_error *error);

/**
 * The folder that reproduces the failure, "" if there is none: sources, header, log and recompile.sh.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. A path on the host of dijitso_error_rank().
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_path(const struct dijitso_error *error);

/**
 * The rank in the communicator on which it happened, -1 if it concerns no single rank.
 *
 * @param error  *Borrowed* for the call; NULL gives -1.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_error_rank(const struct dijitso_error *error);

/**
 * Frees an error.
 *
 * @param error  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_error_free(struct dijitso_error *error);

/**
 * Makes a set of parameters: the defaults, with the config file and the environment on top.
 *
 * The config file is the first of ./.dijitso.conf, $DIJITSO_CONF/.dijitso.conf (or $DIJITSO_CONF itself),
 * ~/.dijitso.conf and /etc/dijitso/.dijitso.conf. It has to belong to this user or root, and nobody else may be
 * able to write it: one in the working directory that is not so is passed over, any other is an error.
 *
 * @param params_out  Receives the parameters, *owned* by the caller, freed by dijitso_params_free().
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for a config file or variable that
 *         cannot be used.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_params_new(struct dijitso_params **params_out,
                                  struct dijitso_error **error_out);

/**
 * Sets one parameter from text. On an error nothing is changed.
 *
 * @param params     *Borrowed* for the call.
 * @param key        "section.name", as "build.cxxflags"; "generator" for any JSON, "generator.NAME" for one
 *                   member of it. *Copied*.
 * @param value      The value as text. Lists are split as a shell splits words; flags are true or false; in
 *                   directories, ~ at the beginning is the home directory. *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for an unknown key (the message
 *         names the nearest valid one) or a wrong type.
 * @local  @threads one at a time for each set of parameters  @since 0.1.0
 */
dijitso_status dijitso_params_set(struct dijitso_params *params,
                                  const char *key,
                                  const char *value,
                                  struct dijitso_error **error_out);

/**
 * Sets many parameters from JSON: {"section": {"name": value, ...}, ..., "generator": any}. On an error nothing
 * is changed.
 *
 * Members of "generator" are merged with those that are there, in depth.
 *
 * @param params     *Borrowed* for the call.
 * @param json       The JSON text. Lists are arrays of strings, or text as for dijitso_params_set(). *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_params_set().
 * @local  @threads one at a time for each set of parameters  @since 0.1.0
 */
dijitso_status dijitso_params_merge_json(struct dijitso_params *params,
                                         const char *json,
                                         struct dijitso_error **error_out);

/**
 * The value of a parameter as text that dijitso_params_set() would take.
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @param key     As for dijitso_params_set(); NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_get(const struct dijitso_params *params, const char *key);

/**
 * Where the value of a parameter came from: "default", "config file PATH", "environment variable NAME", "caller".
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @param key     As for dijitso_params_set(); NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_origin(const struct dijitso_params *params,
                                  const char *key);

/**
 * All parameters as JSON that dijitso_params_merge_json() would take.
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_to_json(const struct dijitso_params *params);

/**
 * Frees a set of parameters. Libraries that were built with it stay.
 *
 * @param params  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_params_free(struct dijitso_params *params);

/**
 * Hands over the source code; a second call replaces it.
 *
 * @param source  *Borrowed* by the callback.
 * @param text    C or C++, as build.language says; any bytes. *Copied*. May be NULL when length is 0.
 * @param length  Bytes, without a terminating NUL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_code(struct dijitso_source *source, const char *text, size_t length);

/**
 * Hands over a header; the source and the sources of dependants may include it as "SIGNATURE.h".
 *
 * @param source  *Borrowed* by the callback.
 * @param text    Any bytes. *Copied*. May be NULL when length is 0.
 * @param length  Bytes, without a terminating NUL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also when there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_header(struct dijitso_source *source, const char *text, size_t length);

/**
 * Adds a library that this one is to be linked to.
 *
 * @param source     *Borrowed* by the callback.
 * @param signature  That of a completed dijitso_jit() with the same cache directory, see
 *                   dijitso_library_signature(). *Copied*.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_add_dependency(struct dijitso_source *source, const char *signature);

/**
 * Says why the callback is going to return non-zero; it becomes part of the error message on every rank.
 *
 * @param source   *Borrowed* by the callback.
 * @param message  *Copied*.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_error(struct dijitso_source *source, const char *message);

/**
 * Makes room for what a receive callback receives.
 *
 * @param blob  *Borrowed* by the callback; NULL gives NULL.
 * @param size  Bytes, as passed to the send callback of the builder.
 * @return A buffer of that size to write into, all zero at first, *borrowed* until the next call or the return of
 *         the callback; NULL when there is not enough memory. Not NULL when size is 0.
 * @local  @threads that of the callback  @since 0.1.0
 */
uint8_t *dijitso_blob_resize(struct dijitso_blob *blob,
                             size_t size);

/**
 * Finds a function (or an object) of a library.
 *
 * @param library    *Borrowed* for the call.
 * @param symbol     Its name as in C, so extern "C" in C++. *Copied*.
 * @param fn_out     Receives the address, NULL on an error. It stays valid for ever, even after
 *                   dijitso_library_free(), because libraries are never unloaded.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_SYMBOL if there is no such symbol, or
 *         DIJITSO_ERROR_STATE if cache.lib_loader is "import", so that the library was built and not loaded.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_library_symbol(const struct dijitso_library *library,
                                      const char *symbol,
                                      dijitso_fn *fn_out,
                                      struct dijitso_error **error_out);

/**
 * The signature of a library, by which others can depend on it.
 *
 * @param library  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the library is freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_library_signature(const struct dijitso_library *library);

/**
 * The file of a library in this rank's cache directory.
 *
 * @param library  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the library is freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_library_path(const struct dijitso_library *library);

/**
 * How the call that gave this handle got the library: one of the DIJITSO_ORIGIN_ values.
 *
 * @param library  *Borrowed* for the call; NULL gives -1.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_library_origin(const struct dijitso_library *library);

/**
 * Drops a handle. The code stays loaded: function pointers stay valid, and the next dijitso_jit() for it is
 * answered from memory.
 *
 * @param library  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_library_free(struct dijitso_library *library);

/**
 * Gives the library of a name and parameters: from memory, from the disk cache, or by generating, compiling,
 * distributing and loading it.
 *
 * With a communicator: 1. A library that these ranks have agreed on before is given at once, without
 * communication. 2. The ranks compare name, parameters and callbacks, and who has the library. 3. If some have
 * not, builders are chosen by parallel.buildon among the ranks ("node", the default: one for each physical cache
 * directory; "root": rank 0; "process": every rank, in a directory of its own), call generate, compile, and
 * publish. 4. Where the library is still missing, it is sent, with its header and all that it needs. 5. All load
 * it. After each step the ranks agree on how it went: whatever fails wherever, every rank returns the same
 * status and the same message. Ranks that wait sleep.
 *
 * In each step a rank waits for the others no longer than its parallel.timeout (4 hours; 0: for ever). After 30
 * seconds the log says for whom. When the time is over, those who wait find out together who is late (a builder
 * that is stopped, dead or too slow; a rank that does not call) and return DIJITSO_ERROR_TIMEOUT, with a message
 * that names rank, host, process and step; within a tenth of the timeout, but no less than 0.2 and no more than 5
 * seconds. From then on every call on that communicator returns it at once, on the late rank as soon as it comes;
 * other communicators are not concerned. Only before all ranks have come to the first call on a communicator it
 * cannot be said who is late. A rank that comes in the very moment in which it is given up may let some ranks
 * succeed: these fail in their next call.
 *
 * Without one (DIJITSO_COMM_NULL) MPI is not touched and need not be initialised. On a miss, generate makes this
 * process a builder, which also calls send if set; receive makes it a receiver; wait alone makes it a waiter, for
 * which a library that is not there afterwards is DIJITSO_ERROR_CACHE. Both generate and receive, or none of the
 * three on a miss, is DIJITSO_ERROR_INVALID_ARGUMENT. All call wait if set before they load. A builder that fails
 * still calls send and wait, with a blob that carries its error, so that receivers report it. On a hit no
 * callback is called.
 *
 * The answer from memory is for the same name, the same parameters (those that concern this rank alone, such as
 * build.timeout, do not count) and the same cache directory. Since it takes no communication, all ranks have to
 * make the same call: one that passes something else, or a bad argument, where the others are answered from
 * memory waits for them, until its parallel.timeout.
 *
 * @param name         1 to 200 bytes of A-Z a-z 0-9 _ . + -, not beginning with . or -. It should identify what
 *                     is generated, best by a good hash. *Copied*.
 * @param params       *Borrowed* for the call; NULL for the defaults, the config file and the environment.
 * @param callbacks    *Borrowed* for the call; NULL where a hit is expected. With a communicator: the same on
 *                     every rank; send and receive both or neither.
 * @param comm         An intra-communicator, or DIJITSO_COMM_NULL. The library talks on a duplicate of it, which
 *                     is made at the first call and freed with it; it never changes the host's error handler.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK or any status; see the codes.
 * @collective over comm  @threads any, for one communicator one at a time; calls on several communicators in
 *                     several threads need MPI_THREAD_MULTIPLE  @since 0.1.0
 */
dijitso_status dijitso_jit(const char *name,
                           const struct dijitso_params *params,
                           const struct dijitso_callbacks *callbacks,
                           MPI_Comm comm,
                           struct dijitso_library **library_out,
                           struct dijitso_error **error_out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DIJITSO_H */
