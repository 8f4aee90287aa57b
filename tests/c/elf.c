/* Dependencies read from ELF headers; signatures, build commands, and entries as bytes. */
#define _POSIX_C_SOURCE 200809L
#include "fixture.h"

#include <stdlib.h>
#include <sys/stat.h>

static const char *work;

struct facts {
    int needed, found, stop_after;
    char soname[512], build_id[128], runpath[512], path[PATH_SIZE];
    const char *wanted;
};

static int32_t store_item(void *user_data, const dijitso_elf_item *item)
{
    struct facts *const facts = user_data;
    CHECK(item->struct_size >= sizeof *item);
    if (item->kind == DIJITSO_ELF_SONAME)
        snprintf(facts->soname, sizeof facts->soname, "%s", item->text);
    if (item->kind == DIJITSO_ELF_BUILD_ID)
        snprintf(facts->build_id, sizeof facts->build_id, "%s", item->text);
    if (item->kind == DIJITSO_ELF_RUNPATH)
        snprintf(facts->runpath, sizeof facts->runpath, "%s", item->text);
    if (item->kind == DIJITSO_ELF_NEEDED) {
        ++facts->needed;
        facts->found += item->path[0] == '/' && exists(item->path);
        if (strstr(item->text, facts->wanted) != NULL)
            snprintf(facts->path, sizeof facts->path, "%s", item->path);
    }
    return facts->stop_after > 0 && --facts->stop_after == 0;
}

static struct facts read_elf(const char *path, const char *wanted, int stop_after)
{
    struct facts facts = {0, 0, 0, "", "", "", "", NULL};
    facts.wanted = wanted;
    facts.stop_after = stop_after;
    CHECK_CALL(dijitso_elf_read(path, store_item, &facts, &error), DIJITSO_OK);
    return facts;
}

static int32_t with_dependency(void *user_data, const char *name, const char *signature, const char *generator_json,
                               dijitso_source *source)
{
    const char *const text = path_of("#include \"%s.h\"\nint other();\nextern \"C\" int value() { return 5; }\n",
                                     (const char *)user_data);
    (void)name, (void)signature, (void)generator_json;
    CHECK(dijitso_source_add_dependency(source, user_data) == DIJITSO_OK);
    return dijitso_source_set_code(source, text, strlen(text));
}

struct words {
    int count, stop_after;
    char all[8192];
};

static int32_t collect(void *user_data, const char *word)
{
    struct words *const words = user_data;
    const size_t used = strlen(words->all);
    ++words->count;
    snprintf(words->all + used, sizeof words->all - used, "%s\n", word);
    return words->stop_after > 0 && --words->stop_after == 0;
}

