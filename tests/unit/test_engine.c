/* test_engine.c: how a batch is formed and whose blocks are whose, case by case; a comment over
 * each names the rule it pins. Unless said otherwise: one replica, blocks of one token, a step
 * takes 1 ms, the engine is `ideal`. Times and swap are in test_engine_time.c. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS

static void run(struct lab *l)
{
    ck_assert_msg(lab_run(l), "%s", l->err.text);
}

static const char *reason(const struct lab *l, uint64_t seq)
{
    return l->reason[lab_row(l, seq) - l->row];
}

/* ---- schedulers with a will of their own ---- */

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    return arena_alloc(a, 1);
}

/* The waiting request of the lowest priority number, whoever waits before it. */
static req_id by_priority(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self;
    (void)last;
    if (res != TRY_FIRST && res != TRY_ADMITTED)
        return REQ_NONE;
    req_id best = REQ_NONE;
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id))
        if (best == REQ_NONE || view_req(v, id)->priority < view_req(v, best)->priority)
            best = id;
    return best;
}

static const struct scheduler_ops priority = {
    .name = "priority", .open = open, .next_candidate = by_priority};

static req_id oldest(void *self, const struct sched_view *v, uint64_t need, req_id requester,
                     enum preempt_mode *mode)
{
    (void)self;
    (void)need;
    (void)requester;
    (void)mode;
    return view_running_first(v);
}

static const struct scheduler_ops preempts_oldest = {
    .name = "preempts_oldest", .open = open, .victim = oldest};

static struct trace_rec *add_urgent(struct lab *l, ns_t at, uint32_t prompt, uint32_t output,
                                    int32_t prio)
{
    struct trace_rec *r = lab_add(l, at, "a", prompt, output);
    r->priority = prio;
    return r;
}

/* 20 tokens, no cache: what is preempted computes everything again. */
static void small_lab(struct lab *l)
{
    lab_init(l);
    l->limits.num_gpu_blocks = 20;
    l->limits.enable_prefix_caching = false;
}

/* ---- preemption ---- */

/* scheduling.md 3.1: the victim is the tail of running, not the latest arrival; they differ once
 * somebody was resumed (mutation 13). Request 1 is preempted at 1 ms and resumed at 2 ms behind
 * request 3, which came later; at 3 ms it is the tail. */
START_TEST(victim_is_the_tail_of_running)
{
    struct lab l;
    small_lab(&l);
    l.scheduler = &priority;
    add_urgent(&l, 0, 4, 20, 0);
    add_urgent(&l, 0, 8, 9, 3);
    add_urgent(&l, 0, 8, 2, 1);
    add_urgent(&l, MS + MS / 2, 4, 20, 2);
    l.limits.num_gpu_blocks = 20;
    l.horizon_ns = 4 * MS;
    run(&l);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 1, 0), 1 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 2 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 1), 2 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 1, 1), 3 * MS);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 2);
    lab_release(&l);
}
END_TEST

/* scheduling.md 3.1: a victim that was scheduled in this step gives its tokens back (mutation 12).
 * 3 tokens a step; at 4 ms request 1 needs a block and request 0, scheduled before it, goes: its
 * token joins the chunk of request 2. */
START_TEST(victim_returns_its_tokens)
{
    struct lab l;
    small_lab(&l);
    l.scheduler = &preempts_oldest;
    l.limits.max_num_batched_tokens = 3;
    l.limits.num_gpu_blocks = 13;
    lab_add(&l, 0, "a", 1, 9);
    lab_add(&l, 0, "a", 1, 9);
    lab_add(&l, 0, "a", 9, 1);
    run(&l);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 0, 0), 4 * MS);
    ck_assert_uint_eq(l.step[3].decode_tokens + l.step[3].prefill_tokens, 3);
    ck_assert_uint_eq(l.step[4].n_decode, 1);
    ck_assert_uint_eq(l.step[4].n_prefill, 1);
    ck_assert_uint_eq(l.step[4].prefill_tokens, 2);
    lab_release(&l);
}
END_TEST

/* architecture.md 6.2: nothing is admitted in a step that preempted, even what would fit and would
 * be tried first (mutation 12). */
