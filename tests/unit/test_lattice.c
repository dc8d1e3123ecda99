/* test_lattice.c: curves and ragged lattices: by hand, exact at their rows, straight where the
 * values are, and against a second implementation of lattice.h's rule that knows no tree. */
#include "backend/lattice.h"
#include "sim/rng.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#define NEAR 1e-9

static struct arena arena;

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_release(&arena);
}

/* ---- curves ---- */

static struct curve curve_of(const double (*xy)[2], size_t n)
{
    struct lattice_row *row = arena_alloc(&arena, n * sizeof(*row));
    struct curve c;
    uint64_t twice;

    for (size_t i = 0; i < n; i++)
        row[i] = (struct lattice_row){.key = {xy[n - 1 - i][0]}, .value = xy[n - 1 - i][1]};
    ck_assert(curve_build(&c, &arena, row, n, &twice));
    return c;
}

/* Beyond 8 on: from the row at 4 to that at 8, 2 a unit, however steep the last piece is. */
static const double bent[][2] = {{1, 10}, {2, 12}, {4, 20}, {7, 10}, {8, 28}};
/* Falling at the end: stays. */
static const double falling[][2] = {{1, 10}, {2, 20}, {4, 5}};
static const double single[][2] = {{3, 7}};

#define CURVE(xy) xy, ARRAY_LEN(xy)

static const struct {
    const double (*xy)[2];
    size_t n;
    double x, y;
    bool outside;
} curve_cases[] = {
    {CURVE(bent), 1, 10, false},    {CURVE(bent), 2, 12, false},   {CURVE(bent), 3, 16, false},
    {CURVE(bent), 7.5, 19, false},  {CURVE(bent), 8, 28, false},   {CURVE(bent), 0, 10, true},
    {CURVE(bent), 9, 30, true},     {CURVE(bent), 108, 228, true}, {CURVE(falling), 4, 5, false},
    {CURVE(falling), 400, 5, true}, {CURVE(single), 3, 7, false},  {CURVE(single), 9, 7, true},
    {CURVE(single), 1, 7, true},
};

START_TEST(test_curve)
{
    struct curve c = curve_of(curve_cases[_i].xy, curve_cases[_i].n);
    bool outside = false;

    ck_assert_double_eq_tol(curve_at(&c, curve_cases[_i].x, &outside), curve_cases[_i].y, NEAR);
    ck_assert_int_eq(outside, curve_cases[_i].outside);
    outside = true; /* it is never taken back */
    curve_at(&c, curve_cases[_i].x, &outside);
    ck_assert(outside);
}
END_TEST

START_TEST(test_curve_sum)
{
    struct curve a = curve_of(bent, ARRAY_LEN(bent)), b = curve_of(falling, ARRAY_LEN(falling));
    struct curve sum = {0};

    curve_add(&sum, &arena, &a, 2);
    curve_add(&sum, &arena, &b, 3);
    for (double x = 0; x < 40; x += 0.125) {
        bool outside = false, out_a = false;
        double expected = 2 * curve_at(&a, x, &out_a) + 3 * curve_at(&b, x, &outside);

        outside = false;
        ck_assert_double_eq_tol(curve_at(&sum, x, &outside), expected, NEAR);
        ck_assert_int_eq(outside, out_a); /* `bent` reaches further */
    }
}
END_TEST

START_TEST(test_twice)
{
    struct lattice_row row[] = {{{2, 1}, 5, 10}, {{1, 1}, 5, 11}, {{2, 1}, 6, 12}};
    struct lattice l;
    struct curve c;
    uint64_t line = 0;

    ck_assert(!lattice_build(&l, &arena, 2, row, ARRAY_LEN(row), &line));
    ck_assert_uint_eq(line, 12);
    ck_assert(!curve_build(&c, &arena, row, ARRAY_LEN(row), &line));
    ck_assert_uint_eq(line, 12);
    row[2].key[1] = 2; /* an axis more tells them apart */
    ck_assert(lattice_build(&l, &arena, 2, row, ARRAY_LEN(row), &line));
}
END_TEST

/* ---- lattices by hand ---- */

static struct lattice lattice_of(uint32_t axes, const struct lattice_row *rows, size_t n)
{
    struct lattice_row *row = arena_alloc(&arena, n * sizeof(*row));
    struct lattice l;
    uint64_t twice;

    for (size_t i = 0; i < n; i++)
        row[i] = rows[n - 1 - i];
    ck_assert(lattice_build(&l, &arena, axes, row, n, &twice));
    return l;
}

/* Chunks 16 and 32 were measured from 16 tokens of context on, 24 from 512 on; corners are absent:
 * chunk 32 ends at 512. */
