/* The prefix tree: hand-written histories, the callbacks of a policy, and random histories against
 * an oracle that keeps every block by itself and evicts the least recently used leaf block. */
#include "sim/prefix_tree.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "sim/rng.h"

#define MAX_HOLDERS 6
#define MAX_PATH 64

/* A path is written as a string: the block at position i is (stream = its letter, index i). A run
 * ends where the letter changes; `cut` (0: never) ends runs earlier, which must not matter. */
static size_t runs_of(const char *path, uint32_t start, uint32_t cut, struct key_run *out)
{
    size_t n = 0;
    for (uint32_t i = 0; path[i] != '\0'; i++) {
        bool goes_on = i > 0 && path[i] == path[i - 1] && (cut == 0 || i % cut != 0);
        if (goes_on)
            out[n - 1].n++;
        else
            out[n++] = (struct key_run){(unsigned char)path[i], start + i, 1};
    }
    return n;
}

static uint64_t hash_of(char stream, uint32_t index)
{
    struct key_run r = {(unsigned char)stream, index, 1};
    return content_block_hash(&r, 0);
}

/* ---- histories written by hand ---- */

enum what {
    END,
    MATCH,  /* path, max: `a` blocks are there */
    PIN,    /* holder, path, max: `a` blocks matched, `b` revived */
    PEEK,   /* as PIN, without touch */
    EXTEND, /* holder, path: `a` added, `b` revived */
    UNPIN,  /* holder: `a` blocks are cached from now on */
    UNPEEK, /* as UNPIN, without touch */
    DROP,   /* holder, max: `a` removed, `b` cached */
    EVICT,  /* max: `a` gone, the last of them is the last block of `path` */
    BLOCKS, /* `a` pinned, `b` cached */
    NODES,  /* `a` */
};

struct op {
    enum what what;
    uint32_t holder;
    const char *path;
    uint32_t max, a, b;
};

struct history {
    const char *name;
    struct op op[24];
};

