/* test_timeline.c: sampling against the definition, word for word: a sample every interval; when
 * there are more than 2,000, every second one is dropped and the interval doubled. */
#include "sim/timeline.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim/hash.h"

#define S NS_PER_S

/* ---- a sink that checks as it goes ---- */

struct collected {
    ns_t at[TIMELINE_SAMPLES + 1];
    double value[2][TIMELINE_SAMPLES + 1];
    uint32_t n[2];
    uint32_t calls, fail_at; /* 0: never fails */
};

static bool collect(void *self, ns_t at, const char *series, double value, struct err *e)
{
    struct collected *c = self;
    uint32_t i = strcmp(series, "second") == 0;
    ck_assert(i == 1 || strcmp(series, "first") == 0);
    ck_assert_uint_lt(c->n[i], TIMELINE_SAMPLES);
    c->at[c->n[i]] = at;
    c->value[i][c->n[i]++] = value;
    return ++c->calls == c->fail_at ? err_set(e, "fake: disk full; free some") : true;
}

static const struct sink_ops collect_ops = {.timeline = collect};

static void report(const struct timeline *t, struct collected *c)
{
    struct err e = {0};
    *c = (struct collected){0};
    ck_assert(timeline_report(t, &(struct sink){.ops = &collect_ops, .self = c}, &e));
}

static bool equal(double a, double b)
{
    return !(a < b) && !(a > b);
}

static void advance(struct timeline *t, uint32_t now_s, double value)
{
    if (timeline_due(t, now_s * S))
        timeline_sample(t, now_s * S, &value);
}

START_TEST(doubles_as_defined)
{
    static const uint32_t ends_s[] = {0, 1, 1999, 2000, 2001, 3999, 4000, 9000, 31999, 100000};
    static double model[TIMELINE_SAMPLES + 1];
    static struct collected got;
    for (size_t c = 0; c < ARRAY_LEN(ends_s); c++) {
        struct timeline t;
        uint32_t interval = 1, n = 0, state = 0;
        timeline_init(&t);
        timeline_add(&t, "first");
        for (uint32_t s = 0; s <= ends_s[c]; s++) {
            if (s == n * interval)
                model[n++] = state;
            if (n > TIMELINE_SAMPLES) {
                for (uint32_t k = 0; 2 * k < n; k++)
                    model[k] = model[2 * k];
                n = (n + 1) / 2;
                interval *= 2;
            }
            /* Now and then something happens; the value is when it last did. */
            if (hash_u64(s) % 3 == 0 || s == ends_s[c]) {
                advance(&t, s, state);
                state = s;
            }
        }
        report(&t, &got);
        ck_assert_uint_eq(got.n[0], n);
        for (uint32_t k = 0; k < n; k++)
            ck_assert_msg(got.at[k] == (ns_t)k * interval * S && equal(got.value[0][k], model[k]),
                          "end %u, sample %u at %lld: %g, not %g", ends_s[c], k,
                          (long long)got.at[k], got.value[0][k], model[k]);
        timeline_release(&t);
    }
}
END_TEST

START_TEST(nothing_is_due_between_samples)
{
    struct timeline t;
    timeline_init(&t);
    ck_assert(timeline_due(&t, 0));
    timeline_sample(&t, 0, NULL);
    ck_assert(!timeline_due(&t, 0));
    ck_assert(!timeline_due(&t, S - 1));
    ck_assert(timeline_due(&t, S));
    timeline_release(&t);
}
END_TEST

START_TEST(a_late_series_was_zero_before)
{
    static struct collected got;
    struct timeline t;
    timeline_init(&t);
    timeline_add(&t, "first");
    timeline_sample(&t, 1 * S, (const double[]){5});
    timeline_add(&t, "second");
    timeline_sample(&t, 2500 * S, (const double[]){6, 7}); /* 0 2 4 ...: 1 s is dropped */
    report(&t, &got);
    ck_assert_uint_eq(got.n[0], 1251);
    ck_assert_uint_eq(got.n[1], 1251);
    ck_assert(equal(got.value[0][0], 5) && equal(got.value[1][0], 0));
    ck_assert(equal(got.value[0][1], 6) && equal(got.value[1][1], 7));
    ck_assert_int_eq(got.at[1250], 2500 * S);
    timeline_release(&t);
}
END_TEST

START_TEST(an_idle_gap_costs_no_loop)
{
    static const ns_t ends[] = {100 * INT64_C(31557600) * S, NS_NEVER - 1};
    static struct collected got;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct timeline t;
        timeline_init(&t);
        timeline_add(&t, "first");
        timeline_sample(&t, 10 * S, (const double[]){1});
        timeline_sample(&t, ends[i], (const double[]){2});
        report(&t, &got);
        uint32_t n = got.n[0];
        ns_t interval = got.at[1];
        ck_assert_uint_ge(n, TIMELINE_SAMPLES / 2);
        ck_assert_int_eq(got.at[n - 1], ends[i] / interval * interval);
        ck_assert(equal(got.value[0][0], 1) && equal(got.value[0][1], 2));
        timeline_release(&t);
    }
}
END_TEST

START_TEST(a_failing_sink_is_heard_at_once)
{
    struct timeline t;
    timeline_init(&t);
    timeline_add(&t, "first");
    timeline_add(&t, "second");
    timeline_sample(&t, 3 * S, (const double[]){1, 2});
    for (uint32_t i = 1; i <= 8; i++) {
        static struct collected got;
        struct err e = {0};
        got = (struct collected){.fail_at = i};
        ck_assert(!timeline_report(&t, &(struct sink){.ops = &collect_ops, .self = &got}, &e));
        ck_assert(e.set);
        ck_assert_uint_eq(got.calls, i);
    }
    timeline_release(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("timeline");
    TCase *c = tcase_create("timeline");
    tcase_add_test(c, doubles_as_defined);
    tcase_add_test(c, nothing_is_due_between_samples);
    tcase_add_test(c, a_late_series_was_zero_before);
    tcase_add_test(c, an_idle_gap_costs_no_loop);
    tcase_add_test(c, a_failing_sink_is_heard_at_once);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
