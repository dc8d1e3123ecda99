/* test_quality.c: `tandem quality`: intervals, prompts, rows, what a serving run points to; a small
 * measurement where the model's file is there (scripts/get-model). */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/db.h"
#include "experiments/quality.h"
#include "experiments/quality_ref.h"
#include "sim/kvheads.h"
#include "tests/support/model_files.h"

/* ---- intervals: Brown, Cai and DasGupta's worked Wilson intervals, Student's table ---- */

START_TEST(wilson)
{
    static const struct {
        double share;
        uint64_t n;
        double low, high;
    } known[] = {{1, 20, 0.8389, 1}, {0.5, 20, 0.2993, 0.7007}, {0, 10, 0, 0.2775}};
    double low, high;
    quality_wilson(known[_i].share, known[_i].n, &low, &high);
    ck_assert_double_eq_tol(low, known[_i].low, 1e-4);
    ck_assert_double_eq_tol(high, known[_i].high, 1e-4);
}
END_TEST

START_TEST(mean)
{
    static const double x[] = {1, 2, 3, 4};
    double value, low, high;
    quality_mean(x, 4, &value, &low, &high);
    ck_assert_double_eq_tol(value, 2.5, 1e-12);
    ck_assert_double_eq_tol(high - value, 3.18245 * sqrt(5.0 / 3 / 4), 1e-5);
    ck_assert_double_eq_tol(value - low, high - value, 1e-12);
    quality_mean(x, 1, &value, &low, &high);
    ck_assert(isinf(low) && isinf(high));
}
END_TEST

/* ---- rows, and what points to them ---- */

static void fill(const char *path)
{
    static const struct quality_label label = {"m.gguf", "h2o", "{\"kv.budget\":64.0}", 64, 72.5};
    static const struct quality_figure figures[] = {
        {"passkey", "accuracy", 'a', 512, (double)NAN, -1, -1, 0.5, 0.2, 0.8, 10},
        {"passkey", "log_p", 'a', 512, 0.25, -1, -1, -2, (double)NAN, (double)NAN, 1},
        {"recall", "recall", 0, 512, (double)NAN, 3, -1, 0.9, (double)NAN, (double)NAN, 4},
    };
    struct err e = {0};
    struct quality_sink *s = quality_sink_open(path, &e);
    ck_assert_msg(s != NULL, "%s", e.text);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        ck_assert(quality_sink_add(s, &label, &figures[i], &e));
    ck_assert_uint_eq(json_array_size(quality_sink_rows(s)), 3);
    ck_assert(quality_sink_close(s, &e));
}

START_TEST(rows_are_stored)
{
    struct model_folder f;
    struct err e = {0};
    bool row;
    model_folder_make(&f);
    char *path = mem_strdup(model_file_path(&f, "q.db"));
    fill(path);
    sqlite3 *db = db_open_read(path, &e);
    sqlite3_stmt *q = db_prepare(db,
                                 "SELECT group_concat(quote(protocol) || quote(depth) || "
                                 "quote(layer) || quote(low) || n, ' '), min(resident_tokens),"
                                 " count(run_id) FROM quality",
                                 &e);
    ck_assert(db_step(q, &row, &e) && row);
    ck_assert_str_eq((const char *)sqlite3_column_text(q, 0),
                     "'a'NULLNULL0.210 'a'0.25NULLNULL1 NULLNULL3NULL4");
    ck_assert_double_eq_tol(sqlite3_column_double(q, 1), 64, 1e-9);
    ck_assert_int_eq(sqlite3_column_int(q, 2), 0); /* of no serving run */
    sqlite3_finalize(q);
    sqlite3_close(db);
    mem_free(path);
    model_folder_remove(&f);
}
END_TEST

static const struct {
    const char *kv, *budget, *db, *says;
} refs[] = {
    {"h2o", "64", "q.db", "q.db: passkey a at 512 tokens: accuracy 0.5 (n 10)"},
    {"h2o", "65", "q.db", "has no figures of h2o with kv.budget 65"},
    {"tova", "64", "q.db", "has no figures of tova"},
    {"h2o", "64", "none.db", "none.db"},
};

