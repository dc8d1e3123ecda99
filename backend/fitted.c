/* fitted.c: step times from a fit to measured steps: a file of `tandem calibrate`
 * (backend/fitted_model.h), --profile FILE. Source: the file's own.
 *
 * What must hold: the cost depends on the batch's aggregates only and is piecewise linear in them;
 * breakpoints are those of the terms (backend/basis.h), of decode steps those on the mean context
 * and the ends of the range that was fitted; steps outside that range are marked. */
#include "backend/fitted_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool check_match(const struct fitted_model *m, const struct backend_env *env, struct err *e)
{
    if (strcmp(m->model, env->model->id) != 0 || strcmp(m->gpu, env->gpu->id) != 0)
        return err_set(e, "%s: fitted for %s on %s, the run is of %s on %s; set --model and --gpu",
                       env->profile, m->model, m->gpu, env->model->id, env->gpu->id);
    if (m->tensor_parallel_size != env->tensor_parallel_size)
        return err_set(e, "%s: fitted for tensor_parallel_size %u, the run has %u; set it",
                       env->profile, m->tensor_parallel_size, env->tensor_parallel_size);
    return true;
}

static void write_note(struct backend_note *note, const struct fitted_model *m)
{
    char regimes[128] = "";
    size_t at = 0;
    for (enum regime r = 0; r < N_REGIMES; r++)
        if (m->held_out[r].n > 0) {
            int more = snprintf(regimes + at, sizeof regimes - at, "%s%s %.1f %%", at ? ", " : "",
                                regime_name(r), m->held_out[r].mean * 100);
            at = MIN(at + (size_t)MAX(more, 0), sizeof regimes - 1);
        }
    int n = snprintf(note->cost_model, sizeof note->cost_model,
                     "fitted %.32s %.32s: held-out steps off by %.1f %% on average (%s)", m->gpu,
                     m->model, m->held_out_all.mean * 100, regimes);
    CHECK(n < (int)sizeof note->cost_model, "the note fits", "%d characters", n);
    note->error = m->held_out_all.mean;
}

static void *fitted_open(struct arena *a, const struct backend_env *env, struct backend_note *note,
                         struct err *e)
{
    struct fitted_model *m = arena_alloc(a, sizeof *m);
    if (!env->profile) {
        err_set(e, "fitted: there is no fit; give --profile FILE, made by `tandem calibrate`");
        return NULL;
    }
    if (!fitted_load(m, env->profile, e) || !check_match(m, env, e))
        return NULL;
    write_note(note, m);
    return m;
}

static void decode_line(void *self, const struct batch_shape *shape, struct decode_line *out)
{
    fitted_decode_line(self, shape, out);
}

static bool fitted_step(void *self, const struct batch *batch, struct step_cost *cost,
                        struct err *e)
{
    const struct fitted_model *m = self;
    const struct batch_shape *s = &batch->shape;
    struct decode_line line;
    (void)e; /* a formula cannot fail */
    if (s->n_prefill > 0) {
        *cost = (struct step_cost){.device_ns = fitted_step_ns(m, s),
                                   .extrapolated = fitted_extrapolates(m, s)};
        return true;
    }
    fitted_decode_line(m, s, &line);
    *cost = (struct step_cost){.device_ns = decode_line_ns(&line, 0),
                               .extrapolated = line.extrapolated};
    return true;
}

static const struct param_desc no_params[] = {{.name = NULL}};

const struct backend_ops backend_fitted = {
    .name = "fitted",
    .doc = "a physical basis fitted to measured steps (tandem calibrate)",
    .source = "the file's own; fidelity.md",
    .params = no_params,
    .caps = BACKEND_AFFINE_DECODE,
    .open = fitted_open,
    .step = fitted_step,
    .decode_line = decode_line,
};
