/* cpu.c: backend `cpu`: every step runs a real transformer on the CPU, in float32. Where the
 * weights come from, and how blocks and tokens are made, is in backend/executor.h. */
#include "backend/executor.h"

static const struct param_desc params[] = {
    {"threads", PARAM_INT, "0", "threads that compute; 0 = as many as there are cores", 0, 1024,
     NULL},
    {.name = NULL},
};

static void *open_cpu(struct arena *a, const struct backend_env *env, struct backend_note *note,
                      struct err *e)
{
    (void)a; /* its memory is freed by close */
    struct executor_config c = {
        .device = &device_cpu,
        .dtype = WEIGHT_F32,
        .threads = (uint32_t)params_num(env->params, params, "cpu", "threads"),
    };
    return executor_open(&c, env, note, e);
}

const struct backend_ops backend_cpu = {
    .name = "cpu",
    .doc = "runs the model on the CPU in float32, and measures the steps",
    .source = "architecture.md section 8",
    .params = params,
    .caps = BACKEND_MEASURED | BACKEND_EXECUTES,
    .open = open_cpu,
    .step = executor_step,
    .close = executor_close,
    .kv = &executor_kv,
    .swap = executor_swap,
    .swaps_done = executor_swaps_done,
};
