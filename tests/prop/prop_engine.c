/* prop_engine.c: what holds for the engine whatever the scheduler: nothing is lost, nothing idles,
 * same input same decisions, every failure is clean (scheduling.md section 7: T8, T10, T15, T16).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/chaos.h"
#include "tests/support/spy.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

/* A random workload under a random setting of the engine. */
static void any_lab(struct lab *l, uint64_t seed)
{
    static const char *const engines[] = {"ideal", "vllm-0.19", "vllm-0.8"};
    lab_init(l);
    lab_random(l, seed);
    l->engine = engines[seed % 3];
    l->scheduler = scheduler_find(seed & 1 ? "vtc" : "fcfs");
    l->n_replicas = 1 + (uint32_t)(seed % 5 == 0) * 2;
    l->limits.units_per_block = 1 + seed % 4;
    l->limits.scheduler_reserve_full_isl = seed % 7 != 0;
    l->limits.enable_prefix_caching = seed % 11 != 0;
    l->limits.kv_admission = seed % 4 == 0 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
    l->limits.admit_interval = seed % 13 == 0 ? 10 : 1;
    if (seed % 17 == 0)
        l->limits.kv_admission = KV_ADMISSION_LIGHTLLM;
    if (seed % 5 == 2)
        l->limits.prefill_mode = PREFILL_SEPARATE;
    if (seed % 3 == 1) {
        l->limits.preempt = PREEMPT_SWAP;
        l->limits.host_blocks = l->limits.num_gpu_blocks / (1 + seed % 5);
    }
    params_set_num(&l->params, "chaos.seed", PARAM_INT, (double)seed);
}

/* One that pauses, reserves or sends requests away ahead of need. */
static const struct scheduler_ops *any_speculative(uint64_t seed)
{
    static const char *const ids[] = {"fastserve", "alise", "s3"};
    return scheduler_find(ids[seed % ARRAY_LEN(ids)]);
}

/* Conversations: turns of a session share their stream, later turns follow the ones before. */
static void add_sessions(struct lab *l, struct segment *seg, uint64_t seed)
{
    l->has_after = true;
    size_t timed = l->n_rec;
    for (size_t i = 0; i < timed; i++)
        if (l->rec[i].seq % 3 == 0) {
            seg[i] = (struct segment){1000 + i % 7, 0, l->rec[i].prompt_tokens};
            l->rec[i].segment = &seg[i];
            l->rec[i].n_segments = 1;
            l->rec[i].continues = true;
        }
    for (size_t i = 0; i < timed / 2; i++) {
        struct trace_rec *r = lab_add(l, 0, "t0", 5 + (uint32_t)(i % 20), 1 + (uint32_t)(i % 9));
        r->arrival_at = 0;
        r->after = (i * 7 + seed) % timed;
        r->delay_ns = (ns_t)(i % 5) * NS_PER_MS;
        r->max_tokens = r->output_tokens;
    }
}

/* ---- T15 ---- */

static void conserved(const struct lab *l)
{
    uint64_t failed = 0;
    ck_assert_uint_eq(l->n_row, l->n_rec);
    ck_assert_uint_eq(l->result.finished + l->result.refused, l->n_rec);
    bool *seen = mem_alloc(l->n_rec);
    for (size_t i = 0; i < l->n_row; i++) {
        const struct request_row *row = &l->row[i];
        ck_assert(!seen[row->seq]);
        seen[row->seq] = true;
        failed += row->status == STATUS_REFUSED;
        if (row->status == STATUS_FINISHED)
            ck_assert_uint_eq(row->output_tokens, l->rec[row->seq].output_tokens);
    }
    ck_assert_uint_eq(failed, l->result.refused);
    mem_free(seen);
}

/* Steps that ran say of every preemption: but a request may be sent away when no other comes after,
 * and end with the token that was on its way. */
static uint64_t told_preemptions(const struct lab *l)
{
    uint64_t told = 0, before = 0;
    for (size_t i = 0; i < l->n_step; i++)
        told += l->step[i].preempted;
    for (size_t i = 0; i < l->n_decision; i++)
        before += l->decision[i].what == DEC_PREEMPT && l->n_replicas == 1 &&
                  l->decision[i].at < l->step[l->n_step - 1].at;
    ck_assert_uint_ge(told, before);
    ck_assert_uint_le(told, lab_count(l, DEC_PREEMPT));
    return told;
}

