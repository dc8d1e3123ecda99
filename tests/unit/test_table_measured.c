/* test_table_measured.c: the cost model against a real engine: vLLM 0.19 on an RTX PRO 6000 with
 * Llama-3.1-8B and 300 ShareGPT requests ($TANDEM_SHARED/profiles/llmservingsim), simulated from
 * the profile of that GPU with nothing fitted to the run; and every profile there, asked for steps
 * all over its range and far outside. TANDEM_VERBOSE=1 prints every cell. */
#include "backend/describe.h"
#include "backend/profile.h"
#include "backend/registry.h"
#include "experiments/compose.h"
#include "experiments/profile_defaults.h"
#include "sim/rng.h"

#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL "profiles/llmservingsim/real-vllm/RTXPRO6000/Llama-3.1-8B"
#define PROFILE "profiles/llmservingsim/perf/RTXPRO6000/meta-llama/Llama-3.1-8B/bf16"
#define TRACE "traces/llmservingsim-workloads/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz"
#define REQUESTS 300u

/* false, and says so loudly, where the data is not there. */
static bool shared_path(char path[4096], const char *below)
{
    const char *shared = getenv("TANDEM_SHARED");

    if (!shared || !*shared) {
        printf("SKIP: TANDEM_SHARED is not set: %s was not checked\n", below);
        return false;
    }
    snprintf(path, 4096, "%s/%s", shared, below);
    return true;
}

/* ---- 300 requests, measured and simulated ---- */

enum { TTFT, TPOT, E2E, N_METRICS };
static const char *const metric_name[] = {"TTFT", "TPOT", "E2E"};

struct sample {
    double ms[N_METRICS][REQUESTS];
    uint32_t prefix[REQUESTS]; /* prompt tokens that were cached; measured: that had been seen */
    bool there[REQUESTS];
};

static bool keep_request(void *self, const struct request_row *r, struct err *e)
{
    struct sample *s = self;

    (void)e;
    ck_assert_uint_lt(r->seq, REQUESTS);
    ck_assert(r->status == STATUS_FINISHED && r->output_tokens > 1);
    s->there[r->seq] = true;
    s->prefix[r->seq] = r->cached_tokens;
    s->ms[TTFT][r->seq] = (double)(r->first_token_at - r->arrived_at) / 1e6;
    s->ms[E2E][r->seq] = (double)(r->done_at - r->arrived_at) / 1e6;
    s->ms[TPOT][r->seq] = (double)(r->done_at - r->first_token_at) / 1e6 / (r->output_tokens - 1);
    return true;
}

static const struct sink_ops keep = {.request = keep_request};

/* What `tandem run --trace TRACE --profile PROFILE --set max_num_seqs=128` does. */
static void simulate(struct sample *s)
{
    char trace[4096], profile[4096];
    struct config c;
    struct composed x;
    struct sim_result result;
    struct err e = {.set = false};

    shared_path(trace, TRACE);
    shared_path(profile, PROFILE);
    config_init(&c);
    bool ok = config_set(&c, "trace", trace, &e) && config_set(&c, "profile", profile, &e) &&
              config_set(&c, "max_num_seqs", "128", &e) && profile_defaults(&c, &e);
    ck_assert_msg(ok, "%s", e.text);
    config_resolve(&c);
    ck_assert_msg(compose(&x, &c, &e), "%s", e.text);
    ck_assert_str_eq(x.replica[0].backend->name, "table");
    ck_assert_str_eq(x.replica[0].engine->name, "vllm-0.19");
    x.sim.sink = (struct sink){&keep, s};
    ck_assert_msg(sim_run(&x.sim, &result, &e), "%s", e.text);
    ck_assert_uint_eq(result.finished, REQUESTS);
    compose_release(&x);
    config_release(&c);
}

