/* bsc.h: the calibration runs of the BSC H100 (../shared/profiles/bsc-h100-vllm): every engine
 * step's time is in the log, its batch is not. It is found by simulating the run.
 *
 * All prompts of a run are alike and sent at once, so the engine's decisions follow from its limits
 * and from how the prompts come in during the first few steps. The log's durations drive the
 * simulation: a step lasts what it lasted. How many prompts had come in is told by the scheduler's
 * CPU time in those steps and by the step in which the last prompt of all was admitted; never by
 * how long a step took, which is what the batches are there to explain. */
#ifndef EXPERIMENTS_TRUTH_BSC_H
#define EXPERIMENTS_TRUTH_BSC_H

#include "backend/fitted_model.h"
#include "sim/engine_model.h"

struct bsc_run {
    uint32_t number;
    char model[64];
    uint32_t max_num_seqs, max_num_batched_tokens, num_prompts;
    uint32_t prompt_tokens, output_tokens; /* each request's */
    uint64_t kv_tokens;                    /* 0: not logged */
    double duration_s;                     /* as the client measured it */

    /* Its lines of the log: those of the one warm-up request, then the run's, then one that found
     * nothing to do. */
    size_t first_line, n_lines, n_warmup;
};

struct bsc {
    struct bsc_run *run;
    size_t n_runs, run_cap;
    double *start_s, *sched_ns; /* a line of the log each */
    size_t n_lines, start_cap, sched_cap;
};

/* `folder` holds calib_runs.csv and calib_steps.csv.gz. Release after false, too. */
bool bsc_load(struct bsc *b, const char *folder, struct err *e) NODISCARD;
void bsc_release(struct bsc *b);

/* The engine of the runs. */
const struct engine_model *bsc_engine(void);

/* What of the engine's host_ns is the scheduler's part, without sequences: the log shows that. */
double bsc_scheduler_step_ns(void);

/* Every second max_num_seqs: 100, 400, 800. Nothing is fitted to these runs. */
bool bsc_is_held_out(const struct bsc_run *r);

/* Steps of the run that the log has, warm-up and empty ones not counted. 0: the log lacks the run,
 * its beginning or its KV capacity, so that its batches cannot be found. */
size_t bsc_logged_steps(const struct bsc_run *r);

/* Seconds from the end of the warm-up to the first step: the client opens its connections, and
 * counts that as latency. */
double bsc_client_delay_s(const struct bsc *b, const struct bsc_run *r);

struct bsc_steps {
    struct measured_step *step; /* in order */
    size_t n, cap;
    uint64_t simulated; /* steps that the simulation took; the log's number, or they do not match */
};

/* Step times by the model and the engine's host time against the log, over the steps of a regime
 * (N_REGIMES: of all). */
struct fit_error bsc_error(const struct fitted_model *m, const struct bsc_steps *steps,
                           enum regime regime);

/* Appends the steps of `r` to `out`; those that both the log and the simulation have. */
bool bsc_replay(const struct bsc *b, const struct bsc_run *r, struct bsc_steps *out,
                struct err *e) NODISCARD;

#endif
