/* paper_device.h: a device that computes nothing, and remembers on paper what lies in which block:
 * instead of K and V, each place holds its token, its position and a hash of all tokens up to it,
 * which is what K and V depend on. Reading a place that holds something else fails the test: so
 * does a block that was given away, overwritten, or copied too late. */
#ifndef TESTS_SUPPORT_PAPER_DEVICE_H
#define TESTS_SUPPORT_PAPER_DEVICE_H

#include "backend/device.h"
#include "sim/rng.h"

extern const struct device_ops paper_device;

/* What the last pass came to, a sequence: the hash of all its tokens. Of the device opened last. */
struct paper_result {
    const uint64_t *hash; /* [n_seqs] */
    uint32_t n_seqs;
};
struct paper_result paper_last(const void *self);
/* The hash of tokens that go on after those of `before` (0: at the start). */
uint64_t paper_hash(uint64_t before, uint32_t token);

#endif
