/* basis.h: what a fitted cost model adds up: a few physical terms of the batch's aggregates, each
 * times a coefficient in ns. Every term is piecewise linear in the aggregates, with its breakpoints
 * (`from`, `to`) declared in the term, and never falls when one grows. No libm. */
#ifndef BACKEND_BASIS_H
#define BACKEND_BASIS_H

#include "sim/backend.h"

enum basis_kind {
    BASIS_STEP,            /* 1: what every step costs, weights read once, launches */
    BASIS_PROMPT_STEP,     /* 1 with a prompt: no CUDA graph, the launches of its attention */
    BASIS_TOKENS_BEYOND,   /* 1 with more than `from` tokens: no CUDA graph, one more wave */
    BASIS_TOKENS,          /* GEMMs; the part of the count between `from` and `to` */
    BASIS_SEQUENCES,       /* lm_head, sampler; between `from` and `to` */
    BASIS_DECODE_CONTEXT,  /* KV bytes read by decodes; tokens */
    BASIS_CONTEXT_BEYOND,  /* of them, what lies above a mean of `from` tokens a sequence */
    BASIS_MIXED_CONTEXT,   /* decode_context where prompts are computed in the same step */
    BASIS_MIXED_SEQUENCES, /* decoding sequences in such a step */
    BASIS_PROMPTS,         /* prompts that compute a chunk */
    BASIS_PREFILL_PAIRS,   /* FLOPs of their attention; (query, key) pairs */
    BASIS_PREFILL_HISTORY, /* KV bytes it reads; tokens computed before */
    BASIS_CONTEXT_PART,    /* decode_context, the part of the sum between `from` and `to` */
    BASIS_PREFILL_LONGEST, /* tokens of the longest prompt, up to its chunk's end: one block of
                              threads goes through them all */
    BASIS_PREFILL_WORK,    /* prefill_pairs, and at least `from` a token of the longest prompt: as
                              many as the GPU would compute meanwhile if it were full */
    N_BASIS_KINDS
};

struct basis_term {
    enum basis_kind kind;
    double from, to; /* 0 and infinity where they mean nothing */
};

struct basis_doc {
    const char *name, *unit, *doc;
    bool has_from, has_to;
};

const struct basis_doc *basis_doc(enum basis_kind kind);
bool basis_find(const char *name, enum basis_kind *kind);
double basis_value(const struct basis_term *t, const struct batch_shape *s);

/* A term of a batch without prompts, as its decodes' context grows from what it is:
 * base + slope * decode_context_sum, up to the sum `until`. */
struct basis_line {
    double base, slope; /* slope 0 or 1 */
    double until;       /* INFINITY: no breakpoint ahead */
};
struct basis_line basis_line(const struct basis_term *t, const struct batch_shape *s);

/* What a calibrated range is stated of. */
enum aggregate {
    AGG_SEQUENCES,
    AGG_DECODE_CONTEXT, /* tokens, of all decodes */
    AGG_MEAN_CONTEXT,   /* tokens a decode */
    AGG_PROMPTS,
    AGG_PREFILL_TOKENS,
    AGG_PREFILL_HISTORY,
    AGG_PREFILL_PAIRS,
    N_AGGREGATES
};

const char *aggregate_name(enum aggregate a);
double aggregate_value(enum aggregate a, const struct batch_shape *s);

#endif
