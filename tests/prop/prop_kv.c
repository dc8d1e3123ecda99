/* prop_kv.c: random models, policies, budgets, pages and prompts on the CPU engine: however tokens
 * go (masked, overwritten, gathered, by whole pages), the same ones stay and the same comes out;
 * the budgets hold, what is protected is there, and the simulator counts no page less than there
 * is. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "sim/rng.h"
#include "tests/support/kv_rig.h"

#define VOCAB 40u

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

struct plan {
    struct arch arch;
    struct kv_rig_options o;
    uint32_t prompt, length, chunk, seed;
    double budget;
};

static struct plan draw(uint64_t seed)
{
    static const uint32_t groups[] = {1, 3, 4, 8}, sizes[] = {1, 3, 7, 16, 31};
    static const char *const budgets[] = {NULL, "uniform", "pyramid", "adakv", "cake"};
    struct rng g;
    uint32_t n = 0;
    rng_init(&g, seed, "kv plans");
    while (kvpolicy_at(n) != NULL)
        n++;
    uint32_t kv_heads = 1 + (uint32_t)rng_below(&g, 3), group = groups[rng_below(&g, 4)];
    struct plan p = {
        .arch = {.layers = 1 + (uint32_t)rng_below(&g, 3),
                 .hidden = 16,
                 .heads = kv_heads * group,
                 .kv_heads = kv_heads,
                 .head_dim = 2 + 2 * (uint32_t)rng_below(&g, 4),
                 .intermediate = 12,
                 .vocab = VOCAB,
                 .max_model_len = KV_RIG_MAX,
                 .rms_eps = 1e-5,
                 .rope_theta = 1e4,
                 .tied_embeddings = true},
        .o = {.policy = kvpolicy_at(rng_below(&g, n))->name,
              .budget = budgets[rng_below(&g, ARRAY_LEN(budgets))],
              .block_size = sizes[rng_below(&g, ARRAY_LEN(sizes))],
              .high_precision = true},
        .prompt = 1 + (uint32_t)rng_below(&g, 60),
        .seed = (uint32_t)rng_below(&g, 1000),
        .budget = 1 + (double)rng_below(&g, 40),
    };
    p.length = p.prompt + (uint32_t)rng_below(&g, 24);
    p.chunk = rng_below(&g, 2) ? p.prompt : 1 + (uint32_t)rng_below(&g, p.prompt);
    return p;
}

static void run(struct kv_rig *r, const struct plan *p, enum kv_mechanism how, float *logits)
{
    static const struct {
        const char *key;
        double value;
    } small[] = {{"kv.page", 4},       {"snapkv.window", 5}, {"snapkv.kernel", 3},
                 {"keydiff.block", 6}, {"lagkv.lag", 7},     {"duo.full_heads", 0.4}};
    struct kv_rig_options o = p->o;
    uint32_t token[KV_RIG_MAX];
    o.mechanism = how;
    kv_rig_init(r);
    for (size_t i = 0; i < ARRAY_LEN(small); i++)
        params_set_num(&r->params, small[i].key, PARAM_REAL, small[i].value);
    params_set_num(&r->params, "kv.budget", PARAM_REAL, p->budget + 0.5); /* no share */
    if (strcmp(o.policy, "duo") == 0) {
        params_set_num(&r->params, "kv.sink", PARAM_REAL, 2);
        params_set_num(&r->params, "kv.recent", PARAM_REAL, 9);
    }
    kv_rig_open(r, &p->arch, &o);
    kv_rig_tokens(token, p->length, VOCAB, p->seed);
    kv_rig_run(r, token, p->prompt, p->length, p->chunk, logits);
}

