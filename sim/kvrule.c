/* kvrule.c: what a KV policy keeps and reads at a given length, counted per layer and head. */
#include "sim/kvrule.h"

#include <math.h>

const struct param_desc kv_params[] = {
    {"budget", PARAM_REAL, "0.2",
     "tokens resident (evicting policies) or read a step (quest, oracle_topk), of a layer and head "
     "on average: up to 1 a share of the prompt, else a count (eviction.md 2.2: 0.2)",
     1e-6, 1e9, NULL},
    {"recent", PARAM_INT, "", "last tokens that always stay; without it the policy's own", 0, 1e9,
     NULL},
    {"sink", PARAM_INT, "", "first tokens that always stay; without it the policy's own", 0, 1e9,
     NULL},
    {"page", PARAM_INT, "16", "tokens in a page where pages are chosen (eviction.md 4)", 1, 65536,
     NULL},
    {"skip_layers", PARAM_INT, "",
     "first layers that keep and read everything; without it 2 for quest, 0 for others", 0, 1e6,
     NULL},
    {.name = NULL},
};

#define WINDOW_ROWS 32u /* where the policy has no opinion (eviction.md 3, CAKE) */

/* ---- opening ---- */

/* A number that may be left out. */
static bool given(const struct params *p, const char *name, uint32_t *out)
{
    double x = params_num(p, kv_params, "kv", name);
    if (!isnan(x))
        *out = (uint32_t)x;
    return !isnan(x);
}

bool kv_rule_open(struct kv_rule *r, struct arena *a, const struct kv_rule_config *c, struct err *e)
{
    uint32_t n = c->shape.layers * c->shape.kv_heads;
    struct kv_env env = {.params = c->params, .shape = c->shape, .seed = c->seed};
    *r = (struct kv_rule){.ops = c->ops, .budget = c->budget, .shape = c->shape};
    r->plan.page = (uint32_t)params_num(c->params, kv_params, "kv", "page");
    r->amount = params_num(c->params, kv_params, "kv", "budget");
    env.recent_is_set = given(c->params, "recent", &r->plan.recent);
    env.sink_is_set = given(c->params, "sink", &r->plan.sink);
    env.skip_is_set = given(c->params, "skip_layers", &r->plan.skip_layers);
    r->self = c->ops->open(a, &env, &r->plan, e);
    if (r->self == NULL)
        return false;
    if ((kv_rule_stats(r) & KV_WINDOW) && r->plan.window == 0)
        r->plan.window = WINDOW_ROWS;
    if (r->budget != NULL && (r->budget_self = r->budget->open(a, &env, e)) == NULL)
        return false;
    r->cls = arena_alloc(a, n * sizeof(*r->cls));
    r->scratch = arena_alloc(a, n * sizeof(*r->scratch));
    return true;
}

/* ---- budgets ---- */

uint32_t kv_rule_mean(const struct kv_rule *r, uint32_t prompt)
{
    double tokens = r->amount <= 1 ? floor(r->amount * prompt + 0.5) : r->amount;
    return (uint32_t)MAX(1.0, MIN(tokens, (double)(UINT32_MAX - 1)));
}

uint32_t kv_rule_recent(const struct kv_rule *r, uint32_t budget)
{
    double share = r->plan.recent_share;
    uint32_t recent = share > 0 ? (uint32_t)(share * budget) : r->plan.recent;
    return MIN(recent, budget - MIN(budget, r->plan.sink));
}

bool kv_rule_dense(const struct kv_rule *r, uint32_t layer)
{
    return layer < r->plan.skip_layers;
}

uint32_t kv_rule_stats(const struct kv_rule *r)
{
    return r->plan.stats | (r->budget != NULL ? r->budget->stats : 0);
}

/* The allocator's, of the layers that are not skipped. */
static void allocate(const struct kv_rule *r, uint32_t prompt, const struct kv_budget_ask *measured,
                     uint32_t *tokens)
{
    uint32_t heads = r->shape.kv_heads, skip = MIN(r->plan.skip_layers, r->shape.layers);
    uint32_t mean = kv_rule_mean(r, prompt);
    struct kv_budget_ask ask = {
        .layers = r->shape.layers - skip, .heads = heads, .mean = mean, .length = prompt};
    ask.least = MIN(mean, MAX(1, r->plan.sink + kv_rule_recent(r, mean)));
    if (measured != NULL)
        ask.length = measured->length;
    if (measured != NULL && measured->score != NULL)
        ask.score = measured->score + (size_t)skip * heads;
    if (measured != NULL && measured->entropy != NULL) {
        ask.entropy = measured->entropy + skip;
        ask.variance = measured->variance + skip;
    }
    for (uint32_t i = 0; i < ask.layers * heads; i++)
        tokens[skip * heads + i] = mean;
    if (r->budget != NULL && mean < ask.length && ask.layers > 0)
        r->budget->allocate(r->budget_self, &ask, tokens + skip * heads);
}

