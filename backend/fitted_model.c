#include "backend/fitted_model.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT "tandem-fitted"
#define VERSION 1
#define NUMBER_MAX 0x1p53 /* so that a step stays far below what a clock holds */
#define ERROR_MAX 100.0   /* a share: beyond, it is no fit */
#define DIGITS 12         /* of a number in the file, at most: calibrate_fit has rounded before */

static const char *const regimes[] = {
    [REGIME_DECODE] = "decode", [REGIME_PREFILL] = "prefill", [REGIME_MIXED] = "mixed"};

const char *regime_name(enum regime r)
{
    return regimes[r];
}

/* ---- use ---- */

double fitted_step_ns(const struct fitted_model *m, const struct batch_shape *s)
{
    double ns = 0;
    for (size_t i = 0; i < m->n_terms; i++)
        ns += m->term[i].ns * basis_value(&m->term[i].basis, s);
    return ns;
}

/* What the sum of its decodes' contexts may be; none of a batch without. */
static struct fitted_range context_range(const struct fitted_model *m, const struct batch_shape *s)
{
    const struct fitted_range *sum = &m->range[AGG_DECODE_CONTEXT];
    const struct fitted_range *mean = &m->range[AGG_MEAN_CONTEXT];
    if (s->n_decode == 0)
        return *sum;
    return (struct fitted_range){MAX(sum->low, mean->low * s->n_decode),
                                 MIN(sum->high, mean->high * s->n_decode)};
}

static bool is_in(double v, struct fitted_range r)
{
    return r.low <= v && v <= r.high;
}

bool fitted_extrapolates(const struct fitted_model *m, const struct batch_shape *s)
{
    bool inside = m->fitted_steps[regime_of(s)] > 0 &&
                  is_in((double)s->decode_context_sum, context_range(m, s));
    for (enum aggregate a = 0; a < N_AGGREGATES && inside; a++)
        inside = a == AGG_DECODE_CONTEXT || a == AGG_MEAN_CONTEXT ||
                 is_in(aggregate_value(a, s), m->range[a]);
    return !inside;
}

/* The next sum of contexts, from that of `s` on, up to which the answer stays the same. */
static double same_until(const struct fitted_range *r, double sum)
{
    if (sum < r->low)
        return ceil(r->low) - 1;
    return sum <= r->high ? r->high : (double)INFINITY;
}

void fitted_decode_line(const struct fitted_model *m, const struct batch_shape *s,
                        struct decode_line *out)
{
    const struct fitted_range range = context_range(m, s);
    double until = same_until(&range, (double)s->decode_context_sum);
    *out = (struct decode_line){.x = s->decode_context_sum,
                                .dx = s->n_decode,
                                .steps = UINT64_MAX,
                                .extrapolated = fitted_extrapolates(m, s)};
    for (size_t i = 0; i < m->n_terms; i++) {
        const struct basis_line l = basis_line(&m->term[i].basis, s);
        out->base_ns += m->term[i].ns * l.base;
        out->slope_ns += m->term[i].ns * l.slope;
        until = MIN(until, l.until);
    }
    if (until < NUMBER_MAX)
        out->steps = ((uint64_t)until - out->x) / out->dx + 1;
}

/* ---- writing: an object's or array's members a line each ---- */

static json_t *term_json(const struct fitted_term *t)
{
    const struct basis_doc *d = basis_doc(t->basis.kind);
    json_t *o = json_pack("{s:s}", "of", d->name);
    if (d->has_from)
        json_object_set_new(o, "from", json_real(t->basis.from));
    if (d->has_to && isfinite(t->basis.to))
        json_object_set_new(o, "to", json_real(t->basis.to));
    json_object_set_new(o, "ns", json_real(t->ns));
    json_object_set_new(o, "per", json_string(d->unit));
    return o;
}

static json_t *error_json(const struct fit_error *f)
{
    if (f->n == 0)
        return json_pack("{s:i}", "steps", 0);
    return json_pack("{s:I, s:f, s:f, s:f}", "steps", (json_int_t)f->n, "mean", f->mean, "p90",
                     f->p90, "bias", f->bias);
}

static json_t *errors_json(const struct fitted_model *m)
{
    json_t *o = json_pack("{s:o}", "all", error_json(&m->held_out_all));
    for (enum regime r = 0; r < N_REGIMES; r++)
        json_object_set_new(o, regimes[r], error_json(&m->held_out[r]));
    return o;
}

static json_t *ranges_json(const struct fitted_model *m)
{
    json_t *o = json_object();
    for (enum aggregate a = 0; a < N_AGGREGATES; a++)
        json_object_set_new(o, aggregate_name(a),
                            json_pack("[f, f]", m->range[a].low, m->range[a].high));
    return o;
}

