/* The cache-only mode: small traces by hand, and Mooncake's two against the hit rates of
 * shared/traces/README.md ("Prefix reuse"), as printed there. */
#include "experiments/cache_replay.h"

#include <string.h>

#include "policies/registry.h"
#include "tests/support/memory_trace.h"
#include "tests/support/shared_trace.h"

#define BLOCK 10u /* tokens */
#define MAX_REQUESTS 8
#define MAX_SEGMENTS 8

/* Prompts are written as strings: a letter is a block of the trace; a digit after the last one says
 * how many tokens of it there are. */
struct by_hand {
    const char *name;
    const char *prompt[MAX_REQUESTS];
    uint64_t capacity;
    bool flat;
    struct cache_counts want;
};

static const struct by_hand by_hand[] = {
    {"everything is kept", {"abc", "abd", "abc"}, CACHE_UNLIMITED, false, {9, 5, 90, 50}},
    {"a partial block counts", {"ab5", "ab5"}, CACHE_UNLIMITED, false, {4, 2, 30, 15}},
    {"only leading blocks are hit", {"abc", "xbc"}, CACHE_UNLIMITED, false, {6, 0, 60, 0}},
    {"flat, blocks are hit wherever they are",
     {"abc", "xbc"},
     CACHE_UNLIMITED,
     true,
     {6, 2, 60, 20}},
    {"tails go first", {"abc", "xy", "abc"}, 4, false, {8, 2, 80, 20}},
    {"flat, the first block goes first and takes the rest along",
     {"abc", "xy", "abc"},
     4,
     true,
     {8, 0, 80, 0}},
    {"a hit is recent use", {"a", "b", "a", "c", "a", "b"}, 2, false, {6, 2, 60, 20}},
    {"flat, too", {"a", "b", "a", "c", "a", "b"}, 2, true, {6, 2, 60, 20}},
    {"of a prompt larger than the cache the leading blocks stay",
     {"abcd", "abcd"},
     3,
     false,
     {8, 3, 80, 30}},
    {"flat, the last ones stay and are gone when they are reached",
     {"abcd", "abcd"},
     3,
     true,
     {8, 0, 80, 0}},
    {"a request's own path is not evicted for it", {"ab", "abcd", "ab"}, 2, false, {8, 4, 80, 40}},
};

/* Builds one record a prompt. */
static size_t records_of(const struct by_hand *c, struct trace_rec *rec,
                         struct segment seg[][MAX_SEGMENTS])
{
    size_t n = 0;
    for (; n < MAX_REQUESTS && c->prompt[n] != NULL; n++) {
        rec[n] = (struct trace_rec){.after = TRACE_NO_PARENT, .output_tokens = 1};
        for (const char *p = c->prompt[n]; *p != '\0'; p++) {
            struct segment *s = &seg[n][rec[n].n_segments];
            if (*p >= '0' && *p <= '9') {
                s[-1].tokens = (uint32_t)(*p - '0');
                rec[n].prompt_tokens -= BLOCK - s[-1].tokens;
                continue;
            }
            *s = (struct segment){.stream = (unsigned char)*p, .tokens = BLOCK};
            rec[n].n_segments++;
            rec[n].prompt_tokens += BLOCK;
        }
        rec[n].segment = seg[n];
    }
    return n;
}

static void replay(struct trace_source *src, uint64_t capacity, bool flat, struct cache_counts *out)
{
    struct params params;
    struct err e = {0};
    params_init(&params);
    struct cache_setup setup = {.capacity = capacity, .flat = flat, .block_tokens = BLOCK};
    struct cache_sim *sim = cache_sim_open(prefix_find("lru"), &params, &setup, &e);
    ck_assert_ptr_nonnull(sim);
    ck_assert_msg(cache_replay(src, "test", &sim, 1, &e), "%s", e.text);
    *out = cache_sim_counts(sim);
    cache_sim_close(sim);
    params_release(&params);
}

START_TEST(test_by_hand)
{
    const struct by_hand *c = &by_hand[_i];
    struct trace_rec rec[MAX_REQUESTS];
    struct segment seg[MAX_REQUESTS][MAX_SEGMENTS];
    struct memory_trace m = {.rec = rec, .n = records_of(c, rec, seg)};
    struct trace_source src = memory_trace_source(&m, BLOCK);
    struct cache_counts got;
    replay(&src, c->capacity, c->flat, &got);
    ck_assert_uint_eq(got.blocks, c->want.blocks);
    ck_assert_uint_eq(got.hit_blocks, c->want.hit_blocks);
    ck_assert_uint_eq(got.tokens, c->want.tokens);
    ck_assert_uint_eq(got.hit_tokens, c->want.hit_tokens);
}
END_TEST

