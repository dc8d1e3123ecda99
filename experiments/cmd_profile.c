/* cmd_profile.c: `tandem profile --model ID --out DIR`: measures whole steps of a real engine over
 * the batches that matter, and fits the cost model of backend `fitted` to them. */
#include "experiments/commands.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/fitted_model.h"
#include "experiments/compose.h"
#include "experiments/options.h"
#include "experiments/profile_file.h"
#include "experiments/progress.h"

struct input {
    struct config config;
    const char *out, *note;
    uint32_t batches; /* 0: as many as the profiler draws by itself */
    bool quiet;
    struct err *e;
};

enum { OPT_MODEL = 256, OPT_OUT, OPT_BACKEND, OPT_GPU, OPT_SET, OPT_BATCHES, OPT_NOTE, OPT_QUIET };

static const struct argp_option options[] = {
    {"model", OPT_MODEL, "ID|FILE", 0, "Model [llama-3.1-8b]", 0},
    {"out", OPT_OUT, "DIR", 0, "The folder that is made, for `run --profile DIR`", 0},
    {"backend", OPT_BACKEND, "cuda|cpu", 0, "The engine that is measured [cuda]", 0},
    {"gpu", OPT_GPU, "ID|FILE", 0, "The GPU it runs on: how much memory KV has [h200]", 0},
    {"set", OPT_SET, "KEY=VALUE", 0,
     "A key of the engine, such as max_num_seqs (tandem list keys): as the runs will have it", 0},
    {"batches", OPT_BATCHES, "N", 0, "Batches of each kind that are drawn by chance [80]", 0},
    {"note", OPT_NOTE, "TEXT", 0, "Kept in the profile: clocks, who, why", 0},
    {"quiet", OPT_QUIET, NULL, 0, "No progress", 0},
    {0},
};

