/* hash.h: the few mixing functions the simulator uses, and the run's digest. All are fixed: a
 * stored digest or a derived block hash must mean the same for ever. */
#ifndef SIM_HASH_H
#define SIM_HASH_H

#include "sim/base.h"

/* splitmix64's finaliser (Steele, Lea, Flood 2014). A bijection on 64 bits. */
static inline uint64_t hash_u64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Order matters: hash_mix(a, b) != hash_mix(b, a). */
static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    return hash_u64(hash_u64(a) ^ (b + UINT64_C(0x632be59bd9b4e019)));
}

/* The b for which hash_mix(a, b) is h. */
uint64_t hash_unmix(uint64_t a, uint64_t h);

uint64_t hash_str(const char *s); /* FNV-1a, 64 bit */
uint64_t hash_bytes(const void *p, size_t n,
                    uint64_t seed); /* FNV-1a from `seed` (0: the standard basis) */

/* What a run decided, and when. Folded in the order decided. */
enum decision {
    DEC_ARRIVAL = 1,
    DEC_ROUTE, /* number = replica */
    DEC_REFUSE,
    DEC_ADMIT,   /* number = cached tokens */
    DEC_PREEMPT, /* number = mode */
    DEC_FIRST_TOKEN,
    DEC_FINISH,
    DEC_EVICT, /* seq = hash of the last block evicted, number = how many blocks */
};

struct digest {
    uint64_t h;
};

static inline void digest_fold(struct digest *d, enum decision what, uint64_t seq, ns_t at,
                               uint64_t number)
{
    d->h = hash_mix(hash_mix(d->h, (uint64_t)what ^ (seq << 4)), hash_mix((uint64_t)at, number));
}

#endif
