/* Output on standard error: one rank reports a slow build, and the library prints no failure, because the program prints
 * the error. Built without and with ranks. */
#define _POSIX_C_SOURCE 200809L
#ifdef WITH_RANKS
#include "ranks.h"
#else
#include "fixture.h"
#endif

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *work;

#ifdef WITH_RANKS
#define COMM MPI_COMM_WORLD
#else
#define COMM DIJITSO_COMM_NULL
static int ranks_rank(void) { return 0; }
static int ranks_size(void) { return 1; }
static void ranks_barrier(void) {}
#endif

/* --- standard error, in a file for each rank ------------------------------------------------------------------------- */

static int saved_stderr = -1;

static const char *file_of(const char *name, int rank)
{
    return path_of("%s/%s.%d.stderr", work, name, rank);
}

static void capture(const char *path)
{
    const int file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    CHECK(file >= 0 && saved_stderr >= 0 && dup2(file, STDERR_FILENO) >= 0);
    close(file);
}

static void release(void)
{
    fflush(stderr);
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

static const char *read_all(const char *path)
{
    static char text[1 << 16];
    FILE *const file = fopen(path, "r");
    size_t length = 0;
    if (CHECK(file != NULL)) {
        length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[length] = '\0';
    return text;
}

static int count(const char *text, const char *part)
{
    int found = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + strlen(part), part))
        ++found;
    return found;
}

/* Counts `part` in the output of the ranks from `first` to `end`, which is excluded. */
static int count_in(const char *name, int first, int end, const char *part)
{
    int found = 0;
    for (int rank = first; rank < end; ++rank)
        found += count(read_all(file_of(name, rank)), part);
    return found;
}

/* --- slow builds ------------------------------------------------------------------------------------------------------ */

/* Writes a compiler that takes this many seconds longer. */
static const char *slow_compiler(int seconds)
{
    const char *const path = path_of("%s/slow-%d-c++", work, seconds);
    if (ranks_rank() == 0)
        write_text(path, path_of("#!/bin/sh\nfor argument; do [ \"$argument\" = -o ] && sleep %d; done\n"
                                 "exec c++ \"$@\"\n", seconds), 0755);
    ranks_barrier();
    return path;
}

static void build(const char *name, const char *directory, int seconds)
{
    dijitso_params *const params = params_with(directory, "build.cxx", slow_compiler(seconds), "build.precompile",
                                               "never", "build.slots_dir", "", "parallel.timeout", "12", NULL);
    struct integer integer = {1, 0, NULL, NULL};
    struct outcome outcome;
    check_case("%s", name);
    capture(file_of(name, ranks_rank()));
    outcome = jit_integer(name, params, &integer, COMM);
    release();
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
    ranks_barrier();
}

static void slow(void)
{
    build("quick", path_of("%s/shared", work), 0);
    if (ranks_rank() == 0)
        CHECK(count_in("quick", 0, ranks_size(), "\n") == 0);
    build("slow", path_of("%s/shared", work), 5);
    if (ranks_rank() == 0) {
        CHECK(count_in("slow", 0, 1, "]: compiling slow, 2 s\n") == 1);
        CHECK(count_in("slow", 0, 1, "]: compiled slow in ") == 1);
        CHECK(count_in("slow", 0, 1, "\n") == 2);
        /* One of the waiting ranks reports which rank they wait for. */
        CHECK(count_in("slow", 1, ranks_size(), "\n") == (ranks_size() > 1));
        CHECK(count_in("slow", 1, ranks_size(), "rank 0 on ") == (ranks_size() > 1));
        CHECK(count_in("slow", 1, ranks_size(), ") is compiling \"slow\"\n") == (ranks_size() > 1));
        CHECK(count_in("slow", 1, ranks_size(), "has not arrived") == 0);
    }
}

#ifdef WITH_RANKS

/* Each rank has its own directory and builds the library if it misses; one rank reports. */
static void many(void)
{
    const char *const directory = path_of("%s/own-%d", work, ranks_rank());
    build("all", directory, 5);
    if (ranks_rank() == 0) {
        CHECK(count_in("all", 0, 1, "compiling all, 2 s\n") == 1);
        CHECK(count_in("all", 0, 1, "compiled all in ") == 1);
        CHECK(count_in("all", 0, ranks_size(), "compiling all") == 1);
    }
    if (ranks_size() == 1)
        return;
    check_case("rank 0 has the library");
    {
        dijitso_params *const params = params_with(directory, "build.cxx", slow_compiler(5), "build.precompile",
                                                   "never", "build.slots_dir", "", "parallel.timeout", "12", NULL);
        struct integer integer = {1, 0, NULL, NULL};
        if (ranks_rank() == 0) {
            capture(file_of("before", 0));
            CHECK_OUTCOME(jit_integer("others", params, &integer, MPI_COMM_SELF), 1 + INCLUDED_VALUE, ANY_ORIGIN);
            release();
        }
        ranks_barrier();
        dijitso_params_free(params);
    }
    build("others", directory, 5);
    if (ranks_rank() == 0) {
        CHECK(count_in("others", 1, 2, "compiling others, 2 s\n") == 1);
        CHECK(count_in("others", 0, ranks_size(), "compiling others") == 1);
    }
}

#else

