#include "backend/executor.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "backend/block_map.h"
#include "sim/arena.h"
#include "sim/content.h"
#include "sim/hash.h"

#define INV_BLOCKS "X1 (a block is free, a request's own or the cache's)"
#define INV_FREE "X2 (where the core took a block, one is free)"
#define INV_HIT "X3 (a hit of the core is a hit here)"
#define INV_COPY "X4 (a block that is being copied stays)"

/* A stack of numbers that nobody uses. */
struct pool {
    uint32_t *free;
    uint32_t n, size;
};

struct held_block {
    uint32_t block;
    bool own; /* false: the cache's */
};

/* A request, in the core's slot. */
struct sequence {
    const struct content *content; /* NULL: not attached */
    struct held_block *held;       /* its table */
    uint32_t n_held, n_published;
    size_t held_cap;
    uint64_t chain; /* key of its first n_published blocks */
    uint32_t *host; /* its copy, from its first block on */
    uint32_t n_host;
    size_t host_cap;
    uint64_t copies; /* the device has to be done with that many before its blocks may go */
};

/* Arrays of one forward pass, grown as needed. */
struct pass {
    uint32_t *token, *q_start, *context, *table_start, *block, *next_token;
    bool *emits;
    size_t token_cap, q_start_cap, context_cap, table_start_cap, block_cap, next_cap, emits_cap;
};

struct executor {
    const struct device_ops *device;
    void *self; /* the device's */
    struct weights weights;
    uint32_t block_size, vocab;
    struct pool blocks, hosts;
    struct block_map cache; /* the prefix cache */
    struct slots sequences;
    struct key_run *run; /* scratch */
    size_t n_runs, run_cap;
    struct pass pass;
    uint32_t *copy_block; /* scratch: blocks on the device, of one swap */
    size_t copy_cap;
    uint64_t copies_done; /* as far as is known */
};

/* ---- blocks ---- */

static void pool_init(struct pool *p, uint32_t size)
{
    *p = (struct pool){.free = mem_alloc(size * sizeof(*p->free)), .n = size, .size = size};
    for (uint32_t i = 0; i < size; i++)
        p->free[i] = size - 1 - i; /* lowest first */
}

static uint32_t pool_take(struct pool *p)
{
    CHECK(p->n > 0, INV_FREE, "all %u are taken", p->size);
    return p->free[--p->n];
}

static void pool_give(struct pool *p, uint32_t number)
{
    CHECK(p->n < p->size && number < p->size, INV_BLOCKS, "%u of %u free, %u comes back", p->n,
          p->size, number);
    p->free[p->n++] = number;
}

static struct sequence *sequence(struct executor *x, req_id id)
{
    slots_ensure(&x->sequences, id + 1);
    return slots_at(&x->sequences, id);
}

static void hold(struct sequence *s, uint32_t block, bool own)
{
    s->held = mem_reserve(s->held, &s->held_cap, s->n_held + 1u, sizeof(*s->held));
    s->held[s->n_held++] = (struct held_block){block, own};
}

/* Takes blocks of its own until it has n. */
static void grow(struct executor *x, struct sequence *s, uint32_t n)
{
    while (s->n_held < n)
        hold(s, pool_take(&x->blocks), true);
}

/* ---- keys ---- */

/* Reads the hashes of a path's blocks, from the front. */
struct keys {
    const struct key_run *run;
    uint32_t at; /* block of it */
};

static uint64_t next_key(struct keys *k)
{
    if (k->at == k->run->n) {
        k->run++;
        k->at = 0;
    }
    return content_block_hash(k->run, k->at++);
}

/* The keys of blocks [first, first + n); valid until the next call. */
static struct keys keys_of(struct executor *x, const struct content *c, uint32_t first, uint32_t n)
{
    x->n_runs = 0;
    content_runs(c, first, n, &x->run, &x->n_runs, &x->run_cap);
    return (struct keys){.run = x->run};
}

/* A block holds what it does only after all that is before it: the key of a prefix. */
static uint64_t chain_key(uint64_t before, uint64_t block)
{
    return hash_mix(before, block);
}

/* ---- what the core tells ---- */

