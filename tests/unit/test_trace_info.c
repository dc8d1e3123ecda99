/* Statistics of traces: a small trace by hand, and the five public ones against the tables of
 * shared/traces/README.md ("Measured statistics", "Prefix reuse", "Clients and skew"), digit for
 * digit as printed there. What those leave out (correlations of Mooncake and VTC, exact totals, the
 * top 10 of VTC) was computed apart from this program. */
#include "experiments/trace_stats.h"

#include <inttypes.h>
#include <math.h>

#include "tests/support/memory_trace.h"
#include "tests/support/shared_trace.h"

/* ---- by hand ---- */

#define S NS_PER_S

static void read_records(const struct trace_rec *rec, size_t n, uint32_t block_tokens,
                         struct trace_stats *out)
{
    struct memory_trace m = {.rec = rec, .n = n};
    struct trace_source src = memory_trace_source(&m, block_tokens);
    struct err e = {0};
    ck_assert(trace_stats_read(&src, out, &e));
}

#define REC(at, in, out, who)                                                                      \
    {                                                                                              \
        .arrival_at = (at), .after = TRACE_NO_PARENT, .prompt_tokens = (in),                       \
        .output_tokens = (out), .tenant = (who)                                                    \
    }

START_TEST(test_rates)
{
    /* Whole minutes from the first arrival: 3, 0, 1; the fourth is cut off. */
    const struct trace_rec rec[] = {REC(100 * S, 10, 4, 0), REC(101 * S - 1, 20, 3, 1),
                                    REC(101 * S, 30, 2, 0), REC(220 * S, 40, 1, 0),
                                    REC(281 * S, 50, 0, 2)};
    struct trace_stats s;
    read_records(rec, ARRAY_LEN(rec), 0, &s);
    ck_assert_uint_eq(s.requests, 5);
    ck_assert_double_eq_tol(s.duration_s, 181, 1e-12);
    ck_assert_double_eq_tol(s.mean_rps, 5.0 / 181, 1e-12);
    ck_assert_double_eq(s.max_rps_1s, 2);
    ck_assert_double_eq_tol(s.max_rps_10s, 0.3, 1e-12);
    ck_assert_uint_eq(s.minutes, 3);
    ck_assert_uint_eq(s.minute_min, 0);
    ck_assert_uint_eq(s.minute_max, 3);
    ck_assert_double_eq_tol(s.cv_per_minute, sqrt(14.0 / 9) / (4.0 / 3), 1e-12);
    ck_assert_double_eq_tol(s.correlation, -1, 1e-12);
    ck_assert_double_eq_tol(s.input.mean, 30, 1e-12);
    ck_assert_double_eq_tol(s.input.p90, 46, 1e-9);
    ck_assert_uint_eq(s.input.total, 150);
    ck_assert_uint_eq(s.output.total, 10);
    ck_assert(!s.shares);
    ck_assert(isnan(s.seen_rate));
    ck_assert_uint_eq(s.tenants, 3);
    ck_assert_double_eq_tol(s.top_1, 0.6, 1e-12);
    ck_assert_double_eq_tol(s.top_10, 1, 1e-12);
    ck_assert_double_eq_tol(s.gini, 4.0 / 15, 1e-12); /* of 1, 1, 3 */
}
END_TEST

START_TEST(test_failed_and_following)
{
    struct trace_rec rec[] = {REC(0, 10, 1, NAMES_NONE), REC(5 * S, 10, 1, NAMES_NONE),
                              REC(0, 10, 1, NAMES_NONE)};
    struct trace_stats s;
    rec[1].failed = true;
    rec[2].after = 0;
    read_records(rec, ARRAY_LEN(rec), 0, &s);
    ck_assert_uint_eq(s.requests, 2);
    ck_assert_uint_eq(s.failed, 1);
    ck_assert_uint_eq(s.following, 1);
    ck_assert_double_eq(s.duration_s, 0);
    ck_assert(isnan(s.mean_rps) && isnan(s.cv_interarrival) && isnan(s.correlation));
    ck_assert_uint_eq(s.tenants, 0);
    ck_assert(isnan(s.gini) && isnan(s.top_1));

    read_records(rec, 0, 0, &s);
    ck_assert_uint_eq(s.requests, 0);
    ck_assert(isnan(s.input.mean) && isnan(s.input.max));
}
END_TEST

START_TEST(test_reuse)
{
    /* Blocks of 10 tokens: a b' | a b' | c a | private. The last hit of the third does not lead. */
    const struct segment ab[] = {{1, 0, 10}, {2, 0, 5}}, ca[] = {{3, 0, 10}, {1, 0, 10}};
    struct trace_rec rec[] = {REC(0, 15, 1, 0), REC(0, 15, 1, 0), REC(0, 20, 1, 0),
                              REC(0, 11, 1, 0)};
    struct trace_stats s;
    rec[0].segment = rec[1].segment = ab;
    rec[2].segment = ca;
    rec[0].n_segments = rec[1].n_segments = rec[2].n_segments = 2;
    read_records(rec, ARRAY_LEN(rec), 10, &s);
    ck_assert(s.shares);
    ck_assert_uint_eq(s.block_tokens, 10);
    ck_assert_uint_eq(s.blocks, 8);
    ck_assert_uint_eq(s.distinct, 5);
    ck_assert_uint_eq(s.once, 3);
    ck_assert_double_eq_tol(s.seen_rate, 3.0 / 8, 1e-12);
    ck_assert_double_eq_tol(s.hit_rate_tokens, 15.0 / 61, 1e-12);
    ck_assert_double_eq_tol(s.hits_0, 0.75, 1e-12);
    ck_assert_double_eq(s.hits_1, 0);
    ck_assert_double_eq_tol(s.hits_2, 0.25, 1e-12);
}
END_TEST

