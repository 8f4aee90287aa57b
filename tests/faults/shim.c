/* Injects faults between one program and its file system, by LD_PRELOAD.
 *
 * Interposes the libc calls by which the library works on files. Acts only on paths below SHIM_ROOT, and only in the
 * process whose executable is SHIM_PROGRAM: not in the compilers that it starts, nor between fork and exec.
 *
 *   SHIM_ROOT=DIR[:DIR...]   absolute; nothing else is touched
 *   SHIM_PROGRAM=NAME        base name of the executable
 *   SHIM_LOG=FILE            writes a line for each operation: "NUMBER PID NAME ERRNO PATH [SECOND PATH]", ERRNO 0 for
 *                            success. Gives the number of operations, and the order of writes, fsyncs and renames.
 *   SHIM_SKIP=NAME           ignores calls of this name, which the test itself makes
 *   SHIM_KILL=N              kill -9 of this process just before its N-th operation,
 *   SHIM_KILL=N+             just after it,
 *   SHIM_KILL=N~             or in the middle of it, if it is a write: half of the bytes are written
 *   SHIM_POWER=1             with SHIM_KILL: simulates a power loss. Files that were not synced get length 0, as on a
 *                            file system with delayed allocation.
 *   SHIM_FAIL=N:ERRNO        the N-th operation fails (EIO, ENOSPC, EACCES, EROFS, EDQUOT, ESTALE, ENOENT, EMFILE)
 *   SHIM_FAIL=N-:ERRNO       the N-th and all later operations fail; for ENOSPC and EDQUOT only those that take space
 *   SHIM_NFS=1               simulates a network disk, see "the network disk" below
 *   SHIM_NFS_SECONDS=S       how long a missing file is reported as missing (default 2)
 *   SHIM_NFS_LOCKS=lie|none  locks succeed without effect (default), or fail with ENOLCK
 *
 * Reads of the dynamic loader (dlopen) and stdio are not interposed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- settings ----------------------------------------------------------------------------------------------------- */

enum { MOST_ROOTS = 8, MOST_DESCRIPTORS = 4096 };

static struct {
    pid_t process; /* 0: do nothing */
    char roots[MOST_ROOTS][PATH_MAX];
    const char *skip;
    int log;
    long kill_at;
    char kill_how; /* '-' before, '+' after, '~' in the middle */
    int power;
    long fail_at;
    int fail_later_too, fail_errno;
    int nfs, nfs_no_locks;
    double nfs_seconds;
} shim = {.log = -1};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all variables below */
static long operations;
static char *descriptors[MOST_DESCRIPTORS]; /* paths of watched descriptors */

static int errno_of(const char *name)
{
    static const struct { const char *name; int value; } known[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EACCES", EACCES}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT},
        {"ESTALE", ESTALE}, {"ENOENT", ENOENT}, {"EMFILE", EMFILE}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i)
        if (strcmp(name, known[i].name) == 0)
            return known[i].value;
    fprintf(stderr, "shim: no such error: %s\n", name);
    _exit(125);
}

__attribute__((constructor)) static void start(void)
{
    const char *const program = getenv("SHIM_PROGRAM"), *const roots = getenv("SHIM_ROOT");
    const char *const log = getenv("SHIM_LOG"), *const kill_at = getenv("SHIM_KILL"), *const fail = getenv("SHIM_FAIL");
    const char *const seconds = getenv("SHIM_NFS_SECONDS"), *const locks = getenv("SHIM_NFS_LOCKS");
    char self[PATH_MAX] = "", *end;
    const long length = syscall(SYS_readlink, "/proc/self/exe", self, sizeof self - 1);
    if (program == NULL || roots == NULL || length <= 0 || strcmp(strrchr(self, '/') + 1, program) != 0)
        return;
    for (int i = 0; i < MOST_ROOTS; ++i) {
        const char *from = roots;
        for (int skip = 0; skip < i && from != NULL; ++skip)
            from = strchr(from, ':') ? strchr(from, ':') + 1 : NULL;
        if (from != NULL)
            snprintf(shim.roots[i], PATH_MAX, "%.*s", (int)strcspn(from, ":"), from);
    }
    shim.skip = getenv("SHIM_SKIP") ? getenv("SHIM_SKIP") : "";
    if (log != NULL)
        shim.log = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (kill_at != NULL) {
        shim.kill_at = strtol(kill_at, &end, 10);
        shim.kill_how = *end ? *end : '-';
    }
    shim.power = getenv("SHIM_POWER") != NULL;
    if (fail != NULL) {
        shim.fail_at = strtol(fail, &end, 10);
        shim.fail_later_too = *end == '-';
        shim.fail_errno = errno_of(strchr(fail, ':') + 1);
    }
    shim.nfs = getenv("SHIM_NFS") != NULL;
    shim.nfs_seconds = seconds != NULL ? atof(seconds) : 2.0;
    shim.nfs_no_locks = locks != NULL && strcmp(locks, "none") == 0;
    shim.process = getpid();
}

