/* csv.c: our own trace format (contract.md section 5).
 *
 * A header with the columns below in any order, the first three required, no others. `after` is the
 * data row that a row follows: then arrival_s is empty and the row arrives delay_s after that one
 * has finished. prefix_hashes are space-separated ids of blocks of 16 tokens, or of N if a first
 * comment line says "# prefix_block=N". Optional cells may be empty: nothing is said.
 *
 * trace.map = "arrival_s=ts,prompt_tokens=in" reads anybody's log: our column = the file's. Columns
 * that are neither mapped nor ours are then ignored. */
#include "traces/csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/nearest.h"
#include "traces/record.h"
#include "traces/registry.h"
#include "traces/rows.h"

const char *const csv_columns[CSV_COLUMNS] = {
    [CSV_ARRIVAL] = "arrival_s",
    [CSV_PROMPT] = "prompt_tokens",
    [CSV_OUTPUT] = "output_tokens",
    [CSV_MAX_TOKENS] = "max_tokens",
    [CSV_TENANT] = "tenant",
    [CSV_SESSION] = "session",
    [CSV_TURN] = "turn",
    [CSV_AFTER] = "after",
    [CSV_DELAY] = "delay_s",
    [CSV_SLO_CLASS] = "slo_class",
    [CSV_PRIORITY] = "priority",
    [CSV_HASHES] = "prefix_hashes",
    [CSV_PREDICTED] = "predicted_tokens",
};

struct csv {
    struct rows rows;
    struct recorder rec;
    const struct trace_env *env;
    char *map; /* owned copy of trace.map, cut into words */
};

static int detect(const char *head)
{
    return rows_detect(head, csv_columns, CSV_REQUIRED);
}

/* ---- header ---- */

static size_t column_index(const char *name)
{
    size_t i = 0;

    while (i < CSV_COLUMNS && strcmp(csv_columns[i], name) != 0)
        i++;
    return i;
}

/* Fills names[our column] with the file's name for it: our own, or what trace.map says. */
static bool read_map(char *map, const char *names[CSV_COLUMNS], struct err *e)
{
    char *save = NULL;

    memcpy(names, csv_columns, sizeof(csv_columns));
    for (char *pair = strtok_r(map, ",", &save); pair; pair = strtok_r(NULL, ",", &save)) {
        char *theirs = strchr(pair, '=');
        size_t i;

        if (!theirs || theirs == pair || theirs[1] == '\0')
            return err_set(e, "trace.map: %s is not OUR_COLUMN=THEIRS; write arrival_s=ts,...",
                           text_quote(pair).s);
        *theirs++ = '\0';
        i = column_index(pair);
        if (i == CSV_COLUMNS)
            return err_set(e, "trace.map: unknown column %s; did you mean %s?", text_quote(pair).s,
                           nearest_word(pair, csv_columns, CSV_COLUMNS));
        if (names[i] != csv_columns[i])
            return err_set(e, "trace.map: %s is mapped twice; name it once", csv_columns[i]);
        names[i] = theirs;
    }
    return true;
}

static bool check_header(const struct csv *c, const char *const names[CSV_COLUMNS], struct err *e)
{
    const struct text *t = &c->rows.text;

    for (size_t i = 0; i < CSV_COLUMNS; i++)
        if (names[i] != csv_columns[i] && c->rows.at[i] == ROWS_NONE)
            return text_fail(t, e,
                             "column %s, which trace.map names, is missing; the header must "
                             "name it",
                             text_quote(names[i]).s);
    if (c->map[0] != '\0')
        return true;
    for (size_t i = 0; i < c->rows.n_columns; i++)
        if (column_index(c->rows.column[i]) == CSV_COLUMNS)
            return text_fail(t, e,
                             "unknown column %s; did you mean %s? (trace.map reads other logs)",
                             text_quote(c->rows.column[i]).s,
                             nearest_word(c->rows.column[i], csv_columns, CSV_COLUMNS));
    return true;
}

/* The comment line "prefix_block=N", if there is one. */
static bool prefix_block(const struct csv *c, uint32_t *block, struct err *e)
{
    static const char key[] = "prefix_block=";
    const char *s = c->rows.comment;

    *block = CSV_PREFIX_BLOCK;
    if (!s)
        return true;
    s += strspn(s, " \t");
    if (strncmp(s, key, sizeof(key) - 1) != 0)
        return true;
    return field_u32(&c->rows.text, "prefix_block", s + sizeof(key) - 1, 1, TOKENS_MAX, block, e);
}

static void close_csv(void *self)
{
    struct csv *c = self;

    rows_close(&c->rows);
    recorder_release(&c->rec);
    mem_free(c->map);
    mem_free(c);
}

static void *open_csv(const char *path, const struct trace_env *env, struct trace_traits *traits,
                      struct err *e)
{
    struct csv *c = mem_alloc(sizeof(*c));
    const char *names[CSV_COLUMNS];
    uint32_t block;

