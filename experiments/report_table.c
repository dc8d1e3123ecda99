/* report_table.c: the table of a report: one column a run, a few columns beside each other, then
 * where the numbers come from. Plain ASCII, so that it reads the same everywhere. */
#include "experiments/report.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/report_format.h"
#include "experiments/report_runs.h"

enum { NAME_WIDTH = 36, CELL_WIDTH = 18, GAP = 2, RUNS_ABREAST = 3 };

static const struct line {
    enum format format;
    const char *name, *metric;
    const char *mark_if; /* a star follows the value where this metric is there and not 0 */
} lines[] = {
    {HEADING, "Requests", NULL, NULL},
    {COUNT, "arrived in the window", "requests", NULL},
    {COUNT, "finished", "finished", NULL},
    {COUNT, "refused", "refused", NULL},
    {COUNT, "unfinished at the end", "unfinished", NULL},
    {COUNT, "failed in the trace, not replayed", "failed_in_trace", NULL},
    {HEADING, "TTFT: wait for the first token, ms", NULL, NULL},
    {MS, "p50", "ttft_ms_p50", NULL},
    {MS, "p90", "ttft_ms_p90", NULL},
    {MS, "p99", "ttft_ms_p99", NULL},
    {HEADING, "TPOT: time per further token, ms", NULL, NULL},
    {MS, "p50", "tpot_ms_p50", NULL},
    {MS, "p90", "tpot_ms_p90", NULL},
    {MS, "p99", "tpot_ms_p99", NULL},
    {HEADING, "E2E: arrival to last token, ms", NULL, NULL},
    {MS, "p50", "e2el_ms_p50", NULL},
    {MS, "p90", "e2el_ms_p90", NULL},
    {MS, "p99", "e2el_ms_p99", NULL},
    {HEADING, "Throughput", NULL, NULL},
    {RATE, "requests per second", "request_throughput_rps", NULL},
    {RATE, "output tokens per second", "output_throughput_tps", NULL},
    {HEADING, "Service level objectives (SLO)", NULL, NULL},
    {SHARE, "attainment: requests in time", "slo_attainment", NULL},
    {RATE, "goodput: in time, per second", "goodput_rps", NULL},
    {HEADING, "Fairness between tenants", NULL, NULL},
    {PLAIN, "Jain index (1: all the same)", "jain_index", "jain_window_all"},
    {RATE, "service difference, backlogged", "service_diff_max", "service_diff_tenants"},
    {RATE, "service difference, at the end", "service_diff_all", NULL},
    {HEADING, "Memory and batches", NULL, NULL},
    {COUNT, "preemptions", "preemptions", NULL},
    {SHARE, "prefix cache hit rate", "cache_hit_rate", NULL},
    {SHARE, "KV cache in use, mean", "kv_utilisation_mean", NULL},
    {RATE, "sequences in a batch, mean", "batch_size_mean", NULL},
};

static const char legend[] = "SLO attainment is the share of requests that met every limit of "
                             "their class; those refused or\n"
                             "unfinished miss. Service is prompt tokens plus output tokens, "
                             "weighted. - : nothing to measure.\n";

static const char star[] =
    "* Jain index over the whole run (tenants were never all active at once, or are too many);\n"
    "  service difference over the first tenants to arrive only.\n";

/* ---- values ---- */

static const char select_metric[] = "SELECT value FROM summary WHERE run_id = ? AND metric = ?";

/* false only on errors; *value is NaN where there is no such metric or it is NULL. */
static bool metric(sqlite3_stmt *stmt, int64_t run_id, const char *name, double *value,
                   struct err *e)
{
    bool ok, row = false;

    ok = (sqlite3_bind_int64(stmt, 1, run_id) == SQLITE_OK &&
          sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC) == SQLITE_OK) ||
         db_error(sqlite3_db_handle(stmt), e);
    ok = ok && db_step(stmt, &row, e);
    *value = ok && row && sqlite3_column_type(stmt, 0) != SQLITE_NULL
                 ? sqlite3_column_double(stmt, 0)
                 : (double)NAN;
    sqlite3_reset(stmt);
    return ok;
}

/* ---- the table ---- */

