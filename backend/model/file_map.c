#include "backend/model/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool map(struct file_map *m, int fd, const char *path, struct err *e)
{
    struct stat st;
    void *data;

    if (fstat(fd, &st) != 0)
        return err_set(e, "%s: %s; give the file of a model", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size <= 0)
        return err_set(e, "%s: is empty or no file; give the file of a model", path);
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_set(e, "%s: cannot be mapped: %s; copy it to a local disk", path,
                       strerror(errno));
    *m = (struct file_map){data, (size_t)st.st_size, data};
    return true;
}

bool file_map_open(struct file_map *m, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok;

    *m = (struct file_map){.data = NULL};
    if (fd < 0)
        return err_set(e, "%s: %s; give the file of a model (scripts/get-model fetches one)", path,
                       strerror(errno));
    ok = map(m, fd, path, e);
    close(fd);
    return ok;
}

void file_map_close(struct file_map *m)
{
    if (m->mapping)
        munmap(m->mapping, m->size);
    *m = (struct file_map){.data = NULL};
}

uint64_t read_le(const uint8_t *at, size_t bytes)
{
    uint64_t x = 0;

    for (size_t i = 0; i < bytes; i++)
        x |= (uint64_t)at[i] << (8 * i);
    return x;
}