/* --- sets of paths ------------------------------------------------------------------------------------------------ */

struct set {
    struct item { char *path; double until; } *items; /* path NULL: unused */
    size_t size;
};
static struct set missing; /* reported as missing to this process, until a time */
static struct set ours;    /* made by this process */
static struct set stale;   /* the first read has failed */
static struct set unsynced;

static struct item *find(struct set *set, const char *path)
{
    for (size_t i = 0; i < set->size; ++i)
        if (set->items[i].path != NULL && strcmp(set->items[i].path, path) == 0)
            return &set->items[i];
    return NULL;
}

static struct item *insert(struct set *set, const char *path)
{
    struct item *item = find(set, path);
    for (size_t i = 0; item == NULL && i < set->size; ++i)
        if (set->items[i].path == NULL)
            item = &set->items[i];
    if (item == NULL) {
        set->items = realloc(set->items, (set->size + 1) * sizeof *set->items);
        item = &set->items[set->size++];
        item->path = NULL;
    }
    if (item->path == NULL)
        item->path = strdup(path);
    return item;
}

static void erase(struct set *set, const char *path)
{
    struct item *const item = find(set, path);
    if (item != NULL) {
        free(item->path);
        item->path = NULL;
    }
}

/* --- operations --------------------------------------------------------------------------------------------------- */

enum kind {
    LOOK,   /* needs an existing path */
    CREATE, /* may make the path */
    RENAME, /* the first path becomes the second */
    LINK,   /* the second path becomes another name of the first */
    REMOVE,
    READ,
    WRITE,
    SYNC,
    OTHER
};

struct operation {
    enum kind kind;
    const char *name;
    long number; /* 0: not watched */
    char path[PATH_MAX], second[PATH_MAX];
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int watched(const char *path)
{
    for (int i = 0; i < MOST_ROOTS && shim.roots[i][0] != '\0'; ++i) {
        const size_t length = strlen(shim.roots[i]);
        if (strncmp(path, shim.roots[i], length) == 0 && (path[length] == '/' || path[length] == '\0'))
            return 1;
    }
    return 0;
}

static void path_of_descriptor(int descriptor, char *to)
{
    *to = '\0';
    pthread_mutex_lock(&lock);
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS && descriptors[descriptor] != NULL)
        snprintf(to, PATH_MAX, "%s", descriptors[descriptor]);
    pthread_mutex_unlock(&lock);
}

static void absolute(int directory, const char *path, char *to)
{
    char base[PATH_MAX] = "";
    if (path[0] == '/') {
        snprintf(to, PATH_MAX, "%s", path);
        return;
    }
    if (directory == AT_FDCWD)
        syscall(SYS_getcwd, base, sizeof base);
    else
        path_of_descriptor(directory, base);
    if (*base == '\0' || snprintf(to, PATH_MAX, "%s%s%s", base, *path ? "/" : "", path) >= PATH_MAX)
        *to = '\0';
}

static void store_path(int descriptor, const char *path)
{
    if (descriptor < 0 || descriptor >= MOST_DESCRIPTORS)
        return;
    pthread_mutex_lock(&lock);
    free(descriptors[descriptor]);
    descriptors[descriptor] = path != NULL && *path ? strdup(path) : NULL;
    pthread_mutex_unlock(&lock);
}

