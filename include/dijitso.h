/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * dijitso: distributed just-in-time building of shared libraries.
 *
 * This file is generated from include/dijitso.h.in and src/capi. Do not edit it.
 *
 * CONTENTS
 *
 *   MANUAL       this comment
 *
 *   CORE         what every program needs
 *     Status and errors         dijitso_version, dijitso_error_*
 *     Parameters                dijitso_params_*
 *     Callbacks                 dijitso_callbacks, dijitso_source_*, dijitso_blob_resize
 *     Libraries                 dijitso_library_*
 *     Calls                     dijitso_jit, dijitso_jit_many, dijitso_jit_source, dijitso_jit_text
 *
 *   TOOLS        background builds, the log, and the cache from C
 *     Background builds         dijitso_jit_start, dijitso_jit_finish, dijitso_pending_free,
 *                               dijitso_progress
 *     Build plans               dijitso_plan_*, dijitso_task_*
 *     Log                       dijitso_log_*
 *     Blobs                     dijitso_blob_*
 *     Queries                   dijitso_signature, dijitso_explain, dijitso_build_command, dijitso_library_open,
 *                               dijitso_elf_read
 *     Cache                     dijitso_cache_*
 *     Bundles                   dijitso_bundle_*, dijitso_cache_read_binary, dijitso_cache_write_binary
 *
 *     MPI                       dijitso_mpi_use, dijitso_mpi_family, dijitso_mpi_comm_size
 *
 *   LANGUAGES    NAME_comm and NAME_fint, the calls for languages that cannot name MPI_Comm
 *
 *   HOST ROLES   dijitso_mpi_*, for programs that do their own transport
 *
 * WHAT IT DOES
 *
 *   A program that generates code while it runs hands over C or C++ (dijitso_jit_source()), or a name and a
 *   callback that generates it (dijitso_jit()). It gets back a loaded shared library: from memory, from the
 *   disk cache, or by generating, compiling, distributing and loading it - on every rank of a communicator,
 *   without a race, a hang or a broken file.
 *
 *   hit, miss  the library is in memory or in the cache; or it is not, and has to be built
 *   builder    a process that generates and compiles; a receiver is sent the library, a waiter finds it on disk
 *   signature  the name and a hash, by which the files of a library are called in the cache
 *   entry      all files of one signature
 *
 * THE SHORTEST COMPLETE PROGRAM
 *
 *   #include <dijitso.h>
 *   #include <stdio.h>
 *   #include <string.h>
 *
 *   int main(void)
 *   {
 *       const char *code = "extern \"C\" double square(double x) { return x * x; }\n";
 *       dijitso_library *library;
 *       dijitso_error *error;
 *       dijitso_fn square;
 *       if (dijitso_jit_source("square", NULL, code, strlen(code), NULL, 0, DIJITSO_COMM_NULL, &library, &error)
 *               != DIJITSO_OK
 *           || dijitso_library_symbol(library, "square", &square, &error) != DIJITSO_OK) {
 *           fprintf(stderr, "%s\n", dijitso_error_message(error));
 *           return 1;
 *       }
 *       printf("%g\n", ((double (*)(double))square)(3.0));
 *       return 0;
 *   }
 *
 *   Under mpiexec, pass MPI_COMM_WORLD (or any intra-communicator) instead of DIJITSO_COMM_NULL: one rank
 *   compiles, all ranks get the library, and if anything fails anywhere all ranks get the same error.
 *
 * NAMES AND TEXTS
 *
 *   With dijitso_jit_source() the key is the text: another text is another library. With dijitso_jit() the
 *   key is the name, with the parameters: if the name is in the cache, generate is not called. So a generator
 *   that changes has to change the name, or the program sets cache.check_source.
 *
 * OWNERSHIP, in three words
 *
 *   borrowed  it stays the property of the other side, and is valid as long as the comment says
 *   copied    it is read during the call and may be changed or freed afterwards
 *   owned     it is yours; free it with the function that is named
 *
 *   Strings that go in are NUL-terminated UTF-8 of at most 16 MiB, and are copied. Strings that come out are
 *   borrowed from their object. Every _free function accepts NULL.
 *
 * ERRORS
 *
 *   Functions that can fail return a dijitso_status, 0 on success, and write an error object to *error_out
 *   (NULL on success). Free it with dijitso_error_free(). error_out may be NULL if the status is enough.
 *   Outputs are set to NULL first, and written on success only; dijitso_jit_many() also gives what it has if a
 *   part of it fails. No exception, panic or signal of this library reaches the caller. If memory is short for
 *   sources, headers, libraries and blobs, that is an error like any other; a program without memory for even
 *   a few bytes is ended.
 *
 * PARAMETERS
 *
 *   The order is: defaults, then the config file (.dijitso.conf), then the environment (DIJITSO_CACHE_DIR,
 *   CXX, CC, ...), then dijitso_params_set(); the last one wins. The command `dijitso config` shows every key
 *   with its value, meaning and origin. A call that is given NULL takes defaults, config file and
 *   environment: they are read at the first such call, and again if the environment has changed.
 *
 * THREADS AND MPI
 *
 *   Handles may be used from any thread. Calls on one communicator are made one at a time, in the same order
 *   on all of its ranks, like any collective. Calls on several communicators in several threads need
 *   MPI_THREAD_MULTIPLE.
 *
 *   The library is linked with no MPI. At the first call with a communicator it finds the MPI of the process:
 *   MPICH and its relatives, Open MPI, or one of the standard ABI of MPI 5 (see dijitso_mpi_use() for others). If
 *   a program was compiled with the mpi.h of one and runs with another, the call fails with DIJITSO_ERROR_MPI.
 *
 *   The library communicates on a duplicate of the communicator, which is made at the first call and freed
 *   with the communicator. It never changes the host's error handler.
 *
 *   Memory hits take no communication. A call is answered from memory if name, cache directory and parameters
 *   are the same as before; parameters that concern one rank alone, such as build.timeout, do not count. So
 *   all ranks have to make the same call: if one rank passes something else, or a bad argument, and the
 *   others are answered from memory, that rank waits for them until its parallel.timeout.
 *
 * BUILD PLANS
 *
 *   A program that knows what it will need makes a plan of it: a graph of modules, which dijitso_jit() would build,
 *   and of tasks, whose callbacks make bytes or files from the results of other nodes. dijitso_plan_make() makes
 *   what is not in the cache, in parallel on all cores, and on the ranks of a communicator:
 *
 *   static int32_t table(void *user_data, dijitso_task *task)
 *   {
 *       (void)user_data;
 *       return dijitso_task_set_result(task, (const uint8_t *)"1 4 1", 5);
 *   }
 *
 *   int main(void)
 *   {
 *       const char *code = "extern \"C\" double square(double x) { return x * x; }\n";
 *       dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
 *       dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
 *       dijitso_plan *plan;
 *       dijitso_node square, weights;
 *       dijitso_library *library;
 *       dijitso_error *error;
 *       module.name = "square";
 *       module.code = code;
 *       module.code_length = strlen(code);
 *       task.name = "weights";
 *       task.run = table;
 *       if (dijitso_plan_new("example", NULL, &plan, &error) != DIJITSO_OK
 *           || dijitso_plan_add_module(plan, &module, &square, &error) != DIJITSO_OK
 *           || dijitso_plan_add_task(plan, &task, &weights, &error) != DIJITSO_OK
 *           || dijitso_plan_need(plan, square, weights, DIJITSO_EDGE_AFTER, &error) != DIJITSO_OK
 *           || dijitso_plan_make(plan, NULL, DIJITSO_COMM_NULL, &error) != DIJITSO_OK
 *           || dijitso_plan_library(plan, square, &library, &error) != DIJITSO_OK) {
 *           fprintf(stderr, "%s\n", dijitso_error_message(error));
 *           return 1;
 *       }
 *       dijitso_library_free(library);
 *       dijitso_plan_free(plan);
 *       return 0;
 *   }
 *
 *   node    a module or a task; it is made when the nodes that it needs are done
 *   label   the name of a node for people, unique in a plan
 *   state   to do, running, done, failed, or blocked by a failed node that it needs
 *
 *   A plan has no state of its own that could be lost: what a node has made is in the cache, under a signature of
 *   its name, its parameters, its inputs and what it needs. A program that is killed goes on where it was. If an
 *   input is made again with the same bytes, what needs it is not made again. So the name of a task has to change
 *   when its callback gives another result.
 *
 *   A failure does not stop the others. dijitso_plan_make() returns one error, the same on all ranks;
 *   dijitso_plan_state(), dijitso_plan_error() and dijitso_plan_visit() tell what has become of each node.
 *
 *   Callbacks of nodes may add nodes and need them, so a plan may grow while it is made. They run on the thread of
 *   dijitso_plan_make(), one at a time, unless a node has DIJITSO_NODE_ANY_THREAD. On a communicator each runs on
 *   one rank, so every rank must be able to run it; calls within it are local to that rank. What a callback is
 *   given may not outlive it. No callback of a plan may throw, unwind or longjmp out.
 *
 *   The library installs no signal handler. A program that is to stop at Ctrl-C calls dijitso_plan_cancel() in its
 *   own: what runs is finished, and the next make goes on.
 *
 * TIME-OUTS
 *
 *   In each step of a call a rank waits for the others for at most its parallel.timeout (4 hours; 0: without
 *   limit). After 30 seconds (3 to 30 with a timeout below 2 minutes) the log says for which ranks.
 *
 *   When the time is over, the waiting ranks find out together which rank is late: a builder that is stopped,
 *   dead or too slow, or a rank that does not call. They return DIJITSO_ERROR_TIMEOUT, with a message that
 *   names its rank, host, process and step. Finding out takes no longer than a tenth of the timeout (at least
 *   0.2, at most 5 seconds), and 0.7 or 1.4 seconds more if several ranks are silent.
 *
 *   From then on every call on that communicator fails with this error at once, on the late rank as soon as
 *   it comes. Other communicators are not affected.
 *
 *   Before all ranks have come to their first call on a communicator, it cannot be said which rank is late.
 *   If a late rank arrives while the others time out, this call may succeed on some ranks; their next call
 *   then fails.
 *
 * CALLBACKS
 *
 *   A callback must not throw, unwind or longjmp out. C++ programs use dijitso.hpp, which takes care of that.
 *
 * CANCELLING
 *
 *   A call that builds takes seconds. If poll is set in the callbacks, it is called meanwhile, on the calling
 *   thread, at least every 50 ms, and cancels the call by returning non-zero: compilers are ended, leases
 *   given back, nothing is published, and the call returns DIJITSO_ERROR_CANCELLED. The next call begins anew.
 *   A program that handles Ctrl-C returns its flag from poll; an interpreter lets its signal handlers run.
 *
 *   With a communicator any rank may cancel, also one that waits for the builder. All ranks return the same
 *   message, which names that rank, and the next call on the communicator is made as if nothing had happened.
 *   A rank that has not come to the call, or whose generate runs on, cannot be reached: after a second, or 10
 *   if all ranks are known to be in the call, the communicator fails as after a time-out.
 *
 *   poll is not called while generate, send, receive, wait or an initialiser of a library runs. A build that
 *   dijitso_jit_start() has begun, and that other calls of the program have started as well, goes on for them.
 *
 * VISITORS
 *
 *   Lists are not returned as arrays. The function calls your visitor for one item after the other, with your
 *   user_data and the item, which is borrowed for the callback. The visitor returns 0 to go on; any other value
 *   ends the visit, which is no error. Visitors are callbacks: they run on the calling thread, and may call the
 *   library.
 *
 * STRUCTURES
 *
 *   Structures begin with struct_size, by which an older or newer library knows their fields, and grow at the
 *   end only. Initialise those that you pass by their DIJITSO_..._INIT; those that you are given may be
 *   longer than you know.
 *
 * THE LOG
 *
 *   Warnings and errors go to standard error: warnings from rank 0 only, errors from every rank.
 *   dijitso_log_set_handler() sends them to a function of yours. dijitso_log_set_level() and the environment
 *   variable DIJITSO_LOG choose how much is logged, and where to.
 *
 * STACK AND LIFETIME
 *
 *   A thread that calls needs a stack of 64 KiB. A call takes at most 40 KiB of it, beside your callbacks,
 *   the initialisers of your libraries and MPI. A call within generate takes as much again.
 *
 *   Calls may be made until the process ends: in exit handlers, and in destructors of static objects and of
 *   thread-local variables. With a communicator they have to come before MPI_Finalize.
 */

#ifndef DIJITSO_H
#define DIJITSO_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header; dijitso_version() gives that of the library. */
#define DIJITSO_VERSION "0.1.0"

/* Communicators are those of the program's MPI: mpi.h is included if the compiler finds one, as the wrappers mpicc
 * and mpicxx do. A program without MPI has the type and its one value from here; where a compiler finds an mpi.h
 * that the program does not want, it defines DIJITSO_WITHOUT_MPI and includes no mpi.h, before or after. */
#if !defined(DIJITSO_WITHOUT_MPI) && !defined(MPI_VERSION) && defined(__has_include)
#if __has_include(<mpi.h>)
/* The deprecated C++ bindings of MPI are not needed: a program that uses them includes mpi.h before. */
#if defined(__cplusplus) && !defined(OMPI_SKIP_MPICXX)
#define OMPI_SKIP_MPICXX 1
#endif
#if defined(__cplusplus) && !defined(MPICH_SKIP_MPICXX)
#define MPICH_SKIP_MPICXX 1
#endif
#include <mpi.h>
#endif
#endif

/* 1: the program has an mpi.h. 0: it has none, and only the null communicator. */
#ifdef MPI_VERSION
#define DIJITSO_HAVE_MPI 1
#else
#define DIJITSO_HAVE_MPI 0
typedef void *MPI_Comm;
#define MPI_COMM_NULL ((MPI_Comm)0)
#endif

/* The null communicator: no MPI is touched. MPI_COMM_NULL does the same, but is another value: compare with both. */
#define DIJITSO_COMM_NULL ((MPI_Comm)0)

