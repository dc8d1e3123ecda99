/* test_fitted.c: a fitted model: what is added up, what counts as outside, the file there and back,
 * files that are refused and why; and calibrating on steps that a known model made. */
#include "backend/calibrate.h"
#include "backend/registry.h"
#include "tests/support/line_check.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void make_path(void)
{
    snprintf(path, sizeof path, "/tmp/tandem-fitted-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

/* ---- terms ---- */

static const struct batch_shape mixed = {.n_decode = 10,
                                         .n_prefill = 2,
                                         .decode_tokens = 10,
                                         .prefill_tokens = 600,
                                         .decode_context_sum = 2000,
                                         .prefill_history_sum = 300,
                                         .prefill_pairs = 90000,
                                         .prefill_context_max = 500};

static const struct {
    struct basis_term term;
    double value, decode_only; /* of `mixed`, and of its decodes alone */
} terms[] = {
    {{BASIS_STEP, 0, (double)INFINITY}, 1, 1},
    {{BASIS_PROMPT_STEP, 0, (double)INFINITY}, 1, 0},
    {{BASIS_TOKENS_BEYOND, 512, (double)INFINITY}, 1, 0},
    {{BASIS_TOKENS_BEYOND, 610, (double)INFINITY}, 0, 0},
    {{BASIS_TOKENS, 0, 128}, 128, 10},
    {{BASIS_TOKENS, 128, 512}, 384, 0},
    {{BASIS_TOKENS, 512, (double)INFINITY}, 98, 0},
    {{BASIS_SEQUENCES, 0, (double)INFINITY}, 12, 10},
    {{BASIS_DECODE_CONTEXT, 0, (double)INFINITY}, 2000, 2000},
    {{BASIS_CONTEXT_BEYOND, 128, (double)INFINITY}, 720, 720},
    {{BASIS_CONTEXT_BEYOND, 200, (double)INFINITY}, 0, 0},
    {{BASIS_MIXED_CONTEXT, 0, (double)INFINITY}, 2000, 0},
    {{BASIS_MIXED_SEQUENCES, 0, (double)INFINITY}, 10, 0},
    {{BASIS_PROMPTS, 0, (double)INFINITY}, 2, 0},
    {{BASIS_PREFILL_PAIRS, 0, (double)INFINITY}, 90000, 0},
    {{BASIS_PREFILL_HISTORY, 0, (double)INFINITY}, 300, 0},
    {{BASIS_CONTEXT_PART, 500, 1500}, 1000, 1000},
    {{BASIS_CONTEXT_PART, 1500, (double)INFINITY}, 500, 500},
    {{BASIS_CONTEXT_PART, 2000, 3000}, 0, 0},
    {{BASIS_PREFILL_LONGEST, 0, (double)INFINITY}, 500, 0},
    {{BASIS_PREFILL_WORK, 100, (double)INFINITY}, 90000, 0}, /* the GPU is full */
    {{BASIS_PREFILL_WORK, 512, (double)INFINITY}, 256000, 0},
};

START_TEST(value_of_a_term)
{
    struct batch_shape decode = {
        .n_decode = 10, .decode_tokens = 10, .decode_context_sum = mixed.decode_context_sum};
    enum basis_kind kind;
    ck_assert_double_eq(basis_value(&terms[_i].term, &mixed), terms[_i].value);
    ck_assert_double_eq(basis_value(&terms[_i].term, &decode), terms[_i].decode_only);
    ck_assert(basis_find(basis_doc(terms[_i].term.kind)->name, &kind));
    ck_assert_int_eq(kind, terms[_i].term.kind);
}
END_TEST

/* ---- a model ---- */

static struct fitted_model sample(void)
{
    struct fitted_model m = {
        .model = "llama-3.1-8b",
        .gpu = "h200",
        .engine = "tandem",
        .tensor_parallel_size = 2,
        .term = {{{BASIS_STEP, 0, (double)INFINITY}, 5e6},
                 {{BASIS_TOKENS, 128, 512}, 1234.56},
                 {{BASIS_CONTEXT_BEYOND, 128, (double)INFINITY}, 0.25}},
        .n_terms = 3,
        .fitted_steps = {900, 90, 0},
        .held_out = {{100, 0.01, 0.02, -0.005}, {10, 0.03, 0.04, 0.001}, {0, 0, 0, 0}},
        .held_out_all = {110, 0.012, 0.022, -0.0045},
        .held_out_how = "runs drawn by chance",
        .source = {{"steps.csv", "a \"note\"", "abc123"}},
        .n_sources = 1,
    };
    for (enum aggregate a = 0; a < N_AGGREGATES; a++)
        m.range[a] = (struct fitted_range){0, 1000};
    m.range[AGG_SEQUENCES] = (struct fitted_range){4, 256};
    m.range[AGG_DECODE_CONTEXT] = (struct fitted_range){0, 123456789};
    return m;
}

static void ck_same_error(const struct fit_error *a, const struct fit_error *b)
{
    ck_assert_uint_eq(a->n, b->n);
    if (b->n == 0)
        return;
    ck_assert_double_eq(a->mean, b->mean);
    ck_assert_double_eq(a->p90, b->p90);
    ck_assert_double_eq(a->bias, b->bias);
}

START_TEST(there_and_back)
{
    const struct fitted_model m = sample();
    struct fitted_model got;
    struct err e = {.set = false};
    ck_assert_msg(fitted_save(&m, path, &e) && fitted_load(&got, path, &e), "%s", e.text);
    ck_assert_str_eq(got.model, m.model);
    ck_assert_str_eq(got.gpu, m.gpu);
    ck_assert_str_eq(got.engine, "tandem");
    ck_assert_uint_eq(got.tensor_parallel_size, 2);
    ck_assert_uint_eq(got.n_terms, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(got.term[i].basis.kind, m.term[i].basis.kind);
        ck_assert_double_eq(got.term[i].basis.from, m.term[i].basis.from);
        ck_assert(got.term[i].basis.to == m.term[i].basis.to);
        ck_assert_double_eq(got.term[i].ns, m.term[i].ns);
    }
    for (enum aggregate a = 0; a < N_AGGREGATES; a++) {
        ck_assert_double_eq(got.range[a].low, m.range[a].low);
        ck_assert_double_eq(got.range[a].high, m.range[a].high);
    }
    for (enum regime r = 0; r < N_REGIMES; r++) {
        ck_assert_uint_eq(got.fitted_steps[r], m.fitted_steps[r]);
        ck_same_error(&got.held_out[r], &m.held_out[r]);
    }
    ck_same_error(&got.held_out_all, &m.held_out_all);
    ck_assert_str_eq(got.held_out_how, m.held_out_how);
    ck_assert_uint_eq(got.n_sources, 1);
    ck_assert_str_eq(got.source[0].file, "steps.csv");
    ck_assert_str_eq(got.source[0].note, "a \"note\"");
    ck_assert_str_eq(got.source[0].sha256, "abc123");
}
END_TEST

static const struct {
    uint32_t n_decode, n_prefill, prefill_tokens;
    uint64_t context;
    bool outside;
} steps[] = {
    {4, 0, 0, 400, false},    {256, 0, 0, 25600, false},
    {3, 0, 0, 300, true},     /* fewer sequences than any that was fitted */
    {257, 0, 0, 25700, true}, /* more */
    {4, 0, 0, 4004, true},    /* longer ones */
    {0, 5, 1000, 0, false},   {0, 5, 1001, 0, true},
    {4, 1, 10, 400, true}, /* no mixed step was fitted */
};

START_TEST(marks_what_it_does_not_know)
{
    const struct fitted_model m = sample();
    const struct batch_shape s = {.n_decode = steps[_i].n_decode,
                                  .n_prefill = steps[_i].n_prefill,
                                  .decode_tokens = steps[_i].n_decode,
                                  .prefill_tokens = steps[_i].prefill_tokens,
                                  .decode_context_sum = steps[_i].context};
    ck_assert_int_eq(fitted_extrapolates(&m, &s), steps[_i].outside);
}
END_TEST

/* ---- as a backend ---- */

static void *open_backend(struct arena *a, const char *model, const char *gpu, uint32_t tp,
                          const char *profile, struct backend_note *note, struct err *e)
{
    struct model_desc m = {.layers = 1};
    struct gpu_desc g = {.memory_bytes = 1};
    snprintf(m.id, sizeof m.id, "%s", model);
    snprintf(g.id, sizeof g.id, "%s", gpu);
    const struct backend_env env = {
        .model = &m, .gpu = &g, .tensor_parallel_size = tp, .profile = profile};
    return backend_find("fitted")->open(a, &env, note, e);
}

START_TEST(steps_cost_what_the_file_says)
{
    const struct fitted_model m = sample();
    struct batch b = {
        .shape = {.n_decode = 200, .decode_tokens = 200, .decode_context_sum = 40000}};
    struct backend_note note = {.error = 0};
    struct step_cost cost;
    struct arena a;
    struct err e = {.set = false};
    arena_init(&a);
    ck_assert(fitted_save(&m, path, &e));
    void *self = open_backend(&a, "llama-3.1-8b", "h200", 2, path, &note, &e);
    ck_assert_msg(self != NULL, "%s", e.text);
    ck_assert(backend_find("fitted")->step(self, &b, &cost, &e));
    ck_assert_double_eq(cost.device_ns, 5e6 + 72 * 1234.56 + (40000 - 128 * 200) * 0.25);
    ck_assert(!cost.extrapolated && cost.wall_ns == 0);
    ck_assert_double_eq(note.error, 0.012);
    ck_assert_ptr_nonnull(
        strstr(note.cost_model, "1.2 % on average (decode 1.0 %, prefill 3.0 %)"));
    arena_release(&a);
}
END_TEST

/* From 4 to 256 sequences are known, mean contexts up to 1000 and from 100 on: lines end there, at
 * the knee of 128 tokens, and nowhere else. */
static const struct {
    uint32_t n, context; /* on average */
    uint64_t steps, lines;
} walks[] = {
    {4, 1, 99, 1},  {4, 1, 100, 2}, /* steps 0 to 98 have mean contexts below 100 */
    {4, 1, 128, 2}, {4, 1, 129, 3},   {4, 1, 1000, 3},  {4, 1, 1001, 4}, {4, 1, 9000, 4},
    {4, 999, 9, 2}, {3, 200, 900, 2}, {3, 100, 900, 2}, {1, 2000, 9, 1},
};

static void *open_known(struct arena *a, struct err *e)
{
    struct fitted_model m = sample();
    struct backend_note note;
    m.range[AGG_MEAN_CONTEXT] = (struct fitted_range){100, 1000};
    ck_assert(fitted_save(&m, path, e));
    void *self = open_backend(a, "llama-3.1-8b", "h200", 2, path, &note, e);
    ck_assert_msg(self != NULL, "%s", e->text);
    return self;
}

START_TEST(decodes_lie_on_lines)
{
    const struct backend_ops *ops = backend_find("fitted");
    struct arena a;
    struct err e = {.set = false};
    arena_init(&a);
    void *self = open_known(&a, &e);
    ck_assert(ops->caps & BACKEND_AFFINE_DECODE);
    const struct batch_shape s = {.n_decode = walks[_i].n,
                                  .decode_tokens = walks[_i].n,
                                  .decode_context_sum = (uint64_t)walks[_i].n * walks[_i].context};
    ck_assert_uint_eq(line_walk(ops, self, s, walks[_i].steps), walks[_i].lines);
    arena_release(&a);
}
END_TEST

START_TEST(any_decodes_lie_on_lines)
{
    struct arena a;
    struct rng r;
    struct err e = {.set = false};
    arena_init(&a);
    void *self = open_known(&a, &e);
    rng_init(&r, 1, "lines");
    for (uint32_t i = 0; i < 200; i++)
        (void)line_walk(backend_find("fitted"), self, line_shape(&r, 300, 1500), 600);
    arena_release(&a);
}
END_TEST

/* The fit in a folder of `tandem profile`, whose terms have knees of both kinds. */
START_TEST(the_twin_lies_on_lines)
{
    struct arena a;
    struct backend_note note;
    struct rng r;
    struct err e = {.set = false};
    uint64_t lines = 0;
    arena_init(&a);
    void *self = open_backend(&a, "llama-3.1-8b", "h200", 1, "tests/data/twin/h200", &note, &e);
    ck_assert_msg(self != NULL, "%s", e.text);
    rng_init(&r, 1, "lines");
    for (uint32_t i = 0; i < 200; i++)
        lines += line_walk(backend_find("fitted"), self, line_shape(&r, 300, 1500), 600);
    ck_assert_uint_gt(lines, 220); /* 4,096 tokens, 16,384 and so on are passed */
    arena_release(&a);
}
END_TEST

/* Whatever comes, a step takes a length of time, and says that it was not fitted. */
START_TEST(any_shape)
{
    static const uint32_t sizes[] = {1, 999, 65536, 1u << 30, (1u << 31) - 1};
    struct arena a;
    struct err e = {.set = false};
    arena_init(&a);
    void *self = open_known(&a, &e);
    for (unsigned i = 0; i < 5 * 5 * 5 * 5; i++) {
        uint32_t n = sizes[i % 5], chunk = sizes[i / 25 % 5], history = sizes[i / 125];
        uint64_t context = (uint64_t)n * sizes[i / 5 % 5];
        const struct batch b = {.shape = {.n_decode = n,
                                          .decode_tokens = n,
                                          .decode_context_sum = context,
                                          .n_prefill = 1,
                                          .prefill_tokens = chunk,
                                          .prefill_history_sum = history,
                                          .prefill_pairs = ((double)history + chunk) * chunk}};
        struct step_cost cost;
        ck_assert(backend_find("fitted")->step(self, &b, &cost, &e));
        ck_assert(cost.device_ns > 0 && cost.device_ns <= STEP_MAX_NS);
        ck_assert(cost.extrapolated);
    }
    arena_release(&a);
}
END_TEST

static const struct {
    const char *model, *gpu;
    uint32_t tp;
    bool without_file;
    const char *says;
} strangers[] = {
    {"llama-3.1-70b", "h200", 2, false, "fitted for llama-3.1-8b on h200, the run is of"},
    {"llama-3.1-8b", "a10g", 2, false, "set --model and --gpu"},
    {"llama-3.1-8b", "h200", 1, false, "tensor_parallel_size 2, the run has 1"},
    {"llama-3.1-8b", "h200", 2, true, "give --profile FILE"},
};

START_TEST(refuses_other_machines)
{
    const struct fitted_model m = sample();
    struct backend_note note;
    struct arena a;
    struct err e = {.set = false};
    arena_init(&a);
    ck_assert(fitted_save(&m, path, &e));
    ck_assert_ptr_null(open_backend(&a, strangers[_i].model, strangers[_i].gpu, strangers[_i].tp,
                                    strangers[_i].without_file ? NULL : path, &note, &e));
    ck_assert_msg(strstr(e.text, strangers[_i].says) != NULL, "%s", e.text);
    arena_release(&a);
}
END_TEST

/* ---- files that are refused: a good one with one piece of its text replaced ---- */

static const struct {
    const char *from, *to, *says;
} damages[] = {
    {"{", "", "give a file made by"},
    {"tandem-fitted", "something", "not a file made by"},
    {"\"version\": 1", "\"version\": 2", "version 2, this program knows 1"},
    {"\"held_out_error\"", "\"other\"", "does not state its error"},
    {"\"all\": {\"steps\": 110", "\"all\": {\"steps\": 0", "measured on no step"},
    {"\"all\": {\"steps\": 110, \"mean\": 0.012", "\"all\": {\"steps\": 110",
     "\"mean\" is missing"},
    {"\"mean\": 0.01,", "\"mean\": \"good\",", "\"mean\" is missing or no number"},
    {"\"of\": \"tokens\"", "\"of\": \"magic\"", "\"magic\" is no term"},
    {"\"ns\": 1234.56", "\"ns\": -1", "\"ns\" is missing or no number from 0"},
    {"\"from\": 128.0, \"to\": 512.0", "\"to\": 512.0", "\"from\" is missing"},
    {"\"to\": 512.0", "\"to\": 12.0", "\"to\" is missing or no number from 128"},
    {"\"prompts\": [0.0, 1000.0]", "\"prompts\": [5, 1]", "no [low, high] of prompts"},
    {"\"mean_context\":", "\"other\":", "no [low, high] of mean_context"},
    {"\"model\": \"llama-3.1-8b\"", "\"model\": \"\"", "\"model\" is missing, empty"},
    {"\"tensor_parallel_size\": 2", "\"tensor_parallel_size\": 0", "\"tensor_parallel_size\""},
    {"\"sha256\": \"abc123\"", "\"sha256\": 3", "\"sha256\" is missing"},
    {"\"sources\"", "\"other\"", "does not name its sources"},
    {"\"decode\": 900", "\"decode\": -9", "\"decode\" is missing or no number"},
};

static void damage(const char *from, const char *to)
{
    char text[8192], out[8192];
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strstr(text, from);
    ck_assert_msg(at != NULL, "%s is not in %s", from, text);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(out, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(refuses_what_is_not_whole)
{
    const struct fitted_model m = sample();
    struct fitted_model got;
    struct err e = {.set = false};
    ck_assert(fitted_save(&m, path, &e));
    damage(damages[_i].from, damages[_i].to);
    ck_assert(!fitted_load(&got, path, &e));
    ck_assert_msg(strstr(e.text, damages[_i].says) != NULL, "%s", e.text);
    ck_assert_ptr_eq(strstr(e.text, path), e.text); /* begins with the file */
    ck_assert_ptr_null(strchr(e.text, '\n'));
}
END_TEST

START_TEST(refuses_what_is_not_there)
{
    struct fitted_model m = sample(), got;
    struct err e = {.set = false};
    ck_assert(!fitted_load(&got, "/nonexistent/fit.json", &e));
    e.set = false;
    ck_assert(!fitted_save(&m, "/nonexistent/fit.json", &e));
    ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/fit.json"));
}
END_TEST

/* ---- calibrating ---- */

#define RUNS 12u
#define STEPS_A_RUN 200u

/* Decodes, mixed steps (a tenth) and prompts alone of a machine that costs what `truth` says. */
static struct measured_step *make_steps(size_t *n)
{
    struct measured_step *step = mem_alloc(RUNS * STEPS_A_RUN * sizeof *step);
    *n = 0;
    for (uint32_t run = 0; run < RUNS; run++)
        for (uint32_t i = 0; i < STEPS_A_RUN; i++) {
            struct measured_step *m = &step[(*n)++];
            uint32_t seqs = 1 + (run * 37 + i * 11) % 300, context = 10 + (i * 29) % 400;
            bool prompt = i % 10 < 2, decodes = i % 10 != 0;
            uint32_t chunk = prompt ? 50 + (i * 13) % 1200 : 0;
            m->run = run;
            m->shape = (struct batch_shape){
                .n_decode = decodes ? seqs : 0,
                .n_prefill = prompt,
                .decode_tokens = decodes ? seqs : 0,
                .prefill_tokens = chunk,
                .decode_context_sum = decodes ? (uint64_t)seqs * context : 0,
                .prefill_pairs = (double)chunk * (chunk + 1) / 2,
            };
            double tokens = m->shape.decode_tokens + chunk;
            double ns = 8e6 + 9e3 * MIN(tokens, 512) + 2e4 * MAX(tokens - 512, 0) +
                        60.0 * (double)m->shape.decode_context_sum + 0.5 * m->shape.prefill_pairs;
            m->device_ns = ns * (i % 2 ? 1.005 : 0.995) * (i % 41 == 7 ? 20 : 1);
            m->host_ns = 1e6;
        }
    return step;
}

START_TEST(calibrates_what_it_never_saw)
{
    size_t n, held = 0;
    struct measured_step *step = make_steps(&n);
    struct fitted_model m;
    struct err e = {.set = false};
    ck_assert_str_eq(calibrate_hold_out(step, n, 0.25, 1), "runs drawn by chance");
    for (size_t i = 0; i < n; i++) {
        held += step[i].held_out;
        ck_assert_int_eq(step[i].held_out, step[i - i % STEPS_A_RUN].held_out); /* whole runs */
    }
    ck_assert_uint_eq(held, 3 * STEPS_A_RUN);
    ck_assert_msg(calibrate_fit(&m, step, n, &e), "%s", e.text);
    ck_assert_uint_eq(m.held_out_all.n, held);
    for (enum regime r = 0; r < N_REGIMES; r++) {
        /* The outliers, of which none should be followed, are in the mean, not in the 90th. */
        ck_assert_msg(m.held_out[r].p90 < 0.02, "%s: %g", regime_name(r), m.held_out[r].p90);
        ck_assert_uint_gt(m.fitted_steps[r], 0);
    }
    ck_assert_double_eq(m.range[AGG_PROMPTS].high, 1);
    mem_free(step);
}
END_TEST

START_TEST(holding_out_is_by_seed)
{
    size_t n;
    struct measured_step *a = make_steps(&n), *b = make_steps(&n);
    bool differ = false;
    calibrate_hold_out(a, n, 0.25, 1);
    calibrate_hold_out(b, n, 0.25, 1);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(a[i].held_out, b[i].held_out);
    calibrate_hold_out(b, n, 0.25, 2);
    for (size_t i = 0; i < n; i++)
        differ = differ || a[i].held_out != b[i].held_out;
    ck_assert(differ);
    ck_assert_str_eq(calibrate_hold_out(a, 50, 0.1, 1), "steps drawn by chance"); /* one run */
    size_t held = 0;
    for (size_t i = 0; i < 50; i++)
        held += a[i].held_out;
    ck_assert_uint_eq(held, 5);
    mem_free(a);
    mem_free(b);
}
END_TEST

/* A fit that nothing judged is not handed out. */
START_TEST(no_error_no_fit)
{
    size_t n;
    struct measured_step *step = make_steps(&n);
    struct fitted_model m;
    struct err e = {.set = false};
    ck_assert(!calibrate_fit(&m, step, n, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "no step is held out"));
    mem_free(step);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fitted");
    TCase *t = tcase_create("fitted");
    tcase_add_checked_fixture(t, make_path, remove_path);
    tcase_add_loop_test(t, value_of_a_term, 0, (int)ARRAY_LEN(terms));
    tcase_add_test(t, there_and_back);
    tcase_add_loop_test(t, marks_what_it_does_not_know, 0, (int)ARRAY_LEN(steps));
    tcase_add_test(t, steps_cost_what_the_file_says);
    tcase_add_test(t, any_decodes_lie_on_lines);
    tcase_add_test(t, the_twin_lies_on_lines);
    tcase_add_test(t, any_shape);
    tcase_add_loop_test(t, decodes_lie_on_lines, 0, ARRAY_LEN(walks));
    tcase_add_loop_test(t, refuses_other_machines, 0, (int)ARRAY_LEN(strangers));
    tcase_add_loop_test(t, refuses_what_is_not_whole, 0, (int)ARRAY_LEN(damages));
    tcase_add_test(t, refuses_what_is_not_there);
    tcase_add_test(t, calibrates_what_it_never_saw);
    tcase_add_test(t, holding_out_is_by_seed);
    tcase_add_test(t, no_error_no_fit);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
