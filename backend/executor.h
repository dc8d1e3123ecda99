/* executor.h: between the event core and a device: carries out batches for real. It mirrors with
 * block numbers what the core counts (struct kv_events in sim/backend.h), makes the tokens of each
 * request up from its content's keys, and measures how long a step takes. Backends `cpu` and `cuda`
 * are this with their device.
 *
 * Invariants, always on:
 *   X1  a block is free, some request's own, or the cache's, and only one of these
 *   X2  where the core took a block there is a free one
 *   X3  a hit of the core is a hit here: the cache holds the key
 *   X4  no block is given up while it is being copied */
#ifndef BACKEND_EXECUTOR_H
#define BACKEND_EXECUTOR_H

#include "backend/device.h"
#include "sim/backend.h"

struct executor;

struct executor_config {
    const struct device_ops *device;
    enum weight_dtype dtype; /* of weights from a file */
    bool high_precision;
    uint32_t threads;
};

/* Opens the device with the capacities of env->limits and weights from env->weights, else random
 * ones of env->seed. The note says what was measured on what. NULL: e says why. */
struct executor *executor_open(const struct executor_config *c, const struct backend_env *env,
                               struct backend_note *note, struct err *e) NODISCARD;

/* The callbacks of a backend whose object is a struct executor. */
bool executor_step(void *self, const struct batch *b, struct step_cost *cost, struct err *e);
bool executor_swap(void *self, const struct swap *w, ns_t *done_at, struct err *e);
bool executor_swaps_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e);
void executor_close(void *self);
extern const struct kv_events executor_kv;

/* For tests: the device's object, and blocks that are free, the cache's, free on the host. */
void *executor_device(const struct executor *x);
uint32_t executor_cached_blocks(const struct executor *x);
uint32_t executor_free_blocks(const struct executor *x);
uint32_t executor_free_host_blocks(const struct executor *x);

/* The token at `offset` of a block with this hash. */
uint32_t executor_token(uint64_t block_hash, uint32_t offset, uint32_t vocab);

#endif
