/* check_figures.c: see check_figures.h. */
#include "experiments/check_figures.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"

/* What a gate compares unless its baseline says otherwise: attainment, goodput, latency, fairness.
 * A loss of a point of attainment, or of a tenth of the goodput, is what a pass has to rule out;
 * percentiles and fairness differ too much between seeds to ask that of them. */
static const struct check_metric defaults[] = {
    {"slo_attainment", true, false, 0, 0.01},
    {"slo_attainment_ttft", true, false, 0, (double)NAN},
    {"slo_attainment_tpot", true, false, 0, (double)NAN},
    {"goodput_rps", true, true, 0, 0.1},
    {"ttft_ms_mean", false, true, 0, (double)NAN},
    {"ttft_ms_p50", false, true, 0, (double)NAN},
    {"ttft_ms_p90", false, true, 0, (double)NAN},
    {"ttft_ms_p95", false, true, 0, (double)NAN},
    {"ttft_ms_p99", false, true, 0, (double)NAN},
    {"tpot_ms_mean", false, true, 0, (double)NAN},
    {"tpot_ms_p50", false, true, 0, (double)NAN},
    {"tpot_ms_p90", false, true, 0, (double)NAN},
    {"tpot_ms_p95", false, true, 0, (double)NAN},
    {"tpot_ms_p99", false, true, 0, (double)NAN},
    {"service_diff_max", false, true, 0, (double)NAN},
    {"service_diff_all", false, true, 0, (double)NAN},
    {"jain_index", true, true, 0, (double)NAN},
};

/* ---- the form ---- */

void check_figures_init(struct check_figures *f)
{
    *f = (struct check_figures){.n_points = 0};
    arena_init(&f->memory);
}

void check_figures_release(struct check_figures *f)
{
    mem_free(f->seed);
    mem_free(f->metric);
    mem_free(f->point);
    arena_release(&f->memory);
}

const double *check_figures_of(const struct check_figures *f, const struct check_point *p,
                               size_t metric)
{
    return p->value + metric * f->n_seeds;
}

const struct check_point *check_figures_find(const struct check_figures *f, const char *config_hash)
{
    for (size_t i = 0; i < f->n_points; i++)
        if (strcmp(f->point[i].config_hash, config_hash) == 0)
            return &f->point[i];
    return NULL;
}

struct check_point *check_figures_add(struct check_figures *f, const char *label,
                                      const char *config_hash)
{
    size_t n = f->n_metrics * f->n_seeds;
    f->point = mem_reserve(f->point, &f->point_cap, f->n_points + 1, sizeof *f->point);
    struct check_point *p = &f->point[f->n_points++];
    *p = (struct check_point){
        .label = arena_strdup(&f->memory, label),
        .value = arena_alloc(&f->memory, n * sizeof *p->value),
    };
    strncpy(p->config_hash, config_hash, sizeof p->config_hash - 1);
    for (size_t i = 0; i < n; i++)
        p->value[i] = (double)NAN;
    return p;
}

void check_figures_add_metric(struct check_figures *f, const struct check_metric *m)
{
    f->metric = mem_reserve(f->metric, &f->metric_cap, f->n_metrics + 1, sizeof *f->metric);
    f->metric[f->n_metrics++] = *m;
}

