/* test_generate_parts.c: what generators are built from: the files that a SPEC names, the heap of
 * sessions, quantiles turned into lengths. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim/rng.h"
#include "traces/dist.h"
#include "traces/heap.h"
#include "traces/spec.h"

START_TEST(files_in_a_spec)
{
    static const struct {
        const char *spec, *files[3];
    } cases[] = {
        {"generate:poisson,n=5", {NULL}},
        {"generate:poisson,prompt=empirical:a.csv,n=5", {"a.csv", NULL}},
        {"generate:poisson,prompt=empirical:/x/a=b.csv:col,output=empirical:c",
         {"/x/a=b.csv", "c"}},
        {"generate:agent,calls=d/e.gz,n=1", {"d/e.gz", NULL}},
        {"generate:agent,notcalls=d", {NULL}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *at = cases[i].spec, *file;
        size_t n = 0, len;

        for (; (file = spec_file(&at, &len)) != NULL; n++) {
            ck_assert_ptr_nonnull(cases[i].files[n]);
            ck_assert_uint_eq(len, strlen(cases[i].files[n]));
            ck_assert_mem_eq(file, cases[i].files[n], len);
        }
        ck_assert_ptr_null(cases[i].files[n]);
    }
}
END_TEST

START_TEST(heap_order)
{
    struct heap h = {0};
    struct heap_item last = {.at = -1};
    struct rng rng;
    size_t n = 0;

    rng_init(&rng, 1, "test");
    for (unsigned round = 0; round < 3000; round++) {
        heap_push(&h, (ns_t)rng_below(&rng, 500), round);
        n++;
        if (rng_below(&rng, 3) == 0) {
            heap_pop(&h);
            n--;
        }
    }
    ck_assert_uint_eq(h.n, n);
    while (h.n > 0) {
        struct heap_item item = heap_pop(&h);

        ck_assert(item.at > last.at || (item.at == last.at && item.id > last.id));
        last = item;
        n--;
    }
    ck_assert_uint_eq(n, 0);
    heap_release(&h);
}
END_TEST

START_TEST(quantiles_inverted)
{
    static const double p[] = {0, 0.5, 1}, v[] = {10, 20, 60};
    static const struct {
        double u, x;
    } cases[] = {{0, 10}, {0.25, 15}, {0.5, 20}, {0.75, 40}, {0.999, 59.92}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_double_eq_tol(quantile_at(p, v, 3, cases[i].u), cases[i].x, 1e-9);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("parts of generators");
    TCase *t = tcase_create("all");

    tcase_add_test(t, files_in_a_spec);
    tcase_add_test(t, heap_order);
    tcase_add_test(t, quantiles_inverted);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
