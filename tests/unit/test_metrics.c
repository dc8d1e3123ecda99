/* test_metrics.c: the metrics of contract.md section 4 against values worked out by hand. Catches
 * mutations 16 and 23 of scheduling.md section 9. What is said of service and of the timeline has
 * suites of its own: test_fairness.c, test_timeline.c. */
#include "tests/support/metrics_world.h"

#include <stdlib.h>

/* ---- latencies ---- */

START_TEST(latencies_and_percentiles)
{
    /* TTFT 10 20 30 40; TPOT of the first and third only 5 and 20 (not 10 + ...: TTFT is no part
     * of it, and one token has none); queue 1 2 3 4; norm = e2el / tokens. */
    static const struct life lives[] = {
        {0, 1, 10, 30, 5, STATUS_FINISHED},
        {0, 2, 20, 20, 1, STATUS_FINISHED},
        {100, 103, 130, 150, 2, STATUS_FINISHED},
        {100, 104, 140, 140, 1, STATUS_FINISHED},
    };
    struct world w;
    world_init(&w);
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(lives); i++)
        live(&w, &lives[i], "a", NAMES_NONE);
    EXPECT(world_report(&w), "latencies", {"ttft_ms_mean", 25}, {"ttft_ms_p50", 25},
           {"ttft_ms_p90", 37}, {"ttft_ms_p95", 38.5}, {"ttft_ms_p99", 39.7}, {"ttft_ms_max", 40},
           {"tpot_ms_mean", 12.5}, {"tpot_ms_p50", 12.5}, {"tpot_ms_p90", 18.5},
           {"tpot_ms_max", 20}, {"e2el_ms_mean", 35}, {"e2el_ms_p50", 35}, {"e2el_ms_max", 50},
           {"queue_ms_mean", 2.5}, {"queue_ms_p99", 3.97}, {"norm_latency_ms_mean", 22.75},
           {"norm_latency_ms_max", 40}, {"itl_ms_mean", NULL_VALUE}, {"itl_ms_max", NULL_VALUE},
           {"quantiles_exact", 1});

    static const char *const metric[] = {"ttft_ms", "tpot_ms",  "itl_ms",
                                         "e2el_ms", "queue_ms", "norm_latency_ms"};
    static const ns_t count[] = {4, 2, 0, 4, 4, 4};
    for (size_t i = 0; i < ARRAY_LEN(metric); i++) {
        ns_t n = 0;
        for (size_t k = 0; k < w.fake.histogram.n; k++)
            if (strcmp(w.fake.histogram.v[k].name, metric[i]) == 0)
                n += w.fake.histogram.v[k].at;
        ck_assert_msg(n == count[i], "histogram of %s counts %lld", metric[i], (long long)n);
    }
    world_release(&w);
}
END_TEST

START_TEST(one_token_divides_by_nothing)
{
    static const struct life one = {0, 0, 10, 10, 1, STATUS_FINISHED};
    const struct slo_class strict = {.name = "c",
                                     .tenants = everyone,
                                     .ttft_ns = 10 * MS,
                                     .tpot_ns = 0,
                                     .e2el_ns = SLO_NO_LIMIT};
    struct world w;
    world_init(&w);
    w.cfg.slo = &strict;
    w.cfg.n_slo = 1;
    world_open(&w);
    struct request_row row = live(&w, &one, "a", NAMES_NONE);
    ck_assert(row.met_slo);
    EXPECT(world_report(&w), "one token", {"tpot_ms_mean", NULL_VALUE}, {"tpot_ms_p50", NULL_VALUE},
           {"norm_latency_ms_mean", 10}, {"slo_attainment", 1}, {"slo_attainment_tpot", 1});
    world_release(&w);
}
END_TEST

START_TEST(gaps_are_pooled_with_preemption_gaps)
{
    /* 8 gaps of 10 ms of one request, one of 900 ms in which it was preempted, one of another
     * request; a request from before the warm-up does not count. */
    struct world w;
    world_init(&w);
    w.cfg.warmup_ns = 50 * MS;
    struct metrics *m = world_open(&w);
    metrics_arrival(m, 0, tenant(&w, "a"));
    metrics_gap(m, 0, 5000 * MS, 1);
    metrics_gap(m, 49 * MS, 5000 * MS, 1);
    metrics_gap(m, 50 * MS, 10 * MS, 8);
    metrics_gap(m, 50 * MS, 900 * MS, 1);
    metrics_gap(m, 60 * MS, 20 * MS, 1);
    metrics_gap(m, 60 * MS, 7000 * MS, 0);
    EXPECT(world_report(&w), "gaps", {"itl_ms_mean", 100}, {"itl_ms_p50", 10}, {"itl_ms_p90", 108},
           {"itl_ms_max", 900});
    world_release(&w);
}
END_TEST

