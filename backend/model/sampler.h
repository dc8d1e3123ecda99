/* sampler.h: the next token by chance: the probabilities of the logits at a temperature, of which
 * only the likeliest that together reach top_p are drawn from (Holtzman et al. 2020). */
#ifndef BACKEND_MODEL_SAMPLER_H
#define BACKEND_MODEL_SAMPLER_H

#include "sim/rng.h"

struct sampler;

/* temperature > 0; 0 < top_p <= 1. The same seed and logits give the same tokens. */
struct sampler *sampler_open(uint32_t vocab, double temperature, double top_p, uint64_t seed);
uint32_t sampler_next(struct sampler *s, const float *logits);
void sampler_close(struct sampler *s); /* NULL is fine */

#endif
