/* `tandem validate`: figures with known answers, bounds and exit codes, files that are not what
 * they should be; and the measured run on the RTX PRO 6000. The command is called as main calls it.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/commands.h"
#include "experiments/measured_requests.h"
#include "experiments/validate_compare.h"

static char dir[64];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/test_validate.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static const char *path_of(const char *name)
{
    static char path[4][160];
    static unsigned at;
    char *p = path[at++ % ARRAY_LEN(path)];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* Arguments after the subcommand, ended by NULL. */
static int call(int (*command)(int, char **, struct err *), struct err *e, const char *const *arg)
{
    char *argv[32] = {mem_strdup("x")};
    int argc = 1, code;
    for (; arg[argc - 1]; argc++)
        argv[argc] = mem_strdup(arg[argc - 1]);
    *e = (struct err){0};
    code = command(argc, argv, e);
    for (int i = 0; i < argc; i++)
        mem_free(argv[i]);
    return code;
}
#define CALL(command, e, ...) call(command, e, (const char *const[]){__VA_ARGS__, NULL})

static const char trace[] = "arrival_s,prompt_tokens,output_tokens\n"
                            "0,100,5\n0.01,200,9\n0.5,300,1\n0.6,50,20\n";

/* Runs the trace and writes the CSV of what it gave, every latency times `scale`. */
static void measure(double scale)
{
    struct err e;
    char command[512];
    write_file("trace.csv", trace);
    ck_assert_msg(
        CALL(cmd_run, &e, "--trace", path_of("trace.csv"), "--db", path_of("m.db"), "--quiet") == 0,
        "%s", e.text);
    snprintf(command, sizeof command,
             "sqlite3 -csv -header %s 'SELECT printf(\"%%.9f\", arrived_ns/1e9) AS arrival_s,"
             " prompt_tokens AS input_tokens, output_tokens,"
             " %.6f*(first_token_ns-arrived_ns)/1e6 AS ttft_ms,"
             " %.6f*(done_ns-arrived_ns)/1e6 AS e2e_ms FROM requests' > %s",
             path_of("m.db"), scale, scale, path_of("m.csv"));
    ck_assert_int_eq(system(command), 0);
}

START_TEST(test_against_itself)
{
    struct err e;
    measure(1);
    ck_assert_msg(CALL(cmd_validate, &e, path_of("m.csv"), "--trace", path_of("trace.csv"),
                       "--quiet", "--bound", "all=0.0001", "--bound", "mean_abs=0.0001") == 0,
                  "%s", e.text);
    ck_assert_msg(CALL(cmd_validate, &e, path_of("m.csv"), "--quiet", "--bound", "all=0.0001") == 0,
                  "the CSV is the trace: %s", e.text);
    ck_assert_msg(CALL(cmd_validate, &e, path_of("m.db"), "--run", "1", "--quiet", "--bound",
                       "all=0", "--bound", "batch_size_mean=0") == 0,
                  "the stored requests are the trace: %s", e.text);
}
END_TEST

