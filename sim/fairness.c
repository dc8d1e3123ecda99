/* fairness.c: service, backlog windows of pairs, Jain's index. What must hold:
 *
 * - A pair's window consists of whole decisions. It opens with the first decision after which both
 *   have waiting requests, and is measured from before that decision's admissions; it ends before
 *   the admissions of the first decision after which one of them has none.
 * - Within a window D = W_i - W_j is looked at after every change. The largest change of D between
 *   any two points of the window (a window within a window is one too) is max D - min D, so two
 *   numbers a pair are all that is kept.
 * - Work is (tenants whose service changed) x (backlogged tenants) per call, none with one tenant.
 */
#include "sim/fairness.h"

#include <math.h>
#include <string.h>

/* Extremes of D = W_i - W_j over the open window of the pair i < j. */
struct fairness_pairs {
    struct {
        double min, max;
    } d[FAIRNESS_PAIR_TENANTS][FAIRNESS_PAIR_TENANTS];
};

static inline uint64_t bit(uint32_t rank)
{
    return UINT64_C(1) << rank;
}

/* Takes the lowest rank out of a mask that is not empty. */
static inline uint32_t take_lowest(uint64_t *mask)
{
    uint32_t rank = (uint32_t)__builtin_ctzll(*mask);
    *mask &= *mask - 1;
    return rank;
}

void fairness_init(struct fairness *f, double wp, double wq)
{
    *f = (struct fairness){.wp = wp, .wq = wq, .diff_max = (double)NAN, .last_first_at = -1};
}

void fairness_release(struct fairness *f)
{
    mem_free(f->tokens);
    mem_free(f->waiting);
    mem_free(f->pairs);
    mem_free(f->last_at);
    mem_free(f->at_start);
    mem_free(f->at_last);
    fairness_init(f, f->wp, f->wq);
}

double fairness_service(const struct fairness *f, uint32_t rank)
{
    const struct fairness_tokens *t = &f->tokens[rank];
    return f->wp * (double)t->prompt + f->wq * (double)t->output;
}

/* ---- windows of pairs ---- */

/* W_i - W_j without the charges of either: monotone while only outputs grow at steady rates, so
 * that steps between two looks cannot have passed an extreme unseen. */
static double difference(const struct fairness *f, uint32_t i, uint32_t j, bool before_charges)
{
    static const struct fairness_tokens none;
    const struct fairness_tokens *a = &f->tokens[i], *b = &f->tokens[j];
    const struct fairness_tokens *ca = before_charges ? &f->charge[i] : &none;
    const struct fairness_tokens *cb = before_charges ? &f->charge[j] : &none;
    int64_t prompt = (int64_t)(a->prompt - ca->prompt) - (int64_t)(b->prompt - cb->prompt);
    int64_t output = (int64_t)(a->output - ca->output) - (int64_t)(b->output - cb->output);
    return f->wp * (double)prompt + f->wq * (double)output;
}

static void see_difference(struct fairness *f, uint32_t a, uint32_t b, bool opens)
{
    uint32_t i = MIN(a, b), j = MAX(a, b);
    double d = difference(f, i, j, false);
    double *min = &f->pairs->d[i][j].min, *max = &f->pairs->d[i][j].max;

    if (opens)
        *min = *max = difference(f, i, j, true);
    *min = MIN(*min, d);
    *max = MAX(*max, d);
    f->diff_max = fmax(f->diff_max, *max - *min); /* fmax ignores the NaN of "none yet" */
}

/* Every pair of one of `some` with another of `all`, once. */
static void see_pairs(struct fairness *f, uint64_t some, uint64_t all, bool opens)
{
    while (some) {
        uint32_t i = take_lowest(&some);
        all &= ~bit(i);
        for (uint64_t others = all; others;)
            see_difference(f, i, take_lowest(&others), opens);
    }
}

static void settle(struct fairness *f)
{
    see_pairs(f, f->changed & f->backlogged, f->backlogged, false);
    f->changed = 0;
}

void fairness_decide_begin(struct fairness *f)
{
    settle(f);
    f->deciding = true;
}

void fairness_decide_end(struct fairness *f)
{
    uint64_t joined = f->waiting_mask & ~f->backlogged;
    uint64_t stayed = f->waiting_mask & f->backlogged;

    f->deciding = false;
    see_pairs(f, joined, f->waiting_mask, true);
    see_pairs(f, f->changed & stayed, stayed, false);
    for (uint64_t charged = f->changed; charged;)
        f->charge[take_lowest(&charged)] = (struct fairness_tokens){0};
    f->changed = 0;
    f->backlogged = f->waiting_mask;
}

