/* test_engine_time.c: when things happen: engines that work ahead, host time, swap over the link,
 * requests that follow others, the closed loop, several replicas, horizon and paced clock. A
 * comment over each case names the rule it pins. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "experiments/compose.h"
#include "tests/support/lab.h"

#define MS NS_PER_MS

static void run(struct lab *l)
{
    ck_assert_msg(lab_run(l), "%s", l->err.text);
}

/* ---- engines (fidelity.md, Engine) ---- */

/* A synchronous engine adds its host time to every step; an asynchronous one hides it unless the
 * step is shorter; `ideal` has none. */
START_TEST(host_time)
{
    static const struct {
        const char *engine;
        ns_t device_ns;
    } cases[] = {{"ideal", MS},
                 {"vllm-0.8", MS},
                 {"vllm-0.8", 50 * MS},
                 {"vllm-0.19", MS},
                 {"vllm-0.19", 50 * MS}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct engine_model *m = engine_model_find(cases[i].engine);
        ns_t device = cases[i].device_ns;
        ns_t low = m->depth > 1 ? MAX(device, m->host_ns) : device + m->host_ns;
        ns_t high = low + NS_PER_MS / 100; /* some take a little more with each sequence */
        struct lab l;
        lab_init(&l);
        l.engine = cases[i].engine;
        l.step_ns = (double)device;
        lab_add(&l, 0, "a", 4, 1);
        run(&l);
        ck_assert_int_ge(l.step[0].duration_ns, low);
        ck_assert_int_le(l.step[0].duration_ns, high);
        ck_assert_int_eq(lab_row(&l, 0)->first_token_at,
                         l.step[0].duration_ns + m->output_delay_ns);
        lab_release(&l);
    }
    ck_assert_int_eq(engine_model_find("ideal")->host_ns, 0);
    ck_assert_int_gt(engine_model_find("vllm-0.8")->host_ns, 0);
    ck_assert_int_gt(engine_model_find("vllm-0.19")->host_ns, MS);
}
END_TEST

static void async_lab(struct lab *l)
{
    lab_init(l);
    l->engine = "vllm-0.19";
    l->step_ns = 10 * (double)MS; /* longer than the host's time */
}

/* Two batches in flight: what arrives during step 0 finds step 1 formed and first runs in step 2;
 * tokens are visible 0.5 ms after the step. */
START_TEST(an_arrival_waits_two_steps)
{
    struct lab l;
    async_lab(&l);
    lab_add(&l, 0, "a", 4, 5);
    lab_add(&l, 5 * MS, "a", 4, 2);
    run(&l);
    ck_assert_int_eq(l.step[2].at, 20 * MS);
    ck_assert_uint_eq(l.step[1].n_prefill, 0);
    ck_assert_uint_eq(l.step[2].n_prefill, 1);
    ck_assert_int_eq(lab_row(&l, 0)->first_token_at, 10 * MS + MS / 2);
    ck_assert_int_eq(lab_row(&l, 1)->admitted_at, 10 * MS); /* decided when step 0 came out */
    ck_assert_int_eq(lab_row(&l, 1)->first_token_at, 30 * MS + MS / 2);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, 40 * MS + MS / 2);
    lab_release(&l);
}
END_TEST

/* With no next step formed (request 0 may emit one token only) it runs in the next one, and not
 * before the engine has the output of the step it waits for. */
START_TEST(an_arrival_waits_for_the_output)
{
    struct lab l;
    async_lab(&l);
    lab_add(&l, 0, "a", 4, 1);
    lab_add(&l, 5 * MS, "a", 4, 1);
    run(&l);
    ck_assert_uint_eq(l.n_step, 2);
    ck_assert_int_eq(l.step[1].at, 10 * MS);
    ck_assert_int_eq(lab_row(&l, 1)->admitted_at, 10 * MS);
    ck_assert_int_eq(lab_row(&l, 1)->first_token_at, 20 * MS + MS / 2);
    lab_release(&l);
}
END_TEST

