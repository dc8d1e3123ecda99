/* test_sched_golden.c: the reference sequences of scheduling.md section 12 that are built so far
 * (G1 to G4, G6, G9), and of RPM, LPM, FastServe and ALISE, step by step: M = 20 tokens, blocks of
 * one token, N = 4, 64 tokens a step, a step takes 1 ms, w_p = 1, w_q = 2. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

/* ---- looking at a scheduler while it works ---- */

#define MOST_SEEN 64u
#define TENANTS 4u

/* The state at a decision, before anything is decided; or just after an arrival was taken in. */
struct seen {
    ns_t at;
    bool arrival;
    uint64_t seq;      /* of the arrival */
    double c[TENANTS]; /* counters of those known by then */
    uint64_t free_units;
    uint32_t n_waiting;
    uint64_t waiting[8]; /* seqs, first one first */
};

/* One run at a time is watched. */
static struct {
    const struct scheduler_ops *inner;
    struct seen seen[MOST_SEEN];
    size_t n;
} watched;

static struct seen *look(void *self, const struct sched_view *v)
{
    ck_assert_uint_lt(watched.n, MOST_SEEN);
    struct seen *s = &watched.seen[watched.n++];
    *s = (struct seen){.at = v->now, .free_units = v->free_units, .n_waiting = v->n_waiting};
    for (uint32_t t = 0; t < view_tenants(v) && watched.inner->tenant_counter != NULL; t++)
        s->c[t] = watched.inner->tenant_counter(self, v, t);
    size_t n = 0;
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id))
        s->waiting[n++] = view_req(v, id)->seq;
    return s;
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    enum adm answer = ADM_ACCEPT;
    if (watched.inner->on_arrival != NULL)
        answer = watched.inner->on_arrival(self, v, id, wake_at);
    struct seen *s = look(self, v);
    s->arrival = true;
    s->seq = view_req(v, id)->seq;
    return answer;
}

static void step_begin(void *self, const struct sched_view *v)
{
    if (watched.inner->step_begin != NULL)
        watched.inner->step_begin(self, v);
    (void)look(self, v);
}

static void watch(struct lab *l)
{
    struct scheduler_ops ops = *l->scheduler;
    watched.inner = l->scheduler;
    watched.n = 0;
    ops.on_arrival = on_arrival;
    ops.step_begin = step_begin;
    l->scheduler = &ops;
    ck_assert_msg(lab_run(l), "%s", l->err.text);
    l->scheduler = watched.inner;
}

static const struct seen *seen_arrival(uint64_t seq)
{
    for (size_t i = 0; i < watched.n; i++)
        if (watched.seen[i].arrival && watched.seen[i].seq == seq)
            return &watched.seen[i];
    ck_abort_msg("request %llu was not seen to arrive", (unsigned long long)seq);
    return NULL;
}

/* The first decision at that time. */
static const struct seen *seen_decision(ns_t at)
{
    for (size_t i = 0; i < watched.n; i++)
        if (!watched.seen[i].arrival && watched.seen[i].at == at)
            return &watched.seen[i];
    ck_abort_msg("no decision at %lld", (long long)at);
    return NULL;
}

static void golden_lab(struct lab *l, const char *scheduler)
{
    lab_init(l);
    l->limits.num_gpu_blocks = 20;
    l->limits.kv_admission = KV_ADMISSION_RESERVE;
    l->scheduler = scheduler_find(scheduler);
}

static uint64_t admitted_in(const struct lab *l, ns_t from, ns_t to)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n_decision; i++)
        n +=
            l->decision[i].what == DEC_ADMIT && l->decision[i].at >= from && l->decision[i].at < to;
    return n;
}

enum { A, B, C };

/* ---- G1: the lift of VTC ---- */

/* Three of A's fit at once (6 tokens each) and have ended when B comes at the third step: nobody
 * waits, and B starts from the counter of who left the queue last. */
START_TEST(g1_lift_to_the_last_that_left)
{
    struct lab l;
    golden_lab(&l, "vtc");
    for (int i = 0; i < 3; i++)
        lab_add(&l, 0, "A", 4, 2);
    lab_add(&l, 2 * NS_PER_MS + 1, "B", 4, 2);
    watch(&l);
    const struct seen *s = seen_arrival(3);
    ck_assert_double_eq(s->c[A], 3 * (4 + 2 * 2));
    ck_assert_double_eq(s->c[B], s->c[A]);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 2 * NS_PER_MS + 1);
    lab_release(&l);
}
END_TEST

