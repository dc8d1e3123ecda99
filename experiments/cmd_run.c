/* cmd_run.c: `tandem run`: one configuration on one trace, into the database. */
#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "experiments/commands.h"
#include "experiments/compose.h"
#include "experiments/db.h"
#include "experiments/options.h"
#include "experiments/progress.h"
#include "experiments/report.h"
#include "experiments/sink_sqlite.h"
#include "experiments/tee.h"
#include "experiments/version.h"

/* ---- options ---- */

/* In the order in which they are applied: what comes later wins. */
enum setting_kind { FROM_FILE, FROM_OPTION, FROM_SET, N_SETTING_KINDS };

struct setting {
    enum setting_kind kind;
    char *key; /* owned; of a file: "" */
    const char *value;
};

struct input {
    struct setting *setting; /* in the order of the command line */
    size_t n, cap;
    const char *db;
    bool no_requests, steps, json, quiet;
    struct err *e;
};

/* Beyond characters, which would be short options. The first ones set a key. */
enum run_option {
    OPT_TRACE = 256,
    OPT_TRACE_FORMAT,
    OPT_MAP,
    OPT_MODEL,
    OPT_GPU,
    OPT_BACKEND,
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
    OPT_PROFILE,
    OPT_REPLAY,
    OPT_RUN,
};

static const char *const key_of_option[] = {
    "trace",       "trace_format", "trace.map", "model", "gpu",    "backend",
    "replicas",    "scheduler",    "router",    "kv",    "prefix", "predictor",
    "concurrency", "clock",        "seed",      "rep",
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is replayed:", 1},
    {"trace", OPT_TRACE, "FILE", 0, "The trace, plain or gzip", 1},
    {"trace-format", OPT_TRACE_FORMAT, "ID", 0, "Its format [detected]", 1},
    {"map", OPT_MAP, "OURS=THEIRS,...", 0,
     "Columns of somebody else's CSV: arrival_s=ts,prompt_tokens=in", 1},
    {NULL, 0, NULL, 0, "On what:", 2},
    {"model", OPT_MODEL, "ID|FILE", 0, "Model [llama-3.1-8b]", 2},
    {"gpu", OPT_GPU, "ID|FILE", 0, "GPU [h200]", 2},
    {"backend", OPT_BACKEND, "ID", 0, "What says how long a step takes [roofline]", 2},
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
    {"db", OPT_DB, "FILE", 0, "Database that gets the run [tandem.db]", 5},
    {"no-requests", OPT_NO_REQUESTS, NULL, 0, "Store no row per request", 5},
    {"steps", OPT_STEPS, NULL, 0, "Store every step and transfer", 5},
    {"json", OPT_JSON, NULL, 0, "Print the outcome as JSON", 5},
    {"quiet", OPT_QUIET, NULL, 0, "No progress and no table", 5},
    {"profile", OPT_PROFILE, "PATH", OPTION_HIDDEN, NULL, 0},
    {"replay", OPT_REPLAY, "DB", OPTION_HIDDEN, NULL, 0},
    {"run", OPT_RUN, "ID", OPTION_HIDDEN, NULL, 0},
    {0},
};

static void add_setting(struct input *in, enum setting_kind kind, char *key, const char *value)
{
    in->setting = mem_reserve(in->setting, &in->cap, in->n + 1, sizeof *in->setting);
    in->setting[in->n++] = (struct setting){kind, key, value};
}

static error_t add_set(struct input *in, const char *arg)
{
    const char *equals = strchr(arg, '=');
    if (!equals || equals == arg) {
        err_set(in->e, "run: --set %s: give KEY=VALUE", arg);
        return EINVAL;
    }
    char *key = mem_strdup(arg);
    key[equals - arg] = '\0';
    add_setting(in, FROM_SET, key, equals + 1);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    if (key >= OPT_TRACE && key <= OPT_REP) {
        add_setting(in, FROM_OPTION, mem_strdup(key_of_option[key - OPT_TRACE]), arg);
        return 0;
    }
    switch (key) {
    case OPT_CONFIG:
        add_setting(in, FROM_FILE, mem_strdup(""), arg);
        return 0;
    case OPT_SET:
        return add_set(in, arg);
    case OPT_DB:
        in->db = arg;
        return 0;
    case OPT_NO_REQUESTS:
        in->no_requests = true;
        return 0;
    case OPT_STEPS:
        in->steps = true;
        return 0;
    case OPT_JSON:
        in->json = true;
        return 0;
    case OPT_QUIET:
        in->quiet = true;
        return 0;
    case OPT_PROFILE:
    case OPT_REPLAY:
    case OPT_RUN:
        err_set(in->e, "run: this version has not got --profile, --replay and --run; `tandem list "
                       "backends` shows where step times can come from");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc = "Simulates one configuration on one trace and stores the results.\v"
           "A run with the same configuration, seed and rep replaces the stored one.",
};

static bool read_settings(struct config *c, const struct input *in, struct err *e)
{
    for (enum setting_kind kind = 0; kind < N_SETTING_KINDS; kind++)
        for (size_t i = 0; i < in->n; i++) {
            const struct setting *s = &in->setting[i];
            if (s->kind == kind && !(kind == FROM_FILE ? config_load(c, s->value, e)
                                                       : config_set(c, s->key, s->value, e)))
                return false;
        }
    config_resolve(c);
    return true;
}

static void release_settings(struct input *in)
{
    for (size_t i = 0; i < in->n; i++)
        mem_free(in->setting[i].key);
    mem_free(in->setting);
}

/* ---- the run ---- */

struct job {
    const struct input *in;
    struct config config;
    struct composed x;
    char config_hash[SHA256_HEX];
    char *config_text;   /* canonical; free */
    char *models, *gpus; /* of the replicas, each once, comma-separated; free */
    struct utsname host;

    struct tee tee;
    struct sim_result result;
    double wall_s;
    int64_t run_id;
    bool replaced;
};

/* The ids of what the replicas are, each once. */
static char *join_ids(const struct composed *x, const char *(*id_of)(const struct replica_config *))
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    CHECK(f, "run: memory for a text", "%u replicas", x->sim.n_replicas);
    for (uint32_t i = 0; i < x->sim.n_replicas; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i && !seen; j++)
            seen = strcmp(id_of(&x->replica[j]), id_of(&x->replica[i])) == 0;
        if (!seen)
            fprintf(f, "%s%s", i ? "," : "", id_of(&x->replica[i]));
    }
    fclose(f);
    return text;
}

