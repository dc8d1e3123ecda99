/* test_routers.c: routers case by case, on made-up loads and in small runs: whom they choose, how
 * ties end, and that old loads do not make a burst herd. */
#include <check.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/fake_cluster.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS

/* A router on a fake cluster; the test fills `c` and asks. */
struct bench {
    const struct router_ops *ops;
    struct arena arena;
    struct params params;
    struct fake_cluster c;
    void *self;
    uint32_t n, cursor[2]; /* the tenants' state of routers that have a cursor there */
};

static void bench_open(struct bench *b, const char *name, uint32_t n)
{
    *b = (struct bench){.ops = router_find(name), .n = n};
    ck_assert_ptr_ne(b->ops, NULL);
    ck_assert_uint_le(b->ops->tenant_state_bytes, sizeof(b->cursor[0]));
    arena_init(&b->arena);
    params_init(&b->params);
    for (uint32_t i = 0; i < n; i++)
        b->c.load[i].capacity_units = b->c.load[i].free_units = 1000;
}

static uint32_t ask(struct bench *b, uint32_t tenant, uint32_t prompt)
{
    struct err e = {0};
    if (b->self == NULL)
        b->self = b->ops->open(&b->arena, &b->params, b->n, 1, &e);
    struct route_view v = fake_view(&b->c, 0, b->n);
    struct req_info q = {.tenant = tenant, .prompt_tokens = prompt};
    return b->ops->route(b->self, &v, &q, &b->cursor[tenant]);
}

static void done(struct bench *b, uint32_t tenant, uint32_t replica, uint32_t out)
{
    struct route_view v = fake_view(&b->c, 0, b->n);
    struct req_info q = {.tenant = tenant};
    if (b->ops->on_done != NULL)
        b->ops->on_done(b->self, &v, &q, replica, out);
}

static void bench_close(struct bench *b)
{
    arena_release(&b->arena);
    params_release(&b->params);
}

/* ---- one decision each: three replicas, 100 prompt tokens ---- */

static const struct {
    const char *router, *why;
    struct fake_cluster c; /* free_units counts from 1000: what is taken */
    uint32_t to;
} cases[] = {
    {"jsq", "fewest in flight", {.count = {{3, 9}, {2, 9}, {4, 0}}}, 1},
    {"jsq",
     "running ones count: waiting alone says 0",
     {.count = {{5, 1}, {1, 1}, {6, 1}}, .load = {{.running = 5}, {.waiting = 1}, {.running = 6}}},
     1},
    {"jsq", "a tie goes to the one sent to least", {.count = {{2, 5}, {2, 4}, {2, 4}}}, 1},
    {"jsq", "then to the lower id", {.count = {{2, 4}, {2, 4}, {2, 4}}}, 0},
    {"least_tokens",
     "waiting and running add up",
     {.load = {{.waiting_tokens = 50},
               {.waiting_tokens = 10, .running_tokens = 39},
               {.running_tokens = 60}}},
     1},
    {"least_tokens",
     "what was sent since the snapshot counts",
     {.load = {{.sent_tokens = 70}, {.waiting_tokens = 60}, {.running_tokens = 61}}},
     1},
    {"least_kv",
     "held and asked for, less what is evictable",
     {.load = {{.free_units = 500},
               {.free_units = 600, .evictable_units = 550},
               {.free_units = 100, .waiting_units = 30}}},
     1},
    {"least_kv",
     "what was sent since the snapshot counts",
     {.load = {{.sent_units = 70}, {.waiting_units = 60}, {.free_units = 61}}},
     1},
    {"prefix_aware", "more than half of the prompt there", {.cached = {10, 51, 40}}, 1},
    {"prefix_aware",
     "half is not enough: the most free cache",
     {.cached = {10, 50, 40}, .load = {{.free_units = 20}, {.free_units = 30}, {.free_units = 10}}},
     2},
    {"prefix_aware",
     "a difference of 32 is balanced",
     {.cached = {0, 90, 0}, .count = {{0, 0}, {32, 0}, {1, 0}}},
     1},
    {"prefix_aware",
     "one of 33 is not",
     {.cached = {0, 90, 0}, .count = {{0, 0}, {33, 0}, {1, 0}}},
     0},
    {"weighted",
     "prefix 2 against queue 1", /* 2 + 0 + 0 | 0 + 1 + 0 | 0 + 1/2 + 0 */
     {.cached = {50, 0, 0}, .load = {{.waiting = 4}, {.waiting = 0}, {.waiting = 2}}},
     0},
    {"weighted",
     "queue and KV against half the prefix", /* 1 + 0 + 0 | 0 + 1 + 1 | 2 + 0 + 0 */
     {.cached = {25, 0, 50},
      .load = {{.waiting = 4, .free_units = 900},
               {.free_units = 0},
               {.waiting = 4, .free_units = 900}},
      .count = {{0, 0}, {0, 1}, {0, 2}}},
     1},
    {"weighted", "all equal: sent to least", {.count = {{0, 2}, {0, 1}, {0, 1}}}, 1},
    {"d2lpm", "the longest match", {.cached = {10, 30, 20}, .count = {{0, 0}, {9, 0}, {0, 0}}}, 1},
    {"d2lpm",
     "of equal matches the shortest queue",
     {.cached = {30, 30, 20}, .count = {{5, 0}, {4, 0}, {0, 0}}},
     1},
};

