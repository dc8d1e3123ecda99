/* sched_lpm.c: Longest Prefix Match, SGLang's cache-aware order (arXiv 2312.07104; scheduling.md
 * 3.3): see sim/prefix_order.h. Admission stops at the first request that does not fit; how much
 * room it must find, and who goes when there is too little, is SGLang's too (sim/token_ratio.h).
 *
 * Requests whose prefix is not cached wait as long as others with a longer match come: there is no
 * bound (DLPM is the answer to that). */
#include "sim/prefix_order.h"
#include "sim/token_ratio.h"

struct lpm {
    struct token_ratio ratio; /* first: its callbacks take the policy */
    struct prefix_order order;
};

static const struct param_desc params[] = {
    TOKEN_RATIO_PARAMS,
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct lpm *s = arena_alloc(a, sizeof(*s));
    token_ratio_init(&s->ratio, p, params, "lpm");
    return s;
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct lpm *s = self;
    (void)last;
    if (res == TRY_FIRST)
        prefix_order_begin(&s->order, v);
    else if (res != TRY_ADMITTED && res != TRY_LOADING)
        return REQ_NONE;
    return prefix_order_next(&s->order, v);
}

const struct scheduler_ops sched_lpm = {
    .name = "lpm",
    .doc = "longest cached prefix first, as SGLang; starves whoever shares nothing",
    .source = "SGLang schedule_policy.py; arXiv 2312.07104; scheduling.md 3.3",
    .params = params,
    .req_state_bytes = sizeof(struct token_ratio_request),
    .open = open,
    .next_candidate = next_candidate,
    TOKEN_RATIO_CALLBACKS,
};
