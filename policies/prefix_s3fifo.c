/* prefix_s3fifo.c: S3-FIFO: a small queue that most prefixes only pass through, a main one for
 * those that were hit, and the memory of what passed through lately.
 *
 * Rule (eviction.md 9 and 9.1, defaults of libCacheSim): new prefixes enter the small queue (a
 * tenth of the cache), or the main one if they passed through the small one lately (a ghost, for as
 * many blocks as nine tenths of the cache) or, before anything has gone, if the small one is full.
 * While the main queue holds more than its nine tenths its oldest is looked at, else the small
 * one's: in the small queue two hits move it to the main one, else it goes and leaves a ghost; in
 * the main queue any hit sends it round once more, counting up to three of them. A prefix that
 * others continue, or that is in use, goes round as it is. A hit counts for the whole path. */
#include "sim/prefix_queue.h"
#include "sim/u64_map.h"

#define HITS_TO_MAIN 2u
#define HITS_COUNTED 3u

struct ghost {
    uint64_t hash; /* of the first block that went */
    uint32_t n_blocks;
    bool live;
};

/* Oldest first; `at` says where in the ring a hash is. */
struct ghosts {
    struct ghost *ring; /* owned */
    size_t cap;         /* a power of two, or 0 */
    uint64_t first, end;
    uint64_t n_blocks, limit;
    struct u64_map at;
};

struct s3fifo {
    struct prefix_queue small, main;
    uint64_t small_limit, main_limit; /* blocks */
    struct ghosts ghosts;
    bool has_evicted;
};

struct s3fifo_node {
    struct prefix_link link; /* first: prefix_queue.h */
    uint32_t hits;
    bool in_main;
};

/* ---- ghosts ---- */

static struct ghost *ghost_at(struct ghosts *g, uint64_t i)
{
    return &g->ring[i & (g->cap - 1)];
}

static void ghost_forget(struct ghosts *g, uint64_t i)
{
    struct ghost *x = ghost_at(g, i);
    g->n_blocks -= x->n_blocks;
    x->live = false;
    u64_map_remove(&g->at, x->hash);
}

static bool ghost_take(struct ghosts *g, uint64_t hash)
{
    uint64_t *i = u64_map_get(&g->at, hash);
    if (i == NULL)
        return false;
    ghost_forget(g, *i);
    return true;
}

static void ghosts_grow(struct ghosts *g)
{
    size_t cap = MAX((size_t)64, 2 * g->cap);
    struct ghost *ring = mem_alloc(cap * sizeof(*ring));
    for (uint64_t i = g->first; i < g->end; i++)
        ring[i & (cap - 1)] = *ghost_at(g, i);
    mem_free(g->ring);
    g->ring = ring;
    g->cap = cap;
}

/* Done before the next eviction, not after the last: what comes back is looked up only when room
 * was made for it. */
static void ghosts_trim(struct ghosts *g)
{
    for (; g->first < g->end; g->first++) {
        bool live = ghost_at(g, g->first)->live;
        if (live && g->n_blocks <= g->limit)
            break;
        if (live)
            ghost_forget(g, g->first);
    }
}

static void ghost_add(struct ghosts *g, uint64_t hash, uint32_t n_blocks)
{
    (void)ghost_take(g, hash);
    if (g->end - g->first == g->cap)
        ghosts_grow(g);
    *ghost_at(g, g->end) = (struct ghost){hash, n_blocks, true};
    *u64_map_put(&g->at, hash) = g->end++;
    g->n_blocks += n_blocks;
}

/* ---- the policy ---- */

static void *s3fifo_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                         struct err *e)
{
    (void)p;
    (void)e;
    struct s3fifo *s = arena_alloc(a, sizeof(*s));
    s->small_limit = env->capacity_blocks / 10;
    s->main_limit = env->capacity_blocks - s->small_limit;
    s->ghosts.limit = s->main_limit;
    return s;
}

static void s3fifo_close(void *self)
{
    struct s3fifo *s = self;
    mem_free(s->ghosts.ring);
    u64_map_release(&s->ghosts.at);
}

static struct prefix_queue *queue_of(struct s3fifo *s, const struct s3fifo_node *n)
{
    return n->in_main ? &s->main : &s->small;
}

static void enter(struct s3fifo *s, const struct ptree *t, uint32_t id, bool in_main,
                  uint32_t n_blocks)
{
    struct s3fifo_node *n = prefix_state(t, id);
    n->in_main = in_main;
    prefix_queue_push(queue_of(s, n), t, id);
    queue_of(s, n)->n_blocks += n_blocks;
}

