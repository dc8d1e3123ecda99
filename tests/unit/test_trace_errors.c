/* test_trace_errors.c: what bad input is answered: one line that names the file, the line, what is
 * there and what to do. The messages are compared to the letter. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "traces/text.h"

#define CSV "arrival_s,prompt_tokens,output_tokens"
#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"
#define BURST "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
#define ARENA "req_id,arrival_s,client,prompt_len,output_len\n"

/* `bytes` may hold a NUL where `len` is given. The message follows the file's path. */
static const struct {
    const char *format, *settings, *bytes;
    size_t len;
    const char *message;
} cases[] = {
    /* files */
    {NULL, "", "", 0, ":1: the file is empty; name a trace file"},
    {"csv", "", "", 0, ":1: the file is empty; name a trace file"},
    {"mooncake", "", "", 0, ":1: the file is empty; name a trace file"},
    {"csv", "", "\n# only a comment\n", 0, ":2: no header line; the first line names the columns"},
    {"csv", "", "\x01\x9f\x80 random \xff\xfe bytes\n", 0,
     ":1: column arrival_s is missing; the header must name it"},
    {"mooncake", "", "\x01\x9f\x80 random\n", 0,
     ":1: character 1: \"??? random\" where '{' should be; write one JSON object a line"},
    {"csv", "", CSV "\n0,1\0,1\n", sizeof(CSV "\n0,1\0,1\n") - 1,
     ":2: NUL byte at character 4; this is not a text file"},
    /* headers */
    {NULL, "", "arrival_s,prompt_tokens\n0,1\n", 0,
     ":1: column output_tokens is missing; the header must name it"},
    {NULL, "", "TIMESTAMP,ContextTokens,GeneratedTokens," CSV "\n", 0,
     ":1: could be azure or csv; choose with --trace-format"},
    {"azure", "", CSV "\n0,1,1\n", 0, ":1: column TIMESTAMP is missing; the header must name it"},
    {"burstgpt", "", CSV "\n0,1,1\n", 0,
     ":1: column Timestamp is missing; the header must name it"},
    {NULL, "", "TIMESTAMP,ContextTokens\n", 0,
     ":1: column GeneratedTokens is missing; the header must name it"},
    {NULL, "", "req_id,arrival_s,client,prompt_len\n", 0,
     ":1: column output_len is missing; the header must name it"},
    {"csv", "", CSV ",tenant,tenant\n", 0,
     ":1: column \"tenant\" appears twice; name every column once"},
    {"csv", "", CSV ",tennant\n", 0,
     ":1: unknown column \"tennant\"; did you mean tenant? (trace.map reads other logs)"},
    {"csv", "", CSV ",Prefix_hash\n", 0,
     ":1: unknown column \"Prefix_hash\"; did you mean prefix_hashes? (trace.map reads other "
     "logs)"},
    {"csv", "", "# prefix_block=0\n" CSV ",prefix_hashes\n", 0,
     ":2: column prefix_block: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {NULL, "map=arrival_s=ts,prompt_tokens=in,output_tokens=out,tenant=who", "ts,in,out\n", 0,
     ":1: column \"who\", which trace.map names, is missing; the header must name it"},
    {NULL, "map=arrival_s=ts", "ts,in,out\n", 0,
     ":1: column prompt_tokens is missing; the header must name it"},
    /* cells */
    {"csv", "", CSV "\n0,1,1\n0,12x,1\n", 0,
     ":3: column prompt_tokens: \"12x\" is not a whole number; write digits only"},
    {"csv", "", CSV "\n0,-5,1\n", 0,
     ":2: column prompt_tokens: \"-5\" is not a whole number; write digits only"},
    {"csv", "", CSV "\n0,5.0,1\n", 0,
     ":2: column prompt_tokens: \"5.0\" is not a whole number; write digits only"},
    {"csv", "", CSV "\n0, 5,1\n", 0,
     ":2: column prompt_tokens: \" 5\" is not a whole number; write digits only"},
    {"csv", "", CSV "\n0,0,1\n", 0,
     ":2: column prompt_tokens: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"csv", "", CSV "\n0,99999999999999999999999,1\n", 0,
     ":2: column prompt_tokens: \"99999999999999999999999\" is out of range; 1 to 1000000000 is "
     "allowed"},
    {"csv", "", CSV "\n0,1,0\n", 0,
     ":2: column output_tokens: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"azure", "", AZURE "2023-11-16 18:17:03.97,1,0\n", 0,
     ":2: column GeneratedTokens: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"vtc_arena", "", ARENA "0,0.0,3,1,0\n", 0,
     ":2: column output_len: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"mooncake", "",
     "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 0, \"hash_ids\": [0]}\n", 0,
     ":1: key output_length: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"burstgpt", "", BURST "5,M,0,7,7,API log\n", 0,
     ":2: column Request tokens: \"0\" is out of range; 1 to 1000000000 is allowed"},
    {"burstgpt", "", BURST "5,M,4,-7,7,API log\n", 0,
     ":2: column Response tokens: \"-7\" is not a whole number; write digits only"},
    {"csv", "", CSV "\nnan,1,1\n", 0,
     ":2: column arrival_s: \"nan\" is not a time in s; write a decimal number >= 0"},
    {"csv", "", CSV "\n,1,1\n", 0,
     ":2: column arrival_s: \"\" is not a time in s; write a decimal number >= 0"},
    {"csv", "", CSV "\n-0.5,1,1\n", 0,
     ":2: column arrival_s: \"-0.5\" is not a time in s; write a decimal number >= 0"},
    {"csv", "", CSV "\n1e12,1,1\n", 0,
     ":2: column arrival_s: \"1e12\" is out of range; the clock ends after 292 years"},
    {"csv", "", CSV "\n2.5,1,1\n1.25,1,1\n", 0,
     ":3: column arrival_s: time goes back from 2.500000000 s to 1.250000000 s; sort the rows by "
     "arrival"},
    {"csv", "", CSV "\n1.000000001,1,1\n1,1,1\n", 0,
     ":3: column arrival_s: time goes back from 1.000000001 s to 1.000000000 s; sort the rows by "
     "arrival"},
    {"azure", "", AZURE "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n", 0,
     ":3: column TIMESTAMP: time goes back from 0.000000000 s to -1.000000000 s; sort the rows by "
     "arrival"},
    {"azure", "", AZURE "0001-01-01 00:00:00,1,1\n2023-01-01 00:00:00,1,1\n", 0,
     ":3: column TIMESTAMP: \"2023-01-01 00:00:00\" is 292 years after the first; correct it"},
    {"azure", "", AZURE "1900-02-29 00:00:00,1,1\n", 0,
     ":2: column TIMESTAMP: \"1900-02-29 00:00:00\" is not a time; write YYYY-MM-DD HH:MM:SS.fff"},
    {"azure", "", AZURE "2023-02-29 18:17:03,1,1\n", 0,
     ":2: column TIMESTAMP: \"2023-02-29 18:17:03\" is not a time; write YYYY-MM-DD HH:MM:SS.fff"},
    {"azure", "", AZURE "2023-11-16 18:17:03.1234567891,1,1\n", 0,
     ":2: column TIMESTAMP: \"2023-11-16 18:17:03.1234567891\" is not a time; write YYYY-MM-DD "
     "HH:MM:SS.fff"},
    {"azure", "", AZURE "5,1,1\n", 0,
     ":2: column TIMESTAMP: \"5\" is not a time; write YYYY-MM-DD HH:MM:SS.fff"},
    {"csv", "", CSV ",priority\n0,1,1,-\n", 0,
     ":2: column priority: \"-\" is not a whole number; write digits only"},
    {"csv", "",
     CSV ",session\n0,1,1,"
         "0123456789012345678901234567890123456789012345678901234567890123\n",
     0,
     ":2: column session: \"012345678901234567890123456789012345678901...\" is longer than 63 "
     "bytes; shorten it"},
    /* rows */
    {"csv", "", CSV "\n0,1\n", 0, ":2: 2 cells where the header has 3; every row needs as many"},
    {"csv", "", CSV "\n0,1,1,1\n", 0,
     ":2: more than 3 cells; every row needs as many cells as the header"},
    {"csv", "", CSV ",tenant\n0,1,1,\"a\n", 0,
     ":2: cell 4: misplaced quote; quote whole cells, on one line, with \"\" for a quote inside"},
    {"csv", "", CSV ",tenant\n0,1,1,a\"b\"\n", 0,
     ":2: cell 4: misplaced quote; quote whole cells, on one line, with \"\" for a quote inside"},
    {"csv", "", CSV ",tenant\n0,\"1\"1,1,a\n", 0,
     ":2: cell 2: misplaced quote; quote whole cells, on one line, with \"\" for a quote inside"},
    /* followers */
    {"csv", "", CSV ",after\n,1,1,0\n", 0,
     ":2: column after: \"0\" is not an earlier row; this is data row 0, counted from 0"},
    {"csv", "", CSV ",after\n0,1,1,\n3,1,1,0\n", 0,
     ":3: column arrival_s: \"3\" in a row with after; leave one of them empty"},
    {"csv", "", CSV ",after,delay_s\n0,1,1,,2\n", 0,
     ":2: column delay_s: \"2\" without after; say which row it follows"},
    {"csv", "", CSV ",after,delay_s\n0,1,1,,\n,1,1,0,-1\n", 0,
     ":3: column delay_s: \"-1\" is not a time in s; write a decimal number >= 0"},
    /* block hashes */
    {"csv", "", CSV ",prefix_hashes\n0,40,1,1 2 3 4\n", 0,
     ":2: column prefix_hashes: 4 ids for a prompt of 40 tokens; blocks of 16 tokens make it 3"},
    {"csv", "", CSV ",prefix_hashes\n0,40,1,1 x 3\n", 0,
     ":2: column prefix_hashes: \"x\" is not a whole number; write digits only"},
    /* 10 x 2^65: every digit but the last wraps 64 bits to 0 */
    {"csv", "", CSV ",prefix_hashes\n0,16,1,368934881474191032320\n", 0,
     ":2: column prefix_hashes: \"368934881474191032320\" is out of range; 0 to "
     "18446744073709551615 is allowed"},
    {"mooncake", "",
     "{\"timestamp\": 0, \"input_length\": 1025, \"output_length\": 1, \"hash_ids\": [0]}\n", 0,
     ":1: key hash_ids: 1 ids for a prompt of 1025 tokens; blocks of 512 tokens make it 3"},
    /* JSON lines */
    {"mooncake", "", "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n", 0,
     ":1: key hash_ids is missing; every line needs it"},
    {"mooncake", "", "{\"timestamp\": 0, \"timestamp\": 1}\n", 0,
     ":1: key timestamp appears twice; write every key once"},
    {"mooncake", "", "{\"timestamp\": NaN}\n", 0,
     ":1: character 15: \"NaN}\" where a number should be; write one JSON object a line"},
    {"mooncake", "", "{\"timestamp\": -1}\n", 0,
     ":1: key timestamp: \"-1\" is not a time in ms; write a decimal number >= 0"},
    {"mooncake", "", "{\"hash_ids\": [1, 2\n", 0,
     ":1: character 19: \"\" where ',' or ']' should be; write one JSON object a line"},
    {"mooncake", "", "{\"x\": [1, {\n", 0,
     ":1: character 12: \"\" where a closing bracket should be; write one JSON object a line"},
    {"mooncake", "", "{\"x\n", 0,
     ":1: character 4: \"\" where a closing quote should be; write one JSON object a line"},
    {"mooncake", "", "[]\n", 0,
     ":1: character 1: \"[]\" where '{' should be; write one JSON object a line"},
    {"mooncake", "",
     "{\"timestamp\": 2000, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [0]}\n"
     "{\"timestamp\": 1000, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [0]} {}\n",
     0,
     ":2: character 77: \"{}\" where the end of the line should be; write one JSON object a line"},
    {"mooncake", "",
     "{\"timestamp\": 2000, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [0]}\n"
     "{\"timestamp\": 1000, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [0]}\n",
     0,
     ":2: key timestamp: time goes back from 2.000000000 s to 1.000000000 s; sort the rows by "
     "arrival"},
};

