/* test_limits.c: sizes at their ends: tokens up to 2^32, traces of a century, the end of the clock,
 * a million tenants, one block of memory: the right answer, or a clear refusal. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

#define CENTURY_NS (INT64_C(36525) * 24 * 3600 * NS_PER_S)

/* Room for everything. */
static void open_wide(struct lab *l)
{
    lab_init(l);
    l->limits.block_size = 16;
    l->limits.num_gpu_blocks = UINT64_C(1) << 34;
    l->limits.max_model_len = UINT32_MAX;
    l->limits.max_num_batched_tokens = 1000000000;
    l->leap = true;
}

static void expect_run(struct lab *l)
{
    ck_assert_msg(lab_run(l), "%s", l->err.text);
}

static void expect_refused(const struct lab *l, size_t i, const char *reason)
{
    ck_assert_int_eq(l->row[i].status, STATUS_REFUSED);
    ck_assert_str_eq(l->reason[i], reason);
}

/* The longest prompt there is, in five steps of at most 1e9 tokens of 1 ns each. */
START_TEST(longest_prompt)
{
    struct lab l;
    open_wide(&l);
    l.token_ns = 1;
    lab_add(&l, 7, "a", UINT32_MAX - 1, 1);
    expect_run(&l);
    const struct request_row *row = lab_row(&l, 0);
    ck_assert_int_eq(row->status, STATUS_FINISHED);
    ck_assert_int_eq(row->first_token_at - row->arrived_at, 5 * NS_PER_MS + UINT32_MAX - 1);
    ck_assert_uint_eq(l.result.steps, 5);
    lab_release(&l);
}
END_TEST

/* Sums go beyond 2^32: two contexts of 3e9 tokens are read in a step, at 1 ns a token. */
START_TEST(sums_of_tokens)
{
    struct lab l;
    open_wide(&l);
    l.context_ns = 1;
    l.limits.max_num_batched_tokens = UINT32_MAX;
    lab_add(&l, 0, "a", 3000000000, 2);
    lab_add(&l, 0, "a", 3000000000, 2);
    expect_run(&l);
    /* The first prompt with a piece of the second one; its rest beside a decode of the first, which
     * ends; the second one's decode. */
    ns_t first = lab_row(&l, 0)->done_at, second = lab_row(&l, 1)->done_at;
    ck_assert_int_eq(first, 2 * NS_PER_MS + 3000000001);
    ck_assert_int_eq(second, 3 * NS_PER_MS + 2 * INT64_C(3000000001));
    lab_release(&l);
}
END_TEST

/* Four of them, of 3.2e9 tokens that fit, are there one after another: 1.2e10 in all. */
START_TEST(more_than_fit)
{
    struct lab l;
    open_wide(&l);
    l.limits.num_gpu_blocks = 200000000;
    for (uint32_t i = 0; i < 4; i++)
        lab_add(&l, 0, "a", 3000000000, 1);
    expect_run(&l);
    ck_assert_uint_eq(l.result.finished, 4);
    for (uint64_t i = 0; i < 4; i++) /* three steps each */
        ck_assert_int_eq(lab_row(&l, i)->done_at, (ns_t)(3 * (i + 1)) * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* A prompt and an output whose sum is no uint32_t, and a prompt beyond what the model takes. */
START_TEST(too_long)
{
    struct lab l;
    open_wide(&l);
    lab_add(&l, 0, "a", UINT32_MAX, UINT32_MAX);
    expect_run(&l);
    expect_refused(&l, 0, "prompt_too_long");
    l.limits.max_model_len = 100;
    l.rec[0].prompt_tokens = 99;
    expect_run(&l);
    ck_assert_uint_eq(lab_row(&l, 0)->output_tokens, 1); /* cut where the model ends */
    ck_assert_str_eq(l.reason[0], "length");
    lab_release(&l);
}
END_TEST

/* Two requests a century apart, with all that samples time in between. */
START_TEST(a_century)
{
    struct lab l;
    open_wide(&l);
    lab_add(&l, 0, "a", 5, 3);
    lab_add(&l, CENTURY_NS, "b", 5, 3);
    expect_run(&l);
    ck_assert_uint_eq(l.result.finished, 2);
    ck_assert_int_eq(lab_row(&l, 1)->first_token_at, CENTURY_NS + NS_PER_MS);
    ck_assert_int_eq(l.result.end_at, CENTURY_NS + 3 * NS_PER_MS);
    lab_release(&l);
}
END_TEST

/* What would happen after the last ns of the clock does not: what is there then is unfinished. */
START_TEST(end_of_the_clock)
{
    for (uint32_t leap = 0; leap < 2; leap++) {
        struct lab l;
        open_wide(&l);
        l.leap = leap;
        lab_add(&l, NS_NEVER - 5 * NS_PER_MS, "a", 1, 2);
        lab_add(&l, NS_NEVER - 5 * NS_PER_MS, "a", 1, 100);
        lab_add(&l, NS_NEVER - 1, "a", 1, 1);
        expect_run(&l);
        ck_assert_uint_eq(l.result.finished, 1);
        ck_assert_uint_eq(l.result.unfinished, 2);
        ck_assert_uint_eq(lab_row(&l, 1)->output_tokens, 4);
        lab_release(&l);
    }
}
END_TEST

/* Each with one request of one token, under every scheduler that looks at tenants. */
START_TEST(a_million_tenants)
{
    static const char *const ids[] = {"fcfs", "vtc", "dlpm"};
    struct lab l;
    open_wide(&l);
    l.scheduler = scheduler_find(ids[_i]);
    l.limits.max_num_seqs = 1000;
    for (uint32_t i = 0; i < 1000000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        lab_add(&l, (ns_t)i * NS_PER_US, name, 1, 1);
    }
    expect_run(&l);
    ck_assert_uint_eq(l.result.finished, 1000000);
    lab_release(&l);
}
END_TEST

/* Two tokens of memory, which is the least: a prompt of one and what comes after it. */
START_TEST(least_memory)
{
    struct lab l;
    lab_init(&l);
    l.limits.num_gpu_blocks = 2;
    lab_add(&l, 0, "a", 1, 1);
    lab_add(&l, 0, "a", 2, 1);
    lab_add(&l, 0, "a", 1, 1);
    expect_run(&l);
    ck_assert_uint_eq(l.result.finished, 2);
    ck_assert_uint_eq(l.result.refused, 1);
    expect_refused(&l, (size_t)(lab_row(&l, 1) - l.row), "capacity");
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *t = tcase_create("ends");
    tcase_add_test(t, longest_prompt);
    tcase_add_test(t, sums_of_tokens);
    tcase_add_test(t, more_than_fit);
    tcase_add_test(t, too_long);
    tcase_add_test(t, a_century);
    tcase_add_test(t, end_of_the_clock);
    tcase_add_loop_test(t, a_million_tenants, 0, 3);
    tcase_add_test(t, least_memory);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
