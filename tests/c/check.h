/* Checks that do not stop the program: a rank that left early would let the others wait for ever. The program ends
 * with check_result(), or with ranks_finish() where there are ranks. */
#ifndef CHECK_H
#define CHECK_H

#include <dijitso.h>
#include <stdio.h>
#include <string.h>

struct check_state {
    int rank; /* printed before each failure; -1 where there are no ranks */
    int failures;
    char context[256]; /* which case of a table is being tried */
};
extern struct check_state check_state;

#define CHECK(condition) check_that((condition) ? 1 : 0, #condition, "", __FILE__, __LINE__)
/* The error is printed where the status is not the expected one, and freed in any case. */
#define CHECK_STATUS(actual, expected, error) \
    check_status((actual), (expected), (error), #actual, __FILE__, __LINE__)
/* The same for a call that puts its error into `&error`, which is declared here. */
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
/* Names the case that the following checks belong to, as printf does. */
void check_case(const char *format, ...);
/* The exit status of the program. */
int check_result(void);

#endif
