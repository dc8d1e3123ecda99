/* content.h: what a prompt consists of, as far as sharing is concerned.
 *
 * A trace describes a prompt as *segments*: `tokens` tokens of a `stream`, from `offset` on. Two
 * tokens are the same iff they have the same stream and offset and all before them are the same.
 * A trace block of 512 tokens with hash h is the segment (h, 0, 512); a conversation is one stream
 * that grows turn by turn; a prompt that shares nothing is one segment of a stream of its own.
 *
 * The engine and the prefix tree work on blocks of `block_size` tokens. Their keys are *runs*: n
 * consecutive blocks (stream, start), (stream, start + 1), ... so that a long shared prefix is
 * one run and one edge of the tree. A block that straddles segments becomes a run of its own. */
#ifndef SIM_CONTENT_H
#define SIM_CONTENT_H

#include "sim/base.h"

struct segment {
    uint64_t stream;
    uint32_t offset; /* tokens */
    uint32_t tokens;
};

struct key_run {
    uint64_t stream; /* hashed together with whatever makes the block what it is */
    uint32_t start;  /* index of the first block in the stream */
    uint32_t n;      /* blocks, >= 1 */
};

/* The keys of a request: `run` covers exactly the full blocks of the prompt; blocks after those
 * (the rest of the prompt and the output) are (tail.stream, tail.start + i), unbounded. */
struct content {
    struct key_run *run; /* owned */
    uint32_t n_runs;
    uint32_t n_blocks;   /* full blocks of the prompt = sum of run[].n */
    struct key_run tail; /* tail.n is unused */
    bool shareable;      /* false: one private stream; only the request itself can hit it */
};

/* Builds the keys. No segments: a private stream derived from seq. The segments' tokens must add
 * up to prompt_tokens. `continues`: the output goes on in the last segment's stream (a
 * conversation, whose next turn contains this turn's output); else output blocks are private. */
void content_build(struct content *c, uint64_t seq, uint32_t prompt_tokens, uint32_t block_size,
                   const struct segment *seg, uint32_t n_seg, bool continues);
void content_release(struct content *c);

/* The runs that cover blocks [first, first + n) of a request, appended to `out` (an array grown
 * with mem_reserve). Returns how many runs were appended. */
size_t content_runs(const struct content *c, uint32_t first, uint32_t n, struct key_run **out,
                    size_t *out_n, size_t *out_cap);

/* A key of the prompt's first `n_blocks` blocks: equal for two prompts iff those are equal (up to
 * collisions), never 0. 0: the prompt is shorter, or private. */
uint64_t content_prefix_key(const struct content *c, uint32_t n_blocks);

/* The hash of one block, as digests and the real engine's tokens see it. */
uint64_t content_block_hash(const struct key_run *run, uint32_t i);

/* Stream of a request that shares nothing. */
uint64_t content_private_stream(uint64_t seq);

#endif
