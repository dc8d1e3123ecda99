/* test_predicting_routers.c: routers that ask what work would take: Preble and Mooncake, decision
 * by decision on a made-up cluster (G8 of scheduling.md section 12), and in runs: what is predicted
 * against what happens, prefixes that are copied, requests that are refused early. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/fake_cluster.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS

/* ---- on a made-up cluster: a prompt token takes 1 ms, a sequence in a decode step 10 ms ---- */

struct bench {
    const struct router_ops *ops;
    struct arena arena;
    struct params params;
    struct fake_cluster c;
    void *self;
    uint32_t n;
    uint64_t seq;
    ns_t now;
};

static void bench_open(struct bench *b, const char *router, uint32_t n)
{
    *b = (struct bench){.ops = router_find(router), .n = n};
    arena_init(&b->arena);
    params_init(&b->params);
    b->c.token_ns = MS;
    b->c.step_ns = 10 * MS;
    b->c.kv_bytes = UINT64_MAX;
}

static uint32_t ask(struct bench *b, uint32_t prompt)
{
    struct err e = {0};
    if (b->self == NULL)
        b->self = b->ops->open(&b->arena, &b->params, b->n, 1, &e);
    struct route_view v = fake_view(&b->c, b->now, b->n);
    struct req_info q = {.seq = b->seq++, .prompt_tokens = prompt};
    return b->ops->route(b->self, &v, &q, NULL);
}

static void done(struct bench *b, uint64_t seq, uint32_t replica, uint32_t out)
{
    struct route_view v = fake_view(&b->c, b->now, b->n);
    struct req_info q = {.seq = seq};
    b->ops->on_done(b->self, &v, &q, replica, out);
}

static void bench_close(struct bench *b)
{
    arena_release(&b->arena);
    params_release(&b->params);
}

/* ---- Mooncake ---- */

/* Replica 0 caches 10 tokens, 1 caches 8, 2 caches 4; with a threshold of 2, 1 would keep its own
 * prefix (10/8), 2 would fetch 6 tokens (10/4), 3, which has nothing, all 10. A prompt of 100 takes
 * 1 ms a token that is missing; a token's copy takes 0.1 ms, and 0.01 ms before the first. `queued`
 * says what goes before, so that each has its turn. */
static const struct {
    ns_t queued_ms[4];
    uint32_t to, fetched;
    ns_t fetch_ns;
} g8[] = {
    {{5, 9, 9, 9}, 0, 0, 0},                     /* 95, 101, ... */
    {{9, 5, 9, 9}, 1, 0, 0},                     /* 99, 97 with its own 8, ... */
    {{9, 9, 5, 9}, 2, 10, 6 * MS / 10 + 10000},  /* 99, 101, 5 + 0.6 + 90, ... */
    {{9, 9, 9, 5}, 3, 10, 10 * MS / 10 + 10000}, /* 5 + 1 + 90 */
    {{0, 2, 2, 2}, 0, 0, 0},
    {{2, 0, 1, 2}, 2, 10, 6 * MS / 10 + 10000}, /* 92, 92, 91.6, 93 */
};

START_TEST(g8_copy_or_keep)
{
    struct bench b;
    bench_open(&b, "mooncake", 4);
    params_set_num(&b.params, "mooncake.balancing_threshold", PARAM_REAL, 2);
    memcpy(b.c.cached, (uint32_t[4]){10, 8, 4, 0}, sizeof(uint32_t[4]));
    for (uint32_t i = 0; i < 4; i++)
        b.c.load[i].queued_ns = g8[_i].queued_ms[i] * MS;
    b.c.kv_bytes = 10000000; /* at 100 GB/s: 0.1 ms */
    ck_assert_uint_eq(ask(&b, 100), g8[_i].to);
    ck_assert_uint_eq(b.c.fetched, g8[_i].fetched);
    ck_assert_int_eq(b.c.fetch_ns, g8[_i].fetch_ns);
    bench_close(&b);
}
END_TEST

