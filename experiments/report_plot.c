/* report_plot.c: the pictures of a report: data files, and gnuplot over scripts/plot.
 *
 * A data file holds one block a curve (two empty lines between), each headed by its name in quotes,
 * as gnuplot's `index` and `columnheader` read it. DIR/data/settings.gp says how many there are.
 * Repeated seeds of a configuration are drawn once (the first), and averaged where figures of
 * configurations are shown. */
#include "experiments/report_plot.h"

#include <sqlite3.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/report_file.h"
#include "experiments/utf8.h"

enum { MAX_PANELS = 6, MAX_TENANTS = 8 };

/* Share of the values at or below x, in percent: from the lower end of the first bucket, then at
 * the upper end of every one. */
static const char distribution[] =
    "SELECT min(bucket_low), 0 AS share FROM histograms WHERE run_id = ?1 AND metric = ?2"
    " GROUP BY metric UNION ALL "
    "SELECT bucket_high, 100.0 * sum(count) OVER (ORDER BY bucket_low) / sum(count) OVER ()"
    " FROM histograms WHERE run_id = ?1 AND metric = ?2 ORDER BY share, 1";

/* A run too short for a second sample has no curve. */
static const char series[] =
    "SELECT at_ns / 1e9, value FROM timeline WHERE run_id = ?1 AND series = ?2"
    " AND (SELECT max(at_ns) FROM timeline WHERE run_id = ?1 AND series = ?2) > 0 ORDER BY at_ns";

/* Most and least served tenant; one without a sample was not served yet. Needs two tenants. */
static const char apart[] =
    "WITH s AS (SELECT * FROM timeline WHERE run_id = ?1 AND series GLOB ?2),"
    " n AS (SELECT count(DISTINCT series) AS n FROM s)"
    " SELECT at_ns / 1e9, max(value) - iif(count(*) < n, 0, min(value)) FROM s, n WHERE n > 1"
    " GROUP BY at_ns ORDER BY at_ns";

/* A block a run: DIR/data/<name>.dat. A figure is drawn when its file has a block. */
static const struct curves {
    const char *name, *figure; /* figure NULL: the one before draws this file too */
    const char *sql, *key;
} curves[] = {
    {"ttft", "ttft_cdf", distribution, "ttft_ms"}, {"tpot", "tpot_cdf", distribution, "tpot_ms"},
    {"e2e", "e2e_cdf", distribution, "e2el_ms"},   {"waiting", "queue", series, "waiting"},
    {"running", NULL, series, "running"},          {"kv", "kv", series, "kv_utilisation"},
    {"unfair", "fairness", apart, "service:*"},
};

/* ---- data ---- */

void plot_add(struct plots *p, const char *name, size_t n)
{
    struct report_pictures *pictures = p->pictures;
    char *to = pictures->name[pictures->n++];

    CHECK(pictures->n <= ARRAY_LEN(pictures->name), "report: the pictures fit", "%zu", pictures->n);
    if (n > 0)
        snprintf(to, sizeof(pictures->name[0]), "%s_%zu", name, n);
    else
        snprintf(to, sizeof(pictures->name[0]), "%s", name);
}

void plot_put_quoted(FILE *f, const char *s, char quote)
{
    enum { FITS = 40, HEAD = 10 }; /* bytes; what is longer loses its middle */
    const char *begin = s, *end = s + strlen(s);

    fputc(quote, f);
    while (s < end) {
        size_t n = utf8_char(s);

        if (s - begin >= HEAD && end - begin > FITS) {
            fputs("..", f);
            begin = s = end - (FITS - HEAD - 2);
        } else if (n == 0 || *s == '\'' || *s == '"' || (unsigned char)*s < ' ') {
            fputc(' ', f);
            s++;
        } else {
            fprintf(f, "%.*s", (int)n, s);
            s += n;
        }
    }
    fputc(quote, f);
}

bool plot_bind(sqlite3_stmt *stmt, int64_t run_id, const char *text, struct err *e)
{
    return (sqlite3_bind_int64(stmt, 1, run_id) == SQLITE_OK &&
            sqlite3_bind_text(stmt, 2, text, -1, SQLITE_STATIC) == SQLITE_OK) ||
           db_error(sqlite3_db_handle(stmt), e);
}

bool plot_put_block(FILE *f, sqlite3_stmt *stmt, const char *name, size_t *blocks, struct err *e)
{
    bool row = false, first = true;

    while (db_step(stmt, &row, e)) {
        if (!row) {
            *blocks += !first;
            sqlite3_reset(stmt);
            return true;
        }
        if (first) {
            fputs(*blocks ? "\n\n" : "", f);
            plot_put_quoted(f, name, '"');
            fputc('\n', f);
            first = false;
        }
        fprintf(f, "%.9g %.9g\n", sqlite3_column_double(stmt, 0), sqlite3_column_double(stmt, 1));
    }
    sqlite3_reset(stmt);
    return false;
}

static bool put_curves(struct plots *p, const struct curves *c, struct err *e)
{
    struct report_file file;
    char name[32];
    size_t blocks = 0;
    sqlite3_stmt *stmt;
    bool ok;

    snprintf(name, sizeof(name), "%s.dat", c->name);
    if (!report_file_open(&file, p->data, name, e))
        return false;
    stmt = db_prepare(p->db, c->sql, e);
    ok = stmt;
    for (size_t i = 0; ok && i < MIN(p->runs.n, (size_t)MAX_CURVES); i++) {
        ok = plot_bind(stmt, p->runs.run[i].id, c->key, e) &&
             plot_put_block(file.f, stmt, p->runs.run[i].name, &blocks, e);
    }
    sqlite3_finalize(stmt);
    fprintf(p->settings, "n_%s = %zu\n", c->name, blocks);
    if (c->figure && blocks)
        plot_add(p, c->figure, 0);
    return report_file_close(&file, ok, e);
}

