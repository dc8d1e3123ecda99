/* sessions.c: what follows from a record's session (wrap.h).
 *
 * Content. A turn's prompt includes the history: all turns of a session are one stream, of which a
 * prompt is the first prompt_tokens tokens and the output goes on. A prompt shorter than the one
 * before and its output cannot contain them: the history was cut there, and a new stream (epoch)
 * begins. Records with segments of their own keep them; failed ones are not part of a history.
 *
 * session_mode=after. A timed record of a session that has an earlier turn follows that turn. The
 * gap is its arrival less the earlier turn's finish where the trace says how long that took, else
 * less the earlier turn's arrival (then think time includes what serving took when it was
 * recorded); never below 0. Turns that follow others in the trace already stay as they are.
 *
 * Memory: some 60 bytes a session, found by a 64-bit hash of its name. */
#include <string.h>

#include "sim/hash.h"
#include "traces/registry.h"
#include "traces/wrap.h"

#define SALT_SESSION UINT64_C(0x73657373696f6e73)
#define TABLE_START 64u

struct session {
    uint64_t name_hash; /* 0: empty */
    uint64_t last_seq;
    ns_t done_at;     /* of the last timed turn: finish, or arrival; -1: no timed turn yet */
    uint32_t history; /* tokens: last prompt and output */
    uint32_t epoch;
};

struct sessions {
    struct trace_source in;
    bool follow;           /* session_mode=after */
    struct session *table; /* owned: open addressing, a power of two */
    size_t table_len, n_used;
    struct segment segment; /* of the record given last */
};

static struct session *slot(const struct sessions *s, uint64_t name_hash)
{
    size_t i = (size_t)hash_u64(name_hash) & (s->table_len - 1);

    while (s->table[i].name_hash != 0 && s->table[i].name_hash != name_hash)
        i = (i + 1) & (s->table_len - 1);
    return &s->table[i];
}

static void grow(struct sessions *s)
{
    struct session *old = s->table;
    size_t old_len = s->table_len;

    s->table_len = old_len ? 2 * old_len : TABLE_START;
    s->table = mem_alloc(s->table_len * sizeof(*s->table));
    for (size_t i = 0; i < old_len; i++)
        if (old[i].name_hash != 0)
            *slot(s, old[i].name_hash) = old[i];
    mem_free(old);
}

/* The session of that name, made if it is new. */
static struct session *find(struct sessions *s, const char *name)
{
    uint64_t h = hash_str(name);
    struct session *found;

    h += h == 0;
    if (4 * (s->n_used + 1) > 3 * s->table_len)
        grow(s);
    found = slot(s, h);
    if (found->name_hash == 0) {
        *found = (struct session){.name_hash = h, .done_at = -1};
        s->n_used++;
    }
    return found;
}

static void set_content(struct sessions *s, struct session *of, struct trace_rec *rec)
{
    if (rec->prompt_tokens < of->history)
        of->epoch++;
    of->history = rec->prompt_tokens + rec->output_tokens;
    if (rec->n_segments > 0)
        return;
    s->segment = (struct segment){
        .stream = hash_mix(hash_mix(SALT_SESSION, of->name_hash), of->epoch),
        .tokens = rec->prompt_tokens,
    };
    rec->segment = &s->segment;
    rec->n_segments = 1;
    rec->continues = true;
}

static void set_time(struct session *of, struct trace_rec *rec, bool follow)
{
    ns_t arrival_at = rec->arrival_at, gap_ns = arrival_at - of->done_at;

    if (rec->after != TRACE_NO_PARENT)
        return;
    if (follow && of->done_at >= 0) {
        rec->after = of->last_seq;
        rec->delay_ns = MAX(gap_ns, 0);
        rec->arrival_at = 0;
    }
    of->done_at = ns_add(arrival_at, rec->elapsed_ns);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct sessions *s = self;
    enum trace_status st = s->in.ops->next(s->in.self, rec, e);
    struct session *of;

    if (st != TRACE_REC || !rec->session || rec->failed)
        return st;
    of = find(s, rec->session);
    set_content(s, of, rec);
    set_time(of, rec, s->follow);
    of->last_seq = rec->seq;
    return TRACE_REC;
}

static void close_sessions(void *self)
{
    struct sessions *s = self;

    s->in.ops->close(s->in.self);
    mem_free(s->table);
    mem_free(s);
}

static const struct trace_ops ops = {.name = "sessions", .next = next, .close = close_sessions};

void sessions_wrap(struct trace_source *s, const struct trace_env *env)
{
    struct sessions *w = mem_alloc(sizeof(*w));

    w->in = *s;
    w->follow =
        strcmp(params_str(env->params, trace_params, "trace", "session_mode"), "after") == 0;
    s->ops = &ops;
    s->self = w;
    if (w->follow)
        s->traits.has_after = true;
}
