/* cmd_calibrate.c: `tandem calibrate SOURCE --out FILE`: fits the cost model of backend `fitted` to
 * measured steps, judges it on steps it was not fitted to, and prints how far off it is. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/calibrate.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "experiments/profile_file.h"
#include "experiments/profile_steps.h"
#include "experiments/sha256.h"
#include "experiments/steps_file.h"

struct input {
    const char *source, *out, *model, *gpu;
    int64_t run;
    double hold_out;
    uint64_t seed;
    uint32_t tp;
    bool hold_out_given;
    struct err *e;
};

enum { OPT_OUT = 256, OPT_RUN, OPT_HOLD_OUT, OPT_SEED, OPT_MODEL, OPT_GPU, OPT_TP };

static const struct argp_option options[] = {
    {"out", OPT_OUT, "FILE", 0, "The fit, for `tandem run --backend fitted --profile FILE`", 0},
    {"run", OPT_RUN, "ID", 0, "Which run of a database [the only one with steps]", 0},
    {"hold-out", OPT_HOLD_OUT, "SHARE", 0,
     "Share of the runs (of the steps, where there are few runs) to judge the fit by [0.2]", 0},
    {"seed", OPT_SEED, "N", 0, "Of the draw of what is held out [1]", 0},
    {"model", OPT_MODEL, "ID", 0, "What was measured; a CSV does not say [llama-3.1-8b]", 0},
    {"gpu", OPT_GPU, "ID", 0, "On what; a CSV does not say [h200]", 0},
    {"tensor-parallel-size", OPT_TP, "N", 0, "On how many of them [1]", 0},
    {0},
};

/* ---- options ---- */