/* Another process builds the same library. */
static void lease(void)
{
    const char *const directory = path_of("%s/leased", work), *const compiler = slow_compiler(6);
    dijitso_params *params;
    struct integer integer = {1, 0, NULL, NULL};
    const pid_t builder = getpid(), child = fork();
    char host[256] = "";
    int status = -1;
    if (child == 0)
        sleep(1);
    gethostname(host, sizeof host - 1);
    /* Other tests hold compiler slots. */
    params = params_with(directory, "build.cxx", compiler, "build.precompile", "never", "build.slots_dir", "", NULL);
    capture(file_of("lease", child == 0));
    CHECK_OUTCOME(jit_integer("leased", params, &integer, COMM), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    release();
    dijitso_params_free(params);
    if (child == 0) {
        CHECK(integer.calls == 0);
        CHECK(count_in("lease", 1, 2, "\n") == 1);
        CHECK(count_in("lease", 1, 2, path_of("waiting for process %d on %s, which has been building \"leased\" for ",
                                              (int)builder, host)) == 1);
        _exit(check_result());
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(count_in("lease", 0, 1, "compiling leased, 2 s\n") == 1);
}

#endif

/* --- failures --------------------------------------------------------------------------------------------------------- */

static void fail(const char *name, struct integer *integer, const char *key, const char *value)
{
    /* Other tests hold compiler slots, and a wait for one is a message, too. */
    dijitso_params *const params = params_with(path_of("%s/failures", work), key, value, "build.slots_dir", "", NULL);
    const char *const place = path_of("rank 0 of %d on ", ranks_size());
    struct outcome outcome;
    const char *text;
    check_case("%s", name);
    capture(file_of(name, ranks_rank()));
    outcome = jit_integer("failing", params, integer, COMM);
    fprintf(stderr, "program: %s\n", dijitso_error_message(outcome.error));
    release();
    CHECK(outcome.status != DIJITSO_OK);
    text = read_all(file_of(name, ranks_rank()));
    /* Only the program has printed the error. */
    CHECK(count(text, "\n") == 1 && strncmp(text, "program: ", 9) == 0);
    CHECK(count(text, "rank ") == count(text, place) && count(text, place) <= 1);
#ifdef WITH_RANKS
    CHECK(count(text, place) == 1);
#endif
    outcome_free(&outcome);
    dijitso_params_free(params);
    ranks_barrier();
}

static void failures(void)
{
    struct integer refused = {1, 0, "int broken = nonsense_of_ours;\n", NULL}, good = {1, 0, NULL, NULL},
                   generate = {1, 0, NULL, "no element of degree -1"};
    fail("refused", &refused, "cache.failure_ttl", "60");
    fail("known-failure", &refused, "cache.failure_ttl", "60");
    fail("generate", &generate, "cache.failure_ttl", "0");
    fail("missing", &good, "build.cxx", "no-such-compiler-42");
    fail("timeout", &good, "build.timeout", "0.01");
}

/* Checks that the error of a failed build says what to do next. */
static void check_advice(const char *what, struct integer *integer, const char *key, const char *value, const char *advice)
{
    dijitso_params *const params = params_with(path_of("%s/failures", work), key, value, "cache.failure_ttl", "0",
                                               NULL);
    struct outcome outcome;
    check_case("%s", what);
    outcome = jit_integer("advised", params, integer, COMM);
    CHECK(outcome.status == DIJITSO_ERROR_COMPILE);
    CHECK_CONTAINS(dijitso_error_message(outcome.error), advice);
#ifdef WITH_RANKS
    ranks_check_same_outcome(COMM, &outcome);
#endif
    outcome_free(&outcome);
    dijitso_params_free(params);
    ranks_barrier();
}

static const char *compiler(const char *name, const char *script)
{
    const char *const path = path_of("%s/%s-c++", work, name);
    if (ranks_rank() == 0)
        write_text(path, path_of("#!/bin/sh\nfor argument; do [ \"$argument\" = -o ] && { %s; }; done\nexec c++ \"$@\"\n",
                                 script), strcmp(name, "forbidden") == 0 ? 0644 : 0755);
    ranks_barrier();
    return path;
}

static void advice(void)
{
    struct integer good = {1, 0, NULL, NULL}, header = {1, 0, "#include <no_such_header_42.h>\n", NULL};
    check_advice("a header is missing", &header, "cache.failure_ttl", "0", "build.include_dirs");
    check_advice("a library is missing", &good, "build.libs", "no_such_library_42", "build.lib_dirs");
    check_advice("a flag is wrong", &good, "build.cxxflags", "-shared -fPIC --no-such-flag-42", "dijitso config");
    check_advice("no compiler", &good, "build.cxx", "no-such-compiler-42", "CXX");
    check_advice("a compiler that may not be run", &good, "build.cxx", compiler("forbidden", ":"), "CXX");
    check_advice("a compiler that is killed", &good, "build.cxx", compiler("killed", "kill -KILL $$"),
                 "build.max_compilers");
    check_advice("a full disk", &good, "build.cxx",
                 compiler("full-disk", "echo 'x.s: fatal error: No space left on device' >&2; exit 1"), "dijitso gc");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } phases[] = {{"slow", slow}, {"failures", failures}, {"advice", advice},
#ifdef WITH_RANKS
                  {"many", many},
#else
                  {"lease", lease},
#endif
    };
    int known = 0;
#ifdef WITH_RANKS
    ranks_start(&argc, &argv);
#else
    CHECK(argc == 3);
#endif
    unsetenv("DIJITSO_LOG");
    work = argv[1];
    for (size_t at = 0; at < sizeof phases / sizeof *phases; ++at) {
        if (strcmp(argv[2], phases[at].name) == 0) {
            phases[at].run();
            known = 1;
        }
    }
    CHECK(known);
#ifdef WITH_RANKS
    return ranks_finish();
#else
    return check_result();
#endif
}
