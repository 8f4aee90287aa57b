/* The MPI side of the tests: who am I, and do all ranks see the same? */
#ifndef RANKS_H
#define RANKS_H

#include "fixture.h"

#include <mpi.h>

/* Starts MPI, and sets check_state.rank. */
void ranks_start(int *argc, char ***argv);
int ranks_rank(void);
int ranks_size(void);
/* Ends MPI; the exit status is a failure on every rank if there was one on any. */
int ranks_finish(void);

void ranks_barrier(void);
int ranks_sum(int value);
/* Every rank of comm has the same bytes in text. */
void ranks_check_same_text(MPI_Comm comm, const char *text);
/* Every rank of comm has the same status and message; returns the status. The outcome remains the caller's. */
dijitso_status ranks_check_same_outcome(MPI_Comm comm, const struct outcome *outcome);

/* The three strategies, and the two ways that ranks may lie on directories. */
extern const char *const strategies[3];
enum layout { LAYOUT_SHARED, LAYOUT_OWN, LAYOUTS };
extern const char *const layouts[LAYOUTS];
/* root/strategy-layout for one shared directory, root/strategy-layout/N for one of each rank; made by every rank. */
const char *layout_directory(const char *root, const char *strategy, enum layout layout);

#endif
