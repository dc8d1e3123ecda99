/* memory_trace.h: a trace source over an array of records, for tests. */
#ifndef TESTS_SUPPORT_MEMORY_TRACE_H
#define TESTS_SUPPORT_MEMORY_TRACE_H

#include "sim/trace.h"

struct memory_trace {
    const struct trace_rec *rec;
    size_t n, next;
};

static inline enum trace_status memory_trace_next(void *self, struct trace_rec *rec, struct err *e)
{
    struct memory_trace *m = self;
    (void)e;
    if (m->next == m->n)
        return TRACE_END;
    *rec = m->rec[m->next];
    rec->seq = m->next++;
    return TRACE_REC;
}

static const struct trace_ops memory_trace_ops = {.name = "memory", .next = memory_trace_next};

/* `m` starts at its first record. */
static inline struct trace_source memory_trace_source(struct memory_trace *m, uint32_t block_tokens)
{
    m->next = 0;
    return (struct trace_source){
        .ops = &memory_trace_ops,
        .self = m,
        .traits = {.has_hashes = block_tokens > 0, .block_tokens = block_tokens}};
}

#endif
