/* The page and the timelines of a report: well formed whatever names people choose, all that is
 * promised is there, nothing half-written stays. */
#include "experiments/report.h"

#include <check.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/report_file.h"
#include "experiments/report_plot.h"
#include "experiments/report_runs.h"
#include "experiments/schema.h"
#include "experiments/utf8.h"

#define HOSTILE "<script>alert(1)</script>"

/* Two configurations with two seeds; names with everything that HTML, SVG, SQL and JSON mind. */
static const char content[] =
    "INSERT INTO runs (id, experiment, point, config, config_hash, seed, rep, digest, trace, model,"
    " gpu, backend, scheduler, router, kv_policy, replicas, clock, slo_source, cost_model,"
    " git_revision, dirty, host) SELECT value, 'e<i>', iif(value < 3, 'scheduler=fcfs, ',"
    " 'scheduler=vtc, ') || 'trace.rate_scale=' || (value % 2 + 1), json_object('trace.rate_scale',"
    " value % 2 + 1), 'h' || value, 1, 0, '00aa', '/data/a&b.csv', 'm', 'g', 'roofline', 'fcfs',"
    " 'jsq', 'full', 1, 'virtual', 'config', 'datasheet', '0123456789abcdef', 0, 'host \"1\"'"
    " FROM generate;"
    "INSERT INTO runs (id, experiment, point, config, config_hash, seed, rep, trace, kv_policy,"
    " replicas, clock, slo_source) SELECT id + 10, experiment, point, config, config_hash, 2, 0,"
    " trace, kv_policy, 1, clock, slo_source FROM runs WHERE id = 1;"
    "INSERT INTO summary SELECT id, 'slo_attainment', 0.5 + id / 100.0 FROM runs;"
    "INSERT INTO summary SELECT id, 'goodput_rps', id FROM runs;"
    "INSERT INTO summary SELECT id, 'ttft_ms_p99', 100 + id FROM runs;"
    "INSERT INTO summary SELECT id, 'jain_index', 1 - id / 100.0 FROM runs;"
    "INSERT INTO requests (run_id, seq, slo_class, arrived_ns, status, met_slo) SELECT id, "
    "s.column1,"
    " 'chat&co', 0, 'finished', s.column1 FROM runs, (VALUES (0), (1)) AS s;"
    "INSERT INTO tenants (run_id, tenant, requests, service) SELECT id, '" HOSTILE "', 1, 2 FROM"
    " runs;"
    "INSERT INTO tenants (run_id, tenant, requests, service) SELECT id, CAST(x'61ff2662' AS TEXT), "
    "1,"
    " 1 FROM runs;"
    "INSERT INTO timeline SELECT id, t.column1 * 1000000000, s.column1, t.column1 FROM runs,"
    " (VALUES (0), (1), (2)) AS t, (VALUES ('waiting'), ('running'), ('kv_utilisation'),"
    " ('batch_tokens'), ('service:" HOSTILE "'), ('service:' || CAST(x'61ff2662' AS TEXT))) AS s;"
    "INSERT INTO steps SELECT 1, r.column1, s.column1, 1000 * s.column1, 900, 1, 1, 2, s.column1, "
    "2,"
    " 7, 30, 5, s.column1, 0, 0 FROM (VALUES (0), (1)) AS r, (VALUES (0), (1), (2)) AS s;"
    "CREATE TABLE IF NOT EXISTS experiments (name TEXT PRIMARY KEY, claim TEXT);"
    "INSERT INTO experiments VALUES ('e<i>', 'More is < less & \"so on\"'), ('other', 'not this');";

static sqlite3 *db;
static char dir[64];

static void run_sql(const char *sql)
{
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
}