/* The end by max_tokens is known ahead, so no row is scheduled beyond it; the true end is not: the
 * row after it is computed for nothing, its place and blocks are taken until then. */
START_TEST(a_true_end_costs_a_row)
{
    for (uint32_t extra = 0; extra < 2; extra++) {
        struct lab l;
        async_lab(&l);
        lab_add(&l, 0, "a", 4, 2)->max_tokens = 2 + extra;
        run(&l);
        ck_assert_uint_eq(l.n_step, 2 + extra);
        ck_assert_int_eq(lab_row(&l, 0)->done_at, 20 * MS + MS / 2);
        ck_assert_uint_eq(lab_row(&l, 0)->output_tokens, 2);
        ck_assert_double_eq(lab_metric(&l, "finished"), 1);
        if (extra)
            ck_assert_uint_eq(l.step[2].n_decode, 1);
        lab_release(&l);
    }
}
END_TEST

/* A synchronous engine knows the end before it forms the next step. */
START_TEST(no_such_row_when_synchronous)
{
    struct lab l;
    lab_init(&l);
    lab_add(&l, 0, "a", 4, 2)->max_tokens = 9;
    run(&l);
    ck_assert_uint_eq(l.n_step, 2);
    lab_release(&l);
}
END_TEST

/* contract.md section 3: under vllm-* one of num_gpu_blocks is the null block. */
START_TEST(null_block)
{
    static const struct {
        const char *engine;
        uint64_t usable;
    } cases[] = {{"ideal", 100}, {"vllm-0.8", 99}, {"vllm-0.19", 99}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct composed x;
        struct err e = {0};
        config_init(&c);
        ck_assert(config_set(&c, "trace", "traces/samples/demo.csv", &e) &&
                  config_set(&c, "num_gpu_blocks", "100", &e) &&
                  config_set(&c, "engine", cases[i].engine, &e));
        config_resolve(&c);
        ck_assert_msg(compose(&x, &c, &e), "%s", e.text);
        ck_assert_uint_eq(x.sim.replica[0].limits.num_gpu_blocks, cases[i].usable);
        compose_release(&x);
        config_release(&c);
    }
}
END_TEST

/* ---- swap (architecture.md 6, mutation 20) ---- */

#define COPY(blocks) (1000 + (blocks)*1000) /* latency, then 1000 bytes a block at 1 byte a ns */

/* At 1 ms request 0 needs a block and request 2, with 10, goes to the host. */
static void swap_lab(struct lab *l, uint64_t host_blocks)
{
    lab_init(l);
    l->limits.num_gpu_blocks = 20;
    l->limits.enable_prefix_caching = false;
    l->limits.preempt = PREEMPT_SWAP;
    l->limits.host_blocks = host_blocks;
    lab_add(l, 0, "a", 5, 4);
    lab_add(l, 0, "a", 5, 4);
    lab_add(l, 0, "a", 10, 3);
}

/* Its blocks are held until the copy is out: the others, which need them, wait. It comes back when
 * there is room, runs when its blocks are there, and computes nothing twice. */
