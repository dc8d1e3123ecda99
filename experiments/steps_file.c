#include "experiments/steps_file.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "experiments/db.h"
#include "traces/rows.h"

void steps_release(struct steps_file *f)
{
    mem_free(f->step);
    *f = (struct steps_file){.n = 0};
}

struct measured_step *steps_add(struct steps_file *f)
{
    f->step = mem_reserve(f->step, &f->cap, f->n + 1, sizeof *f->step);
    f->step[f->n] = (struct measured_step){.run = 0};
    return &f->step[f->n++];
}

/* Of n equal prompts that computed this much with that much history. */
static double equal_pairs(const struct batch_shape *s)
{
    double chunk, history;
    if (s->n_prefill == 0)
        return 0;
    chunk = (double)s->prefill_tokens / s->n_prefill;
    history = (double)s->prefill_history_sum / s->n_prefill;
    return s->n_prefill * (chunk * history + chunk * (chunk + 1) / 2);
}

/* ---- CSV ---- */

static const char *const names[] = {"duration_ns",     "n_decode",       "n_prefill",
                                    "prefill_tokens",  "decode_context", "run",
                                    "held_out",        "host_ns",        "decode_tokens",
                                    "prefill_history", "prefill_pairs",  "prefill_context_max"};
enum {
    DURATION,
    N_DECODE,
    N_PREFILL,
    PREFILL_TOKENS,
    DECODE_CONTEXT,
    N_REQUIRED,
    RUN = N_REQUIRED,
    HELD_OUT,
    HOST,
    DECODE_TOKENS,
    HISTORY,
    PAIRS,
    CONTEXT_MAX
};

/* A field that may be missing keeps its default. */
static bool whole(const struct rows *r, size_t i, uint64_t max, uint64_t *out, struct err *e)
{
    char *cell = rows_cell(r, i);
    return !cell || field_u64(&r->text, names[i], cell, 0, max, out, e);
}

static bool fill(const struct rows *r, struct measured_step *m, struct err *e)
{
    const uint64_t tokens = TOKENS_MAX, any = UINT64_C(1) << 53;
    uint64_t duration = 0, decodes = 0, prefills = 0, prefill = 0, context = 0, run = 0, held = 0,
             host = 0, history = 0, pairs = UINT64_MAX, longest = 0;
    if (!whole(r, DURATION, any, &duration, e) || !whole(r, N_DECODE, tokens, &decodes, e) ||
        !whole(r, N_PREFILL, tokens, &prefills, e) ||
        !whole(r, PREFILL_TOKENS, tokens, &prefill, e) ||
        !whole(r, DECODE_CONTEXT, any, &context, e) || !whole(r, RUN, UINT32_MAX, &run, e) ||
        !whole(r, HELD_OUT, 1, &held, e) || !whole(r, HOST, any, &host, e) ||
        !whole(r, HISTORY, any, &history, e) || !whole(r, PAIRS, any, &pairs, e) ||
        !whole(r, CONTEXT_MAX, tokens, &longest, e))
        return false;
    uint64_t decode = decodes;
    if (!whole(r, DECODE_TOKENS, tokens, &decode, e))
        return false;
    if (duration <= host)
        return text_fail(&r->text, e,
                         "%s %" PRIu64 " is not more than %s %" PRIu64 "; leave it out",
                         names[DURATION], duration, names[HOST], host);
    if (decode + prefill == 0 || (prefills == 0) != (prefill == 0))
        return text_fail(&r->text, e,
                         "a step of no tokens, or prompts without tokens; leave it out");
    m->shape = (struct batch_shape){
        .n_decode = (uint32_t)decodes,
        .n_prefill = (uint32_t)prefills,
        .decode_tokens = (uint32_t)decode,
        .prefill_tokens = (uint32_t)prefill,
        .decode_context_sum = context,
        .prefill_history_sum = history,
        .prefill_context_max = (uint32_t)longest,
    };
    m->shape.prefill_pairs = pairs == UINT64_MAX ? equal_pairs(&m->shape) : (double)pairs;
    m->device_ns = (double)(duration - host);
    m->host_ns = (double)host;
    m->run = (uint32_t)run;
    m->held_out = held == 1;
    return true;
}

