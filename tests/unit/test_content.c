/* test_content.c: block keys against an oracle that writes every token out as (stream, offset): two
 * blocks have equal keys iff their tokens are equal, whatever segments describe them. */
#include "sim/content.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sim/rng.h"

#define MAX_SEGMENTS 8u
#define MAX_TOKENS 1400u
#define PROMPTS 40u

struct token {
    uint64_t stream;
    uint64_t offset;
};

struct prompt {
    struct segment seg[MAX_SEGMENTS];
    uint32_t n_seg;
    struct token token[MAX_TOKENS];
    uint32_t tokens;
};

static void add_segment(struct prompt *p, uint64_t stream, uint32_t offset, uint32_t tokens)
{
    ck_assert_uint_lt(p->n_seg, MAX_SEGMENTS);
    ck_assert_uint_le(p->tokens + tokens, MAX_TOKENS);
    p->seg[p->n_seg++] = (struct segment){.stream = stream, .offset = offset, .tokens = tokens};
    for (uint32_t i = 0; i < tokens; i++)
        p->token[p->tokens++] = (struct token){.stream = stream, .offset = offset + i};
}

/* Few streams and small offsets, so that equal blocks happen; segments that flow on, segments cut
 * in two, empty segments. */
static void random_prompt(struct rng *r, struct prompt *p, uint32_t block_size)
{
    *p = (struct prompt){0};
    uint32_t n = 1 + (uint32_t)rng_below(r, MAX_SEGMENTS - 1);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t stream = rng_below(r, 3);
        uint32_t offset = rng_below(r, 2) == 0 ? 0 : (uint32_t)rng_below(r, 12);
        uint32_t tokens = (uint32_t)rng_below(r, rng_below(r, 2) == 0 ? 10 : 20 + 2 * block_size);
        if (i > 0 && rng_below(r, 3) == 0) {
            stream = p->seg[i - 1].stream;
            offset = p->seg[i - 1].offset + p->seg[i - 1].tokens;
        }
        add_segment(p, stream, offset, tokens);
    }
}

/* The keys of blocks [first, first + n), one run each. The caller frees. */
static struct key_run *keys_of(const struct content *c, uint32_t first, uint32_t n)
{
    struct key_run *run = NULL, *key = mem_alloc((n + 1) * sizeof(*key));
    size_t n_run = 0, cap = 0;
    uint32_t k = 0, wrong_hashes = 0, mergeable = 0;
    size_t appended = content_runs(c, first, n, &run, &n_run, &cap);
    ck_assert_uint_eq(appended, n_run);
    for (size_t i = 0; i < n_run; i++) {
        ck_assert_uint_le(k + run[i].n, n);
        for (uint32_t j = 0; j < run[i].n; j++, k++) {
            key[k] = (struct key_run){.stream = run[i].stream, .start = run[i].start + j, .n = 1};
            wrong_hashes += content_block_hash(&run[i], j) != content_block_hash(&key[k], 0);
        }
        mergeable += i > 0 && run[i].stream == run[i - 1].stream &&
                     run[i].start == run[i - 1].start + run[i - 1].n;
    }
    ck_assert_uint_eq(k, n);
    ck_assert_uint_eq(wrong_hashes, 0);
    ck_assert_uint_eq(mergeable, 0);
    mem_free(run);
    return key;
}

static bool same_key(const struct key_run *a, const struct key_run *b)
{
    return a->stream == b->stream && a->start == b->start;
}

static bool same_tokens(const struct token *a, const struct token *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (a[i].stream != b[i].stream || a[i].offset != b[i].offset)
            return false;
    }
    return true;
}

static void build(struct content *c, const struct prompt *p, uint64_t seq, uint32_t block_size,
                  bool continues)
{
    content_build(c, seq, p->tokens, block_size, p->seg, p->n_seg, continues);
}

static const uint32_t block_sizes[] = {1, 2, 3, 4, 7, 8, 16, 64};

/* Every block of prompt a against every block of prompt b. */
struct comparison {
    uint64_t equal, wrong;
};

static void compare_blocks(struct comparison *c, const struct prompt *a,
                           const struct key_run *key_a, const struct prompt *b,
                           const struct key_run *key_b, uint32_t size)
{
    for (uint32_t i = 0; i < a->tokens / size; i++) {
        for (uint32_t j = 0; j < b->tokens / size; j++) {
            bool same = same_tokens(&a->token[i * size], &b->token[j * size], size);
            bool same_hash = content_block_hash(&key_a[i], 0) == content_block_hash(&key_b[j], 0);
            c->equal += same;
            c->wrong += same_key(&key_a[i], &key_b[j]) != same || same_hash != same;
        }
    }
}