/* ---- service: a panel a run, a curve a tenant ---- */

/* Everybody starts with nothing: every tenant has a curve in every panel. */
static const char service[] =
    "SELECT 0 AS at_s, 0 UNION ALL SELECT at_ns / 1e9, value FROM timeline"
    " WHERE run_id = ?1 AND series = 'service:' || ?2 ORDER BY at_s";

/* The tenants with the most service in the panels, by name. */
static const char top_tenants[] =
    "SELECT tenant FROM (SELECT tenant, max(service) AS most FROM tenants WHERE run_id IN"
    " (SELECT value FROM json_each(?1)) GROUP BY tenant ORDER BY most DESC, tenant LIMIT ?2)"
    " ORDER BY tenant";

static bool put_panel(struct plots *p, size_t panel, sqlite3_stmt *tenants, sqlite3_stmt *points,
                      size_t *n_tenants, struct err *e)
{
    struct report_file file;
    char name[32];
    bool ok, row = false;

    *n_tenants = 0;
    snprintf(name, sizeof(name), "service_%zu.dat", panel + 1);
    if (!report_file_open(&file, p->data, name, e))
        return false;
    while ((ok = db_step(tenants, &row, e)) && row) {
        const char *tenant = (const char *)sqlite3_column_text(tenants, 0);

        if (!plot_bind(points, p->runs.run[panel].id, tenant, e) ||
            !plot_put_block(file.f, points, tenant, n_tenants, e)) {
            ok = false;
            break;
        }
    }
    sqlite3_reset(tenants);
    fprintf(p->settings, "service_title_%zu = ", panel + 1);
    plot_put_quoted(p->settings, p->runs.run[panel].name, '\'');
    fputc('\n', p->settings);
    return report_file_close(&file, ok, e);
}

static bool put_service(struct plots *p, struct err *e)
{
    sqlite3_stmt *tenants = db_prepare(p->db, top_tenants, e);
    sqlite3_stmt *points = db_prepare(p->db, service, e);
    size_t n = MIN(p->runs.n, (size_t)MAX_PANELS), n_tenants = 0;
    char ids[MAX_PANELS * 24] = "[";
    bool ok = tenants && points, row = false;

    for (size_t i = 0; i < n; i++)
        snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%lld%s",
                 (long long)p->runs.run[i].id, i + 1 < n ? "," : "]");
    ok = ok && ((sqlite3_bind_text(tenants, 1, ids, -1, SQLITE_STATIC) == SQLITE_OK &&
                 sqlite3_bind_int(tenants, 2, MAX_TENANTS) == SQLITE_OK) ||
                db_error(p->db, e));
    ok = ok && db_step(tenants, &row, e);
    sqlite3_reset(tenants);
    if (ok && row) {
        for (size_t i = 0; ok && i < n; i++)
            ok = put_panel(p, i, tenants, points, &n_tenants, e);
        fprintf(p->settings, "n_panels = %zu\nn_tenants = %zu\n", n, n_tenants);
        plot_add(p, "service", 0);
    }
    sqlite3_finalize(tenants);
    sqlite3_finalize(points);
    return ok;
}

static bool put_data(struct plots *p, struct err *e)
{
    struct report_file settings;
    bool ok = true;

    if (!report_file_open(&settings, p->data, "settings.gp", e))
        return false;
    p->settings = settings.f;
    fprintf(p->settings, "n_runs = %zu\nseveral_seeds = %d\n", MIN(p->runs.n, (size_t)MAX_CURVES),
            p->several_seeds);
    for (size_t i = 0; ok && i < ARRAY_LEN(curves); i++)
        ok = put_curves(p, &curves[i], e);
    ok = ok && put_service(p, e) && plot_points(p, e) && plot_timelines(p, e);
    return report_file_close(&settings, ok, e);
}

static bool plots(struct plots *p, const char *experiment, FILE *out, struct err *e)
{
    size_t all;

    if ((size_t)snprintf(p->data, sizeof(p->data), "%s/data", p->dir) >= sizeof(p->data))
        return err_set(e, "--out: the path is too long; name another folder");
    if (!report_runs_load(&p->runs, p->db, experiment, ALL_RUNS, e))
        return false;
    all = p->runs.n;
    report_runs_keep_first(&p->runs);
    p->several_seeds = p->runs.n < all;
    p->pictures->runs = p->runs.n;
    p->pictures->runs_drawn = MIN(p->runs.n, (size_t)MAX_CURVES);
    if (!report_make_dir(p->data, e) || !put_data(p, e) || !plot_draw(p, out, e))
        return false;
    if (p->runs.n > MAX_PANELS)
        fprintf(out,
                "Drawn: the first %zu of %zu configurations (service: %d); choose others with "
                "--experiment.\n",
                p->pictures->runs_drawn, p->runs.n, MAX_PANELS);
    return true;
}

bool report_plots(sqlite3 *db, const char *experiment, const char *dir,
                  struct report_pictures *pictures, FILE *out, struct err *e)
{
    struct plots *p = mem_alloc(sizeof(*p));
    bool ok;

    *pictures = (struct report_pictures){.n = 0};
    p->db = db;
    p->dir = dir;
    p->pictures = pictures;
    ok = plots(p, experiment, out, e);
    report_runs_release(&p->runs);
    mem_free(p);
    return ok;
}
