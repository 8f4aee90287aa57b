/* dijitso_jit_source and dijitso_jit_text: another text is another library, one text is compiled once, and ranks that
 * pass different texts get an error. Built for one process, and (WITH_RANKS) for MPI_COMM_WORLD. */
#include "fixture.h"

#ifdef WITH_RANKS
#include "ranks.h"
#define COMM MPI_COMM_WORLD
#else
static int ranks_rank(void) { return 0; }
static int ranks_size(void) { return 1; }
static void ranks_barrier(void) { }
#define COMM DIJITSO_COMM_NULL
#endif

static const char *counting;

static dijitso_status source(const char *name, const dijitso_params *params, const char *code, const char *header,
                             dijitso_library **library, dijitso_error **error)
{
    return dijitso_jit_source(name, params, code, strlen(code), header, header == NULL ? 0 : strlen(header),
                              COMM, library, error);
}

static double value_of(const dijitso_library *library, double x)
{
    dijitso_fn function = NULL;
    CHECK_CALL(dijitso_library_symbol(library, "power", &function, &error), DIJITSO_OK);
    return function == NULL ? -1.0 : ((double (*)(double))function)(x);
}

static double power(const dijitso_params *params, const char *code, int origin)
{
    dijitso_library *library = NULL;
    double value;
    CHECK_CALL(source("power", params, code, NULL, &library, &error), DIJITSO_OK);
    if (origin >= 0)
        CHECK(dijitso_library_origin(library) == origin || (origin == DIJITSO_ORIGIN_BUILT && ranks_size() > 1));
    value = value_of(library, 3.0);
    dijitso_library_free(library);
    return value;
}

static int all_compiles(void)
{
    int count;
    ranks_barrier();
    count = compiles(counting);
    ranks_barrier();
    return count;
}

/* Compiles x*x, then x*x*x, then asks for x*x again. */
static void texts(const char *work, const char *mode)
{
    static const char square[] = "extern \"C\" double power(double x) { return x * x; }\n";
    static const char cube[] = "extern \"C\" double power(double x) { return x * x * x; }\n";
    dijitso_params *const params = params_with(path_of("%s/%s", work, mode), "cache.signature", mode, "build.cxx",
                                               path_of("%s/counting-c++", counting), NULL);
    const int before = all_compiles();
    check_case("texts, cache.signature=%s", mode);
    CHECK(power(params, square, DIJITSO_ORIGIN_BUILT) == 9.0);
    CHECK(power(params, cube, DIJITSO_ORIGIN_BUILT) == 27.0);
    CHECK(power(params, square, DIJITSO_ORIGIN_MEMORY) == 9.0);
    CHECK(all_compiles() == before + 2);
    dijitso_params_free(params);
}

static void header_and_dependency(const char *work)
{
    dijitso_params *const params = params_with(path_of("%s/dependency", work), NULL);
    dijitso_library *base = NULL, *library = NULL;
    dijitso_text text = DIJITSO_TEXT_INIT;
    const char *code, *dependencies[1];
    check_case("header and dependency");
    CHECK_CALL(source("base", params, "extern \"C\" double base(double x) { return x + 1.0; }\n",
                      "extern \"C\" double base(double x);\n", &base, &error), DIJITSO_OK);
    code = path_of("#include \"%s.h\"\nextern \"C\" double power(double x) { return base(x) * 2.0; }\n",
                   dijitso_library_signature(base));
    dependencies[0] = dijitso_library_signature(base);
    text.code = code;
    text.code_length = strlen(code);
    text.dependencies = dependencies;
    text.dependency_count = 1;
    CHECK_CALL(dijitso_jit_text("derived", params, &text, COMM, &library, &error), DIJITSO_OK);
    CHECK(value_of(library, 3.0) == 8.0);
    dijitso_library_free(library);
    text.dependencies = NULL;
    text.struct_size = 3;
    check_case("a wrong size on one rank");
    if (ranks_rank() != ranks_size() - 1)
        text.struct_size = sizeof text;
    CHECK_CALL(dijitso_jit_text("derived", params, &text, COMM, &library, &error),
               DIJITSO_ERROR_INVALID_ARGUMENT);
    CHECK(library == NULL);
    dijitso_library_free(base);
    dijitso_params_free(params);
}

/* Within generate the call is local to the builder, and the library is distributed with the parent. */
static int32_t generate_parent(void *params, const char *name, const char *signature, const char *generator_json,
                               dijitso_source *parent)
{
    dijitso_library *base = NULL;
    dijitso_error *error = NULL;
    const char *const code = "double base(double);\nextern \"C\" double power(double x) { return base(x); }\n";
    int32_t failed = 1;
    (void)name, (void)signature, (void)generator_json;
    if (source("nested", params, "double base(double x) { return 7.0 * x; }\n", NULL, &base, &error) == DIJITSO_OK)
        failed = dijitso_source_add_dependency(parent, dijitso_library_signature(base))
                 || dijitso_source_set_code(parent, code, strlen(code));
    dijitso_library_free(base);
    dijitso_error_free(error);
    return failed;
}

static void within_generate(const char *work)
{
    dijitso_params *const params = params_with(path_of("%s/nested", work), NULL);
    dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
    dijitso_library *library = NULL;
    check_case("within generate");
    callbacks.generate = generate_parent;
    callbacks.user_data = params;
    CHECK_CALL(dijitso_jit("parent", params, &callbacks, COMM, &library, &error), DIJITSO_OK);
    CHECK(value_of(library, 3.0) == 21.0);
    dijitso_library_free(library);
    dijitso_params_free(params);
}

static void different_texts(const char *work)
{
    dijitso_params *const params = params_with(path_of("%s/different", work), NULL);
    dijitso_library *library = NULL;
    dijitso_error *error = NULL;
    int part;
    for (part = 0; part < 2; ++part) {
        const int other = ranks_rank() == ranks_size() - 1;
        const char *const code = other && part == 0 ? "int other;\n" : "int one;\n";
        check_case("different %s", part == 0 ? "code" : "headers");
        CHECK(source("different", params, code, other && part == 1 ? "" : NULL, &library, &error)
              == (ranks_size() == 1 ? DIJITSO_OK : DIJITSO_ERROR_RANKS_DISAGREE));
        if (ranks_size() > 1) {
            CHECK(library == NULL);
            CHECK_CONTAINS(dijitso_error_message(error), "different texts");
        }
        dijitso_library_free(library);
        dijitso_error_free(error);
        library = NULL;
        error = NULL;
    }
    CHECK_CALL(source("different", params, "int one;\n", NULL, &library, &error), DIJITSO_OK);
    dijitso_library_free(library);
    dijitso_params_free(params);
}

int main(int argc, char **argv)
{
    const char *const work = argc > 1 ? argv[1] : ".";
#ifdef WITH_RANKS
    ranks_start(&argc, &argv);
#endif
    counting = path_of("%s/counting", work);
    if (ranks_rank() == 0) {
        make_directory(counting);
        counting_compiler(counting);
    }
    texts(work, "hash");
    texts(work, "name");
    header_and_dependency(work);
    within_generate(work);
    different_texts(work);
#ifdef WITH_RANKS
    return ranks_finish();
#else
    return check_result();
#endif
}
