/* prop_executor.c: the executor's blocks under random workloads with little memory, shared prompts,
 * preemption by recompute and by swap: every token a step reads is the one its request has there,
 * behind all that its request has before it, as if it had run alone. On a device of paper. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/chaos.h"
#include "tests/support/lab.h"
#include "tests/support/paper_device.h"
#include "tests/support/watched.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

static const struct model_desc tiny = {
    .id = "tiny",
    .layers = 1,
    .hidden = 8,
    .heads = 2,
    .kv_heads = 1,
    .head_dim = 4,
    .intermediate = 8,
    .vocab = 1000,
    .max_model_len = 1 << 20,
    .tied_embeddings = true,
    .rms_norm_eps = 1e-5,
    .rope_theta = 1e4,
};

/* ---- what is expected of a row ---- */

/* The hash of a request's first n tokens, so that the next step need not start anew. By slot. */
static struct known {
    uint32_t n;
    uint64_t hash;
} known[4096];
static uint32_t block_size; /* of this run */

static uint64_t alone(struct known *k, const struct content *c, uint32_t n)
{
    uint32_t *token = mem_alloc((n - k->n) * sizeof(*token));
    watched_tokens(c, block_size, tiny.vocab, k->n, n, token);
    for (uint32_t i = 0; i < n - k->n; i++)
        k->hash = paper_hash(k->hash, token[i]);
    k->n = n;
    mem_free(token);
    return k->hash;
}

static void forget(req_id id)
{
    ck_assert_uint_lt(id, ARRAY_LEN(known));
    known[id] = (struct known){0};
}

static void check_row(const struct executor *x, uint32_t i, const struct content *c,
                      const struct batch_seq *b)
{
    struct paper_result r = paper_last(executor_device(x));
    if (i >= r.n_seqs || r.hash[i] != alone(&known[b->id], c, b->context + b->n_tokens))
        ck_abort_msg("slot %u reads something else", b->id);
}

/* ---- workloads ---- */

/* Families of prompts that begin alike and part somewhere; some go on as conversations. */
static void share(struct lab *l, struct segment (*seg)[2], uint64_t seed)
{
    for (size_t i = 0; i < l->n_rec; i++) {
        struct trace_rec *r = &l->rec[i];
        if (i % 4 == 3)
            continue; /* shares nothing */
        uint32_t common = r->prompt_tokens * (uint32_t)(1 + (i + seed) % 4) / 4;
        seg[i][0] = (struct segment){1 + i % 5, 0, common};
        seg[i][1] = (struct segment){1000 + i, 0, r->prompt_tokens - common};
        r->segment = seg[i];
        r->n_segments = 2;
        r->continues = common == r->prompt_tokens;
    }
}

/* Any but Belady's, which needs the future. */
static const struct prefix_ops *prefix_drawn(uint64_t seed)
{
    struct rng g;
    size_t n = 0;
    rng_init(&g, seed, "prefix");
    while (prefix_at(n) != NULL)
        n++;
    const struct prefix_ops *ops = prefix_at(rng_below(&g, n));
    return strcmp(ops->name, "belady") == 0 ? prefix_find("s3fifo") : ops;
}

static void run(struct lab *l, uint64_t seed)
{
    static const char *const schedulers[] = {"fcfs", "vtc", "lpm"};
    static struct scheduler_ops whole; /* the real engines do not pack what they swap */
    whole = sched_chaos;
    whole.offload = NULL;
    lab_init(l);
    lab_random(l, seed);
    l->limits.max_model_len = 1u << 16;
    l->engine = "tandem";
    l->scheduler = seed % 4 == 3 ? &whole : scheduler_find(schedulers[seed % 4]);
    l->limits.enable_prefix_caching = seed % 9 != 0;
    l->limits.units_per_block = 1 + seed % 3;
    l->prefix = prefix_drawn(seed);
    if (seed % 2 == 0) {
        l->limits.preempt = PREEMPT_SWAP;
        l->limits.host_blocks = l->limits.num_gpu_blocks / (1 + seed % 3);
    }
    l->backend = &watched_backend;
    l->backend_env.model = &tiny;
    l->backend_env.tensor_parallel_size = 1;
    params_set_num(&l->params, "chaos.seed", PARAM_INT, (double)seed);
    block_size = l->limits.block_size;
    struct segment(*seg)[2] = mem_alloc(l->n_rec * sizeof(*seg));
    share(l, seg, seed);
    ck_assert_msg(lab_run(l), "seed %llu: %s", (unsigned long long)seed, l->err.text);
    mem_free(seg);
}

START_TEST(every_read_is_its_own)
{
    uint64_t preempted = 0;
    watch =
        (struct watch){.config.device = &paper_device, .on_attach = forget, .on_row = check_row};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        run(&l, seed);
        preempted += lab_count(&l, DEC_PREEMPT);
        lab_release(&l);
    }
    printf("executor: %llu rows, %llu blocks hit, %llu preemptions, %llu swaps in, %llu evicted\n",
           (unsigned long long)watch.rows, (unsigned long long)watch.hits,
           (unsigned long long)preempted, (unsigned long long)watch.swaps_in,
           (unsigned long long)watch.evicted);
    ck_assert_uint_gt(watch.hits, 10 * runs());
    ck_assert_uint_gt(preempted, runs());
    ck_assert_uint_gt(watch.swaps_in, runs() / 2);
    ck_assert_uint_gt(watch.evicted, 10 * runs());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("executor");
    TCase *t = tcase_create("blocks");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, every_read_is_its_own);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
