/* Every function with NULL in place of every pointer: an answer or a status, never a crash. tests/c/exports.sh holds
 * the list of functions in this file against the header. */
#include "fixture.h"

#define CHECK_INVALID(call) CHECK((call) == DIJITSO_ERROR_INVALID_ARGUMENT)
/* The same, where the call explains itself. */
#define CHECK_EXPLAINED(call) \
    do { \
        dijitso_error *error = NULL; \
        CHECK((call) == DIJITSO_ERROR_INVALID_ARGUMENT); \
        if (CHECK(error != NULL)) { \
            CHECK(dijitso_error_status(error) == DIJITSO_ERROR_INVALID_ARGUMENT); \
            CHECK(strlen(dijitso_error_message(error)) > 0); \
        } \
        dijitso_error_free(error); \
    } while (0)

static int is_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

static void errors(void)
{
    CHECK(dijitso_error_status(NULL) == DIJITSO_OK);
    CHECK(is_empty(dijitso_error_message(NULL)));
    CHECK(is_empty(dijitso_error_log(NULL)));
    CHECK(is_empty(dijitso_error_path(NULL)));
    CHECK(dijitso_error_rank(NULL) == -1);
    dijitso_error_free(NULL);
}

static void parameters(void)
{
    dijitso_params *params = NULL;
    CHECK_INVALID(dijitso_params_new(NULL, NULL));
    CHECK_EXPLAINED(dijitso_params_new(NULL, &error));
    CHECK(dijitso_params_new(&params, NULL) == DIJITSO_OK && params != NULL);

    CHECK_INVALID(dijitso_params_set(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_params_set(NULL, "build.cxx", "c++", &error));
    CHECK_EXPLAINED(dijitso_params_set(params, NULL, "c++", &error));
    CHECK_EXPLAINED(dijitso_params_set(params, "build.cxx", NULL, &error));
    CHECK_INVALID(dijitso_params_merge_json(NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_params_merge_json(NULL, "{}", &error));
    CHECK_EXPLAINED(dijitso_params_merge_json(params, NULL, &error));

    CHECK(dijitso_params_get(NULL, "build.cxx") == NULL);
    CHECK(dijitso_params_get(params, NULL) == NULL);
    CHECK(dijitso_params_get(params, "build.no_such_key") == NULL);
    CHECK(is_empty(dijitso_params_origin(NULL, "build.cxx")));
    CHECK(is_empty(dijitso_params_origin(params, NULL)));
    CHECK(is_empty(dijitso_params_origin(params, "build.no_such_key")));
    CHECK(is_empty(dijitso_params_to_json(NULL)));
    CHECK(!is_empty(dijitso_params_to_json(params)));
    dijitso_params_free(NULL);
    dijitso_params_free(params);
}

static int generate_calls;

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "extern \"C\" int value() { return 5; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    ++generate_calls;
    CHECK_INVALID(dijitso_source_set_code(NULL, NULL, 0));
    CHECK_INVALID(dijitso_source_set_code(NULL, code, strlen(code)));
    CHECK_INVALID(dijitso_source_set_code(source, NULL, 1));
    CHECK_INVALID(dijitso_source_set_header(NULL, code, strlen(code)));
    CHECK_INVALID(dijitso_source_set_header(source, NULL, 1));
    CHECK_INVALID(dijitso_source_add_dependency(NULL, NULL));
    CHECK_INVALID(dijitso_source_add_dependency(NULL, "signature"));
    CHECK_INVALID(dijitso_source_add_dependency(source, NULL));
    CHECK_INVALID(dijitso_source_set_error(NULL, NULL));
    CHECK_INVALID(dijitso_source_set_error(NULL, "reason"));
    CHECK_INVALID(dijitso_source_set_error(source, NULL));
    return dijitso_source_set_code(source, code, strlen(code));
}

static void building(const char *cache)
{
    dijitso_params *const params = params_with(cache, NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    dijitso_fn function = NULL;
    callbacks.generate = generate;

    CHECK_INVALID(dijitso_jit(NULL, NULL, NULL, DIJITSO_COMM_NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit(NULL, params, &callbacks, DIJITSO_COMM_NULL, &library, &error));
    CHECK_EXPLAINED(dijitso_jit("null", params, &callbacks, DIJITSO_COMM_NULL, NULL, &error));
    CHECK(library == NULL && generate_calls == 0);
    /* A miss without callbacks is an error, and error_out may be NULL. */
    CHECK(dijitso_jit("null", params, NULL, DIJITSO_COMM_NULL, &library, NULL) != DIJITSO_OK);
    CHECK(library == NULL);
    CHECK(dijitso_jit("null", params, &callbacks, DIJITSO_COMM_NULL, &library, NULL) == DIJITSO_OK);
    CHECK(library != NULL && generate_calls == 1);

    CHECK_INVALID(dijitso_library_symbol(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_library_symbol(NULL, "value", &function, &error));
    CHECK_EXPLAINED(dijitso_library_symbol(library, NULL, &function, &error));
    CHECK_EXPLAINED(dijitso_library_symbol(library, "value", NULL, &error));
    CHECK(function == NULL);
    CHECK(is_empty(dijitso_library_signature(NULL)));
    CHECK(is_empty(dijitso_library_path(NULL)));
    CHECK(dijitso_library_origin(NULL) < 0);
    CHECK(dijitso_library_symbol(library, "value", &function, NULL) == DIJITSO_OK && function != NULL);
    dijitso_library_free(NULL);
    dijitso_library_free(library);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && strlen(dijitso_version()) > 0);
    CHECK(dijitso_blob_resize(NULL, 0) == NULL);
    CHECK(dijitso_blob_resize(NULL, 10) == NULL);
    errors();
    parameters();
    building(argv[1]);
    return check_result();
}
