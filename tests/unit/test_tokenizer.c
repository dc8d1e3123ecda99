/* test_tokenizer.c: byte-level BPE on a vocabulary of our own, and SmolLM2's against what Hugging
 * Face's tokenizers made of the same texts. */
#include "backend/model/sampler.h"
#include "backend/model/tokenizer.h"
#include "tests/support/model_files.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a file ---- */

#define N_BYTES 256u

static const char *const longer[] = {
    "he",           "ll",         "hell",         "hello", "\u0120w", "12", "aa", "<|endoftext|>",
    "<|im_start|>", "<|im_end|>", "\u0120\u0120", "'s",
};
enum { HE = N_BYTES, LL, HELL, HELLO, SPACE_W, TWELVE, AA, END, TURN, TURN_END, SPACES, APOS_S };

static const char *const merges[] = {
    "h e", "l l", "he ll", "hell o", "\u0120 w", "1 2", "a a", "\u0120 \u0120", "' s",
};

static struct model_folder folder;

/* A byte as the vocabulary writes it: itself where it is printable in Latin-1, else the next of the
 * characters from U+0100 on. */
static void spell(char out[4], uint32_t byte)
{
    uint32_t c = 0x100;

    for (uint32_t b = 0; b <= byte; b++) {
        bool printable = (b > ' ' && b < 0x7f) || (b > 0xa0 && b != 0xad);

        if (b == byte && printable)
            c = b;
        else if (b < byte && !printable)
            c++;
    }
    if (c < 0x80)
        snprintf(out, 4, "%c", (char)c);
    else
        snprintf(out, 4, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
}

struct vocabulary {
    const char *model, *pre;
    const char *const *merges;
    size_t n_merges;
    uint32_t without; /* a byte that has no token of its own; 0: all have */
    bool empty;
};

static const struct vocabulary ours = {"gpt2", "gpt-2", merges, ARRAY_LEN(merges), 0, false};

static const char *write_vocabulary(const struct vocabulary *v)
{
    static char byte[N_BYTES][4];
    const char *token[N_BYTES + ARRAY_LEN(longer)];
    int32_t type[N_BYTES + ARRAY_LEN(longer)];
    struct bytes b = {0};
    const char *path;

    for (uint32_t i = 0; i < N_BYTES; i++) {
        spell(byte[i], i);
        token[i] = v->without == i && i > 0 ? "nothing" : byte[i];
    }
    memcpy(token + N_BYTES, longer, sizeof(longer));
    for (uint32_t i = 0; i < ARRAY_LEN(token); i++)
        type[i] = i >= END && i <= TURN_END ? 3 : 1;
    put_bytes(&b, "GGUF", 4);
    put_le(&b, 3, 4);
    put_le(&b, 0, 8);
    put_le(&b, v->empty ? 3 : v->merges ? 5 : 4, 8);
    gguf_put_string(&b, "tokenizer.ggml.model", v->model);
    gguf_put_string(&b, "tokenizer.ggml.pre", v->pre);
    gguf_put_i32s(&b, "tokenizer.ggml.token_type", type, ARRAY_LEN(type));
    if (!v->empty)
        gguf_put_strings(&b, "tokenizer.ggml.tokens", token, ARRAY_LEN(token));
    if (v->merges)
        gguf_put_strings(&b, "tokenizer.ggml.merges", v->merges, v->n_merges);
    path = model_file_write(&folder, "vocabulary.gguf", b.at, b.n);
    mem_free(b.at);
    return path;
}

static struct tokenizer *open_vocabulary(const struct vocabulary *v)
{
    struct err e = {0};
    struct tokenizer *t = tokenizer_open(write_vocabulary(v), &e);

    ck_assert_msg(t, "%s", e.text);
    return t;
}

static void setup(void)
{
    model_folder_make(&folder);
}

static void teardown(void)
{
    model_folder_remove(&folder);
}

/* ---- encoding ---- */

#define MAX_IDS 64u

struct example {
    const char *text;
    uint32_t n, id[MAX_IDS];
};

static void check_examples(const struct tokenizer *t, const struct example *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct tokens got = {0};

        tokenizer_encode(t, x[i].text, strlen(x[i].text), &got);
        ck_assert_msg(got.n == x[i].n, "\"%s\": %zu tokens, not %u", x[i].text, got.n, x[i].n);
        for (size_t k = 0; k < got.n; k++)
            ck_assert_msg(got.id[k] == x[i].id[k], "\"%s\": token %zu is %u, not %u", x[i].text, k,
                          got.id[k], x[i].id[k]);
        mem_free(got.id);
    }
}