START_TEST(no_admission_beside_preemption)
{
    struct lab l;
    small_lab(&l);
    l.scheduler = &priority;
    add_urgent(&l, 0, 5, 4, 1);
    add_urgent(&l, 0, 5, 4, 1);
    add_urgent(&l, 0, 10, 4, 1);
    add_urgent(&l, MS / 2, 1, 1, 0);
    run(&l);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 2, 0), 1 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 2 * MS);
    lab_release(&l);
}
END_TEST

/* architecture.md 6.1 and fidelity.md: a preempted request finds its own blocks in the cache when
 * it comes back, less what was evicted, the tail first; without caching it computes all again. Two
 * of its ten blocks are needed by the others meanwhile. */
START_TEST(recomputation_hits_its_own_blocks)
{
    for (int caching = 0; caching < 2; caching++) {
        struct lab l;
        small_lab(&l);
        l.limits.enable_prefix_caching = caching;
        lab_add(&l, 0, "a", 5, 2);
        lab_add(&l, 0, "a", 5, 2);
        lab_add(&l, 0, "a", 10, 4);
        run(&l);
        size_t back = lab_find(&l, DEC_ADMIT, 2, 1);
        ck_assert_uint_ne(back, SIZE_MAX);
        ck_assert_int_eq(l.decision[back].at, 2 * MS);
        ck_assert_uint_eq(l.decision[back].number, caching ? 8 : 0);
        ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), caching ? 2 : 10);
        ck_assert_uint_eq(lab_row(&l, 2)->cached_tokens, 0); /* of the first admission only */
        ck_assert_uint_eq(lab_row(&l, 2)->preemptions, 1);
        lab_release(&l);
    }
}
END_TEST

/* scheduling.md 6: the gap that a preemption makes is an ITL (mutation 23). Request 2 emits at 1
 * ms, is away until 4 ms and emits again at 5 ms. */
START_TEST(itl_includes_the_gap_of_a_preemption)
{
    struct lab l;
    small_lab(&l);
    lab_add(&l, 0, "a", 5, 4);
    lab_add(&l, 0, "a", 5, 4);
    lab_add(&l, 0, "a", 10, 3);
    run(&l);
    ck_assert_int_eq(lab_at(&l, DEC_FIRST_TOKEN, 2, 0), 1 * MS);
    ck_assert_int_eq(lab_row(&l, 2)->itl_max_ns, 4 * MS);
    ck_assert_double_eq(lab_metric(&l, "itl_ms_max"), 4);
    ck_assert_double_eq_tol(lab_metric(&l, "itl_ms_mean"), (3 + 3 + 4 + 1) / 8.0, 1e-12);
    lab_release(&l);
}
END_TEST

/* ---- chunks and budget ---- */

/* architecture.md 6.1, 6.2: residents first, then a prompt is cut to what is left of the budget. */
START_TEST(prompt_is_cut_to_the_rest)
{
    static const uint32_t chunk[] = {9, 9, 2};
    struct lab l;
    lab_init(&l);
    l.limits.max_num_batched_tokens = 10;
    lab_add(&l, 0, "a", 4, 6);
    lab_add(&l, MS / 2, "a", 20, 1);
    run(&l);
    for (size_t i = 0; i < ARRAY_LEN(chunk); i++) {
        ck_assert_uint_eq(l.step[1 + i].n_decode, 1);
        ck_assert_uint_eq(l.step[1 + i].decode_tokens, 1);
        ck_assert_uint_eq(l.step[1 + i].prefill_tokens, chunk[i]);
    }
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 1 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_FIRST_TOKEN, 1, 0), 4 * MS); /* architecture.md 6.4 */
    lab_release(&l);
}
END_TEST

/* A chunk in progress is a resident like any other: it goes on before newcomers are let in. */
START_TEST(unfinished_prompt_before_newcomers)
{
    struct lab l;
    lab_init(&l);
    l.limits.max_num_batched_tokens = 10;
    lab_add(&l, 0, "a", 25, 1);
    lab_add(&l, 0, "a", 10, 1);
    run(&l);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 2 * MS); /* 10, 10, then 5 and 5 */
    ck_assert_uint_eq(l.step[2].prefill_tokens, 10);
    ck_assert_int_eq(lab_at(&l, DEC_FIRST_TOKEN, 0, 0), 3 * MS);
    ck_assert_int_eq(lab_at(&l, DEC_FIRST_TOKEN, 1, 0), 4 * MS);
    lab_release(&l);
}
END_TEST

