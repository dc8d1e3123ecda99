/* quality_tasks.c: a case on a plan's prompts: what is fed, and what is scored. Intervals are over
 * prompts: tokens of one prompt depend on each other. */
#include <math.h>
#include <string.h>

#include "experiments/quality.h"

#define MAX_METRICS 4u

/* Of one case and plan: a figure a prompt for each metric. */
struct scores {
    const char *name[MAX_METRICS];
    double *value[MAX_METRICS]; /* [n_prompts] */
    double *depth;              /* [n_prompts] */
    double resident, read;      /* sums over prompts */
};

struct run {
    const struct quality_plan *plan;
    const struct quality_case *c;
    struct quality_reference *ref;
    struct quality_engine engine;
    struct scores scores;
    double *by_layer; /* recall: [layers], sum over prompts */
    bool is_full;
};

/* ---- prompts ---- */

static bool make_prompt(const struct quality_plan *p, uint32_t i, struct quality_prompt *out,
                        struct err *e)
{
    double depth = (i + 0.5) / p->n_prompts;
    if (strcmp(p->task, "passkey") == 0)
        return quality_passkey(p->model, p->length, depth, p->seed + i, p->protocol, out, e);
    if (strcmp(p->task, "copy") == 0)
        return quality_copy(p->model, p->length, depth, p->seed + i, p->protocol, out, e);
    return quality_excerpt(p->text, p->length, p->n_scored, i, p->n_prompts, out, e);
}

/* Computes the prompt and feeds what follows it up to what is scored. */
static bool feed_context(struct run *r, const struct quality_prompt *q, struct err *e)
{
    if (!quality_prompt(&r->engine, q->tokens.id, q->prompt, e))
        return false;
    for (uint32_t i = q->prompt; i < q->scored; i++)
        if (!quality_feed(&r->engine, q->tokens.id[i], e))
            return false;
    return true;
}

/* Feeds n tokens, each scored before: the sum of their log p, and how many were the likeliest. */
static bool feed_scored(struct run *r, const uint32_t *token, size_t n, double *log_p,
                        uint32_t *top, struct err *e)
{
    *log_p = 0;
    *top = 0;
    for (size_t i = 0; i < n; i++) {
        *log_p += quality_log_p(&r->engine, token[i]);
        *top += quality_top(&r->engine) == token[i];
        if (!quality_feed(&r->engine, token[i], e))
            return false;
    }
    return true;
}

/* ---- tasks ---- */

/* Greedy decoding gives the key exactly if each of its tokens is the likeliest behind those before
 * it. */
static bool passkey(struct run *r, uint32_t i, const struct quality_prompt *q, struct err *e)
{
    double log_p;
    uint32_t top;
    if (!feed_context(r, q, e) || !feed_scored(r, q->needle.id, q->needle.n, &log_p, &top, e))
        return false;
    r->scores.value[0][i] = top == q->needle.n;
    r->scores.value[1][i] = log_p / (double)q->needle.n;
    return true;
}

static bool copy(struct run *r, uint32_t i, const struct quality_prompt *q, struct err *e)
{
    size_t n = q->tokens.n - q->scored;
    double log_p;
    uint32_t top;
    if (!feed_context(r, q, e) || !feed_scored(r, q->tokens.id + q->scored, n, &log_p, &top, e))
        return false;
    r->scores.value[0][i] = (double)top / (double)n;
    r->scores.value[1][i] = log_p / (double)n;
    return true;
}

/* KL of `other` from full, both logits. */
static double divergence(const float *full, const float *other, uint32_t vocab)
{
    double all = quality_log_sum(full, vocab), kl = 0;
    double shift = all - quality_log_sum(other, vocab);
    for (uint32_t i = 0; i < vocab; i++)
        kl += exp((double)full[i] - all) * ((double)full[i] - (double)other[i] - shift);
    return kl;
}

