/* Prefix policies on independent objects (`trace cache --flat`) against a few lines each that do
 * the same by looking at everything: every access must hit or miss alike. On paths, what must hold
 * for all of them; and Mooncake's two traces against hit rates of another program. */
#include <stdlib.h>
#include <string.h>

#include "experiments/cache_replay.h"
#include "policies/registry.h"
#include "sim/arena.h"
#include "sim/prefix_tree.h"
#include "sim/rng.h"
#include "tests/support/memory_trace.h"
#include "tests/support/shared_trace.h"

#define MAX_OBJECTS 60
#define N_ACCESSES 3000

/* ---- the oracles: arrays, and a look at all of them ---- */

struct object {
    uint32_t key, hits;
    uint64_t used;
    bool in_main;
};

struct oracle {
    const uint32_t *seq; /* what is accessed */
    size_t at;
    struct object in[MAX_OBJECTS + 1]; /* in order of arrival (S3-FIFO: of entering a queue) */
    size_t n, cap, hand_at;
    uint32_t ghost[MAX_OBJECTS];
    size_t n_ghosts;
    bool has_evicted;
};

static void take_out(struct oracle *o, size_t i)
{
    memmove(&o->in[i], &o->in[i + 1], (o->n - i - 1) * sizeof(o->in[0]));
    o->n--;
}

static size_t lowest(const struct oracle *o, uint64_t (*of)(const struct oracle *, size_t))
{
    size_t best = 0;
    for (size_t i = 1; i < o->n; i++)
        if (of(o, i) < of(o, best))
            best = i;
    return best;
}

static uint64_t by_use(const struct oracle *o, size_t i)
{
    return o->in[i].used;
}

static uint64_t by_hits(const struct oracle *o, size_t i)
{
    return (uint64_t)o->in[i].hits * N_ACCESSES + o->in[i].used;
}

static uint64_t by_next_use(const struct oracle *o, size_t i)
{
    for (size_t k = o->at; k < N_ACCESSES; k++)
        if (o->seq[k] == o->in[i].key)
            return N_ACCESSES - k;
    return 0;
}

static void evict_lru(struct oracle *o)
{
    take_out(o, lowest(o, by_use));
}

static void evict_fifo(struct oracle *o)
{
    take_out(o, 0);
}

static void evict_lfu(struct oracle *o)
{
    take_out(o, lowest(o, by_hits));
}

static void evict_belady(struct oracle *o)
{
    take_out(o, lowest(o, by_next_use));
}

static void evict_sieve(struct oracle *o)
{
    for (;; o->hand_at++) {
        if (o->hand_at >= o->n)
            o->hand_at = 0;
        if (o->in[o->hand_at].hits == 0)
            break;
        o->in[o->hand_at].hits = 0;
    }
    take_out(o, o->hand_at);
    if (o->hand_at == o->n) /* behind the newest: the oldest is next, whoever comes meanwhile */
        o->hand_at = 0;
}

static size_t count(const struct oracle *o, bool in_main)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++)
        n += o->in[i].in_main == in_main;
    return n;
}

static size_t oldest(const struct oracle *o, bool in_main)
{
    size_t i = 0;
    while (o->in[i].in_main != in_main)
        i++;
    return i;
}

static void enter_main(struct oracle *o, size_t i, uint32_t hits)
{
    struct object x = o->in[i];
    take_out(o, i);
    x.in_main = true;
    x.hits = hits;
    o->in[o->n++] = x;
}

static bool ghost_gone(struct oracle *o, uint32_t key)
{
    for (size_t i = 0; i < o->n_ghosts; i++)
        if (o->ghost[i] == key) {
            memmove(&o->ghost[i], &o->ghost[i + 1], (o->n_ghosts - i - 1) * sizeof(o->ghost[0]));
            o->n_ghosts--;
            return true;
        }
    return false;
}

