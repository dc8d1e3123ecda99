/* test_traces.c: each reader on small files, on its own cut anywhere, and on the published traces.
 */
#include "tests/support/trace_world.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "traces/rows.h"

#define CSV "arrival_s,prompt_tokens,output_tokens"

static const struct {
    const char *format, *settings, *file, *expect;
} cases[] = {
    /* azure: both years' stamps, CRLF, no line end at the end, a leap day, midnight, zones */
    {"azure", "",
     "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
     "2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8",
     "0 @0 p4808 o10\n1 @0.052 p3180 o8\n"},
    {"azure", "",
     "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-02-28 23:59:59.5+00:00,1,1\n"
     "2024-02-29 00:00:00Z,2,2\n2024-03-01 02:00:00.25+02:00,3,3\n",
     "0 @0 p1 o1\n1 @0.5 p2 o2\n2 @86400.75 p3 o3\n"},
    {"azure", "",
     "GeneratedTokens,TIMESTAMP,ContextTokens\n1,1999-12-31 23:59:59,5\n2,2000-01-01 00:00:00,6\n"
     "4,2000-02-29 00:00:00.123456789,8\n3,2001-01-01 00:00:00,7\n",
     "0 @0 p5 o1\n1 @1 p6 o2\n2 @5097601.123456789 p8 o4\n3 @31622401 p7 o3\n"}, /* 2000 had 366
                                                                                    days */
    /* burstgpt: both sets of columns; failures; sessions get their history as content */
    {"burstgpt", "",
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
     "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,Conversation log\n"
     "118.5,GPT-4,417,276,693,API log\n",
     "0 @5 p472 o18 tenant=ChatGPT\n1 @45 p1087 o0 tenant=ChatGPT failed\n"
     "2 @118.5 p417 o276 tenant=GPT-4\n"},
    {"burstgpt", "",
     "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log "
     "Type\n"
     "0,a,2.5,M,100,20,120,x\n1,b,1,M,50,5,55,x\n9,a,1,M,0,0,0,x\n10,a,1,M,150,5,155,x\n"
     "11,,,M,9,9,18,x\n12,a,1,M,154,5,159,x\n",
     "0 @0 p100 o20 tenant=M session=a elapsed=2.5 [0:0+100] continues\n"
     "1 @1 p50 o5 tenant=M session=b elapsed=1 [1:0+50] continues\n"
     "2 @9 p0 o0 tenant=M session=a elapsed=1 failed\n"
     "3 @10 p150 o5 tenant=M session=a elapsed=1 [0:0+150] continues\n"
     "4 @11 p9 o9 tenant=M\n"
     /* 154 < 150 + 5: its history was cut */
     "5 @12 p154 o5 tenant=M session=a elapsed=1 [2:0+154] continues\n"},
    /* mooncake: shared ids are shared streams, the last block is cut, keys in any order */
    {"mooncake", "",
     "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 5, \"hash_ids\": [0, 1, 2]}\n"
     "\n"
     " {\"hash_ids\":[0,1],\"output_length\":6,\"input_length\":1030,\"timestamp\":1500,"
     "\"x\":{\"a\":[1,\"}\\\"\"]},\"y\":null} \n"
     "{\"timestamp\": 1500.25, \"input_length\": 7, \"output_length\": 1, \"hash_ids\": []}",
     "0 @0 p1100 o5 [0:0+512 1:0+512 2:0+76]\n1 @1.5 p1030 o6 [0:0+512 1:0+512 3:0+6]\n"
     "2 @1.50025 p7 o1\n"},
    /* vtc_arena: the client is the tenant */
    {"vtc_arena", "",
     "req_id,arrival_s,client,prompt_len,output_len\n0,0.0,13,13,199\n"
     "1,0.20793754160099873,2,36,137\n2,2.5e+01,13,1,1\n",
     "0 @0 p13 o199 tenant=13\n1 @0.207937542 p36 o137 tenant=2\n2 @25 p1 o1 tenant=13\n"},
    /* csv: the least; everything; any order; followers; quotes; blank lines; a byte order mark */
    {"csv", "", CSV "\n0,1,2\n", "0 @0 p1 o2\n"},
    {"csv", "", CSV "\n", ""},
    {"csv", "",
     "\xef\xbb\xbf# prefix_block=100\n# "
     "more\nprompt_tokens,output_tokens,arrival_s,max_tokens,tenant,"
     "session,turn,after,delay_s,slo_class,priority,prefix_hashes,predicted_tokens\r\n"
     "250,7,1.25,9,\"a,\"\"b\"\"\",,0,,,fast,-3,5 6 7,8\n\n"
     "250,7,,,b,,,0,0.5,,,5 6,\n",
     "0 @1.25 p250 o7 max=9 predicted=8 tenant=a,\"b\" class=fast turn=0 priority=-3 "
     "[0:0+100 1:0+100 2:0+50]\n"
     "1 after 0+0.5 p250 o7 tenant=b [0:0+100 1:0+100 3:0+50]\n"},
    {"csv", "", CSV ",prefix_hashes\n0,32,1,1 2\n0,31,1,1\n",
     "0 @0 p32 o1 [0:0+16 1:0+16]\n1 @0 p31 o1 [0:0+16 2:0+15]\n"},
    /* a last block without an id is nobody else's */
    {"csv", "", CSV ",prefix_hashes\n0,31,1,1\n0,31,1,1\n",
     "0 @0 p31 o1 [0:0+16 1:0+15]\n1 @0 p31 o1 [0:0+16 2:0+15]\n"},
    /* sessions: followers are turns too; hashes win over the history */
    {"csv", "", CSV ",session,after,prefix_hashes\n0,10,5,s,,\n,15,5,s,0,\n,40,5,s,1,1 2 3\n",
     "0 @0 p10 o5 session=s [0:0+10] continues\n1 after 0+0 p15 o5 session=s [0:0+15] continues\n"
     "2 after 1+0 p40 o5 session=s [1:0+16 2:0+16 3:0+8]\n"},
    /* somebody's log */
    {NULL, "map=arrival_s=ts,prompt_tokens=in,output_tokens=out",
     "id,ts,in,out,tenant\nx,1700000000.123456789,5,6,me\n",
     "0 @1700000000.123456789 p5 o6 tenant=me\n"},
    /* session_mode=after: from the finish where it is known, else from the arrival */
    {"csv", "session_mode=after", CSV ",session\n0,10,5,s\n1,9,9,r\n4,15,5,s\n9,20,1,s\n9,9,9,\n",
     "0 @0 p10 o5 session=s [0:0+10] continues\n1 @1 p9 o9 session=r [1:0+9] continues\n"
     "2 after 0+4 p15 o5 session=s [0:0+15] continues\n"
     "3 after 2+5 p20 o1 session=s [0:0+20] continues\n4 @9 p9 o9\n"},
    {"burstgpt", "session_mode=after",
     "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log "
     "Type\n"
     "0,a,2.5,M,100,20,120,x\n10,a,7,M,120,1,121,x\n12,a,1,M,121,1,122,x\n",
     "0 @0 p100 o20 tenant=M session=a elapsed=2.5 [0:0+100] continues\n"
     "1 after 0+7.5 p120 o1 tenant=M session=a elapsed=7 [0:0+120] continues\n"
     "2 after 1+0 p121 o1 tenant=M session=a elapsed=1 [0:0+121] continues\n"},
};

