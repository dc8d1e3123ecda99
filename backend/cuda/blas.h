/* blas.h: matrix products by cuBLAS, which is looked for when a device is opened and not before: a
 * program that simulates starts at once, and starts on machines without it. */
#ifndef BACKEND_CUDA_BLAS_H
#define BACKEND_CUDA_BLAS_H

#include <cublas_v2.h>

#include "backend/cuda/kernels.h"

struct blas {
    void *library;
    cublasHandle_t handle;
    enum elem elem; /* of x and w */
    cublasStatus_t (*create)(cublasHandle_t *);
    cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    cublasStatus_t (*destroy)(cublasHandle_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int,
                           const void *, const void *, cudaDataType, int, const void *,
                           cudaDataType, int, const void *, void *, cudaDataType, int,
                           cublasComputeType_t, cublasGemmAlgo_t);
    const char *(*describe)(cublasStatus_t);
};

/* `workspace` is the device memory that products may use, so that none is taken later. */
bool blas_open(struct blas *b, enum elem elem, cudaStream_t stream, void *workspace, size_t bytes,
               struct err *e) NODISCARD;
void blas_close(struct blas *b); /* of a zeroed or failed one, too */

/* y[rows][out] = x[rows][in] w[out][in]^T + (add ? y : 0); float32 sums. */
bool blas_product(struct blas *b, void *y, enum elem y_elem, bool add, const void *x, const void *w,
                  uint32_t rows, uint32_t out, uint32_t in, struct err *e) NODISCARD;

#endif
