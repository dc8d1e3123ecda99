#include "backend/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/rng.h"

#define ROWS_A_GROUP 250u /* fitted, of one regime of one run, evenly spaced */
#define RUNS_TO_HOLD_OUT 10u
#define ROUNDS 4 /* of estimating each regime's spread and fitting again */

/* Below that spread, what a step takes is noise: no regime counts for more. */
#define SPREAD_MIN 0.002

/* Coefficients are rounded to that many digits, which the file shows, and judged so. */
#define DIGITS "%.6g"

#define ANY ((double)INFINITY)

/* Where a GEMM leaves the shadow of reading its weights depends on the GPU: breakpoints at powers
 * of two, so few that sizes between measured ones are met. More than 512 tokens run outside CUDA
 * graphs (vLLM). Attention reads KV in pages of 128 keys or so: shorter contexts cost less a
 * token. */
static const struct basis_term coarse[] = {
    {BASIS_STEP, 0, ANY},
    {BASIS_PROMPT_STEP, 0, ANY},
    {BASIS_TOKENS_BEYOND, 512, ANY},
    {BASIS_TOKENS, 0, 128},
    {BASIS_TOKENS, 128, 512},
    {BASIS_TOKENS, 512, 1024},
    {BASIS_TOKENS, 1024, ANY},
    {BASIS_SEQUENCES, 0, ANY},
    {BASIS_DECODE_CONTEXT, 0, ANY},
    {BASIS_CONTEXT_BEYOND, 128, ANY},
    {BASIS_MIXED_CONTEXT, 0, ANY},
    {BASIS_MIXED_SEQUENCES, 0, ANY},
    {BASIS_PROMPTS, 0, ANY},
    {BASIS_PREFILL_PAIRS, 0, ANY},
    {BASIS_PREFILL_HISTORY, 0, ANY},
};

/* For `tandem profile`, whose points are many and everywhere. GEMMs: tiles are 64 to 256 rows, and
 * just above 384 and 1,024 cuBLAS takes others that are slower, so these two steps are steep.
 * Decode attention: contexts are cut into pieces, and until there are enough long ones to fill the
 * GPU what a token costs falls. Prefill attention: a tile of 32 tokens goes through all that is
 * before it; until there are about 512 tokens of them, some of the GPU waits for the longest. */
static const struct basis_term fine[] = {
    {BASIS_STEP, 0, ANY},
    {BASIS_PROMPT_STEP, 0, ANY},
    {BASIS_TOKENS, 0, 32},
    {BASIS_TOKENS, 32, 64},
    {BASIS_TOKENS, 64, 128},
    {BASIS_TOKENS, 128, 192},
    {BASIS_TOKENS, 192, 256},
    {BASIS_TOKENS, 256, 384},
    {BASIS_TOKENS, 384, 416},
    {BASIS_TOKENS, 416, 512},
    {BASIS_TOKENS, 512, 640},
    {BASIS_TOKENS, 640, 768},
    {BASIS_TOKENS, 768, 896},
    {BASIS_TOKENS, 896, 1024},
    {BASIS_TOKENS, 1024, 1056},
    {BASIS_TOKENS, 1056, 1536},
    {BASIS_TOKENS, 1536, ANY},
    {BASIS_SEQUENCES, 0, ANY},
    {BASIS_CONTEXT_PART, 0, 4096},
    {BASIS_CONTEXT_PART, 4096, 16384},
    {BASIS_CONTEXT_PART, 16384, 32768},
    {BASIS_CONTEXT_PART, 32768, 65536},
    {BASIS_CONTEXT_PART, 65536, 131072},
    {BASIS_CONTEXT_PART, 131072, ANY},
    {BASIS_MIXED_CONTEXT, 0, ANY},
    {BASIS_MIXED_SEQUENCES, 0, ANY},
    {BASIS_PROMPTS, 0, ANY},
    {BASIS_PREFILL_WORK, 0, ANY},
    {BASIS_PREFILL_WORK, 512, ANY},
    {BASIS_PREFILL_LONGEST, 0, ANY},
    {BASIS_PREFILL_HISTORY, 0, ANY},
};
#define COLUMNS MAX(ARRAY_LEN(coarse), ARRAY_LEN(fine))
_Static_assert(COLUMNS <= FITTED_TERMS_MAX, "a model holds all terms");

