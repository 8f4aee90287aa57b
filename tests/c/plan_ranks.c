/* Build plans on ranks: a node that fails on each rank, results and libraries on all of them, nodes that callbacks
 * add, arguments that are bad on one rank, ranks that make other plans, and a rank that cancels.
 * usage: plan_ranks WORK run */
#include "ranks.h"

#include <stdlib.h>

enum { NODES = 6 };

/* The user_data of all callbacks. */
struct host {
    int fail_on;  /* the rank whose callbacks fail, -1 for none */
    int calls;    /* of callbacks on this rank */
    int cancel;   /* 1: cancel within the first callback */
    dijitso_plan *plan;
    const dijitso_params *params; /* if set, callbacks build a library of their own */
};

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    struct host *const host = user_data;
    char code[200];
    (void)signature, (void)generator_json;
    ++host->calls;
    if (host->fail_on == ranks_rank()) {
        dijitso_source_set_error(source, "no form today");
        return 3;
    }
    snprintf(code, sizeof code, "extern \"C\" int value() { return %d; }\n", name[strlen(name) - 1] - '0');
    return dijitso_source_set_code(source, code, strlen(code));
}

static int32_t run(void *user_data, dijitso_task *task)
{
    struct host *const host = user_data;
    const uint8_t *data = NULL;
    size_t size = 0;
    char text[256] = "";
    ++host->calls;
    if (host->cancel)
        CHECK(dijitso_plan_cancel(host->plan, DIJITSO_CANCEL_FINISH) == DIJITSO_OK);
    if (host->fail_on == ranks_rank()) {
        dijitso_task_set_error(task, "no table today");
        return 4;
    }
    if (host->params != NULL) {
        /* Local to this rank, whatever the communicator. */
        const char *const name = dijitso_plan_label(dijitso_task_plan(task), dijitso_task_node(task));
        struct integer integer = {3, 0, NULL, NULL};
        struct outcome outcome = jit_integer(name, host->params, &integer, MPI_COMM_WORLD);
        CHECK_OUTCOME(outcome, 3 + INCLUDED_VALUE, ANY_ORIGIN);
    }
    for (size_t i = 0; i < dijitso_task_need_count(task); ++i) {
        CHECK_CALL(dijitso_task_need_result(task, i, NULL, &data, &size, &error), DIJITSO_OK);
        if (size < 100)
            strncat(text, (const char *)data, size);
    }
    strcat(text, dijitso_plan_label(dijitso_task_plan(task), dijitso_task_node(task)));
    return dijitso_task_set_result(task, (const uint8_t *)text, strlen(text));
}

/* Adds the node "parts" and needs what it adds. */
static int32_t run_parts(void *user_data, dijitso_task *task)
{
    struct host *const host = user_data;
    dijitso_plan_task part = DIJITSO_PLAN_TASK_INIT;
    dijitso_node node;
    if (dijitso_task_need_count(task) == 2)
        return run(user_data, task);
    part.name = "part";
    part.user_data = host;
    part.run = run;
    for (int i = 0; i < 2; ++i) {
        /* Equal tasks would have one result. */
        part.params_json = i == 0 ? "0" : "1";
        CHECK_CALL(dijitso_plan_add_task(dijitso_task_plan(task), &part, &node, &error), DIJITSO_OK);
        CHECK_CALL(dijitso_task_need(task, node, &error), DIJITSO_OK);
    }
    return 0;
}

static dijitso_node add_task(dijitso_plan *plan, const char *name, struct host *host, dijitso_node needed)
{
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_node node = DIJITSO_NODE_NONE;
    task.name = name;
    task.user_data = host;
    task.run = run;
    CHECK_CALL(dijitso_plan_add_task(plan, &task, &node, &error), DIJITSO_OK);
    if (needed != DIJITSO_NODE_NONE)
        CHECK_CALL(dijitso_plan_need(plan, node, needed, DIJITSO_EDGE_USE, &error), DIJITSO_OK);
    return node;
}

