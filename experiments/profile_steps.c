#include "experiments/profile_steps.h"

#include <stdio.h>
#include <string.h>

#include "backend/calibrate.h"
#include "backend/describe.h"
#include "backend/registry.h"

#define MAX_SEQS 256u /* vLLM's default: decides up to which size steps run as graphs */
#define MAX_TOKENS 2048u

/* Batches over what is measured; those outside it are left out. */
static const uint32_t decodes[] = {0,  1,  2,  3,  4,   6,   8,   12,  16, 24,
                                   32, 48, 64, 96, 128, 160, 192, 224, 256};
static const uint32_t contexts[] = {16,   64,   128,  256,  384,  512,  768,   1024,
                                    1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384};
static const uint32_t chunks[] = {0,   1,   8,   16,  32,  64,   96,   128,  192,
                                  256, 384, 512, 640, 768, 1024, 1280, 1536, 2048};
static const uint32_t histories[] = {0, 256, 1024, 4096, 8192, 16384};

/* ---- single operators ---- */

/* Judges the terms on rows of one operator. Too few rows to fit: no error is stated. */
static void judge(struct profile_steps *p, const char *name, struct steps_file *rows,
                  const struct profile_query *q)
{
    struct fitted_model fitted;
    struct profile_operator *o = &p->operator[p->n_operators++];
    struct err ignored = {.set = false};
    *o = (struct profile_operator){.name = name};
    calibrate_hold_out(rows->step, rows->n, q->hold_out, q->seed);
    if (rows->n > 0 && calibrate_fit(&fitted, rows->step, rows->n, &ignored))
        o->error = fitted.held_out_all;
    steps_release(rows);
}

/* An operator knows tokens or sequences, not both. */
static void judge_curve(struct profile_steps *p, enum profile_op op, const struct curve *c,
                        const struct profile_query *q)
{
    struct steps_file rows = {.n = 0};
    for (uint32_t i = 0; i < c->n; i++) {
        struct measured_step *m = steps_add(&rows);
        m->device_ns = c->y[i];
        if (op < N_TOKEN_OPS)
            m->shape.decode_tokens = (uint32_t)c->x[i];
        else
            m->shape.n_decode = (uint32_t)c->x[i];
    }
    if (c->n > 0)
        judge(p, profile_op_name(op), &rows, q);
}

/* ---- batches ---- */

struct batches {
    const struct backend_ops *table;
    void *self;
    struct batch_seq seq[MAX_SEQS + 1];
};

struct point {
    uint32_t n_decode, context, chunk, history;
};

static struct batch_shape shape_of(const struct point *p)
{
    double chunk = p->chunk;
    return (struct batch_shape){
        .n_decode = p->n_decode,
        .n_prefill = p->chunk > 0,
        .decode_tokens = p->n_decode,
        .prefill_tokens = p->chunk,
        .decode_context_sum = (uint64_t)p->n_decode * p->context,
        .decode_context_max = p->context,
        .prefill_history_sum = p->history,
        .prefill_pairs = chunk * p->history + chunk * (chunk + 1) / 2,
    };
}

/* Calls `use` for each point that means something. */
static bool each_point(bool (*use)(void *, const struct point *, struct err *), void *self,
                       struct err *e)
{
    for (size_t d = 0; d < ARRAY_LEN(decodes); d++)
        for (size_t c = 0; c < ARRAY_LEN(contexts); c++)
            for (size_t k = 0; k < ARRAY_LEN(chunks); k++)
                for (size_t h = 0; h < ARRAY_LEN(histories); h++) {
                    const struct point p = {decodes[d], contexts[c], chunks[k], histories[h]};
                    bool twice = (p.n_decode == 0 && c > 0) || (p.chunk == 0 && h > 0);
                    uint32_t tokens = p.n_decode + p.chunk;
                    if (!twice && tokens > 0 && tokens <= MAX_TOKENS && !use(self, &p, e))
                        return false;
                }
    return true;
}

struct whole {
    struct batches b;
    struct steps_file *steps;
};

static bool add_whole(void *self, const struct point *p, struct err *e)
{
    struct whole *w = self;
    struct step_cost cost;
    struct batch batch = {.n = p->n_decode + (p->chunk > 0), .seq = w->b.seq, .shape = shape_of(p)};
    for (uint32_t i = 0; i < p->n_decode; i++)
        w->b.seq[i] = (struct batch_seq){.id = i, .n_tokens = 1, .context = p->context - 1};
    if (p->chunk > 0)
        w->b.seq[p->n_decode] = (struct batch_seq){
            .id = p->n_decode, .n_tokens = p->chunk, .context = p->history, .prefill = true};
    if (!w->b.table->step(w->b.self, &batch, &cost, e))
        return false;
    if (!cost.extrapolated) {
        struct measured_step *m = steps_add(w->steps);
        m->shape = batch.shape;
        m->device_ns = cost.device_ns;
    }
    return true;
}

