/* random_weights.h: seeded random weights, drawn by position: any element at any time, in any
 * order, on the host and on a GPU, with the same bits. What must hold: only integer arithmetic and
 * exact scaling are in it, and every value is a bf16. */
#ifndef BACKEND_MODEL_RANDOM_WEIGHTS_H
#define BACKEND_MODEL_RANDOM_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif

struct random_tensor {
    uint64_t key;
    float step; /* a power of two */
    bool norm;
};

/* splitmix64's finaliser, as in sim/hash.h, which is for the host only. */
HOST_DEVICE static inline uint64_t random_weights_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

HOST_DEVICE static inline float random_weights_power_of_two(int exponent)
{
    uint32_t bits = (uint32_t)(127 + exponent) << 23;
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* `tensor` is its number (backend/model/weights.h). An element of a matrix is an odd integer in
 * -255..255 times `step`: uniform, with a standard deviation of 1/sqrt(cols) within a factor of
 * sqrt(2), since (256^2 - 1) / 3 = 21845 is the variance of the integer. */
HOST_DEVICE static inline struct random_tensor random_tensor(uint64_t seed, uint32_t tensor,
                                                             uint32_t cols, bool norm)
{
    struct random_tensor r;
    int exponent = 0;

    while ((UINT64_C(2) << (2 * exponent)) < UINT64_C(21845) * cols)
        exponent++;
    r.key = random_weights_mix(random_weights_mix(seed) ^ tensor);
    r.step = random_weights_power_of_two(norm ? -7 : -exponent);
    r.norm = norm;
    return r;
}

/* The bits of element `index` as bf16. A norm's elements are 112/128 to 143/128. */
HOST_DEVICE static inline uint16_t random_tensor_bf16(const struct random_tensor *r, uint64_t index)
{
    uint64_t eight = random_weights_mix(r->key + (index >> 3)); /* a byte for each of 8 elements */
    int byte = (int)(eight >> (8 * (index & 7)) & 0xff);
    float f = (float)(r->norm ? 112 + byte % 32 : 2 * byte - 255) * r->step;
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return (uint16_t)(bits >> 16);
}

/* Both in one, for who draws few. */
HOST_DEVICE static inline uint16_t weights_random_bf16(uint64_t seed, uint32_t tensor,
                                                       uint64_t index, uint32_t cols, bool norm)
{
    struct random_tensor r = random_tensor(seed, tensor, cols, norm);

    return random_tensor_bf16(&r, index);
}

#endif
