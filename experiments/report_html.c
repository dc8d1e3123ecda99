/* report_html.c: one page with everything: what is claimed, tables, pictures, provenance. It holds
 * its style and its pictures, and its Content-Security-Policy forbids it to load anything. */
#include "experiments/report.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/html.h"
#include "experiments/report_file.h"
#include "experiments/report_page.h"
#include "experiments/report_runs.h"

struct page {
    sqlite3 *db;
    FILE *f;
    const char *experiment, *dir;
    const struct report_pictures *pictures;
    struct report_runs all, configs; /* configs: the first run of each */
};

/* Colours as in scripts/plot/style.gp. */
static const char style[] =
    ":root{color-scheme:light dark;--ink:#1a1a1a;--faint:#5a5a5a;--line:#d4d4d4;--paper:#fff;"
    "--band:#f3f6f9;--accent:#0072b2}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--faint:#b0b0b0;--line:#444;"
    "--paper:#16181b;--band:#20242a;--accent:#56b4e9}}\n"
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:75rem;margin:0 auto;padding:1rem}\n"
    "h1{line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}\n"
    "h2{margin:2rem 0 .5rem;padding-top:.5rem;border-top:2px solid var(--accent)}\n"
    "a{color:var(--accent)}\n"
    "nav a{display:inline-block;margin:0 1rem .25rem 0}\n"
    ".claim{border-left:4px solid var(--accent);background:var(--band);padding:.75rem 1rem;"
    "margin:1rem 0;overflow-wrap:anywhere}\n"
    ".caution{border-left:4px solid #d55e00;background:var(--band);padding:.75rem 1rem}\n"
    ".note,small{color:var(--faint);font-size:.85rem}\n"
    "small{display:block;white-space:nowrap;font-size:.75rem}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.3rem .45rem;border-bottom:1px solid var(--line);text-align:right;"
    "vertical-align:top}\n"
    "thead th{vertical-align:bottom;border-bottom:2px solid var(--ink)}\n"
    "td{white-space:nowrap}\n"
    "th.text,td.text,th[scope=row]{text-align:left;white-space:normal}\n"
    "th[scope=row]{font-weight:600;min-width:9rem;max-width:24rem;overflow-wrap:break-word}\n"
    "tbody tr:nth-child(even){background:var(--band)}\n"
    "figure{margin:.5rem 0 1.5rem}\n"
    "figure img{display:block;width:100%;min-width:44rem;height:auto;background:#fff}\n"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--band);padding:.75rem;"
    "font-size:.85rem}\n"
    "@media print{body{max-width:none;padding:0;font-size:10pt}nav{display:none}"
    ".wide{overflow:visible}table{font-size:7pt}th,td{padding:.15rem .25rem}"
    "th[scope=row]{min-width:0}figure img{min-width:0;width:auto;max-width:100%;max-height:105mm}"
    "figure,tr{break-inside:avoid}h2,h2+.note{break-after:avoid}}\n";

/* By how their names begin. */
static const struct {
    const char *name, *title, *how;
} figures[] = {
    {"summary", "SLO attainment and goodput",
     "Longer is better. Means over seeds; thin lines from the smallest to the largest."},
    {"load", "SLO attainment and goodput by load",
     "Where a curve falls, the load is more than can be served in time."},
    {"pareto", "Goodput against latency and fairness",
     "A ring: no other configuration does as well in both and better in one, on the same requests "
     "(the view pareto)."},
    {"ttft", "Time to first token", "Further left is better; read the p99 at 99 %."},
    {"tpot", "Time per output token", "Further left is better; read the p99 at 99 %."},
    {"e2e", "Whole requests", "Further left is better; read the p99 at 99 %."},
    {"service", "Service of each tenant over time",
     "Equal slopes while all of them send are equal service; a flat piece is a tenant that is not "
     "served."},
    {"fairness", "Fairness over time",
     "A curve that goes on rising while tenants wait is service that some get and others do not."},
    {"memory", "Prefix cache and KV cache", "Means over seeds."},
    {"queue", "Queues over time", "Waiting: arrived, not yet in a batch."},
    {"kv", "KV cache over time", "Blocks that requests hold; cached ones do not count."},
    {"timeline", "One run over time",
     "Samples of one run: queue, what its batches hold, KV cache; with stored steps (--steps) also "
     "prompt and output tokens apart, and preemptions. trace-RUN.json beside this page has every "
     "step; open it in ui.perfetto.dev or chrome://tracing."},
};

