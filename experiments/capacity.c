/* capacity.c: see capacity.h. */
#include "experiments/capacity.h"

enum { MAX_DOUBLINGS = 16 };

/* Measures at a scale, and moves one end of the bracket there. */
static bool probe(const struct capacity_search *s, double scale, struct capacity *c, bool *met,
                  struct err *e)
{
    struct capacity_probe p = {.scale = scale};
    c->probes++;
    if (!s->measure(s->self, &p, e))
        return false;
    *met = p.attainment >= s->attainment;
    *(*met ? &c->best : &c->failed) = p;
    return true;
}

/* Doubles while the limits are met, or halves while they are not. */
static bool bracket(const struct capacity_search *s, double scale, struct capacity *c,
                    struct err *e)
{
    bool first, met;
    if (!probe(s, scale, c, &first, e))
        return false;
    met = first;
    for (unsigned i = 0; met == first; i++) {
        if (i == MAX_DOUBLINGS && first)
            return err_set(e,
                           "capacity: the limits are met even at %.4g requests/s; a longer trace "
                           "or tighter limits (slo) would have a capacity",
                           c->best.rate_rps);
        if (i == MAX_DOUBLINGS)
            return true; /* best.scale is 0: not at any rate */
        scale = first ? scale * 2 : scale / 2;
        if (!probe(s, scale, c, &met, e))
            return false;
    }
    return true;
}

bool capacity_find(const struct capacity_search *s, double scale, struct capacity *out,
                   struct err *e)
{
    bool met;
    *out = (struct capacity){.probes = 0};
    if (!bracket(s, scale, out, e))
        return false;
    while (out->best.scale > 0 && out->failed.scale > out->best.scale * (1 + s->tolerance))
        if (!probe(s, (out->best.scale + out->failed.scale) / 2, out, &met, e))
            return false;
    return true;
}
