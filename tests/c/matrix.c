/* A sample of the product of strategies, directories, states of a cache and failures, over real MPI. In every case all
 * ranks return, with the same status and the same message, and a healthy call afterwards gives the right library.
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
        NONE, REFUSES, THROWS, NO_COMPILER, WRONG_SOURCE, KILLED, HANGS, UNLOADABLE, NAME, PARAMETERS, CALLBACK, FAILURES
    } kind;
    const char *text;
    dijitso_status status; /* where the call fails by it; a hit needs no generate and no compiler */
} failures[FAILURES] = {
    {NONE, "no failure", DIJITSO_OK},
    {REFUSES, "generate returns non-zero", DIJITSO_ERROR_GENERATE},
    {THROWS, "generate throws", DIJITSO_ERROR_GENERATE},
    {NO_COMPILER, "no compiler", DIJITSO_ERROR_COMPILE},
    {WRONG_SOURCE, "wrong source", DIJITSO_ERROR_COMPILE},
    {KILLED, "compiler killed", DIJITSO_ERROR_COMPILE},
    {HANGS, "compiler hangs", DIJITSO_ERROR_COMPILE},
    {UNLOADABLE, "does not load on one rank", DIJITSO_ERROR_LOAD},
    {NAME, "another name on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
    {PARAMETERS, "other parameters on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
    {CALLBACK, "no callback on one rank", DIJITSO_ERROR_RANKS_DISAGREE},
};

struct scene {
    int number;
    const char *strategy;
    enum directories directories;
    enum state state, others; /* of the struck rank's directory, and of the other directories: DISK or MISS */
    int struck;               /* the first rank or the last */
    struct failure failure;
    const char *name;
};

static const char *work;
enum { VALUE = 300 };

/* The same numbers on every rank and every machine. */
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

static struct scene draw_scene(int number)
{
    struct scene scene;
    scene.number = number;
    scene.strategy = strategies[draw(3)];
    scene.directories = (enum directories)draw(DIRECTORIES);
    scene.state = (enum state)(draw(STATES + 3) % STATES); /* hits and misses twice as often */
    scene.others = draw(2) ? DISK : MISS;
    scene.struck = draw(2) ? 0 : ranks_size() - 1;
    /* Each failure in turn, or a sample would miss some. */
    scene.failure = failures[number % FAILURES];
    scene.name = scene.failure.kind == UNLOADABLE ? "needy" : "matrix";
    return scene;
}

/* --- where the entries lie ------------------------------------------------------------------------------------------ */

static const char *declared_directory(const struct scene *scene, int rank)
{
    const int number = scene->directories == ONE ? 0 : scene->directories == TWO ? rank % 2 : rank;
    return path_of("%s/case-%d/%d", work, scene->number, number);
}

static int shares(const struct scene *scene, int rank)
{
    for (int other = 0; other < ranks_size(); ++other)
        if (other != rank && strcmp(declared_directory(scene, other), declared_directory(scene, rank)) == 0)
            return 1;
    return 0;
}

/* The cache directory that a rank will use. */
static const char *entry_directory(const struct scene *scene, int rank)
{
    const char *const declared = declared_directory(scene, rank);
    return strcmp(scene->strategy, "process") == 0 && shares(scene, rank) ? path_of("%s/process-%d", declared, rank)
                                                                           : declared;
}

/* The lowest rank with this rank's directory, which prepares it. */
static int owner(const struct scene *scene, int rank)
{
    int other = 0;
    while (strcmp(entry_directory(scene, other), entry_directory(scene, rank)) != 0)
        ++other;
    return other;
}

/* --- parameters and calls ------------------------------------------------------------------------------------------- */

static dijitso_params *parameters(const struct scene *scene, const char *directory)
{
    return params_with(directory, "build.language", "c", "build.cc", path_of("%s/cc", work), "build.cflags_opt", "-O0",
                       "parallel.buildon", scene->strategy, NULL);
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

static struct outcome ask(const char *name, const dijitso_params *params, struct module *module, MPI_Comm comm)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = module;
    callbacks.generate = module != NULL ? generate : NULL;
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
    case UNREADABLE: /* also for root */
        CHECK(unlink(library) == 0);
        make_directory(library);
        break;
    case OBSTRUCTED: /* nothing can be written there, also not by root */
        run(path_of("rm -rf '%s/include'", directory));
        write_text(path_of("%s/include", directory), "", 0600);
        break;
    default:
        break;
    }
}

static void prepare(const struct scene *scene)
{
    const int rank = ranks_rank(), leads = owner(scene, rank) == rank;
    const int struck = owner(scene, scene->struck) == owner(scene, rank);
    if (leads)
        put_into(struck ? scene->state : scene->others, entry_directory(scene, rank), scene->name);
    ranks_barrier();
    if (scene->state == LOADED && rank == scene->struck && scene->failure.kind != UNLOADABLE) {
        dijitso_params *const params = parameters(scene, entry_directory(scene, rank));
        CHECK_OUTCOME(ask(scene->name, params, NULL, MPI_COMM_SELF), VALUE, ORIGIN(DISK));
        dijitso_params_free(params);
    }
    ranks_barrier();
}

/* What no library can mend: a folder where a file should be, a file where a folder should be. */
static void tidy(const struct scene *scene)
{
    const int rank = ranks_rank();
    const char *const directory = entry_directory(scene, rank), *const include = path_of("%s/include", directory);
    struct stat facts;
    ranks_barrier();
    if (owner(scene, rank) == rank) {
        const char *const library = library_in(directory, scene->name);
        if (library != NULL && stat(library, &facts) == 0 && S_ISDIR(facts.st_mode))
            CHECK(rmdir(library) == 0);
        if (stat(include, &facts) == 0 && S_ISREG(facts.st_mode))
            CHECK(unlink(include) == 0);
    }
    ranks_barrier();
}

/* --- one case ------------------------------------------------------------------------------------------------------- */

/* All have the same status and message: right, or one that this failure or this state of the cache gives. */
static int check_same(const struct scene *scene, struct outcome *outcome)
{
    const dijitso_status status = ranks_check_same_outcome(MPI_COMM_WORLD, outcome);
    const int spoilt = scene->state == UNREADABLE || scene->state == OBSTRUCTED;
    CHECK(outcome->seconds < 30.0);
    check_that(status == DIJITSO_OK || status == scene->failure.status || (status == DIJITSO_ERROR_CACHE && spoilt),
               "an expected status", path_of("%d: %s", (int)status, dijitso_error_message(outcome->error)), __FILE__,
               __LINE__);
    if (status == DIJITSO_OK)
        CHECK(outcome->value == VALUE);
    if (scene->failure.status == DIJITSO_ERROR_RANKS_DISAGREE || scene->failure.kind == UNLOADABLE)
        CHECK(status != DIJITSO_OK);
    outcome_free(outcome);
    return status == DIJITSO_OK;
}

/* Through the C++ wrapper: a rank on which generate threw gets its exception back, all others the same error. */
static int throwing(const struct scene *scene, MPI_Comm comm)
{
    const int rank = ranks_rank(), size = ranks_size();
    const struct thrown thrown = jit_throwing(scene->name, declared_directory(scene, rank), path_of("%s/cc", work),
                                              scene->strategy, comm);
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

static int fail(const struct scene *scene, MPI_Comm comm)
{
    const int struck = ranks_rank() == scene->struck;
    const enum failure_kind kind = scene->failure.kind;
    dijitso_params *const params = parameters(scene, declared_directory(scene, ranks_rank()));
    const char *const compiler = path_of("%s/cc", work), *const away = path_of("%s/cc-away", work);
    struct module module = {kind == UNLOADABLE, kind == WRONG_SOURCE, kind == REFUSES ? "not on purpose" : NULL};
    struct outcome outcome;
    int worked;
    if (kind == NO_COMPILER && ranks_rank() == 0)
        CHECK(rename(compiler, away) == 0);
    if (kind == KILLED || kind == HANGS)
        setenv("MATRIX_FAULT", kind == KILLED ? "killed" : "hangs", 1);
    if (kind == HANGS)
        CHECK(dijitso_params_set(params, "build.timeout", "1", NULL) == DIJITSO_OK);
    if (kind == PARAMETERS && struck)
        CHECK(dijitso_params_set(params, "generator", "{\"degree\": 2}", NULL) == DIJITSO_OK);
    ranks_barrier();
    if (kind == THROWS) {
        worked = throwing(scene, comm);
    } else {
        outcome = ask(kind == NAME && struck ? "another" : scene->name, params,
                      kind == CALLBACK && struck ? NULL : &module, comm);
        worked = check_same(scene, &outcome);
    }
    ranks_barrier();
    if (kind == NO_COMPILER && ranks_rank() == 0)
        CHECK(rename(away, compiler) == 0);
    unsetenv("MATRIX_FAULT");
    dijitso_params_free(params);
    return worked;
}

/* What every rank has on its disk is had without generate and compiler. */
static int has_to_work(const struct scene *scene)
{
    int everywhere = scene->others == DISK;
    if (scene->state != LOADED && scene->state != DISK)
        return 0;
    for (int rank = 0; !everywhere && rank < ranks_size(); ++rank)
        if (owner(scene, rank) != owner(scene, scene->struck))
            return 0;
    return scene->failure.status != DIJITSO_ERROR_RANKS_DISAGREE && scene->failure.kind != UNLOADABLE;
}

static int try_scene(const struct scene *scene)
{
    struct module healthy = {0, 0, NULL};
    dijitso_params *params;
    struct outcome outcome;
    MPI_Comm comm;
    int worked;
    check_case("case %d: %s, directories %s, rank %d's %s, others %s, %s", scene->number, scene->strategy,
               directories_names[scene->directories], scene->struck, state_names[scene->state],
               state_names[scene->others], scene->failure.text);
    if (ranks_rank() == 0)
        make_directory(path_of("%s/case-%d", work, scene->number));
    ranks_barrier();
    prepare(scene);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    worked = fail(scene, comm);
    CHECK(worked || !has_to_work(scene));
    tidy(scene);
    /* The next healthy call on the same communicator. What was needed to load stays missing where it was missing. */
    params = parameters(scene, declared_directory(scene, ranks_rank()));
    outcome = ask(scene->failure.kind == UNLOADABLE ? "loadable" : scene->name, params, &healthy, comm);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
    MPI_Comm_free(&comm);
    return worked;
}

/* Entries are copied from here: what is built does not depend on the directory. */
static void make_template(void)
{
    static const struct scene any = {0, "node", ONE, MISS, MISS, 0, {NONE, "", DIJITSO_OK}, ""};
    struct module plain = {0, 0, NULL}, needy = {1, 0, NULL};
    check_case("the template");
    if (ranks_rank() == 0) {
        dijitso_params *params;
        write_text(path_of("%s/cc", work),
                   "#!/bin/sh\n"
                   "case \"$*\" in *' -o '* | '-o '*)\n"
                   "  case $MATRIX_FAULT in\n"
                   "    killed) kill -KILL $$ ;;\n"
                   "    hangs) exec sleep 60 ;;\n"
                   "  esac\n"
                   "esac\n"
                   "exec cc \"$@\"\n",
                   0755);
        params = parameters(&any, path_of("%s/template", work));
        CHECK_OUTCOME(ask("matrix", params, &plain, MPI_COMM_SELF), VALUE, ANY_ORIGIN);
        CHECK_OUTCOME(ask("needy", params, &needy, MPI_COMM_SELF), VALUE, ANY_ORIGIN);
        dijitso_params_free(params);
    }
    ranks_barrier();
}

int main(int argc, char **argv)
{
    const char *const wanted = getenv("MATRIX_CASES");
    const int count = wanted != NULL ? atoi(wanted) : 66;
    int worked = 0;
    double start;
    ranks_start(&argc, &argv);
    work = argv[1];
    /* On the last rank a library that needs this one does not load. */
    if (ranks_rank() != ranks_size() - 1)
        CHECK(dlopen(PROVIDER, RTLD_NOW | RTLD_GLOBAL) != NULL);
    make_template();
    start = now();
    for (int number = 0; number < count; ++number) {
        const struct scene scene = draw_scene(number);
        worked += try_scene(&scene);
    }
    if (ranks_rank() == 0)
        printf("%d cases on %d ranks in %.1f s: %d calls succeeded, %d failed alike on all ranks\n", count,
               ranks_size(), now() - start, worked, count - worked);
    return ranks_finish();
}
