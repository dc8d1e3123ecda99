/* What people read: the views, the terminal table, the CSV files and the data of the pictures, from
 * a small database whose numbers are worked out by hand. */
#include "experiments/report.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/schema.h"

/* Three runs: two seeds of one point of an experiment, and a single run with a lossy KV policy. */
static const char content[] =
    "INSERT INTO runs (id, experiment, point, config, config_hash, seed, rep, digest, trace, model,"
    " gpu, backend, scheduler, router, kv_policy, replicas, clock, slo_source, cost_model,"
    " git_revision, dirty) VALUES"
    " (1, 'e', 'rate=1', '{\"warmup_s\":2,\"slo\":[{\"class\":\"chat\",\"tenants\":[\"*\"],"
    "\"ttft_ms\":1000,\"tpot_ms\":50},{\"class\":\"batch\",\"e2el_ms\":60000}]}', 'h1', 1, 0,"
    " '00000000000000aa', '/data/t.csv', 'm', 'g', 'roofline', 'fcfs', 'jsq', 'full', 1, 'virtual',"
    " 'config', 'datasheet', '0123456789abcdef', 0),"
    " (2, 'e', 'rate=1', '{\"warmup_s\":2}', 'h1', 2, 1, '00000000000000bb', '/data/t.csv', 'm',"
    " 'g', 'roofline', 'fcfs', 'jsq', 'full', 1, 'virtual', 'config', 'datasheet',"
    " '0123456789abcdef', 0),"
    " (3, NULL, NULL, '{}', 'h3', 1, 0, '00000000000000cc', 'generate:poisson,n=5', 'm', 'g',"
    " 'roofline', 'vtc', 'jsq', 'h2o', 2, 'virtual', 'default', 'datasheet', 'fedc', 1);"
    "INSERT INTO summary VALUES (1, 'requests', 4), (1, 'finished', 3), (1, 'refused', 1),"
    " (1, 'ttft_ms_mean', 12.5), (1, 'ttft_ms_p50', 9.876), (1, 'ttft_ms_p99', 123.4),"
    " (1, 'goodput_rps', 2.5), (1, 'slo_attainment', 0.5), (1, 'jain_index', 0.98765),"
    " (1, 'jain_window_all', 1), (1, 'cost_model_error', 0.031), (1, 'extrapolated_share', 0.5),"
    " (2, 'requests', 4), (2, 'goodput_rps', 3.5), (2, 'slo_attainment', NULL),"
    " (2, 'jain_index', 1), (2, 'jain_window_all', 0),"
    " (3, 'requests', 5), (3, 'quantiles_exact', 0), (3, 'request_rows_dropped', 2),"
    " (3, 'packed_bytes', 100);"
    "INSERT INTO requests (run_id, seq, tenant, slo_class, arrived_ns, status, met_slo) VALUES"
    " (1, 0, 'a', 'chat', 1999999999, 'finished', 1), (1, 1, 'a', 'chat', 2000000000, 'finished',"
    " 1), (1, 2, 'b', 'chat', 3000000000, 'refused', 0), (1, 3, 'b', 'batch', 3000000000,"
    " 'finished', 1), (1, 4, 'say \"hi\", b', 'chat', 4000000000, 'unfinished', 0);"
    "INSERT INTO tenants (run_id, tenant, service) VALUES (1, 'a', 10), (1, 'b', 30.5);"
    "INSERT INTO histograms VALUES (1, 'ttft_ms', 8, 10, 1), (1, 'ttft_ms', 100, 125, 3),"
    " (3, 'ttft_ms', 1, 2, 7);"
    "INSERT INTO timeline VALUES (1, 0, 'waiting', 0), (1, 1000000000, 'waiting', 2),"
    " (1, 0, 'service:a', 0), (1, 1000000000, 'service:a', 10), (3, 0, 'waiting', 9);";

static sqlite3 *db;
static char dir[64];

static void set_up(void)
{
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, schema_sql, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, content, NULL, NULL, NULL) == SQLITE_OK, "%s",
                  sqlite3_errmsg(db));
    snprintf(dir, sizeof(dir), "/tmp/test_report_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
    char command[96];

    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Shows where two texts part. */
static void check_text(const char *what, const char *text, const char *expected)
{
    size_t same = 0;

    while (text[same] && text[same] == expected[same])
        same++;
    ck_assert_msg(text[same] == expected[same], "%s, from byte %zu: \"%.100s\", not \"%.100s\"",
                  what, same, text + same, expected + same);
}

static void check_file(const char *name, const char *expected)
{
    static char text[65536];
    char path[128];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s is missing", path);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    ck_assert_int_eq(fclose(f), 0);
    check_text(name, text, expected);
}

/* ---- views ---- */

/* A query's rows, a line each, columns separated by "|", NULL shown as "-". */
static void ask(const char *sql, char *text, size_t size)
{
    sqlite3_stmt *stmt;
    FILE *f = fmemopen(text, size, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const char *s = (const char *)sqlite3_column_text(stmt, i);

            fprintf(f, "%s%s", i ? "|" : "", s ? s : "-");
        }
        fputc('\n', f);
    }
    ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
    ck_assert_int_eq(fclose(f), 0);
}