static void set_up(void)
{
    ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    run_sql(schema_sql);
    run_sql("CREATE TEMP TABLE generate (value); INSERT INTO generate VALUES (1), (2), (3), (4);");
    run_sql(content);
    snprintf(dir, sizeof(dir), "/tmp/test_report_html_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
    char command[96];

    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Freed by the caller. */
static char *read_file(const char *name)
{
    char path[128];
    char *text = NULL;
    size_t size = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s is missing", path);
    ck_assert_int_gt(getdelim(&text, &size, '\0', f), 0);
    ck_assert_int_eq(fclose(f), 0);
    return text;
}

/* ---- is it well formed? ---- */

enum { MAX_DEPTH = 64, TAG_BYTES = 32 };

struct reader {
    const char *at;
    char open[MAX_DEPTH][TAG_BYTES];
    int depth;
};

static void check_entity(const struct reader *r)
{
    static const char *const known[] = {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strncmp(r->at, known[i], strlen(known[i])) == 0)
            return;
    ck_abort_msg("a bare ampersand: %.40s", r->at);
}

static void read_attributes(struct reader *r)
{
    while (*r->at == ' ') {
        const char *quote = strstr(r->at, "=\"");

        ck_assert_msg(quote && strcspn(r->at + 1, "<>\"= ") == (size_t)(quote - r->at - 1),
                      "an attribute without a quoted value: %.40s", r->at);
        for (r->at = quote + 2; *r->at != '"'; r->at++) {
            ck_assert_msg(*r->at && *r->at != '<', "an attribute without an end: %.40s", quote);
            if (*r->at == '&')
                check_entity(r);
        }
        r->at++;
    }
}

static void read_tag(struct reader *r)
{
    bool closes = r->at[1] == '/';
    const char *name = r->at + 1 + closes;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

    ck_assert_msg(n > 0 && n < TAG_BYTES, "no tag: %.40s", r->at);
    r->at = name + n;
    if (closes) {
        ck_assert_msg(r->depth > 0 && strlen(r->open[r->depth - 1]) == n &&
                          memcmp(r->open[r->depth - 1], name, n) == 0,
                      "</%.*s> closes what is not open", (int)n, name);
        r->depth--;
    } else {
        read_attributes(r);
        if (*r->at == '/') {
            r->at++;
        } else {
            ck_assert_int_lt(r->depth, MAX_DEPTH);
            snprintf(r->open[r->depth++], TAG_BYTES, "%.*s", (int)n, name);
        }
    }
    ck_assert_msg(*r->at == '>', "a tag without an end: %.40s", name);
    r->at++;
}

/* XML but for its first line; every character is UTF-8. */
static void check_well_formed(const char *page)
{
    static const char doctype[] = "<!DOCTYPE html>\n";
    struct reader r = {.at = page + strlen(doctype)};

    ck_assert_int_eq(strncmp(page, doctype, strlen(doctype)), 0);
    while (*r.at) {
        size_t n = utf8_char(r.at);

        ck_assert_msg(n > 0, "no UTF-8: %.20s", r.at);
        ck_assert_msg(r.depth > 0 || *r.at == '<' || *r.at == '\n', "after the end: %.20s", r.at);
        if (*r.at == '&')
            check_entity(&r);
        if (*r.at == '<')
            read_tag(&r);
        else
            r.at += n;
    }
    ck_assert_int_eq(r.depth, 0);
}

/* ---- the page ---- */

static char *make_page(const char *experiment, struct report_pictures *pictures)
{
    char said[8192];
    FILE *f = fmemopen(said, sizeof(said), "w");
    struct err e = {0};
    bool ok;

    ck_assert_ptr_nonnull(f);
    ok = report_plots(db, experiment, dir, pictures, f, &e) &&
         report_html(db, experiment, dir, pictures, &e);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(ok, "%s", e.text);
    return read_file("report.html");
}

static void check_has(const char *page, const char *what)
{
    ck_assert_msg(strstr(page, what) != NULL, "no %s", what);
}

START_TEST(test_page)
{
    static const char *const wanted[] = {
        "<title>e&lt;i&gt; \xe2\x80\x93 Tandem</title>",
        "5 runs of 4 configurations",
        "<strong>Claim of e&lt;i&gt;:</strong> More is &lt; less &amp; &quot;so on&quot;</p>",
        "<td class=\"text\">&lt;script&gt;alert(1)&lt;/script&gt;</td>",
        "a\xef\xbf\xbd&amp;b",
        "<td class=\"text\">chat&amp;co</td>",
        /* run 1 and its second seed, run 11 */
        "<td>2</td><td>56.0 % <small>51.0 % to 61.0 %</small></td><td>6.00 <small>1.00 to 11.0",
        "calibration error unknown",
        "tandem 0123456789ab",
        "/data/a&amp;b.csv",
        "host &quot;1&quot;",
    };
    struct report_pictures pictures;
    char *page;

    ck_assert_int_eq(setenv("PATH", dir, 1), 0); /* without gnuplot */
    page = make_page("e<i>", &pictures);
    ck_assert_int_eq(setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1), 0);
    check_well_formed(page);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        check_has(page, wanted[i]);
    check_has(page, "No pictures: gnuplot was not installed");
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_null(strstr(page, "not this")); /* of another experiment */
    ck_assert_ptr_null(strstr(page, "quality not measured"));
    free(page);
}
END_TEST

/* The same configurations in two experiments: only the runs of the one that is asked for. */
START_TEST(test_page_of_one_experiment)
{
    struct report_pictures pictures = {.n = 0};
    struct err e = {0};
    char *page;

    run_sql("INSERT INTO runs (id, experiment, config_hash, seed, rep, trace, kv_policy, replicas,"
            " clock, slo_source) SELECT id + 100, 'other', config_hash, seed + 7, 0, trace,"
            " kv_policy, 1, clock, slo_source FROM runs");
    ck_assert_msg(report_html(db, "e<i>", dir, &pictures, &e), "%s", e.text);
    page = read_file("report.html");
    ck_assert_ptr_null(strstr(page, "not this"));
    free(page);
    ck_assert_msg(report_html(db, NULL, dir, &pictures, &e), "%s", e.text);
    page = read_file("report.html");
    check_has(page, "not this");
    free(page);
}
END_TEST

/* Latencies of a lossy policy do not stand alone; a database of an older program has no claims. */
START_TEST(test_page_says_what_was_not_measured)
{
    struct report_pictures pictures = {.n = 0};
    struct err e = {0};
    char *page;

    run_sql("UPDATE runs SET kv_policy = 'h2o' WHERE id = 3; DROP TABLE experiments");
    ck_assert_msg(report_html(db, NULL, dir, &pictures, &e), "%s", e.text);
    page = read_file("report.html");
    check_well_formed(page);
    check_has(page, "<strong>Quality not measured:</strong>");
    ck_assert_ptr_null(strstr(page, "Claim"));
    free(page);
}
END_TEST

START_TEST(test_page_with_pictures)
{
    static const char *const figures[] = {"summary", "load",     "pareto",
                                          "service", "fairness", "timeline"};
    struct report_pictures pictures;
    char *page, wanted[64];
    size_t embedded = 0;

    if (system("gnuplot --version >/dev/null 2>&1") != 0) {
        printf("SKIP: test_page_with_pictures: gnuplot is not installed\n");
        return;
    }
    page = make_page(NULL, &pictures);
    check_well_formed(page);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
        snprintf(wanted, sizeof(wanted), "<section id=\"%s\">", figures[i]);
        check_has(page, wanted);
    }
    for (const char *s = page; (s = strstr(s, "src=\"data:image/svg+xml;base64,PD94bW")); s++)
        embedded++; /* "<?xml" */
    ck_assert_uint_eq(embedded, pictures.n);
    ck_assert_ptr_null(strstr(page, "src=\"http"));
    ck_assert_ptr_null(strstr(page, "url("));
    free(page);
}
END_TEST

