/* profile_aiconfigurator.c: operator tables of aiconfigurator
 * (github.com/ai-dynamo/aiconfigurator): a folder of one GPU with system.yaml and CSV files,
 * `latency` in ms of one call on one GPU:
 *
 *   gemm__<engine>__gemm_perf                           gemm_dtype, m, n, k
 *   attention__<engine>__context_attention_perf         equal prompts without history
 *   attention__<engine>__generation_attention_perf      step: tokens cached before
 *   moe__<engine>__moe_perf                             all experts of a layer
 *   comm__<engine>__custom_allreduce_perf               message_size in elements
 *   comm__nccl_<version>__nccl_perf                     likewise, all GPUs' together
 *
 * They hold no model: the run's says which shapes are wanted. Products between the measured n and k
 * are linear in both at each m; beyond them (lm_head) they go on with the last slope: the note says
 * which, and every step counts as extrapolated. Tables of vLLM come first, TensorRT-LLM's where
 * those are missing, and for fp8_block: on H200 vLLM's were timed with some 50 us of launches in
 * each call, which a CUDA graph hides.
 *
 * A chunk c behind a history h takes A(c + h) - A(h) and the start of a call, A of whole prompts:
 * chunks of a prompt add up to it. Nothing has prompts and decodes in one call. What has no table,
 * elementwise kernels, takes KERNEL_NS and its bytes: 5 a layer, 8 with fp8, which quantises.
 *
 * The sampler is vLLM's for a temperature, the default of requests (v1/sample/sampler.py,
 * ops/topk_topp_sampler.py): logits to float32, over the temperature, softmax, noise, quotient,
 * largest. With tensor parallelism every GPU first gathers all logits and copies them into rows. */
#include "backend/csv.h"
#include "backend/profile.h"
#include "backend/yaml_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "system.yaml"
#define NS_PER_MS_REAL 1e6
#define MAX_MS 1e6
#define MAX_COUNT 1e12
#define KERNEL_NS 2000.0 /* fidelity.md, Closed-loop points */
#define ACTIVATION_BYTES 2.0
#define SAMPLER_KERNELS 6
#define SAMPLER_BYTES (6.0 + 8 + 8 + 4 + 12 + 4) /* of a logit, read and written */
#define GATHERED_BYTES 4.0                       /* of a logit, copied */
#define MOE_ROUTING "power_law_1.01"             /* aiconfigurator's own default */

struct rows {
    struct lattice_row *row;
    size_t n, cap;
};

struct reader {
    struct profile *p;
    struct arena *a;
    const struct backend_env *env;
    const struct model_desc *m;
    const char *dtype, *kv_dtype;
    double bytes_per_s; /* that elementwise kernels reach */
    uint32_t tp, heads, kv_heads;
};

/* ---- files ---- */

static bool is_table(const char *file, const char *begin, const char *end)
{
    size_t n = strlen(file), m = strlen(end);

    if (n > 3 && strcmp(file + n - 3, ".gz") == 0)
        n -= 3;
    return strncmp(file, begin, strlen(begin)) == 0 && n > m && strncmp(file + n - m, end, m) == 0;
}

/* The file PREFIX<version>__NAME.csv, of several versions the last by name; without .gz. */
static bool find_table(const char *folder, const char *prefix, const char *name, char out[256])
{
    char end[80];
    struct dirent *d;
    DIR *dir = opendir(folder);

    out[0] = '\0';
    snprintf(end, sizeof(end), "__%s.csv", name);
    while (dir && (d = readdir(dir)) != NULL)
        if (is_table(d->d_name, prefix, end) && strcmp(d->d_name, out) > 0)
            snprintf(out, 256, "%.255s", d->d_name);
    if (dir)
        closedir(dir);
    size_t n = strlen(out);
    if (n > 3 && strcmp(out + n - 3, ".gz") == 0)
        out[n - 3] = '\0';
    return n > 0;
}

