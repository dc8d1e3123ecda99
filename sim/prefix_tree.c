/* prefix_tree.c: see the header for what callers rely on. How it is built:
 *
 *   - Nodes live in slots; id 0 is the root, which has no blocks and is nobody's child. Requests
 *     store the id of the last node of their path, so an id must go on naming the same path end:
 *     a split makes the *upper* half the new node, and a shared leaf is never appended to.
 *   - All children of all nodes are in one open-addressing table, keyed by (parent, first block).
 *     Because of P3, a lookup finds the only child that can match.
 *   - Candidates for eviction are in a heap, entered when they become candidates. A candidate that
 *     shrinks keeps its priority, so evicting n blocks at once or one by one is the same; that of a
 *     `per_block` policy is asked for its priority again, and shrinks block by block.
 *   - `use` counts the operations that touch; all nodes of a path get one and the same count. */
#include "sim/prefix_tree.h"

#include <inttypes.h>
#include <string.h>

#include "sim/hash.h"
#include "sim/prefix_edge.h"
#include "sim/prefix_heap.h"

#define INV_CHAIN "P1 (references have an ancestor chain with references)"
#define INV_CANDIDATES "P2 (candidates = nodes with no reference and no child)"
#define INV_CHILDREN "P3 (no two children start with the same block)"
#define INV_BLOCKS "P4 (pinned + cached = blocks in the tree)"

struct node {
    struct edge edge;
    uint64_t number; /* 0: a free slot */
    uint64_t created_use, last_use;
    uint32_t parent, n_children;
    uint32_t refs; /* paths through or to this node */
    uint32_t hits;
    uint32_t depth_blocks; /* from the root to its end */
};

struct child_slot {
    uint32_t id; /* 0: empty */
    uint32_t hash;
};

struct ptree {
    const struct prefix_ops *ops;
    void *policy;
    struct slots nodes, states; /* the same ids */
    uint64_t next_number, use;
    uint64_t pinned, cached; /* blocks */
    uint32_t n_nodes;        /* without the root */
    struct child_slot *child;
    size_t child_len; /* a power of two */
    struct prefix_heap candidates;
};

static struct node *at(const struct ptree *t, uint32_t id)
{
    return slots_at(&t->nodes, id);
}

/* ---- the table of children ---- */

static uint32_t child_hash(uint32_t parent, uint64_t stream, uint32_t start)
{
    return (uint32_t)hash_mix(stream, (uint64_t)parent << 32 | start);
}

static uint32_t child_find(const struct ptree *t, uint32_t parent, const struct edge_cursor *c)
{
    uint64_t stream = c->run->stream;
    uint32_t start = c->run->start + c->skip;
    uint32_t hash = child_hash(parent, stream, start);
    size_t mask = t->child_len - 1;
    for (size_t i = hash & mask; t->child[i].id != 0; i = (i + 1) & mask) {
        const struct node *n = at(t, t->child[i].id);
        if (t->child[i].hash == hash && n->parent == parent && n->edge.run[0].stream == stream &&
            n->edge.run[0].start == start)
            return t->child[i].id;
    }
    return PTREE_ROOT;
}

/* The slot that holds `id`, or, for an id that is not in the table, where it would go. */
static size_t child_place(const struct ptree *t, uint32_t id, uint32_t hash)
{
    size_t mask = t->child_len - 1;
    size_t i = hash & mask;
    while (t->child[i].id != 0 && t->child[i].id != id)
        i = (i + 1) & mask;
    return i;
}

static void child_table_grow(struct ptree *t)
{
    struct child_slot *old = t->child;
    size_t old_len = t->child_len;
    t->child_len = old_len * 2;
    t->child = mem_alloc(t->child_len * sizeof(*t->child));
    for (size_t i = 0; i < old_len; i++)
        if (old[i].id != 0)
            t->child[child_place(t, old[i].id, old[i].hash)] = old[i];
    mem_free(old);
}

