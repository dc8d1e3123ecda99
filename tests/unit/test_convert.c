/* test_convert.c: what is written in our own format and read again is what it was: records, figures
 * of `trace info`, and the digest of a run. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "experiments/compose.h"
#include "experiments/trace_stats.h"
#include "sim/hash.h"
#include "traces/convert.h"

/* ---- small files: source, settings, and the file that is expected ---- */

#define CSV "arrival_s,prompt_tokens,output_tokens"

static const struct {
    const char *settings, *file, *expect;
} cases[] = {
    {"", CSV "\n0,1,1\n0.5,2,3\n", CSV "\n0,1,1\n0.5,2,3\n"},
    {"", CSV "\n", CSV "\n"},
    {"", CSV "\n1.000000001,1,1\n3600,1,1\n", CSV "\n1.000000001,1,1\n3600,1,1\n"},
    /* columns that say nothing go; others come in our order; cells are quoted where needed */
    {"", "priority,tenant," CSV ",turn,slo_class\n,,0,1,1,,\n-2,\"a,\"\"b\",0,1,1,7,x\n",
     CSV ",tenant,turn,slo_class,priority\n0,1,1,default,,,\n0,1,1,\"a,\"\"b\",7,x,-2\n"},
    {"", CSV ",max_tokens,predicted_tokens\n0,1,1,9,\n0,1,1,,8\n",
     CSV ",max_tokens,predicted_tokens\n0,1,1,9,\n0,1,1,,8\n"},
    /* ids come back as they were; so do parts of blocks with an id and without */
    {"", "# prefix_block=32\n" CSV ",prefix_hashes\n0,80,1,1 2 3\n0,80,1,1 2\n0,5,1,\n0,64,1,1 9\n",
     "# prefix_block=32\n" CSV ",prefix_hashes\n0,80,1,1 2 3\n0,80,1,1 2\n0,5,1,\n0,64,1,1 9\n"},
    /* a session's name says what is shared */
    {"", CSV ",session,turn\n0,10,5,s,0\n9,20,5,s,1\n",
     CSV ",session,turn\n0,10,5,s,0\n9,20,5,s,1\n"},
    {"session_mode=after", CSV ",session\n0,10,5,s\n5,1,1,\n9,20,5,s\n10,30,5,s\n",
     CSV ",session,after,delay_s\n0,10,5,s,,\n,20,5,s,0,9\n,30,5,s,1,1\n5,1,1,,,\n"},
    /* followers move behind the timed row of their chain, each behind what it follows */
    {"", CSV ",after,delay_s\n0,1,1,,\n1,2,1,,\n,3,1,1,2\n,4,1,0,\n2,5,1,,\n,6,1,3,1\n,7,1,0,\n",
     CSV ",after,delay_s\n0,1,1,,\n,4,1,0,0\n,7,1,0,0\n,6,1,1,1\n1,2,1,,\n,3,1,4,2\n2,5,1,,\n"},
    {"", CSV ",after\n0,1,1,\n,2,1,0\n,3,1,1\n,4,1,0\n",
     CSV ",after\n0,1,1,\n,2,1,0\n,3,1,1\n,4,1,0\n"},
    /* trace.* keys; what is cut takes its followers with it, and rows are counted anew */
    {"rate_scale=2;max_tokens=4", CSV "\n1,1,1\n3,2,1\n",
     CSV ",max_tokens\n0.5,1,1,4\n1.5,2,1,4\n"},
    {"start_s=1", CSV ",after\n0,1,1,\n,2,1,0\n1,3,1,\n,4,1,2\n,5,1,3\n",
     CSV ",after\n0,3,1,\n,4,1,0\n,5,1,1\n"},
    {"limit=1", CSV "\n0,1,1\nnonsense\n", CSV "\n0,1,1\n"},
    /* failed requests have no row */
    {"",
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
     "0,M,5,0,5,x\n1,M,5,6,11,x\n",
     CSV ",tenant\n1,5,6,M\n"},
};

static char *read_file(const char *path)
{
    gzFile f = gzopen(path, "rb");
    char *text = mem_alloc(1 << 16);

    ck_assert_msg(f != NULL, "%s is not there", path);
    ck_assert_int_ge(gzread(f, text, (1 << 16) - 1), 0);
    gzclose(f);
    return text;
}

START_TEST(small_files)
{
    struct trace_world w;
    struct converted n;
    char to[2][128];

    trace_world_init(&w);
    trace_world_set(&w, cases[_i].settings);
    trace_world_file(&w, cases[_i].file, strlen(cases[_i].file));
    for (int i = 0; i < 2; i++) {
        snprintf(to[i], sizeof(to[i]), "%s/out.csv%s", w.dir, i ? ".gz" : "");
        ck_assert_msg(trace_convert(w.path, NULL, &w.env, to[i], &n, &w.err), "%s", w.err.text);
        char *text = read_file(to[i]);
        ck_assert_str_eq(text, cases[_i].expect);
        mem_free(text);
        ck_assert_uint_eq(n.failed, strstr(cases[_i].file, "Model") != NULL);
        unlink(to[i]);
    }
    trace_world_release(&w);
}
END_TEST