void check_figures_add_seed(struct check_figures *f, uint64_t seed)
{
    for (size_t i = 0; i < f->n_seeds; i++)
        if (f->seed[i] == seed)
            return;
    f->seed = mem_reserve(f->seed, &f->seed_cap, f->n_seeds + 1, sizeof *f->seed);
    f->seed[f->n_seeds++] = seed;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void check_figures_sort_seeds(struct check_figures *f)
{
    if (f->n_seeds > 0)
        qsort(f->seed, f->n_seeds, sizeof *f->seed, by_value);
}

bool check_figures_seed(const struct check_figures *f, uint64_t seed, size_t *i)
{
    const uint64_t *at =
        f->n_seeds ? bsearch(&seed, f->seed, f->n_seeds, sizeof *f->seed, by_value) : NULL;
    *i = at ? (size_t)(at - f->seed) : 0;
    return at != NULL;
}

/* ---- from a database ---- */

struct reading {
    struct check_figures *f;
    sqlite3 *db;
    const char *path;
    const struct check_figures *points; /* only these [NULL] */
    struct err *e;
};

static const char *text(sqlite3_stmt *stmt, int column)
{
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    return s ? s : "";
}

/* A finished database is in another mode (db.h); what a killed writer left is no result either. */
static bool is_finished(const struct reading *r)
{
    sqlite3_stmt *stmt = db_prepare(r->db, "PRAGMA journal_mode", r->e);
    bool row = false, ok = stmt && db_step(stmt, &row, r->e);
    if (ok && row && strcmp(text(stmt, 0), "wal") == 0)
        ok = err_set(r->e,
                     "%s: is being written, or its writer was killed; wait until that has "
                     "finished, or run it again",
                     r->path);
    sqlite3_finalize(stmt);
    return ok;
}

/* The first point's seeds are everybody's. */
static bool read_seeds(const struct reading *r, const char *config_hash)
{
    bool row = false, ok;
    sqlite3_stmt *stmt =
        db_prepare(r->db, "SELECT DISTINCT seed FROM runs WHERE config_hash = ?", r->e);
    if (!stmt)
        return false;
    sqlite3_bind_text(stmt, 1, config_hash, -1, SQLITE_STATIC);
    while ((ok = db_step(stmt, &row, r->e)) && row)
        check_figures_add_seed(r->f, (uint64_t)sqlite3_column_int64(stmt, 0));
    sqlite3_finalize(stmt);
    check_figures_sort_seeds(r->f);
    return ok;
}

static bool seeds_differ(const struct reading *r, const struct check_point *p)
{
    return err_set(r->e,
                   "%s: points \"%s\" and \"%s\" have not got the same seeds; run what is missing "
                   "(`tandem sweep` goes on where it was)",
                   r->path, r->f->point[0].label, p->label);
}

static bool add_value(const struct reading *r, const struct check_point *p, sqlite3_stmt *stmt)
{
    const struct check_figures *f = r->f;
    size_t seed, m = 0;
    if (!check_figures_seed(f, (uint64_t)sqlite3_column_int64(stmt, 0), &seed))
        return seeds_differ(r, p);
    while (m < f->n_metrics && strcmp(f->metric[m].name, text(stmt, 1)) != 0)
        m++;
    if (m == f->n_metrics || sqlite3_column_type(stmt, 2) == SQLITE_NULL)
        return true;
    double value = sqlite3_column_double(stmt, 2);
    p->value[m * f->n_seeds + seed] = value;
    return isfinite(value) ||
           err_set(r->e, "%s: point \"%s\", seed %" PRIu64 ": %s is not finite; run it again",
                   r->path, p->label, f->seed[seed], f->metric[m].name);
}

static bool read_values(const struct reading *r, const struct check_point *p, int64_t n_seeds)
{
    bool row = false, ok;
    if ((size_t)n_seeds != r->f->n_seeds)
        return seeds_differ(r, p);
    sqlite3_stmt *stmt = db_prepare(r->db,
                                    "SELECT r.seed, s.metric, avg(s.value) FROM runs AS r"
                                    " LEFT JOIN summary AS s ON s.run_id = r.id"
                                    " WHERE r.config_hash = ? GROUP BY r.seed, s.metric",
                                    r->e);
    if (!stmt)
        return false;
    sqlite3_bind_text(stmt, 1, p->config_hash, -1, SQLITE_STATIC);
    while ((ok = db_step(stmt, &row, r->e)) && row && (ok = add_value(r, p, stmt)))
        continue;
    sqlite3_finalize(stmt);
    return ok;
}

/* Columns: see points_sql. */
static bool add_point(const struct reading *r, sqlite3_stmt *stmt)
{
    const char *hash = text(stmt, 0), *label = text(stmt, 1);
    if (r->points && !check_figures_find(r->points, hash)) {
        r->f->left_out++;
        return true;
    }
    if (sqlite3_column_int(stmt, 3))
        return err_set(r->e,
                       "%s: point \"%s\" was run with default limits (slo_source=default), which "
                       "nobody asked for; set `slo` in its configuration",
                       r->path, label);
    if (r->f->n_points == 0 && !read_seeds(r, hash))
        return false;
    struct check_point *p = check_figures_add(r->f, label, hash);
    p->measured = sqlite3_column_int(stmt, 2);
    return read_values(r, p, sqlite3_column_int64(stmt, 4));
}

/* In an order of their own, as runs are stored in the order in which they finish. */
static const char points_sql[] =
    "SELECT config_hash, coalesce(point, scheduler || '/' || router || '/' || kv_policy),"
    " max(backend IN ('cpu', 'cuda') OR clock = 'paced'), max(slo_source IS NOT 'config'),"
    " count(DISTINCT seed) FROM runs GROUP BY config_hash ORDER BY 2, 1";

static bool read_points(const struct reading *r)
{
    bool row = false, ok;
    sqlite3_stmt *stmt = db_prepare(r->db, points_sql, r->e);
    if (!stmt)
        return false;
    while ((ok = db_step(stmt, &row, r->e)) && row && (ok = add_point(r, stmt)))
        continue;
    sqlite3_finalize(stmt);
    return ok;
}

static bool has_values(const struct check_figures *f, size_t metric)
{
    for (size_t p = 0; p < f->n_points; p++)
        for (size_t i = 0; i < f->n_seeds; i++)
            if (!isnan(f->point[p].value[metric * f->n_seeds + i]))
                return true;
    return false;
}

/* Metrics that no run has say nothing. */
static void drop_empty_metrics(struct check_figures *f)
{
    size_t kept = 0;
    for (size_t m = 0; m < f->n_metrics; m++) {
        if (!has_values(f, m))
            continue;
        for (size_t p = 0; p < f->n_points; p++)
            memmove(f->point[p].value + kept * f->n_seeds, f->point[p].value + m * f->n_seeds,
                    f->n_seeds * sizeof *f->point[p].value);
        f->metric[kept++] = f->metric[m];
    }
    f->n_metrics = kept;
}

bool check_figures_read(struct check_figures *f, sqlite3 *db, const char *path,
                        const struct check_figures *metrics, const struct check_figures *points,
                        struct err *e)
{
    const struct reading r = {f, db, path, points, e};
    const struct check_metric *metric = metrics ? metrics->metric : defaults;
    size_t n = metrics ? metrics->n_metrics : ARRAY_LEN(defaults);
    for (size_t i = 0; i < n; i++)
        check_figures_add_metric(f, &metric[i]);
    /* One transaction: one state of the database, whoever else comes. */
    if (!is_finished(&r) || !db_exec(db, "BEGIN", e) || !read_points(&r) ||
        !db_exec(db, "COMMIT", e))
        return false;
    if (!metrics)
        drop_empty_metrics(f);
    return points || f->n_points > 0 ||
           err_set(e, "%s: the database holds no runs; make some with `tandem sweep`", path);
}