/* ---- timelines ---- */

static json_t *load_trace(const char *name)
{
    json_error_t error;
    char *text = read_file(name);
    json_t *root = json_loads(text, 0, &error);

    ck_assert_msg(root != NULL, "%s:%d: %s", name, error.line, error.text);
    free(text);
    return root;
}

/* Events with this `ph` and name (NULL: any). */
static size_t count_events(json_t *root, const char *ph, const char *name)
{
    json_t *event;
    size_t i, n = 0;

    json_array_foreach(json_object_get(root, "traceEvents"), i, event) n +=
        strcmp(json_string_value(json_object_get(event, "ph")), ph) == 0 &&
        (!name || strcmp(json_string_value(json_object_get(event, "name")), name) == 0);
    return n;
}

START_TEST(test_traces)
{
    char said[1024], line[128];
    FILE *f = fmemopen(said, sizeof(said), "w");
    struct err e = {0};
    json_t *root, *event, *args;

    ck_assert_ptr_nonnull(f);
    ck_assert_msg(report_traces(db, NULL, dir, f, &e), "%s", e.text);
    ck_assert_int_eq(fclose(f), 0);
    snprintf(line, sizeof(line), "Timeline %s/trace-1.json\n", dir);
    ck_assert_ptr_nonnull(strstr(said, line));

    root = load_trace("trace-1.json");
    ck_assert_uint_eq(count_events(root, "X", NULL), 6);
    ck_assert_uint_eq(count_events(root, "X", "decode"), 2); /* step 0 prefills nothing */
    ck_assert_uint_eq(count_events(root, "i", "preempted"), 4);
    ck_assert_uint_eq(count_events(root, "M", "process_name"), 3);
    ck_assert_uint_eq(count_events(root, "C", "KV page units in use"), 2); /* where it changes */
    ck_assert_uint_eq(count_events(root, "C", "waiting"), 3);
    ck_assert_uint_eq(count_events(root, "C", "service:" HOSTILE), 3);
    ck_assert_uint_eq(count_events(root, "C", "service:a?&b"), 3);
    event = json_array_get(json_object_get(root, "traceEvents"),
                           json_array_size(json_object_get(root, "traceEvents")) - 2);
    ck_assert_str_eq(json_string_value(json_object_get(event, "ph")), "X");
    ck_assert_double_eq_tol(json_real_value(json_object_get(event, "ts")), 2.0, 1e-9);
    ck_assert_double_eq_tol(json_real_value(json_object_get(event, "dur")), 0.9, 1e-9);
    ck_assert_int_eq(json_integer_value(json_object_get(event, "pid")), 2); /* replica 1 */
    args = json_object_get(event, "args");
    ck_assert_int_eq(json_integer_value(json_object_get(args, "prefill_tokens")), 7);
    ck_assert_int_eq(json_integer_value(json_object_get(args, "n_prefill")), 2);
    json_decref(root);

    root = load_trace("trace-3.json"); /* without steps */
    ck_assert_uint_eq(count_events(root, "X", NULL), 0);
    ck_assert_uint_eq(count_events(root, "C", "kv_utilisation"), 3);
    json_decref(root);
}
END_TEST