START_TEST(one_decision)
{
    struct bench b;
    bench_open(&b, cases[_i].router, 3);
    b.c = cases[_i].c;
    for (uint32_t i = 0; i < 3; i++) {
        b.c.load[i].capacity_units = 1000;
        b.c.load[i].free_units = 1000 - b.c.load[i].free_units;
    }
    ck_assert_msg(ask(&b, 0, 100) == cases[_i].to, "%s: %s", cases[_i].router, cases[_i].why);
    bench_close(&b);
}
END_TEST

START_TEST(a_cursor_for_each_tenant)
{
    struct bench b;
    bench_open(&b, "tenant_round_robin", 3);
    static const uint32_t tenant[] = {0, 0, 1, 0, 1, 0}, to[] = {0, 1, 0, 2, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        ck_assert_uint_eq(ask(&b, tenant[i], 1), to[i]);
    bench_close(&b);
}
END_TEST

/* All of them drawn: the shortest queue, always. Two of three: never the longest. */
START_TEST(power_of_d)
{
    for (uint32_t d = 1; d <= 3; d++) {
        struct bench b;
        uint32_t hits[3] = {0};
        bench_open(&b, "power_of_two", 3);
        params_set_num(&b.params, "power_of_two.d", PARAM_INT, d);
        for (uint32_t i = 0; i < 3; i++)
            b.c.count[i].in_flight = 3 - i;
        for (int i = 0; i < 900; i++)
            hits[ask(&b, 0, 1)]++;
        static const uint32_t expected[][3] = {{300, 300, 300}, {0, 300, 600}, {0, 0, 900}};
        for (uint32_t i = 0; i < 3; i++)
            ck_assert_msg(abs((int)hits[i] - (int)expected[d - 1][i]) < 70, "d %u: %u times %u", d,
                          hits[i], i);
        bench_close(&b);
    }
}
END_TEST

/* The audit of q[tenant][worker] (arXiv 2501.14312 Algorithm 2): the whole prompt is charged,
 * cached or not, and twice the output. Quantum 100: a worker is left when its counter is spent. */
START_TEST(d2lpm_charges)
{
    struct bench b;
    bench_open(&b, "d2lpm", 2);
    params_set_num(&b.params, "d2lpm.quantum", PARAM_REAL, 100);
    b.c.cached[0] = 55;
    ck_assert_uint_eq(ask(&b, 0, 60), 0); /* refilled to 100, 100; then 40, 100 */
    ck_assert_uint_eq(ask(&b, 0, 60), 0); /* -20, 100: charging what is not cached leaves 90 */
    ck_assert_uint_eq(ask(&b, 0, 60), 1); /* -20, 40 */
    done(&b, 0, 1, 20);                   /* -20, 0 */
    ck_assert_uint_eq(ask(&b, 0, 60), 0); /* refilled to 80, 100; then 20, 100 */
    done(&b, 0, 0, 10);                   /* 0, 100: once is not enough to get there */
    ck_assert_uint_eq(ask(&b, 0, 60), 1); /* 0, 40 */
    ck_assert_uint_eq(ask(&b, 1, 60), 0); /* another tenant has counters of its own */
    done(&b, 0, 1, 500);                  /* 0, -960 */
    ck_assert_uint_eq(ask(&b, 0, 60), 0); /* one quantum is enough for worker 0 */
    bench_close(&b);
}
END_TEST

/* ---- in a run ---- */

/* The replica that a request went to. */
static uint32_t replica_of(const struct lab *l, uint64_t seq)
{
    return (uint32_t)l->decision[lab_find(l, DEC_ROUTE, seq, 0)].number;
}

/* Replica 0 is idle when the loads are taken, and for a second they are all there is to see. The
 * burst must level the queues all the same, and not go to replica 0 as a whole: 14 long requests
 * and 42 new ones are 7 each. */
START_TEST(jsq_burst)
{
    struct lab l;
    lab_init(&l);
    l.router = router_find("jsq");
    l.n_replicas = 8;
    l.snapshot_age_ns = 40 * MS;
    l.horizon_ns = 90 * MS;
    uint32_t to[8] = {0};
    for (uint32_t i = 0; i < 16; i++)
        lab_add(&l, 0, "a", 1, i % 8 == 0 ? 3 : 400);
    for (uint32_t i = 0; i < 42; i++)
        lab_add(&l, 50 * MS + i, "a", 1, 400);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    for (uint32_t i = 16; i < 58; i++)
        to[replica_of(&l, i)]++;
    for (uint32_t r = 0; r < 8; r++)
        ck_assert_uint_eq(to[r], r == 0 ? 7 : 5);
    lab_release(&l);
}
END_TEST

/* The snapshot's age as seen by a router: replica 1 is fed at 0; replica 0 at 10 ms, when the load
 * is as it was at 0 or as it is. */
static struct seen {
    ns_t at[2];
    uint32_t running[2], sent[2];
    uint64_t running_tokens[2];
} seen;

static uint32_t look_and_send_to_0(void *self, const struct route_view *v, const struct req_info *q,
                                   void *tenant_state)
{
    (void)self;
    (void)tenant_state;
    const struct replica_load *l = route_load(v, 0);
    if (q->seq < 2) {
        seen.at[q->seq] = l->taken_at;
        seen.running[q->seq] = l->running;
        seen.running_tokens[q->seq] = l->running_tokens;
        seen.sent[q->seq] = l->sent;
    }
    ck_assert_uint_eq(v->count[0].in_flight, q->seq);
    return 0;
}

START_TEST(loads_are_as_old_as_allowed)
{
    static const ns_t age[] = {0, 10 * MS, 11 * MS};
    for (size_t i = 0; i < ARRAY_LEN(age); i++) {
        struct lab l;
        struct router_ops probe = *router_find("jsq");
        probe.route = look_and_send_to_0;
        lab_init(&l);
        l.router = &probe;
        l.snapshot_age_ns = age[i];
        lab_add(&l, 0, "a", 7, 100);
        lab_add(&l, 10 * MS, "a", 7, 100);
        ck_assert(lab_run(&l));
        bool old = i == 2;
        ck_assert_int_eq(seen.at[1], old ? 0 : 10 * MS);
        ck_assert_uint_eq(seen.running[1], old ? 0 : 1);
        ck_assert_uint_eq(seen.sent[1], old ? 1 : 0);
        ck_assert_uint_ge(seen.running_tokens[1], old ? 0 : 7 + 10);
        ck_assert_uint_le(seen.running_tokens[1], old ? 0 : 7 + 11);
        lab_release(&l);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("routers");
    TCase *t = tcase_create("routers");
    tcase_add_loop_test(t, one_decision, 0, ARRAY_LEN(cases));
    tcase_add_test(t, a_cursor_for_each_tenant);
    tcase_add_test(t, power_of_d);
    tcase_add_test(t, d2lpm_charges);
    tcase_add_test(t, jsq_burst);
    tcase_add_test(t, loads_are_as_old_as_allowed);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
