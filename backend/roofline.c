/* roofline.c: what a step costs by a GPU's peaks and the shares of them that are reached; for what
 * has no profile. Sources: Williams, Waterman, Patterson, "Roofline" (CACM 52(4), 2009) for
 * max(bytes, FLOPs); ../shared/design/fidelity.md for the step's parts.
 *
 *   step = embedding + final norm + lm_head(S) + sampler(S)           S = sequences in the batch
 *        + L * [qkv + o + gate_up + down | router + experts](T)       T = tokens in the batch
 *        + L * [norms, rope, KV write, activation](T) + L * attention + all-reduces
 *   GEMM(T) = ramp + max(weights and activations / bandwidth, FLOPs of (T + half_tokens) / peak)
 *
 * What must hold: the cost depends on the batch's aggregates only; it never falls when one of them
 * grows; it is piecewise linear in each. Breakpoints: where a GEMM's two terms cross; each whole T
 * in a mixture of experts (tabulated at open); where prefill attention's two terms cross; decode
 * only against mixed. A decode-only step is affine in decode_context_sum (BACKEND_AFFINE_DECODE).
 * No libm in step().
 *
 * Departures from reality: sequences of one batch count by their sums (no skew between contexts);
 * graph padding of T is left out; host time is the engine model's.
 *
 * How far off it is: `compared` below (tests/unit/test_roofline_measured.c recomputes it) for
 * Llama-3.1-8B, bf16, one GPU, decode steps of 1 to 256 sequences with 1k or 4k context, prefill of
 * 512 and 2048 tokens. Looked at once beside it, on RTX PRO 6000: Qwen3-32B -8.5 to +3.5 %, mixed
 * steps -12 to +1.6 %; Qwen3-30B-A3B -4 to +6 %, but +47 % for one lone sequence, whose 75 MB of
 * experts the profile finds in L2. */
#include "backend/experts.h"
#include "sim/backend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Fixed device time of a kernel, in units of gpu_desc.kernel_ramp_ns (a GEMM's): elementwise
 * kernels take 2 to 2.7 us where a GEMM takes 4, an attention call 8 to 13 (KV is walked in
 * order, split and merged), the sampler's ten or so kernels 25 (LLMServingSim's dense.csv,
 * attention.csv and per_sequence.csv on RTX PRO 6000 and 4090; aiconfigurator on H200, H100). */
#define ELEMENTWISE_RAMPS 0.5
#define ATTENTION_RAMPS 3.0
#define SAMPLER_RAMPS 6.0

/* Decode rows in a call with prefill rows run in the prefill kernel, where the query heads that
 * share a KV head are not packed into one tile: 1.7 to 3 times the time with 4 of them
 * (fidelity.md; LLMServingSim's attention.csv), more with 8. This is the factor a query head of a
 * group. */
#define MIXED_DECODE_PER_HEAD 0.5

/* Half a tile of keys is computed in vain at the causal diagonal (tiles of 128). */
#define DIAGONAL_WASTE 64.0

#define SAMPLER_PASSES 2.0 /* over float32 logits */
#define FLOAT_BYTES 4.0

/* One GEMM with the weights on this GPU. */
struct gemm {
    double weight_ns;   /* reading the weights */
    double io_ns;       /* a token: reading its inputs, writing its outputs */
    double flop_ns;     /* a token */
    double half_tokens; /* tokens' worth of FLOPs lost to filling the tiles */
};

enum { QKV, O, GATE_UP, DOWN, DENSE_GEMMS };

struct roofline {
    struct gemm dense[DENSE_GEMMS], router, expert_up, expert_down, lm_head;
    double layers, experts_per_token;
    struct experts experts; /* experts.n == 0: dense MLP */
    double ramp_ns, node_ns, launch_ns;
    double small_kernels, gemm_kernels; /* a layer, beside attention */
    double elementwise_ns;              /* a token and layer */
    double token_ns;                    /* a token and step: embedding, final norm */
    double sample_ns;                   /* a sequence */
    double attn_io_ns;                  /* a token: queries in, outputs out */
    double kv_ns;                       /* reading one token's K and V, a layer */
    double decode_ns;                   /* a token of context in decode: bytes or FLOPs */
    double mixed_decode;                /* factor on it beside prefill, >= 1 */
    double pair_ns;                     /* FLOPs of a (query, key) pair in prefill */
    double reduce_ns, reduce_token_ns;  /* all-reduce: latency, a token */
    double gather_ns, gather_seq_ns;    /* logits */
};