static void evict_s3fifo(struct oracle *o)
{
    size_t small_cap = o->cap / 10, main_cap = o->cap - small_cap;
    o->has_evicted = true;
    bool in_small = count(o, true) <= main_cap;
    while (in_small && count(o, false) > 0) {
        size_t i = oldest(o, false);
        if (o->in[i].hits >= 2) {
            enter_main(o, i, 0);
            continue;
        }
        uint32_t key = o->in[i].key;
        if (o->n_ghosts == main_cap)
            (void)ghost_gone(o, o->ghost[0]);
        o->ghost[o->n_ghosts++] = key;
        take_out(o, i);
        return;
    }
    for (;;) {
        size_t i = oldest(o, true);
        if (o->in[i].hits == 0) {
            take_out(o, i);
            return;
        }
        enter_main(o, i, MIN(o->in[i].hits, 3) - 1);
    }
}

static const struct {
    const char *id;
    void (*evict)(struct oracle *);
} oracles[] = {
    {"lru", evict_lru},     {"fifo", evict_fifo},     {"lfu", evict_lfu},
    {"sieve", evict_sieve}, {"s3fifo", evict_s3fifo}, {"belady", evict_belady},
};

static bool oracle_access(struct oracle *o, void (*evict)(struct oracle *))
{
    uint32_t key = o->seq[o->at++];
    for (size_t i = 0; i < o->n; i++)
        if (o->in[i].key == key) {
            o->in[i].hits++;
            o->in[i].used = o->at;
            return true;
        }
    bool s3 = evict == evict_s3fifo, seen = s3 && ghost_gone(o, key);
    if (o->n == o->cap)
        evict(o);
    bool filling = s3 && !o->has_evicted && count(o, false) >= o->cap / 10;
    o->in[o->n++] = (struct object){.key = key, .used = o->at, .in_main = seen || filling};
    return false;
}

/* ---- objects ---- */

/* Skewed, and drifting, so that all policies differ. */
static void draw(struct rng *g, uint32_t *seq)
{
    for (uint32_t i = 0; i < N_ACCESSES; i++) {
        uint32_t a = (uint32_t)rng_below(g, 150), b = (uint32_t)rng_below(g, 150);
        seq[i] = 1 + MIN(a, b) + (rng_below(g, 3) == 0 ? i / 40 : 0);
    }
}

static struct cache_sim *open_sim(const char *id, const struct cache_setup *setup)
{
    struct params params;
    struct err e = {0};
    params_init(&params);
    struct cache_sim *sim = cache_sim_open(prefix_find(id), &params, setup, &e);
    ck_assert_msg(sim != NULL, "%s: %s", id, e.text);
    params_release(&params);
    return sim;
}

/* Hits of every prefix of a trace of one-block records, so that a difference shows where it is. */
static void replay_records(const struct trace_rec *rec, size_t n, struct cache_sim *sim)
{
    struct memory_trace m = {.rec = rec, .n = n};
    struct trace_source src = memory_trace_source(&m, 10);
    struct err e = {0};
    ck_assert_msg(cache_replay(&src, "test", &sim, 1, &e), "%s", e.text);
}

static void read_future(const struct trace_rec *rec, size_t n, struct block_future *f)
{
    struct memory_trace m = {.rec = rec, .n = n};
    struct trace_source src = memory_trace_source(&m, 10);
    struct err e = {0};
    ck_assert(block_future_read(f, &src, &e));
}

START_TEST(as_the_oracle_says)
{
    static uint32_t seq[N_ACCESSES];
    static struct trace_rec rec[N_ACCESSES];
    static struct segment seg[N_ACCESSES];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng g;
        rng_init(&g, seed, "objects");
        draw(&g, seq);
        for (size_t i = 0; i < N_ACCESSES; i++) {
            seg[i] = (struct segment){.stream = seq[i], .tokens = 10};
            rec[i] = (struct trace_rec){.after = TRACE_NO_PARENT,
                                        .prompt_tokens = 10,
                                        .output_tokens = 1,
                                        .segment = &seg[i],
                                        .n_segments = 1};
        }
        struct block_future f = {0};
        read_future(rec, N_ACCESSES, &f);
        struct oracle o = {.seq = seq, .cap = 10 + rng_below(&g, MAX_OBJECTS - 9)};
        struct cache_setup setup = {
            .capacity = o.cap, .flat = true, .block_tokens = 10, .future = &f};
        struct cache_sim *sim = open_sim(oracles[_i].id, &setup);
        for (size_t i = 0; i < N_ACCESSES; i++) {
            uint64_t before = cache_sim_counts(sim).hit_blocks;
            replay_records(&rec[i], 1, sim);
            bool hit = cache_sim_counts(sim).hit_blocks > before;
            bool want = oracle_access(&o, oracles[_i].evict);
            ck_assert_msg(hit == want, "%s, workload %llu, access %zu to %u: %s", oracles[_i].id,
                          (unsigned long long)seed, i, seq[i], hit ? "hit" : "missed");
        }
        cache_sim_close(sim);
        block_future_release(&f);
    }
}
END_TEST