/* ---- as published ---- */

struct published {
    const char *path;
    const char *rates; /* requests, duration, mean, 1 s, 10 s, CV iat, CV min */
    const char *minutes;
    const char *input, *output; /* mean / p50 / p90 / p99 / max, total */
    const char *correlation;
    const char *reuse; /* blocks / distinct, seen, tokens, requests, once only; "" = none */
    const char *tenants;
};

static const struct published published[] = {
    {"azure-2023/AzureLLMInferenceTrace_code.csv.gz", "8819 3436 2.57 67 32.7 13.15 1.04", "0..632",
     "2048 / 1469 / 5188 / 7436 / 7437, 18059974", "28 / 13 / 55 / 251 / 1899, 245896", "0.00", "",
     "1"},
    {"azure-2023/AzureLLMInferenceTrace_conv.csv.gz", "19366 3502 5.53 16 9.8 1.09 0.22",
     "191..507", "1155 / 1020 / 2734 / 4142 / 14050, 22361870",
     "211 / 129 / 424 / 601 / 1000, 4088665", "-0.11", "", "1"},
    {"mooncake-fast25/conversation_trace.jsonl.gz", "12031 3537 3.40 28 6.7 3.03 0.12", "144..247",
     "12035 / 6909 / 27367 / 85400 / 126195, 144793823", "343 / 350 / 597 / 1119 / 2000, 4122048",
     "0.07", "288500 / 182790, 36.6, 37.4, 0.01 / 61.3 / 38.7, 75.8", "1"},
    {"mooncake-fast25/synthetic_trace.jsonl.gz", "3993 1022 3.91 13 5.5 1.01 0.07", "208..273",
     "15325 / 11587 / 38611 / 66456 / 191378, 61194628", "149 / 69 / 389 / 768 / 893, 595432",
     "-0.37", "121877 / 43924, 64.0, 65.1, 55.37 / 0.9 / 43.8, 58.4", "1"},
    {"vtc-arena/arena_real_trace.csv.gz", "1500 600 2.50 11 4.7 1.10 0.13", "121..183",
     "136 / 40 / 432 / 902 / 1021, 204398", "256 / 211 / 513 / 785 / 977, 384297", "0.13", "",
     "27, 19.7 / 62.9 / 79.9, 0.59"},
};

struct line {
    char s[128];
};

static struct line lengths(const struct length_stats *l)
{
    struct line out;
    snprintf(out.s, sizeof(out.s), "%.0f / %.0f / %.0f / %.0f / %.0f, %" PRIu64, l->mean, l->p50,
             l->p90, l->p99, l->max, l->total);
    return out;
}

static struct line reuse(const struct trace_stats *s)
{
    struct line out = {""};
    if (s->shares)
        snprintf(out.s, sizeof(out.s),
                 "%" PRIu64 " / %" PRIu64 ", %.1f, %.1f, %.2f / %.1f / %.1f, %.1f", s->blocks,
                 s->distinct, 100 * s->seen_rate, 100 * s->hit_rate_tokens, 100 * s->hits_0,
                 100 * s->hits_1, 100 * s->hits_2, 100 * (double)s->once / (double)s->distinct);
    return out;
}

static struct line tenants(const struct trace_stats *s)
{
    struct line out = {"1"};
    if (s->tenants != 1)
        snprintf(out.s, sizeof(out.s), "%" PRIu64 ", %.1f / %.1f / %.1f, %.2f", s->tenants,
                 100 * s->top_1, 100 * s->top_5, 100 * s->top_10, s->gini);
    return out;
}

START_TEST(test_published)
{
    const struct published *want = &published[_i];
    struct shared_trace t;
    struct trace_stats s;
    struct err e = {0};
    struct line got;
    if (!shared_trace_open(&t, want->path))
        return;
    ck_assert_msg(trace_stats_read(&t.source, &s, &e), "%s", e.text);
    snprintf(got.s, sizeof(got.s), "%" PRIu64 " %.0f %.2f %.0f %.1f %.2f %.2f", s.requests,
             s.duration_s, s.mean_rps, s.max_rps_1s, s.max_rps_10s, s.cv_interarrival,
             s.cv_per_minute);
    ck_assert_str_eq(got.s, want->rates);
    snprintf(got.s, sizeof(got.s), "%" PRIu64 "..%" PRIu64, s.minute_min, s.minute_max);
    ck_assert_str_eq(got.s, want->minutes);
    ck_assert_str_eq(lengths(&s.input).s, want->input);
    ck_assert_str_eq(lengths(&s.output).s, want->output);
    snprintf(got.s, sizeof(got.s), "%.2f", s.correlation);
    ck_assert_str_eq(got.s, want->correlation);
    ck_assert_str_eq(reuse(&s).s, want->reuse);
    ck_assert_str_eq(tenants(&s).s, want->tenants);
    shared_trace_close(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace_info");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_rates);
    tcase_add_test(tc, test_failed_and_following);
    tcase_add_test(tc, test_reuse);
    tcase_add_loop_test(tc, test_published, 0, (int)ARRAY_LEN(published));
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