/* Whose tables, the first that is there. */
static const char *const vllm_first[] = {"vllm", "trtllm"};
static const char *const trtllm_first[] = {"trtllm", "vllm"};
static const char *const of_nccl[] = {"nccl", "nccl"};

/* Opens kind__<engine>__name. */
static bool open_table(const struct reader *r, struct csv *c, const char *kind, const char *name,
                       const char *const engines[2], const char *const *columns, uint32_t n_columns,
                       struct err *e)
{
    char prefix[64], file[256];

    for (uint32_t i = 0; i < 2; i++) {
        snprintf(prefix, sizeof(prefix), "%s__%s_", kind, engines[i]);
        if (find_table(r->env->profile, prefix, name, file))
            return csv_open(c, r->env->profile, file, columns, n_columns, e);
    }
    return err_set(e, "%s: holds no %s__ENGINE__%s.csv; fetch the table", r->env->profile, kind,
                   name);
}

static bool key_is(const struct csv *c, uint32_t i, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    return strcmp(csv_text(c, i), text) == 0;
}

/* Appends a row: `n` keys from column `first` on, and the time behind them. */
static bool add_row(const struct csv *c, uint32_t first, uint32_t n, struct rows *to, struct err *e)
{
    struct lattice_row row = {.line = c->line};

    for (uint32_t i = 0; i < n; i++)
        if (!csv_number(c, first + i, 0, MAX_COUNT, &row.key[i], e))
            return false;
    if (!csv_number(c, first + n, 0, MAX_MS, &row.value, e))
        return false;
    row.value *= NS_PER_MS_REAL;
    to->row = mem_reserve(to->row, &to->cap, to->n + 1, sizeof(*to->row));
    to->row[to->n++] = row;
    return true;
}

static bool twice_in(const struct csv *c, uint64_t line, struct err *e)
{
    return err_set(e, "%s:%llu: the same point twice; keep one row", c->path,
                   (unsigned long long)line);
}

/* Reads the rows that `wanted` takes: `keys` numbers from column `first` on. Some must be there. */
static bool read_rows(const struct reader *r, struct csv *c, uint32_t first, uint32_t keys,
                      bool (*wanted)(const struct reader *, const struct csv *), const char *what,
                      struct rows *to, struct err *e)
{
    enum csv_status st;

    while ((st = csv_next(c, e)) == CSV_ROW)
        if (wanted(r, c) && !add_row(c, first, keys, to, e))
            return false;
    if (st == CSV_ERR)
        return false;
    return to->n > 0 || err_set(e, "%s: no row for %s of %s (dtype %s, tensor_parallel_size %u)",
                                c->path, what, r->m->id, r->dtype, r->tp);
}

/* ---- matrix products ---- */

static const char *const gemm_columns[] = {"gemm_dtype", "n", "k", "m", "latency"};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Every m that was measured, ascending, each once. */
static size_t grid_of_m(const struct rows *rows, double *m)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->n; i++)
        m[i] = rows->row[i].key[2];
    qsort(m, rows->n, sizeof(*m), by_value);
    for (size_t i = 0; i < rows->n; i++)
        if (n == 0 || m[i] > m[n - 1])
            m[n++] = m[i];
    return n;
}

/* One curve over m out of the lattice (n, k, m). */
static void product(struct reader *r, enum profile_op op, const struct lattice *l, const double *m,
                    size_t n_m, double n, double k)
{
    struct lattice_row *row = mem_alloc(n_m * sizeof(*row));
    bool beyond = false, ok;
    uint64_t line;

    for (size_t i = 0; i < n_m; i++) {
        const double key[] = {n, k, m[i]};

        row[i] = (struct lattice_row){.key = {m[i]}, .value = lattice_at(l, key, &beyond)};
    }
    ok = curve_build(&r->p->op[op], r->a, row, n_m, &line);
    CHECK(ok, "each m once", "%zu", n_m);
    mem_free(row);
    size_t used = strlen(r->p->text);
    if (!beyond)
        return;
    r->p->beyond = true;
    snprintf(r->p->text + used, sizeof(r->p->text) - used, ", %s extrapolated",
             profile_op_name(op));
}

