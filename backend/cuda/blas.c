#include "backend/cuda/blas.h"

#include <dlfcn.h>
#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define LIBRARY "libcublas.so." TEXT(CUBLAS_VER_MAJOR)

/* Symbol `name` into the function pointer at `to`: C has no cast between the two kinds. */
static bool find(struct blas *b, const char *name, void *to, struct err *e)
{
    void *symbol = dlsym(b->library, name);

    if (!symbol)
        return err_set(e, "cuda: " LIBRARY " has no %s; install the cuBLAS of CUDA %d", name,
                       CUBLAS_VER_MAJOR);
    memcpy(to, &symbol, sizeof(symbol));
    return true;
}

static bool blas_ok(const struct blas *b, cublasStatus_t status, const char *what, struct err *e)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    return err_set(e, "cuda: cuBLAS, %s: %s; look at nvidia-smi and the kernel's log", what,
                   b->describe(status));
}

bool blas_open(struct blas *b, enum elem elem, cudaStream_t stream, void *workspace, size_t bytes,
               struct err *e)
{
    static const char *const names[] = {LIBRARY, "/usr/local/cuda/lib64/" LIBRARY};

    b->elem = elem;
    for (size_t i = 0; i < ARRAY_LEN(names) && !b->library; i++)
        b->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!b->library)
        return err_set(e,
                       "cuda: cannot load " LIBRARY " (%s); install cuBLAS or put its folder into "
                       "LD_LIBRARY_PATH",
                       dlerror());
    return find(b, "cublasCreate_v2", &b->create, e) &&
           find(b, "cublasDestroy_v2", &b->destroy, e) &&
           find(b, "cublasSetStream_v2", &b->set_stream, e) &&
           find(b, "cublasSetWorkspace_v2", &b->set_workspace, e) &&
           find(b, "cublasGemmEx", &b->gemm, e) &&
           find(b, "cublasGetStatusString", &b->describe, e) &&
           blas_ok(b, b->create(&b->handle), "opening", e) &&
           blas_ok(b, b->set_stream(b->handle, stream), "its stream", e) &&
           blas_ok(b, b->set_workspace(b->handle, workspace, bytes), "its workspace", e);
}

void blas_close(struct blas *b)
{
    if (b->handle)
        (void)b->destroy(b->handle);
    if (b->library)
        (void)dlclose(b->library);
    *b = (struct blas){0};
}

static cudaDataType type_of(enum elem elem)
{
    return elem == ELEM_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

bool blas_product(struct blas *b, void *y, enum elem y_elem, bool add, const void *x, const void *w,
                  uint32_t rows, uint32_t out, uint32_t in, struct err *e)
{
    const float alpha = 1, beta = add ? 1 : 0;

    if (rows == 0)
        return true;
    /* cuBLAS counts columns first: what is row-major here is the transpose there. */
    return blas_ok(b,
                   b->gemm(b->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)out, (int)rows, (int)in,
                           &alpha, w, type_of(b->elem), (int)in, x, type_of(b->elem), (int)in,
                           &beta, y, type_of(y_elem), (int)out, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT),
                   "a product", e);
}
