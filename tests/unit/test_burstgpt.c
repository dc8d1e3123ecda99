/* test_burstgpt.c: `generate:burstgpt` written as a BurstGPT file: read again it is what was drawn,
 * and it is like BurstGPT wherever figures of that are published: requests and tokens of its days,
 * the first week's minutes, the share that failed. What it cannot say is refused. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "traces/burstgpt_write.h"

#define WEEK_MINUTES 10080u
#define DAYS 61u

struct written {
    uint64_t n, failed, talk; /* requests; talk: of conversations */
    double tokens, talk_tokens;
    double day[DAYS], day_tokens[DAYS], day_talk[DAYS];
    double minute[WEEK_MINUTES]; /* tokens */
};

static void must(const struct trace_world *w, bool ok)
{
    ck_assert_msg(ok, "%s", w->err.text);
}

static void count_row(struct written *s, const char *row)
{
    unsigned long at, prompt, output, total;
    char model[32], type[32];

    ck_assert_msg(sscanf(row, "%lu,%31[^,],%lu,%lu,%lu,%31[^\n]", &at, model, &prompt, &output,
                         &total, type) == 6,
                  "%s", row);
    ck_assert_str_eq(model, "ChatGPT");
    ck_assert_uint_eq(total, prompt + output);
    bool talk = strcmp(type, "Conversation log") == 0;
    if (!talk)
        ck_assert_str_eq(type, "API log");
    s->n++;
    s->failed += output == 0;
    s->talk += talk;
    s->tokens += (double)total;
    if (talk)
        s->talk_tokens += (double)total;
    size_t day = at / 86400 % DAYS;
    s->day[day]++;
    s->day_tokens[day] += (double)total;
    s->day_talk[day] += talk;
    if (at / 60 < WEEK_MINUTES)
        s->minute[at / 60] += (double)total;
}

/* Writes what `spec` draws, and counts the rows. */
static struct written *write_and_count(const char *spec)
{
    struct written *s = mem_alloc(sizeof(*s));
    struct trace_world w;
    struct converted n;
    char to[128], row[256];

    trace_world_init(&w);
    snprintf(to, sizeof(to), "%s/out.csv", w.dir);
    must(&w, burstgpt_convert(spec, NULL, &w.env, to, &n, &w.err));
    FILE *f = fopen(to, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(row, sizeof(row), f));
    ck_assert_str_eq(row, "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n");
    while (fgets(row, sizeof(row), f))
        count_row(s, row);
    fclose(f);
    ck_assert_uint_eq(s->n, n.rows);
    ck_assert_uint_eq(s->failed, n.failed);
    unlink(to);
    trace_world_release(&w);
    return s;
}

/* The reader gives what the generator drew, but for the parts of a second. */
START_TEST(read_again)
{
    static const char spec[] = "generate:burstgpt,n=3000,rate=5,failures=0.1,tenants=3";
    struct trace_world w;
    struct trace_source a, b;
    struct trace_rec x, y;
    struct converted n;
    char to[128];
    uint64_t rows = 0, failed = 0;

    trace_world_init(&w);
    snprintf(to, sizeof(to), "%s/out.csv.gz", w.dir);
    must(&w, burstgpt_convert(spec, NULL, &w.env, to, &n, &w.err));
    must(&w, trace_open(spec, NULL, &w.env, &a, &w.err));
    must(&w, trace_open(to, NULL, &w.env, &b, &w.err));
    ck_assert_str_eq(b.format, "burstgpt");
    while (a.ops->next(a.self, &x, &w.err) == TRACE_REC) {
        ck_assert_int_eq(b.ops->next(b.self, &y, &w.err), TRACE_REC);
        ck_assert_int_eq(y.arrival_at, x.arrival_at / NS_PER_S * NS_PER_S);
        ck_assert_uint_eq(x.prompt_tokens, y.prompt_tokens);
        ck_assert_uint_eq(x.output_tokens, y.output_tokens);
        ck_assert_uint_eq(x.failed, y.failed);
        ck_assert_uint_eq(x.tenant, y.tenant);
        failed += x.failed;
        rows++;
    }
    ck_assert_int_eq(b.ops->next(b.self, &y, &w.err), TRACE_END);
    ck_assert_uint_eq(rows, n.rows);
    ck_assert_uint_eq(failed, n.failed);
    ck_assert_double_eq_tol((double)failed, 300, 5 * sqrt(300));
    a.ops->close(a.self);
    b.ops->close(b.self);
    unlink(to);
    trace_world_release(&w);
}
END_TEST

/* The first week has conversations only: 19,431 requests, 16,953,031 tokens, nothing in 36.8 % of
 * its minutes, tokens a minute that deviate by 1.318 of their mean. */
