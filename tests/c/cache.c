/* The cache functions: list, read, store, search, extract, remove. */
#include "fixture.h"

#include <stdlib.h>

static const char *work;

struct seen {
    int count, stop_after, categories;
    unsigned long long size;
    char last[PATH_SIZE], text[PATH_SIZE];
};

static int32_t stop(struct seen *seen)
{
    ++seen->count;
    return seen->stop_after > 0 && seen->count >= seen->stop_after;
}

static int32_t see_entry(void *user_data, const dijitso_entry *entry)
{
    struct seen *const seen = user_data;
    CHECK(entry->struct_size >= sizeof *entry && entry->allocated > 0 && entry->modified > 1700000000);
    CHECK(strncmp(entry->signature, entry->name, strlen(entry->name)) == 0);
    seen->categories = entry->categories;
    seen->size += entry->size;
    /* Entries come in the order of their signatures. */
    CHECK(strcmp(seen->last, entry->signature) < 0);
    snprintf(seen->last, sizeof seen->last, "%s", entry->signature);
    return stop(seen);
}

static int32_t see_file(void *user_data, const dijitso_file *file)
{
    struct seen *const seen = user_data;
    CHECK(file->struct_size >= sizeof *file && exists(file->path) && file->modified > 1700000000);
    seen->categories |= file->category;
    seen->size += file->size;
    snprintf(seen->last, sizeof seen->last, "%s", file->path);
    return stop(seen);
}

static int32_t see_line(void *user_data, const dijitso_line *line)
{
    struct seen *const seen = user_data;
    CHECK(line->struct_size >= sizeof *line && line->number > 0 && exists(line->path));
    seen->categories |= line->category;
    snprintf(seen->last, sizeof seen->last, "%s", line->signature);
    snprintf(seen->text, sizeof seen->text, "%s", line->text);
    return stop(seen);
}

static int32_t see_text(void *user_data, const char *text)
{
    struct seen *const seen = user_data;
    snprintf(seen->last, sizeof seen->last, "%s", text);
    return stop(seen);
}

static int32_t see_names(void *user_data, const dijitso_file_names *names)
{
    const char *const signature = user_data;
    CHECK(names->struct_size >= sizeof *names);
    CHECK(strcmp(names->lib_name, path_of("dijitso-%s", signature)) == 0);
    CHECK(strcmp(names->lib_basename, path_of("libdijitso-%s.so", signature)) == 0);
    CHECK(strcmp(names->inc_basename, path_of("%s.h", signature)) == 0);
    CHECK(strcmp(names->src_basename, path_of("%s.cpp", signature)) == 0);
    CHECK(strcmp(names->fail_dir, path_of("%s/cache/jitfailure-%s", work, signature)) == 0);
    CHECK(exists(names->lib_path) && exists(names->inc_path) && exists(names->log_path));
    CHECK(exists(path_of("%s.gz", names->src_path)));
    return 0;
}

static int32_t see_dependency(void *user_data, const dijitso_elf_item *item)
{
    struct seen *const seen = user_data;
    CHECK(item->kind == DIJITSO_ELF_NEEDED && exists(item->path));
    snprintf(seen->last, sizeof seen->last, "%s", item->text);
    return stop(seen);
}

static const struct seen none;

