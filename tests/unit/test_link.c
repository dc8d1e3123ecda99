/* test_link.c: processor sharing against times computed by hand, and as a property: bytes are
 * conserved, nothing is early, and asking in between changes nothing. */
#include "sim/link.h"

#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "sim/rng.h"

#define RATE 1e10 /* bytes per second: 10 bytes per ns */

struct job {
    ns_t at;
    uint64_t bytes;
    ns_t done_at; /* by hand; NS_NEVER: no such job */
};

/* Latency 100 ns, 10 bytes per ns. */
static const struct {
    const char *what;
    struct job job[4];
    size_t n;
} by_hand[] = {
    {"one alone: 100 + 1000/10", {{50, 1000, 250}}, 1},
    {"rounded up, never early", {{0, 1001, 201}}, 1},
    {"no bytes: latency only", {{0, 0, 100}}, 1},
    {"two equal: half the rate each", {{0, 1000, 300}, {0, 1000, 300}}, 2},
    /* Both move from 100. At 300 the short one is done; the other has 3000 - 1000 left. */
    {"short and long", {{0, 3000, 500}, {0, 1000, 300}}, 2},
    /* A moves alone from 100 to 150 (500), both from 150: A's other 500 last to 250, then B has 500
     * of its 1000 left, alone: 300. */
    {"staggered", {{0, 1000, 250}, {50, 1000, 300}}, 2},
    /* Latency takes no bandwidth: B is in its latency until A is done. */
    {"latency overlaps", {{0, 1000, 200}, {100, 1000, 300}}, 2},
    {"four equal", {{7, 1000, 507}, {7, 1000, 507}, {7, 1000, 507}, {7, 1000, 507}}, 4},
    /* Each has a third until 400 (C done, 1000 each), then half until 600 (B), then all. */
    {"three different", {{0, 3000, 700}, {0, 2000, 600}, {0, 1000, 400}}, 3},
    /* From 100 a third each, from 200 a quarter; the last is done after 400 ns more. What rounding
     * leaves of the others' thirds may not keep it: at 600 sharp. Then 1100 ns, then 200. */
    {"thirds", {{0, 5000, 1700}, {0, 6000, 1900}, {0, 6000, 1900}, {100, 1000, 600}}, 4},
    {"an empty one beside a long one", {{0, 1000, 200}, {20, 0, 120}}, 2},
};

/* Runs the jobs event by event, as the engine does. */
static void run_jobs(const struct job *job, size_t n, ns_t *done_at)
{
    struct link l;
    struct link_transfer t;
    size_t next = 0, done = 0;
    link_init(&l, RATE, 100);
    while (done < n) {
        ns_t at = link_next_at(&l);
        if (next < n && job[next].at <= at) {
            ck_assert_uint_eq(link_submit(&l, job[next].at, job[next].bytes, 1000 + next), next);
            next++;
            continue;
        }
        ck_assert_int_ne(at, NS_NEVER);
        ck_assert(!link_take_done(&l, at - 1, &t));
        ck_assert(link_take_done(&l, at, &t));
        do {
            ck_assert_uint_eq(t.tag, 1000 + t.number);
            done_at[t.number] = at;
            done++;
        } while (link_take_done(&l, at, &t));
    }
    ck_assert_int_eq(link_next_at(&l), NS_NEVER);
    link_release(&l);
}

START_TEST(times_by_hand)
{
    ns_t done_at[4];
    run_jobs(by_hand[_i].job, by_hand[_i].n, done_at);
    for (size_t i = 0; i < by_hand[_i].n; i++)
        ck_assert_msg(done_at[i] == by_hand[_i].job[i].done_at, "%s: job %zu at %lld, not %lld",
                      by_hand[_i].what, i, (long long)done_at[i],
                      (long long)by_hand[_i].job[i].done_at);
}
END_TEST

START_TEST(completions_come_in_order_of_number)
{
    struct link l;
    struct link_transfer t;
    link_init(&l, RATE, 0);
    const uint64_t bytes[] = {3000, 1000, 2000, 1000};
    for (uint64_t i = 0; i < 4; i++)
        link_submit(&l, 0, bytes[i], i);
    /* Long after all are done: by number, not by time. */
    for (uint64_t i = 0; i < 4; i++) {
        ck_assert_int_le(link_next_at(&l), 1000);
        ck_assert(link_take_done(&l, 1000, &t));
        ck_assert_uint_eq(t.number, i);
    }
    ck_assert(!link_take_done(&l, 1000, &t));
    link_release(&l);
}
END_TEST

START_TEST(cancelling_gives_the_bandwidth_back)
{
    struct link l;
    struct link_transfer t;
    link_init(&l, RATE, 0);
    uint64_t a = link_submit(&l, 0, 1000, 1);
    uint64_t b = link_submit(&l, 0, 1000, 2);
    ck_assert_int_eq(link_next_at(&l), 200);
    link_cancel(&l, 100, a); /* b has 500 left */
    ck_assert_int_eq(link_next_at(&l), 150);
    ck_assert(link_take_done(&l, 150, &t));
    ck_assert_uint_eq(t.number, b);

    uint64_t c = link_submit(&l, 150, 1000, 3);
    link_cancel(&l, 300, c); /* complete since 250, not taken: cancelled all the same */
    ck_assert(!link_take_done(&l, 300, &t));
    ck_assert_int_eq(link_next_at(&l), NS_NEVER);
    link_release(&l);
}
END_TEST

