/* forward.c: one pass of the decoder over a batch of sequences' new tokens. */
#include "backend/cpu/ops/real.h"

#include "backend/model/float16.h"

struct pass {
    struct cpu *c;
    const struct forward *f;
    const struct kv_pass *kv; /* NULL: whole blocks */
    uint32_t layer;
};

static REAL *row(void *buffer, uint32_t i, uint32_t cols)
{
    return (REAL *)buffer + (size_t)i * cols;
}

static REAL weight_at(const struct weights *w, const void *data, size_t i)
{
    if (w->dtype == WEIGHT_BF16)
        return (REAL)bf16_to_float(((const uint16_t *)data)[i]);
    return (REAL)((const float *)data)[i];
}

/* ---- before and after the layers ---- */

void NAME(norm_factors)(struct cpu *c)
{
    const struct weights *w = &c->weights;
    uint32_t layers = w->arch.layers, hidden = w->arch.hidden;

    for (uint32_t n = 0; n < 2 * layers + 1; n++) {
        const void *data = n == 2 * layers ? w->final_norm
                           : n % 2         ? w->layer[n / 2][LAYER_FFN_NORM]
                                           : w->layer[n / 2][LAYER_ATTN_NORM];

        for (uint32_t i = 0; i < hidden; i++)
            row(c->buf.norms, n, hidden)[i] = weight_at(w, data, i);
    }
}

/* Where each token stands, what RoPE turns it by, and its embedding. */
static void place_tokens(struct cpu *c, const struct forward *f)
{
    const struct arch *a = &c->weights.arch;
    uint32_t half = a->head_dim / 2;

    for (uint32_t s = 0; s < f->n_seqs; s++) {
        for (uint32_t t = f->q_start[s]; t < f->q_start[s + 1]; t++) {
            c->buf.seq[t] = s;
            c->buf.position[t] = f->context[s] + t - f->q_start[s];
        }
    }
    for (uint32_t t = 0; t < f->n_tokens; t++) {
        for (uint32_t i = 0; i < half; i++) {
            double angle = c->buf.position[t] * c->rope_frequency[i];

            row(c->buf.cosine, t, half)[i] = (REAL)cos(angle);
            row(c->buf.sine, t, half)[i] = (REAL)sin(angle);
        }
        for (uint32_t i = 0; i < a->hidden; i++)
            row(c->buf.x, t, a->hidden)[i] =
                weight_at(&c->weights, c->weights.embedding, (size_t)f->token[t] * a->hidden + i);
    }
}

