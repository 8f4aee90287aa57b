/* A fake compiler, to fill a cache fast: copies the same library for any source.
 *
 * usage: COPIED=LIBRARY copying-cc ... -o OUTPUT ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    static char buffer[1 << 16];
    const char *const from = getenv("COPIED");
    const char *to = NULL;
    FILE *in, *out;
    size_t size;
    for (int at = 1; at + 1 < count; ++at)
        if (strcmp(arguments[at], "-o") == 0)
            to = arguments[at + 1];
    if (from == NULL || to == NULL) {
        puts("copying compiler version 1");
        return 0;
    }
    in = fopen(from, "rb");
    out = fopen(to, "wb");
    if (in == NULL || out == NULL)
        return 1;
    while ((size = fread(buffer, 1, sizeof buffer, in)) > 0)
        if (fwrite(buffer, 1, size, out) != size)
            return 1;
    fclose(in);
    return fclose(out) != 0;
}
