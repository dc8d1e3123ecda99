/* table.c: a step from measured operators: the step formula of fidelity.md for vLLM >= 0.19,
 *
 *   step = embedding(Tp) + final_norm(Tp)
 *        + layers * (2 norm + qkv + qk_norm + rope + o + gate_up + act + down)(Tp)
 *        + layers * (attention + experts(T)) + lm_head(S) + sampler(S)
 *        + (2 layers + 1) * all_reduce(Tp) + all_gather(S)                 tensor parallel only
 *
 * T: tokens of the step; Tp: T padded to the size of a captured CUDA graph; S: sequences, those in
 * the middle of their prompt included. A profile (backend/profile.h) has the operators, one layer's
 * call each; a model with experts has `experts` where others have gate_up, act and down.
 *
 *   attention = A(chunk tokens, histories, decodes, mean context) * skew   one call, as measured
 *             - what several prompts in one call take less than one as long as all of them
 *
 * skew: what unequal contexts add to the call, 1 + alpha * (A(longest) / A(mean) - 1), measured
 * over the longest context and the share of it that the mean is; its ends hold and are not counted.
 * A batch with prompts and decodes is looked up in the mixed table and nowhere else: in one call
 * decodes cost 1.7 to 3 times what they cost alone. Only a profile without a mixed table adds up.
 *
 * Everything is piecewise linear in the batch's aggregates, with tables made at open; several
 * prompts in a step are looked at one by one. Steps outside what was measured are counted.
 *
 * Decodes alone grow together by a token a step: the difference between the longest and the mean
 * stays. Over the longest a step is a line from one breakpoint to the next, where it is as above;
 * breakpoints are those lengths whose binary digits behind the sixth are 0, up to 64 all. (Between
 * them the skew is no line: its mean / longest is a hyperbola.) */
#include "backend/experts.h"
#include "backend/profile.h"
#include "sim/backend.h"

#include <math.h>
#include <stdio.h>

#define ACTIVATION_BYTES 2.0 /* bf16, whatever the weights are */
#define NORMS_A_LAYER 2      /* before attention and before the MLP */
#define TILE_ROWS 16u        /* of a matrix product on tensor cores, at least */

#define BREAKPOINT_BITS 6u

/* The line of decodes alone between two breakpoints. */
struct segment {
    uint32_t n, low, high; /* sequences; the longest context at its ends; n 0: none yet */
    uint64_t lag;          /* n * longest - sum of contexts */
    double base_ns, slope_ns;
    bool extrapolated; /* at one end */
};

struct table {
    struct profile profile;
    struct curve once, layer, sequence; /* of Tp, Tp, S */
    double reduce_ns, reduce_row_ns;    /* all-reduces of a step: latency, and for each row */
    double layers;
    struct experts experts; /* experts.n == 0: none */
    double experts_share;   /* of tokens and experts that a GPU has */
    double first_prompt_ns; /* attention for the shortest prompt measured: starting the call */
    uint32_t graph_max;     /* tokens up to which steps run as CUDA graphs */
    struct segment last;    /* that was asked for: the next step is mostly in it */
};

/* ---- open ---- */

static const struct {
    enum profile_op op;
    double times;
} once_ops[] = {{OP_EMBEDDING, 1}, {OP_FINAL_NORM, 1}},
  layer_ops[] = {{OP_NORM, NORMS_A_LAYER}, {OP_QKV, 1}, {OP_QK_NORM, 1}, {OP_ROPE, 1}, {OP_O, 1},
                 {OP_GATE_UP, 1},          {OP_ACT, 1}, {OP_DOWN, 1}},
  sequence_ops[] = {{OP_LM_HEAD, 1}, {OP_SAMPLER, 1}};

/* Whether the model has this operator. */
static bool has_op(const struct model_desc *m, enum profile_op op)
{
    if (op == OP_QK_NORM)
        return m->qk_norm;
    return m->experts == 0 || (op != OP_GATE_UP && op != OP_ACT && op != OP_DOWN);
}

