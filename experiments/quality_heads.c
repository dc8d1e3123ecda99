/* quality_heads.c: which KV heads look far back: what duo needs to know beforehand. Methods r and o
 * watch full attention while the key of a passkey prompt is answered, a takes one head after the
 * other from it; the answer is forced, so that models that would miss it show their heads, too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experiments/quality.h"
#include "policies/registry.h"

struct search {
    const struct quality_plan *plan;
    struct quality_engine engine;
    uint32_t heads; /* KV heads of all layers */
    char method;
    double *value;
};

static void look(const struct search *s, uint32_t head, struct kv_look *out)
{
    uint32_t n = s->engine.shape.kv_heads;
    device_cpu.kv_look(s->engine.device, 0, head / n, head % n, out);
}

/* The row that was fed last predicts `next`: whose query heads looked at such a token of the
 * needle? */
static void count_hits(struct search *s, const struct quality_prompt *q, uint32_t next)
{
    uint32_t group = s->engine.shape.group;
    for (uint32_t h = 0; h < s->heads; h++) {
        struct kv_look l;
        look(s, h, &l);
        for (uint32_t g = 0; g < group; g++)
            if (l.top[g] >= q->needle_at && l.top[g] < q->needle_end &&
                q->tokens.id[l.top[g]] == next)
                s->value[h] += 1.0 / (group * (double)q->needle.n * s->plan->n_prompts);
    }
}

/* Sum of squares of the columns of W_o that a KV head's query heads feed. */
static double output_size(const struct search *s, uint32_t head)
{
    const struct weights *w = &s->plan->model->weights;
    const struct arch *a = &w->arch;
    uint32_t cols = a->heads * a->head_dim, width = cols / a->kv_heads;
    const float *row = w->layer[head / a->kv_heads][LAYER_O];
    double sum = 0;
    row += (size_t)(head % a->kv_heads) * width;
    for (uint32_t r = 0; r < a->hidden; r++, row += cols)
        for (uint32_t c = 0; c < width; c++)
            sum += (double)row[c] * (double)row[c];
    return sum;
}

static void add_errors(struct search *s)
{
    for (uint32_t h = 0; h < s->heads; h++) {
        struct kv_look l;
        look(s, h, &l);
        s->value[h] += l.measure.error / (double)l.measure.rows * output_size(s, h);
    }
}

/* The question's last token and the key are decoded, and watched. */
static bool watch(struct search *s, const struct quality_prompt *q, struct err *e)
{
    uint32_t last = (uint32_t)q->tokens.n - 1, token = q->tokens.id[last];
    if (!quality_prompt(&s->engine, q->tokens.id, last, e))
        return false;
    for (size_t i = 0; i < q->needle.n; i++) {
        if (!quality_feed(&s->engine, token, e))
            return false;
        token = q->needle.id[i];
        if (s->method == 'r')
            count_hits(s, q, token);
    }
    if (s->method == 'o')
        add_errors(s);
    return true;
}

/* A prompt for the i-th place; the question is in it. */
static bool make_prompt(const struct quality_plan *p, uint32_t i, struct quality_prompt *q,
                        struct err *e)
{
    return quality_passkey(p->model, p->length, (i + 0.5) / p->n_prompts, p->seed + i, 'b', q, e);
}

static bool watch_all(struct search *s, const struct quality_case *c, struct err *e)
{
    const struct quality_plan *p = s->plan;
    struct quality_case mine = *c;
    mine.open_loop = true;
    bool ok = quality_engine_open(&s->engine, p->model, &mine, p->length + 64, e);
    for (uint32_t i = 0; ok && i < p->n_prompts; i++) {
        struct quality_prompt q;
        ok = make_prompt(p, i, &q, e) && watch(s, &q, e);
        quality_prompt_release(&q);
    }
    quality_engine_close(&s->engine);
    return ok;
}

/* ---- ablation ---- */

/* Log p of the keys, in all, under a case. */
static bool answer_all(struct search *s, const struct quality_case *c, double *log_p, struct err *e)
{
    const struct quality_plan *p = s->plan;
    bool ok = quality_engine_open(&s->engine, p->model, c, p->length + 64, e);
    *log_p = 0;
    for (uint32_t i = 0; ok && i < p->n_prompts; i++) {
        struct quality_prompt q;
        ok = make_prompt(p, i, &q, e);
        uint32_t last =
            (uint32_t)q.tokens.n - 1; /* cut before it is fed: so it finds what is left */
        ok = ok && quality_prompt(&s->engine, q.tokens.id, last, e) &&
             quality_feed(&s->engine, q.tokens.id[last], e);
        for (size_t k = 0; ok && k < q.needle.n; k++) {
            *log_p += quality_log_p(&s->engine, q.needle.id[k]);
            ok = quality_feed(&s->engine, q.needle.id[k], e);
        }
        quality_prompt_release(&q);
    }
    quality_engine_close(&s->engine);
    return ok;
}

/* Names in the file the one head that streams. */
static bool write_without(const struct search *s, const char *path, uint32_t head, struct err *e)
{
    uint32_t n = s->plan->model->weights.arch.kv_heads;
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return err_set(e, "%s: %s; heads are tried by a file there", path, strerror(errno));
    for (uint32_t i = 0; i < s->heads; i++)
        fprintf(f, "%u %u %d\n", i / n, i % n, i != head);
    return fclose(f) == 0 || err_set(e, "%s: %s; is the disk full?", path, strerror(errno));
}

/* What the keys lose when a head keeps first and last tokens only, the others everything. */
static bool ablate(struct search *s, const struct quality_case *c, const char *path, struct err *e)
{
    struct params params;
    double whole = 0, without = 0;
    struct quality_case full = {.policy = kvpolicy_find("full"), .params = c->params};
    struct quality_case duo = {.policy = kvpolicy_find("duo"), .params = &params};
    params_init(&params);
    params_set_num(&params, "kv.sink", PARAM_REAL, 4);
    params_set_num(&params, "kv.recent", PARAM_REAL, params_find(c->params, "kv.budget")->num);
    params_set_num(&params, "duo.full_heads", PARAM_REAL, (s->heads - 1.0) / s->heads);
    params_set_str(&params, "kv.heads", path);
    bool ok = answer_all(s, &full, &whole, e);
    for (uint32_t h = 0; ok && h < s->heads; h++) {
        ok = write_without(s, path, h, e) && answer_all(s, &duo, &without, e);
        s->value[h] = MAX(0.0, whole - without);
    }
    params_release(&params);
    return ok;
}

static bool ablate_all(struct search *s, const struct quality_case *c, struct err *e)
{
    char path[] = "/tmp/tandem-headsXXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return err_set(e, "%s: %s; heads are tried by a file there", path, strerror(errno));
    (void)close(fd);
    bool ok = ablate(s, c, path, e);
    (void)unlink(path);
    return ok;
}

bool quality_heads(const struct quality_plan *p, const struct quality_case *c, char method,
                   double *value, struct err *e)
{
    const struct arch *a = &p->model->weights.arch;
    struct search s = {
        .plan = p, .heads = a->layers * a->kv_heads, .method = method, .value = value};
    memset(value, 0, s.heads * sizeof(*value));
    return method == 'a' ? ablate_all(&s, c, e) : watch_all(&s, c, e);
}
