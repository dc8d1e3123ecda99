#include "backend/experts.h"

#define MISSED 1e-9 /* share of the experts that the end of the table may lack */

void experts_open(struct experts *x, struct arena *a, uint32_t all, uint32_t k)
{
    double miss = 1, each = 1 - (double)k / all;
    double *hit;
    uint32_t n = 0;

    while (miss > MISSED) {
        miss *= each;
        n++;
    }
    hit = arena_alloc(a, n * sizeof(*hit));
    miss = 1;
    for (uint32_t i = 0; i < n; i++) {
        hit[i] = all * (1 - miss);
        miss *= each;
    }
    *x = (struct experts){.hit = hit, .n = n, .all = all};
}