static error_t set_pair(struct input *in, const char *arg)
{
    char key[CONFIG_NAME_MAX];
    const char *equals = strchr(arg, '=');
    if (!equals || equals == arg || equals - arg >= (ptrdiff_t)sizeof key) {
        err_set(in->e, "profile: --set %s: give KEY=VALUE", arg);
        return EINVAL;
    }
    snprintf(key, sizeof key, "%.*s", (int)(equals - arg), arg);
    return config_set(&in->config, key, equals + 1, in->e) ? 0 : EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    double v = 0;
    bool ok = true;
    switch (key) {
    case OPT_MODEL:
        ok = config_set(&in->config, "model", arg, in->e);
        break;
    case OPT_OUT:
        in->out = arg;
        break;
    case OPT_BACKEND:
        ok = config_set(&in->config, "backend", arg, in->e);
        break;
    case OPT_GPU:
        ok = config_set(&in->config, "gpu", arg, in->e);
        break;
    case OPT_SET:
        return set_pair(in, arg);
    case OPT_BATCHES:
        ok = options_number("profile", "batches", arg, 1, 100000, &v, in->e);
        in->batches = (uint32_t)v;
        break;
    case OPT_NOTE:
        in->note = arg;
        break;
    case OPT_QUIET:
        in->quiet = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return ok ? 0 : EINVAL;
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc = "Measures a real engine for simulations of it.\v"
           "DIR gets " PROFILE_JSON " (what was measured on what), " PROFILE_STEPS " (a step a "
           "line; `tandem calibrate DIR` fits it again) and " FITTED_IN_FOLDER ", the fit.",
};

/* ---- what is measured ---- */

#define CPU_BLOCKS "512" /* as many as a small model fills in seconds */
#define HOST_GB "2"      /* a swap tier that is large enough to see its bandwidth */

/* Steps of a GPU whose process has swapped to pinned host memory take 3 % longer (H200): unless
 * such memory is asked for, they are measured without, as in runs without a swap tier. */

/* The engine as a run would have it; the trace is never read. */
static bool configure(struct config *c, bool *swaps_apart, struct err *e)
{
    if (!config_is_set(c, "backend") && !config_set(c, "backend", "cuda", e))
        return false;
    *swaps_apart = !config_is_set(c, "host_memory_gb");
    if (*swaps_apart && !config_set(c, "host_memory_gb", HOST_GB, e))
        return false;
    const char *backend = json_string_value(json_object_get(c->flat, "backend"));
    if (strcmp(backend, "cpu") != 0 && strcmp(backend, "cuda") != 0)
        return err_set(e, "profile: backend %s measures nothing; use cuda or cpu", backend);
    if (strcmp(backend, "cpu") == 0 && !config_is_set(c, "num_gpu_blocks") &&
        !config_set(c, "num_gpu_blocks", CPU_BLOCKS, e))
        return false;
    if (!config_set(c, "trace", "generate:poisson,n=1,rate=1", e))
        return false;
    config_resolve(c);
    return true;
}

struct work {
    struct composed x;
    struct arena arena;
    struct profile_about about;
    struct profiler profiler;
    FILE *steps;
    struct progress progress;
    struct profile_swaps swaps;
    uint64_t total; /* points that there will be */
    bool quiet, swaps_apart;
};

static bool on_point(void *self, const struct profile_point *p, struct err *e)
{
    struct work *w = self;
    if (!w->quiet)
        progress_show_work(&w->progress, "batches", w->profiler.points, 0, w->total);
    return profile_steps_put(w->steps, p, e);
}

static bool describe(struct profile_about *a, const struct work *w, const struct backend_note *note,
                     const struct input *in, struct err *e)
{
    const struct replica_config *r = &w->x.replica[0];
    int model = snprintf(a->model, sizeof a->model, "%s", r->backend_env.model->id);
    int gpu = snprintf(a->gpu, sizeof a->gpu, "%s", r->backend_env.gpu->id);
    int n = snprintf(a->note, sizeof a->note, "%s", in->note ? in->note : "");
    snprintf(a->backend, sizeof a->backend, "%s", r->backend->name);
    snprintf(a->dtype, sizeof a->dtype, "%s", config_str(&in->config, "dtype"));
    snprintf(a->engine, sizeof a->engine, "%s", r->engine->name);
    snprintf(a->device, sizeof a->device, "%s", note->cost_model);
    return (model < (int)sizeof a->model && gpu < (int)sizeof a->gpu && n < (int)sizeof a->note) ||
           err_set(e, "profile: a name or the note is too long; shorten it");
}

/* `backend` NULL: only counts. */
static void begin(struct work *w, void *backend, const struct limits *l, const struct input *in)
{
    const struct replica_config *r = &w->x.replica[0];
    profiler_init(&w->profiler, r->backend, backend, l, r->backend_env.seed);
    w->profiler.on_point = on_point;
    w->profiler.on_point_self = w;
    if (in->batches)
        w->profiler.random_batches = in->batches;
}

/* Draws the same batches as the measurement will. */
static bool count(struct work *w, const struct limits *l, const struct input *in, struct err *e)
{
    begin(w, NULL, l, in);
    bool ok = profiler_steps(&w->profiler, e);
    w->total = w->profiler.points;
    profiler_release(&w->profiler);
    return ok;
}

static bool measure_steps(struct work *w, const struct input *in, struct err *e)
{
    if (!profile_about_write(&w->about, &w->profiler.limits, &w->swaps, in->out, e))
        return false;
    w->steps = profile_steps_open(&w->about, in->out, e);
    if (!w->steps)
        return false;
    progress_begin(&w->progress);
    bool ok = profiler_steps(&w->profiler, e);
    progress_end(&w->progress);
    return (fclose(w->steps) == 0 || err_set(e, PROFILE_STEPS ": %s", strerror(errno))) && ok;
}

/* Prints how well the fit does. */
static bool fit(const struct input *in, struct err *e)
{
    char path[PROFILE_PATH_MAX], *argv[] = {(char[]){"calibrate"}, NULL, (char[]){"--out"}, path};
    char *dir = mem_strdup(in->out);
    argv[1] = dir;
    bool ok = profile_path(path, in->out, FITTED_IN_FOLDER, e) &&
              cmd_calibrate((int)ARRAY_LEN(argv), argv, e) == 0;
    mem_free(dir);
    return ok;
}

/* Opens the engine with these limits and measures swaps, steps or both. */
static bool open_and_measure(struct work *w, const struct limits *l, bool swaps, bool steps,
                             const struct input *in, struct err *e)
{
    const struct replica_config *r = &w->x.replica[0];
    struct backend_env env = r->backend_env;
    struct backend_note note = {.error = 0};
    env.limits = l;
    void *backend = r->backend->open(&w->arena, &env, &note, e);
    if (!backend)
        return false;
    begin(w, backend, l, in);
    bool ok = describe(&w->about, w, &note, in, e) &&
              (!swaps || profiler_swaps(&w->profiler, &w->swaps, e)) &&
              (!steps || measure_steps(w, in, e));
    profiler_release(&w->profiler);
    r->backend->close(backend);
    return ok;
}

static bool measure(struct work *w, const struct input *in, struct err *e)
{
    const struct limits all = w->x.replica[0].limits;
    struct limits bare = all;
    bare.host_blocks = 0;
    if (!w->swaps_apart)
        return count(w, &all, in, e) && open_and_measure(w, &all, true, true, in, e);
    return count(w, &bare, in, e) && open_and_measure(w, &all, true, false, in, e) &&
           open_and_measure(w, &bare, false, true, in, e);
}

static bool profile(struct input *in, struct err *e)
{
    struct work w = {.quiet = in->quiet};
    if (!in->out)
        return err_set(e, "profile: give --out DIR (`tandem profile --help`)");
    if (mkdir(in->out, 0777) != 0 && errno != EEXIST)
        return err_set(e, "profile: %s: %s", in->out, strerror(errno));
    arena_init(&w.arena);
    bool ok = configure(&in->config, &w.swaps_apart, e) && compose(&w.x, &in->config, e) &&
              measure(&w, in, e);
    compose_release(&w.x);
    arena_release(&w.arena);
    return ok && fit(in, e);
}

int cmd_profile(int argc, char **argv, struct err *e)
{
    struct input in = {.e = e};
    config_init(&in.config);
    bool ok = options_parse(&argp, "tandem profile", argc, argv, &in, e) && profile(&in, e);
    config_release(&in.config);
    return ok ? 0 : 2;
}