/* |roofline / measured - 1| over those whole steps. The efficiencies of the presets come from the
 * same operator tables, so this is the form's error, not a forecast's. Decode comes out short at
 * 16 to 64 sequences (H100: 12 %), prefill of 512 tokens long (RTX 4090: 11 %). */
static const struct comparison {
    const char *gpu, *against;
    double mean, worst;
} compared[] = {
    {"h200", "aiconfigurator h200 tables", 0.043, 0.083},
    {"h100-sxm", "aiconfigurator h100 tables", 0.043, 0.117},
    {"rtxpro6000", "LLMServingSim RTXPRO6000 tables", 0.031, 0.071},
    {"rtx4090", "LLMServingSim RTX4090 tables", 0.047, 0.107},
};

/* ---- open ---- */

struct rates {
    double weight_bytes, act_bytes; /* of a parameter, of an activation */
    double gemm_ns_per_byte, ns_per_byte, ns_per_flop, attn_ns_per_flop;
};

static struct gemm gemm_of(const struct rates *r, double n, double k, double half_tokens)
{
    return (struct gemm){
        .weight_ns = n * k * r->weight_bytes * r->gemm_ns_per_byte,
        .io_ns = (n + k) * r->act_bytes * r->gemm_ns_per_byte,
        .flop_ns = 2 * n * k * r->ns_per_flop,
        .half_tokens = half_tokens,
    };
}

static void open_mlp(struct roofline *r, struct arena *a, const struct backend_env *env,
                     const struct rates *rates)
{
    const struct model_desc *m = env->model;
    double tp = env->tensor_parallel_size, half = env->gpu->half_tokens;
    double width = (m->experts ? m->moe_intermediate : m->intermediate) / tp;

    r->dense[GATE_UP] = gemm_of(rates, 2 * width, m->hidden, half);
    r->dense[DOWN] = gemm_of(rates, m->hidden, width, half);
    if (m->experts == 0)
        return;
    r->expert_up = r->dense[GATE_UP];
    r->expert_down = r->dense[DOWN];
    r->router = gemm_of(rates, m->experts, m->hidden, half);
    r->experts_per_token = m->experts_per_token;
    experts_open(&r->experts, a, m->experts, m->experts_per_token);
}

/* Kernels of a layer and the bytes of those that do no matrix product. */
static void open_elementwise(struct roofline *r, const struct backend_env *env,
                             const struct rates *rates)
{
    const struct model_desc *m = env->model;
    double tp = env->tensor_parallel_size;
    double q = m->heads * m->head_dim / tp;
    double kv = div_ceil_u32(m->kv_heads, env->tensor_parallel_size) * m->head_dim;
    double act = m->experts ? (double)m->experts_per_token * m->moe_intermediate : m->intermediate;
    /* Twice a layer: sum and residual in, both out. Rope: q and k in and out. KV write: k and v in
     * and out. Activation: gate and up in, one out. */
    double elems = 2 * 4 * m->hidden + 2 * (q + kv) + 2 * (kv + kv) + 3 * act / tp;

    r->small_kernels = 5;
    r->gemm_kernels = DENSE_GEMMS;
    if (m->qk_norm) {
        elems += 2 * (q + kv);
        r->small_kernels += 1;
    }
    if (m->experts) { /* router; choose, sort and sum up */
        elems += 2.0 * m->experts_per_token * m->hidden;
        r->gemm_kernels += 1;
        r->small_kernels += 3;
    }
    r->elementwise_ns = elems * rates->act_bytes * rates->ns_per_byte;
    r->token_ns = (2 + 2) * m->hidden * rates->act_bytes * rates->ns_per_byte;
}

static void open_attention(struct roofline *r, const struct backend_env *env,
                           const struct rates *rates)
{
    const struct model_desc *m = env->model;
    double q = (double)m->heads * m->head_dim / env->tensor_parallel_size;
    double kv_bytes = (double)model_kv_bytes_per_token(m, env->tensor_parallel_size) / m->layers;

    r->attn_io_ns = 2 * q * rates->act_bytes * rates->ns_per_byte;
    r->kv_ns = kv_bytes * rates->ns_per_byte;
    r->pair_ns = 4 * q * rates->attn_ns_per_flop; /* q.k and p.v, a multiply and an add each */
    r->decode_ns = MAX(r->kv_ns, r->pair_ns);
    r->mixed_decode = MAX(1.0, MIXED_DECODE_PER_HEAD * m->heads / m->kv_heads);
}