struct table {
    sqlite3 *db;
    sqlite3_stmt *summary; /* (run_id, metric) -> value */
    const struct report_run *run;
    size_t n; /* runs abreast */
    bool starred;
    FILE *out;
};

/* Columns on the screen: characters of UTF-8. */
static int width(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void print_row(const struct table *t, int indent, const char *name, char (*cell)[CELL_BYTES])
{
    fprintf(t->out, "%*s%-*s", indent, "", NAME_WIDTH - indent, name);
    for (size_t i = 0; i < t->n; i++)
        fprintf(t->out, "%*s%s", CELL_WIDTH + GAP - width(cell[i]), "", cell[i]);
    fputc('\n', t->out);
}

/* How much of `s` goes into one cell: up to the last separator that fits, else as much as fits;
 * never a part of a UTF-8 character. */
static size_t piece(const char *s)
{
    size_t fits = strlen(s), best;

    if (fits <= CELL_WIDTH)
        return fits;
    best = fits = CELL_WIDTH;
    while (fits > 1 && ((unsigned char)s[fits] & 0xc0) == 0x80)
        best = --fits;
    for (size_t k = fits; k > CELL_WIDTH / 3; k--)
        if (strchr("/,; ", s[k - 1]))
            return k;
    return best;
}

/* A row of texts, each broken over as many lines as it needs. */
static void print_texts(const struct table *t, const char *name, const char *const *text)
{
    const char *rest[RUNS_ABREAST];
    char cell[RUNS_ABREAST][CELL_BYTES];
    bool more = true;

    for (size_t i = 0; i < t->n; i++)
        rest[i] = text[i];
    while (more) {
        more = false;
        for (size_t i = 0; i < t->n; i++) {
            size_t n = piece(rest[i]);

            memcpy(cell[i], rest[i], n);
            cell[i][n] = '\0';
            rest[i] += n;
            more |= *rest[i] != '\0';
        }
        print_row(t, 0, name, cell);
        name = "";
    }
}

static void print_rule(const struct table *t)
{
    for (size_t i = 0; i < NAME_WIDTH + t->n * (CELL_WIDTH + GAP); i++)
        fputc('-', t->out);
    fputc('\n', t->out);
}

static void print_head(const struct table *t)
{
    const char *label[RUNS_ABREAST], *trace[RUNS_ABREAST];
    char id[RUNS_ABREAST][CELL_BYTES], seed[RUNS_ABREAST][CELL_BYTES];

    for (size_t i = 0; i < t->n; i++) {
        snprintf(id[i], sizeof(id[i]), "run %" PRId64, t->run[i].id);
        snprintf(seed[i], sizeof(seed[i]), "%" PRId64, t->run[i].seed);
        if (t->run[i].rep)
            snprintf(seed[i], sizeof(seed[i]), "%" PRId64 " (rep %" PRId64 ")", t->run[i].seed,
                     t->run[i].rep);
        label[i] = t->run[i].label;
        trace[i] = t->run[i].trace;
    }
    print_row(t, 0, "", id);
    print_texts(t, "scheduler, or point", label);
    print_texts(t, "trace", trace);
    print_row(t, 0, "seed", seed);
    print_rule(t);
}

/* A line that no run has a value for is left out, and so is a heading without lines. */
static bool print_line(struct table *t, const struct line *line, const char **heading,
                       struct err *e)
{
    char cell[RUNS_ABREAST][CELL_BYTES];
    bool any = false;

    for (size_t i = 0; i < t->n; i++) {
        double v, mark = (double)NAN;

        if (!metric(t->summary, t->run[i].id, line->metric, &v, e) ||
            (line->mark_if && !metric(t->summary, t->run[i].id, line->mark_if, &mark, e)))
            return false;
        report_format(cell[i], line->format, v);
        any |= !isnan(v);
        if (!isnan(v) && !isnan(mark) && fpclassify(mark) != FP_ZERO) {
            memcpy(cell[i] + strlen(cell[i]), " *", 3);
            t->starred = true;
        }
    }
    if (!any)
        return true;
    if (*heading)
        fprintf(t->out, "%s\n", *heading);
    *heading = NULL;
    print_row(t, 2, line->name, cell);
    return true;
}

static bool print_abreast(struct table *t, struct err *e)
{
    const char *digest[RUNS_ABREAST], *heading = NULL;

    print_head(t);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (lines[i].format == HEADING)
            heading = lines[i].name;
        else if (!print_line(t, &lines[i], &heading, e))
            return false;
    }
    for (size_t i = 0; i < t->n; i++)
        digest[i] = t->run[i].digest;
    print_texts(t, "Digest of all decisions", digest);
    print_rule(t);
    fputc('\n', t->out);
    return true;
}

