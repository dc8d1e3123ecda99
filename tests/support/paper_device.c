#include "tests/support/paper_device.h"

#include <check.h>
#include <stdio.h>

#include "sim/hash.h"

struct place {
    uint64_t hash; /* of all tokens up to here; 0: to be computed in this pass */
    uint32_t token, position;
};

struct copy {
    bool out;
    uint32_t *block, *host;
    uint32_t n;
};

struct paper {
    struct device_config config;
    struct place *place, *host;
    uint64_t *hash; /* of the last pass */
    uint32_t n_seqs;
    struct copy *copy; /* submitted, [done, n) not carried out yet */
    size_t n, cap, done;
    struct rng rng;
};

uint64_t paper_hash(uint64_t before, uint32_t token)
{
    return hash_mix(before, token) | 1;
}

static void *open(const struct device_config *c, struct err *e)
{
    struct paper *p = mem_alloc(sizeof(*p));
    (void)e;
    p->config = *c;
    p->place = mem_alloc((size_t)c->n_blocks * c->block_size * sizeof(*p->place));
    p->host = mem_alloc(((size_t)c->n_host_blocks * c->block_size + 1) * sizeof(*p->host));
    p->hash = mem_alloc(c->max_seqs * sizeof(*p->hash));
    rng_init(&p->rng, c->n_blocks, "paper");
    return p;
}

/* A check of Check is too slow for every token. */
#define REQUIRE(cond, ...)                                                                         \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

static struct place *at(const struct paper *p, const struct forward *f, uint32_t seq, uint32_t t)
{
    uint32_t size = p->config.block_size, i = f->table_start[seq] + t / size;
    REQUIRE(i < f->table_start[seq + 1], "position %u is beyond the table", t);
    REQUIRE(f->block[i] < p->config.n_blocks, "block %u of %u", f->block[i], p->config.n_blocks);
    return &p->place[(size_t)f->block[i] * size + t % size];
}

/* Carries copies out, as late as it may. */
static void carry_out(struct paper *p, size_t until)
{
    uint32_t size = p->config.block_size;
    for (; p->done < until; p->done++) {
        struct copy *c = &p->copy[p->done];
        for (uint32_t i = 0; i < c->n * size; i++) {
            struct place *here = &p->place[(size_t)c->block[i / size] * size + i % size];
            struct place *there = &p->host[(size_t)c->host[i / size] * size + i % size];
            *(c->out ? there : here) = *(c->out ? here : there);
        }
        mem_free(c->block);
        mem_free(c->host);
    }
}

/* Every token's K and V are written before any is read. */
static void write_all(const struct paper *p, const struct forward *f)
{
    for (uint32_t s = 0; s < f->n_seqs; s++)
        for (uint32_t i = f->q_start[s]; i < f->q_start[s + 1]; i++) {
            uint32_t position = f->context[s] + i - f->q_start[s];
            *at(p, f, s, position) = (struct place){0, f->token[i], position};
        }
}

/* Reads what the sequence attends to, all of it. */
static uint64_t read_all(const struct paper *p, const struct forward *f, uint32_t s)
{
    uint32_t end = f->context[s] + f->q_start[s + 1] - f->q_start[s];
    uint64_t h = 0;
    REQUIRE(end <= p->config.max_context, "%u tokens", end);
    for (uint32_t t = 0; t < end; t++) {
        struct place *place = at(p, f, s, t);
        REQUIRE(place->position == t, "position %u holds %u", t, place->position);
        h = paper_hash(h, place->token);
        REQUIRE(place->hash == 0 || place->hash == h, "position %u is of another prompt", t);
        place->hash = h;
    }
    return h;
}

/* The same of a decode in less time: the last place of each block and the first of the next, since
 * who gets a block that is not his writes it from its first place on. */
static uint64_t read_edges(const struct paper *p, const struct forward *f, uint32_t s)
{
    uint32_t size = p->config.block_size, last = f->context[s];
    uint64_t h = 0;
    for (uint32_t t = 0; t <= last; t += size) {
        struct place *first = at(p, f, s, t), *end = at(p, f, s, MIN(t + size - 1, last));
        if (end->hash == 0)
            end->hash = paper_hash(t == last ? h : (end - 1)->hash, end->token);
        REQUIRE(first->position == t && end->position == MIN(t + size - 1, last),
                "position %u holds %u to %u", t, first->position, end->position);
        REQUIRE(first->hash == paper_hash(h, first->token), "position %u is of another prompt", t);
        h = end->hash;
    }
    return h;
}

static uint64_t read_back(const struct paper *p, const struct forward *f, uint32_t s)
{
    bool all = s >= f->n_decode || at(p, f, s, f->context[s] - 1)->hash == 0;
    return all || (f->context[s] + s) % 16 == 0 ? read_all(p, f, s) : read_edges(p, f, s);
}

static bool forward(void *self, const struct forward *f, struct forward_result *r, struct err *e)
{
    struct paper *p = self;
    (void)e;
    ck_assert_uint_le(f->n_seqs, p->config.max_seqs);
    ck_assert_uint_le(f->n_tokens, p->config.max_tokens);
    ck_assert_uint_eq(f->q_start[f->n_seqs], f->n_tokens);
    for (uint32_t s = 0; s < f->n_seqs; s++) {
        bool decode = f->q_start[s + 1] - f->q_start[s] == 1 && f->context[s] > 0;
        REQUIRE(decode == (s < f->n_decode), "sequence %u of %u decodes", s, f->n_decode);
    }
    write_all(p, f);
    p->n_seqs = f->n_seqs;
    for (uint32_t s = 0; s < f->n_seqs; s++)
        p->hash[s] = read_back(p, f, s);
    r->device_ns = 1000;
    return true;
}

static bool copy(void *self, enum copy_direction direction, const uint32_t *block,
                 const uint32_t *host, uint32_t n, uint64_t *ticket, struct err *e)
{
    struct paper *p = self;
    (void)e;
    p->copy = mem_reserve(p->copy, &p->cap, p->n + 1, sizeof(*p->copy));
    struct copy *c = &p->copy[p->n++];
    *c = (struct copy){.out = direction == COPY_TO_HOST,
                       .block = mem_alloc(n * sizeof(*block)),
                       .host = mem_alloc(n * sizeof(*host)),
                       .n = n};
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_lt(block[i], p->config.n_blocks);
        ck_assert_uint_lt(host[i], p->config.n_host_blocks);
        c->block[i] = block[i];
        c->host[i] = host[i];
    }
    *ticket = p->n;
    return true;
}

static bool copies_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    struct paper *p = self;
    (void)e;
    ck_assert_uint_eq(seen, p->done);
    uint64_t left = p->n - p->done;
    if (left > 0)
        carry_out(p,
                  p->done + (wait ? 1 + rng_below(&p->rng, left) : rng_below(&p->rng, left + 1)));
    *done = p->done;
    return true;
}

static void close(void *self)
{
    struct paper *p = self;
    carry_out(p, p->n);
    mem_free(p->copy);
    mem_free(p->place);
    mem_free(p->host);
    mem_free(p->hash);
    mem_free(p);
}

static void describe(void *self, char *text, size_t n)
{
    (void)self;
    snprintf(text, n, "paper");
}

struct paper_result paper_last(const void *self)
{
    const struct paper *p = self;
    return (struct paper_result){p->hash, p->n_seqs};
}

const struct device_ops paper_device = {
    .name = "paper",
    .open = open,
    .forward = forward,
    .copy = copy,
    .copies_done = copies_done,
    .close = close,
    .describe = describe,
};
