/* Opens a library and does nothing else: the floor of a whole process with a disk hit. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2 || dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) == NULL) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: bare_dlopen PATH");
        return 1;
    }
    return 0;
}