/* What the engine says now against what full attention said there. */
static void compare(struct run *r, uint32_t i, uint32_t at)
{
    uint32_t vocab = r->engine.vocab, top = 0;
    float *full = r->ref->logits + ((size_t)i * r->plan->n_scored + at) * vocab;
    if (r->is_full)
        memcpy(full, r->engine.logits, vocab * sizeof(*full));
    for (uint32_t k = 1; k < vocab; k++)
        if (full[k] > full[top])
            top = k;
    r->scores.value[2][i] += divergence(full, r->engine.logits, vocab) / r->plan->n_scored;
    r->scores.value[3][i] += (double)(quality_top(&r->engine) == top) / r->plan->n_scored;
}

static bool perplexity(struct run *r, uint32_t i, const struct quality_prompt *q, struct err *e)
{
    uint32_t n = r->plan->n_scored;
    double nll = 0;
    if (!feed_context(r, q, e))
        return false;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t token = q->tokens.id[q->scored + k];
        compare(r, i, k);
        nll -= quality_log_p(&r->engine, token) / n;
        if (k + 1 < n && !quality_feed(&r->engine, token, e))
            return false;
    }
    if (r->is_full)
        r->ref->nll[i] = nll;
    r->scores.value[0][i] = nll;
    r->scores.value[1][i] = nll - r->ref->nll[i];
    return true;
}

/* Open loop: full attention goes on, the policy is held against it. Skipped layers count, too. */
static bool recall(struct run *r, uint32_t i, const struct quality_prompt *q, struct err *e)
{
    const struct kv_shape *s = &r->engine.shape;
    uint32_t heads = s->layers * s->kv_heads;
    double error = 0, norm = 0, best = 0, mean = 0, top = 0, read = 0;
    if (!feed_context(r, q, e))
        return false;
    for (uint32_t k = 0; k < r->plan->n_scored; k++)
        if (!quality_feed(&r->engine, q->tokens.id[q->scored + k], e))
            return false;
    for (uint32_t h = 0; h < heads; h++) {
        struct kv_look look;
        device_cpu.kv_look(r->engine.device, 0, h / s->kv_heads, h % s->kv_heads, &look);
        double rows = (double)look.measure.rows;
        mean += look.measure.recall / rows / heads;
        best += look.measure.best_recall / rows / heads;
        top += look.measure.top10 / rows / heads;
        read += look.measure.read / rows / heads;
        error += look.measure.error;
        norm += look.measure.norm;
        r->by_layer[h / s->kv_heads] += look.measure.recall / rows / s->kv_heads;
    }
    r->scores.value[0][i] = mean;
    r->scores.value[1][i] = mean / best;
    r->scores.value[2][i] = top;
    r->scores.value[3][i] = sqrt(error / norm);
    r->scores.read += read;
    return true;
}

static const struct task {
    const char *name;
    bool (*run)(struct run *, uint32_t i, const struct quality_prompt *, struct err *);
    const char *metric[MAX_METRICS];
    bool share; /* the first metric is 0 or 1 a prompt */
} tasks[] = {
    {"passkey", passkey, {"accuracy", "log_p"}, true},
    {"copy", copy, {"top1", "log_p"}, false},
    {"ppl", perplexity, {"nll", "nll_delta", "kl", "top1_agreement"}, false},
    {"recall", recall, {"recall", "recall_of_best", "recall_top10", "output_error"}, false},
};

/* ---- figures ---- */

