/* test_servegen.c: requests drawn from ServeGen's rates and lengths: as many as the rates say, in
 * order, with gaps of the pattern, lengths of the quantiles, whichever part is asked for. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "traces/rows.h"
#include "traces/servegen.h"

#define RATES "client,t_s,rate_rps,cv,pattern,param1,param2\n"
#define LENGTHS                                                                                    \
    "client,t_s,field,mean,min,p0.5,p1,p2.5,p5,p10,p20,p30,p40,p50,p60,p70,p75,p80,p85,p90,p95,"   \
    "p97.5,p99,p99.5,p99.9,max\n"
/* 22 equal quantiles: what is drawn is just that. */
#define ALWAYS(client, t, field, n)                                                                \
    client "," t "," field "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n \
           "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "\n"

/* The two files in the world's folder. */
struct pair {
    struct trace_world w;
    char rates[128], lengths[128];
};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void pair_init(struct pair *p, const char *rates, const char *lengths)
{
    trace_world_init(&p->w);
    snprintf(p->rates, sizeof(p->rates), "%s/x__rates.csv", p->w.dir);
    snprintf(p->lengths, sizeof(p->lengths), "%s/x__lengths_quantiles.csv", p->w.dir);
    write_file(p->rates, rates);
    if (lengths)
        write_file(p->lengths, lengths);
}

static void pair_release(struct pair *p)
{
    unlink(p->rates);
    unlink(p->lengths);
    trace_world_release(&p->w);
}

/* ---- small files ---- */

/* rate 0.01 is 6 in a window; two clients, of which b begins in the second window. */
#define TWO_RATES RATES "a,0,0.01,1,Gamma,1,1\na,600,0.005,1,Weibull,2,9\nb,600,0.01,,Gamma,4,\n"
#define TWO_LENGTHS                                                                                \
    LENGTHS ALWAYS("a", "0", "input_tokens", "100") ALWAYS("a", "0", "output_tokens", "7")         \
        ALWAYS("b", "0", "text_tokens", "30") ALWAYS("b", "0", "image_tokens", "12.6")             \
            ALWAYS("b", "0", "output_tokens", "0") ALWAYS("b", "0", "reason_ratio", "0.5")

START_TEST(two_clients)
{
    struct pair p;
    struct trace_source src;
    struct trace_check check = {0};
    struct trace_rec r;
    unsigned a[2] = {0}, b = 0;

    pair_init(&p, TWO_RATES, TWO_LENGTHS);
    ck_assert_msg(trace_open(p.rates, NULL, &p.w.env, &src, &p.w.err), "%s", p.w.err.text);
    ck_assert_str_eq(src.format, "servegen");
    ck_assert_str_eq(src.traits.made_up, "servegen: 2 clients, 0.0125 req/s drawn, seed 1");
    while (src.ops->next(src.self, &r, &p.w.err) == TRACE_REC) {
        const char *tenant = names_text(&p.w.tenants, r.tenant);
        bool second = r.arrival_at >= 600 * NS_PER_S;

        trace_check(&check, &src, &p.w.env, &r);
        ck_assert_int_lt(r.arrival_at, 1200 * NS_PER_S);
        if (strcmp(tenant, "a") == 0) {
            a[second]++;
            ck_assert_uint_eq(r.prompt_tokens, 100);
            ck_assert_uint_eq(r.output_tokens, 7);
            ck_assert_uint_eq(r.line, second ? 3 : 2);
        } else {
            b++;
            ck_assert(second);
            ck_assert_str_eq(tenant, "b");
            ck_assert_uint_eq(r.prompt_tokens, 43); /* 30 + 12.6 */
            ck_assert_uint_eq(r.output_tokens, 1);  /* no less */
        }
    }
    ck_assert_uint_eq(a[0], 6);
    ck_assert_uint_eq(a[1], 3);
    ck_assert_uint_eq(b, 6);
    src.ops->close(src.self);
    pair_release(&p);
}
END_TEST

/* A part of the trace is that part of the whole. */
START_TEST(part_of_the_whole)
{
    char whole[4096] = "", part[4096] = "";
    struct pair p;
    uint64_t n, m;

    pair_init(&p, TWO_RATES, TWO_LENGTHS);
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, whole, sizeof(whole), &n), TRACE_END);
    trace_world_set(&p.w, "start_s=700;duration_s=10000");
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, part, sizeof(part), &m), TRACE_END);
    ck_assert_uint_eq(n, 15);
    ck_assert(m > 0 && m < 9);
    for (char *line = part, *end; *line; line = end + 1) {
        char expect[128];
        double at_s = strtod(strchr(line, '@') + 1, NULL);

        end = strchr(line, '\n');
        snprintf(expect, sizeof(expect), "@%.6f", at_s + 700); /* the whole has it at that time */
        expect[strlen(expect) - 2] = '\0';
        ck_assert_msg(strstr(whole, expect) != NULL, "%s is not in\n%s", expect, whole);
    }
    pair_release(&p);
}
END_TEST

