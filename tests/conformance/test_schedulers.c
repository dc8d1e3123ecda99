/* test_schedulers.c: what every registered scheduler must do, unnamed: whatever the engine, memory
 * mode and size of the cluster, everything that can finish finishes, the same input gives the same
 * decisions, and none knows an output's length before it shows (architecture.md section 5). */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/conform.h"
#include "tests/support/lab.h"

/* A fifth of what a property gets: each is run for every scheduler there is. */
static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? MAX(strtoull(s, NULL, 10) / 5, 24) : 200;
}

static int n_schedulers(void)
{
    int n = 0;
    while (scheduler_at((size_t)n) != NULL)
        n++;
    return n;
}

/* ---- what it is ---- */

START_TEST(is_described)
{
    const struct scheduler_ops *ops = scheduler_at((size_t)_i);
    const char *fault = conform_text_fault(ops->name, ops->doc, ops->source);
    ck_assert_msg(fault == NULL, "scheduler %d: %s", _i, fault);
    fault = conform_params_fault(ops->params);
    ck_assert_msg(fault == NULL, "%s: %s", ops->name, fault);
    ck_assert_msg(ops->open != NULL, "%s has no open", ops->name);
    ck_assert_ptr_eq(scheduler_find(ops->name), ops); /* nobody before it has its name */
    for (int i = 0; i < _i; i++)
        ck_assert_str_ne(scheduler_at((size_t)i)->doc, ops->doc);
}
END_TEST

/* ---- everything finishes, twice in the same way ---- */

/* The settings under which each workload is tried in turn. */
#define N_SETTINGS 24u

static void set(struct lab *l, uint64_t i)
{
    static const char *const engines[] = {"ideal", "vllm-0.8", "vllm-0.19"};
    l->engine = engines[i % 3];
    l->limits.kv_admission = i / 3 % 2 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
    l->limits.preempt = i / 6 % 2 ? PREEMPT_SWAP : PREEMPT_RECOMPUTE;
    l->limits.host_blocks = i / 6 % 2 ? l->limits.num_gpu_blocks / 2 : 0;
    l->n_replicas = i / 12 % 2 ? 3 : 1;
}

static void expect_row(const struct lab *l, size_t i)
{
    const struct request_row *row = &l->row[i];
    const struct trace_rec *rec = &l->rec[row->seq];
    const char *reason = l->reason[i];
    if (row->status == STATUS_FINISHED) {
        ck_assert_uint_eq(row->output_tokens, rec->output_tokens);
        ck_assert_str_eq(reason, "");
    } else if (strcmp(reason, "capacity") == 0) { /* only what could outgrow memory alone */
        ck_assert_uint_gt(rec->prompt_tokens + rec->max_tokens, limits_kv_tokens(&l->limits));
    } else if (strcmp(reason, "prompt_too_long") == 0) { /* prompts are not cut in such steps */
        ck_assert_int_eq(l->scheduler->batching, BATCHING_SEPARATE);
        ck_assert_uint_gt(rec->prompt_tokens, l->limits.max_num_batched_tokens);
    } else { /* the policy's own will, or a parent that was refused */
        ck_assert_msg(strcmp(reason, "policy") == 0 || strcmp(reason, "parent") == 0,
                      "%s: request %llu refused: %s", l->scheduler->name,
                      (unsigned long long)row->seq, reason);
    }
}

static void expect_sound(struct lab *l, const char *what, uint64_t i)
{
    ck_assert_msg(lab_run(l), "%s: %s %llu: %s", l->scheduler->name, what, (unsigned long long)i,
                  l->err.text);
    ck_assert_msg(l->n_row == l->n_rec && l->result.unfinished == 0,
                  "%s: %s %llu: %zu of %zu requests done", l->scheduler->name, what,
                  (unsigned long long)i, l->n_row, l->n_rec);
    for (size_t k = 0; k < l->n_row; k++)
        expect_row(l, k);
    uint64_t digest = l->result.digest;
    size_t decisions = l->n_decision;
    ck_assert(lab_run(l));
    ck_assert_msg(l->result.digest == digest && l->n_decision == decisions,
                  "%s: %s %llu: another run decides otherwise", l->scheduler->name, what,
                  (unsigned long long)i);
}

START_TEST(any_workload)
{
    uint64_t finished = 0, preempted = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        lab_init(&l);
        lab_random(&l, seed);
        set(&l, seed);
        l.scheduler = scheduler_at((size_t)_i);
        expect_sound(&l, "workload", seed);
        finished += l.result.finished;
        preempted += lab_count(&l, DEC_PREEMPT);
        lab_release(&l);
    }
    printf("%s: %llu finished, %llu preemptions\n", scheduler_at((size_t)_i)->name,
           (unsigned long long)finished, (unsigned long long)preempted);
    ck_assert_uint_gt(finished, 0);
}
END_TEST