/* A case as a plain file and as a gzip one, its format named and found. */
START_TEST(readers)
{
    const char *formats[] = {cases[_i].format, NULL};

    for (unsigned i = 0; i < 4; i++) {
        struct trace_world w;
        char out[4096] = "";
        enum trace_status st;
        uint64_t n;

        trace_world_init(&w);
        trace_world_set(&w, cases[_i].settings);
        (i & 1 ? trace_world_gzip : trace_world_file)(&w, cases[_i].file, strlen(cases[_i].file));
        st = trace_world_read(&w, w.path, formats[i / 2], out, sizeof(out), &n);
        ck_assert_str_eq(w.err.text, "");
        ck_assert_int_eq(st, TRACE_END);
        ck_assert_str_eq(out, cases[_i].expect);
        trace_world_release(&w);
    }
}
END_TEST

/* Every file of the table, cut after each of its bytes: records or a message that names the line;
 * run under the sanitizers: no leak, no bad access. */
START_TEST(cut_anywhere)
{
    size_t len = strlen(cases[_i].file);
    struct trace_world w;
    char at[128];

    trace_world_init(&w);
    trace_world_set(&w, cases[_i].settings);
    snprintf(at, sizeof(at), "%s:", w.path);
    for (size_t n = 0; n <= len; n++) {
        uint64_t records;

        trace_world_file(&w, cases[_i].file, n);
        w.err.set = false;
        w.err.text[0] = '\0';
        if (trace_world_read(&w, w.path, cases[_i].format, NULL, 0, &records) == TRACE_ERR) {
            ck_assert_msg(strncmp(w.err.text, at, strlen(at)) == 0, "%s", w.err.text);
            ck_assert_int_gt(strtol(w.err.text + strlen(at), NULL, 10), 0);
        }
    }
    trace_world_release(&w);
}
END_TEST

