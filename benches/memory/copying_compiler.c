/* A fake compiler, to fill a cache fast: copies the same library for any source.
 *
 * usage: COPIED=LIBRARY copying-cc ... -o OUTPUT ...
 * Sleeps before it copies, as many seconds as the variable COPY_SECONDS says. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void rest(void)
{
    const char *const text = getenv("COPY_SECONDS");
    const double seconds = text == NULL ? 0.0 : atof(text);
    const struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0.0)
        nanosleep(&time, NULL);
}

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
    rest();
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
