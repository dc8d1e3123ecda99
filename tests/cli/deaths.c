/* deaths.c: a library to preload: the process dies at the n-th write to its database, as in a power
 * cut, or at the n-th write to a sweep's part. TANDEM_DEATH=KIND:N:SEED, writes counted from 1:
 *
 * cut: the n-th write to `db`, `db-wal` or `db-journal` is half done, and of what was written since
 *   the last sync of each file the disk keeps some sectors: SEED 0 none, 1 all, else any. The file
 *   TANDEM_DEATH_MARK then holds how many of a sweep's parts this process had removed: as many runs
 *   it had promised to keep.
 * worker: every worker dies at its n-th write to a part. once: the first that gets there. The mark
 *   is made.
 *
 * What must hold: only what a disk may do is done. Synced content stays, and so does a file's name.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SECTOR = 512, PATH_SIZE = 4096, MAX_FILES = 8 };

/* A file as it is on the disk whatever happens: as it was opened, or last synced. */
struct durable {
    char path[PATH_SIZE]; /* "": unused */
    unsigned char *data;
    size_t size;
};

static struct durable files[MAX_FILES];
static unsigned long promised; /* parts removed by this process */

/* ---- what is asked for ---- */

/* Whether the death is of this kind; at which write, and which seed. */
static int asked(const char *kind, unsigned long *n, unsigned long *seed)
{
    const char *death = getenv("TANDEM_DEATH");
    size_t length = strlen(kind);
    if (!death || strncmp(death, kind, length) != 0 || death[length] != ':')
        return 0;
    char *end;
    *n = strtoul(death + length + 1, &end, 10);
    *seed = *end == ':' ? strtoul(end + 1, NULL, 10) : 0;
    return 1;
}

/* false: it was there. */
static int mark(void)
{
    const char *path = getenv("TANDEM_DEATH_MARK");
    int fd = path ? open(path, O_CREAT | O_EXCL | O_WRONLY, 0644) : -1;
    if (fd < 0)
        return 0;
    dprintf(fd, "%lu\n", promised);
    return 1;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

static int path_of(int fd, char path[PATH_SIZE])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_SIZE - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static int is_part(const char *path)
{
    return strstr(path, "/db.parts/") != NULL;
}

static int is_database(const char *path)
{
    const char *name = strrchr(path, '/');
    return name && (strcmp(name, "/db") == 0 || strcmp(name, "/db-wal") == 0 ||
                    strcmp(name, "/db-journal") == 0);
}

/* ---- the disk ---- */

static struct durable *durable_of(const char *path)
{
    for (int i = 0; i < MAX_FILES; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

static size_t read_all(int fd, unsigned char **data)
{
    struct stat st = {0};
    if (fstat(fd, &st) != 0)
        abort();
    *data = malloc((size_t)st.st_size + 1);
    ssize_t n = *data ? pread(fd, *data, (size_t)st.st_size, 0) : -1;
    if (n < 0)
        abort();
    return (size_t)n;
}

/* What the file holds now is on the disk. */
static void settle(int fd)
{
    char path[PATH_SIZE];
    if (!path_of(fd, path) || !is_database(path))
        return;
    struct durable *f = durable_of(path);
    if (!f && !(f = durable_of("")))
        abort();
    memcpy(f->path, path, sizeof path);
    free(f->data);
    f->size = read_all(fd, &f->data);
}

/* Any number from a seed and a place: a round of SplitMix64. */
static unsigned long any(unsigned long seed, unsigned long place)
{
    unsigned long x = (seed << 32) + place * 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static int is_lost(unsigned long seed, unsigned long place)
{
    return seed == 0 || (seed > 1 && any(seed, place) % 2 == 0);
}

/* Takes back what a cut would. */
static void lose(const struct durable *f, unsigned long seed)
{
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return; /* removed since */
    unsigned char *now;
    size_t size = read_all(fd, &now);
    for (size_t at = 0; at < size; at += SECTOR) {
        unsigned char old[SECTOR] = {0};
        size_t n = size - at < SECTOR ? size - at : SECTOR;
        if (at < f->size)
            memcpy(old, f->data + at, f->size - at < n ? f->size - at : n);
        if (memcmp(old, now + at, n) != 0 && is_lost(seed, at / SECTOR) &&
            syscall(SYS_pwrite64, fd, old, n, at) != (long)n)
            abort();
    }
    if (size > f->size && is_lost(seed, size) && ftruncate(fd, (off_t)f->size) != 0)
        abort();
}

static void cut_power(int fd, const void *data, size_t size, off64_t at, unsigned long seed)
{
    syscall(SYS_pwrite64, fd, data, size / 2, at);
    for (int i = 0; i < MAX_FILES; i++)
        if (*files[i].path)
            lose(&files[i], seed);
    mark();
    die();
}

/* ---- calls of the C library, which are replaced here ---- */

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    static unsigned long writes;
    char path[PATH_SIZE];
    unsigned long n, seed;
    path_of(fd, path);
    if (asked("cut", &n, &seed) && is_database(path) && ++writes == n)
        cut_power(fd, data, size, at, seed);
    if (asked("worker", &n, &seed) && is_part(path) && ++writes == n) {
        mark();
        die();
    }
    if (asked("once", &n, &seed) && is_part(path) && ++writes == n && mark())
        die();
    return syscall(SYS_pwrite64, fd, data, size, at);
}

static int synced(int fd, int result)
{
    if (result == 0)
        settle(fd);
    return result;
}

int fsync(int fd)
{
    return synced(fd, (int)syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    return synced(fd, (int)syscall(SYS_fdatasync, fd));
}

int open64(const char *path, int flags, ...)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0644);
    if (fd >= 0)
        settle(fd);
    return fd;
}

int unlink(const char *path)
{
    struct durable *f = durable_of(path);
    if (f)
        f->path[0] = '\0';
    promised += (unsigned long)is_part(path);
    return (int)syscall(SYS_unlink, path);
}
