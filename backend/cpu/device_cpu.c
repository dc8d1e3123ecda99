/* device_cpu.c: the CPU as a device: its memory, the checks of a step, swaps. */
#include "backend/cpu/cpu.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- memory ---- */

static void allocate(struct cpu *c)
{
    const struct device_config *d = &c->config;
    const struct arch *a = &c->weights.arch;
    struct cpu_buffers *b = &c->buf;
    size_t tokens = d->max_tokens, e = c->elem_bytes;
    size_t q_cols = (size_t)a->heads * a->head_dim, kv_cols = (size_t)a->kv_heads * a->head_dim;
    size_t cols = MAX(MAX((size_t)a->hidden, (size_t)a->intermediate), q_cols);
    size_t scores = (size_t)(a->heads / a->kv_heads) * d->max_context;

    b->x = mem_alloc(tokens * a->hidden * e);
    b->normed = mem_alloc(MAX(tokens, d->max_seqs) * a->hidden * e);
    b->q = mem_alloc(tokens * q_cols * e);
    b->attended = mem_alloc(tokens * q_cols * e);
    b->k = mem_alloc(tokens * kv_cols * e);
    b->v = mem_alloc(tokens * kv_cols * e);
    b->gate = mem_alloc(tokens * a->intermediate * e);
    b->up = mem_alloc(tokens * a->intermediate * e);
    b->cosine = mem_alloc(tokens * (a->head_dim / 2) * e);
    b->sine = mem_alloc(tokens * (a->head_dim / 2) * e);
    b->norms = mem_alloc((2 * (size_t)a->layers + 1) * a->hidden * e);
    b->logits = mem_alloc((size_t)d->max_seqs * a->vocab * e);
    b->scratch_elems = (MAX(cols * MATMUL_ROWS, scores) + 15) / 16 * 16;
    b->scratch = mem_alloc(pool_threads(c->pool) * b->scratch_elems * e);
    b->seq = mem_alloc(tokens * sizeof(*b->seq));
    b->position = mem_alloc(tokens * sizeof(*b->position));
    c->kv = mem_alloc(kv_block_elems(&c->layout) * d->n_blocks * e);
    c->host_kv = mem_alloc(kv_block_elems(&c->layout) * d->n_host_blocks * e);
    c->rope_frequency = mem_alloc(a->head_dim / 2 * sizeof(*c->rope_frequency));
}

static void scratch_open(const struct cpu *c, struct kv_scratch *t)
{
    size_t places = c->store->max_places, group = c->store->group, d = c->store->head_dim;

    *t = (struct kv_scratch){
        .all = mem_alloc(places * sizeof(*t->all)),
        .read = mem_alloc(places * sizeof(*t->read)),
        .order = mem_alloc(places * sizeof(*t->order)),
        .p = mem_alloc(group * places * c->elem_bytes),
        .p_full = mem_alloc(group * places * c->elem_bytes),
        .out = mem_alloc(group * d * c->elem_bytes),
        .q = mem_alloc(group * d * sizeof(*t->q)),
        .rank = mem_alloc(places * sizeof(*t->rank)),
        .mass = mem_alloc(places * sizeof(*t->mass)),
        .kept = mem_alloc(places * sizeof(*t->kept)),
    };
}

static void kv_close(struct cpu *c)
{
    for (uint32_t i = 0; c->scratch && i < pool_threads(c->pool); i++) {
        struct kv_scratch *t = &c->scratch[i];
        void *owned[] = {t->all, t->read, t->order, t->p,    t->p_full,
                         t->out, t->q,    t->rank,  t->mass, t->kept};

        for (size_t k = 0; k < ARRAY_LEN(owned); k++)
            mem_free(owned[k]);
    }
    mem_free(c->scratch);
    kv_store_close(c->store);
}