static uint32_t node_hash(const struct ptree *t, uint32_t id)
{
    const struct node *n = at(t, id);
    return child_hash(n->parent, n->edge.run[0].stream, n->edge.run[0].start);
}

/* The node has its parent and its first block. */
static void child_add(struct ptree *t, uint32_t id)
{
    if (t->n_nodes > t->child_len / 2)
        child_table_grow(t);
    uint32_t hash = node_hash(t, id);
    t->child[child_place(t, id, hash)] = (struct child_slot){id, hash};
}

static void child_remove(struct ptree *t, uint32_t id)
{
    size_t mask = t->child_len - 1;
    size_t hole = child_place(t, id, node_hash(t, id));
    CHECK(t->child[hole].id == id, INV_CHILDREN, "node %u is not in the table", id);
    /* Later entries of the cluster move up unless that would put them before their home. */
    for (size_t i = (hole + 1) & mask; t->child[i].id != 0; i = (i + 1) & mask) {
        size_t home = t->child[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->child[hole] = t->child[i];
            hole = i;
        }
    }
    t->child[hole] = (struct child_slot){0};
}

/* ---- nodes ---- */

/* A slot with zeroed policy state. */
static uint32_t node_take(struct ptree *t)
{
    uint32_t id = slots_take(&t->nodes);
    slots_ensure(&t->states, id + 1);
    if (t->states.elem_bytes > 0)
        memset(slots_at(&t->states, id), 0, t->states.elem_bytes);
    t->n_nodes++;
    return id;
}

/* A new child of `parent`, used now, with the cursor's blocks and the caller's reference. */
static uint32_t node_new(struct ptree *t, uint32_t parent, struct edge_cursor c, uint32_t *added)
{
    uint32_t id = node_take(t);
    struct node *n = at(t, id);
    *n = (struct node){.number = t->next_number++,
                       .created_use = t->use,
                       .last_use = t->use,
                       .parent = parent,
                       .refs = 1,
                       .depth_blocks = at(t, parent)->depth_blocks};
    at(t, parent)->n_children++;
    *added = edge_append(&n->edge, c, UINT32_MAX);
    n->depth_blocks += *added;
    child_add(t, id);
    if (t->ops->on_insert != NULL) {
        struct prefix_node_view v = prefix_node(t, id);
        t->ops->on_insert(t->policy, &v, slots_at(&t->states, id));
    }
    return id;
}

/* Moves the first `blocks` of a node into a new node above it, and returns that one. Whoever has a
 * reference to the old id has one to both, and a candidate keeps its place in the order. */
static uint32_t node_split(struct ptree *t, uint32_t id, uint32_t blocks)
{
    uint32_t head = node_take(t);
    struct node *h = at(t, head), *n = at(t, id);
    *h = (struct node){.number = t->next_number++,
                       .created_use = n->created_use,
                       .last_use = n->last_use,
                       .parent = n->parent,
                       .n_children = 1,
                       .refs = n->refs,
                       .hits = n->hits,
                       .depth_blocks = n->depth_blocks - n->edge.n_blocks + blocks};
    edge_append(&h->edge, edge_start(&n->edge), blocks);
    child_remove(t, id);
    edge_drop_front(&n->edge, blocks);
    n->parent = head;
    child_add(t, head);
    child_add(t, id);
    if (t->states.elem_bytes > 0)
        memcpy(slots_at(&t->states, head), slots_at(&t->states, id), t->states.elem_bytes);
    if (t->ops->on_split != NULL) {
        struct prefix_node_view v = prefix_node(t, head);
        t->ops->on_split(t->policy, &v, id);
    }
    return head;
}

static void node_delete(struct ptree *t, uint32_t id)
{
    struct node *n = at(t, id);
    if (prefix_heap_has(&t->candidates, id))
        prefix_heap_remove(&t->candidates, id);
    child_remove(t, id);
    at(t, n->parent)->n_children--;
    mem_free(n->edge.run);
    *n = (struct node){0};
    slots_give(&t->nodes, id);
    t->n_nodes--;
}