static void die(void)
{
    if (shim.power)
        for (size_t i = 0; i < unsynced.size; ++i)
            if (unsynced.items[i].path != NULL)
                syscall(SYS_truncate, unsynced.items[i].path, 0L);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Returns 1 if a folder above the path, or with `itself` the path, is still reported as missing. */
static int hidden(const char *path, int itself)
{
    const double time = now();
    for (size_t i = 0; i < missing.size; ++i) {
        const char *const other = missing.items[i].path;
        const size_t length = other ? strlen(other) : 0;
        if (other != NULL && missing.items[i].until > time && strncmp(path, other, length) == 0
            && (path[length] == '/' || (itself && path[length] == '\0')))
            return 1;
    }
    return 0;
}

/* Returns the error that the network disk gives before an operation, or 0. */
static int nfs_error(const struct operation *op)
{
    if (op->kind == LOOK && hidden(op->path, 1))
        return ENOENT;
    if ((op->kind == CREATE || op->kind == REMOVE) && hidden(op->path, 0))
        return ENOENT;
    if ((op->kind == RENAME || op->kind == LINK) && (hidden(op->path, 1) || hidden(op->second, 0)))
        return ENOENT;
    if (op->kind == READ && find(&stale, op->path) == NULL) {
        insert(&stale, op->path);
        return ESTALE;
    }
    return 0;
}

/* Numbers the operation and injects the fault. Returns non-zero and sets errno if the operation must fail. */
static int enter(struct operation *op)
{
    int error = 0;
    op->number = 0;
    if (shim.process == 0 || shim.process != getpid() || !(watched(op->path) || watched(op->second))
        || strcmp(op->name, shim.skip) == 0)
        return 0;
    pthread_mutex_lock(&lock);
    op->number = ++operations;
    if (op->number == shim.kill_at && (shim.kill_how == '-' || (shim.kill_how == '~' && op->kind != WRITE)))
        die();
    if (op->number == shim.fail_at || (shim.fail_later_too && op->number > shim.fail_at)) {
        const int full = shim.fail_errno == ENOSPC || shim.fail_errno == EDQUOT;
        const int takes_space = op->kind == CREATE || op->kind == WRITE || op->kind == LINK || op->kind == SYNC;
        if (!shim.fail_later_too || !full || takes_space)
            error = shim.fail_errno;
    }
    if (error == 0 && shim.nfs)
        error = nfs_error(op);
    pthread_mutex_unlock(&lock);
    errno = error;
    return error;
}

/* Returns the answer of the network disk after an operation. For every second rename and link, the first reply is lost:
 * the client repeats the request and gets the error of the repetition. */
static int nfs_answer(const struct operation *op, int error)
{
    static unsigned answers;
    const char *const made = op->kind == RENAME || op->kind == LINK ? op->second : op->path;
    if (op->kind == LOOK && error == ENOENT && !hidden(op->path, 1))
        insert(&missing, op->path)->until = now() + shim.nfs_seconds;
    if (op->kind == CREATE || op->kind == RENAME || op->kind == LINK) {
        if (error == 0)
            insert(&ours, made);
        if (error == 0 || error == EEXIST)
            erase(&missing, made);
    }
    if (error != 0 || (op->kind != RENAME && op->kind != LINK) || ++answers % 2 == 1)
        return error;
    return op->kind == LINK ? EEXIST : ENOENT;
}

static void write_log(const struct operation *op, int error)
{
    char line[2 * PATH_MAX + 100];
    const int length = snprintf(line, sizeof line, "%ld %d %s %d %s%s%s\n", op->number, (int)shim.process, op->name,
                                error, op->path, *op->second ? " " : "", op->second);
    if (shim.log >= 0)
        syscall(SYS_write, shim.log, line, (size_t)length);
}

static void track_data(const struct operation *op)
{
    if (op->kind == WRITE)
        insert(&unsynced, op->path);
    else if (op->kind == SYNC || op->kind == REMOVE)
        erase(&unsynced, op->path);
    else if (op->kind == RENAME || op->kind == LINK) {
        if (find(&unsynced, op->path) != NULL)
            insert(&unsynced, op->second);
        else
            erase(&unsynced, op->second);
        if (op->kind == RENAME)
            erase(&unsynced, op->path);
    }
}

/* Ends an operation and returns the result for the program: `result`, unless a fault changes it. */
static long leave(const struct operation *op, long result)
{
    const int before = errno;
    int error = result < 0 ? before : 0;
    if (op->number == 0)
        return result;
    pthread_mutex_lock(&lock);
    write_log(op, error);
    if (error == 0)
        track_data(op);
    if (op->number == shim.kill_at && shim.kill_how != '-')
        die();
    if (shim.nfs)
        error = nfs_answer(op, error);
    pthread_mutex_unlock(&lock);
    errno = error != 0 ? error : before;
    return error != 0 ? -1 : result;
}

/* --- the calls ---------------------------------------------------------------------------------------------------- */

static void *next(const char *name)
{
    void *const function = dlsym(RTLD_NEXT, name);
    if (function == NULL)
        abort();
    return function;
}

/* Declares `real`, the interposed function of libc. */
#define REAL(function) \
    static __typeof__(&function) real; \
    if (real == NULL) \
        *(void **)&real = next(#function)

#define OPERATION(its_kind) struct operation op; \
    op.kind = (its_kind), op.name = __func__, op.number = 0, op.path[0] = op.second[0] = '\0'

/* Sets the paths of an operation: AT(directory, path, second directory, second path). */
#define AT(directory, from, other_directory, to) \
    absolute((directory), (from), op.path), absolute((other_directory), (to), op.second)
#define RETURN(call) \
    if (enter(&op) != 0) \
        return (int)leave(&op, -1); \
    return (int)leave(&op, (call))

#define OPEN(call) \
    if (enter(&op) != 0) \
        return (int)leave(&op, -1); \
    const int descriptor = (int)leave(&op, (call)); \
    store_path(descriptor, op.number != 0 ? op.path : NULL); \
    return descriptor

#define DEFINE_OPEN(function) \
    int function(const char *path, int flags, ...) \
    { \
        REAL(function); \
        OPERATION(flags & O_CREAT ? CREATE : LOOK); \
        va_list rest; \
        va_start(rest, flags); \
        const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        absolute(AT_FDCWD, path, op.path); \
        if (flags & O_TRUNC) \
            op.name = #function "(truncate)"; \
        OPEN(real(path, flags, mode)); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(function) \
    int function(int directory, const char *path, int flags, ...) \
    { \
        REAL(function); \
        OPERATION(flags & O_CREAT ? CREATE : LOOK); \
        va_list rest; \
        va_start(rest, flags); \
        const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        absolute(directory, path, op.path); \
        OPEN(real(directory, path, flags, mode)); \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

#define DEFINE_CREAT(function) \
    int function(const char *path, mode_t mode) \
    { \
        REAL(function); \
        OPERATION(CREATE); \
        absolute(AT_FDCWD, path, op.path); \
        OPEN(real(path, mode)); \
    }
DEFINE_CREAT(creat)
DEFINE_CREAT(creat64)

int close(int descriptor)
{
    REAL(close);
    OPERATION(OTHER);
    path_of_descriptor(descriptor, op.path);
    store_path(descriptor, NULL);
    if (enter(&op) != 0) {
        /* close frees the descriptor even if it fails. */
        const int error = errno;
        real(descriptor);
        errno = error;
        return (int)leave(&op, -1);
    }
    return (int)leave(&op, real(descriptor));
}

/* Calls on a descriptor. */
#define DEFINE_ON_DESCRIPTOR(type, its_kind, function, parameters, descriptor, call) \
    type function parameters \
    { \
        REAL(function); \
        OPERATION(its_kind); \
        path_of_descriptor(descriptor, op.path); \
        if (enter(&op) != 0) \
            return (type)leave(&op, -1); \
        return (type)leave(&op, real call); \
    }

/* Returns half of the size if the process must be killed in the middle of the write. */
static size_t portion(const struct operation *op, size_t size)
{
    return op->number != 0 && op->number == shim.kill_at && shim.kill_how == '~' ? size / 2 : size;
}

DEFINE_ON_DESCRIPTOR(ssize_t, READ, read, (int fd, void *to, size_t size), fd, (fd, to, size))
DEFINE_ON_DESCRIPTOR(ssize_t, READ, readv, (int fd, const struct iovec *to, int n), fd, (fd, to, n))
DEFINE_ON_DESCRIPTOR(ssize_t, READ, pread, (int fd, void *to, size_t size, off_t at), fd, (fd, to, size, at))
DEFINE_ON_DESCRIPTOR(ssize_t, READ, pread64, (int fd, void *to, size_t size, off64_t at), fd, (fd, to, size, at))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, write, (int fd, const void *from, size_t size), fd,
                     (fd, from, portion(&op, size)))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, writev, (int fd, const struct iovec *from, int n), fd, (fd, from, n))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, pwrite, (int fd, const void *from, size_t size, off_t at), fd,
                     (fd, from, portion(&op, size), at))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, pwrite64, (int fd, const void *from, size_t size, off64_t at), fd,
                     (fd, from, portion(&op, size), at))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, copy_file_range,
                     (int in, off64_t *in_at, int fd, off64_t *at, size_t size, unsigned flags), fd,
                     (in, in_at, fd, at, portion(&op, size), flags))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, sendfile, (int fd, int in, off_t *at, size_t size), fd,
                     (fd, in, at, portion(&op, size)))
