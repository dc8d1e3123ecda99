/* cmd_quality.c: `tandem quality`: what KV policies cost in quality, on a real model. */
#include "experiments/commands.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/config.h"
#include "experiments/options.h"
#include "experiments/quality.h"
#include "policies/registry.h"
#include "sim/nearest.h"

#define MAX_LIST 32u

struct list { /* words between commas; they are of one copy of the argument */
    char *text, *word[MAX_LIST];
    uint32_t n;
};

struct input {
    const char *model, *db, *text, *backend;
    struct list kv, budget, task, length, protocol;
    struct config config; /* of the policies */
    const char *out;      /* heads */
    uint32_t prompts, scored, threads;
    char method;
    double seed;
    bool json, heads;
    struct err *e;
};

enum {
    OPT_MODEL = 256,
    OPT_KV,
    OPT_BUDGET,
    OPT_TASK,
    OPT_LENGTH,
    OPT_PROTOCOL,
    OPT_BACKEND,
    OPT_DB,
    OPT_TEXT,
    OPT_PROMPTS,
    OPT_SCORED,
    OPT_SEED,
    OPT_THREADS,
    OPT_SET,
    OPT_JSON,
    OPT_OUT,
    OPT_METHOD,
};

static const struct argp_option options[] = {
    {"model", OPT_MODEL, "FILE", 0, "A GGUF file with its tokenizer (scripts/get-model)", 0},
    {"kv", OPT_KV, "ID,...", 0, "KV policies [full]", 0},
    {"budget", OPT_BUDGET, "N,...", 0, "kv.budget: tokens, or up to 1 a share [0.2]", 0},
    {"task", OPT_TASK, "NAME,...", 0, "passkey, copy, ppl, recall [passkey]", 0},
    {"length", OPT_LENGTH, "N,...", 0, "Tokens of context [1024]", 0},
    {"protocol", OPT_PROTOCOL, "a|b,...", 0,
     "The question comes after the prompt was cut (a), or is in it (b) [a]", 0},
    {"backend", OPT_BACKEND, "ID", 0, "cpu [cpu]", 0},
    {"db", OPT_DB, "FILE", 0, "Database [tandem.db]", 0},
    {"text", OPT_TEXT, "FILE", 0, "For ppl and recall: plain text", 0},
    {"prompts", OPT_PROMPTS, "N", 0, "Of a task and length, needles at as many depths [20]", 0},
    {"scored", OPT_SCORED, "N", 0, "ppl, recall: tokens behind the context [64]", 0},
    {"set", OPT_SET, "KEY=VALUE", 0, "Of a policy or budget, such as kv.recent=16 (list keys)", 0},
    {"seed", OPT_SEED, "N", 0, "Of keys and strings [1]", 0},
    {"threads", OPT_THREADS, "N", 0, "Of the CPU [0: one a core]", 0},
    {"out", OPT_OUT, "FILE", 0, "heads: the file for kv.heads", 0},
    {"method", OPT_METHOD, "r|o|a", 0,
     "heads: by where they look, by what their output loses, by taking one after the other [r]", 0},
    {"json", OPT_JSON, NULL, 0, "Print the rows as a JSON array", 0},
    {0},
};

/* ---- options ---- */

static error_t set_list(struct input *in, struct list *l, const char *name, const char *arg)
{
    mem_free(l->text);
    *l = (struct list){.text = mem_strdup(arg)};
    for (char *at = l->text; at != NULL; l->n++) {
        char *word = strsep(&at, ",");
        if (*word == '\0' || l->n == MAX_LIST) {
            err_set(in->e, "quality: --%s %s: give 1 to %u words between commas", name, arg,
                    MAX_LIST);
            return EINVAL;
        }
        l->word[l->n] = word;
    }
    return 0;
}

static bool set_key(struct input *in, char *arg)
{
    struct config_key key;
    char *value = strchr(arg, '=');
    if (value == NULL)
        return err_set(in->e, "quality: --set %s: give KEY=VALUE", arg);
    *value++ = '\0';
    bool found = config_key_find(arg, &key);
    if (found && strncmp(arg, "kv.", 3) != 0 && key.owners != &catalogue_kv &&
        key.owners != &catalogue_budgets)
        return err_set(in->e, "quality: --set %s: is no key of a KV policy or its budget", arg);
    return config_set(&in->config, arg, value, in->e);
}

