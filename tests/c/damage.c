/* Entries are lost, truncated or altered on some ranks. Every rank still gets the right library, and no rank hangs.
 * usage: damage WORK cold|KIND-RANKS, each in new processes, with KIND lose, truncate, alter or empty and RANKS first,
 * last or others (all but the first). */
#define _XOPEN_SOURCE 700
#include "ranks.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

static int is_damaged_here(const char *phase)
{
    const int rank = ranks_rank();
    if (strstr(phase, "-first") != NULL)
        return rank == 0;
    if (strstr(phase, "-last") != NULL)
        return rank == ranks_size() - 1;
    return rank != 0;
}

static void alter(const char *path, long at)
{
    FILE *const file = fopen(path, "r+b");
    if (CHECK(file != NULL)) {
        int byte;
        fseek(file, at, SEEK_SET);
        byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 0xff, file);
        fclose(file);
    }
}

static long size_of(const char *path)
{
    FILE *const file = fopen(path, "rb");
    long size = 0;
    if (CHECK(file != NULL)) {
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        fclose(file);
    }
    return size;
}

static void damage(const char *phase, const char *directory)
{
    char command[PATH_SIZE + 32];
    glob_t libraries;
    if (strncmp(phase, "lose", 4) == 0) {
        snprintf(command, sizeof command, "rm -rf '%s'", directory);
        CHECK(system(command) == 0);
        make_directory(directory);
        return;
    }
    CHECK(glob(path_of("%s/lib/*.so", directory), 0, NULL, &libraries) == 0 && libraries.gl_pathc > 0);
    for (size_t i = 0; i < libraries.gl_pathc; ++i) {
        const char *const path = libraries.gl_pathv[i];
        if (strncmp(phase, "truncate", 8) == 0)
            CHECK(truncate(path, size_of(path) / 2) == 0);
        else if (strncmp(phase, "empty", 5) == 0)
            CHECK(truncate(path, 0) == 0);
        else
            alter(path, size_of(path) / 2);
    }
    globfree(&libraries);
}

static void try_strategy(const char *work, const char *phase, const char *strategy)
{
    const char *const directory = layout_directory(work, strategy, LAYOUT_OWN);
    dijitso_params *const params = params_with(directory, "parallel.buildon", strategy, NULL);
    const int cold = strcmp(phase, "cold") == 0, damaged = !cold && is_damaged_here(phase);
    struct integer integer = {11, 0, NULL, NULL};
    struct outcome outcome;
    check_case("%s, %s", strategy, phase);
    if (damaged) /* also for "process": each rank already has its own directory */
        damage(phase, directory);
    ranks_barrier();
    outcome = jit_integer("damaged", params, &integer, MPI_COMM_WORLD);
    CHECK(outcome.seconds < 20.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    /* An intact entry is a hit; a damaged one is built again or received from a rank that has it. */
    CHECK_OUTCOME(outcome, 11 + INCLUDED_VALUE,
                  cold ? ANY_ORIGIN : damaged ? ORIGIN(BUILT) | ORIGIN(RECEIVED) : ORIGIN(DISK));
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    for (int strategy = 0; strategy < 3; ++strategy)
        try_strategy(argv[1], argv[2], strategies[strategy]);
    return ranks_finish();
}