/* requests.csv: req,arrival_s,input,output,prefix,queued_s,scheduled_s,first,last,ttft,tpot,e2e */
static void read_measured(struct sample *s)
{
    char path[4096], line[512];

    shared_path(path, REAL "/requests.csv");
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
    while (fgets(line, sizeof(line), f)) {
        double ms[N_METRICS];
        unsigned seq, prefix;

        ck_assert_int_eq(sscanf(line, "%u,%*f,%*u,%*u,%u,%*f,%*f,%*f,%*f,%lf,%lf,%lf", &seq,
                                &prefix, &ms[TTFT], &ms[TPOT], &ms[E2E]),
                         5);
        ck_assert_uint_lt(seq, REQUESTS);
        s->there[seq] = true;
        s->prefix[seq] = prefix;
        for (unsigned m = 0; m < N_METRICS; m++)
            s->ms[m][seq] = ms[m];
    }
    fclose(f);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* mean, p50, p90, p95, p99: linear between order statistics. */
static void cells_of(const double *ms, uint32_t n, double cell[5])
{
    static const double share[] = {0, 0.5, 0.9, 0.95, 0.99};
    double v[REQUESTS], sum = 0;

    memcpy(v, ms, n * sizeof(*v));
    qsort(v, n, sizeof(*v), ascending);
    for (uint32_t i = 0; i < n; i++)
        sum += v[i];
    cell[0] = sum / n;
    for (unsigned i = 1; i < 5; i++) {
        double at = share[i] * (n - 1);
        uint32_t low = (uint32_t)at, high = MIN(low + 1, n - 1);

        cell[i] = v[low] + (v[high] - v[low]) * (at - low);
    }
}

/* The other simulator's errors on the same run, percent. */
static void read_bound(double *mean, double *worst)
{
    char path[4096], line[256];
    unsigned n = 0;

    shared_path(path, REAL "/upstream_validation_summary.txt");
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    *mean = *worst = 0;
    while (fgets(line, sizeof(line), f)) {
        double theirs, error;

        if (sscanf(line, "%*s %*s %lf %*f %lf%%", &theirs, &error) != 2)
            continue;
        *mean += fabs(error);
        *worst = fmax(*worst, fabs(error));
        n++;
    }
    fclose(f);
    ck_assert_uint_eq(n, 15);
    *mean /= n;
}

/* Prints and holds the 15 cells of requests from `skip` on. */
static void hold(const struct sample *real, const struct sample *sim, uint32_t skip)
{
    double bound_mean, bound_worst, sum = 0, worst = 0;

    read_bound(&bound_mean, &bound_worst);
    for (unsigned m = 0; m < N_METRICS; m++) {
        double r[5], s[5];

        cells_of(real->ms[m] + skip, REQUESTS - skip, r);
        cells_of(sim->ms[m] + skip, REQUESTS - skip, s);
        for (unsigned i = 0; i < 5; i++) {
            double error = 100 * (s[i] / r[i] - 1);

            if (getenv("TANDEM_VERBOSE"))
                printf("%s %u: measured %9.1f ms, simulated %9.1f: %+.2f %%\n", metric_name[m], i,
                       r[i], s[i], error);
            sum += fabs(error) / 15;
            worst = fmax(worst, fabs(error));
        }
    }
    printf("15 cells without the first %u requests: mean |error| %.2f %%, worst %.2f %%\n", skip,
           sum, worst);
    ck_assert_double_le(sum, fmax(1, 1.05 * bound_mean));
    ck_assert_double_le(worst, fmax(3, 1.05 * bound_worst));
}

START_TEST(test_vllm_rtxpro6000)
{
    struct sample *real = mem_alloc(sizeof(*real)), *sim = mem_alloc(sizeof(*sim));
    char path[4096];

    if (shared_path(path, REAL)) {
        read_measured(real);
        simulate(sim);
        for (unsigned i = 0; i < REQUESTS; i++)
            ck_assert(real->there[i] && sim->there[i] && real->prefix[i] == sim->prefix[i]);
        hold(real, sim, 0);
        hold(real, sim, 1); /* the first was cold */
    }
    mem_free(real);
    mem_free(sim);
}
END_TEST

/* ---- every profile ---- */

#define WALK 3000u
#define SEQS_MAX 600u

struct walk {
    struct arena arena;
    struct model_desc model;
    struct gpu_desc gpu;
    struct limits limits;
    const struct backend_ops *ops;
    void *self;
    struct batch_seq seq[SEQS_MAX];
};

static void open_walk(struct walk *w, const char *path, uint32_t tp)
{
    struct profile_names names;
    struct backend_note note;
    struct err e = {.set = false};
    struct backend_env env = {.model = &w->model,
                              .gpu = &w->gpu,
                              .tensor_parallel_size = tp,
                              .limits = &w->limits,
                              .profile = path};

    arena_init(&w->arena);
    w->limits = (struct limits){.max_num_seqs = 256, .max_num_batched_tokens = 8192};
    bool named = profile_names(path, &names, &e) && describe_model(names.model, &w->model, &e) &&
                 describe_gpu(names.gpu, &w->gpu, &e);
    ck_assert_msg(named, "%s", e.text);
    w->ops = backend_find("table");
    w->self = w->ops->open(&w->arena, &env, &note, &e);
    ck_assert_msg(w->self != NULL, "%s", e.text);
}

/* Sizes from 1 to 2^bits, small ones as often as large ones. */
static uint32_t any_size(struct rng *rng, uint32_t bits)
{
    return 1 + (uint32_t)rng_below(rng, UINT64_C(1) << rng_below(rng, bits + 1));
}

static struct batch any_batch(struct walk *w, struct rng *rng, uint32_t bits)
{
    uint32_t decodes = rng_below(rng, 4) ? any_size(rng, 9) : 0;
    uint32_t prompts = decodes > 0 && rng_below(rng, 2) ? 0 : any_size(rng, 3);
    uint32_t longest = any_size(rng, bits);
    struct batch b = {.n = decodes + prompts, .seq = w->seq};
    struct batch_shape *s = &b.shape;

    for (uint32_t i = 0; i < b.n; i++) {
        bool prefill = i >= decodes;
        uint32_t n = prefill ? any_size(rng, MIN(bits, 28)) : 1;
        uint32_t context = (uint32_t)rng_below(rng, longest);

        w->seq[i] = (struct batch_seq){.n_tokens = n, .context = context, .prefill = prefill};
        if (prefill) {
            s->n_prefill++;
            s->prefill_tokens += n;
            s->prefill_history_sum += context;
        } else {
            s->n_decode++;
            s->decode_tokens++;
            s->decode_context_sum += context + 1;
            s->decode_context_max = MAX(s->decode_context_max, context + 1);
        }
    }
    return b;
}

static void walk_profile(const char *path, uint32_t tp)
{
    struct walk *w = mem_alloc(sizeof(*w));
    struct rng rng;
    unsigned outside = 0;

    open_walk(w, path, tp);
    rng_init(&rng, tp, "walk");
    for (unsigned i = 0; i < WALK; i++) {
        uint32_t bits = i % 3 == 0 ? 31 : 12;
        struct batch b = any_batch(w, &rng, bits);
        struct step_cost cost;
        struct err e = {.set = false};

        ck_assert(w->ops->step(w->self, &b, &cost, &e));
        /* no step is faster than 1 ms on these GPUs, nor takes 10 s within 4096 tokens each */
        ck_assert(cost.device_ns > 1e6 && cost.device_ns <= 0x1p61);
        if (bits == 12 && b.shape.prefill_tokens <= 4096)
            ck_assert_double_lt(cost.device_ns, 1e10);
        outside += cost.extrapolated;
    }
    printf("%s/tp%u: %u steps, %u of them outside\n", path, tp, WALK, outside);
    ck_assert_uint_gt(outside, WALK / 10);
    ck_assert_uint_lt(outside, WALK);
    arena_release(&w->arena);
    mem_free(w);
}

static unsigned n_walked;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + ftw->base;
    char folder[4096];

    (void)st;
    if (type != FTW_D || strncmp(name, "tp", 2) != 0)
        return 0;
    snprintf(folder, sizeof(folder), "%.*s", ftw->base - 1, path);
    walk_profile(folder, (uint32_t)strtoul(name + 2, NULL, 10));
    n_walked++;
    return 0;
}

START_TEST(test_every_profile)
{
    char path[4096];

    if (!shared_path(path, "profiles/llmservingsim/perf"))
        return;
    ck_assert_int_eq(nftw(path, visit, 16, FTW_PHYS), 0);
    ck_assert_uint_ge(n_walked, 7);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("table_measured");
    TCase *tc = tcase_create("table_measured");
    SRunner *sr;
    int failed;

    tcase_add_test(tc, test_vllm_rtxpro6000);
    tcase_add_test(tc, test_every_profile);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
