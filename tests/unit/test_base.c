/* test_base.c: what every other file relies on: errors, checks, memory, hashes, interned names and
 * the parameter table. */
#include "sim/base.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/arena.h"
#include "sim/hash.h"
#include "sim/names.h"
#include "sim/params.h"

/* Lets calloc fail under AddressSanitizer as it does without. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* ---- base ---- */

START_TEST(first_error_wins)
{
    struct err e = {0};
    ck_assert(!err_set(&e, "a.csv:%d: first", 7));
    ck_assert(!err_set(&e, "a.csv:8: second"));
    ck_assert(e.set);
    ck_assert_str_eq(e.text, "a.csv:7: first");
}
END_TEST

START_TEST(long_errors_are_cut)
{
    char text[2 * sizeof(((struct err *)0)->text)];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct err e = {0};
    ck_assert(!err_set(&e, "%s", text));
    ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
}
END_TEST

START_TEST(check_aborts)
{
    int two = 2;
    CHECK(two == 2, "holds", "%d", two);
    CHECK(two == 3, "test: two is three", "%d", two);
}
END_TEST

START_TEST(no_memory_exits)
{
    volatile size_t too_much = SIZE_MAX / 4;
    mem_free(mem_alloc(too_much));
}
END_TEST

START_TEST(overflowing_reserve_exits)
{
    size_t cap = 0;
    volatile size_t need = SIZE_MAX / 2;
    mem_free(mem_reserve(NULL, &cap, need, 16));
}
END_TEST

static bool all_zero(const unsigned char *p, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return any == 0;
}

START_TEST(allocation_is_zeroed)
{
    unsigned char *p = mem_alloc(1000);
    ck_assert(all_zero(p, 1000));
    mem_free(p);
    mem_free(NULL);

    void *empty = mem_alloc(0);
    ck_assert_ptr_nonnull(empty);
    empty = mem_grow(empty, 0);
    ck_assert_ptr_nonnull(empty);
    mem_free(empty);
}
END_TEST

START_TEST(reserve_doubles_and_keeps)
{
    uint32_t *v = NULL;
    size_t cap = 0, moves = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        size_t before = cap;
        v = mem_reserve(v, &cap, i + 1, sizeof(*v));
        ck_assert_uint_gt(cap, i);
        moves += cap != before;
        v[i] = i;
    }
    for (uint32_t i = 0; i < 10000; i++)
        ck_assert_uint_eq(v[i], i);
    ck_assert_uint_le(moves, 12); /* 8, 16, ..., 16384 */
    mem_free(v);
}
END_TEST

static const struct {
    double s;
    ns_t ns;
} seconds[] = {
    {0, 0},
    {1, NS_PER_S},
    {0.1, 100000000},
    {1e-9, 1},
    {0.6e-9, 1},
    {0.4e-9, 0},
    {-0.6e-9, -1},
    {86400.25, INT64_C(86400250000000)},
    {9.3e9, NS_NEVER},
    {-9.3e9, NS_NEVER},
    {DBL_MAX, NS_NEVER},
    {(double)INFINITY, NS_NEVER},
    {(double)NAN, NS_NEVER},
};

START_TEST(seconds_round)
{
    ck_assert_int_eq(ns_from_s(seconds[_i].s), seconds[_i].ns);
}
END_TEST

START_TEST(lengths_are_cut)
{
    ck_assert_int_eq(ns_cut(0.9), 0);
    ck_assert_int_eq(ns_cut(0x1p62 + 0x1p12), (INT64_C(1) << 62) + 4096);
    ck_assert_int_eq(ns_cut(0x1p63), NS_NEVER);
    ck_assert_int_eq(ns_cut((double)INFINITY), NS_NEVER);
    ck_assert_int_eq(ns_cut((double)NAN), NS_NEVER);
}
END_TEST