struct basis {
    const struct basis_term *term;
    size_t n;
};

/* Only our own profile says how long the longest prompt of a step is. */
static struct basis choose_basis(const struct measured_step *step, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (step[i].shape.prefill_context_max > 0)
            return (struct basis){fine, ARRAY_LEN(fine)};
    return (struct basis){coarse, ARRAY_LEN(coarse)};
}

/* ---- what is held out ---- */

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The runs there are, ascending, each once. */
static uint32_t *list_runs(const struct measured_step *step, size_t n, size_t *n_runs)
{
    uint32_t *run = mem_alloc(n * sizeof *run);
    for (size_t i = 0; i < n; i++)
        run[i] = step[i].run;
    qsort(run, n, sizeof *run, by_number);
    *n_runs = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || run[i] != run[*n_runs - 1])
            run[(*n_runs)++] = run[i];
    return run;
}

/* true for round(share * n) of n, at least one, which ones by chance. */
static bool *choose(size_t n, double share, struct rng *r)
{
    bool *chosen = mem_alloc(n * sizeof *chosen);
    size_t left = MAX((size_t)llround(share * (double)n), 1);
    for (size_t i = 0; i < n; i++)
        if (rng_below(r, n - i) < left) {
            chosen[i] = true;
            left--;
        }
    return chosen;
}

const char *calibrate_hold_out(struct measured_step *step, size_t n, double share, uint64_t seed)
{
    struct rng r;
    size_t n_runs;
    uint32_t *run = list_runs(step, n, &n_runs);
    bool by_run = n_runs >= RUNS_TO_HOLD_OUT;
    rng_init(&r, seed, "calibrate");
    bool *chosen = choose(by_run ? n_runs : n, share, &r);
    for (size_t i = 0; i < n; i++) {
        const uint32_t *at =
            by_run ? bsearch(&step[i].run, run, n_runs, sizeof *run, by_number) : NULL;
        step[i].held_out = chosen[at ? (size_t)(at - run) : i];
    }
    mem_free(chosen);
    mem_free(run);
    return by_run ? "runs drawn by chance" : "steps drawn by chance";
}

/* ---- which steps are fitted ---- */

struct place {
    enum regime regime;
    uint32_t run;
    size_t step;
};

static int by_group(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->regime != y->regime)
        return x->regime < y->regime ? -1 : 1;
    if (x->run != y->run)
        return x->run < y->run ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step);
}

/* Evenly spaced steps of each regime of each run; returns how many. */
static size_t thin(struct place *p, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && p[end].regime == p[i].regime && p[end].run == p[i].run;)
            end++;
        size_t group = end - i, rows = MIN(group, ROWS_A_GROUP);
        for (size_t k = 0; k < rows; k++)
            p[kept++] = p[i + k * group / rows];
    }
    return kept;
}

static struct place *places(const struct measured_step *step, size_t n, size_t *rows)
{
    struct place *p = mem_alloc(n * sizeof *p);
    size_t fitted = 0;
    for (size_t i = 0; i < n; i++)
        if (!step[i].held_out)
            p[fitted++] = (struct place){regime_of(&step[i].shape), step[i].run, i};
    qsort(p, fitted, sizeof *p, by_group);
    *rows = thin(p, fitted);
    return p;
}

/* ---- the fit ---- */

struct sheet {
    struct basis basis;
    const struct place *row;
    size_t rows;
    double *x, *y, *weight, *relative;
};

static void fill(struct sheet *s, const struct measured_step *step)
{
    s->x = mem_alloc(s->rows * s->basis.n * sizeof *s->x);
    s->y = mem_alloc(s->rows * sizeof *s->y);
    s->weight = mem_alloc(s->rows * sizeof *s->weight);
    s->relative = mem_alloc(s->rows * sizeof *s->relative);
    for (size_t i = 0; i < s->rows; i++) {
        const struct measured_step *m = &step[s->row[i].step];
        for (size_t j = 0; j < s->basis.n; j++)
            s->x[i * s->basis.n + j] = basis_value(&s->basis.term[j], &m->shape);
        s->y[i] = m->device_ns;
        s->weight[i] = 1;
    }
}

