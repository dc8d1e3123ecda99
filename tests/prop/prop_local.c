/* prop_local.c: what schedulers and routers that look at prefixes guarantee (scheduling.md section
 * 7): LPM and DFS compute every prefix once although memory holds only one path (T11), and
 * DLPM behind D2LPM is fair on every worker and over all of them (T7). Prints how near the
 * workloads come. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

/* ---- T11: a batch that is all there at the beginning, one at a time ---- */

#define PROMPTS 24u
#define LEVELS 4u
#define PIECE 40u /* tokens; more than what LPM takes for alike */

/* Each prompt is a path down a random tree of pieces and ends in a token of its own, so that none
 * is hit to its end. Returns the tokens of the tree of all prompts: what must be computed. */
static uint64_t fill_tree(struct lab *l, uint64_t seed, struct segment seg[PROMPTS][LEVELS + 1])
{
    struct rng g;
    uint64_t stream[PROMPTS][LEVELS], size = 0;
    uint32_t longest = 0;
    rng_init(&g, seed, "prefix tree");
    for (uint32_t i = 0; i < PROMPTS; i++) {
        uint32_t n = (uint32_t)rng_below(&g, LEVELS + 1), tokens = 1;
        uint64_t path = 1;
        for (uint32_t k = 0; k < n; k++) {
            path = path * 3 + rng_below(&g, 3);
            stream[i][k] = path;
            seg[i][k] = (struct segment){path, 0, PIECE + (uint32_t)(path % 7)};
            bool seen = false;
            for (uint32_t j = 0; j < i; j++)
                for (uint32_t m = 0; m < LEVELS; m++)
                    seen = seen || stream[j][m] == path;
            size += seen ? 0 : seg[i][k].tokens;
            tokens += seg[i][k].tokens;
        }
        for (uint32_t k = n; k < LEVELS; k++)
            stream[i][k] = 0;
        seg[i][n] = (struct segment){1000000 + i, 0, 1};
        size++;
        struct trace_rec *r = lab_add(l, 0, "a", tokens, 1);
        r->segment = seg[i];
        r->n_segments = n + 1;
        longest = MAX(longest, tokens);
    }
    l->limits.max_num_seqs = 1;
    l->limits.num_gpu_blocks = longest + 1; /* and its output */
    l->limits.max_num_batched_tokens = 4096;
    return size;
}

static uint64_t computed(struct lab *l, const char *scheduler)
{
    l->scheduler = scheduler_find(scheduler);
    ck_assert_msg(lab_run(l), "%s: %s", scheduler, l->err.text);
    uint64_t n = 0;
    for (size_t i = 0; i < l->n_row; i++)
        n += l->row[i].prompt_tokens - l->row[i].cached_tokens;
    ck_assert_uint_eq(l->result.finished, PROMPTS);
    return n;
}

START_TEST(t11_offline)
{
    static const char *const optimal[] = {"lpm", "dfs"};
    uint64_t best = 0, fcfs = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct segment seg[PROMPTS][LEVELS + 1];
        struct lab l;
        lab_init(&l);
        uint64_t size = fill_tree(&l, seed, seg);
        for (size_t i = 0; i < ARRAY_LEN(optimal); i++) {
            uint64_t n = computed(&l, optimal[i]);
            ck_assert_msg(n == size, "T11: %s computes %llu tokens of a tree of %llu (seed %llu)",
                          optimal[i], (unsigned long long)n, (unsigned long long)size,
                          (unsigned long long)seed);
        }
        best += size;
        fcfs += computed(&l, "fcfs");
        lab_release(&l);
    }
    printf("T11: lpm and dfs compute the tree of all prompts, fcfs %.2f times as much\n",
           (double)fcfs / (double)best);
    ck_assert_double_gt((double)fcfs, 1.3 * (double)best); /* or every order would do */
}
END_TEST

/* ---- T7: D2LPM, and DLPM on every worker ---- */

#define TENANTS 8u
#define WORKERS 3u

/* Difference of the service of two tenants while both wait: its range is what is bounded. */
struct range {
    bool inside;
    double low, high;
};

static void widen(struct range *r, double d, double *worst)
{
    r->low = fmin(r->low, d);
    r->high = fmax(r->high, d);
    *worst = fmax(*worst, r->high - r->low);
}

struct worker {
    double w[TENANTS]; /* service of each tenant: what was not cached of prompts, and outputs */
    uint32_t waiting[TENANTS];
    bool backlogged[TENANTS]; /* after the last decision's admissions */
    bool open;                /* of a decision the admissions are not over yet */
    struct range pair[TENANTS][TENANTS];
};

/* One run at a time is watched. */
static struct watched {
    const struct scheduler_ops *inner;
    uint32_t n_workers;
    struct worker worker[WORKERS];
    struct range pair[TENANTS][TENANTS]; /* over all workers, while both wait at every one */
    double worst_worker, worst_all;
} watched;

static double service_diff(uint32_t i, uint32_t j)
{
    double d = 0;
    for (uint32_t w = 0; w < watched.n_workers; w++)
        d += watched.worker[w].w[i] - watched.worker[w].w[j];
    return d;
}

static bool everywhere(uint32_t t)
{
    for (uint32_t w = 0; w < watched.n_workers; w++)
        if (!watched.worker[w].backlogged[t])
            return false;
    return true;
}

