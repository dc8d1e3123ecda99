/* absent.c: device_cuda of a build without CUDA: opening it says so. */
#include "backend/device.h"

static void *open_device(const struct device_config *c, struct err *e)
{
    (void)c;
    (void)err_set(e, "cuda: this program was built without CUDA; build it where nvcc is on PATH, "
                     "or use --backend cpu");
    return NULL;
}

const struct device_ops device_cuda = {.name = "cuda", .open = open_device};
