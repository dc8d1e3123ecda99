/* report_page.c: the tables of report.html. */
#include "experiments/report_page.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "experiments/db.h"
#include "experiments/html.h"
#include "experiments/report_format.h"

enum { MAX_ROWS = 400 };

enum cell {
    TEXT,   /* one column of the query */
    NUMBER, /* one */
    RANGE,  /* three: mean, smallest, largest; the last two are shown where they differ */
};

struct column {
    const char *head;
    enum cell cell;
    enum format format;
    const char *metric; /* of page_results */
};

struct page_table {
    const char *id, *title;
    const char *note; /* below it; HTML */
    const struct column *column;
    size_t n;
};

static double real(sqlite3_stmt *stmt, int i)
{
    return sqlite3_column_type(stmt, i) == SQLITE_NULL ? (double)NAN
                                                       : sqlite3_column_double(stmt, i);
}

static void put_number(FILE *f, sqlite3_stmt *stmt, int i, const struct column *c)
{
    char mean[CELL_BYTES], low[CELL_BYTES], high[CELL_BYTES];
    double v = real(stmt, i);

    report_format(mean, c->format, v);
    fputs(isnan(v) ? "\xe2\x80\x93" : mean, f);
    if (c->cell == NUMBER || !(real(stmt, i + 1) < real(stmt, i + 2)))
        return;
    report_format(low, c->format, real(stmt, i + 1));
    report_format(high, c->format, real(stmt, i + 2));
    fprintf(f, " <small>%s to %s</small>", low, high);
}

static void put_row(FILE *f, sqlite3_stmt *stmt, const struct page_table *t)
{
    int at = 0;

    fputs("<tr>", f);
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->column[i];

        if (c->cell == TEXT) {
            const char *s = (const char *)sqlite3_column_text(stmt, at);

            fputs(i ? "<td class=\"text\">" : "<th scope=\"row\">", f);
            html_text(f, s ? s : "\xe2\x80\x93");
            fputs(i ? "</td>" : "</th>", f);
        } else {
            fputs("<td>", f);
            put_number(f, stmt, at, c);
            fputs("</td>", f);
        }
        at += c->cell == RANGE ? 3 : 1;
    }
    fputs("</tr>\n", f);
}

static void put_head(FILE *f, const struct page_table *t)
{
    fprintf(f, "<section id=\"%s\"><h2>%s</h2>\n<div class=\"wide\"><table><thead><tr>", t->id,
            t->title);
    for (size_t i = 0; i < t->n; i++)
        fprintf(f, "<th scope=\"col\"%s>%s</th>",
                t->column[i].cell == TEXT ? " class=\"text\"" : "", t->column[i].head);
    fputs("</tr></thead><tbody>\n", f);
}

static bool put_table(sqlite3 *db, FILE *f, const struct page_table *t, const char *sql,
                      struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, e);
    size_t rows = 0;
    bool ok = stmt, row = false;

    while (ok && (ok = db_step(stmt, &row, e)) && row && rows++ < MAX_ROWS) {
        if (rows == 1)
            put_head(f, t);
        put_row(f, stmt, t);
    }
    sqlite3_finalize(stmt);
    if (rows == 0)
        return ok;
    fputs("</tbody></table></div>\n", f);
    if (rows > MAX_ROWS)
        fprintf(f, "<p class=\"note\">The first %d rows; all are in the database.</p>\n", MAX_ROWS);
    fprintf(f, "<p class=\"note\">%s</p></section>\n", t->note);
    return ok;
}

/* ---- the tables ---- */

