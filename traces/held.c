/* held.c: see held.h. */
#include "traces/held.h"

#include <string.h>

void held_set(struct held *h, const struct trace_rec *rec)
{
    h->rec = *rec;
    if (rec->n_segments > 0) {
        h->segment = mem_reserve(h->segment, &h->segment_cap, rec->n_segments, sizeof(*h->segment));
        memcpy(h->segment, rec->segment, rec->n_segments * sizeof(*h->segment));
    }
    if (rec->session) {
        size_t len = strlen(rec->session);

        CHECK(len <= TRACE_SESSION_MAX, "trace: a session's name fits", "%zu bytes", len);
        memcpy(h->session, rec->session, len + 1);
    }
}

struct trace_rec held_get(const struct held *h)
{
    struct trace_rec rec = h->rec;

    rec.segment = h->segment;
    if (rec.session)
        rec.session = h->session;
    return rec;
}

void held_release(struct held *h)
{
    mem_free(h->segment);
    *h = (struct held){0};
}