/* It comes while A's first three still run but none waits: A has left the queue all the same. */
START_TEST(g1_running_is_not_waiting)
{
    struct lab l;
    golden_lab(&l, "vtc");
    for (int i = 0; i < 3; i++)
        lab_add(&l, 0, "A", 4, 2);
    lab_add(&l, NS_PER_MS + 1, "B", 4, 2);
    watch(&l);
    const struct seen *s = seen_arrival(3);
    ck_assert_double_eq(s->c[A], 3 * (4 + 2)); /* one token each so far */
    ck_assert_double_eq(s->c[B], s->c[A]);
    lab_release(&l);
}
END_TEST

/* A fourth one of A waits when B comes: B starts from the smallest counter of those who wait. C,
 * which was served least, has left and does not count; nor does a B that is above it come down. */
START_TEST(g1_lift_to_the_least_waiting)
{
    struct lab l;
    golden_lab(&l, "vtc");
    for (int i = 0; i < 4; i++)
        lab_add(&l, 0, "A", 4, 2);
    (void)names_id(&l.tenants, "B");
    lab_add(&l, 0, "C", 1, 1); /* admitted first but one: 6 + 2 + 6 + 6 = 20 */
    lab_add(&l, NS_PER_MS + 1, "B", 4, 2);
    watch(&l);
    const struct seen *s = seen_arrival(5);
    ck_assert_uint_eq(s->n_waiting, 2); /* A's fourth, and B */
    ck_assert_double_eq(s->c[C], 1 + 2);
    ck_assert_double_eq(s->c[A], 3 * (4 + 2));
    ck_assert_double_eq(s->c[B], s->c[A]);
    lab_release(&l);
}
END_TEST

/* B has had more than A when it comes back while A waits: its counter stays (mutation 2). */
START_TEST(g1_never_down)
{
    struct lab l;
    golden_lab(&l, "vtc");
    lab_add(&l, 0, "A", 1, 5);
    lab_add(&l, 0, "B", 13, 1);
    lab_add(&l, 0, "A", 10, 1); /* waits for room */
    lab_add(&l, 1, "B", 1, 1);
    watch(&l);
    const struct seen *s = seen_arrival(3);
    ck_assert_uint_eq(s->n_waiting, 2);
    ck_assert_double_eq(s->c[A], 1);
    ck_assert_double_eq(s->c[B], 13);
    lab_release(&l);
}
END_TEST

/* ---- G2: VTC stops at the tenant with the least ---- */

/* At 1 ms A (c = 0) has a head that needs 18, B (c = 5) one that needs 3, and 10 are free, for C
 * has 10 promised until 6 ms: nothing is admitted, now or later, before A. */
START_TEST(g2_head_of_line)
{
    struct lab l;
    golden_lab(&l, "vtc");
    (void)names_id(&l.tenants, "C"); /* ids settle ties: C first, then B, then A */
    (void)names_id(&l.tenants, "B");
    lab_add(&l, 0, "C", 4, 6);
    lab_add(&l, 0, "B", 3, 1);
    lab_add(&l, 0, "A", 16, 2);
    lab_add(&l, NS_PER_MS / 2, "B", 1, 2);
    watch(&l);
    const struct seen *s = seen_decision(NS_PER_MS);
    ck_assert_double_eq(s->c[2], 0);
    ck_assert_double_eq(s->c[1], 5);
    ck_assert_uint_eq(s->n_waiting, 2);
    ck_assert_uint_eq(admitted_in(&l, 1, 6 * NS_PER_MS), 0);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), 6 * NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 8 * NS_PER_MS); /* 2 left beside A's 18 */
    lab_release(&l);
}
END_TEST

/* The same under first come, first served, with B before A: it fits and goes in at once. So it was
 * VTC's order that held it back, not memory. */