bool page_results(sqlite3 *db, FILE *f, struct err *e)
{
    static const struct column columns[] = {
        {"configuration", TEXT, PLAIN, NULL},
        {"seeds", NUMBER, COUNT, NULL},
        {"SLO attainment", RANGE, SHARE, "slo_attainment"},
        {"goodput (1/s)", RANGE, RATE, "goodput_rps"},
        {"TTFT p50 (ms)", RANGE, MS, "ttft_ms_p50"},
        {"TTFT p99 (ms)", RANGE, MS, "ttft_ms_p99"},
        {"TPOT p50 (ms)", RANGE, MS, "tpot_ms_p50"},
        {"TPOT p99 (ms)", RANGE, MS, "tpot_ms_p99"},
        {"E2E p50 (ms)", RANGE, MS, "e2el_ms_p50"},
        {"E2E p99 (ms)", RANGE, MS, "e2el_ms_p99"},
        {"output tokens/s", RANGE, RATE, "output_throughput_tps"},
        {"Jain index", RANGE, PLAIN, "jain_index"},
        {"prefix hits", RANGE, SHARE, "cache_hit_rate"},
        {"KV in use", RANGE, SHARE, "kv_utilisation_mean"},
        {"preemptions", RANGE, COUNT, "preemptions"},
        {"not served", RANGE, COUNT, "refused"},
    };
    static const struct page_table table = {
        "results", "Results",
        "Mean over seeds; small: smallest to largest. SLO attainment: requests that met every "
        "limit "
        "of their class; goodput: those, per second. TTFT: wait for the first token; TPOT: time "
        "per further token; E2E: arrival to last token. Jain index: of the service of tenants "
        "while all of them send (1: all the same; over the whole run where they never all do). "
        "Prefix hits: prompt tokens found in the cache. Not served: refused. "
        "\xe2\x80\x93: nothing to measure.",
        columns, ARRAY_LEN(columns)};
    char *sql;
    size_t size;
    FILE *text = open_memstream(&sql, &size);
    bool ok;

    CHECK(text, "memory for a text", "open_memstream");
    fputs("SELECT min(s.label), count(DISTINCT r.seed)", text);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        for (size_t k = 0; columns[i].metric && k < 3; k++)
            fprintf(text, ", %s(iif(m.metric = '%s', m.value, NULL))",
                    k == 0   ? "avg"
                    : k == 1 ? "min"
                             : "max",
                    columns[i].metric);
    fputs(" FROM shown AS s JOIN runs AS r ON r.id = s.run_id LEFT JOIN summary AS m ON"
          " m.run_id = s.run_id GROUP BY s.config ORDER BY s.config",
          text);
    fclose(text);
    ok = put_table(db, f, &table, sql, e);
    free(sql); /* open_memstream's */
    return ok;
}

bool page_classes(sqlite3 *db, FILE *f, struct err *e)
{
    static const struct column columns[] = {
        {"configuration", TEXT, PLAIN, NULL},    {"class", TEXT, PLAIN, NULL},
        {"requests", NUMBER, COUNT, NULL},       {"in time", NUMBER, COUNT, NULL},
        {"SLO attainment", NUMBER, SHARE, NULL},
    };
    static const struct page_table table = {
        "classes", "SLO attainment by class",
        "Over the stored requests of all seeds, those that arrived after the warm-up. Refused and "
        "unfinished ones miss. The limits of each class are under Provenance.",
        columns, ARRAY_LEN(columns)};

    return put_table(db, f, &table,
                     "SELECT min(s.label), coalesce(l.slo_class, '(no class)'), sum(l.n),"
                     " sum(l.met), 1.0 * sum(l.met) / sum(l.n) FROM slo AS l JOIN shown AS s"
                     " USING (run_id) GROUP BY s.config, l.slo_class ORDER BY s.config, 2",
                     e);
}

