/* content.c: from the segments of a prompt to the keys of its blocks.
 *
 * What must hold: two full blocks have equal keys (stream and index) iff their tokens, as (stream,
 * offset) pairs, are equal, whatever segments they were described by (up to collisions of 64-bit
 * hashes). Therefore segments that flow into each other are joined first, and a key depends on the
 * tokens of its block alone: a block inside one stream is (stream, how the blocks lie in it;
 * index), a block that straddles streams hashes its parts. */
#include "sim/content.h"

#include <inttypes.h>

#include "sim/hash.h"

/* Arbitrary, different, fixed for ever: they keep the three kinds of stream apart. */
#define SALT_PRIVATE UINT64_C(0x707269766174652e)
#define SALT_STRADDLE UINT64_C(0x7374726164646c65)
#define SALT_INSIDE UINT64_C(0x696e736964652e2e)

/* Reads the prompt's tokens from the front, as the longest pieces that flow on in one stream. */
struct reader {
    const struct segment *seg;
    uint32_t n_seg, next;
    struct segment piece; /* what is left of the current one; tokens == 0: at the end */
};

/* Takes the next joined piece into r->piece. */
static void next_piece(struct reader *r)
{
    while (r->next < r->n_seg && r->seg[r->next].tokens == 0)
        r->next++;
    r->piece = (struct segment){0};
    if (r->next == r->n_seg)
        return;
    r->piece = r->seg[r->next++];
    for (; r->next < r->n_seg; r->next++) {
        const struct segment *s = &r->seg[r->next];
        if (s->tokens > 0 &&
            (s->stream != r->piece.stream || s->offset != r->piece.offset + r->piece.tokens))
            break;
        r->piece.tokens += s->tokens;
    }
}

static void skip(struct reader *r, uint32_t tokens)
{
    r->piece.offset += tokens;
    r->piece.tokens -= tokens;
    if (r->piece.tokens == 0)
        next_piece(r);
}

/* The key of the block of a stream that starts at token `offset`. Where the prompts before it are
 * not multiples of the block size, the blocks of one stream lie in it shifted: each shift is a
 * sequence of keys of its own. */
static struct key_run block_inside(uint64_t stream, uint32_t offset, uint32_t block_size)
{
    uint64_t shift = ((uint64_t)block_size << 32) | offset % block_size;
    return (struct key_run){.stream = hash_mix(hash_mix(SALT_INSIDE, stream), shift),
                            .start = offset / block_size,
                            .n = 1};
}

/* The key of one block that starts in the current piece and ends in a later one; takes it. */
static struct key_run take_straddling(struct reader *r, uint32_t block_size)
{
    uint64_t h = hash_mix(SALT_STRADDLE, block_size);
    for (uint32_t left = block_size; left > 0;) {
        uint32_t part = MIN(left, r->piece.tokens);
        h = hash_mix(hash_mix(h, r->piece.stream), ((uint64_t)r->piece.offset << 32) | part);
        left -= part;
        skip(r, part);
    }
    return (struct key_run){.stream = h, .start = 0, .n = 1};
}

/* The keys of as many of the next blocks as one run can name; takes them. */
static struct key_run take_blocks(struct reader *r, uint32_t block_size)
{
    if (r->piece.tokens < block_size)
        return take_straddling(r, block_size);
    struct key_run run = block_inside(r->piece.stream, r->piece.offset, block_size);
    run.n = r->piece.tokens / block_size;
    skip(r, run.n * block_size);
    return run;
}

/* Appends `run`, or lengthens the last one (not before index `from`) where it goes on. */
static void append(struct key_run **v, size_t *n, size_t *cap, size_t from, struct key_run run)
{
    if (*n > from) {
        struct key_run *last = &(*v)[*n - 1];
        if (last->stream == run.stream && last->start + last->n == run.start) {
            last->n += run.n;
            return;
        }
    }
    *v = mem_reserve(*v, cap, *n + 1, sizeof(**v));
    (*v)[(*n)++] = run;
}

