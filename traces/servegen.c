/* servegen.c: workloads of ServeGen (github.com/alibaba/ServeGen, arXiv 2505.09999): rates of every
 * client in windows of 600 s, and quantiles of its lengths (servegen_lengths.h) in the file beside.
 *
 * `X__rates.csv`: client, t_s, rate_rps, pattern (Gamma or Weibull) and param1, the shape of the
 * gaps; a missing (client, t_s) means no requests; each client's rows are sorted by t_s. Requests
 * are drawn: as many as the rate says (what is left of a whole one by chance), with gaps of the
 * pattern that are scaled to fill the window, which is what ServeGen does. Clients are tenants.
 *
 * Every client and window has random streams of its own, so that a part of the trace
 * (trace.start_s, trace.duration_s) is drawn as in the whole, and only its windows are gone
 * through. Memory: the file's rows that are used, and one request a client; nothing grows with
 * requests. */
#include "traces/servegen.h"

#include <gsl/gsl_randist.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "traces/heap.h"
#include "traces/registry.h"
#include "traces/rows.h"
#include "traces/servegen_lengths.h"

#define WINDOW_S 600u
#define RATE_MAX 1e6

enum { CLIENT, T_S, RATE, PATTERN, SHAPE, CV, SCALE, N_REQUIRED = CV };
static const char *const columns[] = {
    [CLIENT] = "client", [T_S] = "t_s", [RATE] = "rate_rps", [PATTERN] = "pattern",
    [SHAPE] = "param1",  [CV] = "cv",   [SCALE] = "param2",
};

static const struct param_desc params[] = {
    {"rate_scale", PARAM_REAL, "1",
     "factor on the published rates, which are of billions of requests; the spread of gaps within "
     "a "
     "window stays",
     1e-9, 1e6, NULL},
    {"missing", PARAM_STR, "skip",
     "clients with rates and no lengths: left out and counted, or with another client's lengths", 0,
     0, "skip|borrow"},
    {0},
};

struct window {
    uint64_t t_s, line;
    double rate_rps; /* scaled */
    double shape;
    bool weibull;
};

struct client {
    char *name;            /* owned */
    struct window *window; /* owned */
    size_t n, cap, next;   /* windows; the next to be opened */
    uint32_t lengths;      /* id; NAMES_NONE: none */
    /* the open window */
    uint64_t n_left;
    struct rng gaps, tokens;
    double sum, passed; /* of the window's gaps; those passed */
};

struct servegen {
    const struct trace_env *env;
    struct client *client; /* owned */
    size_t n_clients, client_cap;
    struct names ids; /* of clients, by name */
    struct lengths lengths;
    struct heap heap; /* of clients by their next arrival */
    gsl_rng *rng;     /* owned: takes the state of the client that draws */
    uint64_t next_seq;
};

static int detect(const char *head)
{
    return rows_detect(head, columns, ARRAY_LEN(columns));
}

char *servegen_lengths_path(const char *rates_path)
{
    static const char mark[] = "__rates.", lengths[] = "__lengths_quantiles.";
    const char *slash = strrchr(rates_path, '/'), *at = slash ? slash : rates_path;
    size_t size;
    char *path;

    at = strstr(at, mark);
    if (!at)
        return NULL;
    size = strlen(rates_path) + sizeof(lengths);
    path = mem_alloc(size);
    snprintf(path, size, "%.*s%s%s", (int)(at - rates_path), rates_path, lengths,
             at + sizeof(mark) - 1);
    return path;
}

/* ---- reading the rates ---- */

static struct client *client_of(struct servegen *s, const char *name)
{
    uint32_t id = names_id(&s->ids, name);

    s->client = mem_reserve(s->client, &s->client_cap, s->ids.n, sizeof(*s->client));
    if (s->n_clients < s->ids.n)
        s->client[s->n_clients++] = (struct client){.name = mem_strdup(name)};
    return &s->client[id];
}

/* The part of the trace that is asked for. */
struct period {
    double start_s, end_s, rate_scale;
};

static bool read_row(struct servegen *s, const struct rows *r, const struct period *period,
                     struct err *e)
{
    const struct text *t = &r->text;
    struct window w = {.line = t->line};
    struct client *c = client_of(s, rows_cell(r, CLIENT));
    const char *pattern = rows_cell(r, PATTERN);