static bool check_profile(const struct profile *p, const struct backend_env *env, struct err *e)
{
    for (uint32_t op = 0; op < N_OPS; op++)
        if (p->op[op].n == 0 && has_op(env->model, (enum profile_op)op))
            return err_set(e, "%s: has no %s, which every step of %s needs; profile it again",
                           env->profile, profile_op_name((enum profile_op)op), env->model->id);
    if (env->model->experts > 0 && !p->experts.root && p->moe.n == 0)
        return err_set(e, "%s: has no times of experts (moe.csv), which %s needs; profile it again",
                       env->profile, env->model->id);
    return true;
}

/* (2L + 1) all-reduces of Tp x hidden activations over the link between the GPUs: latency, and what
 * a ring sends. */
static void open_reduce(struct table *t, const struct backend_env *env)
{
    double tp = env->tensor_parallel_size, calls = 2.0 * env->model->layers + 1;
    double bytes = 2 * (tp - 1) / tp * env->model->hidden * ACTIVATION_BYTES;

    if (env->tensor_parallel_size == 1 || t->profile.reduce.n > 0)
        return; /* nothing to send, or measured: add_ops */
    t->reduce_ns = calls * env->gpu->link_latency_ns;
    t->reduce_row_ns = calls * bytes * 1e9 / env->gpu->link_bytes_per_s;
}

static void add_ops(struct table *t, struct arena *a, const struct model_desc *m)
{
    for (size_t i = 0; i < ARRAY_LEN(once_ops); i++)
        curve_add(&t->once, a, &t->profile.op[once_ops[i].op], once_ops[i].times);
    if (t->profile.reduce.n > 0)
        curve_add(&t->once, a, &t->profile.reduce, 2.0 * m->layers + 1);
    for (size_t i = 0; i < ARRAY_LEN(layer_ops); i++)
        if (has_op(m, layer_ops[i].op))
            curve_add(&t->layer, a, &t->profile.op[layer_ops[i].op], layer_ops[i].times);
    if (t->profile.gather.n > 0)
        curve_add(&t->sequence, a, &t->profile.gather, 1);
    for (size_t i = 0; i < ARRAY_LEN(sequence_ops); i++)
        curve_add(&t->sequence, a, &t->profile.op[sequence_ops[i].op], sequence_ops[i].times);
}

static void *table_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                        struct err *e)
{
    const double shortest[] = {0, 0};
    struct table *t = arena_alloc(a, sizeof(*t));
    bool outside = false;
    int n;

    if (!env->profile) {
        err_set(e, "backend table: there is no profile; give --profile PATH");
        return NULL;
    }
    if (!profile_open(&t->profile, a, env, e) || !check_profile(&t->profile, env, e))
        return NULL;
    add_ops(t, a, env->model);
    open_reduce(t, env);
    t->layers = env->model->layers;
    if (env->model->experts > 0)
        experts_open(&t->experts, a, env->model->experts, env->model->experts_per_token);
    t->experts_share = 1.0 / t->profile.experts_split;
    t->first_prompt_ns = lattice_at(&t->profile.prefill, shortest, &outside);
    t->graph_max = (uint32_t)MIN(512, 2 * (uint64_t)env->limits->max_num_seqs);
    note->error = (double)NAN;
    n = snprintf(note->cost_model, sizeof(note->cost_model),
                 "table %s: measured operators, linear between rows; nothing fitted",
                 t->profile.text);
    CHECK(n < (int)sizeof(note->cost_model), "the note fits", "%d characters", n);
    return t;
}

/* ---- step ---- */

/* Rows that the step's matrix products have: those of the CUDA graph (vLLM captures 1, 2, 4, by 8
 * to 256, by 16 from there on); without one, whole tiles of 16, since a product's time rises in
 * steps: between measured rows of 1280 and 1296 tokens it is all at 1281. */