/* Errors leave no file, and a file that was there before stays. */
START_TEST(errors)
{
    static const char wrong[] = CSV "\n0,1,1\n0,x,1\n";
    struct trace_world w;
    struct converted n;
    char to[128];

    trace_world_init(&w);
    trace_world_file(&w, wrong, sizeof(wrong) - 1);
    snprintf(to, sizeof(to), "%s/out.csv", w.dir);
    ck_assert(!trace_convert(w.path, NULL, &w.env, to, &n, &w.err));
    ck_assert_ptr_nonnull(strstr(w.err.text, ":3: column prompt_tokens"));
    ck_assert_int_ne(access(to, F_OK), 0);

    trace_world_file(&w, CSV "\n0,1,1\n", sizeof(CSV "\n0,1,1\n") - 1);
    w.err.set = false;
    ck_assert(!trace_convert(w.path, NULL, &w.env, "/nowhere/out.csv", &n, &w.err));
    ck_assert_ptr_nonnull(strstr(w.err.text, "/nowhere/out.csv: cannot be written: No such file"));
    if (access("/dev/full", W_OK) == 0) {
        w.err.set = false;
        ck_assert(!trace_convert(w.path, NULL, &w.env, "/dev/full", &n, &w.err));
        ck_assert_ptr_nonnull(strstr(w.err.text, "/dev/full: cannot be written: No space left"));
    }
    /* onto itself: read to its end before it is replaced */
    w.err.set = false;
    ck_assert_msg(trace_convert(w.path, NULL, &w.env, w.path, &n, &w.err), "%s", w.err.text);
    ck_assert_uint_eq(n.rows, 1);
    trace_world_release(&w); /* CHECKs that nothing else is in the folder */
}
END_TEST

START_TEST(unmix)
{
    for (uint64_t a = 0; a < 50; a++)
        for (uint64_t b = 0; b < 50; b++) {
            uint64_t x = hash_u64(a), y = hash_u64(b);

            ck_assert_uint_eq(hash_unmix(a, hash_mix(a, b)), b);
            ck_assert_uint_eq(hash_unmix(x, hash_mix(x, y)), y);
        }
}
END_TEST

/* ---- whole traces ---- */

static const struct {
    const char *path; /* below TANDEM_SHARED/traces, else as it is */
    bool shared;
    uint64_t limit;
} traces[] = {
    {"traces/samples/demo.csv", false, 0},
    {"generate:poisson,n=300,rate=20,tenants=4", false, 0},
    {"generate:multiturn,n=300,rate=5", false, 0},
    {"generate:multiturn,n=300,rate=5,after=false", false, 0},
    {"generate:agent,n=300,rate=5", false, 0},
    {"azure-2023/AzureLLMInferenceTrace_code.csv.gz", true, 0},
    {"mooncake-fast25/conversation_trace.jsonl.gz", true, 500},
    {"vtc-arena/arena_real_trace.csv.gz", true, 0},
    {"llmservingsim-workloads/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz", true, 0},
};

/* The figures of trace info, all of them. */
static struct trace_stats stats_of(const char *path, uint64_t limit)
{
    struct trace_stats *s = mem_alloc(sizeof(*s)), out;
    struct trace_world w;
    struct trace_source src;

    trace_world_init(&w);
    if (limit > 0)
        params_set_num(&w.params, "trace.limit", PARAM_INT, (double)limit);
    ck_assert_msg(trace_open(path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    ck_assert_msg(trace_stats_read(&src, s, &w.err), "%s", w.err.text);
    src.ops->close(src.self);
    trace_world_release(&w);
    out = *s;
    mem_free(s);
    return out;
}

static uint64_t digest_of(const char *path, uint64_t limit)
{
    struct config c;
    struct composed x;
    struct sim_result result;
    struct err e = {0};
    char text[32];

    config_init(&c);
    ck_assert_msg(config_set(&c, "trace", path, &e), "%s", e.text);
    ck_assert(config_set(&c, "num_gpu_blocks", "9000", &e)); /* few enough to evict */
    ck_assert(config_set(&c, "scheduler", "vtc", &e));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)limit);
    ck_assert(limit == 0 || config_set(&c, "trace.limit", text, &e));
    config_resolve(&c);
    ck_assert_msg(compose(&x, &c, &e), "%s", e.text);
    ck_assert_msg(sim_run(&x.sim, &result, &e), "%s", e.text);
    compose_release(&x);
    config_release(&c);
    return result.digest;
}

#define SAME(field)                                                                                \
    ck_assert_msg(a.field == b.field || (a.field != a.field && b.field != b.field), "%s: " #field, \
                  path)

