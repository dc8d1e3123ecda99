#include "experiments/silicon.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/describe.h"
#include "traces/rows.h"

/* ---- how a point was measured ---- */

/* Both send C at once and then one for each that ends, 10 C in all after a warm-up that has ended:
 * what is measured begins with a burst of C. */
#define ROUNDS 10u
#define ROUNDS_LEAST 2u
#define TOKENS_AT_MOST UINT32_C(20000000) /* of output; of a point with more, fewer rounds */

#define BATCHED_TOKENS                                                                             \
    8192                    /* chunks of SGLang and vLLM's `serve` on GPUs of 80 GB, TensorRT-LLM  \
                             */
#define GENERATED_SEQS 512u /* max_num_seqs that aiconfigurator's generator sets, at least */
#define GENERATED_MARGIN 1500u

/* A point is of the first whose mark its silicon_data_source contains. */
static const struct harness {
    const char *mark;
    uint32_t shortest_percent; /* lengths are uniform in [this share, all] of isl and osl */
    bool generated;            /* engines are started as aiconfigurator's generator has it */
    const char *doc;
} harnesses[] = {
    {"gap-analysis", 100, true,
     "gap-analysis: NVIDIA's runs. Every request isl and osl long (aiconfigurator "
     "eval/benchmarks/genai_perf_runner.py: stddev 0, min_tokens = max_tokens, ignore_eos, 10 C "
     "requests); engines started as its generator has it (generator/rule_plugin/*.rule: vLLM and "
     "TensorRT-LLM with isl + 1500 + max_num_seqs tokens a step; SGLang with --enable-mixed-chunk, "
     "which the template for 0.5.1 misspells and so leaves out). vLLM is synchronous before 0.14, "
     "which made asynchronous scheduling the default (vLLM pull request 27614)"},
    {"", 80, false,
     "others: InferenceX. Lengths uniform in [0.8, 1] of isl and osl, 10 C requests, max_num_seqs "
     "C; vLLM with --async-scheduling and 8192 tokens a step, the others with their defaults "
     "(SemiAnalysisAI/InferenceX)"},
};

static const struct harness *harness_of(const struct silicon_point *p)
{
    const struct harness *h = harnesses;
    while (!strstr(p->source, h->mark))
        h++;
    return h;
}

const char *silicon_harness_doc(size_t i)
{
    return i < ARRAY_LEN(harnesses) ? harnesses[i].doc : NULL;
}

uint32_t silicon_requests(const struct silicon_point *p)
{
    uint32_t rounds = TOKENS_AT_MOST / p->osl / p->concurrency;
    return p->concurrency * MAX(MIN(rounds, ROUNDS), ROUNDS_LEAST);
}

static bool is_from(const struct silicon_point *p, const char *version)
{
    return strverscmp(p->version, version) >= 0;
}

/* The engine model. */
static const char *engine_of(const struct silicon_point *p, const struct harness *h)
{
    if (strcmp(p->engine, "vllm") != 0)
        return p->engine;
    return h->generated && !is_from(p, "0.14") ? "vllm-0.8" : "vllm-0.19";
}

/* SGLang computes prompts in steps of their own, unless told to mix: by the generator's templates
 * from the one on that has the option's right name. */
static bool mixes(const struct silicon_point *p, const struct harness *h)
{
    return strcmp(p->engine, "sglang") != 0 || (h->generated && is_from(p, "0.5.3"));
}

static uint32_t batched_tokens(const struct silicon_point *p, const struct harness *h)
{
    if (!h->generated || strcmp(p->engine, "sglang") == 0)
        return BATCHED_TOKENS;
    return GENERATED_SEQS + p->isl + GENERATED_MARGIN;
}

static bool set_number(struct config *c, const char *key, uint32_t value, struct err *e)
{
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    return config_set(c, key, text, e);
}