static const struct lattice_row overlaid[] = {
    {{16, 16}, 10, 0},    {{16, 512}, 110, 0}, {{16, 1024}, 210, 0}, {{24, 512}, 500, 0},
    {{24, 1024}, 600, 0}, {{32, 16}, 30, 0},   {{32, 512}, 330, 0},
};

static const struct {
    double chunk, context, value;
    bool outside;
} overlaid_cases[] = {
    {16, 16, 10, false},   {24, 1024, 600, false},
    {16, 264, 60, false},  /* halfway in that slice's own keys */
    {20, 16, 15, false},   /* a quarter from 16 to 32: 24 does not reach down */
    {24, 16, 20, false},   /* not even at its own key */
    {20, 512, 305, false}, /* half from 16 to 24 */
    {20, 768, 355, false}, /* (160 + 550) / 2 */
    {28, 512, 415, false}, /* half from 24 to 32 */
    {8, 512, 110, true},   /* below: the first chunk's */
    {16, 8, 10, true},     /* below in context */
    {28, 8, 265, true},    /* nobody reaches down: all count, (500 + 30) / 2 */
    {16, 2048, 410, true}, /* on with 100 a 512 */
    {32, 1008, 630, true}, /* 300 a 496, from 16: there is no key at half of 512 */
    {64, 512, 770, true},  /* from 16, the half: 220 a 16 chunks */
};

START_TEST(test_overlaid)
{
    struct lattice l = lattice_of(2, overlaid, ARRAY_LEN(overlaid));
    const double key[] = {overlaid_cases[_i].chunk, overlaid_cases[_i].context};
    bool outside = false;

    ck_assert_double_eq_tol(lattice_at(&l, key, &outside), overlaid_cases[_i].value, NEAR);
    ck_assert_int_eq(outside, overlaid_cases[_i].outside);
}
END_TEST

/* The ends of a flat one hold, and every slice answers below its first row. */
START_TEST(test_flat)
{
    struct lattice l = lattice_of(2, overlaid, ARRAY_LEN(overlaid));
    static const double cases[][3] = {{16, 4096, 210}, {20, 16, 255}, {24, 16, 500},
                                      {64, 512, 330},  {8, 8, 10},    {20, 512, 305}};

    l.flat = true;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool outside = false;

        ck_assert_double_eq_tol(lattice_at(&l, cases[i], &outside), cases[i][2], NEAR);
    }
}
END_TEST

/* ---- any lattice ---- */

#define ROWS_MAX 400u

/* Ragged: a random part of a grid with few, unevenly spaced keys an axis. */
static size_t random_rows(struct rng *rng, uint32_t axes, struct lattice_row row[ROWS_MAX])
{
    double keys[LATTICE_AXES_MAX][5];
    uint32_t n_keys[LATTICE_AXES_MAX], of[LATTICE_AXES_MAX] = {0};
    size_t n = 0;

    for (uint32_t i = 0; i < axes; i++) {
        n_keys[i] = 1 + (uint32_t)rng_below(rng, axes > 3 ? 3 : 5);
        for (uint32_t j = 0; j < n_keys[i]; j++)
            keys[i][j] = (j ? keys[i][j - 1] : 0) + 1 + (double)rng_below(rng, 20);
    }
    for (;;) {
        if (rng_below(rng, 10) < 7 || n == 0) {
            for (uint32_t i = 0; i < axes; i++)
                row[n].key[i] = keys[i][of[i]];
            row[n++].value = (double)rng_below(rng, 1000);
        }
        uint32_t i = 0;
        while (i < axes && ++of[i] == n_keys[i])
            of[i++] = 0;
        if (i == axes)
            return n;
    }
}

/* The rule again, on lists of rows: nearest keys below and above whose rows reach down to the last
 * key; if none's do, any. */
struct brute {
    const double *key;
    uint32_t axes;
    bool flat, outside;
};

static double brute_at(struct brute *b, const struct lattice_row *row, size_t n, uint32_t axis);

static double brute_behind(struct brute *b, const struct lattice_row *row, size_t n, uint32_t axis,
                           double key)
{
    struct lattice_row part[ROWS_MAX];
    size_t m = 0;

    for (size_t i = 0; i < n; i++)
        if (!(row[i].key[axis] < key) && !(row[i].key[axis] > key))
            part[m++] = row[i];
    return axis + 1 == b->axes ? part[0].value : brute_at(b, part, m, axis + 1);
}

static double first_of(const struct brute *b, const struct lattice_row *row, size_t n,
                       uint32_t axis, double key)
{
    double first = (double)INFINITY;

    for (size_t i = 0; i < n; i++)
        if (!(row[i].key[axis] < key) && !(row[i].key[axis] > key))
            first = fmin(first, row[i].key[b->axes - 1]);
    return first;
}

