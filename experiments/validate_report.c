#include "experiments/validate_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool validation_passed(const struct validation *v)
{
    for (size_t i = 0; i < v->n_bounds; i++)
        if (!v->bound[i].met)
            return false;
    return true;
}

/* ---- for people ---- */

/* Six digits that count; small and large values in a column all the same. */
static void print_value(double value, FILE *out)
{
    fprintf(out, " %11.*f", fabs(value) < 100 ? 3 : 1, value);
}

static void print_half(const struct figure *f, FILE *out)
{
    print_value(f->measured, out);
    print_value(f->simulated, out);
    fprintf(out, " %+8.2f", f->error_percent);
}

static void print_figure(const struct figure *f, const struct figure *without, FILE *out)
{
    fprintf(out, "  %-24s", f->metric);
    print_half(f, out);
    if (without) {
        fputs("  ", out);
        print_half(without, out);
    }
    fputc('\n', out);
}

static const struct figure *same(const struct figure *f, size_t n, const char *metric)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].metric, metric) == 0)
            return &f[i];
    return NULL;
}

static void print_figures(const struct validation *v, FILE *out)
{
    const struct comparison *a = &v->all, *b = &v->without_first;
    fprintf(out, "%26s %35s %35s\n", "", "all requests", "without the first (cold) request");
    fprintf(out, "%26s %11s %11s %8s   %11s %11s %8s\n", "", "measured", "simulated", "error %",
            "measured", "simulated", "error %");
    for (size_t i = 0; i < a->n_cells; i++)
        print_figure(&a->cell[i], same(b->cell, b->n_cells, a->cell[i].metric), out);
    for (size_t i = 0; i < a->n_rates; i++)
        print_figure(&a->rate[i], same(b->rate, b->n_rates, a->rate[i].metric), out);
}

static void print_score(const char *which, const struct comparison *c, FILE *out)
{
    if (c->n_cells == 0)
        fprintf(out, "  %s: nothing to compare\n", which);
    else
        fprintf(out, "  %s: mean |error| %.2f %% over %zu cells; worst %s %+.2f %%\n", which,
                c->mean_abs_percent, c->n_cells, c->worst->metric, c->worst->error_percent);
}

static void print_counts(const struct validation *v, FILE *out)
{
    fprintf(out,
            "%s: %" PRIu64 " requests, of which %" PRIu64 " finished when measured, %" PRIu64
            " simulated\n",
            v->path, v->all.requests, v->all.measured_finished, v->all.simulated_finished);
    if (v->unmeasured)
        fprintf(out, "  %" PRIu64 " requests of the trace were not measured and are left out\n",
                v->unmeasured);
    if (v->measured->cached_tokens && v->job->x.sim.trace.ops &&
        strcmp(v->job->x.sim.trace.format, "measured") == 0)
        fprintf(out,
                "  prefix hits had saved %" PRIu64 " prompt tokens; stored requests do not say "
                "which: give the trace by --trace\n",
                v->measured->cached_tokens);
}

static void print_provenance(const struct validation *v, FILE *out)
{
    const struct run_job *j = v->job;
    const struct engine_model *engine = j->x.replica[0].engine;
    fprintf(out, "  on       %u x %s on %s, backend %s; trace %s (%s)\n", j->x.sim.n_replicas,
            j->models, j->gpus, config_str(&j->config, "backend"), config_str(&j->config, "trace"),
            j->x.sim.trace.format);
    fprintf(out, "  times    %s\n", j->result.note.cost_model);
    fprintf(out, "  engine   %s: %s\n", engine->name, engine->provenance);
    fprintf(out, "  digest   %016llx, %llu steps\n", (unsigned long long)j->result.digest,
            (unsigned long long)j->result.steps);
}

void validation_print(const struct validation *v, FILE *out)
{
    print_counts(v, out);
    print_figures(v, out);
    print_score("all", &v->all, out);
    print_score("without the first", &v->without_first, out);
    if (v->n_summary) {
        fprintf(out, "\n%26s %11s %11s %8s\n", "summary", "measured", "simulated", "error %");
        for (size_t i = 0; i < v->n_summary; i++)
            print_figure(&v->summary[i], NULL, out);
    }
    fputc('\n', out);
    for (size_t i = 0; i < v->n_bounds; i++)
        fprintf(out, "  bound    %s within %g %%: %s (%+.2f %%)\n", v->bound[i].metric,
                v->bound[i].percent, v->bound[i].met ? "met" : "MISSED", v->bound[i].error_percent);
    print_provenance(v, out);
}

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *figures_json(const struct figure *f, size_t n)
{
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(all,
                              json_pack("{s:s, s:o, s:o, s:o}", "metric", f[i].metric, "measured",
                                        number(f[i].measured), "simulated", number(f[i].simulated),
                                        "error_percent", number(f[i].error_percent)));
    return all;
}

static json_t *comparison_json(const struct comparison *c)
{
    json_t *all = figures_json(c->cell, c->n_cells), *rates = figures_json(c->rate, c->n_rates);
    json_t *worst = c->worst ? json_pack("{s:s, s:o}", "metric", c->worst->metric, "error_percent",
                                         number(c->worst->error_percent))
                             : json_null();
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "requests", (json_int_t)c->requests,
                     "measured_finished", (json_int_t)c->measured_finished, "simulated_finished",
                     (json_int_t)c->simulated_finished, "cells", all, "throughput", rates,
                     "mean_abs_percent", number(c->mean_abs_percent), "worst", worst);
}

json_t *validation_json(const struct validation *v)
{
    const struct run_job *j = v->job;
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)j->result.digest);
    json_t *bounds = json_array();
    for (size_t i = 0; i < v->n_bounds; i++) {
        const struct bound *b = &v->bound[i];
        json_array_append_new(bounds, json_pack("{s:s, s:f, s:o, s:b}", "metric", b->metric,
                                                "percent", b->percent, "error_percent",
                                                number(b->error_percent), "met", b->met));
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:b, s:s, s:s, s:s, s:o}",
                     "measured", v->path, "trace", config_str(&j->config, "trace"), "trace_format",
                     j->x.sim.trace.format, "unmeasured", (json_int_t)v->unmeasured, "all",
                     comparison_json(&v->all), "without_first", comparison_json(&v->without_first),
                     "summary", figures_json(v->summary, v->n_summary), "bounds", bounds, "passed",
                     validation_passed(v), "engine", j->x.replica[0].engine->name, "cost_model",
                     j->result.note.cost_model, "digest", digest, "config",
                     json_loads(j->config_text, 0, NULL));
}
