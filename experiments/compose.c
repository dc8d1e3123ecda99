#include "experiments/compose.h"

#include <math.h>
#include <string.h>

#include "backend/describe.h"
#include "backend/model/weights.h"
#include "backend/registry.h"
#include "experiments/lists.h"
#include "experiments/profile_defaults.h"
#include "experiments/trace_hash.h"
#include "policies/registry.h"
#include "traces/registry.h"

/* ---- one replica ---- */

static bool check_tensor_parallel(const struct model_desc *m, uint32_t tp, struct err *e)
{
    bool heads_fit = m->heads % tp == 0 && (m->kv_heads % tp == 0 || tp % m->kv_heads == 0);
    return heads_fit || err_set(e,
                                "tensor_parallel_size: %u does not divide the %u heads and %u KV "
                                "heads of %s",
                                tp, m->heads, m->kv_heads, m->id);
}

static bool set_model_len(struct limits *l, const struct config *c, const struct model_desc *m,
                          struct err *e)
{
    l->max_model_len = (uint32_t)config_num(c, "max_model_len");
    if (l->max_model_len > m->max_model_len)
        return err_set(e, "max_model_len: %u is more than the %u of %s", l->max_model_len,
                       m->max_model_len, m->id);
    if (l->max_model_len == 0)
        l->max_model_len = m->max_model_len;
    return true;
}

/* Everything but num_gpu_blocks. Swapped bytes are those of all GPUs of a replica, each over its
 * own PCIe link. */
static enum kv_admission kv_admission(const char *name)
{
    if (strcmp(name, "reserve") == 0)
        return KV_ADMISSION_RESERVE;
    return strcmp(name, "lightllm") == 0 ? KV_ADMISSION_LIGHTLLM : KV_ADMISSION_PAGED;
}

static bool set_limits(struct limits *l, const struct config *c, const struct model_desc *m,
                       const struct gpu_desc *g, uint32_t tp, struct err *e)
{
    bool separate = strcmp(config_str(c, "prefill_mode"), "separate") == 0;
    bool swap = strcmp(config_str(c, "preempt"), "swap") == 0;
    *l = (struct limits){
        .max_num_seqs = (uint32_t)config_num(c, "max_num_seqs"),
        .max_num_batched_tokens = (uint32_t)config_num(c, "max_num_batched_tokens"),
        .block_size = (uint32_t)config_num(c, "block_size"),
        .units_per_block = (uint64_t)m->layers * m->kv_heads,
        .pcie_bytes_per_s = g->pcie_bytes_per_s * tp,
        .pcie_latency_ns = llround(g->pcie_latency_ns),
        .kv_admission = kv_admission(config_str(c, "kv_admission")),
        .preempt = swap ? PREEMPT_SWAP : PREEMPT_RECOMPUTE,
        .prefill_mode = separate ? PREFILL_SEPARATE : PREFILL_MIXED,
        .admit_interval = (uint32_t)config_num(c, "admit_interval"),
        .enable_prefix_caching = config_bool(c, "enable_prefix_caching"),
        .scheduler_reserve_full_isl = config_bool(c, "scheduler_reserve_full_isl"),
    };
    l->block_bytes = model_kv_bytes_per_token(m, tp) * tp * l->block_size;
    l->host_blocks = (uint64_t)(config_num(c, "host_memory_gb") * 1e9 / (double)l->block_bytes);
    if (swap && l->host_blocks == 0)
        return err_set(e, "preempt: swap needs room on the host; give host_memory_gb");
    return set_model_len(l, c, m, e);
}

static bool set_blocks(struct replica_config *r, uint64_t given, const struct config *c,
                       struct err *e)
{
    uint64_t blocks = given;
    if (!given && r->backend == backend_find("cpu"))
        return err_set(e, "num_gpu_blocks: the CPU has no GPU memory to fill; give how many KV "
                          "blocks it shall have, such as --set num_gpu_blocks=1000");
    if (!given)
        blocks = backend_kv_blocks(r->backend_env.model, r->backend_env.gpu,
                                   r->backend_env.tensor_parallel_size,
                                   config_num(c, "gpu_memory_utilization"), &r->limits, e);
    if (e->set)
        return false;
    uint64_t unusable = r->engine->null_block ? 1 : 0; /* vLLM's allocator keeps one block back */
    if (blocks <= unusable)
        return err_set(e, "num_gpu_blocks: %llu %s, of which %s keeps %llu; no room for a request",
                       (unsigned long long)blocks, given ? "given" : "fit", r->engine->name,
                       (unsigned long long)unusable);
    r->limits.num_gpu_blocks = blocks - unusable;
    return true;
}

