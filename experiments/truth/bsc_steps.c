/* bsc_steps.c: `bsc-steps FOLDER [runs|FIT.json]`: the steps of the BSC runs with their batches, as
 * the CSV that `tandem calibrate` reads; or, a line a run, how well simulation and log match; or,
 * how far off that fit is, by regime. */
#include <stdio.h>
#include <string.h>

#include "experiments/truth/bsc.h"

static void print_step(const struct measured_step *m)
{
    const struct batch_shape *s = &m->shape;
    fprintf(stdout, "%u,%d,%.0f,%.0f,%u,%u,%u,%llu,%llu,%.0f\n", m->run, m->held_out,
            m->device_ns + m->host_ns, m->host_ns, s->n_decode, s->n_prefill, s->prefill_tokens,
            (unsigned long long)s->decode_context_sum, (unsigned long long)s->prefill_history_sum,
            s->prefill_pairs);
}

static void print_match(const struct bsc *b, const struct bsc_run *r, const struct bsc_steps *steps)
{
    fprintf(stdout, "%u,%d,%u,%u,%u,%zu,%llu,%.3f\n", r->number, bsc_is_held_out(r),
            r->max_num_seqs, r->num_prompts, r->output_tokens, bsc_logged_steps(r),
            (unsigned long long)steps->simulated, bsc_client_delay_s(b, r));
}

/* A regime without steps leaves its cells empty. */
static void print_errors(const struct fitted_model *fit, const struct bsc_run *r,
                         const struct bsc_steps *steps)
{
    fprintf(stdout, "%u,%d,%u,%u,%u", r->number, bsc_is_held_out(r), r->max_num_seqs,
            r->prompt_tokens, r->output_tokens);
    for (enum regime g = 0; g <= N_REGIMES; g++) {
        struct fit_error f = bsc_error(fit, steps, g);
        if (f.n == 0)
            fputs(",0,,,", stdout);
        else
            fprintf(stdout, ",%llu,%.2f,%.2f,%.2f", (unsigned long long)f.n, f.mean * 100,
                    f.p90 * 100, f.bias * 100);
    }
    fputc('\n', stdout);
}

enum mode { STEPS, RUNS, ERRORS };

static void print_head(enum mode mode)
{
    static const char *const heads[] = {
        [STEPS] =
            "# BSC H100, vLLM 0.8.5 (bsc-h100-vllm: GPULLMAdapterOptimization bae36e2): logged "
            "durations; batches found by simulation (experiments/truth/bsc.h)\n"
            "run,held_out,duration_ns,host_ns,n_decode,n_prefill,prefill_tokens,"
            "decode_context,prefill_history,prefill_pairs",
        [RUNS] = "run,held_out,max_num_seqs,num_prompts,output_tokens,logged_steps,simulated_steps,"
                 "client_delay_s",
        [ERRORS] = "run,held_out,max_num_seqs,prompt_tokens,output_tokens,"
                   "decode_n,decode_mean,decode_p90,decode_bias,"
                   "prefill_n,prefill_mean,prefill_p90,prefill_bias,"
                   "mixed_n,mixed_mean,mixed_p90,mixed_bias,all_n,all_mean,all_p90,all_bias"};
    fprintf(stdout, "%s\n", heads[mode]);
}

static bool print_all(const struct bsc *b, enum mode mode, const struct fitted_model *fit,
                      struct err *e)
{
    print_head(mode);
    for (size_t i = 0; i < b->n_runs && !e->set; i++) {
        const struct bsc_run *r = &b->run[i];
        struct bsc_steps steps = {.n = 0};
        if (bsc_logged_steps(r) == 0 || !bsc_replay(b, r, &steps, e))
            continue;
        if (mode == RUNS)
            print_match(b, r, &steps);
        else if (mode == ERRORS)
            print_errors(fit, r, &steps);
        for (size_t j = 0; mode == STEPS && j < steps.n; j++)
            print_step(&steps.step[j]);
        mem_free(steps.step);
    }
    return !e->set;
}

int main(int argc, char **argv)
{
    struct err e = {.set = false};
    struct bsc b = {.n_runs = 0};
    struct fitted_model fit;
    enum mode mode = STEPS;
    if (argc == 3)
        mode = strcmp(argv[2], "runs") == 0 ? RUNS : ERRORS;
    bool ok = (argc == 2 || argc == 3) || err_set(&e, "give FOLDER [runs|FIT.json]");
    ok = ok && (mode != ERRORS || fitted_load(&fit, argv[2], &e));
    ok = ok && bsc_load(&b, argv[1], &e) && print_all(&b, mode, &fit, &e);
    bsc_release(&b);
    if (!ok)
        fprintf(stderr, "bsc-steps: %s\n", e.text);
    return ok ? 0 : 2;
}