static const char *model_id(const struct replica_config *r)
{
    return r->backend_env.model->id;
}

static const char *gpu_id(const struct replica_config *r)
{
    return r->backend_env.gpu->id;
}

static struct run_info describe_run(const struct job *j)
{
    const struct config *c = &j->config;
    const struct composed *x = &j->x;
    return (struct run_info){
        .config = j->config_text,
        .config_hash = j->config_hash,
        .seed = x->sim.seed,
        .rep = (uint32_t)config_num(c, "rep"),
        .trace = config_str(c, "trace"),
        .trace_sha256 = x->trace_sha256,
        .trace_format = x->sim.trace.format,
        .model = j->models,
        .gpu = j->gpus,
        .backend = config_str(c, "backend"),
        .inputs_sha256 = x->inputs_sha256,
        .scheduler = config_str(c, "scheduler"),
        .router = config_str(c, "router"),
        .kv_policy = config_str(c, "kv"),
        .prefix_policy = config_str(c, "prefix"),
        .predictor = x->sim.predictor ? x->sim.predictor->name : NULL,
        .replicas = x->sim.n_replicas,
        .clock = config_str(c, "clock"),
        .slo_source = x->slo_default ? "default" : "config",
        .git_revision = version_git,
        .dirty = version_dirty,
        .compiler = version_compiler,
        .host = j->host.nodename,
        .store_requests = !j->in->no_requests,
        .store_steps = j->in->steps,
        .max_request_rows = (uint64_t)config_num(c, "max_request_rows"),
    };
}

/* Runs into an open database. */
static bool run_into(struct job *j, struct sink_sqlite *db, struct err *e)
{
    struct run_info info = describe_run(j);
    struct progress progress;
    tee_init(&j->tee, sink_sqlite_run(db, &info));
    j->x.sim.sink = tee_sink(&j->tee);
    j->x.sim.store_steps = j->in->steps;
    progress_begin(&progress);
    if (!j->in->quiet) {
        j->x.sim.progress = progress_show;
        j->x.sim.progress_self = &progress;
    }
    bool ok = sim_run(&j->x.sim, &j->result, e);
    j->wall_s = progress_seconds(&progress);
    progress_end(&progress);
    j->run_id = sink_sqlite_run_id(db);
    j->replaced = sink_sqlite_replaced(db);
    return ok;
}

static bool run(struct job *j, struct err *e)
{
    if (!compose(&j->x, &j->config, e) || !config_hash(&j->config, j->config_hash, e))
        return false;
    uname(&j->host);
    j->config_text = config_canonical(&j->config);
    j->models = join_ids(&j->x, model_id);
    j->gpus = join_ids(&j->x, gpu_id);
    struct sink_sqlite *db = sink_sqlite_open(j->in->db, e);
    if (!db)
        return false;
    bool ok = run_into(j, db, e);
    return sink_sqlite_close(db, e) && ok; /* the first error is the one that is told */
}

/* ---- what is printed ---- */

static json_t *replica_json(const struct replica_config *r)
{
    const struct limits *l = &r->limits;
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "model", model_id(r), "gpu", gpu_id(r),
                     "tensor_parallel_size", (json_int_t)r->backend_env.tensor_parallel_size,
                     "usable_blocks", (json_int_t)l->num_gpu_blocks, "block_size",
                     (json_int_t)l->block_size, "kv_tokens", (json_int_t)limits_kv_tokens(l));
}