/* Weights of one byte have times in a profile of measured operators only. */
static bool set_dtype(struct model_desc *m, const struct config *c, struct err *e)
{
    if (strcmp(config_str(c, "kv_cache_dtype"), "fp8") == 0)
        m->kv_bytes_per_elem = 1;
    if (strcmp(config_str(c, "dtype"), "bfloat16") == 0)
        return true;
    m->weight_bytes_per_param = 1;
    return strcmp(config_str(c, "backend"), "table") == 0 ||
           err_set(e, "dtype: backend %s knows no times of %s; use --backend table --profile DIR",
                   config_str(c, "backend"), config_str(c, "dtype"));
}

/* What runs for real is computed in the type that its backend names. */
static bool check_executes(const struct config *c, const struct backend_ops *b, struct err *e)
{
    if (!(b->caps & BACKEND_EXECUTES) || strcmp(config_str(c, "kv_cache_dtype"), "auto") == 0)
        return true;
    return err_set(e, "kv_cache_dtype: %s keeps KV as it computes it; set it to auto", b->name);
}

static bool compose_replica(struct composed *x, struct replica_config *r, const struct config *c,
                            const struct replica_spec *spec, struct err *e)
{
    struct model_desc *m = arena_alloc(&x->arena, sizeof *m);
    struct gpu_desc *g = arena_alloc(&x->arena, sizeof *g);
    uint32_t tp = (uint32_t)config_num(c, "tensor_parallel_size");
    bool weights = config_is_file(spec->model) && weights_is_file(spec->model);
    if (!(weights ? weights_describe : describe_model)(spec->model, m, e) || !set_dtype(m, c, e) ||
        !describe_gpu(spec->gpu, g, e) || !profile_agrees(c, m, g, e) ||
        !check_tensor_parallel(m, tp, e) || !set_limits(&r->limits, c, m, g, tp, e))
        return false;
    r->engine = engine_model_find(config_str(c, "engine"));
    r->scheduler = scheduler_find(config_str(c, "scheduler"));
    r->prefix = prefix_find(config_str(c, "prefix"));
    r->prefix_pair_cost = model_pair_cost(m);
    if (r->prefix->needs_future)
        return err_set(e,
                       "prefix: %s has to know what comes, which only `tandem trace cache` does; "
                       "run another one",
                       r->prefix->name);
    r->kv = kvpolicy_find(config_str(c, "kv"));
    r->kv_budget = kvbudget_find(config_str(c, "kv.budget_policy"));
    r->kv_shape = (struct kv_shape){
        .layers = m->layers,
        .kv_heads = m->kv_heads,
        .block_size = r->limits.block_size,
        .group = m->heads / m->kv_heads,
        .token_bytes = (uint32_t)(2 * m->head_dim * m->kv_bytes_per_elem),
    };
    r->backend = backend_find(config_str(c, "backend"));
    r->backend_env = (struct backend_env){
        .model = m,
        .gpu = g,
        .tensor_parallel_size = tp,
        .params = &c->params,
        .profile = config_str(c, "profile"),
        .dtype = config_str(c, "dtype"),
        .weights = weights ? spec->model : NULL,
        .seed = (uint64_t)config_num(c, "seed"),
    };
    if (r->backend == backend_find("cuda") && spec->count > 1)
        return err_set(e, "replicas: cuda runs one replica, on its one GPU; set replicas to 1");
    return check_executes(c, r->backend, e) && set_blocks(r, spec->num_gpu_blocks, c, e);
}