START_TEST(runs_point_to_figures_of_theirs)
{
    struct model_folder f;
    struct config c;
    struct err e = {0};
    char text[512];
    model_folder_make(&f);
    fill(model_file_path(&f, "q.db"));
    config_init(&c);
    ck_assert(config_set(&c, "kv", refs[_i].kv, &e) &&
              config_set(&c, "kv.budget", refs[_i].budget, &e));
    config_resolve(&c);
    ck_assert(quality_ref_find(&c, text, sizeof(text), &e) && *text == '\0'); /* not set */
    ck_assert(config_set(&c, "quality_ref", model_file_path(&f, refs[_i].db), &e));
    config_resolve(&c);
    bool ok = quality_ref_find(&c, text, sizeof(text), &e);
    ck_assert_int_eq(ok, _i == 0);
    ck_assert_msg(strstr(ok ? text : e.text, refs[_i].says), "%s", ok ? text : e.text);
    config_release(&c);
    model_folder_remove(&f);
}
END_TEST

/* ---- prompts ---- */

/* The text of tokens [first, end). */
static void text_of(const struct quality_model *m, const struct quality_prompt *p, uint32_t first,
                    uint32_t end, char *out, size_t size)
{
    size_t n = 0, len;
    for (uint32_t i = first; i < end; i++) {
        const char *piece = tokenizer_piece(m->tokenizer, p->tokens.id[i], &len);
        ck_assert_uint_lt(n + len, size);
        memcpy(out + n, piece, len);
        n += len;
    }
    out[n] = '\0';
}

static bool open_tokenizer(struct quality_model *m)
{
    struct err e = {0};
    *m = (struct quality_model){.path = smollm2_path()};
    if (m->path == NULL)
        return false;
    m->tokenizer = tokenizer_open(m->path, &e);
    ck_assert_msg(m->tokenizer, "%s", e.text);
    return true;
}

START_TEST(passkeys_are_buried)
{
    struct quality_model m;
    struct err e = {0};
    if (!open_tokenizer(&m))
        return;
    for (uint32_t i = 0; i < 20; i++) {
        struct quality_prompt a, b, other;
        char text[256];
        double depth = (i + 0.5) / 20;
        ck_assert(quality_passkey(&m, 300, depth, i, 'a', &a, &e));
        ck_assert(quality_passkey(&m, 300, depth, i, 'b', &b, &e));
        ck_assert(quality_passkey(&m, 300, depth, i + 100, 'a', &other, &e));
        ck_assert_uint_eq(a.prompt, 300); /* the question is behind it */
        ck_assert_uint_eq(b.prompt, b.tokens.n);
        ck_assert_uint_eq(a.scored, a.tokens.n);
        ck_assert(a.tokens.n == b.tokens.n && a.tokens.n > 300);
        ck_assert_mem_eq(a.tokens.id, b.tokens.id, a.tokens.n * sizeof(*a.tokens.id));
        ck_assert_str_ne(a.key, other.key);
        text_of(&m, &a, a.needle_at, a.needle_end, text, sizeof(text));
        ck_assert_msg(strstr(text, a.key) && strncmp(text, "The pass key is", 15) == 0, "%s", text);
        ck_assert(fabs(a.needle_at / 300.0 - depth) < 0.2);
        text_of(&m, &a, 300, (uint32_t)a.tokens.n, text, sizeof(text));
        ck_assert_str_eq(text, "What is the pass key? The pass key is");
        quality_prompt_release(&a);
        quality_prompt_release(&b);
        quality_prompt_release(&other);
    }
    struct quality_prompt p;
    ck_assert(!quality_passkey(&m, 40, 0.5, 1, 'a', &p, &e));
    ck_assert_msg(strstr(e.text, "--length 40 is too short for passkey"), "%s", e.text);
    quality_prompt_release(&p);
    tokenizer_close(m.tokenizer);
}
END_TEST