START_TEST(keys_equal_iff_tokens_equal)
{
    static struct prompt prompt[PROMPTS];
    struct key_run *key[PROMPTS];
    struct rng r;
    struct comparison total = {0};
    uint32_t size = block_sizes[_i];
    rng_init(&r, size, "content");
    for (uint32_t i = 0; i < PROMPTS; i++) {
        struct content c;
        random_prompt(&r, &prompt[i], size);
        build(&c, &prompt[i], i, size, rng_below(&r, 2) == 0);
        ck_assert(c.shareable);
        ck_assert_uint_eq(c.n_blocks, prompt[i].tokens / size);
        key[i] = keys_of(&c, 0, c.n_blocks);
        content_release(&c);
    }
    for (uint32_t i = 0; i < PROMPTS; i++) {
        for (uint32_t j = 0; j < i; j++)
            compare_blocks(&total, &prompt[i], key[i], &prompt[j], key[j], size);
    }
    ck_assert_uint_eq(total.wrong, 0);
    ck_assert_uint_gt(total.equal, 0); /* else this compares nothing */
    for (uint32_t i = 0; i < PROMPTS; i++)
        mem_free(key[i]);
}
END_TEST

/* Does the block that holds the end of the prompt lie in the last segment's stream as far as it is
 * filled? By the tokens alone. */
static bool tail_is_inside(const struct prompt *p, uint32_t size)
{
    const struct segment *last = &p->seg[p->n_seg - 1];
    uint32_t partial = p->tokens % size;
    uint64_t next = (uint64_t)last->offset + last->tokens;
    for (uint32_t i = 1; i <= partial; i++) {
        const struct token *t = &p->token[p->tokens - i];
        if (t->stream != last->stream || t->offset + i != next)
            return false;
    }
    return true;
}

/* What a turn generates is what the next turn's prompt has there. */
START_TEST(tail_is_the_next_prompt)
{
    struct rng r;
    uint32_t size = block_sizes[_i], inside = 0, more = 3 * size + 2;
    rng_init(&r, size, "tail");
    for (uint64_t i = 0; i < 200; i++) {
        static struct prompt p, next;
        struct content c, c_next;
        do
            random_prompt(&r, &p, size);
        while (p.tokens + more > MAX_TOKENS);
        const struct segment *last = &p.seg[p.n_seg - 1];
        next = p;
        next.n_seg--;
        next.tokens -= last->tokens;
        add_segment(&next, last->stream, last->offset, last->tokens + more);
        build(&c, &p, 2 * i, size, true);
        build(&c_next, &next, 2 * i + 1, size, true);

        struct key_run *a = keys_of(&c, 0, c_next.n_blocks);
        struct key_run *b = keys_of(&c_next, 0, c_next.n_blocks);
        for (uint32_t k = 0; k < c_next.n_blocks; k++)
            ck_assert_int_eq(same_key(&a[k], &b[k]), k < c.n_blocks || tail_is_inside(&p, size));
        inside += tail_is_inside(&p, size);
        mem_free(a);
        mem_free(b);
        content_release(&c);
        content_release(&c_next);
    }
    ck_assert_uint_gt(inside, 0);
}
END_TEST

/* Without `continues` what is generated is nobody else's, though the prompt is shared. */
START_TEST(output_is_private_unless_it_continues)
{
    struct prompt p = {0};
    struct content one, other;
    add_segment(&p, 77, 0, 40);
    build(&one, &p, 1, 16, false);
    build(&other, &p, 2, 16, false);
    struct key_run *a = keys_of(&one, 0, 5), *b = keys_of(&other, 0, 5);
    for (uint32_t k = 0; k < 5; k++)
        ck_assert_int_eq(same_key(&a[k], &b[k]), k < 2);
    mem_free(a);
    mem_free(b);
    content_release(&one);
    content_release(&other);
}
END_TEST

