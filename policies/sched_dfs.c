/* sched_dfs.c: DFS-weight, SGLang's depth-first order over the tree of cached prefixes (arXiv
 * 2312.07104; scheduling.md 3.3): see sim/prefix_dfs.h. Admission stops at the first request that
 * does not fit; how much room it must find, and who goes when there is too little, is SGLang's too
 * (sim/token_ratio.h).
 *
 * Branches are weighed anew at every decision, so that one is left when fewer wait for it than for
 * another; where memory holds both but little more, its prefix may have to be computed again. As
 * with LPM there is no bound on how long others wait. */
#include "sim/prefix_dfs.h"
#include "sim/token_ratio.h"

struct dfs {
    struct token_ratio ratio; /* first: its callbacks take the policy */
    struct prefix_dfs order;
};

static const struct param_desc params[] = {
    TOKEN_RATIO_PARAMS,
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct dfs *s = arena_alloc(a, sizeof(*s));
    token_ratio_init(&s->ratio, p, params, "dfs");
    s->order.arena = a;
    return s;
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct dfs *s = self;
    (void)last;
    if (res == TRY_FIRST)
        prefix_dfs_begin(&s->order, v);
    else if (res != TRY_ADMITTED && res != TRY_LOADING)
        return REQ_NONE;
    return prefix_order_next(&s->order.order, v);
}

const struct scheduler_ops sched_dfs = {
    .name = "dfs",
    .doc = "depth first over the tree of cached prefixes, the branch most wait for first (SGLang)",
    .source = "SGLang schedule_policy.py; arXiv 2312.07104 section 3; scheduling.md 3.3",
    .params = params,
    .req_state_bytes = sizeof(struct token_ratio_request),
    .open = open,
    .next_candidate = next_candidate,
    TOKEN_RATIO_CALLBACKS,
};
