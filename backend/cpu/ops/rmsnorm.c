/* rmsnorm.c: root mean square normalisation (Zhang and Sennrich 2019). */
#include "backend/cpu/ops/real.h"

void NAME(rmsnorm)(REAL *out, const REAL *x, const REAL *factor, uint32_t n, double eps)
{
    REAL mean = dot(x, x, n) / (REAL)n;
    REAL scale = (REAL)(1 / sqrt((double)mean + eps));

    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] * scale * factor[i];
}
