/* fuzz_trace.c: any bytes as a trace of any format. The first byte picks the format by the
 * first letter of its name (none: detection), the second one the wrappers around it; the rest is
 * the file. There must be no crash, no record that breaks sim/trace.h, no error without FILE:LINE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/trace_check.h"
#include "traces/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void wrappers(struct params *p, unsigned bits)
{
    if (bits & 1)
        params_set_num(p, "trace.spread_ticks", PARAM_BOOL, 1);
    if (bits & 2)
        params_set_str(p, "trace.session_mode", "after");
    if (bits & 4) {
        params_set_num(p, "trace.start_s", PARAM_REAL, 1);
        params_set_num(p, "trace.duration_s", PARAM_REAL, 100);
    }
    if (bits & 8) {
        params_set_num(p, "trace.tenants", PARAM_INT, 3);
        params_set_num(p, "trace.prefix_groups", PARAM_INT, 2);
        params_set_num(p, "trace.prefix_tokens", PARAM_INT, 20);
    }
    if (bits & 16)
        params_set_num(p, "trace.rate_scale", PARAM_REAL, 0.5);
}

static const struct trace_ops *pick(uint8_t letter)
{
    size_t i = 0;

    while (trace_at(i) && trace_at(i)->name[0] != (char)letter)
        i++;
    return trace_at(i);
}

static void check_message(const struct err *e, const char *path)
{
    size_t len = strlen(path);
    const char *line = e->text + len + 1;

    CHECK(e->set, "fuzz: an error has a message", "%s", path);
    if (strncmp(e->text, "trace.rate_scale: ", 18) == 0)
        return; /* a setting that does not suit the trace */
    CHECK(strncmp(e->text, path, len) == 0 && e->text[len] == ':' && strtoul(line, NULL, 10) > 0 &&
              strstr(line, ": "),
          "fuzz: an error names FILE:LINE", "%s", e->text);
}

static void read_trace(const char *path, const char *format, const struct trace_env *env)
{
    struct trace_check check = {0};
    struct trace_source src;
    struct trace_rec rec;
    struct err e = {0};
    enum trace_status st;

    if (!trace_open(path, format, env, &src, &e)) {
        check_message(&e, path);
        return;
    }
    while ((st = src.ops->next(src.self, &rec, &e)) == TRACE_REC)
        trace_check(&check, &src, env, &rec);
    if (st == TRACE_ERR)
        check_message(&e, path);
    src.ops->close(src.self);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct names tenants, classes;
    struct params params;
    struct trace_env env = {.tenants = &tenants, .classes = &classes, .seed = 1, .params = &params};
    const struct trace_ops *format;
    char path[64];
    int fd;

    if (size < 2)
        return 0;
    fd = memfd_create("trace", 0);
    CHECK(fd >= 0 && write(fd, data + 2, size - 2) == (ssize_t)(size - 2), "fuzz: a file", "%d",
          fd);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    names_init(&tenants);
    names_init(&classes);
    params_init(&params);
    wrappers(&params, data[1]);
    format = pick(data[0]);
    read_trace(path, format ? format->name : NULL, &env);
    params_release(&params);
    names_release(&tenants);
    names_release(&classes);
    close(fd);
    return 0;
}
