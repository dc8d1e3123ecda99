/* test_fairness.c: the service difference of backlogged pairs, by hand and against a brute-force
 * search of all intervals; Jain's index and its window.
 *
 * A case is a program: `aN` an arrival of tenant N, `wN` one of its requests starts to wait, `lN`
 * stops waiting, `sN=X` it is charged X, `[` and `]` enclose a decision, `.` ends a step, `@T` sets
 * the time. Tenants of the service cases have all arrived before it starts. */
#include "sim/fairness.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/hash.h"

#define NULL_VALUE ((double)NAN)

static bool same(double got, double want)
{
    return isnan(want) ? isnan(got) : fabs(got - want) <= 1e-9 * fmax(1, fabs(want));
}

static void play(struct fairness *f, const char *program)
{
    ns_t now = 0;
    for (const char *p = program; *p != '\0';) {
        char what = *p++;
        char *end;
        if (what == ' ')
            continue;
        long n = strchr("awls@", what) ? strtol(p, &end, 10) : 0;
        p = strchr("awls@", what) ? end : p;
        switch (what) {
        case 'a':
            fairness_arrival(f, (uint32_t)n, now);
            break;
        case 'w':
            fairness_waiting(f, (uint32_t)n, 1);
            break;
        case 'l':
            fairness_waiting(f, (uint32_t)n, -1);
            break;
        case 's':
            fairness_charge(f, (uint32_t)n, (uint64_t)strtol(p + 1, &end, 10), 0);
            p = end;
            break;
        case '[':
            fairness_decide_begin(f);
            break;
        case ']':
            fairness_decide_end(f);
            break;
        case '.':
            fairness_step_end(f);
            break;
        case '@':
            now = n;
            break;
        default:
            ck_abort_msg("unknown `%c` in: %s", what, program);
        }
    }
}

static void arrive_all(struct fairness *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        fairness_arrival(f, i, 0);
}

START_TEST(service_difference_by_hand)
{
    static const struct {
        const char *what, *program;
        double want;
    } cases[] = {
        {"never together", "w0 w0 [ s0=50 l0 ] s0=10 .", NULL_VALUE},
        {"together, nothing happens", "w0 w1 [ ] .", 0},
        {"what waits between decisions is not backlogged yet", "w0 [ ] w1 s0=7 . l1 [ ]",
         NULL_VALUE},
        {"the opening decision's admissions count", "w0 w0 w1 [ s0=50 l0 ]", 50},
        {"what was charged before it opened does not", "s0=99 . w0 w1 [ ] s1=4 .", 4},
        {"tokens before the closing decision count, its admissions do not",
         "w0 w1 [ ] s0=6 . [ s0=500 l0 ] s0=700 .", 6},
        {"tokens without a step's end are seen by the next decision",
         "w0 w1 [ ] s0=6 [ s1=6 l1 ] .", 6},
        {"admissions that cancel within a decision are no point", "w0 w0 w1 w1 [ s0=9 l0 s1=9 l1 ]",
         0},
        {"up, down and up: the largest change, not the last", "w0 w1 [ ] s0=20 . s1=50 . s0=30 .",
         50},
        {"a second window starts afresh", "w0 w1 [ ] s0=20 . [ l1 ] s0=100 . w1 [ ] s0=8 .", 20},
        {"a decision that keeps both goes on with the window",
         "w0 w1 w0 [ ] s0=20 . [ s0=5 l0 ] s0=3 .", 28},
        {"the pair of two others is not closed by a third",
         "w0 w1 w2 [ ] s0=10 . [ l2 ] s0=10 . w2 [ ] s0=10 .", 30},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fairness f;
        fairness_init(&f, 1, 2);
        arrive_all(&f, 3);
        play(&f, cases[i].program);
        double got = fairness_diff_max(&f);
        ck_assert_msg(same(got, cases[i].want), "%s: %g, not %g", cases[i].what, got,
                      cases[i].want);
        fairness_release(&f);
    }
}
END_TEST

