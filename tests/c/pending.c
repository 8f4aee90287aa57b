/* dijitso_jit_start and dijitso_jit_finish: nine modules are started before one is finished, on all ranks and within
 * generate. Some builds fail, some are cancelled, and some ranks make another call.
 * usage: pending WORK cold|warm|faults|leave|left|forked|late, each in new processes. leave ends the program while
 * compilers run; left checks that none survives; late needs more than one rank. */
#define _POSIX_C_SOURCE 200809L
#include "ranks.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MODULES = 9 };

static dijitso_pending *start(const char *name, const dijitso_params *params, struct integer *integer, MPI_Comm comm)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_pending *pending = NULL;
    callbacks.user_data = integer;
    callbacks.generate = integer_generate;
    CHECK_CALL(dijitso_jit_start(name, params, &callbacks, comm, &pending, &error), DIJITSO_OK);
    CHECK(pending != NULL);
    return pending;
}

static struct outcome finish(dijitso_pending *pending)
{
    struct outcome outcome = {DIJITSO_OK, -1, -1, 0.0, NULL, ""};
    dijitso_library *library = NULL;
    dijitso_fn value;
    outcome.status = dijitso_jit_finish(pending, &library, &outcome.error);
    if (library != NULL) {
        outcome.origin = dijitso_library_origin(library);
        snprintf(outcome.signature, sizeof outcome.signature, "%s", dijitso_library_signature(library));
        if (dijitso_library_symbol(library, "value", &value, NULL) == DIJITSO_OK)
            outcome.value = ((int (*)(void))value)();
    }
    dijitso_library_free(library);
    return outcome;
}

static void try_nine(const char *root, const char *strategy, enum layout layout, MPI_Comm comm, int cold)
{
    dijitso_params *const params =
        params_with(layout_directory(root, strategy, layout), "parallel.buildon", strategy, NULL);
    struct integer integers[MODULES];
    dijitso_pending *pending[MODULES];
    uint64_t done = 0, total = 0, before = 0;
    int calls = 0;
    dijitso_progress(NULL, &before);
    check_case("nine, %s, %s", strategy, layouts[layout]);
    for (int i = 0; i < MODULES; ++i) {
        integers[i] = (struct integer){i, 0, NULL, NULL};
        pending[i] = start(path_of("nine_%s_%s_%d", strategy, layouts[layout], i), params, &integers[i], comm);
    }
    /* In reverse: the order need not be that of the starts. */
    for (int i = MODULES - 1; i >= 0; --i) {
        struct outcome outcome = finish(pending[i]);
        ranks_check_same_outcome(comm, &outcome);
        CHECK_OUTCOME(outcome, i + INCLUDED_VALUE,
                      cold ? ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED) : ORIGIN(DISK));
        CHECK((ranks_sum(integers[i].calls) > 0) == cold);
        calls += integers[i].calls;
    }
    /* This rank has built what it has generated. */
    dijitso_progress(&done, &total);
    CHECK(done == total && total - before == (uint64_t)calls);
    for (int i = 0; i < MODULES; ++i) {
        struct outcome outcome =
            finish(start(path_of("nine_%s_%s_%d", strategy, layouts[layout], i), params, &integers[i], comm));
        CHECK_OUTCOME(outcome, i + INCLUDED_VALUE, ORIGIN(MEMORY));
    }
    dijitso_params_free(params);
}

/* A library that needs two others, which are built at the same time. */
struct parent {
    const dijitso_params *params;
    int leaves_unfinished; /* generate returns without finishing the second one */
    dijitso_pending *unfinished;
};