START_TEST(g2_there_was_room)
{
    struct lab l;
    golden_lab(&l, "fcfs");
    lab_add(&l, 0, "C", 4, 6);
    lab_add(&l, 0, "B", 3, 1);
    lab_add(&l, NS_PER_MS / 2, "B", 1, 2);
    lab_add(&l, NS_PER_MS / 2, "A", 16, 2);
    ck_assert(lab_run(&l));
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 6 * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* And under DLPM, A and B with q > 0: what does not fit is passed over, and B goes in. */
START_TEST(g2_dlpm_passes_over)
{
    struct lab l;
    golden_lab(&l, "dlpm");
    params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, 10);
    lab_add(&l, 0, "A", 4, 6);
    lab_add(&l, 0, "B", 3, 1);
    lab_add(&l, 0, "C", 16, 2);
    lab_add(&l, NS_PER_MS / 2, "B", 1, 2);
    watch(&l);
    const struct seen *s = seen_decision(NS_PER_MS);
    ck_assert_double_eq(s->c[C], 10);
    ck_assert_double_eq(s->c[B], 10 - 3 - 2);
    ck_assert_uint_eq(s->n_waiting, 2);
    ck_assert_uint_eq(s->waiting[0], 2); /* C's is tried first, and needs 18 of the 10 free */
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), 6 * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* ---- G3: DLPM refills ---- */

/* At 2 ms A has q = -3 and B -1, both wait, the quantum is 10; C only runs, with q = 4 or -2. One
 * refill gives A 7 and B 9 (each is then charged a prompt of 1); C's 4 stays, its -2 becomes 8. */
static const struct {
    uint32_t prompt;
    double before, after;
} g3_idle[] = {{2, 4, 4}, {8, -2, 8}};

START_TEST(g3_refill)
{
    struct lab l;
    golden_lab(&l, "dlpm");
    params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, 10);
    l.limits.num_gpu_blocks = 100;
    l.limits.max_num_seqs = 8;
    lab_add(&l, 0, "A", 9, 2);
    lab_add(&l, 0, "B", 7, 2);
    lab_add(&l, 0, "C", g3_idle[_i].prompt, 9);
    lab_add(&l, NS_PER_MS + 1, "A", 1, 3);
    lab_add(&l, NS_PER_MS + 1, "B", 1, 3);
    lab_add(&l, 2 * NS_PER_MS + 1, "D", 1, 1);
    watch(&l);
    const struct seen *s = seen_decision(2 * NS_PER_MS);
    ck_assert_uint_eq(s->n_waiting, 2);
    ck_assert_double_eq(s->c[A], -3);
    ck_assert_double_eq(s->c[B], -1);
    ck_assert_double_eq(s->c[C], g3_idle[_i].before);
    s = seen_arrival(5);
    ck_assert_double_eq(s->c[A], 7 - 1);
    ck_assert_double_eq(s->c[B], 9 - 1);
    ck_assert_double_eq(s->c[C], g3_idle[_i].after);
    lab_release(&l);
}
END_TEST

/* B's only request ends at 1 ms with q = 10 - 3 - 2; what follows it comes at 1 ms + g3_gap. At the
 * same instant B never left, and has its credit; a nanosecond later it begins anew. */
static const struct {
    ns_t gap;
    double credit;
} g3_gap[] = {{0, 5}, {1, 0}};

START_TEST(g3_credit_outlives_an_instant)
{
    struct lab l;
    golden_lab(&l, "dlpm");
    params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, 10);
    lab_add(&l, 0, "A", 1, 6);
    lab_add(&l, 0, "B", 3, 1);
    struct trace_rec *next = lab_add(&l, 0, "B", 1, 1);
    next->after = 1;
    next->delay_ns = g3_gap[_i].gap;
    l.has_after = true;
    watch(&l);
    const struct seen *s = seen_arrival(2);
    ck_assert_int_eq(s->at, NS_PER_MS + g3_gap[_i].gap);
    ck_assert_double_eq(s->c[B], g3_gap[_i].credit);
    lab_release(&l);
}
END_TEST

/* ---- RPM: what counts ---- */

/* k = 2: refused arrivals do not count, and one accepted just 60 s ago does not any more; other
 * tenants have counts of their own. */