void fairness_step_end(struct fairness *f)
{
    settle(f);
}

/* ---- facts ---- */

void fairness_waiting(struct fairness *f, uint32_t rank, int delta)
{
    CHECK(delta >= 0 || f->waiting[rank] >= (uint64_t)-delta,
          "fairness: waiting requests are not negative", "tenant %u has %llu, change %d", rank,
          (unsigned long long)f->waiting[rank], delta);
    f->waiting[rank] += (uint64_t)(int64_t)delta;
    if (rank >= FAIRNESS_PAIR_TENANTS)
        return;
    if (f->waiting[rank] > 0)
        f->waiting_mask |= bit(rank);
    else
        f->waiting_mask &= ~bit(rank);
}

void fairness_charge(struct fairness *f, uint32_t rank, uint64_t prompt, uint64_t output)
{
    f->tokens[rank].prompt += prompt;
    f->tokens[rank].output += output;
    if (rank >= FAIRNESS_PAIR_TENANTS)
        return;
    f->changed |= bit(rank);
    if (f->deciding) {
        f->charge[rank].prompt += prompt;
        f->charge[rank].output += output;
    }
}

static void add_tenant(struct fairness *f)
{
    size_t need = (size_t)f->n + 1;

    f->tokens = mem_reserve(f->tokens, &f->tokens_cap, need, sizeof(*f->tokens));
    f->waiting = mem_reserve(f->waiting, &f->waiting_cap, need, sizeof(*f->waiting));
    f->last_at = mem_reserve(f->last_at, &f->last_at_cap, need, sizeof(*f->last_at));
    f->tokens[f->n] = (struct fairness_tokens){0};
    f->waiting[f->n] = 0;
    f->n++;
    if (f->n == 1) {
        f->at_start = mem_alloc(FAIRNESS_JAIN_TENANTS * sizeof(double));
        f->at_last = mem_alloc((size_t)FAIRNESS_JAIN_TENANTS * FAIRNESS_JAIN_TENANTS *
                               sizeof(double)); /* 2 MiB; only rows in use are touched */
    } else if (f->n == 2) {
        f->pairs = mem_alloc(sizeof(*f->pairs));
    }
}

static void copy_service(const struct fairness *f, double *to)
{
    for (uint32_t i = 0; i < f->n; i++)
        to[i] = fairness_service(f, i);
}

/* A row written before the last tenant arrived is shorter than the number of tenants; it is never
 * read, for a last arrival from then leaves Jain's window empty. */
void fairness_arrival(struct fairness *f, uint32_t rank, ns_t at)
{
    CHECK(rank <= f->n, "fairness: ranks are dense", "rank %u of %u tenants", rank, f->n);
    bool is_new = rank == f->n;
    if (is_new)
        add_tenant(f);
    f->last_at[rank] = at;
    if (f->n > FAIRNESS_JAIN_TENANTS)
        return;
    if (is_new) {
        f->last_first_at = at;
        copy_service(f, f->at_start);
    }
    copy_service(f, &f->at_last[(size_t)rank * FAIRNESS_JAIN_TENANTS]);
}

/* ---- answers ---- */

double fairness_diff_max(const struct fairness *f)
{
    return f->diff_max;
}

double fairness_diff_all(const struct fairness *f)
{
    if (f->n == 0)
        return (double)NAN;
    double least = fairness_service(f, 0), most = least;
    for (uint32_t i = 1; i < f->n; i++) {
        double w = fairness_service(f, i);
        least = MIN(least, w);
        most = MAX(most, w);
    }
    return most - least;
}

double fairness_jain(const struct fairness *f, bool *whole_run)
{
    const double *end = NULL, *start = NULL; /* NULL: now, and 0 */
    double sum = 0, squares = 0;
    uint32_t first_gone = 0; /* whose last arrival is the earliest */

    *whole_run = true;
    if (f->n == 0)
        return (double)NAN;
    for (uint32_t i = 1; i < f->n; i++)
        if (f->last_at[i] < f->last_at[first_gone])
            first_gone = i;
    if (f->n <= FAIRNESS_JAIN_TENANTS && f->last_at[first_gone] > f->last_first_at) {
        *whole_run = false;
        start = f->at_start;
        end = &f->at_last[(size_t)first_gone * FAIRNESS_JAIN_TENANTS];
    }
    /* Rates would only divide all of them by the same length. */
    for (uint32_t i = 0; i < f->n; i++) {
        double x = (end ? end[i] : fairness_service(f, i)) - (start ? start[i] : 0);
        sum += x;
        squares += x * x;
    }
    return squares > 0 ? sum * sum / (f->n * squares) : 1;
}