/* ---- where the numbers come from ---- */

/* The limits of every SLO class in the stored configuration: "chat: ttft_ms 1000, tpot_ms 50". */
static bool print_slo(struct table *t, const struct report_run *run, struct err *e)
{
    sqlite3_stmt *stmt =
        db_prepare(t->db,
                   "SELECT c.key, json_extract(c.value, '$.class'), l.key, l.atom FROM runs,"
                   " json_each(CASE WHEN json_valid(config) THEN config ELSE '{}' END, '$.slo') c,"
                   " json_each(iif(c.type = 'object', c.value, '{}')) l WHERE runs.id = ? AND "
                   "l.key LIKE '%\\_ms' ESCAPE '\\'"
                   " ORDER BY c.key, l.id",
                   e);
    bool by_default = strcmp(run->slo_source, "default") == 0;
    int last = -1;
    bool ok, row = false;

    if (!stmt)
        return false;
    fputs("  SLO      ", t->out);
    ok = sqlite3_bind_int64(stmt, 1, run->id) == SQLITE_OK || db_error(t->db, e);
    while (ok && (ok = db_step(stmt, &row, e)) && row) {
        const char *class = (const char *)sqlite3_column_text(stmt, 1);
        int index = sqlite3_column_int(stmt, 0);

        if (index == last)
            fputs(", ", t->out);
        else
            fprintf(t->out, "%s%s: ", last < 0 ? "" : "; ", class ? class : "(no class)");
        fprintf(t->out, "%s %s", (const char *)sqlite3_column_text(stmt, 2),
                (const char *)sqlite3_column_text(stmt, 3));
        last = index;
    }
    sqlite3_finalize(stmt);
    fputs(last >= 0 ? "\n"
          : by_default
              ? "default: ttft_ms 2000, tpot_ms 100 (nobody set limits; do so with the key slo)\n"
              : "limits are not in the stored configuration\n",
          t->out);
    return ok;
}

static bool print_cost(struct table *t, const struct report_run *run, struct err *e)
{
    double error, extrapolated;

    if (!metric(t->summary, run->id, "cost_model_error", &error, e) ||
        !metric(t->summary, run->id, "extrapolated_share", &extrapolated, e))
        return false;
    fprintf(t->out, "  times    %s; ", run->cost_model);
    if (isnan(error))
        fputs("calibration error unknown", t->out);
    else
        fprintf(t->out, "calibration error %.1f %%", 100 * error);
    if (extrapolated > 0 || (!isnan(error) && !isnan(extrapolated)))
        fprintf(t->out, "; %.1f %% of steps outside the calibrated range", 100 * extrapolated);
    fputc('\n', t->out);
    return true;
}

static bool print_notes(struct table *t, const struct report_run *run, struct err *e)
{
    double exact, dropped, packed;

    if (!metric(t->summary, run->id, "quantiles_exact", &exact, e) ||
        !metric(t->summary, run->id, "request_rows_dropped", &dropped, e) ||
        !metric(t->summary, run->id, "packed_bytes", &packed, e))
        return false;
    if (!isnan(packed))
        fputs("  CAUTION  KV was swapped in fewer bits, which is lossy: quality not measured\n",
              t->out);
    if (!isnan(exact) && fpclassify(exact) == FP_ZERO)
        fputs("  note     percentiles from a histogram (error below 0.05 %)\n", t->out);
    if (!isnan(dropped))
        fprintf(t->out,
                "  note     %.0f requests have no row (max_request_rows); all are counted\n",
                dropped);
    return true;
}

