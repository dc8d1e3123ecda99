/* test_kv.c: the counters of KV capacity. Every move takes what it says from where it says, the
 * sum holds, and taking more than there is stops the program. */
#include "sim/kv.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "sim/rng.h"

enum place { FREE, HELD, CACHED };

static const struct {
    void (*move)(struct kv *, uint64_t);
    enum place from, to;
} moves[] = {
    {kv_hold, FREE, HELD},  {kv_drop, HELD, FREE},    {kv_cache, HELD, CACHED},
    {kv_pin, CACHED, HELD}, {kv_evict, CACHED, FREE},
};

static void check_places(const struct kv *kv, const uint64_t want[3], uint64_t capacity)
{
    ck_assert_uint_eq(kv->free, want[FREE]);
    ck_assert_uint_eq(kv->held, want[HELD]);
    ck_assert_uint_eq(kv->cached, want[CACHED]);
    ck_assert_uint_eq(kv->capacity, capacity);
    ck_assert_uint_eq(kv->free + kv->held + kv->cached, kv->capacity);
}

START_TEST(random_moves)
{
    struct rng r;
    struct kv kv;
    uint64_t want[3] = {1000, 0, 0};
    rng_init(&r, 1, "kv");
    kv_init(&kv, 1000);
    check_places(&kv, want, 1000);
    for (int i = 0; i < 10000; i++) {
        size_t m = rng_below(&r, ARRAY_LEN(moves));
        uint64_t units = rng_below(&r, want[moves[m].from] + 1);
        moves[m].move(&kv, units);
        want[moves[m].from] -= units;
        want[moves[m].to] += units;
        check_places(&kv, want, 1000);
    }
}
END_TEST

START_TEST(one_too_many)
{
    struct kv kv;
    kv_init(&kv, 30);
    kv_hold(&kv, 20);
    kv_cache(&kv, 10); /* now 10 each */
    moves[_i].move(&kv, 10);
    ck_assert_uint_eq(kv.free + kv.held + kv.cached, 30);
    kv_init(&kv, 30);
    kv_hold(&kv, 20);
    kv_cache(&kv, 10);
    moves[_i].move(&kv, 11);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kv");
    TCase *t = tcase_create("kv");
    tcase_add_test(t, random_moves);
    tcase_add_loop_test_raise_signal(t, one_too_many, SIGABRT, 0, (int)ARRAY_LEN(moves));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
