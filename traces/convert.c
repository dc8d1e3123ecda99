/* convert.c: see convert.h. A first reading finds the columns and whether followers lie where they
 * should; if not, a second one keeps them; the last one writes. */
#include "traces/convert.h"

#include <inttypes.h>
#include <stdlib.h>

#include "traces/csv_write.h"
#include "traces/held.h"
#include "traces/registry.h"

/* Where a record of the current chain went. */
struct placed {
    uint64_t seq, row;
};

struct conversion {
    const char *from, *format;
    const struct trace_env *env;
    struct converted *out;
    struct csv_plan plan;
    struct csv_writer writer;

    bool in_place; /* every follower lies behind the timed row of its chain, before the next one */
    uint64_t timed_seq; /* the last timed record */

    struct held *held; /* owned: followers, unless in_place; by what they follow, then by seq */
    size_t n_held, held_cap;

    struct placed *chain; /* owned: a timed row and those behind it */
    size_t n_chain, chain_cap;
};

/* ---- readings ---- */

typedef bool (*visit_fn)(struct conversion *c, const struct trace_rec *rec, struct err *e);

/* Gives every record to `visit` that did not fail. */
static bool read_all(struct conversion *c, visit_fn visit, struct err *e)
{
    struct trace_source src;
    struct trace_rec rec;
    enum trace_status st;

    if (!trace_open(c->from, c->format, c->env, &src, e))
        return false;
    if (c->plan.env == NULL)
        csv_plan_init(&c->plan, c->env, &src.traits);
    c->out->failed = 0;
    while ((st = src.ops->next(src.self, &rec, e)) == TRACE_REC) {
        if (rec.failed)
            c->out->failed++;
        else if (!visit(c, &rec, e))
            break;
    }
    src.ops->close(src.self);
    return st == TRACE_END;
}

static bool look(struct conversion *c, const struct trace_rec *rec, struct err *e)
{
    (void)e;
    if (rec->after == TRACE_NO_PARENT)
        c->timed_seq = rec->seq;
    else if (rec->after < c->timed_seq)
        c->in_place = false;
    csv_plan_add(&c->plan, rec);
    return true;
}

static bool keep_follower(struct conversion *c, const struct trace_rec *rec, struct err *e)
{
    (void)e;
    if (rec->after == TRACE_NO_PARENT)
        return true;
    c->held = mem_reserve(c->held, &c->held_cap, c->n_held + 1, sizeof(*c->held));
    c->held[c->n_held] = (struct held){0};
    held_set(&c->held[c->n_held++], rec);
    return true;
}

static int by_parent(const void *a, const void *b)
{
    const struct trace_rec *x = &((const struct held *)a)->rec, *y = &((const struct held *)b)->rec;

    if (x->after != y->after)
        return x->after < y->after ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* ---- writing ---- */

static bool put(struct conversion *c, const struct trace_rec *rec, uint64_t after, struct err *e)
{
    c->chain = mem_reserve(c->chain, &c->chain_cap, c->n_chain + 1, sizeof(*c->chain));
    c->chain[c->n_chain++] = (struct placed){.seq = rec->seq, .row = c->writer.n_rows};
    return csv_write_row(&c->writer, rec, after, e);
}

/* The row of a record of the current chain; what is followed is most often the last one. */
static uint64_t row_of(const struct conversion *c, uint64_t seq)
{
    size_t i = c->n_chain;

    while (i > 0 && c->chain[i - 1].seq != seq)
        i--;
    CHECK(i > 0, "convert: what a record follows is in its chain", "seq %" PRIu64, seq);
    return c->chain[i - 1].row;
}

/* The first held record that follows `seq` or a later one. */
static size_t first_follower(const struct conversion *c, uint64_t seq)
{
    size_t low = 0, high = c->n_held;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (c->held[mid].rec.after < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Everything held that follows from the timed row just put, each behind what it follows. */
static bool put_followers(struct conversion *c, struct err *e)
{
    for (size_t i = 0; i < c->n_chain; i++) {
        struct placed parent = c->chain[i];

        for (size_t k = first_follower(c, parent.seq);
             k < c->n_held && c->held[k].rec.after == parent.seq; k++) {
            struct trace_rec rec = held_get(&c->held[k]);

            if (!put(c, &rec, parent.row, e))
                return false;
        }
    }
    return true;
}

static bool write_rec(struct conversion *c, const struct trace_rec *rec, struct err *e)
{
    if (rec->after != TRACE_NO_PARENT)
        return !c->in_place || put(c, rec, row_of(c, rec->after), e);
    c->n_chain = 0;
    return put(c, rec, 0, e) && (c->in_place || put_followers(c, e));
}

static bool write_all(struct conversion *c, const char *to, struct err *e)
{
    if (!csv_write_open(&c->writer, to, &c->plan, e))
        return false;
    if (!read_all(c, write_rec, e)) {
        row_file_abandon(&c->writer.file);
        return false;
    }
    c->out->rows = c->writer.n_rows;
    return row_file_close(&c->writer.file, e);
}

bool trace_convert(const char *from, const char *format, const struct trace_env *env,
                   const char *to, struct converted *out, struct err *e)
{
    struct conversion c = {
        .from = from, .format = format, .env = env, .out = out, .in_place = true};
    bool ok;

    *out = (struct converted){0};
    ok = read_all(&c, look, e);
    if (ok && !c.in_place) {
        ok = read_all(&c, keep_follower, e);
        if (ok)
            qsort(c.held, c.n_held, sizeof(*c.held), by_parent);
    }
    ok = ok && write_all(&c, to, e);
    out->unsaid = c.plan.unsaid;
    for (size_t i = 0; i < c.n_held; i++)
        held_release(&c.held[i]);
    mem_free(c.held);
    mem_free(c.chain);
    return ok;
}
