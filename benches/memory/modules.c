/* Loads many small modules, by dijitso_jit or by bare dlopen, and measures the cost of each.
 *
 * usage: modules fill|jit|dlopen CACHE COUNT COMPILER
 * prints: resident bytes and microseconds of CPU time for each module (nothing for fill) */
#define _POSIX_C_SOURCE 200809L
#include <dijitso.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static dijitso_params *params;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "modules: %s: %s\n", what, why != NULL ? why : "");
    exit(1);
}

/* Returns CPU time, which other programs on the machine disturb less. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static long resident(void)
{
    FILE *const file = fopen("/proc/self/statm", "r");
    long all = 0, pages = 0;
    if (file == NULL || fscanf(file, "%ld %ld", &all, &pages) != 2)
        fail("/proc/self/statm", "cannot be read");
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    static const char code[] = "int value(void) { return 42; }\n";
    (void)user_data, (void)name, (void)signature, (void)generator_json;
    return dijitso_source_set_code(source, code, sizeof code - 1);
}

static void jit(int at)
{
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    char name[64];
    callbacks.generate = generate;
    snprintf(name, sizeof name, "module_%05d", at);
    if (dijitso_jit(name, params, &callbacks, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK)
        fail(name, dijitso_error_message(error));
    dijitso_library_free(library);
}

static char **libraries(const char *cache, int count)
{
    char **const paths = calloc((size_t)count, sizeof *paths);
    char path[4096];
    DIR *directory;
    struct dirent *entry;
    int at = 0;
    snprintf(path, sizeof path, "%s/lib", cache);
    directory = opendir(path);
    if (directory == NULL || paths == NULL)
        fail(path, "cannot be listed");
    while (at < count && (entry = readdir(directory)) != NULL)
        if (strstr(entry->d_name, ".so") != NULL) {
            snprintf(path, sizeof path, "%s/lib/%s", cache, entry->d_name);
            paths[at++] = strdup(path);
        }
    closedir(directory);
    if (at < count)
        fail(cache, "holds fewer modules");
    return paths;
}

int main(int arguments, char **argument)
{
    const char *settings[][2] = {{"cache.cache_dir", NULL}, {"build.cc", NULL}, {"build.language", "c"},
                                 {"cache.src_storage", "delete"}, {"cache.enable_build_log", "false"}};
    dijitso_error *error = NULL;
    char **paths = NULL;
    double begin;
    long before;
    int count;
    if (arguments != 5)
        fail("usage", "modules fill|jit|dlopen CACHE COUNT COMPILER");
    count = atoi(argument[3]);
    settings[0][1] = argument[2];
    settings[1][1] = argument[4];
    if (dijitso_params_new(&params, &error) != DIJITSO_OK)
        fail("parameters", dijitso_error_message(error));
    for (size_t at = 0; at < sizeof settings / sizeof settings[0]; ++at)
        if (dijitso_params_set(params, settings[at][0], settings[at][1], &error) != DIJITSO_OK)
            fail("parameters", dijitso_error_message(error));
    if (strcmp(argument[1], "fill") == 0) {
        for (int at = 0; at < count; ++at)
            jit(at);
        return 0;
    }
    if (strcmp(argument[1], "dlopen") == 0)
        paths = libraries(argument[2], count);
    else
        jit(0); /* the first call of a process has costs of its own */
    before = resident();
    begin = now();
    for (int at = 0; at < count; ++at) {
        if (paths == NULL)
            jit(at);
        else if (dlopen(paths[at], RTLD_NOW | RTLD_LOCAL) == NULL)
            fail(paths[at], dlerror());
    }
    printf("%ld %.1f\n", (resident() - before) / count, 1e6 * (now() - begin) / count);
    return 0;
}