    w.weibull = strcmp(pattern, "Weibull") == 0;
    if (!field_u64(t, columns[T_S], rows_cell(r, T_S), 0, UINT32_MAX, &w.t_s, e) ||
        !field_real(t, columns[RATE], rows_cell(r, RATE), 0, RATE_MAX, &w.rate_rps, e) ||
        !field_real(t, columns[SHAPE], rows_cell(r, SHAPE), 1e-6, 1e6, &w.shape, e))
        return false;
    if (!w.weibull && strcmp(pattern, "Gamma") != 0)
        return text_fail(t, e, "column pattern: %s is neither Gamma nor Weibull",
                         text_quote(pattern).s);
    if (c->n > 0 && w.t_s < c->window[c->n - 1].t_s + WINDOW_S)
        return text_fail(t, e,
                         "column t_s: %" PRIu64 " is not %u s behind the client's window before; "
                         "sort each client's rows by t_s",
                         w.t_s, WINDOW_S);
    if ((double)w.t_s + WINDOW_S <= period->start_s || (double)w.t_s >= period->end_s)
        return true;
    w.rate_rps *= period->rate_scale;
    if (w.rate_rps > RATE_MAX)
        return text_fail(t, e,
                         "column rate_rps: %g requests/s with servegen.rate_scale; at most %g",
                         w.rate_rps, RATE_MAX);
    c->window = mem_reserve(c->window, &c->cap, c->n + 1, sizeof(*c->window));
    c->window[c->n++] = w;
    return true;
}

static bool read_rates(struct servegen *s, struct rows *r, struct err *e)
{
    const struct params *p = s->env->params;
    double duration_s = params_num(p, trace_params, "trace", "duration_s");
    struct period period = {.start_s = params_num(p, trace_params, "trace", "start_s"),
                            .rate_scale = params_num(p, params, "servegen", "rate_scale")};
    enum trace_status st;

    period.end_s = isnan(duration_s) ? HUGE_VAL : period.start_s + duration_s;
    while ((st = rows_next(r, e)) == TRACE_REC && read_row(s, r, &period, e))
        ;
    return st == TRACE_END;
}

/* ---- lengths ---- */

static void borrow(struct servegen *s, struct client *c)
{
    char stream[96];
    struct rng rng;

    snprintf(stream, sizeof(stream), "servegen.borrow.%.64s", c->name);
    rng_init(&rng, s->env->seed, stream);
    c->lengths = lengths_any(&s->lengths, &rng);
}

/* Gives every client its lengths, and says in `made_up` what was drawn. */
static void match_lengths(struct servegen *s, char *made_up, size_t size)
{
    bool borrows = strcmp(params_str(s->env->params, params, "servegen", "missing"), "borrow") == 0;
    uint64_t n = 0, n_missing = 0, first_s = UINT64_MAX, last_s = 0;
    double all = 0, missing = 0, used;
    char without[64] = "";

    for (size_t i = 0; i < s->n_clients; i++) {
        struct client *c = &s->client[i];
        double requests = 0;

        for (size_t j = 0; j < c->n; j++) {
            requests += c->window[j].rate_rps * WINDOW_S;
            first_s = MIN(first_s, c->window[j].t_s);
            last_s = MAX(last_s, c->window[j].t_s + WINDOW_S);
        }
        c->lengths = lengths_find(&s->lengths, c->name);
        n += c->n > 0;
        all += requests;
        if (c->lengths != NAMES_NONE || c->n == 0)
            continue;
        n_missing++;
        missing += requests;
        if (borrows)
            borrow(s, c);
    }
    used = borrows ? all : all - missing;
    if (n_missing > 0)
        snprintf(without, sizeof(without), ", %" PRIu64 " without lengths (%.0f %%) %s", n_missing,
                 all > 0 ? 100 * missing / all : 0, borrows ? "borrow them" : "left out");
    snprintf(made_up, size, "servegen: %" PRIu64 " clients%s, %.4g req/s drawn, seed %" PRIu64, n,
             without, used > 0 ? used / (double)(last_s - first_s) : 0, s->env->seed);
}

/* ---- drawing ---- */

static double draw_gap(const struct window *w, gsl_rng *rng)
{
    return w->weibull ? gsl_ran_weibull(rng, 1, w->shape) : gsl_ran_gamma(rng, w->shape, 1);
}

static gsl_rng *with_state(struct servegen *s, const struct rng *state)
{
    *(struct rng *)s->rng->state = *state;
    return s->rng;
}

/* Draws the number of requests and, once, all their gaps, for their sum; they are drawn again from
 * the same state as requests are given. One gap more than requests: behind the last one. */
