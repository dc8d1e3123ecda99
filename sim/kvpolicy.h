/* kvpolicy.h: the interface of KV-cache policies inside a sequence (eviction.md section 1). A
 * policy is data and two pure functions: a plan (which statistics, what is protected, when tokens
 * go, what a decode step reads), a score of the resident tokens, and a rank of what may be read.
 * Everything else (budgets, protection, choice, pages, mechanism) is done by shared code, the same
 * for all: sim/kvrule.h for the rule, backend/cpu/kv_store.h and kv_evict.c for the CPU engine.
 * Victims are dropped: none of the policies here merges or demotes.
 *
 * Who calls what: the simulator `open`, `budget` and `resident`; an engine, after the prompt's last
 * chunk (with `chunks` before each later one, with `decodes` before a token is appended that has no
 * room), `score` for each layer (and KV head), and `rank` for each decode step where not everything
 * is read. After a preemption by recompute the simulator has prompt and output computed in chunks
 * and cut at once, which is not the cache that was lost (that would take decoding the output anew):
 * preempt=swap brings that one back. Scores are compared within one call only; the higher stays, of
 * equals the earlier one. */
#ifndef SIM_KVPOLICY_H
#define SIM_KVPOLICY_H

#include "sim/arena.h"
#include "sim/params.h"

/* Of a KV cache. Each layer and KV head has pages of its own: a page unit is `block_size` tokens of
 * one of them. */
struct kv_shape {
    uint32_t layers, kv_heads, block_size;
    uint32_t group;       /* query heads of a KV head */
    uint32_t token_bytes; /* K and V of a token in one layer and KV head; 0: costs of statistics and
                             metadata are not known and not counted */
};

/* Statistics that an engine gathers for a policy (eviction.md 0.4). p is a row of the softmax. */
enum kv_stat {
    KV_COLSUM = 1u << 0,    /* sum of p over the rows and query heads that saw the token */
    KV_COLSUM2 = 1u << 1,   /* sum over rows of (mean over query heads of p)^2 */
    KV_LASTROW = 1u << 2,   /* mean over query heads of the newest row's p */
    KV_WINDOW = 1u << 3,    /* sums of p and p^2 over the prompt's last `window` rows */
    KV_STAT_KEYS = 1u << 4, /* the keys themselves, turned by RoPE */
    KV_STAT_VALUES = 1u << 5,
    KV_PAGE_BOUNDS = 1u << 6, /* least and largest of each channel of the keys of a page */
    KV_EXACT = 1u << 7,       /* p of the very query that `rank` is about: needs a full read */
};

enum kv_scope {
    KV_PER_HEAD,
    KV_PER_LAYER, /* one score for all KV heads of a layer, from the means of their statistics */
};

enum kv_read { KV_READ_ALL, KV_READ_TOKENS, KV_READ_PAGES };

/* What `open` decides; it is handed the defaults in brackets, and kv.* of the configuration. */
struct kv_plan {
    uint32_t stats;       /* enum kv_stat [0] */
    enum kv_scope scope;  /* [KV_PER_HEAD] */
    bool evicts;          /* tokens go when the prompt is there [false] */
    bool chunks;          /* and before each chunk of it but the first [false] */
    bool decodes;         /* and while it decodes [false] */
    bool pages;           /* while it decodes, whole pages go [false] */
    bool marks;           /* what scores -INFINITY goes and nothing else; while it decodes, `score`
                             is asked whenever there are a multiple of `slack` tokens behind the
                             sink [false] */
    uint32_t slack;       /* tokens beyond the budget before some go while it decodes [0] */
    enum kv_read read;    /* what a decode step reads, of the budget's size [KV_READ_ALL] */
    uint32_t sink;        /* first positions that always stay [kv.sink, else 0] */
    uint32_t recent;      /* last positions that always stay [kv.recent, else 0] */
    double recent_share;  /* the same as a share of the budget, where > 0 [0] */
    uint32_t window;      /* rows of KV_WINDOW [0] */
    uint32_t page;        /* tokens in a page of KV_READ_PAGES [kv.page] */
    uint32_t skip_layers; /* first layers that keep and read everything [kv.skip_layers, else 0] */
};

struct kv_env {
    const struct params *params;
    struct kv_shape shape;
    uint64_t seed;      /* of the run */
    bool recent_is_set; /* kv.recent, kv.sink, kv.skip_layers are given: they stay as they are */
    bool sink_is_set, skip_is_set;
};

/* The resident tokens of a sequence in one layer and KV head, in order of position. */
struct kv_view {
    uint32_t layer, head; /* head 0 for KV_PER_LAYER */
    uint32_t n;
    uint32_t seen;   /* tokens of the sequence so far: all positions are below */
    uint32_t prompt; /* of those, the prompt's */
    uint32_t keep;   /* the budget: tokens that may be left */
    uint32_t group, head_dim;
    uint64_t sequence; /* a number of its own: what is random is drawn from it */
    const uint32_t *pos;
    /* [n] each; NULL unless asked for */
    const float *colsum, *colsum2, *lastrow, *window, *window2;
    const float *key, *value; /* [n][head_dim] */
};

/* What a decode step may read: units are tokens in order of slot, or pages of them. The first
 * unit_tokens tokens are unit 0, and so on. */
struct kv_query {
    uint32_t layer, head, group, head_dim;
    uint32_t n_units;
    const float *q;            /* [group][head_dim], turned by RoPE */
    const float *least, *most; /* [n_units][head_dim]: KV_PAGE_BOUNDS */
    const float *p;            /* [n_units]: KV_EXACT, sum over the query heads */
};

struct kvpolicy_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    bool lossless; /* reads and keeps everything: blocks may be shared, no quality to measure */
    void *(*open)(struct arena *, const struct kv_env *, struct kv_plan *, struct err *);
    /* Tokens that this layer and head may keep; UINT32_MAX: all. [the allocator's share] */
    uint32_t (*budget)(void *, uint32_t mean, uint32_t layer, uint32_t head);
    /* -INFINITY: it goes whatever there is room for. There with plan.evicts. */
    void (*score)(void *, const struct kv_view *, float *score);
    /* There unless plan.read is KV_READ_ALL. */
    void (*rank)(void *, const struct kv_query *, float *score);
    /* Tokens resident at length `len` > prompt, for the simulator. [the least of len and budget +
     * slack; without `decodes` what is left of the prompt and all tokens after it] */
    uint32_t (*resident)(void *, uint32_t budget, uint32_t prompt, uint32_t len);
};

/* ---- budgets: how the tokens are shared out between layers and KV heads ---- */

struct kv_budget_ask {
    uint32_t layers, heads;
    uint32_t mean;   /* tokens of a layer and head on average */
    uint32_t least;  /* nobody gets fewer: what is protected */
    uint32_t length; /* nobody gets more: what there is; mean < length */
    /* What the engine has measured, where the allocator asks for it; NULL in the simulator, which
     * then has the mean: the sum is the same. */
    const float *const *score; /* [layers * heads][length]; INFINITY: protected */
    const double *entropy;     /* [layers]: of the window's rows */
    const double *variance;    /* [layers]: over the window's rows, summed over tokens */
};

struct kvbudget_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t stats;   /* enum kv_stat: what it needs besides the policy's */
    bool uses_scores; /* ask.score is wanted */
    void *(*open)(struct arena *, const struct kv_env *, struct err *);
    /* tokens[layers * heads], whose sum is layers * heads * mean. */
    void (*allocate)(void *, const struct kv_budget_ask *, uint32_t *tokens);
};

#endif