static bool add_figures(const struct run *r, const struct task *t, const struct quality_label *l,
                        struct quality_sink *sink, struct err *e)
{
    const struct quality_plan *p = r->plan;
    struct quality_figure f = {.task = p->task,
                               .protocol = r->scores.depth[0] >= 0 ? p->protocol : '\0',
                               .length = p->length,
                               .layer = -1,
                               .head = -1,
                               .n = p->n_prompts};
    for (uint32_t k = 0; k < MAX_METRICS && t->metric[k]; k++) {
        f.metric = t->metric[k];
        f.depth = (double)NAN;
        quality_mean(r->scores.value[k], p->n_prompts, &f.value, &f.low, &f.high);
        if (t->share && k == 0)
            quality_wilson(f.value, p->n_prompts, &f.low, &f.high);
        if (!quality_sink_add(sink, l, &f, e))
            return false;
    }
    f.n = 1;
    f.low = f.high = (double)NAN;
    for (uint32_t i = 0; i < p->n_prompts && f.protocol; i++) { /* by depth: log_p */
        f.depth = r->scores.depth[i];
        f.value = r->scores.value[1][i];
        if (!quality_sink_add(sink, l, &f, e))
            return false;
    }
    f.metric = t->metric[0];
    f.depth = (double)NAN;
    f.n = p->n_prompts;
    for (uint32_t k = 0; t->run == recall && k < r->engine.shape.layers; k++) {
        f.layer = (int32_t)k;
        f.value = r->by_layer[k] / p->n_prompts;
        if (!quality_sink_add(sink, l, &f, e))
            return false;
    }
    return true;
}

/* ---- a case ---- */

static bool run_prompts(struct run *r, const struct task *t, struct err *e)
{
    for (uint32_t i = 0; i < r->plan->n_prompts; i++) {
        struct quality_prompt q;
        bool ok = make_prompt(r->plan, i, &q, e) && t->run(r, i, &q, e);
        r->scores.depth[i] = q.depth;
        quality_prompt_release(&q);
        if (!ok)
            return false;
        r->scores.resident += quality_resident(&r->engine);
        if (t->run != recall)
            r->scores.read += quality_read(&r->engine);
    }
    return true;
}

static void reference_open(const struct quality_plan *p, uint32_t vocab,
                           struct quality_reference *ref)
{
    size_t n = (size_t)p->n_prompts * p->n_scored;
    ref->logits = mem_alloc(n * vocab * sizeof(*ref->logits));
    ref->nll = mem_alloc(p->n_prompts * sizeof(*ref->nll));
}

void quality_reference_release(struct quality_reference *ref)
{
    mem_free(ref->logits);
    mem_free(ref->nll);
    *ref = (struct quality_reference){0};
}

static const struct task *find_task(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}

bool quality_run(const struct quality_plan *p, const struct quality_case *c, const char *params,
                 struct quality_reference *ref, struct quality_sink *sink, struct err *e)
{
    const struct task *t = find_task(p->task);
    struct quality_case mine = *c;
    struct run r = {.plan = p, .c = &mine, .ref = ref, .is_full = c->policy->lossless};
    CHECK(t != NULL, "quality: a task is one of its tasks", "%s", p->task);
    mine.open_loop = t->run == recall;
    for (uint32_t k = 0; k < MAX_METRICS; k++)
        r.scores.value[k] = mem_alloc(p->n_prompts * sizeof(*r.scores.value[k]));
    r.scores.depth = mem_alloc(p->n_prompts * sizeof(*r.scores.depth));
    r.by_layer = mem_alloc(p->model->weights.arch.layers * sizeof(*r.by_layer));
    bool ok = quality_engine_open(&r.engine, p->model, &mine, p->length + p->n_scored + 64, e);
    if (ok && t->run == perplexity && ref->logits == NULL)
        reference_open(p, r.engine.vocab, ref);
    ok = ok && run_prompts(&r, t, e);
    struct quality_label l = {.model = p->model->path,
                              .policy = c->policy->name,
                              .params = params,
                              .resident = r.scores.resident / p->n_prompts,
                              .read = r.scores.read / p->n_prompts};
    ok = ok && add_figures(&r, t, &l, sink, e);
    quality_engine_close(&r.engine);
    for (uint32_t k = 0; k < MAX_METRICS; k++)
        mem_free(r.scores.value[k]);
    mem_free(r.scores.depth);
    mem_free(r.by_layer);
    return ok;
}
