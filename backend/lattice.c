/* lattice.c: see lattice.h. A lattice is a tree: a node an axis, its keys ascending, and behind
 * each key the node of the next axis; behind the keys of the last axis are values. */
#include "backend/lattice.h"

#include <math.h>
#include <stdlib.h>

struct lattice_node {
    uint32_t n;
    const double *key;                /* ascending */
    const double *value;              /* last axis: one a key; else NULL */
    const struct lattice_node *child; /* other axes: one a key; else NULL */
    double first;                     /* smallest key of the last axis in it */
};

/* ---- between two points ---- */

static double between(double x, double x0, double y0, double x1, double y1)
{
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0));
}

/* Beyond the last point: from the point at half its key, never falling. */
static double slope_from(double x0, double y0, double x1, double y1)
{
    return x1 > x0 && y1 > y0 ? (y1 - y0) / (x1 - x0) : 0;
}

/* Number of keys <= x. */
static uint32_t keys_upto(const double *key, uint32_t n, double x)
{
    uint32_t low = 0;

    while (n > 0) {
        uint32_t half = n / 2;

        if (key[low + half] <= x) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

/* ---- curves ---- */

static int by_keys(const void *a, const void *b)
{
    const struct lattice_row *x = a, *y = b;

    for (uint32_t i = 0; i < LATTICE_AXES_MAX; i++)
        if (x->key[i] < y->key[i] || x->key[i] > y->key[i])
            return x->key[i] < y->key[i] ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

/* Sorts, with the keys of unused axes equal. False: two rows have the same keys. */
static bool sort_rows(struct lattice_row *row, size_t n, uint32_t axes, uint64_t *twice)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = axes; j < LATTICE_AXES_MAX; j++)
            row[i].key[j] = 0;
    if (n > 0)
        qsort(row, n, sizeof(*row), by_keys);
    for (size_t i = 1; i < n; i++) {
        struct lattice_row before = row[i - 1];

        before.line = row[i].line;
        if (by_keys(&before, &row[i]) == 0) {
            *twice = row[i].line;
            return false;
        }
    }
    return true;
}

static void set_slope(struct curve *c)
{
    uint32_t last = c->n - 1;
    uint32_t half = keys_upto(c->x, c->n, c->x[last] / 2);
    uint32_t from = half > 0 ? half - 1 : 0;

    c->slope = slope_from(c->x[from], c->y[from], c->x[last], c->y[last]);
}

bool curve_build(struct curve *c, struct arena *a, struct lattice_row *row, size_t n,
                 uint64_t *twice)
{
    double *x = arena_alloc(a, n * sizeof(*x)), *y = arena_alloc(a, n * sizeof(*y));

    *c = (struct curve){.x = x, .y = y, .n = (uint32_t)n};
    if (!sort_rows(row, n, 1, twice))
        return false;
    for (size_t i = 0; i < n; i++) {
        x[i] = row[i].key[0];
        y[i] = row[i].value;
    }
    if (n > 0)
        set_slope(c);
    return true;
}

double curve_at(const struct curve *c, double x, bool *outside)
{
    uint32_t i = keys_upto(c->x, c->n, x);

    if (i == 0) {
        *outside = true;
        return c->y[0];
    }
    i--;
    if (i + 1 < c->n)
        return between(x, c->x[i], c->y[i], c->x[i + 1], c->y[i + 1]);
    *outside = *outside || x > c->x[i];
    return c->y[i] + (x - c->x[i]) * c->slope;
}

void curve_add(struct curve *sum, struct arena *a, const struct curve *c, double times)
{
    const struct curve old = *sum;
    double *x = arena_alloc(a, (old.n + c->n) * sizeof(*x));
    double *y = arena_alloc(a, (old.n + c->n) * sizeof(*y));
    uint32_t i = 0, j = 0, n = 0;
    bool unused = false;

    while (i < old.n || j < c->n) {
        bool take_old = j == c->n || (i < old.n && old.x[i] <= c->x[j]);
        double at = take_old ? old.x[i] : c->x[j];

        i += i < old.n && old.x[i] <= at;
        j += j < c->n && c->x[j] <= at;
        x[n] = at;
        y[n++] = (old.n ? curve_at(&old, at, &unused) : 0) + times * curve_at(c, at, &unused);
    }
    *sum = (struct curve){.x = x, .y = y, .n = n, .slope = old.slope + times * c->slope};
}

/* ---- lattices: building ---- */

static void build_node(struct lattice_node *node, struct arena *a, uint32_t axis, uint32_t axes,
                       const struct lattice_row *row, size_t n)
{
    bool last = axis + 1 == axes;
    uint32_t n_keys = 0;
    double *key, *value = NULL;
    struct lattice_node *child = NULL;

    for (size_t i = 0; i < n; i++)
        n_keys += i == 0 || row[i].key[axis] > row[i - 1].key[axis];
    key = arena_alloc(a, n_keys * sizeof(*key));
    if (last)
        value = arena_alloc(a, n_keys * sizeof(*value));
    else
        child = arena_alloc(a, n_keys * sizeof(*child));
    *node = (struct lattice_node){.n = n_keys, .key = key, .value = value, .child = child};
    for (size_t from = 0, to, k = 0; from < n; from = to, k++) {
        for (to = from + 1; to < n && row[to].key[axis] <= row[from].key[axis];)
            to++;
        key[k] = row[from].key[axis];
        if (last)
            value[k] = row[from].value;
        else
            build_node(&child[k], a, axis + 1, axes, &row[from], to - from);
        double first = last ? key[k] : child[k].first;
        node->first = k == 0 ? first : MIN(node->first, first);
    }
}

bool lattice_build(struct lattice *l, struct arena *a, uint32_t axes, struct lattice_row *row,
                   size_t n, uint64_t *twice)
{
    struct lattice_node *root;

    CHECK(axes >= 1 && axes <= LATTICE_AXES_MAX, "a lattice has 1 to 5 axes", "%u", axes);
    *l = (struct lattice){.axes = axes};
    if (!sort_rows(row, n, axes, twice))
        return false;
    if (n == 0)
        return true;
    root = arena_alloc(a, sizeof(*root));
    build_node(root, a, 0, axes, row, n);
    l->root = root;
    return true;
}

/* ---- lattices: looking up ---- */

#define NO_KEY UINT32_MAX

struct query {
    const double *key; /* one an axis */
    double last;       /* key of the last axis; INFINITY: every slice answers */
    bool flat, outside;
};

/* Whether the slice behind the i-th key answers for the last key. */
static bool covers(const struct lattice_node *node, uint32_t i, double last)
{
    return node->value || node->child[i].first <= last;
}

/* The nearest covering key at or before i, NO_KEY: none. */
static uint32_t covering_down(const struct lattice_node *node, uint32_t i, double last)
{
    for (i++; i > 0; i--)
        if (covers(node, i - 1, last))
            return i - 1;
    return NO_KEY;
}

static uint32_t covering_up(const struct lattice_node *node, uint32_t i, double last)
{
    for (; i < node->n; i++)
        if (covers(node, i, last))
            return i;
    return NO_KEY;
}

static double node_at(const struct lattice_node *node, uint32_t axis, struct query *q);

static double behind(const struct lattice_node *node, uint32_t i, uint32_t axis, struct query *q)
{
    return node->value ? node->value[i] : node_at(&node->child[i], axis + 1, q);
}

/* From the covering key at half the last one's value to it and on. */
static double beyond(const struct lattice_node *node, uint32_t i, double last, uint32_t axis,
                     struct query *q)
{
    double x = q->key[axis], x1 = node->key[i], y1 = behind(node, i, axis, q);
    uint32_t half = keys_upto(node->key, i, x1 / 2);
    uint32_t from = half > 0 ? covering_down(node, half - 1, last) : NO_KEY;

    q->outside = true;
    if (q->flat)
        return y1;
    if (from == NO_KEY)
        from = covering_up(node, 0, last);
    return y1 + (x - x1) * slope_from(node->key[from], behind(node, from, axis, q), x1, y1);
}

static double node_at(const struct lattice_node *node, uint32_t axis, struct query *q)
{
    double x = q->key[axis];
    double last = node->first <= q->last ? q->last : (double)INFINITY; /* nobody: then all */
    uint32_t upto = keys_upto(node->key, node->n, x);
    uint32_t low = upto > 0 ? covering_down(node, upto - 1, last) : NO_KEY;
    uint32_t high;

    if (low != NO_KEY && node->key[low] >= x)
        return behind(node, low, axis, q);
    high = covering_up(node, upto, last);
    if (low != NO_KEY && high != NO_KEY) {
        double y0 = behind(node, low, axis, q), y1 = behind(node, high, axis, q);
        return between(x, node->key[low], y0, node->key[high], y1);
    }
    if (low != NO_KEY)
        return beyond(node, low, last, axis, q);
    q->outside = true;
    return behind(node, high, axis, q);
}

double lattice_at(const struct lattice *l, const double *key, bool *outside)
{
    struct query q = {.key = key, .flat = l->flat};
    double value;

    q.last = l->flat ? (double)INFINITY : key[l->axes - 1];
    value = node_at(l->root, 0, &q);

    *outside = *outside || q.outside;
    return value;
}