static dijitso_node add_module(dijitso_plan *plan, const char *name, struct host *host, dijitso_node needed)
{
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_node node = DIJITSO_NODE_NONE;
    module.name = name;
    module.user_data = host;
    module.generate = generate;
    CHECK_CALL(dijitso_plan_add_module(plan, &module, &node, &error), DIJITSO_OK);
    if (needed != DIJITSO_NODE_NONE)
        CHECK_CALL(dijitso_plan_need(plan, node, needed, DIJITSO_EDGE_AFTER, &error), DIJITSO_OK);
    return node;
}

/* Three tasks in a chain and three modules, of which one waits for a task. */
static dijitso_plan *fill(const dijitso_params *params, struct host *host, dijitso_node nodes[NODES])
{
    dijitso_plan *plan = NULL;
    CHECK_CALL(dijitso_plan_new("ranks", params, &plan, &error), DIJITSO_OK);
    nodes[0] = add_task(plan, "mesh", host, DIJITSO_NODE_NONE);
    nodes[1] = add_task(plan, "table", host, nodes[0]);
    nodes[2] = add_task(plan, "sum", host, nodes[1]);
    nodes[3] = add_module(plan, "form_3", host, DIJITSO_NODE_NONE);
    nodes[4] = add_module(plan, "form_4", host, DIJITSO_NODE_NONE);
    nodes[5] = add_module(plan, "form_5", host, nodes[2]);
    host->plan = plan;
    return plan;
}

/* Makes a plan, checks that all ranks have the same, and returns the status. */
static dijitso_status make(dijitso_plan *plan, const dijitso_make_options *options, char *text, size_t size)
{
    dijitso_error *error = NULL;
    const dijitso_status status = dijitso_plan_make(plan, options, MPI_COMM_WORLD, &error);
    snprintf(text, size, "%d %s", (int)status, dijitso_error_message(error));
    dijitso_error_free(error);
    ranks_check_same_text(MPI_COMM_WORLD, text);
    return status;
}

static int32_t collect(void *user_data, const dijitso_node_info *info)
{
    char *const text = user_data;
    char line[512];
    CHECK(info->struct_size == sizeof *info);
    snprintf(line, sizeof line, "%s %d %d %s\n", info->label, info->state, info->status, info->message);
    strncat(text, line, 8000 - strlen(text));
    return 0;
}

static void check_same_nodes(dijitso_plan *plan)
{
    char text[8192] = "";
    CHECK_CALL(dijitso_plan_visit(plan, collect, text, &error), DIJITSO_OK);
    ranks_check_same_text(MPI_COMM_WORLD, text);
}

/* Whatever callbacks fail on a rank: all ranks have the same error and the same states. A second make, in which none
 * fails, ends well. */
static void try_failing_rank(const char *root, const char *strategy, enum layout layout, int failing)
{
    const char *const name = path_of("%s-%d", strategy, failing);
    dijitso_params *const params =
        params_with(layout_directory(root, name, layout), "parallel.buildon", strategy, NULL);
    struct host host = {failing, 0, 0, NULL, NULL};
    dijitso_node nodes[NODES];
    dijitso_plan *const plan = fill(params, &host, nodes);
    dijitso_status status;
    const uint8_t *data = NULL;
    size_t size = 0;
    char text[8192];
    check_case("%s, %s, callbacks fail on rank %d", strategy, layouts[layout], failing);
    status = make(plan, NULL, text, sizeof text);
    check_same_nodes(plan);
    if (failing < 0)
        CHECK(status == DIJITSO_OK);
    if (status != DIJITSO_OK) {
        CHECK(status == DIJITSO_ERROR_GENERATE);
        CHECK(strstr(text, "today") != NULL && strstr(text, "nodes failed") != NULL);
    }
    host.fail_on = -1;
    CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_OK);
    check_same_nodes(plan);
    for (int i = 0; i < NODES; ++i)
        CHECK(dijitso_plan_state(plan, nodes[i]) == DIJITSO_NODE_DONE);
    CHECK_CALL(dijitso_plan_result(plan, nodes[2], NULL, &data, &size, &error), DIJITSO_OK);
    CHECK(size == 12 && memcmp(data, "meshtablesum", 12) == 0);
    for (int i = 3; i < NODES; ++i) {
        dijitso_library *library = NULL;
        dijitso_fn value = NULL;
        CHECK_CALL(dijitso_plan_library(plan, nodes[i], &library, &error), DIJITSO_OK);
        CHECK_CALL(dijitso_library_symbol(library, "value", &value, &error), DIJITSO_OK);
        CHECK(value != NULL && ((int (*)(void))value)() == i);
        dijitso_library_free(library);
    }
    host.calls = 0;
    CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_OK);
    CHECK(host.calls == 0);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
}