/* Enters a node among the candidates if it is one now. */
static void offer(struct ptree *t, uint32_t id)
{
    const struct node *n = at(t, id);
    if (id == PTREE_ROOT || n->refs > 0 || n->n_children > 0)
        return;
    double priority = 0;
    if (t->ops->priority != NULL) {
        struct prefix_node_view v = prefix_node(t, id);
        priority = t->ops->priority(t->policy, &v, slots_at(&t->states, id));
    }
    prefix_heap_put(&t->candidates, id, priority, n->number);
}

/* Removes the last `blocks` of a leaf, and the leaf with its last block. */
static void remove_tail(struct ptree *t, uint32_t id, uint32_t blocks)
{
    struct node *n = at(t, id);
    if (t->ops->on_evict != NULL) {
        struct prefix_node_view v = prefix_node(t, id);
        t->ops->on_evict(t->policy, &v, slots_at(&t->states, id), blocks);
    }
    if (blocks == n->edge.n_blocks) {
        node_delete(t, id);
        return;
    }
    edge_drop_back(&n->edge, blocks);
    n->depth_blocks -= blocks;
}

/* One reference more on a child of a pinned node. Returns the blocks that were cached until now. */
static uint32_t refer(struct ptree *t, uint32_t id)
{
    struct node *n = at(t, id);
    if (n->refs++ > 0)
        return 0;
    if (n->n_children == 0)
        prefix_heap_remove(&t->candidates, id);
    t->cached -= n->edge.n_blocks;
    t->pinned += n->edge.n_blocks;
    return n->edge.n_blocks;
}

/* One reference less from `id` to the root. Returns the blocks that are cached from now on. Only
 * the end can become a candidate: every node above it has a child on the path. */
static uint32_t unrefer(struct ptree *t, uint32_t end, bool touch)
{
    uint32_t cached = 0;
    for (uint32_t id = end; id != PTREE_ROOT; id = at(t, id)->parent) {
        struct node *n = at(t, id);
        CHECK(n->refs > 0, INV_CHAIN, "node %u of the path to %u has no reference", id, end);
        if (touch)
            n->last_use = t->use;
        if (--n->refs == 0)
            cached += n->edge.n_blocks;
    }
    t->pinned -= cached;
    t->cached += cached;
    offer(t, end);
    return cached;
}

/* The child of `parent` that starts with the cursor's next blocks, cut to the blocks that agree
 * and to `limit`; the cursor moves past them. PTREE_ROOT if there is none. */
static uint32_t step_down(struct ptree *t, uint32_t parent, struct edge_cursor *c, uint32_t limit)
{
    if (limit == 0 || c->left == 0 || at(t, parent)->n_children == 0)
        return PTREE_ROOT;
    uint32_t child = child_find(t, parent, c);
    if (child == PTREE_ROOT)
        return PTREE_ROOT;
    uint32_t same = edge_match(&at(t, child)->edge, *c, limit);
    edge_cursor_skip(c, same);
    return same < at(t, child)->edge.n_blocks ? node_split(t, child, same) : child;
}

/* ---- the interface ---- */

struct ptree *ptree_open(const struct prefix_ops *ops, void *policy)
{
    struct ptree *t = mem_alloc(sizeof(*t));
    t->ops = ops;
    t->policy = policy;
    slots_init(&t->nodes, sizeof(struct node));
    slots_init(&t->states, ops->node_state_bytes);
    t->child_len = 64;
    t->child = mem_alloc(t->child_len * sizeof(*t->child));
    prefix_heap_init(&t->candidates);
    uint32_t root = slots_take(&t->nodes);
    CHECK(root == PTREE_ROOT, INV_CHILDREN, "the first slot is %u", root);
    t->next_number = 1;
    at(t, root)->number = t->next_number++;
    return t;
}

