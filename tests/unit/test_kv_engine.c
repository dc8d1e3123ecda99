/* test_kv_engine.c: KV policies on the CPU engine: what follows from their definitions (eviction.md
 * 10.3), and the statistics they go by against the formulas. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "policies/registry.h"
#include "sim/rng.h"
#include "tests/support/kv_rig.h"
#include "tests/support/naive_model.h"

#define PROMPT 61u
#define LENGTH 93u
#define VOCAB 50u
#define OUT ((LENGTH - PROMPT + 1) * VOCAB)

/* ---- helpers ---- */

/* Query heads of a KV head: 1, 3, 4, 8. */
static const struct arch archs[] = {
    {.layers = 3, .hidden = 24, .heads = 2, .kv_heads = 2, .head_dim = 12, .intermediate = 20},
    {.layers = 3, .hidden = 36, .heads = 9, .kv_heads = 3, .head_dim = 6, .intermediate = 20},
    {.layers = 2, .hidden = 35, .heads = 8, .kv_heads = 2, .head_dim = 10, .intermediate = 20},
    {.layers = 3, .hidden = 32, .heads = 8, .kv_heads = 1, .head_dim = 16, .intermediate = 20},
};
static const uint32_t sizes[] = {1, 3, 7, 16, 31};

static struct arch arch_of(int i)
{
    struct arch a = archs[i];
    a.vocab = VOCAB;
    a.max_model_len = KV_RIG_MAX;
    a.rms_eps = 1e-5;
    a.rope_theta = 10000;
    a.tied_embeddings = true;
    return a;
}

struct setting {
    const char *key;
    double value;
};

/* Opens a rig and runs the usual tokens: prompt in one chunk or more. */
static void run(struct kv_rig *r, const struct arch *a, const struct kv_rig_options *o,
                const struct setting *set, uint32_t chunk, float *logits)
{
    uint32_t token[LENGTH];
    kv_rig_init(r);
    for (; set && set->key; set++)
        params_set_num(&r->params, set->key, PARAM_REAL, set->value);
    kv_rig_open(r, a, o);
    kv_rig_tokens(token, LENGTH, VOCAB, 3);
    kv_rig_run(r, token, PROMPT, LENGTH, chunk, logits);
}

static void outcome(const struct arch *a, const struct kv_rig_options *o, const struct setting *set,
                    float *logits)
{
    struct kv_rig r;
    run(&r, a, o, set, PROMPT, logits);
    kv_rig_close(&r);
}

static bool same_bits(const float *a, const float *b)
{
    for (uint32_t i = 0; i < OUT; i++)
        ck_assert_msg(!isnan(a[i]) && !isnan(b[i]), "logit %u", i);
    return memcmp(a, b, OUT * sizeof(*a)) == 0;
}

static double gap(const float *a, const float *b)
{
    double diff = 0, norm = 0;
    for (uint32_t i = 0; i < OUT; i++) {
        ck_assert_msg(!isnan(a[i]) && !isnan(b[i]), "logit %u", i);
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / norm);
}

/* ---- nothing goes where there is room ---- */

/* Whole blocks, without any of this. */
static void plain(const struct arch *a, bool high_precision, float *logits)
{
    struct weights w;
    struct err e = {0};
    struct device_config c = {.weights = &w,
                              .max_seqs = 1,
                              .max_tokens = PROMPT,
                              .block_size = 16,
                              .n_blocks = 6,
                              .max_context = LENGTH,
                              .threads = 1,
                              .high_precision = high_precision};
    uint32_t token[LENGTH], block[6] = {5, 1, 4, 0, 3, 2};
    weights_random(&w, a, 7);
    weights_draw(&w);
    void *device = device_cpu.open(&c, &e);
    ck_assert_ptr_nonnull(device);
    kv_rig_tokens(token, LENGTH, VOCAB, 3);
    for (uint32_t at = 0; at < LENGTH; at = at ? at + 1 : PROMPT) {
        uint32_t n = at ? 1 : PROMPT, q_start[] = {0, n}, table_start[] = {0, 6}, next;
        bool emits = true;
        struct forward f = {1, at > 0, n, token + at, q_start, &at, table_start, block, &emits};
        struct forward_result res = {.next_token = &next, .logits = logits};
        ck_assert(device_cpu.forward(device, &f, &res, &e));
        logits += VOCAB;
    }
    device_cpu.close(device);
    weights_release(&w);
}