static void try_added_nodes(const char *root)
{
    dijitso_params *const params = params_with(layout_directory(root, "added", LAYOUT_OWN), NULL);
    struct host host = {-1, 0, 0, NULL, NULL};
    dijitso_plan_task parts = DIJITSO_PLAN_TASK_INIT;
    dijitso_plan *plan = NULL;
    dijitso_node node;
    const uint8_t *data = NULL;
    size_t size = 0;
    char text[8192];
    check_case("callbacks add nodes, and build libraries");
    host.params = params;
    CHECK_CALL(dijitso_plan_new("added", params, &plan, &error), DIJITSO_OK);
    parts.name = "parts";
    parts.user_data = &host;
    parts.run = run_parts;
    CHECK_CALL(dijitso_plan_add_task(plan, &parts, &node, &error), DIJITSO_OK);
    CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_OK);
    check_same_nodes(plan);
    CHECK_CALL(dijitso_plan_result(plan, node, NULL, &data, &size, &error), DIJITSO_OK);
    CHECK(size == 27 && memcmp(data, "parts-partparts-part-1parts", 27) == 0);
    CHECK(ranks_sum(host.calls) == 3);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
}

static void try_bad_arguments(const char *root)
{
    dijitso_params *const params = params_with(layout_directory(root, "bad", LAYOUT_SHARED), NULL);
    const int last = ranks_rank() == ranks_size() - 1;
    struct host host = {-1, 0, 0, NULL, NULL};
    dijitso_node nodes[NODES];
    dijitso_plan *const plan = fill(params, &host, nodes);
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    char text[8192];
    check_case("bad arguments on the last rank");
    CHECK(make(last ? NULL : plan, NULL, text, sizeof text) == DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(text, "plan is NULL") != NULL);
    options.flags = last ? 64 : 0;
    CHECK(make(plan, &options, text, sizeof text) == DIJITSO_ERROR_INVALID_ARGUMENT);
    options.flags = 0;
    options.struct_size = last ? 3 : sizeof options;
    CHECK(make(plan, &options, text, sizeof text) == DIJITSO_ERROR_INVALID_ARGUMENT);
    options.struct_size = sizeof options;
    if (ranks_size() > 1) {
        check_case("other calls on the last rank");
        options.targets = &nodes[1];
        options.target_count = last ? 1 : 0;
        CHECK(make(plan, &options, text, sizeof text) == DIJITSO_ERROR_RANKS_DISAGREE);
        options.target_count = 0;
        if (last) {
            struct integer integer = {1, 0, NULL, NULL};
            struct outcome outcome = jit_integer("other", params, &integer, MPI_COMM_WORLD);
            CHECK(outcome.status == DIJITSO_ERROR_RANKS_DISAGREE);
            snprintf(text, sizeof text, "%d %s", (int)outcome.status, dijitso_error_message(outcome.error));
            ranks_check_same_text(MPI_COMM_WORLD, text);
            outcome_free(&outcome);
        } else {
            CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_ERROR_RANKS_DISAGREE);
        }
        CHECK(strstr(text, "calls dijitso_plan_make") != NULL && strstr(text, "calls dijitso_jit ") != NULL);
    }
    CHECK(host.calls == 0);
    check_case("good arguments");
    options.targets = &nodes[1];
    options.target_count = 1;
    CHECK(make(plan, &options, text, sizeof text) == DIJITSO_OK);
    CHECK(dijitso_plan_state(plan, nodes[1]) == DIJITSO_NODE_DONE);
    CHECK(dijitso_plan_state(plan, nodes[2]) == DIJITSO_NODE_TODO);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
}

static void try_cancel(const char *root)
{
    dijitso_params *const params = params_with(layout_directory(root, "cancel", LAYOUT_SHARED), NULL);
    struct host host = {-1, 0, 1, NULL, NULL};
    dijitso_node nodes[NODES];
    dijitso_plan *const plan = fill(params, &host, nodes);
    char text[8192];
    check_case("a callback cancels");
    CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_ERROR_CANCELLED);
    check_same_nodes(plan);
    CHECK(dijitso_plan_state(plan, nodes[2]) == DIJITSO_NODE_TODO);
    host.cancel = 0;
    CHECK(make(plan, NULL, text, sizeof text) == DIJITSO_OK);
    check_same_nodes(plan);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
}

