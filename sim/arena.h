/* arena.h: memory by lifetime. An arena gives zeroed memory and takes it all back at once; slots
 * are recycled records with stable addresses and small ids. */
#ifndef SIM_ARENA_H
#define SIM_ARENA_H

#include "sim/base.h"

/* ---- arena: freed as a whole ---- */

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used, cap; /* in the head block */
};

void arena_init(struct arena *a);
void arena_release(struct arena *a);                        /* frees everything; usable again */
void *arena_alloc(struct arena *a, size_t bytes) NODISCARD; /* zeroed, aligned to 16, never NULL */
char *arena_strdup(struct arena *a, const char *s) NODISCARD;
/* Room for at least `need` elements in the array `p` of capacity *cap, as mem_reserve does; what it
 * moves out of stays in the arena until the end. */
void *arena_reserve(struct arena *a, void *p, size_t *cap, size_t need, size_t elem) NODISCARD;

/* ---- slots: fixed-size records in chunks; addresses never move ---- */

#define SLOTS_CHUNK_LOG2 8u

struct slots {
    size_t elem_bytes;
    unsigned char **chunk;
    size_t n_chunks, chunk_cap;
    uint32_t high;      /* ids ever given out are 0..high-1 */
    uint32_t *free_ids; /* stack of recycled ids */
    size_t n_free, free_cap;
};

void slots_init(struct slots *s,
                size_t elem_bytes); /* elem_bytes 0 is allowed: slots_at gives NULL */
void slots_release(struct slots *s);
uint32_t slots_take(struct slots *s); /* zeroed record; the last id given back comes first */
void slots_give(struct slots *s, uint32_t id);
void slots_ensure(struct slots *s, uint32_t n); /* ids 0..n-1 exist (dense use: tenants) */

static inline void *slots_at(const struct slots *s, uint32_t id)
{
    if (s->elem_bytes == 0)
        return NULL;
    return s->chunk[id >> SLOTS_CHUNK_LOG2] +
           (size_t)(id & ((1u << SLOTS_CHUNK_LOG2) - 1)) * s->elem_bytes;
}

#endif