START_TEST(t15_conservation)
{
    uint64_t preempted = 0, refused = 0, finished = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        any_lab(&l, seed);
        struct segment *seg = mem_alloc(l.n_rec * sizeof(*seg));
        if (seed % 2 == 0)
            add_sessions(&l, seg, seed);
        if (seed % 4 == 3)
            l.scheduler = &sched_chaos;
        if (seed % 4 == 2)
            l.scheduler = any_speculative(seed);
        if (seed % 6 == 5)
            l.concurrency = 1 + (uint32_t)(seed % 9);
        ck_assert_msg(lab_run(&l), "seed %llu: %s", (unsigned long long)seed, l.err.text);
        conserved(&l);
        preempted += told_preemptions(&l);
        refused += l.result.refused;
        finished += l.result.finished;
        mem_free(seg);
        lab_release(&l);
    }
    printf("T15: %llu finished, %llu refused, %llu preemptions\n", (unsigned long long)finished,
           (unsigned long long)refused, (unsigned long long)preempted);
    ck_assert_uint_gt(preempted, runs());
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* What the scheduler is told adds up: every output token once, every request admitted once. */
START_TEST(t15_told_once)
{
    for (uint64_t seed = 1; seed <= runs() / 2; seed++) {
        struct lab l;
        any_lab(&l, seed);
        l.n_replicas = 1;
        struct spy spy = {.wp = 1, .wq = 2};
        ck_assert(spy_run(&spy, &l));
        uint64_t emitted = 0, admitted = 0;
        for (size_t i = 0; i < l.n_row; i++) {
            emitted += l.row[i].output_tokens;
            admitted += l.row[i].admitted_at >= 0;
        }
        ck_assert_uint_eq(spy.out_tokens, emitted);
        ck_assert_uint_eq(spy.admitted_new, admitted);
        spy_release(&spy);
        lab_release(&l);
    }
}
END_TEST

/* ---- T8: whenever the replica stands still, nobody who could run is there ---- */

/* Request-nanoseconds in which requests were there and no step ran. */
static uint64_t idle_with_work(const struct lab *l)
{
    uint64_t idle = 0;
    for (size_t k = 0; k + 1 < l->n_step; k++) {
        ns_t from = l->step[k].at + l->step[k].duration_ns, to = l->step[k + 1].at;
        for (size_t i = 0; to > from && i < l->n_row; i++) {
            const struct request_row *r = &l->row[i];
            if (r->arrived_at < to && r->done_at > from)
                idle += (uint64_t)(MIN(to, r->done_at) - MAX(from, r->arrived_at));
        }
    }
    return idle;
}

static enum adm defer_all(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)self;
    if (view_req(v, id)->arrived_at < v->now)
        return ADM_ACCEPT;
    *wake_at = v->now + 40 * NS_PER_MS;
    return ADM_DEFER;
}

START_TEST(t8_work_conservation)
{
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        any_lab(&l, seed);
        l.engine = "ideal";
        l.n_replicas = 1;
        l.limits.preempt = PREEMPT_RECOMPUTE; /* a swap in progress is a reason to wait */
        l.limits.host_blocks = 0;
        if (seed % 2 == 0)
            l.scheduler = any_speculative(seed);
        ck_assert(lab_run(&l));
        ck_assert_msg(idle_with_work(&l) == 0, "%s idles with work (seed %llu)", l.scheduler->name,
                      (unsigned long long)seed);
        lab_release(&l);
    }
}
END_TEST

/* The negative control: a scheduler that holds everybody back must be caught. */
START_TEST(t8_catches_idling)
{
    struct lab l;
    lab_init(&l);
    lab_random(&l, 5);
    struct scheduler_ops lazy = *scheduler_find("fcfs");
    lazy.on_arrival = defer_all;
    l.scheduler = &lazy;
    ck_assert(lab_run(&l));
    ck_assert_uint_gt(idle_with_work(&l), 0);
    lab_release(&l);
}
END_TEST

