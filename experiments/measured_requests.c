#include "experiments/measured_requests.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/nearest.h"
#include "traces/rows.h"

void measured_release(struct measured *m)
{
    mem_free(m->request);
    arena_release(&m->strings);
    json_decref(m->summary);
    json_decref(m->config);
    *m = (struct measured){.n = 0};
}

struct measured_request *measured_add(struct measured *m)
{
    m->request = mem_reserve(m->request, &m->cap, m->n + 1, sizeof *m->request);
    struct measured_request *r = &m->request[m->n];
    *r = (struct measured_request){.seq = m->n, .row = m->n, .arrived_at = -1};
    for (size_t i = 0; i < N_LATENCIES; i++)
        r->ms[i] = (double)NAN;
    m->n++;
    return r;
}

/* ---- order ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_seq(const void *a, const void *b)
{
    const struct measured_request *x = a, *y = b;
    return x->seq != y->seq ? compare_u64(x->seq, y->seq) : compare_u64(x->row, y->row);
}

static int by_arrival(const void *a, const void *b)
{
    const struct measured_request *x = a, *y = b;
    if (x->arrived_at != y->arrived_at)
        return x->arrived_at < y->arrived_at ? -1 : 1;
    return by_seq(a, b);
}

bool measured_order(struct measured *m, const char *path, struct err *e)
{
    qsort(m->request, m->n, sizeof *m->request, by_seq);
    for (size_t i = 1; i < m->n; i++)
        if (m->request[i].seq == m->request[i - 1].seq)
            return err_set(e, "%s: request %" PRIu64 " is there twice; give one run of it", path,
                           m->request[i].seq);
    return true;
}

const struct measured_request *measured_find(const struct measured *m, uint64_t seq)
{
    const struct measured_request key = {.seq = seq};
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->request[middle].seq < key.seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->n && m->request[low].seq == seq ? &m->request[low] : NULL;
}

/* ---- conditions ---- */

bool where_find(const struct rows *r, const struct measured_where *where, size_t n,
                size_t at[MEASURED_WHERE_MAX], struct err *e)
{
    if (n > MEASURED_WHERE_MAX)
        return err_set(e, "--where: %zu conditions; give %u at most", n, MEASURED_WHERE_MAX);
    for (size_t i = 0; i < n; i++) {
        at[i] = rows_find(r, where[i].column);
        if (at[i] == ROWS_NONE)
            return text_fail(
                &r->text, e, "--where: no column %s; the nearest is %s",
                text_quote(where[i].column).s,
                nearest_word(where[i].column, (const char *const *)r->column, r->n_columns));
    }
    return true;
}

bool where_holds(const struct rows *r, const struct measured_where *where, size_t n,
                 const size_t at[MEASURED_WHERE_MAX])
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(r->cell[at[i]], where[i].value) != 0)
            return false;
    return true;
}

/* ---- CSV ---- */

enum field { SEQ, ARRIVAL, PROMPT, OUTPUT, MAX_TOKENS, TENANT, LATENCY, N_FIELDS = LATENCY + 3 };

/* Under which names others have it; a latency in `ms` times the cell. */
static const struct {
    enum field field;
    const char *name;
    double ms;
} columns[] = {
    {SEQ, "seq", 0},
    {SEQ, "req", 0},
    {ARRIVAL, "arrival_s", 0},
    {PROMPT, "prompt_tokens", 0},
    {PROMPT, "input_tokens", 0},
    {PROMPT, "prompt_len", 0},
    {OUTPUT, "output_tokens", 0},
    {OUTPUT, "output_len", 0},
    {MAX_TOKENS, "max_tokens", 0},
    {TENANT, "tenant", 0},
    {TENANT, "client", 0},
    {LATENCY + LATENCY_TTFT, "ttft_ms", 1},
    {LATENCY + LATENCY_TTFT, "first_token_latency_s", 1e3},
    {LATENCY + LATENCY_TPOT, "tpot_ms", 1},
    {LATENCY + LATENCY_E2E, "e2e_ms", 1},
    {LATENCY + LATENCY_E2E, "e2el_ms", 1},
    {LATENCY + LATENCY_E2E, "request_latency_s", 1e3},
};

struct reader {
    struct rows rows;
    struct {
        size_t at; /* ROWS_NONE: not there */
        const char *name;
        double ms;
    } field[N_FIELDS];
    const struct measured_where *where;
    size_t where_at[MEASURED_WHERE_MAX], n_where;
};

static bool find_fields(struct reader *r, struct err *e)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        r->field[i].at = ROWS_NONE;
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        size_t at = rows_find(&r->rows, columns[i].name), f = columns[i].field;
        if (at == ROWS_NONE)
            continue;
        if (r->field[f].at != ROWS_NONE)
            return text_fail(&r->rows.text, e, "columns %s and %s say the same; leave one of them",
                             r->field[f].name, columns[i].name);
        r->field[f].at = at;
        r->field[f].name = columns[i].name;
        r->field[f].ms = columns[i].ms;
    }
    for (size_t i = 0; i < N_LATENCIES; i++)
        if (r->field[LATENCY + i].at != ROWS_NONE)
            return true;
    return text_fail(&r->rows.text, e,
                     "no latency column; name one ttft_ms, tpot_ms or e2e_ms "
                     "(`tandem validate --help` has other names)");
}

