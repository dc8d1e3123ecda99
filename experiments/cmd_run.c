/* cmd_run.c: `tandem run`: one configuration on one trace, into the database. */
#include "experiments/commands.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "experiments/db.h"
#include "experiments/options.h"
#include "experiments/report.h"
#include "experiments/run_job.h"

struct input {
    struct run_options run;
    const char *replay; /* database; NULL: nothing is replayed */
    const char *id;     /* of the run there; NULL: the only one */
    struct err *e;
};

enum { OPT_REPLAY = RUN_OPTION_END, OPT_RUN };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "A stored run (with --steps) again, with its configuration:", 6},
    {"replay", OPT_REPLAY, "DB", 0, "Play its steps back instead of running or modelling them", 6},
    {"run", OPT_RUN, "ID", 0, "Which run of DB [the only one]", 6},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = in ? &in->run : NULL; /* no input: only help is wanted */
        return 0;
    case OPT_REPLAY:
        in->replay = arg;
        return 0;
    case OPT_RUN:
        in->id = arg;
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
    .doc = "Simulates one configuration on one trace and stores the results [tandem.db].\v"
           "A run with the same configuration, seed and rep replaces the stored one.",
};

/* ---- what is printed ---- */

static json_t *replica_json(const struct replica_config *r)
{
    const struct limits *l = &r->limits;
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "model", run_job_model_id(r), "gpu",
                     run_job_gpu_id(r), "tensor_parallel_size",
                     (json_int_t)r->backend_env.tensor_parallel_size, "usable_blocks",
                     (json_int_t)l->num_gpu_blocks, "block_size", (json_int_t)l->block_size,
                     "kv_tokens", (json_int_t)limits_kv_tokens(l));
}

static json_t *outcome_json(const struct run_job *j, const char *db)
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
        "db", db, "run", (json_int_t)j->run_id, "replaced", j->replaced, "digest", digest,
        "config_hash", j->config_hash, "trace", "file", config_str(&j->config, "trace"), "format",
        x->sim.trace.format, "sha256", x->trace_sha256, "synthetic", x->synthetic, "engine", "id",
        r->engine->name, "provenance", r->engine->provenance, "cost_model", "text",
        j->result.note.cost_model, "error", isnan(error) ? json_null() : json_real(error),
        "kv_blocks", x->blocks_computed ? "computed" : "given", "replicas", replicas, "slo_source",
        x->slo_default ? "default" : "config", "lossy_kv_quality_not_measured",
        (!r->kv->lossless && *j->quality_ref == '\0') || j->result.packed_bytes > 0,
        "refused_by_reason", j->tee.refused, "wall_s", j->wall_s, "config",
        json_loads(j->config_text, 0, NULL), "summary", j->tee.summary);
}

static bool print_json(const struct run_job *j, const char *db, struct err *e)
{
    json_t *outcome = outcome_json(j, db);
    if (!outcome)
        return err_set(e, "run: stored, but not printed: a name is not valid UTF-8; use --quiet");
    json_dumpf(outcome, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(outcome);
    return true;
}

/* Replicas that are alike are told once. */
static void print_replicas(const struct run_job *j)
{
    const struct composed *x = &j->x;
    for (uint32_t i = 0, n; i < x->sim.n_replicas; i += n) {
        const struct replica_config *r = &x->replica[i];
        for (n = 1; i + n < x->sim.n_replicas; n++)
            if (x->replica[i + n].backend_env.model != r->backend_env.model)
                break; /* each entry of `replicas` has a description of its own */
        printf("  memory   %u x (%s on %u %s): %llu KV blocks of %u tokens = %llu tokens each\n", n,
               run_job_model_id(r), r->backend_env.tensor_parallel_size, run_job_gpu_id(r),
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

static void print_refusals(const struct run_job *j)
{
    const char *reason;
    json_t *n;
    json_object_foreach(j->tee.refused, reason, n)
    {
        printf("  refused  %lld: %s\n", (long long)json_integer_value(n), reason);
    }
}

static bool print_people(const struct run_job *j, const char *db_path, struct err *e)
{
    const struct composed *x = &j->x;
    const struct engine_model *engine = x->replica[0].engine;
    sqlite3 *db = db_open_read(db_path, e);
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
    printf("  stored   %s, run %lld%s\n", db_path, (long long)j->run_id,
           j->replaced ? " (replaced the run with the same configuration, seed and rep)" : "");
    return true;
}

/* The configuration of the run that is replayed, before any option. */
static bool set_replayed(struct config *c, const struct input *in, struct err *e)
{
    char *end;
    int64_t id = in->id ? strtoll(in->id, &end, 10) : 0;
    if (in->id && (*end != '\0' || id <= 0))
        return err_set(e, "run: %s is no id of a run; see the table runs of the database", in->id);
    if (!in->replay)
        return !in->id || err_set(e, "run: --run says which run to replay; give --replay DB, too");
    return recording_config(c, in->replay, id, e);
}

static bool run(struct run_job *j, struct input *in, int argc, char **argv, struct err *e)
{
    const struct run_options *o = &in->run;
    if (!options_parse(&argp, "tandem run", argc, argv, in, e))
        return false;
    const char *db = o->db ? o->db : "tandem.db";
    if (!set_replayed(&j->config, in, e) || !run_options_apply(o, &j->config, e) ||
        !run_job_compose(j, NULL, e) || !run_job_run(j, db, o, e))
        return false;
    if (o->json)
        return print_json(j, db, e);
    return o->quiet || print_people(j, db, e);
}

int cmd_run(int argc, char **argv, struct err *e)
{
    struct input in = {.run.e = e, .e = e};
    struct run_job j;
    run_job_init(&j);
    bool ok = run(&j, &in, argc, argv, e);
    run_job_release(&j);
    run_options_release(&in.run);
    return ok ? 0 : 2;
}
