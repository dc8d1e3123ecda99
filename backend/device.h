/* device.h: what computes forward passes: the CPU reference (backend/cpu) and CUDA (backend/cuda)
 * behind one call. A device knows blocks by number only; which block holds whose tokens is the
 * executor's (backend/executor.h). One device a replica; no calls from two threads.
 *
 * Blocks: `n_blocks` KV blocks of `block_size` tokens, every layer and KV head in each; a
 * sequence's token t lies in its table's block t / block_size at t % block_size. Blocks that
 * several sequences name are shared and only read. `n_host_blocks` more are on the host (swap). */
#ifndef BACKEND_DEVICE_H
#define BACKEND_DEVICE_H

#include "backend/model/weights.h"

struct device_config {
    const struct weights *weights; /* outlives the device unless random */
    uint32_t max_seqs, max_tokens; /* of one forward pass */
    uint32_t block_size, n_blocks, n_host_blocks;
    uint32_t max_context; /* longest sequence, tokens */
    uint32_t threads;     /* of the CPU engine; 0: as many as there are cores */
    bool high_precision;  /* CPU: float64 throughout; CUDA: float32 instead of bf16 */
};

/* One step, CSR: sequence i computes tokens token[q_start[i] .. q_start[i + 1]) after `context[i]`
 * resident ones; its table is block[table_start[i] .. table_start[i + 1]) and covers them all.
 * Sequences that compute one token with context > 0 are decodes and come first. A sequence may read
 * blocks that another one of the same pass writes (a prefix hit on a prompt that is computed in
 * this very step): a layer writes the K and V of all tokens before any of them attends. */
struct forward {
    uint32_t n_seqs, n_decode, n_tokens;
    const uint32_t *token;       /* [n_tokens] */
    const uint32_t *q_start;     /* [n_seqs + 1] */
    const uint32_t *context;     /* [n_seqs] */
    const uint32_t *table_start; /* [n_seqs + 1] */
    const uint32_t *block;       /* [table_start[n_seqs]] */
    const bool *emits;           /* [n_seqs]: the logits of its last token are wanted */
};

/* Greedy choice per sequence, and on request the logits it came from. */
struct forward_result {
    uint32_t *next_token; /* [n_seqs]; UINT32_MAX where !emits */
    float *logits;        /* NULL, or [number of emits][vocab], in order of sequence */
    double device_ns;     /* time on the device, by its own clock */
};

enum copy_direction { COPY_TO_HOST, COPY_TO_DEVICE };

struct device_ops {
    const char *name;
    void *(*open)(const struct device_config *, struct err *);
    /* Returns when the tokens are visible on the host. */
    bool (*forward)(void *, const struct forward *, struct forward_result *, struct err *);
    /* Starts copying n blocks (block[i] <-> host[i]) beside the forward passes; false: failed.
     * *ticket grows by one with each; copies are done in order of submission. A forward pass that
     * follows a COPY_TO_HOST may overwrite its blocks only once it is done: the executor sees to
     * that. */
    bool (*copy)(void *, enum copy_direction, const uint32_t *block, const uint32_t *host,
                 uint32_t n, uint64_t *ticket, struct err *);
    /* How many copies are done; with `wait`, waits until at least one more than `seen` is. */
    bool (*copies_done)(void *, uint64_t seen, bool wait, uint64_t *done, struct err *);
    void (*close)(void *);
    /* For the note of a run: GPU, driver, clocks; at most n bytes. */
    void (*describe)(void *, char *text, size_t n);
};

extern const struct device_ops device_cpu;
extern const struct device_ops device_cuda; /* open fails with one line in a build without CUDA */

#endif
