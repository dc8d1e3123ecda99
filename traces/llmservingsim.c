/* llmservingsim.c: workloads of LLMServingSim (github.com/casys-kaist/LLMServingSim): one JSON
 * object a line, {"input_toks": n, "output_toks": n, "arrival_time_ns": t, "input_tok_ids": [id,
 * ...], "output_tok_ids": [...]}, keys in any order, others skipped.
 *
 * The ids of the prompt's tokens say what it shares with others: each 16 of them become a block
 * whose hash is chained with the one before it, as vLLM chains its blocks'. Without them a prompt
 * shares nothing. Outputs are pinned: the client asks for just what it gets. */
#include "traces/record.h"

#include <jansson.h>
#include <string.h>

#include "sim/hash.h"

#define BLOCK_TOKENS 16u

struct llmservingsim {
    struct text text;
    struct recorder rec;
};

static int detect(const char *head)
{
    static const char *const keys[] = {"\"input_toks\"", "\"output_toks\"", "\"arrival_time_ns\""};
    size_t found = 0;

    if (head[strspn(head, " \t")] != '{')
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        found += strstr(head, keys[i]) != NULL;
    return found == ARRAY_LEN(keys) ? 100 : 0;
}

static void *open_llmservingsim(const char *path, const struct trace_env *env,
                                struct trace_traits *traits, struct err *e)
{
    struct llmservingsim *m = mem_alloc(sizeof(*m));

    (void)env;
    if (!text_open(&m->text, path, e)) {
        mem_free(m);
        return NULL;
    }
    m->text.noun = "key";
    recorder_init(&m->rec, "llmservingsim", BLOCK_TOKENS);
    *traits = (struct trace_traits){.has_hashes = true, .block_tokens = BLOCK_TOKENS};
    return m;
}

static void close_llmservingsim(void *self)
{
    struct llmservingsim *m = self;

    text_close(&m->text);
    recorder_release(&m->rec);
    mem_free(m);
}

/* ---- one line ---- */

static bool whole_number(const struct llmservingsim *m, const json_t *root, const char *key,
                         json_int_t min, json_int_t max, json_int_t *out, struct err *e)
{
    const json_t *v = json_object_get(root, key);

    *out = json_integer_value(v);
    if (!v)
        return text_fail(&m->text, e, "key %s is missing; every line needs it", key);
    if (!json_is_integer(v))
        return text_fail(&m->text, e, "key %s: not a whole number; write digits only", key);
    if (*out < min || *out > max)
        return text_fail(&m->text, e,
                         "key %s: %" JSON_INTEGER_FORMAT " is out of range; %" JSON_INTEGER_FORMAT
                         " to %" JSON_INTEGER_FORMAT " is allowed",
                         key, *out, min, max);
    return true;
}

static bool read_ids(struct llmservingsim *m, const json_t *ids, size_t prompt, struct err *e)
{
    static const char key[] = "input_tok_ids";
    uint64_t chain = 0;

    if (!json_is_array(ids) || json_array_size(ids) != prompt)
        return text_fail(&m->text, e,
                         "key %s: %zu ids for a prompt of %zu tokens; one each, or "
                         "leave the key out",
                         key, json_array_size(ids), prompt);
    for (size_t i = 0; i < prompt; i++) {
        const json_t *id = json_array_get(ids, i);

        if (!json_is_integer(id))
            return text_fail(&m->text, e, "key %s: element %zu is not a whole number; correct it",
                             key, i + 1);
        chain = hash_mix(chain, (uint64_t)json_integer_value(id));
        if ((i + 1) % BLOCK_TOKENS == 0 || i + 1 == prompt)
            record_block(&m->rec, chain);
    }
    return true;
}

static bool read_line(struct llmservingsim *m, const json_t *root, struct trace_rec *rec,
                      struct err *e)
{
    const json_t *ids = json_object_get(root, "input_tok_ids");
    json_int_t prompt, output, at;

    if (!whole_number(m, root, "input_toks", 1, TOKENS_MAX, &prompt, e) ||
        !whole_number(m, root, "output_toks", 1, TOKENS_MAX, &output, e) ||
        !whole_number(m, root, "arrival_time_ns", 0, NS_NEVER - 1, &at, e))
        return false;
    rec->prompt_tokens = (uint32_t)prompt;
    rec->output_tokens = rec->max_tokens = (uint32_t)output;
    return record_arrival(&m->rec, &m->text, "arrival_time_ns", at, rec, e) &&
           (!ids || read_ids(m, ids, rec->prompt_tokens, e)) &&
           record_blocks(&m->rec, &m->text, "input_tok_ids", rec, e);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct llmservingsim *m = self;
    json_error_t bad;
    json_t *root;
    char *line;
    bool ok;

    do {
        enum trace_status st = text_line(&m->text, &line, e);

        if (st != TRACE_REC)
            return st;
    } while (line[strspn(line, " \t")] == '\0');
    record_begin(&m->rec, &m->text, rec);
    root = json_loads(line, JSON_REJECT_DUPLICATES, &bad);
    if (root)
        ok = json_is_object(root) ? read_line(m, root, rec, e)
                                  : text_fail(&m->text, e, "no JSON object; write one a line");
    else
        ok = text_fail(&m->text, e, "character %d: %s; write one JSON object a line", bad.column,
                       bad.text);
    json_decref(root);
    return ok ? TRACE_REC : TRACE_ERR;
}

const struct trace_ops trace_llmservingsim = {
    .name = "llmservingsim",
    .doc =
        "LLMServingSim JSON lines: input_toks, output_toks, arrival_time_ns, input_tok_ids (what "
        "prompts share, in blocks of 16 tokens); outputs are pinned",
    .source = "github.com/casys-kaist/LLMServingSim, MIT",
    .detect = detect,
    .open = open_llmservingsim,
    .next = next,
    .close = close_llmservingsim,
};