/* scheduler_reserve_full_isl: a prompt is admitted when blocks for all of it are there, or,
 * without, when its first chunk fits (contract.md section 3). */
START_TEST(reserve_full_isl)
{
    for (int full = 0; full < 2; full++) {
        struct lab l;
        small_lab(&l);
        l.limits.max_num_batched_tokens = 12;
        l.limits.scheduler_reserve_full_isl = full;
        lab_add(&l, 0, "a", 10, 3);
        lab_add(&l, 0, "a", 15, 1);
        run(&l);
        ck_assert_int_eq(lab_row(&l, 1)->admitted_at, full ? 3 * MS : 0);
        ck_assert_uint_eq(l.step[0].prefill_tokens, full ? 10 : 12);
        ck_assert_uint_eq(l.result.finished, 2);
        lab_release(&l);
    }
}
END_TEST

/* max_num_seqs counts residents; the place of one that ends is free in the next step. */
START_TEST(max_num_seqs)
{
    struct lab l;
    lab_init(&l);
    l.limits.max_num_seqs = 2;
    lab_add(&l, 0, "a", 3, 2);
    lab_add(&l, 0, "a", 3, 3);
    lab_add(&l, 0, "a", 3, 1);
    run(&l);
    ck_assert_int_eq(lab_row(&l, 1)->admitted_at, 0);
    ck_assert_int_eq(lab_row(&l, 2)->admitted_at, 2 * MS);
    lab_release(&l);
}
END_TEST

/* ---- prefix hits ---- */

/* Two requests of the same content. */
static void add_twins(struct lab *l, ns_t second_at, struct segment *seg, uint32_t prompt)
{
    *seg = (struct segment){7, 0, prompt};
    for (uint32_t i = 0; i < 2; i++) {
        struct trace_rec *r = lab_add(l, i * second_at, "a", prompt, 1);
        r->segment = seg;
        r->n_segments = 1;
    }
}

/* architecture.md 6.3: hits cover full blocks only and never the whole prompt: of k full blocks the
 * last is computed again, for its last token's logits are needed (mutation 11). */
