#include "backend/model/tokenizer.h"

#include "backend/model/gguf.h"
#include "backend/model/unicode.h"
#include "sim/arena.h"
#include "sim/hash.h"

#include <string.h>

#define TYPE_CONTROL 3 /* of tokenizer.ggml.token_type */
#define MAX_TOKENS (1u << 24)
#define NONE UINT32_MAX

struct piece {
    const char *at;
    uint32_t len;
    bool control;
};

struct merge {
    uint32_t left, right; /* NONE: an empty place of the table */
    uint32_t rank, merged;
};

struct tokenizer {
    struct arena arena;
    struct piece *piece;
    uint32_t n;
    uint32_t *by_bytes;  /* hash table of ids, NONE where empty; a power of two of places */
    struct merge *merge; /* likewise */
    size_t places, merge_places;
    uint32_t byte_token[256];      /* NONE: no token */
    bool single_digits;            /* every digit is a word */
    uint32_t turn_begin, turn_end; /* <|im_start|>, <|im_end|>; NONE: no chat */
};

/* ---- tables ---- */

/* At most half of them are taken. */
static size_t places_for(uint64_t n)
{
    size_t places = 16;

    while (places < 2 * n)
        places *= 2;
    return places;
}

/* Where the token of these bytes is, or would be. */
static uint32_t *find_place(const struct tokenizer *t, const char *at, size_t len)
{
    size_t i = hash_bytes(at, len, 0) & (t->places - 1);

    for (;; i = (i + 1) & (t->places - 1)) {
        uint32_t id = t->by_bytes[i];

        if (id == NONE || (t->piece[id].len == len && memcmp(t->piece[id].at, at, len) == 0))
            return &t->by_bytes[i];
    }
}

static struct merge *find_merge(const struct tokenizer *t, uint32_t left, uint32_t right)
{
    size_t i = hash_mix(left, right) & (t->merge_places - 1);

    while (t->merge[i].left != NONE && (t->merge[i].left != left || t->merge[i].right != right))
        i = (i + 1) & (t->merge_places - 1);
    return &t->merge[i];
}

/* ---- reading the file ---- */

/* Vocabularies write each byte as a printable character: itself, or one from U+0100 on, in order.
 * The byte of such a character; -1: of none. */
static int byte_of(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c < 0x100 || c > 0x143)
        return -1;
    c -= 0x100;
    return (int)(c <= 0x20 ? c : c <= 0x42 ? c - 0x21 + 0x7f : 0xad);
}

/* The bytes that a token's text stands for; texts that are no such spelling stay as they are. */
static struct piece spelled(struct arena *a, struct text text)
{
    char *bytes = arena_alloc(a, text.len + 1);
    uint32_t n = 0;

    for (size_t at = 0; at < text.len;) {
        int byte = byte_of(utf8_next((const uint8_t *)text.at, text.len, &at));

        if (byte < 0) {
            memcpy(bytes, text.at, text.len);
            n = (uint32_t)text.len;
            break;
        }
        bytes[n++] = (char)byte;
    }
    return (struct piece){bytes, n, false};
}

static bool read_pieces(struct tokenizer *t, const struct gguf *g, const char *path, struct err *e)
{
    struct gguf_array texts, types;
    struct text text;
    int64_t type;

    if (!gguf_texts(g, "tokenizer.ggml.tokens", &texts) || texts.left == 0 ||
        texts.left > MAX_TOKENS)
        return err_set(e, "%s: has no vocabulary (tokenizer.ggml.tokens); take a file with one",
                       path);
    if (!gguf_ints(g, "tokenizer.ggml.token_type", &types))
        types.left = 0;
    t->n = (uint32_t)texts.left;
    t->places = places_for(t->n);
    t->piece = arena_alloc(&t->arena, t->n * sizeof(*t->piece));
    t->by_bytes = arena_alloc(&t->arena, t->places * sizeof(*t->by_bytes));
    memset(t->by_bytes, 0xff, t->places * sizeof(*t->by_bytes));
    for (uint32_t id = 0; gguf_next_text(&texts, &text); id++) {
        uint32_t *place;

        t->piece[id] = spelled(&t->arena, text);
        t->piece[id].control = gguf_next_int(&types, &type) && type == TYPE_CONTROL;
        place = find_place(t, t->piece[id].at, t->piece[id].len);
        if (*place == NONE)
            *place = id;
    }
    return true;
}

