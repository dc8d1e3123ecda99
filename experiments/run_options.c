#include "experiments/run_options.h"

#include <errno.h>
#include <string.h>

#include "experiments/profile_defaults.h"

/* In the order in which they are applied. */
enum setting_kind { FROM_FILE, FROM_OPTION, FROM_SET, N_SETTING_KINDS };

struct run_setting {
    enum setting_kind kind;
    char *key; /* owned; of a file: "" */
    const char *value;
};

/* Beyond characters, which would be short options. The first ones set a key. */
enum run_option {
    OPT_TRACE = RUN_OPTION_FIRST,
    OPT_TRACE_FORMAT,
    OPT_MAP,
    OPT_MODEL,
    OPT_GPU,
    OPT_BACKEND,
    OPT_PROFILE,
    OPT_REPLICAS,
    OPT_SCHEDULER,
    OPT_ROUTER,
    OPT_KV,
    OPT_PREFIX,
    OPT_PREDICTOR,
    OPT_CONCURRENCY,
    OPT_CLOCK,
    OPT_SEED,
    OPT_REP,
    OPT_CONFIG,
    OPT_SET,
    OPT_DB,
    OPT_NO_REQUESTS,
    OPT_STEPS,
    OPT_JSON,
    OPT_QUIET,
};

static const char *const key_of_option[] = {
    "trace",     "trace_format", "trace.map", "model",  "gpu", "backend",
    "profile",   "replicas",     "scheduler", "router", "kv",  "prefix",
    "predictor", "concurrency",  "clock",     "seed",   "rep",
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is replayed:", 1},
    {"trace", OPT_TRACE, "FILE|SPEC", 0, "The trace, plain or gzip, or what to make up", 1},
    {"trace-format", OPT_TRACE_FORMAT, "ID", 0, "Its format [detected]", 1},
    {"map", OPT_MAP, "OURS=THEIRS,...", 0,
     "Columns of somebody else's CSV: arrival_s=ts,prompt_tokens=in", 1},
    {NULL, 0, NULL, 0, "On what:", 2},
    {"model", OPT_MODEL, "ID|FILE", 0, "Model [llama-3.1-8b]", 2},
    {"gpu", OPT_GPU, "ID|FILE", 0, "GPU [h200]", 2},
    {"backend", OPT_BACKEND, "ID", 0,
     "What says how long a step takes [roofline; with --profile what reads it]", 2},
    {"profile", OPT_PROFILE, "PATH", 0,
     "Measured operators, a folder, or a file of `calibrate`; model and GPU are those it names", 2},
    {"replicas", OPT_REPLICAS, "N", 0, "How many [1]", 2},
    {NULL, 0, NULL, 0, "With which policies (tandem list):", 3},
    {"scheduler", OPT_SCHEDULER, "ID", 0, "Which requests run in a step [fcfs]", 3},
    {"router", OPT_ROUTER, "ID", 0, "Which replica gets a request [round_robin]", 3},
    {"kv", OPT_KV, "ID", 0, "KV-cache policy inside a sequence [full]", 3},
    {"prefix", OPT_PREFIX, "ID", 0, "Which cached prefix goes next [lru]", 3},
    {"predictor", OPT_PREDICTOR, "ID", 0, "Predictor of output lengths [none]", 3},
    {NULL, 0, NULL, 0, "How:", 4},
    {"concurrency", OPT_CONCURRENCY, "C", 0, "Keep C requests in flight [as the trace says]", 4},
    {"clock", OPT_CLOCK, "virtual|paced", 0, "Jump to the next event, or wait [virtual]", 4},
    {"seed", OPT_SEED, "N", 0, "Of every random stream [1]", 4},
    {"rep", OPT_REP, "N", 0, "Number of a repetition [0]", 4},
    {"config", OPT_CONFIG, "FILE", 0, "Keys from a JSON file; options win over it", 4},
    {"set", OPT_SET, "KEY=VALUE", 0,
     "One key (tandem list keys), VALUE as JSON or a string; wins over all else", 4},
    {NULL, 0, NULL, 0, "What becomes of the results:", 5},
    {"db", OPT_DB, "FILE", 0, "Database that gets the simulated run", 5},
    {"no-requests", OPT_NO_REQUESTS, NULL, 0, "Store no row per request", 5},
    {"steps", OPT_STEPS, NULL, 0, "Store every step and transfer", 5},
    {"json", OPT_JSON, NULL, 0, "Print the outcome as JSON", 5},
    {"quiet", OPT_QUIET, NULL, 0, "No progress and no table", 5},
    {0},
};

static void add_setting(struct run_options *o, enum setting_kind kind, char *key, const char *value)
{
    o->setting = mem_reserve(o->setting, &o->cap, o->n + 1, sizeof *o->setting);
    o->setting[o->n++] = (struct run_setting){kind, key, value};
}

static error_t add_set(struct run_options *o, const char *arg)
{
    const char *equals = strchr(arg, '=');
    if (!equals || equals == arg) {
        err_set(o->e, "--set %s: give KEY=VALUE", arg);
        return EINVAL;
    }
    char *key = mem_strdup(arg);
    key[equals - arg] = '\0';
    add_setting(o, FROM_SET, key, equals + 1);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct run_options *o = state->input;
    if (key >= OPT_TRACE && key <= OPT_REP) {
        add_setting(o, FROM_OPTION, mem_strdup(key_of_option[key - OPT_TRACE]), arg);
        return 0;
    }
    switch (key) {
    case OPT_CONFIG:
        add_setting(o, FROM_FILE, mem_strdup(""), arg);
        return 0;
    case OPT_SET:
        return add_set(o, arg);
    case OPT_DB:
        o->db = arg;
        return 0;
    case OPT_NO_REQUESTS:
        o->no_requests = true;
        return 0;
    case OPT_STEPS:
        o->steps = true;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp run_options_argp = {.options = options, .parser = parse};

bool run_options_set(const struct run_options *o, struct config *c, struct err *e)
{
    for (enum setting_kind kind = 0; kind < N_SETTING_KINDS; kind++)
        for (size_t i = 0; i < o->n; i++) {
            const struct run_setting *s = &o->setting[i];
            if (s->kind == kind && !(kind == FROM_FILE ? config_load(c, s->value, e)
                                                       : config_set(c, s->key, s->value, e)))
                return false;
        }
    return true;
}

bool run_options_apply(const struct run_options *o, struct config *c, struct err *e)
{
    if (!run_options_set(o, c, e) || !profile_defaults(c, e))
        return false;
    config_resolve(c);
    return true;
}

void run_options_release(struct run_options *o)
{
    for (size_t i = 0; i < o->n; i++)
        mem_free(o->setting[i].key);
    mem_free(o->setting);
    *o = (struct run_options){.n = 0};
}
