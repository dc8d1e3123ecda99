/* arena.c: arenas (blocks that double, freed together) and slots (chunks of recycled records). */
#include "sim/arena.h"

#include <stdalign.h>
#include <string.h>

#define FIRST_BLOCK_BYTES ((size_t)64 * 1024)
#define ALIGNMENT ((size_t)16)

struct arena_block {
    struct arena_block *next; /* the one before it in time */
    alignas(16) unsigned char data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_release(struct arena *a)
{
    while (a->head != NULL) {
        struct arena_block *next = a->head->next;
        mem_free(a->head);
        a->head = next;
    }
    arena_init(a);
}

static void add_block(struct arena *a, size_t at_least)
{
    size_t cap = MAX(MAX(FIRST_BLOCK_BYTES, a->cap * 2), at_least);
    struct arena_block *b = mem_alloc(sizeof(*b) + cap);
    b->next = a->head;
    *a = (struct arena){.head = b, .used = 0, .cap = cap};
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    CHECK(bytes <= SIZE_MAX / 4, "arena: sizes are sane", "%zu bytes asked for", bytes);
    size_t rounded = (MAX(bytes, 1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded > a->cap - a->used)
        add_block(a, rounded);
    void *p = a->head->data + a->used;
    a->used += rounded;
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *copy = arena_alloc(a, bytes);
    memcpy(copy, s, bytes);
    return copy;
}

void *arena_reserve(struct arena *a, void *p, size_t *cap, size_t need, size_t elem)
{
    if (need <= *cap)
        return p;
    size_t wide = MAX(need, 2 * *cap);
    void *moved = arena_alloc(a, wide * elem);
    if (*cap > 0)
        memcpy(moved, p, *cap * elem);
    *cap = wide;
    return moved;
}

void slots_init(struct slots *s, size_t elem_bytes)
{
    *s = (struct slots){.elem_bytes = elem_bytes};
}

void slots_release(struct slots *s)
{
    for (size_t i = 0; i < s->n_chunks; i++)
        mem_free(s->chunk[i]);
    mem_free(s->chunk);
    mem_free(s->free_ids);
    slots_init(s, s->elem_bytes);
}

void slots_ensure(struct slots *s, uint32_t n)
{
    if (n <= s->high)
        return;
    s->high = n;
    if (s->elem_bytes == 0)
        return;
    size_t per_chunk = (size_t)1 << SLOTS_CHUNK_LOG2;
    size_t need = ((size_t)n + per_chunk - 1) >> SLOTS_CHUNK_LOG2;
    s->chunk = mem_reserve(s->chunk, &s->chunk_cap, need, sizeof(*s->chunk));
    while (s->n_chunks < need)
        s->chunk[s->n_chunks++] = mem_alloc(per_chunk * s->elem_bytes);
}

uint32_t slots_take(struct slots *s)
{
    if (s->n_free == 0) {
        CHECK(s->high < UINT32_MAX, "slots: ids fit in 32 bits", "%u ids given out", s->high);
        slots_ensure(s, s->high + 1); /* never used before, so still zero */
        return s->high - 1;
    }
    uint32_t id = s->free_ids[--s->n_free];
    if (s->elem_bytes > 0)
        memset(slots_at(s, id), 0, s->elem_bytes);
    return id;
}

void slots_give(struct slots *s, uint32_t id)
{
    CHECK(id < s->high, "slots: only ids given out come back", "id %u, high %u", id, s->high);
    s->free_ids = mem_reserve(s->free_ids, &s->free_cap, s->n_free + 1, sizeof(*s->free_ids));
    s->free_ids[s->n_free++] = id;
}
