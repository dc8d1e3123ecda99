/* prop_speculative.c: the guarantees of the schedulers that guess how long requests take
 * (scheduling.md section 7): bounded waits under FastServe and ALISE (T12), reservations under S3
 * (T13), and the limit in which levels are first come, first served (T17). Each has a negative
 * control. That nothing is lost or idles (T8, T15) is in prop_engine.c. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

/* ---- looking at a scheduler while it works ---- */

/* One run at a time is watched. */
static struct {
    const struct scheduler_ops *inner;
    const struct lab *lab;
    ns_t ages_ns;    /* without running for so long a request is in the first level */
    ns_t quantum_ns; /* of the first level; 0: turns there are whole requests */
    double *bound;   /* of a request's wait, once that is beyond ages_ns; 0: not yet */
    double worst;    /* wait / bound */
    ns_t longest;    /* wait */
    double fullest;  /* reserved / memory */
} watched;

static void watch(struct lab *l, void (*step_begin)(void *, const struct sched_view *))
{
    struct scheduler_ops ops = *l->scheduler;
    watched.inner = l->scheduler;
    watched.lab = l;
    watched.worst = watched.fullest = 0;
    watched.longest = 0;
    watched.bound = mem_alloc(l->n_rec * sizeof(*watched.bound));
    for (size_t i = 0; i < l->n_rec; i++)
        watched.bound[i] = 0;
    ops.step_begin = step_begin;
    l->scheduler = &ops;
    ck_assert_msg(lab_run(l), "%s", l->err.text);
    l->scheduler = watched.inner;
    mem_free(watched.bound);
}

/* ---- T12 ---- */

/* What one in the first level may take before those behind it run. All steps take 1 ms, and the
 * first in order is in every one of them; one more is under way when it leaves the level. */
static double turn_ns(const struct req_info *q)
{
    const struct trace_rec *r = &watched.lab->rec[q->seq];
    double step = watched.lab->step_ns;
    double prefill =
        step * div_ceil_u32(q->prompt_tokens, watched.lab->limits.max_num_batched_tokens);
    if (watched.quantum_ns > 0)
        return fmax((double)watched.quantum_ns, prefill) + step;
    return prefill + step * r->output_tokens;
}

static double turns_of_all(const struct sched_view *v)
{
    double sum = 0;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        sum += turn_ns(view_req(v, id));
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id))
        sum += turn_ns(view_req(v, id));
    return sum;
}

/* From when it ages into the first level, at most the turns of all that are there then. */
static void look_at_wait(const struct sched_view *v, req_id id)
{
    const struct req_info *q = view_req(v, id);
    ns_t wait = v->now - MAX(q->arrived_at, q->last_run_at);
    watched.longest = MAX(watched.longest, wait);
    if (wait < watched.ages_ns) {
        watched.bound[q->seq] = 0;
        return;
    }
    if (watched.bound[q->seq] <= 0)
        watched.bound[q->seq] = (double)watched.ages_ns + turns_of_all(v);
    watched.worst = fmax(watched.worst, (double)wait / watched.bound[q->seq]);
}

static void look_at_waits(void *self, const struct sched_view *v)
{
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        look_at_wait(v, id);
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id))
        look_at_wait(v, id);
    watched.inner->step_begin(self, v);
}

static const struct {
    const char *scheduler, *age, *q1;
    bool by_quantum;
    uint32_t promotions; /* from the last of 8 levels */
} levelled[] = {
    {"fastserve", "fastserve.alpha_s", "fastserve.q1_ms", true, 1},
    {"alise", "alise.age_s", "alise.q1_ms", false, 7},
};

/* The time after its last step began. Each promotion waits for the next decision. */
static ns_t all_promotions(int i, double age_s)
{
    return NS_PER_MS + levelled[i].promotions * ((ns_t)(age_s * 1e9) + NS_PER_MS);
}

static void level_lab(struct lab *l, int i, double age_s, double q1_ms)
{
    l->scheduler = scheduler_find(levelled[i].scheduler);
    l->predictor = predictor_find("oracle");
    params_set_num(&l->params, levelled[i].age, PARAM_REAL, age_s);
    params_set_num(&l->params, levelled[i].q1, PARAM_REAL, q1_ms);
    watched.ages_ns = all_promotions(i, age_s);
    watched.quantum_ns = levelled[i].by_quantum ? (ns_t)(q1_ms * 1e6) : 0;
}

