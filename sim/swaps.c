/* swaps.c: swaps that a backend carries out or plays back, instead of the simulated link of
 * blocks.c: when one is done, the backend says, at once or when it is asked. What must hold: swaps
 * are numbered in order of submission, over both directions; each is heard of once. */
#include "sim/core.h"

static void done_event(struct replica *r, const struct swap *w, ns_t at)
{
    evq_push(&r->sim->evq, (struct event){.at = at,
                                          .kind = EV_TRANSFER,
                                          .entity = 2 * r->id + !w->out,
                                          .number = w->number});
}

void swap_begin(struct replica *r, const struct swap *w)
{
    ns_t done_at = NS_NEVER;
    r->swap = mem_reserve(r->swap, &r->swap_cap, r->n_swaps + 1, sizeof(*r->swap));
    r->swap[r->n_swaps++] = *w;
    if (r->cfg->backend->swap(r->backend, w, &done_at, r->sim->err) && done_at < NS_NEVER)
        done_event(r, w, done_at);
}

bool swap_take(struct replica *r, uint64_t number, struct swap *out)
{
    for (size_t i = 0; i < r->n_swaps; i++)
        if (r->swap[i].number == number) {
            *out = r->swap[i];
            r->n_swaps--;
            for (; i < r->n_swaps; i++)
                r->swap[i] = r->swap[i + 1];
            return true;
        }
    return false;
}

void swaps_ask(struct replica *r, bool wait)
{
    struct sim *s = r->sim;
    uint64_t done = r->swaps_told;
    if (r->cfg->backend->swaps_done == NULL || done == r->n_transfers || s->err->set)
        return;
    ns_t before = sim_wall(s);
    if (!r->cfg->backend->swaps_done(r->backend, r->swaps_told, wait, &done, s->err))
        return;
    ns_t at = s->now;
    if (wait) /* nothing else went on: the time that passed is what the swap still took */
        at = s->cfg->clock == CLOCK_PACED ? MAX(s->now, sim_wall(s))
                                          : ns_add(s->now, sim_wall(s) - before);
    for (size_t i = 0; i < r->n_swaps; i++) /* one that was cancelled is no longer among them */
        if (r->swap[i].number >= r->swaps_told && r->swap[i].number < done)
            done_event(r, &r->swap[i], at);
    r->swaps_told = done;
}
