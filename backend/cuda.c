/* cuda.c: backend `cuda`: every step runs a real transformer on an NVIDIA GPU, in bf16. One replica
 * a GPU. Where the weights come from, and how blocks and tokens are made, is in backend/executor.h.
 */
#include "backend/executor.h"

static void *open_cuda(struct arena *a, const struct backend_env *env, struct backend_note *note,
                       struct err *e)
{
    (void)a; /* its memory is freed by close */
    struct executor_config c = {.device = &device_cuda, .dtype = WEIGHT_BF16};
    return executor_open(&c, env, note, e);
}

static const struct param_desc no_params[] = {{.name = NULL}};

const struct backend_ops backend_cuda = {
    .name = "cuda",
    .doc = "runs the model on an NVIDIA GPU in bf16, and measures the steps",
    .source = "architecture.md section 8",
    .params = no_params,
    .caps = BACKEND_MEASURED | BACKEND_EXECUTES,
    .open = open_cuda,
    .step = executor_step,
    .close = executor_close,
    .kv = &executor_kv,
    .swap = executor_swap,
    .swaps_done = executor_swaps_done,
};
