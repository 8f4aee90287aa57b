/* Build plans in one process: results, libraries, failures, nodes that callbacks add, events, plan files, and makes
 * that are cancelled by another thread, by a signal handler and by poll. usage: plan WORK run */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static dijitso_plan *new_plan(const char *directory)
{
    dijitso_params *const params = params_with(directory, NULL);
    dijitso_plan *plan = NULL;
    CHECK_CALL(dijitso_plan_new("test", params, &plan, &error), DIJITSO_OK);
    dijitso_params_free(params);
    return plan;
}

/* The user_data of tasks. */
struct work {
    int calls;
    int fails;
    int on_other_thread;
    pthread_t thread;
};

static int32_t run(void *user_data, dijitso_task *task)
{
    struct work *const work = user_data;
    dijitso_plan *const plan = dijitso_task_plan(task);
    const dijitso_node node = dijitso_task_node(task);
    const char *const label = dijitso_plan_label(plan, node);
    char text[1024] = "";
    ++work->calls;
    work->on_other_thread = !pthread_equal(work->thread, pthread_self());
    CHECK(dijitso_plan_current(plan) == node);
    CHECK(dijitso_plan_state(plan, node) == DIJITSO_NODE_RUNNING);
    CHECK(strlen(dijitso_task_signature(task)) > 32);
    CHECK(strcmp(dijitso_task_params(task), "{}") == 0 || strcmp(dijitso_task_params(task), "{\"n\": 2}") == 0);
    if (work->fails) {
        CHECK(dijitso_task_set_error(task, "it is to fail") == DIJITSO_OK);
        return 9;
    }
    for (size_t i = 0; i < dijitso_task_need_count(task); ++i) {
        const uint8_t *data = NULL;
        size_t size = 0;
        const dijitso_node needed = dijitso_task_need_node(task, i);
        CHECK(dijitso_plan_state(plan, needed) == DIJITSO_NODE_DONE);
        if (dijitso_task_need_result(task, i, NULL, &data, &size, NULL) == DIJITSO_OK)
            strncat(text, (const char *)data, size);
    }
    strcat(text, label);
    CHECK(dijitso_task_need_node(task, dijitso_task_need_count(task)) == DIJITSO_NODE_NONE);
    CHECK(dijitso_task_set_result(task, (const uint8_t *)"replaced", 8) == DIJITSO_OK);
    CHECK(dijitso_task_add_file(task, "../x", NULL, 0, 0) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(dijitso_task_add_file(task, "a/b.txt", (const uint8_t *)"file", 4, 1) == DIJITSO_OK);
    CHECK(dijitso_task_add_file(task, "empty", NULL, 0, 0) == DIJITSO_OK);
    return dijitso_task_set_result(task, (const uint8_t *)text, strlen(text));
}

static dijitso_node add_task(dijitso_plan *plan, const char *label, struct work *work, dijitso_node needed)
{
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_node node = DIJITSO_NODE_NONE;
    task.label = label;
    task.name = label;
    task.user_data = work;
    task.run = run;
    work->thread = pthread_self();
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &node, &error), DIJITSO_OK);
    if (needed != DIJITSO_NODE_NONE)
        CHECK_CALL(dijitso_plan_need(plan, node, needed, DIJITSO_EDGE_USE, &error), DIJITSO_OK);
    return node;
}

static dijitso_node add_text(dijitso_plan *plan, const char *name, const char *code, dijitso_node needed)
{
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_node node = DIJITSO_NODE_NONE;
    module.name = name;
    module.code = code;
    module.code_length = strlen(code);
    CHECK_CALL(dijitso_plan_add_module(plan, &module, &node, &error), DIJITSO_OK);
    if (needed != DIJITSO_NODE_NONE)
        CHECK_CALL(dijitso_plan_need(plan, node, needed, DIJITSO_EDGE_USE, &error), DIJITSO_OK);
    return node;
}

