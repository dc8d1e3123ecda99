/* test_kv_rule.c: budgets, choices and costs of KV policies, by numbers worked out by hand, and the
 * files that tables of heads come from. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policies/registry.h"
#include "sim/kvheads.h"
#include "sim/kvrule.h"
#include "sim/rng.h"

/* SmolLM2-135M and Llama-3.1-8B in bf16 (eviction.md 0). */
static const struct kv_shape small = {30, 3, 16, 3, 256}, large = {32, 8, 16, 4, 512};

static struct params params;
static struct arena arena;

static void setup(void)
{
    params_init(&params);
    arena_init(&arena);
}

static void teardown(void)
{
    params_release(&params);
    arena_release(&arena);
}

static struct kv_rule open_rule(const char *policy, const char *budget, const struct kv_shape *s)
{
    struct kv_rule r;
    struct err e = {0};
    struct kv_rule_config c = {kvpolicy_find(policy), budget ? kvbudget_find(budget) : NULL,
                               &params, *s, 1};
    ck_assert_msg(kv_rule_open(&r, &arena, &c, &e), "%s", e.text);
    return r;
}

/* ---- choice ---- */

START_TEST(the_highest_stay_and_of_equals_the_first)
{
    static const float score[] = {1, 5, 5, (float)-INFINITY, 3, (float)INFINITY, 5};
    static const bool want[4][7] = {
        {0}, {0, 0, 0, 0, 0, 1, 0}, {0, 1, 0, 0, 0, 1, 0}, {0, 1, 1, 0, 0, 1, 0}};
    bool kept[7];
    uint32_t order[7];
    for (uint32_t keep = 0; keep < 4; keep++) {
        ck_assert_uint_eq(kv_choose(score, 7, keep, kept, order), keep);
        ck_assert_mem_eq(kept, want[keep], sizeof(kept));
    }
    ck_assert_uint_eq(kv_choose(score, 7, 100, kept, order), 6); /* -INFINITY never */
    ck_assert(!kept[3]);
}
END_TEST

START_TEST(shares_add_up)
{
    static const double want[] = {1.5, 1.25, 0.25, 9};
    uint32_t out[4], order[4];
    kv_share_out(want, 4, 12, 0, 100, out, order);
    ck_assert(out[0] == 2 && out[1] == 1 && out[2] == 0 && out[3] == 9);
    kv_share_out(want, 4, 12, 1, 5, out, order);
    ck_assert(out[0] + out[1] + out[2] + out[3] == 12 && out[3] == 5 && out[2] >= 1);
    struct rng g;
    rng_init(&g, 1, "shares");
    for (uint32_t run = 0; run < 1000; run++) {
        double w[16];
        uint32_t got[16], o[16], n = 1 + (uint32_t)rng_below(&g, 16);
        uint32_t least = (uint32_t)rng_below(&g, 5), most = least + (uint32_t)rng_below(&g, 50);
        uint64_t total = (uint64_t)n * least + rng_below(&g, (uint64_t)n * (most - least) + 1);
        uint64_t sum = 0;
        for (uint32_t i = 0; i < n; i++)
            w[i] = rng_unit(&g) * 60;
        kv_share_out(w, n, total, least, most, got, o);
        for (uint32_t i = 0; i < n; i++) {
            ck_assert(got[i] >= least && got[i] <= most);
            sum += got[i];
        }
        ck_assert_uint_eq(sum, total);
    }
}
END_TEST

/* ---- budgets ---- */

START_TEST(pyramid_falls_linearly)
{
    params_set_num(&params, "kv.budget", PARAM_REAL, 1024);
    params_set_num(&params, "snapkv.window", PARAM_REAL, 24);
    struct kv_rule r = open_rule("snapkv", "pyramid", &large);
    uint32_t tokens[256], sum = 0;
    kv_rule_budgets(&r, 32768, NULL, tokens);
    for (uint32_t i = 0; i < 256; i++)
        sum += tokens[i];
    ck_assert_uint_eq(sum, 1024 * 256);
    ck_assert_uint_eq(tokens[0], 24 + 1950); /* 2 * 1000 - 1000 / 20, and what is protected */
    ck_assert_uint_eq(tokens[255], 24 + 50);
    for (uint32_t i = 8; i < 256; i++)
        ck_assert_uint_le(tokens[i], tokens[i - 8]);
}
END_TEST

START_TEST(shares_of_the_prompt)
{
    struct kv_rule r = open_rule("streaming", NULL, &small);
    ck_assert_uint_eq(kv_rule_mean(&r, 1000), 200);
    ck_assert_uint_eq(kv_rule_mean(&r, 1), 1);
    params_set_num(&params, "kv.budget", PARAM_REAL, 77);
    r = open_rule("streaming", NULL, &small);
    ck_assert_uint_eq(kv_rule_mean(&r, 1000), 77);
}
END_TEST

/* ---- what it costs: eviction.md section 8, MiB resident and read ----
 *
 * For quest what section 4 says, read = 2 Hkv T b + (N - 2 Hkv)(ceil(T / S) + B) b, comes to: the
 * table of section 8 is 2 % above it. Metadata is read, and not counted as resident. */