static void find_bytes(struct tokenizer *t)
{
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;

        t->byte_token[i] = *find_place(t, &byte, 1);
    }
}

/* A merge reads "left right"; spaces within tokens are spelled otherwise. */
static bool add_merge(struct tokenizer *t, struct text text, uint32_t rank)
{
    const char *space = memchr(text.at, ' ', text.len);
    size_t left_len = space ? (size_t)(space - text.at) : 0;
    struct arena scratch;
    struct piece left, right, both;
    struct merge m = {.rank = rank}, *place;
    char *joined;

    if (!space)
        return false;
    arena_init(&scratch);
    left = spelled(&scratch, (struct text){text.at, left_len});
    right = spelled(&scratch, (struct text){space + 1, text.len - left_len - 1});
    joined = arena_alloc(&scratch, left.len + right.len + 1);
    memcpy(joined, left.at, left.len);
    memcpy(joined + left.len, right.at, right.len);
    both = (struct piece){joined, left.len + right.len, false};
    m.left = *find_place(t, left.at, left.len);
    m.right = *find_place(t, right.at, right.len);
    m.merged = *find_place(t, both.at, both.len);
    arena_release(&scratch);
    if (m.left == NONE || m.right == NONE || m.merged == NONE)
        return false;
    place = find_merge(t, m.left, m.right);
    if (place->left == NONE)
        *place = m;
    return true;
}

static bool read_merges(struct tokenizer *t, const struct gguf *g, const char *path, struct err *e)
{
    struct gguf_array texts;
    struct text text;

    if (!gguf_texts(g, "tokenizer.ggml.merges", &texts) || texts.left > MAX_TOKENS)
        return err_set(e, "%s: has no merges (tokenizer.ggml.merges); take a file with them", path);
    t->merge_places = places_for(texts.left);
    t->merge = arena_alloc(&t->arena, t->merge_places * sizeof(*t->merge));
    memset(t->merge, 0xff, t->merge_places * sizeof(*t->merge));
    for (uint32_t rank = 0; gguf_next_text(&texts, &text); rank++)
        if (!add_merge(t, text, rank))
            return err_set(e, "%s: merge %u is not of two tokens to a third; the file is damaged",
                           path, rank);
    return true;
}

static bool check_kind(struct tokenizer *t, const struct gguf *g, const char *path, struct err *e)
{
    struct text pre;

    if (!gguf_text_is(g, "tokenizer.ggml.model", "gpt2"))
        return err_set(e,
                       "%s: its tokenizer is no byte-level BPE (gpt2); take such a model, as "
                       "scripts/get-model fetches",
                       path);
    t->single_digits = gguf_text_is(g, "tokenizer.ggml.pre", "smollm");
    if (t->single_digits || gguf_text_is(g, "tokenizer.ggml.pre", "gpt-2"))
        return true;
    if (!gguf_text(g, "tokenizer.ggml.pre", &pre))
        pre = (struct text){"none", 4};
    return err_set(e, "%s: its tokenizer splits words as %.*s does; smollm and gpt-2 are known",
                   path, (int)MIN(pre.len, 40), pre.at);
}

static bool read_all(struct tokenizer *t, const struct gguf *g, const char *path, struct err *e)
{
    if (!check_kind(t, g, path, e) || !read_pieces(t, g, path, e) || !read_merges(t, g, path, e))
        return false;
    find_bytes(t);
    t->turn_begin = *find_place(t, "<|im_start|>", strlen("<|im_start|>"));
    t->turn_end = *find_place(t, "<|im_end|>", strlen("<|im_end|>"));
    return true;
}

struct tokenizer *tokenizer_open(const char *gguf_path, struct err *e)
{
    struct gguf *g = gguf_open(gguf_path, e);
    struct tokenizer *t;

    if (!g)
        return NULL;
    t = mem_alloc(sizeof(*t));
    arena_init(&t->arena);
    if (!read_all(t, g, gguf_path, e)) {
        tokenizer_close(t);
        t = NULL;
    }
    gguf_close(g);
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    arena_release(&t->arena);
    mem_free(t);
}

/* ---- words ---- */

enum class { LETTER, NUMBER, SPACE, OTHER };

static enum class class_at(const uint8_t *s, size_t n, size_t *at) {
    uint32_t c = utf8_next(s, n, at);

    return unicode_is_letter(c)   ? LETTER
           : unicode_is_number(c) ? NUMBER
           : unicode_is_space(c)  ? SPACE
                                  : OTHER;
}

