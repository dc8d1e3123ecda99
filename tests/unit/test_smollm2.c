/* test_smollm2.c: `tandem generate`: a real small model answers in English; what it says of bad
 * input. Without the model's file (scripts/get-model) only the latter. */
#include "tests/support/model_files.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define QUESTION "'What is the capital of France?'"

/* Runs `tandem generate` with these arguments; returns the exit code. */
static int generate(const char *arguments, char *out, size_t size)
{
    const char *program = getenv("TANDEM_BIN");
    char command[2048];
    size_t n = 0, got;
    FILE *pipe;
    int status;

    snprintf(command, sizeof(command), "%s generate %s 2>&1", program ? program : "build/tandem",
             arguments);
    pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    while (n + 1 < size && (got = fread(out + n, 1, size - 1 - n, pipe)) > 0)
        n += got;
    out[n] = '\0';
    status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The answer of the model; the caller decrefs it. NULL: there is no model. */
static json_t *answer(const char *arguments)
{
    const char *path = smollm2_path();
    static char out[1 << 16];
    char line[1536];
    json_error_t bad;
    json_t *root;

    if (!path)
        return NULL;
    snprintf(line, sizeof(line), "--model %s --json %s", path, arguments);
    ck_assert_msg(generate(line, out, sizeof(out)) == 0, "%s", out);
    root = json_loads(out, 0, &bad);
    ck_assert_msg(root, "%s: %s", bad.text, out);
    return root;
}

static const char *text_of(json_t *answer)
{
    const char *text = json_string_value(json_object_get(answer, "text"));

    ck_assert_ptr_nonnull(text);
    return text;
}

/* ---- with the model ---- */

START_TEST(answers_in_english)
{
    json_t *a = answer("--prompt " QUESTION " --tokens 40");

    if (!a)
        return;
    ck_assert_msg(strstr(text_of(a), "Paris"), "%s", text_of(a));
    ck_assert_uint_lt(json_array_size(json_object_get(a, "tokens")), 40); /* it ends by itself */
    json_decref(a);
}
END_TEST

/* The same 32 tokens at least, whatever the precision and the threads. */
START_TEST(precision_and_threads_agree)
{
    static const char *const other[] = {"--threads 1", "--threads 3", "--high-precision"};
    const char *story = "--raw --prompt 'Once upon a time' --tokens 32 ";
    json_t *first = answer(story), *again;
    char line[256];

    if (!first)
        return;
    ck_assert_uint_eq(json_array_size(json_object_get(first, "tokens")), 32);
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        snprintf(line, sizeof(line), "%s%s", story, other[i]);
        again = answer(line);
        ck_assert(json_equal(json_object_get(first, "tokens"), json_object_get(again, "tokens")));
        json_decref(again);
    }
    json_decref(first);
}
END_TEST

START_TEST(seeds_decide)
{
    const char *story = "--raw --prompt 'Once upon a time' --tokens 12 --temperature 1 --top-p 0.9";
    char line[256];
    json_t *a = answer(story), *b, *c;

    if (!a)
        return;
    b = answer(story);
    snprintf(line, sizeof(line), "%s --seed 2", story);
    c = answer(line);
    ck_assert_str_eq(text_of(a), text_of(b));
    ck_assert_str_ne(text_of(a), text_of(c));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}
END_TEST

START_TEST(cut_model)
{
    const char *path = smollm2_path();
    struct model_folder f;
    char out[2048], command[1024];

    if (!path)
        return;
    model_folder_make(&f);
    snprintf(command, sizeof(command), "head -c 50000000 %s >%s", path,
             model_file_path(&f, "cut.gguf"));
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof(command), "--model %s --prompt x", model_file_path(&f, "cut.gguf"));
    ck_assert_int_eq(generate(command, out, sizeof(out)), 2);
    ck_assert_msg(strstr(out, "cut.gguf: the file ends inside tensor"), "%s", out);
    model_folder_remove(&f);
}
END_TEST

/* ---- bad input ---- */

static const struct {
    const char *arguments, *says;
} bad[] = {
    {"", "generate: give --model FILE and --prompt TEXT"},
    {"--model none.gguf --prompt x", "none.gguf: No such file or directory"},
    {"--model README.md --prompt x", "README.md: is no GGUF file"},
    {"--tokens 0", "--tokens 0: give a number from 1"},
    {"--tokens 1.5", "--tokens 1.5: give a whole number"},
    {"--temperature hot", "--temperature hot: give a number"},
    {"--top-p 0", "--top-p 0: give a number"},
    {"--seed -1", "--seed -1: give a whole number"},
    {"--threads many", "--threads many: give a number"},
    {"--backend tpu", "--backend tpu: give cpu or cuda"},
};

START_TEST(bad_input_is_one_line)
{
    char out[2048];

    ck_assert_int_eq(generate(bad[_i].arguments, out, sizeof(out)), 2);
    ck_assert_msg(strncmp(out, "tandem: ", 8) == 0 && strstr(out, bad[_i].says), "%s", out);
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("smollm2");
    TCase *t = tcase_create("smollm2");
    SRunner *r;
    int failed;

    tcase_add_test(t, answers_in_english);
    tcase_add_test(t, precision_and_threads_agree);
    tcase_add_test(t, seeds_decide);
    tcase_add_test(t, cut_model);
    tcase_add_loop_test(t, bad_input_is_one_line, 0, (int)ARRAY_LEN(bad));
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
