#include "sim/kvheads.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r"

static const struct param_desc params[] = {
    {"heads", PARAM_STR, "", "a figure for each layer and KV head", 0, 0, NULL},
    {.name = NULL},
};

const char *kv_heads_path(const struct params *p)
{
    const char *path = params_str(p, params, "kv", "heads");
    return path == NULL || *path == '\0' ? NULL : path;
}

/* The number that the text begins with, which goes on behind it; NaN: there is none. */
static double take_number(char **text)
{
    char *end;
    double x = strtod(*text, &end);
    bool is_one = end != *text && isfinite(x) && x >= 0;
    *text = end + strspn(end, BLANKS);
    return is_one ? x : (double)NAN;
}

/* One line; false: it is wrong. */
static bool read_line(char *line, uint32_t layers, uint32_t heads, double *value)
{
    line[strcspn(line, "#\n")] = '\0';
    if (line[strspn(line, BLANKS)] == '\0')
        return true;
    double l = take_number(&line), h = take_number(&line), x = take_number(&line);
    if (!(l < layers && h < heads) || isnan(x) || *line != '\0')
        return false;
    uint32_t layer = (uint32_t)l, head = (uint32_t)h;
    if ((double)layer < l || (double)head < h)
        return false;
    if (!isnan(value[layer * heads + head]))
        return false; /* twice */
    value[layer * heads + head] = x;
    return true;
}

bool kv_heads_read(const char *path, uint32_t layers, uint32_t heads, double *value, struct err *e)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    uint32_t number = 0;
    if (f == NULL)
        return err_set(e, "%s: %s; kv.heads names a file of lines LAYER HEAD VALUE", path,
                       strerror(errno));
    for (uint32_t i = 0; i < layers * heads; i++)
        value[i] = (double)NAN;
    while (!e->set && getline(&line, &size, f) >= 0) {
        number++;
        if (!read_line(line, layers, heads, value))
            err_set(e,
                    "%s:%u: is no line LAYER HEAD VALUE with a layer below %u, a KV head below %u "
                    "and a value from 0, each once",
                    path, number, layers, heads);
    }
    if (!e->set && ferror(f))
        err_set(e, "%s: %s; check the disk", path, strerror(errno));
    free(line);
    (void)fclose(f);
    for (uint32_t i = 0; !e->set && i < layers * heads; i++)
        if (isnan(value[i]))
            err_set(e,
                    "%s: has no line for layer %u, head %u; the model has %u layers of %u KV "
                    "heads",
                    path, i / heads, i % heads, layers, heads);
    return !e->set;
}
