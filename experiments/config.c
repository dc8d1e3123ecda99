/* config.c: see config.h. What must hold: nothing enters `flat` that was not checked against its
 * key, so that everything after it may rely on types and ranges. */
#include "experiments/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/describe.h"
#include "backend/model/weights.h"
#include "backend/registry.h"
#include "experiments/keys.h"
#include "experiments/trace_hash.h"
#include "policies/registry.h"

void config_init(struct config *c)
{
    c->flat = json_object();
    params_init(&c->params);
}

void config_release(struct config *c)
{
    json_decref(c->flat);
    params_release(&c->params);
    *c = (struct config){0};
}

/* ---- checking one value ---- */

static bool is_number(const json_t *v, enum param_type type)
{
    double x = json_number_value(v);
    return json_is_number(v) && isfinite(x) && (type != PARAM_INT || x == floor(x));
}

static bool in_range(const struct param_desc *d, double x)
{
    return !(d->min < d->max) || (x >= d->min && x <= d->max);
}

static const char *type_words(const struct config_key *key)
{
    if (key->is_list)
        return key->desc->type == PARAM_INT ? "a whole number or an array of objects"
                                            : "an array of objects";
    switch (key->desc->type) {
    case PARAM_INT:
        return "a whole number";
    case PARAM_REAL:
        return "a number";
    case PARAM_BOOL:
        return "true or false";
    case PARAM_STR:
        return "a string";
    case PARAM_MAP:
        return "an object";
    }
    return "";
}

static bool bad_type(const char *where, const struct config_key *key, const char *member,
                     const json_t *v, struct err *e)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    err_set(e, "%s%s%s%s: %.80s is not %s", where, key->name, *member ? "." : "", member,
            text ? text : "the value", *member ? "a number" : type_words(key));
    free(text);
    return false;
}

static bool out_of_range(const char *where, const struct config_key *key, double x, struct err *e)
{
    return err_set(e, "%s%s: %.16g is out of range; give %.16g to %.16g", where, key->name, x,
                   key->desc->min, key->desc->max);
}

static bool check_list(const char *where, const struct config_key *key, const json_t *v,
                       struct err *e)
{
    size_t i;
    json_t *element;
    json_array_foreach(v, i, element) if (!json_is_object(element)) return bad_type(where, key, "",
                                                                                    v, e);
    return true;
}

static bool check_map(const char *where, const struct config_key *key, json_t *v, struct err *e)
{
    const char *member;
    json_t *x;
    json_object_foreach(v, member, x)
    {
        if (!is_number(x, PARAM_REAL))
            return bad_type(where, key, member, x, e);
        if (!in_range(key->desc, json_number_value(x)))
            return out_of_range(where, key, json_number_value(x), e);
    }
    return true;
}

static bool check_value(const char *where, const struct config_key *key, json_t *v, struct err *e)
{
    enum param_type type = key->desc->type;
    if (key->is_list && json_is_array(v))
        return check_list(where, key, v, e);
    if (type == PARAM_MAP && json_is_object(v) && !key->is_list)
        return check_map(where, key, v, e);
    if (type == PARAM_BOOL && json_is_boolean(v))
        return true;
    if (type == PARAM_STR && json_is_string(v))
        return key_allows(key, json_string_value(v)) ||
               key_bad_value(where, key, json_string_value(v), e);
    if ((type == PARAM_INT || type == PARAM_REAL) && is_number(v, type))
        return in_range(key->desc, json_number_value(v)) ||
               out_of_range(where, key, json_number_value(v), e);
    return bad_type(where, key, "", v, e);
}

/* ---- setting ---- */

/* The map key that `name` is a member of ("vtc.weights.alice"); *member points into name. */
static bool find_map(const char *name, struct config_key *map, const char **member)
{
    for (size_t i = 0; config_key_at(i, map); i++) {
        size_t n = strlen(map->name);
        if (map->desc->type == PARAM_MAP && !map->is_list && strncmp(name, map->name, n) == 0 &&
            name[n] == '.' && name[n + 1] != '\0') {
            *member = name + n + 1;
            return true;
        }
    }
    return false;
}