START_TEST(with_room_all_are_full)
{
    struct arch a = arch_of(_i);
    static float want[OUT], got[OUT];
    static const struct setting roomy[] = {{"kv.budget", 1000}, {"duo.full_heads", 1}, {0}};
    const struct kvpolicy_ops *ops;
    for (int hp = 0; hp < 2; hp++) {
        plain(&a, hp, want);
        for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++)
            for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
                outcome(&a,
                        &(struct kv_rig_options){
                            .policy = ops->name, .block_size = sizes[k], .high_precision = hp},
                        roomy, got);
                ck_assert_msg(same_bits(got, want), "%s, pages of %u", ops->name, sizes[k]);
            }
    }
}
END_TEST

START_TEST(threads_change_nothing)
{
    struct arch a = arch_of(1);
    static float one[OUT], four[OUT];
    const struct kvpolicy_ops *ops;
    for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++) {
        struct kv_rig_options o = {.policy = ops->name, .block_size = 7, .threads = 1};
        outcome(&a, &o, NULL, one);
        o.threads = 4;
        outcome(&a, &o, NULL, four);
        ck_assert_msg(same_bits(one, four), "%s", ops->name);
    }
}
END_TEST

/* Two sequences in the same passes; logits[2][OUT]. */
static void run_both(struct kv_rig *r, uint32_t token[2][LENGTH], float *logits)
{
    static const uint32_t sequence[] = {0, 1}, prompt[] = {PROMPT, PROMPT}, no_blocks[3] = {0};
    static const bool emits[] = {true, true};
    for (uint32_t at = 0, out = 0; at < LENGTH; at = at ? at + 1 : PROMPT, out += VOCAB) {
        uint32_t n = at ? 1 : PROMPT, q_start[] = {0, n, 2 * n}, context[] = {at, at}, next[2];
        uint32_t both[2 * PROMPT];
        float got[2 * VOCAB];
        memcpy(both, token[0] + at, n * sizeof(*both));
        memcpy(both + n, token[1] + at, n * sizeof(*both));
        struct forward f = {.n_seqs = 2,
                            .n_decode = at ? 2 : 0,
                            .n_tokens = 2 * n,
                            .token = both,
                            .q_start = q_start,
                            .context = context,
                            .table_start = no_blocks,
                            .emits = emits};
        struct forward_result res = {.next_token = next, .logits = got};
        struct kv_pass kv = {sequence, prompt};
        struct err e = {0};
        ck_assert_msg(device_cpu.kv_forward(r->device, &f, &kv, &res, &e), "%s", e.text);
        memcpy(logits + out, got, VOCAB * sizeof(*got));
        memcpy(logits + OUT + out, got + VOCAB, VOCAB * sizeof(*got));
    }
}

START_TEST(other_sequences_change_nothing)
{
    struct arch a = arch_of(2);
    static float alone[2 * OUT], both[2 * OUT];
    uint32_t token[2][LENGTH];
    const struct kvpolicy_ops *ops;
    kv_rig_tokens(token[0], LENGTH, VOCAB, 3);
    kv_rig_tokens(token[1], LENGTH, VOCAB, 8);
    for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++) {
        struct kv_rig r;
        if (strcmp(ops->name, "random") == 0)
            continue; /* lots of a sequence are its own */
        kv_rig_init(&r);
        params_set_num(&r.params, "kv.budget", PARAM_REAL, 20);
        kv_rig_open(&r, &a, &(struct kv_rig_options){.policy = ops->name, .block_size = 3});
        for (size_t k = 0; k < 2; k++)
            kv_rig_run(&r, token[k], PROMPT, LENGTH, PROMPT, alone + k * OUT);
        device_cpu.kv_forget(r.device, 0);
        run_both(&r, token, both);
        ck_assert_msg(same_bits(alone, both) && same_bits(alone + OUT, both + OUT), "%s",
                      ops->name);
        kv_rig_close(&r);
    }
}
END_TEST

/* ---- one policy is another ---- */

struct twin {
    const char *policy, *other;
    struct setting set[5], other_set[5];
    int arch; /* -1: any */
};

