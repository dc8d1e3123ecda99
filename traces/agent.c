/* agent.c: see agent.h. */
#include "traces/agent.h"

#include <math.h>
#include <string.h>

#include "traces/dist.h"
#include "traces/rows.h"

#define CHARS_PER_TOKEN 4.0
#define CHARS_MAX 1e9
#define GAP_MAX_S 1e6
#define N_QUANTILES 9u

/* Quantiles of ../shared/traces/lmcache-agent/agent_calls.csv.gz (LMCache/lmcache-agent-trace,
 * Apache-2.0), taken from its rows; its README gives means, medians and tails of the same. In
 * miniswe all that was said stays in the context: what is drawn is its first length and what each
 * call adds beyond the output before it. The contexts of the others go up and down: each call's is
 * drawn by itself. */
static const double at_share[N_QUANTILES] = {0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1};

struct agent_table {
    const char *id;
    bool grows;
    double calls[N_QUANTILES];   /* a session */
    double context[N_QUANTILES]; /* characters; where it grows: of the first call */
    double growth[N_QUANTILES];  /* characters, where it grows */
    double output[N_QUANTILES];  /* characters */
    double gap_s[N_QUANTILES];
};

static const struct agent_table tables[] = {
    {.id = "miniswe",
     .grows = true,
     .calls = {6, 8, 11, 22, 30, 30, 30, 30, 30},
     .context = {5080, 5296, 5418, 5909, 7972, 9808, 11441, 12362, 12592},
     .growth = {47, 47, 47, 107, 739, 2784, 10615, 10616, 10617},
     .output = {136, 248, 326, 393, 492, 764, 919, 1174, 1560},
     .gap_s = {0.5, 0.71, 0.87, 1.08, 1.32, 2.03, 2.35, 2.73, 4.21}},
    {.id = "magagent",
     .calls = {10, 13, 25, 33, 36, 42, 43, 44, 44},
     .context = {0, 1412, 3768, 4762, 6418, 25807, 38839, 42758, 45300},
     .output = {45, 303, 1227, 1510, 1750, 2240, 3835, 40003, 48128},
     .gap_s = {0.58, 2, 3.96, 5.59, 10.02, 11.86, 13.92, 109.08, 139.43}},
    {.id = "taubench",
     .calls = {3, 4, 5, 20, 31, 39, 40, 42, 43},
     .context = {29, 67, 206, 422, 946, 1638, 2073, 2662, 4257},
     .output = {0, 0, 0, 0, 158, 244, 289, 680, 1298},
     .gap_s = {0.17, 0.23, 0.27, 0.32, 0.38, 0.49, 0.7, 1.53, 2.89}},
};

static uint32_t tokens_of(double chars)
{
    return (uint32_t)MAX(1, floor(chars / CHARS_PER_TOKEN + 0.5));
}

/* ---- a file ---- */

enum { AGENT, SESSION, INPUT, OUTPUT, GAP, CONTEXT, N_COLUMNS, N_REQUIRED = CONTEXT };
static const char *const columns[] = {
    [AGENT] = "agent",         [SESSION] = "session",   [INPUT] = "input_chars",
    [OUTPUT] = "output_chars", [GAP] = "gap_to_next_s", [CONTEXT] = "full_context_chars",
};

/* An empty cell is 0: no next call, no context but the input. */
static bool cell_real(const struct rows *r, size_t i, double max, double *out, struct err *e)
{
    const char *cell = rows_cell(r, i);

    *out = 0;
    return !cell || *cell == '\0' || field_real(&r->text, columns[i], cell, 0, max, out, e);
}

static bool add_call(struct agent *a, const struct rows *r, struct err *e)
{
    double input, output, context, gap_s;

    if (!cell_real(r, INPUT, CHARS_MAX, &input, e) ||
        !cell_real(r, OUTPUT, CHARS_MAX, &output, e) ||
        !cell_real(r, CONTEXT, CHARS_MAX, &context, e) || !cell_real(r, GAP, GAP_MAX_S, &gap_s, e))
        return false;
    a->call = mem_reserve(a->call, &a->call_cap, a->n_calls + 1, sizeof(*a->call));
    a->call[a->n_calls++] = (struct agent_call){.context_tokens = tokens_of(MAX(input, context)),
                                                .output_tokens = tokens_of(output),
                                                .gap_s = gap_s};
    return true;
}

static void begin_session(struct agent *a)
{
    a->first = mem_reserve(a->first, &a->first_cap, a->n_sessions + 2, sizeof(*a->first));
    a->first[a->n_sessions++] = a->n_calls;
}

/* A session is a run of rows with one name. */
static bool read_sessions(struct agent *a, struct rows *r, const char *id, struct err *e)
{
    enum trace_status st;
    char *name = NULL;

    while ((st = rows_next(r, e)) == TRACE_REC) {
        if (strcmp(rows_cell(r, AGENT), id) != 0)
            continue;
        if (!name || strcmp(name, rows_cell(r, SESSION)) != 0) {
            mem_free(name);
            name = mem_strdup(rows_cell(r, SESSION));
            begin_session(a);
        }
        if (!add_call(a, r, e))
            break;
    }
    mem_free(name);
    if (st == TRACE_END && a->n_sessions == 0)
        text_report(&r->text, e, "no call of the agent %s; name one of the column", id);
    if (st != TRACE_END || a->n_sessions == 0)
        return false;
    a->first[a->n_sessions] = a->n_calls;
    return true;
}

bool agent_open(struct agent *a, const char *id, const char *path, struct err *e)
{
    struct rows rows;
    bool ok;

    *a = (struct agent){0};
    if (*path == '\0') {
        for (size_t i = 0; i < ARRAY_LEN(tables); i++)
            if (strcmp(tables[i].id, id) == 0)
                a->table = &tables[i];
        CHECK(a->table, "agent: every choice has its quantiles", "%s", id);
        return true;
    }
    if (!rows_open(&rows, path, columns, N_REQUIRED, N_COLUMNS, e))
        return false;
    ok = read_sessions(a, &rows, id, e);
    rows_close(&rows);
    if (!ok)
        agent_release(a);
    return ok;
}

void agent_release(struct agent *a)
{
    mem_free(a->call);
    mem_free(a->first);
    *a = (struct agent){0};
}

/* ---- drawing ---- */

static double draw(const double quantiles[N_QUANTILES], gsl_rng *rng)
{
    return quantile_at(at_share, quantiles, N_QUANTILES, gsl_rng_uniform(rng));
}

struct agent_session agent_session_draw(const struct agent *a, gsl_rng *rng)
{
    size_t i;

    if (a->table)
        return (struct agent_session){.n_calls = (uint32_t)floor(draw(a->table->calls, rng) + 0.5)};
    i = (size_t)(gsl_rng_uniform(rng) * (double)a->n_sessions);
    return (struct agent_session){.recorded = i,
                                  .n_calls = (uint32_t)(a->first[i + 1] - a->first[i])};
}

struct agent_call agent_call_draw(const struct agent *a, const struct agent_session *s, uint32_t i,
                                  uint32_t history, gsl_rng *rng)
{
    const struct agent_table *t = a->table;
    struct agent_call call;

    if (!t)
        return a->call[a->first[s->recorded] + i];
    call.context_tokens = t->grows && i > 0 ? history + tokens_of(draw(t->growth, rng))
                                            : tokens_of(draw(t->context, rng));
    call.output_tokens = tokens_of(draw(t->output, rng));
    call.gap_s = draw(t->gap_s, rng);
    return call;
}