/* Where nothing can be copied every replica has its own prefix only. */
START_TEST(nothing_to_copy_with)
{
    struct bench b;
    bench_open(&b, "mooncake", 3);
    memcpy(b.c.cached, (uint32_t[3]){50, 0, 0}, sizeof(uint32_t[3]));
    b.c.load[0].queued_ns = 49 * MS;
    ck_assert_uint_eq(ask(&b, 100), 0); /* 49 + 50 */
    b.c.load[0].sent_ns = 2 * MS;
    ck_assert_uint_eq(ask(&b, 100), 1); /* 101, 100 */
    ck_assert_uint_eq(b.c.fetched, 0);
    bench_close(&b);
}
END_TEST

/* The time to the first token: what is queued and the prompt. */
START_TEST(refused_for_its_first_token)
{
    struct bench b;
    bench_open(&b, "mooncake", 2);
    params_set_num(&b.params, "mooncake.ttft_s", PARAM_REAL, 0.2);
    b.c.load[0].queued_ns = b.c.load[1].queued_ns = 150 * MS;
    ck_assert_uint_eq(ask(&b, 50), 0);
    ck_assert_uint_eq(ask(&b, 51), ROUTE_REJECT);
    bench_close(&b);
}
END_TEST

/* Four may decode together. By the load now a fifth is refused as long as four run; by the load
 * then, those count that were sent and have their first token before this one has, but not those
 * that will be done: who is done took 300 ms from its first token. */
START_TEST(refused_for_the_load_now)
{
    struct bench b;
    bench_open(&b, "mooncake", 1);
    params_set_num(&b.params, "mooncake.tbt_ms", PARAM_REAL, 40);
    params_set_str(&b.params, "mooncake.reject", "current");
    b.c.load[0].running = 3;
    ck_assert_uint_eq(ask(&b, 10), 0);
    b.c.load[0].running = 4;
    ck_assert_uint_eq(ask(&b, 10), ROUTE_REJECT);
    bench_close(&b);
}
END_TEST

START_TEST(refused_for_the_load_then)
{
    struct bench b;
    bench_open(&b, "mooncake", 1);
    params_set_num(&b.params, "mooncake.tbt_ms", PARAM_REAL, 40);
    b.c.load[0].running = 9;           /* does not matter */
    for (uint32_t i = 0; i < 4; i++) { /* first tokens at 10, 20, 30 and 40 ms */
        b.c.load[0].queued_ns = i * 10 * MS;
        ck_assert_uint_eq(ask(&b, 10), 0);
    }
    b.c.load[0].queued_ns = 40 * MS; /* at 50 ms all four decode */
    ck_assert_uint_eq(ask(&b, 10), ROUTE_REJECT);
    b.c.load[0].queued_ns = 0; /* at 10 ms one does */
    ck_assert_uint_eq(ask(&b, 10), 0);
    b.now = 310 * MS;
    done(&b, 0, 0,
         30); /* so decoding takes 300 ms: at 330 ms those of 30 and 40 are left, and the */
    ck_assert_uint_eq(ask(&b, 20), 0); /* one of 10 is not: 2 + 1 */
    b.c.load[0].queued_ns = 0;
    bench_close(&b);
}
END_TEST

/* ---- Preble ---- */

/* Prompts of 100. `sent` prompts of 100 that hit nothing went to each replica before. */
static const struct {
    const char *why;
    uint32_t sent[3], cached[3], to;
} preble[] = {
    {"explore: the least load", {3, 1, 2}, {0, 0, 0}, 1},
    {"half is not more than the rest: explore", {2, 1, 2}, {50, 0, 0}, 1},
    {"exploit: 51 of 100", {1, 1, 1}, {0, 51, 0}, 1},
    {"exploit although it costs more, within the ratio", {10, 8, 8}, {60, 0, 0}, 0},
    {"beyond the ratio the cheapest", {20, 8, 8}, {60, 0, 0}, 1},
    {"of those with the longest match the cheapest", {9, 8, 7}, {70, 70, 0}, 1},
};

/* A prompt that costs as much as one of 100 below: the replica is the only one in question. */
static void send(struct bench *b, uint32_t replica)
{
    for (uint32_t i = 0; i < b->n; i++)
        b->c.cached[i] = i == replica ? 99 : 0;
    b->c.token_ns = 100 * MS;
    ck_assert_uint_eq(ask(b, 100), replica);
    b->c.token_ns = MS;
}

