#include "tests/support/lab.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "policies/registry.h"

/* ---- the trace: an array ---- */

struct source {
    const struct lab *lab;
    size_t at;
};

static enum trace_status source_next(void *self, struct trace_rec *rec, struct err *e)
{
    struct source *s = self;
    (void)e;
    if (s->at == s->lab->n_rec)
        return TRACE_END;
    *rec = s->lab->rec[s->at++];
    return TRACE_REC;
}

static const struct trace_ops source_ops = {.name = "lab", .next = source_next};

/* ---- the backend: a straight line ---- */

struct line {
    double step_ns, token_ns, context_ns, fail_at;
};

static void *line_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                       struct err *e)
{
    (void)note;
    (void)e;
    struct line *l = arena_alloc(a, sizeof(*l));
    l->step_ns = params_find(env->params, "lab.step_ns")->num;
    l->token_ns = params_find(env->params, "lab.token_ns")->num;
    l->context_ns = params_find(env->params, "lab.context_ns")->num;
    l->fail_at = params_find(env->params, "lab.fail_at")->num;
    return l;
}

static bool line_step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    const struct line *l = self;
    if ((double)b->step >= l->fail_at)
        return err_set(e, "lab backend: step %llu fails as told", (unsigned long long)b->step);
    double ns = l->step_ns + l->token_ns * (b->shape.decode_tokens + b->shape.prefill_tokens) +
                l->context_ns * (double)b->shape.decode_context_sum;
    *cost = (struct step_cost){.device_ns = MIN(ns, STEP_MAX_NS)};
    return true;
}

/* One line all the way; told in pieces, as a table with many breakpoints would. */
static void line_decode(void *self, const struct batch_shape *b, struct decode_line *line)
{
    const struct line *l = self;
    *line = (struct decode_line){.base_ns = l->step_ns + l->token_ns * b->decode_tokens,
                                 .slope_ns = l->context_ns,
                                 .x = b->decode_context_sum,
                                 .dx = b->n_decode,
                                 .steps = 1 + b->decode_context_sum % 7};
}

static const struct backend_ops line_ops = {.name = "lab",
                                            .doc = "a straight line",
                                            .caps = BACKEND_AFFINE_DECODE,
                                            .open = line_open,
                                            .step = line_step,
                                            .decode_line = line_decode};

/* ---- the sink: keeps everything ---- */

static bool keep_request(void *self, const struct request_row *row, struct err *e)
{
    (void)e;
    struct lab *l = self;
    l->row = mem_reserve(l->row, &l->row_cap, l->n_row + 1, sizeof(*l->row));
    l->reason = mem_reserve(l->reason, &l->reason_cap, l->n_row + 1, sizeof(*l->reason));
    l->row[l->n_row] = *row;
    snprintf(l->reason[l->n_row], sizeof(l->reason[0]), "%s", row->reason);
    l->n_row++;
    return true;
}

static bool keep_step(void *self, const struct step_row *row, struct err *e)
{
    (void)e;
    struct lab *l = self;
    l->step = mem_reserve(l->step, &l->step_cap, l->n_step + 1, sizeof(*l->step));
    l->step[l->n_step++] = *row;
    return true;
}

static bool keep_transfer(void *self, const struct transfer_row *row, struct err *e)
{
    (void)e;
    struct lab *l = self;
    l->transfer =
        mem_reserve(l->transfer, &l->transfer_cap, l->n_transfer + 1, sizeof(*l->transfer));
    l->transfer[l->n_transfer++] = *row;
    return true;
}

static bool keep_summary(void *self, const char *metric, double value, struct err *e)
{
    (void)e;
    struct lab *l = self;
    l->summary = mem_reserve(l->summary, &l->summary_cap, l->n_summary + 1, sizeof(*l->summary));
    struct lab_summary *s = &l->summary[l->n_summary++];
    snprintf(s->metric, sizeof(s->metric), "%s", metric);
    s->value = value;
    return true;
}

static void keep_told(struct lab *l, const void *facts, size_t bytes)
{
    l->told = hash_bytes(facts, bytes, hash_mix(l->told, bytes));
}

static bool keep_tenant(void *self, const struct tenant_row *t, struct err *e)
{
    (void)e;
    double facts[] = {(double)t->requests, t->service,     t->share,       t->ttft_ms_mean,
                      t->ttft_ms_p99,      t->e2el_ms_p50, t->e2el_ms_p99, t->slo_attainment};
    keep_told(self, facts, sizeof(facts));
    return true;
}

static bool keep_sample(void *self, ns_t at, const char *series, double value, struct err *e)
{
    (void)e;
    keep_told(self, &at, sizeof(at));
    keep_told(self, series, strlen(series));
    keep_told(self, &value, sizeof(value));
    return true;
}

