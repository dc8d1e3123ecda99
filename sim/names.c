/* names.c: interned strings. The table holds id + 1 by linear probing and is never more than half
 * full, so a probe ends; ids depend on the order of first appearance alone. */
#include "sim/names.h"

#include <string.h>

#include "sim/hash.h"

void names_init(struct names *n)
{
    *n = (struct names){0};
}

void names_release(struct names *n)
{
    for (size_t i = 0; i < n->n; i++)
        mem_free(n->text[i]);
    mem_free(n->text);
    mem_free(n->table);
    names_init(n);
}

/* The cell that holds `text`, or the empty one where it belongs. The table may not be empty. */
static uint32_t *cell_of(const struct names *n, const char *text)
{
    size_t mask = n->table_len - 1;
    size_t i = (size_t)hash_str(text) & mask;
    while (n->table[i] != 0 && strcmp(n->text[n->table[i] - 1], text) != 0)
        i = (i + 1) & mask;
    return &n->table[i];
}

static void double_table(struct names *n)
{
    mem_free(n->table);
    n->table_len = MAX(n->table_len * 2, 16);
    n->table = mem_alloc(n->table_len * sizeof(*n->table));
    for (size_t id = 0; id < n->n; id++)
        *cell_of(n, n->text[id]) = (uint32_t)id + 1;
}

uint32_t names_id(struct names *n, const char *text)
{
    if ((n->n + 1) * 2 > n->table_len)
        double_table(n);
    uint32_t *cell = cell_of(n, text);
    if (*cell == 0) {
        CHECK(n->n < NAMES_NONE - 1, "names: ids fit in 32 bits", "%zu names", n->n);
        n->text = mem_reserve(n->text, &n->cap, n->n + 1, sizeof(*n->text));
        n->text[n->n++] = mem_strdup(text);
        *cell = (uint32_t)n->n;
    }
    return *cell - 1;
}

uint32_t names_find(const struct names *n, const char *text)
{
    if (n->table_len == 0)
        return NAMES_NONE;
    uint32_t cell = *cell_of(n, text);
    return cell != 0 ? cell - 1 : NAMES_NONE;
}

const char *names_text(const struct names *n, uint32_t id)
{
    if (id == NAMES_NONE)
        return "";
    CHECK(id < n->n, "names: only known ids are asked for", "id %u of %zu", id, n->n);
    return n->text[id];
}
