/* test_swap_ahead.c: what a scheduler may do about residents beyond running them all: send them
 * away ahead of need, pack their copies, leave them out of steps (sim/scheduler.h: kv_move,
 * offload, SCHED_PAUSES). And what it may learn from steps (sim/step_time.h). A step takes 1 ms, a
 * copy 1000 ns and 1000 bytes a block at 1 byte a ns. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "sim/step_time.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS
#define COPY(blocks) (1000 + (blocks)*1000)

/* ---- a scheduler that does as it is told ---- */

/* One run at a time. */
static struct {
    ns_t move_at; /* the first decision from then on sends `moved` away */
    uint64_t moved;
    bool any_state;    /* whether it is resident or not */
    uint32_t at_most;  /* residents that run in a step, the last admitted first */
    bool says_nothing; /* the first time it is asked in a step */
    struct offload offload;
} told;

static bool has_moved, asked;

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    has_moved = false;
    return arena_alloc(a, 1);
}

static void step_begin(void *self, const struct sched_view *v)
{
    (void)self;
    (void)v;
    asked = false;
}

static req_id find(const struct sched_view *v, req_id id, uint64_t seq)
{
    while (id != REQ_NONE && view_req(v, id)->seq != seq)
        id = view_running_next(v, id); /* those waiting are linked alike */
    return id;
}

static req_id kv_move(void *self, const struct sched_view *v, enum preempt_mode *mode)
{
    (void)self;
    ck_assert_int_eq(*mode, PREEMPT_SWAP);
    if (has_moved || v->now < told.move_at)
        return REQ_NONE;
    req_id id = find(v, view_running_first(v), told.moved);
    if (id == REQ_NONE && told.any_state)
        id = find(v, view_waiting_first(v), told.moved);
    has_moved = id != REQ_NONE;
    return id;
}

/* The last one that came; no more when it does not fit. */
static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    (void)self;
    (void)last;
    req_id youngest = view_waiting_first(v);
    for (req_id id = youngest; id != REQ_NONE; id = view_waiting_next(v, id))
        if (view_req(v, id)->seq > view_req(v, youngest)->seq)
            youngest = id;
    return res == TRY_FIRST || res == TRY_ADMITTED || res == TRY_LOADING ? youngest : REQ_NONE;
}

static uint32_t select_run(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    (void)self;
    uint32_t n = 0;
    bool silent = told.says_nothing && !asked;
    asked = true;
    for (req_id id = view_running_last(v); id != REQ_NONE && n < told.at_most && !silent;
         id = view_running_prev(v, id))
        if (view_req(v, id)->state == REQ_RUNNING)
            out[n++] = id;
    ck_assert_uint_le(n, max);
    return n;
}

static struct offload offload(const void *self)
{
    (void)self;
    return told.offload;
}

static const struct scheduler_ops obedient = {
    .name = "obedient",
    .doc = "does as it is told",
    .needs = SCHED_PAUSES,
    .open = open,
    .step_begin = step_begin,
    .offload = offload,
    .kv_move = kv_move,
    .select_run = select_run,
    .next_candidate = next_candidate,
};

/* Request 0, with 10 blocks, is sent away at 1 ms; request 1 comes at 0.5 ms and needs its room. */
static void ahead_lab(struct lab *l, uint64_t host_blocks)
{
    told.move_at = MS;
    told.moved = 0;
    told.any_state = told.says_nothing = false;
    told.at_most = 100;
    told.offload = (struct offload){.share = 1};
    lab_init(l);
    l->scheduler = &obedient;
    l->limits.num_gpu_blocks = 20;
    l->limits.enable_prefix_caching = false;
    l->limits.host_blocks = host_blocks;
    lab_add(l, 0, "a", 10, 3);
    lab_add(l, MS / 2, "a", 15, 2);
}

/* ---- ahead of need ---- */

/* Nobody lacks blocks when it goes; the other comes in when the copy is out, not before. It comes
 * back when there is room and computes nothing twice. The step says of the preemption. */
START_TEST(sent_away_and_back)
{
    struct lab l;
    ahead_lab(&l, 10);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ns_t out = MS + COPY(10), room = out + 2 * MS;
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 0, 0), MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), out); /* the fence */
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 0, 1), room);
    ck_assert_int_eq(lab_row(&l, 0)->done_at, room + COPY(10) + 2 * MS);
    ck_assert_uint_eq(l.step[1].preempted, 1);
    ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), 0);
    ck_assert_double_eq(lab_metric(&l, "swapped_bytes"), 20 * 1000);
    lab_release(&l);
}
END_TEST

/* Without room on the host its blocks are free at once, and are computed again. Unlike a victim's
 * in a shortage, they may go to a newcomer in the same step. */
START_TEST(no_room_on_the_host)
{
    struct lab l;
    ahead_lab(&l, 9);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(l.n_transfer, 0);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 0, 1), 3 * MS);
    ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), 10);
    lab_release(&l);
}
END_TEST

