/* matmul.c: weight matrices times the rows of all tokens. An item of the pool is MATMUL_ROWS rows
 * of a matrix: converted to REAL once, then multiplied with every token, four dot products at a
 * time: of four tokens where there are as many, else of four rows. */
#include "backend/cpu/ops/real.h"

#include "backend/model/float16.h"

struct matmul {
    struct cpu *c;
    const struct matrix *m;
    const REAL *x;
    uint32_t n_tokens, cols;
    bool add;
};

/* Row `row` of the weights and those after it, as REAL: where they lie, or converted in scratch. */
INLINE const REAL *weight_rows(const struct matmul *p, const struct matrix *m, uint32_t row,
                               uint32_t n_rows, REAL *scratch)
{
    size_t first = (size_t)row * p->cols, n = (size_t)n_rows * p->cols;
    const uint16_t *bf16 = (const uint16_t *)m->w + first;
    const float *f32 = (const float *)m->w + first;

    if (p->c->weights.dtype == WEIGHT_BF16) {
        for (size_t i = 0; i < n; i++)
            scratch[i] = (REAL)bf16_to_float(bf16[i]);
        return scratch;
    }
    if (sizeof(REAL) == sizeof(float))
        return (const REAL *)(const void *)f32;
    for (size_t i = 0; i < n; i++)
        scratch[i] = (REAL)f32[i];
    return scratch;
}

INLINE void store(REAL *out, REAL value, bool add)
{
    *out = add ? *out + value : value;
}

/* Four tokens with each of the rows: out[token][row]. */
INLINE void four_tokens(const struct matmul *p, const REAL *rows, uint32_t n_rows, const REAL *x,
                        REAL *out, uint32_t out_stride)
{
    REAL sum[4];

    for (uint32_t r = 0; r < n_rows; r++) {
        dot4(sum, 1, x, p->cols, rows + (size_t)r * p->cols, p->cols);
        for (uint32_t t = 0; t < 4; t++)
            store(out + (size_t)t * out_stride + r, sum[t], p->add);
    }
}

INLINE void one_token(const struct matmul *p, const REAL *rows, uint32_t n_rows, const REAL *x,
                      REAL *out)
{
    uint32_t r = 0;
    REAL sum[4];

    for (; r + 4 <= n_rows; r += 4) {
        dot4(sum, 1, rows + (size_t)r * p->cols, p->cols, x, p->cols);
        for (uint32_t i = 0; i < 4; i++)
            store(out + r + i, sum[i], p->add);
    }
    for (; r < n_rows; r++)
        store(out + r, dot(rows + (size_t)r * p->cols, x, p->cols), p->add);
}

WIDE static void NAME(rows_item)(void *arg, uint32_t item, uint32_t thread)
{
    const struct matmul *p = arg;
    const struct matrix *m = p->m;
    REAL *scratch = (REAL *)p->c->buf.scratch + p->c->buf.scratch_elems * thread, *out;
    uint32_t row, n_rows, t = 0;
    const REAL *rows;

    for (; item >= div_ceil_u32(m->rows, MATMUL_ROWS); m++)
        item -= div_ceil_u32(m->rows, MATMUL_ROWS);
    row = item * MATMUL_ROWS;
    n_rows = MIN(MATMUL_ROWS, m->rows - row);
    rows = weight_rows(p, m, row, n_rows, scratch);
    out = (REAL *)m->out + row;
    for (; t + 4 <= p->n_tokens; t += 4)
        four_tokens(p, rows, n_rows, p->x + (size_t)t * p->cols, out + (size_t)t * m->rows,
                    m->rows);
    for (; t < p->n_tokens; t++)
        one_token(p, rows, n_rows, p->x + (size_t)t * p->cols, out + (size_t)t * m->rows);
}

void NAME(matmul)(struct cpu *c, const struct matrix *m, uint32_t n_matrices, const REAL *x,
                  uint32_t n_tokens, uint32_t cols, bool add)
{
    struct matmul p = {c, m, x, n_tokens, cols, add};
    uint32_t items = 0;

    if (n_tokens == 0)
        return;
    for (uint32_t i = 0; i < n_matrices; i++)
        items += div_ceil_u32(m[i].rows, MATMUL_ROWS);
    pool_run(c->pool, items, NAME(rows_item), &p);
}
