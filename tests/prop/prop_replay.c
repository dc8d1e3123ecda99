/* prop_replay.c: the second half of T16: what was recorded of a run, measured or modelled, replays
 * to the same decisions (equal digests); and what is not the same run is refused by name. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/registry.h"
#include "policies/registry.h"
#include "tests/support/chaos.h"
#include "tests/support/recorded.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

/* ---- a backend that measures: durations out of nowhere, swaps that end when they end ---- */

struct dice {
    struct rng rng;
    uint64_t begun, done;
};

static void *dice_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                       struct err *e)
{
    (void)note;
    (void)e;
    struct dice *d = arena_alloc(a, sizeof(*d));
    rng_init(&d->rng, (uint64_t)params_find(env->params, "chaos.seed")->num, "dice");
    return d;
}

static bool dice_step(void *self, const struct batch *b, struct step_cost *cost, struct err *e)
{
    struct dice *d = self;
    (void)b;
    (void)e;
    cost->wall_ns = (ns_t)(1 + rng_u64(&d->rng) % (3 * NS_PER_MS));
    cost->device_ns = (double)cost->wall_ns / 2;
    return true;
}

static bool dice_swap(void *self, const struct swap *w, ns_t *done_at, struct err *e)
{
    struct dice *d = self;
    (void)done_at;
    (void)e;
    ck_assert_uint_eq(w->number, d->begun);
    ck_assert_uint_gt(w->n, 0);
    d->begun++;
    return true;
}

static bool dice_swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    struct dice *d = self;
    (void)e;
    uint64_t open = d->begun - d->done;
    ck_assert_uint_eq(seen, d->done);
    if (open > 0)
        d->done += wait ? 1 + rng_u64(&d->rng) % open : rng_u64(&d->rng) % (open + 1);
    *done = d->done;
    return true;
}

static const struct backend_ops dice_ops = {
    .name = "dice",
    .doc = "durations at random",
    .caps = BACKEND_MEASURED | BACKEND_EXECUTES,
    .open = dice_open,
    .step = dice_step,
    .swap = dice_swap,
    .swaps_done = dice_swaps_done,
};

/* ---- workloads ---- */

/* Prompts of a few families that begin alike; every third workload swaps. */
static struct segment *replay_lab(struct lab *l, uint64_t seed)
{
    static const char *const schedulers[] = {"fcfs", "vtc", "lpm"};
    static struct scheduler_ops whole; /* what executes does not pack what it swaps */
    whole = sched_chaos;
    whole.offload = NULL;
    lab_init(l);
    lab_random(l, seed);
    l->scheduler = seed % 4 == 3 ? &whole : scheduler_find(schedulers[seed % 4]);
    l->limits.enable_prefix_caching = seed % 5 != 0;
    if (seed % 3 != 0) {
        l->limits.preempt = PREEMPT_SWAP;
        l->limits.host_blocks = l->limits.num_gpu_blocks / (1 + seed % 3);
    }
    if (seed % 2 == 0)
        l->limits.pcie_bytes_per_s = 1e6; /* a block takes a millisecond */
    if (seed % 7 == 0)
        l->horizon_ns = l->rec[l->n_rec / 2].arrival_at + 1;
    params_set_num(&l->params, "chaos.seed", PARAM_INT, (double)seed);
    struct segment *seg = mem_alloc(l->n_rec * sizeof(*seg));
    for (size_t i = 0; i < l->n_rec; i += 2) {
        seg[i] = (struct segment){1 + i % 6, 0, l->rec[i].prompt_tokens};
        l->rec[i].segment = &seg[i];
        l->rec[i].n_segments = 1;
    }
    return seg;
}

struct tally {
    uint64_t steps, swaps, cut, requests;
};

