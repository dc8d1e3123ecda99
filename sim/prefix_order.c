/* prefix_order.c: longest prefix match, as SGLang orders its waiting queue. */
#include "sim/prefix_order.h"

#include <stdlib.h>

static int by_match(const void *a, const void *b)
{
    const struct prefix_rank *x = a, *y = b;
    if (x->match != y->match)
        return x->match > y->match ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Has a request before it that hits little begun alike? If not, it is the first of its kind. */
static bool begins_like_another(uint64_t *seen, uint32_t *n_seen, uint64_t key)
{
    if (key == 0)
        return false;
    for (uint32_t i = 0; i < *n_seen; i++)
        if (seen[i] == key)
            return true;
    seen[(*n_seen)++] = key;
    return false;
}

void prefix_order_plain(struct prefix_order *o, const struct sched_view *v)
{
    o->sorted = false;
    o->n = 0;
    prefix_order_rewind(o, v);
}

void prefix_order_begin(struct prefix_order *o, const struct sched_view *v)
{
    prefix_order_plain(o, v);
    if (v->n_waiting > PREFIX_ORDER_MOST)
        return;
    o->sorted = true;
    uint64_t seen[PREFIX_ORDER_MOST];
    uint32_t n_seen = 0;
    for (req_id id = view_waiting_first(v); id != REQ_NONE; id = view_waiting_next(v, id)) {
        int64_t match = view_cached_len(v, id);
        if (match <= PREFIX_ORDER_ALIKE &&
            begins_like_another(seen, &n_seen, view_prefix_key(v, id, PREFIX_ORDER_ALIKE)))
            match = -1;
        o->rank[o->n] = (struct prefix_rank){.id = id, .place = o->n, .match = match};
        o->n++;
    }
    qsort(o->rank, o->n, sizeof(*o->rank), by_match);
}

void prefix_order_rewind(struct prefix_order *o, const struct sched_view *v)
{
    o->at = 0;
    o->next = view_waiting_first(v);
}

req_id prefix_order_next(struct prefix_order *o, const struct sched_view *v)
{
    if (o->sorted)
        return o->at < o->n ? o->rank[o->at++].id : REQ_NONE;
    req_id id = o->next;
    if (id != REQ_NONE)
        o->next = view_waiting_next(v, id);
    return id;
}
