/* test_cuda_plan.c: what the host plans for the GPU, over random passes: every token of a context
 * in exactly one piece, every query in exactly one tile, slots where the tables say, padding that
 * writes nowhere; pieces that are about equally long and not too many. */
#include "backend/cuda/plan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim/rng.h"

#define MAX_SEQS 40u
#define MAX_CONTEXT 5000u
#define MAX_ROWS 2000u

struct fixture {
    struct plan_limits limits;
    struct plan plan;
    void *buffer;
    size_t bytes;
    uint32_t token[MAX_ROWS], q_start[MAX_SEQS + 1], context[MAX_SEQS], table_start[MAX_SEQS + 1];
    bool emits[MAX_SEQS];
    uint32_t *block;
    struct forward f;
    struct pass pass;
};

/* A random pass: decodes with skewed contexts, then up to three prompts with or without history. */
static void make(struct fixture *x, struct rng *r, uint32_t n_decode, uint32_t n_prefill)
{
    static const uint32_t sizes[] = {1, 3, 7, 16, 31}, groups[] = {1, 3, 4, 8};
    uint32_t n = n_decode + n_prefill;
    struct plan_limits *l = &x->limits;

    *x = (struct fixture){0};
    *l = (struct plan_limits){.max_seqs = MAX_SEQS,
                              .max_rows = MAX_ROWS,
                              .block_size = sizes[rng_below(r, 5)],
                              .kv_heads = 2,
                              .group = groups[rng_below(r, 4)],
                              .target_pieces = 1 + (uint32_t)rng_below(r, 150)};
    l->max_table = (uint64_t)MAX_SEQS * div_ceil_u32(MAX_CONTEXT + MAX_ROWS, l->block_size);
    x->block = mem_alloc(l->max_table * sizeof(*x->block));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t queries = i < n_decode ? 1 : 1 + (uint32_t)rng_below(r, 500);

        x->context[i] = 1 + (uint32_t)rng_below(r, rng_below(r, 4) ? 100 : MAX_CONTEXT - 1);
        if (i >= n_decode && rng_below(r, 2))
            x->context[i] = 0;
        x->q_start[i + 1] = x->q_start[i] + queries;
        x->table_start[i + 1] =
            x->table_start[i] + div_ceil_u32(x->context[i] + queries, l->block_size);
        x->emits[i] = rng_below(r, 3) > 0;
    }
    for (uint32_t i = 0; i < x->table_start[n]; i++)
        x->block[i] = (uint32_t)rng_below(r, 100000);
    for (uint32_t i = 0; i < x->q_start[n]; i++)
        x->token[i] = (uint32_t)rng_below(r, 1000);
    x->f = (struct forward){n,          n_decode,       x->q_start[n], x->token, x->q_start,
                            x->context, x->table_start, x->block,      x->emits};
    x->bytes = plan_views(&x->plan, l, NULL);
    x->buffer = mem_alloc(x->bytes);
    memset(x->buffer, 0xa5, x->bytes);
    ck_assert_uint_eq(plan_views(&x->plan, l, x->buffer), x->bytes);
}

static void drop(struct fixture *x)
{
    mem_free(x->block);
    mem_free(x->buffer);
}

static void check_rows(const struct fixture *x)
{
    const struct plan *p = &x->plan;
    uint32_t size = x->limits.block_size, emitted = 0;

    for (uint32_t i = 0; i < x->f.n_seqs; i++) {
        for (uint32_t row = x->q_start[i]; row < x->q_start[i + 1]; row++) {
            uint32_t at = x->context[i] + row - x->q_start[i];

            ck_assert_uint_eq(p->token[row], x->token[row]);
            ck_assert_uint_eq(p->position[row], at);
            ck_assert_uint_eq(p->seq[row], i);
            ck_assert_uint_eq(p->slot[row],
                              x->block[x->table_start[i] + at / size] * size + at % size);
        }
        ck_assert_uint_eq(p->table_start[i], x->table_start[i]);
    }
    for (uint32_t i = 0; i < x->table_start[x->f.n_seqs]; i++)
        ck_assert_uint_eq(p->table[i], x->block[i]);
    for (uint32_t i = 0; i < x->f.n_seqs; i++)
        if (x->emits[i])
            ck_assert_uint_eq(p->emit_row[emitted++], x->q_start[i + 1] - 1);
    ck_assert_uint_eq(x->pass.emits, emitted);
}

