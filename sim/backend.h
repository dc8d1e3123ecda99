/* backend.h: the interface of what carries out a step: a cost model says how long it takes
 * (simulate), kernels run and are timed (execute), or an earlier run's durations come back
 * (replay). One backend object a replica. The engine forms the batch, checks it, and adds what the
 * engine model says of the host (sim/engine_model.h). */
#ifndef SIM_BACKEND_H
#define SIM_BACKEND_H

#include "sim/arena.h"
#include "sim/limits.h"
#include "sim/model.h"
#include "sim/params.h"
#include "sim/request.h"

struct batch_seq {
    req_id id;
    uint32_t n_tokens; /* computed in this step */
    uint32_t context;  /* tokens resident before it */
    bool prefill;      /* a chunk of a prompt (or of a recomputation) */
    bool emits;        /* reaches its end: one output token */
};

/* Aggregates of a batch: all that a cost model may depend on in the event path, except that it may
 * look at the prompts of `batch.seq` one by one: what decodes only never needs it. */
struct batch_shape {
    uint32_t n_decode, n_prefill; /* sequences */
    uint32_t decode_tokens, prefill_tokens;
    uint64_t decode_context_sum; /* tokens each decode reads, its own included */
    uint32_t decode_context_max;
    uint64_t prefill_history_sum; /* context before the chunk, summed over prompts */
    double prefill_pairs;         /* sum of chunk * history + chunk * (chunk + 1) / 2 */
    uint32_t prefill_context_max; /* chunk and all before it, of the longest; 0: not known */
};

/* Adds a prompt's chunk of n tokens behind `context` others. */
static inline void batch_shape_prompt(struct batch_shape *s, uint32_t context, uint32_t n)
{
    s->n_prefill++;
    s->prefill_tokens += n;
    s->prefill_history_sum += context;
    s->prefill_pairs += (double)n * (double)context + (double)n * ((double)n + 1.0) / 2.0;
    s->prefill_context_max = MAX(s->prefill_context_max, context + n);
}

struct batch {
    uint64_t step; /* the replica's own count */
    uint32_t n;
    const struct batch_seq *seq;
    struct batch_shape shape;
};

struct step_cost {
    double device_ns;
    ns_t wall_ns;      /* BACKEND_MEASURED: from the call to the tokens being visible, host time and
                          all; else 0: the engine model knows what the host adds */
    ns_t start_at;     /* replay: when the step began; 0: when it was asked for */
    bool extrapolated; /* outside the calibrated range */
};

/* What decode-only steps take that follow one another with the same sequences, each of which reads
 * one token more than in the step before. The i-th from the batch asked about on, i < steps, takes
 * decode_line_ns(line, i): the very double that step() says of it, since step() goes the same way
 * (base and slope are the same wherever on the line it starts). */
struct decode_line {
    double base_ns, slope_ns; /* device time; of one x */
    uint64_t x, dx;           /* at i = 0; more each step */
    uint64_t steps;           /* >= 1: behind them is a breakpoint; UINT64_MAX: there is none */
    bool extrapolated;        /* all of them, or none */
};

/* An engine's clock holds 292 years; no step takes longer than a quarter of that, however far
 * outside what was measured it lies. */
#define STEP_MAX_NS 0x1p61

static inline double decode_line_ns(const struct decode_line *l, uint64_t i)
{
    double ns = l->base_ns + l->slope_ns * (double)(l->x + l->dx * i);
    return MIN(ns, STEP_MAX_NS);
}

/* ---- real KV ---- */

struct content; /* sim/content.h */
struct key_run;

/* What the core tells a backend that holds real KV: whose tokens are in which block. The core
 * counts, the backend numbers: as long as it takes a block where the core counts one, it never
 * lacks any. A request's blocks are, from its first token on, some of the prefix cache's and some
 * of its own; those of the cache are known by the keys of all blocks up to them. Of requests that
 * wait and were never attached since, `release` and `forget_host` tell nothing new. */
