#include "backend/cpu/kv_store.h"

#include <math.h>
#include <string.h>

#define INV_PAGES "KV store: a page is one's or free"

/* ---- opening and closing ---- */

struct kv_store *kv_store_open(const struct kv_config *c, const struct arch *a,
                               uint32_t max_context, size_t elem_bytes)
{
    struct kv_store *s = mem_alloc(sizeof(*s));
    uint32_t n = a->layers * a->kv_heads, size = c->rule->shape.block_size;
    *s = (struct kv_store){
        .config = *c,
        .rule = c->rule,
        .layers = a->layers,
        .heads = a->kv_heads,
        .group = a->heads / a->kv_heads,
        .head_dim = a->head_dim,
        .block_size = size,
        .max_places = (div_ceil_u32(max_context, size) + 1) * size,
        .stats = kv_rule_stats(c->rule),
        .elem_bytes = elem_bytes,
        .n_free = c->n_pages,
    };
    CHECK(c->n_pages < KV_NOBODY, INV_PAGES, "%llu pages", (unsigned long long)c->n_pages);
    s->kv = mem_alloc(c->n_pages * 2 * size * a->head_dim * elem_bytes);
    s->free = mem_alloc(c->n_pages * sizeof(*s->free));
    for (uint32_t i = 0; i < c->n_pages; i++)
        s->free[i] = (uint32_t)c->n_pages - 1 - i; /* lowest first */
    s->sequence = mem_alloc(c->n_sequences * sizeof(*s->sequence));
    for (uint32_t i = 0; i < c->n_sequences; i++) {
        struct kv_places *p = mem_alloc(n * sizeof(*p));
        for (uint32_t k = 0; k < n && c->open_loop; k++)
            p[k].top = mem_alloc(s->group * sizeof(*p[k].top));
        s->sequence[i].places = p;
    }
    return s;
}

static void places_release(struct kv_places *p)
{
    mem_free(p->page);
    mem_free(p->pos);
    mem_free(p->masked);
    for (uint32_t k = 0; k < KV_N_SUMS; k++)
        mem_free(p->sum[k]);
    mem_free(p->least);
    mem_free(p->most);
    mem_free(p->top);
}

void kv_store_close(struct kv_store *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->config.n_sequences; i++) {
        for (uint32_t k = 0; k < s->layers * s->heads; k++)
            places_release(&s->sequence[i].places[k]);
        mem_free(s->sequence[i].places);
        mem_free(s->sequence[i].place);
    }
    mem_free(s->sequence);
    mem_free(s->free);
    mem_free(s->kv);
    mem_free(s);
}

/* ---- places ---- */

static void poison(struct kv_store *s, const struct kv_places *p, uint32_t place)
{
    for (uint32_t part = 0; part < 2; part++) {
        size_t at = kv_place_offset(s, p, place, part);
        for (uint32_t i = 0; i < s->head_dim; i++) {
            if (s->elem_bytes == sizeof(double))
                ((double *)s->kv)[at + i] = (double)NAN;
            else
                ((float *)s->kv)[at + i] = (float)NAN;
        }
    }
}

/* Which sums the statistics need. */
static bool is_summed(const struct kv_store *s, uint32_t sum)
{
    static const uint32_t of[KV_N_SUMS] = {KV_COLSUM, KV_COLSUM2, KV_LASTROW, KV_WINDOW, KV_WINDOW};
    return (s->stats & of[sum]) != 0;
}

static void grow(struct kv_store *s, struct kv_places *p)
{
    uint32_t from = p->n_pages * s->block_size, n = from + s->block_size;
    uint32_t bounds = div_ceil_u32(n, s->rule->plan.page) * s->head_dim;
    p->page = mem_reserve(p->page, &p->page_cap, p->n_pages + 1u, sizeof(*p->page));
    p->pos = mem_reserve(p->pos, &p->pos_cap, n, sizeof(*p->pos));
    p->masked = mem_reserve(p->masked, &p->masked_cap, n, sizeof(*p->masked));
    for (uint32_t k = 0; k < KV_N_SUMS; k++)
        if (is_summed(s, k))
            p->sum[k] = mem_reserve(p->sum[k], &p->sum_cap[k], n, sizeof(*p->sum[k]));
    if (s->stats & KV_PAGE_BOUNDS) {
        p->least = mem_reserve(p->least, &p->least_cap, bounds, sizeof(*p->least));
        p->most = mem_reserve(p->most, &p->most_cap, bounds, sizeof(*p->most));
    }
    for (uint32_t i = from; i < n; i++)
        p->pos[i] = KV_NOBODY;
    p->page[p->n_pages++] = KV_NOBODY;
}

