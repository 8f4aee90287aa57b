/* Fills a cache with three entries, for tests/cli/compare: mass, stiffness (linked to mass) and tricky. */

#include <dijitso.h>

#include <stdio.h>
#include <string.h>

struct form {
    const char *name;
    const char *header;
    const char *code;
    const char *dependency; /* or NULL */
};

static const struct form forms[] = {
    {"mass", "#pragma once\nextern \"C\" double mass(double x);\n",
     "#include \"%s.h\"\n"
     "// a mass matrix: a.b\n"
     "extern \"C\" double mass(double x)\n"
     "{\n"
     "  double y = x;\n"
     "  for (int i = 0; i < 2; ++i)\n"
     "  {\n"
     "    y += axb();\n"
     "  }\n"
     "  return y;\n"
     "}\n",
     NULL},
    {"stiffness", "#pragma once\nextern \"C\" double stiffness(double x);\n",
     "extern \"C\" double mass(double x);\n"
     "extern \"C\" double stiffness(double x)\n"
     "{\n"
     "  return 2 * mass(x);\n"
     "}\n",
     "mass"},
    {"tricky", NULL,
     "namespace n {\n"
     "  struct A {\n"
     "    A() : a{1} { }\n"
     "    /* } */ const char *text() const { if (a) { return \"}{\"; } else { return \"a.b\"; } } // }\n"
     "    int a;\n"
     "  };\n"
     "}\n"
     "extern \"C\" const char *tricky()\n"
     "{ static n::A a; char c = '}'; return c == '{' ? R\"(})\" : a.text();\n"
     "}\n",
     NULL},
};

static char signatures[3][256];

static int32_t generate(void *user_data, const char *name, const char *signature, const char *generator_json,
                        dijitso_source *source)
{
    const struct form *form = user_data;
    char code[2048];
    size_t at;
    (void)name, (void)generator_json;
    if (strstr(form->code, "%s") != NULL) {
        snprintf(code, sizeof code, "#include \"%s.h\"\nstatic double axb() { return 1; }\n%s", signature,
                 strchr(form->code, '\n') + 1);
    } else {
        snprintf(code, sizeof code, "%s", form->code);
    }
    if (dijitso_source_set_code(source, code, strlen(code)) != DIJITSO_OK) {
        return 1;
    }
    if (form->header != NULL && dijitso_source_set_header(source, form->header, strlen(form->header)) != DIJITSO_OK) {
        return 1;
    }
    for (at = 0; form->dependency != NULL && at < sizeof forms / sizeof *forms; ++at) {
        if (strcmp(forms[at].name, form->dependency) == 0) {
            return dijitso_source_add_dependency(source, signatures[at]) == DIJITSO_OK ? 0 : 1;
        }
    }
    return 0;
}

int main(void)
{
    size_t at;
    for (at = 0; at < sizeof forms / sizeof *forms; ++at) {
        dijitso_callbacks callbacks = DIJITSO_CALLBACKS_INIT;
        dijitso_library *library;
        dijitso_error *error;
        callbacks.generate = generate;
        callbacks.user_data = (void *)&forms[at];
        if (dijitso_jit(forms[at].name, NULL, &callbacks, DIJITSO_COMM_NULL, &library, &error) != DIJITSO_OK) {
            fprintf(stderr, "%s\n%s\n", dijitso_error_message(error), dijitso_error_log(error));
            return 1;
        }
        snprintf(signatures[at], sizeof signatures[at], "%s", dijitso_library_signature(library));
        puts(signatures[at]);
        dijitso_library_free(library);
    }
    return 0;
}
