/* line_check.h: decode steps one by one against the lines a backend says they lie on
 * (sim/backend.h): the leap adds up the line where stepping asks for each step. */
#ifndef TESTS_SUPPORT_LINE_CHECK_H
#define TESTS_SUPPORT_LINE_CHECK_H

#include <check.h>
#include <math.h>

#include "sim/backend.h"
#include "sim/rng.h"

/* Walks `steps` decode steps from `s` on; returns how many lines they lie on. */
static inline uint64_t line_walk(const struct backend_ops *ops, void *self, struct batch_shape s,
                                 uint64_t steps)
{
    struct decode_line line = {.steps = 0};
    uint64_t lines = 0, i = 0;

    for (uint64_t k = 0; k < steps; k++, i++) {
        struct batch b = {.n = s.n_decode, .shape = s};
        struct step_cost cost = {0};
        struct err e = {.set = false};

        if (i == line.steps) {
            line = (struct decode_line){0};
            ops->decode_line(self, &s, &line);
            ck_assert_uint_ge(line.steps, 1);
            lines++;
            i = 0;
        }
        bool ok = ops->step(self, &b, &cost, &e);
        double on_line = decode_line_ns(&line, i);
        /* Asserted only where it fails: Check counts each assertion, at some microseconds. */
        if (!ok || cost.device_ns < on_line || cost.device_ns > on_line ||
            llround(cost.device_ns) != llround(on_line) || cost.extrapolated != line.extrapolated)
            ck_abort_msg("step %llu of the line: %.17g ns, on the line %.17g; %s",
                         (unsigned long long)i, cost.device_ns, on_line, e.text);
        s.decode_context_sum += s.n_decode;
        s.decode_context_max++;
    }
    return lines;
}

/* Up to `n_max` decodes with up to `context_max` tokens each. */
static inline struct batch_shape line_shape(struct rng *r, uint32_t n_max, uint32_t context_max)
{
    uint32_t n = 1 + (uint32_t)rng_below(r, n_max);
    struct batch_shape s = {.n_decode = n, .decode_tokens = n};

    for (uint32_t i = 0; i < n; i++) {
        uint32_t context = 1 + (uint32_t)rng_below(r, context_max);

        s.decode_context_sum += context;
        s.decode_context_max = MAX(s.decode_context_max, context);
    }
    return s;
}

#endif