static double brute_at(struct brute *b, const struct lattice_row *row, size_t n, uint32_t axis)
{
    double x = b->key[axis], last = b->key[b->axes - 1], low = -1, high = -1, half = -1;
    bool last_axis = axis + 1 == b->axes, any = false;

    for (size_t i = 0; i < n; i++)
        any = any || row[i].key[b->axes - 1] <= last;
    for (size_t i = 0; i < n; i++) {
        double k = row[i].key[axis];
        bool answers = last_axis || !any || b->flat || first_of(b, row, n, axis, k) <= last;

        if (answers && k <= x)
            low = fmax(low, k);
        if (answers && k > x)
            high = high < 0 ? k : fmin(high, k);
    }
    if (low >= x)
        return brute_behind(b, row, n, axis, low);
    if (low < 0 || high < 0)
        b->outside = true;
    if (low < 0)
        return brute_behind(b, row, n, axis, high);
    double y = brute_behind(b, row, n, axis, low);
    if (high >= 0)
        return y + (brute_behind(b, row, n, axis, high) - y) * ((x - low) / (high - low));
    if (b->flat)
        return y;
    for (int pass = 0; pass < 2 && half < 0; pass++)
        for (size_t i = 0; i < n; i++) {
            double k = row[i].key[axis];
            bool answers = last_axis || !any || first_of(b, row, n, axis, k) <= last;

            if (answers && pass == 0 && k <= low / 2)
                half = fmax(half, k);
            if (answers && pass == 1)
                half = half < 0 ? k : fmin(half, k);
        }
    double y0 = brute_behind(b, row, n, axis, half);
    return half < low && y0 < y ? y + (x - low) * ((y - y0) / (low - half)) : y;
}

static void compare_with_brute(struct rng *rng, uint32_t axes)
{
    struct lattice_row row[ROWS_MAX];
    size_t n = random_rows(rng, axes, row);
    struct lattice l = lattice_of(axes, row, n);

    l.flat = rng_below(rng, 4) == 0;
    for (size_t i = 0; i < n; i++) {
        bool outside = false;

        ck_assert_double_eq(lattice_at(&l, row[i].key, &outside), row[i].value);
        ck_assert(!outside);
    }
    for (unsigned q = 0; q < 50; q++) {
        double key[LATTICE_AXES_MAX];
        struct brute b = {.key = key, .axes = axes, .flat = l.flat};
        bool outside = false;

        for (uint32_t i = 0; i < axes; i++)
            key[i] =
                rng_below(rng, 3) ? (double)rng_below(rng, 100) : row[rng_below(rng, n)].key[i];
        double expected = brute_at(&b, row, n, 0), got = lattice_at(&l, key, &outside);

        ck_assert_double_eq_tol(got, expected, 1e-6 * fmax(1, fabs(expected)));
        ck_assert_int_eq(outside, b.outside);
    }
}

START_TEST(test_brute)
{
    struct rng rng;

    rng_init(&rng, (uint64_t)_i, "lattice");
    for (uint32_t axes = 1; axes <= LATTICE_AXES_MAX; axes++)
        compare_with_brute(&rng, axes);
    arena_release(&arena);
}
END_TEST

/* On a full grid a sum of rising straight lines comes back everywhere, beyond its end as well. */
START_TEST(test_straight)
{
    struct lattice_row row[81];
    struct lattice l;
    size_t n = 0;

    for (unsigned i = 0; i < 81; i++) {
        double k[] = {1 + i % 3, 2 + 5 * (i / 3 % 3), 3 + i / 9 % 3, 4 + 2 * (i / 27)};

        row[n] = (struct lattice_row){.value = 7 + k[0] + 2 * k[1] + 3 * k[2] + 4 * k[3]};
        for (unsigned j = 0; j < 4; j++)
            row[n].key[j] = k[j];
        n++;
    }
    l = lattice_of(4, row, n);
    for (double s = 0; s < 20; s += 0.7) {
        const double key[] = {1 + s, 2 + s, 3 + s, 4 + s};
        bool outside = false;
        double expected = 7 + key[0] + 2 * key[1] + 3 * key[2] + 4 * key[3];

        ck_assert_double_eq_tol(lattice_at(&l, key, &outside), expected, 1e-6);
        ck_assert_int_eq(outside, s > 2);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lattice");
    TCase *tc = tcase_create("lattice");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_curve, 0, ARRAY_LEN(curve_cases));
    tcase_add_test(tc, test_curve_sum);
    tcase_add_test(tc, test_twice);
    tcase_add_loop_test(tc, test_overlaid, 0, ARRAY_LEN(overlaid_cases));
    tcase_add_test(tc, test_flat);
    tcase_add_loop_test(tc, test_brute, 0, 60);
    tcase_add_test(tc, test_straight);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
