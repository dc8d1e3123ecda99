#include "experiments/profiler.h"

#include <stdlib.h>
#include <time.h>

#define REPEATS_MIN 3u /* of a point, and up to REPEATS_MAX while they take less than ENOUGH_NS */
#define REPEATS_MAX 7u
#define ENOUGH_NS (40 * NS_PER_MS)
#define HELD_OUT_ONE_IN 5u
#define FULL 0.95          /* of the pool, so that decodes have room */
#define FIRST_LONG 10240u  /* tokens of a sequence in the second stage; doubled with each stage */
#define FILLED_TOGETHER 4u /* prompts that share a step while the pool is filled */
#define TOKENS_MIN 16u     /* of a step at most: below, there is nothing to mix */
#define FEWER 4u           /* a stage has as many times fewer sequences than the one before */

#define INV_POOL "a batch of the profile reads what was computed, each sequence once"

void profiler_init(struct profiler *p, const struct backend_ops *ops, void *self,
                   const struct limits *l, uint64_t seed)
{
    *p = (struct profiler){.ops = ops, .self = self, .limits = *l, .random_batches = 80};
    p->content = mem_alloc(l->max_num_seqs * sizeof *p->content);
    p->length = mem_alloc(l->max_num_seqs * sizeof *p->length);
    p->seq = mem_alloc(l->max_num_seqs * sizeof *p->seq);
    rng_init(&p->rng, seed, "profile");
}

static void let_go(struct profiler *p, uint32_t slot)
{
    if (p->length[slot] == 0)
        return;
    if (p->self)
        p->ops->kv->release(p->self, slot);
    content_release(&p->content[slot]);
    p->length[slot] = 0;
}

void profiler_release(struct profiler *p)
{
    for (uint32_t i = 0; i < p->limits.max_num_seqs; i++)
        let_go(p, i);
    mem_free(p->content);
    mem_free(p->length);
    mem_free(p->seq);
    *p = (struct profiler){.n = 0};
}

/* Tokens of a sequence at most: what the engine takes, less the one that a decode adds. */
static uint32_t longest(const struct profiler *p)
{
    return (uint32_t)MIN(p->limits.max_model_len, limits_kv_tokens(&p->limits)) - 1;
}

static void attach(struct profiler *p, uint32_t slot)
{
    content_build(&p->content[slot], slot, longest(p), p->limits.block_size, NULL, 0, false);
    if (p->self)
        p->ops->kv->attach(p->self, slot, &p->content[slot], 0);
}

/* ---- one batch ---- */

void profiler_part(struct profiler *p, const char *name)
{
    p->part = name;
    p->part_number++;
}

static struct batch_seq *add(struct profiler *p, uint32_t slot, uint32_t context, uint32_t n)
{
    CHECK(p->n < p->limits.max_num_seqs && slot < p->limits.max_num_seqs &&
              (p->n == 0 || p->seq[p->n - 1].id < slot),
          INV_POOL, "slot %u as number %u of %u", slot, p->n, p->limits.max_num_seqs);
    p->seq[p->n] = (struct batch_seq){.id = slot, .n_tokens = n, .context = context};
    return &p->seq[p->n++];
}

void profiler_decode(struct profiler *p, uint32_t slot, uint32_t context)
{
    CHECK(context > 1 && context <= p->length[slot], INV_POOL, "slot %u reads %u of %u", slot,
          context, p->length[slot]);
    add(p, slot, context - 1, 1)->emits = true;
    p->shape.n_decode++;
    p->shape.decode_tokens++;
    p->shape.decode_context_sum += context;
    p->shape.decode_context_max = MAX(p->shape.decode_context_max, context);
}

/* A prompt ends with this chunk, and so emits, unless the chunk fills a step alone. */
void profiler_prompt(struct profiler *p, uint32_t slot, uint32_t history, uint32_t chunk)
{
    struct batch_seq *s = add(p, slot, history, chunk);
    CHECK(chunk > 0 && history + chunk <= longest(p) && history <= p->length[slot], INV_POOL,
          "slot %u computes %u after %u of %u", slot, chunk, history, p->length[slot]);
    s->prefill = true;
    s->emits = chunk < p->limits.max_num_batched_tokens;
    batch_shape_prompt(&p->shape, history, chunk);
}