static void leave(struct s3fifo *s, const struct ptree *t, uint32_t id, uint32_t n_blocks)
{
    struct prefix_queue *q = queue_of(s, prefix_state(t, id));
    prefix_queue_remove(q, t, id);
    q->n_blocks -= n_blocks;
}

static void s3fifo_insert(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)node_state;
    struct s3fifo *s = self;
    bool seen = ghost_take(&s->ghosts, prefix_block_hash(v->tree, v->id, v->n_blocks));
    bool filling = !s->has_evicted && s->small.n_blocks >= s->small_limit;
    enter(s, v->tree, v->id, seen || filling, v->n_blocks);
}

static void s3fifo_grow(void *self, const struct prefix_node_view *v, void *node_state,
                        uint32_t n_blocks)
{
    (void)v;
    queue_of(self, node_state)->n_blocks += n_blocks;
}

static void s3fifo_split(void *self, const struct prefix_node_view *upper, uint32_t lower)
{
    struct prefix_queue *q = queue_of(self, prefix_state(upper->tree, lower));
    prefix_queue_split(q, upper->tree, upper->id, lower);
}

static void s3fifo_access(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)v;
    ((struct s3fifo_node *)node_state)->hits++;
}

static void s3fifo_evict(void *self, const struct prefix_node_view *v, void *node_state,
                         uint32_t n_blocks)
{
    struct s3fifo *s = self;
    const struct s3fifo_node *n = node_state;
    s->has_evicted = true;
    ghosts_trim(&s->ghosts);
    if (!n->in_main)
        ghost_add(&s->ghosts, prefix_block_hash(v->tree, v->id, n_blocks), n_blocks);
    if (n_blocks == v->n_blocks)
        leave(s, v->tree, v->id, n_blocks);
    else
        queue_of(s, n)->n_blocks -= n_blocks;
}

/* Sends the oldest of a queue to the newest end of one. */
static void move(struct s3fifo *s, const struct ptree *t, uint32_t id, bool to_main)
{
    uint32_t n_blocks = prefix_node(t, id).n_blocks;
    leave(s, t, id, n_blocks);
    enter(s, t, id, to_main, n_blocks);
}

/* Once round; PREFIX_QUEUE_END: nobody may go. */
static uint32_t look_in_small(struct s3fifo *s, const struct ptree *t)
{
    for (uint32_t left = s->small.n_nodes; left > 0; left--) {
        uint32_t id = s->small.oldest;
        struct s3fifo_node *n = prefix_state(t, id);
        bool evictable = prefix_evictable(t, id), keep = n->hits >= HITS_TO_MAIN;
        if (evictable && !keep)
            return id;
        n->hits = evictable ? 0 : n->hits;
        move(s, t, id, evictable);
    }
    return PREFIX_QUEUE_END;
}

/* As often round as there are hits to count down. */
static uint32_t look_in_main(struct s3fifo *s, const struct ptree *t)
{
    for (uint64_t left = (HITS_COUNTED + 1ull) * s->main.n_nodes; left > 0; left--) {
        uint32_t id = s->main.oldest;
        struct s3fifo_node *n = prefix_state(t, id);
        bool evictable = prefix_evictable(t, id);
        if (evictable && n->hits == 0)
            return id;
        if (evictable)
            n->hits = MIN(n->hits, HITS_COUNTED) - 1;
        move(s, t, id, true);
    }
    return PREFIX_QUEUE_END;
}

static uint32_t s3fifo_victim(void *self, const struct ptree *t)
{
    struct s3fifo *s = self;
    bool in_main = s->main.n_blocks > s->main_limit || s->small.n_blocks == 0;
    for (;; in_main = !in_main) {
        uint32_t id = in_main ? look_in_main(s, t) : look_in_small(s, t);
        if (id != PREFIX_QUEUE_END)
            return id;
    }
}

const struct prefix_ops prefix_s3fifo = {
    .name = "s3fifo",
    .doc = "S3-FIFO: a small queue of 10 %, a main one for what was hit twice, ghosts",
    .source = "Yang et al., FIFO queues are all you need (SOSP 2023); libCacheSim S3FIFO",
    .node_state_bytes = sizeof(struct s3fifo_node),
    .open = s3fifo_open,
    .close = s3fifo_close,
    .on_insert = s3fifo_insert,
    .on_grow = s3fifo_grow,
    .on_split = s3fifo_split,
    .on_access = s3fifo_access,
    .on_evict = s3fifo_evict,
    .victim = s3fifo_victim,
};
