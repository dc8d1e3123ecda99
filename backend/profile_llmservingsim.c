/* profile_llmservingsim.c: profiles of LLMServingSim's profiler (github.com/casys-kaist/
 * LLMServingSim, 1.0.0): a folder with meta.yaml and, for each tensor-parallel degree, tp<N> with
 *
 *   dense.csv         layer,tokens,time_us            of one layer, eager
 *   per_sequence.csv  layer,sequences,time_us         lm_head, sampler
 *   attention.csv     prefill_chunk,kv_prefill,n_decode,kv_decode,time_us: one call each, lattices
 *                     of x2 and x1.5 steps laid over each other, corners left out
 *   moe.csv           tokens,activated_experts,time_us   mixtures of experts only. Measured for
 *                     unsplit experts in tp1 alone: a GPU of N has 1/N of the tokens' experts
 *                     and of the experts, whether experts or their matrices are dealt out
 *   skew.csv          n,pc,kp,kv_big,kv_mean,t_mean_us,t_skew_us,...: decodes of unequal context,
 *                     read where meta.yaml says that skew was profiled. skew_fit.csv, upstream's
 *                     fit of it, is not: its bins of kv_big put 4097 tokens with 16384
 *
 * meta.yaml's engine block shows the last degree profiled, not each: it is not read. */
#include "backend/csv.h"
#include "backend/profile.h"
#include "backend/yaml_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "meta.yaml"
#define NS_PER_US_REAL 1000.0
#define MAX_US 1e9    /* a call of 17 minutes: a slip of units is noticed */
#define MAX_COUNT 1e9 /* tokens, sequences */
#define MIN_SKEW 1e-3 /* skew.csv: what is divided by */
#define PATH_BYTES 4096

/* Rows on their way into a curve or lattice. */
struct rows {
    struct lattice_row *row;
    size_t n, cap;
};

static void add_row(struct rows *r, struct lattice_row row)
{
    r->row = mem_reserve(r->row, &r->cap, r->n + 1, sizeof(*r->row));
    r->row[r->n++] = row;
}

static void release_rows(struct rows *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(r[i].row);
}

static bool twice_in(const struct csv *c, uint64_t line, struct err *e)
{
    return err_set(e, "%s:%llu: the same point twice; keep one row", c->path,
                   (unsigned long long)line);
}

static bool build_lattice(struct lattice *l, struct arena *a, uint32_t axes, struct rows *r,
                          const struct csv *c, struct err *e)
{
    uint64_t line;

    return lattice_build(l, a, axes, r->row, r->n, &line) || twice_in(c, line, e);
}

/* ---- dense.csv, per_sequence.csv ---- */

static const char *const op_file[] = {"dense.csv", "per_sequence.csv"};
static const char *const op_columns[][3] = {{"layer", "tokens", "time_us"},
                                            {"layer", "sequences", "time_us"}};
enum { OP_LAYER, OP_COUNT, OP_TIME };

static bool find_op(const struct csv *c, uint32_t from, uint32_t to, uint32_t *op, struct err *e)
{
    const char *name = csv_text(c, OP_LAYER);

    for (*op = from; *op < to; (*op)++)
        if (strcmp(profile_op_name((enum profile_op) * op), name) == 0)
            return true;
    return csv_fail(c, e, "layer \"%.40s\" is none that the step formula knows", name);
}

static bool op_row(const struct csv *c, uint32_t from, uint32_t to, struct rows *rows,
                   struct err *e)
{
    struct lattice_row row = {.line = c->line};
    uint32_t op;

    if (!find_op(c, from, to, &op, e) || !csv_number(c, OP_COUNT, 1, MAX_COUNT, &row.key[0], e) ||
        !csv_number(c, OP_TIME, 0, MAX_US, &row.value, e))
        return false;
    row.value *= NS_PER_US_REAL;
    add_row(&rows[op], row);
    return true;
}

/* `second`: per_sequence.csv. */
static bool read_ops(struct profile *p, struct arena *a, const char *folder, bool second,
                     struct err *e)
{
    uint32_t from = second ? N_TOKEN_OPS : 0, to = second ? N_OPS : N_TOKEN_OPS;
    struct rows rows[N_OPS] = {{0}};
    enum csv_status st;
    struct csv c;
    bool ok;

