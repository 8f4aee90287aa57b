/* Measures the wall time of processes, from spawn to wait. The commands take turns, so that a disturbance hits all.
 *
 * usage: stopwatch ROUNDS COMMAND... -- COMMAND... -- ...
 * prints: one JSON list of lists, seconds for each command */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { MAX_COMMANDS = 16 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double run(char **words, const posix_spawn_file_actions_t *actions)
{
    const double start = now();
    pid_t process;
    int status = 0;
    if (posix_spawnp(&process, words[0], actions, NULL, words, environ) != 0
        || waitpid(process, &status, 0) != process || status != 0) {
        fprintf(stderr, "stopwatch: %s failed\n", words[0]);
        exit(1);
    }
    return now() - start;
}

int main(int argc, char **argv)
{
    char **commands[MAX_COMMANDS];
    double *seconds;
    const int rounds = argc > 2 ? atoi(argv[1]) : 0;
    int count = 0;
    posix_spawn_file_actions_t actions;
    if (rounds < 1)
        return 2;
    commands[count++] = argv + 2;
    for (int i = 2; i < argc; ++i)
        if (strcmp(argv[i], "--") == 0 && count < MAX_COMMANDS) {
            argv[i] = NULL;
            commands[count++] = argv + i + 1;
        }
    seconds = calloc((size_t)(rounds * count), sizeof *seconds);
    if (seconds == NULL || posix_spawn_file_actions_init(&actions) != 0
        || posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) != 0)
        return 1;
    for (int i = 0; i < rounds * count; ++i)
        seconds[i] = run(commands[i % count], &actions);
    for (int command = 0; command < count; ++command) {
        printf("%s[", command == 0 ? "[" : ", ");
        for (int round = 0; round < rounds; ++round)
            printf("%s%.9f", round == 0 ? "" : ", ", seconds[round * count + command]);
        printf("]");
    }
    printf("]\n");
    return 0;
}