/* ---- corners ---- */

static void fill(struct lab *l, uint32_t n, ns_t gap, uint32_t n_tenants, uint32_t prompt,
                 uint32_t output)
{
    for (uint32_t i = 0; i < n; i++) {
        char tenant[16];
        snprintf(tenant, sizeof(tenant), "t%u", i * 7 % n_tenants);
        lab_add(l, i * gap, tenant, 1 + i * 31 % prompt, 1 + i * 17 % output);
    }
}

static void nobody(struct lab *l)
{
    (void)l;
}

static void just_one(struct lab *l)
{
    lab_add(l, 5 * NS_PER_MS, "only", 100, 10);
}

static void one_token(struct lab *l)
{
    fill(l, 40, NS_PER_MS / 3, 3, 1, 1);
}

static void blocks_of_one(struct lab *l)
{
    l->limits.block_size = 1;
    l->limits.num_gpu_blocks = 60;
    fill(l, 40, NS_PER_MS, 3, 30, 25);
}

static void one_at_a_time(struct lab *l)
{
    l->limits.max_num_seqs = 1;
    fill(l, 40, NS_PER_MS, 3, 30, 9);
}

static void one_tenant(struct lab *l)
{
    fill(l, 40, NS_PER_MS, 1, 30, 25);
}

static void many_tenants(struct lab *l)
{
    l->limits.max_num_seqs = 32;
    fill(l, 600, NS_PER_MS / 2, 500, 12, 6);
}

static void all_at_once(struct lab *l)
{
    l->limits.num_gpu_blocks = 25;
    fill(l, 60, 0, 4, 40, 30);
}

/* Two conversations that take turns; a turn's prompt is all that was said and a question. */
static void sessions(struct lab *l)
{
    static struct segment seg[2][12];
    l->has_after = true;
    l->limits.num_gpu_blocks = 40;
    lab_add(l, 0, "c", 100, 30);
    for (uint32_t turn = 0; turn < 12; turn++)
        for (uint32_t s = 0; s < 2; s++) {
            struct trace_rec *r = lab_add(l, s * NS_PER_MS, s ? "b" : "a", 9 + 11 * turn, 5);
            seg[s][turn] = (struct segment){100 + s, 0, r->prompt_tokens};
            r->segment = &seg[s][turn];
            r->n_segments = 1;
            r->continues = true;
            if (turn > 0) {
                r->after = r->seq - 2;
                r->delay_ns = turn * NS_PER_MS;
            }
        }
}

static const struct {
    const char *name;
    void (*fill)(struct lab *);
} corners[] = {
    {"nobody", nobody},
    {"one request", just_one},
    {"one-token prompts and outputs", one_token},
    {"blocks of one token", blocks_of_one},
    {"one sequence at a time", one_at_a_time},
    {"one tenant", one_tenant},
    {"500 tenants", many_tenants},
    {"all at once", all_at_once},
    {"sessions", sessions},
};

START_TEST(any_corner)
{
    for (size_t k = 0; k < ARRAY_LEN(corners); k++)
        for (uint64_t i = 0; i < N_SETTINGS; i++) {
            struct lab l;
            lab_init(&l);
            l.limits.block_size = 4;
            l.limits.num_gpu_blocks = 100;
            l.scheduler = scheduler_at((size_t)_i);
            corners[k].fill(&l);
            set(&l, i);
            expect_sound(&l, corners[k].name, i);
            lab_release(&l);
        }
}
END_TEST

/* A conversation's next turn finds what the one before has left behind, under any policy. */
START_TEST(sessions_are_cached)
{
    struct lab l;
    lab_init(&l);
    l.limits.block_size = 4;
    l.scheduler = scheduler_at((size_t)_i);
    sessions(&l);
    l.limits.num_gpu_blocks = 1000;
    ck_assert(lab_run(&l));
    for (uint64_t seq = 3; seq < 25; seq++) {
        const struct request_row *row = lab_row(&l, seq), *parent = lab_row(&l, seq - 2);
        uint32_t said = parent->prompt_tokens + parent->output_tokens - 1; /* last one unread */
        if (row->status == STATUS_FINISHED)
            ck_assert_uint_eq(row->cached_tokens, said / 4 * 4);
    }
    lab_release(&l);
}
END_TEST

/* ---- nobody sees a length before it shows ---- */

/* One request in twenty has another true length in the second run; all clients ask for the
 * same in both. */
struct pair {
    struct lab a, b;
    bool *changed;
};