static json_t *fitted_json(const struct fitted_model *m)
{
    json_t *terms = json_array(), *sources = json_array(), *steps = json_object();
    for (size_t i = 0; i < m->n_terms; i++)
        json_array_append_new(terms, term_json(&m->term[i]));
    for (size_t i = 0; i < m->n_sources; i++)
        json_array_append_new(sources,
                              json_pack("{s:s, s:s, s:s}", "file", m->source[i].file, "sha256",
                                        m->source[i].sha256, "note", m->source[i].note));
    for (enum regime r = 0; r < N_REGIMES; r++)
        json_object_set_new(steps, regimes[r], json_integer((json_int_t)m->fitted_steps[r]));
    return json_pack("{s:s, s:i, s:s, s:s, s:s*, s:I, s:o, s:o, s:o, s:s, s:o, s:o}", "format",
                     FORMAT, "version", VERSION, "model", m->model, "gpu", m->gpu, "engine",
                     *m->engine ? m->engine : NULL, "tensor_parallel_size",
                     (json_int_t)m->tensor_parallel_size, "terms", terms, "fitted_range",
                     ranges_json(m), "fitted_steps", steps, "held_out", m->held_out_how,
                     "held_out_error", errors_json(m), "sources", sources);
}

static int put(const char *text, size_t n, void *file)
{
    return fwrite(text, 1, n, file) == n ? 0 : -1;
}

static void put_value(FILE *f, const json_t *v)
{
    json_dump_callback(v, put, f, JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS));
}

static void put_members(FILE *f, json_t *v)
{
    const char *key, *sep = "";
    json_t *item;
    size_t i;
    fputs(json_is_array(v) ? "[" : "{", f);
    json_array_foreach(v, i, item)
    {
        fprintf(f, "%s\n    ", sep);
        put_value(f, item);
        sep = ",";
    }
    json_object_foreach(v, key, item)
    {
        fprintf(f, "%s\n    \"%s\": ", sep, key);
        put_value(f, item);
        sep = ",";
    }
    fputs(json_is_array(v) ? "\n  ]" : "\n  }", f);
}

static void put_file(FILE *f, json_t *root)
{
    const char *key, *sep = "{";
    json_t *v;
    json_object_foreach(root, key, v)
    {
        fprintf(f, "%s\n  \"%s\": ", sep, key);
        if (json_is_array(v) || json_is_object(v))
            put_members(f, v);
        else
            put_value(f, v);
        sep = ",";
    }
    fputs("\n}\n", f);
}

bool fitted_save(const struct fitted_model *m, const char *path, struct err *e)
{
    json_t *root = fitted_json(m);
    FILE *f;
    if (!root)
        return err_set(e, "%s: a name in it is not valid UTF-8; rename the source", path);
    f = fopen(path, "w");
    if (f)
        put_file(f, root);
    bool ok = f && !ferror(f);
    ok = f && fclose(f) == 0 && ok;
    json_decref(root);
    return ok || err_set(e, "%s: cannot be written: %s", path, strerror(errno));
}

/* ---- reading: nothing missing passes ---- */

struct reader {
    const char *path;
    struct err *e;
};

#define bad(r, ...) err_set((r)->e, "%s: " __VA_ARGS__)

static bool read_number(const struct reader *r, const json_t *in, const char *key, double min,
                        double max, double *out)
{
    const json_t *v = json_object_get(in, key);
    *out = json_number_value(v);
    return (json_is_number(v) && *out >= min && *out <= max) ||
           bad(r, "\"%s\" is missing or no number from %g to %g; calibrate again", r->path, key,
               min, max);
}

static bool read_text(const struct reader *r, const json_t *in, const char *key, char *out,
                      size_t size)
{
    const char *text = json_string_value(json_object_get(in, key));
    int n = snprintf(out, size, "%s", text ? text : "");
    return (n > 0 && (size_t)n < size) ||
           bad(r, "\"%s\" is missing, empty or too long; calibrate again", r->path, key);
}

/* An older file does not say it. */
static bool read_engine(const struct reader *r, const json_t *root, struct fitted_model *m)
{
    return !json_object_get(root, "engine") ||
           read_text(r, root, "engine", m->engine, sizeof m->engine);
}

