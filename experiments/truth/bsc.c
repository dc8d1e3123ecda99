#include "experiments/truth/bsc.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "sim/cluster.h"
#include "traces/rows.h"

#define BLOCK_SIZE 16u /* vLLM's default, which the runs used */

/* The scheduler's CPU time of a step: this, as much a sequence as the engine model says
 * (tests/unit/test_calibrate_bsc.c fits both), and so much a new one, with which the first waves
 * come out near max_num_seqs. */
#define SCHED_STEP_NS 12e3
#define SCHED_NEW_NS 4.3e3

/* A silence this long before the run's first step is the client's. */
#define CLIENT_DELAY_MIN_S 1.0

/* ---- reading ---- */

static bool real_field(const struct text *t, const char *name, const char *token, double *out,
                       struct err *e)
{
    char *end;
    *out = strtod(token, &end);
    return (end != token && *end == '\0' && isfinite(*out) && *out >= 0) ||
           text_fail(t, e, "%s %s is not a number; get the file again", name, text_quote(token).s);
}

static bool count_field(const struct rows *r, const char *const *names, size_t i, uint32_t *out,
                        struct err *e)
{
    return field_u32(&r->text, names[i], rows_cell(r, i), 0, TOKENS_MAX, out, e);
}

static const char *const run_names[] = {"run",
                                        "model",
                                        "max_num_seqs",
                                        "num_prompts",
                                        "max_num_batched_tokens",
                                        "kv_cache_tokens",
                                        "duration",
                                        "total_input_tokens",
                                        "total_output_tokens"};
enum { RUN, MODEL, SEQS, PROMPTS, BATCHED, KV, DURATION, INPUT, OUTPUT, N_RUN_NAMES };

/* Prompts and outputs of a run are all alike. One run's output is short of that by a few tokens:
 * rounded up. */
static bool read_run(const struct rows *r, struct bsc_run *run, struct err *e)
{
    uint32_t input, output;
    bool kv_known = *rows_cell(r, KV) != '\0';
    *run = (struct bsc_run){.kv_tokens = 0};
    snprintf(run->model, sizeof run->model, "%s", rows_cell(r, MODEL));
    if (!count_field(r, run_names, RUN, &run->number, e) ||
        !count_field(r, run_names, SEQS, &run->max_num_seqs, e) ||
        !count_field(r, run_names, PROMPTS, &run->num_prompts, e) ||
        (kv_known && (!count_field(r, run_names, BATCHED, &run->max_num_batched_tokens, e) ||
                      !field_u64(&r->text, "kv_cache_tokens", rows_cell(r, KV), 0, TOKENS_MAX,
                                 &run->kv_tokens, e))) ||
        !real_field(&r->text, "duration", rows_cell(r, DURATION), &run->duration_s, e) ||
        !count_field(r, run_names, INPUT, &input, e) ||
        !count_field(r, run_names, OUTPUT, &output, e))
        return false;
    if (run->num_prompts == 0 || input % run->num_prompts != 0)
        return text_fail(&r->text, e, "%u input tokens in %u prompts: not all alike", input,
                         run->num_prompts);
    run->prompt_tokens = input / run->num_prompts;
    run->output_tokens = div_ceil_u32(output, run->num_prompts);
    return true;
}

static bool read_runs(struct bsc *b, const char *path, struct err *e)
{
    struct rows rows;
    if (!rows_open(&rows, path, run_names, N_RUN_NAMES, N_RUN_NAMES, e))
        return false;
    bool ok = true;
    while (ok && rows_next(&rows, e) == TRACE_REC) {
        b->run = mem_reserve(b->run, &b->run_cap, b->n_runs + 1, sizeof *b->run);
        ok = read_run(&rows, &b->run[b->n_runs++], e);
    }
    rows_close(&rows);
    return !e->set;
}

static struct bsc_run *run_of(struct bsc *b, uint32_t number)
{
    for (size_t i = 0; i < b->n_runs; i++)
        if (b->run[i].number == number)
            return &b->run[i];
    return NULL;
}

static const char *const step_names[] = {"run", "t_s", "sched_us"};
enum { STEP_RUN, STEP_START, STEP_SCHED, N_STEP_NAMES };