struct kv_events {
    /* It is admitted, again or for the first time: its first `blocks` blocks are those that the
     * cache has of its keys. `content` is valid until it leaves for good. */
    void (*attach)(void *, req_id, const struct content *, uint32_t blocks);
    /* Its first `blocks` blocks, all full when the batch being formed is done, join the cache.
     * Where the cache has one of these keys, its own one stays its own. A batch may read what it
     * computes itself. */
    void (*publish)(void *, req_id, uint32_t blocks);
    /* The last `blocks` blocks of the path of these keys leave the cache and are free. */
    void (*evict)(void *, const struct key_run *path, size_t n_runs, uint32_t blocks);
    /* It gives up all its blocks: its own are free, the cache's stay there. */
    void (*release)(void *, req_id);
    /* Its copy on the host is not needed any more. */
    void (*forget_host)(void *, req_id);
};

/* Blocks [first, first + n) of a request move to the host, or back from where they lie there. */
struct swap {
    uint64_t number; /* the replica's own count, from 0 */
    req_id id;
    uint64_t seq;
    bool out;
    uint32_t first, n; /* n > 0 */
    ns_t submitted_at;
};

/* One step and one swap of an earlier run (backend replay). */
struct recorded_step {
    ns_t start_at, duration_ns;
    double device_ns;
    uint32_t n_decode, n_prefill, decode_tokens, prefill_tokens;
    uint64_t context_tokens;
};

struct recorded_swap {
    uint64_t seq;
    bool out;
    ns_t submitted_at, done_at; /* done_at NS_NEVER: it was still under way at the end */
};

struct recording { /* of one replica: in order */
    const struct recorded_step *step;
    const struct recorded_swap *swap;
    size_t n_steps, n_swaps;
    const char *cost_model; /* what the run said of its times */
};

struct backend_env {
    const struct model_desc *model;
    const struct gpu_desc *gpu;
    uint32_t tensor_parallel_size;
    const struct limits *limits;
    const struct params *params;
    const char *profile;               /* path, NULL: none */
    const char *dtype;                 /* of weights: bfloat16 (NULL, too), fp8, fp8_block */
    const char *weights;               /* file of the real engines; NULL: random ones */
    const struct recording *recording; /* what replay plays back; NULL: nothing */
    uint64_t seed;                     /* of the run */
};

/* Where the numbers come from; stored with every run. */
struct backend_note {
    char cost_model[256];
    double error; /* calibration error, a share; NaN: not calibrated against anything */
};

enum backend_caps {
    BACKEND_MEASURED = 1u << 0,
    BACKEND_AFFINE_DECODE = 1u << 1,
    BACKEND_EXECUTES =
        1u << 2, /* steps run for real: one batch at a time, the clock may be paced */
};

struct backend_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t caps;
    void *(*open)(struct arena *, const struct backend_env *, struct backend_note *, struct err *);
    /* Without BACKEND_MEASURED what a step costs depends on the batch alone, so that batches are
     * also made up to ask what they would cost (price.c). */
    bool (*step)(void *, const struct batch *, struct step_cost *, struct err *);
    /* Of a batch without prompts. There exactly with BACKEND_AFFINE_DECODE. */
    void (*decode_line)(void *, const struct batch_shape *, struct decode_line *);
    const struct kv_events *kv; /* NULL: it holds no KV */
    /* Starts a swap beside the steps. *done_at: when it will be done; NS_NEVER: `swaps_done` will
     * tell. [the link of the simulated GPU says] */
    bool (*swap)(void *, const struct swap *, ns_t *done_at, struct err *);
    /* How many swaps are done; they are done in order of number. With `wait`, returns only when
     * more than `seen` are. There where `swap` leaves *done_at open. */
    bool (*swaps_done)(void *, uint64_t seen, bool wait, uint64_t *done, struct err *);
    void (*close)(void *); /* [nothing] */
};

/* KV blocks that fit, as vLLM counts them: memory * utilisation - weights - activations - reserve.
 * 0 and err when the weights alone do not fit. */
uint64_t backend_kv_blocks(const struct model_desc *m, const struct gpu_desc *g, uint32_t tp,
                           double gpu_memory_utilization, const struct limits *l, struct err *e);

#endif
