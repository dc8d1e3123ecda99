/* workload.c: what goes into a lab, and the random workloads: the half of lab.h that needs no
 * engine, so that tests/reference runs the same workloads without one. */
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

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
        .kv = kvpolicy_find("full"),
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