static bool read_number(struct input *in, const char *name, const char *arg, double min, double max,
                        double *out)
{
    return options_number("calibrate", name, arg, min, max, out, in->e);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    double v = 0;
    bool ok = true;
    switch (key) {
    case OPT_OUT:
        in->out = arg;
        break;
    case OPT_RUN:
        ok = read_number(in, "run", arg, 1, 0x1p53, &v);
        in->run = (int64_t)v;
        break;
    case OPT_HOLD_OUT:
        ok = read_number(in, "hold-out", arg, 0.01, 0.9, &in->hold_out);
        in->hold_out_given = true;
        break;
    case OPT_SEED:
        ok = read_number(in, "seed", arg, 0, 0x1p53, &v);
        in->seed = (uint64_t)v;
        break;
    case OPT_TP:
        ok = read_number(in, "tensor-parallel-size", arg, 1, 64, &v);
        in->tp = (uint32_t)v;
        break;
    case OPT_MODEL:
        in->model = arg;
        break;
    case OPT_GPU:
        in->gpu = arg;
        break;
    case ARGP_KEY_ARG:
        if (in->source)
            return ARGP_ERR_UNKNOWN;
        in->source = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return ok ? 0 : EINVAL;
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "SOURCE",
    .doc = "Fits a cost model to measured steps.\v"
           "SOURCE is a database with steps (`tandem run --steps`), the folder of a profile (ours "
           "or of operators), or a "
           "CSV, plain or gzip, one step a line, with the columns " STEPS_CSV_COLUMNS ".",
};

/* ---- what is fitted ---- */

struct material {
    struct steps_file steps;
    struct profile_steps profile; /* of a folder of operators: these, too */
    bool is_profile;
    char path[PROFILE_PATH_MAX]; /* what the steps come from */
    char engine[32];             /* whose steps they are; "": it does not say */
};

/* Steps that `tandem profile` measured. */
static bool read_measured(struct material *m, const struct input *in, struct err *e)
{
    struct profile_about about;
    if (!profile_about_read(&about, in->source, e) ||
        !profile_path(m->path, in->source, PROFILE_STEPS, e) ||
        !steps_read_csv(&m->steps, m->path, e))
        return false;
    m->is_profile = false;
    snprintf(m->engine, sizeof m->engine, "%s", about.engine);
    snprintf(m->steps.model, sizeof m->steps.model, "%s", about.model);
    snprintf(m->steps.gpu, sizeof m->steps.gpu, "%s", about.gpu);
    return true;
}

static bool read_source(struct material *m, struct input *in, struct err *e)
{
    struct stat st;
    if (stat(in->source, &st) != 0)
        return err_set(e, "calibrate: %s: %s", in->source, strerror(errno));
    m->is_profile = S_ISDIR(st.st_mode);
    if (in->run && !steps_is_db(in->source))
        return err_set(e, "calibrate: --run is for a database, which %s is not", in->source);
    if (m->is_profile && profile_is_ours(in->source))
        return read_measured(m, in, e);
    if (!profile_path(m->path, in->source, NULL, e))
        return false;
    if (m->is_profile)
        return profile_steps_read(
            &m->profile, &m->steps,
            &(struct profile_query){in->source, in->model, in->gpu, in->tp, in->hold_out, in->seed},
            e);
    return steps_is_db(in->source) ? steps_read_db(&m->steps, in->source, in->run, e)
                                   : steps_read_csv(&m->steps, in->source, e);
}

/* What the options say (a profile has looked at them already), else what the source says, else the
 * defaults of `run`. */
static bool name_machine(struct fitted_model *f, const struct material *m, const struct input *in,
                         struct err *e)
{
    const char *model = m->steps.model, *gpu = m->steps.gpu;
    if (!*model || (in->model && !m->is_profile))
        model = in->model ? in->model : "llama-3.1-8b";
    if (!*gpu || (in->gpu && !m->is_profile))
        gpu = in->gpu ? in->gpu : "h200";
    f->tensor_parallel_size = in->tp;
    snprintf(f->engine, sizeof f->engine, "%s", m->engine);
    int a = snprintf(f->model, sizeof f->model, "%s", model);
    int b = snprintf(f->gpu, sizeof f->gpu, "%s", gpu);
    return (a < (int)sizeof f->model && b < (int)sizeof f->gpu) ||
           err_set(e, "calibrate: the names of model and GPU have at most %zu characters",
                   sizeof f->model - 1);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static bool name_source(struct fitted_model *f, const struct material *m, struct err *e)
{
    struct fitted_source *s = &f->source[f->n_sources++];
    snprintf(s->file, sizeof s->file, "%.*s", (int)sizeof s->file - 1, base_name(m->path));
    snprintf(s->note, sizeof s->note, "%s", m->steps.note);
    return m->is_profile ? sha256_path(m->path, s->sha256, e) : sha256_file(m->path, s->sha256, e);
}

/* ---- what is printed ---- */

static void print_error(const char *name, const struct fit_error *f)
{
    if (f->n == 0)
        printf("  %-18s %8s\n", name, "none");
    else
        printf("  %-18s %8llu %8.2f %8.2f %+8.2f\n", name, (unsigned long long)f->n, f->mean * 100,
               f->p90 * 100, f->bias * 100);
}

static void print_head(const char *what)
{
    printf("%-20s %8s %8s %8s %8s   (%% of measured)\n", what, "held out", "mean", "p90", "bias");
}

static void print_operators(const struct profile_steps *p)
{
    print_head("operator");
    for (size_t i = 0; i < p->n_operators; i++)
        print_error(p->operator[i].name, &p->operator[i].error);
}

static void print_model(const struct fitted_model *f)
{
    print_head("whole steps");
    for (enum regime r = 0; r < N_REGIMES; r++)
        print_error(regime_name(r), &f->held_out[r]);
    print_error("all", &f->held_out_all);
    printf("\n%-18s %12s %12s  %14s\n", "term", "from", "to", "ns");
    for (size_t i = 0; i < f->n_terms; i++) {
        const struct basis_term *t = &f->term[i].basis;
        const struct basis_doc *d = basis_doc(t->kind);
        char from[32] = "", to[32] = "";
        if (d->has_from)
            snprintf(from, sizeof from, "%.0f", t->from);
        if (d->has_to && isfinite(t->to))
            snprintf(to, sizeof to, "%.0f", t->to);
        printf("%-18s %12s %12s  %14g a %s\n", d->name, from, to, f->term[i].ns, d->unit);
    }
    printf("\n%s held out\n", f->held_out_how);
}

static bool calibrate(struct material *m, struct input *in, struct err *e)
{
    struct fitted_model f;
    const char *how = "those the file says";
    if (!in->source || !in->out)
        return err_set(e, "calibrate: give SOURCE and --out FILE (`tandem calibrate --help`)");
    if (!read_source(m, in, e))
        return false;
    struct steps_file *s = &m->steps;
    if (s->says_held_out && in->hold_out_given)
        return err_set(e,
                       "calibrate: %s says by its column held_out which steps are held out; "
                       "leave --hold-out out",
                       in->source);
    if (!s->says_held_out)
        how = calibrate_hold_out(s->step, s->n, in->hold_out, in->seed);
    if (!calibrate_fit(&f, s->step, s->n, e) || !name_machine(&f, m, in, e) ||
        !name_source(&f, m, e))
        return false;
    snprintf(f.held_out_how, sizeof f.held_out_how, "%s", how);
    if (!fitted_save(&f, in->out, e))
        return false;
    if (m->is_profile)
        print_operators(&m->profile);
    print_model(&f);
    return true;
}

int cmd_calibrate(int argc, char **argv, struct err *e)
{
    struct input in = {.hold_out = 0.2, .seed = 1, .tp = 1, .e = e};
    struct material m = {.is_profile = false};
    bool ok = options_parse(&argp, "tandem calibrate", argc, argv, &in, e) && calibrate(&m, &in, e);
    steps_release(&m.steps);
    return ok ? 0 : 2;
}
