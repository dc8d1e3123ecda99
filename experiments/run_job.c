#include "experiments/run_job.h"

#include <stdlib.h>
#include <string.h>

#include "experiments/progress.h"
#include "experiments/quality_ref.h"
#include "experiments/version.h"

void run_job_init(struct run_job *j)
{
    *j = (struct run_job){.run_id = 0};
    config_init(&j->config);
}

void run_job_release(struct run_job *j)
{
    tee_release(&j->tee);
    free(j->config_text);
    mem_free(j->models);
    mem_free(j->gpus);
    compose_release(&j->x);
    config_release(&j->config);
}

const char *run_job_model_id(const struct replica_config *r)
{
    return r->backend_env.model->id;
}

const char *run_job_gpu_id(const struct replica_config *r)
{
    return strcmp(r->backend->name, "cpu") == 0 ? "cpu" : r->backend_env.gpu->id;
}

/* The ids of what the replicas are, each once. */
static char *join_ids(const struct composed *x, const char *(*id_of)(const struct replica_config *))
{
    char *text = mem_strdup("");
    size_t n = 0, cap = 1;
    for (uint32_t i = 0; i < x->sim.n_replicas; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i && !seen; j++)
            seen = strcmp(id_of(&x->replica[j]), id_of(&x->replica[i])) == 0;
        if (seen)
            continue;
        const char *id = id_of(&x->replica[i]);
        size_t length = strlen(id);
        text = mem_reserve(text, &cap, n + length + 2, 1);
        if (n > 0)
            text[n++] = ',';
        memcpy(text + n, id, length + 1);
        n += length;
    }
    return text;
}

bool run_job_compose(struct run_job *j, const struct trace_source *given, struct err *e)
{
    if (!compose_on(&j->x, &j->config, given, e) || !config_hash(&j->config, j->config_hash, e) ||
        !quality_ref_find(&j->config, j->quality_ref, sizeof j->quality_ref, e))
        return false;
    uname(&j->host);
    j->config_text = config_canonical(&j->config);
    j->models = join_ids(&j->x, run_job_model_id);
    j->gpus = join_ids(&j->x, run_job_gpu_id);
    return true;
}

static struct run_info describe_run(const struct run_job *j, const struct run_options *o)
{
    const struct config *c = &j->config;
    const struct composed *x = &j->x;
    return (struct run_info){
        .experiment = j->experiment,
        .point = j->point,
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
        .profile = config_str(c, "profile"),
        .inputs_sha256 = x->inputs_sha256,
        .scheduler = config_str(c, "scheduler"),
        .router = config_str(c, "router"),
        .kv_policy = config_str(c, "kv"),
        .prefix_policy = config_str(c, "prefix"),
        .predictor = x->sim.predictor ? x->sim.predictor->name : NULL,
        .replicas = x->sim.n_replicas,
        .clock = config_str(c, "clock"),
        .slo_source = x->slo_default ? "default" : "config",
        .quality_ref = *j->quality_ref ? j->quality_ref : NULL,
        .git_revision = version_git,
        .dirty = version_dirty,
        .compiler = version_compiler,
        .host = j->host.nodename,
        .store_requests = !o->no_requests,
        .store_steps = o->steps,
        .max_request_rows = (uint64_t)config_num(c, "max_request_rows"),
    };
}

static bool simulate(struct run_job *j, struct sink to, const struct run_options *o, struct err *e)
{
    struct progress progress;
    tee_init(&j->tee, to);
    j->tee.on_request = j->on_request;
    j->tee.on_request_self = j->on_request_self;
    if (j->x.recording.n_replicas > 0)
        j->tee.replayed = &j->x.recording;
    j->x.sim.sink = tee_sink(&j->tee);
    j->x.sim.store_steps = o->steps;
    progress_begin(&progress);
    if (!o->quiet) {
        j->x.sim.progress = progress_show;
        j->x.sim.progress_self = &progress;
    }
    bool ok = sim_run(&j->x.sim, &j->result, e);
    j->wall_s = progress_seconds(&progress);
    progress_end(&progress);
    return ok;
}

bool run_job_store(struct run_job *j, struct sink_sqlite *s, const struct run_options *o,
                   struct err *e)
{
    struct run_info info = describe_run(j, o);
    bool ok = simulate(j, sink_sqlite_run(s, &info), o, e);
    j->run_id = sink_sqlite_run_id(s);
    j->replaced = sink_sqlite_replaced(s);
    return sink_sqlite_close(s, e) && ok; /* the first error is the one that is told */
}

bool run_job_run(struct run_job *j, const char *db, const struct run_options *o, struct err *e)
{
    static const struct sink_ops nothing = {.begin = NULL};
    if (!db)
        return simulate(j, (struct sink){&nothing, NULL}, o, e);
    struct sink_sqlite *s = sink_sqlite_open(db, e);
    return s && run_job_store(j, s, o, e);
}
