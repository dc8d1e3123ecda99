/* baseline.c: see baseline.h. */
#include "experiments/baseline.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/metric_names.h"
#include "experiments/schema.h"

enum { BASELINE_VERSION = 1 };

struct reading {
    struct check_figures *f;
    const char *path;
    struct err *e;
};

static bool bad(const struct reading *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool bad(const struct reading *r, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return err_set(r->e, "%s: %s; restore it, or move it away and write it with --update", r->path,
                   what);
}

/* ---- reading ---- */

static bool check_version(const struct reading *r, const json_t *root)
{
    const json_t *version = json_object_get(root, "tandem_baseline");
    const json_t *schema = json_object_get(root, "schema");
    if (!json_is_integer(version))
        return err_set(r->e, "%s: is no baseline; name a file that `tandem check --update` wrote",
                       r->path);
    if (json_integer_value(version) == BASELINE_VERSION && json_is_integer(schema) &&
        json_integer_value(schema) == SCHEMA_VERSION)
        return true;
    return err_set(r->e,
                   "%s: a baseline of version %" JSON_INTEGER_FORMAT
                   ", schema %" JSON_INTEGER_FORMAT
                   ", this program has %d and %d; use that program, or move the file away and "
                   "write it again with --update",
                   r->path, json_integer_value(version), json_integer_value(schema),
                   BASELINE_VERSION, SCHEMA_VERSION);
}

/* A number of at least 0; `without` where the member is absent. */
static bool read_limit(const struct reading *r, const char *metric, const json_t *object,
                       const char *member, double without, double *out)
{
    const json_t *v = json_object_get(object, member);
    *out = v ? json_number_value(v) : without;
    return !v || (json_is_number(v) && *out >= 0) ||
           bad(r, "metrics: %s: %s must be a number of at least 0", metric, member);
}

static bool read_metric(const struct reading *r, const char *name, const json_t *object)
{
    struct check_metric m = {.relative = json_is_true(json_object_get(object, "relative"))};
    const char *better = json_string_value(json_object_get(object, "better"));
    struct metric_name known;
    size_t i = 0;
    while (metric_name_at(i, &known) && strcmp(known.name, name) != 0)
        i++;
    if (!metric_name_at(i, &known))
        return bad(r, "metrics: %s: there is no such metric (`tandem list metrics`)", name);
    if (!better || (strcmp(better, "higher") != 0 && strcmp(better, "lower") != 0))
        return bad(r, "metrics: %s: better must be \"higher\" or \"lower\"", name);
    strncpy(m.name, name, sizeof m.name - 1);
    m.higher = strcmp(better, "higher") == 0;
    if (!read_limit(r, name, object, "tolerance", 0, &m.tolerance) ||
        !read_limit(r, name, object, "matters", (double)NAN, &m.matters))
        return false;
    check_figures_add_metric(r->f, &m);
    return true;
}

static bool read_metrics(const struct reading *r, json_t *metrics)
{
    const char *name;
    json_t *value;
    if (json_object_size(metrics) == 0)
        return bad(r, "no metrics");
    json_object_foreach(metrics, name, value)
    {
        if (!read_metric(r, name, value))
            return false;
    }
    return true;
}

/* A seed is written as a decimal number, and nothing else. */
static bool parse_seed(const char *text, uint64_t *seed)
{
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

/* Any figure of the first point has every seed. */
static bool read_seeds(const struct reading *r, json_t *figure)
{
    const char *name;
    json_t *value;
    uint64_t seed;
    json_object_foreach(figure, name, value)
    {
        if (!parse_seed(name, &seed))
            return bad(r, "\"%s\" is no seed", name);
        check_figures_add_seed(r->f, seed);
    }
    check_figures_sort_seeds(r->f);
    return r->f->n_seeds > 0 || bad(r, "figures without seeds");
}

/* null stays NaN: the run had nothing to measure it on. */
static bool read_figure(const struct reading *r, const struct check_point *p, size_t m,
                        json_t *figure)
{
    const struct check_figures *f = r->f;
    const char *metric = f->metric[m].name, *name;
    json_t *value;
    uint64_t seed;
    size_t i;
    if (json_object_size(figure) != f->n_seeds)
        return bad(r, "point \"%s\": %s: has %zu seeds, not %zu as the first figure", p->label,
                   metric, json_object_size(figure), f->n_seeds);
    json_object_foreach(figure, name, value)
    {
        if (!parse_seed(name, &seed) || !check_figures_seed(f, seed, &i))
            return bad(r, "point \"%s\": %s: the first figure has no seed \"%s\"", p->label, metric,
                       name);
        if (json_is_number(value))
            p->value[m * f->n_seeds + i] = json_number_value(value);
        else if (!json_is_null(value))
            return bad(r, "point \"%s\": %s: the value of seed %s is no number", p->label, metric,
                       name);
    }
    return true;
}

static bool read_point(const struct reading *r, json_t *object)
{
    struct check_figures *f = r->f;
    const char *label = json_string_value(json_object_get(object, "point"));
    const char *hash = json_string_value(json_object_get(object, "config_hash"));
    const json_t *figures = json_object_get(object, "figures");
    if (!label || !hash || strlen(hash) != SHA256_HEX - 1)
        return bad(r, "points: one lacks its point or config_hash");
    if (check_figures_find(f, hash))
        return bad(r, "points: \"%s\" is there twice", label);
    if (f->n_points == 0 && !read_seeds(r, json_object_get(figures, f->metric[0].name)))
        return false;
    const struct check_point *p = check_figures_add(f, label, hash);
    for (size_t m = 0; m < f->n_metrics; m++)
        if (!read_figure(r, p, m, json_object_get(figures, f->metric[m].name)))
            return false;
    return true;
}

static bool read_points(const struct reading *r, const json_t *points)
{
    size_t i;
    json_t *point;
    if (json_array_size(points) == 0)
        return bad(r, "no points");
    json_array_foreach(points, i, point)
    {
        if (!read_point(r, point))
            return false;
    }
    return true;
}

bool baseline_read(struct check_figures *f, const char *path, struct err *e)
{
    const struct reading r = {f, path, e};
    json_error_t error;
    if (access(path, R_OK) != 0)
        return err_set(e, "%s: %s; a first baseline is written with --update", path,
                       strerror(errno));
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return err_set(e, "%s:%d:%d: %s; restore it, or move it away and write it with --update",
                       path, error.line, error.column, error.text);
    bool ok = check_version(&r, root) && read_metrics(&r, json_object_get(root, "metrics")) &&
              read_points(&r, json_object_get(root, "points"));
    json_decref(root);
    return ok;
}

/* ---- writing ---- */

/* The shortest of its forms that is read back as the same number. */
static void put_number(FILE *out, double x)
{
    char text[32];
    int digits = 6;
    do
        snprintf(text, sizeof text, "%.*g", digits, x);
    while (strtod(text, NULL) != x && ++digits <= 17);
    fputs(text, out);
}

static void put_text(FILE *out, const char *text)
{
    json_t *string = json_string(text);
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    fputs(quoted ? quoted : "\"\"", out);
    free(quoted);
    json_decref(string);
}

static void put_metric(FILE *out, const struct check_metric *m)
{
    fprintf(out, "    \"%s\": {\"better\": \"%s\", ", m->name, m->higher ? "higher" : "lower");
    if (m->relative)
        fputs("\"relative\": true, ", out);
    fputs("\"tolerance\": ", out);
    put_number(out, m->tolerance);
    if (!isnan(m->matters)) {
        fputs(", \"matters\": ", out);
        put_number(out, m->matters);
    }
    fputc('}', out);
}

static void put_figure(FILE *out, const struct check_figures *f, const struct check_point *p,
                       size_t m)
{
    const double *value = check_figures_of(f, p, m);
    fprintf(out, "        \"%s\": {", f->metric[m].name);
    for (size_t i = 0; i < f->n_seeds; i++) {
        fprintf(out, "%s\"%" PRIu64 "\": ", i ? ", " : "", f->seed[i]);
        if (isnan(value[i]))
            fputs("null", out);
        else
            put_number(out, value[i]);
    }
    fputc('}', out);
}

static void put_point(FILE *out, const struct check_figures *f, const struct check_point *p)
{
    fputs("    {\n      \"point\": ", out);
    put_text(out, p->label);
    fprintf(out, ",\n      \"config_hash\": \"%s\",\n      \"figures\": {\n", p->config_hash);
    for (size_t m = 0; m < f->n_metrics; m++) {
        put_figure(out, f, p, m);
        fputs(m + 1 < f->n_metrics ? ",\n" : "\n", out);
    }
    fputs("      }\n    }", out);
}

static void put_baseline(FILE *out, const struct check_figures *f)
{
    fprintf(out, "{\n  \"tandem_baseline\": %d,\n  \"schema\": %d,\n  \"metrics\": {\n",
            BASELINE_VERSION, SCHEMA_VERSION);
    for (size_t m = 0; m < f->n_metrics; m++) {
        put_metric(out, &f->metric[m]);
        fputs(m + 1 < f->n_metrics ? ",\n" : "\n", out);
    }
    fputs("  },\n  \"points\": [\n", out);
    for (size_t i = 0; i < f->n_points; i++) {
        put_point(out, f, &f->point[i]);
        fputs(i + 1 < f->n_points ? ",\n" : "\n", out);
    }
    fputs("  ]\n}\n", out);
}

bool baseline_write(const struct check_figures *f, const char *path, struct err *e)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temporary)
        return err_set(e, "--baseline: the path is too long");
    FILE *out = fopen(temporary, "w");
    if (!out)
        return err_set(e, "%s: cannot be written: %s", temporary, strerror(errno));
    put_baseline(out, f);
    bool ok = !ferror(out);
    ok = fclose(out) == 0 && ok && rename(temporary, path) == 0;
    if (ok)
        return true;
    err_set(e, "%s: cannot be written: %s; the baseline is as it was", path, strerror(errno));
    (void)unlink(temporary);
    return false;
}
