/* recorded.h: what a lab's run stored of its steps and swaps, as backend replay plays it back. */
#ifndef TESTS_SUPPORT_RECORDED_H
#define TESTS_SUPPORT_RECORDED_H

#include <stdlib.h>

#include "tests/support/lab.h"

struct recorded {
    struct recorded_step *step;
    struct recorded_swap *swap;
    struct recording rec;
};

static inline int recorded_by_number(const void *a, const void *b)
{
    const struct transfer_row *x = a, *y = b;
    return (x->n > y->n) - (x->n < y->n);
}

/* Of a run of one replica; sorts its transfers by number. */
static inline void recorded_take(struct recorded *r, struct lab *l)
{
    r->step = mem_alloc((l->n_step + 1) * sizeof(*r->step));
    r->swap = mem_alloc((l->n_transfer + 1) * sizeof(*r->swap));
    r->rec = (struct recording){
        .step = r->step,
        .swap = r->swap,
        .n_steps = l->n_step,
        .n_swaps = l->n_transfer,
        .cost_model = "a lab's",
    };
    for (size_t i = 0; i < l->n_step; i++)
        r->step[i] = (struct recorded_step){
            .start_at = l->step[i].at,
            .duration_ns = l->step[i].duration_ns,
            .device_ns = l->step[i].device_ns,
            .n_decode = l->step[i].n_decode,
            .n_prefill = l->step[i].n_prefill,
            .decode_tokens = l->step[i].decode_tokens,
            .prefill_tokens = l->step[i].prefill_tokens,
            .context_tokens = l->step[i].context_tokens,
        };
    if (l->n_transfer > 0)
        qsort(l->transfer, l->n_transfer, sizeof(*l->transfer), recorded_by_number);
    for (size_t i = 0; i < l->n_transfer; i++)
        r->swap[i] = (struct recorded_swap){
            .seq = l->transfer[i].seq,
            .out = l->transfer[i].direction[0] == 'o',
            .submitted_at = l->transfer[i].submitted_at,
            .done_at = l->transfer[i].done_at < 0 ? NS_NEVER : l->transfer[i].done_at,
        };
}

static inline void recorded_release(struct recorded *r)
{
    mem_free(r->step);
    mem_free(r->swap);
}

#endif
