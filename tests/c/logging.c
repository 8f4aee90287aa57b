/* The log: levels, handlers, records with the first error of the compiler, lines of text and of JSON. Each phase is a new
 * process, because DIJITSO_LOG is read once. */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <stdlib.h>

static const char *work;

struct seen {
    int records[6]; /* by level / 10 */
    char last[4096];
    dijitso_status nested_status;
};

static void handle_record(void *user_data, const dijitso_log_record *record)
{
    struct seen *const seen = user_data;
    CHECK(record->struct_size >= sizeof *record && record->level >= 10 && record->level <= 50);
    CHECK(record->rank == -1 && record->ranks == 0 && strlen(record->host) > 0);
    CHECK(strncmp(record->target, "dijitso", 7) == 0);
    ++seen->records[record->level / 10];
    if (strstr(record->message, "failed: ") != NULL)
        snprintf(seen->last, sizeof seen->last, "%s", record->message);
    seen->nested_status = dijitso_log_set_handler(NULL, NULL, NULL);
}

/* Builds a library, and fails to build another one. */
static void build(void)
{
    dijitso_params *const params = params_with(path_of("%s/cache", work), "cache.failure_ttl", "0", NULL);
    struct integer good = {1, 0, NULL, NULL}, bad = {1, 0, "int broken = nonsense_of_ours;\n", NULL};
    struct outcome outcome;
    CHECK_OUTCOME(jit_integer("good", params, &good, DIJITSO_COMM_NULL), 1 + INCLUDED_VALUE, ANY_ORIGIN);
    outcome = jit_integer("bad", params, &bad, DIJITSO_COMM_NULL);
    CHECK_STATUS(outcome.status, DIJITSO_ERROR_COMPILE, outcome.error);
    dijitso_params_free(params);
}

static char *read_all(const char *path)
{
    static char text[1 << 16];
    FILE *const file = fopen(path, "r");
    size_t length = 0;
    if (CHECK(file != NULL)) {
        length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[length] = '\0';
    return text;
}

static void handlers(void)
{
    struct seen seen = {{0}, "", 0};
    dijitso_log_fn handler = handle_record;
    void *user_data = &seen;
    CHECK(dijitso_log_level() == DIJITSO_LOG_WARNING);
    CHECK_CALL(dijitso_log_get_handler(&handler, &user_data, &error), DIJITSO_OK);
    CHECK(handler == NULL && user_data == NULL);
    CHECK_CALL(dijitso_log_set_handler(handle_record, &seen, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_log_get_handler(&handler, NULL, &error), DIJITSO_OK);
    CHECK(handler == handle_record);

    check_case("the default level");
    build();
    /* A returned error is not logged as an error. */
    CHECK(seen.records[2] == 0 && seen.records[3] == 0 && seen.records[4] == 0);

    check_case("level info");
    CHECK_CALL(dijitso_log_set_level(DIJITSO_LOG_INFO, &error), DIJITSO_OK);
    CHECK(dijitso_log_level() == DIJITSO_LOG_INFO);
    build();
    CHECK(seen.records[2] > 0 && seen.records[4] == 0);
    CHECK_CONTAINS(seen.last, "nonsense_of_ours");
    CHECK(seen.nested_status == DIJITSO_ERROR_STATE);

    check_case("level off");
    CHECK_CALL(dijitso_log_set_level(DIJITSO_LOG_OFF, &error), DIJITSO_OK);
    build();
    CHECK(seen.records[4] == 0);
    CHECK_CALL(dijitso_log_set_level(-1, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CALL(dijitso_log_set_handler(NULL, NULL, &error), DIJITSO_OK);
}

static void files(void)
{
    const char *const lines = path_of("%s/lines", work), *const events = path_of("%s/events", work);
    const char *text;
    setenv("DIJITSO_LOG", path_of("info,file=%s,json=%s", lines, events), 1);
    CHECK(dijitso_log_level() == DIJITSO_LOG_INFO);
    build();
    text = read_all(lines);
    CHECK_CONTAINS(text, "]: \"bad\" failed: cannot build ");
    CHECK_CONTAINS(text, "nonsense_of_ours");
    CHECK_CONTAINS(text, "dijitso info [");
    text = read_all(events);
    CHECK_CONTAINS(text, "\"event\":\"library\"");
    CHECK_CONTAINS(text, "\"origin\":\"");
    CHECK_CONTAINS(text, "\"event\":\"failure\"");
    CHECK_CONTAINS(text, "\"status\":30");
    CHECK_CONTAINS(text, "\"seconds\":");
}

/* A wrong word in DIJITSO_LOG gives a warning; the other words still apply. */
static void mistakes(void)
{
    const char *const lines = path_of("%s/mistakes", work);
    setenv("DIJITSO_LOG", path_of("loud,CRITICAL,error,file=%s,warning", lines), 1);
    CHECK(dijitso_log_level() == DIJITSO_LOG_WARNING);
    CHECK_CONTAINS(read_all(lines), "\"loud\" is not understood");
}

int main(int argc, char **argv)
{
    const char *const phase = argc > 2 ? argv[2] : "handlers";
    work = argc > 1 ? argv[1] : ".";
    if (strcmp(phase, "files") == 0) {
        files();
    } else if (strcmp(phase, "mistakes") == 0) {
        mistakes();
    } else {
        unsetenv("DIJITSO_LOG");
        handlers();
    }
    return check_result();
}