START_TEST(first_week)
{
    struct written *s = write_and_count(
        "generate:burstgpt,rate=0.032128,cv=1.6,conversation=1,duration=604800,seed=1");
    double mean = s->tokens / WEEK_MINUTES, squares = 0, empty = 0;

    for (size_t i = 0; i < WEEK_MINUTES; i++) {
        squares += (s->minute[i] - mean) * (s->minute[i] - mean);
        empty += s->minute[i] <= 0;
    }
    ck_assert_uint_eq(s->talk, s->n);
    /* gaps of cv 1.6: so much does their number deviate */
    ck_assert_double_eq_tol((double)s->n, 19431, 4 * 1.6 * sqrt(19431));
    ck_assert_double_eq_tol(s->tokens / (double)s->n, 16953031.0 / 19431, 0.03 * 872);
    ck_assert_double_eq_tol(empty / WEEK_MINUTES, 0.368, 0.03);
    ck_assert_double_eq_tol(sqrt(squares / WEEK_MINUTES) / mean, 1.318, 0.1);
    mem_free(s);
}
END_TEST

/* Its 61 days, at a fifth of the rate: shares of days, of log types, of failures; tokens. */
START_TEST(all_days)
{
    static const struct {
        size_t day;
        double requests;
    } known[] = {{0, 3389}, {9, 149520}, {20, 80239}, {31, 2127}, {60, 14457}};
    const double all = 1429737, n_days = DAYS;
    struct written *s = write_and_count("generate:burstgpt,rate=0.05425547,cv=1.6,days=true,"
                                        "duration=5270400,seed=2");
    double n = (double)s->n, scale = 5;

    ck_assert_double_eq_tol(n * scale, all, scale * 4 * 1.6 * sqrt(n));
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        double expect = known[i].requests / scale;
        ck_assert_double_eq_tol(s->day[known[i].day], expect, 4 * 1.6 * sqrt(expect));
    }
    ck_assert_double_eq_tol((double)s->failed / n, 25.4 / 1429.7, 0.001);
    ck_assert_double_eq_tol(s->tokens / n, 1.049e9 / all, 0.03 * 734);
    /* conversations are as many every day, all there is on the days that have no more */
    ck_assert_double_eq_tol((double)s->talk / n, 0.12, 0.01);
    ck_assert_double_eq_tol(s->day_talk[9], (double)s->talk / n_days, 4 * sqrt(600));
    ck_assert_double_gt(s->day_talk[31] / s->day[31], 0.999);
    ck_assert_double_eq_tol(s->day_tokens[31] / s->day[31], 872, 0.15 * 872);
    mem_free(s);
}
END_TEST

/* Every day of the published counts, where they are at hand. */
START_TEST(published_days)
{
    const char *shared = getenv("TANDEM_SHARED");
    char path[4096], row[128];

    if (shared == NULL || *shared == '\0') {
        printf("SKIP: TANDEM_SHARED is not set: burstgpt-aggregates were not compared\n");
        return;
    }
    snprintf(path, sizeof(path), "%s/traces/burstgpt-aggregates/burstgpt1_daily.csv", shared);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s is not there", path);
    struct written *s = write_and_count("generate:burstgpt,rate=0.2712773,cv=1.6,days=true,"
                                        "duration=5270400,seed=3");
    ck_assert_ptr_nonnull(fgets(row, sizeof(row), f));
    for (size_t i = 0; i < DAYS; i++) {
        unsigned long day, requests, tokens;
        ck_assert_ptr_nonnull(fgets(row, sizeof(row), f));
        ck_assert_int_eq(sscanf(row, "%lu,%lu,%lu", &day, &requests, &tokens), 3);
        ck_assert_double_eq_tol(s->day[i], (double)requests, 5 * 1.6 * sqrt((double)requests));
    }
    fclose(f);
    mem_free(s);
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"generate:multiturn,n=50", "follows another and has no time of its own"},
        {"generate:burstgpt,failures=2", "failures=2 is out of range"},
        {"generate:burstgpt,conv_prompt=lognormal:1", "conv_prompt"},
        {"generate:poisson,conversation=0", "unknown key"},
    };
    struct trace_world w;
    struct converted n;
    char to[128];

    trace_world_init(&w);
    snprintf(to, sizeof(to), "%s/out.csv", w.dir);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w.err.set = false;
        ck_assert(!burstgpt_convert(cases[i].spec, NULL, &w.env, to, &n, &w.err));
        ck_assert_msg(strstr(w.err.text, cases[i].message) != NULL, "%s", w.err.text);
        ck_assert_int_ne(access(to, F_OK), 0);
    }
    w.err.set = false;
    ck_assert(!burstgpt_convert("generate:burstgpt", NULL, &w.env, "/nowhere/out.csv", &n, &w.err));
    ck_assert_ptr_nonnull(strstr(w.err.text, "/nowhere/out.csv: cannot be written"));
    trace_world_release(&w); /* CHECKs that nothing is left in the folder */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("burstgpt");
    TCase *t = tcase_create("burstgpt");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, read_again);
    tcase_add_test(t, first_week);
    tcase_add_test(t, all_days);
    tcase_add_test(t, published_days);
    tcase_add_test(t, refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