/* `once`: a second value for the same key is an error (within a file), else it wins. */
static bool set_key(json_t *flat, const char *where, const struct config_key *key, json_t *v,
                    bool once, struct err *e)
{
    if (once && json_object_get(flat, key->name))
        return err_set(e, "%s%s: given twice", where, key->name);
    if (!json_is_null(v) && !check_value(where, key, v, e))
        return false;
    json_object_set(flat, key->name, v);
    return true;
}

static bool set_member(json_t *flat, const char *where, const struct config_key *map,
                       const char *member, json_t *v, bool once, struct err *e)
{
    json_t *all = json_object_get(flat, map->name);
    if (once && json_object_get(all, member))
        return err_set(e, "%s%s.%s: given twice", where, map->name, member);
    all = json_is_object(all) ? json_copy(all) : json_object();
    json_object_set(all, member, v);
    bool ok = check_value(where, map, all, e);
    if (ok)
        json_object_set(flat, map->name, all);
    json_decref(all);
    return ok;
}

static bool set_value(json_t *flat, const char *where, const char *name, json_t *v, bool once,
                      struct err *e)
{
    struct config_key key;
    const char *member;
    if (config_key_find(name, &key))
        return set_key(flat, where, &key, v, once, e);
    if (find_map(name, &key, &member))
        return set_member(flat, where, &key, member, v, once, e);
    return key_unknown(where, name, e);
}

/* ---- files ---- */

/* Flattens object `v`, the value of `prefix` ("" at the top), into `flat`. `bad` is the last name
 * that was looked at. */
static bool flatten(json_t *flat, const char *where, const char *prefix, json_t *v,
                    char bad[CONFIG_NAME_MAX], struct err *e)
{
    const char *member;
    json_t *x;
    json_object_foreach(v, member, x)
    {
        char name[CONFIG_NAME_MAX];
        int n = strcmp(member, "id") == 0 && *prefix
                    ? snprintf(name, sizeof name, "%s", prefix)
                    : snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", member);
        if (n < 0 || (size_t)n >= sizeof name)
            return err_set(e, "%s%.64s...: no key is that long", where, name);
        struct config_key key;
        bool is_map = config_key_find(name, &key) && key.desc->type == PARAM_MAP;
        memcpy(bad, name, sizeof name);
        bool ok = json_is_object(x) && !is_map ? flatten(flat, where, name, x, bad, e)
                                               : set_value(flat, where, name, x, true, e);
        if (!ok)
            return false;
    }
    return true;
}

/* Later settings win; null goes back to the default. */
static void overlay(json_t *flat, json_t *later)
{
    const char *name;
    json_t *v;
    json_object_foreach(later, name, v)
    {
        if (json_is_null(v))
            json_object_del(flat, name);
        else
            json_object_set(flat, name, v);
    }
}

bool config_merge(struct config *c, json_t *object, const char *where, char bad[CONFIG_NAME_MAX],
                  struct err *e)
{
    json_t *flat = json_object();
    *bad = '\0'; /* an empty object */
    bool ok = flatten(flat, where, "", object, bad, e);
    if (ok)
        overlay(c->flat, flat);
    json_decref(flat);
    return ok;
}

bool config_load(struct config *c, const char *path, struct err *e)
{
    json_error_t error;
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!file) {
        if (error.line < 0)
            return err_set(e, "%s: %s", path, error.text);
        return err_set(e, "%s:%d:%d: %s", path, error.line, error.column, error.text);
    }
    char where[512], bad[CONFIG_NAME_MAX];
    snprintf(where, sizeof where, "%s: ", path);
    bool ok = json_is_object(file) ? config_merge(c, file, where, bad, e)
                                   : err_set(e, "%s:1:1: a configuration is a JSON object", path);
    json_decref(file);
    return ok;
}

/* ---- options ---- */