    if (!csv_open(&c, folder, op_file[second], op_columns[second], 3, e))
        return false;
    while ((st = csv_next(&c, e)) == CSV_ROW)
        if (!op_row(&c, from, to, rows, e))
            break;
    ok = st == CSV_END;
    for (uint32_t op = from; op < to && ok; op++) {
        uint64_t line;

        ok = curve_build(&p->op[op], a, rows[op].row, rows[op].n, &line) || twice_in(&c, line, e);
    }
    release_rows(rows, N_OPS);
    csv_close(&c);
    return ok;
}

/* ---- attention.csv ---- */

static const char *const attention_columns[] = {"prefill_chunk", "kv_prefill", "n_decode",
                                                "kv_decode", "time_us"};
enum { ATT_CHUNK, ATT_HISTORY, ATT_DECODES, ATT_CONTEXT, ATT_TIME, N_ATT };
enum { DECODE, PREFILL, MIXED, N_KINDS };

static bool attention_row(const struct csv *c, struct rows kind[N_KINDS], struct err *e)
{
    double x[N_ATT];
    struct lattice_row row = {.line = c->line};

    for (uint32_t i = 0; i < N_ATT; i++)
        if (!csv_number(c, i, 0, i == ATT_TIME ? MAX_US : MAX_COUNT, &x[i], e))
            return false;
    row.value = x[ATT_TIME] * NS_PER_US_REAL;
    if (x[ATT_CHUNK] > 0 && x[ATT_DECODES] > 0) {
        const double key[] = {x[ATT_CHUNK], x[ATT_DECODES], x[ATT_HISTORY], x[ATT_CONTEXT]};

        memcpy(row.key, key, sizeof(key));
        add_row(&kind[MIXED], row);
    } else if (x[ATT_CHUNK] > 0) {
        row.key[0] = x[ATT_CHUNK];
        row.key[1] = x[ATT_HISTORY];
        add_row(&kind[PREFILL], row);
    } else if (x[ATT_DECODES] > 0) {
        row.key[0] = x[ATT_DECODES];
        row.key[1] = x[ATT_CONTEXT];
        add_row(&kind[DECODE], row);
    } else {
        return csv_fail(c, e, "neither a chunk nor decodes; remove the row");
    }
    return true;
}

static bool build_attention(struct profile *p, struct arena *a, struct rows kind[N_KINDS],
                            const struct csv *c, struct err *e)
{
    if (kind[DECODE].n == 0 || kind[PREFILL].n == 0)
        return err_set(e, "%s: no row %s; profile the model again", c->path,
                       kind[DECODE].n == 0 ? "with decodes alone" : "with a chunk alone");
    return build_lattice(&p->decode, a, 2, &kind[DECODE], c, e) &&
           build_lattice(&p->prefill, a, 2, &kind[PREFILL], c, e) &&
           build_lattice(&p->mixed, a, 4, &kind[MIXED], c, e);
}

static bool read_attention(struct profile *p, struct arena *a, const char *folder, struct err *e)
{
    struct rows kind[N_KINDS] = {{0}};
    enum csv_status st;
    struct csv c;
    bool ok;

    if (!csv_open(&c, folder, "attention.csv", attention_columns, N_ATT, e))
        return false;
    while ((st = csv_next(&c, e)) == CSV_ROW)
        if (!attention_row(&c, kind, e))
            break;
    ok = st == CSV_END && build_attention(p, a, kind, &c, e);
    release_rows(kind, N_KINDS);
    csv_close(&c);
    return ok;
}

/* ---- moe.csv ---- */

static const char *const moe_columns[] = {"tokens", "activated_experts", "time_us"};

static bool moe_row(const struct csv *c, struct rows *rows, struct err *e)
{
    struct lattice_row row = {.line = c->line};

    if (!csv_number(c, 0, 1, MAX_COUNT, &row.key[0], e) ||
        !csv_number(c, 1, 1, MAX_COUNT, &row.key[1], e) ||
        !csv_number(c, 2, 0, MAX_US, &row.value, e))
        return false;
    row.value *= NS_PER_US_REAL;
    add_row(rows, row);
    return true;
}