DEFINE_ON_DESCRIPTOR(ssize_t, WRITE, sendfile64, (int fd, int in, off64_t *at, size_t size), fd,
                     (fd, in, at, portion(&op, size)))
DEFINE_ON_DESCRIPTOR(int, WRITE, ftruncate, (int fd, off_t size), fd, (fd, size))
DEFINE_ON_DESCRIPTOR(int, WRITE, ftruncate64, (int fd, off64_t size), fd, (fd, size))
DEFINE_ON_DESCRIPTOR(int, SYNC, fsync, (int fd), fd, (fd))
DEFINE_ON_DESCRIPTOR(int, SYNC, fdatasync, (int fd), fd, (fd))
DEFINE_ON_DESCRIPTOR(int, OTHER, fstat, (int fd, struct stat *to), fd, (fd, to))
DEFINE_ON_DESCRIPTOR(int, OTHER, fstat64, (int fd, struct stat64 *to), fd, (fd, to))
DEFINE_ON_DESCRIPTOR(int, OTHER, futimens, (int fd, const struct timespec times[2]), fd, (fd, times))
DEFINE_ON_DESCRIPTOR(int, OTHER, fchmod, (int fd, mode_t mode), fd, (fd, mode))

int flock(int fd, int what)
{
    REAL(flock);
    OPERATION(OTHER);
    path_of_descriptor(fd, op.path);
    if (enter(&op) != 0)
        return (int)leave(&op, -1);
    if (op.number != 0 && shim.nfs) {
        errno = ENOLCK;
        return (int)leave(&op, shim.nfs_no_locks ? -1 : 0);
    }
    return (int)leave(&op, real(fd, what));
}