static bool set_trace(const struct silicon_point *p, const struct harness *h, struct config *c,
                      struct err *e)
{
    char spec[192];
    uint32_t share = h->shortest_percent;
    snprintf(spec, sizeof spec,
             "generate:poisson,n=%u,rate=1000000,prompt=uniform:%u:%u,output=uniform:%u:%u",
             silicon_requests(p), p->isl * share / 100, p->isl, MAX(p->osl * share / 100, 1),
             p->osl);
    return config_set(c, "trace", spec, e) && set_number(c, "concurrency", p->concurrency, e);
}

bool silicon_configure(const struct silicon_point *p, struct config *c, struct err *e)
{
    const struct harness *h = harness_of(p);
    uint32_t seqs = h->generated ? MAX(p->concurrency, GENERATED_SEQS) : p->concurrency;
    return set_trace(p, h, c, e) && config_set(c, "model", p->model, e) &&
           config_set(c, "gpu", p->system, e) && config_set(c, "dtype", p->dtype, e) &&
           config_set(c, "engine", engine_of(p, h), e) &&
           config_set(c, "prefill_mode", mixes(p, h) ? "mixed" : "separate", e) &&
           set_number(c, "tensor_parallel_size", p->tp, e) &&
           set_number(c, "max_num_seqs", seqs, e) &&
           set_number(c, "max_num_batched_tokens", batched_tokens(p, h), e);
}

/* ---- the table ---- */

enum column {
    TTFT,
    TPOT,
    SYSTEM,
    MODEL,
    ENGINE,
    ISL,
    OSL,
    CONCURRENCY,
    TP,
    N_REQUIRED,
    MODE = N_REQUIRED,
    VERSION,
    DTYPE,
    SOURCE,
    PP,
    ATTENTION_DP,
    MOE_EP,
    N_COLUMNS
};
static const char *const columns[N_COLUMNS] = {
    [TTFT] = "silicon_ttft_ms",
    [TPOT] = "silicon_tpot_ms",
    [SYSTEM] = "system",
    [MODEL] = "model_path",
    [ENGINE] = "backend",
    [ISL] = "isl",
    [OSL] = "osl",
    [CONCURRENCY] = "batch_size",
    [TP] = "tp_size",
    [MODE] = "mode",
    [VERSION] = "backend_version",
    [DTYPE] = "gemm_quant_mode",
    [SOURCE] = "silicon_data_source",
    [PP] = "pp_size",
    [ATTENTION_DP] = "attention_dp_size",
    [MOE_EP] = "moe_ep_size",
};

bool silicon_is(const char *path, bool *is, struct err *e)
{
    char head[TEXT_HEAD_MAX + 1];
    *is = false;
    if (!text_head(path, head, e))
        return false;
    *is = rows_detect(head, columns, 2) > 0; /* either latency: what else it lacks is said later */
    return true;
}

/* A name with its owner, or one that quantised or tuned the model: nvidia/NAME-Instruct-FP8. */
static const char *preset_of(const char *model_path)
{
    static const char *const suffixes[] = {"", "-FP8", "-Instruct", "-Instruct-FP8"};
    const char *slash = strrchr(model_path, '/'), *name = slash ? slash + 1 : model_path;
    const struct preset *p = preset_model_named(model_path);
    char base[128];
    for (size_t i = 0; i < ARRAY_LEN(suffixes) && !p; i++) {
        size_t n = strlen(name), m = strlen(suffixes[i]);
        if (n <= m || n - m >= sizeof base || strcmp(name + n - m, suffixes[i]) != 0)
            continue;
        snprintf(base, sizeof base, "%.*s", (int)(n - m), name);
        p = preset_model_named(base);
    }
    return p ? p->id : NULL;
}

/* An empty or missing cell is `otherwise`. */
static const char *text_of(struct silicon *s, const struct rows *r, enum column c,
                           const char *otherwise)
{
    const char *cell = rows_cell(r, c);
    return arena_strdup(&s->strings, cell && *cell ? cell : otherwise);
}

static bool is_more_than_one(const struct rows *r, enum column c)
{
    const char *cell = rows_cell(r, c);
    return cell && *cell && strcmp(cell, "1") != 0;
}