static void layer_products(struct reader *r, const struct lattice *l, const double *m, size_t n_m)
{
    const struct model_desc *d = r->m;
    double hidden = d->hidden, q = (double)r->heads * d->head_dim;
    double inner = (double)d->intermediate / r->tp;

    product(r, OP_QKV, l, m, n_m, q + 2.0 * r->kv_heads * d->head_dim, hidden);
    product(r, OP_O, l, m, n_m, hidden, q);
    if (d->experts > 0)
        return;
    product(r, OP_GATE_UP, l, m, n_m, 2 * inner, hidden);
    product(r, OP_DOWN, l, m, n_m, hidden, inner);
}

/* Rows of one type of weights, and what they are for. */
struct products {
    const char *dtype;
    bool layers, head; /* at least one */
    struct rows rows;
};

static bool make_products(struct reader *r, struct products *p, const struct csv *c, struct err *e)
{
    struct arena scratch;
    struct lattice l;
    uint64_t line;

    if (p->rows.n == 0)
        return err_set(e, "%s: no row for matrix products of %s (dtype %s)", c->path, r->m->id,
                       p->dtype);
    arena_init(&scratch);
    bool ok = lattice_build(&l, &scratch, 3, p->rows.row, p->rows.n, &line) || twice_in(c, line, e);
    if (ok) {
        double *m = arena_alloc(&scratch, p->rows.n * sizeof(*m));
        size_t n = grid_of_m(&p->rows, m);

        if (p->layers)
            layer_products(r, &l, m, n);
        if (p->head)
            product(r, OP_LM_HEAD, &l, m, n, (double)r->m->vocab / r->tp, r->m->hidden);
    }
    arena_release(&scratch);
    return ok;
}

/* One pass over one file, for `n` types. */
static bool read_products(struct reader *r, const char *const engines[2], struct products *p,
                          size_t n, struct err *e)
{
    enum csv_status st = CSV_ERR;
    struct csv c;

    if (!open_table(r, &c, "gemm", "gemm_perf", engines, gemm_columns, ARRAY_LEN(gemm_columns), e))
        return false;
    bool ok = true;
    while (ok && (st = csv_next(&c, e)) == CSV_ROW)
        for (size_t i = 0; i < n && ok; i++)
            if (strcmp(csv_text(&c, 0), p[i].dtype) == 0)
                ok = add_row(&c, 1, 3, &p[i].rows, e);
    ok = ok && st != CSV_ERR;
    for (size_t i = 0; i < n; i++) {
        ok = ok && make_products(r, &p[i], &c, e);
        mem_free(p[i].rows.row);
    }
    csv_close(&c);
    return ok;
}

/* The layers' products, and lm_head, which stays bfloat16: out of one file where both are in it. */
static bool read_gemm(struct reader *r, struct err *e)
{
    struct products own = {.dtype = r->dtype, .layers = true};
    struct products plain = {.dtype = "bfloat16", .head = true};
    struct products both[] = {own, plain};

    if (strcmp(r->dtype, "fp8_block") == 0)
        return read_products(r, trtllm_first, &own, 1, e) &&
               read_products(r, vllm_first, &plain, 1, e);
    if (strcmp(r->dtype, "bfloat16") != 0)
        return read_products(r, vllm_first, both, 2, e);
    own.head = true;
    return read_products(r, vllm_first, &own, 1, e);
}

/* ---- attention ---- */

enum { ATT_KV_DTYPE, ATT_DTYPE, ATT_HEADS, ATT_KV_HEADS, ATT_DIM, ATT_WINDOW, ATT_BATCH };
static const char *const context_columns[] = {"kv_cache_dtype",      "attn_dtype", "num_heads",
                                              "num_key_value_heads", "head_dim",   "window_size",
                                              "batch_size",          "isl",        "latency"};