void ptree_close(struct ptree *t)
{
    for (uint32_t id = 0; id < t->nodes.high; id++)
        mem_free(at(t, id)->edge.run);
    slots_release(&t->nodes);
    slots_release(&t->states);
    mem_free(t->child);
    prefix_heap_release(&t->candidates);
    if (t->ops->close != NULL)
        t->ops->close(t->policy);
    mem_free(t);
}

struct ptree_hit ptree_find(const struct ptree *t, const struct key_run *run, size_t n_runs,
                            uint32_t max_blocks)
{
    struct edge_cursor c = {.run = run, .left = n_runs};
    struct ptree_hit hit = {.node = PTREE_ROOT};
    while (hit.n_blocks < max_blocks && c.left > 0) {
        uint32_t id = child_find(t, hit.node, &c);
        if (id == PTREE_ROOT)
            break;
        uint32_t same = edge_match(&at(t, id)->edge, c, max_blocks - hit.n_blocks);
        hit.node = id;
        hit.n_blocks += same;
        if (same < at(t, id)->edge.n_blocks)
            break;
        edge_cursor_skip(&c, same);
    }
    return hit;
}

uint32_t ptree_match(const struct ptree *t, const struct key_run *run, size_t n_runs,
                     uint32_t max_blocks)
{
    return ptree_find(t, run, n_runs, max_blocks).n_blocks;
}

uint32_t ptree_parent(const struct ptree *t, uint32_t node)
{
    return at(t, node)->parent;
}

/* A request matched through this node, in the operation that t->use counts. */
static void access_node(struct ptree *t, uint32_t id)
{
    struct node *n = at(t, id);
    n->last_use = t->use;
    n->hits++;
    if (t->ops->on_access != NULL) {
        struct prefix_node_view v = prefix_node(t, id);
        t->ops->on_access(t->policy, &v, slots_at(&t->states, id));
    }
}

struct ptree_pin ptree_pin(struct ptree *t, const struct key_run *run, size_t n_runs,
                           uint32_t max_blocks, bool touch)
{
    struct edge_cursor c = {.run = run, .left = n_runs};
    struct ptree_pin pin = {.node = PTREE_ROOT};
    uint32_t id;
    if (touch)
        t->use++;
    while ((id = step_down(t, pin.node, &c, max_blocks - pin.n_blocks)) != PTREE_ROOT) {
        struct node *n = at(t, id);
        pin.node = id;
        pin.n_blocks += n->edge.n_blocks;
        pin.n_revived += refer(t, id);
        if (touch)
            access_node(t, id);
    }
    return pin;
}

void ptree_touch(struct ptree *t, uint32_t node)
{
    t->use++;
    for (; node != PTREE_ROOT; node = at(t, node)->parent)
        access_node(t, node);
}

/* May the caller's path grow without a new node? Not if other paths end here (they would grow
 * too), and not below blocks that were matched: what is appended never was. */
static bool grows_in_place(const struct ptree *t, uint32_t id)
{
    const struct node *n = at(t, id);
    return id != PTREE_ROOT && n->refs == 1 && n->n_children == 0 && n->hits == 0;
}

uint32_t ptree_extend(struct ptree *t, uint32_t node, const struct key_run *run, size_t n_runs,
                      uint32_t *added, uint32_t *revived)
{
    struct edge_cursor c = {.run = run, .left = n_runs};
    uint32_t id;
    *added = *revived = 0;
    t->use++;
    while ((id = step_down(t, node, &c, UINT32_MAX)) != PTREE_ROOT) {
        *revived += refer(t, id);
        at(t, id)->last_use = t->use;
        node = id;
    }
    if (c.left == 0)
        return node;
    if (grows_in_place(t, node)) {
        struct node *n = at(t, node);
        *added = edge_append(&n->edge, c, UINT32_MAX);
        n->depth_blocks += *added;
        n->last_use = t->use;
        if (t->ops->on_grow != NULL) {
            struct prefix_node_view v = prefix_node(t, node);
            t->ops->on_grow(t->policy, &v, slots_at(&t->states, node), *added);
        }
    } else {
        node = node_new(t, node, c, added);
    }
    t->pinned += *added;
    return node;
}