START_TEST(swap_there_and_back)
{
    struct lab l;
    swap_lab(&l, 100);
    run(&l);
    ns_t out = MS + COPY(10), room = out + 3 * MS, in = room + COPY(10);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 2, 0), MS);
    ck_assert_uint_eq(l.decision[lab_find(&l, DEC_PREEMPT, 2, 0)].number, PREEMPT_SWAP);
    ck_assert_int_eq(l.step[1].at, out); /* the fence */
    ck_assert_uint_eq(l.step[1].n_decode, 2);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 1), room);
    ck_assert_int_eq(l.step[4].at, in);
    ck_assert_uint_eq(l.step[4].decode_tokens, 1); /* its next token, no prompt again */
    ck_assert_uint_eq(l.step[4].n_prefill, 0);
    ck_assert_int_eq(lab_row(&l, 2)->itl_max_ns, in + MS - MS);
    ck_assert_int_eq(lab_row(&l, 2)->done_at, in + 2 * MS);

    ck_assert_uint_eq(l.n_transfer, 2);
    ck_assert_str_eq(l.transfer[0].direction, "out");
    ck_assert_int_eq(l.transfer[0].submitted_at, MS);
    ck_assert_int_eq(l.transfer[0].done_at, out);
    ck_assert_uint_eq(l.transfer[0].units, 10);
    ck_assert_str_eq(l.transfer[1].direction, "in");
    ck_assert_int_eq(l.transfer[1].submitted_at, room);
    ck_assert_int_eq(l.transfer[1].done_at, in);
    ck_assert_uint_eq(l.transfer[1].units, 10);
    ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), 0);
    ck_assert_double_eq(lab_metric(&l, "swapped_bytes"), 20 * 1000);
    lab_release(&l);
}
END_TEST

/* Transfers overlap with steps: while request 2 comes back, request 3 computes. */
START_TEST(steps_run_beside_transfers)
{
    struct lab l;
    swap_lab(&l, 100);
    l.limits.pcie_bytes_per_s = 1e6; /* 1 ms a block */
    lab_add(&l, 2 * MS, "a", 1, 9);
    run(&l);
    ns_t in_from = l.transfer[1].submitted_at, in_to = l.transfer[1].done_at;
    ck_assert_int_eq(in_to - in_from, 1000 + 10 * MS);
    uint32_t beside = 0;
    for (size_t i = 0; i < l.n_step; i++)
        if (l.step[i].at >= in_from && l.step[i].at + l.step[i].duration_ns <= in_to)
            beside += l.step[i].decode_tokens + l.step[i].prefill_tokens;
    ck_assert_uint_ge(beside, 9);
    ck_assert_int_ge(lab_row(&l, 2)->done_at, in_to + 2 * MS);
    lab_release(&l);
}
END_TEST

/* Without room on the host it is recomputed after all. */
START_TEST(a_full_host_recomputes)
{
    for (uint64_t host = 9; host <= 10; host++) {
        struct lab l;
        swap_lab(&l, host);
        run(&l);
        bool swapped = host == 10;
        ck_assert_uint_eq(l.decision[lab_find(&l, DEC_PREEMPT, 2, 0)].number,
                          swapped ? PREEMPT_SWAP : PREEMPT_RECOMPUTE);
        ck_assert_uint_eq(l.n_transfer, swapped ? 2 : 0);
        ck_assert_double_eq(lab_metric(&l, "recomputed_tokens"), swapped ? 0 : 10);
        lab_release(&l);
    }
}
END_TEST

/* ---- followers and the closed loop (architecture.md 3, Sessions) ---- */

static struct trace_rec *follow(struct lab *l, uint64_t after, ns_t delay_ns)
{
    struct trace_rec *r = lab_add(l, 0, "a", 4, 2);
    l->has_after = true;
    r->after = after;
    r->delay_ns = delay_ns;
    return r;
}

/* A follower arrives its delay after its parent's last token was visible. */
START_TEST(followers_wait_for_their_parent)
{
    static const char *const engines[] = {"ideal", "vllm-0.8", "vllm-0.19"};
    for (size_t i = 0; i < ARRAY_LEN(engines); i++) {
        struct lab l;
        lab_init(&l);
        l.engine = engines[i];
        l.step_ns = 10 * (double)MS;
        lab_add(&l, 3 * MS, "a", 4, 2);
        follow(&l, 0, 7 * MS);
        follow(&l, 1, 0);
        follow(&l, 0, 5 * MS); /* a parent may have several */
        run(&l);
        ck_assert_int_eq(lab_row(&l, 1)->arrived_at, lab_row(&l, 0)->done_at + 7 * MS);
        ck_assert_int_eq(lab_row(&l, 2)->arrived_at, lab_row(&l, 1)->done_at);
        ck_assert_int_eq(lab_row(&l, 3)->arrived_at, lab_row(&l, 0)->done_at + 5 * MS);
        ck_assert_uint_eq(l.result.finished, 4);
        lab_release(&l);
    }
}
END_TEST

