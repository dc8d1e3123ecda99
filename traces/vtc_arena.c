/* vtc_arena.c: the arena trace of the VTC artifact as CSV (github.com/Ying1123/VTC-artifact):
 * req_id,arrival_s,client,prompt_len,output_len. The client, in truth the model that was asked, is
 * the tenant, as in the paper. req_id is not used: a record's number is its row. */
#include "traces/record.h"
#include "traces/rows.h"

static const char *const columns[] = {"arrival_s", "client", "prompt_len", "output_len", "req_id"};
enum { ARRIVAL, CLIENT, PROMPT, OUTPUT, N_REQUIRED };

struct arena_trace {
    struct rows rows;
    struct recorder rec;
    struct names *tenants; /* the run's */
};

static int detect(const char *head)
{
    return rows_detect(head, columns, ARRAY_LEN(columns));
}

static void *open_arena(const char *path, const struct trace_env *env, struct trace_traits *traits,
                        struct err *e)
{
    struct arena_trace *a = mem_alloc(sizeof(*a));

    if (!rows_open(&a->rows, path, columns, N_REQUIRED, ARRAY_LEN(columns), e)) {
        mem_free(a);
        return NULL;
    }
    recorder_init(&a->rec, "vtc_arena", 0);
    a->tenants = env->tenants;
    *traits = (struct trace_traits){0};
    return a;
}

static void close_arena(void *self)
{
    struct arena_trace *a = self;

    rows_close(&a->rows);
    recorder_release(&a->rec);
    mem_free(a);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct arena_trace *a = self;
    const struct rows *r = &a->rows;
    const struct text *t = &r->text;
    enum trace_status st = rows_next(&a->rows, e);
    ns_t at;

    if (st != TRACE_REC)
        return st;
    record_begin(&a->rec, t, rec);
    if (!field_time(t, columns[ARRIVAL], rows_cell(r, ARRIVAL), TIME_S, &at, e) ||
        !record_arrival(&a->rec, t, columns[ARRIVAL], at, rec, e) ||
        !field_u32(t, columns[PROMPT], rows_cell(r, PROMPT), 1, TOKENS_MAX, &rec->prompt_tokens,
                   e) ||
        !field_u32(t, columns[OUTPUT], rows_cell(r, OUTPUT), 1, TOKENS_MAX, &rec->output_tokens, e))
        return TRACE_ERR;
    if (*rows_cell(r, CLIENT))
        rec->tenant = names_id(a->tenants, rows_cell(r, CLIENT));
    return TRACE_REC;
}

const struct trace_ops trace_vtc_arena = {
    .name = "vtc_arena",
    .doc = "chat.lmsys.org arrivals as in the VTC artifact: "
           "req_id,arrival_s,client,prompt_len,output_len",
    .source = "github.com/Ying1123/VTC-artifact, Apache-2.0 (VTC, OSDI 2024)",
    .detect = detect,
    .open = open_arena,
    .next = next,
    .close = close_arena,
};
