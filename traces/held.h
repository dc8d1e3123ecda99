/* held.h: a record kept beyond the next call: a copy with what its pointers point to. */
#ifndef TRACES_HELD_H
#define TRACES_HELD_H

#include "sim/trace.h"

struct held {
    struct trace_rec rec;
    struct segment *segment; /* owned */
    size_t segment_cap;
    char session[TRACE_SESSION_MAX + 1];
};

/* `h` is zeroed, or held a record before: then its memory is used again. */
void held_set(struct held *h, const struct trace_rec *rec);

/* Its pointers are good until `h` is set again, moved or released. */
struct trace_rec held_get(const struct held *h);

void held_release(struct held *h);

#endif
