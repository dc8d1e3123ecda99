/* rng.c: xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators",
 * 2021), seeded through splitmix64 as its authors recommend. */
#include "sim/rng.h"

#include <inttypes.h>

#include "sim/hash.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* splitmix64's increment */

void rng_init(struct rng *r, uint64_t seed, const char *name)
{
    uint64_t state = seed ^ hash_str(name);
    for (size_t i = 0; i < ARRAY_LEN(r->s); i++, state += GOLDEN)
        r->s[i] = hash_u64(state);
}

static uint64_t rotl(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    CHECK(n >= 1, "rng: a choice needs something to choose from", "%" PRIu64, n);
    /* 2^64 mod n: without the draws below it, what is left is a multiple of n. */
    uint64_t excess = (UINT64_MAX - n + 1) % n;
    uint64_t x;
    do
        x = rng_u64(r);
    while (x < excess);
    return x % n;
}

static void set_state(void *state, unsigned long seed)
{
    rng_init(state, seed, "");
}

static unsigned long get_u64(void *state)
{
    return rng_u64(state);
}

static double get_unit(void *state)
{
    return rng_unit(state);
}

static const gsl_rng_type xoshiro = {
    .name = "xoshiro256**",
    .max = UINT64_MAX,
    .min = 0,
    .size = sizeof(struct rng),
    .set = set_state,
    .get = get_u64,
    .get_double = get_unit,
};

gsl_rng *rng_gsl(uint64_t seed, const char *name)
{
    /* As gsl_rng_alloc, which aborts where there is no memory. gsl_rng_free frees it. */
    gsl_rng *g = mem_alloc(sizeof *g);
    g->type = &xoshiro;
    g->state = mem_alloc(sizeof(struct rng));
    rng_init(g->state, seed, name);
    return g;
}