static void empty(struct sheet *s)
{
    mem_free(s->x);
    mem_free(s->y);
    mem_free(s->weight);
    mem_free(s->relative);
}

/* Rows of a regime, which stand together, get the weight 1 / the spread of its residuals. */
static void weigh(struct sheet *s, const double *coefficient)
{
    for (size_t i = 0; i < s->rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < s->basis.n; j++)
            sum += coefficient[j] * s->x[i * s->basis.n + j];
        s->relative[i] = sum / s->y[i] - 1;
    }
    for (size_t i = 0, end; i < s->rows; i = end) {
        for (end = i; end < s->rows && s->row[end].regime == s->row[i].regime;)
            end++;
        double spread = fit_median_abs(s->relative + i, end - i);
        for (size_t k = i; k < end; k++)
            s->weight[k] = SPREAD_MIN / MAX(spread, SPREAD_MIN);
    }
}

static bool fit(struct sheet *s, double coefficient[COLUMNS], struct err *e)
{
    for (int round = 0; round < ROUNDS; round++) {
        const struct fit_problem p = {s->rows, s->basis.n, s->x, s->y, s->weight};
        if (!fit_nonnegative(&p, coefficient, e))
            return false;
        weigh(s, coefficient);
    }
    return true;
}

static double rounded(double v)
{
    char text[32];
    snprintf(text, sizeof text, DIGITS, v);
    return strtod(text, NULL);
}

/* ---- the model ---- */

static void measure_range(struct fitted_model *m, const struct measured_step *step, size_t n)
{
    for (enum aggregate a = 0; a < N_AGGREGATES; a++)
        m->range[a] = (struct fitted_range){(double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < n; i++) {
        if (step[i].held_out)
            continue;
        m->fitted_steps[regime_of(&step[i].shape)]++;
        for (enum aggregate a = 0; a < N_AGGREGATES; a++) {
            double v = aggregate_value(a, &step[i].shape);
            m->range[a].low = MIN(m->range[a].low, v);
            m->range[a].high = MAX(m->range[a].high, v);
        }
    }
    for (enum aggregate a = 0; a < N_AGGREGATES; a++) { /* outwards: the file rounds */
        m->range[a].low = floor(m->range[a].low);
        m->range[a].high = ceil(m->range[a].high);
    }
}

/* The model's time plus the step's own host time against what the step took, over the held-out
 * steps of a regime (N_REGIMES: of all). Rounded, as coefficients are. */
static struct fit_error held_out_error(const struct fitted_model *m,
                                       const struct measured_step *step, size_t n,
                                       enum regime regime)
{
    double *relative = mem_alloc(n * sizeof *relative);
    size_t judged = 0;
    for (size_t i = 0; i < n; i++)
        if (step[i].held_out && (regime == N_REGIMES || regime_of(&step[i].shape) == regime))
            relative[judged++] = (fitted_step_ns(m, &step[i].shape) - step[i].device_ns) /
                                 (step[i].device_ns + step[i].host_ns);
    struct fit_error f = fit_error_of(relative, judged);
    mem_free(relative);
    f.mean = rounded(f.mean);
    f.p90 = rounded(f.p90);
    f.bias = rounded(f.bias);
    return f;
}

bool calibrate_fit(struct fitted_model *out, const struct measured_step *step, size_t n,
                   struct err *e)
{
    double coefficient[COLUMNS];
    struct sheet s = {.basis = choose_basis(step, n)};
    struct place *row = places(step, n, &s.rows);
    s.row = row;
    fill(&s, step);
    bool ok = fit(&s, coefficient, e);
    empty(&s);
    mem_free(row);
    if (!ok)
        return false;
    *out = (struct fitted_model){.n_terms = 0};
    for (size_t j = 0; j < s.basis.n; j++)
        if (coefficient[j] > 0)
            out->term[out->n_terms++] =
                (struct fitted_term){s.basis.term[j], rounded(coefficient[j])};
    measure_range(out, step, n);
    out->held_out_all = held_out_error(out, step, n, N_REGIMES);
    for (enum regime r = 0; r < N_REGIMES; r++)
        out->held_out[r] = held_out_error(out, step, n, r);
    return out->held_out_all.n > 0 ||
           err_set(e, "calibrate: no step is held out; a fit without an error is not accepted");
}
