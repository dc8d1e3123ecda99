/* swiglu.c: the gated unit of the MLP (Shazeer 2020): silu(gate) * up. */
#include "backend/cpu/ops/real.h"

void NAME(swiglu)(REAL *gate, const REAL *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + real_exp(-gate[i])) * up[i];
}
