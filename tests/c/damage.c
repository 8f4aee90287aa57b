/* What one rank finds on its disk is not what the others find: an entry is lost, truncated or altered. Every rank gets
 * the right library, nobody waits for ever. usage: damage WORK cold|KIND-WHOSE, each in a process of its own, with
 * KIND among lose, truncate, alter, empty and WHOSE among first, last, others (all but the first). */
#define _XOPEN_SOURCE 700
#include "ranks.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

static int is_mine(const char *phase)
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
    const int cold = strcmp(phase, "cold") == 0, damaged = !cold && is_mine(phase);
    struct integer integer = {11, 0, NULL, NULL};
    struct outcome outcome;
    check_case("%s, %s", strategy, phase);
    if (damaged) /* "process" keeps one directory for each rank where it must; here each rank has its own already */
        damage(phase, directory);
    ranks_barrier();
    outcome = jit_integer("damaged", params, &integer, MPI_COMM_WORLD);
    CHECK(outcome.seconds < 20.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    /* An intact entry is used; a damaged one is replaced by a build or by what a rank that has it sends. */
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