static json_t *parse_value(const char *key_name, const char *text)
{
    struct config_key key;
    bool text_key = config_key_find(key_name, &key) && key.desc->type == PARAM_STR;
    json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (v && (!text_key || json_is_string(v) || json_is_null(v)))
        return v;
    json_decref(v);
    return json_string(text);
}

bool config_set(struct config *c, const char *key, const char *value, struct err *e)
{
    json_t *v = parse_value(key, value);
    if (!v)
        return err_set(e, "%s: the value is not valid UTF-8", key);
    bool ok = set_value(c->flat, "", key, v, false, e);
    if (ok && json_is_null(v))
        json_object_del(c->flat, key);
    json_decref(v);
    return ok;
}

/* ---- resolving ---- */

static void resolve_map(struct config *c, const char *param, json_t *v)
{
    const char *member;
    json_t *x;
    json_object_foreach(v, member, x)
    {
        char name[512];
        snprintf(name, sizeof name, "%s.%s", param, member);
        params_set_num(&c->params, name, PARAM_REAL, json_number_value(x));
    }
}

/* A scheduler that needs a predictor says which one a run has unless told otherwise, and what is
 * measured is our own engine. */
static const char *key_default(const struct config *c, const struct config_key *key)
{
    if (strcmp(key->name, "engine") == 0) {
        const char *backend = json_string_value(json_object_get(c->flat, "backend"));
        const struct backend_ops *b = backend ? backend_find(backend) : NULL;
        return b && b->caps & BACKEND_MEASURED ? "tandem" : key->desc->dflt;
    }
    if (strcmp(key->name, "predictor") != 0)
        return key->desc->dflt;
    const char *id = json_string_value(json_object_get(c->flat, "scheduler"));
    const struct scheduler_ops *ops = id ? scheduler_find(id) : NULL;
    return ops && ops->predictor ? ops->predictor : key->desc->dflt;
}

/* A key's value in its own type: what was set, else the default. NULL: neither. Owned. */
static json_t *typed_value(const struct config *c, const struct config_key *key)
{
    json_t *v = json_object_get(c->flat, key->name);
    const char *dflt = key_default(c, key);
    if (!v && *dflt == '\0')
        return NULL;
    switch (key->desc->type) {
    case PARAM_INT:
        if (json_is_array(v))
            return json_incref(v);
        return json_integer(v ? (json_int_t)json_number_value(v) : strtoll(dflt, NULL, 10));
    case PARAM_REAL:
        return json_real(v ? json_number_value(v) : strtod(dflt, NULL));
    case PARAM_BOOL:
        return json_boolean(v ? json_is_true(v) : strcmp(dflt, "true") == 0);
    case PARAM_STR:
        return v ? json_incref(v) : json_string(dflt);
    case PARAM_MAP:
        return v ? json_incref(v) : json_loads(dflt, 0, NULL);
    }
    return NULL;
}

void config_resolve(struct config *c)
{
    params_release(&c->params);
    struct config_key key;
    for (size_t i = 0; config_key_at(i, &key); i++) {
        char name[KEY_NAME_MAX];
        key_param_name(&key, name);
        json_t *v = typed_value(c, &key);
        if (json_is_string(v))
            params_set_str(&c->params, name, json_string_value(v));
        else if (json_is_number(v) || json_is_boolean(v))
            params_set_num(&c->params, name, key.desc->type,
                           json_is_boolean(v) ? json_is_true(v) : json_number_value(v));
        else if (json_is_object(v))
            resolve_map(c, name, v);
        json_decref(v);
    }
}

/* ---- reading ---- */

static const struct param *lookup(const struct config *c, const char *name)
{
    struct config_key key;
    CHECK(config_key_find(name, &key), "config: only known keys are read", "%s", name);
    char param[KEY_NAME_MAX];
    key_param_name(&key, param);
    return params_find(&c->params, param);
}

const char *config_str(const struct config *c, const char *key)
{
    const struct param *p = lookup(c, key);
    return p ? p->str : NULL;
}