uint32_t ptree_unpin(struct ptree *t, uint32_t node, bool touch)
{
    if (touch)
        t->use++;
    return unrefer(t, node, touch);
}

uint32_t ptree_unpin_drop(struct ptree *t, uint32_t node, uint32_t n_blocks, uint32_t *removed)
{
    *removed = 0;
    t->use++;
    while (node != PTREE_ROOT && *removed < n_blocks) {
        const struct node *n = at(t, node);
        if (n->refs != 1 || n->n_children > 0)
            break;
        uint32_t parent = n->parent, blocks = MIN(n_blocks - *removed, n->edge.n_blocks);
        bool all = blocks == n->edge.n_blocks;
        remove_tail(t, node, blocks);
        *removed += blocks;
        if (!all)
            break;
        node = parent;
    }
    t->pinned -= *removed;
    return unrefer(t, node, true);
}

uint32_t ptree_victim(const struct ptree *t)
{
    if (t->candidates.n == 0)
        return PTREE_ROOT;
    if (t->ops->victim == NULL)
        return prefix_heap_first(&t->candidates);
    uint32_t id = t->ops->victim(t->policy, t);
    CHECK(prefix_heap_has(&t->candidates, id), INV_CANDIDATES, "%s.victim: node %u is no candidate",
          t->ops->name, id);
    return id;
}

void ptree_path(const struct ptree *t, uint32_t node, struct key_run **out, size_t *n, size_t *cap)
{
    size_t n_runs = 0;
    for (uint32_t id = node; id != PTREE_ROOT; id = at(t, id)->parent)
        n_runs += at(t, id)->edge.n_runs;
    *out = mem_reserve(*out, cap, *n + n_runs, sizeof(**out));
    *n += n_runs;
    struct key_run *end = *out + *n;
    for (uint32_t id = node; id != PTREE_ROOT; id = at(t, id)->parent) {
        end -= at(t, id)->edge.n_runs;
        memcpy(end, at(t, id)->edge.run, at(t, id)->edge.n_runs * sizeof(*end));
    }
}

uint32_t ptree_evict(struct ptree *t, uint32_t id, uint32_t want, uint64_t *last)
{
    if (want == 0 || id == PTREE_ROOT)
        return 0;
    uint32_t parent = at(t, id)->parent, n = at(t, id)->edge.n_blocks;
    uint32_t blocks = MIN(t->ops->per_block ? 1 : want, n);
    *last = edge_hash(&at(t, id)->edge, blocks);
    remove_tail(t, id, blocks);
    if (blocks == n) {
        offer(t, parent);
    } else if (t->ops->per_block) {
        prefix_heap_remove(&t->candidates, id);
        offer(t, id);
    }
    t->cached -= blocks;
    return blocks;
}

uint64_t ptree_cached_blocks(const struct ptree *t)
{
    return t->cached;
}

uint64_t ptree_pinned_blocks(const struct ptree *t)
{
    return t->pinned;
}

uint32_t ptree_nodes(const struct ptree *t)
{
    return t->n_nodes;
}

/* ---- what a policy may ask (prefix.h) ---- */

struct prefix_node_view prefix_node(const struct ptree *t, uint32_t id)
{
    const struct node *n = at(t, id);
    return (struct prefix_node_view){.tree = t,
                                     .id = id,
                                     .number = n->number,
                                     .n_blocks = n->edge.n_blocks,
                                     .depth_blocks = n->depth_blocks,
                                     .created_use = n->created_use,
                                     .last_use = n->last_use,
                                     .hits = n->hits};
}

void *prefix_state(const struct ptree *t, uint32_t id)
{
    return slots_at(&t->states, id);
}

