/* test_profile_steps.c: `calibrate` on a folder of measured operators: the error stated for an
 * operator is that of the rows it held out. On a folder made up here, where one operator scatters
 * by a known share and the others are what the fit's terms can follow. */
#include "experiments/profile_steps.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/rng.h"

#define SCATTER 0.1

static const char *const dense[] = {"embedding",    "final_layernorm", "layernorm",
                                    "qkv_proj",     "rotary_emb",      "o_proj",
                                    "gate_up_proj", "act_fn",          "down_proj"};
#define SCATTERED "act_fn"

static char dir[64];

static FILE *create(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    return f;
}

/* us: linear in tokens, but for one that is up to SCATTER off. */
static void write_dense(void)
{
    struct rng r;
    FILE *f = create("tp1/dense.csv");
    rng_init(&r, 1, "scatter");
    fputs("layer,tokens,time_us\n", f);
    for (size_t i = 0; i < ARRAY_LEN(dense); i++)
        for (unsigned tokens = 1; tokens <= 2048; tokens += tokens < 64 ? 3 : 64) {
            double off = strcmp(dense[i], SCATTERED) == 0 ? SCATTER * (2 * rng_unit(&r) - 1) : 0;
            fprintf(f, "%s,%u,%.9g\n", dense[i], tokens, (20 + tokens / 10.0) * (1 + off));
        }
    fclose(f);
}

static void write_attention(void)
{
    static const unsigned n[] = {1, 8, 64, 256}, context[] = {16, 256, 1024, 16384};
    static const unsigned chunk[] = {1, 64, 512, 2048}, history[] = {0, 1024, 16384};
    FILE *f = create("tp1/attention.csv");
    fputs("prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n", f);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++)
            fprintf(f, "0,0,%u,%u,%.9g\n", n[i], context[k], 5 + n[i] * (double)context[k] / 1e3);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            double pairs = (double)chunk[i] * history[k] + chunk[i] * (chunk[i] + 1.0) / 2;
            fprintf(f, "%u,%u,0,0,%.9g\n", chunk[i], history[k], 5 + pairs / 1e4);
            for (size_t a = 0; a < 4; a++)
                for (size_t b = 0; b < 4; b++)
                    fprintf(f, "%u,%u,%u,%u,%.9g\n", chunk[i], history[k], n[a], context[b],
                            5 + pairs / 1e4 + n[a] * (double)context[b] / 500);
        }
    fclose(f);
}

static void write_sequences(void)
{
    FILE *f = create("tp1/per_sequence.csv");
    fputs("layer,sequences,time_us\n", f);
    for (unsigned n = 1; n <= 256; n += 5)
        fprintf(f, "lm_head,%u,%.9g\nsampler,%u,%.9g\n", n, 100 + n / 4.0, n, 30 + n / 8.0);
    fclose(f);
}

static void setup(void)
{
    char path[160];
    snprintf(dir, sizeof dir, "/tmp/test_profile_steps.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tp1", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    FILE *f = create("meta.yaml");
    fputs("profiler_version: 1\nvllm_version: 1\nhardware: RTX4090\n"
          "model: meta-llama/Llama-3.1-8B\nvariant: bf16\nskew_profile: {enabled: false}\n",
          f);
    fclose(f);
    write_dense();
    write_attention();
    write_sequences();
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const struct profile_operator *find(const struct profile_steps *p, const char *name)
{
    for (size_t i = 0; i < p->n_operators; i++)
        if (strcmp(p->operator[i].name, name) == 0)
            return &p->operator[i];
    return NULL;
}

static void read_folder(struct profile_steps *p, struct steps_file *steps)
{
    const struct profile_query q = {.path = dir, .tp = 1, .hold_out = 0.2, .seed = 1};
    struct err e = {.set = false};
    ck_assert_msg(profile_steps_read(p, steps, &q, &e), "%s", e.text);
}

START_TEST(test_operators)
{
    struct profile_steps p;
    struct steps_file steps;
    read_folder(&p, &steps);
    for (size_t i = 0; i < p.n_operators; i++) {
        const struct fit_error *f = &p.operator[i].error;
        const char *name = p.operator[i].name;
        ck_assert_msg(f->n > 0, "%s: judged on nothing", name);
        if (strcmp(name, SCATTERED) == 0) /* uniform within SCATTER: half of it on average */
            ck_assert_msg(f->mean > 0.3 * SCATTER && f->mean < 0.8 * SCATTER, "%s: %g", name,
                          f->mean);
        else if (strncmp(name, "attention", 9) != 0)
            ck_assert_msg(f->mean < 1e-3, "%s: %g", name, f->mean);
        else
            ck_assert_msg(f->mean < 0.05, "%s: %g", name, f->mean);
    }
    for (size_t i = 0; i < ARRAY_LEN(dense); i++)
        ck_assert_msg(find(&p, dense[i]) != NULL, "%s is not judged", dense[i]);
    steps_release(&steps);
}
END_TEST

START_TEST(test_steps)
{
    struct profile_steps p;
    struct steps_file steps;
    size_t of[N_REGIMES] = {0};
    read_folder(&p, &steps);
    ck_assert_str_eq(steps.model, "llama-3.1-8b");
    ck_assert_str_eq(steps.gpu, "rtx4090");
    for (size_t i = 0; i < steps.n; i++) {
        ck_assert(steps.step[i].device_ns > 0);
        of[regime_of(&steps.step[i].shape)]++;
    }
    for (enum regime r = 0; r < N_REGIMES; r++)
        ck_assert_uint_gt(of[r], 0);
    steps_release(&steps);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("profile_steps");
    TCase *t = tcase_create("folder");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_operators);
    tcase_add_test(t, test_steps);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
