/* quality_text.c: the prompts of `tandem quality` (eviction.md 10.1). Filler and needle are the
 * published passkey test's; they are laid together as tokens, so that a context has the length that
 * was asked for, and the same draws give the same prompts to every policy. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiments/quality.h"
#include "sim/rng.h"

static const char intro[] =
    "There is important information hidden inside a lot of irrelevant text. Find it and memorize "
    "it. I will quiz you about it.\n";
static const char filler[] = "The grass is green. The sky is blue. The sun is yellow. Here we go. "
                             "There and back again.\n";
static const char question[] = "What is the pass key? The pass key is";

#define COPY_TOKENS 16u /* of the string that comes twice */

static void add_text(const struct quality_model *m, const char *text, struct tokens *out)
{
    tokenizer_encode(m->tokenizer, text, strlen(text), out);
}

static void add_tokens(const struct tokens *from, struct tokens *out)
{
    out->id = mem_reserve(out->id, &out->cap, out->n + from->n, sizeof(*out->id));
    memcpy(out->id + out->n, from->id, from->n * sizeof(*from->id));
    out->n += from->n;
}

/* n tokens of filler, over and over, from its beginning. */
static void add_filler(const struct quality_model *m, uint32_t n, struct tokens *out)
{
    struct tokens line = {0};
    add_text(m, filler, &line);
    out->id = mem_reserve(out->id, &out->cap, out->n + n, sizeof(*out->id));
    for (uint32_t i = 0; i < n; i++)
        out->id[out->n++] = line.id[i % line.n];
    mem_free(line.id);
}

/* Filler, needle, filler: `length` tokens with what `out` has already. */
static bool bury(const struct quality_model *m, const struct tokens *needle, uint32_t length,
                 const char *task, struct quality_prompt *p, struct err *e)
{
    struct tokens *out = &p->tokens;
    if (out->n + needle->n + 2 > length)
        return err_set(e, "quality: --length %u is too short for %s; give at least %zu", length,
                       task, out->n + needle->n + 2);
    uint32_t room = length - (uint32_t)(out->n + needle->n), before = (uint32_t)(p->depth * room);
    add_filler(m, before, out);
    p->needle_at = (uint32_t)out->n;
    add_tokens(needle, out);
    p->needle_end = (uint32_t)out->n;
    add_filler(m, room - before, out);
    return true;
}

bool quality_passkey(const struct quality_model *m, uint32_t length, double depth, uint64_t draw,
                     char protocol, struct quality_prompt *out, struct err *e)
{
    struct rng g;
    struct tokens needle = {0};
    char text[128];
    *out = (struct quality_prompt){.depth = depth};
    rng_init(&g, draw, "passkey");
    (void)snprintf(out->key, sizeof(out->key), "%" PRIu64, 10000 + rng_below(&g, 40000));
    (void)snprintf(text, sizeof(text), "The pass key is %s. Remember it. %s is the pass key.\n",
                   out->key, out->key);
    add_text(m, intro, &out->tokens);
    add_text(m, text, &needle);
    bool ok = bury(m, &needle, length, "passkey", out, e);
    out->prompt = (uint32_t)out->tokens.n;
    add_text(m, question, &out->tokens);
    if (protocol == 'b')
        out->prompt = (uint32_t)out->tokens.n;
    out->scored = (uint32_t)out->tokens.n;
    (void)snprintf(text, sizeof(text), " %s", out->key);
    add_text(m, text, &out->needle);
    mem_free(needle.id);
    return ok;
}

/* Tokens of plain words, drawn: a string that nothing but the context can tell. */
static uint32_t draw_token(const struct quality_model *m, struct rng *g)
{
    for (;;) {
        uint32_t id = (uint32_t)rng_below(g, tokenizer_vocab(m->tokenizer));
        size_t len;
        const char *piece = tokenizer_piece(m->tokenizer, id, &len);
        if (len >= 4 && piece[0] == ' ' && piece[1] >= 'a' && piece[1] <= 'z')
            return id;
    }
}

bool quality_copy(const struct quality_model *m, uint32_t length, double depth, uint64_t draw,
                  char protocol, struct quality_prompt *out, struct err *e)
{
    struct rng g;
    struct tokens needle = {0};
    *out = (struct quality_prompt){.depth = depth};
    rng_init(&g, draw, "copy");
    needle.id = mem_reserve(needle.id, &needle.cap, COPY_TOKENS, sizeof(*needle.id));
    while (needle.n < COPY_TOKENS)
        needle.id[needle.n++] = draw_token(m, &g);
    bool ok = bury(m, &needle, length, "copy", out, e);
    out->prompt = (uint32_t)out->tokens.n;
    add_tokens(&needle, &out->tokens);
    if (protocol == 'b')
        out->prompt += COPY_TOKENS / 2;
    out->scored = (uint32_t)out->tokens.n - COPY_TOKENS / 2;
    mem_free(needle.id);
    return ok;
}

bool quality_excerpt(const struct tokens *text, uint32_t length, uint32_t n_scored, uint32_t index,
                     uint32_t n_prompts, struct quality_prompt *out, struct err *e)
{
    size_t need = (size_t)length + n_scored;
    *out = (struct quality_prompt){.prompt = length, .scored = length, .depth = (double)NAN};
    if (text->n < need)
        return err_set(e,
                       "quality: --text has %zu tokens, --length %u needs %zu; give a longer one",
                       text->n, length, need);
    size_t first = n_prompts > 1 ? (text->n - need) * index / (n_prompts - 1) : 0;
    add_tokens(&(struct tokens){.id = text->id + first, .n = need}, &out->tokens);
    return true;
}

void quality_prompt_release(struct quality_prompt *p)
{
    mem_free(p->tokens.id);
    mem_free(p->needle.id);
    *p = (struct quality_prompt){0};
}

bool quality_read_text(const struct quality_model *m, const char *path, struct tokens *out,
                       struct err *e)
{
    FILE *f = fopen(path, "r");
    char *text = NULL;
    size_t n = 0, cap = 0, got;
    if (f == NULL)
        return err_set(e, "%s: %s; --text names a file of plain text", path, strerror(errno));
    do {
        text = mem_reserve(text, &cap, n + 65536, 1);
        got = fread(text + n, 1, 65536, f);
        n += got;
    } while (got > 0);
    bool ok = !ferror(f) || err_set(e, "%s: cannot be read; --text names a plain file", path);
    (void)fclose(f);
    if (ok)
        tokenizer_encode(m->tokenizer, text, n, out);
    mem_free(text);
    return ok;
}