/* A gzip file that is cut is always an error, however much of it can be read. */
START_TEST(gzip_cut_anywhere)
{
    static char file[20000], packed[20000];
    struct trace_world w;
    uint64_t records;
    size_t len = 0, n_packed;
    FILE *f;

    len += (size_t)snprintf(file, sizeof(file), "%s\n", CSV);
    for (unsigned i = 0; i < 500; i++)
        len += (size_t)snprintf(file + len, sizeof(file) - len, "%u.%u,%u,%u\n", i,
                                i * 7919 % 10000, 1 + i * 104729 % 4096, 1 + i * 1299709 % 512);
    trace_world_init(&w);
    trace_world_gzip(&w, file, len);
    f = fopen(w.path, "rb");
    ck_assert_ptr_nonnull(f);
    n_packed = fread(packed, 1, sizeof(packed), f);
    fclose(f);
    ck_assert_int_eq(trace_world_read(&w, w.path, NULL, NULL, 0, &records), TRACE_END);
    ck_assert_uint_eq(records, 500);
    for (size_t n = 0; n < n_packed; n++) {
        w.err.set = false;
        trace_world_file(&w, packed, n);
        ck_assert_int_eq(trace_world_read(&w, w.path, "csv", NULL, 0, &records), TRACE_ERR);
    }
    trace_world_release(&w);
}
END_TEST

/* ---- parts ---- */

static const struct {
    const char *token;
    enum time_unit unit;
    ns_t expect; /* -1: an error */
} times[] = {
    {"0", TIME_S, 0},
    {"1", TIME_S, NS_PER_S},
    {"1.5", TIME_MS, 1500000},
    {"0.20793754160099873", TIME_S, 207937542},
    {"0.1234567894", TIME_S, 123456789},
    {"0.1234567895", TIME_S, 123456790},
    {"0.9999999999", TIME_S, NS_PER_S},
    {"00012.50", TIME_S, INT64_C(12500000000)},
    {".5", TIME_S, 500000000},
    {"5.", TIME_S, INT64_C(5000000000)},
    {"5e-05", TIME_S, 50000},
    {"1.25E+1", TIME_S, INT64_C(12500000000)},
    {"5e-10", TIME_S, 1},
    {"4e-10", TIME_S, 0},
    {"9e-11", TIME_S, 0},
    {"0e9999", TIME_S, 0},
    /* a double would give 9007199254740992 */
    {"9007199.254740993", TIME_S, INT64_C(9007199254740993)},
    {"9223372036.854775805", TIME_S, NS_NEVER - 2}, /* one more is kept for rounding up */
    {"9223372036.854775806", TIME_S, -1},
    {"1e10", TIME_S, -1},
    {"", TIME_S, -1},
    {".", TIME_S, -1},
    {"-1", TIME_S, -1},
    {"+1", TIME_S, -1},
    {"nan", TIME_S, -1},
    {"inf", TIME_S, -1},
    {"1e", TIME_S, -1},
    {"1e+", TIME_S, -1},
    {"1 ", TIME_S, -1},
    {"0x10", TIME_S, -1},
    {"1.2.3", TIME_S, -1},
    {"1e99999", TIME_S, -1},
};