static uint32_t padded(const struct table *t, uint32_t tokens)
{
    uint32_t step = tokens <= 256 ? 8 : 16, size;

    if (tokens > t->graph_max)
        return MAX(tokens, div_ceil_u32(tokens, TILE_ROWS) * TILE_ROWS);
    if (tokens <= 2)
        return tokens;
    size = tokens <= 4 ? 4 : div_ceil_u32(tokens, step) * step;
    return size <= t->graph_max ? size : tokens;
}

static double prefill_at(const struct table *t, double chunk, double history, bool *outside)
{
    const double key[] = {chunk, history};

    return lattice_at(&t->profile.prefill, key, outside);
}

/* All the batch's prompts without its decodes: each for itself, the call started once. Never more
 * than one prompt as long as all. */
static double prompts_at(const struct table *t, const struct batch *batch, double merged,
                         bool *outside)
{
    double sum = t->first_prompt_ns;
    uint32_t left = batch->shape.n_prefill;

    for (uint32_t i = 0; i < batch->n && left > 0; i++) {
        const struct batch_seq *s = &batch->seq[i];

        if (!s->prefill)
            continue;
        sum += prefill_at(t, s->n_tokens, s->context, outside) - t->first_prompt_ns;
        left--;
    }
    return MIN(sum, merged);
}

/* Attention of the batch's decodes if all had this context, beside its prompts taken as one. */
static double decodes_at(const struct table *t, const struct batch_shape *b, double context,
                         bool *outside)
{
    const double alone[] = {b->n_decode, context};
    const double mixed[] = {b->prefill_tokens, b->n_decode, (double)b->prefill_history_sum,
                            context};

    if (b->n_prefill == 0)
        return lattice_at(&t->profile.decode, alone, outside);
    if (t->profile.mixed.root)
        return lattice_at(&t->profile.mixed, mixed, outside);
    return lattice_at(&t->profile.decode, alone, outside) +
           prefill_at(t, b->prefill_tokens, (double)b->prefill_history_sum, outside);
}

/* How much longer the call takes for its decodes' contexts being unequal. */
static double skew_at(const struct table *t, const struct batch_shape *b, double mean)
{
    double longest = b->decode_context_max;
    const double alone[] = {b->n_decode, longest, mean / longest};
    const double mixed[] = {b->prefill_tokens, b->n_decode, (double)b->prefill_history_sum, longest,
                            mean / longest};
    const struct lattice *l = b->n_prefill > 0 ? &t->profile.skew_mixed : &t->profile.skew_decode;
    bool outside = false; /* its ends hold */

    if (!l->root || mean >= longest)
        return 1;
    return lattice_at(l, b->n_prefill > 0 ? mixed : alone, &outside);
}

static double attention_at(const struct table *t, const struct batch *batch, bool *outside)
{
    const struct batch_shape *b = &batch->shape;
    double mean, ns, merged, prompts;

    if (b->n_decode == 0) {
        merged = prefill_at(t, b->prefill_tokens, (double)b->prefill_history_sum, outside);
        return b->n_prefill > 1 ? prompts_at(t, batch, merged, outside) : merged;
    }
    mean = (double)b->decode_context_sum / b->n_decode;
    ns = decodes_at(t, b, mean, outside) * skew_at(t, b, mean);
    if (b->n_prefill < 2)
        return ns;
    merged = prefill_at(t, b->prefill_tokens, (double)b->prefill_history_sum, outside);
    prompts = prompts_at(t, batch, merged, outside);
    return MAX(ns - (merged - prompts), prompts);
}

static double experts_at(const struct table *t, uint32_t tokens, bool *outside)
{
    const double key[] = {tokens * t->experts_share,
                          experts_hit(&t->experts, tokens) * t->experts_share};

    if (t->profile.moe.n > 0)
        return curve_at(&t->profile.moe, tokens, outside);
    return t->experts.n > 0 ? lattice_at(&t->profile.experts, key, outside) : 0;
}