static void check_pieces(const struct fixture *x)
{
    const struct plan *p = &x->plan;
    uint32_t n = *p->n_pieces, longest = 0;
    uint64_t total = 0;

    ck_assert_uint_le(n, plan_max_pieces(&x->limits, x->f.n_decode));
    ck_assert_uint_eq(p->piece_start[x->f.n_decode], n);
    for (uint32_t i = 0; i < x->f.n_decode; i++) {
        uint32_t next = 0;

        for (uint32_t k = p->piece_start[i]; k < p->piece_start[i + 1]; k++) {
            ck_assert_uint_eq(p->piece[k].row, i);
            ck_assert_uint_eq(p->piece[k].table, x->table_start[i]);
            ck_assert_uint_eq(p->piece[k].begin, next);
            ck_assert_uint_gt(p->piece[k].end, next);
            next = p->piece[k].end;
            longest = MAX(longest, next - p->piece[k].begin);
        }
        ck_assert_uint_eq(next, x->context[i] + 1);
        total += next;
    }
    /* No piece is longer than its share of all tokens, but for rounding. */
    ck_assert_uint_le(longest,
                      MAX(total / x->limits.target_pieces + 1, PLAN_MIN_PIECE) + PLAN_PIECE_STEP);
}

static void check_tiles(const struct fixture *x)
{
    const struct plan *p = &x->plan;
    uint32_t seen[MAX_ROWS * 8] = {0}, group = x->limits.group;

    ck_assert_uint_le(x->pass.tiles, plan_max_tiles(&x->limits));
    for (uint32_t i = 0; i < x->pass.tiles; i++) {
        const struct prefill_tile *t = &p->tile[i];
        uint32_t seq = p->seq[t->q_start],
                 rows = MIN(t->n_queries * group - t->first, PLAN_TILE_ROWS);

        ck_assert_uint_ge(seq, x->f.n_decode);
        ck_assert_uint_eq(t->q_start, x->q_start[seq]);
        ck_assert_uint_eq(t->n_queries, x->q_start[seq + 1] - x->q_start[seq]);
        ck_assert_uint_eq(t->context, x->context[seq]);
        ck_assert_uint_eq(t->table, x->table_start[seq]);
        ck_assert_uint_eq(t->end, t->context + (t->first + rows - 1) / group + 1);
        if (i > 0)
            ck_assert_uint_le(t->end, p->tile[i - 1].end);
        for (uint32_t k = 0; k < rows; k++)
            seen[t->q_start * group + t->first + k]++;
    }
    for (uint32_t i = 0; i < x->f.n_tokens * group; i++)
        ck_assert_uint_eq(seen[i], i / group >= x->f.n_decode);
}

START_TEST(random_passes)
{
    struct rng r;

    rng_init(&r, 1, "plan");
    for (int i = 0; i < 300; i++) {
        struct fixture x;
        uint32_t decodes = (uint32_t)rng_below(&r, MAX_SEQS - 3);
        size_t bytes;

        make(&x, &r, decodes, (decodes == 0) + (uint32_t)rng_below(&r, 3));
        bytes = plan_fill(&x.plan, &x.limits, &x.f, 0, &x.pass);
        ck_assert_uint_le(bytes, x.bytes);
        ck_assert_uint_eq(x.pass.rows, x.f.n_tokens);
        ck_assert_uint_eq(x.pass.decodes, decodes);
        ck_assert_uint_eq(x.pass.pieces, *x.plan.n_pieces);
        check_rows(&x);
        check_pieces(&x);
        check_tiles(&x);
        drop(&x);
    }
}
END_TEST

START_TEST(padded_decodes)
{
    struct rng r;

    rng_init(&r, 2, "plan");
    for (uint32_t n = 0; n <= MAX_SEQS; n++) {
        struct fixture x;
        uint32_t padded = plan_padded(n, MAX_SEQS);

        make(&x, &r, n, 0);
        (void)plan_fill(&x.plan, &x.limits, &x.f, padded, &x.pass);
        ck_assert_uint_eq(x.pass.rows, padded);
        ck_assert_uint_eq(x.pass.decodes, padded);
        ck_assert_uint_eq(x.pass.emits, padded);
        ck_assert_uint_eq(x.pass.tiles, 0);
        ck_assert_uint_eq(x.pass.pieces, plan_max_pieces(&x.limits, padded));
        check_pieces(&x);
        for (uint32_t i = 0; i < padded; i++) {
            ck_assert_uint_eq(x.plan.emit_row[i], i);
            ck_assert_uint_eq(x.plan.slot[i] == PLAN_NONE, i >= n);
            ck_assert_uint_eq(x.plan.seq[i], i < n ? i : PLAN_NONE);
            if (i >= n)
                ck_assert_uint_eq(x.plan.piece_start[i + 1], *x.plan.n_pieces);
        }
        drop(&x);
    }
}
END_TEST

