#include "backend/basis.h"

#include <math.h>
#include <string.h>

static const struct basis_doc docs[] = {
    [BASIS_STEP] = {"step", "step", "weights read once, launches, what the host does", false,
                    false},
    [BASIS_PROMPT_STEP] = {"prompt_step", "step", "steps with prompts: no graph, more launches",
                           false, false},
    [BASIS_TOKENS_BEYOND] = {"tokens_beyond", "step", "steps of more tokens: no graph, a wave more",
                             true, false},
    [BASIS_TOKENS] = {"tokens", "token", "matrix products and elementwise kernels", true, true},
    [BASIS_SEQUENCES] = {"sequences", "sequence", "lm_head, sampler, batch preparation", true,
                         true},
    [BASIS_DECODE_CONTEXT] = {"decode_context", "token", "KV read by decodes", false, false},
    [BASIS_CONTEXT_BEYOND] = {"context_beyond", "token",
                              "KV read by decodes beyond that mean a sequence", true, false},
    [BASIS_MIXED_CONTEXT] = {"mixed_context", "token",
                             "more for KV read by decodes in a step with prompts", false, false},
    [BASIS_MIXED_SEQUENCES] = {"mixed_sequences", "sequence",
                               "more for a decode in a step with prompts", false, false},
    [BASIS_PROMPTS] = {"prompts", "prompt", "a prompt's share in a step", false, false},
    [BASIS_PREFILL_PAIRS] = {"prefill_pairs", "pair", "FLOPs of prompts' attention", false, false},
    [BASIS_PREFILL_HISTORY] = {"prefill_history", "token", "KV read by later chunks of prompts",
                               false, false},
    [BASIS_CONTEXT_PART] = {"context_part", "token",
                            "KV read by decodes: few of them do not fill the GPU", true, true},
    [BASIS_PREFILL_LONGEST] = {"prefill_longest", "token", "KV of the longest prompt, in a row",
                               false, false},
    [BASIS_PREFILL_WORK] = {"prefill_work", "pair",
                            "FLOPs of prompts' attention, or the time of the longest", true, false},
};
_Static_assert(ARRAY_LEN(docs) == N_BASIS_KINDS, "every kind of term is described");

const struct basis_doc *basis_doc(enum basis_kind kind)
{
    return &docs[kind];
}

bool basis_find(const char *name, enum basis_kind *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(docs); i++)
        if (strcmp(docs[i].name, name) == 0) {
            *kind = (enum basis_kind)i;
            return true;
        }
    return false;
}

static double between(double v, double from, double to)
{
    return MAX(MIN(v, to) - from, 0);
}

double basis_value(const struct basis_term *t, const struct batch_shape *s)
{
    double tokens = (double)s->decode_tokens + s->prefill_tokens;
    double context = (double)s->decode_context_sum;
    bool prompts = s->n_prefill > 0;
    switch (t->kind) {
    case BASIS_STEP:
        return 1;
    case BASIS_PROMPT_STEP:
        return prompts;
    case BASIS_TOKENS_BEYOND:
        return tokens > t->from;
    case BASIS_TOKENS:
        return between(tokens, t->from, t->to);
    case BASIS_SEQUENCES:
        return between((double)s->n_decode + s->n_prefill, t->from, t->to);
    case BASIS_DECODE_CONTEXT:
        return context;
    case BASIS_CONTEXT_BEYOND:
        return MAX(context - t->from * s->n_decode, 0);
    case BASIS_MIXED_CONTEXT:
        return prompts ? context : 0;
    case BASIS_MIXED_SEQUENCES:
        return prompts ? s->n_decode : 0;
    case BASIS_PROMPTS:
        return s->n_prefill;
    case BASIS_PREFILL_PAIRS:
        return s->prefill_pairs;
    case BASIS_PREFILL_HISTORY:
        return (double)s->prefill_history_sum;
    case BASIS_CONTEXT_PART:
        return between(context, t->from, t->to);
    case BASIS_PREFILL_LONGEST:
        return s->prefill_context_max;
    case BASIS_PREFILL_WORK:
        return MAX(s->prefill_pairs, t->from * s->prefill_context_max);
    case N_BASIS_KINDS:
        break;
    }
    bug(__FILE__, __LINE__, "basis: a kind of term", "%d", (int)t->kind);
}

struct basis_line basis_line(const struct basis_term *t, const struct batch_shape *s)
{
    const double forever = (double)INFINITY;
    double knee = t->from * s->n_decode, context = (double)s->decode_context_sum;
    switch (t->kind) {
    case BASIS_DECODE_CONTEXT:
        return (struct basis_line){0, 1, forever};
    case BASIS_CONTEXT_BEYOND:
        return context > knee ? (struct basis_line){-knee, 1, forever}
                              : (struct basis_line){0, 0, knee};
    case BASIS_CONTEXT_PART:
        if (context > t->to)
            return (struct basis_line){t->to - t->from, 0, forever};
        return context > t->from ? (struct basis_line){-t->from, 1, t->to}
                                 : (struct basis_line){0, 0, t->from};
    default:
        return (struct basis_line){basis_value(t, s), 0, forever};
    }
}

static const char *const aggregates[] = {
    [AGG_SEQUENCES] = "sequences",           [AGG_DECODE_CONTEXT] = "decode_context",
    [AGG_MEAN_CONTEXT] = "mean_context",     [AGG_PROMPTS] = "prompts",
    [AGG_PREFILL_TOKENS] = "prefill_tokens", [AGG_PREFILL_HISTORY] = "prefill_history",
    [AGG_PREFILL_PAIRS] = "prefill_pairs",
};

const char *aggregate_name(enum aggregate a)
{
    return aggregates[a];
}

double aggregate_value(enum aggregate a, const struct batch_shape *s)
{
    switch (a) {
    case AGG_SEQUENCES:
        return (double)s->n_decode + s->n_prefill;
    case AGG_DECODE_CONTEXT:
        return (double)s->decode_context_sum;
    case AGG_MEAN_CONTEXT:
        return s->n_decode > 0 ? (double)s->decode_context_sum / s->n_decode : 0;
    case AGG_PROMPTS:
        return s->n_prefill;
    case AGG_PREFILL_TOKENS:
        return s->prefill_tokens;
    case AGG_PREFILL_HISTORY:
        return (double)s->prefill_history_sum;
    case AGG_PREFILL_PAIRS:
        return s->prefill_pairs;
    case N_AGGREGATES:
        break;
    }
    bug(__FILE__, __LINE__, "basis: an aggregate", "%d", (int)a);
}
