/* servegen_lengths.c: see servegen_lengths.h. A row is the quantiles of one field; a prompt is the
 * sum of the fields that make it up, each drawn by itself, since they are published as marginals.
 * Windows of a client come in order of time. */
#include "traces/servegen_lengths.h"

#include <math.h>
#include <string.h>

#include "traces/dist.h"
#include "traces/rows.h"

enum { CLIENT, T_S, FIELD, QUANTILES };
static const char *const columns[] = {
    [CLIENT] = "client",
    [T_S] = "t_s",
    [FIELD] = "field",
    "min",
    "p0.5",
    "p1",
    "p2.5",
    "p5",
    "p10",
    "p20",
    "p30",
    "p40",
    "p50",
    "p60",
    "p70",
    "p75",
    "p80",
    "p85",
    "p90",
    "p95",
    "p97.5",
    "p99",
    "p99.5",
    "p99.9",
    "max",
};
#define N_QUANTILES (ARRAY_LEN(columns) - QUANTILES)
static const double at_share[] = {0,    0.005, 0.01, 0.025, 0.05,  0.1, 0.2,  0.3,
                                  0.4,  0.5,   0.6,  0.7,   0.75,  0.8, 0.85, 0.9,
                                  0.95, 0.975, 0.99, 0.995, 0.999, 1};

/* The fields used; all but the output make up the prompt. Others (reason_ratio, image_count, ...)
 * are skipped. */
enum { OUTPUT, INPUT, TEXT, IMAGE, AUDIO, VIDEO, N_PARTS };
static const char *const parts[N_PARTS] = {
    [OUTPUT] = "output_tokens", [INPUT] = "input_tokens", [TEXT] = "text_tokens",
    [IMAGE] = "image_tokens",   [AUDIO] = "audio_tokens", [VIDEO] = "video_tokens",
};

struct lengths_window {
    uint64_t t_s;
    size_t at[N_PARTS]; /* index of the part's quantiles + 1; 0: not there */
};

struct lengths_client {
    struct lengths_window *window; /* owned */
    size_t n, cap;
};

/* ---- reading ---- */

static size_t find_part(const char *field)
{
    size_t i = 0;

    while (i < N_PARTS && strcmp(parts[i], field) != 0)
        i++;
    return i;
}

static struct lengths_client *client_of(struct lengths *l, const char *name)
{
    uint32_t id = names_id(&l->clients, name);

    l->of = mem_reserve(l->of, &l->client_cap, l->clients.n, sizeof(*l->of));
    if (l->n_clients < l->clients.n)
        l->of[l->n_clients++] = (struct lengths_client){0};
    return &l->of[id];
}

/* The client's window at t_s: the last one, or a new one behind it. */
static struct lengths_window *window_of(struct lengths_client *c, const struct rows *r,
                                        uint64_t t_s, struct err *e)
{
    if (c->n > 0 && c->window[c->n - 1].t_s == t_s)
        return &c->window[c->n - 1];
    if (c->n > 0 && c->window[c->n - 1].t_s > t_s) {
        text_report(&r->text, e, "column t_s: time goes back; sort each client's rows by t_s");
        return NULL;
    }
    c->window = mem_reserve(c->window, &c->cap, c->n + 1, sizeof(*c->window));
    c->window[c->n] = (struct lengths_window){.t_s = t_s};
    return &c->window[c->n++];
}

static bool read_quantiles(struct lengths *l, const struct rows *r, struct err *e)
{
    double before = 0;

    l->value = mem_reserve(l->value, &l->value_cap, l->n_values + N_QUANTILES, sizeof(*l->value));
    for (size_t i = 0; i < N_QUANTILES; i++) {
        const char *name = columns[QUANTILES + i];
        double *v = &l->value[l->n_values + i];

        if (!field_real(&r->text, name, rows_cell(r, QUANTILES + i), 0, TOKENS_MAX / N_PARTS, v, e))
            return false;
        if (*v < before)
            return text_fail(&r->text, e, "column %s: %g is below the quantile before it", name,
                             *v);
        before = *v;
    }
    l->n_values += N_QUANTILES;
    return true;
}

