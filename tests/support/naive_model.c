#include "tests/support/naive_model.h"

#include <math.h>
#include <string.h>

struct naive {
    const struct weights *w;
    double *keys, *values;         /* [layers][n][kv_heads * head_dim] */
    double *column_sum, *last_row; /* NULL, or [layers][kv_heads][n] */
    uint32_t n;
};

static double element(const struct naive *m, const void *tensor, size_t i)
{
    float f;
    uint32_t bits;

    if (m->w->dtype == WEIGHT_F32)
        return (double)((const float *)tensor)[i];
    bits = (uint32_t)((const uint16_t *)tensor)[i] << 16;
    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

static void multiply(const struct naive *m, const void *tensor, uint32_t rows, uint32_t cols,
                     const double *x, double *out)
{
    for (uint32_t r = 0; r < rows; r++) {
        out[r] = 0;
        for (uint32_t c = 0; c < cols; c++)
            out[r] += element(m, tensor, (size_t)r * cols + c) * x[c];
    }
}

static void normalise(const struct naive *m, const void *tensor, const double *x, double *out)
{
    uint32_t n = m->w->arch.hidden;
    double squares = 0;

    for (uint32_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    for (uint32_t i = 0; i < n; i++)
        out[i] = x[i] / sqrt(squares / n + m->w->arch.rms_eps) * element(m, tensor, i);
}

/* As transformers' "llama3" rope type does. */
static double frequency(const struct arch *a, uint32_t pair)
{
    double f = 1 / pow(a->rope_theta, 2.0 * pair / a->head_dim), wavelength = 2 * M_PI / f, smooth;
    const struct rope_scaling *r = &a->rope;

    if (r->factor == 0 || wavelength < r->original_max_position / r->high_freq_factor)
        return f;
    if (wavelength > r->original_max_position / r->low_freq_factor)
        return f / r->factor;
    smooth = (r->original_max_position / wavelength - r->low_freq_factor) /
             (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}

static void rotate(const struct arch *a, double *x, uint32_t heads, uint32_t position)
{
    uint32_t d = a->head_dim;

    for (uint32_t h = 0; h < heads; h++) {
        for (uint32_t i = 0; i < d / 2; i++) {
            double angle = position * frequency(a, i);
            double *re = x + h * d + i, *im = re + d / 2, was = *re;

            *re = was * cos(angle) - *im * sin(angle);
            *im = *im * cos(angle) + was * sin(angle);
        }
    }
}

/* One query head over positions 0..t. */
static void attend(const struct arch *a, const double *q, const double *keys, const double *values,
                   uint32_t t, double *out, double *seen, double *last)
{
    uint32_t stride = a->kv_heads * a->head_dim;
    double total = 0;

    memset(out, 0, a->head_dim * sizeof(*out));
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t s = 0; s <= t; s++) {
            double score = 0, p;

            for (uint32_t i = 0; i < a->head_dim; i++)
                score += q[i] * keys[s * stride + i];
            p = exp(score / sqrt(a->head_dim));
            if (pass == 0)
                total += p;
            for (uint32_t i = 0; pass == 1 && i < a->head_dim; i++)
                out[i] += p / total * values[s * stride + i];
            if (pass == 1 && seen) {
                seen[s] += p / total;
                last[s] += p / total;
            }
        }
    }
}

static void attention(const struct naive *m, uint32_t layer, uint32_t t, double *x)
{
    const struct arch *a = &m->w->arch;
    const void *const *w = m->w->layer[layer];
    uint32_t d = a->head_dim, kv_cols = a->kv_heads * d, q_cols = a->heads * d;
    double *keys = m->keys + (size_t)layer * m->n * kv_cols;
    double *values = m->values + (size_t)layer * m->n * kv_cols;
    double *normed = mem_alloc(a->hidden * sizeof(double));
    double *q = mem_alloc(q_cols * sizeof(double)), *out = mem_alloc(q_cols * sizeof(double));

    normalise(m, w[LAYER_ATTN_NORM], x, normed);
    multiply(m, w[LAYER_Q], q_cols, a->hidden, normed, q);
    multiply(m, w[LAYER_K], kv_cols, a->hidden, normed, keys + t * kv_cols);
    multiply(m, w[LAYER_V], kv_cols, a->hidden, normed, values + t * kv_cols);
    rotate(a, q, a->heads, t);
    rotate(a, keys + t * kv_cols, a->kv_heads, t);
    for (uint32_t h = 0; h < a->heads; h++) {
        uint32_t kv_head = h / (a->heads / a->kv_heads);
        size_t row = (size_t)(layer * a->kv_heads + kv_head) * m->n;
        double *seen = m->column_sum ? m->column_sum + row : NULL;
        double *last = m->column_sum ? m->last_row + row : NULL;

        if (last && h % (a->heads / a->kv_heads) == 0)
            memset(last, 0, m->n * sizeof(*last));
        attend(a, q + h * d, keys + kv_head * d, values + kv_head * d, t, out + h * d, seen, last);
    }
    multiply(m, w[LAYER_O], a->hidden, q_cols, out, normed);
    for (uint32_t i = 0; i < a->hidden; i++)
        x[i] += normed[i];
    mem_free(normed);
    mem_free(q);
    mem_free(out);
}

static void mlp(const struct naive *m, uint32_t layer, double *x)
{
    const struct arch *a = &m->w->arch;
    const void *const *w = m->w->layer[layer];
    double *normed = mem_alloc(a->hidden * sizeof(double));
    double *gate = mem_alloc(a->intermediate * sizeof(double));
    double *up = mem_alloc(a->intermediate * sizeof(double));

    normalise(m, w[LAYER_FFN_NORM], x, normed);
    multiply(m, w[LAYER_GATE], a->intermediate, a->hidden, normed, gate);
    multiply(m, w[LAYER_UP], a->intermediate, a->hidden, normed, up);
    for (uint32_t i = 0; i < a->intermediate; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    multiply(m, w[LAYER_DOWN], a->hidden, a->intermediate, up, normed);
    for (uint32_t i = 0; i < a->hidden; i++)
        x[i] += normed[i];
    mem_free(normed);
    mem_free(gate);
    mem_free(up);
}

void naive_logits(const struct weights *w, const uint32_t *token, uint32_t n, double *logits)
{
    naive_observe(w, token, n, logits, NULL, NULL);
}

void naive_observe(const struct weights *w, const uint32_t *token, uint32_t n, double *logits,
                   double *column_sum, double *last_row)
{
    const struct arch *a = &w->arch;
    size_t cache = (size_t)a->layers * n * a->kv_heads * a->head_dim * sizeof(double);
    struct naive m = {w, mem_alloc(cache), mem_alloc(cache), column_sum, last_row, n};
    double *x = mem_alloc(a->hidden * sizeof(double));

    for (uint32_t t = 0; t < n; t++) {
        for (uint32_t i = 0; i < a->hidden; i++)
            x[i] = element(&m, w->embedding, (size_t)token[t] * a->hidden + i);
        for (uint32_t layer = 0; layer < a->layers; layer++) {
            attention(&m, layer, t, x);
            mlp(&m, layer, x);
        }
        normalise(&m, w->final_norm, x, x);
        multiply(&m, w->lm_head, a->vocab, a->hidden, x, logits + (size_t)t * a->vocab);
    }
    mem_free(x);
    mem_free(m.keys);
    mem_free(m.values);
}