static const char *const generation_columns[] = {"kv_cache_dtype",      "attn_dtype", "num_heads",
                                                 "num_key_value_heads", "head_dim",   "window_size",
                                                 "batch_size",          "step",       "latency"};

static bool attention_wanted(const struct reader *r, const struct csv *c)
{
    return key_is(c, ATT_HEADS, r->heads) && key_is(c, ATT_KV_HEADS, r->kv_heads) &&
           key_is(c, ATT_DIM, r->m->head_dim) && key_is(c, ATT_WINDOW, 0) &&
           strcmp(csv_text(c, ATT_KV_DTYPE), r->kv_dtype) == 0 &&
           strcmp(csv_text(c, ATT_DTYPE), "bfloat16") == 0;
}

static bool one_prompt_wanted(const struct reader *r, const struct csv *c)
{
    return key_is(c, ATT_BATCH, 1) && attention_wanted(r, c);
}

/* Chunks behind histories out of whole prompts, as far as those were measured. */
static bool spread_prompts(struct reader *r, const struct rows *whole, struct rows *out,
                           struct csv *c, struct err *e)
{
    struct curve all;
    uint64_t line;
    bool outside = false;

    if (!curve_build(&all, r->a, whole->row, whole->n, &line))
        return twice_in(c, line, e);
    double start = all.y[0], longest = all.x[all.n - 1];
    out->row = mem_alloc((size_t)all.n * (all.n + 1) * sizeof(*out->row));
    for (uint32_t i = 0; i < all.n; i++) {
        out->row[out->n++] = (struct lattice_row){.key = {all.x[i], 0}, .value = all.y[i]};
        for (uint32_t j = 0; j < all.n && all.x[i] + all.x[j] <= longest; j++) {
            double more = curve_at(&all, all.x[i] + all.x[j], &outside) - all.y[j] + start;

            out->row[out->n++] =
                (struct lattice_row){.key = {all.x[i], all.x[j]}, .value = MAX(more, all.y[i])};
        }
    }
    return true;
}

static bool read_context(struct reader *r, struct err *e)
{
    struct rows whole = {0}, rows = {0};
    struct csv c;
    uint64_t line;

    if (!open_table(r, &c, "attention", "context_attention_perf", vllm_first, context_columns,
                    ARRAY_LEN(context_columns), e))
        return false;
    bool ok = read_rows(r, &c, ATT_BATCH + 1, 1, one_prompt_wanted, "attention of one prompt",
                        &whole, e) &&
              spread_prompts(r, &whole, &rows, &c, e);
    if (ok && !lattice_build(&r->p->prefill, r->a, 2, rows.row, rows.n, &line))
        ok = twice_in(&c, line, e);
    mem_free(whole.row);
    mem_free(rows.row);
    csv_close(&c);
    return ok;
}

static bool read_generation(struct reader *r, struct err *e)
{
    struct rows rows = {0};
    struct csv c;
    uint64_t line;

    if (!open_table(r, &c, "attention", "generation_attention_perf", vllm_first, generation_columns,
                    ARRAY_LEN(generation_columns), e))
        return false;
    bool ok = read_rows(r, &c, ATT_BATCH, 2, attention_wanted, "attention of decodes", &rows, e);
    for (size_t i = 0; i < rows.n; i++)
        rows.row[i].key[1] += 1; /* the token itself is read, too */
    if (ok && !lattice_build(&r->p->decode, r->a, 2, rows.row, rows.n, &line))
        ok = twice_in(&c, line, e);
    mem_free(rows.row);
    csv_close(&c);
    return ok;
}

/* ---- experts, all-reduce ---- */

static const char *const moe_columns[] = {
    "moe_dtype",   "distribution", "hidden_size", "inter_size", "topk",
    "num_experts", "moe_tp_size",  "moe_ep_size", "num_tokens", "latency"};
static const char *const reduce_columns[] = {"backend", "num_gpus", "message_size", "latency"};

