/* Runs the real compiler, and takes one more second of CPU time if it links a library, so that it competes with the
 * waiting ranks for the cores. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void use_cpu(double seconds)
{
    volatile double sum = 0.0;
    while (cpu_seconds() < seconds)
        for (int i = 0; i < 100000; ++i)
            sum += i;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; ++i)
        if (strcmp(argv[i], "-o") == 0)
            use_cpu(1.0);
    argv[0] = "c++";
    execvp(argv[0], argv);
    perror("c++");
    return 127;
}