/* ---- SLO ---- */

START_TEST(attainment_is_joint_and_over_all_that_arrived)
{
    static const struct {
        const char *what;
        struct life life[4];
        size_t n;
        ns_t e2el_ns;
        double joint, ttft, tpot;
    } cases[] = {
        /* TTFT limit 100 ms, TPOT limit 10 ms. */
        {"both met at the limit",
         {{0, 0, 100, 200, 11, STATUS_FINISHED}},
         1,
         SLO_NO_LIMIT,
         1,
         1,
         1},
        {"TTFT over by 1 ms", {{0, 0, 101, 201, 11, STATUS_FINISHED}}, 1, SLO_NO_LIMIT, 0, 0, 1},
        {"TPOT a third of a ms over",
         {{0, 0, 100, 131, 4, STATUS_FINISHED}},
         1,
         SLO_NO_LIMIT,
         0,
         1,
         0},
        {"each misses another limit: half and half is none",
         {{0, 0, 200, 210, 2, STATUS_FINISHED}, {0, 0, 50, 80, 2, STATUS_FINISHED}},
         2,
         SLO_NO_LIMIT,
         0,
         0.5,
         0.5},
        {"TPOT does not hold the TTFT against it",
         {{0, 0, 90, 100, 2, STATUS_FINISHED}},
         1,
         SLO_NO_LIMIT,
         1,
         1,
         1},
        {"refused and unfinished miss, and count",
         {{0, 0, 50, 60, 2, STATUS_FINISHED},
          {1, NEVER, NEVER, NEVER, 0, STATUS_REFUSED},
          {2, NEVER, NEVER, 3, 0, STATUS_REFUSED},
          {3, 4, 10, NEVER, 3, STATUS_UNFINISHED}},
         4,
         SLO_NO_LIMIT,
         0.25,
         0.25,
         0.25},
        {"E2E counts only jointly", {{0, 0, 50, 60, 2, STATUS_FINISHED}}, 1, 59 * MS, 0, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        const struct slo_class slo = {.name = "c",
                                      .tenants = everyone,
                                      .ttft_ns = 100 * MS,
                                      .tpot_ns = 10 * MS,
                                      .e2el_ns = cases[i].e2el_ns};
        w.cfg.slo = &slo;
        w.cfg.n_slo = 1;
        world_open(&w);
        for (size_t k = 0; k < cases[i].n; k++) {
            struct request_row row = live(&w, &cases[i].life[k], "a", NAMES_NONE);
            ck_assert_str_eq(row.slo_class, "c");
        }
        EXPECT(world_report(&w), cases[i].what, {"slo_attainment", cases[i].joint},
               {"slo_attainment_ttft", cases[i].ttft}, {"slo_attainment_tpot", cases[i].tpot},
               {"requests", (double)cases[i].n});
        world_release(&w);
    }
}
END_TEST

START_TEST(class_by_column_then_tenant)
{
    static const char *const only_b[] = {"b", NULL};
    static const struct slo_class slo[] = {
        {"tight", NULL, 1 * MS, SLO_NO_LIMIT, SLO_NO_LIMIT},
        {"b's", only_b, 20 * MS, SLO_NO_LIMIT, SLO_NO_LIMIT},
        {"rest", everyone, 5 * MS, SLO_NO_LIMIT, SLO_NO_LIMIT},
        {"b's", everyone, 0, 0, 0},
    };
    static const struct {
        const char *tenant, *column;
        size_t n_slo;
        const char *want;
        bool met; /* TTFT is 10 ms */
    } cases[] = {
        {"a", NULL, 4, "rest", false}, {"b", NULL, 4, "b's", true},
        {"a", "b's", 4, "b's", true},  {"b", "tight", 4, "tight", false},
        {"b", "none", 4, "b's", true}, {"a", "none", 4, "rest", false},
        {"a", NULL, 2, NULL, true}, /* no class: no limits */
        {"a", NULL, 0, NULL, true},
    };
    static const struct life ten = {0, 0, 10, 20, 2, STATUS_FINISHED};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        w.cfg.slo = slo;
        w.cfg.n_slo = cases[i].n_slo;
        world_open(&w);
        uint32_t c = cases[i].column ? names_id(&w.classes, cases[i].column) : NAMES_NONE;
        struct request_row row = live(&w, &ten, cases[i].tenant, c);
        ck_assert_msg(row.met_slo == cases[i].met, "case %zu", i);
        if (cases[i].want)
            ck_assert_str_eq(row.slo_class, cases[i].want);
        else
            ck_assert_ptr_null(row.slo_class);
        world_release(&w);
    }
}
END_TEST

