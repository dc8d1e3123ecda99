/* experts.h: how many experts of a layer T tokens reach that choose evenly:
 * experts * (1 - (1 - k/experts)^T). Tabulated by repeated multiplication at open, so that no libm
 * call decides a time; beyond the table all are reached (to one in 10^9). */
#ifndef BACKEND_EXPERTS_H
#define BACKEND_EXPERTS_H

#include "sim/arena.h"

struct experts {
    const double *hit; /* [tokens] */
    uint32_t n;
    double all;
};

/* k experts a token, 1 <= k <= all. */
void experts_open(struct experts *x, struct arena *a, uint32_t all, uint32_t k);

static inline double experts_hit(const struct experts *x, uint32_t tokens)
{
    return tokens < x->n ? x->hit[tokens] : x->all;
}

#endif
