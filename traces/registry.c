#include "traces/registry.h"

#include <stdio.h>
#include <string.h>

#include "sim/nearest.h"
#include "traces/generate.h"
#include "traces/spec.h"
#include "traces/text.h"
#include "traces/wrap.h"

#define TRACE(id) extern const struct trace_ops trace_##id;
#include "traces/registry.def"
#undef TRACE

#define TRACE(id) &trace_##id,
static const struct trace_ops *const formats[] = {
#include "traces/registry.def"
};
#undef TRACE

#define TRACE(id) #id,
static const char *const format_names[] = {
#include "traces/registry.def"
};
#undef TRACE

const struct param_desc trace_params[] = {
    {"map", PARAM_STR, "", "format csv: our column = the file's, \"arrival_s=ts,...\"", 0, 0, NULL},
    {"spread_ticks", PARAM_BOOL, "false",
     "spread records of equal arrival evenly until the next (Mooncake's 3 s ticks)", 0, 0, NULL},
    {"start_s", PARAM_REAL, "0", "s on the trace's clock: becomes time 0; records before are cut",
     0, 1e9, NULL},
    {"duration_s", PARAM_REAL, "", "s from start_s on; records after that are cut", 0, 1e9, NULL},
    {"limit", PARAM_INT, "", "records: the first so many of the window", 1, 1e15, NULL},
    {"rate_scale", PARAM_REAL, "1", "arrivals are divided by it; delays between turns are not",
     1e-6, 1e6, NULL},
    {"max_tokens", PARAM_INT, "", "tokens asked for by records that do not say", 1, TOKENS_MAX,
     NULL},
    {"session_mode", PARAM_STR, "absolute",
     "after: later turns of a session follow the turn before, a gap after its finish; gaps are "
     "from the earlier turn's recorded finish, else from its arrival",
     0, 0, "absolute|after"},
    {"tenants", PARAM_INT, "0", "synthetic: so many tenants t0, t1, ... where there is none", 0,
     1e6, NULL},
    {"tenant_skew", PARAM_REAL, "1.0", "Zipf exponent of their shares; 0: equal", 0, 100, NULL},
    {"prefix_groups", PARAM_INT, "0", "synthetic: so many groups that share a prefix", 0, 1e9,
     NULL},
    {"prefix_tokens", PARAM_INT, "0", "tokens of that prefix, at most the prompt's less one", 0,
     TOKENS_MAX, NULL},
    {"classes", PARAM_STR, "", "synthetic: SLO classes, \"a,b,...\", uniform where there is none",
     0, 0, NULL},
    {0},
};

const struct trace_ops *trace_at(size_t i)
{
    return i < ARRAY_LEN(formats) ? formats[i] : NULL;
}

const struct trace_ops *trace_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

/* ---- detection ---- */

static void list_formats(char *out, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < ARRAY_LEN(formats) && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", format_names[i]);
}

static const struct trace_ops *detect(const char *path, struct err *e)
{
    const struct trace_ops *best = NULL, *second = NULL;
    char head[TEXT_HEAD_MAX + 1], names[256];
    int best_score = 0;

    if (!text_head(path, head, e))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        int score = formats[i]->detect ? formats[i]->detect(head) : 0;

        if (score > best_score) {
            best = formats[i];
            best_score = score;
            second = NULL;
        } else if (score == best_score && score > 0) {
            second = formats[i];
        }
    }
    list_formats(names, sizeof(names));
    if (!best)
        err_set(e,
                "%s:1: looks like none of %s; choose with --trace-format, or read a CSV with "
                "--map",
                path, names);
    else if (second)
        err_set(e, "%s:1: could be %s or %s; choose with --trace-format", path, best->name,
                second->name);
    return second ? NULL : best;
}

static const struct trace_ops *choose(const char *path, const char *format,
                                      const struct trace_env *env, struct err *e)
{
    const struct trace_ops *ops;

    if (spec_is(path)) {
        if (format)
            err_set(e, "trace_format: %s is not a file and has no format; leave it out", path);
        return format ? NULL : &trace_generate;
    }
    if (!format && *params_str(env->params, trace_params, "trace", "map"))
        format = "csv"; /* only it reads mapped columns */
    if (!format)
        return detect(path, e);
    ops = trace_find(format);
    if (!ops)
        err_set(e, "trace_format: unknown format %s; did you mean %s?", text_quote(format).s,
                nearest_word(format, format_names, ARRAY_LEN(format_names)));
    return ops;
}

bool trace_open(const char *path, const char *format, const struct trace_env *env,
                struct trace_source *out, struct err *e)
{
    const struct trace_ops *ops = choose(path, format, env, e);

    if (!ops)
        return false;
    *out = (struct trace_source){.ops = ops, .format = ops->name};
    out->self = ops->open(path, env, &out->traits, e);
    if (!out->self)
        return false;
    spread_wrap(out, env);
    window_wrap(out, env);
    sessions_wrap(out, env);
    pace_wrap(out, env);
    if (overlay_wrap(out, env, e))
        return true;
    out->ops->close(out->self);
    return false;
}