static void close_cpu(void *self)
{
    struct cpu *c = self;
    void *owned[] = {
        c->buf.x,     c->buf.normed, c->buf.q,          c->buf.attended, c->buf.k,
        c->buf.v,     c->buf.gate,   c->buf.up,         c->buf.cosine,   c->buf.sine,
        c->buf.norms, c->buf.logits, c->buf.scratch,    c->buf.seq,      c->buf.position,
        c->kv,        c->host_kv,    c->rope_frequency,
    };

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        mem_free(owned[i]);
    kv_close(c);
    pool_close(c->pool);
    if (c->own_weights)
        weights_release(&c->weights);
    mem_free(c);
}

static void *open_cpu(const struct device_config *config, struct err *e)
{
    const struct arch *a = &config->weights->arch;
    struct pool *pool = pool_open(config->threads, e);
    struct cpu *c;

    if (!pool)
        return NULL;
    c = mem_alloc(sizeof(*c));
    *c = (struct cpu){
        .config = *config,
        .weights = *config->weights,
        .own_weights = config->weights->random && !config->weights->owned,
        .pool = pool,
        .layout = {config->block_size, a->kv_heads, a->head_dim, a->layers},
        .elem_bytes = config->high_precision ? sizeof(double) : sizeof(float),
    };
    weights_draw(&c->weights);
    allocate(c);
    for (uint32_t i = 0; i < a->head_dim / 2; i++)
        c->rope_frequency[i] = arch_rope_frequency(a, i);
    if (config->high_precision)
        norm_factors_f64(c);
    else
        norm_factors_f32(c);
    return c;
}

/* ---- a step ---- */

static void check_step(const struct cpu *c, const struct forward *f)
{
    const struct device_config *d = &c->config;

    CHECK(f->n_seqs <= d->max_seqs && f->n_tokens <= d->max_tokens &&
              f->q_start[f->n_seqs] == f->n_tokens,
          "device: a step fits", "%u seqs, %u tokens", f->n_seqs, f->n_tokens);
    for (uint32_t s = 0; s < f->n_seqs; s++) {
        uint32_t n = f->q_start[s + 1] - f->q_start[s];

        CHECK(f->q_start[s + 1] > f->q_start[s] && f->context[s] + n <= d->max_context,
              "device: a sequence fits", "%u tokens behind %u", n, f->context[s]);
    }
    for (uint32_t i = 0; i < f->n_tokens; i++)
        CHECK(f->token[i] < c->weights.arch.vocab, "device: tokens exist", "%u of %u", f->token[i],
              c->weights.arch.vocab);
}

static void check_tables(const struct device_config *d, const struct forward *f)
{
    for (uint32_t s = 0; s < f->n_seqs; s++) {
        uint32_t end = f->context[s] + f->q_start[s + 1] - f->q_start[s];
        uint32_t blocks = f->table_start[s + 1] - f->table_start[s];

        CHECK(blocks >= div_ceil_u32(end, d->block_size), "device: a table covers its sequence",
              "%u tokens, %u blocks", end, blocks);
    }
    for (uint32_t i = 0; i < f->table_start[f->n_seqs]; i++)
        CHECK(f->block[i] < d->n_blocks, "device: blocks exist", "%u of %u", f->block[i],
              d->n_blocks);
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool forward_cpu(void *self, const struct forward *f, struct forward_result *r,
                        struct err *e)
{
    struct cpu *c = self;
    double began = now_ns();

    (void)e;
    check_step(c, f);
    check_tables(&c->config, f);
    if (c->config.high_precision)
        forward_f64(c, f, NULL, r);
    else
        forward_f32(c, f, NULL, r);
    r->device_ns = now_ns() - began;
    return true;
}

/* ---- KV under a policy ---- */

static bool kv_open_cpu(void *self, const struct kv_config *config, struct err *e)
{
    struct cpu *c = self;
    const struct kv_shape *shape = &config->rule->shape;
    const struct arch *a = &c->weights.arch;
    struct kv_config kv = *config;

    (void)e;
    CHECK(shape->layers == a->layers && shape->kv_heads == a->kv_heads &&
              shape->block_size == c->config.block_size && !c->store,
          "device: a KV policy is one of its model", "%u layers, %u heads, blocks of %u",
          shape->layers, shape->kv_heads, shape->block_size);
    if (kv.open_loop)
        kv.mechanism = KV_MASK;
    c->store = kv_store_open(&kv, a, c->config.max_context, c->elem_bytes);
    c->scratch = mem_alloc(pool_threads(c->pool) * sizeof(*c->scratch));
    for (uint32_t i = 0; i < pool_threads(c->pool); i++)
        scratch_open(c, &c->scratch[i]);
    return true;
}

static bool kv_forward_cpu(void *self, const struct forward *f, const struct kv_pass *kv,
                           struct forward_result *r, struct err *e)
{
    struct cpu *c = self;
    double began = now_ns();

    check_step(c, f);
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        CHECK(kv->sequence[i] < c->store->config.n_sequences, "device: sequences exist", "%u of %u",
              kv->sequence[i], c->store->config.n_sequences);
        if (!kv_begin(c->store, kv->sequence[i], f->context[i], f->q_start[i + 1] - f->q_start[i],
                      kv->prompt[i], e))
            return false;
    }
    if (c->config.high_precision)
        forward_f64(c, f, kv, r);
    else
        forward_f32(c, f, kv, r);
    for (uint32_t i = 0; i < f->n_seqs; i++)
        kv_end(c->store, kv->sequence[i]);
    r->device_ns = now_ns() - began;
    return true;
}

