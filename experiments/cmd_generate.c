/* cmd_generate.c: `tandem generate`: a real model continues a prompt, on the CPU or on a GPU. */
#include "experiments/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "backend/model/sampler.h"
#include "backend/model/tokenizer.h"
#include "experiments/options.h"

#define BLOCK_SIZE 16u
#define CHUNK 512u /* tokens of the prompt in one forward pass */

static const struct device_ops *const devices[] = {&device_cpu, &device_cuda};

/* ---- options ---- */

struct input {
    const char *model, *prompt;
    const struct device_ops *device;
    uint32_t tokens, threads;
    double temperature, top_p;
    uint64_t seed;
    bool raw, high_precision, json;
    struct err *e;
};

enum {
    OPT_MODEL = 256,
    OPT_PROMPT,
    OPT_TOKENS,
    OPT_BACKEND,
    OPT_TEMPERATURE,
    OPT_TOP_P,
    OPT_SEED,
    OPT_THREADS,
    OPT_RAW,
    OPT_HIGH_PRECISION,
    OPT_JSON,
};

static const struct argp_option options[] = {
    {"model", OPT_MODEL, "FILE", 0, "A GGUF file with its tokenizer (scripts/get-model)", 0},
    {"prompt", OPT_PROMPT, "TEXT", 0, "What to answer", 0},
    {"tokens", OPT_TOKENS, "N", 0, "At most so many [64]", 0},
    {"backend", OPT_BACKEND, "ID", 0, "cpu or cuda [cpu]", 0},
    {"temperature", OPT_TEMPERATURE, "X", 0, "0: always the likeliest token [0]", 0},
    {"top-p", OPT_TOP_P, "X", 0, "Draw from the likeliest tokens that together reach this [1]", 0},
    {"seed", OPT_SEED, "N", 0, "Of the draws [1]", 0},
    {"threads", OPT_THREADS, "N", 0, "Of the CPU [0: one a core]", 0},
    {"raw", OPT_RAW, NULL, 0, "Continue the prompt as it is: no turns of a conversation", 0},
    {"high-precision", OPT_HIGH_PRECISION, NULL, 0,
     "CPU: float64 instead of float32; CUDA: float32 instead of bf16", 0},
    {"json", OPT_JSON, NULL, 0, "Print text, token ids and speed as JSON", 0},
    {0},
};

static error_t set_number(const struct input *in, const char *name, const char *arg, double min,
                          double max, double *out)
{
    return options_number("generate", name, arg, min, max, out, in->e) ? 0 : EINVAL;
}

static error_t set_count(const struct input *in, const char *name, const char *arg, double min,
                         double max, uint32_t *out)
{
    double x = 0;
    error_t code = set_number(in, name, arg, min, max, &x);

    if (code == 0 && x != floor(x)) {
        err_set(in->e, "generate: --%s %s: give a whole number", name, arg);
        code = EINVAL;
    }
    if (code == 0)
        *out = (uint32_t)x;
    return code;
}

static error_t set_seed(struct input *in, const char *arg)
{
    char *end;

    errno = 0;
    in->seed = strtoull(arg, &end, 10);
    if (end != arg && *end == '\0' && errno == 0 && *arg != '-')
        return 0;
    err_set(in->e, "generate: --seed %s: give a whole number from 0", arg);
    return EINVAL;
}

static error_t set_device(struct input *in, const char *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        if (strcmp(devices[i]->name, arg) == 0) {
            in->device = devices[i];
            return 0;
        }
    }
    err_set(in->e, "generate: --backend %s: give cpu or cuda", arg);
    return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;

    switch (key) {
    case OPT_MODEL:
        in->model = arg;
        return 0;
    case OPT_PROMPT:
        in->prompt = arg;
        return 0;
    case OPT_TOKENS:
        return set_count(in, "tokens", arg, 1, 1 << 20, &in->tokens);
    case OPT_BACKEND:
        return set_device(in, arg);
    case OPT_TEMPERATURE:
        return set_number(in, "temperature", arg, 0, 100, &in->temperature);
    case OPT_TOP_P:
        return set_number(in, "top-p", arg, 1e-6, 1, &in->top_p);
    case OPT_SEED:
        return set_seed(in, arg);
    case OPT_THREADS:
        return set_count(in, "threads", arg, 0, 256, &in->threads);
    case OPT_RAW:
        in->raw = true;
        return 0;
    case OPT_HIGH_PRECISION:
        in->high_precision = true;
        return 0;
    case OPT_JSON:
        in->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc = "Continues a prompt with a real model of the LLaMA family and prints the text.\v"
           "Where the vocabulary has ChatML's tokens, the prompt is a user's turn and the text is "
           "the answer; --raw continues the prompt itself. The text ends early where the model "
           "ends it. Weights are computed with as bf16.",
};