START_TEST(exploit_or_explore)
{
    struct bench b;
    bench_open(&b, "preble", 3);
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t k = 0; k < preble[_i].sent[i]; k++)
            send(&b, i);
    memcpy(b.c.cached, preble[_i].cached, sizeof(preble[_i].cached));
    ck_assert_msg(ask(&b, 100) == preble[_i].to, "%s", preble[_i].why);
    bench_close(&b);
}
END_TEST

/* Load is forgotten after the window; what is in flight counts with the median output. */
START_TEST(window_and_decodes)
{
    struct bench b;
    bench_open(&b, "preble", 2);
    params_set_num(&b.params, "preble.window_s", PARAM_REAL, 10);
    ck_assert_uint_eq(ask(&b, 100), 0);
    ck_assert_uint_eq(ask(&b, 50), 1);
    ck_assert_uint_eq(ask(&b, 10), 1); /* 50 against 100 */
    b.now = 10 * NS_PER_S + 1;
    b.c.count[0].dispatched = 1;
    b.c.count[1].dispatched = 2;
    ck_assert_uint_eq(ask(&b, 100), 0); /* nothing is left: a tie */
    for (uint32_t i = 0; i < 3; i++)
        done(&b, i, 0, 5 + i); /* the median output is 6 */
    b.c.load[0].running = b.c.load[1].running = 1;
    b.c.count[1].in_flight = 1; /* 1 x 6 x 10 ms against 100 ms */
    ck_assert_uint_eq(ask(&b, 30), 1);
    b.c.count[1].in_flight = 2; /* 120 + 30 against 100 */
    ck_assert_uint_eq(ask(&b, 10), 0);
    bench_close(&b);
}
END_TEST

/* What must be evicted for it counts as if it were computed again. */
START_TEST(room_has_a_price)
{
    struct bench b;
    bench_open(&b, "preble", 2);
    for (uint32_t i = 0; i < 2; i++) {
        b.c.load[i].capacity_units = 2000; /* two a token */
        b.c.load[i].capacity_tokens = 1000;
        b.c.load[i].free_units = 200;
        b.c.load[i].evictable_units = 1000;
    }
    b.c.load[0].free_units = 0;
    ck_assert_uint_eq(ask(&b, 100), 1);
    bench_close(&b);
}
END_TEST

/* ---- in a run ---- */

/* A step takes 1 ms and 0.1 ms a token; a prompt of 50 is two steps of 40 and 10 tokens. */
static void run_lab(struct lab *l, const char *router, uint32_t n_replicas)
{
    lab_init(l);
    l->router = router_find(router);
    l->n_replicas = n_replicas;
    l->token_ns = 1e5;
    l->limits.max_num_batched_tokens = 40;
    l->limits.max_num_seqs = 8;
}

/* What the services say, and what a request then takes that is alone. */
static struct {
    ns_t prefill_ns, decode_ns, queued_ns;
} asked;

static uint32_t asking_route(void *self, const struct route_view *v, const struct req_info *q,
                             void *tenant_state)
{
    (void)self;
    (void)tenant_state;
    asked.prefill_ns = v->ask->prefill_ns(v->self, 0, q->prompt_tokens, 0);
    asked.decode_ns = v->ask->decode_ns(v->self, 0, 1, q->prompt_tokens);
    asked.queued_ns = route_load(v, 0)->queued_ns;
    return 0;
}

static void *asking_open(struct arena *a, const struct params *p, uint32_t n, uint64_t seed,
                         struct err *e)
{
    (void)p;
    (void)n;
    (void)seed;
    (void)e;
    return arena_alloc(a, 1);
}

static const struct router_ops asking = {
    .name = "asking", .needs = ROUTER_PREDICTS, .open = asking_open, .route = asking_route};