static void kv_forget_cpu(void *self, uint32_t sequence)
{
    struct cpu *c = self;

    kv_store_forget(c->store, sequence);
}

static void kv_look_cpu(void *self, uint32_t sequence, uint32_t layer, uint32_t head,
                        struct kv_look *out)
{
    const struct cpu *c = self;
    const struct kv_store *s = c->store;
    const struct kv_places *p = kv_places_at(&s->sequence[sequence], s, layer, head);

    *out = (struct kv_look){.resident = p->n,
                            .pos = p->pos,
                            .masked = p->masked,
                            .n_slots = p->n_pages * s->block_size,
                            .measure = p->measure,
                            .top = p->top};
    for (uint32_t i = 0; i < p->n_pages; i++)
        out->pages += p->page[i] != KV_NOBODY;
}

/* ---- swap: done when submitted ---- */

static bool copy_cpu(void *self, enum copy_direction direction, const uint32_t *block,
                     const uint32_t *host, uint32_t n, uint64_t *ticket, struct err *e)
{
    struct cpu *c = self;
    size_t bytes = kv_block_elems(&c->layout) * c->elem_bytes;

    (void)e;
    for (uint32_t i = 0; i < n; i++) {
        char *here = (char *)c->kv + bytes * block[i],
             *there = (char *)c->host_kv + bytes * host[i];

        CHECK(block[i] < c->config.n_blocks && host[i] < c->config.n_host_blocks,
              "device: blocks exist", "%u of %u, %u of %u", block[i], c->config.n_blocks, host[i],
              c->config.n_host_blocks);
        if (direction == COPY_TO_HOST)
            memcpy(there, here, bytes);
        else
            memcpy(here, there, bytes);
    }
    *ticket = ++c->copies;
    return true;
}

static bool copies_done_cpu(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    const struct cpu *c = self;

    (void)seen, (void)wait, (void)e;
    *done = c->copies;
    return true;
}

static void describe_cpu(void *self, char *text, size_t n)
{
    const struct cpu *c = self;

    snprintf(text, n, "CPU, %s, %u threads", c->config.high_precision ? "float64" : "float32",
             pool_threads(c->pool));
}

const struct device_ops device_cpu = {
    .name = "cpu",
    .open = open_cpu,
    .forward = forward_cpu,
    .copy = copy_cpu,
    .copies_done = copies_done_cpu,
    .kv_open = kv_open_cpu,
    .kv_forward = kv_forward_cpu,
    .kv_forget = kv_forget_cpu,
    .kv_look = kv_look_cpu,
    .close = close_cpu,
    .describe = describe_cpu,
};