/* Behind the characters from `at` on that are of class `c`; *last: where the last of them is. */
static size_t run_end(const uint8_t *s, size_t n, size_t at, enum class c, size_t *last)
{
    for (size_t next = at; at < n && class_at(s, n, &next) == c; at = next)
        *last = at;
    return at;
}

static size_t contraction(const uint8_t *s, size_t n)
{
    static const char *const known[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (n >= strlen(known[i]) && memcmp(s, known[i], strlen(known[i])) == 0)
            return strlen(known[i]);
    return 0;
}

/* Length of the first word: GPT-2's pattern
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t word(const uint8_t *s, size_t n)
{
    size_t len = contraction(s, n), begin = s[0] == ' ' && n > 1, next = begin, last = 0;
    enum class c = class_at(s, n, &next);

    if (len > 0)
        return len;
    if (c != SPACE)
        return run_end(s, n, begin, c, &last);
    len = run_end(s, n, 0, SPACE, &last);
    return len < n && last > 0 ? last : len; /* the last one belongs to what follows */
}

/* ---- encoding ---- */

/* Merges the pair of lowest rank, wherever it stands, until no pair is left. */
static size_t merge_all(const struct tokenizer *t, uint32_t *id, size_t n)
{
    for (;;) {
        struct merge best = {.left = NONE, .rank = NONE};
        size_t kept = 0;

        for (size_t i = 0; i + 1 < n; i++) {
            const struct merge *m = find_merge(t, id[i], id[i + 1]);

            if (m->left != NONE && m->rank < best.rank)
                best = *m;
        }
        if (best.left == NONE)
            return n;
        for (size_t i = 0; i < n; i++) {
            bool pair = i + 1 < n && id[i] == best.left && id[i + 1] == best.right;

            id[kept++] = pair ? best.merged : id[i];
            i += pair;
        }
        n = kept;
    }
}

static void encode_word(const struct tokenizer *t, const uint8_t *s, size_t n, struct tokens *out)
{
    size_t known = 0;
    uint32_t *id;

    out->id = mem_reserve(out->id, &out->cap, out->n + n, sizeof(*out->id));
    id = out->id + out->n;
    for (size_t i = 0; i < n; i++)
        if (t->byte_token[s[i]] != NONE)
            id[known++] = t->byte_token[s[i]];
    out->n += merge_all(t, id, known);
}

/* Length of the digit at the beginning, or of what comes before the next one. */
static size_t until_digit(const uint8_t *s, size_t n)
{
    size_t at = 0;

    for (size_t next = 0; at < n; at = next)
        if (class_at(s, n, &next) == NUMBER)
            return at > 0 ? at : next;
    return at;
}

void tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, struct tokens *out)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + len;

    while (s < end) {
        size_t left = (size_t)(end - s);
        const uint8_t *stop = s + (t->single_digits ? until_digit(s, left) : left);

        while (s < stop) {
            size_t n = word(s, (size_t)(stop - s));

            encode_word(t, s, n, out);
            s += n;
        }
    }
}

static void append(struct tokens *out, uint32_t id)
{
    out->id = mem_reserve(out->id, &out->cap, out->n + 1, sizeof(*out->id));
    out->id[out->n++] = id;
}

bool tokenizer_encode_chat(const struct tokenizer *t, const char *prompt, size_t len,
                           struct tokens *out)
{
    if (t->turn_begin == NONE || t->turn_end == NONE)
        return false;
    append(out, t->turn_begin);
    tokenizer_encode(t, "user\n", strlen("user\n"), out);
    tokenizer_encode(t, prompt, len, out);
    append(out, t->turn_end);
    tokenizer_encode(t, "\n", 1, out);
    append(out, t->turn_begin);
    tokenizer_encode(t, "assistant\n", strlen("assistant\n"), out);
    return true;
}

/* ---- decoding ---- */

uint32_t tokenizer_vocab(const struct tokenizer *t)
{
    return t->n;
}

const char *tokenizer_piece(const struct tokenizer *t, uint32_t id, size_t *len)
{
    CHECK(id < t->n, "tokenizer: tokens exist", "%u of %u", id, t->n);
    *len = t->piece[id].control ? 0 : t->piece[id].len;
    return t->piece[id].at;
}

bool tokenizer_is_control(const struct tokenizer *t, uint32_t id)
{
    CHECK(id < t->n, "tokenizer: tokens exist", "%u of %u", id, t->n);
    return t->piece[id].control;
}
