/* test_metrics_window.c: which requests and which moments count: warm-up, horizon, the last finish;
 * time-weighted means; what the timeline is told. */
#include "tests/support/metrics_world.h"

#include <stdlib.h>

START_TEST(population_and_duration)
{
    static const struct life finishes[] = {
        {100, 100, 150, 1100, 11, STATUS_FINISHED}, /* the first arrival */
        {500, 500, 550, 2100, 11, STATUS_FINISHED},
        {1000, NEVER, NEVER, 1000, 0, STATUS_REFUSED},
        {2000, 2000, 2500, 4100, 11, STATUS_FINISHED},
    };
    static const struct {
        const char *what;
        ns_t warmup_ns, horizon_ns;
        double duration_s, requests, finished, refused;
    } cases[] = {
        {"all", 0, NS_NEVER, 4, 4, 3, 1},
        {"warm-up before the first arrival", 50 * MS, NS_NEVER, 4, 4, 3, 1},
        {"warm-up at an arrival includes it", 500 * MS, NS_NEVER, 3.6, 3, 2, 1},
        {"warm-up after one", 501 * MS, NS_NEVER, 3.599, 2, 1, 1},
        {"horizon after the last finish", 0, 10100 * MS, 10, 4, 3, 1},
        {"horizon at an arrival includes it", 600 * MS, 2000 * MS, 1.4, 2, 1, 1},
        {"warm-up after everything", 5000 * MS, NS_NEVER, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double d = cases[i].duration_s, n = cases[i].requests;
        double rate_s = n > 0 ? d : NULL_VALUE;
        struct world w;
        world_init(&w);
        w.cfg.warmup_ns = cases[i].warmup_ns;
        w.cfg.horizon_ns = cases[i].horizon_ns;
        world_open(&w);
        for (size_t k = 0; k < ARRAY_LEN(finishes); k++)
            live(&w, &finishes[k], "a", NAMES_NONE);
        metrics_failed_in_trace(w.m);
        EXPECT(world_report(&w), cases[i].what, {"duration_s", d}, {"requests", n},
               {"finished", cases[i].finished}, {"refused", cases[i].refused}, {"unfinished", 0},
               {"failed_in_trace", 1}, {"request_throughput_rps", cases[i].finished / rate_s},
               {"goodput_rps", cases[i].finished / rate_s},
               {"slo_attainment", n > 0 ? cases[i].finished / n : NULL_VALUE});
        world_release(&w);
    }
}
END_TEST

START_TEST(a_late_refusal_ends_the_window)
{
    /* Its row has no done_at: the clock says when. An unfinished one does not extend anything. */
    struct world w;
    world_init(&w);
    struct metrics *m = world_open(&w);
    live(&w, &(struct life){1000, 1000, 1500, 2000, 2, STATUS_FINISHED}, "a", NAMES_NONE);
    metrics_advance(m, 4 * S);
    live(&w, &(struct life){1500, NEVER, NEVER, NEVER, 0, STATUS_REFUSED}, "a", NAMES_NONE);
    metrics_advance(m, 9 * S);
    live(&w, &(struct life){1500, 1600, NEVER, NEVER, 0, STATUS_UNFINISHED}, "a", NAMES_NONE);
    EXPECT(world_report(&w), "late refusal", {"duration_s", 3}, {"requests", 3}, {"refused", 1},
           {"unfinished", 1});
    world_release(&w);
}
END_TEST

START_TEST(what_happens_counts_by_its_own_time)
{
    static const ns_t at[] = {999 * MS, 1000 * MS, 3000 * MS, 3001 * MS};
    struct world w;
    world_init(&w);
    w.cfg.warmup_ns = 1 * S;
    w.cfg.horizon_ns = 3 * S;
    struct metrics *m = world_open(&w);
    metrics_arrival(m, 0, tenant(&w, "a"));
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        uint32_t one = i == 0 || i == 3 ? 1000 : 1; /* only two ones are inside */
        metrics_admit(m, at[i], 0, 8 * one, i == 1 ? 3 : 8 * one - 7);
        metrics_tokens(m, at[i], 0, 10 * one);
        metrics_preemption(m, at[i]);
        metrics_recomputed(m, at[i], 5 * one);
        metrics_swapped(m, at[i], 7 * one);
    }
    EXPECT(world_report(&w), "window", {"cache_hit_rate", 4.0 / 16}, {"output_throughput_tps", 10},
           {"total_throughput_tps", 18}, {"preemptions", 2}, {"recomputed_tokens", 10},
           {"swapped_bytes", 14}, {"duration_s", 2}, {"request_throughput_rps", NULL_VALUE});
    world_release(&w);
}
END_TEST

