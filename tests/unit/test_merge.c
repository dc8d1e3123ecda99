/* Merging databases: all rows of a run or none, nothing twice, nothing of another schema. */
#include "experiments/merge.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/db.h"

static char dir[64];

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/test_merge_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static const char *path_of(const char *name)
{
    static char path[2][128];
    static int which;
    which = !which;
    snprintf(path[which], sizeof path[which], "%s/%s", dir, name);
    return path[which];
}

static void tear_down(void)
{
    static const char *const names[] = {"out.db", "a.db", "b.db"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)unlink(path_of(names[i]));
    ck_assert_int_eq(rmdir(dir), 0);
}

/* Makes the database if need be and runs SQL on it. */
static void sql(const char *name, const char *text)
{
    struct err e = {0};
    sqlite3 *db = db_open_write(path_of(name), 100, &e);
    ck_assert_msg(db != NULL, "%s", e.text);
    ck_assert_msg(db_exec(db, text, &e) && db_close_write(db, &e), "%s: %s", text, e.text);
}

static void check_answer(const char *name, const char *text, const char *expected)
{
    struct err e = {0};
    sqlite3 *db = db_open_read(path_of(name), &e);
    ck_assert_msg(db != NULL, "%s", e.text);
    sqlite3_stmt *stmt = db_prepare(db, text, &e);
    ck_assert_msg(stmt && sqlite3_step(stmt) == SQLITE_ROW, "%s: %s", text, e.text);
    const char *answer = (const char *)sqlite3_column_text(stmt, 0);
    ck_assert_msg(answer && strcmp(answer, expected) == 0, "%s\n gives %s\n not   %s", text,
                  answer ? answer : "NULL", expected);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static bool merge_into_out(const char *in, enum merge_rule rule, struct merge_counts *n,
                           struct err *e)
{
    sqlite3 *db = db_open_write(path_of("out.db"), 100, e);
    ck_assert_msg(db != NULL, "%s", e->text);
    *n = (struct merge_counts){0};
    bool ok = merge_file(db, path_of(in), rule, n, e);
    ck_assert_msg(sqlite3_get_autocommit(db), "a transaction is left open");
    struct err close = {0};
    ck_assert(db_close_write(db, &close));
    return ok;
}

static void check_merge(const char *in, enum merge_rule rule, uint64_t added, uint64_t replaced,
                        uint64_t kept)
{
    struct merge_counts n;
    struct err e = {0};
    ck_assert_msg(merge_into_out(in, rule, &n, &e), "%s", e.text);
    ck_assert_msg(n.added == added && n.replaced == replaced && n.kept == kept,
                  "%llu added, %llu replaced, %llu kept", (unsigned long long)n.added,
                  (unsigned long long)n.replaced, (unsigned long long)n.kept);
}

/* A run with rows in every table; "HASH" and the like stand in for what tells runs apart. */
#define RUN(id, hash, seed, digest, started, value)                                                \
    "INSERT INTO runs (id, config_hash, seed, rep, digest, git_revision, dirty, inputs_sha256,"    \
    " started_at) VALUES (" #id ", '" hash "', " #seed ", 0, '" digest "', 'r', 0, 'i', '" started \
    "'); INSERT INTO summary VALUES (" #id ", 'm', " #value ");"                                   \
    "INSERT INTO requests (run_id, seq, status, met_slo) VALUES (" #id ", 0, 'finished', 1),"      \
    " (" #id ", 1, 'refused', 0);"                                                                 \
    "INSERT INTO tenants (run_id, tenant) VALUES (" #id ", 't');"                                  \
    "INSERT INTO steps (run_id, replica, step) VALUES (" #id ", 0, 7);"                            \
    "INSERT INTO transfers (run_id, replica, n) VALUES (" #id ", 0, 3);"                           \
    "INSERT INTO timeline VALUES (" #id ", 5, 'waiting', 2);"                                      \
    "INSERT INTO histograms VALUES (" #id ", 'ttft_ms', 1, 2, 9);"                                 \
    "INSERT INTO quality (run_id, metric, value) VALUES (" #id ", 'q', 0.5);"

/* How many rows all tables have, `runs` left out. */
#define ALL_ROWS                                                                                   \
    "SELECT (SELECT count(*) FROM summary) || ' ' || (SELECT count(*) FROM requests) || ' ' ||"    \
    " (SELECT count(*) FROM tenants) || ' ' || (SELECT count(*) FROM steps) || ' ' ||"             \
    " (SELECT count(*) FROM transfers) || ' ' || (SELECT count(*) FROM timeline) || ' ' ||"        \
    " (SELECT count(*) FROM histograms) || ' ' || (SELECT count(*) FROM quality)"

START_TEST(test_every_row_once)
{
    sql("a.db", RUN(1, "h", 1, "d", "2026-01-01", 3) RUN(2, "h", 2, "d", "2026-01-01", 4));
    sql("b.db", RUN(1, "g", 1, "d", "2026-01-01", 5));
    check_merge("a.db", MERGE_LATER, 2, 0, 0);
    check_merge("b.db", MERGE_LATER, 1, 0, 0);
    check_answer("out.db", ALL_ROWS, "3 6 3 3 3 3 3 3");
    check_answer("out.db",
                 "SELECT group_concat(config_hash || seed || ':' || value, ' ') FROM runs JOIN"
                 " summary ON run_id = id ORDER BY id",
                 "h1:3.0 h2:4.0 g1:5.0");
    check_merge("a.db", MERGE_LATER, 0, 0, 2);
    check_merge("b.db", MERGE_LATER, 0, 0, 1);
    check_answer("out.db", ALL_ROWS, "3 6 3 3 3 3 3 3");
    check_answer("out.db", "PRAGMA journal_mode", "delete");
}
END_TEST

/* Whatever the order, the later run stands, and keeps the place of the other. */
START_TEST(test_later_stands)
{
    static const char *const order[][2] = {{"a.db", "b.db"}, {"b.db", "a.db"}};
    sql("a.db", RUN(8, "h", 1, "d", "2026-01-01", 3) RUN(9, "x", 1, "d", "2026-01-01", 1));
    sql("b.db", RUN(1, "h", 1, "e", "2026-01-02", 4));
    bool a_first = _i == 0;
    check_merge(order[_i][0], MERGE_LATER, a_first ? 2 : 1, 0, 0);
    check_merge(order[_i][1], MERGE_LATER, !a_first, a_first, !a_first);
    check_answer("out.db",
                 "SELECT value FROM summary JOIN runs ON id = run_id WHERE seed = 1 AND"
                 " config_hash = 'h'",
                 "4.0");
    check_answer("out.db", ALL_ROWS, "2 4 2 2 2 2 2 2");
    check_merge("a.db", MERGE_LATER, 0, 0, 2);
    check_merge("b.db", MERGE_LATER, 0, 0, 1);
}
END_TEST

START_TEST(test_new_stands)
{
    sql("a.db", RUN(1, "h", 1, "d", "2026-01-02", 3));
    sql("b.db", RUN(5, "h", 1, "d", "2026-01-01", 4));
    check_merge("a.db", MERGE_NEW, 1, 0, 0);
    check_merge("b.db", MERGE_NEW, 0, 1, 0);
    check_answer("out.db", "SELECT id || ' ' || value FROM summary JOIN runs ON id = run_id",
                 "1 4.0");
}
END_TEST

START_TEST(test_quality_of_no_run)
{
    sql("a.db", "INSERT INTO quality (metric, value) VALUES ('ppl', 1.5), ('ppl', 1.6)");
    check_merge("a.db", MERGE_LATER, 0, 0, 0);
    check_merge("a.db", MERGE_LATER, 0, 0, 0);
    check_answer("out.db", "SELECT count(*) FROM quality", "2");
}
END_TEST

/* ---- what is refused, and leaves OUT as it was ---- */

static const struct {
    const char *make, *says; /* how a.db is spoilt; part of the message */
} refused[] = {
    {"PRAGMA user_version = 2", "a newer tandem (schema 2, this one knows 1)"},
    {"PRAGMA user_version = 0", "an older tandem (schema 0, this one knows 1)"},
    {"ALTER TABLE runs RENAME COLUMN clock TO watch", "its table runs is not like that of"},
    {"ALTER TABLE requests ADD COLUMN more", "its table requests is not like that of"},
    {"DROP TABLE tenants", "its table tenants is not like that of"},
    {"DROP TABLE summary", "not a database made by tandem"},
};

START_TEST(test_mixed_schemas)
{
    struct merge_counts n;
    struct err e = {0};
    sql("out.db", RUN(1, "o", 1, "d", "2026-01-01", 3));
    sql("a.db", RUN(1, "h", 1, "d", "2026-01-01", 3));
    sql("a.db", refused[_i].make);
    ck_assert(!merge_into_out("a.db", MERGE_LATER, &n, &e));
    ck_assert_msg(strstr(e.text, refused[_i].says) && strstr(e.text, "a.db"), "%s", e.text);
    ck_assert_uint_eq(n.added, 0);
    check_answer("out.db", "SELECT group_concat(config_hash) FROM runs", "o");
}
END_TEST

START_TEST(test_no_file)
{
    struct merge_counts n;
    struct err e = {0};
    ck_assert(!merge_into_out("b.db", MERGE_LATER, &n, &e));
    ck_assert_msg(strstr(e.text, "b.db"), "%s", e.text);
    ck_assert_int_ne(access(path_of("b.db"), F_OK), 0); /* not made by looking */
}
END_TEST

/* A row that cannot be copied takes the whole file's merge back. */
START_TEST(test_all_or_nothing)
{
    struct merge_counts n;
    struct err e = {0};
    sql("a.db", RUN(1, "h", 1, "d", "2026-01-01", 3) RUN(2, "h", 2, "d", "2026-01-01", 3));
    sql("out.db", "CREATE TRIGGER no BEFORE INSERT ON histograms WHEN new.run_id = 2"
                  " BEGIN SELECT raise(ABORT, 'no room'); END");
    ck_assert(!merge_into_out("a.db", MERGE_LATER, &n, &e));
    ck_assert_msg(strstr(e.text, "no room"), "%s", e.text);
    ck_assert_uint_eq(n.added, 0);
    check_answer("out.db", "SELECT count(*) FROM runs", "0");
    check_answer("out.db", ALL_ROWS, "0 0 0 0 0 0 0 0");
}
END_TEST

/* `timeline` had no key once, and there was no table of claims. */
START_TEST(test_older_file)
{
    sql("b.db", "DROP TABLE experiments; DROP TABLE timeline; CREATE TABLE timeline (run_id INTEGER"
                " NOT NULL REFERENCES runs (id) ON DELETE CASCADE, at_ns INTEGER NOT NULL, series"
                " TEXT NOT NULL, value REAL);" RUN(1, "g", 1, "d", "2026-01-01", 5));
    check_merge("b.db", MERGE_LATER, 1, 0, 0);
    check_answer("out.db", ALL_ROWS, "1 2 1 1 1 1 1 1");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("merge");
    TCase *t = tcase_create("all");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, test_every_row_once);
    tcase_add_test(t, test_older_file);
    tcase_add_loop_test(t, test_later_stands, 0, 2);
    tcase_add_test(t, test_new_stands);
    tcase_add_test(t, test_quality_of_no_run);
    tcase_add_loop_test(t, test_mixed_schemas, 0, (int)ARRAY_LEN(refused));
    tcase_add_test(t, test_no_file);
    tcase_add_test(t, test_all_or_nothing);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