static const struct twin twins[] = {
    {"quest",
     "oracle_topk",
     {{"kv.budget", 20}, {"kv.page", 1}, {"kv.skip_layers", 0}, {0}},
     {{"kv.budget", 20}, {0}},
     0},
    {"quest", "full", {{"kv.budget", 98}, {"kv.page", 7}, {0}}, {{0}}, -1},
    {"h2o",
     "streaming",
     {{"kv.budget", 20}, {"kv.recent", 20}, {0}},
     {{"kv.budget", 20}, {"kv.sink", 0}, {0}},
     -1},
    {"tova",
     "streaming",
     {{"kv.budget", 20}, {"kv.recent", 20}, {0}},
     {{"kv.budget", 20}, {"kv.sink", 0}, {0}},
     -1},
    {"duo", "full", {{"duo.full_heads", 1}, {"kv.sink", 2}, {"kv.recent", 9}, {0}}, {{0}}, -1},
    {"duo",
     "streaming",
     {{"duo.full_heads", 0}, {"kv.sink", 2}, {"kv.recent", 9}, {0}},
     {{"kv.budget", 11}, {"kv.sink", 2}, {0}},
     -1},
    {"lagkv", "full", {{"lagkv.lag", 45}, {"kv.budget", 1}, {0}}, {{0}}, -1},
    {"h2o", "full", {{"kv.budget", 20}, {"kv.skip_layers", 9}, {0}}, {{0}}, -1},
};

START_TEST(twins_are_the_same)
{
    const struct twin *t = &twins[_i];
    static float one[OUT], other[OUT];
    for (int i = 0; i < (int)ARRAY_LEN(archs); i++) {
        struct arch a = arch_of(i);
        if (t->arch >= 0 && t->arch != i)
            continue;
        outcome(&a, &(struct kv_rig_options){.policy = t->policy, .block_size = 7}, t->set, one);
        outcome(&a, &(struct kv_rig_options){.policy = t->other, .block_size = 7}, t->other_set,
                other);
        ck_assert_msg(same_bits(one, other), "%s, %s, heads %d: %g", t->policy, t->other, i,
                      gap(one, other));
    }
}
END_TEST

/* What loses something is not the full cache by chance. */
START_TEST(lossy_ones_lose)
{
    struct arch a = arch_of(1);
    static float full[OUT], lossy[OUT];
    const struct kvpolicy_ops *ops;
    static const struct setting tight[] = {{"kv.budget", 12},
                                           {"kv.sink", 1},
                                           {"duo.full_heads", 0.3},
                                           {"lagkv.lag", 8},
                                           {"keydiff.block", 4}};
    struct setting set[ARRAY_LEN(tight) + 2] = {{0}};
    memcpy(set, tight, sizeof(tight));
    plain(&a, false, full);
    for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++) {
        struct kv_rig_options o = {.policy = ops->name, .block_size = 7};
        set[ARRAY_LEN(tight)] =
            strcmp(ops->name, "duo") == 0 ? (struct setting){"kv.recent", 8} : (struct setting){0};
        outcome(&a, &o, set, lossy);
        ck_assert_msg(ops->lossless == same_bits(full, lossy), "%s", ops->name);
    }
}
END_TEST

/* ---- budgets ---- */

START_TEST(budgets_that_come_to_uniform)
{
    static const struct {
        const char *budget, *key;
    } flat[] = {{"uniform", "pyramid.beta"}, {"pyramid", "pyramid.beta"}, {"adakv", "adakv.alpha"}};
    static float want[OUT], got[OUT];
    for (int i = 0; i < (int)ARRAY_LEN(archs); i++)
        for (size_t k = 0; k < ARRAY_LEN(flat); k++) {
            struct arch a = arch_of(i);
            const struct setting set[] = {
                {flat[k].key, 1}, {"kv.budget", 24}, {"snapkv.window", 8}, {0}};
            struct kv_rig_options o = {.policy = "snapkv", .block_size = 3};
            outcome(&a, &o, set, want);
            o.budget = flat[k].budget;
            outcome(&a, &o, set, got);
            ck_assert_msg(same_bits(want, got), "%s", flat[k].budget);
        }
}
END_TEST