bool prefix_evictable(const struct ptree *t, uint32_t id)
{
    return prefix_heap_has(&t->candidates, id);
}

uint32_t prefix_candidates(const struct ptree *t)
{
    return (uint32_t)t->candidates.n;
}

uint32_t prefix_candidate(const struct ptree *t, uint32_t i)
{
    return t->candidates.v[i].id;
}

uint64_t prefix_now(const struct ptree *t)
{
    return t->use;
}

uint64_t prefix_block_hash(const struct ptree *t, uint32_t id, uint32_t from_end)
{
    return edge_hash(&at(t, id)->edge, from_end);
}

/* ---- audit ---- */

/* What the children of a node add up to. */
struct tally {
    uint32_t children, refs;
};

static void audit_node(const struct ptree *t, uint32_t id, struct tally below)
{
    const struct node *n = at(t, id);
    CHECK(n->n_children == below.children, INV_CHAIN, "node %u says %u children, has %u", id,
          n->n_children, below.children);
    if (id == PTREE_ROOT)
        return;
    CHECK(n->refs >= below.refs, INV_CHAIN, "node %u has %u references, its children %u", id,
          n->refs, below.refs);
    bool candidate = n->refs == 0 && n->n_children == 0;
    CHECK(prefix_heap_has(&t->candidates, id) == candidate, INV_CANDIDATES,
          "node %u: %u references, %u children, candidate %d", id, n->refs, n->n_children,
          prefix_heap_has(&t->candidates, id));
    struct edge_cursor first = edge_start(&n->edge);
    uint32_t found = child_find(t, n->parent, &first);
    CHECK(found == id, INV_CHILDREN, "node %u: node %u has its first block", id, found);
    uint64_t blocks = 0;
    for (size_t i = 0; i < n->edge.n_runs; i++)
        blocks += n->edge.run[i].n;
    CHECK(n->edge.n_blocks > 0 && blocks == n->edge.n_blocks, INV_BLOCKS,
          "node %u: %u blocks, its runs %" PRIu64, id, n->edge.n_blocks, blocks);
    uint64_t depth = (uint64_t)at(t, n->parent)->depth_blocks + n->edge.n_blocks;
    CHECK(n->depth_blocks == depth, INV_BLOCKS, "node %u: depth %u, parent's and own %" PRIu64, id,
          n->depth_blocks, depth);
}

void ptree_audit(const struct ptree *t)
{
    uint64_t pinned = 0, cached = 0;
    uint32_t n_nodes = 0, n_candidates = 0;
    struct tally *below = mem_alloc(t->nodes.high * sizeof(*below));
    for (uint32_t id = 1; id < t->nodes.high; id++) {
        const struct node *n = at(t, id);
        if (n->number == 0)
            continue;
        CHECK(at(t, n->parent)->number != 0, INV_CHAIN, "node %u: its parent %u is gone", id,
              n->parent);
        n_nodes++;
        n_candidates += n->refs == 0 && n->n_children == 0;
        *(n->refs > 0 ? &pinned : &cached) += n->edge.n_blocks;
        below[n->parent].children++;
        below[n->parent].refs += n->refs;
    }
    for (uint32_t id = 0; id < t->nodes.high; id++)
        if (at(t, id)->number != 0)
            audit_node(t, id, below[id]);
    mem_free(below);
    CHECK(n_nodes == t->n_nodes, INV_CHAIN, "%u nodes counted, %u said", n_nodes, t->n_nodes);
    CHECK(t->candidates.n == n_candidates, INV_CANDIDATES, "%zu offered, %u are candidates",
          t->candidates.n, n_candidates);
    CHECK(pinned == t->pinned && cached == t->cached, INV_BLOCKS,
          "pinned %" PRIu64 " said %" PRIu64 ", cached %" PRIu64 " said %" PRIu64, pinned,
          t->pinned, cached, t->cached);
    prefix_heap_audit(&t->candidates);
}
