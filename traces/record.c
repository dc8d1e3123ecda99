/* record.c: see record.h. */
#include "traces/record.h"

#include <string.h>

#include "sim/hash.h"

#define SALT_PREFIX UINT64_C(0x7072656669786573)

void recorder_init(struct recorder *r, const char *format, uint32_t block_tokens)
{
    *r = (struct recorder){.salt = hash_str(format), .block_tokens = block_tokens};
}

void recorder_release(struct recorder *r)
{
    mem_free(r->segment);
}

void record_begin(struct recorder *r, const struct text *t, struct trace_rec *rec)
{
    *rec = (struct trace_rec){
        .seq = r->next_seq++,
        .line = t->line,
        .after = TRACE_NO_PARENT,
        .tenant = NAMES_NONE,
        .slo_class = NAMES_NONE,
        .turn = TRACE_NO_TURN,
    };
    r->n_segments = 0;
}

bool record_arrival(struct recorder *r, const struct text *t, const char *name, ns_t at,
                    struct trace_rec *rec, struct err *e)
{
    if (at < r->last_at)
        return text_fail(
            t, e, "%s %s: time goes back from %.9f s to %.9f s; sort the rows by arrival", t->noun,
            name, (double)r->last_at / (double)NS_PER_S, (double)at / (double)NS_PER_S);
    rec->arrival_at = r->last_at = at;
    return true;
}

bool record_session(const struct text *t, const char *name, const char *session,
                    struct trace_rec *rec, struct err *e)
{
    if (!session || *session == '\0')
        return true;
    if (strlen(session) > TRACE_SESSION_MAX)
        return text_fail(t, e, "%s %s: %s is longer than %d bytes; shorten it", t->noun, name,
                         text_quote(session).s, TRACE_SESSION_MAX);
    rec->session = session;
    return true;
}

static void append(struct recorder *r, uint64_t stream, uint32_t tokens)
{
    r->segment = mem_reserve(r->segment, &r->segment_cap, r->n_segments + 1, sizeof(*r->segment));
    r->segment[r->n_segments++] = (struct segment){.stream = stream, .tokens = tokens};
}

void record_block(struct recorder *r, uint64_t id)
{
    append(r, hash_mix(r->salt, id), r->block_tokens);
}

bool record_blocks(struct recorder *r, const struct text *t, const char *name,
                   struct trace_rec *rec, struct err *e)
{
    size_t full = rec->prompt_tokens / r->block_tokens;
    uint32_t rest = rec->prompt_tokens % r->block_tokens;

    if (r->n_segments == 0)
        return true;
    if (r->n_segments != full && r->n_segments != full + (rest > 0))
        return text_fail(
            t, e, "%s %s: %zu ids for a prompt of %u tokens; blocks of %u tokens make it %zu",
            t->noun, name, r->n_segments, rec->prompt_tokens, r->block_tokens, full + (rest > 0));
    if (r->n_segments > full)
        r->segment[full].tokens = rest;
    else if (rest > 0)
        append(r, content_private_stream(rec->seq), rest);
    rec->segment = r->segment;
    rec->n_segments = (uint32_t)r->n_segments;
    return true;
}

void record_prefix(struct trace_rec *rec, struct segment segment[2], uint64_t group,
                   uint32_t tokens, uint64_t rest)
{
    uint32_t shared = MIN(tokens, rec->prompt_tokens - 1);

    if (shared == 0)
        return;
    segment[0] = (struct segment){.stream = hash_mix(SALT_PREFIX, group), .tokens = shared};
    segment[1] = (struct segment){.stream = rest, .tokens = rec->prompt_tokens - shared};
    rec->segment = segment;
    rec->n_segments = 2;
}