/* Clients without lengths are left out and counted, or borrow. */
START_TEST(missing_lengths)
{
    struct pair p;
    struct trace_source src;
    struct trace_rec r;
    unsigned n = 0;

    pair_init(&p, TWO_RATES,
              LENGTHS ALWAYS("a", "0", "input_tokens", "9") ALWAYS("a", "0", "output_tokens", "7")
                  ALWAYS("b", "0", "input_tokens", "5")); /* an input alone is no use */
    ck_assert_msg(trace_open(p.rates, NULL, &p.w.env, &src, &p.w.err), "%s", p.w.err.text);
    ck_assert_str_eq(src.traits.made_up, "servegen: 2 clients, 1 without lengths (40 %) left out, "
                                         "0.0075 req/s drawn, seed 1");
    for (; src.ops->next(src.self, &r, &p.w.err) == TRACE_REC; n++)
        ck_assert_str_eq(names_text(&p.w.tenants, r.tenant), "a");
    ck_assert_uint_eq(n, 9);
    src.ops->close(src.self);

    params_set_str(&p.w.params, "servegen.missing", "borrow");
    params_set_num(&p.w.params, "servegen.rate_scale", PARAM_REAL, 100);
    ck_assert_msg(trace_open(p.rates, NULL, &p.w.env, &src, &p.w.err), "%s", p.w.err.text);
    ck_assert_str_eq(src.traits.made_up, "servegen: 2 clients, 1 without lengths (40 %) borrow "
                                         "them, 1.25 req/s drawn, seed 1");
    for (n = 0; src.ops->next(src.self, &r, &p.w.err) == TRACE_REC; n++)
        ck_assert(r.prompt_tokens == 9 && r.output_tokens == 7);
    ck_assert_uint_eq(n, 1500);
    src.ops->close(src.self);
    pair_release(&p);
}
END_TEST

/* Gaps within a window have the pattern's spread: one window of 60,000, mean 0.01 s. */
static const struct {
    const char *pattern, *shape;
    double cv, tolerance;
} patterns[] = {
    {"Gamma", "1", 1, 0.02},        {"Gamma", "4", 0.5, 0.02},      {"Gamma", "0.1", 3.162, 0.1},
    {"Weibull", "0.5", 2.236, 0.1}, {"Weibull", "2", 0.5227, 0.02},
};

START_TEST(gaps)
{
    char rates[256];
    double sum = 0, squares = 0, n = 0;
    ns_t before = -1;
    struct pair p;
    struct trace_source src;
    struct trace_rec r;

    snprintf(rates, sizeof(rates), RATES "a,0,100,1,%s,%s,1\n", patterns[_i].pattern,
             patterns[_i].shape);
    pair_init(&p, rates, TWO_LENGTHS);
    ck_assert_msg(trace_open(p.rates, NULL, &p.w.env, &src, &p.w.err), "%s", p.w.err.text);
    for (; src.ops->next(src.self, &r, &p.w.err) == TRACE_REC; n++) {
        double gap = (double)(r.arrival_at - before) / 1e9;

        if (before >= 0) {
            sum += gap;
            squares += gap * gap;
        }
        before = r.arrival_at;
    }
    ck_assert_double_eq(n, 60000);
    n--;
    ck_assert_double_eq_tol(sum / n, 0.01, 0.0002);
    ck_assert_double_eq_tol(sqrt(squares / n - sum / n * sum / n) / (sum / n), patterns[_i].cv,
                            patterns[_i].tolerance * patterns[_i].cv);
    src.ops->close(src.self);
    pair_release(&p);
}
END_TEST

