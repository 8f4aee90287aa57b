/* Defines the names of the C library's allocator in the program, so the dynamic linker binds every library to them,
 * dijitso too. They call glibc's allocator under its other names. */
#include "short_malloc.h"

#include <errno.h>
#include <stdint.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int posix_memalign(void **block, size_t alignment, size_t size);

static volatile size_t limit = (size_t)-1;
static volatile unsigned long refusals;

void short_malloc_limit(size_t bytes)
{
    limit = bytes;
}

unsigned long short_malloc_refusals(void)
{
    return refusals;
}

static int refused(size_t size)
{
    if (size <= limit)
        return 0;
    ++refusals;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return refused(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    const size_t bytes = size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    return refused(bytes) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return refused(size) ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused(size) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (refused(size))
        return ENOMEM;
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}
