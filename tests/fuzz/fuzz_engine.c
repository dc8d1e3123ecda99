/* fuzz_engine.c: any bytes as a workload, the limits of a replica, its policies, what a scheduler
 * without sense answers, and a backend that fails: through the engine, with all its invariants on.
 * Whatever they are, the run ends, every request is accounted for, and with leaps it tells the very
 * same. The first bytes are the setting, then come requests; what is left is the scheduler's. */
#include <stdio.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/fuzz/tape.h"
#include "tests/support/chaos.h"
#include "tests/support/lab.h"

#define MOST_REQUESTS 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Chaos wakes up every few ms: for a minute, then less and less often, since a tape may last for
 * centuries, to the very end of the clock. */
static ns_t on_timer(void *self, const struct sched_view *v)
{
    ns_t pause = MIN(v->now, NS_NEVER - v->now) / 4;
    return v->now < 60 * NS_PER_S ? sched_chaos.on_timer(self, v) : v->now + MAX(pause, 1);
}

static const struct scheduler_ops *pick_scheduler(struct tape *t, struct scheduler_ops *chaos)
{
    const struct scheduler_ops *ops = scheduler_at(tape_byte(t));

    *chaos = sched_chaos;
    chaos->on_timer = on_timer;
    return ops ? ops : chaos;
}

static const struct router_ops *pick_router(struct tape *t)
{
    const struct router_ops *ops = router_at(tape_byte(t));
    return ops ? ops : router_find("round_robin");
}

static const struct prefix_ops *pick_prefix(struct tape *t)
{
    const struct prefix_ops *ops = prefix_at(tape_byte(t));
    return ops && !ops->needs_future ? ops : prefix_find("lru");
}

/* A scheduler that wants a predictor has one. */
static const struct predictor_ops *pick_predictor(struct tape *t, const struct scheduler_ops *s)
{
    const struct predictor_ops *ops = predictor_at(tape_byte(t));
    return ops || !s->predictor ? ops : predictor_find(s->predictor);
}

/* As compose.c lets limits be. */
static void set_limits(struct limits *l, struct tape *t)
{
    uint8_t bits = tape_byte(t);

    l->block_size = 1u << tape_below(t, 6);
    l->num_gpu_blocks = 1u + tape_byte(t);
    l->units_per_block = 1u + tape_below(t, 5);
    l->max_num_seqs = 1u + tape_below(t, 32);
    l->max_num_batched_tokens = l->max_num_seqs + 4u * tape_byte(t);
    l->max_model_len = 1u + 2u * tape_byte(t);
    l->admit_interval = 1u + tape_below(t, 5);
    l->kv_admission = (enum kv_admission)tape_below(t, 3);
    l->enable_prefix_caching = bits & 1;
    l->scheduler_reserve_full_isl = bits & 2;
    l->prefill_mode = bits & 4 ? PREFILL_SEPARATE : PREFILL_MIXED;
    l->preempt = bits & 8 ? PREEMPT_SWAP : PREEMPT_RECOMPUTE;
    l->host_blocks = bits & 24 ? 1u + tape_byte(t) : 0;
    l->pcie_bytes_per_s = (double)(1 + (tape_number(t) >> 20));
    l->pcie_latency_ns = (ns_t)(tape_number(t) >> 20);
}

static void set_run(struct lab *l, struct tape *t)
{
    uint8_t bits = tape_byte(t);
    const struct engine_model *engine = engine_model_at(tape_byte(t));

    l->engine = engine ? engine->name : "ideal";
    l->n_replicas = 1 + tape_below(t, 4);
    l->concurrency = bits & 1 ? 1u + tape_below(t, 9) : 0;
    l->snapshot_age_ns = bits & 2 ? (ns_t)(tape_number(t) >> 16) : 0;
    l->isolate_tenants = bits & 4;
    l->has_after = bits & 8;
    l->warmup_ns = bits & 16 ? (ns_t)(tape_number(t) >> 2) : 0;
    l->horizon_ns = bits & 32 ? (ns_t)(tape_number(t) >> 1) : NS_NEVER;
    l->fail_at_step = bits & 64 ? tape_byte(t) : UINT64_MAX;
    l->step_ns = (double)(tape_number(t) >> 2);
    l->token_ns = (double)tape_number(t) / 0x1p24;
    l->context_ns = bits & 128 ? 37.7 : 0;
}