START_TEST(time_tokens)
{
    char path[] = "f";
    struct text t = {.path = path, .noun = "column", .line = 1};
    struct err e = {0};
    ns_t at = -1;
    bool ok = field_time(&t, "c", times[_i].token, times[_i].unit, &at, &e);

    ck_assert_msg(ok == (times[_i].expect >= 0), "%s", times[_i].token);
    ck_assert_int_eq(at, times[_i].expect);
    ck_assert(e.set == !ok);
}
END_TEST

/* Only the longest line that is allowed is read, and memory does not grow with the file. */
START_TEST(long_lines)
{
    size_t len = TEXT_LINE_MAX + 1;
    char *bytes = mem_alloc(len + 2), *line;
    struct trace_world w;
    struct text t;

    memset(bytes, 'x', len);
    trace_world_init(&w);
    for (unsigned too_long = 0; too_long < 2; too_long++) {
        bytes[TEXT_LINE_MAX + too_long] = '\n';
        trace_world_file(&w, bytes, TEXT_LINE_MAX + too_long + 1);
        ck_assert(text_open(&t, w.path, &w.err));
        ck_assert_int_eq(text_line(&t, &line, &w.err), too_long ? TRACE_ERR : TRACE_REC);
        if (!too_long)
            ck_assert_uint_eq(strlen(line), TEXT_LINE_MAX);
        text_close(&t);
        bytes[TEXT_LINE_MAX] = 'x';
    }
    for (size_t i = 0; i < len; i++)
        bytes[i] = i % 32 == 31 ? '\n' : 'x';
    trace_world_file(&w, bytes, len);
    ck_assert(text_open(&t, w.path, &w.err));
    while (text_line(&t, &line, &w.err) == TRACE_REC)
        ck_assert_uint_eq(strlen(line), t.line == len / 32 + 1 ? len % 32 : 31);
    ck_assert_uint_eq(t.line, len / 32 + 1);
    ck_assert_uint_lt(t.cap, (size_t)1 << 20);
    text_close(&t);
    trace_world_release(&w);
    mem_free(bytes);
}
END_TEST

START_TEST(registry)
{
    size_t n = 0;

    for (const struct trace_ops *o; (o = trace_at(n)) != NULL; n++) {
        ck_assert_ptr_eq(trace_find(o->name), o);
        ck_assert(o->doc && o->source && o->open && o->next && o->close);
    }
    ck_assert_uint_ge(n, 5);
    ck_assert_ptr_null(trace_find("no such"));
}
END_TEST

/* The bundled sample is what its README says. */
START_TEST(sample)
{
    static const struct {
        const char *tenant;
        uint64_t requests, timed;
    } expect[] = {{"chat", 390, 87}, {"code", 351, 351}, {"batch", 280, 280}, {"agent", 188, 23}};
    struct trace_world w;
    struct trace_source src;
    struct trace_rec rec;
    uint64_t requests[4] = {0}, timed[4] = {0};

    trace_world_init(&w);
    ck_assert_msg(trace_open("traces/samples/demo.csv", NULL, &w.env, &src, &w.err), "%s",
                  w.err.text);
    ck_assert_str_eq(src.format, "csv");
    while (src.ops->next(src.self, &rec, &w.err) == TRACE_REC) {
        ck_assert_uint_lt(rec.tenant, 4);
        requests[rec.tenant]++;
        timed[rec.tenant] += rec.after == TRACE_NO_PARENT;
        /* followers stand next to the row they follow */
        ck_assert(rec.after == TRACE_NO_PARENT || rec.after == rec.seq - 1);
    }
    ck_assert_str_eq(w.err.text, "");
    src.ops->close(src.self);
    for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
        uint32_t id = names_find(&w.tenants, expect[i].tenant);

        ck_assert_uint_lt(id, 4);
        ck_assert_uint_eq(requests[id], expect[i].requests);
        ck_assert_uint_eq(timed[id], expect[i].timed);
    }
    trace_world_release(&w);
}
END_TEST