static bool keep_bucket(void *self, const char *metric, const struct quantile_bucket *b,
                        struct err *e)
{
    (void)e;
    keep_told(self, metric, strlen(metric));
    double facts[] = {b->low_ms, b->high_ms, (double)b->count};
    keep_told(self, facts, sizeof(facts));
    return true;
}

static void keep_decision(void *self, enum decision what, uint64_t seq, ns_t at, uint64_t number,
                          uint64_t digest)
{
    struct lab *l = self;
    l->decision =
        mem_reserve(l->decision, &l->decision_cap, l->n_decision + 1, sizeof(*l->decision));
    l->decision[l->n_decision++] = (struct lab_decision){what, seq, number, digest, at};
}

static const struct sink_ops sink_ops = {.request = keep_request,
                                         .step = keep_step,
                                         .transfer = keep_transfer,
                                         .tenant = keep_tenant,
                                         .summary = keep_summary,
                                         .timeline = keep_sample,
                                         .histogram = keep_bucket,
                                         .decision = keep_decision};

/* ---- the lab ---- */

void lab_reset(struct lab *l)
{
    l->n_decision = l->n_row = l->n_step = l->n_transfer = l->n_summary = 0;
    l->told = 0;
    l->err = (struct err){0};
}

bool lab_run(struct lab *l)
{
    lab_reset(l);
    params_set_num(&l->params, "lab.step_ns", PARAM_REAL, l->step_ns);
    params_set_num(&l->params, "lab.token_ns", PARAM_REAL, l->token_ns);
    params_set_num(&l->params, "lab.context_ns", PARAM_REAL, l->context_ns);
    params_set_num(&l->params, "lab.fail_at", PARAM_REAL, (double)l->fail_at_step);
    struct replica_config *rc = mem_alloc(l->n_replicas * sizeof(*rc));
    l->backend_env.params = &l->params;
    for (uint32_t i = 0; i < l->n_replicas; i++)
        rc[i] = (struct replica_config){
            .limits = l->limits,
            .engine = engine_model_find(l->engine),
            .scheduler = l->scheduler,
            .prefix = l->prefix,
            .kv = l->kv,
            .kv_budget = l->kv_budget,
            .kv_shape = {.layers = (uint32_t)l->limits.units_per_block,
                         .kv_heads = 1,
                         .block_size = l->limits.block_size},
            .backend = l->backend != NULL ? l->backend : &line_ops,
            .backend_env = l->backend_env,
        };
    struct source source = {.lab = l};
    struct sim_config cfg = {
        .replica = rc,
        .n_replicas = l->n_replicas,
        .router = l->router,
        .predictor = l->predictor,
        .params = &l->params,
        .trace = {.ops = &source_ops, .self = &source, .traits = {.has_after = l->has_after}},
        .tenants = &l->tenants,
        .classes = &l->classes,
        .sink = {.ops = &sink_ops, .self = l},
        .metrics = {.warmup_ns = l->warmup_ns,
                    .horizon_ns = l->horizon_ns,
                    .slo = l->slo,
                    .n_slo = l->n_slo,
                    .wp = 1,
                    .wq = 2,
                    .exact_quantiles = 1000000},
        .clock = l->clock,
        .concurrency = l->concurrency,
        .seed = l->seed,
        .isolate_tenants = l->isolate_tenants,
        .snapshot_age_ns = l->snapshot_age_ns,
        .leap = l->leap,
        .store_steps = !l->leap,
    };
    bool ok = sim_run(&cfg, &l->result, &l->err);
    mem_free(rc);
    return ok;
}

double lab_metric(const struct lab *l, const char *name)
{
    for (size_t i = 0; i < l->n_summary; i++)
        if (strcmp(l->summary[i].metric, name) == 0)
            return l->summary[i].value;
    ck_abort_msg("no metric %s in the summary", name);
    return (double)NAN;
}

const struct request_row *lab_row(const struct lab *l, uint64_t seq)
{
    for (size_t i = 0; i < l->n_row; i++)
        if (l->row[i].seq == seq)
            return &l->row[i];
    ck_abort_msg("request %llu has no row", (unsigned long long)seq);
    return NULL;
}

size_t lab_find(const struct lab *l, enum decision what, uint64_t seq, size_t n)
{
    for (size_t i = 0; i < l->n_decision; i++)
        if (l->decision[i].what == what && (seq == UINT64_MAX || l->decision[i].seq == seq))
            if (n-- == 0)
                return i;
    return SIZE_MAX;
}

size_t lab_count(const struct lab *l, enum decision what)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_decision; i++)
        n += l->decision[i].what == what;
    return n;
}

ns_t lab_at(const struct lab *l, enum decision what, uint64_t seq, size_t n)
{
    size_t i = lab_find(l, what, seq, n);
    ck_assert_msg(i != SIZE_MAX, "decision %d (%zu) of request %llu was not taken", (int)what, n,
                  (unsigned long long)seq);
    return l->decision[i].at;
}
