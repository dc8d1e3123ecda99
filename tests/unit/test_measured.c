/* test_measured.c: backends that run real steps and swaps, as the event core sees them: when a step
 * begins and ends on either clock, when a swap is heard of, what is stored of what the end of the
 * run cuts off. The backend is a stopwatch. */
#include <check.h>
#include <string.h>
#include <time.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS

static struct {
    ns_t step_ns;    /* a step takes so long, by the wall clock too if it sleeps */
    ns_t wait_ns;    /* a swap that is waited for does */
    uint32_t unseen; /* times that a swap is asked for in vain */
    bool sleeps;
    uint64_t begun, done;
    uint32_t asked;
} watch; /* a test runs in a process of its own */

static void doze(ns_t ns)
{
    struct timespec t = {.tv_sec = ns / NS_PER_S, .tv_nsec = (long)(ns % NS_PER_S)};
    ck_assert_int_eq(nanosleep(&t, NULL), 0);
}

static void *watch_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                        struct err *e)
{
    (void)env, (void)note, (void)e;
    return arena_alloc(a, 1);
}

static bool watch_step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    (void)self, (void)b, (void)e;
    if (watch.sleeps)
        doze(watch.step_ns);
    cost->device_ns = (double)watch.step_ns / 2;
    cost->wall_ns = watch.step_ns;
    return true;
}

static bool watch_swap(void *self, const struct swap *w, ns_t *done_at, struct err *e)
{
    (void)self, (void)done_at, (void)e;
    ck_assert_uint_eq(w->number, watch.begun);
    watch.begun++;
    watch.asked = 0;
    return true;
}

static bool watch_swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    (void)self, (void)e;
    ck_assert_uint_eq(seen, watch.done);
    if (wait)
        doze(watch.wait_ns);
    if (wait || watch.asked++ >= watch.unseen)
        watch.done = watch.begun;
    *done = watch.done;
    return true;
}

static const struct backend_ops watch_ops = {
    .name = "stopwatch",
    .doc = "for tests",
    .caps = BACKEND_MEASURED | BACKEND_EXECUTES,
    .open = watch_open,
    .step = watch_step,
    .swap = watch_swap,
    .swaps_done = watch_swaps_done,
};

/* When request 2, with 10 of 20 blocks, is preempted at 1 ms, the others need them to go on. */
static void swap_lab(struct lab *l)
{
    lab_init(l);
    l->engine = "tandem";
    l->backend = &watch_ops;
    l->limits.num_gpu_blocks = 20;
    l->limits.enable_prefix_caching = false;
    l->limits.preempt = PREEMPT_SWAP;
    l->limits.host_blocks = 100;
    lab_add(l, 0, "a", 5, 4);
    lab_add(l, 0, "a", 5, 4);
    lab_add(l, 0, "a", 10, 3);
}

static void run(struct lab *l)
{
    ck_assert_msg(lab_run(l), "%s", l->err.text);
}

/* Nothing can run until the copy is out: the core waits for it, and the time of the wait passes. */
START_TEST(a_swap_that_is_waited_for)
{
    struct lab l;
    swap_lab(&l);
    watch.step_ns = MS;
    watch.wait_ns = 3 * MS;
    run(&l);
    ck_assert_uint_eq(l.n_transfer, 2);
    const struct transfer_row *out = &l.transfer[0], *in = &l.transfer[1];
    ck_assert_str_eq(out->direction, "out");
    ck_assert_uint_eq(out->n, 0);
    ck_assert_int_eq(out->submitted_at, MS);
    ck_assert_int_ge(out->done_at, MS + 3 * MS);
    ck_assert_int_eq(l.step[1].at, out->done_at);
    ck_assert_str_eq(in->direction, "in");
    ck_assert_uint_eq(in->n, 1); /* one count for both directions */
    ck_assert_int_ge(in->done_at, in->submitted_at + 3 * MS);
    ck_assert_int_eq(l.step[4].at, in->done_at);
    lab_release(&l);
}
END_TEST