START_TEST(test_session_without_blocks)
{
    /* A conversation of two turns: the second has the first's prompt and answer before it. */
    const struct segment first = {7, 0, 40}, second = {7, 0, 100};
    const struct trace_rec rec[] = {{.after = TRACE_NO_PARENT,
                                     .prompt_tokens = 40,
                                     .n_segments = 1,
                                     .segment = &first,
                                     .continues = true},
                                    {.after = TRACE_NO_PARENT,
                                     .prompt_tokens = 100,
                                     .n_segments = 1,
                                     .segment = &second,
                                     .continues = true}};
    struct memory_trace m = {.rec = rec, .n = ARRAY_LEN(rec)};
    struct trace_source src = memory_trace_source(&m, 0);
    struct cache_counts got;
    replay(&src, CACHE_UNLIMITED, false, &got);
    ck_assert_uint_eq(got.blocks, 2 + 6);
    ck_assert_uint_eq(got.hit_blocks, 2);
    ck_assert_uint_eq(got.tokens, 140);
    ck_assert_uint_eq(got.hit_tokens, 32);
}
END_TEST

START_TEST(test_nothing_to_share_is_an_error)
{
    const struct trace_rec rec = {.after = TRACE_NO_PARENT, .prompt_tokens = 40};
    struct memory_trace m = {.rec = &rec, .n = 1};
    struct trace_source src = memory_trace_source(&m, 0);
    struct err e = {0};
    ck_assert(!cache_replay(&src, "some.csv", NULL, 0, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "some.csv: no record has prefix hashes"));
}
END_TEST

/* README's percentages, and the exact counts of two short scripts that share nothing with this
 * program: for flat, a dictionary in order of last use; for the tree, vLLM's free queue (a
 * request's blocks leave the queue while it is inserted and come back in reverse). */
struct published {
    const char *path;
    bool flat;
    uint64_t capacity;
    double block_hits, token_hits; /* percent; 0: not published */
    uint64_t exact_blocks, exact_tokens;
};

#define CONVERSATION "mooncake-fast25/conversation_trace.jsonl.gz"
#define SYNTHETIC "mooncake-fast25/synthetic_trace.jsonl.gz"
/* README rounded twice (4.447 to 4.45 to 4.5). */
#define ROUNDING 0.0551

static const struct published published[] = {
    {CONVERSATION, false, CACHE_UNLIMITED, 36.6, 37.4, 105710, 54098411},
    {CONVERSATION, true, CACHE_UNLIMITED, 36.6, 37.4, 105710, 54098411},
    {CONVERSATION, true, 1000, 4.5, 0, 12831, 6567267},
    {CONVERSATION, true, 5000, 11.0, 0, 31840, 16290777},
    {CONVERSATION, true, 10000, 21.1, 0, 60921, 31174981},
    {CONVERSATION, true, 30000, 32.6, 0, 93967, 48088108},
    {CONVERSATION, true, 50000, 35.5, 0, 102290, 52347371},
    {CONVERSATION, true, 100000, 36.4, 0, 104924, 53695979},
    {SYNTHETIC, false, CACHE_UNLIMITED, 64.0, 65.1, 77953, 39852661},
    {SYNTHETIC, true, CACHE_UNLIMITED, 64.0, 65.1, 77953, 39852661},
    {SYNTHETIC, true, 1000, 8.3, 0, 10050, 5142055},
    {SYNTHETIC, true, 5000, 27.9, 0, 34018, 17398323},
    {SYNTHETIC, true, 10000, 42.4, 0, 51614, 26393500},
    {SYNTHETIC, true, 30000, 62.4, 0, 76077, 38895096},
    {SYNTHETIC, true, 50000, 64.0, 0, 77953, 39852661},
    {SYNTHETIC, true, 100000, 64.0, 0, 77953, 39852661},
    {CONVERSATION, false, 1000, 0, 0, 12847, 6575459},
    {CONVERSATION, false, 10000, 0, 0, 61046, 31238981},
    {CONVERSATION, false, 50000, 0, 0, 102290, 52347371},
    {SYNTHETIC, false, 1000, 0, 0, 10252, 5245479},
    {SYNTHETIC, false, 10000, 0, 0, 51669, 26421660},
    {SYNTHETIC, false, 50000, 0, 0, 77953, 39852661},
};

static double percent(uint64_t part, uint64_t all)
{
    return 100 * (double)part / (double)all;
}

START_TEST(test_published)
{
    const struct published *want = &published[_i];
    struct shared_trace t;
    struct cache_counts got;
    if (!shared_trace_open(&t, want->path))
        return;
    replay(&t.source, want->capacity, want->flat, &got);
    shared_trace_close(&t);
    ck_assert_uint_eq(got.hit_blocks, want->exact_blocks);
    ck_assert_uint_eq(got.hit_tokens, want->exact_tokens);
    if (want->block_hits > 0)
        ck_assert_double_eq_tol(percent(got.hit_blocks, got.blocks), want->block_hits, ROUNDING);
    if (want->token_hits > 0)
        ck_assert_double_eq_tol(percent(got.hit_tokens, got.tokens), want->token_hits, ROUNDING);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cache_replay");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_by_hand, 0, (int)ARRAY_LEN(by_hand));
    tcase_add_test(tc, test_session_without_blocks);
    tcase_add_test(tc, test_nothing_to_share_is_an_error);
    tcase_add_loop_test(tc, test_published, 0, (int)ARRAY_LEN(published));
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
