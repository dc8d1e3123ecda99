/* hash.c: FNV-1a (Fowler, Noll, Vo), for names and files only (numbers go through hash_u64), and
 * hash_mix backwards. */
#include "sim/hash.h"

#include <string.h>

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *byte = p;
    uint64_t h = seed != 0 ? seed : FNV_BASIS;
    for (size_t i = 0; i < n; i++)
        h = (h ^ byte[i]) * FNV_PRIME;
    return h;
}

uint64_t hash_str(const char *s)
{
    return hash_bytes(s, strlen(s), 0);
}

/* hash_u64 backwards: each step of it is a bijection. The factors are the inverses of its own,
 * modulo 2^64. */
static uint64_t unhash_u64(uint64_t x)
{
    x ^= (x >> 31) ^ (x >> 62);
    x *= UINT64_C(0x319642b2d24d8ec3);
    x ^= (x >> 27) ^ (x >> 54);
    x *= UINT64_C(0x96de1b173f119089);
    x ^= (x >> 30) ^ (x >> 60);
    return x - UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t hash_unmix(uint64_t a, uint64_t h)
{
    return (unhash_u64(h) ^ hash_u64(a)) - UINT64_C(0x632be59bd9b4e019);
}
