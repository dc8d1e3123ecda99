/* device_cuda.c: the CUDA device as the executor sees it (backend/device.h). */
#include <stdio.h>
#include <string.h>

#include "backend/cuda/engine.h"

static void *open_device(const struct device_config *c, struct err *e)
{
    return engine_open(c, true, e);
}

static bool forward(void *self, const struct forward *f, struct forward_result *r, struct err *e)
{
    return engine_forward(self, f, r, e);
}

static bool copy(void *self, enum copy_direction direction, const uint32_t *block,
                 const uint32_t *host, uint32_t n, uint64_t *ticket, struct err *e)
{
    return engine_copy(self, direction, block, host, n, ticket, e);
}

static bool copies_done(void *self, uint64_t seen, bool wait, uint64_t *done, struct err *e)
{
    return engine_copies_done(self, seen, wait, done, e);
}

static void close_device(void *self)
{
    engine_close(self);
}

/* The driver's version is only in a file: "NVRM version: NVIDIA UNIX ... Module  580.1  date". */
static void driver_version(char *text, size_t n)
{
    char line[256];
    FILE *f = fopen("/proc/driver/nvidia/version", "r");

    (void)snprintf(text, n, "unknown");
    if (!f)
        return;
    if (fgets(line, sizeof(line), f)) {
        const char *word = line;

        while (*word && !(*word >= '0' && *word <= '9' && strchr(word, '.') == word + 3))
            word++;
        if (*word)
            (void)snprintf(text, n, "%.*s", (int)strcspn(word, " \n"), word);
    }
    (void)fclose(f);
}

static void describe(void *self, char *text, size_t n)
{
    const struct engine *g = self;
    char driver[64];
    int runtime = 0, clock_khz = 0;

    driver_version(driver, sizeof(driver));
    (void)cudaRuntimeGetVersion(&runtime);
    (void)cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0);
    (void)snprintf(text, n, "%s, driver %s, CUDA %d.%d, at most %d MHz, %s", g->gpu.name, driver,
                   runtime / 1000, runtime % 1000 / 10, clock_khz / 1000,
                   g->elem == ELEM_F32 ? "float32" : "bf16");
}

const struct device_ops device_cuda = {
    .name = "cuda",
    .open = open_device,
    .forward = forward,
    .copy = copy,
    .copies_done = copies_done,
    .close = close_device,
    .describe = describe,
};
