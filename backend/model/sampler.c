#include "backend/model/sampler.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    double weight; /* probability, but for a common factor */
    uint32_t token;
};

struct sampler {
    struct candidate *candidate; /* [vocab] */
    uint32_t vocab;
    double temperature, top_p;
    struct rng rng;
};

struct sampler *sampler_open(uint32_t vocab, double temperature, double top_p, uint64_t seed)
{
    struct sampler *s = mem_alloc(sizeof(*s));

    *s = (struct sampler){
        .candidate = mem_alloc(vocab * sizeof(*s->candidate)),
        .vocab = vocab,
        .temperature = temperature,
        .top_p = top_p,
    };
    rng_init(&s->rng, seed, "generate");
    return s;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    mem_free(s->candidate);
    mem_free(s);
}

/* The likeliest first; of equals the lower token. */
static int by_weight(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

uint32_t sampler_next(struct sampler *s, const float *logits)
{
    struct candidate *c = s->candidate;
    double total = 0, kept = 0, at;
    float largest = logits[0];
    uint32_t n = 0, i = 0;

    for (uint32_t t = 1; t < s->vocab; t++)
        largest = MAX(largest, logits[t]);
    for (uint32_t t = 0; t < s->vocab; t++) {
        c[t] = (struct candidate){exp(((double)logits[t] - (double)largest) / s->temperature), t};
        total += c[t].weight;
    }
    qsort(c, s->vocab, sizeof(*c), by_weight);
    while (n < s->vocab && (n == 0 || kept < s->top_p * total))
        kept += c[n++].weight;
    for (at = rng_unit(&s->rng) * kept; i + 1 < n && at >= c[i].weight; i++)
        at -= c[i].weight;
    return c[i].token;
}
