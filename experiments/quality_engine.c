/* quality_engine.c: a sequence of a real model under a KV policy, on the CPU in float32. */
#include "experiments/quality.h"

#include <math.h>

#define BLOCK_SIZE 16u
#define CHUNK 512u

bool quality_engine_open(struct quality_engine *q, const struct quality_model *m,
                         const struct quality_case *c, uint32_t max_context, struct err *e)
{
    const struct arch *a = &m->weights.arch;
    uint32_t heads = a->layers * a->kv_heads;
    *q = (struct quality_engine){
        .shape = {.layers = a->layers,
                  .kv_heads = a->kv_heads,
                  .block_size = BLOCK_SIZE,
                  .group = a->heads / a->kv_heads,
                  .token_bytes = 4 * a->head_dim}, /* as it would be served: bf16 */
        .vocab = a->vocab,
    };
    arena_init(&q->arena);
    struct kv_rule_config rule = {.ops = c->policy,
                                  .budget = c->budget,
                                  .params = c->params,
                                  .shape = q->shape,
                                  .seed = c->seed};
    struct device_config device = {.weights = &m->weights,
                                   .max_seqs = 1,
                                   .max_tokens = MIN(CHUNK, max_context),
                                   .block_size = BLOCK_SIZE,
                                   .max_context = max_context,
                                   .threads = m->threads};
    struct kv_config kv = {.rule = &q->rule,
                           .n_pages = (uint64_t)heads * (div_ceil_u32(max_context, BLOCK_SIZE) + 1),
                           .n_sequences = 1,
                           .open_loop = c->open_loop};
    q->logits = mem_alloc(a->vocab * sizeof(*q->logits));
    if (!kv_rule_open(&q->rule, &q->arena, &rule, e))
        return false;
    q->device = device_cpu.open(&device, e);
    return q->device != NULL && device_cpu.kv_open(q->device, &kv, e);
}

void quality_engine_close(struct quality_engine *q)
{
    if (q->device != NULL)
        device_cpu.close(q->device);
    mem_free(q->logits);
    arena_release(&q->arena);
    *q = (struct quality_engine){0};
}

static bool forward(struct quality_engine *q, const uint32_t *token, uint32_t n, struct err *e)
{
    uint32_t q_start[] = {0, n}, no_blocks[] = {0, 0}, sequence = 0, next;
    bool emits = true;
    struct forward f = {.n_seqs = 1,
                        .n_decode = q->seen > 0 && n == 1,
                        .n_tokens = n,
                        .token = token,
                        .q_start = q_start,
                        .context = &q->seen,
                        .table_start = no_blocks,
                        .emits = &emits};
    struct kv_pass kv = {&sequence, &q->prompt};
    struct forward_result r = {.next_token = &next, .logits = q->logits};
    bool ok = device_cpu.kv_forward(q->device, &f, &kv, &r, e);
    q->seen += n;
    return ok;
}

bool quality_prompt(struct quality_engine *q, const uint32_t *token, uint32_t n, struct err *e)
{
    device_cpu.kv_forget(q->device, 0);
    q->seen = 0;
    q->prompt = n;
    while (q->seen < n)
        if (!forward(q, token + q->seen, MIN(CHUNK, n - q->seen), e))
            return false;
    return true;
}

bool quality_feed(struct quality_engine *q, uint32_t token, struct err *e)
{
    return forward(q, &token, 1, e);
}

double quality_log_sum(const float *logits, uint32_t n)
{
    double most = -HUGE_VAL, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        most = MAX(most, (double)logits[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - most);
    return most + log(MAX(sum, 1.0)); /* the largest alone makes it 1 */
}

double quality_log_p(const struct quality_engine *q, uint32_t token)
{
    return (double)q->logits[token] - quality_log_sum(q->logits, q->vocab);
}

uint32_t quality_top(const struct quality_engine *q)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < q->vocab; i++)
        if (q->logits[i] > q->logits[best])
            best = i;
    return best;
}

double quality_resident(const struct quality_engine *q)
{
    uint32_t n = q->shape.layers * q->shape.kv_heads;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct kv_look look;
        device_cpu.kv_look(q->device, 0, i / q->shape.kv_heads, i % q->shape.kv_heads, &look);
        sum += look.resident;
    }
    return sum / n;
}

double quality_read(struct quality_engine *q)
{
    return kv_rule_read_tokens(&q->rule, q->prompt, q->seen);
}
