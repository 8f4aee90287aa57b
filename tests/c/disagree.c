/* If ranks pass different arguments, or one rank a wrong one, all get the same error; the next call works. */
#include "ranks.h"

static const char *work;

static struct outcome call(const char *name, const dijitso_params *params, struct integer *integer)
{
    const struct outcome outcome = jit_integer(name, params, integer, MPI_COMM_WORLD);
    CHECK(outcome.seconds < 20.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    return outcome;
}

static struct outcome jit_same(const char *name, const dijitso_params *params, const dijitso_callbacks *callbacks)
{
    const struct outcome outcome = jit(name, params, callbacks, MPI_COMM_WORLD);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    return outcome;
}

static void check_disagree(struct outcome outcome, const char *named)
{
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), named);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_RANKS_DISAGREE, outcome.error);
}

static int last(void)
{
    return ranks_size() - 1;
}

static int is_last(void)
{
    return ranks_rank() == last();
}

static void names(void)
{
    dijitso_params *const params = params_with(work, NULL);
    struct integer integer = {1, 0, NULL, NULL};
    check_case("names differ");
    check_disagree(call(is_last() ? "left" : "right", params, &integer),
                   path_of("name is \"right\" on rank 0 and \"left\" on rank %d (1 rank differs from rank 0)", last()));
    CHECK(ranks_sum(integer.calls) == 0);
    check_case("names agree again");
    CHECK_OUTCOME(call("right", params, &integer), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

static void parameters(const char *key, const char *usual, const char *other)
{
    dijitso_params *const params = params_with(work, key, is_last() ? other : usual, NULL);
    struct integer integer = {3, 0, NULL, NULL};
    check_case("%s differs", key);
    check_disagree(call("parameters", params, &integer),
                   path_of("for \"parameters\" %s is \"%s\" on rank 0 and \"%s\" on rank %d", key, usual, other, last()));
    CHECK(ranks_sum(integer.calls) == 0);
    dijitso_params_free(params);
}

static void bad_names(void)
{
    static const char *const bad[] = {"", ".hidden", "-option", "a/b", "../../evil", "white space", "semi;colon",
                                      "\xc3\xa4"};
    static char longest[202], too_long[202];
    dijitso_params *const params = params_with(work, NULL);
    struct integer integer = {4, 0, NULL, NULL};
    struct outcome outcome;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        check_case("bad name \"%s\"", bad[i]);
        outcome = call(bad[i], params, &integer);
        CHECK_STATUS(outcome.status, DIJITSO_ERROR_INVALID_ARGUMENT, outcome.error);
    }
    memset(too_long, 'x', 201);
    memset(longest, 'x', 200);
    check_case("201 bytes");
    outcome = call(too_long, params, &integer);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_INVALID_ARGUMENT, outcome.error);
    CHECK(ranks_sum(integer.calls) == 0);
    check_case("200 bytes");
    CHECK_OUTCOME(call(longest, params, &integer), 4 + INCLUDED_VALUE, ANY_ORIGIN);
    check_case("every allowed character");
    CHECK_OUTCOME(call("Az09_.+-", params, &integer), 4 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

static void start_on_last(const char *name, const dijitso_params *params, const dijitso_callbacks *callbacks)
{
    if (is_last()) {
        dijitso_pending *pending = NULL;
        struct outcome outcome = {0, -1, -1, 0.0, NULL, ""};
        outcome.status = dijitso_jit_start(name, params, callbacks, MPI_COMM_WORLD, &pending, &outcome.error);
        CHECK(pending == NULL);
        ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
        outcome_free(&outcome);
    } else {
        check_disagree(jit_same(name, params, callbacks),
                       path_of("rank 0 calls dijitso_jit for \"%s\", rank %d calls dijitso_jit_start for \"%s\"", name,
                               last(), name));
    }
}

/* Only the last rank passes a wrong argument; all ranks get its error. */
static void one_rank_is_wrong(void)
{
    dijitso_params *const params = params_with(work, NULL);
    struct integer integer = {5, 0, NULL, NULL};
    struct outcome outcome;
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;

    check_case("one rank passes a bad name");
    outcome = call(is_last() ? "a/b" : "good", params, &integer);
    CHECK(outcome.status == DIJITSO_ERROR_INVALID_ARGUMENT || outcome.status == DIJITSO_ERROR_RANKS_DISAGREE);
    outcome_free(&outcome);

    check_case("one rank passes NULL for the name");
    outcome = call(is_last() ? NULL : "good", params, &integer);
    CHECK(outcome.status == DIJITSO_ERROR_INVALID_ARGUMENT || outcome.status == DIJITSO_ERROR_RANKS_DISAGREE);
    outcome_free(&outcome);

    check_case("one rank passes callbacks of no size");
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    if (is_last())
        callbacks.struct_size = 0;
    outcome = jit("good", params, &callbacks, MPI_COMM_WORLD);
    CHECK(outcome.status != DIJITSO_OK);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    outcome_free(&outcome);

    check_case("one rank passes no callbacks");
    callbacks.struct_size = sizeof callbacks;
    check_disagree(jit_same("good", params, is_last() ? NULL : &callbacks),
                   path_of("for \"good\" rank 0 sets generate and rank %d sets no callback", last()));

    check_case("one rank calls dijitso_jit_start, the others dijitso_jit");
    start_on_last("good", params, &callbacks);

    check_case("no rank can generate");
    outcome = jit("good", params, NULL, MPI_COMM_WORLD);
    CHECK(outcome.status != DIJITSO_OK);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    outcome_free(&outcome);
    CHECK(ranks_sum(integer.calls) == 0);

    check_case("a healthy call");
    CHECK_OUTCOME(call("good", params, &integer), 5 + INCLUDED_VALUE, ANY_ORIGIN);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    work = argv[1];
    names();
    parameters("build.cxxflags", "-shared -fPIC", "-shared -fPIC -DOTHER");
    parameters("build.libs", "m", "m dl");
    parameters("parallel.buildon", "node", "root");
    parameters("generator", "{\"degree\":1}", "{\"degree\":2}");
    bad_names();
    one_rank_is_wrong();
    return ranks_finish();
}
