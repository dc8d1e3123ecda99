/* pred_column.c: what the trace itself predicts (its column predicted_tokens): predictions made
 * elsewhere, by a model of one's own. A record without one has no prediction. */
#include "sim/predictor.h"

static void *open(struct arena *a, const struct params *p, uint64_t seed, struct err *e)
{
    (void)p;
    (void)seed;
    (void)e;
    return arena_alloc(a, 1);
}

static struct prediction predict(void *self, const struct req_info *q, void *tenant_state,
                                 uint32_t true_output)
{
    (void)self;
    (void)tenant_state;
    (void)true_output;
    return prediction_of(q->predicted_tokens);
}

const struct predictor_ops pred_column = {
    .name = "column",
    .doc = "the trace's own column predicted_tokens",
    .source = "contract.md section 5",
    .open = open,
    .predict = predict,
};
