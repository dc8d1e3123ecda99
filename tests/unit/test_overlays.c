/* test_overlays.c: what trace_open puts around a reader: spread ticks, window, pace, made-up
 * tenants, prefixes and classes. */
#include "tests/support/trace_world.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CSV "arrival_s,prompt_tokens,output_tokens"

/* Three ticks of 1, 2 and 3 records, a follower among them. */
#define TICKS CSV ",after\n0,1,1,\n3,2,1,\n3,3,1,\n,4,1,1\n9,5,1,\n9,6,1,\n9,7,1,\n"
/* A chain 0 <- 1 <- 4, one record on its own, a chain 3 <- 5. */
#define CHAINS CSV ",after\n0,1,1,\n,2,1,0\n2,3,1,\n3,4,1,\n,5,1,1\n,6,1,3\n8,7,1,\n"
#define PLAIN CSV "\n0,1,1\n1,2,1\n2.5,3,1\n4,4,1\n"

static const struct {
    const char *settings, *file, *expect;
} cases[] = {
    {"spread_ticks=true", TICKS,
     "0 @0 p1 o1\n1 @3 p2 o1\n2 @6 p3 o1\n3 after 1+0 p4 o1\n4 @9 p5 o1\n5 @11 p6 o1\n6 @13 p7 "
     "o1\n"},
    {"spread_ticks=true", CSV "\n5,1,1\n5,2,1\n", "0 @5 p1 o1\n1 @5 p2 o1\n"}, /* no next tick */
    {"spread_ticks=true", CSV "\n", ""},
    {"spread_ticks=true", /* what records point to is kept while they wait */
     CSV ",session,prefix_hashes\n0,16,1,a,1\n0,32,1,b,1 2\n1,16,1,c,3\n",
     "0 @0 p16 o1 session=a [0:0+16]\n1 @0.5 p32 o1 session=b [0:0+16 1:0+16]\n"
     "2 @1 p16 o1 session=c [2:0+16]\n"},
    /* window: [start, start + duration), start is time 0, numbers stay */
    {"start_s=1", PLAIN, "1 @0 p2 o1\n2 @1.5 p3 o1\n3 @3 p4 o1\n"},
    {"start_s=1;duration_s=3", PLAIN, "1 @0 p2 o1\n2 @1.5 p3 o1\n"},
    {"duration_s=2.5", PLAIN, "0 @0 p1 o1\n1 @1 p2 o1\n"},
    {"start_s=9", PLAIN, ""},
    {"limit=2", PLAIN, "0 @0 p1 o1\n1 @1 p2 o1\n"},
    {"limit=2;start_s=2", PLAIN, "2 @0.5 p3 o1\n3 @2 p4 o1\n"},
    {"limit=9", CSV "\n0,1,1\n", "0 @0 p1 o1\n"},
    {"limit=1", CSV "\n0,1,1\nnonsense\n", "0 @0 p1 o1\n"}, /* what is cut is not read */
    {"start_s=1", CHAINS, "2 @1 p3 o1\n3 @2 p4 o1\n5 after 3+0 p6 o1\n6 @7 p7 o1\n"},
    {"duration_s=3", CHAINS, /* 4 follows a kept one though it is behind the window's end */
     "0 @0 p1 o1\n1 after 0+0 p2 o1\n2 @2 p3 o1\n4 after 1+0 p5 o1\n"},
    {"start_s=3;duration_s=3", CHAINS, "3 @0 p4 o1\n5 after 3+0 p6 o1\n"},
    {"start_s=3;duration_s=6;spread_ticks=true", TICKS,
     "1 @0 p2 o1\n2 @3 p3 o1\n3 after 1+0 p4 o1\n"},
    /* a session that began before the window: its first turn in it is timed */
    {"start_s=1;session_mode=after", CSV ",session\n0,10,5,s\n2,15,5,s\n4,20,5,s\n",
     "1 @1 p15 o5 session=s [0:0+15] continues\n2 after 1+2 p20 o5 session=s [0:0+20] continues\n"},
    /* pace: arrivals only */
    {"rate_scale=2", PLAIN, "0 @0 p1 o1\n1 @0.5 p2 o1\n2 @1.25 p3 o1\n3 @2 p4 o1\n"},
    {"rate_scale=0.5;start_s=1", PLAIN, "1 @0 p2 o1\n2 @3 p3 o1\n3 @6 p4 o1\n"},
    {"rate_scale=3", CSV "\n1,1,1\n2,1,1\n", "0 @0.333333333 p1 o1\n1 @0.666666667 p1 o1\n"},
    {"rate_scale=2", CSV ",after,delay_s\n4,1,1,,\n,1,1,0,4\n", "0 @2 p1 o1\n1 after 0+4 p1 o1\n"},
    {"rate_scale=2;session_mode=after", CSV ",session\n0,10,5,s\n4,15,5,s\n",
     "0 @0 p10 o5 session=s [0:0+10] continues\n1 after 0+4 p15 o5 session=s [0:0+15] continues\n"},
    {"max_tokens=9", CSV ",max_tokens\n0,1,5,\n0,1,5,7\n", "0 @0 p1 o5 max=9\n1 @0 p1 o5 max=7\n"},
    /* overlays leave what is there */
    {"tenants=5;classes=x", CSV ",tenant,slo_class\n0,1,1,me,fast\n0,1,1,,fast\n0,1,1,you,\n",
     "0 @0 p1 o1 tenant=me class=fast\n1 @0 p1 o1 tenant=t1 class=fast\n"
     "2 @0 p1 o1 tenant=you class=x\n"},
    {"prefix_groups=1;prefix_tokens=10", CSV ",prefix_hashes\n0,30,1,\n0,8,1,\n0,1,1,\n0,16,1,1\n",
     "0 @0 p30 o1 [0:0+10 1:0+20]\n1 @0 p8 o1 [0:0+7 2:0+1]\n2 @0 p1 o1\n3 @0 p16 o1 [3:0+16]\n"},
    {"prefix_groups=1;prefix_tokens=10",
     "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n0,M,0,0,0,x\n",
     "0 @0 p0 o0 tenant=M failed\n"},
};

