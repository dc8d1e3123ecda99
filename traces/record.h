/* record.h: what all readers do to a record: number it, give it defaults, keep arrivals in order,
 * and turn the trace's block hashes into segments. */
#ifndef TRACES_RECORD_H
#define TRACES_RECORD_H

#include "traces/text.h"

struct recorder {
    uint64_t next_seq;
    ns_t last_at;            /* arrival of the last timed record */
    uint64_t salt;           /* of the format's hash ids, so that small ids spread over 64 bits */
    uint32_t block_tokens;   /* of the format's blocks */
    struct segment *segment; /* owned */
    size_t n_segments, segment_cap;
};

void recorder_init(struct recorder *r, const char *format, uint32_t block_tokens);
void recorder_release(struct recorder *r);

/* A record at the text's current line with nothing said: tenant, class and turn none, timed at 0.
 */
void record_begin(struct recorder *r, const struct text *t, struct trace_rec *rec);

/* Sets the arrival; an error if it is before the last one. */
bool record_arrival(struct recorder *r, const struct text *t, const char *name, ns_t at,
                    struct trace_rec *rec, struct err *e) NODISCARD;

/* Sets the session's name unless it is NULL or empty; an error if it is too long. */
bool record_session(const struct text *t, const char *name, const char *session,
                    struct trace_rec *rec, struct err *e) NODISCARD;

/* The next block of the prompt is the trace's block `id`. */
void record_block(struct recorder *r, uint64_t id);

/* All ids are in: cuts the last block to the prompt's length and hands the segments over. The last
 * block may lack its id if it is partial; it is then the request's own. `name`: of the ids. */
bool record_blocks(struct recorder *r, const struct text *t, const char *name,
                   struct trace_rec *rec, struct err *e) NODISCARD;

/* The prompt begins with the `tokens` of a prefix that all of `group` share, at most all of it but
 * one; the rest is in stream `rest` from 0 on. Nothing happens where that leaves no prefix. */
void record_prefix(struct trace_rec *rec, struct segment segment[2], uint64_t group,
                   uint32_t tokens, uint64_t rest);

#endif