static int is_lock(int command)
{
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

#define DEFINE_FCNTL(function) \
    int function(int fd, int command, ...) \
    { \
        REAL(function); \
        OPERATION(OTHER); \
        va_list rest; \
        va_start(rest, command); \
        void *const argument = va_arg(rest, void *); \
        va_end(rest); \
        if (is_lock(command)) { \
            path_of_descriptor(fd, op.path); \
            if (enter(&op) != 0) \
                return (int)leave(&op, -1); \
            if (op.number != 0 && shim.nfs) { \
                errno = ENOLCK; \
                return (int)leave(&op, shim.nfs_no_locks ? -1 : 0); \
            } \
        } \
        const int result = real(fd, command, argument); \
        if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) { \
            path_of_descriptor(fd, op.path); \
            store_path(result, op.path); \
        } \
        return is_lock(command) ? (int)leave(&op, result) : result; \
    }
DEFINE_FCNTL(fcntl)
DEFINE_FCNTL(fcntl64)

/* Calls on one path. */
#define DEFINE_ON_PATH(its_kind, function, parameters, directory, path, call) \
    int function parameters \
    { \
        REAL(function); \
        OPERATION(its_kind); \
        absolute((directory), (path), op.path); \
        RETURN(real call); \
    }
DEFINE_ON_PATH(LOOK, stat, (const char *path, struct stat *to), AT_FDCWD, path, (path, to))
DEFINE_ON_PATH(LOOK, stat64, (const char *path, struct stat64 *to), AT_FDCWD, path, (path, to))
DEFINE_ON_PATH(LOOK, lstat, (const char *path, struct stat *to), AT_FDCWD, path, (path, to))
DEFINE_ON_PATH(LOOK, lstat64, (const char *path, struct stat64 *to), AT_FDCWD, path, (path, to))
DEFINE_ON_PATH(LOOK, fstatat, (int dir, const char *path, struct stat *to, int flags), dir, path,
               (dir, path, to, flags))
DEFINE_ON_PATH(LOOK, fstatat64, (int dir, const char *path, struct stat64 *to, int flags), dir, path,
               (dir, path, to, flags))
DEFINE_ON_PATH(LOOK, access, (const char *path, int mode), AT_FDCWD, path, (path, mode))
DEFINE_ON_PATH(LOOK, faccessat, (int dir, const char *path, int mode, int flags), dir, path,
               (dir, path, mode, flags))
DEFINE_ON_PATH(LOOK, utimensat, (int dir, const char *path, const struct timespec times[2], int flags), dir,
               path, (dir, path, times, flags))
