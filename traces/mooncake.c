/* mooncake.c: Mooncake traces (github.com/kvcache-ai/Mooncake): one JSON object a line,
 * {"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [block, ...]}.
 *
 * hash_ids name blocks of 512 tokens; equal ids at the start are a shared prefix. Keys may come in
 * any order; others are skipped whatever their value. The parser is our own: a line is flat, and a
 * general one would build a tree of a hundred numbers to throw away. What it reads must be right
 * to the character; of what it skips it looks at brackets and strings only. */
#include "traces/record.h"

#include <string.h>

#define BLOCK_TOKENS 512u

static const char *const keys[] = {"timestamp", "input_length", "output_length", "hash_ids"};
enum { ARRIVAL, PROMPT, OUTPUT, HASHES };
#define N_KEYS ARRAY_LEN(keys)

struct mooncake {
    struct text text;
    struct recorder rec;
    char *line, *p; /* the current line, where the parser is */
};

static int detect(const char *head)
{
    int found = 0;

    if (head[strspn(head, " \t")] != '{')
        return 0;
    for (size_t i = 0; i < N_KEYS; i++)
        found += strstr(head, keys[i]) != NULL;
    return found >= 2 ? 25 * found : 0;
}

static void *open_mooncake(const char *path, const struct trace_env *env,
                           struct trace_traits *traits, struct err *e)
{
    struct mooncake *m = mem_alloc(sizeof(*m));

    (void)env;
    if (!text_open(&m->text, path, e)) {
        mem_free(m);
        return NULL;
    }
    m->text.noun = "key";
    recorder_init(&m->rec, "mooncake", BLOCK_TOKENS);
    *traits = (struct trace_traits){.has_hashes = true, .block_tokens = BLOCK_TOKENS};
    return m;
}

static void close_mooncake(void *self)
{
    struct mooncake *m = self;

    text_close(&m->text);
    recorder_release(&m->rec);
    mem_free(m);
}

/* ---- one line of JSON ---- */

static bool expected(const struct mooncake *m, const char *what, struct err *e)
{
    return text_fail(&m->text, e,
                     "character %zu: %s where %s should be; write one JSON object a line",
                     (size_t)(m->p - m->line) + 1, text_quote(m->p).s, what);
}

/* Skips blanks; then true and past it if the next character is `c`. */
static bool take(struct mooncake *m, char c)
{
    m->p += strspn(m->p, " \t");
    if (*m->p != c)
        return false;
    m->p++;
    return true;
}

/* Moves past a string. *start..*end is what is between its quotes, escapes left as they are. */
static bool take_string(struct mooncake *m, char **start, char **end, struct err *e)
{
    if (!take(m, '"'))
        return expected(m, "a string", e);
    for (*start = m->p; *m->p && *m->p != '"'; m->p++)
        if (*m->p == '\\' && m->p[1])
            m->p++;
    *end = m->p;
    return take(m, '"') || expected(m, "a closing quote", e);
}

/* Moves past any value. */
static bool skip_value(struct mooncake *m, struct err *e)
{
    unsigned depth = 0;
    char *start, *end;

    m->p += strspn(m->p, " \t");
    do {
        size_t n = strcspn(m->p, "\"[]{},: \t");

        if (n > 0) {
            m->p += n;
        } else if (*m->p == '"') {
            if (!take_string(m, &start, &end, e))
                return false;
        } else if (*m->p == '[' || *m->p == '{') {
            depth++;
            m->p++;
        } else if (depth > 0 && *m->p) {
            depth -= *m->p == ']' || *m->p == '}';
            m->p++;
        } else {
            return expected(m, depth > 0 ? "a closing bracket" : "a value", e);
        }
    } while (depth > 0);
    return true;
}

/* Moves past a number; ends it with a NUL where the next character was, which is put in *after. */
static bool take_number(struct mooncake *m, char **start, char *after, struct err *e)
{
    m->p += strspn(m->p, " \t");
    *start = m->p;
    m->p += strspn(m->p, "+-.0123456789Ee");
    if (m->p == *start)
        return expected(m, "a number", e);
    *after = *m->p;
    *m->p = '\0';
    return true;
}