START_TEST(copies_come_twice)
{
    struct quality_model m;
    struct quality_prompt a, b;
    struct err e = {0};
    if (!open_tokenizer(&m))
        return;
    ck_assert(quality_copy(&m, 100, 0.3, 7, 'a', &a, &e));
    ck_assert(quality_copy(&m, 100, 0.3, 7, 'b', &b, &e));
    ck_assert_uint_eq(a.tokens.n, 116);
    ck_assert(a.prompt == 100 && b.prompt == 108 && a.scored == 108 && b.scored == 108);
    ck_assert_uint_eq(a.needle_end - a.needle_at, 16);
    ck_assert_mem_eq(a.tokens.id + a.needle_at, a.tokens.id + 100, 16 * sizeof(*a.tokens.id));
    quality_prompt_release(&a);
    quality_prompt_release(&b);
    tokenizer_close(m.tokenizer);
}
END_TEST

START_TEST(excerpts_span_the_text)
{
    uint32_t id[100];
    struct tokens text = {id, 100, 100};
    struct quality_prompt p;
    struct err e = {0};
    for (uint32_t i = 0; i < 100; i++)
        id[i] = i;
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(quality_excerpt(&text, 30, 10, i, 4, &p, &e));
        ck_assert(p.prompt == 30 && p.scored == 30 && p.tokens.n == 40);
        ck_assert_uint_eq(p.tokens.id[0], 20 * i);
        quality_prompt_release(&p);
    }
    ck_assert(!quality_excerpt(&text, 95, 10, 0, 4, &p, &e));
    ck_assert_msg(strstr(e.text, "--text has 100 tokens"), "%s", e.text);
}
END_TEST

/* ---- the command ---- */

