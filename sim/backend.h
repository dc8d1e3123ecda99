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
};

struct batch {
    uint64_t step; /* the replica's own count */
    uint32_t n;
    const struct batch_seq *seq;
    struct batch_shape shape;
};

struct step_cost {
    double device_ns;
    double host_ns;    /* measured host time; 0 in simulation: the engine model knows it */
    bool extrapolated; /* outside the calibrated range */
};

struct backend_env {
    const struct model_desc *model;
    const struct gpu_desc *gpu;
    uint32_t tensor_parallel_size;
    const struct limits *limits;
    const struct params *params;
    const char *profile; /* path, NULL: none */
    const char *dtype;   /* of weights: bfloat16 (NULL, too), fp8, fp8_block */
};

/* Where the numbers come from; stored with every run. */
struct backend_note {
    char cost_model[256];
    double error; /* calibration error, a share; NaN: not calibrated against anything */
};

enum backend_caps { BACKEND_MEASURED = 1u << 0, BACKEND_AFFINE_DECODE = 1u << 1 };

struct backend_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t caps;
    void *(*open)(struct arena *, const struct backend_env *, struct backend_note *, struct err *);
    bool (*step)(void *, const struct batch *, struct step_cost *, struct err *);
    void (*close)(void *); /* [nothing] */
};

/* KV blocks that fit, as vLLM counts them: memory * utilisation - weights - activations - reserve.
 * 0 and err when the weights alone do not fit. */
uint64_t backend_kv_blocks(const struct model_desc *m, const struct gpu_desc *g, uint32_t tp,
                           double gpu_memory_utilization, const struct limits *l, struct err *e);

#endif