static void list(const dijitso_params *params)
{
    struct seen seen = none;
    check_case("entries and files");
    CHECK_CALL(dijitso_cache_list(params, see_entry, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 2 && seen.categories == DIJITSO_CATEGORY_ALL);
    {
        struct seen files = none;
        CHECK_CALL(dijitso_cache_files(params, NULL, DIJITSO_CATEGORY_ALL, see_file, &files, &error), DIJITSO_OK);
        CHECK(files.count == 8 && files.categories == DIJITSO_CATEGORY_ALL && files.size == seen.size);
    }
    seen = none;
    seen.stop_after = 1;
    CHECK_CALL(dijitso_cache_list(params, see_entry, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 1);
    seen = none;
    CHECK_CALL(dijitso_cache_files(params, "no_such", DIJITSO_CATEGORY_ALL, see_file, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
    for (int32_t bad = -1; bad <= 16; bad += bad == -1 ? 1 : 16)
        CHECK_CALL(dijitso_cache_files(params, NULL, bad, see_file, &seen, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CALL(dijitso_cache_list(params, NULL, NULL, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
}

static void names_and_dependencies(const dijitso_params *params, const char *first, const char *second)
{
    struct seen seen = none;
    char signature[512];
    check_case("names and dependencies");
    snprintf(signature, sizeof signature, "%s", first);
    CHECK_CALL(dijitso_cache_file_names(params, first, see_names, signature, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_cache_file_names(params, "../../evil", see_names, signature, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CALL(dijitso_cache_dependencies(params, second, see_dependency, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 1 && strcmp(seen.last, first) == 0);
    seen = none;
    CHECK_CALL(dijitso_cache_dependencies(params, first, see_dependency, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
    CHECK_CALL(dijitso_cache_dependencies(params, "no_such", see_dependency, &seen, &error), DIJITSO_ERROR_CACHE);
}

static void reading(const dijitso_params *params, const char *first)
{
    dijitso_blob *blob;
    check_case("reading");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_cache_read(params, first, DIJITSO_CATEGORY_SRC, blob, &error), DIJITSO_OK);
    CHECK_CONTAINS((const char *)dijitso_blob_data(blob), "int value() { return 1 +");
    CHECK(strlen((const char *)dijitso_blob_data(blob)) == dijitso_blob_size(blob));
    CHECK_CALL(dijitso_cache_read(params, first, DIJITSO_CATEGORY_INC, blob, &error), DIJITSO_OK);
    CHECK_CONTAINS((const char *)dijitso_blob_data(blob), "included_value");
    CHECK_CALL(dijitso_cache_read(params, first, DIJITSO_CATEGORY_LOG, blob, &error), DIJITSO_OK);
    CHECK_CONTAINS((const char *)dijitso_blob_data(blob), first);
    CHECK_CALL(dijitso_cache_read(params, first, DIJITSO_CATEGORY_LIB, blob, &error), DIJITSO_OK);
    CHECK(dijitso_blob_size(blob) > 1000 && memcmp(dijitso_blob_data(blob), "\177ELF", 4) == 0);
    CHECK_CALL(dijitso_cache_read(params, "no_such", DIJITSO_CATEGORY_SRC, blob, &error), DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_cache_read(params, "../src/x", DIJITSO_CATEGORY_SRC, blob, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK_CALL(dijitso_cache_read(params, first, DIJITSO_CATEGORY_INC | DIJITSO_CATEGORY_SRC, blob, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
    dijitso_blob_free(blob);
}

static void searching(const dijitso_params *params, const char *second)
{
    const int32_t texts = DIJITSO_CATEGORY_INC | DIJITSO_CATEGORY_SRC;
    struct seen seen = none;
    check_case("searching");
    CHECK_CALL(dijitso_cache_grep(params, "int other() { return 1; }", NULL, texts, see_line, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 1 && seen.categories == DIJITSO_CATEGORY_SRC && strcmp(seen.last, second) == 0);
    CHECK_CONTAINS(seen.text, "int other()");
    /* Defect C10 of the original: it took literal text as a regular expression. */
    seen = none;
    CHECK_CALL(dijitso_cache_grep(params, "int.other", NULL, texts, see_line, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
    CHECK_CALL(dijitso_cache_grep(params, "x", NULL, DIJITSO_CATEGORY_LIB, see_line, &seen, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
}

static void storing(const dijitso_params *params, const char *first)
{
    static const char text[] = "/* by hand */\n";
    const uint8_t *const data = (const uint8_t *)text;
    struct seen seen = none;
    dijitso_blob *blob;
    check_case("storing");
    CHECK_CALL(dijitso_blob_new(&blob, &error), DIJITSO_OK);
    for (int32_t category = 1; category <= 8; category *= 2) {
        const int library = category == DIJITSO_CATEGORY_LIB;
        CHECK_CALL(dijitso_cache_store(params, "by_hand", category, data, strlen(text), &error),
                     library ? DIJITSO_ERROR_INVALID_ARGUMENT : DIJITSO_OK);
        if (library)
            continue;
        CHECK_CALL(dijitso_cache_read(params, "by_hand", category, blob, &error), DIJITSO_OK);
        CHECK(strcmp((const char *)dijitso_blob_data(blob), text) == 0);
    }
    /* The header of a built library cannot be replaced. */
    CHECK_CALL(dijitso_cache_store(params, first, DIJITSO_CATEGORY_INC, data, strlen(text), &error), DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_cache_files(params, "by_hand", DIJITSO_CATEGORY_ALL, see_file, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 3);
    seen = none;
    CHECK_CALL(dijitso_cache_remove(params, "by_hand", DIJITSO_CATEGORY_ALL, see_text, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 3);
    dijitso_blob_free(blob);
}

static void extracting(const dijitso_params *params, const char *first)
{
    const char *const directory = path_of("%s/checkout", work);
    struct seen seen = none;
    check_case("extracting");
    /* Defect C7 of the original: for an unknown signature it made an empty directory and succeeded. */
    CHECK_CALL(dijitso_cache_extract(params, "no_such", DIJITSO_CATEGORY_ALL, directory, 0, NULL, NULL, &error),
                 DIJITSO_ERROR_CACHE);
    CHECK(!exists(directory));
    CHECK_CALL(dijitso_cache_extract(params, first, DIJITSO_CATEGORY_ALL, directory, 0, see_text, &seen, &error),
                 DIJITSO_OK);
    CHECK(seen.count == 4 && exists(path_of("%s/%s.cpp", directory, first)) && exists(seen.last));
    CHECK_CALL(dijitso_cache_extract(params, first, DIJITSO_CATEGORY_SRC, directory, 0, NULL, NULL, &error),
                 DIJITSO_ERROR_CACHE);
    CHECK_CALL(dijitso_cache_extract(params, first, DIJITSO_CATEGORY_SRC, directory, 1, NULL, NULL, &error), DIJITSO_OK);
    CHECK_CALL(dijitso_cache_extract(params, first, DIJITSO_CATEGORY_SRC, directory, 2, NULL, NULL, &error),
                 DIJITSO_ERROR_INVALID_ARGUMENT);
}

static void cleaning(const dijitso_params *params)
{
    struct seen seen = none;
    check_case("cleaning");
    CHECK_CALL(dijitso_cache_clean(params, DIJITSO_CATEGORY_ALL, 1, see_text, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 8 && exists(seen.last));
    seen = none;
    CHECK_CALL(dijitso_cache_clean(params, DIJITSO_CATEGORY_LOG, 0, see_text, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 2 && !exists(seen.last));
    CHECK_CALL(dijitso_cache_clean(params, DIJITSO_CATEGORY_ALL, 0, NULL, NULL, &error), DIJITSO_OK);
    seen = none;
    CHECK_CALL(dijitso_cache_files(params, NULL, DIJITSO_CATEGORY_ALL, see_file, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0);
    CHECK_CALL(dijitso_cache_clean(params, DIJITSO_CATEGORY_ALL, 2, NULL, NULL, &error), DIJITSO_ERROR_INVALID_ARGUMENT);
}

static void directories(void)
{
    dijitso_params *const params = params_with(path_of("%s/new", work), NULL);
    struct seen seen = none;
    check_case("directories");
    /* Listing a cache that does not exist gives nothing and creates nothing. */
    CHECK_CALL(dijitso_cache_list(params, see_entry, &seen, &error), DIJITSO_OK);
    CHECK(seen.count == 0 && !exists(path_of("%s/new", work)));
    CHECK_CALL(dijitso_cache_make_dirs(params, &error), DIJITSO_OK);
    CHECK(exists(path_of("%s/new/include", work)) && exists(path_of("%s/new/lib", work)));
    dijitso_params_free(params);
}

struct link {
    char signature[512];
};

static int32_t with_dependency(void *user_data, const char *name, const char *signature, const char *generator_json,
                               dijitso_source *source)
{
    const struct link *const link = user_data;
    static const char text[] = "int value();\nint other() { return 1; }\nextern \"C\" int second() { return other(); }\n";
    static const char header[] = "int other();\n";
    (void)name, (void)signature, (void)generator_json;
    CHECK(dijitso_source_add_dependency(source, link->signature) == DIJITSO_OK);
    CHECK(dijitso_source_set_header(source, header, strlen(header)) == DIJITSO_OK);
    return dijitso_source_set_code(source, text, strlen(text));
}

int main(int argc, char **argv)
{
    struct integer integer = {1, 0, NULL, NULL};
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_params *params;
    dijitso_library *library = NULL;
    struct outcome outcome;
    struct link first;
    char second[512];

    work = argc > 1 ? argv[1] : ".";
    /* Makes the linker record a dependency even if none of its symbols is used. */
    params = params_with(path_of("%s/cache", work), "build.cxxflags", "-shared -fPIC -std=c++11 -Wl,--no-as-needed", NULL);
    outcome = jit_integer("first", params, &integer, DIJITSO_COMM_NULL);
    CHECK_OUTCOME(outcome, 1 + INCLUDED_VALUE, ORIGIN(BUILT));
    snprintf(first.signature, sizeof first.signature, "%s", outcome.signature);
    callbacks.generate = with_dependency;
    callbacks.user_data = &first;
    CHECK_CALL(dijitso_jit("second", params, &callbacks, DIJITSO_COMM_NULL, &library, &error), DIJITSO_OK);
    if (library == NULL)
        return check_result();
    snprintf(second, sizeof second, "%s", dijitso_library_signature(library));
    dijitso_library_free(library);

    list(params);
    names_and_dependencies(params, first.signature, second);
    reading(params, first.signature);
    searching(params, second);
    storing(params, first.signature);
    extracting(params, first.signature);
    cleaning(params);
    directories();
    dijitso_params_free(params);
    return check_result();
}