/* Before a decision: what the step before it gave belongs to windows that were open. */
static void before_decision(struct worker *w)
{
    for (uint32_t i = 0; i < TENANTS; i++)
        for (uint32_t j = i + 1; j < TENANTS; j++) {
            if (w->pair[i][j].inside)
                widen(&w->pair[i][j], w->w[i] - w->w[j], &watched.worst_worker);
            if (watched.pair[i][j].inside)
                widen(&watched.pair[i][j], service_diff(i, j), &watched.worst_all);
        }
    w->open = true;
}

static void keep(struct range *r, bool in, double d, double *worst)
{
    if (in && !r->inside)
        r->low = r->high = d;
    if (in)
        widen(r, d, worst);
    r->inside = in;
}

static void after_admissions(struct worker *w)
{
    if (!w->open)
        return;
    w->open = false;
    for (uint32_t t = 0; t < TENANTS; t++)
        w->backlogged[t] = w->waiting[t] > 0;
    for (uint32_t i = 0; i < TENANTS; i++)
        for (uint32_t j = i + 1; j < TENANTS; j++) {
            keep(&w->pair[i][j], w->backlogged[i] && w->backlogged[j], w->w[i] - w->w[j],
                 &watched.worst_worker);
            keep(&watched.pair[i][j], everywhere(i) && everywhere(j), service_diff(i, j),
                 &watched.worst_all);
        }
}

static struct worker *worker_of(const struct sched_view *v)
{
    return &watched.worker[v->replica];
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    after_admissions(worker_of(v));
    worker_of(v)->waiting[view_req(v, id)->tenant]++;
    return watched.inner->on_arrival(self, v, id, wake_at);
}

static void step_begin(void *self, const struct sched_view *v)
{
    (void)self;
    after_admissions(worker_of(v));
    before_decision(worker_of(v));
}

static void on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    uint32_t t = view_req(v, id)->tenant;
    worker_of(v)->waiting[t]--;
    worker_of(v)->w[t] += resumed ? 0 : extend;
    watched.inner->on_admit(self, v, id, extend, cached, resumed);
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    after_admissions(worker_of(v));
    worker_of(v)->w[view_req(v, id)->tenant] += 2.0 * out_new;
    watched.inner->on_tokens(self, v, id, prefill_done, out_new, recomputed, at);
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    if (req_is_waiting(view_req(v, id)))
        worker_of(v)->waiting[view_req(v, id)->tenant]--;
    watched.inner->on_finish(self, v, id, why, at);
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    worker_of(v)->waiting[view_req(v, id)->tenant]++;
    watched.inner->on_preempt(self, v, id, mode);
}

static void watch(struct lab *l)
{
    struct scheduler_ops ops = *l->scheduler;
    watched = (struct watched){.inner = l->scheduler, .n_workers = l->n_replicas};
    ops.on_arrival = on_arrival;
    ops.step_begin = step_begin;
    ops.on_admit = on_admit;
    ops.on_tokens = on_tokens;
    ops.on_finish = on_finish;
    ops.on_preempt = on_preempt;
    ops.hold = NULL; /* every decision is looked at */
    l->scheduler = &ops;
    ck_assert_msg(lab_run(l), "%s", l->err.text);
    l->scheduler = watched.inner;
}

START_TEST(t7_d2lpm)
{
    static const double quanta[] = {20, 200, 2000};
    double worst_worker = 0, worst_all = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        lab_init(&l);
        l.scheduler = scheduler_find("dlpm");
        l.router = router_find("d2lpm");
        l.limits.kv_admission = KV_ADMISSION_RESERVE;
        lab_random(&l, seed);
        l.n_replicas = 2 + (uint32_t)(seed % (WORKERS - 1));
        for (size_t i = 0; i < l.n_rec; i++) /* as much for each worker as for one */
            l.rec[i].arrival_at /= 2 * l.n_replicas;
        struct segment *seg = lab_share_prefixes(&l, seed);
        double quantum = quanta[seed % ARRAY_LEN(quanta)], longest = 0;
        params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, quantum);
        params_set_num(&l.params, "d2lpm.quantum", PARAM_REAL, quantum);
        for (size_t i = 0; i < l.n_rec; i++)
            longest = fmax(longest, l.rec[i].prompt_tokens);
        double bound = 2 * (longest + 2 * (double)limits_kv_tokens(&l.limits) + quantum);
        watch(&l);
        ck_assert_msg(watched.worst_worker <= bound, "T7: %.0f on a worker, bound %.0f (seed %llu)",
                      watched.worst_worker, bound, (unsigned long long)seed);
        bound *= l.n_replicas;
        ck_assert_msg(watched.worst_all <= bound, "T7: %.0f over all, bound %.0f (seed %llu)",
                      watched.worst_all, bound, (unsigned long long)seed);
        worst_worker = fmax(worst_worker, watched.worst_worker * l.n_replicas / bound);
        worst_all = fmax(worst_all, watched.worst_all / bound);
        lab_release(&l);
        mem_free(seg);
    }
    printf("T7: worst share of its bound: on a worker %.2f, over all %.2f\n", worst_worker,
           worst_all);
    ck_assert_double_gt(worst_worker, 0.3);
    ck_assert_double_gt(worst_all, 0.1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("local");
    TCase *t = tcase_create("local");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t11_offline);
    tcase_add_test(t, t7_d2lpm);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
