/* scratch.h: where a fuzz program puts its inputs: files in a folder of its own, in memory, which
 * is gone when the program ends. */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/base.h"

#define SCRATCH_PATH 256u

static char scratch_dir[64];

static inline void scratch_remove(void)
{
    char command[sizeof(scratch_dir) + 16];
    snprintf(command, sizeof(command), "rm -rf %s", scratch_dir);
    CHECK(system(command) == 0, "fuzz: the folder goes", "%s", scratch_dir);
}

/* Once, before the first input. */
static inline void scratch_make(void)
{
    snprintf(scratch_dir, sizeof(scratch_dir), "/dev/shm/tandem-fuzz-XXXXXX");
    CHECK(mkdtemp(scratch_dir) && atexit(scratch_remove) == 0, "fuzz: a folder", "%s", scratch_dir);
}

static inline void scratch_path(char path[SCRATCH_PATH], const char *name)
{
    snprintf(path, SCRATCH_PATH, "%s/%s", scratch_dir, name);
}

static inline void scratch_write(const char *name, const void *data, size_t size)
{
    char path[SCRATCH_PATH];
    scratch_path(path, name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, size, f) == size && fclose(f) == 0, "fuzz: a file", "%s", path);
}

#endif
