#include "backend/cuda/plan.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256 /* bytes between arrays: whole cache lines */

uint32_t plan_max_pieces(const struct plan_limits *l, uint32_t decodes)
{
    return l->target_pieces + decodes;
}

uint32_t plan_max_tiles(const struct plan_limits *l)
{
    uint64_t rows = (uint64_t)l->max_rows * l->group;

    return (uint32_t)(rows / PLAN_TILE_ROWS) + l->max_seqs;
}

uint32_t plan_padded(uint32_t n, uint32_t max_seqs)
{
    uint32_t padded = 1;

    if (n <= 8)
        while (padded < n)
            padded *= 2;
    else if (n <= 64)
        padded = div_ceil_u32(n, 8) * 8;
    else if (n <= 256)
        padded = div_ceil_u32(n, 16) * 16;
    else
        padded = div_ceil_u32(n, 64) * 64;
    return MIN(padded, max_seqs);
}

/* The next `count` elements of the buffer, whose `used` grows. */
static void *view(char *buffer, size_t *used, uint64_t count, size_t elem)
{
    void *at = buffer ? buffer + *used : NULL;

    *used += div_ceil_u64(count * elem, ALIGNMENT) * ALIGNMENT;
    return at;
}

size_t plan_views(struct plan *p, const struct plan_limits *l, void *buffer)
{
    size_t used = 0;

    p->n_pieces = view(buffer, &used, 1, sizeof(uint32_t));
    p->token = view(buffer, &used, l->max_rows, sizeof(uint32_t));
    p->position = view(buffer, &used, l->max_rows, sizeof(uint32_t));
    p->slot = view(buffer, &used, l->max_rows, sizeof(uint32_t));
    p->seq = view(buffer, &used, l->max_rows, sizeof(uint32_t));
    p->table_start = view(buffer, &used, l->max_seqs, sizeof(uint32_t));
    p->emit_row = view(buffer, &used, l->max_seqs, sizeof(uint32_t));
    p->piece_start = view(buffer, &used, (uint64_t)l->max_seqs + 1, sizeof(uint32_t));
    p->piece = view(buffer, &used, plan_max_pieces(l, l->max_seqs), sizeof(struct decode_piece));
    p->tile = view(buffer, &used, plan_max_tiles(l), sizeof(struct prefill_tile));
    p->table = view(buffer, &used, l->max_table, sizeof(uint32_t));
    return used;
}

/* The length that pieces of `total` tokens have at most, so that about `target` come out. */
static uint32_t longest_piece(uint64_t total, uint32_t target)
{
    return MAX((uint32_t)div_ceil_u64(total, target), PLAN_MIN_PIECE);
}

/* Cuts `length` tokens into pieces of about equal length. Returns how many. */
static uint32_t split(struct decode_piece *piece, uint32_t row, uint32_t table, uint32_t length,
                      uint32_t longest)
{
    uint32_t even = div_ceil_u32(length, div_ceil_u32(length, longest)), n = 0;

    even = div_ceil_u32(even, PLAN_PIECE_STEP) * PLAN_PIECE_STEP;
    for (uint32_t begin = 0; begin < length; begin += even)
        piece[n++] = (struct decode_piece){
            .row = row, .table = table, .begin = begin, .end = MIN(begin + even, length)};
    return n;
}

/* Never more than target_pieces + n_decode pieces. */
static uint32_t split_decodes(struct plan *p, const struct plan_limits *l, const struct forward *f)
{
    uint64_t total = 0;
    uint32_t longest, n = 0;

    for (uint32_t i = 0; i < f->n_decode; i++)
        total += (uint64_t)f->context[i] + 1;
    longest = longest_piece(total, l->target_pieces);
    for (uint32_t i = 0; i < f->n_decode; i++) {
        p->piece_start[i] = n;
        n += split(p->piece + n, i, f->table_start[i], f->context[i] + 1, longest);
    }
    p->piece_start[f->n_decode] = n;
    *p->n_pieces = n;
    return n;
}

uint32_t plan_lists(struct decode_piece *piece, uint32_t *start, const struct kv_list *list,
                    uint32_t n, uint32_t target)
{
    uint64_t total = 0;
    uint32_t longest, pieces = 0;

    for (uint32_t i = 0; i < n; i++)
        total += list[i].n;
    longest = longest_piece(total, target);
    for (uint32_t i = 0; i < n; i++) {
        start[i] = pieces;
        pieces += split(piece + pieces, i, list[i].table, list[i].n, longest);
    }
    start[n] = pieces;
    return pieces;
}

/* Longest first, so that no long tile starts when the others are nearly done; ties by place. */
static int by_length(const void *a, const void *b)
{
    const struct prefill_tile *x = a, *y = b;

    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    if (x->q_start != y->q_start)
        return x->q_start < y->q_start ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

static uint32_t tile_prefills(struct plan *p, const struct plan_limits *l, const struct forward *f)
{
    uint32_t n = 0;

    for (uint32_t i = f->n_decode; i < f->n_seqs; i++) {
        uint32_t n_queries = f->q_start[i + 1] - f->q_start[i];

        for (uint32_t first = 0; first < n_queries * l->group; first += PLAN_TILE_ROWS) {
            uint32_t last = MIN(first + PLAN_TILE_ROWS, n_queries * l->group) - 1;

            p->tile[n++] = (struct prefill_tile){.q_start = f->q_start[i],
                                                 .n_queries = n_queries,
                                                 .context = f->context[i],
                                                 .table = f->table_start[i],
                                                 .first = first,
                                                 .end = f->context[i] + last / l->group + 1};
        }
    }
    qsort(p->tile, n, sizeof(*p->tile), by_length);
    return n;
}

static void fill_rows(struct plan *p, const struct plan_limits *l, const struct forward *f)
{
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        const uint32_t *table = f->block + f->table_start[i];

        p->table_start[i] = f->table_start[i];
        for (uint32_t r = f->q_start[i]; r < f->q_start[i + 1]; r++) {
            uint32_t position = f->context[i] + (r - f->q_start[i]);

            p->token[r] = f->token[r];
            p->position[r] = position;
            p->slot[r] = table[position / l->block_size] * l->block_size + position % l->block_size;
            p->seq[r] = i;
        }
    }
}

size_t plan_fill(struct plan *p, const struct plan_limits *l, const struct forward *f,
                 uint32_t padded, struct pass *pass)
{
    uint32_t n_table = f->table_start[f->n_seqs];

    fill_rows(p, l, f);
    for (uint32_t r = f->n_tokens; r < padded; r++) {
        p->token[r] = 0;
        p->position[r] = 0;
        p->slot[r] = p->seq[r] = PLAN_NONE;
    }
    pass->emits = 0;
    if (padded)
        for (; pass->emits < padded; pass->emits++)
            p->emit_row[pass->emits] = pass->emits;
    else
        for (uint32_t i = 0; i < f->n_seqs; i++)
            if (f->emits[i])
                p->emit_row[pass->emits++] = f->q_start[i + 1] - 1;
    pass->rows = MAX(padded, f->n_tokens);
    pass->decodes = MAX(padded, f->n_decode);
    pass->pieces = split_decodes(p, l, f);
    for (uint32_t i = f->n_decode; i < padded; i++)
        p->piece_start[i + 1] = p->piece_start[i];
    if (padded)
        pass->pieces = plan_max_pieces(l, padded);
    pass->tiles = tile_prefills(p, l, f);
    memcpy(p->table, f->block, n_table * sizeof(*p->table));
    return (size_t)((char *)(p->table + n_table) - (char *)p->n_pieces);
}
