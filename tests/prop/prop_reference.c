/* prop_reference.c: the engine decides what a naive simulator (tests/reference) decides, line by
 * line, for every scheduler. That one runs as a program of its own: it answers the policies'
 * questions (sim/view.h) itself, under the same names. */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/differ.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

static void read_line(FILE *from, char line[static 128], uint64_t seed)
{
    bool ok = fgets(line, 128, from) != NULL;
    ck_assert_msg(ok, "the reference ends in case %" PRIu64, seed);
    line[strcspn(line, "\n")] = '\0';
}

static void expect_line(FILE *from, const struct lab *l, uint64_t seed, size_t i,
                        const char *engine)
{
    char line[128];
    read_line(from, line, seed);
    ck_assert_msg(strcmp(line, engine) == 0,
                  "seed %" PRIu64 ", %s on %s, decision %zu: the engine says \"%s\", the reference "
                  "\"%s\" (what seq at number)",
                  seed, l->scheduler->name, l->engine, i, engine, line);
}

static void compare(FILE *from, const struct lab *l, uint64_t seed)
{
    char engine[128];
    snprintf(engine, sizeof(engine), "case %" PRIu64, seed);
    expect_line(from, l, seed, 0, engine);
    for (size_t i = 0; i < l->n_decision; i++) {
        const struct lab_decision *d = &l->decision[i];
        snprintf(engine, sizeof(engine), "%d %" PRIu64 " %" PRId64 " %" PRIu64, (int)d->what,
                 d->seq, d->at, d->number);
        expect_line(from, l, seed, i, engine);
    }
    expect_line(from, l, seed, l->n_decision, "end");
}

START_TEST(engine_decides_as_the_reference)
{
    char command[4096];
    uint64_t decisions[DEC_EVICT + 1] = {0};
    snprintf(command, sizeof(command), "'%s' 1 %" PRIu64, REFERENCE_PROGRAM, runs());
    FILE *from = popen(command, "r");
    ck_assert_ptr_nonnull(from);
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        struct segment *seg = differ_case(&l, seed);
        struct rng g; /* not by the seed's parity: schedulers go by that, too */
        rng_init(&g, seed, "leap");
        l.leap = rng_below(&g, 2) == 0;
        ck_assert_msg(lab_run(&l), "seed %" PRIu64 ": %s", seed, l.err.text);
        compare(from, &l, seed);
        for (size_t i = 0; i < l.n_decision; i++)
            decisions[l.decision[i].what]++;
        lab_release(&l);
        mem_free(seg);
    }
    ck_assert_int_eq(pclose(from), 0);
    printf("reference: %" PRIu64 " cases agree: %" PRIu64 " admissions, %" PRIu64
           " preemptions, %" PRIu64 " refusals, %" PRIu64 " evictions\n",
           runs(), decisions[DEC_ADMIT], decisions[DEC_PREEMPT], decisions[DEC_REFUSE],
           decisions[DEC_EVICT]);
    ck_assert_uint_gt(decisions[DEC_ADMIT], 20 * runs());
    ck_assert_uint_gt(decisions[DEC_PREEMPT], runs());
    ck_assert_uint_gt(decisions[DEC_EVICT], runs());
    ck_assert_uint_gt(decisions[DEC_REFUSE], 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reference");
    TCase *t = tcase_create("differential");
    tcase_set_timeout(t, 1200);
    tcase_add_test(t, engine_decides_as_the_reference);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