START_TEST(a_full_hit_computes_the_last_block)
{
    static const struct {
        uint32_t block_size, prompt, cached;
    } cases[] = {{1, 3, 2}, {1, 1, 0},    {4, 12, 8},   {4, 13, 12},  {4, 11, 8}, {4, 4, 0},
                 {4, 3, 0}, {16, 48, 32}, {16, 49, 48}, {16, 47, 32}, {16, 16, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lab l;
        struct segment seg;
        lab_init(&l);
        l.limits.block_size = cases[i].block_size;
        add_twins(&l, 5 * MS, &seg, cases[i].prompt);
        run(&l);
        ck_assert_uint_eq(lab_row(&l, 0)->cached_tokens, 0);
        ck_assert_uint_eq(lab_row(&l, 1)->cached_tokens, cases[i].cached);
        ck_assert_uint_eq(l.n_step, 2);
        ck_assert_uint_eq(l.step[1].prefill_tokens, cases[i].prompt - cases[i].cached);
        ck_assert_uint_eq(l.step[1].context_tokens, cases[i].cached);
        lab_release(&l);
    }
}
END_TEST

/* architecture.md 6.3: a block can be hit from the step in which it is scheduled: twins that come
 * together compute their prompt once, and hold its blocks once but for the last. */
START_TEST(blocks_are_hit_in_the_step_they_are_scheduled)
{
    struct lab l;
    struct segment seg;
    lab_init(&l);
    l.limits.block_size = 4;
    add_twins(&l, 0, &seg, 12);
    run(&l);
    ck_assert_int_eq(lab_row(&l, 1)->admitted_at, 0);
    ck_assert_uint_eq(lab_row(&l, 1)->cached_tokens, 8);
    ck_assert_uint_eq(l.step[0].prefill_tokens, 12 + 4);
    ck_assert_uint_eq(l.step[0].kv_units_used, 3 + 1);
    lab_release(&l);
}
END_TEST

/* Without caching nobody hits anything. */
START_TEST(no_hits_without_caching)
{
    struct lab l;
    struct segment seg;
    lab_init(&l);
    l.limits.enable_prefix_caching = false;
    add_twins(&l, 5 * MS, &seg, 12);
    run(&l);
    ck_assert_uint_eq(lab_row(&l, 1)->cached_tokens, 0);
    ck_assert_uint_eq(l.step[1].prefill_tokens, 12);
    ck_assert_uint_eq(l.step[1].kv_units_used, 12); /* the first one's are free again */
    lab_release(&l);
}
END_TEST

/* Two tenants with one prompt: the second hits what the first computed, unless they are isolated.
 */
START_TEST(tenants_share_unless_isolated)
{
    const struct segment whole = {7, 0, 40};
    for (int isolated = 0; isolated <= 1; isolated++) {
        struct lab l;
        lab_init(&l);
        l.isolate_tenants = isolated;
        for (uint32_t i = 0; i < 4; i++) {
            struct trace_rec *r = lab_add(&l, i * NS_PER_S, i % 2 ? "a" : "b", 40, 2);
            r->segment = &whole;
            r->n_segments = 1;
        }
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        uint32_t hit = 39 / l.limits.block_size * l.limits.block_size;
        ck_assert_uint_eq(lab_row(&l, 0)->cached_tokens, 0);
        ck_assert_uint_eq(lab_row(&l, 1)->cached_tokens, isolated ? 0 : hit);
        ck_assert_uint_eq(lab_row(&l, 2)->cached_tokens, hit); /* its own, in any case */
        ck_assert_uint_eq(lab_row(&l, 3)->cached_tokens, hit);
        lab_release(&l);
    }
}
END_TEST

/* architecture.md 6.3: what a finished request leaves is evicted least recently used first, and its
 * tail first: of 8 blocks of the older prompt 3 go, and the first 5 can still be hit. */
START_TEST(eviction_takes_the_oldest_tail)
{
    static const uint64_t stream[] = {1, 2, 3, 1};
    static const uint32_t prompt[] = {8, 8, 7, 9}; /* the third needs 7 where 4 are free */
    static const uint32_t cached[] = {0, 0, 0, 5};
    struct lab l;
    struct segment seg[ARRAY_LEN(stream)];
    lab_init(&l);
    l.limits.num_gpu_blocks = 20;
    for (uint32_t i = 0; i < ARRAY_LEN(stream); i++) {
        seg[i] = (struct segment){stream[i], 0, prompt[i]};
        struct trace_rec *r = lab_add(&l, i * 2 * MS, "a", prompt[i], 1);
        r->segment = &seg[i];
        r->n_segments = 1;
    }
    run(&l);
    for (uint64_t i = 0; i < ARRAY_LEN(stream); i++)
        ck_assert_uint_eq(lab_row(&l, i)->cached_tokens, cached[i]);
    ck_assert_uint_eq(l.decision[lab_find(&l, DEC_EVICT, UINT64_MAX, 0)].number, 3);
    lab_release(&l);
}
END_TEST

/* scheduling.md 2: what a candidate is about to hit is pinned before room is counted; it must not
 * be evicted to make room for the candidate itself (mutation 10). 10 cached, 4 free: a prompt of 15
 * that hits 10 needs 5 more and has to wait until somebody ends. */
START_TEST(own_hit_is_no_room)
{
    struct lab l;
    struct segment seg[2] = {{1, 0, 10}, {1, 0, 15}};
    lab_init(&l);
    l.limits.num_gpu_blocks = 20;
    for (uint32_t i = 0; i < 2; i++) {
        if (i == 1)
            lab_add(&l, MS, "a", 5, 3); /* holds 5 and then more until 4 ms; none of the cached */
        struct trace_rec *r = lab_add(&l, i * 2 * MS, "a", seg[i].tokens, 1);
        r->segment = &seg[i];
        r->n_segments = 1;
    }
    run(&l);
    ck_assert_int_eq(lab_row(&l, 2)->admitted_at, 4 * MS);
    ck_assert_uint_eq(lab_row(&l, 2)->cached_tokens, 10);
    lab_release(&l);
}
END_TEST

/* ---- who is refused, who is cut ---- */

/* contract.md section 5, under M = 20. max 0: the client did not say. */
static const struct {
    enum kv_admission admission;
    uint32_t max_model_len, prompt, output, max;
    enum req_status status;
    const char *reason;
    uint32_t emitted;
} ends[] = {
    /* alone it outgrows memory: the token after the 20th has no place for its KV */
    {KV_ADMISSION_PAGED, 100, 10, 30, 30, STATUS_REFUSED, "capacity", 11},
    {KV_ADMISSION_PAGED, 100, 10, 11, 30, STATUS_FINISHED, "", 11},
    {KV_ADMISSION_PAGED, 100, 20, 1, 1, STATUS_REFUSED, "capacity", 0},
    {KV_ADMISSION_PAGED, 100, 19, 1, 1, STATUS_FINISHED, "", 1},
    {KV_ADMISSION_PAGED, 16, 16, 1, 1, STATUS_REFUSED, "prompt_too_long", 0},
    {KV_ADMISSION_PAGED, 16, 15, 3, 3, STATUS_FINISHED, "length", 1},
    {KV_ADMISSION_RESERVE, 100, 10, 1, 11, STATUS_REFUSED, "capacity", 0},
    {KV_ADMISSION_RESERVE, 100, 10, 1, 10, STATUS_FINISHED, "", 1},
    {KV_ADMISSION_RESERVE, 20, 10, 10, 30, STATUS_FINISHED, "", 10}, /* at most max_model_len */
    {KV_ADMISSION_RESERVE, 21, 10, 10, 30, STATUS_REFUSED, "capacity", 0},
    {KV_ADMISSION_PAGED, 100, 4, 8, 5, STATUS_FINISHED, "length", 5},
    {KV_ADMISSION_PAGED, 100, 4, 8, 8, STATUS_FINISHED, "", 8},
    {KV_ADMISSION_PAGED, 16, 10, 9, 0, STATUS_FINISHED, "length", 6},
    {KV_ADMISSION_PAGED, 16, 10, 6, 0, STATUS_FINISHED, "", 6},
};

START_TEST(refused_or_cut)
{
    struct lab l;
    small_lab(&l);
    l.limits.kv_admission = ends[_i].admission;
    l.limits.max_model_len = ends[_i].max_model_len;
    lab_add(&l, 0, "a", ends[_i].prompt, ends[_i].output)->max_tokens = ends[_i].max;
    lab_add(&l, 100 * MS, "a", 3, 2); /* whatever became of it, the next one is served */
    run(&l);
    ck_assert_int_eq(lab_row(&l, 0)->status, ends[_i].status);
    ck_assert_str_eq(reason(&l, 0), ends[_i].reason);
    ck_assert_uint_eq(lab_row(&l, 0)->output_tokens, ends[_i].emitted);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, 102 * MS);
    ck_assert_uint_eq(l.step[l.n_step - 1].kv_units_used, 4); /* nothing is left behind */
    lab_release(&l);
}
END_TEST