/* What the callbacks of a make are given. */
struct watcher {
    const char *file; /* poll cancels when it is there */
    int counts[8];
    uint64_t done, total;
};

static int32_t poll_for_file(void *user_data)
{
    return exists(((struct watcher *)user_data)->file);
}

static void watch(void *user_data, const dijitso_event *event)
{
    struct watcher *const watcher = user_data;
    if (CHECK(event->kind >= 0 && event->kind < 8))
        ++watcher->counts[event->kind];
    if (event->kind == DIJITSO_EVENT_PROGRESS) {
        watcher->done = event->done;
        watcher->total = event->total;
    }
}

/* The last rank alone has a poll callback. It ends the compiler on whatever rank, and all have the same error. */
static void try_poll(const char *root)
{
    const char *const compiler = path_of("%s/slow-c++", root), *const file = path_of("%s/compiling", root);
    dijitso_params *const params =
        params_with(layout_directory(root, "poll", LAYOUT_SHARED), "build.cxx", compiler, NULL);
    struct host host = {-1, 0, 0, NULL, NULL};
    struct watcher watcher = {file, {0}, 0, 0};
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_plan *plan = NULL;
    dijitso_node form, mesh;
    char text[8192];
    check_case("the last rank polls");
    if (ranks_rank() == 0)
        write_text(compiler,
                   path_of("#!/bin/sh\ncase \" $* \" in *\" -o \"*) ;; *) exec c++ \"$@\" ;; esac\n: > '%s'\n"
                           "exec sleep 1000\n",
                           file),
                   0755);
    ranks_barrier();
    CHECK_CALL(dijitso_plan_new("poll", params, &plan, &error), DIJITSO_OK);
    form = add_module(plan, "form_1", &host, DIJITSO_NODE_NONE);
    mesh = add_task(plan, "mesh", &host, DIJITSO_NODE_NONE);
    options.user_data = &watcher;
    options.event = watch;
    if (ranks_rank() == ranks_size() - 1)
        options.poll = poll_for_file;
    CHECK(make(plan, &options, text, sizeof text) == DIJITSO_ERROR_CANCELLED);
    check_same_nodes(plan);
    CHECK(dijitso_plan_state(plan, form) == DIJITSO_NODE_TODO);
    CHECK(watcher.counts[DIJITSO_EVENT_PROGRESS] > 0 && watcher.total == 2);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
    (void)mesh;
}

/* Each rank is shown the end of every node. */
static void try_events(const char *root)
{
    dijitso_params *const params = params_with(layout_directory(root, "events", LAYOUT_OWN), NULL);
    struct host host = {-1, 0, 0, NULL, NULL};
    struct watcher watcher = {"", {0}, 0, 0};
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_node nodes[NODES];
    dijitso_plan *const plan = fill(params, &host, nodes);
    char text[8192];
    check_case("events");
    options.user_data = &watcher;
    options.event = watch;
    CHECK(make(plan, &options, text, sizeof text) == DIJITSO_OK);
    CHECK(watcher.counts[DIJITSO_EVENT_DONE] == NODES);
    CHECK(watcher.counts[DIJITSO_EVENT_FAILED] == 0 && watcher.done == NODES && watcher.total == NODES);
    CHECK(ranks_sum(watcher.counts[DIJITSO_EVENT_STARTED]) >= NODES);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    ranks_start(&argc, &argv);
    if (CHECK(argc > 1)) {
        for (int failing = -1; failing < ranks_size(); ++failing)
            for (int strategy = 0; strategy < 3; ++strategy)
                for (int layout = 0; layout < LAYOUTS; ++layout)
                    try_failing_rank(argv[1], strategies[strategy], (enum layout)layout, failing);
        try_added_nodes(argv[1]);
        try_bad_arguments(argv[1]);
        try_cancel(argv[1]);
        try_poll(argv[1]);
        try_events(argv[1]);
    }
    return ranks_finish();
}
