/* test_nearest.c: which known word an error message proposes for a mistyped one. */
#include "sim/nearest.h"

#include <check.h>
#include <stdlib.h>

static const char *const known[] = {
    "fcfs",         "vtc",           "max_num_seqs", "max_num_batched_tokens",
    "llama-3.1-8b", "llama-3.1-70b", "llama-2-7b",   "",
};

static const struct {
    const char *word, *expect;
} cases[] = {
    {"fcfs", "fcfs"},                /* itself */
    {"FCFS", "fcfs"},                /* case does not count */
    {"vtcc", "vtc"},                 /* one letter too many */
    {"fcs", "fcfs"},                 /* one left out; "vtc" is a replacement and more away */
    {"max_num_seq", "max_num_seqs"}, /* at the end */
    {"ax_num_seqs", "max_num_seqs"}, /* at the start */
    {"max_batched_tokens", "max_num_batched_tokens"},
    {"llama-3-8b", "llama-3.1-8b"},    /* two left out are nearer than two replaced */
    {"llama-3.1-78b", "llama-3.1-8b"}, /* one too many is nearer than one replaced */
    {"llama-3.1-9b", "llama-3.1-8b"},
    {"vtd", "vtc"}, /* one replaced */
    {"", ""},
    {"x", ""}, /* one added to nothing */
};

START_TEST(nearest_of_a_list)
{
    ck_assert_str_eq(nearest_word(cases[_i].word, known, ARRAY_LEN(known)), cases[_i].expect);
}
END_TEST

START_TEST(first_of_a_tie)
{
    const char *list[] = {"ab", "ac"}, *reversed[] = {"ac", "ab"};

    ck_assert_str_eq(nearest_word("ad", list, 2), "ab");
    ck_assert_str_eq(nearest_word("ad", reversed, 2), "ac");
}
END_TEST

START_TEST(nothing_known)
{
    ck_assert_ptr_null(nearest_word("fcfs", NULL, 0));
}
END_TEST

/* Words longer than the table's row: the excess is ignored, nothing is written past the row. */
START_TEST(long_words)
{
    char a[4 * NEAREST_WORD_MAX], b[4 * NEAREST_WORD_MAX];
    const char *list[] = {"short", a};

    for (size_t i = 0; i < sizeof(a) - 1; i++)
        a[i] = b[i] = 'a';
    a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
    b[0] = 'b';
    ck_assert_ptr_eq(nearest_word(b, list, 2), a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nearest");
    TCase *t = tcase_create("nearest");
    SRunner *r;
    int failed;

    tcase_add_loop_test(t, nearest_of_a_list, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, first_of_a_tie);
    tcase_add_test(t, nothing_known);
    tcase_add_test(t, long_words);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