/* The first picture of a figure, at `from` or after; none: pictures->n. */
static size_t next_picture(const struct report_pictures *pictures, size_t figure, size_t from)
{
    while (from < pictures->n &&
           strncmp(pictures->name[from], figures[figure].name, strlen(figures[figure].name)) != 0)
        from++;
    return from;
}

/* ---- head ---- */

static const char *file_name(sqlite3 *db)
{
    const char *path = sqlite3_db_filename(db, "main"), *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path && *path ? path : "results";
}

static void put_head(struct page *p)
{
    const char *name = p->experiment ? p->experiment : file_name(p->db);

    fputs("<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\"><head>"
          "<meta charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\""
          "default-src 'none'; img-src data:; style-src 'unsafe-inline'\"/>\n<meta name=\""
          "viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
          p->f);
    html_text(p->f, name);
    fprintf(p->f, " \xe2\x80\x93 Tandem</title>\n<style>\n%s</style></head>\n<body>\n<h1>", style);
    html_text(p->f, name);
    fprintf(p->f, "</h1>\n<p class=\"note\">%zu run%s of %zu configuration%s, from ", p->all.n,
            p->all.n == 1 ? "" : "s", p->configs.n, p->configs.n == 1 ? "" : "s");
    html_text(p->f, file_name(p->db));
    fputs(", by <code>tandem report</code>.</p>\n", p->f);
}

/* What each experiment claims, as its file says. A database of a program that kept no claims has
 * no such table. */
static bool put_claims(struct page *p, struct err *e)
{
    sqlite3_stmt *stmt;
    bool row = false, there = false, ok = db_has(p->db, "experiments", &there, e);

    if (!ok || !there)
        return ok;
    stmt = db_prepare(p->db,
                      "SELECT name, claim FROM experiments WHERE claim <> '' AND name IN (SELECT"
                      " experiment FROM runs JOIN shown ON run_id = id) ORDER BY name",
                      e);
    while ((ok = stmt && db_step(stmt, &row, e)) && row) {
        fputs("<p class=\"claim\"><strong>Claim of ", p->f);
        html_text(p->f, (const char *)sqlite3_column_text(stmt, 0));
        fputs(":</strong> ", p->f);
        html_text(p->f, (const char *)sqlite3_column_text(stmt, 1));
        fputs("</p>\n", p->f);
    }
    sqlite3_finalize(stmt);
    return ok;
}

/* A latency of a lossy KV policy never stands without its quality, or these words. */
static void put_caution(struct page *p)
{
    for (size_t i = 0; i < p->configs.n; i++) {
        const struct report_run *run = &p->configs.run[i];

        if (strcmp(run->kv_policy, "full") != 0 && !run->quality_ref) {
            fputs("<p class=\"caution\"><strong>Quality not measured:</strong> some runs have a "
                  "lossy KV policy; their latencies say nothing of what its answers are "
                  "worth.</p>\n",
                  p->f);
            return;
        }
    }
}

static void put_contents(struct page *p)
{
    fputs("<nav><a href=\"#results\">Results</a>", p->f);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        if (next_picture(p->pictures, i, 0) < p->pictures->n)
            fprintf(p->f, " <a href=\"#%s\">%s</a>", figures[i].name, figures[i].title);
    fputs(" <a href=\"#provenance\">Provenance</a> <a href=\"#runs\">Runs</a></nav>\n", p->f);
}