/* A follower of a refused one is refused then (contract.md section 5), and so on down the line. */
START_TEST(followers_of_the_refused_are_refused)
{
    struct lab l;
    lab_init(&l);
    l.limits.max_model_len = 100;
    lab_add(&l, 3 * MS, "a", 100, 2);
    lab_add(&l, 4 * MS, "a", 4, 2);
    follow(&l, 0, 7 * MS);
    follow(&l, 2, MS);
    follow(&l, 1, MS);
    run(&l);
    static const char *const reasons[] = {"prompt_too_long", "", "parent", "parent", ""};
    for (uint64_t seq = 0; seq < ARRAY_LEN(reasons); seq++) {
        const struct request_row *row = lab_row(&l, seq);
        bool refused = *reasons[seq] != '\0';
        ck_assert_str_eq(l.reason[row - l.row], reasons[seq]);
        ck_assert_int_eq(row->status, refused ? STATUS_REFUSED : STATUS_FINISHED);
        if (refused) {
            ck_assert_int_eq(row->arrived_at, 3 * MS);
            ck_assert_int_eq(row->done_at, 3 * MS);
        }
    }
    ck_assert_double_eq(lab_metric(&l, "requests"), 5);
    ck_assert_double_eq(lab_metric(&l, "refused"), 3);
    lab_release(&l);
}
END_TEST

static uint32_t in_flight(const struct lab *l, ns_t at)
{
    uint32_t n = 0;
    for (size_t i = 0; i < l->n_row; i++)
        n += l->row[i].arrived_at <= at && l->row[i].done_at > at;
    return n;
}

/* A chain as long as the trace, and a crowd behind one request: refused one by one, not in a
 * recursion as deep as the chain. */
START_TEST(long_chains_are_refused)
{
    struct lab l;
    lab_init(&l);
    l.has_after = true;
    l.limits.max_model_len = 100;
    lab_add(&l, 0, "t", 100, 1); /* too long */
    for (uint32_t i = 0; i < 100000; i++)
        lab_add(&l, 0, "t", 1, 1)->after = i;
    for (uint32_t i = 0; i < 100000; i++)
        lab_add(&l, 0, "t", 1, 1)->after = 0;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(l.result.refused, l.n_rec);
    ck_assert_str_eq(l.reason[l.n_rec - 1], "parent");
    lab_release(&l);
}
END_TEST

/* concurrency = C: from the start until the last arrival C are in flight, whatever arrivals
 * the trace names; those that are refused are replaced at once. */
START_TEST(closed_loop)
{
    static const char *const engines[] = {"ideal", "vllm-0.8", "vllm-0.19"};
    for (uint32_t c = 1; c <= 6; c++)
        for (size_t k = 0; k < ARRAY_LEN(engines); k++) {
            struct lab l;
            lab_init(&l);
            l.engine = engines[k];
            l.concurrency = c;
            l.limits.max_model_len = 100;
            for (uint32_t i = 0; i < 20; i++)
                lab_add(&l, i * 1000 * NS_PER_S, "a", i % 6 == 5 ? 100 : 1 + i, 1 + i * 7 % 5);
            run(&l);
            ns_t last = 0;
            for (size_t i = 0; i < l.n_row; i++)
                last = MAX(last, l.row[i].arrived_at);
            ck_assert_int_gt(last, 0);
            for (size_t i = 0; i < l.n_row; i++) {
                if (l.row[i].arrived_at < last)
                    ck_assert_uint_eq(in_flight(&l, l.row[i].arrived_at), c);
                if (l.row[i].done_at < last)
                    ck_assert_uint_eq(in_flight(&l, l.row[i].done_at), c);
            }
            ck_assert_uint_eq(l.result.finished, 17);
            ck_assert_uint_eq(l.result.refused, 3);
            lab_release(&l);
        }
}
END_TEST