/* ---- names in pictures ---- */

/* What all labels say goes, a key's last word and a file's name are enough. */
START_TEST(test_short_names)
{
    static const char *const names[] = {"1: a.csv, rate_scale=1", "2: a.csv, rate_scale=2",
                                        "3: b.csv, rate_scale=2", "4: rate_scale=2, odd"};
    struct report_runs runs;
    struct err e = {0};

    run_sql(
        "DELETE FROM runs WHERE id > 4;"
        "UPDATE runs SET point = 'trace=x/y/' || iif(id < 3, 'a', 'b') || '.csv, scheduler=vtc,'"
        " || ' trace.rate_scale=' || min(id, 2);"
        "UPDATE runs SET point = 'scheduler=vtc, trace.rate_scale=2, odd' WHERE id = 4;"
        "UPDATE runs SET trace = 't.csv'");
    ck_assert_msg(report_runs_load(&runs, db, NULL, ALL_RUNS, &e), "%s", e.text);
    ck_assert_uint_eq(runs.n, ARRAY_LEN(names));
    for (size_t i = 0; i < runs.n; i++) {
        ck_assert_str_eq(runs.run[i].name, names[i]);
        ck_assert_str_eq(runs.run[i].brief, names[i] + 3);
    }
    report_runs_release(&runs);
}
END_TEST