void kv_rule_budgets(const struct kv_rule *r, uint32_t prompt, const struct kv_budget_ask *ask,
                     uint32_t *tokens)
{
    uint32_t heads = r->shape.kv_heads, mean = kv_rule_mean(r, prompt);
    bool own = r->ops->budget != NULL;
    if (!own && r->plan.evicts)
        allocate(r, prompt, ask, tokens);
    for (uint32_t l = 0; l < r->shape.layers; l++)
        for (uint32_t h = 0; h < heads; h++) {
            uint32_t *out = &tokens[l * heads + h];
            if (kv_rule_dense(r, l))
                *out = UINT32_MAX;
            else if (own)
                *out = r->ops->budget(r->self, mean, l, h);
            else if (!r->plan.evicts)
                *out = mean;
        }
}

/* ---- what it costs ---- */

static struct kv_class *class_of(struct kv_rule *r, uint32_t budget, bool dense)
{
    for (uint32_t k = r->n_cls; k > 0; k--) /* neighbours are alike: the last one first */
        if (r->cls[k - 1].budget == budget && r->cls[k - 1].dense == dense)
            return &r->cls[k - 1];
    r->cls[r->n_cls] = (struct kv_class){.budget = budget, .dense = dense};
    return &r->cls[r->n_cls++];
}

static void find_classes(struct kv_rule *r, uint32_t prompt)
{
    uint32_t heads = r->shape.kv_heads, mean = kv_rule_mean(r, prompt);
    bool shared_out = r->budget != NULL && r->plan.evicts; /* within the prompt's length */
    /* what keeps everything does so for every prompt: asked at every step of every request */
    if (r->n_cls > 0 &&
        (r->ops->lossless || (r->cls_mean == mean && (!shared_out || r->cls_prompt == prompt))))
        return;
    kv_rule_budgets(r, prompt, NULL, r->scratch);
    r->n_cls = 0;
    r->cls_mean = mean;
    r->cls_prompt = prompt;
    for (uint32_t i = 0; i < r->shape.layers * heads; i++)
        class_of(r, r->scratch[i], kv_rule_dense(r, i / heads))->n++;
}

/* A prompt is whole until it is computed. */
static uint32_t resident(const struct kv_rule *r, const struct kv_class *c, uint32_t prompt,
                         uint32_t len)
{
    if (len <= prompt || !r->plan.evicts || c->dense)
        return len;
    if (r->ops->resident != NULL)
        return MIN(len, r->ops->resident(r->self, c->budget, prompt, len));
    if (!r->plan.decodes)
        return MIN(prompt, c->budget) + len - prompt;
    return (uint32_t)MIN((uint64_t)len, (uint64_t)c->budget + r->plan.slack);
}

uint64_t kv_rule_units(struct kv_rule *r, uint32_t prompt, uint32_t len)
{
    uint64_t units = 0;
    find_classes(r, prompt);
    for (uint32_t i = 0; i < r->n_cls; i++) {
        uint32_t tokens = resident(r, &r->cls[i], prompt, len);
        units += (uint64_t)r->cls[i].n * div_ceil_u32(tokens, r->shape.block_size);
    }
    return units;
}

uint64_t kv_rule_peak_units(struct kv_rule *r, uint32_t prompt, uint32_t len)
{
    uint64_t at_prompt = kv_rule_units(r, prompt, MIN(prompt, len));
    return MAX(at_prompt, kv_rule_units(r, prompt, len));
}

/* Bytes of statistics that go with a token that is read (eviction.md 0.4): the raw scores of each
 * query head, written and read again, and the sums, read and written. */
static double stat_bytes(const struct kv_rule *r)
{
    uint32_t stats = kv_rule_stats(r), bytes = 0;
    if (stats & (KV_COLSUM | KV_COLSUM2 | KV_LASTROW))
        bytes += 8 * r->shape.group;
    if (stats & KV_COLSUM)
        bytes += 8;
    if (stats & KV_COLSUM2)
        bytes += 8;
    return bytes;
}

/* In tokens. */
static double read_by(const struct kv_rule *r, const struct kv_class *c, uint32_t prompt,
                      uint32_t len)
{
    uint32_t there = resident(r, c, prompt, len);
    if (c->dense)
        return there;
    double token_bytes = r->shape.token_bytes;
    double stats = token_bytes > 0 ? stat_bytes(r) / token_bytes : 0;
    uint32_t page = r->plan.page, pages = div_ceil_u32(there, page);
    if (r->plan.read == KV_READ_TOKENS)
        return MIN(there, c->budget);
    if (r->plan.read == KV_READ_ALL || pages <= MAX(1, c->budget / page))
        return there * (1 + stats);
    return pages + (double)MIN(there, MAX(1, c->budget / page) * page); /* bounds: K and V a page */
}

double kv_rule_read_tokens(struct kv_rule *r, uint32_t prompt, uint32_t len)
{
    double tokens = 0;
    find_classes(r, prompt);
    for (uint32_t i = 0; i < r->n_cls; i++)
        tokens += r->cls[i].n * read_by(r, &r->cls[i], prompt, len);
    return tokens / ((double)r->shape.layers * r->shape.kv_heads);
}