static bool read_row(struct lengths *l, const struct rows *r, struct err *e)
{
    size_t part = find_part(rows_cell(r, FIELD));
    struct lengths_window *w;
    uint64_t t_s;

    if (part == N_PARTS)
        return true;
    if (!field_u64(&r->text, columns[T_S], rows_cell(r, T_S), 0, UINT32_MAX, &t_s, e))
        return false;
    w = window_of(client_of(l, rows_cell(r, CLIENT)), r, t_s, e);
    if (!w)
        return false;
    if (w->at[part] != 0)
        return text_fail(&r->text, e, "column field: %s of this client and t_s is there already",
                         parts[part]);
    w->at[part] = l->n_values + 1;
    return read_quantiles(l, r, e);
}

/* Windows without an output or a prompt tell no lengths. */
static void drop_incomplete(struct lengths_client *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        const struct lengths_window *w = &c->window[i];
        bool prompt = false;

        for (size_t part = OUTPUT + 1; part < N_PARTS; part++)
            prompt = prompt || w->at[part] != 0;
        if (prompt && w->at[OUTPUT] != 0)
            c->window[n++] = *w;
    }
    c->n = n;
}

bool lengths_open(struct lengths *l, const char *path, struct err *e)
{
    struct rows rows;
    enum trace_status st;

    *l = (struct lengths){0};
    if (!rows_open(&rows, path, columns, ARRAY_LEN(columns), ARRAY_LEN(columns), e))
        return false;
    names_init(&l->clients);
    while ((st = rows_next(&rows, e)) == TRACE_REC && read_row(l, &rows, e))
        ;
    rows_close(&rows);
    if (st != TRACE_END) {
        lengths_release(l);
        return false;
    }
    for (size_t i = 0; i < l->n_clients; i++)
        drop_incomplete(&l->of[i]);
    return true;
}

void lengths_release(struct lengths *l)
{
    for (size_t i = 0; i < l->n_clients; i++)
        mem_free(l->of[i].window);
    mem_free(l->of);
    mem_free(l->value);
    names_release(&l->clients);
    *l = (struct lengths){0};
}

/* ---- using ---- */

uint32_t lengths_find(const struct lengths *l, const char *client)
{
    uint32_t id = names_find(&l->clients, client);

    return id != NAMES_NONE && l->of[id].n > 0 ? id : NAMES_NONE;
}

uint32_t lengths_any(const struct lengths *l, struct rng *rng)
{
    uint64_t n = 0, left;
    uint32_t id = 0;

    for (size_t i = 0; i < l->n_clients; i++)
        n += l->of[i].n > 0;
    if (n == 0)
        return NAMES_NONE;
    left = rng_below(rng, n);
    while (l->of[id].n == 0 || left-- > 0)
        id++;
    return id;
}

void lengths_draw(const struct lengths *l, uint32_t client, uint64_t t_s, struct rng *rng,
                  uint32_t *prompt_tokens, uint32_t *output_tokens)
{
    const struct lengths_client *c = &l->of[client];
    double sum[2] = {0, 0}; /* output, prompt */
    size_t i = c->n - 1;

    while (i > 0 && c->window[i].t_s > t_s)
        i--;
    for (size_t part = 0; part < N_PARTS; part++) {
        size_t at = c->window[i].at[part];

        if (at != 0)
            sum[part != OUTPUT] +=
                quantile_at(at_share, &l->value[at - 1], N_QUANTILES, rng_unit(rng));
    }
    *output_tokens = (uint32_t)MAX(1, floor(sum[0] + 0.5));
    *prompt_tokens = (uint32_t)MAX(1, floor(sum[1] + 0.5));
}