/* As the engine has cut the prompt: no more and no less than the mean comes to. */
START_TEST(budgets_add_up)
{
    static const char *const budgets[] = {"uniform", "pyramid", "adakv", "cake"};
    static const char *const policies[] = {"snapkv", "h2o", "random", "streaming"};
    static const struct setting set[] = {{"kv.budget", 24}, {"snapkv.window", 8}, {0}};
    for (size_t k = 0; k < ARRAY_LEN(budgets) * ARRAY_LEN(policies); k++) {
        struct arch a = arch_of((int)(k % ARRAY_LEN(archs)));
        struct kv_rig_options o = {.policy = policies[k / ARRAY_LEN(budgets)],
                                   .budget = budgets[k % ARRAY_LEN(budgets)],
                                   .block_size = 3};
        uint32_t token[PROMPT], pos[KV_RIG_MAX], sum = 0;
        float logits[VOCAB];
        struct kv_rig r;
        kv_rig_init(&r);
        for (const struct setting *s = set; s->key; s++)
            params_set_num(&r.params, s->key, PARAM_REAL, s->value);
        kv_rig_open(&r, &a, &o);
        kv_rig_tokens(token, PROMPT, VOCAB, 3);
        kv_rig_run(&r, token, PROMPT, PROMPT, PROMPT, logits);
        for (uint32_t i = 0; i < a.layers * a.kv_heads; i++)
            sum += kv_rig_resident(&r, i / a.kv_heads, i % a.kv_heads, pos);
        ck_assert_msg(sum == 24 * a.layers * a.kv_heads, "%s, %s: %u tokens", o.policy, o.budget,
                      sum);
        kv_rig_close(&r);
    }
}
END_TEST

/* ---- statistics against the formulas ---- */

START_TEST(sums_are_those_of_the_formulas)
{
    struct arch a = arch_of(_i);
    static const uint32_t chunks[] = {PROMPT, 17, 1};
    size_t n_heads = (size_t)a.layers * a.kv_heads;
    double *want = calloc(n_heads * LENGTH, sizeof(*want)), *got = calloc(n_heads * LENGTH, 8);
    double *last = calloc(n_heads * LENGTH, sizeof(*last));
    double *logits = calloc((size_t)LENGTH * VOCAB, sizeof(*logits));
    static float out[OUT];
    uint32_t token[LENGTH];
    kv_rig_tokens(token, LENGTH, VOCAB, 3);
    for (size_t c = 0; c < ARRAY_LEN(chunks); c++) {
        struct kv_rig r;
        run(&r, &a,
            &(struct kv_rig_options){.policy = "h2o", .block_size = 7, .high_precision = true},
            (const struct setting[]){{"kv.budget", 1000}, {0}}, chunks[c], out);
        const struct kv_store *s = ((struct cpu *)r.device)->store;
        if (c == 0)
            naive_observe(&r.w, token, LENGTH, logits, want, last);
        for (size_t k = 0; k < n_heads; k++) {
            const struct kv_places *p = &s->sequence[0].places[k];
            double total = 0;
            for (uint32_t i = 0; i < LENGTH; i++) {
                double x = p->sum[KV_SUM_COL][i];
                ck_assert_uint_eq(p->pos[i], i); /* nothing went */
                ck_assert_double_le(fabs(x - want[k * LENGTH + i]), 1e-9 * LENGTH);
                if (c > 0)
                    ck_assert(memcmp(&x, &got[k * LENGTH + i], sizeof(x)) == 0);
                got[k * LENGTH + i] = x;
                total += x;
            }
            ck_assert_double_le(fabs(total - (double)LENGTH * s->group), 1e-9 * LENGTH);
        }
        kv_rig_close(&r);
    }
    free(want);
    free(got);
    free(last);
    free(logits);
}
END_TEST

/* Of the prompt, h2o without recent tokens keeps the largest column sums, tova those that the mean
 * of the layer's last row favours. */
START_TEST(what_stays_is_what_the_formulas_say)
{
    struct arch a = arch_of(_i);
    const uint32_t keep = 13;
    size_t n_heads = (size_t)a.layers * a.kv_heads;
    double *sum = calloc(n_heads * PROMPT, sizeof(*sum));
    double *last = calloc(n_heads * PROMPT, sizeof(*last));
    double *logits = calloc((size_t)PROMPT * VOCAB, sizeof(*logits));
    for (int tova = 0; tova < 2; tova++) {
        struct kv_rig r;
        uint32_t token[PROMPT], pos[KV_RIG_MAX], order[PROMPT];
        float out[VOCAB], score[PROMPT];
        bool kept[PROMPT];
        kv_rig_init(&r);
        params_set_num(&r.params, "kv.budget", PARAM_REAL, keep);
        params_set_num(&r.params, "kv.recent", PARAM_REAL, 0);
        kv_rig_open(&r, &a,
                    &(struct kv_rig_options){
                        .policy = tova ? "tova" : "h2o", .block_size = 3, .high_precision = true});
        kv_rig_tokens(token, PROMPT, VOCAB, 5);
        kv_rig_run(&r, token, PROMPT, PROMPT, 20, out);
        memset(sum, 0, n_heads * PROMPT * sizeof(*sum));
        naive_observe(&r.w, token, PROMPT, logits, sum, last);
        for (uint32_t k = 0; k < n_heads; k++) {
            uint32_t first = k / a.kv_heads * a.kv_heads, n;
            for (uint32_t i = 0; i < PROMPT; i++) {
                double x = tova ? 0 : sum[k * PROMPT + i];
                for (uint32_t h = 0; tova && h < a.kv_heads; h++)
                    x += last[(first + h) * PROMPT + i];
                score[i] = (float)x;
            }
            (void)kv_choose(score, PROMPT, keep, kept, order);
            ck_assert_uint_eq(kv_rig_resident(&r, k / a.kv_heads, k % a.kv_heads, pos), keep);
            n = 0;
            for (uint32_t i = 0; i < PROMPT; i++)
                if (kept[i])
                    ck_assert_uint_eq(pos[n++], i);
        }
        kv_rig_close(&r);
    }
    free(sum);
    free(last);
    free(logits);
}
END_TEST