static void check_segments(const struct segment *seg, uint32_t n_seg, uint32_t prompt_tokens)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < n_seg; i++) {
        CHECK(seg[i].tokens <= UINT32_MAX - seg[i].offset, "content: offsets fit in 32 bits",
              "segment %u: offset %u, tokens %u", i, seg[i].offset, seg[i].tokens);
        total += seg[i].tokens;
    }
    CHECK(total == prompt_tokens, "content: segments add up to the prompt",
          "%" PRIu64 " tokens of %u", total, prompt_tokens);
}

/* Where the output goes on: the keys after the prompt's full blocks. A first block that straddles
 * into the stream could not be named by (stream, start), so such a tail is private. */
static struct key_run find_tail(const struct content *c, const struct reader *r, uint32_t partial,
                                uint32_t block_size)
{
    const struct segment *last = &r->seg[r->n_seg - 1];
    uint32_t end = last->offset + last->tokens;
    bool inside = r->piece.tokens == partial && r->piece.stream == last->stream &&
                  r->piece.offset + partial == end;
    if (partial > 0 && !inside)
        return c->tail;
    struct key_run tail = block_inside(last->stream, end - partial, block_size);
    tail.n = 0;
    return tail;
}

void content_build(struct content *c, uint64_t seq, uint32_t prompt_tokens, uint32_t block_size,
                   const struct segment *seg, uint32_t n_seg, bool continues)
{
    uint32_t n_blocks = prompt_tokens / block_size;
    struct key_run whole = {.stream = content_private_stream(seq), .start = 0, .n = n_blocks};
    *c = (struct content){.n_blocks = n_blocks, .shareable = n_seg > 0};
    c->tail = (struct key_run){.stream = whole.stream, .start = n_blocks};

    size_t n = 0, cap = 0;
    if (n_seg == 0 && n_blocks > 0)
        append(&c->run, &n, &cap, 0, whole);
    if (n_seg > 0) {
        check_segments(seg, n_seg, prompt_tokens);
        struct reader r = {.seg = seg, .n_seg = n_seg};
        next_piece(&r);
        for (uint32_t left = n_blocks; left > 0;) {
            struct key_run run = take_blocks(&r, block_size);
            append(&c->run, &n, &cap, 0, run);
            left -= run.n;
        }
        if (continues)
            c->tail = find_tail(c, &r, prompt_tokens % block_size, block_size);
    }
    c->n_runs = (uint32_t)n;
}

void content_release(struct content *c)
{
    mem_free(c->run);
    *c = (struct content){0};
}

size_t content_runs(const struct content *c, uint32_t first, uint32_t n, struct key_run **out,
                    size_t *out_n, size_t *out_cap)
{
    size_t from = *out_n;
    for (uint32_t i = 0; i < c->n_runs && n > 0; i++) {
        struct key_run run = c->run[i];
        if (first >= run.n) {
            first -= run.n;
            continue;
        }
        run.start += first;
        run.n = MIN(run.n - first, n);
        append(out, out_n, out_cap, from, run);
        n -= run.n;
        first = 0;
    }
    if (n > 0) {
        struct key_run run = {.stream = c->tail.stream, .start = c->tail.start + first, .n = n};
        append(out, out_n, out_cap, from, run);
    }
    return *out_n - from;
}

uint64_t content_prefix_key(const struct content *c, uint32_t n_blocks)
{
    if (!c->shareable || n_blocks > c->n_blocks)
        return 0;
    uint64_t h = 0;
    for (uint32_t i = 0; n_blocks > 0;
         i++) { /* runs are as long as can be: equal iff the keys are */
        uint32_t n = MIN(c->run[i].n, n_blocks);
        h = hash_mix(hash_mix(h, c->run[i].stream), ((uint64_t)c->run[i].start << 32) | n);
        n_blocks -= n;
    }
    return h | 1;
}

uint64_t content_block_hash(const struct key_run *run, uint32_t i)
{
    return hash_mix(run->stream, run->start + i);
}

uint64_t content_private_stream(uint64_t seq)
{
    return hash_mix(SALT_PRIVATE, seq);
}
