/* Statistics, explanations, bundles, integrity checks and eviction. */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *work;

struct seen {
    int count, worst, repair;
    char kind[128], signature[512], path[PATH_SIZE];
    dijitso_stats stats;
};
static const struct seen none;

static int32_t see_finding(void *user_data, const dijitso_finding *finding)
{
    struct seen *const seen = user_data;
    CHECK(finding->struct_size >= sizeof *finding && *finding->text && *finding->advice);
    CHECK(finding->reason != NULL && exists(finding->path) == (finding->repair != DIJITSO_REPAIR_DONE));
    if (seen->count++ > 0)
        return 0;
    seen->worst = finding->severity;
    seen->repair = finding->repair;
    snprintf(seen->kind, sizeof seen->kind, "%s", finding->kind);
    snprintf(seen->signature, sizeof seen->signature, "%s", finding->signature);
    snprintf(seen->path, sizeof seen->path, "%s", finding->path);
    return 0;
}

static int32_t see_removed(void *user_data, const dijitso_removed *removed)
{
    struct seen *const seen = user_data;
    CHECK(removed->struct_size >= sizeof *removed && removed->idle >= 0.0);
    if (*removed->signature == '\0')
        return 0; /* a quarantined file */
    ++seen->count;
    snprintf(seen->signature, sizeof seen->signature, "%s", removed->signature);
    snprintf(seen->path, sizeof seen->path, "%s", removed->path);
    return 0;
}

static int32_t see_stats(void *user_data, const dijitso_stats *stats)
{
    struct seen *const seen = user_data;
    CHECK(stats->struct_size >= sizeof *stats && *stats->host);
    ++seen->count;
    seen->stats = *stats;
    return 0;
}

static int32_t see_imported(void *user_data, const dijitso_imported *imported)
{
    struct seen *const seen = user_data;
    CHECK(imported->struct_size >= sizeof *imported && *imported->reason == '\0');
    ++seen->count;
    seen->worst = imported->outcome;
    snprintf(seen->signature, sizeof seen->signature, "%s", imported->signature);
    return 0;
}

static void build(const dijitso_params *params, const char *name, int value, unsigned origins)
{
    struct integer integer = {0, 0, NULL, NULL};
    integer.value = value;
    CHECK_OUTCOME(jit_integer(name, params, &integer, DIJITSO_COMM_NULL), value + INCLUDED_VALUE, origins);
}

