/* rng.h: named random streams. Every consumer of chance opens its own stream by name, so that a
 * new consumer never shifts another's numbers (architecture.md section 4). */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <gsl/gsl_rng.h>

#include "sim/base.h"

struct rng {
    uint64_t s[4]; /* xoshiro256**, Blackman and Vigna */
};

void rng_init(struct rng *r, uint64_t seed, const char *name); /* splitmix64(seed ^ fnv1a(name)) */
uint64_t rng_u64(struct rng *r);
double rng_unit(struct rng *r);                /* uniform in [0, 1), 53 bits */
uint64_t rng_below(struct rng *r, uint64_t n); /* uniform in [0, n), n >= 1, without bias */

/* The same stream behind GSL's interface, for gsl_ran_*. Free with gsl_rng_free. */
gsl_rng *rng_gsl(uint64_t seed, const char *name) NODISCARD;

#endif
