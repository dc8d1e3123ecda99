#include "tests/support/differ.h"

#include "policies/registry.h"

static bool one_in(struct rng *g, uint32_t n)
{
    return rng_below(g, n) == 0;
}

static void draw_limits(struct limits *m, struct rng *g)
{
    m->units_per_block = 1 + rng_below(g, 3);
    m->enable_prefix_caching = !one_in(g, 4);
    m->scheduler_reserve_full_isl = !one_in(g, 3);
    m->prefill_mode = one_in(g, 4) ? PREFILL_SEPARATE : PREFILL_MIXED;
    m->admit_interval = one_in(g, 5) ? 2 + (uint32_t)rng_below(g, 9) : 1;
    m->max_model_len = one_in(g, 6) ? (uint32_t)limits_kv_tokens(m) / 3 : m->max_model_len;
    if (one_in(g, 4)) /* scarce: that of a victim is what the next one needs */
        m->max_num_batched_tokens = m->max_num_seqs;
    if (one_in(g, 4))
        m->kv_admission = one_in(g, 2) ? KV_ADMISSION_LIGHTLLM : KV_ADMISSION_RESERVE;
}

/* Priorities, the trace's own predictions, and clients that ask for less than they would get. */
static void draw_columns(struct lab *l, struct rng *g)
{
    for (size_t i = 0; i < l->n_rec; i++) {
        struct trace_rec *r = &l->rec[i];
        r->priority = (int32_t)rng_below(g, 4);
        r->predicted_tokens = (uint32_t)rng_below(g, 2u * r->output_tokens);
        if (one_in(g, 20))
            r->max_tokens = 1 + (uint32_t)rng_below(g, r->output_tokens);
    }
}

struct segment *differ_case(struct lab *l, uint64_t seed)
{
    static const char *const engines[] = {"ideal", "ideal", "vllm-0.8", "vllm-0.19"};
    struct rng g;
    rng_init(&g, seed, "differ");
    lab_init(l);
    lab_random(l, seed);
    draw_limits(&l->limits, &g);
    draw_columns(l, &g);
    l->engine = engines[rng_below(&g, ARRAY_LEN(engines))];
    l->token_ns = one_in(&g, 2) ? 0 : 1000.3;
    l->context_ns = one_in(&g, 2) ? 0 : 37.7;
    l->concurrency = one_in(&g, 6) ? 1 + (uint32_t)rng_below(&g, 40) : 0;
    size_t n_schedulers = 0, n_predictors = 0;
    while (scheduler_at(n_schedulers) != NULL)
        n_schedulers++;
    while (predictor_at(n_predictors) != NULL)
        n_predictors++;
    l->scheduler = scheduler_at(seed % n_schedulers);
    l->predictor = predictor_at(rng_below(&g, n_predictors + 1)); /* past the end: none */
    return one_in(&g, 3) ? NULL : lab_share_prefixes(l, seed);
}
