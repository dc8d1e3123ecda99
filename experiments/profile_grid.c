/* profile_grid.c: which batches `tandem profile` measures in a stage: decodes by number and
 * context, prompts by chunk and history, and of both drawn by chance what a run forms: unequal
 * contexts, several prompts in a step, prompts beside decodes. Sizes on and off those that CUDA
 * graphs have. */
#include "experiments/profiler.h"

#include <math.h>

static const uint32_t decodes[] = {1,   2,   3,   4,   6,   8,   11,  16,  20,  24,  32,  40,
                                   43,  48,  56,  64,  72,  80,  90,  96,  112, 128, 139, 144,
                                   160, 176, 192, 205, 208, 224, 240, 256, 320, 384, 448, 512};
static const uint32_t contexts[] = {16,   64,   128,  256,   512,   768,   1024,  1536,  2048, 3072,
                                    4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536};
static const uint32_t chunks[] = {16,  32,  48,  64,  96,   128,  160,  192,  256,  320,  384, 448,
                                  512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 4096, 8192};
static const uint32_t histories[] = {0, 256, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
static const uint32_t mixed_decodes[] = {1, 8, 32, 64, 128, 192};
static const uint32_t mixed_contexts[] = {256, 1024, 2560};
static const uint32_t mixed_chunks[] = {64, 256, 1024, UINT32_MAX};

#define PROMPTS_MAX 8u /* in a batch drawn by chance, and at times as many as fit */
#define PROMPT_MIN 2u  /* tokens: one token behind others is a decode */

/* Whether a context belongs to this stage: the first one has them all. */
static bool is_ours(const struct profiler *p, uint32_t context)
{
    return context > p->beyond && context <= p->tokens;
}

/* ---- by number ---- */

static bool equal_decodes(struct profiler *p, uint32_t n, uint32_t context, struct err *e)
{
    for (uint32_t i = 0; i < n; i++)
        profiler_decode(p, i, context);
    return profiler_measure(p, e);
}

static bool decode_grid(struct profiler *p, struct err *e)
{
    profiler_part(p, "decode");
    for (size_t i = 0; i < ARRAY_LEN(decodes); i++) {
        if (decodes[i] > p->n_seqs)
            break;
        for (size_t k = 0; k < ARRAY_LEN(contexts); k++)
            if (is_ours(p, contexts[k]) && !equal_decodes(p, decodes[i], contexts[k], e))
                return false;
        if (!equal_decodes(p, decodes[i], p->tokens, e))
            return false;
    }
    return true;
}

/* The first stage has every chunk; the deeper ones, whose histories cost time, every third. */
static bool prompt_grid(struct profiler *p, struct err *e)
{
    size_t every = p->stage == 0 ? 1 : 3;
    profiler_part(p, "prefill");
    for (size_t h = 0; h < ARRAY_LEN(histories); h++)
        for (size_t i = 0; i < ARRAY_LEN(chunks); i += every) {
            uint32_t end = histories[h] + chunks[i];
            if (chunks[i] > p->limits.max_num_batched_tokens || end > p->tokens ||
                (p->stage > 0 && histories[h] < p->beyond))
                continue;
            profiler_prompt(p, 0, histories[h], chunks[i]);
            if (!profiler_measure(p, e))
                return false;
        }
    return true;
}

static bool mixed_point(struct profiler *p, uint32_t n, uint32_t context, uint32_t chunk,
                        struct err *e)
{
    uint32_t left = p->limits.max_num_batched_tokens - n;
    for (uint32_t i = 0; i < n; i++)
        profiler_decode(p, i, context);
    profiler_prompt(p, n, 0, MIN(MIN(chunk, left), p->tokens));
    return profiler_measure(p, e);
}

static bool mixed_grid(struct profiler *p, struct err *e)
{
    profiler_part(p, "mixed");
    for (size_t i = 0; i < ARRAY_LEN(mixed_decodes); i++)
        for (size_t k = 0; k < ARRAY_LEN(mixed_contexts); k++)
            for (size_t c = 0; c < ARRAY_LEN(mixed_chunks); c++)
                if (mixed_decodes[i] < MIN(p->n_seqs, p->limits.max_num_batched_tokens) &&
                    is_ours(p, mixed_contexts[k]) &&
                    !mixed_point(p, mixed_decodes[i], mixed_contexts[k], mixed_chunks[c], e))
                    return false;
    return true;
}

/* ---- by chance ---- */

/* A whole number from low to high, small ones as likely as large ones: uniform in its logarithm. */
static uint32_t draw(struct profiler *p, uint32_t low, uint32_t high)
{
    double x = low * pow((double)high / low, rng_unit(&p->rng));
    return MIN(MAX((uint32_t)x, low), high);
}

/* n decodes with contexts anywhere up to one that is drawn for all. */
static void draw_decodes(struct profiler *p, uint32_t n)
{
    uint32_t up_to = draw(p, MIN(MAX(p->beyond, 16), p->tokens), p->tokens);
    for (uint32_t i = 0; i < n; i++)
        profiler_decode(p, i, 2 + (uint32_t)rng_below(&p->rng, up_to - 1));
}

/* Prompts in slots from `first` on that share `tokens`; half of them are begun already. */
static void draw_prompts(struct profiler *p, uint32_t first, uint32_t n, uint32_t tokens)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t left = n - i, share = tokens / left;
        uint32_t chunk = left == 1 ? tokens : draw(p, PROMPT_MIN, MAX(2 * share, 4) - 2);
        chunk = MIN(MIN(chunk, tokens - (left - 1) * PROMPT_MIN), p->tokens);
        uint32_t room = p->tokens - chunk;
        bool begun = room > 0 && (p->stage > 0 || rng_below(&p->rng, 2) == 0);
        profiler_prompt(p, first + i, begun ? draw(p, 1, room) : 0, chunk);
        tokens -= chunk;
    }
}