START_TEST(a_conversation_is_one_run)
{
    struct prompt p = {0};
    struct content c;
    struct key_run *run = NULL;
    size_t n = 0, cap = 0;
    add_segment(&p, 5, 0, 100);
    add_segment(&p, 5, 100, 107);
    build(&c, &p, 1, 16, true);
    ck_assert_uint_eq(c.n_runs, 1);
    ck_assert_uint_eq(c.run[0].n, 12);
    ck_assert_uint_eq(c.run[0].start, 0);
    /* The rest of the prompt and the output belong to the same run. */
    ck_assert_uint_eq(content_runs(&c, 3, 100, &run, &n, &cap), 1);
    ck_assert_uint_eq(run[0].stream, c.run[0].stream);
    ck_assert_uint_eq(run[0].start, 3);
    ck_assert_uint_eq(run[0].n, 100);
    /* A second call appends: it does not lengthen what was there. */
    ck_assert_uint_eq(content_runs(&c, 103, 1, &run, &n, &cap), 1);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(content_runs(&c, 0, 0, &run, &n, &cap), 0);
    mem_free(run);
    content_release(&c);
}
END_TEST

/* Trace blocks of 512 tokens: 32 engine blocks each, in one run each. */
START_TEST(trace_blocks)
{
    const struct segment seg[] = {{1001, 0, 512}, {1002, 0, 512}, {1003, 0, 512}};
    struct content c;
    content_build(&c, 9, 1536, 16, seg, 3, false);
    ck_assert_uint_eq(c.n_runs, 3);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(c.run[i].start, 0);
        ck_assert_uint_eq(c.run[i].n, 32);
    }
    content_release(&c);
}
END_TEST

START_TEST(private_content)
{
    struct content c, other;
    content_build(&c, 4, 100, 16, NULL, 0, false);
    content_build(&other, 5, 100, 16, NULL, 0, false);
    ck_assert(!c.shareable);
    ck_assert_uint_eq(c.n_blocks, 6);
    ck_assert_uint_eq(c.n_runs, 1);
    ck_assert_uint_eq(c.run[0].stream, content_private_stream(4));
    ck_assert_uint_eq(c.tail.stream, content_private_stream(4));
    struct key_run *a = keys_of(&c, 0, 10), *b = keys_of(&other, 0, 10);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(a[i].start, i); /* one sequence through prompt and output */
        for (uint32_t k = 0; k < 10; k++)
            ck_assert(!same_key(&a[i], &b[k]));
    }
    mem_free(a);
    mem_free(b);
    content_release(&c);
    content_release(&other);

    content_build(&c, 4, 15, 16, NULL, 0, false);
    ck_assert_uint_eq(c.n_blocks, 0);
    ck_assert_uint_eq(c.n_runs, 0);
    content_release(&c);
}
END_TEST

/* Any range of blocks has the keys that the whole has there. */
START_TEST(ranges_agree_with_the_whole)
{
    struct rng r;
    uint32_t size = block_sizes[_i];
    rng_init(&r, size, "range");
    for (uint64_t i = 0; i < 100; i++) {
        static struct prompt p;
        struct content c;
        random_prompt(&r, &p, size);
        build(&c, &p, i, size, rng_below(&r, 2) == 0);
        uint32_t n = c.n_blocks + 10;
        uint32_t first = (uint32_t)rng_below(&r, n), some = (uint32_t)rng_below(&r, n - first + 1);
        struct key_run *whole = keys_of(&c, 0, n), *part = keys_of(&c, first, some);
        ck_assert_int_eq(memcmp(part, whole + first, some * sizeof(*part)), 0);
        mem_free(whole);
        mem_free(part);
        content_release(&c);
    }
}
END_TEST

START_TEST(segments_must_add_up)
{
    const struct segment seg = {1, 0, 10};
    struct content c;
    content_build(&c, 1, 11, 16, &seg, 1, false);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("content");
    TCase *t = tcase_create("content");
    tcase_add_loop_test(t, keys_equal_iff_tokens_equal, 0, (int)ARRAY_LEN(block_sizes));
    tcase_add_loop_test(t, tail_is_the_next_prompt, 0, (int)ARRAY_LEN(block_sizes));
    tcase_add_test(t, output_is_private_unless_it_continues);
    tcase_add_test(t, a_conversation_is_one_run);
    tcase_add_test(t, trace_blocks);
    tcase_add_test(t, private_content);
    tcase_add_loop_test(t, ranges_agree_with_the_whole, 0, (int)ARRAY_LEN(block_sizes));
    tcase_add_test_raise_signal(t, segments_must_add_up, SIGABRT);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
