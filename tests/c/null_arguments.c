/* Calls every function with NULL for every pointer: it returns a value or a status and does not crash. exports.sh
 * checks that this file calls every function of the header. */
#include "fixture.h"

#define CHECK_INVALID(call) CHECK((call) == DIJITSO_ERROR_INVALID_ARGUMENT)
/* Also checks the error in `&error`, which is declared here. */
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
    CHECK(dijitso_error_file(NULL, 0) == NULL);
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
    dijitso_library *library = NULL, *finished = NULL, *text_library = NULL, *many[2] = {NULL, NULL};
    const char *const names[2] = {"null", NULL};
    dijitso_text text = DIJITSO_TEXT_INIT;
    dijitso_pending *pending = NULL;
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

    CHECK_INVALID(dijitso_jit_many(1, NULL, NULL, NULL, DIJITSO_COMM_NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit_many(1, NULL, params, &callbacks, DIJITSO_COMM_NULL, many, &error));
    CHECK_EXPLAINED(dijitso_jit_many(2, names, params, &callbacks, DIJITSO_COMM_NULL, many, &error));
    CHECK_EXPLAINED(dijitso_jit_many(1, names, params, &callbacks, DIJITSO_COMM_NULL, NULL, &error));
    CHECK(many[0] == NULL && many[1] == NULL);
    CHECK(dijitso_jit_many(0, NULL, NULL, NULL, DIJITSO_COMM_NULL, NULL, NULL) == DIJITSO_OK);
    CHECK(dijitso_jit_many(1, names, params, NULL, DIJITSO_COMM_NULL, many, NULL) == DIJITSO_OK);
    dijitso_library_free(many[0]);

    CHECK_INVALID(dijitso_jit_source(NULL, NULL, NULL, 0, NULL, 0, DIJITSO_COMM_NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit_source(NULL, params, "", 0, NULL, 0, DIJITSO_COMM_NULL, &text_library, &error));
    CHECK_EXPLAINED(dijitso_jit_source("null", params, NULL, 1, NULL, 0, DIJITSO_COMM_NULL, &text_library, &error));
    CHECK_EXPLAINED(dijitso_jit_source("null", params, "", 0, NULL, 1, DIJITSO_COMM_NULL, &text_library, &error));
    CHECK_EXPLAINED(dijitso_jit_source("null", params, "", 0, NULL, 0, DIJITSO_COMM_NULL, NULL, &error));
    CHECK_INVALID(dijitso_jit_text(NULL, NULL, NULL, DIJITSO_COMM_NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit_text("null", params, NULL, DIJITSO_COMM_NULL, &text_library, &error));
    CHECK_EXPLAINED(dijitso_jit_text("null", params, &text, DIJITSO_COMM_NULL, NULL, &error));
    text.dependency_count = 1;
    CHECK_EXPLAINED(dijitso_jit_text("null", params, &text, DIJITSO_COMM_NULL, &text_library, &error));
    CHECK(text_library == NULL);
    CHECK(dijitso_jit_source("null", params, NULL, 0, NULL, 0, DIJITSO_COMM_NULL, &text_library, NULL) == DIJITSO_OK);
    dijitso_library_free(text_library);

    CHECK_INVALID(dijitso_jit_start(NULL, NULL, NULL, DIJITSO_COMM_NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit_start(NULL, params, &callbacks, DIJITSO_COMM_NULL, &pending, &error));
    CHECK_EXPLAINED(dijitso_jit_start("pending", params, &callbacks, DIJITSO_COMM_NULL, NULL, &error));
    CHECK_INVALID(dijitso_jit_finish(NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_jit_finish(NULL, &finished, &error));
    CHECK(pending == NULL && finished == NULL && generate_calls == 1);
    dijitso_pending_free(NULL);
    dijitso_progress(NULL, NULL);
    CHECK(dijitso_jit_start("pending", params, &callbacks, DIJITSO_COMM_NULL, &pending, NULL) == DIJITSO_OK);
    CHECK(pending != NULL && generate_calls == 2);
    CHECK_EXPLAINED(dijitso_jit_finish(pending, NULL, &error));
    CHECK(dijitso_jit_start("pending", params, NULL, DIJITSO_COMM_NULL, &pending, NULL) == DIJITSO_OK);
    CHECK(dijitso_jit_finish(pending, &finished, NULL) == DIJITSO_OK && finished != NULL);
    dijitso_library_free(finished);

    CHECK_INVALID(dijitso_library_symbol(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_library_symbol(NULL, "value", &function, &error));
    CHECK_EXPLAINED(dijitso_library_symbol(library, NULL, &function, &error));
    CHECK_EXPLAINED(dijitso_library_symbol(library, "value", NULL, &error));
    CHECK(function == NULL);
    CHECK(is_empty(dijitso_library_signature(NULL)));
    CHECK(is_empty(dijitso_library_path(NULL)));
    CHECK(dijitso_library_handle(NULL) == NULL);
    CHECK(dijitso_library_origin(NULL) < 0);
    CHECK(dijitso_library_symbol(library, "value", &function, NULL) == DIJITSO_OK && function != NULL);
    dijitso_library_free(NULL);
    dijitso_library_free(library);
    dijitso_params_free(params);
}

/* Visitors that must not be called, because the entries do not exist. */
static int32_t no_text(void *user_data, const char *text)
{
    (void)user_data;
    return CHECK(text != NULL);
}

static int32_t no_entry(void *user_data, const dijitso_entry *entry)
{
    (void)user_data;
    return CHECK(entry != NULL);
}

static int32_t no_file(void *user_data, const dijitso_file *file)
{
    (void)user_data;
    return CHECK(file != NULL);
}

static int32_t no_line(void *user_data, const dijitso_line *line)
{
    (void)user_data;
    return CHECK(line != NULL);
}

static int32_t no_item(void *user_data, const dijitso_elf_item *item)
{
    (void)user_data;
    return CHECK(item != NULL);
}

static int32_t no_names(void *user_data, const dijitso_file_names *names)
{
    (void)user_data;
    return CHECK(names != NULL);
}

static void blobs_and_log(void)
{
    dijitso_blob *blob = NULL;
    dijitso_log_fn handler = NULL;
    CHECK_INVALID(dijitso_blob_new(NULL, NULL));
    CHECK_EXPLAINED(dijitso_blob_new(NULL, &error));
    CHECK(dijitso_blob_data(NULL) != NULL && *dijitso_blob_data(NULL) == 0 && dijitso_blob_size(NULL) == 0);
    CHECK(dijitso_blob_new(&blob, NULL) == DIJITSO_OK && dijitso_blob_size(blob) == 0);
    CHECK(dijitso_blob_resize(blob, 3) != NULL && dijitso_blob_size(blob) == 3);
    CHECK(dijitso_blob_resize(blob, (size_t)-1) == NULL);
    dijitso_blob_free(NULL);
    dijitso_blob_free(blob);
    CHECK(dijitso_log_level() == DIJITSO_LOG_WARNING);
    CHECK_EXPLAINED(dijitso_log_set_level(-1, &error));
    CHECK(dijitso_log_set_handler(NULL, NULL, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_log_get_handler(NULL, NULL, &error));
    CHECK(dijitso_log_get_handler(&handler, NULL, NULL) == DIJITSO_OK && handler == NULL);
}

static int32_t no_node(void *user_data, const dijitso_node_info *info)
{
    (void)user_data;
    return CHECK(info != NULL && *info->label != '\0');
}

static int32_t run(void *user_data, dijitso_task *task)
{
    const uint8_t *data = NULL;
    size_t size = 0;
    (void)user_data;
    CHECK(dijitso_task_plan(NULL) == NULL && dijitso_task_node(NULL) == DIJITSO_NODE_NONE);
    CHECK(dijitso_task_signature(NULL) == NULL && dijitso_task_params(NULL) == NULL);
    CHECK(dijitso_task_need_count(NULL) == 0 && dijitso_task_need_node(NULL, 0) == DIJITSO_NODE_NONE);
    CHECK_INVALID(dijitso_task_need_result(NULL, 0, NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_task_need_result(NULL, 0, NULL, &data, &size, &error));
    CHECK_EXPLAINED(dijitso_task_need_result(task, 0, NULL, NULL, &size, &error));
    CHECK_EXPLAINED(dijitso_task_need_result(task, 0, NULL, &data, NULL, &error));
    CHECK_INVALID(dijitso_task_need(NULL, 0, NULL));
    CHECK_EXPLAINED(dijitso_task_need(task, DIJITSO_NODE_NONE, &error));
    CHECK_INVALID(dijitso_task_set_result(NULL, NULL, 0));
    CHECK_INVALID(dijitso_task_set_result(task, NULL, 1));
    CHECK_INVALID(dijitso_task_add_file(NULL, NULL, NULL, 0, 0));
    CHECK_INVALID(dijitso_task_add_file(task, NULL, NULL, 0, 0));
    CHECK_INVALID(dijitso_task_add_file(task, "x", NULL, 1, 0));
    CHECK_INVALID(dijitso_task_set_error(NULL, NULL));
    CHECK_INVALID(dijitso_task_set_error(task, NULL));
    return dijitso_task_set_result(task, NULL, 0);
}

static void plans(const char *directory)
{
    dijitso_params *const params = params_with(directory, NULL);
    dijitso_plan *plan = NULL;
    dijitso_plan_module module = DIJITSO_PLAN_MODULE_INIT;
    dijitso_plan_task task = DIJITSO_PLAN_TASK_INIT;
    dijitso_make_options options = DIJITSO_MAKE_OPTIONS_INIT;
    dijitso_library *library = NULL;
    const uint8_t *data = NULL;
    size_t size = 0;
    CHECK_INVALID(dijitso_plan_new(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_new(NULL, params, &plan, &error));
    CHECK_EXPLAINED(dijitso_plan_new("null", params, NULL, &error));
    CHECK(plan == NULL && dijitso_plan_new("null", params, &plan, NULL) == DIJITSO_OK && plan != NULL);
    CHECK_INVALID(dijitso_plan_add_module(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_add_module(NULL, &module, NULL, &error));
    CHECK_EXPLAINED(dijitso_plan_add_module(plan, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_plan_add_module(plan, &module, NULL, &error));
    CHECK_INVALID(dijitso_plan_add_task(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_add_task(plan, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_plan_add_task(plan, &task, NULL, &error));
    task.name = "task";
    task.input_count = 1;
    CHECK_EXPLAINED(dijitso_plan_add_task(plan, &task, NULL, &error));
    task.input_count = 0;
    task.run = run;
    CHECK(dijitso_plan_add_task(plan, &task, NULL, NULL) == DIJITSO_OK);
    CHECK_INVALID(dijitso_plan_need(NULL, 0, 0, DIJITSO_EDGE_USE, NULL));
    CHECK_EXPLAINED(dijitso_plan_need(plan, 0, DIJITSO_NODE_NONE, DIJITSO_EDGE_USE, &error));
    CHECK_INVALID(dijitso_plan_make(NULL, NULL, DIJITSO_COMM_NULL, NULL));
    options.target_count = 1;
    CHECK_EXPLAINED(dijitso_plan_make(plan, &options, DIJITSO_COMM_NULL, &error));
    CHECK(dijitso_plan_make(plan, NULL, DIJITSO_COMM_NULL, NULL) == DIJITSO_OK);
    CHECK_INVALID(dijitso_plan_cancel(NULL, DIJITSO_CANCEL_KILL));
    CHECK(dijitso_plan_state(NULL, 0) == -1);
    CHECK(dijitso_plan_label(NULL, 0) == NULL && dijitso_plan_signature(NULL, 0) == NULL);
    CHECK(dijitso_plan_find(NULL, "task") == DIJITSO_NODE_NONE && dijitso_plan_find(plan, NULL) == DIJITSO_NODE_NONE);
    CHECK(dijitso_plan_current(NULL) == DIJITSO_NODE_NONE);
    CHECK_INVALID(dijitso_plan_result(NULL, 0, NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_result(plan, 0, NULL, NULL, &size, &error));
    CHECK_EXPLAINED(dijitso_plan_result(plan, 0, NULL, &data, NULL, &error));
    CHECK(dijitso_plan_result(plan, 0, NULL, &data, &size, NULL) == DIJITSO_OK && data != NULL && size == 0);
    CHECK_INVALID(dijitso_plan_library(NULL, 0, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_library(plan, 0, &library, &error));
    CHECK_INVALID(dijitso_plan_error(NULL, 0, NULL));
    CHECK(dijitso_plan_error(plan, 0, NULL) == DIJITSO_OK);
    CHECK_INVALID(dijitso_plan_visit(NULL, no_node, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_visit(plan, NULL, NULL, &error));
    CHECK(dijitso_plan_visit(plan, no_node, NULL, NULL) == DIJITSO_OK);
    CHECK_INVALID(dijitso_plan_save(NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_save(plan, NULL, &error));
    dijitso_plan_free(NULL);
    dijitso_plan_free(plan);
    CHECK_INVALID(dijitso_plan_load(NULL, NULL, NULL, NULL));
    CHECK_EXPLAINED(dijitso_plan_load(NULL, params, &plan, &error));
    CHECK_EXPLAINED(dijitso_plan_load("x", params, NULL, &error));
    CHECK(plan == NULL);
    dijitso_params_free(params);
}

static void cache_of(const char *directory)
{
    dijitso_params *const params = params_with(directory, NULL);
    dijitso_library *library = NULL;
    dijitso_blob *blob = NULL;
    const char *nothing = NULL;
    CHECK(dijitso_blob_new(&blob, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_signature(params, NULL, blob, &error));
    CHECK_EXPLAINED(dijitso_signature(params, "x", NULL, &error));
    CHECK_EXPLAINED(dijitso_build_command(params, NULL, NULL, 0, no_text, NULL, &error));
    CHECK_EXPLAINED(dijitso_build_command(params, "x", NULL, 1, no_text, NULL, &error));
    CHECK_EXPLAINED(dijitso_build_command(params, "x", &nothing, 1, no_text, NULL, &error));
    CHECK_EXPLAINED(dijitso_build_command(params, "x", NULL, 0, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_library_open(params, NULL, &library, &error));
    CHECK_EXPLAINED(dijitso_library_open(params, "x", NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_read_binary(params, NULL, blob, &error));
    CHECK_EXPLAINED(dijitso_cache_read_binary(params, "x", NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_write_binary(params, NULL, NULL, 0, &error));
    CHECK_EXPLAINED(dijitso_cache_write_binary(params, "x", NULL, 1, &error));
    CHECK_EXPLAINED(dijitso_elf_read(NULL, no_item, NULL, &error));
    CHECK_EXPLAINED(dijitso_elf_read("/lib", NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_file_names(params, NULL, no_names, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_file_names(params, "x", NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_dependencies(params, NULL, no_item, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_dependencies(params, "x", NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_list(params, NULL, NULL, &error));
    CHECK(dijitso_cache_list(params, no_entry, NULL, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_cache_files(params, NULL, 0, no_file, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_files(params, NULL, 1, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_grep(params, NULL, NULL, 1, no_line, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_grep(params, "x", NULL, 1, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_read(params, NULL, 1, blob, &error));
    CHECK_EXPLAINED(dijitso_cache_read(params, "x", 1, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_store(params, NULL, 1, NULL, 0, &error));
    CHECK_EXPLAINED(dijitso_cache_store(params, "x", 1, NULL, 1, &error));
    CHECK_EXPLAINED(dijitso_cache_extract(params, NULL, 1, "x", 0, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_extract(params, "x", 1, NULL, 0, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_remove(params, NULL, 1, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_cache_clean(params, 0, 1, NULL, NULL, &error));
    CHECK(dijitso_cache_make_dirs(params, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_cache_check(params, NULL, 2, NULL, NULL, NULL, &error));
    CHECK(dijitso_cache_check(params, NULL, 0, NULL, NULL, NULL, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_cache_gc(params, 0.0, 2, NULL, NULL, &error));
    CHECK(dijitso_cache_gc(params, -1.0, 0, NULL, NULL, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_cache_stats(params, NULL, NULL, &error));
    CHECK(dijitso_cache_reset_stats(params, NULL) == DIJITSO_OK);
    CHECK_EXPLAINED(dijitso_explain(params, NULL, 0, blob, &error));
    CHECK_EXPLAINED(dijitso_explain(params, "x", 0, NULL, &error));
    CHECK_EXPLAINED(dijitso_bundle_export(params, NULL, 1, "x", &error));
    CHECK_EXPLAINED(dijitso_bundle_export(params, &nothing, 1, "x", &error));
    CHECK_EXPLAINED(dijitso_bundle_export(params, NULL, 0, NULL, &error));
    CHECK_EXPLAINED(dijitso_bundle_import(params, NULL, 0, NULL, NULL, &error));
    dijitso_blob_free(blob);
    dijitso_params_free(params);
}

/* Without a communicator no MPI is needed, and MPI is not initialised here. */
static void communicators(void)
{
    MPI_Comm comm = DIJITSO_COMM_NULL;
    int32_t number = 0, ranks[1] = {0};
    uint64_t uuid = 0;
    CHECK_EXPLAINED(dijitso_mpi_discover_path_access_ranks(comm, "/tmp", ranks, 1, &number, &error));
    CHECK_EXPLAINED(dijitso_mpi_discover_path_access_ranks(comm, NULL, NULL, 0, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_node_comm(comm, NULL, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_node_roots_comm(comm, 0, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_subcomm(comm, NULL, 1, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_comms_and_role(comm, NULL, NULL, NULL, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_comms_and_role(comm, "/tmp", "some", &comm, &comm, &number, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_comms_and_role_node(comm, comm, 0, NULL, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_comms_and_role_root(comm, comm, 0, NULL, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_create_comms_and_role_process(comm, comm, 0, NULL, NULL, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_send_binary(comm, NULL, 1, &error));
    CHECK_EXPLAINED(dijitso_mpi_receive_binary(comm, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_bcast_uuid(comm, &uuid, &error));
    CHECK_EXPLAINED(dijitso_mpi_bcast_uuid(comm, NULL, &error));
    CHECK_EXPLAINED(dijitso_mpi_gather_global_partitions(comm, 0, NULL, 0, NULL, &error));
}

/* The forms for languages: NULL as an address and the null integer stand for no communicator. */
static void try_languages(void)
{
    const int32_t none = dijitso_fint_null();
    CHECK_INVALID(dijitso_jit_comm(NULL, NULL, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_jit_fint(NULL, NULL, NULL, none, NULL, NULL));
    CHECK_INVALID(dijitso_jit_many_comm(1, NULL, NULL, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_jit_many_fint(1, NULL, NULL, NULL, none, NULL, NULL));
    CHECK_INVALID(dijitso_jit_source_comm(NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_jit_source_fint(NULL, NULL, NULL, 0, NULL, 0, none, NULL, NULL));
    CHECK_INVALID(dijitso_jit_text_comm(NULL, NULL, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_jit_text_fint(NULL, NULL, NULL, none, NULL, NULL));
    CHECK_INVALID(dijitso_jit_start_comm(NULL, NULL, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_jit_start_fint(NULL, NULL, NULL, none, NULL, NULL));
    CHECK_INVALID(dijitso_plan_make_comm(NULL, NULL, NULL, 0, NULL));
    CHECK_INVALID(dijitso_plan_make_fint(NULL, NULL, none, NULL));
    CHECK_INVALID(dijitso_mpi_discover_path_access_ranks_comm(NULL, 0, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_discover_path_access_ranks_fint(none, NULL, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_node_comm_comm(NULL, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_node_comm_fint(none, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_node_roots_comm_comm(NULL, 0, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_node_roots_comm_fint(none, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_subcomm_comm(NULL, 0, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_subcomm_fint(none, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_comm(NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_fint(none, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_node_comm(NULL, NULL, 0, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_node_fint(none, none, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_root_comm(NULL, NULL, 0, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_root_fint(none, none, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_process_comm(NULL, NULL, 0, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_create_comms_and_role_process_fint(none, none, 0, NULL, NULL, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_send_binary_comm(NULL, 0, NULL, 1, NULL));
    CHECK_INVALID(dijitso_mpi_send_binary_fint(none, NULL, 1, NULL));
    CHECK_INVALID(dijitso_mpi_receive_binary_comm(NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_receive_binary_fint(none, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_bcast_uuid_comm(NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_bcast_uuid_fint(none, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_gather_global_partitions_comm(NULL, 0, 0, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_gather_global_partitions_fint(none, 0, NULL, 0, NULL, NULL));
    CHECK_INVALID(dijitso_mpi_use(NULL, NULL));
}

/* This program has no MPI. A communicator all the same is an error that says what was looked for. */
static void without_mpi(void)
{
    const int32_t handle = 0x44000000;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    CHECK(dijitso_mpi_family() == DIJITSO_MPI_NONE && dijitso_mpi_comm_size() == 0);
    CHECK(dijitso_jit_comm("none", NULL, NULL, &handle, sizeof handle, &library, &error) == DIJITSO_ERROR_STATE);
    CHECK(strstr(dijitso_error_message(error), "DIJITSO_MPI_LIB is not set") != NULL && library == NULL);
    dijitso_error_free(error);
    CHECK(dijitso_jit_fint("none", NULL, NULL, 0, &library, &error) == DIJITSO_ERROR_STATE);
    dijitso_error_free(error);
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && strlen(dijitso_version()) > 0);
    CHECK(dijitso_blob_resize(NULL, 0) == NULL);
    CHECK(dijitso_blob_resize(NULL, 10) == NULL);
    errors();
    parameters();
    building(argv[1]);
    blobs_and_log();
    plans(path_of("%s/plans", argv[1]));
    cache_of(path_of("%s/empty", argv[1]));
    communicators();
    try_languages();
    without_mpi();
    return check_result();
}
