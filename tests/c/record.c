/* A program whose calls are recorded into a plan: a form that is linked to an element, several libraries at once, a
 * build in two parts, and a text. record.sh runs it with other flags, too, for which everything was built before.
 * usage: record CACHE [FLAGS_OF_A_PLAN_THAT_WAS_MADE] */
#include "ranks.h"

/* The origins that are right: nothing is built after a plan was made. */
static unsigned origins = ANY_ORIGIN;

enum { ELEMENT = 9, FORM_VALUE = 1000 + (ELEMENT + INCLUDED_VALUE) + INCLUDED_VALUE };

static int32_t generate_form(void *user_data, const char *name, const char *signature, const char *generator_json,
                             dijitso_source *source)
{
    const dijitso_params *const params = user_data;
    struct integer integer = {ELEMENT, 0, "extern \"C\" int element_value() { return 9 + included_value; }\n", NULL};
    struct outcome element = jit_integer("element", params, &integer, MPI_COMM_WORLD);
    char code[2048];
    int status = element.status;
    (void)name, (void)signature, (void)generator_json;
    snprintf(code, sizeof code,
             "#include \"%s.h\"\nextern \"C\" int element_value();\n"
             "extern \"C\" int value() { return 1000 + element_value() + included_value; }\n",
             element.signature);
    outcome_free(&element);
    if (status == DIJITSO_OK)
        status = dijitso_source_add_dependency(source, element.signature);
    if (status == DIJITSO_OK)
        status = dijitso_source_set_code(source, code, strlen(code));
    return status;
}

static void check_origin(dijitso_library *library)
{
    CHECK(library != NULL && (1u << dijitso_library_origin(library) & origins) != 0);
    dijitso_library_free(library);
}

static void use_form(const dijitso_params *params)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    callbacks.user_data = (void *)params;
    callbacks.generate = generate_form;
    CHECK_OUTCOME(jit("form", params, &callbacks, MPI_COMM_WORLD), FORM_VALUE, origins);
}

static void use_many(const dijitso_params *params)
{
    static const char *const names[] = {"first", "second"};
    struct integer integer = {1, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *libraries[2] = {NULL, NULL};
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    CHECK_CALL(dijitso_jit_many(2, names, params, &callbacks, MPI_COMM_WORLD, libraries, &error), DIJITSO_OK);
    check_origin(libraries[0]);
    check_origin(libraries[1]);
}

static void use_started(const dijitso_params *params)
{
    struct integer integer = {2, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_pending *pending = NULL;
    dijitso_library *library = NULL;
    callbacks.user_data = &integer;
    callbacks.generate = integer_generate;
    CHECK_CALL(dijitso_jit_start("started", params, &callbacks, MPI_COMM_WORLD, &pending, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_jit_finish(pending, &library, &error), DIJITSO_OK);
    check_origin(library);
}

static void use_text(const dijitso_params *params)
{
    static const char code[] = "extern \"C\" int value() { return 3; }\n";
    dijitso_library *library = NULL;
    CHECK_CALL(dijitso_jit_source("text", params, code, strlen(code), NULL, 0, MPI_COMM_WORLD, &library, &error),
               DIJITSO_OK);
    check_origin(library);
    /* Each rank for itself. */
    CHECK_CALL(dijitso_jit_source("alone", params, code, strlen(code), NULL, 0, DIJITSO_COMM_NULL, &library, &error),
               DIJITSO_OK);
    check_origin(library);
}

int main(int argc, char **argv)
{
    dijitso_params *params;
    ranks_start(&argc, &argv);
    params = params_with(argv[1], "generator", "{\"degree\": 2}", NULL);
    if (argc > 2) {
        origins = ORIGIN(MEMORY) | ORIGIN(DISK);
        CHECK_CALL(dijitso_params_set(params, "build.cxxflags_append", argv[2], &error), DIJITSO_OK);
    }
    for (int round = 0; round < 2; ++round) {
        use_form(params);
        use_many(params);
        use_started(params);
        use_text(params);
    }
    dijitso_params_free(params);
    return ranks_finish();
}
