/* float16.h: the two 16-bit floating-point formats, to and from float32. */
#ifndef BACKEND_MODEL_FLOAT16_H
#define BACKEND_MODEL_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t float_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float bf16_to_float(uint16_t h)
{
    return float_from_bits((uint32_t)h << 16);
}

/* Nearest, ties to even; a NaN stays one. */
static inline uint16_t bf16_from_float(float f)
{
    uint32_t bits = float_bits(f);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* IEEE half: 1 sign, 5 exponent (bias 15) and 10 fraction bits. */
static inline float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;

    if (magnitude >= 0x0f800000) /* infinity or NaN: the exponent is all ones in both formats */
        return float_from_bits(sign | (magnitude + ((255u - 31) << 23)));
    /* As float32 the exponent is 112 too small; the product also normalises subnormals. */
    return float_from_bits(sign | float_bits(float_from_bits(magnitude) * 0x1p112f));
}

#endif
