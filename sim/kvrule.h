/* kvrule.h: a KV policy with its budget, as it is applied to sequences: what every engine and the
 * simulator share. Resident tokens (memory) and read tokens (time) are always kept apart.
 *
 * What must hold: budgets of a sequence add up to layers * heads * mean; a choice depends on the
 * scores and positions alone. */
#ifndef SIM_KVRULE_H
#define SIM_KVRULE_H

#include "sim/kvpolicy.h"

struct kv_class { /* layers and heads with the same budget */
    uint32_t budget, n;
    bool dense; /* skipped layers: everything stays and is read */
};

struct kv_rule {
    const struct kvpolicy_ops *ops;
    const struct kvbudget_ops *budget; /* NULL: the same for all */
    void *self, *budget_self;
    struct kv_plan plan;
    struct kv_shape shape;
    double amount; /* kv.budget: a share of the prompt up to 1, else tokens */
    /* classes of the budget last asked about */
    struct kv_class *cls;
    uint32_t n_cls, cls_mean, cls_prompt;
    uint32_t *scratch; /* [layers * kv_heads] */
};

struct kv_rule_config {
    const struct kvpolicy_ops *ops;
    const struct kvbudget_ops *budget; /* NULL: the same for all */
    const struct params *params;
    struct kv_shape shape;
    uint64_t seed;
};

extern const struct param_desc kv_params[]; /* owner "kv" */

/* Memory is the arena's. */
bool kv_rule_open(struct kv_rule *r, struct arena *a, const struct kv_rule_config *c,
                  struct err *e) NODISCARD;

/* ---- budgets ---- */

/* Tokens a layer and head keeps, or reads, on average; at least 1. */
uint32_t kv_rule_mean(const struct kv_rule *r, uint32_t prompt);
/* Of every layer and head, UINT32_MAX: everything. `ask` brings what was measured: score, entropy,
 * variance; NULL: nothing was. tokens[layers * kv_heads]. */
void kv_rule_budgets(const struct kv_rule *r, uint32_t prompt, const struct kv_budget_ask *ask,
                     uint32_t *tokens);
/* Of the last positions, how many always stay. */
uint32_t kv_rule_recent(const struct kv_rule *r, uint32_t budget);
bool kv_rule_dense(const struct kv_rule *r, uint32_t layer);
/* What an engine has to gather: the policy's and the allocator's. */
uint32_t kv_rule_stats(const struct kv_rule *r);

/* ---- what it costs ---- */

/* Page units at length `len`. It may shrink once the prompt is there (len > prompt). */
uint64_t kv_rule_units(struct kv_rule *r, uint32_t prompt, uint32_t len);
/* The most on the way to that length. */
uint64_t kv_rule_peak_units(struct kv_rule *r, uint32_t prompt, uint32_t len);
/* What a decode step at this length reads, in tokens of all layers and heads: statistics and page
 * bounds count by their bytes. */
double kv_rule_read_tokens(struct kv_rule *r, uint32_t prompt, uint32_t len);

/* ---- choice ---- */

/* Raises what is protected to INFINITY: positions below the sink, and the last `recent` of `end`
 * positions. */
void kv_protect(const uint32_t *pos, uint32_t n, uint32_t sink, uint32_t recent, uint32_t end,
                float *score);
/* Marks the `keep` highest scores, of equals the earlier ones, -INFINITY never. Returns how many.
 * `order` is scratch of n. */
uint32_t kv_choose(const float *score, uint32_t n, uint32_t keep, bool *kept, uint32_t *order);
/* Whole numbers as near to want[i] as possible, in [least, most], whose sum is `total`, which is
 * between n * least and n * most. `order` is scratch of n. */
void kv_share_out(const double *want, uint32_t n, uint64_t total, uint32_t least, uint32_t most,
                  uint32_t *out, uint32_t *order);

#endif
