/* Checks that do not stop the program: if one rank ended early, the others would wait for it forever. The program ends
 * with check_result(), or with ranks_finish() if it has ranks. */
#ifndef CHECK_H
#define CHECK_H

#include <dijitso.h>
#include <stdio.h>
#include <string.h>

struct check_state {
    int rank; /* printed before each failure; -1 without ranks */
    int failures;
    char context[256]; /* name of the current case */
};
extern struct check_state check_state;

#define CHECK(condition) check_that((condition) ? 1 : 0, #condition, "", __FILE__, __LINE__)
/* Compares a status, prints the error if it is not the expected one, and frees the error. */
#define CHECK_STATUS(actual, expected, error) \
    check_status((actual), (expected), (error), #actual, __FILE__, __LINE__)
/* Makes a call with `&error` as its last argument, declares that `error`, and checks the status. */
#define CHECK_CALL(call, expected) \
    do { \
        dijitso_error *error = NULL; \
        const dijitso_status status_ = (call); \
        check_status(status_, (expected), error, #call, __FILE__, __LINE__); \
    } while (0)
#define CHECK_CONTAINS(text, part) check_contains((text), (part), __FILE__, __LINE__)

int check_that(int condition, const char *what, const char *detail, const char *file, int line);
int check_status(dijitso_status actual, dijitso_status expected, dijitso_error *error, const char *what,
                 const char *file, int line);
int check_contains(const char *text, const char *part, const char *file, int line);
/* Names the case of the following checks; arguments as for printf. */
void check_case(const char *format, ...);
/* Returns the exit status of the program. */
int check_result(void);

#endif
