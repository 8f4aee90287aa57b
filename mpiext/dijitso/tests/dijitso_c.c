/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Tests the C bindings. usage: dijitso_c cold|warm|missing
 */

#include <mpi.h>
#include <mpi-ext.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef OMPI_HAVE_MPI_EXT_DIJITSO
#error "this Open MPI does not have the extension dijitso"
#endif

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            char message[1024] = "";                                                         \
            OMPI_Dijitso_error_string(message, sizeof(message), NULL);                       \
            fprintf(stderr, "%s:%d: rank %d: %s; the last message is: %s\n", __FILE__, __LINE__, rank, #condition, \
                    message);                                                                \
            MPI_Abort(MPI_COMM_WORLD, 1);                                                    \
        }                                                                                    \
    } while (0)

typedef double real_function(double);

static int rank, size;
static int generate_calls;

/* Checks that all ranks have the code and the same message, which has a text in it. */
static void check_same_error(int code, int expected, const char *text)
{
    char mine[4096], first[4096];
    int length = -1;
    CHECK(code == expected);
    memset(mine, 0, sizeof(mine));
    CHECK(OMPI_Dijitso_error_string(mine, sizeof(mine), &length) == MPI_SUCCESS);
    CHECK(length == (int) strlen(mine) && NULL != strstr(mine, text));
    memcpy(first, mine, sizeof(first));
    MPI_Bcast(first, sizeof(first), MPI_CHAR, 0, MPI_COMM_WORLD);
    CHECK(0 == strcmp(first, mine));
}

static int sum(int value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return value;
}

static double call(OMPI_Dijitso_library library, const char *symbol, double x)
{
    OMPI_Dijitso_function function = NULL;
    CHECK(OMPI_Dijitso_symbol(library, symbol, &function) == MPI_SUCCESS && NULL != function);
    return ((real_function *) function)(x);
}

static int generate(OMPI_Dijitso_source source, const char *name, void *extra_state)
{
    static const char code[] = "extern \"C\" double cube(double x) { return x * x * x; }\n";
    int done = -1, total = -1;
    ++generate_calls;
    CHECK(0 == strcmp(name, "cube") && 42 == *(int *) extra_state);
    /* Local within the callback: this build is under way. */
    CHECK(OMPI_Dijitso_progress(MPI_COMM_WORLD, &done, &total) == MPI_SUCCESS && 1 == total - done);
    CHECK(OMPI_Dijitso_source_code(source, code, strlen(code)) == MPI_SUCCESS);
    return 0;
}

static int generate_fails(OMPI_Dijitso_source source, const char *name, void *extra_state)
{
    static const char reason[] = "the form has no measure";
    (void) name;
    (void) extra_state;
    OMPI_Dijitso_source_error(source, reason, strlen(reason));
    return 3;
}

static void test_missing(void)
{
    OMPI_Dijitso_library library = OMPI_DIJITSO_LIBRARY_NULL;
    OMPI_Dijitso_function function = NULL;
    int available = -1, done = -1, total = -1, i;
    CHECK(OMPI_Dijitso_available(&available) == MPI_SUCCESS);
    CHECK(sum(available) < size);
    for (i = 0; i < 2; ++i) {
        check_same_error(OMPI_Dijitso_jit("square", "", 0, MPI_INFO_NULL, MPI_COMM_WORLD, &library),
                         OMPI_DIJITSO_ERR_UNAVAILABLE, "/nonexistent/libdijitso.so");
        CHECK(OMPI_DIJITSO_LIBRARY_NULL == library);
    }
    check_same_error(OMPI_Dijitso_progress(MPI_COMM_WORLD, &done, &total), OMPI_DIJITSO_ERR_UNAVAILABLE,
                     "/nonexistent/libdijitso.so");
    CHECK(0 == done && 0 == total);
    if (!available) {
        CHECK(OMPI_Dijitso_symbol(library, "square", &function) == OMPI_DIJITSO_ERR_UNAVAILABLE);
        CHECK(OMPI_Dijitso_jit("square", "", 0, MPI_INFO_NULL, MPI_COMM_NULL, &library) ==
              OMPI_DIJITSO_ERR_UNAVAILABLE);
    }
    CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);
}

