/* cmd_validate.c: `tandem validate MEASURED`: simulates what was measured and says how far the
 * simulation is off. */
#include "experiments/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/options.h"
#include "experiments/steps_file.h"
#include "experiments/validate_report.h"
#include "experiments/validate_silicon.h"

struct input {
    struct run_options run;
    const char *path;
    int64_t run_id; /* 0: not given */
    struct measured_where *where;
    size_t n_where, where_cap;
    struct bound *bound;
    size_t n_bounds, bound_cap;
    struct err *e;
};

/* ---- options ---- */

enum { OPT_RUN = RUN_OPTION_END, OPT_BOUND, OPT_WHERE };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What was measured, and what is asked of the simulation:", -1},
    {"run", OPT_RUN, "ID", 0, "Which run of a database [the only one]", -1},
    {"where", OPT_WHERE, "COLUMN=VALUE", 0, "Only these rows of a CSV; all of several", -1},
    {"bound", OPT_BOUND, "METRIC=PERCENT", 0,
     "Fail (exit code 1) where the error is larger; METRIC is one of those printed, `all` (each "
     "latency) or `mean_abs` (their mean)",
     -1},
    {0},
};

static error_t add_where(struct input *in, char *arg)
{
    char *equals = strchr(arg, '=');
    if (!equals || equals == arg) {
        err_set(in->e, "validate: --where %s: give COLUMN=VALUE", arg);
        return EINVAL;
    }
    *equals = '\0';
    in->where = mem_reserve(in->where, &in->where_cap, in->n_where + 1, sizeof *in->where);
    in->where[in->n_where++] = (struct measured_where){arg, equals + 1};
    return 0;
}

static error_t add_bound(struct input *in, const char *arg)
{
    const char *equals = strchr(arg, '=');
    char *end = NULL;
    double percent = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || equals == arg || end == equals + 1 || *end || !(percent >= 0)) {
        err_set(in->e, "validate: --bound %s: give METRIC=PERCENT, such as ttft_ms_p95=10", arg);
        return EINVAL;
    }
    in->bound = mem_reserve(in->bound, &in->bound_cap, in->n_bounds + 1, sizeof *in->bound);
    in->bound[in->n_bounds] = (struct bound){.metric = mem_strdup(arg), .percent = percent};
    in->bound[in->n_bounds++].metric[equals - arg] = '\0';
    return 0;
}

static error_t set_run(struct input *in, const char *arg)
{
    char *end;
    errno = 0;
    in->run_id = strtoll(arg, &end, 10);
    if (end != arg && *end == '\0' && errno == 0 && in->run_id > 0)
        return 0;
    err_set(in->e, "validate: --run %s: give the id of a run, from 1", arg);
    return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = in ? &in->run : NULL; /* no input: only help is wanted */
        return 0;
    case OPT_RUN:
        return set_run(in, arg);
    case OPT_WHERE:
        return add_where(in, arg);
    case OPT_BOUND:
        return add_bound(in, arg);
    case ARGP_KEY_ARG:
        if (in->path)
            return ARGP_ERR_UNKNOWN;
        in->path = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&run_options_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .args_doc = "MEASURED",
    .doc = "Simulates what was measured and prints how far every figure is off.\v"
           "MEASURED is a database with a run, whose configuration holds but for where step times "
           "come from, unless options say otherwise; or a CSV, plain or gzip, one request a line, "
           "with the columns " MEASURED_CSV_COLUMNS ". Without --trace the measured requests are "
           "the trace. Or a CSV of closed-loop points (silicon_ttft_ms, silicon_tpot_ms): each is "
           "simulated with the profile SYSTEM in the folder of the CSV, or in --profile; metrics "
           "are tpot_mape, tpot_bias, ttft_mape, ttft_bias and ttft_median_mape of each group. "
           "Simulated runs are stored only where --db says.",
};

/* ---- configuration ---- */