START_TEST(merges_in_order_of_rank)
{
    static const struct example examples[] = {
        {"", 0, {0}},
        {"hello", 1, {HELLO}},
        {"hell", 1, {HELL}},
        {"help", 3, {HE, 'l', 'p'}},
        {"ll", 1, {LL}},
        {"aaaaa", 3, {AA, AA, 'a'}}, /* from the left */
        {"ahellohe", 3, {'a', HELLO, HE}},
        {"<|im_end|>", 10, {'<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>'}}, /* is text */
        {"\xff\xc3", 2, {0xff, 0xc3}},                                          /* no UTF-8 */
        {"\xc3\xa9", 2, {0xc3, 0xa9}},
    };
    struct tokenizer *t = open_vocabulary(&ours);

    ck_assert_uint_eq(tokenizer_vocab(t), N_BYTES + ARRAY_LEN(longer));
    check_examples(t, examples, ARRAY_LEN(examples));
    tokenizer_close(t);
}
END_TEST

/* Words end where GPT-2's pattern ends them: no merge goes over the end of one. */
START_TEST(words)
{
    static const struct example examples[] = {
        {"hello world", 6, {HELLO, SPACE_W, 'o', 'r', 'l', 'd'}},
        {"  w", 2, {' ', SPACE_W}}, /* the last space goes with the word */
        {"   w", 2, {SPACES, SPACE_W}},
        {"w  ", 2, {'w', SPACES}}, /* at the end all stay together */
        {"h\ne", 3, {'h', '\n', 'e'}},
        {" \nw", 3, {' ', '\n', 'w'}},
        {"a1a", 3, {'a', '1', 'a'}},
        {"112", 2, {'1', TWELVE}},
        {"w's", 2, {'w', APOS_S}},
        {"w'S", 3, {'w', '\'', 'S'}},
        {"a?a", 3, {'a', '?', 'a'}},
        {"a\u00a0a", 4, {'a', 0xc2, 0xa0, 'a'}}, /* a space, but not the one */
        {"a\u0660a", 4, {'a', 0xd9, 0xa0, 'a'}}, /* a digit */
    };
    struct tokenizer *t = open_vocabulary(&ours);

    check_examples(t, examples, ARRAY_LEN(examples));
    tokenizer_close(t);
}
END_TEST

START_TEST(single_digits)
{
    static const struct example examples[] = {
        {"112", 3, {'1', '1', '2'}},
        {"a 12", 4, {'a', ' ', '1', '2'}}, /* digits take no space */
        {"a  1w", 4, {'a', SPACES, '1', 'w'}},
        {"hello world", 6, {HELLO, SPACE_W, 'o', 'r', 'l', 'd'}},
    };
    struct vocabulary v = ours;
    struct tokenizer *t;

    v.pre = "smollm";
    t = open_vocabulary(&v);
    check_examples(t, examples, ARRAY_LEN(examples));
    tokenizer_close(t);
}
END_TEST

START_TEST(bytes_without_token_are_left_out)
{
    static const struct example examples[] = {{"?\x04?", 2, {'?', '?'}}, {"\x04", 0, {0}}};
    struct vocabulary v = ours;
    struct tokenizer *t;

    v.without = 4;
    t = open_vocabulary(&v);
    check_examples(t, examples, ARRAY_LEN(examples));
    tokenizer_close(t);
}
END_TEST