static void signatures_and_commands(const dijitso_params *params, const char *signature)
{
    struct words words = {0, 0, ""};
    dijitso_blob *blob;
    check_case("signature of a name and parameters");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    CHECK(dijitso_blob_size(blob) == 0 && *dijitso_blob_data(blob) == 0);
    CHECK_CALL(dijitso_signature(params, "first", blob, &error), DIJITSO_OK);
    CHECK(strcmp((const char *)dijitso_blob_data(blob), signature) == 0);
    CHECK(dijitso_blob_size(blob) == strlen(signature));
    CHECK_CALL(dijitso_signature(params, "../first", blob, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_blob_free(blob);

    check_case("command of a build");
    CHECK_CALL(dijitso_build_command(params, "other", &signature, 1, collect, &words, &error), DIJITSO_OK);
    CHECK_CONTAINS(words.all, "\nother.cpp\n");
    CHECK_CONTAINS(words.all, path_of("\n-l:libdijitso-%s.so\n", signature));
    CHECK_CONTAINS(words.all, "\n-o\nlibdijitso-other.so\n");
    words.count = 0;
    words.stop_after = 2;
    CHECK_CALL(dijitso_build_command(params, "other", NULL, 0, collect, &words, &error), DIJITSO_OK);
    CHECK(words.count == 2);
    /* Defect C16 of the original: the command made directories. */
    CHECK(!exists(path_of("%s/nowhere", work)));
    CHECK_CALL(dijitso_build_command(params, "../other", NULL, 0, collect, &words, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
}

static void entries_as_bytes(const dijitso_params *params, const char *signature)
{
    dijitso_params *const elsewhere = params_with(path_of("%s/elsewhere", work), NULL);
    dijitso_library *library = NULL;
    dijitso_fn value = NULL;
    dijitso_blob *blob;
    uint8_t *altered;
    check_case("an entry as bytes");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_cache_read_binary(params, signature, blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_library_open(elsewhere, signature, &library, &error), DIJITSO_ERROR_CACHE);
    altered = malloc(dijitso_blob_size(blob));
    memcpy(altered, dijitso_blob_data(blob), dijitso_blob_size(blob));
    altered[dijitso_blob_size(blob) / 2] ^= 1;
    CHECK_CALL(dijitso_cache_write_binary(elsewhere, signature, altered, dijitso_blob_size(blob), &error),
                 DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_cache_write_binary(elsewhere, signature, NULL, 0, &error), DIJITSO_ERROR_CACHE);
    free(altered);
    CHECK_CALL(dijitso_cache_write_binary(elsewhere, "another", dijitso_blob_data(blob), dijitso_blob_size(blob), &error),
                 DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_cache_write_binary(elsewhere, signature, dijitso_blob_data(blob), dijitso_blob_size(blob), &error),
                 DIJITSO_OK);
    CHECK_CALL(dijitso_library_open(elsewhere, signature, &library, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_library_symbol(library, "value", &value, &error), DIJITSO_OK);
    CHECK(value != NULL && ((int (*)(void))value)() == 5);
    CHECK(dijitso_library_origin(library) == DIJITSO_ORIGIN_DISK);
    CHECK(strncmp(dijitso_library_path(library), path_of("%s/elsewhere/", work), strlen(work) + 11) == 0);
    dijitso_library_free(library);
    CHECK_CALL(dijitso_cache_read_binary(params, "no_such_entry", blob, &error), DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_library_open(params, "../evil", &library, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_blob_free(blob);
    dijitso_params_free(elsewhere);
}

int main(int argc, char **argv)
{
    struct integer integer = {1, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params;
    dijitso_library *library = NULL;
    struct outcome first;
    struct facts facts;
    char signature[512];

    work = argc > 1 ? argv[1] : ".";
    /* Makes the linker record a dependency even if none of its symbols is used. */
    params = params_with(path_of("%s/cache", work), "build.cxxflags", "-shared -fPIC -std=c++11 -Wl,--no-as-needed",
                         NULL);
    first = jit_integer("first", params, &integer, DIJITSO_COMM_NULL);
    CHECK_OUTCOME(first, 1 + INCLUDED_VALUE, ORIGIN(BUILT));
    callbacks.generate = with_dependency;
    callbacks.user_data = first.signature;
    CHECK_CALL(dijitso_jit("second", params, &callbacks, DIJITSO_COMM_NULL, &library, &error), DIJITSO_OK);
    if (library == NULL)
        return check_result();
    snprintf(signature, sizeof signature, "%s", dijitso_library_signature(library));

    check_case("dependencies of a library");
    facts = read_elf(dijitso_library_path(library), first.signature, 0);
    CHECK_CONTAINS(facts.soname, signature);
    CHECK(strcmp(facts.runpath, "$ORIGIN") == 0);
    CHECK(facts.needed >= 2 && facts.found == facts.needed);
    CHECK_CONTAINS(facts.path, path_of("%s/cache/lib/", work));
    CHECK(read_elf(dijitso_library_path(library), "", 1).needed == 0);
    CHECK_CALL(dijitso_elf_read(argv[0], store_item, &facts, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_elf_read("/etc/passwd", store_item, &facts, &error), DIJITSO_ERROR_CACHE);
    /* A file without end, and one whose open would block. */
    CHECK_CALL(dijitso_elf_read("/dev/zero", store_item, &facts, &error), DIJITSO_ERROR_CACHE);
    CHECK(mkfifo(path_of("%s/fifo", work), 0600) == 0);
    CHECK_CALL(dijitso_elf_read(path_of("%s/fifo", work), store_item, &facts, &error), DIJITSO_ERROR_CACHE);

    signatures_and_commands(params, first.signature);
    entries_as_bytes(params, signature);
    dijitso_library_free(library);
    dijitso_params_free(params);
    return check_result();
}