START_TEST(a_row_keeps_its_own_class)
{
    static const struct slo_class slo = {"c", everyone, 0, 0, 0};
    struct world w;
    world_init(&w);
    w.cfg.slo = &slo;
    w.cfg.n_slo = 1;
    struct metrics *m = world_open(&w);
    struct request_row row = {.slo_class = "own", .done_at = -1, .status = STATUS_REFUSED};
    metrics_arrival(m, 0, tenant(&w, "a"));
    metrics_done(m, &row, 0, names_id(&w.classes, "own"));
    ck_assert_str_eq(row.slo_class, "own");
    ck_assert(!row.met_slo);
    world_release(&w);
}
END_TEST

START_TEST(an_empty_run_has_no_values)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    struct fake *f = world_report(&w);
    EXPECT(f, "empty", {"requests", 0}, {"duration_s", 0}, {"preemptions", 0},
           {"slo_attainment", NULL_VALUE}, {"goodput_rps", NULL_VALUE},
           {"output_throughput_tps", NULL_VALUE}, {"ttft_ms_p50", NULL_VALUE},
           {"cache_hit_rate", NULL_VALUE}, {"kv_utilisation_mean", NULL_VALUE},
           {"batch_size_mean", NULL_VALUE}, {"idle_fraction", NULL_VALUE},
           {"extrapolated_share", NULL_VALUE}, {"service_diff_max", NULL_VALUE},
           {"service_diff_all", NULL_VALUE}, {"jain_index", NULL_VALUE});
    ck_assert_uint_eq(f->n_tenants, 0);
    ck_assert_uint_eq(f->histogram.n, 0);
    world_release(&w);
}
END_TEST

/* ---- tenants ---- */