static void check_round_trip(const struct tokenizer *t, const char *text, size_t n)
{
    struct tokens ids = {0};
    struct bytes back = {0};

    tokenizer_encode(t, text, n, &ids);
    for (size_t i = 0; i < ids.n; i++) {
        size_t len;
        const char *piece = tokenizer_piece(t, ids.id[i], &len);

        put_bytes(&back, piece, len);
    }
    ck_assert_uint_eq(back.n, n);
    ck_assert_mem_eq(back.at, text, n);
    mem_free(back.at);
    mem_free(ids.id);
}

START_TEST(any_bytes_come_back)
{
    static const char *const parts[] = {"hello", " ", "\n", "12", "'s", "aa", "\xc3\xa9", "w"};
    struct tokenizer *t = open_vocabulary(&ours);
    struct rng r;

    rng_init(&r, 1, "test");
    for (int round = 0; round < 500; round++) {
        struct bytes b = {0};

        put_bytes(&b, "", 1); /* a zero byte is one like any other */
        for (uint64_t i = rng_below(&r, 40); i > 0; i--) {
            const char *part = parts[rng_below(&r, ARRAY_LEN(parts))];

            if (rng_below(&r, 2))
                put_le(&b, rng_u64(&r), 1);
            else
                put_bytes(&b, part, strlen(part));
        }
        check_round_trip(t, (const char *)b.at, b.n);
        mem_free(b.at);
    }
    tokenizer_close(t);
}
END_TEST

START_TEST(conversation)
{
    static const uint32_t want[] = {TURN, 'u', 's', 'e', 'r', '\n', HELLO, TURN_END, '\n', TURN};
    struct tokenizer *t = open_vocabulary(&ours);
    struct tokens ids = {0};
    size_t len;

    ck_assert(tokenizer_encode_chat(t, "hello", 5, &ids));
    ck_assert_uint_gt(ids.n, ARRAY_LEN(want));
    ck_assert_mem_eq(ids.id, want, sizeof(want));
    ck_assert_uint_eq(ids.id[ids.n - 1], '\n');
    ck_assert(tokenizer_is_control(t, TURN_END) && !tokenizer_is_control(t, HELLO));
    tokenizer_piece(t, TURN_END, &len);
    ck_assert_uint_eq(len, 0);
    mem_free(ids.id);
    tokenizer_close(t);
}
END_TEST

START_TEST(wrong_vocabularies_are_named)
{
    static const char *const unknown[] = {"h zz"}, *const apart[] = {"w h"}, *const one[] = {"he"};
    static const struct {
        struct vocabulary v;
        const char *says;
    } wrong[] = {
        {{"llama", "gpt-2", merges, 1, 0, false}, "its tokenizer is no byte-level BPE"},
        {{"gpt2", "qwen2", merges, 1, 0, false}, "splits words as qwen2 does"},
        {{"gpt2", "gpt-2", NULL, 0, 0, false}, "has no merges"},
        {{"gpt2", "gpt-2", NULL, 0, 0, true}, "has no vocabulary"},
        {{"gpt2", "gpt-2", unknown, 1, 0, false}, "merge 0 is not of two tokens to a third"},
        {{"gpt2", "gpt-2", apart, 1, 0, false}, "merge 0 is not of two tokens to a third"},
        {{"gpt2", "gpt-2", one, 1, 0, false}, "merge 0 is not of two tokens to a third"},
    };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct err e = {0};

        ck_assert_ptr_null(tokenizer_open(write_vocabulary(&wrong[i].v), &e));
        ck_assert_msg(strstr(e.text, wrong[i].says), "%s", e.text);
    }
}
END_TEST

/* ---- SmolLM2 ---- */

