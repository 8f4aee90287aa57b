/* Draws cases from the product of strategies, directories, states of the cache and failures. In every case all ranks
 * return with the same status and message, and the next healthy call gives the right library.
 * usage: matrix WORK run; MATRIX_SEED and MATRIX_CASES choose another sample. */
#define _XOPEN_SOURCE 700
#include "matrix.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum directories { ONE, TWO, OWN, DIRECTORIES };
static const char *const directories_names[DIRECTORIES] = {"one", "two", "own"};

enum state { LOADED, DISK, MISS, TRUNCATED, FLIPPED, UNREADABLE, MISSING, OBSTRUCTED, STATES };
static const char *const state_names[STATES] = {"loaded",  "disk hit",   "miss",    "truncated",
                                                "flipped", "unreadable", "missing", "obstructed"};

static const struct failure {
    enum failure_kind {
        NONE, REFUSES, THROWS, NO_COMPILER, WRONG_SOURCE, KILLED, HANGS, CANCELS, UNLOADABLE, NAME, PARAMETERS, CALLBACK,
        FAILURES
    } kind;
    const char *text;
    dijitso_status status; /* if the call fails; a hit needs neither generate nor compiler */
} failures[FAILURES] = {
    {NONE, "no failure", DIJITSO_OK},
    {REFUSES, "generate returns non-zero", DIJITSO_ERROR_GENERATE},
    {THROWS, "generate throws", DIJITSO_ERROR_GENERATE},
    {NO_COMPILER, "no compiler", DIJITSO_ERROR_COMPILE},
    {WRONG_SOURCE, "wrong source", DIJITSO_ERROR_COMPILE},
    {KILLED, "compiler killed", DIJITSO_ERROR_COMPILE},
    {HANGS, "compiler hangs", DIJITSO_ERROR_COMPILE},
    {CANCELS, "one rank cancels while a compiler hangs", DIJITSO_ERROR_CANCELLED},
    {UNLOADABLE, "does not load on one rank", DIJITSO_ERROR_LOAD},
    {NAME, "another name on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
    {PARAMETERS, "other parameters on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
    {CALLBACK, "no callback on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
};

struct test_case {
    int number;
    const char *strategy;
    enum directories directories;
    enum state state, others; /* of the target rank's directory, and of the others (DISK or MISS) */
    int target;               /* the rank that fails: the first or the last */
    struct failure failure;
    const char *name;
};

static const char *work;
enum { VALUE = 300 };

/* Returns a pseudo-random number, the same on every rank and every machine. */
static unsigned draw(unsigned below)
{
    static unsigned long long state;
    if (state == 0) {
        const char *const seed = getenv("MATRIX_SEED");
        state = seed != NULL ? strtoull(seed, NULL, 10) : 20240229ULL;
        if (ranks_rank() == 0)
            printf("seed %llu\n", state);
        state = state * 2 + 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 20) % below);
}

static struct test_case draw_case(int number)
{
    struct test_case test;
    test.number = number;
    test.strategy = strategies[draw(3)];
    test.directories = (enum directories)draw(DIRECTORIES);
    test.state = (enum state)(draw(STATES + 3) % STATES); /* loaded, hit and miss twice as often */
    test.others = draw(2) ? DISK : MISS;
    test.target = draw(2) ? 0 : ranks_size() - 1;
    /* In turn, so that a small sample has every failure. */
    test.failure = failures[number % FAILURES];
    test.name = test.failure.kind == UNLOADABLE ? "needy" : "matrix";
    return test;
}

/* --- directories ---------------------------------------------------------------------------------------------------- */

static const char *declared_directory(const struct test_case *test, int rank)
{
    const int number = test->directories == ONE ? 0 : test->directories == TWO ? rank % 2 : rank;
    return path_of("%s/case-%d/%d", work, test->number, number);
}

static int shares(const struct test_case *test, int rank)
{
    for (int other = 0; other < ranks_size(); ++other)
        if (other != rank && strcmp(declared_directory(test, other), declared_directory(test, rank)) == 0)
            return 1;
    return 0;
}

/* Returns the cache directory that a rank will use. */
static const char *entry_directory(const struct test_case *test, int rank)
{
    const char *const declared = declared_directory(test, rank);
    return strcmp(test->strategy, "process") == 0 && shares(test, rank) ? path_of("%s/process-%d", declared, rank)
                                                                           : declared;
}

/* Returns the lowest rank with this rank's directory, which prepares it. */
static int owner(const struct test_case *test, int rank)
{
    int other = 0;
    while (strcmp(entry_directory(test, other), entry_directory(test, rank)) != 0)
        ++other;
    return other;
}

/* --- parameters and calls ------------------------------------------------------------------------------------------- */

static dijitso_params *parameters(const struct test_case *test, const char *directory)
{
    return params_with(directory, "build.language", "c", "build.cc", path_of("%s/cc", work), "build.cflags_opt", "-O0",
                       "parallel.buildon", test->strategy, NULL);
}

struct module {
    int needy, wrong;
    const char *refuses;
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    const struct module *const module = user_data;
    char code[512];
    (void)name, (void)json;
    if (module->refuses != NULL) {
        dijitso_source_set_error(source, module->refuses);
        return 3;
    }
    snprintf(code, sizeof code, "#include \"%s.h\"\n%sint value(void) { return HUNDRED * 3%s; }\n%s", signature,
             module->needy ? "int provided_46(void);\n" : "", module->needy ? " + 0 * provided_46()" : "",
             module->wrong ? "#error on purpose\n" : "");
    return dijitso_source_set_header(source, "#define HUNDRED 100\n", 20) != DIJITSO_OK
        || dijitso_source_set_code(source, code, strlen(code)) != DIJITSO_OK;
}

/* Cancels the call once a compiler hangs. */
static int32_t cancel(void *user_data)
{
    (void)user_data;
    return exists(path_of("%s/hanging", work));
}

static int cancels; /* 1 on a rank that is to cancel */

static struct outcome call(const char *name, const dijitso_params *params, struct module *module, MPI_Comm comm)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = module;
    callbacks.generate = module != NULL ? generate : NULL;
    callbacks.poll = cancels ? cancel : NULL;
    return jit(name, params, &callbacks, comm);
}

/* --- states --------------------------------------------------------------------------------------------------------- */

static void run(const char *command)
{
    check_that(system(command) == 0, "command", command, __FILE__, __LINE__);
}

static const char *library_in(const char *directory, const char *name)
{
    glob_t found;
    const char *path = NULL;
    if (glob(path_of("%s/lib/libdijitso-%s_*.so", directory, name), 0, NULL, &found) == 0)
        path = path_of("%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static void flip(const char *path)
{
    FILE *const file = fopen(path, "r+b");
    int byte;
    if (!CHECK(file != NULL))
        return;
    fseek(file, 5000, SEEK_SET);
    byte = fgetc(file);
    fseek(file, 5000, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
}

static void put_into(enum state state, const char *directory, const char *name)
{
    const char *library;
    if (state == MISSING)
        return;
    run(path_of("mkdir -p -m 755 '%s'", directory));
    if (state != MISS)
        run(path_of("cp -a '%s/template/.' '%s'", work, directory));
    library = library_in(directory, name);
    if (!CHECK(state == MISS || library != NULL))
        return;
    switch (state) {
    case TRUNCATED:
        CHECK(truncate(library, 3000) == 0);
        break;
    case FLIPPED:
        flip(library);
        break;
    case UNREADABLE: /* a directory in place of the file, so that root cannot read it either */
        CHECK(unlink(library) == 0);
        make_directory(library);
        break;
    case OBSTRUCTED: /* a file in place of a directory, so that root cannot write there either */
        run(path_of("rm -rf '%s/include'", directory));
        write_text(path_of("%s/include", directory), "", 0600);
        break;
    default:
        break;
    }
}

static void prepare(const struct test_case *test)
{
    const int rank = ranks_rank(), prepares = owner(test, rank) == rank;
    const int has_target = owner(test, test->target) == owner(test, rank);
    if (prepares)
        put_into(has_target ? test->state : test->others, entry_directory(test, rank), test->name);
    ranks_barrier();
    if (test->state == LOADED && rank == test->target && test->failure.kind != UNLOADABLE) {
        dijitso_params *const params = parameters(test, entry_directory(test, rank));
        CHECK_OUTCOME(call(test->name, params, NULL, MPI_COMM_SELF), VALUE, ORIGIN(DISK));
        dijitso_params_free(params);
    }
    ranks_barrier();
}

/* Removes what the library cannot repair: a directory in place of a file, a file in place of a directory. */
static void remove_obstacles(const struct test_case *test)
{
    const int rank = ranks_rank();
    const char *const directory = entry_directory(test, rank), *const include = path_of("%s/include", directory);
    struct stat facts;
    ranks_barrier();
    if (owner(test, rank) == rank) {
        const char *const library = library_in(directory, test->name);
        if (library != NULL && stat(library, &facts) == 0 && S_ISDIR(facts.st_mode))
            CHECK(rmdir(library) == 0);
        if (stat(include, &facts) == 0 && S_ISREG(facts.st_mode))
            CHECK(unlink(include) == 0);
    }
    ranks_barrier();
}

/* --- one case ------------------------------------------------------------------------------------------------------- */

/* Checks that all ranks have the same status and message, and that the status is OK or one that this failure or this
 * state of the cache can give. Returns whether the call succeeded. */
static int check_same(const struct test_case *test, struct outcome *outcome)
{
    const dijitso_status status = ranks_check_same_outcome(MPI_COMM_WORLD, outcome);
    const int unusable = test->state == UNREADABLE || test->state == OBSTRUCTED;
    CHECK(outcome->seconds < 30.0);
    check_that(status == DIJITSO_OK || status == test->failure.status || (status == DIJITSO_ERROR_CACHE && unusable),
               "an expected status", path_of("%d: %s", (int)status, dijitso_error_message(outcome->error)), __FILE__,
               __LINE__);
    if (status == DIJITSO_OK)
        CHECK(outcome->value == VALUE);
    if (test->failure.status == DIJITSO_ERROR_RANKS_DISAGREE || test->failure.kind == UNLOADABLE)
        CHECK(status != DIJITSO_OK);
    outcome_free(outcome);
    return status == DIJITSO_OK;
}

/* Calls the C++ wrapper: a rank on which generate threw gets its exception back, all others the same error. */
static int throwing(const struct test_case *test, MPI_Comm comm)
{
    const int rank = ranks_rank(), size = ranks_size();
    const struct thrown thrown = jit_throwing(test->name, declared_directory(test, rank), path_of("%s/cc", work),
                                              test->strategy, comm);
    struct { int kind, status; char message[sizeof thrown.message]; } all[8], mine;
    const char *message = NULL;
    int threw = 0;
    memset(&mine, 0, sizeof mine);
    mine.kind = thrown.kind;
    mine.status = (int)thrown.status;
    snprintf(mine.message, sizeof mine.message, "%s", thrown.message);
    MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, all, (int)sizeof mine, MPI_BYTE, MPI_COMM_WORLD);
    for (int i = 0; i < size; ++i) {
        CHECK((all[i].kind == THROWN_NOTHING) == (all[0].kind == THROWN_NOTHING));
        threw += all[i].kind == THROWN_BY_GENERATE;
        if (all[i].kind == THROWN_BY_GENERATE)
            CHECK(strcmp(all[i].message, "thrown on purpose") == 0);
        if (all[i].kind == THROWN_BY_DIJITSO) {
            if (message != NULL)
                CHECK(strcmp(all[i].message, message) == 0);
            message = all[i].message;
            CHECK(all[i].status == DIJITSO_ERROR_GENERATE || all[i].status == DIJITSO_ERROR_CACHE);
        }
    }
    if (threw > 0 && message != NULL)
        CHECK_CONTAINS(message, "thrown on purpose");
    return thrown.kind == THROWN_NOTHING;
}

static int fail(const struct test_case *test, MPI_Comm comm)
{
    const int is_target = ranks_rank() == test->target;
    const enum failure_kind kind = test->failure.kind;
    dijitso_params *const params = parameters(test, declared_directory(test, ranks_rank()));
    const char *const compiler = path_of("%s/cc", work), *const away = path_of("%s/cc-away", work);
    struct module module = {kind == UNLOADABLE, kind == WRONG_SOURCE, kind == REFUSES ? "not on purpose" : NULL};
    struct outcome outcome;
    int worked;
    if (kind == NO_COMPILER && ranks_rank() == 0)
        CHECK(rename(compiler, away) == 0);
    if (kind == KILLED || kind == HANGS || kind == CANCELS)
        setenv("MATRIX_FAULT", kind == KILLED ? "killed" : "hangs", 1);
    if (kind == CANCELS && ranks_rank() == 0)
        unlink(path_of("%s/hanging", work));
    cancels = kind == CANCELS && is_target;
    if (kind == HANGS)
        CHECK(dijitso_params_set(params, "build.timeout", "1", NULL) == DIJITSO_OK);
    if (kind == PARAMETERS && is_target)
        CHECK(dijitso_params_set(params, "generator", "{\"degree\": 2}", NULL) == DIJITSO_OK);
    ranks_barrier();
    if (kind == THROWS) {
        worked = throwing(test, comm);
    } else {
        outcome = call(kind == NAME && is_target ? "another" : test->name, params,
                      kind == CALLBACK && is_target ? NULL : &module, comm);
        worked = check_same(test, &outcome);
    }
    ranks_barrier();
    if (kind == NO_COMPILER && ranks_rank() == 0)
        CHECK(rename(away, compiler) == 0);
    unsetenv("MATRIX_FAULT");
    cancels = 0;
    dijitso_params_free(params);
    return worked;
}

/* Returns whether every rank has the library on its disk, so that no failure of generate or the compiler matters. */
static int must_succeed(const struct test_case *test)
{
    int everywhere = test->others == DISK;
    if (test->state != LOADED && test->state != DISK)
        return 0;
    for (int rank = 0; !everywhere && rank < ranks_size(); ++rank)
        if (owner(test, rank) != owner(test, test->target))
            return 0;
    return test->failure.status != DIJITSO_ERROR_RANKS_DISAGREE && test->failure.kind != UNLOADABLE;
}

static int try_case(const struct test_case *test)
{
    struct module healthy = {0, 0, NULL};
    dijitso_params *params;
    struct outcome outcome;
    MPI_Comm comm;
    int worked;
    check_case("case %d: %s, directories %s, rank %d's %s, others %s, %s", test->number, test->strategy,
               directories_names[test->directories], test->target, state_names[test->state],
               state_names[test->others], test->failure.text);
    if (ranks_rank() == 0)
        make_directory(path_of("%s/case-%d", work, test->number));
    ranks_barrier();
    prepare(test);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    worked = fail(test, comm);
    CHECK(worked || !must_succeed(test));
    remove_obstacles(test);
    /* A healthy call on the same communicator. The last rank still lacks the provider, so take a library without it. */
    params = parameters(test, declared_directory(test, ranks_rank()));
    outcome = call(test->failure.kind == UNLOADABLE ? "loadable" : test->name, params, &healthy, comm);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
    MPI_Comm_free(&comm);
    return worked;
}

/* Builds the entries that the cases copy; a build does not depend on the directory. */
static void make_template(void)
{
    static const struct test_case plain_case = {0, "node", ONE, MISS, MISS, 0, {NONE, "", DIJITSO_OK}, ""};
    struct module plain = {0, 0, NULL}, needy = {1, 0, NULL};
    check_case("the template");
    if (ranks_rank() == 0) {
        dijitso_params *params;
        write_text(path_of("%s/cc", work),
                   path_of("#!/bin/sh\n"
                           "case \"$*\" in *' -o '* | '-o '*)\n"
                           "  case $MATRIX_FAULT in\n"
                           "    killed) kill -KILL $$ ;;\n"
                           "    hangs) : > '%s/hanging'; exec sleep 60 ;;\n"
                           "  esac\n"
                           "esac\n"
                           "exec cc \"$@\"\n",
                           work),
                   0755);
        params = parameters(&plain_case, path_of("%s/template", work));
        CHECK_OUTCOME(call("matrix", params, &plain, MPI_COMM_SELF), VALUE, ANY_ORIGIN);
        CHECK_OUTCOME(call("needy", params, &needy, MPI_COMM_SELF), VALUE, ANY_ORIGIN);
        dijitso_params_free(params);
    }
    ranks_barrier();
}

int main(int argc, char **argv)
{
    const char *const wanted = getenv("MATRIX_CASES");
    const int count = wanted != NULL ? atoi(wanted) : 72;
    int worked = 0;
    double start;
    ranks_start(&argc, &argv);
    work = argv[1];
    /* Without the provider, the last rank cannot load "needy". */
    if (ranks_rank() != ranks_size() - 1)
        CHECK(dlopen(PROVIDER, RTLD_NOW | RTLD_GLOBAL) != NULL);
    make_template();
    start = now();
    for (int number = 0; number < count; ++number) {
        const struct test_case test = draw_case(number);
        worked += try_case(&test);
    }
    if (ranks_rank() == 0)
        printf("%d cases on %d ranks in %.1f s: %d calls succeeded, %d failed alike on all ranks\n", count,
               ranks_size(), now() - start, worked, count - worked);
    return ranks_finish();
}