START_TEST(wrappers)
{
    struct trace_world w;
    char out[4096] = "";
    enum trace_status st;
    uint64_t n;

    trace_world_init(&w);
    trace_world_set(&w, cases[_i].settings);
    trace_world_file(&w, cases[_i].file, strlen(cases[_i].file));
    st = trace_world_read(&w, w.path, NULL, out, sizeof(out), &n);
    ck_assert_str_eq(w.err.text, "");
    ck_assert_int_eq(st, TRACE_END);
    ck_assert_str_eq(out, cases[_i].expect);
    trace_world_release(&w);
}
END_TEST

/* ---- what is drawn ---- */

#define N 20000u

struct drawn {
    uint32_t tenant[N], slo_class[N];
    uint64_t stream[N]; /* of the first segment */
};

/* Reads a file of N equal records (`session` in every one, if not NULL). */
static void draw(struct drawn *d, const char *settings, uint64_t seed, const char *session)
{
    size_t size = N * 48, len;
    char *file = mem_alloc(size);
    struct trace_world w;
    struct trace_source src;
    struct trace_rec rec;
    size_t n = 0;

    len = (size_t)snprintf(file, size, CSV "%s\n", session ? ",session" : "");
    for (unsigned i = 0; i < N; i++)
        len += (size_t)snprintf(file + len, size - len, "%u,100,1%s%s\n", i, session ? "," : "",
                                session ? session : "");
    trace_world_init(&w);
    trace_world_set(&w, settings);
    trace_world_file(&w, file, len);
    w.env.seed = seed;
    ck_assert_msg(trace_open(w.path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    while (src.ops->next(src.self, &rec, &w.err) == TRACE_REC) {
        const char *name = names_text(&w.tenants, rec.tenant);

        d->tenant[n] = name[0] == 't' ? (uint32_t)strtoul(name + 1, NULL, 10) : NAMES_NONE;
        d->slo_class[n] = rec.slo_class;
        d->stream[n++] = rec.n_segments ? rec.segment[0].stream : 0;
    }
    ck_assert_uint_eq(n, N);
    src.ops->close(src.self);
    trace_world_release(&w);
    mem_free(file);
}

/* Shares against what they should be, within 5 standard deviations. */
START_TEST(shares)
{
    static struct drawn d;
    unsigned tenants[4] = {0}, classes[3] = {0}, groups[5] = {0}, n_groups = 0;
    uint64_t group[5];
    const double harmonic = 1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0;

    draw(&d, "tenants=4;classes=a,b,c;prefix_groups=5;prefix_tokens=10", 7, NULL);
    for (size_t i = 0; i < N; i++) {
        unsigned g = 0;

        ck_assert_uint_lt(d.tenant[i], 4);
        tenants[d.tenant[i]]++;
        classes[d.slo_class[i]]++;
        while (g < n_groups && group[g] != d.stream[i])
            g++;
        if (g == n_groups) {
            ck_assert_uint_lt(n_groups, 5);
            group[n_groups++] = d.stream[i];
        }
        groups[g]++;
    }
    for (unsigned i = 0; i < 4; i++) {
        double p = 1 / (i + 1.0) / harmonic;

        ck_assert_double_eq_tol(tenants[i], N * p, 5 * sqrt(N * p * (1 - p)));
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert_double_eq_tol(classes[i], N / 3.0, 5 * sqrt(N * 2 / 9.0));
    for (unsigned i = 0; i < 5; i++)
        ck_assert_double_eq_tol(groups[i], N / 5.0, 5 * sqrt(N * 4 / 25.0));
}
END_TEST

/* The same seed draws the same, another one does not, and no overlay shifts another's draws. */
START_TEST(seeds)
{
    static struct drawn a, b, c, d;

    draw(&a, "tenants=4;classes=a,b,c;prefix_groups=5;prefix_tokens=10", 7, NULL);
    draw(&b, "tenants=4;classes=a,b,c;prefix_groups=5;prefix_tokens=10", 7, NULL);
    draw(&c, "tenants=4;classes=a,b,c;prefix_groups=5;prefix_tokens=10", 8, NULL);
    draw(&d, "tenants=4", 7, NULL);
    ck_assert_mem_eq(&a, &b, sizeof(a));
    ck_assert_mem_ne(a.tenant, c.tenant, sizeof(a.tenant));
    ck_assert_mem_ne(a.slo_class, c.slo_class, sizeof(a.slo_class));
    ck_assert_mem_ne(a.stream, c.stream, sizeof(a.stream));
    ck_assert_mem_eq(a.tenant, d.tenant, sizeof(a.tenant));
}
END_TEST

/* One session has one tenant and one class; other sessions may have others. */
START_TEST(one_session)
{
    static struct drawn d;
    unsigned seen = 0;

    for (unsigned s = 0; s < 8; s++) {
        char name[] = "s0";

        name[1] = (char)('0' + s);
        draw(&d, "tenants=8;tenant_skew=0;classes=a,b", 1, name);
        for (size_t i = 1; i < N; i++) {
            ck_assert_uint_eq(d.tenant[i], d.tenant[0]);
            ck_assert_uint_eq(d.slo_class[i], d.slo_class[0]);
        }
        seen |= 1u << d.tenant[0];
    }
    ck_assert_uint_ne(seen & (seen - 1), 0); /* more than one */
}
END_TEST

/* Overlays that draw alike are independent: equal numbers are as frequent as by chance. */
START_TEST(independent)
{
    static struct drawn d;
    unsigned equal = 0;

    draw(&d, "tenants=3;tenant_skew=0;classes=a,b,c", 7, NULL);
    for (size_t i = 0; i < N; i++)
        equal += d.tenant[i] == d.slo_class[i];
    ck_assert_double_eq_tol(equal, N / 3.0, 5 * sqrt(N * 2 / 9.0));
}
END_TEST

/* A tick longer than the reader's buffer: what the held records name is still theirs. */
START_TEST(long_tick)
{
    size_t size = N * 48, len = sizeof(CSV ",session\n") - 1, n = 0;
    char *file = mem_alloc(size), name[16];
    struct trace_world w;
    struct trace_source src;
    struct trace_rec rec;

    memcpy(file, CSV ",session\n", len);
    for (unsigned i = 0; i < N; i++)
        len += (size_t)snprintf(file + len, size - len, "0.000000000,100,1,session-%u\n", i);
    trace_world_init(&w);
    trace_world_set(&w, "spread_ticks=true");
    trace_world_file(&w, file, len);
    ck_assert_msg(trace_open(w.path, NULL, &w.env, &src, &w.err), "%s", w.err.text);
    for (; src.ops->next(src.self, &rec, &w.err) == TRACE_REC; n++) {
        snprintf(name, sizeof(name), "session-%zu", n);
        ck_assert_str_eq(rec.session, name);
    }
    ck_assert_uint_eq(n, N);
    src.ops->close(src.self);
    trace_world_release(&w);
    mem_free(file);
}
END_TEST

static const struct {
    const char *settings, *expect;
} synthetic[] = {
    {"", ""},
    {"rate_scale=2;max_tokens=5;session_mode=after", ""},
    {"tenants=8", "tenants:zipf(1)x8 seed 3"},
    {"prefix_groups=4;prefix_tokens=512;classes=a,b;spread_ticks=true;tenants=2;tenant_skew=0.5",
     "tenants:zipf(0.5)x2 prefix_groups:4x512 classes:a,b spread_ticks seed 3"},
};

START_TEST(what_is_synthetic)
{
    struct trace_world w;
    const struct trace_source none = {0};
    char out[TRACE_SYNTHETIC_MAX];

    trace_world_init(&w);
    trace_world_set(&w, synthetic[_i].settings);
    w.env.seed = 3;
    trace_synthetic(&w.env, &none, out, sizeof(out));
    ck_assert_str_eq(out, synthetic[_i].expect);
    trace_world_release(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("overlays");
    TCase *t = tcase_create("overlays");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, wrappers, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, shares);
    tcase_add_test(t, seeds);
    tcase_add_test(t, one_session);
    tcase_add_test(t, independent);
    tcase_add_test(t, long_tick);
    tcase_add_loop_test(t, what_is_synthetic, 0, (int)ARRAY_LEN(synthetic));
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