/* `mixed`: beside decodes. Half of the batches fill the step to its last token. */
static bool draw_batch(struct profiler *p, bool mixed, struct err *e)
{
    uint32_t budget = p->limits.max_num_batched_tokens;
    uint32_t most = MIN(p->n_seqs, budget / (2 * PROMPT_MIN));
    uint32_t n_prompts = draw(p, 1, MIN(PROMPTS_MAX, MAX(most / 2, 1)));
    if (!mixed && rng_below(&p->rng, 4) == 0)
        n_prompts = draw(p, 1, most);
    uint32_t n = mixed ? draw(p, 1, most - n_prompts) : 0;
    uint32_t left = budget - n, least = n_prompts * PROMPT_MIN;
    draw_decodes(p, n);
    draw_prompts(p, n, n_prompts,
                 rng_below(&p->rng, 2) == 0 ? left : draw(p, MIN(least + 14, left), left));
    return profiler_measure(p, e);
}

static bool draw_all(struct profiler *p, struct err *e)
{
    uint32_t count = p->random_batches >> p->stage; /* deep ones take long */
    profiler_part(p, "unequal decodes");
    for (uint32_t i = 0; i < count; i++) {
        draw_decodes(p, draw(p, 1, p->n_seqs));
        if (!profiler_measure(p, e))
            return false;
    }
    profiler_part(p, "several prompts");
    for (uint32_t i = 0; i < count; i++)
        if (!draw_batch(p, false, e))
            return false;
    profiler_part(p, "any mixed");
    for (uint32_t i = 0; p->n_seqs > 2 && i < 2 * count; i++)
        if (!draw_batch(p, true, e))
            return false;
    return true;
}

bool profile_grid(struct profiler *p, struct err *e)
{
    return decode_grid(p, e) && prompt_grid(p, e) && mixed_grid(p, e) && draw_all(p, e);
}