static void statistics(const dijitso_params *params)
{
    struct seen seen = none;
    check_case("statistics");
    build(params, "a", 1, ORIGIN(MEMORY));
    CHECK_CALL(dijitso_cache_stats(params, see_stats, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 1 && seen.stats.builds == 2 && seen.stats.failures == 0 && seen.stats.memory_hits == 1);
    CHECK(seen.stats.compile_seconds > 0.0);
    CHECK_CALL(dijitso_cache_reset_stats(params, &error), DIJITSO_OK);
    seen = none;
    CHECK_CALL(dijitso_cache_stats(params, see_stats, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
}

static void explanations(dijitso_params *params)
{
    dijitso_blob *blob;
    check_case("explanations");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_params_set(params, "build.cxxflags_opt", "-O0 -DOF_THIS_TEST", &error), DIJITSO_OK);
    CHECK_CALL(dijitso_explain(params, "a", 0, blob, &error), DIJITSO_OK);
    CHECK_CONTAINS((const char *)dijitso_blob_data(blob), "-DOF_THIS_TEST");
    CHECK_CALL(dijitso_explain(params, "a", 1, blob, &error), DIJITSO_OK);
    CHECK(*dijitso_blob_data(blob) == '{');
    CHECK_CALL(dijitso_params_set(params, "build.cxxflags_opt", "-O0", &error), DIJITSO_OK);
    CHECK_CALL(dijitso_signature(params, "a", blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_explain(params, path_of("%s", (const char *)dijitso_blob_data(blob)), 0, blob, &error), DIJITSO_OK);
    CHECK(dijitso_blob_size(blob) > 50);
    dijitso_blob_free(blob);
}

/* An export follows a symbolic link and keeps it, and refuses a directory. */
static void outputs(const dijitso_params *params, const char *bundle)
{
    char link[PATH_SIZE], directory[PATH_SIZE];
    struct stat facts;
    snprintf(link, sizeof link, "%s/link", work);
    snprintf(directory, sizeof directory, "%s/directory", work);
    CHECK(symlink(bundle, link) == 0 && mkdir(directory, 0700) == 0);
    CHECK_CALL(dijitso_bundle_export(params, NULL, 0, link, &error), DIJITSO_OK);
    CHECK(lstat(link, &facts) == 0 && S_ISLNK(facts.st_mode));
    CHECK_CALL(dijitso_bundle_export(params, NULL, 0, directory, &error), DIJITSO_ERROR_CACHE);
    CHECK(stat(directory, &facts) == 0 && S_ISDIR(facts.st_mode));
}

static void bundles(const dijitso_params *params)
{
    dijitso_params *const elsewhere = params_with(path_of("%s/elsewhere", work), "cache.frozen", "true", NULL);
    const char *const bundle = path_of("%s/bundle", work), *const word = "a", *const unknown = "unknown";
    struct seen seen = none;
    check_case("bundles");
    CHECK_CALL(dijitso_bundle_export(params, &unknown, 1, bundle, &error), DIJITSO_ERROR_CACHE);
    CHECK(!exists(bundle));
    CHECK_CALL(dijitso_bundle_export(params, &word, 1, bundle, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_bundle_import(elsewhere, bundle, 0, see_imported, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 1 && seen.worst == DIJITSO_IMPORT_NEW && strncmp(seen.signature, "a_", 2) == 0);
    CHECK_CALL(dijitso_bundle_import(elsewhere, bundle, 0, see_imported, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 2 && seen.worst == DIJITSO_IMPORT_EXISTS);
    build(elsewhere, "a", 1, ORIGIN(DISK));
    CHECK_CALL(dijitso_bundle_export(params, NULL, 0, bundle, &error), DIJITSO_OK);
    outputs(params, bundle);
    CHECK_CALL(dijitso_bundle_import(elsewhere, bundle, 0, NULL, NULL, &error), DIJITSO_OK);
    build(elsewhere, "b", 2, ORIGIN(DISK));
    write_text(bundle, "not a bundle\n", 0600);
    CHECK_CALL(dijitso_bundle_import(elsewhere, bundle, 0, NULL, NULL, &error), DIJITSO_ERROR_CACHE);
    dijitso_params_free(elsewhere);
}

static void integrity(const dijitso_params *params)
{
    struct seen seen = none;
    dijitso_blob *blob;
    int32_t sound = -1;
    check_case("an intact cache");
    CHECK_CALL(dijitso_cache_check(params, NULL, 0, see_finding, &seen, &sound, &error), DIJITSO_OK);
    CHECK(seen.count == 0 && sound == 1);

    check_case("an altered header");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_signature(params, "b", blob, &error), DIJITSO_OK);
    write_text(path_of("%s/cache/include/%s.h", work, (const char *)dijitso_blob_data(blob)), "altered\n", 0600);
    CHECK_CALL(dijitso_cache_check(params, NULL, 0, see_finding, &seen, &sound, &error), DIJITSO_OK);
    CHECK(seen.count > 0 && sound == 0 && seen.worst == DIJITSO_SEVERITY_BROKEN && seen.repair == DIJITSO_REPAIR_NO);
    CHECK(strcmp(seen.kind, "header-altered") == 0);
    CHECK(strcmp(seen.signature, (const char *)dijitso_blob_data(blob)) == 0);

    check_case("repaired");
    seen = none;
    CHECK_CALL(dijitso_cache_check(params, NULL, 1, see_finding, &seen, &sound, &error), DIJITSO_OK);
    CHECK(seen.repair == DIJITSO_REPAIR_DONE && sound == 1);
    seen = none;
    CHECK_CALL(dijitso_cache_check(params, NULL, 0, see_finding, &seen, &sound, &error), DIJITSO_OK);
    CHECK(sound == 1);
    dijitso_blob_free(blob);
}

static void evicting(dijitso_params *params)
{
    struct seen seen = none;
    check_case("eviction");
    CHECK_CALL(dijitso_cache_gc(params, 0.0, 0, see_removed, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
    CHECK_CALL(dijitso_params_set(params, "cache.max_size", "1", &error), DIJITSO_OK);
    CHECK_CALL(dijitso_cache_gc(params, -1.0, 0, see_removed, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0); /* just built, so in use */
    sleep(1);
    CHECK_CALL(dijitso_cache_gc(params, 0.0, 1, see_removed, &seen, &error), DIJITSO_OK);
    CHECK(seen.count > 0 && exists(seen.path));
    seen = none;
    CHECK_CALL(dijitso_cache_gc(params, 0.0, 0, see_removed, &seen, &error), DIJITSO_OK);
    CHECK(seen.count > 0 && !exists(seen.path));
}

int main(int argc, char **argv)
{
    dijitso_params *params;
    work = argc > 1 ? argv[1] : ".";
    params = params_with(path_of("%s/cache", work), NULL);
    build(params, "a", 1, ORIGIN(BUILT));
    build(params, "b", 2, ORIGIN(BUILT));
    statistics(params);
    explanations(params);
    bundles(params);
    integrity(params);
    evicting(params);
    dijitso_params_free(params);
    return check_result();
}