static bool read_step(struct bsc *b, const struct rows *r, struct err *e)
{
    uint32_t number;
    double start_s, sched_us;
    if (!count_field(r, step_names, STEP_RUN, &number, e) ||
        !real_field(&r->text, "t_s", rows_cell(r, STEP_START), &start_s, e) ||
        !real_field(&r->text, "sched_us", rows_cell(r, STEP_SCHED), &sched_us, e))
        return false;
    struct bsc_run *run = run_of(b, number);
    if (!run)
        return text_fail(&r->text, e, "run %u is not in calib_runs.csv", number);
    if (run->n_lines++ == 0)
        run->first_line = b->n_lines;
    if (run->first_line + run->n_lines != b->n_lines + 1)
        return text_fail(&r->text, e, "the lines of run %u do not stand together", number);
    b->start_s = mem_reserve(b->start_s, &b->start_cap, b->n_lines + 1, sizeof *b->start_s);
    b->sched_ns = mem_reserve(b->sched_ns, &b->sched_cap, b->n_lines + 1, sizeof *b->sched_ns);
    /* A line is written when the step is scheduled: where that took 0.35 s (garbage collection),
     * the time before the line is longer by it. */
    b->start_s[b->n_lines] = start_s - sched_us * 1e-6;
    b->sched_ns[b->n_lines++] = sched_us * 1e3;
    return true;
}

/* The warm-up request takes a step for each of its tokens, and one that finds nothing to do. A log
 * in which no silence follows is not whole. */
static void find_warmup(const struct bsc *b, struct bsc_run *r)
{
    size_t n = r->output_tokens + 1u;
    const double *start_s = b->start_s + r->first_line;
    if (r->n_lines > n + 1 && start_s[n] - start_s[n - 1] > CLIENT_DELAY_MIN_S)
        r->n_warmup = n;
}

static bool read_steps(struct bsc *b, const char *path, struct err *e)
{
    struct rows rows;
    if (!rows_open(&rows, path, step_names, N_STEP_NAMES, N_STEP_NAMES, e))
        return false;
    while (rows_next(&rows, e) == TRACE_REC && read_step(b, &rows, e))
        continue;
    rows_close(&rows);
    for (size_t i = 0; i < b->n_runs; i++)
        find_warmup(b, &b->run[i]);
    return !e->set;
}

bool bsc_load(struct bsc *b, const char *folder, struct err *e)
{
    char runs[4096], steps[4096];
    *b = (struct bsc){0};
    int n = snprintf(runs, sizeof runs, "%s/calib_runs.csv", folder);
    int m = snprintf(steps, sizeof steps, "%s/calib_steps.csv.gz", folder);
    if (n >= (int)sizeof runs || m >= (int)sizeof steps)
        return err_set(e, "%.100s...: %s", folder, strerror(ENAMETOOLONG));
    return read_runs(b, runs, e) && read_steps(b, steps, e);
}

void bsc_release(struct bsc *b)
{
    mem_free(b->run);
    mem_free(b->start_s);
    mem_free(b->sched_ns);
    *b = (struct bsc){0};
}

/* ---- what the log says of a run ---- */

const struct engine_model *bsc_engine(void)
{
    return engine_model_find("vllm-0.8");
}

double bsc_scheduler_step_ns(void)
{
    return SCHED_STEP_NS;
}

bool bsc_is_held_out(const struct bsc_run *r)
{
    return r->max_num_seqs == 100 || r->max_num_seqs == 400 || r->max_num_seqs == 800;
}

static bool is_usable(const struct bsc_run *r)
{
    return r->n_warmup > 0 && r->kv_tokens > 0;
}

size_t bsc_logged_steps(const struct bsc_run *r)
{
    return is_usable(r) ? r->n_lines - r->n_warmup - 1 : 0;
}

static const double *starts(const struct bsc *b, const struct bsc_run *r)
{
    return b->start_s + r->first_line + r->n_warmup;
}

double bsc_client_delay_s(const struct bsc *b, const struct bsc_run *r)
{
    return is_usable(r) ? starts(b, r)[0] - starts(b, r)[-1] : (double)NAN;
}

/* ---- when the prompts came in ---- */

/* Steps in which a run's first requests come in, at most. */
#define RAMP_STEPS 16u

/* A slot is taken, computes output_tokens steps and is free again in the one after: waves of
 * max_num_seqs, each output_tokens steps behind the one before, with the same steps' distance
 * between their admissions. So the last request of the last, partial wave was admitted as many
 * steps into its wave as the request of the same place in the first one was: that step of the first
 * wave, or SIZE_MAX. It is known from how many steps the log has. */
static size_t step_of_last(const struct bsc_run *r)
{
    size_t before = (size_t)(r->num_prompts / r->max_num_seqs + 1) * r->output_tokens;
    size_t steps = bsc_logged_steps(r);
    bool partial = r->output_tokens > 1 && r->num_prompts % r->max_num_seqs > 0;
    return partial && steps >= before && steps - before < RAMP_STEPS ? steps - before : SIZE_MAX;
}

