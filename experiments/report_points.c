/* report_points.c: pictures with a mark per configuration: bars; attainment and goodput over the
 * load; goodput against latency and against fairness, with the Pareto fronts of the view pareto.
 *
 * The load is a key that scales it, if configurations differ there; those that differ in nothing
 * else are one series. Marks are means over seeds. */
#include "experiments/report_plot.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/report_file.h"

enum metric { ATTAINMENT, GOODPUT, HIT_RATE, KV_USED, TTFT, JAIN, N_METRICS };

static const struct {
    const char *name;
    double scale; /* to the unit of the picture */
} metrics[N_METRICS] = {
    [ATTAINMENT] = {"slo_attainment", 100},
    [GOODPUT] = {"goodput_rps", 1},
    [HIT_RATE] = {"cache_hit_rate", 100},
    [KV_USED] = {"kv_utilisation_mean", 100},
    [TTFT] = {"ttft_ms_p99", 1},
    [JAIN] = {"jain_index", 1},
};

static const struct {
    const char *key, *what;
} load_keys[] = {{"trace.rate_scale", "arrival rate, relative to that of the trace"},
                 {"concurrency", "requests in flight (closed loop)"}};

struct value { /* over seeds; NaN: nothing was measured */
    double mean, low, high;
};

struct point {
    const struct report_run *run;
    char series[160];
    size_t nth; /* series */
    double load;
    struct value of[N_METRICS];
    bool on_front_latency, on_front_fairness; /* as the view pareto has it */
};

struct points {
    struct plots *plots;
    struct point *point;
    size_t n, n_series;
};

/* ---- reading ---- */

static const char over_seeds[] =
    "SELECT avg(s.value), min(s.value), max(s.value) FROM runs AS a JOIN runs AS b ON"
    " b.config_hash = a.config_hash AND b.experiment IS a.experiment"
    " JOIN summary AS s ON s.run_id = b.id WHERE a.id = ?1 AND s.metric = ?2";

static double real(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL ? (double)NAN
                                                            : sqlite3_column_double(stmt, column);
}

static bool read_values(struct points *p, struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(p->plots->db, over_seeds, e);
    bool ok = stmt, row = false;

    for (size_t i = 0; ok && i < p->n * N_METRICS; i++) {
        struct point *point = &p->point[i / N_METRICS];
        size_t m = i % N_METRICS;

        ok = plot_bind(stmt, point->run->id, metrics[m].name, e) && db_step(stmt, &row, e);
        if (ok)
            point->of[m] =
                (struct value){metrics[m].scale * real(stmt, 0), metrics[m].scale * real(stmt, 1),
                               metrics[m].scale * real(stmt, 2)};
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* Do configurations differ in this key? */
static bool read_load(struct points *p, const char *key, bool *varies, struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(p->plots->db,
                                    "SELECT v.value FROM runs, json_each(iif(json_valid(config),"
                                    " config, '{}')) AS v WHERE runs.id = ?1 AND v.key = ?2",
                                    e);
    bool ok = stmt, row = false;

    *varies = false;
    for (size_t i = 0; ok && i < p->n; i++) {
        ok = plot_bind(stmt, p->point[i].run->id, key, e) && db_step(stmt, &row, e);
        p->point[i].load = ok && row ? real(stmt, 0) : (double)NAN;
        *varies |= fabs(p->point[i].load - p->point[0].load) > 0;
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* The short label of a point without what it says of the key, of which that has the last word:
 * "scheduler=fcfs, rate_scale=2" is "scheduler=fcfs". Parts are separated by ", ". */
static void name_series(struct point *p, const char *key)
{
    const char *dot = strrchr(key, '.'), *word = dot ? dot + 1 : key;
    size_t length = strlen(word), used = 0;

    for (const char *part = p->run->brief; *part;) {
        const char *end = strstr(part, ", ");
        size_t n = end ? (size_t)(end - part) : strlen(part);

        if (!(strncmp(part, word, length) == 0 && part[length] == '=')) {
            snprintf(p->series + used, sizeof(p->series) - used, "%s%.*s", used ? ", " : "", (int)n,
                     part);
            used = strlen(p->series);
        }
        part = end ? end + 2 : part + n;
    }
    if (used == 0)
        snprintf(p->series, sizeof(p->series), "all");
}

static void number_series(struct points *p)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t k = 0;

        while (strcmp(p->point[k].series, p->point[i].series) != 0 ||
               strcmp(p->point[k].run->trace, p->point[i].run->trace) != 0)
            k++;
        p->point[i].nth = k < i ? p->point[k].nth : p->n_series++;
    }
}

static int by_series_and_load(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    if (x->nth != y->nth)
        return x->nth < y->nth ? -1 : 1;
    return x->load < y->load ? -1 : x->load > y->load;
}

/* ---- writing ---- */

static void put_value(FILE *f, double v)
{
    if (isnan(v))
        fputs(" NaN", f);
    else
        fprintf(f, " %.9g", v);
}

/* "name" and mean, low, high of both metrics, a line a configuration. */
static bool put_bars(const struct points *p, const char *name, enum metric first,
                     enum metric second, struct err *e)
{
    const enum metric shown[] = {first, second};
    struct report_file file;

    if (!report_file_open(&file, p->plots->data, name, e))
        return false;
    for (size_t i = 0; i < MIN(p->n, (size_t)MAX_CURVES); i++) {
        plot_put_quoted(file.f, p->point[i].run->name, '"');
        for (size_t k = 0; k < ARRAY_LEN(shown); k++) {
            const struct value *v = &p->point[i].of[shown[k]];

            put_value(file.f, v->mean);
            put_value(file.f, v->low);
            put_value(file.f, v->high);
        }
        fputc('\n', file.f);
    }
    return report_file_close(&file, true, e);
}

/* A block a series: load, then mean, low, high of attainment and goodput, then TTFT and Jain, and
 * whether it is on the fronts. */
static bool put_series(const struct points *p, struct err *e)
{
    static const enum metric ranges[] = {ATTAINMENT, GOODPUT};
    struct report_file file;

    if (!report_file_open(&file, p->plots->data, "points.dat", e))
        return false;
    for (size_t i = 0; i < p->n && p->point[i].nth < MAX_CURVES; i++) {
        const struct point *q = &p->point[i];

        if (i == 0 || q->nth != q[-1].nth) {
            fputs(i ? "\n\n" : "", file.f);
            plot_put_quoted(file.f, q->series, '"');
            fputc('\n', file.f);
        }
        put_value(file.f, q->load);
        for (size_t k = 0; k < ARRAY_LEN(ranges); k++) {
            put_value(file.f, q->of[ranges[k]].mean);
            put_value(file.f, q->of[ranges[k]].low);
            put_value(file.f, q->of[ranges[k]].high);
        }
        put_value(file.f, q->of[TTFT].mean);
        put_value(file.f, q->of[JAIN].mean);
        fprintf(file.f, " %d %d\n", q->on_front_latency, q->on_front_fairness);
    }
    return report_file_close(&file, true, e);
}

/* Is m above `least` anywhere? -HUGE_VAL: is it known? */
static bool has(const struct points *p, enum metric m, double least)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->point[i].of[m].mean > least)
            return true;
    return false;
}