static void replays_to_the_same(struct lab *l, uint64_t seed, struct tally *t)
{
    struct recorded rec;
    ck_assert_msg(lab_run(l), "seed %llu: %s", (unsigned long long)seed, l->err.text);
    uint64_t digest = l->result.digest;
    recorded_take(&rec, l);
    t->steps += rec.rec.n_steps;
    t->swaps += rec.rec.n_swaps;
    t->requests += l->result.finished;
    for (size_t i = 0; i < rec.rec.n_swaps; i++)
        t->cut += rec.swap[i].done_at == NS_NEVER;
    l->backend = backend_find("replay");
    l->backend_env.recording = &rec.rec;
    ck_assert_msg(lab_run(l), "seed %llu: %s", (unsigned long long)seed, l->err.text);
    ck_assert_msg(l->result.digest == digest, "seed %llu: another digest",
                  (unsigned long long)seed);
    ck_assert_uint_eq(l->n_step, rec.rec.n_steps);
    ck_assert_uint_eq(l->n_transfer, rec.rec.n_swaps);
    for (size_t i = 0; i < l->n_step; i++) {
        ck_assert_int_eq(l->step[i].at, rec.step[i].start_at);
        ck_assert_int_eq(l->step[i].duration_ns, rec.step[i].duration_ns);
    }
    recorded_release(&rec);
}

START_TEST(t16_measured_replays)
{
    struct tally t = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        struct segment *seg = replay_lab(&l, seed);
        l.engine = "tandem";
        l.backend = &dice_ops;
        replays_to_the_same(&l, seed, &t);
        mem_free(seg);
        lab_release(&l);
    }
    printf("T16: measured: %llu requests, %llu steps, %llu swaps, %llu of them cut off\n",
           (unsigned long long)t.requests, (unsigned long long)t.steps, (unsigned long long)t.swaps,
           (unsigned long long)t.cut);
    ck_assert_uint_gt(t.swaps, runs());
}
END_TEST

START_TEST(t16_modelled_replays)
{
    static const char *const engines[] = {"ideal", "vllm-0.19", "vllm-0.8"};
    struct tally t = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        struct segment *seg = replay_lab(&l, seed);
        l.engine = engines[seed % 3];
        replays_to_the_same(&l, seed, &t);
        mem_free(seg);
        lab_release(&l);
    }
    printf("T16: modelled: %llu requests, %llu steps, %llu swaps, %llu of them cut off\n",
           (unsigned long long)t.requests, (unsigned long long)t.steps, (unsigned long long)t.swaps,
           (unsigned long long)t.cut);
    ck_assert_uint_gt(t.swaps, runs());
    ck_assert(t.cut > 0 || runs() < 100);
}
END_TEST

/* Something is changed between recording and replay: whatever comes of it, another decision is not
 * taken for the same. */
START_TEST(t16_differences_are_named)
{
    uint64_t named = 0, digests = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        struct recorded rec;
        struct segment *seg = replay_lab(&l, seed);
        l.engine = "tandem";
        l.backend = &dice_ops;
        ck_assert(lab_run(&l));
        uint64_t digest = l.result.digest;
        recorded_take(&rec, &l);
        struct trace_rec *changed = &l.rec[(seed * 7) % l.n_rec];
        if (changed->n_segments == 0)
            changed->prompt_tokens++;
        else
            changed->output_tokens++;
        l.backend = backend_find("replay");
        l.backend_env.recording = &rec.rec;
        if (!lab_run(&l)) {
            ck_assert_msg(strncmp(l.err.text, "replay: ", 8) == 0, "%s", l.err.text);
            named++;
        } else {
            digests += l.result.digest != digest;
        }
        recorded_release(&rec);
        mem_free(seg);
        lab_release(&l);
    }
    printf("T16: of %llu changed runs %llu are named, %llu have another digest\n",
           (unsigned long long)runs(), (unsigned long long)named, (unsigned long long)digests);
    ck_assert_uint_gt(named, runs() / 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("replay");
    TCase *t = tcase_create("t16");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t16_measured_replays);
    tcase_add_test(t, t16_modelled_replays);
    tcase_add_test(t, t16_differences_are_named);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
