/* Calls without a communicator: the role follows from the callbacks. One process is builder and receiver in turn; the
 * blob stays in its memory. */
#include "fixture.h"

#include <stddef.h>
#include <stdlib.h>

static const char *work;

/* The transport between the roles, and counts of the callbacks' calls. */
static struct {
    uint8_t *data;
    size_t size, received;
    int sends, receives, waits, generates;
    int32_t result; /* returned by the next callback */
} wire;

static int32_t send(void *user_data, const uint8_t *data, size_t size)
{
    (void)user_data;
    ++wire.sends;
    wire.data = realloc(wire.data, size + 1);
    memcpy(wire.data, data, size);
    wire.size = wire.received = size;
    return wire.result;
}

static int32_t receive(void *user_data, dijitso_blob *blob)
{
    uint8_t *bytes;
    (void)user_data;
    ++wire.receives;
    if (wire.result != 0)
        return wire.result;
    /* The last call determines the size. */
    CHECK(dijitso_blob_resize(blob, 3) != NULL);
    bytes = dijitso_blob_resize(blob, wire.received);
    CHECK(bytes != NULL || wire.received == 0);
    if (bytes != NULL)
        memcpy(bytes, wire.data, wire.received);
    return 0;
}

static int32_t wait(void *user_data)
{
    (void)user_data;
    ++wire.waits;
    return wire.result;
}

static int32_t generate(void *integer, const char *name, const char *signature, const char *json,
                        dijitso_source *source)
{
    ++wire.generates;
    return integer_generate(integer, name, signature, json, source);
}

enum role { BUILDER = 1, SENDER = 2, RECEIVER = 4, WAITER = 8 };

/* Calls dijitso_jit in the cache directory `side`, with the callbacks of the roles. */
static struct outcome call(const char *name, const char *side, unsigned roles, struct integer *integer)
{
    dijitso_params *const params = params_with(path_of("%s/%s", work, side), NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    callbacks.user_data = integer;
    callbacks.generate = roles & BUILDER ? generate : NULL;
    callbacks.send = roles & SENDER ? send : NULL;
    callbacks.receive = roles & RECEIVER ? receive : NULL;
    callbacks.wait = roles & WAITER ? wait : NULL;
    outcome = jit(name, params, &callbacks, DIJITSO_COMM_NULL);
    dijitso_params_free(params);
    return outcome;
}

static void check_failed(struct outcome outcome, dijitso_status status)
{
    CHECK_STATUS(outcome.status, status, outcome.error);
}

static void delivered(void)
{
    struct integer integer = {20, 0, NULL, NULL};
    check_case("built, sent, received");
    CHECK_OUTCOME(call("sent", "builder", BUILDER | SENDER | WAITER, &integer), 62, ORIGIN(BUILT));
    CHECK(wire.sends == 1 && wire.waits == 1 && wire.size > 0);
    CHECK_OUTCOME(call("sent", "receiver", RECEIVER, &integer), 62, ORIGIN(RECEIVED));
    CHECK(wire.receives == 1 && wire.generates == 1);
    check_case("in memory");
    CHECK_OUTCOME(call("sent", "receiver", 0, &integer), 62, ORIGIN(MEMORY));
}

static void builder_fails(void)
{
    struct integer broken = {1, 0, "int broken() { return undeclared_43; }\n", NULL};
    struct integer refusing = {1, 0, NULL, "no quadrature of degree 99"};
    struct outcome outcome;
    wire.sends = wire.receives = wire.waits = 0;

    check_case("the compiler fails");
    check_failed(call("broken", "builder", BUILDER | SENDER | WAITER, &broken), DIJITSO_ERROR_COMPILE);
    CHECK(wire.sends == 1 && wire.waits == 1);
    outcome = call("broken", "receiver", RECEIVER, &broken);
    if (outcome.error != NULL) {
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "undeclared_43");
        CHECK_CONTAINS(dijitso_error_log(outcome.error), "undeclared_43");
    }
    check_failed(outcome, DIJITSO_ERROR_COMPILE);

    check_case("generate fails");
    check_failed(call("refusing", "builder", BUILDER | SENDER, &refusing), DIJITSO_ERROR_GENERATE);
    outcome = call("refusing", "receiver", RECEIVER, &refusing);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "no quadrature of degree 99");
    check_failed(outcome, DIJITSO_ERROR_GENERATE);

    check_case("only a waiter and no builder");
    outcome = call("unbuilt", "builder", WAITER, &refusing);
    CHECK(outcome.status != DIJITSO_OK);
    outcome_free(&outcome);
}