static void give_page(struct kv_store *s, struct kv_places *p, uint32_t index)
{
    CHECK(s->n_free < s->config.n_pages, INV_PAGES, "page %u comes back, all are free",
          p->page[index]);
    for (uint32_t i = 0; i < s->block_size; i++)
        poison(s, p, index * s->block_size + i);
    s->free[s->n_free++] = p->page[index];
    p->page[index] = KV_NOBODY;
}

bool kv_places_add(struct kv_store *s, struct kv_places *p, uint32_t pos, uint32_t *place)
{
    uint32_t i = p->first_free;
    while (i < p->n_pages * s->block_size && p->pos[i] != KV_NOBODY)
        i++;
    if (i == p->n_pages * s->block_size)
        grow(s, p);
    uint32_t *page = &p->page[i / s->block_size];
    if (*page == KV_NOBODY) {
        if (s->n_free == 0)
            return false;
        *page = s->free[--s->n_free];
    }
    p->pos[i] = pos;
    p->masked[i] = false;
    for (uint32_t k = 0; k < KV_N_SUMS; k++)
        if (p->sum[k] != NULL)
            p->sum[k][i] = 0;
    p->n++;
    p->first_free = i + 1;
    *place = i;
    return true;
}

static void move(struct kv_store *s, struct kv_places *p, uint32_t from, uint32_t to)
{
    size_t bytes = s->head_dim * s->elem_bytes;
    for (uint32_t part = 0; part < 2; part++)
        memcpy((char *)s->kv + kv_place_offset(s, p, to, part) * s->elem_bytes,
               (char *)s->kv + kv_place_offset(s, p, from, part) * s->elem_bytes, bytes);
    for (uint32_t k = 0; k < KV_N_SUMS; k++)
        if (p->sum[k] != NULL)
            p->sum[k][to] = p->sum[k][from];
    p->pos[to] = p->pos[from];
    p->pos[from] = KV_NOBODY;
}

/* Towards the front, in order, so that nothing is written over that is still to move. */
static void gather(struct kv_store *s, struct kv_places *p)
{
    uint32_t to = 0, n = p->n_pages * s->block_size;
    for (uint32_t from = 0; from < n; from++) {
        if (p->pos[from] == KV_NOBODY)
            continue;
        while (to < from && (p->pos[to] != KV_NOBODY || p->page[to / s->block_size] == KV_NOBODY))
            to++;
        if (to < from)
            move(s, p, from, to);
    }
}

static void give_empty_pages(struct kv_store *s, struct kv_places *p)
{
    for (uint32_t k = 0; k < p->n_pages; k++) {
        uint32_t used = 0;
        for (uint32_t i = 0; i < s->block_size; i++)
            used += p->pos[k * s->block_size + i] != KV_NOBODY;
        if (used == 0 && p->page[k] != KV_NOBODY)
            give_page(s, p, k);
    }
}

void kv_places_drop(struct kv_store *s, struct kv_places *p, const uint32_t *place, uint32_t n,
                    bool whole_pages)
{
    enum kv_mechanism how = s->config.mechanism;
    if (how == KV_AUTO)
        how = whole_pages ? KV_FREE_PAGES : n > 1 ? KV_GATHER : KV_REUSE;
    p->n -= n;
    for (uint32_t i = 0; i < n; i++) {
        if (how == KV_MASK) {
            p->masked[place[i]] = true;
            continue;
        }
        p->pos[place[i]] = KV_NOBODY;
        poison(s, p, place[i]);
        p->first_free = MIN(p->first_free, place[i]);
    }
    if (how == KV_GATHER) {
        gather(s, p);
        p->first_free = 0;
    }
    if (how == KV_GATHER || how == KV_FREE_PAGES)
        give_empty_pages(s, p);
}

void kv_store_forget(struct kv_store *s, uint32_t sequence)
{
    struct kv_sequence *q = &s->sequence[sequence];
    for (uint32_t k = 0; k < s->layers * s->heads; k++) {
        struct kv_places *p = &q->places[k];
        for (uint32_t i = 0; i < p->n_pages; i++)
            if (p->page[i] != KV_NOBODY)
                give_page(s, p, i);
        p->n_pages = p->n = p->first_free = 0;
        p->entropy = 0;
        p->measure = (struct kv_measure){0};
    }
    q->seen = q->prompt = 0;
}
