/* price.c: S2 of scheduling.md: what work that was not done yet would take on a replica. A cost
 * model is asked about made-up batches, for it depends on nothing but the batch (backend.h); where
 * steps are measured there is no model, and the steps so far say it. */
#include "sim/core.h"

static ns_t price_step(struct replica *r, const struct batch *b)
{
    struct step_cost cost = {0};
    if (!r->cfg->backend->step(r->backend, b, &cost, r->sim->err))
        return 0; /* err is set: the loop stops */
    return engine_model_step_ns(r->cfg->engine, b->n, cost.device_ns);
}

static bool measured(const struct replica *r)
{
    return (r->cfg->backend->caps & BACKEND_MEASURED) != 0;
}

ns_t price_prefill(struct replica *r, uint32_t tokens, uint32_t cached)
{
    uint32_t budget = r->limits.max_num_batched_tokens;
    tokens = MIN(tokens, r->limits.max_model_len); /* a longer one is refused, whoever gets it */
    if (measured(r))
        return step_time_prefill(&r->step_time, tokens - MIN(tokens, cached), budget);
    ns_t sum = 0;
    for (uint32_t at = cached, n; at < tokens && sum < PREDICTED_MAX_NS; at += n) {
        n = MIN(tokens - at, budget);
        struct batch_seq seq = {.id = REQ_NONE,
                                .n_tokens = n,
                                .context = at,
                                .prefill = true,
                                .emits = at + n == tokens};
        struct batch b = {.step = r->n_steps, .n = 1, .seq = &seq};
        batch_shape_prompt(&b.shape, at, n);
        sum = ns_add(sum, price_step(r, &b));
    }
    return MIN(sum, PREDICTED_MAX_NS);
}

ns_t price_decode(struct replica *r, uint32_t n, uint64_t context)
{
    if (measured(r))
        return step_time_decode(&r->step_time);
    n = MIN(n, r->limits.max_num_seqs);
    if (n == 0)
        return 0;
    uint32_t mean = (uint32_t)MIN(context / n, r->limits.max_model_len);
    uint64_t read = (uint64_t)kv_rule_read_tokens(r->kv_rule, mean - MIN(mean, 1), mean);
    struct batch b = {.step = r->n_steps,
                      .n = n,
                      .shape = {.n_decode = n,
                                .decode_tokens = n,
                                .decode_context_sum = n * read,
                                .decode_context_max = (uint32_t)read}};
    return price_step(r, &b);
}