/* An event scheduled for a generation that has passed is stale. */
START_TEST(every_change_is_a_generation)
{
    struct link l;
    struct link_transfer t;
    link_init(&l, RATE, 10);
    uint64_t before = l.generation;
    uint64_t a = link_submit(&l, 0, 1000, 1);
    ck_assert_uint_gt(l.generation, before);
    before = l.generation;
    ck_assert_int_eq(link_next_at(&l), 110);
    ck_assert(!link_take_done(&l, 109, &t));
    link_cancel(&l, 20, a + 1); /* absent */
    ck_assert_uint_eq(l.generation, before);
    link_submit(&l, 20, 1000, 2);
    ck_assert_uint_gt(l.generation, before);
    before = l.generation;
    ck_assert_int_gt(link_next_at(&l), 110);
    link_cancel(&l, 30, a);
    ck_assert_uint_gt(l.generation, before);
    before = l.generation;
    ck_assert(link_take_done(&l, link_next_at(&l), &t));
    ck_assert_uint_gt(l.generation, before);
    link_release(&l);
}
END_TEST

#define JOBS 300

struct load {
    double bytes_per_s;
    ns_t latency_ns;
    struct job job[JOBS];
};

static void random_load(struct load *load, uint64_t seed)
{
    struct rng r;
    ns_t at = 0;
    rng_init(&r, seed, "link");
    load->bytes_per_s = 1e6 + rng_unit(&r) * 5e10;
    load->latency_ns = (ns_t)rng_below(&r, 20000);
    for (size_t i = 0; i < JOBS; i++) {
        if (rng_below(&r, 3) > 0)
            at += (ns_t)rng_below(&r, 100000);
        uint64_t bytes = rng_below(&r, 10) == 0 ? rng_below(&r, 3) : rng_below(&r, 1 << 22);
        load->job[i] = (struct job){.at = at, .bytes = bytes, .done_at = NS_NEVER};
    }
}

/* Runs the load; with `curious` the link is asked at many other times too. */
static void run_load(struct load *load, bool curious)
{
    struct link l;
    struct link_transfer t;
    size_t next = 0, done = 0;
    link_init(&l, load->bytes_per_s, load->latency_ns);
    while (done < JOBS) {
        ns_t complete_at = link_next_at(&l);
        if (next < JOBS && load->job[next].at <= complete_at) {
            link_submit(&l, load->job[next].at, load->job[next].bytes, next);
            next++;
            continue;
        }
        ns_t step = (complete_at - l.now) / 7;
        for (ns_t at = l.now; curious && step > 0 && at < complete_at; at += step)
            ck_assert(!link_take_done(&l, at, &t));
        ck_assert_int_eq(link_next_at(&l), complete_at);
        size_t before = done;
        for (; link_take_done(&l, complete_at, &t); done++)
            load->job[t.tag].done_at = complete_at;
        ck_assert_uint_gt(done, before); /* never woken for nothing */
    }
    ck_assert_uint_eq(l.n, 0);
    link_release(&l);
}

/* Bytes on a busy link leave at its bandwidth: a busy period that moves B bytes lasts B / rate, and
 * at most 1 ns a completion longer, for rounding up. */
static void check_conservation(const struct load *load)
{
    double rate = load->bytes_per_s / 1e9, bytes = 0;
    ns_t from = load->job[0].at + load->latency_ns, until = from;
    size_t n = 0;
    for (size_t i = 0; i < JOBS; i++) {
        const struct job *j = &load->job[i];
        ns_t starts_at = j->at + load->latency_ns;
        ck_assert_double_ge((double)(j->done_at - starts_at),
                            (double)j->bytes / rate * (1 - 1e-12));
        if (starts_at > until) { /* the link was idle */
            from = starts_at;
            bytes = 0;
            n = 0;
        }
        bytes += (double)j->bytes;
        n++;
        until = MAX(until, j->done_at);
        bool last = i + 1 == JOBS || load->job[i + 1].at + load->latency_ns > until;
        if (last) {
            double lasted = (double)(until - from);
            ck_assert_double_ge(lasted, bytes / rate * (1 - 1e-12));
            ck_assert_double_le(lasted, bytes / rate * (1 + 1e-12) + (double)n);
        }
    }
}

START_TEST(bytes_are_conserved)
{
    static struct load load;
    random_load(&load, (uint64_t)_i);
    run_load(&load, false);
    check_conservation(&load);
}
END_TEST

START_TEST(asking_changes_nothing)
{
    static struct load quiet, curious;
    random_load(&quiet, (uint64_t)_i);
    random_load(&curious, (uint64_t)_i);
    run_load(&quiet, false);
    run_load(&curious, true);
    for (size_t i = 0; i < JOBS; i++)
        ck_assert_int_eq(quiet.job[i].done_at, curious.job[i].done_at);
}
END_TEST

START_TEST(time_never_goes_back)
{
    struct link l;
    link_init(&l, RATE, 0);
    link_submit(&l, 100, 1000, 1);
    link_submit(&l, 99, 1000, 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("link");
    TCase *t = tcase_create("link");
    tcase_add_loop_test(t, times_by_hand, 0, (int)ARRAY_LEN(by_hand));
    tcase_add_test(t, completions_come_in_order_of_number);
    tcase_add_test(t, cancelling_gives_the_bandwidth_back);
    tcase_add_test(t, every_change_is_a_generation);
    tcase_add_loop_test(t, bytes_are_conserved, 0, 20);
    tcase_add_loop_test(t, asking_changes_nothing, 0, 20);
    tcase_add_test_raise_signal(t, time_never_goes_back, SIGABRT);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