static void pair_fill(struct pair *p, const struct scheduler_ops *ops, uint64_t seed)
{
    struct rng g;
    rng_init(&g, seed, "true lengths");
    struct lab *const both[] = {&p->a, &p->b};
    for (size_t i = 0; i < 2; i++) {
        lab_init(both[i]);
        lab_random(both[i], seed);
        set(both[i], seed);
        both[i]->scheduler = ops;
    }
    p->changed = mem_alloc(p->a.n_rec);
    for (size_t i = 0; i < p->a.n_rec; i++) {
        struct trace_rec *x = &p->a.rec[i], *y = &p->b.rec[i];
        uint32_t most = x->output_tokens + 10 + (uint32_t)rng_below(&g, 30);
        x->max_tokens = y->max_tokens = most;
        if (rng_below(&g, 20) == 0)
            y->output_tokens = 1 + (uint32_t)rng_below(&g, most);
        p->changed[i] = x->output_tokens != y->output_tokens;
    }
}

static void pair_release(struct pair *p)
{
    lab_release(&p->a);
    lab_release(&p->b);
    mem_free(p->changed);
}

/* Index of the first decision that a changed request's end brings about: its finish, and before it
 * the evictions that are told because the batch is about to change (architecture.md section 4).
 * From there on all may differ. */
static size_t shows_at(const struct lab *l, const bool *changed)
{
    size_t i = 0;
    while (i < l->n_decision && !(l->decision[i].what == DEC_FINISH && changed[l->decision[i].seq]))
        i++;
    while (i > 0 && l->decision[i - 1].what == DEC_EVICT)
        i--;
    return i;
}

/* Runs both; true: they decided alike as far as they had to. *compared: how many decisions. */
static bool same_until_shown(struct pair *p, size_t *compared)
{
    ck_assert(lab_run(&p->a));
    ck_assert(lab_run(&p->b));
    *compared = MIN(shows_at(&p->a, p->changed), shows_at(&p->b, p->changed));
    for (size_t i = 0; i < *compared; i++)
        if (p->a.decision[i].digest != p->b.decision[i].digest)
            return false;
    return true;
}

START_TEST(ignores_true_lengths)
{
    const struct scheduler_ops *ops = scheduler_at((size_t)_i);
    if (ops->needs & SCHED_ORACLE)
        return;
    uint64_t compared = 0;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct pair p;
        size_t n;
        pair_fill(&p, ops, seed);
        ck_assert_msg(same_until_shown(&p, &n),
                      "%s: decisions depend on lengths nobody has seen (workload %llu)", ops->name,
                      (unsigned long long)seed);
        compared += n;
        pair_release(&p);
    }
    ck_assert_uint_gt(compared, 5 * runs()); /* or nothing was tested */
}
END_TEST

/* ---- the negative controls of that ---- */

static void *peek_open(struct arena *a, const struct params *p, const struct limits *l,
                       struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    return arena_alloc(a, 1);
}

/* The waiting request that is truly shortest; stops at the first that does not fit. */
static req_id peek(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self;
    (void)last;
    if (res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING)
        return REQ_NONE;
    req_id best = REQ_NONE;
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id))
        if (best == REQ_NONE || view_true_output(v, id) < view_true_output(v, best))
            best = id;
    return best;
}

static const struct scheduler_ops honest = {.name = "shortest",
                                            .doc = "orders by true lengths and says so",
                                            .needs = SCHED_ORACLE,
                                            .open = peek_open,
                                            .next_candidate = peek};
static const struct scheduler_ops liar = {.name = "liar",
                                          .doc = "orders by true lengths and does not say so",
                                          .open = peek_open,
                                          .next_candidate = peek};

/* A declared oracle decides otherwise before the lengths show: the test above would see it. */
START_TEST(an_oracle_is_caught)
{
    uint64_t caught = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct pair p;
        size_t n;
        pair_fill(&p, &honest, seed);
        caught += !same_until_shown(&p, &n);
        pair_release(&p);
    }
    printf("orders by true lengths: caught in %llu of 50 workloads\n", (unsigned long long)caught);
    ck_assert_uint_gt(caught, 20);
}
END_TEST

/* An undeclared one does not get that far (SIGABRT is expected). */
START_TEST(an_undeclared_oracle_aborts)
{
    struct lab l;
    lab_init(&l);
    l.scheduler = &liar;
    lab_add(&l, 0, "a", 4, 4);
    lab_add(&l, 0, "a", 4, 3);
    (void)lab_run(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("schedulers");
    TCase *t = tcase_create("conformance");
    int n = n_schedulers();
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, is_described, 0, n);
    tcase_add_loop_test(t, any_workload, 0, n);
    tcase_add_loop_test(t, any_corner, 0, n);
    tcase_add_loop_test(t, sessions_are_cached, 0, n);
    tcase_add_loop_test(t, ignores_true_lengths, 0, n);
    tcase_add_test(t, an_oracle_is_caught);
    tcase_add_test_raise_signal(t, an_undeclared_oracle_aborts, SIGABRT);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
