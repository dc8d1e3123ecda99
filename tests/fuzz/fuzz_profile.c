/* fuzz_profile.c: any bytes as what was measured somewhere. The first byte says what reads it: L
 * and A a folder of measured operators (LLMServingSim's, aiconfigurator's), which then says what
 * steps take; P a folder of `tandem profile`; F a fitted model; S steps; Q requests; M a model, G a
 * GPU; B a baseline. A line "==N" begins the N-th file of a folder. There must be no crash, no
 * failure without a message that names the file, no step that takes no time. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/describe.h"
#include "backend/fitted_model.h"
#include "backend/profile.h"
#include "backend/registry.h"
#include "experiments/baseline.h"
#include "experiments/measured_requests.h"
#include "experiments/profile_file.h"
#include "experiments/steps_file.h"
#include "tests/fuzz/scratch.h"

#define MOST_FILES 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *const llmservingsim[MOST_FILES] = {
    "meta.yaml",         "tp1/dense.csv", "tp1/per_sequence.csv",
    "tp1/attention.csv", "tp1/moe.csv",   "tp1/skew.csv"};
static const char *const aiconfigurator[MOST_FILES] = {
    "system.yaml",
    "gemm__vllm_1__gemm_perf.csv",
    "attention__vllm_1__context_attention_perf.csv",
    "attention__vllm_1__generation_attention_perf.csv",
    "moe__vllm_1__moe_perf.csv",
    NULL};
static const char *const one_csv[MOST_FILES] = {"in.csv"};
static const char *const one_json[MOST_FILES] = {"in.json"};
static const char *const own[MOST_FILES] = {PROFILE_JSON};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[SCRATCH_PATH];

    (void)argc;
    (void)argv;
    scratch_make();
    scratch_path(path, "tp1");
    CHECK(mkdir(path, 0755) == 0, "fuzz: a folder", "%s", path);
    return 0;
}

/* ---- a folder ---- */

static const char *section(const char *at, const char *end)
{
    while (at < end && (at = memmem(at, (size_t)(end - at), "\n==", 3)) != NULL) {
        if (end - at > 4 && at[3] >= '0' && at[3] < '0' + (int)MOST_FILES && at[4] == '\n')
            return at + 1;
        at++;
    }
    return end;
}

/* What stands before the first section is file 0. */
static void write_folder(const char *const file[MOST_FILES], const char *text, size_t size)
{
    const char *end = text + size;

    for (const char *at = text, *next; at < end; at = next) {
        bool marked = at > text;
        unsigned n = marked ? (unsigned)(at[2] - '0') : 0;
        const char *from = marked ? at + 4 : at;

        next = section(from, end);
        if (file[n])
            scratch_write(file[n], from, (size_t)(next - from));
    }
}

static void remove_folder(const char *const file[MOST_FILES])
{
    char path[SCRATCH_PATH];

    for (size_t i = 0; i < MOST_FILES && file[i]; i++) {
        scratch_path(path, file[i]);
        (void)unlink(path);
    }
}

/* ---- operators ---- */

static void expect_time(double ns, const char *what)
{
    CHECK(isfinite(ns) && ns >= 0 && ns <= STEP_MAX_NS, "fuzz: a step takes time", "%s: %g ns",
          what, ns);
}

/* A decode, which two ways of asking agree about, and a prompt behind a history beside it. */
static void ask_steps(void *self, const struct backend_ops *ops, uint32_t n)
{
    struct batch_seq seq[2] = {{.id = 0, .n_tokens = 1, .context = n},
                               {.id = 1, .n_tokens = n, .context = n / 2, .prefill = true}};
    struct batch b = {.n = 1, .seq = seq};
    struct decode_line line;
    struct step_cost cost;
    struct err e = {0};

    b.shape = (struct batch_shape){.n_decode = 1,
                                   .decode_tokens = 1,
                                   .decode_context_sum = n + 1,
                                   .decode_context_max = n + 1};
    CHECK(ops->step(self, &b, &cost, &e), "fuzz: a step", "%s", e.text);
    expect_time(cost.device_ns, "decode");
    ops->decode_line(self, &b.shape, &line);
    double told = decode_line_ns(&line, 0);
    CHECK(told >= cost.device_ns && told <= cost.device_ns, "fuzz: a line says what a step takes",
          "%.17g ns, %.17g ns", told, cost.device_ns);
    b.n = 2;
    batch_shape_prompt(&b.shape, n / 2, n);
    CHECK(ops->step(self, &b, &cost, &e), "fuzz: a step", "%s", e.text);
    expect_time(cost.device_ns, "decode and prompt");
}

