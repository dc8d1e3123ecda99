/* tape.h: a fuzzer's bytes as a row of small decisions. A tape that is used up gives zeros, so that
 * every prefix of an input is an input. */
#ifndef TESTS_FUZZ_TAPE_H
#define TESTS_FUZZ_TAPE_H

#include "sim/base.h"

struct tape {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t tape_byte(struct tape *t)
{
    if (t->left == 0)
        return 0;
    t->left--;
    return *t->at++;
}

static inline uint32_t tape_below(struct tape *t, uint32_t n)
{
    return tape_byte(t) % n;
}

/* Any size up to 2^64, of which one byte says how large, and another one what. */
static inline uint64_t tape_number(struct tape *t)
{
    unsigned shift = tape_byte(t) % 64u;
    uint64_t low = tape_byte(t);
    return (UINT64_C(1) << shift) + (shift > 8 ? low << (shift - 8) : low >> (8 - shift)) - 1;
}

#endif
