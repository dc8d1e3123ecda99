/* watched.h: an executor as a lab's backend, with a test that looks on: who is in which slot, what
 * each row of a step is made of. */
#ifndef TESTS_SUPPORT_WATCHED_H
#define TESTS_SUPPORT_WATCHED_H

#include "backend/executor.h"
#include "sim/content.h"

/* Set before the lab runs; a test runs in a process of its own. */
struct watch {
    struct executor_config config;
    void (*on_attach)(req_id id); /* somebody is in this slot, maybe somebody else [NULL] */
    /* After each step: row `i` of the device's pass (decodes first), of this request. [NULL] */
    void (*on_row)(const struct executor *x, uint32_t i, const struct content *c,
                   const struct batch_seq *b);
    uint64_t rows, hits, swaps_in, evicted; /* so far, over all runs */
};
extern struct watch watch;
extern const struct backend_ops watched_backend;

/* The tokens of a request at positions [from, to), from what it consists of and nothing else. */
void watched_tokens(const struct content *c, uint32_t block_size, uint32_t vocab, uint32_t from,
                    uint32_t to, uint32_t *out);

#endif