/* ---- T10 ---- */

START_TEST(t10_no_overtaking)
{
    uint64_t pairs = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        any_lab(&l, seed);
        l.scheduler = scheduler_find("fcfs");
        l.n_replicas = 1;
        ck_assert(lab_run(&l));
        bool *preempted = mem_alloc(l.n_rec);
        for (size_t i = 0; i < l.n_row; i++)
            preempted[l.row[i].seq] = l.row[i].preemptions > 0;
        uint64_t last = 0;
        for (size_t i = 0; i < l.n_decision; i++) {
            const struct lab_decision *d = &l.decision[i];
            if (d->what != DEC_ADMIT || preempted[d->seq])
                continue;
            ck_assert_msg(d->seq >= last, "request %llu after %llu (seed %llu)",
                          (unsigned long long)d->seq, (unsigned long long)last,
                          (unsigned long long)seed);
            last = d->seq;
            pairs++;
        }
        mem_free(preempted);
        lab_release(&l);
    }
    ck_assert_uint_gt(pairs, 10 * runs());
}
END_TEST

/* ---- T16 ---- */

START_TEST(t16_determinism)
{
    for (uint64_t seed = 1; seed <= runs() / 2; seed++) {
        struct lab l;
        any_lab(&l, seed);
        if (seed % 3 == 0)
            l.scheduler = &sched_chaos;
        if (seed % 4 == 2)
            l.scheduler = any_speculative(seed);
        ck_assert(lab_run(&l));
        uint64_t digest = l.result.digest;
        size_t decisions = l.n_decision, steps = l.n_step;
        ck_assert(lab_run(&l));
        ck_assert_uint_eq(l.result.digest, digest);
        ck_assert_uint_eq(l.n_decision, decisions);
        ck_assert_uint_eq(l.n_step, steps);
        lab_release(&l);
    }
}
END_TEST

/* The digest covers times: a step one nanosecond longer changes it. */
START_TEST(t16_digest_sees_time)
{
    struct lab l;
    lab_init(&l);
    lab_random(&l, 3);
    ck_assert(lab_run(&l));
    uint64_t digest = l.result.digest;
    l.step_ns += 1;
    ck_assert(lab_run(&l));
    ck_assert_uint_ne(l.result.digest, digest);
    lab_release(&l);
}
END_TEST

/* ---- failures ---- */

START_TEST(backend_fails_at_step_n)
{
    for (uint64_t n = 0; n < 60; n++) {
        struct lab l;
        any_lab(&l, 1 + n);
        l.fail_at_step = n * n / 3;
        bool ok = lab_run(&l);
        if (!ok)
            ck_assert_msg(strstr(l.err.text, "fails as told") != NULL, "%s", l.err.text);
        else
            ck_assert_uint_lt(l.result.steps, 60 * 60 * 3);
        lab_release(&l);
    }
}
END_TEST

/* Swap or recompute, every preempted request comes back and nothing stays behind on the host. */
START_TEST(horizon_cuts)
{
    for (uint64_t seed = 1; seed <= runs() / 10; seed++) {
        struct lab l;
        any_lab(&l, seed);
        l.horizon_ns = (ns_t)(seed * 7) * NS_PER_MS;
        ck_assert(lab_run(&l));
        uint64_t early = 0;
        for (size_t i = 0; i < l.n_rec; i++)
            early += l.rec[i].arrival_at < l.horizon_ns;
        ck_assert_uint_eq(l.n_row, early);
        ck_assert_uint_eq(l.result.finished + l.result.refused + l.result.unfinished, early);
        lab_release(&l);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine");
    TCase *t = tcase_create("properties");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t15_conservation);
    tcase_add_test(t, t15_told_once);
    tcase_add_test(t, t8_work_conservation);
    tcase_add_test(t, t8_catches_idling);
    tcase_add_test(t, t10_no_overtaking);
    tcase_add_test(t, t16_determinism);
    tcase_add_test(t, t16_digest_sees_time);
    tcase_add_test(t, backend_fails_at_step_n);
    tcase_add_test(t, horizon_cuts);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