/* ---- the error of a subset, exactly ---- */

/* o_policy - o_full = (1 - recall) * (mean over what is read - mean over what is not), means by the
 * softmax over each. */
START_TEST(error_of_a_subset)
{
    struct arch a = arch_of(_i);
    struct params params;
    struct arena arena;
    struct err e = {0};
    struct kv_rule rule;
    uint32_t group = a.heads / a.kv_heads, d = a.head_dim, n = 41, place;
    a.layers = a.kv_heads = 1;
    a.heads = group;
    params_init(&params);
    arena_init(&arena);
    struct kv_rule_config c = {kvpolicy_find("streaming"), NULL, &params, {1, 1, 7, group, 0}, 1};
    ck_assert(kv_rule_open(&rule, &arena, &c, &e));
    struct kv_config kv = {.rule = &rule, .n_pages = 20, .n_sequences = 1, .mechanism = KV_MASK};
    struct kv_store *s = kv_store_open(&kv, &a, 64, sizeof(double));
    struct kv_places *p = kv_places_at(&s->sequence[0], s, 0, 0);
    struct rng g;
    double q[8 * 16], read[8 * 16], full[8 * 16], weights[8 * 64], weights2[8 * 64], room[8 * 16];
    uint32_t all[64], some[64], order[64];
    float small[64];
    bool kept[64];
    struct kv_scratch t = {all, some, order, weights, weights2, room, small, small, small, kept};
    rng_init(&g, (uint64_t)_i, "subset");
    for (uint32_t i = 0; i < n; i++) {
        ck_assert(kv_places_add(s, p, i, &place));
        for (uint32_t part = 0; part < 2; part++)
            for (uint32_t k = 0; k < d; k++)
                ((double *)s->kv)[kv_place_offset(s, p, place, part) + k] = rng_unit(&g) * 6 - 3;
    }
    for (uint32_t i = 0; i < group * d; i++)
        q[i] = rng_unit(&g) * 2 - 1;
    s->sequence[0].prompt = n;
    attend_f64(s, &s->sequence[0], 0, 0, full, q, 1, n - 1, &t);
    for (uint32_t i = 0; i < n; i++)
        p->masked[i] = rng_below(&g, 3) == 0;
    attend_f64(s, &s->sequence[0], 0, 0, read, q, 1, n - 1, &t);
    for (uint32_t h = 0; h < group; h++) {
        double mass[2] = {0}, mean[2][16] = {{0}};
        for (uint32_t i = 0; i < n; i++) {
            const double *key = (double *)s->kv + kv_place_offset(s, p, i, 0);
            const double *value = (double *)s->kv + kv_place_offset(s, p, i, 1);
            double x = 0;
            for (uint32_t k = 0; k < d; k++)
                x += key[k] * q[h * d + k];
            x = exp(x / sqrt(d));
            mass[p->masked[i]] += x;
            for (uint32_t k = 0; k < d; k++)
                mean[p->masked[i]][k] += x * value[k];
        }
        double lost = mass[1] / (mass[0] + mass[1]);
        ck_assert_double_gt(lost, 0);
        for (uint32_t k = 0; k < d; k++) {
            double want = lost * (mean[0][k] / mass[0] - mean[1][k] / mass[1]);
            ck_assert_double_le(fabs(read[h * d + k] - full[h * d + k] - want), 1e-12);
        }
    }
    kv_store_close(s);
    arena_release(&arena);
    params_release(&params);
}
END_TEST

