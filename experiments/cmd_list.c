/* cmd_list.c: `tandem list KIND`: id, one line, source; from the same registries and tables that
 * the program itself works with. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/commands.h"
#include "experiments/config.h"
#include "experiments/metric_names.h"
#include "experiments/options.h"
#include "sim/nearest.h"
#include "traces/spec.h"

struct input {
    const char *kind;
    bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct input *in = state->input;
    if (key == 'j')
        in->json = true;
    else if (key == ARGP_KEY_ARG && !in->kind)
        in->kind = arg;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "The same as a JSON array", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "KIND",
    .doc = "What this program has.\v"
           "KIND is one of schedulers, routers, kv, budgets, prefix, predictors, backends, "
           "engines, models, "
           "gpus, traces (formats, generators), keys (of the configuration), metrics.",
};

/* ---- rows of any kind ---- */

static void add_row(json_t *rows, const char *id, const char *doc, const char *source)
{
    json_array_append_new(
        rows, json_pack("{s:s, s:s, s:s}", "id", id, "doc", doc, "source", source ? source : ""));
}

static void add_catalogue(json_t *rows, const struct catalogue *c)
{
    struct catalogue_entry entry;
    for (size_t i = 0; c->at(i, &entry); i++)
        add_row(rows, entry.id, entry.doc, entry.source);
}

static const char *type_name(const struct config_key *key)
{
    static const char *const names[] = {[PARAM_INT] = "integer",
                                        [PARAM_REAL] = "number",
                                        [PARAM_BOOL] = "boolean",
                                        [PARAM_STR] = "string",
                                        [PARAM_MAP] = "object"};
    return key->is_list && key->desc->type == PARAM_MAP ? "array" : names[key->desc->type];
}

static void add_keys(json_t *rows)
{
    struct config_key key;
    for (size_t i = 0; config_key_at(i, &key); i++) {
        const struct param_desc *d = key.desc;
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", key.name, "type", type_name(&key),
                      "default", d->dflt, "doc", d->doc, "source", key.owner);
        if (d->choices)
            json_object_set_new(row, "choices", json_string(d->choices));
        if (d->min < d->max) {
            json_object_set_new(row, "min", json_real(d->min));
            json_object_set_new(row, "max", json_real(d->max));
        }
        json_array_append_new(rows, row);
    }
}

static void add_metrics(json_t *rows)
{
    struct metric_name m;
    for (size_t i = 0; metric_name_at(i, &m); i++)
        add_row(rows, m.name, m.doc, m.unit);
}

/* Whether every generator has the key, and if not, which of them do. */
static bool key_owners(const char *key, char *names, size_t size)
{
    const struct generator *g;
    size_t have = 0, n = 0, used = 0;
    for (; (g = generator_at(n)) != NULL; n++)
        if (generator_has(g, key) && used < size) {
            int len = snprintf(names + used, size - used, "%s%s", have++ ? " " : "", g->name);
            used += (size_t)len;
        }
    return have == n;
}

/* Generators, and then their keys: what a SPEC may consist of. */
static void add_generators(json_t *rows)
{
    const struct generator *g;
    char id[64], doc[512], owners[128];
    for (size_t i = 0; (g = generator_at(i)) != NULL; i++) {
        snprintf(id, sizeof id, SPEC_PREFIX "%s", g->name);
        add_row(rows, id, g->doc, g->source);
    }
    for (const struct param_desc *d = spec_params; d->name; d++) {
        bool all = key_owners(d->name, owners, sizeof owners);
        const char *choices = d->choices ? d->choices : "";
        snprintf(id, sizeof id, SPEC_PREFIX "NAME,%s=", d->name);
        snprintf(doc, sizeof doc, "[%s] %s%s%s", d->dflt, choices, *choices ? ": " : "", d->doc);
        add_row(rows, id, doc, all ? "every NAME" : owners);
    }
}

static bool unknown_kind(const char *kind, struct err *e)
{
    const char *names[32] = {"keys", "metrics"};
    size_t n = 2;
    const struct catalogue *c;
    for (size_t i = 0; (c = catalogue_at(i)) != NULL && n < ARRAY_LEN(names); i++)
        names[n++] = c->plural;
    return err_set(e, "list: unknown kind %s; the nearest is %s (`tandem list --help`)", kind,
                   nearest_word(kind, names, n));
}

static bool add_kind(json_t *rows, const char *kind, struct err *e)
{
    if (strcmp(kind, "keys") == 0) {
        add_keys(rows);
        return true;
    }
    if (strcmp(kind, "metrics") == 0) {
        add_metrics(rows);
        return true;
    }
    const struct catalogue *c;
    for (size_t i = 0; (c = catalogue_at(i)) != NULL; i++)
        if (strcmp(c->plural, kind) == 0) {
            add_catalogue(rows, c);
            if (c == &catalogue_traces)
                add_generators(rows);
            return true;
        }
    return unknown_kind(kind, e);
}

/* ---- printing ---- */

static void print_rows(const json_t *rows)
{
    size_t i;
    json_t *row;
    int width = 0;
    json_array_foreach(rows, i, row) width =
        MAX(width, (int)json_string_length(json_object_get(row, "id")));
    json_array_foreach(rows, i, row)
    {
        const char *source = json_string_value(json_object_get(row, "source"));
        const char *dflt = json_string_value(json_object_get(row, "default"));
        const char *choices = json_string_value(json_object_get(row, "choices"));
        printf("%-*s  ", width, json_string_value(json_object_get(row, "id")));
        if (dflt)
            printf("%s [%s] ", json_string_value(json_object_get(row, "type")), dflt);
        if (choices)
            printf("%s: ", choices);
        printf("%s", json_string_value(json_object_get(row, "doc")));
        printf(*source ? "  (%s)\n" : "\n", source);
    }
}

int cmd_list(int argc, char **argv, struct err *e)
{
    struct input in = {0};
    if (!options_parse(&argp, "tandem list", argc, argv, &in, e))
        return 2;
    if (!in.kind) {
        err_set(e, "list: of what? `tandem list --help` shows the kinds");
        return 2;
    }
    json_t *rows = json_array();
    bool ok = add_kind(rows, in.kind, e);
    if (ok && in.json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (ok) {
        print_rows(rows);
    }
    json_decref(rows);
    return ok ? 0 : 2;
}