/* ---- the published traces: counts and sums of ../shared/traces/README.md ---- */

static const struct {
    const char *file, *format;
    uint64_t n, prompt_tokens, output_tokens, blocks, distinct;
    double last_s;
} published[] = {
    {"azure-2023/AzureLLMInferenceTrace_code.csv.gz", "azure", 8819, 18059974, 245896, 0, 0, 3436},
    {"azure-2023/AzureLLMInferenceTrace_conv.csv.gz", "azure", 19366, 22361870, 4088665, 0, 0,
     3502},
    {"mooncake-fast25/conversation_trace.jsonl.gz", "mooncake", 12031, 144793823, 4122048, 288500,
     182790, 3537},
    {"mooncake-fast25/synthetic_trace.jsonl.gz", "mooncake", 3993, 61194628, 595432, 121877, 43924,
     1022},
    {"vtc-arena/arena_real_trace.csv.gz", "vtc_arena", 1500, 204398, 384297, 0, 0, 600},
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

START_TEST(published_traces)
{
    const char *shared = getenv("TANDEM_SHARED");
    uint64_t prompt = 0, output = 0, n = 0, *stream = NULL;
    size_t blocks = 0, cap = 0, distinct = 0;
    struct trace_world w;
    struct trace_source src;
    struct trace_rec rec;
    enum trace_status st;
    char path[512];
    ns_t last_at = 0;

    if (!shared) {
        printf("SKIP: TANDEM_SHARED is not set: %s is not read\n", published[_i].file);
        return;
    }
    snprintf(path, sizeof(path), "%s/traces/%s", shared, published[_i].file);
    trace_world_init(&w);
    ck_assert_msg(trace_open(path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    ck_assert_str_eq(src.format, published[_i].format);
    while ((st = src.ops->next(src.self, &rec, &w.err)) == TRACE_REC) {
        n++;
        prompt += rec.prompt_tokens;
        output += rec.output_tokens;
        last_at = rec.arrival_at;
        for (uint32_t i = 0; i < rec.n_segments; i++) {
            stream = mem_reserve(stream, &cap, blocks + 1, sizeof(*stream));
            stream[blocks++] = rec.segment[i].stream;
        }
    }
    ck_assert_msg(st == TRACE_END, "%s", w.err.text);
    src.ops->close(src.self);
    if (blocks > 0)
        qsort(stream, blocks, sizeof(*stream), by_value);
    for (size_t i = 0; i < blocks; i++)
        distinct += i == 0 || stream[i] != stream[i - 1];
    mem_free(stream);
    ck_assert_uint_eq(n, published[_i].n);
    ck_assert_uint_eq(prompt, published[_i].prompt_tokens);
    ck_assert_uint_eq(output, published[_i].output_tokens);
    ck_assert_uint_eq(blocks, published[_i].blocks);
    ck_assert_uint_eq(distinct, published[_i].distinct);
    ck_assert_double_eq_tol((double)last_at / (double)NS_PER_S, published[_i].last_s, 1.0);
    trace_world_release(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("traces");
    TCase *t = tcase_create("traces");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, readers, 0, (int)ARRAY_LEN(cases));
    tcase_add_loop_test(t, cut_anywhere, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, gzip_cut_anywhere);
    tcase_add_loop_test(t, time_tokens, 0, (int)ARRAY_LEN(times));
    tcase_add_test(t, long_lines);
    tcase_add_test(t, registry);
    tcase_add_test(t, sample);
    tcase_add_loop_test(t, published_traces, 0, (int)ARRAY_LEN(published));
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