/* NULL where the column is missing or the cell empty. */
static const char *cell_of(const struct reader *r, size_t f)
{
    const char *cell = r->field[f].at == ROWS_NONE ? NULL : r->rows.cell[r->field[f].at];
    return cell && *cell ? cell : NULL;
}

static bool read_tokens(const struct reader *r, size_t f, uint32_t min, uint32_t *out,
                        struct err *e)
{
    const char *cell = cell_of(r, f);
    return !cell || field_u32(&r->rows.text, r->field[f].name, cell, min, TOKENS_MAX, out, e);
}

static bool read_latency(const struct reader *r, struct measured_request *q, enum latency l,
                         struct err *e)
{
    double x;
    const char *cell = cell_of(r, LATENCY + (size_t)l);
    if (!cell)
        return true;
    if (!parse_real(cell, &x))
        return text_fail(&r->rows.text, e, "column %s: %s is not a number",
                         r->field[LATENCY + l].name, text_quote(cell).s);
    if (x >= 0)
        q->ms[l] = x * r->field[LATENCY + l].ms;
    return true;
}

static bool read_row(struct measured *m, struct reader *r, struct err *e)
{
    const struct text *t = &r->rows.text;
    struct measured_request *q = measured_add(m);
    const char *arrival = cell_of(r, ARRIVAL), *tenant = cell_of(r, TENANT);
    const char *seq = cell_of(r, SEQ);
    if ((seq && !field_u64(t, r->field[SEQ].name, seq, 0, UINT64_C(1) << 53, &q->seq, e)) ||
        (arrival && !field_time(t, "arrival_s", arrival, TIME_S, &q->arrived_at, e)) ||
        !read_tokens(r, PROMPT, 1, &q->prompt_tokens, e) ||
        !read_tokens(r, OUTPUT, 0, &q->output_tokens, e) ||
        !read_tokens(r, MAX_TOKENS, 0, &q->max_tokens, e))
        return false;
    for (enum latency l = 0; l < N_LATENCIES; l++)
        if (!read_latency(r, q, l, e))
            return false;
    /* The last thing that is told of a request. */
    static const enum latency last[] = {LATENCY_E2E, LATENCY_TTFT, LATENCY_TPOT};
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(last) && !m->has[last[i]])
        i++;
    q->finished = !isnan(q->ms[last[i]]);
    q->tenant = tenant ? arena_strdup(&m->strings, tenant) : NULL;
    m->is_trace = m->is_trace && q->arrived_at >= 0 && q->prompt_tokens && q->output_tokens;
    return true;
}

static bool read_rows(struct measured *m, struct reader *r, struct err *e)
{
    for (enum latency l = 0; l < N_LATENCIES; l++)
        m->has[l] = r->field[LATENCY + l].at != ROWS_NONE;
    m->is_trace = true;
    while (rows_next(&r->rows, e) == TRACE_REC)
        if (where_holds(&r->rows, r->where, r->n_where, r->where_at) && !read_row(m, r, e))
            return false;
    if (e->set)
        return false;
    return m->n > 0 || text_fail(&r->rows.text, e, "no request%s; give the rows of one run",
                                 r->n_where ? " is as --where says" : "");
}

bool measured_read_csv(struct measured *m, const char *path, const struct measured_where *where,
                       size_t n_where, struct err *e)
{
    struct reader r = {.where = where, .n_where = n_where};
    *m = (struct measured){.n = 0};
    arena_init(&m->strings);
    if (!rows_open(&r.rows, path, NULL, 0, 0, e))
        return false;
    bool ok = find_fields(&r, e) && where_find(&r.rows, where, n_where, r.where_at, e) &&
              read_rows(m, &r, e) && measured_order(m, path, e);
    rows_close(&r.rows);
    return ok;
}

/* ---- as a trace ---- */

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct measured_trace *t = self;
    (void)e;
    if (t->next == t->m->n)
        return TRACE_END;
    const struct measured_request *q = &t->m->request[t->next++];
    *rec = (struct trace_rec){
        .seq = q->seq,
        .arrival_at = q->arrived_at,
        .after = TRACE_NO_PARENT,
        .prompt_tokens = q->prompt_tokens,
        .output_tokens = q->output_tokens,
        .max_tokens = q->max_tokens,
        .tenant = names_id(t->tenants, q->tenant ? q->tenant : "default"),
        .slo_class = NAMES_NONE,
        .turn = TRACE_NO_TURN,
    };
    return TRACE_REC;
}

static void close_trace(void *self)
{
    (void)self; /* the caller's */
}

struct trace_source measured_trace(struct measured_trace *t, struct measured *m,
                                   struct names *tenants)
{
    static const struct trace_ops ops = {.name = "measured", .next = next, .close = close_trace};
    CHECK(m->is_trace, "measured: a trace has arrivals and lengths", "%zu requests", m->n);
    qsort(m->request, m->n, sizeof *m->request, by_arrival);
    for (size_t i = 0; i < m->n; i++)
        m->request[i].seq = i;
    *t = (struct measured_trace){m, tenants, 0};
    return (struct trace_source){.ops = &ops, .self = t, .format = ops.name};
}
