/* The part of the matrix that goes through the C++ wrapper. */
#ifndef MATRIX_H
#define MATRIX_H

#include <mpi.h>

#include <dijitso.h>

#ifdef __cplusplus
extern "C" {
#else
#include "ranks.h"
#endif

enum thrown_kind { THROWN_NOTHING, THROWN_BY_GENERATE, THROWN_BY_DIJITSO };

struct thrown {
    enum thrown_kind kind;
    dijitso_status status; /* of THROWN_BY_DIJITSO */
    char message[4000];
};

/* Calls dijitso::jit with a generate that throws, and reports the exception. A hit throws nothing. */
struct thrown jit_throwing(const char *name, const char *cache_dir, const char *compiler, const char *strategy,
                           MPI_Comm comm);

#ifdef __cplusplus
}
#endif

#endif
