/* report_plot.c: the pictures of a report: data files, and gnuplot over scripts/plot.
 *
 * A data file holds one block a curve (two empty lines between), each headed by its name in quotes,
 * as gnuplot's `index` and `columnheader` read it. DIR/data/settings.gp says how many there are.
 * Repeated seeds of a configuration are drawn once (the first), and averaged in the summary. */
#include "experiments/report.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/db.h"
#include "experiments/report_file.h"
#include "experiments/report_runs.h"

enum { MAX_CURVES = 12, MAX_PANELS = 6, MAX_TENANTS = 8, PATH_BYTES = 4096 };

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

/* A block a run: DIR/data/<name>.dat. A figure is drawn when its file has a block. */
static const struct curves {
    const char *name, *figure; /* figure NULL: the one before draws this file too */
    const char *sql, *key;
} curves[] = {
    {"ttft", "ttft_cdf", distribution, "ttft_ms"}, {"tpot", "tpot_cdf", distribution, "tpot_ms"},
    {"e2e", "e2e_cdf", distribution, "e2el_ms"},   {"waiting", "queue", series, "waiting"},
    {"running", NULL, series, "running"},          {"kv", "kv", series, "kv_utilisation"},
};

struct plots {
    sqlite3 *db;
    struct report_runs runs; /* the first of each configuration */
    bool several_seeds;
    char data[PATH_BYTES]; /* DIR/data */
    const char *dir;
    FILE *settings;
    const char *figure[ARRAY_LEN(curves) + 2]; /* to draw */
    size_t n_figures;
};

/* ---- data ---- */

/* For gnuplot, in single quotes: what could end or break the line goes. */
static void put_quoted(FILE *f, const char *s, char quote)
{
    fputc(quote, f);
    for (; *s; s++)
        fputc(*s == '\'' || *s == '"' || (unsigned char)*s < ' ' ? ' ' : *s, f);
    fputc(quote, f);
}

static bool several_traces(const struct report_runs *runs)
{
    for (size_t i = 1; i < runs->n; i++)
        if (strcmp(runs->run[i].trace, runs->run[0].trace) != 0)
            return true;
    return false;
}

/* "fcfs", and what tells this run from the others. */
static void name_run(const struct plots *p, size_t i, char name[160])
{
    const struct report_run *run = &p->runs.run[i];

    if (p->runs.n == 1)
        snprintf(name, 160, "%.100s", run->label);
    else if (several_traces(&p->runs))
        snprintf(name, 160, "%lld: %.60s, %.40s", (long long)run->id, run->label, run->trace);
    else
        snprintf(name, 160, "%lld: %.100s", (long long)run->id, run->label);
}

/* Writes the rows (x, y) of a prepared query as a block; no rows, no block. */
static bool put_block(FILE *f, sqlite3_stmt *stmt, const char *name, size_t *blocks, struct err *e)
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
            put_quoted(f, name, '"');
            fputc('\n', f);
            first = false;
        }
        fprintf(f, "%.9g %.9g\n", sqlite3_column_double(stmt, 0), sqlite3_column_double(stmt, 1));
    }
    sqlite3_reset(stmt);
    return false;
}

static bool bind_run_and_text(sqlite3_stmt *stmt, int64_t run_id, const char *text, struct err *e)
{
    return (sqlite3_bind_int64(stmt, 1, run_id) == SQLITE_OK &&
            sqlite3_bind_text(stmt, 2, text, -1, SQLITE_STATIC) == SQLITE_OK) ||
           db_error(sqlite3_db_handle(stmt), e);
}

static bool put_curves(struct plots *p, const struct curves *c, struct err *e)
{
    struct report_file file;
    char name[160];
    size_t blocks = 0;
    sqlite3_stmt *stmt;
    bool ok;

    snprintf(name, sizeof(name), "%s.dat", c->name);
    if (!report_file_open(&file, p->data, name, e))
        return false;
    stmt = db_prepare(p->db, c->sql, e);
    ok = stmt;
    for (size_t i = 0; ok && i < MIN(p->runs.n, (size_t)MAX_CURVES); i++) {
        name_run(p, i, name);
        ok = bind_run_and_text(stmt, p->runs.run[i].id, c->key, e) &&
             put_block(file.f, stmt, name, &blocks, e);
    }
    sqlite3_finalize(stmt);
    fprintf(p->settings, "n_%s = %zu\n", c->name, blocks);
    if (c->figure && blocks)
        p->figure[p->n_figures++] = c->figure;
    return report_file_close(&file, e) && ok;
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
    char name[160];
    bool ok, row = false;

    *n_tenants = 0;
    snprintf(name, sizeof(name), "service_%zu.dat", panel + 1);
    if (!report_file_open(&file, p->data, name, e))
        return false;
    while ((ok = db_step(tenants, &row, e)) && row) {
        const char *tenant = (const char *)sqlite3_column_text(tenants, 0);

        if (!bind_run_and_text(points, p->runs.run[panel].id, tenant, e) ||
            !put_block(file.f, points, tenant, n_tenants, e)) {
            ok = false;
            break;
        }
    }
    sqlite3_reset(tenants);
    name_run(p, panel, name);
    fprintf(p->settings, "service_title_%zu = ", panel + 1);
    put_quoted(p->settings, name, '\'');
    fputc('\n', p->settings);
    return report_file_close(&file, e) && ok;
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
        p->figure[p->n_figures++] = "service";
    }
    sqlite3_finalize(tenants);
    sqlite3_finalize(points);
    return ok;
}

/* ---- summary: bars over configurations ---- */