DEFINE_ON_PATH(LOOK, chmod, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
DEFINE_ON_PATH(LOOK, fchmodat, (int dir, const char *path, mode_t mode, int flags), dir, path,
               (dir, path, mode, flags))
DEFINE_ON_PATH(CREATE, mkdir, (const char *path, mode_t mode), AT_FDCWD, path, (path, mode))
DEFINE_ON_PATH(CREATE, mkdirat, (int dir, const char *path, mode_t mode), dir, path, (dir, path, mode))
DEFINE_ON_PATH(REMOVE, unlink, (const char *path), AT_FDCWD, path, (path))
DEFINE_ON_PATH(REMOVE, unlinkat, (int dir, const char *path, int flags), dir, path, (dir, path, flags))
DEFINE_ON_PATH(REMOVE, rmdir, (const char *path), AT_FDCWD, path, (path))
DEFINE_ON_PATH(CREATE, symlink, (const char *target, const char *path), AT_FDCWD, path, (target, path))

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *to)
{
    REAL(statx);
    /* Rust's standard library passes an empty path for an open file, and a null pointer to find out whether the kernel
     * has this call. The header declares the path as non-null, so only a volatile copy can be compared. */
    const char *const volatile given = path;
    OPERATION(given != NULL && *path != '\0' ? LOOK : OTHER);
    if (given != NULL)
        absolute(dir, path, op.path);
    RETURN(real(dir, path, flags, mask, to));
}

char *realpath(const char *path, char *to)
{
    REAL(realpath);
    OPERATION(LOOK);
    char *resolved = NULL;
    absolute(AT_FDCWD, path, op.path);
    if (enter(&op) == 0)
        resolved = real(path, to);
    return leave(&op, resolved != NULL ? 0 : -1) == 0 ? resolved : NULL;
}

/* Calls on two paths. */
int rename(const char *from, const char *to)
{
    REAL(rename);
    OPERATION(RENAME);
    AT(AT_FDCWD, from, AT_FDCWD, to);
    RETURN(real(from, to));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(renameat);
    OPERATION(RENAME);
    AT(from_dir, from, to_dir, to);
    RETURN(real(from_dir, from, to_dir, to));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    REAL(renameat2);
    OPERATION(RENAME);
    AT(from_dir, from, to_dir, to);
    if (enter(&op) != 0)
        return (int)leave(&op, -1);
    if (op.number != 0 && shim.nfs && flags != 0) {
        errno = EINVAL; /* a network disk supports no flags */
        return (int)leave(&op, -1);
    }
    return (int)leave(&op, real(from_dir, from, to_dir, to, flags));
}

int link(const char *from, const char *to)
{
    REAL(link);
    OPERATION(LINK);
    AT(AT_FDCWD, from, AT_FDCWD, to);
    RETURN(real(from, to));
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    REAL(linkat);
    OPERATION(LINK);
    AT(from_dir, from, to_dir, to);
    RETURN(real(from_dir, from, to_dir, to, flags));
}

/* Listings. */
DIR *opendir(const char *path)
{
    REAL(opendir);
    OPERATION(LOOK);
    DIR *listing = NULL;
    absolute(AT_FDCWD, path, op.path);
    if (enter(&op) == 0)
        listing = real(path);
    if (leave(&op, listing != NULL ? 0 : -1) != 0)
        return NULL;
    if (op.number != 0)
        store_path(dirfd(listing), op.path);
    return listing;
}

int closedir(DIR *listing)
{
    REAL(closedir);
    store_path(dirfd(listing), NULL);
    return real(listing);
}

/* Returns 1 if a listing must not yet show this file of another process: on a network disk listings are late. */
static int is_unlisted(int directory, const char *name)
{
    char folder[PATH_MAX], path[PATH_MAX + 300];
    struct statx facts;
    int mine;
    path_of_descriptor(directory, folder);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    pthread_mutex_lock(&lock);
    mine = find(&ours, path) != NULL;
    pthread_mutex_unlock(&lock);
    if (mine || syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_CTIME, &facts) != 0)
        return 0;
    return (double)time(NULL) - (double)facts.stx_ctime.tv_sec < shim.nfs_seconds;
}

#define DEFINE_READDIR(function, type) \
    struct type *function(DIR *listing) \
    { \
        REAL(function); \
        OPERATION(OTHER); \
        struct type *entry; \
        path_of_descriptor(dirfd(listing), op.path); \
        if (enter(&op) != 0) { \
            leave(&op, -1); \
            return NULL; \
        } \
        do \
            entry = real(listing); \
        while (entry != NULL && op.number != 0 && shim.nfs && entry->d_name[0] != '.' \
               && is_unlisted(dirfd(listing), entry->d_name)); \
        leave(&op, 0); \
        return entry; \
    }
DEFINE_READDIR(readdir, dirent)
DEFINE_READDIR(readdir64, dirent64)
