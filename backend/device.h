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
#include "sim/kvrule.h"

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

/* ---- KV under a policy ----
 *
 * In place of blocks that the caller numbers: a page is `block_size` tokens of one layer and KV
 * head, and which page holds what is the device's, since which tokens stay depends on the data. A
 * sequence has a number of its own, below n_sequences, and is one until it is forgotten. */

enum kv_mechanism {            /* how tokens go (eviction.md 0.2); the results are the same */
                    KV_AUTO,   /* the last three where each is best */
                    KV_MASK,   /* E4: they stay in memory and are not looked at */
                    KV_REUSE,  /* E1: the next token takes the place */
                    KV_GATHER, /* E2: those that stay move together, pages behind them are free */
                    KV_FREE_PAGES, /* E3: pages without a token are free */
};

struct kv_config {
    const struct kv_rule *rule; /* outlives the device; its block_size is the device's */
    uint64_t n_pages;
    uint32_t n_sequences;
    enum kv_mechanism mechanism;
    bool open_loop; /* masks; attention is the full one, and what the policy would have read and
                       computed is held against it (struct kv_measure) */
};

/* Beside struct forward, whose tables are not looked at. A prompt comes in one or more chunks; what
 * follows it comes token by token. */
struct kv_pass {
    const uint32_t *sequence; /* [n_seqs] */
    const uint32_t *prompt;   /* [n_seqs]: tokens of its prompt, the same in every pass */
};

/* Sums over the decode rows of a sequence in one layer and KV head, against full attention. */
struct kv_measure {
    uint64_t rows;
    double recall;      /* attention mass on what is read, mean of the query heads */
    double best_recall; /* the most that as many tokens can have */
    double top10;       /* share of the ten tokens with the most attention that are read */
    double error;       /* |o_policy - o_full|^2, o of all query heads of the KV head */
    double norm;        /* |o_full|^2 */
    double read;        /* tokens */
};

/* What is there of a sequence in one layer and KV head. */
struct kv_look {
    uint32_t resident, pages;
    const uint32_t *pos; /* [n_slots] of each place, UINT32_MAX: nobody's */
    const bool *masked;
    uint32_t n_slots;
    struct kv_measure measure;
    const uint32_t *top; /* [group]: where each query head of the last decode row looked most, by
                            full attention; NULL unless open_loop */
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
    /* Before the first pass; from then on only kv_forward. NULL: not on this device. */
    bool (*kv_open)(void *, const struct kv_config *, struct err *);
    bool (*kv_forward)(void *, const struct forward *, const struct kv_pass *,
                       struct forward_result *, struct err *);
    void (*kv_forget)(void *, uint32_t sequence);
    void (*kv_look)(void *, uint32_t sequence, uint32_t layer, uint32_t head, struct kv_look *);
    void (*close)(void *);
    /* For the note of a run: GPU, driver, clocks; at most n bytes. */
    void (*describe)(void *, char *text, size_t n);
};

extern const struct device_ops device_cpu;
extern const struct device_ops device_cuda; /* open fails with one line in a build without CUDA */

#endif
