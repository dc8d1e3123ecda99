/* real.h: the precision an operator is compiled for, and the dot products all of them are made of.
 * REAL and NAME come from f32.c or f64.c; an operator compiled by itself is float32.
 *
 * A dot product is LANES partial sums, each over every LANES-th element, then their sum in a fixed
 * order, then what is left over: the same bits from dot and dot4, and on any machine. */
#ifndef BACKEND_CPU_OPS_REAL_H
#define BACKEND_CPU_OPS_REAL_H

#ifndef REAL
#define REAL float
#define NAME(name) name##_f32
#endif

#include "backend/cpu/cpu.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Compiled for wider vectors too, and chosen when the program starts; the arithmetic is the same.
 */
#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

typedef REAL vec __attribute__((vector_size(32)));
#define LANES ((uint32_t)(sizeof(vec) / sizeof(REAL)))

INLINE REAL vec_sum(const vec *v)
{
    REAL sum = 0;

    for (uint32_t i = 0; i < LANES; i++)
        sum += (*v)[i];
    return sum;
}

INLINE REAL dot(const REAL *a, const REAL *b, uint32_t n)
{
    vec acc = {0}, va, vb;
    uint32_t i = 0;
    REAL sum;

    for (; i + LANES <= n; i += LANES) {
        memcpy(&va, a + i, sizeof(va));
        memcpy(&vb, b + i, sizeof(vb));
        acc += va * vb;
    }
    sum = vec_sum(&acc);
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* out[j * out_stride] = dot(a + j * stride, b, n) for j in 0..3, faster than one by one. */
INLINE void dot4(REAL *out, size_t out_stride, const REAL *a, size_t stride, const REAL *b,
                 uint32_t n)
{
    vec acc0 = {0}, acc1 = {0}, acc2 = {0}, acc3 = {0}, va, vb;
    uint32_t i = 0;
    REAL sum[4];

    for (; i + LANES <= n; i += LANES) {
        memcpy(&vb, b + i, sizeof(vb));
        memcpy(&va, a + i, sizeof(va));
        acc0 += va * vb;
        memcpy(&va, a + stride + i, sizeof(va));
        acc1 += va * vb;
        memcpy(&va, a + 2 * stride + i, sizeof(va));
        acc2 += va * vb;
        memcpy(&va, a + 3 * stride + i, sizeof(va));
        acc3 += va * vb;
    }
    sum[0] = vec_sum(&acc0);
    sum[1] = vec_sum(&acc1);
    sum[2] = vec_sum(&acc2);
    sum[3] = vec_sum(&acc3);
    for (uint32_t j = 0; j < 4; j++) {
        for (uint32_t k = i; k < n; k++)
            sum[j] += a[j * stride + k] * b[k];
        out[j * out_stride] = sum[j];
    }
}

/* The functions of math.h for REAL. */
INLINE REAL real_exp(REAL x)
{
    return sizeof(REAL) == sizeof(float) ? (REAL)expf((float)x) : (REAL)exp((double)x);
}

/* ---- the halves of attention ---- */

INLINE void softmax(REAL *x, uint32_t n, REAL scale)
{
    REAL max = x[0], sum = 0;

    for (uint32_t i = 1; i < n; i++)
        max = MAX(max, x[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += x[i] = real_exp((x[i] - max) * scale);
    for (uint32_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* out += p[i] * values[i], i = 0..n-1 in this order. */
INLINE void weigh(REAL *restrict out, const REAL *p, const REAL *restrict values, uint32_t n,
                  uint32_t d)
{
    for (uint32_t i = 0; i < n; i++, values += d)
        for (uint32_t j = 0; j < d; j++)
            out[j] += p[i] * values[j];
}

#endif