static bool read_ids(struct mooncake *m, struct err *e)
{
    if (!take(m, '['))
        return expected(m, "a list", e);
    if (take(m, ']'))
        return true;
    do {
        char *start, after;
        uint64_t id;

        if (!take_number(m, &start, &after, e) ||
            !field_u64(&m->text, keys[HASHES], start, 0, UINT64_MAX, &id, e))
            return false;
        *m->p = after;
        record_block(&m->rec, id);
    } while (take(m, ','));
    return take(m, ']') || expected(m, "',' or ']'", e);
}

static bool read_value(struct mooncake *m, size_t key, struct trace_rec *rec, struct err *e)
{
    const struct text *t = &m->text;
    char *start, after;
    bool ok;

    if (key == HASHES)
        return read_ids(m, e);
    if (!take_number(m, &start, &after, e))
        return false;
    if (key == ARRIVAL)
        ok = field_time(t, keys[key], start, TIME_MS, &rec->arrival_at, e);
    else
        ok = field_u32(t, keys[key], start, 1, TOKENS_MAX,
                       key == PROMPT ? &rec->prompt_tokens : &rec->output_tokens, e);
    *m->p = after;
    return ok;
}

/* One `"key": value`. Bits of *seen are the keys that were there. */
static bool read_member(struct mooncake *m, unsigned *seen, struct trace_rec *rec, struct err *e)
{
    char *start, *end;
    size_t key = 0;

    if (!take_string(m, &start, &end, e))
        return false;
    if (!take(m, ':'))
        return expected(m, "':'", e);
    *end = '\0';
    while (key < N_KEYS && strcmp(keys[key], start) != 0)
        key++;
    if (key == N_KEYS)
        return skip_value(m, e);
    if (*seen & 1u << key)
        return text_fail(&m->text, e, "key %s appears twice; write every key once", keys[key]);
    *seen |= 1u << key;
    return read_value(m, key, rec, e);
}

static bool parse(struct mooncake *m, struct trace_rec *rec, struct err *e)
{
    unsigned seen = 0;

    if (!take(m, '{'))
        return expected(m, "'{'", e);
    if (!take(m, '}')) {
        do {
            if (!read_member(m, &seen, rec, e))
                return false;
        } while (take(m, ','));
        if (!take(m, '}'))
            return expected(m, "',' or '}'", e);
    }
    m->p += strspn(m->p, " \t");
    if (*m->p)
        return expected(m, "the end of the line", e);
    for (size_t i = 0; i < N_KEYS; i++)
        if (!(seen & 1u << i))
            return text_fail(&m->text, e, "key %s is missing; every line needs it", keys[i]);
    return true;
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct mooncake *m = self;

    do {
        enum trace_status st = text_line(&m->text, &m->line, e);

        if (st != TRACE_REC)
            return st;
    } while (m->line[strspn(m->line, " \t")] == '\0');
    m->p = m->line;
    record_begin(&m->rec, &m->text, rec);
    if (parse(m, rec, e) &&
        record_arrival(&m->rec, &m->text, keys[ARRIVAL], rec->arrival_at, rec, e) &&
        record_blocks(&m->rec, &m->text, keys[HASHES], rec, e))
        return TRACE_REC;
    return TRACE_ERR;
}

const struct trace_ops trace_mooncake = {
    .name = "mooncake",
    .doc =
        "Mooncake JSON lines: timestamp (ms), input_length, output_length, hash_ids of 512-token "
        "blocks; its 3 s ticks can be spread with trace.spread_ticks",
    .source = "github.com/kvcache-ai/Mooncake, Apache-2.0 (Mooncake, FAST 2025)",
    .detect = detect,
    .open = open_mooncake,
    .next = next,
    .close = close_mooncake,
};