static const struct history histories[] = {
    {"an empty tree has nothing",
     {{MATCH, 0, "aaa", 9, 0, 0},
      {PIN, 0, "aaa", 9, 0, 0},
      {UNPIN, 0, "", 0, 0, 0},
      {EVICT, 0, "", 9, 0, 0},
      {NODES, 0, "", 0, 0, 0}}},
    {"a path is found again, as far as it agrees and is wanted",
     {{EXTEND, 0, "aabb", 0, 4, 0},
      {MATCH, 0, "aabb", 9, 4, 0},
      {MATCH, 0, "aabbcc", 9, 4, 0},
      {MATCH, 0, "aabc", 9, 3, 0},
      {MATCH, 0, "aabb", 3, 3, 0},
      {MATCH, 0, "ba", 9, 0, 0},
      {NODES, 0, "", 0, 1, 0}}},
    {"a leaf of one's own grows in place",
     {{EXTEND, 0, "aa", 0, 2, 0},
      {EXTEND, 0, "b", 0, 1, 0},
      {EXTEND, 0, "b", 0, 1, 0},
      {NODES, 0, "", 0, 1, 0},
      {MATCH, 0, "aabb", 9, 4, 0},
      {UNPIN, 0, "", 0, 4, 0},
      {BLOCKS, 0, "", 0, 0, 4}}},
    {"a shared leaf does not grow: its other holder's path stays as it was",
     {{EXTEND, 0, "aa", 0, 2, 0},
      {PIN, 1, "aa", 9, 2, 0},
      {EXTEND, 0, "b", 0, 1, 0},
      {NODES, 0, "", 0, 2, 0},
      {UNPIN, 0, "", 0, 1, 0},
      {UNPIN, 1, "", 0, 2, 0}}},
    {"what was matched does not grow: it was used more often than what follows",
     {{EXTEND, 0, "aa", 0, 2, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {PIN, 1, "aab", 9, 2, 2},
      {EXTEND, 1, "b", 0, 1, 0},
      {NODES, 0, "", 0, 2, 0},
      {EXTEND, 1, "b", 0, 1, 0},
      {NODES, 0, "", 0, 2, 0}}},
    {"two requests share a prefix",
     {{EXTEND, 0, "aaxx", 0, 4, 0},
      {PIN, 1, "aayyy", 9, 2, 0},
      {EXTEND, 1, "yyy", 0, 3, 0},
      {BLOCKS, 0, "", 0, 7, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {BLOCKS, 0, "", 0, 5, 2},
      {UNPIN, 1, "", 0, 5, 0},
      {NODES, 0, "", 0, 3, 0}}},
    {"a split while pinned leaves the first holder's path whole",
     {{EXTEND, 0, "aaaaa", 0, 5, 0},
      {PIN, 1, "aaa", 9, 3, 0},
      {NODES, 0, "", 0, 2, 0},
      {EXTEND, 0, "b", 0, 1, 0},
      {MATCH, 0, "aaaaab", 9, 6, 0},
      {UNPIN, 1, "", 0, 0, 0},
      {BLOCKS, 0, "", 0, 6, 0},
      {UNPIN, 0, "", 0, 6, 0}}},
    {"extending into a cached path revives it, up to where it differs",
     {{EXTEND, 0, "aabbb", 0, 5, 0},
      {UNPIN, 0, "", 0, 5, 0},
      {PIN, 1, "aa", 9, 2, 2},
      {EXTEND, 1, "bbcc", 0, 2, 2},
      {BLOCKS, 0, "", 0, 6, 1},
      {NODES, 0, "", 0, 4, 0},
      {EVICT, 0, "aabbb", 9, 1, 0},
      {EVICT, 0, "", 9, 0, 0}}},
    {"extending into a path held by others adds nothing",
     {{EXTEND, 0, "aab", 0, 3, 0},
      {EXTEND, 1, "aab", 0, 0, 0},
      {UNPIN, 0, "", 0, 0, 0},
      {UNPIN, 1, "", 0, 3, 0}}},
    {"the tail goes first, then what it hung from",
     {{EXTEND, 0, "aaa", 0, 3, 0},
      {UNPIN, 0, "", 0, 3, 0},
      {PIN, 1, "a", 9, 1, 1},
      {UNPIN, 1, "", 0, 1, 0},
      {EVICT, 0, "aaa", 1, 1, 0},
      {EVICT, 0, "aa", 9, 1, 0},
      {EVICT, 0, "a", 9, 1, 0},
      {EVICT, 0, "", 9, 0, 0},
      {NODES, 0, "", 0, 0, 0}}},
    {"a node that lost its tail can still be hit, and grows again",
     {{EXTEND, 0, "aabb", 0, 4, 0},
      {UNPIN, 0, "", 0, 4, 0},
      {EVICT, 0, "aab", 2, 2, 0},
      {PIN, 1, "aabb", 9, 2, 2},
      {EXTEND, 1, "bb", 0, 2, 0},
      {MATCH, 0, "aabb", 9, 4, 0}}},
    {"the path used longest ago goes first",
     {{EXTEND, 0, "a", 0, 1, 0},
      {EXTEND, 1, "b", 0, 1, 0},
      {EXTEND, 2, "c", 0, 1, 0},
      {UNPIN, 2, "", 0, 1, 0},
      {UNPIN, 0, "", 0, 1, 0},
      {UNPIN, 1, "", 0, 1, 0},
      {PIN, 2, "c", 9, 1, 1},
      {UNPIN, 2, "", 0, 1, 0},
      {EVICT, 0, "a", 9, 1, 0},
      {EVICT, 0, "b", 9, 1, 0},
      {EVICT, 0, "c", 9, 1, 0}}},
    {"what is pinned is never evicted",
     {{EXTEND, 0, "aaxx", 0, 4, 0},
      {UNPIN, 0, "", 0, 4, 0},
      {PIN, 1, "aax", 9, 3, 3},
      {EVICT, 0, "aaxx", 9, 1, 0},
      {EVICT, 0, "", 9, 0, 0},
      {MATCH, 0, "aaxx", 9, 3, 0},
      {UNPIN, 1, "", 0, 3, 0},
      {EVICT, 0, "a", 9, 3, 0}}},
    {"an attempt undone keeps the place in the order",
     {{EXTEND, 0, "aa", 0, 2, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {EXTEND, 0, "bb", 0, 2, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {PEEK, 1, "a", 9, 1, 1},
      {UNPEEK, 1, "", 0, 1, 0},
      {EVICT, 0, "aa", 9, 1, 0},
      {EVICT, 0, "a", 9, 1, 0},
      {EVICT, 0, "b", 9, 2, 0}}},
    {"an attempt that went ahead does not",
     {{EXTEND, 0, "aa", 0, 2, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {EXTEND, 0, "bb", 0, 2, 0},
      {UNPIN, 0, "", 0, 2, 0},
      {PEEK, 1, "aa", 9, 2, 2},
      {UNPIN, 1, "", 0, 2, 0},
      {EVICT, 0, "b", 9, 2, 0},
      {EVICT, 0, "a", 9, 2, 0}}},
    {"a private tail is dropped, the shared part cached",
     {{EXTEND, 0, "aapp", 0, 4, 0},
      {PIN, 1, "aaqq", 9, 2, 0},
      {EXTEND, 1, "qq", 0, 2, 0},
      {DROP, 0, "", 2, 2, 0},
      {MATCH, 0, "aapp", 9, 2, 0},
      {DROP, 1, "", 2, 2, 2},
      {BLOCKS, 0, "", 0, 0, 2},
      {NODES, 0, "", 0, 1, 0}}},
    {"no more is dropped than asked, nor what others use",
     {{EXTEND, 0, "aaaa", 0, 4, 0},
      {DROP, 0, "", 1, 1, 3},
      {PIN, 0, "aaaa", 9, 3, 3},
      {PIN, 1, "a", 9, 1, 0},
      {DROP, 0, "", 9, 2, 0},
      {BLOCKS, 0, "", 0, 1, 0},
      {DROP, 1, "", 9, 1, 0},
      {NODES, 0, "", 0, 0, 0}}},
    {"what has other descendants is not dropped",
     {{EXTEND, 0, "aax", 0, 3, 0},
      {UNPIN, 0, "", 0, 3, 0},
      {PIN, 1, "aa", 9, 2, 2},
      {DROP, 1, "", 9, 0, 2},
      {MATCH, 0, "aax", 9, 3, 0}}},
};

struct holder {
    bool live, dirty;
    uint32_t node;
    char path[MAX_PATH + 1];
    uint32_t block[MAX_PATH]; /* the oracle's */
    uint32_t n;
};

static void play(struct ptree *t, const struct op *op, struct holder *h)
{
    struct key_run run[MAX_PATH];
    uint32_t added = 0, revived = 0;
    uint64_t last = 0;
    size_t n_runs;
    struct ptree_pin pin;
    switch (op->what) {
    case MATCH:
        n_runs = runs_of(op->path, 0, 0, run);
        ck_assert_uint_eq(ptree_match(t, run, n_runs, op->max), op->a);
        break;
    case PIN:
    case PEEK:
        n_runs = runs_of(op->path, 0, 0, run);
        pin = ptree_pin(t, run, n_runs, op->max, op->what == PIN);
        *h = (struct holder){.node = pin.node, .n = pin.n_blocks};
        ck_assert_uint_eq(pin.n_blocks, op->a);
        ck_assert_uint_eq(pin.n_revived, op->b);
        break;
    case EXTEND:
        n_runs = runs_of(op->path, h->n, 0, run);
        h->node = ptree_extend(t, h->node, run, n_runs, &added, &revived);
        h->n += (uint32_t)strlen(op->path);
        ck_assert_uint_eq(added, op->a);
        ck_assert_uint_eq(revived, op->b);
        break;
    case UNPIN:
    case UNPEEK:
        ck_assert_uint_eq(ptree_unpin(t, h->node, op->what == UNPIN), op->a);
        *h = (struct holder){0};
        break;
    case DROP:
        ck_assert_uint_eq(ptree_unpin_drop(t, h->node, op->max, &added), op->b);
        ck_assert_uint_eq(added, op->a);
        *h = (struct holder){0};
        break;
    case EVICT:
        ck_assert_uint_eq(ptree_evict(t, ptree_victim(t), op->max, &last), op->a);
        n_runs = strlen(op->path);
        if (n_runs > 0)
            ck_assert_uint_eq(last, hash_of(op->path[n_runs - 1], (uint32_t)n_runs - 1));
        break;
    case BLOCKS:
        ck_assert_uint_eq(ptree_pinned_blocks(t), op->a);
        ck_assert_uint_eq(ptree_cached_blocks(t), op->b);
        break;
    case NODES:
        ck_assert_uint_eq(ptree_nodes(t), op->a);
        break;
    case END:
        break;
    }
}

START_TEST(test_history)
{
    const struct history *hist = &histories[_i];
    struct holder holder[MAX_HOLDERS] = {0};
    struct ptree *t = ptree_open(prefix_find("lru"), NULL);
    for (size_t i = 0; i < ARRAY_LEN(hist->op) && hist->op[i].what != END; i++) {
        play(t, &hist->op[i], &holder[hist->op[i].holder]);
        ptree_audit(t);
    }
    ptree_close(t);
}
END_TEST

/* ---- what a policy sees ---- */

/* Counts its calls; keeps in each node the number of hits it was told of; every priority is equal,
 * so that the order is that of the numbers. */
struct spy {
    uint32_t inserts, accesses, evicted;
    uint32_t state_at_evict;
    struct prefix_node_view seen;
};

static void spy_insert(void *self, const struct prefix_node_view *v, void *state)
{
    struct spy *s = self;
    ck_assert_uint_eq(*(uint32_t *)state, 0); /* also where the slot was used before */
    s->inserts++;
    s->seen = *v;
}

static void spy_access(void *self, const struct prefix_node_view *v, void *state)
{
    struct spy *s = self;
    s->accesses++;
    ++*(uint32_t *)state;
    s->seen = *v;
}

static double spy_priority(void *self, const struct prefix_node_view *v, void *state)
{
    (void)self;
    (void)v;
    (void)state;
    return 0.0;
}

static void spy_evict(void *self, const struct prefix_node_view *v, void *state, uint32_t n_blocks)
{
    struct spy *s = self;
    s->evicted += n_blocks;
    s->state_at_evict = *(uint32_t *)state;
    s->seen = *v;
}

static const struct prefix_ops spy_ops = {.name = "spy",
                                          .node_state_bytes = sizeof(uint32_t),
                                          .on_insert = spy_insert,
                                          .on_access = spy_access,
                                          .priority = spy_priority,
                                          .on_evict = spy_evict};

START_TEST(test_policy_callbacks)
{
    struct spy spy = {0};
    struct ptree *t = ptree_open(&spy_ops, &spy);
    struct holder h[2] = {0};

    play(t, &(struct op){EXTEND, 0, "aaaa", 0, 4, 0}, &h[0]);
    play(t, &(struct op){EXTEND, 0, "a", 0, 1, 0}, &h[0]); /* in place: no new node */
    ck_assert_uint_eq(spy.inserts, 1);
    ck_assert_uint_eq(spy.seen.n_blocks, 4);
    ck_assert_uint_eq(spy.seen.created_use, 1);
    play(t, &(struct op){UNPIN, 0, "", 0, 5, 0}, &h[0]);
    play(t, &(struct op){PEEK, 1, "aaaaa", 9, 5, 5}, &h[1]);
    play(t, &(struct op){UNPEEK, 1, "", 0, 5, 0}, &h[1]);
    ck_assert_uint_eq(spy.accesses, 0); /* an attempt is no hit */
    play(t, &(struct op){PIN, 1, "aaaaa", 9, 5, 5}, &h[1]);
    play(t, &(struct op){UNPIN, 1, "", 0, 5, 0}, &h[1]);
    ck_assert_uint_eq(spy.accesses, 1);
    ck_assert_uint_eq(spy.seen.hits, 1);
    ck_assert_uint_eq(spy.seen.last_use, 4);

    /* A split copies the state; only the upper half is hit. */
    play(t, &(struct op){PIN, 1, "aa", 9, 2, 2}, &h[1]);
    ck_assert_uint_eq(spy.inserts, 1);
    ck_assert_uint_eq(spy.seen.hits, 2);
    ck_assert_uint_eq(spy.seen.depth_blocks, 2);
    play(t, &(struct op){EVICT, 0, "aaaa", 2, 2, 0}, NULL);
    ck_assert_uint_eq(spy.evicted, 2);
    ck_assert_uint_eq(spy.state_at_evict, 1);
    ck_assert_uint_eq(spy.seen.n_blocks, 3); /* before they went */
    ck_assert_uint_eq(spy.seen.depth_blocks, 5);
    play(t, &(struct op){EVICT, 0, "aaa", 2, 1, 0}, NULL);
    play(t, &(struct op){UNPIN, 1, "", 0, 2, 0}, &h[1]);
    play(t, &(struct op){EVICT, 0, "a", 9, 2, 0}, NULL);
    ck_assert_uint_eq(spy.state_at_evict, 2);
    play(t, &(struct op){EXTEND, 0, "b", 0, 1, 0}, &h[0]); /* checks for zeroed state */
    ck_assert_uint_eq(spy.inserts, 2);
    ptree_close(t);
}
END_TEST

START_TEST(test_equal_priorities_go_by_number)
{
    struct spy spy = {0};
    struct ptree *t = ptree_open(&spy_ops, &spy);
    struct holder h[3] = {0};
    play(t, &(struct op){EXTEND, 0, "aa", 0, 2, 0}, &h[0]);
    play(t, &(struct op){EXTEND, 1, "bb", 0, 2, 0}, &h[1]);
    play(t, &(struct op){EXTEND, 2, "cc", 0, 2, 0}, &h[2]);
    play(t, &(struct op){UNPIN, 2, "", 0, 2, 0}, &h[2]);
    play(t, &(struct op){UNPIN, 1, "", 0, 2, 0}, &h[1]);
    play(t, &(struct op){UNPIN, 0, "", 0, 2, 0}, &h[0]);
    /* A split by an attempt that is undone must not move the leaf back. */
    play(t, &(struct op){PEEK, 0, "a", 9, 1, 1}, &h[0]);
    play(t, &(struct op){UNPEEK, 0, "", 0, 1, 0}, &h[0]);
    play(t, &(struct op){EVICT, 0, "aa", 9, 1, 0}, NULL);
    play(t, &(struct op){EVICT, 0, "b", 9, 2, 0}, NULL);
    play(t, &(struct op){EVICT, 0, "c", 9, 2, 0}, NULL);
    play(t, &(struct op){EVICT, 0, "a", 9, 1, 0}, NULL);
    ptree_close(t);
}
END_TEST

/* Enough nodes for the tables to grow and for slots to be used again. */
START_TEST(test_many_nodes)
{
    const uint32_t n = 20000;
    struct ptree *t = ptree_open(prefix_find("lru"), NULL);
    uint32_t added, revived;
    uint64_t last;
    for (uint32_t i = 0; i < 2 * n; i++) {
        struct key_run r = {i, 7, 1};
        if (i >= n) { /* room for one: the oldest goes */
            ck_assert_uint_eq(ptree_evict(t, ptree_victim(t), 1, &last), 1);
            ck_assert_uint_eq(last, content_block_hash(&(struct key_run){i - n, 7, 1}, 0));
        }
        uint32_t node = ptree_extend(t, PTREE_ROOT, &r, 1, &added, &revived);
        ck_assert_uint_eq(ptree_unpin(t, node, true), 1);
    }
    ck_assert_uint_eq(ptree_nodes(t), n);
    for (uint32_t i = 0; i < 2 * n; i++)
        ck_assert_uint_eq(ptree_match(t, &(struct key_run){i, 7, 1}, 1, 1), i >= n);
    ptree_audit(t);
    ptree_close(t);
}
END_TEST

/* ---- random histories against the oracle ---- */

#define MAX_BLOCKS 2048

struct oracle_block {
    uint32_t parent; /* 0: none; block 0 stands for the root */
    uint32_t refs, children;
    uint32_t index;
    char stream; /* 0: gone */
    uint64_t last_use;
};

struct oracle {
    struct oracle_block block[MAX_BLOCKS];
    uint32_t high;
    uint64_t use;
    uint64_t pinned, cached;
};

static uint32_t oracle_find(const struct oracle *o, uint32_t parent, char stream, uint32_t index)
{
    for (uint32_t i = 1; i <= o->high; i++)
        if (o->block[i].stream == stream && o->block[i].parent == parent &&
            o->block[i].index == index)
            return i;
    return 0;
}

static void oracle_refer(struct oracle *o, struct holder *h, uint32_t block, bool touch)
{
    struct oracle_block *b = &o->block[block];
    if (b->refs++ == 0) {
        o->pinned++;
        o->cached -= b->last_use != 0; /* 0: new */
    }
    if (touch)
        b->last_use = o->use;
    h->block[h->n++] = block;
}

static void oracle_gone(struct oracle *o, uint32_t block)
{
    o->block[o->block[block].parent].children--;
    o->block[block] = (struct oracle_block){0};
}

/* Refers to what is there of path[from..]; returns the position where it stops. */
static uint32_t oracle_follow(struct oracle *o, struct holder *h, const char *path, uint32_t from,
                              uint32_t to, bool touch)
{
    uint32_t parent = from > 0 ? h->block[from - 1] : 0, next, i = from;
    for (; i < to && (next = oracle_find(o, parent, path[i], i)) != 0; i++) {
        oracle_refer(o, h, next, touch);
        parent = next;
    }
    return i;
}

static void oracle_extend(struct oracle *o, struct holder *h, const char *path, uint32_t from,
                          uint32_t to)
{
    for (uint32_t i = oracle_follow(o, h, path, from, to, true); i < to; i++) {
        uint32_t parent = i > 0 ? h->block[i - 1] : 0, id = 1;
        while (id <= o->high && o->block[id].stream != 0)
            id++;
        ck_assert_uint_lt(id, MAX_BLOCKS);
        o->high = MAX(o->high, id);
        o->block[id] = (struct oracle_block){.parent = parent, .index = i, .stream = path[i]};
        o->block[parent].children++;
        oracle_refer(o, h, id, true);
    }
}

static uint32_t oracle_release(struct oracle *o, struct holder *h, bool touch)
{
    uint32_t cached = 0;
    while (h->n > 0) {
        struct oracle_block *b = &o->block[h->block[--h->n]];
        if (touch)
            b->last_use = o->use;
        cached += --b->refs == 0;
    }
    o->pinned -= cached;
    o->cached += cached;
    return cached;
}

static uint32_t oracle_drop(struct oracle *o, struct holder *h, uint32_t at_most)
{
    uint32_t removed = 0;
    for (; removed < at_most && h->n > 0; removed++) {
        uint32_t id = h->block[h->n - 1];
        if (o->block[id].refs != 1 || o->block[id].children > 0)
            break;
        oracle_gone(o, id);
        h->n--;
    }
    o->pinned -= removed;
    return removed;
}

/* The least recently used block that nothing refers to and nothing hangs from; 0: none. */
static uint32_t oracle_victim(const struct oracle *o)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i <= o->high; i++) {
        const struct oracle_block *b = &o->block[i];
        if (b->stream == 0 || b->refs > 0 || b->children > 0)
            continue;
        if (best == 0 || b->last_use < o->block[best].last_use)
            best = i;
    }
    return best;
}

struct world {
    struct ptree *t;
    struct oracle o;
    struct holder holder[MAX_HOLDERS];
    struct rng rng;
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)rng_below(&w->rng, n);
}

/* The letters from position h->n on: few streams, long runs, so that paths meet and part. */
static void draw_path(struct world *w, struct holder *h, uint32_t from, uint32_t n)
{
    for (uint32_t i = from; i < from + n; i++) {
        char before = i > 0 ? h->path[i - 1] : 'a';
        h->path[i] = below(w, 4) == 0 ? (char)('a' + (char)below(w, 3)) : before;
    }
    h->path[from + n] = '\0';
}

static void random_pin(struct world *w, struct holder *h)
{
    struct key_run run[MAX_PATH];
    uint32_t len = below(w, 13), max = below(w, 3) == 0 ? below(w, 13) : MAX_PATH;
    bool touch = below(w, 3) > 0;
    *h = (struct holder){.live = true};
    draw_path(w, h, 0, len);
    size_t n_runs = runs_of(h->path, 0, below(w, 4), run);
    uint64_t pinned = w->o.pinned;
    w->o.use += touch;
    uint32_t matched = oracle_follow(&w->o, h, h->path, 0, MIN(len, max), touch);
    ck_assert_uint_eq(ptree_match(w->t, run, n_runs, max), matched);
    struct ptree_pin pin = ptree_pin(w->t, run, n_runs, max, touch);
    ck_assert_uint_eq(pin.n_blocks, matched);
    ck_assert_uint_eq(pin.n_revived, w->o.pinned - pinned);
    h->node = pin.node;
}

static void random_extend(struct world *w, struct holder *h)
{
    struct key_run run[MAX_PATH];
    uint32_t from = h->n, n = 1 + below(w, 5), added, revived;
    if (from + n > MAX_PATH)
        return;
    draw_path(w, h, from, n);
    size_t n_runs = runs_of(h->path + from, from, below(w, 4), run);
    uint64_t pinned = w->o.pinned, cached = w->o.cached;
    w->o.use++;
    oracle_extend(&w->o, h, h->path, from, from + n);
    h->node = ptree_extend(w->t, h->node, run, n_runs, &added, &revived);
    h->dirty = true;
    ck_assert_uint_eq(revived, cached - w->o.cached);
    ck_assert_uint_eq(added, w->o.pinned - pinned - revived);
}

static void random_release(struct world *w, struct holder *h)
{
    bool touch = h->dirty || below(w, 2) == 0;
    uint32_t at_most = below(w, 8), removed = 0, cached;
    if (touch && below(w, 3) == 0) {
        w->o.use++;
        uint32_t gone = oracle_drop(&w->o, h, at_most);
        cached = ptree_unpin_drop(w->t, h->node, at_most, &removed);
        ck_assert_uint_eq(removed, gone);
    } else {
        w->o.use += touch;
        cached = ptree_unpin(w->t, h->node, touch);
    }
    ck_assert_uint_eq(cached, oracle_release(&w->o, h, touch));
    h->live = false;
}

static void random_evict(struct world *w)
{
    uint64_t hash = 0;
    uint32_t want = 1 + below(w, 5);
    uint32_t gone = ptree_evict(w->t, ptree_victim(w->t), want, &hash);
    ck_assert_uint_le(gone, want);
    ck_assert_int_eq(gone == 0, oracle_victim(&w->o) == 0);
    for (uint32_t i = 0; i < gone; i++) {
        uint32_t id = oracle_victim(&w->o);
        ck_assert_uint_ne(id, 0);
        if (i + 1 == gone)
            ck_assert_uint_eq(hash, hash_of(w->o.block[id].stream, w->o.block[id].index));
        oracle_gone(&w->o, id);
        w->o.cached--;
    }
}

static void random_history(uint64_t seed)
{
    struct world *w = mem_alloc(sizeof(*w));
    w->t = ptree_open(prefix_find("lru"), NULL);
    rng_init(&w->rng, seed, "test_prefix_tree");
    for (int step = 0; step < 120; step++) {
        struct holder *h = &w->holder[below(w, MAX_HOLDERS)];
        uint32_t what = below(w, 10);
        if (what < 3)
            random_evict(w);
        else if (!h->live)
            random_pin(w, h);
        else if (what < 7)
            random_extend(w, h);
        else
            random_release(w, h);
        ck_assert_uint_eq(ptree_pinned_blocks(w->t), w->o.pinned);
        ck_assert_uint_eq(ptree_cached_blocks(w->t), w->o.cached);
        ptree_audit(w->t);
    }
    for (size_t i = 0; i < MAX_HOLDERS; i++)
        if (w->holder[i].live)
            random_release(w, &w->holder[i]);
    while (w->o.cached > 0)
        random_evict(w);
    ck_assert_uint_eq(ptree_nodes(w->t), 0);
    ptree_close(w->t);
    mem_free(w);
}

START_TEST(test_random_histories)
{
    for (uint64_t i = 0; i < 500; i++)
        random_history((uint64_t)_i * 500 + i);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prefix_tree");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_history, 0, (int)ARRAY_LEN(histories));
    tcase_add_test(tc, test_policy_callbacks);
    tcase_add_test(tc, test_equal_priorities_go_by_number);
    tcase_add_test(tc, test_many_nodes);
    tcase_add_loop_test(tc, test_random_histories, 0, 6);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