START_TEST(predictions_come_true)
{
    struct lab l;
    run_lab(&l, "jsq", 1);
    l.router = &asking;
    lab_add(&l, 0, "a", 50, 3);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    const struct request_row *row = lab_row(&l, 0);
    ck_assert_int_eq(asked.prefill_ns, 2 * MS + 5 * MS);
    ck_assert_int_eq(row->first_token_at, asked.prefill_ns);
    ck_assert_int_eq(asked.decode_ns, MS + MS / 10);
    ck_assert_int_eq(row->done_at, asked.prefill_ns + 2 * asked.decode_ns);
    ck_assert_int_eq(asked.queued_ns, 0);

    lab_add(&l, MS, "a", 50, 1); /* while the first one's prompt is computed: all of it counts */
    ck_assert(lab_run(&l));
    ck_assert_int_eq(asked.queued_ns, 7 * MS);
    l.rec[1].arrival_at = 7 * MS + 1; /* and afterwards: nothing */
    ck_assert(lab_run(&l));
    ck_assert_int_eq(asked.queued_ns, 0);
    lab_release(&l);
}
END_TEST

/* A prefix of 30 is on replica 0, which is busy with a long prompt when a third request comes that
 * shares it: that goes to replica 1, where the prefix is when its copy is. */
START_TEST(a_copy_takes_its_time)
{
    static struct segment text[3][2] = {
        {{1, 0, 30}, {2, 0, 5}}, {{1, 0, 30}, {3, 0, 400}}, {{1, 0, 30}, {4, 0, 5}}};
    struct lab l;
    run_lab(&l, "mooncake", 2);
    params_set_num(&l.params, "mooncake.link_gb_per_s", PARAM_REAL, 0.03); /* 1 ms */
    params_set_num(&l.params, "mooncake.link_latency_us", PARAM_REAL, 500);
    static const uint32_t tokens[] = {35, 430, 35};
    for (uint32_t i = 0; i < 3; i++) {
        struct trace_rec *r = lab_add(&l, i * 10 * MS, "a", tokens[i], 1);
        r->segment = text[i];
        r->n_segments = 2;
    }
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(lab_row(&l, 0)->replica, 0);
    ck_assert_uint_eq(lab_row(&l, 1)->replica, 0); /* its prefix is there */
    const struct request_row *row = lab_row(&l, 2);
    ck_assert_uint_eq(row->replica, 1);
    ck_assert_uint_eq(row->cached_tokens, 30);
    ck_assert_int_eq(row->admitted_at, 20 * MS + MS + MS / 2);
    ck_assert_uint_eq(lab_count(&l, DEC_EVICT), 0);
    lab_release(&l);
}
END_TEST

/* Twice what one replica can do: refused early is who would wait too long, and nobody else waits
 * much longer than the limit. */
START_TEST(overload_is_refused)
{
    struct lab l;
    run_lab(&l, "mooncake", 1);
    params_set_num(&l.params, "mooncake.ttft_s", PARAM_REAL, 0.05);
    for (uint32_t i = 0; i < 400; i++)
        lab_add(&l, i * 3 * MS, "a", 40, 1); /* 5 ms each */
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    uint64_t refused = 0;
    ns_t longest = 0;
    for (uint64_t i = 0; i < 400; i++) {
        const struct request_row *row = lab_row(&l, i);
        if (row->status == STATUS_REFUSED)
            refused++;
        else
            longest = MAX(longest, row->first_token_at - row->arrived_at);
    }
    ck_assert_uint_ge(refused, 140); /* 160 is the share that is too much */
    ck_assert_uint_le(refused, 180);
    ck_assert_int_le(longest, 55 * MS); /* a step that is under way is not in the prediction */
    params_set_str(&l.params, "mooncake.reject", "none");
    ck_assert(lab_run(&l));
    ck_assert_uint_eq(l.result.finished, 400);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("predicting routers");
    TCase *t = tcase_create("mooncake");
    tcase_add_loop_test(t, g8_copy_or_keep, 0, (int)ARRAY_LEN(g8));
    tcase_add_test(t, nothing_to_copy_with);
    tcase_add_test(t, refused_for_its_first_token);
    tcase_add_test(t, refused_for_the_load_now);
    tcase_add_test(t, refused_for_the_load_then);
    suite_add_tcase(s, t);
    t = tcase_create("preble");
    tcase_add_loop_test(t, exploit_or_explore, 0, (int)ARRAY_LEN(preble));
    tcase_add_test(t, window_and_decodes);
    tcase_add_test(t, room_has_a_price);
    suite_add_tcase(s, t);
    t = tcase_create("runs");
    tcase_add_test(t, predictions_come_true);
    tcase_add_test(t, a_copy_takes_its_time);
    tcase_add_test(t, overload_is_refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