START_TEST(time_weighted_means)
{
    static const struct {
        const char *what;
        ns_t warmup_ns, horizon_ns, done_at, end_at;
        double kv, batch, idle;
    } cases[] = {
        /* KV 0 until 1 s, 40 of 100 until 3 s, then 80. Steps of two replicas:
         * [1, 2) 1 seq, [2, 4) 4 seqs; [1, 3) 2 seqs, [3.5, 6) 8 seqs. */
        {"to the last finish, which cuts a step", 0, NS_NEVER, 5 * S, 7 * S,
         (2 * 40 + 2 * 80) / 500.0, (1 + 8 + 4 + 12) / 6.5, 1 - 6.5 / 10},
        {"a finish known before the clock is there", 0, NS_NEVER, 6 * S, 4 * S,
         (2 * 40 + 3 * 80) / 600.0, (1 + 8 + 4 + 20) / 7.5, 1 - 7.5 / 12},
        {"warm-up and horizon", 2 * S, 4 * S, 7 * S, 7 * S, (40 + 80) / 200.0, (8 + 2 + 4) / 3.5,
         1 - 3.5 / 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w);
        w.cfg.warmup_ns = cases[i].warmup_ns;
        w.cfg.horizon_ns = cases[i].horizon_ns;
        w.cfg.n_replicas = 2;
        struct metrics *m = world_open(&w);
        metrics_arrival(m, 0, tenant(&w, "a"));
        metrics_advance(m, 1 * S);
        metrics_units(m, 1 * S, 40);
        metrics_steps(m, 1 * S, 1 * S, 1, 1, 0);
        metrics_steps(m, 1 * S, 2 * S, 2, 1, 0);
        struct request_row early = {.admitted_at = 0,
                                    .first_token_at = 1 * S,
                                    .done_at = 1500 * MS,
                                    .output_tokens = 1,
                                    .status = STATUS_FINISHED};
        metrics_advance(m, 1500 * MS);
        metrics_done(m, &early, 0, NAMES_NONE);
        metrics_steps(m, 2 * S, 1 * S, 4, 1, 0); /* two adjacent ones of four sequences */
        metrics_steps(m, 3 * S, 1 * S, 4, 1, 1);
        metrics_advance(m, 3 * S);
        metrics_units(m, 3 * S, 40);
        metrics_steps(m, 3500 * MS, 2500 * MS, 8, 1, 0);
        metrics_advance(m, MIN(cases[i].end_at, cases[i].done_at));
        struct request_row late = early;
        late.done_at = cases[i].done_at;
        metrics_done(m, &late, 0, NAMES_NONE);
        metrics_advance(m, cases[i].end_at);
        EXPECT(world_report(&w), cases[i].what, {"kv_utilisation_mean", cases[i].kv},
               {"batch_size_mean", cases[i].batch}, {"idle_fraction", cases[i].idle},
               {"extrapolated_share", 1.0 / 5});
        world_release(&w);
    }
}
END_TEST

static size_t series_of(const struct fake *f, const char *name, const struct named_value **first)
{
    size_t n = 0;
    for (size_t i = 0; i < f->timeline.n; i++) {
        if (strcmp(f->timeline.v[i].name, name) != 0)
            continue;
        if (n++ == 0)
            *first = &f->timeline.v[i];
    }
    return n;
}

START_TEST(steps_add_up)
{
    /* Adjacent ones of two sizes, then after a pause two adjacent ones of one size. */
    struct world w;
    world_init(&w);
    struct metrics *m = world_open(&w);
    metrics_arrival(m, 0, tenant(&w, "a"));
    metrics_steps(m, 0, 1 * S, 2, 1, 0);
    metrics_steps(m, 1 * S, 1 * S, 3, 1, 0);
    metrics_steps(m, 5 * S, 1 * S, 3, 1, 0);
    metrics_steps(m, 6 * S, 1 * S, 3, 1, 0);
    live(&w, &(struct life){0, 0, 1000, 8000, 4, STATUS_FINISHED}, "a", NAMES_NONE);
    EXPECT(world_report(&w), "steps", {"batch_size_mean", 11.0 / 4}, {"idle_fraction", 0.5},
           {"extrapolated_share", 0});
    world_release(&w);
}
END_TEST

START_TEST(timeline_series)
{
    struct world w;
    world_init(&w);
    struct metrics *m = world_open(&w);
    metrics_advance(m, 1500 * MS); /* the samples at 0 and 1 s come before any tenant */
    metrics_arrival(m, 1500 * MS, tenant(&w, "a"));
    metrics_state(m, &(struct metrics_state){3, 2, 25, 77});
    metrics_tokens(m, 1500 * MS, 0, 21);
    metrics_advance(m, 2 * S);
    world_report(&w);
    static const struct expected at_2s[] = {
        {"waiting", 3},       {"running", 2},    {"kv_utilisation", 0.25},
        {"batch_tokens", 77}, {"service:a", 42},
    };
    for (size_t i = 0; i < ARRAY_LEN(at_2s); i++) {
        const struct named_value *got = NULL;
        ck_assert_uint_eq(series_of(&w.fake, at_2s[i].metric, &got), 3);
        ck_assert(same(got[0].value, 0) && same(got[1].value, 0));
        ck_assert_int_eq(got[2].at, 2 * S);
        ck_assert(same(got[2].value, at_2s[i].value));
    }
    world_release(&w);
}
END_TEST

static Suite *window_suite(void)
{
    const TTest *const tests[] = {
        population_and_duration,
        a_late_refusal_ends_the_window,
        what_happens_counts_by_its_own_time,
        time_weighted_means,
        steps_add_up,
        timeline_series,
    };
    Suite *s = suite_create("metrics_window");
    TCase *c = tcase_create("metrics_window");
    tcase_set_timeout(c, 60);
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(c, tests[i]);
    suite_add_tcase(s, c);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(window_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