/* ---- the model at work ---- */

struct session {
    const struct input *in;
    struct weights weights;
    struct tokenizer *tokenizer;
    struct sampler *sampler; /* NULL: greedy */
    void *device;
    struct tokens tokens; /* the prompt, then what was generated */
    size_t n_prompt;
    uint32_t *block; /* 0, 1, 2, ... */
    float *logits;
    double prompt_ns, decode_ns;
};

static bool encode(struct session *s, struct err *e)
{
    const struct input *in = s->in;
    size_t len = strlen(in->prompt);

    if (in->raw || !tokenizer_encode_chat(s->tokenizer, in->prompt, len, &s->tokens))
        tokenizer_encode(s->tokenizer, in->prompt, len, &s->tokens);
    s->n_prompt = s->tokens.n;
    if (s->n_prompt == 0)
        return err_set(e, "generate: the prompt is empty; give some text");
    if (s->n_prompt + in->tokens > s->weights.arch.max_model_len)
        return err_set(e,
                       "generate: %zu tokens of the prompt and %u more are beyond the model's %u; "
                       "ask for fewer",
                       s->n_prompt, in->tokens, s->weights.arch.max_model_len);
    return true;
}

static bool load(struct session *s, struct err *e)
{
    const struct input *in = s->in;

    s->tokenizer = tokenizer_open(in->model, e);
    if (!s->tokenizer || !weights_load(&s->weights, in->model, WEIGHT_BF16, e))
        return false;
    if (tokenizer_vocab(s->tokenizer) != s->weights.arch.vocab)
        return err_set(e, "%s: the vocabulary has %u tokens, the embedding %u; convert it anew",
                       in->model, tokenizer_vocab(s->tokenizer), s->weights.arch.vocab);
    return true;
}

static bool open_device(struct session *s, struct err *e)
{
    const struct input *in = s->in;
    uint32_t context = (uint32_t)s->n_prompt + in->tokens;
    uint32_t n_blocks = div_ceil_u32(context, BLOCK_SIZE), vocab = s->weights.arch.vocab;
    struct device_config config = {
        .weights = &s->weights,
        .max_seqs = 1,
        .max_tokens = MIN(CHUNK, (uint32_t)s->n_prompt),
        .block_size = BLOCK_SIZE,
        .n_blocks = n_blocks,
        .max_context = context,
        .threads = in->threads,
        .high_precision = in->high_precision,
    };

    s->block = mem_alloc(n_blocks * sizeof(*s->block));
    for (uint32_t i = 0; i < n_blocks; i++)
        s->block[i] = i;
    if (in->temperature > 0) {
        s->sampler = sampler_open(vocab, in->temperature, in->top_p, in->seed);
        s->logits = mem_alloc(vocab * sizeof(*s->logits));
    }
    s->device = in->device->open(&config, e);
    return s->device != NULL;
}

/* Computes tokens begin..end-1 of the sequence; *next is the one after them. */
static bool forward(struct session *s, uint32_t begin, uint32_t end, uint32_t *next, double *ns,
                    struct err *e)
{
    uint32_t q_start[] = {0, end - begin}, table_start[] = {0, div_ceil_u32(end, BLOCK_SIZE)};
    bool emits = true;
    struct forward f = {
        .n_seqs = 1,
        .n_decode = begin > 0 && end - begin == 1,
        .n_tokens = end - begin,
        .token = s->tokens.id + begin,
        .q_start = q_start,
        .context = &begin,
        .table_start = table_start,
        .block = s->block,
        .emits = &emits,
    };
    struct forward_result r = {.next_token = next, .logits = s->logits};

