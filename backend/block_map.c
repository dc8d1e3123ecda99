/* block_map.c: open addressing with linear probing. What must hold: every entry is reached from its
 * home without crossing a free place, so removing one moves later ones back. */
#include "backend/block_map.h"

#include <inttypes.h>

void block_map_init(struct block_map *m, uint32_t max_entries)
{
    *m = (struct block_map){.len = 4};
    while (m->len <= 2 * (size_t)max_entries)
        m->len *= 2;
    m->entry = mem_alloc(m->len * sizeof(*m->entry));
    for (size_t i = 0; i < m->len; i++)
        m->entry[i].block = BLOCK_NONE;
}

void block_map_release(struct block_map *m)
{
    mem_free(m->entry);
    *m = (struct block_map){0};
}

/* Where the key is, or would go. Keys are hashes already. */
static size_t place(const struct block_map *m, uint64_t key)
{
    size_t i = key & (m->len - 1);
    while (m->entry[i].block != BLOCK_NONE && m->entry[i].key != key)
        i = (i + 1) & (m->len - 1);
    return i;
}

uint32_t block_map_get(const struct block_map *m, uint64_t key)
{
    return m->entry[place(m, key)].block;
}

void block_map_put(struct block_map *m, uint64_t key, uint32_t block)
{
    size_t i = place(m, key);
    CHECK(m->entry[i].block == BLOCK_NONE && 2 * (m->n + 1) < m->len, "block map: a new key fits",
          "key %016" PRIx64 ", %zu of %zu places taken", key, m->n, m->len);
    m->entry[i] = (struct block_map_entry){key, block};
    m->n++;
}

uint32_t block_map_take(struct block_map *m, uint64_t key)
{
    size_t mask = m->len - 1, hole = place(m, key);
    uint32_t block = m->entry[hole].block;
    CHECK(block != BLOCK_NONE, "block map: what is taken is there", "key %016" PRIx64, key);
    for (size_t i = (hole + 1) & mask; m->entry[i].block != BLOCK_NONE; i = (i + 1) & mask) {
        size_t home = m->entry[i].key & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->entry[hole] = m->entry[i];
            hole = i;
        }
    }
    m->entry[hole].block = BLOCK_NONE;
    m->n--;
    return block;
}