START_TEST(rpm_counts_the_accepted)
{
    static const uint32_t at_s[] = {0, 10, 20, 60, 61, 70};
    static const bool refused[] = {false, false, true, false, true, false};
    struct lab l;
    golden_lab(&l, "rpm");
    params_set_num(&l.params, "rpm.k", PARAM_INT, 2);
    for (size_t i = 0; i < ARRAY_LEN(at_s); i++)
        lab_add(&l, at_s[i] * NS_PER_S, "A", 2, 2);
    lab_add(&l, 70 * NS_PER_S, "B", 2, 2);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    for (uint64_t i = 0; i < ARRAY_LEN(at_s); i++)
        ck_assert_msg((lab_row(&l, i)->status == STATUS_REFUSED) == refused[i], "arrival %llu",
                      (unsigned long long)i);
    ck_assert_int_eq(lab_row(&l, 6)->status, STATUS_FINISHED);
    lab_release(&l);
}
END_TEST

/* ---- LPM: SGLang's order ---- */

/* One at a time: 0 leaves a prompt of 40 in the cache. Of those that then wait, 4 hits all of it
 * and goes first; of 1, 2 and 3, which hit nothing, 2 begins as 1 does and goes last: after 3. When
 * 1 has been computed 2 hits it, and goes before 3 after all. */
START_TEST(lpm_order)
{
    static struct segment text[] = {{7, 0, 40}, {8, 0, 50}, {8, 0, 45}, {9, 0, 40}, {7, 0, 41}};
    struct lab l;
    golden_lab(&l, "lpm");
    l.limits.num_gpu_blocks = 1000;
    l.limits.max_num_seqs = 1;
    l.limits.max_num_batched_tokens = 200;
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        struct trace_rec *r =
            lab_add(&l, i == 0 ? 0 : NS_PER_MS / 2, "A", text[i].tokens, i == 0 ? 1 : 2);
        r->segment = &text[i];
        r->n_segments = 1;
    }
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    static const uint64_t order[] = {0, 4, 1, 2, 3};
    size_t n = 0;
    for (size_t i = 0; i < l.n_decision; i++)
        if (l.decision[i].what == DEC_ADMIT)
            ck_assert_uint_eq(l.decision[i].seq, order[n++]);
    ck_assert_uint_eq(n, 5);
    ck_assert_uint_eq(lab_row(&l, 2)->cached_tokens, 44); /* not computed beside 1 */
    lab_release(&l);
}
END_TEST

/* In one decision with room for all: those that begin like another come last. */
START_TEST(lpm_one_of_a_kind_first)
{
    static struct segment text[] = {{8, 0, 50}, {8, 0, 45}, {9, 0, 40}, {8, 0, 31}};
    struct lab l;
    golden_lab(&l, "lpm");
    l.limits.num_gpu_blocks = 1000;
    l.limits.max_num_batched_tokens = 200;
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        struct trace_rec *r = lab_add(&l, 0, "A", text[i].tokens, 1);
        r->segment = &text[i];
        r->n_segments = 1;
    }
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    static const uint64_t order[] = {0, 2, 3, 1}; /* 3 is too short to count as alike */
    size_t n = 0;
    for (size_t i = 0; i < l.n_decision; i++)
        if (l.decision[i].what == DEC_ADMIT)
            ck_assert_uint_eq(l.decision[i].seq, order[n++]);
    ck_assert_uint_eq(n, 4);
    lab_release(&l);
}
END_TEST

/* ---- G4: vLLM preempts the tail of running ---- */

/* r1 to r3 fill memory with their prompts (5 + 5 + 10); at 1 ms r1 needs a block. r3 goes, to the
 * front of the queue, before r4 which came at 0.5 ms; nothing is admitted in that step although r4
 * would fit (8 are free then). At 2 ms r3 is tried first and does not fit; r4 stays behind it. */
