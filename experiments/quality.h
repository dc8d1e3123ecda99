/* quality.h: what a KV policy costs in quality, on a real model (eviction.md section 10): the parts
 * of `tandem quality`. Never timed, never inside a serving run.
 *
 * A *case* is a policy with its budget. A *prompt* is tokens of which the first `prompt` are
 * computed at once, then cut by the policy, and the others are fed one by one: under protocol a the
 * question is among the latter, under b it is in the prompt. */
#ifndef EXPERIMENTS_QUALITY_H
#define EXPERIMENTS_QUALITY_H

#include <jansson.h>

#include "backend/device.h"
#include "backend/model/tokenizer.h"

struct quality_model {
    const char *path;
    struct tokenizer *tokenizer;
    struct weights weights;
    uint32_t threads;
};

struct quality_case {
    const struct kvpolicy_ops *policy;
    const struct kvbudget_ops *budget;
    const struct params *params; /* kv.budget and whatever else is set */
    bool open_loop;
    uint64_t seed; /* of policies that draw */
};

/* ---- quality_engine.c: one sequence at a time on the CPU ---- */

struct quality_engine {
    struct kv_rule rule;
    struct arena arena;
    void *device;
    struct kv_shape shape;
    uint32_t vocab, seen, prompt;
    float *logits; /* [vocab] after the last token fed */
};

bool quality_engine_open(struct quality_engine *q, const struct quality_model *m,
                         const struct quality_case *c, uint32_t max_context,
                         struct err *e) NODISCARD;
void quality_engine_close(struct quality_engine *q);
/* A new sequence, whose prompt has n tokens. */
bool quality_prompt(struct quality_engine *q, const uint32_t *token, uint32_t n,
                    struct err *e) NODISCARD;
bool quality_feed(struct quality_engine *q, uint32_t token, struct err *e) NODISCARD;
double quality_log_sum(const float *logits, uint32_t n); /* ln of the sum of their exponentials */
/* Of the next token, from q->logits: natural logarithm, and the likeliest one. */
double quality_log_p(const struct quality_engine *q, uint32_t token);
uint32_t quality_top(const struct quality_engine *q);
/* Tokens a layer and head holds now on average; and reads in a step. */
double quality_resident(const struct quality_engine *q);
double quality_read(struct quality_engine *q);

/* ---- quality_text.c: prompts ---- */

struct quality_prompt {
    struct tokens tokens;
    uint32_t prompt;                /* of them, computed at once */
    uint32_t scored;                /* from here on they are scored */
    struct tokens needle;           /* passkey: its digits, as they are to be answered */
    uint32_t needle_at, needle_end; /* where in the context it lies */
    double depth;                   /* of the needle, 0..1 of the context; NaN: there is none */
    char key[8];
};

/* Exactly `length` tokens of context, the needle at `depth` of it; `draw` seeds key and tokens. */
bool quality_passkey(const struct quality_model *m, uint32_t length, double depth, uint64_t draw,
                     char protocol, struct quality_prompt *out, struct err *e) NODISCARD;
bool quality_copy(const struct quality_model *m, uint32_t length, double depth, uint64_t draw,
                  char protocol, struct quality_prompt *out, struct err *e) NODISCARD;
/* `length` tokens of the text from a place on, and as many as are scored behind them. */
bool quality_excerpt(const struct tokens *text, uint32_t length, uint32_t n_scored, uint32_t index,
                     uint32_t n_prompts, struct quality_prompt *out, struct err *e) NODISCARD;
void quality_prompt_release(struct quality_prompt *p);
/* The tokens of a file; release with mem_free(id). */
bool quality_read_text(const struct quality_model *m, const char *path, struct tokens *out,
                       struct err *e) NODISCARD;

/* ---- quality_rows.c: figures and where they go ---- */

struct quality_figure {
    const char *task, *metric;
    char protocol; /* 0: none */
    uint32_t length;
    double depth;        /* NaN: over all */
    int32_t layer, head; /* -1: over all */
    double value, low, high;
    uint64_t n;
};

struct quality_label { /* of all figures of a case and length */
    const char *model, *policy, *params;
    double resident, read;
};

struct quality_sink; /* rows in a database, each stored as it comes, and in memory */
struct quality_sink *quality_sink_open(const char *db, struct err *e) NODISCARD;
/* All that was added, an array of objects with the table's columns; the sink's. */
const json_t *quality_sink_rows(const struct quality_sink *s);
bool quality_sink_add(struct quality_sink *s, const struct quality_label *l,
                      const struct quality_figure *f, struct err *e) NODISCARD;
bool quality_sink_close(struct quality_sink *s, struct err *e) NODISCARD; /* NULL is fine */

/* Wilson's 95 % interval of a share of n. */
void quality_wilson(double share, uint64_t n, double *low, double *high);
/* Mean and its 95 % interval by Student's t; of one sample, the interval is the number line. */
void quality_mean(const double *x, uint64_t n, double *mean, double *low, double *high);

/* ---- quality_tasks.c ---- */

struct quality_plan {
    const struct quality_model *model;
    const char *task; /* passkey copy ppl recall */
    char protocol;
    uint32_t length, n_prompts, n_scored;
    uint64_t seed;
    const struct tokens *text; /* ppl, recall */
};

/* What full attention gave where ppl is scored: a plan's first case is full, and fills it. */
struct quality_reference {
    float *logits; /* [n_prompts][n_scored][vocab] */
    double *nll;   /* [n_prompts] */
};

/* Runs one case on the prompts of a plan. `params` describes it, as JSON. */
bool quality_run(const struct quality_plan *p, const struct quality_case *c, const char *params,
                 struct quality_reference *ref, struct quality_sink *sink, struct err *e) NODISCARD;
void quality_reference_release(struct quality_reference *ref);

/* ---- quality_heads.c ---- */

/* How much each KV head looks back, [layers * kv_heads], on the plan's passkey prompts; `method`:
 *   r  how often a query head of it looks most at the very token of the needle that comes next (Wu
 *      et al. 2024, arXiv 2404.15574), mean over its query heads, per token of the needle
 *   o  what the layer's output loses, by the size of W_o, when it keeps what `c`, streaming, keeps
 *      (eviction.md 5.1)
 *   a  what the log p of the keys loses when that head alone keeps 4 and the last kv.budget tokens:
 *      exact, and a pass over all prompts for each head */
bool quality_heads(const struct quality_plan *p, const struct quality_case *c, char method,
                   double *value, struct err *e) NODISCARD;

#endif