/* Half the bytes cross the link, after the GPU has packed all of them at half a byte a ns; a host
 * of 5 blocks holds the 10. */
START_TEST(packed_copies)
{
    struct lab l;
    ahead_lab(&l, 5);
    told.offload = (struct offload){.share = 0.5, .codec_bytes_per_s = 5e8};
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(l.n_transfer, 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(l.transfer[i].done_at - l.transfer[i].submitted_at,
                         1000 + 10 * (500 + 2000));
    ck_assert_double_eq(lab_metric(&l, "swapped_bytes"), 2 * 10 * 500);
    ck_assert_double_eq(lab_metric(&l, "packed_bytes"), 2 * 10 * 500); /* they are lossy */
    lab_release(&l);
}
END_TEST

/* It waits already when it is named (SIGABRT is expected). */
START_TEST(only_residents_go)
{
    struct lab l;
    ahead_lab(&l, 10);
    told.any_state = true;
    told.moved = 1;
    told.move_at = 0;
    l.limits.max_num_seqs = 1;
    (void)lab_run(&l);
}
END_TEST

/* ---- paused ---- */

/* One sequence a step, and yet both are resident: while the second waits the first is left out, so
 * that it comes in; then the last one admitted runs until it is done. Where nobody was named and
 * nobody came in, the scheduler is asked once more. */
START_TEST(residents_beyond_a_step)
{
    struct lab l;
    ahead_lab(&l, 0);
    told.move_at = NS_NEVER;
    told.says_nothing = true;
    told.at_most = 1;
    l.limits.max_num_seqs = 1;
    l.limits.num_gpu_blocks = 100;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), MS);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, 3 * MS);
    ck_assert_int_eq(lab_row(&l, 0)->done_at, 5 * MS);
    ck_assert_int_eq(lab_row(&l, 0)->itl_max_ns, 3 * MS); /* left out of two steps */
    ck_assert_uint_eq(lab_count(&l, DEC_PREEMPT), 0);
    ck_assert_uint_eq(l.n_step, 5);
    for (size_t i = 0; i < l.n_step; i++)
        ck_assert_uint_eq(l.step[i].n_decode + l.step[i].n_prefill, 1);
    lab_release(&l);
}
END_TEST

/* A scheduler that pauses nobody has max_num_seqs residents at most. */
START_TEST(residents_without_pauses)
{
    struct lab l;
    struct scheduler_ops ops = obedient;
    ops.needs = 0;
    ahead_lab(&l, 0);
    told.move_at = NS_NEVER;
    told.says_nothing = true;
    l.limits.max_num_seqs = 1;
    l.limits.num_gpu_blocks = 100;
    l.scheduler = &ops;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 3 * MS);
    lab_release(&l);
}
END_TEST

/* ---- what steps take ---- */

static void learn(struct step_time *t, uint32_t tokens, ns_t duration_ns)
{
    step_time_tokens(t, tokens - 1);
    step_time_tokens(t, 1);
    step_time_learn(t, duration_ns);
}

START_TEST(step_times_are_learned)
{
    struct step_time t = {0};
    ck_assert_int_eq(step_time_prefill(&t, 1000, 100), 0);
    ck_assert_int_eq(step_time_decode(&t), 0);
    learn(&t, 50, 7 * MS); /* of one size: a line has no slope */
    learn(&t, 50, 7 * MS);
    ck_assert_int_eq(step_time_decode(&t), 7 * MS);
    ck_assert_int_eq(step_time_prefill(&t, 250, 100), 3 * 7 * MS);
    for (uint32_t i = 1; i <= 100; i++) /* 2 ms and 0.1 ms a token */
        learn(&t, 10 * i, 2 * MS + i * MS);
    ck_assert_int_le(llabs(step_time_prefill(&t, 250, 100) - (3 * 2 + 25) * MS), 1000);
    step_time_learn(&t, MS); /* a step whose rows had all ended says nothing */
    ck_assert_int_le(llabs(step_time_prefill(&t, 250, 100) - (3 * 2 + 25) * MS), 1000);
    for (uint32_t i = 1; i <= 4000; i++) /* what was is forgotten; longer ones never take less */
        learn(&t, 1 + i % 7, 9 * MS - i % 7);
    ck_assert_int_le(llabs(step_time_prefill(&t, 1000, 100) - 10 * 9 * MS), 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("swap ahead");
    TCase *t = tcase_create("ahead of need");
    tcase_add_test(t, sent_away_and_back);
    tcase_add_test(t, no_room_on_the_host);
    tcase_add_test(t, packed_copies);
    tcase_add_test_raise_signal(t, only_residents_go, SIGABRT);
    tcase_add_test(t, residents_beyond_a_step);
    tcase_add_test(t, residents_without_pauses);
    tcase_add_test(t, step_times_are_learned);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
