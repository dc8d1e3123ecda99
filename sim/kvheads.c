#include "sim/kvheads.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct param_desc params[] = {
    {"heads", PARAM_STR, "", "a figure for each layer and KV head", 0, 0, NULL},
    {.name = NULL},
};

const char *kv_heads_path(const struct params *p)
{
    const char *path = params_str(p, params, "kv", "heads");
    return path == NULL || *path == '\0' ? NULL : path;
}

/* One line; false: it is wrong. */
static bool read_line(char *line, uint32_t layers, uint32_t heads, double *value)
{
    unsigned layer, head;
    double x;
    int end = 0;
    line[strcspn(line, "#\n")] = '\0';
    if (line[strspn(line, " \t\r")] == '\0')
        return true;
    if (sscanf(line, "%u %u %lf %n", &layer, &head, &x, &end) != 3 || line[end] != '\0')
        return false;
    if (layer >= layers || head >= heads || !isfinite(x) || x < 0)
        return false;
    if (!isnan(value[layer * heads + head]))
        return false; /* twice */
    value[layer * heads + head] = x;
    return true;
}

bool kv_heads_read(const char *path, uint32_t layers, uint32_t heads, double *value, struct err *e)
{
    FILE *f = fopen(path, "r");
    char line[256];
    uint32_t number = 0;
    if (f == NULL)
        return err_set(e, "%s: %s; kv.heads names a file of lines LAYER HEAD VALUE", path,
                       strerror(errno));
    for (uint32_t i = 0; i < layers * heads; i++)
        value[i] = (double)NAN;
    while (!e->set && fgets(line, sizeof(line), f) != NULL) {
        number++;
        if (!read_line(line, layers, heads, value))
            err_set(e,
                    "%s:%u: is no line LAYER HEAD VALUE with a layer below %u, a KV head below %u "
                    "and a value from 0, each once",
                    path, number, layers, heads);
    }
    (void)fclose(f);
    for (uint32_t i = 0; !e->set && i < layers * heads; i++)
        if (isnan(value[i]))
            err_set(e,
                    "%s: has no line for layer %u, head %u; the model has %u layers of %u KV "
                    "heads",
                    path, i / heads, i % heads, layers, heads);
    return !e->set;
}
