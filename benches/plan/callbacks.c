/* Makes trivial tasks, whose callbacks give a few bytes, and prints the time that a node takes.
 *
 * usage: callbacks CACHE NODES JOBS host|any
 * `host`: the callbacks run one after the other on the thread that makes the plan. `any`: at the same time, on any.
 * prints: JSON, the seconds of adding all nodes, of making them, and of making them again, when all results are there;
 * and the CPU seconds. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t trivial(void *user_data, dijitso_task *task)
{
    (void)user_data;
    const char *const number = dijitso_task_params(task);
    return dijitso_task_set_result(task, (const uint8_t *)number, strlen(number));
}

struct timing {
    double wall, cpu;
};

static struct timing now_both(void) { return (struct timing){now(), cpu_seconds()}; }

static void print(const char *key, struct timing from, struct timing to)
{
    printf("\"%s\": %.6f, \"%s_cpu\": %.6f, ", key, to.wall - from.wall, key, to.cpu - from.cpu);
}

int main(int argc, char **argv)
{
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_params *params = NULL;
    dijitso_plan *plan = NULL;
    dijitso_error *error = NULL;
    if (argc != 5)
        die("usage: callbacks CACHE NODES JOBS host|any", NULL);
    const int nodes = atoi(argv[2]);
    options.jobs = atoi(argv[3]);
    if (dijitso_params_new(&params, &error) || dijitso_params_set(params, "cache.cache_dir", argv[1], &error)
        || dijitso_plan_new("callbacks", params, &plan, &error))
        die("plan", error);
    const struct timing begin = now_both();
    for (int number = 0; number < nodes; ++number) {
        dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
        dijitso_node node;
        char text_of_number[16];
        snprintf(text_of_number, sizeof text_of_number, "%d", number);
        task.name = "trivial";
        task.params_json = text_of_number;
        task.run = trivial;
        if (strcmp(argv[4], "any") == 0)
            task.flags = DIJITSO_NODE_ANY_THREAD;
        if (dijitso_plan_add_task(plan, &task, &node, &error))
            die("task", error);
    }
    const struct timing added = now_both();
    if (dijitso_plan_make(plan, &options, DIJITSO_COMM_NULL, &error))
        die("make", error);
    const struct timing made = now_both();
    if (dijitso_plan_make(plan, &options, DIJITSO_COMM_NULL, &error))
        die("make again", error);
    const struct timing again = now_both();
    printf("{");
    print("add", begin, added);
    print("make", added, made);
    print("again", made, again);
    printf("\"nodes\": %d}\n", nodes);
    dijitso_plan_free(plan);
    dijitso_params_free(params);
    return 0;
}