static const struct {
    const char *text, *quoted;
} quoted[] = {
    {"", "''"},
    {"it's a \"b\"\n", "'it s a  b  '"},
    {"\xff<&", "' <&'"},
    {"0123456789012345678901234567890123456789", "'0123456789012345678901234567890123456789'"},
    {"01234567890123456789012345678901234567890", "'0123456789..3456789012345678901234567890'"},
};

START_TEST(test_quoted)
{
    char text[64];
    FILE *f = fmemopen(text, sizeof(text), "w");

    ck_assert_ptr_nonnull(f);
    plot_put_quoted(f, quoted[_i].text, '\'');
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_str_eq(text, quoted[_i].quoted);
}
END_TEST

/* ---- files ---- */

START_TEST(test_only_what_is_whole_gets_its_name)
{
    struct report_file file;
    struct err e = {0};
    char path[128], *text;

    ck_assert(report_file_open(&file, dir, "a", &e));
    fputs("first", file.f);
    snprintf(path, sizeof(path), "%s/a", dir);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert(report_file_close(&file, true, &e));
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert(report_file_open(&file, dir, "a", &e));
    fputs("second, and then", file.f);
    ck_assert(!report_file_close(&file, false, &e));
    ck_assert(!e.set); /* whoever said it was incomplete said why */
    text = read_file("a");
    ck_assert_str_eq(text, "first");
    free(text);
    ck_assert_int_ne(access(file.unfinished, F_OK), 0);
}
END_TEST

START_TEST(test_full_disk)
{
    struct report_pictures pictures = {.n = 0};
    struct err e = {0};
    char path[128];

    snprintf(path, sizeof(path), "%s/report.html.unfinished", dir);
    ck_assert_int_eq(symlink("/dev/full", path), 0);
    ck_assert(!report_html(db, NULL, dir, &pictures, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "report.html: could not be written; free some space"));
    snprintf(path, sizeof(path), "%s/report.html", dir);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

static const struct {
    const char *text;
    size_t bytes;
} characters[] = {
    {"", 0},
    {"a", 1},
    {"\t", 1},
    {"\x01", 0},
    {"\x7f", 1},
    {"\x80", 0},
    {"\xc3\xa4", 2},
    {"\xc3", 0},
    {"\xc1\x81", 0}, /* "A" too long */
    {"\xe2\x80\x93", 3},
    {"\xe2\x80", 0},
    {"\xed\xa0\x80", 0}, /* a surrogate */
    {"\xef\xbf\xbf", 0},
    {"\xf0\x9f\x98\x80", 4},
    {"\xf4\x90\x80\x80", 0}, /* past the last */
    {"\xf8\x88\x80\x80", 0},
    {"\xff", 0},
};

START_TEST(test_utf8)
{
    ck_assert_uint_eq(utf8_char(characters[_i].text), characters[_i].bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("report_html");
    TCase *t = tcase_create("report_html");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_page);
    tcase_add_test(t, test_page_of_one_experiment);
    tcase_add_test(t, test_page_says_what_was_not_measured);
    tcase_add_test(t, test_page_with_pictures);
    tcase_add_test(t, test_traces);
    tcase_add_test(t, test_short_names);
    tcase_add_loop_test(t, test_quoted, 0, (int)ARRAY_LEN(quoted));
    tcase_add_test(t, test_only_what_is_whole_gets_its_name);
    tcase_add_test(t, test_full_disk);
    tcase_add_loop_test(t, test_utf8, 0, (int)ARRAY_LEN(characters));
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
