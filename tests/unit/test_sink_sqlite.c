/* The database of record: every row comes back, a run is there complete or not at all, and a file
 * that is not ours is left alone. */
#include "experiments/sink_sqlite.h"

#include <check.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "experiments/db.h"
#include "experiments/schema.h"

enum { BUSY_MS = 50 };

static char dir[64], path[96];

static void set_up(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_sink_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.db", dir);
}

static void remove_with(const char *suffix)
{
    char file[128];

    snprintf(file, sizeof(file), "%s%s", path, suffix);
    (void)remove(file);
}

static void tear_down(void)
{
    remove_with("");
    remove_with("-wal");
    remove_with("-shm");
    remove_with("-journal");
    ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- looking into the database ---- */

static void ask(sqlite3 *db, const char *sql, char *answer, size_t size)
{
    sqlite3_stmt *stmt;
    const char *text;

    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
    ck_assert_msg(sqlite3_step(stmt) == SQLITE_ROW, "%s: no row", sql);
    text = (const char *)sqlite3_column_text(stmt, 0);
    snprintf(answer, size, "%s", text ? text : "NULL");
    sqlite3_finalize(stmt);
}

static void check_answer(sqlite3 *db, const char *sql, const char *expected)
{
    char answer[512];

    ask(db, sql, answer, sizeof(answer));
    ck_assert_msg(strcmp(answer, expected) == 0, "%s\n  gives %s\n  not   %s", sql, answer,
                  expected);
}

/* The same on the file, through a connection of its own. */
static void check_file(const char *sql, const char *expected)
{
    struct err e = {0};
    sqlite3 *db = db_open_read(path, &e);

    ck_assert_msg(db != NULL, "%s", e.text);
    check_answer(db, sql, expected);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void run_sql(const char *sql)
{
    sqlite3 *db;

    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* ---- a synthetic run ---- */

static struct run_info info_of(const char *hash, uint64_t seed)
{
    return (struct run_info){.experiment = "exp",
                             .point = "p1",
                             .config = "{\"seed\":1}",
                             .config_hash = hash,
                             .seed = seed,
                             .rep = 2,
                             .trace = "t.csv",
                             .trace_sha256 = "abc",
                             .trace_format = "csv",
                             .model = "m",
                             .gpu = "g",
                             .backend = "roofline",
                             .profile = NULL,
                             .inputs_sha256 = "def",
                             .scheduler = "vtc",
                             .router = "round_robin",
                             .kv_policy = "full",
                             .prefix_policy = "lru",
                             .predictor = NULL,
                             .replicas = 3,
                             .clock = "virtual",
                             .slo_source = "config",
                             .quality_ref = NULL,
                             .git_revision = "0123",
                             .dirty = true,
                             .compiler = "gcc",
                             .host = "h",
                             .driver = NULL,
                             .store_requests = true,
                             .store_steps = true,
                             .max_request_rows = 1000000};
}

static const struct request_row request = {
    .seq = 7,
    .tenant = "o'hara",
    .session = "s1",
    .slo_class = "chat",
    .turn = 4,
    .arrived_at = 10,
    .admitted_at = 20,
    .first_token_at = 30,
    .done_at = 40,
    .prompt_tokens = 100,
    .output_tokens = 11,
    .max_tokens = 12,
    .cached_tokens = 64,
    .preemptions = 1,
    .itl_max_ns = 5,
    .replica = 2,
    .status = STATUS_FINISHED,
    .reason = "length",
    .met_slo = true,
};
static const struct request_row refused = {
    .seq = 8,
    .turn = UINT32_MAX,
    .arrived_at = 11,
    .admitted_at = -1,
    .first_token_at = -1,
    .done_at = -1,
    .itl_max_ns = -1,
    .replica = UINT32_MAX,
    .status = STATUS_REFUSED,
    .reason = "",
};

/* Every row of a run; stops at the first that fails, as the engine does. */
static bool play(const struct sink *k, uint32_t n_requests, struct err *e)
{
    const struct step_row step = {1, 9, 100, 50, 45.5, 4.5, 2, 1, 2, 30, 400, 77, 1, 160, 5265};
    const struct transfer_row out = {0, 1, 7, "out", 32, 5, 9}, lost = {0, 2, 7, "in", 32, 9, -1};
    const struct tenant_row tenant = {"o'hara", 5, 122.5, 0.25, 1.5, 2.5, (double)NAN, 4.5, 0.75};
    const struct quantile_bucket bucket = {0.5, 0.75, 42};
    const struct sink_ops *o = k->ops;

    for (uint32_t i = 0; i < n_requests; i++) {
        struct request_row row = i == 1 ? refused : request;

        row.seq = 7 + i;
        if (!o->request(k->self, &row, e))
            return false;
    }
    return o->step(k->self, &step, e) && o->transfer(k->self, &out, e) &&
           o->transfer(k->self, &lost, e) && o->tenant(k->self, &tenant, e) &&
           o->summary(k->self, "goodput_rps", 1.5, e) &&
           o->summary(k->self, "tpot_ms_p99", (double)NAN, e) &&
           o->timeline(k->self, 3, "waiting", 6, e) && o->histogram(k->self, "ttft_ms", &bucket, e);
}

/* A whole run, as the engine drives it. */
static bool store(struct sink_sqlite *s, const struct run_info *info, uint32_t n_requests,
                  uint64_t digest, struct err *e)
{
    struct sink k = sink_sqlite_run(s, info);
    bool ok;

    if (!k.ops->begin(k.self, e))
        return false;
    k.ops->cost_model(k.self, "made up");
    ok = play(&k, n_requests, e);
    return k.ops->end(k.self, ok, digest, e) && ok;
}

static struct sink_sqlite *open_sink(void)
{
    struct err e = {0};
    struct sink_sqlite *s = sink_sqlite_open_within(path, BUSY_MS, &e);

    ck_assert_msg(s != NULL, "%s", e.text);
    return s;
}

static void close_sink(struct sink_sqlite *s)
{
    struct err e = {0};

    ck_assert_msg(sink_sqlite_close(s, &e), "%s", e.text);
}

static void must_store(struct sink_sqlite *s, const char *hash, uint64_t seed, uint64_t digest)
{
    const struct run_info info = info_of(hash, seed);
    struct err e = {0};

    ck_assert_msg(store(s, &info, 2, digest, &e), "%s", e.text);
}

static void store_one_and_close(uint64_t digest)
{
    struct sink_sqlite *s = open_sink();

    must_store(s, "hash", 1, digest);
    close_sink(s);
}

/* ---- round trip ---- */

static const struct {
    const char *sql, *expected;
} answers[] = {
    {"PRAGMA user_version", "1"},
    {"PRAGMA journal_mode", "delete"},
    {"SELECT group_concat(id || experiment || point || config || config_hash || seed || rep ||"
     " digest) FROM runs",
     "1expp1{\"seed\":1}hash12000000000000beef"},
    {"SELECT trace || trace_sha256 || trace_format || model || gpu || backend || inputs_sha256"
     " FROM runs",
     "t.csvabccsvmgrooflinedef"},
    {"SELECT scheduler || router || kv_policy || prefix_policy || replicas || clock || slo_source"
     " FROM runs",
     "vtcround_robinfulllru3virtualconfig"},
    {"SELECT cost_model || git_revision || dirty || compiler || host || status FROM runs",
     "made up01231gcchdone"},
    {"SELECT count(*) FROM runs WHERE profile IS NULL AND predictor IS NULL AND quality_ref IS"
     " NULL AND driver IS NULL",
     "1"},
    {"SELECT started_at GLOB '20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z'"
     " AND wall_s >= 0 AND wall_s < 60 FROM runs",
     "1"},
    {"SELECT tenant || session || turn || slo_class || arrived_ns || ' ' || admitted_ns || ' ' ||"
     " first_token_ns || ' ' || done_ns FROM requests WHERE seq = 7",
     "o'haras14chat10 20 30 40"},
    {"SELECT prompt_tokens || ' ' || output_tokens || ' ' || max_tokens || ' ' || cached_tokens ||"
     " ' ' || preemptions || ' ' || itl_max_ns || ' ' || replica || status || reason || met_slo"
     " FROM requests WHERE seq = 7",
     "100 11 12 64 1 5 2finishedlength1"},
    {"SELECT count(*) FROM requests WHERE seq = 8 AND tenant IS NULL AND session IS NULL AND turn"
     " IS NULL AND slo_class IS NULL AND arrived_ns = 11 AND admitted_ns IS NULL AND"
     " first_token_ns IS NULL AND done_ns IS NULL AND itl_max_ns IS NULL AND replica IS NULL AND"
     " status = 'refused' AND reason IS NULL AND met_slo = 0",
     "1"},
    {"SELECT replica || ' ' || step || ' ' || at_ns || ' ' || duration_ns || ' ' || device_ns ||"
     " ' ' || host_ns || ' ' || n_decode || ' ' || n_prefill || ' ' || decode_tokens || ' ' ||"
     " prefill_tokens || ' ' || context_tokens || ' ' || kv_units_used || ' ' || preempted ||"
     " ' ' || prefill_history || ' ' || prefill_pairs FROM steps",
     "1 9 100 50 45.5 4.5 2 1 2 30 400 77 1 160 5265.0"},
    {"SELECT group_concat(replica || n || seq || direction || units || ' ' || submitted_ns ||"
     " coalesce(done_ns, '-')) FROM transfers",
     "017out32 59,027in32 9-"},
    {"SELECT tenant || requests || ' ' || service || ' ' || share || ' ' || ttft_ms_mean || ' ' ||"
     " ttft_ms_p99 || ' ' || coalesce(e2el_ms_p50, '-') || ' ' || e2el_ms_p99 || ' ' ||"
     " slo_attainment FROM tenants",
     "o'hara5 122.5 0.25 1.5 2.5 - 4.5 0.75"},
    {"SELECT group_concat(metric || coalesce(value, '-')) FROM summary",
     "goodput_rps1.5,tpot_ms_p99-"},
    {"SELECT at_ns || series || value FROM timeline", "3waiting6.0"},
    {"SELECT metric || bucket_low || bucket_high || count FROM histograms", "ttft_ms0.50.7542"},
};

START_TEST(test_round_trip)
{
    store_one_and_close(0xbeef);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        check_file(answers[i].sql, answers[i].expected);
}
END_TEST

START_TEST(test_closed_database_is_one_file)
{
    char wal[128];

    store_one_and_close(1);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    ck_assert_int_ne(access(wal, F_OK), 0);
}
END_TEST

START_TEST(test_row_limit)
{
    static const struct {
        uint64_t max_rows;
        const char *rows, *dropped;
    } cases[] = {{0, "0", "5.0"}, {3, "3", "2.0"}, {5, "5", "NULL"}, {6, "5", "NULL"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sink_sqlite *s = open_sink();
        struct run_info info = info_of("hash", 1);
        struct err e = {0};

        info.max_request_rows = cases[i].max_rows;
        ck_assert_msg(store(s, &info, 5, 1, &e), "%s", e.text);
        close_sink(s);
        check_file("SELECT count(*) FROM requests", cases[i].rows);
        check_file("SELECT sum(value) FROM summary WHERE metric = 'request_rows_dropped'",
                   cases[i].dropped);
    }
}
END_TEST

START_TEST(test_unwanted_rows_have_no_callback)
{
    struct sink_sqlite *s = open_sink();
    struct run_info info = info_of("hash", 1);
    struct sink k;

    info.store_requests = info.store_steps = false;
    k = sink_sqlite_run(s, &info);
    ck_assert(!k.ops->request && !k.ops->step && !k.ops->transfer);
    ck_assert(k.ops->begin && k.ops->summary && k.ops->end);
    close_sink(s);
}
END_TEST

/* ---- one transaction a run ---- */

START_TEST(test_replaces_run_of_same_key)
{
    static const char *const tables[] = {"summary",   "requests", "tenants",   "steps",
                                         "transfers", "timeline", "histograms"};
    struct sink_sqlite *s = open_sink();
    int64_t first;

    must_store(s, "hash", 1, 1);
    first = sink_sqlite_run_id(s);
    ck_assert(!sink_sqlite_replaced(s));
    must_store(s, "hash", 2, 2); /* another seed: another run */
    ck_assert_int_ne(sink_sqlite_run_id(s), first);
    ck_assert(!sink_sqlite_replaced(s));
    must_store(s, "hash", 1, 3);
    ck_assert(sink_sqlite_replaced(s));
    ck_assert_int_eq(sink_sqlite_run_id(s), first);
    must_store(s, "other", 1, 4);
    ck_assert(!sink_sqlite_replaced(s));
    close_sink(s);

    check_file("SELECT group_concat(id || ':' || digest) FROM runs ORDER BY id",
               "1:0000000000000003,2:0000000000000002,3:0000000000000004");
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char sql[128];

        snprintf(sql, sizeof(sql),
                 "SELECT (count(*) %% 3) || ' ' || count(DISTINCT run_id) FROM %s", tables[i]);
        check_file(sql, "0 3");
    }
    check_file("SELECT count(*) FROM requests", "6");
}
END_TEST

START_TEST(test_failed_run_leaves_the_earlier_one)
{
    struct sink_sqlite *s = open_sink();
    const struct run_info info = info_of("hash", 1);
    struct err e = {0};
    struct sink k;

    must_store(s, "hash", 1, 1);
    k = sink_sqlite_run(s, &info);
    ck_assert(k.ops->begin(k.self, &e));
    ck_assert(play(&k, 20, &e));
    ck_assert(k.ops->end(k.self, false, 2, &e)); /* the engine failed */
    ck_assert(!e.set);
    close_sink(s);
    check_file("SELECT digest FROM runs", "0000000000000001");
    check_file("SELECT count(*) FROM requests", "2");
}
END_TEST

START_TEST(test_row_that_cannot_be_stored)
{
    struct sink_sqlite *s = open_sink();
    const struct run_info info = info_of("hash", 1);
    struct err e = {0};
    struct sink k;

    must_store(s, "hash", 1, 1);
    k = sink_sqlite_run(s, &info);
    ck_assert(k.ops->begin(k.self, &e));
    /* the same seq again: told when the rows so far are stored, some dozens later */
    for (int i = 0; i < 1000 && k.ops->request(k.self, &request, &e); i++)
        ;
    ck_assert_ptr_nonnull(strstr(e.text, "UNIQUE constraint failed: requests.run_id"));
    ck_assert(!k.ops->request(k.self, &refused, &e)); /* nothing is stored any more */
    ck_assert(!k.ops->end(k.self, true, 2, &e));
    must_store(s, "other", 1, 3); /* and the sink goes on */
    close_sink(s);
    check_file("SELECT group_concat(digest) FROM runs", "0000000000000001,0000000000000003");
    check_file("SELECT count(*) FROM requests", "4");
}
END_TEST

START_TEST(test_invisible_before_the_end)
{
    struct sink_sqlite *s = open_sink();
    const struct run_info info = info_of("hash", 2);
    struct err e = {0};
    struct sink k;

    must_store(s, "hash", 1, 1);
    k = sink_sqlite_run(s, &info);
    ck_assert(k.ops->begin(k.self, &e) && play(&k, 20, &e));
    check_file("SELECT count(*) FROM runs", "1");
    check_file("SELECT count(*) FROM requests", "2");
    ck_assert(k.ops->end(k.self, true, 2, &e));
    check_file("SELECT count(*) FROM runs", "2");
    close_sink(s);
}
END_TEST

START_TEST(test_others_may_have_it_open_at_close)
{
    struct sink_sqlite *a = open_sink(), *b = open_sink();

    must_store(a, "hash", 1, 1);
    must_store(b, "hash", 2, 2);
    close_sink(a);
    must_store(b, "hash", 3, 3);
    close_sink(b);
    check_file("SELECT count(*) FROM runs", "3");
    check_file("PRAGMA journal_mode", "delete");
}
END_TEST

/* ---- what is refused ---- */

struct content {
    char bytes[65536];
    size_t n;
};

static void read_file(struct content *c)
{
    FILE *f = fopen(path, "rb");

    ck_assert_ptr_nonnull(f);
    c->n = fread(c->bytes, 1, sizeof(c->bytes), f);
    ck_assert_int_eq(fclose(f), 0);
}

/* The sink refuses the file with this message, and the file is as it was. */
static void check_refused(const char *message)
{
    static struct content before, after; /* big */
    struct err e = {0};

    read_file(&before);
    ck_assert_ptr_null(sink_sqlite_open_within(path, BUSY_MS, &e));
    ck_assert_msg(strstr(e.text, message) != NULL, "%s\n  does not say %s", e.text, message);
    ck_assert_ptr_nonnull(strstr(e.text, "a.db: "));
    ck_assert_ptr_nonnull(strchr(e.text, ';')); /* what to do */
    read_file(&after);
    ck_assert_uint_eq(before.n, after.n);
    ck_assert_mem_eq(before.bytes, after.bytes, before.n);
}

START_TEST(test_refuses_other_databases)
{
    static const struct {
        const char *sql, *message;
    } cases[] = {
        {"CREATE TABLE runs (id)", "not a database made by tandem"},
        {"PRAGMA user_version = 1; CREATE TABLE photos (id)", "not a database made by tandem"},
        {"PRAGMA user_version = 7", "not a database made by tandem"},
        {"CREATE TABLE runs (a); CREATE TABLE summary (a); CREATE TABLE requests (a);"
         "CREATE TABLE timeline (a); CREATE TABLE histograms (a); PRAGMA user_version = 2",
         "made by a newer tandem (schema 2, this one knows 1)"},
        {"CREATE TABLE runs (a); CREATE TABLE summary (a); CREATE TABLE requests (a);"
         "CREATE TABLE timeline (a); CREATE TABLE histograms (a)",
         "made by an older tandem (schema 0, this one knows 1)"},
    };

    run_sql(cases[_i].sql);
    check_refused(cases[_i].message);
}
END_TEST

START_TEST(test_refuses_what_is_no_database)
{
    static const size_t sizes[] = {2, 5, 99, 100, 5000};
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < sizes[_i]; i++)
        fputc('x', f);
    ck_assert_int_eq(fclose(f), 0);
    check_refused("file is not a database");
}
END_TEST

START_TEST(test_refuses_paths_that_do_not_open)
{
    struct err e = {0};
    char below[128];

    snprintf(below, sizeof(below), "%s/no/such/folder.db", dir);
    ck_assert_ptr_null(sink_sqlite_open(below, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "unable to open database file; check"));
    e = (struct err){0};
    ck_assert_ptr_null(db_open_read(path, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "unable to open database file; check"));
    ck_assert_int_ne(access(path, F_OK), 0); /* reading makes nothing */
}
END_TEST

START_TEST(test_reading_an_empty_database)
{
    struct err e = {0};

    run_sql("PRAGMA user_version = 0");
    ck_assert_ptr_null(db_open_read(path, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "the database is empty; fill it with"));
}
END_TEST

/* ---- in use ---- */

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

START_TEST(test_in_use_at_begin)
{
    struct sink_sqlite *s = open_sink();
    const struct run_info info = info_of("hash", 1);
    struct err e = {0};
    sqlite3 *other;
    double started = now_s();

    ck_assert_int_eq(sqlite3_open(path, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert(!store(s, &info, 1, 1, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "a.db: database in use by another process; wait"));
    ck_assert_double_ge(now_s() - started, BUSY_MS * 1e-3 * 0.5); /* it did wait */
    ck_assert_double_lt(now_s() - started, 3);
    ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
    must_store(s, "hash", 1, 1); /* free again: it works */
    close_sink(s);
}
END_TEST

START_TEST(test_in_use_at_open)
{
    struct err e = {0};
    sqlite3 *other;

    store_one_and_close(1);
    ck_assert_int_eq(sqlite3_open(path, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_ptr_null(sink_sqlite_open_within(path, BUSY_MS, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "database in use by another process"));
    ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
}
END_TEST

/* ---- a full disk ---- */

/* Lets no file grow beyond so many bytes: writes fail as on a full disk. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* One attempt to replace the run with files of at most `bytes`. Returns whether the new run is in;
 * *opened says whether it got as far as that. */
static bool replace_within(rlim_t bytes, uint32_t n_requests, bool *opened)
{
    const struct run_info info = info_of("hash", 1);
    struct sink_sqlite *s;
    struct err e = {0};
    bool stored = false;

    limit_files(bytes);
    s = sink_sqlite_open_within(path, BUSY_MS, &e);
    *opened = s != NULL;
    if (s) {
        stored = store(s, &info, n_requests, 2, &e);
        ck_assert(stored != e.set);
        if (!sink_sqlite_close(s, &e)) /* committed, but still in the -wal file */
            ck_assert(e.set);
    }
    if (!stored)
        ck_assert_msg(strstr(e.text, "runs stored before are safe") != NULL, "%s", e.text);
    limit_files(RLIM_INFINITY);
    return stored;
}

/* The disk is full at any point: in opening, in the rows, in the commit, in closing. Long runs
 * write rows before the commit, too. */
START_TEST(test_full_disk)
{
    static const struct {
        uint32_t n_requests;
        rlim_t step;
    } cases[] = {{2, 4096}, {40000, 300000}};
    uint32_t n = cases[_i].n_requests;
    uint32_t failed = 0;
    bool stored = false;

    ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    for (rlim_t bytes = 0; !stored; bytes += cases[_i].step) {
        bool opened;

        remove_with("");
        remove_with("-wal");
        remove_with("-shm");
        store_one_and_close(1);
        stored = replace_within(bytes, n, &opened);
        failed += opened && !stored;
        check_file("PRAGMA integrity_check", "ok");
        check_file("SELECT group_concat(digest) FROM runs",
                   stored ? "0000000000000002" : "0000000000000001");
        check_file("SELECT count(*) > 2 OR count(*) = 2 FROM requests", "1");
        check_file("SELECT count(DISTINCT run_id) FROM requests", "1");
    }
    ck_assert_uint_ge(failed, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sink_sqlite");
    TCase *t = tcase_create("sink_sqlite");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, test_round_trip);
    tcase_add_test(t, test_closed_database_is_one_file);
    tcase_add_test(t, test_row_limit);
    tcase_add_test(t, test_unwanted_rows_have_no_callback);
    tcase_add_test(t, test_replaces_run_of_same_key);
    tcase_add_test(t, test_failed_run_leaves_the_earlier_one);
    tcase_add_test(t, test_row_that_cannot_be_stored);
    tcase_add_test(t, test_invisible_before_the_end);
    tcase_add_test(t, test_others_may_have_it_open_at_close);
    tcase_add_loop_test(t, test_refuses_other_databases, 0, 5);
    tcase_add_loop_test(t, test_refuses_what_is_no_database, 0, 5);
    tcase_add_test(t, test_refuses_paths_that_do_not_open);
    tcase_add_test(t, test_reading_an_empty_database);
    tcase_add_test(t, test_in_use_at_begin);
    tcase_add_test(t, test_in_use_at_open);
    tcase_add_loop_test(t, test_full_disk, 0, 2);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
