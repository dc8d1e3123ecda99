/* hash.c: FNV-1a (Fowler, Noll, Vo). Names and files only; numbers go through hash_u64. */
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
