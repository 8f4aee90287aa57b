/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * dijitso: distributed just-in-time building of shared libraries.
 *
 * This file is generated from the Rust sources (src/capi). Do not edit it.
 *
 * WHAT IT DOES
 *
 *   A simulation code that generates code while it runs hands over C or C++ (dijitso_jit_source()), or a name and a
 *   callback that generates it (dijitso_jit()). It gets back a loaded shared library: from memory, from the disk cache, or by generating, compiling,
 *   distributing and loading it - on every rank of a communicator, without a race, a hang or a broken file.
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
 *       if (dijitso_jit_source("square", NULL, code, strlen(code), NULL, 0, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK
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
 *   The key is the text: another text is another library. With dijitso_jit() the key is the name (and the parameters):
 *   generate is not called if the name is in the cache, so a generator that changes has to change the name, or
 *   cache.check_source has to be set.
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
 *   only. No exception, panic or signal of this library crosses the border. Sources, headers, libraries and blobs that
 *   find no memory are an error like any other; a program that has no memory even for a few bytes is ended.
 *
 * THE LOG
 *
 *   Warnings, and what compilers refuse, go to standard error, of several ranks by rank 0 alone (errors by every
 *   rank); dijitso_log_set_handler() lets a function of yours have them, dijitso_log_set_level() and the environment
 *   variable DIJITSO_LOG say how much and where to.
 *
 * LISTS
 *
 *   What may be many is not given in arrays: a visitor of yours is called for one thing after the other, with your
 *   user_data, and ends the visit by any value but 0. Visitors run on the calling thread, must not throw, unwind or
 *   longjmp out, and may call the library. The structures that they are given begin with struct_size, and grow at
 *   the end only. Parameters come first and name the cache: NULL for the defaults.
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
 *
 *   A thread that calls needs a stack of 64 KiB: a call takes at most 40 KiB of it, beside what your callbacks, the
 *   initialisers of your libraries and MPI take. A call within generate takes as much again.
 *
 *   Calls may be made until the process ends: in exit handlers, and in destructors of static objects and of variables of
 *   threads. With a communicator they have to come before MPI_Finalize, as any.
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

/* Initialises a dijitso_text: dijitso_text text = DIJITSO_TEXT_INIT; */
#define DIJITSO_TEXT_INIT { sizeof(dijitso_text), NULL, 0, NULL, 0, NULL, 0 }


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
 * A file of the cache cannot be read or written, or is refused; or the cache is frozen (cache.frozen) and has not got
 * what is asked for.
 */
#define DIJITSO_ERROR_CACHE 10

/**
 * The generate callback returned non-zero, handed over nothing, or asked for what it was to generate.
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
 * The dynamic loader refuses the library, or one of its initialisers throws a C++ exception.
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
 * Details for those who look for a fault in the library.
 */
#define DIJITSO_LOG_DEBUG 10

/**
 * What the library does.
 */
#define DIJITSO_LOG_INFO 20

/**
 * Something is not as it should be, and the library has found a way. The level at first.
 */
#define DIJITSO_LOG_WARNING 30

/**
 * Something has failed: a compiler has refused a source.
 */
#define DIJITSO_LOG_ERROR 40

/**
 * Above everything: as a level it means silence.
 */
#define DIJITSO_LOG_OFF 50

/**
 * The name by which others ask for it (DT_SONAME).
 */
#define DIJITSO_ELF_SONAME 0

/**
 * A library that it needs (DT_NEEDED).
 */
#define DIJITSO_ELF_NEEDED 1

/**
 * A directory in which the loader looks for what it needs (DT_RUNPATH, else DT_RPATH).
 */
#define DIJITSO_ELF_RUNPATH 2

/**
 * The identifier that the linker gave this very build, hexadecimal.
 */
#define DIJITSO_ELF_BUILD_ID 3

/**
 * Headers.
 */
#define DIJITSO_CATEGORY_INC 1

/**
 * Sources.
 */
#define DIJITSO_CATEGORY_SRC 2

/**
 * Libraries.
 */
#define DIJITSO_CATEGORY_LIB 4

/**
 * Build logs.
 */
#define DIJITSO_CATEGORY_LOG 8

/**
 * All of them.
 */
#define DIJITSO_CATEGORY_ALL 15

/**
 * It cannot be used.
 */
#define DIJITSO_SEVERITY_BROKEN 0

/**
 * It is built again at its next use.
 */
#define DIJITSO_SEVERITY_STALE 1

/**
 * It takes room.
 */
#define DIJITSO_SEVERITY_LEFTOVER 2

/**
 * It was left as it is.
 */
#define DIJITSO_REPAIR_NO 0

/**
 * It has been set aside or removed.
 */
#define DIJITSO_REPAIR_DONE 1

/**
 * A living program is working on it.
 */
#define DIJITSO_REPAIR_BUSY 2

/**
 * It could not be.
 */
#define DIJITSO_REPAIR_FAILED 3

/**
 * It was not there, and is now.
 */
#define DIJITSO_IMPORT_NEW 0

/**
 * The same was there.
 */
#define DIJITSO_IMPORT_THERE 1

/**
 * A whole entry of this signature was there, with other contents; it stays.
 */
#define DIJITSO_IMPORT_OTHER 2

/**
 * It cannot be used on this machine.
 */
#define DIJITSO_IMPORT_REFUSED 3

/**
 * Generates and builds, and sends to the receivers if there are any.
 */
#define DIJITSO_ROLE_BUILDER 0

/**
 * Receives what the builder sends, into its own cache directory.
 */
#define DIJITSO_ROLE_RECEIVER 1

/**
 * Waits for a builder or receiver that shares its cache directory.
 */
#define DIJITSO_ROLE_WAITER 2

/**
 * Bytes of any length: what a receive callback fills, and what functions that read the cache fill for you. A
 * callback borrows one until it returns; others are owned by the caller, made by dijitso_blob_new() and freed by
 * dijitso_blob_free(). One thread at a time.
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
 * A call that has been started. Owned by the caller, consumed by dijitso_jit_finish(), or freed by
 * dijitso_pending_free().
 */
typedef struct dijitso_pending dijitso_pending;

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
 * builder, whatever communicator they are given, and what they build travels with this library to every receiver. A
 * call for what is just being generated, by whatever way (a asks for b, which asks for a), and one within 64 callbacks
 * that are under way within each other, is DIJITSO_ERROR_GENERATE with the chain of names; the same name with another
 * signature is fine. If what a callback has built is removed by another program before it is used, the callback is
 * called once more. It must not wait for another process, or a thread of its own, that asks for the same library: that
 * one waits for this to be built.
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

/**
 * A text for dijitso_jit_text(). Initialise it by DIJITSO_TEXT_INIT and set what you need; all of it is *borrowed* for
 * the call.
 */
typedef struct dijitso_text {
    /**
     * sizeof(dijitso_text), by which an older or newer library knows which fields are there.
     */
    size_t struct_size;
    /**
     * The source code, C or C++ as build.language says; any bytes. May be NULL when code_length is 0.
     */
    const char *code;
    /**
     * Bytes of it.
     */
    size_t code_length;
    /**
     * A header that code and dependants may include as "SIGNATURE.h"; NULL for none.
     */
    const char *header;
    /**
     * Bytes of it.
     */
    size_t header_length;
    /**
     * Signatures of libraries to be linked to, see dijitso_library_signature(); NULL for none.
     */
    const char *const *dependencies;
    /**
     * How many.
     */
    size_t dependency_count;
} dijitso_text;

/**
 * What a log handler is told. Later versions may have further fields at the end.
 */
typedef struct dijitso_log_record {
    /**
     * sizeof(dijitso_log_record) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_LOG_ values.
     */
    int32_t level;
    /**
     * The rank in the communicator that is in use on this thread, or was last in this process; -1 where none is known.
     */
    int32_t rank;
    /**
     * The number of ranks of that communicator, 0 where none is known.
     */
    int32_t ranks;
    /**
     * One paragraph; with a failed build, the compiler's first error is in it. *Borrowed* for the call, as the following.
     */
    const char *message;
    /**
     * The name of this host.
     */
    const char *host;
    /**
     * The part of the library that speaks, as "dijitso::cache".
     */
    const char *target;
} dijitso_log_record;

/**
 * Takes a record of the log, on any thread, during a call of the library. It must not call the library.
 *
 * @param user_data  That of dijitso_log_set_handler().
 * @param record     *Borrowed* for the call.
 */
typedef void (*dijitso_log_fn)(void *user_data, const struct dijitso_log_record *record);

/**
 * Takes one text after the other.
 *
 * @param user_data  That of the call.
 * @param text       *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_text_fn)(void *user_data, const char *text);

/**
 * What a library says of itself. Later versions may have further fields at the end.
 */
typedef struct dijitso_elf_item {
    /**
     * sizeof(dijitso_elf_item) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_ELF_ values.
     */
    int32_t kind;
    /**
     * As the file has it. *Borrowed* for the callback, as the following.
     */
    const char *text;
    /**
     * For a needed library: where the loader would find it now, as far as the file, LD_LIBRARY_PATH and the loader's
     * cache tell; "" if nowhere, and for other kinds.
     */
    const char *path;
} dijitso_elf_item;

/**
 * Takes one item after the other.
 *
 * @param user_data  That of the call.
 * @param item       *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_elf_fn)(void *user_data, const struct dijitso_elf_item *item);

/**
 * The names of the files of a signature, whether they are there or not. Later versions may have further fields at the
 * end.
 */
typedef struct dijitso_file_names {
    /**
     * sizeof(dijitso_file_names) in the library.
     */
    size_t struct_size;
    /**
     * The library as linkers name it after -l: without directory, "lib" and ".so". *Borrowed* for the callback, as the
     * following.
     */
    const char *lib_name;
    /**
     * The library without its directory.
     */
    const char *lib_basename;
    /**
     * The library.
     */
    const char *lib_path;
    /**
     * The header without its directory, as sources include it.
     */
    const char *inc_basename;
    /**
     * The header.
     */
    const char *inc_path;
    /**
     * The source without its directory, as it is compiled.
     */
    const char *src_basename;
    /**
     * The source; compressed, ".gz" is added.
     */
    const char *src_path;
    /**
     * The log.
     */
    const char *log_path;
    /**
     * The folder of a failed build.
     */
    const char *fail_dir;
} dijitso_file_names;

/**
 * Takes the names of a signature's files.
 *
 * @param user_data  That of the call.
 * @param names      *Borrowed* for the callback.
 * @return Not used; 0.
 */
typedef int32_t (*dijitso_file_names_fn)(void *user_data, const struct dijitso_file_names *names);

/**
 * An entry of the cache: all files of one signature. Later versions may have further fields at the end.
 */
typedef struct dijitso_entry {
    /**
     * sizeof(dijitso_entry) in the library.
     */
    size_t struct_size;
    /**
     * *Borrowed* for the callback, as the following.
     */
    const char *signature;
    /**
     * The name that the signature was made of.
     */
    const char *name;
    /**
     * The sum of the DIJITSO_CATEGORY_ values of the files that are there. Without a library it is what is left of an
     * entry.
     */
    int32_t categories;
    /**
     * Bytes of all files.
     */
    uint64_t size;
    /**
     * Bytes of the disk that they take.
     */
    uint64_t allocated;
    /**
     * When it was published: seconds since 1970.
     */
    int64_t modified;
} dijitso_entry;

/**
 * Takes one entry after the other.
 *
 * @param user_data  That of the call.
 * @param entry      *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_entry_fn)(void *user_data, const struct dijitso_entry *entry);

/**
 * A file of the cache. Later versions may have further fields at the end.
 */
typedef struct dijitso_file {
    /**
     * sizeof(dijitso_file) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_CATEGORY_ values.
     */
    int32_t category;
    /**
     * Of the entry that it belongs to. *Borrowed* for the callback, as the following.
     */
    const char *signature;
    /**
     * Where it is.
     */
    const char *path;
    /**
     * Bytes.
     */
    uint64_t size;
    /**
     * When it was last changed: seconds since 1970.
     */
    int64_t modified;
} dijitso_file;

/**
 * Takes one file after the other.
 *
 * @param user_data  That of the call.
 * @param file       *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_file_fn)(void *user_data, const struct dijitso_file *file);

/**
 * A line of a file of the cache. Later versions may have further fields at the end.
 */
typedef struct dijitso_line {
    /**
     * sizeof(dijitso_line) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_CATEGORY_ values.
     */
    int32_t category;
    /**
     * Of the entry that the file belongs to. *Borrowed* for the callback, as the following.
     */
    const char *signature;
    /**
     * The file.
     */
    const char *path;
    /**
     * From 1.
     */
    uint64_t number;
    /**
     * The line, without its end.
     */
    const char *text;
} dijitso_line;

/**
 * Takes one line after the other.
 *
 * @param user_data  That of the call.
 * @param line       *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_line_fn)(void *user_data, const struct dijitso_line *line);

/**
 * Something in a cache that is not as it should be. Later versions may have further fields at the end.
 */
typedef struct dijitso_finding {
    /**
     * sizeof(dijitso_finding) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_SEVERITY_ values.
     */
    int32_t severity;
    /**
     * What has become of it: one of the DIJITSO_REPAIR_ values.
     */
    int32_t mended;
    /**
     * What it is, in one word, as "library-altered". *Borrowed* for the callback, as the following.
     */
    const char *what;
    /**
     * The entry, "" for what belongs to none.
     */
    const char *signature;
    /**
     * The file.
     */
    const char *path;
    /**
     * What it is, in words.
     */
    const char *text;
    /**
     * What to do about it.
     */
    const char *advice;
    /**
     * Who is busy with it, or why it could not be mended; "" else.
     */
    const char *reason;
} dijitso_finding;

/**
 * Takes one finding after the other.
 *
 * @param user_data  That of the call.
 * @param finding    *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_finding_fn)(void *user_data, const struct dijitso_finding *finding);

/**
 * Something that was removed to make room. Later versions may have further fields at the end.
 */
typedef struct dijitso_removed {
    /**
     * sizeof(dijitso_removed) in the library.
     */
    size_t struct_size;
    /**
     * The entry, "" for what belongs to none. *Borrowed* for the callback, as the following.
     */
    const char *signature;
    /**
     * Its library, or the file or folder.
     */
    const char *path;
    /**
     * Bytes of the disk.
     */
    uint64_t bytes;
    /**
     * Seconds since it was last used.
     */
    double idle;
} dijitso_removed;

/**
 * Takes what was removed, one thing after the other.
 *
 * @param user_data  That of the call.
 * @param removed    *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error: it was removed before.
 */
typedef int32_t (*dijitso_removed_fn)(void *user_data, const struct dijitso_removed *removed);

/**
 * What programs on one host have been answered by a cache. Later versions may have further fields at the end.
 */
typedef struct dijitso_stats {
    /**
     * sizeof(dijitso_stats) in the library.
     */
    size_t struct_size;
    /**
     * The host. *Borrowed* for the callback.
     */
    const char *host;
    /**
     * Calls that were answered from memory.
     */
    uint64_t memory_hits;
    /**
     * Calls for which the library was in the cache.
     */
    uint64_t disk_hits;
    /**
     * Calls that built.
     */
    uint64_t builds;
    /**
     * Calls that could not build.
     */
    uint64_t failures;
    /**
     * Libraries that came from another rank.
     */
    uint64_t received;
    /**
     * Calls for which another program built.
     */
    uint64_t waited;
    /**
     * Seconds that compilers took.
     */
    double compiling;
    /**
     * Seconds that compilers once took for what was found in the cache.
     */
    double saved;
} dijitso_stats;

/**
 * Takes the numbers of one host after the other.
 *
 * @param user_data  That of the call.
 * @param stats      *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error.
 */
typedef int32_t (*dijitso_stats_fn)(void *user_data, const struct dijitso_stats *stats);

/**
 * What became of an entry of a bundle. Later versions may have further fields at the end.
 */
typedef struct dijitso_imported {
    /**
     * sizeof(dijitso_imported) in the library.
     */
    size_t struct_size;
    /**
     * One of the DIJITSO_IMPORT_ values.
     */
    int32_t outcome;
    /**
     * *Borrowed* for the callback, as the following.
     */
    const char *signature;
    /**
     * Why it was refused; "" else.
     */
    const char *reason;
} dijitso_imported;

/**
 * Takes one entry of a bundle after the other.
 *
 * @param user_data  That of the call.
 * @param imported   *Borrowed* for the callback.
 * @return 0 to go on; any other value ends the visit, which is no error: all were imported before.
 */
typedef int32_t (*dijitso_imported_fn)(void *user_data, const struct dijitso_imported *imported);

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
 * Makes a blob, with nothing in it.
 *
 * @param blob_out   Receives the blob, *owned* by the caller, freed by dijitso_blob_free().
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_blob_new(struct dijitso_blob **blob_out, struct dijitso_error **error_out);

/**
 * Makes room for what is to be received.
 *
 * @param blob  *Borrowed* for the call; NULL gives NULL.
 * @param size  Bytes; in a receive callback, as passed to the send callback of the builder.
 * @return A buffer of that size to write into, all zero at first, *borrowed* until the next call that changes the
 *         blob, its end, or the return of the callback; NULL when there is not enough memory. Not NULL when size
 *         is 0.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
uint8_t *dijitso_blob_resize(struct dijitso_blob *blob,
                             size_t size);

/**
 * The bytes of a blob. A NUL follows them, so that what is a text can be used as one.
 *
 * @param blob  *Borrowed* for the call; NULL gives "".
 * @return *Borrowed* until the blob is changed or freed; never NULL.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
const uint8_t *dijitso_blob_data(const struct dijitso_blob *blob);

/**
 * The number of bytes of a blob.
 *
 * @param blob  *Borrowed* for the call; NULL gives 0.
 * @local  @threads one at a time for each blob  @since 0.1.0
 */
size_t dijitso_blob_size(const struct dijitso_blob *blob);

/**
 * Frees a blob.
 *
 * @param blob  *Owned* by the caller until now, made by dijitso_blob_new(); NULL is fine.
 * @local  @threads any, once  @since 0.1.0
 */
void dijitso_blob_free(struct dijitso_blob *blob);

/**
 * Finds a function (or an object) of a library.
 *
 * @param library    *Borrowed* for the call.
 * @param symbol     Its name as in C, so extern "C" in C++. *Copied*.
 * @param fn_out     Receives the address, NULL on an error. It stays valid for ever, even after
 *                   dijitso_library_free(), because libraries are never unloaded.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_SYMBOL if there is no such symbol (the message
 *         names the nearest ones, and says if the function is there by its C++ name or is not exported), or
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
 * answered from memory. Answers from memory may all be the same handle; it is freed as often as it was given.
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
 * seconds (3 to 30 with a timeout below 2 minutes) the log says for whom. When the time is over, those who wait find out together who is late (a builder
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
 * @param params       *Borrowed* for the call; NULL for the defaults, the config file and the environment: read at
 *                     the first such call, and again when the environment has changed.
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

/**
 * Gives the library of a text, with a communicator or without: compiled the first time that this text is asked for,
 * else from memory or the disk cache.
 *
 * As dijitso_jit() with a generate callback that hands over this text, but the text is part of the signature: code,
 * header, and all that the build depends on. Another text is another library, also with cache.signature = "name",
 * where the signature is the name and a hash of the text. No callback is called; within a generate callback the
 * call is local to the builder, as dijitso_jit() is.
 *
 * With a communicator every rank passes the text, and it is that of the builder that is compiled. If ranks pass
 * different texts, all return DIJITSO_ERROR_RANKS_DISAGREE.
 *
 * @param name            What files and messages are called by: as for dijitso_jit(). Equal names with different texts
 *                        are different libraries. *Copied*.
 * @param params          *Borrowed* for the call; NULL for the defaults, the config file and the environment.
 * @param code            C or C++, as build.language says; any bytes. *Borrowed* for the call. May be NULL when
 *                        code_length is 0.
 * @param code_length     Bytes, without a terminating NUL.
 * @param header_or_null  A header that code and dependants may include as "SIGNATURE.h". *Borrowed* for the call. NULL
 *                        for none.
 * @param header_length   Bytes of it; 0 when it is NULL.
 * @param comm            As for dijitso_jit().
 * @param library_out     Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out       Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK or any status; see the codes.
 * @collective over comm  @threads as for dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_source(const char *name,
                                  const struct dijitso_params *params,
                                  const char *code,
                                  size_t code_length,
                                  const char *header_or_null,
                                  size_t header_length,
                                  MPI_Comm comm,
                                  struct dijitso_library **library_out,
                                  struct dijitso_error **error_out);

/**
 * As dijitso_jit_source(), for a text that is linked to other libraries of the cache.
 *
 * @param name         As for dijitso_jit_source(). *Copied*.
 * @param params       *Borrowed* for the call; NULL for the defaults, the config file and the environment.
 * @param text         *Borrowed* for the call.
 * @param comm         As for dijitso_jit().
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK or any status; see the codes.
 * @collective over comm  @threads as for dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_text(const char *name,
                                const struct dijitso_params *params,
                                const struct dijitso_text *text,
                                MPI_Comm comm,
                                struct dijitso_library **library_out,
                                struct dijitso_error **error_out);

/**
 * The first part of dijitso_jit(): on a miss generates the source and leaves it to be compiled by threads of the
 * library, so that the caller can start further calls meanwhile. The second part is dijitso_jit_finish(). Modules
 * that do not need each other are built at the same time if all of them are started before one is finished:
 * @code
 * dijitso_jit_start("mass", params, &callbacks, comm, &mass, &error);
 * dijitso_jit_start("stiffness", params, &callbacks, comm, &stiffness, &error);
 * dijitso_jit_finish(mass, &mass_library, &error);
 * dijitso_jit_finish(stiffness, &stiffness_library, &error);
 * @endcode
 *
 * generate is called within this function, on its thread, and by no other thread; with a communicator on ranks that
 * the library chooses: calls that miss are dealt out in turn over the hosts, then the ranks, that share a directory
 * (parallel.buildon "node"; not with processors of different kinds), so any rank has to be able to generate. Where
 * another program builds the same just now, this function does not wait for it; dijitso_jit_finish() does, and
 * calls generate if that program fails. No other callback is called before dijitso_jit_finish().
 *
 * At most build.max_compilers compilers run at once, by default one for each core of the job on this host, even if a
 * launcher has bound this rank to one of them; see build.cores. No thread of the library calls MPI.
 *
 * With a communicator: all ranks start the same calls in the same order. They compare name, parameters and
 * callbacks as in dijitso_jit(); a rank that differs, or that makes another call, is DIJITSO_ERROR_RANKS_DISAGREE on
 * all. Other calls on the communicator may be made between start and finish. A call that memory answers takes no
 * communication, neither in its start nor in its finish.
 *
 * Within a generate callback, start and finish are local to the builder as dijitso_jit() is. What is started there
 * is finished or freed there: a callback that returns with calls that are neither fails, with
 * DIJITSO_ERROR_GENERATE.
 *
 * When the process ends by exit() or the return of main, builds under way are given up and their compilers ended.
 *
 * @param name         As in dijitso_jit().
 * @param params       *Copied*; NULL for the defaults, the config file and the environment.
 * @param callbacks    *Copied*; the functions and user_data are used until the call is finished or freed. NULL where
 *                     a hit is expected.
 * @param comm         As in dijitso_jit(). It must not be freed before the call is finished.
 * @param pending_out  Receives the call, *owned* by the caller, consumed by dijitso_jit_finish() or freed by
 *                     dijitso_pending_free(); NULL on an error.
 * @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return DIJITSO_OK, or what is wrong with the call itself or the cache. What fails in generating or compiling is
 *         told by dijitso_jit_finish(), on all ranks.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_start(const char *name,
                                 const struct dijitso_params *params,
                                 const struct dijitso_callbacks *callbacks,
                                 MPI_Comm comm,
                                 struct dijitso_pending **pending_out,
                                 struct dijitso_error **error_out);

/**
 * The second part of dijitso_jit(): waits until what dijitso_jit_start() has begun is done, hands it over to where it
 * is needed, and loads it on all ranks.
 *
 * With a communicator: all ranks finish the calls that they have started in the same order, which need not be that of
 * the starts; a rank that finishes another one, or makes another call, is DIJITSO_ERROR_RANKS_DISAGREE on all. That
 * call is lost then, like any other that fails. Whatever fails wherever, every rank returns the same status and the
 * same message; the other calls are not concerned.
 *
 * @param pending      *Owned* by the caller until now, whatever the result; what it borrows is not used afterwards.
 *                     Not NULL. One that was started within a generate callback is finished within the same one; one
 *                     that was started outside cannot be finished within one: DIJITSO_ERROR_STATE.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller, freed by dijitso_error_free(); may be NULL.
 * @return As dijitso_jit(). DIJITSO_ERROR_STATE in a process that was forked after the start.
 * @collective over the communicator of the start  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_jit_finish(struct dijitso_pending *pending,
                                  struct dijitso_library **library_out,
                                  struct dijitso_error **error_out);

/**
 * Gives up a call that has been started: a compiler that runs for it is ended soon, unless another call has started
 * the same. Nothing is sent to other ranks, which have to give it up as well.
 *
 * @param pending  *Owned* by the caller until now; NULL is fine.
 * @local  @threads that of the start  @since 0.1.0
 */
void dijitso_pending_free(struct dijitso_pending *pending);

/**
 * Sets the level of the log: records below it are not shown.
 *
 * Without a handler, records go to standard error: of several ranks only rank 0 shows warnings and what is below
 * them, every rank shows errors. The environment variable DIJITSO_LOG, read at the first call of the library, says
 * otherwise: words with commas between them, of which a level (debug, info, warning, error, off, a number) takes the
 * place of DIJITSO_LOG_WARNING, "ranks=all" lets every rank speak, "file=PATH" adds the records to a file instead,
 * and "json=PATH" besides adds records and finished calls to a file, as a line of JSON each, for tools.
 *
 * @param level      One of the DIJITSO_LOG_ values, or any number between them.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT for a negative number, or DIJITSO_ERROR_STATE in a Rust program
 *         that has a logger of its own, which then gets the records.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_set_level(int32_t level,
                                     struct dijitso_error **error_out);

/**
 * The level of the log.
 *
 * @return One of the DIJITSO_LOG_ values, or whatever else it has been set to.
 * @local  @threads any  @since 0.1.0
 */
int32_t dijitso_log_level(void);

/**
 * Lets a function of yours have the records, on every rank, in place of standard error or a file.
 *
 * When this returns, the former handler is not running any more and will not be called again.
 *
 * @param handler    The function; NULL for none, as at first.
 * @param user_data  Passed to it. It has to live until the handler is replaced.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK; DIJITSO_ERROR_STATE within a handler, or in a Rust program that has a logger of its own.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_set_handler(dijitso_log_fn handler,
                                       void *user_data,
                                       struct dijitso_error **error_out);

/**
 * The handler that was set last, so that another one may pass records on to it, or put it back.
 *
 * @param handler_out    Receives the function, NULL for none.
 * @param user_data_out  Receives what is passed to it; may be NULL.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK or DIJITSO_ERROR_INVALID_ARGUMENT.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_log_get_handler(dijitso_log_fn *handler_out,
                                       void **user_data_out,
                                       struct dijitso_error **error_out);

/**
 * Gives the signature that dijitso_jit() uses for a name and parameters on this machine.
 *
 * The compiler may be asked for its version, once for each cache. On a communicator whose ranks run on different
 * kinds of machines each of them has its own.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param name       As for dijitso_jit(). *Copied*.
 * @param blob       Receives the signature, as text. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_signature(const struct dijitso_params *params,
                                 const char *name,
                                 struct dijitso_blob *blob,
                                 struct dijitso_error **error_out);

/**
 * Gives the command that builds a library, word by word. Nothing is run and no directory is made.
 *
 * It is to be run in the folder of the source, which is named after the signature, as dijitso_cache_file_names()
 * tells. The compiler may be asked what it is.
 *
 * @param params        *Borrowed* for the call; NULL for the defaults.
 * @param signature     *Copied*.
 * @param dependencies  Signatures of libraries to link to. *Copied*. May be NULL when count is 0.
 * @param count         How many.
 * @param visitor       Called for each word.
 * @param user_data     Passed to it.
 * @param error_out     Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_build_command(const struct dijitso_params *params,
                                     const char *signature,
                                     const char *const *dependencies,
                                     size_t count,
                                     dijitso_text_fn visitor,
                                     void *user_data,
                                     struct dijitso_error **error_out);

/**
 * Loads a library of the cache by its signature, with all that it needs; nothing is built.
 *
 * @param params       *Borrowed* for the call; NULL for the defaults.
 * @param signature    *Copied*.
 * @param library_out  Receives the library, *owned* by the caller, freed by dijitso_library_free().
 * @param error_out    Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE when it is not there
 *         or not whole, or DIJITSO_ERROR_LOAD.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_library_open(const struct dijitso_params *params,
                                    const char *signature,
                                    struct dijitso_library **library_out,
                                    struct dijitso_error **error_out);

/**
 * Reads a library of the cache with all that has to travel with it (header, source, log, and the same of what it
 * needs), as the bytes that a builder sends to receivers.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param blob       Receives the bytes. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when it is not
 *         there or not whole.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_read_binary(const struct dijitso_params *params,
                                         const char *signature,
                                         struct dijitso_blob *blob,
                                         struct dijitso_error **error_out);

/**
 * Puts what dijitso_cache_read_binary() gave into a cache, of another process, host or path.
 *
 * The bytes are checked before anything is written, and appear in one step; a library that is there already stays.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  That of the library in it. *Copied*.
 * @param data       The bytes. *Borrowed* for the call.
 * @param size       How many.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, DIJITSO_ERROR_CACHE when the bytes are cut,
 *         altered or bring another library, or the status of the builder when they say that it has failed.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_write_binary(const struct dijitso_params *params,
                                          const char *signature,
                                          const uint8_t *data,
                                          size_t size,
                                          struct dijitso_error **error_out);

/**
 * Tells what any shared library needs, from its ELF headers; nothing of it is run, and neither is ldd.
 *
 * Its name comes first, then its identifier, its directories in their order, and what it needs in its order. What
 * these need in their turn, asking for them tells.
 *
 * @param path       The library: a plain file of at most 4 GiB, or a link to one. *Copied*.
 * @param visitor    Called for each item.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, or DIJITSO_ERROR_CACHE when the file cannot be read or is no
 *         ELF file of 64 bits.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_elf_read(const char *path,
                                dijitso_elf_fn visitor,
                                void *user_data,
                                struct dijitso_error **error_out);

/**
 * Gives the names of the files of a signature. No file is looked at.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param visitor    Called once.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, also for what is no signature, or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_file_names(const struct dijitso_params *params,
                                        const char *signature,
                                        dijitso_file_names_fn visitor,
                                        void *user_data,
                                        struct dijitso_error **error_out);

/**
 * Makes the directories of the cache, for this user only. dijitso_jit() does so by itself when it builds.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also where a file stands in the place of one.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_make_dirs(const struct dijitso_params *params,
                                       struct dijitso_error **error_out);

/**
 * Tells which libraries of the cache an entry is linked to, read from its ELF headers; neither it nor ldd is run.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param visitor    Called for each: kind is DIJITSO_ELF_NEEDED, text its signature, path its file, or "" where
 *                   that is not there.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when the entry is
 *         not there.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_dependencies(const struct dijitso_params *params,
                                          const char *signature,
                                          dijitso_elf_fn visitor,
                                          void *user_data,
                                          struct dijitso_error **error_out);

/**
 * Lists what is in the cache: one entry for each signature, those with a library first, each part in the order of
 * the signatures. No file is opened.
 *
 * The cache is that of "cache.cache_dir". Leftovers of programs that were killed are not listed.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param visitor    Called for each entry.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also where there is no cache yet; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE when a directory cannot be read.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_list(const struct dijitso_params *params,
                                  dijitso_entry_fn visitor,
                                  void *user_data,
                                  struct dijitso_error **error_out);

/**
 * Lists the files of the cache.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   Of one entry; NULL for all. *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param visitor     Called for each file.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_list().
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_files(const struct dijitso_params *params,
                                   const char *signature,
                                   int32_t categories,
                                   dijitso_file_fn visitor,
                                   void *user_data,
                                   struct dijitso_error **error_out);

/**
 * Searches headers, sources and logs for lines that contain a text. Compressed files are searched as they were
 * before; what is not UTF-8 is shown with replacement characters.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param pattern     The text, no character of which means anything but itself; "" for every line. *Copied*.
 * @param signature   Of one entry; NULL for all. *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values, without DIJITSO_CATEGORY_LIB.
 * @param visitor     Called for each line.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_list().
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_grep(const struct dijitso_params *params,
                                  const char *pattern,
                                  const char *signature,
                                  int32_t categories,
                                  dijitso_line_fn visitor,
                                  void *user_data,
                                  struct dijitso_error **error_out);

/**
 * Reads a file of an entry; a compressed one as it was before.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param category   One of the DIJITSO_CATEGORY_ values. Of a library it gives the file as it is, to be looked at;
 *                   dijitso_cache_read_binary() is for taking it elsewhere.
 * @param blob       Receives the contents. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when it is not
 *         there, cannot be read, somebody else can have written it, or it is longer than 256 MiB or another source
 *         than the one that was compiled.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_read(const struct dijitso_params *params,
                                  const char *signature,
                                  int32_t category,
                                  struct dijitso_blob *blob,
                                  struct dijitso_error **error_out);

/**
 * Writes the header, source or log of a signature.
 *
 * It appears in one step, in place of what was there. A header or source cannot be exchanged if a library was built
 * with it. Libraries are built by dijitso_jit(), or come by dijitso_cache_write_binary().
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  *Copied*.
 * @param category   DIJITSO_CATEGORY_INC, DIJITSO_CATEGORY_SRC or DIJITSO_CATEGORY_LOG.
 * @param data       The contents, which are compressed as "cache.src_storage" says. *Copied*.
 * @param size       Bytes.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_store(const struct dijitso_params *params,
                                   const char *signature,
                                   int32_t category,
                                   const uint8_t *data,
                                   size_t size,
                                   struct dijitso_error **error_out);

/**
 * Copies files of an entry to a directory, which is made where it is not there; sources are not compressed there.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param directory   *Copied*.
 * @param replace     0: a file that is there already is an error, and nothing is written; 1: it is replaced.
 * @param visitor     Called for the path of each copy; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE, also when the
 *         cache has none of the files.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_extract(const struct dijitso_params *params,
                                     const char *signature,
                                     int32_t categories,
                                     const char *directory,
                                     int32_t replace,
                                     dijitso_text_fn visitor,
                                     void *user_data,
                                     struct dijitso_error **error_out);

/**
 * Removes files of an entry, the library first, so that others see a whole entry or none.
 *
 * Libraries that are loaded stay loaded. Entries that need this one are built again when they are asked for.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param signature   *Copied*.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param visitor     Called for the path of each file that was removed; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also when there was nothing; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE when a file cannot be removed or somebody is building the library just now.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_remove(const struct dijitso_params *params,
                                    const char *signature,
                                    int32_t categories,
                                    dijitso_text_fn visitor,
                                    void *user_data,
                                    struct dijitso_error **error_out);

/**
 * Removes the files of all entries of the cache that "cache.cache_dir" names, and nothing else.
 *
 * @param params      *Borrowed* for the call; NULL for the defaults.
 * @param categories  Sum of DIJITSO_CATEGORY_ values.
 * @param dry_run     1: nothing is removed, the visitor is told what would be; 0: it is removed.
 * @param visitor     Called for the path of each file; may be NULL.
 * @param user_data   Passed to it.
 * @param error_out   Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_cache_remove(): the first failure, after everything else has been removed.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_clean(const struct dijitso_params *params,
                                   int32_t categories,
                                   int32_t dry_run,
                                   dijitso_text_fn visitor,
                                   void *user_data,
                                   struct dijitso_error **error_out);

/**
 * Checks a cache: digests of libraries and headers, what they need, headers and libraries that have changed since,
 * what programs that were killed have left.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param signature  One entry, which is checked with all that it needs; NULL for the whole cache. *Copied*.
 * @param repair     1: what is broken is set aside, and leftovers are removed; 0: nothing is changed.
 * @param visitor    Called for each finding, the worst first; may be NULL.
 * @param user_data  Passed to it.
 * @param sound_out  Receives 1 if nothing is broken, or is any more; else 0. May be NULL.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, whatever is found; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE for an entry that is not there, and when the cache cannot be read at all.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_check(const struct dijitso_params *params,
                                   const char *signature,
                                   int32_t repair,
                                   dijitso_finding_fn visitor,
                                   void *user_data,
                                   int32_t *sound_out,
                                   struct dijitso_error **error_out);

/**
 * Makes room in a cache, as "cache.max_size" and "cache.max_age" say: the least recently used entries go first, and
 * what they need goes when nothing that stays needs it. Safe beside programs that use the cache.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults. Without any limit nothing is removed.
 * @param spared     Seconds: what was built or used since then stays. Negative for the default.
 * @param dry_run    1: nothing is removed, the visitor is told what would be; 0: it is removed.
 * @param visitor    Called for each thing that was removed; may be NULL.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE when something
 *         could not be removed, or another program makes room for more than a minute.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_gc(const struct dijitso_params *params,
                                double spared,
                                int32_t dry_run,
                                dijitso_removed_fn visitor,
                                void *user_data,
                                struct dijitso_error **error_out);

/**
 * Tells what a cache has been good for: hits, builds and failures, counted by each host for itself.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param visitor    Called for each host, in the order of their names.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT or DIJITSO_ERROR_PARAMS.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_stats(const struct dijitso_params *params,
                                   dijitso_stats_fn visitor,
                                   void *user_data,
                                   struct dijitso_error **error_out);

/**
 * Forgets what has been counted in a cache.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_cache_reset_stats(const struct dijitso_params *params,
                                         struct dijitso_error **error_out);

/**
 * Explains a name or a signature, for people or as JSON.
 *
 * Of a name: whether dijitso_jit() would find it with these parameters, and if not, how it differs from the nearest
 * entry of that name (flags, compiler, headers that have changed, ...). Of a signature: what it was built from, and
 * when the last build failed, the compiler's first error and the folder that reproduces it. Nothing is built.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param what       The name or signature. *Copied*.
 * @param json       1: as JSON; 0: as text.
 * @param blob       Receives the explanation. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS or DIJITSO_ERROR_CACHE.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_explain(const struct dijitso_params *params,
                               const char *what,
                               int32_t json,
                               struct dijitso_blob *blob,
                               struct dijitso_error **error_out);

/**
 * Writes entries of a cache, with all that they need, to one file, for another machine or a cluster without a
 * compiler. A plain file appears whole or not at all; a link is followed to one. A FIFO, a terminal or another device is
 * written into and never replaced. A FIFO that no program reads for 10 seconds, a socket, a directory and a block
 * device are an error.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param words      Signatures, names for all entries of that name, patterns with * ? or [...], or the beginning of
 *                   one signature; NULL for the whole cache. *Copied*.
 * @param count      How many.
 * @param path       The file. *Copied*.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or DIJITSO_ERROR_CACHE for a word that
 *         stands for nothing, and when an entry is not whole or the file cannot be written.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_bundle_export(const struct dijitso_params *params,
                                     const char *const *words,
                                     size_t count,
                                     const char *path,
                                     struct dijitso_error **error_out);

/**
 * Puts the entries of a file that dijitso_bundle_export() has written into a cache. Each is checked first; what is
 * there already stays.
 *
 * @param params     *Borrowed* for the call; NULL for the defaults.
 * @param path       The file, or a FIFO: no more of it is read than its manifest says. *Copied*.
 * @param force      1: also what was built for another machine; 0: that is refused.
 * @param visitor    Called for each entry; may be NULL.
 * @param user_data  Passed to it.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, also when entries are refused; DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_PARAMS, or
 *         DIJITSO_ERROR_CACHE when the file cannot be read, is damaged, or the cache cannot be written.
 * @local  @threads any  @since 0.1.0
 */
dijitso_status dijitso_bundle_import(const struct dijitso_params *params,
                                     const char *path,
                                     int32_t force,
                                     dijitso_imported_fn visitor,
                                     void *user_data,
                                     struct dijitso_error **error_out);

/**
 * Finds out which ranks share a directory with this one, whatever its path is on each of them.
 *
 * Every rank looks at the device and inode of its directory; between machines, one rank of each puts a file into it
 * and looks for those of the others. All ranks are told what each has seen, so that all have the same view.
 *
 * @param comm       An intra-communicator.
 * @param path       The directory, on this rank; made where it is not there. Special characters mean nothing.
 *                   *Copied*.
 * @param ranks_out  Receives the ranks in ascending order, this one among them.
 * @param capacity   Places at ranks_out: no less than comm has ranks.
 * @param count_out  Receives how many there are.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT, DIJITSO_ERROR_CACHE when a
 *         rank cannot have its directory, DIJITSO_ERROR_UNSUPPORTED, DIJITSO_ERROR_STATE, DIJITSO_ERROR_MPI,
 *         DIJITSO_ERROR_TIMEOUT.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_discover_path_access_ranks(MPI_Comm comm,
                                                      const char *path,
                                                      int32_t *ranks_out,
                                                      int32_t capacity,
                                                      int32_t *count_out,
                                                      struct dijitso_error **error_out);

/**
 * Makes a communicator of the ranks that share a directory with this one.
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
dijitso_status dijitso_mpi_create_node_comm(MPI_Comm comm,
                                            const char *path,
                                            MPI_Comm *node_comm_out,
                                            int32_t *node_root_out,
                                            struct dijitso_error **error_out);

/**
 * Makes a communicator of the first ranks of all nodes.
 *
 * @param comm       An intra-communicator.
 * @param node_root  That of dijitso_mpi_create_node_comm().
 * @param comm_out   Receives the communicator, in the order of comm; *owned* by the caller, freed by
 *                   MPI_Comm_free(). MPI_COMM_NULL on ranks that are not the first of theirs.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_node_roots_comm(MPI_Comm comm,
                                                  int32_t node_root,
                                                  MPI_Comm *comm_out,
                                                  struct dijitso_error **error_out);

/**
 * Makes a communicator of some ranks.
 *
 * @param comm       An intra-communicator.
 * @param ranks      Ranks in comm, each once; the same on every rank. The new ones follow this order. *Copied*.
 * @param count      How many.
 * @param comm_out   Receives the communicator; *owned* by the caller, freed by MPI_Comm_free(). MPI_COMM_NULL on
 *                   ranks that are not among them.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_subcomm(MPI_Comm comm,
                                          const int32_t *ranks,
                                          int32_t count,
                                          MPI_Comm *comm_out,
                                          struct dijitso_error **error_out);

/**
 * Gives every rank its part in builds of the host's own making, and the communicators for it.
 *
 * "node": the first rank of each directory builds, the others wait. "root": rank 0 builds, and sends to the first
 * ranks of the other directories, who receive; the others wait. "process": every rank builds, and nobody waits.
 *
 * A builder passes generate to dijitso_jit(), and, where copy_comm is not MPI_COMM_NULL, a send that calls
 * dijitso_mpi_send_binary() on it; a receiver passes a receive that calls dijitso_mpi_receive_binary() on it;
 * everybody passes a wait that is a barrier on wait_comm, unless that is MPI_COMM_NULL. All pass DIJITSO_COMM_NULL as
 * communicator. dijitso_jit() calls no callback on a rank that has the library already: ranks first have to agree
 * that somebody misses it, and one that was answered without its callbacks has to do their part afterwards, as
 * examples/c/04_roles does.
 *
 * @param comm           An intra-communicator. DIJITSO_COMM_NULL makes this process a builder; MPI is not touched.
 * @param path           The cache directory, or one that lies in the same place, on this rank. *Copied*.
 * @param buildon        "node", "root" or "process", the same on every rank. *Copied*.
 * @param copy_comm_out  Receives the communicator of builder and receivers, of which the builder is rank 0, or
 *                       MPI_COMM_NULL; *owned* by the caller, freed by MPI_Comm_free(), as the next one.
 * @param wait_comm_out  Receives the communicator of those that share a directory, or MPI_COMM_NULL.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks(), or DIJITSO_ERROR_RANKS_DISAGREE.
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role(MPI_Comm comm,
                                                 const char *path,
                                                 const char *buildon,
                                                 MPI_Comm *copy_comm_out,
                                                 MPI_Comm *wait_comm_out,
                                                 int32_t *role_out,
                                                 struct dijitso_error **error_out);

/**
 * As dijitso_mpi_create_comms_and_role() with "node", where the nodes are known already.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      That of dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives MPI_COMM_NULL.
 * @param wait_comm_out  Receives a communicator of the ranks of node_comm; *owned* by the caller, freed by
 *                       MPI_Comm_free(), as is node_comm.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_node(MPI_Comm comm,
                                                      MPI_Comm node_comm,
                                                      int32_t node_root,
                                                      MPI_Comm *copy_comm_out,
                                                      MPI_Comm *wait_comm_out,
                                                      int32_t *role_out,
                                                      struct dijitso_error **error_out);

/**
 * As dijitso_mpi_create_comms_and_role() with "root", where the nodes are known already.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      That of dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives a communicator of the first ranks of all nodes, MPI_COMM_NULL on the others;
 *                       *owned* by the caller, freed by MPI_Comm_free(), as the next one.
 * @param wait_comm_out  Receives a communicator of the ranks of node_comm.
 * @param role_out       Receives one of the DIJITSO_ROLE_ values.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_root(MPI_Comm comm,
                                                      MPI_Comm node_comm,
                                                      int32_t node_root,
                                                      MPI_Comm *copy_comm_out,
                                                      MPI_Comm *wait_comm_out,
                                                      int32_t *role_out,
                                                      struct dijitso_error **error_out);

/**
 * As dijitso_mpi_create_comms_and_role() with "process", where the nodes are known already.
 *
 * Ranks that share a directory may all build in it: each library is built by one of them, the others find it. To
 * have a library of its own, a rank sets a "cache.cache_dir" of its own.
 *
 * @param comm           An intra-communicator.
 * @param node_comm      That of dijitso_mpi_create_node_comm(). *Borrowed* for the call.
 * @param node_root      That of dijitso_mpi_create_node_comm().
 * @param copy_comm_out  Receives MPI_COMM_NULL.
 * @param wait_comm_out  Receives MPI_COMM_NULL.
 * @param role_out       Receives DIJITSO_ROLE_BUILDER.
 * @param error_out      Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_create_comms_and_role_process(MPI_Comm comm,
                                                         MPI_Comm node_comm,
                                                         int32_t node_root,
                                                         MPI_Comm *copy_comm_out,
                                                         MPI_Comm *wait_comm_out,
                                                         int32_t *role_out,
                                                         struct dijitso_error **error_out);

/**
 * Sends bytes from rank 0 to all other ranks, which call dijitso_mpi_receive_binary(). Any number of bytes, also
 * none; whether there is room for them is agreed on first.
 *
 * @param comm       An intra-communicator, such as the copy_comm of dijitso_mpi_create_comms_and_role(), on its
 *                   rank 0.
 * @param data       *Borrowed* for the call; may be NULL when size is 0.
 * @param size       Bytes; may exceed 2 GiB.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return DIJITSO_OK, or the same error on every rank: DIJITSO_ERROR_INVALID_ARGUMENT when another rank than 0 sends,
 *         DIJITSO_ERROR_CACHE when a rank has not enough memory, and as dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_send_binary(MPI_Comm comm,
                                       const uint8_t *data,
                                       size_t size,
                                       struct dijitso_error **error_out);

/**
 * Receives what rank 0 sends by dijitso_mpi_send_binary().
 *
 * @param comm       An intra-communicator, on a rank that is not 0.
 * @param blob       Receives the bytes. That of a receive callback, or one of your own. *Borrowed* for the call.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_send_binary().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_receive_binary(MPI_Comm comm,
                                          struct dijitso_blob *blob,
                                          struct dijitso_error **error_out);

/**
 * Gives all ranks the same number, which nobody else has.
 *
 * @param comm       An intra-communicator.
 * @param uuid_out   Receives the number.
 * @param error_out  Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_bcast_uuid(MPI_Comm comm, uint64_t *uuid_out, struct dijitso_error **error_out);

/**
 * Gathers the different numbers that the ranks pass, in ascending order: in how many groups they are.
 *
 * @param comm            An intra-communicator.
 * @param partition       That of this rank.
 * @param partitions_out  Receives the numbers.
 * @param capacity        Places at partitions_out: no less than comm has ranks.
 * @param count_out       Receives how many there are.
 * @param error_out       Receives an error, *owned* by the caller; may be NULL.
 * @return As dijitso_mpi_discover_path_access_ranks().
 * @collective over comm  @threads as dijitso_jit()  @since 0.1.0
 */
dijitso_status dijitso_mpi_gather_global_partitions(MPI_Comm comm,
                                                    uint64_t partition,
                                                    uint64_t *partitions_out,
                                                    int32_t capacity,
                                                    int32_t *count_out,
                                                    struct dijitso_error **error_out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DIJITSO_H */