/* ---- quest's bound ---- */

START_TEST(no_key_of_a_page_beats_its_bound)
{
    struct params params;
    struct arena arena;
    struct err e = {0};
    struct kv_rule rule;
    struct rng g;
    float q[3 * 12], key[8][12], least[12], most[12], score;
    params_init(&params);
    arena_init(&arena);
    struct kv_rule_config c = {kvpolicy_find("quest"), NULL, &params, {1, 1, 8, 3, 0}, 1};
    ck_assert(kv_rule_open(&rule, &arena, &c, &e));
    rng_init(&g, 1, "bounds");
    for (uint32_t run_ = 0; run_ < 1000; run_++) {
        double best = -HUGE_VAL;
        for (uint32_t i = 0; i < 36; i++)
            q[i] = (float)(rng_unit(&g) * 2 - 1);
        for (uint32_t k = 0; k < 8; k++)
            for (uint32_t i = 0; i < 12; i++) {
                key[k][i] = (float)(rng_unit(&g) * 2 - 1);
                least[i] = k == 0 ? key[k][i] : MIN(least[i], key[k][i]);
                most[i] = k == 0 ? key[k][i] : MAX(most[i], key[k][i]);
            }
        rule.ops->rank(rule.self, &(struct kv_query){0, 0, 3, 12, 1, q, least, most, NULL}, &score);
        for (uint32_t k = 0; k < 8; k++)
            for (uint32_t h = 0; h < 3; h++) {
                double x = 0;
                for (uint32_t i = 0; i < 12; i++)
                    x += (double)q[h * 12 + i] * (double)key[k][i];
                best = MAX(best, x);
            }
        ck_assert_double_ge((double)score, best - 1e-5);
    }
    arena_release(&arena);
    params_release(&params);
}
END_TEST

/* ---- open loop ---- */

/* Full attention goes on, whatever the policy would have read; what it would have lost is told. */
START_TEST(open_loop_is_full_and_measures)
{
    struct arch a = arch_of(_i);
    static float full[OUT], got[OUT];
    const struct kvpolicy_ops *ops;
    plain(&a, false, full);
    for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++) {
        struct kv_rig r;
        run(&r, &a,
            &(struct kv_rig_options){.policy = ops->name, .block_size = 7, .open_loop = true},
            (const struct setting[]){{"kv.budget", 20}, {0}}, PROMPT, got);
        ck_assert_msg(same_bits(full, got), "%s: %g", ops->name, gap(got, full));
        for (uint32_t k = 0; k < a.layers * a.kv_heads; k++) {
            struct kv_look look;
            device_cpu.kv_look(r.device, 0, k / a.kv_heads, k % a.kv_heads, &look);
            const struct kv_measure *m = &look.measure;
            ck_assert_uint_eq(m->rows, LENGTH - PROMPT);
            ck_assert(m->recall > 0 && m->recall <= m->best_recall + 1e-4);
            ck_assert(m->best_recall <= (double)m->rows + 1e-4);
            ck_assert(m->top10 >= 0 && m->top10 <= (double)m->rows);
            if (ops->lossless)
                ck_assert(m->error <= 0 && m->recall > (double)m->rows - 1e-3);
            if (strcmp(ops->name, "oracle_topk") == 0)
                ck_assert(m->recall > m->best_recall - 0.05 * (double)m->rows);
        }
        kv_rig_close(&r);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kv engine");
    TCase *t = tcase_create("kv engine");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, with_room_all_are_full, 0, (int)ARRAY_LEN(archs));
    tcase_add_test(t, threads_change_nothing);
    tcase_add_test(t, other_sequences_change_nothing);
    tcase_add_loop_test(t, twins_are_the_same, 0, (int)ARRAY_LEN(twins));
    tcase_add_test(t, lossy_ones_lose);
    tcase_add_test(t, budgets_that_come_to_uniform);
    tcase_add_test(t, budgets_add_up);
    tcase_add_loop_test(t, sums_are_those_of_the_formulas, 0, (int)ARRAY_LEN(archs));
    tcase_add_loop_test(t, what_stays_is_what_the_formulas_say, 0, (int)ARRAY_LEN(archs));
    tcase_add_loop_test(t, error_of_a_subset, 0, (int)ARRAY_LEN(archs));
    tcase_add_test(t, no_key_of_a_page_beats_its_bound);
    tcase_add_loop_test(t, open_loop_is_full_and_measures, 0, (int)ARRAY_LEN(archs));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