/* came[i]: requests that had come in when step i began. */
static void count_arrivals(const struct bsc *b, const struct bsc_run *r, double came[RAMP_STEPS])
{
    const double *sched_ns = b->sched_ns + r->first_line + r->n_warmup;
    double sequence_ns = (double)bsc_engine()->host_seq_ns;
    double usual = fit_median_abs(sched_ns, bsc_logged_steps(r));
    double scale = usual / (SCHED_STEP_NS + sequence_ns * r->max_num_seqs);
    uint32_t place = r->num_prompts % r->max_num_seqs; /* of the last request in its wave */
    size_t last = step_of_last(r);
    for (size_t i = 0; i < RAMP_STEPS; i++) {
        double before = i > 0 ? came[i - 1] : 0;
        double new_ns = sched_ns[i] / scale - SCHED_STEP_NS - sequence_ns * before;
        came[i] = MIN(before + MAX(new_ns / SCHED_NEW_NS, 0), r->max_num_seqs);
        if (r->output_tokens == 1) /* one, then more than fit: the new tell nothing of the rest */
            came[i] = i == 0 ? 1 : r->num_prompts;
        if (last != SIZE_MAX && i < last)
            came[i] = MIN(came[i], place - 1);
        else if (i == last)
            came[i] = MAX(came[i], place);
    }
    came[0] = MAX(came[0], 1);
    came[RAMP_STEPS - 1] = MAX(came[RAMP_STEPS - 1], r->max_num_seqs);
}

/* ---- replay: prompts come in as counted ---- */

struct source {
    const struct bsc_run *run;
    const double *start_s;
    double came[RAMP_STEPS];
    uint32_t sent;
    size_t step; /* the next prompt is there when this step begins */
};

/* Those beyond the first wave wait, so that their time does not matter. */
static ns_t arrival_of(struct source *s)
{
    while (s->step < RAMP_STEPS - 1 && s->sent >= s->came[s->step])
        s->step++;
    if (s->step == 0)
        return 0;
    return ns_from_s((s->start_s[s->step - 1] + s->start_s[s->step]) / 2 - s->start_s[0]);
}

static enum trace_status source_next(void *self, struct trace_rec *rec, struct err *e)
{
    struct source *s = self;
    (void)e;
    if (s->sent == s->run->num_prompts)
        return TRACE_END;
    *rec = (struct trace_rec){
        .seq = s->sent,
        .line = s->sent + 1,
        .arrival_at = arrival_of(s),
        .after = TRACE_NO_PARENT,
        .prompt_tokens = s->run->prompt_tokens,
        .output_tokens = s->run->output_tokens,
        .max_tokens = s->run->output_tokens,
        .slo_class = NAMES_NONE,
        .turn = TRACE_NO_TURN,
    };
    s->sent++;
    return TRACE_REC;
}

static const struct trace_ops source_ops = {.name = "bsc", .next = source_next};

/* ---- replay: steps last what they lasted ---- */

/* As the model of the run's environment, for the backend to find. */
struct logged_model {
    struct model_desc desc; /* first: the engine and the environment see this */
    const double *start_s;  /* one more than there are steps */
    size_t n_steps;
};

static void *logged_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                         struct err *e)
{
    const struct logged_model **self = arena_alloc(a, sizeof(*self));
    (void)e;
    *self = (const struct logged_model *)env->model;
    snprintf(note->cost_model, sizeof note->cost_model, "durations of a log");
    note->error = (double)NAN;
    return self;
}

/* Steps beyond the log, of which there are none where it matches, take a millisecond. */
static bool logged_step(void *self, const struct batch *batch, struct step_cost *cost,
                        struct err *e)
{
    const struct logged_model *m = *(const struct logged_model **)self;
    (void)e;
    double ns = (double)NS_PER_MS;
    if (batch->step < m->n_steps)
        ns = (m->start_s[batch->step + 1] - m->start_s[batch->step]) * 1e9;
    *cost = (struct step_cost){.device_ns = ns};
    return true;
}

static const struct backend_ops logged_ops = {
    .name = "logged", .open = logged_open, .step = logged_step};

static const struct engine_model logged_engine = {
    .name = "logged", .depth = 1, .null_block = true}; /* the log's durations hold everything */

/* ---- replay: what is kept ---- */

struct keeper {
    const struct bsc_run *run;
    const double *sched_ns;
    size_t n_steps;
    struct bsc_steps *out;
};