static int32_t generate_parent(void *user_data, const char *name, const char *signature, const char *generator_json,
                               dijitso_source *source)
{
    struct parent *const parent = user_data;
    struct integer children[2];
    dijitso_pending *pending[2];
    char code[2048];
    struct outcome first, second;
    int status = 0;
    (void)signature, (void)generator_json;
    for (int i = 0; i < 2; ++i) {
        static const char *const extra[] = {"extern \"C\" int first() { return 1 + included_value; }\n",
                                            "extern \"C\" int second() { return 2 + included_value; }\n"};
        children[i] = (struct integer){i, 0, extra[i], NULL};
        pending[i] = start(path_of("%s_child_%d", name, i), parent->params, &children[i], MPI_COMM_WORLD);
    }
    first = finish(pending[0]);
    if (parent->leaves_unfinished) {
        parent->unfinished = pending[1];
        outcome_free(&first);
        return dijitso_source_set_code(source, "int x;", 6);
    }
    second = finish(pending[1]);
    CHECK(first.status == DIJITSO_OK && second.status == DIJITSO_OK);
    snprintf(code, sizeof code,
             "#include \"%s.h\"\nextern \"C\" int first();\nextern \"C\" int second();\n"
             "extern \"C\" int value() { return first() + second() + included_value; }\n", first.signature);
    status = dijitso_source_add_dependency(source, first.signature)
             || dijitso_source_add_dependency(source, second.signature)
             || dijitso_source_set_code(source, code, strlen(code));
    outcome_free(&first);
    outcome_free(&second);
    return status;
}

static void try_nested(const char *root, const char *strategy, enum layout layout)
{
    dijitso_params *const params =
        params_with(layout_directory(root, strategy, layout), "parallel.buildon", strategy, NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct parent parent = {params, 0, NULL};
    dijitso_pending *pending = NULL;
    struct outcome outcome;
    callbacks.user_data = &parent;
    callbacks.generate = generate_parent;
    check_case("nested, %s, %s", strategy, layouts[layout]);
    CHECK_CALL(dijitso_jit_start(path_of("parent_%s_%s", strategy, layouts[layout]), params, &callbacks,
                                 MPI_COMM_WORLD, &pending, &error), DIJITSO_OK);
    outcome = finish(pending);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 3 + 3 * INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED));

    parent.leaves_unfinished = 1;
    outcome = jit(path_of("unfinished_%s_%s", strategy, layouts[layout]), params, &callbacks, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_CONTAINS(outcome.error == NULL ? "" : dijitso_error_message(outcome.error), "that it has not finished");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_GENERATE, outcome.error);
    if (parent.unfinished != NULL) {
        outcome = finish(parent.unfinished);
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_STATE, outcome.error);
    }
    dijitso_params_free(params);
}

