/* quality_rows.c: figures of `tandem quality`, stored as they come: measuring takes long, and what
 * was measured when it is cut off stands. */
#include <gsl/gsl_cdf.h>
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>

#include "experiments/db.h"
#include "experiments/quality.h"

enum { BUSY_MS = 5000 };

struct quality_sink {
    sqlite3 *db;
    sqlite3_stmt *insert;
    json_t *rows;
};

/* ---- intervals ---- */

void quality_wilson(double share, uint64_t n, double *low, double *high)
{
    double z = gsl_cdf_ugaussian_Pinv(0.975), m = (double)n;
    double centre = (share + z * z / (2 * m)) / (1 + z * z / m);
    double reach = z / (1 + z * z / m) * sqrt(share * (1 - share) / m + z * z / (4 * m * m));
    *low = n > 0 ? MAX(0.0, centre - reach) : 0;
    *high = n > 0 ? MIN(1.0, centre + reach) : 1;
}

void quality_mean(const double *x, uint64_t n, double *mean, double *low, double *high)
{
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    double reach = HUGE_VAL;
    if (n > 1)
        reach = gsl_cdf_tdist_Pinv(0.975, (double)(n - 1)) *
                sqrt(squares / (double)(n - 1) / (double)n);
    *low = *mean - reach;
    *high = *mean + reach;
}

/* ---- the sink ---- */

struct quality_sink *quality_sink_open(const char *path, struct err *e)
{
    struct quality_sink *s = mem_alloc(sizeof(*s));
    s->rows = json_array();
    s->db = db_open_write(path, BUSY_MS, e);
    if (s->db != NULL)
        s->insert = db_prepare(s->db,
                               "INSERT INTO quality (model, kv_policy, params, resident_tokens,"
                               " read_tokens, task, protocol, length, depth, layer, head, metric,"
                               " value, low, high, n)"
                               " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                               e);
    if (s->insert != NULL)
        return s;
    bool closed = quality_sink_close(s, e); /* e says why already */
    (void)closed;
    return NULL;
}

static void put_real(sqlite3_stmt *stmt, int at, double x)
{
    if (isfinite(x))
        sqlite3_bind_double(stmt, at, x); /* else NULL, as it is */
}

static json_t *json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

const json_t *quality_sink_rows(const struct quality_sink *s)
{
    return s->rows;
}

static void keep(struct quality_sink *s, const struct quality_label *l,
                 const struct quality_figure *f)
{
    char protocol[2] = {f->protocol, '\0'};
    json_array_append_new(
        s->rows,
        json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:I, s:o, s:i, s:i, s:s, s:o, s:o, s:o, s:I}",
                  "kv_policy", l->policy, "params", l->params, "resident_tokens",
                  json_number(l->resident), "read_tokens", json_number(l->read), "task", f->task,
                  "protocol", protocol, "length", (json_int_t)f->length, "depth",
                  json_number(f->depth), "layer", f->layer, "head", f->head, "metric", f->metric,
                  "value", json_number(f->value), "low", json_number(f->low), "high",
                  json_number(f->high), "n", (json_int_t)f->n));
}

bool quality_sink_add(struct quality_sink *s, const struct quality_label *l,
                      const struct quality_figure *f, struct err *e)
{
    sqlite3_stmt *q = s->insert;
    bool row;
    keep(s, l, f);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    sqlite3_bind_text(q, 1, l->model, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(q, 2, l->policy, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(q, 3, l->params, -1, SQLITE_TRANSIENT);
    put_real(q, 4, l->resident);
    put_real(q, 5, l->read);
    sqlite3_bind_text(q, 6, f->task, -1, SQLITE_TRANSIENT);
    if (f->protocol)
        sqlite3_bind_text(q, 7, &f->protocol, 1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(q, 8, f->length);
    put_real(q, 9, f->depth);
    if (f->layer >= 0)
        sqlite3_bind_int(q, 10, f->layer);
    if (f->head >= 0)
        sqlite3_bind_int(q, 11, f->head);
    sqlite3_bind_text(q, 12, f->metric, -1, SQLITE_TRANSIENT);
    put_real(q, 13, f->value);
    put_real(q, 14, f->low);
    put_real(q, 15, f->high);
    sqlite3_bind_int64(q, 16, (sqlite3_int64)f->n);
    return db_step(q, &row, e);
}

bool quality_sink_close(struct quality_sink *s, struct err *e)
{
    if (s == NULL)
        return true;
    sqlite3_finalize(s->insert);
    bool ok = db_close_write(s->db, e);
    json_decref(s->rows);
    mem_free(s);
    return ok;
}
