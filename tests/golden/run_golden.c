/* run_golden.c: whole runs against what they gave before. Every folder tests/golden/NAME/ with a
 * config.json is a case; its expected.txt holds
 *
 *     digest <16 hex digits>
 *     <metric> <value>         ten of them, "null" where the population is empty
 *
 * The digest (every decision and its time) is compared first and must be equal whatever the
 * compiler, its options and the sanitizers; the numbers within a relative 1e-9.
 *
 * TANDEM_GOLDEN_UPDATE=1 writes expected.txt anew, with the metrics it names already: for a change
 * that is meant to change results, to be looked at in the diff. */
#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/compose.h"

#define ROOT "tests/golden"
#define N_NUMBERS 10u
#define TOLERANCE 1e-9 /* relative */

struct number {
    char metric[64];
    double value; /* NaN: null */
};

struct expected {
    uint64_t digest;
    struct number number[N_NUMBERS];
};

/* ---- expected.txt ---- */

static void path_of(char *out, size_t size, const char *name, const char *file)
{
    int n = snprintf(out, size, ROOT "/%s/%s", name, file);
    ck_assert(n > 0 && (size_t)n < size);
}

/* Fails the test on anything but what the head of this file says. false: there is no such file. */
static bool read_expected(const char *path, struct expected *x)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    char key[64], value[64], rest;
    uint32_t n = 0;
    ck_assert_msg(fscanf(f, "digest %63s", value) == 1 && strlen(value) == 16 &&
                      value[strspn(value, "0123456789abcdef")] == '\0',
                  "%s: the first line is no digest", path);
    x->digest = strtoull(value, NULL, 16);
    for (; n < N_NUMBERS && fscanf(f, "%63s %63s", key, value) == 2; n++) {
        char *end = value;
        double v = strcmp(value, "null") == 0 ? (double)NAN : strtod(value, &end);
        ck_assert_msg(isnan(v) || *end == '\0', "%s: %s is no number", path, value);
        x->number[n].value = v;
        memcpy(x->number[n].metric, key, sizeof(key));
    }
    ck_assert_msg(n == N_NUMBERS && fscanf(f, " %c", &rest) != 1, "%s: not %u numbers", path,
                  N_NUMBERS);
    fclose(f);
    return true;
}

static void write_expected(const char *path, const struct expected *x)
{
    FILE *f = fopen(path, "w");
    ck_assert_msg(f != NULL, "%s: cannot be written", path);
    fprintf(f, "digest %016" PRIx64 "\n", x->digest);
    for (uint32_t i = 0; i < N_NUMBERS; i++)
        if (isnan(x->number[i].value))
            fprintf(f, "%s null\n", x->number[i].metric);
        else
            fprintf(f, "%s %.15g\n", x->number[i].metric, x->number[i].value);
    ck_assert(fclose(f) == 0);
    printf("updated %s\n", path);
}

/* ---- a run ---- */

struct outcome {
    uint64_t digest;
    struct number number[128];
    uint32_t n;
};

static bool keep(void *self, const char *metric, double value, struct err *e)
{
    (void)e;
    struct outcome *o = self;
    ck_assert_uint_lt(o->n, ARRAY_LEN(o->number));
    struct number *to = &o->number[o->n++];
    ck_assert(snprintf(to->metric, sizeof(to->metric), "%s", metric) < (int)sizeof(to->metric));
    to->value = value;
    return true;
}

static void run_config(const char *path, struct outcome *out)
{
    static const struct sink_ops ops = {.summary = keep};
    struct config c;
    struct composed x;
    struct sim_result result;
    struct err e = {0};
    config_init(&c);
    ck_assert_msg(config_load(&c, path, &e), "%s", e.text);
    config_resolve(&c);
    ck_assert_msg(compose(&x, &c, &e), "%s", e.text);
    out->n = 0;
    x.sim.sink = (struct sink){&ops, out};
    ck_assert_msg(sim_run(&x.sim, &result, &e), "%s", e.text);
    out->digest = result.digest;
    compose_release(&x);
    config_release(&c);
}

static double number_of(const struct outcome *o, const char *metric)
{
    for (uint32_t i = 0; i < o->n; i++)
        if (strcmp(o->number[i].metric, metric) == 0)
            return o->number[i].value;
    ck_abort_msg("no metric is called %s", metric);
    return (double)NAN;
}

static bool same(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return fabs(a - b) <= TOLERANCE * fmax(fabs(a), fabs(b));
}

/* ---- the cases ---- */

static char **cases;
static int n_cases;

/* What a new case is given. */
static const char *const usual[N_NUMBERS] = {
    "ttft_ms_mean",  "ttft_ms_p99",           "tpot_ms_mean",   "itl_ms_p99",       "preemptions",
    "swapped_bytes", "output_throughput_tps", "cache_hit_rate", "service_diff_max", "jain_index",
};

START_TEST(golden)
{
    const char *name = cases[_i];
    char config[512], file[512];
    struct expected x = {0};
    struct outcome o;
    path_of(config, sizeof(config), name, "config.json");
    path_of(file, sizeof(file), name, "expected.txt");
    bool known = read_expected(file, &x);
    run_config(config, &o);
    if (getenv("TANDEM_GOLDEN_UPDATE") != NULL) {
        x.digest = o.digest;
        for (uint32_t i = 0; i < N_NUMBERS; i++) {
            if (!known)
                snprintf(x.number[i].metric, sizeof(x.number[i].metric), "%s", usual[i]);
            x.number[i].value = number_of(&o, x.number[i].metric);
        }
        write_expected(file, &x);
        return;
    }
    ck_assert_msg(known, "%s is not there; make it with TANDEM_GOLDEN_UPDATE=1", file);
    ck_assert_msg(o.digest == x.digest, "%s: digest %016" PRIx64 ", expected %016" PRIx64, name,
                  o.digest, x.digest);
    for (uint32_t i = 0; i < N_NUMBERS; i++) {
        double value = number_of(&o, x.number[i].metric);
        ck_assert_msg(same(value, x.number[i].value), "%s: %s %.15g, expected %.15g", name,
                      x.number[i].metric, value, x.number[i].value);
    }
}
END_TEST

static int is_case(const struct dirent *d)
{
    char path[512];
    int n = snprintf(path, sizeof(path), ROOT "/%s/config.json", d->d_name);
    return n > 0 && (size_t)n < sizeof(path) && access(path, R_OK) == 0;
}

static void find_cases(void)
{
    struct dirent **found = NULL;
    n_cases = scandir(ROOT, &found, is_case, alphasort);
    if (n_cases <= 0) {
        fprintf(stderr, "no case in " ROOT "; run this in the root of the repository\n");
        exit(EXIT_FAILURE);
    }
    cases = mem_alloc((size_t)n_cases * sizeof(*cases));
    for (int i = 0; i < n_cases; i++) {
        cases[i] = mem_strdup(found[i]->d_name);
        free(found[i]);
    }
    free(found);
}

int main(void)
{
    find_cases();
    Suite *s = suite_create("golden runs");
    TCase *t = tcase_create("folders");
    tcase_add_loop_test(t, golden, 0, n_cases);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    for (int i = 0; i < n_cases; i++)
        mem_free(cases[i]);
    mem_free(cases);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
