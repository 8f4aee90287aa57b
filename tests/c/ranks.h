/* MPI for the tests: rank and size, and checks that all ranks have the same result. */
#ifndef RANKS_H
#define RANKS_H

#include "fixture.h"

#include <mpi.h>

/* Starts MPI and sets check_state.rank. */
void ranks_start(int *argc, char ***argv);
int ranks_rank(void);
int ranks_size(void);
/* Ends MPI and returns the exit status: a failure on every rank if any rank had one. Collective. */
int ranks_finish(void);

void ranks_barrier(void);
int ranks_sum(int value);
/* Checks that every rank of comm has the same text. Collective over comm. */
void ranks_check_same_text(MPI_Comm comm, const char *text);
/* Checks that every rank of comm has the same status and message, and returns the status. The caller still owns the
 * outcome. Collective over comm. */
dijitso_status ranks_check_same_outcome(MPI_Comm comm, const struct outcome *outcome);

/* The three strategies, and two layouts: one shared directory, or one for each rank. */
extern const char *const strategies[3];
enum layout { LAYOUT_SHARED, LAYOUT_OWN, LAYOUTS };
extern const char *const layouts[LAYOUTS];
/* Makes and returns root/strategy-layout if the directory is shared, or else root/strategy-layout/RANK. */
const char *layout_directory(const char *root, const char *strategy, enum layout layout);

#endif
