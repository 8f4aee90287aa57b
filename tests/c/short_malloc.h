/* An allocator that refuses large blocks, linked into a test program in the place of the C library's. */
#ifndef SHORT_MALLOC_H
#define SHORT_MALLOC_H

#include <stddef.h>

/* Blocks of more bytes are refused, as if memory were short; (size_t)-1 for none, as at first. */
void short_malloc_limit(size_t bytes);
/* How many have been refused so far. */
unsigned long short_malloc_refusals(void);

#endif