static void open_window(struct servegen *s, struct client *c, const struct window *w)
{
    double expected = w->rate_rps * WINDOW_S;
    char stream[128];
    struct rng chance;
    gsl_rng *rng;

    snprintf(stream, sizeof(stream), "servegen.count.%.64s.%" PRIu64, c->name, w->t_s);
    rng_init(&chance, s->env->seed, stream);
    c->n_left = (uint64_t)expected;
    c->n_left += rng_unit(&chance) < expected - floor(expected);
    snprintf(stream, sizeof(stream), "servegen.gaps.%.64s.%" PRIu64, c->name, w->t_s);
    rng_init(&c->gaps, s->env->seed, stream);
    snprintf(stream, sizeof(stream), "servegen.lengths.%.64s.%" PRIu64, c->name, w->t_s);
    rng_init(&c->tokens, s->env->seed, stream);
    c->sum = c->passed = 0;
    rng = with_state(s, &c->gaps);
    for (uint64_t i = 0; c->n_left > 0 && i <= c->n_left; i++)
        c->sum += draw_gap(w, rng);
}

/* Puts the client's next arrival on the heap, if there is one. */
static void schedule(struct servegen *s, uint32_t id)
{
    struct client *c = &s->client[id];
    const struct window *w;
    gsl_rng *rng;
    double at_s;

    while (c->n_left == 0 && c->next < c->n)
        open_window(s, c, &c->window[c->next++]);
    if (c->n_left == 0)
        return;
    w = &c->window[c->next - 1];
    rng = with_state(s, &c->gaps);
    c->passed += draw_gap(w, rng);
    c->gaps = *(const struct rng *)rng->state;
    c->n_left--;
    /* Gaps so extreme that they are 0 or infinite to the machine: the middle of the window. */
    at_s = c->sum > 0 && isfinite(c->sum) ? WINDOW_S * (c->passed / c->sum) : WINDOW_S / 2.0;
    heap_push(&s->heap, ns_from_s((double)w->t_s + at_s), id);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct servegen *s = self;
    struct heap_item item;
    struct client *c;

    (void)e;
    if (s->heap.n == 0)
        return TRACE_END;
    item = heap_pop(&s->heap);
    c = &s->client[item.id];
    *rec = (struct trace_rec){.seq = s->next_seq++,
                              .line = c->window[c->next - 1].line,
                              .arrival_at = item.at,
                              .after = TRACE_NO_PARENT,
                              .tenant = names_id(s->env->tenants, c->name),
                              .slo_class = NAMES_NONE,
                              .turn = TRACE_NO_TURN};
    lengths_draw(&s->lengths, c->lengths, c->window[c->next - 1].t_s, &c->tokens,
                 &rec->prompt_tokens, &rec->output_tokens);
    schedule(s, item.id);
    return TRACE_REC;
}

/* ---- open, close ---- */

static void close_servegen(void *self)
{
    struct servegen *s = self;

    for (size_t i = 0; i < s->n_clients; i++) {
        mem_free(s->client[i].name);
        mem_free(s->client[i].window);
    }
    mem_free(s->client);
    names_release(&s->ids);
    lengths_release(&s->lengths);
    heap_release(&s->heap);
    gsl_rng_free(s->rng);
    mem_free(s);
}

static bool read_files(struct servegen *s, const char *path, struct err *e)
{
    struct rows rows;
    char *lengths;
    bool ok;

    if (!rows_open(&rows, path, columns, N_REQUIRED, ARRAY_LEN(columns), e))
        return false;
    lengths = servegen_lengths_path(path);
    ok = lengths ? read_rates(s, &rows, e)
                 : text_fail(&rows.text, e,
                             "the lengths lie beside a file called X__rates.csv or "
                             "X__rates.csv.gz; call it so");
    rows_close(&rows);
    ok = ok && lengths_open(&s->lengths, lengths, e);
    mem_free(lengths);
    return ok;
}

static void *open_servegen(const char *path, const struct trace_env *env,
                           struct trace_traits *traits, struct err *e)
{
    struct servegen *s = mem_alloc(sizeof(*s));

    s->env = env;
    names_init(&s->ids);
    s->rng = rng_gsl(env->seed, "servegen");
    if (!read_files(s, path, e)) {
        close_servegen(s);
        return NULL;
    }
    *traits = (struct trace_traits){0};
    match_lengths(s, traits->made_up, sizeof(traits->made_up));
    for (size_t i = 0; i < s->n_clients; i++)
        if (s->client[i].lengths != NAMES_NONE)
            schedule(s, (uint32_t)i);
    return s;
}

const struct trace_ops trace_servegen = {
    .name = "servegen",
    .doc = "ServeGen X__rates.csv with X__lengths_quantiles.csv beside it: requests of every "
           "client, its tenant, are drawn from its rates, gaps and lengths",
    .source = "github.com/alibaba/ServeGen, arXiv 2505.09999",
    .params = params,
    .detect = detect,
    .open = open_servegen,
    .next = next,
    .close = close_servegen,
};