/* fidelity.md: 2L + 1 all-reduces of T * hidden (the embedding is split too), and the logits. */
static void open_links(struct roofline *r, const struct backend_env *env, const struct rates *rates)
{
    const struct model_desc *m = env->model;
    const struct gpu_desc *g = env->gpu;
    double tp = env->tensor_parallel_size, n = 2.0 * m->layers + 1;
    double ns_per_byte = (tp - 1) / tp * 1e9 / g->link_bytes_per_s;

    if (env->tensor_parallel_size == 1)
        return;
    r->reduce_ns = n * g->link_latency_ns;
    r->reduce_token_ns = n * 2 * m->hidden * rates->act_bytes * ns_per_byte;
    r->gather_ns = g->link_latency_ns;
    r->gather_seq_ns = m->vocab * rates->act_bytes * ns_per_byte;
}

static const struct comparison *comparison_of(const char *gpu)
{
    for (size_t i = 0; i < ARRAY_LEN(compared); i++)
        if (strcmp(compared[i].gpu, gpu) == 0)
            return &compared[i];
    return NULL;
}

static void write_note(struct backend_note *note, const struct backend_env *env)
{
    const struct comparison *c = comparison_of(env->gpu->id);
    char error[128] = "never compared with measurements";
    int n;

    note->error = (double)NAN;
    if (c) {
        note->error = c->mean;
        snprintf(error, sizeof(error), "llama-3.1-8b steps against %s: mean %.1f %%, worst %.1f %%",
                 c->against, c->mean * 100, c->worst * 100);
    }
    n = snprintf(note->cost_model, sizeof(note->cost_model),
                 "roofline %.48s %.48s: datasheet peaks with efficiencies; not calibrated; %s",
                 env->gpu->id, env->model->id, error);
    CHECK(n < (int)sizeof(note->cost_model), "the note fits", "%d characters", n);
}

static void *roofline_open(struct arena *a, const struct backend_env *env,
                           struct backend_note *note, struct err *e)
{
    const struct model_desc *m = env->model;
    const struct gpu_desc *g = env->gpu;
    const struct rates rates = {
        .weight_bytes = m->weight_bytes_per_param,
        .act_bytes = 2, /* 16-bit activations */
        .gemm_ns_per_byte = 1e9 / (g->hbm_bytes_per_s * g->gemm_hbm_efficiency),
        .ns_per_byte = 1e9 / (g->hbm_bytes_per_s * g->hbm_efficiency),
        .ns_per_flop = 1e9 / (g->flops_per_s * g->flops_efficiency),
        .attn_ns_per_flop = 1e9 / (g->flops_per_s * g->attn_flops_efficiency),
    };
    uint32_t tp = env->tensor_parallel_size;
    double q, kv;
    struct roofline *r;

    if (tp == 0 || m->heads % tp != 0) {
        err_set(e,
                "roofline: %u attention heads of %s cannot be split over %u GPUs; set "
                "tensor_parallel_size to a divisor of %u",
                m->heads, m->id, tp, m->heads);
        return NULL;
    }
    r = arena_alloc(a, sizeof(*r));
    r->layers = m->layers;
    r->ramp_ns = g->kernel_ramp_ns;
    r->node_ns = g->graph_node_ns;
    r->launch_ns = g->kernel_launch_ns;
    q = m->heads * m->head_dim / tp;
    kv = (double)div_ceil_u32(m->kv_heads, tp) * m->head_dim;
    r->dense[QKV] = gemm_of(&rates, q + 2 * kv, m->hidden, g->half_tokens);
    r->dense[O] = gemm_of(&rates, m->hidden, q, g->half_tokens);
    r->lm_head = gemm_of(&rates, (double)m->vocab / tp, m->hidden, g->half_tokens);
    r->sample_ns = SAMPLER_PASSES * m->vocab * FLOAT_BYTES * rates.ns_per_byte;
    open_mlp(r, a, env, &rates);
    open_elementwise(r, env, &rates);
    open_attention(r, env, &rates);
    open_links(r, env, &rates);
    write_note(note, env);
    return r;
}