static void test_errors(void)
{
    OMPI_Dijitso_library library;
    OMPI_Dijitso_function function;
    MPI_Info info;
    int code;

    code = OMPI_Dijitso_jit_generate("fails", generate_fails, NULL, MPI_INFO_NULL, MPI_COMM_WORLD, &library);
    check_same_error(code, OMPI_DIJITSO_ERR_GENERATE, "returned 3: the form has no measure");
    CHECK(OMPI_DIJITSO_LIBRARY_NULL == library);

    code = OMPI_Dijitso_jit("broken", "this is no C++", 14, MPI_INFO_NULL, MPI_COMM_WORLD, &library);
    check_same_error(code, OMPI_DIJITSO_ERR_COMPILE, "error");

    /* A parameter that is bad on the last rank alone. */
    MPI_Info_create(&info);
    MPI_Info_set(info, rank == size - 1 ? "build.no_such_key" : "build.debug", "false");
    code = OMPI_Dijitso_jit("info", "int x;", 6, info, MPI_COMM_WORLD, &library);
    check_same_error(code, OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "no_such_key");
    MPI_Info_free(&info);

    /* A callback that is missing on the last rank alone. */
    code = OMPI_Dijitso_jit_generate("generate", rank == size - 1 ? NULL : generate, NULL, MPI_INFO_NULL,
                                     MPI_COMM_WORLD, &library);
    check_same_error(code, OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "generate is NULL");

    /* A name that is bad on the last rank alone. */
    code = OMPI_Dijitso_jit(rank == size - 1 ? NULL : "name", "int x;", 6, MPI_INFO_NULL, MPI_COMM_WORLD, &library);
    check_same_error(code, OMPI_DIJITSO_ERR_INVALID_ARGUMENT, "name");

    CHECK(OMPI_Dijitso_symbol(OMPI_DIJITSO_LIBRARY_NULL, "square", &function) == OMPI_DIJITSO_ERR_INVALID_ARGUMENT);
}

static void test(int cold)
{
    static const char square[] = "extern \"C\" double square(double x) { return x * x; }\n";
    static const char macro[] = "extern \"C\" double value(double x) { return x + VALUE; }\n";
    OMPI_Dijitso_library library = OMPI_DIJITSO_LIBRARY_NULL, again = OMPI_DIJITSO_LIBRARY_NULL;
    OMPI_Dijitso_function function;
    MPI_Info info;
    int available = 0, done = -1, total = -1, state = 42;

    CHECK(OMPI_Dijitso_available(&available) == MPI_SUCCESS && available);
    CHECK(OMPI_Dijitso_progress(MPI_COMM_WORLD, &done, &total) == MPI_SUCCESS && 0 == done && 0 == total);

    /* A text: built by one rank, loaded by all. Without the NUL at its end. */
    CHECK(OMPI_Dijitso_jit("square", square, strlen(square), MPI_INFO_NULL, MPI_COMM_WORLD, &library) == MPI_SUCCESS);
    CHECK(9.0 == call(library, "square", 3.0));
    CHECK(OMPI_Dijitso_symbol(library, "cube", &function) == OMPI_DIJITSO_ERR_SYMBOL && NULL == function);
    CHECK(OMPI_Dijitso_progress(MPI_COMM_WORLD, &done, &total) == MPI_SUCCESS && cold == done && cold == total);
    CHECK(OMPI_Dijitso_jit("square", square, strlen(square), MPI_INFO_NULL, MPI_COMM_WORLD, &again) == MPI_SUCCESS);
    CHECK(16.0 == call(again, "square", 4.0));
    CHECK(OMPI_Dijitso_free(&again) == MPI_SUCCESS && OMPI_DIJITSO_LIBRARY_NULL == again);
    CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);

    /* A callback, which one rank calls. */
    CHECK(OMPI_Dijitso_jit_generate("cube", generate, &state, MPI_INFO_NULL, MPI_COMM_WORLD, &library) == MPI_SUCCESS);
    CHECK(27.0 == call(library, "cube", 3.0));
    CHECK(cold == sum(generate_calls));
    CHECK(OMPI_Dijitso_progress(MPI_COMM_WORLD, &done, &total) == MPI_SUCCESS && 2 * cold == done && done == total);
    CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);

    /* Parameters. */
    MPI_Info_create(&info);
    MPI_Info_set(info, "build.cxxflags", "-DVALUE=5");
    CHECK(OMPI_Dijitso_jit("value", macro, strlen(macro), info, MPI_COMM_WORLD, &library) == MPI_SUCCESS);
    MPI_Info_free(&info);
    CHECK(6.0 == call(library, "value", 1.0));
    CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);

    /* Without a communicator. */
    CHECK(OMPI_Dijitso_jit("square", square, strlen(square), MPI_INFO_NULL, MPI_COMM_NULL, &library) == MPI_SUCCESS);
    CHECK(25.0 == call(library, "square", 5.0));
    CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);

    test_errors();

    /* Half of the ranks, on a communicator that is freed. */
    {
        MPI_Comm half;
        MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
        CHECK(OMPI_Dijitso_jit("square", square, strlen(square), MPI_INFO_NULL, half, &library) == MPI_SUCCESS);
        CHECK(36.0 == call(library, "square", 6.0));
        CHECK(OMPI_Dijitso_free(&library) == MPI_SUCCESS);
        MPI_Comm_free(&half);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "cold";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (0 == strcmp(mode, "missing")) {
        test_missing();
    } else {
        test(0 == strcmp(mode, "cold"));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (0 == rank) {
        printf("dijitso_c %s on %d: passed\n", mode, size);
    }
    MPI_Finalize();
    return 0;
}
