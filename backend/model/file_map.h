/* file_map.h: a file in memory, read only. */
#ifndef BACKEND_MODEL_FILE_MAP_H
#define BACKEND_MODEL_FILE_MAP_H

#include "sim/base.h"

struct file_map {
    const uint8_t *data; /* NULL where nothing is mapped */
    size_t size;         /* at least 1 where something is */
    void *mapping;       /* data, for file_map_close */
};

bool file_map_open(struct file_map *m, const char *path, struct err *e) NODISCARD;
void file_map_close(struct file_map *m);

/* Little-endian numbers at any address. */
uint64_t read_le(const uint8_t *at, size_t bytes);

#endif