/* ---- ties ---- */

/* Equal counters of VTC: the lower tenant id first, whoever came first (mutation 24). */
START_TEST(vtc_ties_by_tenant)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"}, *const order[] = {"d", "b", "e",
                                                                                    "a", "c"};
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find("vtc");
    l.limits.max_num_seqs = 1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)names_id(&l.tenants, names[i]);
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        lab_add(&l, 0, order[i], 3, 1);
    run(&l);
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        ck_assert_int_eq(lab_row(&l, i)->admitted_at, (order[i][0] - 'a') * MS);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine");
    TCase *t = tcase_create("batches and blocks");
    tcase_add_test(t, victim_is_the_tail_of_running);
    tcase_add_test(t, victim_returns_its_tokens);
    tcase_add_test(t, no_admission_beside_preemption);
    tcase_add_test(t, recomputation_hits_its_own_blocks);
    tcase_add_test(t, itl_includes_the_gap_of_a_preemption);
    tcase_add_test(t, prompt_is_cut_to_the_rest);
    tcase_add_test(t, unfinished_prompt_before_newcomers);
    tcase_add_test(t, reserve_full_isl);
    tcase_add_test(t, max_num_seqs);
    tcase_add_test(t, a_full_hit_computes_the_last_block);
    tcase_add_test(t, blocks_are_hit_in_the_step_they_are_scheduled);
    tcase_add_test(t, no_hits_without_caching);
    tcase_add_test(t, tenants_share_unless_isolated);
    tcase_add_test(t, eviction_takes_the_oldest_tail);
    tcase_add_test(t, own_hit_is_no_room);
    tcase_add_loop_test(t, refused_or_cut, 0, (int)ARRAY_LEN(ends));
    tcase_add_test(t, vtc_ties_by_tenant);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