START_TEST(g4_preemption)
{
    struct lab l;
    golden_lab(&l, "fcfs");
    l.limits.kv_admission = KV_ADMISSION_PAGED;
    lab_add(&l, 0, "A", 5, 4);
    lab_add(&l, 0, "A", 5, 4);
    lab_add(&l, 0, "A", 10, 4);
    lab_add(&l, NS_PER_MS / 2, "A", 1, 1);
    watch(&l);
    ck_assert_uint_eq(admitted_in(&l, 0, 1), 3);
    ck_assert_uint_eq(seen_decision(NS_PER_MS)->free_units, 0);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 2, 0), NS_PER_MS);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 1);
    ck_assert_uint_eq(l.step[1].n_decode, 2); /* r1 and r2 went on */
    ck_assert_uint_eq(admitted_in(&l, 1, 2 * NS_PER_MS), 0);

    const struct seen *s = seen_decision(2 * NS_PER_MS);
    ck_assert_uint_eq(s->n_waiting, 2);
    ck_assert_uint_eq(s->waiting[0], 2);
    ck_assert_uint_eq(s->waiting[1], 3);
    ck_assert_uint_eq(admitted_in(&l, 2 * NS_PER_MS, 4 * NS_PER_MS), 0);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 1), 4 * NS_PER_MS); /* r1 and r2 have ended */
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 4 * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* ---- G6: Sarathi's step ---- */

/* tau = 8. At 1 ms three requests decode, a prompt of 25 has 20 left (5 went beside the three
 * one-token prompts), and a new prompt of 4 has come: tokens 1, 1, 1, 5, and the new one waits
 * until the prompt before it is done: 5 + 5 + 5, and the last 5 leave no room either. */
START_TEST(g6_sarathi_step)
{
    struct lab l;
    golden_lab(&l, "sarathi");
    l.limits.kv_admission = KV_ADMISSION_PAGED;
    l.limits.num_gpu_blocks = 100;
    l.limits.max_num_seqs = 8;
    params_set_num(&l.params, "sarathi.tau", PARAM_INT, 8);
    for (int i = 0; i < 3; i++)
        lab_add(&l, 0, "A", 1, 9);
    lab_add(&l, 0, "A", 25, 1);
    lab_add(&l, NS_PER_MS / 2, "B", 4, 1);
    watch(&l);
    ck_assert_uint_eq(l.step[0].prefill_tokens, 8); /* 1 + 1 + 1 + 5 */
    for (int i = 1; i <= 4; i++) {
        ck_assert_uint_eq(l.step[i].n_decode, 3);
        ck_assert_uint_eq(l.step[i].decode_tokens, 3);
        ck_assert_uint_eq(l.step[i].n_prefill, 1);
        ck_assert_uint_eq(l.step[i].prefill_tokens, 5);
    }
    ck_assert_uint_eq(admitted_in(&l, 1, 5 * NS_PER_MS), 0); /* budget 0 */
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 4, 0), 5 * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* ---- vLLM's priorities: beside G4 ---- */

/* Three fill memory; at 1 ms the first needs a block. The least urgent goes although it was
 * admitted first of all, and waits behind the more urgent one that came later. */
START_TEST(priority_victim)
{
    struct lab l;
    golden_lab(&l, "priority");
    l.limits.kv_admission = KV_ADMISSION_PAGED;
    lab_add(&l, 0, "A", 10, 4)->priority = 5;
    lab_add(&l, 0, "A", 5, 4)->priority = 1;
    lab_add(&l, 0, "A", 5, 4)->priority = 1;
    lab_add(&l, NS_PER_MS / 2, "A", 10, 1)->priority = 2;
    watch(&l);
    ck_assert_uint_eq(admitted_in(&l, 0, 1), 3);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 0, 0), NS_PER_MS);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 1);
    ck_assert_int_lt(lab_at(&l, DEC_ADMIT, 3, 0), lab_at(&l, DEC_ADMIT, 0, 1));
    lab_release(&l);
}
END_TEST

/* ---- G9: S3 doubles a reservation that was too small ---- */

/* Predicted 64 tokens, in truth 70: sent away when 64 are out, once. Before, 10 + 64 of 150 are
 * reserved; after, 10 + 128: of the two that come then, tried by size, only the one with 12 fits
 * beside it, and the one with 18 waits for its end. */
static const uint64_t g9_host_blocks[] = {0, 1000};

