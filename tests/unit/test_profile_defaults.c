/* test_profile_defaults.c: what --profile says of the model, the GPU and the backend, and what may
 * not disagree with it. Only meta.yaml is read for that. */
#include "backend/describe.h"
#include "experiments/profile_defaults.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], meta[96];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/test_profile_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(meta, sizeof meta, "%s/meta.yaml", folder);
}

static void teardown(void)
{
    unlink(meta);
    rmdir(folder);
}

#define KNOWN "model: meta-llama/Llama-3.1-8B\nhardware: RTXPRO6000\nvariant: bf16\n"
#define OTHER_MODEL "model: nobody/none\nhardware: RTXPRO6000\nvariant: bf16\n"
#define OTHER_GPU "model: Qwen/Qwen3-32B\nhardware: ABACUS\nvariant: bf16\n"
#define OTHER_TYPE "model: Qwen/Qwen3-32B\nhardware: H100\nvariant: fp8\n"

/* `set`: "key=value", or NULL. Either a message, or what model, gpu and backend come to. */
static const struct {
    const char *meta, *set, *message, *model, *gpu, *backend;
} cases[] = {
    {KNOWN, NULL, NULL, "llama-3.1-8b", "rtxpro6000", "table"},
    {KNOWN, "backend=table", NULL, "llama-3.1-8b", "rtxpro6000", "table"},
    {KNOWN, "model=Llama-3.1-8B", NULL, "Llama-3.1-8B", "rtxpro6000", "table"},
    {KNOWN, "gpu=NVIDIA RTX PRO 6000 Blackwell Server Edition", NULL, "llama-3.1-8b",
     "NVIDIA RTX PRO 6000 Blackwell Server Edition", "table"},
    {KNOWN, "backend=roofline", "profile: backend roofline does not read ", NULL, NULL, NULL},
    {KNOWN, "model=qwen3-32b", "was measured on model meta-llama/Llama-3.1-8B, the run is of ",
     NULL, NULL, NULL},
    {KNOWN, "gpu=h100", "was measured on gpu RTXPRO6000, the run is of h100-sxm; leave --gpu out",
     NULL, NULL, NULL},
    {OTHER_MODEL, NULL,
     "was measured on model nobody/none, which is no preset; describe it with "
     "--model FILE",
     NULL, NULL, NULL},
    {OTHER_GPU, NULL, "was measured on gpu ABACUS, which is no preset; describe it with --gpu FILE",
     NULL, NULL, NULL},
    {OTHER_TYPE, NULL, "was measured with fp8, dtype is bfloat16; set dtype=fp8", NULL, NULL, NULL},
    {"model: a\nhardware: b\n", NULL, "/meta.yaml:1: variant: is missing; add it", NULL, NULL,
     NULL},
};

/* As `run` goes about it: defaults first, then the descriptions are compared. */
static bool resolve(struct config *c, const char *set, struct err *e)
{
    struct model_desc m;
    struct gpu_desc g;
    char key[64] = "";
    if (set) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(set, "="), set);
        if (!config_set(c, key, strchr(set, '=') + 1, e))
            return false;
    }
    if (!config_set(c, "profile", folder, e) || !profile_defaults(c, e))
        return false;
    config_resolve(c);
    return describe_model(config_str(c, "model"), &m, e) &&
           describe_gpu(config_str(c, "gpu"), &g, e) && profile_agrees(c, &m, &g, e);
}

START_TEST(test_defaults)
{
    struct config c;
    struct err e = {.set = false};
    FILE *f = fopen(meta, "w");
    ck_assert_ptr_nonnull(f);
    fputs(cases[_i].meta, f);
    fclose(f);
    config_init(&c);
    bool ok = resolve(&c, cases[_i].set, &e);
    if (cases[_i].message) {
        ck_assert(!ok);
        ck_assert_msg(strstr(e.text, cases[_i].message) != NULL, "\"%s\" in: %s", cases[_i].message,
                      e.text);
    } else {
        ck_assert_msg(ok, "%s", e.text);
        ck_assert_str_eq(config_str(&c, "model"), cases[_i].model);
        ck_assert_str_eq(config_str(&c, "gpu"), cases[_i].gpu);
        ck_assert_str_eq(config_str(&c, "backend"), cases[_i].backend);
    }
    config_release(&c);
}
END_TEST

START_TEST(test_no_profile)
{
    struct config c;
    struct err e = {.set = false};
    config_init(&c);
    ck_assert(profile_defaults(&c, &e));
    config_resolve(&c);
    ck_assert_str_eq(config_str(&c, "backend"), "roofline");
    ck_assert_str_eq(config_str(&c, "gpu"), "h200");
    ck_assert(profile_agrees(&c, NULL, NULL, &e));
    ck_assert(config_set(&c, "profile", "/nowhere/at/all", &e));
    ck_assert(!profile_defaults(&c, &e));
    ck_assert_str_eq(e.text, "profile: /nowhere/at/all: No such file or directory; give the folder "
                             "of a profile");
    config_release(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("profile_defaults");
    TCase *tc = tcase_create("profile_defaults");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_defaults, 0, ARRAY_LEN(cases));
    tcase_add_test(tc, test_no_profile);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