START_TEST(one_tenant_has_no_pair)
{
    struct fairness f;
    fairness_init(&f, 1, 2);
    play(&f, "a0 w0 [ s0=5 ] s0=5 .");
    ck_assert(isnan(fairness_diff_max(&f)));
    ck_assert_ptr_null(f.pairs);
    play(&f, "a1 w1 [ s1=3 ]"); /* the pair opens when the second comes, with nothing behind it */
    ck_assert(same(fairness_diff_max(&f), 3));
    fairness_release(&f);
}
END_TEST

/* ---- against a search ---- */

#define TENANTS 4
#define DECISIONS 24

/* What an observer writes down while a random history is played. A point belongs to a decision:
 * it lies between its beginning and the beginning of the next. */
struct history {
    uint64_t seed, draws;
    uint32_t waiting[TENANTS];
    struct {
        double service[TENANTS];
        int decision;
    } point[DECISIONS * 5];
    size_t n_points;
    bool backlogged[DECISIONS][TENANTS];
};

static uint32_t draw(struct history *h, uint32_t n)
{
    return (uint32_t)(hash_mix(h->seed, h->draws++) % n);
}

static void wait(struct fairness *f, struct history *h, uint32_t t, int delta)
{
    fairness_waiting(f, t, delta);
    h->waiting[t] += (uint32_t)delta;
}

static void write_point(struct history *h, const struct fairness *f, int decision)
{
    ck_assert_uint_lt(h->n_points, ARRAY_LEN(h->point));
    for (uint32_t t = 0; t < f->n; t++)
        h->point[h->n_points].service[t] = fairness_service(f, t);
    h->point[h->n_points++].decision = decision;
}

static void play_decision(struct fairness *f, struct history *h, int d)
{
    for (uint32_t t = 0; t < TENANTS; t++)
        for (uint32_t k = draw(h, 3); k > 0; k--)
            wait(f, h, t, 1);
    if (d > 0)
        write_point(h, f, d - 1); /* the end of the one before is where this one starts */
    write_point(h, f, d);
    fairness_decide_begin(f);
    for (uint32_t t = 0; t < TENANTS; t++)
        for (uint32_t k = draw(h, 4); k > 0 && h->waiting[t] > 0; k--) {
            wait(f, h, t, -1);
            fairness_charge(f, t, 1 + draw(h, 40), draw(h, 5));
        }
    fairness_decide_end(f);
    for (uint32_t t = 0; t < TENANTS; t++)
        h->backlogged[d][t] = h->waiting[t] > 0;
    write_point(h, f, d);
    for (uint32_t steps = draw(h, 3); steps > 0; steps--) {
        for (uint32_t t = 0; t < TENANTS; t++)
            if (draw(h, 2) == 1)
                fairness_charge(f, t, 1 + draw(h, 15), draw(h, 5));
        if (steps == 1 && draw(h, 2) == 1 && d + 1 < DECISIONS)
            break; /* the last step's end may go unsaid before a decision */
        fairness_step_end(f);
        write_point(h, f, d);
    }
}

static bool together(const struct history *h, int from, int to, int i, int j)
{
    for (int d = from; d <= to; d++)
        if (!h->backlogged[d][i] || !h->backlogged[d][j])
            return false;
    return true;
}

static double search(const struct history *h)
{
    double most = NULL_VALUE;
    for (int i = 0; i < TENANTS; i++)
        for (int j = i + 1; j < TENANTS; j++)
            for (size_t p = 0; p < h->n_points; p++)
                for (size_t q = p; q < h->n_points; q++) {
                    const double *a = h->point[p].service, *b = h->point[q].service;
                    if (together(h, h->point[p].decision, h->point[q].decision, i, j))
                        most = fmax(most, fabs((b[i] - a[i]) - (b[j] - a[j])));
                }
    return most;
}

START_TEST(service_difference_against_search)
{
    uint32_t distinct = 0;
    double before = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct history h = {.seed = seed};
        struct fairness f;
        fairness_init(&f, 1, 2);
        arrive_all(&f, TENANTS);
        for (int d = 0; d < DECISIONS; d++)
            play_decision(&f, &h, d);
        double want = search(&h), got = fairness_diff_max(&f);
        ck_assert_msg(same(got, want), "seed %llu: %g, not %g", (unsigned long long)seed, got,
                      want);
        distinct += !same(want, before);
        before = want;
        fairness_release(&f);
    }
    ck_assert_uint_gt(distinct, 150); /* the histories do differ */
}
END_TEST

