/* test_evq.c: the event queue against a sorted array, and the total order itself. */
#include "sim/evq.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sim/rng.h"

/* The order that everything depends on, written out: each event comes before all after it. */
static const struct event ordered[] = {
    {.at = -1, .kind = EV_DECIDE, .entity = 9, .number = 9},
    {.at = 5, .kind = EV_STEP_DONE, .entity = 0, .number = 7},
    {.at = 5, .kind = EV_STEP_DONE, .entity = 0, .number = 8},
    {.at = 5, .kind = EV_STEP_DONE, .entity = 1, .number = 0},
    {.at = 5, .kind = EV_TRANSFER, .entity = 0, .number = 3},
    {.at = 5, .kind = EV_ARRIVAL, .entity = 0, .number = 0},
    {.at = 5, .kind = EV_ARRIVAL, .entity = 0, .number = UINT64_C(1) << 40},
    {.at = 5, .kind = EV_DEFERRED, .entity = 0, .number = 0},
    {.at = 5, .kind = EV_TIMER, .entity = 0, .number = 0},
    {.at = 5, .kind = EV_DECIDE, .entity = 0, .number = 0},
    {.at = 6, .kind = EV_STEP_DONE, .entity = 0, .number = 0},
    {.at = NS_NEVER, .kind = EV_STEP_DONE, .entity = 0, .number = 0},
};

START_TEST(total_order)
{
    for (size_t i = 0; i < ARRAY_LEN(ordered); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ordered); k++)
            ck_assert_int_eq(evq_before(&ordered[i], &ordered[k]), i < k);
    }
}
END_TEST

/* A stored digest depends on the order of the kinds: it may not change. */
START_TEST(kinds_are_ordered)
{
    const enum ev_kind kinds[] = {EV_STEP_DONE, EV_TRANSFER, EV_ARRIVAL,
                                  EV_DEFERRED,  EV_TIMER,    EV_DECIDE};
    for (uint32_t i = 0; i < ARRAY_LEN(kinds); i++)
        ck_assert_uint_eq(kinds[i], i);
}
END_TEST

START_TEST(empty_queue)
{
    struct evq q;
    struct event e;
    evq_init(&q);
    ck_assert(!evq_pop(&q, &e));
    ck_assert_ptr_null(evq_top(&q));
    evq_release(&q);
}
END_TEST

static bool same(const struct event *a, const struct event *b)
{
    return a->at == b->at && a->kind == b->kind && a->entity == b->entity && a->number == b->number;
}

/* The oracle: a sorted array. Independent of evq_before on purpose. */
struct sorted {
    struct event v[600];
    size_t n;
};

static int compare(const struct event *a, const struct event *b)
{
    const int64_t x[] = {a->at, a->kind, a->entity, (int64_t)a->number};
    const int64_t y[] = {b->at, b->kind, b->entity, (int64_t)b->number};
    for (size_t i = 0; i < ARRAY_LEN(x); i++) {
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

/* False if it is there already. */
static bool insert(struct sorted *s, struct event e)
{
    size_t i = 0;
    while (i < s->n && compare(&s->v[i], &e) < 0)
        i++;
    if (i < s->n && same(&s->v[i], &e))
        return false;
    memmove(&s->v[i + 1], &s->v[i], (s->n - i) * sizeof(*s->v));
    s->v[i] = e;
    s->n++;
    return true;
}

static void pop_both(struct evq *q, struct sorted *s)
{
    struct event e;
    ck_assert(same(evq_top(q), &s->v[0]));
    ck_assert(evq_pop(q, &e));
    ck_assert(same(&e, &s->v[0]));
    memmove(&s->v[0], &s->v[1], --s->n * sizeof(*s->v));
}

START_TEST(random_pushes_and_pops)
{
    struct rng r;
    struct evq q;
    struct sorted s = {.n = 0};
    rng_init(&r, (uint64_t)_i, "evq");
    evq_init(&q);
    for (int i = 0; i < 5000; i++) {
        /* Phases that fill and phases that drain; few values, so that every tie occurs. */
        bool filling = i / 500 % 2 == 0;
        if (s.n < ARRAY_LEN(s.v) && rng_below(&r, 10) < (filling ? 7 : 3)) {
            struct event e = {.at = (ns_t)rng_below(&r, 10),
                              .kind = (uint32_t)rng_below(&r, 6),
                              .entity = (uint32_t)rng_below(&r, 3),
                              .number = rng_below(&r, 20)};
            if (insert(&s, e))
                evq_push(&q, e);
        } else if (s.n > 0) {
            pop_both(&q, &s);
        }
        ck_assert_uint_eq(q.n, s.n);
    }
    while (s.n > 0)
        pop_both(&q, &s);
    ck_assert_ptr_null(evq_top(&q));
    evq_release(&q);
}
END_TEST

START_TEST(equal_keys_are_our_fault)
{
    struct evq q;
    struct event e;
    evq_init(&q);
    evq_push(&q, ordered[2]);
    evq_push(&q, ordered[5]);
    evq_push(&q, ordered[2]);
    evq_pop(&q, &e);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("evq");
    TCase *t = tcase_create("evq");
    tcase_add_test(t, total_order);
    tcase_add_test(t, kinds_are_ordered);
    tcase_add_test(t, empty_queue);
    tcase_add_loop_test(t, random_pushes_and_pops, 0, 5);
    tcase_add_test_raise_signal(t, equal_keys_are_our_fault, SIGABRT);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