static error_t set_count(struct input *in, const char *name, const char *arg, double min,
                         uint32_t *out)
{
    double x;
    if (!options_number("quality", name, arg, min, 1 << 20, &x, in->e))
        return EINVAL;
    *out = (uint32_t)x;
    return 0;
}

static bool check_words(const struct list *l, const char *name, const char *const *known, size_t n,
                        struct err *e)
{
    for (uint32_t i = 0; i < l->n; i++) {
        bool found = false;
        for (size_t k = 0; k < n; k++)
            found = found || strcmp(l->word[i], known[k]) == 0;
        if (!found)
            return err_set(e, "quality: --%s %s: unknown; the nearest is %s", name, l->word[i],
                           nearest_word(l->word[i], known, n));
    }
    return true;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    static const char *const methods[] = {"r", "o", "a"};
    struct input *in = state->input;
    switch (key) {
    case OPT_MODEL:
        in->model = arg;
        return 0;
    case OPT_KV:
        return set_list(in, &in->kv, "kv", arg);
    case OPT_BUDGET:
        return set_list(in, &in->budget, "budget", arg);
    case OPT_TASK:
        return set_list(in, &in->task, "task", arg);
    case OPT_LENGTH:
        return set_list(in, &in->length, "length", arg);
    case OPT_PROTOCOL:
        return set_list(in, &in->protocol, "protocol", arg);
    case OPT_SET:
        return set_key(in, arg) ? 0 : EINVAL;
    case OPT_BACKEND:
        in->backend = arg;
        return 0;
    case OPT_DB:
        in->db = arg;
        return 0;
    case OPT_TEXT:
        in->text = arg;
        return 0;
    case OPT_PROMPTS:
        return set_count(in, "prompts", arg, 2, &in->prompts);
    case OPT_SCORED:
        return set_count(in, "scored", arg, 1, &in->scored);
    case OPT_THREADS:
        return set_count(in, "threads", arg, 0, &in->threads);
    case OPT_SEED:
        return options_number("quality", "seed", arg, 0, 9007199254740992.0, &in->seed, in->e)
                   ? 0
                   : EINVAL;
    case OPT_JSON:
        in->json = true;
        return 0;
    case OPT_OUT:
        in->out = arg;
        return 0;
    case OPT_METHOD:
        in->method = *arg;
        return check_words(&(struct list){.word = {arg}, .n = 1}, "method", methods,
                           ARRAY_LEN(methods), in->e)
                   ? 0
                   : EINVAL;
    case ARGP_KEY_ARG:
        in->heads = strcmp(arg, "heads") == 0;
        return in->heads ? 0 : ARGP_ERR_UNKNOWN;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[heads]",
    .doc = "Measures what KV policies lose against full attention, on a real model, and stores it "
           "in table quality.\v"
           "passkey: a number in filler, asked for; copy: a string of words that comes again; ppl: "
           "a text goes on; recall: what share of full attention's mass a policy reads. Intervals "
           "are 95 %, over prompts. Budgets count what stays in memory, or, for quest and "
           "oracle_topk, what a step reads: compare them at one or the other. The model computes "
           "with its file's weights in float32; nothing is timed.\n\n"
           "`heads` finds the KV heads that look far back, on passkey prompts of the first length, "
           "and writes the file that kv.heads names.",
};

/* ---- what is given ---- */

static bool check_policies(const struct list *l, struct err *e)
{
    const char *known[MAX_LIST];
    size_t n = 0;
    for (const struct kvpolicy_ops *k; n < MAX_LIST && (k = kvpolicy_at(n)) != NULL; n++)
        known[n] = k->name;
    return check_words(l, "kv", known, n, e);
}

static bool check_input(const struct input *in, struct err *e)
{
    static const char *const tasks[] = {"passkey", "copy", "ppl", "recall"};
    static const char *const protocols[] = {"a", "b"};
    if (!in->model)
        return err_set(e, "quality: give --model FILE (`tandem quality --help`)");
    if (strcmp(in->backend, "cpu") != 0)
        return err_set(e, "quality: --backend %s: KV policies run on cpu in this version",
                       in->backend);
    if (in->heads && !in->out)
        return err_set(e, "quality: heads are written to a file; give --out FILE");
    for (uint32_t i = 0; i < in->task.n; i++)
        if (!in->text && (in->task.word[i][0] == 'r' || strcmp(in->task.word[i], "ppl") == 0))
            return err_set(e, "quality: --task %s needs a text; give --text FILE",
                           in->task.word[i]);
    return check_policies(&in->kv, e) &&
           check_words(&in->task, "task", tasks, ARRAY_LEN(tasks), e) &&
           check_words(&in->protocol, "protocol", protocols, ARRAY_LEN(protocols), e);
}

/* ---- output ---- */

static double number(const json_t *row, const char *name)
{
    const json_t *v = json_object_get(row, name);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static const char *word(const json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

/* Figures over all depths, layers and heads, from row `from` on. */
static void print_rows(const struct quality_sink *s, size_t from)
{
    const json_t *rows = quality_sink_rows(s);
    for (size_t i = from; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        if (!isnan(number(r, "depth")) || number(r, "layer") >= 0)
            continue;
        printf("%-14s %-8s %-1s %6.0f %9.1f %9.1f  %-15s %9.4f  [%.4f, %.4f]  %.0f\n",
               word(r, "kv_policy"), word(r, "task"), word(r, "protocol"), number(r, "length"),
               number(r, "resident_tokens"), number(r, "read_tokens"), word(r, "metric"),
               number(r, "value"), number(r, "low"), number(r, "high"), number(r, "n"));
    }
    fflush(stdout);
}

static void print_head(void)
{
    printf("%-14s %-8s %-1s %6s %9s %9s  %-15s %9s  %s\n", "policy", "task", "p", "length",
           "resident", "read", "metric", "value", "95 % interval, prompts");
}

/* ---- the command ---- */

struct session {
    struct input *in;
    struct quality_model model;
    struct tokens text;
    struct quality_sink *sink;
};

static bool load(struct session *s, struct err *e)
{
    const struct input *in = s->in;
    s->model = (struct quality_model){.path = in->model, .threads = in->threads};
    s->model.tokenizer = tokenizer_open(in->model, e);
    if (!s->model.tokenizer || !weights_load(&s->model.weights, in->model, WEIGHT_F32, e))
        return false;
    if (tokenizer_vocab(s->model.tokenizer) != s->model.weights.arch.vocab)
        return err_set(e, "%s: the vocabulary and the embedding differ in size; convert it anew",
                       in->model);
    return !in->text || quality_read_text(&s->model, in->text, &s->text, e);
}

/* One policy with one budget on a plan. */
static bool run_case(struct session *s, const struct quality_plan *plan, const char *policy,
                     const char *budget, struct quality_reference *ref, struct err *e)
{
    struct config *config = &s->in->config;
    size_t from = json_array_size(quality_sink_rows(s->sink));
    if (!config_set(config, "kv.budget", budget, e))
        return false;
    config_resolve(config);
    char *text = json_dumps(config->flat, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    struct quality_case c = {.policy = kvpolicy_find(policy),
                             .budget = kvbudget_find(config_str(config, "kv.budget_policy")),
                             .params = &config->params,
                             .seed = (uint64_t)s->in->seed};
    bool ok = quality_run(plan, &c, text, ref, s->sink, e);
    if (ok && !s->in->json)
        print_rows(s->sink, from);
    free(text); /* jansson's */
    return ok;
}

/* Every policy and budget; full once, and first: it is the reference of ppl. */
static bool run_plan(struct session *s, const struct quality_plan *plan, struct err *e)
{
    const struct input *in = s->in;
    struct quality_reference ref = {0};
    bool ok = run_case(s, plan, "full", "1", &ref, e);
    for (uint32_t k = 0; ok && k < in->kv.n; k++)
        for (uint32_t b = 0; ok && b < in->budget.n; b++)
            if (!kvpolicy_find(in->kv.word[k])->lossless)
                ok = run_case(s, plan, in->kv.word[k], in->budget.word[b], &ref, e);
    quality_reference_release(&ref);
    return ok;
}

static bool make_plan(struct session *s, const char *task, const char *length,
                      struct quality_plan *out, struct err *e)
{
    const struct input *in = s->in;
    uint32_t longest = s->model.weights.arch.max_model_len, around = in->scored + 64;
    double n;
    if (!options_number("quality", "length", length, 1, longest - MIN(longest - 1, around), &n, e))
        return false;
    *out = (struct quality_plan){.model = &s->model,
                                 .task = task,
                                 .length = (uint32_t)n,
                                 .n_prompts = in->prompts,
                                 .n_scored = in->scored,
                                 .seed = (uint64_t)in->seed,
                                 .text = &s->text};
    return true;
}

static bool run_length(struct session *s, const char *task, const char *length, struct err *e)
{
    const struct input *in = s->in;
    bool asks = strcmp(task, "passkey") == 0 || strcmp(task, "copy") == 0;
    struct quality_plan plan;
    if (!make_plan(s, task, length, &plan, e))
        return false;
    for (uint32_t i = 0; i < (asks ? in->protocol.n : 1); i++) {
        plan.protocol = in->protocol.word[i][0];
        if (!run_plan(s, &plan, e))
            return false;
    }
    return true;
}

static bool measure(struct session *s, struct err *e)
{
    const struct input *in = s->in;
    if (!in->json)
        print_head();
    for (uint32_t t = 0; t < in->task.n; t++)
        for (uint32_t l = 0; l < in->length.n; l++)
            if (!run_length(s, in->task.word[t], in->length.word[l], e))
                return false;
    if (in->json) {
        json_dumpf(quality_sink_rows(s->sink), stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    return true;
}

/* ---- heads ---- */

static bool write_heads(const struct session *s, const double *value, struct err *e)
{
    const struct arch *a = &s->model.weights.arch;
    FILE *f = fopen(s->in->out, "w");
    if (f == NULL)
        return err_set(e, "%s: %s; --out names a file that can be written", s->in->out,
                       strerror(errno));
    fprintf(f, "# LAYER HEAD VALUE of %s: quality heads, method %c, length %s, %u prompts\n",
            s->in->model, s->in->method, s->in->length.word[0], s->in->prompts);
    for (uint32_t i = 0; i < a->layers * a->kv_heads; i++)
        fprintf(f, "%u %u %.9g\n", i / a->kv_heads, i % a->kv_heads, value[i]);
    bool ok = !ferror(f);
    return (fclose(f) == 0 && ok) ||
           err_set(e, "%s: cannot be written; is the disk full?", s->in->out);
}

static bool find_heads(struct session *s, struct err *e)
{
    struct input *in = s->in;
    const struct arch *a = &s->model.weights.arch;
    struct quality_plan plan;
    if (!make_plan(s, "passkey", in->length.word[0], &plan, e) ||
        !config_set(&in->config, "kv.budget", in->budget.word[0], e))
        return false;
    config_resolve(&in->config);
    struct quality_case c = {.policy = kvpolicy_find("streaming"), .params = &in->config.params};
    double *value = mem_alloc(a->layers * a->kv_heads * sizeof(*value));
    bool ok = quality_heads(&plan, &c, in->method, value, e) && write_heads(s, value, e);
    mem_free(value);
    if (ok)
        printf("%s: %u KV heads, method %c\n", in->out, a->layers * a->kv_heads, in->method);
    return ok;
}

static bool quality(struct session *s, struct err *e)
{
    if (!check_input(s->in, e) || !load(s, e))
        return false;
    if (s->in->heads)
        return find_heads(s, e);
    s->sink = quality_sink_open(s->in->db, e);
    return s->sink != NULL && measure(s, e);
}

int cmd_quality(int argc, char **argv, struct err *e)
{
    struct input in = {.db = "tandem.db",
                       .backend = "cpu",
                       .method = 'r',
                       .prompts = 20,
                       .scored = 64,
                       .seed = 1,
                       .e = e};
    struct list *lists[] = {&in.kv, &in.budget, &in.task, &in.length, &in.protocol};
    static const char *const defaults[] = {"full", "0.2", "passkey", "1024", "a"};
    struct session s = {.in = &in};
    config_init(&in.config);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        (void)set_list(&in, lists[i], "", defaults[i]);
    bool ok = options_parse(&argp, "tandem quality", argc, argv, &in, e) && quality(&s, e);
    ok = quality_sink_close(s.sink, e) && ok;
    tokenizer_close(s.model.tokenizer);
    weights_release(&s.model.weights);
    mem_free(s.text.id);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        mem_free(lists[i]->text);
    config_release(&in.config);
    return ok ? 0 : 2;
}