START_TEST(bad_input)
{
    size_t len = cases[_i].len ? cases[_i].len : strlen(cases[_i].bytes);
    char expect[512];
    uint64_t n;

    for (unsigned packed = 0; packed < 2; packed++) {
        struct trace_world w;

        trace_world_init(&w);
        trace_world_set(&w, cases[_i].settings);
        (packed ? trace_world_gzip : trace_world_file)(&w, cases[_i].bytes, len);
        snprintf(expect, sizeof(expect), "%s%s", w.path, cases[_i].message);
        ck_assert_int_eq(trace_world_read(&w, w.path, cases[_i].format, NULL, 0, &n), TRACE_ERR);
        ck_assert_str_eq(w.err.text, expect);
        trace_world_release(&w);
    }
}
END_TEST

/* Settings, not files: the whole message. */
static const struct {
    const char *format, *settings, *message;
} bad_settings[] = {
    {"azur", "", "trace_format: unknown format \"azur\"; did you mean azure?"},
    {"csv", "map=arrival_s",
     "trace.map: \"arrival_s\" is not OUR_COLUMN=THEIRS; write "
     "arrival_s=ts,..."},
    {"csv", "map=arrival=ts", "trace.map: unknown column \"arrival\"; did you mean arrival_s?"},
    {"csv", "map=tenant=a,tenant=b", "trace.map: tenant is mapped twice; name it once"},
    {"csv", "prefix_groups=2",
     "trace.prefix_groups: the groups share nothing; set trace.prefix_tokens to the length of "
     "their prefixes"},
    {"csv", "classes=a,,b",
     "trace.classes: \"a,,b\" has a name of 0 bytes; write 1 to 63 bytes, "
     "separated by commas"},
    {"csv", "classes=a,",
     "trace.classes: \"a,\" has a name of 0 bytes; write 1 to 63 bytes, "
     "separated by commas"},
    {"csv", "rate_scale=0.000001",
     "trace.rate_scale: the record of line 2 arrives after the clock's end (292 years); use a "
     "larger one"},
};

