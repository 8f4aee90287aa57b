/* A form needs an element: generate calls dijitso_jit for the element, includes its header and links to it. The element
 * is distributed with the form to every rank, and cache directories can be moved.
 * usage: nested WORK cold|moved, each in new processes */
#include "ranks.h"

struct form {
    const dijitso_params *params;
    struct integer element;
    MPI_Comm element_comm; /* passed to the inner call, which ignores it and is local */
    int calls;
};

static int32_t generate_form(void *user_data, const char *name, const char *signature, const char *generator_json,
                             dijitso_source *source)
{
    struct form *const form = user_data;
    char code[2048], element_name[512];
    struct outcome element;
    int status;
    (void)signature, (void)generator_json;
    ++form->calls;
    snprintf(element_name, sizeof element_name, "%s_element", name);
    element = jit_integer(element_name, form->params, &form->element, form->element_comm);
    if (element.status != DIJITSO_OK) {
        dijitso_source_set_error(source, dijitso_error_message(element.error));
        outcome_free(&element);
        return 1;
    }
    snprintf(code, sizeof code,
             "#include \"%s.h\"\nextern \"C\" int element_value();\n"
             "extern \"C\" int value() { return 1000 + element_value() + included_value; }\n",
             element.signature);
    status = dijitso_source_add_dependency(source, element.signature);
    if (status == DIJITSO_OK)
        status = dijitso_source_set_code(source, code, strlen(code));
    return status;
}

/* A function of its own, because the form's value() would replace the element's value(). */
#define ELEMENT_CODE "extern \"C\" int element_value() { return 9 + included_value; }\n"
enum { ELEMENT = 9, FORM_VALUE = 1000 + (ELEMENT + INCLUDED_VALUE) + INCLUDED_VALUE };

static struct outcome call(const char *name, const dijitso_params *params, struct form *form)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    struct outcome outcome;
    callbacks.user_data = form;
    callbacks.generate = generate_form;
    outcome = jit(name, params, &callbacks, MPI_COMM_WORLD);
    CHECK(outcome.seconds < 20.0);
    ranks_check_same_outcome(MPI_COMM_WORLD, &outcome);
    return outcome;
}

/* `inner` is the communicator of the inner call: "world", "null" or "self". */
static void try_nested(const char *root, const char *phase, const char *strategy, enum layout layout,
                       const char *inner)
{
    const char *const directory = layout_directory(root, strategy, layout);
    const char *const name = path_of("form_%s_%s_%s", strategy, layouts[layout], inner);
    dijitso_params *const params = params_with(directory, "parallel.buildon", strategy, NULL);
    struct form form = {params, {ELEMENT, 0, ELEMENT_CODE, NULL},
                        MPI_COMM_NULL, 0};
    const int cold = strcmp(phase, "cold") == 0;
    struct outcome outcome;
    if (strcmp(inner, "world") == 0)
        form.element_comm = MPI_COMM_WORLD;
    if (strcmp(inner, "self") == 0)
        form.element_comm = MPI_COMM_SELF;
    check_case("%s, %s", name, phase);

    outcome = call(name, params, &form);
    CHECK_OUTCOME(outcome, FORM_VALUE, cold ? ORIGIN(BUILT) | ORIGIN(DISK) | ORIGIN(RECEIVED) : ORIGIN(DISK));
    CHECK((ranks_sum(form.calls) == 0) == !cold);
    CHECK((ranks_sum(form.element.calls) == 0) == !cold);
    dijitso_params_free(params);
}

static void try_failing_element(const char *root, const char *strategy, enum layout layout)
{
    const char *const directory = layout_directory(root, strategy, layout);
    dijitso_params *const params = params_with(directory, "parallel.buildon", strategy, NULL);
    struct form form = {params, {ELEMENT, 0, NULL, "no such element"}, MPI_COMM_NULL, 0};
    struct outcome outcome;
    check_case("failing element, %s, %s", strategy, layouts[layout]);
    outcome = call(path_of("failing_%s_%s", strategy, layouts[layout]), params, &form);
    if (outcome.error != NULL)
        CHECK_CONTAINS(dijitso_error_message(outcome.error), "no such element");
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_GENERATE, outcome.error);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    static const char *const inner[] = {"null", "world", "self"};
    const char *root;
    ranks_start(&argc, &argv);
    root = path_of("%s/caches", argv[1]);
    if (strcmp(argv[2], "moved") == 0) {
        const char *const moved = path_of("%s/moved", argv[1]);
        if (ranks_rank() == 0)
            CHECK(rename(root, moved) == 0);
        root = moved;
    }
    ranks_barrier();
    make_directory(root);
    for (int strategy = 0; strategy < 3; ++strategy)
        for (int layout = 0; layout < LAYOUTS; ++layout) {
            for (int i = 0; i < 3; ++i)
                try_nested(root, argv[2], strategies[strategy], (enum layout)layout, inner[i]);
            try_failing_element(root, strategies[strategy], (enum layout)layout);
        }
    return ranks_finish();
}