/* Measured latencies 1.25 times the simulated ones: every error is -20 %. */
START_TEST(test_known_shift)
{
    static const struct {
        const char *bound;
        int code;
    } cases[] = {
        {"all=20.001", 0},          {"all=19.999", 1},         {"mean_abs=20.001", 0},
        {"mean_abs=19.999", 1},     {"ttft_ms_p95=20.001", 0}, {"ttft_ms_p95=19.999", 1},
        {"tpot_ms_mean=19.999", 1}, {"e2el_ms_p99=20.001", 0}, {"e2el_ms_p99=0", 1},
    };
    struct err e;
    measure(1.25);
    ck_assert_int_eq(CALL(cmd_validate, &e, path_of("m.csv"), "--quiet"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int code = CALL(cmd_validate, &e, path_of("m.csv"), "--quiet", "--bound", cases[i].bound);
        ck_assert_msg(code == cases[i].code && !e.set, "%s: %d %s", cases[i].bound, code, e.text);
    }
}
END_TEST

/* One request in three is late: means and percentiles by hand, with and without the first. */
START_TEST(test_figures)
{
    struct err e = {0};
    struct measured m;
    write_file("f.csv", "arrival_s,prompt_len,output_len,first_token_latency_s,request_latency_s\n"
                        "0,10,11,4,5\n1,10,11,1,2\n2,10,1,3,3\n3,10,5,-1,-1\n");
    ck_assert_msg(measured_read_csv(&m, path_of("f.csv"), NULL, 0, &e), "%s", e.text);
    ck_assert(m.is_trace);
    struct pairs p = {.m = &m, .e = &e};
    for (uint64_t i = 0; i < 4; i++) {
        ns_t at = (ns_t)i * NS_PER_S;
        struct request_row row = {.seq = i,
                                  .arrived_at = at,
                                  .first_token_at = at + 2 * NS_PER_S,
                                  .done_at = at + 4 * NS_PER_S,
                                  .prompt_tokens = 10,
                                  .output_tokens = m.request[i].output_tokens,
                                  .status = STATUS_FINISHED};
        pairs_add(&p, &row);
    }
    ck_assert_msg(pairs_end(&p, &e), "%s", e.text);
    struct comparison all, without;
    comparison_make(&all, &p, false);
    comparison_make(&without, &p, true);
    ck_assert_uint_eq(all.n_cells, 15);
    ck_assert_uint_eq(all.measured_finished, 3);
    ck_assert_uint_eq(all.simulated_finished, 4);
    ck_assert_str_eq(all.cell[0].metric, "ttft_ms_mean");
    ck_assert_double_eq_tol(all.cell[0].measured, 8000.0 / 3, 1e-9);
    ck_assert_double_eq_tol(all.cell[0].error_percent, -25, 1e-9);
    ck_assert_double_eq_tol(all.cell[2].measured, 3800, 1e-9); /* p90 of 1, 3, 4 s */
    ck_assert_str_eq(all.cell[5].metric, "tpot_ms_mean");
    ck_assert_double_eq_tol(all.cell[5].measured, 100, 1e-9); /* one-token outputs have none */
    ck_assert_double_eq_tol(without.cell[0].measured, 2000, 1e-9);
    ck_assert_double_eq_tol(without.cell[0].error_percent, 0, 1e-9);
    ck_assert_double_eq_tol(all.rate[0].measured, 3.0 / 5, 1e-9);
    ck_assert_double_eq_tol(all.rate[0].simulated, 4.0 / 7, 1e-9);
    pairs_release(&p);
    measured_release(&m);
}
END_TEST

START_TEST(test_where)
{
    struct err e = {0};
    struct measured m;
    const struct measured_where where = {"run", "2"};
    write_file("w.csv", "run,arrival_s,prompt_len,output_len,request_latency_s\n"
                        "1,0,10,11,5\n2,1,20,11,2\n2,2,30,1,3\n");
    ck_assert_msg(measured_read_csv(&m, path_of("w.csv"), &where, 1, &e), "%s", e.text);
    ck_assert_uint_eq(m.n, 2);
    ck_assert_uint_eq(m.request[0].prompt_tokens, 20);
    ck_assert_uint_eq(m.request[1].seq, 1);
    measured_release(&m);
}
END_TEST

/* Exit code 2, and a message that contains the text. */
START_TEST(test_not_done)
{
    static const struct {
        const char *csv, *option, *value, *text;
    } cases[] = {
        {"a,b\n1,2\n", NULL, NULL, "no latency column"},
        {"ttft_ms\n1\n", NULL, NULL, "give --trace"},
        {"ttft_ms,first_token_latency_s\n1,1\n", NULL, NULL, "say the same"},
        {"silicon_ttft_ms,x\n1,2\n", NULL, NULL, "column silicon_tpot_ms is missing"},
        {"ttft_ms\nabc\n", NULL, NULL, "column ttft_ms"},
        {"seq,ttft_ms\n0,1\n0,2\n", NULL, NULL, "there twice"},
        {"ttft_ms\n", NULL, NULL, "no request"},
        {"ttft_ms\n1\n1\n1\n1\n1\n", "--trace", "trace.csv", "only 4 of them"},
        {"input_tokens,ttft_ms\n7,1\n", "--trace", "trace.csv", "7 prompt tokens"},
        {"run,ttft_ms\n1,1\n", "--where", "run=2", "as --where says"},
        {"run,ttft_ms\n1,1\n", "--where", "rum=1", "the nearest is run"},
        {"run,ttft_ms\n1,1\n", "--where", "run", "COLUMN=VALUE"},
        {"ttft_ms\n1\n", "--bound", "ttft_ms_p95", "METRIC=PERCENT"},
        {"ttft_ms\n1\n", "--bound", "all=-1", "METRIC=PERCENT"},
        {"ttft_ms\n1\n", "--run", "1", "is for a database"},
        {"arrival_s,prompt_tokens,output_tokens,ttft_ms\n0,9,2,1\n", "--bound", "tpot_ms_p50=1",
         "was not measured"},
        {"arrival_s,prompt_tokens,output_tokens,ttft_ms\n0,9,2,1\n", "--set", "trace.rate_scale=2",
         "is about a trace"},
    };
    write_file("trace.csv", trace);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e;
        const char *value = cases[i].value;
        write_file("x.csv", cases[i].csv);
        if (value && strcmp(value, "trace.csv") == 0)
            value = path_of(value);
        int code = CALL(cmd_validate, &e, path_of("x.csv"), cases[i].option ? "--quiet" : NULL,
                        cases[i].option, value);
        ck_assert_msg(code == 2 && strstr(e.text, cases[i].text), "case %zu: %d %s", i, code,
                      e.text);
    }
}
END_TEST