START_TEST(round_trip)
{
    const char *shared = getenv("TANDEM_SHARED");
    uint64_t limit = traces[_i].limit;
    char path[4200], to[128];
    struct trace_world w;
    struct converted n;
    struct trace_stats a, b;

    if (traces[_i].shared && !shared) {
        printf("SKIP: TANDEM_SHARED is not set: %s was not converted\n", traces[_i].path);
        return;
    }
    snprintf(path, sizeof(path), "%s%s%s", traces[_i].shared ? shared : "",
             traces[_i].shared ? "/traces/" : "", traces[_i].path);
    trace_world_init(&w);
    if (limit > 0)
        params_set_num(&w.params, "trace.limit", PARAM_INT, (double)limit);
    snprintf(to, sizeof(to), "%s/out.csv.gz", w.dir);
    ck_assert_msg(trace_convert(path, NULL, &w.env, to, &n, &w.err), "%s", w.err.text);
    a = stats_of(path, limit);
    b = stats_of(to, 0);
    ck_assert_uint_eq(n.rows, a.requests);
    SAME(requests);
    SAME(failed);
    SAME(following);
    SAME(duration_s);
    SAME(cv_interarrival);
    SAME(cv_per_minute);
    SAME(input.total);
    SAME(input.p99);
    SAME(output.total);
    SAME(output.p99);
    SAME(correlation);
    SAME(shares);
    SAME(block_tokens);
    SAME(blocks);
    SAME(distinct);
    SAME(once);
    SAME(hit_rate_tokens);
    SAME(hits_2);
    SAME(tenants);
    SAME(gini);
    ck_assert_msg(digest_of(path, limit) == digest_of(to, 0), "%s: other decisions", path);
    unlink(to);
    trace_world_release(&w);
}
END_TEST

/* Overlays' prefixes are no blocks of a trace: written as blocks of 16 tokens, they share as much;
 * what the format cannot say is counted. */
START_TEST(not_in_blocks)
{
    static const struct {
        const char *spec;
        uint64_t unsaid;
    } specs[] = {
        {"generate:poisson,n=400,prefix_groups=3,prefix_tokens=100", 0},
        {"generate:multiturn,n=400,prefix_groups=3,prefix_tokens=100,prompt=uniform:200:300", 400},
    };

    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct trace_world w;
        struct converted n;
        struct trace_stats a, b;
        char to[128];

        trace_world_init(&w);
        snprintf(to, sizeof(to), "%s/out.csv", w.dir);
        ck_assert_msg(trace_convert(specs[i].spec, NULL, &w.env, to, &n, &w.err), "%s", w.err.text);
        ck_assert_uint_eq(n.unsaid, specs[i].unsaid);
        a = stats_of(specs[i].spec, 0);
        b = stats_of(to, 0);
        ck_assert_double_eq_tol(a.hit_rate_tokens, b.hit_rate_tokens, 1e-12);
        ck_assert_double_gt(a.hit_rate_tokens, 0.1);
        unlink(to);
        trace_world_release(&w);
    }
}
END_TEST

/* A thousand lines of a log of another make, with quoted cells and columns of no use. */
START_TEST(anybodys_log)
{
    struct trace_world w;
    char *log = mem_alloc(1 << 17), to[128];
    struct converted n;
    struct trace_stats s;
    size_t len = (size_t)snprintf(log, 1 << 17, "user,ts,\"tokens, in\",host,tokens_out\n");

    for (unsigned i = 0; i < 999; i++)
        len += (size_t)snprintf(log + len, (1 << 17) - len, "\"team %u, %s\",%u.%03u,%u,h%u,%u\n",
                                i % 3, i % 2 ? "a" : "b", i / 4, i % 4 * 250, i % 50 + 1, i % 9,
                                i % 7 + 1);
    trace_world_init(&w);
    trace_world_file(&w, log, len);
    /* a name with a comma cannot be mapped; the others can */
    trace_world_set(&w,
                    "map=arrival_s=ts,prompt_tokens=tokens,output_tokens=tokens_out,tenant=user");
    snprintf(to, sizeof(to), "%s/out.csv", w.dir);
    ck_assert(!trace_convert(w.path, NULL, &w.env, to, &n, &w.err));
    ck_assert_ptr_nonnull(strstr(w.err.text, "column tokens is missing"));
    w.err.set = false;
    memcpy(strstr(log, "\"tokens, in\""), "\"tokens__in\"", 12);
    trace_world_file(&w, log, len);
    trace_world_set(
        &w, "map=arrival_s=ts,prompt_tokens=tokens__in,output_tokens=tokens_out,tenant=user");
    ck_assert_msg(trace_convert(w.path, NULL, &w.env, to, &n, &w.err), "%s", w.err.text);
    ck_assert_uint_eq(n.rows, 999);
    s = stats_of(to, 0);
    ck_assert_uint_eq(s.requests, 999);
    ck_assert_uint_eq(s.tenants, 6);
    ck_assert_double_eq_tol(s.duration_s, 249.5, 1e-9);
    unlink(to);
    trace_world_release(&w);
    mem_free(log);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace convert");
    TCase *t = tcase_create("all");
    SRunner *r;
    int failed;

    tcase_add_loop_test(t, small_files, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, errors);
    tcase_add_test(t, unmix);
    tcase_add_loop_test(t, round_trip, 0, (int)ARRAY_LEN(traces));
    tcase_add_test(t, not_in_blocks);
    tcase_add_test(t, anybodys_log);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