/* ---- paths ---- */

#define N_PROMPTS 400
#define MAX_TURNS 6

/* Conversations that grow, over a few common beginnings. */
static size_t draw_paths(struct rng *g, struct trace_rec *rec, struct segment seg[][2])
{
    uint32_t turn[40] = {0};
    for (size_t i = 0; i < N_PROMPTS; i++) {
        uint32_t who = (uint32_t)rng_below(g, ARRAY_LEN(turn));
        turn[who] = turn[who] % MAX_TURNS + 1;
        seg[i][0] = (struct segment){.stream = 1 + who % 5, .tokens = 30};
        seg[i][1] = (struct segment){.stream = 100 + who, .tokens = 20 * turn[who]};
        rec[i] = (struct trace_rec){.after = TRACE_NO_PARENT,
                                    .prompt_tokens = 30 + 20 * turn[who],
                                    .output_tokens = 1,
                                    .segment = seg[i],
                                    .n_segments = 2};
    }
    return N_PROMPTS;
}

/* With room for all, all hit what can be hit; nobody hits more than that; and the one that knows
 * the future hits at least as much as anybody else. */
START_TEST(on_paths)
{
    static struct trace_rec rec[N_PROMPTS];
    static struct segment seg[N_PROMPTS][2];
    const struct prefix_ops *ops;
    uint64_t differ = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct rng g;
        rng_init(&g, seed, "paths");
        size_t n = draw_paths(&g, rec, seg);
        struct block_future f = {0};
        read_future(rec, n, &f);
        struct cache_setup setup = {.block_tokens = 10, .pair_cost = 1e-4, .future = &f};
        uint64_t all = 0, bound = 0;
        static const uint64_t capacities[] = {CACHE_UNLIMITED, 150, 60, 25};
        for (size_t c = 0; c < ARRAY_LEN(capacities); c++) {
            setup.capacity = capacities[c];
            struct cache_sim *best = open_sim("belady", &setup);
            replay_records(rec, n, best);
            bound = cache_sim_counts(best).hit_blocks;
            cache_sim_close(best);
            all = c == 0 ? bound : all;
            for (size_t i = 0; (ops = prefix_at(i)) != NULL; i++) {
                struct cache_sim *sim = open_sim(ops->name, &setup);
                replay_records(rec, n, sim);
                struct cache_counts got = cache_sim_counts(sim);
                cache_sim_close(sim);
                ck_assert_msg(got.hit_blocks <= bound, "%s hits %llu, belady %llu", ops->name,
                              (unsigned long long)got.hit_blocks, (unsigned long long)bound);
                ck_assert_msg(c > 0 || got.hit_blocks == all, "%s hits %llu of %llu with room",
                              ops->name, (unsigned long long)got.hit_blocks,
                              (unsigned long long)all);
                differ += got.hit_blocks < bound;
            }
        }
        block_future_release(&f);
    }
    ck_assert_uint_gt(differ, 100);
}
END_TEST

/* ---- Greedy-Dual's clock ---- */

static uint32_t add_leaf(struct ptree *t, uint64_t stream, uint32_t n_blocks)
{
    const struct key_run run = {.stream = stream, .n = n_blocks};
    uint32_t added, revived;
    uint32_t node = ptree_extend(t, PTREE_ROOT, &run, 1, &added, &revived);
    (void)ptree_unpin(t, node, false);
    return node;
}

/* Blocks that go one by one move the clock no further than all at once: so the same one is next,
 * which under gdsf is the long prefix that came after, and not the short one that was there. */
