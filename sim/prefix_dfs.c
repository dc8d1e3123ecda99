/* prefix_dfs.c: depth first without recursion, since a path may be as long as a conversation: a
 * branch takes as many places of the order as requests hit it, so that, from the root down, each
 * node tells its branches where they begin. */
#include "sim/prefix_dfs.h"

#include <stdlib.h>

/* From the root down; the same nodes together. */
static int by_node(const void *a, const void *b)
{
    const struct dfs_node *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* From the root down; the branches of a node together, the heaviest first. */
static int by_branch(const void *a, const void *b)
{
    const struct dfs_node *x = *(struct dfs_node *const *)a, *y = *(struct dfs_node *const *)b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static int by_rank(const void *a, const void *b)
{
    const struct prefix_rank *x = a, *y = b;
    if (x->match != y->match)
        return x->match < y->match ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static uint32_t depth_of(const struct sched_view *v, uint32_t node)
{
    uint32_t depth = 0;
    for (; node != 0; node = view_hit_parent(v, node))
        depth++;
    return depth;
}

/* Appends the path of one request, from its end to the root; n entries are there. */
static size_t add_path(struct prefix_dfs *d, const struct sched_view *v, uint32_t node,
                       uint32_t place, size_t n)
{
    uint32_t depth = depth_of(v, node);
    d->v = arena_reserve(d->arena, d->v, &d->cap, n + depth + 1, sizeof(*d->v));
    for (uint32_t left = depth;; left--) {
        uint32_t parent = view_hit_parent(v, node);
        d->v[n++] = (struct dfs_node){
            .node = node, .parent = parent, .depth = left, .weight = 1, .place = place};
        if (left == 0)
            return n;
        node = parent;
    }
}

/* Makes one of the entries of the same node, which stand together. */
static size_t merge(struct dfs_node *v, size_t n)
{
    size_t out = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i].node == v[out].node)
            v[out].weight++;
        else
            v[++out] = v[i];
    return out + 1;
}

static struct dfs_node *find(const struct prefix_dfs *d, size_t n, uint32_t node, uint32_t depth)
{
    size_t low = 0, high = n;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        const struct dfs_node *m = &d->v[mid];
        if (m->depth < depth || (m->depth == depth && m->node <= node))
            low = mid;
        else
            high = mid;
    }
    return &d->v[low];
}

/* Where in the order the branches of every node begin, and, when all are told, where those that end
 * at the node itself do. */
static void place_branches(struct prefix_dfs *d, size_t n)
{
    d->branch = arena_reserve(d->arena, d->branch, &d->branch_cap, n, sizeof(*d->branch));
    for (size_t i = 0; i < n; i++) {
        struct dfs_node *x = &d->v[i];
        x->above = x->depth == 0 ? NULL : find(d, n, x->parent, x->depth - 1);
        d->branch[i] = x;
    }
    qsort(d->branch, n, sizeof(*d->branch), by_branch);
    for (size_t i = 1; i < n; i++) { /* the first is the root */
        struct dfs_node *x = d->branch[i];
        x->next = x->above->next;
        x->above->next += x->weight;
    }
}

void prefix_dfs_begin(struct prefix_dfs *d, const struct sched_view *v)
{
    struct prefix_order *o = &d->order;
    struct view_hit hit[PREFIX_ORDER_MOST];
    prefix_order_plain(o, v);
    if (v->n_waiting == 0 || v->n_waiting > PREFIX_ORDER_MOST)
        return;
    o->sorted = true;
    size_t n = 0;
    uint32_t n_hits = 0;
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id)) {
        hit[n_hits] = view_hit(v, id);
        n = add_path(d, v, hit[n_hits].node, n_hits, n);
        o->rank[n_hits] = (struct prefix_rank){.id = id, .place = n_hits};
        n_hits++;
    }
    o->n = n_hits;
    qsort(d->v, n, sizeof(*d->v), by_node);
    n = merge(d->v, n);
    place_branches(d, n);
    for (uint32_t i = 0; i < n_hits; i++) {
        int64_t begins = find(d, n, hit[i].node, depth_of(v, hit[i].node))->next;
        /* those of one node share a place; in it, the longer match first */
        o->rank[i].match = begins * ((int64_t)UINT32_MAX + 1) + (UINT32_MAX - hit[i].tokens);
    }
    qsort(o->rank, o->n, sizeof(*o->rank), by_rank);
}