static json_t *outcome_json(const struct job *j)
{
    const struct composed *x = &j->x;
    const struct replica_config *r = &x->replica[0];
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)j->result.digest);
    json_t *replicas = json_array();
    for (uint32_t i = 0; i < x->sim.n_replicas; i++)
        json_array_append_new(replicas, replica_json(&x->replica[i]));
    double error = j->result.note.error;
    return json_pack(
        "{s:s, s:I, s:b, s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s, s:s}, s:{s:s, s:o}, s:s, s:o,"
        " s:s, s:b, s:O, s:f, s:o, s:O}",
        "db", j->in->db, "run", (json_int_t)j->run_id, "replaced", j->replaced, "digest", digest,
        "config_hash", j->config_hash, "trace", "file", config_str(&j->config, "trace"), "format",
        x->sim.trace.format, "sha256", x->trace_sha256, "synthetic", x->synthetic, "engine", "id",
        r->engine->name, "provenance", r->engine->provenance, "cost_model", "text",
        j->result.note.cost_model, "error", isnan(error) ? json_null() : json_real(error),
        "kv_blocks", x->blocks_computed ? "computed" : "given", "replicas", replicas, "slo_source",
        x->slo_default ? "default" : "config", "lossy_kv_quality_not_measured", !r->kv->lossless,
        "refused_by_reason", j->tee.refused, "wall_s", j->wall_s, "config",
        json_loads(j->config_text, 0, NULL), "summary", j->tee.summary);
}

static bool print_json(const struct job *j, struct err *e)
{
    json_t *outcome = outcome_json(j);
    if (!outcome)
        return err_set(e, "run: stored, but not printed: a name is not valid UTF-8; use --quiet");
    json_dumpf(outcome, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(outcome);
    return true;
}

/* Replicas that are alike are told once. */
static void print_replicas(const struct job *j)
{
    const struct composed *x = &j->x;
    for (uint32_t i = 0, n; i < x->sim.n_replicas; i += n) {
        const struct replica_config *r = &x->replica[i];
        for (n = 1; i + n < x->sim.n_replicas; n++)
            if (x->replica[i + n].backend_env.model != r->backend_env.model)
                break; /* each entry of `replicas` has a description of its own */
        printf("  memory   %u x (%s on %u %s): %llu KV blocks of %u tokens = %llu tokens each\n", n,
               model_id(r), r->backend_env.tensor_parallel_size, gpu_id(r),
               (unsigned long long)r->limits.num_gpu_blocks, r->limits.block_size,
               (unsigned long long)limits_kv_tokens(&r->limits));
    }
    if (x->blocks_computed)
        printf("           computed for gpu_memory_utilization %g where num_gpu_blocks is not "
               "given; better: what your engine reports\n",
               config_num(&j->config, "gpu_memory_utilization"));
    else
        puts("           as num_gpu_blocks says");
}

static void print_refusals(const struct job *j)
{
    const char *reason;
    json_t *n;
    json_object_foreach(j->tee.refused, reason, n)
    {
        printf("  refused  %lld: %s\n", (long long)json_integer_value(n), reason);
    }
}

static bool print_people(const struct job *j, struct err *e)
{
    const struct composed *x = &j->x;
    const struct engine_model *engine = x->replica[0].engine;
    sqlite3 *db = db_open_read(j->in->db, e);
    if (!db)
        return false;
    bool ok = report_table_run(db, j->run_id, stdout, e);
    sqlite3_close(db);
    if (!ok)
        return false;
    printf("  trace    %s, %s%s; %s%s\n", config_str(&j->config, "trace"), x->sim.trace.format,
           config_is_set(&j->config, "trace_format") ? "" : " (detected)",
           *x->synthetic ? "synthetic: " : "nothing in it is synthetic", x->synthetic);
    printf("  engine   %s: %s\n           %s\n", engine->name, engine->doc, engine->provenance);
    print_replicas(j);
    print_refusals(j);
    printf("  speed    %.0f s simulated in %.2f s, %llu steps\n",
           (double)j->result.end_at / (double)NS_PER_S, j->wall_s,
           (unsigned long long)j->result.steps);
    printf("  stored   %s, run %lld%s\n", j->in->db, (long long)j->run_id,
           j->replaced ? " (replaced the run with the same configuration, seed and rep)" : "");
    return true;
}

int cmd_run(int argc, char **argv, struct err *e)
{
    struct input in = {.db = "tandem.db", .e = e};
    struct job j = {.in = &in};
    config_init(&j.config);
    bool ok = options_parse(&argp, "tandem run", argc, argv, &in, e) &&
              read_settings(&j.config, &in, e) && run(&j, e);
    if (ok && in.json)
        ok = print_json(&j, e);
    else if (ok && !in.quiet)
        ok = print_people(&j, e);
    tee_release(&j.tee);
    free(j.config_text);
    free(j.models);
    free(j.gpus);
    compose_release(&j.x);
    config_release(&j.config);
    release_settings(&in);
    return ok ? 0 : 2;
}