static void callbacks_fail(void)
{
    struct integer integer = {30, 0, NULL, NULL};
    check_case("a callback returns non-zero");
    wire.result = 9;
    check_failed(call("send_fails", "builder", BUILDER | SENDER, &integer), DIJITSO_ERROR_CALLBACK);
    check_failed(call("receive_fails", "receiver", RECEIVER, &integer), DIJITSO_ERROR_CALLBACK);
    check_failed(call("wait_fails", "builder", WAITER, &integer), DIJITSO_ERROR_CALLBACK);
    wire.result = 0;
}

static void roles(void)
{
    struct integer integer = {40, 0, NULL, NULL};
    struct outcome outcome;
    check_case("generate and receive");
    check_failed(call("roles", "builder", BUILDER | RECEIVER, &integer), DIJITSO_ERROR_INVALID_ARGUMENT);
    check_case("no callback set on a miss");
    outcome = call("roles", "builder", 0, &integer);
    CHECK(outcome.status != DIJITSO_OK);
    outcome_free(&outcome);
    check_case("no callbacks structure");
    outcome = jit("roles", NULL, NULL, DIJITSO_COMM_NULL);
    CHECK(outcome.status != DIJITSO_OK);
    outcome_free(&outcome);
}

/* A truncated or altered blob gives an error; an intact blob then still works. */
static void bad_blobs(void)
{
    struct integer integer = {50, 0, NULL, NULL};
    struct outcome outcome;
    CHECK_OUTCOME(call("blob", "builder", BUILDER | SENDER, &integer), 92, ORIGIN(BUILT));
    for (int i = 0; i < 64; ++i) {
        const size_t at = wire.size * (size_t)i / 64;
        check_case("a blob of %lu bytes truncated at %lu", (unsigned long)wire.size, (unsigned long)at);
        wire.received = at;
        outcome = call("blob", "receiver", RECEIVER, &integer);
        CHECK(outcome.status != DIJITSO_OK && outcome.status != DIJITSO_ERROR_INTERNAL);
        outcome_free(&outcome);
        check_case("a blob of %lu bytes altered at %lu", (unsigned long)wire.size, (unsigned long)at);
        wire.received = wire.size;
        wire.data[at] ^= 0x41;
        outcome = call("blob", "receiver", RECEIVER, &integer);
        CHECK(outcome.status != DIJITSO_OK && outcome.status != DIJITSO_ERROR_INTERNAL);
        outcome_free(&outcome);
        wire.data[at] ^= 0x41;
    }
    check_case("the intact blob");
    CHECK_OUTCOME(call("blob", "receiver", RECEIVER, &integer), 92, ORIGIN(RECEIVED));
    check_case("the blob of another library");
    outcome = call("another", "receiver", RECEIVER, &integer);
    CHECK(outcome.status != DIJITSO_OK);
    outcome_free(&outcome);
}

/* A host compiled with an older or newer header passes a smaller or larger structure. */
static void structure_sizes(void)
{
    struct { dijitso_callbacks known; void *later; } newer = {DIJITSO_CALLBACKS_INIT, NULL};
    struct integer integer = {60, 0, NULL, NULL};
    dijitso_params *const params = params_with(path_of("%s/builder", work), NULL);
    dijitso_callbacks older = DIJITSO_CALLBACKS_INIT;

    check_case("an older structure");
    older.struct_size = offsetof(dijitso_callbacks, send);
    older.user_data = &integer;
    older.generate = integer_generate;
    older.send = send;
    wire.sends = 0;
    CHECK_OUTCOME(jit("older", params, &older, DIJITSO_COMM_NULL), 102, ORIGIN(BUILT));
    CHECK(wire.sends == 0);

    check_case("a newer structure");
    newer.known.struct_size = sizeof newer;
    newer.known.user_data = &integer;
    newer.known.generate = integer_generate;
    CHECK_OUTCOME(jit("newer", params, &newer.known, DIJITSO_COMM_NULL), 102, ORIGIN(BUILT));
    newer.later = &integer;
    check_failed(jit("newest", params, &newer.known, DIJITSO_COMM_NULL), DIJITSO_ERROR_UNSUPPORTED);
    check_case("a structure of no size");
    older.struct_size = 0;
    check_failed(jit("sizeless", params, &older, DIJITSO_COMM_NULL), DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    work = argv[1];
    delivered();
    builder_fails();
    callbacks_fail();
    roles();
    bad_blobs();
    structure_sizes();
    free(wire.data);
    return check_result();
}