START_TEST(g9_reservation_doubles)
{
    struct lab l;
    golden_lab(&l, "s3");
    l.predictor = predictor_find("column");
    l.limits.kv_admission = KV_ADMISSION_PAGED;
    l.limits.num_gpu_blocks = 150;
    l.limits.host_blocks = g9_host_blocks[_i];
    struct trace_rec *r = lab_add(&l, 0, "A", 10, 70);
    r->predicted_tokens = 64;
    r->max_tokens = 1000;
    lab_add(&l, 65 * NS_PER_MS + NS_PER_MS / 2, "A", 4, 8)->predicted_tokens = 8;
    lab_add(&l, 65 * NS_PER_MS + NS_PER_MS / 2, "A", 10, 8)->predicted_tokens = 8;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 1);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 0, 0), 64 * NS_PER_MS);
    ck_assert_uint_eq(l.decision[lab_find(&l, DEC_PREEMPT, 0, 0)].number,
                      _i == 1 ? PREEMPT_SWAP : PREEMPT_RECOMPUTE);
    ns_t end = lab_row(&l, 0)->done_at;
    ck_assert_int_lt(lab_at(&l, DEC_ADMIT, 1, 0), end);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), end);
    lab_release(&l);
}
END_TEST

/* While 64 is still what is reserved, the larger one goes first: 74 + 18 + 12 of 104 fit, 103 not.
 */
START_TEST(g9_largest_first)
{
    for (uint32_t blocks = 103; blocks <= 104; blocks++) {
        struct lab l;
        golden_lab(&l, "s3");
        l.predictor = predictor_find("column");
        l.limits.num_gpu_blocks = blocks;
        lab_add(&l, 0, "A", 10, 64)->predicted_tokens = 64;
        lab_add(&l, NS_PER_MS / 2, "A", 4, 8)->predicted_tokens = 8;
        lab_add(&l, NS_PER_MS / 2, "A", 10, 8)->predicted_tokens = 8;
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), NS_PER_MS);
        ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), blocks == 104 ? NS_PER_MS : 9 * NS_PER_MS);
        lab_release(&l);
    }
}
END_TEST

/* ---- FastServe: turns ---- */

static void levels_lab(struct lab *l, const char *scheduler, double q1_ms)
{
    char key[32];
    golden_lab(l, scheduler);
    snprintf(key, sizeof(key), "%s.q1_ms", scheduler);
    params_set_num(&l->params, key, PARAM_REAL, q1_ms);
    l->predictor = predictor_find("column");
    l->limits.kv_admission = KV_ADMISSION_PAGED;
    l->limits.num_gpu_blocks = 1000;
    l->limits.max_num_seqs = 1;
}

/* One in a step, quanta of 2, 4, ... ms: at 2 ms the first has had its quantum and goes down one;
 * the second has its two steps; then the first goes on, to its end, for nobody else is there. It
 * was resident all the time. */
START_TEST(fastserve_takes_turns)
{
    struct lab l;
    levels_lab(&l, "fastserve", 2);
    lab_add(&l, 0, "A", 1, 6);
    lab_add(&l, NS_PER_MS / 2, "A", 1, 2);
    watch(&l);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 2 * NS_PER_MS);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, 4 * NS_PER_MS);
    ck_assert_int_eq(lab_row(&l, 0)->done_at, 8 * NS_PER_MS);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 0);
    lab_release(&l);
}
END_TEST

/* A step takes 1 ms and 0.1 ms a token. When the first has shown that, a prompt of 60 (7 ms) joins
 * the third level (8 ms), and one of 1 that comes after it the first: it goes before both. The
 * first went down one at 3 ms, when its prefill was done. */
START_TEST(fastserve_skips_levels)
{
    struct lab l;
    levels_lab(&l, "fastserve", 2);
    l.token_ns = 1e5;
    lab_add(&l, 0, "A", 20, 4);
    lab_add(&l, 5 * NS_PER_MS, "A", 60, 2);
    lab_add(&l, 5 * NS_PER_MS + 1, "A", 1, 2);
    watch(&l);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), 5200000); /* 3 + 2 x 1.1 ms */
    ck_assert_int_eq(lab_row(&l, 2)->done_at, 7400000);
    ck_assert_int_eq(lab_row(&l, 0)->done_at, 8500000);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 8500000);
    lab_release(&l);
}
END_TEST

/* ---- ALISE: guesses ---- */

static void alise_lab(struct lab *l)
{
    levels_lab(l, "alise", 10);
    lab_add(l, 0, "A", 1, 1)->predicted_tokens = 1; /* shows that a step takes 1 ms */
}