static bool compose_replicas(struct composed *x, const struct config *c, struct err *e)
{
    struct replica_spec *spec;
    size_t n_spec;
    if (!list_replicas(c, &x->arena, &spec, &n_spec, e))
        return false;
    uint32_t n = 0;
    for (size_t i = 0; i < n_spec; i++)
        n += spec[i].count;
    x->replica = arena_alloc(&x->arena, n * sizeof *x->replica);
    x->sim.replica = x->replica;
    for (size_t i = 0; i < n_spec; i++) {
        struct replica_config *first = &x->replica[x->sim.n_replicas];
        x->blocks_computed = x->blocks_computed || spec[i].num_gpu_blocks == 0;
        if (!compose_replica(x, first, c, &spec[i], e))
            return false;
        for (uint32_t j = 1; j < spec[i].count; j++)
            first[j] = *first;
        x->sim.n_replicas += spec[i].count;
    }
    return true;
}

/* What backend replay plays back: each replica its part. */
static bool compose_recording(struct composed *x, const struct config *c, struct err *e)
{
    if (strcmp(config_str(c, "backend"), "replay") != 0)
        return true;
    if (!recording_read(&x->recording, c, x->sim.n_replicas, e))
        return false;
    for (uint32_t i = 0; i < x->sim.n_replicas; i++)
        x->replica[i].backend_env.recording = &x->recording.replica[i].rec;
    return true;
}

/* ---- what is measured ---- */

/* The weights of service are the scheduler's where it has some, whichever scheduler runs: so
 * schedulers are compared by one measure. */
static double service_weight(const struct config *c, const char *key, double dflt)
{
    struct config_key found;
    return config_key_find(key, &found) ? config_num(c, key) : dflt;
}

static bool compose_metrics(struct composed *x, const struct config *c, struct err *e)
{
    struct slo_class *slo;
    size_t n_slo;
    if (!list_slo(c, &x->arena, &slo, &n_slo, e))
        return false;
    double horizon = config_num(c, "horizon_s");
    x->slo_default = !config_is_set(c, "slo");
    x->sim.metrics = (struct metrics_config){
        .warmup_ns = ns_from_s(config_num(c, "warmup_s")),
        .horizon_ns = isnan(horizon) ? NS_NEVER : ns_from_s(horizon),
        .slo = slo,
        .n_slo = n_slo,
        .wp = service_weight(c, "vtc.wp", 1),
        .wq = service_weight(c, "vtc.wq", 2),
        .exact_quantiles = (uint64_t)config_num(c, "exact_quantiles"),
        .classes = &x->classes,
    };
    if (x->sim.metrics.horizon_ns <= x->sim.metrics.warmup_ns)
        return err_set(e, "horizon_s: %g is not after warmup_s %g", horizon,
                       config_num(c, "warmup_s"));
    return true;
}

/* ---- the trace and the other inputs ---- */

static bool compose_trace(struct composed *x, const struct config *c,
                          const struct trace_source *given, struct err *e)
{
    const char *path = config_str(c, "trace");
    if (!path || *path == '\0')
        return err_set(e, "run: there is no trace; give --trace FILE|SPEC or the key `trace`");
    if (given) {
        x->sim.trace = *given;
        x->trace_is_open = true;
        return sha256_file(path, x->trace_sha256, e);
    }
    x->trace_env = (struct trace_env){&x->tenants, &x->classes, x->sim.seed, &c->params};
    x->trace_is_open =
        trace_sha256(path, x->trace_sha256, e) &&
        trace_open(path, config_str(c, "trace_format"), &x->trace_env, &x->sim.trace, e);
    if (x->trace_is_open)
        trace_synthetic(&x->trace_env, &x->sim.trace, x->synthetic, sizeof x->synthetic);
    return x->trace_is_open;
}

/* Adds what describes a model or GPU: a file's bytes, or the preset's text. */
static bool add_description(struct sha256 *s, const char *name, const char *id,
                            const struct preset *(*preset_at)(size_t), struct err *e)
{
    char hex[SHA256_HEX];
    if (config_is_file(name)) {
        if (!sha256_path(name, hex, e))
            return false;
        sha256_add(s, hex, strlen(hex));
        return true;
    }
    const struct preset *p;
    for (size_t i = 0; (p = preset_at(i)) != NULL; i++)
        if (strcmp(p->id, id) == 0)
            sha256_add(s, p->json, strlen(p->json));
    return true;
}

