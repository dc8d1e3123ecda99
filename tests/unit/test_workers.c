/* Forked workers: every item comes back exactly once, whatever its worker did, and none of them
 * outlives the call. */
#include "experiments/workers.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 200 };

struct log {
    uint64_t next, n_items;
    unsigned done[ITEMS], failed[ITEMS], died[ITEMS];
    char why[ITEMS][256];
    uint64_t stop_at; /* after so many: done says no */
    uint64_t total;
    bool (*work)(uint64_t item, struct err *e);
};

static bool next(void *self, uint64_t *item)
{
    struct log *l = self;
    if (l->next == l->n_items)
        return false;
    *item = l->next++;
    return true;
}

static bool work(void *self, uint64_t item, struct err *e)
{
    const struct log *l = self;
    return l->work(item, e);
}

static bool done(void *self, uint64_t item, enum work_result result, const char *why, struct err *e)
{
    struct log *l = self;
    ck_assert_uint_lt(item, l->n_items);
    (result == WORK_DONE ? l->done : result == WORK_FAILED ? l->failed : l->died)[item]++;
    snprintf(l->why[item], sizeof l->why[item], "%s", why);
    return ++l->total != l->stop_at || err_set(e, "stopped");
}

static void tick(void *self)
{
    (void)self;
}

static bool run(struct log *l, unsigned n, struct err *e)
{
    const struct workers_job job = {
        .self = l, .next = next, .work = work, .done = done, .tick = tick};
    bool ok = workers_run(&job, n, e);
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0, "a worker is left");
    return ok;
}

static bool succeed(uint64_t item, struct err *e)
{
    (void)item, (void)e;
    return true;
}

static bool misbehave(uint64_t item, struct err *e)
{
    if (item % 10 == 3)
        raise(SIGKILL);
    if (item % 10 == 5)
        _exit(7);
    return item % 10 != 7 || err_set(e, "item %llu: no", (unsigned long long)item);
}

static bool dawdle(uint64_t item, struct err *e)
{
    (void)e;
    if (item > 0)
        sleep(60);
    return true;
}

START_TEST(test_all_once)
{
    static const unsigned n[] = {1, 2, 7, 64};
    struct log l = {.n_items = ITEMS, .work = succeed};
    struct err e = {0};
    ck_assert_msg(run(&l, n[_i], &e), "%s", e.text);
    for (size_t i = 0; i < ITEMS; i++)
        ck_assert(l.done[i] == 1 && l.failed[i] == 0 && l.died[i] == 0);
}
END_TEST

START_TEST(test_nothing_to_do)
{
    struct log l = {.n_items = 0, .work = succeed};
    struct err e = {0};
    ck_assert(run(&l, 3, &e));
    ck_assert_uint_eq(l.total, 0);
}
END_TEST

/* Killed, gone, failed: each told apart and in words, the others done. */
START_TEST(test_failures)
{
    struct log l = {.n_items = ITEMS, .work = misbehave};
    struct err e = {0};
    ck_assert_msg(run(&l, 3, &e), "%s", e.text);
    for (size_t i = 0; i < ITEMS; i++) {
        bool killed = i % 10 == 3, gone = i % 10 == 5, failed = i % 10 == 7;
        ck_assert_uint_eq(l.died[i], killed || gone);
        ck_assert_uint_eq(l.failed[i], failed);
        ck_assert_uint_eq(l.done[i], !killed && !gone && !failed);
    }
    ck_assert_str_eq(l.why[13], "its process was killed by signal 9 (Killed)");
    ck_assert_str_eq(l.why[15], "its process ended with exit code 7");
    ck_assert_str_eq(l.why[17], "item 17: no");
}
END_TEST

/* An error here ends the others, too, at once. */
START_TEST(test_stops)
{
    struct log l = {.n_items = ITEMS, .work = dawdle, .stop_at = 1};
    struct err e = {0};
    ck_assert(!run(&l, 3, &e));
    ck_assert_str_eq(e.text, "stopped");
    ck_assert_uint_eq(l.total, 1);
}
END_TEST

START_TEST(test_cpus)
{
    ck_assert_uint_ge(workers_cpus(), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("workers");
    TCase *t = tcase_create("all");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, test_all_once, 0, 4);
    tcase_add_test(t, test_nothing_to_do);
    tcase_add_test(t, test_failures);
    tcase_add_test(t, test_stops);
    tcase_add_test(t, test_cpus);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
