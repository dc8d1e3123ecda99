/* csv_write.c: see csv_write.h.
 *
 * What must hold: read again, a file gives the records it was written from. Times are exact. An id
 * is the number that csv.c turns into the record's own stream; where segments are no blocks, an id
 * is a hash of its block's content in blocks of 16 tokens. */
#include "traces/csv_write.h"

#include <inttypes.h>
#include <string.h>

#include "sim/hash.h"

/* ---- what is to be written ---- */

void csv_plan_init(struct csv_plan *p, const struct trace_env *env, const struct trace_traits *t)
{
    *p = (struct csv_plan){.env = env, .block_tokens = t->block_tokens};
    for (size_t i = 0; i < CSV_REQUIRED; i++)
        p->used[i] = true;
    p->as_blocks = t->block_tokens > 0;
    if (!p->as_blocks)
        p->block_tokens = CSV_PREFIX_BLOCK;
}

/* What sessions.c makes of a session's name, it will make again. */
static bool has_own_segments(const struct trace_rec *rec)
{
    return rec->n_segments > 0 && !(rec->session && rec->continues && rec->n_segments == 1);
}

static bool are_blocks(const struct trace_rec *rec, uint32_t block_tokens)
{
    uint32_t full = rec->prompt_tokens / block_tokens, rest = rec->prompt_tokens % block_tokens;

    if (rec->n_segments != full + (rest > 0))
        return false;
    for (uint32_t i = 0; i < rec->n_segments; i++)
        if (rec->segment[i].offset != 0 ||
            rec->segment[i].tokens != (i < full ? block_tokens : rest))
            return false;
    return true;
}

void csv_plan_add(struct csv_plan *p, const struct trace_rec *rec)
{
    bool follows = rec->after != TRACE_NO_PARENT;

    p->used[CSV_MAX_TOKENS] |= rec->max_tokens != 0;
    p->used[CSV_TENANT] |= strcmp(names_text(p->env->tenants, rec->tenant), "default") != 0;
    p->used[CSV_SESSION] |= rec->session != NULL;
    p->used[CSV_TURN] |= rec->turn != TRACE_NO_TURN;
    p->used[CSV_AFTER] |= follows;
    p->used[CSV_DELAY] |= follows && rec->delay_ns != 0;
    p->used[CSV_SLO_CLASS] |= rec->slo_class != NAMES_NONE;
    p->used[CSV_PRIORITY] |= rec->priority != 0;
    p->used[CSV_PREDICTED] |= rec->predicted_tokens != 0;
    if (!has_own_segments(rec))
        return;
    p->used[CSV_HASHES] = true;
    p->unsaid += rec->continues;
    if (p->as_blocks && !are_blocks(rec, p->block_tokens)) {
        p->as_blocks = false;
        p->block_tokens = CSV_PREFIX_BLOCK;
    }
}

/* ---- a row as text ---- */

/* Quoted where it has to be. */
static void add_text(struct row_file *f, const char *s)
{
    if (s[strcspn(s, ",\"")] == '\0') {
        row_add(f, "%s", s);
        return;
    }
    row_add(f, "\"");
    for (; *s; s++)
        row_add(f, "%s%c", *s == '"' ? "\"" : "", *s);
    row_add(f, "\"");
}

static void add_blocks(struct row_file *f, const struct trace_rec *rec)
{
    uint64_t salt = hash_str(CSV_HASH_SALT), own = content_private_stream(rec->seq);
    const char *space = "";

    for (uint32_t i = 0; i < rec->n_segments; i++) {
        /* a part of a block that had no id: csv.c gives it a stream of its own again */
        if (i + 1 == rec->n_segments && rec->segment[i].stream == own)
            break;
        row_add(f, "%s%" PRIu64, space, hash_unmix(salt, rec->segment[i].stream));
        space = " ";
    }
}

static void add_content(struct row_file *f, const struct trace_rec *rec)
{
    struct content c;
    const char *space = "";

    content_build(&c, rec->seq, rec->prompt_tokens, CSV_PREFIX_BLOCK, rec->segment, rec->n_segments,
                  false);
    for (uint32_t r = 0; r < c.n_runs; r++)
        for (uint32_t i = 0; i < c.run[r].n; i++) {
            row_add(f, "%s%" PRIu64, space, content_block_hash(&c.run[r], i));
            space = " ";
        }
    content_release(&c);
}

static void add_number(struct row_file *f, uint64_t value, bool is_said)
{
    if (is_said)
        row_add(f, "%" PRIu64, value);
}

static void add_cell(struct csv_writer *w, enum csv_column column, const struct trace_rec *rec,
                     uint64_t after)
{
    const struct trace_env *env = w->plan->env;
    struct row_file *f = &w->file;
    bool follows = rec->after != TRACE_NO_PARENT;

    switch (column) {
    case CSV_ARRIVAL:
        if (!follows)
            row_time(f, rec->arrival_at);
        break;
    case CSV_PROMPT:
        add_number(f, rec->prompt_tokens, true);
        break;
    case CSV_OUTPUT:
        add_number(f, rec->output_tokens, true);
        break;
    case CSV_MAX_TOKENS:
        add_number(f, rec->max_tokens, rec->max_tokens != 0);
        break;
    case CSV_TENANT:
        add_text(f, names_text(env->tenants, rec->tenant));
        break;
    case CSV_SESSION:
        add_text(f, rec->session ? rec->session : "");
        break;
    case CSV_TURN:
        add_number(f, rec->turn, rec->turn != TRACE_NO_TURN);
        break;
    case CSV_AFTER:
        add_number(f, after, follows);
        break;
    case CSV_DELAY:
        if (follows)
            row_time(f, rec->delay_ns);
        break;
    case CSV_SLO_CLASS:
        add_text(f, names_text(env->classes, rec->slo_class));
        break;
    case CSV_PRIORITY:
        if (rec->priority != 0)
            row_add(f, "%" PRId32, rec->priority);
        break;
    case CSV_HASHES:
        if (has_own_segments(rec))
            (w->plan->as_blocks ? add_blocks : add_content)(f, rec);
        break;
    case CSV_PREDICTED:
        add_number(f, rec->predicted_tokens, rec->predicted_tokens != 0);
        break;
    case CSV_COLUMNS:
        break;
    }
}

/* ---- the file ---- */

static bool write_header(struct csv_writer *w, struct err *e)
{
    const struct csv_plan *p = w->plan;
    const char *comma = "";

    if (p->used[CSV_HASHES])
        row_add(&w->file, "# prefix_block=%" PRIu32 "\n", p->block_tokens);
    for (size_t i = 0; i < CSV_COLUMNS; i++)
        if (p->used[i]) {
            row_add(&w->file, "%s%s", comma, csv_columns[i]);
            comma = ",";
        }
    return row_end(&w->file, e);
}

bool csv_write_open(struct csv_writer *w, const char *path, const struct csv_plan *plan,
                    struct err *e)
{
    *w = (struct csv_writer){.plan = plan};
    if (!row_file_open(&w->file, path, e))
        return false;
    if (write_header(w, e))
        return true;
    row_file_abandon(&w->file);
    return false;
}

bool csv_write_row(struct csv_writer *w, const struct trace_rec *rec, uint64_t after, struct err *e)
{
    const char *comma = "";

    for (size_t i = 0; i < CSV_COLUMNS; i++)
        if (w->plan->used[i]) {
            row_add(&w->file, "%s", comma);
            add_cell(w, (enum csv_column)i, rec, after);
            comma = ",";
        }
    w->n_rows++;
    return row_end(&w->file, e);
}