bool steps_read_csv(struct steps_file *f, const char *path, struct err *e)
{
    struct rows r;
    *f = (struct steps_file){.n = 0};
    if (!rows_open(&r, path, names, N_REQUIRED, ARRAY_LEN(names), e))
        return false;
    f->says_held_out = rows_find(&r, names[HELD_OUT]) != ROWS_NONE;
    if (r.comment)
        snprintf(f->note, sizeof f->note, "%s", r.comment + strspn(r.comment, " "));
    while (rows_next(&r, e) == TRACE_REC && fill(&r, steps_add(f), e))
        continue;
    rows_close(&r);
    return !e->set;
}

/* ---- database ---- */

bool steps_is_db(const char *path)
{
    static const char magic[] = "SQLite format 3";
    char head[sizeof magic] = "";
    FILE *f = fopen(path, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head &&
              memcmp(head, magic, sizeof magic) == 0;
    if (f)
        fclose(f);
    return is;
}

/* The run that is asked for, or the only one with steps. */
static bool find_run(sqlite3 *db, const char *path, int64_t *run_id, struct steps_file *f,
                     struct err *e)
{
    sqlite3_stmt *q =
        db_prepare(db,
                   "SELECT id, model, gpu, backend FROM runs WHERE id IN (SELECT run_id FROM"
                   " steps) AND (?1 = 0 OR id = ?1) ORDER BY id",
                   e);
    bool row = false, more = false;
    if (!q)
        return false;
    sqlite3_bind_int64(q, 1, *run_id);
    bool ok = db_step(q, &row, e);
    if (ok && row) {
        *run_id = sqlite3_column_int64(q, 0);
        snprintf(f->model, sizeof f->model, "%s", (const char *)sqlite3_column_text(q, 1));
        snprintf(f->gpu, sizeof f->gpu, "%s", (const char *)sqlite3_column_text(q, 2));
        snprintf(f->note, sizeof f->note, "run %lld: %s, backend %s", (long long)*run_id, f->model,
                 (const char *)sqlite3_column_text(q, 3));
        ok = db_step(q, &more, e);
    } else if (ok) {
        ok = err_set(e, "%s: holds no steps of %s; store them with `tandem run --steps`", path,
                     *run_id ? "that run" : "any run");
    }
    if (ok && more)
        ok = err_set(e, "%s: several runs have steps; say which one with --run ID", path);
    sqlite3_finalize(q);
    return ok;
}

static void fill_row(sqlite3_stmt *q, struct measured_step *m)
{
    uint64_t context = (uint64_t)sqlite3_column_int64(q, 6);
    uint64_t history = (uint64_t)sqlite3_column_int64(q, 7);
    m->device_ns = sqlite3_column_double(q, 0);
    m->host_ns = sqlite3_column_double(q, 1) - m->device_ns;
    m->shape = (struct batch_shape){
        .n_decode = (uint32_t)sqlite3_column_int64(q, 2),
        .n_prefill = (uint32_t)sqlite3_column_int64(q, 3),
        .decode_tokens = (uint32_t)sqlite3_column_int64(q, 4),
        .prefill_tokens = (uint32_t)sqlite3_column_int64(q, 5),
        .decode_context_sum = context - MIN(history, context),
        .prefill_history_sum = history,
        .prefill_pairs = sqlite3_column_double(q, 8),
    };
}

/* Steps that took the device no time (an empty one, or none of ours) tell nothing. */
bool steps_read_db(struct steps_file *f, const char *path, int64_t run_id, struct err *e)
{
    *f = (struct steps_file){.n = 0};
    sqlite3 *db = db_open_read(path, e);
    if (!db)
        return false;
    sqlite3_stmt *q = NULL;
    bool row = true;
    bool ok = find_run(db, path, &run_id, f, e);
    if (ok)
        q = db_prepare(db,
                       "SELECT device_ns, duration_ns, n_decode, n_prefill, decode_tokens,"
                       " prefill_tokens, context_tokens, prefill_history, prefill_pairs FROM steps"
                       " WHERE run_id = ? AND device_ns > 0 ORDER BY replica, step",
                       e);
    ok = q && sqlite3_bind_int64(q, 1, run_id) == SQLITE_OK;
    while (ok && (ok = db_step(q, &row, e)) && row)
        fill_row(q, steps_add(f));
    sqlite3_finalize(q);
    sqlite3_close(db);
    return !e->set;
}
