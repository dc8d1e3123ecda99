/* kv_store.h: the KV of sequences under a policy: for each layer and KV head its own pages and
 * places, and what is known of the token in each place.
 *
 * What must hold: a place is nobody's, or holds one token of one position; places of a page that is
 * given back, and of a token that goes, are filled with NaN, so that whoever reads them shows it;
 * which place a token is in changes no result but by rounding. */
#ifndef BACKEND_CPU_KV_STORE_H
#define BACKEND_CPU_KV_STORE_H

#include "backend/device.h"

#define KV_NOBODY UINT32_MAX /* position of a place without a token; a page that is not there */

enum kv_sum { KV_SUM_COL, KV_SUM_COL2, KV_SUM_LAST, KV_SUM_WINDOW, KV_SUM_WINDOW2, KV_N_SUMS };

/* One layer and KV head of a sequence. A place is an index: place / block_size is the page in
 * `page`. */
struct kv_places {
    uint32_t *page; /* [n_pages]: number in the store; KV_NOBODY: a hole */
    uint32_t *pos;  /* [n_pages * block_size] */
    bool *masked;
    double *sum[KV_N_SUMS]; /* of the token; NULL where nobody asks */
    float *least, *most;    /* [pages of the rule][head_dim]: KV_PAGE_BOUNDS */
    uint32_t n_pages, n;    /* n: tokens that are neither gone nor masked */
    uint32_t first_free;    /* no place before it is free */
    uint32_t budget;        /* UINT32_MAX: everything stays */
    double entropy;         /* of the prompt's last rows */
    struct kv_measure measure;
    uint32_t *top; /* [group]: struct kv_look */
    size_t page_cap, pos_cap, masked_cap, sum_cap[KV_N_SUMS], least_cap, most_cap;
};

struct kv_sequence {
    struct kv_places *places; /* [layers * kv_heads] */
    uint32_t seen, prompt;
    uint32_t *place; /* [layers * kv_heads][n_new]: where this pass puts its tokens */
    uint32_t n_new;
    size_t place_cap;
    uint64_t number; /* grows with each sequence: seeds what is random */
};

struct kv_store {
    struct kv_config config;
    const struct kv_rule *rule;
    uint32_t layers, heads, group, head_dim, block_size, max_places;
    uint32_t stats; /* enum kv_stat */
    size_t elem_bytes;
    void *kv;       /* [n_pages][K, V][block_size][head_dim] */
    uint32_t *free; /* a stack of pages */
    uint64_t n_free;
    struct kv_sequence *sequence;
    uint64_t n_begun;
};

struct kv_store *kv_store_open(const struct kv_config *c, const struct arch *a,
                               uint32_t max_context, size_t elem_bytes);
void kv_store_close(struct kv_store *s); /* NULL is fine */
void kv_store_forget(struct kv_store *s, uint32_t sequence);

static inline struct kv_places *kv_places_at(const struct kv_sequence *q, const struct kv_store *s,
                                             uint32_t layer, uint32_t head)
{
    return &q->places[layer * s->heads + head];
}

/* Where, in elements, the key (part 0) or value (part 1) in a place lies. */
static inline size_t kv_place_offset(const struct kv_store *s, const struct kv_places *p,
                                     uint32_t place, uint32_t part)
{
    size_t block = (size_t)s->block_size * s->head_dim;
    return (2 * (size_t)p->page[place / s->block_size] + part) * block +
           (size_t)(place % s->block_size) * s->head_dim;
}

/* A place for the token of this position. false: no page is left. */
bool kv_places_add(struct kv_store *s, struct kv_places *p, uint32_t pos, uint32_t *place);
/* The tokens in the n places go, by the mechanism of the store. `whole_pages`: as a page each. */
void kv_places_drop(struct kv_store *s, struct kv_places *p, const uint32_t *place, uint32_t n,
                    bool whole_pages);

/* ---- kv_evict.c ---- */

/* Makes room for n tokens more of a sequence and finds places for them. */
bool kv_begin(struct kv_store *s, uint32_t sequence, uint32_t context, uint32_t n, uint32_t prompt,
              struct err *e);
/* They are computed, statistics and all. */
void kv_end(struct kv_store *s, uint32_t sequence);

#endif