START_TEST(one_by_one_or_at_once)
{
    static const char *const ids[] = {"gdsf", "pgdsf"};
    static const uint32_t wants[] = {100, 1, 7};
    const struct prefix_ops *ops = prefix_find(ids[_i]);
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        const struct prefix_env env = {.block_tokens = 10, .pair_cost = 1e-4};
        struct params none = {.n = 0};
        struct arena arena;
        struct err e = {0};
        uint64_t last;
        arena_init(&arena);
        struct ptree *t = ptree_open(ops, ops->open(&arena, &none, &env, &e));
        uint32_t first = add_leaf(t, 1, 100);
        for (uint32_t gone = 0; gone < 99;)
            gone += ptree_evict(t, ptree_victim(t), MIN(wants[i], 99 - gone), &last);
        uint32_t brief = add_leaf(t, 2, 60);
        ck_assert_uint_eq(ptree_evict(t, first, 1, &last), 1);
        uint32_t late = add_leaf(t, 3, 100);
        ck_assert_uint_eq(ptree_victim(t), _i == 0 ? late : brief);
        ptree_close(t);
        arena_release(&arena);
    }
}
END_TEST

/* ---- Mooncake ---- */

/* Block hit rates in per cent at 1,830, 18,300 and 55,000 blocks, blocks as independent objects, of
 * a Python program written apart from ours after the papers and libCacheSim's defaults. */
static const struct {
    const char *file, *id;
    double rate[3];
} mooncake[] = {
    {"conversation", "lru", {5.227, 27.861, 35.775}},
    {"conversation", "fifo", {5.049, 25.583, 34.390}},
    {"conversation", "lfu", {5.819, 19.504, 34.892}},
    {"conversation", "sieve", {5.819, 19.504, 34.892}},
    {"conversation", "s3fifo", {6.751, 22.494, 29.477}},
    {"conversation", "belady", {24.647, 36.641, 36.641}},
    {"synthetic", "lru", {13.374, 55.339, 63.960}},
    {"synthetic", "fifo", {12.882, 52.157, 63.960}},
    {"synthetic", "lfu", {8.820, 57.091, 63.960}},
    {"synthetic", "sieve", {8.820, 57.091, 63.960}},
    {"synthetic", "s3fifo", {13.564, 54.578, 63.960}},
    {"synthetic", "belady", {36.442, 63.960, 63.960}},
};

static const uint64_t mooncake_blocks[] = {1830, 18300, 55000};

static bool open_mooncake(struct shared_trace *t, const char *file)
{
    char path[128];
    snprintf(path, sizeof(path), "mooncake-fast25/%s_trace.jsonl.gz", file);
    return shared_trace_open(t, path);
}

START_TEST(on_mooncake)
{
    struct shared_trace t;
    if (!open_mooncake(&t, mooncake[_i].file))
        return;
    struct block_future f = {0};
    struct err e = {0};
    ck_assert(block_future_read(&f, &t.source, &e));
    shared_trace_close(&t);
    struct cache_sim *sim[ARRAY_LEN(mooncake_blocks)];
    for (size_t i = 0; i < ARRAY_LEN(sim); i++)
        sim[i] = open_sim(mooncake[_i].id, &(struct cache_setup){.capacity = mooncake_blocks[i],
                                                                 .flat = true,
                                                                 .block_tokens = 512,
                                                                 .future = &f});
    ck_assert(open_mooncake(&t, mooncake[_i].file));
    ck_assert_msg(cache_replay(&t.source, "mooncake", sim, ARRAY_LEN(sim), &e), "%s", e.text);
    shared_trace_close(&t);
    for (size_t i = 0; i < ARRAY_LEN(sim); i++) {
        struct cache_counts c = cache_sim_counts(sim[i]);
        double rate = 100 * (double)c.hit_blocks / (double)c.blocks;
        ck_assert_double_eq_tol(rate, mooncake[_i].rate[i], 0.00051);
        cache_sim_close(sim[i]);
    }
    block_future_release(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("prefix policies");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, as_the_oracle_says, 0, (int)ARRAY_LEN(oracles));
    tcase_add_test(tc, on_paths);
    tcase_add_loop_test(tc, one_by_one_or_at_once, 0, 2);
    tcase_add_loop_test(tc, on_mooncake, 0, (int)ARRAY_LEN(mooncake));
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
