/* prefix_sieve.c: SIEVE: one queue in order of arrival, a bit for what was hit, and a hand.
 *
 * Rule (eviction.md 9 and 9.1): the hand goes from the oldest prefix to the newest and round again;
 * one that was hit since it passed loses its bit and stays, the first without goes, and the hand
 * stays where that one was. A prefix that others continue, or that is in use, is passed over as it
 * is. A hit sets the bits of the whole path. */
#include "sim/prefix_queue.h"

struct sieve {
    struct prefix_queue queue;
    uint32_t hand; /* the next to look at; PREFIX_QUEUE_END: the oldest */
};

struct sieve_node {
    struct prefix_link link; /* first: prefix_queue.h */
    bool visited;
};

static void *sieve_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                        struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, sizeof(struct sieve));
}

static void sieve_insert(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)node_state;
    prefix_queue_push(&((struct sieve *)self)->queue, v->tree, v->id);
}

static void sieve_split(void *self, const struct prefix_node_view *upper, uint32_t lower)
{
    prefix_queue_split(&((struct sieve *)self)->queue, upper->tree, upper->id, lower);
}

static void sieve_access(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)v;
    ((struct sieve_node *)node_state)->visited = true;
}

static void sieve_evict(void *self, const struct prefix_node_view *v, void *node_state,
                        uint32_t n_blocks)
{
    (void)node_state;
    struct sieve *s = self;
    if (n_blocks < v->n_blocks)
        return;
    if (s->hand == v->id)
        s->hand = prefix_queue_newer(v->tree, v->id);
    prefix_queue_remove(&s->queue, v->tree, v->id);
}

static uint32_t sieve_victim(void *self, const struct ptree *t)
{
    struct sieve *s = self;
    for (;; s->hand = prefix_queue_newer(t, s->hand)) {
        if (s->hand == PREFIX_QUEUE_END)
            s->hand = s->queue.oldest;
        if (!prefix_evictable(t, s->hand))
            continue;
        struct sieve_node *n = prefix_state(t, s->hand);
        if (!n->visited)
            return s->hand;
        n->visited = false;
    }
}

const struct prefix_ops prefix_sieve = {
    .name = "sieve",
    .doc = "SIEVE: a queue, a bit for hits, and a hand that passes over what has it",
    .source = "Zhang et al., SIEVE (NSDI 2024)",
    .node_state_bytes = sizeof(struct sieve_node),
    .open = sieve_open,
    .on_insert = sieve_insert,
    .on_split = sieve_split,
    .on_access = sieve_access,
    .on_evict = sieve_evict,
    .victim = sieve_victim,
};