/* ---- cluster, window, clock ---- */

/* Requests go round the replicas in turn, and each replica has steps of its own. */
START_TEST(round_robin)
{
    struct lab l;
    lab_init(&l);
    l.n_replicas = 3;
    l.limits.max_num_seqs = 1;
    for (uint32_t i = 0; i < 7; i++)
        lab_add(&l, 0, "a", 4, 2);
    run(&l);
    for (uint64_t seq = 0; seq < 7; seq++) {
        ck_assert_uint_eq(l.decision[lab_find(&l, DEC_ROUTE, seq, 0)].number, seq % 3);
        ck_assert_uint_eq(lab_row(&l, seq)->replica, seq % 3);
        ck_assert_int_eq(lab_row(&l, seq)->admitted_at, (ns_t)(seq / 3) * 2 * MS);
    }
    lab_release(&l);
}
END_TEST

/* At the horizon the run stops: what is not done is unfinished, what would come later never was. */
START_TEST(horizon)
{
    struct lab l;
    lab_init(&l);
    l.horizon_ns = 2 * MS + MS / 2;
    lab_add(&l, 0, "a", 4, 2);
    lab_add(&l, 0, "a", 4, 9);
    lab_add(&l, MS + MS / 2, "a", 4, 9); /* its first step is under way */
    lab_add(&l, 3 * MS, "a", 4, 1);
    run(&l);
    ck_assert_uint_eq(l.n_row, 3);
    ck_assert_uint_eq(l.result.finished, 1);
    ck_assert_uint_eq(l.result.unfinished, 2);
    ck_assert_int_eq(lab_row(&l, 1)->status, STATUS_UNFINISHED);
    ck_assert_uint_eq(lab_row(&l, 1)->output_tokens, 2);
    ck_assert_int_eq(lab_row(&l, 1)->done_at, -1);
    ck_assert_int_eq(lab_row(&l, 2)->admitted_at, 2 * MS);
    ck_assert_int_eq(lab_row(&l, 2)->first_token_at, -1);
    ck_assert_double_eq(lab_metric(&l, "unfinished"), 2);
    lab_release(&l);
}
END_TEST

static ns_t wall_now(void)
{
    struct timespec ts;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (ns_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* The paced clock decides as the virtual one does, and takes the time it says. */
START_TEST(paced_clock)
{
    struct lab l;
    lab_init(&l);
    lab_add(&l, 0, "a", 4, 50);
    run(&l);
    uint64_t digest = l.result.digest;
    l.clock = CLOCK_PACED;
    ns_t from = wall_now();
    run(&l);
    ck_assert_int_ge(wall_now() - from, 50 * MS);
    ck_assert_uint_eq(l.result.digest, digest);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine in time");
    TCase *t = tcase_create("times");
    tcase_add_test(t, host_time);
    tcase_add_test(t, an_arrival_waits_two_steps);
    tcase_add_test(t, an_arrival_waits_for_the_output);
    tcase_add_test(t, a_true_end_costs_a_row);
    tcase_add_test(t, no_such_row_when_synchronous);
    tcase_add_test(t, null_block);
    tcase_add_test(t, swap_there_and_back);
    tcase_add_test(t, steps_run_beside_transfers);
    tcase_add_test(t, a_full_host_recomputes);
    tcase_add_test(t, followers_wait_for_their_parent);
    tcase_add_test(t, followers_of_the_refused_are_refused);
    tcase_add_test(t, long_chains_are_refused);
    tcase_add_test(t, closed_loop);
    tcase_add_test(t, round_robin);
    tcase_add_test(t, horizon);
    tcase_add_test(t, paced_clock);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
