/* gpu.h: what the programs in tests/gpu share: a GPU or none, arrays that are on both sides, and
 * comparisons in which NaN never passes. Programs exit 77 where there is no GPU. A program that is
 * no Check test says before including this what it does when something fails. */
#ifndef TESTS_GPU_GPU_H
#define TESTS_GPU_GPU_H

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/engine.h"
#include "backend/model/float16.h"
#include "sim/rng.h"

#define NO_GPU 77 /* exit status of a skipped test */

#ifndef GPU_FAIL
#define GPU_FAIL(...) ck_abort_msg(__VA_ARGS__)
#endif

#define CUDA(call)                                                                                 \
    do {                                                                                           \
        cudaError_t rc_ = (call);                                                                  \
        if (rc_ != cudaSuccess)                                                                    \
            GPU_FAIL("%s: %s", #call, cudaGetErrorString(rc_));                                    \
    } while (0)

static inline bool gpu_present(void)
{
    int n = 0;

    if (cudaGetDeviceCount(&n) == cudaSuccess && n > 0)
        return true;
    printf("SKIP: no GPU\n");
    return false;
}

/* What main returns of a suite, which it frees. */
static inline int gpu_tests(Suite *s)
{
    SRunner *r = srunner_create(s);
    int status = NO_GPU;

    if (gpu_present()) {
        srunner_set_fork_status(r, CK_NOFORK); /* a CUDA context does not survive a fork */
        srunner_run_all(r, CK_ENV);
        status = srunner_ntests_failed(r) == 0 ? 0 : 1;
    }
    srunner_free(r);
    return status;
}

static inline size_t elem_size(enum elem elem)
{
    return elem == ELEM_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* Device memory full of NaNs, whatever the element type. */
static inline void *gpu_poisoned(size_t bytes)
{
    void *p;

    CUDA(cudaMalloc(&p, bytes));
    CUDA(cudaMemset(p, 0xff, bytes));
    return p;
}

static inline void *gpu_copy(const void *host, size_t bytes)
{
    void *p = gpu_poisoned(bytes);

    CUDA(cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice));
    return p;
}

/* `value` rounded to the element type in place, and its copy on the device. */
static inline void *gpu_array(enum elem elem, double *value, size_t n)
{
    char *raw = mem_alloc(n * elem_size(elem));
    void *device;

    for (size_t i = 0; i < n; i++) {
        float f = (float)value[i];

        if (elem == ELEM_BF16) {
            uint16_t h = bf16_from_float(f);

            memcpy(raw + i * sizeof(h), &h, sizeof(h));
            f = bf16_to_float(h);
        } else {
            memcpy(raw + i * sizeof(f), &f, sizeof(f));
        }
        value[i] = (double)f;
    }
    device = gpu_copy(raw, n * elem_size(elem));
    mem_free(raw);
    return device;
}

static inline double *gpu_values(enum elem elem, const void *device, size_t n)
{
    double *value = mem_alloc(n * sizeof(*value));
    char *raw = mem_alloc(n * elem_size(elem));

    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(raw, device, n * elem_size(elem), cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++) {
        float f;
        uint16_t h;

        if (elem == ELEM_BF16) {
            memcpy(&h, raw + i * sizeof(h), sizeof(h));
            f = bf16_to_float(h);
        } else {
            memcpy(&f, raw + i * sizeof(f), sizeof(f));
        }
        value[i] = (double)f;
    }
    mem_free(raw);
    return value;
}

/* n values, uniform in -1..1. */
static inline double *random_values(struct rng *r, size_t n)
{
    double *value = mem_alloc(n * sizeof(*value));

    for (size_t i = 0; i < n; i++)
        value[i] = 2 * rng_unit(r) - 1;
    return value;
}

/* |got - want| <= tolerance * max(1, |want|) for each element: not true of NaN. */
static inline void check_close(const char *what, const double *got, const double *want, size_t n,
                               double tolerance)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i])),
                      "%s: element %zu of %zu is %g, should be %g (tolerance %g)", what, i, n,
                      got[i], want[i], tolerance);
}

static inline void check_device(const char *what, enum elem elem, const void *device,
                                const double *want, size_t n, double tolerance)
{
    double *got = gpu_values(elem, device, n);

    check_close(what, got, want, n, tolerance);
    mem_free(got);
}

static inline double tolerance_of(enum elem elem)
{
    return elem == ELEM_F32 ? 2e-5 : 1e-2;
}

#endif