/* Somebody else computes meanwhile: a swap is heard of at the end of a step. */
START_TEST(a_swap_beside_steps)
{
    struct lab l;
    swap_lab(&l);
    watch.step_ns = MS;
    watch.unseen = 2;
    lab_add(&l, 2 * MS, "a", 1, 9);
    run(&l);
    const struct transfer_row *in = &l.transfer[1];
    ck_assert_int_eq(in->done_at, in->submitted_at + 3 * MS);
    uint32_t beside = 0;
    for (size_t i = 0; i < l.n_step; i++)
        beside += l.step[i].at >= in->submitted_at && l.step[i].at < in->done_at;
    ck_assert_uint_eq(beside, 3);
    lab_release(&l);
}
END_TEST

static ns_t wall_now(void)
{
    struct timespec ts;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (ns_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* On the virtual clock a step begins when it is decided; on the paced one when it did, so that what
 * passes between steps is part of the run. */
START_TEST(clocks)
{
    for (int paced = 0; paced < 2; paced++) {
        struct lab l;
        lab_init(&l);
        l.engine = "tandem";
        l.backend = &watch_ops;
        l.clock = paced ? CLOCK_PACED : CLOCK_VIRTUAL;
        watch.step_ns = 2 * MS;
        watch.sleeps = true;
        lab_add(&l, 5 * MS, "a", 4, 10);
        ns_t from = wall_now();
        run(&l);
        ns_t took = wall_now() - from;
        ck_assert_uint_eq(l.n_step, 10);
        ck_assert_double_eq(l.step[0].device_ns, (double)MS);
        ck_assert_double_eq(l.step[0].host_ns, (double)MS);
        for (size_t i = 0; i < l.n_step; i++) {
            ns_t due = i == 0 ? 5 * MS : l.step[i - 1].at + 2 * MS;
            ck_assert_int_eq(l.step[i].duration_ns, 2 * MS);
            if (paced)
                ck_assert_int_gt(l.step[i].at, due);
            else
                ck_assert_int_eq(l.step[i].at, due);
        }
        ck_assert_int_eq(lab_row(&l, 0)->arrived_at, 5 * MS);
        ck_assert_int_eq(lab_row(&l, 0)->done_at, l.step[9].at + 2 * MS);
        if (paced) {
            ck_assert_int_ge(took, 25 * MS);
            ck_assert_int_le(l.result.end_at, took);
        }
        lab_release(&l);
    }
}
END_TEST

/* A replay needs them: the step and the swap that were under way are stored, too. */
START_TEST(the_end_cuts)
{
    struct lab l;
    swap_lab(&l);
    watch.step_ns = MS;
    watch.unseen = 100;
    lab_add(&l, 2 * MS, "a", 1, 9);
    l.horizon_ns = 8 * MS + MS / 2;
    run(&l);
    const struct step_row *last = &l.step[l.n_step - 1];
    ck_assert_int_lt(last->at, l.horizon_ns);
    ck_assert_int_gt(last->at + last->duration_ns, l.horizon_ns);
    ck_assert_uint_eq(l.n_transfer, 2);
    ck_assert_int_eq(l.transfer[1].done_at, -1);
    ck_assert_uint_eq(l.transfer[1].units, 10);
    lab_release(&l);
}
END_TEST

START_TEST(batches_in_flight)
{
    struct lab l;
    swap_lab(&l);
    l.engine = "vllm-0.19";
    ck_assert(!lab_run(&l));
    ck_assert_str_eq(l.err.text, "engine: vllm-0.19 has 2 batches in flight, stopwatch runs one; "
                                 "use engine=tandem");
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("measured");
    TCase *t = tcase_create("core");
    tcase_add_test(t, a_swap_that_is_waited_for);
    tcase_add_test(t, a_swap_beside_steps);
    tcase_add_test(t, clocks);
    tcase_add_test(t, the_end_cuts);
    tcase_add_test(t, batches_in_flight);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