static const char *why_skipped(const struct rows *r, const struct silicon_point *p)
{
    const char *mode = rows_cell(r, MODE);
    if (mode && *mode && strcmp(mode, "agg") != 0)
        return "prefill and decode on GPUs of their own";
    if (!p->model)
        return "no preset describes the model";
    if (is_more_than_one(r, PP))
        return "pipeline parallel";
    if (is_more_than_one(r, ATTENTION_DP) || is_more_than_one(r, MOE_EP))
        return "attention or experts in parallel";
    return NULL;
}

static bool read_ms(const struct rows *r, enum column c, double *out, struct err *e)
{
    const char *cell = rows_cell(r, c);
    *out = (double)NAN;
    return *cell == '\0' || field_real(&r->text, columns[c], cell, 1e-6, 1e12, out, e);
}

/* What a point that is simulated says; one that is not may say anything. */
static bool read_numbers(const struct rows *r, struct silicon_point *p, struct err *e)
{
    const struct text *t = &r->text;
    return p->skipped || (field_u32(t, columns[ISL], rows_cell(r, ISL), 1, 1u << 24, &p->isl, e) &&
                          field_u32(t, columns[OSL], rows_cell(r, OSL), 2, 1u << 24, &p->osl, e) &&
                          field_u32(t, columns[CONCURRENCY], rows_cell(r, CONCURRENCY), 1, 1u << 16,
                                    &p->concurrency, e) &&
                          field_u32(t, columns[TP], rows_cell(r, TP), 1, 64, &p->tp, e) &&
                          read_ms(r, TTFT, &p->ttft_ms, e) && read_ms(r, TPOT, &p->tpot_ms, e));
}

static bool read_point(struct silicon *s, const struct rows *r, struct err *e)
{
    struct silicon_point p = {
        .system = text_of(s, r, SYSTEM, "-"),
        .model_path = text_of(s, r, MODEL, "-"),
        .engine = text_of(s, r, ENGINE, "-"),
        .version = text_of(s, r, VERSION, ""),
        .dtype = text_of(s, r, DTYPE, "bfloat16"),
        .source = text_of(s, r, SOURCE, ""),
        .line = r->text.line,
    };
    char group[512];
    snprintf(group, sizeof group, "%.64s %.128s %.32s%s%.64s %.32s", p.system, p.model_path,
             p.engine, *p.version ? " " : "", p.version, p.dtype);
    p.group = arena_strdup(&s->strings, group);
    p.model = preset_of(p.model_path);
    p.skipped = why_skipped(r, &p);
    if (!read_numbers(r, &p, e))
        return false;
    s->point = mem_reserve(s->point, &s->cap, s->n + 1, sizeof *s->point);
    s->point[s->n++] = p;
    return true;
}

static int by_group(const void *a, const void *b)
{
    const struct silicon_point *x = a, *y = b;
    int order = strcmp(x->group, y->group);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

bool silicon_read(struct silicon *s, const char *path, const struct measured_where *where, size_t n,
                  struct err *e)
{
    struct rows r;
    size_t at[MEASURED_WHERE_MAX];
    *s = (struct silicon){.n = 0};
    arena_init(&s->strings);
    if (!rows_open(&r, path, columns, N_REQUIRED, N_COLUMNS, e))
        return false;
    bool ok = where_find(&r, where, n, at, e);
    while (ok && rows_next(&r, e) == TRACE_REC)
        ok = !where_holds(&r, where, n, at) || read_point(s, &r, e);
    ok = ok && !e->set &&
         (s->n > 0 || text_fail(&r.text, e, "no point%s; give a table that has some",
                                n ? " is as --where says" : ""));
    rows_close(&r);
    if (ok)
        qsort(s->point, s->n, sizeof *s->point, by_group);
    return ok;
}

void silicon_release(struct silicon *s)
{
    mem_free(s->point);
    arena_release(&s->strings);
    *s = (struct silicon){.n = 0};
}