static bool read_count(const struct reader *r, const json_t *in, const char *key, uint64_t *out)
{
    double v;
    if (!read_number(r, in, key, 0, NUMBER_MAX, &v))
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool read_term(const struct reader *r, const json_t *in, struct fitted_term *t)
{
    char name[64];
    *t = (struct fitted_term){.basis = {.from = 0, .to = (double)INFINITY}};
    if (!read_text(r, in, "of", name, sizeof name))
        return false;
    if (!basis_find(name, &t->basis.kind))
        return bad(r, "\"%s\" is no term this program knows; calibrate again", r->path, name);
    const struct basis_doc *d = basis_doc(t->basis.kind);
    if ((d->has_from && !read_number(r, in, "from", 0, NUMBER_MAX, &t->basis.from)) ||
        (d->has_to && json_object_get(in, "to") &&
         !read_number(r, in, "to", t->basis.from, NUMBER_MAX, &t->basis.to)))
        return false;
    return read_number(r, in, "ns", 0, NUMBER_MAX, &t->ns);
}

static bool read_terms(const struct reader *r, const json_t *in, struct fitted_model *m)
{
    size_t n = json_array_size(in);
    if (n == 0 || n > FITTED_TERMS_MAX)
        return bad(r, "%zu terms; there are 1 to %u; calibrate again", r->path, n,
                   FITTED_TERMS_MAX);
    for (m->n_terms = 0; m->n_terms < n; m->n_terms++)
        if (!read_term(r, json_array_get(in, m->n_terms), &m->term[m->n_terms]))
            return false;
    return true;
}

static bool read_ranges(const struct reader *r, const json_t *in, struct fitted_model *m)
{
    for (enum aggregate a = 0; a < N_AGGREGATES; a++) {
        const json_t *v = json_object_get(in, aggregate_name(a));
        m->range[a].low = json_number_value(json_array_get(v, 0));
        m->range[a].high = json_number_value(json_array_get(v, 1));
        if (json_array_size(v) != 2 || !(m->range[a].low <= m->range[a].high))
            return bad(r, "\"fitted_range\" has no [low, high] of %s; calibrate again", r->path,
                       aggregate_name(a));
    }
    return true;
}

static bool read_error(const struct reader *r, const json_t *in, struct fit_error *f)
{
    *f = (struct fit_error){.mean = (double)NAN, .p90 = (double)NAN, .bias = (double)NAN};
    if (!read_count(r, in, "steps", &f->n))
        return false;
    return f->n == 0 || (read_number(r, in, "mean", 0, ERROR_MAX, &f->mean) &&
                         read_number(r, in, "p90", 0, ERROR_MAX, &f->p90) &&
                         read_number(r, in, "bias", -1, ERROR_MAX, &f->bias));
}

/* A model that does not say how far off it is, is not used. */
static bool read_errors(const struct reader *r, const json_t *in, struct fitted_model *m)
{
    if (!json_is_object(in))
        return bad(r, "it does not state its error (\"held_out_error\"); calibrate again", r->path);
    if (!read_error(r, json_object_get(in, "all"), &m->held_out_all))
        return false;
    if (m->held_out_all.n == 0)
        return bad(r, "its error was measured on no step; calibrate again with --hold-out",
                   r->path);
    for (enum regime g = 0; g < N_REGIMES; g++)
        if (!read_error(r, json_object_get(in, regimes[g]), &m->held_out[g]))
            return false;
    return true;
}

static bool read_sources(const struct reader *r, const json_t *in, struct fitted_model *m)
{
    size_t n = json_array_size(in);
    if (n == 0 || n > FITTED_SOURCES_MAX)
        return bad(r, "it does not name its sources; calibrate again", r->path);
    for (m->n_sources = 0; m->n_sources < n; m->n_sources++) {
        const json_t *s = json_array_get(in, m->n_sources);
        struct fitted_source *out = &m->source[m->n_sources];
        const char *note = json_string_value(json_object_get(s, "note"));
        snprintf(out->note, sizeof out->note, "%s", note ? note : "");
        if (!read_text(r, s, "file", out->file, sizeof out->file) ||
            !read_text(r, s, "sha256", out->sha256, sizeof out->sha256))
            return false;
    }
    return true;
}

static bool read_all(const struct reader *r, const json_t *root, struct fitted_model *m)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    double version, tp;
    if (!format || strcmp(format, FORMAT) != 0)
        return bad(r, "not a file made by `tandem calibrate`; give one", r->path);
    if (!read_number(r, root, "version", 0, NUMBER_MAX, &version))
        return false;
    if (version != VERSION)
        return bad(r, "version %g, this program knows %d; calibrate again", r->path, version,
                   VERSION);
    const json_t *steps = json_object_get(root, "fitted_steps");
    for (enum regime g = 0; g < N_REGIMES; g++)
        if (!read_count(r, steps, regimes[g], &m->fitted_steps[g]))
            return false;
    if (!read_number(r, root, "tensor_parallel_size", 1, 65536, &tp))
        return false;
    m->tensor_parallel_size = (uint32_t)tp;
    return read_text(r, root, "model", m->model, sizeof m->model) &&
           read_text(r, root, "gpu", m->gpu, sizeof m->gpu) && read_engine(r, root, m) &&
           read_text(r, root, "held_out", m->held_out_how, sizeof m->held_out_how) &&
           read_errors(r, json_object_get(root, "held_out_error"), m) &&
           read_terms(r, json_object_get(root, "terms"), m) &&
           read_ranges(r, json_object_get(root, "fitted_range"), m) &&
           read_sources(r, json_object_get(root, "sources"), m);
}

static bool load_file(struct fitted_model *m, const char *path, struct err *e)
{
    json_error_t why;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    const struct reader r = {path, e};
    *m = (struct fitted_model){.n_terms = 0};
    if (!root)
        return err_set(e, "%s:%d: %s; give a file made by `tandem calibrate`", path,
                       MAX(why.line, 0), why.text);
    bool ok = read_all(&r, root, m);
    json_decref(root);
    return ok;
}

bool fitted_load(struct fitted_model *m, const char *path, struct err *e)
{
    char inside[4096];
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return load_file(m, path, e);
    int n = snprintf(inside, sizeof inside, "%s/" FITTED_IN_FOLDER, path);
    return n < (int)sizeof inside ? load_file(m, inside, e)
                                  : err_set(e, "%s: the name is too long", path);
}