static void attach(void *self, req_id id, const struct content *content, uint32_t blocks)
{
    struct executor *x = self;
    struct sequence *s = sequence(x, id);
    CHECK(s->n_held == 0, INV_BLOCKS, "slot %u is attached and holds %u blocks", id, s->n_held);
    s->content = content;
    s->chain = 0;
    struct keys k = keys_of(x, content, 0, blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        s->chain = chain_key(s->chain, next_key(&k));
        uint32_t block = block_map_get(&x->cache, s->chain);
        CHECK(block != BLOCK_NONE, INV_HIT, "slot %u: block %u of %u is not in the cache", id, i,
              blocks);
        hold(s, block, false);
    }
    s->n_published = blocks;
}

static void publish(void *self, req_id id, uint32_t blocks)
{
    struct executor *x = self;
    struct sequence *s = sequence(x, id);
    grow(x, s, blocks);
    struct keys k = keys_of(x, s->content, s->n_published, blocks - s->n_published);
    for (; s->n_published < blocks; s->n_published++) {
        struct held_block *h = &s->held[s->n_published];
        s->chain = chain_key(s->chain, next_key(&k));
        if (block_map_get(&x->cache, s->chain) != BLOCK_NONE)
            continue; /* a duplicate */
        block_map_put(&x->cache, s->chain, h->block);
        h->own = false;
    }
}

static void evict(void *self, const struct key_run *path, size_t n_runs, uint32_t blocks)
{
    struct executor *x = self;
    uint32_t depth = 0;
    for (size_t i = 0; i < n_runs; i++)
        depth += path[i].n;
    CHECK(blocks <= depth, INV_HIT, "%u blocks go, the path has %u", blocks, depth);
    struct keys k = {.run = path};
    uint64_t chain = 0;
    for (uint32_t i = 0; i < depth; i++) {
        chain = chain_key(chain, next_key(&k));
        if (i >= depth - blocks)
            pool_give(&x->blocks, block_map_take(&x->cache, chain));
    }
}

static void release(void *self, req_id id)
{
    struct executor *x = self;
    struct sequence *s = sequence(x, id);
    CHECK(s->copies <= x->copies_done, INV_COPY, "slot %u: copy %" PRIu64 ", %" PRIu64 " done", id,
          s->copies, x->copies_done);
    for (uint32_t i = 0; i < s->n_held; i++)
        if (s->held[i].own)
            pool_give(&x->blocks, s->held[i].block);
    s->n_held = s->n_published = 0;
    s->content = NULL;
}

static void forget_host(void *self, req_id id)
{
    struct executor *x = self;
    struct sequence *s = sequence(x, id);
    CHECK(s->copies <= x->copies_done, INV_COPY, "slot %u: copy %" PRIu64 ", %" PRIu64 " done", id,
          s->copies, x->copies_done);
    while (s->n_host > 0)
        pool_give(&x->hosts, s->host[--s->n_host]);
}

const struct kv_events executor_kv = {
    .attach = attach,
    .publish = publish,
    .evict = evict,
    .release = release,
    .forget_host = forget_host,
};

/* ---- swap: one copy of the device for each, so that their counts are the same ---- */

bool executor_swap(void *self, const struct swap *w, ns_t *done_at, struct err *e)
{
    struct executor *x = self;
    struct sequence *s = sequence(x, w->id);
    uint32_t end = w->first + w->n;
    (void)done_at; /* nobody knows */
    if (w->out) {
        CHECK(w->first == s->n_host && end <= s->n_held, INV_BLOCKS,
              "blocks %u to %u of %u go out, %u are there", w->first, end, s->n_held, s->n_host);
        s->host = mem_reserve(s->host, &s->host_cap, end, sizeof(*s->host));
        while (s->n_host < end)
            s->host[s->n_host++] = pool_take(&x->hosts);
    } else {
        CHECK(w->first == s->n_held && end <= s->n_host, INV_BLOCKS,
              "blocks %u to %u of %u come in, %u are there", w->first, end, s->n_host, s->n_held);
        grow(x, s, end);
    }
    x->copy_block = mem_reserve(x->copy_block, &x->copy_cap, w->n, sizeof(*x->copy_block));
    for (uint32_t i = 0; i < w->n; i++)
        x->copy_block[i] = s->held[w->first + i].block;
    s->copies = w->number + 1;
    uint64_t ticket;
    return x->device->copy(x->self, w->out ? COPY_TO_HOST : COPY_TO_DEVICE, x->copy_block,
                           &s->host[w->first], w->n, &ticket, e);
}