/* The ids are those of Hugging Face's tokenizers 0.23.3 (BPE from the same vocabulary and merges;
 * pre-tokenizers Digits(individual) and ByteLevel). 6,021 texts were compared once, none differed.
 */
static const struct example smollm2_examples[] = {
    {"What is the capital of France?", 7, {1780, 314, 260, 3575, 282, 4649, 47}},
    {"I'll say it's 12345, they've gone; don't!",
     19,
     {57, 3060, 1643, 357, 506, 216, 33, 34, 35, 36, 37, 28, 502, 3543, 7270, 43, 1326, 982, 17}},
    {"  two  spaces\n\n\nnew   lines\t\ttabs  ",
     14,
     {216, 827, 216, 5600, 1116, 198, 2241, 256, 3204, 197, 197, 100, 7366, 256}},
    {"a  1 b", 4, {81, 256, 33, 278}},
    {"def f(x):\n    return x**2  # ok\n",
     14,
     {1604, 275, 24, 104, 727, 472, 1003, 1792, 828, 34, 216, 907, 10907, 198}},
    {"'s 'T 're''ll", 7, {506, 637, 68, 637, 257, 3816, 764}},
    {"\u00a0nbsp\u3000x\u2028y", 9, {15442, 94, 32093, 12109, 218, 104, 321, 118, 105}},
    {"x\x04y\x06z", 3, {104, 105, 106}},
};

START_TEST(smollm2)
{
    const char *path = smollm2_path();
    struct err e = {0};
    struct tokenizer *t;

    if (!path)
        return;
    t = tokenizer_open(path, &e);
    ck_assert_msg(t, "%s", e.text);
    check_examples(t, smollm2_examples, ARRAY_LEN(smollm2_examples));
    tokenizer_close(t);
}
END_TEST

/* ---- sampling ---- */

/* Of four tokens with probabilities 1/2, 1/4, 1/8, 1/8 at temperature 1. */
static void draw(uint64_t seed, double temperature, double top_p, uint32_t count[4])
{
    const float logits[] = {logf(2), logf(4), logf(1), logf(1)};
    struct sampler *s = sampler_open(4, temperature, top_p, seed);

    memset(count, 0, 4 * sizeof(*count));
    for (int i = 0; i < 20000; i++)
        count[sampler_next(s, logits)]++;
    sampler_close(s);
}

START_TEST(samples_by_probability)
{
    uint32_t count[4], again[4];

    draw(1, 1, 1, count);
    ck_assert_double_eq_tol(count[1] / 20000.0, 0.5, 0.02); /* > 5 standard errors */
    ck_assert_double_eq_tol(count[0] / 20000.0, 0.25, 0.02);
    ck_assert_double_eq_tol(count[2] / 20000.0, 0.125, 0.02);
    draw(1, 1, 1, again);
    ck_assert_mem_eq(count, again, sizeof(count));
    draw(2, 1, 1, again);
    ck_assert_mem_ne(count, again, sizeof(count));
    draw(1, 0.5, 1, count); /* squares: 16, 4, 1, 1 */
    ck_assert_double_eq_tol(count[1] / 20000.0, 16 / 22.0, 0.02);
    draw(1, 1, 0.75, count);
    ck_assert_double_eq_tol(count[1] / 20000.0, 2 / 3.0, 0.02);
    ck_assert_uint_eq(count[2] + count[3], 0);
    draw(1, 1, 1e-6, count);
    ck_assert_uint_eq(count[1], 20000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tokenizer");
    TCase *t = tcase_create("tokenizer");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, merges_in_order_of_rank);
    tcase_add_test(t, words);
    tcase_add_test(t, single_digits);
    tcase_add_test(t, bytes_without_token_are_left_out);
    tcase_add_test(t, any_bytes_come_back);
    tcase_add_test(t, conversation);
    tcase_add_test(t, wrong_vocabularies_are_named);
    tcase_add_test(t, smollm2);
    tcase_add_test(t, samples_by_probability);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