/* ---- step ---- */

/* Without the ramp. `copies`: how many such weights are read, for the experts. */
static double gemm_ns(const struct gemm *g, double tokens, double copies)
{
    double memory = g->weight_ns * copies + g->io_ns * tokens;
    double compute = g->flop_ns * (tokens + g->half_tokens * copies);

    return MAX(memory, compute);
}

static double mlp_ns(const struct roofline *r, uint32_t tokens)
{
    double hit, rows = tokens * r->experts_per_token;

    if (r->experts.n == 0)
        return gemm_ns(&r->dense[GATE_UP], tokens, 1) + gemm_ns(&r->dense[DOWN], tokens, 1);
    hit = experts_hit(&r->experts, tokens);
    return gemm_ns(&r->router, tokens, 1) + gemm_ns(&r->expert_up, rows, hit) +
           gemm_ns(&r->expert_down, rows, hit);
}

/* One layer, without the ramp and what decodes read. */
static double attention_ns(const struct roofline *r, const struct batch_shape *b)
{
    double tokens = (double)b->decode_tokens + b->prefill_tokens;
    double pairs = b->prefill_pairs + DIAGONAL_WASTE * b->prefill_tokens;
    double keys = (double)b->prefill_history_sum + b->prefill_tokens;
    double prefill = MAX(pairs * r->pair_ns, keys * r->kv_ns);

    return tokens * r->attn_io_ns + prefill;
}

/* A step's kernels, by their number: a layer's, and embedding, norm, lm_head, sampler. */
static double kernels_of(const struct roofline *r)
{
    return r->layers * (r->small_kernels + r->gemm_kernels + 1) + 4;
}

/* The step as a line over the contexts of its decodes, without a breakpoint. */
static void roofline_line(void *self, const struct batch_shape *b, struct decode_line *out)
{
    const struct roofline *r = self;
    uint32_t tokens = b->decode_tokens + b->prefill_tokens;
    double sequences = (double)b->n_decode + b->n_prefill;
    double ramps_layer = r->small_kernels * ELEMENTWISE_RAMPS + r->gemm_kernels + ATTENTION_RAMPS;
    double ramps = r->layers * ramps_layer + 2 * ELEMENTWISE_RAMPS + 1 + SAMPLER_RAMPS;
    double layer = gemm_ns(&r->dense[QKV], tokens, 1) + gemm_ns(&r->dense[O], tokens, 1) +
                   mlp_ns(r, tokens) + tokens * r->elementwise_ns + attention_ns(r, b);
    double once =
        tokens * r->token_ns + gemm_ns(&r->lm_head, sequences, 1) + sequences * r->sample_ns;
    double links =
        r->reduce_ns + tokens * r->reduce_token_ns + r->gather_ns + sequences * r->gather_seq_ns;

    *out = (struct decode_line){
        .base_ns =
            r->layers * layer + once + links + ramps * r->ramp_ns + kernels_of(r) * r->node_ns,
        .slope_ns = r->layers * r->decode_ns * (b->n_prefill > 0 ? r->mixed_decode : 1),
        .x = b->decode_context_sum,
        .dx = b->n_decode,
        .steps = UINT64_MAX,
    };
}

static bool roofline_step(void *self, const struct batch *batch, struct step_cost *cost,
                          struct err *e)
{
    const struct roofline *r = self;
    struct decode_line line;

    (void)e; /* a formula cannot fail */
    roofline_line(self, &batch->shape, &line);
    *cost = (struct step_cost){.device_ns = decode_line_ns(&line, 0)};
    /* Decode-only steps run as a graph. Others are launched one by one, hidden behind the device's
     * work unless that is shorter. */
    if (batch->shape.n_prefill > 0)
        cost->device_ns = MAX(cost->device_ns, kernels_of(r) * r->launch_ns);
    return true;
}

static const struct param_desc no_params[] = {{.name = NULL}};

const struct backend_ops backend_roofline = {
    .name = "roofline",
    .doc = "peaks of a GPU description times reached shares: for what has no profile",
    .source = "Williams et al. 2009; fidelity.md",
    .params = no_params,
    .caps = BACKEND_AFFINE_DECODE,
    .open = roofline_open,
    .step = roofline_step,
    .decode_line = roofline_line,
};
