#include "sim/prefix_queue.h"

static struct prefix_link *link_of(const struct ptree *t, uint32_t id)
{
    return prefix_state(t, id);
}

/* Puts `id` between two neighbours, either of which may be the end. */
static void put_between(struct prefix_queue *q, const struct ptree *t, uint32_t id, uint32_t older,
                        uint32_t newer)
{
    *link_of(t, id) = (struct prefix_link){.newer = newer, .older = older};
    *(older == PREFIX_QUEUE_END ? &q->oldest : &link_of(t, older)->newer) = id;
    *(newer == PREFIX_QUEUE_END ? &q->newest : &link_of(t, newer)->older) = id;
    q->n_nodes++;
}

void prefix_queue_push(struct prefix_queue *q, const struct ptree *t, uint32_t id)
{
    put_between(q, t, id, q->newest, PREFIX_QUEUE_END);
}

void prefix_queue_remove(struct prefix_queue *q, const struct ptree *t, uint32_t id)
{
    struct prefix_link l = *link_of(t, id);
    *(l.older == PREFIX_QUEUE_END ? &q->oldest : &link_of(t, l.older)->newer) = l.newer;
    *(l.newer == PREFIX_QUEUE_END ? &q->newest : &link_of(t, l.newer)->older) = l.older;
    q->n_nodes--;
}

void prefix_queue_split(struct prefix_queue *q, const struct ptree *t, uint32_t upper,
                        uint32_t lower)
{
    put_between(q, t, upper, lower, link_of(t, lower)->newer);
}
