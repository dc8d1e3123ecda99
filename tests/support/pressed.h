/* pressed.h: sixteen requests on a device with hardly memory for two: prompts in pieces, blocks of
 * others, preemption. Every logit that comes out is held against those of the same request alone,
 * on the CPU engine in float64. */
#ifndef TESTS_SUPPORT_PRESSED_H
#define TESTS_SUPPORT_PRESSED_H

#include "tests/support/lab.h"
#include "tests/support/watched.h"

#define PRESSED_REQUESTS 16u
#define PRESSED_LONGEST 128u /* tokens */

struct pressed {
    uint64_t compared; /* rows of logits */
    double error;      /* |difference| / |logits| over all rows, Euclidean */
    double worst;      /* the same of the worst row */
    size_t preemptions;
    uint64_t swaps_in, hits;
};

/* `model` has a vocabulary of at most 2048 tokens. */
struct pressed pressed_run(const struct device_ops *device, const struct model_desc *model,
                           bool high_precision, enum preempt_mode preempt);

/* The logits of a request's n-th token when it is alone. */
void pressed_truth_open(const struct model_desc *model);
void pressed_truth(const struct content *c, uint32_t n, float *logits);
void pressed_truth_close(void);

#endif