START_TEST(padded_sizes)
{
    static const struct {
        uint32_t n, max, want;
    } cases[] = {{1, 256, 1},        {2, 256, 2},   {3, 256, 4},     {5, 256, 8},
                 {9, 256, 16},       {17, 256, 24}, {64, 256, 64},   {65, 256, 80},
                 {256, 256, 256},    {5, 6, 6},     {257, 300, 300}, {257, 1000, 320},
                 {1000, 1000, 1000}, {0, 4, 1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_uint_eq(plan_padded(cases[i].n, cases[i].max), cases[i].want);
    for (uint32_t n = 1; n < 3000; n++) { /* the padded size of a padded size is itself */
        ck_assert_uint_ge(plan_padded(n, 3000), n);
        ck_assert_uint_eq(plan_padded(plan_padded(n, 3000), 3000), plan_padded(n, 3000));
    }
}
END_TEST

START_TEST(balanced)
{
    /* 8 long contexts among 24 short ones: the long ones are cut, the short ones are not. */
    struct fixture x;
    struct rng r;

    rng_init(&r, 3, "plan");
    make(&x, &r, 32, 0);
    x.limits.target_pieces = 100;
    for (uint32_t i = 0; i < 32; i++)
        x.context[i] = i % 4 == 0 ? 3999 : 63;
    drop(&x);
    x.bytes = plan_views(&x.plan, &x.limits, NULL);
    x.buffer = mem_alloc(x.bytes);
    x.block = mem_alloc(x.limits.max_table * sizeof(*x.block));
    for (uint32_t i = 0; i < 32; i++)
        x.table_start[i + 1] =
            x.table_start[i] + div_ceil_u32(x.context[i] + 1, x.limits.block_size);
    x.f.block = x.block;
    (void)plan_views(&x.plan, &x.limits, x.buffer);
    (void)plan_fill(&x.plan, &x.limits, &x.f, 0, &x.pass);
    check_pieces(&x);
    for (uint32_t i = 0; i < 32; i++) {
        uint32_t n = x.plan.piece_start[i + 1] - x.plan.piece_start[i];

        if (i % 4 == 0)
            ck_assert_uint_ge(n, 11);
        else
            ck_assert_uint_eq(n, 1);
    }
    drop(&x);
}
END_TEST

/* Every token of a list in one piece of it, in order; few pieces, none much longer than the mean.
 */
START_TEST(lists_cut)
{
    enum { LISTS = 50 };
    struct rng r;

    rng_init(&r, 1, "lists");
    for (int run = 0; run < 200; run++) {
        uint32_t n = 1 + (uint32_t)rng_below(&r, LISTS), target = 1 + (uint32_t)rng_below(&r, 150);
        uint32_t start[LISTS + 1], total = 0, at = 0;
        struct kv_list list[LISTS];
        struct decode_piece piece[LISTS + 150];

        for (uint32_t i = 0; i < n; i++) {
            list[i] =
                (struct kv_list){i * 7, 1 + (uint32_t)rng_below(&r, i % 2 ? 5000 : 50), i * 5008};
            total += list[i].n;
        }
        ck_assert_uint_le(plan_lists(piece, start, list, n, target), target + n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t token = 0;

            ck_assert_uint_eq(start[i], at);
            for (; at < start[i + 1]; at++) {
                ck_assert_uint_eq(piece[at].row, i);
                ck_assert_uint_eq(piece[at].table, list[i].table);
                ck_assert_uint_eq(piece[at].begin, token);
                ck_assert_uint_eq(piece[at].begin % PLAN_PIECE_STEP, 0);
                ck_assert_uint_gt(piece[at].end, token);
                ck_assert_uint_le(piece[at].end - token,
                                  MAX(total / target + 1, PLAN_MIN_PIECE) + PLAN_PIECE_STEP);
                token = piece[at].end;
            }
            ck_assert_uint_eq(token, list[i].n);
        }
    }
}
END_TEST

START_TEST(picked_tokens)
{
    ck_assert_uint_eq(plan_picked(1, 1, 16), 1);
    ck_assert_uint_eq(plan_picked(16, 1, 16), 16);
    ck_assert_uint_eq(plan_picked(17, 1, 16), 1);
    ck_assert_uint_eq(plan_picked(33, 3, 16), 33);
    ck_assert_uint_eq(plan_picked(49, 3, 16), 33);
    ck_assert_uint_eq(plan_picked(48, 2, 16), 32);
    ck_assert_uint_eq(plan_picked(9, 4, 1), 4);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cuda plan");
    TCase *t = tcase_create("all");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_test(t, random_passes);
    tcase_add_test(t, padded_decodes);
    tcase_add_test(t, padded_sizes);
    tcase_add_test(t, balanced);
    tcase_add_test(t, lists_cut);
    tcase_add_test(t, picked_tokens);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