/* Levels of 10, 20, 40, 80 ms. Request 1, predicted 40, joins the fourth. Request 2, predicted 4,
 * goes before it from 11 ms on; its prediction doubles at 4, 8 and 16 tokens, and then what is left
 * of 32 belongs to the second level: behind request 3, predicted 15, which waited there. */
START_TEST(alise_guesses)
{
    struct lab l;
    alise_lab(&l);
    lab_add(&l, 5 * NS_PER_MS, "A", 1, 40)->predicted_tokens = 40;
    lab_add(&l, 10 * NS_PER_MS + NS_PER_MS / 2, "A", 1, 30)->predicted_tokens = 4;
    lab_add(&l, 12 * NS_PER_MS, "A", 1, 15)->predicted_tokens = 15;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 5 * NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), 11 * NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 3, 0), 27 * NS_PER_MS);
    ck_assert_int_eq(lab_row(&l, 3)->done_at, 42 * NS_PER_MS);
    ck_assert_int_eq(lab_row(&l, 2)->done_at, 56 * NS_PER_MS);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, 90 * NS_PER_MS);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 0);
    lab_release(&l);
}
END_TEST

/* Of 20 blocks 1 holds 8 and 2 holds 5 when 3 comes, which needs 8 and goes before both: the one
 * that will wait longest goes to the host, in copies of half the size, and 3 comes in when it is
 * out. */
START_TEST(alise_sends_the_longest_wait_away)
{
    struct lab l;
    alise_lab(&l);
    l.limits.num_gpu_blocks = 20;
    l.limits.host_blocks = 100;
    params_set_num(&l.params, "alise.codec_gb_s", PARAM_REAL, 1);
    struct trace_rec *longest = lab_add(&l, 5 * NS_PER_MS, "A", 6, 4);
    longest->predicted_tokens = 70;
    longest->max_tokens = 100;
    struct trace_rec *shorter = lab_add(&l, 7 * NS_PER_MS + NS_PER_MS / 2, "A", 4, 4);
    shorter->predicted_tokens = 15;
    shorter->max_tokens = 100;
    lab_add(&l, 9 * NS_PER_MS + NS_PER_MS / 2, "A", 8, 3)->predicted_tokens = 3;
    watch(&l);
    ck_assert_uint_eq(seen_decision(10 * NS_PER_MS)->free_units, 20 - 8 - 5);
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 1);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 1, 0), 10 * NS_PER_MS);
    ck_assert_uint_eq(l.n_transfer, 2);
    ns_t copied = 1000 + 8 * (500 + 1000); /* packed and moved */
    ck_assert_int_eq(l.transfer[0].done_at, 10 * NS_PER_MS + copied);
    ck_assert_int_gt(lab_at(&l, DEC_ADMIT, 3, 0), l.transfer[0].done_at);
    ck_assert_double_eq(lab_metric(&l, "swapped_bytes"), 2 * 8 * 500);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reference sequences");
    TCase *t = tcase_create("scheduling.md 12");
    tcase_add_test(t, g1_lift_to_the_last_that_left);
    tcase_add_test(t, g1_running_is_not_waiting);
    tcase_add_test(t, g1_lift_to_the_least_waiting);
    tcase_add_test(t, g1_never_down);
    tcase_add_test(t, g2_head_of_line);
    tcase_add_test(t, g2_there_was_room);
    tcase_add_test(t, g2_dlpm_passes_over);
    tcase_add_loop_test(t, g3_refill, 0, (int)ARRAY_LEN(g3_idle));
    tcase_add_loop_test(t, g3_credit_outlives_an_instant, 0, (int)ARRAY_LEN(g3_gap));
    tcase_add_test(t, rpm_counts_the_accepted);
    tcase_add_test(t, lpm_order);
    tcase_add_test(t, lpm_one_of_a_kind_first);
    tcase_add_test(t, g4_preemption);
    tcase_add_test(t, g6_sarathi_step);
    tcase_add_test(t, priority_victim);
    tcase_add_loop_test(t, g9_reservation_doubles, 0, (int)ARRAY_LEN(g9_host_blocks));
    tcase_add_test(t, g9_largest_first);
    tcase_add_test(t, fastserve_takes_turns);
    tcase_add_test(t, fastserve_skips_levels);
    tcase_add_test(t, alise_guesses);
    tcase_add_test(t, alise_sends_the_longest_wait_away);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