/* The bar: 1.05 times what another simulator reached (upstream_validation_summary.txt). */
START_TEST(test_rtxpro6000)
{
    const char *shared = getenv("TANDEM_SHARED");
    char measured[4096], trace_path[4096], profile[4096];
    struct err e;
    if (!shared || !*shared) {
        puts("SKIP: TANDEM_SHARED is not set: the RTX PRO 6000 run was not checked");
        return;
    }
    snprintf(measured, sizeof measured,
             "%s/profiles/llmservingsim/real-vllm/RTXPRO6000/Llama-3.1-8B/requests.csv", shared);
    snprintf(trace_path, sizeof trace_path,
             "%s/traces/llmservingsim-workloads/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz", shared);
    snprintf(profile, sizeof profile,
             "%s/profiles/llmservingsim/perf/RTXPRO6000/meta-llama/Llama-3.1-8B/bf16", shared);
    ck_assert_msg(CALL(cmd_validate, &e, measured, "--trace", trace_path, "--profile", profile,
                       "--set", "max_num_seqs=128", "--quiet", "--bound", "mean_abs=2.2", "--bound",
                       "all=9.0") == 0,
                  "%s", e.set ? e.text : "a bound was missed");
}
END_TEST

/* Runs of the VTC artifact that its fit never saw: first token and whole request within 10 %. */
START_TEST(test_vtc_left_out)
{
    static const char *const runs[] = {"run=1", "run=3", "run=5", "run=7", "run=9"};
    const char *shared = getenv("TANDEM_SHARED");
    char measured[4096];
    struct err e;
    if (!shared || !*shared) {
        puts("SKIP: TANDEM_SHARED is not set: runs of the VTC artifact were not checked");
        return;
    }
    snprintf(measured, sizeof measured, "%s/profiles/vtc-a10g/responses.csv.gz", shared);
    ck_assert_msg(CALL(cmd_validate, &e, measured, "--where", runs[_i], "--profile",
                       "experiments/truth/vtc_fitted.json", "--set", "engine=lightllm", "--set",
                       "block_size=1", "--set", "num_gpu_blocks=10000", "--set",
                       "kv_admission=lightllm", "--set", "admit_interval=10", "--set",
                       "prefill_mode=separate", "--set", "max_num_batched_tokens=3072", "--set",
                       "enable_prefix_caching=false", "--quiet", "--bound", "ttft_ms_mean=10",
                       "--bound", "e2el_ms_mean=10") == 0,
                  "%s: %s", runs[_i], e.set ? e.text : "a bound was missed");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("validate");
    TCase *c = tcase_create("validate");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_against_itself);
    tcase_add_test(c, test_known_shift);
    tcase_add_test(c, test_figures);
    tcase_add_test(c, test_where);
    tcase_add_test(c, test_not_done);
    tcase_add_test(c, test_rtxpro6000);
    tcase_add_loop_test(c, test_vtc_left_out, 0, 5);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