/* Keys of a stored run that are not taken over: they say what was replayed, and on what. */
static bool is_own(const char *key)
{
    static const char *const own[] = {"trace",   "trace_format", "session_mode", "backend",
                                      "profile", "clock",        "rep"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return strncmp(key, "trace.", 6) == 0;
}

static bool take_over(struct config *c, json_t *stored, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(stored, key, value)
    {
        if (is_own(key) || json_is_null(value))
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        const char *plain = json_is_string(value) ? json_string_value(value) : text;
        bool ok = config_set(c, key, plain, e);
        free(text);
        if (!ok)
            return false;
    }
    return true;
}

/* The measured requests are the trace: what would change it has no meaning. */
static bool check_no_trace_keys(const struct config *c, struct err *e)
{
    struct config_key key;
    for (size_t i = 0; config_key_at(i, &key); i++)
        if ((strncmp(key.name, "trace", 5) == 0 || strcmp(key.name, "session_mode") == 0) &&
            config_is_set(c, key.name))
            return err_set(e,
                           "validate: %s is about a trace, and there is none but the measured "
                           "requests; give --trace or leave it out",
                           key.name);
    return true;
}

/* ---- the work ---- */

struct work {
    struct measured measured;
    struct measured_trace trace;
    struct run_job job;
    struct pairs pairs;
    struct validation v;
};

static bool check_input(const struct input *in, bool db, struct err *e)
{
    if (db && in->n_where)
        return err_set(e, "validate: --where is for a CSV, and %s is a database; use --run",
                       in->path);
    return db || !in->run_id ||
           err_set(e, "validate: --run is for a database, which %s is not; use --where", in->path);
}

static bool read_measured(struct work *w, const struct input *in, bool db, struct err *e)
{
    return db ? measured_read_db(&w->measured, in->path, in->run_id, e)
              : measured_read_csv(&w->measured, in->path, in->where, in->n_where, e);
}

static bool configure(struct work *w, const struct input *in, bool *own_trace, struct err *e)
{
    struct config *c = &w->job.config;
    if (w->measured.config && !take_over(c, w->measured.config, e))
        return false;
    if (!run_options_apply(&in->run, c, e))
        return false;
    *own_trace = !config_is_set(c, "trace");
    if (!*own_trace)
        return true;
    if (!w->measured.is_trace)
        return err_set(e,
                       "validate: %s does not say arrival_s, prompt_tokens and output_tokens of "
                       "every request; give --trace",
                       in->path);
    if (!check_no_trace_keys(c, e) || !config_set(c, "trace", in->path, e))
        return false;
    config_resolve(c);
    return true;
}

static bool simulate(struct work *w, const struct input *in, struct err *e)
{
    bool own_trace;
    if (!configure(w, in, &own_trace, e))
        return false;
    struct trace_source given;
    if (own_trace)
        given = measured_trace(&w->trace, &w->measured, &w->job.x.tenants);
    if (!run_job_compose(&w->job, own_trace ? &given : NULL, e))
        return false;
    w->pairs =
        (struct pairs){.m = &w->measured, .warmup_ns = w->job.x.sim.metrics.warmup_ns, .e = e};
    w->job.on_request = pairs_add;
    w->job.on_request_self = &w->pairs;
    return run_job_run(&w->job, in->run.db, &in->run, e) && pairs_end(&w->pairs, e);
}

static bool judge(struct work *w, const struct input *in, struct err *e)
{
    struct validation *v = &w->v;
    *v = (struct validation){
        .path = in->path,
        .measured = &w->measured,
        .job = &w->job,
        .unmeasured = w->pairs.unmeasured,
        .bound = in->bound,
        .n_bounds = in->n_bounds,
    };
    comparison_make(&v->all, &w->pairs, false);
    comparison_make(&v->without_first, &w->pairs, true);
    if (w->measured.summary)
        v->summary = summary_figures(w->measured.summary, w->job.tee.summary, &v->n_summary);
    return bounds_judge(in->bound, in->n_bounds, &v->all, v->summary, v->n_summary, e);
}

static bool print_json(const struct validation *v, struct err *e)
{
    json_t *all = validation_json(v);
    if (!all)
        return err_set(e, "validate: not printed: a name is not valid UTF-8; leave --json out");
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(all);
    return true;
}

static int validate_points(const struct input *in, struct err *e)
{
    const struct silicon_query q = {in->path,    &in->run,  in->where,
                                    in->n_where, in->bound, in->n_bounds};
    return validate_silicon(&q, stdout, e);
}

static int validate(struct work *w, const struct input *in, struct err *e)
{
    if (!in->path) {
        err_set(e, "validate: give what was measured: MEASURED.db --run ID, REQUESTS.csv or "
                   "SILICON.csv (`tandem validate --help`)");
        return 2;
    }
    bool db = steps_is_db(in->path), points = false;
    if (!check_input(in, db, e) || (!db && !silicon_is(in->path, &points, e)))
        return 2;
    if (points)
        return validate_points(in, e);
    if (!read_measured(w, in, db, e) || !simulate(w, in, e) || !judge(w, in, e))
        return 2;
    if (in->run.json && !print_json(&w->v, e))
        return 2;
    if (!in->run.json && !in->run.quiet)
        validation_print(&w->v, stdout);
    return validation_passed(&w->v) ? 0 : 1;
}

static void release_input(struct input *in)
{
    for (size_t i = 0; i < in->n_bounds; i++)
        mem_free(in->bound[i].metric);
    mem_free(in->bound);
    mem_free(in->where);
    run_options_release(&in->run);
}

int cmd_validate(int argc, char **argv, struct err *e)
{
    struct input in = {.run.e = e, .e = e};
    struct work w = {.measured.n = 0};
    int code = 2;
    run_job_init(&w.job);
    if (options_parse(&argp, "tandem validate", argc, argv, &in, e))
        code = validate(&w, &in, e);
    mem_free(w.v.summary);
    pairs_release(&w.pairs);
    run_job_release(&w.job);
    measured_release(&w.measured);
    release_input(&in);
    return code;
}
