/* Verdicts of `tandem check`, and baselines written, read and refused. */
#include "experiments/check_compare.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/baseline.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char dir[64], path[96];

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/test_check_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/baseline.json", dir);
}

static void tear_down(void)
{
    (void)unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- verdicts ---- */

enum { SEEDS = 5 };

struct verdict_case {
    const char *name;
    bool gate;              /* slo_attainment, else ttft_ms_p99 */
    bool measured, shifted; /* by a real engine; the candidate has other seeds */
    double tolerance, matters;
    double base[SEEDS], cand[SEEDS];
    enum check_verdict verdict;
};

#define NONE ((double)NAN)

static const struct verdict_case cases[] = {
    {"the same", true, false, false, 0, 0.01, {1, 1, 1, 1, .9}, {1, 1, 1, 1, .9}, CHECK_PASS},
    {"one request in one seed",
     true,
     false,
     false,
     0,
     0.01,
     {.99, .98, .97, .99, .98},
     {.99, .98, .97, .99, .9795},
     CHECK_REGRESSION},
    {"mean attainment fell, seeds disagree",
     true,
     false,
     false,
     0,
     0.01,
     {.9, .9, .9, .9, .9},
     {.91, .91, .91, .91, .85},
     CHECK_REGRESSION},
    {"mean attainment rose, seeds disagree",
     true,
     false,
     false,
     0,
     0.01,
     {.9, .9, .9, .9, .9},
     {.91, .91, .91, .91, .89},
     CHECK_IMPROVEMENT},
    {"within the tolerance",
     true,
     false,
     false,
     0.01,
     0.01,
     {.9, .9, .9, .9, .9},
     {.895, .895, .895, .895, .895},
     CHECK_PASS},
    {"a latency rose in one seed",
     false,
     false,
     false,
     0,
     NONE,
     {5, 5, 5, 5, 5},
     {5, 5, 5, 5, 5.001},
     CHECK_REGRESSION},
    {"a latency rose, seeds disagree",
     false,
     false,
     false,
     0,
     NONE,
     {5, 5, 5, 5, 5},
     {6, 6, 6, 4, 4},
     CHECK_INCONCLUSIVE},
    {"a latency fell, seeds disagree",
     false,
     false,
     false,
     0,
     NONE,
     {5, 5, 5, 5, 5},
     {4, 4, 4, 6, 6},
     CHECK_PASS},
    {"a latency fell",
     false,
     false,
     false,
     0,
     NONE,
     {5, 5, 5, 5, 5},
     {5, 5, 5, 5, 4},
     CHECK_IMPROVEMENT},
    {"a relative tolerance",
     false,
     false,
     false,
     0.1,
     NONE,
     {100, 100, 100, 100, 100},
     {109, 109, 109, 109, 109},
     CHECK_PASS},
    {"measured again: chance",
     true,
     true,
     false,
     0,
     0.05,
     {.9, .9, .9, .9, .9},
     {.9, .9, .9, .9, .899},
     CHECK_PASS},
    {"measured again: a loss is not ruled out",
     true,
     true,
     false,
     0,
     0.01,
     {.9, .9, .9, .9, .9},
     {.9, .9, .9, .9, .8},
     CHECK_INCONCLUSIVE},
    {"nothing was measured any more",
     false,
     false,
     false,
     0,
     NONE,
     {5, 5, 5, 5, 5},
     {5, NONE, 5, 5, 5},
     CHECK_INCONCLUSIVE},
    {"other seeds, alike",
     true,
     false,
     true,
     0,
     0.05,
     {.90, .91, .89, .92, .88},
     {.91, .90, .88, .89, .92},
     CHECK_PASS},
    {"other seeds, too few to say",
     true,
     false,
     true,
     0,
     0.01,
     {.90, .95, .85, .99, .80},
     {.89, .94, .84, .98, .79},
     CHECK_INCONCLUSIVE},
    {"other seeds, a large loss",
     true,
     false,
     true,
     0,
     0.01,
     {.90, .91, .89, .92, .88},
     {.50, .51, .49, .52, .48},
     CHECK_REGRESSION},
    {"other seeds, a large gain",
     true,
     false,
     true,
     0,
     0.01,
     {.50, .51, .49, .52, .48},
     {.90, .91, .89, .92, .88},
     CHECK_IMPROVEMENT},
};

static void fill(struct check_figures *f, const struct verdict_case *c, const double *value,
                 uint64_t first_seed)
{
    struct check_metric m = {
        .higher = c->gate, .relative = !c->gate, .tolerance = c->tolerance, .matters = c->matters};
    snprintf(m.name, sizeof m.name, "%s", c->gate ? "slo_attainment" : "ttft_ms_p99");
    check_figures_init(f);
    check_figures_add_metric(f, &m);
    for (uint64_t s = 0; s < SEEDS; s++)
        check_figures_add_seed(f, first_seed + s);
    struct check_point *p = check_figures_add(f, "point", HASH);
    p->measured = c->measured;
    memcpy(p->value, value, SEEDS * sizeof *value);
}

START_TEST(verdicts)
{
    const struct verdict_case *k = &cases[_i];
    struct check_figures base, cand;
    struct check c;
    struct err e = {0};
    fill(&base, k, k->base, 1);
    fill(&cand, k, k->cand, k->shifted ? 100 : 1);
    ck_assert_msg(check_compare(&c, &base, &cand, "base", "cand", &e), "%s: %s", k->name, e.text);
    ck_assert_msg(c.verdict == k->verdict, "%s: %s, not %s", k->name, check_verdict_name(c.verdict),
                  check_verdict_name(k->verdict));
    ck_assert_uint_eq(c.n, 1);
    ck_assert_uint_eq(c.count[k->verdict], 1);
    check_release(&c);
    check_figures_release(&cand);
    check_figures_release(&base);
}
END_TEST

START_TEST(seeds_that_cannot_be_compared)
{
    static const struct {
        uint64_t first;
        const char *why;
    } wrong[] = {{3, "are among"}, {0, "are among"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct check_figures base, cand;
        struct check c;
        struct err e = {0};
        fill(&base, &cases[0], cases[0].base, 1);
        fill(&cand, &cases[0], cases[0].cand, wrong[i].first);
        ck_assert(!check_compare(&c, &base, &cand, "base", "cand", &e));
        ck_assert_msg(strstr(e.text, wrong[i].why) != NULL, "%s", e.text);
        check_release(&c);
        check_figures_release(&cand);
        check_figures_release(&base);
    }
}
END_TEST

/* ---- baselines ---- */

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert(fputs(text, f) >= 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(round_trip)
{
    static const double value[] = {0.1 + 0.2, NONE, 1e-300, 98765.4321, -0.5};
    const struct verdict_case k = {.gate = false, .tolerance = 0.05, .matters = 1.0 / 3};
    struct check_figures out, in;
    struct err e = {0};
    fill(&out, &k, value, UINT64_MAX - SEEDS + 1);
    out.point[0].label = "a \"label\" of \\ two\nlines";
    ck_assert_msg(baseline_write(&out, path, &e), "%s", e.text);
    check_figures_init(&in);
    ck_assert_msg(baseline_read(&in, path, &e), "%s", e.text);
    ck_assert_uint_eq(in.n_points, 1);
    ck_assert_uint_eq(in.n_metrics, 1);
    ck_assert_uint_eq(in.n_seeds, SEEDS);
    ck_assert_str_eq(in.point[0].label, out.point[0].label);
    ck_assert_str_eq(in.point[0].config_hash, HASH);
    ck_assert_str_eq(in.metric[0].name, "ttft_ms_p99");
    ck_assert(!in.metric[0].higher && in.metric[0].relative && in.metric[0].tolerance == 0.05 &&
              in.metric[0].matters == 1.0 / 3);
    for (size_t i = 0; i < SEEDS; i++) {
        ck_assert(in.seed[i] == out.seed[i]);
        ck_assert(in.point[0].value[i] == value[i] ||
                  (isnan(in.point[0].value[i]) && isnan(value[i])));
    }
    check_figures_release(&in);
    check_figures_release(&out);
}
END_TEST

#define HEAD "{\"tandem_baseline\": 1, \"schema\": 1, "
#define METRICS "\"metrics\": {\"jain_index\": {\"better\": \"higher\"}}, "
#define POINT(figures)                                                                             \
    "\"points\": [{\"point\": \"p\", \"config_hash\": \"" HASH "\", \"figures\": {" figures "}}]}"

static const struct {
    const char *text, *why;
} wrong[] = {
    {"", "baseline.json:1:0:"},
    {"[1, 2", "baseline.json:1:"},
    {"[]", "is no baseline"},
    {"{\"name\": \"an experiment\"}", "is no baseline"},
    {"{\"tandem_baseline\": 2, \"schema\": 1}", "version 2, schema 1"},
    {"{\"tandem_baseline\": 1, \"schema\": 9}", "version 1, schema 9"},
    {"{\"tandem_baseline\": 1}", "version 1, schema 0"},
    {HEAD "\"points\": []}", "no metrics"},
    {HEAD "\"metrics\": {\"jain_index\": 3}}", "better must be"},
    {HEAD "\"metrics\": {\"jain_index\": {\"better\": \"lower\", \"tolerance\": -1}}}",
     "at least 0"},
    {HEAD "\"metrics\": {\"jain_index\": {\"better\": \"lower\", \"matters\": \"1\"}}}",
     "at least 0"},
    {HEAD "\"metrics\": {\"ttft_ms_p9x\": {\"better\": \"lower\"}}}", "no such metric"},
    {HEAD METRICS "\"points\": {}}", "no points"},
    {HEAD METRICS "\"points\": [1]}", "lacks its point"},
    {HEAD METRICS POINT("\"jain_index\": {}"), "without seeds"},
    {HEAD METRICS POINT("\"ttft_ms_p99\": {\"1\": 1}"), "without seeds"},
    {HEAD METRICS POINT("\"jain_index\": {\"one\": 1}"), "is no seed"},
    {HEAD METRICS POINT("\"jain_index\": {\"-1\": 1}"), "is no seed"},
    {HEAD METRICS POINT("\"jain_index\": {\"1\": NaN}"), "baseline.json:1:"},
    {HEAD METRICS POINT("\"jain_index\": {\"1\": 1e999}"), "baseline.json:1:"},
    {HEAD METRICS POINT("\"jain_index\": {\"1\": \"1\"}"), "is no number"},
    {HEAD "\"metrics\": {\"jain_index\": {\"better\": \"lower\"}, \"ttft_ms_p99\": {\"better\": "
          "\"lower\"}}, " POINT("\"jain_index\": {\"1\": 1}, \"ttft_ms_p99\": {\"2\": 1}"),
     "has no seed"},
    {HEAD "\"metrics\": {\"jain_index\": {\"better\": \"lower\"}, \"ttft_ms_p99\": {\"better\": "
          "\"lower\"}}, " POINT("\"jain_index\": {\"1\": 1}"),
     "has 0 seeds"},
};

START_TEST(bad_baselines)
{
    struct check_figures f;
    struct err e = {0};
    write_file(wrong[_i].text);
    check_figures_init(&f);
    ck_assert_msg(!baseline_read(&f, path, &e), "%s", wrong[_i].text);
    ck_assert_msg(strstr(e.text, wrong[_i].why) != NULL, "%s: %s", wrong[_i].text, e.text);
    ck_assert_msg(strstr(e.text, "--update") || strstr(e.text, "name a file"), "%s", e.text);
    check_figures_release(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("check_compare");
    TCase *t = tcase_create("verdicts");
    tcase_add_loop_test(t, verdicts, 0, ARRAY_LEN(cases));
    tcase_add_test(t, seeds_that_cannot_be_compared);
    suite_add_tcase(s, t);
    t = tcase_create("baselines");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, round_trip);
    tcase_add_loop_test(t, bad_baselines, 0, ARRAY_LEN(wrong));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