static double step_ns(const struct table *t, const struct batch *batch, bool *outside)
{
    const struct batch_shape *b = &batch->shape;
    uint32_t tokens = b->decode_tokens + b->prefill_tokens, rows = padded(t, tokens);
    double layer = curve_at(&t->layer, rows, outside) + attention_at(t, batch, outside) +
                   experts_at(t, tokens, outside);
    double ns = curve_at(&t->once, rows, outside) + t->layers * layer +
                curve_at(&t->sequence, b->n_decode + b->n_prefill, outside) + t->reduce_ns +
                rows * t->reduce_row_ns;

    *outside = *outside || t->profile.beyond;
    return MIN(ns, STEP_MAX_NS);
}

/* ---- decodes alone ---- */

static double end_ns(const struct table *t, const struct segment *s, uint32_t longest,
                     bool *outside)
{
    const struct batch batch = {
        .n = s->n,
        .shape = {.n_decode = s->n,
                  .decode_tokens = s->n,
                  .decode_context_max = longest,
                  .decode_context_sum = (uint64_t)s->n * longest - s->lag},
    };

    return step_ns(t, &batch, outside);
}

/* Its ends: breakpoints around `longest`, the lower one left out and not so low that the mean
 * context would be none. */
static void find_ends(struct segment *s, uint32_t longest)
{
    uint32_t spacing = 1, low;

    while (longest > 0 && (longest - 1) >> BREAKPOINT_BITS >= spacing)
        spacing *= 2;
    s->high = div_ceil_u32(longest, spacing) * spacing;
    low = MAX(s->high + 1 - spacing, (uint32_t)((s->lag + s->n - 1) / s->n) + 1);
    s->low = MIN(low, longest);
}

static void table_line(void *self, const struct batch_shape *b, struct decode_line *out)
{
    struct table *t = self;
    uint32_t n = b->n_decode;
    uint32_t mean = (uint32_t)((b->decode_context_sum + n - 1) / n);
    uint32_t longest = MAX(b->decode_context_max, mean);
    struct segment s = {.n = n, .lag = (uint64_t)n * longest - b->decode_context_sum};

    find_ends(&s, longest);
    if (t->last.n != n || t->last.lag != s.lag || t->last.low != s.low || t->last.high != s.high) {
        double low_ns = end_ns(t, &s, s.low, &s.extrapolated);
        double high_ns = end_ns(t, &s, s.high, &s.extrapolated);

        s.base_ns = low_ns;
        s.slope_ns = s.high > s.low ? (high_ns - low_ns) / (s.high - s.low) : 0;
        t->last = s;
    }
    *out = (struct decode_line){.base_ns = t->last.base_ns,
                                .slope_ns = t->last.slope_ns,
                                .x = longest - s.low,
                                .dx = 1,
                                .steps = (uint64_t)(s.high - longest) + 1,
                                .extrapolated = t->last.extrapolated};
}

static bool table_step(void *self, const struct batch *batch, struct step_cost *cost, struct err *e)
{
    struct decode_line line;
    bool outside = false;

    (void)e; /* a look-up cannot fail */
    if (batch->shape.n_prefill > 0) {
        double ns = step_ns(self, batch, &outside);

        *cost = (struct step_cost){.device_ns = ns, .extrapolated = outside};
        return true;
    }
    table_line(self, &batch->shape, &line);
    *cost = (struct step_cost){.device_ns = decode_line_ns(&line, 0),
                               .extrapolated = line.extrapolated};
    return true;
}

static const struct param_desc no_params[] = {{.name = NULL}};

const struct backend_ops backend_table = {
    .name = "table",
    .doc = "measured operators of a profile (--profile), interpolated linearly",
    .source = "step formula of vLLM >= 0.19 (fidelity.md); profiles of LLMServingSim 5daddb2",
    .params = no_params,
    .caps = BACKEND_AFFINE_DECODE,
    .open = table_open,
    .step = table_step,
    .decode_line = table_line,
};
