/* An allocator that refuses large blocks. It replaces that of the C library in a test program. */
#ifndef SHORT_MALLOC_H
#define SHORT_MALLOC_H

#include <stddef.h>

/* Refuses blocks of more bytes. (size_t)-1, the initial value, refuses none. */
void short_malloc_limit(size_t bytes);
/* Returns the number of blocks refused so far. */
unsigned long short_malloc_refusals(void);

#endif