/* A long request, and short ones without end, faster than they can be served. */
static double flood(int i, double age_s, ns_t *longest)
{
    struct lab l;
    lab_init(&l);
    l.limits.max_num_seqs = 1;
    l.limits.num_gpu_blocks = 100000;
    level_lab(&l, i, age_s, 10);
    for (uint32_t k = 0; k < 3000; k++) {
        if (k == 100) /* when what steps take is known */
            lab_add(&l, (ns_t)k * 4 * NS_PER_MS, "long", 50, 400);
        lab_add(&l, (ns_t)k * 4 * NS_PER_MS, "short", 5, 5);
    }
    watched.ages_ns = all_promotions(i, MIN(age_s, 0.2));
    watch(&l, look_at_waits);
    double worst = watched.worst;
    *longest = watched.longest;
    lab_release(&l);
    return worst;
}

START_TEST(t12_starves_without_aging)
{
    ns_t longest;
    ck_assert_double_gt(flood(_i, 1e6, &longest), 1);
    ck_assert_int_gt(longest, 3000 * 4 * NS_PER_MS); /* until the last of them was served */
}
END_TEST

START_TEST(t12_waits_are_bounded)
{
    ns_t longest;
    double worst = flood(_i, 0.2, &longest);
    ck_assert_double_le(worst, 1);
    ck_assert_int_gt(longest, NS_PER_S / 5); /* it did let the short ones go first */
    uint64_t aged = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        lab_init(&l);
        lab_random(&l, seed);
        l.limits.num_gpu_blocks *= 1000; /* memory is not what they wait for */
        if (seed % 2 == 0)
            l.limits.max_num_seqs = 1;
        level_lab(&l, _i, 0.01 * (double)(1u << seed % 6), 1 + (double)(seed % 13));
        watch(&l, look_at_waits);
        ck_assert_msg(watched.worst <= 1, "T12: waited %.2f of the bound (seed %llu)",
                      watched.worst, (unsigned long long)seed);
        aged += watched.worst > 0;
        worst = fmax(worst, watched.worst);
        lab_release(&l);
    }
    printf("T12 %s: worst wait %.2f of its bound; somebody aged in %llu runs\n",
           levelled[_i].scheduler, worst, (unsigned long long)aged);
    ck_assert_double_gt(worst, 0.5);
    ck_assert_uint_gt(aged, runs() / 4);
}
END_TEST

/* ---- memory ---- */

/* A long request has all the memory but for a corner when a short one comes that is to go first. */
static double preemptions_for_a_newcomer(int i, uint64_t host_blocks)
{
    struct lab l;
    lab_init(&l);
    level_lab(&l, i, 10, 10);
    l.limits.block_size = 10;
    l.limits.num_gpu_blocks = 60;
    l.limits.max_num_batched_tokens = 500;
    l.limits.host_blocks = host_blocks;
    lab_add(&l, 0, "first", 5, 5); /* says what steps take */
    lab_add(&l, 10 * NS_PER_MS, "long", 400, 90);
    lab_add(&l, 50 * NS_PER_MS, "short", 200, 2);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_double_eq(lab_metric(&l, "finished"), 3);
    ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), 0);
    double n = lab_metric(&l, "preemptions");
    lab_release(&l);
    return n;
}

/* It makes room by a copy to the host, which needs room there; dropped is nobody. */
START_TEST(nobody_is_dropped_for_a_newcomer)
{
    ck_assert_double_eq(preemptions_for_a_newcomer(_i, 60), 1);
    ck_assert_double_eq(preemptions_for_a_newcomer(_i, 20), 0);
    ck_assert_double_eq(preemptions_for_a_newcomer(_i, 0), 0);
}
END_TEST

/* ---- T13 ---- */

static void look_at_reservations(void *self, const struct sched_view *v)
{
    watched.inner->step_begin(self, v);
    double there = (double)(v->free_units + v->evictable_units);
    double promised = (double)watched.inner->committed(self, v, 0);
    double all = (double)(v->limits->num_gpu_blocks * v->limits->units_per_block);
    watched.fullest = fmax(watched.fullest, (all - there + promised) / all);
}

static void reserve_lab(struct lab *l, const char *predictor, uint64_t seed)
{
    static const char *const engines[] = {"ideal", "vllm-0.19", "vllm-0.8"};
    lab_init(l);
    lab_random(l, seed);
    l->engine = engines[seed % 3];
    l->scheduler = scheduler_find("s3");
    l->predictor = predictor_find(predictor);
    l->limits.host_blocks = seed % 2 == 0 ? l->limits.num_gpu_blocks : 0;
    l->limits.units_per_block = 1 + seed % 4;
    params_set_num(&l->params, "s3.unknown", PARAM_INT, (double)(1u << seed % 8));
}

/* What a request may need: its class doubles until it holds the output. */
static uint32_t preemptions_due(const struct request_row *row)
{
    uint32_t n = 0;
    for (uint32_t held = 1; held < row->output_tokens; held *= 2)
        n++;
    return n;
}