struct attention {
    const struct profile *profile;
    enum regime regime;
    struct steps_file rows;
};

/* Attention knows no sequences beside its decodes: n_prefill stays 0. */
static bool add_attention(void *self, const struct point *p, struct err *e)
{
    struct attention *a = self;
    struct batch_shape s = shape_of(p);
    const double decode[] = {p->n_decode, p->context}, prefill[] = {p->chunk, p->history},
                 mixed[] = {p->chunk, p->n_decode, p->history, p->context};
    bool outside = false;
    double ns = 0;
    (void)e;
    if (regime_of(&s) != a->regime)
        return true;
    if (a->regime == REGIME_DECODE)
        ns = lattice_at(&a->profile->decode, decode, &outside);
    else if (a->regime == REGIME_PREFILL)
        ns = lattice_at(&a->profile->prefill, prefill, &outside);
    else if (a->profile->mixed.root)
        ns = lattice_at(&a->profile->mixed, mixed, &outside);
    if (ns <= 0 || outside)
        return true;
    struct measured_step *m = steps_add(&a->rows);
    m->shape = s;
    m->shape.n_prefill = 0;
    m->device_ns = ns;
    return true;
}

static bool judge_attention(struct profile_steps *p, const struct profile *profile,
                            enum regime regime, const char *name, const struct profile_query *q,
                            struct err *e)
{
    struct attention a = {.profile = profile, .regime = regime};
    bool ok = each_point(add_attention, &a, e);
    if (ok && a.rows.n > 0)
        judge(p, name, &a.rows, q);
    steps_release(&a.rows);
    return ok;
}

/* ---- the profile ---- */

static bool judge_operators(struct profile_steps *p, struct arena *a, const struct profile_query *q,
                            struct err *e)
{
    struct profile profile;
    if (!profile_open(&profile, a,
                      &(struct backend_env){.profile = q->path, .tensor_parallel_size = q->tp}, e))
        return false;
    for (enum profile_op op = 0; op < N_OPS; op++)
        judge_curve(p, op, &profile.op[op], q);
    return judge_attention(p, &profile, REGIME_DECODE, "attention, decode", q, e) &&
           judge_attention(p, &profile, REGIME_PREFILL, "attention, prefill", q, e) &&
           judge_attention(p, &profile, REGIME_MIXED, "attention, mixed", q, e);
}

static bool add_steps(struct steps_file *steps, struct arena *a, const struct profile_query *q,
                      struct err *e)
{
    struct model_desc model;
    struct gpu_desc gpu;
    struct profile_names names;
    struct backend_note note;
    struct params params;
    const struct limits limits = {.max_num_seqs = MAX_SEQS, .max_num_batched_tokens = MAX_TOKENS};
    if (!profile_names(q->path, &names, e) ||
        !describe_model(q->model ? q->model : names.model, &model, e) ||
        !describe_gpu(q->gpu ? q->gpu : names.gpu, &gpu, e))
        return false;
    params_init(&params);
    const struct backend_env env = {.model = &model,
                                    .gpu = &gpu,
                                    .tensor_parallel_size = q->tp,
                                    .limits = &limits,
                                    .params = &params,
                                    .profile = q->path};
    struct whole w = {.b.table = backend_find("table"), .steps = steps};
    w.b.self = w.b.table->open(a, &env, &note, e);
    bool ok = w.b.self && each_point(add_whole, &w, e);
    if (ok && w.b.table->close)
        w.b.table->close(w.b.self);
    params_release(&params);
    snprintf(steps->model, sizeof steps->model, "%s", model.id);
    snprintf(steps->gpu, sizeof steps->gpu, "%s", gpu.id);
    return ok;
}

bool profile_steps_read(struct profile_steps *p, struct steps_file *steps,
                        const struct profile_query *q, struct err *e)
{
    struct arena a;
    *p = (struct profile_steps){.n_operators = 0};
    *steps = (struct steps_file){.n = 0};
    arena_init(&a);
    bool ok = judge_operators(p, &a, q, e) && add_steps(steps, &a, q, e);
    arena_release(&a);
    return ok;
}
