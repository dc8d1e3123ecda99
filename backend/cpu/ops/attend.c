/* attend.c: attention under a KV policy: of the tokens of a sequence in one layer and KV head, one
 * after the other, over the places that are read, and the statistics that come of it. Where all is
 * read and nothing went, the sums are those of attention.c, in the same order. */
#include "backend/cpu/ops/real.h"

struct attend {
    struct kv_store *s;
    struct kv_sequence *q;
    struct kv_places *p;
    struct kv_scratch *t;
    uint32_t layer, head;
};

void NAME(kv_store_append)(struct kv_store *s, const struct kv_sequence *q, uint32_t layer,
                           uint32_t i, const REAL *k, const REAL *v)
{
    size_t bytes = s->head_dim * sizeof(REAL);

    for (uint32_t h = 0; h < s->heads; h++) {
        const struct kv_places *p = kv_places_at(q, s, layer, h);
        uint32_t place = q->place[(size_t)(layer * s->heads + h) * q->n_new + i];

        memcpy((REAL *)s->kv + kv_place_offset(s, p, place, 0), k + h * s->head_dim, bytes);
        memcpy((REAL *)s->kv + kv_place_offset(s, p, place, 1), v + h * s->head_dim, bytes);
    }
}

static const REAL *in_place(const struct attend *a, uint32_t place, uint32_t part)
{
    return (const REAL *)a->s->kv + kv_place_offset(a->s, a->p, place, part);
}

/* Four places that lie one behind the other. */
static bool are_neighbours(const struct attend *a, const uint32_t *place)
{
    return place[3] - place[0] == 3 && place[0] / a->s->block_size == place[3] / a->s->block_size;
}

/* p[g][i]: softmax over the n places, of each query head. */
INLINE void weights_of(const struct attend *a, const REAL *q, const uint32_t *place, uint32_t n,
                       REAL *p)
{
    uint32_t d = a->s->head_dim, i = 0;
    REAL scale = (REAL)(1 / sqrt((double)d));

    while (i < n) {
        uint32_t step = i + 4 <= n && are_neighbours(a, place + i) ? 4 : 1;
        const REAL *keys = in_place(a, place[i], 0);

        for (uint32_t g = 0; g < a->s->group; g++) {
            if (step == 4)
                dot4(p + (size_t)g * n + i, 1, keys, d, q + g * d, d);
            else
                p[(size_t)g * n + i] = dot(keys, q + g * d, d);
        }
        i += step;
    }
    for (uint32_t g = 0; g < a->s->group; g++)
        softmax(p + (size_t)g * n, n, scale);
}

INLINE void weigh_values(const struct attend *a, const uint32_t *place, uint32_t n, const REAL *p,
                         REAL *out)
{
    uint32_t d = a->s->head_dim;

    memset(out, 0, a->s->group * d * sizeof(REAL));
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t g = 0; g < a->s->group; g++)
            weigh(out + g * d, p + (size_t)g * n + i, in_place(a, place[i], 1), 1, d);
}

/* Sum over the query heads of the i-th place. */
static double mass(const struct attend *a, const REAL *p, uint32_t n, uint32_t i)
{
    double sum = 0;

    for (uint32_t g = 0; g < a->s->group; g++)
        sum += (double)p[(size_t)g * n + i];
    return sum;
}

/* ---- what is read ---- */

/* Places with a token up to this position, in order; masked ones too, or not. */
static uint32_t list_places(const struct attend *a, uint32_t position, bool masked, uint32_t *place)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->p->n_pages * a->s->block_size; i++)
        if (a->p->pos[i] <= position && (masked || !a->p->masked[i]))
            place[n++] = i;
    return n;
}

/* Tokens of a unit that is chosen, and what the policy sees of the units. */
static uint32_t describe_units(const struct attend *a, const REAL *q, const uint32_t *place,
                               uint32_t n, struct kv_query *out)
{
    const struct kv_plan *plan = &a->s->rule->plan;
    uint32_t d = a->s->head_dim, size = plan->read == KV_READ_PAGES ? plan->page : 1;

    *out = (struct kv_query){a->layer, a->head,     a->s->group, d,   div_ceil_u32(n, size),
                             a->t->q,  a->p->least, a->p->most,  NULL};
    for (uint32_t i = 0; i < a->s->group * d; i++)
        a->t->q[i] = (float)q[i];
    if (a->s->stats & KV_EXACT) {
        weights_of(a, q, place, n, a->t->p);
        for (uint32_t i = 0; i < n; i++)
            a->t->mass[i] = (float)mass(a, a->t->p, n, i);
        out->p = a->t->mass;
    }
    return size;
}

/* Leaves of the places those of the units that the policy ranks highest; the last unit always. */
static uint32_t select_places(const struct attend *a, const REAL *q, uint32_t *place, uint32_t n)
{
    const struct kv_rule *r = a->s->rule;
    struct kv_query query;
    uint32_t size = describe_units(a, q, place, n, &query), left = 0;
    uint32_t units = MAX(1, a->p->budget / size);

    if (query.n_units <= units)
        return n;
    r->ops->rank(r->self, &query, a->t->rank);
    a->t->rank[query.n_units - 1] = (float)INFINITY;
    (void)kv_choose(a->t->rank, query.n_units, units, a->t->kept, a->t->order);
    for (uint32_t i = 0; i < n; i++)
        if (a->t->kept[i / size])
            place[left++] = place[i];
    return left;
}

/* The places in t->read, and how many. */
static uint32_t list_read(const struct attend *a, const REAL *q, uint32_t position)
{
    uint32_t n = list_places(a, position, false, a->t->read);
    bool selects = a->s->rule->plan.read != KV_READ_ALL && position >= a->q->prompt;

    return selects && a->p->budget != UINT32_MAX ? select_places(a, q, a->t->read, n) : n;
}