double config_num(const struct config *c, const char *key)
{
    const struct param *p = lookup(c, key);
    return p ? p->num : (double)NAN;
}

bool config_bool(const struct config *c, const char *key)
{
    const struct param *p = lookup(c, key);
    return p && p->num > 0;
}

json_t *config_list(const struct config *c, const char *name)
{
    struct config_key key;
    CHECK(config_key_find(name, &key) && key.is_list, "config: only lists are read as such", "%s",
          name);
    json_t *v = typed_value(c, &key);
    if (json_is_array(v))
        return v;
    json_decref(v);
    return NULL;
}

bool config_is_set(const struct config *c, const char *key)
{
    return json_object_get(c->flat, key) != NULL;
}

/* ---- identity ---- */

bool config_is_file(const char *value)
{
    size_t n = strlen(value);
    bool path = strchr(value, '/') || (n > 5 && strcmp(value + n - 5, ".json") == 0) ||
                weights_is_file(value);
    return path && !preset_model_named(value) && !preset_gpu_named(value);
}

/* A plug-in that is not selected does nothing: its defaults are no part of the configuration. */
static bool is_listed(const struct config *c, const struct config_key *key, const json_t *v)
{
    if (!key->owners)
        return true;
    const char *selected = config_str(c, key->owners->key);
    if (selected && strcmp(selected, key->owner) == 0)
        return true;
    struct config defaults = {.flat = NULL};
    json_t *dflt = typed_value(&defaults, key);
    bool differs = v && !json_equal(v, dflt);
    json_decref(dflt);
    return differs;
}

static json_t *resolved(const struct config *c, bool for_hash)
{
    json_t *all = json_object();
    struct config_key key;
    for (size_t i = 0; config_key_at(i, &key); i++) {
        if (for_hash && !key.changes_results)
            continue;
        json_t *v = typed_value(c, &key);
        if (is_listed(c, &key, v))
            json_object_set_new(all, key.name, v ? v : json_null());
        else
            json_decref(v);
    }
    return all;
}

static char *dump(const json_t *v, int digits)
{
    char *text =
        json_dumps(v, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION((unsigned)digits));
    CHECK(text, "config: a checked configuration can be written", "json_dumps failed%s", "");
    return text;
}

char *config_canonical(const struct config *c)
{
    json_t *all = resolved(c, false);
    char *text = dump(all, 15); /* as people write them: 0.9 */
    json_decref(all);
    return text;
}

/* Replaces member `key` of `object` by the hash of the file it names. */
static bool hash_file(json_t *object, const char *key, struct err *e)
{
    const char *path = json_string_value(json_object_get(object, key));
    bool is_trace = strcmp(key, "trace") == 0, always = is_trace || strcmp(key, "profile") == 0;
    if (!path || *path == '\0' || (!always && !config_is_file(path)))
        return true;
    char hex[SHA256_HEX];
    if (!(is_trace ? trace_sha256 : sha256_path)(path, hex, e))
        return false;
    json_object_set_new(object, key, json_sprintf("sha256:%s", hex));
    return true;
}

static bool hash_files(json_t *object, struct err *e)
{
    struct config_key key;
    for (size_t i = 0; config_key_at(i, &key); i++)
        if (key.is_path && !hash_file(object, key.name, e))
            return false;
    return true;
}

bool config_hash(const struct config *c, char hex[SHA256_HEX], struct err *e)
{
    json_t *shared = resolved(c, true), *all = json_deep_copy(shared);
    json_decref(shared);
    bool ok = hash_files(all, e);
    size_t i;
    json_t *replica;
    json_array_foreach(json_object_get(all, "replicas"), i, replica) ok =
        ok && hash_files(replica, e);
    if (ok) {
        char *text = dump(all, 17); /* tells any two numbers apart */
        struct sha256 s;
        sha256_begin(&s);
        sha256_add(&s, text, strlen(text));
        sha256_end(&s, hex);
        free(text);
    }
    json_decref(all);
    return ok;
}