/* Everything but what differs from seed to seed, so that equal ones can be told together. */
static bool provenance(struct table *t, const struct report_run *run, char **text, struct err *e)
{
    FILE *out = t->out;
    size_t size;
    bool ok;

    t->out = open_memstream(text, &size);
    CHECK(t->out, "memory for a text", "open_memstream");
    fprintf(t->out, "  model    %s on %s, %d replica%s, backend %s", run->model, run->gpu,
            run->replicas, run->replicas == 1 ? "" : "s", run->backend);
    if (strcmp(run->profile, "-") != 0)
        fprintf(t->out, " with %s", run->profile);
    fprintf(t->out, ", %s clock\n", run->clock);
    ok = print_cost(t, run, e) && print_slo(t, run, e);
    if (strcmp(run->kv_policy, "full") != 0) {
        if (run->quality_ref)
            fprintf(t->out, "  quality  of KV policy %s: %s\n", run->kv_policy, run->quality_ref);
        else
            fputs("  CAUTION  latency of a lossy KV policy: quality not measured\n", t->out);
    }
    ok = ok && print_notes(t, run, e);
    fprintf(t->out, "  program  tandem %.12s%s\n", run->git_revision,
            run->dirty ? ", with changes that were not committed" : "");
    fclose(t->out);
    t->out = out;
    return ok;
}

/* The runs whose text is the same as that of run i, the first of them, on one line. */
static void print_ids(const struct table *t, const struct report_runs *runs, char *const *text,
                      size_t i)
{
    size_t same = 0;

    for (size_t k = i; k < runs->n; k++)
        same += strcmp(text[k], text[i]) == 0;
    if (same == runs->n && same > 1) {
        fputs("All runs\n", t->out);
        return;
    }
    fputs(same == 1 ? "Run" : "Runs", t->out);
    for (size_t k = i; k < runs->n; k++)
        if (strcmp(text[k], text[i]) == 0)
            fprintf(t->out, " %" PRId64, runs->run[k].id);
    fputc('\n', t->out);
}

static bool print_provenance(struct table *t, const struct report_runs *runs, struct err *e)
{
    char **text = mem_alloc(runs->n * sizeof(*text));
    bool ok = true;

    for (size_t i = 0; ok && i < runs->n; i++)
        ok = provenance(t, &runs->run[i], &text[i], e);
    for (size_t i = 0; ok && i < runs->n; i++) {
        size_t first = 0;

        while (strcmp(text[first], text[i]) != 0)
            first++;
        if (first == i) {
            print_ids(t, runs, text, i);
            fputs(text[i], t->out);
        }
    }
    for (size_t i = 0; i < runs->n; i++)
        free(text[i]); /* open_memstream's */
    mem_free(text);
    return ok;
}

static bool print_table(struct table *t, const struct report_runs *runs, struct err *e)
{
    t->summary = db_prepare(t->db, select_metric, e);
    if (!t->summary)
        return false;
    for (size_t i = 0; i < runs->n; i += t->n) {
        t->run = runs->run + i;
        t->n = MIN(runs->n - i, (size_t)RUNS_ABREAST);
        if (!print_abreast(t, e))
            return false;
    }
    if (t->starred)
        fputs(star, t->out);
    fputs(legend, t->out);
    fputc('\n', t->out);
    return print_provenance(t, runs, e);
}

bool report_provenance(sqlite3 *db, const struct report_runs *runs, FILE *out, struct err *e)
{
    struct table t = {.db = db, .out = out};
    bool ok;

    t.summary = db_prepare(db, select_metric, e);
    ok = t.summary && print_provenance(&t, runs, e);
    sqlite3_finalize(t.summary);
    return ok;
}

static bool table(sqlite3 *db, const char *experiment, int64_t run_id, FILE *out, struct err *e)
{
    struct table t = {.db = db, .out = out};
    struct report_runs runs;
    bool ok;

    ok = report_runs_load(&runs, db, experiment, run_id, e) && print_table(&t, &runs, e);
    sqlite3_finalize(t.summary);
    report_runs_release(&runs);
    return ok;
}

bool report_table(sqlite3 *db, const char *experiment, FILE *out, struct err *e)
{
    return table(db, experiment, ALL_RUNS, out, e);
}

bool report_table_run(sqlite3 *db, int64_t run_id, FILE *out, struct err *e)
{
    return table(db, NULL, run_id, out, e);
}