static bool has_front(const struct points *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->point[i].nth < MAX_CURVES && p->point[i].on_front_latency)
            return true;
    return false;
}

static bool differs(const struct points *p, enum metric m)
{
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < i; k++)
            if (p->point[i].of[m].mean > p->point[k].of[m].mean ||
                p->point[i].of[m].mean < p->point[k].of[m].mean)
                return true;
    return false;
}

/* A database made before there was this view has no fronts. */
static bool read_fronts(struct points *p, struct err *e)
{
    sqlite3_stmt *stmt = NULL;
    bool there = false, row = false, ok = db_has(p->plots->db, "pareto", &there, e);

    if (!ok || !there)
        return ok;
    if (!db_exec(p->plots->db,
                 "CREATE TEMP TABLE front AS SELECT r.id, p.front_latency, p.front_fairness"
                 " FROM pareto AS p JOIN runs AS r ON r.config_hash = p.config_hash"
                 " AND r.experiment IS p.experiment",
                 e))
        return false;
    stmt =
        db_prepare(p->plots->db,
                   "SELECT front_latency, front_fairness FROM front WHERE id = ?1 AND ?2 <> ''", e);
    ok = stmt;
    for (size_t i = 0; ok && i < p->n; i++) {
        ok = plot_bind(stmt, p->point[i].run->id, "front", e) && db_step(stmt, &row, e);
        p->point[i].on_front_latency = ok && row && sqlite3_column_int(stmt, 0) != 0;
        p->point[i].on_front_fairness = ok && row && sqlite3_column_int(stmt, 1) != 0;
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return db_exec(p->plots->db, "DROP TABLE temp.front", e) && ok;
}

static bool put_all(struct points *p, struct err *e)
{
    FILE *settings = p->plots->settings;
    bool varies = false, ok = read_values(p, e) && read_fronts(p, e);
    size_t key = 0;

    while (ok && key < ARRAY_LEN(load_keys) &&
           (ok = read_load(p, load_keys[key].key, &varies, e)) && !varies)
        key++;
    if (!ok || !put_bars(p, "summary.dat", ATTAINMENT, GOODPUT, e) ||
        !put_bars(p, "memory.dat", HIT_RATE, KV_USED, e))
        return false;
    if (has(p, ATTAINMENT, -HUGE_VAL) && has(p, GOODPUT, -HUGE_VAL))
        plot_add(p->plots, "summary", 0);
    if (has(p, HIT_RATE, 0))
        plot_add(p->plots, "memory", 0);
    for (size_t i = 0; i < p->n; i++)
        name_series(&p->point[i], varies ? load_keys[key].key : "");
    number_series(p);
    qsort(p->point, p->n, sizeof(*p->point), by_series_and_load);
    fprintf(settings, "n_series = %zu\n", MIN(p->n_series, (size_t)MAX_CURVES));
    if (varies)
        fprintf(settings, "load = '%s'\n", load_keys[key].what);
    if (varies && p->n_series < p->n)
        plot_add(p->plots, "load", 0);
    if (p->n > 2 && has(p, GOODPUT, -HUGE_VAL) && has(p, TTFT, 0)) {
        fprintf(settings, "fairness_differs = %d\nfronts = %d\n", differs(p, JAIN), has_front(p));
        plot_add(p->plots, "pareto", 0);
    }
    return put_series(p, e);
}

bool plot_points(struct plots *plots, struct err *e)
{
    struct points p = {.plots = plots, .n = plots->runs.n};
    bool ok;

    if (p.n == 1)
        return true;
    p.point = mem_alloc(p.n * sizeof(*p.point));
    for (size_t i = 0; i < p.n; i++)
        p.point[i].run = &plots->runs.run[i];
    ok = put_all(&p, e);
    mem_free(p.point);
    return ok;
}