START_TEST(bad_setting)
{
    static const char file[] = CSV "\n10000,1,1\n";
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    trace_world_set(&w, bad_settings[_i].settings);
    trace_world_file(&w, file, sizeof(file) - 1);
    ck_assert_int_eq(trace_world_read(&w, w.path, bad_settings[_i].format, NULL, 0, &n), TRACE_ERR);
    ck_assert_str_eq(w.err.text, bad_settings[_i].message);
    trace_world_release(&w);
}
END_TEST

/* Random bytes, and no format named: the message lists what there is. */
START_TEST(no_format)
{
    static const char bytes[] = "\x01\x9f\x80 random \xff\xfe bytes\n";
    struct trace_world w;
    char expect[1024];
    size_t used;
    uint64_t n;

    trace_world_init(&w);
    trace_world_file(&w, bytes, sizeof(bytes) - 1);
    used = (size_t)snprintf(expect, sizeof(expect), "%s:1: looks like none of ", w.path);
    for (size_t i = 0; trace_at(i); i++)
        used += (size_t)snprintf(expect + used, sizeof(expect) - used, "%s%s", i ? ", " : "",
                                 trace_at(i)->name);
    snprintf(expect + used, sizeof(expect) - used,
             "; choose with --trace-format, or read a CSV with --map");
    ck_assert_int_eq(trace_world_read(&w, w.path, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_str_eq(w.err.text, expect);
    trace_world_release(&w);
}
END_TEST

/* What is not a readable file at all. */
START_TEST(no_file)
{
    char expect[256];
    struct trace_world w;
    uint64_t n;

    trace_world_init(&w);
    ck_assert_int_eq(trace_world_read(&w, w.dir, "csv", NULL, 0, &n), TRACE_ERR);
    snprintf(expect, sizeof(expect), "%s: is not a regular file; name a trace file", w.dir);
    ck_assert_str_eq(w.err.text, expect);

    w.err.set = false;
    ck_assert_int_eq(trace_world_read(&w, w.path, NULL, NULL, 0, &n), TRACE_ERR);
    snprintf(expect, sizeof(expect),
             "%s: cannot be opened: No such file or directory; check the path and its permissions",
             w.path);
    ck_assert_str_eq(w.err.text, expect);

    w.err.set = false;
    trace_world_file(&w, "x", 1);
    ck_assert_int_eq(chmod(w.path, 0), 0);
    if (access(w.path, R_OK) == 0) {
        printf("SKIP: root may read any file: an unreadable one is not tried\n");
    } else {
        ck_assert_int_eq(trace_world_read(&w, w.path, NULL, NULL, 0, &n), TRACE_ERR);
        snprintf(expect, sizeof(expect),
                 "%s: cannot be opened: Permission denied; check the path and its permissions",
                 w.path);
        ck_assert_str_eq(w.err.text, expect);
    }
    trace_world_release(&w);
}
END_TEST

/* A gzip file whose end is missing, and one with a byte changed. */
START_TEST(broken_gzip)
{
    static char text[40000], packed[40000];
    char expect[256];
    size_t len = (size_t)snprintf(text, sizeof(text), CSV "\n"), n_packed;
    struct trace_world w;
    uint64_t n;
    FILE *f;

    for (unsigned i = 0; i < 2000; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%u,%u,1\n", i, i + 1);
    trace_world_init(&w);
    trace_world_gzip(&w, text, len);
    f = fopen(w.path, "rb");
    ck_assert_ptr_nonnull(f);
    n_packed = fread(packed, 1, sizeof(packed), f);
    fclose(f);

    trace_world_file(&w, packed, n_packed - 4); /* all data is there, its length is not */
    ck_assert_int_eq(trace_world_read(&w, w.path, NULL, NULL, 0, &n), TRACE_ERR);
    ck_assert_uint_eq(n, 2000);
    snprintf(expect, sizeof(expect),
             "%s:2002: cannot be read further: unexpected end of file; fetch the file again",
             w.path);
    ck_assert_str_eq(w.err.text, expect);

    w.err.set = false;
    packed[n_packed - 8] ^= 1; /* the checksum */
    trace_world_file(&w, packed, n_packed);
    ck_assert_int_eq(trace_world_read(&w, w.path, "csv", NULL, 0, &n), TRACE_ERR);
    ck_assert_ptr_nonnull(strstr(w.err.text, "incorrect data check"));
    ck_assert_ptr_nonnull(strstr(w.err.text, w.path));
    trace_world_release(&w);
}
END_TEST

/* A path of any length: its end and the line are still there. */
START_TEST(long_path)
{
    struct err e = {0};
    char path[3000];
    struct text t = {.path = path, .noun = "column", .line = 7};
    uint32_t v;

    memset(path, 'x', sizeof(path));
    memcpy(path + sizeof(path) - 7, "/t.csv", 7);
    ck_assert(!field_u32(&t, "c", "y", 0, 1, &v, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "xx/t.csv:7: column c: \"y\" is not a whole number"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace errors");
    TCase *t = tcase_create("trace errors");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, bad_input, 0, (int)ARRAY_LEN(cases));
    tcase_add_loop_test(t, bad_setting, 0, (int)ARRAY_LEN(bad_settings));
    tcase_add_test(t, no_format);
    tcase_add_test(t, no_file);
    tcase_add_test(t, broken_gzip);
    tcase_add_test(t, long_path);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
