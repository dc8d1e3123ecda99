#include "tests/support/kv_rig.h"

#include <check.h>

#include "policies/registry.h"

void kv_rig_init(struct kv_rig *r)
{
    *r = (struct kv_rig){0};
    params_init(&r->params);
    arena_init(&r->arena);
}

void kv_rig_open(struct kv_rig *r, const struct arch *a, const struct kv_rig_options *o)
{
    struct err e = {0};
    struct kv_rule_config rule = {
        .ops = kvpolicy_find(o->policy),
        .budget = o->budget ? kvbudget_find(o->budget) : NULL,
        .params = &r->params,
        .shape = {a->layers, a->kv_heads, o->block_size, a->heads / a->kv_heads, 0},
        .seed = 1,
    };
    struct device_config c = {.weights = &r->w,
                              .max_seqs = 2,
                              .max_tokens = KV_RIG_MAX,
                              .block_size = o->block_size,
                              .max_context = KV_RIG_MAX,
                              .threads = o->threads ? o->threads : 1,
                              .high_precision = o->high_precision};
    uint64_t pages = 2 * (uint64_t)a->layers * a->kv_heads * (KV_RIG_MAX / o->block_size + 2);
    struct kv_config kv = {.rule = &r->rule,
                           .n_pages = pages,
                           .n_sequences = 2,
                           .mechanism = o->mechanism,
                           .open_loop = o->open_loop};

    ck_assert_msg(rule.ops, "no policy %s", o->policy);
    ck_assert_msg(kv_rule_open(&r->rule, &r->arena, &rule, &e), "%s", e.text);
    weights_random(&r->w, a, 7);
    weights_draw(&r->w);
    r->device = device_cpu.open(&c, &e);
    ck_assert_msg(r->device, "%s", e.text);
    ck_assert_msg(device_cpu.kv_open(r->device, &kv, &e), "%s", e.text);
}

void kv_rig_close(struct kv_rig *r)
{
    device_cpu.close(r->device);
    weights_release(&r->w);
    arena_release(&r->arena);
    params_release(&r->params);
}

static void step(struct kv_rig *r, const uint32_t *token, uint32_t begin, uint32_t end,
                 uint32_t prompt, float *logits)
{
    uint32_t q_start[] = {0, end - begin}, none[] = {0, 0}, sequence = 0, next;
    bool emits = true;
    struct forward f = {.n_seqs = 1,
                        .n_decode = begin > 0 && end - begin == 1,
                        .n_tokens = end - begin,
                        .token = token + begin,
                        .q_start = q_start,
                        .context = &begin,
                        .table_start = none,
                        .emits = &emits};
    struct kv_pass kv = {&sequence, &prompt};
    struct forward_result result = {.next_token = &next, .logits = logits};
    struct err e = {0};

    ck_assert_msg(device_cpu.kv_forward(r->device, &f, &kv, &result, &e), "%s", e.text);
}

void kv_rig_run(struct kv_rig *r, const uint32_t *token, uint32_t prompt, uint32_t n,
                uint32_t chunk, float *logits)
{
    device_cpu.kv_forget(r->device, 0);
    for (uint32_t at = 0; at < prompt; at += MIN(chunk, prompt - at))
        step(r, token, at, MIN(at + chunk, prompt), prompt, logits);
    for (uint32_t at = prompt; at < n; at++) {
        logits += r->w.arch.vocab;
        step(r, token, at, at + 1, prompt, logits);
    }
}

uint32_t kv_rig_resident(const struct kv_rig *r, uint32_t layer, uint32_t head, uint32_t *pos)
{
    struct kv_look look;
    uint32_t n = 0;

    device_cpu.kv_look(r->device, 0, layer, head, &look);
    for (uint32_t at = 0; at < KV_RIG_MAX; at++)
        for (uint32_t i = 0; i < look.n_slots; i++)
            if (look.pos[i] == at && !look.masked[i])
                pos[n++] = at;
    ck_assert_uint_eq(n, look.resident);
    return n;
}

void kv_rig_tokens(uint32_t *token, uint32_t n, uint32_t vocab, uint32_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        token[i] = (seed * 7919 + i * i * 31 + i * 17) % vocab;
}
