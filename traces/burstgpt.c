/* burstgpt.c: BurstGPT (github.com/HPMLL/BurstGPT), both sets of columns:
 * Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type, and with Session ID and
 * Elapsed time. Seconds from the file's own zero. The model is the tenant. No response tokens: the
 * request failed when it was recorded. Elapsed time is what it took then, so that a session's gaps
 * can be derived from finish to arrival. */
#include "traces/record.h"
#include "traces/rows.h"

static const char *const columns[] = {
    "Timestamp", "Model", "Request tokens", "Response tokens", "Session ID", "Elapsed time",
};
enum { ARRIVAL, MODEL, PROMPT, OUTPUT, SESSION, ELAPSED, N_REQUIRED = SESSION };

struct burstgpt {
    struct rows rows;
    struct recorder rec;
    struct names *tenants; /* the run's */
};

static int detect(const char *head)
{
    return rows_detect(head, columns, N_REQUIRED);
}

static void *open_burstgpt(const char *path, const struct trace_env *env,
                           struct trace_traits *traits, struct err *e)
{
    struct burstgpt *b = mem_alloc(sizeof(*b));

    if (!rows_open(&b->rows, path, columns, N_REQUIRED, ARRAY_LEN(columns), e)) {
        mem_free(b);
        return NULL;
    }
    recorder_init(&b->rec, "burstgpt", 0);
    b->tenants = env->tenants;
    *traits = (struct trace_traits){.has_hashes = b->rows.at[SESSION] != ROWS_NONE};
    return b;
}

static void close_burstgpt(void *self)
{
    struct burstgpt *b = self;

    rows_close(&b->rows);
    recorder_release(&b->rec);
    mem_free(b);
}

static bool lengths(const struct burstgpt *b, struct trace_rec *rec, struct err *e)
{
    const struct rows *r = &b->rows;
    const struct text *t = &r->text;

    if (!field_u32(t, columns[OUTPUT], rows_cell(r, OUTPUT), 0, TOKENS_MAX, &rec->output_tokens, e))
        return false;
    rec->failed = rec->output_tokens == 0;
    return field_u32(t, columns[PROMPT], rows_cell(r, PROMPT), rec->failed ? 0 : 1, TOKENS_MAX,
                     &rec->prompt_tokens, e);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct burstgpt *b = self;
    const struct rows *r = &b->rows;
    const struct text *t = &r->text;
    enum trace_status st = rows_next(&b->rows, e);
    const char *elapsed;
    ns_t at;

    if (st != TRACE_REC)
        return st;
    record_begin(&b->rec, t, rec);
    if (!field_time(t, columns[ARRIVAL], rows_cell(r, ARRIVAL), TIME_S, &at, e) ||
        !record_arrival(&b->rec, t, columns[ARRIVAL], at, rec, e) || !lengths(b, rec, e))
        return TRACE_ERR;
    elapsed = rows_cell(r, ELAPSED);
    if (elapsed && *elapsed &&
        !field_time(t, columns[ELAPSED], elapsed, TIME_S, &rec->elapsed_ns, e))
        return TRACE_ERR;
    if (*rows_cell(r, MODEL))
        rec->tenant = names_id(b->tenants, rows_cell(r, MODEL));
    return record_session(t, columns[SESSION], rows_cell(r, SESSION), rec, e) ? TRACE_REC
                                                                              : TRACE_ERR;
}

const struct trace_ops trace_burstgpt = {
    .name = "burstgpt",
    .doc =
        "BurstGPT: Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type, with or "
        "without Session ID,Elapsed time; no response tokens = failed, counted only",
    .source = "github.com/HPMLL/BurstGPT, CC-BY-4.0 (BurstGPT, KDD 2025)",
    .detect = detect,
    .open = open_burstgpt,
    .next = next,
    .close = close_burstgpt,
};