static dijitso_status make(dijitso_plan *plan, const dijitso_make_options *options, char message[4096])
{
    dijitso_error *error = NULL;
    const dijitso_status status = dijitso_plan_make(plan, options, DIJITSO_COMM_NULL, &error);
    CHECK((status == DIJITSO_OK) == (error == NULL));
    snprintf(message, 4096, "%s", dijitso_error_message(error));
    dijitso_error_free(error);
    return status;
}

static void check_result_is(dijitso_plan *plan, dijitso_node node, const char *file, const char *expected)
{
    const uint8_t *data = NULL;
    size_t size = 1;
    CHECK_CALL(dijitso_plan_result(plan, node, file, &data, &size, &error), DIJITSO_OK);
    CHECK(data != NULL && size == strlen(expected) && memcmp(data, expected, size) == 0);
}

static int value_of(dijitso_plan *plan, dijitso_node node)
{
    dijitso_library *library = NULL;
    dijitso_fn value = NULL;
    int answer = -1;
    CHECK_CALL(dijitso_plan_library(plan, node, &library, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_library_symbol(library, "value", &value, &error), DIJITSO_OK);
    if (value != NULL)
        answer = ((int (*)(void))value)();
    dijitso_library_free(library);
    return answer;
}

static void try_results(const char *root)
{
    dijitso_plan *const plan = new_plan(path_of("%s/results", root));
    struct work works[3] = {{0}};
    struct integer integer = {7, 0, NULL, NULL};
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    const char *const input = path_of("%s/input.txt", root);
    dijitso_node a, b, c, linked, generated;
    const uint8_t *data = NULL;
    size_t size = 0;
    char message[4096], signature[512];
    check_case("results");
    write_text(input, "one", 0644);
    a = add_task(plan, "a", &works[0], DIJITSO_NODE_NONE);
    b = add_task(plan, "b", &works[1], a);
    task.name = "c";
    task.params_json = "{\"n\": 2}";
    task.inputs = &input;
    task.input_count = 1;
    task.run = run;
    task.user_data = &works[2];
    task.flags = DIJITSO_NODE_ANY_THREAD;
    works[2].thread = pthread_self();
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &c, &error), DIJITSO_OK);
    CHECK(strcmp(dijitso_plan_label(plan, c), "c") == 0);
    CHECK_CALL(dijitso_plan_need(plan, c, b, DIJITSO_EDGE_AFTER, &error), DIJITSO_OK);
    module.label = "with a callback";
    module.name = "generated";
    module.generate = integer_generate;
    module.user_data = &integer;
    CHECK_CALL(dijitso_plan_add_module(plan, &module, &generated, &error), DIJITSO_OK);
    linked = add_text(plan, "linked", "extern \"C\" int value();\nextern \"C\" int twice() { return 2 * value(); }\n",
                      generated);
    CHECK(dijitso_plan_find(plan, "linked") == linked && dijitso_plan_find(plan, "x") == DIJITSO_NODE_NONE);
    CHECK(dijitso_plan_state(plan, a) == DIJITSO_NODE_TODO && dijitso_plan_signature(plan, a) == NULL);
    CHECK(dijitso_plan_result(plan, a, NULL, &data, &size, NULL) == DIJITSO_ERROR_STATE && data == NULL);
    CHECK(dijitso_plan_library(plan, generated, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    check_result_is(plan, b, NULL, "ab");
    check_result_is(plan, b, "", "ab");
    check_result_is(plan, b, "a/b.txt", "file");
    check_result_is(plan, b, "empty", "");
    check_result_is(plan, c, NULL, "c");
    CHECK(dijitso_plan_result(plan, b, "no", &data, &size, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(dijitso_plan_result(plan, generated, NULL, &data, &size, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(value_of(plan, generated) == 7 + INCLUDED_VALUE);
    CHECK(works[0].calls == 1 && !works[0].on_other_thread && works[2].on_other_thread);
    snprintf(signature, sizeof signature, "%s", dijitso_plan_signature(plan, c));
    CHECK(dijitso_plan_error(plan, a, NULL) == DIJITSO_OK);
    CHECK(dijitso_plan_error(plan, 99, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);

    check_case("nothing changed, then an input");
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    CHECK(works[0].calls == 1 && works[2].calls == 1 && integer.calls == 1);
    write_text(input, "two", 0644);
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    CHECK(works[0].calls == 1 && works[2].calls == 2);
    CHECK(strcmp(dijitso_plan_signature(plan, c), signature) != 0);
    dijitso_plan_free(plan);
}

struct seen {
    int counts[8];
    uint64_t total, done, failed, blocked;
    dijitso_node cause;
    char message[1024];
};

static void watch(void *user_data, const dijitso_event *event)
{
    struct seen *const seen = user_data;
    CHECK(event->struct_size == sizeof *event && event->kind >= 0 && event->kind < 8);
    CHECK(dijitso_plan_make(NULL, NULL, DIJITSO_COMM_NULL, NULL) == DIJITSO_ERROR_STATE);
    ++seen->counts[event->kind];
    if (event->kind == DIJITSO_EVENT_PROGRESS) {
        CHECK(event->node == DIJITSO_NODE_NONE);
        seen->total = event->total;
        seen->done = event->done;
        seen->failed = event->failed;
        seen->blocked = event->blocked;
    } else {
        CHECK(event->node >= 0 && strlen(event->label) > 0);
    }
    if (event->kind == DIJITSO_EVENT_FAILED) {
        CHECK(event->status == DIJITSO_ERROR_GENERATE);
        snprintf(seen->message, sizeof seen->message, "%s", event->message);
    }
    if (event->kind == DIJITSO_EVENT_BLOCKED)
        seen->cause = event->cause;
}

static int32_t count_infos(void *user_data, const dijitso_node_info *info)
{
    int *const count = user_data;
    ++*count;
    if (strcmp(info->label, "c") == 0) {
        CHECK(info->state == DIJITSO_NODE_BLOCKED && info->status == DIJITSO_ERROR_GENERATE);
        CHECK(info->kind == DIJITSO_NODE_TASK && info->blocked_by == 1 && info->added_by == DIJITSO_NODE_NONE);
        CHECK(info->need_count == 1 && info->needs[0] == 1 && info->after_count == 0 && info->rank == -1);
        CHECK_CONTAINS(info->message, "it is to fail");
    } else if (strcmp(info->label, "a") == 0) {
        CHECK(info->state == DIJITSO_NODE_DONE && info->built == 1 && info->size > 0 && info->rank == 0);
        CHECK(strlen(info->signature) > 0 && *info->message == '\0');
    }
    return 0;
}

/* a is done, b fails, c needs b and is blocked, d is done. */
static void try_failures(const char *root)
{
    dijitso_plan *const plan = new_plan(path_of("%s/failures", root));
    struct work works[4] = {{0}};
    struct seen seen = {{0}, 0, 0, 0, 0, 0, ""};
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_node nodes[4], refused;
    dijitso_error *error = NULL;
    char message[4096];
    int count = 0;
    check_case("failures");
    nodes[0] = add_task(plan, "a", &works[0], DIJITSO_NODE_NONE);
    nodes[1] = add_task(plan, "b", &works[1], nodes[0]);
    nodes[2] = add_task(plan, "c", &works[2], nodes[1]);
    nodes[3] = add_task(plan, "d", &works[3], nodes[0]);
    works[1].fails = 1;
    options.event = watch;
    options.user_data = &seen;
    CHECK(make(plan, &options, message) == DIJITSO_ERROR_GENERATE);
    CHECK_CONTAINS(message, "1 of 4 nodes failed and 1 are blocked: \"b\": ");
    CHECK_CONTAINS(message, "returned 9: it is to fail");
    CHECK(dijitso_plan_state(plan, nodes[0]) == DIJITSO_NODE_DONE);
    CHECK(dijitso_plan_state(plan, nodes[1]) == DIJITSO_NODE_FAILED);
    CHECK(dijitso_plan_state(plan, nodes[2]) == DIJITSO_NODE_BLOCKED);
    CHECK(dijitso_plan_state(plan, nodes[3]) == DIJITSO_NODE_DONE);
    CHECK(works[2].calls == 0);
    CHECK(dijitso_plan_error(plan, nodes[2], &error) == DIJITSO_ERROR_GENERATE);
    CHECK_CONTAINS(dijitso_error_message(error), "\"b\", which it needs, has failed");
    dijitso_error_free(error);
    CHECK(seen.counts[DIJITSO_EVENT_STARTED] == 3 && seen.counts[DIJITSO_EVENT_DONE] == 2);
    CHECK(seen.counts[DIJITSO_EVENT_FAILED] == 1 && seen.counts[DIJITSO_EVENT_BLOCKED] == 1);
    CHECK(seen.total == 4 && seen.done == 2 && seen.failed == 1 && seen.blocked == 1 && seen.cause == nodes[1]);
    CHECK_CONTAINS(seen.message, "it is to fail");
    CHECK_CALL(dijitso_plan_visit(plan, count_infos, &count, &error), DIJITSO_OK);
    CHECK(count == 4);

    check_case("repaired");
    works[1].fails = 0;
    CHECK(make(plan, &options, message) == DIJITSO_OK);
    check_result_is(plan, nodes[2], NULL, "abc");
    CHECK(works[0].calls == 1 && works[3].calls == 1);

    check_case("a compiler refuses a text");
    refused = add_text(plan, "refused", "int x = there_is_no_such_name;\n", DIJITSO_NODE_NONE);
    CHECK(make(plan, NULL, message) == DIJITSO_ERROR_COMPILE);
    CHECK_CONTAINS(message, "there_is_no_such_name");
    CHECK(dijitso_plan_error(plan, refused, &error) == DIJITSO_ERROR_COMPILE);
    CHECK_CONTAINS(dijitso_error_log(error), "there_is_no_such_name");
    dijitso_error_free(error);
    options.targets = nodes;
    options.target_count = 4;
    CHECK(make(plan, &options, message) == DIJITSO_OK);

    check_case("fail fast, and a cycle");
    works[1].fails = 1;
    options.flags = DIJITSO_MAKE_FAIL_FAST | DIJITSO_MAKE_FORCE;
    options.jobs = 1;
    CHECK(make(plan, &options, message) == DIJITSO_ERROR_GENERATE);
    CHECK_CALL(dijitso_plan_need(plan, nodes[0], nodes[2], DIJITSO_EDGE_AFTER, &error), DIJITSO_OK);
    CHECK(make(plan, NULL, message) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CONTAINS(message, "cycle");
    dijitso_plan_free(plan);
}

/* The user_data of nodes that add nodes. */
struct adder {
    dijitso_plan *plan;
    struct work work;
    int calls;
    int fails;
    int frees;
};

static int32_t run_adder(void *user_data, dijitso_task *task)
{
    struct adder *const adder = user_data;
    dijitso_plan *const plan = dijitso_task_plan(task);
    ++adder->calls;
    CHECK(plan == adder->plan);
    if (dijitso_task_need_count(task) == 0) {
        for (int i = 0; i < 2; ++i) {
            const dijitso_node node = add_task(plan, i == 0 ? "x" : "y", &adder->work, DIJITSO_NODE_NONE);
            CHECK_CALL(dijitso_task_need(task, node, &error), DIJITSO_OK);
        }
        CHECK(dijitso_task_need(task, dijitso_task_node(task), NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
        CHECK(dijitso_plan_make(plan, NULL, DIJITSO_COMM_NULL, NULL) == DIJITSO_ERROR_STATE);
        if (adder->fails)
            return 1;
        return 0;
    }
    if (adder->frees)
        dijitso_plan_free(plan);
    return dijitso_task_set_result(task, (const uint8_t *)"both", 4);
}

static int32_t generate_adder(void *user_data, const char *name, const char *signature, const char *generator_json,
                              dijitso_source *source)
{
    static const char code[] = "extern \"C\" int part();\nextern \"C\" int value() { return 10 * part(); }\n";
    struct adder *const adder = user_data;
    const dijitso_node part = add_text(adder->plan, "part", "extern \"C\" int part() { return 4; }\n", DIJITSO_NODE_NONE);
    (void)name, (void)signature, (void)generator_json;
    ++adder->calls;
    CHECK_CALL(dijitso_plan_need(adder->plan, dijitso_plan_current(adder->plan), part, DIJITSO_EDGE_USE, &error),
               DIJITSO_OK);
    return dijitso_source_set_code(source, code, sizeof code - 1);
}

static void try_added_nodes(const char *root)
{
    struct adder adder = {0}, form = {0};
    dijitso_plan *const plan = new_plan(path_of("%s/added", root));
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_node node, library;
    char message[4096];
    check_case("nodes that callbacks add");
    adder.plan = form.plan = plan;
    task.name = "adder";
    task.user_data = &adder;
    task.run = run_adder;
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &node, &error), DIJITSO_OK);
    module.name = "form";
    module.generate = generate_adder;
    module.user_data = &form;
    CHECK_CALL(dijitso_plan_add_module(plan, &module, &library, &error), DIJITSO_OK);
    adder.fails = 1;
    CHECK(make(plan, NULL, message) == DIJITSO_ERROR_GENERATE);
    CHECK(dijitso_plan_find(plan, "x") == DIJITSO_NODE_NONE && adder.work.calls == 0);
    CHECK(value_of(plan, library) == 40 && form.calls == 1);
    adder.fails = 0;
    adder.calls = 0;
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    CHECK(adder.calls == 2 && adder.work.calls == 2);
    check_result_is(plan, node, NULL, "both");
    check_result_is(plan, dijitso_plan_find(plan, "y"), NULL, "y");

    check_case("a callback frees its plan");
    adder.frees = 1;
    adder.calls = 0;
    CHECK(dijitso_plan_make(plan, &(dijitso_make_options){.struct_size = sizeof(dijitso_make_options),
                                                          .flags = DIJITSO_MAKE_FORCE},
                            DIJITSO_COMM_NULL, NULL) == DIJITSO_OK);
    CHECK(adder.calls == 2);
}

static dijitso_plan *cancelled_plan;

static void on_signal(int number)
{
    (void)number;
    dijitso_plan_cancel(cancelled_plan, DIJITSO_CANCEL_FINISH);
}

enum way { BY_THREAD, BY_SIGNAL, BY_POLL };

struct slow {
    enum way way;
    int calls;
};

static void *cancel_soon(void *plan)
{
    CHECK(dijitso_plan_cancel(plan, DIJITSO_CANCEL_KILL) == DIJITSO_OK);
    return NULL;
}

static int32_t run_slow(void *user_data, dijitso_task *task)
{
    struct slow *const slow = user_data;
    pthread_t thread;
    ++slow->calls;
    if (slow->way == BY_THREAD) {
        CHECK(pthread_create(&thread, NULL, cancel_soon, dijitso_task_plan(task)) == 0);
        pthread_join(thread, NULL);
    } else if (slow->way == BY_SIGNAL) {
        raise(SIGUSR1);
    } else {
        /* poll is not called more often than every few milliseconds. */
        const struct timespec nap = {0, 50000000};
        nanosleep(&nap, NULL);
    }
    return dijitso_task_set_result(task, (const uint8_t *)"slow", 4);
}

static int32_t poll_slow(void *user_data)
{
    return ((struct slow *)user_data)->calls > 0;
}

static void try_cancel(const char *root, enum way way)
{
    dijitso_plan *const plan = new_plan(path_of("%s/cancel%d", root, (int)way));
    struct slow slow = {way, 0};
    struct work work = {0};
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_node node, user;
    char message[4096];
    check_case("cancelled, %d", (int)way);
    task.name = "slow";
    task.user_data = &slow;
    task.run = run_slow;
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &node, &error), DIJITSO_OK);
    user = add_task(plan, "user", &work, node);
    cancelled_plan = plan;
    signal(SIGUSR1, on_signal);
    if (way == BY_POLL) {
        options.poll = poll_slow;
        options.user_data = &slow;
    }
    CHECK(make(plan, &options, message) == DIJITSO_ERROR_CANCELLED);
    CHECK_CONTAINS(message, "still to be made");
    CHECK(dijitso_plan_state(plan, user) == DIJITSO_NODE_TODO && work.calls == 0);
    slow.way = BY_POLL;
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    CHECK(dijitso_plan_state(plan, user) == DIJITSO_NODE_DONE && slow.calls == 1);
    CHECK(dijitso_plan_cancel(plan, 7) == DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_plan_free(plan);
}

/* What the thread that ends a compiler waits for. */
struct killer {
    dijitso_plan *plan;
    const char *file;
};

static void *kill_compiler(void *user_data)
{
    const struct killer *const killer = user_data;
    const struct timespec nap = {0, 10000000};
    while (!exists(killer->file))
        nanosleep(&nap, NULL);
    CHECK(dijitso_plan_cancel(killer->plan, DIJITSO_CANCEL_KILL) == DIJITSO_OK);
    return NULL;
}

/* A compiler that would run for long is ended, and what it was to build is still to do. */
static void try_kill(const char *root)
{
    const char *const compiler = path_of("%s/slow-c++", root), *const file = path_of("%s/compiling", root);
    dijitso_params *const params = params_with(path_of("%s/kill", root), "build.cxx", compiler, NULL);
    struct killer killer = {NULL, file};
    struct work work = {0};
    dijitso_node slow, user, other;
    pthread_t thread;
    char message[4096];
    check_case("a compiler is ended");
    write_text(compiler,
               path_of("#!/bin/sh\ncase \" $* \" in *\" -o \"*) ;; *) exec c++ \"$@\" ;; esac\n: > '%s'\nexec sleep 1000\n",
                       file),
               0755);
    CHECK_CALL(dijitso_plan_new("kill", params, &killer.plan, &error), DIJITSO_OK);
    other = add_task(killer.plan, "other", &work, DIJITSO_NODE_NONE);
    slow = add_text(killer.plan, "slow", "extern \"C\" int value() { return 1; }\n", DIJITSO_NODE_NONE);
    user = add_text(killer.plan, "user", "extern \"C\" int more() { return 1; }\n", slow);
    CHECK(pthread_create(&thread, NULL, kill_compiler, &killer) == 0);
    CHECK(make(killer.plan, NULL, message) == DIJITSO_ERROR_CANCELLED);
    pthread_join(thread, NULL);
    CHECK_CONTAINS(message, "2 of 3 nodes are still to be made");
    CHECK(dijitso_plan_state(killer.plan, slow) == DIJITSO_NODE_TODO);
    CHECK(dijitso_plan_state(killer.plan, user) == DIJITSO_NODE_TODO);
    CHECK(dijitso_plan_state(killer.plan, other) == DIJITSO_NODE_DONE);
    dijitso_plan_free(killer.plan);
    dijitso_params_free(params);
}

static void try_files(const char *root)
{
    const char *const path = path_of("%s/saved.toml", root);
    dijitso_params *const params = params_with(path_of("%s/files", root), NULL);
    dijitso_plan *plan = new_plan(path_of("%s/files", root)), *loaded = NULL;
    struct work work = {0};
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_params *const debug = params_with(path_of("%s/files", root), "build.debug", "true", NULL);
    dijitso_error *error = NULL;
    dijitso_node first, second;
    char message[4096], signature[512];
    check_case("plan files");
    first = add_text(plan, "first", "extern \"C\" int value() { return 5; }\n", DIJITSO_NODE_NONE);
    module.label = "größer \"2\"";
    module.name = "second";
    module.params = debug;
    module.code = "extern \"C\" int other() { return 6; }\n";
    module.code_length = strlen(module.code);
    module.header = "int other();\n";
    module.header_length = strlen(module.header);
    CHECK_CALL(dijitso_plan_add_module(plan, &module, &second, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_plan_need(plan, second, first, DIJITSO_EDGE_USE, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_plan_save(plan, path, &error), DIJITSO_OK);
    CHECK(make(plan, NULL, message) == DIJITSO_OK);
    snprintf(signature, sizeof signature, "%s", dijitso_plan_signature(plan, second));
    CHECK_CALL(dijitso_plan_load(path, params, &loaded, &error), DIJITSO_OK);
    CHECK(make(loaded, NULL, message) == DIJITSO_OK);
    second = dijitso_plan_find(loaded, "größer \"2\"");
    CHECK(strcmp(dijitso_plan_signature(loaded, second), signature) == 0);
    CHECK(value_of(loaded, dijitso_plan_find(loaded, "first")) == 5);
    CHECK_CALL(dijitso_plan_save(loaded, path, &error), DIJITSO_OK);
    dijitso_plan_free(loaded);
    CHECK_CALL(dijitso_plan_load(path, params, &loaded, &error), DIJITSO_OK);
    add_task(loaded, "later", &work, DIJITSO_NODE_NONE);
    CHECK(dijitso_plan_save(loaded, path, &error) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CONTAINS(dijitso_error_message(error), "\"later\" has a callback");
    dijitso_error_free(error);
    dijitso_plan_free(loaded);
    CHECK(dijitso_plan_load(path_of("%s/no.toml", root), params, &loaded, &error) == DIJITSO_ERROR_PARAMS);
    CHECK(loaded == NULL);
    dijitso_error_free(error);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
    dijitso_params_free(debug);
}

static void try_mistakes(const char *root)
{
    dijitso_plan *const plan = new_plan(path_of("%s/mistakes", root));
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_node node = 7;
    struct work work = {0};
    pid_t child;
    int status = 1;
    check_case("mistakes");
    module.name = "m";
    CHECK(dijitso_plan_add_module(plan, &module, &node, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(node == DIJITSO_NODE_NONE);
    module.code = "";
    module.generate = integer_generate;
    CHECK(dijitso_plan_add_module(plan, &module, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    module.generate = NULL;
    module.flags = 2;
    CHECK(dijitso_plan_add_module(plan, &module, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    module.flags = 0;
    module.name = "../m";
    CHECK(dijitso_plan_add_module(plan, &module, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    task.name = "t";
    CHECK(dijitso_plan_add_task(plan, &task, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    task.run = run;
    task.params_json = "{";
    CHECK(dijitso_plan_add_task(plan, &task, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    task.params_json = NULL;
    task.label = "two\nlines";
    CHECK(dijitso_plan_add_task(plan, &task, NULL, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    task.label = "";
    task.user_data = &work;
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &node, &error), DIJITSO_OK);
    CHECK(node == 0 && dijitso_plan_state(plan, 1) == -1 && dijitso_plan_state(plan, -1) == -1);
    CHECK(dijitso_plan_need(plan, node, node, DIJITSO_EDGE_USE, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(dijitso_plan_need(plan, node, 5, DIJITSO_EDGE_USE, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(dijitso_plan_need(plan, node, 0, 9, NULL) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(dijitso_plan_label(plan, -1) == NULL && dijitso_plan_current(plan) == DIJITSO_NODE_NONE);

    check_case("a forked child");
    child = fork();
    if (child == 0) {
        const int refused = dijitso_plan_make(plan, NULL, DIJITSO_COMM_NULL, NULL) == DIJITSO_ERROR_STATE
                            && dijitso_plan_state(plan, 0) == -1;
        dijitso_plan_free(plan);
        _exit(refused ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    dijitso_plan_free(plan);
}

int main(int argc, char **argv)
{
    if (!CHECK(argc > 1))
        return 1;
    try_failures(argv[1]);
    try_results(argv[1]);
    try_added_nodes(argv[1]);
    try_cancel(argv[1], BY_THREAD);
    try_cancel(argv[1], BY_SIGNAL);
    try_cancel(argv[1], BY_POLL);
    try_kill(argv[1]);
    try_files(argv[1]);
    try_mistakes(argv[1]);
    return check_result();
}