    c->env = env;
    c->map = mem_strdup(params_str(env->params, trace_params, "trace", "map"));
    if (!read_map(c->map, names, e) ||
        !rows_open(&c->rows, path, names, CSV_REQUIRED, CSV_COLUMNS, e)) {
        mem_free(c->map);
        mem_free(c);
        return NULL;
    }
    if (!check_header(c, names, e) || !prefix_block(c, &block, e)) {
        close_csv(c);
        return NULL;
    }
    recorder_init(&c->rec, CSV_HASH_SALT, block);
    *traits = (struct trace_traits){
        .has_hashes = c->rows.at[CSV_HASHES] != ROWS_NONE || c->rows.at[CSV_SESSION] != ROWS_NONE,
        .has_after = c->rows.at[CSV_AFTER] != ROWS_NONE,
        .block_tokens = c->rows.at[CSV_HASHES] != ROWS_NONE ? block : 0,
    };
    return c;
}

/* ---- rows ---- */

/* The cell of an optional column; NULL where nothing is said. */
static char *said(const struct csv *c, size_t column)
{
    char *cell = rows_cell(&c->rows, column);

    return cell && *cell ? cell : NULL;
}

static bool count(const struct csv *c, size_t column, uint32_t min, uint32_t max, uint32_t *out,
                  struct err *e)
{
    const char *cell = said(c, column);

    return !cell || field_u32(&c->rows.text, csv_columns[column], cell, min, max, out, e);
}

/* When it arrives: at a time, or after another row. */
static bool read_time(struct csv *c, struct trace_rec *rec, struct err *e)
{
    const struct text *t = &c->rows.text;
    const char *arrival = rows_cell(&c->rows, CSV_ARRIVAL), *after = said(c, CSV_AFTER);
    const char *delay = said(c, CSV_DELAY);
    ns_t at;

    if (!after) {
        if (delay)
            return text_fail(t, e, "column delay_s: %s without after; say which row it follows",
                             text_quote(delay).s);
        return field_time(t, csv_columns[CSV_ARRIVAL], arrival, TIME_S, &at, e) &&
               record_arrival(&c->rec, t, csv_columns[CSV_ARRIVAL], at, rec, e);
    }
    if (*arrival)
        return text_fail(t, e, "column arrival_s: %s in a row with after; leave one of them empty",
                         text_quote(arrival).s);
    if (!field_u64(t, csv_columns[CSV_AFTER], after, 0, UINT64_MAX, &rec->after, e))
        return false;
    if (rec->after >= rec->seq)
        return text_fail(t, e,
                         "column after: %s is not an earlier row; this is data row %llu, "
                         "counted from 0",
                         text_quote(after).s, (unsigned long long)rec->seq);
    return !delay || field_time(t, csv_columns[CSV_DELAY], delay, TIME_S, &rec->delay_ns, e);
}

static bool read_hashes(struct csv *c, struct trace_rec *rec, struct err *e)
{
    char *ids = said(c, CSV_HASHES), *save = NULL;

    if (!ids)
        return true;
    for (char *id = strtok_r(ids, " ", &save); id; id = strtok_r(NULL, " ", &save)) {
        uint64_t v;

        if (!field_u64(&c->rows.text, csv_columns[CSV_HASHES], id, 0, UINT64_MAX, &v, e))
            return false;
        record_block(&c->rec, v);
    }
    return record_blocks(&c->rec, &c->rows.text, csv_columns[CSV_HASHES], rec, e);
}

static bool read_row(struct csv *c, struct trace_rec *rec, struct err *e)
{
    const struct text *t = &c->rows.text;
    const char *tenant = said(c, CSV_TENANT), *slo_class = said(c, CSV_SLO_CLASS);
    const char *priority = said(c, CSV_PRIORITY);

    if (!read_time(c, rec, e) ||
        !field_u32(t, csv_columns[CSV_PROMPT], rows_cell(&c->rows, CSV_PROMPT), 1, TOKENS_MAX,
                   &rec->prompt_tokens, e) ||
        !field_u32(t, csv_columns[CSV_OUTPUT], rows_cell(&c->rows, CSV_OUTPUT), 1, TOKENS_MAX,
                   &rec->output_tokens, e) ||
        !count(c, CSV_MAX_TOKENS, 1, TOKENS_MAX, &rec->max_tokens, e) ||
        !count(c, CSV_PREDICTED, 1, TOKENS_MAX, &rec->predicted_tokens, e) ||
        !count(c, CSV_TURN, 0, TRACE_NO_TURN - 1, &rec->turn, e) ||
        (priority && !field_i32(t, csv_columns[CSV_PRIORITY], priority, &rec->priority, e)) ||
        !record_session(t, csv_columns[CSV_SESSION], said(c, CSV_SESSION), rec, e))
        return false;
    if (tenant)
        rec->tenant = names_id(c->env->tenants, tenant);
    if (slo_class)
        rec->slo_class = names_id(c->env->classes, slo_class);
    return read_hashes(c, rec, e);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct csv *c = self;
    enum trace_status st = rows_next(&c->rows, e);

    if (st != TRACE_REC)
        return st;
    record_begin(&c->rec, &c->rows.text, rec);
    return read_row(c, rec, e) ? TRACE_REC : TRACE_ERR;
}

const struct trace_ops trace_csv = {
    .name = "csv",
    .doc =
        "our own: arrival_s,prompt_tokens,output_tokens and optional columns, with trace.map any "
        "CSV log",
    .source = "contract.md section 5",
    .detect = detect,
    .open = open_csv,
    .next = next,
    .close = close_csv,
};