static bool moe_wanted(const struct reader *r, const struct csv *c)
{
    return strcmp(csv_text(c, 0), r->dtype) == 0 && strcmp(csv_text(c, 1), MOE_ROUTING) == 0 &&
           key_is(c, 2, r->m->hidden) && key_is(c, 3, r->m->moe_intermediate) &&
           key_is(c, 4, r->m->experts_per_token) && key_is(c, 5, r->m->experts) &&
           key_is(c, 6, r->tp) && key_is(c, 7, 1);
}

static const char *const gather_columns[] = {"op_name", "nccl_dtype", "num_gpus", "message_size",
                                             "latency"};

static bool gather_wanted(const struct reader *r, const struct csv *c)
{
    return strcmp(csv_text(c, 0), "all_gather") == 0 && strcmp(csv_text(c, 1), "half") == 0 &&
           key_is(c, 2, r->tp);
}

/* Steps run as CUDA graphs: so were these. */
static bool reduce_wanted(const struct reader *r, const struct csv *c)
{
    return strcmp(csv_text(c, 0), "vllm_graph") == 0 && key_is(c, 1, r->tp);
}

static bool read_curve(struct reader *r, struct csv *c, uint32_t first, double unit,
                       bool (*wanted)(const struct reader *, const struct csv *), const char *what,
                       struct curve *out, struct err *e)
{
    struct rows rows = {0};
    uint64_t line;
    bool ok = read_rows(r, c, first, 1, wanted, what, &rows, e);

    for (size_t i = 0; i < rows.n; i++)
        rows.row[i].key[0] /= unit;
    if (ok && !curve_build(out, r->a, rows.row, rows.n, &line))
        ok = twice_in(c, line, e);
    mem_free(rows.row);
    csv_close(c);
    return ok;
}

static bool read_moe(struct reader *r, struct err *e)
{
    struct csv c;

    return r->m->experts == 0 || (open_table(r, &c, "moe", "moe_perf", vllm_first, moe_columns,
                                             ARRAY_LEN(moe_columns), e) &&
                                  read_curve(r, &c, 8, 1, moe_wanted, "experts", &r->p->moe, e));
}

static bool read_reduce(struct reader *r, struct err *e)
{
    struct csv c;

    return r->tp == 1 ||
           (open_table(r, &c, "comm", "custom_allreduce_perf", vllm_first, reduce_columns,
                       ARRAY_LEN(reduce_columns), e) &&
            read_curve(r, &c, 2, r->m->hidden, reduce_wanted, "all-reduce", &r->p->reduce, e));
}

static bool read_gather(struct reader *r, struct err *e)
{
    struct csv c;

    return r->tp == 1 ||
           (open_table(r, &c, "comm", "nccl_perf", of_nccl, gather_columns,
                       ARRAY_LEN(gather_columns), e) &&
            read_curve(r, &c, 3, r->m->vocab, gather_wanted, "all-gather", &r->p->gather, e));
}

/* ---- elementwise kernels ---- */

static void kernels(struct reader *r, enum profile_op op, double n, double bytes_per_row)
{
    double row_ns = bytes_per_row * 1e9 / r->bytes_per_s;
    struct lattice_row row[] = {{.key = {1}, .value = n * KERNEL_NS + row_ns},
                                {.key = {65536}, .value = n * KERNEL_NS + 65536 * row_ns}};
    uint64_t line;
    bool ok = curve_build(&r->p->op[op], r->a, row, 2, &line);

    CHECK(ok, "two rows are two points", "%d", (int)op);
}

/* Two norms with what they add, rope, KV write, activation; fp8: inputs of products quantised
 * behind norms and activation. */