bool executor_swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    struct executor *x = self;
    if (!x->device->copies_done(x->self, seen, wait, done, e))
        return false;
    x->copies_done = *done;
    return true;
}

/* ---- a step ---- */

uint32_t executor_token(uint64_t block_hash, uint32_t offset, uint32_t vocab)
{
    return (uint32_t)(hash_mix(block_hash, offset) % vocab);
}

static bool is_decode(const struct batch_seq *b)
{
    return b->n_tokens == 1 && b->context > 0;
}

/* The tokens at positions [b->context, + b->n_tokens), appended to the pass. */
static void add_tokens(struct executor *x, struct forward *f, const struct sequence *s,
                       const struct batch_seq *b)
{
    uint32_t size = x->block_size, end = b->context + b->n_tokens;
    uint32_t first = b->context / size, last = (end - 1) / size;
    struct keys k = keys_of(x, s->content, first, last - first + 1);
    uint64_t hash = 0;
    for (uint32_t at = b->context; at < end; at++) {
        if (at == b->context || at % size == 0)
            hash = next_key(&k);
        x->pass.token[f->n_tokens++] = executor_token(hash, at % size, x->vocab);
    }
}

static void add_row(struct executor *x, struct forward *f, const struct batch_seq *b)
{
    struct pass *p = &x->pass;
    struct sequence *s = sequence(x, b->id);
    uint32_t n = div_ceil_u32(b->context + b->n_tokens, x->block_size), i = f->n_seqs;
    uint32_t at = p->table_start[i];
    CHECK(s->content != NULL, INV_HIT, "slot %u computes and was not attached", b->id);
    grow(x, s, n);
    p->block = mem_reserve(p->block, &p->block_cap, at + n, sizeof(*p->block));
    for (uint32_t k = 0; k < n; k++)
        p->block[at + k] = s->held[k].block;
    add_tokens(x, f, s, b);
    p->context[i] = b->context;
    p->emits[i] = b->emits;
    p->q_start[i + 1] = f->n_tokens;
    p->table_start[i + 1] = at + n;
    f->n_decode += is_decode(b);
    f->n_seqs++;
}

static void reserve(struct pass *p, const struct batch *b)
{
    size_t n = b->n, tokens = b->shape.decode_tokens + b->shape.prefill_tokens;
    p->token = mem_reserve(p->token, &p->token_cap, tokens, sizeof(*p->token));
    p->q_start = mem_reserve(p->q_start, &p->q_start_cap, n + 1, sizeof(*p->q_start));
    p->context = mem_reserve(p->context, &p->context_cap, n, sizeof(*p->context));
    p->table_start = mem_reserve(p->table_start, &p->table_start_cap, n + 1, sizeof(*p->q_start));
    p->next_token = mem_reserve(p->next_token, &p->next_cap, n, sizeof(*p->next_token));
    p->emits = mem_reserve(p->emits, &p->emits_cap, n, sizeof(*p->emits));
    p->q_start[0] = p->table_start[0] = 0;
}

/* Decodes first, as devices want them. */
static struct forward describe(struct executor *x, const struct batch *b)
{
    struct forward f = {0};
    reserve(&x->pass, b);
    for (int decodes = 1; decodes >= 0; decodes--)
        for (uint32_t i = 0; i < b->n; i++)
            if (is_decode(&b->seq[i]) == decodes)
                add_row(x, &f, &b->seq[i]);
    f.token = x->pass.token;
    f.q_start = x->pass.q_start;
    f.context = x->pass.context;
    f.table_start = x->pass.table_start;
    f.block = x->pass.block;
    f.emits = x->pass.emits;
    return f;
}

