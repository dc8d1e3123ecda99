/* kv.h: KV-cache capacity of one replica, counted in page units (one block for one layer and KV
 * head; a full-cache block is layers x kv_heads units). Every unit is free, held (by a live
 * request, or pinned through the prefix tree) or cached (in the tree, unpinned, evictable).
 *
 * Invariant I1: free + held + cached == capacity, after every call. */
#ifndef SIM_KV_H
#define SIM_KV_H

#include "sim/base.h"

struct kv {
    uint64_t capacity, free, held, cached;
};

void kv_init(struct kv *kv, uint64_t capacity_units);
void kv_hold(struct kv *kv, uint64_t units);  /* free -> held; CHECKs that there are enough */
void kv_drop(struct kv *kv, uint64_t units);  /* held -> free */
void kv_cache(struct kv *kv, uint64_t units); /* held -> cached: unpinned, may be evicted */
void kv_pin(struct kv *kv, uint64_t units);   /* cached -> held: a prefix hit */
void kv_evict(struct kv *kv, uint64_t units); /* cached -> free */

#endif
