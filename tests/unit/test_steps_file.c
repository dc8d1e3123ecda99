/* test_steps_file.c: measured steps from CSV and from a database: what is read, what is put where a
 * column is missing, and rows that are refused with their line. */
#include "experiments/sink_sqlite.h"
#include "experiments/steps_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void make_path(void)
{
    snprintf(path, sizeof path, "/tmp/tandem-steps-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

static bool read_text(const char *text, struct steps_file *f, struct err *e)
{
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fputs(text, out), 0);
    ck_assert_int_eq(fclose(out), 0);
    return steps_read_csv(f, path, e);
}

START_TEST(every_column)
{
    struct steps_file f;
    struct err e = {.set = false};
    ck_assert_msg(read_text("# from a machine\n"
                            "run,held_out,duration_ns,host_ns,n_decode,n_prefill,decode_tokens,"
                            "prefill_tokens,decode_context,prefill_history,prefill_pairs,"
                            "prefill_context_max,extra\n7,1,1000,100,3,2,6,20,300,40,999,55,x\n",
                            &f, &e),
                  "%s", e.text);
    ck_assert_uint_eq(f.n, 1);
    ck_assert(f.says_held_out);
    ck_assert_str_eq(f.note, "from a machine");
    const struct measured_step *m = f.step;
    ck_assert_double_eq(m->device_ns, 900);
    ck_assert_double_eq(m->host_ns, 100);
    ck_assert(m->run == 7 && m->held_out);
    ck_assert(m->shape.n_decode == 3 && m->shape.n_prefill == 2);
    ck_assert(m->shape.decode_tokens == 6 && m->shape.prefill_tokens == 20);
    ck_assert(m->shape.decode_context_sum == 300 && m->shape.prefill_history_sum == 40);
    ck_assert_double_eq(m->shape.prefill_pairs, 999);
    ck_assert_uint_eq(m->shape.prefill_context_max, 55);
    steps_release(&f);
}
END_TEST

START_TEST(what_is_missing_is_the_usual)
{
    struct steps_file f;
    struct err e = {.set = false};
    ck_assert_msg(read_text("duration_ns,n_decode,n_prefill,prefill_tokens,decode_context\n"
                            "1000,3,2,20,300\n5,1,0,0,9\n",
                            &f, &e),
                  "%s", e.text);
    ck_assert_uint_eq(f.n, 2);
    ck_assert(!f.says_held_out && !f.step[0].held_out && f.step[0].run == 0);
    ck_assert_double_eq(f.step[0].device_ns, 1000);
    ck_assert_uint_eq(f.step[0].shape.decode_tokens, 3);
    ck_assert_double_eq(f.step[0].shape.prefill_pairs, 2 * 10 * 11 / 2.0); /* two prompts of 10 */
    ck_assert_double_eq(f.step[1].shape.prefill_pairs, 0);
    steps_release(&f);
}
END_TEST

#define HEAD "duration_ns,host_ns,n_decode,n_prefill,prefill_tokens,decode_context\n"
static const struct {
    const char *text, *says;
} refused[] = {
    {"duration_ns,n_decode\n1,2\n", "column n_prefill is missing"},
    {HEAD "10,10,1,0,0,5\n", ":2: duration_ns 10 is not more than host_ns 10"},
    {HEAD "10,0,1,0,0,5\n10,0,0,0,0,0\n", ":3: a step of no tokens"},
    {HEAD "10,0,1,1,0,5\n", ":2: a step of no tokens, or prompts without"},
    {HEAD "10,0,1,0,4,5\n", ":2: a step of no tokens, or prompts without"},
    {HEAD "-10,0,1,0,0,5\n", ":2: column duration_ns"},
    {HEAD "ten,0,1,0,0,5\n", ":2: column duration_ns"},
    {HEAD "10,0,1,0,0\n", ":2: 5 cells where the header has 6"},
};

START_TEST(rows_that_are_refused)
{
    struct steps_file f;
    struct err e = {.set = false};
    ck_assert(!read_text(refused[_i].text, &f, &e));
    ck_assert_msg(strstr(e.text, refused[_i].says) != NULL, "%s", e.text);
    steps_release(&f);
}
END_TEST

/* ---- databases ---- */

static void store_run(const char *hash, bool steps)
{
    static const struct step_row decode = {.step = 0,
                                           .duration_ns = 110,
                                           .device_ns = 100,
                                           .host_ns = 10,
                                           .n_decode = 2,
                                           .decode_tokens = 2,
                                           .context_tokens = 50};
    static const struct step_row mixed = {.step = 1,
                                          .duration_ns = 200,
                                          .device_ns = 200,
                                          .n_decode = 1,
                                          .n_prefill = 1,
                                          .decode_tokens = 1,
                                          .prefill_tokens = 8,
                                          .context_tokens = 30,
                                          .prefill_history = 20,
                                          .prefill_pairs = 196};
    const struct run_info info = {.config = "{}",
                                  .config_hash = hash,
                                  .model = "m",
                                  .gpu = "g",
                                  .backend = "cpu",
                                  .store_steps = steps};
    struct err e = {.set = false};
    struct sink_sqlite *db = sink_sqlite_open(path, &e);
    ck_assert_msg(db != NULL, "%s", e.text);
    struct sink s = sink_sqlite_run(db, &info);
    ck_assert(s.ops->begin(s.self, &e));
    if (steps)
        ck_assert(s.ops->step(s.self, &decode, &e) && s.ops->step(s.self, &mixed, &e));
    ck_assert(s.ops->end(s.self, true, 1, &e) && sink_sqlite_close(db, &e));
}

START_TEST(steps_of_a_database)
{
    struct steps_file f;
    struct err e = {.set = false};
    store_run("a", false);
    ck_assert(steps_is_db(path));
    ck_assert(!steps_read_db(&f, path, 0, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "holds no steps of any run"));
    store_run("b", true);
    e.set = false;
    ck_assert_msg(steps_read_db(&f, path, 0, &e), "%s", e.text);
    ck_assert_uint_eq(f.n, 2);
    ck_assert_str_eq(f.model, "m");
    ck_assert_str_eq(f.gpu, "g");
    ck_assert_str_eq(f.note, "run 2: m, backend cpu");
    ck_assert_double_eq(f.step[0].device_ns, 100);
    ck_assert_double_eq(f.step[0].host_ns, 10);
    ck_assert_uint_eq(f.step[0].shape.decode_context_sum, 50);
    ck_assert_uint_eq(f.step[1].shape.decode_context_sum, 10); /* without the prompts' history */
    ck_assert_uint_eq(f.step[1].shape.prefill_history_sum, 20);
    ck_assert_double_eq(f.step[1].shape.prefill_pairs, 196);
    steps_release(&f);

    store_run("c", true);
    ck_assert(!steps_read_db(&f, path, 0, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "several runs have steps"));
    e.set = false;
    ck_assert(steps_read_db(&f, path, 3, &e) && f.n == 2);
    steps_release(&f);
    ck_assert(!steps_read_db(&f, path, 1, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "holds no steps of that run"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("steps_file");
    TCase *t = tcase_create("steps_file");
    tcase_add_checked_fixture(t, make_path, remove_path);
    tcase_add_test(t, every_column);
    tcase_add_test(t, what_is_missing_is_the_usual);
    tcase_add_loop_test(t, rows_that_are_refused, 0, (int)ARRAY_LEN(refused));
    tcase_add_test(t, steps_of_a_database);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