static bool hash_inputs(struct composed *x, const struct config *c, struct err *e)
{
    struct replica_spec *spec;
    size_t n;
    if (!list_replicas(c, &x->arena, &spec, &n, e))
        return false;
    struct sha256 s;
    sha256_begin(&s);
    sha256_add(&s, x->trace_sha256, strlen(x->trace_sha256));
    const struct replica_config *r = x->replica;
    for (size_t i = 0; i < n; r += spec[i++].count)
        if (!add_description(&s, spec[i].model, r->backend_env.model->id, preset_model_at, e) ||
            !add_description(&s, spec[i].gpu, r->backend_env.gpu->id, preset_gpu_at, e))
            return false;
    const char *profile = config_str(c, "profile");
    if (profile) {
        char hex[SHA256_HEX];
        if (!sha256_path(profile, hex, e))
            return false;
        sha256_add(&s, hex, strlen(hex));
    }
    sha256_end(&s, x->inputs_sha256);
    return true;
}

/* A policy that asks for predictions would get none, and nobody would notice. */
static bool check_predictor(const struct composed *x, const struct config *c, struct err *e)
{
    struct config_key key;
    const char *scheduler = config_str(c, "scheduler");
    const struct scheduler_ops *ops = scheduler_find(scheduler);
    if (ops->predictor && !(ops->needs & SCHED_ORACLE) && !x->sim.predictor)
        return err_set(e, "scheduler: %s needs a predictor; give --predictor", scheduler);
    bool predicts = strcmp(scheduler, "vtc") == 0 && config_key_find("vtc.predict", &key) &&
                    config_bool(c, "vtc.predict");
    return !predicts || x->sim.predictor ||
           err_set(e, "vtc.predict: there is no predictor; give --predictor");
}

static bool check_replayed_trace(const struct composed *x, const struct config *c, struct err *e)
{
    const char *was = x->recording.trace_sha256;
    return *was == '\0' || strcmp(was, x->trace_sha256) == 0 ||
           err_set(e,
                   "replay: %s is not the trace of the run (its sha256 is %.12s..., the run's "
                   "%.12s...); give that one with --trace",
                   config_str(c, "trace"), x->trace_sha256, was);
}

bool compose(struct composed *x, const struct config *c, struct err *e)
{
    return compose_on(x, c, NULL, e);
}

bool compose_on(struct composed *x, const struct config *c, const struct trace_source *given,
                struct err *e)
{
    *x = (struct composed){0};
    arena_init(&x->arena);
    names_init(&x->tenants);
    names_init(&x->classes);
    x->sim.router = router_find(config_str(c, "router"));
    x->sim.predictor = predictor_find(config_str(c, "predictor")); /* "none": NULL */
    x->sim.params = &c->params;
    x->sim.tenants = &x->tenants;
    x->sim.classes = &x->classes;
    x->sim.clock = strcmp(config_str(c, "clock"), "paced") == 0 ? CLOCK_PACED : CLOCK_VIRTUAL;
    x->sim.leap = config_bool(c, "leap");
    x->sim.isolate_tenants = strcmp(config_str(c, "prefix.isolation"), "tenant") == 0;
    x->sim.snapshot_age_ns = ns_from_s(config_num(c, "router.snapshot_age_ms") / 1000.0);
    x->sim.concurrency = (uint32_t)config_num(c, "concurrency");
    x->sim.seed = (uint64_t)config_num(c, "seed");
    return check_predictor(x, c, e) && compose_replicas(x, c, e) && compose_recording(x, c, e) &&
           compose_metrics(x, c, e) && compose_trace(x, c, given, e) &&
           check_replayed_trace(x, c, e) && hash_inputs(x, c, e);
}

void compose_release(struct composed *x)
{
    if (x->trace_is_open)
        x->sim.trace.ops->close(x->sim.trace.self);
    recording_release(&x->recording);
    names_release(&x->tenants);
    names_release(&x->classes);
    arena_release(&x->arena);
    *x = (struct composed){0};
}
