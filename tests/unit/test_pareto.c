/* The view `pareto`: who is on a front, against a search over all pairs; what is compared with
 * what; and its figures. */
#include <check.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "experiments/db.h"
#include "sim/rng.h"

static char path[64];
static sqlite3 *db;

static void set_up(void)
{
    struct err e = {0};
    snprintf(path, sizeof path, "/tmp/test_pareto_XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    db = db_open_write(path, 100, &e);
    ck_assert_msg(db != NULL, "%s", e.text);
}

static void tear_down(void)
{
    struct err e = {0};
    ck_assert_msg(db_close_write(db, &e), "%s", e.text);
    unlink(path);
}

/* ---- making runs ---- */

struct figures {
    double goodput, ttft, jain; /* NaN: not measured */
    int replicas, tp;
};

static void sql(char *text)
{
    struct err e = {0};
    ck_assert_msg(db_exec(db, text, &e), "%s: %s", text, e.text);
    sqlite3_free(text);
}

static void put_metric(const char *name, double value)
{
    if (isnan(value))
        sql(sqlite3_mprintf("INSERT INTO summary SELECT max(id), %Q, NULL FROM runs", name));
    else
        sql(sqlite3_mprintf("INSERT INTO summary SELECT max(id), %Q, %!.17g FROM runs", name,
                            value));
}

/* A run of configuration `config` of an experiment. */
static void put_run(const char *experiment, int config, int seed, int rep, const char *trace,
                    const struct figures *f)
{
    sql(sqlite3_mprintf(
        "INSERT INTO runs (experiment, point, config, config_hash, seed, rep, replicas)"
        " VALUES (%Q, 'point %d', json_object('trace', %Q, 'trace.rate_scale', 1.5,"
        " 'max_num_seqs', %d, 'tensor_parallel_size', %d), '%d', %d, %d, %d)",
        experiment, config, trace, config, f->tp, config, seed, rep, f->replicas));
    put_metric("goodput_rps", f->goodput);
    put_metric("ttft_ms_p99", f->ttft);
    put_metric("jain_index", f->jain);
}

/* ---- asking ---- */

static void check_answer(const char *text, const char *expected)
{
    struct err e = {0};
    sqlite3_stmt *stmt = db_prepare(db, text, &e);
    ck_assert_msg(stmt && sqlite3_step(stmt) == SQLITE_ROW, "%s: %s", text, sqlite3_errmsg(db));
    ck_assert_str_eq((const char *)sqlite3_column_text(stmt, 0), expected);
    sqlite3_finalize(stmt);
}

/* ---- the front, by looking at every pair ---- */

enum { N = 60, N_FIGURES = 4 };

/* The larger the better. */
static void values_of(const struct figures *f, double v[N_FIGURES])
{
    v[0] = f->goodput;
    v[1] = isnan(f->ttft) ? -HUGE_VAL : -f->ttft;
    v[2] = isnan(f->jain) ? 0 : f->jain;
    v[3] = f->goodput > 0 ? -f->replicas * f->tp / f->goodput : -HUGE_VAL;
}

/* In the figures of which `mask` has the bit. */
static bool beats(const struct figures *a, const struct figures *b, unsigned mask)
{
    double x[N_FIGURES], y[N_FIGURES];
    bool better = false;
    values_of(a, x);
    values_of(b, y);
    for (unsigned i = 0; i < N_FIGURES; i++) {
        if (!(mask >> i & 1))
            continue;
        if (x[i] < y[i])
            return false;
        better |= x[i] > y[i];
    }
    return better;
}

static bool on_front(const struct figures f[N], int i, unsigned mask)
{
    for (int j = 0; j < N; j++)
        if (beats(&f[j], &f[i], mask))
            return false;
    return true;
}

/* Few different values, so that ties are many. */
static void draw(struct rng *r, struct figures *f)
{
    f->goodput = (double)rng_below(r, 6);
    f->ttft = rng_below(r, 8) == 0 ? (double)NAN : (double)(100 + rng_below(r, 6));
    f->jain = rng_below(r, 8) == 0 ? (double)NAN : (double)rng_below(r, 5) / 4;
    f->replicas = 1 + (int)rng_below(r, 3);
    f->tp = 1 << rng_below(r, 2);
}

START_TEST(fronts_are_those_of_a_search)
{
    static const unsigned masks[] = {0xf, 0x3, 0x5, 0x9};
    struct figures f[N];
    struct rng r;
    sqlite3_stmt *stmt;
    struct err e = {0};
    int rows = 0, members = 0;
    rng_init(&r, (uint64_t)_i, "pareto");
    for (int i = 0; i < N; i++) {
        draw(&r, &f[i]);
        put_run("x", i, 1, 0, "t.csv", &f[i]);
    }
    stmt = db_prepare(db,
                      "SELECT config_hash, on_front, front_latency, front_fairness, front_cost"
                      " FROM pareto",
                      &e);
    ck_assert_msg(stmt != NULL, "%s", e.text);
    for (; sqlite3_step(stmt) == SQLITE_ROW; rows++) {
        int i = sqlite3_column_int(stmt, 0);
        for (int k = 0; k < 4; k++)
            ck_assert_msg(sqlite3_column_int(stmt, k + 1) == on_front(f, i, masks[k]),
                          "configuration %d, front %d", i, k);
        members += sqlite3_column_int(stmt, 1);
    }
    sqlite3_finalize(stmt);
    ck_assert_int_eq(rows, N);
    ck_assert(members > 0 && members < N);
}
END_TEST

/* ---- figures, and what is compared ---- */

START_TEST(figures_are_means_over_seeds)
{
    /* Of seed 1 two repetitions, which count as one. */
    put_run("x", 1, 1, 0, "t.csv", &(struct figures){4, 100, 1, 2, 4});
    put_run("x", 1, 1, 1, "t.csv", &(struct figures){8, 300, 1, 2, 4});
    put_run("x", 1, 2, 0, "t.csv", &(struct figures){2, 400, 0.5, 2, 4});
    check_answer("SELECT count(*) || ' ' || point || ' ' || n_seeds || ' ' || gpus || ' ' ||"
                 " goodput_rps || ' ' || ttft_ms_p99 || ' ' || jain_index FROM pareto",
                 "1 point 1 2 8 4.0 300.0 0.75");
    /* 8 GPUs serve 4 good requests a second: 1,000 take 250 s, 8 x 250 / 3600 GPU-hours. */
    check_answer("SELECT printf('%.6f', gpu_hours) FROM pareto", "0.555556");
}
END_TEST

START_TEST(only_like_is_compared_with_like)
{
    const struct figures good = {9, 1, 1, 1, 1}, bad = {1, 9, 0.5, 2, 1};
    put_run("x", 1, 1, 0, "t.csv", &good);
    put_run("x", 2, 1, 0, "other.csv", &bad); /* other work */
    put_run("y", 3, 1, 0, "t.csv", &bad);     /* another experiment */
    put_run(NULL, 4, 1, 0, "t.csv", &bad);    /* of none */
    check_answer("SELECT group_concat(on_front, '') FROM pareto", "1111");
    put_run("x", 5, 1, 0, "t.csv", &bad);
    check_answer("SELECT group_concat(config_hash || on_front) FROM"
                 " (SELECT * FROM pareto ORDER BY config_hash)",
                 "11,21,31,41,50");
}
END_TEST

START_TEST(a_run_that_served_nobody_has_no_cost)
{
    put_run("x", 1, 1, 0, "t.csv", &(struct figures){0, (double)NAN, (double)NAN, 1, 1});
    check_answer("SELECT coalesce(gpu_hours, 'none') || on_front || front_cost FROM pareto",
                 "none11");
    put_run("x", 2, 1, 0, "t.csv", &(struct figures){1, 500, 0.5, 8, 1});
    check_answer("SELECT sum(on_front * config_hash) || ' ' || sum(front_cost * config_hash)"
                 " FROM pareto",
                 "2 2");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pareto");
    TCase *tc = tcase_create("pareto");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, fronts_are_those_of_a_search, 0, 20);
    tcase_add_test(tc, figures_are_means_over_seeds);
    tcase_add_test(tc, only_like_is_compared_with_like);
    tcase_add_test(tc, a_run_that_served_nobody_has_no_cost);
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