START_TEST(arithmetic)
{
    ck_assert_int_eq(ns_add(5, 7), 12);
    ck_assert_int_eq(ns_add(NS_NEVER - 1, 1), NS_NEVER);
    ck_assert_int_eq(ns_add(NS_NEVER - 1, 2), NS_NEVER);
    ck_assert_int_eq(ns_add(NS_NEVER, NS_NEVER), NS_NEVER);
    ck_assert_uint_eq(div_ceil_u32(0, 16), 0);
    ck_assert_uint_eq(div_ceil_u32(16, 16), 1);
    ck_assert_uint_eq(div_ceil_u32(17, 16), 2);
    ck_assert_uint_eq(div_ceil_u32(UINT32_MAX, 2), UINT32_C(1) << 31);
    ck_assert_uint_eq(div_ceil_u64(UINT64_MAX, 2), UINT64_C(1) << 63);
}
END_TEST

/* ---- hash: published vectors ---- */

START_TEST(hashes_are_the_published_ones)
{
    ck_assert_uint_eq(hash_str(""), UINT64_C(0xcbf29ce484222325));
    ck_assert_uint_eq(hash_str("a"), UINT64_C(0xaf63dc4c8601ec8c));
    ck_assert_uint_eq(hash_str("foobar"), UINT64_C(0x85944171f73967e8));
    ck_assert_uint_eq(hash_bytes("bar", 3, hash_str("foo")), hash_str("foobar"));
    ck_assert_uint_eq(hash_u64(0), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_ne(hash_mix(1, 2), hash_mix(2, 1));
}
END_TEST

START_TEST(digest_sees_every_part)
{
    struct digest base = {0};
    digest_fold(&base, DEC_ADMIT, 3, 1000, 16);
    const struct {
        enum decision what;
        uint64_t seq;
        ns_t at;
        uint64_t number;
    } other[] = {
        {DEC_PREEMPT, 3, 1000, 16}, {DEC_ADMIT, 4, 1000, 16}, {DEC_ADMIT, 3, 1001, 16},
        {DEC_ADMIT, 3, 1000, 17},   {DEC_ADMIT, 3, 16, 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        struct digest d = {0};
        digest_fold(&d, other[i].what, other[i].seq, other[i].at, other[i].number);
        ck_assert_uint_ne(d.h, base.h);
    }
}
END_TEST

/* ---- arena ---- */

START_TEST(arena_gives_zeroed_aligned_memory)
{
    struct arena a;
    arena_init(&a);
    for (int round = 0; round < 2; round++) {
        /* Across several blocks, with one request larger than the next block would be. */
        for (size_t i = 0; i < 3000; i++) {
            size_t bytes = i == 1000 ? 1000000 : i % 200;
            unsigned char *p = arena_alloc(&a, bytes);
            ck_assert_uint_eq((uintptr_t)p % 16, 0);
            ck_assert(all_zero(p, bytes));
            memset(p, 0xff, bytes); /* overlap with a later one would show there */
        }
        arena_release(&a);
    }
}
END_TEST

START_TEST(arena_memory_stays)
{
    struct arena a;
    arena_init(&a);
    char *kept[500];
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        char text[3] = {(char)('a' + i % 26), (char)('a' + i / 26), '\0'};
        kept[i] = arena_strdup(&a, text);
        memset(arena_alloc(&a, 1000), 0xff, 1000);
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        ck_assert_int_eq(kept[i][0], (char)('a' + i % 26));
        ck_assert_int_eq(kept[i][1], (char)('a' + i / 26));
        ck_assert_int_eq(kept[i][2], 0);
    }
    arena_release(&a);
}
END_TEST

/* ---- slots ---- */

START_TEST(slots_recycle)
{
    struct slots s;
    slots_init(&s, sizeof(uint64_t));
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(slots_take(&s), i);
    uint64_t *first = slots_at(&s, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t *p = slots_at(&s, i);
        ck_assert_uint_eq(*p, 0);
        *p = i + 1;
    }
    slots_give(&s, 17);
    slots_give(&s, 400);
    ck_assert_uint_eq(slots_take(&s), 400);
    ck_assert_uint_eq(*(uint64_t *)slots_at(&s, 400), 0);
    ck_assert_uint_eq(slots_take(&s), 17);
    ck_assert_uint_eq(slots_take(&s), 1000);

    slots_ensure(&s, 100000);
    ck_assert_ptr_eq(slots_at(&s, 0), first); /* addresses never move */
    ck_assert_uint_eq(*(uint64_t *)slots_at(&s, 999), 1000);
    ck_assert_uint_eq(*(uint64_t *)slots_at(&s, 99999), 0);
    ck_assert_uint_eq(slots_take(&s), 100000);
    slots_release(&s);
    ck_assert_uint_eq(slots_take(&s), 0);
    slots_release(&s);
}
END_TEST

START_TEST(slots_of_nothing)
{
    struct slots s;
    slots_init(&s, 0);
    ck_assert_uint_eq(slots_take(&s), 0);
    slots_ensure(&s, 10);
    ck_assert_uint_eq(slots_take(&s), 10);
    ck_assert_ptr_null(slots_at(&s, 3));
    slots_give(&s, 3);
    ck_assert_uint_eq(slots_take(&s), 3);
    slots_release(&s);
}
END_TEST

START_TEST(slots_refuse_unknown_ids)
{
    struct slots s;
    slots_init(&s, 4);
    slots_give(&s, 0);
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_dense)
{
    struct names n;
    names_init(&n);
    ck_assert_uint_eq(names_find(&n, "a"), NAMES_NONE);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 2000; i++) {
            char text[16];
            snprintf(text, sizeof(text), "tenant-%u", i * 7919 % 2003);
            ck_assert_uint_eq(names_id(&n, text), i);
            ck_assert_uint_eq(names_find(&n, text), i);
            ck_assert_str_eq(names_text(&n, i), text);
            ck_assert_uint_eq(names_find(&n, "absent"), NAMES_NONE); /* a full table has no end */
        }
    }
    ck_assert_uint_eq(n.n, 2000);
    ck_assert_uint_eq(names_find(&n, "tenant-"), NAMES_NONE);
    ck_assert_uint_eq(names_id(&n, ""), 2000);
    ck_assert_str_eq(names_text(&n, NAMES_NONE), "");
    names_release(&n);
    ck_assert_uint_eq(names_id(&n, "again"), 0);
    names_release(&n);
}
END_TEST

