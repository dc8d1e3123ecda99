/* kv_rig.h: a small random model on the CPU whose KV is under a policy. */
#ifndef TESTS_SUPPORT_KV_RIG_H
#define TESTS_SUPPORT_KV_RIG_H

#include "backend/device.h"

#define KV_RIG_MAX 160u /* tokens of a sequence */

struct kv_rig {
    struct params params; /* set before kv_rig_open */
    struct arena arena;
    struct weights w;
    struct kv_rule rule;
    void *device;
};

struct kv_rig_options {
    const char *policy, *budget; /* budget NULL: uniform */
    uint32_t block_size, threads;
    enum kv_mechanism mechanism;
    bool high_precision, open_loop;
};

void kv_rig_init(struct kv_rig *r);
void kv_rig_open(struct kv_rig *r, const struct arch *a, const struct kv_rig_options *o);
void kv_rig_close(struct kv_rig *r);
/* Tokens 0..prompt-1 in chunks, then the rest one by one, as sequence 0, which is forgotten first.
 * logits[n - prompt + 1][vocab]: after the prompt, and after each token behind it. */
void kv_rig_run(struct kv_rig *r, const uint32_t *token, uint32_t prompt, uint32_t n,
                uint32_t chunk, float *logits);
/* The positions that are there, in order. Returns how many. */
uint32_t kv_rig_resident(const struct kv_rig *r, uint32_t layer, uint32_t head, uint32_t *pos);
void kv_rig_tokens(uint32_t *token, uint32_t n, uint32_t vocab, uint32_t seed);

#endif
