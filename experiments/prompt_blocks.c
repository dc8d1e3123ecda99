#include "experiments/prompt_blocks.h"

void prompt_blocks_init(struct prompt_blocks *b, const struct trace_traits *traits)
{
    bool own = traits->block_tokens > 0;
    *b = (struct prompt_blocks){.block_tokens = own ? traits->block_tokens : PROMPT_BLOCK_DEFAULT,
                                .own = own};
}

void prompt_blocks_release(struct prompt_blocks *b)
{
    content_release(&b->content);
    mem_free(b->end);
}

/* One run a segment; a segment that is no multiple of the block ends in a partial one. */
static void set_own(struct prompt_blocks *b, const struct trace_rec *rec)
{
    struct content *c = &b->content;
    struct segment whole = {.stream = content_private_stream(rec->seq),
                            .tokens = rec->prompt_tokens};
    const struct segment *seg = rec->n_segments > 0 ? rec->segment : &whole;
    uint32_t n_seg = rec->n_segments > 0 ? rec->n_segments : 1, tokens = 0;
    c->n_runs = c->n_blocks = 0;
    c->run = mem_reserve(c->run, &b->run_cap, n_seg, sizeof(*c->run));
    for (uint32_t i = 0; i < n_seg; i++) {
        uint32_t n = div_ceil_u32(seg[i].tokens, b->block_tokens);
        if (n == 0)
            continue;
        c->run[c->n_runs++] = (struct key_run){
            .stream = seg[i].stream, .start = seg[i].offset / b->block_tokens, .n = n};
        b->end = mem_reserve(b->end, &b->end_cap, (size_t)c->n_blocks + n, sizeof(*b->end));
        for (uint32_t k = 1; k < n; k++)
            b->end[c->n_blocks++] = tokens + k * b->block_tokens;
        tokens += seg[i].tokens;
        b->end[c->n_blocks++] = tokens;
    }
}

void prompt_blocks_set(struct prompt_blocks *b, const struct trace_rec *rec)
{
    if (b->own) {
        set_own(b, rec);
        return;
    }
    content_release(&b->content);
    content_build(&b->content, rec->seq, rec->prompt_tokens, b->block_tokens, rec->segment,
                  rec->n_segments, rec->continues);
    b->end = mem_reserve(b->end, &b->end_cap, b->content.n_blocks, sizeof(*b->end));
    for (uint32_t i = 0; i < b->content.n_blocks; i++)
        b->end[i] = (i + 1) * b->block_tokens;
}

uint32_t prompt_blocks_tokens(const struct prompt_blocks *b, uint32_t n)
{
    return n > 0 ? b->end[n - 1] : 0;
}
