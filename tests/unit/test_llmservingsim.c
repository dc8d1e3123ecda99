/* test_llmservingsim.c: the reader of LLMServingSim's workloads: what its token ids say of shared
 * prefixes, its messages, and the published files (0.257 M / 0.196 M and 0.259 M / 0.199 M tokens
 * in shared/traces/README.md). */
#include "tests/support/shared_trace.h"
#include "tests/support/trace_world.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS_16 "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"
#define IDS_OTHER "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17"

static const struct {
    const char *bytes, *records;
} good[] = {
    /* no ids: nothing is shared; keys in any order, others skipped */
    {"{\"output_toks\":7,\"x\":[{}],\"arrival_time_ns\":1500000000,\"input_toks\":20}\n",
     "0 @1.5 p20 o7 max=7\n"},
    /* a block of 16 and the 2 of the next; the second shares the first block, its 2 differ */
    {"{\"input_toks\":18,\"output_toks\":1,\"arrival_time_ns\":0,\"input_tok_ids\":[" IDS_16
     ",5,6],\"output_tok_ids\":[3]}\n\n"
     "{\"input_toks\":18,\"output_toks\":1,\"arrival_time_ns\":0,\"input_tok_ids\":[" IDS_16
     ",5,7]}\n",
     "0 @0 p18 o1 max=1 [0:0+16 1:0+2]\n1 @0 p18 o1 max=1 [0:0+16 2:0+2]\n"},
    /* chained: the same 16 ids after others are another block */
    {"{\"input_toks\":32,\"output_toks\":1,\"arrival_time_ns\":0,\"input_tok_ids\":[" IDS_16
     "," IDS_16 "]}\n"
     "{\"input_toks\":32,\"output_toks\":1,\"arrival_time_ns\":9,\"input_tok_ids\":[" IDS_OTHER
     "," IDS_16 "]}\n",
     "0 @0 p32 o1 max=1 [0:0+16 1:0+16]\n1 @0.000000009 p32 o1 max=1 [2:0+16 3:0+16]\n"},
};

START_TEST(test_good)
{
    struct trace_world w;
    char out[1024] = "";
    uint64_t n;

    trace_world_init(&w);
    trace_world_file(&w, good[_i].bytes, strlen(good[_i].bytes));
    enum trace_status st = trace_world_read(&w, w.path, NULL, out, sizeof(out), &n);
    ck_assert_msg(st == TRACE_END, "%s", w.err.text);
    ck_assert_str_eq(out, good[_i].records);
    trace_world_release(&w);
}
END_TEST

#define LINE "{\"input_toks\":2,\"output_toks\":1,\"arrival_time_ns\":"

static const struct {
    const char *bytes, *message;
} bad[] = {
    {"[1]\n", ":1: no JSON object; write one a line"},
    {LINE "0}\n{\"input_toks\":\n", ":2: character "},
    {"{\"input_toks\":2,\"output_toks\":1}\n",
     ":1: key arrival_time_ns is missing; every line needs it"},
    {LINE "0,\"input_toks\":2}\n", ":1: character "},
    {LINE "1.5}\n", ":1: key arrival_time_ns: not a whole number; write digits only"},
    {LINE "-1}\n", ":1: key arrival_time_ns: -1 is out of range; 0 to 9223372036854775806 is"},
    {"{\"input_toks\":0,\"output_toks\":1,\"arrival_time_ns\":0}\n",
     ":1: key input_toks: 0 is out of range; 1 to 1000000000 is allowed"},
    {LINE "5}\n" LINE "4}\n", ":2: key arrival_time_ns: time goes back from "},
    {LINE "0,\"input_tok_ids\":[1]}\n",
     ":1: key input_tok_ids: 1 ids for a prompt of 2 tokens; one each, or leave the key out"},
    {LINE "0,\"input_tok_ids\":7}\n", ":1: key input_tok_ids: 0 ids for a prompt of 2 tokens"},
    {LINE "0,\"input_tok_ids\":[1,\"a\"]}\n",
     ":1: key input_tok_ids: element 2 is not a whole number; correct it"},
};

START_TEST(test_bad)
{
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    trace_world_file(&w, bad[_i].bytes, strlen(bad[_i].bytes));
    ck_assert_int_eq(trace_world_read(&w, w.path, "llmservingsim", NULL, 0, &n), TRACE_ERR);
    ck_assert_msg(
        strncmp(w.err.text, w.path, strlen(w.path)) == 0 &&
            strncmp(w.err.text + strlen(w.path), bad[_i].message, strlen(bad[_i].message)) == 0,
        "\"%s\" in: %s", bad[_i].message, w.err.text);
    trace_world_release(&w);
}
END_TEST

static const struct {
    const char *file;
    uint64_t prompt_tokens, output_tokens;
} published[] = {
    {"llmservingsim-workloads/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz", 257239, 195753},
    {"llmservingsim-workloads/sharegpt-qwen3-300-sps10.jsonl.gz", 258691, 199486},
};

START_TEST(test_published)
{
    struct shared_trace t;
    struct trace_rec r;
    struct err e = {.set = false};
    uint64_t n = 0, prompt = 0, output = 0;
    enum trace_status st;

    if (!shared_trace_open(&t, published[_i].file))
        return;
    ck_assert_str_eq(t.source.format, "llmservingsim");
    while ((st = t.source.ops->next(t.source.self, &r, &e)) == TRACE_REC) {
        n++;
        prompt += r.prompt_tokens;
        output += r.output_tokens;
    }
    ck_assert_msg(st == TRACE_END, "%s", e.text);
    ck_assert_uint_eq(n, 300);
    ck_assert_uint_eq(prompt, published[_i].prompt_tokens);
    ck_assert_uint_eq(output, published[_i].output_tokens);
    shared_trace_close(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("llmservingsim");
    TCase *tc = tcase_create("llmservingsim");
    SRunner *sr;
    int failed;

    tcase_add_loop_test(tc, test_good, 0, ARRAY_LEN(good));
    tcase_add_loop_test(tc, test_bad, 0, ARRAY_LEN(bad));
    tcase_add_loop_test(tc, test_published, 0, ARRAY_LEN(published));
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