START_TEST(names_refuse_unknown_ids)
{
    struct names n;
    names_init(&n);
    names_text(&n, 0);
}
END_TEST

/* ---- params ---- */

static const struct param_desc desc[] = {
    {.name = "wq", .type = PARAM_REAL, .dflt = "2.5", .doc = "weight of an output token"},
    {.name = "k", .type = PARAM_INT, .dflt = "", .doc = "no default"},
    {.name = "predict", .type = PARAM_BOOL, .dflt = "true", .doc = "switch"},
    {.name = "cost", .type = PARAM_STR, .dflt = "linear", .doc = "function"},
    {.name = NULL},
};

START_TEST(params_default)
{
    struct params p;
    params_init(&p);
    ck_assert_double_eq(params_num(&p, desc, "vtc", "wq"), 2.5);
    ck_assert_double_nan(params_num(&p, desc, "vtc", "k"));
    ck_assert(params_bool(&p, desc, "vtc", "predict"));
    ck_assert_str_eq(params_str(&p, desc, "vtc", "cost"), "linear");
    ck_assert_double_eq(params_map_num(&p, "vtc", "weights", "alice", 1), 1);
    ck_assert_ptr_null(params_find(&p, "vtc.wq"));
    params_release(&p);
}
END_TEST

START_TEST(params_replace)
{
    struct params p;
    params_init(&p);
    params_set_num(&p, "vtc.wq", PARAM_REAL, 3);
    params_set_num(&p, "vtc.wq", PARAM_REAL, 4);
    params_set_num(&p, "vtc.k", PARAM_INT, 7);
    params_set_num(&p, "vtc.predict", PARAM_BOOL, 0);
    params_set_str(&p, "vtc.cost", "linear");
    params_set_str(&p, "vtc.cost", "profile");
    params_set_num(&p, "lcf_wq", PARAM_REAL, 5); /* no dot: not lcf's wq */
    params_set_num(&p, "vtc.weights.alice", PARAM_REAL, 8);
    params_set_num(&p, "vtc.weights.a.b", PARAM_REAL, 9); /* a member's name may hold dots */
    ck_assert_uint_eq(p.n, 7);
    ck_assert_double_eq(params_num(&p, desc, "vtc", "wq"), 4);
    ck_assert_double_eq(params_num(&p, desc, "vtc", "k"), 7);
    ck_assert(!params_bool(&p, desc, "vtc", "predict"));
    ck_assert_str_eq(params_str(&p, desc, "vtc", "cost"), "profile");
    ck_assert_double_eq(params_map_num(&p, "vtc", "weights", "alice", 1), 8);
    ck_assert_double_eq(params_map_num(&p, "vtc", "weights", "a.b", 1), 9);
    ck_assert_double_eq(params_map_num(&p, "vtc", "weights", "a", 1), 1);
    /* Another owner, or one whose name is the beginning of ours, sees nothing. */
    ck_assert_double_eq(params_num(&p, desc, "vt", "wq"), 2.5);
    ck_assert_double_eq(params_num(&p, desc, "lcf", "wq"), 2.5);
    params_set_str(&p, "vtc.cost", params_find(&p, "vtc.cost")->str);
    ck_assert_str_eq(params_find(&p, "vtc.cost")->str, "profile");
    params_release(&p);
}
END_TEST

