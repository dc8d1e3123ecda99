/* bench.h: what the parts of gpu-bench share. */
#ifndef TESTS_GPU_BENCH_H
#define TESTS_GPU_BENCH_H

#include <stdio.h>
#include <stdlib.h>

#define GPU_FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(2))
#include "tests/gpu/gpu.h"

#define COPIES 16 /* of an input, at most */

struct ceilings {
    double bytes_per_ns, flops_per_ns;
};

/* What is timed: enqueues run `i` on the default stream. */
typedef void (*work)(void *self, uint32_t i);

/* Median of runs enqueued one after another, each between two events, in ns. */
double time_of(work run, void *self);
/* How many copies of an input are read in turn, so that none is still in the L2. */
uint32_t copies_of(uint64_t bytes);
/* On the device, uniform in about -1.7..1.7. */
void *random_bf16(uint64_t n, uint32_t tensor);

/* bench_kv.c */
void bench_kv(const struct ceilings *c);

#endif