    if (!s->in->device->forward(s->device, &f, &r, e))
        return false;
    *ns += r.device_ns;
    if (s->sampler)
        *next = sampler_next(s->sampler, s->logits);
    return true;
}

static void print_piece(const struct session *s, uint32_t id)
{
    size_t len;
    const char *at = tokenizer_piece(s->tokenizer, id, &len);

    if (!s->in->json) {
        fwrite(at, 1, len, stdout);
        fflush(stdout);
    }
}

static bool run(struct session *s, struct err *e)
{
    uint32_t n = (uint32_t)s->n_prompt, next = 0;
    struct tokens *t = &s->tokens;

    for (uint32_t at = 0; at < n; at = MIN(at + CHUNK, n))
        if (!forward(s, at, MIN(at + CHUNK, n), &next, &s->prompt_ns, e))
            return false;
    t->id = mem_reserve(t->id, &t->cap, n + s->in->tokens, sizeof(*t->id));
    while (!tokenizer_is_control(s->tokenizer, next)) {
        t->id[t->n++] = next;
        print_piece(s, next);
        if (t->n == n + s->in->tokens)
            break;
        if (!forward(s, (uint32_t)t->n - 1, (uint32_t)t->n, &next, &s->decode_ns, e))
            return false;
    }
    if (!s->in->json)
        putchar('\n');
    return true;
}

/* ---- JSON ---- */

/* The text; null where it ends within a character. */
static json_t *text_json(const struct session *s)
{
    char *text = mem_alloc(1);
    size_t n = 0, cap = 1, len;
    json_t *v;

    for (size_t i = s->n_prompt; i < s->tokens.n; i++) {
        const char *at = tokenizer_piece(s->tokenizer, s->tokens.id[i], &len);

        text = mem_reserve(text, &cap, n + len, 1);
        memcpy(text + n, at, len);
        n += len;
    }
    v = json_stringn(text, n);
    mem_free(text);
    return v ? v : json_null();
}

static void print_json(const struct session *s)
{
    size_t n = s->tokens.n - s->n_prompt;
    json_t *ids = json_array(), *root;
    char device[256];

    s->in->device->describe(s->device, device, sizeof(device));
    for (size_t i = s->n_prompt; i < s->tokens.n; i++)
        json_array_append_new(ids, json_integer(s->tokens.id[i]));
    root = json_pack("{s:o, s:o, s:I, s:f, s:f, s:s, s:s}", "text", text_json(s), "tokens", ids,
                     "prompt_tokens", (json_int_t)s->n_prompt, "prompt_ms", s->prompt_ns / 1e6,
                     "decode_tokens_per_s", n > 1 ? (double)(n - 1) / (s->decode_ns / 1e9) : 0.0,
                     "device", device, "model", s->in->model);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

/* ---- the command ---- */

static int generate(struct session *s, struct err *e)
{
    if (!s->in->model || !s->in->prompt) {
        err_set(e, "generate: give --model FILE and --prompt TEXT (`tandem generate --help`)");
        return 2;
    }
    if (!load(s, e) || !encode(s, e) || !open_device(s, e) || !run(s, e))
        return 2;
    if (s->in->json)
        print_json(s);
    return 0;
}

int cmd_generate(int argc, char **argv, struct err *e)
{
    struct input in = {
        .device = &device_cpu, .tokens = 64, .temperature = 0, .top_p = 1, .seed = 1, .e = e};
    struct session s = {.in = &in};
    int code = 2;

    if (options_parse(&argp, "tandem generate", argc, argv, &in, e))
        code = generate(&s, e);
    if (s.device)
        in.device->close(s.device);
    sampler_close(s.sampler);
    tokenizer_close(s.tokenizer);
    weights_release(&s.weights);
    mem_free(s.tokens.id);
    mem_free(s.block);
    mem_free(s.logits);
    return code;
}
