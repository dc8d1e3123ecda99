/* keys.c: every key there is: keys.def, the trace stack's, and each plug-in's own table under its
 * name. What must hold: a plug-in that joins a registry brings its keys without a change here. */
#include "experiments/keys.h"

#include <stdio.h>
#include <string.h>

#include "sim/kvrule.h"
#include "sim/nearest.h"
#include "traces/registry.h"

enum { PATH = 1, LIST = 2, APART = 4 };

static const struct program_key {
    struct param_desc desc;
    unsigned flags;
    const struct catalogue *ids;
} program_keys[] = {
#define KEY(name, type, dflt, min, max, choices, flags, ids, doc)                                  \
    {{#name, PARAM_##type, dflt, doc, min, max, choices}, flags, ids},
#include "experiments/keys.def"
#undef KEY
};

/* What the contract names and this version has not built: a key that is still to come, or values
 * of a key that are. Refused with these words; never taken silently. */
static const struct {
    const char *key, *values; /* values NULL: the whole key */
} planned[] = {
    {"data_parallel_size", NULL},
    {"prefix.flat", NULL},
    {"prefix.capacity_blocks", NULL},
};

/* ---- all keys, in order ---- */

static bool name_key(struct config_key *key, const char *owner, const char *name)
{
    int n = snprintf(key->name, sizeof key->name, "%s%s%s", owner, *owner ? "." : "", name);
    CHECK(n > 0 && (size_t)n < sizeof key->name, "keys: a key's name fits", "%s.%s", owner, name);
    return true;
}

/* session_mode is of the trace stack, but named without it. */
static bool trace_key(const struct param_desc *desc, struct config_key *out)
{
    *out = (struct config_key){.desc = desc, .owner = "trace", .changes_results = true};
    return name_key(out, strcmp(desc->name, "session_mode") == 0 ? "" : "trace", desc->name);
}

bool config_key_at(size_t i, struct config_key *out)
{
    if (i < ARRAY_LEN(program_keys)) {
        const struct program_key *k = &program_keys[i];
        *out = (struct config_key){.desc = &k->desc,
                                   .owner = "engine",
                                   .changes_results = !(k->flags & APART),
                                   .is_path = (k->flags & PATH) != 0,
                                   .is_list = (k->flags & LIST) != 0,
                                   .ids = k->ids};
        return name_key(out, "", k->desc.name);
    }
    i -= ARRAY_LEN(program_keys);

    for (const struct param_desc *d = trace_params; d->name; d++)
        if (i-- == 0)
            return trace_key(d, out);

    for (const struct param_desc *d = kv_params; d->name; d++) {
        if (i-- > 0)
            continue;
        *out = (struct config_key){.desc = d, .owner = "kv", .changes_results = true};
        return name_key(out, "kv", d->name);
    }

    const struct catalogue *kind;
    for (size_t k = 0; (kind = catalogue_at(k)) != NULL; k++) {
        struct catalogue_entry plugin;
        for (size_t j = 0; kind->at(j, &plugin); j++) {
            for (const struct param_desc *d = plugin.params; d && d->name; d++) {
                if (i-- > 0)
                    continue;
                *out = (struct config_key){
                    .desc = d, .owner = plugin.id, .owners = kind, .changes_results = true};
                return name_key(out, plugin.id, d->name);
            }
        }
    }
    return false;
}

bool config_key_find(const char *name, struct config_key *out)
{
    for (size_t i = 0; config_key_at(i, out); i++)
        if (strcmp(out->name, name) == 0)
            return true;
    return false;
}

void key_param_name(const struct config_key *key, char out[KEY_NAME_MAX])
{
    struct config_key full = {0};
    name_key(&full, strcmp(key->owner, "engine") == 0 ? "" : key->owner, key->desc->name);
    memcpy(out, full.name, KEY_NAME_MAX);
}

/* ---- words of a list "a|b|c" ---- */

static bool next_word(const char **list, char *word, size_t size)
{
    size_t n = strcspn(*list, "|");
    if (n == 0)
        return false;
    CHECK(n < size, "keys: a choice fits", "%s", *list);
    memcpy(word, *list, n);
    word[n] = '\0';
    *list += n + ((*list)[n] == '|');
    return true;
}

static bool list_has(const char *list, const char *value)
{
    char word[KEY_NAME_MAX];
    while (next_word(&list, word, sizeof word))
        if (strcmp(word, value) == 0)
            return true;
    return false;
}

bool key_allows(const struct config_key *key, const char *value)
{
    if (key->ids)
        return catalogue_has(key->ids, value);
    return !key->desc->choices || list_has(key->desc->choices, value);
}

/* ---- messages ---- */

/* Whether the contract has this key, or this value of it (NULL: the key), and this version has
 * not. */
static bool is_planned(const char *key, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(planned); i++) {
        const char *values = planned[i].values;
        if (strcmp(planned[i].key, key) == 0 && (value != NULL) == (values != NULL))
            return !value || list_has(values, value);
    }
    return false;
}

bool key_unknown(const char *where, const char *name, struct err *e)
{
    if (is_planned(name, NULL))
        return err_set(e,
                       "%s%s: this version has not got this key; `tandem list keys` shows what "
                       "it has",
                       where, name);
    struct config_key key;
    size_t n = 0, cap = 0;
    char(*known)[KEY_NAME_MAX] = NULL;
    for (; config_key_at(n, &key); n++) {
        known = mem_reserve(known, &cap, n + 1, sizeof *known);
        memcpy(known[n], key.name, sizeof key.name);
    }
    const char **words = mem_alloc(n * sizeof *words);
    for (size_t i = 0; i < n; i++)
        words[i] = known[i];
    err_set(e, "%s%s: unknown key; the nearest is %s (`tandem list keys` shows all)", where, name,
            nearest_word(name, words, n));
    mem_free(words);
    mem_free(known);
    return false;
}

/* The key's ids or choices into `words` (at most `max`), as pointers into `text` where needed. */
static size_t allowed_words(const struct config_key *key, const char **words, size_t max,
                            char *text, size_t text_size)
{
    size_t n = 0;
    if (key->ids) {
        struct catalogue_entry entry;
        for (; n < max && key->ids->at(n, &entry); n++)
            words[n] = entry.id;
        return n;
    }
    const char *list = key->desc->choices;
    while (n < max && next_word(&list, text, text_size)) {
        words[n++] = text;
        text_size -= strlen(text) + 1;
        text += strlen(text) + 1;
    }
    return n;
}

bool key_bad_value(const char *where, const struct config_key *key, const char *value,
                   struct err *e)
{
    const char *words[64];
    char text[512], all[512] = "";
    size_t n = allowed_words(key, words, ARRAY_LEN(words), text, sizeof text);
    for (size_t i = 0, at = 0; i < n; i++) {
        int more = snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", words[i]);
        at = MIN(at + (size_t)MAX(more, 0), sizeof all - 1);
    }
    if (is_planned(key->name, value))
        return err_set(e, "%s%s: this version has not got \"%s\"; it has %s", where, key->name,
                       value, all);
    return err_set(e, "%s%s: unknown value \"%s\"; the nearest is %s (of %s)", where, key->name,
                   value, nearest_word(value, words, n), all);
}