/* ---- statistics ---- */

static void keep_bounds(const struct attend *a, uint32_t first, uint32_t n)
{
    uint32_t d = a->s->head_dim, page = a->s->rule->plan.page;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t place = a->q->place[(size_t)(a->layer * a->s->heads + a->head) * n + i];
        const REAL *key = in_place(a, place, 0);
        float *least = a->p->least + (size_t)(place / page) * d;
        float *most = a->p->most + (size_t)(place / page) * d;

        CHECK(place == first + i, "KV store: pages are read where nothing goes", "place %u at %u",
              place, first + i);
        for (uint32_t c = 0; c < d; c++) {
            float x = (float)key[c];

            least[c] = place % page == 0 ? x : MIN(least[c], x);
            most[c] = place % page == 0 ? x : MAX(most[c], x);
        }
    }
}

static void add_window(const struct attend *a, const REAL *p, uint32_t n)
{
    struct kv_places *s = a->p;
    uint32_t first_row = a->q->prompt - MIN(a->q->prompt, a->s->rule->plan.window);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t place = a->t->read[i];

        for (uint32_t g = 0; g < a->s->group; g++) {
            double x = (double)p[(size_t)g * n + i];

            s->sum[KV_SUM_WINDOW][place] += x;
            s->sum[KV_SUM_WINDOW2][place] += x * x;
            if (x > 0 && s->pos[place] < first_row)
                s->entropy -= x * log(x);
        }
    }
}

static void add_sums(const struct attend *a, const REAL *p, uint32_t n, uint32_t position,
                     bool is_last)
{
    struct kv_places *s = a->p;
    double group = a->s->group;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t place = a->t->read[i];
        double x = mass(a, p, n, i);

        if (s->sum[KV_SUM_COL])
            s->sum[KV_SUM_COL][place] += x;
        if (s->sum[KV_SUM_COL2])
            s->sum[KV_SUM_COL2][place] += x / group * (x / group);
        if (s->sum[KV_SUM_LAST] && is_last)
            s->sum[KV_SUM_LAST][place] = x / group;
    }
    if (s->sum[KV_SUM_WINDOW] && position < a->q->prompt &&
        position + a->s->rule->plan.window >= a->q->prompt)
        add_window(a, p, n);
}

/* ---- against full attention ---- */

/* The sum of the `m` largest of t->mass[n]; marks them in t->kept. */
static double largest(const struct attend *a, uint32_t n, uint32_t m)
{
    double sum = 0;

    (void)kv_choose(a->t->mass, n, m, a->t->kept, a->t->order);
    for (uint32_t i = 0; i < n; i++)
        sum += a->t->kept[i] ? (double)a->t->mass[i] : 0;
    return sum;
}

static uint32_t largest_of(const REAL *x, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Holds `out`, over the n places in t->read, against attention over all places, which it then
 * becomes. Both lists are in order of place. */
static void measure(const struct attend *a, const REAL *q, uint32_t n, uint32_t position, REAL *out)
{
    struct kv_measure *m = &a->p->measure;
    struct kv_scratch *t = a->t;
    uint32_t d = a->s->head_dim, group = a->s->group, k = 0;
    uint32_t all = list_places(a, position, true, t->all), ten = MIN(10u, all);
    REAL *full = t->out, *p = t->p_full;
    double read = 0, top = 0;

    weights_of(a, q, t->all, all, p);
    weigh_values(a, t->all, all, p, full);
    for (uint32_t g = 0; g < group; g++)
        a->p->top[g] = a->p->pos[t->all[largest_of(p + (size_t)g * all, all)]];
    for (uint32_t i = 0; i < all; i++)
        t->mass[i] = (float)mass(a, p, all, i);
    m->best_recall += largest(a, all, n) / group;
    (void)largest(a, all, ten);
    for (uint32_t i = 0; i < all && k < n; i++) {
        if (t->read[k] != t->all[i])
            continue;
        read += (double)t->mass[i];
        top += t->kept[i];
        k++;
    }
    m->rows++;
    m->recall += read / group;
    m->top10 += top / ten;
    m->read += n;
    for (uint32_t i = 0; i < group * d; i++) {
        double o = (double)full[i], gap = (double)out[i] - o;

        m->error += gap * gap;
        m->norm += o * o;
        out[i] = full[i];
    }
}

WIDE static void NAME(attend_rows)(const struct attend *a, REAL *out, const REAL *q, uint32_t n,
                                   uint32_t position)
{
    size_t cols = (size_t)a->s->heads * a->s->group * a->s->head_dim;

    for (uint32_t i = 0; i < n; i++, q += cols, out += cols) {
        uint32_t m = list_read(a, q, position + i);

        weights_of(a, q, a->t->read, m, a->t->p);
        weigh_values(a, a->t->read, m, a->t->p, out);
        add_sums(a, a->t->p, m, position + i, i + 1 == n);
        if (a->s->config.open_loop && position + i >= a->q->prompt)
            measure(a, q, m, position + i, out);
    }
}

void NAME(attend)(struct kv_store *s, struct kv_sequence *sequence, uint32_t layer, uint32_t head,
                  REAL *out, const REAL *q, uint32_t n, uint32_t position,
                  struct kv_scratch *scratch)
{
    struct kv_places *places = kv_places_at(sequence, s, layer, head);
    struct attend a = {s, sequence, places, scratch, layer, head};

    if (s->stats & KV_PAGE_BOUNDS)
        keep_bounds(&a, position, n);
    NAME(attend_rows)(&a, out, q, n, position);
}