START_TEST(t13_reservations_fit)
{
    double fullest = 0;
    uint64_t preempted = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        reserve_lab(&l, "histogram", seed);
        watch(&l, look_at_reservations);
        ck_assert_msg(watched.fullest <= 1, "T13: %.3f of memory is reserved (seed %llu)",
                      watched.fullest, (unsigned long long)seed);
        fullest = fmax(fullest, watched.fullest);
        for (size_t i = 0; i < l.n_row; i++)
            ck_assert_uint_le(l.row[i].preemptions, preemptions_due(&l.row[i]));
        preempted += lab_count(&l, DEC_PREEMPT);
        lab_release(&l);
    }
    printf("T13: at most %.3f of memory reserved, %llu preemptions\n", fullest,
           (unsigned long long)preempted);
    ck_assert_double_gt(fullest, 0.95);
    ck_assert_uint_gt(preempted, runs());
}
END_TEST

START_TEST(t13_no_preemption_with_a_perfect_predictor)
{
    uint64_t others = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        reserve_lab(&l, "oracle", seed);
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        ck_assert_msg(lab_count(&l, DEC_PREEMPT) == 0, "T13: %zu preemptions (seed %llu)",
                      lab_count(&l, DEC_PREEMPT), (unsigned long long)seed);
        l.scheduler = scheduler_find("fcfs");
        ck_assert(lab_run(&l));
        others += lab_count(&l, DEC_PREEMPT);
        lab_release(&l);
    }
    ck_assert_uint_gt(others, runs()); /* where nothing is reserved there are */
}
END_TEST

/* Nobody is passed over by more than the window: a request for nearly all of memory, and small ones
 * without end. Returns when it was admitted. */
static ns_t big_one(uint32_t window)
{
    struct lab l;
    lab_init(&l);
    l.limits.num_gpu_blocks = 100;
    l.limits.max_num_seqs = 32;
    l.scheduler = scheduler_find("s3");
    l.predictor = predictor_find("oracle");
    params_set_num(&l.params, "s3.window", PARAM_INT, window);
    for (uint32_t i = 0; i < 2000; i++) {
        if (i == 20)
            lab_add(&l, i * NS_PER_MS, "big", 80, 8);
        lab_add(&l, i * NS_PER_MS, "small", 10, 1 + i % 8);
    }
    ck_assert(lab_run(&l));
    ns_t waited = lab_row(&l, 20)->admitted_at - lab_row(&l, 20)->arrived_at;
    lab_release(&l);
    return waited;
}

START_TEST(first_fit_passes_over_a_window)
{
    ck_assert_int_lt(big_one(64), 200 * NS_PER_MS);
    ck_assert_int_gt(big_one(4096), 1900 * NS_PER_MS);
}
END_TEST

/* ---- T17: one level is first come, first served ---- */

static uint64_t digest_of(const char *scheduler, uint64_t seed, uint32_t levels)
{
    struct lab l;
    char key[32];
    lab_init(&l);
    lab_random(&l, seed);
    l.limits.max_num_batched_tokens = 1u
                                      << 20; /* where it binds, residents beyond it block slots */
    l.scheduler = scheduler_find(scheduler);
    snprintf(key, sizeof(key), "%s.levels", scheduler);
    params_set_num(&l.params, key, PARAM_INT, levels);
    snprintf(key, sizeof(key), "%s.spare", scheduler);
    params_set_num(&l.params, key, PARAM_REAL, 0);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    uint64_t digest = l.result.digest;
    lab_release(&l);
    return digest;
}

START_TEST(t17_one_level)
{
    uint64_t differ = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        uint64_t fcfs = digest_of("fcfs", seed, 1);
        ck_assert_msg(digest_of(levelled[_i].scheduler, seed, 1) == fcfs,
                      "T17: one level is not fcfs (seed %llu)", (unsigned long long)seed);
        differ += seed <= 50 && digest_of(levelled[_i].scheduler, seed, 8) != fcfs;
    }
    ck_assert_uint_gt(differ, 25);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("speculative");
    TCase *t = tcase_create("properties");
    int n = (int)ARRAY_LEN(levelled);
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, t12_starves_without_aging, 0, n);
    tcase_add_loop_test(t, t12_waits_are_bounded, 0, n);
    tcase_add_loop_test(t, nobody_is_dropped_for_a_newcomer, 0, n);
    tcase_add_test(t, t13_reservations_fit);
    tcase_add_test(t, t13_no_preemption_with_a_perfect_predictor);
    tcase_add_test(t, first_fit_passes_over_a_window);
    tcase_add_loop_test(t, t17_one_level, 0, n);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