static void try_faults(const char *root, const char *strategy, enum layout layout)
{
    dijitso_params *const params =
        params_with(layout_directory(root, strategy, layout), "parallel.buildon", strategy, NULL);
    const char *const tag = path_of("%s_%s", strategy, layouts[layout]);
    struct integer good = {1, 0, NULL, NULL}, refused = {2, 0, "#error refused\n", NULL},
                   ungenerated = {3, 0, NULL, "there is no such form"};
    const int last = ranks_rank() == ranks_size() - 1 && ranks_size() > 1;
    dijitso_pending *a, *b, *c, *d;
    struct outcome outcome;
    check_case("faults, %s", tag);
    a = start(path_of("a_%s", tag), params, &good, MPI_COMM_WORLD);
    b = start(path_of("b_%s", tag), params, &refused, MPI_COMM_WORLD);
    c = start(path_of("c_%s", tag), params, &ungenerated, MPI_COMM_WORLD);
    d = start(path_of("d_%s", tag), params, &good, MPI_COMM_WORLD);
    dijitso_pending_free(d);
    outcome = finish(c);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_CONTAINS(outcome.error == NULL ? "" : dijitso_error_message(outcome.error), "there is no such form");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_GENERATE, outcome.error);
    outcome = finish(b);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_CONTAINS(outcome.error == NULL ? "" : dijitso_error_message(outcome.error), "refused");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    outcome = finish(a);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ANY_ORIGIN);

    /* The last rank finishes another build: all ranks get an error, and the next call works. */
    a = start(path_of("e_%s", tag), params, &good, MPI_COMM_WORLD);
    b = start(path_of("f_%s", tag), params, &good, MPI_COMM_WORLD);
    outcome = finish(last ? b : a);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    if (ranks_size() > 1) {
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_RANKS_DISAGREE, outcome.error);
        dijitso_pending_free(last ? a : b);
    } else {
        CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ANY_ORIGIN);
        outcome = finish(b);
        CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ANY_ORIGIN);
    }
    outcome = jit_integer(path_of("f_%s", tag), params, &good, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

/* Ends the program while compilers run that would take a minute. */
static void end_during_builds(const char *work)
{
    const char *const slow = path_of("%s/slow-%d", work, ranks_rank());
    const char *const started = path_of("%s/started-%d", work, ranks_rank());
    struct integer good = {1, 0, NULL, NULL};
    dijitso_params *params;
    write_text(slow, path_of("#!/bin/sh\ncase \" $* \" in *' -o '*) echo $$ > '%s'; sleep 60;; "
                             "*) echo slow version 1;; esac\n", started), 0700);
    params = params_with(path_of("%s/left-%d", work, ranks_rank()), "build.cxx", slow, "build.slots_dir", "",
                         "cache.signature", "name", NULL);
    for (int i = 0; i < 3; ++i)
        start(path_of("left_%d", i), params, &good, MPI_COMM_NULL);
    for (int i = 0; i < 3000 && !exists(started); ++i)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    CHECK(exists(started));
    dijitso_params_free(params);
}

/* Checks that every compiler has ended and no lease is left. */
static void check_nothing_is_left(const char *work)
{
    FILE *const file = fopen(path_of("%s/started-%d", work, ranks_rank()), "r");
    int process = 0;
    CHECK(file != NULL && fscanf(file, "%d", &process) == 1);
    if (file != NULL)
        fclose(file);
    CHECK(!exists(path_of("/proc/%d", process)));
    for (int i = 0; i < 3; ++i)
        CHECK(!exists(path_of("%s/left-%d/lease/left_%d", work, ranks_rank(), i)));
}

/* A host may fork between start and finish, as Python's subprocess and multiprocessing do. The child has no build threads
 * and must not use MPI, so its calls fail; those of the parent work. */
static void fork_in_between(const char *work)
{
    static const char text[] = "forked child";
    dijitso_params *const params = params_with(path_of("%s/forked", work), NULL);
    struct integer known = {1, 0, NULL, NULL}, alone = {10 + ranks_rank(), 0, NULL, NULL}, all = {30, 0, NULL, NULL};
    dijitso_pending *pending[4];
    struct outcome outcome;
    pid_t child;
    int status = -1;
    CHECK_OUTCOME(jit_integer("known", params, &known, MPI_COMM_WORLD), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    pending[0] = start(path_of("forked_alone_%d", ranks_rank()), params, &alone, MPI_COMM_NULL);
    pending[1] = start("forked_all", params, &all, MPI_COMM_WORLD);
    pending[2] = start("forked_freed", params, &all, MPI_COMM_WORLD);
    pending[3] = start("known", params, &known, MPI_COMM_WORLD);
    child = fork();
    if (child == 0) {
        alarm(60); /* ends the child if it hangs, which the parent notices */
        check_case("in the child");
        check_state.failures = 0;
        for (int i = 0; i < 2; ++i) {
            outcome = finish(pending[i]);
            CHECK_CONTAINS(outcome.error == NULL ? "" : dijitso_error_message(outcome.error), text);
            CHECK_STATUS(outcome.status, DIJITSO_ERROR_STATE, outcome.error);
        }
        dijitso_pending_free(pending[2]);
        outcome = finish(pending[3]);
        CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ORIGIN(MEMORY));
        outcome = jit_integer("child", params, &all, MPI_COMM_WORLD);
        CHECK_CONTAINS(outcome.error == NULL ? "" : dijitso_error_message(outcome.error), text);
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_STATE, outcome.error);
        fflush(NULL);
        _exit(check_state.failures != 0);
    }
    check_case("in the parent");
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    outcome = finish(pending[0]);
    CHECK_OUTCOME(outcome, 10 + ranks_rank() + INCLUDED_VALUE, ORIGIN(BUILT));
    outcome = finish(pending[1]);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 30 + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK));
    outcome = finish(pending[2]);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_OUTCOME(outcome, 30 + INCLUDED_VALUE, ORIGIN(BUILT) | ORIGIN(DISK));
    outcome = finish(pending[3]);
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ORIGIN(MEMORY));
    dijitso_params_free(params);
}