static bool keep_step(void *self, const struct step_row *row, struct err *e)
{
    struct keeper *k = self;
    struct bsc_steps *o = k->out;
    (void)e;
    o->simulated++;
    if (row->step >= k->n_steps)
        return true;
    /* The log has the scheduler's part of it; the rest is the engine model's. */
    double host_ns = (double)bsc_engine()->host_ns - SCHED_STEP_NS + k->sched_ns[row->step];
    o->step = mem_reserve(o->step, &o->cap, o->n + 1, sizeof *o->step);
    o->step[o->n++] = (struct measured_step){
        .shape = {.n_decode = row->n_decode,
                  .n_prefill = row->n_prefill,
                  .decode_tokens = row->decode_tokens,
                  .prefill_tokens = row->prefill_tokens,
                  .decode_context_sum = row->context_tokens - row->prefill_history,
                  .prefill_history_sum = row->prefill_history,
                  .prefill_pairs = row->prefill_pairs},
        .device_ns = (double)row->duration_ns - host_ns,
        .host_ns = host_ns,
        .run = k->run->number,
        .held_out = bsc_is_held_out(k->run),
    };
    return true;
}

static const struct sink_ops sink_ops = {.step = keep_step};

static struct replica_config replica_of(const struct bsc_run *r, const struct logged_model *m,
                                        const struct params *params)
{
    return (struct replica_config){
        .limits = {.max_num_seqs = r->max_num_seqs,
                   .max_num_batched_tokens = r->max_num_batched_tokens,
                   .block_size = BLOCK_SIZE,
                   .max_model_len = r->prompt_tokens + r->output_tokens + 1,
                   .num_gpu_blocks = r->kv_tokens / BLOCK_SIZE - 1, /* without the null block */
                   .units_per_block = 1,
                   .pcie_bytes_per_s = 1, /* nothing is swapped */
                   .kv_admission = KV_ADMISSION_PAGED,
                   .admit_interval = 1},
        .engine = &logged_engine,
        .scheduler = scheduler_find("fcfs"),
        .prefix = prefix_find("lru"),
        .kv = kvpolicy_find("full"),
        .kv_shape = {.layers = 1, .kv_heads = 1, .block_size = BLOCK_SIZE},
        .backend = &logged_ops,
        .backend_env = {.model = &m->desc, .params = params},
    };
}

bool bsc_replay(const struct bsc *b, const struct bsc_run *r, struct bsc_steps *out, struct err *e)
{
    const struct logged_model model = {.start_s = starts(b, r), .n_steps = bsc_logged_steps(r)};
    struct params params;
    struct names tenants, classes;
    struct sim_result result;
    struct source source = {.run = r, .start_s = starts(b, r)};
    struct keeper keeper = {.run = r,
                            .sched_ns = b->sched_ns + r->first_line + r->n_warmup,
                            .n_steps = model.n_steps,
                            .out = out};
    if (model.n_steps == 0)
        return err_set(e, "run %u: its log is not whole; its batches cannot be found", r->number);
    count_arrivals(b, r, source.came);
    params_init(&params);
    names_init(&tenants);
    names_init(&classes);
    names_id(&tenants, "client"); /* id 0: every record's */
    out->simulated = 0;
    const struct replica_config replica = replica_of(r, &model, &params);
    const struct sim_config cfg = {
        .replica = &replica,
        .n_replicas = 1,
        .router = router_find("round_robin"),
        .params = &params,
        .trace = {.ops = &source_ops, .self = &source},
        .tenants = &tenants,
        .classes = &classes,
        .sink = {.ops = &sink_ops, .self = &keeper},
        .metrics = {.horizon_ns = NS_NEVER, .wp = 1, .wq = 2, .exact_quantiles = 1},
        .seed = 1,
        .store_steps = true,
    };
    bool ok = sim_run(&cfg, &result, e);
    params_release(&params);
    names_release(&tenants);
    names_release(&classes);
    return ok;
}

/* ---- judging ---- */

struct fit_error bsc_error(const struct fitted_model *m, const struct bsc_steps *steps,
                           enum regime regime)
{
    double *relative = mem_alloc(steps->n * sizeof *relative);
    size_t judged = 0;
    for (size_t i = 0; i < steps->n; i++) {
        const struct measured_step *s = &steps->step[i];
        if (regime != N_REGIMES && regime_of(&s->shape) != regime)
            continue;
        ns_t host_ns = engine_model_host_ns(bsc_engine(), s->shape.n_decode + s->shape.n_prefill);
        double ns = fitted_step_ns(m, &s->shape) + (double)host_ns;
        relative[judged++] = ns / (s->device_ns + s->host_ns) - 1;
    }
    struct fit_error f = fit_error_of(relative, judged);
    mem_free(relative);
    return f;
}
