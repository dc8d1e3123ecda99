/* kvpolicy.h: the interface of KV-cache policies inside a sequence, as the simulator needs it: how
 * much stays resident and how much a decode step reads (eviction.md section 1; the callbacks of
 * the real engines join these when it does). Resident and read tokens are always kept apart. */
#ifndef SIM_KVPOLICY_H
#define SIM_KVPOLICY_H

#include "sim/arena.h"
#include "sim/params.h"

struct kv_shape {
    uint32_t layers, kv_heads, block_size;
};

struct kvpolicy_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    bool lossless; /* reads and keeps everything: blocks may be shared, no quality to measure */
    void *(*open)(struct arena *, const struct params *, const struct kv_shape *, struct err *);
    /* Page units resident for a sequence of `len` tokens, of which `prompt` are prompt. Never
     * decreases in len while a step is under way. */
    uint64_t (*resident_units)(void *, uint32_t prompt, uint32_t len);
    /* Tokens of KV read by a decode step at context `len`, averaged over layers and heads. */
    double (*read_tokens)(void *, uint32_t prompt, uint32_t len);
};

#endif