static void elementwise(struct reader *r)
{
    const struct model_desc *m = r->m;
    double heads = (double)(r->heads + r->kv_heads) * m->head_dim * ACTIVATION_BYTES;
    double kv = 2.0 * r->kv_heads * m->head_dim * (ACTIVATION_BYTES + m->kv_bytes_per_elem);
    double hidden = m->hidden * ACTIVATION_BYTES;
    double inner = ACTIVATION_BYTES * m->intermediate / r->tp;
    double quant = strcmp(r->dtype, "bfloat16") == 0 ? 0 : 1;
    double shared = r->tp > 1 ? 1 : 0;

    kernels(r, OP_EMBEDDING, 1, 2 * hidden);
    kernels(r, OP_FINAL_NORM, 1, 4 * hidden);
    kernels(r, OP_NORM, 1 + quant, 4 * hidden + quant * 1.5 * hidden);
    kernels(r, OP_ROPE, 2, 2 * heads + kv);
    kernels(r, OP_ACT, 1 + quant, 3 * inner + quant * 1.5 * inner);
    kernels(r, OP_SAMPLER, SAMPLER_KERNELS + shared,
            m->vocab * (SAMPLER_BYTES + shared * GATHERED_BYTES));
    if (m->qk_norm)
        kernels(r, OP_QK_NORM, 1, 2 * heads);
}

/* ---- the folder ---- */

/* The GPU by the name that upstream gives its folder: data_dir: data/h200_sxm. */
static bool names(const char *path, struct profile_names *out, struct err *e)
{
    const char *dir;
    struct yaml_file f;

    if (!yaml_file_open(&f, path, MARK, e))
        return false;
    bool ok = yaml_text(&f, "data_dir", false, &dir, e);
    if (ok) {
        const char *last = strrchr(dir, '/');

        snprintf(out->gpu, sizeof(out->gpu), "%.100s", last ? last + 1 : dir);
    }
    yaml_file_close(&f);
    return ok;
}

static bool positive(struct yaml_file *f, const char *key, double *out, struct err *e)
{
    const char *text;
    char *end;

    if (!yaml_text(f, key, false, &text, e))
        return false;
    *out = strtod(text, &end);
    return (end != text && *end == '\0' && *out > 0 && *out < 1e18) ||
           yaml_fail(f, key, e, "%.40s is no positive number; correct it", text);
}

static bool read_system(struct reader *r, struct err *e)
{
    double peak, reached;
    struct yaml_file f;

    if (!yaml_file_open(&f, r->env->profile, MARK, e))
        return false;
    bool ok = positive(&f, "gpu.mem_bw", &peak, e) &&
              positive(&f, "gpu.mem_bw_empirical_scaling_factor", &reached, e);
    yaml_file_close(&f);
    if (ok)
        r->bytes_per_s = peak * reached;
    return ok;
}

static bool open(struct profile *p, struct arena *a, const struct backend_env *env, struct err *e)
{
    const struct model_desc *m = env->model;
    struct profile_names of = {.gpu = ""};
    uint32_t tp = env->tensor_parallel_size;

    if (!m)
        return err_set(e,
                       "%s: holds operators of any model; simulate with it, calibrate from a "
                       "profile of one",
                       env->profile);
    struct reader r = {.p = p, .a = a, .env = env, .m = m, .tp = tp, .heads = m->heads / tp};
    r.kv_heads = MAX(1, m->kv_heads / tp);
    r.dtype = env->dtype ? env->dtype : "bfloat16";
    r.kv_dtype = m->kv_bytes_per_elem < ACTIVATION_BYTES ? "fp8" : "bfloat16";
    if (!names(env->profile, &of, e) || !read_system(&r, e))
        return false;
    snprintf(p->text, sizeof(p->text), "%.32s %.48s %s tp%u (aiconfigurator, no mixed batches)",
             of.gpu, m->id, r.dtype, tp);
    elementwise(&r);
    return read_gemm(&r, e) && read_context(&r, e) && read_generation(&r, e) && read_moe(&r, e) &&
           read_reduce(&r, e) && read_gather(&r, e);
}

const struct profile_format profile_aiconfigurator = {.mark = MARK, .names = names, .open = open};
