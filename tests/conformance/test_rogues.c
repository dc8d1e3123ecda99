/* test_rogues.c: policies that break their contract. Each is stopped in the very call, by a message
 * that names the invariant, the policy, the callback and what is wrong with its answer. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

static void *open_any(struct arena *a, const struct params *p, const struct limits *l,
                      struct err *e)
{
    (void)p, (void)l, (void)e;
    return arena_alloc(a, 1);
}

/* ---- schedulers ---- */

static uint32_t twice(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    (void)self;
    for (uint32_t i = 0; i < max; i++)
        out[i] = view_running_first(v);
    return max;
}

static uint32_t too_many(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    (void)self, (void)v, (void)out;
    return max + 1;
}

static uint32_t one_that_waits(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    (void)self;
    if (max > 0)
        out[0] = view_waiting_first(v) == REQ_NONE ? view_running_first(v) : view_waiting_first(v);
    return MIN(max, 1);
}

/* One, so that others have room to come in; then all. */
static uint32_t one_then_all(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    uint32_t n = 0;
    (void)self;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        out[n++] = id;
    return max > v->limits->max_num_seqs ? n : MIN(n, 1);
}

static req_id any_waiting(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self, (void)last, (void)res;
    return view_waiting_first(v);
}

static req_id a_resident(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self, (void)last, (void)res;
    return v->n_running > 0 ? view_running_first(v) : view_waiting_first(v);
}

static req_id nobody(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self, (void)v, (void)last, (void)res;
    return REQ_NONE;
}

static req_id unknown(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)self, (void)v, (void)last, (void)res;
    return 123456789;
}

static uint32_t over_budget(void *self, const struct sched_view *v, req_id id, uint32_t want,
                            uint32_t budget)
{
    (void)self, (void)v, (void)id, (void)want;
    return budget + 1;
}

static req_id waiting_victim(void *self, const struct sched_view *v, uint64_t need,
                             req_id requester, enum preempt_mode *mode)
{
    (void)self, (void)need, (void)requester, (void)mode;
    return view_waiting_first(v);
}

static req_id waiting_moved(void *self, const struct sched_view *v, enum preempt_mode *mode)
{
    (void)self, (void)mode;
    return view_waiting_first(v);
}

static enum adm into_the_past(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)self, (void)id;
    *wake_at = v->now;
    return ADM_DEFER;
}

static ns_t now_again(void *self, const struct sched_view *v)
{
    (void)self;
    return v->now;
}

static const struct {
    const char *says; /* after "rogue" */
    struct scheduler_ops ops;
} schedulers[] = {
    {".select_run: request 0 twice", {.select_run = twice}},
    {".select_run: 1 of 0 residents", {.select_run = too_many}},
    {".select_run: request 4 is not resident", {.select_run = one_that_waits}},
    {".select_run: more than max_num_seqs = 4 requests",
     {.select_run = one_then_all, .needs = SCHED_PAUSES}},
    {".next_candidate: request 4 twice in a decision", {.next_candidate = any_waiting}},
    {".next_candidate: request 0 is not waiting", {.next_candidate = a_resident}},
    {".next_candidate: there is no request 123456789", {.next_candidate = unknown}},
    {".chunk: ", {.chunk = over_budget}},
    {".victim: request 4 is not resident", {.victim = waiting_victim}},
    {".kv_move: request 0 is not resident", {.kv_move = waiting_moved}},
    {".on_arrival: deferred at 0 until 0", {.on_arrival = into_the_past}},
    {".on_timer: asks for 0 at 0", {.on_timer = now_again}},
    {": 8 waiting and 0 resident requests, nothing runs", {.next_candidate = nobody}},
};

static void be_scheduler(struct lab *l, int i)
{
    static struct scheduler_ops ops;
    ops = schedulers[i].ops;
    ops.name = "rogue";
    ops.open = open_any;
    l->scheduler = &ops;
}

/* ---- routers, prefix policies ---- */

static uint32_t nowhere(void *self, const struct route_view *v, const struct req_info *q,
                        void *tenant_state)
{
    (void)self, (void)q, (void)tenant_state;
    return v->n_replicas;
}

static void be_router(struct lab *l, int i)
{
    static struct router_ops ops;
    (void)i;
    ops = *router_find("round_robin");
    ops.name = "rogue";
    ops.route = nowhere;
    l->router = &ops;
}

static uint32_t the_root(void *self, const struct ptree *t)
{
    (void)self, (void)t;
    return 0;
}

static void be_prefix(struct lab *l, int i)
{
    static struct prefix_ops ops;
    (void)i;
    ops = *prefix_find("lru");
    ops.name = "rogue";
    ops.victim = the_root;
    l->prefix = &ops;
}

/* ---- a run that needs all of them ---- */

/* Eight requests at once for four places and hardly memory for two. */
static void run(void (*be)(struct lab *, int), int i)
{
    struct lab l;
    lab_init(&l);
    l.limits.num_gpu_blocks = 40;
    be(&l, i);
    for (uint32_t k = 0; k < 8; k++)
        lab_add(&l, 0, "a", 4, 28);
    (void)lab_run(&l);
    lab_release(&l);
}

/* What the run in a process of its own says before it is stopped. */
static void expect_stopped(void (*be)(struct lab *, int), int i, const char *invariant,
                           const char *says)
{
    char text[2000] = "";
    size_t n = 0;
    ssize_t got;
    int ends[2], status;

    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run(be, i);
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)got;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "\"rogue%s\" was not caught",
                  says);
    ck_assert_msg(strstr(text, invariant) != NULL, "%s: is not %s", text, invariant);
    const char *at = strstr(text, ": rogue");
    ck_assert_msg(at != NULL && strncmp(at + strlen(": rogue"), says, strlen(says)) == 0,
                  "\"rogue%s\" expected: %s", says, text);
}

START_TEST(schedulers_are_caught)
{
    const char *says = schedulers[_i].says;
    bool idles = says[0] == ':', timer = strstr(says, "on_timer") != NULL;
    expect_stopped(be_scheduler, _i, idles ? "I8" : timer ? "I4" : "I7", says);
}
END_TEST

START_TEST(a_router_is_caught)
{
    expect_stopped(be_router, 0, "I7", ".route: replica 1 of 1");
}
END_TEST

START_TEST(a_prefix_policy_is_caught)
{
    expect_stopped(be_prefix, 0, "prefix", ".victim: node 0 is no candidate");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rogues");
    TCase *t = tcase_create("are caught");
    tcase_add_loop_test(t, schedulers_are_caught, 0, (int)ARRAY_LEN(schedulers));
    tcase_add_test(t, a_router_is_caught);
    tcase_add_test(t, a_prefix_policy_is_caught);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
