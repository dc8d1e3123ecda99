#include "sim/u64_map.h"

#include "sim/hash.h"

void u64_map_release(struct u64_map *m)
{
    mem_free(m->slot);
    *m = (struct u64_map){0};
}

/* Where the key is, or would go. */
static size_t place(const struct u64_map *m, uint64_t key)
{
    size_t i = (size_t)hash_u64(key) & (m->len - 1);
    while (m->slot[i].used && m->slot[i].key != key)
        i = (i + 1) & (m->len - 1);
    return i;
}

uint64_t *u64_map_get(const struct u64_map *m, uint64_t key)
{
    if (m->n == 0)
        return NULL;
    size_t i = place(m, key);
    return m->slot[i].used ? &m->slot[i].value : NULL;
}

static void grow(struct u64_map *m)
{
    struct u64_map old = *m;
    m->len = MAX((size_t)64, 2 * old.len);
    m->slot = mem_alloc(m->len * sizeof(*m->slot));
    for (size_t i = 0; i < old.len; i++)
        if (old.slot[i].used)
            m->slot[place(m, old.slot[i].key)] = old.slot[i];
    mem_free(old.slot);
}

uint64_t *u64_map_put(struct u64_map *m, uint64_t key)
{
    if (4 * (m->n + 1) > 3 * m->len)
        grow(m);
    struct u64_map_slot *s = &m->slot[place(m, key)];
    if (!s->used) {
        *s = (struct u64_map_slot){.key = key, .used = true};
        m->n++;
    }
    return &s->value;
}

bool u64_map_remove(struct u64_map *m, uint64_t key)
{
    if (m->n == 0)
        return false;
    size_t mask = m->len - 1, hole = place(m, key);
    if (!m->slot[hole].used)
        return false;
    m->n--;
    /* Later entries of the cluster move up unless that would put them before their home. */
    for (size_t i = (hole + 1) & mask; m->slot[i].used; i = (i + 1) & mask) {
        size_t home = (size_t)hash_u64(m->slot[i].key) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slot[hole] = m->slot[i];
            hole = i;
        }
    }
    m->slot[hole].used = false;
    return true;
}
