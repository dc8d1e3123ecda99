/* test_plugins.c: what every registered plug-in that is no scheduler must do, unnamed: routers,
 * prefix policies, KV policies, predictors, backends, trace formats. Each check of an answer is a
 * function that says what is wrong, and is shown a plug-in that does it wrong. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/describe.h"
#include "backend/registry.h"
#include "policies/registry.h"
#include "tests/support/conform.h"
#include "tests/support/fake_cluster.h"
#include "tests/support/lab.h"
#include "tests/support/trace_world.h"

/* ---- what all of them are ---- */

struct described {
    const char *kind, *name, *doc, *source;
    const struct param_desc *params;
    bool complete; /* no callback is missing that may not be NULL */
};

#define DESCRIBE(kind, ops, complete)                                                              \
    ((struct described){kind, (ops)->name, (ops)->doc, (ops)->source, (ops)->params, complete})

static size_t describe_all(struct described *out)
{
    size_t n = 0;
    const struct router_ops *r;
    for (size_t i = 0; (r = router_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("router", r, r->open && r->route);
    const struct prefix_ops *x;
    for (size_t i = 0; (x = prefix_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("prefix", x, x->open && (x->priority || x->victim));
    const struct kvpolicy_ops *k;
    for (size_t i = 0; (k = kvpolicy_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("kv", k, k->open && (k->lossless || k->score || k->rank));
    const struct kvbudget_ops *u;
    for (size_t i = 0; (u = kvbudget_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("budget", u, u->open && u->allocate);
    const struct predictor_ops *p;
    for (size_t i = 0; (p = predictor_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("predictor", p, p->open && p->predict);
    const struct backend_ops *b;
    for (size_t i = 0; (b = backend_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("backend", b, b->open && b->step);
    const struct trace_ops *t;
    for (size_t i = 0; (t = trace_at(i)) != NULL; i++)
        out[n++] = DESCRIBE("trace", t, t->open && t->next && t->close);
    return n;
}

START_TEST(all_are_described)
{
    struct described d[128];
    size_t n = describe_all(d);
    for (size_t i = 0; i < n; i++) {
        const char *fault = conform_text_fault(d[i].name, d[i].doc, d[i].source);
        ck_assert_msg(fault == NULL, "%s %s: %s", d[i].kind, d[i].name, fault);
        fault = conform_params_fault(d[i].params);
        ck_assert_msg(fault == NULL, "%s %s: %s", d[i].kind, d[i].name, fault);
        ck_assert_msg(d[i].complete, "%s %s: a callback is missing", d[i].kind, d[i].name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(d[i].kind, d[j].kind) == 0) {
                ck_assert_str_ne(d[i].name, d[j].name);
                ck_assert_str_ne(d[i].doc, d[j].doc);
            }
    }
    ck_assert_uint_ge(n, 6); /* one of a kind at least */
}
END_TEST

static const struct {
    const char *fault;
    struct param_desc table[3];
} bad_tables[] = {
    {"is no id", {{"Big", PARAM_INT, "1", "x", 0, 0, NULL}}},
    {"stands there twice",
     {{"a", PARAM_INT, "1", "x", 0, 0, NULL}, {"a", PARAM_INT, "1", "x", 0, 0, NULL}}},
    {"not one line", {{"a", PARAM_INT, "1", "", 0, 0, NULL}}},
    {"has no default", {{"a", PARAM_INT, NULL, "x", 0, 0, NULL}}},
    {"range is empty", {{"a", PARAM_INT, "1", "x", 2, 1, NULL}}},
    {"is no number", {{"a", PARAM_REAL, "1x", "x", 0, 0, NULL}}},
    {"is no integer", {{"a", PARAM_INT, "1.5", "x", 0, 0, NULL}}},
    {"out of range", {{"a", PARAM_REAL, "3", "x", 0, 2, NULL}}},
    {"is no switch", {{"a", PARAM_BOOL, "yes", "x", 0, 0, NULL}}},
    {"is no choice", {{"a", PARAM_STR, "pro", "x", 0, 0, "linear|profile"}}},
    {"choices of what", {{"a", PARAM_INT, "1", "x", 0, 0, "1|2"}}},
    {"a map has", {{"a", PARAM_MAP, "1", "x", 0, 0, NULL}}},
};

START_TEST(a_bad_table_is_found)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_tables); i++) {
        const char *fault = conform_params_fault(bad_tables[i].table);
        ck_assert_msg(fault != NULL && strstr(fault, bad_tables[i].fault) != NULL,
                      "case %zu (%s): %s", i, bad_tables[i].fault, fault);
    }
    ck_assert_ptr_eq(conform_params_fault(NULL), NULL);
    ck_assert_ptr_ne(conform_text_fault("two words", "doc", "source"), NULL);
    ck_assert_ptr_ne(conform_text_fault("name", "two\nlines", "source"), NULL);
    ck_assert_ptr_ne(conform_text_fault("name", "doc", ""), NULL);
}
END_TEST

/* ---- routers ---- */

#define ROUTED 400u

/* Sends requests of 7 tenants, some of which end in between, and keeps where each one went. */
static const char *route_fault(const struct router_ops *ops, uint32_t n, uint32_t to[ROUTED])
{
    struct params params;
    struct arena arena;
    struct slots tenant;
    struct rng g;
    struct err e = {0};
    struct fake_cluster c = {0};
    struct req_info q[ROUTED] = {0};
    const char *fault = NULL;
    params_init(&params);
    arena_init(&arena);
    slots_init(&tenant, ops->tenant_state_bytes);
    slots_ensure(&tenant, 7);
    rng_init(&g, n, "routes");
    void *self = ops->open(&arena, &params, n, 1, &e);
    if (self == NULL)
        fault = "does not open without parameters";
    for (uint32_t i = 0; i < ROUTED && fault == NULL; i++) {
        struct route_view v = fake_view(&c, i * NS_PER_MS, n);
        q[i] = (struct req_info){.seq = i, .tenant = i % 7, .prompt_tokens = 1 + i % 90};
        for (uint32_t r = 0; r < n; r++) {
            c.load[r].capacity_units = 1000;
            c.load[r].waiting = (uint32_t)rng_below(&g, 9);
            c.load[r].free_units = rng_below(&g, 1000);
            c.cached[r] = (uint32_t)rng_below(&g, q[i].prompt_tokens);
        }
        to[i] = ops->route(self, &v, &q[i], slots_at(&tenant, i % 7));
        if (to[i] >= n && to[i] != ROUTE_REJECT)
            fault = "names a replica that is not there";
        else if (to[i] != ROUTE_REJECT) {
            c.count[to[i]].dispatched++;
            c.count[to[i]].in_flight++;
        }
        uint32_t done = i / 2; /* it goes when every second one has come */
        if (fault == NULL && i % 2 == 1 && to[done] != ROUTE_REJECT) {
            c.count[to[done]].in_flight--;
            if (ops->on_done != NULL)
                ops->on_done(self, &v, &q[done], to[done], 5);
        }
    }
    slots_release(&tenant);
    arena_release(&arena);
    params_release(&params);
    return fault;
}

START_TEST(routers_name_replicas)
{
    const struct router_ops *ops;
    for (size_t i = 0; (ops = router_at(i)) != NULL; i++)
        for (uint32_t n = 1; n <= 8; n++) {
            uint32_t to[ROUTED], again[ROUTED];
            const char *fault = route_fault(ops, n, to);
            ck_assert_msg(fault == NULL, "%s, %u replicas: %s", ops->name, n, fault);
            ck_assert(route_fault(ops, n, again) == NULL);
            ck_assert_msg(memcmp(to, again, sizeof(to)) == 0, "%s routes otherwise again",
                          ops->name);
        }
}
END_TEST

static uint32_t route_past_the_end(void *self, const struct route_view *v, const struct req_info *q,
                                   void *tenant_state)
{
    (void)self;
    (void)tenant_state;
    return (uint32_t)(q->seq % (v->n_replicas + 1));
}

START_TEST(a_bad_route_is_found)
{
    struct router_ops bad = *router_at(0);
    uint32_t to[ROUTED];
    bad.route = route_past_the_end;
    ck_assert_ptr_ne(route_fault(&bad, 3, to), NULL);
}
END_TEST

/* Runs it twice; the same must come out. */
static void expect_repeatable(struct lab *l, const char *name)
{
    ck_assert_msg(lab_run(l), "%s: %s", name, l->err.text);
    ck_assert_uint_eq(l->n_row, l->n_rec);
    uint64_t digest = l->result.digest;
    ck_assert(lab_run(l));
    ck_assert_msg(l->result.digest == digest, "%s: another run decides otherwise", name);
}

START_TEST(routers_in_a_run)
{
    const struct router_ops *ops;
    for (size_t i = 0; (ops = router_at(i)) != NULL; i++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct lab l;
            lab_init(&l);
            lab_random(&l, seed);
            l.router = ops;
            l.n_replicas = 1 + (uint32_t)(seed % 4);
            expect_repeatable(&l, ops->name);
            lab_release(&l);
        }
}
END_TEST

/* ---- prefix policies ---- */

#define N_PROMPTS 150u

/* Prompts that share one of 5 beginnings and go on in one of 30 ways. */
static void fill_shared(struct lab *l, struct segment seg[N_PROMPTS][2])
{
    struct rng g;
    rng_init(&g, 1, "shared prompts");
    l->limits.block_size = 4;
    l->limits.max_num_seqs = 6;
    for (uint32_t i = 0; i < N_PROMPTS; i++) {
        uint32_t kind = (uint32_t)rng_below(&g, 5), way = (uint32_t)rng_below(&g, 30);
        seg[i][0] = (struct segment){kind, 0, 20 + 8 * kind};
        seg[i][1] = (struct segment){100 + way, 0, 5 + way};
        struct trace_rec *r =
            lab_add(l, i * 3 * NS_PER_MS, i % 2 ? "a" : "b", 25 + 8 * kind + way, 1 + i % 5);
        r->segment = seg[i];
        r->n_segments = 2;
    }
}

/* Under pressure a policy evicts and repeats itself; with room for all no policy matters. */
START_TEST(prefix_policies_in_a_run)
{
    const struct prefix_ops *ops;
    uint64_t roomy = 0;
    for (size_t i = 0; (ops = prefix_at(i)) != NULL; i++) {
        if (ops->needs_future)
            continue;
        struct lab l;
        struct segment seg[N_PROMPTS][2];
        lab_init(&l);
        fill_shared(&l, seg);
        l.prefix = ops;
        l.limits.num_gpu_blocks = 130;
        expect_repeatable(&l, ops->name);
        ck_assert_uint_gt(lab_count(&l, DEC_EVICT), 20);
        ck_assert_double_gt(lab_metric(&l, "cache_hit_rate"), 0.05);
        l.limits.num_gpu_blocks = 4000;
        expect_repeatable(&l, ops->name);
        ck_assert_uint_eq(lab_count(&l, DEC_EVICT), 0);
        if (i == 0)
            roomy = l.result.digest;
        ck_assert_msg(l.result.digest == roomy, "%s decides without need", ops->name);
        lab_release(&l);
    }
}
END_TEST

/* The order is total only if no priority is NaN (prefix_heap.h). */
static const char *priority_fault(const struct prefix_ops *ops)
{
    struct params params;
    struct arena arena;
    struct slots state;
    struct rng g;
    struct err e = {0};
    const char *fault = NULL;
    params_init(&params);
    arena_init(&arena);
    slots_init(&state, ops->node_state_bytes);
    rng_init(&g, 1, "nodes");
    struct prefix_env env = {.capacity_blocks = 1000, .block_tokens = 16, .pair_cost = 1e-4};
    void *self = ops->open(&arena, &params, &env, &e);
    if (self == NULL)
        fault = "does not open without parameters";
    else if ((ops->priority == NULL) == (ops->victim == NULL))
        fault = "has not one of priority and victim";
    if (fault == NULL && (ops->victim != NULL || ops->needs_future))
        goto done; /* it asks the tree; runs above and test_cache_replay put it to use */
    for (uint32_t i = 0; i < 200 && fault == NULL; i++) {
        uint32_t id = slots_take(&state);
        struct prefix_node_view v = {.id = id,
                                     .number = i,
                                     .n_blocks = 1 + (uint32_t)rng_below(&g, 100),
                                     .created_use = i + 1,
                                     .last_use = i + 1};
        v.depth_blocks = v.n_blocks + (uint32_t)rng_below(&g, 100);
        if (ops->on_insert != NULL)
            ops->on_insert(self, &v, slots_at(&state, id));
        for (; v.hits < i % 4; v.hits++, v.last_use += 3)
            if (ops->on_access != NULL)
                ops->on_access(self, &v, slots_at(&state, id));
        double p = ops->priority(self, &v, slots_at(&state, id));
        if (isnan(p))
            fault = "a priority is not a number";
        else if (p != ops->priority(self, &v, slots_at(&state, id)))
            fault = "a priority changes while nothing happens";
        if (ops->on_evict != NULL)
            ops->on_evict(self, &v, slots_at(&state, id), v.n_blocks);
    }
done:
    if (self != NULL && ops->close != NULL)
        ops->close(self);
    slots_release(&state);
    arena_release(&arena);
    params_release(&params);
    return fault;
}

static double rate(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)node_state;
    return (double)v->hits / (double)v->hits; /* 0 / 0 at first */
}

START_TEST(prefix_priorities_are_an_order)
{
    const struct prefix_ops *ops;
    for (size_t i = 0; (ops = prefix_at(i)) != NULL; i++) {
        const char *fault = priority_fault(ops);
        ck_assert_msg(fault == NULL, "%s: %s", ops->name, fault);
    }
    struct prefix_ops bad = *prefix_at(0);
    bad.priority = rate;
    ck_assert_ptr_ne(priority_fault(&bad), NULL);
}
END_TEST

/* ---- KV policies ---- */

/* A prompt is whole until it is computed; then what a policy holds never falls, unless it judges
 * tokens many at a time. */
static const char *kv_fault(struct kv_rule *r, uint32_t prompt)
{
    const struct kv_shape *s = &r->shape;
    uint64_t unit = (uint64_t)s->layers * s->kv_heads, before = 0;
    for (uint32_t len = 0; len <= prompt + 700; len++) {
        uint64_t full = div_ceil_u32(len, s->block_size) * unit;
        uint64_t held = kv_rule_units(r, prompt, len);
        double read = kv_rule_read_tokens(r, prompt, len);
        if (len != prompt + 1 && !r->plan.marks && held < before)
            return "holds less when the sequence grows";
        if (held > full || kv_rule_peak_units(r, prompt, len) > full)
            return "holds more than there is";
        if (len <= prompt && held != full)
            return "drops a prompt that is not computed yet";
        if (kv_rule_peak_units(r, prompt, len) < held)
            return "holds more than its peak";
        if (len > 0 && held == 0)
            return "holds nothing";
        if (!(read >= 0 && (r->plan.stats != 0 || read <= len)))
            return "reads more than there is";
        if (r->ops->lossless && (held != full || read < len || read > len))
            return "is lossless and leaves something out";
        before = held;
    }
    return NULL;
}

static uint32_t shrinks(void *self, uint32_t budget, uint32_t prompt, uint32_t len)
{
    (void)self, (void)budget;
    return len > prompt + 20 ? 1 : len;
}

static const char *kv_rule_fault(const struct kvpolicy_ops *ops, const struct kvbudget_ops *budget,
                                 double amount, uint32_t prompt)
{
    static const struct kv_shape shape = {
        .layers = 4, .kv_heads = 3, .block_size = 16, .group = 3, .token_bytes = 256};
    struct params params;
    struct arena arena;
    struct err e = {0};
    struct kv_rule a, b;
    const char *fault = NULL;
    params_init(&params);
    arena_init(&arena);
    params_set_num(&params, "kv.budget", PARAM_REAL, amount);
    struct kv_rule_config c = {ops, budget, &params, shape, 1};
    if (!kv_rule_open(&a, &arena, &c, &e) || !kv_rule_open(&b, &arena, &c, &e))
        ck_assert_msg(budget == kvbudget_find("table"), "%s: %s", ops->name, e.text);
    else
        fault = kv_fault(&a, prompt);
    for (uint32_t len = 0; !e.set && len < 2000; len += 7)
        if (kv_rule_units(&a, prompt, len) != kv_rule_units(&b, prompt, len))
            fault = "differs from itself";
    arena_release(&arena);
    params_release(&params);
    return fault;
}

START_TEST(kv_policies_hold_what_they_say)
{
    static const uint32_t prompts[] = {1, 15, 16, 17, 300, 1024};
    static const double amounts[] = {0.2, 1, 7, 64};
    const struct kvpolicy_ops *ops;
    const struct kvbudget_ops *budget;
    for (size_t i = 0; (ops = kvpolicy_at(i)) != NULL; i++)
        for (size_t j = 0; (budget = kvbudget_at(j)) != NULL; j++)
            for (size_t k = 0; k < ARRAY_LEN(prompts) * ARRAY_LEN(amounts); k++) {
                uint32_t prompt = prompts[k / ARRAY_LEN(amounts)];
                double amount = amounts[k % ARRAY_LEN(amounts)];
                const char *fault = kv_rule_fault(ops, budget, amount, prompt);
                ck_assert_msg(fault == NULL, "%s, %s, prompt %u: %s", ops->name, budget->name,
                              prompt, fault);
            }
    struct kvpolicy_ops bad = *kvpolicy_find("streaming");
    bad.resident = shrinks;
    ck_assert_str_eq(kv_rule_fault(&bad, NULL, 0.2, 40), "holds less when the sequence grows");
    bad = *kvpolicy_find("quest");
    bad.lossless = true;
    ck_assert_str_eq(kv_rule_fault(&bad, NULL, 0.2, 400), "is lossless and leaves something out");
}
END_TEST

/* ---- predictors ---- */

/* Two of them see the same requests finish; what they predict may differ only by the truth they
 * are handed, and only if they say that they look at it. */
static const char *predictor_fault(const struct predictor_ops *ops)
{
    struct params params;
    struct arena arena;
    struct slots tenant[2];
    struct rng g;
    struct err e = {0};
    const char *fault = NULL;
    void *self[2];
    params_init(&params);
    arena_init(&arena);
    rng_init(&g, 1, "lengths");
    for (size_t i = 0; i < 2; i++) {
        slots_init(&tenant[i], ops->tenant_state_bytes);
        slots_ensure(&tenant[i], 3);
        self[i] = ops->open(&arena, &params, 1, &e);
        if (self[i] == NULL)
            fault = "does not open without parameters";
    }
    bool oracle = ops->needs & PREDICTOR_ORACLE;
    for (uint32_t n = 0; n < 300 && fault == NULL; n++) {
        struct req_info q = {.seq = n,
                             .tenant = n % 3,
                             .prompt_tokens = 1 + (uint32_t)rng_below(&g, 500),
                             .max_tokens = 600,
                             .predicted_tokens = (uint32_t)rng_below(&g, 3) * 50};
        uint32_t truth = 1 + (uint32_t)rng_below(&g, 500);
        struct prediction a = ops->predict(self[0], &q, slots_at(&tenant[0], n % 3), truth);
        struct prediction b =
            ops->predict(self[1], &q, slots_at(&tenant[1], n % 3), oracle ? truth : 501 - truth);
        if (!isfinite(a.mean) || a.mean < 0)
            fault = "a prediction is no length";
        else if (a.mean != b.mean || a.bucket != b.bucket)
            fault = "another one predicts otherwise";
        for (size_t i = 0; i < 2 && ops->learn != NULL; i++)
            ops->learn(self[i], &q, slots_at(&tenant[i], n % 3), truth);
    }
    slots_release(&tenant[0]);
    slots_release(&tenant[1]);
    arena_release(&arena);
    params_release(&params);
    return fault;
}

START_TEST(predictors_see_no_truth)
{
    const struct predictor_ops *ops;
    for (size_t i = 0; (ops = predictor_at(i)) != NULL; i++) {
        const char *fault = predictor_fault(ops);
        ck_assert_msg(fault == NULL, "%s: %s", ops->name, fault);
    }
    struct predictor_ops liar = *predictor_find("oracle");
    liar.needs = 0;
    ck_assert_str_eq(predictor_fault(&liar), "another one predicts otherwise");
}
END_TEST

/* ---- backends ---- */

static const struct batch_shape shapes[] = {
    {.n_decode = 1, .decode_tokens = 1, .decode_context_sum = 1, .decode_context_max = 1},
    {.n_decode = 64, .decode_tokens = 64, .decode_context_sum = 99000, .decode_context_max = 4000},
    {.n_prefill = 1, .prefill_tokens = 1, .prefill_pairs = 1},
    {.n_prefill = 2, .prefill_tokens = 2000, .prefill_history_sum = 900, .prefill_pairs = 2.4e6},
    {.n_decode = 7,
     .n_prefill = 1,
     .decode_tokens = 7,
     .prefill_tokens = 500,
     .decode_context_sum = 7000,
     .decode_context_max = 1000,
     .prefill_pairs = 125250},
};

/* A step of each shape; a run is repeatable only if the same step takes the same time again. */
static const char *steps_fault(const struct backend_ops *ops, void *self, double ns[])
{
    struct err e = {0};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct batch b = {
            .step = i, .n = shapes[i].n_decode + shapes[i].n_prefill, .shape = shapes[i]};
        struct step_cost cost = {0};
        if (!ops->step(self, &b, &cost, &e))
            return "a plain step fails";
        if (!(isfinite(cost.device_ns) && cost.device_ns > 0))
            return "a step takes no time";
        ns[i] = cost.device_ns;
    }
    return NULL;
}

START_TEST(backends_say_how_long)
{
    static const struct limits limits = {.max_num_seqs = 256,
                                         .max_num_batched_tokens = 2048,
                                         .block_size = 16,
                                         .max_model_len = 8192,
                                         .num_gpu_blocks = 10000,
                                         .units_per_block = 256};
    struct model_desc model;
    struct gpu_desc gpu;
    struct err e = {0};
    ck_assert(describe_model("llama-3.1-8b", &model, &e) && describe_gpu("h200", &gpu, &e));
    const struct backend_ops *ops;
    for (size_t i = 0; (ops = backend_at(i)) != NULL; i++) {
        ck_assert_msg(!(ops->caps & BACKEND_AFFINE_DECODE) == !ops->decode_line,
                      "%s: AFFINE_DECODE, and decode_line is not as it says", ops->name);
        if (ops->caps & BACKEND_MEASURED)
            continue; /* it needs the device, and takes as long as it takes */
        struct params params;
        struct arena arena;
        struct backend_env env = {.model = &model,
                                  .gpu = &gpu,
                                  .tensor_parallel_size = 1,
                                  .limits = &limits,
                                  .params = &params};
        double ns[2][ARRAY_LEN(shapes)];
        params_init(&params);
        arena_init(&arena);
        for (size_t k = 0; k < 2; k++) {
            struct backend_note note = {0};
            struct err why = {0};
            void *self = ops->open(&arena, &env, &note, &why);
            if (self == NULL) { /* it needs a profile: it must say so */
                ck_assert_msg(why.set && strstr(why.text, "; ") != NULL, "%s: %s", ops->name,
                              why.text);
                memset(ns[k], 0, sizeof(ns[k]));
                continue;
            }
            const char *fault = steps_fault(ops, self, ns[k]);
            ck_assert_msg(fault == NULL, "%s: %s", ops->name, fault);
            ck_assert_str_ne(note.cost_model, "");
            if (ops->close != NULL)
                ops->close(self);
        }
        ck_assert_msg(memcmp(ns[0], ns[1], sizeof(ns[0])) == 0, "%s: other times again", ops->name);
        arena_release(&arena);
        params_release(&params);
    }
}
END_TEST

/* ---- trace formats ---- */

/* Files that are no trace in any format. */
static const struct {
    const char *bytes;
    size_t n;
} no_traces[] = {{"", 0}, {"\0\1\2\3\n", 5}, {"hello, world\n1,2\n", 17}, {"{", 1}};

START_TEST(readers_refuse_what_is_no_trace)
{
    const struct trace_ops *ops;
    for (size_t i = 0; (ops = trace_at(i)) != NULL; i++)
        for (size_t k = 0; k < ARRAY_LEN(no_traces); k++) {
            struct trace_world w;
            uint64_t n;
            trace_world_init(&w);
            trace_world_file(&w, no_traces[k].bytes, no_traces[k].n);
            enum trace_status st = trace_world_read(&w, w.path, ops->name, NULL, 0, &n);
            ck_assert_msg(st == TRACE_ERR && n == 0, "%s reads %llu records from case %zu",
                          ops->name, (unsigned long long)n, k);
            ck_assert_msg(strncmp(w.err.text, w.path, strlen(w.path)) == 0 &&
                              strchr(w.err.text, '\n') == NULL,
                          "%s, case %zu: %s", ops->name, k, w.err.text);
            if (no_traces[k].n == 0)
                ck_assert_msg(strstr(w.err.text, "is empty") != NULL, "%s: %s", ops->name,
                              w.err.text);
            trace_world_release(&w);
        }
}
END_TEST

START_TEST(readers_name_what_is_not_there)
{
    const struct trace_ops *ops;
    for (size_t i = 0; (ops = trace_at(i)) != NULL; i++) {
        struct trace_world w;
        uint64_t n;
        trace_world_init(&w);
        ck_assert_int_eq(trace_world_read(&w, "/nowhere/t.csv", ops->name, NULL, 0, &n), TRACE_ERR);
        ck_assert_msg(strstr(w.err.text, "/nowhere/t.csv") != NULL, "%s: %s", ops->name,
                      w.err.text);
        trace_world_release(&w);
    }
}
END_TEST

START_TEST(detection_claims_no_junk)
{
    static const char *const heads[] = {"", "\n", "{}", "{\"a\":", "a,b,c\n1,2,3\n", "\xff\xfe"};
    const struct trace_ops *ops;
    for (size_t i = 0; (ops = trace_at(i)) != NULL; i++)
        for (size_t k = 0; k < ARRAY_LEN(heads) && ops->detect != NULL; k++) {
            int score = ops->detect(heads[k]);
            ck_assert_msg(score == 0, "%s: %d for what is nobody's (case %zu)", ops->name, score,
                          k);
        }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("plug-ins");
    TCase *t = tcase_create("conformance");
    tcase_add_test(t, all_are_described);
    tcase_add_test(t, a_bad_table_is_found);
    tcase_add_test(t, routers_name_replicas);
    tcase_add_test(t, a_bad_route_is_found);
    tcase_add_test(t, routers_in_a_run);
    tcase_add_test(t, prefix_policies_in_a_run);
    tcase_add_test(t, prefix_priorities_are_an_order);
    tcase_add_test(t, kv_policies_hold_what_they_say);
    tcase_add_test(t, predictors_see_no_truth);
    tcase_add_test(t, backends_say_how_long);
    tcase_add_test(t, readers_refuse_what_is_no_trace);
    tcase_add_test(t, readers_name_what_is_not_there);
    tcase_add_test(t, detection_claims_no_junk);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
