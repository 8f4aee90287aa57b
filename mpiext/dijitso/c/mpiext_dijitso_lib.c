/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Finds libdijitso when it is needed first. Open MPI is not linked to it.
 */

#include "mpiext_dijitso_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef OMPI_DIJITSO_DIR
#define OMPI_DIJITSO_DIR "" /* not configured */
#endif

/* The number is that of the C ABI whose functions are declared here. */
#define LIBRARY_NAME "libdijitso.so.1"

static ompi_dijitso_lib_t lib;

/* Loads a file. Local to this handle: no symbol of the library replaces one of the program. */
static void *load(const char *file)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (NULL == handle) {
        const char *reason = dlerror();
        snprintf(lib.reason, sizeof(lib.reason), "%s", NULL == reason ? file : reason);
    }
    return handle;
}

static void *find(void)
{
    static const char *const places[] = {"%s/" LIBRARY_NAME, "%s/lib/" LIBRARY_NAME, "%s/lib64/" LIBRARY_NAME};
    const char *chosen = getenv("DIJITSO_LIB");
    if (NULL != chosen && '\0' != chosen[0]) {
        /* Whoever names a file wants no other. */
        return load(chosen);
    }
    if ('\0' != OMPI_DIJITSO_DIR[0]) {
        size_t i;
        for (i = 0; i < sizeof(places) / sizeof(places[0]); ++i) {
            char path[4096];
            void *handle;
            int length = snprintf(path, sizeof(path), places[i], OMPI_DIJITSO_DIR);
            if (length > 0 && (size_t) length < sizeof(path) && NULL != (handle = load(path))) {
                return handle;
            }
        }
    }
    return load(LIBRARY_NAME);
}

/* POSIX lets an object pointer hold the address of a function; C has no cast for it. */
#define REQUIRE(member, name)                                                                                 \
    do {                                                                                                      \
        void *address = dlsym(handle, name);                                                                  \
        memcpy(&lib.member, &address, sizeof(void *));                                                        \
        if (NULL == address) {                                                                                \
            snprintf(lib.reason, sizeof(lib.reason), "%s has no function %s: install a newer dijitso", file, \
                     name);                                                                                   \
            return;                                                                                           \
        }                                                                                                     \
    } while (0)

static void initialize(void)
{
    const char *chosen = getenv("DIJITSO_LIB");
    const char *file = NULL != chosen && '\0' != chosen[0] ? chosen : LIBRARY_NAME;
    /* Never closed: libraries that the program has loaded outlive every call. */
    void *handle = find();
    if (NULL == handle) {
        return;
    }
    REQUIRE(error_status, "dijitso_error_status");
    REQUIRE(error_message, "dijitso_error_message");
    REQUIRE(error_free, "dijitso_error_free");
    REQUIRE(params_new, "dijitso_params_new");
    REQUIRE(params_set, "dijitso_params_set");
    REQUIRE(params_free, "dijitso_params_free");
    REQUIRE(source_set_code, "dijitso_source_set_code");
    REQUIRE(source_set_error, "dijitso_source_set_error");
    REQUIRE(library_symbol, "dijitso_library_symbol");
    REQUIRE(library_free, "dijitso_library_free");
    REQUIRE(jit_comm, "dijitso_jit_comm");
    REQUIRE(jit_source_comm, "dijitso_jit_source_comm");
    lib.level = OMPI_DIJITSO_LEVEL_JIT;
    REQUIRE(progress, "dijitso_progress");
    lib.level = OMPI_DIJITSO_LEVEL_PROGRESS;
}

const ompi_dijitso_lib_t *ompi_dijitso_lib(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize);
    return &lib;
}
