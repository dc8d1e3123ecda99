/* kv.c: the counters of KV capacity. Units only ever move from one counter to another, so the sum
 * (I1) holds as long as no move takes more than its source has: that is what is checked. */
#include "sim/kv.h"

#include <inttypes.h>

void kv_init(struct kv *kv, uint64_t capacity_units)
{
    *kv = (struct kv){.capacity = capacity_units, .free = capacity_units};
}

static void move(const struct kv *kv, const char *what, uint64_t *from, uint64_t *to,
                 uint64_t units)
{
    CHECK(units <= *from, "I1 (free + held + cached units = capacity)",
          "%s of %" PRIu64 " units; free %" PRIu64 " held %" PRIu64 " cached %" PRIu64
          " capacity %" PRIu64,
          what, units, kv->free, kv->held, kv->cached, kv->capacity);
    *from -= units;
    *to += units;
}

void kv_hold(struct kv *kv, uint64_t units)
{
    move(kv, "hold", &kv->free, &kv->held, units);
}

void kv_drop(struct kv *kv, uint64_t units)
{
    move(kv, "drop", &kv->held, &kv->free, units);
}

void kv_cache(struct kv *kv, uint64_t units)
{
    move(kv, "cache", &kv->held, &kv->cached, units);
}

void kv_pin(struct kv *kv, uint64_t units)
{
    move(kv, "pin", &kv->cached, &kv->held, units);
}

void kv_evict(struct kv *kv, uint64_t units)
{
    move(kv, "evict", &kv->cached, &kv->free, units);
}
