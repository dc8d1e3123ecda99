/* rope.c: rotary position embedding (Su et al. 2021), the halves of a head turned against each
 * other as Hugging Face's weights want it. */
#include "backend/cpu/ops/real.h"

void NAME(rope)(REAL *x, uint32_t heads, uint32_t head_dim, const REAL *cosine, const REAL *sine)
{
    uint32_t half = head_dim / 2;

    for (uint32_t h = 0; h < heads; h++, x += head_dim) {
        for (uint32_t i = 0; i < half; i++) {
            REAL a = x[i], b = x[i + half];

            x[i] = a * cosine[i] - b * sine[i];
            x[i + half] = b * cosine[i] + a * sine[i];
        }
    }
}