static int quality(const char *arguments, char *out, size_t size)
{
    const char *program = getenv("TANDEM_BIN");
    char command[2048];
    size_t n = 0, got;
    (void)snprintf(command, sizeof(command), "%s quality %s 2>&1",
                   program ? program : "build/tandem", arguments);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    while (n + 1 < size && (got = fread(out + n, 1, size - 1 - n, pipe)) > 0)
        n += got;
    out[n] = '\0';
    int status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static double figure(const json_t *rows, const char *kv, const char *task, const char *metric,
                     const char *column)
{
    size_t i;
    json_t *r;
    json_array_foreach(rows, i, r)
    {
        const json_t *v = json_object_get(r, column);
        if (strcmp(json_string_value(json_object_get(r, "kv_policy")), kv) == 0 &&
            strcmp(json_string_value(json_object_get(r, "task")), task) == 0 &&
            strcmp(json_string_value(json_object_get(r, "metric")), metric) == 0)
            return json_is_number(v) ? json_number_value(v) : (double)NAN;
    }
    ck_abort_msg("no %s of %s, %s", metric, kv, task);
    return 0;
}

/* Full attention knows the key; a window that is too short for it does not; full against itself is
 * the same. */
START_TEST(measures_the_real_model)
{
    static char out[1 << 18];
    struct model_folder f;
    char line[1024];
    json_error_t bad;
    if (smollm2_path() == NULL)
        return;
    model_folder_make(&f);
    (void)snprintf(line, sizeof(line),
                   "--model %s --kv streaming,oracle_topk --budget 24 --task passkey,ppl,recall "
                   "--length 110 --prompts 2 --scored 3 --text README.md --json --db %s",
                   smollm2_path(), model_file_path(&f, "q.db"));
    ck_assert_msg(quality(line, out, sizeof(out)) == 0, "%s", out);
    json_t *rows = json_loads(out, 0, &bad);
    ck_assert_msg(rows, "%s", out);
    ck_assert(figure(rows, "full", "passkey", "accuracy", "value") > 0.9);
    ck_assert(figure(rows, "streaming", "passkey", "log_p", "value") <
              figure(rows, "full", "passkey", "log_p", "value") - 0.5);
    ck_assert(fabs(figure(rows, "full", "ppl", "kl", "value")) < 1e-9);
    ck_assert(figure(rows, "full", "ppl", "top1_agreement", "value") > 1 - 1e-9);
    ck_assert(figure(rows, "streaming", "ppl", "kl", "value") > 0);
    ck_assert(figure(rows, "full", "recall", "recall", "value") > 1 - 1e-6);
    ck_assert(figure(rows, "oracle_topk", "recall", "recall", "value") >
              figure(rows, "streaming", "recall", "recall", "value"));
    ck_assert(fabs(figure(rows, "streaming", "passkey", "accuracy", "resident_tokens") - 24) <
              1e-9);
    ck_assert(figure(rows, "oracle_topk", "passkey", "accuracy", "resident_tokens") > 110);
    ck_assert(fabs(figure(rows, "oracle_topk", "recall", "recall", "read_tokens") - 24) < 1e-9);
    json_decref(rows);
    model_folder_remove(&f);
}
END_TEST

START_TEST(finds_heads)
{
    char out[2048], line[1024];
    struct model_folder f;
    double value[90], sum = 0;
    struct err e = {0};
    if (smollm2_path() == NULL)
        return;
    model_folder_make(&f);
    (void)snprintf(line, sizeof(line),
                   "heads --model %s --method %s --length 90 --prompts 2 --budget 20 --out %s",
                   smollm2_path(), _i == 0 ? "r" : "o", model_file_path(&f, "heads"));
    ck_assert_msg(quality(line, out, sizeof(out)) == 0, "%s", out);
    ck_assert(kv_heads_read(model_file_path(&f, "heads"), 30, 3, value, &e));
    for (uint32_t i = 0; i < 90; i++)
        sum += value[i];
    ck_assert_double_gt(value[18 * 3 + 2], 5 * sum / 90); /* a retrieval head of this model */
    model_folder_remove(&f);
}
END_TEST

static const struct {
    const char *arguments, *says;
} bad_input[] = {
    {"", "quality: give --model FILE"},
    {"--model none.gguf", "none.gguf: No such file or directory"},
    {"--model m --kv h2", "--kv h2: unknown; the nearest is h2o"},
    {"--model m --task sing", "--task sing: unknown"},
    {"--model m --protocol c", "--protocol c: unknown"},
    {"--model m --task ppl", "--task ppl needs a text"},
    {"--model m --backend cuda", "--backend cuda: KV policies run on cpu"},
    {"--model m --kv h2o,,tova", "--kv h2o,,tova: give 1 to 32 words"},
    {"--model m --prompts 1", "--prompts 1: give a number from 2"},
    {"--model m --set kv.recent", "--set kv.recent: give KEY=VALUE"},
    {"--model m --set kv.recnt=3", "kv.recnt: unknown key; the nearest is kv.recent"},
    {"--model m --set seed=3", "--set seed: is no key of a KV policy"},
    {"heads --model m", "give --out FILE"},
    {"heads --model m --method x", "--method x: unknown"},
    {"tails --model m", "tails"},
};

START_TEST(bad_input_is_one_line)
{
    char out[2048];
    ck_assert_int_eq(quality(bad_input[_i].arguments, out, sizeof(out)), 2);
    ck_assert_msg(strncmp(out, "tandem: ", 8) == 0 && strstr(out, bad_input[_i].says), "%s", out);
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quality");
    TCase *t = tcase_create("quality");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, wilson, 0, 3);
    tcase_add_test(t, mean);
    tcase_add_test(t, rows_are_stored);
    tcase_add_loop_test(t, runs_point_to_figures_of_theirs, 0, (int)ARRAY_LEN(refs));
    tcase_add_test(t, passkeys_are_buried);
    tcase_add_test(t, copies_come_twice);
    tcase_add_test(t, excerpts_span_the_text);
    tcase_add_test(t, measures_the_real_model);
    tcase_add_loop_test(t, finds_heads, 0, 2);
    tcase_add_loop_test(t, bad_input_is_one_line, 0, (int)ARRAY_LEN(bad_input));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