static ns_t monotonic(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (ns_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

bool executor_step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    struct executor *x = self;
    ns_t asked_at = monotonic();
    struct forward f = describe(x, b);
    struct forward_result res = {.next_token = x->pass.next_token};
    if (!x->device->forward(x->self, &f, &res, e))
        return false;
    cost->device_ns = res.device_ns;
    cost->wall_ns = monotonic() - asked_at;
    return true;
}

/* ---- opening and closing ---- */

static bool open_weights(struct weights *w, const struct executor_config *c,
                         const struct backend_env *env, struct err *e)
{
    struct arch a;
    if (env->weights != NULL)
        return weights_load(w, env->weights, c->dtype, e);
    if (!arch_from_model(env->model, &a, e))
        return false;
    weights_random(w, &a, env->seed);
    return true;
}

static bool check_sizes(const struct executor_config *c, const struct backend_env *env,
                        struct err *e)
{
    const struct limits *l = env->limits;
    if (env->tensor_parallel_size != 1)
        return err_set(e, "tensor_parallel_size: %s runs on one device; set it to 1",
                       c->device->name);
    if (l->num_gpu_blocks >= BLOCK_NONE || l->host_blocks >= BLOCK_NONE)
        return err_set(e,
                       "%s: %" PRIu64 " KV blocks, %" PRIu64 " on the host, are too many; lower "
                       "num_gpu_blocks or host_memory_gb",
                       c->device->name, l->num_gpu_blocks, l->host_blocks);
    return true;
}

static void describe_run(const struct executor *x, struct backend_note *note)
{
    char where[128];
    x->device->describe(x->self, where, sizeof(where));
    (void)snprintf(note->cost_model, sizeof(note->cost_model), "measured on %s; weights: %.100s",
                   where, x->weights.source);
}

struct executor *executor_open(const struct executor_config *c, const struct backend_env *env,
                               struct backend_note *note, struct err *e)
{
    const struct limits *l = env->limits;
    if (!check_sizes(c, env, e))
        return NULL;
    struct executor *x = mem_alloc(sizeof(*x));
    x->device = c->device;
    slots_init(&x->sequences, sizeof(struct sequence));
    struct device_config device = {
        .weights = &x->weights,
        .max_seqs = l->max_num_seqs,
        .max_tokens = l->max_num_batched_tokens,
        .block_size = l->block_size,
        .n_blocks = (uint32_t)l->num_gpu_blocks,
        .n_host_blocks = (uint32_t)l->host_blocks,
        .max_context = (uint32_t)MIN(l->max_model_len, limits_kv_tokens(l)),
        .threads = c->threads,
        .high_precision = c->high_precision,
    };
    if (open_weights(&x->weights, c, env, e))
        x->self = c->device->open(&device, e);
    if (x->self == NULL) {
        executor_close(x);
        return NULL;
    }
    x->block_size = l->block_size;
    x->vocab = x->weights.arch.vocab;
    pool_init(&x->blocks, device.n_blocks);
    pool_init(&x->hosts, device.n_host_blocks);
    block_map_init(&x->cache, device.n_blocks);
    describe_run(x, note);
    return x;
}

void executor_close(void *self)
{
    struct executor *x = self;
    if (x->self != NULL)
        x->device->close(x->self);
    weights_release(&x->weights);
    for (uint32_t i = 0; i < x->sequences.high; i++) {
        struct sequence *s = slots_at(&x->sequences, i);
        mem_free(s->held);
        mem_free(s->host);
    }
    slots_release(&x->sequences);
    block_map_release(&x->cache);
    mem_free(x->blocks.free);
    mem_free(x->hosts.free);
    mem_free(x->run);
    mem_free(x->copy_block);
    mem_free(x->pass.token);
    mem_free(x->pass.q_start);
    mem_free(x->pass.context);
    mem_free(x->pass.table_start);
    mem_free(x->pass.block);
    mem_free(x->pass.next_token);
    mem_free(x->pass.emits);
    mem_free(x);
}

void *executor_device(const struct executor *x)
{
    return x->self;
}

uint32_t executor_cached_blocks(const struct executor *x)
{
    return (uint32_t)x->cache.n;
}

uint32_t executor_free_blocks(const struct executor *x)
{
    return x->blocks.n;
}

uint32_t executor_free_host_blocks(const struct executor *x)
{
    return x->hosts.n;
}
