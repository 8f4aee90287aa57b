#include "check.h"

#include <stdarg.h>

struct check_state check_state = {-1, 0, ""};

int check_that(int condition, const char *what, const char *detail, const char *file, int line)
{
    if (!condition) {
        ++check_state.failures;
        fprintf(stderr, "%s:%d: rank %d: [%s] failed: %s%s%s\n", file, line, check_state.rank, check_state.context,
                what, *detail ? ": " : "", detail);
    }
    return condition;
}

int check_status(dijitso_status actual, dijitso_status expected, dijitso_error *error, const char *what,
                 const char *file, int line)
{
    char detail[4096];
    const char *const message = dijitso_error_message(error);
    snprintf(detail, sizeof detail, "%d instead of %d: %s", (int)actual, (int)expected, message ? message : "");
    check_that(actual == expected, what, detail, file, line);
    /* The error object must have the returned status. */
    if (error != NULL)
        check_that(dijitso_error_status(error) == actual, "the error object has the returned status", "", file, line);
    dijitso_error_free(error);
    return actual == expected;
}

int check_contains(const char *text, const char *part, const char *file, int line)
{
    const int found = text != NULL && strstr(text, part) != NULL;
    char detail[4096];
    snprintf(detail, sizeof detail, "\"%s\" does not contain \"%s\"", text ? text : "(null)", part);
    return check_that(found, "text", detail, file, line);
}

void check_case(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check_state.context, sizeof check_state.context, format, arguments);
    va_end(arguments);
}

int check_result(void)
{
    fflush(stdout);
    return check_state.failures == 0 ? 0 : 1;
}