/* Gaps too extreme for the machine, and a rate below one request a window. */
START_TEST(extremes)
{
    struct pair p;
    uint64_t n;

    pair_init(&p,
              RATES "a,0,0.02,9,Gamma,0.000001,1\na,600,0.02,9,Weibull,0.000001,1\n"
                    "a,1200,0,1,Gamma,1,1\n",
              TWO_LENGTHS);
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, NULL, 0, &n), TRACE_END);
    ck_assert_uint_eq(n, 24);
    params_set_num(&p.w.params, "servegen.rate_scale", PARAM_REAL, 1e-6);
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, NULL, 0, &n), TRACE_END);
    ck_assert_uint_eq(n, 0);
    trace_world_set(&p.w, "start_s=99999");
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, NULL, 0, &n), TRACE_END);
    ck_assert_uint_eq(n, 0);
    pair_release(&p);
}
END_TEST

START_TEST(lengths_path)
{
    static const struct {
        const char *rates, *lengths;
    } cases[] = {
        {"x__rates.csv", "x__lengths_quantiles.csv"},
        {"a/b__rates.csv.gz", "a/b__lengths_quantiles.csv.gz"},
        {"d__rates.x/b.csv", NULL},
        {"rates.csv", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *path = servegen_lengths_path(cases[i].rates);

        ck_assert((path == NULL) == (cases[i].lengths == NULL));
        if (path)
            ck_assert_str_eq(path, cases[i].lengths);
        mem_free(path);
    }
}
END_TEST

/* ---- what is refused ---- */

#define FALLING "a,0,input_tokens,5,5,4,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5\n"

static const struct {
    const char *rates, *lengths, *message;
} bad[] = {
    {RATES "a,x,1,1,Gamma,1,1\n", TWO_LENGTHS, "__rates.csv:2: column t_s"},
    {RATES "a,0,-1,1,Gamma,1,1\n", TWO_LENGTHS, "__rates.csv:2: column rate_rps: \"-1\" is out of"},
    {RATES "a,0,nan,1,Gamma,1,1\n", TWO_LENGTHS, "column rate_rps: \"nan\" is not a number"},
    {RATES "a,0,1e6,1,Gamma,1,1\na,600,2e6,1,Gamma,1,1\n", TWO_LENGTHS,
     "__rates.csv:3: column rate"},
    {RATES "a,0,1,1,Poisson,1,1\n", TWO_LENGTHS, "column pattern: \"Poisson\" is neither"},
    {RATES "a,0,1,1,Gamma,0,1\n", TWO_LENGTHS, "column param1: \"0\" is out of range"},
    {RATES "a,600,1,1,Gamma,1,1\na,0,1,1,Gamma,1,1\n", TWO_LENGTHS, "__rates.csv:3: column t_s: 0"},
    {RATES "a,0,1,1,Gamma,1,1\na,0,1,1,Gamma,1,1\n", TWO_LENGTHS, "__rates.csv:3: column t_s: 0"},
    {RATES "a,0,1,1,Gamma\n", TWO_LENGTHS, "__rates.csv:2:"},
    {TWO_RATES, NULL, "x__lengths_quantiles.csv: cannot be opened"},
    {TWO_RATES, "client,t_s\n", "__lengths_quantiles.csv:1: column field is missing"},
    {TWO_RATES, LENGTHS FALLING, "__lengths_quantiles.csv:2: column p0.5: 4 is below"},
    {TWO_RATES, LENGTHS ALWAYS("a", "0", "input_tokens", "x"), "column min: \"x\" is not a number"},
    {TWO_RATES,
     LENGTHS ALWAYS("a", "9", "input_tokens", "1") ALWAYS("a", "0", "output_tokens", "1"),
     "__lengths_quantiles.csv:3: column t_s: time goes back"},
    {TWO_RATES, LENGTHS ALWAYS("a", "0", "input_tokens", "1") ALWAYS("a", "0", "input_tokens", "1"),
     "column field: input_tokens of this client and t_s is there already"},
};

START_TEST(refused)
{
    struct pair p;
    uint64_t n;

    pair_init(&p, bad[_i].rates, bad[_i].lengths);
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_msg(strstr(p.w.err.text, bad[_i].message) != NULL, "%s", p.w.err.text);
    pair_release(&p);
}
END_TEST

START_TEST(refused_name_and_scale)
{
    struct pair p;
    uint64_t n;

    pair_init(&p, TWO_RATES, TWO_LENGTHS);
    write_file(p.w.path, TWO_RATES);
    ck_assert_int_eq(trace_world_read(&p.w, p.w.path, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_ptr_nonnull(strstr(p.w.err.text, "called X__rates.csv"));
    p.w.err.set = false;
    params_set_num(&p.w.params, "servegen.rate_scale", PARAM_REAL, 1e9);
    ck_assert_int_eq(trace_world_read(&p.w, p.rates, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_ptr_nonnull(strstr(p.w.err.text, "requests/s with servegen.rate_scale"));
    pair_release(&p);
}
END_TEST

/* ---- the published workload ---- */

#define LARGE "servegen/language__m-large__rates.csv.gz"
#define CLIENTS 200u

static const char *shared_path(char *out, size_t size)
{
    const char *shared = getenv("TANDEM_SHARED");

    if (!shared) {
        printf("SKIP: TANDEM_SHARED is not set: " LARGE " was not checked\n");
        return NULL;
    }
    snprintf(out, size, "%s/traces/" LARGE, shared);
    return out;
}

/* Counts of every client in every window of the first hour, against the file's rates: a client
 * with lengths has its rate x 600 s to the request below or above, one without has none. */
START_TEST(published_rates)
{
    static const char *const names[] = {"client", "t_s", "rate_rps"};
    static double count[CLIENTS][6], expect[CLIENTS][6];
    char path[4200];
    struct trace_world w;
    struct trace_source src;
    struct trace_rec r;
    struct rows rows;
    size_t with = 0, without = 0;

    if (!shared_path(path, sizeof(path)))
        return;
    trace_world_init(&w);
    trace_world_set(&w, "duration_s=3600");
    ck_assert_msg(trace_open(path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    while (src.ops->next(src.self, &r, &w.err) == TRACE_REC)
        count[strtoul(names_text(&w.tenants, r.tenant), NULL, 10)]
             [r.arrival_at / (600 * NS_PER_S)]++;
    src.ops->close(src.self);
    ck_assert(rows_open(&rows, path, names, 3, 3, &w.err));
    while (rows_next(&rows, &w.err) == TRACE_REC) {
        size_t window = strtoul(rows_cell(&rows, 1), NULL, 10) / 600;

        if (window < 6)
            expect[strtoul(rows_cell(&rows, 0), NULL, 10)][window] =
                600 * strtod(rows_cell(&rows, 2), NULL);
    }
    rows_close(&rows);
    for (size_t i = 0; i < CLIENTS; i++) {
        bool any = false, asked = false;

        for (size_t k = 0; k < 6; k++) {
            any = any || count[i][k] > 0;
            asked = asked || expect[i][k] >= 1;
        }
        for (size_t k = 0; any && k < 6; k++)
            ck_assert_msg(fabs(count[i][k] - expect[i][k]) < 1, "client %zu, window %zu: %g of %g",
                          i, k, count[i][k], expect[i][k]);
        with += any;
        without += asked && !any;
    }
    ck_assert_uint_gt(with, 20);
    ck_assert(without >= 1 && without <= 15);
    trace_world_release(&w);
}
END_TEST

/* Means of all 14 days near those of ../shared/traces/README.md; 162 clients there count one that
 * has no row here. */
START_TEST(published_lengths)
{
    char path[4200];
    struct trace_world w;
    struct trace_source src;
    struct trace_rec r;
    double n = 0, input = 0, output = 0;

    if (!shared_path(path, sizeof(path)))
        return;
    trace_world_init(&w);
    params_set_num(&w.params, "servegen.rate_scale", PARAM_REAL, 0.001);
    ck_assert_msg(trace_open(path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    ck_assert_ptr_nonnull(strstr(src.traits.made_up, " clients, 15 without lengths (37 %) left "
                                                     "out, 0.12"));
    for (; src.ops->next(src.self, &r, &w.err) == TRACE_REC; n++) {
        input += r.prompt_tokens;
        output += r.output_tokens;
    }
    ck_assert_double_eq_tol(n, 236900 * 0.63, 236900 * 0.63 * 0.02);
    ck_assert_double_eq_tol(input / n, 914, 0.03 * 914);
    ck_assert_double_eq_tol(output / n, 155, 0.03 * 155);
    src.ops->close(src.self);
    trace_world_release(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("servegen");
    TCase *t = tcase_create("all");
    SRunner *r;
    int failed;

    tcase_add_test(t, two_clients);
    tcase_add_test(t, part_of_the_whole);
    tcase_add_test(t, missing_lengths);
    tcase_add_loop_test(t, gaps, 0, (int)ARRAY_LEN(patterns));
    tcase_add_test(t, extremes);
    tcase_add_test(t, lengths_path);
    tcase_add_loop_test(t, refused, 0, (int)ARRAY_LEN(bad));
    tcase_add_test(t, refused_name_and_scale);
    tcase_add_test(t, published_rates);
    tcase_add_test(t, published_lengths);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
