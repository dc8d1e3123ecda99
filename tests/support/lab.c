#include "tests/support/lab.h"

#include <check.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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
    *cost = (struct step_cost){
        .device_ns = l->step_ns + l->token_ns * (b->shape.decode_tokens + b->shape.prefill_tokens) +
                     l->context_ns * (double)b->shape.decode_context_sum};
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

void lab_init(struct lab *l)
{
    *l = (struct lab){
        .limits = {.max_num_seqs = 4,
                   .max_num_batched_tokens = 64,
                   .block_size = 1,
                   .max_model_len = 1u << 20,
                   .num_gpu_blocks = 1000,
                   .units_per_block = 1,
                   .block_bytes = 1000,
                   .pcie_bytes_per_s = 1e9,
                   .pcie_latency_ns = 1000,
                   .kv_admission = KV_ADMISSION_PAGED,
                   .admit_interval = 1,
                   .enable_prefix_caching = true,
                   .scheduler_reserve_full_isl = true},
        .engine = "ideal",
        .scheduler = scheduler_find("fcfs"),
        .router = router_find("round_robin"),
        .prefix = prefix_find("lru"),
        .clock = CLOCK_VIRTUAL,
        .n_replicas = 1,
        .seed = 1,
        .step_ns = 1e6,
        .fail_at_step = UINT64_MAX,
        .horizon_ns = NS_NEVER,
    };
    params_init(&l->params);
    names_init(&l->tenants);
    names_init(&l->classes);
}

void lab_reset(struct lab *l)
{
    l->n_decision = l->n_row = l->n_step = l->n_transfer = l->n_summary = 0;
    l->told = 0;
    l->err = (struct err){0};
}

void lab_release(struct lab *l)
{
    params_release(&l->params);
    names_release(&l->tenants);
    names_release(&l->classes);
    mem_free(l->rec);
    mem_free(l->decision);
    mem_free(l->row);
    mem_free(l->reason);
    mem_free(l->step);
    mem_free(l->transfer);
    mem_free(l->summary);
}

struct trace_rec *lab_add(struct lab *l, ns_t at, const char *tenant, uint32_t prompt,
                          uint32_t output)
{
    l->rec = mem_reserve(l->rec, &l->rec_cap, l->n_rec + 1, sizeof(*l->rec));
    l->rec[l->n_rec] = (struct trace_rec){
        .seq = l->n_rec,
        .line = l->n_rec + 1,
        .arrival_at = at,
        .after = TRACE_NO_PARENT,
        .prompt_tokens = prompt,
        .output_tokens = output,
        .max_tokens = output,
        .tenant = names_id(&l->tenants, tenant),
        .slo_class = NAMES_NONE,
        .turn = TRACE_NO_TURN,
    };
    return &l->rec[l->n_rec++];
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
            .kv = kvpolicy_find("full"),
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

/* ---- random workloads ---- */

struct tenant_plan {
    double gap_ns, on_ns, off_ns; /* mean gap; length of on and off phases (off 0: steady) */
    uint32_t prompt, output, burst;
    bool greedy; /* nearly all of memory for one request's output */
};

static uint32_t skewed(const gsl_rng *g, uint32_t most)
{
    double u = gsl_rng_uniform(g);
    return 1 + (uint32_t)(u * u * u * (most - 1));
}

static struct tenant_plan plan_tenant(const gsl_rng *g, const struct lab *l)
{
    uint32_t m = (uint32_t)l->limits.num_gpu_blocks * l->limits.block_size;
    struct tenant_plan p = {
        .gap_ns = l->step_ns * (0.3 + 8.0 * gsl_rng_uniform(g)),
        .prompt = skewed(g, m / 3),
        .output = skewed(g, gsl_rng_uniform(g) < 0.2 ? m / 2 : m / 3),
        .burst = gsl_rng_uniform(g) < 0.3 ? 1 + (uint32_t)(gsl_rng_uniform(g) * 20) : 1,
    };
    if (gsl_rng_uniform(g) < 0.15) {
        p.greedy = true;
        p.prompt = 1;
        p.output = m - m / 10 - 12;
    }
    if (gsl_rng_uniform(g) < 0.4)
        p.on_ns = p.off_ns = l->step_ns * 200 * (0.2 + gsl_rng_uniform(g));
    return p;
}

static int by_arrival(const void *a, const void *b)
{
    const struct trace_rec *x = a, *y = b;
    if (x->arrival_at != y->arrival_at)
        return x->arrival_at < y->arrival_at ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

void lab_random(struct lab *l, uint64_t seed)
{
    static const uint32_t seqs[] = {4, 8, 32}, blocks[] = {1, 1, 4, 16};
    gsl_rng *g = rng_gsl(seed, "lab");
    l->seed = seed;
    l->limits.block_size = blocks[gsl_rng_uniform_int(g, 4)];
    l->limits.num_gpu_blocks = (200 + gsl_rng_uniform_int(g, 800)) / l->limits.block_size;
    l->limits.max_num_seqs = seqs[gsl_rng_uniform_int(g, 3)];
    l->limits.max_num_batched_tokens = 16u << gsl_rng_uniform_int(g, 6);
    if (l->limits.max_num_batched_tokens < l->limits.max_num_seqs)
        l->limits.max_num_batched_tokens = l->limits.max_num_seqs;
    uint32_t n_tenants = 2 + (uint32_t)gsl_rng_uniform_int(g, 4);
    for (uint32_t t = 0; t < n_tenants; t++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", t);
        struct tenant_plan p = plan_tenant(g, l);
        double at = gsl_ran_exponential(g, p.gap_ns * 5);
        uint32_t n = 10 + (uint32_t)gsl_rng_uniform_int(g, 60);
        if (p.greedy) /* they run one after another: as many again would show nothing more */
            n = 4 + n / 10;
        for (uint32_t i = 0; i < n; i++) {
            if (i % p.burst == 0)
                at += gsl_ran_exponential(g, p.gap_ns * p.burst);
            if (p.off_ns > 0 && fmod(at, p.on_ns + p.off_ns) > p.on_ns)
                at += p.off_ns;
            uint32_t output = p.greedy ? p.output : 1 + skewed(g, p.output);
            struct trace_rec *r = lab_add(l, (ns_t)at, name, 1 + skewed(g, p.prompt), output);
            r->max_tokens = r->output_tokens + (uint32_t)gsl_rng_uniform_int(g, 10);
        }
    }
    gsl_rng_free(g);
    qsort(l->rec, l->n_rec, sizeof(*l->rec), by_arrival);
    for (size_t i = 0; i < l->n_rec; i++)
        l->rec[i].seq = i;
}

struct segment *lab_share_prefixes(struct lab *l, uint64_t seed)
{
    struct segment *seg = mem_alloc((2 * l->n_rec + 1) * sizeof(*seg));
    struct rng g;
    rng_init(&g, seed, "prefixes");
    for (size_t i = 0; i < l->n_rec; i++) {
        struct trace_rec *r = &l->rec[i];
        uint32_t common = (uint32_t)rng_below(&g, r->prompt_tokens + 1u);
        seg[2 * i] = (struct segment){1 + rng_below(&g, 4), 0, common};
        seg[2 * i + 1] = (struct segment){1000 + i, 0, r->prompt_tokens - common};
        r->segment = &seg[2 * i];
        r->n_segments = 2;
    }
    return seg;
}