static bool read_moe_of(struct profile *p, struct arena *a, const char *folder, struct err *e)
{
    struct rows rows = {0};
    enum csv_status st;
    struct csv c;
    bool ok;

    if (!csv_open(&c, folder, "moe.csv", moe_columns, ARRAY_LEN(moe_columns), e))
        return false;
    while ((st = csv_next(&c, e)) == CSV_ROW)
        if (!moe_row(&c, &rows, e))
            break;
    ok = st == CSV_END && build_lattice(&p->experts, a, 2, &rows, &c, e);
    release_rows(&rows, 1);
    csv_close(&c);
    return ok;
}

static bool read_moe(struct profile *p, struct arena *a, const char *path, const char *folder,
                     uint32_t tp, struct err *e)
{
    char unsplit[PATH_BYTES];
    size_t used = strlen(p->text);

    if (csv_exists(folder, "moe.csv"))
        return read_moe_of(p, a, folder, e);
    snprintf(unsplit, sizeof(unsplit), "%s/tp1", path);
    if (!csv_exists(unsplit, "moe.csv"))
        return true; /* a model without experts; with them, the step formula asks for it */
    p->experts_split = tp;
    snprintf(p->text + used, sizeof(p->text) - used, ", experts of tp1 shared by %u", tp);
    return read_moe_of(p, a, unsplit, e);
}

/* ---- skew.csv ---- */

static const char *const skew_columns[] = {"pc",      "kp",        "n",        "kv_big",
                                           "kv_mean", "t_mean_us", "t_skew_us"};
enum { SKEW_CHUNK, SKEW_HISTORY, SKEW_N, SKEW_LONGEST, SKEW_MEAN, SKEW_T_MEAN, SKEW_T, N_SKEW };

static bool skew_row(const struct csv *c, struct rows *decode, struct rows *mixed, struct err *e)
{
    struct lattice_row row = {.line = c->line};
    double x[N_SKEW];

    for (uint32_t i = 0; i < N_SKEW; i++)
        if (!csv_number(c, i, i < SKEW_N ? 0 : MIN_SKEW, i < SKEW_T_MEAN ? MAX_COUNT : MAX_US,
                        &x[i], e))
            return false;
    if (x[SKEW_MEAN] > x[SKEW_LONGEST])
        return csv_fail(c, e, "kv_mean %g is above kv_big %g; correct one", x[SKEW_MEAN],
                        x[SKEW_LONGEST]);
    const double alone[] = {x[SKEW_N], x[SKEW_LONGEST], x[SKEW_MEAN] / x[SKEW_LONGEST]};
    const double both[] = {x[SKEW_CHUNK], x[SKEW_N], x[SKEW_HISTORY], alone[1], alone[2]};

    if (x[SKEW_CHUNK] > 0)
        memcpy(row.key, both, sizeof(both));
    else
        memcpy(row.key, alone, sizeof(alone));
    row.value = x[SKEW_T] / x[SKEW_T_MEAN];
    add_row(x[SKEW_CHUNK] > 0 ? mixed : decode, row);
    return true;
}

static bool read_skew_file(struct profile *p, struct arena *a, const char *folder, struct err *e)
{
    struct rows rows[2] = {{0}};
    enum csv_status st;
    struct csv c;
    bool ok;

    if (!csv_open(&c, folder, "skew.csv", skew_columns, N_SKEW, e))
        return false;
    while ((st = csv_next(&c, e)) == CSV_ROW)
        if (!skew_row(&c, &rows[0], &rows[1], e))
            break;
    ok = st == CSV_END && build_lattice(&p->skew_decode, a, 3, &rows[0], &c, e) &&
         build_lattice(&p->skew_mixed, a, 5, &rows[1], &c, e);
    p->skew_decode.flat = p->skew_mixed.flat = true;
    release_rows(rows, 2);
    csv_close(&c);
    return ok;
}

static bool read_skew(struct profile *p, struct arena *a, struct yaml_file *f, const char *folder,
                      struct err *e)
{
    bool enabled;