static void sleep_seconds(int seconds)
{
    struct timespec left = {seconds, 0};
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* parallel.timeout between start and finish. Each case has its own communicator, which cannot be used afterwards. */
static void time_out(const char *work)
{
    const char *const slow = path_of("%s/slow", work);
    const int last = ranks_size() - 1;
    struct integer good = {1, 0, NULL, NULL};
    dijitso_params *const quick = params_with(path_of("%s/late", work), "parallel.timeout", "1", NULL);
    dijitso_params *held;
    dijitso_pending *pending, *other;
    struct outcome outcome;
    MPI_Comm comm;
    if (ranks_rank() == 0)
        write_text(slow, "#!/bin/sh\ncase \" $* \" in *' -o '*) sleep 4;; esac\nexec c++ \"$@\"\n", 0700);
    ranks_barrier();
    held = params_with(path_of("%s/held", work), "parallel.timeout", "1", "build.cxx", slow, "build.slots_dir", "",
                       "cache.signature", "name", "parallel.buildon", "root", NULL);

    check_case("a rank that does not finish");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    CHECK_OUTCOME(jit_integer("before", quick, &good, comm), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    pending = start("absent", quick, &good, comm);
    other = start("other", quick, &good, comm);
    if (ranks_rank() == last)
        sleep_seconds(4);
    outcome = finish(pending);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK(outcome.error == NULL || dijitso_error_rank(outcome.error) == last);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_TIMEOUT, outcome.error);
    outcome = finish(other);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_TIMEOUT, outcome.error);
    CHECK_CALL(dijitso_jit_start("later", quick, NULL, comm, &pending, &error), DIJITSO_ERROR_TIMEOUT);
    CHECK(pending == NULL);
    MPI_Comm_free(&comm);

    check_case("a rank that does not start");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    CHECK_OUTCOME(jit_integer("before", quick, &good, comm), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    if (ranks_rank() == last)
        sleep_seconds(4);
    CHECK_CALL(dijitso_jit_start("unstarted", quick, NULL, comm, &pending, &error), DIJITSO_ERROR_TIMEOUT);
    CHECK(pending == NULL);
    MPI_Comm_free(&comm);

    check_case("a build that takes longer than parallel.timeout");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    pending = start("held", held, &good, comm);
    outcome = finish(pending);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    CHECK(outcome.error == NULL || dijitso_error_rank(outcome.error) == 0);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_TIMEOUT, outcome.error);
    MPI_Comm_free(&comm);

    check_case("the build has been completed");
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    CHECK_OUTCOME(finish(start("held", held, &good, comm)), 1 + INCLUDED_VALUE, ORIGIN(DISK) | ORIGIN(MEMORY));
    MPI_Comm_free(&comm);
    dijitso_params_free(quick);
    dijitso_params_free(held);
}

int main(int argc, char **argv)
{
    const char *root;
    ranks_start(&argc, &argv);
    root = path_of("%s/caches", argv[1]);
    make_directory(root);
    for (int strategy = 0; strategy < 3; ++strategy)
        for (int layout = 0; layout < LAYOUTS; ++layout) {
            if (strcmp(argv[2], "cold") == 0 || strcmp(argv[2], "warm") == 0)
                try_nine(root, strategies[strategy], (enum layout)layout, MPI_COMM_WORLD, strcmp(argv[2], "cold") == 0);
            if (strcmp(argv[2], "cold") == 0)
                try_nested(root, strategies[strategy], (enum layout)layout);
            if (strcmp(argv[2], "faults") == 0)
                try_faults(root, strategies[strategy], (enum layout)layout);
        }
    if (strcmp(argv[2], "leave") == 0)
        end_during_builds(argv[1]);
    if (strcmp(argv[2], "left") == 0)
        check_nothing_is_left(argv[1]);
    if (strcmp(argv[2], "forked") == 0)
        fork_in_between(argv[1]);
    if (strcmp(argv[2], "late") == 0)
        time_out(argv[1]);
    return ranks_finish();
}
