/* plan.h: what the host works out before a forward pass, without CUDA: where each token's K and V
 * go, how decode attention is split so that every piece reads about as many tokens, in which order
 * the tiles of prefill attention start, and to which batch size a decode step is padded.
 *
 * One buffer holds it all; a byte of the host's copy lies at the same offset on the device, so that
 * one copy carries a plan over. The block tables are last: only what is used of them travels. */
#ifndef BACKEND_CUDA_PLAN_H
#define BACKEND_CUDA_PLAN_H

#include "backend/device.h"

#define PLAN_NONE UINT32_MAX /* slot and sequence of a padding row */
#define PLAN_TILE_ROWS 128   /* rows of a prefill tile; a row is one query head of one token */
#define PLAN_MIN_PIECE 64    /* tokens: shorter pieces of a context are not worth a split */
#define PLAN_PIECE_STEP 16   /* tokens: pieces start at multiples of it */

/* Tokens [begin, end) of the context of the decode in row `row`. */
struct decode_piece {
    uint32_t row, table, begin, end; /* table: where its blocks start in the block tables */
};

/* Tokens that one KV head of a decode reads under a KV policy (kernels.h): all its pages are full
 * but the last. */
struct kv_list {
    uint32_t table; /* where its pages start in the page table, and in arrays beside it */
    uint32_t n;     /* tokens; at least 1 */
    uint32_t slot;  /* where its tokens start in arrays by token; a multiple of PLAN_PIECE_STEP */
};

/* Up to PLAN_TILE_ROWS rows from row `first` on, counted within the sequence: token first / group,
 * head first % group of a KV head's group. */
struct prefill_tile {
    uint32_t q_start, n_queries, context, table, first;
    uint32_t end; /* tokens of the context that its last row reads */
};

struct plan_limits {
    uint32_t max_seqs, max_rows, block_size, kv_heads, group;
    uint32_t target_pieces; /* that fill the GPU evenly, before KV heads multiply them */
    uint64_t max_table;     /* entries of all block tables of a pass */
};

/* Views into the buffer. */
struct plan {
    uint32_t *n_pieces;         /* [1] */
    uint32_t *token, *position; /* [max_rows] */
    uint32_t *slot;             /* [max_rows]: block * block_size + offset; PLAN_NONE: padding */
    uint32_t *seq;              /* [max_rows]: sequence of the row; PLAN_NONE: padding */
    uint32_t *table_start;      /* [max_seqs] */
    uint32_t *emit_row;         /* [max_seqs]: rows whose logits are wanted */
    uint32_t *piece_start;      /* [max_seqs + 1]: pieces of each decode */
    struct decode_piece *piece; /* [plan_max_pieces] */
    struct prefill_tile *tile;  /* [plan_max_tiles] */
    uint32_t *table;            /* [max_table] */
};

/* What a pass computes: the sizes of its launches. */
struct pass {
    uint32_t rows;    /* tokens, padding included */
    uint32_t decodes; /* rows of decodes, first */
    uint32_t pieces;  /* launched; those past n_pieces return at once */
    uint32_t tiles;   /* of prefill attention */
    uint32_t emits;   /* rows whose logits are computed */
};

uint32_t plan_max_pieces(const struct plan_limits *l, uint32_t decodes);
uint32_t plan_max_tiles(const struct plan_limits *l);
/* The batch size a decode step of n sequences is padded to: at least n, at most max_seqs. */
uint32_t plan_padded(uint32_t n, uint32_t max_seqs);

/* Sets the views from a buffer; with NULL as buffer they hold offsets. Returns its size in bytes.
 */
size_t plan_views(struct plan *p, const struct plan_limits *l, void *buffer);

/* Fills the plan of a pass whose decodes and rows are padded to `padded` rows (0: not padded).
 * The forward pass is within the limits. Returns how many bytes of the buffer are used. */
size_t plan_fill(struct plan *p, const struct plan_limits *l, const struct forward *f,
                 uint32_t padded, struct pass *pass);

/* Cuts n lists into pieces as the contexts of decodes are cut, `row` of a piece being its list; at
 * most target + n. Pieces of list i are those from start[i] to start[i + 1]. Returns how many. */
uint32_t plan_lists(struct decode_piece *piece, uint32_t *start, const struct kv_list *list,
                    uint32_t n, uint32_t target);

/* Tokens of the `keep` pages that are picked of a list's n tokens: the last page is one of them. */
static inline uint32_t plan_picked(uint32_t n, uint32_t keep, uint32_t block_size)
{
    uint32_t before = (div_ceil_u32(n, block_size) - 1) * block_size;

    return before < keep * block_size ? n : (keep - 1) * block_size + (n - before);
}

#endif