#ifdef __cplusplus
extern "C" {
#endif

/* ============================================================================================================
 * CORE: what every program needs
 * ============================================================================================================ */

/*-- Status and errors -------------------------------------------------------------------------------------*/

#define DIJITSO_OK 0                     /**< Success. */

#define DIJITSO_ERROR_INVALID_ARGUMENT 1 /**< A NULL that is not allowed, a bad name, a bad value. */
#define DIJITSO_ERROR_UNSUPPORTED 2      /**< A structure with unknown fields. */
/** There is no MPI, or it is not initialised, or finalised already; the library is not loaded. */
#define DIJITSO_ERROR_STATE 3
#define DIJITSO_ERROR_PARAMS 4           /**< An unknown key, a wrong type, an unusable config file. */
/** A file cannot be read, written or trusted; or cache.frozen is set and there is no such entry. */
#define DIJITSO_ERROR_CACHE 10
/** generate returned non-zero, set no code, or asked for its own library. */
#define DIJITSO_ERROR_GENERATE 20
#define DIJITSO_ERROR_CALLBACK 21        /**< send, receive or wait returned non-zero. */
#define DIJITSO_ERROR_COMPILE 30         /**< Compiler or linker failed, is missing, or ran out of time. */
#define DIJITSO_ERROR_LOAD 40            /**< The loader refuses the library, or an initialiser of it throws. */
#define DIJITSO_ERROR_SYMBOL 41          /**< The library has no such symbol. */
#define DIJITSO_ERROR_RANKS_DISAGREE 50  /**< Ranks passed different names, parameters or callbacks. */
/** An MPI function failed; another MPI runs than the program was compiled for; no communicator of it. */
#define DIJITSO_ERROR_MPI 51
#define DIJITSO_ERROR_TIMEOUT 52         /**< Ranks waited longer than parallel.timeout. */
#define DIJITSO_ERROR_CANCELLED 53       /**< The poll callback of a rank has asked for it. */
#define DIJITSO_ERROR_INTERNAL 90        /**< A bug in this library; please report it. */

/** Why a call failed. Owned by the caller, freed by dijitso_error_free(). Any thread may read it. */
typedef struct dijitso_error dijitso_error;

/** The result of a call: DIJITSO_OK (0) or one of the codes above. Numbers never change; new codes may come. */
typedef int32_t dijitso_status;

/**
 * Returns the version of the library, such as "0.1.0". DIJITSO_VERSION is the version of this header.
 *
 * @return A string that is valid until the process ends.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_version(void);

/**
 * Returns the status that the failed call returned.
 *
 * @param error  *Borrowed* for the call; NULL gives DIJITSO_OK.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_error_status(const dijitso_error *error);

/**
 * Returns one paragraph: what failed, where, on which rank, the compiler's first error, and what to do next.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. The same on every rank after a collective call.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_message(const dijitso_error *error);

/**
 * Returns the whole output of the compiler, "" if there is none.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. At most 8 MiB; non-UTF-8 bytes are replaced.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_log(const dijitso_error *error);

/**
 * Returns the folder that reproduces the failure (sources, header, log, recompile.sh), "" if there is none.
 *
 * @param error  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the error is freed; never NULL. A path on the host of dijitso_error_rank().
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_path(const dijitso_error *error);

/**
 * Returns the rank in the communicator on which it happened, -1 if it concerns no single rank.
 *
 * @param error  *Borrowed* for the call; NULL gives -1.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_error_rank(const dijitso_error *error);

/**
 * Frees an error.
 *
 * @param error  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_error_free(dijitso_error *error);

/*-- Parameters --------------------------------------------------------------------------------------------*/

/**
 * A set of parameters. Owned by the caller, freed by dijitso_params_free(). Any thread may read it; while
 * one changes it, no other may use it.
 */
typedef struct dijitso_params dijitso_params;

/**
 * Makes a set of parameters: the defaults, overridden by the config file, then by the environment.
 *
 * The config file is the first of ./.dijitso.conf, $DIJITSO_CONF/.dijitso.conf (or $DIJITSO_CONF itself),
 * ~/.dijitso.conf and /etc/dijitso/.dijitso.conf. It must belong to this user or root, and no other user may
 * be able to write it. If that does not hold, the file in the working directory is ignored, and any other is
 * an error.
 *
 * @param params_out  Receives the parameters, *owned* by the caller, freed by dijitso_params_free().
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for a config file or variable
 *         that cannot be used.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_params_new(dijitso_params **params_out, dijitso_error **error_out);

/**
 * Sets one parameter from text. If it fails, nothing is changed.
 *
 * @param params     *Borrowed* for the call.
 * @param key        "section.name", such as "build.cxxflags"; "generator" for any JSON, "generator.NAME" for
 *                   one member of it. *Copied*.
 * @param value      Lists are split as a shell splits words; flags are true or false; in directories, ~ at
 *                   the beginning is the home directory. *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS for an unknown key (the
 *         message names the nearest valid one) or a wrong type.
 * @local  @threads one at a time for each set of parameters  @since 0.1.0
 */
dijitso_status dijitso_params_set(dijitso_params *params, const char *key, const char *value,
                                  dijitso_error **error_out);

/**
 * Sets many parameters from JSON: {"section": {"name": value, ...}, ..., "generator": any}.
 *
 * If it fails, nothing is changed. Members of "generator" are merged with those that are set already, at all
 * depths.
 *
 * @param params     *Borrowed* for the call.
 * @param json       Lists are arrays of strings, or text as for dijitso_params_set(). *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_params_set().
 * @local  @threads one at a time for each set of parameters  @since 0.1.0
 */
dijitso_status dijitso_params_merge_json(dijitso_params *params, const char *json, dijitso_error **error_out);

/**
 * Returns the value of a parameter as text that dijitso_params_set() takes.
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @param key     As for dijitso_params_set(); NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_get(const dijitso_params *params, const char *key);

/**
 * Returns the origin of a value: "default", "config file PATH", "environment variable NAME" or "caller".
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @param key     As for dijitso_params_set(); NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed; NULL if there is no such key.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_origin(const dijitso_params *params, const char *key);

/**
 * Returns all parameters as JSON that dijitso_params_merge_json() takes.
 *
 * @param params  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the parameters are changed or freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_params_to_json(const dijitso_params *params);

/**
 * Frees a set of parameters. Libraries that were built with it stay.
 *
 * @param params  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_params_free(dijitso_params *params);

/*-- Callbacks ---------------------------------------------------------------------------------------------*/

/**
 * Bytes of any length. A callback borrows a blob until it returns; others are owned by the caller, made by
 * dijitso_blob_new() and freed by dijitso_blob_free(). One thread at a time.
 */
typedef struct dijitso_blob dijitso_blob;

/** The answer of a generate callback: borrowed until the callback returns, and used on its thread only. */
typedef struct dijitso_source dijitso_source;

/**
 * Generates source code. Called on builders only, and only on a miss.
 *
 * It calls dijitso_source_set_code(), and if needed dijitso_source_set_header() and
 * dijitso_source_add_dependency().
 *
 * It may call dijitso_jit() on its own thread. Such calls are local to the builder, whatever communicator
 * they are given, and what they build travels with this library to every receiver. A call for a library that
 * is being generated already (a asks for b, which asks for a), and a call inside 64 nested callbacks, is
 * DIJITSO_ERROR_GENERATE with the chain of names; the same name with another signature is fine. If another
 * program removes what the callback has built before it is used, the callback is called once more.
 *
 * It must not wait for a process or thread that asks for the same library: that one waits for this build.
 *
 * @param user_data       The user_data of the callbacks.
 * @param name            The name of the call. *Borrowed* for the callback, like the next three.
 * @param signature       The files of the library are named after it.
 * @param generator_json  Section "generator" of the parameters, as JSON.
 * @param source          To be filled.
 * @return 0, or any other value for failure; give the reason by dijitso_source_set_error().
 */
typedef int32_t (*dijitso_generate_fn)(void *user_data, const char *name, const char *signature,
                                       const char *generator_json, dijitso_source *source);

/**
 * Sends a blob from the builder to the receivers.
 *
 * On a communicator it is called on rank 0 with parallel.buildon "root", if the ranks use more than one
 * cache directory and some rank misses the library. receive is then called on every other rank, even if that
 * rank has the library. Neither is called if ranks need different libraries (different processors, with
 * flags such as -march=native).
 *
 * @param user_data  The user_data of the callbacks.
 * @param data       *Borrowed* for the callback.
 * @param size       Bytes; may exceed 2 GiB.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_send_fn)(void *user_data, const uint8_t *data, size_t size);

/**
 * Receives the blob that the builder sends.
 *
 * @param user_data  The user_data of the callbacks.
 * @param blob       To be sized by dijitso_blob_resize() and filled. *Borrowed* for the callback.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_receive_fn)(void *user_data, dijitso_blob *blob);

/**
 * Returns when all ranks have called it, as a barrier does.
 *
 * @param user_data  The user_data of the callbacks.
 * @return 0, or any other value for failure.
 */
typedef int32_t (*dijitso_wait_fn)(void *user_data);

/**
 * Asks the host whether to cancel the call. Called at least every 50 ms, on the thread that made the call,
 * while the call compiles or waits for a compiler, another program or other ranks. Not called while the
 * host's own callbacks run; calls within generate ask by their own poll and by that of the outer call.
 *
 * If it returns non-zero, compilers are ended, nothing is published, and the call returns
 * DIJITSO_ERROR_CANCELLED. It is not called again in this call. It must not call functions of the library
 * that build or wait. See CANCELLING in the manual.
 *
 * @param user_data  The user_data of the callbacks.
 * @return 0 to go on, or any other value to cancel.
 */
typedef int32_t (*dijitso_poll_fn)(void *user_data);

/**
 * The host's part in dijitso_jit(). Initialise it by DIJITSO_CALLBACKS_INIT and set what you need; NULL is
 * the default of each. *Borrowed* by dijitso_jit() for the call.
 */
typedef struct dijitso_callbacks {
    size_t struct_size;                  /**< sizeof(dijitso_callbacks) */
    void *user_data;                     /**< Passed to each callback. */
    dijitso_generate_fn generate;        /**< Generates source code on a miss. */
    dijitso_send_fn send;                /**< With receive: replaces the library's transport. */
    dijitso_receive_fn receive;          /**< See send. Rank 0 sends, all others receive. */
    dijitso_wait_fn wait;                /**< Called by every rank after building and transport, before loading. */
    dijitso_poll_fn poll;                /**< Cancels the call on all ranks. Need not be set on all of them. */
} dijitso_callbacks;

/**
 * Sets the source code; a second call replaces it.
 *
 * @param source  *Borrowed* by the callback.
 * @param text    C, C++ or Fortran, as build.language says; any bytes. *Copied*. May be NULL if length is 0.
 * @param length  Bytes, without a terminating NUL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_code(dijitso_source *source, const char *text, size_t length);

/**
 * Sets a header. The source and sources of dependants may include it as "SIGNATURE.h".
 *
 * @param source  *Borrowed* by the callback.
 * @param text    Any bytes. *Copied*. May be NULL if length is 0.
 * @param length  Bytes, without a terminating NUL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_header(dijitso_source *source, const char *text, size_t length);

/**
 * Adds a library to link to.
 *
 * @param source     *Borrowed* by the callback.
 * @param signature  The dijitso_library_signature() of a completed dijitso_jit() with the same cache
 *                   directory. *Copied*.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_add_dependency(dijitso_source *source, const char *signature);

/**
 * Says why the callback will return non-zero. The text becomes part of the error message on all ranks.
 *
 * @param source   *Borrowed* by the callback.
 * @param message  *Copied*.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_source_set_error(dijitso_source *source, const char *message);

/**
 * Gives a blob its size and returns its buffer. What it held is gone.
 *
 * @param blob  *Borrowed* for the call; NULL gives NULL.
 * @param size  Bytes; in a receive callback the size that was passed to the builder's send callback.
 * @return A buffer of that size to write into, all zero at first; *borrowed* until the blob is changed or
 *         freed, or the callback returns. NULL if there is not enough memory. Not NULL if size is 0.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
uint8_t *dijitso_blob_resize(dijitso_blob *blob, size_t size);

/* Initialises a dijitso_callbacks: dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT; */
#define DIJITSO_CALLBACKS_INIT { sizeof(dijitso_callbacks), NULL, NULL, NULL, NULL, NULL, NULL }

/*-- Libraries ---------------------------------------------------------------------------------------------*/

#define DIJITSO_ORIGIN_MEMORY 0          /**< This call found the library in memory. */
#define DIJITSO_ORIGIN_DISK 1            /**< It was in the cache directory, or another rank put it there. */
#define DIJITSO_ORIGIN_BUILT 2           /**< This call generated and compiled it. */
#define DIJITSO_ORIGIN_RECEIVED 3        /**< This call received it from another rank. */

/** A loaded library. Owned by the caller, freed by dijitso_library_free(). Any thread may use it. */
typedef struct dijitso_library dijitso_library;

/** The address of a function or object in a library. Cast it to its own type before use. */
typedef void (*dijitso_fn)(void);

/**
 * Finds a function or an object of a library.
 *
 * @param library    *Borrowed* for the call.
 * @param symbol     Its name in C; C++ declares it extern "C". *Copied*.
 * @param fn_out     Receives the address, NULL on an error. It is valid until the process ends, even after
 *                   dijitso_library_free(), because libraries are never unloaded.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_SYMBOL if there is no such symbol (the
 *         message names the nearest ones, and says if the function has a C++ name or is not exported), or
 *         DIJITSO_ERROR_STATE if cache.lib_loader is "import", so that the library was built and not loaded.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_library_symbol(const dijitso_library *library, const char *symbol, dijitso_fn *fn_out,
                                      dijitso_error **error_out);

/**
 * Returns the signature of a library, by which other libraries depend on it.
 *
 * @param library  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the library is freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_library_signature(const dijitso_library *library);

/**
 * Returns the path of a library in this rank's cache directory.
 *
 * @param library  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the library is freed.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_library_path(const dijitso_library *library);

/**
 * Returns how the call that gave this handle got the library: one of the DIJITSO_ORIGIN_ values.
 *
 * @param library  *Borrowed* for the call; NULL gives -1.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_library_origin(const dijitso_library *library);

/**
 * Drops a handle. The code stays loaded: function pointers stay valid, and the next dijitso_jit() for the
 * library is answered from memory. Several calls may give the same handle; free it once for each.
 *
 * @param library  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_library_free(dijitso_library *library);

/*-- Calls -------------------------------------------------------------------------------------------------*/

/**
 * Returns the library of a name and parameters: from memory, from the disk cache, or built now.
 *
 * With a communicator:
 * 1. If these ranks have agreed on this library before, it is returned at once, without communication.
 * 2. The ranks compare name, parameters and callbacks, and find out which of them have the library.
 * 3. If some miss it, parallel.buildon chooses builders: "node" (the default) one rank for each physical
 *    cache directory, "root" rank 0, "process" every rank, in a directory of its own. They call generate,
 *    compile, publish.
 * 4. The library is sent to ranks that still miss it, with its header and all that it needs.
 * 5. All ranks load it.
 *
 * After each step the ranks agree on the result: if a step fails on any rank, every rank returns the same
 * status and the same message. Waiting ranks sleep; see TIME-OUTS in the manual.
 *
 * With DIJITSO_COMM_NULL, MPI is not touched and need not be initialised. On a hit no callback is called. On
 * a miss the callbacks give the role of this process: with generate it builds, and calls send if set; with
 * receive it receives; with wait alone it waits, and a library that is not there afterwards is
 * DIJITSO_ERROR_CACHE. Each calls wait, if set, before it loads. A builder that fails still calls send and
 * wait, with a blob that carries its error, so receivers report that error. Both generate and receive is
 * DIJITSO_ERROR_INVALID_ARGUMENT, and so is a miss with none of the three.
 *
 * @param name         1 to 200 bytes of A-Z a-z 0-9 _ . + -, not beginning with . or -. It stands for what
 *                     is generated, best by a good hash. *Copied*.
 * @param params       *Borrowed* for the call; NULL for the defaults.
 * @param callbacks    *Borrowed* for the call; NULL if a hit is expected. With a communicator: the same on
 *                     every rank, apart from poll; send and receive both or neither.
 * @param comm         An intra-communicator, or DIJITSO_COMM_NULL.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK or any status.
 * @collective over comm  @threads any, for one communicator one at a time  @since 0.1.0
 */
dijitso_status dijitso_jit(const char *name, const dijitso_params *params,
                           const dijitso_callbacks *callbacks, MPI_Comm comm, dijitso_library **library_out,
                           dijitso_error **error_out);

/**
 * Returns the libraries of several names at once.
 *
 * It does what dijitso_jit() does for each name, in as many steps as one call takes: all libraries that the
 * ranks have cost one communication together. Those that are missing are compiled at the same time, by all
 * ranks that may build (see dijitso_jit_start()). One failure does not stop the others.
 *
 * generate is called for each library that is missing, with its name. send, receive and wait are called for
 * each library that they are needed for, in the order of the names, except that with a communicator wait is
 * called once.
 *
 * @param count          Number of names; may be 0.
 * @param names          As for dijitso_jit(). A name that is given twice is built once, and two handles are
 *                       given. *Copied*.
 * @param params         *Borrowed* for the call, for all names; NULL for the defaults.
 * @param callbacks      *Borrowed* for the call; NULL if hits are expected.
 * @param comm           As for dijitso_jit(). The same names in the same order on every rank.
 * @param libraries_out  Has room for count handles, each *owned* by the caller, freed by
 *                       dijitso_library_free(). After an error, the libraries that could be had are given,
 *                       on all ranks the same ones, and the others are NULL.
 * @param error_out      Receives an error that lists every library that failed, *owned* by the caller; may
 *                       be NULL. Its log has the output of the compiler for each of them.
 * @return DIJITSO_OK if all libraries are there, else the status of the first that failed.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_many(size_t count, const char *const *names, const dijitso_params *params,
                                const dijitso_callbacks *callbacks, MPI_Comm comm,
                                dijitso_library **libraries_out, dijitso_error **error_out);

/**
 * A text for dijitso_jit_text(). Initialise it by DIJITSO_TEXT_INIT and set what you need. All of it is
 * *borrowed* for the call.
 */
typedef struct dijitso_text {
    size_t struct_size;                  /**< sizeof(dijitso_text) */
    /** C or C++, as build.language says; any bytes. May be NULL if code_length is 0. */
    const char *code;
    size_t code_length;                  /**< Bytes of code. */
    /** A header that code and dependants may include as "SIGNATURE.h"; NULL for none. */
    const char *header;
    size_t header_length;                /**< Bytes of header. */
    /** Signatures of libraries to link to, see dijitso_library_signature(); NULL for none. */
    const char *const *dependencies;
    size_t dependency_count;             /**< Number of dependencies. */
} dijitso_text;

/**
 * Returns the library of a source text: from memory, from the disk cache, or compiled now.
 *
 * It is dijitso_jit() with a generate callback that sets this text, but the text is part of the signature:
 * code, header, and all that the build depends on. Another text is another library. That holds with
 * cache.signature "name" too: the signature is then the name and a hash of the text. No callback is called.
 * Within a generate callback the call is local to the builder, as dijitso_jit() is.
 *
 * With a communicator every rank passes the text, and that of the builder is compiled. If ranks pass
 * different texts, all return DIJITSO_ERROR_RANKS_DISAGREE.
 *
 * @param name            Used in file names and messages; as for dijitso_jit(). Equal names with different
 *                        texts are different libraries. *Copied*.
 * @param params          *Borrowed* for the call; NULL for the defaults.
 * @param code            C or C++, as build.language says; any bytes. *Borrowed* for the call. May be NULL
 *                        if code_length is 0.
 * @param code_length     Bytes, without a terminating NUL.
 * @param header_or_null  A header that code and dependants may include as "SIGNATURE.h". *Borrowed* for the
 *                        call; NULL for none.
 * @param header_length   Bytes; 0 if there is no header.
 * @param comm            As for dijitso_jit().
 * @param library_out     Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out       Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or any status.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_source(const char *name, const dijitso_params *params, const char *code,
                                  size_t code_length, const char *header_or_null, size_t header_length,
                                  MPI_Comm comm, dijitso_library **library_out, dijitso_error **error_out);

/**
 * Does dijitso_jit_source() for a text that is linked to other libraries of the cache.
 *
 * @param name         As for dijitso_jit_source(). *Copied*.
 * @param params       *Borrowed* for the call; NULL for the defaults.
 * @param text         *Borrowed* for the call.
 * @param comm         As for dijitso_jit().
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or any status.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_text(const char *name, const dijitso_params *params, const dijitso_text *text,
                                MPI_Comm comm, dijitso_library **library_out, dijitso_error **error_out);

/* Initialises a dijitso_text: dijitso_text text = DIJITSO_TEXT_INIT; */
#define DIJITSO_TEXT_INIT { sizeof(dijitso_text), NULL, 0, NULL, 0, NULL, 0 }

/* ============================================================================================================
 * TOOLS: background builds, the log, and the cache from C
 * ============================================================================================================ */

/*-- Background builds -------------------------------------------------------------------------------------*/

/**
 * A call that has been started. Owned by the caller, consumed by dijitso_jit_finish() or freed by
 * dijitso_pending_free().
 */
typedef struct dijitso_pending dijitso_pending;

/**
 * Starts a call of dijitso_jit(), which dijitso_jit_finish() completes.
 *
 * On a miss it calls generate, and leaves the source to be compiled by threads of the library. Libraries
 * that do not need each other are built at the same time if all of them are started before one is finished:
 * @code
 * dijitso_jit_start("mass", params, &callbacks, comm, &mass, &error);
 * dijitso_jit_start("stiffness", params, &callbacks, comm, &stiffness, &error);
 * dijitso_jit_finish(mass, &mass_library, &error);
 * dijitso_jit_finish(stiffness, &stiffness_library, &error);
 * @endcode
 *
 * generate is called on the calling thread. With a communicator the library chooses the rank: calls that
 * miss go in turn to the hosts that share a directory, then to their ranks (parallel.buildon "node", equal
 * processors), so every rank must be able to generate. If another program is building the same library,
 * dijitso_jit_finish() waits for it, and calls generate if that program fails. No other callback is called
 * before dijitso_jit_finish().
 *
 * At most build.max_compilers compilers run at once: by default one for each core of the job on this host,
 * even if a launcher has bound this rank to one core; see build.cores. No thread of the library calls MPI.
 *
 * With a communicator all ranks start the same calls in the same order. They compare name, parameters and
 * callbacks as in dijitso_jit(); if a rank differs, or makes another call, all return
 * DIJITSO_ERROR_RANKS_DISAGREE. Other calls on the communicator may come between start and finish. A memory
 * hit takes no communication, in start and finish.
 *
 * Within a generate callback both parts are local to the builder, as dijitso_jit() is. The callback must
 * finish or free what it starts; otherwise it fails with DIJITSO_ERROR_GENERATE.
 *
 * If the process ends by exit() or the return of main, builds are given up and their compilers ended.
 *
 * @param name         As for dijitso_jit().
 * @param params       *Copied*; NULL for the defaults.
 * @param callbacks    *Copied*; the functions and user_data are used until the call is finished or freed.
 *                     NULL if a hit is expected.
 * @param comm         As for dijitso_jit(). It must not be freed before the call is finished.
 * @param pending_out  Receives the call, *owned* by the caller, consumed by dijitso_jit_finish() or freed by
 *                     dijitso_pending_free(); NULL on an error.
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, or what is wrong with the call itself or the cache. If generating or compiling fails,
 *         dijitso_jit_finish() returns that error on all ranks.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_start(const char *name, const dijitso_params *params,
                                 const dijitso_callbacks *callbacks, MPI_Comm comm,
                                 dijitso_pending **pending_out, dijitso_error **error_out);

/**
 * Completes a call that dijitso_jit_start() has started: waits until the library is built, sends it to ranks
 * that need it, and loads it on all ranks.
 *
 * With a communicator all ranks finish the calls that they have started in the same order, which need not be
 * that of the starts. If a rank finishes another call, or makes another one, all return
 * DIJITSO_ERROR_RANKS_DISAGREE, and that call is lost like any other that fails. If a step fails on any
 * rank, every rank returns the same status and the same message. Other calls are not affected.
 *
 * @param pending      *Owned* by the caller until now, whatever the result; what it borrows is not used
 *                     afterwards. Not NULL. A call is finished within the generate callback in which it was
 *                     started, or outside of callbacks if it was started there; else DIJITSO_ERROR_STATE.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_jit(). DIJITSO_ERROR_STATE in a process that was forked after the start.
 * @collective over the communicator of the start  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_finish(dijitso_pending *pending, dijitso_library **library_out,
                                  dijitso_error **error_out);

/**
 * Gives up a call that has been started. Its compiler is ended soon, unless another call has started the
 * same library. Nothing is sent to other ranks: all ranks have to give up the call.
 *
 * @param pending  *Owned* by the caller until now; NULL is fine.
 * @local  @threads that of the start  @since 0.1.0
 */
void dijitso_pending_free(dijitso_pending *pending);

/**
 * Counts the builds of this process: total have begun, done of them have ended, with or without success. The
 * others are under way.
 *
 * A build begins with its generate, and ends when its library is in the cache, or it fails or is given up.
 * Libraries that are found in memory or on disk, or that another process builds, are not counted. Builds
 * that dijitso_jit_start() has left to other threads are.
 *
 * @param done_out   Receives the builds that have ended, never more than total; may be NULL.
 * @param total_out  Receives the builds that have begun; may be NULL.
 * @local  @threads any  @since 0.1.0
 */
void dijitso_progress(uint64_t *done_out, uint64_t *total_out);

/*-- Build plans -------------------------------------------------------------------------------------------*/

#define DIJITSO_NODE_NONE -1             /**< No node. */

/** The result of the needed node is used: a library is linked, files are read. */
#define DIJITSO_EDGE_USE 1
#define DIJITSO_EDGE_AFTER 2             /**< The node is only made later. */

#define DIJITSO_NODE_ANY_THREAD 1        /**< The callback may run on any thread, and beside other callbacks. */

/** Start nothing new after the first failure. Otherwise all is made that does not need a failed node. */
#define DIJITSO_MAKE_FAIL_FAST 1
#define DIJITSO_MAKE_FORCE 2             /**< Make tasks again whose results are in the cache. */
/** Build libraries and do not load them: for programs that prepare the run of another one. */
#define DIJITSO_MAKE_NO_LOAD 4

#define DIJITSO_CANCEL_FINISH 1          /**< Nothing new is started; what runs is finished. */
#define DIJITSO_CANCEL_KILL 2            /**< Compilers and commands are ended as well. */

#define DIJITSO_EVENT_PROGRESS 0         /**< A snapshot, a few times a second, and one at the end. */
#define DIJITSO_EVENT_STARTED 1          /**< A node begins. */
#define DIJITSO_EVENT_ADDED 2            /**< A callback has added a node. */
#define DIJITSO_EVENT_PARKED 3           /**< A node waits for nodes that its callback has added. */
#define DIJITSO_EVENT_RETRIED 4          /**< A node has failed for a passing reason, and runs again later. */
#define DIJITSO_EVENT_DONE 5             /**< A node is done. */
#define DIJITSO_EVENT_FAILED 6           /**< A node has failed. */
#define DIJITSO_EVENT_BLOCKED 7          /**< Something that a node needs has failed. */

#define DIJITSO_NODE_TODO 0              /**< Not made yet. */
#define DIJITSO_NODE_RUNNING 1           /**< Running in this process. */
#define DIJITSO_NODE_DONE 2              /**< Its result is in the cache. */
#define DIJITSO_NODE_FAILED 3            /**< It has failed in the last make. */
#define DIJITSO_NODE_BLOCKED 4           /**< Something that it needs has failed. */
#define DIJITSO_NODE_MODULE 0            /**< The node is a library. */
#define DIJITSO_NODE_TASK 1              /**< The node is a task. */

/**
 * A build plan: modules and tasks, and what they need. Owned by the caller, freed by dijitso_plan_free().
 * Any thread may use it.
 */
typedef struct dijitso_plan dijitso_plan;

/** The task whose callback runs: borrowed until the callback returns, and used on its thread only. */
typedef struct dijitso_task dijitso_task;

/** A node of a plan: a number, from 0, that stays the same as long as the plan. */
typedef int64_t dijitso_node;

/**
 * A library of a plan. Initialise it by DIJITSO_PLAN_MODULE_INIT and set name and either generate or code.
 * All is *copied*, apart from what user_data points to.
 */
typedef struct dijitso_plan_module {
    size_t struct_size;                  /**< sizeof(dijitso_plan_module) */
    const char *label;                   /**< A name for people, unique in the plan; NULL: made from name. */
    const char *name;                    /**< The name of the library. */
    const dijitso_params *params;        /**< The parameters; NULL: those of the plan. */
    void *user_data;                     /**< Passed to generate. */
    dijitso_generate_fn generate;        /**< Generates the source on a miss. The key is name and parameters. */
    /**
     * The source itself, any bytes; part of the key, as with dijitso_jit_source(). NULL if there is
     * generate.
     */
    const char *code;
    size_t code_length;                  /**< Bytes of code. */
    /** With code: a header that code and dependants may include as "SIGNATURE.h"; NULL for none. */
    const char *header;
    size_t header_length;                /**< Bytes of header. */
    uint64_t flags;                      /**< 0 or DIJITSO_NODE_ANY_THREAD. */
} dijitso_plan_module;

/**
 * Makes the result of a task: bytes by dijitso_task_set_result(), files by dijitso_task_add_file(), or both.
 *
 * It runs on the thread of dijitso_plan_make(), one at a time, unless the node has DIJITSO_NODE_ANY_THREAD.
 * Calls of dijitso_jit() within it are local to this rank, whatever communicator they are given.
 *
 * It may add nodes to the plan and ask for them by dijitso_task_need(): if it then returns 0, what it has
 * set is dropped, its thread is free, and it is called again when they are done.
 *
 * @param user_data  The user_data of the task.
 * @param task       What it needs, and the place for its result.
 * @return 0, or any other value for failure; give the reason by dijitso_task_set_error().
 */
typedef int32_t (*dijitso_task_fn)(void *user_data, dijitso_task *task);

/**
 * A task of a plan: a callback that makes bytes or files, which are kept in the cache. Initialise it by
 * DIJITSO_PLAN_TASK_INIT and set name and run. All is *copied*, apart from what user_data points to.
 */
typedef struct dijitso_plan_task {
    size_t struct_size;                  /**< sizeof(dijitso_plan_task) */
    const char *label;                   /**< A name for people, unique in the plan; NULL: made from name. */
    /** The kind of work, such as "tabulate". Part of the key: another name when run gives another result. */
    const char *name;
    const char *params_json;             /**< Parameters as JSON, part of the key as they are written; NULL for {}. */
    void *user_data;                     /**< Passed to run. */
    /**
     * Makes the result. Called if there is none for the key: name, params_json, the contents of inputs, and
     * the results of the nodes that it needs.
     */
    dijitso_task_fn run;
    const char *const *inputs;           /**< Paths of files that run reads; NULL for none. */
    size_t input_count;                  /**< Number of inputs. */
    uint64_t flags;                      /**< 0 or DIJITSO_NODE_ANY_THREAD. */
} dijitso_plan_task;

/**
 * Something that has happened in a make. Fields that do not belong to its kind are 0, "" or
 * DIJITSO_NODE_NONE.
 */
typedef struct dijitso_event {
    size_t struct_size;                  /**< sizeof(dijitso_event) in the library */
    int32_t kind;                        /**< One of the DIJITSO_EVENT_ values. */
    int32_t status;                      /**< FAILED, RETRIED: the status of the error. */
    dijitso_node node;                   /**< The node; DIJITSO_NODE_NONE for PROGRESS. */
    dijitso_node cause;                  /**< BLOCKED: the failed node. */
    const char *label;                   /**< The label of the node. *Borrowed* for the callback. */
    /** FAILED, RETRIED: the message of the error. PROGRESS: why nodes that are ready do not run, or "". */
    const char *message;
    double seconds;                      /**< DONE, FAILED: seconds that the node took. */
    /** PROGRESS: seconds that are expected to be left; negative if nothing is known. */
    double seconds_left;
    /** DONE: 1 if the result was built in this make, 0 if it was in the cache. */
    uint64_t built;
    uint64_t done;                       /**< PROGRESS: the number of nodes that are done. */
    uint64_t failed;                     /**< PROGRESS: the number of failed nodes. */
    uint64_t blocked;                    /**< PROGRESS: the number of blocked nodes. */
    uint64_t running;                    /**< PROGRESS: the number of nodes that run in this process. */
    uint64_t total;                      /**< PROGRESS: the number of all nodes of the make. */
} dijitso_event;

/**
 * Gets what happens in a make, in order, on the thread of dijitso_plan_make(). It may call
 * dijitso_plan_cancel() and the functions that ask a plan; it must not make calls with a communicator.
 *
 * @param user_data  The user_data of the options.
 * @param event      *Borrowed* for the callback.
 */
typedef void (*dijitso_event_fn)(void *user_data, const dijitso_event *event);

/** Options of dijitso_plan_make(). Initialise them by DIJITSO_MAKE_OPTIONS_INIT; a zero field is the default. */
typedef struct dijitso_make_options {
    size_t struct_size;                  /**< sizeof(dijitso_make_options) */
    /** The nodes to make, with all that they need; NULL: all nodes. *Borrowed* for the call. */
    const dijitso_node *targets;
    size_t target_count;                 /**< Number of targets. */
    /** The most nodes that run at once in this process; 0: one for each core of the job on this host. */
    size_t jobs;
    /**
     * Further attempts for a node that fails for a passing reason: killed by a signal, out of time, memory
     * or disk.
     */
    size_t retries;
    uint64_t flags;                      /**< Sum of DIJITSO_MAKE_ values. */
    void *user_data;                     /**< Passed to poll and event. */
    /** Cancels the make, as DIJITSO_CANCEL_KILL does. Need not be set on all ranks. */
    dijitso_poll_fn poll;
    dijitso_event_fn event;              /**< Gets what happens. Need not be set on all ranks. */
} dijitso_make_options;

/** The facts of a node, as the last make has left them. */
typedef struct dijitso_node_info {
    size_t struct_size;                  /**< sizeof(dijitso_node_info) in the library */
    dijitso_node node;                   /**< The node. */
    int32_t kind;                        /**< DIJITSO_NODE_MODULE or DIJITSO_NODE_TASK. */
    int32_t state;                       /**< One of the values from DIJITSO_NODE_TODO to DIJITSO_NODE_BLOCKED. */
    const char *label;                   /**< The label. *Borrowed* for the callback, like all texts and lists. */
    const char *name;                    /**< The name. */
    const char *signature;               /**< The signature; "" if it is not known. */
    const char *message;                 /**< The message of its error; "" if it is neither failed nor blocked. */
    int32_t status;                      /**< The status of its error. */
    /** 1 if the last make has built it, 0 if it was in the cache or is not done. */
    int32_t built;
    dijitso_node blocked_by;             /**< The failed node that blocks it. */
    dijitso_node added_by;               /**< The node whose callback has added it. */
    const dijitso_node *needs;           /**< The nodes whose results it uses. */
    size_t need_count;                   /**< Number of needs. */
    const dijitso_node *after;           /**< The nodes that are only made before it. */
    size_t after_count;                  /**< Number of after. */
    uint64_t size;                       /**< Bytes of its result, if it is done. */
    /** Seconds that its last execution in this make took; 0 if there was none. */
    double seconds;
    int32_t rank;                        /**< The rank of that execution; -1 if there was none. */
    int32_t any_thread;                  /**< 1 if its callback may run on any thread. */
} dijitso_node_info;

/** Visits nodes; see VISITORS in the manual. */
typedef int32_t (*dijitso_node_fn)(void *user_data, const dijitso_node_info *info);

/**
 * Makes an empty plan.
 *
 * @param name            Names the journal of the plan in the cache; as for dijitso_jit(). *Copied*.
 * @param params_or_null  Parameters of all modules without their own. They also choose the cache, where
 *                        results and journal are, and how ranks share the work. *Copied*; NULL for the
 *                        defaults.
 * @param plan_out        Receives the plan, *owned* by the caller, freed by dijitso_plan_free().
 * @param error_out       Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_new(const char *name, const dijitso_params *params_or_null,
                                dijitso_plan **plan_out, dijitso_error **error_out);

/**
 * Frees a plan. What it has made stays in the cache, and libraries stay loaded.
 *
 * A plan that is being made may be freed, also by a callback of its nodes: the make goes on, and the plan
 * goes when it ends. What user_data points to is used until then. In a forked child nothing is freed.
 *
 * @param plan  *Owned* by the caller until now; NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_plan_free(dijitso_plan *plan);

/**
 * Adds an edge: a node needs another one, which is made before it.
 *
 * A second edge between the two adds nothing; if one of them is a use, both are.
 *
 * @param plan       *Borrowed* for the call.
 * @param node       The node that needs.
 * @param needed     The node that is needed.
 * @param edge       DIJITSO_EDGE_USE or DIJITSO_EDGE_AFTER.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also if a node needs itself (longer cycles are found
 *         by dijitso_plan_make()); or DIJITSO_ERROR_STATE during a make, except within a callback of a node.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_need(dijitso_plan *plan, dijitso_node node, dijitso_node needed, int32_t edge,
                                 dijitso_error **error_out);

/**
 * Adds a library to a plan.
 *
 * It is made as dijitso_jit() makes it; libraries that it needs by DIJITSO_EDGE_USE are linked to it. Two
 * nodes with the same signature are built once.
 *
 * generate may add nodes and need them: dijitso_plan_need() for dijitso_plan_current(). The source is then
 * kept until they are done, and generate is not called again. Nodes that a callback adds are part of the
 * plan until the next make, which calls it again if it has to; those of a callback that fails are taken
 * back.
 *
 * @param plan       *Borrowed* for the call.
 * @param module     *Borrowed* for the call.
 * @param node_out   Receives the node, DIJITSO_NODE_NONE on an error; may be NULL.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a label that is taken; DIJITSO_ERROR_PARAMS;
 *         or DIJITSO_ERROR_STATE during a make, except within a callback of a node.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_add_module(dijitso_plan *plan, const dijitso_plan_module *module,
                                       dijitso_node *node_out, dijitso_error **error_out);

/**
 * Adds a task to a plan.
 *
 * @param plan       *Borrowed* for the call.
 * @param task       *Borrowed* for the call.
 * @param node_out   Receives the node, DIJITSO_NODE_NONE on an error; may be NULL.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_plan_add_module().
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_add_task(dijitso_plan *plan, const dijitso_plan_task *task,
                                     dijitso_node *node_out, dijitso_error **error_out);

/**
 * Returns the plan of a task.
 *
 * @param task  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the callback returns.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_plan *dijitso_task_plan(const dijitso_task *task);

/**
 * Returns the node of a task.
 *
 * @param task  *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_node dijitso_task_node(const dijitso_task *task);

/**
 * Returns the signature under which the result is kept.
 *
 * @param task  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the callback returns.
 * @local  @threads that of the callback  @since 0.1.0
 */
const char *dijitso_task_signature(const dijitso_task *task);

/**
 * Returns the params_json of a task.
 *
 * @param task  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the callback returns.
 * @local  @threads that of the callback  @since 0.1.0
 */
const char *dijitso_task_params(const dijitso_task *task);

/**
 * Returns the number of nodes whose results a task uses. All of them are done.
 *
 * @param task  *Borrowed* for the call; NULL gives 0.
 * @local  @threads that of the callback  @since 0.1.0
 */
size_t dijitso_task_need_count(const dijitso_task *task);

/**
 * Returns a node whose result a task uses.
 *
 * @param task   *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
 * @param index  From 0, in the order in which the edges were added.
 * @return DIJITSO_NODE_NONE if there are not so many.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_node dijitso_task_need_node(const dijitso_task *task, size_t index);

/**
 * Returns the result of a task that this task needs. dijitso_plan_library() gives that of a module.
 *
 * @param task          *Borrowed* for the call.
 * @param index         As for dijitso_task_need_node().
 * @param file_or_null  A file of dijitso_task_add_file(); NULL: the bytes of dijitso_task_set_result(), or
 *                      else the only file. *Copied*.
 * @param data_out      Receives the bytes, *borrowed* until the callback returns. Not NULL if there are
 *                      none.
 * @param size_out      Receives their number.
 * @param error_out     Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a module or a file that is not there; or
 *         DIJITSO_ERROR_CACHE.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_task_need_result(dijitso_task *task, size_t index, const char *file_or_null,
                                        const uint8_t **data_out, size_t *size_out,
                                        dijitso_error **error_out);

/**
 * Adds a need while the callback runs, mostly of a node that it has added. If that is not done when the
 * callback returns 0, the callback is called again when it is.
 *
 * @param task       *Borrowed* for the call.
 * @param needed     The node that is needed, of the same plan.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_task_need(dijitso_task *task, dijitso_node needed, dijitso_error **error_out);

/**
 * Sets the bytes that a task makes; a second call replaces them.
 *
 * @param task  *Borrowed* for the call.
 * @param data  *Copied*. May be NULL if size is 0.
 * @param size  Bytes.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_task_set_result(dijitso_task *task, const uint8_t *data, size_t size);

/**
 * Adds a file to what a task makes; a second one of the same name replaces it.
 *
 * @param task        *Borrowed* for the call.
 * @param name        A relative path, without "." and "..". *Copied*.
 * @param data        *Copied*. May be NULL if size is 0.
 * @param size        Bytes.
 * @param executable  1 if the file may be run, else 0.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if there is not enough memory for a copy.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_task_add_file(dijitso_task *task, const char *name, const uint8_t *data, size_t size,
                                     int32_t executable);

/**
 * Says why the callback will return non-zero. The text becomes part of the error of the node.
 *
 * @param task     *Borrowed* for the call.
 * @param message  *Copied*.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads that of the callback  @since 0.1.0
 */
dijitso_status dijitso_task_set_error(dijitso_task *task, const char *message);

/**
 * Makes the nodes of a plan, and loads its libraries.
 *
 * Each node is made as soon as what it needs is done, the longest chains first. What is in the cache is not
 * made again. Callbacks run on the calling thread, except those with DIJITSO_NODE_ANY_THREAD; compilers run
 * meanwhile. A node that fails blocks those that need it, and nothing else.
 *
 * With a communicator the ranks share the work, as cache directories and parallel.buildon allow: a callback
 * runs on a rank that has nothing else to do, and every rank has the results in its cache directory. At the
 * end all ranks have the same states and the same messages.
 *
 * A make may be repeated, also by another program and after a kill: what is done is found in the cache.
 *
 * @param plan       *Borrowed* for the call. On a communicator: the same nodes in the same order on every
 *                   rank.
 * @param options    *Borrowed* for the call; NULL for the defaults. Targets have to be the same on every
 *                   rank.
 * @param comm       An intra-communicator, or DIJITSO_COMM_NULL.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL. Its message names the nodes that
 *                   have failed (eight at most) and their errors; dijitso_plan_error() gives that of each
 *                   node.
 * @return DIJITSO_OK if all nodes are done, else the status of the first that failed, by label.
 *         DIJITSO_ERROR_CANCELLED if the make was stopped; nodes that are not made are DIJITSO_NODE_TODO.
 *         DIJITSO_ERROR_INVALID_ARGUMENT for a cycle, with its labels. DIJITSO_ERROR_STATE within a
 *         callback, at once and on this rank alone, and if another thread makes the plan.
 *         DIJITSO_ERROR_RANKS_DISAGREE.
 * @collective over comm  @threads any, for one communicator one at a time  @since 0.1.0
 */
dijitso_status dijitso_plan_make(dijitso_plan *plan, const dijitso_make_options *options, MPI_Comm comm,
                                 dijitso_error **error_out);

/**
 * Asks the make in progress to stop, or the next one if none is in progress. All ranks stop.
 *
 * Nodes that are not done are to be made: DIJITSO_NODE_TODO. The next make goes on with them. Only stores a
 * number, so a signal handler may call it.
 *
 * @param plan  *Borrowed* for the call.
 * @param how   DIJITSO_CANCEL_FINISH or DIJITSO_CANCEL_KILL. A callback is not interrupted.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any, and signal handlers  @since 0.1.0
 */
dijitso_status dijitso_plan_cancel(dijitso_plan *plan, int32_t how);

/**
 * Returns the state of a node, one of the values from DIJITSO_NODE_TODO to DIJITSO_NODE_BLOCKED.
 *
 * @param plan  *Borrowed* for the call; NULL gives -1.
 * @param node  Any number.
 * @return -1 if there is no such node, and in a forked child.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_plan_state(const dijitso_plan *plan, dijitso_node node);

/**
 * Returns the label of a node.
 *
 * @param plan  *Borrowed* for the call; NULL gives NULL.
 * @param node  Any number.
 * @return *Borrowed* until the plan is freed; NULL if there is no such node.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_plan_label(const dijitso_plan *plan, dijitso_node node);

/**
 * Returns the signature of a node: the key of its result in the cache. It is known when what the node needs
 * is done.
 *
 * @param plan  *Borrowed* for the call; NULL gives NULL.
 * @param node  Any number.
 * @return *Borrowed* until the next make of the plan begins or it is freed; NULL if it is not known.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_plan_signature(const dijitso_plan *plan, dijitso_node node);

/**
 * Returns the node of a label.
 *
 * @param plan   *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
 * @param label  *Copied*; NULL gives DIJITSO_NODE_NONE.
 * @return DIJITSO_NODE_NONE if there is none.
 * @local  @threads any  @since 0.1.0
 */
dijitso_node dijitso_plan_find(const dijitso_plan *plan, const char *label);

/**
 * Returns the node whose callback runs on this thread.
 *
 * @param plan  *Borrowed* for the call; NULL gives DIJITSO_NODE_NONE.
 * @return DIJITSO_NODE_NONE if it is none of this plan.
 * @local  @threads any  @since 0.1.0
 */
dijitso_node dijitso_plan_current(const dijitso_plan *plan);

/**
 * Returns the result of a task that is done, from the cache directory of this rank.
 *
 * @param plan          *Borrowed* for the call.
 * @param node          The task.
 * @param file_or_null  A file of dijitso_task_add_file(), or an output of a command; NULL: the bytes of
 *                      dijitso_task_set_result(), or else the only file. *Copied*.
 * @param data_out      Receives the bytes, *borrowed* until the next make of the plan begins or it is freed.
 *                      Not NULL if there are none.
 * @param size_out      Receives their number.
 * @param error_out     Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; the status of the node's own error if it is failed or blocked; DIJITSO_ERROR_STATE if
 *         it is not done; DIJITSO_ERROR_INVALID_ARGUMENT, also for a module or a file that is not there; or
 *         DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_result(const dijitso_plan *plan, dijitso_node node, const char *file_or_null,
                                   const uint8_t **data_out, size_t *size_out, dijitso_error **error_out);

/**
 * Returns the library of a module that is done.
 *
 * After a make it is loaded already; with DIJITSO_MAKE_NO_LOAD it is loaded now.
 *
 * @param plan         *Borrowed* for the call.
 * @param node         The module.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_plan_result(), or DIJITSO_ERROR_LOAD.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_library(const dijitso_plan *plan, dijitso_node node,
                                    dijitso_library **library_out, dijitso_error **error_out);

/**
 * Returns the error of a node that has failed, or the reason why it is blocked.
 *
 * @param plan       *Borrowed* for the call.
 * @param node       The node.
 * @param error_out  Receives the error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK if the node has no error, else its status; DIJITSO_ERROR_INVALID_ARGUMENT if there is
 *         no such node.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_error(const dijitso_plan *plan, dijitso_node node, dijitso_error **error_out);

/**
 * Visits the nodes of a plan in the order in which they were added, with their facts.
 *
 * @param plan       *Borrowed* for the call.
 * @param visitor    Called for each node.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_visit(const dijitso_plan *plan, dijitso_node_fn visitor, void *user_data,
                                  dijitso_error **error_out);

/**
 * Makes the plan that a plan file describes; `dijitso make` makes the same.
 *
 * @param path            The file. Relative paths in it begin at its directory. *Copied*.
 * @param params_or_null  Parameters that the file does not set, and the cache. *Copied*; NULL for the
 *                        defaults.
 * @param plan_out        Receives the plan, *owned* by the caller, freed by dijitso_plan_free(). Nodes may
 *                        be added to it.
 * @param error_out       Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_PARAMS with the lines of the file
 *         that are wrong, or if it cannot be read.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_load(const char *path, const dijitso_params *params_or_null,
                                 dijitso_plan **plan_out, dijitso_error **error_out);

/**
 * Writes a plan as a plan file, in one step, in the place of one that is there.
 *
 * Nodes that callbacks have added are left out: those that add them do so again.
 *
 * @param plan       *Borrowed* for the call. Its modules have texts, or come from a plan file like its
 *                   tasks: callbacks cannot be written.
 * @param path       The file. *Copied*. A plan whose file has relative paths stays in its directory.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_INVALID_ARGUMENT, also for a node with a callback, which the message
 *         names; or DIJITSO_ERROR_CACHE if it cannot be written.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_plan_save(const dijitso_plan *plan, const char *path, dijitso_error **error_out);

/* Initialises a dijitso_plan_module: dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT; */
#define DIJITSO_PLAN_MODULE_INIT { sizeof(dijitso_plan_module), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0 }

/* Initialises a dijitso_plan_task: dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT; */
#define DIJITSO_PLAN_TASK_INIT { sizeof(dijitso_plan_task), NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }

/* Initialises a dijitso_make_options: dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT; */
#define DIJITSO_MAKE_OPTIONS_INIT { sizeof(dijitso_make_options), NULL, 0, 0, 0, 0, NULL, NULL, NULL }

/*-- Log ---------------------------------------------------------------------------------------------------*/

#define DIJITSO_LOG_DEBUG 10             /**< Details for finding a fault in the library. */
#define DIJITSO_LOG_INFO 20              /**< Normal progress. */
#define DIJITSO_LOG_WARNING 30           /**< Something is wrong and the library goes on. The level at first. */
#define DIJITSO_LOG_ERROR 40             /**< Something has failed, for example a compiler. */
#define DIJITSO_LOG_OFF 50               /**< Silence, as a level. */

/** A record of the log. */
typedef struct dijitso_log_record {
    size_t struct_size;                  /**< sizeof(dijitso_log_record) in the library */
    int32_t level;                       /**< One of the DIJITSO_LOG_ values. */
    /**
     * The rank in the communicator that is in use on this thread, or was last in this process; -1 if none is
     * known.
     */
    int32_t rank;
    int32_t ranks;                       /**< The size of that communicator, 0 if none is known. */
    /**
     * One paragraph; of a failed build it has the compiler's first error. *Borrowed* for the call, like the
     * next two.
     */
    const char *message;
    const char *host;                    /**< The name of this host. */
    const char *target;                  /**< The part of the library, such as "dijitso::cache". */
} dijitso_log_record;

/**
 * Takes a record of the log, on any thread, during a call of the library. It must not call the library.
 *
 * @param user_data  The user_data of dijitso_log_set_handler().
 * @param record     *Borrowed* for the call.
 */
typedef void (*dijitso_log_fn)(void *user_data, const dijitso_log_record *record);

/**
 * Sets the level of the log. Records below it are not shown.
 *
 * Without a handler, records go to standard error. Of several ranks only rank 0 shows warnings and lower
 * levels; every rank shows errors. The environment variable DIJITSO_LOG, read at the first call of the
 * library, changes that. It is a list of words with commas between them: a level (debug, info, warning,
 * error, off, a number) replaces DIJITSO_LOG_WARNING; "ranks=all" shows the records of every rank;
 * "file=PATH" appends them to a file instead; "json=PATH" also appends records and finished calls to a file,
 * one line of JSON each.
 *
 * A build that takes longer than 2 s is reported at DIJITSO_LOG_WARNING, by one rank of a host; on a
 * terminal in one line that is updated in place. The environment variable DIJITSO_PROGRESS=0 silences that.
 *
 * @param level      One of the DIJITSO_LOG_ values, or any number between them.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT for a negative number, or DIJITSO_ERROR_STATE in a Rust
 *         program with a logger of its own, which then gets the records.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_set_level(int32_t level, dijitso_error **error_out);

/**
 * Returns the level of the log.
 *
 * @return The number that was set; DIJITSO_LOG_WARNING at first.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_log_level(void);

/**
 * Sets a function that gets the records, on every rank, instead of standard error or a file.
 *
 * When this returns, the former handler is not running and will not be called again.
 *
 * @param handler    The function; NULL for none, as at first.
 * @param user_data  Passed to it. It has to live until the handler is replaced.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_STATE within a handler, or in a Rust program with a logger of its own.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_set_handler(dijitso_log_fn handler, void *user_data, dijitso_error **error_out);

/**
 * Returns the handler that was set last, so that another handler can pass records on to it, or put it back.
 *
 * @param handler_out    Receives the function, NULL for none.
 * @param user_data_out  Receives its user_data; may be NULL.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_get_handler(dijitso_log_fn *handler_out, void **user_data_out,
                                       dijitso_error **error_out);

/*-- Blobs -------------------------------------------------------------------------------------------------*/

/**
 * Makes an empty blob.
 *
 * @param blob_out   Receives the blob, *owned* by the caller, freed by dijitso_blob_free().
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_blob_new(dijitso_blob **blob_out, dijitso_error **error_out);

/**
 * Returns the bytes of a blob. A NUL follows them, so a text can be used as a C string.
 *
 * @param blob  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the blob is changed or freed; never NULL.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
const uint8_t *dijitso_blob_data(const dijitso_blob *blob);

/**
 * Returns the number of bytes of a blob.
 *
 * @param blob  *Borrowed* for the call; NULL gives 0.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
size_t dijitso_blob_size(const dijitso_blob *blob);

/**
 * Frees a blob.
 *
 * @param blob  *Owned* by the caller until now, made by dijitso_blob_new(); NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_blob_free(dijitso_blob *blob);

/*-- Details -----------------------------------------------------------------------------------------------*/

/**
 * Returns the handle that the dynamic loader gave for a library, for functions such as dlsym() and dlinfo(),
 * and for ctypes.CDLL(name, handle=...) in Python. Never close it: other callers use it as well.
 *
 * @param library  *Borrowed* for the call; NULL gives NULL.
 * @return *Borrowed* until the process ends; NULL if cache.lib_loader is "import", so that the library was
 *         built and not loaded.
 * @local  @threads any  @since 0.1.0
 */
void *dijitso_library_handle(const dijitso_library *library);

/**
 * Returns the path of one of the files in the folder of dijitso_error_path(): the source, the header, the
 * log, recompile.sh and README, as far as they are there. They are listed at the first call for an error, in
 * the order of their names.
 *
 * @param error  *Borrowed* for the call; NULL gives NULL.
 * @param index  0 for the first file. All indices from the number of files on give NULL.
 * @return *Borrowed* until the error is freed; NULL for each index if there is no such folder on this host.
 * @local  @threads any  @since 0.1.0
 */
const char *dijitso_error_file(const dijitso_error *error, size_t index);

/*-- Queries -----------------------------------------------------------------------------------------------*/

#define DIJITSO_ELF_SONAME 0             /**< The name by which others ask for it (DT_SONAME). */
#define DIJITSO_ELF_NEEDED 1             /**< A library that it needs (DT_NEEDED). */
#define DIJITSO_ELF_RUNPATH 2            /**< A directory in which the loader searches (DT_RUNPATH, else DT_RPATH). */
#define DIJITSO_ELF_BUILD_ID 3           /**< The linker's identifier of this build, hexadecimal. */

/** Visits texts; see VISITORS in the manual. */
typedef int32_t (*dijitso_text_fn)(void *user_data, const char *text);

/** A fact about a library. */
typedef struct dijitso_elf_item {
    size_t struct_size;                  /**< sizeof(dijitso_elf_item) in the library */
    int32_t kind;                        /**< One of the DIJITSO_ELF_ values. */
    const char *text;                    /**< The value in the file. *Borrowed* for the callback, like path. */
    /**
     * Of a needed library: where the loader would find it now, as far as the file, LD_LIBRARY_PATH and the
     * loader's cache tell. "" if nowhere, and for other kinds.
     */
    const char *path;
} dijitso_elf_item;

/** Visits the facts about a library; see VISITORS in the manual. */
typedef int32_t (*dijitso_elf_fn)(void *user_data, const dijitso_elf_item *item);

/**
 * Returns the signature that dijitso_jit() uses for a name and parameters on this machine.
 *
 * The compiler may be asked for its version, once for each cache. On a communicator with different kinds of
 * machines each kind has its own signature.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param name       As for dijitso_jit(). *Copied*.
 * @param blob       Receives the signature, as text. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_signature(const dijitso_params *params, const char *name, dijitso_blob *blob,
                                 dijitso_error **error_out);

/**
 * Explains a name or a signature, as text or as JSON. Nothing is built.
 *
 * For a name: would dijitso_jit() find it with these parameters? If not, how does it differ from the nearest
 * entry of that name (flags, compiler, changed headers, ...)? For a signature: what was it built from? If
 * the last build failed, the compiler's first error and the folder that reproduces it.
 *
 * @param params             *Borrowed* for the call; NULL for the defaults.
 * @param name_or_signature  *Copied*.
 * @param json               1: as JSON; 0: as text.
 * @param blob               Receives the explanation. *Borrowed* for the call.
 * @param error_out          Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_explain(const dijitso_params *params, const char *name_or_signature, int32_t json,
                               dijitso_blob *blob, dijitso_error **error_out);

/**
 * Returns the command that builds a library, word by word. Nothing is run, and no directory is made.
 *
 * The command is meant for the folder of the source, whose file name dijitso_cache_file_names() gives. The
 * compiler may be asked for its version.
 *
 * @param params        *Borrowed* for the call; NULL for the defaults.
 * @param signature     *Copied*.
 * @param dependencies  Signatures of libraries to link to. *Copied*. May be NULL if count is 0.
 * @param count         Number of dependencies.
 * @param visitor       Called for each word.
 * @param user_data     Passed to it.
 * @param error_out     Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_build_command(const dijitso_params *params, const char *signature,
                                     const char *const *dependencies, size_t count, dijitso_text_fn visitor,
                                     void *user_data, dijitso_error **error_out);

/**
 * Loads a library of the cache by its signature, with all that it needs. Nothing is built.
 *
 * @param params       *Borrowed* for the call; NULL for the defaults.
 * @param signature    *Copied*.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE if it is
 *         missing or damaged, or DIJITSO_ERROR_LOAD.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_library_open(const dijitso_params *params, const char *signature,
                                    dijitso_library **library_out, dijitso_error **error_out);

/**
 * Lists what any shared library needs, from its ELF headers. Neither the library nor ldd is run.
 *
 * The SONAME comes first, then the build id, the directories in their order, and the needed libraries in
 * their order. What those need in their turn is not listed.
 *
 * @param path       The library: a plain file of at most 4 GiB, or a link to one. *Copied*.
 * @param visitor    Called for each item.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_CACHE if the file cannot be read or
 *         is no 64-bit ELF file.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_elf_read(const char *path, dijitso_elf_fn visitor, void *user_data,
                                dijitso_error **error_out);

/*-- Cache -------------------------------------------------------------------------------------------------*/

#define DIJITSO_CATEGORY_INC 1           /**< Headers. */
#define DIJITSO_CATEGORY_SRC 2           /**< Sources. */
#define DIJITSO_CATEGORY_LIB 4           /**< Libraries. */
#define DIJITSO_CATEGORY_LOG 8           /**< Build logs. */
#define DIJITSO_CATEGORY_ALL 15          /**< All files. */

#define DIJITSO_SEVERITY_BROKEN 0        /**< The entry cannot be used. */
#define DIJITSO_SEVERITY_STALE 1         /**< The entry is built again at its next use. */
#define DIJITSO_SEVERITY_LEFTOVER 2      /**< A file that only takes space. */

#define DIJITSO_REPAIR_NO 0              /**< Nothing was done. */
#define DIJITSO_REPAIR_DONE 1            /**< It was quarantined or removed. */
#define DIJITSO_REPAIR_BUSY 2            /**< A running program is working on it. */
#define DIJITSO_REPAIR_FAILED 3          /**< The repair failed. */

/** The names of the files of a signature, which need not exist. */
typedef struct dijitso_file_names {
    size_t struct_size;                  /**< sizeof(dijitso_file_names) in the library */
    /**
     * The library as linkers name it after -l: without directory, "lib" and ".so". *Borrowed* for the
     * callback, like all that follow.
     */
    const char *lib_name;
    const char *lib_basename;            /**< The library without its directory. */
    const char *lib_path;                /**< The library. */
    const char *inc_basename;            /**< The header without its directory, as sources include it. */
    const char *inc_path;                /**< The header. */
    const char *src_basename;            /**< The source without its directory, as it is compiled. */
    const char *src_path;                /**< The source; ".gz" is added if it is compressed. */
    const char *log_path;                /**< The log. */
    const char *fail_dir;                /**< The folder of a failed build. */
} dijitso_file_names;

/** Visits the names of the files of one signature; see VISITORS in the manual. */
typedef int32_t (*dijitso_file_names_fn)(void *user_data, const dijitso_file_names *names);

/** An entry of the cache: all files of one signature. */
typedef struct dijitso_entry {
    size_t struct_size;                  /**< sizeof(dijitso_entry) in the library */
    const char *signature;               /**< *Borrowed* for the callback, like name. */
    const char *name;                    /**< The name that the signature was made from. */
    /** Sum of the DIJITSO_CATEGORY_ values of its files. Without a library it is the rest of an entry. */
    int32_t categories;
    uint64_t size;                       /**< Bytes of all files. */
    uint64_t allocated;                  /**< Bytes of the disk that the files take. */
    int64_t modified;                    /**< Time of publication: seconds since 1970. */
} dijitso_entry;

/** Visits entries; see VISITORS in the manual. */
typedef int32_t (*dijitso_entry_fn)(void *user_data, const dijitso_entry *entry);

/** A file of the cache. */
typedef struct dijitso_file {
    size_t struct_size;                  /**< sizeof(dijitso_file) in the library */
    int32_t category;                    /**< One of the DIJITSO_CATEGORY_ values. */
    const char *signature;               /**< The entry of the file. *Borrowed* for the callback, like path. */
    const char *path;                    /**< The path of the file. */
    uint64_t size;                       /**< Bytes. */
    int64_t modified;                    /**< Time of the last change: seconds since 1970. */
} dijitso_file;

/** Visits files; see VISITORS in the manual. */
typedef int32_t (*dijitso_file_fn)(void *user_data, const dijitso_file *file);

/** A line of a file of the cache. */
typedef struct dijitso_line {
    size_t struct_size;                  /**< sizeof(dijitso_line) in the library */
    int32_t category;                    /**< One of the DIJITSO_CATEGORY_ values. */
    /** The entry of the file. *Borrowed* for the callback, like path and text. */
    const char *signature;
    const char *path;                    /**< The path of the file. */
    uint64_t number;                     /**< Number of the line, from 1. */
    const char *text;                    /**< The line, without its end. */
} dijitso_line;

/** Visits lines; see VISITORS in the manual. */
typedef int32_t (*dijitso_line_fn)(void *user_data, const dijitso_line *line);

/** Something in a cache that is wrong. */
typedef struct dijitso_finding {
    size_t struct_size;                  /**< sizeof(dijitso_finding) in the library */
    int32_t severity;                    /**< One of the DIJITSO_SEVERITY_ values. */
    int32_t repair;                      /**< The outcome of the repair: one of the DIJITSO_REPAIR_ values. */
    /**
     * Kind of the finding in one word, such as "library-altered". *Borrowed* for the callback, like all that
     * follow.
     */
    const char *kind;
    const char *signature;               /**< The entry, "" if it belongs to none. */
    const char *path;                    /**< The file. */
    const char *text;                    /**< The finding as a sentence. */
    const char *advice;                  /**< The advice: what to do about it. */
    const char *reason;                  /**< Which program works on it, or why the repair failed; else "". */
} dijitso_finding;

/** Visits findings; see VISITORS in the manual. */
typedef int32_t (*dijitso_finding_fn)(void *user_data, const dijitso_finding *finding);

/** An entry, file or folder that was removed. */
typedef struct dijitso_removed {
    size_t struct_size;                  /**< sizeof(dijitso_removed) in the library */
    /** The entry, "" if it belongs to none. *Borrowed* for the callback, like path. */
    const char *signature;
    const char *path;                    /**< Its library, or the file or folder. */
    uint64_t bytes;                      /**< Bytes of the disk that it took. */
    double idle;                         /**< Seconds since its last use. */
} dijitso_removed;

/** Visits what was removed; see VISITORS in the manual. */
typedef int32_t (*dijitso_removed_fn)(void *user_data, const dijitso_removed *removed);

/** Statistics of a cache for the programs on one host. */
typedef struct dijitso_stats {
    size_t struct_size;                  /**< sizeof(dijitso_stats) in the library */
    const char *host;                    /**< The name of the host. *Borrowed* for the callback. */
    uint64_t memory_hits;                /**< Calls that were answered from memory. */
    uint64_t disk_hits;                  /**< Calls that found the library in the cache. */
    uint64_t builds;                     /**< Calls that built the library. */
    uint64_t failures;                   /**< Calls whose build failed. */
    uint64_t received;                   /**< Libraries received from another rank. */
    uint64_t waited;                     /**< Calls that waited for another program to build. */
    double compile_seconds;              /**< Seconds of compiling. */
    double saved_seconds;                /**< Seconds of compiling that hits have saved. */
} dijitso_stats;

/** Visits the statistics of hosts; see VISITORS in the manual. */
typedef int32_t (*dijitso_stats_fn)(void *user_data, const dijitso_stats *stats);

/**
 * Returns the names of the files of a signature. Nothing is read from disk.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param visitor    Called once.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, also for a text that is no signature, or
 *         DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_file_names(const dijitso_params *params, const char *signature,
                                        dijitso_file_names_fn visitor, void *user_data,
                                        dijitso_error **error_out);

/**
 * Makes the directories of the cache, for this user only. dijitso_jit() does so itself when it builds.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also if a file is in the place of one.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_make_dirs(const dijitso_params *params, dijitso_error **error_out);

/**
 * Lists the libraries of the cache that an entry is linked to, from its ELF headers. Nothing is run.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param visitor    Called for each: kind is DIJITSO_ELF_NEEDED, text its signature, path its file, or "" if
 *                   that is missing.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if there
 *         is no such entry.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_dependencies(const dijitso_params *params, const char *signature,
                                          dijitso_elf_fn visitor, void *user_data, dijitso_error **error_out);

/**
 * Lists the entries of the cache, those with a library first, each part in the order of the signatures.
 *
 * No file is opened. Leftovers of killed programs are not listed.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param visitor    Called for each entry.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also if there is no cache yet; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS,
 *         or DIJITSO_ERROR_CACHE if a directory cannot be read.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_list(const dijitso_params *params, dijitso_entry_fn visitor, void *user_data,
                                  dijitso_error **error_out);

/**
 * Lists the files of the cache.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   One entry; NULL for all. *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param visitor     Called for each file.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_list().
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_files(const dijitso_params *params, const char *signature, int32_t categories,
                                   dijitso_file_fn visitor, void *user_data, dijitso_error **error_out);

/**
 * Searches headers, sources and logs for lines that contain a text.
 *
 * Compressed files are searched uncompressed. Bytes that are not UTF-8 are shown as replacement characters.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param pattern     A literal text; "" for every line. *Copied*.
 * @param signature   One entry; NULL for all. *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values, without DIJITSO_CATEGORY_LIB.
 * @param visitor     Called for each line.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_list().
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_grep(const dijitso_params *params, const char *pattern, const char *signature,
                                  int32_t categories, dijitso_line_fn visitor, void *user_data,
                                  dijitso_error **error_out);

/**
 * Returns the contents of a file of an entry, uncompressed.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param category   One of the DIJITSO_CATEGORY_ values. For a library it is the file as it is; use
 *                   dijitso_cache_read_binary() to take a library elsewhere.
 * @param blob       Receives the contents. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if the
 *         file is missing, cannot be read, can have been written by another user, is longer than 256 MiB, or
 *         is not the source that was compiled.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_read(const dijitso_params *params, const char *signature, int32_t category,
                                  dijitso_blob *blob, dijitso_error **error_out);

/**
 * Writes the header, source or log of a signature.
 *
 * The file appears in one step and replaces the former one. The header or source of a library that is built
 * cannot be replaced. Libraries come from dijitso_jit() or dijitso_cache_write_binary().
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param category   DIJITSO_CATEGORY_INC, DIJITSO_CATEGORY_SRC or DIJITSO_CATEGORY_LOG.
 * @param data       The contents; they are compressed as cache.src_storage says. *Copied*.
 * @param size       Bytes.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_store(const dijitso_params *params, const char *signature, int32_t category,
                                   const uint8_t *data, size_t size, dijitso_error **error_out);

/**
 * Copies files of an entry to a directory, uncompressed. Makes the directory if it is missing.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param directory   *Copied*.
 * @param replace     1: replaces files in the directory; 0: such a file is an error, and nothing is written.
 * @param visitor     Called for the path of each copy; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also if
 *         the cache has none of the files.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_extract(const dijitso_params *params, const char *signature, int32_t categories,
                                     const char *directory, int32_t replace, dijitso_text_fn visitor,
                                     void *user_data, dijitso_error **error_out);

/**
 * Removes files of an entry. The library goes first, so other programs see a complete entry or none.
 *
 * Loaded libraries stay loaded. Entries that need this one are built again when they are asked for.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param visitor     Called for the path of each removed file; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also if there was no file; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE if a file cannot be removed or the library is being built.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_remove(const dijitso_params *params, const char *signature, int32_t categories,
                                    dijitso_text_fn visitor, void *user_data, dijitso_error **error_out);

/**
 * Removes the files of all entries of the cache, and nothing else.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param dry_run     1: removes nothing and shows what would be removed; 0: removes it.
 * @param visitor     Called for the path of each file; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_remove(). An error is the first one; everything else has been removed.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_clean(const dijitso_params *params, int32_t categories, int32_t dry_run,
                                   dijitso_text_fn visitor, void *user_data, dijitso_error **error_out);

/**
 * Checks a cache, and repairs it if asked to.
 *
 * It compares digests of libraries and headers, looks for the libraries that entries need and for headers
 * and libraries that have changed since the build, and for leftovers of killed programs.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  One entry, which is checked with all that it needs; NULL for the whole cache. *Copied*.
 * @param repair     1: quarantines broken entries and removes leftovers; 0: changes nothing.
 * @param visitor    Called for each finding, the worst first; may be NULL.
 * @param user_data  Passed to it.
 * @param sound_out  Receives 1 if no entry is broken (any more), else 0; may be NULL.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, whatever is found; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE if there is no such entry or the cache cannot be read at all.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_check(const dijitso_params *params, const char *signature, int32_t repair,
                                   dijitso_finding_fn visitor, void *user_data, int32_t *sound_out,
                                   dijitso_error **error_out);

/**
 * Removes entries until the cache is within cache.max_size and cache.max_age.
 *
 * The least recently used entries go first. A library that they need goes when no remaining entry needs it.
 * Safe beside programs that use the cache. Without a limit nothing is removed.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param min_idle   Seconds: entries that were built or used since then stay. Negative for the default.
 * @param dry_run    1: removes nothing and shows what would be removed; 0: removes it.
 * @param visitor    Called for each removed item, after all have been removed; may be NULL.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if
 *         something could not be removed, or another program is evicting for more than a minute.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_gc(const dijitso_params *params, double min_idle, int32_t dry_run,
                                dijitso_removed_fn visitor, void *user_data, dijitso_error **error_out);

/**
 * Lists the statistics of a cache: hits, builds and failures, counted for each host.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param visitor    Called for each host, in the order of the names.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_stats(const dijitso_params *params, dijitso_stats_fn visitor, void *user_data,
                                   dijitso_error **error_out);

/**
 * Sets the statistics of a cache to zero.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_reset_stats(const dijitso_params *params, dijitso_error **error_out);

/*-- Bundles -----------------------------------------------------------------------------------------------*/

#define DIJITSO_IMPORT_NEW 0             /**< The entry is new in this cache. */
#define DIJITSO_IMPORT_EXISTS 1          /**< The same entry was in the cache. */
#define DIJITSO_IMPORT_CONFLICT 2        /**< A valid entry with other contents was in the cache; it stays. */
#define DIJITSO_IMPORT_REFUSED 3         /**< The entry cannot be used on this machine. */

/** The outcome for one entry of a bundle. */
typedef struct dijitso_imported {
    size_t struct_size;                  /**< sizeof(dijitso_imported) in the library */
    int32_t outcome;                     /**< One of the DIJITSO_IMPORT_ values. */
    const char *signature;               /**< *Borrowed* for the callback, like reason. */
    const char *reason;                  /**< Why it was refused; else "". */
} dijitso_imported;

/** Visits the entries of a bundle; see VISITORS in the manual. */
typedef int32_t (*dijitso_imported_fn)(void *user_data, const dijitso_imported *imported);

/**
 * Returns an entry as bytes, the same that a builder sends to receivers: library, header, source, log, and
 * those of all libraries that it needs.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param blob       Receives the bytes. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if it is
 *         missing or damaged.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_read_binary(const dijitso_params *params, const char *signature,
                                         dijitso_blob *blob, dijitso_error **error_out);

/**
 * Puts the bytes of dijitso_cache_read_binary() into a cache, which may be of another process, host or path.
 *
 * The bytes are checked before anything is written, and the entry appears in one step. A library that is in
 * the cache already stays.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  The signature of the library in the bytes. *Copied*.
 * @param data       The bytes. *Borrowed* for the call.
 * @param size       Number of bytes.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE if the bytes
 *         are incomplete, altered or of another library, or the builder's status if they carry its error.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_write_binary(const dijitso_params *params, const char *signature,
                                          const uint8_t *data, size_t size, dijitso_error **error_out);

/**
 * Writes entries of a cache, with all that they need, to one file, for machines without a compiler.
 *
 * A plain file appears complete or not at all; a link is followed. A FIFO, a terminal or another character
 * device is written to and never replaced. A FIFO that no program reads for 10 seconds, a socket, a
 * directory and a block device are errors.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param words      Signatures, names (all entries of that name), patterns with * ? or [...], or the
 *                   beginning of one signature; NULL for the whole cache. *Copied*.
 * @param count      Number of words.
 * @param path       The file. *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE if a word
 *         matches no entry, an entry is damaged or the file cannot be written.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_bundle_export(const dijitso_params *params, const char *const *words, size_t count,
                                     const char *path, dijitso_error **error_out);

/**
 * Puts the entries of a file that dijitso_bundle_export() has written into a cache.
 *
 * Each entry is checked first. An entry that is in the cache already stays.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param path       The file, or a FIFO, of which no more is read than its manifest says. *Copied*.
 * @param force      1: takes entries that were built for another machine; 0: refuses them.
 * @param visitor    Called for each entry, after all have been imported; may be NULL.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also if entries are refused; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE if the file cannot be read or is damaged, or the cache cannot be written.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_bundle_import(const dijitso_params *params, const char *path, int32_t force,
                                     dijitso_imported_fn visitor, void *user_data, dijitso_error **error_out);

/*-- MPI ---------------------------------------------------------------------------------------------------*/

#define DIJITSO_MPI_NONE 0               /**< No MPI, or none that is known. */
#define DIJITSO_MPI_MPICH 1              /**< MPICH, Intel MPI, MVAPICH, Cray MPICH. */
#define DIJITSO_MPI_OPEN_MPI 2           /**< Open MPI. */
#define DIJITSO_MPI_STANDARD_ABI 3       /**< The standard ABI of MPI 5. */
#define DIJITSO_MPI_OTHER 4              /**< An MPI that a table describes. */
#define DIJITSO_MPI_FUNCTIONS 25         /**< The number of functions in a table. */

/** The MPI of a program. Handles are given as words; those of 4 bytes in the lower half. */
typedef struct dijitso_mpi_table {
    size_t struct_size;                  /**< sizeof(dijitso_mpi_table) */
    /** One of the DIJITSO_MPI_ values, of the mpi.h that the program includes. */
    int32_t family;
    int32_t handle_size;                 /**< sizeof(MPI_Comm) */
    /**
     * 1 if the fields that follow are set. Only an MPI that is none of the three, or that is linked
     * statically, needs them.
     */
    int32_t is_complete;
    int32_t any_source;                  /**< MPI_ANY_SOURCE */
    int32_t undefined;                   /**< MPI_UNDEFINED */
    int32_t status_size;                 /**< sizeof(MPI_Status) */
    int32_t source_offset;               /**< offsetof(MPI_Status, MPI_SOURCE) */
    int32_t reserved;                    /**< Zero. */
    size_t comm_null;                    /**< MPI_COMM_NULL */
    size_t comm_world;                   /**< MPI_COMM_WORLD */
    size_t comm_self;                    /**< MPI_COMM_SELF */
    size_t uint8;                        /**< MPI_UINT8_T */
    size_t request_null;                 /**< MPI_REQUEST_NULL */
    size_t errors_return;                /**< MPI_ERRORS_RETURN */
    size_t status_ignore;                /**< MPI_STATUS_IGNORE */
    /** The functions, in the order of DIJITSO_MPI_TABLE_FUNCTIONS in this header. */
    dijitso_fn functions[25];
} dijitso_mpi_table;

/**
 * Tells the library which mpi.h the program was compiled with, or hands over its MPI.
 *
 * This header does so when the program starts, for each file that includes mpi.h. A program whose MPI is
 * none of the three families, or is linked statically, defines DIJITSO_MPI_TABLE before it includes this
 * header, in one file, and links MPI: then the header hands over the addresses of the functions as well.
 *
 * @param table      *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT, also if a table comes after the first call with a
 *         communicator.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_mpi_use(const dijitso_mpi_table *table, dijitso_error **error_out);

/**
 * Returns the family of the MPI that the library uses in this process: a DIJITSO_MPI_ value.
 *
 * @return DIJITSO_MPI_NONE if the process has no MPI (yet). MPI need not be initialised.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_mpi_family(void);

/**
 * Returns the bytes of an MPI_Comm of the MPI that the library uses in this process.
 *
 * @return 4 or 8; 0 if the process has no MPI (yet).
 * @local  @threads any  @since 0.1.0
 */
size_t dijitso_mpi_comm_size(void);

/**
 * Returns the integer that stands for no communicator in all functions that end in _fint, with every MPI.
 *
 * The MPI_COMM_NULL of Fortran does the same, where there is an MPI.
 *
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_fint_null(void);

#if DIJITSO_HAVE_MPI
/* The functions of a table, in their order. */
#define DIJITSO_MPI_TABLE_FUNCTIONS                                                                             \
    (dijitso_fn)MPI_Abort, (dijitso_fn)MPI_Comm_create_keyval, (dijitso_fn)MPI_Comm_free, \
    (dijitso_fn)MPI_Comm_get_attr, (dijitso_fn)MPI_Comm_get_errhandler, (dijitso_fn)MPI_Comm_idup, \
    (dijitso_fn)MPI_Comm_rank, (dijitso_fn)MPI_Comm_set_attr, (dijitso_fn)MPI_Comm_set_errhandler, \
    (dijitso_fn)MPI_Comm_size, (dijitso_fn)MPI_Comm_split, (dijitso_fn)MPI_Comm_test_inter, \
    (dijitso_fn)MPI_Errhandler_free, (dijitso_fn)MPI_Error_string, (dijitso_fn)MPI_Finalize, \
    (dijitso_fn)MPI_Finalized, (dijitso_fn)MPI_Get_count, (dijitso_fn)MPI_Get_library_version, \
    (dijitso_fn)MPI_Init, (dijitso_fn)MPI_Initialized, (dijitso_fn)MPI_Iprobe, \
    (dijitso_fn)MPI_Irecv, (dijitso_fn)MPI_Isend, (dijitso_fn)MPI_Issend, \
    (dijitso_fn)MPI_Test

/* Initialises a complete dijitso_mpi_table from the mpi.h of the program, which has to link MPI. */
#define DIJITSO_MPI_TABLE_INIT                                                                                  \
    {                                                                                                           \
        sizeof(dijitso_mpi_table), DIJITSO_MPI_OTHER, (int32_t)sizeof(MPI_Comm), 1, MPI_ANY_SOURCE,             \
        MPI_UNDEFINED, (int32_t)sizeof(MPI_Status), (int32_t)offsetof(MPI_Status, MPI_SOURCE), 0,               \
        (size_t)MPI_COMM_NULL, (size_t)MPI_COMM_WORLD, (size_t)MPI_COMM_SELF, (size_t)MPI_UINT8_T,              \
        (size_t)MPI_REQUEST_NULL, (size_t)MPI_ERRORS_RETURN, (size_t)MPI_STATUS_IGNORE,                         \
        { DIJITSO_MPI_TABLE_FUNCTIONS }                                                                         \
    }

/* The family of this mpi.h. Programs of the standard ABI have its version; others have 0 or less, or none. */
#if defined(MPI_ABI_VERSION) && MPI_ABI_VERSION > 0
#define DIJITSO_MPI_FAMILY DIJITSO_MPI_STANDARD_ABI
#elif defined(OPEN_MPI)
#define DIJITSO_MPI_FAMILY DIJITSO_MPI_OPEN_MPI
#elif defined(MPICH_VERSION) || defined(MPICH_NUMVERSION) || defined(I_MPI_VERSION)
#define DIJITSO_MPI_FAMILY DIJITSO_MPI_MPICH
#else
#define DIJITSO_MPI_FAMILY DIJITSO_MPI_OTHER
#endif

#if defined(__GNUC__) && (defined(DIJITSO_MPI_TABLE) || DIJITSO_MPI_FAMILY != DIJITSO_MPI_OTHER)
/* Tells the library, when the program starts, which mpi.h it was compiled with. A file that includes this header
 * and does not link the library does nothing. */
#pragma weak dijitso_mpi_use

__attribute__((constructor)) static void dijitso_mpi_use_at_start(void)
{
#ifdef DIJITSO_MPI_TABLE
    dijitso_mpi_table table = DIJITSO_MPI_TABLE_INIT;
#else
    dijitso_mpi_table table;
    size_t i;
    for (i = 0; i < sizeof(table); ++i) {
        ((unsigned char *)&table)[i] = 0;
    }
    table.struct_size = sizeof(table);
    table.family = DIJITSO_MPI_FAMILY;
    table.handle_size = (int32_t)sizeof(MPI_Comm);
#endif
    if (dijitso_mpi_use) {
        (void)dijitso_mpi_use(&table, NULL);
    }
}
#endif
#endif

/* ============================================================================================================
 * LANGUAGES: the functions that take a communicator, for languages that cannot name MPI_Comm
 * ============================================================================================================ */

/* One rule makes these from the functions above and below, whose comments hold for them.
 *
 * NAME_comm takes each communicator at its address. Directly after the last one that goes in comes comm_size, the
 * bytes of one MPI_Comm (dijitso_mpi_comm_size()). A communicator that is an output is written to an address. NULL
 * stands for no communicator. With mpi4py: MPI._addressof(comm) and MPI._sizeof(MPI.Comm).
 *
 * NAME_fint takes and writes communicators as integers of Fortran; dijitso_fint_null() stands for none.
 */
/** Does what dijitso_jit() does, with communicators by address. */
dijitso_status dijitso_jit_comm(const char *name, const dijitso_params *params,
                                const dijitso_callbacks *callbacks, const void *comm, size_t comm_size,
                                dijitso_library **library_out, dijitso_error **error_out);
/** Does what dijitso_jit() does, with communicators by integer. */
dijitso_status dijitso_jit_fint(const char *name, const dijitso_params *params,
                                const dijitso_callbacks *callbacks, int32_t comm,
                                dijitso_library **library_out, dijitso_error **error_out);
/** Does what dijitso_jit_many() does, with communicators by address. */
dijitso_status dijitso_jit_many_comm(size_t count, const char *const *names, const dijitso_params *params,
                                     const dijitso_callbacks *callbacks, const void *comm, size_t comm_size,
                                     dijitso_library **libraries_out, dijitso_error **error_out);
/** Does what dijitso_jit_many() does, with communicators by integer. */
dijitso_status dijitso_jit_many_fint(size_t count, const char *const *names, const dijitso_params *params,
                                     const dijitso_callbacks *callbacks, int32_t comm,
                                     dijitso_library **libraries_out, dijitso_error **error_out);
/** Does what dijitso_jit_source() does, with communicators by address. */
dijitso_status dijitso_jit_source_comm(const char *name, const dijitso_params *params, const char *code,
                                       size_t code_length, const char *header_or_null, size_t header_length,
                                       const void *comm, size_t comm_size, dijitso_library **library_out,
                                       dijitso_error **error_out);
/** Does what dijitso_jit_source() does, with communicators by integer. */
dijitso_status dijitso_jit_source_fint(const char *name, const dijitso_params *params, const char *code,
                                       size_t code_length, const char *header_or_null, size_t header_length,
                                       int32_t comm, dijitso_library **library_out,
                                       dijitso_error **error_out);
/** Does what dijitso_jit_text() does, with communicators by address. */
dijitso_status dijitso_jit_text_comm(const char *name, const dijitso_params *params,
                                     const dijitso_text *text, const void *comm, size_t comm_size,
                                     dijitso_library **library_out, dijitso_error **error_out);
/** Does what dijitso_jit_text() does, with communicators by integer. */
dijitso_status dijitso_jit_text_fint(const char *name, const dijitso_params *params,
                                     const dijitso_text *text, int32_t comm, dijitso_library **library_out,
                                     dijitso_error **error_out);
/** Does what dijitso_jit_start() does, with communicators by address. */
dijitso_status dijitso_jit_start_comm(const char *name, const dijitso_params *params,
                                      const dijitso_callbacks *callbacks, const void *comm, size_t comm_size,
                                      dijitso_pending **pending_out, dijitso_error **error_out);
/** Does what dijitso_jit_start() does, with communicators by integer. */
dijitso_status dijitso_jit_start_fint(const char *name, const dijitso_params *params,
                                      const dijitso_callbacks *callbacks, int32_t comm,
                                      dijitso_pending **pending_out, dijitso_error **error_out);
/** Does what dijitso_plan_make() does, with communicators by address. */
dijitso_status dijitso_plan_make_comm(dijitso_plan *plan, const dijitso_make_options *options,
                                      const void *comm, size_t comm_size, dijitso_error **error_out);
/** Does what dijitso_plan_make() does, with communicators by integer. */
dijitso_status dijitso_plan_make_fint(dijitso_plan *plan, const dijitso_make_options *options, int32_t comm,
                                      dijitso_error **error_out);
/** Does what dijitso_mpi_discover_path_access_ranks() does, with communicators by address. */
dijitso_status dijitso_mpi_discover_path_access_ranks_comm(const void *comm, size_t comm_size,
                                                           const char *path, int32_t *ranks_out,
                                                           int32_t capacity, int32_t *count_out,
                                                           dijitso_error **error_out);
/** Does what dijitso_mpi_discover_path_access_ranks() does, with communicators by integer. */
dijitso_status dijitso_mpi_discover_path_access_ranks_fint(int32_t comm, const char *path,
                                                           int32_t *ranks_out, int32_t capacity,
                                                           int32_t *count_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_node_comm() does, with communicators by address. */
dijitso_status dijitso_mpi_create_node_comm_comm(const void *comm, size_t comm_size, const char *path,
                                                 void *node_comm_out, int32_t *node_root_out,
                                                 dijitso_error **error_out);
/** Does what dijitso_mpi_create_node_comm() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_node_comm_fint(int32_t comm, const char *path, int32_t *node_comm_out,
                                                 int32_t *node_root_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_node_roots_comm() does, with communicators by address. */
dijitso_status dijitso_mpi_create_node_roots_comm_comm(const void *comm, size_t comm_size, int32_t node_root,
                                                       void *comm_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_node_roots_comm() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_node_roots_comm_fint(int32_t comm, int32_t node_root, int32_t *comm_out,
                                                       dijitso_error **error_out);
/** Does what dijitso_mpi_create_subcomm() does, with communicators by address. */
dijitso_status dijitso_mpi_create_subcomm_comm(const void *comm, size_t comm_size, const int32_t *ranks,
                                               int32_t count, void *comm_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_subcomm() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_subcomm_fint(int32_t comm, const int32_t *ranks, int32_t count,
                                               int32_t *comm_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role() does, with communicators by address. */
dijitso_status dijitso_mpi_create_comms_and_role_comm(const void *comm, size_t comm_size, const char *path,
                                                      const char *buildon, void *copy_comm_out,
                                                      void *wait_comm_out, int32_t *role_out,
                                                      dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_comms_and_role_fint(int32_t comm, const char *path, const char *buildon,
                                                      int32_t *copy_comm_out, int32_t *wait_comm_out,
                                                      int32_t *role_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_node() does, with communicators by address. */
dijitso_status dijitso_mpi_create_comms_and_role_node_comm(const void *comm, const void *node_comm,
                                                           size_t comm_size, int32_t node_root,
                                                           void *copy_comm_out, void *wait_comm_out,
                                                           int32_t *role_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_node() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_comms_and_role_node_fint(int32_t comm, int32_t node_comm,
                                                           int32_t node_root, int32_t *copy_comm_out,
                                                           int32_t *wait_comm_out, int32_t *role_out,
                                                           dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_root() does, with communicators by address. */
dijitso_status dijitso_mpi_create_comms_and_role_root_comm(const void *comm, const void *node_comm,
                                                           size_t comm_size, int32_t node_root,
                                                           void *copy_comm_out, void *wait_comm_out,
                                                           int32_t *role_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_root() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_comms_and_role_root_fint(int32_t comm, int32_t node_comm,
                                                           int32_t node_root, int32_t *copy_comm_out,
                                                           int32_t *wait_comm_out, int32_t *role_out,
                                                           dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_process() does, with communicators by address. */
dijitso_status dijitso_mpi_create_comms_and_role_process_comm(const void *comm, const void *node_comm,
                                                              size_t comm_size, int32_t node_root,
                                                              void *copy_comm_out, void *wait_comm_out,
                                                              int32_t *role_out, dijitso_error **error_out);
/** Does what dijitso_mpi_create_comms_and_role_process() does, with communicators by integer. */
dijitso_status dijitso_mpi_create_comms_and_role_process_fint(int32_t comm, int32_t node_comm,
                                                              int32_t node_root, int32_t *copy_comm_out,
                                                              int32_t *wait_comm_out, int32_t *role_out,
                                                              dijitso_error **error_out);
/** Does what dijitso_mpi_send_binary() does, with communicators by address. */
dijitso_status dijitso_mpi_send_binary_comm(const void *comm, size_t comm_size, const uint8_t *data,
                                            size_t size, dijitso_error **error_out);
/** Does what dijitso_mpi_send_binary() does, with communicators by integer. */
dijitso_status dijitso_mpi_send_binary_fint(int32_t comm, const uint8_t *data, size_t size,
                                            dijitso_error **error_out);
/** Does what dijitso_mpi_receive_binary() does, with communicators by address. */
dijitso_status dijitso_mpi_receive_binary_comm(const void *comm, size_t comm_size, dijitso_blob *blob,
                                               dijitso_error **error_out);
/** Does what dijitso_mpi_receive_binary() does, with communicators by integer. */
dijitso_status dijitso_mpi_receive_binary_fint(int32_t comm, dijitso_blob *blob, dijitso_error **error_out);
/** Does what dijitso_mpi_bcast_uuid() does, with communicators by address. */
dijitso_status dijitso_mpi_bcast_uuid_comm(const void *comm, size_t comm_size, uint64_t *uuid_out,
                                           dijitso_error **error_out);
/** Does what dijitso_mpi_bcast_uuid() does, with communicators by integer. */
dijitso_status dijitso_mpi_bcast_uuid_fint(int32_t comm, uint64_t *uuid_out, dijitso_error **error_out);
/** Does what dijitso_mpi_gather_global_partitions() does, with communicators by address. */
dijitso_status dijitso_mpi_gather_global_partitions_comm(const void *comm, size_t comm_size,
                                                         uint64_t partition, uint64_t *partitions_out,
                                                         int32_t capacity, int32_t *count_out,
                                                         dijitso_error **error_out);
/** Does what dijitso_mpi_gather_global_partitions() does, with communicators by integer. */
dijitso_status dijitso_mpi_gather_global_partitions_fint(int32_t comm, uint64_t partition,
                                                         uint64_t *partitions_out, int32_t capacity,
                                                         int32_t *count_out, dijitso_error **error_out);

/* ============================================================================================================
 * HOST ROLES: for programs that do their own transport
 * ============================================================================================================ */

#define DIJITSO_ROLE_BUILDER 0           /**< Generates and builds; sends to the receivers, if any. */
#define DIJITSO_ROLE_RECEIVER 1          /**< Receives from the builder into its own cache directory. */
#define DIJITSO_ROLE_WAITER 2            /**< Waits for a builder or receiver that shares its cache directory. */

/**
 * Finds out which ranks share a directory with this rank. Its path may differ between ranks.
 *
 * Ranks of one machine compare device and inode. Between machines one rank of each puts a file into its
 * directory and looks for the files of the others. The findings are exchanged, so all ranks have the same
 * view.
 *
 * @param comm       An intra-communicator.
 * @param path       The directory on this rank; made if it is missing. Taken literally. *Copied*.
 * @param ranks_out  Receives the ranks in ascending order, with this rank.
 * @param capacity   Numbers that fit at ranks_out: at least the size of comm.
 * @param count_out  Receives the number of ranks.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_CACHE
 *         if a rank cannot have its directory, DIJITSO_ERROR_UNSUPPORTED, DIJITSO_ERROR_STATE,
 *         DIJITSO_ERROR_MPI, DIJITSO_ERROR_TIMEOUT.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_discover_path_access_ranks(MPI_Comm comm, const char *path, int32_t *ranks_out,
                                                      int32_t capacity, int32_t *count_out,
                                                      dijitso_error **error_out);

/**
 * Makes a communicator of the ranks that share a directory with this rank.
 *
 * @param comm           An intra-communicator.
 * @param path           As for dijitso_mpi_discover_path_access_ranks().
 * @param node_comm_out  Receives the communicator, in the order of comm; *owned* by the caller, freed by
 *                       MPI_Comm_free().
 * @param node_root_out  Receives the rank in comm of its rank 0; may be NULL.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_node_comm(MPI_Comm comm, const char *path, MPI_Comm *node_comm_out,
                                            int32_t *node_root_out, dijitso_error **error_out);

/**
 * Makes a communicator of the first rank of each node. A node is a group of ranks that share a directory.
 *
 * @param comm       An intra-communicator.
 * @param node_root  From dijitso_mpi_create_node_comm().
 * @param comm_out   Receives the communicator, in the order of comm; *owned* by the caller, freed by
 *                   MPI_Comm_free(). MPI_COMM_NULL on ranks that are not the first of their node.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_node_roots_comm(MPI_Comm comm, int32_t node_root, MPI_Comm *comm_out,
                                                  dijitso_error **error_out);

/**
 * Makes a communicator of some ranks.
 *
 * @param comm       An intra-communicator.
 * @param ranks      Ranks in comm, each once; the same on every rank. They are numbered in this order.
 *                   *Copied*.
 * @param count      Number of ranks.
 * @param comm_out   Receives the communicator; *owned* by the caller, freed by MPI_Comm_free().
 *                   MPI_COMM_NULL on other ranks.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_subcomm(MPI_Comm comm, const int32_t *ranks, int32_t count,
                                          MPI_Comm *comm_out, dijitso_error **error_out);

/**
 * Gives every rank its role in builds that the program organises itself, and the communicators for it.
 *
 * "node": the first rank of each directory builds, the others wait. "root": rank 0 builds and sends to the
 * first rank of each other directory, which receives; the others wait. "process": every rank builds.
 *
 * All ranks call dijitso_jit() with DIJITSO_COMM_NULL. A builder passes generate and, unless copy_comm is
 * MPI_COMM_NULL, a send that calls dijitso_mpi_send_binary() on it. A receiver passes a receive that calls
 * dijitso_mpi_receive_binary() on it. Every rank passes a wait that is a barrier on wait_comm, unless that
 * is MPI_COMM_NULL.
 *
 * dijitso_jit() calls no callback on a rank that has the library. So the ranks first have to agree that some
 * rank misses it, and a rank that was answered without its callbacks has to do their part afterwards;
 * examples/c/04_roles shows how.
 *
 * @param comm           An intra-communicator. DIJITSO_COMM_NULL makes this process a builder; MPI is not
 *                       touched.
 * @param path           The cache directory on this rank, or a directory beside it. *Copied*.
 * @param buildon        "node", "root" or "process", the same on every rank. *Copied*.
 * @param copy_comm_out  Receives the communicator of builder (rank 0) and receivers, or MPI_COMM_NULL;
 *                       *owned* by the caller, freed by MPI_Comm_free(), like wait_comm_out.
 * @param wait_comm_out  Receives the communicator of the ranks that share a directory, or MPI_COMM_NULL.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role(MPI_Comm comm, const char *path, const char *buildon,
                                                 MPI_Comm *copy_comm_out, MPI_Comm *wait_comm_out,
                                                 int32_t *role_out, dijitso_error **error_out);

/**
 * Does dijitso_mpi_create_comms_and_role() with "node", for nodes that are known already.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      From dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives MPI_COMM_NULL.
 * @param wait_comm_out  Receives a communicator of the ranks of node_comm; *owned* by the caller, freed by
 *                       MPI_Comm_free(), as is node_comm.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_node(MPI_Comm comm, MPI_Comm node_comm, int32_t node_root,
                                                      MPI_Comm *copy_comm_out, MPI_Comm *wait_comm_out,
                                                      int32_t *role_out, dijitso_error **error_out);

/**
 * Does dijitso_mpi_create_comms_and_role() with "root", for nodes that are known already.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      From dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives a communicator of the first rank of each node, MPI_COMM_NULL on other
 *                       ranks; *owned* by the caller, freed by MPI_Comm_free(), like wait_comm_out.
 * @param wait_comm_out  Receives a communicator of the ranks of node_comm.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_root(MPI_Comm comm, MPI_Comm node_comm, int32_t node_root,
                                                      MPI_Comm *copy_comm_out, MPI_Comm *wait_comm_out,
                                                      int32_t *role_out, dijitso_error **error_out);

/**
 * Does dijitso_mpi_create_comms_and_role() with "process", for nodes that are known already.
 *
 * If ranks that share a directory all build in it, one of them builds each library and the others find it. A
 * rank that is to have a library of its own needs a cache.cache_dir of its own.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      From dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      From dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives MPI_COMM_NULL.
 * @param wait_comm_out  Receives MPI_COMM_NULL.
 * @param role_out       Receives DIJITSO_ROLE_BUILDER.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_process(MPI_Comm comm, MPI_Comm node_comm,
                                                         int32_t node_root, MPI_Comm *copy_comm_out,
                                                         MPI_Comm *wait_comm_out, int32_t *role_out,
                                                         dijitso_error **error_out);

/**
 * Sends bytes from rank 0 to all other ranks, which call dijitso_mpi_receive_binary().
 *
 * Before the bytes are sent, the ranks agree that all have memory for them.
 *
 * @param comm       An intra-communicator, such as the copy_comm of dijitso_mpi_create_comms_and_role().
 *                   This is its rank 0.
 * @param data       *Borrowed* for the call; may be NULL if size is 0.
 * @param size       Bytes; may be 0, and may exceed 2 GiB.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT if another rank than 0
 *         sends, DIJITSO_ERROR_CACHE if a rank has not enough memory, else as
 *         dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_send_binary(MPI_Comm comm, const uint8_t *data, size_t size,
                                       dijitso_error **error_out);

/**
 * Receives the bytes that rank 0 sends by dijitso_mpi_send_binary().
 *
 * @param comm       An intra-communicator. This is not its rank 0.
 * @param blob       Receives the bytes: the blob of a receive callback, or one of your own. *Borrowed* for
 *                   the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_send_binary().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_receive_binary(MPI_Comm comm, dijitso_blob *blob, dijitso_error **error_out);

/**
 * Gives all ranks the same number, which is unique.
 *
 * @param comm       An intra-communicator.
 * @param uuid_out   Receives the number.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_bcast_uuid(MPI_Comm comm, uint64_t *uuid_out, dijitso_error **error_out);

/**
 * Gathers the distinct numbers that the ranks pass, in ascending order. Their count is the number of groups.
 *
 * @param comm            An intra-communicator.
 * @param partition       The number of this rank.
 * @param partitions_out  Receives the numbers.
 * @param capacity        Numbers that fit at partitions_out: at least the size of comm.
 * @param count_out       Receives how many numbers there are.
 * @param error_out       Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_gather_global_partitions(MPI_Comm comm, uint64_t partition,
                                                    uint64_t *partitions_out, int32_t capacity,
                                                    int32_t *count_out, dijitso_error **error_out);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* DIJITSO_H */