    return yaml_flag(f, "skew_profile.enabled", &enabled, e) &&
           (!enabled || read_skew_file(p, a, folder, e));
}

/* ---- the folder ---- */

static int by_degree(const struct dirent **a, const struct dirent **b)
{
    unsigned long x = strtoul((*a)->d_name + 2, NULL, 10);
    unsigned long y = strtoul((*b)->d_name + 2, NULL, 10);

    return (x > y) - (x < y);
}

static int is_degree(const struct dirent *d)
{
    return strncmp(d->d_name, "tp", 2) == 0 && d->d_name[2] != '\0' &&
           strspn(d->d_name + 2, "0123456789") == strlen(d->d_name + 2);
}

/* Finds tp<N>; where it is missing, says which are there. */
static bool find_folder(const char *path, uint32_t tp, char folder[PATH_BYTES], struct err *e)
{
    struct dirent **found;
    char there[128] = "none";
    size_t at = 0;
    bool ok = false;
    int n = scandir(path, &found, is_degree, by_degree);

    for (int i = 0; i < n; i++) {
        ok = ok || strtoul(found[i]->d_name + 2, NULL, 10) == tp;
        if (at < sizeof(there))
            at += (size_t)snprintf(there + at, sizeof(there) - at, "%s%s", i ? ", " : "",
                                   found[i]->d_name);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    if (!ok)
        return err_set(e, "%s: holds no tp%u; there is %s: set tensor_parallel_size", path, tp,
                       there);
    return snprintf(folder, PATH_BYTES, "%s/tp%u", path, tp) < PATH_BYTES ||
           err_set(e, "%s: the path is too long", path);
}

static bool copy_text(struct yaml_file *f, const char *key, char *out, size_t size, struct err *e)
{
    const char *text;

    if (!yaml_text(f, key, false, &text, e))
        return false;
    return snprintf(out, size, "%s", text) < (int)size ||
           yaml_fail(f, key, e, "is longer than %zu characters", size - 1);
}

/* `variant`: bf16 as the profiler names what the configuration calls bfloat16. */
static bool read_names(struct yaml_file *f, struct profile_names *out, struct err *e)
{
    if (!copy_text(f, "model", out->model, sizeof(out->model), e) ||
        !copy_text(f, "hardware", out->gpu, sizeof(out->gpu), e) ||
        !copy_text(f, "variant", out->dtype, sizeof(out->dtype), e))
        return false;
    if (strcmp(out->dtype, "bf16") == 0)
        snprintf(out->dtype, sizeof(out->dtype), "bfloat16");
    return true;
}

static bool names(const char *path, struct profile_names *out, struct err *e)
{
    struct yaml_file f;
    bool ok;

    if (!yaml_file_open(&f, path, META, e))
        return false;
    ok = read_names(&f, out, e);
    yaml_file_close(&f);
    return ok;
}

static bool describe(struct profile *p, struct yaml_file *f, uint32_t tp, struct err *e)
{
    struct profile_names of;
    const char *vllm, *profiler;

    if (!read_names(f, &of, e) || !yaml_text(f, "vllm_version", false, &vllm, e) ||
        !yaml_text(f, "profiler_version", false, &profiler, e))
        return false;
    snprintf(p->text, sizeof(p->text), "%.32s %.48s %s tp%u (LLMServingSim %.8s, vLLM %.12s)",
             of.gpu, of.model, of.dtype, tp, profiler, vllm);
    return true;
}

static bool open(struct profile *p, struct arena *a, const struct backend_env *env, struct err *e)
{
    const char *path = env->profile;
    uint32_t tp = env->tensor_parallel_size;
    char folder[PATH_BYTES];
    struct yaml_file f;
    bool ok;

    if (!find_folder(path, tp, folder, e) || !yaml_file_open(&f, path, META, e))
        return false;
    ok = describe(p, &f, tp, e) && read_skew(p, a, &f, folder, e);
    yaml_file_close(&f);
    return ok && read_ops(p, a, folder, false, e) && read_ops(p, a, folder, true, e) &&
           read_attention(p, a, folder, e) && read_moe(p, a, path, folder, tp, e);
}

const struct profile_format profile_llmservingsim = {.mark = META, .names = names, .open = open};