/* Largest element, the first of equals. */
static uint32_t argmax(const REAL *x, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static void emit(struct cpu *c, const struct forward *f, struct forward_result *r)
{
    const struct arch *a = &c->weights.arch;
    struct matrix head = {c->weights.lm_head, a->vocab, c->buf.logits};
    uint32_t n = 0;

    for (uint32_t s = 0; s < f->n_seqs; s++)
        if (f->emits[s])
            NAME(rmsnorm)
    (row(c->buf.normed, n++, a->hidden), row(c->buf.x, f->q_start[s + 1] - 1, a->hidden),
     row(c->buf.norms, 2 * a->layers, a->hidden), a->hidden, a->rms_eps);
    NAME(matmul)(c, &head, 1, c->buf.normed, n, a->hidden, false);
    n = 0;
    for (uint32_t s = 0; s < f->n_seqs; s++) {
        const REAL *logits = row(c->buf.logits, n, a->vocab);

        r->next_token[s] = f->emits[s] ? argmax(logits, a->vocab) : UINT32_MAX;
        if (!f->emits[s])
            continue;
        for (uint32_t i = 0; r->logits && i < a->vocab; i++)
            r->logits[(size_t)n * a->vocab + i] = (float)logits[i];
        n++;
    }
}

/* ---- a layer; items of the pool are tokens ---- */

static void normalise(const struct pass *p, uint32_t token, uint32_t norm)
{
    struct cpu_buffers *b = &p->c->buf;
    const struct arch *a = &p->c->weights.arch;

    NAME(rmsnorm)
    (row(b->normed, token, a->hidden), row(b->x, token, a->hidden), row(b->norms, norm, a->hidden),
     a->hidden, a->rms_eps);
}

static void attention_norm_item(void *arg, uint32_t token, uint32_t thread)
{
    const struct pass *p = arg;

    (void)thread;
    normalise(p, token, 2 * p->layer);
}

static void mlp_norm_item(void *arg, uint32_t token, uint32_t thread)
{
    const struct pass *p = arg;

    (void)thread;
    normalise(p, token, 2 * p->layer + 1);
}

static const uint32_t *table_of(const struct pass *p, uint32_t token)
{
    return p->f->block + p->f->table_start[p->c->buf.seq[token]];
}

static void rope_append_item(void *arg, uint32_t token, uint32_t thread)
{
    const struct pass *p = arg;
    const struct arch *a = &p->c->weights.arch;
    struct cpu_buffers *b = &p->c->buf;
    uint32_t half = a->head_dim / 2, kv_cols = a->kv_heads * a->head_dim;
    uint32_t at = b->position[token], size = p->c->layout.block_size;
    const REAL *cosine = row(b->cosine, token, half), *sine = row(b->sine, token, half);

    (void)thread;
    NAME(rope)(row(b->q, token, a->heads * a->head_dim), a->heads, a->head_dim, cosine, sine);
    NAME(rope)(row(b->k, token, kv_cols), a->kv_heads, a->head_dim, cosine, sine);
    if (p->kv) {
        uint32_t seq = b->seq[token];

        NAME(kv_store_append)
        (p->c->store, &p->c->store->sequence[p->kv->sequence[seq]], p->layer,
         token - p->f->q_start[seq], row(b->k, token, kv_cols), row(b->v, token, kv_cols));
        return;
    }
    NAME(kv_append)
    (p->c->kv, &p->c->layout, p->layer, table_of(p, token)[at / size], at % size,
     row(b->k, token, kv_cols), row(b->v, token, kv_cols));
}

static void attention_item(void *arg, uint32_t item, uint32_t thread)
{
    const struct pass *p = arg;
    const struct arch *a = &p->c->weights.arch;
    struct cpu_buffers *b = &p->c->buf;
    uint32_t token = item / a->kv_heads, kv_head = item % a->kv_heads;
    uint32_t group = a->heads / a->kv_heads, q_cols = a->heads * a->head_dim;
    size_t at = (size_t)kv_head * group * a->head_dim;

    NAME(attention)
    (row(b->attended, token, q_cols) + at, row(b->q, token, q_cols) + at, group, p->c->kv,
     &p->c->layout, p->layer, kv_head, table_of(p, token), b->position[token],
     (REAL *)b->scratch + b->scratch_elems * thread);
}

/* All tokens of a sequence in turn: each adds to the statistics of those before it. */
static void attend_item(void *arg, uint32_t item, uint32_t thread)
{
    const struct pass *p = arg;
    const struct arch *a = &p->c->weights.arch;
    struct cpu_buffers *b = &p->c->buf;
    uint32_t seq = item / a->kv_heads, kv_head = item % a->kv_heads, first = p->f->q_start[seq];
    uint32_t group = a->heads / a->kv_heads, q_cols = a->heads * a->head_dim;
    size_t at = (size_t)kv_head * group * a->head_dim;

    NAME(attend)
    (p->c->store, &p->c->store->sequence[p->kv->sequence[seq]], p->layer, kv_head,
     row(b->attended, first, q_cols) + at, row(b->q, first, q_cols) + at,
     p->f->q_start[seq + 1] - first, p->f->context[seq], &p->c->scratch[thread]);
}

static void swiglu_item(void *arg, uint32_t token, uint32_t thread)
{
    const struct pass *p = arg;
    uint32_t n = p->c->weights.arch.intermediate;

    (void)thread;
    NAME(swiglu)(row(p->c->buf.gate, token, n), row(p->c->buf.up, token, n), n);
}

static void attention_block(struct pass *p)
{
    struct cpu *c = p->c;
    const struct arch *a = &c->weights.arch;
    const void *const *w = c->weights.layer[p->layer];
    uint32_t n = p->f->n_tokens, kv_cols = a->kv_heads * a->head_dim;
    struct matrix qkv[] = {
        {w[LAYER_Q], a->heads * a->head_dim, c->buf.q},
        {w[LAYER_K], kv_cols, c->buf.k},
        {w[LAYER_V], kv_cols, c->buf.v},
    };
    struct matrix output = {w[LAYER_O], a->hidden, c->buf.x};

    pool_run(c->pool, n, attention_norm_item, p);
    NAME(matmul)(c, qkv, ARRAY_LEN(qkv), c->buf.normed, n, a->hidden, false);
    pool_run(c->pool, n, rope_append_item, p);
    if (p->kv)
        pool_run(c->pool, p->f->n_seqs * a->kv_heads, attend_item, p);
    else
        pool_run(c->pool, n * a->kv_heads, attention_item, p);
    NAME(matmul)(c, &output, 1, c->buf.attended, n, a->heads * a->head_dim, true);
}

static void mlp_block(struct pass *p)
{
    struct cpu *c = p->c;
    const struct arch *a = &c->weights.arch;
    const void *const *w = c->weights.layer[p->layer];
    uint32_t n = p->f->n_tokens;
    struct matrix gate_up[] = {
        {w[LAYER_GATE], a->intermediate, c->buf.gate},
        {w[LAYER_UP], a->intermediate, c->buf.up},
    };
    struct matrix down = {w[LAYER_DOWN], a->hidden, c->buf.x};

    pool_run(c->pool, n, mlp_norm_item, p);
    NAME(matmul)(c, gate_up, ARRAY_LEN(gate_up), c->buf.normed, n, a->hidden, false);
    pool_run(c->pool, n, swiglu_item, p);
    NAME(matmul)(c, &down, 1, c->buf.gate, n, a->intermediate, true);
}

void NAME(forward)(struct cpu *c, const struct forward *f, const struct kv_pass *kv,
                   struct forward_result *r)
{
    struct pass p = {.c = c, .f = f, .kv = kv};

    place_tokens(c, f);
    for (p.layer = 0; p.layer < c->weights.arch.layers; p.layer++) {
        attention_block(&p);
        mlp_block(&p);
    }
    emit(c, f, r);
}
