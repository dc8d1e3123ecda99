/* check_print.c: see check_print.h. */
#include "experiments/check_print.h"

#include <math.h>
#include <string.h>

enum { CELL = 16 };

/* Text for people: a figure and its numbers. */
struct cells {
    char base[CELL], cand[CELL], difference[CELL], low[CELL], high[CELL], found80[CELL],
        found95[CELL];
};

static bool fails(const struct check_print *p, enum check_verdict v)
{
    return v == CHECK_REGRESSION || (p->strict && v == CHECK_INCONCLUSIVE);
}

bool check_failed(const struct check_print *p)
{
    return fails(p, p->check->verdict);
}

/* ---- what all of them say ---- */

/* Five digits that count; "-": not known. */
static void put_value(char cell[CELL], double x, bool sign)
{
    if (!isfinite(x))
        snprintf(cell, CELL, "-");
    else if (x == 0)
        snprintf(cell, CELL, "0");
    else
        snprintf(cell, CELL, sign ? "%+.5g" : "%.5g", x);
}

/* In the metric's own direction: candidate - baseline. */
struct difference {
    double mean, low, high;
};

static struct difference difference_of(const struct stats_figure *f)
{
    if (f->higher)
        return (struct difference){-f->loss, -f->high, -f->low};
    return (struct difference){f->loss, f->low, f->high};
}

static struct cells cells_of(const struct check_row *r)
{
    const struct stats_figure *f = &r->figure;
    struct difference d = difference_of(f);
    struct cells c = {.base = ""};
    put_value(c.base, f->base_mean, false);
    put_value(c.cand, f->cand_mean, false);
    put_value(c.difference, d.mean, true);
    put_value(c.low, d.low, true);
    put_value(c.high, d.high, true);
    put_value(c.found80, f->found80, false);
    put_value(c.found95, f->found95, false);
    return c;
}

static void print_seeds(const struct check *c, FILE *out)
{
    const struct stats_design *d = &c->design;
    if (d->paired)
        fprintf(out, "paired: the same %zu seed%s, %s", d->n_base, d->n_base == 1 ? "" : "s",
                c->exact ? "simulated again: differences are exact"
                         : "measured again: differences are subject to chance");
    else
        fprintf(out, "unpaired: %zu seeds against %zu others", d->n_base, d->n_cand);
}

/* The line that says it all. */
static void print_counts(const struct check_print *p, FILE *out)
{
    const struct check *c = p->check;
    fprintf(out, "%s: %zu figures", check_verdict_name(c->verdict), c->n);
    for (int v = CHECK_REGRESSION; v >= CHECK_PASS; v--)
        if (c->count[v] > 0)
            fprintf(out, ", %zu %s", c->count[v], check_verdict_name((enum check_verdict)v));
    if (c->verdict == CHECK_INCONCLUSIVE)
        fputs(p->strict ? " (fails: --strict)" : " (fails with --strict only)", out);
}

static void print_notes(const struct check_print *p, FILE *out)
{
    const struct check *c = p->check;
    fprintf(out,
            "Intervals: bootstrap of seeds, %d resamples; a regression anywhere by chance: at most "
            "%g %%.\n",
            STATS_RESAMPLES, 100 * (STATS_ALPHA_GATE + STATS_ALPHA_OTHERS));
    if (!c->design.paired)
        fputs("Found: the loss that is called a regression 80 and 95 times of 100.\n", out);
    if (c->cand->left_out > 0)
        fprintf(out, "Not in the baseline, and not compared: %zu points of %s.\n",
                c->cand->left_out, p->candidate);
}

static const char *label_of(const struct check_row *r)
{
    return *r->point->label ? r->point->label : "all";
}

static bool begins_point(const struct check *c, size_t i)
{
    return i == 0 || c->row[i].point != c->row[i - 1].point;
}

/* ---- text ---- */

static void print_row(const struct check *c, const struct check_row *r, FILE *out)
{
    struct cells x = cells_of(r);
    char interval[2 * CELL + 8];
    snprintf(interval, sizeof interval, "%s .. %s", x.low, x.high);
    fprintf(out, "  %-22s %11s %11s %11s %26s", r->metric->name, x.base, x.cand, x.difference,
            interval);
    if (!c->design.paired)
        fprintf(out, " %10s %10s", x.found80, x.found95);
    fprintf(out, "  %s", check_verdict_name(r->verdict));
    if (r->missing > 0)
        fprintf(out, " (no value for %zu seeds)", r->missing);
    fputc('\n', out);
}

static void print_head(const struct check *c, FILE *out)
{
    fprintf(out, "  %-22s %11s %11s %11s %26s", "metric", "baseline", "candidate", "difference",
            "interval");
    if (!c->design.paired)
        fprintf(out, " %10s %10s", "found 80 %", "found 95 %");
    fputs("  verdict\n", out);
}

void check_print_text(const struct check_print *p, FILE *out)
{
    const struct check *c = p->check;
    fprintf(out, "%s against %s\n", p->candidate, p->baseline);
    print_seeds(c, out);
    fputc('\n', out);
    for (size_t i = 0; i < c->n; i++) {
        if (begins_point(c, i)) {
            fprintf(out, "\n%s\n", label_of(&c->row[i]));
            print_head(c, out);
        }
        print_row(c, &c->row[i], out);
    }
    fputc('\n', out);
    print_notes(p, out);
    print_counts(p, out);
    fputc('\n', out);
}

