/* cmd_capacity.c: `tandem capacity`: the highest rate of a trace at which its limits are met. */
#include "experiments/commands.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "experiments/capacity.h"
#include "experiments/options.h"
#include "experiments/run_job.h"

enum { MIN_WINDOW_S = 600 }; /* simulated time that scheduling.md section 6 asks for */

struct input {
    struct run_options run;
    double attainment, tolerance;
    struct err *e;
};

enum { OPT_ATTAINMENT = RUN_OPTION_END, OPT_TOLERANCE };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is searched:", -1},
    {"attainment", OPT_ATTAINMENT, "SHARE", 0,
     "Of the requests that are to be within their limits [0.9]", -1},
    {"tolerance", OPT_TOLERANCE, "SHARE", 0, "How exactly the rate is found [0.02]", -1},
    {0},
};

static error_t set_share(struct input *in, const char *name, const char *arg, double min,
                         double *out)
{
    return options_number("capacity", name, arg, min, 1, out, in->e) ? 0 : EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = in ? &in->run : NULL; /* no input: only help is wanted */
        return 0;
    case OPT_ATTAINMENT:
        return set_share(in, "attainment", arg, 0, &in->attainment);
    case OPT_TOLERANCE:
        return set_share(in, "tolerance", arg, 1e-4, &in->tolerance);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&run_options_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .children = children,
    .doc = "Finds the highest rate of requests at which the limits (key slo) are met.\v"
           "The trace's gaps are stretched or squeezed (trace.rate_scale); lengths and seed stay. "
           "The rate is doubled until the share of requests within their limits falls below "
           "--attainment, then bisected. Runs are stored only where --db says.",
};

/* ---- one rate ---- */

struct measuring {
    const struct input *in;
    ns_t from, to;     /* arrivals in between are measured */
    ns_t first, last;  /* of these arrivals */
    uint64_t arrivals; /* how many */
    unsigned n_gpus;
    bool slo_default;
};

static void see_request(void *self, const struct request_row *r)
{
    struct measuring *m = self;
    if (r->arrived_at < m->from || r->arrived_at >= m->to)
        return;
    m->first = m->arrivals ? MIN(m->first, r->arrived_at) : r->arrived_at;
    m->last = m->arrivals ? MAX(m->last, r->arrived_at) : r->arrived_at;
    m->arrivals++;
}

static bool configure(struct config *c, const struct input *in, double scale, struct err *e)
{
    char text[32];
    if (!run_options_apply(&in->run, c, e))
        return false;
    if (config_num(c, "concurrency") > 0)
        return err_set(e, "concurrency: a closed loop has no rate to search; leave it out");
    snprintf(text, sizeof text, "%.17g", scale);
    if (!config_set(c, "trace.rate_scale", text, e))
        return false;
    config_resolve(c);
    return true;
}

static bool read_result(const struct measuring *m, const struct run_job *j,
                        struct capacity_probe *p, struct err *e)
{
    const json_t *attainment = json_object_get(j->tee.summary, "slo_attainment");
    double s = (double)(m->last - m->first) / (double)NS_PER_S;
    if (m->arrivals < 2 || !(s > 0) || !json_is_number(attainment))
        return err_set(e,
                       "capacity: %llu requests arrive in the window, over %g s: no rate to "
                       "measure; give a longer trace",
                       (unsigned long long)m->arrivals, s);
    p->rate_rps = (double)(m->arrivals - 1) / s;
    p->window_s = json_number_value(json_object_get(j->tee.summary, "duration_s"));
    p->attainment = json_number_value(attainment);
    return true;
}

static bool measure(void *self, struct capacity_probe *p, struct err *e)
{
    struct measuring *m = self;
    struct run_job j;
    run_job_init(&j);
    bool ok = configure(&j.config, m->in, p->scale, e) && run_job_compose(&j, NULL, e);
    if (ok) {
        m->from = j.x.sim.metrics.warmup_ns;
        m->to = j.x.sim.metrics.horizon_ns;
        m->arrivals = 0;
        m->n_gpus = 0;
        m->slo_default = j.x.slo_default;
        for (uint32_t i = 0; i < j.x.sim.n_replicas; i++)
            m->n_gpus += j.x.replica[i].backend_env.tensor_parallel_size;
        j.on_request = see_request;
        j.on_request_self = m;
        ok = run_job_run(&j, m->in->run.db, &m->in->run, e) && read_result(m, &j, p, e);
    }
    run_job_release(&j);
    return ok;
}

/* ---- what is printed ---- */

static void print_json(const struct capacity *c, const struct measuring *m)
{
    const struct capacity_probe *b = &c->best, *f = &c->failed;
    json_t *all = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:s}", "capacity_rps", b->rate_rps,
        "capacity_rps_per_gpu", b->rate_rps / m->n_gpus, "rate_scale", b->scale, "attainment",
        b->attainment, "window_s", b->window_s, "failed_rps", f->rate_rps, "failed_attainment",
        f->attainment, "required_attainment", m->in->attainment, "gpus", (int)m->n_gpus, "runs",
        (int)c->probes, "slo_source", m->slo_default ? "default" : "config");
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(all);
}

static void print_people(const struct capacity *c, const struct measuring *m)
{
    const struct capacity_probe *b = &c->best, *f = &c->failed;
    printf("capacity_rps  %.6g\n", b->rate_rps);
    if (b->scale > 0)
        printf("  per GPU     %.6g, of %u\n"
               "  rate_scale  %.6g: %.2f %% of requests within their limits, %.2f %% asked for\n",
               b->rate_rps / m->n_gpus, m->n_gpus, b->scale, 100 * b->attainment,
               100 * m->in->attainment);
    else
        puts("  at no rate: the limits are out of reach of a request on its own");
    printf("  failed at   %.6g requests/s: %.2f %%\n  runs        %u, the last window %.0f s%s\n",
           f->rate_rps, 100 * f->attainment, c->probes, b->window_s,
           b->scale > 0 && b->window_s < MIN_WINDOW_S ? ": short; 600 s say more" : "");
    if (m->slo_default)
        puts("  limits      the defaults: TTFT 2000 ms, TPOT 100 ms; set yours with the key slo");
}

static bool search(struct input *in, int argc, char **argv, struct err *e)
{
    if (!options_parse(&argp, "tandem capacity", argc, argv, in, e))
        return false;
    struct config c;
    config_init(&c);
    bool ok = run_options_apply(&in->run, &c, e);
    double scale = ok ? config_num(&c, "trace.rate_scale") : 0;
    config_release(&c);
    struct measuring m = {.in = in};
    const struct capacity_search s = {in->attainment, in->tolerance, measure, &m};
    struct capacity found;
    if (!ok || !capacity_find(&s, scale, &found, e))
        return false;
    if (in->run.json)
        print_json(&found, &m);
    else
        print_people(&found, &m);
    return true;
}

int cmd_capacity(int argc, char **argv, struct err *e)
{
    struct input in = {.run.e = e, .attainment = 0.9, .tolerance = 0.02, .e = e};
    bool ok = search(&in, argc, argv, e);
    run_options_release(&in.run);
    return ok ? 0 : 2;
}