static const struct {
    const char *policy;
    const struct kv_shape *shape;
    uint32_t prompt, length;
    double budget, resident_mib, read_mib;
} worked[] = {
    {"full", &small, 8000, 8192, 1024, 180, 180},
    {"streaming", &small, 8000, 8192, 1024, 22.5, 22.5},
    {"tova", &small, 8000, 8192, 1024, 22.5, 22.5 * (1 + 24.0 / 256)},
    {"h2o", &small, 8000, 8192, 1024, 22.5, 25.3},
    {"snapkv", &small, 7936, 8192, 1024, 28.1, 28.1},
    {"quest", &small, 8000, 8192, 1024, 180, 43.5},
    {"full", &large, 32000, 32768, 2048, 4096, 4096},
    {"h2o", &large, 32000, 32768, 2048, 256, 276},
    {"quest", &large, 32000, 32768, 2048, 4096, 736},
    {"duo", &large, 32000, 32768, 2048, 2068, 2068},
    {"roco", &small, 8000, 8192, 1024, 22.5, 26.0},
};

START_TEST(costs_as_worked_out)
{
    const struct kv_shape *s = worked[_i].shape;
    params_set_num(&params, "kv.budget", PARAM_REAL, worked[_i].budget);
    struct kv_rule r = open_rule(worked[_i].policy, NULL, s);
    double unit = 16.0 * s->token_bytes / 1048576, all = (double)s->layers * s->kv_heads;
    double held = (double)kv_rule_units(&r, worked[_i].prompt, worked[_i].length) * unit;
    double read = kv_rule_read_tokens(&r, worked[_i].prompt, worked[_i].length) * all *
                  s->token_bytes / 1048576;
    ck_assert_double_eq_tol(held, worked[_i].resident_mib, 0.005 * held);
    ck_assert_double_eq_tol(read, worked[_i].read_mib, 0.005 * read);
}
END_TEST

/* ---- files of heads ---- */

static const struct {
    const char *text, *says; /* says NULL: fine */
} files[] = {
    {"# heads\n0 0 1\n0 1 0.5\n\n1 0 0 # none\n1 1 2\n", NULL},
    {"0 0 1\n0 1 1\n1 0 1\n", "has no line for layer 1, head 1"},
    {"0 0 1\n0 0 1\n", ":2: is no line"},
    {"0 0 -1\n", ":1: is no line"},
    {"0 0 nan\n", ":1: is no line"},
    {"2 0 1\n", ":1: is no line"},
    {"0 2 1\n", ":1: is no line"},
    {"0 0\n", ":1: is no line"},
    {"0 0 1 1\n", ":1: is no line"},
    {"zero 0 1\n", ":1: is no line"},
    {"", "has no line for layer 0, head 0"},
};

START_TEST(files_of_heads)
{
    char path[] = "/tmp/kv_headsXXXXXX";
    int fd = mkstemp(path);
    double value[4];
    struct err e = {0};
    ck_assert_int_ge(fd, 0);
    FILE *f = fdopen(fd, "w");
    fputs(files[_i].text, f);
    fclose(f);
    bool ok = kv_heads_read(path, 2, 2, value, &e);
    unlink(path);
    ck_assert_int_eq(ok, files[_i].says == NULL);
    if (ok)
        ck_assert(value[0] == 1 && value[1] == 0.5 && value[2] == 0 && value[3] == 2);
    else
        ck_assert_msg(strstr(e.text, files[_i].says), "%s", e.text);
}
END_TEST

START_TEST(heads_of_a_file_are_duos)
{
    char path[] = "/tmp/kv_headsXXXXXX";
    FILE *f = fdopen(mkstemp(path), "w");
    struct kv_shape shape = {2, 2, 16, 1, 0};
    fputs("0 0 1\n0 1 4\n1 0 3\n1 1 2\n", f);
    fclose(f);
    params_set_str(&params, "kv.heads", path);
    struct kv_rule r = open_rule("duo", NULL, &shape);
    uint32_t tokens[4];
    kv_rule_budgets(&r, 1000, NULL, tokens);
    ck_assert(tokens[0] == 320 && tokens[1] == UINT32_MAX);
    ck_assert(tokens[2] == UINT32_MAX && tokens[3] == 320);
    params_set_num(&params, "kv.budget", PARAM_REAL, 100);
    r = open_rule("streaming", "table", &shape);
    kv_rule_budgets(&r, 1000, NULL, tokens);
    unlink(path);
    ck_assert(tokens[0] == 40 && tokens[1] == 160 && tokens[2] == 120 && tokens[3] == 80);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kv rule");
    TCase *t = tcase_create("kv rule");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_highest_stay_and_of_equals_the_first);
    tcase_add_test(t, shares_add_up);
    tcase_add_test(t, pyramid_falls_linearly);
    tcase_add_test(t, shares_of_the_prompt);
    tcase_add_loop_test(t, costs_as_worked_out, 0, (int)ARRAY_LEN(worked));
    tcase_add_loop_test(t, files_of_heads, 0, (int)ARRAY_LEN(files));
    tcase_add_test(t, heads_of_a_file_are_duos);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
