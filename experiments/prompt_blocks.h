/* prompt_blocks.h: the blocks of a prompt in the trace's *own* blocks, for everything that looks
 * at prefix reuse without an engine (`trace cache`, `trace info`).
 *
 * Where the format has blocks (Mooncake: 512 tokens), every one of the trace's blocks is one here,
 * the last, partial one included. Where it has none, but sessions say what prompts share, these
 * are the full blocks of 16 tokens as an engine would cut them: a partial block without an id of
 * its own can never be hit, because the next turn fills it. */
#ifndef EXPERIMENTS_PROMPT_BLOCKS_H
#define EXPERIMENTS_PROMPT_BLOCKS_H

#include "sim/content.h"
#include "sim/trace.h"

#define PROMPT_BLOCK_DEFAULT 16u /* tokens */

struct prompt_blocks {
    uint32_t block_tokens;  /* of the trace, PROMPT_BLOCK_DEFAULT where it has no blocks */
    bool own;               /* the trace has blocks */
    struct content content; /* of the current record */
    size_t run_cap;         /* of content.run while `own` */
    uint32_t *end;          /* owned; tokens from the prompt's start to the end of each block */
    size_t end_cap;
};

void prompt_blocks_init(struct prompt_blocks *b, const struct trace_traits *traits);
void prompt_blocks_release(struct prompt_blocks *b);
void prompt_blocks_set(struct prompt_blocks *b, const struct trace_rec *rec);

/* Tokens in the first n blocks. */
uint32_t prompt_blocks_tokens(const struct prompt_blocks *b, uint32_t n);

#endif
