#include "tests/support/watched.h"

#include <check.h>

struct watch watch;

struct watched {
    struct executor *x;
    const struct content **content; /* by slot */
    size_t cap;
    uint32_t n_blocks, n_hosts;
};

static void *watched_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                          struct err *e)
{
    struct watched *w = arena_alloc(a, sizeof(*w));
    w->x = executor_open(&watch.config, env, note, e);
    w->n_blocks = (uint32_t)env->limits->num_gpu_blocks;
    w->n_hosts = (uint32_t)env->limits->host_blocks;
    return w->x == NULL ? NULL : w;
}

static void attach(void *self, req_id id, const struct content *c, uint32_t blocks)
{
    struct watched *w = self;
    w->content = mem_reserve(w->content, &w->cap, id + 1u, sizeof(*w->content));
    w->content[id] = c;
    watch.hits += blocks;
    if (watch.on_attach != NULL)
        watch.on_attach(id);
    executor_kv.attach(w->x, id, c, blocks);
}

static void publish(void *self, req_id id, uint32_t blocks)
{
    executor_kv.publish(((struct watched *)self)->x, id, blocks);
}

static void evict(void *self, const struct key_run *path, size_t n, uint32_t blocks)
{
    watch.evicted += blocks;
    executor_kv.evict(((struct watched *)self)->x, path, n, blocks);
}

static void release(void *self, req_id id)
{
    executor_kv.release(((struct watched *)self)->x, id);
}

static void forget_host(void *self, req_id id)
{
    executor_kv.forget_host(((struct watched *)self)->x, id);
}

static const struct kv_events watched_kv = {
    .attach = attach,
    .publish = publish,
    .evict = evict,
    .release = release,
    .forget_host = forget_host,
};

static bool swap(void *self, const struct swap *s, ns_t *done_at, struct err *e)
{
    watch.swaps_in += !s->out;
    return executor_swap(((struct watched *)self)->x, s, done_at, e);
}

static bool swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    return executor_swaps_done(((struct watched *)self)->x, seen, wait, done, e);
}

static bool step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    struct watched *w = self;
    if (!executor_step(w->x, b, cost, e))
        return false;
    uint32_t row = 0;
    for (int decodes = 1; decodes >= 0; decodes--)
        for (uint32_t i = 0; i < b->n; i++) {
            const struct batch_seq *q = &b->seq[i];
            if ((q->n_tokens == 1 && q->context > 0) != decodes)
                continue;
            if (watch.on_row != NULL)
                watch.on_row(w->x, row, w->content[q->id], q);
            row++;
        }
    watch.rows += row;
    cost->wall_ns = NS_PER_MS; /* the same again */
    return true;
}

/* When all requests have gone, all blocks are free or the cache's. */
static void close(void *self)
{
    struct watched *w = self;
    uint32_t n = executor_free_blocks(w->x) + executor_cached_blocks(w->x);
    ck_assert_uint_eq(n, w->n_blocks);
    ck_assert_uint_eq(executor_free_host_blocks(w->x), w->n_hosts);
    mem_free(w->content);
    executor_close(w->x);
}

const struct backend_ops watched_backend = {
    .name = "watched",
    .doc = "an executor",
    .caps = BACKEND_MEASURED | BACKEND_EXECUTES,
    .open = watched_open,
    .step = step,
    .close = close,
    .kv = &watched_kv,
    .swap = swap,
    .swaps_done = swaps_done,
};

void watched_tokens(const struct content *c, uint32_t block_size, uint32_t vocab, uint32_t from,
                    uint32_t to, uint32_t *out)
{
    struct key_run *run = NULL;
    size_t n_runs = 0, cap = 0;
    uint32_t first = from / block_size, at = first * block_size;
    content_runs(c, first, div_ceil_u32(to, block_size) - first, &run, &n_runs, &cap);
    for (size_t i = 0; i < n_runs; i++)
        for (uint32_t b = 0; b < run[i].n; b++) {
            uint64_t hash = content_block_hash(&run[i], b);
            for (uint32_t o = 0; o < block_size && at < to; o++, at++)
                if (at >= from)
                    *out++ = executor_token(hash, o, vocab);
        }
    mem_free(run);
}