static const struct {
    const char *sql, *rows;
} views[] = {
    {"SELECT * FROM latency WHERE metric = 'ttft' ORDER BY run_id",
     "1|rate=1|ttft|12.5|9.876|-|-|123.4\n2|rate=1|ttft|-|-|-|-|-\n"
     "3|vtc/jsq/h2o|ttft|-|-|-|-|-\n"},
    {"SELECT group_concat(metric) FROM latency WHERE run_id = 1",
     "ttft,tpot,itl,e2el,queue,norm_latency\n"},
    /* seq 0 arrived before the warm-up was over */
    {"SELECT * FROM slo ORDER BY run_id, slo_class",
     "1|rate=1|batch|1|1|1.0\n1|rate=1|chat|3|1|0.333333333333333\n"},
    {"SELECT * FROM compare WHERE metric IN ('goodput_rps', 'slo_attainment', 'requests')"
     " ORDER BY experiment, metric",
     "-|-|vtc|jsq|h2o|requests|5.0|5.0|5.0|1\n"
     "e|rate=1|fcfs|jsq|full|goodput_rps|3.0|2.5|3.5|2\n"
     "e|rate=1|fcfs|jsq|full|requests|4.0|4.0|4.0|2\n"
     "e|rate=1|fcfs|jsq|full|slo_attainment|0.5|0.5|0.5|1\n"},
};

START_TEST(test_views)
{
    char text[2048];

    ask(views[_i].sql, text, sizeof(text));
    check_text(views[_i].sql, text, views[_i].rows);
}
END_TEST

