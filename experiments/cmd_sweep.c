/* cmd_sweep.c: `tandem sweep`: every point of an experiment into one database. */
#include "experiments/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "experiments/options.h"
#include "experiments/sweep.h"
#include "experiments/workers.h"

struct input {
    const char *path;
    struct sweep_options sweep;
    bool dry_run;
    struct err *e;
};

enum { OPT_SHARD = 256, OPT_DB, OPT_HAVE, OPT_FRESH, OPT_DRY_RUN, OPT_QUIET };

static const struct argp_option options[] = {
    {NULL, 'j', "N", 0, "Processes [as many as there are CPUs]", 1},
    {"shard", OPT_SHARD, "I/N", 0, "Only the I-th of N parts, from 1/N to N/N", 1},
    {"db", OPT_DB, "FILE", 0, "Database that gets the runs [tandem.db]", 1},
    {"have", OPT_HAVE, "FILE", 0, "Another database, whose points are not run either", 1},
    {"fresh", OPT_FRESH, NULL, 0, "Run finished points again", 1},
    {"dry-run", OPT_DRY_RUN, NULL, 0, "Check the file, say what would run, and run nothing", 1},
    {"quiet", OPT_QUIET, NULL, 0, "No progress and no summary", 1},
    {0},
};

/* Digits at *text, which moves past them; 0: there are none, or it is more than max. */
static uint32_t number(const char **text, uint32_t max)
{
    char *end;
    unsigned long n = **text >= '0' && **text <= '9' ? strtoul(*text, &end, 10) : 0;
    if (n == 0 || n > max)
        return 0;
    *text = end;
    return (uint32_t)n;
}

static error_t set_jobs(struct input *in, const char *arg)
{
    enum { MAX_JOBS = 4096 };
    const char *at = arg;
    in->sweep.jobs = number(&at, MAX_JOBS);
    if (in->sweep.jobs > 0 && *at == '\0')
        return 0;
    err_set(in->e, "sweep: -j %s: give a number of processes, from 1 to %d", arg, MAX_JOBS);
    return EINVAL;
}

static error_t set_shard(struct input *in, const char *arg)
{
    enum { MAX_SHARDS = 1000000 };
    const char *at = arg;
    uint32_t i = number(&at, MAX_SHARDS);
    bool slash = i > 0 && *at++ == '/';
    uint32_t n = slash ? number(&at, MAX_SHARDS) : 0;
    if (n < i || n == 0 || *at != '\0') {
        err_set(in->e, "sweep: --shard %s: give I/N, from 1/N to N/N", arg);
        return EINVAL;
    }
    in->sweep.shard = i - 1;
    in->sweep.shards = n;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case 'j':
        return set_jobs(in, arg);
    case OPT_SHARD:
        return set_shard(in, arg);
    case OPT_DB:
        in->sweep.db = arg;
        return 0;
    case OPT_HAVE:
        in->sweep.have = arg;
        return 0;
    case OPT_FRESH:
        in->sweep.fresh = true;
        return 0;
    case OPT_DRY_RUN:
        in->dry_run = true;
        return 0;
    case OPT_QUIET:
        in->sweep.quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (in->path)
            return ARGP_ERR_UNKNOWN;
        in->path = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "EXPERIMENT.json",
    .doc =
        "Runs every point of an experiment: the product of its axes, with every seed.\v"
        "A sweep that was interrupted, whatever by, goes on where it was: points whose run is in "
        "the database, of this program and these inputs, are not run again. Shards write a "
        "database each; `tandem merge` makes one of them.",
};

static bool print_plan(const struct experiment *x, const struct input *in, struct err *e)
{
    struct sweep_plan plan;
    bool ok = sweep_plan(&plan, x, &in->sweep, e);
    for (uint64_t i = 0; ok && i < plan.n; i++) {
        struct experiment_point p = experiment_point(x, plan.point[i]);
        printf("%s%sseed %" PRIu64 ", rep %" PRIu32 "\n", p.config->label,
               *p.config->label ? ", " : "", p.seed, p.rep);
    }
    if (ok)
        printf("%s: %" PRIu64 " points to run, %" PRIu64 " in %s%s%s already\n", x->name, plan.n,
               plan.kept, in->sweep.db, in->sweep.have ? " or " : "",
               in->sweep.have ? in->sweep.have : "");
    sweep_plan_release(&plan);
    return ok;
}

static void print_report(void *self, const char *line)
{
    (void)self;
    fprintf(stderr, "tandem: sweep: %s\n", line);
}

static bool sweep(const struct experiment *x, struct input *in, struct err *e)
{
    struct sweep_outcome out;
    in->sweep.report = print_report;
    if (!sweep_run(x, &in->sweep, &out, e))
        return false;
    if (!in->sweep.quiet)
        printf("%s: %" PRIu64 " points run, %" PRIu64 " were there, %" PRIu64 " failed: %s\n",
               x->name, out.run, out.kept, out.failed, in->sweep.db);
    return out.failed == 0 ||
           err_set(e,
                   "sweep: %" PRIu64 " of %" PRIu64 " points failed, the others are stored; mend "
                   "what the lines above say and run the sweep again",
                   out.failed, out.run + out.kept + out.failed);
}

int cmd_sweep(int argc, char **argv, struct err *e)
{
    struct input in = {
        .sweep = {.db = "tandem.db", .jobs = workers_cpus(), .shards = 1},
        .e = e,
    };
    struct experiment x = {0};
    bool ok = options_parse(&argp, "tandem sweep", argc, argv, &in, e) &&
              (in.path || err_set(e, "sweep: give an EXPERIMENT.json (`tandem sweep --help`)")) &&
              experiment_load(&x, in.path, e) &&
              (in.dry_run ? print_plan(&x, &in, e) : sweep(&x, &in, e));
    experiment_release(&x);
    return ok ? 0 : 2;
}
