/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The functions of libdijitso that the extension calls. Not installed.
 */

#ifndef MPIEXT_DIJITSO_LIB_H
#define MPIEXT_DIJITSO_LIB_H

#include <stddef.h>
#include <stdint.h>

/* Objects of the library. */
typedef struct dijitso_error dijitso_error;
typedef struct dijitso_params dijitso_params;
typedef struct dijitso_source dijitso_source;
typedef struct dijitso_library dijitso_library;

typedef int32_t ompi_dijitso_generate_fn(void *user_data, const char *name, const char *signature,
                                         const char *generator_json, dijitso_source *source);

/* The callbacks of the library, as its header has them. */
typedef struct {
    size_t struct_size;
    void *user_data;
    ompi_dijitso_generate_fn *generate;
    void *send;
    void *receive;
    void *wait;
    void *poll;
} ompi_dijitso_callbacks_t;

/* What the libdijitso of this process can do. */
enum {
    OMPI_DIJITSO_LEVEL_NONE = 0,     /* it is missing, or lacks a function */
    OMPI_DIJITSO_LEVEL_JIT = 1,      /* all but progress */
    OMPI_DIJITSO_LEVEL_PROGRESS = 2  /* all */
};

typedef struct {
    int level;
    /* Why the level is not the highest. */
    char reason[768];

    int32_t (*error_status)(const dijitso_error *);
    const char *(*error_message)(const dijitso_error *);
    void (*error_free)(dijitso_error *);
    int32_t (*params_new)(dijitso_params **, dijitso_error **);
    int32_t (*params_set)(dijitso_params *, const char *, const char *, dijitso_error **);
    void (*params_free)(dijitso_params *);
    int32_t (*source_set_code)(dijitso_source *, const char *, size_t);
    int32_t (*source_set_error)(dijitso_source *, const char *);
    int32_t (*library_symbol)(const dijitso_library *, const char *, void (**)(void), dijitso_error **);
    void (*library_free)(dijitso_library *);
    int32_t (*jit_comm)(const char *, const dijitso_params *, const ompi_dijitso_callbacks_t *, const void *, size_t,
                        dijitso_library **, dijitso_error **);
    int32_t (*jit_source_comm)(const char *, const dijitso_params *, const char *, size_t, const char *, size_t,
                               const void *, size_t, dijitso_library **, dijitso_error **);
    /* NULL at OMPI_DIJITSO_LEVEL_JIT. */
    void (*progress)(uint64_t *, uint64_t *);
} ompi_dijitso_lib_t;

/* Returns the functions of libdijitso. Looks for it at the first call. Never NULL. */
const ompi_dijitso_lib_t *ompi_dijitso_lib(void);

#endif /* MPIEXT_DIJITSO_LIB_H */