START_TEST(many_tenants)
{
    static const struct {
        uint32_t n;
        bool marked, whole_run, p99_kept;
    } cases[] = {
        {64, false, false, true}, {65, true, false, true},  {512, true, false, true},
        {513, true, true, true},  {1024, true, true, true}, {1025, true, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        char name[16] = "";
        world_init(&w);
        world_open(&w);
        for (uint32_t round = 0; round < 2; round++)
            for (uint32_t t = 0; t < cases[i].n; t++) {
                int at = (int)(round * 5000 + t);
                snprintf(name, sizeof(name), "t%u", t);
                live(&w, &(struct life){at, at, at + 10, at + 10, 1, STATUS_FINISHED}, name,
                     NAMES_NONE);
                metrics_tokens(w.m, at * MS, t, 1);
            }
        /* Windows among the first 64 only: what the 65th gets makes no difference. */
        uint32_t last = cases[i].n - 1;
        metrics_waiting(w.m, 0, 1);
        metrics_waiting(w.m, 1, 1);
        metrics_waiting(w.m, last, 1);
        metrics_decide_begin(w.m);
        metrics_decide_end(w.m);
        metrics_tokens(w.m, 6 * S, last, 50);
        metrics_tokens(w.m, 6 * S, 0, 8);
        metrics_step_end(w.m);
        struct fake *f = world_report(&w);
        ck_assert_int_eq(has_summary(f, "service_diff_tenants"), cases[i].marked);
        EXPECT(f, name, {"service_diff_max", cases[i].marked ? 16 : 100},
               {"jain_window_all", cases[i].whole_run});
        ck_assert_uint_eq(f->n_tenants, cases[i].n);
        ck_assert_int_eq(!isnan(f->last_p99), cases[i].p99_kept);
        world_release(&w);
    }
}
END_TEST

/* What the cache held is service, but was not computed. */
START_TEST(computed_service)
{
    struct world w;
    world_init(&w);
    struct metrics *m = world_open(&w);
    uint32_t a = tenant(&w, "a"), b = tenant(&w, "b");
    metrics_arrival(m, 0, a);
    metrics_arrival(m, 0, b);
    metrics_waiting(m, a, 2);
    metrics_waiting(m, b, 2);
    metrics_decide_begin(m);
    metrics_admit(m, 0, a, 100, 90);
    metrics_admit(m, 0, b, 10, 0);
    metrics_waiting(m, a, -1);
    metrics_waiting(m, b, -1);
    metrics_decide_end(m);
    metrics_tokens(m, 10 * MS, a, 5);
    metrics_step_end(m);
    EXPECT(world_report(&w), "two tenants", {"service_diff_max", 100}, {"extend_diff_max", 10},
           {"jain_index", 120.0 * 120 / (2 * (110.0 * 110 + 10 * 10))},
           {"extend_jain_index", 30.0 * 30 / (2 * (20.0 * 20 + 10 * 10))});
    world_release(&w);
}
END_TEST

START_TEST(tenant_rows)
{
    static const struct slo_class slo = {"c", everyone, 15 * MS, SLO_NO_LIMIT, SLO_NO_LIMIT};
    struct world w;
    world_init(&w);
    w.cfg.slo = &slo;
    w.cfg.n_slo = 1;
    struct metrics *m = world_open(&w);
    tenant(&w, "never seen"); /* an id without an arrival has no row */
    live(&w, &(struct life){0, 0, 10, 30, 2, STATUS_FINISHED}, "b", NAMES_NONE);
    live(&w, &(struct life){0, 0, 20, 50, 2, STATUS_FINISHED}, "b", NAMES_NONE);
    live(&w, &(struct life){0, NEVER, NEVER, 5, 0, STATUS_REFUSED}, "b", NAMES_NONE);
    live(&w, &(struct life){0, NEVER, NEVER, 5, 0, STATUS_REFUSED}, "a", NAMES_NONE);
    metrics_admit(m, 0, tenant(&w, "b"), 6, 0);
    metrics_tokens(m, 0, tenant(&w, "b"), 4);
    metrics_admit(m, 0, tenant(&w, "a"), 2, 0);
    struct fake *f = world_report(&w);
    static const struct tenant_row want[] = {
        {"b", 3, 14, 0.875, 15, 19.9, 40, 49.8, 1.0 / 3},
        {"a", 1, 2, 0.125, (double)NAN, (double)NAN, (double)NAN, (double)NAN, 0},
    };
    ck_assert_uint_eq(f->n_tenants, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct tenant_row *r = &f->tenant[i];
        ck_assert_str_eq(r->tenant, want[i].tenant);
        ck_assert_uint_eq(r->requests, want[i].requests);
        ck_assert(same(r->service, want[i].service) && same(r->share, want[i].share));
        ck_assert(same(r->ttft_ms_mean, want[i].ttft_ms_mean));
        ck_assert(same(r->ttft_ms_p99, want[i].ttft_ms_p99));
        ck_assert(same(r->e2el_ms_p50, want[i].e2el_ms_p50));
        ck_assert(same(r->e2el_ms_p99, want[i].e2el_ms_p99));
        ck_assert(same(r->slo_attainment, want[i].slo_attainment));
    }
    world_release(&w);
}
END_TEST

/* ---- failing sinks ---- */

static uint64_t report_failing(uint64_t fail_at, bool *ok)
{
    struct world w;
    struct err e = {0};
    world_init(&w);
    world_open(&w);
    live(&w, &(struct life){0, 0, 10, 30, 2, STATUS_FINISHED}, "a", NAMES_NONE);
    metrics_advance(w.m, 3 * S);
    w.fake.fail_at = fail_at;
    struct sink sink = {.ops = &fake_ops, .self = &w.fake};
    *ok = metrics_report(w.m, &sink, &e);
    ck_assert(*ok == !e.set);
    uint64_t calls = w.fake.calls;
    world_release(&w);
    return calls;
}

START_TEST(a_failing_sink_is_heard_at_once)
{
    bool ok;
    uint64_t calls = report_failing(0, &ok);
    ck_assert(ok);
    ck_assert_uint_gt(calls, 60);
    for (uint64_t i = 1; i <= calls; i++) {
        uint64_t made = report_failing(i, &ok);
        ck_assert_msg(!ok && made == i, "failing call %llu: %llu made", (unsigned long long)i,
                      (unsigned long long)made);
    }
}
END_TEST

START_TEST(a_sink_may_have_no_callbacks)
{
    static const struct sink_ops none = {0};
    const struct sink sinks[] = {{.ops = NULL}, {.ops = &none}};
    for (size_t i = 0; i < ARRAY_LEN(sinks); i++) {
        struct world w;
        struct err e = {0};
        world_init(&w);
        world_open(&w);
        live(&w, &(struct life){0, 0, 10, 30, 2, STATUS_FINISHED}, "a", NAMES_NONE);
        ck_assert(metrics_report(w.m, &sinks[i], &e));
        world_release(&w);
    }
}
END_TEST

static Suite *metrics_suite(void)
{
    const TTest *const tests[] = {
        latencies_and_percentiles,
        one_token_divides_by_nothing,
        gaps_are_pooled_with_preemption_gaps,
        attainment_is_joint_and_over_all_that_arrived,
        class_by_column_then_tenant,
        a_row_keeps_its_own_class,
        an_empty_run_has_no_values,
        many_tenants,
        computed_service,
        tenant_rows,
        a_failing_sink_is_heard_at_once,
        a_sink_may_have_no_callbacks,
    };
    Suite *s = suite_create("metrics");
    TCase *c = tcase_create("metrics");
    tcase_set_timeout(c, 60);
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(c, tests[i]);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(metrics_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