bool page_tenants(sqlite3 *db, FILE *f, struct err *e)
{
    static const struct column columns[] = {
        {"configuration", TEXT, PLAIN, NULL},     {"tenant", TEXT, PLAIN, NULL},
        {"requests", RANGE, COUNT, NULL},         {"service", RANGE, COUNT, NULL},
        {"share of service", RANGE, SHARE, NULL}, {"TTFT mean (ms)", RANGE, MS, NULL},
        {"TTFT p99 (ms)", RANGE, MS, NULL},       {"E2E p50 (ms)", RANGE, MS, NULL},
        {"E2E p99 (ms)", RANGE, MS, NULL},        {"SLO attainment", RANGE, SHARE, NULL},
    };
    static const struct page_table table = {
        "tenants", "Tenants",
        "Of each configuration, the eight tenants with the most service (weighted prompt tokens "
        "plus weighted output tokens). Mean over seeds; small: smallest to largest.",
        columns, ARRAY_LEN(columns)};

#define OVER_SEEDS(column) "avg(t." column "), min(t." column "), max(t." column ")"
    return put_table(
        db, f, &table,
        "SELECT * FROM (SELECT min(s.label), t.tenant, " OVER_SEEDS("requests") "," OVER_SEEDS(
            "ser"
            "vic"
            "e") "," OVER_SEEDS("share") "," OVER_SEEDS("ttft_ms_mean") "," OVER_SEEDS("ttft_ms_"
                                                                                       "p99") "," OVER_SEEDS("e2el_ms_p50") "," OVER_SEEDS("e2el_ms_p99") "," OVER_SEEDS("slo_attainment") ", row_number() OVER (PARTITION BY s.config ORDER BY avg(t.service) DESC, t.tenant) AS nth,"
                                                                                                                                                                                           " s.config FROM shown AS s JOIN tenants AS t USING (run_id) GROUP BY s.config, t.tenant)"
                                                                                                                                                                                           " WHERE nth <= 8 ORDER BY config, nth",
        e);
#undef OVER_SEEDS
}

bool page_quality(sqlite3 *db, FILE *f, struct err *e)
{
    static const struct column columns[] = {
        {"KV policy", TEXT, PLAIN, NULL},  {"model", TEXT, PLAIN, NULL},
        {"parameters", TEXT, PLAIN, NULL}, {"task", TEXT, PLAIN, NULL},
        {"protocol", TEXT, PLAIN, NULL},   {"context (tokens)", NUMBER, COUNT, NULL},
        {"metric", TEXT, PLAIN, NULL},     {"value", RANGE, PLAIN, NULL},
        {"samples", NUMBER, COUNT, NULL},
    };
    static const struct page_table table = {"quality", "Quality of lossy KV policies",
                                            "Against full attention on the same tokens "
                                            "(<code>tandem quality</code>); small: confidence "
                                            "interval.",
                                            columns, ARRAY_LEN(columns)};

    return put_table(db, f, &table,
                     "SELECT kv_policy, model, params, task, protocol, length, metric, value, low,"
                     " high, n FROM quality WHERE layer IS NULL AND head IS NULL AND (run_id IS"
                     " NULL OR run_id IN (SELECT run_id FROM shown)) ORDER BY rowid",
                     e);
}

bool page_runs(sqlite3 *db, FILE *f, struct err *e)
{
    static const struct column columns[] = {
        {"run", TEXT, PLAIN, NULL},     {"configuration", TEXT, PLAIN, NULL},
        {"seed", TEXT, PLAIN, NULL},    {"rep.", TEXT, PLAIN, NULL},
        {"trace", TEXT, PLAIN, NULL},   {"digest of all decisions", TEXT, PLAIN, NULL},
        {"program", TEXT, PLAIN, NULL}, {"compiler", TEXT, PLAIN, NULL},
        {"host", TEXT, PLAIN, NULL},    {"GPU driver", TEXT, PLAIN, NULL},
        {"started", TEXT, PLAIN, NULL}, {"took (s)", NUMBER, RATE, NULL},
    };
    static const struct page_table table = {
        "runs", "Runs",
        "The same configuration and seed give the same digest. Program: git revision; + : with "
        "changes that were not committed.",
        columns, ARRAY_LEN(columns)};

    return put_table(db, f, &table,
                     "SELECT r.id, s.label, r.seed, r.rep, r.trace, r.digest,"
                     " substr(r.git_revision, 1, 12) || iif(r.dirty, ' +', ''), r.compiler, r.host,"
                     " r.driver, r.started_at, r.wall_s FROM shown AS s JOIN runs AS r"
                     " ON r.id = s.run_id ORDER BY r.id",
                     e);
}