/* ---- Jain's index and totals ---- */

START_TEST(jain_over_the_time_when_all_are_there)
{
    static const struct {
        const char *what, *program;
        double jain;
        bool whole_run;
        double diff_all;
    } cases[] = {
        {"nobody", "", NULL_VALUE, true, NULL_VALUE},
        {"one", "@0 a0 s0=5 @1 a0", 1, false, 0},
        {"what came before 1 did and after 0's last arrival is left out",
         "@0 a0 @1 s0=500 @2 a1 @3 s0=10 @4 s1=30 @5 a0 @6 s0=90 @7 a1",
         40.0 * 40 / (2 * (100 + 900)), false, 570},
        {"0 was gone before 1 came: the whole run", "@0 a0 s0=10 @2 a1 s1=30",
         40.0 * 40 / (2 * (100 + 900)), true, 20},
        {"a window of no length: the whole run", "@0 a0 s0=10 @2 a1 a0 @3 s1=10 a1", 1, true, 0},
        {"nobody got anything in it", "@0 a0 s0=9 @1 a1 @2 a0 @3 s1=7 a1", 1, false, 2},
        {"all to one", "@0 a0 a1 @1 s1=8 @2 a0 a1", 0.5, false, 8},
        {"a third moves the start", "@0 a0 a1 @1 s0=99 @2 a2 @3 s0=10 s1=10 @4 a0 a1 a2 @5 s2=4",
         20.0 * 20 / (3 * 200), false, 105},
        {"a fourth without company: rows before it came are not read",
         "@0 a0 a1 s0=3 s1=1 @1 a0 a1 @2 a2 @3 a3 s3=2", 36.0 / (3 * 3 + 1 + 2 * 2) / 4, true, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fairness f;
        bool whole_run;
        fairness_init(&f, 1, 2);
        play(&f, cases[i].program);
        double jain = fairness_jain(&f, &whole_run), all = fairness_diff_all(&f);
        ck_assert_msg(same(jain, cases[i].jain) && whole_run == cases[i].whole_run,
                      "%s: %g, not %g; whole run %d", cases[i].what, jain, cases[i].jain,
                      whole_run);
        ck_assert_msg(same(all, cases[i].diff_all), "%s: %g", cases[i].what, all);
        fairness_release(&f);
    }
}
END_TEST

/* The limits of both windows: the 65th tenant is in no pair, the 513th makes it the whole run. */
START_TEST(many_tenants)
{
    static const struct {
        uint32_t n;
        double diff_max;
        bool whole_run;
    } cases[] = {{64, 50, false}, {65, 8, false}, {512, 8, false}, {513, 8, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t n = cases[i].n;
        struct fairness f;
        bool whole_run;
        fairness_init(&f, 1, 2);
        arrive_all(&f, n);
        fairness_charge(&f, 0, 4, 0); /* within Jain's window */
        for (uint32_t t = 0; t < n; t++)
            fairness_arrival(&f, t, 1);
        play(&f, "w0 w1");
        fairness_waiting(&f, n - 1, 1);
        fairness_decide_begin(&f);
        fairness_decide_end(&f);
        fairness_charge(&f, n - 1, 50, 0);
        fairness_step_end(&f);
        fairness_charge(&f, 1, 8, 0);
        fairness_step_end(&f);
        double jain = fairness_jain(&f, &whole_run);
        ck_assert(same(fairness_diff_max(&f), cases[i].diff_max));
        ck_assert_int_eq(whole_run, cases[i].whole_run);
        double all = 62.0 * 62 / (n * (4.0 * 4 + 50 * 50 + 8 * 8));
        ck_assert(same(jain, whole_run ? all : 1.0 / n));
        fairness_release(&f);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fairness");
    TCase *c = tcase_create("fairness");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, service_difference_by_hand);
    tcase_add_test(c, one_tenant_has_no_pair);
    tcase_add_test(c, service_difference_against_search);
    tcase_add_test(c, jain_over_the_time_when_all_are_there);
    tcase_add_test(c, many_tenants);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