/* At most what a prompt holds: a shared beginning, and what is its own or another's. */
static void add_segments(struct trace_rec *r, struct segment *seg, struct tape *t)
{
    uint8_t bits = tape_byte(t);
    uint32_t common = (uint32_t)((uint64_t)r->prompt_tokens * (bits & 15) / 16);
    uint32_t n = 0;

    if (bits < 32)
        return;
    if (common > 0)
        seg[n++] = (struct segment){1 + bits / 64, 0, common};
    seg[n++] = (struct segment){bits & 16 ? 5 : 1000 + r->seq, 0, r->prompt_tokens - common};
    r->segment = seg;
    r->n_segments = n;
    r->continues = bits & 32;
}

static uint32_t tokens(struct tape *t)
{
    uint64_t n = tape_number(t);
    return (uint32_t)MIN(n, UINT32_MAX - 1) + 1;
}

static void add_request(struct lab *l, struct segment *seg, ns_t *at, struct tape *t)
{
    uint8_t bits = tape_byte(t), more;
    char tenant[16];
    uint32_t prompt = tokens(t), output = tokens(t);
    struct trace_rec *r;

    *at = ns_add(*at, (ns_t)(tape_number(t) >> 1));
    snprintf(tenant, sizeof(tenant), "t%u", bits & 3u);
    r = lab_add(l, *at, tenant, prompt, output);
    more = tape_byte(t);
    r->max_tokens += MIN(more, UINT32_MAX - output);
    r->predicted_tokens = bits & 4 ? tape_byte(t) : 0;
    r->priority = bits & 8 ? (int32_t)tape_byte(t) - 128 : 0;
    r->session = bits & 16 ? "s" : NULL;
    add_segments(r, seg, t);
    if (l->has_after && bits >= 128 && r->seq > 0) {
        r->after = r->seq - 1 - tape_below(t, (uint32_t)r->seq);
        r->delay_ns = (ns_t)(tape_number(t) >> 1);
    }
}

/* What is left, as the text that chaos takes its answers from. */
static void set_answers(struct lab *l, struct tape *t)
{
    char text[4096];
    size_t n = MIN(t->left, sizeof(text) - 1);

    for (size_t i = 0; i < n; i++)
        text[i] = (char)(t->at[i] ? t->at[i] : 1);
    text[n] = '\0';
    params_set_str(&l->params, "chaos.tape", text);
}

static void expect_all_accounted(const struct lab *l)
{
    const struct sim_result *r = &l->result;
    CHECK(r->finished + r->refused + r->unfinished == l->n_row, "fuzz: every request has a row",
          "%llu finished, %llu refused, %llu unfinished, %zu rows", (unsigned long long)r->finished,
          (unsigned long long)r->refused, (unsigned long long)r->unfinished, l->n_row);
    for (size_t i = 0; i < l->n_row; i++)
        CHECK(l->row[i].output_tokens <= l->rec[l->row[i].seq].output_tokens,
              "fuzz: nobody gets more than the trace says", "request %llu: %u tokens",
              (unsigned long long)l->row[i].seq, l->row[i].output_tokens);
}

static void run(struct lab *l)
{
    bool ok = lab_run(l);
    CHECK(ok != l->err.set, "fuzz: an error has a message", "%s", l->err.text);
    CHECK(ok || l->fail_at_step != UINT64_MAX, "fuzz: only a backend fails", "%s", l->err.text);
    if (!ok)
        return;
    expect_all_accounted(l);
    uint64_t digest = l->result.digest, told = l->told;
    size_t rows = l->n_row;
    l->leap = true;
    ok = lab_run(l);
    CHECK(ok || l->fail_at_step != UINT64_MAX, "fuzz: a leap does not fail", "%s", l->err.text);
    CHECK(!ok || (l->result.digest == digest && l->told == told && l->n_row == rows),
          "fuzz: a leap changes nothing", "%016llx without, %016llx with",
          (unsigned long long)digest, (unsigned long long)l->result.digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tape tape = {data, size};
    struct scheduler_ops chaos;
    struct segment seg[MOST_REQUESTS][2];
    struct lab l;
    ns_t at = 0;

    lab_init(&l);
    l.scheduler = pick_scheduler(&tape, &chaos);
    l.router = pick_router(&tape);
    l.prefix = pick_prefix(&tape);
    l.predictor = pick_predictor(&tape, l.scheduler);
    set_limits(&l.limits, &tape);
    set_run(&l, &tape);
    uint32_t n = tape_below(&tape, MOST_REQUESTS + 1);
    for (uint32_t i = 0; i < n; i++)
        add_request(&l, seg[i], &at, &tape);
    set_answers(&l, &tape);
    run(&l);
    lab_release(&l);
    return 0;
}