static const char over_seeds[] =
    "SELECT avg(s.value), min(s.value), max(s.value) FROM runs AS a JOIN runs AS b ON"
    " b.config_hash = a.config_hash AND b.experiment IS a.experiment"
    " JOIN summary AS s ON s.run_id = b.id WHERE a.id = ?1 AND s.metric = ?2";

/* "name" and mean, low, high of attainment (percent) and of goodput, a line a configuration. */
static bool put_bars(struct plots *p, struct err *e)
{
    static const struct {
        const char *metric;
        double scale;
    } bar[] = {{"slo_attainment", 100}, {"goodput_rps", 1}};
    sqlite3_stmt *stmt = db_prepare(p->db, over_seeds, e);
    struct report_file file;
    bool ok, row = false;

    if (!stmt || !report_file_open(&file, p->data, "summary.dat", e)) {
        sqlite3_finalize(stmt);
        return false;
    }
    ok = true;
    for (size_t i = 0; ok && i < MIN(p->runs.n, (size_t)MAX_CURVES); i++) {
        char name[160];

        name_run(p, i, name);
        put_quoted(file.f, name, '"');
        for (size_t k = 0; ok && k < ARRAY_LEN(bar); k++) {
            ok = bind_run_and_text(stmt, p->runs.run[i].id, bar[k].metric, e) &&
                 db_step(stmt, &row, e);
            for (int c = 0; ok && c < 3; c++)
                fprintf(file.f, " %.9g", bar[k].scale * sqlite3_column_double(stmt, c));
            sqlite3_reset(stmt);
        }
        fputc('\n', file.f);
    }
    sqlite3_finalize(stmt);
    p->figure[p->n_figures++] = "summary";
    return report_file_close(&file, e) && ok;
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
    ok = ok && put_service(p, e) && (p->runs.n == 1 || put_bars(p, e));
    return report_file_close(&settings, e) && ok;
}

/* ---- drawing ---- */

/* Does DIR/SUB hold our scripts? */
static bool holds_scripts(const char *dir, const char *sub, char found[PATH_BYTES])
{
    char probe[PATH_BYTES + 16];

    if ((size_t)snprintf(found, PATH_BYTES, "%s/%s", dir, sub) >= PATH_BYTES)
        return false;
    snprintf(probe, sizeof(probe), "%s/render.gp", found);
    return access(probe, R_OK) == 0;
}

/* Beside the program or in a folder above it: a build folder in the checkout, or an installation;
 * last in the working directory. */
static bool find_scripts(char found[PATH_BYTES], struct err *e)
{
    char dir[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);

    dir[n > 0 ? n : 0] = '\0';
    for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/')) {
        *slash = '\0';
        if (holds_scripts(dir, "scripts/plot", found) ||
            holds_scripts(dir, "share/tandem/plot", found))
            return true;
    }
    return holds_scripts(".", "scripts/plot", found) ||
           err_set(e, "scripts/plot: not found beside the program nor here; run tandem from its "
                      "checkout");
}

enum drawn { DRAWN, NO_GNUPLOT, NOT_DRAWN };

static enum drawn run_gnuplot(const struct plots *p, const char *scripts, const char *figure,
                              struct err *e)
{
    char render[PATH_BYTES + 16];
    /* posix_spawn's type is not const, but it changes nothing (POSIX, rationale of exec). */
    const char *const argv[] = {"gnuplot", "-c", render, scripts, p->data, p->dir, figure, NULL};
    char *args[ARRAY_LEN(argv)];
    pid_t pid;
    int status = 0, failed;

    snprintf(render, sizeof(render), "%s/render.gp", scripts);
    memcpy(args, argv, sizeof(args));
    failed = posix_spawnp(&pid, args[0], NULL, NULL, args, environ);
    if (failed == ENOENT)
        return NO_GNUPLOT;
    if (!failed)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    if (!failed && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return DRAWN;
    err_set(e, "gnuplot: %s; run it by hand: gnuplot -c %s %s %s %s %s",
            failed ? strerror(failed) : "failed, see above", render, scripts, p->data, p->dir,
            figure);
    return NOT_DRAWN;
}

static bool draw(const struct plots *p, FILE *out, struct err *e)
{
    char scripts[PATH_BYTES];

    if (!find_scripts(scripts, e))
        return false;
    for (size_t i = 0; i < p->n_figures; i++) {
        enum drawn drawn = run_gnuplot(p, scripts, p->figure[i], e);

        if (drawn == NOT_DRAWN)
            return false;
        if (drawn == NO_GNUPLOT) {
            fprintf(out,
                    "No pictures: gnuplot is not installed; apt-get install gnuplot-nox, then "
                    "again. Their data is in %s.\n",
                    p->data);
            return true;
        }
        fprintf(out, "%s %s/%s.png", i ? "        " : "Pictures", p->dir, p->figure[i]);
        fputs(" (and .svg)\n", out);
    }
    return true;
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
    if (!report_make_dir(p->data, e) || !put_data(p, e) || !draw(p, out, e))
        return false;
    if (p->runs.n > MAX_PANELS)
        fprintf(out,
                "Drawn: the first %zu of %zu configurations (service: %d); choose others with "
                "--experiment.\n",
                MIN(p->runs.n, (size_t)MAX_CURVES), p->runs.n, MAX_PANELS);
    return true;
}

bool report_plots(sqlite3 *db, const char *experiment, const char *dir, FILE *out, struct err *e)
{
    struct plots *p = mem_alloc(sizeof(*p));
    bool ok;

    p->db = db;
    p->dir = dir;
    ok = plots(p, experiment, out, e);
    report_runs_release(&p->runs);
    mem_free(p);
    return ok;
}
