#include "experiments/cache_replay.h"

#include "sim/prefix_tree.h"

struct cache_sim {
    struct arena arena; /* the policy's */
    struct ptree *tree;
    struct cache_setup setup;
    struct prefix_future future;
    uint64_t now; /* the position (block_future.h) of the block used last */
    struct cache_counts counts;
    struct key_run *part; /* owned; of the current request */
    size_t part_cap;
};

static uint64_t next_use(void *self, uint64_t block_hash)
{
    const struct cache_sim *c = self;
    return block_future_next(c->setup.future, block_hash, c->now);
}

struct cache_sim *cache_sim_open(const struct prefix_ops *ops, const struct params *params,
                                 const struct cache_setup *setup, struct err *e)
{
    struct cache_sim *c = mem_alloc(sizeof(*c));
    c->setup = *setup;
    c->future = (struct prefix_future){.self = c, .next_use = next_use};
    arena_init(&c->arena);
    CHECK(setup->future != NULL || !ops->needs_future, "cache replay: the future is known", "%s",
          ops->name);
    struct prefix_env env = {.capacity_blocks = setup->capacity,
                             .block_tokens = setup->block_tokens,
                             .pair_cost = setup->pair_cost,
                             .future = setup->future != NULL ? &c->future : NULL};
    void *policy = ops->open(&c->arena, params, &env, e);
    if (policy == NULL) {
        arena_release(&c->arena);
        mem_free(c);
        return NULL;
    }
    c->tree = ptree_open(ops, policy);
    return c;
}

void cache_sim_close(struct cache_sim *c)
{
    if (c == NULL)
        return;
    ptree_close(c->tree);
    arena_release(&c->arena);
    mem_free(c->part);
    mem_free(c);
}

struct cache_counts cache_sim_counts(const struct cache_sim *c)
{
    return c->counts;
}

/* Evicts until `want` blocks fit or nothing more can go. Returns how many of them fit. */
static uint32_t make_room(struct cache_sim *c, uint32_t want)
{
    for (;;) {
        uint64_t room = c->setup.capacity - ptree_pinned_blocks(c->tree) -
                        ptree_cached_blocks(c->tree),
                 last;
        if (room >= want)
            return want;
        if (ptree_evict(c->tree, ptree_victim(c->tree), want - (uint32_t)room, &last) == 0)
            return (uint32_t)room;
    }
}

static void count(struct cache_sim *c, uint32_t blocks, uint32_t tokens)
{
    c->counts.hit_blocks += blocks;
    c->counts.hit_tokens += tokens;
}

/* A path of the tree: hits are the leading blocks that are there. */
static void access_path(struct cache_sim *c, const struct prompt_blocks *b)
{
    const struct content *k = &b->content;
    c->now += k->n_blocks;
    struct ptree_pin pin = ptree_pin(c->tree, k->run, k->n_runs, k->n_blocks, true);
    count(c, pin.n_blocks, prompt_blocks_tokens(b, pin.n_blocks));
    uint32_t room = make_room(c, k->n_blocks - pin.n_blocks), added, revived;
    if (room > 0) {
        size_t n_part = 0;
        content_runs(k, pin.n_blocks, room, &c->part, &n_part, &c->part_cap);
        pin.node = ptree_extend(c->tree, pin.node, c->part, n_part, &added, &revived);
    }
    ptree_unpin(c->tree, pin.node, true);
}

/* Each block is a path of its own. */
static void access_blocks(struct cache_sim *c, const struct prompt_blocks *b)
{
    uint32_t at = 0, added, revived;
    for (uint32_t i = 0; i < b->content.n_runs; i++) {
        struct key_run run = b->content.run[i];
        for (uint32_t k = 0; k < run.n; k++, at++) {
            c->now++;
            struct key_run one = {.stream = run.stream, .start = run.start + k, .n = 1};
            struct ptree_pin pin = ptree_pin(c->tree, &one, 1, 1, true);
            if (pin.n_blocks > 0)
                count(c, 1, prompt_blocks_tokens(b, at + 1) - prompt_blocks_tokens(b, at));
            else if (make_room(c, 1) > 0)
                pin.node = ptree_extend(c->tree, PTREE_ROOT, &one, 1, &added, &revived);
            ptree_unpin(c->tree, pin.node, true);
        }
    }
}

bool cache_replay(struct trace_source *src, const char *path, struct cache_sim **cache, size_t n,
                  struct err *e)
{
    struct prompt_blocks blocks;
    prompt_blocks_init(&blocks, &src->traits);
    struct trace_rec rec;
    bool shares = false;
    enum trace_status st;
    while ((st = src->ops->next(src->self, &rec, e)) == TRACE_REC) {
        if (rec.failed)
            continue;
        shares |= rec.n_segments > 0;
        prompt_blocks_set(&blocks, &rec);
        for (size_t i = 0; i < n; i++) {
            cache[i]->counts.blocks += blocks.content.n_blocks;
            cache[i]->counts.tokens += rec.prompt_tokens;
            (cache[i]->setup.flat ? access_blocks : access_path)(cache[i], &blocks);
        }
    }
    prompt_blocks_release(&blocks);
    if (st == TRACE_ERR)
        return false;
    return shares || err_set(e,
                             "%s: no record has prefix hashes or a session, so nothing can be "
                             "hit; take a trace that has them, or set trace.prefix_groups",
                             path);
}