START_TEST(params_undeclared)
{
    struct params p;
    params_init(&p);
    params_num(&p, desc, "vtc", "unknown");
}
END_TEST

START_TEST(params_wrong_type)
{
    struct params p;
    params_init(&p);
    params_set_str(&p, "vtc.wq", "3");
    params_num(&p, desc, "vtc", "wq");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    tcase_add_test(t, first_error_wins);
    tcase_add_test(t, long_errors_are_cut);
    tcase_add_test_raise_signal(t, check_aborts, SIGABRT);
    tcase_add_exit_test(t, no_memory_exits, 2);
    tcase_add_exit_test(t, overflowing_reserve_exits, 2);
    tcase_add_test(t, allocation_is_zeroed);
    tcase_add_test(t, reserve_doubles_and_keeps);
    tcase_add_loop_test(t, seconds_round, 0, (int)ARRAY_LEN(seconds));
    tcase_add_test(t, lengths_are_cut);
    tcase_add_test(t, arithmetic);
    tcase_add_test(t, hashes_are_the_published_ones);
    tcase_add_test(t, digest_sees_every_part);
    suite_add_tcase(s, t);

    t = tcase_create("arena");
    tcase_add_test(t, arena_gives_zeroed_aligned_memory);
    tcase_add_test(t, arena_memory_stays);
    tcase_add_test(t, slots_recycle);
    tcase_add_test(t, slots_of_nothing);
    tcase_add_test_raise_signal(t, slots_refuse_unknown_ids, SIGABRT);
    suite_add_tcase(s, t);

    t = tcase_create("tables");
    tcase_add_test(t, names_are_dense);
    tcase_add_test_raise_signal(t, names_refuse_unknown_ids, SIGABRT);
    tcase_add_test(t, params_default);
    tcase_add_test(t, params_replace);
    tcase_add_test_raise_signal(t, params_undeclared, SIGABRT);
    tcase_add_test_raise_signal(t, params_wrong_type, SIGABRT);
    suite_add_tcase(s, t);

    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