static int shorter(const void *a, const void *b)
{
    const ns_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static ns_t median(ns_t *v, uint32_t n)
{
    qsort(v, n, sizeof *v, shorter);
    return (v[(n - 1) / 2] + v[n / 2]) / 2;
}

/* `warm`: a step that is not counted, then several; else one, which is. */
static bool take_times(struct profiler *p, bool warm, struct profile_point *out, struct err *e)
{
    ns_t wall[REPEATS_MAX] = {0}, device[REPEATS_MAX] = {0}, sum = 0;
    uint32_t n = 0, max = warm ? REPEATS_MAX : 1;
    for (bool counted = !warm; n < max && (n < REPEATS_MIN || sum < ENOUGH_NS); counted = true) {
        const struct batch b = {p->step++, p->n, p->seq, p->shape};
        struct step_cost cost = {0};
        if (!p->ops->step(p->self, &b, &cost, e))
            return false;
        if (!counted)
            continue;
        wall[n] = MAX(cost.wall_ns, 1);
        device[n] = ns_round(cost.device_ns);
        sum += wall[n++];
    }
    out->wall_ns = median(wall, n); /* in order from here on */
    out->spread_ns = wall[n - 1] - wall[0];
    out->device_ns = (double)median(device, n);
    out->repeats = n;
    return true;
}

static bool measure(struct profiler *p, bool warm, struct err *e)
{
    CHECK(p->shape.decode_tokens + p->shape.prefill_tokens <= p->limits.max_num_batched_tokens,
          INV_POOL, "%u and %u tokens, at most %u", p->shape.decode_tokens, p->shape.prefill_tokens,
          p->limits.max_num_batched_tokens);
    struct profile_point point = {.part = p->part,
                                  .run = 100 * p->stage + p->part_number,
                                  .shape = &p->shape,
                                  .held_out = rng_below(&p->rng, HELD_OUT_ONE_IN) == 0};
    bool ok = true;
    if (p->self)
        ok = take_times(p, warm, &point, e) &&
             (!p->on_point || p->on_point(p->on_point_self, &point, e));
    p->points++;
    p->n = 0;
    p->shape = (struct batch_shape){0};
    return ok;
}

bool profiler_measure(struct profiler *p, struct err *e)
{
    return measure(p, true, e);
}

/* ---- the pool ---- */

/* A few sequences at a time grow in turn, so that their blocks lie among each other's, as in a run.
 * These steps are points, too: all long prefills there are. */
static bool fill(struct profiler *p, struct err *e)
{
    for (uint32_t first = 0; first < p->n_seqs; first += FILLED_TOGETHER) {
        uint32_t end = MIN(first + FILLED_TOGETHER, p->n_seqs);
        uint32_t chunk = p->limits.max_num_batched_tokens / (end - first);
        for (uint32_t i = first; i < end; i++)
            if (p->length[i] == 0)
                attach(p, i);
        while (p->length[first] < p->tokens) {
            uint32_t n = MIN(p->tokens - p->length[first], chunk);
            for (uint32_t i = first; i < end; i++) {
                profiler_prompt(p, i, p->length[i], n);
                p->length[i] += n;
            }
            if (!measure(p, false, e))
                return false;
        }
    }
    return true;
}

/* Sequences of the i-th stage, and how long they are: as the memory allows, or as is worth it. */
static void plan_stage(struct profiler *p, uint32_t i)
{
    uint64_t room = (uint64_t)(FULL * (double)limits_kv_tokens(&p->limits));
    p->n_seqs = MIN(p->limits.max_num_seqs, p->limits.max_num_batched_tokens);
    for (uint32_t k = 0; k < i; k++)
        p->n_seqs /= FEWER;
    p->n_seqs = MAX(p->n_seqs, 1);
    p->beyond = i > 0 ? p->tokens : 0;
    uint64_t tokens = MIN(room / p->n_seqs, longest(p));
    if (i > 0)
        tokens = MIN(tokens, (uint64_t)FIRST_LONG << (i - 1));
    p->tokens = (uint32_t)tokens / p->limits.block_size * p->limits.block_size;
    p->stage = i;
    p->part_number = 0;
}

bool profiler_steps(struct profiler *p, struct err *e)
{
    uint32_t before = 0;
    if (p->limits.max_num_batched_tokens < TOKENS_MIN)
        return err_set(e, "profile: max_num_batched_tokens is %u; give at least %u",
                       p->limits.max_num_batched_tokens, TOKENS_MIN);
    if (FULL * (double)limits_kv_tokens(&p->limits) <
        (double)p->limits.max_num_seqs * 2 * p->limits.block_size)
        return err_set(e,
                       "profile: %llu KV blocks for %u sequences leave no room for two blocks "
                       "each; raise num_gpu_blocks or lower max_num_seqs",
                       (unsigned long long)p->limits.num_gpu_blocks, p->limits.max_num_seqs);
    if (longest(p) < p->limits.block_size)
        return err_set(e,
                       "profile: sequences of %u tokens (max_model_len - 1) fill no block of %u; "
                       "raise max_model_len or lower block_size",
                       longest(p), p->limits.block_size);
    for (uint32_t i = 0; before != 1; i++) {
        plan_stage(p, i);
        for (uint32_t k = p->n_seqs; k < before; k++)
            let_go(p, k);
        before = p->n_seqs;
        if (i > 0 && p->tokens <= p->beyond) {
            p->tokens = p->beyond; /* nothing longer fits: fewer sequences tell nothing new */
            continue;
        }
        profiler_part(p, "fill");
        if (!fill(p, e) || !profile_grid(p, e))
            return false;
    }
    return true;
}

/* ---- swaps ---- */

static ns_t monotonic(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (ns_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Moves n blocks of slot 0 and waits for it. */
static bool swap(struct profiler *p, bool out, uint32_t n, ns_t *took, struct err *e)
{
    const struct swap w = {.number = p->swaps_begun, .id = 0, .out = out, .n = n};
    ns_t began = monotonic(), done_at = NS_NEVER;
    uint64_t done = p->swaps_begun++;
    if (!p->ops->swap(p->self, &w, &done_at, e) ||
        !p->ops->swaps_done(p->self, done, true, &done, e))
        return false;
    *took = monotonic() - began;
    return true;
}

/* n blocks out and back again, several times. */
static bool swap_size(struct profiler *p, uint32_t n, struct profile_swaps *to, struct err *e)
{
    ns_t took[2][REPEATS_MIN];
    for (uint32_t i = 0; i < REPEATS_MIN; i++) {
        uint32_t total = n * p->limits.block_size;
        attach(p, 0);
        for (uint32_t at = 0, k; at < total; at += k) {
            k = MIN(total - at, p->limits.max_num_batched_tokens);
            const struct batch_seq s = {.n_tokens = k, .context = at, .prefill = true};
            struct batch b = {.step = p->step++, .n = 1, .seq = &s};
            struct step_cost cost = {0};
            batch_shape_prompt(&b.shape, at, k);
            p->length[0] = at + k;
            if (!p->ops->step(p->self, &b, &cost, e))
                return false;
        }
        if (!swap(p, true, n, &took[1][i], e))
            return false;
        let_go(p, 0);
        attach(p, 0);
        p->length[0] = total;
        if (!swap(p, false, n, &took[0][i], e))
            return false;
        p->ops->kv->forget_host(p->self, 0);
        let_go(p, 0);
    }
    for (int out = 1; out >= 0; out--)
        to->at[to->n++] = (struct profile_swap){out == 1, n, median(took[out], REPEATS_MIN)};
    return true;
}

bool profiler_swaps(struct profiler *p, struct profile_swaps *out, struct err *e)
{
    uint64_t room = MIN(p->limits.host_blocks, p->limits.num_gpu_blocks);
    room = MIN(room, longest(p) / p->limits.block_size);
    for (uint32_t n = 1; n <= room && out->n < PROFILE_SWAPS_MAX; n *= 4)
        if (!swap_size(p, n, out, e))
            return false;
    return true;
}