static bool read_operators(const char *dir, struct err *e)
{
    static const struct limits limits = {
        .max_num_seqs = 8, .max_num_batched_tokens = 2048, .block_size = 16, .max_model_len = 9999};
    const struct backend_ops *ops = backend_find("table");
    struct profile_names names;
    struct backend_note note;
    struct model_desc model;
    struct gpu_desc gpu;
    struct params params;
    struct arena arena;
    struct backend_env env = {.model = &model,
                              .gpu = &gpu,
                              .tensor_parallel_size = 1,
                              .limits = &limits,
                              .params = &params,
                              .profile = dir,
                              .dtype = "bfloat16"};
    void *self;

    CHECK(describe_gpu("h200", &gpu, e), "fuzz: a preset", "%s", e->text);
    if (!profile_names(dir, &names, e))
        return false;
    if (!describe_model(strstr(names.model, "30B") ? "qwen3-30b-a3b" : "llama-3.1-8b", &model, e))
        return false;
    params_init(&params);
    arena_init(&arena);
    self = ops->open(&arena, &env, &note, e);
    for (uint32_t n = 1; self && n < 9000; n = 3 * n + 1)
        ask_steps(self, ops, n);
    arena_release(&arena);
    params_release(&params);
    return self != NULL;
}

/* ---- single files ---- */

static bool read_own(const char *dir, struct err *e)
{
    struct profile_about about;
    return profile_about_read(&about, dir, e);
}

static bool read_fitted(const char *path, struct err *e)
{
    static const struct batch_shape shape = {
        .n_decode = 3, .decode_tokens = 3, .decode_context_sum = 3000, .decode_context_max = 2000};
    struct fitted_model m;

    if (!fitted_load(&m, path, e))
        return false;
    expect_time(fitted_step_ns(&m, &shape), "fitted");
    return true;
}

static bool read_steps(const char *path, struct err *e)
{
    struct steps_file f = {0};
    bool ok = steps_read_csv(&f, path, e);

    steps_release(&f);
    return ok;
}

static bool read_requests(const char *path, struct err *e)
{
    struct measured m = {0};
    bool ok = measured_read_csv(&m, path, NULL, 0, e);

    measured_release(&m);
    return ok;
}

static bool read_model(const char *path, struct err *e)
{
    struct model_desc m;
    return describe_model(path, &m, e) && (model_params(&m) > 0 || err_set(e, "%s: empty", path));
}

static bool read_gpu(const char *path, struct err *e)
{
    struct gpu_desc g;
    return describe_gpu(path, &g, e);
}

static bool read_baseline(const char *path, struct err *e)
{
    struct check_figures f;
    bool ok;

    check_figures_init(&f);
    ok = baseline_read(&f, path, e);
    check_figures_release(&f);
    return ok;
}

static const struct {
    char letter;
    const char *const *file;
    bool folder; /* is what is read, not its file */
    bool (*read)(const char *path, struct err *e);
} readers[] = {
    {'L', llmservingsim, true, read_operators},
    {'A', aiconfigurator, true, read_operators},
    {'P', own, true, read_own},
    {'F', one_json, false, read_fitted},
    {'S', one_csv, false, read_steps},
    {'Q', one_csv, false, read_requests},
    {'M', one_json, false, read_model},
    {'G', one_json, false, read_gpu},
    {'B', one_json, false, read_baseline},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    char path[SCRATCH_PATH];
    size_t i = 0;
    bool ok;

    while (size > 0 && i < ARRAY_LEN(readers) && readers[i].letter != (char)data[0])
        i++;
    if (size == 0 || i == ARRAY_LEN(readers))
        return 0;
    write_folder(readers[i].file, (const char *)data + 1, size - 1);
    scratch_path(path, readers[i].folder ? "" : readers[i].file[0]);
    if (readers[i].folder)
        path[strlen(path) - 1] = '\0';
    ok = size > 1 && readers[i].read(path, &e);
    CHECK(ok != e.set || size == 1, "fuzz: an error has a message", "%s", e.text);
    CHECK(ok || size == 1 || strncmp(e.text, path, strlen(path)) == 0,
          "fuzz: an error names the file", "%s", e.text);
    remove_folder(readers[i].file);
    return 0;
}