/* ---- pictures ---- */

static bool put_picture(struct page *p, size_t figure, const char *picture, struct err *e)
{
    char path[4096 + 32];
    bool ok;

    fprintf(p->f, "<figure><div class=\"wide\"><img alt=\"%s\" src=\"data:image/svg+xml;base64,",
            figures[figure].title);
    snprintf(path, sizeof(path), "%s/%s.svg", p->dir, picture);
    ok = html_base64(p->f, path, e);
    fputs("\"/></div></figure>\n", p->f);
    return ok;
}

static bool put_figure(struct page *p, size_t figure, struct err *e)
{
    const struct report_pictures *pictures = p->pictures;
    size_t i = next_picture(pictures, figure, 0);

    if (i == pictures->n)
        return true;
    fprintf(p->f, "<section id=\"%s\"><h2>%s</h2>\n<p class=\"note\">%s</p>\n",
            figures[figure].name, figures[figure].title, figures[figure].how);
    for (; i < pictures->n; i = next_picture(pictures, figure, i + 1))
        if (!put_picture(p, figure, pictures->name[i], e))
            return false;
    fputs("</section>\n", p->f);
    return true;
}

static bool put_pictures(struct page *p, struct err *e)
{
    const struct report_pictures *pictures = p->pictures;

    if (pictures->no_gnuplot)
        fputs("<p class=\"caution\">No pictures: gnuplot was not installed when this page was "
              "made.</p>\n",
              p->f);
    if (pictures->n > 0 && pictures->runs_drawn < pictures->runs)
        fprintf(p->f,
                "<p class=\"note\">Pictures show the first %zu of %zu configurations (curves of "
                "series: the first %zu); choose others with <code>--experiment</code>.</p>\n",
                pictures->runs_drawn, pictures->runs, pictures->runs_drawn);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        if (!put_figure(p, i, e))
            return false;
    return true;
}

/* ---- the page ---- */

static bool put_provenance(struct page *p, struct err *e)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    bool ok;

    CHECK(f, "memory for a text", "open_memstream");
    ok = report_provenance(p->db, &p->all, f, e);
    fclose(f);
    fputs("<section id=\"provenance\"><h2>Provenance</h2>\n<pre>", p->f);
    html_text(p->f, text);
    fputs("</pre></section>\n", p->f);
    free(text); /* open_memstream's */
    return ok;
}

static bool put_page(struct page *p, struct err *e)
{
    put_head(p);
    if (!put_claims(p, e))
        return false;
    put_caution(p);
    put_contents(p);
    if (!page_results(p->db, p->f, e) || !page_classes(p->db, p->f, e) ||
        !page_tenants(p->db, p->f, e) || !page_quality(p->db, p->f, e) || !put_pictures(p, e) ||
        !put_provenance(p, e) || !page_runs(p->db, p->f, e))
        return false;
    fputs("</body></html>\n", p->f);
    return true;
}

static bool write_page(struct page *p, struct err *e)
{
    struct report_file file;

    if (!report_file_open(&file, p->dir, "report.html", e))
        return false;
    p->f = file.f;
    return report_file_close(&file, put_page(p, e), e);
}

bool report_html(sqlite3 *db, const char *experiment, const char *dir,
                 const struct report_pictures *pictures, struct err *e)
{
    struct page p = {.db = db, .experiment = experiment, .dir = dir, .pictures = pictures};
    bool ok = report_runs_load(&p.all, db, experiment, ALL_RUNS, e);

    if (ok && (ok = report_runs_load(&p.configs, db, experiment, ALL_RUNS, e))) {
        report_runs_keep_first(&p.configs);
        ok = report_runs_show(&p.configs, db, p.experiment, e) && report_make_dir(dir, e) &&
             write_page(&p, e);
        report_runs_release(&p.configs);
    }
    report_runs_release(&p.all);
    return ok;
}