/* Repetitions of one seed count as one; other configurations are kept apart. */
START_TEST(test_compare_groups)
{
    char text[512];

    ck_assert_int_eq(
        sqlite3_exec(db,
                     "INSERT INTO runs (id, experiment, point, config_hash, seed, rep, scheduler,"
                     " router, kv_policy) VALUES (4, 'e', 'rate=1', 'h1', 2, 2, 'fcfs', 'jsq',"
                     " 'full'), (5, 'e', 'rate=1', 'h5', 1, 0, 'fcfs', 'jsq', 'full');"
                     "INSERT INTO summary VALUES (4, 'goodput_rps', 5.5), (5, 'goodput_rps', 99)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    ask("SELECT mean, low, high, n_seeds FROM compare WHERE metric = 'goodput_rps' ORDER BY mean",
        text, sizeof(text));
    check_text("compare", text, "3.5|2.5|4.5|2\n99.0|99.0|99.0|1\n");
}
END_TEST

/* ---- table ---- */

static const char table_of_e[] =
    "                                                   run 1               run 2\n"
    "scheduler, or point                               rate=1              rate=1\n"
    "trace                                              t.csv               t.csv\n"
    "seed                                                   1           2 (rep 1)\n"
    "----------------------------------------------------------------------------\n"
    "Requests\n"
    "  arrived in the window                                4                   4\n"
    "  finished                                             3                   -\n"
    "  refused                                              1                   -\n"
    "TTFT: wait for the first token, ms\n"
    "  p50                                               9.88                   -\n"
    "  p99                                                123                   -\n"
    "Service level objectives (SLO)\n"
    "  attainment: requests in time                    50.0 %                   -\n"
    "  goodput: in time, per second                      2.50                3.50\n"
    "Fairness between tenants\n"
    "  Jain index (1: all the same)                   0.988 *               1.000\n"
    "Digest of all decisions                 00000000000000aa    00000000000000bb\n"
    "----------------------------------------------------------------------------\n"
    "\n"
    "* Jain index over the whole run (tenants were never all active at once, or are too many);\n"
    "  service difference over the first tenants to arrive only.\n"
    "SLO attainment is the share of requests that met every limit of their class; those refused "
    "or\n"
    "unfinished miss. Service is prompt tokens plus output tokens, weighted. - : nothing to "
    "measure.\n"
    "\n"
    "Run 1\n"
    "  model    m on g, 1 replica, backend roofline, virtual clock\n"
    "  times    datasheet; calibration error 3.1 %; 50.0 % of steps outside the calibrated range\n"
    "  SLO      chat: ttft_ms 1000, tpot_ms 50; batch: e2el_ms 60000\n"
    "  program  tandem 0123456789ab\n"
    "Run 2\n"
    "  model    m on g, 1 replica, backend roofline, virtual clock\n"
    "  times    datasheet; calibration error unknown\n"
    "  SLO      limits are not in the stored configuration\n"
    "  program  tandem 0123456789ab\n";

static const char table_of_3[] =
    "                                                   run 3\n"
    "scheduler, or point                          vtc/jsq/h2o\n"
    "trace                                  generate:poisson,\n"
    "                                                     n=5\n"
    "seed                                                   1\n"
    "--------------------------------------------------------\n"
    "Requests\n"
    "  arrived in the window                                5\n"
    "Digest of all decisions                 00000000000000cc\n"
    "--------------------------------------------------------\n"
    "\n"
    "SLO attainment is the share of requests that met every limit of their class; those refused "
    "or\n"
    "unfinished miss. Service is prompt tokens plus output tokens, weighted. - : nothing to "
    "measure.\n"
    "\n"
    "Run 3\n"
    "  model    m on g, 2 replicas, backend roofline, virtual clock\n"
    "  times    datasheet; calibration error unknown\n"
    "  SLO      default: ttft_ms 2000, tpot_ms 100 (nobody set limits; do so with the key slo)\n"
    "  CAUTION  latency of a lossy KV policy: quality not measured\n"
    "  CAUTION  KV was swapped in fewer bits, which is lossy: quality not measured\n"
    "  note     percentiles from a histogram (error below 0.05 %)\n"
    "  note     2 requests have no row (max_request_rows); all are counted\n"
    "  program  tandem fedc, with changes that were not committed\n";

static void check_table(const char *experiment, int64_t run_id, const char *expected)
{
    static char text[32768];
    FILE *f = fmemopen(text, sizeof(text), "w");
    struct err e = {0};
    bool ok;

    ck_assert_ptr_nonnull(f);
    ok = run_id ? report_table_run(db, run_id, f, &e) : report_table(db, experiment, f, &e);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(ok, "%s", e.text);
    check_text("the table", text, expected);
}

START_TEST(test_table)
{
    check_table("e", 0, table_of_e);
    check_table(NULL, 3, table_of_3);
}
END_TEST

START_TEST(test_table_in_three_columns)
{
    static char text[32768];
    FILE *f = fmemopen(text, sizeof(text), "w");
    struct err e = {0};
    size_t heads = 0;

    ck_assert_int_eq(sqlite3_exec(db,
                                  "INSERT INTO runs (config_hash, seed, rep, slo_source) VALUES"
                                  " ('x', 1, 0, 'default')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    ck_assert(report_table(db, NULL, f, &e));
    ck_assert_int_eq(fclose(f), 0);
    for (const char *s = text; (s = strstr(s, "\nseed ")) != NULL; s++)
        heads++;
    ck_assert_uint_eq(heads, 2); /* four runs, three abreast */
    ck_assert_ptr_nonnull(strstr(text, "run 3\n"));
    ck_assert_ptr_nonnull(strstr(text, "run 4\n"));
}
END_TEST

/* Cells are broken between words where possible, and never inside a character. */
START_TEST(test_table_breaks_long_labels)
{
    static const struct {
        const char *point, *lines;
    } cases[] = {
        {"0123456789abcdefgh", "or point                   0123456789abcdefgh\ntrace"},
        {"scheduler=vtc,rate=12",
         "or point                       scheduler=vtc,\n"
         "                                                 rate=12\ntrace"},
        {"0123456789abcdefg\xc3\xa4", "or point                    0123456789abcdefg\n"
                                      "                                                       "
                                      "\xc3\xa4\ntrace"},
        {"", "or point                                     \ntrace"},
    };
    static char text[32768];
    sqlite3_stmt *stmt;
    struct err e = {0};

    ck_assert_int_eq(
        sqlite3_prepare_v2(db, "UPDATE runs SET point = ? WHERE id = 3", -1, &stmt, NULL),
        SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        FILE *f = fmemopen(text, sizeof(text), "w");

        sqlite3_bind_text(stmt, 1, cases[i].point, -1, SQLITE_STATIC);
        ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
        sqlite3_reset(stmt);
        ck_assert(report_table_run(db, 3, f, &e));
        ck_assert_int_eq(fclose(f), 0);
        ck_assert_msg(strstr(text, cases[i].lines) != NULL, "%s: %.300s", cases[i].point, text);
    }
    sqlite3_finalize(stmt);
}
END_TEST

START_TEST(test_no_such_run)
{
    struct err e = {0};

    ck_assert(!report_table(db, "f", stdout, &e));
    ck_assert_str_eq(e.text, "--experiment f: no run of that name; there is: e");
    e = (struct err){0};
    ck_assert(!report_table_run(db, 9, stdout, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "--run 9: no such run"));
    e = (struct err){0};
    ck_assert_int_eq(sqlite3_exec(db, "DELETE FROM runs", NULL, NULL, NULL), SQLITE_OK);
    ck_assert(!report_table(db, NULL, stdout, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "the database holds no runs"));
}
END_TEST

/* ---- CSV ---- */

START_TEST(test_csv)
{
    char out[96];
    struct err e = {0};

    snprintf(out, sizeof(out), "%s/made/here", dir);
    ck_assert_msg(report_csv(db, NULL, out, &e), "%s", e.text);
    check_file("made/here/requests.csv",
               "run_id,seq,tenant,session,turn,slo_class,arrived_ns,admitted_ns,first_token_ns,"
               "done_ns,prompt_tokens,output_tokens,max_tokens,cached_tokens,preemptions,"
               "itl_max_ns,replica,status,reason,met_slo\n"
               "1,0,a,,,chat,1999999999,,,,,,,,,,,finished,,1\n"
               "1,1,a,,,chat,2000000000,,,,,,,,,,,finished,,1\n"
               "1,2,b,,,chat,3000000000,,,,,,,,,,,refused,,0\n"
               "1,3,b,,,batch,3000000000,,,,,,,,,,,finished,,1\n"
               "1,4,\"say \"\"hi\"\", b\",,,chat,4000000000,,,,,,,,,,,unfinished,,0\n");
    check_file("made/here/slo.csv", "run_id,label,slo_class,n,met,attainment\n"
                                    "1,rate=1,batch,1,1,1\n1,rate=1,chat,3,1,0.3333333333333333\n");
    check_file("made/here/histograms.csv", "run_id,metric,bucket_low,bucket_high,count\n"
                                           "1,ttft_ms,8,10,1\n1,ttft_ms,100,125,3\n"
                                           "3,ttft_ms,1,2,7\n");
    check_file("made/here/quality.csv",
               "run_id,model,kv_policy,params,resident_tokens,read_tokens,task,protocol,length,"
               "depth,layer,head,metric,value,low,high,n\n");
}
END_TEST

START_TEST(test_csv_of_one_experiment)
{
    struct err e = {0};

    ck_assert_msg(report_csv(db, "e", dir, &e), "%s", e.text);
    check_file("histograms.csv", "run_id,metric,bucket_low,bucket_high,count\n"
                                 "1,ttft_ms,8,10,1\n1,ttft_ms,100,125,3\n");
    check_file("timeline.csv", "run_id,at_ns,series,value\n1,0,service:a,0\n"
                               "1,1000000000,service:a,10\n1,0,waiting,0\n"
                               "1,1000000000,waiting,2\n");
}
END_TEST

START_TEST(test_csv_has_every_table_and_view)
{
    struct err e = {0};
    sqlite3_stmt *stmt;

    ck_assert_msg(report_csv(db, NULL, dir, &e), "%s", e.text);
    ck_assert_int_eq(sqlite3_prepare_v2(db,
                                        "SELECT name FROM sqlite_schema WHERE type IN ('table',"
                                        " 'view') AND name NOT LIKE 'sqlite%'",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        char path[128];

        snprintf(path, sizeof(path), "%s/%s.csv", dir, (const char *)sqlite3_column_text(stmt, 0));
        ck_assert_msg(access(path, R_OK) == 0, "%s is missing", path);
    }
    ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
}
END_TEST

START_TEST(test_folder_that_cannot_be_made)
{
    struct err e = {0};

    ck_assert(!report_csv(db, NULL, "/dev/null/x", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "/dev/null/x: "));
    e = (struct err){0};
    ck_assert(!report_csv(db, NULL, "", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "--out: the path is empty"));
    e = (struct err){0};
    ck_assert(!report_csv(db, NULL, "/dev/full/x", &e));
    ck_assert(e.set);
}
END_TEST

/* ---- pictures ---- */

static struct report_pictures pictures;

static void plot(char *said, size_t size)
{
    FILE *f = fmemopen(said, size, "w");
    struct err e = {0};
    bool ok;

    ck_assert_ptr_nonnull(f);
    ok = report_plots(db, NULL, dir, &pictures, f, &e);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(ok, "%s", e.text);
}

/* The data is written, and its place named, where there is no gnuplot. */
START_TEST(test_data_without_gnuplot)
{
    char said[1024];

    ck_assert_int_eq(setenv("PATH", dir, 1), 0);
    plot(said, sizeof(said));
    ck_assert_int_eq(setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1), 0);
    ck_assert_ptr_nonnull(strstr(said, "gnuplot is not installed; apt-get install gnuplot-nox"));
    check_file("data/ttft.dat", "\"1: rate=1, t.csv\"\n8 0\n10 25\n125 100\n"
                                "\n\n\"3: vtc/jsq/h2o, generate:poisson,n=5\"\n1 0\n2 100\n");
    check_file("data/waiting.dat", "\"1: rate=1, t.csv\"\n0 0\n1 2\n"); /* run 3: one sample */
    check_file("data/tpot.dat", "");
    check_file("data/service_1.dat", "\"a\"\n0 0\n0 0\n1 10\n\n\n\"b\"\n0 0\n");
    check_file("data/summary.dat",
               "\"1: rate=1, t.csv\" 50 50 50 3 2.5 3.5\n"
               "\"3: vtc/jsq/h2o, generate:poisson,n=5\" NaN NaN NaN NaN NaN NaN\n");
    check_file("data/settings.gp",
               "n_runs = 2\nseveral_seeds = 1\nn_ttft = 2\nn_tpot = 0\nn_e2e = 0\nn_waiting = 1\n"
               "n_running = 0\nn_kv = 0\nn_unfair = 0\nservice_title_1 = '1: rate=1, t.csv'\n"
               "service_title_2 = '3: vtc/jsq/h2o, generate:poisson,n=5'\nn_panels = 2\n"
               "n_tenants = 2\nn_series = 2\n");
}
END_TEST

/* A label may not leave its quotes. */
START_TEST(test_labels_are_only_text)
{
    char said[1024];

    ck_assert_int_eq(sqlite3_exec(db,
                                  "DELETE FROM runs WHERE id > 1;"
                                  "UPDATE runs SET point = 'a''b\"c' || char(10) || 'd`e'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(setenv("PATH", dir, 1), 0);
    plot(said, sizeof(said));
    ck_assert_int_eq(setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1), 0);
    check_file("data/ttft.dat", "\"a b c d`e\"\n8 0\n10 25\n125 100\n");
}
END_TEST

static void check_starts(const char *name, const char *magic)
{
    char path[128], head[8] = "";
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is missing", path);
    ck_assert_uint_eq(fread(head, 1, strlen(magic), f), strlen(magic));
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(memcmp(head, magic, strlen(magic)) == 0, "%s is no such picture", path);
}

START_TEST(test_pictures)
{
    static const char *const figures[] = {"ttft_cdf", "tpot_cdf", "e2e_cdf", "queue",
                                          "kv",       "service",  "summary", "timeline_1"};
    char said[1024], name[32];

    if (system("gnuplot --version >/dev/null 2>&1") != 0) {
        printf("SKIP: test_pictures: gnuplot is not installed\n");
        return;
    }
    ck_assert_int_eq(
        sqlite3_exec(db,
                     "INSERT INTO histograms VALUES (1, 'tpot_ms', 10, 11, 1),"
                     " (1, 'e2el_ms', 10, 11, 1);"
                     "INSERT INTO timeline SELECT run_id, at_ns, s.column1, 0.5 FROM timeline,"
                     " (VALUES ('running'), ('kv_utilisation'), ('batch_tokens')) AS s WHERE "
                     "series = 'waiting'",
                     NULL, NULL, NULL),
        SQLITE_OK);
    plot(said, sizeof(said));
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        snprintf(name, sizeof(name), "%s.png", figures[i]);
        ck_assert_ptr_nonnull(strstr(said, name));
        check_starts(name, "\x89PNG");
        snprintf(name, sizeof(name), "%s.svg", figures[i]);
        check_starts(name, "<?xml");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("report");
    TCase *t = tcase_create("report");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, test_views, 0, (int)ARRAY_LEN(views));
    tcase_add_test(t, test_compare_groups);
    tcase_add_test(t, test_table);
    tcase_add_test(t, test_table_in_three_columns);
    tcase_add_test(t, test_table_breaks_long_labels);
    tcase_add_test(t, test_no_such_run);
    tcase_add_test(t, test_csv);
    tcase_add_test(t, test_csv_of_one_experiment);
    tcase_add_test(t, test_csv_has_every_table_and_view);
    tcase_add_test(t, test_folder_that_cannot_be_made);
    tcase_add_test(t, test_data_without_gnuplot);
    tcase_add_test(t, test_labels_are_only_text);
    tcase_add_test(t, test_pictures);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