/* ---- Markdown ---- */

/* What would end a cell, or begin something else. */
static void put_markdown(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (strchr("|\\`*_<>[]", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void markdown_row(const struct check *c, const struct check_row *r, FILE *out)
{
    struct cells x = cells_of(r);
    bool strong = r->verdict != CHECK_PASS;
    fputs("| ", out);
    put_markdown(label_of(r), out);
    fprintf(out, " | `%s` | %s | %s | %s | %s … %s |", r->metric->name, x.base, x.cand,
            x.difference, x.low, x.high);
    if (!c->design.paired)
        fprintf(out, " %s | %s |", x.found80, x.found95);
    fprintf(out, " %s%s%s |\n", strong ? "**" : "", check_verdict_name(r->verdict),
            strong ? "**" : "");
}

void check_print_markdown(const struct check_print *p, FILE *out)
{
    const struct check *c = p->check;
    bool paired = c->design.paired;
    fputs("### tandem check: ", out);
    print_counts(p, out);
    fputs("\n\n", out);
    put_markdown(p->candidate, out);
    fputs(" against ", out);
    put_markdown(p->baseline, out);
    fputs("; ", out);
    print_seeds(c, out);
    fprintf(out,
            ".\n\n| point | metric | baseline | candidate | difference | interval |%s verdict |",
            paired ? "" : " found 80 % | found 95 % |");
    fprintf(out, "\n|---|---|--:|--:|--:|--:|%s---|\n", paired ? "" : "--:|--:|");
    for (size_t i = 0; i < c->n; i++)
        markdown_row(c, &c->row[i], out);
    fputc('\n', out);
    print_notes(p, out);
}

/* ---- JUnit ---- */

/* Characters that XML 1.0 does not allow at all become '?'. */
static void put_xml(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc((unsigned char)*text < ' ' ? '?' : *text, out);
    }
}

static void junit_case(const struct check_print *p, const struct check_row *r, FILE *out)
{
    struct cells x = cells_of(r);
    fputs("    <testcase classname=\"", out);
    put_xml(label_of(r), out);
    fprintf(out, "\" name=\"%s\"", r->metric->name);
    if (r->verdict != CHECK_REGRESSION && r->verdict != CHECK_INCONCLUSIVE) {
        fputs("/>\n", out);
        return;
    }
    fprintf(out,
            ">\n      <%s message=\"%s: baseline %s, candidate %s, difference %s (%s to %s)\"/>\n",
            fails(p, r->verdict) ? "failure" : "skipped", check_verdict_name(r->verdict), x.base,
            x.cand, x.difference, x.low, x.high);
    fputs("    </testcase>\n", out);
}

/* Rows of the point that begins at row i. */
static void junit_suite(const struct check_print *p, size_t i, FILE *out)
{
    const struct check *c = p->check;
    size_t end = i, failed = 0, skipped = 0;
    do {
        bool failure = fails(p, c->row[end].verdict);
        failed += failure;
        skipped += !failure && c->row[end].verdict == CHECK_INCONCLUSIVE;
        end++;
    } while (end < c->n && !begins_point(c, end));
    fputs("  <testsuite name=\"", out);
    put_xml(label_of(&c->row[i]), out);
    fprintf(out, "\" tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\">\n", end - i,
            failed, skipped);
    for (; i < end; i++)
        junit_case(p, &c->row[i], out);
    fputs("  </testsuite>\n", out);
}

void check_print_junit(const struct check_print *p, FILE *out)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tandem check\">\n", out);
    for (size_t i = 0; i < p->check->n; i++)
        if (begins_point(p->check, i))
            junit_suite(p, i, out);
    fputs("</testsuites>\n", out);
}

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *row_json(const struct check_row *r)
{
    const struct stats_figure *f = &r->figure;
    struct difference d = difference_of(f);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "point",
                     r->point->label, "config_hash", r->point->config_hash, "metric",
                     r->metric->name, "baseline", number(f->base_mean), "candidate",
                     number(f->cand_mean), "difference", number(d.mean), "low", number(d.low),
                     "high", number(d.high), "loss_at_most_95", number(f->at_most), "found_80",
                     number(f->found80), "found_95", number(f->found95), "verdict",
                     check_verdict_name(r->verdict));
}

json_t *check_json(const struct check_print *p)
{
    const struct check *c = p->check;
    json_t *rows = json_array();
    for (size_t i = 0; i < c->n; i++)
        json_array_append_new(rows, row_json(&c->row[i]));
    return json_pack("{s:s, s:b, s:b, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "verdict",
                     check_verdict_name(c->verdict), "failed", check_failed(p), "strict", p->strict,
                     "baseline", p->baseline, "candidate", p->candidate, "mode",
                     c->design.paired ? "paired" : "unpaired", "exact", c->exact, "baseline_seeds",
                     (json_int_t)c->design.n_base, "candidate_seeds", (json_int_t)c->design.n_cand,
                     "points_left_out", (json_int_t)c->cand->left_out, "figures", rows);
}