/* Of one layer and head: what is resident holds what is protected and keeps the budget. */
static void check_head(const struct kv_rig *r, const struct plan *p, uint32_t layer, uint32_t head,
                       const uint32_t *pos, uint32_t n)
{
    const struct kv_plan *plan = &r->rule.plan;
    uint32_t mean = kv_rule_mean(&r->rule, p->prompt), own = p->length > p->prompt;
    uint32_t budget =
        r->rule.ops->budget ? r->rule.ops->budget(r->rule.self, mean, layer, head) : mean;
    uint32_t recent = kv_rule_recent(&r->rule, budget);
    ck_assert_uint_ge(n, 1);
    if (own || recent > 0)
        ck_assert_uint_eq(pos[n - 1], p->length - 1);
    if (!plan->evicts || kv_rule_dense(&r->rule, layer) || budget == UINT32_MAX) {
        ck_assert_uint_eq(n, p->length);
        return;
    }
    for (uint32_t i = 0; i < MIN(plan->sink, n - own) && !plan->pages; i++)
        ck_assert_uint_eq(pos[i], i);
    for (uint32_t i = 0; p->o.budget == NULL && !plan->pages && i < MIN(recent, n); i++)
        ck_assert_uint_eq(pos[n - 1 - i], p->length - 1 - i);
    if (p->o.budget == NULL && plan->decodes && !plan->marks && !plan->pages)
        ck_assert_uint_le(n, MAX(budget, 1) + plan->slack);
}

static void check_same(const struct plan *p, struct kv_rig *a, struct kv_rig *b, const float *x,
                       const float *y)
{
    double diff = 0, norm = 0;
    for (uint32_t i = 0; i < p->arch.layers * p->arch.kv_heads; i++) {
        uint32_t one[KV_RIG_MAX], other[KV_RIG_MAX], layer = i / p->arch.kv_heads;
        uint32_t n = kv_rig_resident(a, layer, i % p->arch.kv_heads, one);
        ck_assert_uint_eq(n, kv_rig_resident(b, layer, i % p->arch.kv_heads, other));
        ck_assert_mem_eq(one, other, n * sizeof(*one));
        check_head(a, p, layer, i % p->arch.kv_heads, one, n);
    }
    for (uint32_t i = 0; i < (p->length - p->prompt + 1) * VOCAB; i++) {
        ck_assert(!isnan(x[i]) && !isnan(y[i]));
        diff += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        norm += (double)x[i] * (double)x[i];
    }
    ck_assert_double_le(sqrt(diff / norm), 1e-6);
}

/* What the simulator counts at this length covers what the engine has, where the budgets do not
 * depend on what was measured. */
static void check_counted(struct kv_rig *r, const struct plan *p)
{
    uint64_t pages = 0, tokens = 0;
    if (p->o.budget != NULL || p->length == p->prompt)
        return;
    for (uint32_t i = 0; i < p->arch.layers * p->arch.kv_heads; i++) {
        struct kv_look look;
        device_cpu.kv_look(r->device, 0, i / p->arch.kv_heads, i % p->arch.kv_heads, &look);
        pages += look.pages;
        tokens += look.resident;
    }
    uint64_t units = kv_rule_units(&r->rule, p->prompt, p->length);
    ck_assert_msg(pages <= units && tokens <= units * p->o.block_size,
                  "%s: %llu pages, %llu tokens; counted %llu", p->o.policy,
                  (unsigned long long)pages, (unsigned long long)tokens, (unsigned long long)units);
}

START_TEST(mechanisms_agree)
{
    static const enum kv_mechanism others[] = {KV_AUTO, KV_REUSE, KV_GATHER, KV_FREE_PAGES};
    static float want[KV_RIG_MAX * VOCAB], got[KV_RIG_MAX * VOCAB];
    uint64_t cut = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct plan p = draw(seed);
        struct kv_rig masked, other;
        uint32_t pos[KV_RIG_MAX];
        if (strcmp(p.o.policy, "paged_eviction") == 0)
            continue; /* which tokens share a page depends on where they are */
        run(&masked, &p, KV_MASK, want);
        cut += kv_rig_resident(&masked, 0, 0, pos) < p.length;
        run(&other, &p, others[seed % ARRAY_LEN(others)], got);
        check_same(&p, &masked, &other, want, got);
        if (seed % ARRAY_LEN(others) == 0)
            check_counted(&other, &p);
        kv_rig_close(&masked);
        kv_rig_close(&other);
    }
    printf("kv: %llu of %llu lost tokens\n", (unsigned long long)cut, (unsigned long long)runs());
    ck_assert_uint_gt(cut, runs() / 4);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kv");
    TCase *t = tcase_create("kv");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, mechanisms_agree);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
